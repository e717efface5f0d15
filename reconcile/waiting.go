package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/source"
)

// Earlier is a watch.Source that can still give what it gave before: a commit that the newest one descends from.
type Earlier interface {
	// FetchAt reads the declarations of a revision, or of the only one that begins so.
	FetchAt(ctx context.Context, revision string) (source.Set, error)
}

// ErrNotThere is the error of a Sync to a revision that the source does not have.
var ErrNotThere = errors.New("the source does not have that revision")

// shortest is how many digits of a revision name it.
const shortest = 6

// waits says whether a new revision of the source is not to be applied yet; then it is judged, and what is served stays. An
// operator's rollback, and what is served already, never wait; nor does anything new while nothing is served.
func (l *Loop) waits(ctx context.Context, set source.Set) bool {
	if l.When == nil || l.Observe {
		return false
	}
	l.fallBack(ctx)
	s := l.snapshot()
	w, now := s.control.Waiting, time.Now()
	fresh := w == nil || w.Revision != set.Revision
	if s.served.none() && fresh || s.served.set.Revision == set.Revision {
		l.forgetWaiting()
		return false
	}
	if fresh {
		w = &status.Waiting{Revision: set.Revision, Since: now.UTC()}
	}
	at := l.When(w.Since, now)
	if !at.IsZero() && !at.After(now) {
		l.forgetWaiting()
		return false
	}
	if _, list := l.Build(ctx, set); list.HasErrors() && l.Hold == nil {
		l.forgetWaiting()
		return false // it will never be applied: the sooner that is said the better
	}
	w = &status.Waiting{Revision: w.Revision, Since: w.Since}
	if !at.IsZero() {
		at = at.UTC()
		w.Until = &at
	}
	l.supersede(set.Revision)
	l.control(func(c *Control) { c.Waiting = w })
	l.update(func(s *state) { s.tried, s.waits, s.refused, s.back = set, set, nil, nil })
	if fresh {
		l.Log.Info("a revision waits; what is served stays", "revision", set.Revision, "until", w.End())
		l.tell(Event{Type: Waiting, Revision: set.Revision, By: bySource, Message: w.String(), Set: set})
	}
	l.answer(set.Revision, Outcome{Result: Waiting, Reason: "Waiting", Message: w.String()})
	return true
}

func (l *Loop) forgetWaiting() {
	if l.snapshot().control.Waiting != nil {
		l.control(func(c *Control) { c.Waiting = nil })
	}
}

// release applies the revision whose time has come. What an operator went back to stays. While what the source has now is refused it
// goes on waiting: somebody may have taken it off the branch.
func (l *Loop) release(ctx context.Context) {
	s := l.snapshot()
	w, now := s.control.Waiting, time.Now()
	if l.When == nil || w == nil || w.Until == nil || now.Before(*w.Until) || s.waits.Revision != w.Revision || s.control.Pinned != nil || l.suspended() {
		return
	}
	if _, refused := refusedHead(s.fetchErr); refused {
		return
	}
	if at := l.When(w.Since, now); at.IsZero() || at.After(now) { // the clock was set, or the host slept through the window
		l.waits(ctx, s.waits)
		return
	}
	l.forgetWaiting()
	l.build(ctx, s.waits, bySource)
}

// named finds what an operator calls revision: what the source has now, or, when revisions wait here, what it had before.
func (l *Loop) named(ctx context.Context, head source.Set, revision string) (source.Set, error) {
	if head.Revision == revision {
		return head, nil
	}
	begins := len(digits(revision)) >= shortest && strings.HasPrefix(digits(head.Revision), digits(revision))
	earlier, ok := l.Source.(Earlier)
	switch {
	case len(digits(revision)) < shortest:
		return head, fmt.Errorf("%w: %q is too short to name one, %d digits are expected", ErrNotThere, revision, shortest)
	case !ok && begins:
		return head, nil
	case !ok:
		return head, fmt.Errorf("%w: %s is not the one that it has now, %s", ErrNotThere, revision, head.Revision)
	}
	set, err := earlier.FetchAt(ctx, revision) // the head too: another commit may begin so
	switch {
	case err != nil:
		return head, fmt.Errorf("%w: %w", ErrNotThere, err)
	case set.Revision == head.Revision:
		return head, nil
	case l.When == nil:
		return head, fmt.Errorf("%w: it has %s, which this daemon follows at once (run --approve-after, or --window, lets it wait; flexgw rollback goes back)", ErrNotThere, head.Revision)
	}
	return set, nil
}

// digits are those of a revision, without the name of its hash.
func digits(revision string) string { return strings.TrimPrefix(revision, "sha256:") }

// syncTo applies a revision of the source at once, whatever it waits for. head is what the source has now. What waits beside it
// goes on waiting.
func (l *Loop) syncTo(ctx context.Context, w waiter, head source.Set, revision, who string) error {
	set, err := l.named(ctx, head, revision)
	if err != nil {
		return err
	}
	l.control(func(c *Control) {
		c.Pinned = nil
		if c.Quarantined != nil && c.Quarantined.Revision == set.Revision {
			c.Quarantined = nil
		}
	})
	w.revision = set.Revision
	l.await(w)
	if s := l.snapshot(); s.good.set.Revision == set.Revision && s.served.set.Revision == set.Revision && s.reason == "" && !s.served.partial() {
		l.answer(set.Revision, Outcome{Result: Programmed, Reason: "Unchanged"})
		return nil
	}
	if x := l.snapshot().control.Waiting; x != nil && x.Revision == set.Revision {
		l.forgetWaiting()
	}
	l.build(ctx, set, by("sync", who))
	return nil
}
