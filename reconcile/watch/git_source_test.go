package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/source"
)

// remote is a bare repository with a work tree to push from.
type remote struct {
	*repo
	bare string
}

func newRemote(t testing.TB) *remote {
	t.Helper()
	r := &remote{newRepo(t), filepath.Join(t.TempDir(), "gateway.git")}
	r.in(filepath.Dir(r.bare), "init", "-q", "--bare", "-b", "main", r.bare)
	r.git("remote", "add", "origin", r.bare)
	return r
}

func (r *remote) push(name, text string) string {
	r.t.Helper()
	r.write(name, text)
	id := r.commit("change " + name + "\n\nbody")
	r.git("push", "-q", "--force", "origin", "HEAD")
	return id
}

// smart serves repositories as git itself does over HTTP; before may answer in its place.
func smart(t testing.TB, r *remote, before func(w http.ResponseWriter, q *http.Request) bool) *httptest.Server {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	h := &cgi.Handler{Stderr: io.Discard, Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if before == nil || !before(w, q) {
			h.ServeHTTP(w, q)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func gitURL(t testing.TB, text string) watch.GitURL {
	t.Helper()
	u, err := watch.ParseGitURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// follow follows URLs and looks only when it is told to.
func follow(t testing.TB, o watch.GitOptions, urls ...string) *watch.GitSource {
	t.Helper()
	for _, u := range urls {
		o.URLs = append(o.URLs, gitURL(t, u))
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "git")
	}
	if o.Interval == 0 {
		o.Interval = time.Hour
	}
	if o.Limits.Silent == 0 { // who asks for a look gets one that begins then, however slow the server is
		o.Limits.Silent = time.Hour
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	s, err := watch.Git(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// looked is what a look brings.
func looked(t testing.TB, s *watch.GitSource) (source.Set, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := s.Look(ctx); err != nil {
		t.Fatal(err)
	}
	return s.Fetch(ctx)
}

// TestASilentServerIsNamed: while nobody answers, it is said who does not and since when, to who asks for a look too. Who asks for one
// then gets what is there when they ask, though the server says at last what it saw before, and what they allowed is allowed; should it
// go on saying nothing, they wait for no second silence.
func TestASilentServerIsNamed(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	var silent atomic.Bool
	var lists, waits atomic.Int32
	free := make(chan bool) // false: it breaks off
	t.Cleanup(sync.OnceFunc(func() { close(free) }))
	backend := smart(t, r, nil).Config.Handler
	h := smart(t, r, func(w http.ResponseWriter, q *http.Request) bool {
		if strings.HasSuffix(q.URL.Path, "/info/refs") {
			lists.Add(1)
		}
		if !silent.Load() {
			return false
		}
		seen := httptest.NewRecorder() // what there is when it is asked
		backend.ServeHTTP(seen, q)
		waits.Add(1)
		select {
		case ok := <-free:
			if !ok {
				return true
			}
		case <-q.Context().Done():
		}
		w.Header().Set("Content-Type", seen.Header().Get("Content-Type"))
		w.WriteHeader(seen.Code)
		_, _ = w.Write(seen.Body.Bytes())
		return true
	})
	url := h.URL + "/gateway.git"
	s := follow(t, watch.GitOptions{Limits: watch.GitLimits{Silent: 50 * time.Millisecond, Idle: time.Hour}}, url)
	if set, err := looked(t, s); err != nil || set.Revision != first {
		t.Fatal(set.Revision, err)
	}
	if who, since := s.Silent(); who != "" || !since.IsZero() {
		t.Errorf("nobody was asked, and %q is silent since %s", who, since)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatal(what)
			}
		}
	}
	silent.Store(true)
	short, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now().Add(-time.Second)
	ended := make(chan error, 1)
	go func() { ended <- s.Look(short) }()
	wait("the server is asked, and not said to be silent", func() bool { who, _ := s.Silent(); return who != "" && waits.Load() == 1 })
	cancel()
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), url+" was asked, and has said nothing since 20") || !errors.Is(err, context.Canceled) {
		t.Errorf("a look that has no answer: %v", err)
	}
	if who, since := s.Silent(); who != url || since.Before(began) || since.After(time.Now()) {
		t.Errorf("%q is silent since %s", who, since)
	}
	if set, err := s.Fetch(t.Context()); err != nil || set.Revision != first {
		t.Errorf("what was taken is not there: %s %v", set.Revision, err)
	}
	asks := func() (done chan error) {
		t.Helper()
		late := s.Late()
		done = make(chan error, 1)
		go func() { done <- s.Look(t.Context()) }()
		wait("who asks while the server is silent does not wait for its answer", func() bool { return s.Late() > late })
		return done
	}
	r.push("a.yaml", "2")
	r.git("reset", "-q", "--hard", first)
	other := r.push("a.yaml", "another history")
	if err := s.Allow(other); err != nil {
		t.Fatal(err)
	}
	before, done := lists.Load(), asks()
	silent.Store(false)
	free <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if set, err := s.Fetch(t.Context()); err != nil || set.Revision != other || lists.Load() != before+1 {
		t.Errorf("after the answer: %s, want %s; %d lists of refs more, %v", set.Revision, other, lists.Load()-before, err)
	}
	if who, _ := s.Silent(); who != "" {
		t.Errorf("%q has answered", who)
	}
	silent.Store(true)
	s.Poke()
	wait("the server is asked, and not said to be silent", func() bool { who, _ := s.Silent(); return who != "" && waits.Load() == 2 })
	done = asks()
	free <- false
	select { // a second look would be met with silence, too
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the server broke off, and another look is waited for")
	}
	if _, err := s.Fetch(t.Context()); err == nil {
		t.Error("it broke off, and nothing is said of it")
	}
}

// TestARepositoryIsFollowed: over every way that needs no credentials, from the first commit on.
func TestARepositoryIsFollowed(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"file", "http"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			r := newRemote(t)
			r.write("prod/a.yaml", "a: 1")
			r.write("README.md", "no declaration")
			r.push("prod/b.yaml", "b: 1")
			url := "file://" + r.bare
			if way == "http" {
				url = smart(t, r, nil).URL + "/gateway.git"
			}
			s := follow(t, watch.GitOptions{Path: "prod"}, url)
			set, err := looked(t, s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"prod/a.yaml": "a: 1", "prod/b.yaml": "b: 1"}, contents(t, set)); diff != "" {
				t.Error(diff)
			}
			first := set
			for range s.Changed() {
				break
			}
			for i := range 3 {
				id := r.push("prod/b.yaml", strings.Repeat("x", i))
				if set, err = looked(t, s); err != nil {
					t.Fatal(err)
				}
				if set.Revision != id || set.Commit == nil || set.Commit.ID != id || set.Commit.Author != "a <a@example.org>" || set.Commit.Subject != "change prod/b.yaml" {
					t.Fatalf("got %s %+v, want %s", set.Revision, set.Commit, id)
				}
				if got := contents(t, set)["prod/b.yaml"]; got != strings.Repeat("x", i) {
					t.Errorf("got %q", got)
				}
				if set.Files[0].Hash != first.Files[0].Hash || set.Files[1].Hash == first.Files[1].Hash {
					t.Error("the hashes do not say what changed")
				}
				select {
				case <-s.Changed():
				default:
					t.Error("no change was told")
				}
			}
			contents(t, first) // can still be read
		})
	}
}

// TestNothingNewIsNoFetch: a look at a remote that did not move asks for its refs alone.
func TestNothingNewIsNoFetch(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	r.push("a.yaml", "1")
	var posts, gets atomic.Int32
	h := smart(t, r, func(_ http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodPost {
			posts.Add(1)
		} else {
			gets.Add(1)
		}
		return false
	})
	s := follow(t, watch.GitOptions{}, h.URL+"/gateway.git")
	for range 5 {
		if _, err := looked(t, s); err != nil {
			t.Fatal(err)
		}
	}
	if posts.Load() != 1 || gets.Load() < 5 {
		t.Errorf("%d fetches and %d lists of refs for one commit", posts.Load(), gets.Load())
	}
}

// TestRewrittenHistoryIsRefused: a force-push, an old head put back, and what an operator allows by name.
func TestRewrittenHistoryIsRefused(t *testing.T) {
	t.Parallel()
	for _, verify := range []bool{false, true} {
		r := newRemote(t)
		first := r.push("a.yaml", "1")
		second := r.push("a.yaml", "2")
		o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git")}
		if verify {
			o.Verify = func(context.Context, watch.History) error { return nil }
		}
		s := follow(t, o, "file://"+r.bare)
		if set, err := looked(t, s); err != nil || set.Revision != second {
			t.Fatal(set.Revision, err)
		}
		// An old head is put back: a replay.
		r.git("push", "-q", "--force", "origin", first+":refs/heads/main")
		_, err := looked(t, s)
		var rewritten *watch.RewrittenError
		var e *watch.GitError
		if !errors.As(err, &rewritten) || rewritten.Old != second || rewritten.New != first || rewritten.Older != verify || !errors.As(err, &e) || e.Reason() != "HistoryRewritten" || e.Commit.ID != first || e.Commit.Author != "a <a@example.org>" {
			t.Fatalf("got %v", err)
		}
		// Another history.
		r.git("reset", "-q", "--hard", first)
		other := r.push("a.yaml", "other")
		if _, err = looked(t, s); !errors.As(err, &rewritten) || rewritten.New != other || rewritten.Older {
			t.Fatalf("got %v", err)
		}
		// A restart forgets nothing, nor does the loss of all objects.
		s.Close()
		s = follow(t, o, "file://"+r.bare)
		if _, err = looked(t, s); !errors.As(err, &rewritten) {
			t.Fatalf("after a restart: %v", err)
		}
		s.Close()
		for _, dir := range []string{"1", "2"} {
			if err := os.RemoveAll(filepath.Join(o.Dir, dir)); err != nil {
				t.Fatal(err)
			}
		}
		s = follow(t, o, "file://"+r.bare)
		if _, err = looked(t, s); !errors.As(err, &rewritten) || rewritten.Old != second {
			t.Fatalf("after the loss of the store: %v", err)
		}
		// Another commit than the allowed one is no exception; the allowed one is, once.
		if err := s.Allow(first); err != nil {
			t.Fatal(err)
		}
		if _, err = looked(t, s); !errors.As(err, &rewritten) {
			t.Fatalf("got %v", err)
		}
		if err := s.Allow(other[:39]); err == nil || !strings.Contains(err.Error(), "all 40 digits") {
			t.Errorf("the beginning of a hash: %v", err)
		}
		if err := s.Allow(other); err != nil {
			t.Fatal(err)
		}
		if set, err := looked(t, s); err != nil || set.Revision != other {
			t.Fatal(set.Revision, err)
		}
		r.git("push", "-q", "--force", "origin", second+":refs/heads/main")
		if _, err = looked(t, s); !errors.As(err, &rewritten) {
			t.Fatalf("got %v", err)
		}
		// What was allowed and not there is not kept for later.
		r.git("push", "-q", "--force", "origin", other+":refs/heads/main")
		if err := s.Allow(second); err != nil {
			t.Fatal(err)
		}
		if _, err := looked(t, s); err != nil {
			t.Fatal(err)
		}
		r.git("push", "-q", "--force", "origin", second+":refs/heads/main")
		if _, err = looked(t, s); !errors.As(err, &rewritten) {
			t.Fatalf("allowed for an earlier look: %v", err)
		}
		r.git("push", "-q", "--force", "origin", other+":refs/heads/main")
		if set, err := looked(t, s); err != nil || set.Revision != other {
			t.Fatal(set.Revision, err)
		}
		if s.Allow("main") == nil {
			t.Error("a name was taken for a commit")
		}
	}
}

// What was taken is in two files: the loss of one, or of the whole folder, lets no old head pass, and when no file can be read
// nothing is taken until an operator names a commit.
func TestWhatWasTakenIsNotForgotten(t *testing.T) {
	t.Parallel()
	remove := func(t *testing.T, name string) {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	write := func(t *testing.T, name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, x := range map[string]struct {
		damage func(t *testing.T, dir string)
		reason string
	}{
		"folder lost":       {func(t *testing.T, dir string) { remove(t, dir) }, "HistoryRewritten"},
		"file lost":         {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "taken.json")) }, "HistoryRewritten"},
		"file empty":        {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "taken.json"), "") }, "HistoryRewritten"},
		"file says nothing": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "taken.json"), "{}") }, "HistoryRewritten"},
		"copy lost":         {func(t *testing.T, dir string) { remove(t, dir+"-taken.json") }, "HistoryRewritten"},
		"copy empty":        {func(t *testing.T, dir string) { write(t, dir+"-taken.json", "") }, "HistoryRewritten"},
		"both broken": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "taken.json"), "")
			write(t, dir+"-taken.json", "{")
		}, "StateBroken"},
		"folder lost, copy broken": {func(t *testing.T, dir string) {
			remove(t, dir)
			write(t, dir+"-taken.json", "{")
		}, "StateBroken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemote(t)
			first := r.push("a.yaml", "1")
			second := r.push("a.yaml", "2")
			o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git")}
			s := follow(t, o, "file://"+r.bare)
			if set, err := looked(t, s); err != nil || set.Revision != second {
				t.Fatal(set.Revision, err)
			}
			s.Close()
			x.damage(t, o.Dir)
			r.git("push", "-q", "--force", "origin", first+":refs/heads/main")
			s = follow(t, o, "file://"+r.bare)
			_, err := looked(t, s)
			var e *watch.GitError
			if !errors.As(err, &e) || e.Reason() != x.reason || e.Commit == nil || e.Commit.ID != first || !strings.Contains(err.Error(), "flexgw sync --allow-rewrite "+first) {
				t.Fatalf("got %v, want %s", err, x.reason)
			}
			if x.reason == "StateBroken" && !strings.Contains(err.Error(), o.Dir+"-taken.json") {
				t.Errorf("%v does not name the file", err)
			}
			if err := s.Allow(first); err != nil {
				t.Fatal(err)
			}
			if set, err := looked(t, s); err != nil || set.Revision != first {
				t.Fatal(set.Revision, err)
			}
			s.Close()
			s = follow(t, o, "file://"+r.bare) // both files are whole again
			if set, err := looked(t, s); err != nil || set.Revision != first {
				t.Fatal(set.Revision, err)
			}
			one, err1 := os.ReadFile(filepath.Join(o.Dir, "taken.json"))
			two, err2 := os.ReadFile(o.Dir + "-taken.json")
			if err := errors.Join(err1, err2); err != nil || string(one) != string(two) || !strings.Contains(string(one), first) {
				t.Errorf("%s and %s, %v", one, two, err)
			}
		})
	}
}

// A store that the disk damaged is cloned anew, at the start or by the looks that follow, whatever of it is damaged; no old head passes.
func TestADamagedStoreIsClonedAnew(t *testing.T) {
	t.Parallel()
	overwrite := func(at int64, text string) func(t *testing.T, name string) {
		return func(t *testing.T, name string) {
			if err := os.Chmod(name, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if at < 0 {
				err = f.Truncate(-at - 1)
			} else {
				_, err = f.WriteAt([]byte(text), at)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, x := range map[string]struct {
		what   string
		damage func(t *testing.T, name string)
	}{
		"pack overwritten": {"*.pack", overwrite(12, strings.Repeat("x", 150))},
		"pack empty":       {"*.pack", overwrite(-1, "")},
		"pack cut":         {"*.pack", overwrite(-100, "")},
		"index empty":      {"*.idx", overwrite(-1, "")},
		"index garbled":    {"*.idx", overwrite(0, strings.Repeat("x", 1200))},
	} {
		for _, verify := range []bool{false, true} {
			for _, how := range []string{"started again", "started again, moved", "running, moved"} {
				t.Run(fmt.Sprintf("%s, verified %t, %s", name, verify, how), func(t *testing.T) {
					t.Parallel()
					r := newRemote(t)
					first := r.push("a.yaml", "1")
					head := r.push("b.yaml", strings.Repeat("b", 100))
					o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git")}
					if verify {
						o.Verify = func(_ context.Context, h watch.History) error {
							for _, err := range h.Commits() {
								if err != nil {
									return err
								}
							}
							return nil
						}
					}
					s := follow(t, o, "file://"+r.bare)
					if set, err := looked(t, s); err != nil || set.Revision != head {
						t.Fatal(set.Revision, err)
					}
					running := strings.HasPrefix(how, "running")
					if !running {
						s.Close()
					}
					files, err := filepath.Glob(filepath.Join(o.Dir, "*", "objects", "pack", x.what))
					if err != nil || len(files) == 0 {
						t.Fatal(files, err)
					}
					for _, f := range files {
						x.damage(t, f)
					}
					if strings.HasSuffix(how, "moved") {
						head = r.push("c.yaml", "3")
					}
					if !running {
						s = follow(t, o, "file://"+r.bare)
						set, err := looked(t, s)
						if err != nil || set.Revision != head {
							t.Fatal(set.Revision, err)
						}
						contents(t, set)
					}
					// It may be found out when the head is read, or when its files are.
					read := func() (string, error) {
						set, err := looked(t, s)
						if err != nil {
							if text := err.Error(); !strings.Contains(text, o.Dir) || !strings.Contains(text, "cloned anew") {
								t.Errorf("%v does not say where, and what becomes of it", err)
							}
							return "", err
						}
						for _, f := range set.Files {
							if _, err := f.Bytes(); err != nil {
								return "", err
							}
						}
						return set.Revision, nil
					}
					got, err := read()
					for tries := 0; err != nil && tries < 2; tries++ {
						got, err = read()
					}
					if err != nil || got != head {
						t.Fatal(got, err)
					}
					r.git("push", "-q", "--force", "origin", first+":refs/heads/main")
					_, err = looked(t, s)
					if err != nil && strings.Contains(err.Error(), "cloned anew") { // that head is what the disk damaged
						_, err = looked(t, s)
					}
					var old *watch.RewrittenError
					if !errors.As(err, &old) {
						t.Errorf("an old head: %v", err)
					}
				})
			}
		}
	}
}

// What is damaged may be a file that is read long after its head was taken: the next look clones anew.
func TestADamagedFileIsClonedAnew(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	r.push("a.yaml", strings.Repeat("0123456789abcdef", 4096))
	o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git")}
	s := follow(t, o, "file://"+r.bare)
	set, err := looked(t, s)
	if err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(o.Dir, "*", "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	info, err := os.Stat(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(packs[0], info.Size()-100); err != nil { // the file is the last object of a copy
		t.Fatal(err)
	}
	if _, err := set.Files[0].Bytes(); err == nil {
		t.Fatal("the file can be read all the same")
	}
	if set, err = looked(t, s); err != nil || len(contents(t, set)["a.yaml"]) != 1<<16 {
		t.Error(err)
	}
}
