package xds

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/render"
)

// maxBatchBytes bounds a response with several resources.
const maxBatchBytes = 1 << 20

// maxRemovals bounds a response that only removes: there is nothing in it that could be refused.
const maxRemovals = 128

// flush sends all that may be sent now, in the order that breaks nothing.
func (st *stream) flush() error {
	steps := []func() error{st.makeClusters, st.makeSecrets, st.makeScopes, st.changeListeners, st.removals, st.sayNothing}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// take empties a queue.
func take(q *[]*entry) []*entry {
	all := *q
	*q = nil
	return all
}

// makeClusters offers clusters in batches. There is no bound on unanswered ones: Envoy withholds its answers while any
// cluster warms, and the cure of a stuck cluster must get through.
func (st *stream) makeClusters() error {
	if !st.types[clusters].asked {
		return nil
	}
	var ready []*item
	for _, e := range take(&st.types[clusters].up) {
		e.queuedUp = false
		if it := st.offer(e); it != nil {
			ready = append(ready, it)
		}
	}
	return st.batches(clusters, ready, nil)
}

// batches sends resources that may share a response. Removals go first: Envoy removes listeners before it adds those
// that take over their addresses.
func (st *stream) batches(k kind, ups, downs []*item) error {
	slices.SortFunc(ups, func(a, b *item) int { return strings.Compare(a.e.key.Name, b.e.key.Name) })
	var batch []*item
	size := 0
	send := func() error {
		if len(batch) == 0 && len(downs) == 0 {
			return nil
		}
		err := st.respond(k, batch, downs)
		batch, downs, size = nil, nil, 0
		return err
	}
	var alone []*item
	for _, it := range ups {
		if it.e.solo {
			alone = append(alone, it)
			continue
		}
		n := len(it.res.Any.GetValue())
		if len(batch) == st.srv.cfg.Batch || (len(batch) > 0 && size+n > maxBatchBytes) {
			if err := send(); err != nil {
				return err
			}
		}
		batch = append(batch, it)
		size += n
	}
	if err := send(); err != nil {
		return err
	}
	for _, it := range alone {
		batch = []*item{it}
		if err := send(); err != nil {
			return err
		}
	}
	return nil
}

func (st *stream) makeSecrets() error { return st.oneByOne(secrets) }

func (st *stream) makeScopes() error { return st.oneByOne(scopes) }

// oneByOne offers each resource in a response of its own, as many at once as the window allows.
func (st *stream) oneByOne(k kind) error {
	t := &st.types[k]
	if !t.asked {
		return nil
	}
	for len(t.up) > 0 && t.waiting < st.srv.cfg.Window {
		e := t.up[0]
		t.up[0] = nil
		t.up = t.up[1:]
		e.queuedUp = false
		if it := st.offer(e); it != nil {
			if err := st.respond(k, []*item{it}, nil); err != nil {
				return err
			}
		}
	}
	if len(t.up) == 0 {
		t.up = nil
	}
	return nil
}

// offer is what to send of an entry now; nil: nothing, and whatever it waits for brings it back.
func (st *stream) offer(e *entry) *item {
	want := st.want(e)
	if want == nil || st.entries[e.key] != e {
		return nil
	}
	if last, had := e.latest(); (had && last == version(want) && !e.force) || e.refusal.version == version(want) && !e.again {
		return nil
	}
	e.again = false
	if e.kind != clusters && len(e.sent) > 0 {
		return nil // its answer comes in milliseconds; what is newest then goes out
	}
	on, stuck := st.missing(e, want)
	switch {
	case stuck != "":
		e.stuck = stuck
		st.settleUp(e)
		state := deliver.NotSent // a refusal elsewhere is to blame
		if _, known := st.w.snap.Get(on); !known {
			state = deliver.Error
		}
		st.note(e, want, state, stuck)
		st.wait(e, on)
		st.wakeStuck(e)
		return nil
	case on != render.Key{}:
		st.wait(e, on)
		return nil
	}
	return &item{e: e, res: want}
}

// wakeStuck lets those that wait for e see that it does not come.
func (st *stream) wakeStuck(e *entry) {
	st.wakeWaiters(e.key)
	if w := st.warmNames[e.key.Name]; w != nil && e.kind == scopes {
		st.queueUp(w.scope)
	}
}

// missing is the closure check: the first resource that must be there before want is offered. A reason is given when
// waiting alone will not help.
func (st *stream) missing(e *entry, want *render.Resource) (on render.Key, stuck string) {
	var cold []render.Key
	for _, k := range want.Refs {
		kind, ok := st.kindOf(k)
		if !ok || (kind == clusters && st.srv.static[k.Name]) {
			continue
		}
		if _, known := st.w.snap.Get(k); !known {
			return k, fmt.Sprintf("not sent: it names the %s %q, which is not part of the revision", singular(kind), k.Name)
		}
		d := st.entries[k]
		switch {
		case e.kind == clusters, e.kind == listeners && kind == secrets:
			continue // Envoy asks for the secrets of clusters and listeners itself, and warms until it has them
		case kind == secrets && (isWarm(e.key.Name) || !st.opened):
			continue // before a port is open nobody can meet a scope without its secret
		case kind != clusters && kind != secrets:
			continue
		}
		kept := kind == clusters || st.keeps[k] > 0
		if d != nil && st.ready(d) && kept {
			continue
		}
		if d != nil && !d.has && d.refused() {
			return k, fmt.Sprintf("held back: it names the %s %q, which Envoy does not have", singular(kind), k.Name)
		}
		if kind == clusters || (d != nil && d.asked && kept) {
			return k, ""
		}
		cold = append(cold, k)
	}
	if len(cold) == 0 {
		return render.Key{}, ""
	}
	return st.warmUp(e, want, cold)
}

// ready says whether Envoy answered all about a resource and holds a version of it.
func (st *stream) ready(d *entry) bool {
	want := st.want(d)
	if want == nil || !d.has || len(d.sent) > 0 {
		return false
	}
	// Which version it has may stay unknown once the wanted one is refused: of batches refused before, one that was not sent
	// alone since. It has one.
	return d.refused() || len(d.maybe) == 0 && d.version == version(want)
}

func singular(k kind) string {
	return [...]string{clusters: "cluster", secrets: "secret", scopes: "scope", listeners: "listener"}[k]
}

// warming is one warming scope.
type warming struct {
	scope   *entry // the real one
	version string // of the real one
	res     *render.Resource
}

// warmUp makes Envoy ask for secrets that it does not hold before a scope is offered that needs them.
func (st *stream) warmUp(e *entry, want *render.Resource, cold []render.Key) (on render.Key, stuck string) {
	if w := st.warm[e.key.Name]; w == nil {
		res, err := warmScope(want)
		if err != nil {
			return cold[0], "held back: " + err.Error()
		}
		w = &warming{scope: e, version: version(want), res: res}
		st.warm[e.key.Name], st.warmNames[res.Name] = w, w
		e.askBy = time.Time{}
		st.review(st.entry(res.Key, scopes))
	} else if copied := st.entries[w.res.Key]; copied != nil && copied.stuck != "" {
		return cold[0], copied.stuck
	}
	late := !e.askBy.IsZero() && !time.Now().Before(e.askBy)
	for _, k := range cold {
		if d := st.entries[k]; !late || (d != nil && d.asked) {
			return k, ""
		}
	}
	return render.Key{}, "" // Envoy had its time to ask, and does not need them
}

// warmed starts the time in which Envoy asks for the secrets of an acknowledged warming scope.
func (st *stream) warmed(e *entry) {
	w := st.warmNames[e.key.Name]
	if e.kind != scopes || w == nil {
		return
	}
	st.queueUp(w.scope) // its secrets may be there already, and are kept from now on
	if !w.scope.askBy.IsZero() {
		return
	}
	w.scope.askBy = time.Now().Add(st.srv.cfg.SecretWait)
	st.timers.add(w.scope.askBy, w.scope)
}

// releaseWarm lets go of the warming scope of e when it has served, or warms what is not wanted any more.
func (st *stream) releaseWarm(e *entry, want *render.Resource) {
	w := st.warm[e.key.Name]
	if e.kind != scopes || w == nil {
		return
	}
	settled := want == nil || w.version != version(want) || e.refusal.version == w.version ||
		(e.has && e.version == w.version && len(e.sent) == 0)
	if !settled {
		return
	}
	delete(st.warm, e.key.Name)
	delete(st.warmNames, w.res.Name)
	e.askBy = time.Time{}
	if copied := st.entries[w.res.Key]; copied != nil {
		st.review(copied)
	}
}

// changeListeners sends listeners and their removals after the scopes of the same revision.
func (st *stream) changeListeners() error {
	t := &st.types[listeners]
	if !t.asked || (len(t.up) == 0 && len(t.down) == 0) || !st.mayOpen() {
		return nil
	}
	var ups, downs []*item
	for _, e := range take(&t.up) {
		e.queuedUp = false
		if st.behind(scopes, e.upSince) {
			st.queueUp(e)
		} else if it := st.offer(e); it != nil {
			ups = append(ups, it)
		}
	}
	waiting := st.unsentListeners() > len(ups)
	open, refused := st.unsettledListeners()
	for _, e := range take(&t.down) {
		e.queuedDown = false
		_, had := e.latest()
		switch {
		case st.want(e) != nil || !had || len(e.sent) > 0:
		case waiting || st.behind(scopes, e.downSince):
			st.queueDown(e) // what replaces it is not ready
		case !takesOver(e, ups) && (open || refused):
			if refused && !e.lingering { // an API that moves to a port that cannot be had stays where it is
				st.linger(e)
				st.wakeWaiters(e.key)
			}
			st.queueDown(e)
		default:
			downs = append(downs, &item{e: e})
		}
	}
	st.opened = true
	return st.batches(listeners, ups, downs)
}

// takesOver says whether one of the offered listeners wants the port of e: then e must go in the same response.
func takesOver(e *entry, ups []*item) bool {
	return slices.ContainsFunc(ups, func(it *item) bool { return e.mayBeOn(listenerPort(it.res)) })
}

// unsettledListeners says whether Envoy has not answered for every listener of the revision, and whether it refuses one.
func (st *stream) unsettledListeners() (open, refused bool) {
	for _, l := range st.listeners {
		open = open || l.upSince != 0
		refused = refused || st.want(l) != nil && l.refused()
	}
	return open, refused
}

// unsentListeners counts the listeners that are to be offered, and can be or will.
func (st *stream) unsentListeners() int {
	n := 0
	for _, l := range st.listeners {
		if l.upSince != 0 && len(l.sent) == 0 {
			n++
		}
	}
	return n
}

// mayOpen says whether Envoy may have listeners: not before it answered every scope, and holds the secrets in them.
func (st *stream) mayOpen() bool {
	if st.opened {
		return true
	}
	if len(st.types[scopes].upSince) > 0 || len(st.types[secrets].upSince) > 0 {
		return false
	}
	if st.openBy.IsZero() {
		st.openBy = time.Now().Add(st.srv.cfg.SecretWait)
		st.timers.add(st.openBy, nil)
	}
	if !time.Now().Before(st.openBy) {
		return true
	}
	for k := range st.refs {
		if kind, _ := st.kindOf(k); kind == secrets && (st.entries[k] == nil || !st.entries[k].asked) {
			return false
		}
	}
	return true
}

// removals sends what is due, in the order scopes, clusters, secrets.
func (st *stream) removals() error {
	if !st.recheck {
		return nil
	}
	st.recheck = false
	may := [kinds]func(*entry) bool{scopes: st.mayRemoveScope, clusters: st.mayRemoveCluster, secrets: st.mayRemoveSecret}
	for _, k := range []kind{scopes, clusters, secrets} {
		if !st.types[k].asked {
			continue
		}
		var downs []*item
		for _, e := range take(&st.types[k].down) {
			e.queuedDown = false
			if _, had := e.latest(); st.want(e) != nil || !had || len(e.sent) > 0 || st.entries[e.key] != e {
				continue
			}
			if may[k](e) {
				downs = append(downs, &item{e: e})
			}
		}
		for chunk := range slices.Chunk(downs, maxRemovals) {
			if err := st.respond(k, nil, chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBack puts a removal back until something changes. It does not ask for another look by itself.
func (st *stream) putBack(e *entry) bool {
	e.queuedDown = true
	st.types[e.kind].down = append(st.types[e.kind].down, e)
	return false
}

// mayRemoveScope: what replaces it is made, the listeners of its port that changed with it have changed, and connections
// that were made before are drained, for they still use the old key.
func (st *stream) mayRemoveScope(e *entry) bool {
	if isWarm(e.key.Name) {
		return true
	}
	if e.downSince != 0 && st.behind(scopes, e.downSince) {
		return st.putBack(e)
	}
	var due time.Time
	for _, k := range e.after {
		l := st.entries[k]
		if l != nil && l.mayServe() && (l.upSince != 0 || l.downSince != 0 || l.lingering || l.refused()) {
			st.awaitChange(e, k, l)
			return false
		}
		if on, cold := st.coldSecret(l); cold {
			st.awaitChange(e, on, st.entries[on]) // it warms, and the version before it still serves
			return false
		}
		if t, ok := st.drained[k]; ok && t.Add(st.srv.cfg.Drain).After(due) {
			due = t.Add(st.srv.cfg.Drain)
		}
	}
	if !time.Now().Before(due) {
		return true
	}
	st.linger(e)
	if e.due != due {
		e.due = due
		st.timers.add(due, e)
	}
	return false
}

// awaitChange parks the removal of a scope until a resource is answered. One that is refused is answered, so that the
// outcome of the revision does not wait for it.
func (st *stream) awaitChange(e *entry, on render.Key, d *entry) {
	if d != nil && (d.refused() || d.lingering) {
		st.linger(e)
	}
	st.wait(e, on)
}

// linger lets a removal wait without counting as pending.
func (st *stream) linger(e *entry) { e.downSince, e.lingering = st.settleDown(e), true }

// refused says whether the wanted version is refused, or can not be offered.
func (e *entry) refused() bool { return e.refusal.version != "" || e.stuck != "" }

// coldSecret is a secret that an acknowledged listener names and Envoy does not hold.
func (st *stream) coldSecret(l *entry) (render.Key, bool) {
	if l == nil || l.res == nil {
		return render.Key{}, false
	}
	for _, k := range l.res.Refs {
		if k.TypeURL != st.urls[secrets] {
			continue
		}
		if d := st.entries[k]; d == nil || !st.ready(d) {
			return k, true
		}
	}
	return render.Key{}, false
}

// changing lists the listeners of a scope's port that are about to change or refuse to.
func (st *stream) changing(e *entry) []render.Key {
	port := scopePort(e.key.Name)
	var all []render.Key
	for _, l := range st.listeners {
		if !l.mayServe() || (l.upSince == 0 && l.downSince == 0 && !l.lingering && !l.refused()) {
			continue
		}
		if l.mayBeOn(port) {
			all = append(all, l.key)
		}
	}
	return all
}

// scopePort is the first part of a scope's name, which is its port (envoy-findings/scopes.md).
func scopePort(name string) string {
	for i := range name {
		if name[i] == '/' {
			return name[:i]
		}
	}
	return name
}

// listenerPort is the port of a listener; "" when there is none.
func listenerPort(r *render.Resource) string {
	if r == nil {
		return ""
	}
	m := &listenerv3.Listener{}
	if err := proto.Unmarshal(r.Any.GetValue(), m); err != nil {
		return ""
	}
	return strconv.FormatUint(uint64(m.GetAddress().GetSocketAddress().GetPortValue()), 10)
}

// mayServe says whether Envoy may have connections of a listener.
func (e *entry) mayServe() bool { return e.has || len(e.sent) > 0 }

// mayBeOn says whether a version of the listener that Envoy holds, or is being sent, is on a port, or may be.
func (e *entry) mayBeOn(port string) bool {
	if e.has && e.res == nil {
		return true
	}
	if e.portOf != e.res {
		e.portOf, e.port = e.res, listenerPort(e.res)
	}
	if e.has && e.port == port {
		return true
	}
	return slices.ContainsFunc(e.sent, func(it *item) bool { return it.res != nil && listenerPort(it.res) == port })
}

// mayRemoveCluster: nothing that Envoy holds names it, all of which we know, and a grace for requests under way has passed.
func (st *stream) mayRemoveCluster(e *entry) bool {
	if !st.types[scopes].asked || !st.types[listeners].asked || st.unknown[scopes] > 0 || st.unknown[listeners] > 0 {
		return st.putBack(e)
	}
	return st.unnamedFor(e)
}

// mayRemoveSecret: likewise.
func (st *stream) mayRemoveSecret(e *entry) bool {
	if st.unknown[clusters] > 0 || st.unknown[scopes] > 0 || st.unknown[listeners] > 0 {
		return st.putBack(e)
	}
	return st.unnamedFor(e)
}

func (st *stream) unnamedFor(e *entry) bool {
	if st.refs[e.key] > 0 {
		e.due = time.Time{}
		return st.putBack(e)
	}
	if e.due.IsZero() {
		e.due = time.Now().Add(st.srv.cfg.Grace)
		st.timers.add(e.due, e)
	}
	return !time.Now().Before(e.due)
}

// sayNothing sends an empty answer to an Envoy that holds nothing of a kind when there is nothing to send: it does not go
// on without one.
func (st *stream) sayNothing() error {
	for _, k := range []kind{clusters, scopes, listeners} {
		t := &st.types[k]
		if !t.asked || !t.fresh || t.answered || len(t.upSince) > 0 || len(t.up) > 0 {
			continue
		}
		if k == listeners && !st.mayOpen() {
			continue
		}
		if k == listeners {
			st.opened = true
		}
		if err := st.respond(k, nil, nil); err != nil {
			return err
		}
	}
	return nil
}
