package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// Held is an object that stays at an older version than the newest revision has.
type Held struct {
	Object diag.Object
	Place  diag.Range // in the older version
	Why    string     // in words; what is said when no error names the object itself
}

// Hold builds set with what is wrong in it as good, the best first, declares it: what the list of the errors names, and besides it the
// objects in wrong. Built has no Resources when that can not be served either, and with Resources it says what to hold objects at next.
type Hold func(ctx context.Context, set source.Set, good []source.Set, wrong []diag.Object) (Built, []Held, diag.List)

// hold makes r servable by holding objects back; false: it can not be, or nothing is to be held in this loop.
func (l *Loop) hold(ctx context.Context, r revision, wrong []diag.Object, errs diag.List) (revision, bool) {
	if l.Hold == nil {
		return r, false
	}
	r.wrong = append(slices.Clone(r.wrong), wrong...)
	first, others := l.past(ctx, r)
	built, held, list := l.holdAt(ctx, r.set, first, others, r.wrong)
	if built.Resources == nil {
		return r, false
	}
	if len(wrong) > 0 { // Envoy said it; the list of our own is silent about it
		list = append(slices.Clone(errs), list...).Sort()
	}
	r.built, r.held, r.list = built, held, list
	return r, true
}

// holdAt is Hold at the first sets, or, if that can not be served, at the others.
func (l *Loop) holdAt(ctx context.Context, set source.Set, first, others []source.Set, wrong []diag.Object) (Built, []Held, diag.List) {
	if len(first) > 0 {
		if built, held, list := l.Hold(ctx, set, first, wrong); built.Resources != nil || len(others) == 0 {
			return built, held, list
		}
	}
	return l.Hold(ctx, set, others, wrong)
}

// past are the sets that objects of r may be held at. The first is the one that has each file as it was live last and right; while that
// is not known, as in a process that is new, there are only the others: what was served before this process began, the newest first. They
// are also for when nothing can be held at the first.
func (l *Loop) past(ctx context.Context, r revision) (first, others []source.Set) {
	s := l.snapshot()
	var all []source.Set
	for _, g := range []revision{s.good, s.whole} {
		if !g.none() {
			all = append(all, g.set)
		}
	}
	if len(s.holdAt.Files) > 0 {
		first = []source.Set{s.holdAt}
	}
	if len(all) == 0 || s.whole.none() {
		former := l.former()
		if len(all) == 0 {
			first = l.formerlyHeldAt(ctx)
		}
		all = append(all, former...)
	}
	seen := map[string]bool{r.set.Revision: true}
	fresh := func(sets []source.Set) (out []source.Set) {
		for _, set := range sets {
			if !seen[set.Revision] {
				seen[set.Revision] = true
				out = append(out, set)
			}
		}
		return out
	}
	return fresh(first), fresh(all)
}

// formerlyHeldAt is what objects were held at before this process began: if nothing was, the newest set that was served, unless
// something is wrong with it.
func (l *Loop) formerlyHeldAt(ctx context.Context) []source.Set {
	former := l.former()
	if l.formerHeldAt == nil && len(former) > 0 {
		if _, list := l.Build(ctx, former[0]); !list.HasErrors() {
			l.formerHeldAt = former[:1]
		}
	}
	return l.formerHeldAt
}

// rejected answers a refusal of Envoy: the objects to blame are held back, or the whole revision is taken back. With
// nothing to go back to, what Envoy took is served without what it refused.
func (l *Loop) rejected(ctx context.Context, r revision, list diag.List) {
	l.Log.Error("Envoy refused resources; their last good version stays", "revision", r.set.Revision, "refused", len(list))
	l.refuse(r.set, r.by, "Rejected", Rejected, list)
	if l.Hold != nil && l.holdBack(ctx, r, list) {
		return
	}
	l.settled()
	if !l.rollBack(ctx, r, "Rejected", list) {
		l.answer(r.set.Revision, Outcome{Result: Rejected, Reason: "Rejected", Message: firstError(list), Diagnostics: list})
	}
}

// holdBack serves a revision again without the objects that Envoy refused.
func (l *Loop) holdBack(ctx context.Context, r revision, list diag.List) bool {
	var wrong []diag.Object
	for _, d := range list {
		if !d.Object.IsZero() && !slices.Contains(r.wrong, d.Object) && !slices.Contains(wrong, d.Object) {
			wrong = append(wrong, d.Object)
		}
	}
	if first, others := l.past(ctx, r); len(wrong) == 0 || len(first)+len(others) == 0 {
		return false
	}
	next, ok := l.hold(ctx, r, wrong, list)
	if !ok {
		return false
	}
	if err := l.publish(ctx, next); err != nil {
		l.Log.Error("not delivered without what Envoy refused; "+l.kept(), "revision", r.set.Revision, "error", err)
		return false
	}
	l.Log.Warn("what Envoy refused is held at its last good version", "revision", r.set.Revision, "held", len(next.held))
	l.tell(Event{Type: HeldBack, Revision: r.set.Revision, By: r.by, Reason: "Rejected", Message: firstError(list), Diagnostics: list, Set: r.set})
	return true
}

// rollBack serves again what was served before r. The revision is in quarantine from then on: it is not tried again until
// the source changes, or somebody asks for it.
func (l *Loop) rollBack(ctx context.Context, r revision, reason string, list diag.List) bool {
	s := l.snapshot()
	good := s.good
	if good.none() {
		if last, ok := l.lastGood(ctx); ok {
			good = last
		}
	}
	if good.none() || good.set.Revision == r.set.Revision {
		return false
	}
	good.proven, good.against = true, nil
	if err := l.publish(ctx, good); err != nil {
		l.Log.Error("could not go back; what Envoy took stays", "revision", good.set.Revision, "error", err)
		return false
	}
	why := takenBack(list, good)
	failed := &status.Failed{Revision: r.set.Revision, Reason: reason, Diagnostics: list}
	l.update(func(s *state) {
		if s.tried.Revision == r.set.Revision {
			s.back = why
		}
		failed.At = s.failed.At
	})
	l.control(func(c *Control) { c.Quarantined = failed })
	l.Log.Error("rolled back; the revision is not tried again until the source changes", "revision", r.set.Revision, "served", good.set.Revision, "reason", reason)
	l.tell(Event{Type: RolledBack, Revision: r.set.Revision, Previous: good.set.Revision, By: r.by, Reason: reason, Message: why.Message, Diagnostics: list, Set: r.set})
	l.back = &Outcome{Revision: r.set.Revision, Result: RolledBack, Previous: good.set.Revision, Reason: reason, Message: why.Message, Diagnostics: list}
	return true
}

// takenBack is the condition of a revision that is not served because of list, while another one is.
func takenBack(list diag.List, served revision) *status.Condition {
	return &status.Condition{
		Type: status.Programmed, Status: status.False, Reason: "RolledBack", Place: firstPlace(list),
		Message: fmt.Sprintf("%s; revision %s is served again", firstError(list), served.set.Revision),
	}
}

// settled tells whoever waits for a revision that was taken back so, once what was gone back to is served or refused.
func (l *Loop) settled() bool {
	if l.back == nil {
		return false
	}
	l.answer(l.back.Revision, *l.back)
	l.back = nil
	return true
}

// quarantined says whether set is the revision that was taken back, also by a daemon before this one; then what was served
// before is served. Another revision ends the quarantine.
func (l *Loop) quarantined(ctx context.Context, set source.Set) bool {
	s := l.snapshot()
	q := s.control.Quarantined
	if q == nil {
		return false
	}
	if q.Revision != set.Revision {
		l.control(func(c *Control) { c.Quarantined = nil })
		return false
	}
	l.fallBack(ctx)
	s = l.snapshot()
	if s.served.none() || s.served.set.Revision == set.Revision {
		l.control(func(c *Control) { c.Quarantined = nil })
		return false // nothing else can be served
	}
	l.Log.Warn("this revision was rolled back before, and is not tried again until the source changes", "revision", set.Revision)
	l.update(func(s *state) {
		s.tried, s.refused, s.failed = set, nil, q
		s.back = takenBack(q.Diagnostics, s.served)
	})
	return true
}

// proof is the end of one.
type proof struct {
	revision string
	list     diag.List
}

// proveAgain is how long after a failed proof a revision is asked again that there is no way back from.
const proveAgain = 30 * time.Second

// prove starts what is to be asked of a revision that Envoy serves, and says why it does not count as live yet; "": it does.
func (l *Loop) prove(r revision) (message, reason string) {
	switch {
	case l.Proof == nil || r.proven && r.against == nil:
		return "", ""
	case l.stopProof != nil:
		return "it is live; its probes are asked and its errors counted", "Probing"
	case r.against != nil && time.Since(r.asked) < proveAgain:
		return firstError(r.against), "ProofFailed"
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.stopProof = cancel
	go func() {
		list := l.Proof(ctx, r.built)
		select {
		case l.proofs <- proof{r.set.Revision, list}:
		case <-ctx.Done():
		}
	}()
	return "it is live; its probes are asked and its errors counted", "Probing"
}

// endProof stops a proof that another revision made pointless.
func (l *Loop) endProof() {
	if l.stopProof != nil {
		l.stopProof()
		l.stopProof = nil
	}
	select {
	case <-l.proofs:
	default:
	}
}

// proved takes in the end of a proof.
func (l *Loop) proved(ctx context.Context, p proof) {
	l.endProof()
	s := l.snapshot()
	if s.served.set.Revision != p.revision {
		return
	}
	var against diag.List
	if p.list.HasErrors() {
		against = p.list
	}
	again := said(against) == said(s.served.against)
	l.update(func(s *state) { s.served.proven, s.served.against, s.served.asked = true, against, time.Now() })
	if against == nil || again {
		return
	}
	l.Log.Error("live, and its probes or its error rate speak against it", "revision", p.revision, "errors", against.Count(diag.Error))
	l.refuse(s.served.set, s.served.by, "ProofFailed", ProofFailed, against)
	if l.rollBack(ctx, s.served, "ProofFailed", against) {
		return
	}
	l.update(func(s *state) {
		s.place = firstPlace(against) // there is nothing to go back to: it is served, and said to fail
		if s.good.none() && l.wasLive(p.revision) {
			s.good = s.served // what fails has changed, and not the revision: the next one is taken back to it
			if !s.served.partial() {
				s.whole = s.served
			}
		}
	})
	l.answer(p.revision, Outcome{Result: ProofFailed, Reason: "ProofFailed", Message: firstError(against), Diagnostics: against})
}

// wasLive reports whether a revision was programmed before this process began.
func (l *Loop) wasLive(revision string) bool {
	return slices.ContainsFunc(l.former(), func(set source.Set) bool { return set.Revision == revision })
}

// firstPlace is what the first error of a list is about; nil: nothing.
func firstPlace(list diag.List) *diag.Range {
	for _, d := range list {
		if d.Severity == diag.Error {
			return status.Place(d.Subject)
		}
	}
	return nil
}
