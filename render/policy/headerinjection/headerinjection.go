// Package headerinjection is the "header-injection-flex" policy: it adds headers to requests and responses.
//
// It never writes the framing of a message nor the host that the request is for.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-header-injection
package headerinjection

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	setmetadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed headerinjection.schema.json
var schema []byte

//go:embed headerinjection.md
var page []byte

//go:embed headerinjection.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "header-injection-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.0.0",
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

// Sets are the headers whose names are no expressions.
func (c *config) Sets() []string {
	var out []string
	add := func(what string, list []header) {
		for _, h := range list {
			if key, l := expr.Compile(h.Key, diag.Range{}, expr.Use{}); !l.HasErrors() {
				if name, ok := key.Literal(); ok {
					out = append(out, what+" header "+strconv.Quote(strings.ToLower(name)))
				}
			}
		}
	}
	add("request", c.Inbound)
	add("response", c.Outbound)
	return out
}

// maxValue is Envoy's limit for a header in its configuration (config.core.v3.HeaderValue), in bytes.
const maxValue = 16384

func check(c *config, at policy.Locator) diag.List {
	if len(c.Inbound) == 0 && len(c.Outbound) == 0 {
		return diag.List{{Severity: diag.Error, Code: "headerinjection/nothing-to-inject", Subject: at(),
			Summary: "neither inboundHeaders nor outboundHeaders holds a header, expected at least one", Hint: "add a header, or remove the policy"}}
	}
	var l diag.List
	for i, h := range c.Inbound {
		l = append(l, h.check(at, "inboundHeaders", strconv.Itoa(i), expr.Use{})...)
	}
	for i, h := range c.Outbound {
		l = append(l, h.check(at, "outboundHeaders", strconv.Itoa(i), expr.Use{Response: true})...)
	}
	return l
}

// check compiles both fields. What stands in them as text is checked here, what an expression yields when it is evaluated.
func (h header) check(at policy.Locator, list, index string, use expr.Use) diag.List {
	key, l := expr.Compile(h.Key, at(list, index, "key"), use)
	value, more := expr.Compile(h.Value, at(list, index, "value"), use)
	l = append(l, more...)
	if name, ok := key.Literal(); ok {
		if d := checkName(name); d != nil {
			d.Severity, d.Subject = diag.Error, at(list, index, "key")
			l = append(l, *d)
		}
	}
	if text, ok := value.Literal(); ok {
		if d := checkValue(text); d != nil {
			d.Severity, d.Subject = diag.Error, at(list, index, "value")
			l = append(l, *d)
		}
	}
	return l
}

// checkName says why a header of this name is not injected; nil: it is.
func checkName(name string) *diag.Diagnostic {
	lower := strings.ToLower(name)
	switch {
	case lower == "content-length" || lower == "transfer-encoding":
		return &diag.Diagnostic{Code: "headerinjection/not-supported-yet", Summary: fmt.Sprintf("the header %q says where a message ends; a wrong one lets requests be smuggled", name),
			Hint: "remove it: the gateway sets it as the body needs"}
	case lower == "host":
		return &diag.Diagnostic{Code: "headerinjection/not-supported-yet", Summary: fmt.Sprintf("the header %q is part of the request's address and cannot be injected", name),
			Hint: "remove it: the host of a request is that of the service's address"}
	case strings.HasPrefix(name, ":"):
		return &diag.Diagnostic{Code: "headerinjection/pseudo-header", Summary: fmt.Sprintf("%q is a pseudo header of HTTP/2 and cannot be injected", name),
			Hint: "remove it: pseudo headers follow from the request itself"}
	case strings.HasPrefix(lower, expr.InternalPrefix):
		return &diag.Diagnostic{Code: "headerinjection/not-supported-yet", Summary: fmt.Sprintf("the header %q is the gateway's own: names that start with %s are reserved", name, expr.InternalPrefix),
			Hint: "choose another name"}
	case !ir.IsHeaderName(name):
		return &diag.Diagnostic{Code: "headerinjection/bad-name", Summary: fmt.Sprintf("%q is not a header name", name),
			Hint: "use letters, digits and !#$%&'*+-.^_`|~"}
	}
	return nil
}

// checkValue says why a header of this value is not injected; nil: it is.
func checkValue(value string) *diag.Diagnostic {
	for _, r := range value {
		if r < ' ' && r != '\t' || r == 0x7f {
			return &diag.Diagnostic{Code: "headerinjection/bad-value", Summary: fmt.Sprintf("the value holds the control character %U, which ends or breaks a header", r),
				Hint: "write the value on one line"}
		}
	}
	if len(value) > maxValue {
		return &diag.Diagnostic{Code: "headerinjection/not-supported-yet", Summary: fmt.Sprintf("the value has %d bytes, expected at most %d", len(value), maxValue), Hint: "shorten it"}
	}
	return nil
}

// effect is a header_mutation filter for each direction whose headers Envoy has ready, and the script of package expr for the
// others. A direction is done by one of them, because headers of one name are appended in the order of the list.
func effect(c *config, in policy.Input) (policy.Effect, error) {
	request, err := compile(c.Inbound, expr.Use{})
	if err != nil {
		return policy.Effect{}, err
	}
	response, err := compile(c.Outbound, expr.Use{Response: true})
	if err != nil {
		return policy.Effect{}, err
	}
	var (
		native  headermutationv3.Mutations
		program expr.Program
		mark    *setmetadatav3.Config
		ok      bool
	)
	if native.RequestMutations, ok = requestMutations(request); !ok {
		program.Request = steps(request)
	}
	if native.ResponseMutations, mark, ok = responseMutations(response, in.ID); !ok {
		program.Response = steps(response)
	}
	var e policy.Effect
	if mark != nil {
		e.Filters = append(e.Filters, policy.Filter{Name: "values", Config: mark})
	}
	if len(native.GetRequestMutations())+len(native.GetResponseMutations()) > 0 {
		e.Filters = append(e.Filters, policy.Filter{Config: &headermutationv3.HeaderMutation{Mutations: &native}})
	}
	if len(program.Request)+len(program.Response) > 0 {
		filter, file := program.Filter("expr", in)
		e.Filters, e.Files = append(e.Filters, filter), append(e.Files, file)
	}
	return e, nil
}

type compiled struct{ key, value expr.Expr }

func compile(list []header, use expr.Use) ([]compiled, error) {
	out := make([]compiled, len(list))
	for i, h := range list {
		var l, more diag.List
		out[i].key, l = expr.Compile(h.Key, diag.Range{}, use)
		out[i].value, more = expr.Compile(h.Value, diag.Range{}, use)
		if err := append(l, more...).Err(); err != nil {
			return nil, fmt.Errorf("header %q: %w", h.Key, err)
		}
	}
	return out, nil
}

// requestMutations is the list as Envoy's own mutations; false: one of the headers needs the script.
func requestMutations(list []compiled) ([]*mutationv3.HeaderMutation, bool) {
	var ms []*mutationv3.HeaderMutation
	for _, h := range list {
		name, known := h.key.Literal()
		format, ready := h.value.Format()
		if !known || !ready {
			return nil, false
		}
		ms = append(ms, mutation(name, format, true))
	}
	return ms, true
}

// responseMutations is the same for responses. Envoy runs the response side of every filter also on a refusal by an earlier
// one, which the product does not, so the values are left in dynamic metadata by a request that passes here: a response
// without them gets no header. An empty value could not be told from none; it needs the script.
func responseMutations(list []compiled, id string) ([]*mutationv3.HeaderMutation, *setmetadatav3.Config, bool) {
	if len(list) == 0 {
		return nil, nil, true
	}
	var ms []*mutationv3.HeaderMutation
	namespace, values := "flexgw.headerinjection."+plain(id), map[string]*structpb.Value{}
	for i, h := range list {
		name, known := h.key.Literal()
		value, ready := h.value.Literal()
		if !known || !ready || value == "" {
			return nil, nil, false
		}
		key := strconv.Itoa(i)
		values[key] = structpb.NewStringValue(value)
		ms = append(ms, mutation(name, "%DYNAMIC_METADATA("+namespace+":"+key+")%", false))
	}
	return ms, &setmetadatav3.Config{Metadata: []*setmetadatav3.Metadata{{
		MetadataNamespace: namespace, AllowOverwrite: true, Value: &structpb.Struct{Fields: values},
	}}}, true
}

func mutation(name, format string, keepEmpty bool) *mutationv3.HeaderMutation {
	action := corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
	if name = strings.ToLower(name); overwritten(name) {
		action = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	}
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
		Header: &corev3.HeaderValue{Key: name, Value: format}, AppendAction: action, KeepEmptyValue: keepEmpty,
	}}}
}

// plain spells id without the characters that mean something in a substitution format, so that different ids stay different.
func plain(id string) string {
	var b strings.Builder
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '~':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// overwritten reports whether the product replaces the header; it appends all others. Those that it replaces and we refuse
// are content-length and transfer-encoding. The steps of package expr hold the same two.
func overwritten(name string) bool {
	return name == "access-control-allow-origin" || name == "content-type"
}

func steps(list []compiled) []expr.Step {
	out := make([]expr.Step, len(list))
	for i, h := range list {
		out[i] = expr.AppendHeaderNamed(h.key, h.value)
	}
	return out
}
