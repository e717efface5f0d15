package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/source"
)

func write(t testing.TB, text string, parts ...string) string {
	t.Helper()
	p := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// texts is name → content, every file read.
func texts(t testing.TB, s source.Set) map[string]string {
	t.Helper()
	m := map[string]string{}
	last := ""
	for _, f := range s.Files {
		b, err := f.Bytes()
		if errors.Is(err, watch.ErrChanged) || errors.Is(err, fs.ErrNotExist) { // it changed, or went, after the look
			m[f.Name] = err.Error() // another signal follows
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Hash != source.NewFile("", b).Hash {
			t.Errorf("%s: the hash is not of the bytes", f.Name)
		}
		if f.Name <= last {
			t.Errorf("%s after %s: not sorted", f.Name, last)
		}
		last = f.Name
		m[f.Name] = string(b)
	}
	return m
}

func open(t testing.TB, path string) *watch.Directory {
	t.Helper()
	d, err := watch.Dir(path, watch.Options{Rescan: time.Hour}) // events must be enough
	do(t, err)
	t.Cleanup(func() { do(t, d.Close()) })
	return d
}

// patient is open, and waits for writers who are silent as long as a machine that is busy elsewhere makes them be.
func patient(t testing.TB, path string) *watch.Directory {
	t.Helper()
	d := open(t, path)
	d.Patience(20*time.Second, time.Minute)
	return d
}

func fetch(t testing.TB, s watch.Source) map[string]string {
	t.Helper()
	set, err := s.Fetch(context.Background())
	do(t, err)
	return texts(t, set)
}

// until fetches on every signal until the set is the wanted one.
func until(t testing.TB, s watch.Source, want map[string]string) {
	t.Helper()
	deadline := time.After(time.Minute)
	var got map[string]string
	for {
		select {
		case <-s.Changed():
			set, err := s.Fetch(context.Background())
			if err != nil {
				got = map[string]string{"error": err.Error()}
			} else if got = texts(t, set); cmp.Equal(want, got) {
				return
			}
		case <-deadline:
			t.Fatalf("never seen (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// untilError fetches on every signal until there is an error that says all this: a look may come in the middle of a change.
func untilError(t testing.TB, s watch.Source, parts ...string) {
	t.Helper()
	deadline := time.After(time.Minute)
	var err error
	for {
		select {
		case <-s.Changed():
			_, err = s.Fetch(context.Background())
			if err != nil && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(err.Error(), p) }) {
				return
			}
		case <-deadline:
			t.Fatalf("error %v, want one with %q", err, parts)
		}
	}
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestWhatCounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "b.yml", "c.json", "d.cue", "sub/deep/e.yaml"} {
		write(t, name, dir, name)
	}
	for _, name := range []string{".hidden.yaml", ".a.yaml.swp", "a.yaml~", "4913", "README.md", ".git/x.yaml", "sub/.x/y.yaml", "yaml"} {
		write(t, "no", dir, name)
	}
	want := map[string]string{"a.yaml": "a.yaml", "b.yml": "b.yml", "c.json": "c.json", "d.cue": "d.cue", "sub/deep/e.yaml": "sub/deep/e.yaml"}
	d := open(t, dir)
	if diff := cmp.Diff(want, fetch(t, d)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	one, err := d.Fetch(context.Background())
	do(t, err)
	two, err := d.Fetch(context.Background())
	do(t, err)
	if one.Revision != two.Revision || one.Revision != source.NewSet(one.Files).Revision {
		t.Errorf("revisions %q, %q of equal content", one.Revision, two.Revision)
	}
}

func TestEdits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := write(t, "one", dir, "a.yaml")
	d := open(t, dir)
	if diff := cmp.Diff(map[string]string{"a.yaml": "one"}, fetch(t, d)); diff != "" {
		t.Fatalf("first (-want +got):\n%s", diff)
	}

	write(t, "two", a) // same size, perhaps within one tick of the file system's clock
	until(t, d, map[string]string{"a.yaml": "two"})

	do(t, os.Rename(write(t, "three", dir, ".a.yaml.x1"), a))
	until(t, d, map[string]string{"a.yaml": "three"})

	write(t, "new", dir, "b.yaml")
	until(t, d, map[string]string{"a.yaml": "three", "b.yaml": "new"})

	do(t, os.Remove(a))
	until(t, d, map[string]string{"b.yaml": "new"})

	write(t, "deep", dir, "x/y/z/c.json")
	until(t, d, map[string]string{"b.yaml": "new", "x/y/z/c.json": "deep"})

	write(t, "deeper", dir, "x/y/z/c.json")
	until(t, d, map[string]string{"b.yaml": "new", "x/y/z/c.json": "deeper"})

	do(t, os.Rename(filepath.Join(dir, "x", "y"), filepath.Join(dir, "moved")))
	until(t, d, map[string]string{"b.yaml": "new", "moved/z/c.json": "deeper"})

	write(t, "after the move", dir, "moved/z/c.json")
	until(t, d, map[string]string{"b.yaml": "new", "moved/z/c.json": "after the move"})

	do(t, os.RemoveAll(filepath.Join(dir, "moved")))
	write(t, "again", dir, "moved/z/c.json")
	until(t, d, map[string]string{"b.yaml": "new", "moved/z/c.json": "again"})

	do(t, os.Remove(filepath.Join(dir, "b.yaml")))
	write(t, "a folder now", dir, "b.yaml/in.yaml")
	until(t, d, map[string]string{"b.yaml/in.yaml": "a folder now", "moved/z/c.json": "again"})
}

// What an editor or rsync leaves and takes away beside a file must not show.
func TestEditorsTricks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := write(t, "one", dir, "a.yaml")
	d := open(t, dir)
	fetch(t, d)
	// Vim: probe, swap file, back-up by renaming, new file under the old name.
	do(t, os.Remove(write(t, "", dir, "4913")))
	write(t, "swap", dir, ".a.yaml.swp")
	do(t, os.Rename(a, a+"~"))
	write(t, "two", a)
	do(t, os.Remove(a+"~"))
	until(t, d, map[string]string{"a.yaml": "two"})
}

func TestOpenFilesCountWhenClosed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, "old", dir, "a.yaml")
	d := patient(t, dir)
	fetch(t, d)
	f, err := os.OpenFile(filepath.Join(dir, "a.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
	do(t, err)
	g, err := os.Create(filepath.Join(dir, "b.yaml"))
	do(t, err)
	for range 5 {
		_, err = f.WriteString("half ")
		do(t, err)
		_, err = g.WriteString("half ")
		do(t, err)
		time.Sleep(20 * time.Millisecond)
		set, err := d.Fetch(context.Background())
		do(t, err)
		var names []string
		for _, f := range set.Files {
			names = append(names, f.Name)
		}
		if diff := cmp.Diff([]string{"a.yaml"}, names); diff != "" {
			t.Fatalf("while b.yaml is written (-want +got):\n%s", diff)
		}
		if set.Files[0].Hash != source.NewFile("", []byte("old")).Hash {
			t.Fatal("half a file was read")
		}
	}
	do(t, f.Close())
	do(t, g.Close())
	whole := strings.Repeat("half ", 5)
	until(t, d, map[string]string{"a.yaml": whole, "b.yaml": whole})
}

// A folder that comes with a file that is being written: there were no events that could tell.
func TestOpenFilesInNewFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := patient(t, dir)
	fetch(t, d)
	do(t, os.Mkdir(filepath.Join(dir, ".new"), 0o755))
	f, err := os.Create(filepath.Join(dir, ".new", "a.yaml"))
	do(t, err)
	_, err = f.WriteString("half")
	do(t, err)
	do(t, os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, "new")))
	if got := fetch(t, d); len(got) > 0 {
		t.Errorf("read while it is written: %v", got)
	}
	_, err = f.WriteString(" and half")
	do(t, err)
	do(t, f.Close())
	until(t, d, map[string]string{"new/a.yaml": "half and half"})
}

// A file that is closed while it is found open is read at once, and not only when its writer has been silent for long.
func TestClosedWhileItIsLookedAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, "old", dir, "a.yaml")
	d := open(t, dir)
	fetch(t, d)
	if d.ClosedMeanwhile("a.yaml") {
		t.Error("it is closed, and is waited for")
	}
}

// The kernel tells that a file was closed a moment before it lets it go: who is found to have it open then is not waited for as long as
// one who writes.
func TestFoundOpenIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, "text", dir, "a.yaml")
	d := open(t, dir)
	d.Patience(time.Hour, time.Hour)
	fetch(t, d)
	d.FoundOpen("a.yaml")
	until(t, d, map[string]string{"a.yaml": "text"})
}

// Somebody who never closes a file must not keep it from counting.
func TestSilentWritersAreNotWaitedForLong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	fetch(t, d)
	f, err := os.Create(filepath.Join(dir, "a.yaml"))
	do(t, err)
	defer f.Close()
	_, err = f.WriteString("all")
	do(t, err)
	until(t, d, map[string]string{"a.yaml": "all"})
}

// Kubernetes mounts: visible links through ..data, which is swapped by a rename.
func TestKubernetesVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	version := func(v string, files map[string]string) {
		t.Helper()
		for name, text := range files {
			write(t, text, dir, "..v"+v, name)
		}
		do(t, os.Symlink("..v"+v, filepath.Join(dir, "..data_tmp")))
		do(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("1", map[string]string{"a.yaml": "a1", "b.yaml": "b1"})
	do(t, os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")))
	do(t, os.Symlink("..data/b.yaml", filepath.Join(dir, "b.yaml")))
	d := open(t, dir)
	if diff := cmp.Diff(map[string]string{"a.yaml": "a1", "b.yaml": "b1"}, fetch(t, d)); diff != "" {
		t.Fatalf("first (-want +got):\n%s", diff)
	}
	version("2", map[string]string{"a.yaml": "a2", "b.yaml": "b2"})
	do(t, os.RemoveAll(filepath.Join(dir, "..v1")))
	until(t, d, map[string]string{"a.yaml": "a2", "b.yaml": "b2"})

	// A key that goes: its link dangles for a moment, which is no reason to take an API away early, or for ever.
	version("3", map[string]string{"a.yaml": "a3"})
	untilError(t, d, filepath.Join(dir, "b.yaml"), "leads nowhere")
	do(t, os.Remove(filepath.Join(dir, "b.yaml")))
	until(t, d, map[string]string{"a.yaml": "a3"})
}

func TestLinksToElsewhere(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	target := write(t, "one", other, "real.txt")
	write(t, "in", other, "folder/in.yaml")
	do(t, os.Symlink(target, filepath.Join(dir, "a.yaml")))
	do(t, os.Symlink(filepath.Join(other, "folder"), filepath.Join(dir, "linked")))
	d := open(t, dir)
	if diff := cmp.Diff(map[string]string{"a.yaml": "one", "linked/in.yaml": "in"}, fetch(t, d)); diff != "" {
		t.Fatalf("first (-want +got):\n%s", diff)
	}
	write(t, "two", target)
	until(t, d, map[string]string{"a.yaml": "two", "linked/in.yaml": "in"})
	write(t, "in two", other, "folder/in.yaml")
	until(t, d, map[string]string{"a.yaml": "two", "linked/in.yaml": "in two"})
	write(t, "more", other, "folder/sub/more.yaml")
	until(t, d, map[string]string{"a.yaml": "two", "linked/in.yaml": "in two", "linked/sub/more.yaml": "more"})
	do(t, os.Remove(filepath.Join(dir, "linked")))
	until(t, d, map[string]string{"a.yaml": "two"})
}

// A release that is switched by one link, and a root that goes and comes back.
func TestTheRootItselfIsSwapped(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	write(t, "one", base, "r1/a.yaml")
	write(t, "two", base, "r2/sub/b.yaml")
	current := filepath.Join(base, "current")
	do(t, os.Symlink("r1", current))
	d := open(t, current)
	if diff := cmp.Diff(map[string]string{"a.yaml": "one"}, fetch(t, d)); diff != "" {
		t.Fatalf("first (-want +got):\n%s", diff)
	}
	do(t, os.Symlink("r2", current+".new"))
	do(t, os.Rename(current+".new", current))
	until(t, d, map[string]string{"sub/b.yaml": "two"})

	do(t, os.Rename(filepath.Join(base, "r2"), filepath.Join(base, "away")))
	untilError(t, d, current, "no such file")
	write(t, "three", base, "r2/c.yaml")
	until(t, d, map[string]string{"c.yaml": "three"})
}

func TestSingleFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := write(t, "one", dir, "a.yaml")
	write(t, "other", dir, "b.yaml")
	d := open(t, a)
	if diff := cmp.Diff(map[string]string{"a.yaml": "one"}, fetch(t, d)); diff != "" {
		t.Fatalf("first (-want +got):\n%s", diff)
	}
	do(t, os.Rename(write(t, "two", dir, "tmp"), a))
	until(t, d, map[string]string{"a.yaml": "two"})
	write(t, "three", a)
	until(t, d, map[string]string{"a.yaml": "three"})
}

func TestFaultsNameThePath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		make  func(dir string) error
		parts []string
	}{
		{"folder loop", func(dir string) error { return os.Symlink("..", filepath.Join(dir, "sub", "loop")) }, []string{"sub/loop", "leads back to"}},
		{"folder loop of two", func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "p"), 0o755), os.Mkdir(filepath.Join(dir, "q"), 0o755),
				os.Symlink("../q", filepath.Join(dir, "p", "to-q")), os.Symlink("../p", filepath.Join(dir, "q", "to-p")))
		}, []string{"p/to-q/to-p", "q/to-p/to-q"}},
		{"file loop", func(dir string) error { return os.Symlink("loop.yaml", filepath.Join(dir, "loop.yaml")) }, []string{"loop.yaml", "circle"}},
		{"dangling", func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "x.yaml")) }, []string{"x.yaml", "leads nowhere"}},
		{"pipe", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "x.json"), 0o600) }, []string{"x.json", "not a regular file"}},
		{"unreadable file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "x.cue"), nil, 0) }, []string{"x.cue", "permission denied"}},
		{"unreadable folder", func(dir string) error { return os.Mkdir(filepath.Join(dir, "locked"), 0) }, []string{"locked", "permission denied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(c.name, "unreadable") && os.Getuid() == 0 {
				t.Skip("root reads everything")
			}
			dir := t.TempDir()
			write(t, "fine", dir, "sub", "a.yaml")
			d := open(t, dir)
			fetch(t, d)
			do(t, c.make(dir))
			untilError(t, d, append(c.parts, dir)...)
			set, err := watch.ReadPaths([]string{dir}, nil)
			wantError(t, err, append(c.parts, dir)...)
			if got := texts(t, set); got[filepath.Join(dir, "sub/a.yaml")] != "fine" {
				t.Errorf("one fault hid the rest: %v", got)
			}
		})
	}
}

func TestHealedFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	do(t, os.Symlink("later.txt", filepath.Join(dir, "a.yaml")))
	if _, err := d.Fetch(context.Background()); err == nil {
		t.Fatal("no error")
	}
	write(t, "here", dir, "later.txt")
	until(t, d, map[string]string{"a.yaml": "here"})
}

func TestBytesKeepTheirPromise(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := write(t, "one", dir, "a.yaml")
	d := open(t, dir)
	set, err := d.Fetch(context.Background())
	do(t, err)
	for range 2 { // from memory, then from the disk
		if b, err := set.Files[0].Bytes(); err != nil || string(b) != "one" {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	write(t, "two", a)
	if _, err := set.Files[0].Bytes(); !errors.Is(err, watch.ErrChanged) {
		t.Errorf("error = %v, want ErrChanged", err)
	}
}

func TestHugeFilesAreCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := write(t, "", dir, "a.yaml")
	do(t, os.Truncate(a, 3*source.MaxFileSize))
	set, err := watch.ReadPaths([]string{a}, nil)
	do(t, err)
	b, err := set.Files[0].Bytes()
	do(t, err)
	if len(b) != source.MaxFileSize+1 {
		t.Errorf("%d bytes, want one more than %d", len(b), source.MaxFileSize)
	}
}

func TestRescanFindsWhatEventsDidNotTell(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := watch.Dir(dir, watch.Options{Rescan: 20 * time.Millisecond})
	do(t, err)
	fetch(t, d)
	select {
	case <-d.Changed():
	case <-time.After(time.Minute):
		t.Fatal("nobody looked again")
	}
	do(t, d.Close())
	if _, err := d.Fetch(context.Background()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error after Close = %v", err)
	}
}

func TestOverflow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, "one", dir, "sub/a.yaml")
	d := open(t, dir)
	fetch(t, d)
	d.Deafen()
	write(t, "another", dir, "sub/a.yaml")
	write(t, "new", dir, "b.yaml")
	d.Overflow()
	until(t, d, map[string]string{"b.yaml": "new", "sub/a.yaml": "another"})
	write(t, "heard again", dir, "sub/a.yaml")
	until(t, d, map[string]string{"b.yaml": "new", "sub/a.yaml": "heard again"})
}

func TestWithoutInotify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, "one", dir, "sub/a.yaml")
	do(t, os.Symlink("sub/a.yaml", filepath.Join(dir, "l.yaml")))
	d := watch.Blind(dir, watch.Options{Rescan: 20 * time.Millisecond})
	t.Cleanup(func() { do(t, d.Close()) })
	fetch(t, d)
	write(t, "another", dir, "sub/a.yaml")
	until(t, d, map[string]string{"sub/a.yaml": "another", "l.yaml": "another"})
}

func TestDirOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := watch.Dir(filepath.Join(dir, "no"), watch.Options{})
	wantError(t, err, filepath.Join(dir, "no"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v is not fs.ErrNotExist", err)
	}
	_, err = watch.Dir(write(t, "", dir, "x.txt"), watch.Options{})
	wantError(t, err, "x.txt", ".yaml")
}

func TestCancelledFetchLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, "one", dir, "a.yaml")
	d := open(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error = %v", err)
	}
	if diff := cmp.Diff(map[string]string{"a.yaml": "one"}, fetch(t, d)); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

func many(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	for i := range 10000 {
		write(b, fmt.Sprintf("kind: ApiInstance\nname: api-%d\n%s", i, strings.Repeat("# filler\n", 150)), dir, fmt.Sprintf("team-%02d", i%100), fmt.Sprintf("api-%05d.yaml", i))
	}
	return dir
}

func BenchmarkFetchOneChangeOf10000(b *testing.B) {
	dir := many(b)
	d := open(b, dir)
	if _, err := d.Fetch(context.Background()); err != nil {
		b.Fatal(err)
	}
	next := filepath.Join(dir, ".next")
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		write(b, fmt.Sprintf("kind: ApiInstance\nn: %d\n", i), next)
		do(b, os.Rename(next, filepath.Join(dir, "team-07", "api-00007.yaml")))
		<-d.Changed()
		b.StartTimer()
		if _, err := d.Fetch(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadPaths10000(b *testing.B) {
	dir := many(b)
	for b.Loop() {
		if _, err := watch.ReadPaths([]string{dir}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRescan10000(b *testing.B) {
	dir := many(b)
	time.Sleep(100 * time.Millisecond) // until stamps can be trusted
	for b.Loop() {
		b.StopTimer()
		d := open(b, dir)
		if _, err := d.Fetch(context.Background()); err != nil {
			b.Fatal(err)
		}
		d.Rescan()
		b.StartTimer()
		if _, err := d.Fetch(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
