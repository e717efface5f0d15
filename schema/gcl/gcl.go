// Package gcl reads the language in which Extensions describe the configuration of a policy, and makes JSON Schema of it.
//
// It knows the keywords that the product's development kit documents. Whatever else a property says is let through: a
// construct that is not known here is never the reason why a configuration is refused. It finds no Extension and follows no
// reference; package schema does.
//
// Source: https://docs.mulesoft.com/pdk/latest/policies-pdk-create-schema-definition
package gcl

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/syntax"
)

// Part is what one Extension declares.
type Part struct {
	Properties map[string]*syntax.Node
	Required   []syntax.Text
}

// Schema describes the configuration of one policy: the properties of an Extension and of all that it extends.
type Schema struct {
	props    map[string]*syntax.Node // each a mapping of keywords
	required map[string]bool
}

// Merge puts parts together, the nearest first: a keyword of a property is that of the first part that has it.
func Merge(parts []Part) *Schema {
	s := &Schema{props: map[string]*syntax.Node{}, required: map[string]bool{}}
	for _, part := range parts {
		for name, p := range part.Properties {
			s.props[name] = merged(s.props[name], p)
		}
		for _, r := range part.Required {
			s.required[r.Value] = true
		}
	}
	return s
}

// merged is near with the keywords of far that it lacks.
func merged(near, far *syntax.Node) *syntax.Node {
	if near == nil || near.Kind != syntax.Mapping {
		return far
	}
	if far == nil || far.Kind != syntax.Mapping {
		return near
	}
	out := *near
	out.Fields = slices.Clone(near.Fields)
	for _, f := range far.Fields {
		if near.Field(f.Name) == nil {
			out.Fields = append(out.Fields, f)
		}
	}
	return &out
}

// Has reports whether there is a property of this name.
func (s *Schema) Has(name string) bool { return s.props[name] != nil }

// Names are the names of all properties, sorted.
func (s *Schema) Names() []string { return slices.Sorted(maps.Keys(s.props)) }

// JSON is the description as JSON Schema. A closed one knows no other fields than the declared ones.
//
// A required property that has a default may be absent: it takes the default. Defaults that are long texts (the module of an
// implementation) are left out.
func (s *Schema) JSON(closed bool) []byte {
	required := slices.Sorted(maps.Keys(s.required))
	doc := object(s.props, required, closed)
	doc["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	b, err := json.Marshal(doc)
	if err != nil {
		panic("gcl: " + err.Error()) // texts, numbers and booleans only
	}
	return b
}

func object(props map[string]*syntax.Node, required []string, closed bool) map[string]any {
	out := map[string]any{"type": "object"}
	if closed {
		out["additionalProperties"] = false
	}
	all, needed := map[string]any{}, []string{}
	for name, p := range props {
		all[name] = translate(p, closed)
	}
	for _, name := range required {
		if p := props[name]; p != nil && !hasDefault(p) && !slices.Contains(needed, name) {
			needed = append(needed, name)
		}
	}
	if out["properties"] = all; len(needed) > 0 {
		out["required"] = needed
	}
	return out
}

// unread are keywords that compose schemas. The product documents none of them, so a property that has one may be anything.
var unread = []string{"$ref", "allOf", "anyOf", "oneOf", "not", "if"}

// longDefault is the length from which on a default is no longer worth showing, in bytes.
const longDefault = 1024

func translate(p *syntax.Node, closed bool) map[string]any {
	out := map[string]any{}
	if p == nil || p.Kind != syntax.Mapping {
		return out
	}
	if sensitive(p) {
		out["writeOnly"] = true
	}
	for _, k := range []string{"description", "title"} {
		if t := p.Get(k); t != nil && t.Kind == syntax.Scalar && t.Scalar != nil && out["description"] == nil {
			out["description"] = t.Text
		}
	}
	if slices.ContainsFunc(unread, func(k string) bool { return p.Get(k) != nil }) {
		return out
	}
	types := typesOf(p)
	switch {
	case len(types) == 1:
		out["type"] = types[0]
	case len(types) > 1:
		out["type"] = types
	}
	if values := enum(p, types); len(values) > 0 {
		out["enum"] = values
	}
	if d := p.Get("default"); hasDefault(p) && !sensitive(p) && len(d.Text) < longDefault {
		out["default"] = d.Value()
	}
	if u := p.Get("uniqueItems"); u != nil && u.Scalar == true {
		out["uniqueItems"] = true
	}
	if items := p.Get("items"); items != nil && items.Kind == syntax.Mapping {
		out["items"] = translate(items, closed)
	}
	if props := p.Get("properties"); props != nil && props.Kind == syntax.Mapping {
		o := object(inner(p), texts(p.Get("required")), closed && p.Get("additionalProperties") == nil)
		delete(o, "type")
		maps.Copy(out, o)
	}
	return out
}

// inner are the properties of an object.
func inner(p *syntax.Node) map[string]*syntax.Node {
	out := map[string]*syntax.Node{}
	if props := p.Get("properties"); props != nil {
		for _, f := range props.Fields {
			out[f.Name] = f.Value
		}
	}
	return out
}

// typesOf are the JSON types that a property allows; none: all, or one that is not known here.
func typesOf(p *syntax.Node) []string {
	var out []string
	for _, t := range texts(p.Get("type")) {
		switch t {
		case "string", "number", "integer", "boolean", "array", "object":
			out = append(out, t)
		case "stringOrDataweave": // what the product's own dumps print
			out = append(out, "string")
		default:
			return nil
		}
	}
	return out
}

// texts are the texts of a list, or the one text.
func texts(n *syntax.Node) []string {
	var out []string
	if n == nil {
		return nil
	}
	for _, item := range append(slices.Clone(n.Items), n) {
		if item.Kind == syntax.Scalar && item.Scalar != nil {
			out = append(out, item.Text)
		}
	}
	return out
}

// enum are the allowed values, as values of the property's type; none: any value. One that cannot be compared allows all.
func enum(p *syntax.Node, types []string) []any {
	list := p.Get("enum")
	if list == nil || list.Kind != syntax.Sequence {
		return nil
	}
	var out []any
	for _, v := range list.Items {
		switch {
		case v.Kind != syntax.Scalar || len(types) > 1:
			return nil
		case v.Scalar == nil:
			return nil
		case len(types) == 0:
			out = append(out, v.Scalar)
		case types[0] == "string":
			out = append(out, v.Text)
		default:
			if _, isText := v.Scalar.(string); isText || (types[0] == "boolean") != (v.Text == "true" || v.Text == "false") {
				return nil
			}
			out = append(out, v.Scalar)
		}
	}
	return out
}

func hasDefault(p *syntax.Node) bool { d := p.Get("default"); return d != nil && !d.IsNull() }

// sensitive reports whether the values of a property must not be shown.
func sensitive(p *syntax.Node) bool {
	for _, c := range texts(p.Get("@context").Get("@characteristics")) {
		if strings.EqualFold(c, "security:sensitive") {
			return true
		}
	}
	return false
}

// format is the format of a text; "" when the property is none, or has none.
func format(p *syntax.Node) string {
	if f := p.Get("format"); f != nil && f.Kind == syntax.Scalar {
		return f.Text
	}
	if slices.Equal(texts(p.Get("type")), []string{"stringOrDataweave"}) {
		return "dataweave"
	}
	return ""
}

// Fill is a configuration as the policy gets it: with the defaults of required properties where it says nothing.
func (s *Schema) Fill(config *syntax.Node) map[string]any {
	required := slices.Collect(maps.Keys(s.required))
	out, _ := fill(s.props, required, config).(map[string]any)
	return out
}

func fill(props map[string]*syntax.Node, required []string, config *syntax.Node) any {
	if config == nil || config.Kind != syntax.Mapping {
		return config.Value()
	}
	out := map[string]any{}
	for _, f := range config.Fields {
		out[f.Name] = fillValue(props[f.Name], f.Value)
	}
	for _, name := range required {
		if p := props[name]; p != nil && config.Field(name) == nil && hasDefault(p) {
			out[name] = asType(p, p.Get("default"))
		}
	}
	return out
}

func fillValue(p, n *syntax.Node) any {
	switch {
	case p == nil || n == nil:
	case n.Kind == syntax.Mapping && p.Get("properties") != nil:
		return fill(inner(p), texts(p.Get("required")), n)
	case n.Kind == syntax.Sequence && p.Get("items") != nil:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = fillValue(p.Get("items"), item)
		}
		return out
	}
	return n.Value()
}

// asType is a default as a value of its property's type: `default: 12345678` of a string is a text.
func asType(p, d *syntax.Node) any {
	if d.Kind == syntax.Scalar && slices.Equal(typesOf(p), []string{"string"}) {
		return d.Text
	}
	return d.Value()
}
