package diff

import (
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// resources holds what was found against what Envoy gets: a change that changes no byte of it is cosmetic, and bytes that change
// without a change that explains them are told of.
func (c *comparison) resources(r *Report) {
	keys := c.now.Resources.Changed(c.old.Resources)
	c.shown = map[diag.Object]bool{}
	for _, k := range keys {
		for _, o := range c.origins(k) {
			c.shown[o.Object] = true
		}
	}
	told := map[diag.Object]bool{}
	everywhere := false
	for i := range c.changes {
		x := &c.changes[i]
		if len(x.about) > 0 && !x.keep && x.Class != Cosmetic && !slices.ContainsFunc(x.about, func(o diag.Object) bool { return c.shown[o] }) &&
			(x.Kind != SettingsChanged || len(keys) == 0) {
			x.Class, x.Way, x.Reason = Cosmetic, "", "nothing that Envoy gets depends on it"
		}
		everywhere = everywhere || x.Kind == SettingsChanged
		for _, o := range slices.Concat(x.about, x.Affects, []diag.Object{x.Object}) {
			told[o] = true
		}
	}
	sorted := c.sorted()
	for _, k := range keys {
		_, before := c.old.Resources.Get(k)
		_, after := c.now.Resources.Get(k)
		name := shortType(k.TypeURL) + " " + k.Name
		switch {
		case !before:
			r.Added = append(r.Added, name)
		case !after:
			r.Removed = append(r.Removed, name)
		default:
			r.Changed = append(r.Changed, name)
		}
		origins := c.origins(k)
		if everywhere || len(origins) == 0 && len(c.changes) > 0 || slices.ContainsFunc(origins, func(o ir.Origin) bool { return told[o.Object] }) || sorted[portOf(k)] {
			continue
		}
		x := Change{Class: Traffic, Kind: ResourceChanged, Summary: "Envoy gets another " + name, Reason: "it follows from what is declared here"}
		if len(origins) > 0 {
			x.Object, x.Place = origins[0].Object, Place{!after, origins[0].Range}
		}
		c.add(x)
	}
	r.Ports = c.clients(keys)
}

// sorted are the ports whose base paths are others: they decide together which APIs share a scope (design.md, decision 6).
func (c *comparison) sorted() map[uint16]bool {
	m := map[uint16]bool{}
	was := byPort(c.old.Gateway)
	for n, l := range byPort(c.now.Gateway) {
		o := was[n]
		m[n] = o != nil && !slices.Equal(basePaths(o), basePaths(l))
	}
	return m
}

// origins are those of a resource on the new side, or else on the old one, and of both where it is on both.
func (c *comparison) origins(k render.Key) []ir.Origin {
	var out []ir.Origin
	for _, res := range []*render.Resources{c.now.Resources, c.old.Resources} {
		if x, ok := res.Get(k); ok {
			for _, o := range x.Origins {
				out = append(out, *o)
			}
		}
	}
	return out
}

func shortType(url string) string { return url[strings.LastIndexByte(url, '.')+1:] }
