package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/egress"
)

const stayingHome = `
-- api.yaml --
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: home}
spec:
  address: http://0.0.0.0:8081/home
  services: {up: {address: "http://127.0.0.1:9001"}}
`

const calling = `
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: calling}
spec:
  address: http://0.0.0.0:8081/calling
  policies:
    - policyRef: {name: jwt-validation-flex}
      config: {jwtKeyOrigin: jwks, jwksUrl: "http://keys.flexgw.test/jwks.json"}
  services: {up: {address: "http://127.0.0.1:9001"}}
`

// outside is the world of a test, and what goes there.
type outside struct {
	*harness.World
	t       testing.TB
	capture *harness.Capture
	home    *harness.Capture // of loopback
}

func newOutside(t testing.TB) *outside {
	t.Helper()
	w := harness.NewWorld(t)
	return &outside{World: w, t: t, capture: harness.NewCapture(t, harness.Outside), home: harness.NewCapture(t, "lo")}
}

// reset forgets what was seen.
func (o *outside) reset() {
	o.World.Reset()
	o.capture.Reset()
	o.home.Reset()
}

// want is exactly who was called, as NAME:PORT, and that no other name was asked for: through the name server, but for itself
// nothing else left.
func (o *outside) want(what string, hosts ...string) {
	o.t.Helper()
	calls := map[harness.Call]bool{}
	var names []string
	for _, h := range hosts {
		name, port, _ := net.SplitHostPort(h)
		names = append(names, name)
		calls[harness.Call{Protocol: "udp", To: "192.0.2.2:53"}] = true
		calls[harness.Call{Protocol: "tcp", To: net.JoinHostPort(o.Host(name), port)}] = true
	}
	if diff := cmp.Diff(calls, set(o.capture)); diff != "" {
		o.t.Errorf("%s: who was called (-want +got):\n%s", what, diff)
	}
	if diff := cmp.Diff(names, o.Questions()); diff != "" {
		o.t.Errorf("%s: which names were asked for (-want +got):\n%s", what, diff)
	}
}

func set(c *harness.Capture) map[harness.Call]bool {
	m := map[harness.Call]bool{}
	for _, call := range c.Calls() {
		m[call] = true
	}
	return m
}

// answers serves a host of the world.
func (o *outside) answers(name, port string, h http.HandlerFunc) {
	o.t.Helper()
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	l := o.Listen(name, port)
	go func() { _ = s.Serve(l) }()
	o.t.Cleanup(func() { s.Close() })
}

// TestEgress counts every connection and every look-up of a daemon and its Envoy in a network of their own.
func TestEgress(t *testing.T) {
	t.Parallel()
	if !harness.Inside(t) {
		return
	}
	o := newOutside(t)
	var keys atomic.Int64
	o.answers("keys.flexgw.test", "80", func(w http.ResponseWriter, _ *http.Request) {
		keys.Add(1)
		_, _ = io.WriteString(w, `{"keys":[]}`)
	})
	o.Host("elsewhere.flexgw.test")

	// Neither the daemon nor its Envoy calls anybody.
	g := start(t, stayingHome)
	served := func() {
		t.Helper()
		if a := g.get(8081, "/home"); a.Status != 200 {
			t.Errorf("status %d", a.Status)
		}
	}
	served()
	time.Sleep(6 * time.Second) // Envoy writes statistics out each five
	g.write("other.yaml", strings.ReplaceAll(strings.TrimPrefix(stayingHome, "\n-- api.yaml --\n"), "home", "other"))
	harness.Until(t, func() error {
		if a := g.get(8081, "/other"); a.Status != 200 {
			return fmt.Errorf("status %d", a.Status)
		}
		return nil
	})
	o.want("unregistered")
	o.wantHome(g)
	g.WaitLog(`not registered with Anypoint: usage is counted, and reported to nobody`)
	g.WaitLog(`egress: nobody is called`)
	o.wantShown(g)

	// A declaration adds the host that it names, and no other.
	g.write("calling.yaml", calling)
	harness.Until(t, func() error {
		if keys.Load() == 0 {
			return errors.New("the key set was not fetched")
		}
		return nil
	})
	g.WaitLog(`egress: jwks -> keys.flexgw.test:80; everything else denied`)
	served()
	o.want("a key set", "keys.flexgw.test:80")
	o.wantShown(g, "jwks keys.flexgw.test:80")
	g.remove("calling.yaml")
	g.WaitLog(`(?s)keys\.flexgw\.test.*egress: nobody is called`)
	if code := g.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	o.reset()

	// Strictly, it is refused, with nothing sent.
	g = prepare(t, stayingHome, withArgs("--strict-egress"))
	g.write("calling.yaml", calling)
	g.Run()
	g.WaitLog(`calling\.yaml:\d+:\d+: error: policy jwt-validation-flex needs a key set from keys\.flexgw\.test:80, and --strict-egress leaves no way to it \[egress/strict\]`)
	g.remove("calling.yaml")
	g.WaitReady()
	served()
	g.Stop()
	o.want("strict")
}

// wantHome is that on loopback a gateway's port and its upstream were called, and nobody else but more.
func (o *outside) wantHome(g *gateway, more ...string) {
	o.t.Helper()
	want := map[harness.Call]bool{}
	for _, port := range g.ports {
		want[harness.Call{Protocol: "tcp", To: fmt.Sprintf("127.0.0.1:%d", port)}] = true
	}
	for _, to := range more {
		want[harness.Call{Protocol: "tcp", To: to}] = true
	}
	if diff := cmp.Diff(want, set(o.home)); diff != "" {
		o.t.Errorf("on loopback (-want +got):\n%s", diff)
	}
}

// wantShown is what the running daemon says that it calls.
func (o *outside) wantShown(g *gateway, want ...string) {
	o.t.Helper()
	out, errs, code := harness.Command(o.t, "egress", "show", "--state-dir", g.State)
	if code != 0 {
		o.t.Fatalf("egress show: exit code %d\n%s", code, errs)
	}
	var got []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != "PURPOSE" && f[0] != "mode" {
			got = append(got, f[0]+" "+f[1])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		o.t.Errorf("egress show (-want +got):\n%s", diff)
	}
}

// TestCapture: what the other tests rely on is seen, answered or not, and told apart.
func TestCapture(t *testing.T) {
	t.Parallel()
	if !harness.Inside(t) {
		return
	}
	o := newOutside(t)
	o.want("nothing")
	host := o.Host("silent.flexgw.test")
	send := func(network, to string) {
		c, err := net.Dial(network, to)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "x")
		c.Close()
	}
	send("tcp", host+":81")         // refused
	send("udp", "203.0.113.9:5000") // to a host that is not there
	send("udp", "203.0.113.9:5000")
	send("udp", "127.0.0.1:5001")
	_, _ = net.LookupHost("silent.flexgw.test")
	_, _ = net.LookupHost("nobody.flexgw.test")
	want := []harness.Call{{Protocol: "tcp", To: host + ":81"}, {Protocol: "udp", To: "192.0.2.2:53"}, {Protocol: "udp", To: "203.0.113.9:5000"}}
	if diff := cmp.Diff(want, o.capture.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if home := set(o.home); !home[harness.Call{Protocol: "udp", To: "127.0.0.1:5001"}] {
		t.Errorf("on loopback: %v", home)
	}
	if diff := cmp.Diff([]string{"nobody.flexgw.test", "silent.flexgw.test"}, o.Questions()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	o.reset()
	o.want("reset")
}

// TestEgressClients: whoever asks package egress for a host that is not allowed, or is sent there, gets an error before a name is
// looked up; and with a proxy, only its own name is.
func TestEgressClients(t *testing.T) {
	t.Parallel()
	if !harness.Inside(t) {
		return
	}
	o := newOutside(t)
	authority := newAuthority(t)
	seen := make(chan string, 10)
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "https://elsewhere.flexgw.test/", http.StatusFound)
		}
	})}
	l := o.Listen("metering.flexgw.test", "443")
	go func() {
		_ = server.Serve(tls.NewListener(l, authority.server(t, "metering.flexgw.test")))
	}()
	t.Cleanup(func() { server.Close() })
	o.Host("elsewhere.flexgw.test")

	e := egress.New(egress.Options{RootCAs: authority.pool()})
	e.Set(egress.Usage, []egress.Destination{{Host: "metering.flexgw.test:443", Why: "registration.yaml"}})
	get := func(purpose egress.Purpose, url string) (int, error) {
		r, err := e.HTTPClient(purpose).Get(url)
		if err != nil {
			return 0, err
		}
		r.Body.Close()
		return r.StatusCode, nil
	}
	var refused *egress.RefusedError
	for _, c := range []struct {
		purpose egress.Purpose
		url     string
	}{
		{egress.Usage, "https://elsewhere.flexgw.test/"}, {egress.Usage, "https://metering.flexgw.test:444/"}, {egress.Usage, "http://metering.flexgw.test:443/"}, {egress.Usage, "https://198.51.100.9/"},
		{egress.Usage, "https://sub.metering.flexgw.test/"}, {egress.Registration, "https://metering.flexgw.test/"}, {egress.JWKS, "https://metering.flexgw.test/"}, {egress.Webhook, "http://elsewhere.flexgw.test/"},
	} {
		if _, err := get(c.purpose, c.url); !errors.As(err, &refused) {
			t.Errorf("%s %s: %v, want it refused", c.purpose, c.url, err)
		}
		if _, err := e.Dial(t.Context(), c.purpose, "tcp", "elsewhere.flexgw.test:443"); !errors.As(err, &refused) {
			t.Errorf("%s, dialled: %v, want it refused", c.purpose, err)
		}
	}
	o.want("refused")

	for path, want := range map[string]int{"/there": 200, "/away": 302} {
		if status, err := get(egress.Usage, "https://metering.flexgw.test"+path); err != nil || status != want {
			t.Errorf("%s: %d %v, want %d", path, status, err, want)
		}
	}
	o.want("the one that is allowed", "metering.flexgw.test:443")
	o.reset()

	// The proxy looks the name up itself.
	proxy := o.Listen("proxy.flexgw.test", "3128")
	asked := make(chan string, 10)
	go relay(o.World, proxy, asked, map[string]string{"metering.flexgw.test:443": net.JoinHostPort(o.Host("metering.flexgw.test"), "443")})
	p, err := egress.ParseProxy("http://user:secret@proxy.flexgw.test:3128")
	if err != nil {
		t.Fatal(err)
	}
	e.SetProxy(egress.Usage, p, "gateway.yaml:1:1")
	if status, err := get(egress.Usage, "https://metering.flexgw.test/through"); err != nil || status != 200 {
		t.Errorf("through the proxy: %d %v", status, err)
	}
	if _, err := get(egress.Usage, "https://elsewhere.flexgw.test/"); !errors.As(err, &refused) {
		t.Errorf("past the list, through the proxy: %v, want it refused", err)
	}
	if got := <-asked; got != "CONNECT metering.flexgw.test:443" {
		t.Errorf("the proxy was asked %q", got)
	}
	o.want("through a proxy", "proxy.flexgw.test:3128")
	if len(seen) != 3 {
		t.Errorf("the server saw %d requests, want 3", len(seen))
	}
}

// relay is a proxy of the world that knows where names lead.
func relay(w *harness.World, l net.Listener, asked chan<- string, to map[string]string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			asked <- r.Method + " " + r.Host
			there, err := w.Dial(to[r.Host])
			if err != nil {
				return
			}
			defer there.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			go func() { _, _ = io.Copy(there, c); there.Close() }()
			_, _ = io.Copy(c, there)
		}()
	}
}
