package e2e

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
)

// registered is a folder with a registration of a simulator.
func registered(t *testing.T, dir string) *simtest.Server {
	t.Helper()
	s := simtest.Start(t, sim.Options{})
	ca, token := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "token")
	for path, text := range map[string]string{ca: string(s.CA()), token: sim.Token} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, errs, code := harness.Command(t, "register", "--token-file", token, "--organization", sim.DefaultOrganization, "--anypoint-url", s.URL(), "--ca-file", ca, "--output-directory", dir, "edge"); code != 0 {
		t.Fatalf("register: exit code %d\n%s", code, errs)
	}
	return s
}

func hostOf(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func (g *gateway) flush() {
	g.t.Helper()
	if out, errs, code := harness.Command(g.t, "usage", "flush", "--state-dir", g.State); code != 0 {
		g.t.Errorf("usage flush: exit code %d\n%s%s", code, out, errs)
	}
}

// TestEgressTwoDestinations: from registration to the last report, two hosts are called, and no name is looked up.
func TestEgressTwoDestinations(t *testing.T) {
	t.Parallel()
	if !harness.Inside(t) {
		return
	}
	o := newOutside(t)
	g := prepare(t, stayingHome)
	s := registered(t, g.Dir)
	if diff := cmp.Diff(map[harness.Call]bool{{Protocol: "tcp", To: hostOf(t, s.URL())}: true}, set(o.home)); diff != "" {
		t.Errorf("register called (-want +got):\n%s", diff)
	}
	o.reset()

	g.Run()
	g.WaitReady()
	const requests = 25
	for range requests {
		if a := g.get(8081, "/home"); a.Status != 200 {
			t.Fatalf("status %d", a.Status)
		}
	}
	g.flush()
	o.want("a registered daemon")
	o.wantHome(g, hostOf(t, s.IngestURL()))
	o.wantShown(g, "usage "+hostOf(t, s.IngestURL()))
	g.WaitLog(`egress: usage -> ` + hostOf(t, s.IngestURL()) + `; everything else denied`)
	if code := g.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	state := s.State()
	if got := state.Usage["default/home"]; got != requests {
		t.Errorf("the platform counts %d requests, want %d: %v", got, requests, state.Usage)
	}
	if len(state.Unexpected) > 0 {
		t.Errorf("unexpected: %v", state.Unexpected)
	}
	o.want("to the end")
	o.wantHome(g, hostOf(t, s.IngestURL()))
}

// metering stands in for the platform's ingestion at a host of the world, as the simulator does at loopback.
type metering struct {
	mu      sync.Mutex
	reports int
}

func (m *metering) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reports
}

func (m *metering) serve(t *testing.T, o *outside, a *authority, name string) {
	t.Helper()
	config := a.server(t, name)
	config.ClientAuth = tls.RequireAnyClientCert
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(anypoint.WireHeader, anypoint.WireSim)
		if r.URL.Path != anypoint.PathMetering {
			return
		}
		b, _ := io.ReadAll(r.Body)
		var batch anypoint.Batch
		if err := json.Unmarshal(b, &batch); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m.mu.Lock()
		m.reports++
		m.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(anypoint.Ack{Accepted: true, AckedSeq: batch.Seq})
	})}
	l := o.Listen(name, "443")
	go func() { _ = s.Serve(tls.NewListener(l, config)) }()
	t.Cleanup(func() { s.Close() })
}

// TestEgressByName: of a registered daemon exactly the host of its registration is looked up and called, also when the registration
// names another one; through a proxy, exactly the proxy; and air-gapped, nobody.
func TestEgressByName(t *testing.T) {
	t.Parallel()
	if !harness.Inside(t) {
		return
	}
	o := newOutside(t)
	a := newAuthority(t)
	var first, second metering
	first.serve(t, o, a, "metering.flexgw.test")
	second.serve(t, o, a, "other.flexgw.test")
	asked := make(chan string, 100)
	go relay(o.World, o.Listen("proxy.flexgw.test", "3128"), asked, map[string]string{"other.flexgw.test:443": net.JoinHostPort(o.Host("other.flexgw.test"), "443")})

	g := prepare(t, stayingHome, withArgs("--strict-egress"))
	s := registered(t, g.Dir)
	at := filepath.Join(g.Dir, anypoint.FileName)
	f, err := anypoint.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	report := func(to string) {
		t.Helper()
		f.Metering, f.CA = "https://"+to+anypoint.PathMetering, []byte(a.pem)
		if err := f.Write(g.Dir, anypoint.WriteOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	report("metering.flexgw.test")
	o.reset()

	g.Run()
	g.WaitReady()
	serve := func() {
		t.Helper()
		if a := g.get(8081, "/home"); a.Status != 200 {
			t.Errorf("status %d", a.Status)
		}
		g.flush()
	}
	serve()
	o.want("registered", "metering.flexgw.test:443")
	o.wantShown(g, "usage metering.flexgw.test:443")
	if out, _, _ := harness.Command(t, "egress", "show", "--state-dir", g.State); !strings.HasSuffix(out, "mode strict: everything else is denied\n") {
		t.Errorf("egress show, strictly:\n%s", out)
	}

	o.reset()
	was := first.count()
	report("other.flexgw.test")
	g.WaitLog(`egress: usage -> other\.flexgw\.test:443; everything else denied`)
	serve()
	o.want("registered elsewhere", "other.flexgw.test:443")
	if first.count() != was || second.count() == 0 {
		t.Errorf("%d reports came to the host of before, %d to the one of now", first.count()-was, second.count())
	}

	o.reset()
	g.write("proxy.yaml", "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata: {name: proxy}\nspec:\n  forwardProxy:\n    https:\n      address: \"http://proxy.flexgw.test:3128\"\n")
	g.WaitLog(`egress: proxy -> proxy\.flexgw\.test:3128; usage -> other\.flexgw\.test:443; everything else denied`)
	serve()
	o.want("through a proxy", "proxy.flexgw.test:3128")
	o.wantShown(g, "proxy proxy.flexgw.test:3128", "usage other.flexgw.test:443")
	if got := <-asked; got != "CONNECT other.flexgw.test:443" {
		t.Errorf("the proxy was asked %q", got)
	}
	if code := g.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	o.reset()

	g.Args = []string{"--air-gapped"}
	g.Run()
	g.WaitReady()
	if a := g.get(8081, "/home"); a.Status != 200 {
		t.Errorf("status %d", a.Status)
	}
	o.wantShown(g)
	if out, _, _ := harness.Command(t, "egress", "show", "--state-dir", g.State); !strings.HasSuffix(out, "mode air-gapped: nobody is called\n") {
		t.Errorf("egress show, air-gapped:\n%s", out)
	}
	if _, errs, code := harness.Command(t, "usage", "flush", "--state-dir", g.State); code == 0 || !strings.Contains(errs, "air-gapped") {
		t.Errorf("usage flush, air-gapped: exit code %d\n%s", code, errs)
	}
	g.Stop()
	o.want("air-gapped")
	if len(s.State().Usage) > 0 {
		t.Errorf("the simulator, which nobody names any more, has %v", s.State().Usage)
	}
}
