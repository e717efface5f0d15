package xds

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
)

// stream is one Envoy on one gRPC stream. Only the goroutine of run touches its state; board is for the others.
type stream struct {
	srv   *Server
	id    uint64
	send  func(*discoveryv3.DeltaDiscoveryResponse) error
	wake  chan struct{} // look at the world again
	board *board
	log   *slog.Logger
	urls  [kinds]string
	evict func()                 // another Envoy has its node id; nil: it is on this host. Called at most once, under Server.admitting
	known map[render.Key]refusal // what this Envoy refused on its last stream
	ca    string                 // where the CA bundle is on the host of an Envoy elsewhere; "": where it is here

	w         *world // nil before the first Publish
	types     [kinds]typeState
	entries   map[render.Key]*entry
	waiters   map[render.Key][]*entry  // who waits for a resource to be answered
	refs      map[render.Key]int       // how many resources that Envoy holds, or is being sent, name it
	keeps     map[render.Key]int       // likewise, of those that it holds and will go on holding
	warm      map[string]*warming      // by name of the real scope
	warmNames map[string]*warming      // by name of the copy
	drained   map[render.Key]time.Time // when a listener that had connections was last changed or removed
	listeners map[render.Key]*entry    // those of entries
	unknown   [kinds]int               // entries whose bytes at Envoy are those of an earlier server
	inflight  map[string]*response     // by nonce
	nonce     uint64
	timers    timers
	opened    bool      // the first answer about listeners is out, or Envoy had listeners when it came
	openBy    time.Time // until then the first answer about listeners waits for secrets to be asked for
	tally     tally     // of entries
	recheck   bool      // a removal may have become possible
}

// typeState is what a stream knows about a kind as a whole.
type typeState struct {
	asked    bool           // Envoy's first request of the kind was read
	fresh    bool           // and named no resource that it holds
	answered bool           // something was sent
	waiting  int            // responses without an answer
	up       []*entry       // to be looked at for sending, oldest first
	down     []*entry       // to be looked at for removal
	upSince  map[uint64]int // how many entries wait to be made since a world
}

// entry is one resource at one Envoy.
type entry struct {
	key  render.Key
	kind kind

	has     bool               // Envoy acknowledged version, or named it when it came
	version string             // of what it holds
	res     *render.Resource   // the same; nil with has: bytes of an earlier server, so what they name is not known
	sent    []*item            // without an answer, oldest first
	maybe   []*render.Resource // of refused batches: Envoy has one of these or what it had, until it answers about e alone
	kept    []render.Key       // what it adds to stream.keeps
	refusal refusal            // the wanted version was refused; version "": no
	stuck   string             // why the wanted version can not be offered; "": it can, or will

	again   bool      // listeners: what was refused may be tried again now
	retryAt time.Time // listeners: when that is so
	tries   int       // listeners: refusals in a row

	asked bool // secrets: subscribed to
	force bool // secrets: subscribed to again, so send it whatever Envoy holds
	solo  bool // it stood in a batch that was refused: send it alone

	awaited    string // the version that upSince is about
	upSince    uint64 // the world since which it waits to be made; 0: it does not
	downSince  uint64 // likewise to be removed
	lingering  bool   // its removal waits for a timer, and does not count as pending
	queuedUp   bool
	queuedDown bool
	counted    *int // the number of stream.tally in which it stands; nil: none

	waitsOn render.Key   // zero: nothing
	after   []render.Key // scopes: listeners that must have changed, and drained, before it is removed
	due     time.Time    // not removed before; zero: not known yet
	port    string       // listeners: that of what Envoy holds, read from
	portOf  *render.Resource
	askBy   time.Time // scopes: after it, secrets that Envoy did not ask for are not waited for
}

// item is one resource in one response; res is nil for a removal.
type item struct {
	e   *entry
	res *render.Resource
}

type response struct {
	kind  kind
	items []*item
}

// connect starts the life of a stream.
func (s *Server) connect(n *corev3.Node, p peer, send func(*discoveryv3.DeltaDiscoveryResponse) error) *stream {
	info := node{ID: n.GetId(), Version: envoyVersion(n), peer: p, At: time.Now()}
	log := s.cfg.Log.With("node", info.ID, "pid", p.PID)
	if p.Address != "" {
		log = s.cfg.Log.With("node", info.ID, "address", p.Address, "identity", p.Identity)
	}
	st := &stream{
		srv:       s,
		send:      send,
		wake:      make(chan struct{}, 1),
		board:     &board{info: info, notes: map[render.Key]note{}},
		log:       log,
		ca:        render.HostCA(n),
		urls:      typeURLs(),
		entries:   map[render.Key]*entry{},
		waiters:   map[render.Key][]*entry{},
		refs:      map[render.Key]int{},
		keeps:     map[render.Key]int{},
		warm:      map[string]*warming{},
		warmNames: map[string]*warming{},
		drained:   map[render.Key]time.Time{},
		listeners: map[render.Key]*entry{},
		inflight:  map[string]*response{},
	}
	for k := range st.types {
		st.types[k].upSince = map[uint64]int{}
	}
	s.mu.Lock()
	s.lastID++
	st.id = s.lastID
	s.streams[st] = struct{}{}
	m := s.nodes[info.ID]
	if m == nil || !m.gone.At.IsZero() && (m.gone.Address == "") != (p.Address == "") { // what one refused on another host is not about this
		m = &nodeMemory{}
		s.nodes[info.ID] = m
	}
	st.known = m.refusals
	s.mu.Unlock()
	st.log.Info("Envoy connected", "version", info.Version)
	s.bump()
	return st
}

func envoyVersion(n *corev3.Node) string {
	if v := n.GetUserAgentBuildVersion().GetVersion(); v != nil {
		return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	return n.GetUserAgentVersion()
}

// disconnect ends the life of a stream whose run has returned.
func (s *Server) disconnect(st *stream, err error) {
	refusals := map[render.Key]refusal{}
	for k, e := range st.entries {
		if e.refusal.version != "" {
			refusals[k] = e.refusal
		}
	}
	s.mu.Lock()
	if _, ok := s.streams[st]; ok { // else it was evicted: another has its node id
		delete(s.streams, st)
		gone := st.board.who()
		gone.At = time.Now()
		s.nodes[gone.ID] = &nodeMemory{gone: gone, refusals: refusals}
		s.forgetNodes()
	}
	s.mu.Unlock()
	st.log.Info("Envoy disconnected", "reason", err)
	s.bump()
}

// forgetNodes drops the oldest Envoys that are gone when there are too many.
func (s *Server) forgetNodes() {
	if len(s.nodes) <= maxNodes {
		return
	}
	live := map[string]bool{}
	for st := range s.streams {
		live[st.board.info.ID] = true
	}
	ids := slices.SortedFunc(maps.Keys(s.nodes), func(a, b string) int {
		return s.nodes[a].gone.At.Compare(s.nodes[b].gone.At)
	})
	for _, id := range ids {
		if !live[id] && len(s.nodes) > maxNodes {
			delete(s.nodes, id)
		}
	}
}

// poke says that the world changed.
func (st *stream) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// run is the owner of the stream's state; it returns when Envoy or the server goes.
func (st *stream) run(ctx context.Context, first *discoveryv3.DeltaDiscoveryRequest, requests <-chan *discoveryv3.DeltaDiscoveryRequest, gone <-chan error) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	st.absorb()
	st.request(first)
	for {
		if err := st.step(); err != nil {
			return err
		}
		timer.Reset(st.timers.next())
		select {
		case r := <-requests:
			st.request(r)
			for more := true; more; {
				select {
				case r := <-requests:
					st.request(r)
				default:
					more = false
				}
			}
		case <-st.wake:
		case <-timer.C:
		case err := <-gone:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// step brings the stream as far as it can go without another answer.
func (st *stream) step() error {
	st.absorb()
	for _, e := range st.timers.expired(time.Now()) {
		if st.entries[e.key] == e {
			st.review(e)
		}
	}
	if st.w == nil {
		return nil
	}
	if err := st.flush(); err != nil {
		return err
	}
	if st.board.settle(st.w, st.tally) {
		st.log.Info("revision acknowledged", "revision", st.w.revision)
	}
	st.srv.bump()
	return nil
}

// absorb takes over the newest world.
func (st *stream) absorb() {
	var seq uint64
	if st.w != nil {
		seq = st.w.seq
	}
	w, keys, whole := st.srv.since(seq)
	if w == nil || w.seq == seq {
		return
	}
	st.w = w
	if whole {
		keys = st.everything()
	}
	// A scope that goes must find the listeners that change with it.
	for _, first := range []bool{true, false} {
		for _, k := range keys {
			if kind, ok := st.kindOf(k); ok && (kind == listeners) == first {
				st.touch(k, kind)
			}
		}
	}
}

// everything lists all keys of the world, and what Envoy holds beside them.
func (st *stream) everything() []render.Key {
	var keys []render.Key
	for k, url := range st.urls {
		if kind(k) != secrets { // by name
			st.w.snap.Each(url, func(r *render.Resource) { keys = append(keys, r.Key) })
		}
	}
	var held []render.Key
	for k := range st.entries {
		held = append(held, k)
	}
	for k := range st.waiters {
		if st.entries[k] == nil {
			held = append(held, k)
		}
	}
	slices.SortFunc(held, compareKeys)
	return append(keys, held...)
}

func compareKeys(a, b render.Key) int {
	return cmp.Or(cmp.Compare(a.TypeURL, b.TypeURL), cmp.Compare(a.Name, b.Name))
}

func (st *stream) kindOf(k render.Key) (kind, bool) {
	i := slices.Index(st.urls[:], k.TypeURL)
	return kind(i), i >= 0
}

// touch looks at a resource that may have changed.
func (st *stream) touch(k render.Key, kind kind) {
	if kind == secrets && st.entries[k] == nil { // nobody asked for it yet; a scope may wait for it to exist
		st.wakeWaiters(k)
		return
	}
	st.review(st.entry(k, kind))
}

func (st *stream) entry(k render.Key, kind kind) *entry {
	e := st.entries[k]
	if e == nil {
		e = &entry{key: k, kind: kind}
		st.entries[k] = e
		if kind == listeners {
			st.listeners[k] = e
		}
	}
	return e
}

// request takes in one message of Envoy: an answer, a change of subscriptions, or both.
func (st *stream) request(r *discoveryv3.DeltaDiscoveryRequest) {
	kind, ok := st.kindOf(render.Key{TypeURL: r.GetTypeUrl()})
	if !ok {
		st.log.Debug("a type that we do not serve was asked for", "type", r.GetTypeUrl())
		return
	}
	if resp := st.inflight[r.GetResponseNonce()]; resp != nil && r.GetResponseNonce() != "" {
		delete(st.inflight, r.GetResponseNonce())
		st.types[resp.kind].waiting--
		if d := r.GetErrorDetail(); d != nil {
			st.refused(resp, envoy.Clean(d.GetMessage()))
		} else {
			st.acknowledged(resp)
		}
	}
	t := &st.types[kind]
	first := !t.asked
	if first {
		t.asked = true
		t.fresh = len(r.GetInitialResourceVersions()) == 0
		st.recheck = true
		if !t.fresh && (kind == listeners || kind == scopes) {
			st.opened = true
		}
		st.remember(kind, r)
	}
	if kind == secrets {
		st.subscribe(r, first)
	}
}

// remember takes in what a reconnecting Envoy holds and what it refused before. It stays silent about what is equal.
func (st *stream) remember(kind kind, r *discoveryv3.DeltaDiscoveryRequest) {
	versions := r.GetInitialResourceVersions()
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		e := st.entry(render.Key{TypeURL: st.urls[kind], Name: name}, kind)
		e.asked = true
		var res *render.Resource
		if want := st.want(e); want != nil && version(want) == versions[name] {
			res = want
		}
		st.hold(e, true, versions[name], res)
	}
	if len(versions) == 0 {
		return // an Envoy that starts anew may answer otherwise than before
	}
	for k, refusal := range st.known {
		if k.TypeURL == st.urls[kind] && (kind != secrets || st.entries[k] != nil) {
			st.entry(k, kind).refusal = refusal
		}
	}
	for _, e := range st.ofKind(kind) {
		st.review(e)
	}
}

func (st *stream) ofKind(kind kind) []*entry {
	var all []*entry
	for _, e := range st.entries {
		if e.kind == kind {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.key.Name, b.key.Name) })
	return all
}

// subscribe keeps the list of secrets that Envoy wants. A name that is subscribed to must be answered, held or not,
// unless Envoy comes back and holds our version.
func (st *stream) subscribe(r *discoveryv3.DeltaDiscoveryRequest, first bool) {
	for _, name := range r.GetResourceNamesUnsubscribe() {
		e := st.entries[render.Key{TypeURL: st.urls[secrets], Name: name}]
		if e == nil {
			continue
		}
		e.asked, e.force = false, false
		e.sent = nil // answers to come are about content that Envoy dropped
		st.hold(e, false, "", nil)
		st.review(e)
	}
	for _, name := range r.GetResourceNamesSubscribe() {
		if name == "*" || name == "" {
			continue
		}
		e := st.entry(render.Key{TypeURL: st.urls[secrets], Name: name}, secrets)
		if _, held := r.GetInitialResourceVersions()[name]; first && held {
			continue
		}
		e.asked, e.force = true, true
		e.refusal = refusal{}
		st.hold(e, false, "", nil)
		st.review(e)
	}
}

// acknowledged takes in an ACK.
func (st *stream) acknowledged(resp *response) {
	for _, it := range resp.items {
		e := it.e
		if !st.answered(it) {
			continue
		}
		if e.kind == listeners && e.has {
			st.drained[e.key] = time.Now() // connections of what it held drain from now on
		}
		if it.res == nil {
			st.hold(e, false, "", nil)
		} else {
			st.hold(e, true, version(it.res), it.res)
		}
		e.solo, e.tries = false, 0
		if it.res != nil && e.refusal.version == version(it.res) {
			e.refusal = refusal{} // another try went well
		}
		st.review(e)
	}
}

// refused takes in a NACK. Of a batch nobody knows for certain which members are meant, and a proto constraint violation
// drops the good ones too: each is sent again alone, which Envoy takes without effect if it has it.
func (st *stream) refused(resp *response, message string) {
	offered := 0
	for _, it := range resp.items {
		if it.res != nil {
			offered++
		}
	}
	for _, it := range resp.items {
		e := it.e
		if !st.answered(it) {
			continue
		}
		switch {
		case it.res == nil && offered == 0: // nothing was offered that could be refused: do not ask for ever
			st.hold(e, false, "", nil)
		case it.res == nil: // asked for again
		case offered > 1:
			e.solo = true
			st.doubt(e, append(slices.Clone(e.maybe), it.res))
		default:
			e.solo = false
			st.doubt(e, slices.DeleteFunc(slices.Clone(e.maybe), func(r *render.Resource) bool { return r.Hash == it.res.Hash }))
			said := envoy.Hide(message, append(it.res.Secrets(), st.w.sealed...))
			e.refusal = refusal{version: version(it.res), message: said, at: time.Now()}
			e.tries++
			st.warned(e, said)
		}
		st.review(e)
	}
}

func (st *stream) warned(e *entry, message string) {
	st.log.Warn("Envoy refused a resource", "revision", st.w.revision, "type", e.key.TypeURL, "name", e.key.Name, "message", message)
	if w := st.warmNames[e.key.Name]; w != nil && e.kind == scopes {
		w.scope.refusal = refusal{version: w.version, message: message, at: time.Now()}
		st.review(w.scope)
	}
}

// answered takes an item out of what is in flight; false: Envoy dropped the resource in between.
func (st *stream) answered(it *item) bool {
	st.count(it.res, -1)
	i := slices.Index(it.e.sent, it)
	if i < 0 {
		return false
	}
	it.e.sent = slices.Delete(it.e.sent, i, i+1)
	st.keep(it.e)
	return true
}

// hold records what Envoy has of a resource.
func (st *stream) hold(e *entry, has bool, version string, res *render.Resource) {
	if e.has {
		st.count(e.res, -1)
	}
	if has {
		st.count(res, +1)
	}
	if e.has && e.res == nil {
		st.unknown[e.kind]--
		st.recheck = true
	}
	if has && res == nil {
		st.unknown[e.kind]++
	}
	e.has, e.version, e.res = has, version, res
	st.doubt(e, nil)
}

// doubt replaces the versions that Envoy may or may not have.
func (st *stream) doubt(e *entry, maybe []*render.Resource) {
	for _, r := range maybe {
		st.count(r, +1)
	}
	for _, r := range e.maybe {
		st.count(r, -1)
	}
	e.maybe = maybe
	st.keep(e)
}

// keep works out what Envoy goes on holding because of e: what is named by the version that it has, and by all that are on
// their way. A secret that nothing keeps may be dropped by Envoy before the next resource arrives.
func (st *stream) keep(e *entry) {
	var kept []render.Key
	if e.has && e.res != nil {
		kept = e.res.Refs
	}
	others := slices.Clone(e.maybe)
	for _, it := range e.sent {
		others = append(others, it.res)
	}
	for _, r := range others {
		var refs []render.Key
		if r != nil {
			refs = r.Refs
		}
		kept = slices.DeleteFunc(slices.Clone(kept), func(k render.Key) bool { return !slices.Contains(refs, k) })
	}
	for _, k := range e.kept {
		if st.keeps[k]--; st.keeps[k] <= 0 {
			delete(st.keeps, k)
		}
	}
	for _, k := range kept {
		st.keeps[k]++
	}
	e.kept = kept
}

// count keeps the number of resources at Envoy that name a resource.
func (st *stream) count(r *render.Resource, d int) {
	if r == nil {
		return
	}
	for _, k := range r.Refs {
		if st.refs[k] += d; st.refs[k] <= 0 {
			delete(st.refs, k)
			st.recheck = true
		}
	}
}

// latest is the version that Envoy will have when it acknowledges everything; false: none.
func (e *entry) latest() (string, bool) {
	if n := len(e.sent); n > 0 {
		if r := e.sent[n-1].res; r != nil {
			return version(r), true
		}
		return "", false
	}
	if len(e.maybe) > 0 {
		return "", true // some version, or its own: in doubt it is sent, or removed, again
	}
	return e.version, e.has
}

// want is what Envoy should have; nil: nothing.
func (st *stream) want(e *entry) *render.Resource {
	if st.w == nil || (e.kind == secrets && !e.asked) {
		return nil
	}
	if e.kind == scopes {
		if w := st.warmNames[e.key.Name]; w != nil {
			return w.res
		}
	}
	r, _ := st.w.snap.Get(e.key)
	return r
}

// review compares what Envoy should have of a resource with what it has, and queues what follows. It is called whenever
// either may have changed, and is harmless otherwise.
func (st *stream) review(e *entry) {
	if st.w == nil {
		return
	}
	st.wakeWaiters(e.key)
	want := st.want(e)
	last, had := e.latest()
	if want == nil {
		st.reviewGone(e, had)
		return
	}
	e.downSince, e.lingering, e.after, e.due = st.settleDown(e), false, nil, time.Time{}
	e.stuck = ""
	if e.refusal.version != version(want) {
		e.refusal = refusal{}
	}
	if e.has && e.res == nil && e.version == version(want) {
		st.hold(e, true, e.version, want) // bytes of an earlier server, and now ours too
	}
	st.releaseWarm(e, want)
	switch {
	case e.refusal.version != "":
		st.settleUp(e)
		st.note(e, want, deliver.Error, e.refusal.message)
		st.retry(e)
	case had && last == version(want) && !e.force:
		if len(e.sent) == 0 {
			st.settleUp(e)
			st.note(e, want, deliver.Synced, "")
			st.warmed(e)
		} else {
			st.awaitUp(e)
			st.note(e, want, deliver.Stale, "")
		}
	default:
		if e.kind == listeners && e.awaited != version(want) {
			st.settleUp(e) // a listener waits for the scopes of its newest version; a scope is waited for since its oldest
		}
		e.awaited = version(want)
		st.awaitUp(e)
		st.note(e, want, deliver.NotSent, "")
		st.queueUp(e)
	}
}

// Listeners that were refused are tried again, after a second at first: whoever had the port may have gone. Everything
// else is judged by its content alone, which does not change by waiting.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// retry brings a refused listener back when it is time, or sees to it that somebody comes back then.
func (st *stream) retry(e *entry) {
	if e.kind != listeners || len(e.sent) > 0 || e.again {
		return
	}
	at := e.refusal.at.Add(min(firstRetry<<min(max(e.tries-1, 0), 10), lastRetry))
	switch {
	case !time.Now().Before(at):
		e.again = true
		st.queueUp(e)
	case !at.Equal(e.retryAt):
		e.retryAt = at
		st.timers.add(at, e)
	}
}

// reviewGone is review for a resource that Envoy should not have.
func (st *stream) reviewGone(e *entry, had bool) {
	st.settleUp(e)
	e.stuck, e.refusal, e.solo = "", refusal{}, false
	defer func() { st.bury(e, !had && len(e.sent) > 0) }()
	if e.kind == scopes {
		st.releaseWarm(e, nil)
	}
	if had {
		if e.downSince == 0 && !e.lingering {
			st.awaitDown(e)
		}
		st.queueDown(e)
		return
	}
	if len(e.sent) == 0 {
		e.downSince, e.lingering, e.due, e.after = st.settleDown(e), false, time.Time{}, nil
		if !e.asked || e.kind != secrets {
			delete(st.entries, e.key)
			delete(st.listeners, e.key)
		}
	}
}

// note writes the state of a resource where others can see it.
func (st *stream) note(e *entry, want *render.Resource, state deliver.State, message string) {
	if isWarm(e.key.Name) {
		return
	}
	counter := (*int)(nil)
	switch {
	case state == deliver.Error:
		counter = &st.tally.refused
	case state == deliver.Stale:
		counter = &st.tally.stale
	case e.stuck != "":
		counter = &st.tally.held
	}
	st.countIn(e, counter)
	at := time.Now()
	if e.refusal.version != "" {
		at = e.refusal.at
	}
	st.board.set(e.key, note{want: want, message: message, at: at.UnixNano(), state: state})
}

// countIn moves an entry from one number of the tally to another; nil: none.
func (st *stream) countIn(e *entry, counter *int) {
	if e.counted != nil {
		*e.counted--
	}
	if e.counted = counter; counter != nil {
		*counter++
	}
}

// bury takes a resource that is not wanted out of what others see.
func (st *stream) bury(e *entry, sent bool) {
	counter := (*int)(nil)
	if sent && e.downSince != 0 {
		counter = &st.tally.stale
	}
	st.countIn(e, counter)
	if !isWarm(e.key.Name) {
		st.board.drop(e.key)
	}
}

func (st *stream) awaitUp(e *entry) {
	if e.upSince == 0 {
		e.upSince = st.w.seq
		st.types[e.kind].upSince[e.upSince]++
		st.tally.pending++
	}
}

func (st *stream) settleUp(e *entry) {
	if e.upSince == 0 {
		return
	}
	m := st.types[e.kind].upSince
	if m[e.upSince]--; m[e.upSince] == 0 {
		delete(m, e.upSince)
		st.recheck = true
	}
	e.upSince = 0
	st.tally.pending--
}

// behind says whether a resource of a kind still waits to be made since seq or before.
func (st *stream) behind(k kind, seq uint64) bool {
	for since := range st.types[k].upSince {
		if since <= seq {
			return true
		}
	}
	return false
}

// awaitDown starts the wait for a removal. Those of clusters, secrets and warming scopes are housekeeping: they do not
// count as pending.
func (st *stream) awaitDown(e *entry) {
	if e.kind == clusters || e.kind == secrets || isWarm(e.key.Name) {
		e.lingering = true
		return
	}
	e.downSince = st.w.seq
	st.tally.pending++
	if e.kind == scopes && st.w.declares(e.res) {
		e.after = st.changing(e)
	}
}

// settleDown ends it; the result is the new downSince.
func (st *stream) settleDown(e *entry) uint64 {
	if e.downSince != 0 {
		st.tally.pending--
		st.recheck = true
	}
	return 0
}

func (st *stream) queueUp(e *entry) {
	if !e.queuedUp {
		e.queuedUp = true
		st.types[e.kind].up = append(st.types[e.kind].up, e)
	}
}

func (st *stream) queueDown(e *entry) {
	st.recheck = true
	if !e.queuedDown {
		e.queuedDown = true
		st.types[e.kind].down = append(st.types[e.kind].down, e)
	}
}

// wait parks an entry until a resource that it needs is looked at again.
func (st *stream) wait(e *entry, on render.Key) {
	if e.waitsOn != on {
		e.waitsOn = on
		st.waiters[on] = append(st.waiters[on], e)
	}
}

func (st *stream) wakeWaiters(on render.Key) {
	all := st.waiters[on]
	if all == nil {
		return
	}
	delete(st.waiters, on)
	for _, e := range all {
		if e.waitsOn != on || st.entries[e.key] != e {
			continue
		}
		e.waitsOn = render.Key{}
		if st.want(e) == nil {
			st.queueDown(e)
			continue
		}
		if e.stuck != "" {
			st.review(e)
			continue
		}
		st.queueUp(e)
	}
}

// respond sends one response.
func (st *stream) respond(k kind, up []*item, down []*item) error {
	st.nonce++
	nonce := strconv.FormatUint(st.nonce, 36)
	r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: st.urls[k], Nonce: nonce, SystemVersionInfo: st.w.revision}
	for _, it := range up {
		content := it.res.Any
		if st.board.info.Address != "" {
			var err error
			if content, err = st.w.snap.Elsewhere(it.res, st.ca); err != nil {
				return fmt.Errorf("%s for another host: %w", it.e.key.Name, err)
			}
		}
		r.Resources = append(r.Resources, &discoveryv3.Resource{Name: it.e.key.Name, Version: version(it.res), Resource: content})
		it.e.force = false
		st.count(it.res, +1)
	}
	for _, it := range down {
		r.RemovedResources = append(r.RemovedResources, it.e.key.Name)
	}
	resp := &response{kind: k, items: append(slices.Clip(up), down...)}
	for _, it := range resp.items {
		it.e.sent = append(it.e.sent, it)
		st.keep(it.e)
	}
	st.inflight[nonce] = resp
	st.types[k].answered = true
	st.types[k].waiting++
	if err := st.send(r); err != nil {
		return err
	}
	for _, it := range resp.items {
		st.review(it.e)
	}
	return nil
}

// timers wake entries, earliest first.
type timers []timedEntry

type timedEntry struct {
	at time.Time
	e  *entry // nil: only look again
}

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timedEntry)) }
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

func (t *timers) add(at time.Time, e *entry) { heap.Push(t, timedEntry{at, e}) }

// next is how long until the first one.
func (t timers) next() time.Duration {
	if len(t) == 0 {
		return time.Hour
	}
	return max(0, time.Until(t[0].at))
}

func (t *timers) expired(now time.Time) []*entry {
	var all []*entry
	for len(*t) > 0 && !(*t)[0].at.After(now) {
		if e := heap.Pop(t).(timedEntry).e; e != nil {
			all = append(all, e)
		}
	}
	return all
}
