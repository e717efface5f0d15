package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
)

// followed is a gateway that follows a Git repository, behind git's own HTTP server. Its Dir is a work tree of it.
type followed struct {
	*gateway
	bare string
	down atomic.Bool // the server answers nobody
	hang atomic.Bool // it takes requests, and says nothing
}

func prepareFollowed(t testing.TB, args ...string) *followed {
	t.Helper()
	f := &followed{gateway: prepare(t, versioned, withArgs(append([]string{"--interval", "1h"}, args...)...))}
	f.bare = filepath.Join(t.TempDir(), "gateway.git")
	f.git("init", "-q", "--bare", "-b", "main", f.bare)
	f.git("init", "-q", "-b", "main")
	f.commit("the first version")
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	h := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(f.bare), "GIT_HTTP_EXPORT_ALL=1"}, Stderr: io.Discard}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		for f.hang.Load() && q.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		if _, secret, _ := q.BasicAuth(); f.down.Load() || secret != "s3cret-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, q)
	}))
	t.Cleanup(func() { f.hang.Store(false); s.Close() })
	f.Source = s.URL + "/gateway.git"
	f.Env = append(f.Env, "FLEXGW_GIT_TOKEN=s3cret-token")
	return f
}

func (f *followed) git(args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = f.Dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit pushes what is in the work tree.
func (f *followed) commit(message string) string {
	f.t.Helper()
	f.git("add", "-A")
	f.git("commit", "-q", "-m", message)
	f.git("push", "-q", "--force", f.bare, "HEAD:main")
	return f.git("rev-parse", "HEAD")
}

func (f *followed) sync(want int, args ...string) string {
	f.t.Helper()
	out, errs, code := harness.Command(f.t, append([]string{"sync", "--state-dir", f.State}, args...)...)
	if code != want {
		f.t.Fatalf("sync %v ended with %d, want %d: %s%s", args, code, want, out, errs)
	}
	return errs
}

// TestAGatewayFollowsARepository: a commit goes live with a poke, a force-push does not, an outage takes nothing away nor does a
// restart in the middle of it, and `git revert` goes back. No credential is said anywhere.
func TestAGatewayFollowsARepository(t *testing.T) {
	t.Parallel()
	f := prepareFollowed(t)
	f.Run()
	f.WaitReady()
	waitVersion(t, f.gateway, "1")
	x := harness.KeepAlive(t, 2, f.url(8081, "/shop/x"))

	f.write("api.yaml", version("2"))
	second := f.commit("the second version\n\nwith a body")
	f.sync(0)
	waitVersion(t, f.gateway, "2")
	if r := f.report(); r.Revision != second || r.Commit == nil || r.Commit.ID != second || r.Commit.Author != "Ann <ann@example.org>" || r.Commit.Subject != "the second version" {
		t.Errorf("revision %s, commit %+v, want %s", r.Revision, r.Commit, second)
	}

	f.git("reset", "-q", "--hard", "HEAD~1")
	f.write("api.yaml", version("evil"))
	evil := f.commit("another history")
	if errs := f.sync(3); !strings.Contains(errs, "history was rewritten: commit "+evil+" does not descend from "+second) {
		t.Errorf("sync said %s", errs)
	}
	fetched := func(reason, message string) {
		t.Helper()
		harness.Until(t, func() error {
			if c, _ := f.report().Condition(status.Fetched); c.Reason != reason || !strings.Contains(c.Message, message) {
				return fmt.Errorf("Fetched is %+v, not %s, %q", c, reason, message)
			}
			return nil
		})
	}
	fetched("HistoryRewritten", "flexgw sync --allow-rewrite "+evil)
	waitVersion(t, f.gateway, "2")
	f.git("push", "-q", "--force", f.bare, second+":main")
	f.sync(0)
	fetched("Fetched", "")

	f.down.Store(true)
	f.sync(3)
	fetched("SourceUnavailable", "have expired (since 20")
	f.waitSaved(second)
	f.Kill()
	f.Run()
	f.WaitReady()
	waitVersion(t, f.gateway, "2")
	if r := f.report(); r.Revision != second || r.Commit == nil || r.Commit.Subject != "the second version" {
		t.Errorf("after a restart: revision %s, commit %+v", r.Revision, r.Commit)
	}
	f.down.Store(false)

	f.git("reset", "-q", "--hard", second)
	f.git("revert", "--no-edit", "HEAD")
	f.git("push", "-q", f.bare, "HEAD:main")
	f.sync(0)
	waitVersion(t, f.gateway, "1")
	f.git("push", "-q", "--force", f.bare, evil+":main")
	f.sync(0, "--allow-rewrite", evil)
	waitVersion(t, f.gateway, "evil")
	if errs := f.sync(2, "--allow-rewrite", second); !strings.Contains(errs, "commit "+second+" was not taken: it is not the head of what this daemon follows, which is "+evil) {
		t.Errorf("sync said %s", errs)
	}
	waitVersion(t, f.gateway, "evil")
	x.End(t, -1)

	out, _, _ := harness.Command(t, "history", "--state-dir", f.State)
	for _, want := range []string{"Ann <ann@example.org>: the second version", "Refused", "SourceUnavailable", "SourceBack", "Ann <ann@example.org>: another history; "} {
		if !strings.Contains(out, want) {
			t.Errorf("the history has no %q:\n%s", want, out)
		}
	}
	for _, text := range []string{out, f.Log(), fmt.Sprintf("%+v", f.report())} {
		if strings.Contains(text, "s3cret-token") {
			t.Errorf("the token is said:\n%s", text)
		}
	}
	err := filepath.WalkDir(f.State, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), "s3cret-token") {
			t.Errorf("the token is in %s", p)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkCommitToLive is from the end of a push to the first answer of a real Envoy that shows the commit, from git's own HTTP
// server on loopback: the daemon is told over its socket.
func BenchmarkCommitToLive(b *testing.B) {
	dir, err := os.MkdirTemp("", "flexgw") // a socket's path is short
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	daemon := api.Client{Socket: socket}
	commitToLive(b, func(_, _ string) {
		go func() { _, _ = daemon.Sync(context.Background(), api.SyncRequest{}) }() // whether it goes live is what is waited for
	}, "--socket", socket)
}

// BenchmarkWebhookCommitToLive is the same with the webhook of a forge, from before it is posted.
func BenchmarkWebhookCommitToLive(b *testing.B) {
	secret := filepath.Join(b.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(hookSecret), 0o600); err != nil {
		b.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(harness.FreePort(b))
	commitToLive(b, func(repository, commit string) {
		if got := pushedTo(b, "http://"+address, hookSecret, repository, commit); got != http.StatusAccepted {
			b.Fatalf("the webhook was answered with %d", got)
		}
	}, "--hook-listen", address, "--hook-secret-file", secret)
}

// commitToLive pushes commits, tells of each, and reports how long it takes until one is live.
func commitToLive(b *testing.B, tell func(repository, commit string), args ...string) {
	f := prepareFollowed(b, append([]string{"--debounce", "0s"}, args...)...)
	f.Run()
	f.WaitReady()
	waitVersion(b, f.gateway, "1")
	c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	url := f.url(8081, "/shop/x")
	var took []time.Duration
	for i := 2; b.Loop(); i++ {
		want := strconv.Itoa(i)
		if i > 25 { // so many webhooks are taken without a pause
			time.Sleep(time.Second)
		}
		f.write("api.yaml", version(want))
		commit := f.commit("version " + want)
		began := time.Now()
		tell(f.Source, commit)
		for {
			res, err := c.Get(url)
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.Header.Get("x-version") == want {
				break
			}
			if time.Since(began) > 10*time.Second {
				b.Fatalf("commit %d is not live after 10 s", i)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
	b.ReportMetric(0, "ns/op")
}
