package render

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
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
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/flexgw/flexgw/e2e/ports"
	"github.com/flexgw/flexgw/schema/ir"
)

// serve runs a real Envoy on a static form until the test ends.
func serve(t *testing.T, m *bootstrapv3.Bootstrap, addr string) {
	t.Helper()
	path := envoyPath(t)
	b, err := JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	cmd := exec.Command(path, "-c", name, "--log-level", "warning", "--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "20")
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
	ports.Wait(t, addr)
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
	up, addr, dir := echo(t), ports.Addr(t), t.TempDir()
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
		{name: "forwarded", method: "GET", path: "/plain/x", status: 200, has: "GET /x", hasNot: "X-Flexgw"},
		{name: "no envoy headers", method: "GET", path: "/plain", status: 200, hasNot: "X-Envoy"},
		{name: "unmatched", method: "GET", path: "/nothing", status: 404},
		{name: "outbound credential", method: "GET", path: "/keyed", status: 200, has: "X-Api-Key: s3cr3t"},
		{name: "condition does not hold", method: "GET", path: "/cond", status: 200, has: "X-A: 1\r\nX-B: 2"},
		{name: "condition holds", method: "POST", path: "/cond", status: 401, has: `{"error":"100% 'no'"}`},
		{name: "condition holds, credentials", method: "POST", path: "/cond", headers: []string{good}, status: 200, has: "X-B: 2"},
		{name: "another origin", method: "GET", path: "/cors", headers: []string{"Origin: https://evil.example"}, status: 401},
		{name: "this origin", method: "GET", path: "/cors", headers: []string{"Origin: https://a.example", good}, status: 200, has: "GET /"},
		{name: "preflight", method: "OPTIONS", path: "/cors", headers: []string{"Origin: https://a.example", "Access-Control-Request-Method: GET"}, status: 200, hasNot: "OPTIONS"},
		{name: "base path is not a prefix", method: "GET", path: "/corsx", status: 404},
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
		if c.name == "this origin" && a.header.Get("Access-Control-Allow-Origin") != "https://a.example" {
			t.Errorf("%s: %v", c.name, a.header)
		}
		if c.name == "condition holds" && (a.header.Get("Content-Type") != errorType || a.header.Get("X-Why") != "50%") {
			t.Errorf("%s: %v", c.name, a.header)
		}
	}
	want := map[string]int{"default/plain": 2, "default/keyed": 1, "default/cond": 3, "default/cors": 3, "default/body": 3, "default/script": 1, "default/answer": 2, "": 2}
	total := 0
	for _, n := range want {
		total += n
	}
	counted := map[string]int{}
	for _, line := range lines(t, usage, total) {
		parts := strings.Split(line, " ")
		if len(parts) != 4 || len(parts[0]) != 13 || len(parts[1]) != 3 || len(parts[3]) != 36 {
			t.Errorf("usage line %q", line)
			continue
		}
		counted[parts[2]]++
	}
	for name, n := range want {
		if counted[name] != n {
			t.Errorf("usage of %q: %d lines, want %d", name, counted[name], n)
		}
	}
}

// lines waits until Envoy has written so many lines, which it does now and then, and returns all.
func lines(t *testing.T, path string, n int) []string {
	t.Helper()
	for late := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' }); len(all) >= n && bytes.HasSuffix(b, []byte("\n")) || time.Now().After(late) {
			return all
		}
	}
}

// TestSharedScopeOnEnvoy: APIs that share a scope keep their own chains.
func TestSharedScopeOnEnvoy(t *testing.T) {
	t.Parallel()
	envoyPath(t)
	up, addr, dir := echo(t), ports.Addr(t), t.TempDir()
	s := settings()
	s.RemoveServerHeader = true
	u := service(s, "echo", "http", up.Addr().String(), up.Port())
	g := gateway(s, []*ir.Upstream{u}, listen(addr,
		api(s, "cors", "/api/cors", u, bind("cors", "c", pair{"", "https://a.example"}), bind("auth", "auth", pair{"alice", aliceHash}),
			bind("inject", "i", pair{"x-a", "cors"}, method("GET"))),
		api(s, "open", "/api/open", u, bind("inject", "i", pair{"x-a", "open"})),
		api(s, "none", "/api/none", u)))
	res, l := Render(g, fakes(), Options{Files: dir}, nil)
	if len(l) > 0 {
		t.Fatal(l)
	}
	n := 0
	res.Each(ScopeType, func(*Resource) { n++ })
	if n != 1 {
		t.Fatalf("%d scopes, want a shared one", n)
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n", EnforceSocket: dir + "/e", AdminSocket: dir + "/a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, m, addr)
	for _, c := range []struct {
		path, origin, auth string
		status             int
		has, hasNot        string
	}{
		{path: "/api/cors/x", status: 401},
		{path: "/api/cors/x", origin: "https://evil.example", status: 401},
		{path: "/api/cors/x", origin: "https://a.example", auth: "Basic YWxpY2U6cGFzc3dvcmQ=", status: 200, has: "X-A: cors"},
		{path: "/api/open/x", origin: "https://evil.example", status: 200, has: "X-A: open"},
		{path: "/api/none/x", status: 200, hasNot: "X-A"},
		{path: "/api/other", status: 404},
		{path: "/api", status: 404},
	} {
		var headers []string
		if c.origin != "" {
			headers = append(headers, "Origin: "+c.origin)
		}
		if c.auth != "" {
			headers = append(headers, "Authorization: "+c.auth)
		}
		a := request(t, "GET", "http://"+addr+c.path, "", headers...)
		if a.status != c.status || !strings.Contains(a.body, c.has) || c.hasNot != "" && strings.Contains(a.body, c.hasNot) {
			t.Errorf("%+v: %d %v\n%s", c, a.status, a.header, a.body)
		}
		if got := a.header.Get("Server"); got != "" {
			t.Errorf("%+v: server %q", c, got)
		}
	}
}

// TestLostChainOnEnvoy: Envoy takes a misspelt slot without a word, and the guard turns the missing chain into a 403.
func TestLostChainOnEnvoy(t *testing.T) {
	t.Parallel()
	envoyPath(t)
	up, addr, dir := echo(t), ports.Addr(t), t.TempDir()
	s := settings()
	u := service(s, "echo", "http", up.Addr().String(), up.Port())
	g := gateway(s, []*ir.Upstream{u}, listen(addr, api(s, "lost", "/lost", u), api(s, "kept", "/kept", u)))
	res, l := Render(g, fakes(), Options{Files: dir}, nil)
	if len(l) > 0 {
		t.Fatal(l)
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n", EnforceSocket: dir + "/e", AdminSocket: dir + "/a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	name := `"name": "` + addr[strings.LastIndexByte(addr, ':')+1:] + `/lost"`
	before, after, ok := strings.Cut(string(b), name)
	if !ok {
		t.Fatalf("no scope lost in\n%s", b)
	}
	broken := &bootstrapv3.Bootstrap{}
	text := before + name + strings.Replace(after, "flex.chain.0", "flex.chian.0", 1)
	if err := protojson.Unmarshal([]byte(text), broken); err != nil {
		t.Fatal(err)
	}
	serve(t, broken, addr)
	for path, status := range map[string]int{"/lost": 403, "/kept": 200, "/none": 404} {
		if a := request(t, "GET", "http://"+addr+path, ""); a.status != status {
			t.Errorf("%s: %d, want %d\n%s", path, a.status, status, a.body)
		}
	}
}

// TestConnectionsOnEnvoy: TLS in, h2 out, PROXY headers, websockets.
func TestConnectionsOnEnvoy(t *testing.T) {
	t.Parallel()
	envoyPath(t)
	addr, dir := ports.Addr(t), t.TempDir()
	s := settings()
	s.ProxyProtocol = true
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Proto, r.Header.Get("X-Forwarded-For"))
	}))
	h2.Config.Protocols = &http.Protocols{}
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Start()
	t.Cleanup(h2.Close)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Proto, r.TLS.ServerName) }))
	t.Cleanup(secure.Close)
	ws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		_, _ = io.CopyN(c, rw, 4)
	}))
	t.Cleanup(ws.Close)
	to := func(name, scheme string, srv *httptest.Server, bs ...*ir.Binding) *ir.Upstream {
		a := netip.MustParseAddrPort(srv.Listener.Addr().String())
		return service(s, name, scheme, a.Addr().String(), a.Port(), bs...)
	}
	up := []*ir.Upstream{to("h2", "h2", h2), to("skip", "https", secure, bind("tls-out", "skip", pair{"skip", ""})), to("untrusted", "https", secure), to("ws", "http", ws)}
	l := listen(addr, api(s, "h2", "/h2", up[0]), api(s, "skip", "/skip", up[1]), api(s, "untrusted", "/untrusted", up[2]), api(s, "ws", "/ws", up[3]))
	cert, key := selfSigned(t)
	l.TLS = bind("tls", "port", pair{cert, key})
	res, ds := Render(gateway(s, up, l), fakes(), Options{Files: dir}, nil)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n", EnforceSocket: dir + "/e", AdminSocket: dir + "/a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, m, addr)
	get := func(path, extra string) *bufio.Reader {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprint(c, "PROXY TCP4 203.0.113.7 127.0.0.1 4321 443\r\n")
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		fmt.Fprintf(tc, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, extra)
		return bufio.NewReader(tc)
	}
	for path, want := range map[string]string{"/h2": "200 HTTP/2.0 203.0.113.7", "/skip": "200 HTTP/1.1 ", "/untrusted": "503 "} {
		a, err := http.ReadResponse(get(path, "Connection: close\r\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(a.Body)
		if got := fmt.Sprint(a.StatusCode, " ", string(b)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	r := get("/ws", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\nping")
	if a, err := http.ReadResponse(r, nil); err != nil || a.StatusCode != 101 {
		t.Fatalf("%v %v", a, err)
	}
	if b, err := r.Peek(4); err != nil || string(b) != "\r\npi" && string(b) != "ping" {
		t.Errorf("%q %v", b, err)
	}
}

// selfSigned makes a certificate and its key, as PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kd, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kd}))
}
