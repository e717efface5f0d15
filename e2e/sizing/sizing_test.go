// Package sizing holds flexgw and its Envoy to the figures that the product prints for a gateway of its own.
//
// It measures time of processors and memory, which hardly depend on what else the machine does, and reports latency without judging it.
package sizing

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// What the product's prerequisites say of 200 APIs with two policies each at 150 requests a second (S-PRE, version 1.6): 0.2 CPU and
// 1.5 GB.
const (
	apis       = 200
	rate       = 150
	productCPU = 0.2              // of a core
	productMB  = 1536 * 1.048_576 // MB of 10^6, of 1.5 GB as the page prints them
	password   = "open-sesame"
)

// The second policy of each API.
const (
	ofEnvoy  = `{policyRef: {name: header-injection-flex}, config: {inboundHeaders: [{key: x-shop, value: north}]}}`
	ofDaemon = `{policyRef: {name: rate-limiting-flex}, config: {rateLimits: [{maximumRequests: 1000000, timePeriodInMilliseconds: 60000}]}}`
)

// long is whether the measure takes the ten minutes of `task sizing`.
func long() bool { return os.Getenv("SIZING") == "long" }

// 200 APIs, each with two policies, answer 150 requests a second: every answer is right, and the processes of the gateway take less
// than half of what the product asks for where Envoy decides the policies, and no more than it where one asks the daemon at each request.
// Memory is judged always, time of processors in the long form, which has the machine for itself.
func TestTwoHundredAPIs(t *testing.T) {
	for _, c := range []struct {
		name, second string
		cores        float64
	}{
		{"Envoy", ofEnvoy, productCPU / 2},
		{"daemon", ofDaemon, productCPU},
	} {
		t.Run(c.name, func(t *testing.T) { measure(t, c.second, c.cores) })
	}
}

// measure runs the gateway with http-basic-authentication and a second policy, and holds it to so much of a core.
func measure(t *testing.T, second string, bound float64) {
	d := harness.NewDaemon(t)
	port := declare(t, d, second)
	d.Run()
	d.WaitReady()

	last := 15 * time.Second
	if long() {
		last = 10 * time.Minute
	}
	envoy := d.EnvoyPID()
	before := map[int]time.Duration{d.Process.Pid: harness.CPU(t, d.Process.Pid), envoy: harness.CPU(t, envoy)}
	begun := time.Now()
	took := steady(t, port, last)
	elapsed := time.Since(begun)

	var cores, megabytes float64
	for _, p := range []struct {
		name string
		pid  int
	}{{"daemon", d.Process.Pid}, {"envoy", envoy}} {
		cpu := (harness.CPU(t, p.pid) - before[p.pid]).Seconds() / elapsed.Seconds()
		peak := harness.Memory(t, p.pid, "VmHWM")
		cores, megabytes = cores+cpu, megabytes+peak
		t.Logf("%-7s %.4f of a core, %.0f MB at most, %.0f MB now", p.name, cpu, peak, harness.Memory(t, p.pid, "VmRSS"))
	}
	t.Logf("%-7s %.4f of a core (the product asks for %.1f), %.0f MB (%.0f)", "both", cores, productCPU, megabytes, productMB)
	slices.Sort(took)
	at := func(p float64) time.Duration { return took[int(p*float64(len(took)-1))].Round(10 * time.Microsecond) }
	t.Logf("%d requests in %s, every answer right: p50 %s, p99 %s, slowest %s", len(took), elapsed.Round(time.Second), at(0.5), at(0.99), at(1))
	if long() && cores > bound { // a short measure beside other tests proves nothing
		t.Errorf("%.3f of a core, want less than %.1f", cores, bound)
	}
	if megabytes > productMB/2 {
		t.Errorf("%.0f MB, want less than %.0f", megabytes, productMB/2)
	}
}

// declare gives the daemon 200 APIs with http-basic-authentication and a second policy, all on the port that it returns.
func declare(t testing.TB, d *harness.Daemon, second string) (port int) {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(kilobyte)
	}))
	t.Cleanup(upstream.Close)
	port = harness.FreePort(t)
	var all strings.Builder
	for i := range apis {
		fmt.Fprintf(&all, `---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: api-%03d
spec:
  address: http://127.0.0.1:%d/v1/api-%03[1]d
  services:
    main:
      address: %[3]s
  policies:
    - {policyRef: {name: http-basic-authentication-flex}, config: {username: alice, password: %[4]s}}
    - %[5]s
`, i, port, upstream.URL, password, second)
	}
	d.Put("gateway.yaml", all.String())
	return port
}

// kilobyte is the body that the product's figures assume.
var kilobyte = []byte(strings.Repeat("0123456789abcdef", 64))

// steady asks at an even rate, whatever the answers take, and judges each of them; it returns how long they took. Each tenth
// request has a wrong password.
func steady(t testing.TB, port int, last time.Duration) []time.Duration {
	t.Helper()
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		took  []time.Duration
		wrong []string
	)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	begun := time.Now()
	for n := 0; ; n++ {
		due := begun.Add(time.Duration(n) * time.Second / rate)
		if due.Sub(begun) >= last {
			break
		}
		time.Sleep(time.Until(due))
		wait.Go(func() {
			sent := time.Now()
			problem := ask(client, port, n)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(sent))
			if problem != nil {
				wrong = append(wrong, problem.Error())
			}
		})
	}
	wait.Wait()
	if len(wrong) > 0 {
		t.Fatalf("%d of %d answers are wrong, the first: %s", len(wrong), len(took), wrong[0])
	}
	return took
}

// ask sends request n, to one API after the other.
func ask(client *http.Client, port, n int) error {
	req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/v1/api-%03d/orders/%d", port, n%apis, n), strings.NewReader(string(kilobyte)))
	if err != nil {
		return err
	}
	want, with := http.StatusOK, password
	if n%10 == 9 {
		want, with = http.StatusUnauthorized, "wrong"
	}
	req.SetBasicAuth("alice", with)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != want:
		return fmt.Errorf("request %d: status %d, want %d: %s", n, res.StatusCode, want, body)
	case want == http.StatusOK && string(body) != string(kilobyte):
		return fmt.Errorf("request %d: %d bytes of the upstream's %d", n, len(body), len(kilobyte))
	}
	return nil
}

// drain reads a body to its end, so that the connection can be used again.
func drain(res *http.Response) error {
	_, err := io.Copy(io.Discard, res.Body)
	return err
}
