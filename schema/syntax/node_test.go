package syntax_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

const shop = `kind: Api
spec:
  address: http://x
  routes:
    - rules: [{path: /a}]
      config: {}
    - - deep
  a/b~c: 1
`

func TestLocate(t *testing.T) {
	t.Parallel()
	n := one(t, "a.yaml", shop)
	for _, c := range []struct {
		path  []string
		want  string // of Locate
		whole bool
		key   string // of KeyRange
	}{
		{nil, "1:1-8:11", true, "1:1-1:10"},
		{[]string{"kind"}, "1:7-1:10", true, "1:1-1:5"},
		{[]string{"missing"}, "1:1-1:10", false, "1:1-1:10"},
		{[]string{"kind", "x"}, "1:7-1:10", false, "1:1-1:5"},
		{[]string{"spec"}, "3:3-8:11", true, "2:1-2:5"},
		{[]string{"spec", "port"}, "2:1-2:5", false, "2:1-2:5"},
		{[]string{"spec", "routes", "0"}, "5:7-6:17", true, "5:7-5:26"},
		{[]string{"spec", "routes", "0", "label"}, "5:7-5:26", false, "5:7-5:26"},
		{[]string{"spec", "routes", "0", "config", "x", "y"}, "6:7-6:13", false, "6:7-6:13"},
		{[]string{"spec", "routes", "0", "rules", "0", "path"}, "5:22-5:24", true, "5:16-5:20"},
		{[]string{"spec", "routes", "1", "0"}, "7:9-7:13", true, "7:9-7:13"},
		{[]string{"spec", "routes", "7"}, "4:3-4:9", false, "4:3-4:9"},
		{[]string{"spec", "routes", "-1"}, "4:3-4:9", false, "4:3-4:9"},
		{[]string{"spec", "routes", "1", "x"}, "7:7-7:13", false, "7:7-7:13"},
	} {
		if got := span(n.Locate(c.path...)); got != c.want {
			t.Errorf("Locate(%q) = %s, want %s", c.path, got, c.want)
		}
		if _, whole := n.At(c.path...); whole != c.whole {
			t.Errorf("At(%q) whole is %v", c.path, whole)
		}
		if got := span(n.KeyRange(c.path...)); got != c.key {
			t.Errorf("KeyRange(%q) = %s, want %s", c.path, got, c.key)
		}
	}
	if got := span(n.Locate(syntax.SplitPointer("/spec/a~1b~0c")...)); got != "8:10-8:11" {
		t.Errorf("Locate of a pointer = %s", got)
	}
	if got := span(n.Locate(syntax.SplitPointer("")...)); got != "1:1-8:11" {
		t.Errorf("Locate of the empty pointer = %s", got)
	}
}

func span(r diag.Range) string {
	return fmt.Sprintf("%d:%d-%d:%d", r.Start.Line, r.Start.Column, r.End.Line, r.End.Column)
}

func TestGet(t *testing.T) {
	t.Parallel()
	n := one(t, "a.yaml", "Name: a\nname: b\nOther: c\n")
	if got := n.Get("name").Text; got != "b" {
		t.Errorf("name is %q", got)
	}
	if n.Get("other") != nil || n.Field("other") != nil {
		t.Error("Get does not care about case")
	}
	if got := n.Fold("other").Value.Text; got != "c" {
		t.Errorf("Fold finds %q", got)
	}
	if got := n.Fold("name").Value.Text; got != "b" {
		t.Errorf("Fold prefers %q", got)
	}
	var none *syntax.Node
	if none.Get("x").Get("y") != nil || none.Fold("x") != nil || none.Value() != nil {
		t.Error("nil has fields")
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	got := one(t, "a.yaml", "a: [1, x, true, null, {b: 0x10}]\n7: y\n").Value()
	want := map[string]any{"a": []any{json.Number("1"), "x", true, nil, map[string]any{"b": json.Number("16")}}, "7": "y"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

type order struct {
	Name   syntax.Text     `flex:"name"`
	Port   uint32          `flex:"port"`
	Weight *int            `flex:"weight"`
	Ratio  float64         `flex:"ratio"`
	On     bool            `flex:"on"`
	Code   string          `flex:"code"`
	Big    int64           `flex:"big"`
	Tags   []string        `flex:"tags"`
	Labels map[string]bool `flex:"labels"`
	Config *syntax.Node    `flex:"config"`
	Any    any             `flex:"any"`
	Inner  *order          `flex:"inner"`
	List   []order         `flex:"list"`
	Own    celsius         `flex:"temperature"`
	embedded
}

type embedded struct {
	Extra string `flex:"extra"`
}

type celsius struct{ degrees string }

func (c *celsius) DecodeNode(n *syntax.Node) diag.List {
	if n.Kind != syntax.Scalar {
		return diag.List{{Severity: diag.Error, Code: "decode/celsius", Subject: n.Range}}
	}
	c.degrees = n.Text + "°C"
	return nil
}

func TestDecode(t *testing.T) {
	t.Parallel()
	n := one(t, "a.yaml", `NAME: "007"
port: "8081"
weight: 1e2
ratio: .5
on: "True"
code: 00
big: -9007199254740993
tags: [a, 1, true]
labels: {x: true, y: "false"}
config: {a: 1}
any: {b: [2]}
inner: {name: x, inner: {code: yes}}
list: [{port: 1}, {}]
temperature: 21
extra: more
unknown: 1
`)
	var o order
	if ds := n.Decode(&o); ds != nil {
		t.Fatal(ds)
	}
	if o.Name.Value != "007" || span(o.Name.Range) != "1:7-1:12" || o.Port != 8081 || o.Weight == nil || *o.Weight != 100 || o.Ratio != 0.5 ||
		!o.On || o.Code != "00" || o.Big != -9007199254740993 || o.Inner.Inner.Code != "yes" || len(o.List) != 2 || o.List[0].Port != 1 ||
		o.Own.degrees != "21°C" || o.Extra != "more" || o.Config != n.Get("config") {
		t.Errorf("%+v", o)
	}
	if diff := cmp.Diff([]any{o.Tags, o.Labels, o.Any}, []any{[]string{"a", "1", "true"}, map[string]bool{"x": true, "y": false},
		map[string]any{"b": []any{json.Number("2")}}}); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
}

func TestDecodeMismatches(t *testing.T) {
	t.Parallel()
	n := one(t, "a.yaml", `name: {a: 1}
port: -1
weight: 1.5
ratio: x
on: yes
code: [1]
big: 9223372036854775808
tags: a
labels: []
inner: 3
list: [{port: 65536.5}, 3]
temperature: []
`)
	var o order
	ds := n.Decode(&o)
	var got []string
	for _, d := range ds.Sort() {
		got = append(got, d.Subject.String()+" "+d.Summary)
	}
	want := []string{
		"a.yaml:1:7 expected a text, found a mapping",
		"a.yaml:2:7 expected a whole number from 0 to 4294967295, found the number -1",
		"a.yaml:3:9 expected a whole number, found the number 1.5",
		`a.yaml:4:8 expected a number, found the text "x"`,
		`a.yaml:5:5 expected true or false, found the text "yes"`,
		"a.yaml:6:7 expected a text, found a list",
		"a.yaml:7:6 expected a whole number of at most 64 bits, found the number 9223372036854775808",
		`a.yaml:8:7 expected a list, found the text "a"`,
		"a.yaml:9:9 expected a mapping, found a list",
		"a.yaml:10:8 expected a mapping, found the number 3",
		"a.yaml:11:15 expected a whole number, found the number 65536.5",
		"a.yaml:11:25 expected a mapping, found the number 3",
		"a.yaml:12:14 ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDecodeNull(t *testing.T) {
	t.Parallel()
	n := one(t, "a.yaml", "name:\nport: null\nweight: ~\nratio:\non:\ncode:\ntags:\nlabels:\nany:\ninner:\nlist:\nconfig:\n")
	o := order{Name: syntax.Text{Value: "before"}}
	if ds := n.Decode(&o); ds != nil {
		t.Fatal(ds)
	}
	if o.Port != 0 || o.Weight != nil || o.Tags != nil || o.Labels != nil || o.Any != nil || o.Inner != nil || o.List != nil || o.Config == nil || o.Name.Range.IsZero() {
		t.Errorf("%+v", o)
	}
	var none *syntax.Node
	if ds := none.Decode(&o); ds != nil {
		t.Error(ds)
	}
}

func TestDecodePrefersTheExactKey(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"name: right\nNAME: wrong\n", "NAME: wrong\nname: right\n"} {
		var o order
		if ds := one(t, "a.yaml", text).Decode(&o); ds != nil || o.Name.Value != "right" {
			t.Errorf("%q: %q, %v", text, o.Name.Value, ds)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	docs, _ := syntax.Parse(set("a.yaml", "name: a\nport: 1\ncode: c\ntags: [a, b]\ninner: {name: x, port: 2, ratio: 1.5}\nlist: [{port: 1}, {port: 2}]\n"))
	b.ReportAllocs()
	for b.Loop() {
		var o order
		if ds := docs[0].Root.Decode(&o); ds != nil {
			b.Fatal(ds)
		}
	}
}
