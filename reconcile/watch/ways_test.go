package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// edition is the n-th content of a file: every line says n, and there are as many as the last line says. What is torn shows.
func edition(n int) string {
	lines := 40 + n*7%400
	return strings.Repeat(fmt.Sprintf("edition: %d\n", n), lines) + fmt.Sprintf("lines: %d\n", lines)
}

// whole returns the edition of a content.
func whole(text string) (int, error) {
	var n, lines int
	if _, err := fmt.Sscanf(text, "edition: %d\n", &n); err != nil {
		return 0, fmt.Errorf("%.60q: %w", text, err)
	}
	last := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n")
	if _, err := fmt.Sscanf(text[last+1:], "lines: %d\n", &lines); err != nil || text != edition(n) {
		return 0, fmt.Errorf("torn: %d bytes that begin with edition %d", len(text), n)
	}
	return n, nil
}

// ways are how people and programs write the file a.yaml of a folder.
var ways = []struct {
	name  string
	write func(dir string, n int, text string) error
}{
	{"in place", func(dir string, _ int, text string) error {
		return os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(text), 0o644)
	}},
	{"in place, in pieces", func(dir string, _ int, text string) error {
		return pieces(filepath.Join(dir, "a.yaml"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, text)
	}},
	{"truncated, then appended to", func(dir string, _ int, text string) error {
		f, err := os.OpenFile(filepath.Join(dir, "a.yaml"), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		return errors.Join(f.Truncate(0), pieces(f.Name(), os.O_WRONLY|os.O_APPEND, text))
	}},
	{"rename", func(dir string, _ int, text string) error { return replace(dir, ".a.yaml.tmp", text) }},
	{"rename from another folder", func(dir string, _ int, text string) error {
		from := filepath.Join(filepath.Dir(dir), "elsewhere.yaml")
		return errors.Join(os.WriteFile(from, []byte(text), 0o644), os.Rename(from, filepath.Join(dir, "a.yaml")))
	}},
	{"vim: back-up by renaming", func(dir string, _ int, text string) error {
		a := filepath.Join(dir, "a.yaml")
		_ = os.Rename(a, a+"~")
		return errors.Join(os.WriteFile(a, []byte(text), 0o644), os.RemoveAll(a+"~"))
	}},
	{"vim: back-up by copying", func(dir string, _ int, text string) error {
		a := filepath.Join(dir, "a.yaml")
		old, _ := os.ReadFile(a)
		return errors.Join(os.WriteFile(a+"~", old, 0o644), os.WriteFile(a, []byte(text), 0o644), os.Remove(a+"~"))
	}},
	{"emacs: lock, back-up, save", func(dir string, _ int, text string) error {
		a, lock := filepath.Join(dir, "a.yaml"), filepath.Join(dir, ".#a.yaml")
		err := os.Symlink("me@host.1:2", lock)
		_ = os.Rename(a, a+"~")
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "#a.yaml#"), []byte("half"), 0o644), pieces(a, os.O_WRONLY|os.O_CREATE, text),
			os.Remove(filepath.Join(dir, "#a.yaml#")), os.Remove(lock))
	}},
	{"rsync: hidden file, rename", func(dir string, n int, text string) error { return replace(dir, fmt.Sprintf(".a.yaml.%06d", n), text) }},
	{"rsync --inplace", func(dir string, _ int, text string) error {
		f, err := os.OpenFile(filepath.Join(dir, "a.yaml"), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		for at := 0; at < len(text) && err == nil; at += 700 {
			_, err = f.WriteAt([]byte(text[at:min(at+700, len(text))]), int64(at))
		}
		return errors.Join(err, f.Truncate(int64(len(text))), f.Close())
	}},
	{"Kubernetes: ..data", func(dir string, n int, text string) error {
		version := fmt.Sprintf("..%d", n)
		err := errors.Join(os.Mkdir(filepath.Join(dir, version), 0o755), os.WriteFile(filepath.Join(dir, version, "a.yaml"), []byte(text), 0o644),
			os.Symlink(version, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		if info, e := os.Lstat(filepath.Join(dir, "a.yaml")); e != nil || info.Mode()&os.ModeSymlink == 0 {
			_ = os.Remove(filepath.Join(dir, "a.yaml"))
			err = errors.Join(err, os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")))
		}
		return errors.Join(err, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..%d", n-1))))
	}},
	{"a link that is switched", func(dir string, n int, text string) error {
		target := filepath.Join(filepath.Dir(dir), fmt.Sprintf("real-%d", n))
		link := filepath.Join(dir, ".link")
		return errors.Join(os.WriteFile(target, []byte(text), 0o644), os.Symlink(target, link), os.Rename(link, filepath.Join(dir, "a.yaml")))
	}},
	{"cp", func(dir string, _ int, text string) error {
		from := filepath.Join(filepath.Dir(dir), "from.yaml")
		if err := os.WriteFile(from, []byte(text), 0o644); err != nil {
			return err
		}
		return exec.Command("cp", from, filepath.Join(dir, "a.yaml")).Run()
	}},
	{"a folder that is moved in", func(dir string, n int, text string) error {
		from, to := filepath.Join(filepath.Dir(dir), fmt.Sprintf("folder-%d", n)), filepath.Join(dir, "sub")
		err := errors.Join(os.Mkdir(from, 0o755), os.WriteFile(filepath.Join(from, "a.yaml"), []byte(text), 0o644))
		_ = os.Rename(to, filepath.Join(filepath.Dir(dir), fmt.Sprintf("old-%d", n)))
		return errors.Join(err, os.Rename(from, to))
	}},
	{"hard link", func(dir string, n int, text string) error {
		from, to := filepath.Join(filepath.Dir(dir), fmt.Sprintf("hard-%d", n)), filepath.Join(dir, ".hard")
		return errors.Join(os.WriteFile(from, []byte(text), 0o644), os.Link(from, to), os.Rename(to, filepath.Join(dir, "a.yaml")))
	}},
	{"deleted, and made again", func(dir string, _ int, text string) error {
		_ = os.Remove(filepath.Join(dir, "a.yaml"))
		return os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(text), 0o644)
	}},
	{"memory-mapped", func(dir string, _ int, text string) error {
		f, err := os.OpenFile(filepath.Join(dir, "a.yaml"), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Truncate(int64(len(text))); err != nil {
			return err
		}
		m, err := syscall.Mmap(int(f.Fd()), 0, len(text), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			return err
		}
		copy(m, text)
		return syscall.Munmap(m)
	}},
	{"with a hole that is filled", func(dir string, _ int, text string) error {
		f, err := os.OpenFile(filepath.Join(dir, "a.yaml"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		half := len(text) / 2
		_, late := f.WriteAt([]byte(text[half:]), int64(half))
		_, early := f.WriteAt([]byte(text[:half]), 0)
		return errors.Join(late, early, f.Close())
	}},
	{"two writers", func(dir string, n int, text string) error {
		first := make(chan error, 1)
		go func() { first <- replace(dir, ".one", text) }()
		err := replace(dir, ".two", text)
		return errors.Join(err, <-first)
	}},
	{"through a hidden folder", func(dir string, n int, text string) error {
		hidden := filepath.Join(dir, ".new")
		return errors.Join(os.MkdirAll(hidden, 0o755), pieces(filepath.Join(hidden, "a.yaml"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, text),
			os.Rename(filepath.Join(hidden, "a.yaml"), filepath.Join(dir, "a.yaml")))
	}},
}

func replace(dir, temp, text string) error {
	return errors.Join(os.WriteFile(filepath.Join(dir, temp), []byte(text), 0o644), os.Rename(filepath.Join(dir, temp), filepath.Join(dir, "a.yaml")))
}

func pieces(path string, flags int, text string) error {
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	for at := 0; at < len(text) && err == nil; at += 700 {
		_, err = f.WriteString(text[at:min(at+700, len(text))])
	}
	return errors.Join(err, f.Close())
}

// TestWays writes one file in every way that is known, over and over: each edition must be seen when it is there, without a
// rescan, and no mixture of two, nor half of one, may ever be.
func TestWays(t *testing.T) {
	t.Parallel()
	rounds := 30
	if os.Getenv("CHAOS") == "long" {
		rounds = 1000
	}
	if len(ways) < 20 {
		t.Errorf("only %d ways", len(ways))
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "source")
			do(t, os.Mkdir(dir, 0o755))
			d := patient(t, dir)
			fetch(t, d)
			looks, slowest := 0, time.Duration(0)
			for n := range rounds {
				written := make(chan error, 1)
				go func() { written <- w.write(dir, n, edition(n)) }()
				began := time.Now()
				for late := time.After(2 * time.Minute); ; {
					select {
					case <-d.Changed():
					case <-late:
						t.Fatalf("edition %d was missed", n)
					}
					looks++
					got, err := look(d)
					if err != nil {
						t.Fatalf("edition %d: %v", n, err)
					}
					if got > n {
						t.Fatalf("edition %d before it was written", got)
					}
					if got == n {
						break
					}
				}
				do(t, <-written)
				slowest = max(slowest, time.Since(began))
			}
			t.Logf("%d rounds, %d looks: nothing missed, nothing torn; the slowest was seen after %s", rounds, looks, slowest.Round(time.Millisecond))
		})
	}
}

// look returns the edition that a source has now; -1: none, or one that changes under the look, which another signal follows.
func look(s watch.Source) (int, error) {
	set, err := s.Fetch(context.Background())
	if err != nil || len(set.Files) == 0 {
		return -1, nil // a link or a folder on its way: what is served stays
	}
	b, err := set.Files[0].Bytes()
	if errors.Is(err, watch.ErrChanged) || errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	return whole(string(b))
}
