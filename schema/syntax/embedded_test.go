package syntax_test

import (
	"testing"

	"github.com/flexgw/flexgw/schema/syntax"
)

func TestEmbedded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, path, at, wrong string }{
		{"yaml", "openapi: 3.0.3\npaths:\n  /a: {}\n", "openapi", "1:10", ""},
		{"json", "{\"openapi\": \"3.0.3\",\n \"paths\": {}}", "paths", "2:11", ""},
		{"a mapping of YAML", "{openapi: 3.0.3}", "openapi", "1:11", ""},
		{"broken json", "{\"a\": 1 \"b\": 2}", "", "", "1:9"},
		{"broken yaml", "a: [\nb: c\n", "", "", "1:4"},
	} {
		docs, ds := syntax.Embedded(c.text)
		if ds.HasErrors() != (c.wrong != "") {
			t.Errorf("%s: got %v", c.name, ds)
			continue
		}
		if c.wrong != "" {
			if got := ds[0].Subject.String(); ds[0].Subject.File != "" || got != ":"+c.wrong && got != c.wrong {
				t.Errorf("%s: %v stands at %q, want %q", c.name, ds[0], got, c.wrong)
			}
			continue
		}
		if got := docs[0].Root.Locate(c.path); got.File != "" || got.String() != ":"+c.at && got.String() != c.at {
			t.Errorf("%s: %s stands at %q, want %q", c.name, c.path, got, c.at)
		}
	}
}
