package sim

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// The kinds of tokens.
const (
	accessToken       = "access"
	registrationToken = "registration"
)

const (
	accessLasts = time.Hour // 3600 s typical [D]
	maxTokens   = 10_000    // that are remembered; the one that ends first gives way
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func random() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// derived is a UUID that follows from words.
func derived(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\n")))
	return asUUID(sum[:16])
}

func asUUID(b []byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func isUUID(s string) bool { return anypoint.IsUUID(strings.ToLower(s)) }

// validID takes what can stand in a path and in a certificate. The platform's are UUIDs; people who try use other words.
func validID(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	})
}

// hand makes a token, and forgets those that have ended.
func (s *Sim) hand(t token, now time.Time) (string, error) {
	var list []put
	var first string
	for h, old := range s.state.tokens {
		if now.After(old.Expires.Add(day)) { // a day: an expired one is told from one that never was
			list = append(list, value(kindToken, h, nil))
		} else if first == "" || old.Expires.Before(s.state.tokens[first].Expires) {
			first = h
		}
	}
	if len(s.state.tokens)-len(list) >= maxTokens {
		list = append(list, value(kindToken, first, nil))
	}
	text := random()
	return text, s.commit(true, append(list, value(kindToken, hash(text), t))...)
}

// cannotWrite is the answer when the disk does not take what was to be promised.
func cannotWrite(err error) answer {
	return failure(http.StatusInternalServerError, "the simulator cannot write its state: "+err.Error())
}

// rateLimited has the headers that are documented [D].
func rateLimited(seconds int, now time.Time) answer {
	a := failure(http.StatusTooManyRequests, "Too Many Requests")
	a.header.Set("Retry-After", strconv.Itoa(seconds))
	a.header.Set("X-RateLimit-Limit", "10")
	a.header.Set("X-RateLimit-Remaining", "0")
	a.header.Set("X-RateLimit-Reset", strconv.FormatInt(now.Add(time.Duration(seconds)*time.Second).UnixMilli(), 10))
	return a
}

func (s *Sim) user(name string) *User {
	for i, u := range s.state.seed.Users {
		if u.Username == name {
			return &s.state.seed.Users[i]
		}
	}
	return nil
}

func (s *Sim) app(id string) *ConnectedApp {
	for i, a := range s.state.seed.ConnectedApps {
		if a.ClientID == id {
			return &s.state.seed.ConnectedApps[i]
		}
	}
	return nil
}

// login is of users [C]; what it refuses is documented [D].
func (s *Sim) login(q *query) answer {
	var in anypoint.LoginRequest
	if err := loose(q.body, &in); err != nil {
		return failure(http.StatusBadRequest, err.Error()+kindOf(q))
	}
	for _, x := range []struct{ name, value string }{{"username", in.Username}, {"password", in.Password}} {
		if x.value == "" {
			return failure(http.StatusBadRequest, x.name+": a text is expected, and there is none")
		}
	}
	u := s.user(in.Username)
	if u == nil || !same(u.Password, in.Password) {
		return failure(http.StatusUnauthorized, "Unauthorized")
	}
	switch u.State {
	case "mfa": // [C]
		return reply(http.StatusOK, anypoint.AccessToken{URL: s.URL() + "/login/mfa", Body: "SAMLRequest=invented"})
	case "redirect":
		target := u.Target
		if target == "" {
			target = s.URL() + "/login/domain"
		}
		a := answer{status: http.StatusFound, header: http.Header{"Location": {target}}}
		return a
	case "disabled":
		return failure(http.StatusForbidden, "User is disabled")
	case "other-platform":
		return reply(http.StatusTeapot, map[string]any{"status": http.StatusTeapot, "message": "this user belongs to another platform", "target": u.Target})
	case "rate-limited":
		return rateLimited(30, q.now)
	}
	text, err := s.hand(token{Kind: accessToken, Principal: "user " + u.Username, Expires: q.now.Add(accessLasts)}, q.now)
	if err != nil {
		return cannotWrite(err)
	}
	return reply(http.StatusOK, anypoint.AccessToken{AccessToken: text, TokenType: "bearer", RedirectURL: "/home/"})
}

// oauth is of connected apps [D], for themselves or for a user [C]. OAuth's own form of the body works too.
func (s *Sim) oauth(q *query) answer {
	var in anypoint.TokenRequest
	if kind, _, _ := mime.ParseMediaType(q.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(q.body))
		if err != nil {
			return oauthRefused(err)
		}
		in = anypoint.TokenRequest{GrantType: form.Get("grant_type"), ClientID: form.Get("client_id"), ClientSecret: form.Get("client_secret"), Username: form.Get("username"), Password: form.Get("password")}
	} else if err := loose(q.body, &in); err != nil {
		return oauthRefused(err)
	}
	a := s.app(in.ClientID)
	if a == nil || !same(a.ClientSecret, in.ClientSecret) {
		return oauthError(http.StatusUnauthorized, "invalid_client")
	}
	principal := "app " + a.ClientID
	switch {
	case in.GrantType != "client_credentials" && in.GrantType != "password":
		return oauthError(http.StatusBadRequest, "unsupported_grant_type")
	case len(a.GrantTypes) > 0 && !slices.Contains(a.GrantTypes, in.GrantType):
		return oauthError(http.StatusBadRequest, "unauthorized_client")
	case in.GrantType == "password":
		u := s.user(in.Username)
		if u == nil || !same(u.Password, in.Password) || u.State != "" {
			return oauthError(http.StatusUnauthorized, "invalid_grant")
		}
		principal = "app " + a.ClientID + " for user " + u.Username
	}
	text, err := s.hand(token{Kind: accessToken, Principal: principal, Expires: q.now.Add(accessLasts)}, q.now)
	if err != nil {
		return cannotWrite(err)
	}
	return reply(http.StatusOK, anypoint.AccessToken{AccessToken: text, TokenType: "bearer", ExpiresIn: int(accessLasts / time.Second)})
}

// oauthRefused is a request that could not be read, as RFC 6749, 5.2 has it.
func oauthRefused(err error) answer {
	const word = "invalid_request"
	return reply(http.StatusBadRequest, map[string]any{"status": http.StatusBadRequest, "error": word, "error_description": err.Error(), "message": word + ": " + err.Error()})
}

// kindOf says of a body that could not be read what it was said to be, where that is not JSON; "": it was.
func kindOf(q *query) string {
	given := q.Header.Get("Content-Type")
	if kind, _, _ := mime.ParseMediaType(given); kind == "application/json" {
		return ""
	}
	return fmt.Sprintf("; Content-Type: application/json is expected, it is %q", clip(given))
}

func oauthError(status int, word string) answer {
	return reply(status, map[string]any{"status": status, "error": word, "message": word})
}

// caller is whose access token a call has.
type caller struct {
	user         *User         // nil: an app for itself
	app          *ConnectedApp // nil: a user
	organization string
}

// caller finds it. Without one the answer says 401.
func (s *Sim) caller(q *query) (caller, *answer) {
	t, ok := s.bearer(q, accessToken)
	if !ok {
		a := failure(http.StatusUnauthorized, "Unauthorized")
		a.header.Set("WWW-Authenticate", "Bearer")
		return caller{}, &a
	}
	var c caller
	who := t.Principal
	if rest, ok := strings.CutPrefix(who, "app "); ok {
		id, user, _ := strings.Cut(rest, " for ")
		c.app, who = s.app(id), user
	}
	if name, ok := strings.CutPrefix(who, "user "); ok {
		c.user = s.user(name)
	}
	switch {
	case c.user != nil:
		c.organization = c.user.OrganizationID
	case c.app != nil:
		c.organization = c.app.OrganizationID
	default: // a seed took it away
		a := failure(http.StatusUnauthorized, "Unauthorized")
		return caller{}, &a
	}
	if c.organization == "" {
		c.organization = s.defaultOrganization()
	}
	return c, nil
}

// bearer is the token of a call, of a kind, that has not ended.
func (s *Sim) bearer(q *query, kind string) (token, bool) {
	text, ok := bearerOf(q)
	if !ok {
		return token{}, false
	}
	t, ok := s.state.tokens[hash(text)]
	return t, ok && t.Kind == kind && q.now.Before(t.Expires)
}

func bearerOf(q *query) (string, bool) {
	scheme, text, ok := strings.Cut(q.Header.Get("Authorization"), " ")
	text = strings.TrimSpace(text)
	return text, ok && strings.EqualFold(scheme, "Bearer") && text != ""
}

// needs asks whether a caller may do something in an environment ("": in none). The platform's own words are not known.
func (c caller) needs(environment string, scopes ...string) *answer {
	has, in, who := []string(nil), []string(nil), ""
	switch { // an app that acts for a user has what both have
	case c.user != nil && c.app != nil:
		for _, scope := range c.app.Scopes {
			if slices.Contains(c.user.Scopes, scope) {
				has = append(has, scope)
			}
		}
		in, who = c.user.Environments, "user "+c.user.Username
	case c.user != nil:
		has, in, who = c.user.Scopes, c.user.Environments, "user "+c.user.Username
	default:
		has, in, who = c.app.Scopes, c.app.Environments, "connected app "+c.app.ClientID
	}
	if environment != "" && len(in) > 0 && !slices.Contains(in, environment) {
		has = nil
	}
	var missing []string
	for _, scope := range scopes {
		if scope == ViewOrganization && c.app == nil {
			continue // users need it not [D]
		}
		if !slices.Contains(has, scope) {
			missing = append(missing, scope)
		}
	}
	if missing == nil {
		return nil
	}
	a := failure(http.StatusForbidden, fmt.Sprintf("Forbidden: %s lacks %s", who, strings.Join(missing, ", ")))
	return &a
}

// may is caller and needs, and asks that the organization and environment of the path are there.
func (s *Sim) may(q *query, scopes ...string) *answer {
	c, a := s.caller(q)
	if a != nil {
		return a
	}
	org, env := q.PathValue("org"), q.PathValue("env")
	if a := s.known(org, env); a != nil {
		return a
	}
	return c.needs(env, scopes...)
}

// known says 404 of an organization or environment that is not there.
func (s *Sim) known(org, env string) *answer {
	what := ""
	switch o := s.find(org); {
	case o == nil:
		what = "Organization"
	case env != "" && s.findEnvironment(*o, env) == nil:
		what = "Environment"
	default:
		return nil
	}
	a := failure(http.StatusNotFound, what+" not found")
	return &a
}

// find is an organization; nil: there is none. Without a seed of them there is any.
func (s *Sim) find(id string) *Organization {
	for i, o := range s.state.seed.Organizations {
		if o.ID == id {
			return &s.state.seed.Organizations[i]
		}
	}
	if len(s.state.seed.Organizations) > 0 || !validID(id) {
		return nil
	}
	o := &Organization{ID: id, Name: "Organization " + id}
	seen := map[string]bool{s.defaultEnvironment(id): true}
	for _, g := range s.state.sortedGateways(id, "") {
		seen[g.Environment] = true
	}
	for _, env := range slices.Sorted(maps.Keys(seen)) {
		o.Environments = append(o.Environments, *s.invented(id, env))
	}
	return o
}

func (s *Sim) invented(org, env string) *Environment {
	name := "Environment " + env
	if env == derived("environment", org) {
		name = "Sandbox"
	}
	return &Environment{ID: env, Name: name, Type: "sandbox"}
}

func (s *Sim) findEnvironment(o Organization, id string) *Environment {
	for i, e := range o.Environments {
		if e.ID == id {
			return &o.Environments[i]
		}
	}
	if len(s.state.seed.Organizations) > 0 || !validID(id) {
		return nil
	}
	return s.invented(o.ID, id)
}

func (s *Sim) defaultOrganization() string {
	if len(s.state.seed.Organizations) > 0 {
		return s.state.seed.Organizations[0].ID
	}
	return DefaultOrganization
}

// defaultEnvironment is where the token sim-token registers.
func (s *Sim) defaultEnvironment(org string) string {
	for _, o := range s.state.seed.Organizations {
		if o.ID == org && len(o.Environments) > 0 {
			return o.Environments[0].ID
		}
	}
	return derived("environment", org)
}

// master is the root of an organization.
func (s *Sim) master(org string) string {
	for range s.state.seed.Organizations { // no further than there are: a seed may go round in circles
		o := s.find(org)
		if o == nil || o.ParentID == "" {
			break
		}
		org = o.ParentID
	}
	return org
}

// me has what the clients of the vendor read [C].
func (s *Sim) me(q *query) answer {
	c, a := s.caller(q)
	if a != nil {
		return *a
	}
	org := map[string]any{"id": c.organization, "name": s.nameOf(c.organization), "isRoot": s.master(c.organization) == c.organization}
	if c.user == nil {
		return reply(http.StatusOK, map[string]any{"id": c.app.ClientID, "client": map[string]any{"client_id": c.app.ClientID, "org_id": c.organization}})
	}
	ids := map[string]bool{c.organization: true}
	for _, o := range s.state.seed.Organizations {
		ids[o.ID] = true
	}
	var member []map[string]any
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		member = append(member, map[string]any{"id": id, "name": s.nameOf(id), "isRoot": s.master(id) == id})
	}
	id := derived("user", c.user.Username)
	user := map[string]any{
		"id": id, "username": c.user.Username, "organization": org, "organizationPreferences": map[string]any{}, "memberOfOrganizations": member,
		"properties": map[string]any{"cs_auth": map[string]any{"activeOrganizationId": c.organization}},
	}
	return reply(http.StatusOK, map[string]any{"id": id, "username": c.user.Username, "user": user, "organizationPreferences": map[string]any{}, "memberOfOrganizations": member})
}

func (s *Sim) nameOf(org string) string {
	if o := s.find(org); o != nil {
		return o.Name
	}
	return org
}

func (s *Sim) organization(q *query) answer {
	if a := s.may(q, ViewOrganization); a != nil {
		return *a
	}
	o := s.find(q.PathValue("org"))
	return reply(http.StatusOK, map[string]any{"id": o.ID, "name": o.Name, "parentId": o.ParentID, "isRoot": o.ParentID == "", "environments": o.objects()})
}

// objects are the environments of an organization as the platform lists them.
func (o *Organization) objects() []map[string]any {
	list := []map[string]any{}
	for _, e := range o.Environments {
		list = append(list, environmentObject(o.ID, e))
	}
	return list
}

func environmentObject(org string, e Environment) map[string]any {
	return map[string]any{"id": e.ID, "name": e.Name, "organizationId": org, "type": e.Type, "isProduction": e.IsProduction}
}

func (s *Sim) environments(q *query) answer {
	if a := s.may(q, ViewOrganization); a != nil {
		return *a
	}
	list := s.find(q.PathValue("org")).objects()
	return reply(http.StatusOK, map[string]any{"data": list, "total": len(list)})
}

func (s *Sim) environment(q *query) answer {
	if a := s.may(q, ViewOrganization); a != nil {
		return *a
	}
	o := s.find(q.PathValue("org"))
	return reply(http.StatusOK, environmentObject(o.ID, *s.findEnvironment(*o, q.PathValue("env"))))
}
