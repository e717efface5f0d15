package diff

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// users are the APIs whose routes lead to an upstream.
func users(g *ir.Gateway) map[*ir.Upstream][]diag.Object {
	m := map[*ir.Upstream][]diag.Object{}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			for _, r := range a.Routes {
				for _, s := range r.To {
					if s.Upstream != nil && !slices.Contains(m[s.Upstream], a.Origin.Object) {
						m[s.Upstream] = append(m[s.Upstream], a.Origin.Object)
					}
				}
			}
		}
	}
	return m
}

// services compares the Services. One that comes or goes together with the routes to it is told of there.
func (c *comparison) services() {
	was, now := users(c.old.Gateway), users(c.now.Gateway)
	left := map[string]*ir.Upstream{}
	for _, u := range c.old.Gateway.Upstreams {
		left[u.Name] = u
	}
	for _, u := range c.now.Gateway.Upstreams {
		o := left[u.Name]
		delete(left, u.Name)
		switch {
		case o == nil && len(now[u]) == 0:
			c.add(Change{Class: Traffic, Kind: ServiceAdded, Object: u.Origin.Object, Summary: fmt.Sprintf("Service %s is new: %s", serviceName(u), upstreamText(u)), Reason: "no route leads to it",
				Place: Place{false, u.Origin.Range}, about: []diag.Object{u.Origin.Object}})
		case o != nil && o != u && upstreamText(o) != upstreamText(u):
			c.address(o, u, now[u])
		}
	}
	for _, u := range c.old.Gateway.Upstreams {
		if left[u.Name] != nil && len(was[u]) == 0 {
			c.add(Change{Class: Traffic, Kind: ServiceRemoved, Object: u.Origin.Object, Summary: fmt.Sprintf("Service %s is gone: %s", serviceName(u), upstreamText(u)), Reason: "no route led to it",
				Place: Place{true, u.Origin.Range}, about: []diag.Object{u.Origin.Object}})
		}
	}
}

func serviceName(u *ir.Upstream) string {
	return u.Origin.Object.Namespace + "/" + u.Origin.Object.Name
}

func (c *comparison) address(o, u *ir.Upstream, apis []diag.Object) {
	x := Change{Class: Traffic, Kind: ServiceChanged, Object: u.Origin.Object, Affects: apis, Summary: fmt.Sprintf("Service %s is at %s instead of %s", serviceName(u), upstreamText(u), upstreamText(o)),
		Reason: "requests go elsewhere", Fields: []Field{{Path: "address", Old: upstreamText(o), New: upstreamText(u), Place: Place{false, u.Address}}},
		Place: Place{false, u.Address}, about: []diag.Object{o.Origin.Object, u.Origin.Object}, files: []string{o.Origin.Range.File}}
	switch {
	case o.Scheme == "https" && u.Scheme != "https":
		x.Class, x.Way, x.Reason = Security, Looser, "calls to it are not encrypted any more"
	case o.Scheme != "https" && u.Scheme == "https":
		x.Class, x.Way, x.Reason = Security, Tighter, "calls to it are encrypted"
	}
	c.add(x)
}

// echoes compares the stand-ins for services, which the daemon itself serves.
func (c *comparison) echoes() {
	was := map[string]*ir.Echo{}
	for _, e := range c.old.Gateway.Echoes {
		was[e.Address] = e
	}
	put := func(e *ir.Echo, old bool, what string) {
		c.add(Change{Class: Traffic, Kind: EchoChanged, Object: e.Origin.Object, Summary: fmt.Sprintf("the echo on %s %s", e.Address, what), Reason: "the daemon serves it, whatever Envoy gets",
			Place: Place{old, e.Origin.Range}, about: []diag.Object{e.Origin.Object}, keep: true})
	}
	for _, e := range c.now.Gateway.Echoes {
		if was[e.Address] == nil {
			put(e, false, "is new")
		}
		delete(was, e.Address)
	}
	for _, e := range c.old.Gateway.Echoes {
		if was[e.Address] != nil {
			put(e, true, "is gone")
		}
	}
}

// guarding are the settings of Configuration objects that decide who is believed and who may listen.
var guarding = map[string]string{
	"proxyProtocol": "it decides whose word counts for the address of a client",
	"tls":           "it is what ports and upstreams without TLS settings of their own get",
	"forwardProxy":  "everything that the gateway calls passes through it",
}

// settings compares what Configuration objects say together: from which of them a setting comes does not matter.
func (c *comparison) settings() {
	was, now := merged(c.docs.all[0]), merged(c.docs.all[1])
	known := func(g *ir.Gateway) []diag.Object {
		var os []diag.Object
		for _, o := range g.Settings.Origins {
			os = append(os, o.Object)
		}
		return os
	}
	about := append(known(c.old.Gateway), known(c.now.Gateway)...)
	for _, name := range fieldNames(was.tree, now.tree) {
		fields := compareDeclared(name, was.tree.Get(name), now.tree.Get(name))
		if len(fields) == 0 {
			continue
		}
		x := Change{Class: Traffic, Kind: SettingsChanged, Object: was.owner[name], Summary: fmt.Sprintf("the setting %q of the gateway changes", name), Reason: "it holds for every API", Fields: fields,
			Place: fields[0].Place, about: about, files: append(slices.Clone(was.files), now.files...)}
		if o, ok := now.owner[name]; ok {
			x.Object = o
		}
		if why := guarding[name]; why != "" {
			x.Class, x.Reason = Security, why
		}
		if sameSettings(c.old.Gateway.Settings, c.now.Gateway.Settings) {
			x.Reason, x.keep = "a gateway of the product applies it; flexgw does not yet", true
		}
		c.add(x)
	}
}

func sameSettings(a, b *ir.Settings) bool {
	if a == b {
		return true
	}
	x, y := *a, *b
	x.Origins, y.Origins = nil, nil
	return reflect.DeepEqual(x, y)
}

// allSettings are those of all Configuration objects that were read.
type allSettings struct {
	tree  *ir.Declared
	owner map[string]diag.Object
	files []string
}

func merged(docs []ir.Document) allSettings {
	s := allSettings{tree: &ir.Declared{Kind: ir.Mapping}, owner: map[string]diag.Object{}}
	for _, d := range docs {
		if d.Object.Kind != "Configuration" {
			continue
		}
		s.files = append(s.files, d.Name.File)
		if spec := d.Tree.Get("spec"); spec != nil {
			s.tree.Fields = append(s.tree.Fields, spec.Fields...)
			for _, f := range spec.Fields {
				s.owner[f.Name] = d.Object
			}
		}
	}
	return s
}
