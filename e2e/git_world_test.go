package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/status"
)

// A server that takes requests and says nothing: status says whose answer is waited for instead of that all is fetched, sync says
// on what it waits, and what is served stays. Once the server answers, that is what counts.
func TestAGitServerThatHangs(t *testing.T) {
	t.Parallel()
	f := prepareFollowed(t)
	f.Run()
	f.WaitReady()
	waitVersion(t, f.gateway, "1")
	f.write("api.yaml", version("2"))
	f.commit("the second version")
	f.hang.Store(true)
	if errs := f.sync(3, "--timeout", "5s"); !strings.Contains(errs, f.Source+" was asked, and has said nothing since 20") {
		t.Errorf("sync said %s", errs)
	}
	c, _ := f.report().Condition(status.Fetched)
	if c.Status != status.Unknown || c.Reason != "Fetching" || !strings.Contains(c.Message, f.Source+" was asked, and has said nothing since 20") {
		t.Errorf("Fetched is %+v", c)
	}
	waitVersion(t, f.gateway, "1")
	f.hang.Store(false)
	f.sync(0)
	waitVersion(t, f.gateway, "2")
	if c, _ := f.report().Condition(status.Fetched); c.Status != status.True {
		t.Errorf("Fetched is %+v", c)
	}
}

// notified is a notify socket of a service manager, and what came over it.
type notified struct {
	path string
	mu   sync.Mutex
	told []string // that next has not passed
	all  []string
}

func newNotified(t *testing.T, path string) *notified {
	t.Helper()
	n := &notified{path: path}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			size, err := l.Read(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			text := string(b[:size])
			n.told, n.all = append(n.told, text), append(n.all, text)
			n.mu.Unlock()
		}
	}()
	return n
}

// next waits for a datagram that matches, and forgets it and those before.
func (n *notified) next(t *testing.T, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	harness.Until(t, func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		for i, text := range n.told {
			if want.MatchString(text) {
				n.told = n.told[i+1:]
				return nil
			}
		}
		return fmt.Errorf("%q was not told: %q", pattern, n.told)
	})
}

// ever waits until something matches that was told at any time.
func (n *notified) ever(t *testing.T, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	harness.Until(t, func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !slices.ContainsFunc(n.all, want.MatchString) {
			return fmt.Errorf("%q was not told: %q", pattern, n.all)
		}
		return nil
	})
}

// SIGHUP has a repository looked at: the service manager is told that it is reloaded when what is there was judged, and also
// when nothing can be had.
func TestReloadOfARepository(t *testing.T) {
	t.Parallel()
	f := prepareFollowed(t)
	dir, err := os.MkdirTemp("", "fg-n") // short: of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := newNotified(t, filepath.Join(dir, "s"))
	f.Env = append(f.Env, "NOTIFY_SOCKET="+n.path)
	f.Run()
	n.next(t, `(?m)^READY=1$`)
	f.WaitReady()
	const reloading, ready = `(?m)^RELOADING=1\nMONOTONIC_USEC=\d+$`, `(?m)^READY=1$`
	reload := func() (reloaded time.Time) {
		t.Helper()
		if err := f.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		n.next(t, reloading)
		n.next(t, ready)
		return time.Now()
	}

	f.write("api.yaml", version("2"))
	second := f.commit("the second version")
	reloaded := reload()
	f.WaitLog("msg=accepted revision=" + second) // what was written before the datagram may be read after it
	judged := regexp.MustCompile(`time=(\S+) .*msg=accepted revision=` + second).FindStringSubmatch(f.Log())
	if at, err := time.Parse(time.RFC3339, judged[1]); err != nil || at.After(reloaded) {
		t.Errorf("reloaded before %s was judged, at %s: %v", second, at, err)
	}
	waitVersion(t, f.gateway, "2")

	f.down.Store(true)
	reload()
	if c, _ := f.report().Condition(status.Fetched); c.Reason != "SourceUnavailable" {
		t.Errorf("reloaded before it was known that nothing can be had: Fetched is %+v", c)
	}
	n.ever(t, `(?m)^STATUS=serving .*the source is away since 20`) // before or after READY=1
	waitVersion(t, f.gateway, "2")

	f.down.Store(false)
	f.write("api.yaml", strings.Replace(version("3"), "services:", "servces:", 1))
	f.commit("a mistake")
	reload()
	if c, _ := f.report().Condition(status.Accepted); c.Status != status.False {
		t.Errorf("reloaded before the mistake was judged: Accepted is %+v", c)
	}
	n.ever(t, `(?m)^STATUS=serving .*the newest revision is refused: `)
	waitVersion(t, f.gateway, "2")
}

// A state folder that cannot say which commit was taken last: nothing new is taken, since it may be old, until an operator names a
// commit; what was served is.
func TestAStateThatIsBroken(t *testing.T) {
	t.Parallel()
	f := prepareFollowed(t)
	f.Run()
	f.WaitReady()
	waitVersion(t, f.gateway, "1")
	harness.Until(t, func() error {
		if kept, err := filepath.Glob(filepath.Join(f.State, "last-good", "generations", "[0-9]*")); err != nil || len(kept) == 0 {
			return fmt.Errorf("nothing is kept: %v", err)
		}
		return nil
	})
	f.Kill()
	files := []string{filepath.Join(f.State, "git", "taken.json"), filepath.Join(f.State, "git-taken.json")}
	for _, name := range files {
		if _, err := os.Stat(name); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("\x00\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.write("api.yaml", version("2"))
	second := f.commit("the second version")
	f.Run()
	f.WaitReady()
	if errs := f.sync(3); !strings.Contains(errs, "which commit was taken last is not known") || !strings.Contains(errs, files[0]) || !strings.Contains(errs, "flexgw sync --allow-rewrite "+second) {
		t.Errorf("sync said %s", errs)
	}
	if c, _ := f.report().Condition(status.Fetched); c.Status != status.False || c.Reason != "StateBroken" {
		t.Errorf("Fetched is %+v", c)
	}
	waitVersion(t, f.gateway, "1")
	f.sync(0, "--allow-rewrite", second)
	waitVersion(t, f.gateway, "2")
	f.write("api.yaml", version("3"))
	f.commit("the third version")
	f.sync(0)
	waitVersion(t, f.gateway, "3")
}
