package egress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/egress"
)

// authority signs certificates of tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next atomic.Int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key}
}

// issue makes a certificate of a name, for servers and clients.
func (a *authority) issue(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(a.next.Add(1) + 1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	pool, err := egress.Roots(a.pem())
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// platform is a server in the platform's place, and what it saw.
type platform struct {
	*httptest.Server
	at string // host:port

	mu    sync.Mutex
	seen  []*http.Request
	peers []string // the common names of the clients' certificates, "" for none
}

func newPlatform(t *testing.T, a *authority, name string, config func(*tls.Config), h http.HandlerFunc) *platform {
	t.Helper()
	p := &platform{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r)
		peer := ""
		if len(r.TLS.PeerCertificates) > 0 {
			peer = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		p.peers = append(p.peers, peer)
		p.mu.Unlock()
		h(w, r)
	}))
	p.EnableHTTP2 = true
	p.Config.ErrorLog = quiet()
	p.TLS = &tls.Config{Certificates: []tls.Certificate{*a.issue(t, name)}}
	if config != nil {
		config(p.TLS)
	}
	p.StartTLS()
	t.Cleanup(p.Close)
	p.at = host(t, p.URL)
	return p
}

func (p *platform) requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request{}, p.seen...)
}

func (p *platform) clients() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.peers, " ")
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func usageOf(t *testing.T, a *authority, hosts ...string) *egress.Egress {
	t.Helper()
	e := egress.New(egress.Options{})
	e.SetTLS(egress.Usage, egress.TLS{Roots: a.pool(t)})
	var to []egress.Destination
	for _, h := range hosts {
		to = append(to, egress.Destination{Host: h, Why: "registration.yaml"})
	}
	e.Set(egress.Usage, to)
	return e
}

func TestAnypointIsExactHostAndPort(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := newPlatform(t, a, "127.0.0.1", nil, answer("taken"))
	other := newPlatform(t, a, "127.0.0.1", nil, answer("other"))
	e := usageOf(t, a, p.at)
	if got, err := get(t, e.HTTPClient(egress.Usage), p.URL); err != nil || got != "taken" {
		t.Fatalf("got %q, %v", got, err)
	}
	if major := p.requests()[0].ProtoMajor; major != 2 {
		t.Errorf("spoke HTTP/%d, want 2 where it is offered", major)
	}
	_, err := get(t, e.HTTPClient(egress.Usage), other.URL)
	wantRefused(t, err, egress.Usage, other.at)
	_, err = get(t, e.HTTPClient(egress.Registration), p.URL)
	wantRefused(t, err, egress.Registration, p.at)

	// A host without a port, which is every port elsewhere, is none here.
	e.Set(egress.Usage, []egress.Destination{{Host: "127.0.0.1", Why: "registration.yaml"}})
	_, err = get(t, e.HTTPClient(egress.Usage), p.URL)
	wantRefused(t, err, egress.Usage, p.at)
	if list := e.List(); len(list) != 0 {
		t.Errorf("listed, and not allowed: %v", list)
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("the other host was called %d times", n)
	}
}

func TestAnypointIsHTTPSOnly(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(answer("plain"))
	t.Cleanup(plain.Close)
	e := egress.New(egress.Options{})
	e.Set(egress.Usage, []egress.Destination{{Host: host(t, plain.URL), Why: "registration.yaml"}})
	var refused *egress.RefusedError
	if _, err := get(t, e.HTTPClient(egress.Usage), plain.URL); !errors.As(err, &refused) || refused.Rule == "" || !strings.Contains(err.Error(), "only https") {
		t.Errorf("error = %v, want the rule", err)
	}
	if _, err := e.Dial(context.Background(), egress.Usage, "tcp", host(t, plain.URL)); !errors.As(err, &refused) {
		t.Errorf("Dial: %v, want it refused: it would pass TLS and the proxy by", err)
	}
}

func TestAnypointFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	other := newPlatform(t, a, "127.0.0.1", nil, answer("other"))
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newPlatform(t, a, "127.0.0.1", nil, http.RedirectHandler(other.URL, status).ServeHTTP)
		e := usageOf(t, a, p.at, other.at) // allowed, and still not followed
		r, err := e.HTTPClient(egress.Usage).Post(p.URL, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != status {
			t.Errorf("status %d, want the %d as it came", r.StatusCode, status)
		}
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func TestAnypointWantsTLS12AndKnownRoots(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	old := newPlatform(t, a, "127.0.0.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, answer(""))
	if _, err := get(t, usageOf(t, a, old.at).HTTPClient(egress.Usage), old.URL); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v, want its version refused", err)
	}
	least := newPlatform(t, a, "127.0.0.1", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, answer("ok"))
	if got, err := get(t, usageOf(t, a, least.at).HTTPClient(egress.Usage), least.URL); err != nil || got != "ok" {
		t.Errorf("TLS 1.2: %q, %v", got, err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := get(t, usageOf(t, stranger, least.at).HTTPClient(egress.Usage), least.URL); !errors.As(err, &unknown) {
		t.Errorf("another authority: %v, want it unknown", err)
	}
	var wrongName x509.HostnameError
	named := newPlatform(t, a, "metering.example", nil, answer(""))
	if _, err := get(t, usageOf(t, a, named.at).HTTPClient(egress.Usage), named.URL); !errors.As(err, &wrongName) {
		t.Errorf("another name: %v, want it refused", err)
	}
}

func TestRootsAreAddedToTheSystems(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	want := system.Clone()
	want.AddCert(a.cert)
	if !a.pool(t).Equal(want) {
		t.Error("Roots is not the system's and the one given")
	}
	for _, text := range []string{"", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "nonsense"} {
		if _, err := egress.Roots([]byte(text)); err == nil {
			t.Errorf("%q was taken for certificates", text)
		}
	}
}

// A renewed certificate is shown from the next request on, whoever kept the client.
func TestCertificateIsSwappedWhileRunning(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := newPlatform(t, a, "127.0.0.1", func(c *tls.Config) {
		c.ClientAuth = tls.RequestClientCert
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AddCert(a.cert)
	}, answer("ok"))
	e := usageOf(t, a, p.at)
	c := e.HTTPClient(egress.Usage)
	try := func() {
		t.Helper()
		if _, err := get(t, c, p.URL); err != nil {
			t.Fatal(err)
		}
	}
	try()
	show := func(cert *tls.Certificate) {
		e.SetTLS(egress.Usage, egress.TLS{Roots: a.pool(t), Certificate: func() (*tls.Certificate, error) { return cert, nil }})
	}
	show(a.issue(t, "agent-old"))
	try()
	show(a.issue(t, "agent-new"))
	try()
	show(nil)
	try()
	if got, want := p.clients(), " agent-old agent-new "; got != want {
		t.Errorf("shown %q, want %q", got, want)
	}

	gone := errors.New("registration.yaml: no such file")
	e.SetTLS(egress.Usage, egress.TLS{Roots: a.pool(t), Certificate: func() (*tls.Certificate, error) { return nil, gone }})
	if _, err := get(t, c, p.URL); !errors.Is(err, gone) {
		t.Errorf("error = %v, want why there is no certificate", err)
	}

	// The other purpose shows none.
	e.Set(egress.Registration, []egress.Destination{{Host: p.at, Why: "--anypoint-url"}})
	e.SetTLS(egress.Registration, egress.TLS{Roots: a.pool(t)})
	if _, err := get(t, e.HTTPClient(egress.Registration), p.URL); err != nil {
		t.Fatal(err)
	}
	if got, want := p.clients(), " agent-old agent-new  "; got != want {
		t.Errorf("shown %q, want %q", got, want)
	}
}

func TestOnlyLeavesPurposes(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := newPlatform(t, a, "127.0.0.1", nil, answer("ok"))
	e := usageOf(t, a, p.at)
	e.Set(egress.JWKS, []egress.Destination{{Host: p.at, Why: "jwt.yaml:9:7"}})
	e.Only(egress.Usage)
	e.Set(egress.Webhook, []egress.Destination{{Host: p.at, Why: "--webhook"}})
	for _, purpose := range []egress.Purpose{egress.JWKS, egress.Webhook} {
		_, err := get(t, e.HTTPClient(purpose), p.URL)
		wantRefused(t, err, purpose, p.at)
	}
	if _, err := get(t, e.HTTPClient(egress.Usage), p.URL); err != nil {
		t.Error(err)
	}
	if list := e.List(); len(list) != 1 || list[0].Purpose != egress.Usage {
		t.Errorf("list = %v, want usage alone", list)
	}
	e.Only()
	if _, err := get(t, e.HTTPClient(egress.Usage), p.URL); err == nil || len(e.List()) != 0 {
		t.Errorf("nothing is left: %v, list %v", err, e.List())
	}
}

func TestPatience(t *testing.T) {
	t.Parallel()
	if got, want := egress.New(egress.Options{}).Patient(), [4]time.Duration{10 * time.Second, 10 * time.Second, 10 * time.Second, time.Minute}; got != want {
		t.Errorf("timeouts = %v, want %v (anypoint.md 5.8)", got, want)
	}
	if got := egress.New(egress.Options{}).HTTPClient(egress.Usage).Timeout; got != time.Minute {
		t.Errorf("request: %v, want 1m", got)
	}
}

func TestHandshakeThatHangsEnds(t *testing.T) {
	t.Parallel()
	at := silent(t)
	e := egress.New(egress.Options{})
	e.Hurry(50 * time.Millisecond)
	e.Set(egress.Usage, []egress.Destination{{Host: at, Why: "registration.yaml"}})
	start := time.Now()
	_, err := get(t, e.HTTPClient(egress.Usage), "https://"+at)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) > 50*time.Second {
		t.Errorf("after %v: %v, want a timeout", time.Since(start), err)
	}
}

// silent accepts connections and says nothing.
func silent(t *testing.T) (at string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			c.Close()
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
	}()
	return l.Addr().String()
}
