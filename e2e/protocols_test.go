package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

const protocolsAPI = `
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
            - path: (/.*)?
          config:
            destinationPath: /up
  policies:
    - policyRef:
        name: header-injection-flex
        namespace: default
      config:
        outboundHeaders:
          - key: x-version
            value: "1"
`

// protocolsVersion is the declaration with another version in its header.
func protocolsVersion(v int) string {
	text := strings.TrimPrefix(protocolsAPI, "\n-- api.yaml --\n")
	return strings.Replace(text, `value: "1"`, fmt.Sprintf("value: %q", fmt.Sprint(v)), 1)
}

// converse sends text on one connection and reads one response.
func (g *gateway) converse(port int, text string) (*http.Response, string) {
	g.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[port]))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		g.t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		g.t.Fatalf("%q: %v", text, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatalf("%q: %v", text, err)
	}
	return res, string(b)
}

// socket is an upstream that switches to a protocol which echoes lines; the first line it sends is the path it was asked for.
func socket(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		io.WriteString(w, "plain "+r.RequestURI)
		return
	}
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s\n", r.RequestURI)
	rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		rw.WriteString("echo " + line)
		rw.Flush()
	}
}

// TestWebsocket holds one connection through edits of its own API: a policy edit is an edit of a scope, not of a listener.
func TestWebsocket(t *testing.T) {
	t.Parallel()
	g := start(t, protocolsAPI, withUpstream(9001, http.HandlerFunc(socket)))
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[8081]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /shop/live?x=1 HTTP/1.1\r\nHost: edge.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	conn.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 101 {
		t.Fatalf("status %d, want 101", res.StatusCode)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "/up/live?x=1\n" {
		t.Fatalf("the upstream was asked for %q, %v", line, err)
	}
	talk := func(word string) {
		t.Helper()
		fmt.Fprintln(conn, word)
		if line, err := r.ReadString('\n'); err != nil || line != "echo "+word+"\n" {
			t.Fatalf("%q came back as %q, %v", word, line, err)
		}
	}
	talk("first")
	for v := 2; v < 8; v++ {
		g.write("api.yaml", protocolsVersion(v))
		harness.Until(t, func() error {
			if got := g.get(8081, "/shop/x").Header.Get("x-version"); got != fmt.Sprint(v) {
				return fmt.Errorf("version %q is served, not %d", got, v)
			}
			return nil
		})
		talk(fmt.Sprint("after edit ", v))
	}
	g.write("other.yaml", strings.NewReplacer("name: shop", "name: other", ":8081/shop", ":8081/other/deep").Replace(protocolsVersion(1)))
	harness.Until(t, func() error {
		if a := g.get(8081, "/other/deep/x"); a.Status != 200 {
			return fmt.Errorf("status %d", a.Status)
		}
		return nil
	})
	talk("after a new neighbour")
}

// TestHTTP2Upstream speaks h2 without TLS to the upstream whatever the client speaks, trailers (gRPC's status) included.
func TestHTTP2Upstream(t *testing.T) {
	t.Parallel()
	text := strings.Replace(protocolsAPI, "http://127.0.0.1:9001", "h2://127.0.0.1:9001", 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "grpc-status")
		body, _ := io.ReadAll(r.Body)
		json.NewEncoder(w).Encode(got{Proto: r.Proto, Method: r.Method, Target: r.RequestURI, Body: string(body)})
		w.Header().Set("grpc-status", "7")
	})
	g := start(t, text, func(g *gateway) { g.serve(9001, &echo{h2: true, handler: h}) })
	clear := &http.Transport{Protocols: new(http.Protocols)}
	clear.Protocols.SetUnencryptedHTTP2(true)
	defer clear.CloseIdleConnections()
	for _, c := range []struct {
		proto string
		rt    http.RoundTripper
	}{{"HTTP/1.1", client.Transport}, {"HTTP/2.0", clear}} {
		req, err := http.NewRequest("POST", g.url(8081, "/shop/greeter.Hello/Say"), strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("te", "trailers")
		req.Header.Set("content-type", "application/grpc")
		res, err := (&http.Client{Transport: c.rt, Timeout: 10 * time.Second}).Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.proto, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || res.Proto != c.proto {
			t.Fatalf("%s: %s %d %v %s", c.proto, res.Proto, res.StatusCode, err, body)
		}
		x := answer{res.StatusCode, res.Header, string(body)}.got(t)
		if x.Proto != "HTTP/2.0" || x.Target != "/up/greeter.Hello/Say" || x.Body != "hello" {
			t.Errorf("%s: the upstream got %+v", c.proto, x)
		}
		if c.proto == "HTTP/2.0" && res.Trailer.Get("grpc-status") != "7" {
			t.Errorf("trailers: %v", res.Trailer)
		}
	}
}

// TestHTTPSUpstream trusts the host's bundle and holds an upstream to its name.
func TestHTTPSUpstream(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	api := func(name string, port int, host string) string {
		return fmt.Sprintf("-- %s.yaml --\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: %s\nspec:\n  address: http://0.0.0.0:8081/%s\n  services:\n    main:\n      address: https://%s:%d\n", name, name, name, host, port)
	}
	g := start(t, api("right", 9001, "localhost")+api("wrong", 9002, "localhost")+api("untrusted", 9003, "localhost")+api("address", 9004, "127.0.0.1")+api("other-address", 9005, "127.0.0.1"),
		withTLSUpstream(9001, ca.server(t, "localhost")), withTLSUpstream(9002, ca.server(t, "elsewhere.example")), withTLSUpstream(9003, stranger.server(t, "localhost")),
		withTLSUpstream(9004, ca.server(t, "127.0.0.1")), withTLSUpstream(9005, ca.server(t, "10.0.0.1")), withEnv("SSL_CERT_FILE="+ca.file(t)))
	x := g.get(8081, "/right/a").got(t)
	if x.SNI != "localhost" || x.Host != fmt.Sprintf("localhost:%d", g.ports[9001]) || x.Target != "/a" {
		t.Errorf("the upstream got %+v", x)
	}
	if a := g.get(8081, "/address/a"); a.Status != 200 || a.got(t).SNI != "" {
		t.Errorf("an upstream by address: %d %s", a.Status, a.Body)
	}
	for _, path := range []string{"/wrong/a", "/untrusted/a", "/other-address/a"} {
		if a := g.get(8081, path); a.Status != 503 {
			t.Errorf("%s: status %d, want 503: %s", path, a.Status, a.Body)
		}
	}
}

// TestIPv6 listens on and forwards to the other family, where the host has it.
func TestIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this host has no IPv6")
	}
	upstream := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+" "+r.RequestURI)
	})}}
	upstream.Start()
	defer upstream.Close()
	g := prepare(t, "")
	port := harness.FreePort(t)
	g.Put("api.yaml", fmt.Sprintf("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: six\nspec:\n  address: http://[::1]:%d/six\n  services:\n    main:\n      address: http://%s\n", port, l.Addr()))
	g.Run()
	g.WaitReady()
	res, err := client.Get(fmt.Sprintf("http://[::1]:%d/six/a", port))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if want := l.Addr().String() + " /a"; res.StatusCode != 200 || string(b) != want {
		t.Errorf("status %d, %q, want %q", res.StatusCode, b, want)
	}
}

// TestHTTP1 is what a plain client may count on.
func TestHTTP1(t *testing.T) {
	t.Parallel()
	g := start(t, protocolsAPI)
	host := "Host: edge.example\r\n"

	res, body := g.converse(8081, "POST /shop/a HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
	if x := (answer{res.StatusCode, res.Header, body}).got(t); x.Body != "hello world" {
		t.Errorf("chunks arrive as %q", x.Body)
	}
	res, body = g.converse(8081, "HEAD /shop/a HTTP/1.1\r\n"+host+"\r\n")
	if res.StatusCode != 200 || body != "" || res.ContentLength <= 0 {
		t.Errorf("HEAD: %d, length %d, %q", res.StatusCode, res.ContentLength, body)
	}

	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[8081]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST /shop/a HTTP/1.1\r\n%sExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", host)
	r := bufio.NewReader(conn)
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 100 {
		t.Fatalf("expect: %v %v", res, err)
	}
	io.WriteString(conn, "hello")
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 200 {
		t.Fatalf("after 100: %v %v", res, err)
	}

	for _, c := range []struct {
		what, request string
		status        int
	}{
		{"large headers", "GET /shop/a HTTP/1.1\r\n" + host + "x-large: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", 431},
		{"too many headers", "GET /shop/a HTTP/1.1\r\n" + host + strings.Repeat("x-many: y\r\n", 200) + "\r\n", 431},
		{"fair headers", "GET /shop/a HTTP/1.1\r\n" + host + "x-large: " + strings.Repeat("x", 30<<10) + "\r\n\r\n", 200},
		{"no host", "GET /shop/a HTTP/1.1\r\n\r\n", 400},
		{"HTTP/1.0", "GET /shop/a HTTP/1.0\r\n" + host + "\r\n", 426},
		{"both lengths", "POST /shop/a HTTP/1.1\r\n" + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"two lengths", "POST /shop/a HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
		{"a header with a space", "GET /shop/a HTTP/1.1\r\n" + host + "x a: b\r\n\r\n", 400},
		{"no HTTP", "hello\r\n\r\n", 400},
		{"CONNECT", "CONNECT example.org:443 HTTP/1.1\r\n" + host + "\r\n", 404},
		{"a fragment", "GET /shop/a#b HTTP/1.1\r\n" + host + "\r\n", 400},
		{"absolute form", "GET http://other.example/shop/a HTTP/1.1\r\n" + host + "\r\n", 200},
		{"unknown path", "GET /nowhere HTTP/1.1\r\n" + host + "\r\n", 404},
		{"another case", "GET /SHOP/a HTTP/1.1\r\n" + host + "\r\n", 404},
		{"longer segment", "GET /shopping HTTP/1.1\r\n" + host + "\r\n", 404},
		{"the root", "GET / HTTP/1.1\r\n" + host + "\r\n", 404},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 404},
	} {
		res, body := g.converse(8081, c.request)
		if res.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d: %q", c.what, res.StatusCode, c.status, body)
		}
		if c.status == 404 && body != "" {
			t.Errorf("%s: a 404 with the body %q", c.what, body)
		}
		for name := range res.Header {
			if n := strings.ToLower(name); strings.HasPrefix(n, "x-envoy-") || strings.HasPrefix(n, "x-flexgw-") {
				t.Errorf("%s: the client got %s: %s", c.what, name, res.Header.Get(name))
			}
		}
		if s := res.Header.Get("Server"); strings.Contains(strings.ToLower(s), "envoy") {
			t.Errorf("%s: the answer says server: %s", c.what, s)
		}
	}
}

// TestForwardedHeaders is what an upstream sees of the gateway's own business: its own host, and no trace of our headers.
func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	other := strings.NewReplacer("-- api.yaml --", "-- other.yaml --", "name: shop", "name: other", "/shop", "/other", "/up", "/else").Replace(protocolsAPI)
	g := start(t, protocolsAPI+other)
	a := g.get(8081, "/shop/a?b=c", "host: edge.example:1234", "x-flexgw-scope: /other", "x-flexgw-scope2: x", "x-envoy-original-path: /admin",
		"x-envoy-upstream-rq-timeout-ms: 1", "x-envoy-retry-on: 5xx", "x-envoy-expected-rq-timeout-ms: 1", "x-envoy-internal: true", "x-custom: kept")
	x := a.got(t)
	if x.Target != "/up/a?b=c" {
		t.Errorf("the header of a client moved it to %s", x.Target)
	}
	if want := fmt.Sprintf("127.0.0.1:%d", g.ports[9001]); x.Host != want {
		t.Errorf("the upstream sees host %q, want its own %q", x.Host, want)
	}
	if len(x.Headers["x-custom"]) != 1 {
		t.Errorf("a header of the client is lost: %v", x.Headers)
	}
	for name, value := range x.Headers {
		if strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "x-flexgw-") {
			t.Errorf("the upstream got %s: %s", name, value)
		}
	}
	for name, value := range a.Header {
		if n := strings.ToLower(name); strings.HasPrefix(n, "x-envoy-") || strings.HasPrefix(n, "x-flexgw-") {
			t.Errorf("the client got %s: %s", name, value)
		}
	}
}

// TestClientsCannotChooseScope has two APIs on one port: which of them a request is for says its path, and no header.
func TestClientsCannotChooseScope(t *testing.T) {
	t.Parallel()
	other := strings.NewReplacer("-- api.yaml --", "-- other.yaml --", "name: shop", "name: other", ":8081/shop", ":8081/other", "/up", "/else").Replace(protocolsAPI)
	g := start(t, protocolsAPI+other)
	for _, path := range []string{"/elsewhere", "/other/b", "/shop/b", "/", "//"} {
		for _, header := range []string{"x-envoy-original-path", "X-Envoy-Original-Path", "x-flexgw-scope", "x-flexgw-scope2", "x-forwarded-path", "x-rewrite-url", "x-original-url"} {
			for from, want := range map[string]string{"/shop/a": "/up/a", "/other/a": "/else/a"} {
				a := g.get(8081, from, header+": "+path)
				if a.Status != 200 || a.got(t).Target != want {
					t.Errorf("%s with %s: %s: status %d, %s", from, header, path, a.Status, a.Body)
				}
			}
		}
	}
}

// TestUpstreamHeadersOfOurs takes what an upstream must not say in our name out of its answer.
func TestUpstreamHeadersOfOurs(t *testing.T) {
	t.Parallel()
	g := start(t, protocolsAPI, withUpstream(9001, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "upstream/1")
		w.Header().Set("X-Kept", "yes")
		w.WriteHeader(299)
	})))
	a := g.get(8081, "/shop/a")
	if a.Status != 299 || a.Header.Get("X-Kept") != "yes" {
		t.Errorf("status %d, %v", a.Status, a.Header)
	}
	if s := a.Header.Get("Server"); strings.Contains(strings.ToLower(s), "envoy") {
		t.Errorf("server: %s", s)
	}
}

// TestDeadUpstream is 503, and the gateway goes on.
func TestDeadUpstream(t *testing.T) {
	t.Parallel()
	g := prepare(t, "")
	g.ports[9001] = harness.FreePort(t) // nobody listens
	g.write("api.yaml", protocolsVersion(1))
	g.Run()
	g.WaitReady()
	if a := g.get(8081, "/shop/a"); a.Status != 503 {
		t.Errorf("status %d, want 503", a.Status)
	}
}

// TestPortsComeAndGo adds a port, shares it and removes it while another one serves without a closed connection.
func TestPortsComeAndGo(t *testing.T) {
	t.Parallel()
	g := start(t, protocolsAPI)
	x := harness.KeepAlive(t, 2, g.url(8081, "/shop/x"))
	api := func(name, place string) string {
		return strings.NewReplacer("name: shop", "name: "+name, ":8081/shop", place, "/up", "/"+name).Replace(protocolsVersion(1))
	}
	serves := func(port int, path, target string) {
		t.Helper()
		harness.Until(t, func() error {
			a, err := g.try("GET", port, path, "")
			if err != nil {
				return err
			}
			if a.Status != 200 || a.got(t).Target != target {
				return fmt.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
			return nil
		})
	}
	for range 3 {
		g.write("second.yaml", api("second", ":8082/a/b"))
		serves(8082, "/a/b/x", "/second/x")
		g.write("third.yaml", api("third", ":8082"))
		if a := g.get(8082, "/a/b/x"); a.Status != 200 {
			t.Errorf("while a neighbour comes: %d", a.Status)
		}
		g.remove("second.yaml")
		serves(8082, "/a/b/x", "/third/a/b/x")
		g.remove("third.yaml")
		harness.Until(t, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[8082]))
			if err == nil {
				c.Close()
				return fmt.Errorf("the port is still open")
			}
			return nil
		})
	}
	x.End(t, 2)
}

// TestTLSToAnHTTPPort ends without a hang, and so does HTTP to a TLS port (TestTLSInbound has the rest).
func TestTLSToAnHTTPPort(t *testing.T) {
	t.Parallel()
	g := start(t, protocolsAPI)
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[8081]), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	if err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake with a port without TLS")
	}
	if a := g.get(8081, "/shop/a"); a.Status != 200 {
		t.Errorf("afterwards: %d", a.Status)
	}
}
