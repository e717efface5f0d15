package graphqlschema_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/graphqlschema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// FuzzCheck: no text makes the parser or what is told of its result fail, and what is named lies within the text.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"type Query { a: Int }", "", "{", "query { a }", "type A @k(a: {b: [1]}) { a(b: [C!]! = []): D }\nunion U = A | B\nextend type X { y: Z }", "\"\"\"ü\"\"\" type Ü {", "schema { query: Q }",
		"interface I & J { a: B }", "directive @x(a: Y) on FIELD", "type A { \"", "type A { # }"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole := diag.Range{File: "f", Start: diag.Pos{Line: 1, Column: 1}, End: diag.Pos{Line: 1, Column: int32(1 + len([]rune(text))), Offset: int32(len(text))}}
		found := policy.Findings{At: func(...string) diag.Range { return whole }}
		s := graphqlschema.Check("inline", syntax.Text{Value: text, Range: whole}, &found, graphqlschema.Codes{Syntax: "s", NoSchema: "n", Undefined: "u", Repeated: "r", NoQuery: "q"})
		if (s == nil) != found.List.HasErrors() {
			t.Errorf("%q: %v", text, found.List)
		}
		for _, d := range found.List {
			if d.Subject.Start.Offset < 0 || int(d.Subject.End.Offset) > len(text) || d.Summary == "" {
				t.Errorf("%q: %+v", text, d)
			}
		}
		if s != nil {
			s.Directives("k")
		}
	})
}
