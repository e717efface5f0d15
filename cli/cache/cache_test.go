package cache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func folder(t *testing.T) *Folder {
	t.Helper()
	f, err := Open(filepath.Join(t.TempDir(), "a", "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, f *Folder, k Key, text string) {
	t.Helper()
	if err := f.Put(k, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func path(f *Folder, k Key) string { return filepath.Join(f.files.Dir, name(k)) }

func TestPutThenGet(t *testing.T) {
	t.Parallel()
	f := folder(t)
	a, b := KeyOf("ab", "c"), KeyOf("a", "bc")
	if _, ok := f.Get(a); ok {
		t.Error("an empty folder has something")
	}
	put(t, f, a, "one")
	put(t, f, b, "")
	put(t, f, a, "two")
	if got, ok := f.Get(a); !ok || string(got) != "two" {
		t.Errorf("got %q, %v", got, ok)
	}
	if got, ok := f.Get(b); !ok || len(got) != 0 {
		t.Errorf("got %q, %v", got, ok)
	}
	if _, ok := f.Get(KeyOf("ab", "c", "")); ok {
		t.Error("another key has the same entry")
	}
	err := filepath.Walk(filepath.Dir(f.files.Dir), func(path string, info os.FileInfo, err error) error {
		if err == nil && path != filepath.Dir(f.files.Dir) && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(f.files.Dir); err != nil {
		t.Fatal(err)
	}
	put(t, f, a, "three") // whoever removes the folder harms nobody
	if got, _ := f.Get(a); string(got) != "three" {
		t.Errorf("got %q", got)
	}
}

// TestDamage: whatever happens to an entry, it is the one that was put, or absent.
func TestDamage(t *testing.T) {
	t.Parallel()
	f := folder(t)
	k, other := KeyOf("k"), KeyOf("other")
	const text = "what was found"
	put(t, f, k, text)
	whole, err := os.ReadFile(path(f, k))
	if err != nil {
		t.Fatal(err)
	}
	write := func(k Key, b []byte) {
		if err := os.WriteFile(path(f, k), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n := range whole {
		write(k, whole[:n])
		if _, ok := f.Get(k); ok {
			t.Errorf("the first %d bytes count", n)
		}
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1 << (n % 8)
		write(k, flipped)
		if _, ok := f.Get(k); ok {
			t.Errorf("it counts with byte %d changed", n)
		}
	}
	write(k, append(bytes.Clone(whole), 0))
	if _, ok := f.Get(k); ok {
		t.Error("it counts with a byte more")
	}
	write(k, bytes.Replace(whole, []byte("cache 1"), []byte("cache 0"), 1))
	if _, ok := f.Get(k); ok {
		t.Error("an older format counts")
	}
	write(other, whole)
	if _, ok := f.Get(other); ok {
		t.Error("the entry of one key counts for another")
	}
	write(k, whole)
	if got, ok := f.Get(k); !ok || string(got) != text {
		t.Errorf("got %q, %v", got, ok)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(path(f, k), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, path(f, k)); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Get(k); ok {
		t.Error("a link counts")
	}
	put(t, f, k, "new")
	if b, err := os.ReadFile(elsewhere); err != nil || !bytes.Equal(b, whole) {
		t.Errorf("what the link leads to was written: %q, %v", b, err)
	}
	if err := os.Remove(path(f, k)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path(f, k), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Get(k); ok {
		t.Error("a folder counts")
	}
	if err := f.Put(k, nil); err == nil {
		t.Error("a folder was replaced")
	}
}

func TestTheFolderIsBounded(t *testing.T) {
	t.Parallel()
	f := folder(t)
	f.files.Entries, f.files.Bytes = 8, 100_000
	count := func() (n int, size int64) {
		all, err := os.ReadDir(f.files.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), entryPrefix) {
				n, size = n+1, size+info.Size()
			}
		}
		return n, size
	}
	age := func(path string, by time.Duration) {
		at := time.Now().Add(-by)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	for i := range 8 {
		put(t, f, KeyOf(fmt.Sprint(i)), "x")
		age(path(f, KeyOf(fmt.Sprint(i))), time.Duration(30-i)*day)
	}
	litterFile, fresh, foreign := filepath.Join(f.files.Dir, ".flexgw-new-"+"1"), filepath.Join(f.files.Dir, ".flexgw-new-"+"2"), filepath.Join(f.files.Dir, "notes.txt")
	for _, path := range []string{litterFile, fresh, foreign} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	age(litterFile, day)
	age(foreign, 100*day)
	if _, ok := f.Get(KeyOf("0")); !ok { // the oldest is used
		t.Fatal("not there")
	}
	put(t, f, KeyOf("8"), "x")
	if n, _ := count(); n != 6 {
		t.Errorf("%d entries are left", n)
	}
	for i, want := range map[int]bool{0: true, 1: false, 2: false, 3: false, 4: true, 8: true} {
		if _, ok := f.Get(KeyOf(fmt.Sprint(i))); ok != want {
			t.Errorf("entry %d is there: %v", i, ok)
		}
	}
	for path, want := range map[string]bool{litterFile: false, fresh: true, foreign: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v", filepath.Base(path), err == nil)
		}
	}
	for i := range 5 {
		put(t, f, KeyOf("large", fmt.Sprint(i)), strings.Repeat("x", 40_000))
	}
	if _, size := count(); size > f.files.Bytes {
		t.Errorf("the folder has %d bytes", size)
	}
	if err := f.Put(KeyOf("huge"), make([]byte, mostOfOne)); err != nil {
		t.Error(err)
	}
	if _, ok := f.Get(KeyOf("huge")); ok {
		t.Error("there is no bound on one entry")
	}
}

// TestTogether: writers, readers and somebody who removes files see whole entries or none.
func TestTogether(t *testing.T) {
	t.Parallel()
	dir := folder(t).files.Dir
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			f, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			f.files.Entries = 6
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 200 {
				name := fmt.Sprint(r.IntN(10))
				k, text := KeyOf(name), strings.Repeat(name, 3000)
				switch r.IntN(3) {
				case 0:
					if err := f.Put(k, []byte(text)); err != nil {
						t.Error(err)
					}
				case 1:
					_ = os.Remove(path(f, k))
				default:
					if b, ok := f.Get(k); ok && string(b) != text {
						t.Errorf("entry %s holds %.20q", name, b)
					}
				}
			}
		})
	}
	wg.Wait()
}
