package schema

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// oddSchemas exercise every keyword that shapes know.
var oddSchemas = []string{
	`{"type": "object", "properties": {"a": {"oneOf": [{"required": ["x"]}, {"required": ["y"]}], "type": "object"}, "b": {"anyOf": [{"type": "string", "minLength": 2}, {"type": "integer", "maximum": 5}]}},
	  "additionalProperties": {"type": ["string", "null"]}, "patternProperties": {"^p": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10}}, "maxProperties": 4}`,
	`{"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}, "v": {"const": 3}}, "required": ["v"], "additionalProperties": false}}, "$ref": "#/$defs/n"}`,
	`{"type": "array", "items": {"enum": ["a", 1, true, null]}, "uniqueItems": true, "minItems": 1, "maxItems": 4}`,
	`{"type": "object", "if": {"properties": {"k": {"const": "s"}}, "required": ["k"]}, "then": {"required": ["s"]}, "else": {"not": {"required": ["s"]}}, "allOf": [{"minProperties": 1}]}`,
	`{"type": "object", "properties": {"a": {"type": "string", "pattern": "^a", "maxLength": 3}, "no": false}, "dependentRequired": {"a": ["b"]}, "minProperties": 1}`,
	`{"properties": {"a": {"minimum": -1.5, "maximum": 2}}}`,
}

func judges(t testing.TB) []*judge {
	t.Helper()
	var out []*judge
	for _, name := range sortedKeys(kindJudges()) {
		out = append(out, kindJudges()[name])
	}
	for _, text := range oddSchemas {
		j, err := newJudge([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, j)
	}
	return out
}

// grower makes trees that a schema half expects.
type grower struct{ *rand.Rand }

func (g grower) tree(v view, depth int) *syntax.Node {
	if depth > 5 {
		return g.scalar(v)
	}
	want := v.want
	if want == 0 || g.IntN(12) == 0 {
		want = types(1) << g.IntN(7)
	}
	switch {
	case want&tObject != 0 && (want&^tObject == 0 || g.IntN(2) == 0):
		n := &syntax.Node{Kind: syntax.Mapping}
		names := slices.Clone(v.fields())
		for _, s := range v.flat {
			names = append(names, s.required...)
		}
		names = append(names, "x", "y", "k", "s", "b", "p1", "other")
		g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, s := range v.flat {
			if g.IntN(4) > 0 {
				names = append(slices.Clone(s.required), names...)
			}
		}
		most := g.IntN(6)
		for _, name := range names {
			if len(n.Fields) >= most+len(v.flat) || n.Field(name) != nil {
				continue
			}
			child, known := v.field(name)
			if !known && g.IntN(4) > 0 {
				continue
			}
			n.Fields = append(n.Fields, syntax.Field{Name: name, Value: g.tree(child, depth+1)})
		}
		return n
	case want&tArray != 0:
		n := &syntax.Node{Kind: syntax.Sequence}
		for range g.IntN(4) {
			n.Items = append(n.Items, g.tree(v.item(), depth+1))
		}
		return n
	}
	return g.scalar(v)
}

func (g grower) scalar(v view) *syntax.Node {
	pool := []any{"", "a", "abc", "abcdef", "true", "12", json.Number("0"), json.Number("1"), json.Number("3.0"), json.Number("2.5"), json.Number("-7"), json.Number("1e2"),
		json.Number("99999999999999999999"), true, false, nil}
	for _, s := range v.flat {
		pool = append(pool, s.enum...)
		pool = append(pool, s.enum...)
	}
	var fit []any
	for _, x := range pool {
		if v.want == 0 || v.want&typeOfScalar(x) != 0 {
			fit = append(fit, x)
		}
	}
	if len(fit) == 0 || g.IntN(10) == 0 {
		fit = pool
	}
	x := fit[g.IntN(len(fit))]
	return &syntax.Node{Scalar: x, Text: fmt.Sprint(x)}
}

func verdicts(t *testing.T, j *judge, n *syntax.Node) bool {
	t.Helper()
	lib, err := j.explain()
	if err != nil {
		t.Fatal(err)
	}
	want := lib.Validate(n.Value()) == nil
	if got := (verdict{}).ok(j.root, n); got != want {
		text, _ := json.Marshal(n.Value())
		t.Errorf("the compiled check says %v, the library %v, of %s", got, want, text)
	}
	return want
}

// TestVerdictsAgree holds the compiled check and the JSON Schema library to one verdict.
func TestVerdictsAgree(t *testing.T) {
	t.Parallel()
	right, wrong := 0, 0
	for i, j := range judges(t) {
		g := grower{rand.New(rand.NewPCG(uint64(i), 2))}
		for range 400 {
			if verdicts(t, j, g.tree(j.root.view(), 0)) {
				right++
			} else {
				wrong++
			}
		}
	}
	if right < 100 || wrong < 100 {
		t.Errorf("%d right and %d wrong trees say little", right, wrong)
	}
}

func FuzzVerdictsAgree(f *testing.F) {
	all := judges(f)
	f.Add(uint64(1), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, which uint8) {
		j := all[int(which)%len(all)]
		verdicts(t, j, grower{rand.New(rand.NewPCG(seed, 3))}.tree(j.root.view(), 0))
	})
}

// TestExplained expects at least one diagnostic, and a place in the file, for everything that the check refuses.
func TestExplained(t *testing.T) {
	t.Parallel()
	for i, j := range judges(t) {
		g := grower{rand.New(rand.NewPCG(uint64(i), 5))}
		for range 200 {
			text, _ := json.Marshal(g.tree(j.root.view(), 0).Value())
			docs, _ := parse(string(text))
			if len(docs) == 0 || docs[0].Root.Kind != syntax.Mapping {
				continue
			}
			c := j.check(docs[0].Root, nil, diag.Range{}, nil, false)
			if !c.ok != c.ds.HasErrors() {
				t.Errorf("ok is %v, diagnostics are %v, for %s", c.ok, c.ds, text)
			}
			for _, d := range c.ds {
				if d.Subject.Start.IsZero() {
					t.Errorf("no place in %v, for %s", d, text)
				}
				if d.Code == "shape/invalid" && !strings.Contains(string(text), `"k"`) && i < len(kindJudges()) {
					t.Errorf("not explained: %v, for %s", d, text)
				}
			}
		}
	}
}

func parse(text string) ([]*syntax.Document, diag.List) {
	return syntax.Parse(source.NewSet([]source.File{source.NewFile("a.json", []byte(text))}))
}

func TestUnsupportedKeywordIsAnError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"contains": {}}`, `{"properties": {"a": {"prefixItems": []}}}`, `{"$ref": "other.json"}`, `{"$ref": "#/$defs/none"}`, `{"type": "text"}`, `{"pattern": "("}`, `{"enum": [[]]}`, `7`, `{`} {
		if _, err := newJudge([]byte(text)); err == nil {
			t.Errorf("%s compiles", text)
		}
	}
}

// TestKindSchemasAreClosedAndDescribed holds the schemas of kinds to what editors and docs expect of them.
func TestKindSchemasAreClosedAndDescribed(t *testing.T) {
	t.Parallel()
	for _, name := range append(append([]string{routePolicy, weightedPolicy}, kindNames...), ourKinds...) {
		text, _ := KindSchema(name)
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		described(t, name, doc, true)
	}
}

func described(t *testing.T, at string, doc any, needs bool) {
	t.Helper()
	m, ok := doc.(map[string]any)
	if !ok {
		return
	}
	if needs && m["description"] == nil && m["$ref"] == nil {
		t.Errorf("%s has no description", at)
	}
	props, _ := m["properties"].(map[string]any)
	if _, said := m["additionalProperties"]; props != nil && !said {
		t.Errorf("%s is not closed", at)
	}
	for name, p := range props {
		described(t, at+"."+name, p, true)
	}
	defs, _ := m["$defs"].(map[string]any)
	for name, p := range defs {
		described(t, at+"#"+name, p, true)
	}
	described(t, at+"[]", m["items"], false)
	described(t, at+".*", m["additionalProperties"], false)
}

func TestCheckSchema(t *testing.T) {
	t.Parallel()
	with := func(mistakes string) string {
		return `{"type": "object", "properties": {"a": {"type": "string"}, "l": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}, "x-mistakes": ` +
			mistakes + `}}, "o": {"type": "object", "properties": {"p": {"type": "array", "items": {"type": "object", "properties": {"c": {}}}}}}}}`
	}
	for _, c := range []struct{ mistakes, want string }{
		{`{"x": "b", "y": "../../a", "z": {"to": "../../o/p/0/c", "hint": "h"}, "w": {"hint": "h"}, "v": "../../../../order"}`, ""},
		{`{"b": "../../a"}`, `"b" is a field of the schema`},
		{`{"x": "c"}`, `"x" leads to c, which the schema does not have`},
		{`{"x": "../a"}`, `"x" leads to ../a, which the schema does not have`},
		{`{"x": "../.."}`, `"x" leads to ../.., which the schema does not have`},
		{`{"x": {"into": "b"}}`, `the mistake "x" has the part "into"`},
		{`{"x": ""}`, `the mistake "x" says neither where the field belongs nor a hint`},
		{`["x"]`, `is not an object`},
	} {
		got := ""
		if err := CheckSchema([]byte(with(c.mistakes))); err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.mistakes, got, c.want)
		}
	}
	for _, name := range append([]string{routePolicy, weightedPolicy}, Kinds()...) {
		text, _ := KindSchema(name)
		if err := CheckSchema(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
