package e2e

import "testing"

const basicAuthGateway = `
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
        name: http-basic-authentication-flex
      config:
        username: alice
        password: $PASSWORD
    - policyRef:
        name: header-injection-flex
      config:
        inboundHeaders:
          - key: x-user
            value: "#[authentication.principal]"
        outboundHeaders:
          - key: x-served
            value: "yes"
`

func TestBasicAuthentication(t *testing.T) {
	t.Parallel()
	g := start(t, basicAuthGateway, withEnv("PASSWORD=pässword: with colon"))

	right := "authorization: Basic " + base64Of("alice:pässword: with colon")
	a := g.get(8081, "/a", right)
	if a.Status != 200 {
		t.Fatalf("right credentials: got %d %s, want 200", a.Status, a.Body)
	}
	up := a.got(t)
	if got := up.Headers["authorization"]; len(got) != 1 || "authorization: "+got[0] != right {
		t.Errorf("the service got the authorization %q, want the client's", got)
	}
	if got := up.Headers["x-user"]; len(got) != 1 || got[0] != "alice" {
		t.Errorf("authentication.principal: got %q, want alice", got)
	}
	if got := a.Header.Get("x-served"); got != "yes" {
		t.Errorf("x-served: got %q", got)
	}

	const missing = `{"error":"Registered authentication is set to HTTP basic authentication but there was no security context on the session."}`
	const wrong = `{"error":"Authentication denied: the user name or the password is wrong."}`
	for _, tc := range []struct{ name, header, body string }{
		{"none", "x-a: b", missing},
		{"another scheme", "authorization: Bearer " + base64Of("alice:pässword: with colon"), missing},
		{"a wrong password", "authorization: Basic " + base64Of("alice:secret"), wrong},
		{"an unknown user", "authorization: Basic " + base64Of("bob:pässword: with colon"), wrong},
		{"no colon", "authorization: Basic " + base64Of("alice"), wrong},
		{"not base64", "authorization: Basic !", wrong},
	} {
		a := g.get(8081, "/a", tc.header)
		if a.Status != 401 || a.Body != tc.body || a.Header.Get("www-authenticate") != `Basic realm="mule-realm"` {
			t.Errorf("%s: got %d %q %q", tc.name, a.Status, a.Header.Get("www-authenticate"), a.Body)
		}
		if got := a.Header.Get("content-type"); got != "application/json; charset=UTF-8" {
			t.Errorf("%s: content-type %q", tc.name, got)
		}
		if got := a.Header.Get("x-served"); got != "" {
			t.Errorf("%s: a later policy added x-served: %s", tc.name, got)
		}
	}
}

func TestBasicAuthenticationByRules(t *testing.T) {
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
        name: http-basic-authentication-flex
      rules:
        - methods: POST|PUT
      config:
        username: alice
        password: secret
    - policyRef:
        name: header-injection-flex
      rules:
        - path: /named/.*
      config:
        inboundHeaders:
          - key: x-user
            value: "#[authentication.principal default 'nobody']"
        outboundHeaders:
          - key: x-named
            value: "yes"
`)
	user := "authorization: Basic " + base64Of("alice:secret")
	for _, tc := range []struct {
		method, path string
		headers      []string
		status       int
		user, named  string
	}{
		{"GET", "/a", nil, 200, "", ""},
		{"GET", "/named/a", nil, 200, "nobody", "yes"},
		{"POST", "/a", nil, 401, "", ""},
		{"POST", "/a", []string{user}, 200, "", ""},
		{"POST", "/named/a", []string{user}, 200, "alice", "yes"},
		{"POST", "/named/a", nil, 401, "", ""},
	} {
		a := g.send(tc.method, 8081, tc.path, tc.headers...)
		if a.Status != tc.status || a.Header.Get("x-named") != tc.named {
			t.Errorf("%s %s %v: got %d, x-named %q, want %d, %q", tc.method, tc.path, tc.headers, a.Status, a.Header.Get("x-named"), tc.status, tc.named)
			continue
		}
		if tc.status != 200 {
			continue
		}
		var user string
		if got := a.got(t).Headers["x-user"]; len(got) > 0 {
			user = got[0]
		}
		if user != tc.user {
			t.Errorf("%s %s %v: x-user %q, want %q", tc.method, tc.path, tc.headers, user, tc.user)
		}
	}
}
