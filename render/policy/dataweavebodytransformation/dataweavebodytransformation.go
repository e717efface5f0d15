// Package dataweavebodytransformation is the "dataweave-body-transformation-flex" policy: a script makes the body of a request or a response.
//
// It does not run the script: that needs the engine of the language.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-dataweave-body-transformation
package dataweavebodytransformation

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed dataweavebodytransformation.schema.json
var schema []byte

//go:embed dataweavebodytransformation.md
var page []byte

//go:embed dataweavebodytransformation.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "dataweave-body-transformation-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.12.0",
	Check:   check,
})

type config struct {
	Script syntax.Text `flex:"script"`
	Flow   string      `flex:"requestFlow"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	s, l := expr.JudgeScript(c.Script.Value, c.Script.Range)
	if f.List = l; l.HasErrors() {
		return l
	}
	if s.Output == "application/java" || s.Output == "java" {
		f.Warn("dataweavebodytransformation/java-output", "the output is application/java, which is a value in memory and no body", "write a format that can be sent: output application/json", "script")
	}
	return f.List
}
