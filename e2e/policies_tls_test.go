package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

// certificate is the pair as Go wants it.
func (p pair) certificate(t testing.TB) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair([]byte(p.crt), []byte(p.key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// tlsAPI is an API on a port of its own; the lines of config follow.
func tlsAPI(port int, config string) string {
	return fmt.Sprintf(`---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: port%d
spec:
  address: https://0.0.0.0:%d
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - config: {}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: tls%d
spec:
  targetRef:
    name: port%d
  policyRef:
    name: tls
  config:
    certificate:
      crt: $CRT
      key: $KEY
`, port, port, port, port) + config
}

// shake does one handshake and one request over HTTP/1.1 or HTTP/2, whatever was agreed on.
func (g *gateway) shake(port int, c *tls.Config) (status int, state tls.ConnectionState, err error) {
	g.t.Helper()
	tr := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get(strings.Replace(g.url(port, "/x"), "http:", "https:", 1))
	if err != nil {
		return 0, state, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, *res.TLS, err
}

func TestTLSInbound(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t), newAuthority(t)
	server, client, stranger := ca.issue(t, "gateway.test"), ca.issue(t, "client.test"), foreign.issue(t, "client.test")
	g := start(t, "\n-- gateway.yaml --\n"+
		tlsAPI(8443, "")+
		tlsAPI(8444, "    requireClientCertificate: true\n    trustedCA: $CA\n")+
		tlsAPI(8445, "    minversion: \"1.3\"\n    alpn: [http/1.1]\n")+
		tlsAPI(8446, "    maxversion: 1.2\n    ciphers: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n")+
		tlsAPI(8447, "    minversion: \"1.1\"\n    ciphers: [TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n")+
		tlsAPI(8448, "    trustedCA: $CA\n")+
		tlsAPI(8449, "    ciphers: [TLS_AES_128_GCM_SHA256]\n"),
		withEnv("CRT="+server.crt, "KEY="+server.key, "CA="+ca.pem))

	between := func(low, high uint16, certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ca.pool(), ServerName: "gateway.test", MinVersion: low, MaxVersion: high, Certificates: certs}
	}
	const v11, v12, v13 = tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13
	for _, tc := range []struct {
		name    string
		port    int
		config  *tls.Config
		version uint16 // 0: the handshake fails
		suite   uint16 // 0: any
		alpn    string
	}{
		{"best", 8443, between(v12, v13), v13, 0, "h2"},
		{"1.2", 8443, between(v12, v12), v12, 0, "h2"},
		{"1.1 is too old", 8443, between(v11, v11), 0, 0, ""},
		{"no certificate is asked for", 8443, between(v12, v13, client.certificate(t)), v13, 0, "h2"},
		{"client certificate", 8444, between(v12, v13, client.certificate(t)), v13, 0, "h2"},
		{"client certificate, 1.2", 8444, between(v12, v12, client.certificate(t)), v12, 0, "h2"},
		{"no client certificate", 8444, between(v12, v13), 0, 0, ""},
		{"no client certificate, 1.2", 8444, between(v12, v12), 0, 0, ""},
		{"foreign client certificate", 8444, between(v12, v13, stranger.certificate(t)), 0, 0, ""},
		{"only 1.3", 8445, between(v12, v13), v13, 0, "http/1.1"},
		{"only 1.3, asked for 1.2", 8445, between(v12, v12), 0, 0, ""},
		{"a suite", 8446, between(v12, v13), v12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "h2"},
		{"old", 8447, between(v11, v11), v11, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, ""},
		{"old gateway, new client", 8447, between(v12, v13), v13, 0, "h2"},
		{"certificate may be left out", 8448, between(v12, v13), v13, 0, "h2"},
		{"certificate may be shown", 8448, between(v12, v13, client.certificate(t)), v13, 0, "h2"},
		{"suites of 1.3 alone leave 1.3 alone", 8449, between(v12, v12), 0, 0, ""},
		{"suites of 1.3 alone", 8449, between(v12, v13), v13, 0, "h2"},
	} {
		if tc.name == "foreign client certificate" { // Go does not send what the server's list of authorities does not name
			tc.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tc.config.Certificates[0], nil }
		}
		status, state, err := g.shake(tc.port, tc.config)
		switch {
		case tc.version == 0:
			if err == nil {
				t.Errorf("%s: got %d over %s, want no connection", tc.name, status, tls.VersionName(state.Version))
			}
		case err != nil || status != 200:
			t.Errorf("%s: got %d, %v, want 200", tc.name, status, err)
		case state.Version != tc.version || tc.suite != 0 && state.CipherSuite != tc.suite || tc.alpn != "" && state.NegotiatedProtocol != tc.alpn:
			t.Errorf("%s: got %s, %s, %q, want %s, %q", tc.name, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.NegotiatedProtocol,
				tls.VersionName(tc.version), tc.alpn)
		}
	}
}

// A new certificate is shown to new connections; those that are open stay.
func TestTLSRotation(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	first, second := ca.issue(t, "gateway.test"), ca.issue(t, "gateway.test")
	declare := func(p pair) string {
		indent := func(text string) string {
			return "|\n        " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n        ")
		}
		return strings.NewReplacer("$CRT", indent(p.crt), "$KEY", indent(p.key)).Replace(strings.TrimPrefix(tlsAPI(8443, ""), "---\n"))
	}
	g := start(t, "\n-- gateway.yaml --\n"+declare(first))
	config := &tls.Config{RootCAs: ca.pool(), ServerName: "gateway.test"}
	dials := 0
	tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, Dial: func(network, addr string) (net.Conn, error) { dials++; return net.Dial(network, addr) }}
	defer tr.CloseIdleConnections()
	open := func() {
		t.Helper()
		res, err := (&http.Client{Transport: tr}).Get(strings.Replace(g.url(8443, "/x"), "http:", "https:", 1))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	open()
	g.write("gateway.yaml", declare(second))
	harness.Until(t, func() error {
		_, state, err := g.shake(8443, config)
		if err != nil {
			return err
		}
		if !bytes.Equal(state.PeerCertificates[0].Raw, second.certificate(t).Certificate[0]) {
			return fmt.Errorf("the first certificate is still shown")
		}
		return nil
	})
	open()
	if dials != 1 {
		t.Errorf("the open connection was closed: %d were made", dials)
	}
}

// tlsService is a Service with or without its tls-outbound, and an API /name in front of it.
func tlsService(name, address, config string) string {
	text := fmt.Sprintf(`---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata:
  name: %[1]s
spec:
  address: %[2]s
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: %[1]s
spec:
  address: http://0.0.0.0:8081/%[1]s
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: route-%[1]s
spec:
  targetRef:
    name: %[1]s
  policyRef:
    name: route
  config:
    destinationRef:
      name: %[1]s
`, name, address)
	if config == "" {
		return text
	}
	return text + fmt.Sprintf(`---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: tls-%[1]s
spec:
  targetRef:
    kind: Service
    name: %[1]s
  policyRef:
    name: tls-outbound
  config:
`, name) + config
}

func TestTLSOutbound(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	server, client, stranger := ca.issue(t, "localhost"), ca.issue(t, "client.test"), other.issue(t, "client.test")
	certs := []tls.Certificate{server.certificate(t)}
	seen := make(chan tls.ConnectionState, 100)
	note := func(state tls.ConnectionState) error { seen <- state; return nil }
	g := start(t, "\n-- gateway.yaml --\n"+
		tlsService("good", "https://localhost:9443", "    trustedCA: $CA\n")+
		tlsService("wrongca", "https://localhost:9443", "    trustedCA: $OTHER\n")+
		tlsService("hostca", "https://localhost:9443", "    skipValidation: false\n")+
		tlsService("nopolicy", "https://localhost:9443", "")+
		tlsService("wrongname", "https://127.0.0.1:9443", "    trustedCA: $CA\n")+
		tlsService("skip", "https://localhost:9443", "    skipValidation: true\n")+
		tlsService("skipname", "https://127.0.0.1:9443", "    skipValidation: true\n    trustedCA: $OTHER\n")+
		tlsService("one", "https://localhost:9443", "    trustedCA: $CA\n    alpn: [http/1.1]\n    maxversion: \"1.2\"\n    ciphers: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n")+
		tlsService("mutual", "https://localhost:9444", "    trustedCA: $CA\n    certificate: {crt: $CRT, key: $KEY}\n")+
		tlsService("mutualskip", "https://localhost:9444", "    skipValidation: true\n    certificate: {crt: $CRT, key: $KEY}\n")+
		tlsService("mutualnone", "https://localhost:9444", "    trustedCA: $CA\n")+
		tlsService("mutualforeign", "https://localhost:9444", "    trustedCA: $CA\n    certificate: {crt: $STRANGECRT, key: $STRANGEKEY}\n"),
		withTLSUpstream(9443, &tls.Config{Certificates: certs, VerifyConnection: note}),
		withTLSUpstream(9444, &tls.Config{Certificates: certs, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), VerifyConnection: note}),
		withEnv("CA="+ca.pem, "OTHER="+other.pem, "CRT="+client.crt, "KEY="+client.key, "STRANGECRT="+stranger.crt, "STRANGEKEY="+stranger.key))

	for _, tc := range []struct {
		name   string
		status int
		proto  string
	}{
		{"good", 200, "HTTP/2.0"}, {"wrongca", 503, ""}, {"hostca", 503, ""}, {"nopolicy", 503, ""}, {"wrongname", 503, ""},
		{"skip", 200, "HTTP/2.0"}, {"skipname", 200, "HTTP/2.0"}, {"one", 200, "HTTP/1.1"},
		{"mutual", 200, "HTTP/2.0"}, {"mutualskip", 200, "HTTP/2.0"}, {"mutualnone", 503, ""}, {"mutualforeign", 503, ""},
	} {
		for len(seen) > 0 {
			<-seen
		}
		a := g.get(8081, "/"+tc.name)
		if a.Status != tc.status {
			t.Errorf("%s: got %d %s, want %d", tc.name, a.Status, a.Body, tc.status)
			continue
		}
		if a.Status != 200 {
			continue
		}
		if x := a.got(t); x.Proto != tc.proto || tc.name != "skipname" && x.SNI != "localhost" {
			t.Errorf("%s: got %s, server name %q, want %s, localhost", tc.name, x.Proto, x.SNI, tc.proto)
		}
		state := <-seen
		switch tc.name {
		case "good":
			if state.Version != tls.VersionTLS13 {
				t.Errorf("good: got %s, want TLS 1.3", tls.VersionName(state.Version))
			}
		case "one":
			if state.Version != tls.VersionTLS12 || state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
				t.Errorf("one: got %s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
			}
		case "mutual", "mutualskip":
			if len(state.PeerCertificates) == 0 || state.PeerCertificates[0].Subject.CommonName != "[client.test]" {
				t.Errorf("%s: the service saw %d client certificates", tc.name, len(state.PeerCertificates))
			}
		}
	}
}
