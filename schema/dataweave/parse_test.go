package dataweave

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
)

// shape prints a tree with every bracket, so that a wrong precedence shows.
func shape(e Expr) string {
	list := func(all []Expr) string {
		var s []string
		for _, e := range all {
			s = append(s, shape(e))
		}
		return strings.Join(s, " ")
	}
	switch e := e.(type) {
	case nil:
		return "-"
	case *Null:
		return "null"
	case *Bool:
		return fmt.Sprint(e.Value)
	case *Number:
		return FormatNumber(e.Value)
	case *String:
		return fmt.Sprintf("%q", e.Value)
	case *Array:
		return "[" + list(e.Items) + "]"
	case *Var:
		return strings.Join(e.Path, "/")
	case *Select:
		return "(." + e.Key + " " + shape(e.X) + ")"
	case *Index:
		return "(# " + shape(e.X) + " " + shape(e.N) + ")"
	case *Call:
		return "(" + e.Name[strings.LastIndex(e.Name, ":")+1:] + " " + list(e.Args) + ")"
	case *Binary:
		return "(" + e.Op + " " + shape(e.X) + " " + shape(e.Y) + ")"
	case *Not:
		return "(not " + shape(e.X) + ")"
	case *If:
		return "(if " + shape(e.Cond) + " " + shape(e.Then) + " " + shape(e.Else) + ")"
	}
	return fmt.Sprintf("%T", e)
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{"plain text", `"plain text"`},
		{"50% [x]", `"50% [x]"`},
		{"", `""`},
		{"#[null]", "null"},
		{" #[ true ] ", "true"},
		{"#[1.50]", "1.5"},
		{"#[-1e2]", "-100"},
		{`#["a'b" ++ 'c"d']`, `(++ "a'b" "c\"d")`},
		{`#['\n\t\\\'\"\u00e4\uD83D\uDE00\$x']`, `"\n\t\\'\"ä😀$x"`},
		{"#['5$']", `"5$"`},
		{"#['ünïcode']", `"ünïcode"`},
		{"#[[]]", "[]"},
		{"#[[1, 'a', [null]]]", `[1 "a" [null]]`},
		{"#[attributes.headers.'my-header' != null]", "(!= attributes/headers/my-header null)"},
		{"#[trim(splitBy(attributes.headers.'x-forwarded-for', ',')[0])]", `(trim (# (splitBy attributes/headers/x-forwarded-for ",") 0))`},
		{"#[trim(splitBy(attributes.headers.'x-forwarded-for', ',')[-1])]", `(trim (# (splitBy attributes/headers/x-forwarded-for ",") -1))`},
		{
			"#[splitBy(dw::core::Binaries::fromBase64(dw::core::Strings::substringAfter(attributes.headers.authorization default '', 'Basic ')), ':')[0]]",
			`(# (splitBy (fromBase64 (substringAfter (default attributes/headers/authorization "") "Basic ")) ":") 0)`,
		},
		{"#[splitBy(attributes.headers['Authorization'], ' ')[1]]", `(# (splitBy attributes/headers/Authorization " ") 1)`},
		{"#[splitBy(attributes.headers.scopes default '', ' ') contains 'read']", `(contains (splitBy (default attributes/headers/scopes "") " ") "read")`},
		{"#[not(attributes.requestPath contains '/some')]", `(not (contains attributes/requestPath "/some"))`},
		{
			"#['User ' ++ authentication.principal ++ ' ' ++ attributes.method ++ ' ' ++ attributes.requestPath]",
			`(++ (++ (++ (++ (++ "User " authentication/principal) " ") attributes/method) " ") attributes/requestPath)`,
		},
		{"#[attributes.headers -- ['authorization']]", `(-- attributes/headers ["authorization"])`},
		{"#[vars.claimSet.client_id]", "vars/claimSet/client_id"},
		{"#[attributes.method == 'GET' or attributes.method == 'HEAD']", `(or (== attributes/method "GET") (== attributes/method "HEAD"))`},
		{"#[[200, 404] contains attributes.statusCode]", "(contains [200 404] attributes/statusCode)"},
		{"#[if (attributes.method == 'GET') 'r' else if (vars.x) 'x' else 'w']", `(if (== attributes/method "GET") "r" (if vars/x "x" "w"))`},
		{"#[true or false and true]", "(or true (and false true))"},
		{"#[vars.a >= 1 == true]", "(== (>= vars/a 1) true)"},
		{"#[vars.a ++ vars.b default 'x']", `(default (++ vars/a vars/b) "x")`},
		{"#[vars.a default 'x' ++ 'y']", `(++ (default vars/a "x") "y")`},
		{"#[vars.a default '' contains 'b']", `(contains (default vars/a "") "b")`},
		{"#[vars.a splitBy ',']", `(splitBy vars/a ",")`},
		{"#[(vars.a splitBy(','))[0]]", `(# (splitBy vars/a ",") 0)`},
		{"#[vars.a dw::core::Strings::substringAfter ':']", `(substringAfter vars/a ":")`},
		{"#[contains(vars.a, 'x')]", `(contains vars/a "x")`},
		{"#[++('a', 'b')]", `(++ "a" "b")`},
		{"#[dw::Core::upper('a')]", `(upper "a")`},
		{"#[not vars.a == 1]", "(not (== vars/a 1))"},
		{"#[vars.a and not vars.b]", "(and vars/a (not vars/b))"},
		{"#[not(vars.a) and vars.b]", "(and (not vars/a) vars/b)"},
		{"#[(vars.a contains 'x') or (vars.b contains 'y')]", `(or (contains vars/a "x") (contains vars/b "y"))`},
		{"#[(attributes).headers.a]", "attributes/headers/a"},
		{"#[vars.list['name'][0].x]", "(.x (# vars/list/name 0))"},
		{"#[payload.items[vars.n]]", "(# payload/items vars/n)"},
		{"#['abc'[0]]", `(# "abc" 0)`},
		{"#[uuid()]", "(uuid )"},
		{"#[ // a comment ]\n 'x' /* ] */ ]", `"x"`},
		{"#[vars.default.if]", "vars/default/if"},
		{"#[dw::util::Coercions::toString(dw::core::Binaries::fromBase64('YQ=='), 'UTF-8')]", `(toString (fromBase64 "YQ==") "UTF-8")`},
	} {
		e, diags := Parse(tc.text, nil)
		if len(diags) > 0 {
			t.Errorf("%s: %v", tc.text, diags)
			continue
		}
		if got := shape(e); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.text, got, tc.want)
		}
		if !IsExpression(tc.text) {
			continue
		}
		again, diags := Parse(Text(e), nil)
		if shape(again) != tc.want || len(diags) > 0 {
			t.Errorf("%s prints as %s, which is %s %v", tc.text, Text(e), shape(again), diags)
		}
	}
}

// TestParseMistakes marks the place that each diagnostic underlines with ^…^ in the line below the expression.
func TestParseMistakes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, mark, code, hint string }{
		{"#[]", "^^^", "empty", ""},
		{"#[  ]", "^^^^^", "empty", ""},
		{"#[", "^^", "unterminated", "]"},
		{"#['a'", "^^", "unterminated", "]"},
		{"#[('a']", "  ^", "unterminated", ")"},
		{"#[[1, 2]", "^^", "unterminated", "]"},
		{"#[lower('a']", "       ^", "unterminated", ")"},
		{"#['a]", "  ^", "unterminated-string", "'"},
		{"#['a' /* x]", "      ^^", "unterminated", "*/"},
		{"#['a'] b", "       ^", "trailing", "within"},
		{"#['a']]", "      ^", "trailing", ""},
		{"#['a' 'b']", "      ^^^", "expected", ""},
		{"#['a')]", "     ^", "expected", ""},
		{"#[{a: 1}]", "  ^", "object-literal", ""},
		{"#[vars.a contains /x/]", "                  ^", "regex-literal", "string"},
		{"#[|2020-01-01|]", "  ^", "date-literal", ""},
		{"#[vars.a < 3]", "         ^", "comparison", "not (a >= b)"},
		{"#[vars.a > 3]", "         ^", "comparison", "not (a <= b)"},
		{"#[1 + 2]", "    ^", "arithmetic", "++"},
		{"#[1 - 2]", "    ^", "arithmetic", ""},
		{"#[vars.a * 2]", "         ^", "arithmetic", ""},
		{"#[vars.a / 2]", "         ^", "arithmetic", ""},
		{"#[- vars.a]", "  ^", "arithmetic", ""},
		{"#[attributes.headers.x-api-key]", "                      ^", "arithmetic", ".'x-api-key'"},
		{"#[vars.a as Number]", "         ^^", "type-operator", ""},
		{"#[vars.a is String]", "         ^^", "type-operator", ""},
		{"#[vars.a ~= 1]", "         ^^", "type-operator", ""},
		{"#[vars.a map $.x]", "         ^^^", "unsupported-function", ""},
		{"#[payload filter (x) -> x.y]", "          ^^^^^^", "unsupported-function", ""},
		{"#[(x) -> x]", "      ^^", "lambda", ""},
		{"#[x -> x]", "  ^", "lambda", ""},
		{"#[payload match { case 1 -> 2 }]", "          ^^^^^", "statement", ""},
		{"#[do { 1 }]", "  ^^", "statement", ""},
		{"#[%dw 2.0 --- payload]", "  ^", "header", "---"},
		{"#[output text/plain --- payload]", "  ^^^^^^", "header", "---"},
		{"#[vars.a[0 to 1]]", "        ^^^^^", "range-selector", "[0]"},
		{"#[vars.a?]", "        ^", "selector", "!= null"},
		{"#[vars.a!]", "        ^", "selector", "default"},
		{"#[vars.*a]", "      ^^", "selector", ""},
		{"#[vars..a]", "      ^^", "selector", ""},
		{"#[vars.@a]", "      ^^", "selector", ""},
		{"#[vars.a[?(true)]]", "        ^^", "selector", ""},
		{"#[vars.a.0]", "        ^^", "selector", "[0]"},
		{"#[vars.a[]]", "        ^^", "expected", "[0]"},
		{"#[substringAfter('a', 'b')]", "  ^^^^^^^^^^^^^^", "unknown-function", SubstringAfter},
		{"#[fromBase64('a')]", "  ^^^^^^^^^^", "unknown-function", FromBase64},
		{"#[vars.a substringBefore ':']", "         ^^^^^^^^^^^^^^^", "unknown-function", SubstringBefore},
		{"#[uper('a')]", "  ^^^^", "unknown-function", `did you mean "upper"?`},
		{"#[now()]", "  ^^^", "unsupported-function", ""},
		{"#[isEmpty(vars.a)]", "  ^^^^^^^", "unsupported-function", ""},
		{"#[lower]", "  ^^^^^", "unknown-variable", "lower(x)"},
		{"#[attribute.method]", "  ^^^^^^^^^", "unknown-variable", `did you mean "attributes"?`},
		{"#[headers.host]", "  ^^^^^^^", "unknown-variable", "attributes.headers"},
		{"#[attributes.queryParam.a]", "             ^^^^^^^^^^", "unknown-attribute", `did you mean "queryParams"?`},
		{"#[attributes.clientAddress]", "             ^^^^^^^^^^^^^", "unknown-attribute", "attributes.remoteAddress"},
		{"#[attributes['metod']]", "             ^^^^^^^", "unknown-attribute", `did you mean "method"?`},
		{"#[(attributes.path).x]", "              ^^^^", "unknown-attribute", "requestPath"},
		{"#[authentication.user]", "                 ^^^^", "unknown-member", "principal"},
		{"#[lower('a', 'b')]", "  ^^^^^", "argument-count", "lower(x)"},
		{"#[splitBy('a')]", "  ^^^^^^^", "argument-count", "splitBy(x, y)"},
		{"#[uuid(1)]", "  ^^^^", "argument-count", "uuid()"},
		{"#['a' upper 'b']", "      ^^^^^", "argument-count", "upper(x)"},
		{"#[if (true) 1]", "  ^^", "missing-else", "else"},
		{"#[if true 1 else 2]", "  ^^", "expected", "if (condition)"},
		{"#[vars.a = 1]", "         ^", "expected", "=="},
		{"#[vars.a && vars.b]", "         ^^", "expected", "and"},
		{"#[true AND false]", "       ^^^", "expected", "and"},
		{"#[!true]", "  ^", "expected", "not (x)"},
		{"#['a' ++]", "        ^", "expected", ""},
		{"#['a' ++ ]x", "         ^", "expected", ""},
		{"#['ä' ++ ö]", "         ^", "expected", ""},
		{"#['$(vars.a)']", "   ^^", "interpolation", "++"},
		{`#['\q']`, "   ^^", "bad-escape", ""},
		{`#['\ud800']`, "   ^^", "bad-escape", ""},
		{"#[12ab]", "  ^^^^", "bad-number", ""},
		{"#[1e999]", "  ^^^^^", "bad-number", ""},
		{"#[#[1]]", "  ^", "expected", "once"},
		{"#[vars.a contains 'x' or vars.b]", "         ^^^^^^^^", "needs-parentheses", "(x contains y) or z"},
		{"#['a' ++ 'b' == 'ab']", "      ^^", "needs-parentheses", "(x ++ y) == z"},
		{"#[vars.a == 'x' ++ 'y']", "                ^^", "needs-parentheses", "x == (y ++ z)"},
	} {
		e, diags := Parse(tc.text, At(tc.text, line(tc.text)))
		if e != nil || len(diags) != 1 {
			t.Errorf("%s: got %v and %d diagnostics %v", tc.text, shape(e), len(diags), diags)
			continue
		}
		d := diags[0]
		if got := strings.Repeat(" ", int(d.Subject.Start.Column-1)) + strings.Repeat("^", int(d.Subject.End.Column-d.Subject.Start.Column)); got != tc.mark ||
			string(d.Code) != "dataweave/"+tc.code || !strings.Contains(d.Hint, tc.hint) {
			t.Errorf("\n%s\n%s %s\nwant\n%s %s, hint with %q\nhint %q", tc.text, got, d, tc.mark, tc.code, tc.hint, d.Hint)
		}
		if strings.HasSuffix(d.Summary, ".") || strings.Contains(d.Summary, "\n") {
			t.Errorf("%s: summary %q", tc.text, d.Summary)
		}
	}
}

func line(text string) diag.Range {
	return diag.Range{
		File: "a.yaml", Start: diag.Pos{Line: 1, Column: 1}, End: diag.Pos{Line: 1, Column: int32(1 + utf8.RuneCountInString(text)), Offset: int32(len(text))},
	}
}

func TestParseWarnings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{"#[not vars.a or vars.b]", "(not (or vars/a vars/b))"},
		{"#[vars.a default '' == 'x']", `(default vars/a (== "" "x"))`},
	} {
		e, diags := Parse(tc.text, nil)
		if shape(e) != tc.want || len(diags) != 1 || diags[0].Severity != diag.Warning || diags[0].Code != "dataweave/precedence" {
			t.Errorf("%s: %s %v", tc.text, shape(e), diags)
		}
	}
}

func TestParseReportsSeveralMistakes(t *testing.T) {
	t.Parallel()
	_, diags := Parse("#[attributes.metod ++ uper(header.x) ++ vars.y]", nil)
	var got []string
	for _, d := range diags {
		got = append(got, string(d.Code))
	}
	want := []string{"dataweave/unknown-attribute", "dataweave/unknown-function", "dataweave/unknown-variable"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseLimits(t *testing.T) {
	t.Parallel()
	for _, deep := range []string{
		strings.Repeat("(", 5000), strings.Repeat("[", 5000), strings.Repeat("not ", 3000), strings.Repeat("if (true) 1 else ", 900), strings.Repeat("lower(", 2000),
	} {
		_, diags := Parse("#["+deep+"1]", nil)
		if len(diags) != 1 || diags[0].Code != "dataweave/too-deep" {
			t.Errorf("%.20s…: %v", deep, diags)
		}
	}
	_, diags := Parse("#['"+strings.Repeat("x", maxLength)+"']", nil)
	if len(diags) != 1 || diags[0].Code != "dataweave/too-long" {
		t.Error(diags)
	}
	e, diags := Parse("#["+strings.Repeat("'a' ++ ", 2000)+"'a']", nil)
	if e == nil || len(diags) > 0 {
		t.Error(diags)
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		scalar, text string // as written in the file, and what it means
		column       int
	}{
		{"#[attributes.metod]", "#[attributes.metod]", 14},
		{`"#[attributes.metod]"`, "#[attributes.metod]", 15},
		{`'#[''x'' ++ attributes.metod]'`, "#['x' ++ attributes.metod]", 24},
		{`"#[\"x\" ++ attributes.metod]"`, `#["x" ++ attributes.metod]`, 24},
		{`"#['ä' ++ attributes.metod]"`, "#['ä' ++ attributes.metod]", 22},
		{`"#['\x41' ++ attributes.metod]"`, "#['A' ++ attributes.metod]", 22},
		{`"#[\n\t\"x\" ++ attributes.metod]"`, "#[\n\t\"x\" ++ attributes.metod]", 28},
	} {
		r := diag.Range{File: "f", Start: diag.Pos{Line: 3, Column: 1, Offset: 40}}
		r.End = diag.Pos{Line: 3, Column: int32(1 + utf8.RuneCountInString(tc.scalar)), Offset: int32(40 + len(tc.scalar))}
		_, diags := Parse(tc.text, At(tc.text, r))
		if len(diags) != 1 || int(diags[0].Subject.Start.Column) != tc.column || diags[0].Subject.Start.Line != 3 {
			t.Errorf("%s: %v, want column %d", tc.scalar, diags, tc.column)
		}
	}
	for _, tc := range []struct {
		text             string
		start, end, want diag.Pos
	}{
		{ // |, indented by two
			"#['ä' ++\n  attributes.metod]\n", diag.Pos{Line: 6, Column: 4, Offset: 124}, diag.Pos{Line: 8, Column: 22, Offset: 159},
			diag.Pos{Line: 8, Column: 16, Offset: 153},
		},
		{ // >-
			"#[attributes.metod]", diag.Pos{Line: 4, Column: 4, Offset: 96}, diag.Pos{Line: 5, Column: 22, Offset: 120},
			diag.Pos{Line: 5, Column: 16, Offset: 114},
		},
		{ // |, indented by two, with a line that has no text and no indentation
			"#['ä' ++\n\n  attributes.metod]\n", diag.Pos{Line: 6, Column: 4, Offset: 124}, diag.Pos{Line: 9, Column: 22, Offset: 160},
			diag.Pos{Line: 9, Column: 16, Offset: 154},
		},
		{ // the same with the indentation
			"#['ä' ++\n\n  attributes.metod]\n", diag.Pos{Line: 6, Column: 4, Offset: 124}, diag.Pos{Line: 9, Column: 22, Offset: 162},
			diag.Pos{Line: 9, Column: 16, Offset: 156},
		},
		{ // in quotes
			"#['ä' ++ attributes.metod]", diag.Pos{Line: 10, Column: 4, Offset: 192}, diag.Pos{Line: 11, Column: 21, Offset: 223},
			diag.Pos{Line: 10, Column: 4, Offset: 192},
		},
	} {
		if _, diags := Parse(tc.text, At(tc.text, diag.Range{Start: tc.start, End: tc.end})); len(diags) != 1 || diags[0].Subject.Start != tc.want {
			t.Errorf("%q: %+v, want %+v", tc.text, diags, tc.want)
		}
	}
	block := diag.Range{File: "f", Start: diag.Pos{Line: 3, Column: 1}, End: diag.Pos{Line: 5, Column: 9}}
	if _, diags := Parse("#[x]", At("#[x]", block)); len(diags) != 1 || diags[0].Subject != block.Within(2, 3) {
		t.Errorf("a place in a scalar on several lines is not marked: %v", diags)
	}
}

func TestPhaseOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Phase{
		"x": Anytime, "#['a' ++ 'b']": Anytime, "#[attributes.method]": Request, "#[attributes.headers.a]": Either,
		"#[attributes.headers.a ++ attributes.method]": Request, "#[attributes.statusCode == 200]": Response,
		"#[attributes.statusCode == 200 and attributes.method == 'GET']": Both, "#[payload]": Either,
		"#[vars.x]": Request, "#[attributes]": Request,
	} {
		e, diags := Parse(text, nil)
		if got := PhaseOf(e); got != want || len(diags) > 0 {
			t.Errorf("%s: %d, want %d %v", text, got, want, diags)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"#[", "#['a' ++ attributes.headers['x'] default null]", "#[if (not (a)) [1, -2.5e3][0] else x.y]", "#[\"\\u00e4\" contains 'b' or c]",
		"#[splitBy(dw::core::Strings::substringAfter(vars.a, 'b'), ',')[-1]]", "#[(x) -> {a: |P1D|}]", "#[/* */ // \n --- ]", "ä #[",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at := func(start, end int) diag.Range {
			if start < 0 || end < start || end > len(text) {
				t.Fatalf("span %d to %d in a text of %d", start, end, len(text))
			}
			return diag.Range{}
		}
		e, diags := Parse(text, at)
		if (e == nil) != diags.HasErrors() {
			t.Fatalf("%v with %v", e, diags)
		}
		if e == nil {
			return
		}
		nested(t, e, 0, len(text))
		_, _ = Eval(e, Env{})
		if !IsExpression(text) || len(Text(e)) > maxLength {
			return
		}
		again, diags := Parse(Text(e), nil)
		if shape(again) != shape(e) || len(diags) > 0 {
			t.Fatalf("%q prints as %q: %v", text, Text(e), diags)
		}
	})
}

func nested(t *testing.T, e Expr, start, end int) {
	t.Helper()
	s, n := e.Span()
	if s < start || n > end || s > n {
		t.Fatalf("%T at %d to %d is not inside %d to %d", e, s, n, start, end)
	}
	for _, c := range Children(e) {
		nested(t, c, s, n)
	}
}

func BenchmarkParse(b *testing.B) {
	const text = "#[splitBy(dw::core::Binaries::fromBase64(dw::core::Strings::substringAfter(attributes.headers.authorization default '', 'Basic ')), ':')[0]]"
	b.ReportAllocs()
	for b.Loop() {
		if e, _ := Parse(text, nil); e == nil {
			b.Fatal("no expression")
		}
	}
}
