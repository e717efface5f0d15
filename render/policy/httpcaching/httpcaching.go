// Package httpcaching is the "http-caching-flex" policy: responses are kept, and given again to requests with the same key.
//
// It keeps no part of a response, and none of more than 1 MB.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-http-caching
package httpcaching

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed httpcaching.schema.json
var schema []byte

//go:embed httpcaching.md
var page []byte

//go:embed httpcaching.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "http-caching-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.0.0",
	Defaults: defaults,
	Shares:   func(c *config) bool { return c.Distributed },
	Check:    check,
})

type config struct {
	Key          syntax.Text `flex:"httpCachingKey"`
	Entries      int64       `flex:"maxCacheEntries"`
	TTL          int64       `flex:"ttl"` // seconds
	Headers      bool        `flex:"useHttpCacheHeaders"`
	Invalidation string      `flex:"invalidationHeader"`
	Request      syntax.Text `flex:"requestExpression"` // absent: every request
	Response     syntax.Text `flex:"responseExpression"`
	Distributed  bool        `flex:"distributed"`
	Persist      bool        `flex:"persistCache"`
}

func defaults() config {
	return config{Key: syntax.Text{Value: "#[attributes.requestPath]"}, Entries: 10000, TTL: 600, Headers: true}
}

type checker struct {
	*config
	policy.Findings
}

func check(c *config, at policy.Locator) diag.List {
	x := &checker{config: c, Findings: policy.Findings{At: at}}
	x.checkKey()
	if c.TTL >= 1000*60 && c.TTL%1000 == 0 {
		x.Warn("httpcaching/long-ttl", fmt.Sprintf("ttl is %d seconds, which looks like milliseconds", c.TTL), fmt.Sprintf("write %d if so", c.TTL/1000), "ttl")
	}
	if c.Invalidation != "" && !ir.IsHeaderName(c.Invalidation) {
		x.Error("httpcaching/bad-header", fmt.Sprintf("%q is not the name of a header", c.Invalidation), "use letters, digits and !#$%&'*+-.^_`|~", "invalidationHeader")
	}
	x.checkCondition(c.Request, "requestExpression", expr.Use{}, "#[attributes.method == 'GET']")
	x.checkCondition(c.Response, "responseExpression", expr.Use{Response: true}, "#[attributes.statusCode == 200]")
	return x.List
}

func (x *checker) checkKey() {
	const field = "httpCachingKey"
	if strings.TrimSpace(x.Key.Value) == "" {
		return // the default, as the product has it
	}
	tree, l := expr.Judge(x.Key.Value, x.Key.Range, expr.Use{})
	x.List = append(x.List, l...)
	if tree == nil || len(l) > 0 {
		return
	}
	switch typ := dataweave.TypeOf(tree); {
	case drawsUUID(tree):
		x.Warn("httpcaching/fresh-key", fmt.Sprintf("the key %s is another one for every request, so nothing is found again", x.Key.Value), "leave uuid out", field)
	case dataweave.PhaseOf(tree) == dataweave.Anytime:
		x.Warn("httpcaching/constant-key", fmt.Sprintf("the key %s is the same for every request, so all get the same response", x.Key.Value), "write an expression that tells them apart: #[attributes.requestUri]", field)
	case typ != dataweave.TypeText && typ != dataweave.TypeUnknown:
		x.Error("httpcaching/key-type", fmt.Sprintf("the key is %s, expected a text", typ), "write an expression for a text: #[attributes.requestUri]", field)
	case !slices.ContainsFunc(dataweave.Vars(tree), seesQuery):
		x.Warn("httpcaching/key-without-query", fmt.Sprintf("the key %s does not contain the query, so /a?x=1 and /a?x=2 get the same response", x.Key.Value),
			"write #[attributes.requestUri], or #[attributes.method ++ attributes.requestUri]", field)
	}
}

func drawsUUID(tree dataweave.Expr) bool {
	found := false
	dataweave.Walk(tree, func(e dataweave.Expr) bool {
		c, ok := e.(*dataweave.Call)
		found = found || ok && c.Name == "uuid"
		return !found
	})
	return found
}

// seesQuery reports whether a variable tells requests apart by more than their path.
func seesQuery(v *dataweave.Var) bool {
	return !slices.Contains([]string{"attributes.requestPath", "attributes.method", "attributes.scheme", "attributes.version", "attributes.headers.host"}, strings.Join(v.Path, "."))
}

func (x *checker) checkCondition(t syntax.Text, field string, use expr.Use, example string) {
	if strings.TrimSpace(t.Value) == "" {
		return
	}
	c, l := expr.JudgeCondition(t.Value, t.Range, use)
	x.List = append(x.List, l...)
	switch {
	case len(l) > 0:
	case c.Never:
		x.Warn("httpcaching/never", field+" is always false, so nothing is kept", "write a condition, or leave it out", field)
	case c.Not != "":
		x.Error("httpcaching/not-boolean", fmt.Sprintf("%s is %s, expected a condition", field, c.Not), "write a comparison, for example "+example, field)
	}
}
