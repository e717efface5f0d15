package sim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
)

const (
	org = "11111111-0000-4000-8000-000000000001"
	env = "22222222-0000-4000-8000-000000000002"
)

func gateways(more ...string) string {
	return fmt.Sprintf(anypoint.PathGateways, org, env) + strings.Join(more, "")
}

func want(t *testing.T, a simtest.Answer, status int, message string) {
	t.Helper()
	if a.Status != status || !strings.Contains(a.Message(), message) {
		t.Errorf("got %d %s, want %d with %q", a.Status, a.Body, status, message)
	}
	if a.Header.Get(anypoint.WireHeader) != anypoint.WireSim {
		t.Errorf("%s is %q", anypoint.WireHeader, a.Header.Get(anypoint.WireHeader))
	}
}

func call(t *testing.T, s *simtest.Server, method, path string, status int) uint64 {
	t.Helper()
	for _, c := range s.State().Calls {
		if c.Method == method && c.Path == path && c.Status == status {
			return c.Count
		}
	}
	return 0
}

func request(name, csr string, key int) anypoint.RegisterRequest {
	return anypoint.RegisterRequest{Schema: anypoint.RegistrationSchema, Name: name, Mode: "local", CSR: csr, IdempotencyKey: simtest.UUID(key)}
}

func TestHello(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	a := s.Call("GET", anypoint.PathHello, nil)
	want(t, a, 200, "")
	var hello struct{ Wire, Ingest string }
	a.Decode(t, &hello)
	if hello.Wire != anypoint.WireSim || hello.Ingest != s.IngestURL() {
		t.Errorf("got %s", a.Body)
	}
	g := s.Register(org, "edge")
	a, err := s.Try(s.Client(g.Certificate), "GET", s.IngestURL()+anypoint.PathHello, nil)
	if err != nil {
		t.Fatal(err)
	}
	want(t, a, 200, "")
	if u := s.State().Unexpected; len(u) != 0 {
		t.Errorf("unexpected: %v", u)
	}
}

func seed() *sim.Seed {
	return &sim.Seed{
		Organizations: []sim.Organization{
			{ID: org, Name: "Acme", ParentID: "33333333-0000-4000-8000-000000000003", Environments: []sim.Environment{{ID: env, Name: "Sandbox", Type: "sandbox"}, {ID: "prod", Name: "Production", Type: "production", IsProduction: true}}},
			{ID: "33333333-0000-4000-8000-000000000003", Name: "Holding"},
		},
		Users: []sim.User{
			{Username: "all", Password: "p", OrganizationID: org, Scopes: sim.AllScopes()},
			{Username: "reader", Password: "p", OrganizationID: org, Scopes: []string{sim.ReadServers}},
			{Username: "manager", Password: "p", OrganizationID: org, Scopes: []string{sim.ManageServers}},
			{Username: "sandboxed", Password: "p", OrganizationID: org, Scopes: sim.AllScopes(), Environments: []string{env}},
			{Username: "mfa", Password: "p", State: "mfa"},
			{Username: "sso", Password: "p", State: "redirect", Target: "https://127.0.0.1:1/sso"},
			{Username: "gone", Password: "p", State: "disabled"},
			{Username: "abroad", Password: "p", State: "other-platform", Target: "https://127.0.0.1:1"},
			{Username: "busy", Password: "p", State: "rate-limited"},
		},
		ConnectedApps: []sim.ConnectedApp{
			{ClientID: "all", ClientSecret: "s", OrganizationID: org, Scopes: sim.AllScopes()},
			{ClientID: "blind", ClientSecret: "s", OrganizationID: org, Scopes: []string{sim.ReadServers, sim.ManageServers}},
			{ClientID: "narrow", ClientSecret: "s", OrganizationID: org, Scopes: sim.AllScopes(), GrantTypes: []string{"client_credentials"}},
		},
		RegistrationTokens: []sim.RegistrationToken{{Token: "from-the-console", OrganizationID: org, EnvironmentID: env}},
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Seed: seed()})
	for _, path := range []string{"/accounts/login", "/accounts/api/login"} {
		login := func(user, password string) simtest.Answer {
			return s.Call("POST", path, anypoint.LoginRequest{Username: user, Password: password})
		}
		a := login("all", "p")
		var token anypoint.AccessToken
		a.Decode(t, &token)
		if a.Status != 200 || token.AccessToken == "" || token.TokenType != "bearer" || token.RedirectURL == "" || token.ExpiresIn != 0 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
		want(t, login("all", "wrong"), 401, "Unauthorized")
		want(t, login("nobody", "p"), 401, "Unauthorized")
		want(t, login("gone", "p"), 403, "disabled")
		want(t, login("gone", "wrong"), 401, "Unauthorized")
		want(t, s.Call("POST", path, "username=all&password=p"), 400, "no JSON")
		a = login("mfa", "p")
		token = anypoint.AccessToken{}
		a.Decode(t, &token)
		if a.Status != 200 || token.AccessToken != "" || token.URL == "" || token.Body == "" {
			t.Errorf("mfa: %d %s", a.Status, a.Body)
		}
		if a = login("sso", "p"); a.Status != 302 || a.Header.Get("Location") != "https://127.0.0.1:1/sso" {
			t.Errorf("sso: %d %v", a.Status, a.Header)
		}
		a = login("abroad", "p")
		var target struct{ Target string }
		a.Decode(t, &target)
		if a.Status != 418 || target.Target != "https://127.0.0.1:1" {
			t.Errorf("abroad: %d %s", a.Status, a.Body)
		}
		a = login("busy", "p")
		want(t, a, 429, "Too Many Requests")
		for _, h := range []string{"Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			if a.Header.Get(h) == "" {
				t.Errorf("429 without %s", h)
			}
		}
	}
	if u := s.State().Unexpected; len(u) != 0 {
		t.Errorf("unexpected: %v", u)
	}
}

func TestConnectedApps(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Seed: seed()})
	for _, path := range []string{"/accounts/api/v2/oauth2/token", "/accounts/oauth2/token"} {
		ask := func(r anypoint.TokenRequest) simtest.Answer { return s.Call("POST", path, r) }
		a := ask(anypoint.TokenRequest{GrantType: "client_credentials", ClientID: "all", ClientSecret: "s"})
		var token anypoint.AccessToken
		a.Decode(t, &token)
		if a.Status != 200 || token.AccessToken == "" || token.ExpiresIn != 3600 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		a = ask(anypoint.TokenRequest{GrantType: "password", ClientID: "all", ClientSecret: "s", Username: "reader", Password: "p"})
		a.Decode(t, &token)
		// The app has all scopes, the user one: together they may read.
		auth := []string{"Authorization", "Bearer " + token.AccessToken}
		want(t, s.Call("GET", gateways(), nil, auth...), 200, "")
		want(t, s.Call("POST", fmt.Sprintf(anypoint.PathGatewayTokens, org, env), nil, auth...), 403, "Manage Servers")
		want(t, ask(anypoint.TokenRequest{GrantType: "password", ClientID: "all", ClientSecret: "s", Username: "reader", Password: "x"}), 401, "invalid_grant")
		want(t, ask(anypoint.TokenRequest{GrantType: "password", ClientID: "all", ClientSecret: "s", Username: "mfa", Password: "p"}), 401, "invalid_grant")
		want(t, ask(anypoint.TokenRequest{GrantType: "client_credentials", ClientID: "all", ClientSecret: "x"}), 401, "invalid_client")
		want(t, ask(anypoint.TokenRequest{GrantType: "client_credentials", ClientID: "who", ClientSecret: "s"}), 401, "invalid_client")
		want(t, ask(anypoint.TokenRequest{GrantType: "implicit", ClientID: "all", ClientSecret: "s"}), 400, "unsupported_grant_type")
		want(t, ask(anypoint.TokenRequest{GrantType: "password", ClientID: "narrow", ClientSecret: "s", Username: "all", Password: "p"}), 400, "unauthorized_client")
		want(t, s.Call("POST", path, "{"), 400, "invalid_request")
		a = s.Call("POST", path, "grant_type=client_credentials&client_id=all&client_secret=s", "Content-Type", "application/x-www-form-urlencoded")
		want(t, a, 200, "")
	}
}

func TestMeAndOrganizations(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Seed: seed()})
	user, app := s.LoginAs("all", "p"), s.Connect("all", "s")
	type person struct {
		ID     string
		Client struct {
			OrgID string `json:"org_id"`
		}
		User struct {
			Organization struct{ ID, Name string }
			Properties   struct {
				Auth struct{ ActiveOrganizationID string } `json:"cs_auth"`
			}
		}
		MemberOfOrganizations []struct {
			ID, Name string
			IsRoot   bool
		}
	}
	for _, path := range []string{"/accounts/api/me", "/accounts/api/users/me"} {
		want(t, s.Call("GET", path, nil), 401, "Unauthorized")
		var me person
		s.Call("GET", path, nil, user...).Decode(t, &me)
		if me.ID == "" || me.Client.OrgID != "" || me.User.Organization.ID != org || me.User.Organization.Name != "Acme" || me.User.Properties.Auth.ActiveOrganizationID != org || len(me.MemberOfOrganizations) != 2 {
			t.Errorf("%s: %+v", path, me)
		}
		if m := me.MemberOfOrganizations; m[0].IsRoot || !m[1].IsRoot {
			t.Errorf("roots: %+v", m)
		}
		me = person{}
		s.Call("GET", path, nil, app...).Decode(t, &me)
		if me.Client.OrgID != org {
			t.Errorf("%s: %+v", path, me)
		}
	}
	blind := s.Connect("blind", "s")
	for path, text := range map[string]string{
		fmt.Sprintf(anypoint.PathOrganization, org):      `"name":"Acme"`,
		fmt.Sprintf(anypoint.PathEnvironments, org):      `"data":[`,
		fmt.Sprintf(anypoint.PathEnvironment, org, env):  `"name":"Sandbox"`,
		fmt.Sprintf(anypoint.PathEnvironment, org, "no"): "Environment not found",
		fmt.Sprintf(anypoint.PathOrganization, "no"):     "Organization not found",
	} {
		status := 200
		if strings.Contains(text, "not found") {
			status = 404
		} else {
			want(t, s.Call("GET", path, nil, blind...), 403, "View Organization")
		}
		a := s.Call("GET", path, nil, app...)
		if a.Status != status || !strings.Contains(string(a.Body), text) {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
		if a := s.Call("GET", path, nil, user...); a.Status != status { // users do not need View Organization
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
		want(t, s.Call("GET", path, nil), 401, "Unauthorized")
	}
}

func TestRegistrationTokens(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := simtest.Start(t, sim.Options{Seed: seed(), Clock: &now})
	path := fmt.Sprintf(anypoint.PathGatewayTokens, org, env)
	want(t, s.Call("POST", path, nil), 401, "Unauthorized")
	want(t, s.Call("POST", path, nil, s.LoginAs("reader", "p")...), 403, "user reader lacks Manage Servers")
	want(t, s.Call("POST", path, nil, s.LoginAs("manager", "p")...), 403, "user manager lacks Read Servers")
	want(t, s.Call("POST", path, nil, s.Connect("blind", "s")...), 403, "connected app blind lacks View Organization")
	want(t, s.Call("POST", fmt.Sprintf(anypoint.PathGatewayTokens, org, "prod"), nil, s.LoginAs("sandboxed", "p")...), 403, "lacks")
	want(t, s.Call("POST", fmt.Sprintf(anypoint.PathGatewayTokens, org, "nope"), nil, s.LoginAs("all", "p")...), 404, "Environment not found")
	want(t, s.Call("POST", fmt.Sprintf(anypoint.PathGatewayTokens, "nope", env), nil, s.LoginAs("all", "p")...), 404, "Organization not found")
	a := s.Call("GET", path, nil, s.LoginAs("all", "p")...)
	if want(t, a, 405, ""); a.Header.Get("Allow") != "POST" {
		t.Errorf("Allow: %q", a.Header.Get("Allow"))
	}
	if u := s.State().Unexpected; len(u) != 0 {
		t.Errorf("unexpected: %v", u)
	}
	mint := func() string {
		a := s.Call("POST", path, nil, s.LoginAs("all", "p")...)
		var token anypoint.GatewayToken
		a.Decode(t, &token)
		if a.Status != 200 || token.RegistrationToken == "" {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		return token.RegistrationToken
	}
	_, csr := simtest.Key(t, 2048)
	register := func(token, name string, key int, more ...string) simtest.Answer {
		return s.Call("POST", anypoint.PathRegistrations, request(name, csr, key), append([]string{"Authorization", "Bearer " + token}, more...)...)
	}
	token := mint()
	want(t, register(token, "a", 1), 201, "")
	want(t, register(token, "b", 2), 201, "") // not for one gateway alone, unless told
	want(t, register("from-the-console", "c", 3), 201, "")
	want(t, register(token, "d", 4, anypoint.HeaderOrganization, "another"), 401, "another organization")
	want(t, register("never-made", "e", 5), 400, "no valid registration token was found")
	access := strings.TrimPrefix(s.LoginAs("all", "p")[1], "Bearer ")
	want(t, register(access, "e", 5), 400, "no valid registration token was found")
	want(t, s.Call("POST", anypoint.PathRegistrations, request("e", csr, 5)), 401, "registration token is expected")
	want(t, s.Call("POST", path, nil, "Authorization", "Bearer "+token), 401, "Unauthorized") // and it opens nothing else

	if err := s.SetOptions(sim.Tunables{SingleUseTokens: true}); err != nil {
		t.Fatal(err)
	}
	once := mint()
	want(t, register(once, "f", 6), 201, "")
	want(t, register(once, "f", 6), 200, "") // its answer was lost
	want(t, register(once, "g", 7), 400, "no valid registration token was found")

	late := mint()
	if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(4*time.Hour - time.Minute)}); err != nil {
		t.Fatal(err)
	}
	want(t, register(late, "h", 8), 201, "")
	late = mint()
	if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(4 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	want(t, register(late, "i", 9), 400, "no valid registration token was found")
	want(t, register(sim.Token, "i", 9), 201, "") // for ever
}

func TestRegister(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	key, csr := simtest.Key(t, 2048)
	auth := []string{"Authorization", "Bearer " + sim.Token, anypoint.HeaderOrganization, org}
	register := func(r anypoint.RegisterRequest) simtest.Answer {
		return s.Call("POST", anypoint.PathRegistrations, r, auth...)
	}
	a := register(request("edge", csr, 1))
	want(t, a, 201, "")
	g := s.Gateway(a, key)
	if g.OrganizationID != org || g.EnvironmentID == "" || g.AssetName != "edge" || g.Region != "us-east-1" || g.MeteringSchemaID == "" {
		t.Errorf("%+v", g.Registered)
	}
	if g.Anypoint != s.URL() || g.Metering != s.IngestURL()+"/ingestion/api/v1/metering" || g.Arm != "wss"+strings.TrimPrefix(s.URL(), "https")+"/agent" ||
		g.Events != s.URL()+"/apiruntime/v1/events" || g.Logging != s.IngestURL()+"/ingestion/api/v1/logging" || g.Monitoring != s.IngestURL()+"/ingestion/api/v1/monitoring" {
		t.Errorf("URLs: %+v", g.Platform)
	}
	again := register(request("edge", csr, 1))
	if want(t, again, 200, ""); string(again.Body) != string(a.Body) {
		t.Error("the same request got another answer")
	}
	_, other := simtest.Key(t, 2048)
	want(t, register(request("edge", other, 1)), 409, "idempotencyKey")
	want(t, register(request("another", csr, 1)), 409, "idempotencyKey")
	want(t, register(request("edge", csr, 2)), 400, "an active target with the same name already exists in this organization and environment")

	elsewhere := s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 3), "Authorization", "Bearer "+sim.Token, anypoint.HeaderOrganization, "X")
	want(t, elsewhere, 201, "") // the name is taken in one organization and environment
	want(t, s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 4), append(slices.Clone(auth), anypoint.HeaderEnvironment, env)...), 201, "")
	want(t, s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 5), "Authorization", "Bearer "+sim.Token), 201, "") // no organization: the default one
	want(t, s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 6), "Authorization", "Bearer "+sim.Token, anypoint.HeaderOrganization, "a b"), 404, "not found")

	_, small := simtest.Key(t, 1024)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ec)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(csr))
	block.Bytes[len(block.Bytes)-1] ^= 1
	for name, c := range map[string]struct {
		change  func(*anypoint.RegisterRequest)
		message string
	}{
		"schema":    {func(r *anypoint.RegisterRequest) { r.Schema = "v1" }, "schema: flexgw.registration/v1alpha1 is expected"},
		"connected": {func(r *anypoint.RegisterRequest) { r.Mode = "connected" }, "mode: local is expected"},
		"no name":   {func(r *anypoint.RegisterRequest) { r.Name = "" }, "name:"},
		"long name": {func(r *anypoint.RegisterRequest) { r.Name = strings.Repeat("n", 256) }, "name:"},
		"line":      {func(r *anypoint.RegisterRequest) { r.Name = "a\nb" }, "name:"},
		"no key":    {func(r *anypoint.RegisterRequest) { r.IdempotencyKey = "" }, "idempotencyKey: a UUID"},
		"no csr":    {func(r *anypoint.RegisterRequest) { r.CSR = "" }, "csr: one PEM block"},
		"two":       {func(r *anypoint.RegisterRequest) { r.CSR += csr }, "csr: one PEM block"},
		"small":     {func(r *anypoint.RegisterRequest) { r.CSR = small }, "csr: an RSA key of 2048 bits"},
		"ecdsa":     {func(r *anypoint.RegisterRequest) { r.CSR = pemOf(der) }, "csr: an RSA key"},
		"forged":    {func(r *anypoint.RegisterRequest) { r.CSR = pemOf(block.Bytes) }, "csr: "},
	} {
		r := request("fresh", csr, 100)
		c.change(&r)
		if a := register(r); a.Status != 400 || !strings.Contains(a.Message(), c.message) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	want(t, s.Call("POST", anypoint.PathRegistrations, `{"schema":"flexgw.registration/v1alpha1","extra":1}`, auth...), 400, "extra")
	want(t, s.Call("POST", anypoint.PathRegistrations, strings.Repeat(" ", 65<<10), auth...), 413, "bytes")
	want(t, s.Call("POST", anypoint.PathRegistrations, strings.Repeat(" ", 2<<20), auth...), 413, "bytes")
	names := map[string]bool{}
	for _, r := range s.State().Registrations {
		names[r.OrganizationID+" "+r.EnvironmentID] = true
	}
	if n := len(s.State().Registrations); n != 4 || len(names) != 4 {
		t.Errorf("%d registrations in %v", n, slices.Sorted(maps.Keys(names)))
	}
	if u := s.State().Unexpected; len(u) != 0 {
		t.Errorf("unexpected: %v", u)
	}
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// TestRegisteredAgain: who asks again gets the same gateway with another token of the same environment, and not with that of another.
func TestRegisteredAgain(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Seed: seed()})
	_, csr := simtest.Key(t, 2048)
	mint := func(environment string) []string {
		var token anypoint.GatewayToken
		s.Call("POST", fmt.Sprintf(anypoint.PathGatewayTokens, org, environment), nil, s.LoginAs("all", "p")...).Decode(t, &token)
		return []string{"Authorization", "Bearer " + token.RegistrationToken, anypoint.HeaderOrganization, org}
	}
	first := s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), mint(env)...)
	want(t, first, 201, "")
	again := s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), mint(env)...)
	if want(t, again, 200, ""); string(again.Body) != string(first.Body) {
		t.Error("the same request got another answer")
	}
	want(t, s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), mint("prod")...), 409, "idempotencyKey")
	var made anypoint.Registered
	first.Decode(t, &made)
	want(t, s.Call("DELETE", gateways("/", made.AgentID), nil, s.LoginAs("all", "p")...), 202, "")
	want(t, s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), mint(env)...), 410, "gateway deleted")
}

// TestOneNameOneGateway registers one name from many sides at once.
func TestOneNameOneGateway(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	_, csr := simtest.Key(t, 2048)
	var mu sync.Mutex
	got := map[int]int{}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a, err := s.Try(s.Client(), "POST", anypoint.PathRegistrations, request("edge", csr, i/2), "Authorization", "Bearer "+sim.Token)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[a.Status]++
		})
	}
	wg.Wait()
	if got[201] != 1 || got[200] != 1 || got[400] != 18 {
		t.Errorf("statuses: %v", got)
	}
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := simtest.Start(t, sim.Options{Seed: seed(), Clock: &at})
	key, csr := simtest.Key(t, 2048)
	g := s.Gateway(s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), "Authorization", "Bearer from-the-console"), key)
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(g.CertificateChain)); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	if len(chain) != 3 {
		t.Fatalf("%d certificates", len(chain))
	}
	leaf, intermediate, root := chain[0], chain[1], chain[2]
	cn := g.AgentID + ".RR.us-east-1.prod"
	if leaf.Subject.CommonName != cn {
		t.Errorf("CN %s", leaf.Subject.CommonName)
	}
	if got, want := leaf.DNSNames, []string{"offline", cn, "masterOrg=33333333-0000-4000-8000-000000000003", "org=" + org, "env=" + env}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) || leaf.SignatureAlgorithm != x509.SHA256WithRSA {
		t.Errorf("usage %v %v %v", leaf.KeyUsage, leaf.ExtKeyUsage, leaf.SignatureAlgorithm)
	}
	if !leaf.NotAfter.Equal(intermediate.NotAfter.Add(-time.Minute)) || !leaf.NotAfter.Equal(g.CertificateExpirationDate) {
		t.Errorf("the leaf ends at %s, the intermediate at %s, the answer says %s", leaf.NotAfter, intermediate.NotAfter, g.CertificateExpirationDate)
	}
	for what, c := range map[string]struct {
		cert  *x509.Certificate
		years int
	}{"root": {root, 10}, "intermediate": {intermediate, 2}} {
		if d := c.cert.NotAfter.Sub(at) - time.Duration(c.years)*365*24*time.Hour; !c.cert.IsCA || d < 0 || d > 4*365*24*time.Hour {
			t.Errorf("%s ends at %s", what, c.cert.NotAfter)
		}
	}
	pub, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok || !pub.Equal(&key.PublicKey) {
		t.Error("it is not the key that was sent")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	between.AddCert(intermediate)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(s.Dir, "ca.pem")); err != nil || string(b) != string(s.CA()) {
		t.Errorf("ca.pem: %v", err)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := simtest.Start(t, sim.Options{Clock: &at})
	g := s.Register(org, "edge")
	path := fmt.Sprintf(anypoint.PathRenewals, g.AgentID)
	key, csr := simtest.Key(t, 2048)
	renew := func(urls bool, auth ...string) simtest.Answer {
		return s.Call("POST", path, anypoint.RenewRequest{Schema: anypoint.RegistrationSchema, CSR: csr, UpdateURLs: urls}, auth...)
	}
	want(t, renew(false), 401, "Unauthorized")
	want(t, renew(false, "Authorization", "Bearer "+sim.Token), 401, "Unauthorized") // a registration token
	a := renew(false, s.Login()...)
	want(t, a, 200, "")
	second := s.Gateway(a, key)
	if second.AgentID != g.AgentID || second.AssetName != "edge" || second.Anypoint != "" || second.Metering != "" || strings.Contains(string(a.Body), `"arm"`) {
		t.Errorf("%+v", second.Platform)
	}
	if !second.CertificateExpirationDate.Equal(g.CertificateExpirationDate) || second.CertificateChain == g.CertificateChain {
		t.Errorf("renewed to %s, before %s: nothing is extended while the intermediate is the same", second.CertificateExpirationDate, g.CertificateExpirationDate)
	}
	third := s.Gateway(renew(true, s.Login()...), key)
	if third.Metering != g.Metering || third.Anypoint != g.Anypoint {
		t.Errorf("%+v", third.Platform)
	}
	// Replicas go on with the certificate that they have.
	for i, who := range []*simtest.Gateway{g, second} {
		if a := who.Send(who.Batch(simtest.UUID(1), 1, uint64(i)+1, at)); a.Status != 202 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(3 * 365 * 24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Try(s.Client(g.Certificate), "POST", s.IngestURL()+anypoint.PathMetering, "{}"); err == nil || !strings.Contains(err.Error(), "expired certificate") {
		t.Errorf("an expired certificate: %v", err)
	}
	old, err := g.TrySend(g.Batch(simtest.UUID(1), 1, 3, at)) // on a connection of before
	if err == nil {
		want(t, old, 401, "expired")
	}
	fourth := s.Gateway(renew(true, s.Login()...), key)
	if !fourth.CertificateExpirationDate.After(g.CertificateExpirationDate) {
		t.Errorf("renewed to %s, before %s", fourth.CertificateExpirationDate, g.CertificateExpirationDate)
	}
	if a := fourth.Send(fourth.Batch(simtest.UUID(1), 1, 3, at)); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if r := s.State().Registrations[0]; r.Renewals != 3 {
		t.Errorf("%d renewals", r.Renewals)
	}
	want(t, s.Call("POST", path, anypoint.RenewRequest{Schema: "x", CSR: csr}, s.Login()...), 400, "schema:")
	want(t, s.Call("POST", path, anypoint.RenewRequest{Schema: anypoint.RegistrationSchema}, s.Login()...), 400, "csr:")
	want(t, s.Call("POST", fmt.Sprintf(anypoint.PathRenewals, simtest.UUID(9)), anypoint.RenewRequest{Schema: anypoint.RegistrationSchema, CSR: csr}, s.Login()...), 404, "not found")
	if a := s.Call("DELETE", fmt.Sprintf(anypoint.PathGateway, org, g.EnvironmentID, g.AgentID), nil, s.Login()...); a.Status != 202 {
		t.Fatal(a.Status)
	}
	want(t, renew(true, s.Login()...), 410, "gateway deleted")
}

func TestRenewNeedsScopes(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Seed: seed()})
	key, csr := simtest.Key(t, 2048)
	g := s.Gateway(s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), "Authorization", "Bearer from-the-console"), key)
	r := anypoint.RenewRequest{Schema: anypoint.RegistrationSchema, CSR: csr}
	path := fmt.Sprintf(anypoint.PathRenewals, g.AgentID)
	want(t, s.Call("POST", path, r, s.LoginAs("reader", "p")...), 403, "Manage Servers")
	want(t, s.Call("POST", path, r, s.LoginAs("manager", "p")...), 403, "Read Servers")
	want(t, s.Call("POST", path, r, s.Connect("blind", "s")...), 403, "View Organization")
	want(t, s.Call("POST", path, r, s.Connect("all", "s")...), 200, "")
}

func TestGateways(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	with := seed()
	for i := range 130 {
		with.Gateways = append(with.Gateways, sim.SeedGateway{Name: fmt.Sprintf("edge-%03d", i), OrganizationID: org, EnvironmentID: env, Tags: []string{"t"}})
	}
	long := now.Add(-31 * 24 * time.Hour)
	with.Gateways = append(with.Gateways,
		sim.SeedGateway{ID: simtest.UUID(7), Name: "stopped", OrganizationID: org, EnvironmentID: "prod", LastUpdate: &long},
		sim.SeedGateway{ID: simtest.UUID(8), Name: "removed", OrganizationID: org, EnvironmentID: "prod", LastUpdate: &long, Deleted: true})
	s := simtest.Start(t, sim.Options{Seed: with, Clock: &now})
	auth := s.LoginAs("all", "p")
	list := func(query string) (g anypoint.Gateways) {
		t.Helper()
		a := s.Call("GET", gateways(query), nil, auth...)
		want(t, a, 200, "")
		a.Decode(t, &g)
		return g
	}
	for _, c := range []struct {
		query                         string
		first                         string
		n, total, pageNumber, pageLen int
	}{
		{"", "edge-000", 30, 130, 0, 30},
		{"?pageNumber=1", "edge-030", 30, 130, 1, 30},
		{"?pageSize=100", "edge-000", 100, 130, 0, 100},
		{"?pageNumber=1&pageSize=100", "edge-100", 30, 130, 1, 100},
		{"?pageSize=199", "edge-000", 100, 130, 0, 100},
		{"?pageNumber=4&pageSize=30", "edge-120", 10, 130, 4, 30},
		{"?pageNumber=5&pageSize=30", "", 0, 0, 5, 30}, // past the end
		{"?pageNumber=9223372036854775807&pageSize=99", "", 0, 0, 9223372036854775807, 99},
		{"?pageNumber=0&pageSize=20&name=EDGE-12&status=", "edge-120", 10, 10, 0, 20},
		{"?status=connected", "", 0, 0, 0, 30},
	} {
		g := list(c.query)
		if len(g.Content) != c.n || g.TotalElements != c.total || g.PageNumber != c.pageNumber || g.PageSize != c.pageLen || c.n > 0 && g.Content[0].Name != c.first {
			t.Errorf("%q: %d of %d, page %d of %d, %v", c.query, len(g.Content), g.TotalElements, g.PageNumber, g.PageSize, g.Content[:min(1, len(g.Content))])
		}
	}
	if g := list("?pageSize=1").Content[0]; g.OrganizationID != org || g.ID == "" || g.Status != "DISCONNECTED" || len(g.Tags) != 1 || g.LastUpdate.Sub(now).Abs() > time.Minute || g.Replicas == nil || g.Versions != nil {
		t.Errorf("%+v", g)
	}
	for _, query := range []string{"?pageSize=200", "?pageSize=1000", "?pageSize=0", "?pageSize=-1", "?pageSize=x", "?pageNumber=-1"} {
		want(t, s.Call("GET", gateways(query), nil, auth...), 400, "Wrong page size")
	}
	want(t, s.Call("GET", gateways(), nil), 401, "Unauthorized")
	want(t, s.Call("GET", gateways(), nil, s.LoginAs("manager", "p")...), 403, "Read Servers")

	id := list("").Content[0].ID
	var one anypoint.Gateway
	s.Call("GET", gateways("/", id), nil, auth...).Decode(t, &one)
	if one.ID != id || one.Versions == nil {
		t.Errorf("%+v", one)
	}
	want(t, s.Call("GET", gateways("/", simtest.UUID(99)), nil, auth...), 404, "Gateway not found by id")
	want(t, s.Call("GET", gateways("/", simtest.UUID(99), "/replicas"), nil, auth...), 404, "Gateway not found by id")
	want(t, s.Call("DELETE", gateways("/", simtest.UUID(99)), nil, auth...), 404, "Gateway not found by id")
	want(t, s.Call("GET", gateways("/", simtest.UUID(7)), nil, auth...), 404, "Gateway not found by id") // of another environment
	want(t, s.Call("DELETE", gateways("/", id), nil, s.LoginAs("reader", "p")...), 403, "Manage Servers")
	if a := s.Call("DELETE", gateways("/", id), nil, auth...); a.Status != 202 || len(a.Body) != 0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	s.Call("GET", gateways("/", id), nil, auth...).Decode(t, &one)
	if one.Status != "DELETED" {
		t.Errorf("status %s", one.Status)
	}
	if g := list("?name=edge-000"); g.TotalElements != 1 || g.Content[0].Status != "DELETED" {
		t.Errorf("the tombstone: %+v", g)
	}
	want(t, s.Call("DELETE", gateways("/", id), nil, auth...), 400, "This target was already deleted")
	if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(31 * 24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	auth = s.LoginAs("all", "p")
	if g := list("?name=edge-000"); g.TotalElements != 0 {
		t.Errorf("after 30 days: %+v", g)
	}
	s.Call("GET", gateways("/", id), nil, auth...).Decode(t, &one)
	if one.Status != "DELETED" { // never 404
		t.Errorf("status %s", one.Status)
	}

	// One that stopped is not shown in the console any more, and its name is still taken: the API lists it.
	var prod anypoint.Gateways
	s.Call("GET", fmt.Sprintf(anypoint.PathGateways, org, "prod"), nil, auth...).Decode(t, &prod)
	if len(prod.Content) != 1 || prod.Content[0].Name != "stopped" {
		t.Errorf("%+v", prod)
	}
	for _, r := range s.State().Registrations {
		if r.Name == "stopped" && !r.Hidden {
			t.Error("the console shows it still")
		}
	}

	if err := s.SetOptions(sim.Tunables{DeleteTakes: sim.Duration(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf(anypoint.PathGateway, org, "prod", simtest.UUID(7))
	s.Call("DELETE", path, nil, auth...)
	for _, status := range []string{"DELETING", "DELETED"} {
		if s.Call("GET", path, nil, auth...).Decode(t, &one); one.Status != status {
			t.Errorf("status %s, want %s", one.Status, status)
		}
		if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNameIsFreeAfterDeletion(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	g := s.Register(org, "edge")
	if a := s.Call("DELETE", fmt.Sprintf(anypoint.PathGateway, org, g.EnvironmentID, g.AgentID), nil, s.Login()...); a.Status != 202 {
		t.Fatal(a.Status)
	}
	if again := s.Register(org, "edge"); again.AgentID == g.AgentID {
		t.Error("the same gateway")
	}
}

func TestTokensAreForgotten(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	auth := s.Login()
	want(t, s.Call("GET", "/accounts/api/me", nil, auth...), 200, "")
	if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	want(t, s.Call("GET", "/accounts/api/me", nil, auth...), 401, "Unauthorized")
}

func TestTripwires(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	g := s.Register(org, "edge")
	ingest := s.Client(g.Certificate)
	for _, c := range []struct {
		method, path string
		status       int
		why          string
	}{
		{"GET", "/agent", 599, "tripwire"},
		{"POST", "/apiruntime/v1/events", 599, "tripwire"},
		{"POST", "/ingestion/api/v1/logging", 599, "tripwire"},
		{"POST", "/ingestion/api/v1/monitoring", 599, "tripwire"},
		{"GET", "/", 404, "unknown path"},
		{"GET", "/exchange/api/v2/assets", 404, "unknown path"},
		{"GET", "/accounts//login", 404, "unknown path"},
		{"PUT", "/accounts/login", 405, "unknown method"},
	} {
		want(t, s.Call(c.method, c.path, nil), c.status, "")
		if n := call(t, s, c.method, c.path, c.status); n != 1 {
			t.Errorf("%s %s was counted %d times", c.method, c.path, n)
		}
		a, err := s.Try(ingest, c.method, s.IngestURL()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status < 404 {
			t.Errorf("ingest %s %s: %d", c.method, c.path, a.Status)
		}
		found := 0
		for _, u := range s.State().Unexpected {
			if u.Method == c.method && u.Path == c.path && u.Count == 1 && (u.Listener == "ingest" || u.Why == c.why) {
				found++
			}
		}
		if found != 2 {
			t.Errorf("%s %s: unexpected %d times of 2: %+v", c.method, c.path, found, s.State().Unexpected)
		}
	}
	// Each listener has its own paths.
	before := len(s.State().Unexpected)
	want(t, s.Call("POST", anypoint.PathMetering, "{}"), 404, "")
	a, err := s.Try(ingest, "POST", s.IngestURL()+anypoint.PathLogin, "{}")
	if err != nil {
		t.Fatal(err)
	}
	want(t, a, 404, "")
	a, err = s.Try(ingest, "GET", s.IngestURL()+"/_sim/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	want(t, a, 404, "")
	if n := len(s.State().Unexpected) - before; n != 3 {
		t.Errorf("%d more are unexpected", n)
	}
}

// TestWhatIsRememberedIsBounded asks for more paths than are told apart.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	c := s.Client()
	for i := range 1_100 {
		if _, err := s.Try(c, http.MethodGet, fmt.Sprintf("/nowhere/%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	st := s.State()
	total := uint64(0)
	for _, u := range st.Unexpected {
		total += u.Count
	}
	if len(st.Unexpected) > 1_001 || total != 1_100 {
		t.Errorf("%d kinds, %d calls", len(st.Unexpected), total)
	}
}
