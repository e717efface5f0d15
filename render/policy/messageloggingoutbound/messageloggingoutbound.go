// Package messageloggingoutbound is the "message-logging-outbound-flex" policy: messages about what an upstream gets and answers.
//
// It changes and refuses nothing.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-message-logging
package messageloggingoutbound

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/messagelog"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed messageloggingoutbound.schema.json
var schema []byte

//go:embed messageloggingoutbound.md
var page []byte

//go:embed messageloggingoutbound.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[messagelog.Config]{
	Name:    "message-logging-outbound-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetUpstream,
	Since:   "1.11.0",
	Check:   check,
})

func check(c *messagelog.Config, at policy.Locator) diag.List {
	return messagelog.Check(c, at, messagelog.Codes{
		NotBoolean:    "messageloggingoutbound/not-boolean",
		Never:         "messageloggingoutbound/never",
		NothingLogged: "messageloggingoutbound/nothing-logged",
		NotYet:        "messageloggingoutbound/not-yet",
		UnknownVar:    "messageloggingoutbound/unknown-var",
		Credentials:   "messageloggingoutbound/credentials",
		Upstream:      true,
	})
}
