// Package messagelog is what the two policies that log messages have in common: their configuration, and what is odd about it.
//
// It logs nothing, and knows neither policy: what is wrong has the codes that it is given.
package messagelog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Config is the configuration of both policies.
type Config struct {
	Items []Item `flex:"loggingConfiguration"`
}

// Item is one message and when it is logged.
type Item struct {
	Name string `flex:"itemName"`
	Data struct {
		Message     syntax.Text `flex:"message"`
		Conditional syntax.Text `flex:"conditional"` // absent: always
		Category    string      `flex:"category"`
		Level       string      `flex:"level"`
		First       *bool       `flex:"firstSection"`  // on the request; nil: as the release has it
		Second      bool        `flex:"secondSection"` // on the response
	} `flex:"itemData"`
}

// Codes are the policy's names for what can be wrong, and what else sets it apart.
type Codes struct {
	NotBoolean     diag.Code // the condition can never be true or false
	Never          diag.Code // the condition is always false
	NothingLogged  diag.Code // neither section is logged
	SectionDefault diag.Code // firstSection is absent, and releases differ; "": all that have the policy take it for true
	NotYet         diag.Code // something of the response is logged on the request
	UnknownVar     diag.Code // a variable that nobody sets
	Credentials    diag.Code // credentials go to the log

	// Upstream: the policy stands next to an upstream, and has vars.upstream.
	Upstream bool
}

// Check judges a configuration.
func Check(c *Config, at policy.Locator, codes Codes) diag.List {
	x := &checker{Findings: policy.Findings{At: at}, codes: codes}
	for i := range c.Items {
		x.item(&c.Items[i], func(field string) []string {
			return []string{"loggingConfiguration", strconv.Itoa(i), "itemData", field}
		})
	}
	return x.List
}

type checker struct {
	policy.Findings
	codes Codes
}

func (x *checker) item(item *Item, path func(string) []string) {
	d := &item.Data
	switch {
	case d.First == nil && x.codes.SectionDefault != "":
		x.Warn(x.codes.SectionDefault, "firstSection is not written: releases up to 1.8 take it for false, later ones for true", "write firstSection: true or false", path("firstSection")...)
	case d.First != nil && !*d.First && !d.Second:
		x.Warn(x.codes.NothingLogged, "neither firstSection nor secondSection is true, so nothing is logged", "set one of them to true", path("firstSection")...)
	}
	tree, l := expr.Judge(d.Message.Value, d.Message.Range, expr.Use{Response: true})
	x.List = append(x.List, l...)
	if tree != nil {
		x.variables(tree)
		x.credentials(tree)
		x.sections(item, tree)
	}
	if strings.TrimSpace(d.Conditional.Value) == "" {
		return
	}
	c, l := expr.JudgeCondition(d.Conditional.Value, d.Conditional.Range, expr.Use{Response: true})
	if x.List = append(x.List, l...); c.Tree == nil {
		return
	}
	x.variables(c.Tree)
	x.sections(item, c.Tree)
	switch {
	case len(l) > 0:
	case c.Never:
		x.Warn(x.codes.Never, "conditional is always false, so nothing is logged", "write a condition, or leave it out", path("conditional")...)
	case c.Not != "":
		x.Error(x.codes.NotBoolean, fmt.Sprintf("conditional is %s, expected a condition", c.Not), "write a comparison, for example #[attributes.method == 'POST']", path("conditional")...)
	}
}

// variables warns of those that nobody sets.
func (x *checker) variables(tree dataweave.Expr) {
	for _, v := range dataweave.Vars(tree) {
		if v.Path[0] == "vars" && len(v.Path) > 1 && v.Path[1] != "claimSet" && !x.known(v.Path[1:]) {
			x.report(x.codes.UnknownVar, v, fmt.Sprintf("%s is set by nobody, so it is always null", strings.Join(v.Path, ".")), x.hint(v.Path[1:]))
		}
	}
}

func (x *checker) report(code diag.Code, e dataweave.Expr, summary, hint string) {
	x.List = append(x.List, diag.Diagnostic{Severity: diag.Warning, Code: code, Subject: e.Range(), Summary: summary, Hint: hint})
}

// names are what the product adds to vars for the policy; those of 1.8 that moved below request are among them.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-message-logging and
// https://docs.mulesoft.com/gateway/latest/policies-outbound-message-logging
func (x *checker) names() []string {
	all := []string{
		"apiId", "apiInstanceName", "apiName", "apiVersion", "envId", "hostId", "masterOrgId", "method", "orgId", "receivedTs", "remoteAddress", "repliedTs", "reqId",
		"request.headers", "request.method", "request.remoteAddress", "request.requestPath", "requestDisposition", "requestPath", "runtimeVersion",
		"violation.clientId", "violation.clientName", "violation.policyName", "violation.violationType",
	}
	if x.codes.Upstream {
		all = append(all, "upstream.headers", "upstream.statusCode", "upstream.uri")
	}
	return all
}

func (x *checker) known(path []string) bool {
	name := strings.Join(path, ".")
	return slices.ContainsFunc(x.names(), func(v string) bool {
		return v == name || strings.HasPrefix(v, name+".") || strings.HasSuffix(v, ".headers") && strings.HasPrefix(name, v+".")
	})
}

func (x *checker) hint(path []string) string {
	name := strings.Join(path, ".")
	if near := diag.Nearest(name, x.names()); near != "" {
		return fmt.Sprintf("did you mean vars.%s?", near)
	}
	return "vars has " + strings.Join(x.names(), ", ")
}

// sections warns of parts that are not there yet when the request is logged.
func (x *checker) sections(item *Item, tree dataweave.Expr) {
	if first := item.Data.First; first == nil && x.codes.SectionDefault != "" || first != nil && !*first {
		return
	}
	for _, v := range dataweave.Vars(tree) {
		name := strings.Join(v.Path, ".")
		if name != "attributes.statusCode" && name != "vars.upstream.statusCode" && !strings.HasPrefix(name+".", "vars.violation.") {
			continue
		}
		x.report(x.codes.NotYet, v, fmt.Sprintf("%s belongs to the response, but firstSection logs the request as well", name), "set firstSection: false, or log it in an item of its own")
	}
}

// secretHeaders are those that are credentials by themselves.
var secretHeaders = []string{"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"}

// credentials warns of parts of a message that are printed as they are and hold credentials.
func (x *checker) credentials(tree dataweave.Expr) {
	for _, e := range printed(tree) {
		v, ok := e.(*dataweave.Var)
		if !ok {
			continue
		}
		name, isHeader := v.HeaderName()
		switch whole := strings.Join(v.Path, "."); {
		case slices.Contains([]string{"attributes", "attributes.headers", "vars.request", "vars.request.headers", "vars.upstream", "vars.upstream.headers"}, whole):
			all := strings.TrimSuffix(whole, ".headers") + ".headers"
			x.report(x.codes.Credentials, v, fmt.Sprintf("%s holds the authorization and cookie headers, which then stand in the log", whole), fmt.Sprintf("leave them out: #[%s -- ['authorization', 'cookie']]", all))
		case isHeader && slices.Contains(secretHeaders, name):
			x.report(x.codes.Credentials, v, fmt.Sprintf("the header %s is a credential, which then stands in the log", name), "log something that was made of it, or leave it out")
		}
	}
}

// printed are the parts of e whose values are its text, as they are.
func printed(e dataweave.Expr) []dataweave.Expr {
	switch e := e.(type) {
	case *dataweave.Binary:
		if e.Op == dataweave.Concat || e.Op == dataweave.Default {
			return append(printed(e.X), printed(e.Y)...)
		}
	case *dataweave.If:
		return append(printed(e.Then), printed(e.Else)...)
	}
	return []dataweave.Expr{e}
}
