// Package dataweaverequestfilter is the "dataweave-request-filter-flex" policy: a script says which requests may pass.
//
// It does not run the script: that needs the engine of the language.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-dataweave-request-filter
package dataweaverequestfilter

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed dataweaverequestfilter.schema.json
var schema []byte

//go:embed dataweaverequestfilter.md
var page []byte

//go:embed dataweaverequestfilter.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "dataweave-request-filter-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.12.0",
	Guard:   policy.Always[config](ir.Restricts),
	Check:   check,
})

type config struct {
	Script  syntax.Text `flex:"script"`
	Payload bool        `flex:"requiresPayload"`
}

type checker struct{ policy.Findings }

func check(c *config, at policy.Locator) diag.List {
	x := &checker{policy.Findings{At: at}}
	s, l := expr.JudgeScript(c.Script.Value, c.Script.Range)
	if x.List = l; l.HasErrors() {
		return l
	}
	expr.JudgePayload(&x.Findings, s, c.Payload, "dataweaverequestfilter/no-payload", "dataweaverequestfilter/unused-payload")
	s.Result.Each(x.result)
	if e, ok := s.Result.Get("success"); ok && e.Value.Shape == dataweave.ShapeBool {
		does := map[string]string{"true": "lets every request pass", "false": "refuses every request"}[e.Value.Text]
		x.place(diag.Warning, "dataweaverequestfilter/constant", e.At, "success is always "+e.Value.Text+", so the filter "+does, "write a condition: { success: attributes.headers.\"x-api-key\" != null }")
	}
	return x.List
}

func (x *checker) place(s diag.Severity, code diag.Code, at diag.Range, summary, hint string) {
	x.List = append(x.List, diag.Diagnostic{Severity: s, Code: code, Subject: at, Summary: summary, Hint: hint})
}

// result judges one value that the script may give.
func (x *checker) result(r dataweave.Result) {
	const form = "write { success: true }, or { success: false, response: { statusCode: 403, body: \"…\", headers: {} } }"
	switch r.Shape {
	case dataweave.ShapeUnknown:
		return
	case dataweave.ShapeObject:
	default:
		x.place(diag.Error, "dataweaverequestfilter/not-an-object", r.At, fmt.Sprintf("the script gives %s, expected an object with success", r.Shape), form)
		return
	}
	success, ok := r.Get("success")
	if !ok && !r.Open {
		x.place(diag.Error, "dataweaverequestfilter/no-success", r.At, "the object that the script gives has no success", form)
		return
	}
	x.names(r, "the result", "success", "response")
	success.Value.Each(func(v dataweave.Result) {
		if ok && v.Shape != dataweave.ShapeUnknown && v.Shape != dataweave.ShapeBool {
			x.place(diag.Error, "dataweaverequestfilter/not-boolean", success.At, fmt.Sprintf("success is %s, expected true or false", v.Shape), "write it without quotes, or write a condition")
		}
	})
	if response, ok := r.Get("response"); ok {
		response.Value.Each(func(v dataweave.Result) { x.response(response, v) })
	}
}

// response judges the answer of a refused request.
func (x *checker) response(e dataweave.Entry, r dataweave.Result) {
	if r.Shape == dataweave.ShapeUnknown {
		return
	}
	if r.Shape != dataweave.ShapeObject {
		x.place(diag.Warning, "dataweaverequestfilter/bad-response", e.At, fmt.Sprintf("response is %s, expected an object", r.Shape), "write { statusCode: 403, body: \"…\", headers: {} }")
		return
	}
	x.names(r, "the response", "body", "headers", "statusCode")
	want := func(name string, shape dataweave.Shape) {
		part, ok := r.Get(name)
		if v := part.Value; ok && v.Shape != dataweave.ShapeUnknown && v.Shape != dataweave.ShapeOneOf && v.Shape != dataweave.ShapeNull && v.Shape != shape {
			x.place(diag.Warning, "dataweaverequestfilter/bad-response", part.At, fmt.Sprintf("%s is %s, expected %s", name, v.Shape, shape), "write "+shape.String())
		}
	}
	want("statusCode", dataweave.ShapeNumber)
	want("body", dataweave.ShapeText)
	want("headers", dataweave.ShapeObject)
	if status, ok := r.Get("statusCode"); ok && status.Value.Shape == dataweave.ShapeNumber {
		if n, err := strconv.Atoi(status.Value.Text); err != nil || n < 200 || n > 599 {
			x.place(diag.Error, "dataweaverequestfilter/bad-status", status.At, fmt.Sprintf("statusCode is %s, which no response has", status.Value.Text), "write one from 200 to 599, such as 403")
		}
	}
}

// names warns of entries that nobody reads.
func (x *checker) names(r dataweave.Result, what string, known ...string) {
	for _, e := range r.Entries {
		if slices.Contains(known, e.Name) {
			continue
		}
		hint := fmt.Sprintf("remove it: %s has %s", what, join(known))
		if near := diag.Nearest(e.Name, known); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		x.place(diag.Warning, "dataweaverequestfilter/unknown-entry", e.At, fmt.Sprintf("nobody reads %q in %s", e.Name, what), hint)
	}
}

func join(names []string) string {
	last := len(names) - 1
	text := ""
	for i, n := range names {
		switch {
		case i == 0:
		case i == last:
			text += " and "
		default:
			text += ", "
		}
		text += n
	}
	return text
}
