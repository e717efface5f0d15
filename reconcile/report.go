package reconcile

import (
	"fmt"
	"path"
	"strings"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Report says how things stand. It may be called at any time from anywhere; it walks all objects and resources.
func (l *Loop) Report() status.Report {
	s := l.snapshot()
	r := status.Report{Source: l.Name, Revision: s.live, LastFailed: s.failed, Conditions: s.conditions()}
	deliveries := l.Target.Report()
	r.Envoys = envoys(l.Target.Progress(), deliveries)
	if s.built.Resources != nil {
		r.Addresses = s.built.Resources.Addresses()
		r.Objects = objects(s.built.Gateway, deliveries, s)
	}
	return r
}

func (s state) conditions() []status.Condition {
	fetched := status.Condition{Type: status.Fetched, Status: status.True, Reason: "Fetched"}
	switch {
	case s.fetchErr != nil:
		fetched = status.Condition{Type: status.Fetched, Status: status.False, Reason: "SourceUnavailable", Message: s.fetchErr.Error()}
	case s.tried.Revision == "":
		fetched = status.Condition{Type: status.Fetched, Status: status.Unknown, Reason: "Starting"}
	}
	accepted := status.Condition{Type: status.Accepted, Status: status.True, Reason: "Accepted"}
	switch {
	case s.tried.Revision == "":
		accepted.Status, accepted.Reason = status.Unknown, "NothingFetched"
	case s.refused != nil:
		accepted = refusal(s)
	}
	programmed := status.Condition{Type: status.Programmed, Status: status.True, Reason: "Live"}
	switch {
	case s.built.Resources == nil:
		programmed.Status, programmed.Reason = status.Unknown, "NothingAccepted"
	case s.reason == "NoEnvoy":
		programmed.Status, programmed.Reason, programmed.Message = status.Unknown, s.reason, s.pending
	case s.reason != "":
		programmed = status.Condition{Type: status.Programmed, Status: status.False, Reason: s.reason, Message: s.pending, Place: s.place}
	}
	return []status.Condition{fetched, accepted, programmed}
}

func refusal(s state) status.Condition {
	c := status.Condition{Type: status.Accepted, Status: status.False, Reason: "Invalid"}
	for _, d := range s.refused {
		if d.Severity == diag.Error {
			c.Message, c.Place = fmt.Sprintf("%s [%s]", d.Summary, d.Code), status.Place(d.Subject)
			break
		}
	}
	if n := s.refused.Count(diag.Error); n > 1 {
		c.Message += fmt.Sprintf(" (and %d more)", n-1)
	}
	return c
}

func envoys(progress []deliver.Progress, deliveries []deliver.Delivery) []status.Envoy {
	out := make([]status.Envoy, 0, len(progress))
	for _, p := range progress {
		e := status.Envoy{Node: p.Node, Version: p.Version, Connected: p.Connected}
		for _, d := range deliveries {
			if d.Node == p.Node {
				e.Types = countDelivery(e.Types, d)
			}
		}
		out = append(out, e)
	}
	return out
}

// countDelivery relies on deliveries being sorted by type.
func countDelivery(types []status.TypeDelivery, d deliver.Delivery) []status.TypeDelivery {
	name := path.Ext(d.TypeURL)
	if name != "" {
		name = name[1:]
	}
	if len(types) == 0 || types[len(types)-1].Type != name {
		types = append(types, status.TypeDelivery{Type: name})
	}
	t := &types[len(types)-1]
	switch d.State {
	case deliver.Synced:
		t.Synced++
	case deliver.Stale:
		t.Stale++
	case deliver.Error:
		t.Error++
	default:
		t.NotSent++
	}
	return types
}

// objects lists what the accepted revision declares, each with the worst that any Envoy did with a resource of it. What has
// no resource of its own (a route) is as live as the API that it belongs to.
func objects(g *ir.Gateway, deliveries []deliver.Delivery, s state) []status.Object {
	x := &judge{state: s, worst: map[diag.Object]deliver.Delivery{}, seen: map[diag.Object]bool{}}
	for _, d := range deliveries {
		for _, o := range d.Origins {
			if w, ok := x.worst[o.Object]; !ok || rank(d.State) > rank(w.State) {
				x.worst[o.Object] = d
			}
		}
	}
	for _, o := range g.Settings.Origins {
		x.add(o, o)
	}
	for _, u := range g.Upstreams {
		x.add(u.Origin, u.Origin)
		for _, b := range u.Bindings {
			x.add(b.Origin, u.Origin)
		}
	}
	for _, li := range g.Listeners {
		if li.TLS != nil {
			x.add(li.TLS.Origin, li.TLS.Origin)
		}
		for _, a := range li.APIs {
			x.add(a.Origin, a.Origin)
			for _, b := range a.Bindings {
				x.add(b.Origin, a.Origin)
			}
			for _, r := range a.Routes {
				x.add(r.Origin, a.Origin)
			}
		}
	}
	for _, e := range g.Echoes {
		x.add(e.Origin, e.Origin)
	}
	status.SortObjects(x.out)
	return x.out
}

// judge gathers objects.
type judge struct {
	state
	worst map[diag.Object]deliver.Delivery
	seen  map[diag.Object]bool
	out   []status.Object
}

// add reports an object once; owner is whose resources speak for it when it has none.
func (x *judge) add(o, owner ir.Origin) {
	if o.Object.IsZero() || x.seen[o.Object] {
		return
	}
	x.seen[o.Object] = true
	if _, ok := x.worst[o.Object]; !ok {
		if d, ok := x.worst[owner.Object]; ok {
			x.worst[o.Object] = d
		}
	}
	x.out = append(x.out, status.Object{
		Kind: o.Object.Kind, Namespace: o.Object.Namespace, Name: o.Object.Name, Place: status.Place(o.Range),
		Conditions: []status.Condition{
			{Type: status.Accepted, Status: status.True, Reason: "Accepted"},
			x.programmed(o, owner),
		},
	})
}

func rank(s deliver.State) int {
	return map[deliver.State]int{deliver.Synced: 0, deliver.Stale: 1, deliver.NotSent: 2, deliver.Error: 3}[s]
}

// blamed is the place within an object, or the object that it belongs to, that a resource came from: of a listener the
// address.
func blamed(d deliver.Delivery, o, owner ir.Origin) diag.Range {
	for _, want := range []diag.Object{o.Object, owner.Object} {
		for _, x := range d.Origins {
			if x.Object == want {
				return x.Range
			}
		}
	}
	return o.Range
}

func (x *judge) programmed(o, owner ir.Origin) status.Condition {
	c := status.Condition{Type: status.Programmed, Status: status.True, Reason: "Live"}
	d, ok := x.worst[o.Object]
	switch {
	case x.reason == "NoEnvoy":
		c.Status, c.Reason, c.Message = status.Unknown, x.reason, x.pending
	case ok && d.State == deliver.Error:
		c.Status, c.Reason, c.Message, c.Place = status.False, "Rejected", strings.TrimSpace(d.Message), status.Place(blamed(d, o, owner))
	case ok && d.State != deliver.Synced:
		c.Status, c.Reason, c.Message = status.False, "Pending", d.Name+" is not acknowledged yet"
	case x.reason == "Warming":
		c.Status, c.Reason, c.Message = status.False, x.reason, x.pending
	}
	return c
}
