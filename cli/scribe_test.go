package cli

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/store"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/source"
)

// What was accepted while the revision before it was written is kept, although its file was written over meanwhile.
func TestScribeKeepsWhatWasAcceptedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "gw", "api.yaml")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func(text string) source.Set {
		t.Helper()
		put(text)
		set, err := watch.ReadPaths([]string{filepath.Dir(file)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	st := store.New(filepath.Join(dir, "state"))
	s := newScribe(st, slog.New(slog.DiscardHandler))
	tell := func(kind reconcile.EventType, set source.Set) {
		s.event(reconcile.Event{Type: kind, Set: set, Revision: set.Revision})
	}
	first := read("a: 1\n")
	tell(reconcile.Accepted, first)
	tell(reconcile.Programmed, first)
	second := read("a: 22\n")
	tell(reconcile.Accepted, second)
	go s.run()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, ok := st.Find(first.Revision, ""); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the first revision was not written")
		}
	}
	put("a: [\n")
	tell(reconcile.Programmed, second)
	s.stop()
	if _, ok := st.Find(second.Revision, ""); !ok {
		t.Error("the second revision is not kept")
	}
}

// What a daemon only judges is in its history, and is not waited for.
func TestScribeOfAnObserver(t *testing.T) {
	t.Parallel()
	st := store.New(t.TempDir())
	s := newScribe(st, slog.New(slog.DiscardHandler))
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte("a: 1\n"))})
	s.event(reconcile.Event{Type: reconcile.Accepted, Reason: "Observed", Set: set, Revision: set.Revision})
	if len(s.held) != 0 {
		t.Errorf("%d contents are held for a set that is never saved", len(s.held))
	}
	go s.run()
	s.stop()
	records, err := st.History(10)
	if err != nil || len(records) != 1 || records[0].Event != "Accepted" || records[0].Reason != "Observed" || records[0].Revision != set.Revision {
		t.Errorf("%+v %v", records, err)
	}
}

// What happened a moment ago is in the history, whether it is on disk yet or not.
func TestHistoryIsComplete(t *testing.T) {
	t.Parallel()
	s := newScribe(store.New(t.TempDir()), slog.New(slog.DiscardHandler))
	go s.run()
	defer s.stop()
	for i := range 20 {
		s.event(reconcile.Event{Type: reconcile.Programmed, Revision: strconv.Itoa(i)})
		list, err := s.history(3)
		if err != nil || len(list) != min(3, i+1) || list[0].Revision != strconv.Itoa(i) || len(list) > 1 && list[1].Revision != strconv.Itoa(i-1) {
			t.Fatalf("after %d: %+v, %v", i, list, err)
		}
	}
}
