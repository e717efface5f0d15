package schema

import (
	"strings"
	"testing"
)

// TestSuspicious: what is meant instead of an expression is one, and escapes of RE2 are no placeholders.
func TestSuspicious(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, meant string }{
		{`/a/{id}`, `/a/[^/]+`},
		{`/{a}/\d+/{b}`, `/[^/]+/\d+/[^/]+`},
		{`/\p{Greek}+`, ""},
		{`/\P{L}/x`, ""},
		{`/\p{Greek}/{id}`, `/\p{Greek}/[^/]+`},
		{`/\x{ab}`, ""},
		{`/\{id}`, ""},
		{`/\{id\}`, ""},
		{`/\\{id}`, `/\\[^/]+`},
		{`/a{2}`, ""},
		{`/a/:id`, `/a/[^/]+`},
		{`/a/*`, `/a/.*`},
	} {
		meant, why := suspicious("path", c.text)
		if meant != c.meant || (why == "") != (meant == "") {
			t.Errorf("%s: got %q (%s), want %q", c.text, meant, why, c.meant)
		}
		if meant != "" && parsePattern(meant).wrong != "" {
			t.Errorf("%s: %s is no expression: %s", c.text, meant, parsePattern(meant).wrong)
		}
	}
}

// FuzzSuspicious: an edit never makes an expression into something that is none.
func FuzzSuspicious(f *testing.F) {
	for _, s := range []string{`/a/{id}`, `/\p{Greek}+`, `/[{id}]`, `/(?P<a>{id})`, `/[/:id]`, `/[/*/]`, `(/:a|b)`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if parsePattern(s).wrong != "" || strings.Contains(s, "?") {
			return
		}
		if meant, _ := certain("path", s); meant != "" && parsePattern(meant).wrong != "" {
			t.Errorf("%q is to be %q, which is none", s, meant)
		}
	})
}
