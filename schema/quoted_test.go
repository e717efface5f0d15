package schema_test

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// TestQuoted finds the value in the configuration of one policy, and in no other's, and says whose it is.
func TestQuoted(t *testing.T) {
	t.Parallel()
	yaml := `kind: ApiInstance
spec:
  policies:
    - policyRef: {name: one}
      config: {a: [fine, "/a(b", {"b/c": "/a(b)"}], key-name: 1}
    - policyRef: {name: two}
      Config:
        deep:
          - value: "/a(b"
    - policyRef: {name: three}
---
spec:
  policyRef: {name: four}
  config: {a: other}
`
	json := `[{"spec": {"policyRef": {"name": "five"}, "config": {"x": ["é/a(b"]}}}]`
	cue := "package x\n\napiVersion: \"gateway.mulesoft.com/v1alpha1\"\nkind: \"PolicyBinding\"\nspec: {policyRef: name: \"six\", config: {x: \"/a(b\"}}\n"
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte(yaml)), source.NewFile("b.json", []byte(json)), source.NewFile("c.cue", []byte(cue))})
	for _, c := range []struct{ file, policy, words, place, pointer string }{
		{"a.yaml", "one", "missing ): /a(b", `a.yaml:5:26`, "/spec/policies/0/config/a/1"},
		{"a.yaml", "one", "no such thing: /a(b)", `a.yaml:5:42`, "/spec/policies/0/config/a/2/b~1c"},
		{"a.yaml", "one", "bad key: b/c", `a.yaml:5:35`, "/spec/policies/0/config/a/2/b~1c"},
		{"a.yaml", "two", "missing ): /a(b", `a.yaml:9:20`, "/spec/policies/1/Config/deep/0/value"},
		{"a.yaml", "two", "something else", "", ""},
		{"a.yaml", "three", "missing ): /a(b", "", ""},
		{"a.yaml", "four", "bad: other", `a.yaml:14:15`, "/spec/config/a"},
		{"b.json", "five", "bad: /a(b", `b.json:1:60`, "/spec/config/x/0"},
		{"c.cue", "six", "bad: /a(b", `c.cue:5:44`, "/spec/config/x"},
	} {
		text := map[string]string{"a.yaml": yaml, "b.json": json, "c.cue": cue}[c.file]
		offset := strings.Index(text, c.policy)
		at := diag.Range{File: c.file, Start: diag.Pos{Line: 1, Column: 1, Offset: int32(offset)}, End: diag.Pos{Line: 1, Column: 2, Offset: int32(offset + 1)}}
		place, ok := schema.Quoted(set, at, c.words)
		ds := schema.Attribute(set, diag.List{{Subject: place}})
		if ok != (c.place != "") || place.String() != c.place || ds[0].Path != c.pointer {
			t.Errorf("%s, %q: got %s %s, want %s %s", c.policy, c.words, place, ds[0].Path, c.place, c.pointer)
		}
	}
}

func TestAttribute(t *testing.T) {
	t.Parallel()
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte("apiVersion: g/v1\nkind: A\nmetadata: {name: n, namespace: s}\nspec: {x: 1}\n---\napiVersion: g/v1\nkind: B\nmetadata: {name: m}\n"))})
	at := func(offset int) diag.Range {
		p := diag.Pos{Line: 1, Column: 1, Offset: int32(offset)}
		return diag.Range{File: "a.yaml", Start: p, End: p}
	}
	text, _ := set.Files[0].Bytes()
	ds := schema.Attribute(set, diag.List{
		{Subject: at(strings.Index(string(text), "x: 1"))}, {Subject: at(strings.Index(string(text), "1}"))}, {Subject: at(strings.Index(string(text), "B"))},
		{Subject: diag.Range{File: "no.yaml"}}, {},
	})
	a := diag.Object{Group: "g", Kind: "A", Namespace: "s", Name: "n"}
	for i, want := range []struct {
		object diag.Object
		path   string
	}{{a, "/spec/x"}, {a, "/spec/x"}, {diag.Object{Group: "g", Kind: "B", Namespace: "default", Name: "m"}, "/kind"}, {}, {}} {
		if ds[i].Object != want.object || ds[i].Path != want.path {
			t.Errorf("%d: got %v %s, want %v %s", i, ds[i].Object, ds[i].Path, want.object, want.path)
		}
	}
}
