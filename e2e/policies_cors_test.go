package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const corsGateway = `
-- gateway.yaml --
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: public
spec:
  address: http://0.0.0.0:8081/public
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - config: {}
  policies:
    - policyRef:
        name: http-basic-authentication-flex
      config:
        username: alice
        password: secret
    - policyRef:
        name: cors-flex
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: groups
spec:
  address: http://0.0.0.0:8081/groups
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - rules:
            - methods: GET|POST
              path: /only/.*
        - rules:
            - path: /any/.*
  policies:
    - policyRef:
        name: cors-flex
      config:
        publicResource: false
        originGroups:
          - name: shop
            origins: [https://shop.example, "http://localhost:3000"]
            accessControlMaxAge: 600
            allowedMethods:
              - methodName: GET
                isAllowed: true
              - methodName: POST
                isAllowed: true
              - methodName: DELETE
                isAllowed: false
            headers: [Content-Type, x-request-id]
            exposedHeaders: [x-request-id, x-total]
          - name: readers
            origins: ["*"]
            allowedMethods:
              - methodName: GET
                isAllowed: true
            headers: ["*"]
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: closed
spec:
  address: http://0.0.0.0:8081/closed
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - config: {}
  policies:
    - policyRef:
        name: cors-flex
      config:
        publicResource: false
        supportCredentials: true
        originGroups:
          - origins: [https://shop.example]
`

// allowHeaders are the headers of a response by which a browser decides.
func allowHeaders(h http.Header) map[string]string {
	m := map[string]string{}
	for name, values := range h {
		if short, ok := strings.CutPrefix(strings.ToLower(name), "access-control-"); ok {
			m[short] = strings.Join(values, "|")
		}
	}
	return m
}

func TestCORS(t *testing.T) {
	t.Parallel()
	g := start(t, corsGateway, withUpstream(9001, headers))
	const (
		shop  = "origin: https://shop.example"
		other = "origin: https://other.example"
	)
	asks := func(method string, headers ...string) []string {
		return append([]string{"access-control-request-method: " + method}, headers...)
	}
	type want = map[string]string
	for _, tc := range []struct {
		name, method, path string
		headers            []string
		status             int
		served             bool
		allow              want
	}{
		{"public preflight echoes", "OPTIONS", "/public/a", asks("PUT", other, "access-control-request-headers: x-a, X-B"), 200, false,
			want{"allow-origin": "*", "allow-methods": "PUT", "allow-headers": "x-a, X-B"}},
		{"public request", "DELETE", "/public/a", []string{other, "authorization: Basic " + base64Of("alice:secret")}, 200, true, want{"allow-origin": "*"}},
		{"a later policy's refusal is marked too", "GET", "/public/a", []string{other}, 401, false, want{"allow-origin": "*"}},
		{"no origin, no cors", "GET", "/public/a", nil, 401, false, want{}},
		{"OPTIONS that asks nothing is no preflight", "OPTIONS", "/public/a", []string{other}, 401, false, want{"allow-origin": "*"}},
		{"OPTIONS without origin is no preflight", "OPTIONS", "/public/a", asks("GET"), 401, false, want{}},

		{"preflight of a named origin", "OPTIONS", "/groups/any/a", asks("POST", shop, "access-control-request-headers: content-type,X-Request-Id"), 200, false,
			want{"allow-origin": "https://shop.example", "allow-methods": "GET, POST", "allow-headers": "Content-Type, x-request-id", "max-age": "600"}},
		{"preflight where routes name other methods", "OPTIONS", "/groups/only/a", asks("POST", shop), 200, false,
			want{"allow-origin": "https://shop.example", "allow-methods": "GET, POST", "allow-headers": "Content-Type, x-request-id", "max-age": "600"}},
		{"preflight for a method that is not allowed", "OPTIONS", "/groups/any/a", asks("DELETE", shop), 200, false, want{}},
		{"preflight for a header that is not allowed", "OPTIONS", "/groups/any/a", asks("GET", shop, "access-control-request-headers: content-type, x-other"), 200, false, want{}},
		{"preflight of the rest", "OPTIONS", "/groups/any/a", asks("GET", other, "access-control-request-headers: x-whatever"), 200, false,
			want{"allow-origin": "*", "allow-methods": "GET", "allow-headers": "x-whatever", "max-age": "30"}},
		{"preflight of the rest for more", "OPTIONS", "/groups/any/a", asks("POST", other), 200, false, want{}},
		{"request of a named origin", "GET", "/groups/any/a", []string{shop}, 200, true, want{"allow-origin": "https://shop.example", "expose-headers": "x-request-id, x-total"}},
		{"HEAD goes with GET", "HEAD", "/groups/any/a", []string{shop}, 200, true, want{"allow-origin": "https://shop.example", "expose-headers": "x-request-id, x-total"}},
		{"request of the rest", "GET", "/groups/any/a", []string{other}, 200, true, want{"allow-origin": "*"}},
		{"request with a method that is not allowed", "DELETE", "/groups/any/a", []string{shop}, 200, false, want{}},
		{"the rest may not POST", "POST", "/groups/any/a", []string{other}, 200, false, want{}},
		{"no origin goes on, service's own headers stay", "DELETE", "/groups/any/a", nil, 200, true, want{"allow-origin": "https://service.example"}},
		{"no route", "GET", "/groups/none", []string{shop}, 404, false, nil},

		{"credentials name the origin", "GET", "/closed/a", []string{shop}, 200, true, want{"allow-origin": "https://shop.example", "allow-credentials": "true"}},
		{"preflight with credentials", "OPTIONS", "/closed/a", asks("PATCH", shop), 200, false,
			want{"allow-origin": "https://shop.example", "allow-credentials": "true", "allow-methods": "CONNECT, DELETE, GET, OPTIONS, PATCH, POST, PUT, TRACE", "max-age": "30"}},
		{"another origin", "GET", "/closed/a", []string{other}, 200, false, want{}},
		{"preflight of another origin", "OPTIONS", "/closed/a", asks("GET", other), 200, false, want{}},
		{"an origin is compared as a whole", "GET", "/closed/a", []string{"origin: https://shop.example.evil"}, 200, false, want{}},
	} {
		a := g.send(tc.method, 8081, tc.path, tc.headers...)
		served := a.Header.Get("x-tag") == "service"
		allow := allowHeaders(a.Header)
		if tc.allow == nil { // whether a 404 is marked depends on who shares the scope
			allow = nil
		}
		if d := cmp.Diff(tc.allow, allow); a.Status != tc.status || served != tc.served || d != "" {
			t.Errorf("%s: got %d, served %v, want %d, %v; allow headers (-want +got):\n%s", tc.name, a.Status, served, tc.status, tc.served, d)
		}
		if tc.status == 200 && !tc.served && a.Body != "" {
			t.Errorf("%s: got the body %q, want none", tc.name, a.Body)
		}
	}
}
