package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/e2e/workload"
)

// BenchmarkRenameToLive changes one API of N, each in a file of its own, and measures from the rename to the first answer
// of the real Envoy that shows the change, while other clients keep asking. It also reports what the daemon spends on a
// change (CPU), what goes to Envoy (bytes on the wire), and what the daemon holds: all that is resident, of it what is not
// pages of the program's file, and what is in use of its heap. It fails when a request of the others failed or a connection
// was closed. The debounce is zero. At the end it says how all that grows with N: as its power.
func BenchmarkRenameToLive(b *testing.B) {
	grown := growth{}
	for _, n := range []int{100, 1_000, 3_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { renameToLive(b, n, grown) })
	}
	b.Run("growth", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		for unit, points := range grown {
			if len(points) > 1 {
				b.ReportMetric(points.exponent(), unit+"-exponent")
			}
		}
	})
}

func renameToLive(b *testing.B, n int, grown growth) {
	g, options := manyAPIs(b, n)
	harness.Until(b, func() error { // the first state goes to disk beside all this
		m, err := filepath.Glob(filepath.Join(g.State, "last-good", "generations", "*"))
		if err == nil && len(m) == 0 {
			err = errors.New("there is no generation yet")
		}
		return err
	})
	report := func(x float64, unit string, grows bool) {
		b.ReportMetric(x, unit)
		if grows && n >= 1_000 { // with less, what any daemon needs is more than what its APIs do
			grown[unit] = append(grown[unit], point{float64(n), x})
		}
	}
	time.Sleep(time.Second) // what the start took is given back then
	begun := g.resident("VmRSS")
	const clients = 4
	x := harness.KeepAlive(b, clients, g.url(8081, workload.BasePath(0)+"/items/x"))
	c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	wire, cpu := g.wireBytes(), g.cpu()
	var took []time.Duration
	edit := 0
	for b.Loop() {
		edit++
		i := 1 + edit*7919%(n-1)
		v := fmt.Sprint("v", edit)
		text := workload.API(i, v, options)
		path := filepath.Join(g.Dir, "apis", workload.Name(i)+".yaml")
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		url := g.url(8081, workload.BasePath(i)+"/items/x")
		began := time.Now()
		if err := os.Rename(path+".new", path); err != nil {
			b.Fatal(err)
		}
		for versionOf(b, c, url) != v {
			if time.Since(began) > 10*time.Second {
				b.Fatalf("edit %d of %s is not live after 10 s:\n%s", edit, workload.Name(i), g.Log())
			}
		}
		took = append(took, time.Since(began))
		time.Sleep(2 * time.Millisecond) // whatever follows a change belongs to it
	}
	slices.Sort(took)
	report(float64(took[len(took)/2].Microseconds())/1000, "p50-ms", false)
	report(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms", false)
	report(float64(g.wireBytes()-wire)/float64(edit), "wire-B/edit", true)
	report((g.cpu()-cpu).Seconds()*1000/float64(edit), "cpu-ms/edit", true)
	b.ReportMetric(0, "ns/op")
	x.End(b, clients)
	report(begun, "start-rss-MB", true)
	report(g.resident("VmRSS"), "rss-MB", true)
	report(g.resident("RssAnon"), "anon-MB", true)
	const idle = 10 * time.Second
	time.Sleep(10 * time.Second) // the last good state is written beside all this, and then memory is given back
	report(g.resident("VmRSS"), "rest-rss-MB", true)
	report(g.heap(), "heap-MB", true)
	cpu = g.cpu()
	time.Sleep(idle)
	report((g.cpu()-cpu).Seconds()/idle.Seconds()*100, "idle-%-of-a-core", false)
}

// growth is what was measured at several sizes, by unit.
type growth map[string]points

type points []point

type point struct{ n, x float64 }

// exponent is the slope of the line through the logarithms, by least squares: 0 is flat, 1 grows as N does.
func (l points) exponent() float64 {
	var n, sx, sy, sxx, sxy float64
	for _, p := range l {
		x, y := math.Log(p.n), math.Log(p.x)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// TestOneChangeOfManyIsSmall wants one resource and at most 2 KB on the wire for one edit, and nothing for an edit that
// changes no meaning.
func TestOneChangeOfManyIsSmall(t *testing.T) {
	t.Parallel()
	g, options := manyAPIs(t, 300)
	c := &http.Client{}
	edit := func(i int, v, prefix string) {
		g.Put("apis/"+workload.Name(i)+".yaml", prefix+workload.API(i, v, options))
	}
	wire := g.wireBytes()
	edit(5, "2", "")
	harness.Until(t, func() error {
		if v := versionOf(t, c, g.url(8081, workload.BasePath(5)+"/items/x")); v != "2" {
			return fmt.Errorf("version %q", v)
		}
		return nil
	})
	if n := g.wireBytes() - wire; n == 0 || n > 2048 {
		t.Errorf("one edit is %d bytes on the wire", n)
	}
	wire, before := g.wireBytes(), g.report().Revision
	edit(9, "1", "# only a comment\n")
	harness.Until(t, func() error {
		if g.report().Revision == before {
			return fmt.Errorf("the revision is still %s", before)
		}
		return nil
	})
	if n := g.wireBytes() - wire; n > 100 { // a keepalive may pass by
		t.Errorf("a comment is %d bytes on the wire", n)
	}
}

// manyAPIs runs n generated APIs of one upstream, a file each, with the debounce at zero.
func manyAPIs(t testing.TB, n int) (*gateway, workload.Options) {
	t.Helper()
	g := prepare(t, "", withArgs("--debounce", "0s"), withEnv("GODEBUG=gctrace=1")) // see heap
	g.serve(9001, &echo{})
	g.ports[8081] = harness.FreePort(t)
	options := workload.Options{Seed: 3, Port: g.ports[8081], Upstream: fmt.Sprintf("http://127.0.0.1:%d", g.ports[9001])}
	dir := filepath.Join(g.Dir, "apis")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, workload.Name(i)+".yaml"), []byte(workload.API(i, "1", options)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g.Run()
	g.WaitReady()
	return g, options
}

func versionOf(t testing.TB, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var x got
	if err := json.NewDecoder(res.Body).Decode(&x); err != nil {
		t.Fatalf("status %d: %v", res.StatusCode, err)
	}
	return strings.Join(x.Headers["x-version"], ",")
}

// wireBytes is what Envoy received from the daemon so far.
func (g *gateway) wireBytes() int {
	g.t.Helper()
	tr := &http.Transport{Dial: func(string, string) (net.Conn, error) {
		return net.Dial("unix", filepath.Join(g.State, "envoy-admin.sock"))
	}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get("http://envoy/stats?filter=^cluster.flexgw-xds.upstream_cx_rx_bytes_total$")
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	_, value, _ := strings.Cut(strings.TrimSpace(string(b)), ": ")
	n, err := strconv.Atoi(value)
	if err != nil {
		g.t.Fatalf("no bytes in %q", b)
	}
	return n
}

// resident is memory of the daemon as /proc/PID/status names it, in MB (10^6).
func (g *gateway) resident(what string) float64 {
	g.t.Helper()
	return harness.Memory(g.t, g.Process.Pid, what)
}

// collected is what the runtime writes after a collection of the heap: its size when it began, when it ended, and what of it
// was in use.
var collected = regexp.MustCompile(`(?m)^gc \d+ @.* (\d+)->(\d+)->(\d+) MB, `)

// heap is what of the daemon's heap was in use when it was collected last, in MB.
func (g *gateway) heap() float64 {
	g.t.Helper()
	all := collected.FindAllStringSubmatch(g.Log(), -1)
	if len(all) == 0 {
		g.t.Fatalf("the heap was never collected:\n%s", g.Log())
	}
	n, err := strconv.Atoi(all[len(all)-1][3])
	if err != nil {
		g.t.Fatal(err)
	}
	return float64(n) * (1 << 20) / 1e6
}

// cpu is what the daemon has spent so far.
func (g *gateway) cpu() time.Duration {
	g.t.Helper()
	return harness.CPU(g.t, g.Process.Pid)
}
