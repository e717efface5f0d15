package match

import (
	"regexp"
	"testing"
)

// The answers are those of Envoy 1.40.0 (normalize_path, merge_slashes) for the same text as a request's path, except for the
// trailing slash and what no client can send: spaces, non-ASCII, queries.
func TestNormal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                 "",
		"/":                "",
		"//":               "",
		"/a":               "/a",
		"/a/":              "/a",
		"a/b":              "/a/b",
		"/a//b":            "/a/b",
		`/a\b`:             "/a/b",
		`/a\b\..\c`:        "/a/c",
		"/%61pi":           "/api",
		"/a%2Db%2e%5f%7E":  "/a-b._~",
		"/caf%C3%A9":       "/caf%C3%A9",
		"/caf%c3%a9":       "/caf%C3%A9",
		"/café":            "/caf%C3%A9",
		"/a b":             "/a%20b",
		"/a%20b":           "/a%20b",
		"/a%2fb":           "/a%2Fb",
		"/a%%41":           "/a%A",
		"/a%":              "/a%",
		"/a%zz":            "/a%zz",
		"/%2541":           "/%2541",
		"/a;v=1/b":         "/a;v=1/b",
		"/a/..;/b":         "/b",
		"/a/.;x/b":         "/a/b",
		"/a/..%3b/b":       "/a/..%3B/b",
		"/a/%2E%2e/b":      "/b",
		"/a/.":             "/a",
		"/a/..":            "",
		"/../a":            "/a",
		"/a/...":           "/a/...",
		"/a/..a":           "/a/..a",
		"/.well-known/x":   "/.well-known/x",
		"/a//../b":         "/a/b",
		"/a/b/..//c":       "/a/c",
		"/a\"<>^`{|}b":     "/a%22%3C%3E%5E%60%7B%7C%7Db",
		"/!$&'()*+,:;=@[]": "/!$&'()*+,:;=@[]",
		"/a?b#c":           "/a%3Fb%23c",
	} {
		if got := Normal(in); got != want {
			t.Errorf("Normal(%q) = %q, want %q", in, got, want)
		}
		if again := Normal(want); again != want {
			t.Errorf("Normal(%q) = %q: not stable", want, again)
		}
	}
}

func FuzzNormal(f *testing.F) {
	f.Add("/a/../b%2e")
	f.Add(`//..;\%`)
	f.Fuzz(func(t *testing.T, s string) {
		n := Normal(s)
		if Normal(n) != n {
			t.Errorf("Normal(%q) = %q, whose normal form is %q", s, n, Normal(n))
		}
		re := regexp.MustCompile("^" + Quote(n) + "$")
		for _, sp := range Spellings(n) {
			if !re.MatchString(sp) {
				t.Errorf("Quote(%q) = %q does not match %q", n, Quote(n), sp)
			}
		}
	})
}
