package probe_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// port is a gateway with one API, /shop, that the probes are for. It declares every address of the host.
func port(t *testing.T, addr net.Addr, tls bool, probes ...*ir.Probe) *ir.Gateway {
	t.Helper()
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	api := &ir.API{Origin: ir.Origin{Object: diag.Object{Kind: "ApiInstance", Namespace: "default", Name: "shop"}}, BasePath: "/shop"}
	l := &ir.Listener{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), APIs: []*ir.API{api}}
	if tls {
		l.TLS = &ir.Binding{}
	}
	for i, p := range probes {
		p.API, p.Origin = api, ir.Origin{Object: diag.Object{Kind: "Probe", Namespace: "default", Name: fmt.Sprintf("p%d", i)}}
		if p.Timeout == 0 {
			p.Timeout = time.Minute
		}
		if p.Attempts == 0 {
			p.Attempts = 1
		}
		p.Period = 10 * time.Millisecond
	}
	return &ir.Gateway{Settings: &ir.Settings{}, Listeners: []*ir.Listener{l}, Probes: probes}
}

func get(change func(*ir.ProbeHTTP)) *ir.Probe {
	h := &ir.ProbeHTTP{Method: "GET", Path: "/health", Status: []ir.StatusRange{{From: 200, To: 299}}}
	if change != nil {
		change(h)
	}
	return &ir.Probe{HTTP: h}
}

// ask asks as the daemon does, through an egress that allows the listeners of the gateway.
func ask(ctx context.Context, g *ir.Gateway) diag.List {
	e := egress.New(egress.Options{})
	e.Set(egress.Probe, probe.Destinations(g))
	p := probe.Prober{Now: time.Now, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return e.Dial(ctx, egress.Probe, network, addr)
	}}
	return p.Ask(ctx, g)
}

// said are the messages, with the port and ends of addresses cut.
func said(list diag.List, addr net.Addr) string {
	var out []string
	for _, d := range list {
		out = append(out, strings.ReplaceAll(d.Summary, addr.String(), "HOST"))
	}
	return strings.Join(out, "\n")
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-of-the-probe"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/shop/health":
			fmt.Fprintf(w, "%s %s for %s", r.Method, r.URL.RawQuery, r.Host)
		case "/shop/down":
			http.Error(w, "no healthy\nupstream", http.StatusServiceUnavailable)
		case "/shop/login":
			http.Redirect(w, r, "/shop/health", http.StatusFound)
		case "/shop/mirror":
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, "%s and %s", r.Header.Get("x-key"), body)
		}
	}))
	t.Cleanup(s.Close) // subtests are parallel
	at := s.Listener.Addr()
	for _, c := range []struct {
		name string
		ask  *ir.Probe
		want string // "" it is right
	}{
		{"right", get(nil), ""},
		{"query, host and method", get(func(h *ir.ProbeHTTP) {
			h.Method, h.Path, h.Host, h.Contains = "POST", "/health?deep=1", "shop.test", "POST deep=1 for shop.test"
		}), ""},
		{"status", get(func(h *ir.ProbeHTTP) { h.Path = "/down" }), `GET http://HOST/shop/down answered 503 "no healthy upstream", expected 200 to 299`},
		{"another status", get(func(h *ir.ProbeHTTP) {
			h.Path, h.Status = "/down", []ir.StatusRange{{From: 200, To: 200}, {From: 404, To: 404}, {From: 503, To: 503}}
		}), ""},
		{"statuses", get(func(h *ir.ProbeHTTP) { h.Status = []ir.StatusRange{{From: 201, To: 201}, {From: 400, To: 499}} }),
			`GET http://HOST/shop/health answered 200 "GET for HOST", expected 201 or 400 to 499`},
		{"a redirect is not followed", get(func(h *ir.ProbeHTTP) { h.Path = "/login" }), `GET http://HOST/shop/login answered 302 "/shop/health", expected 200 to 299`},
		{"header", get(func(h *ir.ProbeHTTP) {
			h.Wanted = []ir.HeaderPattern{{Name: "content-type", Pattern: ir.Pattern{Text: "text/.*"}}}
		}), ""},
		{"the whole header", get(func(h *ir.ProbeHTTP) {
			h.Wanted = []ir.HeaderPattern{{Name: "content-type", Pattern: ir.Pattern{Text: "text|json"}}}
		}), `GET http://HOST/shop/health answered with header content-type "text/plain", expected a value that matches "text|json"`},
		{"no header", get(func(h *ir.ProbeHTTP) {
			h.Wanted = []ir.HeaderPattern{{Name: "x-version", Pattern: ir.Pattern{Text: ".*"}}}
		}), `GET http://HOST/shop/health answered 200 without a header "x-version"`},
		{"body", get(func(h *ir.ProbeHTTP) { h.Contains = "up" }), `GET http://HOST/shop/health answered 200 "GET for HOST", expected a body with "up" in it`},
		{"what is secret is not repeated", get(func(h *ir.ProbeHTTP) {
			h.Path, h.Method, h.Body = "/mirror", "POST", ir.NewSecret("body "+secret)
			h.Headers = []ir.ProbeHeader{{Name: "x-key", Value: ir.NewSecret(secret), Hidden: true}}
		}), `POST http://HOST/shop/mirror answered 418 "[redacted] and [redacted]", expected 200 to 299`},
		{"tries", &ir.Probe{Attempts: 3, HTTP: get(func(h *ir.ProbeHTTP) { h.Path = "/down" }).HTTP},
			`GET http://HOST/shop/down answered 503 "no healthy upstream", expected 200 to 299, 3 times`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list := ask(t.Context(), port(t, at, false, c.ask))
			if got := said(list, at); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, d := range list {
				if d.Severity != diag.Error || d.Code != "probe/failed" || d.Object.Name != "p0" || strings.Contains(d.String(), secret) {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

func TestFirstRightAnswerEnds(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	if list := ask(t.Context(), port(t, s.Listener.Addr(), false, &ir.Probe{Attempts: 5, HTTP: get(nil).HTTP})); list != nil || n.Load() != 3 {
		t.Errorf("after %d requests: %v", n.Load(), list)
	}
}

// Only listeners that the accepted declarations have are called.
func TestCallsItsListenersOnly(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	g := port(t, s.Listener.Addr(), false, get(nil))
	if d := probe.Destinations(g); len(d) != 1 || d[0].Host != s.Listener.Addr().String() || !strings.HasPrefix(d[0].Why, "probe p0: ") {
		t.Errorf("destinations %+v", d)
	}
	e := egress.New(egress.Options{})
	p := probe.Prober{Now: time.Now, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return e.Dial(ctx, egress.Probe, network, addr)
	}}
	if list := p.Ask(t.Context(), g); !strings.Contains(list.Err().Error(), "not an allowed destination") {
		t.Errorf("%v", list)
	}
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		if line, _ := r.ReadString('\n'); line == "PROXY UNKNOWN\r\n" {
			if _, err := http.ReadRequest(r); err == nil {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	}()
	g := port(t, l.Addr(), false, get(nil))
	g.Settings.ProxyProtocol = true
	if list := ask(t.Context(), g); list != nil {
		t.Errorf("%v", list)
	}
}

// issue makes a certificate for shop.test that its issuer signs; nil: itself.
func issue(t *testing.T, from, until time.Time, issuer *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.test"}, NotBefore: from, NotAfter: until, DNSNames: []string{"shop.test"},
		IsCA: issuer == nil, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	parent, signer := c, any(key)
	var chain [][]byte
	if issuer != nil {
		parent, signer, chain = issuer.Leaf, issuer.PrivateKey, issuer.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, chain...), PrivateKey: key, Leaf: leaf}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	ca := issue(t, hour(-9), hour(9), nil)
	foreign := issue(t, hour(-9), hour(9), nil)
	good := issue(t, hour(-1), hour(1), ca)
	broken := &tls.Certificate{Certificate: [][]byte{good.Certificate[0], foreign.Certificate[0]}, PrivateKey: good.PrivateKey}
	old := issue(t, hour(-2), hour(-1), ca)
	for _, c := range []struct {
		name string
		cert *tls.Certificate
		ask  *ir.Probe
		want string
	}{
		{"right", good, &ir.Probe{TLS: &ir.ProbeTLS{ServerName: "shop.test"}}, ""},
		{"no name", good, &ir.Probe{TLS: &ir.ProbeTLS{}}, ""},
		{"signed by itself", foreign, &ir.Probe{TLS: &ir.ProbeTLS{}}, ""},
		{"the leaf alone", &tls.Certificate{Certificate: good.Certificate[:1], PrivateKey: good.PrivateKey}, &ir.Probe{TLS: &ir.ProbeTLS{}}, ""},
		{"expired", old, &ir.Probe{TLS: &ir.ProbeTLS{}}, fmt.Sprintf(`a TLS handshake with HOST was shown a certificate of "shop.test" that expired on %s`, hour(-1).UTC().Format(time.RFC3339))},
		{"not yet", issue(t, hour(1), hour(2), ca), &ir.Probe{TLS: &ir.ProbeTLS{}}, fmt.Sprintf(`a TLS handshake with HOST was shown a certificate of "shop.test" that is valid from %s on`, hour(1).UTC().Format(time.RFC3339))},
		{"another name", good, &ir.Probe{TLS: &ir.ProbeTLS{ServerName: "other.test"}}, `a TLS handshake with HOST was shown a certificate that is not for "other.test" but for "shop.test"`},
		{"another chain", broken, &ir.Probe{TLS: &ir.ProbeTLS{}}, `a TLS handshake with HOST was shown a certificate that can not be verified: `},
		{"a request", good, &ir.Probe{HTTP: get(func(h *ir.ProbeHTTP) { h.Contains = "hello" }).HTTP, TLS: &ir.ProbeTLS{ServerName: "shop.test"}}, ""},
		{"a request to an old one", old, &ir.Probe{HTTP: get(nil).HTTP, TLS: &ir.ProbeTLS{}}, `GET https://HOST/shop/health was shown a certificate of "shop.test" that expired on `},
		{"a request that judges no certificate", old, &ir.Probe{HTTP: get(nil).HTTP}, ""},
		{"the host of a request is the name", good, &ir.Probe{HTTP: get(func(h *ir.ProbeHTTP) { h.Host = "other.test:8443" }).HTTP, TLS: &ir.ProbeTLS{}}, `GET https://HOST/shop/health was shown a certificate that is not for "other.test"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
			s.TLS = &tls.Config{Certificates: []tls.Certificate{*c.cert}}
			s.StartTLS()
			defer s.Close()
			at := s.Listener.Addr()
			got := said(ask(t.Context(), port(t, at, true, c.ask)), at)
			if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A port that speaks no TLS after all, or wants to know who asks.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if got := said(ask(t.Context(), port(t, plain.Listener.Addr(), true, &ir.Probe{TLS: &ir.ProbeTLS{}})), plain.Listener.Addr()); !strings.HasPrefix(got, "a TLS handshake with HOST failed in the TLS handshake: ") {
		t.Error(got)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*issue(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), nil)}, ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	if got := said(ask(t.Context(), port(t, s.Listener.Addr(), true, get(nil))), s.Listener.Addr()); !strings.HasPrefix(got, "GET https://HOST/shop/health failed in TLS: remote error: tls: certificate required") {
		t.Error(got)
	}
}

// pair is a certificate as a probe declares it.
func pair(t *testing.T, c *tls.Certificate) *ir.ProbePair {
	t.Helper()
	var crt strings.Builder
	for _, der := range c.Certificate {
		if err := pem.Encode(&crt, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &ir.ProbePair{Certificate: crt.String(), Key: ir.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))}
}

// A port that wants a client certificate gets that of the probe, in both versions of TLS, and whether it takes it is found by a
// handshake alone, too.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca, foreign := issue(t, now.Add(-time.Hour), now.Add(time.Hour), nil), issue(t, now.Add(-time.Hour), now.Add(time.Hour), nil)
	client, stranger := pair(t, issue(t, now.Add(-time.Hour), now.Add(time.Hour), ca)), pair(t, issue(t, now.Add(-time.Hour), now.Add(time.Hour), foreign))
	swapped := &ir.ProbePair{Certificate: client.Certificate, Key: stranger.Key}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	for version, name := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*issue(t, now.Add(-time.Hour), now.Add(time.Hour), ca)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: version, MaxVersion: version}
		s.StartTLS()
		t.Cleanup(s.Close)
		at := s.Listener.Addr()
		for _, c := range []struct {
			name   string
			client *ir.ProbePair
			want   string // a part of it; "" it is right
		}{
			{"right", client, ""},
			{"foreign", stranger, "tls: "},
			{"no pair", swapped, "has no client certificate to show: its certificate and key are no pair"},
		} {
			for how, h := range map[string]*ir.ProbeHTTP{"handshake": nil, "request": get(func(h *ir.ProbeHTTP) { h.Contains = "shop.test" }).HTTP} {
				t.Run(name+" "+c.name+" "+how, func(t *testing.T) {
					t.Parallel()
					got := said(ask(t.Context(), port(t, at, true, &ir.Probe{HTTP: h, TLS: &ir.ProbeTLS{ServerName: "shop.test", Client: c.client}})), at)
					if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Contains(got, "had no answer") {
						t.Errorf("got %q, want %q", got, c.want)
					}
				})
			}
		}
	}
}

// shut is a connection that the other side ends: the first write after the handshake finds that, before anything is read.
type shut struct {
	net.Conn
	ended  <-chan struct{}
	wrote  atomic.Int64
	failed chan struct{} // closed by that write
}

func (s *shut) Read(p []byte) (int, error) {
	if s.wrote.Load() >= 2 {
		<-s.failed
	}
	return s.Conn.Read(p)
}

func (s *shut) Write(p []byte) (int, error) {
	if n := s.wrote.Add(1); n > 2 { // after the greeting and what ends the handshake
		<-s.ended
		if n == 3 {
			close(s.failed)
		}
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
	}
	return s.Conn.Write(p)
}

// What a port has against a certificate is said also when it has ended the connection before the request was written.
func TestClientCertificateAndAClosedConnection(t *testing.T) {
	t.Parallel()
	now := time.Now()
	own := issue(t, now.Add(-time.Hour), now.Add(time.Hour), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*own}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}).Handshake()
		c.Close()
	}()
	p := probe.Prober{Now: time.Now, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &shut{Conn: c, ended: ended, failed: make(chan struct{})}, err
	}}
	if got, want := said(p.Ask(t.Context(), port(t, l.Addr(), true, get(nil))), l.Addr()), "failed in TLS: remote error: tls: certificate required"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
