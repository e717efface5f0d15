// Package graphqlschemavalidation is the "graphql-schema-validation-flex" policy: GraphQL operations that the schema does not
// have are refused.
//
// It does not look at operations that a client names by a hash instead of sending them (persisted queries).
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-graphql-schema-validation
package graphqlschemavalidation

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/graphqlschema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed graphqlschemavalidation.schema.json
var schema []byte

//go:embed graphqlschemavalidation.md
var page []byte

//go:embed graphqlschemavalidation.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "graphql-schema-validation-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.13.0",
	Guard:    policy.When(ir.Restricts, func(c *config) bool { return c.Block }),
	Defaults: func() config { return config{Source: graphqlschema.Default, Block: true} },
	Check:    check,
})

type config struct {
	Source string      `flex:"source"`
	Schema syntax.Text `flex:"schema"`
	Block  bool        `flex:"blockOperation"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	graphqlschema.Check(c.Source, c.Schema, &f, graphqlschema.Codes{
		Context:   "graphqlschemavalidation/context",
		NoSchema:  "graphqlschemavalidation/no-schema",
		Syntax:    "graphqlschemavalidation/bad-schema",
		Undefined: "graphqlschemavalidation/undefined-type",
		Repeated:  "graphqlschemavalidation/repeated-type",
		NoQuery:   "graphqlschemavalidation/no-query",
	})
	return f.List
}
