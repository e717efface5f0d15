package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/flexgw/flexgw/e2e/harness"
)

// hotAPI is one API at one version; the extra policies change what is done with a request that none of them is about.
type hotAPI struct {
	name     string
	port     int
	base     string
	upstream string
	version  int
	extra    int    // bits: which policies it has
	password string // of /private; "": there is no such policy
}

func (a hotAPI) text() string {
	destination := ""
	if a.base != "" {
		destination = fmt.Sprintf("\n      routes:\n        - config: {destinationPath: /r%d/%s}", a.version, a.name)
	}
	text := fmt.Sprintf(`apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: %[1]s
spec:
  address: http://127.0.0.1:%[2]d%[3]s
  services:
    up:
      address: %[4]s%[5]s
  policies:
    - policyRef: {name: header-injection-flex}
      config: {inboundHeaders: [{key: x-version, value: "%[6]d"}], outboundHeaders: [{key: x-version, value: "%[6]d"}, {key: x-second, value: "%[6]d"}]}
`, a.name, a.port, a.base, a.upstream, destination, a.version)
	for bit, p := range []string{
		"    - policyRef: {name: ip-blocklist-flex}\n      config: {ipExpression: \"#[attributes.remoteAddress]\", ips: [203.0.113.0/24]}\n",
		"    - policyRef: {name: header-removal-flex}\n      config: {inboundHeaders: [x-debug]}\n",
		"    - policyRef: {name: header-removal-flex}\n      rules: [{path: /other/.*}]\n      config: {outboundHeaders: [x-powered-by]}\n",
	} {
		if a.extra&(1<<bit) != 0 {
			text += p
		}
	}
	if a.password != "" {
		text += fmt.Sprintf("    - policyRef: {name: http-basic-authentication-flex}\n      rules: [{path: /private/.*}]\n      config: {username: joe, password: %q}\n", a.password)
	}
	return text
}

// upstreams echo what they were asked with, and which of them it was.
func upstreams(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for i := range n {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode([]string{r.URL.Path, r.Header.Get("x-version"), fmt.Sprint(i)})
		}))
		t.Cleanup(s.Close)
		addresses = append(addresses, s.URL)
	}
	return addresses
}

// socketUpstream switches protocols and echoes lines.
func socketUpstream(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(rw, "echo %s", line)
			rw.Flush()
		}
	}))
	t.Cleanup(s.CloseClientConnections)
	return s.URL
}

func grpcUpstream(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return "h2://" + l.Addr().String()
}

// hot is what is known of the APIs that are edited under load: which upstream belongs to which version, and between which
// two versions an answer may be.
type hot struct {
	mu       sync.Mutex
	upstream map[int]map[int]int
	low, top map[int]int
}

func (h *hot) check(c *http.Client, port, api int) error {
	h.mu.Lock()
	low := h.low[api]
	h.mu.Unlock()
	res, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/http-%d/x", port, api))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var got []string
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != 200 || len(got) != 3 {
		return fmt.Errorf("API %d: status %d, %v", api, res.StatusCode, err)
	}
	var n int
	if _, err := fmt.Sscanf(got[0], fmt.Sprintf("/r%%d/http-%d/x", api), &n); err != nil {
		return fmt.Errorf("API %d: wrong answer: the upstream was asked for %s", api, got[0])
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	want := fmt.Sprint(n)
	switch {
	case n < low || n > h.top[api]:
		return fmt.Errorf("API %d: wrong answer: of version %d, not of one of %d to %d", api, n, low, h.top[api])
	case got[1] != want || res.Header.Get("x-version") != want || res.Header.Get("x-second") != want || got[2] != fmt.Sprint(h.upstream[api][n]):
		return fmt.Errorf("API %d: wrong answer: version %d with %v, %s, %s", api, n, got, res.Header.Get("x-version"), res.Header.Get("x-second"))
	}
	return nil
}

// TestHotApplies makes random edits while requests, a websocket and gRPC go on: none may fail, none may be answered wrongly
// (also as it was before the last edit but one), and no connection may be closed but on ports that go and on those whose
// listener changes.
func TestHotApplies(t *testing.T) {
	t.Parallel()
	edits := 300
	if long() {
		edits = 10_000
	}
	const apis = 6
	d := newDaemon(t, "--debounce", "0s")
	steadyPort, changingPort, passingPort := harness.FreePort(t), harness.FreePort(t), harness.FreePort(t)
	ups := upstreams(t, 3)
	h := &hot{upstream: map[int]map[int]int{}, low: map[int]int{}, top: map[int]int{}}
	list := make([]hotAPI, apis)
	write := func(a hotAPI) { d.Put(a.name+".yaml", a.text()) }
	for i := range list {
		list[i] = hotAPI{name: fmt.Sprintf("http-%d", i), port: steadyPort, base: fmt.Sprintf("/http-%d", i), upstream: ups[0]}
		h.upstream[i] = map[int]int{0: 0}
		write(list[i])
	}
	lock := hotAPI{name: "lock", port: steadyPort, base: "/lock", upstream: ups[0], password: "first"}
	ws := hotAPI{name: "ws", port: steadyPort, base: "/ws", upstream: socketUpstream(t)}
	rpc := hotAPI{name: "rpc", port: steadyPort, base: "/grpc.health.v1.Health", upstream: grpcUpstream(t)}
	other := hotAPI{name: "other", port: changingPort, base: "/other", upstream: ups[1]}
	for _, a := range []hotAPI{lock, ws, other} {
		write(a)
	}
	rpcText := func() string { // gRPC's paths stay as they are
		a := rpc
		a.base = ""
		return a.text()
	}
	d.Put("rpc.yaml", replaceAddress(rpcText(), steadyPort, rpc.base))
	d.Run()
	d.WaitReady()

	load := harness.Each(t, 4, func(client int, c *http.Client) error {
		return h.check(c, steadyPort, r2(client, apis))
	})
	// On a port whose split list changes connections are drained: closed, but never under a request.
	drained := harness.KeepAlive(t, 2, fmt.Sprintf("http://127.0.0.1:%d/other/x", changingPort))
	var lines, calls atomic.Int64
	streaming, end := context.WithCancel(t.Context())
	var streams sync.WaitGroup
	talk := func(what string, one func() error, n *atomic.Int64) {
		streams.Go(func() {
			for streaming.Err() == nil {
				if err := one(); err != nil && streaming.Err() == nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				n.Add(1)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", steadyPort))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /ws/x HTTP/1.1\r\nHost: edge.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	reader := bufio.NewReader(conn)
	if res, err := http.ReadResponse(reader, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("websocket: %v %v", res, err)
	}
	talk("websocket", func() error {
		word := fmt.Sprint(lines.Load())
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintln(conn, word)
		if line, err := reader.ReadString('\n'); err != nil || line != "echo "+word+"\n" {
			return fmt.Errorf("%q came back as %q, %w", word, line, err)
		}
		return nil
	}, &lines)
	var grpcDials atomic.Int64
	cc, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", steadyPort), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			grpcDials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	checker := healthpb.NewHealthClient(cc)
	streams.Go(func() { // each stream says one thing, and must stay open then; the product ends a response after 15 s
		for streaming.Err() == nil {
			ctx, cancel := context.WithCancel(streaming)
			enough := time.AfterFunc(5*time.Second, cancel) // a deadline would travel along, and the upstream could end the stream first
			w, err := checker.Watch(ctx, &healthpb.HealthCheckRequest{})
			if err == nil {
				_, err = w.Recv()
			}
			if err == nil {
				_, err = w.Recv()
			}
			if ctx.Err() == nil {
				t.Errorf("a gRPC stream ended, or spoke: %v", err)
			}
			enough.Stop()
			cancel()
		}
	})
	talk("gRPC", func() error {
		ctx, cancel := context.WithTimeout(streaming, time.Minute)
		defer cancel()
		r, err := checker.Check(ctx, &healthpb.HealthCheckRequest{})
		if err == nil && r.Status != healthpb.HealthCheckResponse_SERVING {
			err = fmt.Errorf("status %s", r.Status)
		}
		return err
	}, &calls)

	r := rand.New(rand.NewPCG(11, 11))
	probe := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	status := func(url, password string) int {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("joe", password)
		}
		res, err := probe.Do(req)
		if err != nil {
			return -1
		}
		res.Body.Close()
		return res.StatusCode
	}
	wait := func(what, url, password string, want ...int) {
		t.Helper()
		harness.Until(t, func() error {
			got := status(url, password)
			for _, w := range want {
				if got == w {
					return nil
				}
			}
			return fmt.Errorf("%s: status %d, want %v", what, got, want)
		})
	}
	present := map[string]bool{}
	comeAndGo := func(a hotAPI, text string, gone int) {
		t.Helper()
		url := fmt.Sprintf("http://127.0.0.1:%d%s/x", a.port, a.base)
		if present[a.name] {
			if err := os.Remove(filepath.Join(d.Dir, a.name+".yaml")); err != nil {
				t.Fatal(err)
			}
			wait(a.name+" goes", url, "", gone)
		} else {
			d.Put(a.name+".yaml", text)
			wait(a.name+" comes", url, "", 200)
		}
		present[a.name] = !present[a.name]
	}
	kinds, listenerChanges := map[string]int{}, 0
	var took []time.Duration
	began := time.Now()
	for range edits {
		since := time.Now()
		switch k := r.IntN(20); {
		case k < 11:
			i := r.IntN(apis)
			a := &list[i]
			a.version++
			switch r.IntN(3) {
			case 0:
				kinds["policy"]++
				a.extra = r.IntN(8)
			case 1:
				kinds["service"]++
				up := r.IntN(len(ups))
				a.upstream = ups[up]
			default:
				kinds["route"]++
			}
			h.mu.Lock()
			h.upstream[i][a.version], h.top[i] = slices.Index(ups, a.upstream), a.version
			h.mu.Unlock()
			write(*a)
			harness.Until(t, func() error {
				res, err := probe.Get(fmt.Sprintf("http://127.0.0.1:%d%s/x", steadyPort, a.base))
				if err != nil {
					return err
				}
				res.Body.Close()
				if got := res.Header.Get("x-version"); got != fmt.Sprint(a.version) {
					return fmt.Errorf("%s is at %s, not %d", a.name, got, a.version)
				}
				return nil
			})
			h.mu.Lock()
			h.low[i] = max(h.low[i], a.version-1) // the other worker threads may be a moment behind
			h.mu.Unlock()
		case k < 13:
			kinds["secret"]++
			old := lock.password
			lock.password = fmt.Sprint("secret-", r.IntN(1<<30))
			write(lock)
			url := fmt.Sprintf("http://127.0.0.1:%d/lock/private/x", steadyPort)
			wait("the new password", url, lock.password, 200)
			wait("the old password", url, old, 401)
		case k < 14:
			kinds["websocket or gRPC API"]++
			ws.version++
			ws.extra = r.IntN(2)
			write(ws)
			rpc.version++
			d.Put("rpc.yaml", replaceAddress(rpcText(), steadyPort, rpc.base))
		case k < 17:
			kinds["API comes or goes"]++
			n := r.IntN(4)
			a := hotAPI{name: fmt.Sprint("more-", n), port: steadyPort, base: fmt.Sprint("/more-", n), upstream: ups[n%3]}
			comeAndGo(a, a.text(), 404)
		case k < 18:
			kinds["many APIs below one prefix come or go"]++
			listenerChanges++
			// So many that the keys of their scopes take another segment, and with them the listener changes.
			var text strings.Builder
			deep := hotAPI{port: changingPort, upstream: ups[0]}
			for i := range 12 {
				deep.name, deep.base = fmt.Sprint("deep-", i), fmt.Sprint("/deep/", i)
				text.WriteString("---\n" + deep.text())
			}
			deep.name = "deep"
			comeAndGo(deep, text.String(), 404)
		default:
			kinds["port comes or goes"]++
			a := hotAPI{name: "passing", port: passingPort, base: "/passing", upstream: ups[2]}
			comeAndGo(a, a.text(), -1)
		}
		took = append(took, time.Since(since))
	}
	seconds := time.Since(began).Seconds()
	end()
	streams.Wait()
	requests := load.End(t, 4)
	more := drained.End(t, -1)
	if n := grpcDials.Load(); n != 1 {
		t.Errorf("gRPC made %d connections: some were closed", n)
	}
	if n := drained.Ended.Load(); n > int64(2*listenerChanges) || n == 0 {
		t.Errorf("%d connections to the port were ended whose listener changed %d times", n, listenerChanges)
	}
	slices.Sort(took)
	t.Logf("%d edits in %.0f s (median %s to be seen): %v", edits, seconds, took[len(took)/2].Round(100*time.Microsecond), kinds)
	t.Logf("%d requests, %d lines over the websocket, %d gRPC calls beside an open stream: 0 closed connections wanted, made are 4+1+%d for 4+1+1 clients", requests, lines.Load(), calls.Load(), grpcDials.Load())
	t.Logf("port %d, whose split list changed %d times: %d requests, %d failed, %d connections of 2 clients were drained", changingPort, listenerChanges, more, drained.Failures(), drained.Ended.Load())
}

// replaceAddress gives an API without a base path one that requests keep.
func replaceAddress(text string, port int, base string) string {
	old := fmt.Sprintf("http://127.0.0.1:%d\n", port)
	keep := fmt.Sprintf("      routes:\n        - config: {destinationPath: %s}\n", base)
	text = strings.Replace(text, old, fmt.Sprintf("http://127.0.0.1:%d%s\n", port, base), 1)
	return strings.Replace(text, "  policies:\n", keep+"  policies:\n", 1)
}
