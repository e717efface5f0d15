package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/notify"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

const token = "f0rge-t0ken"

// forge is a server that takes the statuses of commits and remembers them.
type forge struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string // path and body
	auth []string
	deny int // so many requests are answered with code first
	code int
}

func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.auth = append(f.auth, r.Header.Get("Authorization")+r.Header.Get("Private-Token"))
		if f.deny > 0 {
			f.deny--
			w.WriteHeader(f.code)
			return
		}
		f.got = append(f.got, r.Method+" "+r.URL.EscapedPath()+" "+string(b))
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(f.Close)
	return f
}

// follow starts a Forge that posts to f; stop ends it, after what waits was posted.
func follow(t *testing.T, f *forge, kind notify.Kind, path string, edit func(*notify.ForgeOptions)) (x *notify.Forge, out *log, stop func()) {
	t.Helper()
	e := egress.New(egress.Options{})
	e.Set(egress.Operator, []egress.Destination{{Host: f.Listener.Addr().String(), Why: "--commit-status"}})
	out = &log{}
	o := notify.ForgeOptions{Kind: kind, URL: f.URL + path, Token: func() (string, error) { return token, nil }, Name: "flexgw/gw1", Sending: quick(e.HTTPClient(egress.Operator), out)}
	if edit != nil {
		edit(&o)
	}
	x, err := notify.NewForge(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { x.Run(ctx); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(func() {
		stop()
		if strings.Contains(out.String(), token) {
			t.Errorf("the token is in the log:\n%s", out)
		}
	})
	return x, out, stop
}

const sha = "77ab19c0ffee77ab19c0ffee77ab19c0ffee77ab"

func about(typ reconcile.EventType, message string, problems ...string) reconcile.Event {
	e := reconcile.Event{Type: typ, Revision: sha, Message: message, Set: source.Set{Revision: sha, Commit: &source.Commit{ID: sha}}}
	for i, p := range problems {
		e.Diagnostics = append(e.Diagnostics, diag.Diagnostic{Severity: diag.Error, Code: "link/unknown-service", Summary: p,
			Subject: diag.Range{File: "api.yaml", Start: diag.Pos{Line: int32(i) + 3, Column: 5}, End: diag.Pos{Line: int32(i) + 3, Column: 9}}})
	}
	return e
}

// wait is over when so many statuses were taken.
func (f *forge) wait(t *testing.T, n int) []string {
	t.Helper()
	for range 12000 {
		f.mu.Lock()
		got := append([]string(nil), f.got...)
		f.mu.Unlock()
		if len(got) >= n {
			return got
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("got %v, want %d", f.got, n)
	return nil
}

func TestCommitStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind       notify.Kind
		path, auth string
		failed     string
		name       string
	}{
		{notify.GitHub, "/repos/acme/gw", "Bearer " + token, "failure", "context"},
		{notify.GitLab, "/api/v4/projects/acme%2Fgw", token, "failed", "name"},
		{notify.Gitea, "/api/v1/repos/acme/gw/", "token " + token, "failure", "context"},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			x, _, _ := follow(t, f, c.kind, c.path, nil)
			x.Event(about(reconcile.Fetched, ""))
			x.Event(about(reconcile.Fetched, "")) // the same again: it is said already
			x.Event(about(reconcile.Accepted, ""))
			x.Event(about(reconcile.Programmed, ""))
			x.Event(about(reconcile.Invalid, "", `service "a" is not declared`, `service "b" is not declared`))
			x.Event(about(reconcile.EnvoyGone, "Envoy is gone"))
			x.Event(reconcile.Event{Type: reconcile.Programmed, Revision: "sha256:00"}) // of a folder
			x.Event(about(reconcile.Waiting, "waits"))
			var got []map[string]string
			var want []map[string]string
			for _, line := range f.wait(t, 5) {
				head, body, _ := strings.Cut(line, " {")
				if want := "POST " + strings.TrimSuffix(c.path, "/") + "/statuses/" + sha; head != want {
					t.Errorf("asked for %s, want %s", head, want)
				}
				m := map[string]string{}
				if err := json.Unmarshal([]byte("{"+body), &m); err != nil {
					t.Fatal(err)
				}
				got = append(got, m)
			}
			for _, s := range [][2]string{
				{"pending", "seen"}, {"pending", "applied, and not live yet"}, {"success", "live"},
				{c.failed, `nothing changed: api.yaml:3:5: service "a" is not declared [link/unknown-service]; api.yaml:4:5: service "b" is not declared [link/unknown-service]`},
				{"pending", "waits"},
			} {
				if c.kind == notify.GitHub && strings.HasPrefix(s[1], "nothing") {
					s[1] = `nothing changed: api.yaml:3:5: service "a" is not declared [link/unknown-service] (and 1 more)`
				}
				want = append(want, map[string]string{"state": s[0], "description": s[1], c.name: "flexgw/gw1"})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if f.auth[0] != c.auth {
				t.Errorf("authorized by %q", f.auth[0])
			}
		})
	}
}

func TestLongDescriptionsFit(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	x, _, _ := follow(t, f, notify.GitHub, "/repos/a/b", nil)
	x.Event(about(reconcile.Rejected, "", strings.Repeat("é", 1000)+"\x1b[31m", "b"))
	x.Event(about(reconcile.Waiting, "line\nbreak "+strings.Repeat("x", 200)))
	for _, line := range f.wait(t, 2) {
		_, body, _ := strings.Cut(line, " {")
		var m map[string]string
		if err := json.Unmarshal([]byte("{"+body), &m); err != nil {
			t.Fatal(err)
		}
		if n := len([]rune(m["description"])); n > 140 || strings.ContainsAny(m["description"], "\n\x1b") {
			t.Errorf("%d characters: %q", n, m["description"])
		}
	}
}

// A forge that is away gets it later; one that refuses the token is not asked ten times.
func TestForgeThatFails(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.deny, f.code = 3, http.StatusBadGateway
	x, _, _ := follow(t, f, notify.Gitea, "/r", nil)
	x.Event(about(reconcile.Programmed, ""))
	counted(t, x, notify.Counts{Delivered: 1})

	g := newForge(t)
	g.deny, g.code = 1, http.StatusUnauthorized
	y, out, stop := follow(t, g, notify.Gitea, "/r", nil)
	y.Event(about(reconcile.Accepted, ""))
	y.Event(about(reconcile.Programmed, ""))
	counted(t, y, notify.Counts{Failed: 1, Delivered: 1}) // who is stopped before the answer is there tries once more
	stop()
	if len(g.auth) != 2 || !strings.Contains(out.String(), "commit status: an event is given up") || !strings.Contains(out.String(), "status 401") {
		t.Errorf("%d requests; %s", len(g.auth), out)
	}

	tokens := 0
	z, out, stop := follow(t, newForge(t), notify.Gitea, "/r", func(o *notify.ForgeOptions) {
		o.Token = func() (string, error) { tokens++; return "", errors.New("open token: no such file") }
		o.Tries = 3
	})
	z.Event(about(reconcile.Programmed, ""))
	counted(t, z, notify.Counts{Failed: 1})
	stop()
	if tokens != 3 || !strings.Contains(out.String(), "open token") {
		t.Errorf("the token was read %d times; %s", tokens, out)
	}
}

func TestNoForge(t *testing.T) {
	t.Parallel()
	for _, o := range []notify.ForgeOptions{{Kind: "svn", URL: "http://a/b"}, {Kind: notify.GitHub, URL: "a/b"}, {Kind: notify.GitLab, URL: "ftp://a"}} {
		o.Client = &http.Client{Transport: http.DefaultTransport}
		if _, err := notify.NewForge(o); err == nil {
			t.Errorf("%+v is taken", fmt.Sprint(o.Kind, o.URL))
		}
	}
}
