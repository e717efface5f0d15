package anypoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/schema/ir"
)

// server answers with a function, and keeps what it was asked.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string // "METHOD path"
}

func serve(t *testing.T, h func(w http.ResponseWriter, r *http.Request)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls = append(s.calls, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// client speaks to a server, and waits for nothing; slept is how long it would have.
func (s *server) client(slept *[]time.Duration) *anypoint.Client {
	return &anypoint.Client{Base: s.URL, HTTP: s.Client(), Now: func() time.Time { return now }, UserAgent: "flexgw/test",
		Sleep: func(_ context.Context, d time.Duration) error {
			if slept != nil {
				*slept = append(*slept, d)
			}
			return nil
		}}
}

var (
	in     = anypoint.In{Organization: org, Environment: environment}
	access = anypoint.Token{Secret: ir.NewSecret("access-hush"), App: true}
)

// answerWith is a handler with one answer.
func answerWith(status int, body string, headers ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// TestRefusals: what the platform is known to answer, and what it means.
func TestRefusals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	login := func(c *anypoint.Client) error { _, err := c.Login(ctx, "me", ir.NewSecret("pass-hush")); return err }
	app := func(c *anypoint.Client) error {
		_, err := c.Connect(ctx, "id", ir.NewSecret("app-hush"))
		return err
	}
	mint := func(c *anypoint.Client) error { _, err := c.Mint(ctx, access, in); return err }
	register := func(c *anypoint.Client) error {
		_, err := c.Register(ctx, ir.NewSecret("token-hush"), org, anypoint.RegisterRequest{Name: "orders"})
		return err
	}
	renew := func(c *anypoint.Client) error {
		_, err := c.Renew(ctx, access, in, agent, anypoint.RenewRequest{})
		return err
	}
	list := func(c *anypoint.Client) error { _, err := c.Gateways(ctx, access, in); return err }
	remove := func(c *anypoint.Client) error { return c.Delete(ctx, access, in, agent) }
	look := func(c *anypoint.Client) error { return c.WaitDeleted(ctx, access, in, agent) }
	facade := func(message string) string { return fmt.Sprintf(`{"status":400,"message":%q}`, message) }
	for name, c := range map[string]struct {
		do      func(*anypoint.Client) error
		status  int
		body    string
		headers []string
		kind    anypoint.Kind
		want    []string // parts of the error and its advice
		tries   int
	}{
		"wrong password":      {do: login, status: 401, body: `{"message":"Unauthorized"}`, kind: anypoint.WrongCredentials, want: []string{"log in: the platform does not know this user and password"}},
		"password sent back":  {do: login, status: 401, body: `{"message":"no user with pass-hush"}`, kind: anypoint.WrongCredentials, want: []string{`"no user with [redacted]"`}},
		"user disabled":       {do: login, status: 403, body: `{}`, kind: anypoint.Disabled, want: []string{"does not let this user in"}},
		"app disabled":        {do: app, status: 403, body: `{}`, kind: anypoint.Disabled, want: []string{"log in as a connected app: the platform does not let this connected app in", "can enable the connected app"}},
		"browser":             {do: login, status: 302, headers: []string{"Location", "/login"}, kind: anypoint.SecondFactor, want: []string{"single sign-on", "use a registration token"}},
		"second factor":       {do: login, status: 200, body: `{"url":"https://x/mfa","body":"…"}`, kind: anypoint.SecondFactor, want: []string{"second factor", "connected app with the scopes Read Servers, Manage Servers and View Organization"}},
		"another platform":    {do: login, status: 418, body: `{"target":"eu1"}`, kind: anypoint.Elsewhere, want: []string{"https://eu1.anypoint.mulesoft.com"}},
		"too many log-ins":    {do: login, status: 429, body: `{}`, headers: []string{"Retry-After", "90", "X-RateLimit-Reset", "90"}, kind: anypoint.Busy, want: []string{"to be left alone for 1m30s", "try again later"}},
		"too many, soon":      {do: login, status: 429, body: `{}`, headers: []string{"Retry-After", "3"}, kind: anypoint.Busy, want: []string{"3s"}, tries: 4},
		"too many, a date":    {do: login, status: 429, body: `{}`, headers: []string{"Retry-After", now.Add(2 * time.Minute).Format(http.TimeFormat)}, kind: anypoint.Busy, want: []string{"2m0s"}},
		"wrong secret":        {do: app, status: 401, body: `{"error":"invalid_client"}`, kind: anypoint.WrongCredentials, want: []string{"client id and secret", `"invalid_client"`}},
		"no token in it":      {do: app, status: 200, body: `{}`, kind: anypoint.NoPlatform, want: []string{"not the platform"}},
		"not JSON":            {do: app, status: 200, body: `<html>`, kind: anypoint.NoPlatform, want: []string{"--https-proxy"}},
		"token expired":       {do: mint, status: 401, body: `{}`, kind: anypoint.Unauthorized, want: []string{"get a registration token: the token is not known, has expired"}},
		"404 of a proxy":      {do: remove, status: 404, body: `<html>no such site</html>`, kind: anypoint.NoPlatform, want: []string{"what answered is not the platform (404"}},
		"proxy, bad gateway":  {do: renew, status: 502, body: `<html>`, kind: anypoint.Unavailable, want: []string{"(502)"}, tries: 4},
		"proxy, unavailable":  {do: mint, status: 503, body: `<html>`, kind: anypoint.Unavailable, want: []string{"(503)"}, tries: 4},
		"proxy, timeout":      {do: list, status: 504, body: `<html>`, kind: anypoint.Unavailable, want: []string{"(504)"}, tries: 4},
		"delete, bad gateway": {do: remove, status: 502, kind: anypoint.Unavailable, tries: 4},
		"mint, bad gateway":   {do: mint, status: 502, body: `<html>`, kind: anypoint.Unavailable, want: []string{"(502)"}},
		"mint, soon":          {do: mint, status: 429, body: `{}`, headers: []string{"Retry-After", "2"}, kind: anypoint.Busy, tries: 4},
		"register, soon":      {do: register, status: 503, headers: []string{"Retry-After", "2"}, kind: anypoint.Busy, tries: 4},
		"register, proxy":     {do: register, status: 504, body: `<html>`, kind: anypoint.Unavailable, tries: 4},
		"no environment":      {do: mint, status: 404, body: `{"message":"x"}`, kind: anypoint.NotFound, want: []string{"they are ids, and not names"}},
		"no scope at all":     {do: mint, status: 403, body: `{}`, kind: anypoint.Forbidden, want: []string{"the scopes Read Servers and View Organization are missing, and Manage Servers may be", "Access Management"}},
		"no scope, by name":   {do: mint, status: 403, body: `{"message":"it lacks Read Servers, Manage Servers, View Organization"}`, kind: anypoint.Forbidden, want: []string{"the scopes Read Servers, Manage Servers and View Organization are missing (403)"}},
		"redirect":            {do: mint, status: 307, headers: []string{"Location", "https://elsewhere.example/"}, kind: anypoint.Redirected, want: []string{"not followed", "--anypoint-url"}},
		"name taken":          {do: register, status: 400, body: facade("an active target with the same name already exists in this organization and environment"), kind: anypoint.NameTaken, want: []string{`register "orders": a gateway of this name is registered`, "gateways delete"}},
		"name taken, 409":     {do: register, status: 409, body: facade("conflict"), kind: anypoint.NameTaken, want: []string{"(409)"}},
		"token unknown":       {do: register, status: 400, body: facade("no valid registration token was found"), kind: anypoint.TokenUnknown, want: []string{"has expired, or is none", "four hours"}},
		"another 400":         {do: register, status: 400, body: `{"message":"token-hush\u001b[31m is\nbad"}`, kind: anypoint.Unexpected, want: []string{"refuses it (400)", `[redacted]`, "is bad"}},
		"token of another":    {do: register, status: 401, body: `{}`, kind: anypoint.Unauthorized, want: []string{"of another organization"}},
		"register, forbidden": {do: register, status: 403, body: `{}`, kind: anypoint.Forbidden, want: []string{"the platform forbids it (403)"}},
		"oversize":            {do: register, status: 413, body: `{}`, kind: anypoint.Unexpected, want: []string{"(413)"}},
		"down":                {do: register, status: 500, body: `oops`, kind: anypoint.Unavailable, want: []string{"does not work just now (500)"}, tries: 4},
		"busy":                {do: register, status: 503, headers: []string{"Retry-After", "1"}, kind: anypoint.Busy, tries: 4},
		"gone":                {do: renew, status: 410, body: `{}`, kind: anypoint.Deleted, want: []string{"deleted already (410)"}},
		"renew what is not":   {do: renew, status: 404, body: `{}`, kind: anypoint.NotFound},
		"list, forbidden":     {do: list, status: 403, body: `{}`, kind: anypoint.Forbidden, want: []string{"the scope Read Servers is missing (403)"}},
		"list, no gateways":   {do: list, status: 200, body: `{"access_token":"x"}`, kind: anypoint.NoPlatform, want: []string{"what answered is not the platform (200"}},
		"look, no gateway":    {do: look, status: 200, body: `{"access_token":"x"}`, kind: anypoint.NoPlatform, want: []string{"what answered is not the platform (200"}},
		"look, another one":   {do: look, status: 200, body: `{"id":"x","status":"DELETED"}`, kind: anypoint.NoPlatform},
		"page too large":      {do: list, status: 400, body: `{"message":"Wrong page size"}`, kind: anypoint.Unexpected, want: []string{"Wrong page size"}},
		"deleted twice":       {do: remove, status: 400, body: `{"message":"This target was already deleted"}`, kind: anypoint.Deleted},
		"never there":         {do: remove, status: 404, body: `{"message":"Gateway not found by id"}`, kind: anypoint.NotFound},
		"delete, forbidden":   {do: remove, status: 403, body: `{}`, kind: anypoint.Forbidden, want: []string{"the scope Manage Servers is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answerWith(c.status, c.body, c.headers...))
			err := c.do(s.client(nil))
			var e *anypoint.Error
			if !errors.As(err, &e) || e.Kind != c.kind {
				t.Fatalf("got %v (%+v)", err, e)
			}
			text := err.Error() + "; " + e.Advice()
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("%q is not in: %s", w, text)
				}
			}
			if strings.Contains(text, "hush") || strings.ContainsAny(text, "\x1b\n") {
				t.Errorf("shown: %q", text)
			}
			first := s.asked()[0]
			tries := len(slices.DeleteFunc(s.asked(), func(x string) bool { return x != first }))
			if want := max(1, c.tries); tries != want {
				t.Errorf("asked %d times, want %d: %v", tries, want, s.asked())
			}
		})
	}
}

// TestMissingScope: of a 403, the scope is found out.
func TestMissingScope(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lacks string
		app   bool
		want  string
		says  string // what the platform says
	}{
		{anypoint.ViewOrganization, true, "the scope View Organization is missing (403)", "app lacks View Organization"},
		{anypoint.ReadServers, true, "the scope Read Servers is missing", ""},
		{anypoint.ReadServers, false, "the scope Read Servers is missing, and Manage Servers may be (403)", ""},
		{anypoint.ManageServers, true, "the scope Manage Servers is missing (403)", ""},
		{anypoint.ManageServers, false, "the scope Manage Servers is missing", ""},
		{anypoint.ViewOrganization, true, "the scope View Organization is missing", ""},
		{"what the other calls need", true, "it needs the scopes Read Servers, Manage Servers and View Organization", ""},
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			status := 200
			switch {
			case r.Method == http.MethodPost,
				strings.HasSuffix(r.URL.Path, "/gateways") && c.lacks == anypoint.ReadServers,
				strings.HasPrefix(r.URL.Path, "/accounts/api/organizations/") && c.lacks == anypoint.ViewOrganization:
				status = 403
			case c.lacks == "what the other calls need":
				status = 500
			}
			answerWith(status, fmt.Sprintf(`{"message": %q}`, c.says))(w, r)
		})
		_, err := s.client(nil).Mint(t.Context(), anypoint.Token{Secret: access.Secret, App: c.app}, in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("without %s: %v", c.lacks, err)
		}
	}
}

func TestHello(t *testing.T) {
	t.Parallel()
	for _, h := range []func(http.ResponseWriter, *http.Request){answerWith(404, `not found`), answerWith(200, `<html>`), answerWith(302, ``, "Location", "/x"), answerWith(200, `{}`, anypoint.WireHeader, "sim/2")} {
		err := serve(t, h).client(nil).Hello(t.Context())
		if no := (*anypoint.NoWireError)(nil); !errors.As(err, &no) {
			t.Errorf("got %v", err)
		}
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.ContentLength > 0 {
			t.Error("hello carries something")
		}
		answerWith(200, `{}`, anypoint.WireHeader, anypoint.WireSim)(w, r)
	})
	if err := s.client(nil).Hello(t.Context()); err != nil || s.asked()[0] != "GET /flexgw-sim/v1/hello" {
		t.Error(err, s.asked())
	}
}

// TestRegisterTwice: a connection that breaks after the platform has registered does not register twice.
func TestRegisterTwice(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	made := map[string]string{} // by key: the request
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var x anypoint.RegisterRequest
		if json.Unmarshal(b, &x) != nil || r.Header.Get("Authorization") != "Bearer token-hush" || r.Header.Get("X-ANYPNT-ORG-ID") != org || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %v", b, r.Header)
		}
		mu.Lock()
		was, again := made[x.IdempotencyKey]
		made[x.IdempotencyKey] = string(b)
		mu.Unlock()
		if again && was != string(b) {
			t.Errorf("another request with the same key: %s, %s", was, b)
		}
		if !again {
			panic(http.ErrAbortHandler) // registered, and the answer lost
		}
		chain, err := authorityOf(t).chain(x.CSR)
		if err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(anypoint.Registered{Platform: platform(), CertificateChain: chain})
	})
	key, csr, err := anypoint.NewKey("orders-edge")
	if err != nil {
		t.Fatal(err)
	}
	var slept []time.Duration
	c := s.client(&slept)
	r, err := c.Register(t.Context(), ir.NewSecret("token-hush"), org, anypoint.RegisterRequest{Schema: anypoint.RegistrationSchema, Name: "orders-edge", Mode: "local", CSR: csr, IdempotencyKey: "k"})
	if err != nil || len(made) != 1 || len(slept) != 1 {
		t.Fatal(err, len(made), slept)
	}
	if _, err := anypoint.NewFile(r, key); err != nil {
		t.Error(err)
	}
}

// TestAnswersThatDoNotFit are not written down.
func TestAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	key, csr, err := anypoint.NewKey("x")
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := anypoint.NewKey("x")
	if err != nil {
		t.Fatal(err)
	}
	a := authorityOf(t)
	chain := func(csr string, names ...string) string {
		c, err := a.chain(csr, names...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good := chain(csr)
	first := good[:strings.Index(good[1:], "-----BEGIN")+1]
	for name, c := range map[string]struct {
		change func(*anypoint.Registered)
		want   string
	}{
		"right":               {},
		"of another key":      {change: func(r *anypoint.Registered) { r.CertificateChain = chain(other) }, want: "not for the key of the request"},
		"no certificate":      {change: func(r *anypoint.Registered) { r.CertificateChain = "" }, want: "no certificate in PEM"},
		"a key":               {change: func(r *anypoint.Registered) { r.CertificateChain = key.Reveal() }, want: "not a RSA PRIVATE KEY"},
		"links missing":       {change: func(r *anypoint.Registered) { r.CertificateChain = first + good }, want: "was not issued by"},
		"of Connected Mode":   {change: func(r *anypoint.Registered) { r.CertificateChain = chain(csr, "org="+org) }, want: "Local Mode"},
		"no agent":            {change: func(r *anypoint.Registered) { r.AgentID = "" }, want: "agentId"},
		"metering over http":  {change: func(r *anypoint.Registered) { r.Metering = "http://metering.example.com/" }, want: "metering: an https:// URL"},
		"metering left out":   {change: func(r *anypoint.Registered) { r.Metering = "" }, want: "metering: a URL is expected"},
		"a password in a URL": {change: func(r *anypoint.Registered) { r.Anypoint = "https://a:hush@x/" }, want: "anypoint: a URL without user"},
	} {
		r := anypoint.Registered{Platform: platform(), CertificateChain: good}
		if c.change != nil {
			c.change(&r)
		}
		_, err := anypoint.NewFile(r, key)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	f := registration(t)
	r := anypoint.Registered{Platform: anypoint.Platform{AgentID: "other"}, CertificateChain: good}
	if _, err := f.Renewed(r, key, now); err == nil || !strings.Contains(err.Error(), `it is about gateway "other"`) {
		t.Error(err)
	}
	// One that has expired does not take the place of one that has not; but one that is wanted because the old one has, does.
	r = anypoint.Registered{Platform: anypoint.Platform{AgentID: agent}, CertificateChain: good}
	old := *f
	old.NotAfter = now.AddDate(6, 0, 0)
	if _, err := old.Renewed(r, key, now.AddDate(5, 0, 0)); err == nil || !strings.Contains(err.Error(), "has expired at 2027-12-31T23:59:00Z, and the old one has not") {
		t.Error(err)
	}
	if _, err := f.Renewed(r, key, now.AddDate(5, 0, 0)); err != nil {
		t.Error(err)
	}
	r = anypoint.Registered{Platform: anypoint.Platform{AgentID: agent}, CertificateChain: chain(csr, "offline", "org=x", "env=y")}
	if _, err := f.Renewed(r, key, now); err == nil || !strings.Contains(err.Error(), `organization "x"`) {
		t.Error(err)
	}
}

// TestPages: all gateways are found, however many there are, though no page has more than 100.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 99, 100, 101, 250} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			page, _ := strconv.Atoi(r.URL.Query().Get("pageNumber"))
			size, _ := strconv.Atoi(r.URL.Query().Get("pageSize"))
			if size > 100 || r.Header.Get("X-ANYPNT-ENV-ID") != environment {
				answerWith(400, `{"message":"Wrong page size"}`)(w, r)
				return
			}
			g := anypoint.Gateways{PageNumber: page, PageSize: size, Content: []anypoint.Gateway{}}
			for i := page * size; i < min(n, (page+1)*size); i++ {
				g.Content = append(g.Content, anypoint.Gateway{ID: strconv.Itoa(i), Name: "gw"})
				g.TotalElements = n
			}
			_ = json.NewEncoder(w).Encode(g)
		})
		got, err := s.client(nil).Gateways(t.Context(), access, in)
		if err != nil || len(got) != n || n > 0 && got[n-1].ID != strconv.Itoa(n-1) {
			t.Errorf("%d: got %d, %v", n, len(got), err)
		}
	}
}

func TestDeleteAndWait(t *testing.T) {
	t.Parallel()
	looks := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			answerWith(202, ``)(w, r)
			return
		}
		looks++
		_ = json.NewEncoder(w).Encode(anypoint.Gateway{ID: agent, Status: map[bool]string{true: "DELETED", false: "DISCONNECTED"}[looks > 2]})
	})
	c := s.client(nil)
	if err := c.Delete(t.Context(), access, in, agent); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitDeleted(t.Context(), access, in, agent); err != nil || looks != 3 {
		t.Error(err, looks)
	}
	gone := serve(t, answerWith(404, `{}`))
	if err := gone.client(nil).WaitDeleted(t.Context(), access, in, agent); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "..", "a/b", "a?b"} {
		if err := c.Delete(t.Context(), access, in, bad); err == nil {
			t.Errorf("%q was asked for", bad)
		}
		if _, err := c.Gateways(t.Context(), access, anypoint.In{Organization: org, Environment: bad}); err == nil {
			t.Errorf("%q was asked for", bad)
		}
	}
}

func TestMe(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"client":{"org_id":"o1"},"user":{"organization":{"id":"o2"}}}`:    "o1",
		`{"user":{"organization":{"id":"o2"}}}`:                             "o2",
		`{"user":{"properties":{"cs_auth":{"activeOrganizationId":"o3"}}}}`: "o3",
		`{}`: "",
	} {
		got, err := serve(t, answerWith(200, body)).client(nil).Me(t.Context(), access)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
}

// TestCutConnections: what breaks is tried again, over HTTP/1.1 and HTTP/2, but for what would then be there twice; and that it may have been
// done is known.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	calls := map[string]func(*anypoint.Client) error{
		"register": func(c *anypoint.Client) error {
			_, err := c.Register(ctx, ir.NewSecret("token"), org, anypoint.RegisterRequest{Name: "orders", IdempotencyKey: "k"})
			return err
		},
		"renew": func(c *anypoint.Client) error {
			_, err := c.Renew(ctx, access, in, agent, anypoint.RenewRequest{})
			return err
		},
		"list":   func(c *anypoint.Client) error { _, err := c.Gateways(ctx, access, in); return err },
		"delete": func(c *anypoint.Client) error { return c.Delete(ctx, access, in, agent) },
		"mint":   func(c *anypoint.Client) error { _, err := c.Mint(ctx, access, in); return err },
	}
	for _, proto := range []string{"1.1", "2"} {
		for name, do := range calls {
			s := &server{}
			s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want := "HTTP/" + proto; !strings.HasPrefix(r.Proto, want) {
					t.Errorf("spoken is %s, want %s", r.Proto, want)
				}
				s.mu.Lock()
				s.calls = append(s.calls, r.Method+" "+r.URL.Path)
				s.mu.Unlock()
				panic(http.ErrAbortHandler)
			}))
			s.EnableHTTP2 = proto == "2"
			s.StartTLS()
			t.Cleanup(s.Close)
			err := do(s.client(nil))
			want := 4
			if name == "mint" {
				want = 1
			}
			// Go's own client makes a call that it takes for idempotent again where a connection was kept: a handful more is no harm.
			if e := (*anypoint.Error)(nil); !errors.As(err, &e) || e.Kind != anypoint.Unavailable || !e.Doubt || len(s.asked()) < want || name == "mint" && len(s.asked()) != 1 {
				t.Errorf("%s over HTTP/%s: %v (%+v) after %v", name, proto, err, e, s.asked())
			}
		}
	}
}

// inBetween fails as a proxy does that makes no tunnel.
type inBetween struct {
	passes bool
	tries  int
}

func (b *inBetween) RoundTrip(*http.Request) (*http.Response, error) { b.tries++; return nil, b }
func (b *inBetween) Error() string                                   { return "the proxy refused" }
func (b *inBetween) MayPass() bool                                   { return b.passes }

// TestProxies: what a proxy says of itself is tried again where that may help, and is known not to have reached the platform.
func TestProxies(t *testing.T) {
	t.Parallel()
	for _, passes := range []bool{true, false} {
		b := &inBetween{passes: passes}
		c := &anypoint.Client{Base: "https://platform.example.com", HTTP: &http.Client{Transport: b}, Sleep: func(context.Context, time.Duration) error { return nil }}
		_, err := c.Mint(t.Context(), access, in) // nothing was minted, so that this is no second one
		var e *anypoint.Error
		if !errors.As(err, &e) || e.Doubt || b.tries != map[bool]int{true: 4, false: 1}[passes] {
			t.Errorf("passes %v: %v (%+v) after %d tries", passes, err, e, b.tries)
		}
	}
}

// TestTryingEnds: however the waits add up, no try begins later than two minutes after the first.
func TestTryingEnds(t *testing.T) {
	t.Parallel()
	at := now
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		at = at.Add(50 * time.Second) // it takes its time to say no
		answerWith(503, ``, "Retry-After", "20")(w, r)
	})
	c := s.client(nil)
	c.Now = func() time.Time { return at }
	c.Sleep = func(_ context.Context, d time.Duration) error { at = at.Add(d); return nil }
	if err := c.Delete(t.Context(), access, in, agent); err == nil || len(s.asked()) != 2 {
		t.Errorf("%v after %d tries", err, len(s.asked()))
	}
}

// TestNoAnswer: a host that is not there is tried again; one that is not trusted is not.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(200, `{}`))
	var slept []time.Duration
	c := s.client(&slept)
	c.HTTP = &http.Client{} // does not know the server's authority
	err := c.Hello(t.Context())
	var e *anypoint.Error
	if !errors.As(err, &e) || e.Kind != anypoint.Unavailable || len(slept) > 0 || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v after %v", err, slept)
	}
	s.Close()
	c = s.client(&slept)
	if err := c.Hello(t.Context()); !errors.As(err, &e) || e.Kind != anypoint.Unavailable || len(slept) != 3 || strings.Contains(err.Error(), "Get \"") {
		t.Errorf("got %v after %v", err, slept)
	}
}

// A secret so short that any sentence has it is not taken out: the hole would tell it.
func TestShortSecretsMangleNothing(t *testing.T) {
	t.Parallel()
	answer := []byte(`{"message": "this user, hush, belongs to another platform"}`)
	if got := anypoint.Message(answer, []string{"", "p", "oth", "hush"}); got != "this user, [redacted], belongs to another platform" {
		t.Error(got)
	}
}
