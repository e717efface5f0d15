package render

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/flexgw/flexgw/schema/ir"
)

// serve runs a real Envoy on a static form until the test ends.
func serve(t *testing.T, m *bootstrapv3.Bootstrap, addr string) {
	t.Helper()
	envoy := envoyPath(t)
	b, err := JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	cmd := exec.Command(envoy, "-c", name, "--log-level", "warning", "--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "20")
	cmd.Stderr, cmd.Stdout = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for range 200 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("Envoy does not listen on %s", addr)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// echo answers with what it was asked.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Server", "echo")
		fmt.Fprintf(w, "%s %s\n", r.Method, r.URL)
		_ = r.Header.Write(w)
	}))
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

type answer struct {
	status int
	header http.Header
	body   string
}

func request(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	q, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		q.Header.Set(k, v)
	}
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{a.StatusCode, a.Header, string(b)}
}

const aliceHash = "W6ph5Mm5Pz8GgiULbPgzG37mj9g=" // {SHA} of "password"

func TestChassisOnEnvoy(t *testing.T) {
	t.Parallel()
	envoyPath(t)
	up, addr, dir := echo(t), freeAddr(t), t.TempDir()
	s := settings()
	u := service(s, "echo", "http", up.Addr().String(), up.Port())
	k := service(s, "keyed", "http", up.Addr().String(), up.Port(), bind("credential", "key", pair{"", "s3cr3t"}))
	g := gateway(s, []*ir.Upstream{u, k}, listen(addr,
		api(s, "plain", "/plain", u),
		api(s, "keyed", "/keyed", k),
		api(s, "cond", "/cond", u, bind("inject", "i1", pair{"x-a", "1"}), bind("auth", "auth", pair{"alice", aliceHash}, method("POST")), bind("inject", "i2", pair{"x-b", "2"})),
		api(s, "cors", "/cors", u, bind("auth", "auth", pair{"alice", aliceHash}, method("POST")), bind("auth", "auth2", pair{"alice", aliceHash}), bind("cors", "c", pair{"", "https://a.example"})),
		api(s, "body", "/body", u, bind("body", "b", pair{})),
		api(s, "answer", "/answer", u, bind("answer", "an", pair{})),
		api(s, "script", "/script", u, bind("script", "lua", pair{"", ""})),
	))
	g.Listeners[0].APIs[5].Routes = nil // every request is one that no route matches
	usage := filepath.Join(dir, "usage.log")
	res, l := Render(g, fakes(), Options{Files: dir, UsageLog: usage}, nil)
	if len(l) > 0 {
		t.Fatal(l)
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n", EnforceSocket: dir + "/e", AdminSocket: dir + "/a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, m, addr)
	good := "Authorization: Basic YWxpY2U6cGFzc3dvcmQ="
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		has, hasNot              string
	}{
		{name: "forwarded", method: "GET", path: "/plain/x", status: 200, has: "GET /plain/x", hasNot: "X-Flexgw"},
		{name: "no envoy headers", method: "GET", path: "/plain", status: 200, hasNot: "X-Envoy"},
		{name: "unmatched", method: "GET", path: "/nothing", status: 404},
		{name: "outbound credential", method: "GET", path: "/keyed", status: 200, has: "X-Api-Key: s3cr3t"},
		{name: "condition does not hold", method: "GET", path: "/cond", status: 200, has: "X-A: 1\r\nX-B: 2"},
		{name: "condition holds", method: "POST", path: "/cond", status: 401, has: `{"error":"100% 'no'"}`},
		{name: "condition holds, credentials", method: "POST", path: "/cond", headers: []string{good}, status: 200, has: "X-B: 2"},
		{name: "guard", method: "GET", path: "/cors", headers: []string{"Origin: https://evil.example"}, status: 200, hasNot: "GET"},
		{name: "guard lets pass", method: "GET", path: "/cors", headers: []string{"Origin: https://a.example", good}, status: 200, has: "GET /cors"},
		{name: "guard is not for others", method: "GET", path: "/cors", status: 401},
		{name: "preflight", method: "OPTIONS", path: "/cors", headers: []string{"Origin: https://a.example", "Access-Control-Request-Method: GET"}, status: 200, hasNot: "OPTIONS"},
		{name: "guard keeps to segments", method: "GET", path: "/corsx", headers: []string{"Origin: https://evil.example"}, status: 404},
		{name: "small body", method: "POST", path: "/body", body: strings.Repeat("x", 400_000), status: 200},
		{name: "large body", method: "POST", path: "/body", body: strings.Repeat("x", 1<<20+1), status: 413},
		{name: "upgrade of a body reader", method: "GET", path: "/body", headers: []string{"Connection: upgrade", "Upgrade: websocket"}, status: 403},
		{name: "answer where no route matches", method: "GET", path: "/answer/no", headers: []string{"X-Ask: yes"}, status: 204},
		{name: "no answer where no route matches", method: "GET", path: "/answer/no", headers: []string{"X-Ask: no"}, status: 404},
		{name: "script", method: "GET", path: "/script", status: 200},
	} {
		a := request(t, c.method, "http://"+addr+c.path, c.body, c.headers...)
		if a.status != c.status || !strings.Contains(a.body, c.has) || c.hasNot != "" && strings.Contains(a.body, c.hasNot) {
			t.Errorf("%s: %d %v\n%s", c.name, a.status, a.header, a.body)
		}
		if got := a.header.Get("Server"); got != serverName {
			t.Errorf("%s: server %q", c.name, got)
		}
		if c.name == "guard lets pass" && a.header.Get("Access-Control-Allow-Origin") != "https://a.example" {
			t.Errorf("%s: %v", c.name, a.header)
		}
		if c.name == "condition holds" && (a.header.Get("Content-Type") != errorType || a.header.Get("X-Why") != "50%") {
			t.Errorf("%s: %v", c.name, a.header)
		}
	}
	time.Sleep(200 * time.Millisecond)
	f, err := os.Open(usage)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	counted := map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		_, rest, _ := strings.Cut(sc.Text(), `"api":"`)
		name, _, _ := strings.Cut(rest, `"`)
		counted[name]++
	}
	for name, n := range map[string]int{"default/plain": 2, "default/keyed": 1, "default/cond": 3, "default/cors": 4, "default/body": 3, "default/script": 1, "": 0, "-": 0} {
		if counted[name] != n {
			t.Errorf("usage of %q: %d lines, want %d", name, counted[name], n)
		}
	}
}
