package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Proxy is a forward proxy: a tunnel through it is asked for with CONNECT, and TLS is spoken end to end within. The zero Proxy is
// none. However it is printed, its credentials are not.
type Proxy struct {
	scheme   string // http or https: how the proxy itself is spoken to
	host     string // host:port, as normal has it
	user     string // "": no credentials
	password string
	direct   []string // names, and suffixes with a leading dot, that are called without it
	except   string   // likewise, as the variable NO_PROXY has it
	pending  string   // why it is not known yet which one it is
}

// proxyOf is the proxy of one purpose.
type proxyOf struct {
	Proxy
	why string
}

// ParseProxy reads http://[USER:PASSWORD@]HOST[:PORT], or https:// likewise. Its errors never have the text, which may hold a
// password.
func ParseProxy(text string) (Proxy, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Proxy{}, errors.New("not a URL: http://HOST:PORT or https://HOST:PORT is expected")
	case u.Scheme != "http" && u.Scheme != "https":
		return Proxy{}, fmt.Errorf("the protocol %q: a forward proxy is spoken to over http:// or https://", u.Scheme)
	case u.Hostname() == "":
		return Proxy{}, errors.New("no host in it: http://HOST:PORT is expected")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return Proxy{}, errors.New("a proxy is a host and a port: nothing comes after them")
	}
	password, _ := u.User.Password()
	return Proxy{scheme: u.Scheme, host: normal(HostPort(u))}.WithCredentials(u.User.Username(), password)
}

// Pending is a proxy that is not known yet: nobody is called through it, and nobody past it.
func Pending(why string) Proxy { return Proxy{pending: why} }

// ProxyFromEnv is what HTTPS_PROXY and NO_PROXY say, or their small spellings; the zero Proxy when they say nothing.
func ProxyFromEnv(getenv func(string) (string, bool)) (Proxy, error) {
	first := func(names ...string) (name, value string) {
		for _, name = range names {
			if value, ok := getenv(name); ok && value != "" {
				return name, value
			}
		}
		return "", ""
	}
	name, text := first("HTTPS_PROXY", "https_proxy")
	if text == "" {
		return Proxy{}, nil
	}
	p, err := ParseProxy(text)
	if err != nil {
		return Proxy{}, fmt.Errorf("$%s: %w", name, err)
	}
	_, p.except = first("NO_PROXY", "no_proxy")
	return p, nil
}

// WithCredentials are sent to the proxy, at once and to it alone. No user: none are.
func (p Proxy) WithCredentials(user, password string) (Proxy, error) {
	switch {
	case strings.Contains(user, ":"):
		return Proxy{}, errors.New("a colon in the user: Basic authentication can not say it (RFC 7617, 2)")
	case user == "" && password != "":
		return Proxy{}, errors.New("a password, but no user")
	}
	p.user, p.password = user, password
	return p, nil
}

// Except are the hosts that are called without the proxy: exact names, or suffixes with a leading dot. A suffix is not the name that
// comes after its dot.
func (p Proxy) Except(names []string) Proxy {
	p.direct = nil
	for _, n := range names {
		suffix, dotted := strings.CutPrefix(strings.TrimSpace(n), ".")
		if suffix = normalHost(suffix); dotted {
			suffix = "." + suffix
		}
		p.direct = append(p.direct, suffix)
	}
	return p
}

// IsPending reports whether it is not known yet which one it is.
func (p Proxy) IsPending() bool { return p.pending != "" }

// IsZero reports whether it is no proxy.
func (p Proxy) IsZero() bool { return p.host == "" && p.pending == "" }

// String is the proxy without its credentials.
func (p Proxy) String() string {
	switch {
	case p.IsZero():
		return "none"
	case p.pending != "":
		return "not known yet"
	}
	who := ""
	if p.user != "" {
		who = "[redacted]@"
	}
	return p.scheme + "://" + who + p.host
}

// Format keeps every verb from the fields.
func (p Proxy) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// MarshalJSON is that of String.
func (p Proxy) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

func (p Proxy) addr() string { return p.host }

// Equal reports whether two are met in the same way, and carry the same.
func (p Proxy) Equal(q Proxy) bool {
	return p.scheme == q.scheme && p.host == q.host && p.user == q.user && p.password == q.password && p.except == q.except && p.pending == q.pending && slices.Equal(p.direct, q.direct)
}

// carries reports whether a connection to host:port goes through the proxy.
func (p Proxy) carries(addr string) bool {
	host, _, err := net.SplitHostPort(normal(addr))
	if p.IsZero() || err != nil {
		return false
	}
	for _, d := range p.direct {
		if host == d || strings.HasPrefix(d, ".") && strings.HasSuffix(host, d) {
			return false
		}
	}
	if p.except == "" {
		return true
	}
	through, err := (&httpproxy.Config{HTTPSProxy: p.scheme + "://" + p.host, NoProxy: p.except}).ProxyFunc()(&url.URL{Scheme: "https", Host: normal(addr)})
	return err != nil || through != nil
}

// SetProxy has the hosts of a purpose called through a proxy from the next connection on; why is who named it, for List. The zero
// Proxy: directly.
func (e *Egress) SetProxy(purpose Purpose, p Proxy, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	same := e.proxies[purpose].Equal(p)
	e.proxies[purpose] = proxyOf{p, why}
	if !same {
		e.renew(purpose)
	}
}

// ProxyError says that a proxy made no tunnel. The other side was not reached.
type ProxyError struct {
	Proxy  string // host:port
	Target string // host:port
	Status int    // of its answer; 0: there was none
	Err    error  // why there was none; nil with a Status
}

func (e *ProxyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("proxy %s: %v", e.Proxy, e.Err)
	}
	return fmt.Sprintf("proxy %s refused a tunnel to %s: %d %s", e.Proxy, e.Target, e.Status, http.StatusText(e.Status))
}

func (e *ProxyError) Unwrap() error { return e.Err }

// MayPass reports whether trying again soon may help: the proxy was not reached, or is busy, or does not reach the other side just now.
func (e *ProxyError) MayPass() bool {
	var untrusted *tls.CertificateVerificationError
	var dns *net.DNSError
	if errors.As(e.Err, &untrusted) || errors.As(e.Err, &dns) && dns.IsNotFound {
		return false
	}
	return e.Status == 0 || e.Status/100 == 5 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
}

// ProxyAuthError says that a proxy wants credentials, or other ones. Trying again changes nothing: somebody has to write them down.
type ProxyAuthError struct {
	Proxy string // host:port
	Sent  bool   // credentials were sent, and not taken
}

func (e *ProxyAuthError) Error() string {
	if e.Sent {
		return fmt.Sprintf("proxy %s does not take the credentials that are configured for it (407): they have to be corrected", e.Proxy)
	}
	return fmt.Sprintf("proxy %s wants credentials (407), and none are configured", e.Proxy)
}

// MayPass is false: somebody has to write them down.
func (e *ProxyAuthError) MayPass() bool { return false }

// tunnel has a proxy connect to addr, whose name is not looked up here.
func (e *Egress) tunnel(ctx context.Context, l limits, p Proxy, addr string) (net.Conn, error) {
	if p.pending != "" {
		return nil, fmt.Errorf("%s is not called yet: %s", addr, p.pending)
	}
	raw, err := e.dial(ctx, l, "tcp", p.host)
	if err != nil {
		return nil, &ProxyError{Proxy: p.host, Target: addr, Err: err}
	}
	conn, err := e.ask(ctx, l, p, raw, addr)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

func (e *Egress) ask(ctx context.Context, l limits, p Proxy, raw net.Conn, addr string) (net.Conn, error) {
	conn := raw
	if p.scheme == "https" {
		e.mu.Lock()
		config := e.tlsConfig(proxied)
		e.mu.Unlock()
		config.ServerName, _, _ = net.SplitHostPort(p.host)
		limit, cancel := context.WithTimeout(ctx, l.tls)
		defer cancel()
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(limit); err != nil {
			return nil, &ProxyError{Proxy: p.host, Target: addr, Err: err}
		}
		conn = secure
	}
	limit, cancel := context.WithTimeout(ctx, l.connect)
	defer cancel()
	stop := context.AfterFunc(limit, func() { _ = raw.SetDeadline(time.Unix(1, 0)) }) // wakes who waits below
	answer, err := p.connect(conn, addr)
	if !stop() {
		err = fmt.Errorf("no answer to CONNECT %s: %w", addr, limit.Err())
	}
	switch {
	case err != nil:
		return nil, &ProxyError{Proxy: p.host, Target: addr, Err: err}
	case answer == http.StatusProxyAuthRequired:
		return nil, &ProxyAuthError{Proxy: p.host, Sent: p.user != ""}
	case answer/100 != 2: // RFC 9110, 9.3.6: any 2xx is a tunnel
		return nil, &ProxyError{Proxy: p.host, Target: addr, Status: answer}
	}
	return conn, nil
}

// maxAnswer bounds the head of a proxy's answer, in bytes.
const maxAnswer = 64 << 10

// connect asks for the tunnel, and returns the status of the answer.
func (p Proxy) connect(conn net.Conn, addr string) (int, error) {
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{"User-Agent": {"flexgw"}}}
	if p.user != "" { // at once: an answer to a challenge would be a second connection
		r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.password)))
	}
	if err := r.Write(conn); err != nil {
		return 0, err
	}
	answer := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	a, err := http.ReadResponse(answer, r)
	if err != nil {
		return 0, fmt.Errorf("its answer to CONNECT %s: %w", addr, err)
	}
	if a.StatusCode/100 == 2 && answer.Buffered() > 0 { // in TLS the client speaks first: whoever spoke is not who was called
		return 0, fmt.Errorf("something came through the tunnel to %s before anything was said", addr)
	}
	return a.StatusCode, nil // the connection is given up with the body of a refusal
}
