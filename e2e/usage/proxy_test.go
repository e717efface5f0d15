package usage

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/egress"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// proxy is a forward proxy that wants credentials, and knows where names lead.
type proxy struct {
	address string
	want    string // the header
	names   map[string]string

	mu  sync.Mutex
	saw []string // the lines of requests
}

func newProxy(t testing.TB, user, password string, names map[string]string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{address: l.Addr().String(), want: "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)), names: names}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.saw = append(p.saw, r.Method+" "+r.Host)
	p.mu.Unlock()
	to, known := p.names[r.Host]
	switch {
	case r.Header.Get("Proxy-Authorization") != p.want:
		fmt.Fprint(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
		return
	case r.Method != http.MethodConnect || !known:
		fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		return
	}
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
	go io.Copy(out, in)
	_, _ = io.Copy(c, out)
}

func (p *proxy) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.saw...)
}

// called gives the simulator a name beside those that it has.
func (p *platform) called(name string) {
	p.t.Helper()
	p.stop()
	by, key := authority(p.t, filepath.Join(p.dir, "pki", "root.pem"))
	_, text := minted(p.t, &x509.Certificate{DNSNames: []string{"localhost", name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, by, key)
	if err := os.WriteFile(filepath.Join(p.dir, "pki", "server.pem"), text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.start()
}

// TestThroughAProxy is row 6 of the matrix: reports go through a forward proxy that wants credentials. The name of the platform is one
// that nobody on this host can look up, so that the proxy alone did.
func TestThroughAProxy(t *testing.T) {
	t.Parallel()
	const name = "metering.invalid" // RFC 6761: there is none
	p := newPlatform(t, nil)
	f := p.register(t.TempDir(), "edge")
	p.called(name)
	_, port, err := net.SplitHostPort(hostOf(p.sim.IngestURL()))
	if err != nil {
		t.Fatal(err)
	}
	f.Metering = "https://" + name + ":" + port + "/ingestion/api/v1/metering"
	x := newProxy(t, "report", "open sesame", map[string]string{name + ":" + port: "127.0.0.1:" + port})
	for _, c := range []struct {
		user, password string
		status         string
		reason         metering.Reason
		words          string
	}{
		{"", "", "False", metering.Waiting, "407"}, // sinks of the daemon say that it lasts
		{"report", "close sesame", "False", metering.Waiting, "407"},
		{"report", "open sesame", "True", metering.Reported, "no request waits"},
	} {
		to, err := egress.ParseProxy("http://" + x.address)
		if err == nil {
			to, err = to.WithCredentials(c.user, c.password)
		}
		if err != nil {
			t.Fatal(err)
		}
		h := newHost(t, f)
		h.tune = func(e *egress.Egress) { e.SetProxy(egress.Usage, to, "a test") }
		h.start(metering.Options{})
		h.count("default/a", 5)
		_ = h.flush()
		if s := h.Delivery(); s.Status != c.status || s.Reason != c.reason || !strings.Contains(s.Message, c.words) {
			t.Errorf("%s:%s: %+v", c.user, c.password, s)
		}
		h.end()
	}
	if got := p.sim.State().Usage["default/a"]; got != 5 {
		t.Errorf("the platform has %d requests", got)
	}
	for _, line := range x.seen() {
		if line != "CONNECT "+name+":"+port {
			t.Errorf("the proxy was asked %q", line)
		}
	}
	if len(x.seen()) == 0 || len(x.seen()) > 24 { // a flush tries five times
		t.Errorf("the proxy was asked %d times", len(x.seen()))
	}
}
