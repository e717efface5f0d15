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

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "idle-timeout-flex",
	Schema:   schema,
	Page:     page,
	Targets:  ir.TargetUpstream,
	Since:    "1.9.0",
	Defaults: func() config { return config{Timeout: 60} },
	Check:    check,
})

type config struct {
	Timeout float64 `flex:"timeout"` // seconds
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	f.Seconds("timeout", c.Timeout, "means that unused connections stay open for ever", "idletimeout/off", "idletimeout/milliseconds", "idletimeout/fraction")
	return f.List
}
