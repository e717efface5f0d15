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

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "stream-idle-timeout-flex",
	Schema:   schema,
	Page:     page,
	Targets:  ir.TargetAPI,
	Since:    "1.9.0",
	Defaults: func() config { return config{Timeout: 300} },
	Check:    check,
})

type config struct {
	Timeout float64 `flex:"timeout"` // seconds
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	f.Seconds("timeout", c.Timeout, "means that a silent stream stays open for ever", "streamidletimeout/off", "streamidletimeout/milliseconds", "streamidletimeout/fraction")
	return f.List
}
