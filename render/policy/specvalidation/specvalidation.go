// Package specvalidation is the "spec-validation-flex" policy: requests fit an OpenAPI description.
//
// It reads the description to say what is wrong with it; it judges no request.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-schema-validation
package specvalidation

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed specvalidation.schema.json
var schema []byte

//go:embed specvalidation.md
var page []byte

//go:embed specvalidation.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "spec-validation-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.4.0",
	Guard:    policy.When(ir.Restricts, func(c *config) bool { return c.Block }), // what is only logged is let through
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Source   *string     `flex:"source"` // nil: context
	Spec     syntax.Text `flex:"spec"`
	BasePath string      `flex:"apiBasePath"`
	Block    bool        `flex:"blockOperation"`
	Strict   bool        `flex:"strictParamsValidation"`
}

func defaults() config { return config{BasePath: "/", Block: true} }

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	inline := c.Source != nil && *c.Source == "inline"
	if !inline {
		what, edit := "source is context", diag.Edit{Op: diag.Set, At: at("source"), Value: "inline"}
		if c.Source == nil {
			what, edit = "source is missing and counts as context", diag.Edit{Op: diag.Insert, At: at(), To: []string{"source"}, Value: "inline"}
		}
		f.Error("specvalidation/context", what+", which takes the description from the platform; Local Mode has none", "write source: inline, and the description as spec", "source")
		if c.Spec.Value != "" {
			f.List[0].Edits = []diag.Edit{edit}
		}
	}
	switch {
	case strings.TrimSpace(c.Spec.Value) != "":
		f.List = append(f.List, description(c.Spec)...)
	case inline:
		f.Error("specvalidation/empty", "spec is missing or empty, so there is nothing that requests must fit", "write the OpenAPI description as a block of text: spec: |", "spec")
	}
	switch {
	case !strings.HasPrefix(c.BasePath, "/"):
		f.Error("specvalidation/bad-base-path", fmt.Sprintf("apiBasePath is %q, which does not begin with /", c.BasePath), "write the path of the API's address, or leave it out", "apiBasePath")
	case len(c.BasePath) > 1 && strings.HasSuffix(c.BasePath, "/"):
		f.Warn("specvalidation/base-path-slash", fmt.Sprintf("apiBasePath %q ends in /, which is then missing from the paths behind it", c.BasePath), "write "+strings.TrimRight(c.BasePath, "/"), "apiBasePath")
	}
	if !c.Block {
		f.Note("specvalidation/log-only", "blockOperation is false: requests that do not fit are logged, and let through", "", "blockOperation")
	}
	return f.List
}
