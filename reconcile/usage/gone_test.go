package usage_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/usage"
)

// Somebody removes or replaces what a ledger is kept in beside a daemon that runs: all of it is made again, and the next daemon has every
// count.
func TestRemovedBesideADaemon(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remove func(dir string) error
		alarm  string
	}{
		"folder": {os.RemoveAll, "the folder of the usage ledger was removed while the daemon ran"},
		"ledger": {func(dir string) error { return os.Remove(filepath.Join(dir, "ledger")) }, "the usage ledger was removed or replaced"},
		"lock":   {func(dir string) error { return os.Remove(filepath.Join(dir, "lock")) }, "the lock in it, was removed or replaced"},
		"folder replaced": {func(dir string) error { // by a copy that is older, with a log that was counted
			old := dir + ".old"
			if err := os.Rename(dir, old); err != nil {
				return err
			}
			return os.CopyFS(dir, os.DirFS(old))
		}, "the folder of the usage ledger, or the lock in it, was removed or replaced"},
		"ledger replaced": {func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, "ledger"))
			if err != nil {
				return err
			}
			if err := os.Remove(filepath.Join(dir, "ledger")); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "ledger"), b[:len(b)/2], 0o600)
		}, "the usage ledger was removed or replaced"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, now := filepath.Join(t.TempDir(), "usage"), time.Now()
			clock := func() time.Time { now = now.Add(time.Second); return now }
			l, err := usage.Open(dir, usage.Options{})
			if err != nil {
				t.Fatal(err)
			}
			g := newGateway(t, dir)
			g.open()
			tail := usage.NewTail(dir, l, usage.TailOptions{Reopen: g.reopen, Now: clock})
			look := func() {
				t.Helper()
				for range 3 {
					if err := tail.Look(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
			}
			g.request("ns/a", time.Now())
			look()
			if err := c.remove(dir); err != nil {
				t.Fatal(err)
			}
			g.request("ns/a", time.Now()) // into a file that has no name, which the tail still has
			look()
			g.request("ns/b", time.Now())
			look()
			same(t, l, g)
			alarm := ""
			for _, a := range l.State().Alarms {
				if a.Code == "removed" {
					alarm = a.Message
				}
			}
			if !strings.Contains(alarm, c.alarm) {
				t.Errorf("alarm %q", alarm)
			}
			was := l.State()
			if _, err := usage.Open(dir, usage.Options{}); err == nil {
				t.Error("another process got it")
			}
			if err := tail.Close(); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			next, err := usage.Open(dir, usage.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer next.Close()
			same(t, next, g)
			if is := next.State(); is.Replica != was.Replica || is.Epoch != was.Epoch || is.Gone {
				t.Errorf("it was %+v, and is %+v", was, is)
			}
		})
	}
}

// What can not be made again is said, nothing is counted until it can, and then all of it is.
func TestGoneUntilItCanBeMadeAgain(t *testing.T) {
	t.Parallel()
	dir, log, now := filepath.Join(t.TempDir(), "usage"), filepath.Join(t.TempDir(), "log"), time.Now()
	if err := os.Mkdir(log, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := usage.Open(dir, usage.Options{Now: func() time.Time { return now }, AccessLog: log})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := newGateway(t, log)
	g.open()
	tail := usage.NewTail(log, l, usage.TailOptions{Now: func() time.Time { return now }, Reopen: func(context.Context) error {
		if _, err := os.Stat(log); err != nil {
			return err
		}
		g.open()
		return nil
	}})
	look := func() error {
		now = now.Add(3 * time.Second)
		return tail.Look(context.Background())
	}
	g.request("ns/a", now)
	if err := look(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, nil, 0o600); err != nil { // a file is no folder
		t.Fatal(err)
	}
	if err := look(); err == nil || !l.State().Gone {
		t.Fatalf("got %v, %+v", err, l.State())
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	g.request("ns/a", now)
	if err := look(); err == nil || !l.State().Gone || !strings.Contains(err.Error(), "make it again, so that Envoy can write to it") {
		t.Fatalf("got %v, %+v", err, l.State())
	}
	if b := l.Backlog(); !strings.Contains(b.Unopened, log) {
		t.Errorf("backlog %+v", b)
	}
	codes := ""
	for _, a := range l.State().Alarms {
		codes += a.Code + " "
	}
	if codes != "gone " {
		t.Errorf("alarms %s", codes)
	}
	if err := os.Mkdir(log, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := look(); err != nil {
			t.Fatal(err)
		}
	}
	g.request("ns/b", now)
	if err := look(); err != nil || l.State().Gone {
		t.Fatalf("got %v, %+v", err, l.State())
	}
	same(t, l, g)
}
