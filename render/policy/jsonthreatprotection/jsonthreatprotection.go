// Package jsonthreatprotection is the "json-threat-protection-flex" policy: how deep, long and wide a JSON body may be.
//
// It does not look at what the values mean, and at no body that is not JSON.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-json-threat-protection
package jsonthreatprotection

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed jsonthreatprotection.schema.json
var schema []byte

//go:embed jsonthreatprotection.md
var page []byte

//go:embed jsonthreatprotection.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "json-threat-protection-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.4.0",
	Guard:    policy.Always[config](ir.Restricts),
	Defaults: func() config { return config{-1, -1, -1, -1, -1} },
	Check:    check,
})

// config counts from the outermost value, which has depth 1; lengths are bytes of UTF-8. -1: no limit.
type config struct {
	Depth       int64 `flex:"maxContainerDepth"`
	ValueLength int64 `flex:"maxStringValueLength"`
	NameLength  int64 `flex:"maxObjectEntryNameLength"`
	Entries     int64 `flex:"maxObjectEntryCount"`
	Elements    int64 `flex:"maxArrayElementCount"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	f.Limits([]policy.Limit{
		{Field: "maxContainerDepth", Value: c.Depth, Zero: "every body that is an object or a list"},
		{Field: "maxStringValueLength", Value: c.ValueLength, Zero: "every body with a text that is not empty"},
		{Field: "maxObjectEntryNameLength", Value: c.NameLength, Zero: "every body with an object that is not empty"},
		{Field: "maxObjectEntryCount", Value: c.Entries, Zero: "every body with an object that is not empty"},
		{Field: "maxArrayElementCount", Value: c.Elements, Zero: "every body with a list that is not empty"},
	}, "jsonthreatprotection/zero", "jsonthreatprotection/no-limit")
	return f.List
}
