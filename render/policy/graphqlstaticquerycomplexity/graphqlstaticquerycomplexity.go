// Package graphqlstaticquerycomplexity is the "graphql-static-query-complexity-flex" policy: GraphQL operations that cost too
// much are refused.
//
// The cost is estimated from the schema and the text of the operation, not from what is answered.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-graphql-static-query-complexity
package graphqlstaticquerycomplexity

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/graphqlschema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed graphqlstaticquerycomplexity.schema.json
var schema []byte

//go:embed graphqlstaticquerycomplexity.md
var page []byte

//go:embed graphqlstaticquerycomplexity.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "graphql-static-query-complexity-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.13.0",
	Guard:    policy.When(ir.Restricts, func(c *config) bool { return c.Block }),
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Source      string      `flex:"source"`
	Schema      syntax.Text `flex:"schema"`
	Maximum     float64     `flex:"maximumComplexity"`
	Default     float64     `flex:"defaultFieldCost"`
	Block       bool        `flex:"blockOperation"`
	Unbounded   bool        `flex:"rejectUnboundedLists"`
	Directive   syntax.Text `flex:"directiveName"`
	Value       syntax.Text `flex:"valueArgument"`
	Multipliers syntax.Text `flex:"multipliersArgument"`
}

func defaults() config {
	text := func(s string) syntax.Text { return syntax.Text{Value: s} }
	return config{Source: graphqlschema.Default, Default: 1, Block: true, Unbounded: true, Directive: text("cost"), Value: text("weight"), Multipliers: text("multipliers")}
}

type checker struct {
	*config
	policy.Findings
}

func check(c *config, at policy.Locator) diag.List {
	x := &checker{config: c, Findings: policy.Findings{At: at}}
	if c.Default > c.Maximum {
		x.Warn("graphqlstaticquerycomplexity/low-maximum", fmt.Sprintf("one field costs %v by default, more than maximumComplexity, which is %v: every operation is too much", c.Default, c.Maximum),
			"write a larger maximumComplexity", "maximumComplexity")
	}
	x.checkName("directiveName", c.Directive)
	x.checkName("valueArgument", c.Value)
	x.checkName("multipliersArgument", c.Multipliers)
	s := graphqlschema.Check(c.Source, c.Schema, &x.Findings, graphqlschema.Codes{
		Context:   "graphqlstaticquerycomplexity/context",
		NoSchema:  "graphqlstaticquerycomplexity/no-schema",
		Syntax:    "graphqlstaticquerycomplexity/bad-schema",
		Undefined: "graphqlstaticquerycomplexity/undefined-type",
		Repeated:  "graphqlstaticquerycomplexity/repeated-type",
		NoQuery:   "graphqlstaticquerycomplexity/no-query",
	})
	if s != nil {
		x.checkCosts(s)
	}
	return x.List
}

var name = regexp.MustCompile(`^[_A-Za-z][_0-9A-Za-z]*$`)

func (x *checker) checkName(field string, t syntax.Text) {
	if name.MatchString(t.Value) {
		return
	}
	hint := "use letters, digits and _, and no digit first"
	if strings.HasPrefix(t.Value, "@") {
		hint = "write it without @"
	}
	x.Warn("graphqlstaticquerycomplexity/bad-name", fmt.Sprintf("%s is %q, which is not a name of GraphQL, so nothing is found by it", field, t.Value), hint, field)
}

// checkCosts looks for costs in the schema that are not read.
func (x *checker) checkCosts(s *graphqlschema.Schema) {
	uses := s.Directives(x.Directive.Value)
	if len(uses) == 0 && !x.Directive.Range.IsZero() && name.MatchString(x.Directive.Value) {
		x.Warn("graphqlstaticquerycomplexity/unused-directive", fmt.Sprintf("nothing in the schema has the directive @%s, so every field costs %v", x.Directive.Value, x.Default),
			"write the name of the directive that the schema uses", "directiveName")
	}
	for _, use := range uses {
		if len(use.Arguments) == 0 || slices.Contains(use.Arguments, x.Value.Value) || slices.Contains(use.Arguments, x.Multipliers.Value) {
			continue
		}
		x.List = append(x.List, diag.Diagnostic{Severity: diag.Warning, Code: "graphqlstaticquerycomplexity/unread-cost", Subject: use.At,
			Summary: fmt.Sprintf("@%s has no argument %q here, so its cost is not read", x.Directive.Value, x.Value.Value), Hint: fmt.Sprintf("set valueArgument: %s, or rename the argument", use.Arguments[0])})
	}
}
