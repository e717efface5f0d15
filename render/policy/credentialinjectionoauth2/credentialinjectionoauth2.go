// Package credentialinjectionoauth2 is the "credential-injection-oauth2-flex" policy: requests to an upstream carry a token that an OAuth 2.0 service gave.
//
// It asks nobody itself: who carries it out does.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-oauth
package credentialinjectionoauth2

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/urlcheck"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed credentialinjectionoauth2.schema.json
var schema []byte

//go:embed credentialinjectionoauth2.md
var page []byte

//go:embed credentialinjectionoauth2.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "credential-injection-oauth2-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetUpstream,
	Since:    "1.9.0",
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Service      string        `flex:"oauthService"`
	Grant        string        `flex:"grantType"`
	Location     string        `flex:"credentialLocation"`
	ID           string        `flex:"clientId"`
	Secret       policy.Secret `flex:"clientSecret"`
	Username     string        `flex:"username"`
	Password     policy.Secret `flex:"password"`
	Scope        []string      `flex:"scope"`
	Overwrite    bool          `flex:"overwrite"`
	Timeout      float64       `flex:"tokenFetchTimeout"` // seconds
	Without      bool          `flex:"allowRequestWithoutCredential"`
	Format       string        `flex:"tokenRequestBodyFormat"`
	Header       string        `flex:"upstreamTokenHeaderName"`
	Prefix       string        `flex:"upstreamTokenPrefixName"`
	TTL          float64       `flex:"cachingTtl"` // seconds; 0: as long as the token is valid
	TokenHeaders []header      `flex:"customRequestHeaders"`
}

type header struct {
	Name  string        `flex:"name"`
	Value policy.Secret `flex:"value"`
}

func defaults() config {
	return config{Grant: "clientCredentials", Location: "body", Overwrite: true, Timeout: 10, Format: "urlEncoded", Header: "Authorization", Prefix: "Bearer"}
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	u, wrong := urlcheck.Parse(c.Service, urlcheck.Want{Schemes: []string{"https", "http"}})
	switch {
	case u == nil:
		f.Error("credentialinjectionoauth2/bad-url", "oauthService "+wrong.What, wrong.Hint, "oauthService")
	case urlcheck.Exposed(u):
		f.Warn("credentialinjectionoauth2/plain-text", fmt.Sprintf("oauthService is %s: the secret and the tokens cross the network as they are", urlcheck.Show(u)), "use https://", "oauthService")
	}
	client := []policy.Field{{Path: "clientId", Given: c.ID != ""}, {Path: "clientSecret", Given: !c.Secret.IsZero()}}
	if c.Grant == "clientCredentials" { // with the other grant they are usual too
		f.Mode(true, "grantType: clientCredentials", "grantType", client, nil, "credentialinjectionoauth2/missing", "credentialinjectionoauth2/unused")
	}
	f.Mode(c.Grant == "password", "grantType: password", "grantType", []policy.Field{{Path: "username", Given: c.Username != ""}, {Path: "password", Given: !c.Password.IsZero()}}, nil,
		"credentialinjectionoauth2/missing", "credentialinjectionoauth2/unused")
	for i, s := range c.Scope {
		if strings.ContainsAny(s, " ,") {
			f.Warn("credentialinjectionoauth2/scopes", fmt.Sprintf("the scope %q has a blank or a comma in it, which no scope has", s), "write each scope as an item of its own", "scope", strconv.Itoa(i))
		}
	}
	f.Seconds("tokenFetchTimeout", c.Timeout, "leaves no time for a token", "credentialinjectionoauth2/no-time", "credentialinjectionoauth2/milliseconds", "credentialinjectionoauth2/fraction")
	f.InjectedHeader("credentialinjectionoauth2/bad-header", c.Header, "upstreamTokenHeaderName")
	for i, h := range c.TokenHeaders {
		if !ir.IsHeaderName(h.Name) {
			f.Error("credentialinjectionoauth2/bad-header", fmt.Sprintf("%q is not the name of a header", h.Name), "use letters, digits and !#$%&'*+-.^_`|~", "customRequestHeaders", strconv.Itoa(i), "name")
		}
	}
	if c.Without {
		f.Note("credentialinjectionoauth2/without", "requests go on without a token when none can be had", "", "allowRequestWithoutCredential")
	}
	return f.List
}
