package dataweave

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
)

// valid are scripts of many kinds. None of them is refused, whatever is understood of it.
var valid = []string{
	"payload",
	"{\n  \"id\": attributes.headers.'custom-client-header',\n  \"username\": payload.name ++ payload.surname\n}",
	"output application/xml\n---\n{ root: payload }",
	"%dw 2.0\noutput application/java\n---\nif (attributes.headers[\"x-api-key\"] != null) { success: true }\nelse { success: false, response: { statusCode: 401, body: \"Missing API key\", headers: {} } }",
	"%dw 2.0\nimport * from dw::core::Strings\nimport try, fail from dw::Runtime\nvar x = { a: [1, 2] }\nfun f<T>(a: T, b = 1): T = a\n@TailRec()\nfun g(n) = n\noutput application/json indent=false\n---\npayload map (item, index) -> { (item.id): f(item), i: index }",
	"%dw 2.0 // a comment with \" and ( in it\n/* and ' another [ */\n---\npayload filter ($.price > 10) map $.name",
	`{ a: "it's (not) open", b: 'say "x', c: ` + "`tick $(payload.a ++ \"}\") `" + `, d: "nested $(payload.x default "none $(1 + (2))") )" }`,
	`payload.name matches /[a-z"']+\/(x|\))/`,
	`payload.name replace /[("]/ with "-"`,
	`if (payload.a matches /"/) 1 else 2`,
	`payload match { case x if (x > 1) -> x  case r matches /(\d+)"/ -> r[1]  case is String -> "s"  else -> null }`,
	"{ when: |2003-10-01T23:57:59-03:00|, span: |P1DT2H|, half: payload.total / 2, quarter: payload.total / 2 / 2, c: (payload.a / 2) / (payload.b[0] / 3) }",
	"do {\n  var x = payload\n  ---\n  { success: x != null }\n}",
	"{ (payload.items map { ($.k): $.v }), (extra: 1) if (payload.extra?), \"fixed\": [1, 2, 3][-1 to 0], ns0#el @(a: 1, b: \"x\"): payload.*item.@id }",
	"payload.items[?($.price >= 10)] orderBy -$.price",
	"payload update { case name at .user.name -> upper(name)  case .age -> $ + 1 }",
	"using (a = 1) a + payload.b",
	"%dw 2.0\nns soap http://schemas.xmlsoap.org/soap/envelope/\nns0 soap2 http://x/y\noutput text/plain\n---\n\"\\u00e4 \\\" \\$(not an expression)\"",
	"type Order = {| id: String, n?: Number |}\n---\npayload as Order",
	"(payload.a default 0) as String {format: \"#,###.00\"} ++ \"%\"",
	"payload mapObject ((value, key, index) -> { (upper(key)): value }) -- ['a', 'b']",
	"payload.a match /x(/",
	"a / b('(')",
	"myOperator /[(\"]/",
	"sizeOf(payload..name) mod 2 == 0 and not isEmpty(payload.list!)",
	"\"two\nlines\"",
	"{}",
	"[]",
	"output",
	"unless (payload.x == null) payload.x otherwise 'none'",
}

func TestReadScriptIsSilent(t *testing.T) {
	t.Parallel()
	for _, text := range valid {
		if _, diags := ReadScript(text, nil); len(diags) > 0 {
			t.Errorf("%s\n%v", text, diags)
		}
	}
}

func TestReadScriptRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, code, at string }{
		{"", "empty", ""},
		{"  // nothing\n", "empty", "  // nothing\n"},
		{"%dw 2.0\noutput application/json\n---\n", "no-body", "---"},
		{"%dw 2.0\noutput application/json\n{ a: 1 }", "no-separator", "%"},
		{"output application/json\n{ a: 1 }", "no-separator", "output"},
		{"var x = 1\nx", "no-separator", "var"},
		{"fun f(x) = x\nf(1)", "no-separator", "fun"},
		{"import * from dw::core::Strings\npayload", "no-separator", "import"},
		{"%dw 1.0\n---\npayload", "version", "%dw 1.0"},
		{"%dw 2.0\n%output application/json\n---\npayload", "version", "%output"},
		{"%dw 2.0\n%function f(x) x\n---\npayload", "version", "%function"},
		{"{ a: [1, 2 }", "unterminated", "["},
		{"{ a: (1 }", "unterminated", "("},
		{"{ a: { b: 1 }", "unterminated", "{"},
		{"{ a: 1 } }", "stray-bracket", "}"},
		{"payload.a)", "stray-bracket", ")"},
		{"{ a: \"x }", "unterminated-string", "\""},
		{"{ a: 'it's' }", "unterminated-string", "'"},
		{"\"x $(payload.a \"", "unterminated-string", "\""},
		{"/* x", "unterminated", "/*"},
		{"#[payload]", "script-in-brackets", "#["},
		{strings.Repeat("\"$(", 200), "too-deep", "\""},
	} {
		at := func(start, end int) diag.Range {
			return diag.Range{Start: diag.Pos{Line: 1, Column: int32(1 + start), Offset: int32(start)}, End: diag.Pos{Line: 1, Column: int32(1 + end), Offset: int32(end)}}
		}
		_, diags := ReadScript(tc.text, at)
		if len(diags) != 1 || diags[0].Code != diag.Code("dataweave/"+tc.code) {
			t.Errorf("%q: got %v, want %s", tc.text, diags, tc.code)
			continue
		}
		if got := tc.text[diags[0].Subject.Start.Offset:diags[0].Subject.End.Offset]; got != tc.at {
			t.Errorf("%q: at %q, want %q", tc.text, got, tc.at)
		}
	}
}

// brief writes a result in short: {name: shape, …} with … for an open object.
func brief(r Result) string {
	switch r.Shape {
	case ShapeObject:
		var parts []string
		for _, e := range r.Entries {
			parts = append(parts, e.Name+": "+brief(e.Value))
		}
		if r.Open {
			parts = append(parts, "…")
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case ShapeOneOf:
		return "(" + brief(r.Branches[0]) + " | " + brief(r.Branches[1]) + ")"
	case ShapeList:
		return "[]"
	case ShapeNull, ShapeUnknown:
		return map[Shape]string{ShapeNull: "null", ShapeUnknown: "?"}[r.Shape]
	}
	return fmt.Sprintf("%s %s", r.Shape, r.Text)
}

func TestResult(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		valid[1]:                               "{id: ?, username: ?}",
		valid[3]:                               "({success: a boolean true} | {success: a boolean false, response: {statusCode: a number 401, body: a text Missing API key, headers: {}}})",
		"do { var x = 1 --- { a: x } }":        "{a: ?}",
		"({ a: -1, 'b': null, \"c\": [1] })":   "{a: a number -1, b: null, c: []}",
		"{ (x): 1, b: 2 }":                     "{b: a number 2, …}",
		"{ a @(x: 1): 2 }":                     "{…}",
		"{ \"a $(x)\": 2 }":                    "{…}",
		"\"a $(x)\"":                           "?",
		"if (a) if (b) 1 else 2 else 3":        "((a number 1 | a number 2) | a number 3)",
		"if (a) { b: 1 } else { b: 2 } ++ c":   "({b: a number 1} | ?)",
		"{ a: 1 } ++ { b: 2 }":                 "?",
		"payload map { a: 1 }":                 "?",
		"[1] ++ [2]":                           "?",
		"if (a) 1":                             "?",
		"{ a: if (x) true else null, b: 'x' }": "{a: (a boolean true | null), b: a text x}",
		"[1, 2]":                               "[]",
		"a matches /[(]/":                      "?",
	} {
		s, diags := ReadScript(text, nil)
		if got := brief(s.Result); got != want || len(diags) > 0 {
			t.Errorf("%s: got %s, want %s %v", text, got, want, diags)
		}
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{"payload.a ++ attributes.method", "payload.a attributes.method"},
		{"{ payload: attributes.headers.'x-a' }", "attributes.headers"},
		{"\"x $(payload)\"", "payload"},
		{"x.payload ++ x.*payload ++ x..payload ++ x.@payload", ""},
		{"2 * payload", "payload"},
		{"%dw 2.0\nvar p = payload.b\n---\np", "payload.b"},
		{"%dw 2.0\nvar payload = 1\n---\npayload", ""},
		{"attributes.list map (payload, i) -> payload", "attributes.list"},
		{"attributes.list map payload -> payload", "attributes.list"},
		{"%dw 2.0\nfun f(a, payload) = payload\n---\nf(1, 2)", ""},
		{"%dw 2.0\ninput payload application/json\n---\npayload", "payload"},
		{"f(payload, 1)", "payload"},
		{"\"payload\" ++ 'attributes.x' // payload", ""},
		{"payload[\"a\"]", "payload"},
	} {
		s, _ := ReadScript(tc.text, nil)
		var got []string
		for _, name := range []string{"payload", "attributes"} {
			for _, u := range s.Uses(name) {
				got = append(got, strings.TrimSuffix(name+"."+u.Member, "."))
			}
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%s: got %q, want %q", tc.text, g, tc.want)
		}
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"output application/json\n---\n1": "application/json", "%dw 2.0\noutput json\n---\n1": "json", "%dw 2.0\n---\n1": "", "1": "",
		"output :object application/xml\n---\n{}": "application/xml", "output text/plain header=false\n---\n1": "text/plain",
	} {
		if s, _ := ReadScript(text, nil); s.Output != want {
			t.Errorf("%s: got %q, want %q", text, s.Output, want)
		}
	}
}

// FuzzReadScript: no text makes the reader fail, and what it names lies within the text.
func FuzzReadScript(f *testing.F) {
	for _, s := range valid {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, _ := ReadScript(text, func(start, end int) diag.Range {
			if start < 0 || end < start || end > len(text) {
				t.Errorf("%q: from %d to %d", text, start, end)
			}
			return diag.Range{}
		})
		s.Uses("payload")
	})
}
