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
	"fmt"
	"strings"
	"unicode"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed httpbasicauthentication.schema.json
var schema []byte

//go:embed httpbasicauthentication.md
var page []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "http-basic-authentication-flex",
	Schema:  schema,
	Page:    page,
	Targets: ir.TargetAPI,
	Replies: replies,
	Check:   check,
	Effect:  effect,
})

type config struct {
	Username username      `flex:"username"`
	Password policy.Secret `flex:"password"`
}

type username struct {
	text  string
	plain bool
}

// DecodeNode takes any scalar as it was written.
func (u *username) DecodeNode(n *syntax.Node) diag.List {
	var t syntax.Text
	l := n.Decode(&t)
	u.text, u.plain = t.Value, policy.IsPlain(n)
	return l
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

func check(c *config, at policy.Locator) diag.List {
	var l diag.List
	add := func(severity diag.Severity, code diag.Code, field, summary, hint string) {
		l = append(l, diag.Diagnostic{Severity: severity, Code: code, Summary: summary, Hint: hint, Subject: at(field)})
	}
	name, password := c.Username.text, c.Password.Reveal()
	switch {
	case name == "":
		add(diag.Error, "httpbasicauthentication/empty-username", "username", "the user name is empty, expected at least one character", "write the name that clients send")
	case strings.Contains(name, ":"):
		add(diag.Error, "httpbasicauthentication/colon", "username", fmt.Sprintf("the user name %q holds a colon, which ends the name in an Authorization header", name),
			"choose a user name without a colon")
	case strings.HasPrefix(name, "#"):
		add(diag.Error, "httpbasicauthentication/number-sign", "username", fmt.Sprintf("the user name %q starts with #, which begins a comment in Envoy's list of users", name),
			"choose a user name that starts with another character")
	case strings.ContainsFunc(name, unicode.IsControl):
		add(diag.Error, "httpbasicauthentication/control-character", "username", fmt.Sprintf("the user name %q holds a control character", name),
			"remove it; a trailing line break often comes from the file that a variable was read from")
	}
	if password == "" {
		add(diag.Error, "httpbasicauthentication/empty-password", "password", "the password is empty, expected at least one character", "write a password, or set the variable it names")
	}
	if c.Username.plain {
		add(diag.Warning, "httpbasicauthentication/not-text", "username", fmt.Sprintf("the user name %s is not written as text; it is taken as written", name), "put it in quotes")
	}
	if c.Password.Plain {
		add(diag.Warning, "httpbasicauthentication/not-text", "password", "the password is not written as text; it is taken as written", "put it in quotes")
	}
	return l
}

func effect(c *config, in policy.Input) (policy.Effect, error) {
	sum := sha1.Sum([]byte(c.Password.Reveal())) //nolint:gosec // see the import
	users := c.Username.text + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
	return policy.Effect{
		Filters: []policy.Filter{{Config: &basicauthv3.BasicAuth{
			Users: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: users}},
			// Without a realm Envoy shows the whole address of the request in www-authenticate.
			Realm:               "mule-realm",
			EmitDynamicMetadata: true,
		}}},
		// The filter writes under its own name in the chain.
		Publishes: policy.Published{Principal: policy.Ref{Namespace: in.ID, Keys: []string{"username"}}},
	}, nil
}
