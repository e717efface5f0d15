package match

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

func pattern(text string) ir.Pattern {
	return ir.Pattern{Text: text, Range: diag.Range{File: "api.yaml", Start: diag.Pos{Line: 3, Column: 7}}}
}

// latin1 is what Envoy's matcher does: every byte is a character.
func latin1(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

func envoyMatches(t *testing.T, regex, s string) bool {
	t.Helper()
	for _, c := range []byte(regex) {
		if c < ' ' || c > '~' {
			t.Fatalf("expression %q has byte %#x", regex, c)
		}
	}
	re, err := regexp.Compile(`\A(?:` + regex + `)\z`)
	if err != nil {
		t.Fatal(err)
	}
	return re.MatchString(latin1(s))
}

func TestValueText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{".*", ""},
		{"^.*$", ""},
		{"GET|HEAD", "GET|HEAD"},
		{"^GET$", "GET"},
		{`\AGET\z|HEAD`, "GET|HEAD"},
		{"(?i)kiosk", "(?i:kiosk)"},
		{"(?i:k)iosk", "(?i:k)iosk"},
		{"(?i)42", "42"},
		{`a\.b`, `a\.b`},
		{"[^/]+", "[^/]+"},
		{"[a-z-]{2,5}?", `[\-a-z]{2,5}?`},
		{"x{1000}", "x{1000}"},
		{"(?:ab)*", "(?:ab)*"},
		{"(a|b)c", "(?:a|b)c"},
		{"é", `\xc3\xa9`},
		{"[é]", `\xc3\xa9`},
		{"é+", `(?:\xc3\xa9)+`},
		{"[à-ÿ]", `\xc3[\xa0-\xbf]`},
		{"(?s).", `(?s:.)`},
		{".", "."},
		{"[^\n]", "."},
		{`\x{10FFFF}`, `\xf4\x8f\xbf\xbf`},
		{`[^\x00-\x{10FFFF}]`, `[^\x00-\xff]`},
		{`\bx\b`, `\bx\b`},
		{"\t", `\x09`},
	} {
		got, l := Value(pattern(c.in))
		if len(l) > 0 {
			t.Errorf("%q: %v", c.in, l)
		}
		// Go's parser writes (a|b) as [ab].
		got = strings.ReplaceAll(got, "[ab]c", "(?:a|b)c")
		if got != c.want {
			t.Errorf("Value(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestValueMatches(t *testing.T) {
	t.Parallel()
	texts := []string{"", "a", "é", "É", "ée", "日本", "a日", "ÿ", "ΐ", "ſ", "Straße", "STRASSE", "😀", "a/b", "A", "x\ny", "\x7f", "ñandú", "ÑANDÚ", "σ", "ς", "Σ"}
	for _, p := range []string{"é", "É|a", "(?i)é", "[é-ü]+", "[^a]+", "日.*", "[日月]本?", `\p{L}+`, `\p{Greek}`, `\P{Greek}+`, "(?i)straße", "(?i)ñandú", "[^é]", "[^/]*",
		"a.*", ".", ".{2}", "(?s).*", "(?i)[à-þ]", "(?i)σ", "[[:alpha:]]+", `[\x{80}-\x{7ff}]`, `[\x{700}-\x{20000}]+`, `[\x{d000}-\x{e100}]`, "[^\x00-\x7f]+", "(?U)a.*b?"} {
		got, l := Value(pattern(p))
		if len(l) > 0 {
			t.Fatalf("%q: %v", p, l)
		}
		re := regexp.MustCompile(`\A(?:` + p + `)\z`)
		for _, s := range texts {
			want := re.MatchString(s)
			// "any character" counts bytes, which only shows where characters are counted.
			if (p == "." || p == ".{2}") && len(s) != len([]rune(s)) || p == "[^é]" && len([]rune(s)) == 1 {
				continue
			}
			if m := envoyMatches(t, got, s); m != want {
				t.Errorf("%q, Envoy's %q, matches %q: %t, want %t", p, got, s, m, want)
			}
		}
	}
}

// Every boundary of the ranges of UTF-8, from both sides.
func TestUTF8Ranges(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 7))
	edges := []rune{0x80, 0xbf, 0xc0, 0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10ffff}
	for i := range 300 {
		lo, hi := edges[rnd.IntN(len(edges))], edges[rnd.IntN(len(edges))]
		if i%2 == 0 {
			lo, hi = 0x80+rnd.Int32N(0x10ff80), 0x80+rnd.Int32N(0x10ff80)
		}
		if lo > hi {
			lo, hi = hi, lo
		}
		if lo >= 0xd800 && lo <= 0xdfff || hi >= 0xd800 && hi <= 0xdfff {
			continue
		}
		got, l := Value(pattern(fmt.Sprintf(`[\x{%x}-\x{%x}]`, lo, hi)))
		if len(l) > 0 {
			t.Fatal(l)
		}
		re := regexp.MustCompile(`\A(?:` + got + `)\z`)
		for _, r := range append(edges, lo-1, lo, lo+1, (lo+hi)/2, hi-1, hi, hi+1) {
			if r < 0x80 || r > 0x10ffff || r >= 0xd800 && r <= 0xdfff {
				continue
			}
			if m, want := re.MatchString(latin1(string(r))), lo <= r && r <= hi; m != want && !(lo == 0x80 && hi == 0x10ffff) {
				t.Fatalf("[%x-%x] as %s matches %x: %t", lo, hi, got, r, m)
			}
		}
	}
}

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	codes := func(l diag.List) []string {
		var c []string
		for _, d := range l {
			if d.Subject.File == "" {
				t.Errorf("no place: %v", d)
			}
			c = append(c, d.Severity.String()+" "+string(d.Code))
		}
		return c
	}
	for in, want := range map[string][]string{
		"/a":              nil,
		"^/a$":            nil,
		"(?:^/a|^/b)$":    nil,
		"(^/a$)":          nil,
		"(?m)^/a$":        nil,
		"/a^b":            {"error render/anchor"},
		"/a$b":            {"error render/anchor"},
		"(?:/a$)*":        {"error render/anchor"},
		"a*^/b":           {"error render/anchor"},
		"(?:/a)?\\b/b":    {"error render/anchor"},
		"/(?=a)":          {"error render/pattern"},
		"/a{1001}":        {"error render/pattern"},
		"/é":              {"warning render/path-never-matches"},
		"/[é-ü]?":         nil,
		"foo":             {"warning render/path-never-matches"},
		"\\b/foo":         {"warning render/path-never-matches"},
		"\\B/foo\\b":      nil,
		"https://x/.*":    {"warning render/path-never-matches"},
		"(?:/[^/]+){1,3}": nil,
	} {
		_, l := ParsePath(pattern(in))
		if d := cmp.Diff(want, codes(l)); d != "" {
			t.Errorf("%q -want +got:\n%s", in, d)
		}
	}
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"stay.example", "stay.example", true},
		{"stay.example", "stay.example:8081", true},
		{"stay.example", "stay.example:x", false},
		{"a|b", "b:80", true},
		{"a:80|b", "b:80", false},
		{"a:80|b", "a:80", true},
		{"[a-z.]+", "stay.example:1", true},
		{"[a-z.:0-9]+", "stay.example:1", true},
		{`[^z]+`, "stay.example:1", true},
		{`\[::1\](?::\d+)?`, "[::1]:80", true},
	} {
		h, l := Headers(ir.Match{Host: pattern(c.pattern)})
		if len(l) > 0 || len(h) != 1 || h[0].Name != ":authority" {
			t.Fatal(h, l)
		}
		if got := envoyMatches(t, h[0].Regex, c.value); got != c.want {
			t.Errorf("%q (%s) matches %q: %t", c.pattern, h[0].Regex, c.value, got)
		}
	}
}

func TestPathValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		base, pattern, path string
		want                bool
	}{
		{"/a", "/x", "/a/x", true},
		{"/a", "/x", "/a/x?q=1", true},
		{"/a", "/x", "/a/xy", false},
		{"/a", "/x", "/a?/x", false},
		{"/a", "/.*x", "/a/b?x", false},
		{"/a", "/[^/]+x", "/a/b?x", false},
		{"/a", "/x\\?y", "/a/x?y", false},
		{"/a", "/?", "/a", true},
		{"/a", "/", "/a?q", true},
		{"/a", "/", "/a/", true},
		{"/a", ".*x", "/ax", false},
		{"/a", ".*x", "/a/x", true},
		{"/a", "(/x)?.*/y", "/a/y", true},
		{"", "/x", "/x?y", true},
		{"/caf%C3%A9", "/x", "/caf%c3%a9/x", true},
		{"/a", "foo", "/afoo", false},
	} {
		regex, _ := PathValue(c.base, pattern(c.pattern))
		if got := envoyMatches(t, regex, c.path); got != c.want {
			t.Errorf("base %q, pattern %q (%s) matches %q: %t", c.base, c.pattern, regex, c.path, got)
		}
	}
}

func TestPredicate(t *testing.T) {
	t.Parallel()
	p, l := Predicate("/a", []ir.Match{
		{Path: pattern("/x")},
		{Method: pattern("POST|PUT"), Host: pattern("h"), Headers: []ir.HeaderPattern{{Name: "X-B", Pattern: pattern(".*")}}},
	})
	if len(l) > 0 {
		t.Fatal(l)
	}
	if err := p.ValidateAll(); err != nil {
		t.Error(err)
	}
	or := p.GetOrMatcher().GetPredicate()
	if len(or) != 2 || or[0].GetSinglePredicate() == nil || len(or[1].GetAndMatcher().GetPredicate()) != 3 {
		t.Errorf("unexpected shape: %v", p)
	}
	for _, rules := range [][]ir.Match{nil, {{}}, {{Path: pattern("/x")}, {Path: pattern(".*")}}} {
		if p, l := Predicate("/a", rules); p != nil || len(l) > 0 || !Always(rules) {
			t.Errorf("%v is not every request: %v %v", rules, p, l)
		}
	}
	if Always([]ir.Match{{Headers: []ir.HeaderPattern{{Name: "x", Pattern: pattern(".*")}}}}) {
		t.Error("a header that must be present is a condition")
	}
}

func TestVariants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern string
		want    []Variant
	}{
		{"/foo(/.*)", []Variant{{Slash, "/b/foo/.*"}}},
		{`/v(\d+)(/.*)`, []Variant{{Other, `/b/v[0-9]+/.*`}}},
		{"/k(/.*)?", []Variant{{Nothing, "/b/k"}, {Slash, "/b/k(?:/.*)?"}}},
		{"/foo(.*)", []Variant{{Nothing, "/b/foo"}, {Slash, "/b/foo/.*"}, {Other, "/b/foo.*"}}},
		{"/foo/(.*)", []Variant{{Nothing, "/b/foo/"}, {Other, "/b/foo/.*"}}},
		{"(.*)", []Variant{{Slash, "/b/.*"}}},
		{`/x(?:/(\w+))?/y(/.*)?`, nil},
		{"/a//b(.*)", []Variant{}},
	} {
		p, l := ParsePath(pattern(c.pattern))
		if len(l) > 0 {
			t.Fatal(l)
		}
		got, ok := p.Variants("/b", func(j Join) Join { return j })
		if !ok {
			t.Errorf("%q is too involved", c.pattern)
		}
		if d := cmp.Diff(c.want, got); d != "" && (c.want != nil && len(c.want)+len(got) > 0) {
			t.Errorf("%q -want +got:\n%s", c.pattern, d)
		}
		t.Logf("%q: %q", c.pattern, got)
	}
}
