// Package responsetimeout is the "response-timeout-flex" policy: how long the whole answer of an upstream may take.
//
// It does not limit the request, nor how long a stream may be silent.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-response-timeout
package responsetimeout

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed responsetimeout.schema.json
var schema []byte

//go:embed responsetimeout.md
var page []byte

//go:embed responsetimeout.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[policy.Timeout]{
	Name:     "response-timeout-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.9.0",
	Defaults: func() policy.Timeout { return policy.Timeout{Seconds: 15} },
	Check:    check,
})

func check(c *policy.Timeout, at policy.Locator) diag.List {
	return c.Check(at, "means that a response may take for ever", "responsetimeout/off", "responsetimeout/milliseconds", "responsetimeout/fraction")
}
