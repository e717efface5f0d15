// Package messagelogging is the "message-logging-flex" policy: messages about requests and responses in the gateway's log.
//
// It changes and refuses nothing.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-message-logging
package messagelogging

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/messagelog"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed messagelogging.schema.json
var schema []byte

//go:embed messagelogging.md
var page []byte

//go:embed messagelogging.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[messagelog.Config]{
	Name:    "message-logging-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.0.0",
	Check:   check,
})

func check(c *messagelog.Config, at policy.Locator) diag.List {
	return messagelog.Check(c, at, messagelog.Codes{
		NotBoolean:     "messagelogging/not-boolean",
		Never:          "messagelogging/never",
		NothingLogged:  "messagelogging/nothing-logged",
		SectionDefault: "messagelogging/section-default",
		NotYet:         "messagelogging/not-yet",
		UnknownVar:     "messagelogging/unknown-var",
		Credentials:    "messagelogging/credentials",
	})
}
