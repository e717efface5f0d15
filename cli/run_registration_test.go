package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/metrics"
	"github.com/flexgw/flexgw/reconcile/status"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

// signer signs what registrations of these tests are made of.
type signer struct {
	c   *x509.Certificate
	key *rsa.PrivateKey
	pem []byte
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{c, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

const agentID = "aaaaaaaa-0000-4000-8000-00000000a001"

// file is a registration that ends at a time.
func (s *signer) file(t *testing.T, ends time.Time) *anypoint.File {
	t.Helper()
	key, csr, err := anypoint.NewKey("orders")
	if err != nil {
		t.Fatal(err)
	}
	f, err := anypoint.NewFile(anypoint.Registered{Platform: anypoint.Platform{AgentID: agentID, AssetName: "orders", Anypoint: "https://a.example.com", Metering: "https://m.example.com/m"},
		CertificateChain: s.chain(t, csr, ends)}, key)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// observed is a registrar of a folder, its clock and its log.
type observed struct {
	*registrar
	at   time.Time
	said bytes.Buffer
	told []*anypoint.File
}

func newObserved(t *testing.T, dir string) *observed {
	t.Helper()
	w := &observed{at: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
	w.registrar = &registrar{path: filepath.Join(dir, "registration.yaml"), now: func() time.Time { return w.at }, log: slog.New(slog.NewTextHandler(&w.said, nil)),
		follow: []func(*anypoint.File){func(f *anypoint.File) { w.told = append(w.told, f) }}}
	return w
}

// lines is what was said since.
func (w *observed) lines() string {
	s := w.said.String()
	w.said.Reset()
	return s
}

// begin does what start does, without looking on.
func (w *observed) begin(t *testing.T) {
	t.Helper()
	w.start(t.Context(), func(func() error) {})
}

func (w *observed) want(t *testing.T, st, reason string, words ...string) {
	t.Helper()
	c := w.condition()
	if c.Type != status.Registered || c.Status != st || c.Reason != reason {
		t.Errorf("got %+v, want %s %s", c, st, reason)
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			t.Errorf("%q is not in %q", word, c.Message)
		}
	}
}

// TestRegistrationOthersCanRead: a key that others can read is told, and is used all the same.
func TestRegistrationOthersCanRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newObserved(t, dir)
	if err := newSigner(t).file(t, w.at.Add(100*day)).Write(dir, anypoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.begin(t)
	if got := w.lines(); strings.Contains(got, "WARN") {
		t.Errorf("said %s", got)
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o602} {
		if err := os.Chmod(w.path, mode); err != nil {
			t.Fatal(err)
		}
		w = newObserved(t, dir)
		w.begin(t)
		if got := w.lines(); !strings.Contains(got, "WARN") || !strings.Contains(got, "others than its owner") || !strings.Contains(got, fmt.Sprintf("mode=%04o", mode)) {
			t.Errorf("%v: said %s", mode, got)
		}
		w.want(t, status.True, "Registered")
	}
}

// expiry is the metric of when the certificate expires, of the registrar as the daemon has it; a broken answer is NaN.
func (w *observed) expiry(t *testing.T) float64 {
	t.Helper()
	m := metrics.New(metrics.Options{Report: func() status.Report { return status.Report{} }, Progress: func() []deliver.Progress { return nil }, APIs: func() []diag.Object { return nil }, Expires: w.expires})
	r := httptest.NewRecorder()
	m.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, metrics.Path, nil))
	for line := range strings.Lines(r.Body.String()) {
		if value, ok := strings.CutPrefix(line, "flexgw_registration_expiry_timestamp_seconds "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			return n
		}
	}
	t.Errorf("no such metric in\n%s", r.Body)
	return math.NaN()
}

// TestTheMetricOfTheExpiry: it is the certificate's own second, that of the one in force, and 0 without one.
func TestTheMetricOfTheExpiry(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	dir := t.TempDir()
	w := newObserved(t, dir)
	w.begin(t)
	if got := w.expiry(t); got != 0 {
		t.Errorf("unregistered: %v", got)
	}
	for _, left := range []time.Duration{100 * day, 200 * day, -day} { // one that has expired, too
		f := s.file(t, w.at.Add(left))
		if err := f.Write(dir, anypoint.WriteOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if err := w.look(true); err != nil {
			t.Fatal(err)
		}
		if got, want := w.expiry(t), float64(w.at.Add(left).Unix()); got != want {
			t.Errorf("%v: got %v, want %v", left, got, want)
		}
	}
	in := w.expiry(t)
	if err := os.WriteFile(w.path, []byte("spec: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.look(true); err == nil {
		t.Error("a broken file was taken")
	}
	if got := w.expiry(t); got != in {
		t.Errorf("of a broken file: got %v, want %v", got, in)
	}
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	if err := w.look(true); err != nil {
		t.Fatal(err)
	}
	if got := w.expiry(t); got != in {
		t.Errorf("of a file that has gone: got %v, want %v", got, in)
	}
}

// TestRegistrationChanges: a new file is taken over, a broken one is not, and one that goes changes nothing.
func TestRegistrationChanges(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	dir := t.TempDir()
	w := newObserved(t, dir)
	w.begin(t)
	if got := w.lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "not registered with Anypoint: usage is counted") {
		t.Errorf("said %s", got)
	}
	w.want(t, status.Unknown, "Unregistered", "flexgw register")
	if len(w.told) != 1 || w.told[0] != nil || !w.expires().IsZero() {
		t.Errorf("told %v", w.told)
	}
	first := s.file(t, w.at.Add(100*day))
	if err := first.Write(dir, anypoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.look(false); err != nil || len(w.told) != 2 || !w.expires().Equal(first.NotAfter) {
		t.Fatal(err, w.told)
	}
	w.want(t, status.True, "Registered", "orders, gateway "+agentID, "2026-09-09T00:00:00Z, in 100 days")
	if got := w.lines(); !strings.Contains(got, "registered with Anypoint") || strings.Contains(got, "PRIVATE") {
		t.Errorf("said %s", got)
	}

	// Half of a file, as cp may show it for a moment: nothing is said, nothing changes.
	whole, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(w.path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(whole[:len(whole)/2])
	if err := w.look(false); err != nil || w.lines() != "" {
		t.Error("half a file was judged at once", err)
	}
	w.want(t, status.True, "Registered")
	// It stays so: the old one stays in force, and the place is told.
	if err := w.look(false); err == nil || !strings.HasPrefix(err.Error(), filepath.ToSlash(w.path)+":") {
		t.Errorf("got %v", err)
	}
	w.want(t, status.False, "Broken", "[registration/broken]", "in force is orders, gateway "+agentID)
	if c := w.condition(); c.Place == nil || c.Place.Start.Line == 0 {
		t.Errorf("no place: %+v", c)
	}
	if err := w.look(false); err != nil || len(w.told) != 2 {
		t.Error("told twice", err)
	}
	second := s.file(t, w.at.Add(200*day))
	if err := second.Write(dir, anypoint.WriteOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.look(false); err != nil || len(w.told) != 3 || !w.told[2].Key.Equal(second.Key) {
		t.Fatal(err, len(w.told))
	}
	w.want(t, status.True, "Registered", "2026-12-18")
	w.lines()
	// The same again is nothing new.
	if err := second.Write(dir, anypoint.WriteOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.look(false); err != nil || len(w.told) != 3 || w.lines() != "" {
		t.Error("told again", err)
	}
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.look(false); err != nil {
			t.Error(err)
		}
	}
	w.want(t, status.True, "Registered", "the file is gone")
	if got := w.lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "is gone") || len(w.told) != 3 {
		t.Errorf("said %s", got)
	}
}

// TestRegistrationsAreToldInTheirOrder: a renewal, a reload and the clock may look at the same time; who follows has the last one at the end.
func TestRegistrationsAreToldInTheirOrder(t *testing.T) {
	t.Parallel()
	dir, s := t.TempDir(), newSigner(t)
	w := newObserved(t, dir)
	w.log = slog.New(slog.DiscardHandler)
	first, second := s.file(t, w.at.Add(100*day)), s.file(t, w.at.Add(200*day))
	if err := first.Write(dir, anypoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	var looks sync.WaitGroup
	began := make(chan struct{})
	w.follow = []func(*anypoint.File){func(f *anypoint.File) {
		if f.Key.Equal(first.Key) { // while this is told, somebody puts another one there and looks
			if err := second.Write(dir, anypoint.WriteOptions{Force: true}); err != nil {
				t.Error(err)
			}
			looks.Go(func() {
				close(began)
				if err := w.look(true); err != nil {
					t.Error(err)
				}
			})
			<-began
			if w.looking.TryLock() {
				w.looking.Unlock()
				t.Error("somebody else can look, and tell of another one, before this one is told")
			}
		}
		w.told = append(w.told, f)
	}}
	if err := w.look(true); err != nil {
		t.Fatal(err)
	}
	looks.Wait()
	if len(w.told) != 2 || !w.told[0].Key.Equal(first.Key) || !w.told[1].Key.Equal(second.Key) {
		t.Errorf("told %d", len(w.told))
	}
}

// counting is a daemon that counts and reports, as far as a registration in a folder is concerned. It is run again by calling it again.
func counting(t *testing.T, state, dir string) (d *daemon, w *observed) {
	t.Helper()
	w = newObserved(t, dir)
	d = &daemon{log: w.log, registrar: w.registrar, egress: egress.New(egress.Options{})}
	l, err := metering.Open(state, metering.Options{Now: func() time.Time { return w.at }})
	if err != nil {
		t.Fatal(err)
	}
	d.usage, d.choice = l, "none"
	d.deliverUsage()
	d.delivery.Turned, d.delivery.Log = nil, nil
	w.follow = append(w.follow, d.countFor)
	stop := d.startDelivering()
	t.Cleanup(func() { stop(); _ = l.Close() })
	return d, w
}

// one counts a call.
func (w *observed) one(t *testing.T, d *daemon) {
	t.Helper()
	p := d.usage.Position()
	p.Turn, p.Offset = 1, p.Offset+1
	if err := d.usage.Count(p, []metering.Count{{API: "default/a", Hour: w.at, N: 1}}); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenAtStart: a daemon whose registration can not be read starts all the same, counts for whom was counted before, and reports
// nothing until it can.
func TestBrokenAtStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		spoil   func(path string) error
		message string
		named   bool
	}{
		{"empty", func(path string) error { return os.WriteFile(path, nil, 0o600) }, "the registration is empty", false},
		{"not yet mounted", os.Remove, "no such file", true},
		{"half", func(path string) error { return os.Truncate(path, 300) }, "registration/", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, state := t.TempDir(), t.TempDir()
			d, w := counting(t, state, dir)
			f := newSigner(t).file(t, w.at.Add(100*day))
			if err := f.Write(dir, anypoint.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			w.begin(t)
			w.one(t, d)
			if err := d.usage.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(w.path); err != nil {
				t.Fatal(err)
			}

			d, w = counting(t, state, dir)
			w.named = c.named
			w.begin(t)
			w.want(t, status.False, "Broken", c.message, "in force is nothing", "usage is counted for the gateway for which it was")
			if got := w.lines(); !strings.Contains(got, "counted for the gateway for which it was") || strings.Contains(got, "not registered with Anypoint") {
				t.Errorf("said %s", got)
			}
			w.one(t, d)
			d.usageServed(false) // declarations that are served change nothing of it
			held := func(words string) {
				t.Helper()
				err := d.delivery.Flush(t.Context())
				if x := d.delivery.Delivery(); err == nil || x.Status != status.False || x.Reason != metering.Misconfigured || !strings.Contains(err.Error(), words) || !strings.Contains(x.Message, "for orders ("+agentID+") as before") {
					t.Errorf("%v, %+v", err, x)
				}
			}
			held(c.message)
			if list := d.egress.List(); len(list) > 0 {
				t.Errorf("it may call %v", list)
			}
			if err := os.Remove(w.path); err != nil && !c.named { // who mends it may remove it first
				t.Fatal(err)
			}
			_ = w.look(false)
			_ = w.look(false)
			w.want(t, status.False, "Broken", "no such file")
			w.one(t, d)
			held("the registration can not be used")
			if err := f.Write(dir, anypoint.WriteOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			if err := w.look(true); err != nil {
				t.Fatal(err)
			}
			w.want(t, status.True, "Registered")
			w.one(t, d)
			ts := d.usage.Totals()
			if len(ts) != 1 || ts[0].Identity.Agent != agentID || ts[0].Counted != 4 || d.registrationInForce() == nil {
				t.Errorf("got %+v", ts)
			}
		})
	}
}

// TestUnregisteredAtStart: where there is no registration, calls are nobody's, also after there was one.
func TestUnregisteredAtStart(t *testing.T) {
	t.Parallel()
	dir, state := t.TempDir(), t.TempDir()
	d, w := counting(t, state, dir)
	if err := d.usage.SetIdentity(metering.Identity{Agent: agentID}); err != nil {
		t.Fatal(err)
	}
	w.begin(t)
	w.want(t, status.Unknown, "Unregistered")
	w.one(t, d)
	if ts := d.usage.Totals(); len(ts) != 1 || ts[0].Identity != (metering.Identity{}) {
		t.Errorf("got %+v", ts)
	}
	if err := d.delivery.Flush(t.Context()); err == nil || d.delivery.Delivery().Reason != metering.Unregistered {
		t.Errorf("%v, %+v", err, d.delivery.Delivery())
	}
}

// TestExpiry: each threshold is told once, and from the warning on every day.
func TestExpiry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newObserved(t, dir)
	begin := w.at
	if err := newSigner(t).file(t, begin.Add(100*day)).Write(dir, anypoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.begin(t)
	w.lines()
	got := map[string]int{}
	for hour := range 103 * 24 {
		w.at = begin.Add(time.Duration(hour) * time.Hour)
		w.warn()
		for line := range strings.Lines(w.lines()) {
			for _, level := range []string{"INFO", "WARN", "ERROR"} {
				if strings.Contains(line, "level="+level) {
					if strings.Contains(line, "has expired") {
						level = "EXPIRED"
					}
					got[level]++
				}
			}
			if !strings.Contains(line, "renew=\"flexgw renew ") {
				t.Errorf("no way out: %s", line)
			}
		}
	}
	if got["INFO"] != 1 || got["WARN"] != 23 || got["ERROR"] != 7 || got["EXPIRED"] != 3 {
		t.Errorf("told %v", got)
	}
	for left, want := range map[time.Duration]string{60*day + 1: "Registered", 60 * day: "Expiring", 7 * day: "Expiring", 1: "Expiring", 0: "Expired", -day: "Expired"} {
		w.at = begin.Add(100*day - left)
		c := w.condition()
		if c.Reason != want || (c.Status == status.False) != (want == "Expired") {
			t.Errorf("%s left: %+v", left, c)
		}
	}
}

// TestRegistrarLooksOn: what start begins finds a file by itself.
func TestRegistrarLooksOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newObserved(t, dir)
	found := make(chan *anypoint.File, 2)
	w.follow = []func(*anypoint.File){func(f *anypoint.File) { found <- f }}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	w.start(ctx, func(f func() error) { running.Go(func() { _ = f() }) })
	if f := <-found; f != nil {
		t.Fatal(f)
	}
	if err := newSigner(t).file(t, w.at.Add(100*day)).Write(dir, anypoint.WriteOptions{Split: true}); err != nil {
		t.Fatal(err)
	}
	select {
	case f := <-found:
		if f == nil || !f.Split {
			t.Error(f)
		}
	case <-time.After(2 * time.Minute):
		t.Error("not found")
	}
	cancel()
	running.Wait()
}
