// Package graphqloperationlimits is the "graphql-operation-limits-flex" policy: how deep and wide a GraphQL operation may be.
//
// It counts what is written: fragments are not put in the place where they are used.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-graphql-operation-limits
package graphqloperationlimits

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed graphqloperationlimits.schema.json
var schema []byte

//go:embed graphqloperationlimits.md
var page []byte

//go:embed graphqloperationlimits.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "graphql-operation-limits-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.13.0",
	Guard:    policy.Always[config](ir.Restricts),
	Defaults: func() config { return config{-1, -1, -1, -1} },
	Check:    check,
})

// config holds limits of one operation. -1: no limit.
type config struct {
	Depth      int64 `flex:"maxDepth"`
	Aliases    int64 `flex:"maxAliases"`
	RootFields int64 `flex:"maxRootFields"`
	Directives int64 `flex:"maxDirectives"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	f.Limits([]policy.Limit{
		{Field: "maxDepth", Value: c.Depth, Zero: "every operation"},
		{Field: "maxAliases", Value: c.Aliases},
		{Field: "maxRootFields", Value: c.RootFields, Zero: "every operation"},
		{Field: "maxDirectives", Value: c.Directives},
	}, "graphqloperationlimits/zero", "graphqloperationlimits/no-limit")
	return f.List
}
