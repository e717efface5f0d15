// Package streamidletimeout is the "stream-idle-timeout-flex" policy: how long a stream may be silent in both directions.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-stream-idle-timeout
package streamidletimeout

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed streamidletimeout.schema.json
var schema []byte

//go:embed streamidletimeout.md
var page []byte

//go:embed streamidletimeout.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[policy.Timeout]{
	Name:     "stream-idle-timeout-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.9.0",
	Defaults: func() policy.Timeout { return policy.Timeout{Seconds: 300} },
	Check:    check,
})

func check(c *policy.Timeout, at policy.Locator) diag.List {
	return c.Check(at, "means that a silent stream stays open for ever", "streamidletimeout/off", "streamidletimeout/milliseconds", "streamidletimeout/fraction")
}
