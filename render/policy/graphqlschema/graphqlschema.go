// Package graphqlschema reads the schemas that GraphQL policies carry, and says what is wrong with them.
//
// It validates no operation, and knows neither policy: what is wrong has the codes that it is given. Directives and types of
// Apollo Federation are let pass.
package graphqlschema

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Default is where a policy has its schema from when nothing is said: from the platform, which Local Mode does not have.
const Default = "context"

// Codes are the policy's names for what can be wrong.
type Codes struct {
	Context   diag.Code // the schema would come from the platform
	NoSchema  diag.Code // there is none
	Syntax    diag.Code // it is none
	Undefined diag.Code // a type that is not defined
	Repeated  diag.Code // a type that is defined twice
	NoQuery   diag.Code // no operation can be valid
}

// Check judges the fields source and schema. The Schema is nil where there is none to look at.
func Check(source string, schema syntax.Text, f *policy.Findings, codes Codes) *Schema {
	if source != "inline" {
		f.Error(codes.Context, fmt.Sprintf("source is %s, but Local Mode has no asset to read a schema from", source), "set source: inline, and write the schema in schema", "source")
		return nil
	}
	text := schema.Value
	if strings.TrimSpace(text) == "" {
		f.Error(codes.NoSchema, "schema is missing or empty, expected the schema in GraphQL's own language", "write type Query { … }", "schema")
		return nil
	}
	doc, err := parser.ParseSchema(&ast.Source{Input: text})
	at := dataweave.At(text, schema.Range)
	if err != nil {
		f.List = append(f.List, broken(text, err, at, codes.Syntax))
		return nil
	}
	s := &Schema{doc: doc, text: text, at: at}
	s.check(f, codes)
	return s
}

// broken places the parser's complaint, and says what the text is instead where that is plain.
func broken(text string, err error, at dataweave.Mapper, code diag.Code) diag.Diagnostic {
	d := diag.Diagnostic{Severity: diag.Error, Code: code, Subject: at(0, len(text)), Hint: "write the schema in GraphQL's own language: type Query { … }"}
	trimmed := strings.TrimSpace(text)
	word := strings.TrimRight(strings.ToLower(strings.Fields(trimmed)[0]), "{(")
	switch {
	case strings.HasPrefix(trimmed, "{") && strings.Contains(trimmed, `"`):
		d.Summary, d.Hint = "schema is JSON, expected GraphQL's own language", "convert the result of an introspection query with a tool that prints SDL"
		return d
	case slices.Contains([]string{"query", "mutation", "subscription", "fragment", ""}, word):
		d.Summary = "schema holds an operation, expected the types that operations may use"
		return d
	case !strings.ContainsAny(trimmed, " \n{"):
		d.Summary, d.Hint = fmt.Sprintf("schema is %q, expected the schema itself", trimmed), "write its text here: nothing is read from files or addresses"
		return d
	}
	var e *gqlerror.Error
	message := err.Error()
	if errors.As(err, &e) {
		message = e.Message
		if len(e.Locations) > 0 {
			start := byteAt(text, e.Locations[0].Line, e.Locations[0].Column)
			d.Subject = at(start, wordEnd(text, start))
		}
	}
	d.Summary = "schema cannot be read: " + lowered(message)
	return d
}

// lowered is a sentence of the parser in our form.
func lowered(s string) string {
	s = strings.TrimRight(strings.Join(strings.Fields(s), " "), ".")
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// byteAt is the offset of a line and a column, in runes, both from 1.
func byteAt(text string, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[offset:], '\n')
		if i < 0 {
			return len(text)
		}
		offset += i + 1
	}
	for i := range text[offset:] {
		if column--; column == 0 {
			return offset + i
		}
	}
	return len(text)
}

// wordEnd is where the word, or the single sign, that begins at start ends.
func wordEnd(text string, start int) int {
	end := start
	for end < len(text) && (text[end] == '_' || '0' <= text[end] && text[end] <= '9' || 'a' <= text[end]|0x20 && text[end]|0x20 <= 'z') {
		end++
	}
	return min(max(end, start+1), len(text))
}

// Schema is one that could be read.
type Schema struct {
	doc  *ast.SchemaDocument
	text string
	at   dataweave.Mapper
}

// place is where a word stands that begins at a position of the parser's, which counts runes. word may be "".
func (s *Schema) place(p *ast.Position, word string) diag.Range {
	if p == nil {
		return s.at(0, len(s.text))
	}
	start := byteAt(s.text, p.Line, p.Column)
	if word == "" {
		return s.at(start, wordEnd(s.text, start))
	}
	// The position may be that of the definition: its name comes soon.
	if m := regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`).FindStringIndex(s.text[start:]); m != nil {
		start += m[0]
	}
	return s.at(start, start+len(word))
}

// Directive is one use of a directive.
type Directive struct {
	Arguments []string
	At        diag.Range
}

// Directives are all uses of the directive of this name.
func (s *Schema) Directives(name string) []Directive {
	var found []Directive
	add := func(list ast.DirectiveList) {
		for _, d := range list {
			if d.Name != name {
				continue
			}
			use := Directive{At: s.place(d.Position, name)}
			for _, a := range d.Arguments {
				use.Arguments = append(use.Arguments, a.Name)
			}
			found = append(found, use)
		}
	}
	for _, d := range s.definitions() {
		add(d.Directives)
		for _, field := range d.Fields {
			add(field.Directives)
			for _, arg := range field.Arguments {
				add(arg.Directives)
			}
		}
		for _, v := range d.EnumValues {
			add(v.Directives)
		}
	}
	return found
}

// definitions are those of types, and what extends them.
func (s *Schema) definitions() ast.DefinitionList {
	return append(slices.Clip(s.doc.Definitions), s.doc.Extensions...)
}

func (s *Schema) check(f *policy.Findings, codes Codes) {
	warn := func(code diag.Code, at diag.Range, summary, hint string, related ...diag.Related) {
		f.List = append(f.List, diag.Diagnostic{Severity: diag.Warning, Code: code, Subject: at, Summary: summary, Hint: hint, Related: related})
	}
	defined := map[string]*ast.Definition{}
	for _, d := range s.doc.Definitions {
		first, twice := defined[d.Name]
		if !twice {
			defined[d.Name] = d
			continue
		}
		warn(codes.Repeated, s.place(d.Position, d.Name), fmt.Sprintf("the type %q is defined twice", d.Name), "keep one of them, or write extend before the second",
			diag.Related{Subject: s.place(first.Position, first.Name), Summary: "the first one"})
	}
	names := make([]string, 0, len(defined))
	for _, d := range s.definitions() {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	s.eachType(func(name string, p *ast.Position) {
		if isBuiltIn(name) || isFederation(name) || slices.Contains(names, name) {
			return
		}
		hint := "define it, or name one that is"
		if near := diag.Nearest(name, append(slices.Clip(names), builtIn()...)); near != "" && len(name) > 2 {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		warn(codes.Undefined, s.place(p, name), fmt.Sprintf("the type %q is not defined", name), hint)
	})
	if query := s.query(); !slices.Contains(names, query) {
		f.Warn(codes.NoQuery, fmt.Sprintf("the schema does not define %s, so no query is valid", query), "define type "+query, "schema")
	}
}

// query is the name of the type of queries.
func (s *Schema) query() string {
	for _, d := range append(slices.Clip(s.doc.Schema), s.doc.SchemaExtension...) {
		for _, op := range d.OperationTypes {
			if op.Operation == ast.Query {
				return op.Type
			}
		}
	}
	return "Query"
}

func builtIn() []string { return []string{"Boolean", "Float", "ID", "Int", "String"} }

func isBuiltIn(name string) bool { return slices.Contains(builtIn(), name) }

// isFederation reports whether a type is one that Apollo Federation brings, or the language itself (__Schema).
func isFederation(name string) bool {
	return strings.HasPrefix(name, "_") || strings.Contains(name, "__") || name == "FieldSet"
}

// eachType calls f for each place where a type is named.
func (s *Schema) eachType(f func(name string, at *ast.Position)) {
	typ := func(t *ast.Type) {
		for t != nil && t.Elem != nil {
			t = t.Elem
		}
		if t != nil {
			f(t.NamedType, t.Position)
		}
	}
	args := func(list ast.ArgumentDefinitionList) {
		for _, a := range list {
			typ(a.Type)
		}
	}
	for _, d := range s.definitions() {
		for _, name := range append(slices.Clip(d.Interfaces), d.Types...) {
			f(name, d.Position)
		}
		for _, field := range d.Fields {
			typ(field.Type)
			args(field.Arguments)
		}
	}
	for _, d := range s.doc.Directives {
		args(d.Arguments)
	}
	for _, d := range append(slices.Clip(s.doc.Schema), s.doc.SchemaExtension...) {
		for _, op := range d.OperationTypes {
			if op.Operation != ast.Query { // that one is said by itself
				f(op.Type, op.Position)
			}
		}
	}
}
