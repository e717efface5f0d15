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
// for: a path without the last slash, or a header that a client may leave out.
func gettingPast(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	each(g, func(l *ir.Listener, a *ir.API, b *ir.Binding) {
		if b.Guard == ir.GuardNone || len(b.Rules) == 0 || a.Gaps || shielded(a, b) {
			return
		}
		if d, ok := headerDecides(b); ok {
			out = append(out, d)
			return
		}
		for _, m := range b.Rules {
			if path := beside(m.Path.Text); path != "" && reaches(a, path) && !guards(b, path) {
				out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/bypass", Object: b.Origin.Declared(), Subject: m.Path.Range,
					Summary: fmt.Sprintf("policy %q runs for %s, but %q gets past it to the upstream", b.Policy, m.Path.Text, a.BasePath+path),
					Hint:    fmt.Sprintf("let the pattern take it too: %s(/.*)?", strings.TrimSuffix(regexp.QuoteMeta(path), "/"))})
				break
			}
		}
	})
	return out
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

// beside is the path that a pattern such as /admin/.* misses though it means it: /admin. "" when there is none.
func beside(pattern string) string {
	p := strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$")
	for _, tail := range []string{"/.*", "/(.*)", "(/.*)", "/.+", "(/.+)", "/(?:.*)", "(?:/.*)"} {
		stem, ok := strings.CutSuffix(p, tail)
		if !ok || stem == "" {
			continue
		}
		if re, err := syntax.Parse(stem, syntax.Perl); err == nil && re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase == 0 {
			return string(re.Rune)
		}
	}
	return ""
}

// reaches reports whether some route takes a path, whatever else it asks for.
func reaches(a *ir.API, path string) bool {
	return slices.ContainsFunc(a.Routes, func(r *ir.Route) bool {
		return len(r.Rules) == 0 || slices.ContainsFunc(r.Rules, func(m ir.Match) bool { return fits(m.Path, path) })
	})
}

// guards reports whether a rule of a binding takes a path.
func guards(b *ir.Binding, path string) bool {
	return slices.ContainsFunc(b.Rules, func(m ir.Match) bool { return fits(m.Path, path) })
}

func fits(p ir.Pattern, path string) bool {
	if p.IsZero() {
		return true
	}
	overlap, known := regex.Overlap(p.Text, regexp.QuoteMeta(path), "/")
	return overlap || !known
}

// idlePolicies finds policies whose rules fit no request that a route takes: they never run, which for a guard means that
// nothing is guarded.
func idlePolicies(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	each(g, func(l *ir.Listener, a *ir.API, b *ir.Binding) {
		if len(b.Rules) == 0 || a.Gaps || len(a.Routes) == 0 {
			return
		}
		for _, m := range b.Rules {
			if m.Path.IsZero() || meets(a, m.Path.Text) {
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
func meets(a *ir.API, pattern string) bool {
	return slices.ContainsFunc(a.Routes, func(r *ir.Route) bool {
		return len(r.Rules) == 0 || slices.ContainsFunc(r.Rules, func(m ir.Match) bool {
			if m.Path.IsZero() {
				return true
			}
			overlap, known := regex.Overlap(m.Path.Text, pattern, "/")
			return overlap || !known
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
