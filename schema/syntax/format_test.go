package syntax_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/syntax"
)

// envelope is an order for roots that have a kind.
func envelope(root *syntax.Node) (top, metadata []string) {
	if root.Fold("kind") == nil {
		return []string{"none"}, nil
	}
	return []string{"apiVersion", "kind", "metadata", "spec"}, []string{"name"}
}

func format(t *testing.T, name, text string) (string, string) {
	t.Helper()
	units, _ := syntax.Units(set(name, text))
	out, ds := syntax.Format(units[0], envelope)
	said := ""
	for _, d := range ds {
		said += d.String() + "\n"
	}
	if len(out) == 0 {
		return text, said
	}
	return string(out[0].Text), said
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, text, want string }{
		{"indentation", "a.yaml", "a:\n    b: 1\n    c:\n        d:   2   # e\n", "a:\n  b: 1\n  c:\n    d: 2   # e\n"},
		{"lists are further in than their key", "a.yaml", "a:\n- 1\n-   b: 2\n    c: 3\n-\n  d: 4\nz: 1\n", "a:\n  - 1\n  - b: 2\n    c: 3\n  -\n    d: 4\nz: 1\n"},
		{"lists in lists", "a.yaml", "-   - 1\n    - 2\n-   - a: 1\n      b: 2\n", "- - 1\n  - 2\n- - a: 1\n    b: 2\n"},
		{"block scalars", "a.yaml", "a:\n    - b: |\n            x\n              y  \n\n            z\n      c: >-2\n          p\n    - |+\n        q\n\n\nr: 1\n", "a:\n  - b: |\n      x\n        y  \n\n      z\n    c: >-2\n        p\n  - |+\n    q\n\n\nr: 1\n"},
		{"text over several lines", "a.yaml", "a:\n      b: one\n         two\n      c: \"x\n\n        y\" # c\n      d: {e: 1,\n          f: 2}\n", "a:\n  b: one\n     two\n  c: \"x\n\n    y\" # c\n  d: {e: 1,\n      f: 2}\n"},
		{"comments", "a.yaml", "# top\na:\n    # b's\n    b: 1\n    # after b\n  # of a\n# c's\nc:\n# list\n-   x # y\n# two\n-   z\n    # end\n", "# top\na:\n  # b's\n  b: 1\n  # after b\n  # of a\n# c's\nc:\n  # list\n  - x # y\n  # two\n  - z\n  # end\n"},
		{"blanks and lines", "a.yaml", "\n\na: 1  \n\n\n\nb: 2\t\nc:   # d\n\n", "a: 1\n\nb: 2\nc:   # d\n"},
		{"documents", "a.yaml", "a: 1\n\n---   \n\n---\nb: 2\n...\n---\nc: 3\n---\n", "a: 1\n---\nb: 2\n...\n---\nc: 3\n"},
		{"the order of the envelope", "a.yaml", "# file\nkind: Service\nspec:\n  address: x\n\n# who\nmetadata:\n  namespace: n # ns\n  # its name\n  name: s\napiVersion: v\nstatus: {}\n",
			"# file\napiVersion: v\nkind: Service\n\n# who\nmetadata:\n  # its name\n  name: s\n  namespace: n # ns\nspec:\n  address: x\nstatus: {}\n"},
		{"no other order", "a.yaml", "spec: 1\napiVersion: v\n", "spec: 1\napiVersion: v\n"},
		{"CR LF and a byte order mark", "a.yaml", "\uFEFFa:\r\n    b: 1  \r\n\r\n\r\nc: |\r\n    d\r\n", "\uFEFFa:\r\n  b: 1\r\n\r\nc: |\r\n  d\r\n"},
		{"anchors", "a.yaml", "a: &x\n    b: 1\nc:\n    <<: *x\n    d:    *x\ne:   !!str\n    f\n", "a: &x\n  b: 1\nc:\n  <<: *x\n  d: *x\ne: !!str\n  f\n"},
		{"no line break at the end", "a.yaml", "a: |\n    b", "a: |\n  b"},
		{"quotes stay", "a.yaml", "\"a\":   'b'\nc: \"d\"\n", "\"a\": 'b'\nc: \"d\"\n"},
		{"JSON", "a.json", "{\"kind\":\"x\",\"apiVersion\":\"v\",\"m\":{},\"l\":[1,\"\\u00e9\",  1e3],\"o\":[{\"a\":null}],\"e\":[ ]}", "{\n  \"apiVersion\": \"v\",\n  \"kind\": \"x\",\n  \"m\": {},\n  \"l\": [1, \"\\u00e9\", 1e3],\n  \"o\": [\n    {\n      \"a\": null\n    }\n  ],\n  \"e\": []\n}\n"},
		{"JSON list", "a.json", "[{\"metadata\":{\"namespace\":\"n\",\"name\":\"x\"},\"kind\":\"x\"}]", "[\n  {\n    \"kind\": \"x\",\n    \"metadata\": {\n      \"name\": \"x\",\n      \"namespace\": \"n\"\n    }\n  }\n]\n"},
		{"CUE", "a.cue", "apiVersion:   \"v\" // c\nkind: \"k\"\na: {b:1,\nc:2}\n", "apiVersion: \"v\" // c\nkind:       \"k\"\na: {b: 1\n\tc: 2\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, said := format(t, c.file, c.text)
			if diff := cmp.Diff(c.want, got); diff != "" || said != "" {
				t.Errorf("%s-want +got\n%s", said, diff)
			}
			if again, _ := format(t, c.file, got); again != got {
				t.Errorf("a second time differs -first +second\n%s", cmp.Diff(got, again))
			}
		})
	}
}

func TestFormatRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, text, want string }{
		{"a.yaml", "a: [1\n", "a.yaml:1:4: error: "},
		{"a.yaml", "? a\n: b\n", "a.yaml: warning: the layout of this file is left as it is: it has keys over several lines"},
		{"a.yaml", "a: \"x\u2028  y\"\n", "a.yaml: warning: the layout of this file is left as it is: it has line breaks"},
		{"a.cue", "a: {", "a.cue:1:4: error"},
	} {
		got, said := format(t, c.file, c.text)
		if got != c.text || !strings.Contains(said, c.want) {
			t.Errorf("%q: got %q, %s", c.text, got, said)
		}
	}
}

// FuzzFormat holds that formatting changes no tree, loses no comment (Format itself sees to both) and does nothing the second time.
func FuzzFormat(f *testing.F) {
	cases, _ := filepath.Glob("../testdata/*.txtar")
	for _, name := range cases {
		for _, file := range archive(f, name) {
			if e := filepath.Ext(file.Name); (e == ".yaml" || e == ".json") && !strings.HasPrefix(file.Name, "want/") {
				f.Add("a"+e, string(file.Data))
			}
		}
	}
	f.Add("a.yaml", "a:\n# x\n    b: |2\n      c\n   # y\n- d\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		if name != "a.json" {
			name = "a.yaml"
		}
		if len(text) > 16<<10 {
			return
		}
		once, said := format(t, name, text)
		if said != "" {
			return
		}
		if again, said := format(t, name, once); again != once || said != "" {
			t.Errorf("%s-first +second\n%s", said, cmp.Diff(once, again))
		}
	})
}
