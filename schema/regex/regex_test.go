package regex_test

import (
	"regexp"
	"testing"

	"github.com/flexgw/flexgw/schema/regex"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"/.*", "/a", true},
		{".*", "/a", true},
		{"/a", "/.*", false},
		{"/orders/.*", "/orders/items/.*", true},
		{"/orders/.*", "/orders", false},
		{"/orders(/.*)?", "/orders", true},
		{"/orders(/.*)?", "/orders/[0-9]+", true},
		{"/orders/[0-9]+", "/orders/42", true},
		{"/orders/[0-9]+", "/orders/[0-9a-f]+", false},
		{"/a|/b/.*", "/b/c", true},
		{"/a|/b", "/(a|b)", true},
		{"/(a|b)", "/a|/b", true},
		{"^/a$", "/a", true},
		{"/a", "^/a$", true},
		{"/(?i)abc", "/ABC", true},
		{"/abc", "/(?i)abc", false},
		{`/\w+`, "/abc", true},
		{`/[^/]+`, `/[^/]+/x`, false},
		{`/[^/]+(/.*)?`, `/[^/]+/x`, true},
		{`/.*\.json`, `/a/b\.json`, true},
		{`/.*\.json`, `/a/b.json`, false},
		{`/\bA`, `/A`, false}, // not looked at
		{`/(`, `/(`, false},
		{"/a{2,3}", "/aa", true},
		{"/a{2,3}", "/a{2,4}", false},
		{"/x*", "/", true},
		{"/.*", "a", false}, // matches no path
		{"/.*", `/[^\x00-\x{10FFFF}]`, false},
	} {
		if got := regex.Covers(c.a, c.b, "/"); got != c.want {
			t.Errorf("Covers(%q, %q) = %v", c.a, c.b, got)
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b        string
		want, known bool
	}{
		{"/admin/.*", "/orders/.*", false, true},
		{"/admin/.*", "/.*", true, true},
		{"/[a-m].*", "/[n-z].*", false, true},
		{"/a", "/a/", false, true},
		{"/a/?", "/a/", true, true},
		{`/\d+`, `/[a-z]+`, false, true},
		{`/\b.`, `/a`, false, false},
	} {
		if got, known := regex.Overlap(c.a, c.b, "/"); got != c.want || known != c.known {
			t.Errorf("Overlap(%q, %q) = %v, %v", c.a, c.b, got, known)
		}
	}
}

// FuzzCovers holds the answers to the standard library's matching.
func FuzzCovers(f *testing.F) {
	f.Add("/a.*", "/ab", "/abc")
	f.Add("/(a|b)*c?", "/[a-c]{1,2}", "/abc")
	f.Add("^/x$|/y", "/y", "/y")
	f.Fuzz(func(t *testing.T, a, b, value string) {
		x, errX := regexp.Compile("^(?:" + a + ")$")
		y, errY := regexp.Compile("^(?:" + b + ")$")
		if errX != nil || errY != nil || len(a)+len(b) > 60 {
			return
		}
		for _, r := range value {
			if r < 0x20 || r > 0x7e {
				return
			}
		}
		inA, inB := x.MatchString("/"+value), y.MatchString("/"+value)
		if regex.Covers(a, b, "/") && inB && !inA {
			t.Errorf("%q does not cover %q: /%s", a, b, value)
		}
		if overlap, known := regex.Overlap(a, b, "/"); known && !overlap && inA && inB {
			t.Errorf("%q and %q overlap: /%s", a, b, value)
		}
	})
}

func BenchmarkCovers(b *testing.B) {
	for b.Loop() {
		regex.Covers("/orders(/[a-z0-9_-]{1,64})?", "/orders/[a-z0-9_-]{1,32}", "/")
	}
}
