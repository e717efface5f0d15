package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/render/match"
)

// raw sends a request line as it is, which net/http would not. Headers are "name: value" lines.
func (g *gateway) raw(method string, port int, target string, headers ...string) answer {
	g.t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[port]))
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	host := "Host: gateway.example\r\n"
	if strings.Contains(strings.Join(headers, "\n"), "Host:") {
		host = ""
	}
	lines := strings.Join(append(headers, "Connection: close"), "\r\n")
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\n%s%s\r\n\r\n", method, target, host, lines)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// forwarded is the target that the upstream saw, or the status that Envoy answered with.
func (g *gateway) forwarded(port int, target string, headers ...string) string {
	g.t.Helper()
	a := g.raw("GET", port, target, headers...)
	if a.Status != 200 {
		return fmt.Sprint(a.Status)
	}
	return a.got(g.t).Target
}

type object map[string]any

// declaration is an ApiInstance with one service and one route; rule is a JSON object or nil.
func declaration(name, address string, routes ...object) object {
	return object{
		"apiVersion": "gateway.mulesoft.com/v1alpha1",
		"kind":       "ApiInstance",
		"metadata":   object{"name": name},
		"spec": object{
			"address":  address,
			"services": object{"upstream": object{"address": "http://127.0.0.1:9001", "routes": routes}},
		},
	}
}

func route(rule object, dest string) object {
	config := object{}
	if dest != "" {
		config["destinationPath"] = dest
	}
	r := object{"config": config}
	if rule != nil {
		r["rules"] = []object{rule}
	}
	return r
}

func documents(t *testing.T, list ...object) string {
	t.Helper()
	b, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return "-- gateway.json --\n" + string(b) + "\n"
}

// TestPathVectors sends the path vectors of the product's documentation (the first 22) and ours through a real Envoy.
func TestPathVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../render/testdata/paths.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors [][5]string // base path, path rule, destination path, request, and the path that is forwarded or 404
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	ports := map[string]int{}
	var list []object
	for _, v := range vectors {
		base, rule, dest := v[0], v[1], v[2]
		key := strings.Join(v[:3], " ")
		if ports[key] != 0 {
			continue
		}
		ports[key] = 8100 + len(ports)
		var matches object
		if rule != "" {
			matches = object{"path": rule}
		}
		list = append(list, declaration(fmt.Sprintf("api%d", len(ports)), fmt.Sprintf("http://0.0.0.0:%d%s", ports[key], base), route(matches, dest)))
	}
	g := start(t, documents(t, list...))
	for _, v := range vectors {
		if got := g.forwarded(ports[strings.Join(v[:3], " ")], v[3]); got != v[4] {
			t.Errorf("base %q, rule %q, destination %q, request %q: forwarded as %s, want %s", v[0], v[1], v[2], v[3], got, v[4])
		}
	}
}

// TestOddPaths: whatever a client writes, the scope that is chosen, the route that is matched and the path that is forwarded
// are those of one normal form.
func TestOddPaths(t *testing.T) {
	t.Parallel()
	list := []object{
		declaration("foo", "http://0.0.0.0:8081/api/foo", route(nil, "")),
		declaration("orders", "http://0.0.0.0:8081/orders", route(object{"path": "/o(/.*)"}, "/v2")),
		declaration("semi", "http://0.0.0.0:8081/x;v=1", route(nil, "")),
		declaration("deep", "http://0.0.0.0:8081/deep/a/b/c/d/e", route(nil, "/deep")),
		declaration("all", "http://0.0.0.0:8082/", route(nil, "")),
	}
	for i := range 12 {
		list = append(list, declaration(fmt.Sprintf("r%d", i), fmt.Sprintf("http://0.0.0.0:8081/api/v1/r%d", i), route(nil, fmt.Sprintf("/r%d", i))))
	}
	g := start(t, documents(t, list...))
	for _, c := range []struct{ request, want string }{
		{"/api/foo/a//b", "/a/b"},
		{"//api//foo//a", "/a"},
		{"/api/foo/%2e%2e/foo/x", "/x"},
		{"/api/foo/../../orders/o/x", "/v2/x"},
		{"/api/foo/..;/foo/x", "/x"},
		{`/api\foo\x`, "/x"},
		{"/api/%66oo/%41", "/A"},
		{"/api/foo/%2F..%2fetc%5c", "/%2F..%2fetc%5c"},
		{"/api/foo/%C3%A9%20%3f", "/%C3%A9%20%3f"},
		{"/api/foo/x?/../../orders//", "/x?/../../orders//"},
		{"/api/foo?x=/api/v1/r3/", "/?x=/api/v1/r3/"},
		{"/api/foo/", "/"},
		{"/api/foo", "/"},
		{"/api/foox", "404"},
		{"/api/foo;v=1/x", "404"},
		{"/api/foo%2Fx", "404"},
		{"/API/foo", "404"},
		{"/api", "404"},
		{"/api/", "404"},
		{"/api/v1", "404"},
		{"/api/v1/r3", "/r3/"},
		{"/api/v1/r3/x", "/r3/x"},
		{"/api/v1/r11/x", "/r11/x"},
		{"/api/v1/r12/x", "404"},
		{"/x;v=1/y", "/y"},
		{"/x/y", "404"},
		{"/deep/a/b/c/d/e/f", "/deep/f"},
		{"/deep/a/b/c/d", "404"},
		{"/orders/o", "404"},
		{"/", "404"},
		{"/api/foo/%00", "400"},
		{"/api/foo/x#y", "400"},
	} {
		if got := g.forwarded(8081, c.request); got != c.want {
			t.Errorf("%s: forwarded as %s, want %s", c.request, got, c.want)
		}
	}

	for _, spoof := range [][]string{
		{"x-flexgw-scope: 8081/orders/////", "X-Flexgw-Scope: 8081/orders/////"},
		{"x-flexgw-scope2: 8081/api/v1/r3/////", "x-flexgw-scope3: 8081/api/v1/r3/////", "x-flexgw-scope4: 8081/a/b/c/d/////"},
	} {
		a := g.raw("GET", 8081, "/api/foo/x", spoof...)
		if a.Status != 200 || a.got(t).Target != "/x" {
			t.Errorf("with %v: %d %s", spoof, a.Status, a.Body)
			continue
		}
		for name := range a.got(t).Headers {
			if strings.HasPrefix(name, "x-flexgw") || strings.HasPrefix(name, "x-envoy") {
				t.Errorf("the upstream sees %s", name)
			}
		}
	}

	// Base paths are brought into the same form, but for the trailing slash and the case of escapes.
	for _, p := range []string{"/a\"<>^`{|}b", "/!$&'()*+,:;=@[]", "/a;/b", "/a/..;x=1/b", "/a/.;/b", "/a/...", "/..a", "/../a", "/a//../b", "/a/b/..//c",
		"/%2541", "/a\\b\\..\\c", "/a/%5C../b", "/a/..%2F/b", "/a/..%3B/b", "/a/%2f/../b", "/%2D%2E%5F%7E%30", "/.well-known/x"} {
		if got, want := g.forwarded(8082, p), match.Normal(p); got != want {
			t.Errorf("Envoy's form of %s is %s, ours %s", p, got, want)
		}
	}
}

func TestRuleConditions(t *testing.T) {
	t.Parallel()
	g := start(t, documents(t, declaration("rules", "http://0.0.0.0:8081/c",
		route(object{"path": "/m", "methods": "GET|POST"}, "/method"),
		route(object{"path": "/h", "host": "stay[.]example|[a-z]+"}, "/host"),
		route(object{"path": "/x", "headers": object{"X-Channel": "mobile|kiosk", "x-any": ".*"}}, "/header"),
		route(object{"path": "/u", "headers": object{"x-name": "(?i)é[à-ü]+|日."}}, "/utf8"),
	)))
	for _, c := range []struct {
		method, path string
		headers      []string
		want         string
	}{
		{"GET", "/c/m", nil, "/method/m"},
		{"POST", "/c/m", nil, "/method/m"},
		{"PUT", "/c/m", nil, "404"},
		{"GET", "/c/h", []string{"Host: stay.example"}, "/host/h"},
		{"GET", "/c/h", []string{"Host: stay.example:8081"}, "/host/h"},
		{"GET", "/c/h", []string{"Host: stay.example.org"}, "404"},
		{"GET", "/c/h", []string{"Host: abc:1"}, "/host/h"},
		{"GET", "/c/x", []string{"x-channel: kiosk", "x-any: "}, "/header/x"},
		{"GET", "/c/x", []string{"x-channel: nope", "x-channel: kiosk", "x-any: 1"}, "/header/x"},
		{"GET", "/c/x", []string{"x-channel: kiosk2", "x-any: 1"}, "404"},
		{"GET", "/c/x", []string{"x-channel: kiosk"}, "404"},
		{"GET", "/c/u", []string{"x-name: ÉÜ"}, "/utf8/u"},
		{"GET", "/c/u", []string{"x-name: 日x"}, "/utf8/u"},
		{"GET", "/c/u", []string{"x-name: e"}, "404"},
	} {
		a := g.raw(c.method, 8081, c.path, c.headers...)
		got := fmt.Sprint(a.Status)
		if a.Status == 200 {
			got = a.got(t).Target
		}
		if got != c.want {
			t.Errorf("%s %s %v: %s, want %s", c.method, c.path, c.headers, got, c.want)
		}
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	split := func(name, base string, dests ...string) []object {
		docs := []object{{
			"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "ApiInstance", "metadata": object{"name": name},
			"spec": object{"address": "http://0.0.0.0:8081" + base},
		}}
		var routes []object
		for i, d := range dests {
			routes = append(routes, object{"weight": []int{5, 3, 2}[i], "destinationPath": d, "destinationRef": object{"name": fmt.Sprintf("%s%d", name, i)}})
			docs = append(docs, object{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "Service",
				"metadata": object{"name": fmt.Sprintf("%s%d", name, i)}, "spec": object{"address": fmt.Sprintf("http://127.0.0.1:%d", 9001+i)}})
		}
		return append(docs, object{
			"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "PolicyBinding", "metadata": object{"name": name + "-split"},
			"spec": object{"targetRef": object{"kind": "ApiInstance", "name": name}, "policyRef": object{"name": "route-weighted"},
				"rules": []object{{"path": "/k(/.*)?"}}, "config": object{"routes": routes}},
		})
	}
	g := start(t, documents(t, append(split("same", "/same", "/d", "/d", "/d"), split("other", "/other", "/d", "", "/e/")...)...))
	const n = 1500
	for _, c := range []struct {
		base  string
		dests []string
	}{{"/same", []string{"/d", "/d", "/d"}}, {"/other", []string{"/d", "", "/e"}}} {
		count := [3]int{}
		for range n {
			x := g.get(8081, c.base+"/k/x?q").got(t)
			i := x.Upstream - 9001
			count[i]++
			if x.Target != c.dests[i]+"/x?q" || !strings.HasSuffix(x.Host, fmt.Sprint(":", g.ports[x.Upstream])) {
				t.Fatalf("%s: upstream %d got %s for %s", c.base, i, x.Target, x.Host)
			}
		}
		for i, share := range []float64{0.5, 0.3, 0.2} {
			if got := float64(count[i]) / n; got < share-0.06 || got > share+0.06 {
				t.Errorf("%s: upstream %d got %f of the requests, want %f", c.base, i, got, share)
			}
		}
	}
}
