package e2e

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// headers is an upstream that answers with some headers of its own and says in x-got-… which ones it got.
var headers = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	for name, values := range r.Header {
		w.Header()["X-Got-"+name] = values
	}
	w.Header().Add("Access-Control-Allow-Origin", "https://service.example")
	w.Header().Add("X-Tag", "service")
	w.Header().Set("X-Powered-By", "service")
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Language", "de")
	w.Write([]byte("hello"))
})

func TestHeaderInjection(t *testing.T) {
	t.Parallel()
	g := start(t, `
-- gateway.yaml --
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders
spec:
  address: http://0.0.0.0:8081
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - config: {}
  policies:
    - policyRef:
        name: header-injection-flex
      config:
        inboundHeaders:
          - key: X-Tag
            value: 100% %REQ(x-secret)%
          - key: content-type
            value: text/x
        outboundHeaders:
          - key: x-tag
            value: gateway
          - key: access-control-allow-origin
            value: https://gateway.example
    - policyRef:
        name: header-injection-flex
      config:
        inboundHeaders:
          - key: "#['x-' ++ attributes.headers['x-name']]"
            value: "#[upper(attributes.queryParams.q default 'none')]"
        outboundHeaders:
          - key: x-path
            value: "#[attributes.requestPath ++ ' ' ++ attributes.statusCode]"
          - key: x-query
            value: "#[attributes.queryParams.q default '']"
`, withUpstream(9001, headers))

	a := g.get(8081, "/a?q=b%0d%0ax-evil:%201", "x-tag: client", "x-secret: s", "x-name: dynamic", "content-type: text/plain")
	got := map[string][]string{}
	for _, name := range []string{"X-Got-X-Tag", "X-Got-Content-Type", "X-Got-X-Dynamic", "X-Tag", "Access-Control-Allow-Origin", "X-Path", "X-Query", "X-Evil"} {
		got[name] = a.Header[name]
	}
	want := map[string][]string{
		"X-Got-X-Tag": {"client", "100% %REQ(x-secret)%"}, "X-Got-Content-Type": {"text/x"}, "X-Got-X-Dynamic": {"BX-EVIL: 1"},
		"X-Tag": {"service", "gateway"}, "Access-Control-Allow-Origin": {"https://gateway.example"}, "X-Path": {"/a 200"}, "X-Query": {"bx-evil: 1"}, "X-Evil": nil,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("status %d, headers (-want +got):\n%s", a.Status, d)
	}
	if a := g.get(8081, "/a"); a.Status != 500 || a.Header.Get("content-type") != "application/json; charset=UTF-8" {
		t.Errorf("an expression that fails: got %d %q, want 500", a.Status, a.Body)
	}
	if a := g.get(8081, "/a", "x-name: flexgw-ip"); a.Status != 500 {
		t.Errorf("a name that is the gateway's own: got %d, want 500", a.Status)
	}
}

func TestHeaderRemoval(t *testing.T) {
	t.Parallel()
	g := start(t, `
-- gateway.yaml --
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: some
spec:
  address: http://0.0.0.0:8081/some
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - config: {}
  policies:
    - policyRef:
        name: header-removal-flex
      config:
        inboundHeaders: [X-Debug, "x-internal-.*", "content-.*", host]
        outboundHeaders: ["x-powered-by|content-(type|language)"]
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: every
spec:
  address: http://0.0.0.0:8081/every
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - config: {}
  policies:
    - policyRef:
        name: header-removal-flex
      config:
        inboundHeaders: [".*"]
        outboundHeaders: [".*"]
`, withUpstream(9001, headers))

	sent := []string{"x-debug: 1", "X-Internal-User: u", "x-internal: stays", "content-type: a/b", "content-language: de", "accept: */*", "date: now"}
	a := g.get(8081, "/some/a", sent...)
	if a.Status != 200 || a.Body != "hello" {
		t.Fatalf("got %d %q", a.Status, a.Body)
	}
	for name, want := range map[string]string{
		"x-got-x-debug": "", "x-got-x-internal-user": "", "x-got-x-internal": "stays", "x-got-content-type": "a/b", "x-got-content-language": "",
		"x-got-accept": "*/*", "x-powered-by": "", "content-type": "text/plain", "content-language": "", "x-tag": "service",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	a = g.get(8081, "/every/a", sent...)
	if a.Status != 200 || a.Body != "hello" {
		t.Fatalf("everything removed: got %d %q", a.Status, a.Body)
	}
	for _, name := range []string{"X-Tag", "Content-Language", "X-Powered-By", "X-Got-X-Internal"} {
		if got, ok := a.Header[name]; ok {
			t.Errorf("everything removed: %s: %q is still there", name, got)
		}
	}
	if got := a.Header.Get("content-type"); got != "text/plain" {
		t.Errorf("everything removed: content-type: got %q", got)
	}
}
