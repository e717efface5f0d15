package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// Who wanted a revision.
const (
	bySource   = "source"
	byLastGood = "last good"
)

// by says what an operator did, and who.
func by(what, who string) string {
	if who == "" {
		return what
	}
	return what + " (" + who + ")"
}

// Control is what operators asked for, and what must not be tried again. It outlives the process.
type Control struct {
	Suspended   *status.Suspension       `json:"suspended,omitempty"`
	Pinned      *status.Pin              `json:"pinned,omitempty"`
	Quarantined *status.Failed           `json:"quarantined,omitempty"`
	Waiting     *status.Waiting          `json:"waiting,omitempty"`
	Cordoned    map[string]status.Cordon `json:"cordoned,omitempty"` // by node; never changed in place
}

// Outcome is what became of a revision that somebody asked for.
type Outcome struct {
	Revision    string    `json:"revision"`
	Result      EventType `json:"result"`   // Programmed, Accepted (nothing is served by this daemon, or no Envoy answered in time), Invalid, Rejected, RolledBack, ProofFailed, Superseded
	Previous    string    `json:"previous"` // with RolledBack: what is served again
	Reason      string    `json:"reason"`
	Message     string    `json:"message"`
	Diagnostics diag.List `json:"diagnostics"`
	Held        []Held    `json:"held"`
}

// Superseded is the Result of an Outcome when another revision came before Envoy had answered.
const Superseded EventType = "Superseded"

// The errors of commands that can not be followed as things stand.
var (
	ErrFollows   = errors.New("the daemon follows a source, which would undo it: suspend it first (flexgw suspend --for 2h --reason …), or change the source")
	ErrSuspended = errors.New("the daemon is suspended: flexgw resume ends that")
	ErrNoPast    = errors.New("no such revision is kept")
	ErrObserves  = errors.New("the daemon observes (run --observe) and publishes nothing")
	ErrStale     = errors.New("the plan is stale: another revision is served than the one it was made for")
	ErrNoSource  = errors.New("the daemon follows no source: flexgw apply gives it declarations")
)

// waiter waits for the outcome of a revision.
type waiter struct {
	revision string
	to       chan Outcome // holds one
}

// do runs f in the loop.
func (l *Loop) do(ctx context.Context, f func(context.Context) error) error {
	l.begin()
	done := make(chan error, 1)
	select {
	case l.commands <- func(loop context.Context) { done <- f(loop) }:
		return <-done
	case <-ctx.Done():
		return fmt.Errorf("the daemon is busy: %w", ctx.Err())
	}
}

// Try builds a set as the loop would, without serving it, and shows what is served now.
func (l *Loop) Try(ctx context.Context, set source.Set, f func(served source.Set, now, next Built, list diag.List)) error {
	return l.do(ctx, func(loop context.Context) error {
		built, list := l.Build(loop, set)
		if list.HasErrors() {
			built = Built{}
		}
		now := l.snapshot().served
		f(now.set, now.built, built, list)
		return nil
	})
}

// Nothing stands for the revision that is served when none is.
const Nothing = "none"

// Apply serves a set that was given by hand, and waits for what Envoy makes of it until ctx ends. base, unless it is empty,
// is the revision that must be served before, or Nothing.
func (l *Loop) Apply(ctx context.Context, set source.Set, base, who string) (Outcome, error) {
	return l.wait(ctx, func(loop context.Context, w waiter) error {
		s := l.snapshot()
		switch {
		case l.Source != nil && !l.suspended():
			return ErrFollows
		case l.Observe:
			return ErrObserves
		case base != "" && base != cmp.Or(s.served.set.Revision, Nothing):
			return fmt.Errorf("%w (made for %s, served is %s)", ErrStale, base, s.served.set.Revision)
		}
		l.control(func(c *Control) { c.Pinned, c.Quarantined = nil, nil })
		w.revision = set.Revision
		l.await(w)
		l.build(loop, set, by("apply", who))
		return nil
	})
}

// Rollback serves an older revision, "" the one before, and keeps to it until the source has another one or Resume.
func (l *Loop) Rollback(ctx context.Context, revision, who string) (Outcome, error) {
	return l.wait(ctx, func(loop context.Context, w waiter) error {
		if l.Observe {
			return ErrObserves
		}
		if l.Past == nil {
			return ErrNoPast
		}
		set, ok := l.Past(revision, l.snapshot().served.set.Revision)
		if !ok && revision == "" {
			return fmt.Errorf("%w: nothing else was served before (flexgw history lists those that are)", ErrNoPast)
		}
		if !ok {
			return fmt.Errorf("%w: %q (flexgw history lists those that are)", ErrNoPast, revision)
		}
		from := l.snapshot().tried.Revision
		if x := l.snapshot().control.Waiting; x != nil {
			from = x.Revision // it is what the source has; what was tried may be an earlier one
		}
		w.revision = set.Revision
		l.await(w)
		l.build(loop, set, by("rollback", who))
		if s := l.snapshot(); s.served.set.Revision != set.Revision {
			return nil // it can not be served any more; the outcome says why
		}
		l.control(func(c *Control) {
			c.Waiting = nil // resume has it wait anew
			c.Pinned, c.Quarantined = &status.Pin{Revision: set.Revision, From: from, At: time.Now().UTC(), By: who}, nil
		})
		l.tell(Event{Type: Pinned, Revision: set.Revision, Previous: from, By: who, Message: "pinned until the source has another revision, or flexgw resume"})
		return nil
	})
}

// Suspend stops following the source until then, or Resume; the zero time: without end.
func (l *Loop) Suspend(ctx context.Context, until time.Time, reason, who string) error {
	return l.do(ctx, func(context.Context) error {
		l.control(func(c *Control) {
			c.Suspended = &status.Suspension{Since: time.Now().UTC(), Reason: reason, By: who}
			if !until.IsZero() {
				u := until.UTC()
				c.Suspended.Until = &u
			}
		})
		l.Log.Warn("the source is not followed any more", "until", until, "reason", reason, "by", who)
		l.tell(Event{Type: Suspended, By: who, Reason: "Suspended", Message: reason})
		return nil
	})
}

// Resume follows the source again: what was suspended, pinned or in quarantine is forgotten, and the source is looked at.
func (l *Loop) Resume(ctx context.Context, who string) error {
	return l.do(ctx, func(loop context.Context) error {
		l.resume(who)
		l.fetch(loop)
		return nil
	})
}

func (l *Loop) resume(who string) {
	l.control(func(c *Control) { *c = Control{Waiting: c.Waiting, Cordoned: c.Cordoned} }) // how long a revision waits is not about the operator, and an Envoy not about the source
	l.update(func(s *state) { s.tried, s.back = source.Set{}, nil })
	l.Log.Info("the source is followed again", "by", who)
	l.tell(Event{Type: Resumed, By: who})
}

// Looker is a watch.Source that looks by itself, and can be told to.
type Looker interface {
	// Look waits until the source was looked at after the call. What it found is Fetch's.
	Look(ctx context.Context) error
}

// ask has a Looker look, when its source is followed. It is called outside of the loop, which has others to serve.
func (l *Loop) ask(ctx context.Context) error {
	if x, ok := l.Source.(Looker); ok && !l.suspended() {
		if err := x.Look(ctx); err != nil {
			return fmt.Errorf("source: %w", err)
		}
	}
	return nil
}

// Sync looks at the source now, tries a revision in quarantine and objects that are held again, and waits for what becomes of
// it. With a revision, or six characters and more that it begins with, that one is applied at once, whatever it waits for: the
// one that the source has, or, when revisions wait here, one that it had before.
func (l *Loop) Sync(ctx context.Context, revision, who string) (Outcome, error) {
	tried := l.snapshot().tried.Revision
	if err := l.ask(ctx); err != nil {
		return Outcome{}, err
	}
	return l.wait(ctx, func(loop context.Context, w waiter) error {
		switch {
		case l.suspended():
			return ErrSuspended
		case l.Source == nil:
			return ErrNoSource
		case revision != "" && l.Observe:
			return ErrObserves
		}
		set, err := l.read(loop)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if revision != "" {
			return l.syncTo(loop, w, set, revision, who)
		}
		before := l.snapshot()
		if before.tried.Revision == tried { // what came while we looked was tried a moment ago
			l.control(func(c *Control) { c.Quarantined = nil })
			if before.back != nil || before.refused != nil || before.served.partial() {
				l.update(func(s *state) { s.tried, s.refused, s.back = source.Set{}, nil, nil })
			}
		}
		w.revision = set.Revision
		l.await(w)
		l.fetch(loop)
		switch s := l.snapshot(); {
		case s.control.Pinned != nil && s.control.Pinned.From == set.Revision:
			l.answer(set.Revision, Outcome{Result: Pinned, Reason: "Pinned", Message: "revision " + s.control.Pinned.Revision + " is pinned; flexgw resume ends that"})
		case s.control.Waiting != nil && s.control.Waiting.Revision == set.Revision:
			l.answer(set.Revision, Outcome{Result: Waiting, Reason: "Waiting", Message: s.control.Waiting.String()})
		case s.refused != nil && s.tried.Revision == set.Revision:
			l.answer(set.Revision, Outcome{Result: Invalid, Diagnostics: s.refused})
		case s.back != nil && s.tried.Revision == set.Revision && l.back == nil:
			l.answer(set.Revision, Outcome{Result: RolledBack, Previous: s.served.set.Revision, Reason: s.failed.Reason, Message: s.back.Message, Diagnostics: s.failed.Diagnostics})
		case l.Observe && s.tried.Revision == set.Revision: // it was judged before
			l.answer(set.Revision, Outcome{Result: Accepted, Reason: "Observed"})
		case s.served.set.Revision == set.Revision && s.reason == "" && !s.served.partial():
			l.answer(set.Revision, Outcome{Result: Programmed, Reason: "Unchanged"})
		}
		return nil
	})
}

// wait runs a command in the loop and waits for the outcome of the revision that it awaits.
func (l *Loop) wait(ctx context.Context, f func(context.Context, waiter) error) (Outcome, error) {
	w := waiter{to: make(chan Outcome, 1)}
	if err := l.do(ctx, func(loop context.Context) error { return f(loop, w) }); err != nil {
		return Outcome{}, err
	}
	select {
	case o := <-w.to:
		return o, nil
	case <-ctx.Done():
		s := l.snapshot()
		return Outcome{Revision: s.served.set.Revision, Result: Accepted, Reason: s.reason, Message: s.pending}, nil
	}
}

// await has w told of the outcome of its revision. Nobody waits for longer than until the next revision.
func (l *Loop) await(w waiter) { l.waiting = append(l.waiting, w) }

// answer tells whoever waits for a revision what became of it.
func (l *Loop) answer(revision string, o Outcome) {
	o.Revision = revision
	rest := l.waiting[:0]
	for _, w := range l.waiting {
		if w.revision == revision {
			w.to <- o
		} else {
			rest = append(rest, w)
		}
	}
	l.waiting = rest
}

// supersede tells whoever waits for another revision that it will not come.
func (l *Loop) supersede(by string) {
	l.settled()
	rest := l.waiting[:0]
	for _, w := range l.waiting {
		if w.revision != by {
			w.to <- Outcome{Revision: w.revision, Result: Superseded, Reason: "Superseded", Message: "revision " + by + " came before Envoy had answered"}
		} else {
			rest = append(rest, w)
		}
	}
	l.waiting = rest
}

// control changes what operators asked for, and has it remembered.
func (l *Loop) control(f func(*Control)) {
	var c Control
	l.update(func(s *state) {
		f(&s.control)
		c = s.control
	})
	if l.Remember != nil {
		l.Remember(c)
	}
}

// suspended says whether the source is not to be followed now.
func (l *Loop) suspended() bool {
	x := l.snapshot().control.Suspended
	return x != nil && (x.Until == nil || time.Now().Before(*x.Until))
}

// overdue ends a suspension whose time is over; true: look at the source.
func (l *Loop) overdue() bool {
	x := l.snapshot().control.Suspended
	if x == nil || x.Until == nil || time.Now().Before(*x.Until) {
		return false
	}
	l.resume("the clock")
	return true
}

// pinnedOn says whether an operator went back from set. Another revision of the source ends that.
func (l *Loop) pinnedOn(set source.Set) bool {
	p := l.snapshot().control.Pinned
	if p == nil {
		return false
	}
	if p.From == set.Revision {
		return true
	}
	l.control(func(c *Control) { c.Pinned = nil })
	l.Log.Info("the source has another revision; it is not pinned any more", "revision", set.Revision, "pinned", p.Revision)
	l.tell(Event{Type: Resumed, By: bySource, Revision: set.Revision, Previous: p.Revision, Message: "the source has another revision"})
	return false
}
