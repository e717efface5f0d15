package usage

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/egress"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/ir"
)

// host is one that counts and reports: a ledger and a Deliverer, without Envoy.
type host struct {
	t    testing.TB
	dir  string
	file *anypoint.File
	now  func() time.Time
	tune func(*egress.Egress)
	// after is what the Deliverer waits by; nil: the clock.
	after  func(time.Duration) <-chan time.Time
	ledger *metering.Ledger
	*metering.Deliverer
	end  func()
	true uint64
	at   uint64 // offset in a log that does not exist
}

func newHost(t testing.TB, f *anypoint.File) *host {
	t.Helper()
	return &host{t: t, dir: t.TempDir(), file: f, now: time.Now}
}

// start opens the ledger and delivers; a host may be stopped and started again.
func (h *host) start(o metering.Options) *host {
	h.t.Helper()
	o.Now = h.now
	l, err := metering.Open(h.dir, o)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := l.SetIdentity(identity(h.file)); err != nil {
		h.t.Fatal(err)
	}
	to, err := target(h.file, h.now, h.tune)
	if err != nil {
		h.t.Fatal(err)
	}
	h.ledger = l
	h.Deliverer = &metering.Deliverer{Spool: l, Now: h.now, After: h.after, Jitter: func() float64 { return 0.001 }}
	h.Use(to)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	ended := false
	h.end = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		<-done
		if err := l.Close(); err != nil {
			h.t.Error(err)
		}
	}
	h.t.Cleanup(h.end)
	return h
}

// count is n requests of an API in the hour of now.
func (h *host) count(api string, n uint64) {
	h.t.Helper()
	h.at += n
	if err := h.ledger.Count(metering.Position{Turn: 1, Offset: h.at}, []metering.Count{{API: api, Hour: h.now().UTC().Truncate(time.Hour), N: n}}); err != nil {
		h.t.Fatal(err)
	}
	h.true += n
}

// alone stops delivering and opens the ledger for a test that does it by hand.
func (h *host) alone() (*metering.Ledger, *metering.Sink) {
	h.t.Helper()
	h.end()
	l, err := metering.Open(h.dir, metering.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	to, err := target(h.file, time.Now, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.ledger = l
	return l, to.Sink
}

// seal is a batch of n requests.
func (h *host) seal(api string, n uint64) {
	h.t.Helper()
	h.count(api, n)
	if err := h.ledger.Seal(h.now()); err != nil {
		h.t.Fatal(err)
	}
}

// flush reports all, or says why not.
func (h *host) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return h.Flush(ctx)
}

// settled flushes until all is reported, and holds the platform's total against the truth.
func (h *host) settled(p *platform) {
	h.t.Helper()
	var err error
	for range 50 {
		if err = h.flush(); err == nil {
			break
		}
	}
	if err != nil {
		h.t.Fatalf("not reported: %v", err)
	}
	h.exact(p)
}

func (h *host) exact(p *platform) {
	h.t.Helper()
	var n uint64
	for _, x := range p.sim.State().Usage {
		n += x
	}
	if n != h.true {
		h.t.Errorf("the platform has %d requests, and there were %d", n, h.true)
	}
	if u := p.sim.State().Unexpected; len(u) > 0 {
		h.t.Errorf("unexpected: %v", u)
	}
}

// TestFaults is row 5 of the matrix of faults, and what of row 4 the platform or the way to it does: whatever becomes of a call, in
// the end each request is reported once.
func TestFaults(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	h := newHost(t, p.register(t.TempDir(), "faults"))
	h.after = func(d time.Duration) <-chan time.Time { return time.After(d / 100) } // between the tries of a flush
	h.start(metering.Options{})
	h.settled(p)
	for _, f := range []struct {
		name   string
		fault  sim.Fault
		reason metering.Reason // after the first flush; "": all is well
		words  string
	}{
		{"429 with seconds", sim.Fault{Status: sim.Outcome{Code: 429}, RetryAfter: "3000"}, metering.Waiting, "429"},
		{"503 with a date", sim.Fault{Status: sim.Outcome{Code: 503}, RetryAfter: time.Now().Add(50 * time.Minute).UTC().Format(http.TimeFormat)}, metering.Waiting, "503"},
		{"500", sim.Fault{Status: sim.Outcome{Code: 500}}, metering.Waiting, "500"},
		{"408", sim.Fault{Status: sim.Outcome{Code: 408}}, metering.Waiting, "408"},
		{"a cut connection", sim.Fault{Status: sim.Outcome{Word: "cut"}}, metering.Waiting, ""},
		{"a lost ack", sim.Fault{Status: sim.Outcome{Word: "cut-after"}}, metering.Waiting, ""},
		{"cut in the middle of the answer", sim.Fault{Status: sim.Outcome{Word: "cut-body"}}, metering.Waiting, ""},
		{"sent twice by somebody on the way", sim.Fault{Status: sim.Outcome{Word: "duplicate"}}, "", ""},
		{"slow", sim.Fault{Status: sim.Outcome{Word: "slow"}, Delay: sim.Duration(100 * time.Millisecond)}, "", ""},
		{"401", sim.Fault{Status: sim.Outcome{Code: 401}}, metering.Rejected, "renew"},
		{"403", sim.Fault{Status: sim.Outcome{Code: 403}}, metering.Rejected, "renew"},
		{"a redirect", sim.Fault{Status: sim.Outcome{Code: 302}}, metering.Misconfigured, "never followed"},
		{"409", sim.Fault{Status: sim.Outcome{Code: 409}}, "", ""}, // the truth is what the next batch of the hour says
	} {
		for _, apis := range []int{1, 40} { // a body that is sent as it is, and one that is compressed
			for i := range apis {
				h.count(fmt.Sprintf("default/api-%d", i), uint64(1+i))
			}
			f.fault.Next = 1
			if f.reason == metering.Waiting && f.fault.RetryAfter == "" {
				f.fault.Next = 1000 // for longer than a flush tries
			}
			f.fault.Path = anypoint.PathMetering
			if err := p.sim.SetFaults(f.fault); err != nil {
				t.Fatal(err)
			}
			err := h.flush()
			s := h.Delivery()
			if f.reason == "" && err != nil || f.reason != "" && (err == nil || s.Reason != f.reason || !strings.Contains(s.Message, f.words) || s.Requests == 0) {
				t.Errorf("%s: %v; %+v", f.name, err, s)
			}
			if err := p.sim.SetFaults(); err != nil {
				t.Fatal(err)
			}
			if f.name == "409" {
				h.count("default/api-0", 1)
				for i := 1; i < apis; i++ {
					h.count(fmt.Sprintf("default/api-%d", i), 1)
				}
			}
			h.settled(p)
		}
	}
}

// TestASlowLorisIsGivenUp: a server that takes a connection and says nothing is one that is away.
func TestASlowLorisIsGivenUp(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	h := newHost(t, p.register(t.TempDir(), "loris"))
	h.start(metering.Options{})
	h.settled(p)
	h.count("default/a", 3)
	if err := p.sim.SetFaults(sim.Fault{Next: 1, Status: sim.Outcome{Word: "hang"}, Path: anypoint.PathMetering}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := h.Flush(ctx); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	h.settled(p)
}

// TestCertificates is row 3 of the matrix: what the platform does not take stops the reports, says so, and loses nothing.
func TestCertificates(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	good := p.register(t.TempDir(), "good")
	other := p.register(t.TempDir(), "other")
	names := []string{"offline", good.CommonName, "masterOrg=" + good.MasterOrganizationID, "org=" + good.OrganizationID, "env=" + good.EnvironmentID}
	for name, x := range map[string]struct {
		pair   *tls.Certificate // nil: none is shown
		roots  bool             // the simulator's
		reason metering.Reason
		words  string
	}{
		"none":                   {nil, true, metering.Rejected, "certificate required"},
		"of another authority":   {ownLeaf(t, "", good.CommonName, names, time.Hour), true, metering.Rejected, "certificate"},
		"expired":                {ownLeaf(t, p.dir, good.CommonName, names, -time.Minute), true, metering.Rejected, "certificate"},
		"not offline":            {ownLeaf(t, p.dir, good.CommonName, names[1:], time.Hour), true, metering.Rejected, "renew"},
		"of another gateway":     {pairOf(t, other), true, metering.Rejected, "renew"},
		"a server of a stranger": {pairOf(t, good), false, metering.Waiting, "not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, good)
			h.tune = func(e *egress.Egress) {
				set := egress.TLS{Certificate: func() (*tls.Certificate, error) { return x.pair, nil }}
				if x.roots {
					set.Roots = p.roots()
				}
				e.SetTLS(egress.Usage, set)
			}
			h.start(metering.Options{})
			h.count("default/a", 7)
			var s metering.Delivery
			for range 30 { // an alert after a handshake may be lost with its connection, which is tried again
				if err := h.flush(); err == nil {
					t.Fatal("reported")
				}
				if s = h.Delivery(); s.Reason == x.reason {
					break
				}
			}
			if s.Status != "False" || s.Reason != x.reason || !strings.Contains(s.Message, x.words) || !strings.Contains(s.Message, "7 requests wait") {
				t.Errorf("%+v", s)
			}
			h.tune = nil // the right one
			h.end()
			h.start(metering.Options{})
			for range 20 {
				if err := h.flush(); err == nil {
					break
				}
			}
			if s := h.Delivery(); s.Status != "True" || s.Requests != 0 {
				t.Errorf("afterwards: %+v", s)
			}
		})
	}
}

func pairOf(t testing.TB, f *anypoint.File) *tls.Certificate {
	t.Helper()
	pair, err := f.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// ownLeaf is a client's certificate by the simulator's authority in a folder; "": by nobody.
func ownLeaf(t testing.TB, dir, name string, sans []string, lasts time.Duration) *tls.Certificate {
	t.Helper()
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: sans, NotAfter: time.Now().Add(lasts), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if dir == "" {
		c, _ := minted(t, leaf, nil, nil)
		return c
	}
	by, byKey := authority(t, filepath.Join(dir, "pki", "intermediate.pem"))
	c, _ := minted(t, leaf, by, byKey)
	c.Certificate = append(c.Certificate, by.Raw)
	return c
}

// authority is a certificate and its key in a file of the simulator.
func authority(t testing.TB, path string) (c *x509.Certificate, key *rsa.PrivateKey) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			c, err = x509.ParseCertificate(block.Bytes)
		} else {
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c, key
}

// minted is a certificate by an authority; nil: by itself. text is it and its key in PEM.
func minted(t testing.TB, leaf, by *x509.Certificate, byKey *rsa.PrivateKey) (c *tls.Certificate, text []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	leaf.SerialNumber, leaf.NotBefore, leaf.KeyUsage = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment
	if by == nil {
		by, byKey = leaf, key
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	text = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, text
}

// TestADeletedGatewayKeepsItsUsage: the platform says that the gateway is gone; nothing is sent any more, and nothing is lost.
func TestADeletedGatewayKeepsItsUsage(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	f := p.register(t.TempDir(), "gone")
	h := newHost(t, f).start(metering.Options{})
	h.count("default/a", 2)
	h.settled(p)
	c := &anypoint.Client{Base: p.sim.URL(), HTTP: p.client()}
	token, err := c.Connect(t.Context(), sim.ClientID, ir.NewSecret(sim.ClientSecret))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), token, anypoint.In{Organization: f.OrganizationID, Environment: f.EnvironmentID}, f.AgentID); err != nil {
		t.Fatal(err)
	}
	h.count("default/a", 5)
	if err := h.flush(); err == nil {
		t.Error("reported")
	}
	if s := h.Delivery(); s.Reason != metering.Gone || s.Requests != 5 {
		t.Errorf("%+v", s)
	}
	h.end()
	h.start(metering.Options{}) // a restart changes nothing
	if err := h.flush(); err == nil || h.Delivery().Requests != 5 {
		t.Errorf("%v, %+v", err, h.Delivery())
	}

	// Registered anew, it is another gateway: what was counted for the old one is set aside, and what comes is reported.
	h.end()
	h.file = p.register(t.TempDir(), "gone")
	h.start(metering.Options{})
	h.true = 2 // that the platform has
	h.count("default/a", 4)
	h.settled(p)
	if s := h.Delivery(); s.Quarantined != 5 {
		t.Errorf("%+v", s)
	}
}

// TestSpool is row 4 of the matrix, on our side.
func TestSpool(t *testing.T) {
	t.Parallel()
	t.Run("a crash between the answer and the ack", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, nil)
		h := newHost(t, p.register(t.TempDir(), "edge")).start(metering.Options{})
		h.settled(p)
		l, sink := h.alone()
		h.seal("default/a", 6)
		b, _ := l.Next()
		if _, err := sink.Deliver(t.Context(), b); err != nil { // and here it is killed
			t.Fatal(err)
		}
		l.Close()
		h.exact(p)
		h.start(metering.Options{})
		h.settled(p)
	})
	t.Run("two replicas", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, nil)
		f := p.register(t.TempDir(), "edge")
		a, b := newHost(t, f).start(metering.Options{}), newHost(t, f).start(metering.Options{})
		a.count("default/a", 3)
		b.count("default/a", 4)
		if err := a.flush(); err != nil {
			t.Error(err)
		}
		a.true = 7
		b.true = 7
		b.settled(p)
		a.exact(p)
		if n := len(p.sim.State().Registrations[0].Replicas); n != 2 {
			t.Errorf("%d replicas", n)
		}
	})
	t.Run("batches in another order", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, nil)
		h := newHost(t, p.register(t.TempDir(), "edge")).start(metering.Options{})
		h.settled(p)
		l, sink := h.alone()
		defer l.Close()
		for range 3 {
			h.seal("default/a", 5)
		}
		all := l.Batches()
		for _, i := range []int{2, 0, 1, 2, 0} {
			if _, err := sink.Deliver(t.Context(), all[i]); err != nil {
				t.Error(err)
			}
		}
		h.exact(p)
	})
	t.Run("a wiped spool", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, nil)
		h := newHost(t, p.register(t.TempDir(), "edge")).start(metering.Options{})
		h.count("default/a", 9)
		h.settled(p)
		h.end()
		if err := os.RemoveAll(h.dir); err != nil {
			t.Fatal(err)
		}
		h.start(metering.Options{})
		h.count("default/a", 2)
		h.settled(p)
	})
	t.Run("a full spool", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, nil)
		h := newHost(t, p.register(t.TempDir(), "edge"))
		h.start(metering.Options{MaxBytes: 8 << 10})
		if err := p.sim.SetFaults(sim.Fault{Next: 1_000_000, Status: sim.Outcome{Code: 503}, Path: anypoint.PathMetering}); err != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			h.count(fmt.Sprintf("default/an-api-with-a-long-name-%d", i), 1)
		}
		lost := h.ledger.State().Lost
		if lost == 0 || h.flush() == nil {
			t.Fatalf("%d lost", lost)
		}
		if err := p.sim.SetFaults(); err != nil {
			t.Fatal(err)
		}
		h.true -= lost
		h.settled(p)
		if got := p.sim.State().Lost.APICalls; got != lost {
			t.Errorf("the platform was told of %d lost requests, and %d were", got, lost)
		}
	})
	t.Run("a clock that jumps, and hours", func(t *testing.T) {
		t.Parallel()
		var at atomic.Pointer[time.Time]
		begin := time.Now().UTC().Truncate(time.Hour).Add(58 * time.Minute)
		at.Store(&begin)
		now := func() time.Time { return *at.Load() }
		p := newPlatform(t, nil)
		h := newHost(t, p.register(t.TempDir(), "edge"))
		h.now = now
		h.after = func(time.Duration) <-chan time.Time { return nil } // flushes alone
		h.start(metering.Options{})
		for _, jump := range []time.Duration{0, 3 * time.Minute, time.Hour, -70 * time.Minute, 5 * time.Minute, 2 * time.Hour} {
			next := now().Add(jump)
			at.Store(&next)
			h.count("default/a", 11)
			h.settled(p)
		}
		for _, x := range p.sim.State().Hours {
			if x.Start.Location() != time.UTC || !x.Start.Equal(x.Start.Truncate(time.Hour)) {
				t.Errorf("%v", x)
			}
		}
		if n := len(p.sim.State().Hours); n < 3 {
			t.Errorf("%d hours", n)
		}
	})
}
