package gcl

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Check says what is wrong with a configuration that its JSON Schema cannot say: expressions, addresses. The shape of the
// configuration holds.
func (s *Schema) Check(config *syntax.Node) diag.List {
	c := &checker{}
	c.fields(s.props, config)
	return c.ds
}

type checker struct{ ds diag.List }

func (c *checker) report(severity diag.Severity, code diag.Code, at diag.Range, summary, hint string) {
	c.ds = append(c.ds, diag.Diagnostic{Severity: severity, Code: code, Subject: at, Summary: summary, Hint: hint})
}

func (c *checker) fields(props map[string]*syntax.Node, n *syntax.Node) {
	for _, f := range n.Fields {
		if p := props[f.Name]; p != nil {
			c.value(f.Name, p, f.Value)
		}
	}
}

func (c *checker) value(name string, p, n *syntax.Node) {
	switch n.Kind {
	case syntax.Mapping:
		c.fields(inner(p), n)
	case syntax.Sequence:
		if items := p.Get("items"); items != nil {
			for _, item := range n.Items {
				c.value(name, items, item)
			}
		}
	default:
		if _, isText := n.Scalar.(string); isText {
			c.text(name, p, n)
		}
	}
}

func (c *checker) text(name string, p, n *syntax.Node) {
	shown := fmt.Sprintf("%q", n.Text)
	if sensitive(p) {
		shown = "its value"
	}
	switch format(p) {
	case "dataweave":
		c.expression(p, n)
	case "service":
		if u, err := url.Parse(n.Text); err != nil || u.Host == "" || u.Scheme == "" {
			c.report(diag.Error, "extension/bad-service", n.Range, fmt.Sprintf("%q names a service, but %s is not an address", name, shown), "write protocol://host:port, for example https://auth.internal:9000/login")
		}
	case "uri":
		if u, err := url.Parse(n.Text); err != nil || u.Scheme == "" {
			c.report(diag.Warning, "extension/bad-uri", n.Range, fmt.Sprintf("%q is to be a URI, but %s is none with a scheme", name, shown), "write the whole of it, for example https://host/path")
		}
	case "ipRange":
		if _, err := netip.ParseAddr(n.Text); err == nil {
			return
		}
		if _, err := netip.ParsePrefix(n.Text); err != nil {
			c.report(diag.Error, "extension/bad-ip-range", n.Range, fmt.Sprintf("%q is to be a range of addresses, but %s is none", name, shown), "write an address, or a range such as 192.168.3.0/24")
		}
	}
}

// expression judges an expression and what it may look at: its property's bindings.
func (c *checker) expression(p, n *syntax.Node) {
	e, ds := dataweave.Parse(n.Text, dataweave.At(n.Text, n.Range))
	c.ds = append(c.ds, ds...)
	if e == nil {
		return
	}
	b := p.Get("bindings")
	is := func(name string, word string) bool {
		v := b.Get(name)
		return v != nil && v.Kind == syntax.Scalar && strings.EqualFold(v.Text, word)
	}
	seen := map[string]bool{}
	for _, v := range dataweave.Vars(e) {
		what := v.Path[0]
		if what == "vars" && len(v.Path) > 1 {
			what += "." + v.Path[1]
		}
		if seen[what] {
			continue
		}
		seen[what] = true
		switch {
		case v.Path[0] == "attributes" && is("attributes", "false"), v.Path[0] == "authentication" && (b.Get("authentication") == nil || is("authentication", "false")):
			c.report(diag.Error, "extension/unbound", v.Range(), fmt.Sprintf("this policy does not give its expression %q", what), fmt.Sprintf("leave it out, or add bindings: {%s: true} to the property in the Extension", what))
		case v.Path[0] == "payload" && b.Get("payload") == nil:
			c.report(diag.Warning, "extension/maybe-unbound", v.Range(), `this policy does not say that its expression gets "payload"`, "add bindings: {payload: {mimeType: text}} to the property in the Extension; without it, the product may refuse the configuration")
		case v.Path[0] == "vars" && len(v.Path) > 1 && !slices.Contains(texts(b.Get("vars")), v.Path[1]):
			c.report(diag.Warning, "extension/maybe-unbound", v.Range(), fmt.Sprintf("this policy does not say that its expression gets %q", what), "the Extension would have to list its name in bindings.vars; without it, the value is null, or the product refuses the configuration")
		}
	}
}

// Lint says what is wrong with what one Extension declares, whoever is bound to it. Whole is the description that the
// Extension gives together with all that it extends; nil when some of that is not known.
func Lint(part Part, whole *Schema) diag.List {
	l := &linter{}
	required := map[string]bool{}
	for _, r := range part.Required {
		required[r.Value] = true
	}
	for _, name := range slices.Sorted(maps.Keys(part.Properties)) {
		p := part.Properties[name]
		if whole != nil {
			p = whole.props[name]
		}
		l.property(name, part.Properties[name], p, required[name], "")
	}
	for _, r := range part.Required {
		if whole != nil && !whole.Has(r.Value) {
			hint := "declare it in properties, or remove it here"
			if near := diag.Nearest(r.Value, whole.Names()); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			l.report(diag.Warning, "extension/unknown-required", r.Range, fmt.Sprintf("%q is required, but there is no property of this name", r.Value), hint)
		}
	}
	return l.ds
}

type linter struct{ checker }

// property judges one property: own is what the Extension itself says, p that with what it inherits. Within says that the
// property is where expressions are not compiled, and why.
func (l *linter) property(name string, own, p *syntax.Node, required bool, within string) {
	if own == nil || own.Kind != syntax.Mapping {
		return // its shape is wrong, which has been said
	}
	types := []string{"array", "boolean", "integer", "number", "object", "string"}
	if t := own.Get("type"); t != nil && t.Kind == syntax.Scalar && t.Scalar != nil && t.Text != "stringOrDataweave" && !slices.Contains(types, t.Text) {
		hint := "write " + strings.Join(types[:len(types)-1], ", ") + " or string"
		if near := nearType(t.Text, types); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		l.report(diag.Warning, "extension/unknown-type", t.Range, fmt.Sprintf("property %q has the type %q, which the product does not document", name, t.Text), hint)
	}
	if slices.Equal(typesOf(p), []string{"array"}) && p.Get("items") == nil {
		l.report(diag.Warning, "extension/no-items", own.Locate(), fmt.Sprintf("property %q is an array, but does not say of what", name), "add items with a type")
	}
	if format(own) == "dataweave" {
		if own.Get("@rendering").Get("@visibleOn") != nil {
			within = "is shown under a condition (@visibleOn)"
		}
		if within != "" {
			l.report(diag.Warning, "extension/raw-expression", own.KeyRange("format"), fmt.Sprintf("the expression %q %s, where the product does not compile it: a policy that gets one fails to load", name, within),
				"move it to the top level or into an object, without @visibleOn")
		}
	}
	l.fallback(name, own, p, required)
	if props := own.Get("properties"); props != nil {
		for _, f := range props.Fields {
			l.property(name+"."+f.Name, f.Value, f.Value, slices.Contains(texts(own.Get("required")), f.Name), within)
		}
	}
	if items := own.Get("items"); items != nil {
		l.property(name+"[]", items, items, false, "stands in a list")
	}
}

// nearType is the type that was meant by a name of another language.
func nearType(s string, types []string) string {
	switch strings.ToLower(s) {
	case "int", "int32", "int64", "long":
		return "integer"
	case "float", "double", "decimal":
		return "number"
	case "bool":
		return "boolean"
	case "list":
		return "array"
	case "map", "dict":
		return "object"
	case "str", "text":
		return "string"
	}
	return diag.Nearest(strings.ToLower(s), types)
}

// fallback judges the default of a property.
func (l *linter) fallback(name string, own, p *syntax.Node, required bool) {
	d := own.Get("default")
	if d.IsNull() {
		return
	}
	if format(p) == "dataweave" && d.Kind == syntax.Scalar {
		_, ds := dataweave.Parse(d.Text, dataweave.At(d.Text, d.Range))
		for _, x := range ds {
			switch {
			case x.Code == "dataweave/object-literal": // a binding that gets it is dropped, and its requests pass
				x.Severity, x.Code, x.Hint = diag.Error, "extension/object-default", "write #[null]: a binding that gets this default is dropped in silence, and its API is open"
			case !required: // it is what a form would offer, no more
				x.Severity = min(x.Severity, diag.Warning)
			}
			l.ds = append(l.ds, x)
		}
		return
	}
	types := typesOf(p)
	if len(types) != 1 {
		return
	}
	found := ""
	switch isList, isMap := types[0] == "array", types[0] == "object"; {
	case d.Kind == syntax.Sequence && !isList:
		found = "a list"
	case d.Kind == syntax.Mapping && !isMap:
		found = "a mapping"
	case d.Kind == syntax.Scalar && (isList || isMap):
		found = "a single value"
	}
	if found != "" {
		l.report(diag.Warning, "extension/bad-default", d.Locate(), fmt.Sprintf("property %q has the type %q, but its default is %s", name, types[0], found), fmt.Sprintf("write a default of type %s, or correct the type", types[0]))
		return
	}
	if values := enum(p, types); len(values) > 0 && !slices.Contains(values, asType(p, d)) {
		var words []string
		for _, v := range values {
			words = append(words, fmt.Sprint(v))
		}
		l.report(diag.Warning, "extension/bad-default", d.Locate(), fmt.Sprintf("the default of property %q is %q, which its enum does not list", name, d.Text), "its values are "+strings.Join(words, ", "))
	}
}
