package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/usage"
)

// counted stops the daemon with its Envoy, and is what its ledger has then, by API.
func (g *gateway) counted() map[string]uint64 {
	g.t.Helper()
	if code := g.Stop(); code != 0 {
		g.t.Errorf("flexgw ended with %d", code)
	}
	l, err := usage.Open(filepath.Join(g.State, "usage"), usage.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer l.Close()
	m := map[string]uint64{}
	for _, x := range l.Totals() {
		m[x.API] += x.Counted
	}
	return m
}

func (g *gateway) wantCounted(want map[string]uint64) {
	g.t.Helper()
	if got := g.counted(); !maps.Equal(got, want) {
		g.t.Errorf("counted %v, want %v", got, want)
	}
}

// Every request that a client sends is one call, whatever becomes of it.
func TestEveryKindOfRequestIsCounted(t *testing.T) {
	t.Parallel()
	hang, hangs := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(hang) })
	text := "\n-- gateway.yaml --\n" +
		policyAPI("limited", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 1\n    timePeriodInMilliseconds: 3600000\n") +
		policyAPI("closed", "http-basic-authentication-flex", "username: alice\npassword: secret\n") +
		ipAPI("open", "    []\n") +
		strings.ReplaceAll(ipAPI("dead", "    []\n"), ":9001", ":9009")
	g := start(t, text, withUpstream(9001, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/hang"):
			close(hangs)
			select {
			case <-r.Context().Done():
			case <-hang:
			}
		case r.Header.Get("Upgrade") != "":
			socket(w, r)
		default:
			_, _ = io.Copy(w, r.Body)
		}
	})), func(g *gateway) { g.ports[9009] = harness.FreePort(t) })
	want := map[string]uint64{}
	ask := func(api, path string, status int, headers ...string) {
		t.Helper()
		if a := g.get(8081, path, headers...); a.Status != status {
			t.Errorf("%s: %d, want %d", path, a.Status, status)
		}
		want[api]++
	}
	ask("default/open", "/open/a", 200)
	ask("default/open", "/open/b", 200, "x-request-id: chosen by the client", "user-agent: flexgw-probe")
	ask("default/limited", "/limited", 200)
	ask("default/limited", "/limited", 429)
	ask("default/closed", "/closed", 401)
	ask("default/dead", "/dead", 503)
	ask("", "/nothing", 404)
	if a := g.send("POST", 8081, "/open/c"); a.Status != 200 {
		t.Errorf("got %d", a.Status)
	}
	want["default/open"]++

	// A client that goes before there is an answer.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-hangs; cancel() }()
	r, _ := http.NewRequestWithContext(ctx, "GET", g.url(8081, "/open/hang"), nil)
	if res, err := http.DefaultTransport.RoundTrip(r); err == nil {
		t.Errorf("got %d", res.StatusCode)
	}
	want["default/open"]++

	// A websocket is one call.
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[8081]))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET /open/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 101 {
		t.Errorf("websocket: %v %v", res, err)
	}
	_ = c.Close()
	want["default/open"]++

	// Streams of one HTTP/2 connection are calls each, gRPC or not.
	h2 := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{}}
	h2.Protocols.SetUnencryptedHTTP2(true)
	defer h2.CloseIdleConnections()
	for _, kind := range []string{"text/plain", "application/grpc", "application/grpc"} {
		r, _ := http.NewRequest("POST", g.url(8081, "/open/h2"), strings.NewReader("x"))
		r.Header.Set("content-type", kind)
		res, err := h2.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		want["default/open"]++
	}
	// What is no request of any API: a line that is not HTTP, headers that are too large.
	g.converse(8081, "BROKEN\r\n\r\n")
	g.converse(8081, "GET /open HTTP/1.1\r\nHost: x\r\nx: "+strings.Repeat("x", 70<<10)+"\r\n\r\n")
	want[""] += 2
	g.wantCounted(want)
}

// load asks an API, and counts answers by API: an API's requests without one are doubtful.
type load struct {
	answered, doubtful atomic.Int64
	stop               context.CancelFunc
	wait               sync.WaitGroup

	mu sync.Mutex
	at []time.Time // of each answer
}

// between is how many answers came after a time, up to another one.
func (l *load) between(after, until time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.at {
		if at.After(after) && !at.After(until) {
			n++
		}
	}
	return n
}

func asked(g *gateway, clients int, path string, pause time.Duration) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	url := g.url(8081, path)
	for range clients {
		tr := &http.Transport{MaxConnsPerHost: 1}
		l.wait.Go(func() {
			defer tr.CloseIdleConnections()
			for ctx.Err() == nil {
				r, _ := http.NewRequest("GET", url, nil)
				res, err := tr.RoundTrip(r)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				if err != nil {
					l.doubtful.Add(1)
					time.Sleep(20 * time.Millisecond)
					continue
				}
				l.mu.Lock()
				l.at = append(l.at, time.Now())
				l.mu.Unlock()
				l.answered.Add(1)
				time.Sleep(pause)
			}
		})
	}
	g.t.Cleanup(l.end)
	return l
}

func (l *load) end() {
	l.stop()
	l.wait.Wait()
}

const countedAPI = "\n-- gateway.yaml --\n"

// TestCountingOverKills: a daemon that is killed again and again while requests come counts each of them once.
func TestCountingOverKills(t *testing.T) {
	t.Parallel()
	g := start(t, countedAPI+ipAPI("open", "    []\n"), withUpstream(9001, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	l := asked(g, 8, "/open", 2*time.Millisecond)
	for i := range 12 {
		time.Sleep(time.Duration(100+i*53) * time.Millisecond)
		g.Kill()
		time.Sleep(time.Duration(i%4) * 50 * time.Millisecond)
		g.Run()
		if i%3 == 0 {
			g.WaitReady()
		}
	}
	g.WaitReady()
	l.end()
	if n := l.doubtful.Load(); n > 0 {
		t.Errorf("%d requests had no answer", n)
	}
	t.Logf("%d requests, 12 kills", l.answered.Load())
	g.wantCounted(map[string]uint64{"default/open": uint64(l.answered.Load())})
}

// TestKilledEnvoyLosesOneFlush: what an Envoy that is killed had not written is all that is lost, and nothing is counted that was not answered.
//
// What it can have held back is not guessed from a rate: it is the answers that clients had, by their own clocks, between its last write of the
// log (the time of the file) and the kill, and one more of each connection at either end of that time, whose answer and line may be on two
// sides of it. A timer that fires late, as on a busy machine, makes that time longer and no answer more than was held back is forgiven. That the
// time is one flush interval is held by the least of the kills alone, for the others may be late.
func TestKilledEnvoyLosesOneFlush(t *testing.T) {
	t.Parallel()
	g := start(t, countedAPI+ipAPI("open", "    []\n"), withUpstream(9001, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	const clients, kills = 8, 5
	l := asked(g, clients, "/open", 2*time.Millisecond)
	log := filepath.Join(g.State, "usage", usage.LogName)
	var held []int // per kill: answers that can have been held back
	var since []time.Duration
	for range kills {
		time.Sleep(time.Second)
		if err := syscall.Kill(g.EnvoyPID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		info, err := os.Stat(log)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l.between(info.ModTime(), killed)+2*clients)
		since = append(since, killed.Sub(info.ModTime()))
		answered := l.answered.Load()
		harness.Until(t, func() error {
			if l.answered.Load() < answered+100 {
				return fmt.Errorf("no answers yet")
			}
			return nil
		})
	}
	l.end()
	answered, doubtful := l.answered.Load(), l.doubtful.Load()
	n, limit := int64(g.counted()["default/open"]), int64(0)
	for _, x := range held {
		limit += int64(x)
	}
	t.Logf("%d answered, %d without an answer, %d counted: %d lost in %d kills, of %v that can have been held back, %v after the last write", answered, doubtful, n, answered-n, kills, held, since)
	if n > answered+doubtful || answered-n > limit {
		t.Errorf("counted %d of %d, want all but %d", n, answered, limit)
	}
	if least := slices.Min(since); least > usage.FlushInterval {
		t.Errorf("the log was not written for %s at least before each kill, want %s", least, usage.FlushInterval)
	}
}

// BenchmarkCounting reports what the daemon uses of a core while Envoy answers 5,000 requests a second, and while it answers none: time of
// its processor, so that what else the machine does hardly counts. In the long form of `task sizing`, which has the machine for itself,
// it is held to 2 % of a core. go test -bench Counting -benchtime 1x
func BenchmarkCounting(b *testing.B) {
	const rate, mostOfCore = 5000, 2 // requests a second; percent
	g := start(b, countedAPI+policyAPI("closed", "http-basic-authentication-flex", "username: alice\npassword: secret\n"))
	for range b.N {
		for _, busy := range []bool{false, true} {
			time.Sleep(2 * time.Second)
			began, used := time.Now(), harness.CPU(b, g.Process.Pid)
			sent := 0
			if busy {
				sent = steadily(b, g, rate, 10*time.Second)
			} else {
				time.Sleep(10 * time.Second)
			}
			took := time.Since(began).Seconds()
			spent := (harness.CPU(b, g.Process.Pid) - used).Seconds()
			core, got := 100*spent/took, float64(sent)/took
			b.Logf("%.0f requests a second: the daemon uses %.2f %% of a core", got, core)
			if !busy {
				b.ReportMetric(core, "%core-idle")
				continue
			}
			b.ReportMetric(core, "%core-5000rps")
			b.ReportMetric(got, "requests/s")
			if os.Getenv("SIZING") != "long" { // beside other tests it proves nothing
				continue
			}
			if got < rate*0.9 {
				b.Errorf("%.0f requests a second were answered, want %d: this machine has something else to do", got, rate)
			}
			if core >= mostOfCore {
				b.Errorf("the daemon uses %.2f %% of a core at %.0f requests a second, want less than %d %%", core, got, mostOfCore)
			}
		}
	}
}

// steadily sends requests at a rate over connections that stay open, and returns how many were answered.
func steadily(b *testing.B, g *gateway, rate int, limit time.Duration) int {
	b.Helper()
	const connections = 25
	var sent atomic.Int64
	var wait sync.WaitGroup
	for range connections {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[8081]))
		if err != nil {
			b.Fatal(err)
		}
		wait.Go(func() {
			defer c.Close()
			answers := bufio.NewReader(c)
			began := time.Now()
			for n := 0; time.Since(began) < limit; {
				for due := int(time.Since(began).Seconds() * float64(rate) / connections); n < due; n++ {
					if _, err := io.WriteString(c, "GET /closed HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
						b.Error(err)
						return
					}
					res, err := http.ReadResponse(answers, nil)
					if err != nil || res.StatusCode != 401 {
						b.Error(res, err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					sent.Add(1)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wait.Wait()
	return int(sent.Load())
}

// BenchmarkEnvoyCounts compares what a request costs Envoy with the access log and without it, 5,000 a second, five seconds by turns: µs of
// its processor time for a request, and the least, median and greatest difference of the pairs.
func BenchmarkEnvoyCounts(b *testing.B) {
	found, err := envoy.Find(b.Context(), envoy.FindOptions{Choice: "auto", Getenv: os.LookupEnv, Log: func(string) {}})
	if err != nil {
		b.Fatal(err)
	}
	gateways, pids := map[bool]*gateway{}, map[bool]int{}
	for _, counting := range []bool{false, true} {
		args := []string{"--envoy", "none"}
		if counting {
			args = append(args, "--usage-log", b.TempDir())
		}
		g := prepare(b, countedAPI+policyAPI("closed", "http-basic-authentication-flex", "username: alice\npassword: secret\n"), withArgs(args...))
		g.Run()
		bootstrap := filepath.Join(g.State, "own.json")
		render := exec.Command(harness.Binary(b), "render", "--form", "bootstrap", "--output", "json="+bootstrap)
		render.Env = append(os.Environ(), "STATE_DIRECTORY="+g.State, "RUNTIME_DIRECTORY="+g.State)
		if out, err := render.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		own := exec.Command(found.Path, "--config-path", bootstrap, "--disable-hot-restart", "--file-flush-interval-msec", "100", "--log-level", "error")
		if err := own.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = own.Process.Kill(); _ = own.Wait() })
		g.WaitReady()
		gateways[counting], pids[counting] = g, own.Process.Pid
	}
	cost := map[bool][]float64{}
	var differences []float64
	for n := range b.N {
		pair := map[bool]float64{}
		for _, counting := range []bool{n%2 == 0, n%2 != 0} {
			used := harness.CPU(b, pids[counting])
			sent := steadily(b, gateways[counting], 5000, 5*time.Second)
			pair[counting] = float64((harness.CPU(b, pids[counting]) - used).Microseconds()) / float64(sent)
			cost[counting] = append(cost[counting], pair[counting])
		}
		differences = append(differences, pair[true]-pair[false])
	}
	for _, xs := range [][]float64{cost[false], cost[true], differences} {
		slices.Sort(xs)
	}
	b.ReportMetric(cost[false][b.N/2], "µs-without")
	b.ReportMetric(cost[true][b.N/2], "µs-with")
	b.ReportMetric(differences[0], "µs-least")
	b.ReportMetric(differences[b.N/2], "µs-median")
	b.ReportMetric(differences[b.N-1], "µs-greatest")
}
