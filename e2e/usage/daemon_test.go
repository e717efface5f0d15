package usage

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
)

// gateway is a declaration of n APIs on a port.
func gateway(n, port, upstream int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: api-%[1]d
spec:
  address: http://127.0.0.1:%[2]d/api-%[1]d
  services:
    up:
      address: http://127.0.0.1:%[3]d
      routes: [{}]
`, i, port, upstream)
	}
	return b.String()
}

// newDaemon is a registered daemon that serves n APIs on a port; it was not run yet.
func newDaemon(t testing.TB, p *platform, n int) (d *harness.Daemon, port int) {
	t.Helper()
	harness.Binary(t) // else left out
	d = harness.NewDaemon(t)
	d.Args = []string{"--drain-time", "1s"}
	port = harness.FreePort(t)
	d.Put("apis.yaml", gateway(n, port, harness.Answering(t)))
	f := p.register(t.TempDir(), "edge")
	d.Args = append(d.Args, "--registration", f.Path)
	return d, port
}

func socketOf(d *harness.Daemon) api.Client {
	return api.Client{Socket: filepath.Join(d.State, "flexgw.sock")}
}

// settle flushes until the daemon says that all is reported.
func settle(t testing.TB, d *harness.Daemon) api.Usage {
	t.Helper()
	var u api.Usage
	harness.Until(t, func() (err error) {
		u, err = socketOf(d).FlushUsage(t.Context(), api.UsageFlushRequest{})
		return err
	})
	return u
}

// TestDaemonCrashes kills the whole daemon beside a real Envoy under load, while the platform drops, delays and doubles what it is
// sent. In the end the platform has each request once.
func TestDaemonCrashes(t *testing.T) {
	t.Parallel()
	const apis = 4
	kills := 25
	if long() {
		kills = 1000
	}
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, apis)
	d.Run()
	d.WaitReady()

	var sent [apis + 1]atomic.Uint64
	load := harness.Each(t, 3, func(_ int, c *http.Client) error {
		i := rand.IntN(apis + 1) // the last has no API
		res, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/api-%d/x", port, i))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return err
		}
		sent[i].Add(1)
		time.Sleep(time.Millisecond)
		return nil
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	began := time.Now()
	for n := range kills {
		if n%3 == 0 {
			p.faults(someFaults(r)...)
		}
		ctx, cancel := context.WithCancel(context.Background())
		flushing := make(chan struct{})
		go func() { // so that kills meet it
			defer close(flushing)
			for ctx.Err() == nil {
				_, _ = socketOf(d).FlushUsage(ctx, api.UsageFlushRequest{Wait: 5})
				time.Sleep(5 * time.Millisecond)
			}
		}()
		time.Sleep(time.Duration(r.IntN(900)) * time.Millisecond)
		d.Kill()
		cancel()
		<-flushing
		d.Run()
		if r.IntN(3) > 0 { // else it is killed again while it starts
			d.WaitReady()
		}
	}
	took := time.Since(began)
	d.WaitReady()
	load.End(t, -1)
	p.faults()
	u := settle(t, d)
	s := p.state()
	var all, got uint64
	for i := range apis {
		name := fmt.Sprintf("default/api-%d", i)
		all, got = all+sent[i].Load(), got+s.Usage[name]
		if s.Usage[name] != sent[i].Load() {
			t.Errorf("%s: %d requests, and the platform has %d", name, sent[i].Load(), s.Usage[name])
		}
	}
	if u.Requests.Counted != all || u.Requests.Reported != all || u.Requests.Waiting != 0 || u.Requests.NoAPI != sent[apis].Load() || len(s.Unexpected) > 0 {
		t.Errorf("%+v of %d and %d without an API, unexpected %v", u.Requests, all, sent[apis].Load(), s.Unexpected)
	}
	t.Logf("%d kills in %.0f s: %d requests sent, %d reported; calls of the platform by status: %v", kills, took.Seconds(), all, got, p.calls(anypoint.PathMetering))
}

// requests makes n of them to an API.
func requests(t testing.TB, port, api, n int) {
	t.Helper()
	for range n {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/api-%d/x", port, api))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// condition is UsageReported in the daemon's status.
func condition(t testing.TB, d *harness.Daemon) status.Condition {
	t.Helper()
	r, err := socketOf(d).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, _ := r.Condition(status.UsageReported)
	return c
}

// TestDaemonReports is what an operator sees: counts, what the platform has of them, and why it does not.
func TestDaemonReports(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, 2)
	registration := d.Args
	d.Args = registration[:2] // not registered yet
	d.Run()
	d.WaitReady()
	socket := filepath.Join(d.State, "flexgw.sock")
	requests(t, port, 0, 3)
	if _, said, code := harness.Command(t, "usage", "flush", "--socket", socket); code != 3 || !strings.Contains(said, "there is no registration") {
		t.Errorf("unregistered: %d %s", code, said)
	}
	if c := condition(t, d); c.Status != status.Unknown || c.Reason != "Unregistered" {
		t.Errorf("%+v", c)
	}
	if code := d.Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}

	d.Args = registration
	d.Run()
	d.WaitReady()
	requests(t, port, 1, 20)
	requests(t, port, 7, 2) // no API
	out, said, code := harness.Command(t, "usage", "flush", "--socket", socket)
	if code != 0 || out != "reported: the platform has 20 requests of edge, up to batch 1\n" {
		t.Errorf("%d %s%s", code, out, said)
	}
	u, err := socketOf(d).Usage(t.Context())
	if err != nil || u.Requests.Counted != 20 || u.Requests.Reported != 20 || u.Requests.Unregistered != 3 || u.Requests.NoAPI != 2 {
		t.Errorf("%v %+v", err, u.Requests)
	}
	if got := p.state().Usage; got["default/api-1"] != 20 || len(got) != 1 {
		t.Errorf("the platform has %v", got)
	}
	if c := condition(t, d); c.Status != status.True || c.Reason != "Reported" {
		t.Errorf("%+v", c)
	}

	// The platform goes away; an operator sees it, nothing is lost, and it comes back.
	p.stop()
	requests(t, port, 0, 5)
	if _, said, code := harness.Command(t, "usage", "flush", "--socket", socket); code != 3 || !strings.Contains(said, "not reported: ") || !strings.Contains(said, "5 requests wait") {
		t.Errorf("%d %s", code, said)
	}
	if c := condition(t, d); c.Status != status.False || c.Reason != "Waiting" || !strings.Contains(c.Message, "since ") {
		t.Errorf("%+v", c)
	}
	d.WaitLog(`usage is not reported.*reason=Waiting`)
	p.start()
	d.WaitLog(`usage is reported again`) // by itself
	if got := p.state().Usage["default/api-0"]; got != 5 {
		t.Errorf("the platform has %d", got)
	}

	// What nobody flushed is reported when the daemon ends.
	requests(t, port, 0, 4)
	if code := d.Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if got := p.state().Usage["default/api-0"]; got != 9 {
		t.Errorf("the platform has %d after the end", got)
	}
	out, said, code = harness.Command(t, "usage", "show", "--state-dir", d.State)
	if code != 0 || !strings.Contains(out, "29 counted, 29 reported, 0 waiting, 3 without a registration, 2 on paths of no API") {
		t.Errorf("%d %s%s", code, out, said)
	}
	if u := p.state().Unexpected; len(u) > 0 {
		t.Errorf("unexpected: %v", u)
	}
}

// TestABrokenRegistrationAtStart: what a daemon counts that cannot read its registration is reported when it can.
func TestABrokenRegistrationAtStart(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, 1)
	path := d.Args[len(d.Args)-1]
	d.Run()
	d.WaitReady()
	requests(t, port, 0, 5)
	if code := d.Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	d.Run()
	d.WaitReady()
	requests(t, port, 0, 3)
	if err := flushOnce(t, d); err == nil || !strings.Contains(err.Error(), "the registration can not be used") || !strings.Contains(err.Error(), "3 requests wait") {
		t.Errorf("got %v", err)
	}
	if c := condition(t, d); c.Status != status.False || c.Reason != "Misconfigured" {
		t.Errorf("%+v", c)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	d.WaitLog(`registered with Anypoint`)
	if u := settle(t, d); u.Requests.Reported != 8 || u.Requests.Unregistered != 0 {
		t.Errorf("%+v", u.Requests)
	}
	if got := p.state().Usage["default/api-0"]; got != 8 {
		t.Errorf("the platform has %d", got)
	}
}

// TestDaemonWithoutANetwork counts, calls nobody, and hands its usage over by hand.
func TestDaemonWithoutANetwork(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, 1)
	registration := d.Args[len(d.Args)-1]
	d.Args = append(d.Args, "--air-gapped")
	d.Run()
	d.WaitReady()
	socket, bundle := filepath.Join(d.State, "flexgw.sock"), filepath.Join(t.TempDir(), "b.tar.gz")
	for _, n := range []int{12, 3} {
		requests(t, port, 0, n)
		if _, said, code := harness.Command(t, "usage", "flush", "--socket", socket); code != 3 || !strings.Contains(said, "--air-gapped") {
			t.Errorf("%d %s", code, said)
		}
		for _, args := range [][]string{{"export", "--socket", socket, "--output-file", bundle}, {"import", bundle, "--registration", registration}, {"export", "--socket", socket, "--ack", bundle + ".ack.json"}} {
			if out, said, code := harness.Command(t, append([]string{"usage"}, args...)...); code != 0 {
				t.Errorf("%q: %d %s%s", args, code, out, said)
			}
		}
	}
	u, err := socketOf(d).Usage(t.Context())
	if err != nil || u.Requests.Reported != 15 || u.Requests.Waiting != 0 || u.Condition.Reason != "AirGapped" {
		t.Errorf("%v %+v", err, u)
	}
	if got := p.state().Usage["default/api-0"]; got != 15 {
		t.Errorf("the platform has %d", got)
	}
	if strings.Contains(d.Log(), "usage ->") {
		t.Errorf("it may call somebody:\n%s", d.Log())
	}
}

// TestDaemonThroughAProxy has a whole daemon report through the proxy that its declarations name, to a host whose name nobody on
// this host can look up.
func TestDaemonThroughAProxy(t *testing.T) {
	t.Parallel()
	const name = "metering.invalid"
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, 1)
	p.called(name)
	_, ingest, err := net.SplitHostPort(hostOf(p.sim.IngestURL()))
	if err != nil {
		t.Fatal(err)
	}
	path := d.Args[len(d.Args)-1]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.ReplaceAll(string(text), p.sim.IngestURL(), "https://"+name+":"+ingest)
	if moved == string(text) {
		t.Fatalf("%s is not in the registration", p.sim.IngestURL())
	}
	if err := os.WriteFile(path, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	x := newProxy(t, "report", "open sesame", map[string]string{name + ":" + ingest: "127.0.0.1:" + ingest})
	through := func(password string) string {
		return "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata: {name: proxy}\nspec:\n  forwardProxy:\n    https: {address: http://" + x.address + ", basicAuth: {username: report, password: " + password + "}}\n"
	}
	d.Put("proxy.yaml", through("close sesame"))
	d.Run()
	d.WaitReady()
	requests(t, port, 0, 6)
	if err := flushOnce(t, d); err == nil || !strings.Contains(err.Error(), "407") || condition(t, d).Reason != "Misconfigured" {
		t.Errorf("%v, %+v", err, condition(t, d))
	}
	asked := len(x.seen())
	time.Sleep(2 * time.Second)
	if n := len(x.seen()); n > asked {
		t.Errorf("a proxy that wants other credentials was asked %d times more", n-asked)
	}
	d.Put("proxy.yaml", through("open sesame"))
	settle(t, d)
	if got := p.state().Usage["default/api-0"]; got != 6 {
		t.Errorf("the platform has %d", got)
	}
	for _, line := range x.seen() {
		if line != "CONNECT "+name+":"+ingest {
			t.Errorf("the proxy was asked %q", line)
		}
	}
	if strings.Contains(d.Log(), "sesame") {
		t.Error("the password is in the log")
	}
}

func flushOnce(t testing.TB, d *harness.Daemon) error {
	t.Helper()
	_, err := socketOf(d).FlushUsage(t.Context(), api.UsageFlushRequest{})
	return err
}
