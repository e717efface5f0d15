package notify_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/notify"
	"github.com/flexgw/flexgw/schema/diag"
)

// post is one request that a receiver got.
type post struct {
	header http.Header
	body   notify.Body
	raw    []byte
}

// receiver is a real server on loopback. answer says what it does with the n-th post, from 0.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	posts []post
}

func receive(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	x := &receiver{}
	x.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := post{header: r.Header}
		p.raw, _ = io.ReadAll(r.Body)
		if err := json.Unmarshal(p.raw, &p.body); err != nil {
			t.Errorf("%v: %s", err, p.raw)
		}
		x.mu.Lock()
		n := len(x.posts)
		x.posts = append(x.posts, p)
		x.mu.Unlock()
		if answer != nil {
			answer(n, w, r)
		}
	}))
	t.Cleanup(x.Close)
	return x
}

func (x *receiver) got() []post {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]post(nil), x.posts...)
}

// log is text that goroutines write.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *log) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

const secret = "s3cr3t-key"

// quick does not wait for long between tries; one may take as long as a busy host needs.
func quick(c *http.Client, out *log) notify.Sending {
	return notify.Sending{Version: "1", Client: c, Log: slog.New(slog.NewTextHandler(out, nil)), First: 5 * time.Millisecond, Most: 20 * time.Millisecond, Timeout: time.Minute, Last: time.Minute}
}

// run starts a Notifier whose only allowed host is the receiver; the result ends it.
func run(t *testing.T, x *receiver, edit func(*notify.Options)) (n *notify.Notifier, out *log, stop func()) {
	t.Helper()
	e := egress.New(egress.Options{})
	e.Set(egress.Webhook, []egress.Destination{{Host: x.Listener.Addr().String(), Why: "--webhook"}})
	out = &log{}
	o := notify.Options{URL: x.URL + "/hook/T0KEN", Source: "./gateway", Secret: []byte(secret), Sending: quick(e.HTTPClient(egress.Webhook), out)}
	if edit != nil {
		edit(&o)
	}
	n, err := notify.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(func() {
		stop()
		for _, s := range []string{secret, "T0KEN"} {
			if strings.Contains(out.String(), s) {
				t.Errorf("%q is in the log:\n%s", s, out)
			}
		}
	})
	return n, out, stop
}

func waitFor(t *testing.T, n *notify.Notifier, want notify.Counts) {
	t.Helper()
	counted(t, n, want)
}

// counted waits until so much has become of events.
func counted(t *testing.T, n interface{ Counts() notify.Counts }, want notify.Counts) {
	t.Helper()
	var got notify.Counts
	for range 6000 {
		if got = n.Counts(); got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("got %+v, want %+v", got, want)
}

func event(i int) reconcile.Event {
	return reconcile.Event{Type: reconcile.RolledBack, At: time.Unix(1700000000, 0).UTC(), Revision: fmt.Sprint("r", i), Previous: "r", By: "source", Reason: "Rejected", Message: "no"}
}

func TestDelivered(t *testing.T) {
	t.Parallel()
	x := receive(t, nil)
	n, _, _ := run(t, x, nil)
	e := event(1)
	for i := range 30 {
		e.Diagnostics = append(e.Diagnostics, diag.Diagnostic{Severity: diag.Error, Code: "link/unknown-service", Summary: fmt.Sprint("no ", i)})
	}
	e.Diagnostics = append(e.Diagnostics, diag.Diagnostic{Severity: diag.Note, Code: "x/y", Summary: "a note"})
	n.Event(e)
	waitFor(t, n, notify.Counts{Delivered: 1})
	p := x.got()[0]
	if b := p.body; b.SchemaVersion != 1 || b.Type != "RolledBack" || b.Revision != "r1" || b.Previous != "r" || b.By != "source" || b.Reason != "Rejected" || b.Message != "no" ||
		b.Source != "./gateway" || b.Errors != 30 || len(b.Diagnostics) != 20 || b.ID == "" || !b.At.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("%+v", b)
	}
	if p.header.Get("Content-Type") != "application/json" || p.header.Get(notify.IDHeader) != p.body.ID || p.header.Get(notify.TypeHeader) != "RolledBack" {
		t.Errorf("%v", p.header)
	}
	verify(t, p)
}

// verify is what docs/operate.md tells a receiver to do, written without the package's help.
func verify(t *testing.T, p post) {
	t.Helper()
	stamp, sum, ok := strings.Cut(strings.TrimPrefix(p.header.Get("Flexgw-Signature"), "t="), ",v1=")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if !ok || err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		t.Fatalf("signature %q", p.header.Get("Flexgw-Signature"))
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(stamp + "." + string(p.raw)))
	if want := hex.EncodeToString(h.Sum(nil)); !hmac.Equal([]byte(want), []byte(sum)) {
		t.Errorf("signature %s, want %s", sum, want)
	}
}

// It answers 503, cuts the connection, and hangs; then it takes the event, and the next one comes after it.
func TestTriedAgain(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	x := receive(t, func(i int, w http.ResponseWriter, r *http.Request) {
		switch i {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case 3:
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	defer close(release)
	n, out, _ := run(t, x, func(o *notify.Options) { o.Timeout = 2 * time.Second })
	n.Event(event(1))
	n.Event(event(2))
	waitFor(t, n, notify.Counts{Delivered: 2})
	// On a busy host, others than the one that hangs may take too long.
	posts := x.got()
	second := slices.IndexFunc(posts, func(p post) bool { return p.body.Revision == "r2" })
	if second < 5 {
		t.Fatalf("%d posts of the first event, of %d", second, len(posts))
	}
	for i, p := range posts {
		verify(t, p)
		if (p.body.ID == posts[0].body.ID) != (i < second) || i >= second && p.body.Revision != "r2" {
			t.Errorf("post %d is of %s and has the id %s, the first %s", i, p.body.Revision, p.body.ID, posts[0].body.ID)
		}
	}
	if c := strings.Count(out.String(), "not delivered"); c < 4 || c > len(posts) {
		t.Errorf("%d failures in the log:\n%s", c, out)
	}
}

// A receiver may say when it wants to be asked again.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	x := receive(t, func(i int, w http.ResponseWriter, _ *http.Request) {
		if i == 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	n, _, _ := run(t, x, func(o *notify.Options) { o.Most = time.Minute })
	began := time.Now()
	n.Event(event(1))
	waitFor(t, n, notify.Counts{Delivered: 1})
	if d := time.Since(began); d < time.Second {
		t.Errorf("tried again after %s", d)
	}
}

// A late answer is an answer.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	x := receive(t, func(int, http.ResponseWriter, *http.Request) { time.Sleep(400 * time.Millisecond) })
	n, _, _ := run(t, x, nil)
	n.Event(event(1))
	waitFor(t, n, notify.Counts{Delivered: 1})
	if c := len(x.got()); c != 1 {
		t.Errorf("%d posts", c)
	}
}

func TestRefusedForGood(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 404, 307} {
		other := receive(t, nil)
		x := receive(t, func(i int, w http.ResponseWriter, r *http.Request) {
			if i == 0 {
				w.Header().Set("Location", other.URL)
				w.WriteHeader(status)
			}
		})
		n, out, _ := run(t, x, nil)
		n.Event(event(1))
		n.Event(event(2))
		waitFor(t, n, notify.Counts{Delivered: 1, Failed: 1})
		if c := len(x.got()); c != 2 {
			t.Errorf("%d: %d posts", status, c)
		}
		if len(other.got()) > 0 {
			t.Errorf("%d: the redirect was followed", status)
		}
		if !strings.Contains(out.String(), "given up") {
			t.Errorf("%d: not in the log:\n%s", status, out)
		}
	}
}

func TestGivenUpAfterAllTries(t *testing.T) {
	t.Parallel()
	x := receive(t, func(i int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	n, _, _ := run(t, x, func(o *notify.Options) { o.Tries = 4 })
	n.Event(event(1))
	waitFor(t, n, notify.Counts{Failed: 1})
	if c := len(x.got()); c != 4 {
		t.Errorf("%d posts", c)
	}
}

// While the receiver hangs nobody waits, memory is bounded, and the newest events are those that stay.
func TestTooManyWait(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	x := receive(t, func(i int, _ http.ResponseWriter, r *http.Request) {
		if i == 0 {
			<-release
		}
	})
	n, out, _ := run(t, x, func(o *notify.Options) { o.Queue = 3 })
	began := time.Now()
	for i := range 10 {
		n.Event(event(i))
	}
	if d := time.Since(began); d > 30*time.Second { // a try ends after a minute
		t.Errorf("events took %s", d)
	}
	if c := n.Counts(); c.Waiting != 3 || c.Dropped != 7 {
		t.Errorf("%+v", c)
	}
	close(release)
	waitFor(t, n, notify.Counts{Delivered: 3, Dropped: 7})
	posts := x.got()
	for i, want := range []string{"r7", "r8", "r9"} {
		if got := posts[len(posts)-3+i].body.Revision; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if c := strings.Count(out.String(), "the oldest is dropped"); c != 7 {
		t.Errorf("%d drops in the log", c)
	}
}

// The end of the daemon is worth a try, and no wait.
func TestLastTry(t *testing.T) {
	t.Parallel()
	x := receive(t, func(i int, w http.ResponseWriter, _ *http.Request) {
		if i == 0 {
			w.WriteHeader(503)
		}
	})
	n, _, stop := run(t, x, func(o *notify.Options) { o.First, o.Most = time.Hour, time.Hour })
	n.Event(event(1))
	n.Event(event(2))
	for len(x.got()) == 0 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if c := n.Counts(); c != (notify.Counts{Delivered: 2}) {
		t.Errorf("%+v", c)
	}

	dead := receive(t, func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	n, out, stop := run(t, dead, func(o *notify.Options) { o.First, o.Most = time.Hour, time.Hour })
	n.Event(event(1))
	began := time.Now()
	stop()
	if d := time.Since(began); d > 30*time.Minute { // it would be tried again after an hour
		t.Errorf("the end took %s", d)
	}
	if !strings.Contains(out.String(), "events are lost") || n.Counts().Delivered > 0 {
		t.Errorf("%+v\n%s", n.Counts(), out)
	}
}

// Whom the flag does not name is not called.
func TestOnlyEgress(t *testing.T) {
	t.Parallel()
	x := receive(t, nil)
	n, out, _ := run(t, x, func(o *notify.Options) {
		o.Client, o.Tries = egress.New(egress.Options{}).HTTPClient(egress.Webhook), 1
	})
	n.Event(event(1))
	waitFor(t, n, notify.Counts{Failed: 1})
	if len(x.got()) > 0 || !strings.Contains(out.String(), "not an allowed destination") {
		t.Errorf("%s", out)
	}
}

func TestWithoutSecret(t *testing.T) {
	t.Parallel()
	x := receive(t, nil)
	n, _, _ := run(t, x, func(o *notify.Options) { o.Secret = nil })
	n.Event(event(1))
	waitFor(t, n, notify.Counts{Delivered: 1})
	if s := x.got()[0].header.Get("Flexgw-Signature"); s != "" {
		t.Errorf("signature %q", s)
	}
}

func TestBadURL(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "example.com/x", "ftp://example.com", "https://", "http://%zz"} {
		if _, err := notify.New(notify.Options{URL: u, Sending: notify.Sending{Client: &http.Client{Transport: http.DefaultTransport}}}); err == nil || strings.Contains(err.Error(), "zz") {
			t.Errorf("%q: %v", u, err)
		}
	}
}
