// Package xmlthreatprotection is the "xml-threat-protection-flex" policy: how deep, wide and long an XML body may be.
//
// It does not look at what the elements mean, and at no body that is not XML.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-xml-threat-protection
package xmlthreatprotection

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed xmlthreatprotection.schema.json
var schema []byte

//go:embed xmlthreatprotection.md
var page []byte

//go:embed xmlthreatprotection.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "xml-threat-protection-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.10.0",
	Guard:    policy.Always[config](ir.Restricts),
	Defaults: func() config { return config{-1, -1, -1, -1, -1, -1} },
	Check:    check,
})

// config counts the root element as depth 1. -1: no limit.
type config struct {
	Depth      int64 `flex:"maxNodeDepth"`
	Attributes int64 `flex:"maxAttributeCountPerElement"`
	Children   int64 `flex:"maxChildCount"`
	Text       int64 `flex:"maxTextLength"`
	Attribute  int64 `flex:"maxAttributeLength"`
	Comment    int64 `flex:"maxCommentLength"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	f.Limits([]policy.Limit{
		{Field: "maxNodeDepth", Value: c.Depth, Zero: "every body"},
		{Field: "maxAttributeCountPerElement", Value: c.Attributes, Zero: "every body with an attribute"},
		{Field: "maxChildCount", Value: c.Children, Zero: "every body whose root is not empty"},
		{Field: "maxTextLength", Value: c.Text, Zero: "every body with text"},
		{Field: "maxAttributeLength", Value: c.Attribute, Zero: "every body with an attribute that is not empty"},
		{Field: "maxCommentLength", Value: c.Comment},
	}, "xmlthreatprotection/zero", "xmlthreatprotection/no-limit")
	return f.List
}
