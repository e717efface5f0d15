package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

const tooMany = `{"error":"Too Many Requests"}`

func TestRateLimiting(t *testing.T) {
	t.Parallel()
	const hour = "rateLimits:\n  - maximumRequests: %d\n    timePeriodInMilliseconds: 3600000\n"
	limit := func(n int, more string) string { return fmt.Sprintf(hour, n) + more }
	var served atomic.Int64
	g := start(t, "\n-- gateway.yaml --\n"+
		policyAPI("shared", "rate-limiting-flex", limit(3, ""))+
		policyAPI("window", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 2\n    timePeriodInMilliseconds: 1500\n  - maximumRequests: 1000\n    timePeriodInMilliseconds: 3600000\nexposeHeaders: true\n")+
		policyAPI("header", "rate-limiting-flex", limit(1, "keySelector: \"#[attributes.headers['client_id']]\"\n"))+
		policyAPI("expression", "rate-limiting-flex", limit(1, "keySelector: \"#[attributes.method ++ attributes.queryParams.tenant]\"\nexposeHeaders: true\n"))+
		ipAPI("rules", "    - policyRef:\n        name: rate-limiting-flex\n      rules:\n        - methods: POST\n          path: /orders\n      config:\n        "+strings.ReplaceAll(limit(1, ""), "\n", "\n        ")+"\n")+
		ipAPI("login", "    - policyRef:\n        name: rate-limiting-flex\n      config:\n        "+strings.ReplaceAll(limit(2, ""), "\n", "\n        ")+
			"\n    - policyRef:\n        name: http-basic-authentication-flex\n      config: {username: alice, password: secret}\n")+
		ipAPI("a", "    []\n")+ipAPI("b", "    []\n")+`---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: everywhere
spec:
  targetRef:
    kind: Selector
    selector:
      kind: ApiInstance
  rules:
    - path: /each
  policyRef:
    name: rate-limiting-flex
  config:
    rateLimits:
      - maximumRequests: 1
        timePeriodInMilliseconds: 3600000
`, withUpstream(9001, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { served.Add(1) })))

	for _, tc := range []struct {
		name, path string
		headers    []string
		want       []int
	}{
		{"shared", "/shared", nil, []int{200, 200, 200, 429, 429}},
		{"a key", "/header", []string{"client_id: a"}, []int{200, 429}},
		{"the key in capitals", "/header", []string{"client_id: A"}, []int{200, 429}},
		{"no key", "/header", nil, []int{200, 429}},
		{"an empty key is no key", "/header", []string{"client_id: "}, []int{429}},
		{"a long key", "/header", []string{"client_id: " + strings.Repeat("x", 9000)}, []int{200, 429}},
		{"another long key", "/header", []string{"client_id: " + strings.Repeat("x", 9000) + "y"}, []int{200, 429}},
		{"expression", "/expression?tenant=a", nil, []int{200, 429}},
		{"expression, another value", "/expression?tenant=b%20c", nil, []int{200, 429}},
		{"rules, not selected", "/rules/orders", nil, []int{200, 200}},
		{"rules, selected", "POST /rules/orders", nil, []int{200, 429}},
		{"limit before login", "/login", nil, []int{401, 401, 429}},
		{"one API of a selector", "/a/each", nil, []int{200, 429}},
		{"another API of a selector", "/b/each", nil, []int{200, 429}},
	} {
		method, path, ok := strings.Cut(tc.path, " ")
		if !ok {
			method, path = "GET", tc.path
		}
		for i, want := range tc.want {
			before := served.Load()
			a := g.send(method, 8081, path, tc.headers...)
			if a.Status != want {
				t.Errorf("%s, request %d: got %d %s, want %d", tc.name, i+1, a.Status, a.Body, want)
				continue
			}
			if want == 429 && (a.Body != tooMany || a.Header.Get("content-type") != "application/json; charset=UTF-8" || a.Header.Get("retry-after") != "" ||
				a.Header.Get("x-envoy-ratelimited") != "" || served.Load() != before) {
				t.Errorf("%s, request %d: got %q %v, %d served", tc.name, i+1, a.Body, a.Header, served.Load()-before)
			}
			if exposed := a.Header.Get("x-ratelimit-limit") != ""; exposed != (tc.name == "expression" || tc.name == "expression, another value") {
				t.Errorf("%s, request %d: x-ratelimit headers exposed: %v", tc.name, i+1, exposed)
			}
		}
	}

	// A window begins with its first request: the three of it are asked for until they were answered before it can have ended.
	const period = 1500
	var last answer
	for asked := false; !asked; {
		began := time.Now()
		var wrong []string
		for i, want := range []struct {
			status    int
			remaining string
		}{{200, "1"}, {200, "0"}, {429, "0"}} {
			last = g.get(8081, "/window")
			if got := last.Header.Get("x-ratelimit-remaining"); last.Status != want.status || got != want.remaining || last.Header.Get("x-ratelimit-limit") != "2" {
				wrong = append(wrong, fmt.Sprintf("window, request %d: got %d %v, want %d and %s left of 2", i+1, last.Status, last.Header, want.status, want.remaining))
			}
		}
		if asked = time.Since(began) < period*time.Millisecond; asked && len(wrong) > 0 {
			t.Error(strings.Join(wrong, "\n"))
		} else if !asked {
			time.Sleep(period * time.Millisecond)
		}
	}
	reset, err := strconv.Atoi(last.Header.Get("x-ratelimit-reset"))
	if err != nil || reset <= 0 || reset > period {
		t.Fatalf("x-ratelimit-reset: got %q, want milliseconds up to %d", last.Header.Get("x-ratelimit-reset"), period)
	}
	time.Sleep(time.Duration(reset) * time.Millisecond)
	if a := g.get(8081, "/window"); a.Status != 200 || a.Header.Get("x-ratelimit-remaining") != "1" {
		t.Errorf("after the window: got %d %v, want 200 and a new window", a.Status, a.Header)
	}
}

// A daemon that dies and comes back delays requests, and loses none; but those that it keeps waiting for as long as the policy's page says.
func TestRateLimitingOverARestart(t *testing.T) {
	t.Parallel()
	g := start(t, "\n-- gateway.yaml --\n"+policyAPI("busy", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 1000000\n    timePeriodInMilliseconds: 3600000\n"))
	const clients = 8
	x := patient(t, clients, g.url(8081, "/busy"))
	harness.Until(t, func() error {
		if n := x.Requests.Load(); n < 100 {
			return fmt.Errorf("only %d requests", n)
		}
		return nil
	})
	before := x.Requests.Load()
	g.Kill()
	g.Run()
	harness.Until(t, func() error {
		if n := x.Requests.Load() - before; n < 200 {
			return fmt.Errorf("only %d requests since the daemon was killed", n)
		}
		return nil
	})
	x.End(t, clients)
}

// patient is harness.KeepAlive for an API whose requests wait for the daemon: where it is away for longer than they wait, they are refused.
func patient(t testing.TB, n int, url string) *harness.Load {
	t.Helper()
	return harness.Each(t, n, func(_ int, c *http.Client) error {
		began := time.Now()
		res, err := c.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if took := time.Since(began); res.StatusCode != 200 && (res.StatusCode != 503 || took < waits) {
			return fmt.Errorf("status %d after %s", res.StatusCode, took)
		}
		_, err = io.Copy(io.Discard, res.Body)
		return err
	})
}

// waits is how long a request waits for the daemon, by the page of the policy; and a little less, for Envoy's clock is coarse.
const waits = 4900 * time.Millisecond

// While nobody answers, requests wait as long as the policy's page says.
func TestRateLimitingWaitsForTheDaemon(t *testing.T) {
	t.Parallel()
	g := start(t, "\n-- gateway.yaml --\n"+policyAPI("busy", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 1000000\n    timePeriodInMilliseconds: 3600000\n"))
	if a := g.get(8081, "/busy"); a.Status != 200 {
		t.Fatalf("status %d", a.Status)
	}
	g.Kill()
	began := time.Now()
	a := g.get(8081, "/busy")
	if took := time.Since(began); a.Status != 503 || took < waits {
		t.Errorf("without a daemon: %d after %s, want 503 after five seconds", a.Status, took)
	}
}

// A daemon that is slow to answer, as on a busy host, counts a request once: nobody asks it again for the same one.
func TestRateLimitingCountsOnceWhenSlow(t *testing.T) {
	t.Parallel()
	g := start(t, "\n-- gateway.yaml --\n"+policyAPI("busy", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 1000000\n    timePeriodInMilliseconds: 3600000\nexposeHeaders: true\n"))
	left := func(a answer) int {
		t.Helper()
		n, err := strconv.Atoi(a.Header.Get("x-ratelimit-remaining"))
		if a.Status != 200 || err != nil {
			t.Fatalf("%d %v", a.Status, a.Header)
		}
		return n
	}
	before := left(g.get(8081, "/busy"))
	for {
		if err := g.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		began, done := time.Now(), make(chan answer, 1)
		go func() {
			a, err := g.try("GET", 8081, "/busy", "")
			if err != nil {
				t.Error(err)
			}
			done <- a
		}()
		time.Sleep(time.Second) // long enough for whoever has no patience
		if err := g.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		a := <-done
		if took := time.Since(began); a.Status == 503 && took > waits {
			t.Logf("it was stopped for too long: an answer after %s", took)
			before = left(g.get(8081, "/busy"))
			continue
		}
		if got := left(a); got != before-1 {
			t.Errorf("of %d requests %d are left, want one less", before, got)
		}
		if got := left(g.get(8081, "/busy")); got != before-2 {
			t.Errorf("of %d requests %d are left after two", before, got)
		}
		return
	}
}
