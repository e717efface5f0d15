// Package gate decides who may connect to the daemon over TCP: whoever shows a certificate of the right authority, and a name
// that is allowed.
//
// It serves nothing and dials nobody: it is the transport credentials of a gRPC server, or a listener for another one, and
// remembers whom it turned away. A plaintext connection is never let in.
package gate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/flexgw/flexgw/reconcile/crowd"
)

// Options are the parameters of New. The three files are PEM; they are read again when they changed.
type Options struct {
	For       string            // whom it is for, as the log calls them: "Envoys on other hosts"
	Cert, Key string            // the chain that the daemon shows, its own certificate first, and its key
	ClientCA  string            // who signs the certificates of peers
	Allow     []string          // DNS names and URIs; a peer's certificate must have one of them. Empty: any certificate of ClientCA
	Hints     map[string]string // what to do about a refusal, by reason; who opens the gate knows its own flags
	Refused   func(Refusal)     // told of each once, until it was quiet for an hour, and of a few a minute at most; must not block; nil: nobody
	Log       *slog.Logger      // nil: none
	Now       func() time.Time  // nil: time.Now
}

// Gate is made by New. All methods are safe for concurrent use.
type Gate struct {
	o     Options
	shy   sync.Mutex // one reading of the files at a time
	files [3]os.FileInfo

	waiting  *crowd.Crowd  // whose handshake is not done
	patience time.Duration // with one

	mu        sync.Mutex
	pem       [3][]byte // what shown and trusted were read from
	shown     *tls.Certificate
	trusted   *x509.CertPool
	age       int    // how often trusted was replaced, from 1
	problem   string // with the files as they are now; "": none
	warned    time.Time
	known     ledger               // who proved to have a certificate that is right
	strangers ledger               // everybody else: they may say what they like
	inside    map[*inside]struct{} // connections that were let in
}

// New reads the files.
func New(o Options) (*Gate, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, name := range o.Allow {
		if name == "" || strings.ContainsAny(name, "* ") {
			return nil, fmt.Errorf("name %q: a DNS name or a URI is expected, as the certificate has it, without wildcards", name)
		}
	}
	o.For = cmp.Or(o.For, "other hosts")
	g := &Gate{o: o, patience: handshakeFor, waiting: crowd.New(maxHandshakes), inside: map[*inside]struct{}{}}
	return g, g.read()
}

func (g *Gate) names() [3]string { return [3]string{g.o.Cert, g.o.Key, g.o.ClientCA} }

// changed says whether a file is another one than when it was looked at last. Anybody who connects makes us ask, so it reads none.
func (g *Gate) changed() bool {
	for i, name := range g.names() {
		now, err := os.Stat(name)
		was := g.files[i]
		if err != nil || was == nil {
			if (err == nil) != (was != nil) {
				return true
			}
			continue
		}
		if !os.SameFile(was, now) || !was.ModTime().Equal(now.ModTime()) || was.Size() != now.Size() {
			return true
		}
	}
	return false
}

// read takes the files over as they are now; an error leaves what there was.
func (g *Gate) read() error {
	var now [3][]byte
	g.files = [3]os.FileInfo{}
	for i, name := range g.names() {
		g.files[i], _ = os.Stat(name)
	}
	for i, name := range g.names() {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		now[i] = b
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shown != nil && slices.EqualFunc(now[:], g.pem[:], bytes.Equal) {
		return nil
	}
	pair, err := tls.X509KeyPair(now[0], now[1])
	if err != nil {
		return fmt.Errorf("%s and %s: %w", g.o.Cert, g.o.Key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(now[2]) {
		return fmt.Errorf("%s: no certificate in PEM is in it", g.o.ClientCA)
	}
	if g.shown != nil {
		g.o.Log.Info("the certificates for "+g.o.For+" were read again", "expires", pair.Leaf.NotAfter)
	}
	g.pem, g.shown, g.trusted, g.warned, g.age = now, &pair, pool, time.Time{}, g.age+1
	return nil
}

// refresh reads the files: whatever their times say, or only if these say that one changed. Ones that can not be used are told
// once, and what was read before stays.
func (g *Gate) refresh(whatever bool) {
	g.shy.Lock()
	defer g.shy.Unlock()
	if !whatever && !g.changed() {
		return
	}
	err := g.read()
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if problem != "" && problem != g.problem {
		g.o.Log.Error("the certificates for "+g.o.For+" can not be used; those that were read before stay", "error", problem)
	}
	g.problem = problem
	const soon = 7 * 24 * time.Hour
	if left := g.shown.Leaf.NotAfter.Sub(g.o.Now()); left < soon && g.o.Now().Sub(g.warned) > 24*time.Hour {
		g.warned = g.o.Now()
		g.o.Log.Warn("the certificate for "+g.o.For+" ends soon", "file", g.o.Cert, "expires", g.shown.Leaf.NotAfter)
	}
}

// Refresh reads the files now, whatever their times say.
func (g *Gate) Refresh() { g.refresh(true) }

// lookAgain is how often files are looked at when nobody connects, so that what is wrong with them is told in time.
const lookAgain = 10 * time.Second

// Run looks after the files, and those who are inside, until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		g.refresh(true)
		g.review()
		g.summarize()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// config is for one connection.
func (g *Gate) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	g.refresh(false)
	g.mu.Lock()
	defer g.mu.Unlock()
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{*g.shown},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              g.trusted,
		NextProtos:             []string{"h2"},
		SessionTicketsDisabled: true, // everybody is looked at, whenever they come
		Time:                   g.o.Now,
	}, nil
}

// allowed is the name by which a peer is let in.
func (g *Gate) allowed(c *x509.Certificate) (string, bool) {
	has := names(c)
	if len(g.o.Allow) == 0 {
		return identity(c), true
	}
	for _, want := range g.o.Allow {
		for _, n := range has {
			if n == want || strings.EqualFold(n, want) && slices.Contains(c.DNSNames, n) {
				return n, true
			}
		}
	}
	return "", false
}

// notAllowed says why nobody of a certificate's names is let in.
func notAllowed(c *x509.Certificate) string {
	if has := names(c); len(has) > 0 {
		return "none of its names is allowed: " + strings.Join(has, ", ")
	}
	return "its certificate has no DNS name and no URI, of which one must be allowed"
}

// names are the alternative names of a certificate by which somebody may be allowed.
func names(c *x509.Certificate) []string {
	var out []string
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	return append(out, c.DNSNames...)
}

// identity is how a certificate is called where one name must do.
func identity(c *x509.Certificate) string {
	if n := names(c); len(n) > 0 {
		return n[0]
	}
	return c.Subject.String()
}

// Peer is who is at the other end of a connection that was let in.
type Peer struct {
	credentials.CommonAuthInfo
	Address  string // host:port
	Identity string // the name that is allowed, or else the first of its certificate
}

// AuthType implements credentials.AuthInfo.
func (Peer) AuthType() string { return "mtls" }

// From is the peer of a gRPC call; false: it did not come through a gate.
func From(ctx context.Context) (Peer, bool) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return Peer{}, false
	}
	x, ok := p.AuthInfo.(Peer)
	return x, ok
}

// Credentials are those of a gRPC server.
func (g *Gate) Credentials() credentials.TransportCredentials {
	return creds{g.transport(), g}
}

func (g *Gate) transport() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: g.config})
}

type creds struct {
	credentials.TransportCredentials
	gate *Gate
}

// ServerHandshake implements credentials.TransportCredentials. Names are looked at when the handshake is over: only then is it
// proven that the certificate is the peer's.
func (c creds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	g, address := c.gate, raw.RemoteAddr().String()
	leave := g.enter(raw)
	defer leave()
	if err := raw.SetDeadline(time.Now().Add(g.patience)); err != nil {
		return nil, nil, err
	}
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		g.failed(address, err)
		return nil, nil, err
	}
	state := info.(credentials.TLSInfo).State
	cert := state.PeerCertificates[0]
	name, ok := g.allowed(cert)
	p := Peer{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, Address: address, Identity: name}
	if !ok {
		p.Identity = identity(cert)
		message := notAllowed(cert)
		g.Refuse(p, NotAllowed, message)
		conn.Close()
		return nil, nil, errors.New(message)
	}
	return g.admit(conn, p, state), p, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (creds) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("a gate is for servers")
}

// Clone implements credentials.TransportCredentials.
func (c creds) Clone() credentials.TransportCredentials { return c }

// Refusal is somebody who was turned away, and why.
type Refusal struct {
	Address  string    // host, without the port
	Identity string    // as its certificate says, clipped, which nobody vouches for before its handshake is over; "": it showed none
	Reason   string    // CamelCase
	Message  string    // one line for a person
	At       time.Time // the last time
	Count    int       // how often within the last hour
}

// The reasons of refusals.
const (
	NoCertificate    = "NoCertificate"
	Expired          = "CertificateExpired"
	UnknownAuthority = "UnknownAuthority"
	BadCertificate   = "BadCertificate" // of another kind of wrong, like one for servers alone
	NotAllowed       = "NotAllowed"
	NotTLS           = "NotTLS"
	OldTLS           = "OldTLS"
	DistrustsUs      = "DistrustsDaemon" // the peer went away because of the certificate that the daemon showed
	BadHandshake     = "BadHandshake"
	NoNode           = "NoNodeID"
	NodeTaken        = "NodeTaken"
	TooMany          = "TooManyHandshakes"
	LeftOut          = "RefusalsLeftOut" // not one refusal, but how many were not told
)

// failed tells of a handshake that did not come to its end. Whoever connects and says nothing is no news: port scanners and
// health checks do.
func (g *Gate) failed(address string, err error) {
	var quiet net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &quiet) && quiet.Timeout() {
		g.o.Log.Debug("a connection ended before its handshake", "address", address, "error", err)
		return
	}
	r := g.because(err)
	r.Address = address
	g.note(&g.strangers, r)
}

func (g *Gate) because(err error) (r Refusal) {
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
		return g.unverified(unverified)
	}
	var record tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &record):
		return Refusal{Reason: NotTLS, Message: "it does not speak TLS"}
	case strings.Contains(text, "didn't provide a certificate"): // crypto/tls has no type for it
		return Refusal{Reason: NoCertificate, Message: "it showed no certificate"}
	case strings.Contains(text, "unsupported versions"): // nor for this
		return Refusal{Reason: OldTLS, Message: "it does not speak TLS 1.3"}
	case strings.Contains(text, "remote error: "):
		_, alert, _ := strings.Cut(text, "remote error: ")
		return Refusal{Reason: DistrustsUs, Message: "it does not take the certificate of this daemon (" + alert + ")"}
	}
	return Refusal{Reason: BadHandshake, Message: text}
}

func (g *Gate) unverified(e *tls.CertificateVerificationError) Refusal {
	c := e.UnverifiedCertificates[0]
	r := Refusal{Identity: identity(c), Reason: BadCertificate, Message: e.Err.Error()}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		r.Reason, r.Message = Expired, fmt.Sprintf("its certificate is valid from %s to %s", c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(e.Err, &unknown):
		r.Reason, r.Message = UnknownAuthority, fmt.Sprintf("its certificate is signed by %q, whom %s does not have", c.Issuer, g.o.ClientCA)
	}
	return r
}

// Refuse tells of a peer that came through the gate and is turned away for what it said then.
func (g *Gate) Refuse(p Peer, reason, message string) {
	g.note(&g.known, Refusal{Address: p.Address, Identity: p.Identity, Reason: reason, Message: message})
}
