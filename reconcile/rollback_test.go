package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// types are the events that were told, but for those about Envoys.
func (w *world) types() []reconcile.EventType {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []reconcile.EventType
	for _, e := range w.events {
		if e.Type != reconcile.EnvoyConnected && e.Type != reconcile.EnvoyGone {
			out = append(out, e.Type)
		}
	}
	return out
}

// refuse has Envoy refuse the listeners of the newest revision, and take whatever comes after it.
func (w *world) refuse() {
	w.target.mu.Lock()
	r := w.target.published[len(w.target.published)-1].Resources
	w.target.mu.Unlock()
	var bad []deliver.Delivery
	r.Each(render.ListenerType, func(r *render.Resource) {
		bad = append(bad, deliver.Delivery{Node: "n", TypeURL: r.TypeURL, Name: r.Name, State: deliver.Error, Message: "cannot bind", Origins: r.Origins})
	})
	w.target.next = &synced
	w.target.answer(deliver.Progress{Node: "n", Connected: true, Errors: 1}, bad...)
}

func set(text string) source.Set {
	return source.NewSet([]source.File{source.NewFile("api.yaml", []byte(text))})
}

func served(w *world) string {
	all := w.target.revisions()
	return all[len(all)-1]
}

func TestRefusedRevisionIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept reconcile.Control
		w := run(t, func(w *world) { w.loop.Remember = func(c reconcile.Control) { kept = c } })
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(time.Second)
		w.target.next = &deliver.Progress{Node: "n", Connected: true, Stale: 1}
		w.source.put(api(2), nil)
		settle(time.Second)
		w.refuse()
		settle(time.Second)
		if got, want := served(w), set(api(1)).Revision; got != want {
			t.Errorf("served is %s, want %s", got, want)
		}
		c := condition(t, w, status.Programmed, status.False, "RolledBack")
		if c.Place == nil || c.Place.Start.Line != 5 {
			t.Errorf("place %v, want the address", c.Place)
		}
		r := w.loop.Report()
		if r.Revision != set(api(1)).Revision || r.LastFailed == nil || r.LastFailed.Revision != set(api(2)).Revision || r.LastFailed.Reason != "Rejected" {
			t.Errorf("revision %s, last failed %+v", r.Revision, r.LastFailed)
		}
		want := []reconcile.EventType{"Fetched", "Accepted", "Programmed", "Fetched", "Accepted", "Rejected", "RolledBack"}
		if got := w.types(); !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		n := len(w.target.revisions())
		w.source.put(api(2), nil) // touched, and the same
		settle(time.Hour)
		if len(w.target.revisions()) != n {
			t.Error("a revision in quarantine was tried again")
		}
		if kept.Quarantined == nil || kept.Quarantined.Revision != set(api(2)).Revision {
			t.Errorf("kept across restarts: %+v", kept)
		}
		w.source.put(api(3), nil)
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		if kept.Quarantined != nil {
			t.Error("another revision did not end the quarantine")
		}
	})
}

func TestQuarantineOutlivesTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, func(w *world) {
			w.loop.LastGood = func() []source.Set { return []source.Set{set("kind: ["), set(api(1))} }
			w.loop.Control.Quarantined = &status.Failed{Revision: set(api(2)).Revision, Reason: "Rejected", Diagnostics: diag.List{{Severity: diag.Error, Code: "envoy/rejected", Summary: "no"}}}
			w.source.set = set(api(2))
		})
		w.target.answer(synced)
		settle(2 * time.Second)
		if got := w.target.revisions(); !slices.Equal(got, []string{set(api(1)).Revision}) {
			t.Errorf("published %v, want only the last good revision", got)
		}
		condition(t, w, status.Programmed, status.False, "RolledBack")
		if o, err := w.loop.Sync(t.Context(), "", ""); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("sync: %+v, %v", o, err)
		}
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("sync did not try it again: %s is served", got)
		}
	})
}

func TestWithoutAPastNothingIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.source.put(api(1), nil)
		settle(time.Second)
		w.refuse()
		settle(time.Second)
		condition(t, w, status.Programmed, status.False, "Rejected")
		if n := len(w.target.revisions()); n != 1 {
			t.Errorf("%d revisions were published", n)
		}
		w.target.answer(synced) // whoever had the port went
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		if r := w.loop.Report(); r.LastFailed != nil {
			t.Errorf("what is live is said to have failed: %+v", r.LastFailed)
		}
	})
}

// prober speaks against revisions with a word in them.
func prober(word string, took time.Duration) func(*world) {
	return func(w *world) {
		w.loop.Proof = func(ctx context.Context, b reconcile.Built) diag.List {
			select {
			case <-time.After(took):
			case <-ctx.Done():
				return nil
			}
			for _, li := range b.Gateway.Listeners {
				for _, a := range li.APIs {
					if strings.Contains(a.Origin.Object.Name, word) {
						return diag.List{{Severity: diag.Error, Code: "probe/failed", Summary: "status 500, want 200", Object: a.Origin.Object, Subject: a.Origin.Range}}
					}
				}
			}
			return nil
		}
	}
}

func named(name string, limit int) string {
	return strings.Replace(api(limit), "metadata: {name: a}", "metadata: {name: "+name+"}", 1)
}

func TestFailedProofRollsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, prober("bad", 3*time.Second))
		w.target.answer(synced)
		w.source.put(named("fine", 1), nil)
		settle(1500 * time.Millisecond)
		condition(t, w, status.Programmed, status.False, "Probing")
		if ready, _ := w.told(); ready != nil {
			t.Error("ready before the probes passed")
		}
		settle(4 * time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		w.source.put(named("bad", 1), nil)
		settle(6 * time.Second)
		c := condition(t, w, status.Programmed, status.False, "RolledBack")
		if c.Place == nil || c.Place.Start.Line != 3 {
			t.Errorf("place %v", c.Place)
		}
		if got, want := served(w), set(named("fine", 1)).Revision; got != want {
			t.Errorf("served is %s, want %s", got, want)
		}
		w.source.put(named("bad", 2), nil)
		settle(1500 * time.Millisecond) // its proof is not over
		w.source.put(named("fine", 3), nil)
		settle(6 * time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		if slices.Contains(w.types()[8:], reconcile.RolledBack) {
			t.Errorf("a proof that another revision overtook counted: %v", w.types())
		}
	})
}

func TestFirstRevisionThatFailsItsProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, prober("bad", time.Second))
		w.target.answer(synced)
		w.source.put(named("bad", 1), nil)
		settle(10 * time.Second)
		condition(t, w, status.Programmed, status.False, "ProofFailed")
		for _, o := range w.loop.Report().Lists().Objects {
			want := "Live"
			if o.Kind == "ApiInstance" {
				want = "ProofFailed" // it is the one that the diagnostic is about
			}
			if c := o.Conditions[2]; c.Reason != want {
				t.Errorf("%s %s: %+v, want %s", o.Kind, o.Name, c, want)
			}
		}
		settle(10 * time.Minute)
		n := 0
		for _, typ := range w.types() {
			if typ == reconcile.ProofFailed {
				n++
			}
		}
		if ready, _ := w.told(); n != 1 || ready != nil {
			t.Errorf("told %d times, ready %v", n, ready)
		}
	})
}

// After a restart a probe fails that has nothing to do with the revision: that is kept, and what follows is taken back to it.
func TestProofThatFailsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, prober("bad", time.Second), func(w *world) {
			w.loop.LastGood = func() []source.Set { return []source.Set{set(named("bad", 1)), set(named("bad", 0))} }
			w.source.set = set(named("bad", 1))
		})
		w.target.answer(synced)
		settle(10 * time.Second)
		condition(t, w, status.Programmed, status.False, "ProofFailed")
		if r := w.loop.Report(); r.Revision != set(named("bad", 1)).Revision || served(w) != r.Revision {
			t.Errorf("revision %q, served is %s", r.Revision, served(w))
		}
		w.source.put(named("bad", 2), nil)
		settle(10 * time.Second)
		condition(t, w, status.Programmed, status.False, "RolledBack")
		if got, want := served(w), set(named("bad", 1)).Revision; got != want {
			t.Errorf("served is %s, want %s", got, want)
		}
	})
}

func TestSuspendedSourceIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(time.Second)
		if _, err := w.loop.Apply(t.Context(), set(api(9)), "", "me"); !errors.Is(err, reconcile.ErrFollows) {
			t.Errorf("apply beside a source: %v", err)
		}
		if err := w.loop.Suspend(t.Context(), time.Now().Add(2*time.Hour), "incident 7", "me"); err != nil {
			t.Fatal(err)
		}
		w.source.put(api(2), nil)
		settle(time.Hour)
		if got := served(w); got != set(api(1)).Revision {
			t.Errorf("a suspended daemon serves %s", got)
		}
		if x := w.loop.Report().Suspended; x == nil || x.Reason != "incident 7" || x.By != "me" {
			t.Errorf("suspended %+v", x)
		}
		if _, err := w.loop.Sync(t.Context(), "", ""); !errors.Is(err, reconcile.ErrSuspended) {
			t.Errorf("sync while suspended: %v", err)
		}
		if o, err := w.loop.Apply(t.Context(), set(api(9)), "", "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("apply while suspended: %+v, %v", o, err)
		}
		if _, err := w.loop.Apply(t.Context(), set(api(8)), set(api(1)).Revision, "me"); !errors.Is(err, reconcile.ErrStale) {
			t.Errorf("a plan for another revision: %v", err)
		}
		settle(2 * time.Hour) // its time is over
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("after its time the suspended daemon serves %s", got)
		}
		if w.loop.Report().Suspended != nil {
			t.Error("still said to be suspended")
		}
	})
}

func TestRollbackPinsUntilTheSourceMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, func(w *world) {
			w.loop.Past = func(rev, served string) (source.Set, bool) {
				return set(api(1)), rev == "" || rev == set(api(1)).Revision
			}
		})
		w.target.answer(synced)
		for i := range 2 {
			w.source.put(api(i+1), nil)
			settle(time.Second)
		}
		if _, err := w.loop.Rollback(t.Context(), "nonsense", "me"); !errors.Is(err, reconcile.ErrNoPast) || !strings.Contains(err.Error(), `"nonsense"`) {
			t.Errorf("an unknown revision: %v", err)
		}
		past := w.loop.Past
		w.loop.Past = func(string, string) (source.Set, bool) { return source.Set{}, false }
		if _, err := w.loop.Rollback(t.Context(), "", "me"); !errors.Is(err, reconcile.ErrNoPast) || !strings.Contains(err.Error(), "nothing else was served before") {
			t.Errorf("nothing before: %v", err)
		}
		w.loop.Past = past
		if o, err := w.loop.Rollback(t.Context(), "", "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("rollback: %+v, %v", o, err)
		}
		w.source.put(api(2), nil) // touched, and the same
		settle(time.Hour)
		if got := served(w); got != set(api(1)).Revision {
			t.Errorf("pinned, and %s is served", got)
		}
		if o, err := w.loop.Sync(t.Context(), "", ""); err != nil || o.Result != reconcile.Pinned {
			t.Errorf("sync while pinned: %+v, %v", o, err)
		}
		w.source.put(api(3), nil)
		settle(time.Second)
		if got := served(w); got != set(api(3)).Revision || w.loop.Report().Pinned != nil {
			t.Errorf("a new revision came: %s is served, pinned %+v", got, w.loop.Report().Pinned)
		}
		if o, err := w.loop.Rollback(t.Context(), "", "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("rollback: %+v, %v", o, err)
		}
		if err := w.loop.Resume(t.Context(), "me"); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if got := served(w); got != set(api(3)).Revision || w.loop.Report().Pinned != nil {
			t.Errorf("resumed: %s is served, pinned %+v", got, w.loop.Report().Pinned)
		}
	})
}

func TestApplyTellsWhatBecameOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, func(w *world) { w.loop.Source = nil })
		w.target.answer(synced)
		if o, err := w.loop.Apply(t.Context(), set("kind: ["), "", "me"); err != nil || o.Result != reconcile.Invalid || !o.Diagnostics.HasErrors() {
			t.Errorf("a mistake: %+v, %v", o, err)
		}
		if o, err := w.loop.Apply(t.Context(), set(api(1)), "", "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("the first: %+v, %v", o, err)
		}
		w.target.next = &deliver.Progress{Node: "n", Connected: true, Stale: 1}
		go func() {
			time.Sleep(time.Second)
			w.refuse()
		}()
		o, err := w.loop.Apply(t.Context(), set(api(2)), "", "me")
		if err != nil || o.Result != reconcile.RolledBack || o.Previous != set(api(1)).Revision {
			t.Errorf("refused by Envoy: %+v, %v", o, err)
		}
		if got := served(w); got != set(api(1)).Revision {
			t.Errorf("served is %s", got)
		}
		limit, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w.target.next = &deliver.Progress{Node: "n", Connected: true, Stale: 1}
		if o, err := w.loop.Apply(limit, set(api(3)), "", "me"); err != nil || o.Result != reconcile.Accepted || o.Reason != "Pending" {
			t.Errorf("no answer in time: %+v, %v", o, err)
		}
		if err := w.loop.Try(t.Context(), set(api(4)), func(_ source.Set, now, next reconcile.Built, l diag.List) {
			if now.Resources == nil || next.Resources == nil || l.HasErrors() {
				t.Errorf("try: %v %v %v", now.Resources, next.Resources, l)
			}
		}); err != nil {
			t.Error(err)
		}
		if got := served(w); got != set(api(3)).Revision {
			t.Errorf("a try was served: %s", got)
		}
	})
}

func TestObserverPublishesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, func(w *world) { w.loop.Observe = true })
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(time.Second)
		sync := func(want reconcile.EventType) {
			t.Helper()
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			from := time.Now()
			if o, err := w.loop.Sync(ctx, "", "me"); err != nil || o.Result != want || time.Since(from) > time.Second {
				t.Errorf("sync: %+v %v after %s", o, err, time.Since(from))
			}
		}
		sync(reconcile.Accepted)
		if c := condition(t, w, status.Programmed, status.Unknown, "Observed"); !strings.Contains(c.Message, "--observe") {
			t.Errorf("%+v", c)
		}
		w.source.put("kind: [", nil)
		settle(time.Second)
		sync(reconcile.Invalid)
		if n := len(w.target.revisions()); n != 0 {
			t.Errorf("%d revisions were published", n)
		}
		if got, want := w.types(), []reconcile.EventType{"Fetched", "Accepted", "Fetched", "Invalid", "Fetched", "Invalid"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}

// What is held is told, and the rest of the revision is served.
func TestHeldObjectsDoNotStopARevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := diag.Object{Group: "gateway.mulesoft.com", Kind: "ApiInstance", Namespace: "default", Name: "a"}
		var asked []string
		w := run(t, func(w *world) {
			build := w.loop.Build
			w.loop.Hold = func(ctx context.Context, s source.Set, good []source.Set, wrong []diag.Object) (reconcile.Built, []reconcile.Held, diag.List) {
				asked = append(asked, fmt.Sprint(len(good), wrong))
				_, list := build(ctx, s)
				if len(good) == 0 {
					return reconcile.Built{}, nil, list
				}
				built, _ := build(ctx, good[len(good)-1])
				return built, []reconcile.Held{{Object: a}}, list
			}
		})
		w.target.answer(synced)
		w.source.put("kind: [", nil)
		settle(time.Second)
		condition(t, w, status.Accepted, status.False, "Invalid")
		w.source.put(api(1), nil)
		settle(time.Second)
		w.source.put(strings.Replace(api(2), "services:", "servises:", 1), nil)
		settle(time.Second)
		condition(t, w, status.Accepted, status.False, "Held")
		condition(t, w, status.Programmed, status.True, "Live")
		for _, o := range w.loop.Report().Lists().Objects {
			if o.Kind == "ApiInstance" && (o.Conditions[1].Status != status.False || o.Conditions[2].Status != status.True) {
				t.Errorf("the held object: %+v", o.Conditions)
			}
		}
		w.target.next = &deliver.Progress{Node: "n", Connected: true, Stale: 1}
		w.source.put(api(3), nil)
		settle(time.Second)
		w.refuse()
		settle(time.Second)
		condition(t, w, status.Accepted, status.False, "Held")
		condition(t, w, status.Programmed, status.True, "Live")
		if got := w.types(); got[len(got)-1] != reconcile.Programmed || !slices.Contains(got, reconcile.HeldBack) || slices.Contains(got, reconcile.RolledBack) {
			t.Errorf("told %v", got)
		}
	})
}
