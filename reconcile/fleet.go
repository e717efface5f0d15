package reconcile

import (
	"slices"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Several Envoys: what one on another host cannot have, and what it refuses that was right before.

// Limits are what an Envoy on another host does not get of a gateway, at the places where it is declared. local says whether one
// is connected on this host too, which can be asked in its place.
func Limits(g *ir.Gateway, local bool) diag.List {
	if g == nil {
		return nil
	}
	var list diag.List
	add := func(o ir.Origin, summary, hint string) {
		list = append(list, diag.Diagnostic{Severity: diag.Warning, Code: "envoy/not-elsewhere", Object: o.Object, Subject: o.Range, Summary: summary, Hint: hint})
	}
	for _, e := range g.Echoes {
		add(e.Origin, "Echo "+e.Origin.Object.Name+" answers on the daemon's host alone, and an Envoy on another host does not reach it", "declare a Service that both reach")
	}
	for _, p := range g.Probes {
		if !local {
			add(p.Origin, "Probe "+p.Origin.Object.Name+" is asked of an Envoy on the daemon's host, and none is connected: it is not asked", "run one beside the daemon, or check the other hosts from where their users are")
		}
	}
	return list.Sort()
}

// Local says whether an Envoy is connected on this host.
func Local(progress []deliver.Progress) bool {
	return slices.ContainsFunc(progress, func(p deliver.Progress) bool { return p.Connected && !p.Remote() })
}

// refusedAt is one resource at one Envoy.
type refusedAt struct {
	node string
	key  render.Key
}

// lasting are the refusals of Envoys on other hosts that are no news: they are about bytes that were right before served came. A
// port that is taken on one host does not keep the others from getting the next revision.
func (l *Loop) lasting(progress []deliver.Progress, served revision) map[refusedAt]bool {
	remote := map[string]bool{}
	for _, p := range progress {
		if p.Connected && p.Remote() && p.Errors > 0 {
			remote[p.Node] = true
		}
	}
	if len(remote) == 0 {
		return nil
	}
	base := l.snapshot().good
	if base.none() && l.wasLive(served.set.Revision) {
		base = served // the daemon before this one had it programmed
	}
	if base.none() {
		return nil
	}
	out := map[refusedAt]bool{}
	for _, d := range l.Target.Report() {
		if d.State != deliver.Error || !remote[d.Node] {
			continue
		}
		k := render.Key{TypeURL: d.TypeURL, Name: d.Name}
		if r, ok := base.built.Resources.Get(k); ok && r.Hash == d.Hash {
			out[refusedAt{d.Node, k}] = true
		}
	}
	return out
}

// lastingAt is how many there are at an Envoy.
func lastingAt(all map[refusedAt]bool, node string) int {
	n := 0
	for x := range all {
		if x.node == node {
			n++
		}
	}
	return n
}

// tellFleet logs, once, what Envoys on other hosts do without, and what of it they refuse.
func (l *Loop) tellFleet(progress []deliver.Progress, served revision, lasting map[refusedAt]bool) {
	now := map[string]bool{}
	if slices.ContainsFunc(progress, func(p deliver.Progress) bool { return p.Connected && p.Remote() }) {
		for _, x := range Limits(served.built.Gateway, Local(progress)) {
			line := x.String()
			if now[line] = true; !l.limits[line] {
				l.Log.Warn(x.Summary, "code", string(x.Code), "place", x.Subject.String(), "object", x.Object.String())
			}
		}
	}
	for x := range lasting {
		line := x.node + " " + x.key.Name
		if now[line] = true; !l.limits[line] {
			l.Log.Error("an Envoy on another host refuses what is right elsewhere; the others go on", "node", x.node, "name", x.key.Name, "revision", served.set.Revision)
		}
	}
	l.limits = now
}
