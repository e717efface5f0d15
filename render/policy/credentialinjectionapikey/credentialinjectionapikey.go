// Package credentialinjectionapikey is the "credential-injection-api-key-flex" policy: requests to an upstream carry an API key, or a client's id and secret.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-api-key
package credentialinjectionapikey

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed credentialinjectionapikey.schema.json
var schema []byte

//go:embed credentialinjectionapikey.md
var page []byte

//go:embed credentialinjectionapikey.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "credential-injection-api-key-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetUpstream,
	Since:    "1.10.2",
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Auth         string        `flex:"authType"`
	Overwrite    bool          `flex:"overwrite"`
	Key          policy.Secret `flex:"apiKey"`
	Header       *string       `flex:"customHeader"` // nil: Authorization
	ID           string        `flex:"clientId"`
	Secret       policy.Secret `flex:"clientSecret"`
	IDHeader     *string       `flex:"customClientIdHeader"`     // nil: client_id
	SecretHeader *string       `flex:"customClientSecretHeader"` // nil: client_secret
}

func defaults() config { return config{Auth: "apiKey", Overwrite: true} }

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	f.Mode(c.Auth == "apiKey", "authType: apiKey", "authType", []policy.Field{{Path: "apiKey", Given: !c.Key.IsZero()}},
		[]policy.Field{{Path: "customHeader", Given: c.Header != nil}}, "credentialinjectionapikey/missing", "credentialinjectionapikey/unused")
	f.Mode(c.Auth == "clientCredentials", "authType: clientCredentials", "authType",
		[]policy.Field{{Path: "clientId", Given: c.ID != ""}, {Path: "clientSecret", Given: !c.Secret.IsZero()}},
		[]policy.Field{{Path: "customClientIdHeader", Given: c.IDHeader != nil}, {Path: "customClientSecretHeader", Given: c.SecretHeader != nil}},
		"credentialinjectionapikey/missing", "credentialinjectionapikey/unused")
	for _, h := range []struct {
		name  *string
		field string
	}{{c.Header, "customHeader"}, {c.IDHeader, "customClientIdHeader"}, {c.SecretHeader, "customClientSecretHeader"}} {
		if h.name != nil {
			f.InjectedHeader("credentialinjectionapikey/bad-header", *h.name, h.field)
		}
	}
	if c.Auth == "clientCredentials" && c.IDHeader != nil && c.SecretHeader != nil && strings.EqualFold(*c.IDHeader, *c.SecretHeader) {
		f.Error("credentialinjectionapikey/same-header", fmt.Sprintf("the id and the secret have one header, %q, so only one of them is sent", *c.IDHeader), "give each a header of its own", "customClientSecretHeader")
	}
	return f.List
}
