// Package headerinjection is the "header-injection-flex" policy: it adds headers to requests and responses.
//
// It never writes the framing of a message nor the host that the request is for.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-header-injection
package headerinjection

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed headerinjection.schema.json
var schema []byte

//go:embed headerinjection.md
var page []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "header-injection-flex",
	Schema:  schema,
	Page:    page,
	Targets: ir.TargetAPI,
	Check:   check,
	Effect:  effect,
})

type config struct {
	Inbound  []header `flex:"inboundHeaders"`
	Outbound []header `flex:"outboundHeaders"`
}

type header struct {
	Key   string `flex:"key"`
	Value string `flex:"value"`
}

var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, 5.6.2

// maxValue is Envoy's limit for a header in its configuration (config.core.v3.HeaderValue), in bytes.
const maxValue = 16384

func check(c *config, at policy.Locator) diag.List {
	if len(c.Inbound) == 0 && len(c.Outbound) == 0 {
		return diag.List{{Severity: diag.Error, Code: "headerinjection/nothing-to-inject", Subject: at(),
			Summary: "neither inboundHeaders nor outboundHeaders holds a header, expected at least one", Hint: "add a header, or remove the policy"}}
	}
	var l diag.List
	for i, h := range c.Inbound {
		l = append(l, h.check(at, "inboundHeaders", strconv.Itoa(i))...)
	}
	for i, h := range c.Outbound {
		l = append(l, h.check(at, "outboundHeaders", strconv.Itoa(i))...)
	}
	return l
}

func (h header) check(at policy.Locator, path ...string) diag.List {
	var l diag.List
	for _, x := range []struct{ field, text string }{{"key", h.Key}, {"value", h.Value}} {
		if isExpression(x.text) {
			return diag.List{{Severity: diag.Error, Code: "headerinjection/expression", Subject: at(append(path, x.field)...),
				Summary: fmt.Sprintf("the expression %s cannot be carried out yet", x.text), Hint: "write a plain text"}}
		}
	}
	if problem, hint := checkName(h.Key); problem != nil {
		problem.Hint, problem.Subject, problem.Severity = hint, at(append(path, "key")...), diag.Error
		l = append(l, *problem)
	}
	if problem := checkValue(h.Value); problem != "" {
		l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "headerinjection/bad-value", Summary: problem,
			Hint: "write the value on one line, of at most 16384 bytes", Subject: at(append(path, "value")...)})
	}
	return l
}

func isExpression(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "#[") }

// checkName says why a header of this name is not injected.
func checkName(name string) (problem *diag.Diagnostic, hint string) {
	lower := strings.ToLower(name)
	switch {
	case lower == "content-length" || lower == "transfer-encoding":
		return &diag.Diagnostic{Code: "headerinjection/framing", Summary: fmt.Sprintf("the header %q says where a message ends; a wrong one lets requests be smuggled", name)},
			"remove it: the gateway sets it as the body needs"
	case lower == "host":
		return &diag.Diagnostic{Code: "headerinjection/host", Summary: `the header "host" is part of the request's address and cannot be injected`},
			"the host of a request is that of the service's address"
	case strings.HasPrefix(name, ":"):
		return &diag.Diagnostic{Code: "headerinjection/pseudo-header", Summary: fmt.Sprintf("%q is a pseudo header of HTTP/2 and cannot be injected", name)},
			"pseudo headers follow from the request itself"
	case !token.MatchString(name):
		return &diag.Diagnostic{Code: "headerinjection/bad-name", Summary: fmt.Sprintf("%q is not a header name", name)},
			"use letters, digits and !#$%&'*+-.^_`|~"
	}
	return nil, ""
}

func checkValue(value string) string {
	if len(value) > maxValue {
		return fmt.Sprintf("the value has %d bytes, expected at most %d", len(value), maxValue)
	}
	for _, r := range value {
		if r < ' ' && r != '\t' || r == 0x7f {
			return fmt.Sprintf("the value holds the control character %U, which ends or breaks a header", r)
		}
	}
	return ""
}

// overwritten are the headers that the product replaces; it appends all others.
var overwritten = map[string]bool{"access-control-allow-origin": true, "content-type": true}

func effect(c *config, _ policy.Input) (policy.Effect, error) {
	return policy.Effect{Filters: []policy.Filter{{Config: &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestMutations: mutations(c.Inbound), ResponseMutations: mutations(c.Outbound),
	}}}}}, nil
}

func mutations(list []header) []*mutationv3.HeaderMutation {
	var ms []*mutationv3.HeaderMutation
	for _, h := range list {
		action := corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		if overwritten[strings.ToLower(h.Key)] {
			action = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		}
		ms = append(ms, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header:         &corev3.HeaderValue{Key: strings.ToLower(h.Key), Value: strings.ReplaceAll(h.Value, "%", "%%")},
			AppendAction:   action,
			KeepEmptyValue: true,
		}}})
	}
	return ms
}
