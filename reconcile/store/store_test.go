package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

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

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "last")
	if _, ok, err := store.New(dir).Load(); ok || err != nil {
		t.Fatalf("nothing was saved: %v %v", ok, err)
	}
	s := store.New(dir)
	for _, want := range []source.Set{set("a", "b"), set("a", "c", "a"), set("d")} {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		got, ok, err := store.New(dir).Load()
		if err != nil || !ok || got.Revision != want.Revision || len(got.Files) != len(want.Files) {
			t.Fatalf("got %+v %v %v", got, ok, err)
		}
		for i, f := range got.Files {
			b, err := f.Bytes()
			w, _ := want.Files[i].Bytes()
			if err != nil || f.Name != want.Files[i].Name || f.Hash != want.Files[i].Hash || string(b) != string(w) {
				t.Errorf("file %d: %q %q %v", i, f.Name, b, err)
			}
		}
	}
	contents, _ := filepath.Glob(filepath.Join(dir, "contents", "*"))
	if len(contents) != 1 {
		t.Errorf("contents that nothing names are kept: %v", contents)
	}
	if info, err := os.Stat(contents[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// An index that is cut at any byte, or changed in one, is no last good state; neither is a content that was changed.
func TestTornIsNotUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := store.New(dir).Save(set("a", "b")); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "index")
	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := append([]byte(nil), whole...)
		changed[i] ^= 1
		for what, b := range map[string][]byte{"cut": whole[:i], "changed": changed} {
			if err := os.WriteFile(index, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := store.New(dir).Load(); ok || err == nil {
				t.Fatalf("%s at byte %d: used", what, i)
			}
		}
	}
	if err := os.WriteFile(index, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	contents, _ := filepath.Glob(filepath.Join(dir, "contents", "*"))
	if err := os.WriteFile(contents[0], []byte("z"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _, err := store.New(dir).Load()
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, f := range got.Files {
		if _, err := f.Bytes(); err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d changed contents were noticed", failed)
	}
}

func BenchmarkSaveOneChangeOf10000(b *testing.B) {
	files := make([]source.File, 10_000)
	for i := range files {
		files[i] = source.NewFile(fmt.Sprintf("%05d.yaml", i), fmt.Append(nil, i))
	}
	s := store.New(b.TempDir())
	if err := s.Save(source.NewSet(files)); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		files[n%len(files)] = source.NewFile(files[n%len(files)].Name, fmt.Append(nil, "v", n))
		if err := s.Save(source.NewSet(files)); err != nil {
			b.Fatal(err)
		}
	}
}
