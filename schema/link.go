package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// link brings the model up to what is declared. Only what the last changes touch is linked again; over everything else
// it walks pointers.
func (s *state) link() (*ir.Gateway, diag.List) {
	s.named, s.lost = map[string]*names{}, 0
	ds := s.linkSettings()
	ds = append(ds, s.linkExtensions()...)
	s.settle()
	ds = append(ds, s.linkUpstreams()...)
	ds = append(ds, s.linkAPIs()...)
	ds = append(ds, s.duplicates()...)
	ds = append(ds, s.dangling()...)
	g := &ir.Gateway{Settings: s.settings, ForwardProxy: s.proxy, Readiness: s.readiness, LogOutputs: s.logs, Gaps: s.astray()}
	var more diag.List
	g.Listeners, more = s.linkListeners()
	ds = append(ds, more...)
	for _, e := range s.services {
		if e.up != nil && e.up.up != nil {
			g.Upstreams = append(g.Upstreams, e.up.up)
		}
	}
	var odd diag.List
	g.Probes, odd = s.linkProbes(g.Listeners)
	ds = append(append(ds, s.linkContracts()...), odd...)
	g.Echoes, odd = s.linkEchoes()
	ds = append(ds, odd...)
	if !ds.HasErrors() && !s.failed() {
		ds = append(ds, s.idle()...)
	}
	clear(s.dirty)
	s.all, s.selecting = false, false
	return g, ds
}

// failed reports whether a unit holds an error: what is absent then may have been meant.
func (s *state) failed() bool {
	return slices.ContainsFunc(s.order, func(k *keptUnit) bool { return k.result.ds.HasErrors() })
}

// astray reports whether some binding reaches nothing.
func (s *state) astray() bool {
	if len(s.orphans) > 0 || len(s.idleSelectors()) > 0 {
		return true
	}
	return slices.ContainsFunc(s.order, func(k *keptUnit) bool {
		return slices.ContainsFunc(k.result.bindings, func(b *bindingDecl) bool { return b.broken && b.target == diag.Object{} })
	})
}

// absent is the severity of something that may be declared outside a partial set.
func (s *state) absent() diag.Severity {
	if s.partial {
		return diag.Note
	}
	return diag.Error
}

// atMost is sev, or a note when the set is partial.
func (s *state) atMost(sev diag.Severity) diag.Severity {
	if s.partial {
		return diag.Note
	}
	return sev
}

// settle puts the dirty entries into the lists they belong to.
func (s *state) settle() {
	for e := range s.dirty {
		isAPI := e.id.Kind == v1alpha1.ApiInstance && len(e.apis) > 0
		isService := e.id.Kind == v1alpha1.Service && len(e.services) > 0
		set(s.twins, e, len(e.decls) > 1)
		set(s.orphans, e, len(e.bindings) > 0 && len(e.decls) == 0)
		switch {
		case isAPI && !e.listed:
			s.apis, e.listed, s.resort = append(s.apis, e), true, true
		case isService && !e.listed:
			s.services, e.listed, s.reserv = append(s.services, e), true, true
		case e.listed && !isAPI && e.id.Kind == v1alpha1.ApiInstance:
			s.apis, e.listed = without(s.apis, e), false
			s.forget(e)
		case e.listed && !isService && e.id.Kind == v1alpha1.Service:
			s.services, e.listed, e.up = without(s.services, e), false, nil
			delete(s.talking, e)
			s.touch(e)
		}
		s.sweep(e)
	}
	if s.reserv {
		slices.SortFunc(s.services, func(a, b *entry) int { return strings.Compare(a.upstreamName(), b.upstreamName()) })
		s.reserv = false
	}
	if s.selecting {
		slices.SortFunc(s.selectors, func(a, b *bindingDecl) int { return a.at().Compare(b.at()) })
	}
}

func set(m map[*entry]bool, e *entry, in bool) {
	if in {
		m[e] = true
	} else {
		delete(m, e)
	}
}

// forget takes back what an API that is no longer there referred to.
func (s *state) forget(e *entry) {
	if e.api == nil {
		return
	}
	for _, d := range e.api.deps {
		d.users = without(d.users, e)
		s.sweep(d)
	}
	e.api = nil
	s.resort = true
	delete(s.talking, e)
}

// touch makes the APIs that use a Service be linked again.
func (s *state) touch(e *entry) {
	for _, u := range e.users {
		s.dirty[u] = true
	}
}

// sweep drops an identity that nothing declares or names any more.
func (s *state) sweep(e *entry) {
	if len(e.decls) == 0 && len(e.bindings) == 0 && len(e.users) == 0 && s.objects[e.id] == e {
		delete(s.objects, e.id)
	}
}

// upstreamName is asked for again and again when there are many: by those who sort.
func (e *entry) upstreamName() string {
	if e.name == "" {
		e.name = e.id.Name + "." + e.id.Namespace + ".svc"
	}
	return e.name
}

// first is the declaration that stands for an identity: the first by place.
func first[D interface{ at() diag.Range }](l []D) D {
	best := l[0]
	for _, d := range l[1:] {
		if d.at().Compare(best.at()) < 0 {
			best = d
		}
	}
	return best
}

func (d *decl) at() diag.Range { return d.named }

func (s *state) duplicates() diag.List {
	var ds diag.List
	for e := range s.twins {
		l := slices.Clone(e.decls)
		slices.SortFunc(l, s.compare)
		for _, d := range l[1:] {
			if d.of != nil && d.owner() == l[0].owner() {
				continue // stands inline in an object that is itself declared twice, and reported
			}
			ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "link/duplicate-object", Subject: d.at(), Object: d.owner(),
				Summary: fmt.Sprintf("%s is declared twice", d.id), Hint: "rename or remove one of them",
				Related: []diag.Related{{Subject: l[0].at(), Summary: "declared here first"}}})
		}
	}
	return ds
}

// dangling reports bindings whose target is not declared.
func (s *state) dangling() diag.List {
	var ds diag.List
	for e := range s.orphans {
		for _, b := range e.bindings {
			d := s.noSuch(e.id, b.targetAt)
			d.Object, d.Path = b.owner(), "/spec/targetRef/name"
			other := e.id
			other.Kind = v1alpha1.Service
			if o := s.objects[other]; b.kindless && o != nil && len(o.services) > 0 {
				d.Hint = fmt.Sprintf("there is a Service %q: add kind: Service to targetRef", e.id.Name)
				if !s.mayBind(b, ir.TargetUpstream) {
					d.Hint = fmt.Sprintf("%q is a Service, and policy %q applies to an ApiInstance: name one", e.id.Name, b.policy)
				}
			}
			ds = append(ds, d)
		}
	}
	return ds
}

// mayBind reports whether the policy of a binding may be bound to such a target, as far as is known.
func (s *state) mayBind(b *bindingDecl, to ir.Target) bool {
	typ := b.typ
	if c := s.unlisted[b]; typ == nil && c != nil {
		typ = s.customType(c.ext).typ
	}
	switch {
	case b.route != nil:
		return to == ir.TargetAPI
	case typ == nil:
		return true
	}
	return typ.Targets()&to != 0
}

// unknownCodes name the reference that dangles, by kind.
var unknownCodes = map[string]diag.Code{v1alpha1.ApiInstance: "link/unknown-api", v1alpha1.Service: "link/unknown-service", v1alpha1.Extension: "link/unknown-extension"}

func noSuchSummary(id diag.Object) string {
	return fmt.Sprintf("no %s named %q in namespace %q", id.Kind, id.Name, id.Namespace)
}

// noSuch says that a reference names nothing.
func (s *state) noSuch(id diag.Object, at diag.Range) diag.Diagnostic {
	d := diag.Diagnostic{Severity: s.absent(), Code: unknownCodes[id.Kind], Subject: at, Summary: noSuchSummary(id), Absent: id}
	n := s.namesOf(id.Kind)
	if l := n.namespaces[id.Name]; len(l) > 0 {
		d.Hint = fmt.Sprintf("there is one in namespace %q: write namespace: %s", l[0], l[0])
		return d
	}
	if to := s.inlineName(id); to != "" {
		d.Hint = fmt.Sprintf("a service of an ApiInstance is known by the names of both: write %q", to)
		d.Edits = []diag.Edit{{Op: diag.Set, At: at, Value: to}}
		return d
	}
	if to := s.meant(id.Name, n.names[id.Namespace]); to != "" {
		id.Name = to
		d.Hint = fmt.Sprintf("did you mean %q (%s)?", to, first(s.objects[id].decls).at())
	} else if s.partial {
		d.Hint = "it may be declared outside these files"
	}
	return d
}

// inlineName is the name by which an inline service is known, when its key alone was written.
func (s *state) inlineName(id diag.Object) string {
	if id.Kind != v1alpha1.Service || s.lost > maxGuesses {
		return ""
	}
	for _, name := range s.namesOf(id.Kind).names[id.Namespace] {
		if !strings.HasSuffix(name, "-"+id.Name) {
			continue
		}
		long := id
		long.Name = name
		if slices.ContainsFunc(s.objects[long].services, func(d *serviceDecl) bool { return d.inline && name == d.of.Name+"-"+id.Name }) {
			return name
		}
	}
	return ""
}

// names are the declared names of one kind.
type names struct {
	names      map[string][]string // by namespace, sorted
	namespaces map[string][]string // by name, sorted
}

// namesOf lists the names of a kind, once in a load: many references may dangle when a file is missing.
func (s *state) namesOf(kind string) *names {
	if n := s.named[kind]; n != nil {
		return n
	}
	n := &names{names: map[string][]string{}, namespaces: map[string][]string{}}
	for o, e := range s.objects {
		if o.Kind == kind && len(e.decls) > 0 {
			n.names[o.Namespace] = append(n.names[o.Namespace], o.Name)
			n.namespaces[o.Name] = append(n.namespaces[o.Name], o.Namespace)
		}
	}
	for _, l := range n.names {
		slices.Sort(l)
	}
	for _, l := range n.namespaces {
		slices.Sort(l)
	}
	s.named[kind] = n
	return n
}

// maxGuesses is how many references may dangle before guessing at what was meant costs more than it helps.
const maxGuesses = 100

// meant is nearest, unless a whole file seems to be missing.
func (s *state) meant(name string, candidates []string) string {
	if s.lost > maxGuesses {
		return ""
	}
	if before, _, ok := strings.Cut(name, ":"); ok && slices.Contains(candidates, before) {
		return before // with the port of its address
	}
	return diag.Nearest(name, candidates)
}

// linkUpstreams links the Services that changes touch.
func (s *state) linkUpstreams() diag.List {
	var ds diag.List
	var touched []*entry
	one := func(e *entry) {
		old := e.up
		e.up = s.linkUpstream(e)
		s.spareUpstream(e, old)
		if old == nil || old.up != e.up.up {
			touched = append(touched, e)
		}
		set(s.talking, e, len(e.up.ds) > 0)
	}
	if s.all {
		for _, e := range s.services {
			one(e)
		}
	} else {
		for e := range s.dirty {
			if e.listed && e.id.Kind == v1alpha1.Service {
				one(e)
			}
		}
	}
	for _, e := range touched {
		s.touch(e)
	}
	for e := range s.talking {
		if e.up != nil {
			ds = append(ds, e.up.ds...)
		}
	}
	return ds
}

func (s *state) linkUpstream(e *entry) *linkedUpstream {
	d := first(e.services)
	bound := s.bound(e.bindings, nil, nil)
	out := &linkedUpstream{}
	if !s.once {
		out.inputs = []any{d, s.settings}
		for _, b := range bound {
			out.inputs = append(out.inputs, b.decl, b.ir)
		}
	}
	if e.up != nil && slices.Equal(e.up.inputs, out.inputs) {
		return e.up
	}
	if e.spare != nil && e.spare.up != nil && slices.Equal(e.spare.up.inputs, out.inputs) {
		return e.spare.up
	}
	var outbound *bindingDecl
	var list []*ir.Binding
	for _, b := range bound {
		if b.decl.broken || b.ir == nil {
			continue
		}
		list = append(list, b.ir)
		if b.place != ir.Outside {
			continue
		}
		if outbound != nil {
			out.ds = append(out.ds, diag.Diagnostic{Severity: diag.Error, Code: "link/tls-twice", Subject: b.decl.at(), Object: b.decl.owner(), Path: "/metadata/name",
				Summary: fmt.Sprintf("Service %q has a second binding of policy %q", e.id.Name, b.ir.Policy), Hint: "keep one of them",
				Related: []diag.Related{{Subject: outbound.at(), Summary: "the first one"}}})
			continue
		}
		outbound = b.decl
		if d.endpoint.ok && d.endpoint.scheme != "https" {
			out.ds = append(out.ds, diag.Diagnostic{Severity: diag.Warning, Code: "link/tls-without-https", Subject: b.decl.at(), Object: b.decl.owner(), Path: "/metadata/name",
				Summary: fmt.Sprintf("policy %q has no effect: the address of Service %q is %s, not https", b.ir.Policy, e.id.Name, d.endpoint.scheme), Hint: "write https:// in its address",
				Related: []diag.Related{{Subject: d.address.Range, Summary: "the address"}}})
		}
	}
	out.ds = append(out.ds, s.equalOrders(bound)...)
	if d.endpoint.ok {
		out.up = &ir.Upstream{Origin: d.origin(), Name: e.upstreamName(), Scheme: d.endpoint.scheme, Host: d.endpoint.host, Port: d.endpoint.port,
			Address: d.address.Range, Settings: s.settings, Bindings: list}
	}
	return out
}

// bound is one binding on one target, with what stands in the model for it.
type bound struct {
	decl  *bindingDecl
	ir    *ir.Binding // nil: nothing can be made of it
	place ir.Place
}

// bound puts the bindings of one target into the order in which they run (flex-resources.md, 10.1): First before all
// others, then by order, automated ones before the target's own, inline ones in list order, then by namespace and name.
func (s *state) bound(named, inline, auto []*bindingDecl) []bound {
	out := make([]bound, 0, len(named)+len(inline)+len(auto))
	for _, l := range [][]*bindingDecl{inline, auto, named} {
		for _, b := range l {
			if b.route != nil {
				continue
			}
			x := bound{b, b.ir, b.place}
			if b.typ == nil {
				x.ir = nil
				if c := s.unlisted[b]; c != nil {
					x.ir, x.place = c.ir, c.place
				}
			}
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b bound) int {
		return cmp.Or(later(a.place != ir.First, b.place != ir.First), cmp.Compare(a.decl.order, b.decl.order), later(!a.decl.automated, !b.decl.automated),
			later(a.decl.index == 0, b.decl.index == 0), cmp.Compare(a.decl.index, b.decl.index),
			strings.Compare(a.decl.id.Namespace, b.decl.id.Namespace), strings.Compare(a.decl.id.Name, b.decl.id.Name), a.decl.at().Compare(b.decl.at()))
	})
	// A second object of one name is reported as such, and is not linked.
	return slices.CompactFunc(out, func(a, b bound) bool { return a.decl.id == b.decl.id })
}

// later compares by whether something comes later.
func later(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// equalOrders warns of two policies that were given one order (flex-resources.md, 4.3).
func (s *state) equalOrders(l []bound) diag.List {
	var ds diag.List
	var by map[int]*bindingDecl
	for _, b := range l {
		d := b.decl
		if b.place != ir.Ordered || d.explicit.IsZero() {
			continue
		}
		if by == nil {
			by = map[int]*bindingDecl{}
		}
		if e, ok := by[int(d.order)]; ok {
			ds = append(ds, equalOrder(int(d.order), d.explicit, d.id, e.explicit, e.id))
			continue
		}
		by[int(d.order)] = d
	}
	return ds
}

func equalOrder(order int, at diag.Range, id diag.Object, earlierAt diag.Range, earlier diag.Object) diag.Diagnostic {
	if at.Compare(earlierAt) < 0 {
		at, earlierAt, id, earlier = earlierAt, at, earlier, id
	}
	return diag.Diagnostic{Severity: diag.Warning, Code: "link/equal-order", Subject: at, Object: id, Path: "/spec/order",
		Summary: fmt.Sprintf("order %d is also that of %q on the same target; their names decide", order, earlier.Name), Hint: "give each its own order",
		Related: []diag.Related{{Subject: earlierAt, Summary: "the other order"}}}
}

// idle notes Services that no route leads to.
func (s *state) idle() diag.List {
	if s.partial {
		return nil
	}
	ds := s.idleExtensions()
	for _, e := range s.services {
		if len(e.users)+len(e.bindings) > 0 {
			continue
		}
		if d := first(e.services); !d.inline {
			ds = append(ds, diag.Diagnostic{Severity: diag.Note, Code: "link/unused-service", Subject: d.at(), Object: d.id, Path: "/metadata/name",
				Summary: fmt.Sprintf("no route leads to Service %q", d.id.Name), Hint: "route to it, or remove it"})
		}
	}
	return ds
}

// idleExtensions notes Extensions that nothing binds and nothing is made of.
func (s *state) idleExtensions() diag.List {
	used := map[*extension]bool{}
	for _, c := range s.unlisted {
		if c != nil {
			used[c.ext] = true
		}
	}
	for _, x := range s.extensions {
		for _, e := range x.Spec.Extends {
			if p := s.findExtension(e.Name.Value, cmp.Or(e.Namespace.Value, x.ID.Namespace)); p != nil {
				used[p] = true
			}
		}
	}
	var ds diag.List
	for _, x := range s.extensions {
		if !used[x] {
			ds = append(ds, diag.Diagnostic{Severity: diag.Note, Code: "link/unused-extension", Subject: x.Name.Range, Object: x.ID, Path: "/metadata/name",
				Summary: fmt.Sprintf("nothing binds the policy that Extension %q defines", x.ID.Name), Hint: "bind it, or remove it"})
		}
	}
	return ds
}

// idleSelectors warns of automated policies that find no API.
func (s *state) idleSelectors() diag.List {
	if len(s.selectors) == 0 {
		return nil
	}
	found := map[*bindingDecl]bool{}
	for _, e := range s.apis {
		for _, b := range e.api.auto {
			found[b] = true
		}
	}
	var ds diag.List
	for _, b := range s.selectors {
		if found[b] || b.broken {
			continue
		}
		ds = append(ds, diag.Diagnostic{Severity: s.atMost(diag.Warning), Code: "link/selector-matches-nothing", Subject: b.targetAt, Object: b.id, Path: "/spec/targetRef/selector",
			Summary: "this selector finds no ApiInstance" + withLabels(b.labels), Hint: s.labelHint(b)})
	}
	return ds
}

func withLabels(labels map[string]syntax.Text) string {
	var l []string
	for _, k := range sortedKeys(labels) {
		l = append(l, k+": "+labels[k].Value)
	}
	if len(l) == 0 {
		return ""
	}
	return " with the labels " + shorten(strings.Join(l, ", "))
}

// labelHint says what to do about a selector that finds nothing: which value of a label exists, when only the value is another.
func (s *state) labelHint(b *bindingDecl) string {
	values := map[string]bool{}
	for _, k := range sortedKeys(b.labels) {
		for _, e := range s.apis {
			if t, ok := first(e.apis).label(k); ok && t != b.labels[k].Value {
				values[k+": "+t] = true
			}
		}
	}
	if keys := sortedKeys(values); len(keys) > 0 && len(keys) <= 5 {
		return "there are APIs with " + strings.Join(keys, ", ")
	}
	switch {
	case s.partial:
		return "it may be declared outside these files"
	case len(b.labels) == 0:
		return "declare an ApiInstance, or remove the binding"
	}
	return "give an ApiInstance these labels, or select by labels that there are"
}
