// Package reconcile keeps Envoy equal to the source.
//
// The loop is level-triggered: every signal means only "look again", and whoever looks fetches the whole truth. It knows
// neither how declarations become resources (Build) nor how resources travel (Target).
package reconcile

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// Built is what an accepted source set becomes.
type Built struct {
	Gateway   *ir.Gateway
	Resources *render.Resources
	HoldAt    source.Set // of what Hold made: the set that objects are to be held at once it is live; without files: those that were live
}

// Enforcer runs the policies that decide at request time.
type Enforcer interface {
	Load(instances map[string]render.Instance) error // before resources name them
	Retire(live func(id string) bool)                // when no Envoy can ask any more
}

// Loop keeps one Target equal to one Source. All fields but the optional ones must be set before Run.
type Loop struct {
	Name   string // of the source, for status
	Source watch.Source
	Again  <-chan struct{} // something that Build depends on changed (a fetched key set); nil: never
	Build  func(context.Context, source.Set) (Built, diag.List)
	Render func(context.Context, *ir.Gateway) (Built, diag.List) // the second half of Build, when only Again changed
	Target deliver.Target

	LastGood  func() []source.Set                                                       // what was served before this process began, the newest first; used once, when nothing better can be had; nil: nothing
	HeldAt    func() source.Set                                                         // what objects were held at before this process began; without files: at LastGood; used once; nil: the same
	Past      func(revision, served string) (source.Set, bool)                          // an older revision that was programmed, "": the newest that is not served; nil: none is kept
	Published func(Built)                                                               // the target took a revision over; nil: nobody is told
	Enforce   Enforcer                                                                  // nil: no policy decides at request time
	Warming   func(context.Context) error                                               // an error while acknowledged listeners or clusters are not live yet; nil: an ACK is enough
	Proof     func(context.Context, Built) diag.List                                    // what speaks against a revision that Envoy serves: its errors roll it back; nil: nothing is asked
	Before    func(context.Context)                                                     // a revision is about to be published that Proof is asked of; nil: nothing is to be done
	Blame     func(b Built, k render.Key, words string) (diag.Object, diag.Range, bool) // what the user wrote that Envoy's words about a resource are about; nil, or false: the first thing that it was made of
	When      func(since, now time.Time) time.Time                                      // when, not before now, a revision of the source that was seen at since is applied; the zero time: when somebody says so; nil: at once
	Hold      Hold                                                                      // nil: a revision with an error changes nothing
	Tell      func(Event)                                                               // must not block; nil: nobody is told
	Ready     func(addresses []string)                                                  // the first revision is programmed; nil: nobody is told
	Looked    func()                                                                    // the source was looked at for the first time, whatever came of it; nil: nobody is told
	Remember  func(Control)                                                             // what operators asked for has changed, to be kept across restarts; nil: it is forgotten
	Log       *slog.Logger

	Control        Control       // what was remembered
	Observe        bool          // judge revisions and publish none
	Quiet, MaxWait time.Duration // fetch after Quiet without a change, but never later than MaxWait
	Drain          time.Duration // how long Envoy may still ask for what the last revision named

	mu    sync.Mutex
	state state

	setUp            sync.Once
	commands         chan func(context.Context)
	looks            chan chan<- struct{}
	reading          atomic.Int64 // when the read of the source began that is under way, in Unix nanoseconds; 0: none is
	proofs           chan proof
	stopProof        context.CancelFunc // of the proof that runs; nil: none does
	waiting          []waiter
	back             *Outcome        // of a revision that was taken back, until what was before is served
	connected        map[string]bool // Envoys, by node, as they were told last
	limits           map[string]bool // what was told of Envoys on other hosts last
	instances, files uses
	ready            bool
	formerSets       []source.Set
	formerHeldAt     []source.Set // one; nil: not known
	triedLastGood    bool
	told             string // the refusals of Envoy that were told last
}

// revision is what was made of one source set.
type revision struct {
	set   source.Set
	built Built
	by    string        // see Event
	wrong []diag.Object // that Envoy refused, and are held for it
	held  []Held
	list  diag.List // its errors, when it is served without what they are about; nil: it has none

	proven  bool      // its Proof was asked, or need not be
	against diag.List // what the Proof said against it; nil: nothing
	asked   time.Time
}

func (r revision) none() bool { return r.built.Resources == nil }

// partial says whether it is served without what is wrong in it.
func (r revision) partial() bool { return r.list != nil }

type state struct {
	fetchErr error
	tried    source.Set // the newest set that was fetched, or given by hand
	refused  diag.List  // of tried; nil: it was accepted
	waits    source.Set // what control.Waiting is about, once this process has seen it
	served   revision   // what the target was given last
	good     revision   // the last one that was programmed
	whole    revision   // the last one that was, with nothing held
	holdAt   source.Set // what objects are to be held at before good and whole; without files: at those alone
	pending  string     // why served is not live yet; "": it is
	reason   string     // of pending, CamelCase
	place    *diag.Range
	failed   *status.Failed
	back     *status.Condition // why tried was taken back after it was published; nil: it was not
	control  Control
}

// fileGrace is how much longer than instances files stay: scopes wait for the drain too before they go.
const fileGrace = 10 * time.Second

const (
	pollLive  = 20 * time.Millisecond
	pollIdle  = time.Second
	retryBase = time.Second
	retryMax  = 30 * time.Second
)

// Run works until ctx is done. It returns nil then, and never for another reason: a source that fails is tried again.
func (l *Loop) Run(ctx context.Context) error {
	l.begin()
	retry := retryBase
	again := time.NewTimer(0) // fetches that failed, and the first one
	defer again.Stop()
	poll := time.NewTicker(pollIdle)
	defer poll.Stop()
	var changed <-chan struct{}
	if l.Source != nil {
		changed = l.Source.Changed()
	}
	for {
		var asked chan<- struct{}
		select {
		case <-ctx.Done():
			// What became live a moment ago is the last good state too.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			l.observe(last, poll)
			cancel()
			return nil
		case <-again.C:
		case asked = <-l.looks:
		case <-changed:
			l.settle(ctx)
		case <-l.Again:
			l.rebuild(ctx)
			continue
		case <-l.Target.Changed():
			l.observe(ctx, poll)
			continue
		case do := <-l.commands:
			do(ctx)
			l.observe(ctx, poll)
			continue
		case p := <-l.proofs:
			l.proved(ctx, p)
			l.observe(ctx, poll)
			continue
		case <-poll.C:
			l.observe(ctx, poll)
			l.retireOld(time.Now())
			l.release(ctx)
			if !l.overdue() {
				continue
			}
		}
		read := l.fetch(ctx)
		if l.Looked != nil {
			l.Looked()
			l.Looked = nil
		}
		if asked != nil {
			close(asked)
		}
		if read {
			retry = retryBase
			continue
		}
		again.Reset(retry)
		retry = min(2*retry, retryMax)
	}
}

// begin makes what the exported fields leave out.
func (l *Loop) begin() {
	l.setUp.Do(func() {
		l.commands, l.proofs, l.looks = make(chan func(context.Context)), make(chan proof, 1), make(chan chan<- struct{})
		l.update(func(s *state) { s.control = l.Control })
	})
}

// settle waits until the source was quiet for Quiet, or MaxWait has passed.
func (l *Loop) settle(ctx context.Context) {
	latest := time.NewTimer(l.MaxWait)
	defer latest.Stop()
	quiet := time.NewTimer(l.Quiet)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-latest.C:
			return
		case <-quiet.C:
			return
		case <-l.Source.Changed():
			quiet.Reset(l.Quiet)
		}
	}
}

func (l *Loop) snapshot() state {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *Loop) update(f func(*state)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.state)
}

// fetch looks at the source, and follows it unless an operator said otherwise. It is false when the source can not be read.
func (l *Loop) fetch(ctx context.Context) bool {
	if l.Source == nil || l.suspended() {
		l.fallBack(ctx)
		return true
	}
	before := l.snapshot()
	set, err := l.read(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return true
		}
		l.update(func(s *state) { s.fetchErr = err })
		l.unfetched(before.fetchErr, err)
		l.fallBack(ctx)
		return false
	}
	l.update(func(s *state) { s.fetchErr = nil })
	if before.fetchErr != nil {
		l.tell(Event{Type: SourceBack, By: bySource, Message: l.Name + " can be read again"})
	}
	if set.Revision != "" && before.tried.Revision == set.Revision && (!before.served.none() || before.refused != nil || before.back != nil || l.Observe) {
		return true
	}
	if set.Revision == "" || l.pinnedOn(set) {
		l.update(func(s *state) { s.tried = set })
		l.fallBack(ctx)
		return true
	}
	l.Log.Info("fetched", append([]any{"revision", set.Revision, "files", len(set.Files)}, commitArgs(set.Commit)...)...)
	l.tell(Event{Type: Fetched, Revision: set.Revision, By: bySource, Set: set})
	if l.quarantined(ctx, set) || l.waits(ctx, set) {
		return true
	}
	l.build(ctx, set, bySource)
	return true
}

// commitArgs are what a log says of a commit.
func commitArgs(c *source.Commit) []any {
	if c == nil {
		return nil
	}
	return []any{"author", c.Author, "subject", c.Subject}
}

// unfetched tells why nothing was fetched, once for each reason. A source tells a refusal from an outage by a Reason.
func (l *Loop) unfetched(before, err error) {
	if before != nil && before.Error() == err.Error() {
		return
	}
	e := Event{Type: SourceUnavailable, By: bySource, Message: err.Error()}
	why := fetchReason(err)
	if commit, ok := refusedHead(err); ok {
		e.Type, e.Reason, e.Commit = Refused, why, commit
		if commit != nil {
			e.Revision = commit.ID
		}
	}
	if e.Type == Refused {
		l.Log.Error("what the source has is refused; "+l.kept(), append(append([]any{"reason", why, "revision", e.Revision}, commitArgs(e.Commit)...), "error", err)...)
	} else {
		l.Log.Error("source cannot be read; "+l.kept(), "source", l.Name, "error", err)
	}
	if before == nil || e.Type == Refused || fetchReason(before) != why {
		l.tell(e)
	}
}

// refusedHead is the commit that a source has and refuses, nil when it is not known; ok is false for an outage.
func refusedHead(err error) (commit *source.Commit, ok bool) {
	var refusal interface {
		Refused() (*source.Commit, bool)
	}
	if errors.As(err, &refusal) {
		return refusal.Refused()
	}
	return nil, false
}

// fetchReason is a CamelCase word for why a source gave nothing.
func fetchReason(err error) string {
	var r interface{ Reason() string }
	if errors.As(err, &r) {
		return r.Reason()
	}
	return "SourceUnavailable"
}

// build brings one set to the target, whole or not at all; with Hold, but for what is wrong.
func (l *Loop) build(ctx context.Context, set source.Set, by string) {
	l.supersede(set.Revision)
	built, list := l.Build(ctx, set)
	list = list.WithoutSecrets(set.Bytes)
	next := revision{set: set, built: built, by: by}
	if list.HasErrors() {
		var ok bool
		if next, ok = l.hold(ctx, revision{set: set, by: by}, nil, list); !ok {
			l.refuse(set, by, "Invalid", Invalid, list)
			l.update(func(s *state) { s.tried, s.refused, s.back = set, list, nil })
			l.fallBack(ctx)
			l.Log.Error("revision refused; "+l.kept(), "revision", set.Revision, "errors", list.Count(diag.Error))
			l.answer(set.Revision, Outcome{Result: Invalid, Diagnostics: list})
			return
		}
	}
	if l.Observe {
		l.update(func(s *state) { s.tried, s.refused, s.back = set, nil, nil })
		l.Log.Info("accepted, and not published: this daemon observes", "revision", set.Revision, "warnings", list.Count(diag.Warning))
		l.tell(Event{Type: Accepted, Revision: set.Revision, By: by, Reason: "Observed", Set: set, Diagnostics: list})
		l.answer(set.Revision, Outcome{Result: Accepted, Reason: "Observed", Diagnostics: list})
		return
	}
	if err := l.publish(ctx, next); err != nil {
		if ctx.Err() != nil {
			return // told to stop
		}
		l.Log.Error("revision not delivered; "+l.kept(), "revision", set.Revision, "error", err)
		list := diag.List{{Severity: diag.Error, Code: "envoy/not-delivered", Summary: err.Error(), Hint: "check the space and the permissions where it is written, then run flexgw sync; the log of the daemon says more"}}
		l.refuse(set, by, "NotDelivered", Rejected, list)
		l.answer(set.Revision, Outcome{Result: Rejected, Reason: "NotDelivered", Message: err.Error(), Diagnostics: list})
		return
	}
	l.update(func(s *state) { s.tried, s.refused, s.back = set, nil, nil })
	if next.partial() {
		l.Log.Error("accepted, but for objects that stay at their last good version", "revision", set.Revision, "held", len(next.held), "errors", next.list.Count(diag.Error))
		l.refuse(set, by, "Held", HeldBack, next.list)
		return
	}
	l.Log.Info("accepted", "revision", set.Revision, "warnings", list.Count(diag.Warning))
	l.tell(Event{Type: Accepted, Revision: set.Revision, By: by, Set: set, Diagnostics: list})
}

// fallBack serves the last good declarations of an earlier run while nothing else can be served. What is wrong with the
// newest set is said already, and stays so.
func (l *Loop) fallBack(ctx context.Context) {
	if l.Observe || !l.snapshot().served.none() {
		return
	}
	last, ok := l.lastGood(ctx)
	if !ok {
		return
	}
	if err := l.publish(ctx, last); err != nil {
		l.Log.Error("the last good revision can not be delivered", "revision", last.set.Revision, "error", err)
		return
	}
	l.Log.Warn("the last good revision is served", "revision", last.set.Revision)
}

// lastGood builds what was served before this process began. It can be had once.
func (l *Loop) lastGood(ctx context.Context) (revision, bool) {
	if l.triedLastGood {
		return revision{}, false
	}
	l.triedLastGood = true
	sets := l.former()
	for i, set := range sets {
		built, list := l.Build(ctx, set)
		if !list.HasErrors() {
			return revision{set: set, built: built, by: byLastGood}, true
		}
		if l.Hold != nil { // it was served with objects of those before it
			if built, held, list := l.holdAt(ctx, set, l.formerHeldAt, sets[i+1:], nil); built.Resources != nil {
				return revision{set: set, built: built, by: byLastGood, held: held, list: list}, true
			}
		}
		l.Log.Error("a revision that was served before can not be served any more", "revision", set.Revision, "error", list.Err())
	}
	return revision{}, false
}

// former are the sets that were served before this process began, the newest first.
func (l *Loop) former() []source.Set {
	if l.LastGood != nil {
		l.formerSets, l.LastGood = l.LastGood(), nil
	}
	if l.HeldAt != nil {
		if set := l.HeldAt(); len(set.Files) > 0 {
			l.formerHeldAt = []source.Set{set}
		}
		l.HeldAt = nil
	}
	return l.formerSets
}

// rebuild renders what is served again, whatever the newest set looks like: a key that was rotated must not wait for a
// typing mistake to be mended.
func (l *Loop) rebuild(ctx context.Context) {
	s := l.snapshot()
	if s.served.none() {
		return
	}
	next := s.served
	var list diag.List
	next.built, list = l.Render(ctx, s.served.built.Gateway)
	if list.HasErrors() {
		l.Log.Error("not rendered again; "+l.kept(), "revision", next.set.Revision, "error", list.Err())
		return
	}
	next.built.HoldAt = s.served.built.HoldAt
	if err := l.publish(ctx, next); err != nil {
		l.Log.Error("not delivered again; "+l.kept(), "revision", next.set.Revision, "error", err)
	}
}

// kept says what a refusal leaves in place.
func (l *Loop) kept() string {
	if l.snapshot().served.none() {
		return "nothing is served yet"
	}
	return "what is served stays"
}

// publish hands a revision to the target, which is what is served from then on.
func (l *Loop) publish(ctx context.Context, r revision) error {
	l.instances.publish(maps.Keys(r.built.Resources.Instances()))
	l.files.publish(paths(r.built.Resources))
	if l.Enforce != nil {
		if err := l.Enforce.Load(r.built.Resources.Instances()); err != nil {
			return err
		}
	}
	if l.Before != nil && (!r.proven || r.against != nil) {
		l.Before(ctx)
	}
	if err := l.Target.Publish(ctx, deliver.Revision{Source: r.set, Resources: r.built.Resources}); err != nil {
		return err
	}
	l.endProof()
	l.told = ""
	l.update(func(s *state) {
		s.served = r
		s.pending, s.reason, s.place = "not acknowledged yet", "Pending", nil
	})
	if l.Published != nil {
		l.Published(r.built)
	}
	return nil
}

// refuse tells what is wrong with a revision.
func (l *Loop) refuse(set source.Set, by, reason string, typ EventType, list diag.List) {
	l.update(func(s *state) {
		s.failed = &status.Failed{Revision: set.Revision, At: time.Now().UTC(), Reason: reason, Diagnostics: list.WithoutSecrets(set.Bytes)}
	})
	l.tell(Event{Type: typ, Revision: set.Revision, By: by, Reason: reason, Message: firstError(list), Diagnostics: list, Set: set})
}

// firstError is the first error of a list in one line; "": there is none.
func firstError(list diag.List) string {
	for _, d := range list {
		if d.Severity == diag.Error {
			return d.String()
		}
	}
	return ""
}

// observe looks at what Envoy did with the published revision.
func (l *Loop) observe(ctx context.Context, poll *time.Ticker) {
	progress := l.Target.Progress()
	l.tellEnvoys(progress)
	before := l.snapshot()
	if before.served.none() {
		return
	}
	counted := before.control.counted(progress)
	lasting := l.lasting(counted, before.served)
	l.tellFleet(progress, before.served, lasting)
	pending, reason := l.pending(ctx, counted, lasting, before.reason == "")
	if reason == "NoEnvoy" && len(counted) < len(progress) {
		pending = "no Envoy is connected but those that are cordoned"
	}
	var rejected diag.List
	if reason == "Rejected" {
		if rejected = l.rejections(before.served, lasting); said(rejected) == l.told {
			rejected = nil // a refused listener is tried again and again
		}
	} else {
		l.told = ""
	}
	if reason == "" && before.reason != "" {
		pending, reason = l.prove(before.served)
	}
	l.update(func(s *state) {
		s.pending, s.reason = pending, reason
		if reason == "" {
			s.place = nil
			if s.failed != nil && s.failed.Revision == s.served.set.Revision && !s.served.partial() && s.back == nil {
				s.failed = nil // what Envoy refused at first, it took later
			}
		}
		if len(rejected) > 0 {
			s.place = status.Place(rejected[0].Subject)
		}
	})
	switch {
	case reason == "" && before.reason != "":
		poll.Reset(pollIdle)
		l.live(before.served)
	case reason == "Warming":
		poll.Reset(pollLive)
	case len(rejected) > 0:
		l.told = said(rejected)
		l.rejected(ctx, before.served, rejected)
	}
}

// said is what an operator would read.
func said(l diag.List) string {
	if err := l.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// pending is why the accepted revision is not live, in words and as a reason; a live one does not start to warm. What every
// connected Envoy serves is live; one that is away gets it when it comes, and lasting refusals do not count.
func (l *Loop) pending(ctx context.Context, progress []deliver.Progress, lasting map[refusedAt]bool, live bool) (message, reason string) {
	if !slices.ContainsFunc(progress, func(p deliver.Progress) bool { return p.Connected }) {
		return "no Envoy is connected", "NoEnvoy"
	}
	waiting := false
	for _, p := range progress {
		p.Errors -= lastingAt(lasting, p.Node)
		if p.Connected && p.Errors > 0 {
			return "Envoy " + p.Node + " refused resources", "Rejected"
		}
		waiting = waiting || p.Connected && !p.Synced()
	}
	if waiting {
		return "not acknowledged yet", "Pending"
	}
	if l.Warming != nil && !live {
		if err := l.Warming(ctx); err != nil {
			return err.Error(), "Warming"
		}
	}
	return "", ""
}

// rejections turns Envoy's refusals into diagnostics at the user's lines.
func (l *Loop) rejections(served revision, lasting map[refusedAt]bool) diag.List {
	var list diag.List
	remote := map[string]bool{}
	for _, p := range l.Target.Progress() {
		remote[p.Node] = p.Remote()
	}
	for _, d := range l.snapshot().control.countedReport(l.Target.Report()) {
		if d.State != deliver.Error || lasting[refusedAt{d.Node, render.Key{TypeURL: d.TypeURL, Name: d.Name}}] {
			continue
		}
		who := "Envoy"
		if remote[d.Node] {
			who += " " + d.Node
		}
		x := diag.Diagnostic{
			Severity: diag.Error, Code: "envoy/rejected", Summary: who + " refused " + d.Name + ": " + strings.TrimSpace(d.Message),
			Hint: "its last good version stays; flexgw render shows what Envoy got",
		}
		if strings.Contains(d.Message, "cannot bind") {
			x.Hint = "free the address, or declare another one"
		}
		blamed := false
		if l.Blame != nil && !served.none() {
			if o, at, ok := l.Blame(served.built, render.Key{TypeURL: d.TypeURL, Name: d.Name}, d.Message); ok {
				x.Object, x.Subject, blamed = o, at, true
			}
		}
		for i, o := range d.Origins {
			if i == 0 && !blamed {
				x.Object, x.Subject = o.Declared(), o.Range
			}
			if o.Range == x.Subject || i == 0 && !blamed {
				continue
			}
			x.Related = append(x.Related, diag.Related{Subject: o.Range, Summary: "shares the refused resource"})
		}
		list = append(list, x)
	}
	return list.Sort()
}

// live is called once for every revision that Envoy serves.
func (l *Loop) live(r revision) {
	l.Log.Info("programmed", "revision", r.set.Revision)
	l.update(func(s *state) {
		s.good, s.holdAt = r, r.built.HoldAt
		if !r.partial() {
			s.whole, s.holdAt = r, r.set
		}
	})
	if !l.settled() {
		l.tell(Event{Type: Programmed, Revision: r.set.Revision, By: r.by, Set: r.set, HoldAt: r.built.HoldAt})
		l.answer(r.set.Revision, Outcome{Result: Programmed, Diagnostics: r.list, Held: r.held})
	}
	over := time.Now().Add(l.Drain)
	l.instances.programmed(maps.Keys(r.built.Resources.Instances()), over)
	l.files.programmed(paths(r.built.Resources), over.Add(fileGrace))
	if !l.ready && l.Ready != nil {
		l.ready = true
		l.Ready(r.built.Resources.Addresses())
	}
}

// retireOld closes policy instances and removes files that only revisions before a programmed one named, once requests
// under way may have ended.
func (l *Loop) retireOld(now time.Time) {
	if l.instances.over(now) && l.Enforce != nil {
		l.Enforce.Retire(l.instances.has)
	}
	if l.files.over(now) {
		if err := l.Target.Prune(l.files.has); err != nil {
			l.Log.Warn("old files stay", "error", err)
		}
	}
}

// paths are the files that a set of resources names.
func paths(r *render.Resources) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range r.Files() {
			if !yield(f.Path) {
				return
			}
		}
	}
}
