package lint

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/regex"
)

// authenticated reports whether some of an API's requests must show who sends them.
func authenticated(l *ir.Listener, a *ir.API) bool {
	if l.TLS != nil && l.TLS.Guard == ir.Authenticates {
		return true
	}
	return slices.ContainsFunc(a.Bindings, func(b *ir.Binding) bool { return b.Guard == ir.Authenticates })
}

// openAPIs finds APIs that everybody can call. One beside as many others that ask for credentials is worth a warning, for it
// may have been forgotten; where hardly any asks, it is how the port is meant, and one note says so.
func openAPIs(g *ir.Gateway, o Options) diag.List {
	if g.Gaps {
		return nil
	}
	var out diag.List
	for _, l := range g.Listeners {
		if l.Addr.Addr().IsLoopback() {
			continue
		}
		var open []*ir.API
		guarded := 0
		for _, a := range l.APIs {
			switch {
			case authenticated(l, a):
				guarded++
			case len(a.Routes) > 0 && !a.Gaps:
				open = append(open, a)
			}
		}
		const hint = "bind a policy that authenticates, or require client certificates"
		if guarded > 0 && guarded >= len(open) && !o.Partial {
			for _, a := range open {
				out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/open-api", Object: a.Origin.Object, Subject: a.Address, Path: "/spec/address", Hint: hint,
					Summary: fmt.Sprintf("ApiInstance %q asks nobody who they are; %d of %d APIs on port %d do", a.Origin.Object.Name, guarded, len(l.APIs), l.Addr.Port())})
			}
			continue
		}
		out = append(out, once(open, diag.Diagnostic{Code: "lint/open-api", Path: "/spec/address", Hint: hint}, func(a *ir.API, others string) string {
			return fmt.Sprintf("ApiInstance %q%s on port %d asks nobody who they are", a.Origin.Object.Name, others, l.Addr.Port())
		})...)
	}
	return out
}

// once is one note about several APIs, at the first.
func once(apis []*ir.API, d diag.Diagnostic, say func(a *ir.API, others string) string) diag.List {
	if len(apis) == 0 {
		return nil
	}
	apis = slices.Clone(apis)
	slices.SortFunc(apis, func(a, b *ir.API) int { return a.Origin.Range.Compare(b.Origin.Range) })
	others := ""
	if n := len(apis) - 1; n > 0 {
		others = fmt.Sprintf(" and %d more", n)
	}
	d.Severity, d.Object, d.Subject, d.Summary = diag.Note, apis[0].Origin.Object, apis[0].Address, say(apis[0], others)
	return diag.List{d}
}

// gettingPast looks for requests that a route takes and a conditional guard misses, though they are next to those that it is
// for: a path with a last slash or without it, or a header that a client may leave out.
func gettingPast(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	var k comparing
	each(g, func(l *ir.Listener, a *ir.API, b *ir.Binding) {
		if b.Guard == ir.GuardNone || len(b.Rules) == 0 || a.Gaps || shielded(a, b) {
			return
		}
		if d, ok := headerDecides(b); ok {
			out = append(out, d)
			return
		}
		if d, ok := k.hostDecides(a, b); ok {
			out = append(out, d)
			return
		}
		for _, m := range b.Rules {
			if d, ok := k.missed(a, b, m); ok {
				out = append(out, d)
				break
			}
		}
	})
	return out
}

// missed finds a path beside those of a rule that gets past it.
func (k *comparing) missed(a *ir.API, b *ir.Binding, m ir.Match) (diag.Diagnostic, bool) {
	pattern, paths, all := neighbours(m.Path.Text)
	if !all && b.Guard != ir.Authenticates {
		return diag.Diagnostic{}, false // a limit for one path may well be meant for that one
	}
	for _, path := range paths {
		if !k.reaches(a, path) || k.guards(b, path) {
			continue
		}
		hint := "let the pattern take it too: " + pattern + "/?"
		if all {
			hint = "let the pattern take it too: " + pattern + "(?:/.*)?"
		}
		return diag.Diagnostic{Severity: diag.Warning, Code: "lint/bypass", Object: b.Origin.Declared(), Subject: m.Path.Range,
			Summary: fmt.Sprintf("policy %q runs for %s, but %q gets past it to the upstream", b.Policy, m.Path.Text, a.BasePath+path), Hint: hint}, true
	}
	return diag.Diagnostic{}, false
}

// shielded reports whether another policy of the same strength runs for every request.
func shielded(a *ir.API, b *ir.Binding) bool {
	return slices.ContainsFunc(a.Bindings, func(o *ir.Binding) bool { return o != b && o.Guard == b.Guard && len(o.Rules) == 0 })
}

// headerDecides finds a guard all of whose rules ask for a header: a client that leaves it out is not asked.
func headerDecides(b *ir.Binding) (diag.Diagnostic, bool) {
	for _, m := range b.Rules {
		if len(m.Headers) == 0 {
			return diag.Diagnostic{}, false
		}
	}
	h := b.Rules[0].Headers[0]
	return diag.Diagnostic{Severity: diag.Warning, Code: "lint/bypass", Object: b.Origin.Declared(), Subject: h.Range,
		Summary: fmt.Sprintf("policy %q runs only for requests with the header %q, which a client can leave out", b.Policy, h.Name),
		Hint:    "choose requests by path or method; what a client sends must not decide whether it is checked"}, true
}

// hostDecides finds a guard all of whose rules ask for a host, on an API that takes requests to others: a client writes whatever
// host it likes. Other bindings of the policy may guard the other hosts.
func (k *comparing) hostDecides(a *ir.API, b *ir.Binding) (diag.Diagnostic, bool) {
	var hosts []ir.Pattern
	for _, o := range a.Bindings {
		if o != b && o.Policy != b.Policy {
			continue
		}
		for _, m := range o.Rules {
			if m.Host.IsZero() {
				return diag.Diagnostic{}, false
			}
			hosts = append(hosts, m.Host)
		}
	}
	guarded := func(p ir.Pattern) bool {
		return !p.IsZero() && slices.ContainsFunc(hosts, func(h ir.Pattern) bool { return h.Text == p.Text || k.covers(h.Text, p.Text) })
	}
	any := ir.Pattern{Text: ".*"}
	for _, r := range a.Routes {
		if len(r.Rules) == 0 && !guarded(any) || slices.ContainsFunc(r.Rules, func(m ir.Match) bool {
			return m.Host.IsZero() && !guarded(any) || !m.Host.IsZero() && !guarded(m.Host)
		}) {
			h := b.Rules[0].Host
			return diag.Diagnostic{Severity: diag.Warning, Code: "lint/bypass", Object: b.Origin.Declared(), Subject: h.Range,
				Summary: fmt.Sprintf("policy %q runs only for requests to the host %s, and a client can write another one", b.Policy, h.Text),
				Hint:    "let the routes take requests to that host alone, or choose requests by path or method"}, true
		}
	}
	return diag.Diagnostic{}, false
}

// maxNeighbours bounds how many paths a pattern such as /(a|b|c)/.* is taken apart into.
const maxNeighbours = 16

// neighbours are the paths that a pattern such as /admin/.* or /admin misses though it means them: the same page without its last
// slash, or with one. all: the pattern takes everything below stem, which is the part that says which pages.
func neighbours(pattern string) (stem string, paths []string, all bool) {
	p := strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$")
	stem, last := p, "/"
	for _, tail := range []string{"/.*", "/(.*)", "(/.*)", "/.+", "(/.+)", "/(?:.*)", "(?:/.*)", "/(?:.+)", "(?:/.+)"} {
		if s, ok := strings.CutSuffix(p, tail); ok {
			stem, last, all = s, "", true
			break
		}
	}
	if s, ok := strings.CutSuffix(stem, "/"); ok && !all {
		stem, last = s, ""
	}
	re, err := regex.Parse(stem)
	if err != nil || stem == "" || all && choosesOutside(stem) {
		return "", nil, false
	}
	if choosesOutside(stem) {
		stem = "(?:" + stem + ")"
	}
	for _, text := range texts(re.Simplify()) {
		if path := text + last; path != "" && path != "/" && strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "//") {
			paths = append(paths, path)
		}
	}
	return stem, paths, all
}

// choosesOutside reports whether an expression has alternatives that stand in no group: what follows it belongs to the last one.
func choosesOutside(s string) bool {
	depth, class := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			return true
		}
	}
	return false
}

// texts are the values of an expression that is made of plain text and alternatives; nil: it is not, or has too many.
func texts(re *syntax.Regexp) []string {
	var out []string
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return nil
		}
		return []string{string(re.Rune)}
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if out = append(out, string(r)); len(out) > maxNeighbours {
					return nil
				}
			}
		}
		return out
	case syntax.OpCapture:
		return texts(re.Sub[0])
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			some := texts(sub)
			if some == nil {
				return nil
			}
			out = append(out, some...)
		}
	case syntax.OpQuest:
		some := texts(re.Sub[0])
		if some == nil {
			return nil
		}
		out = append(some, "")
	case syntax.OpConcat:
		out = []string{""}
		for _, sub := range re.Sub {
			var next []string
			for _, end := range texts(sub) {
				for _, begin := range out {
					next = append(next, begin+end)
				}
			}
			if out = next; len(out) > maxNeighbours {
				return nil
			}
		}
	default:
		return nil
	}
	if len(out) > maxNeighbours {
		return nil
	}
	return out
}

// reaches reports whether some route takes a path, whatever else it asks for.
func (k *comparing) reaches(a *ir.API, path string) bool {
	return slices.ContainsFunc(a.Routes, func(r *ir.Route) bool {
		return len(r.Rules) == 0 || slices.ContainsFunc(r.Rules, func(m ir.Match) bool { return k.fits(m.Path, path) })
	})
}

// guards reports whether a rule of a binding takes a path.
func (k *comparing) guards(b *ir.Binding, path string) bool {
	return slices.ContainsFunc(b.Rules, func(m ir.Match) bool { return k.fits(m.Path, path) })
}

func (k *comparing) fits(p ir.Pattern, path string) bool {
	return p.IsZero() || k.overlap(p.Text, regexp.QuoteMeta(path))
}

// comparing compares the expressions of one gateway, each pair once, and no more than maxCompared: what is not known then is not
// complained of.
type comparing struct{ known map[compared]bool }

type compared struct {
	a, b   string
	covers bool
}

const maxCompared = 10_000

// overlap is true also when that is not known.
func (k *comparing) overlap(a, b string) bool {
	return k.once(compared{a, b, false}, func() bool { overlap, known := regex.Overlap(a, b, "/"); return overlap || !known })
}

// covers is true also when that is not known because of what was compared before.
func (k *comparing) covers(a, b string) bool {
	return k.once(compared{a, b, true}, func() bool { return regex.Covers(a, b, "") })
}

func (k *comparing) once(x compared, find func() bool) bool {
	found, known := k.known[x]
	switch {
	case known:
		return found
	case len(k.known) >= maxCompared:
		return true
	case k.known == nil:
		k.known = map[compared]bool{}
	}
	found = find()
	k.known[x] = found
	return found
}

// idlePolicies finds policies whose rules fit no request that a route takes: they never run, which for a guard means that
// nothing is guarded.
func idlePolicies(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	var k comparing
	each(g, func(l *ir.Listener, a *ir.API, b *ir.Binding) {
		if len(b.Rules) == 0 || a.Gaps || len(a.Routes) == 0 {
			return
		}
		for _, m := range b.Rules {
			if m.Path.IsZero() || k.meets(a, m.Path.Text) {
				return
			}
		}
		out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/idle-policy", Object: b.Origin.Declared(), Subject: b.Rules[0].Path.Range,
			Summary: fmt.Sprintf("policy %q never runs: no route of ApiInstance %q takes a path that fits %s", b.Policy, a.Origin.Object.Name, b.Rules[0].Path.Text),
			Hint:    "compare its path with those of the routes; both are matched without the base path",
			Related: []diag.Related{{Subject: a.Routes[0].Origin.Range, Summary: "a route"}}})
	})
	return out
}

// meets reports whether a route may take a path that fits a pattern.
func (k *comparing) meets(a *ir.API, pattern string) bool {
	return slices.ContainsFunc(a.Routes, func(r *ir.Route) bool {
		return len(r.Rules) == 0 || slices.ContainsFunc(r.Rules, func(m ir.Match) bool {
			return m.Path.IsZero() || k.overlap(m.Path.Text, pattern)
		})
	})
}

// clearCredentials finds policies that ask for credentials on a port that does not encrypt.
func clearCredentials(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	for _, l := range g.Listeners {
		if l.TLS != nil || l.Addr.Addr().IsLoopback() {
			continue
		}
		var asking []*ir.API
		for _, a := range l.APIs {
			if !a.Gaps && slices.ContainsFunc(a.Bindings, func(b *ir.Binding) bool { return b.Guard == ir.Authenticates }) {
				asking = append(asking, a)
			}
		}
		out = append(out, once(asking, diag.Diagnostic{Code: "lint/clear-credentials", Path: "/spec/address", Hint: `bind the policy "tls", unless something before the gateway encrypts`},
			func(a *ir.API, others string) string {
				return fmt.Sprintf("ApiInstance %q%s asks for credentials on port %d, which does not encrypt", a.Origin.Object.Name, others, l.Addr.Port())
			})...)
	}
	return out
}

// each calls f for every policy in the chain of an API.
func each(g *ir.Gateway, f func(*ir.Listener, *ir.API, *ir.Binding)) {
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			for _, b := range a.Bindings {
				f(l, a, b)
			}
		}
	}
}
