package disk_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := disk.Write(path, []byte(text), 0o644); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	write(t, path, "one")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o644 != 0 || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(path) // a reader in the middle of it
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("a", link); err != nil {
		t.Fatal(err)
	}
	write(t, link, "two")
	b := make([]byte, 10)
	if n, _ := old.Read(b); string(b[:n]) != "one" {
		t.Errorf("who had it open reads %q now", b[:n])
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 || read(t, path) != "two" {
		t.Errorf("%v, %v, %q", info.Mode(), err, read(t, path))
	}
	if got := names(t, dir); !slices.Equal(got, []string{"a", "link"}) {
		t.Errorf("%q is left", got)
	}
	if err := disk.Write(filepath.Join(dir, "none", "a"), nil, 0o644); err == nil {
		t.Error("a folder was made")
	}
	if err := disk.Replace(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a file was made")
	}
}

func TestWhatIsNoFileIsWrittenTo(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		b, _ := os.ReadFile(pipe)
		got <- string(b)
	}()
	write(t, pipe, "through")
	if s := <-got; s != "through" {
		t.Errorf("got %q", s)
	}
	if err := disk.Replace(pipe, nil); err == nil {
		t.Error("a pipe was replaced")
	}
	write(t, os.DevNull, "gone")
}

// TestAFolderTouchesItsOwnAlone: folders are named by users, who name the wrong one now and then.
func TestAFolderTouchesItsOwnAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	foreign := []string{".new-x", "entries", "letter.txt", "new-1", "thesis.md"}
	for _, n := range foreign {
		write(t, filepath.Join(dir, n), "dear")
		if err := os.Chtimes(filepath.Join(dir, n), t0, t0); err != nil {
			t.Fatal(err)
		}
	}
	f := disk.Folder{Dir: dir, Prefixes: []string{"entry-", "other-"}, Entries: 4}
	for i := range 20 {
		if err := f.Put([]string{"entry-", "other-"}[i%2]+string(rune('a'+i)), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	got := names(t, dir)
	for _, n := range foreign {
		if !slices.Contains(got, n) {
			t.Errorf("%s is gone", n)
		}
	}
	if n := len(got) - len(foreign); n < 3 || n > 4 {
		t.Errorf("%d entries are left: %q", n, got)
	}
	if _, ok := f.Get("other-t", 1); !ok {
		t.Error("the newest is gone")
	}
	if _, ok := f.Get("other-t", 0); ok {
		t.Error("there is no bound on what is read")
	}
}

var t0 = time.Unix(0, 0)
