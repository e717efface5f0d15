package envoy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/e2e/ports"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// helper, in the environment, makes the test binary a daemon that starts an Envoy and is killed.
const helper = "FLEXGW_TEST_STATE_DIR"

func TestMain(m *testing.M) {
	if binary := os.Getenv(resolver); binary != "" {
		besideResolver(binary)
		return
	}
	if dir := os.Getenv(helper); dir != "" {
		p, err := envoy.Start(context.Background(), envoy.Options{
			StateDir: dir, Binary: os.Getenv("FLEXGW_TEST_BINARY"), BootstrapPath: filepath.Join(dir, "b.yaml"),
			AdminSocket: os.Getenv("FLEXGW_TEST_SOCKET"), Concurrency: 1,
		})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("started", p.PID)
		select {}
	}
	os.Exit(m.Run())
}

var find = sync.OnceValues(func() (envoy.Found, error) {
	return envoy.Find(context.Background(), envoy.FindOptions{Choice: "auto", Log: func(s string) { fmt.Fprintln(os.Stderr, s) }})
})

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gateway is options for an Envoy of one listener, whose route answers 200 after nothing and whose other, /slow?until=, holds a
// request until there is a file.
func gateway(t *testing.T) (envoy.Options, string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real Envoy")
	}
	found, err := find()
	do(t, err)
	dir := t.TempDir()
	socket, err := envoy.SocketPath(dir, "admin.sock")
	do(t, err)
	slow, err := net.Listen("tcp", "127.0.0.1:0")
	do(t, err)
	t.Cleanup(func() { slow.Close() })
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for until := r.URL.Query().Get("until"); r.Context().Err() == nil; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(until); err == nil {
				break
			}
		}
		_, _ = io.WriteString(w, "done")
	})}
	go server.Serve(slow)
	port := ports.Free(t)
	write(t, filepath.Join(dir, "b.yaml"), fmt.Sprintf(bootstrap, socket, port, slow.Addr().(*net.TCPAddr).Port))
	o := envoy.Options{
		StateDir: dir, Binary: found.Path, BootstrapPath: filepath.Join(dir, "b.yaml"), AdminSocket: socket,
		Concurrency: 1, DrainTime: 5 * time.Second,
	}
	return o, fmt.Sprintf("http://127.0.0.1:%d", port)
}

const bootstrap = `
admin:
  address: {pipe: {path: %q, mode: 384}}
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: p
          route_config:
            virtual_hosts:
            - name: v
              domains: ["*"]
              routes:
              - {match: {prefix: /slow}, route: {cluster: slow}}
              - {match: {prefix: /}, direct_response: {status: 200}}
          http_filters:
          - {name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: slow
    load_assignment:
      cluster_name: slow
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
`

func write(t *testing.T, path, text string) {
	t.Helper()
	do(t, os.WriteFile(path, []byte(text), 0o644))
}

func start(t *testing.T, o envoy.Options) *envoy.Process {
	t.Helper()
	p, err := envoy.Start(context.Background(), o)
	do(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background(), 0) })
	live(t, p.Admin)
	return p
}

// ready is the server's state; Envoy says it with a 503 until it is LIVE.
func ready(a *envoy.Admin) (string, error) {
	body, err := a.Get(context.Background(), "/ready")
	var refused *envoy.StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable {
		err = nil
	}
	return strings.TrimSpace(string(body)), err
}

func live(t *testing.T, a *envoy.Admin) {
	t.Helper()
	var state string
	var err error
	for range 12_000 {
		if state, err = ready(a); state == "LIVE" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never live: %q, %v", state, err)
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return fmt.Sprintf("%d %s", r.StatusCode, b), err
}

func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 2 * time.Minute}
}

func TestStartAskAndStop(t *testing.T) {
	t.Parallel()
	o, url := gateway(t)
	p := start(t, o)
	info, err := p.Admin.ServerInfo(context.Background())
	do(t, err)
	if want := (envoy.ServerInfo{Version: p.Version, State: "LIVE", BaseID: envoy.BaseID(o.StateDir)}); info != want {
		t.Errorf("server info %+v, want %+v", info, want)
	}
	if !strings.HasPrefix(p.Version, envoy.Series+".") {
		t.Errorf("version %q", p.Version)
	}
	if got, err := get(t, client(t), url); err != nil || got != "200 " {
		t.Errorf("request: %q, %v", got, err)
	}
	w, err := p.Admin.Warming(context.Background())
	do(t, err)
	if !w.Done() {
		t.Errorf("warming: %+v", w)
	}
	traffic, err := p.Admin.Traffic(context.Background())
	do(t, err)
	if traffic.Total != 1 {
		t.Errorf("traffic %+v, want one request", traffic)
	}
	if _, err := p.Admin.Get(context.Background(), "/nonsense"); !errors.As(err, new(*envoy.StatusError)) {
		t.Errorf("error %v, want a StatusError", err)
	}
	if group, err := syscall.Getpgid(p.PID); err != nil || group != p.PID {
		t.Errorf("process group %d, %v, want its own", group, err)
	}

	_, err = envoy.Start(context.Background(), o)
	var running *envoy.RunningError
	if !errors.As(err, &running) || running.PID != p.PID {
		t.Errorf("second start: %v, want a RunningError of process %d", err, p.PID)
	}

	// A connection that is only kept alive does not hold up the end.
	began := time.Now()
	do(t, p.Stop(context.Background(), 2*time.Minute))
	if took := time.Since(began); took > time.Minute { // half a second on a machine with nothing else to do
		t.Errorf("idle, it took %v to stop", took)
	}
	if err := p.Err(); err != nil {
		t.Errorf("ended with %v", err)
	}
	if left, _ := filepath.Glob(fmt.Sprintf("/dev/shm/envoy_shared_memory_%d*", envoy.BaseID(o.StateDir))); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if p, _, err := envoy.Adopt(context.Background(), o); p != nil || err != nil {
		t.Errorf("adopted %v, %v after the end", p, err)
	}
}

func TestLogIsRotated(t *testing.T) {
	t.Parallel()
	o, _ := gateway(t)
	p := start(t, o)
	log := filepath.Join(o.StateDir, "envoy.log")
	before, err := os.Stat(log)
	do(t, err)
	p.Rotate(1 << 30)
	if after, err := os.Stat(log); err != nil || !os.SameFile(before, after) {
		t.Errorf("a short log was set aside: %v", err)
	}
	p.Rotate(1)
	if old, err := os.Stat(log + ".1"); err != nil || !os.SameFile(before, old) {
		t.Errorf("the old log: %v", err)
	}
	// Envoy opens the new log on a thread of its own, some time after it answered.
	for deadline := time.Now().Add(time.Minute); !holds(p.PID, log); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Envoy does not write into a new log")
		}
	}
}

// holds reports whether a process has a file open.
func holds(pid int, path string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(fds, func(fd string) bool {
		target, _ := os.Readlink(fd)
		return target == path
	})
}

func TestStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	o, url := gateway(t)
	p := start(t, o)
	answer, end := make(chan string, 1), filepath.Join(t.TempDir(), "end")
	go func() {
		got, err := get(t, client(t), url+"/slow?until="+end)
		answer <- fmt.Sprint(got, err)
	}()
	inFlight(t, p)
	began := time.Now()
	time.AfterFunc(1500*time.Millisecond, func() { _ = os.WriteFile(end, nil, 0o600) }) // without it the request hangs, and that is told
	do(t, p.Stop(context.Background(), 2*time.Minute))
	if got := <-answer; got != "200 done<nil>" {
		t.Errorf("the request in flight got %s", got)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v of the two minutes that it was given", took)
	}
}

// inFlight waits until Envoy has a request that is not answered.
func inFlight(t *testing.T, p *envoy.Process) {
	t.Helper()
	for range 12_000 {
		traffic, err := p.Admin.Traffic(context.Background())
		do(t, err)
		if traffic.Requests == 1 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no request came")
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	o, url := gateway(t)
	p := start(t, o)
	c := client(t)
	go get(t, c, url+"/slow?until="+filepath.Join(t.TempDir(), "never"))
	inFlight(t, p)
	began := time.Now()
	do(t, p.Stop(context.Background(), time.Second))
	if took := time.Since(began); took < 900*time.Millisecond || took > time.Minute {
		t.Errorf("it took %v, want the second it was given", took)
	}
}

// An Envoy whose bootstrap had no room on the disk is the same one to the next daemon, which has the file.
func TestBootstrapOnTheCommandLine(t *testing.T) {
	t.Parallel()
	o, url := gateway(t)
	b, err := os.ReadFile(o.BootstrapPath)
	do(t, err)
	do(t, os.Remove(o.BootstrapPath))
	o.Bootstrap = b
	p, err := envoy.Start(context.Background(), o)
	do(t, err)
	defer p.Stop(context.Background(), 0)
	for late := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := get(t, http.DefaultClient, url); err == nil {
			break
		} else if time.Now().After(late) {
			t.Fatal(err)
		}
	}
	o.Bootstrap = nil
	write(t, o.BootstrapPath, string(b))
	if q, same, err := envoy.Adopt(context.Background(), o); err != nil || !same || q.PID != p.PID {
		t.Errorf("got %+v, %v, %v", q, same, err)
	}
}

// Who is told to stop takes the Envoy that is there along.
func TestAdoptWhileToldToStop(t *testing.T) {
	t.Parallel()
	o, _ := gateway(t)
	p, err := envoy.Start(context.Background(), o)
	do(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := envoy.Supervise(ctx, o, nil)
	do(t, err)
	do(t, s.Stop(context.Background(), 0))
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Error("it runs")
	}
}

func TestStartSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	o, _ := gateway(t)
	write(t, o.BootstrapPath, "admin: {address: {pipe: {path: "+o.AdminSocket+"}}}\nnonsense: 1\n")
	_, err := envoy.Start(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v, want Envoy's own words", err)
	}
	if p, _, err := envoy.Adopt(context.Background(), o); p != nil || err != nil {
		t.Errorf("something is left: %v, %v", p, err)
	}
}

// The daemon is killed without a word; Envoy serves on, and the next daemon takes it over.
func TestAdopt(t *testing.T) {
	t.Parallel()
	o, url := gateway(t)
	daemon := exec.Command(os.Args[0], "-test.run=^$")
	daemon.Env = append(os.Environ(), helper+"="+o.StateDir, "FLEXGW_TEST_BINARY="+o.Binary, "FLEXGW_TEST_SOCKET="+o.AdminSocket)
	out, err := daemon.StdoutPipe()
	do(t, err)
	do(t, daemon.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	var pid int
	if _, scanErr := fmt.Sscanf(line, "started %d\n", &pid); err != nil || scanErr != nil {
		t.Fatalf("the daemon said %q, %v", line, err)
	}
	do(t, daemon.Process.Kill())
	_ = daemon.Wait()
	time.Sleep(100 * time.Millisecond) // a signal sent at the daemon's death has done its work by now

	p, same, err := envoy.Adopt(context.Background(), o)
	do(t, err)
	if p == nil || p.PID != pid || !same || !p.Adopted {
		t.Fatalf("adopted %+v, same bootstrap %v, want process %d", p, same, pid)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background(), 0) })
	live(t, p.Admin)
	if got, err := get(t, client(t), url); err != nil || got != "200 " {
		t.Errorf("request: %q, %v", got, err)
	}

	b, err := os.ReadFile(o.BootstrapPath)
	do(t, err)
	write(t, o.BootstrapPath, string(b)+"# another\n")
	if again, same, err := envoy.Adopt(context.Background(), o); err != nil || again.PID != pid || same {
		t.Errorf("with another bootstrap: %+v, same %v, %v", again, same, err)
	}
	moved := o
	moved.AdminSocket = filepath.Join(t.TempDir(), "elsewhere.sock")
	if again, _, err := envoy.Adopt(context.Background(), moved); err != nil || again.PID != pid {
		t.Errorf("with another socket: %+v, %v", again, err)
	}

	do(t, p.Stop(context.Background(), 5*time.Second))
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
		t.Errorf("process %d still runs: %v", pid, err)
	}
}

// zombie reports whether a process has ended and nobody waits for it: in a container without an init.
func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(b), ") Z ")
}

func TestAdoptWhatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := envoy.Options{StateDir: dir, AdminSocket: filepath.Join(dir, "a.sock"), BootstrapPath: filepath.Join(dir, "b.yaml")}
	if p, _, err := envoy.Adopt(context.Background(), o); p != nil || err != nil {
		t.Fatalf("an empty folder: %v, %v", p, err)
	}
	// A stale socket, as every Envoy leaves one.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.AdminSocket, Net: "unix"})
	do(t, err)
	l.SetUnlinkOnClose(false)
	do(t, l.Close())
	if p, _, err := envoy.Adopt(context.Background(), o); p != nil || err != nil {
		t.Fatalf("a stale socket: %v, %v", p, err)
	}
	lock, err := envoy.LockFile(filepath.Join(dir, "envoy.lock"))
	do(t, err)
	if _, err := envoy.LockFile(filepath.Join(dir, "envoy.lock")); !errors.Is(err, envoy.ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := envoy.Adopt(ctx, o); !errors.As(err, new(*envoy.RunningError)) || !strings.Contains(err.Error(), o.AdminSocket) {
		t.Errorf("a lock without an Envoy: %v", err)
	}
	do(t, lock.Unlock())
}

func TestSupervisor(t *testing.T) {
	t.Parallel()
	o, url := gateway(t)
	events := make(chan envoy.Event, 16)
	// What dies as it starts has not served, however long the test is kept from looking.
	var dies atomic.Int32
	told := func(e envoy.Event) {
		events <- e
		if e.Kind == envoy.Started && dies.Add(-1) >= 0 {
			_ = syscall.Kill(e.Process.PID, syscall.SIGKILL)
		}
	}
	dies.Store(1)
	s, err := envoy.Supervise(context.Background(), o, told)
	do(t, err)
	t.Cleanup(func() { _ = s.Stop(context.Background(), 0) })
	next := func(want envoy.EventKind) envoy.Event {
		t.Helper()
		select {
		case e := <-events:
			if e.Kind != want {
				t.Fatalf("event %v (%v), want %v", e.Kind, e.Err, want)
			}
			return e
		case <-time.After(2 * time.Minute):
			t.Fatalf("no event, want %v", want)
			panic("unreachable")
		}
	}
	first := next(envoy.Started).Process
	if died := next(envoy.Died); died.Err == nil || !strings.Contains(died.Err.Error(), "killed") || died.Wait <= 0 {
		t.Errorf("died with %v, wait %v", died.Err, died.Wait)
	}
	second := next(envoy.Started).Process
	if second.PID == first.PID || s.Process() != second {
		t.Errorf("process %d after %d, current %d", second.PID, first.PID, s.Process().PID)
	}
	live(t, s.Process().Admin)
	if got, err := get(t, client(t), url); err != nil || got != "200 " {
		t.Errorf("request: %q, %v", got, err)
	}

	// One that served well, which is longer than it took to start, is followed by the next at once.
	for served := 1300 * time.Millisecond; ; served *= 2 {
		time.Sleep(served)
		do(t, syscall.Kill(second.PID, syscall.SIGKILL))
		died := next(envoy.Died)
		second = next(envoy.Started).Process
		live(t, s.Process().Admin)
		if died.Wait == 0 {
			break
		}
		if served > 30*time.Second {
			t.Fatalf("after it had served for %v, it waits %v", served, died.Wait)
		}
	}

	// Left and supervised again: the same process, adopted; its death is noticed too.
	s.Leave()
	s, err = envoy.Supervise(context.Background(), o, told)
	do(t, err)
	if e := next(envoy.Adopted); e.Process.PID != second.PID {
		t.Errorf("adopted %d, want %d", e.Process.PID, second.PID)
	}
	dies.Store(3)
	do(t, syscall.Kill(second.PID, syscall.SIGKILL))
	pause := next(envoy.Died).Wait
	third := next(envoy.Started).Process
	for range 3 { // deaths one after the other
		died := next(envoy.Died)
		if died.Wait <= pause {
			t.Errorf("it waits %v after %v", died.Wait, pause)
		}
		pause = died.Wait
		third = next(envoy.Started).Process
	}

	do(t, s.Stop(context.Background(), time.Second))
	select {
	case <-third.Done():
	default:
		t.Error("Stop returned before the end")
	}
	select {
	case e := <-events:
		t.Errorf("event %v after Stop", e.Kind)
	default:
	}
}

// What Envoy has accepted and waits for: a cluster whose secret, a listener whose routes never come.
func TestWarming(t *testing.T) {
	t.Parallel()
	o, _ := gateway(t)
	dir := o.StateDir
	write(t, filepath.Join(dir, "cds.yaml"), `
version_info: v1
resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: waits
  transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      common_tls_context:
        tls_certificate_sds_secret_configs:
        - name: never
          sds_config: {initial_fetch_timeout: 0s, api_config_source: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: slow}}]}}
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: fine
`)
	write(t, filepath.Join(dir, "lds.yaml"), fmt.Sprintf(`
version_info: v7
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: waits
  address: {socket_address: {address: 127.0.0.1, port_value: %d}}
  filter_chains:
  - filters:
    - name: hcm
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: w
        rds: {route_config_name: never, config_source: {initial_fetch_timeout: 0s, api_config_source: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: slow}}]}}}
        http_filters:
        - {name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
`, ports.Free(t)))
	b, err := os.ReadFile(o.BootstrapPath)
	do(t, err)
	write(t, o.BootstrapPath, string(b)+fmt.Sprintf(`
node: {id: node, cluster: cluster}
dynamic_resources:
  cds_config: {path_config_source: {path: %[1]s/cds.yaml}}
  lds_config: {initial_fetch_timeout: 0s, path_config_source: {path: %[1]s/lds.yaml}}
`, dir))
	p, err := envoy.Start(context.Background(), o)
	do(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background(), 0) })
	if state, err := ready(p.Admin); err != nil || state != "PRE_INITIALIZING" {
		t.Errorf("state %q, %v", state, err)
	}
	var w envoy.Warming
	until := func(want envoy.Warming) {
		t.Helper()
		var err error
		for range 6000 {
			if w, err = p.Admin.Warming(context.Background()); err == nil && cmp.Equal(want, w) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("warming, %v (-want +got):\n%s", err, cmp.Diff(want, w))
	}
	until(envoy.Warming{Clusters: []string{"waits"}})
	// Without the cluster that blocks it, the listener is the one that waits.
	write(t, filepath.Join(dir, "new"), "version_info: v2\nresources: []\n")
	do(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "cds.yaml")))
	if until(envoy.Warming{Listeners: []envoy.Listener{{Name: "waits", Warming: "v7"}}}); w.Done() {
		t.Errorf("done with %+v", w)
	}
}

func TestSocketPathStaysShort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, err := envoy.SocketPath("/run/flexgw", "a.sock"); err != nil || got != "/run/flexgw/a.sock" {
		t.Errorf("short: %q, %v", got, err)
	}
	long := filepath.Join(dir, strings.Repeat("long", 40))
	one, err := envoy.SocketPath(long, "a.sock")
	do(t, err)
	two, err := envoy.SocketPath(long+"x", "a.sock")
	do(t, err)
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(one)); os.RemoveAll(filepath.Dir(two)) })
	if len(one) >= 100 || one == two {
		t.Errorf("%q and %q", one, two)
	}
	if again, err := envoy.SocketPath(long, "a.sock"); err != nil || again != one {
		t.Errorf("again: %q, %v", again, err)
	}
	info, err := os.Stat(filepath.Dir(one))
	do(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", info.Mode())
	}
	l, err := net.Listen("unix", one)
	do(t, err)
	l.Close()
}
