package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
)

// probed is an API with a probe; the upstream on 9002 answers 503.
const probed = `
-- api.yaml --
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: shop
spec:
  address: http://0.0.0.0:8081/shop
  services:
    main:
      address: http://127.0.0.1:9001
-- probe.yaml --
apiVersion: flexgw/v1alpha1
kind: Probe
metadata:
  name: shop-health
spec:
  targetRef:
    name: shop
  http:
    path: /health
  failureThreshold: 2
  periodSeconds: 0.2
`

// shopTo is the API with another upstream.
func shopTo(upstream string) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(probed, "\n-- api.yaml --\n"), "-- probe.yaml")
	return strings.Replace(text, "http://127.0.0.1:9001", upstream, 1)
}

var unavailable = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "gone for lunch", http.StatusServiceUnavailable)
})

// steady sends requests one after the other and remembers what came, and when something else than 200 was first and last seen.
type steady struct {
	stop        chan struct{}
	ended       chan struct{}
	good, bad   atomic.Int64
	first, last atomic.Int64 // nanoseconds; of a bad answer
	other       atomic.Value // an answer that is neither
}

func requests(t *testing.T, url string) *steady {
	t.Helper()
	x := &steady{stop: make(chan struct{}), ended: make(chan struct{})}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: 1}}
	go func() {
		defer close(x.ended)
		for {
			select {
			case <-x.stop:
				return
			default:
			}
			res, err := c.Get(url)
			switch {
			case err != nil:
				x.other.Store(err.Error())
				continue
			case res.StatusCode == http.StatusOK:
				x.good.Add(1)
			case res.StatusCode == http.StatusServiceUnavailable:
				now := time.Now().UnixNano()
				x.first.CompareAndSwap(0, now)
				x.last.Store(now)
				x.bad.Add(1)
			default:
				x.other.Store(res.Status)
			}
			res.Body.Close()
		}
	}()
	t.Cleanup(func() { x.end() })
	return x
}

func (x *steady) end() {
	select {
	case <-x.stop:
	default:
		close(x.stop)
	}
	<-x.ended
}

// A change that makes an API answer 503 is rolled back by its probe. Those who use it see the bad version only in between.
func TestProbeRollsBack(t *testing.T) {
	t.Parallel()
	g := start(t, probed, withUpstream(9002, unavailable))
	good := g.report().Revision
	x := requests(t, g.url(8081, "/shop/x"))
	harness.Until(t, func() error {
		if x.good.Load() < 100 {
			return fmt.Errorf("%d answers", x.good.Load())
		}
		return nil
	})
	if n := x.bad.Load(); n > 0 {
		t.Errorf("%d bad answers before anything changed", n)
	}
	from := time.Now()
	g.write("api.yaml", shopTo("http://127.0.0.1:9002"))
	var r status.Report
	harness.Until(t, func() error {
		r = g.report()
		if c, _ := r.Condition(status.Programmed); c.Reason != "RolledBack" {
			return fmt.Errorf("programmed: %+v", c)
		}
		return nil
	})
	back := time.Now()
	c, _ := r.Condition(status.Programmed)
	for _, want := range []string{"/shop/health answered 503", `"gone for lunch"`, "expected 200 to 299, 2 times [probe/failed]"} {
		if !strings.Contains(c.Message, want) {
			t.Errorf("no %q in %s", want, c.Message)
		}
	}
	if c.Place == nil || !strings.HasSuffix(c.Place.File, "probe.yaml") || c.Place.Start.Line != 8 {
		t.Errorf("place %+v, want http of the probe", c.Place)
	}
	if r.Revision != good || r.LastFailed == nil || r.LastFailed.Reason != "ProofFailed" || r.LastFailed.Revision == good {
		t.Errorf("served is %s, last failed %+v", r.Revision, r.LastFailed)
	}
	answered := func(n int64) {
		t.Helper()
		from := x.good.Load()
		harness.Until(t, func() error {
			if got := x.good.Load() - from; got < n {
				return fmt.Errorf("%d good answers after the rollback", got)
			}
			return nil
		})
	}
	answered(20) // what was under way is over
	seen := x.bad.Load()
	answered(100) // and stays so
	x.end()
	if x.bad.Load() != seen || seen == 0 {
		t.Errorf("%d bad answers, %d of them long after the rollback", x.bad.Load(), x.bad.Load()-seen)
	}
	if other := x.other.Load(); other != nil {
		t.Errorf("neither good nor bad: %v", other)
	}
	first, last := time.Unix(0, x.first.Load()), time.Unix(0, x.last.Load())
	if first.Before(from) {
		t.Errorf("bad from %s after the change on", first.Sub(from))
	}
	t.Logf("%d good answers, %d bad ones, for %s; rolled back %s after the change", x.good.Load(), seen, last.Sub(first), back.Sub(from))

	harness.Until(t, func() error {
		out, _, _ := harness.Command(t, "history", "--state-dir", g.State)
		for _, want := range []string{"ProofFailed", "RolledBack"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %s in the history:\n%s", want, out)
			}
		}
		return nil
	})
	g.write("api.yaml", shopTo("http://127.0.0.1:9001")+"# mended\n")
	harness.Until(t, func() error {
		r := g.report()
		if c, _ := r.Condition(status.Programmed); c.Reason != "Live" {
			return fmt.Errorf("programmed: %+v", c)
		}
		return nil
	})
}

// apply says what became of it, and ends with 4.
func TestApplyIsProbed(t *testing.T) {
	t.Parallel()
	g := prepare(t, probed, withoutSource, withUpstream(9002, unavailable))
	g.Run()
	harness.Until(t, func() error {
		if _, errs, code := harness.Command(t, "probe", "--check", "liveness", "--state-dir", g.State); code != 0 {
			return fmt.Errorf("liveness %d: %s", code, errs)
		}
		return nil
	})
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(g.Dir, "api.yaml"), []byte(g.rewrite(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one := g.applied(0, g.Dir)
	put(shopTo("http://127.0.0.1:9002"))
	o := g.applied(4, g.Dir)
	if o.Result != api.RolledBack || o.Reason != "ProofFailed" || o.Served != one.Revision || len(o.Diagnostics) != 1 || o.Diagnostics[0].Code != "probe/failed" {
		t.Errorf("%+v", o)
	}
}

// With nothing to go back to, a revision whose probe fails is served, said to fail, and asked again.
func TestFirstRevisionFailsItsProbe(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	var asked atomic.Int64
	g := prepare(t, strings.Replace(probed, ":9001", ":9003", 1), withUpstream(9003, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/health") {
			asked.Add(1)
		}
		if !up.Load() {
			unavailable(w, r)
		}
	})))
	g.Run()
	g.WaitLog("its probes or its error rate speak against it")
	if n := asked.Load(); n != 2 { // half a minute before they are asked again
		t.Errorf("asked %d times, want failureThreshold", n)
	}
	harness.Until(t, func() error {
		r := g.report()
		if c, _ := r.Condition(status.Programmed); c.Reason != "ProofFailed" || c.Status != status.False || !strings.Contains(c.Message, "answered 503") {
			return fmt.Errorf("programmed: %+v", c)
		}
		return nil
	})
	if strings.Contains(g.Log(), "\nready ") {
		t.Error("ready although its probe failed")
	}
	res, err := http.Get(g.url(8081, "/shop/x"))
	if err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("it is not served: %v %v", res, err)
	}
	up.Store(true)
	g.WaitLog(`(?m)^ready `)
	if c, _ := g.report().Condition(status.Programmed); c.Reason != "Live" {
		t.Errorf("programmed: %+v", c)
	}
}

// A certificate that runs out is found by a handshake; so is one for another name.
func TestProbeOfCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good, old := ca.issue(t, "gateway.test"), ca.issueUntil(t, time.Now().Add(-time.Minute), "gateway.test")
	shop := func(crt string) string {
		return strings.Replace(strings.Replace(tlsAPI(8443, ""), "$CRT", "$"+crt, 1), "$KEY", "$"+strings.Replace(crt, "CRT", "KEY", 1), 1)
	}
	ask := func(name string) string {
		return fmt.Sprintf("apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata:\n  name: certificate\nspec:\n  targetRef:\n    name: port8443\n  http: {}\n  tls:\n    serverName: %s\n  failureThreshold: 1\n", name)
	}
	g := start(t, "\n-- gateway.yaml --\n"+shop("GOOD_CRT")+"-- probe.yaml --\n"+ask("gateway.test"),
		withEnv("GOOD_CRT="+good.crt, "GOOD_KEY="+good.key, "OLD_CRT="+old.crt, "OLD_KEY="+old.key))
	served := g.report().Revision
	back := func(want string) {
		t.Helper()
		harness.Until(t, func() error {
			r := g.report()
			if c, _ := r.Condition(status.Programmed); c.Reason != "RolledBack" || !strings.Contains(c.Message, want) || r.Revision != served || !strings.HasSuffix(c.Place.File, "probe.yaml") {
				return fmt.Errorf("revision %s, programmed: %+v", r.Revision, c)
			}
			return nil
		})
	}
	g.write("gateway.yaml", shop("OLD_CRT"))
	back("was shown a certificate of \"[gateway.test]\" that expired on ")
	g.write("gateway.yaml", shop("GOOD_CRT"))
	g.write("probe.yaml", ask("other.test"))
	back(`was shown a certificate that is not for "other.test" but for "gateway.test"`)
}

// Without a probe, what users get is enough to go back.
func TestErrorRateRollsBack(t *testing.T) {
	t.Parallel()
	text, _, _ := strings.Cut(probed, "-- probe.yaml")
	g := start(t, text, withUpstream(9002, unavailable), withArgs("--error-window", "10s", "--max-error-rate", "10%", "--min-requests", "20"))
	good := g.report().Revision
	x := requests(t, g.url(8081, "/shop/x"))
	harness.Until(t, func() error {
		if x.good.Load() < 100 {
			return fmt.Errorf("%d answers", x.good.Load())
		}
		return nil
	})
	from := time.Now()
	g.write("api.yaml", shopTo("http://127.0.0.1:9002"))
	harness.Until(t, func() error {
		r := g.report()
		if c, _ := r.Condition(status.Programmed); c.Reason != "RolledBack" || r.Revision != good || c.Place == nil || !strings.Contains(c.Message, `requests of ApiInstance "shop" were answered with 5xx, expected at most 10%: 0% before`) {
			return fmt.Errorf("revision %s, programmed: %+v", r.Revision, c)
		}
		return nil
	})
	t.Logf("rolled back %s after the change", time.Since(from))
	from = time.Now()
	g.write("api.yaml", shopTo("http://127.0.0.1:9001")+"# mended\n")
	harness.Until(t, func() error {
		r := g.report()
		c, _ := r.Condition(status.Programmed)
		if c.Reason != "Live" {
			return fmt.Errorf("programmed: %+v", c)
		}
		return nil
	})
	if took := time.Since(from); took < 9*time.Second {
		t.Errorf("programmed after %s, want the whole window", took)
	}
	x.end()
	if other := x.other.Load(); other != nil {
		t.Errorf("neither good nor bad: %v", other)
	}
}

// A port that wants a client certificate is asked with one, and a probe that has none, or another's, fails.
func TestProbeWithClientCertificate(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t), newAuthority(t)
	server, client, stranger := ca.issue(t, "gateway.test"), ca.issue(t, "probe.test"), foreign.issue(t, "probe.test")
	ask := func(port int, http, who string) string {
		text := fmt.Sprintf("---\napiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata:\n  name: p%d%s\nspec:\n  targetRef:\n    name: port%d\n%s  tls:\n    serverName: gateway.test\n  failureThreshold: 1\n", port, strings.ToLower(who), port, http)
		if who == "" {
			return text
		}
		return strings.Replace(text, "  failureThreshold", fmt.Sprintf("    certificate:\n      crt: $%s_CRT\n      key: $%s_KEY\n  failureThreshold", who, who), 1)
	}
	const request = "  http:\n    path: /x\n"
	wants := "    requireClientCertificate: true\n    trustedCA: $CA\n"
	right := ask(8443, request, "CLIENT") + ask(8444, "", "CLIENT") + ask(8445, "", "CLIENT")
	g := start(t, "\n-- gateway.yaml --\n"+tlsAPI(8443, wants)+tlsAPI(8444, wants)+tlsAPI(8445, wants+"    maxversion: \"1.2\"\n")+"-- probe.yaml --\n"+right,
		withEnv("CRT="+server.crt, "KEY="+server.key, "CA="+ca.pem, "CLIENT_CRT="+client.crt, "CLIENT_KEY="+client.key, "STRANGER_CRT="+stranger.crt, "STRANGER_KEY="+stranger.key))
	served := g.report().Revision
	for _, c := range []struct{ probe, want string }{
		{ask(8443, request, ""), "certificate required"},
		{ask(8443, request, "STRANGER"), "unknown certificate authority"},
		{ask(8444, "", "STRANGER"), "unknown certificate authority"},
		{ask(8445, "", "STRANGER"), "unknown certificate authority"},
	} {
		g.write("probe.yaml", c.probe)
		harness.Until(t, func() error {
			r := g.report()
			if p, _ := r.Condition(status.Programmed); p.Reason != "RolledBack" || !strings.Contains(p.Message, c.want) || r.Revision != served || strings.Contains(p.Message, "PRIVATE") {
				return fmt.Errorf("want %q; revision %s, programmed: %+v", c.want, r.Revision, p)
			}
			return nil
		})
		g.write("probe.yaml", right)
		harness.Until(t, func() error {
			if p, _ := g.report().Condition(status.Programmed); p.Reason != "Live" {
				return fmt.Errorf("programmed: %+v", p)
			}
			return nil
		})
	}
}

// gRPC's health service is asked through the gateway, in plain text and over TLS with a client certificate; what it says decides.
func TestProbeOfGRPC(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server, client := ca.issue(t, "gateway.test"), ca.issue(t, "probe.test")
	h := health.NewServer()
	up := grpc.NewServer()
	healthv1.RegisterHealthServer(up, h)
	const orders = "shop.v1.Orders"
	h.SetServingStatus(orders, healthv1.HealthCheckResponse_SERVING)
	api := strings.Replace(shopTo("h2://127.0.0.1:9001"), "spec:", "  labels: {edit: E}\nspec:", 1)
	ask := func(name, api, service, tls string) string {
		return fmt.Sprintf("---\napiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata:\n  name: %s\nspec:\n  targetRef:\n    name: %s\n  grpc:\n    service: %s\n%s  failureThreshold: 1\n", name, api, service, tls)
	}
	const certificate = "  tls:\n    serverName: gateway.test\n    certificate:\n      crt: $CLIENT_CRT\n      key: $CLIENT_KEY\n"
	wants := strings.Replace(tlsAPI(8443, "    requireClientCertificate: true\n    trustedCA: $CA\n"), "http://127.0.0.1:9001", "h2://127.0.0.1:9001", 1)
	right := ask("clear", "shop", orders, "") + ask("whole", "shop", `""`, "") + ask("secured", "port8443", orders, certificate)
	g := start(t, "\n-- api.yaml --\n"+api+wants+"-- probe.yaml --\n"+right, func(g *gateway) { g.serve(9001, &echo{h2: true, handler: up}) },
		withEnv("CRT="+server.crt, "KEY="+server.key, "CA="+ca.pem, "CLIENT_CRT="+client.crt, "CLIENT_KEY="+client.key))
	served := g.report().Revision
	until := func(reason, want string) {
		t.Helper()
		harness.Until(t, func() error {
			r := g.report()
			if c, _ := r.Condition(status.Programmed); c.Reason != reason || !strings.Contains(c.Message, want) || (reason == "RolledBack") != (r.Revision == served) {
				return fmt.Errorf("want %s %q; revision %s, programmed: %+v", reason, want, r.Revision, c)
			}
			return nil
		})
	}
	for _, c := range []struct{ probes, want string }{
		{ask("clear", "shop", "shop.v1.Ordres", ""), `/shop/grpc.health.v1.Health/Check of service "shop.v1.Ordres" answered NOT_FOUND "unknown service", expected SERVING`},
		{ask("secured", "port8443", "shop.v1.Ordres", certificate), `/grpc.health.v1.Health/Check of service "shop.v1.Ordres" answered NOT_FOUND`},
		{ask("secured", "port8443", orders, ""), "certificate required"},
	} {
		g.write("probe.yaml", c.probes)
		until("RolledBack", c.want)
		g.write("probe.yaml", right)
		harness.Until(t, func() error {
			if c, _ := g.report().Condition(status.Programmed); c.Reason != "Live" {
				return fmt.Errorf("programmed: %+v", c)
			}
			return nil
		})
	}
	// An edit of something else is taken back while the service is not well, and taken when it is.
	h.SetServingStatus(orders, healthv1.HealthCheckResponse_NOT_SERVING)
	g.write("api.yaml", strings.Replace(api, "edit: E", "edit: F", 1)+wants)
	until("RolledBack", `answered NOT_SERVING, expected SERVING`)
	if c, _ := g.report().Condition(status.Programmed); c.Place == nil || !strings.HasSuffix(c.Place.File, "probe.yaml") || c.Place.Start.Line != 9 {
		t.Errorf("place %+v, want grpc of the probe", c.Place)
	}
	h.SetServingStatus(orders, healthv1.HealthCheckResponse_SERVING)
	if out, errs, code := harness.Command(t, "sync", "--state-dir", g.State); code != 0 {
		t.Fatalf("sync: %d %s %s", code, out, errs)
	}
	until("Live", "")
}
