// Package headerremoval is the "header-removal-flex" policy: it drops headers by name or by regular expression.
//
// It never drops a protected header, whatever an expression says.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-header-removal
package headerremoval

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed headerremoval.schema.json
var schema []byte

//go:embed headerremoval.md
var page []byte

//go:embed headerremoval.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "header-removal-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.0.0",
	Check:   check,
	Effect:  effect,
})

type config struct {
	Inbound  []string `flex:"inboundHeaders"`
	Outbound []string `flex:"outboundHeaders"`
}

// protected are the headers that the product never removes. Pseudo headers are none of its business either: Envoy would
// drop :path if it were told to and answer 503 for want of it.
var protected = []string{"accept", "connection", "content-length", "content-type", "date", "host", "transfer-encoding"}

const protectedHint = "accept, connection, content-length, content-type, date, host and transfer-encoding always stay"

func check(c *config, at policy.Locator) diag.List {
	var l diag.List
	if len(c.Inbound) == 0 && len(c.Outbound) == 0 {
		l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "headerremoval/nothing-to-remove", Subject: at(),
			Summary: "neither inboundHeaders nor outboundHeaders names a header, expected at least one", Hint: "name a header to remove, or remove the policy"})
	}
	for i, text := range c.Inbound {
		l = append(l, checkEntry(text, at("inboundHeaders", strconv.Itoa(i)))...)
	}
	for i, text := range c.Outbound {
		place := at("outboundHeaders", strconv.Itoa(i))
		l = append(l, checkEntry(text, place)...)
		if strings.EqualFold(text, "server") {
			l = append(l, diag.Diagnostic{Severity: diag.Warning, Code: "headerremoval/server", Subject: place,
				Summary: fmt.Sprintf("%q has no effect: the gateway sets its own name once all policies have run", text),
				Hint:    "set FLEX_REMOVE_SERVER_HEADER=true for the gateway"})
		}
	}
	return l
}

func checkEntry(text string, place diag.Range) diag.List {
	e, err := parseEntry(text)
	switch {
	case err != nil:
		return diag.List{{Severity: diag.Error, Code: "headerremoval/bad-expression", Subject: place,
			Summary: fmt.Sprintf("%q is not a regular expression in RE2 syntax: %s", text, err),
			Hint:    `escape special characters with \, and note that RE2 has no look-around and no back-references`}}
	case e.unsupported != "":
		return diag.List{{Severity: diag.Error, Code: "headerremoval/not-supported-yet", Subject: place,
			Summary: fmt.Sprintf("%q also matches the protected header %q, and %s keeps it from being left out", text, e.hit, e.unsupported),
			Hint:    "write an expression that does not match protected headers; " + protectedHint}}
	case e.hit != "" && e.name == "" && e.regex == "":
		return diag.List{{Severity: diag.Warning, Code: "headerremoval/protected", Subject: place,
			Summary: fmt.Sprintf("%q matches only the protected header %q, which is never removed", text, e.hit), Hint: "remove it: " + protectedHint}}
	case strings.HasSuffix(text, "-*"):
		return diag.List{{Severity: diag.Warning, Code: "headerremoval/wildcard", Subject: place,
			Summary: fmt.Sprintf("%q is a regular expression, in which * repeats the hyphen before it", text),
			Hint:    fmt.Sprintf("write %q for all headers that begin so", strings.TrimSuffix(text, "*")+".*")}}
	case e.name == "" && e.regex == "":
		return diag.List{{Severity: diag.Warning, Code: "headerremoval/matches-nothing", Subject: place,
			Summary: fmt.Sprintf("%q matches no header name", text), Hint: commaHint(text)}}
	}
	return nil
}

func commaHint(text string) string {
	if strings.Contains(text, ",") {
		return "write one name for each entry of the list"
	}
	return "a header name is made of letters, digits and !#$%&'*+-.^_`|~"
}

func effect(c *config, _ policy.Input) (policy.Effect, error) {
	request, err := mutations(c.Inbound)
	if err != nil {
		return policy.Effect{}, err
	}
	response, err := mutations(c.Outbound)
	if err != nil || len(request)+len(response) == 0 {
		return policy.Effect{}, err
	}
	return policy.Effect{Filters: []policy.Filter{{Config: &headermutationv3.HeaderMutation{
		Mutations: &headermutationv3.Mutations{RequestMutations: request, ResponseMutations: response},
	}}}}, nil
}

func mutations(list []string) ([]*mutationv3.HeaderMutation, error) {
	var ms []*mutationv3.HeaderMutation
	for _, text := range list {
		e, err := parseEntry(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("header %q: %w", text, err)
		case e.unsupported != "":
			return nil, fmt.Errorf("header %q: %s", text, e.unsupported)
		case e.name != "":
			ms = append(ms, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: e.name}})
		case e.regex != "":
			ms = append(ms, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
				RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
					MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: e.regex}},
				}},
			}})
		}
	}
	return ms, nil
}
