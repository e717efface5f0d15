package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// linkAPIs links the ApiInstances that changes touch.
func (s *state) linkAPIs() diag.List {
	var ds diag.List
	entries := s.apis
	if !s.all && !s.selecting {
		entries = nil
		for e := range s.dirty {
			if e.listed && e.id.Kind == v1alpha1.ApiInstance {
				entries = append(entries, e)
			}
		}
	}
	const (
		several = 1024 // APIs whose linkers are in memory at a time
		few     = 32   // APIs for one goroutine at a time
	)
	room := make([]apiLinker, min(several, len(entries)))
	for batch := range slices.Chunk(entries, several) {
		n := 0
		for _, e := range batch {
			if s.gather(&room[n], e) {
				n++
			}
		}
		todo := room[:n]
		syntax.InParallel((n+few-1)/few, func(i int) {
			for k := range todo[i*few : min((i+1)*few, n)] {
				todo[i*few+k].link()
			}
		})
		for i := range todo {
			l := &todo[i]
			s.spareAPI(l.entry)
			l.entry.api = l.out
			set(s.talking, l.entry, len(l.out.ds)+len(l.out.missing) > 0)
		}
		s.dropDecoded(todo)
	}
	for e := range s.talking {
		if e.api != nil {
			ds = append(ds, e.api.ds...)
			s.lost += len(e.api.missing)
		}
	}
	for e := range s.orphans {
		s.lost += len(e.bindings)
	}
	for e := range s.talking {
		if e.api == nil {
			continue
		}
		for _, m := range e.api.missing {
			d := s.noSuch(m.id, m.at)
			d.Object = m.by
			ds = append(ds, d)
		}
	}
	return append(ds, s.idleSelectors()...)
}

// gather puts what an API is linked from into l; false: it is linked from the same as before. Linking it then changes nothing
// but what the linker holds.
func (s *state) gather(l *apiLinker, e *entry) bool {
	d := first(e.apis)
	*l = apiLinker{state: s, entry: e, decl: d, out: &linkedAPI{listen: d.listen, gaps: gaps{d.broken || d.emptied, d.broken}}}
	l.collect()
	if e.api != nil && slices.Equal(e.api.inputs, l.out.inputs) {
		e.api.auto, e.api.gaps = l.out.auto, l.out.gaps
		return false
	}
	if e.api == nil || !slices.Equal(e.api.deps, l.out.deps) {
		for _, dep := range l.out.deps {
			dep.users = append(dep.users, e)
		}
		if e.api != nil {
			for _, dep := range e.api.deps {
				dep.users = without(dep.users, e)
				s.sweep(dep)
			}
		}
	}
	if e.api != nil && e.api.listen != d.listen {
		s.resort = true
	}
	if s.unspare(e, l.out) {
		return false
	}
	return true
}

type apiLinker struct {
	*state
	entry  *entry
	decl   *apiDecl
	out    *linkedAPI
	bound  []bound
	routes []*routeDecl
}

// collect gathers everything that the API is linked from.
func (l *apiLinker) collect() {
	d := l.decl
	if !l.once {
		l.out.inputs = make([]any, 0, 8+2*len(d.policies)+3*len(d.services))
	}
	l.from(d, l.settings)
	for _, b := range l.selectors {
		if b.selects(d) {
			l.out.auto = append(l.out.auto, b)
		}
	}
	l.bound = l.state.bound(l.entry.bindings, d.policies, l.out.auto)
	for _, b := range l.bound {
		l.from(b.decl, b.ir)
	}
	l.routes = slices.Clone(d.routes)
	for _, b := range append(slices.Clip(slices.Clone(l.entry.bindings)), l.out.auto...) {
		if b.route != nil {
			l.routes = append(l.routes, b.route)
			l.from(b)
		}
		l.gap(b)
	}
	for _, b := range d.policies {
		l.gap(b)
	}
	l.from(l.out.gaps)
	// Ties: inline routes first, in the order of the file, then bindings by namespace and name (flex-resources.md, 8.6).
	slices.SortStableFunc(l.routes, func(a, b *routeDecl) int {
		if c := cmp.Or(cmp.Compare(a.order, b.order), later(!a.inline, !b.inline)); c != 0 || a.inline {
			return c
		}
		return cmp.Or(strings.Compare(a.id.Namespace, b.id.Namespace), strings.Compare(a.id.Name, b.id.Name), a.at.Compare(b.at))
	})
	l.routes = slices.CompactFunc(l.routes, func(a, b *routeDecl) bool { return a.id == b.id })
	for _, r := range l.routes {
		for _, t := range r.to {
			dep, ok := l.objects[t.service]
			if !ok {
				dep = &entry{id: t.service}
				l.objects[t.service] = dep
			}
			if slices.Contains(l.out.deps, dep) {
				continue
			}
			l.out.deps = append(l.out.deps, dep)
			var up *ir.Upstream
			if dep.up != nil {
				up = dep.up.up
			}
			l.from(dep, up, len(dep.services) > 0)
		}
	}
}

// from notes what the API is linked from: when all of it is the same the next time, so is the API.
func (l *apiLinker) from(inputs ...any) {
	if !l.once {
		l.out.inputs = append(l.out.inputs, inputs...)
	}
}

// isGap reports whether nothing can be made of a binding.
func (l *apiLinker) isGap(b *bindingDecl) bool { return b.broken || l.unknown(b) }

func (l *apiLinker) unknown(b *bindingDecl) bool {
	return b.typ == nil && b.route == nil && (l.unlisted[b] == nil || l.unlisted[b].ir == nil)
}

// gap notes what a binding that is wrong may have been meant to be.
func (l *apiLinker) gap(b *bindingDecl) {
	if !l.isGap(b) {
		return
	}
	unknown := l.unknown(b)
	l.out.gaps.route = l.out.gaps.route || unknown || b.route != nil
	l.out.gaps.tls = l.out.gaps.tls || unknown || b.place == ir.Outside
}

func (b *bindingDecl) selects(d *apiDecl) bool {
	if !b.selecting {
		return false
	}
	for name, want := range b.labels {
		if have, ok := d.label(name); !ok || have != want.Value {
			return false
		}
	}
	return true
}

func (d *apiDecl) label(name string) (string, bool) {
	for i := range d.labels {
		if d.labels[i].Name == name {
			return d.labels[i].Value.Value, true
		}
	}
	return "", false
}

func (l *apiLinker) report(s diag.Severity, code diag.Code, at diag.Range, id diag.Object, summary, hint string, related ...diag.Related) {
	l.out.ds = append(l.out.ds, diag.Diagnostic{Severity: s, Code: code, Subject: at, Object: id, Summary: summary, Hint: hint, Related: related})
}

func (l *apiLinker) link() {
	d := l.decl
	api := &ir.API{Origin: d.origin(), Address: d.address.Range, BasePath: d.listen.base, Settings: l.settings}
	for _, b := range l.bound {
		switch {
		case b.place == ir.Outside:
			l.out.tls = append(l.out.tls, b.decl)
		case b.ir != nil && !b.decl.broken:
			api.Bindings = append(api.Bindings, b.ir)
		}
	}
	for _, r := range l.routes {
		if route := l.route(r); route != nil {
			api.Routes = append(api.Routes, route)
		}
	}
	l.out.ds = append(l.out.ds, l.equalOrders(l.bound)...)
	l.repeated()
	l.routing()
	api.Gaps = d.broken || slices.ContainsFunc(slices.Concat(l.entry.bindings, d.policies, l.out.auto), l.isGap)
	if d.listen.ok {
		l.out.api = api
	}
}

func (l *apiLinker) route(r *routeDecl) *ir.Route {
	out := &ir.Route{Origin: r.origin(), Name: r.id.Name, Order: r.order, Rules: r.rules}
	for _, t := range r.to {
		dep := l.objects[t.service]
		if len(dep.services) == 0 {
			l.out.missing = append(l.out.missing, missingRef{t.service, t.ref.Range, r.owner()})
			continue
		}
		if dep.up == nil || dep.up.up == nil {
			continue
		}
		out.To = append(out.To, ir.Split{Origin: ir.Origin{Object: r.id, Range: t.ref.Range, Of: r.of}, Weight: t.weight, Upstream: dep.up.up, Prefix: t.prefix})
	}
	if len(out.To) < len(r.to) || r.broken {
		return nil
	}
	return out
}

// conditional reports whether a binding does not run for every request.
func conditional(b bound) bool { return b.ir != nil && len(b.ir.Rules) > 0 }

// repeated warns of a policy that an API has twice where that is rarely meant (flex-resources.md, 10.4 and 10.5).
func (l *apiLinker) repeated() {
	for i, b := range l.bound {
		for _, a := range l.bound[:i] {
			if a.decl.policy != b.decl.policy || a.place != b.place {
				continue
			}
			switch {
			case b.place == ir.First:
				l.report(diag.Warning, "link/policy-twice", b.decl.at(), b.decl.owner(), fmt.Sprintf("ApiInstance %q has policy %q twice", l.entry.id.Name, b.decl.policy), "keep one of them",
					diag.Related{Subject: a.decl.at(), Summary: "the other one"})
			case b.place == ir.Ordered && a.decl.automated != b.decl.automated && !conditional(a) && !conditional(b):
				own, auto := b, a
				if own.decl.automated {
					own, auto = a, b
				}
				l.report(diag.Warning, "link/policy-twice", own.decl.at(), own.decl.owner(), fmt.Sprintf("ApiInstance %q has policy %q of its own and from a Selector; both run", l.entry.id.Name, b.decl.policy), "keep one of them if one was meant",
					diag.Related{Subject: auto.decl.at(), Summary: "the automated one"})
			default:
				continue
			}
			break
		}
	}
}

// routing warns of routes that can never be taken, and of what the product does not promise.
func (l *apiLinker) routing() {
	d := l.decl
	if len(l.routes) == 0 && !l.out.gaps.route {
		l.report(l.atMost(diag.Warning), "link/no-routes", d.at(), d.id, fmt.Sprintf("ApiInstance %q has no routes: every request ends with 404", d.id.Name), "add spec.services, or bind the policy route")
	}
	var all *routeDecl
	for _, r := range l.routes {
		if all != nil {
			l.report(diag.Warning, "link/unreachable-route", r.at, r.owner(), fmt.Sprintf("this route is never taken: %s comes first and takes every request", all.words()), r.earlier(all),
				diag.Related{Subject: all.at, Summary: "the route that takes every request"})
			continue
		}
		if !r.broken && !r.unclear && takesAll(r.rules) {
			all = r
		}
	}
	if all == nil {
		l.covered()
	}
	by := map[int]*routeDecl{}
	for _, r := range l.routes {
		if r.explicit.IsZero() {
			continue
		}
		if e, ok := by[r.order]; ok {
			l.out.ds = append(l.out.ds, equalOrder(r.order, r.explicit, r.id, e.explicit, e.id))
			continue
		}
		by[r.order] = r
	}
	for _, r := range l.routes {
		if r.inline {
			continue
		}
		if len(d.services) > 0 {
			l.report(diag.Warning, "link/mixed-models", r.named, r.owner(), fmt.Sprintf("ApiInstance %q has services of its own, and this route binding too", d.id.Name), "write all routes one way",
				diag.Related{Subject: d.services[0].at(), Summary: "a service of its own"})
		}
		if d.listen.ok {
			for _, m := range r.rules {
				if repeats(d.listen.base, m.Path.Text) {
					l.out.ds = append(l.out.ds, repeatsBase(d.listen.base, m.Path, r.owner()))
				}
			}
		}
	}
	if n := len(l.routes); n > maxRoutes {
		l.report(diag.Warning, "link/over-limit", d.at(), d.id, fmt.Sprintf("ApiInstance %q has %d routes; the product takes %d", d.id.Name, n, maxRoutes), "")
	}
	if n := len(l.out.deps); n > maxUpstreams {
		l.report(diag.Warning, "link/over-limit", d.at(), d.id, fmt.Sprintf("ApiInstance %q has %d upstreams; the product takes %d", d.id.Name, n, maxUpstreams), "")
	}
}

// maxComparisons is how many pairs of rules of one API are compared.
const maxComparisons = 2_000

// covered warns of routes and rules all of whose requests are taken by rules that are tried before.
func (l *apiLinker) covered() {
	type tried struct {
		rule  *ir.Match
		route *routeDecl
	}
	rules := 0
	for _, r := range l.routes {
		rules += len(r.rules)
	}
	before := make([]tried, 0, min(rules, maxComparisons))
	compared := 0
	for _, r := range l.routes {
		if r.broken || r.unclear {
			continue
		}
		by := make([]*routeDecl, len(r.rules))
		open := len(r.rules) // rules that something is left for
		for i, m := range r.rules {
			for _, o := range before {
				if compared++; compared > maxComparisons {
					return
				}
				if o.rule.Takes(m) {
					by[i], open = o.route, open-1
					break
				}
			}
			before = append(before, tried{&r.rules[i], r})
		}
		switch {
		case open == 0 && len(by) > 0 && !slices.Contains(by, r):
			how := "has the same rules"
			if !slices.EqualFunc(r.rules, by[0].rules, func(a, b ir.Match) bool { return ruleKey(a) == ruleKey(b) }) {
				how = "takes all that its rules do"
			}
			l.report(diag.Warning, "link/unreachable-route", r.at, r.owner(), fmt.Sprintf("this route is never taken: %s comes first and %s", by[0].words(), how), "remove it, give it other rules, or have it tried first",
				diag.Related{Subject: by[0].at, Summary: "the route that takes these requests"})
		case open < len(by):
			for i, b := range by {
				if b != nil {
					l.report(diag.Warning, "link/unreachable-rule", placeOf(r.rules[i], r.at), r.owner(), "this rule is never used: a rule that is tried before takes all that it does", "remove it, or have it tried first",
						diag.Related{Subject: b.at, Summary: "the route with that rule"})
				}
			}
		}
	}
}

// placeOf is where a rule stands: its first pattern, or else what is given.
func placeOf(m ir.Match, otherwise diag.Range) diag.Range {
	for _, p := range []ir.Pattern{m.Path, m.Method, m.Host} {
		if !p.IsZero() {
			return p.Range
		}
	}
	if len(m.Headers) > 0 {
		return m.Headers[0].Range
	}
	return otherwise
}

// ruleKey is equal for rules of the same words.
func ruleKey(m ir.Match) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q", m.Path.Text, m.Method.Text, m.Host.Text)
	for _, h := range m.Headers {
		fmt.Fprintf(&b, " %q %q", h.Name, h.Text)
	}
	return b.String()
}

// words name a route by what the user wrote.
func (r *routeDecl) words() string {
	if !r.inline {
		return strconv.Quote(r.id.Name)
	}
	if len(r.to) == 0 || r.to[0].service.Name == r.to[0].ref.Value { // what stands inline has another name than it is written with
		return fmt.Sprintf("the policy %q of this ApiInstance", r.policy)
	}
	service := fmt.Sprintf("service %q", r.to[0].ref.Value)
	if r.named == r.to[0].ref.Range {
		return service
	}
	return "route " + strings.TrimPrefix(r.id.Name, r.to[0].service.Name+"-route-") + " of " + service
}

// earlier says how a route can come before another.
func (r *routeDecl) earlier(other *routeDecl) string {
	switch {
	case !r.inline:
		return "give it a lower order, or give the other one rules"
	case !other.inline:
		return "give the other one a higher order, or rules"
	}
	return "write it before the other one, or give the other one rules"
}

// everything are the patterns that any value matches.
var everything = []string{"", ".*", "(.*)", "^.*$", ".*$", "^.*", "/.*", "(/.*)", "/(.*)", "^/.*", "^/.*$", "(/.*)?", "(?:.*)"}

func takesAll(rules []ir.Match) bool {
	if len(rules) == 0 {
		return true
	}
	return slices.ContainsFunc(rules, func(m ir.Match) bool {
		return slices.Contains(everything, m.Path.Text) && slices.Contains(everything[:6], m.Host.Text) && slices.Contains(everything[:6], m.Method.Text) && len(m.Headers) == 0
	})
}

// repeats reports whether a path pattern starts with the base path, which is taken off before it is matched.
func repeats(base, pattern string) bool {
	if base == "" {
		return false
	}
	p := strings.TrimPrefix(pattern, "^")
	p = strings.TrimPrefix(strings.TrimPrefix(p, "("), "?:")
	rest, ok := strings.CutPrefix(p, base)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], "/(.$[)?"))
}

func repeatsBase(base string, p ir.Pattern, id diag.Object) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Warning, Code: "link/repeats-base-path", Subject: p.Range, Object: id,
		Summary: fmt.Sprintf("path pattern %s repeats the base path %q, which is taken off before", quoteShort(p.Text), base), Hint: "leave the base path out of the pattern"}
}

// repeatsBase judges what stands inline in one ApiInstance.
func (d *docDecoder) repeatsBase(api *apiDecl) {
	if !api.listen.ok {
		return
	}
	for _, r := range api.routes {
		for _, m := range r.rules {
			if repeats(api.listen.base, m.Path.Text) {
				d.out.ds = append(d.out.ds, repeatsBase(api.listen.base, m.Path, d.id))
			}
		}
	}
	for _, b := range api.policies {
		for _, m := range b.ir.Rules {
			if repeats(api.listen.base, m.Path.Text) {
				d.out.ds = append(d.out.ds, repeatsBase(api.listen.base, m.Path, d.id))
			}
		}
	}
}
