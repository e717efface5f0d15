package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/flexgw/flexgw/e2e/harness"
)

type claims map[string]any

// signed makes a token. kid may be empty.
func signed(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c claims) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		o = o.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// textKey is what a declaration holds of a public key.
func textKey(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	tokenRequired = `{"error":"JWT Token is required."}`
	tokenInvalid  = `{"error":"Invalid token."}`
)

// jwtAPI is one API with the policy; the lines of config follow.
func jwtAPI(name, config string) string {
	return policyAPI(name, "jwt-validation-flex", "skipClientIdValidation: true\n"+config)
}

// policyAPI is one API at /name with one policy.
func policyAPI(name, policy, config string) string {
	return ipAPI(name, "    - policyRef:\n        name: "+policy+"\n      config:\n        "+strings.ReplaceAll(strings.TrimSpace(config), "\n", "\n        ")+"\n")
}

func TestJWT(t *testing.T) {
	t.Parallel()
	key, other, ec, ec384 := rsaKey(t), rsaKey(t), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	const secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	rsaText := "textKey: " + textKey(t, &key.PublicKey) + "\n"
	g := start(t, "\n-- gateway.yaml --\n"+
		jwtAPI("plain", rsaText)+
		jwtAPI("rs512", "signingKeyLength: 512\n"+rsaText)+
		jwtAPI("es256", "signingMethod: es\ntextKey: "+textKey(t, &ec.PublicKey))+
		jwtAPI("es384", "signingMethod: es\nsigningKeyLength: 384\ntextKey: "+textKey(t, &ec384.PublicKey))+
		jwtAPI("hs256", "signingMethod: hmac\ntextKey: "+secret)+
		jwtAPI("hs512", "signingMethod: hmac\nsigningKeyLength: 512\ntextKey: $SECRET")+
		jwtAPI("mandatory", rsaText+"mandatoryExpClaim: true\nmandatoryNbfClaim: true\nvalidateAudClaim: true\nmandatoryAudClaim: true\nsupportedAudiences: orders, billing\n")+
		jwtAPI("aud", rsaText+"validateAudClaim: true\nsupportedAudiences: orders\n")+
		jwtAPI("custom", rsaText+`validateCustomClaim: true
mandatoryCustomClaims:
  - key: tenant
    value: acme
  - key: scope
    value: "#[vars.claimSet.scope contains 'write']"
nonMandatoryCustomClaims:
  - key: level
    value: "7"
  - key: owner
    value: "#[vars.claimSet.owner == attributes.headers['x-owner']]"
`)+
		jwtAPI("header", rsaText+"jwtOrigin: customExpression\n")+
		jwtAPI("query", rsaText+"jwtOrigin: customExpression\njwtExpression: \"#[attributes.queryParams.token]\"\nclaimsToHeaders:\n  - key: sub\n    value: x-user\n")+
		ipAPI("chain", "    - policyRef:\n        name: jwt-validation-flex\n      config:\n        skipClientIdValidation: true\n        "+rsaText+
			"    - policyRef:\n        name: header-injection-flex\n      config:\n        inboundHeaders:\n          - key: x-user\n            value: \"#[authentication.properties.claims.sub]\"\n")+
		ipAPI("rules", "    - policyRef:\n        name: jwt-validation-flex\n      rules:\n        - methods: POST|PUT\n      config:\n        skipClientIdValidation: true\n"+
			"        jwtOrigin: customExpression\n        jwtExpression: \"#[attributes.headers['x-a'] ++ attributes.headers['x-b']]\"\n        validateAudClaim: true\n        supportedAudiences: orders\n"+
			"        validateCustomClaim: true\n        mandatoryCustomClaims: [{key: tenant, value: acme}]\n        "+rsaText),
		withEnv("SECRET="+secret))

	now := time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	rs := func(c claims) string { return "authorization: Bearer " + signed(t, jose.RS256, key, "", c) }
	good := claims{"sub": "bob", "exp": in(time.Hour)}
	unsignedToken := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"bob"}`)) + "."
	fullClaims := func(change string, value any) string {
		c := claims{"exp": in(time.Hour), "nbf": in(-time.Hour), "aud": "orders"}
		if value == nil {
			delete(c, change)
		} else {
			c[change] = value
		}
		return rs(c)
	}
	customClaims := func(pairs ...any) string {
		c := claims{"tenant": "acme", "scope": []string{"read", "write"}}
		for i := 0; i < len(pairs); i += 2 {
			c[pairs[i].(string)] = pairs[i+1]
		}
		return rs(c)
	}
	split := func(c claims) []string {
		text := signed(t, jose.RS256, key, "", c)
		return []string{"x-a: " + text[:20], "x-b: " + text[20:]}
	}
	for _, tc := range []struct {
		name, path string
		headers    []string
		status     int
	}{
		{"good", "/plain", []string{rs(good)}, 200},
		{"small letters", "/plain", []string{strings.Replace(rs(good), "Bearer", "bearer", 1)}, 200},
		{"key id is not asked for", "/plain", []string{"authorization: Bearer " + signed(t, jose.RS256, key, "some", good)}, 200},
		{"missing", "/plain", nil, 400},
		{"another scheme", "/plain", []string{"authorization: Basic " + base64Of("a:b")}, 400},
		{"garbage", "/plain", []string{"authorization: Bearer abc"}, 401},
		{"three parts of garbage", "/plain", []string{"authorization: Bearer a.b.c"}, 401},
		{"unsigned", "/plain", []string{"authorization: Bearer " + unsignedToken}, 401},
		{"wrong key", "/plain", []string{"authorization: Bearer " + signed(t, jose.RS256, other, "", good)}, 401},
		{"wrong length", "/plain", []string{"authorization: Bearer " + signed(t, jose.RS512, key, "", good)}, 401},
		{"wrong padding", "/plain", []string{"authorization: Bearer " + signed(t, jose.PS256, key, "", good)}, 401},
		{"public key as secret", "/plain", []string{"authorization: Bearer " + signed(t, jose.HS256, []byte(textKey(t, &key.PublicKey)), "", good)}, 401},
		{"signature cut", "/plain", []string{rs(good)[:len(rs(good))-4]}, 401},
		{"expired", "/plain", []string{rs(claims{"exp": in(-10 * time.Second)})}, 401},
		{"not yet", "/plain", []string{rs(claims{"nbf": in(time.Minute)})}, 401},
		{"neither exp nor nbf", "/plain", []string{rs(claims{"sub": "bob"})}, 200},
		{"exp far away", "/plain", []string{rs(claims{"exp": int64(50_000_000_000)})}, 200},
		{"exp that is no date", "/plain", []string{rs(claims{"exp": 1e300})}, 401},

		{"RS512", "/rs512", []string{"authorization: Bearer " + signed(t, jose.RS512, key, "", good)}, 200},
		{"RS512 wants 512", "/rs512", []string{rs(good)}, 401},
		{"ES256", "/es256", []string{"authorization: Bearer " + signed(t, jose.ES256, ec, "", good)}, 200},
		{"ES256, other key", "/es256", []string{"authorization: Bearer " + signed(t, jose.ES256, ecKey(t, elliptic.P256()), "", good)}, 401},
		{"ES384", "/es384", []string{"authorization: Bearer " + signed(t, jose.ES384, ec384, "", good)}, 200},
		{"HS256", "/hs256", []string{"authorization: Bearer " + signed(t, jose.HS256, []byte(secret), "", good)}, 200},
		{"HS256, other secret", "/hs256", []string{"authorization: Bearer " + signed(t, jose.HS256, []byte(secret+"x"), "", good)}, 401},
		{"HS512", "/hs512", []string{"authorization: Bearer " + signed(t, jose.HS512, []byte(secret), "", good)}, 200},

		{"all mandatory", "/mandatory", []string{fullClaims("aud", "billing")}, 200},
		{"audience in a list", "/mandatory", []string{fullClaims("aud", []string{"a", "orders"})}, 200},
		{"no exp", "/mandatory", []string{fullClaims("exp", nil)}, 401},
		{"no nbf", "/mandatory", []string{fullClaims("nbf", nil)}, 401},
		{"no aud", "/mandatory", []string{fullClaims("aud", nil)}, 401},
		{"wrong aud", "/mandatory", []string{fullClaims("aud", "order")}, 401},
		{"optional aud", "/aud", []string{rs(good)}, 200},
		{"optional aud, right", "/aud", []string{rs(claims{"aud": []string{"x", "orders"}})}, 200},
		{"optional aud, wrong", "/aud", []string{rs(claims{"aud": "x"})}, 401},
		{"optional aud, wrong list", "/aud", []string{rs(claims{"aud": []string{"x", "y"}})}, 401},
		{"optional aud, line break", "/aud", []string{rs(claims{"aud": "x\ny"})}, 401},

		{"custom", "/custom", []string{customClaims()}, 200},
		{"custom, wrong text", "/custom", []string{customClaims("tenant", "acme2")}, 401},
		{"custom, no text", "/custom", []string{rs(claims{"scope": []string{"write"}})}, 401},
		{"custom, condition false", "/custom", []string{customClaims("scope", []string{"read"})}, 401},
		{"custom, condition on absent", "/custom", []string{rs(claims{"tenant": "acme"})}, 401},
		{"custom, condition fails", "/custom", []string{customClaims("scope", 5)}, 401},
		{"optional as number", "/custom", []string{customClaims("level", 7)}, 200},
		{"optional as text", "/custom", []string{customClaims("level", "7")}, 200},
		{"optional, wrong", "/custom", []string{customClaims("level", 8)}, 401},
		{"optional, list", "/custom", []string{customClaims("level", []int{7})}, 401},
		{"optional condition", "/custom", []string{customClaims("owner", "eve"), "x-owner: eve"}, 200},
		{"optional condition, wrong", "/custom", []string{customClaims("owner", "eve"), "x-owner: bob"}, 401},

		{"own header", "/header", []string{"jwt: " + signed(t, jose.RS256, key, "", good)}, 200},
		{"own header, missing", "/header", []string{rs(good)}, 400},
		{"own header, bad", "/header", []string{"jwt: abc"}, 401},
		{"query", "/query?token=" + signed(t, jose.RS256, key, "", good), []string{"x-user: mallory"}, 200},
		{"query, missing", "/query", []string{"x-flexgw-jwt: " + signed(t, jose.RS256, key, "", good)}, 400},
		{"query, bad", "/query?token=a.b.c", nil, 401},
		{"chain", "/chain", []string{rs(good), "x-user: mallory"}, 200},
		{"rules, not selected", "/rules", nil, 200},
		{"rules, selected", "POST /rules", nil, 400},
		{"rules, good", "POST /rules", split(claims{"tenant": "acme", "aud": "orders"}), 200},
		{"rules, wrong audience", "POST /rules", split(claims{"tenant": "acme", "aud": "x"}), 401},
		{"rules, wrong claim", "POST /rules", split(claims{"tenant": "x"}), 401},
	} {
		method, path, ok := strings.Cut(tc.path, " ")
		if !ok {
			method, path = "GET", tc.path
		}
		a := g.send(method, 8081, path, tc.headers...)
		want := map[int]string{400: tokenRequired, 401: tokenInvalid}[tc.status]
		if a.Status != tc.status || want != "" && (a.Body != want || a.Header.Get("content-type") != "application/json; charset=UTF-8" || a.Header.Get("www-authenticate") != "") {
			t.Errorf("%s: got %d %q %v, want %d %q", tc.name, a.Status, a.Body, a.Header, tc.status, want)
			continue
		}
		if a.Status != 200 {
			continue
		}
		up := a.got(t).Headers
		if _, seen := up["x-flexgw-jwt"]; seen {
			t.Errorf("%s: the service saw the helper header", tc.name)
		}
		switch tc.name {
		case "good":
			if up["authorization"] == nil {
				t.Errorf("the token was not sent on")
			}
		case "query":
			if got := fmt.Sprint(up["x-user"]); got != "[bob]" {
				t.Errorf("claimsToHeaders: got %s, want [bob]", got)
			}
		case "chain":
			if got := fmt.Sprint(up["x-user"]); got != "[mallory bob]" && got != "[mallory,bob]" {
				t.Errorf("claims for a later policy: got %s", got)
			}
		}
	}
}

// issuer serves a key set that can be changed.
type issuer struct {
	set   atomic.Value
	asked atomic.Int64
}

func (s *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.asked.Add(1)
	b, ok := s.set.Load().([]byte)
	if !ok {
		http.Error(w, "not yet", http.StatusInternalServerError)
		return
	}
	w.Header().Set("content-type", "application/json")
	w.Write(b)
}

// serve makes a set of public keys, with one of a type that nobody knows.
func (s *issuer) serve(t testing.TB, keys map[string]crypto.PublicKey) {
	t.Helper()
	list := []any{map[string]any{"kty": "future", "kid": "f"}}
	for kid, k := range keys {
		list = append(list, jose.JSONWebKey{Key: k, KeyID: kid})
	}
	b, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		t.Fatal(err)
	}
	s.set.Store(b)
}

func TestJWTKeySets(t *testing.T) {
	t.Parallel()
	one, two, three, ec := rsaKey(t), rsaKey(t), rsaKey(t), ecKey(t, elliptic.P256())
	late, second := &issuer{}, &issuer{}
	second.serve(t, map[string]crypto.PublicKey{"two": &two.PublicKey, "ec": &ec.PublicKey})
	g := start(t, "\n-- gateway.yaml --\n"+
		jwtAPI("late", "jwtKeyOrigin: jwks\njwksUrl: http://127.0.0.1:9101/keys\njwksServiceTimeToLive: 1\n")+
		jwtAPI("both", "jwtKeyOrigin: jwks\njwksUrl: \"http://127.0.0.1:9101/keys, http://127.0.0.1:9102/keys\"\njwksServiceTimeToLive: 1\n"),
		withUpstream(9101, late), withUpstream(9102, second))
	bearer := func(key *rsa.PrivateKey, kid string) string {
		return "authorization: Bearer " + signed(t, jose.RS256, key, kid, claims{"sub": "bob"})
	}
	is := func(path, header string, status int, body string) error {
		if a := g.get(8081, path, header); a.Status != status || body != "" && a.Body != body {
			return fmt.Errorf("got %d %s, want %d %s", a.Status, a.Body, status, body)
		}
		return nil
	}
	now := func(name, path, header string, status int, body string) {
		t.Helper()
		if err := is(path, header, status, body); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	soon := func(name, path, header string, status int) {
		t.Helper()
		harness.Until(t, func() error {
			if err := is(path, header, status, ""); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	now("nothing fetched", "/late", bearer(one, "one"), 503, `{"error":"Service Unavailable"}`)
	soon("one of two addresses answers", "/both", bearer(two, "two"), 200)
	now("token of an algorithm that was not declared", "/both", "authorization: Bearer "+signed(t, jose.ES256, ec, "ec", claims{}), 401, tokenInvalid)

	late.serve(t, map[string]crypto.PublicKey{"one": &one.PublicKey})
	soon("fetched at last", "/late", bearer(one, "one"), 200)
	soon("keys of both addresses", "/both", bearer(one, "one"), 200)
	now("keys of both addresses", "/both", bearer(two, "two"), 200, "")
	now("foreign key", "/both", bearer(three, "three"), 401, tokenInvalid)
	now("foreign key under a known name", "/both", bearer(three, "one"), 401, tokenInvalid)
	now("no token", "/both", "x-a: b", 400, tokenRequired)

	// A rotation is seen when the set is no longer fresh; an answer without keys changes nothing.
	late.serve(t, map[string]crypto.PublicKey{"three": &three.PublicKey})
	second.set.Store([]byte(`{"keys":[]}`))
	soon("rotated in", "/late", bearer(three, "three"), 200)
	now("rotated out", "/late", bearer(one, "one"), 401, tokenInvalid)
	asked := second.asked.Load()
	harness.Until(t, func() error {
		if second.asked.Load() == asked && asked < 2 {
			return fmt.Errorf("the second address was asked %d times", asked)
		}
		return nil
	})
	now("the last good set stays", "/both", bearer(two, "two"), 200, "")
}
