package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/store"
	"github.com/flexgw/flexgw/schema/source"
)

func set(texts ...string) source.Set {
	var files []source.File
	for i, t := range texts {
		files = append(files, source.NewFile(fmt.Sprintf("dir/%d \"x\".yaml", i), []byte(t)))
	}
	return source.NewSet(files)
}

// gitSet is a set whose contents have the hashes that Git gives them.
func gitSet(texts ...string) source.Set {
	x := set(texts...)
	for i, t := range texts {
		x.Files[i].Hash = source.BlobHash([]byte(t))
	}
	x.Revision = fmt.Sprintf("%x", texts)
	return x
}

func save(t *testing.T, s *store.Store, sets ...source.Set) {
	t.Helper()
	for _, x := range sets {
		if err := s.Save(x, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func contents(dir string) []string {
	all, _ := filepath.Glob(filepath.Join(dir, "contents", "*"))
	return all
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "last")
	if got, err := store.New(dir).Load(); len(got) > 0 || err != nil {
		t.Fatalf("nothing was saved: %v %v", got, err)
	}
	s := store.New(dir)
	sets := []source.Set{set("a", "b"), set("a", "c", "a"), set("d")}
	for n, want := range sets {
		save(t, s, want)
		all, err := store.New(dir).Load()
		if err != nil || len(all) != n+1 || all[0].Revision != want.Revision || len(all[0].Files) != len(want.Files) {
			t.Fatalf("got %+v %v", all, err)
		}
		for i, f := range all[0].Files {
			b, err := f.Bytes()
			w, _ := want.Files[i].Bytes()
			if err != nil || f.Name != want.Files[i].Name || f.Hash != want.Files[i].Hash || string(b) != string(w) {
				t.Errorf("file %d: %q %q %v", i, f.Name, b, err)
			}
		}
	}
	for _, c := range contents(dir) {
		if info, err := os.Stat(c); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}

func TestOldGenerationsAreForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	save(t, store.New(dir), set("of a process before"))
	s := store.New(dir)
	for i := range 3 * store.Generations {
		save(t, s, set("always", fmt.Sprint(i)))
	}
	got, err := s.Load()
	if err != nil || len(got) != store.Generations {
		t.Fatalf("%d generations are kept, %v", len(got), err)
	}
	if n := len(contents(dir)); n != store.Generations+1 {
		t.Errorf("%d contents are kept for %d generations", n, store.Generations)
	}
	for i, g := range got {
		if want := set("always", fmt.Sprint(3*store.Generations-1-i)); g.Revision != want.Revision {
			t.Errorf("generation %d is %s", i, g.Revision)
		}
	}
	save(t, s, got[3]) // gone back to
	again, err := s.Load()
	if err != nil || len(again) != store.Generations || again[0].Revision != got[3].Revision || again[4].Revision != got[4].Revision {
		t.Errorf("a revision that is saved again is not the newest: %v", err)
	}
}

// Whatever is saved, and by however many processes, the contents that are kept are those of the generations that are and of what
// objects are held at, and each of them is whole.
func TestContentsFollowGenerations(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		s := store.New(dir)
		var past []source.Set
		var held source.Set
		for range 40 {
			texts := make([]string, 1+r.IntN(4))
			for i := range texts {
				texts[i] = fmt.Sprint(r.IntN(5))
			}
			x := set(texts...)
			if len(past) > 0 && r.IntN(4) == 0 {
				x = past[r.IntN(len(past))]
			}
			if r.IntN(10) == 0 {
				s = store.New(dir)
			}
			past = append(past, x)
			save(t, s, x)
			if r.IntN(3) == 0 {
				if held = (source.Set{}); r.IntN(4) > 0 {
					held = past[max(len(past)-1-r.IntN(3), 0)]
					held.Files = slices.Clone(held.Files[r.IntN(len(held.Files)):])
					held.Revision = "held"
				}
				if err := s.KeepHeld(held, nil); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Load()
			if err != nil || len(got) > store.Generations || got[0].Revision != x.Revision {
				t.Fatalf("seed %d: %d generations, %v", seed, len(got), err)
			}
			back, err := s.HeldAt()
			if err != nil || back.Revision != held.Revision || !slices.EqualFunc(back.Files, held.Files, func(a, b source.File) bool { return a.Name == b.Name && a.Hash == b.Hash }) {
				t.Fatalf("seed %d: held at %v, want %v: %v", seed, back, held, err)
			}
			want, revisions := map[string]bool{}, map[string]bool{}
			for _, g := range got {
				revisions[g.Revision] = true
				for _, f := range g.Files {
					want[f.Hash.String()] = true
				}
			}
			for _, f := range held.Files {
				want[f.Hash.String()] = true
			}
			if n := len(contents(dir)); n != len(want) || len(revisions) != len(got) {
				t.Fatalf("seed %d: %d contents are kept, %d are named, %d revisions of %d generations", seed, n, len(want), len(revisions), len(got))
			}
		}
	}
}

// What is at hand is not read: its file may be another by now.
func TestSaveTakesWhatIsAtHand(t *testing.T) {
	t.Parallel()
	s := store.New(t.TempDir())
	x := set("a")
	x.Files[0].Bytes = func() ([]byte, error) { return nil, os.ErrNotExist }
	if s.Save(x, nil) == nil {
		t.Fatal("a content that can not be read was kept")
	}
	if err := s.Save(x, map[source.Hash][]byte{x.Files[0].Hash: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	if missing := s.Missing(set("a", "b")); len(missing) != 1 || missing[0].Name != set("a", "b").Files[1].Name {
		t.Errorf("missing are %v", missing)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	s := store.New(t.TempDir())
	one, two := set("1"), set("2")
	save(t, s, one, two)
	for want, asked := range map[string][]string{
		one.Revision: {"", one.Revision, one.Revision[:20], one.Revision[len("sha256:"):][:8]},
		"":           {"sha256:", one.Revision[7:10], "nonsense", "0000000"},
	} {
		for _, a := range asked {
			if got, ok := s.Find(a, two.Revision); ok != (want != "") || got.Revision != want {
				t.Errorf("%q finds %q, want %q", a, got.Revision, want)
			}
		}
	}
}

// torn has a file cut at each byte, and changed in each, and returns what it was.
func torn(t *testing.T, path string, check func(what string)) []byte {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := append([]byte(nil), whole...)
		changed[i] ^= 1
		for what, b := range map[string][]byte{"cut": whole[:i], "changed": changed} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			check(fmt.Sprintf("%s at byte %d", what, i))
		}
	}
	return whole
}

// An index that is cut at any byte, or changed in one, is no last good state; neither is a content that was changed. The
// generation before is.
func TestTornIsNotUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before, newest := set("a"), set("a", "b")
	save(t, store.New(dir), before, newest)
	indexes, _ := filepath.Glob(filepath.Join(dir, "generations", "*"))
	index := indexes[len(indexes)-1]
	check := func(what string) {
		t.Helper()
		if got, err := store.New(dir).Load(); len(got) != 1 || got[0].Revision != before.Revision || err == nil {
			t.Fatalf("%s: %+v, %v", what, got, err)
		}
	}
	whole := torn(t, index, check)
	if err := os.WriteFile(index, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newest.Files[1].Hash.String()
	if err := os.WriteFile(filepath.Join(dir, "contents", b), []byte("z"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a content was changed")
	save(t, store.New(dir), set("c"))
	if got, _ := store.New(dir).Load(); len(got) != 2 || got[0].Revision != set("c").Revision {
		t.Errorf("after another save: %+v", got)
	}
}

// What is torn is written anew as soon as a generation names it again, whichever it was that had it, and whether it is changed for
// it or as before.
func TestTornIsWrittenAnew(t *testing.T) {
	t.Parallel()
	for _, of := range []struct {
		source string
		set    func(texts ...string) source.Set
	}{{"a directory", set}, {"a Git repository", gitSet}} {
		t.Run(of.source, func(t *testing.T) { tornIsWrittenAnew(t, of.set) })
	}
}

func tornIsWrittenAnew(t *testing.T, set func(texts ...string) source.Set) {
	dir := t.TempDir()
	older, newest := set("a", "b", "c"), set("a", "x", "c")
	path := func(text string) string { return filepath.Join(dir, "contents", set(text).Files[0].Hash.String()) }
	for _, c := range []struct {
		what, text string
		next       source.Set
	}{
		{"of the newest generation, which is saved again", "x", newest},
		{"of all generations, in a set that is new", "a", set("a", "y", "c")},
		{"of an older generation that comes back", "b", older},
		{"of an older generation, in another file", "b", set("b", "x", "c")},
	} {
		for _, how := range []string{"cut", "empty", "other", "gone"} {
			for _, again := range []bool{true, false} { // by a process that is new, or goes on
				os.RemoveAll(dir)
				s := store.New(dir)
				save(t, s, older, newest)
				whole, err := os.ReadFile(path(c.text))
				if err != nil {
					t.Fatal(err)
				}
				switch how {
				case "cut":
					err = os.Truncate(path(c.text), int64(len(whole))-1)
				case "empty":
					err = os.Truncate(path(c.text), 0)
				case "other":
					err = os.WriteFile(path(c.text), []byte("?"), 0o600)
				case "gone":
					err = os.Remove(path(c.text))
				}
				if err != nil {
					t.Fatal(err)
				}
				if again {
					s = store.New(dir)
					missing := s.Missing(c.next)
					if !slices.ContainsFunc(missing, func(f source.File) bool { return f.Hash == set(c.text).Files[0].Hash }) {
						t.Errorf("%s, %s: missing are %v", c.what, how, missing)
					}
					if slices.ContainsFunc(missing, func(f source.File) bool { return f.Hash == set("c").Files[0].Hash }) {
						t.Errorf("%s, %s: a content that is whole is missing", c.what, how)
					}
					for _, f := range s.Kept(c.next).Files {
						if _, err := f.Bytes(); err != nil {
							t.Errorf("%s, %s: %v", c.what, how, err)
						}
					}
				} else if c.text != "b" {
					continue // what did not change is not read by a process that wrote it
				}
				save(t, s, c.next)
				sets, err := store.New(dir).Load()
				if err != nil || len(sets) == 0 || sets[0].Revision != c.next.Revision {
					t.Errorf("%s, %s, anew %t: %d sets, %v", c.what, how, again, len(sets), err)
				}
			}
		}
	}
}

// What objects are held at is likewise used whole or not at all, and is written anew after that.
func TestTornHeldAtIsNotUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, held := store.New(dir), set("a", "b")
	save(t, s, set("c"))
	if got, err := s.HeldAt(); err != nil || len(got.Files) > 0 {
		t.Fatalf("nothing was kept: %v, %v", got, err)
	}
	keep := func(s *store.Store, want source.Set) {
		t.Helper()
		if err := s.KeepHeld(want, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := store.New(dir).HeldAt(); err != nil || got.Revision != want.Revision {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	keep(s, held)
	path := filepath.Join(dir, "held-at")
	check := func(what string) {
		t.Helper()
		if got, err := store.New(dir).HeldAt(); len(got.Files) > 0 || err == nil {
			t.Fatalf("%s: %+v, %v", what, got, err)
		}
		if got, err := store.New(dir).Load(); len(got) != 1 || err != nil {
			t.Fatalf("%s: the generation is lost: %+v, %v", what, got, err)
		}
	}
	torn(t, path, check)
	keep(store.New(dir), held)
	if err := os.Remove(filepath.Join(dir, "contents", held.Files[1].Hash.String())); err != nil {
		t.Fatal(err)
	}
	check("a content is gone")
	keep(store.New(dir), held)
	keep(store.New(dir), source.Set{})
	if n := len(contents(dir)); n != 1 {
		t.Errorf("%d contents are kept of one generation", n)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := store.New(dir)
	want := store.Record{At: time.Unix(7, 0).UTC(), Event: "RolledBack", Revision: "b", Previous: "a", By: "source", Reason: "Rejected", Message: "no\nroom"}
	for range 2 {
		if err := s.Append(want); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "history.jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"at":"torn`)
	f.Close()
	want.Revision = "c"
	if err := s.Append(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.History(0)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error("-want +got\n" + diff)
	}
	if got, _ := s.History(2); len(got) != 2 {
		t.Errorf("%d records, asked for 2", len(got))
	}
	want.Message = string(make([]byte, 50_000))
	for range 30 {
		if err := s.Append(want); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2<<20 {
		t.Errorf("the history grows without end: %v %v", info.Size(), err)
	}
	if got, err := s.History(1); err != nil || len(got) != 1 || got[0].Message != want.Message {
		t.Errorf("the newest record was lost: %v", err)
	}
}

func TestRememberAndRecall(t *testing.T) {
	t.Parallel()
	s := store.New(filepath.Join(t.TempDir(), "new"))
	got := map[string]int{"untouched": 1}
	if err := s.Recall("x", &got); err != nil || got["untouched"] != 1 {
		t.Fatalf("%v %v", got, err)
	}
	if err := s.Remember("x", map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := s.Recall("x", &got); err != nil || got["a"] != 1 {
		t.Errorf("%v %v", got, err)
	}
}

func BenchmarkSaveOneChangeOf10000(b *testing.B) {
	files := make([]source.File, 10_000)
	for i := range files {
		files[i] = source.NewFile(fmt.Sprintf("%05d.yaml", i), fmt.Append(nil, i))
	}
	s := store.New(b.TempDir())
	if err := s.Save(source.NewSet(files), nil); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		files[n%len(files)] = source.NewFile(files[n%len(files)].Name, fmt.Append(nil, "v", n))
		if err := s.Save(source.NewSet(files), nil); err != nil {
			b.Fatal(err)
		}
	}
}
