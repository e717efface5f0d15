// Package spikecontrol is the "spike-control-flex" policy: so many requests in a sliding window, and a queue for the others.
//
// It has one window and no key; replicas do not count together.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-spike-control
package spikecontrol

import (
	_ "embed"
	"fmt"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed spikecontrol.schema.json
var schema []byte

//go:embed spikecontrol.md
var page []byte

//go:embed spikecontrol.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "spike-control-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.0.0",
	Guard:    policy.Always[config](ir.Restricts),
	Defaults: func() config { return config{Requests: 1, Period: 1000, Delay: 1000} },
	Check:    check,
	Shifts:   shifts,
})

type config struct {
	Requests uint32  `flex:"maximumRequests"`
	Period   uint32  `flex:"timePeriodInMilliseconds"`
	Delay    uint32  `flex:"delayTimeInMillis"` // milliseconds
	Attempts *uint32 `flex:"delayAttempts"`     // nil: 1
	Queue    uint32  `flex:"queuingLimit"`
	Expose   bool    `flex:"exposeHeaders"`
}

// maxPeriod is the longest window that the platform's form takes, in milliseconds.
const maxPeriod = 5000

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	if c.Period > maxPeriod {
		f.Warn("spikecontrol/long-window", fmt.Sprintf("timePeriodInMilliseconds is %d, and the platform takes at most %d", c.Period, maxPeriod),
			"write at most 5000, or bind rate-limiting-flex, which counts over longer times", "timePeriodInMilliseconds")
	}
	attempts := c.attempts()
	switch {
	case c.Queue == 0 && c.Attempts != nil && attempts > 0:
		f.Warn("spikecontrol/no-queue", fmt.Sprintf("delayAttempts is %d, but queuingLimit is 0: no request ever waits, so none is tried again", attempts),
			"set queuingLimit to how many requests may wait, or delayAttempts: 0", "delayAttempts")
	case c.Queue > 0 && attempts == 0:
		f.Warn("spikecontrol/no-attempt", fmt.Sprintf("queuingLimit is %d, but delayAttempts is 0: no request that waits is tried again", c.Queue), "set delayAttempts to at least 1", "queuingLimit")
	case c.Queue > 0 && uint64(c.Delay)*uint64(attempts) > longWait:
		f.Warn("spikecontrol/long-wait", fmt.Sprintf("a request may wait %d × %d ms, which is longer than clients and the upstream's time limit (15 s) do", attempts, c.Delay),
			"lower delayTimeInMillis or delayAttempts", "delayTimeInMillis")
	}
	return f.List
}

func (c *config) attempts() uint32 {
	if c.Attempts == nil {
		return 1
	}
	return *c.Attempts
}

// longWait is the default time for the answer of an upstream, in milliseconds.
const longWait = 15000
