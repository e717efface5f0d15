// Package oauth2tokenintrospection is the "oauth2-token-introspection-flex" policy: an authorization server says whether a
// bearer token is good.
//
// It does not read tokens itself: jwt-validation-flex does.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-oauth-token-introspection
package oauth2tokenintrospection

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/urlcheck"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed oauth2tokenintrospection.schema.json
var schema []byte

//go:embed oauth2tokenintrospection.md
var page []byte

//go:embed oauth2tokenintrospection.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "oauth2-token-introspection-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.3.0",
	Guard:    policy.Always[config](ir.Authenticates),
	Defaults: func() config { return config{TTL: 600, Timeout: 10000, Entries: 1000} },
	Check:    check,
})

type config struct {
	URL           string        `flex:"introspectionURL"`
	Authorization policy.Secret `flex:"authorizationValue"`
	TTL           int64         `flex:"validatedTokenTTL"`     // seconds
	Timeout       int64         `flex:"authenticationTimeout"` // milliseconds
	Entries       int64         `flex:"maxCacheEntries"`
	Scopes        string        `flex:"scopes"`
	Criteria      *string       `flex:"scopeValidationCriteria"`
	Expose        bool          `flex:"exposeHeaders"`
	SkipClientID  bool          `flex:"skipClientIdValidation"`
	ConsumerBy    string        `flex:"consumerBy"`
	Metadata      bool          `flex:"enableProtectedResourceMetadata"`
	Override      bool          `flex:"overrideProtectedResourceMetadataAuthorizationServerUrl"`
	MetadataURL   *string       `flex:"protectedResourceMetadataAuthorizationServerUrl"`
}

const (
	override    = "overrideProtectedResourceMetadataAuthorizationServerUrl"
	metadataURL = "protectedResourceMetadataAuthorizationServerUrl"
)

type checker struct {
	*config
	policy.Findings
}

func check(c *config, at policy.Locator) diag.List {
	x := &checker{config: c, Findings: policy.Findings{At: at}}
	x.checkURL()
	x.checkAuthorization()
	x.checkTimes()
	x.checkScopes()
	if !c.SkipClientID {
		x.Warn("oauth2tokenintrospection/client-id-validation", "skipClientIdValidation is not true, but checking the client needs contracts, which Local Mode does not have: every request would be refused",
			"set skipClientIdValidation: true", "skipClientIdValidation")
	}
	x.checkMetadata()
	return x.List
}

// webURL reports an address of HTTP that cannot be used.
func (x *checker) webURL(text, field string) (host, shown string, exposed bool) {
	u, wrong := urlcheck.Parse(text, urlcheck.Want{Schemes: []string{"https", "http"}})
	if u == nil {
		x.Error("oauth2tokenintrospection/bad-url", field+" "+wrong.What, wrong.Hint, field)
		return "", "", false
	}
	return strings.ToLower(u.Hostname()), urlcheck.Show(u), urlcheck.Exposed(u)
}

func (x *checker) checkURL() {
	switch host, shown, exposed := x.webURL(x.URL, "introspectionURL"); {
	case host == "login.microsoftonline.com" || host == "sts.windows.net":
		x.Warn("oauth2tokenintrospection/entra-id", fmt.Sprintf("%s is Microsoft Entra ID, which has no introspection endpoint", host), "use jwt-validation-flex with its key set", "introspectionURL")
	case exposed:
		x.Warn("oauth2tokenintrospection/plain-text", fmt.Sprintf("introspectionURL is %s: tokens and the gateway's own credentials cross the network as they are", shown), "use https://", "introspectionURL")
	}
}

// checkAuthorization never shows the value.
func (x *checker) checkAuthorization() {
	const field = "authorizationValue"
	value := x.Authorization.Reveal()
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.HasPrefix(strings.ToLower(value), "authorization:"):
		x.Error("oauth2tokenintrospection/bad-authorization", "authorizationValue begins with the name of the header, expected its value alone", "leave out Authorization:", field)
	case rest == "":
		x.Error("oauth2tokenintrospection/bad-authorization", "authorizationValue has no scheme, expected the whole value of the header", "write Basic and the encoded user:password, or Bearer and a token", field)
	case strings.EqualFold(scheme, "basic"):
		if b, ok := decode(rest); !ok {
			x.Error("oauth2tokenintrospection/bad-authorization", "authorizationValue is not base64 after Basic", "encode client_id:client_secret: printf %s 'id:secret' | base64", field)
		} else if !strings.Contains(string(b), ":") {
			x.Error("oauth2tokenintrospection/bad-authorization", "authorizationValue has no colon between user and password once it is decoded", "encode client_id:client_secret together", field)
		} else if strings.HasSuffix(string(b), "\n") {
			x.Warn("oauth2tokenintrospection/line-break", "the password in authorizationValue ends in a line break once it is decoded", "encode it without one: printf %s 'id:secret' | base64", field)
		}
	case !strings.EqualFold(scheme, "bearer"):
		x.Warn("oauth2tokenintrospection/odd-scheme", "authorizationValue begins with neither Basic nor Bearer", "write Basic and the encoded user:password, or Bearer and a token", field)
	}
}

// decode also takes base64 for URLs and without padding, as some servers do.
func decode(text string) ([]byte, bool) {
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	b, err := base64.RawStdEncoding.DecodeString(text)
	return b, err == nil
}

// day is in seconds.
const day = 24 * 60 * 60

func (x *checker) checkTimes() {
	if x.TTL > day {
		x.Warn("oauth2tokenintrospection/long-ttl", fmt.Sprintf("validatedTokenTTL is %d seconds, more than a day: a token that is taken back still works for so long", x.TTL), "it is in seconds; 600 is usual", "validatedTokenTTL")
	}
	x.Milliseconds("oauth2tokenintrospection/short-timeout", x.Timeout, "authenticationTimeout")
}

func (x *checker) checkScopes() {
	if strings.Contains(x.Scopes, ",") {
		x.Warn("oauth2tokenintrospection/scope-commas", fmt.Sprintf("scopes is %q: scopes are separated by blanks, so a comma is part of a name", x.Scopes), "write "+strings.Join(strings.FieldsFunc(x.Scopes, func(r rune) bool { return r == ',' || r == ' ' }), " "), "scopes")
	}
	if x.Criteria != nil && strings.TrimSpace(x.Scopes) == "" {
		x.Warn("oauth2tokenintrospection/unused", "scopeValidationCriteria has no effect: there are no scopes", "add scopes, or remove it", "scopeValidationCriteria")
	}
}

func (x *checker) checkMetadata() {
	if x.MetadataURL != nil && *x.MetadataURL != "" {
		x.webURL(*x.MetadataURL, metadataURL)
	}
	switch given := x.MetadataURL != nil && *x.MetadataURL != ""; {
	case x.Override && !given:
		x.Error("oauth2tokenintrospection/no-metadata-url", override+" is true, but "+metadataURL+" is missing or empty", "write the address of the authorization server", metadataURL)
	case !x.Override && given:
		x.Warn("oauth2tokenintrospection/unused", metadataURL+" is ignored while "+override+" is not true", "set "+override+": true", metadataURL)
	case x.Override && !x.Metadata:
		x.Warn("oauth2tokenintrospection/unused", override+" has no effect while enableProtectedResourceMetadata is not true", "set enableProtectedResourceMetadata: true", override)
	}
}
