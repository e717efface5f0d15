// Package credentialinjectionbasicauth is the "credential-injection-basic-auth-flex" policy: requests to an upstream carry a user name and a password.
//
// It does not look at what clients send: http-basic-authentication-flex does.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-basic-auth
package credentialinjectionbasicauth

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed credentialinjectionbasicauth.schema.json
var schema []byte

//go:embed credentialinjectionbasicauth.md
var page []byte

//go:embed credentialinjectionbasicauth.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "credential-injection-basic-auth-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetUpstream,
	Since:    "1.9.0",
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Username  string        `flex:"username"`
	Password  policy.Secret `flex:"password"`
	Overwrite bool          `flex:"overwrite"`
	Header    string        `flex:"customHeader"`
}

func defaults() config { return config{Overwrite: true, Header: "Authorization"} }

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	switch {
	case c.Username == "" && c.Password.IsZero():
		f.Error("credentialinjectionbasicauth/nothing", "neither username nor password is given, so there is nothing to inject", "give both")
	case c.Username == "":
		f.Warn("credentialinjectionbasicauth/half", "username is missing or empty, and password is not", "give both", "username")
	case c.Password.IsZero():
		f.Warn("credentialinjectionbasicauth/half", "password is missing or empty, and username is not", "give both", "password")
	}
	if strings.Contains(c.Username, ":") {
		f.Warn("credentialinjectionbasicauth/colon", fmt.Sprintf("username %q holds a colon, where the password begins for every reader", c.Username), "leave the part behind it to password", "username")
	}
	f.InjectedHeader("credentialinjectionbasicauth/bad-header", c.Header, "customHeader")
	return f.List
}
