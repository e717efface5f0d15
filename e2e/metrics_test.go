package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/notify"
)

const watched = `
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
      routes:
        - rules:
            - path: /items(/.*)
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: guarded
spec:
  address: http://0.0.0.0:8081/guarded
  services:
    main:
      address: http://127.0.0.1:9001
  policies:
    - policyRef:
        name: http-basic-authentication-flex
        namespace: default
      config:
        username: alice
        password: secret
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: limited
spec:
  address: http://0.0.0.0:8081/limited
  services:
    main:
      address: http://127.0.0.1:9001
  policies:
    - policyRef:
        name: rate-limiting-flex
        namespace: default
      config:
        rateLimits:
          - maximumRequests: 1
            timePeriodInMilliseconds: 600000
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: dead
spec:
  address: http://0.0.0.0:8082/dead
  services:
    main:
      address: http://127.0.0.1:9009
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: quiet
spec:
  address: http://0.0.0.0:8082/quiet
  services:
    main:
      address: http://127.0.0.1:9001
`

// exposed is what the daemon says to Prometheus, a value for each line.
func exposed(t testing.TB, c *http.Client, url string) map[string]string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", res.StatusCode, err)
	}
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && !strings.HasPrefix(line, "#") {
			m[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return m
}

// wants waits until lines have these values.
func wants(t testing.TB, read func() map[string]string, want map[string]string) {
	t.Helper()
	harness.Until(t, func() error {
		got := read()
		for name, v := range want {
			if got[name] != v {
				return fmt.Errorf("%s is %q, want %q", name, got[name], v)
			}
		}
		return nil
	})
}

// Envoy counts from zero when a listener is edited and when it is restarted; what Prometheus gets goes on.
func TestCountersGoOn(t *testing.T) {
	t.Parallel()
	listen := "127.0.0.1:" + strconv.Itoa(harness.FreePort(t))
	g := start(t, versioned, withArgs("--metrics-listen", listen))
	const counter = `flexgw_api_requests_total{namespace="default",api="shop",code_class="2xx"}`
	wantTotal := func(n int) {
		t.Helper()
		wants(t, func() map[string]string { return exposed(t, http.DefaultClient, "http://"+listen+"/metrics") }, map[string]string{counter: strconv.Itoa(n), "flexgw_envoy_stats_up": "1"})
	}
	total := 0
	ask := func(n int) {
		t.Helper()
		for range n {
			harness.Until(t, func() error {
				a, err := g.try("GET", 8081, "/shop/x", "")
				if err == nil && a.Status != 200 {
					err = fmt.Errorf("status %d", a.Status)
				}
				return err
			})
		}
		total += n
		wantTotal(total)
	}
	counted := func() (n uint64) {
		stats, err := envoy.NewAdmin(filepath.Join(g.State, "envoy-admin.sock")).Stats(t.Context(), `^flexgw\.requests\.api\.default/shop\.class\.2\.`)
		if err != nil {
			return 0
		}
		for _, x := range stats {
			n += x
		}
		return n
	}
	ask(5)
	var more strings.Builder
	for i := range 12 { // below one prefix: the keys of scopes take another segment, and the listener with them
		more.WriteString("---\n" + strings.NewReplacer("name: shop", fmt.Sprint("name: more-", i), ":8081/shop", fmt.Sprint(":8081/more/", i)).Replace(version("1")))
	}
	g.write("more.yaml", more.String())
	harness.Until(t, func() error {
		if n := counted(); n != 0 {
			return fmt.Errorf("Envoy itself still counts %d", n)
		}
		return nil
	})
	wantTotal(5)
	ask(2)
	if err := syscall.Kill(g.EnvoyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ask(8)
	if n := counted(); n != 8 {
		t.Errorf("the new Envoy counts %d", n)
	}
}

// hook takes events, as their receiver would.
type hook struct {
	mu     sync.Mutex
	events []notify.Body
	bad    []string
}

func (h *hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var b notify.Body
	err := json.Unmarshal(raw, &b)
	h.mu.Lock()
	defer h.mu.Unlock()
	seconds, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get(notify.SignatureHeader), "t="), ",")
	at, _ := strconv.ParseInt(seconds, 10, 64)
	if err != nil || notify.Sign([]byte("k3y"), time.Unix(at, 0), raw) != r.Header.Get(notify.SignatureHeader) {
		h.bad = append(h.bad, r.Header.Get(notify.SignatureHeader))
	}
	h.events = append(h.events, b)
}

func (h *hook) types() (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		list = append(list, e.Type)
	}
	return list
}

// What Prometheus and a webhook are told of requests of every kind, of a mistake, and of the end.
func TestMetricsAndWebhook(t *testing.T) {
	t.Parallel()
	h := &hook{}
	receiver := httptest.NewServer(h)
	t.Cleanup(receiver.Close)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("k3y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := "127.0.0.1:" + strconv.Itoa(harness.FreePort(t))
	g := prepare(t, watched, withArgs("--log-format", "json", "--metrics-listen", listen, "--webhook", receiver.URL+"/T0KEN", "--webhook-secret-file", key), func(g *gateway) { g.ports[9009] = harness.FreePort(t) })
	g.Run()
	g.WaitReady()
	tcp := func() map[string]string { return exposed(t, http.DefaultClient, "http://"+listen+"/metrics") }
	const shop, dead = `{namespace="default",api="shop"`, `{namespace="default",api="dead"`
	wants(t, tcp, map[string]string{
		"flexgw_api_requests_total" + shop + `,code_class="2xx"}`: "0", "flexgw_api_upstream_failures_total" + dead + "}": "0",
		"flexgw_envoy_stats_up": "1", "flexgw_envoys_connected": "1", `flexgw_revisions_total{outcome="programmed"}`: "1", `flexgw_condition{status="True",type="Programmed"}`: "1",
		"flexgw_revision_programmed_duration_seconds_count": "1", "flexgw_rejected_resources": "0",
	})
	for _, c := range []struct {
		port   int
		path   string
		status int
	}{
		{8081, "/shop/items/1", 200}, {8081, "/shop/items/2", 200}, {8081, "/shop/nowhere", 404},
		{8081, "/guarded", 401}, {8081, "/limited", 200}, {8081, "/limited", 429},
		{8082, "/dead", 503}, {8082, "/nobody", 404},
	} {
		if a := g.get(c.port, c.path); a.Status != c.status {
			t.Errorf("%s: %d, want %d", c.path, a.Status, c.status)
		}
	}
	want := map[string]string{
		"flexgw_api_requests_total" + shop + `,code_class="2xx"}`:                       "2",
		"flexgw_api_requests_total" + shop + `,code_class="4xx"}`:                       "1",
		"flexgw_api_latency_seconds_count" + shop + "}":                                 "3",
		`flexgw_api_requests_total{namespace="default",api="guarded",code_class="4xx"}`: "1",
		`flexgw_api_requests_total{namespace="default",api="limited",code_class="2xx"}`: "1",
		`flexgw_api_requests_total{namespace="default",api="limited",code_class="4xx"}`: "1",
		`flexgw_api_upstream_failures_total{namespace="default",api="guarded"}`:         "0",
		"flexgw_api_requests_total" + dead + `,code_class="5xx"}`:                       "1",
		"flexgw_api_upstream_failures_total" + dead + "}":                               "1",
		`flexgw_api_requests_total{namespace="default",api="quiet",code_class="2xx"}`:   "0",
		`flexgw_unmatched_requests_total{code_class="4xx"}`:                             "1",
		`flexgw_api_latency_seconds_bucket{namespace="default",api="quiet",le="+Inf"}`:  "0",
	}
	wants(t, tcp, want)

	// The API of a listener's other scopes, a changed listener, and a mistake: counters stay.
	g.write("more.yaml", strings.ReplaceAll(version("1"), "name: shop", "name: more"))
	g.write("more.yaml", strings.NewReplacer("name: shop", "name: more", "/shop", "/more/deep/path").Replace(version("1")))
	wants(t, tcp, map[string]string{`flexgw_api_requests_total{namespace="default",api="more",code_class="2xx"}`: "0"})
	g.write("more.yaml", "kind: [")
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(g.State, "flexgw.sock"))
	}}}
	want[`flexgw_condition{status="False",type="Accepted"}`] = "1"
	wants(t, func() map[string]string { return exposed(t, socket, "http://flexgw/metrics") }, want)
	if tcp()[`flexgw_revisions_total{outcome="invalid"}`] == "0" {
		t.Error("a mistake is not counted")
	}

	harness.Until(t, func() error {
		if got := h.types(); !slices.Contains(got, "Programmed") || !slices.Contains(got, "Invalid") || !slices.Contains(got, "EnvoyConnected") {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
	if len(h.bad) > 0 {
		t.Errorf("signatures that are wrong: %v", h.bad)
	}
	for _, e := range h.events {
		if e.Type == "Invalid" && (e.Errors == 0 || len(e.Diagnostics) == 0 || e.Diagnostics[0].Subject.File == "") {
			t.Errorf("%+v", e)
		}
	}
	if code := g.Stop(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	logged(t, g.Log())
	for _, s := range []string{"T0KEN", "k3y"} {
		if strings.Contains(g.Log(), s) {
			t.Errorf("%q is in the log", s)
		}
	}
}

// logged holds a JSON log to being one, the mistake included.
func logged(t *testing.T, log string) {
	t.Helper()
	mistakes := 0
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "ready ") || strings.HasPrefix(line, "try: ") || strings.HasPrefix(line, "flexgw: ") {
			continue
		}
		var x struct{ Level, Msg, Code, Revision, Place string }
		if err := json.Unmarshal([]byte(line), &x); err != nil || x.Msg == "" {
			t.Errorf("no line of a JSON log: %s", line)
		}
		if strings.HasPrefix(x.Code, "yaml/") {
			mistakes++
			if x.Level != "ERROR" || x.Revision == "" || !strings.Contains(x.Place, "more.yaml:1:") {
				t.Errorf("%s", line)
			}
		}
	}
	if mistakes == 0 {
		t.Errorf("the mistake is not in the log:\n%s", log)
	}
}

// upstream is a server that can be killed and come back on its port.
type upstream struct {
	t    *testing.T
	addr string
	s    *http.Server
}

func (u *upstream) start() {
	u.t.Helper()
	l, err := net.Listen("tcp", u.addr)
	if err != nil {
		u.t.Fatal(err)
	}
	u.addr = l.Addr().String()
	u.s = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "here") })}
	go u.s.Serve(l)
}

// alerts is what Alertmanager posted.
type alerts struct {
	mu  sync.Mutex
	got []string // "firing FlexgwApiDown shop/api-07"
}

func (a *alerts) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		body.Alerts = nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range body.Alerts {
		a.got = append(a.got, x.Status+" "+x.Labels["alertname"]+" "+x.Labels["namespace"]+"/"+x.Labels["api"])
	}
}

func (a *alerts) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

// daemonOf runs a program until the test ends.
func daemonOf(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s (Debian's package of that name): %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, out)
		}
	})
}

func ready(t *testing.T, url string) {
	t.Helper()
	harness.Until(t, func() error {
		res, err := http.Get(url)
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// faster divides every duration of the rules that we ship by n.
func faster(t *testing.T, n int) string {
	t.Helper()
	b, err := os.ReadFile("../docs/prometheus/flexgw.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	minutes := regexp.MustCompile(`(for: |\[)(\d+)m`)
	return minutes.ReplaceAllStringFunc(string(b), func(s string) string {
		m := minutes.FindStringSubmatch(s)
		d, _ := strconv.Atoi(m[2])
		return m[1] + strconv.Itoa(d*60/n) + "s"
	})
}

// One of 20 upstreams dies and comes back: one alert, that names the API, and one resolution, through Debian's Prometheus and
// Alertmanager and the rules that we ship, fifteen times as fast.
func TestOneAlertNamesTheAPI(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	const n, victim = 20, 7
	var text strings.Builder
	upstreams := make([]*upstream, n)
	for i := range n {
		upstreams[i] = &upstream{t: t, addr: "127.0.0.1:0"}
		upstreams[i].start()
		fmt.Fprintf(&text, "-- %02d.yaml --\n%s", i, strings.NewReplacer("name: shop", fmt.Sprintf("name: api-%02d\n  namespace: shop", i), "/shop", fmt.Sprintf("/api-%02d", i),
			":9001", fmt.Sprintf(":%d", 9100+i)).Replace(version("1")))
	}
	t.Cleanup(func() {
		for _, u := range upstreams {
			u.s.Close()
		}
	})
	metrics := "127.0.0.1:" + strconv.Itoa(harness.FreePort(t))
	g := prepare(t, text.String(), withArgs("--metrics-listen", metrics), func(g *gateway) {
		for i, u := range upstreams {
			_, port, _ := net.SplitHostPort(u.addr)
			g.ports[9100+i], _ = strconv.Atoi(port)
		}
	})
	g.Run()
	g.WaitReady()

	got := &alerts{}
	receiver := httptest.NewServer(got)
	t.Cleanup(receiver.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	manager, prometheus := "127.0.0.1:"+strconv.Itoa(harness.FreePort(t)), "127.0.0.1:"+strconv.Itoa(harness.FreePort(t))
	daemonOf(t, "prometheus-alertmanager", "--storage.path", filepath.Join(dir, "am"), "--web.listen-address", manager, "--cluster.listen-address", "",
		"--config.file", write("am.yaml", `
route: {receiver: test, group_by: [alertname, namespace, api], group_wait: 0s, group_interval: 1s}
receivers: [{name: test, webhook_configs: [{url: "`+receiver.URL+`", send_resolved: true}]}]
`))
	write("rules.yaml", faster(t, 15))
	daemonOf(t, "prometheus", "--storage.tsdb.path", filepath.Join(dir, "tsdb"), "--web.listen-address", prometheus,
		"--config.file", write("prometheus.yaml", `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
alerting: {alertmanagers: [{static_configs: [{targets: ["`+manager+`"]}]}]}
scrape_configs: [{job_name: flexgw, static_configs: [{targets: ["`+metrics+`"]}]}]
`))
	ready(t, "http://"+manager+"/-/ready")
	ready(t, "http://"+prometheus+"/-/ready")

	var clients sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer clients.Wait()
	defer stop()
	for i := range n {
		url := g.url(8081, fmt.Sprintf("/api-%02d/x", i))
		clients.Go(func() {
			for ctx.Err() == nil {
				if res, err := http.Get(url); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				time.Sleep(200 * time.Millisecond)
			}
		})
	}
	name := fmt.Sprintf("shop/api-%02d", victim)
	time.Sleep(10 * time.Second) // nothing to say of what is well
	if l := got.list(); len(l) > 0 {
		t.Fatalf("alerts of a gateway that is well: %v", l)
	}
	upstreams[victim].s.Close()
	want := []string{"firing FlexgwApiDown " + name}
	wait := func() {
		t.Helper()
		harness.Until(t, func() error {
			if l := got.list(); len(l) < len(want) {
				return fmt.Errorf("got %v", l)
			}
			return nil
		})
	}
	wait()
	time.Sleep(5 * time.Second) // no second one
	if l := got.list(); !slices.Equal(l, want) {
		t.Fatalf("got %v, want %v", l, want)
	}
	upstreams[victim].start()
	want = append(want, "resolved FlexgwApiDown "+name)
	wait()
	time.Sleep(5 * time.Second)
	if l := got.list(); !slices.Equal(l, want) {
		t.Errorf("got %v, want %v", l, want)
	}
}
