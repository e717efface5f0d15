package cli

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/status"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/ir"
)

// renewing is a daemon that renews its registration with a simulator, and has no Envoy.
type renewing struct {
	*daemon
	t      *testing.T
	sim    *simtest.Server
	dir    string
	secret string

	mu   sync.Mutex
	at   time.Time
	said bytes.Buffer
	told []*anypoint.File
}

func (x *renewing) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.said.Write(b)
}

func (x *renewing) now() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.at
}

// lines is what was logged since.
func (x *renewing) lines() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.said.String()
	x.said.Reset()
	return s
}

// set is the time from now on, here and at the platform.
func (x *renewing) set(at time.Time) {
	x.t.Helper()
	x.mu.Lock()
	x.at = at
	x.mu.Unlock()
	if x.sim == nil {
		return
	}
	if a := x.sim.Call("POST", "/_sim/clock", map[string]any{"now": at.UTC().Format(time.RFC3339), "frozen": true}); a.Status != 200 {
		x.t.Fatalf("clock: %d %s", a.Status, a.Body)
	}
}

func (x *renewing) fault(text string) {
	x.t.Helper()
	if a := x.sim.Call("POST", "/_sim/faults", text); a.Status/100 != 2 {
		x.t.Fatalf("fault: %d %s", a.Status, a.Body)
	}
}

func (x *renewing) file() *anypoint.File {
	x.t.Helper()
	f, err := anypoint.ReadFile(x.dir)
	if err != nil {
		x.t.Fatal(err)
	}
	return f
}

func (x *renewing) wants(st, reason string, words ...string) {
	x.t.Helper()
	c := x.registrar.condition()
	for _, w := range append([]string{""}, words...) {
		if c.Status != st || c.Reason != reason || !strings.Contains(c.Message, w) {
			x.t.Errorf("got %+v, want %s %s with %q", c, st, reason, w)
		}
	}
}

// registered is a gateway that the simulator knows.
func (x *renewing) registered(name string) *anypoint.File {
	x.t.Helper()
	p, err := anypoint.NewPending(name, anypoint.In{Organization: sim.DefaultOrganization}, x.sim.URL(), time.Now())
	if err != nil {
		x.t.Fatal(err)
	}
	c := &anypoint.Client{Base: x.sim.URL(), HTTP: x.sim.Client()}
	r, err := c.Register(x.t.Context(), ir.NewSecret(sim.Token), sim.DefaultOrganization, p.Request())
	if err != nil {
		x.t.Fatal(err)
	}
	f, err := anypoint.NewFile(r, p.Key)
	if err != nil {
		x.t.Fatal(err)
	}
	f.CA = x.sim.CA()
	return f
}

// begin has the daemon work on the registration f.
func (x *renewing) begin(f *anypoint.File) {
	x.t.Helper()
	if err := f.Write(x.dir, anypoint.WriteOptions{}); err != nil {
		x.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(x, nil))
	d := &daemon{env: Env{Now: x.now}, egress: egress.New(egress.Options{}), log: log}
	x.daemon = d
	d.egress.Only(egress.Registration, egress.Usage)
	d.goThrough(egress.Proxy{}, "")
	d.outward.runs = true
	d.registrar = &registrar{path: filepath.Join(x.dir, anypoint.FileName), now: x.now, log: log}
	d.registrar.follow = []func(*anypoint.File){func(f *anypoint.File) {
		x.told = append(x.told, f)
		if err := d.reportTo(f); err != nil {
			x.t.Error(err)
		}
	}}
	d.registrar.renewal = &renewal{log: log, now: x.now, random: func(d time.Duration) time.Duration { return d - 1 }, current: d.registrar.inForce, ready: d.wayKnown,
		attempt: func(ctx context.Context, f *anypoint.File) (*anypoint.File, error) {
			return d.renewed(ctx, f, sim.ClientID, ir.NewSecret(x.secret))
		}}
	d.registrar.start(x.t.Context(), func(func() error) {})
}

func (x *renewing) step() { x.registrar.renewal.step(x.t.Context()) }

// usageOnly wants the platform's control plane to be called no more.
func (x *renewing) usageOnly() {
	x.t.Helper()
	for _, d := range x.egress.List() {
		if d.Purpose != egress.Usage {
			x.t.Errorf("%s may be called for %s", d.Host, d.Purpose)
		}
	}
}

// TestDaemonRenews: from 30 days before the end on the daemon renews with a new key, tries the certificate where usage is reported, swaps
// it, goes on with it, and calls the control plane meanwhile alone; what extends nothing is tried again the next day.
func TestDaemonRenews(t *testing.T) {
	t.Parallel()
	x := &renewing{t: t, sim: simtest.Start(t, sim.Options{}), dir: t.TempDir(), secret: sim.ClientSecret}
	first := x.registered("edge")
	x.set(first.NotAfter.Add(-31 * day))
	x.begin(first)
	path := filepath.Join(x.dir, anypoint.FileName)

	// Not before 30 days are left, and half a day for others to go first.
	for _, left := range []time.Duration{31 * day, 30 * day, 30*day - 11*time.Hour} {
		x.set(first.NotAfter.Add(-left))
		if x.step(); !x.file().Key.Equal(first.Key) {
			t.Fatalf("%s before the end it is renewed", left)
		}
	}
	x.wants(status.True, "Expiring", "renewed by itself, from ")
	x.lines()

	// A certificate that is not taken where usage is reported does not take the place of one that is.
	x.set(first.NotAfter.Add(-30*day + 12*time.Hour))
	x.fault(`{"next": 1, "status": 403, "listener": "ingest", "path": "/flexgw-sim"}`)
	x.step()
	if !x.file().Key.Equal(first.Key) || len(x.told) != 1 {
		t.Error("a certificate that is refused was taken over")
	}
	x.wants(status.True, "Expiring", "renewing it failed at ", "the new certificate is not taken where usage is reported, and the old one stays")
	x.usageOnly()
	if got := x.lines(); !strings.Contains(got, "egress: registration -> "+strings.TrimPrefix(x.sim.URL(), "https://")) || !strings.Contains(got, "the registration is not renewed") {
		t.Errorf("said %s", got)
	}

	// Nor before it is known whether declarations name a proxy.
	x.set(x.now().Add(2 * time.Minute))
	x.goThrough(egress.Pending("not yet"), "")
	if x.step(); !x.file().Key.Equal(first.Key) || x.registrar.renewal.figures().Failed != 1 {
		t.Error("renewed past a proxy that is not known yet")
	}
	x.goThrough(egress.Proxy{}, "")
	x.step()
	second := x.file()
	if second.Key.Equal(first.Key) || second.NotAfter.After(first.NotAfter) {
		t.Fatalf("not renewed: %v, %s", second.NotAfter, x.lines())
	}
	for _, name := range []string{path, path + ".bak"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(x.told) != 2 || !x.told[1].Key.Equal(second.Key) || !x.registrar.inForce().Key.Equal(second.Key) {
		t.Error("the new certificate is not in force")
	}
	if err := sinkOf(x.egress, second, x.now).Hello(t.Context()); err != nil {
		t.Errorf("usage is not reported with it: %v", err)
	}
	x.usageOnly()
	x.wants(status.True, "Expiring", "renewed but not extended at ")
	if got := x.lines(); !strings.Contains(got, "renewed but not extended") || strings.Contains(got, "PRIVATE") || strings.Contains(got, sim.ClientSecret) {
		t.Errorf("said %s", got)
	}

	// Daily from then on: not in the same hour, and not when somebody starts the daemon anew.
	begin := x.now()
	for hours := 1; hours < 24; hours += 3 {
		x.set(begin.Add(time.Duration(hours) * time.Hour))
		x.step()
	}
	if !x.file().Key.Equal(second.Key) {
		t.Error("renewed twice on one day")
	}
	fresh := x.registrar.renewal
	again := &renewal{log: fresh.log, now: x.now, random: fresh.random, current: fresh.current, ready: fresh.ready, attempt: fresh.attempt}
	x.set(begin.Add(13 * time.Hour))
	again.step(t.Context())
	if x.set(begin.Add(23 * time.Hour)); !x.file().Key.Equal(second.Key) {
		t.Error("a daemon that starts anew renews anew")
	}
	again.step(t.Context())
	x.set(begin.Add(27 * time.Hour))
	x.step()
	third := x.file()
	if third.Key.Equal(second.Key) {
		t.Error("not renewed the next day")
	}
	if n := x.registrar.renewal.figures(); n.NotExtended != 2 || n.Failed != 1 || n.Extended != 0 || !n.Next.After(x.now().Add(day-1)) {
		t.Errorf("%+v", n)
	}

	// Credentials that are refused are no reason to ask every minute.
	x.secret = "wrong"
	x.set(x.now().Add(27 * time.Hour))
	x.step()
	x.wants(status.True, "Expiring", "renewing it failed", "does not know this user and password, or this client id and secret")
	x.secret = sim.ClientSecret
	x.set(x.now().Add(12 * time.Hour))
	if x.step(); !x.file().Key.Equal(third.Key) {
		t.Error("asked again within the day")
	}

	// At the end of the authority's time the platform has a new one, and it is well.
	x.set(first.NotAfter.Add(-20 * time.Hour))
	x.step()
	last := x.file()
	if !last.NotAfter.After(first.NotAfter.AddDate(1, 0, 0)) {
		t.Fatalf("not extended: %v\n%s", last.NotAfter, x.lines())
	}
	x.wants(status.True, "Registered", "renewed by itself, from ")
	if n := x.registrar.renewal.figures(); n.Extended != 1 || n.Next.Before(last.NotAfter.Add(-30*day)) || n.Next.After(last.NotAfter.Add(-29*day)) {
		t.Errorf("%+v", n)
	}
	x.usageOnly()
	if u := x.sim.State().Unexpected; len(u) > 0 {
		t.Errorf("unexpected: %v", u)
	}
}

// TestARegistrationThatChangesWhileItIsRenewed is left as somebody has put it there.
func TestARegistrationThatChangesWhileItIsRenewed(t *testing.T) {
	t.Parallel()
	x := &renewing{t: t, sim: simtest.Start(t, sim.Options{}), dir: t.TempDir(), secret: sim.ClientSecret}
	first := x.registered("edge")
	x.set(first.NotAfter.Add(-20 * day))
	x.begin(first)
	x.step() // it is planned
	x.set(first.NotAfter.Add(-19 * day))
	other := x.registered("other") // nobody has looked yet
	if err := other.Write(x.dir, anypoint.WriteOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	x.step()
	if now := x.file(); !now.Key.Equal(other.Key) || now.AgentID != other.AgentID {
		t.Errorf("it was written over: %s", now.AssetName)
	}
	if got := x.lines(); !strings.Contains(got, "has changed meanwhile, and is left as it is") {
		t.Errorf("said %s", got)
	}
	x.usageOnly()
}

// TestDaemonDoesNotGuess: a platform that does not say that it understands flexgw is told nothing, and the operator who can.
func TestDaemonDoesNotGuess(t *testing.T) {
	t.Parallel()
	var asked []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		http.NotFound(w, r)
	}))
	t.Cleanup(srv.Close)
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	f := newSigner(t).file(t, at.Add(20*day))
	f.Anypoint = srv.URL
	f.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	x := &renewing{t: t, dir: t.TempDir(), at: at, secret: "hush"}
	x.begin(f)
	x.step()
	x.set(at.Add(12 * time.Hour))
	x.step()
	const command = "flexctl registration renew --client-id=sim-client '--client-secret=<client-secret>' '--output-directory=<an-empty-directory>'"
	if got := x.lines(); !strings.Contains(got, command) || strings.Contains(got, "hush") {
		t.Errorf("said %s", got)
	}
	x.wants(status.True, "Expiring", "renewing it failed", command)
	if len(asked) != 1 || asked[0] != "GET "+anypoint.PathHello {
		t.Errorf("asked %v", asked)
	}
	x.usageOnly()
	if x.registrar.renewal.next.Before(x.now().Add(day)) {
		t.Error("asked again before a day has gone")
	}
}

// TestWhenItIsRenewed: the failures that may pass are tried again soon, and later and later.
func TestWhenItIsRenewed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	f := newSigner(t).file(t, at.Add(20*day))
	tries := 0
	r := &renewal{log: slog.New(slog.DiscardHandler), now: func() time.Time { return at }, random: func(time.Duration) time.Duration { return 0 }, current: func() *anypoint.File { return f }, ready: func() bool { return true },
		attempt: func(context.Context, *anypoint.File) (*anypoint.File, error) { tries++; return nil, errors.New("no") }}
	if r.words() != "" {
		t.Errorf("said %q", r.words())
	}
	var last time.Time
	var waits []time.Duration
	for at.Before(f.NotAfter.Add(day)) {
		before := tries
		if r.step(t.Context()); tries > before {
			if !last.IsZero() {
				waits = append(waits, at.Sub(last))
			}
			last = at
		}
		at = at.Add(time.Minute)
	}
	if waits[0] != time.Minute || waits[1] != 2*time.Minute || waits[5] != 32*time.Minute || waits[len(waits)-1] != time.Hour {
		t.Errorf("waited %v", waits)
	}
	for _, w := range waits {
		if w > day {
			t.Errorf("waited %v", w)
		}
	}
}

// TestCorrectedSecret: what failed is tried again when the file of the secret is another one, or somebody asks for it, and not before.
func TestCorrectedSecret(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	f := newSigner(t).file(t, now.Add(-day))
	file, tried := filepath.Join(t.TempDir(), "secret"), []string{}
	write := func(text string) {
		t.Helper()
		if err := disk.Write(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	r := &renewal{log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }, current: func() *anypoint.File { return f }, ready: func() bool { return true }, wake: make(chan struct{}, 1),
		secret: func() string { return stampOf(file) },
		attempt: func(context.Context, *anypoint.File) (*anypoint.File, error) {
			b, err := os.ReadFile(file)
			tried = append(tried, string(b))
			return nil, errors.Join(err, &anypoint.Error{Kind: anypoint.WrongCredentials})
		}}
	look := func(want ...string) {
		t.Helper()
		r.look()
		r.step(t.Context())
		if !slices.Equal(tried, want) {
			t.Errorf("tried %q, want %q", tried, want)
		}
		tried = nil
	}
	look("wrong")
	look()
	if !strings.Contains(r.words(), "or when the file of the secret changes, or at SIGHUP") {
		t.Error(r.words())
	}
	write("corrected")
	look("corrected")
	look()
	r.again() // SIGHUP
	look("corrected")
	look()
	if len(r.wake) != 1 {
		t.Error("nobody looks at once")
	}
	(*renewal)(nil).look()
	(*renewal)(nil).again()
}

// TestGatewayIsGone: the file is whole, and the platform says that the gateway was deleted: it is not registered.
func TestGatewayIsGone(t *testing.T) {
	t.Parallel()
	dir, state := t.TempDir(), t.TempDir()
	d, w := counting(t, state, dir)
	if c := d.registered(); c.Reason != "Unregistered" {
		t.Errorf("got %+v", c)
	}
	if err := newSigner(t).file(t, w.at.Add(100*day)).Write(dir, anypoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.begin(t)
	if c := d.registered(); c.Status != status.True || c.Reason != "Registered" {
		t.Errorf("got %+v", c)
	}
	d.delivery.Use(&metering.Target{AgentID: agentID, Sink: &metering.Sink{URL: "https://m.example.com/m", Now: time.Now, Client: &http.Client{Transport: gone{}}}})
	if err := d.delivery.Flush(t.Context()); err == nil {
		t.Error("it is reported")
	}
	if c := d.registered(); c.Status != status.False || c.Reason != "Gone" || !strings.Contains(c.Message, "the gateway was deleted") || !strings.Contains(c.Message, "in force is orders, gateway "+agentID) {
		t.Errorf("got %+v, %+v", c, d.delivery.Delivery())
	}
}

// gone is a platform whose gateway was deleted.
type gone struct{}

func (gone) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusGone, Header: http.Header{anypoint.WireHeader: {anypoint.WireSim}}, Body: http.NoBody, Request: r}, nil
}
