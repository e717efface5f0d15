// Package graphqlintrospectioncontrol is the "graphql-introspection-control-flex" policy: GraphQL operations that ask for
// the schema are refused.
//
// It does not look at operations that a client names by a hash instead of sending them (persisted queries).
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-graphql-introspection-control
package graphqlintrospectioncontrol

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed graphqlintrospectioncontrol.schema.json
var schema []byte

//go:embed graphqlintrospectioncontrol.md
var page []byte

//go:embed graphqlintrospectioncontrol.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "graphql-introspection-control-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.13.0",
	Guard:   policy.When(ir.Restricts, (*config).blocks),
	Check:   check,
})

type config struct {
	Schema   bool `flex:"blockSchema"`
	Type     bool `flex:"blockType"`
	Typename bool `flex:"blockTypename"`
}

func (c *config) blocks() bool { return c.Schema || c.Type || c.Typename }

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	switch {
	case !c.blocks():
		f.Warn("graphqlintrospectioncontrol/nothing-blocked", "none of blockSchema, blockType and blockTypename is true, so nothing is refused",
			"set blockSchema: true, or remove the policy")
	case c.Schema != c.Type:
		open, field := "__type", "blockType"
		if c.Type {
			open, field = "__schema", "blockSchema"
		}
		f.Warn("graphqlintrospectioncontrol/half-open", open+" still tells clients what types there are", "set "+field+": true as well")
	}
	return f.List
}
