package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// port is what is kept of one port between loads.
type port struct {
	apis     []*entry // longest base path first, then by namespace and name
	segments []*entry // by base path, so that a prefix stands right before what it is a prefix of
	overlap  bool     // some base paths clash
	listener *ir.Listener
}

// linkListeners puts the APIs onto their ports (flex-resources.md, 8.2).
func (s *state) linkListeners() ([]*ir.Listener, diag.List) {
	if s.resort {
		s.sortPorts()
		s.resort = false
	}
	var out []*ir.Listener
	var ds diag.List
	for _, number := range sortedPorts(s.listeners) {
		p := s.listeners[number]
		if p.overlap {
			ds = append(ds, s.clashes(p)...)
		}
		l, more := s.linkListener(p)
		ds = append(ds, more...)
		out = append(out, l)
	}
	ds = append(ds, s.probePorts()...)
	slices.SortFunc(out, func(a, b *ir.Listener) int { return a.Addr.Compare(b.Addr) })
	return out, ds
}

// probePorts refuses a readiness endpoint on a port that something else has (flex-resources.md, 6.6).
func (s *state) probePorts() diag.List {
	var ds diag.List
	for _, o := range s.configs {
		asked := readiness(o)
		if asked == nil {
			continue
		}
		p, n := o.Spec.Probe, asked.Port
		d := diag.Diagnostic{Severity: diag.Error, Code: "link/probe-port-clash", Subject: p.Port.Range, Object: o.ID, Hint: "choose another port"}
		if taken := s.listeners[n]; taken != nil {
			if newer := s.newer(taken, o.ID); len(newer) > 0 {
				for _, a := range newer {
					ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "link/probe-port-clash", Subject: a.address.Range, Object: a.id, Path: "/spec/address", Hint: "choose another port",
						Summary: fmt.Sprintf("port %d is the readiness port of Configuration %q", n, o.ID.Name), Related: []diag.Related{{Subject: p.Port.Range, Summary: "the readiness port"}}})
				}
				continue
			}
			a := first(taken.apis[0].apis)
			d.Summary = fmt.Sprintf("port %d is that of ApiInstance %q", n, a.id.Name)
			d.Related = []diag.Related{{Subject: a.address.Range, Summary: "its address"}}
		} else if sev, what := reservedPort(n, s.target); sev == diag.Error {
			d.Summary = fmt.Sprintf("port %d %s", n, what)
		} else {
			continue
		}
		ds = append(ds, d)
	}
	return ds
}

func sortedPorts(m map[uint16]*port) []uint16 {
	out := make([]uint16, 0, len(m))
	for n := range m {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (s *state) sortPorts() {
	old := s.listeners
	s.listeners = map[uint16]*port{}
	slices.SortFunc(s.apis, func(a, b *entry) int {
		x, y := &a.api.listen, &b.api.listen
		if c := cmp.Or(cmp.Compare(x.addr.Port(), y.addr.Port()), cmp.Compare(len(y.base), len(x.base))); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.id.Namespace, b.id.Namespace), strings.Compare(a.id.Name, b.id.Name))
	})
	for _, e := range s.apis {
		if !e.api.listen.ok {
			continue
		}
		n := e.api.listen.addr.Port()
		p := s.listeners[n]
		if p == nil {
			p = &port{}
			if o := old[n]; o != nil {
				p.listener = o.listener
			}
			s.listeners[n] = p
		}
		p.apis = append(p.apis, e)
		e.port = p
	}
	for n, p := range s.listeners {
		p.segments = make([]*entry, 0, len(p.apis))
		if o := old[n]; o != nil { // in the order that they were in, which is nearly the one that they will be in
			for _, e := range o.segments {
				if e.port == p {
					p.segments, e.port = append(p.segments, e), nil
				}
			}
		}
		for _, e := range p.apis {
			if e.port == p {
				p.segments, e.port = append(p.segments, e), nil
			}
		}
		slices.SortFunc(p.segments, func(a, b *entry) int {
			if c := compareSegments(a.api.listen.base, b.api.listen.base); c != 0 {
				return c
			}
			return cmp.Or(first(a.apis).at().Compare(first(b.apis).at()), byObject(a.id, b.id))
		})
		p.overlap = len(s.clashes(p)) > 0
	}
}

// compareSegments orders paths so that all paths below one follow it: "/" sorts before every other byte.
func compareSegments(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x == '/' {
			return -1
		}
		if y == '/' {
			return 1
		}
		return cmp.Compare(x, y)
	}
	return cmp.Compare(len(a), len(b))
}

// covers reports whether base is path, or a prefix of it by whole segments.
func covers(base, path string) bool {
	return strings.HasPrefix(path, base) && (len(path) == len(base) || path[len(base)] == '/')
}

// clashes finds base paths that overlap. Each API is told once, at the later of two.
func (s *state) clashes(p *port) diag.List {
	type clash struct{ later, earlier *entry }
	var found []clash
	var above []*entry
	for _, e := range p.segments {
		base := e.api.listen.base
		for len(above) > 0 && !covers(above[len(above)-1].api.listen.base, base) {
			above = above[:len(above)-1]
		}
		if len(above) > 0 {
			a, b := above[len(above)-1], e
			if s.compare(&first(a.apis).decl, &first(b.apis).decl) > 0 {
				a, b = b, a
			}
			found = append(found, clash{later: b, earlier: a})
		}
		above = append(above, e)
	}
	slices.SortStableFunc(found, func(a, b clash) int { return first(a.earlier.apis).at().Compare(first(b.earlier.apis).at()) })
	var ds diag.List
	told := map[*entry]int{}
	for _, c := range found {
		earlier := first(c.earlier.apis)
		related := diag.Related{Subject: earlier.address.Range, Summary: fmt.Sprintf("ApiInstance %q has %s", earlier.id.Name, baseWords(earlier.listen.base))}
		if i, ok := told[c.later]; ok {
			if len(ds[i].Related) < 5 {
				ds[i].Related = append(ds[i].Related, related)
			}
			continue
		}
		d := first(c.later.apis)
		told[c.later] = len(ds)
		how := "is the same as"
		if d.listen.base != earlier.listen.base {
			how = "overlaps with"
		}
		ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "link/base-path-clash", Subject: d.address.Range, Object: d.id, Path: "/spec/address",
			Summary: fmt.Sprintf("%s on port %d %s %s of ApiInstance %q", baseWords(d.listen.base), d.listen.addr.Port(), how, baseWords(earlier.listen.base), earlier.id.Name),
			Hint:    "base paths on one port must differ in a whole segment; choose another path or port", Related: []diag.Related{related}})
	}
	return ds
}

func baseWords(base string) string {
	if base == "" {
		return "the empty base path"
	}
	return fmt.Sprintf("base path %q", base)
}

// linkListener makes the listener of a port, the same as before when nothing of it changed.
func (s *state) linkListener(p *port) (*ir.Listener, diag.List) {
	// One pass over all APIs of the port, 10,000 of them perhaps, in each load: it looks at nothing but what is linked.
	out := &ir.Listener{Addr: p.apis[0].api.listen.addr, APIs: make([]*ir.API, len(p.apis))}
	same := true
	var seen map[*bindingDecl]bool
	tls := portTLS{scheme: p.apis[0].api.listen.scheme}
	for i, e := range p.apis {
		l := e.api
		out.APIs[i] = l.api
		tls.mixed = tls.mixed || l.listen.scheme != tls.scheme
		same = same && l.listen.addr == out.Addr && !tls.mixed
		tls.gaps = tls.gaps || l.gaps.tls
		for _, b := range l.tls {
			if seen == nil {
				seen = map[*bindingDecl]bool{}
			}
			if !seen[b] {
				seen[b], tls.bindings = true, append(tls.bindings, b)
			}
		}
	}
	var ds diag.List
	if !same {
		lead := s.lead(p)
		out.Addr, tls.scheme = lead.listen.addr, lead.listen.scheme
		for _, e := range p.apis {
			ds = append(ds, sharesPort(lead, first(e.apis))...)
		}
	}
	var more diag.List
	out.TLS, more = s.linkTLS(p, tls)
	ds = append(ds, more...)
	if o := p.listener; o != nil && o.Addr == out.Addr && o.TLS == out.TLS && slices.Equal(o.APIs, out.APIs) {
		return o, ds
	}
	p.listener = out
	return out, ds
}

// lead is the API of the port that stands first.
func (s *state) lead(p *port) *apiDecl {
	lead := first(p.apis[0].apis)
	for _, e := range p.apis[1:] {
		if d := first(e.apis); s.compare(&d.decl, &lead.decl) < 0 {
			lead = d
		}
	}
	return lead
}

func sharesPort(lead, d *apiDecl) diag.List {
	if d == lead {
		return nil
	}
	var ds diag.List
	clash := func(code diag.Code, summary, hint string) {
		ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: code, Subject: d.address.Range, Object: d.id, Path: "/spec/address", Summary: summary, Hint: hint,
			Related: []diag.Related{{Subject: lead.address.Range, Summary: fmt.Sprintf("the address of ApiInstance %q", lead.id.Name)}}})
	}
	if a, b := lead.listen.addr.Addr(), d.listen.addr.Addr(); a != b {
		clash("link/bind-host-differs", fmt.Sprintf("port %d is bound to %s here and to %s by ApiInstance %q", d.listen.addr.Port(), b, a, lead.id.Name), "APIs on one port have one host; choose one host, or another port")
	} else if lead.listen.scheme != d.listen.scheme {
		clash("link/scheme-differs", fmt.Sprintf("port %d is %s here and %s for ApiInstance %q", d.listen.addr.Port(), d.listen.scheme, lead.listen.scheme, lead.id.Name), "TLS belongs to the port; choose one protocol, or another port")
	}
	return ds
}

// portTLS is what the APIs of a port say about its TLS.
type portTLS struct {
	scheme   string // of the first API
	mixed    bool   // others have another one, which is said of them: with http, nothing lacks TLS
	gaps     bool   // some binding is wrong, and may have been of the policy tls
	bindings []*bindingDecl
}

// strayTLS reports whether some binding of the policy tls does not reach what it was meant for, which has been said.
func (s *state) strayTLS() bool {
	return slices.ContainsFunc(s.order, func(k *keptUnit) bool {
		return slices.ContainsFunc(k.result.bindings, func(b *bindingDecl) bool {
			e := s.objects[b.target]
			return b.policy == "tls" && (b.broken || e != nil && s.orphans[e])
		})
	})
}

// linkTLS finds the one tls binding of a port. Several with equal content are one.
func (s *state) linkTLS(p *port, t portTLS) (*ir.Binding, diag.List) {
	all := t.bindings
	if len(all) == 0 && (t.scheme != "https" || t.mixed || t.gaps || s.strayTLS()) {
		return nil, nil
	}
	lead := s.lead(p)
	number := lead.listen.addr.Port()
	if len(all) == 0 {
		return nil, diag.List{{Severity: s.absent(), Code: "link/https-without-tls", Subject: lead.address.Range, Object: lead.id, Path: "/spec/address",
			Summary: fmt.Sprintf("address %s is https, but no policy \"tls\" is bound to an API on port %d", showAddress(lead.address.Value), number), Hint: `bind the policy "tls" with a certificate, or write http`}}
	}
	slices.SortFunc(all, func(a, b *bindingDecl) int {
		return cmp.Or(later(!a.automated, !b.automated), strings.Compare(a.id.Namespace, b.id.Namespace), strings.Compare(a.id.Name, b.id.Name), a.at().Compare(b.at()))
	})
	all = slices.CompactFunc(all, func(a, b *bindingDecl) bool { return a.id == b.id })
	var ds diag.List
	one := all[0]
	for _, b := range all[1:] {
		if b.broken || one.broken || len(b.ir.Unresolved()) > 0 || len(one.ir.Unresolved()) > 0 || b.content == one.content {
			continue
		}
		x, y := one, b
		if s.compare(&y.decl, &x.decl) < 0 {
			x, y = y, x
		}
		ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "link/tls-twice", Subject: y.at(), Object: y.owner(), Path: "/metadata/name",
			Summary: fmt.Sprintf("port %d has two different policies \"tls\"; TLS belongs to the port", number), Hint: "give both the same configuration, or the APIs different ports",
			Related: []diag.Related{{Subject: x.at(), Summary: "the other one"}}})
	}
	if lead.listen.scheme == "http" {
		ds = append(ds, diag.Diagnostic{Severity: diag.Note, Code: "link/tls-on-http", Subject: lead.address.Range, Object: lead.id, Path: "/spec/address",
			Summary: fmt.Sprintf("port %d speaks TLS: a policy \"tls\" is bound to an API on it", number), Hint: "write https:// to say so"})
	}
	if one.broken {
		return nil, ds
	}
	return one.ir, ds
}
