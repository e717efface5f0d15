package egress_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/egress"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

const password = "pa:ss-wo@rd"

// proxy is a forward proxy that looks up names itself: targets has what they are.
type proxy struct {
	at      string
	targets map[string]string // host:port as in CONNECT → host:port to dial
	user    string            // who may; "": everybody
	answer  string            // in place of a tunnel
	hang    bool              // in place of an answer
	early   bool              // something is said in the tunnel before the client speaks

	mu    sync.Mutex
	heads []*http.Request
}

func newProxy(t *testing.T, p *proxy, secure *tls.Certificate) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.at = l.Addr().String()
	if secure != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*secure}, ClientAuth: tls.RequestClientCert})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	t.Cleanup(func() { cancel(); l.Close(); wait.Wait() })
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer context.AfterFunc(ctx, func() { c.Close() })()
				defer c.Close()
				p.serve(ctx, c)
			})
		}
	})
	return p
}

func (p *proxy) serve(ctx context.Context, c net.Conn) {
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	if s, ok := c.(*tls.Conn); ok {
		state := s.ConnectionState()
		r.TLS = &state
	}
	p.mu.Lock()
	p.heads = append(p.heads, r)
	p.mu.Unlock()
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user+":"+password))
	target, known := p.targets[r.Host]
	switch {
	case p.hang:
		<-ctx.Done()
	case p.answer != "":
		_, _ = io.WriteString(c, p.answer)
	case p.user != "" && r.Header.Get("Proxy-Authorization") != want:
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"office\"\r\nContent-Length: 2\r\n\r\nno")
	case !known:
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	default:
		to, err := net.Dial("tcp", target)
		if err != nil {
			_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return
		}
		defer to.Close()
		text := "HTTP/1.1 200 Connection established\r\n\r\n"
		if p.early {
			text += "HTTP/1.1 200 OK\r\n\r\n"
		}
		_, _ = io.WriteString(c, text)
		go func() { _, _ = io.Copy(to, in); to.Close() }()
		_, _ = io.Copy(c, to)
	}
}

// wait is over when somebody has asked.
func (p *proxy) wait(t *testing.T) {
	for range 60_000 {
		if len(p.asked()) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("nobody asked")
}

func (p *proxy) asked() (hosts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.heads {
		hosts = append(hosts, r.Method+" "+r.Host)
	}
	return hosts
}

// metering is a name that no resolver knows (RFC 6761, 6.4): whoever reaches it did not look it up here.
const metering = "metering.flexgw.invalid"

func through(t *testing.T, e *egress.Egress, text string) {
	t.Helper()
	p, err := egress.ParseProxy(text)
	if err != nil {
		t.Fatal(err)
	}
	e.SetProxy(egress.Usage, p, "Configuration gateway: gateway.yaml:5:3")
}

func TestTunnel(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, c := range []struct{ scheme, user string }{{"http", ""}, {"http", "office"}, {"https", ""}, {"https", "office"}} {
		t.Run(c.scheme+" "+c.user, func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t, a, metering, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }, answer("taken"))
			x := &proxy{user: c.user, targets: map[string]string{metering + ":443": p.at}}
			var secure *tls.Certificate
			if c.scheme == "https" {
				secure = a.issue(t, "127.0.0.1")
			}
			newProxy(t, x, secure)
			e := usageOf(t, a, metering+":443")
			e.SetProxyTLS(egress.TLS{Roots: a.pool(t)})
			agent := a.issue(t, "agent")
			e.SetTLS(egress.Usage, egress.TLS{Roots: a.pool(t), Certificate: func() (*tls.Certificate, error) { return agent, nil }})
			u := url.URL{Scheme: c.scheme, Host: x.at}
			if c.user != "" {
				u.User = url.UserPassword(c.user, password)
			}
			through(t, e, u.String())
			for range 2 {
				if got, err := get(t, e.HTTPClient(egress.Usage), "https://"+metering+"/ingestion"); err != nil || got != "taken" {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			if got := x.asked(); !slices.Equal(got, []string{"CONNECT " + metering + ":443"}) {
				t.Errorf("the proxy was asked %v, want one CONNECT with the name", got)
			}
			head := x.heads[0]
			if has := head.Header.Get("Proxy-Authorization") != ""; has != (c.user != "") {
				t.Errorf("credentials sent: %v", has)
			}
			if head.TLS != nil && len(head.TLS.PeerCertificates) > 0 {
				t.Error("the registration's certificate was shown to the proxy")
			}
			if p.clients() != "agent agent" {
				t.Errorf("the platform was shown %q", p.clients())
			}
			for _, r := range p.requests() {
				if _, ok := r.Header["Proxy-Authorization"]; ok {
					t.Error("credentials of the proxy came to the platform")
				}
			}
			want := []egress.Destination{
				{Purpose: "proxy", Host: x.at, Why: "Configuration gateway: gateway.yaml:5:3"},
				{Purpose: egress.Usage, Host: metering + ":443", Why: "registration.yaml"},
			}
			if diff := cmp.Diff(want, e.List()); diff != "" {
				t.Errorf("list (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProxyThatRefuses(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := newPlatform(t, a, metering, nil, answer("taken"))
	known := map[string]string{metering + ":443": p.at}
	try := func(t *testing.T, x *proxy, user string) error {
		t.Helper()
		newProxy(t, x, nil)
		e := usageOf(t, a, metering+":443")
		e.Hurry(time.Minute)
		if x.hang {
			e.Hurry(200 * time.Millisecond)
		}
		through(t, e, "http://"+user+x.at)
		_, err := get(t, e.HTTPClient(egress.Usage), "https://"+metering)
		if err == nil {
			t.Fatal("answered")
		}
		if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), url.QueryEscape(password)) {
			t.Errorf("the password is in %q", err)
		}
		x.wait(t)
		if n := len(x.asked()); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
		return err
	}
	var auth *egress.ProxyAuthError
	if err := try(t, &proxy{targets: known, user: "office"}, ""); !errors.As(err, &auth) || auth.Sent {
		t.Errorf("no credentials: %v", err)
	}
	if err := try(t, &proxy{targets: known, user: "office"}, "guest:"+url.QueryEscape(password)+"@"); !errors.As(err, &auth) || !auth.Sent {
		t.Errorf("wrong credentials: %v", err)
	}
	for _, c := range []struct {
		name   string
		proxy  *proxy
		status int
		want   string
	}{
		{"unlisted", &proxy{}, 403, "refused a tunnel to " + metering + ":443: 403 Forbidden"},
		{"upstream down", &proxy{targets: map[string]string{metering + ":443": "127.0.0.1:1"}}, 502, "502 Bad Gateway"},
		{"hangs", &proxy{hang: true}, 0, "no answer to CONNECT " + metering + ":443: context deadline exceeded"},
		{"no HTTP", &proxy{answer: "SSH-2.0-OpenSSH_9.9\r\n\r\n"}, 0, "malformed HTTP"},
		{"closes", &proxy{answer: "\x00"}, 0, "its answer to CONNECT"},
		{"redirects", &proxy{answer: "HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n"}, 302, "302 Found"},
		{"talks first", &proxy{targets: known, early: true}, 0, "before anything was said"},
		{"endless head", &proxy{answer: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"}, 0, "its answer to CONNECT"},
	} {
		var e *egress.ProxyError
		err := try(t, c.proxy, "office:"+url.QueryEscape(password)+"@")
		if !errors.As(err, &e) || e.Status != c.status || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %d and %q", c.name, err, c.status, c.want)
		}
	}
	if n := len(p.requests()); n != 0 {
		t.Errorf("the platform was reached %d times", n)
	}
}

func TestProxyThatIsAway(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	e := usageOf(t, a, metering+":443")
	e.Hurry(200 * time.Millisecond)
	var gone *egress.ProxyError
	through(t, e, "http://127.0.0.1:1")
	if _, err := get(t, e.HTTPClient(egress.Usage), "https://"+metering); !errors.As(err, &gone) || !strings.Contains(err.Error(), "proxy 127.0.0.1:1: dial tcp") {
		t.Errorf("error = %v, want that the proxy was not reached", err)
	}
	through(t, e, "https://"+silent(t))
	if _, err := get(t, e.HTTPClient(egress.Usage), "https://"+metering); !errors.As(err, &gone) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want that the proxy's handshake took too long", err)
	}
	x := newProxy(t, &proxy{hang: true}, nil)
	e = usageOf(t, a, metering+":443")
	through(t, e, "http://"+x.at)
	e.Hurry(time.Minute)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+metering, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { x.wait(t); cancel() }()
	if _, err := e.HTTPClient(egress.Usage).Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the caller's end", err)
	}
}

// What is not on the list is not asked of the proxy either, and other purposes know no proxy.
func TestProxyIsForItsPurposeAlone(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := newPlatform(t, a, "127.0.0.1", nil, answer("taken"))
	x := newProxy(t, &proxy{targets: map[string]string{p.at: p.at, "elsewhere.invalid:443": p.at}}, nil)
	e := usageOf(t, a, p.at)
	e.SetTLS(egress.JWKS, egress.TLS{Roots: a.pool(t)})
	through(t, e, "http://"+x.at)
	_, err := get(t, e.HTTPClient(egress.Usage), "https://elsewhere.invalid")
	wantRefused(t, err, egress.Usage, "elsewhere.invalid:443")
	_, err = e.Dial(context.Background(), "proxy", "tcp", x.at)
	wantRefused(t, err, "proxy", x.at)
	e.Set(egress.JWKS, []egress.Destination{{Host: p.at, Why: "jwt.yaml:9:7"}})
	if _, err := get(t, e.HTTPClient(egress.JWKS), p.URL); err != nil {
		t.Error(err)
	}
	if got := x.asked(); len(got) != 0 {
		t.Errorf("the proxy was asked %v", got)
	}
	if _, err := get(t, e.HTTPClient(egress.Usage), p.URL); err != nil {
		t.Error(err)
	}
	if got := x.asked(); len(got) != 1 {
		t.Errorf("the proxy was asked %v, want once", got)
	}

	// Another proxy, or none, is used from the next request on.
	e.SetProxy(egress.Usage, egress.Proxy{}, "")
	if _, err := get(t, e.HTTPClient(egress.Usage), p.URL); err != nil || len(x.asked()) != 1 {
		t.Errorf("without it: %v, asked %v", err, x.asked())
	}
	if list := e.List(); slices.ContainsFunc(list, func(d egress.Destination) bool { return d.Purpose == "proxy" }) {
		t.Errorf("list = %v, want no proxy", list)
	}
}

// While nobody knows which proxy it is, nobody is called past it.
func TestProxyThatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := newPlatform(t, a, "127.0.0.1", nil, answer("taken"))
	e := usageOf(t, a, p.at)
	e.SetProxy(egress.Usage, egress.Pending("no revision was accepted"), "")
	if _, err := get(t, e.HTTPClient(egress.Usage), p.URL); err == nil || !strings.Contains(err.Error(), p.at+" is not called yet: no revision was accepted") {
		t.Errorf("error = %v", err)
	}
	if diff := cmp.Diff([]egress.Destination{{Purpose: egress.Usage, Host: p.at, Why: "registration.yaml"}}, e.List()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	e.SetProxy(egress.Usage, egress.Proxy{}, "")
	if _, err := get(t, e.HTTPClient(egress.Usage), p.URL); err != nil || len(p.requests()) != 1 {
		t.Errorf("%v after %d requests", err, len(p.requests()))
	}
}

func TestNoProxy(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := newPlatform(t, a, "127.0.0.1", nil, answer("taken"))
	for _, c := range []struct {
		except  []string
		carried bool
	}{
		{nil, true},
		{[]string{"127.0.0.1"}, false},
		{[]string{".0.0.1"}, false}, // a suffix is text
		{[]string{"0.0.1"}, true},   // a name is not
		{[]string{".127.0.0.1"}, true},
		{[]string{"example.com", " 127.0.0.1 "}, false},
	} {
		x := newProxy(t, &proxy{targets: map[string]string{p.at: p.at}}, nil)
		e := usageOf(t, a, p.at)
		y, err := egress.ParseProxy("http://" + x.at)
		if err != nil {
			t.Fatal(err)
		}
		e.SetProxy(egress.Usage, y.Except(c.except), "test")
		if _, err := get(t, e.HTTPClient(egress.Usage), p.URL); err != nil {
			t.Errorf("%v: %v", c.except, err)
		}
		if carried := len(x.asked()) == 1; carried != c.carried {
			t.Errorf("except %q: through the proxy: %v, want %v", c.except, carried, c.carried)
		}
		if listed := len(e.List()) == 2; listed != c.carried {
			t.Errorf("except %q: the proxy is listed: %v, want %v", c.except, listed, c.carried)
		}
	}
}

func TestProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env     map[string]string
		want    string
		carried []string // of a.example, b.a.example
	}{
		{nil, "none", nil},
		{map[string]string{"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}, "none", nil},
		{map[string]string{"HTTPS_PROXY": "http://u:secret@p.example:3128"}, "http://[redacted]@p.example:3128", []string{"a.example:443", "b.a.example:443"}},
		{map[string]string{"https_proxy": "https://p.example", "no_proxy": ".a.example"}, "https://p.example:443", []string{"a.example:443"}},
		{map[string]string{"HTTPS_PROXY": "http://p.example", "NO_PROXY": "a.example"}, "http://p.example:80", nil},
		{map[string]string{"HTTPS_PROXY": "http://p.example:8080", "NO_PROXY": "*"}, "http://p.example:8080", nil},
	} {
		p, err := egress.ProxyFromEnv(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
		if err != nil {
			t.Errorf("%v: %v", c.env, err)
			continue
		}
		if got := p.String(); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
		e := egress.New(egress.Options{})
		var carried []string
		for _, at := range []string{"a.example:443", "b.a.example:443"} {
			e.Set(egress.Usage, []egress.Destination{{Host: at}})
			e.SetProxy(egress.Usage, p, "$HTTPS_PROXY")
			if len(e.List()) == 2 {
				carried = append(carried, at)
			}
		}
		if !slices.Equal(carried, c.carried) {
			t.Errorf("%v: carried %v, want %v", c.env, carried, c.carried)
		}
	}
	if _, err := egress.ProxyFromEnv(func(string) (string, bool) { return "socks5://u:secret@p:1080", true }); err == nil || !strings.HasPrefix(err.Error(), "$HTTPS_PROXY: ") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error = %v", err)
	}
}

// The variables change nothing for whoever does not ask for them.
func TestEnvironmentIsIgnored(t *testing.T) {
	x := newProxy(t, &proxy{}, nil)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://"+x.at)
	}
	e := egress.New(egress.Options{})
	for _, purpose := range []egress.Purpose{egress.Usage, egress.JWKS} {
		e.Set(purpose, []egress.Destination{{Host: metering + ":443"}})
		if _, err := get(t, e.HTTPClient(purpose), "https://"+metering); err == nil {
			t.Error("answered")
		}
	}
	if got := x.asked(); len(got) != 0 {
		t.Errorf("the proxy was asked %v", got)
	}
}

func TestParseProxy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"http://proxy:8888", "http://proxy:8888"},
		{"http://Proxy.Example.:8888/", "http://proxy.example:8888"},
		{"https://[::1]:8443", "https://[::1]:8443"},
		{"http://user:" + url.QueryEscape(password) + "@proxy", "http://[redacted]@proxy:80"},
	} {
		p, err := egress.ParseProxy(c.text)
		if err != nil || p.String() != c.want || p.IsZero() {
			t.Errorf("%s: %s, %v; want %s", c.text, p, err, c.want)
		}
	}
	for _, text := range []string{
		"", "proxy:8888", "proxy", "socks5://user:secret@proxy:1080", "http://", "http://user:secret@", "http://user:secret@proxy/path", "http://user:secret@proxy?x=1", "http://user:sec ret@proxy",
		"http://user:secret@proxy:port", "http://%zz:secret@proxy", "http://:secret@proxy", "http://a%3Ab:secret@proxy",
	} {
		p, err := egress.ParseProxy(text)
		if err == nil || !p.IsZero() {
			t.Errorf("%q: %v, want it refused", text, p)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec ret") {
			t.Errorf("%q: the password is in %q", text, err)
		}
	}
}

func TestProxyKeepsItsPassword(t *testing.T) {
	t.Parallel()
	p, err := egress.ParseProxy("http://office:" + url.QueryEscape(password) + "@proxy:3128")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", p, &p)
		fmt.Fprintf(&out, verb+"\n", struct{ P egress.Proxy }{p})
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "proxy", p)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "proxy", p)
	for _, secret := range []string{password, "office", fmt.Sprintf("%x", password), base64.StdEncoding.EncodeToString([]byte("office:" + password))} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in\n%s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), "http://[redacted]@proxy:3128") {
		t.Errorf("printed as\n%s", out.String())
	}
}

// TestMayPass: what of the way to somebody is worth another try.
func TestMayPass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  interface{ MayPass() bool }
		want bool
	}{
		{&egress.ProxyError{Status: 502}, true}, {&egress.ProxyError{Status: 503}, true}, {&egress.ProxyError{Status: 504}, true}, {&egress.ProxyError{Status: 429}, true}, {&egress.ProxyError{Status: 408}, true},
		{&egress.ProxyError{Status: 403}, false}, {&egress.ProxyError{Status: 404}, false},
		{&egress.ProxyError{Err: io.EOF}, true}, {&egress.ProxyError{Err: &net.OpError{Op: "dial", Err: io.EOF}}, true},
		{&egress.ProxyError{Err: &net.DNSError{IsNotFound: true}}, false}, {&egress.ProxyError{Err: &tls.CertificateVerificationError{}}, false},
		{&egress.ProxyAuthError{}, false}, {&egress.RefusedError{}, false},
	} {
		if got := c.err.MayPass(); got != c.want {
			t.Errorf("%#v: %v", c.err, got)
		}
	}
}
