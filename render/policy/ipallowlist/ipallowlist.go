// Package ipallowlist is the "ip-allowlist-flex" policy: only requests from listed addresses pass.
//
// It does not say how the address of a request is found: the expression does.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-ip-allowlist
package ipallowlist

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/iplist"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed ipallowlist.schema.json
var schema []byte

//go:embed ipallowlist.md
var page []byte

//go:embed ipallowlist.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[iplist.Config]{
	Name:     "ip-allowlist-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.0.0",
	Guard:    policy.Always[iplist.Config](ir.Restricts),
	Replies:  []policy.Reply{{Details: "rbac_access_denied_matched_policy[" + refusal + "]", Body: `{"error":"The address of this request is not allowed."}`}},
	Defaults: iplist.Defaults,
	Check:    check,
	Shifts:   func(was, now *iplist.Config) []policy.Shift { return iplist.Shifts(was, now, true) },
	Effect:   effect,
})

// refusal names the decision in Envoy's details, by which the reply is found.
const refusal = "ipallowlist"

func check(c *iplist.Config, at policy.Locator) diag.List {
	return iplist.Check(c, at, map[iplist.Kind]diag.Code{
		iplist.BadAddress: "ipallowlist/bad-address",
		iplist.Repeated:   "ipallowlist/repeated",
		iplist.HostBits:   "ipallowlist/host-bits",
		iplist.Constant:   "ipallowlist/constant",
		iplist.Spoofable:  "ipallowlist/spoofable",
	})
}

func effect(c *iplist.Config, in policy.Input) (policy.Effect, error) {
	return iplist.Filters(c, in, refusal, false)
}
