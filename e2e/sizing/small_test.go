package sizing

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

// The least host that the product names (S-PRE, version 1.6).
const (
	smallCPU    = 0.2
	smallBytes  = 200 << 20
	smallAnswer = 10_000
)

// The quick start starts on the least host that the product names, and answers 10,000 requests: daemon and Envoy are in one control group
// of 0.2 CPU and 200 MB, and the kernel kills nobody.
func TestSmallHost(t *testing.T) {
	group := newGroup(t, smallCPU, smallBytes)
	d := harness.NewDaemon(t)
	port, upstream := harness.FreePort(t), harness.FreePort(t)
	for _, name := range []string{"gateway.yaml", "upstream.yaml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "examples", "quickstart", name))
		if err != nil {
			t.Fatal(err)
		}
		d.Put(name, strings.NewReplacer(":8081", ":"+strconv.Itoa(port), ":9081", ":"+strconv.Itoa(upstream)).Replace(string(b)))
	}
	d.Within = group.procs
	begun := time.Now()
	d.Run()
	d.WaitReady()
	t.Logf("ready after %s", time.Since(begun).Round(time.Millisecond))
	for _, pid := range []int{d.Process.Pid, d.EnvoyPID()} {
		if !group.has(t, pid) {
			t.Fatalf("process %d is not in the control group", pid)
		}
	}

	begun = time.Now()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	work := make(chan int)
	results := make(chan error)
	for range 8 {
		go func() {
			for n := range work {
				results <- hello(client, port, n)
			}
		}()
	}
	go func() {
		defer close(work)
		for n := range smallAnswer {
			work <- n
		}
	}()
	wrong := 0
	for range smallAnswer {
		if err := <-results; err != nil {
			if wrong++; wrong <= 3 {
				t.Error(err)
			}
		}
	}
	elapsed := time.Since(begun)
	t.Logf("%d answers in %s (%.0f a second), %d wrong; %s", smallAnswer, elapsed.Round(time.Millisecond), smallAnswer/elapsed.Seconds(), wrong, group.used(t))
	if n := group.killed(t); n > 0 {
		t.Errorf("the kernel killed %d processes for memory", n)
	}
	select {
	case <-d.Exited:
		t.Error("the daemon is gone")
	default:
	}
}

// hello asks the quick start's API; each fourth request has no password.
func hello(client *http.Client, port, n int) error {
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/hello", port), nil)
	if err != nil {
		return err
	}
	want := http.StatusUnauthorized
	if n%4 > 0 {
		want = http.StatusOK
		req.SetBasicAuth("alice", "open-sesame")
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != want {
		return fmt.Errorf("request %d: status %d, want %d", n, res.StatusCode, want)
	}
	return drain(res)
}

// group is a control group of our own; of version 1 it is two, one for each controller.
type group struct {
	procs  []string // files that take the number of a process
	memory string   // the folder that knows of memory
	v2     bool
}

const cgroups = "/sys/fs/cgroup"

// newGroup makes one that ends with the test. A machine that allows none fails the test.
func newGroup(t *testing.T, cores float64, bytes int) group {
	t.Helper()
	harness.Binary(t) // left out with -short
	name := fmt.Sprintf("flexgw-sizing-%d", os.Getpid())
	const period = 100_000 // microseconds
	quota := strconv.Itoa(int(cores * period))
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		dir := filepath.Join(cgroups, name)
		folder(t, dir)
		set(t, filepath.Join(dir, "cpu.max"), quota+" "+strconv.Itoa(period))
		set(t, filepath.Join(dir, "memory.max"), strconv.Itoa(bytes))
		if err := os.WriteFile(filepath.Join(dir, "memory.swap.max"), []byte("0"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return group{procs: []string{filepath.Join(dir, "cgroup.procs")}, memory: dir, v2: true}
	}
	cpu, memory := filepath.Join(cgroups, "cpu", name), filepath.Join(cgroups, "memory", name)
	folder(t, cpu)
	folder(t, memory)
	set(t, filepath.Join(cpu, "cpu.cfs_period_us"), strconv.Itoa(period))
	set(t, filepath.Join(cpu, "cpu.cfs_quota_us"), quota)
	set(t, filepath.Join(memory, "memory.limit_in_bytes"), strconv.Itoa(bytes))
	return group{procs: []string{filepath.Join(cpu, "cgroup.procs"), filepath.Join(memory, "cgroup.procs")}, memory: memory}
}

func folder(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("no control group can be made here, so limits can not be tried: %v", err)
	}
	t.Cleanup(func() {
		harness.Until(t, func() error { return os.Remove(dir) }) // the kernel takes a moment to see that nobody is left
	})
}

func set(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (g group) has(t *testing.T, pid int) bool {
	t.Helper()
	for _, path := range g.procs {
		if !strings.Contains("\n"+read(t, path)+"\n", "\n"+strconv.Itoa(pid)+"\n") {
			return false
		}
	}
	return true
}

// killed is how many processes the kernel killed for want of memory.
func (g group) killed(t *testing.T) int {
	t.Helper()
	file := "memory.oom_control"
	if g.v2 {
		file = "memory.events"
	}
	for line := range strings.Lines(read(t, filepath.Join(g.memory, file))) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			count, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	t.Fatalf("%s does not say how many were killed", file)
	return 0
}

// used is the most memory that the group had, pages of files included.
func (g group) used(t *testing.T) string {
	t.Helper()
	file := "memory.max_usage_in_bytes"
	if g.v2 {
		file = "memory.peak"
	}
	n, err := strconv.ParseInt(read(t, filepath.Join(g.memory, file)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%.0f of %.0f MB at most", float64(n)/1e6, float64(smallBytes)/1e6)
}
