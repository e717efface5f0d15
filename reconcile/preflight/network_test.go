package preflight_test

import (
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
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/flexgw/flexgw/reconcile/preflight"
)

// authority signs certificates of one name, made in the test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{name + " Inc"}},
		NotBefore: today.Add(-24 * time.Hour * 365), NotAfter: today.Add(24 * time.Hour * 3650), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func (a authority) issue(t *testing.T, host string, from, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
}

// internet is what is out there, on loopback: one server that is every host, and what it does for some of them.
type internet struct {
	t      *testing.T
	addr   string
	public authority
	corp   authority // of the site: it opens TLS

	mu       sync.Mutex
	certs    map[string]tls.Certificate
	opened   map[string]bool // TLS is opened with the site's authority
	mutual   map[string]bool // a client certificate is asked for
	nameless map[string]bool // not in DNS
	closed   map[string]bool // refuses
	odd      map[string]func(net.Conn)
	staple   map[string]time.Time // when an OCSP answer was made
	version  uint16
	dialed   []string
	looked   []string
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &internet{t: t, addr: l.Addr().String(), public: newAuthority(t, "Everybody Knows CA"), corp: newAuthority(t, "Corp Gateway CA"),
		certs: map[string]tls.Certificate{}, opened: map[string]bool{}, mutual: map[string]bool{}, nameless: map[string]bool{}, closed: map[string]bool{}, odd: map[string]func(net.Conn){}, staple: map[string]time.Time{}}
	var served sync.WaitGroup
	t.Cleanup(func() { l.Close(); served.Wait() })
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { n.serve(c) })
		}
	})
	return n
}

// serve speaks TLS, and fails the test when anything is sent within it: no request may be.
func (n *internet) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	s := tls.Server(c, &tls.Config{GetConfigForClient: n.config})
	if s.Handshake() != nil {
		return
	}
	b := make([]byte, 1)
	if k, _ := s.Read(b); k > 0 {
		n.t.Errorf("%s was sent something: no request may be sent", s.ConnectionState().ServerName)
	}
}

func (n *internet) config(h *tls.ClientHelloInfo) (*tls.Config, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	by := n.public
	if n.opened[h.ServerName] {
		by = n.corp
	}
	cert, ok := n.certs[h.ServerName]
	if !ok {
		cert = by.issue(n.t, h.ServerName, today.Add(-time.Hour), today.Add(90*24*time.Hour))
	}
	if at, ok := n.staple[h.ServerName]; ok {
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return nil, err
		}
		cert.OCSPStaple, err = ocsp.CreateResponse(by.cert, by.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: at, NextUpdate: at.Add(7 * 24 * time.Hour)}, by.key)
		if err != nil {
			return nil, err
		}
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: n.version}
	if n.mutual[h.ServerName] {
		c.ClientAuth = tls.RequestClientCert
		if n.version == tls.VersionTLS12 {
			c.ClientAuth = tls.RequireAnyClientCert
		}
	}
	return c, nil
}

// join gives a world this internet: its names, its connections, its authorities.
func (n *internet) join(w *preflight.World) {
	w.Roots = x509.NewCertPool()
	w.Roots.AddCert(n.public.cert)
	w.Resolve = func(_ context.Context, addr string) ([]netip.Addr, error) {
		host, _, _ := net.SplitHostPort(addr)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.looked = append(n.looked, host)
		if n.nameless[host] {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	w.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		n.mu.Lock()
		n.dialed = append(n.dialed, addr)
		odd := n.odd[host]
		closed := n.closed[host]
		n.mu.Unlock()
		if closed {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		if odd != nil {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			go func() {
				defer l.Close()
				if c, err := l.Accept(); err == nil {
					defer c.Close()
					_, _ = c.Read(make([]byte, 4096)) // the client's hello
					odd(c)
				}
			}()
			return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		}
		return new(net.Dialer).DialContext(ctx, network, n.addr)
	}
}

func host(addr string) string { h, _, _ := net.SplitHostPort(addr); return h }

// severityOf is how bad it is that a row's host cannot be reached, when the product itself is not asked about.
func severityOf(x preflight.Row) preflight.Severity {
	if x["flexgw"] == "registration" || x["flexgw"] == "usage" {
		return preflight.Error
	}
	return preflight.Warn
}

func TestEveryHostOfThePlanes(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("hosts")
	if len(rows) != 21 {
		t.Errorf("the table has %d rows, the reference has 21", len(rows))
	}
	for _, plane := range []string{"US", "EU"} {
		n := newInternet(t)
		w := world(t, with(map[string]string{"/usr/local/share/ca-certificates/corp.crt": n.corp.pem()}))
		n.join(&w)
		w.Roots.AddCert(n.corp.cert)
		for _, x := range rows {
			n.mutual[x["host"]] = x["protocol"] == "mTLS"
		}
		o := preflight.Options{Plane: plane, AllHosts: true}
		good := run(t, w, o)
		listed := run(t, w, preflight.Options{Plane: plane, NoNetwork: true})
		own := run(t, w, preflight.Options{Plane: plane})

		bad := map[string][]preflight.Result{}
		n.nameless = all(rows)
		bad["network.dns"] = run(t, w, o)
		n.nameless, n.closed = map[string]bool{}, all(rows)
		bad["network.tcp"] = run(t, w, o)
		n.closed, n.opened = map[string]bool{}, all(rows)
		opened := run(t, w, o)
		n.mutual = map[string]bool{}
		unasked := run(t, w, o)

		for _, x := range rows {
			addr := x["host"] + ":" + x["port"]
			if x["plane"] != plane {
				continue
			}
			for id, observed := range map[string]string{"network.dns": "127.0.0.1", "network.tcp": "connected to 127.0.0.1", "network.tls": "TLS 1.3",
				"network.chain": "issued by Everybody Knows CA (Everybody Knows CA Inc)", "network.passthrough": "issued by Everybody Knows CA"} {
				r := find(t, good, id, addr)
				if want(t, r, preflight.OK, observed); !strings.Contains(r.Source, "[D] hosts of plane "+plane) {
					t.Errorf("source %q", r.Source)
				}
			}
			r := find(t, listed, "network.host", addr)
			want(t, r, preflight.Info, "not probed")
			if !strings.Contains(r.Expected, x["protocol"]) || !strings.Contains(r.Expected, x["purpose"]) || strings.Contains(r.Expected, "must not be opened") != (x["passthrough"] == "yes") {
				t.Errorf("expected %q", r.Expected)
			}
			if called := slices.ContainsFunc(own, func(r preflight.Result) bool { return r.Subject == addr && r.CheckID == "network.tls" }); called != (x["flexgw"] != "never") {
				t.Errorf("%s: called without leave: %v", addr, called)
			}
			for id, found := range bad {
				want(t, find(t, found, id, addr), severityOf(x), "")
			}
			want(t, find(t, bad["network.dns"], "network.tls", addr), preflight.Skipped, "an earlier step")
			r = find(t, opened, "network.passthrough", addr)
			if x["passthrough"] == "yes" {
				want(t, r, severityOf(x), "an authority of this site (Corp Gateway CA)")
			} else {
				want(t, r, preflight.Info, "an authority of this site (Corp Gateway CA)")
			}
			if x["protocol"] == "mTLS" {
				want(t, find(t, good, "network.client_certificate", addr), preflight.OK, "it asks")
				want(t, find(t, unasked, "network.client_certificate", addr), preflight.Warn, "does not ask")
			}
			late := find(t, run(t, w, preflight.Options{Plane: plane, NoNetwork: true, Release: release(t, "1.0")}), "network.host", addr)
			if needed := x["since"] == "1.0"; needed != (late.Severity == preflight.Info) {
				t.Errorf("release 1.0: %+v", late)
			}
		}
	}
}

func all(rows []preflight.Row) map[string]bool {
	m := map[string]bool{}
	for _, x := range rows {
		m[x["host"]] = true
	}
	return m
}

// The product's own hosts are an error when it is to run here, but for those of Connected Mode.
func TestHostsOfTheProduct(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	w := world(t, good())
	n.join(&w)
	n.closed = all(preflight.Table("hosts"))
	found := run(t, w, preflight.Options{AllHosts: true, Product: true, Release: release(t, "1.14")})
	want(t, find(t, found, "network.tcp", "us1.ingest.mulesoft.com:443"), preflight.Error, "refused")
	want(t, find(t, found, "network.tcp", "exchange-files.anypoint.mulesoft.com:443"), preflight.Warn, "refused")
}

func TestNothingIsAskedWithoutLeave(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	w := world(t, good())
	n.join(&w)
	run(t, w, preflight.Options{NoNetwork: true, AllHosts: true})
	if len(n.dialed)+len(n.looked) > 0 {
		t.Errorf("asked with --no-network: %q, %q", n.dialed, n.looked)
	}
	run(t, w, preflight.Options{})
	two := []string{"anypoint.mulesoft.com:443", "metering.ingestion.us-east-1.prod.cloudhub.io:443"}
	if slices.Sort(n.dialed); !slices.Equal(n.dialed, two) {
		t.Errorf("dialed %q, want %q", n.dialed, two)
	}
	if called := preflight.Called(preflight.Options{}); !slices.Equal(called, two) {
		t.Errorf("called %q, want %q", called, two)
	}
}

func TestOtherPlanesAreNotDocumented(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("other_planes")
	if len(rows) != 4 {
		t.Errorf("the table has %d rows, the reference has 4", len(rows))
	}
	n := newInternet(t)
	w := world(t, good())
	n.join(&w)
	for _, x := range rows {
		plane, _, _ := strings.Cut(x["plane"], " ")
		found := run(t, w, preflight.Options{Plane: plane, AllHosts: true})
		want(t, find(t, found, "network.plane", plane), preflight.Warn, "not documented ("+x["status"])
		for h := range strings.SplitSeq(x["control_plane"]+";"+x["others"], ";") {
			if h = strings.TrimSpace(h); h != "" {
				want(t, find(t, found, "network.host", h), preflight.Info, "not probed")
			}
		}
	}
	if len(n.dialed)+len(n.looked) > 0 {
		t.Errorf("a host was guessed: %q, %q", n.dialed, n.looked)
	}
	want(t, find(t, run(t, w, offline()), "network.plane", "US"), preflight.OK, "documented")

	// What a registration names is no guess.
	o := preflight.Options{Plane: "JP", Registration: preflight.Registration{Platform: "jp1.platform.mulesoft.com:443", Usage: "metering.jp.example:443"}}
	found := run(t, w, o)
	want(t, find(t, found, "network.tls", "metering.jp.example:443"), preflight.OK, "TLS")
	if r := find(t, found, "network.tls", "metering.jp.example:443"); !strings.Contains(r.Source, "registration file") {
		t.Errorf("source %q", r.Source)
	}
}

func TestRegistrationNamesTheHosts(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	w := world(t, good())
	n.join(&w)
	eu := preflight.Registration{Platform: "eu1.anypoint.mulesoft.com:443", Usage: "metering.ingestion.eu-central-1.prod-eu.msap.io:443"}
	found := run(t, w, preflight.Options{Registration: eu})
	want(t, find(t, found, "network.plane", "EU"), preflight.OK, "documented")
	found = run(t, w, preflight.Options{Plane: "US", Registration: eu})
	want(t, find(t, found, "network.plane", "US"), preflight.Warn, "the registration is for plane EU")
	if slices.ContainsFunc(found, func(r preflight.Result) bool {
		return r.CheckID == "network.tcp" && r.Subject == "anypoint.mulesoft.com:443"
	}) {
		t.Error("the host of the table was called, and the registration names another")
	}
}

func TestWhatGoesWrongOnTheWay(t *testing.T) {
	t.Parallel()
	const platform, usage = "anypoint.mulesoft.com:443", "metering.ingestion.us-east-1.prod.cloudhub.io:443"
	judge := func(t *testing.T, prepare func(n *internet, w *preflight.World)) []preflight.Result {
		t.Helper()
		n := newInternet(t)
		n.mutual[host(usage)] = true
		w := world(t, good())
		n.join(&w)
		prepare(n, &w)
		return run(t, w, preflight.Options{})
	}
	found := judge(t, func(n *internet, _ *preflight.World) { n.opened[host(usage)] = true })
	r := find(t, found, "network.chain", usage)
	if want(t, r, preflight.Error, "issued by Corp Gateway CA (Corp Gateway CA Inc), which this host does not know"); !strings.Contains(r.Hint, "opens TLS") {
		t.Errorf("hint %q", r.Hint)
	}
	want(t, find(t, found, "network.passthrough", usage), preflight.Error, "an authority that nobody here knows")
	want(t, find(t, found, "network.passthrough", platform), preflight.OK, "")

	// The site's authority is trusted because a flag names it: still an error where TLS must not be opened.
	n := newInternet(t)
	w := world(t, good())
	n.join(&w)
	n.opened[host(usage)], n.opened[host(platform)] = true, true
	w.Roots.AddCert(n.corp.cert)
	found = run(t, w, preflight.Options{PrivateCA: []*x509.Certificate{n.corp.cert}})
	want(t, find(t, found, "network.chain", usage), preflight.OK, "Corp Gateway CA")
	want(t, find(t, found, "network.passthrough", usage), preflight.Error, "an authority of this site")
	want(t, find(t, found, "network.passthrough", platform), preflight.Info, "an authority of this site")

	// A known product is named, even if its authority came with the image of the host.
	zscaler := newAuthority(t, "Zscaler Intermediate Root CA")
	found = judge(t, func(n *internet, w *preflight.World) {
		w.Roots.AddCert(zscaler.cert)
		n.certs[host(usage)] = zscaler.issue(t, host(usage), today.Add(-time.Hour), today.Add(time.Hour))
	})
	want(t, find(t, found, "network.passthrough", usage), preflight.Error, "Zscaler")
	for _, x := range preflight.Table("interceptors") {
		ca := newAuthority(t, x["name"]+" Root")
		found = judge(t, func(n *internet, w *preflight.World) {
			w.Roots.AddCert(ca.cert)
			n.certs[host(usage)] = ca.issue(t, host(usage), today.Add(-time.Hour), today.Add(time.Hour))
		})
		want(t, find(t, found, "network.passthrough", usage), preflight.Error, "("+x["name"]+")")
	}

	found = judge(t, func(n *internet, _ *preflight.World) {
		n.certs[host(platform)] = n.public.issue(t, "login.hotel.example", today.Add(-time.Hour), today.Add(time.Hour))
	})
	want(t, find(t, found, "network.chain", platform), preflight.Error, "for login.hotel.example, not for anypoint.mulesoft.com")

	found = judge(t, func(n *internet, w *preflight.World) {
		w.Now = func() time.Time { return today.Add(100 * 24 * time.Hour) }
	})
	want(t, find(t, found, "network.chain", platform), preflight.Error, "this clock says 2027-03-06")
	want(t, find(t, found, "clock.certificates", platform), preflight.Error, "2027-03-06")
	found = judge(t, func(n *internet, w *preflight.World) { w.Now = func() time.Time { return today.Add(-2 * time.Hour) } })
	r = find(t, found, "clock.certificates", platform)
	if want(t, r, preflight.Error, "2026-11-26T10:00:00Z"); !strings.Contains(r.Hint, "behind") {
		t.Errorf("hint %q", r.Hint)
	}

	// An answer about the certificate, stapled, binds the clock closer than the certificate does.
	found = judge(t, func(n *internet, _ *preflight.World) { n.staple[host(platform)] = today.Add(10 * time.Minute) })
	want(t, find(t, found, "clock.certificates", platform), preflight.Error, "the answer about the certificate is from 2026-11-26T12:05:00Z")
	found = judge(t, func(n *internet, _ *preflight.World) { n.staple[host(platform)] = today.Add(-time.Hour) })
	want(t, find(t, found, "clock.certificates", platform), preflight.OK, "the answer about the certificate is")
	want(t, find(t, run(t, world(t, good()), offline()), "clock.certificates", "clock"), preflight.Skipped, "no server was asked")

	// TLS 1.2 ends when a client certificate is required: the host was reached all the same.
	found = judge(t, func(n *internet, _ *preflight.World) { n.version = tls.VersionTLS12 })
	want(t, find(t, found, "network.tls", platform), preflight.OK, "TLS 1.2")
	want(t, find(t, found, "network.tls", usage), preflight.OK, "ends it without a client certificate")

	found = judge(t, func(n *internet, _ *preflight.World) { n.version = tls.VersionTLS11 })
	want(t, find(t, found, "network.tls", platform), preflight.Error, "")
	found = judge(t, func(n *internet, _ *preflight.World) {
		n.odd[host(platform)] = func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c) // until the client has read it
		}
	})
	want(t, find(t, found, "network.tls", platform), preflight.Error, "speaks no TLS")
	found = judge(t, func(n *internet, _ *preflight.World) { n.odd[host(platform)] = func(net.Conn) {} })
	want(t, find(t, found, "network.tls", platform), preflight.Error, "cut within the handshake")
	found = judge(t, func(n *internet, w *preflight.World) {
		w.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, &net.DNSError{IsTimeout: true} }
	})
	want(t, find(t, found, "network.dns", platform), preflight.Error, "no answer from the name server")
	found = judge(t, func(n *internet, w *preflight.World) {
		w.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
	})
	want(t, find(t, found, "network.tcp", platform), preflight.Error, "a firewall that drops packets")
	found = judge(t, func(n *internet, w *preflight.World) {
		w.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
		}
	})
	want(t, find(t, found, "network.tcp", platform), preflight.Error, "no route")
}
