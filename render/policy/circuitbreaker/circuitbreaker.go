// Package circuitbreaker is the "circuit-breaker-flex" policy: how much may be under way to an upstream at the same time.
//
// It counts no failures, as circuit breakers elsewhere do.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-circuit-breaker
package circuitbreaker

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed circuitbreaker.schema.json
var schema []byte

//go:embed circuitbreaker.md
var page []byte

//go:embed circuitbreaker.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "circuit-breaker-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetUpstream,
	Since:   "1.9.0",
	Check:   check,
})

type config struct {
	Thresholds thresholds `flex:"thresholds"`
}

// thresholds are limits; nil: Envoy's.
type thresholds struct {
	Connections *uint32 `flex:"maxConnections"`
	Pending     *uint32 `flex:"maxPendingRequests"`
	Requests    *uint32 `flex:"maxRequests"`
	Retries     *uint32 `flex:"maxRetries"`
	Pools       *uint32 `flex:"maxConnectionPools"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	if c.Thresholds == (thresholds{}) {
		f.Warn("circuitbreaker/no-threshold", "no threshold is set, so the limits stay as they are", "set one, or remove the policy", "thresholds")
	}
	for _, x := range []struct {
		field string
		value *uint32
	}{{"maxConnections", c.Thresholds.Connections}, {"maxRequests", c.Thresholds.Requests}, {"maxConnectionPools", c.Thresholds.Pools}} {
		if x.value != nil && *x.value == 0 {
			f.Warn("circuitbreaker/zero", x.field+" is 0, which lets no request through", "write a larger number, or leave it out", "thresholds", x.field)
		}
	}
	return f.List
}
