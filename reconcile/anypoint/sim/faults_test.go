package sim_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
)

func set(t *testing.T, s *simtest.Server, body string) {
	t.Helper()
	want(t, s.Call("POST", "/_sim/faults", body), 200, "")
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	g := s.Register(org, "edge")
	login := anypoint.LoginRequest{Username: sim.Username, Password: sim.Password}
	try := func() (simtest.Answer, error) { return s.Try(s.Client(), "POST", anypoint.PathLogin, login) }

	set(t, s, `{"next": 2, "status": 500}`)
	for _, status := range []int{500, 500, 200} {
		// neither the simulator's own paths nor its handshake use one up
		want(t, s.Call("GET", "/_sim/state", nil), 200, "")
		want(t, s.Call("GET", anypoint.PathHello, nil), 200, "")
		a, err := try()
		if err != nil {
			t.Fatal(err)
		}
		want(t, a, status, "")
	}
	if n := call(t, s, "POST", anypoint.PathLogin, 500); n != 2 {
		t.Errorf("%d calls got 500", n)
	}

	// Without a number it is one call.
	set(t, s, `{"status": 500}`)
	for _, status := range []int{500, 200} {
		a, err := try()
		if err != nil {
			t.Fatal(err)
		}
		want(t, a, status, "")
	}

	// On both listeners, unless one is named.
	set(t, s, `[{"next": 1, "status": 503, "retryAfter": 7, "listener": "ingest"}, {"next": 1, "status": 401, "path": "/accounts/"}]`)
	a := g.Send(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 1))
	if want(t, a, 503, "Service Unavailable"); a.Header.Get("Retry-After") != "7" {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	if a, err := try(); err != nil || a.Status != 401 {
		t.Errorf("%d %v", a.Status, err)
	}
	set(t, s, `{"next": 1, "status": 429}`)
	a = g.Send(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 1))
	if want(t, a, 429, ""); a.Header.Get("Retry-After") == "" || a.Header.Get("X-RateLimit-Reset") == "" {
		t.Errorf("%v", a.Header)
	}
	set(t, s, `{"next": 1, "status": 503, "retryAfter": "Fri, 01 May 2026 12:00:30 GMT", "message": "later"}`)
	if a = g.Send(g.Batch(simtest.UUID(1), 1, 1, noon)); a.Header.Get("Retry-After") != "Fri, 01 May 2026 12:00:30 GMT" || a.Message() != "later" {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	set(t, s, `{"next": 1, "status": 307}`)
	if a, err := try(); err != nil || a.Status != 307 || a.Header.Get("Location") != s.URL()+"/redirected" {
		t.Errorf("%d %v %v", a.Status, a.Header, err)
	}
	if u := s.State().Unexpected; len(u) != 0 { // nobody followed
		t.Errorf("unexpected: %v", u)
	}
	s.Call("GET", "/redirected", nil)
	if u := s.State().Unexpected; len(u) != 1 {
		t.Errorf("unexpected: %v", u)
	}

	// Faults are listed, replaced, added to and taken away.
	set(t, s, `{"next": 5, "status": "cut"}`)
	set(t, s, `{"next": 3, "status": "slow", "delay": "10ms"}`)
	want(t, s.Call("POST", "/_sim/faults?add", `{"next": 1, "status": 418}`), 200, "")
	if f := s.State().Faults; len(f) != 2 || f[0].Next != 3 || f[0].Status.Word != "slow" || f[1].Status.Code != 418 {
		t.Errorf("%+v", f)
	}
	if a := s.Call("GET", "/_sim/faults", nil); !strings.Contains(string(a.Body), `"delay": "10ms"`) {
		t.Errorf("%s", a.Body)
	}
	want(t, s.Call("DELETE", "/_sim/faults", nil), 200, "")
	if f := s.State().Faults; len(f) != 0 {
		t.Errorf("%+v", f)
	}
	set(t, s, `{"next": 1, "status": 500}`)
	set(t, s, `{"next": 0}`)
	if f := s.State().Faults; len(f) != 0 {
		t.Errorf("%+v", f)
	}
	for body, message := range map[string]string{
		`{"next": 1}`: "status: 200 to 599 or one of cut,", `{"next": 1, "status": "boom"}`: "boom", `{"next": 1, "status": 99}`: "99", `{"next": -1, "status": 500}`: "next:",
		`{"next": 1, "status": 500, "listener": "both"}`: "listener:", `{"next": 1, "status": "slow", "delay": "1h"}`: "delay:", `{"next": 1, "status": "slow", "delay": 5}`: "a duration is text",
		`{"next": 1, "status": 500, "retryAfter": []}`: "retryAfter:", `{"next": 1, "status": 500, "retryAfter": "a\r\nb"}`: "one line", `{"nxt": 1}`: "nxt", ``: "empty", `[{"next": 1}]`: "status:",
	} {
		want(t, s.Call("POST", "/_sim/faults", body), 400, message)
	}
}

func TestCuts(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	g := s.Register(org, "edge")
	r := simtest.UUID(1)
	usage := func() uint64 { return s.State().Usage["default/shop"] }
	broken := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: it was answered", what)
		}
	}
	set(t, s, `{"next": 2, "status": "cut", "listener": "ingest"}`)
	for range 2 { // Go tries once again what has this header, when the connection was not new
		s.Client().CloseIdleConnections()
		_, err := s.Try(s.Client(g.Certificate), "POST", s.IngestURL()+anypoint.PathMetering, g.Batch(r, 1, 1, noon, "default/shop", 1), anypoint.IdempotencyKey, g.Batch(r, 1, 1, noon).BatchID)
		broken("cut", err)
	}
	if n := usage(); n != 0 {
		t.Errorf("cut: it was counted, %d", n)
	}
	if n := call(t, s, "POST", anypoint.PathMetering, 0); n != 2 {
		t.Errorf("%d calls were cut", n)
	}
	set(t, s, `{"next": 1, "status": "cut-after"}`)
	_, err := s.Try(s.Client(g.Certificate), "POST", s.IngestURL()+anypoint.PathMetering, g.Batch(r, 1, 1, noon, "default/shop", 1), anypoint.IdempotencyKey, g.Batch(r, 1, 1, noon).BatchID)
	broken("cut-after", err)
	if n := usage(); n != 1 {
		t.Errorf("cut-after: usage %d", n)
	}
	set(t, s, `{"next": 1, "status": "cut-body"}`)
	a, err := s.Try(s.Client(g.Certificate), "POST", s.IngestURL()+anypoint.PathMetering, g.Batch(r, 1, 2, noon, "default/shop", 2), anypoint.IdempotencyKey, g.Batch(r, 1, 2, noon).BatchID)
	broken("cut-body", err)
	if a.Status != 202 || len(a.Body) == 0 || usage() != 2 {
		t.Errorf("cut-body: %d %q, usage %d", a.Status, a.Body, usage())
	}
	ack(t, g.Send(g.Batch(r, 1, 2, noon, "default/shop", 2)), 200, 2)

	set(t, s, `{"next": 1, "status": "duplicate"}`)
	ack(t, g.Send(g.Batch(r, 1, 3, noon, "default/shop", 5)), 200, 3) // it was done twice, and this is the second answer
	if n := usage(); n != 5 {
		t.Errorf("duplicate: usage %d", n)
	}
	set(t, s, `{"next": 1, "status": "duplicate"}`)
	want(t, s.Call("DELETE", fmt.Sprintf(anypoint.PathGateway, org, g.EnvironmentID, g.AgentID), nil, s.Login()...), 202, "") // the login was duplicated
	g = s.Register(org, "edge")
	auth := s.Login()
	set(t, s, `{"next": 1, "status": "duplicate"}`)
	want(t, s.Call("DELETE", fmt.Sprintf(anypoint.PathGateway, org, g.EnvironmentID, g.AgentID), nil, auth...), 400, "already deleted")
	_, csr := simtest.Key(t, 2048)
	set(t, s, `{"next": 1, "status": "duplicate"}`)
	want(t, s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), "Authorization", "Bearer "+sim.Token), 200, "") // the first one was 201
}

func TestSlow(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	g := s.Register(org, "edge")
	impatient := s.Client(g.Certificate)
	impatient.Timeout = 100 * time.Millisecond
	try := func(seq uint64) error {
		b := g.Batch(simtest.UUID(1), 1, seq, noon, "default/shop", int(seq))
		_, err := s.Try(impatient, "POST", s.IngestURL()+anypoint.PathMetering, b, anypoint.IdempotencyKey, b.BatchID)
		return err
	}
	// A handshake comes first, and may take as long on a busy host.
	start := time.Now()
	set(t, s, `{"next": 1, "status": "slow", "delay": "300ms"}`)
	ack(t, g.Send(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 1)), 202, 1)
	if d := time.Since(start); d < 300*time.Millisecond {
		t.Errorf("it took %s", d)
	}
	const many = 1000 // one that is given up may still come, and meets a fault too
	meet := func(word string) {
		t.Helper()
		set(t, s, fmt.Sprintf(`{"next": %d, "status": %q, "delay": "10s"}`, many, word))
		for s.State().Faults[0].Next == many { // until one got through its handshake in time
			if err := try(2); err == nil || !timeout(err) {
				t.Fatalf("%s: %v", word, err)
			}
		}
	}
	for _, word := range []string{"slow", "hang"} {
		meet(word)
		if n := s.State().Usage["default/shop"]; n != 1 {
			t.Errorf("%s: usage %d, want that of the first batch", word, n)
		}
	}
	meet("slow-after")
	for s.State().Usage["default/shop"] != 2 { // at once, and nobody learns of it
		time.Sleep(time.Millisecond)
	}
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout() || errors.Is(err, io.EOF)
}

func TestClock(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Clock: &noon})
	read := func(a simtest.Answer) (at time.Time, frozen bool) {
		t.Helper()
		want(t, a, 200, "")
		var c struct {
			Now    time.Time
			Frozen bool
		}
		a.Decode(t, &c)
		return c.Now, c.Frozen
	}
	near := func(a simtest.Answer, to time.Time) {
		t.Helper()
		if at, _ := read(a); at.Sub(to).Abs() > time.Minute {
			t.Errorf("it is %s, want %s", at, to)
		}
	}
	near(s.Call("GET", "/_sim/clock", nil), noon)
	near(s.Call("POST", "/_sim/clock", `{"advance": "1h"}`), noon.Add(time.Hour))
	a := s.Call("GET", anypoint.PathHello, nil)
	if date, err := http.ParseTime(a.Header.Get("Date")); err != nil || date.Sub(noon.Add(time.Hour)).Abs() > time.Minute {
		t.Errorf("Date %q", a.Header.Get("Date"))
	}
	near(s.Call("POST", "/_sim/clock", `{"now": "2026-06-01T00:00:00Z", "advance": "30m"}`), time.Date(2026, 6, 1, 0, 30, 0, 0, time.UTC))
	first, frozen := read(s.Call("POST", "/_sim/clock", `{"frozen": true}`))
	time.Sleep(5 * time.Millisecond)
	if second, _ := read(s.Call("GET", "/_sim/clock", nil)); !frozen || !second.Equal(first) {
		t.Errorf("it goes on: %s, %s, %v", first, second, frozen)
	}
	if at, frozen := read(s.Call("POST", "/_sim/clock", `{"advance": "1h"}`)); !frozen || !at.Equal(first.Add(time.Hour)) {
		t.Errorf("%s %v", at, frozen)
	}
	near(s.Call("POST", "/_sim/clock", `{"real": true}`), time.Now())
	want(t, s.Call("POST", "/_sim/clock", `{"now": "2050-01-01T00:00:00Z"}`), 400, "certificates are valid")
	want(t, s.Call("POST", "/_sim/clock", `{"advance": 5}`), 400, "a duration is text")
	want(t, s.Call("POST", "/_sim/clock", `{"later": "1h"}`), 400, "later")
	want(t, s.Call("POST", "/_sim/options", `{"duplicates": 500}`), 400, "200 or 409")
	const standing = `{"tokenLifetime":"4h0m0s","singleUseTokens":false,"deleteTakes":"0s","duplicates":200}`
	for _, a := range []simtest.Answer{s.Call("GET", "/_sim/options", nil), s.Call("POST", "/_sim/options", `{"deleteTakes": "0s"}`)} {
		if got := strings.Join(strings.Fields(string(a.Body)), ""); got != standing {
			t.Errorf("%s", got)
		}
	}
	want(t, s.Call("POST", "/_sim/options", `{"tokenLifetime": "24h", "singleUseTokens": true}`), 200, "")
	if a := s.Call("GET", "/_sim/options", nil); !strings.Contains(string(a.Body), `"24h0m0s"`) {
		t.Errorf("%s", a.Body)
	}
	want(t, s.Call("GET", "/_sim/else", nil), 404, "/_sim/state")
	if u := s.State().Unexpected; len(u) != 0 {
		t.Errorf("unexpected: %v", u)
	}
}
