// Package egress is the only dialer of the process: it knows who may be called, and what for.
//
// A destination is reachable because an accepted declaration, a flag or the registration names it, and only for the purpose it was
// named for. Anypoint's two purposes (platform.go) are stricter than the others, and may go through a proxy (proxy.go). The package does not judge what is said to a destination, keeps no cache, and does not restrict Unix sockets:
// they do not leave the host.
package egress

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

	proxied Purpose = "proxy" // the proxy that stands before these two: SetProxy names it, and nobody else reaches it
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
	Rule    string // the rule of the purpose that is broken; "": the host is not on the list
}

func (e *RefusedError) Error() string {
	if e.Rule != "" {
		return fmt.Sprintf("%s is not called for purpose %q: %s", e.Host, e.Purpose, e.Rule)
	}
	return fmt.Sprintf("%s is not an allowed destination for purpose %q: no accepted declaration or flag names it", e.Host, e.Purpose)
}

// MayPass is false: somebody has to allow it.
func (e *RefusedError) MayPass() bool { return false }

// Options are the zero value for a process that trusts the system's roots. Destinations are called directly, whatever the environment says of a proxy.
type Options struct {
	RootCAs *x509.CertPool // nil: the system's
	Timeout time.Duration  // of a whole HTTP request, body included; 0: 30 s, and 60 s for Anypoint
}

const maxRedirects = 5

// limits are the timeouts within a request. A host that does not answer within them is down for our purposes. 0: the next larger one.
type limits struct{ dial, connect, tls, header, request time.Duration }

// Egress is the list of allowed destinations, and the way to reach them. It is safe for concurrent use.
type Egress struct {
	options           Options
	ordinary, patient limits // patient with Anypoint

	mu      sync.Mutex
	allowed map[Destination]bool
	only    []Purpose // what is called for, whatever is allowed; nil: no such limit
	clients map[Purpose]*http.Client
	tls     map[Purpose]TLS
	proxies map[Purpose]proxyOf
}

// New allows nothing yet.
func New(o Options) *Egress {
	return &Egress{
		options:  o,
		ordinary: limits{dial: 5 * time.Second, tls: 5 * time.Second, header: 10 * time.Second, request: 30 * time.Second},
		patient:  limits{dial: 10 * time.Second, connect: 10 * time.Second, tls: 10 * time.Second, request: time.Minute},
		allowed:  map[Destination]bool{}, clients: map[Purpose]*http.Client{}, tls: map[Purpose]TLS{}, proxies: map[Purpose]proxyOf{},
	}
}

// limits are those of one purpose.
func (e *Egress) limits(purpose Purpose) limits {
	l := e.ordinary
	if purpose.platform() {
		l = e.patient
	}
	l.request = cmp.Or(e.options.Timeout, l.request)
	return l
}

// Only leaves these purposes: for others nobody is called from now on, whatever Set says, and List is without them. No purpose at
// all: nobody is called.
func (e *Egress) Only(purposes ...Purpose) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.only = append([]Purpose{}, purposes...)
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

// open reports whether a purpose is one that is called for at all.
func (e *Egress) open(purpose Purpose) bool { return e.only == nil || slices.Contains(e.only, purpose) }

// List is every allowed destination, sorted by purpose, host and reason. A proxy is among them when somebody is called through it.
func (e *Egress) List() []Destination {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Destination, 0, len(e.allowed))
	through := map[Destination]bool{}
	for d := range e.allowed {
		if !e.open(d.Purpose) || !d.callable() {
			continue
		}
		list = append(list, d)
		if p := e.proxies[d.Purpose]; p.pending == "" && p.carries(d.Host) {
			through[Destination{proxied, p.addr(), p.why}] = true
		}
	}
	list = slices.AppendSeq(list, maps.Keys(through))
	slices.SortFunc(list, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Why, b.Why))
	})
	return list
}

// Dial connects to addr ("host:port") if it is allowed for the purpose; else it returns a *RefusedError before any name
// is resolved. Unix sockets are always allowed. Anypoint's purposes are for HTTPClient alone, and refused here.
func (e *Egress) Dial(ctx context.Context, purpose Purpose, network, addr string) (net.Conn, error) {
	if !strings.HasPrefix(network, "unix") {
		if purpose.platform() {
			return nil, &RefusedError{purpose, normal(addr), ruleHTTPS}
		}
		if err := e.check(purpose, addr); err != nil {
			return nil, err
		}
	}
	return e.dial(ctx, e.limits(purpose), network, addr)
}

// dial opens what was allowed. It is the one place of the process where connections begin.
func (e *Egress) dial(ctx context.Context, l limits, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: l.dial, KeepAlive: 30 * time.Second}
	return d.DialContext(ctx, network, addr)
}

// HTTPClient is the client for one purpose. Every request is held against the list, redirects included; a redirect from
// https to http is refused. It keeps no cookies and follows at most five redirects, and none for Anypoint's purposes, whose caller
// gets the 3xx.
func (e *Egress) HTTPClient(purpose Purpose) *http.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := e.clients[purpose]; ok {
		return c
	}
	g := &guard{egress: e, purpose: purpose}
	g.next.Store(e.transport(purpose))
	c := &http.Client{Transport: g, CheckRedirect: checkRedirect, Timeout: e.limits(purpose).request}
	if purpose.platform() {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	e.clients[purpose] = c
	return c
}

// transport is made while the lock is held.
func (e *Egress) transport(purpose Purpose) *http.Transport {
	l := e.limits(purpose)
	p := e.proxies[purpose].Proxy
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if err := e.check(purpose, addr); err != nil {
				return nil, err
			}
			if p.carries(addr) {
				return e.tunnel(ctx, l, p, addr)
			}
			return e.dial(ctx, l, network, addr)
		},
		TLSClientConfig:       e.tlsConfig(purpose),
		TLSHandshakeTimeout:   l.tls,
		ResponseHeaderTimeout: l.header,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   2,
		ForceAttemptHTTP2:     true,
	}
}

// renew has connections of a purpose that are opened from now on go another way. It is called while the lock is held.
func (e *Egress) renew(purpose Purpose) {
	if c, ok := e.clients[purpose]; ok {
		c.Transport.(*guard).next.Swap(e.transport(purpose)).CloseIdleConnections()
	}
}

// guard holds each request against the list: a kept connection would otherwise outlive its permission.
type guard struct {
	egress  *Egress
	purpose Purpose
	next    atomic.Pointer[http.Transport]
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	err := g.egress.check(g.purpose, HostPort(r.URL))
	if g.purpose.platform() && r.URL.Scheme != "https" {
		err = &RefusedError{g.purpose, normal(HostPort(r.URL)), ruleHTTPS}
	}
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper must close it, errors included
		}
		return nil, err
	}
	return g.next.Load().RoundTrip(r)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (g *guard) CloseIdleConnections() { g.next.Load().CloseIdleConnections() }

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
		if d.Purpose == purpose && e.open(purpose) && d.callable() && (d.Host == addr || d.Host == host) {
			return nil
		}
	}
	return &RefusedError{Purpose: purpose, Host: addr}
}

// HostPort is the one host and port of a URL of http or https that is called; the port is that of the scheme when none is written.
func HostPort(u *url.URL) string {
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
