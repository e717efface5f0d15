// Package egress is the only dialer of the process: it knows who may be called, and what for.
//
// A destination is reachable because an accepted declaration or a flag names it, and only for the purpose it was named
// for. The package does not judge what is said to a destination, keeps no cache, and does not restrict Unix sockets:
// they do not leave the host.
package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/idna"
)

// Purpose is what a destination is called for. It is a word for operators: `egress show` prints it.
type Purpose string

// What the process calls others for.
const (
	JWKS     Purpose = "jwks"          // to fetch the remote key set that a JWT validation policy names
	Webhook  Purpose = "webhook"       // to post events where --webhook says
	Operator Purpose = "operator"      // to ask whom an operator named in a flag: daemons on other hosts
	Config   Purpose = "config-source" // to read the repository that is followed
	Probe    Purpose = "probe"         // to ask the gateway's own listeners what a Probe says

	Registration Purpose = "registration" // Anypoint's control plane: to register, renew and unregister
	Usage        Purpose = "usage"        // Anypoint's metering: to report how often APIs were called
)

// Destination is one reason to call one host.
type Destination struct {
	Purpose Purpose `json:"purpose"`
	Host    string  `json:"host"` // "host" (every port) or "host:port", lower case, ASCII; IPv6 addresses in brackets when a port follows
	Why     string  `json:"why"`  // who named it: a place in a declaration, or a flag
}

// RefusedError says that nothing allows calling Host for Purpose.
type RefusedError struct {
	Purpose Purpose
	Host    string // "host:port"
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is not an allowed destination for purpose %q: no accepted declaration or flag names it", e.Host, e.Purpose)
}

// Options are the zero value for a process that trusts the system's roots. Destinations are called directly, whatever the environment says of a proxy.
type Options struct {
	RootCAs *x509.CertPool // nil: the system's
	Timeout time.Duration  // of a whole HTTP request, body included; 0: 30 s
}

// The timeouts within a request. A host that does not answer within them is down for our purposes.
const (
	dialTimeout    = 5 * time.Second
	tlsTimeout     = 5 * time.Second
	headerTimeout  = 10 * time.Second
	defaultTimeout = 30 * time.Second
	maxRedirects   = 5
)

// Egress is the list of allowed destinations, and the way to reach them. It is safe for concurrent use.
type Egress struct {
	options Options
	dialer  net.Dialer

	mu      sync.Mutex
	allowed map[Destination]bool
	clients map[Purpose]*http.Client
}

// New allows nothing yet.
func New(o Options) *Egress {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Egress{
		options: o,
		dialer:  net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second},
		allowed: map[Destination]bool{},
		clients: map[Purpose]*http.Client{},
	}
}

// Set replaces all destinations of one purpose, as a new accepted revision does. The Purpose within each destination is
// ignored.
func (e *Egress) Set(purpose Purpose, destinations []Destination) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for d := range e.allowed {
		if d.Purpose == purpose {
			delete(e.allowed, d)
		}
	}
	for _, d := range destinations {
		e.allowed[Destination{purpose, normal(d.Host), d.Why}] = true
	}
}

// List is every allowed destination, sorted by purpose, host and reason.
func (e *Egress) List() []Destination {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Destination, 0, len(e.allowed))
	for d := range e.allowed {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Why, b.Why))
	})
	return list
}

// Dial connects to addr ("host:port") if it is allowed for the purpose; else it returns a *RefusedError before any name
// is resolved. Unix sockets are always allowed.
func (e *Egress) Dial(ctx context.Context, purpose Purpose, network, addr string) (net.Conn, error) {
	if !strings.HasPrefix(network, "unix") {
		if err := e.check(purpose, addr); err != nil {
			return nil, err
		}
	}
	return e.dialer.DialContext(ctx, network, addr)
}

// HTTPClient is the client for one purpose. Every request is held against the list, redirects included; a redirect from
// https to http is refused. It keeps no cookies and follows at most five redirects.
func (e *Egress) HTTPClient(purpose Purpose) *http.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := e.clients[purpose]; ok {
		return c
	}
	c := &http.Client{Transport: e.transport(purpose), CheckRedirect: checkRedirect, Timeout: e.options.Timeout}
	e.clients[purpose] = c
	return c
}

func (e *Egress) transport(purpose Purpose) http.RoundTripper {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return e.Dial(ctx, purpose, network, addr)
		},
		TLSClientConfig:       &tls.Config{RootCAs: e.options.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   tlsTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   2,
		ForceAttemptHTTP2:     true,
	}
	return &guard{egress: e, purpose: purpose, next: t}
}

// guard holds each request against the list: a kept connection would otherwise outlive its permission.
type guard struct {
	egress  *Egress
	purpose Purpose
	next    *http.Transport
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.egress.check(g.purpose, hostPort(r.URL)); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper must close it, errors included
		}
		return nil, err
	}
	return g.next.RoundTrip(r)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (g *guard) CloseIdleConnections() { g.next.CloseIdleConnections() }

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return errors.New("redirect from https to " + r.URL.Scheme)
	}
	return nil
}

func (e *Egress) check(purpose Purpose, addr string) error {
	addr = normal(addr)
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %s: expected host:port: %w", addr, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for d := range e.allowed {
		if d.Purpose == purpose && (d.Host == addr || d.Host == host) {
			return nil
		}
	}
	return &RefusedError{Purpose: purpose, Host: addr}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// normal is the one spelling of a host or host:port: lower case, ASCII, no trailing dot, no brackets unless a port
// follows.
func normal(hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return normalHost(strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]"))
	}
	return net.JoinHostPort(normalHost(host), port)
}

func normalHost(host string) string {
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		return ascii
	}
	return host
}
