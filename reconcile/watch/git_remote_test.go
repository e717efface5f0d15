package watch_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// TestCredentials: they are read anew at each use, and said nowhere.
func TestCredentials(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	var right atomic.Pointer[[2]string]
	h := smart(t, r, func(w http.ResponseWriter, q *http.Request) bool {
		user, secret, ok := q.BasicAuth()
		switch want := *right.Load(); {
		case !ok:
			w.WriteHeader(http.StatusUnauthorized)
		case user != want[0] || secret != want[1]:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "not %s", secret)
		default:
			return false
		}
		return true
	})
	url := h.URL + "/gateway.git"
	file := filepath.Join(t.TempDir(), "secret")
	const secret = "tok-5ecret-value"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (string, error) { b, err := os.ReadFile(file); return string(b), err }
	for user, auth := range map[string]watch.GitAuth{
		"x-access-token": {Token: read},
		"git":            {Password: read},
		"oauth2":         {Username: "oauth2", Token: read},
		"me":             {Username: "me", Password: read},
	} {
		right.Store(&[2]string{user, secret})
		write(secret)
		var log bytes.Buffer
		s := follow(t, watch.GitOptions{Auth: auth, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, url)
		if set, err := looked(t, s); err != nil || set.Revision != first {
			t.Errorf("%s: %v %v", user, set.Revision, err)
		}
		right.Store(&[2]string{user, "another"}) // it expires
		_, err := looked(t, s)
		var e *watch.GitError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "the credentials that were given are wrong, or have expired") || e.Reason() != "SourceUnavailable" || e.Since.IsZero() {
			t.Errorf("%s: got %v", user, err)
		}
		text := fmt.Sprintf("%v %+v %#v", err, auth, auth) + log.String()
		if strings.Contains(text, secret) {
			t.Errorf("a credential was said: %s", text)
		}
		write("another") // and is renewed
		if set, err := looked(t, s); err != nil || set.Revision != first {
			t.Errorf("%s, renewed: %v %v", user, set.Revision, err)
		}
		os.Remove(file)
		if _, err := looked(t, s); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%s, no file: %v", user, err)
		}
	}
	if _, err := looked(t, follow(t, watch.GitOptions{}, url)); err == nil || !strings.Contains(err.Error(), "no credentials were given: --git-token-file") {
		t.Errorf("without credentials: %v", err)
	}
	// Nobody on the way may read them.
	asked := false
	write(secret)
	s := follow(t, watch.GitOptions{Auth: watch.GitAuth{Token: read}, Dial: func(context.Context, string, string) (net.Conn, error) { asked = true; return nil, errors.New("no") }}, "http://git.example.org/x.git")
	if _, err := looked(t, s); err == nil || !strings.Contains(err.Error(), "credentials are not sent over http://") || asked {
		t.Errorf("got %v, asked: %v", err, asked)
	}
}

// TestAServerThatSaysASecret: what a server says of our credential is left out.
func TestAServerThatSaysASecret(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	r.push("a.yaml", "1")
	h := smart(t, r, func(w http.ResponseWriter, q *http.Request) bool {
		_, secret, _ := q.BasicAuth()
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		fmt.Fprint(w, line("ERR who is %s?", secret))
		return true
	})
	_, err := looked(t, follow(t, watch.GitOptions{Auth: watch.GitAuth{Token: func() (string, error) { return "tok-5ecret", nil }}}, h.URL+"/gateway.git"))
	if err == nil || strings.Contains(err.Error(), "tok-5ecret") || !strings.Contains(err.Error(), "who is [redacted]?") {
		t.Errorf("got %v", err)
	}
	h = smart(t, r, func(w http.ResponseWriter, q *http.Request) bool {
		_, secret, _ := q.BasicAuth()
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		fmt.Fprint(w, line("# service=git-upload-pack\n")+"0000"+line("%s capabilities^{}\x00symref=HEAD:refs/heads/%s\n", strings.Repeat("0", 40), secret)+"0000")
		return true
	})
	_, err = looked(t, follow(t, watch.GitOptions{Auth: watch.GitAuth{Token: func() (string, error) { return "tok-5ecret", nil }}}, h.URL+"/gateway.git"))
	var e *watch.GitError
	if !errors.As(err, &e) || strings.Contains(err.Error(), "tok-5ecret") || e.Reason() != "RefNotFound" {
		t.Errorf("got %v, want a refusal that stays one", err)
	}
}

// TestRedirects: within a host they are followed, elsewhere never, and no credential goes there.
func TestRedirects(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { t.Errorf("asked for %s with %v", q.URL, q.Header) }))
	defer elsewhere.Close()
	h := smart(t, r, func(w http.ResponseWriter, q *http.Request) bool {
		switch {
		case strings.HasPrefix(q.URL.Path, "/old/"):
			http.Redirect(w, q, "/gateway.git/"+strings.TrimPrefix(q.URL.Path, "/old/")+"?"+q.URL.RawQuery, http.StatusMovedPermanently)
		case strings.HasPrefix(q.URL.Path, "/away/"):
			http.Redirect(w, q, elsewhere.URL+"/x?secret=1", http.StatusFound)
		case strings.HasPrefix(q.URL.Path, "/round/"):
			http.Redirect(w, q, q.URL.String(), http.StatusFound)
		default:
			return false
		}
		return true
	})
	auth := watch.GitAuth{Token: func() (string, error) { return "token", nil }}
	if set, err := looked(t, follow(t, watch.GitOptions{Auth: auth}, h.URL+"/old")); err != nil || set.Revision != first {
		t.Errorf("within the host: %v %v", set.Revision, err)
	}
	_, err := looked(t, follow(t, watch.GitOptions{Auth: auth}, h.URL+"/away"))
	var e *watch.GitError
	if !errors.As(err, &e) || e.Reason() != "Redirected" || !strings.Contains(err.Error(), "it redirects to "+elsewhere.URL) || strings.Contains(err.Error(), "secret") {
		t.Errorf("elsewhere: %v", err)
	}
	if _, err = looked(t, follow(t, watch.GitOptions{Auth: auth}, h.URL+"/round")); err == nil || !strings.Contains(err.Error(), "it redirects without end") {
		t.Errorf("in a circle: %v", err)
	}
}

// TestAPrivateAuthority: HTTPS is checked, and what is trusted is read anew.
func TestAPrivateAuthority(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	plain := smart(t, r, nil)
	h := httptest.NewUnstartedServer(plain.Config.Handler)
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h.StartTLS()
	defer h.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}))
	trusted := "none"
	s := follow(t, watch.GitOptions{Auth: watch.GitAuth{CA: func() (string, error) { return trusted, nil }}}, h.URL+"/gateway.git")
	if _, err := looked(t, s); err == nil || !strings.Contains(err.Error(), "there is no certificate in the file of --git-ca-file") {
		t.Errorf("got %v", err)
	}
	trusted = ""
	if _, err := looked(t, s); err == nil || !strings.Contains(err.Error(), "nobody that this host trusts vouches for its certificate: --git-ca-file names its authority") {
		t.Errorf("got %v", err)
	}
	trusted = ca
	if set, err := looked(t, s); err != nil || set.Revision != first {
		t.Error(set.Revision, err)
	}
	named := follow(t, watch.GitOptions{Auth: watch.GitAuth{CA: func() (string, error) { return ca, nil }}, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, h.Listener.Addr().String())
	}}, "https://git.example.net/gateway.git")
	if _, err := looked(t, named); err == nil || !strings.Contains(err.Error(), "its certificate is for another name") {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsNoRepository says what is there instead.
func TestWhatIsNoRepository(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	h := smart(t, r, func(w http.ResponseWriter, q *http.Request) bool {
		switch {
		case strings.HasPrefix(q.URL.Path, "/page"):
			w.Header().Set("Content-Type", "text/html")
		case strings.HasPrefix(q.URL.Path, "/down"):
			w.WriteHeader(http.StatusBadGateway)
		default:
			return false
		}
		return true
	})
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	refused := strings.Replace(dead.Addr().String(), "127.0.0.1", "127.0.0.2", 1) // nobody listens there, nor can while that port is ours
	dir := t.TempDir()
	sub := newRepo(t)
	sub.write("deep/a.yaml", "1")
	sub.commit("first")
	for url, want := range map[string]string{
		h.URL + "/none.git":                            "it has no such repository, or does not show it to us (404)",
		h.URL + "/page":                                `it is no Git server: it answers with "text/html"`,
		h.URL + "/down":                                "it answers with status 502",
		h.URL + "/gateway.git":                         "its HEAD is the branch \"main\", which has no commit; --ref names another|it has no commit yet",
		"http://" + refused + "/x":                     "connection refused",
		"https://" + h.Listener.Addr().String() + "/x": "it does not speak TLS",
		"file://" + dir:                                "not in a Git repository",
		"file://" + dir + "/none":                      "no such file",
		"file://" + sub.dir + "/deep":                  "it is no repository, but a folder of",
		"file://" + r.bare:                             "which has no commit",
	} {
		_, err := looked(t, follow(t, watch.GitOptions{}, url))
		ok := false
		for w := range strings.SplitSeq(want, "|") {
			ok = ok || err != nil && strings.Contains(err.Error(), w)
		}
		if !ok {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
}

// TestRefs: what can be followed, and what is said of what is not there.
func TestRefs(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	r.git("tag", "v1.0.0")
	second := r.push("a.yaml", "2")
	r.git("tag", "-a", "-m", "annotated", "v1.2.0")
	r.git("tag", "light")
	third := r.push("a.yaml", "3")
	r.git("tag", "v2.0.0-rc.1")
	r.git("push", "-q", "origin", "--tags", "HEAD:refs/heads/prod/eu", "HEAD:refs/odd/one")
	fourth := r.push("a.yaml", "4")
	h := smart(t, r, nil)
	for ref, want := range map[string]string{
		"": fourth, "main": fourth, "prod/eu": third, "refs/heads/prod/eu": third, "refs/odd/one": third, "tag:v1.0.0": first, "tag:v1.2.0": second, "tag:light": second,
		"semver:^1": second, "semver:1.0.x": first, "semver:>=1 <1.2.0": first, "semver:>=2.0.0-rc.0": third, "semver:*": second,
		"commit:" + first: first, "commit:" + second: second, "commit:" + fourth: fourth,
		"nothing": `it has no branch "nothing"`, "light": `it has no branch "light", but a tag of that name: --ref tag:light`, "tag:main": `it has no tag "main"`, "semver:3.x": `none of its tags is a version within "3.x"`,
		"commit:" + evil: "it has no commit " + evil + "|not our ref",
	} {
		for _, url := range []string{"file://" + r.bare, h.URL + "/gateway.git"} {
			set, err := looked(t, follow(t, watch.GitOptions{Ref: ref}, url))
			got := set.Revision
			if err != nil {
				got = err.Error()
			}
			ok := false
			for w := range strings.SplitSeq(want, "|") {
				ok = ok || strings.Contains(got, w)
			}
			if !ok && !(strings.HasPrefix(ref, "commit:"+evil) && strings.Contains(got, "is not in the repository")) {
				t.Errorf("%s of %s: got %s, want %s", ref, url, got, want)
			}
		}
	}
	for ref, want := range map[string]string{
		strings.Repeat("aB", 20): "write commit:" + strings.Repeat("ab", 20), "commit:abc": "all 40 digits", "semver:huh": "is no version", "what:ever": "is not known", "a..b": "is no name of a ref", "-x y": "is no name of a ref", "tag:../x": "is no name of a ref",
	} {
		if err := watch.CheckRef(ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", ref, err, want)
		}
	}
	// A tag that moves forward is followed; what Verify is given is the tag.
	var tag *watch.Tag
	s := follow(t, watch.GitOptions{Ref: "semver:>=1", Verify: func(_ context.Context, h watch.History) error { tag = h.Tag; return nil }}, h.URL+"/gateway.git")
	if set, err := looked(t, s); err != nil || set.Revision != second || tag == nil || tag.Name != "v1.2.0" || tag.Commit != second {
		t.Error(set.Revision, tag, err)
	}
	r.git("tag", "v3.0.0")
	r.git("push", "-q", "origin", "v3.0.0")
	if set, err := looked(t, s); err != nil || set.Revision != fourth || tag != nil {
		t.Error(set.Revision, tag, err)
	}
}

// TestAPathThatIsNotThere is the user's to mend; what was taken stays.
func TestAPathThatIsNotThere(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("prod/a.yaml", "1")
	s := follow(t, watch.GitOptions{Path: "prod/"}, "file://"+r.bare)
	if set, err := looked(t, s); err != nil || set.Revision != first {
		t.Fatal(set.Revision, err)
	}
	r.git("rm", "-rq", "prod")
	r.push("other/a.yaml", "1")
	_, err := looked(t, s)
	var e *watch.GitError
	if !errors.As(err, &e) || e.Reason() != "Unreadable" || !strings.Contains(err.Error(), "prod/: it is not in") {
		t.Errorf("got %v", err)
	}
	for _, p := range []string{"../x", "/x"} {
		if _, err := watch.Git(watch.GitOptions{Path: p, Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "outside the repository") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestMirrors: the next remote is asked when one cannot be reached, and takes nothing back.
func TestMirrors(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	mirror := filepath.Join(t.TempDir(), "mirror.git")
	r.in(t.TempDir(), "clone", "-q", "--mirror", r.bare, mirror)
	var down atomic.Bool
	h := smart(t, r, func(w http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down.Load()
	})
	s := follow(t, watch.GitOptions{Verify: func(context.Context, watch.History) error { return nil }}, h.URL+"/gateway.git", "file://"+mirror)
	from := func(want string) {
		t.Helper()
		if got := s.Remote(); got != want {
			t.Errorf("read last was %q, want %q", got, want)
		}
	}
	second := r.push("a.yaml", "2")
	if set, err := looked(t, s); err != nil || set.Revision != second {
		t.Fatal(set.Revision, err)
	}
	down.Store(true)
	_, err := looked(t, s) // the mirror is behind
	var e *watch.GitError
	if !errors.As(err, &e) || e.Reason() != "SourceUnavailable" || !strings.Contains(err.Error(), "it answers with status 503") || !strings.Contains(err.Error(), "it is behind, at "+first) {
		t.Errorf("got %v", err)
	}
	from(h.URL + "/gateway.git")
	third := r.push("a.yaml", "3")
	r.in(mirror, "fetch", "-q")
	if set, err := looked(t, s); err != nil || set.Revision != third {
		t.Error(set.Revision, err)
	}
	from("file://" + mirror)
	down.Store(false)
	if set, err := looked(t, s); err != nil || set.Revision != third {
		t.Error(set.Revision, err)
	}
	from(h.URL + "/gateway.git")
}

// TestOutages: the network goes, the remote is deleted; what was taken can be read all the while, and it is followed again without
// anybody's help.
func TestOutages(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	h := smart(t, r, nil)
	var cut atomic.Bool
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if cut.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("network is unreachable")}
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	s := follow(t, watch.GitOptions{Dial: dial, Interval: 50 * time.Millisecond}, h.URL+"/gateway.git")
	good, err := looked(t, s)
	if err != nil || good.Revision != first {
		t.Fatal(good.Revision, err)
	}
	until := func(what string, ok func(revision string, err error) bool) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			set, err := s.Fetch(t.Context())
			if ok(set.Revision, err) {
				return
			}
			select {
			case <-s.Changed():
			case <-deadline:
				t.Fatalf("%s: %v %v", what, set.Revision, err)
			}
		}
	}
	cut.Store(true)
	h.CloseClientConnections()
	until("cut", func(_ string, err error) bool {
		return err != nil && strings.Contains(err.Error(), "dial: network is unreachable (since 20")
	})
	_, before := s.Fetch(t.Context())
	time.Sleep(1100 * time.Millisecond)
	if _, err := s.Fetch(t.Context()); err == nil || err.Error() != before.Error() {
		t.Errorf("an outage that goes on is another: %v, %v", before, err)
	}
	second := r.push("a.yaml", "2")
	cut.Store(false)
	until("the network is back", func(rev string, err error) bool { return err == nil && rev == second })
	if err := os.Rename(r.bare, r.bare+".gone"); err != nil {
		t.Fatal(err)
	}
	until("deleted", func(_ string, err error) bool { return err != nil && strings.Contains(err.Error(), "(404)") })
	if err := os.Rename(r.bare+".gone", r.bare); err != nil {
		t.Fatal(err)
	}
	until("there again", func(rev string, err error) bool { return err == nil && rev == second })
	if contents(t, good)["a.yaml"] != "1" {
		t.Error("what was taken first can not be read any more")
	}
}

// TestAHangingServerHoldsUpNobody: what was taken, or that nothing was yet, is said at once.
func TestAHangingServerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	var hanging atomic.Bool
	hang := make(chan struct{}, 100)
	h := smart(t, r, func(w http.ResponseWriter, q *http.Request) bool {
		if hanging.Load() {
			hang <- struct{}{}
			<-q.Context().Done()
		}
		return hanging.Load()
	})
	fetch := func(s *watch.GitSource) string {
		t.Helper()
		<-hang
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the server hangs for longer
		defer cancel()
		set, err := s.Fetch(ctx)
		if err != nil {
			t.Error(err)
		}
		return set.Revision
	}
	o := watch.GitOptions{Limits: watch.GitLimits{Idle: time.Hour, Total: time.Hour}}
	s := follow(t, o, h.URL+"/gateway.git")
	if _, err := looked(t, s); err != nil {
		t.Fatal(err)
	}
	hanging.Store(true)
	s.Poke()
	if got := fetch(s); got != first {
		t.Errorf("got %q", got)
	}
	if got := fetch(follow(t, o, h.URL+"/gateway.git")); got != "" {
		t.Errorf("got %q of a server that says nothing", got)
	}
}

// TestARefThatMovesBetween: the list and the request are two requests, and a push may come between them.
func TestARefThatMovesBetween(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	r.push("a.yaml", "1")
	var moved atomic.Pointer[string]
	h := smart(t, r, func(_ http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodPost && moved.Load() == nil {
			r.git("commit", "-q", "--amend", "-m", "another")
			id := r.git("rev-parse", "HEAD")
			r.git("push", "-q", "--force", "origin", "HEAD")
			moved.Store(&id)
		}
		return false
	})
	set, err := looked(t, follow(t, watch.GitOptions{}, h.URL+"/gateway.git"))
	if err != nil || set.Revision != *moved.Load() {
		t.Errorf("got %s, %v", set.Revision, err)
	}
}

// TestPokesMakeOneLook: however many come while one is under way, one follows.
func TestPokesMakeOneLook(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	r.push("a.yaml", "1")
	begun, goOn := make(chan struct{}, 1000), make(chan struct{})
	h := smart(t, r, func(_ http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodGet {
			begun <- struct{}{}
			<-goOn
		}
		return false
	})
	s := follow(t, watch.GitOptions{}, h.URL+"/gateway.git")
	<-begun
	for range 1000 {
		s.Poke()
	}
	goOn <- struct{}{}
	<-begun // the one that follows
	goOn <- struct{}{}
	select { // time for another: a slow machine can only let one go by
	case <-begun:
		t.Error("another look followed")
	case <-time.After(300 * time.Millisecond):
	}
	close(goOn)
	if _, err := looked(t, s); err != nil {
		t.Fatal(err)
	}
}

// TestLFSAndSubmodules are reported plainly: as the reader of local repositories does, and never from what lies in the folder of
// another.
func TestLFSAndSubmodules(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	other := newRepo(t)
	other.write("x.yaml", "1")
	other.commit("other")
	r.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other.dir, "sub")
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("ab", 32) + "\nsize 5\n"
	head := r.push("big.yaml", pointer)
	s := follow(t, watch.GitOptions{}, "file://"+r.bare)
	set, err := looked(t, s)
	if err != nil || set.Revision != head {
		t.Fatal(set.Revision, err)
	}
	if got := contents(t, set); len(got) != 1 || got["big.yaml"] != pointer {
		t.Errorf("got %v", got)
	}
	ds := s.Diagnostics(head)
	if len(ds) != 1 || ds[0].Code != "source/submodule" || ds[0].Subject.File != "sub" || strings.Contains(ds[0].Hint, "validate") || s.Diagnostics(evil) != nil {
		t.Errorf("got %v", ds)
	}
}

func TestGitURLs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"file:///srv/gateway.git": "file:///srv/gateway.git", "file://localhost/srv/x/": "file:///srv/x", "https://Git.Example.org/Team/gw.git": "https://git.example.org/Team/gw",
		"https://git.example.org:443/team/gw/": "https://git.example.org/team/gw", "http://127.0.0.1:8080/x": "http://127.0.0.1:8080/x", "ssh://git@git.example.org/team/gw.git": "ssh://git@git.example.org/team/gw",
		"git@git.example.org:team/gw.git": "ssh://git@git.example.org/team/gw", "ssh://git.example.org:2222/~me/gw": "ssh://git.example.org:2222/~me/gw", "host:gw": "ssh://host/gw", "git@[::1]:x": "ssh://git@[::1]/x",
	} {
		u, err := watch.ParseGitURL(text)
		if err != nil || u.ID() != want || u.String() != text || !watch.IsGitURL(text) {
			t.Errorf("%s: got %s, %v, want %s", text, u.ID(), err, want)
		}
	}
	for text, want := range map[string]string{
		"https://me:5ecret@git.example.org/x": "use --git-username", "https://5ecret@git.example.org/x": "use --git-username", "ssh://git:5ecret@host/x": "use --git-username", "https://h/x?token=5ecret": "no part of a repository's URL",
		"https://h/x#5ecret": "no part", "ftp://h/5ecret": `the scheme "ftp"`, "https:///x": "names no host", "https://h": "names no repository", "ssh://-oProxyCommand=5ecret/x": "it names no host|no URL", "ssh://h/-x": "names no repository",
		"file://srv/x": "has three slashes", "file://": "names no folder", "-oX:y": "do not begin with -", "https://h:5ecret\x7f@x/": "it is no URL", "plain/path": "expected file://",
	} {
		_, err := watch.ParseGitURL(text)
		ok := false
		for w := range strings.SplitSeq(want, "|") {
			ok = ok || err != nil && strings.Contains(err.Error(), w)
		}
		if !ok || strings.Contains(err.Error(), "5ecret") {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	for _, path := range []string{"conf", "./conf", "/srv/conf", "../x", "a/b:c", "."} {
		if watch.IsGitURL(path) {
			t.Errorf("%s is a URL", path)
		}
	}
}

func TestSemanticVersions(t *testing.T) {
	t.Parallel()
	tags := []string{"v0.1.0", "0.2.5", "v0.2.9", "v1.0.0-rc.1", "v1.0.0", "v1.2.3", "1.2.10", "v1.3.0-beta", "v2.0.0+build.7", "v10.0.0", "v2", "latest", "v1.2.3.4", "v01.x"}
	for within, want := range map[string]string{
		"*": "v10.0.0", "x": "v10.0.0", "1.x": "1.2.10", "1": "1.2.10", "1.2": "1.2.10", "1.2.*": "1.2.10", "v1.2.3": "v1.2.3", "=1.2.3": "v1.2.3", "^1.2": "1.2.10", "^1.2.3": "1.2.10", "~1.2.3": "1.2.10", "~1": "1.2.10",
		"^0.2": "v0.2.9", "^0.1.0": "v0.1.0", ">=1 <2": "1.2.10", ">= 1.0, < 1.2": "v1.0.0", "<1": "v0.2.9", "<=1.2": "1.2.10", ">1.2": "v10.0.0", ">1.2.10 <3": "v2.0.0+build.7", "<0.2 || ^1.0.0": "1.2.10",
		">=1.3.0-alpha <1.3.1": "v1.3.0-beta", "1.0.0-rc.1": "v1.0.0-rc.1", ">=1.3.0 <1.4": "", "3.x": "",
	} {
		if got := watch.Newest(tags, within); got != want {
			t.Errorf("%s: got %q, want %q", within, got, want)
		}
	}
	for _, within := range []string{"", " ", "a", "1.2.3.4", "^", ">=", "1 ||", "!1", "1.-2", "1.2.3-", "+1"} {
		if err := watch.CheckRef("semver:" + within); err == nil {
			t.Errorf("%q is a range", within)
		}
	}
}

// TestGitCanReadTheStore: it is a repository like others, for whoever looks for a mistake.
func TestGitCanReadTheStore(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	for i := range 5 {
		r.push("a.yaml", fmt.Sprint(i))
	}
	o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git"), Limits: watch.GitLimits{Packs: 2}}
	s := follow(t, o, "file://"+r.bare)
	for i := range 5 {
		if _, err := looked(t, s); err != nil {
			t.Fatal(err)
		}
		r.push("a.yaml", fmt.Sprint("again ", i))
	}
	set, err := looked(t, s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "--git-dir="+filepath.Join(o.Dir, "1"), "fsck", "--full", "--strict", set.Revision)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
