package reconcile

import (
	"cmp"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Report says how things stand, objects as a List. It may be called at any time from anywhere; it walks all resources.
func (l *Loop) Report() status.Report {
	s := l.snapshot()
	r := l.summary(s)
	deliveries := l.Target.Report()
	progress := l.Target.Progress()
	r.Envoys = envoys(progress, deliveries)
	for i, p := range progress {
		if p.Remote() {
			r.Envoys[i].Limits = Limits(s.served.built.Gateway, Local(progress))
		}
	}
	r.Envoys = s.control.mark(r.Envoys)
	if !s.served.none() {
		r.Addresses = s.served.built.Resources.Addresses()
		r.List = lister(s, s.control.countedReport(deliveries))
	}
	return r
}

// Objects are what the served revision declares, which Report lists with all else.
func (l *Loop) Objects() (revision string, list status.Lister) {
	s := l.snapshot()
	if s.served.none() {
		return s.good.set.Revision, status.Listed(nil)
	}
	var deliveries []deliver.Delivery
	if slices.ContainsFunc(s.control.counted(l.Target.Progress()), func(p deliver.Progress) bool { return !p.Synced() }) {
		deliveries = s.control.countedReport(l.Target.Report())
	}
	return s.good.set.Revision, lister(s, deliveries)
}

// Summary is the report without objects and without what Envoys did with each resource: it costs the same whatever their number.
func (l *Loop) Summary() status.Report {
	s := l.snapshot()
	r := l.summary(s)
	r.Envoys = s.control.mark(envoys(l.Target.Progress(), nil))
	return r
}

func (l *Loop) summary(s state) status.Report {
	conditions := s.conditions()
	if x, ok := l.Source.(Asker); ok && s.fetchErr == nil && !l.suspended() {
		if who, since := x.Silent(); who != "" {
			conditions[0] = status.Condition{Type: status.Fetched, Status: status.Unknown, Reason: "Fetching", Message: who + " was asked, and has said nothing since " + since.Format(time.RFC3339)}
		}
	}
	if c := &conditions[len(conditions)-1]; l.Observe && c.Reason == "NothingAccepted" {
		c.Reason, c.Message = "Observed", "this daemon observes (run --observe) and publishes nothing"
	}
	return status.Report{Source: l.Name, Revision: s.good.set.Revision, Commit: s.good.set.Commit, LastFailed: s.failed, Conditions: conditions, Pinned: s.control.Pinned, Suspended: s.control.Suspended, Waiting: s.control.Waiting}
}

// Asker is a watch.Source that waits for the answers of others.
type Asker interface {
	// Silent is who was asked and has said nothing for a while, and since when; "": nobody.
	Silent() (who string, since time.Time)
}

// APIs lists the APIs of the revision that the target has, sorted.
func (l *Loop) APIs() []diag.Object {
	g := l.snapshot().served.built.Gateway
	if g == nil {
		return nil
	}
	var list []diag.Object
	for _, li := range g.Listeners {
		for _, a := range li.APIs {
			list = append(list, a.Origin.Object)
		}
	}
	slices.SortFunc(list, compareObjects)
	return slices.Compact(list)
}

func compareObjects(a, b diag.Object) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func (s state) conditions() []status.Condition {
	fetched := status.Condition{Type: status.Fetched, Status: status.True, Reason: "Fetched"}
	switch {
	case s.fetchErr != nil:
		fetched = status.Condition{Type: status.Fetched, Status: status.False, Reason: fetchReason(s.fetchErr), Message: s.fetchErr.Error()}
	case s.control.Suspended != nil:
		fetched = status.Condition{Type: status.Fetched, Status: status.Unknown, Reason: "Suspended", Message: s.control.Suspended.Reason}
	case s.tried.Revision == "":
		fetched = status.Condition{Type: status.Fetched, Status: status.Unknown, Reason: "Starting"}
	}
	accepted := status.Condition{Type: status.Accepted, Status: status.True, Reason: "Accepted"}
	switch {
	case s.tried.Revision == "" && s.served.none():
		accepted.Status, accepted.Reason = status.Unknown, "NothingFetched"
	case s.refused != nil:
		accepted = refusal("Invalid", s.refused)
	case s.control.Waiting != nil && s.control.Waiting.Revision == s.tried.Revision:
		accepted.Status, accepted.Reason, accepted.Message = status.Unknown, "Waiting", s.control.Waiting.String()
		if _, refused := refusedHead(s.fetchErr); refused {
			accepted.Message += "; no clock does while what the source has now is refused"
		}
	case s.served.partial() && s.served.set.Revision == s.tried.Revision:
		accepted = refusal("Held", s.served.list)
		accepted.Message += "; the rest is served"
		if len(s.served.held) > 0 {
			accepted.Message += ", and as it was before: " + heldNames(s.served.held)
		}
	}
	programmed := status.Condition{Type: status.Programmed, Status: status.True, Reason: "Live"}
	switch {
	case s.served.none():
		programmed.Status, programmed.Reason = status.Unknown, "NothingAccepted"
	case s.reason == "NoEnvoy":
		programmed.Status, programmed.Reason, programmed.Message = status.Unknown, s.reason, s.pending
	case s.reason != "":
		programmed = status.Condition{Type: status.Programmed, Status: status.False, Reason: s.reason, Message: s.pending, Place: s.place}
	case s.back != nil:
		programmed = *s.back
	}
	return []status.Condition{fetched, accepted, programmed}
}

// heldNames names the first of the held objects.
func heldNames(held []Held) string {
	const shown = 3
	var names []string
	for _, h := range held[:min(len(held), shown)] {
		names = append(names, h.Object.String())
	}
	text := strings.Join(names, ", ")
	if len(held) > shown {
		text += fmt.Sprintf(" and %d more", len(held)-shown)
	}
	return text
}

func refusal(reason string, list diag.List) status.Condition {
	c := status.Condition{Type: status.Accepted, Status: status.False, Reason: reason}
	for _, d := range list {
		if d.Severity == diag.Error {
			c.Message, c.Place = fmt.Sprintf("%s [%s]", d.Summary, d.Code), status.Place(d.Subject)
			break
		}
	}
	if n := list.Count(diag.Error); n > 1 {
		c.Message += fmt.Sprintf(" (and %d more)", n-1)
	}
	return c
}

func envoys(progress []deliver.Progress, deliveries []deliver.Delivery) []status.Envoy {
	out := make([]status.Envoy, 0, len(progress))
	for _, p := range progress {
		e := status.Envoy{Node: p.Node, Version: p.Version, PID: p.PID, Address: p.Address, Identity: p.Identity, Connected: p.Connected, Since: p.Since.UTC(), Revision: p.Revision}
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

// lister lists what the accepted revision declares, each with the worst that any Envoy did with a resource of it. What has no
// resource of its own (a route) is as live as the API that it belongs to. deliveries may be left out when all are Synced.
func lister(s state, deliveries []deliver.Delivery) status.Lister {
	return func(unsettled bool) iter.Seq[*status.Object] {
		return func(yield func(*status.Object) bool) {
			x := &judge{state: s, wrong: s.wrong(), against: s.served.against, deliveries: deliveries}
			x.weigh()
			for _, p := range x.objects(unsettled) {
				if !yield(x.judged(p)) {
					return
				}
			}
		}
	}
}

// declared visits what a gateway declares; owner is whose resources speak for an object when it has none. An object may be
// visited more than once.
func declared(g *ir.Gateway, visit func(o, owner *ir.Origin)) {
	for i := range g.Settings.Origins {
		o := &g.Settings.Origins[i]
		visit(o, o)
	}
	for _, u := range g.Upstreams {
		visit(&u.Origin, &u.Origin)
		for _, b := range u.Bindings {
			visit(&b.Origin, &u.Origin)
		}
	}
	for _, li := range g.Listeners {
		if li.TLS != nil {
			visit(&li.TLS.Origin, &li.TLS.Origin)
		}
		for _, a := range li.APIs {
			visit(&a.Origin, &a.Origin)
			for _, b := range a.Bindings {
				visit(&b.Origin, &a.Origin)
			}
			for _, r := range a.Routes {
				visit(&r.Origin, &a.Origin)
			}
		}
	}
	for _, e := range g.Echoes {
		visit(&e.Origin, &e.Origin)
	}
	for _, p := range g.Probes {
		visit(&p.Origin, &p.Origin)
	}
}

// Deleted lists the objects that old declares and now does not, sorted, as their authors count them: what stands inline in one goes
// with it. nil gateways declare nothing.
func Deleted(old, now *ir.Gateway) []diag.Object {
	stays := map[diag.Object]bool{}
	if now != nil {
		declared(now, func(o, _ *ir.Origin) { stays[o.Declared()] = true })
	}
	var gone []diag.Object
	if old != nil {
		declared(old, func(o, _ *ir.Origin) {
			if x := o.Declared(); !x.IsZero() && !stays[x] {
				stays[x] = true
				gone = append(gone, x)
			}
		})
	}
	slices.SortFunc(gone, compareObjects)
	return gone
}

// judge says how far objects got.
type judge struct {
	state
	deliveries []deliver.Delivery
	worst      map[diag.Object]int // number in deliveries; empty: all are Synced
	wrong      map[diag.Object]diag.Diagnostic
	against    diag.List // what the proof said against what is served
	object     status.Object
	conditions [3]status.Condition
}

// judgedObject is an object to be judged.
type judgedObject struct {
	object    *diag.Object
	at, owner *ir.Origin // whose resources speak for it when it has none; nil: no served revision has the object
}

// weigh finds the worst delivery of each object.
func (x *judge) weigh() {
	if !slices.ContainsFunc(x.deliveries, func(d deliver.Delivery) bool { return d.State != deliver.Synced }) {
		return
	}
	x.worst = map[diag.Object]int{}
	for i, d := range x.deliveries {
		for _, o := range d.Origins {
			if w, ok := x.worst[o.Object]; !ok || rank(d.State) > rank(x.deliveries[w].State) {
				x.worst[o.Object] = i
			}
		}
	}
}

// objects are those to be listed, each once, sorted.
func (x *judge) objects(unsettled bool) []judgedObject {
	var list []judgedObject
	add := func(p judgedObject) {
		if !p.object.IsZero() && (!unsettled || slices.ContainsFunc(x.judged(p).Conditions, func(c status.Condition) bool { return c.Status != status.True })) {
			list = append(list, p)
		}
	}
	declared(x.served.built.Gateway, func(o, owner *ir.Origin) { add(judgedObject{&o.Object, o, owner}) })
	for o := range x.wrong {
		add(judgedObject{object: &o})
	}
	for i, h := range x.served.held {
		if h.Place.IsZero() { // no version of it is served, and it is named all the same
			add(judgedObject{object: &x.served.held[i].Object})
		}
	}
	// The first that was added counts: an object is visited more than once.
	slices.SortStableFunc(list, func(a, b judgedObject) int {
		return cmp.Or(compareObjects(*a.object, *b.object), strings.Compare(a.object.Group, b.object.Group))
	})
	return slices.CompactFunc(list, func(a, b judgedObject) bool { return *a.object == *b.object })
}

// delivery is the worst of an object, else of its owner; nil: all of it is Synced.
func (x *judge) delivery(o, owner *ir.Origin) *deliver.Delivery {
	i, ok := x.worst[o.Object]
	if !ok {
		i, ok = x.worst[owner.Object]
	}
	if !ok {
		return nil
	}
	return &x.deliveries[i]
}

// wrong are the objects that an error of the newest revision names, each with the first one.
func (s state) wrong() map[diag.Object]diag.Diagnostic {
	list := s.refused
	if s.served.set.Revision == s.tried.Revision && s.served.partial() {
		list = s.served.list
	}
	out := map[diag.Object]diag.Diagnostic{}
	for _, d := range list {
		if _, known := out[d.Object]; d.Severity == diag.Error && !d.Object.IsZero() && !known {
			out[d.Object] = d
		}
	}
	return out
}

// judged is what is reported of an object, good until the next call.
func (x *judge) judged(p judgedObject) *status.Object {
	x.object = status.Object{Kind: p.object.Kind, Namespace: p.object.Namespace, Name: p.object.Name, Conditions: x.conditions[:]}
	x.conditions[0] = status.Condition{Type: status.Fetched, Status: status.True, Reason: "Fetched"}
	x.conditions[1] = x.accepted(*p.object)
	if p.at == nil {
		x.object.Place = status.Place(x.wrong[*p.object].Subject)
		x.conditions[2] = status.Condition{Type: status.Programmed, Status: status.False, Reason: "NotAccepted", Message: "no version of it is served"}
		return &x.object
	}
	if !p.at.Range.IsZero() {
		x.object.Place = &p.at.Range
	}
	x.conditions[2] = x.programmed(p.at, p.owner)
	return &x.object
}

// accepted says whether the newest version of an object counts.
func (x *judge) accepted(o diag.Object) status.Condition {
	d, wrong := x.wrong[o]
	i := slices.IndexFunc(x.served.held, func(h Held) bool { return h.Object == o })
	switch {
	case !wrong && i >= 0:
		return status.Condition{Type: status.Accepted, Status: status.False, Reason: "Held", Message: x.served.held[i].Why}
	case !wrong:
		return status.Condition{Type: status.Accepted, Status: status.True, Reason: "Accepted"}
	}
	reason := "Invalid"
	if i >= 0 {
		reason = "Held"
	}
	return status.Condition{Type: status.Accepted, Status: status.False, Reason: reason, Message: d.Summary + " [" + string(d.Code) + "]", Place: status.Place(d.Subject)}
}

func rank(s deliver.State) int {
	switch s {
	case deliver.Stale:
		return 1
	case deliver.NotSent:
		return 2
	case deliver.Error:
		return 3
	}
	return 0
}

// blamed is the place within an object, or the object that it belongs to, that a resource came from: of a listener the
// address.
func blamed(d *deliver.Delivery, o, owner *ir.Origin) diag.Range {
	for _, want := range []diag.Object{o.Object, owner.Object} {
		for _, x := range d.Origins {
			if x.Object == want {
				return x.Range
			}
		}
	}
	return o.Range
}

const probeKind = "Probe"

func (x *judge) programmed(o, owner *ir.Origin) status.Condition {
	c := status.Condition{Type: status.Programmed, Status: status.True, Reason: "Live"}
	d := x.delivery(o, owner)
	switch {
	case x.reason == "NoEnvoy":
		c.Status, c.Reason, c.Message = status.Unknown, x.reason, x.pending
	case d != nil && d.State == deliver.Error:
		c.Status, c.Reason, c.Message, c.Place = status.False, "Rejected", strings.TrimSpace(d.Message), status.Place(blamed(d, o, owner))
	case d != nil && d.State != deliver.Synced:
		c.Status, c.Reason, c.Message = status.False, "Pending", d.Name+" is not acknowledged yet"
	case x.reason == "Warming" || x.reason == "Probing" && o.Object.Kind == probeKind:
		c.Status, c.Reason, c.Message = status.False, x.reason, x.pending
	case x.against != nil:
		for _, d := range x.against {
			if d.Severity == diag.Error && d.Object == o.Object {
				c.Status, c.Reason, c.Message, c.Place = status.False, "ProofFailed", d.Summary+" ["+string(d.Code)+"]", status.Place(d.Subject)
				break
			}
		}
	}
	return c
}
