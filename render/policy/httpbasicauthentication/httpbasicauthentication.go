// Package httpbasicauthentication is the "http-basic-authentication-flex" policy: one user name and one password.
//
// It keeps no list of users and asks no directory.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-basic-auth-simple
package httpbasicauthentication

import (
	"crypto/sha1" //nolint:gosec // the only hash that Envoy's basic_auth filter reads
	_ "embed"
	"encoding/base64"
	"strings"
	"unicode"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"
	setmetadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed httpbasicauthentication.schema.json
var schema []byte

//go:embed httpbasicauthentication.md
var page []byte

//go:embed httpbasicauthentication.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "http-basic-authentication-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.0.0",
	Guard:   policy.Always[config](ir.Authenticates),
	Replies: replies,
	Check:   check,
	Shifts:  shifts,
	Effect:  effect,
})

type config struct {
	Username string        `flex:"username"`
	Password policy.Secret `flex:"password"`
}

// The product answers requests without Basic credentials with this text of 123 bytes; the one for wrong credentials is
// not published, so it is ours in the same shape.
const (
	missing = `{"error":"Registered authentication is set to HTTP basic authentication but there was no security context on the session."}`
	wrong   = `{"error":"Authentication denied: the user name or the password is wrong."}`
)

// The details are those of Envoy's filter (source/extensions/filters/http/basic_auth). The status and www-authenticate
// are its own.
var replies = []policy.Reply{
	{Details: "no_credential_for_basic_auth", Body: missing},
	{Details: "invalid_scheme_for_basic_auth", Body: missing},
	{Details: "invalid_format_for_basic_auth", Body: wrong},
	{Details: "invalid_credential_for_basic_auth", Body: wrong},
}

// check says why Envoy could not find the user name again. It does not show it: it may come from the environment.
func check(c *config, at policy.Locator) diag.List {
	d := diag.Diagnostic{Severity: diag.Error, Subject: at("username")}
	switch name := c.Username; {
	case strings.Contains(name, ":"):
		d.Code = "httpbasicauthentication/colon"
		d.Summary = "the user name holds a colon, which ends the name in an Authorization header"
		d.Hint = "choose a user name without a colon"
	case strings.HasPrefix(name, "#"):
		d.Code = "httpbasicauthentication/not-supported-yet"
		d.Summary = "the user name starts with #, which begins a comment in Envoy's list of users"
		d.Hint = "choose a user name that starts with another character"
	case strings.ContainsFunc(name, unicode.IsControl):
		d.Code = "httpbasicauthentication/control-character"
		d.Summary = "the user name holds a control character"
		d.Hint = "remove it; a trailing line break often comes from the file that a variable was read from"
	case strings.ContainsFunc(c.Password.Reveal(), unicode.IsControl):
		d.Subject = at("password")
		d.Code = "httpbasicauthentication/control-character"
		d.Summary = "the password holds a control character, which no client sends"
		d.Hint = "remove it; a trailing line break often comes from the file that a variable was read from"
	default:
		return nil
	}
	return diag.List{d}
}

func effect(c *config, in policy.Input) (policy.Effect, error) {
	sum := sha1.Sum([]byte(c.Password.Reveal())) //nolint:gosec // see the import
	users := c.Username + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
	e := policy.Effect{
		Filters: []policy.Filter{{Config: &basicauthv3.BasicAuth{
			Users: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: users}},
			// Without a realm Envoy shows the whole address of the request in www-authenticate.
			Realm:               "mule-realm",
			EmitDynamicMetadata: true,
		}}},
		Publishes: policy.Published{Principal: policy.Ref{Namespace: in.ID, Keys: []string{principalKey}}},
	}
	// The filter writes under its own name in a chain, but under the slot's where rules put it into a composite one. There
	// is only one user, so what it found out is known: a second filter, which runs when the first one let pass, says it.
	if in.Binding != nil && len(in.Binding.Rules) > 0 {
		e.Filters = append(e.Filters, policy.Filter{Name: "principal", Config: &setmetadatav3.Config{Metadata: []*setmetadatav3.Metadata{{
			MetadataNamespace: in.ID, AllowOverwrite: true,
			Value: &structpb.Struct{Fields: map[string]*structpb.Value{principalKey: structpb.NewStringValue(c.Username)}},
		}}}})
	}
	return e, nil
}

// principalKey is where the filter leaves the user name.
const principalKey = "username"
