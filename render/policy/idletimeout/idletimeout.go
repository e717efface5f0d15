// Package idletimeout is the "idle-timeout-flex" policy: how long a connection to an upstream may be without a request.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-idle-timeout
package idletimeout

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed idletimeout.schema.json
var schema []byte

//go:embed idletimeout.md
var page []byte

//go:embed idletimeout.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[policy.Timeout]{
	Name:     "idle-timeout-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetUpstream,
	Since:    "1.9.0",
	Defaults: func() policy.Timeout { return policy.Timeout{Seconds: 60} },
	Check:    check,
})

func check(c *policy.Timeout, at policy.Locator) diag.List {
	return c.Check(at, "means that unused connections stay open for ever", "idletimeout/off", "idletimeout/milliseconds", "idletimeout/fraction")
}
