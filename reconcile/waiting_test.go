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
	"github.com/flexgw/flexgw/reconcile/rollout"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/source"
)

// served1 is a loop that serves api(1), and whose next revisions wait as a plan says.
func served1(t *testing.T, p rollout.Plan, change ...func(*world)) *world {
	t.Helper()
	w := run(t, append([]func(*world){func(w *world) { w.loop.When = p.When }}, change...)...)
	w.target.answer(synced)
	w.source.put(api(1), nil)
	settle(time.Second)
	condition(t, w, status.Programmed, status.True, "Live") // the first one waits for nothing: there is nothing to disturb
	return w
}

func TestRevisionWaitsForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept reconcile.Control
		w := served1(t, rollout.Plan{After: 30 * time.Minute}, func(w *world) { w.loop.Remember = func(c reconcile.Control) { kept = c } })
		w.source.put(api(2), nil)
		settle(20 * time.Minute)
		c := condition(t, w, status.Accepted, status.Unknown, "Waiting")
		if !strings.Contains(c.Message, "flexgw sync --revision "+set(api(2)).Revision) {
			t.Errorf("the message does not say what to do: %s", c.Message)
		}
		condition(t, w, status.Programmed, status.True, "Live")
		if got := served(w); got != set(api(1)).Revision {
			t.Errorf("%s is served before its time", got)
		}
		if kept.Waiting == nil || kept.Waiting.Revision != set(api(2)).Revision {
			t.Errorf("kept across restarts: %+v", kept)
		}
		if o, err := w.loop.Sync(t.Context(), "", ""); err != nil || o.Result != reconcile.Waiting {
			t.Errorf("sync: %+v, %v", o, err)
		}
		settle(9 * time.Minute)
		if got := served(w); got != set(api(1)).Revision {
			t.Errorf("%s is served before its time", got)
		}
		settle(2 * time.Minute)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("%s is served after it", got)
		}
		condition(t, w, status.Accepted, status.True, "Accepted")
		if r := w.loop.Report(); r.Waiting != nil || kept.Waiting != nil {
			t.Error("it still waits")
		}
		want := []reconcile.EventType{"Fetched", "Accepted", "Programmed", "Fetched", "Waiting", "Accepted", "Programmed"}
		if got := w.types(); !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}

func TestANewerRevisionWaitsItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := served1(t, rollout.Plan{After: 30 * time.Minute})
		w.source.put(api(2), nil)
		settle(20 * time.Minute)
		w.source.put(api(3), nil)
		settle(20 * time.Minute)
		if got := served(w); got != set(api(1)).Revision {
			t.Errorf("%s is served before its time", got)
		}
		settle(11 * time.Minute)
		if got := served(w); got != set(api(3)).Revision {
			t.Errorf("%s is served after it", got)
		}
		if slices.Contains(w.target.revisions(), set(api(2)).Revision) {
			t.Error("a revision that the source does not have any more was served")
		}
	})
}

// What is wrong is said at once: nobody approves it.
func TestWrongRevisionDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := served1(t, rollout.Plan{ByHand: true})
		w.source.put("kind: [", nil)
		settle(time.Second)
		condition(t, w, status.Accepted, status.False, "Invalid")
		if w.loop.Report().Waiting != nil {
			t.Error("it waits")
		}
		w.source.put(api(2), nil)
		settle(24 * time.Hour)
		condition(t, w, status.Accepted, status.Unknown, "Waiting")
	})
}

func TestSyncAppliesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := served1(t, rollout.Plan{ByHand: true})
		w.source.put(api(2), nil)
		settle(24 * time.Hour)
		next := set(api(2)).Revision
		for _, wrong := range []string{"sha25", "sha256", "sha256:", "sha256:" + next[7:12], "sha256:0000000000"} {
			if _, err := w.loop.Sync(t.Context(), wrong, "me"); !errors.Is(err, reconcile.ErrNotThere) {
				t.Errorf("sync to %s: %v", wrong, err)
			}
		}
		if got := served(w); got != set(api(1)).Revision {
			t.Fatalf("%s is served, and nobody said so", got)
		}
		if o, err := w.loop.Sync(t.Context(), next[:13], "me"); err != nil || o.Result != reconcile.Programmed || o.Revision != next {
			t.Errorf("sync: %+v, %v", o, err)
		}
		if w.loop.Report().Waiting != nil {
			t.Error("it still waits")
		}
		if o, err := w.loop.Sync(t.Context(), next, "me"); err != nil || o.Result != reconcile.Programmed || o.Reason != "Unchanged" {
			t.Errorf("sync again: %+v, %v", o, err)
		}
		settle(time.Hour)
		if got := served(w); got != next {
			t.Errorf("%s is served", got)
		}
	})
}

// past is a source that has what it had.
type past struct{ *fakeSource }

func (p past) FetchAt(_ context.Context, revision string) (source.Set, error) {
	for i := range 10 {
		if s := set(api(i)); strings.HasPrefix(s.Revision, revision) {
			return s, nil
		}
	}
	return source.Set{}, fmt.Errorf("no revision %s", revision)
}

// Hosts are brought to one revision one after another while the source moves on.
func TestSyncToAnEarlierRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := served1(t, rollout.Plan{ByHand: true}, func(w *world) { w.loop.Source = past{w.source} })
		w.source.put(api(3), nil)
		settle(time.Second)
		if o, err := w.loop.Sync(t.Context(), set(api(2)).Revision, "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("sync: %+v, %v", o, err)
		}
		settle(24 * time.Hour)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("%s is served", got)
		}
		w.source.put(api(3), nil) // it looks again
		settle(time.Second)
		if x := w.loop.Report().Waiting; x == nil || x.Revision != set(api(3)).Revision {
			t.Errorf("the newest one does not wait: %+v", x)
		}
		if _, err := w.loop.Sync(t.Context(), "ffffffff", "me"); !errors.Is(err, reconcile.ErrNotThere) {
			t.Errorf("a revision that never was: %v", err)
		}
	})
}

// What waits beside an earlier revision goes on waiting, and is applied when its time comes.
func TestWhatWaitsBesideAnEarlierRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := served1(t, rollout.Plan{After: 30 * time.Minute}, func(w *world) { w.loop.Source = past{w.source} })
		w.source.put(api(3), nil)
		settle(10 * time.Minute)
		if o, err := w.loop.Sync(t.Context(), set(api(2)).Revision, "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("sync: %+v, %v", o, err)
		}
		settle(19 * time.Minute)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("%s is served before its time", got)
		}
		settle(2 * time.Minute)
		if got := served(w); got != set(api(3)).Revision || w.loop.Report().Waiting != nil {
			t.Errorf("%s is served after it", got)
		}
	})
}

// An operator who went back is not overtaken by what waited.
func TestRollbackEndsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := served1(t, rollout.Plan{After: 30 * time.Minute}, func(w *world) {
			w.loop.Past = func(string, string) (source.Set, bool) { return set(api(9)), true }
		})
		w.source.put(api(2), nil)
		settle(10 * time.Minute)
		if _, err := w.loop.Rollback(t.Context(), "x", "me"); err != nil {
			t.Fatal(err)
		}
		w.source.put(api(2), nil) // it looks again
		settle(2 * time.Hour)
		if r := w.loop.Report(); served(w) != set(api(9)).Revision || r.Pinned == nil || r.Waiting != nil {
			t.Errorf("%s is served; pinned %+v, waiting %+v", served(w), r.Pinned, r.Waiting)
		}
		if err := w.loop.Resume(t.Context(), "me"); err != nil {
			t.Fatal(err)
		}
		settle(29 * time.Minute)
		if got := served(w); got != set(api(9)).Revision {
			t.Errorf("%s is served at once after resume", got)
		}
		settle(2 * time.Minute)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("%s is served half an hour after resume", got)
		}
	})
}

// A sync to what is not there changes nothing: not the quarantine either.
func TestRefusedSyncKeepsTheQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(time.Second)
		w.target.next = &deliver.Progress{Node: "n", Connected: true, Stale: 1}
		w.source.put(api(2), nil)
		settle(time.Second)
		w.refuse()
		settle(time.Second)
		n := len(w.target.revisions())
		if _, err := w.loop.Sync(t.Context(), "deadbeef", "me"); !errors.Is(err, reconcile.ErrNotThere) {
			t.Error(err)
		}
		w.source.put(api(2), nil)
		settle(time.Hour)
		if got := w.target.revisions(); len(got) != n {
			t.Errorf("tried again: %v", got[n:])
		}
		if o, err := w.loop.Sync(t.Context(), set(api(2)).Revision, "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("a sync that names it: %+v, %v", o, err)
		}
	})
}

func TestWaitingOutlivesTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now().Add(-20 * time.Minute).UTC()
		w := run(t, func(w *world) {
			w.loop.When = rollout.Plan{After: 30 * time.Minute}.When
			w.loop.LastGood = func() []source.Set { return []source.Set{set(api(1))} }
			w.loop.Control.Waiting = &status.Waiting{Revision: set(api(2)).Revision, Since: since}
			w.source.set = set(api(2))
		})
		w.target.answer(synced)
		settle(9 * time.Minute)
		if got := w.target.revisions(); !slices.Equal(got, []string{set(api(1)).Revision}) {
			t.Fatalf("published %v, want the last good revision", got)
		}
		settle(2 * time.Minute)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("%s is served: the time began anew", got)
		}
	})
}

// What was told to wait goes on waiting, though the state of what was served before is lost.
func TestWaitingWithoutAPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, func(w *world) {
			w.loop.When = rollout.Plan{ByHand: true}.When
			w.loop.Control.Waiting = &status.Waiting{Revision: set(api(2)).Revision, Since: time.Now()}
			w.source.set = set(api(2))
		})
		w.target.answer(synced)
		settle(time.Hour)
		if got := w.target.revisions(); len(got) != 0 {
			t.Errorf("published %v, and nobody said so", got)
		}
		if o, err := w.loop.Sync(t.Context(), set(api(2)).Revision, "me"); err != nil || o.Result != reconcile.Programmed {
			t.Errorf("sync: %+v, %v", o, err)
		}
	})
}

// A suspended daemon applies nothing, whatever the clock says.
func TestNothingIsReleasedWhileSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := served1(t, rollout.Plan{After: 30 * time.Minute})
		w.source.put(api(2), nil)
		settle(time.Minute)
		if err := w.loop.Suspend(t.Context(), time.Time{}, "a fair", "me"); err != nil {
			t.Fatal(err)
		}
		settle(2 * time.Hour)
		if got := served(w); got != set(api(1)).Revision {
			t.Fatalf("%s is served", got)
		}
		if err := w.loop.Resume(t.Context(), "me"); err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("%s is served after the suspension", got)
		}
	})
}

// refusedNow is how a source refuses what it has, as a repository whose branch was put back.
type refusedNow struct{ outage bool }

func (e refusedNow) Error() string                   { return "history was rewritten" }
func (e refusedNow) Reason() string                  { return "HistoryRewritten" }
func (e refusedNow) Refused() (*source.Commit, bool) { return nil, !e.outage }

// What waits may have been taken off the branch, which is refused then: it does not go live at its time. An outage holds up nothing.
func TestNothingIsReleasedWhileTheSourceIsRefused(t *testing.T) {
	for _, outage := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := served1(t, rollout.Plan{After: 30 * time.Minute})
			w.source.put(api(2), nil)
			settle(time.Minute)
			w.source.put(api(1), refusedNow{outage})
			settle(2 * time.Hour)
			if got := served(w) == set(api(2)).Revision; got != outage {
				t.Fatalf("outage %t: it is served: %t", outage, got)
			}
			if outage {
				return
			}
			if c := condition(t, w, status.Accepted, status.Unknown, "Waiting"); !strings.Contains(c.Message, "is refused") {
				t.Errorf("the message does not say why it waits: %s", c.Message)
			}
			w.source.put(api(2), nil)
			settle(time.Minute)
			if got := served(w); got != set(api(2)).Revision {
				t.Errorf("%s is served after the source is right again", got)
			}
		})
	}
}

func TestWaitingForAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins at midnight UTC of a Saturday
		night, err := rollout.ParseWindow("daily 22:00-23:00")
		if err != nil {
			t.Fatal(err)
		}
		w := served1(t, rollout.Plan{Windows: []rollout.Window{night}})
		w.source.put(api(2), nil)
		settle(21 * time.Hour)
		if got := served(w); got != set(api(1)).Revision {
			t.Fatalf("%s is served at %s", got, time.Now().UTC())
		}
		settle(time.Hour + time.Minute)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("%s is served at %s", got, time.Now().UTC())
		}
		w.source.put(api(3), nil) // within the window
		settle(time.Second)
		if got := served(w); got != set(api(3)).Revision {
			t.Errorf("%s is served within the window", got)
		}
	})
}

// looker is a source that looks by itself, and finds something when it is told to.
type looker struct {
	*fakeSource
	found string
}

func (l looker) Look(context.Context) error {
	l.put(l.found, nil)
	time.Sleep(100 * time.Millisecond) // long enough for the loop to judge it
	return nil
}

// What is new is judged once, though somebody asked for it.
func TestSyncJudgesWhatIsNewOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, func(w *world) { w.loop.Source = looker{w.source, "kind: ["} })
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(time.Second)
		o, err := w.loop.Sync(t.Context(), "", "me")
		if err != nil || o.Result != reconcile.Invalid || !o.Diagnostics.HasErrors() {
			t.Errorf("sync: %+v, %v", o, err)
		}
		want := []reconcile.EventType{"Fetched", "Accepted", "Programmed", "Fetched", "Invalid"}
		if got := w.types(); !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}
