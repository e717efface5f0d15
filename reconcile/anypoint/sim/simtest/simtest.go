// Package simtest starts simulators for tests, and speaks to them as a gateway would. It is for tests alone.
package simtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
)

// Server is a simulator that serves until the test ends.
type Server struct {
	*sim.Sim
	Dir  string
	t    testing.TB
	stop func() error
}

// Start opens a simulator and serves. Without Dir it gets a folder of the test.
func Start(t testing.TB, o sim.Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := sim.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	server := &Server{Sim: s, Dir: o.Dir, t: t}
	server.stop = func() error {
		cancel()
		server.stop = func() error { return nil }
		return <-ended
	}
	t.Cleanup(func() {
		if err := server.stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// Stop ends it before the test does.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Client trusts the simulator, follows no redirect, and shows a certificate if there is one.
func (s *Server) Client(certificates ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Answer is what a call got.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Message is that of an error.
func (a Answer) Message() string {
	var e anypoint.ErrorBody
	_ = json.Unmarshal(a.Body, &e)
	return e.Message
}

// Decode reads the body.
func (a Answer) Decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, v); err != nil {
		t.Fatalf("%v in %s", err, a.Body)
	}
}

// Try makes one call. body may be nil, text, bytes, or what becomes JSON; headers are pairs.
func (s *Server) Try(c *http.Client, method, url string, body any, headers ...string) (Answer, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case []byte:
		r = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return Answer{}, err
		}
		r = bytes.NewReader(text)
	}
	if !strings.HasPrefix(url, "https://") {
		url = s.URL() + url
	}
	req, err := http.NewRequestWithContext(context.Background(), method, url, r)
	if err != nil {
		return Answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, b}, err
}

// Call is Try on the control listener, where no answer fails the test.
func (s *Server) Call(method, path string, body any, headers ...string) Answer {
	s.t.Helper()
	a, err := s.Try(s.Client(), method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// Login is the header of whoever may do all.
func (s *Server) Login() []string { return s.LoginAs(sim.Username, sim.Password) }

// LoginAs is that of a user.
func (s *Server) LoginAs(user, password string) []string {
	s.t.Helper()
	return s.bearer(s.Call(http.MethodPost, anypoint.PathLogin, anypoint.LoginRequest{Username: user, Password: password}))
}

// Connect is that of a connected app.
func (s *Server) Connect(id, secret string) []string {
	s.t.Helper()
	return s.bearer(s.Call(http.MethodPost, anypoint.PathToken, anypoint.TokenRequest{GrantType: "client_credentials", ClientID: id, ClientSecret: secret}))
}

func (s *Server) bearer(a Answer) []string {
	s.t.Helper()
	var token anypoint.AccessToken
	a.Decode(s.t, &token)
	if a.Status != http.StatusOK || token.AccessToken == "" {
		s.t.Fatalf("no access token: %d %s", a.Status, a.Body)
	}
	return []string{"Authorization", "Bearer " + token.AccessToken}
}

// Key makes a key and asks for its signature.
func Key(t testing.TB, bits int) (key *rsa.PrivateKey, csr string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// UUID is one of a number.
func UUID(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n) }

// Gateway is one that was registered.
type Gateway struct {
	anypoint.Registered
	Certificate tls.Certificate
	s           *Server
	client      *http.Client
}

// Register registers a gateway in an organization with the token sim-token.
func (s *Server) Register(organization, name string) *Gateway {
	s.t.Helper()
	key, csr := Key(s.t, 2048)
	a := s.Call(http.MethodPost, anypoint.PathRegistrations, anypoint.RegisterRequest{Schema: anypoint.RegistrationSchema, Name: name, Mode: "local", CSR: csr, IdempotencyKey: randomUUID()},
		"Authorization", "Bearer "+sim.Token, anypoint.HeaderOrganization, organization)
	if a.Status != http.StatusCreated {
		s.t.Fatalf("register: %d %s", a.Status, a.Body)
	}
	return s.Gateway(a, key)
}

func randomUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Gateway is the one that an answer of a registration or renewal is of.
func (s *Server) Gateway(a Answer, key *rsa.PrivateKey) *Gateway {
	s.t.Helper()
	g := &Gateway{s: s}
	a.Decode(s.t, &g.Registered)
	g.Certificate = Pair(s.t, g.CertificateChain, key)
	g.client = s.Client(g.Certificate)
	return g
}

// Pair puts a chain and its key together.
func Pair(t testing.TB, chain string, key *rsa.PrivateKey) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(chain), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Batch is one of a replica, with points of an hour: APIs and their counts up to now in turns.
func (g *Gateway) Batch(replica string, epoch, seq uint64, hour time.Time, points ...any) anypoint.Batch {
	b := anypoint.Batch{
		Schema: anypoint.UsageSchema, MeteringSchemaID: g.MeteringSchemaID, AgentID: g.AgentID, AssetName: g.AssetName, ReplicaID: replica, BootEpoch: epoch, Seq: seq,
		BatchID: anypoint.BatchID(g.AgentID, replica, epoch, seq), CreatedAt: hour, Points: []anypoint.Point{},
	}
	for i := 0; i+1 < len(points); i += 2 {
		api, _ := points[i].(string)
		n, _ := points[i+1].(int)
		b.Points = append(b.Points, anypoint.Point{Meter: anypoint.Meter, APIInstance: api, HourStart: hour, Cumulative: uint64(n)}) //nolint:gosec // tests count up
	}
	return b
}

// Send reports a batch (or any body), and fails the test when there is no answer.
func (g *Gateway) Send(body any, headers ...string) Answer {
	g.s.t.Helper()
	a, err := g.TrySend(body, headers...)
	if err != nil {
		g.s.t.Fatal(err)
	}
	return a
}

// TrySend is Send where no answer is one too.
func (g *Gateway) TrySend(body any, headers ...string) (Answer, error) {
	if b, ok := body.(anypoint.Batch); ok {
		headers = append([]string{anypoint.IdempotencyKey, b.BatchID}, headers...)
	}
	return g.s.Try(g.client, http.MethodPost, g.s.IngestURL()+anypoint.PathMetering, body, headers...)
}

// Gzip packs a body.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}
