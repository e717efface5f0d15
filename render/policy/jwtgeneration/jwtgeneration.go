// Package jwtgeneration is the "jwt-generation-flex" policy: requests to an upstream carry a token that the gateway signs.
//
// It verifies none: jwt-validation-flex does.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-jwt-generation
package jwtgeneration

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed jwtgeneration.schema.json
var schema []byte

//go:embed jwtgeneration.md
var page []byte

//go:embed jwtgeneration.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "jwt-generation-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetUpstream,
	Since:    "1.12.0",
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Method  string        `flex:"signingMethod"`
	Key     policy.Secret `flex:"privateKey"`
	Issued  bool          `flex:"iat"`
	Expires int64         `flex:"exp"` // seconds from the time of issue; 0: never
	Begins  int64         `flex:"nbf"` // seconds from the time of issue
	Claims  []pair        `flex:"customClaims"`
	Headers []pair        `flex:"customHeaders"`
}

type pair struct {
	Name  syntax.Text `flex:"name"`
	Value syntax.Text `flex:"value"`
}

func defaults() config { return config{Method: "RS256", Issued: true} }

func check(c *config, at policy.Locator) diag.List {
	f := &policy.Findings{At: at}
	c.checkKey(f)
	c.checkTimes(f)
	taken := []string{}
	for name, on := range map[string]bool{"iat": c.Issued, "exp": c.Expires > 0, "nbf": c.Begins > 0} {
		if on {
			taken = append(taken, name)
		}
	}
	checkPairs(f, "customClaims", c.Claims, taken, "a claim that the policy sets itself")
	checkPairs(f, "customHeaders", c.Headers, []string{"alg", "typ"}, "a parameter that the policy sets itself")
	return f.List
}

// point is the smallest number of seconds that is a point in time rather than a length of it: 1 January 2001, or 31 years.
const point = 978_307_200

func (c *config) checkTimes(f *policy.Findings) {
	for _, x := range []struct {
		field string
		value int64
	}{{"exp", c.Expires}, {"nbf", c.Begins}} {
		if x.value >= point {
			f.Warn("jwtgeneration/point-in-time", fmt.Sprintf("%s is %d seconds from the time of issue, which is over 30 years", x.field, x.value), "write how many seconds a token is valid: it is a length of time, not a point in time", x.field)
		}
	}
	switch {
	case c.Expires == 0:
		f.Warn("jwtgeneration/no-expiry", "exp is 0, so the tokens never expire: one that is stolen works for ever", "write how many seconds a token is valid, for example 300", "exp")
	case c.Begins >= c.Expires:
		f.Error("jwtgeneration/never-valid", fmt.Sprintf("nbf is %d and exp is %d, so a token has expired before it begins to be valid", c.Begins, c.Expires), "write an exp that is larger than nbf", "nbf")
	}
}

// checkPairs judges names and values. A text may stand in single quotes, as the product's samples have it.
func checkPairs(f *policy.Findings, field string, list []pair, taken []string, what string) {
	seen := map[string]bool{}
	for i, p := range list {
		for _, x := range []struct {
			field string
			text  syntax.Text
		}{{"name", p.Name}, {"value", p.Value}} {
			if x.text.Value == "" {
				continue
			}
			_, l := expr.Judge(x.text.Value, x.text.Range, expr.Use{})
			f.List = append(f.List, l...)
			if strings.HasPrefix(x.text.Value, "'") != strings.HasSuffix(x.text.Value, "'") || x.text.Value == "'" {
				f.Warn("jwtgeneration/half-quoted", fmt.Sprintf("%s has one single quote, at one end", x.text.Value), "write both, or none", field, strconv.Itoa(i), x.field)
			}
		}
		name := strings.Trim(p.Name.Value, "'")
		switch {
		case dataweave.IsExpression(name):
			continue
		case slices.Contains(taken, name):
			f.Warn("jwtgeneration/taken", fmt.Sprintf("%q is %s", name, what), "remove it here, or switch the other one off", field, strconv.Itoa(i), "name")
		case seen[name]:
			f.Warn("jwtgeneration/repeated", fmt.Sprintf("there is another %q before this one", name), "remove one of them", field, strconv.Itoa(i), "name")
		}
		seen[name] = true
	}
}
