// Package reconcile keeps Envoy equal to the source.
//
// The loop is level-triggered: every signal means only "look again", and whoever looks fetches the whole truth. It knows
// neither how declarations become resources (Build) nor how resources travel (Target).
package reconcile

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
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

	LastGood  func() (source.Set, bool)   // what was served before this process began; used once, when nothing better can be had; nil: nothing
	Live      func(source.Set)            // a revision is programmed; nil: nobody is told
	Published func(Built)                 // the target took a revision over; nil: nobody is told
	Enforce   Enforcer                    // nil: no policy decides at request time
	Warming   func(context.Context) error // an error while acknowledged listeners or clusters are not live yet; nil: an ACK is enough
	Refused   func(source.Set, diag.List) // a revision was refused, by us or by Envoy; nil: nobody is told
	Ready     func(addresses []string)    // the first revision is programmed; nil: nobody is told
	Log       *slog.Logger

	Quiet, MaxWait time.Duration // fetch after Quiet without a change, but never later than MaxWait
	Drain          time.Duration // how long Envoy may still ask for what the last revision named

	mu    sync.Mutex
	state state

	instances, files uses
	ready            bool
	told             string // the refusals of Envoy that were told last
}

type state struct {
	fetchErr error
	tried    source.Set // the newest set that was fetched
	refused  diag.List  // of tried; nil: it was accepted
	built    Built      // the last accepted one
	set      source.Set // of built
	live     string     // revision that was programmed last
	pending  string     // why built is not live yet; "": it is
	reason   string     // of pending, CamelCase
	place    *diag.Range
	failed   *status.Failed
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
	retry := retryBase
	again := time.NewTimer(0) // fetches that failed, and the first one
	defer again.Stop()
	poll := time.NewTicker(pollIdle)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			// What became live a moment ago is the last good state too.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			l.observe(last, poll)
			cancel()
			return nil
		case <-again.C:
		case <-l.Source.Changed():
			l.settle(ctx)
		case <-l.Again:
			l.rebuild(ctx)
			continue
		case <-l.Target.Changed():
			l.observe(ctx, poll)
			continue
		case <-poll.C:
			l.observe(ctx, poll)
			l.retireOld(time.Now())
			continue
		}
		if l.fetch(ctx) {
			retry = retryBase
			continue
		}
		again.Reset(retry)
		retry = min(2*retry, retryMax)
	}
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

func (l *Loop) fetch(ctx context.Context) bool {
	set, err := l.Source.Fetch(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return true
		}
		l.Log.Error("source cannot be read; "+l.kept(), "source", l.Name, "error", err)
		l.update(func(s *state) { s.fetchErr = err })
		l.fallBack(ctx)
		return false
	}
	before := l.snapshot()
	l.update(func(s *state) { s.fetchErr = nil })
	if before.tried.Revision == set.Revision && (before.built.Resources != nil || before.refused != nil) {
		return true
	}
	l.Log.Info("fetched", "revision", set.Revision, "files", len(set.Files))
	l.build(ctx, set)
	return true
}

// build brings one set to the target, whole or not at all.
func (l *Loop) build(ctx context.Context, set source.Set) {
	if set.Revision == "" {
		return
	}
	built, list := l.Build(ctx, set)
	if list.HasErrors() {
		l.refuse(set, "Invalid", list)
		l.update(func(s *state) { s.tried, s.refused = set, list })
		l.fallBack(ctx)
		l.Log.Error("revision refused; "+l.kept(), "revision", set.Revision, "errors", list.Count(diag.Error))
		return
	}
	if err := l.publish(ctx, set, built); err != nil {
		if ctx.Err() != nil {
			return // told to stop
		}
		l.Log.Error("revision not delivered; "+l.kept(), "revision", set.Revision, "error", err)
		l.refuse(set, "NotDelivered", diag.List{{Severity: diag.Error, Code: "envoy/not-delivered", Summary: err.Error(),
			Hint: "check the space and the permissions where it is written; the log of the daemon says more"}})
		return
	}
	l.Log.Info("accepted", "revision", set.Revision, "warnings", list.Count(diag.Warning))
	l.update(func(s *state) {
		s.tried, s.refused, s.set, s.built = set, nil, set, built
		s.pending, s.reason, s.place = "not acknowledged yet", "Pending", nil
	})
}

// fallBack serves the last good declarations of an earlier run while nothing else can be served. What is wrong with the
// newest set is said already, and stays so.
func (l *Loop) fallBack(ctx context.Context) {
	if l.snapshot().built.Resources != nil || l.LastGood == nil {
		return
	}
	set, ok := l.LastGood()
	l.LastGood = nil
	if !ok {
		return
	}
	built, list := l.Build(ctx, set)
	if list.HasErrors() {
		l.Log.Error("the last good revision can not be served either", "revision", set.Revision, "error", list.Err())
		return
	}
	if err := l.publish(ctx, set, built); err != nil {
		l.Log.Error("the last good revision can not be delivered", "revision", set.Revision, "error", err)
		return
	}
	l.Log.Warn("the last good revision is served", "revision", set.Revision)
	l.update(func(s *state) {
		s.set, s.built = set, built
		s.pending, s.reason, s.place = "not acknowledged yet", "Pending", nil
	})
}

// rebuild renders what is served again, whatever the newest set looks like: a key that was rotated must not wait for a
// typing mistake to be mended.
func (l *Loop) rebuild(ctx context.Context) {
	s := l.snapshot()
	if s.built.Resources == nil {
		return
	}
	built, list := l.Render(ctx, s.built.Gateway)
	if list.HasErrors() {
		l.Log.Error("not rendered again; "+l.kept(), "revision", s.set.Revision, "error", list.Err())
		return
	}
	if err := l.publish(ctx, s.set, built); err != nil {
		l.Log.Error("not delivered again; "+l.kept(), "revision", s.set.Revision, "error", err)
		return
	}
	l.update(func(s *state) {
		s.built = built
		s.pending, s.reason, s.place = "not acknowledged yet", "Pending", nil
	})
}

// kept says what a refusal leaves in place.
func (l *Loop) kept() string {
	if l.snapshot().built.Resources == nil {
		return "nothing is served yet"
	}
	return "what is served stays"
}

func (l *Loop) publish(ctx context.Context, set source.Set, built Built) error {
	l.instances.publish(maps.Keys(built.Resources.Instances()))
	l.files.publish(paths(built.Resources))
	if l.Enforce != nil {
		if err := l.Enforce.Load(built.Resources.Instances()); err != nil {
			return err
		}
	}
	if err := l.Target.Publish(ctx, deliver.Revision{Source: set, Resources: built.Resources}); err != nil {
		return err
	}
	if l.Published != nil {
		l.Published(built)
	}
	return nil
}

func (l *Loop) refuse(set source.Set, reason string, list diag.List) {
	l.update(func(s *state) {
		s.failed = &status.Failed{Revision: set.Revision, At: time.Now().UTC(), Reason: reason, Diagnostics: list.WithoutSecrets(set.Bytes)}
	})
	if l.Refused != nil {
		l.Refused(set, list)
	}
}

// observe looks at what Envoy did with the published revision.
func (l *Loop) observe(ctx context.Context, poll *time.Ticker) {
	before := l.snapshot()
	if before.built.Resources == nil {
		return
	}
	pending, reason := l.pending(ctx, before.reason == "")
	var rejected diag.List
	if reason == "Rejected" {
		if rejected = l.rejections(); said(rejected) == l.told {
			rejected = nil // a refused listener is tried again and again
		}
	}
	if reason != "Rejected" {
		l.told = ""
	}
	l.update(func(s *state) {
		s.pending, s.reason = pending, reason
		if reason == "" {
			s.live, s.place = s.set.Revision, nil
			if s.failed != nil && s.failed.Revision == s.live {
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
		l.live(before.set, before.built.Resources)
	case reason == "Warming":
		poll.Reset(pollLive)
	case len(rejected) > 0:
		l.told = said(rejected)
		l.Log.Error("Envoy refused resources; their last good version stays", "revision", before.set.Revision, "refused", len(rejected))
		l.refuse(before.set, "Rejected", rejected)
	}
}

// said is what an operator would read.
func said(l diag.List) string {
	if err := l.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// pending is why the accepted revision is not live, in words and as a reason; a live one does not start to warm.
func (l *Loop) pending(ctx context.Context, live bool) (message, reason string) {
	progress := l.Target.Progress()
	if !slices.ContainsFunc(progress, func(p deliver.Progress) bool { return p.Connected }) {
		return "no Envoy is connected", "NoEnvoy"
	}
	waiting := false
	for _, p := range progress {
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
func (l *Loop) rejections() diag.List {
	var list diag.List
	for _, d := range l.Target.Report() {
		if d.State != deliver.Error {
			continue
		}
		x := diag.Diagnostic{
			Severity: diag.Error, Code: "envoy/rejected", Summary: "Envoy refused " + d.Name + ": " + strings.TrimSpace(d.Message),
			Hint: "its last good version stays; flexgw render shows what Envoy got",
		}
		if strings.Contains(d.Message, "cannot bind") {
			x.Hint = "free the address, or declare another one"
		}
		for i, o := range d.Origins {
			if i == 0 {
				x.Object, x.Subject = o.Declared(), o.Range
				continue
			}
			x.Related = append(x.Related, diag.Related{Subject: o.Range, Summary: "shares the refused resource"})
		}
		list = append(list, x)
	}
	return list.Sort()
}

// live is called once for every revision that Envoy serves.
func (l *Loop) live(set source.Set, r *render.Resources) {
	l.Log.Info("programmed", "revision", set.Revision)
	if l.Live != nil {
		l.Live(set)
	}
	over := time.Now().Add(l.Drain)
	l.instances.programmed(maps.Keys(r.Instances()), over)
	l.files.programmed(paths(r), over.Add(fileGrace))
	if !l.ready && l.Ready != nil {
		l.ready = true
		l.Ready(r.Addresses())
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
