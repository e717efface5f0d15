package lint

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// soon is how long before its end a certificate is worth a warning: long enough to renew it without haste.
const soon = 30 * 24 * time.Hour

// certificates judges when certificates are valid.
func certificates(g *ir.Gateway, o Options) diag.List {
	var out diag.List
	seen := map[*ir.Binding]bool{}
	judge := func(b *ir.Binding) {
		if b == nil || seen[b] {
			return
		}
		seen[b] = true
		for _, v := range b.More().Validity {
			d := diag.Diagnostic{Object: b.Origin.Declared(), Subject: v.At, Hint: "renew it"}
			day := v.Until.UTC().Format(time.DateOnly)
			switch {
			case o.Today.After(v.Until):
				d.Severity, d.Code, d.Summary = diag.Error, "lint/expired-certificate", fmt.Sprintf("%s ended on %s: whoever checks it refuses the connection", v.What, day)
			case o.Today.Before(v.From):
				d.Severity, d.Code, d.Summary = diag.Warning, "lint/early-certificate", fmt.Sprintf("%s is not valid before %s", v.What, v.From.UTC().Format(time.DateOnly))
				d.Hint = "wait until then, or use another one; also check the clock of this machine"
			case o.Today.Add(soon).After(v.Until):
				d.Severity, d.Code, d.Summary = diag.Warning, "lint/certificate-ends-soon", fmt.Sprintf("%s ends on %s", v.What, day)
			default:
				continue
			}
			out = append(out, d)
		}
	}
	for _, l := range g.Listeners {
		judge(l.TLS)
	}
	for _, u := range g.Upstreams {
		for _, b := range u.Bindings {
			judge(b)
		}
	}
	return out
}

// maxAPIs is how many APIs the product supports on one gateway (flex-resources.md, 11.9; the figure is there since 1.6).
const maxAPIs = 600

func tooManyAPIs(g *ir.Gateway, o Options) diag.List {
	var apis []*ir.API
	for _, l := range g.Listeners {
		apis = append(apis, l.APIs...)
	}
	if len(apis) <= maxAPIs || o.Target.Before(ir.Release{Major: 1, Minor: 6}) {
		return nil
	}
	slices.SortFunc(apis, func(a, b *ir.API) int { return a.Origin.Range.Compare(b.Origin.Range) })
	a := apis[maxAPIs]
	return diag.List{{Severity: diag.Warning, Code: "lint/too-many-apis", Object: a.Origin.Object, Subject: a.Origin.Range, Path: "/metadata/name",
		Summary: fmt.Sprintf("this gateway has %d APIs; release %v of the product supports %d", len(apis), o.Target, maxAPIs), Hint: "spread them over several gateways; flexgw itself has no such limit"}}
}

// loops finds upstreams that are the gateway itself.
func loops(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	for _, u := range g.Upstreams {
		host := u.Host
		if host == "localhost" {
			host = "127.0.0.1"
		}
		ip, err := netip.ParseAddr(host)
		if err != nil || !ip.IsLoopback() && !ip.IsUnspecified() {
			continue
		}
		i := slices.IndexFunc(g.Listeners, func(l *ir.Listener) bool {
			return l.Addr.Port() == u.Port && (l.Addr.Addr().IsUnspecified() || l.Addr.Addr() == ip || ip.IsUnspecified())
		})
		if i < 0 || len(g.Listeners[i].APIs) == 0 {
			continue
		}
		a := g.Listeners[i].APIs[0]
		out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/loop", Object: u.Origin.Declared(), Subject: u.Address,
			Summary: fmt.Sprintf("the upstream %s:%d is this gateway itself, so requests may go round in circles", u.Host, u.Port),
			Hint:    "write the address of the service behind the gateway", Related: []diag.Related{{Subject: a.Address, Summary: fmt.Sprintf("ApiInstance %q listens there", a.Origin.Object.Name)}}})
	}
	return out
}

// bytePatterns finds patterns that two readers read differently: the product's RE2 goes by bytes, so that "." is half of an "ö"
// and a class of such letters is something else; most people, and Go, go by characters.
func bytePatterns(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	said := map[diag.Range]bool{}
	judge := func(id diag.Object, what string, p ir.Pattern) {
		if ascii(p.Text) || said[p.Range] {
			return
		}
		said[p.Range] = true
		out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/byte-pattern", Object: id, Subject: p.Range,
			Summary: fmt.Sprintf("%s pattern %q has characters beyond ASCII, which the gateway matches byte by byte", what, p.Text),
			Hint:    "write what clients send: %-escapes in paths, xn-- names in hosts"})
	}
	match := func(id diag.Object, rules []ir.Match) {
		for _, m := range rules {
			judge(id, "host", m.Host)
			judge(id, "methods", m.Method)
			for _, h := range m.Headers {
				judge(id, "header", h.Pattern)
			}
		}
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			for _, r := range a.Routes {
				match(r.Origin.Declared(), r.Rules)
			}
			for _, b := range a.Bindings {
				match(b.Origin.Declared(), b.Rules)
			}
		}
	}
	return out
}

// withoutStorage finds policies that are to count or keep for all replicas together, where nothing is shared.
func withoutStorage(g *ir.Gateway, o Options) diag.List {
	if g.Settings != nil && g.Settings.SharedStorage || o.Partial {
		return nil
	}
	var out diag.List
	each(g, func(_ *ir.Listener, _ *ir.API, b *ir.Binding) {
		if b.Shares {
			out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/no-shared-storage", Object: b.Origin.Declared(), Subject: b.PolicyAt(),
				Summary: fmt.Sprintf("policy %q is to be shared by all replicas, and no Configuration has a sharedStorage", b.Policy),
				Hint:    "declare sharedStorage, or leave each replica its own"})
		}
	})
	return out
}

// withoutCollector finds APIs whose requests are to be traced, where nothing says who takes the spans.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-tracing
func withoutCollector(g *ir.Gateway, o Options) diag.List {
	if g.Settings != nil && g.Settings.Tracing || o.Partial {
		return nil
	}
	var out diag.List
	each(g, func(_ *ir.Listener, _ *ir.API, b *ir.Binding) {
		if b.Policy == "tracing-flex" {
			out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/no-tracing-provider", Object: b.Origin.Declared(), Subject: b.PolicyAt(),
				Summary: fmt.Sprintf("policy %q traces nothing: no Configuration has a tracing.provider that takes the spans", b.Policy),
				Hint:    "declare a Configuration with tracing.provider, or remove the policy"})
		}
	})
	return out
}

// setTwice finds two policies of one API that set the same thing of every request. Where one of them has rules, the pair may be
// meant: one for most requests, one for some.
func setTwice(g *ir.Gateway, _ Options) diag.List {
	var out diag.List
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			if few(a.Bindings, sets) {
				continue
			}
			by := map[string]*ir.Binding{}
			for _, b := range a.Bindings {
				if !sets(b) {
					continue
				}
				for _, what := range b.Config().(ir.Setter).Sets() {
					first := by[what]
					if by[what] = b; first == nil || first == b {
						continue
					}
					out = append(out, diag.Diagnostic{Severity: diag.Warning, Code: "lint/set-twice", Object: b.Origin.Declared(), Subject: b.PolicyAt(),
						Summary: fmt.Sprintf("two policies of ApiInstance %q set the %s of every request", a.Origin.Object.Name, what),
						Hint:    "set it in one of them, or give one of them rules", Related: []diag.Related{{Subject: first.PolicyAt(), Summary: "the other one"}}})
				}
			}
		}
	}
	return out
}

// sets reports whether a policy sets the same things of every request.
func sets(b *ir.Binding) bool {
	return b.Sets && len(b.Rules) == 0
}

// few reports whether less than two have a property.
func few(l []*ir.Binding, has func(*ir.Binding) bool) bool {
	i := slices.IndexFunc(l, has)
	return i < 0 || !slices.ContainsFunc(l[i+1:], has)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
