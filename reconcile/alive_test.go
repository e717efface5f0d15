package reconcile_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// stuck is a source whose read does not end before it is told to.
type stuck struct {
	*fakeSource
	turn
}

// turn is a lock that synctest can see somebody wait for.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

func (s *stuck) Fetch(ctx context.Context) (source.Set, error) {
	s.Lock()
	defer s.Unlock()
	return s.fakeSource.Fetch(ctx)
}

func alive(w *world) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return w.loop.Alive(ctx)
}

// TestAliveIsTheLoopsOwn: a loop that hangs gives no sign of life, one that waits for the network does, but not for ever.
func TestAliveIsTheLoopsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang, from := make(turn, 1), stuck{turn: make(turn, 1)}
		looked := 0
		w := run(t, func(w *world) {
			build := w.loop.Build
			w.loop.Build = func(ctx context.Context, set source.Set) (reconcile.Built, diag.List) {
				hang.Lock()
				defer hang.Unlock()
				return build(ctx, set)
			}
			from.fakeSource = w.source
			w.loop.Source = &from
			w.loop.Looked = func() { looked++ }
		})
		w.source.put(api(3), nil)
		settle(time.Second)
		if err := alive(w); err != nil || looked != 1 {
			t.Errorf("a loop that runs: %v; looked %d times for the first time", err, looked)
		}
		hang.Lock()
		w.source.put(api(4), nil)
		settle(time.Second)
		if alive(w) == nil {
			t.Error("a loop that hangs gave a sign of life")
		}
		hang.Unlock()
		settle(time.Second)
		if err := alive(w); err != nil {
			t.Error(err)
		}
		from.Lock()
		w.source.put(api(5), nil)
		settle(10 * time.Minute)
		if err := alive(w); err != nil {
			t.Errorf("a loop that waits for its source is not dead: %v", err)
		}
		settle(6 * time.Minute)
		if alive(w) == nil {
			t.Error("a read of the source that never ends is life")
		}
		from.Unlock()
		settle(time.Second)
		if err := alive(w); err != nil || looked != 1 {
			t.Errorf("%v; looked %d times for the first time", err, looked)
		}
	})
}

func TestLookReadsASourceThatSaidNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.source.put(api(3), nil)
		settle(time.Second)
		before := w.source.count()
		if err := w.loop.Look(t.Context()); err != nil || w.source.count() != before+1 {
			t.Errorf("%v; read %d times, want %d", err, w.source.count(), before+1)
		}
	})
}

// A look at a Git source asks the remote, and what the remote has is judged when it returns.
func TestLookAsksTheRemote(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	commit := func(text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "api.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out []byte
		for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgSign=false", "commit", "-q", "-m", "x"}, {"rev-parse", "HEAD"}} {
			cmd := exec.CommandContext(t.Context(), "git", args...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
			var err error
			if out, err = cmd.Output(); err != nil {
				t.Fatalf("git %s: %v", args, err)
			}
		}
		return strings.TrimSpace(string(out))
	}
	commit("kind: Nothing\n")
	u, err := watch.ParseGitURL("file://" + dir)
	if err != nil {
		t.Fatal(err)
	}
	git, err := watch.Git(watch.GitOptions{URLs: []watch.GitURL{u}, Ref: "main", Dir: filepath.Join(t.TempDir(), "git"), Interval: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { git.Close() })
	w := run(t, func(w *world) { w.loop.Source = git })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, text := range []string{"one", "two", "three"} {
		want := commit("kind: Nothing\nmore: " + text + "\n")
		if err := w.loop.Look(ctx); err != nil {
			t.Fatal(err)
		}
		if f := w.loop.Summary().LastFailed; f == nil || f.Revision != want {
			t.Errorf("judged is %+v, want %s", f, want)
		}
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := w.loop.Look(ctx); err != nil {
		t.Fatal(err)
	}
	if c, _ := w.loop.Summary().Condition(status.Fetched); c.Status != status.False {
		t.Errorf("the remote is away, and Fetched is %+v", c)
	}
}
