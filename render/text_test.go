package render

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// plain is what a tree says, for comparing with JSON.
func plain(n *syntax.Node) any {
	switch n.Kind {
	case syntax.Mapping:
		m := map[string]any{}
		for _, f := range n.Fields {
			m[f.Name] = plain(f.Value)
		}
		return m
	case syntax.Sequence:
		l := []any{}
		for _, x := range n.Items {
			l = append(l, plain(x))
		}
		return l
	}
	return n.Scalar
}

// readsBack checks that YAML says what the JSON it was made of says.
func readsBack(t *testing.T, raw []byte) {
	t.Helper()
	y, err := yamlOf(raw)
	if err != nil {
		t.Fatal(err)
	}
	docs, l := syntax.Parse(source.NewSet([]source.File{source.NewFile("x.yaml", y)}))
	if len(l) > 0 || len(docs) != 1 {
		t.Fatalf("%v\n%s", l, y)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, plain(docs[0].Root)); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, y)
	}
}

func TestYAML(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		`{"a": 1, "b": [], "c": {}, "d": null, "e": true, "f": [[1, 2], [], [{"x": [3]}]], "g": [{"y": {"z": "w"}, "v": []}], "": "empty"}`,
		`{"texts": ["", " ", "a b", "1", "1.5", "-", "- a", "true", "Yes", "null", "~", "a: b", "a #b", "#c", "'", "\"", "\\", "é", "\u2028", "\u0000", "\u0085", "\ufeff", "=", "<<", "0x1f", "1e3", ".5", "!t", "&a", "*a", "@", "%d", "|", ">", "?", "2001-01-01", "12:30:45", "y", "a:", "/a/b", "__", "...", "---"]}`,
		`{"lines": ["a\nb", "a\nb\n", "a\n\nb\n\n", "\na", " a\nb", "a\n b\n  c\n", "\n", "a\tb\nc", "a\r\nb", "a\n---\nb\n", "# a\nb", "a \nb", "-----BEGIN X-----\nAAAA\n-----END X-----\n"]}`,
		`{"true": 1, "a b": 2, "1": 3, "@type": 4}`,
		`"alone"`, `[]`, `{}`, `[1]`,
	} {
		readsBack(t, []byte(s))
	}
}

func FuzzYAML(f *testing.F) {
	f.Add("a", "b\n c")
	f.Fuzz(func(t *testing.T, k, v string) {
		raw, err := json.Marshal(map[string]any{k: v, "list": []any{v, map[string]any{"in": v}}})
		if err != nil {
			t.Skip()
		}
		readsBack(t, raw)
	})
}
