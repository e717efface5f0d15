// Package ldapauthentication is the "ldap-authentication-flex" policy: user names and passwords that a directory knows.
//
// It keeps no users of its own, and reads nothing of the directory but whether a user may log in.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-basic-auth-ldap
package ldapauthentication

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed ldapauthentication.schema.json
var schema []byte

//go:embed ldapauthentication.md
var page []byte

//go:embed ldapauthentication.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "ldap-authentication-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.1.0",
	Guard:    policy.Always[config](ir.Authenticates),
	Defaults: defaults,
	Check:    check,
})

type config struct {
	URL        string        `flex:"ldapServerURL"`
	User       syntax.Text   `flex:"ldapServerUserDn"`
	Password   policy.Secret `flex:"ldapServerUserPassword"`
	Base       syntax.Text   `flex:"ldapSearchBase"`
	Filter     syntax.Text   `flex:"ldapSearchFilter"`
	Subtree    bool          `flex:"ldapSearchInSubtree"`
	Origin     string        `flex:"authorizationOrigin"`
	Expression syntax.Text   `flex:"authorizationExpression"`
}

const (
	basic  = "httpBasicAuthenticationHeader"
	custom = "customExpression"
)

func defaults() config {
	return config{URL: "ldap://127.0.0.1:389", Filter: syntax.Text{Value: "(uid={0})"}, Origin: basic,
		Expression: syntax.Text{Value: "#[attributes.headers['token']]"}}
}
