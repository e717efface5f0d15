// Package dataweaveheaderstransformation is the "dataweave-headers-transformation-flex" policy: a script makes the headers of a request or a response.
//
// It does not run the script: that needs the engine of the language.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-dataweave-headers-transformation
package dataweaveheaderstransformation

import (
	_ "embed"
	"fmt"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed dataweaveheaderstransformation.schema.json
var schema []byte

//go:embed dataweaveheaderstransformation.md
var page []byte

//go:embed dataweaveheaderstransformation.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "dataweave-headers-transformation-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.12.0",
	Check:   check,
})

type config struct {
	Script  syntax.Text `flex:"script"`
	Flow    string      `flex:"requestFlow"`
	Payload bool        `flex:"requiresPayload"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	s, l := expr.JudgeScript(c.Script.Value, c.Script.Range)
	if f.List = l; l.HasErrors() {
		return l
	}
	expr.JudgePayload(&f, s, c.Payload, "dataweaveheaderstransformation/no-payload", "dataweaveheaderstransformation/unused-payload")
	s.Result.Each(func(r dataweave.Result) { checkResult(&f, r) })
	return f.List
}

// checkResult judges one value that the script may give: names of headers, each with a text or a list of texts.
func checkResult(f *policy.Findings, r dataweave.Result) {
	if r.Shape != dataweave.ShapeUnknown && r.Shape != dataweave.ShapeObject {
		f.List = append(f.List, diag.Diagnostic{Severity: diag.Error, Code: "dataweaveheaderstransformation/not-an-object", Subject: r.At,
			Summary: fmt.Sprintf("the script gives %s, expected an object of headers", r.Shape), Hint: "write { \"name\": value }; attributes.headers has those that came"})
	}
	for _, e := range r.Entries {
		d := diag.Diagnostic{Severity: diag.Warning, Subject: e.At}
		switch {
		case !ir.IsHeaderName(e.Name):
			d.Code, d.Summary, d.Hint = "dataweaveheaderstransformation/bad-name", fmt.Sprintf("%q is not the name of a header", e.Name), "use letters, digits and !#$%&'*+-.^_`|~"
		case e.Value.Shape == dataweave.ShapeObject:
			d.Code, d.Summary, d.Hint = "dataweaveheaderstransformation/bad-value", fmt.Sprintf("the header %q is an object, expected a text or a list of texts", e.Name), "write its value as a text"
		default:
			continue
		}
		f.List = append(f.List, d)
	}
}
