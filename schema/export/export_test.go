package export_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/export"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

func newSet(t testing.TB) *export.Set {
	t.Helper()
	s, err := export.New(all.Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shapeCodes are the diagnostics beside shape/… that say what the exported schema says too: that kind and version are not known.
var shapeCodes = []string{"decode/unknown-version", "decode/unknown-kind", "decode/missing-kind", "decode/missing-version"}

// beyond are the parts of summaries of shape diagnostics that no schema makes: decoding does, for a field that is needed beside
// others, in words that say which.
var beyond = []string{`"targetRef" lacks the field "name"`, "lacks one of the fields"}

// TestVerdicts runs every document of every case, and each with a field too much, through the exported schema and through package schema. What package schema's
// shape stage refuses, the exported schema refuses, and nothing else; but what package schema brings into
// normal form with a warning (a key of another case, a number in quotes, a field without a value), or refuses for another reason at
// the same time, an editor may mark as well.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	combined := testkit.JSONSchema(t, newSet(t).Declaration(""))
	var taken, refused, mended int
	seen := map[string]bool{}
	for _, c := range testkit.ReadAll(t, "../testdata/*.txtar", "../../render/policy/*/testdata/*.txtar", "../../render/testdata/*.txtar", "../../cli/testdata/badinput/*.txtar") {
		docs, _ := syntax.Parse(c.Set())
		for _, doc := range docs {
			for i, value := range testkit.Variants(doc.Root.Value()) {
				text, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				outline := testkit.Outline(value, "apiVersion", "kind", "policyRef")
				if i > 0 && (testing.Short() || seen[outline]) {
					continue // of the same names, one variant says it for all
				}
				seen[outline] = true
				err = combined.Validate(value)
				wrong, odd := said(source.NewFile("a.json", text))
				switch {
				case err != nil && wrong == "" && odd == "":
					t.Errorf("%s: %s, variant %d is right, but the exported schema says %v", c.Name, doc.Range, i, err)
				case err == nil && wrong != "":
					t.Errorf("%s: %s, variant %d: the exported schema takes what is wrong: %s", c.Name, doc.Range, i, wrong)
				case err == nil:
					taken++
				case wrong != "":
					refused++
				default:
					mended++
				}
			}
		}
	}
	if taken < 200 || refused < 80 || !testing.Short() && refused < 1000 || mended > refused/2 {
		t.Errorf("%d documents taken, %d refused, %d that are mended say little", taken, refused, mended)
	}
}

// said is what package schema says of one declaration: an error of the shape stage, and what else would make an editor mark it.
func said(f source.File) (wrong, odd string) {
	_, ds := schema.Load(source.NewSet([]source.File{f}), schema.Options{Policies: all.Catalog{}})
	for _, d := range ds {
		shape := strings.HasPrefix(string(d.Code), "shape/") && !slices.ContainsFunc(beyond, func(b string) bool { return strings.Contains(d.Summary, b) })
		switch {
		case d.Severity == diag.Error && (shape || slices.Contains(shapeCodes, string(d.Code))):
			wrong = d.String()
		case shape || d.Severity == diag.Error && d.Code != "source/no-declarations" && !strings.HasPrefix(string(d.Code), "link/unknown-"):
			odd = d.String()
		}
	}
	return wrong, odd
}

// TestFiles holds every exported file to draft 7 and to its own definitions alone, and keeps every description for hovers.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	files := s.Files("https://schemas.example.org/flex")
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		if f.Name == "catalog.json" {
			continue
		}
		testkit.JSONSchema(t, f.Data)
		var head struct {
			Schema string `json:"$schema"`
			ID     string `json:"$id"`
			Text   string `json:"description"`
		}
		if err := json.Unmarshal(f.Data, &head); err != nil {
			t.Fatal(err)
		}
		if head.Schema != "http://json-schema.org/draft-07/schema#" || head.ID != "https://schemas.example.org/flex/"+f.Name || head.Text == "" {
			t.Errorf("%s: the head is %+v", f.Name, head)
		}
		for _, keyword := range []string{`"$defs"`, `"dependentRequired"`, `"x-`} {
			if bytes.Contains(f.Data, []byte(keyword)) {
				t.Errorf("%s has the keyword %s", f.Name, keyword)
			}
		}
	}
	for _, name := range schema.Kinds() {
		if !slices.Contains(names, "kinds/"+name+".schema.json") {
			t.Errorf("no file of kind %s", name)
		}
	}
	for _, name := range append(all.Catalog{}.Names(), schema.RoutePolicies()...) {
		if !slices.Contains(names, "policies/"+name+".schema.json") {
			t.Errorf("no file of policy %s", name)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %v", names)
	}
	again := newSet(t).Files("https://schemas.example.org/flex")
	for i := range files {
		if !bytes.Equal(files[i].Data, again[i].Data) {
			t.Errorf("%s: other bytes the second time", files[i].Name)
		}
	}
}

// TestList: a JSON file may hold a list of declarations.
func TestList(t *testing.T) {
	t.Parallel()
	combined := testkit.JSONSchema(t, newSet(t).Declaration(""))
	for text, want := range map[string]bool{
		`[{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"address": "http://a"}}, {"kind": "other"}]`: true,
		`[{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"adress": "http://a"}}]`:                     false,
		`[]`: true, `null`: true, `"text"`: true,
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := combined.Validate(v); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDescriptionsAreKept: whatever a source says, some exported file says.
func TestDescriptionsAreKept(t *testing.T) {
	t.Parallel()
	combined := string(newSet(t).Declaration(""))
	count := 0
	check := func(name string, text []byte) {
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		for _, d := range descriptions(doc) {
			quoted, _ := json.Marshal(d)
			plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(quoted))
			if count++; !strings.Contains(combined, plain) {
				t.Errorf("%s: lost %q", name, d)
			}
		}
	}
	for _, name := range append(schema.Kinds(), schema.RoutePolicies()...) {
		text, _ := schema.KindSchema(name)
		check(name, text)
	}
	for _, p := range (all.Catalog{}).All() {
		check(p.Name(), p.ConfigSchema())
	}
	if count < 300 {
		t.Errorf("%d descriptions only", count)
	}
}

func descriptions(v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if text, ok := x.(string); ok && k == "description" {
				out = append(out, text)
				continue
			}
			out = append(out, descriptions(x)...)
		}
	case []any:
		for _, x := range v {
			out = append(out, descriptions(x)...)
		}
	}
	return out
}

// TestVariables: a $VARIABLE may stand for any scalar of a config, and for nothing else.
func TestVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema, value string
		want          bool
	}{
		{`{"type": "integer", "minimum": 3}`, `"$N"`, true},
		{`{"type": "integer", "minimum": 3}`, `"N"`, false},
		{`{"type": "integer", "minimum": 3}`, `2`, false},
		{`{"type": "boolean"}`, `"$N"`, true},
		{`{"type": "string", "enum": ["a"]}`, `"$N"`, true},
		{`{"type": "string", "enum": ["a"]}`, `"b"`, false},
		{`{"type": "string", "pattern": "^a", "description": "d"}`, `"$N"`, true},
		{`{"type": "string", "pattern": "^a"}`, `"$N-"`, false},
		{`{"type": "string", "minLength": 8}`, `"$N"`, true},
		{`{"type": "array", "items": {"type": "integer"}}`, `"$N"`, false},
		{`{"type": "array", "items": {"type": "integer"}}`, `["$N"]`, true},
		{`{"oneOf": [{"type": "string"}, {"type": "integer"}]}`, `"$N"`, true},
		{`{"oneOf": [{"type": "string", "pattern": "^a"}, {"type": "integer"}]}`, `"$N"`, true},
		{`{"oneOf": [{"type": "string", "pattern": "^a"}, {"type": "integer"}]}`, `"b"`, false},
		{`{"type": ["boolean", "null"]}`, `"$N"`, true},
		{`{"not": {"const": "x"}}`, `"x"`, false},
		{`{"const": 3}`, `"$N"`, true},
		{`{"$ref": "#/$defs/d", "$defs": {"d": {"type": "integer"}}}`, `"$N"`, true},
	} {
		text := fmt.Sprintf(`{"type": "object", "properties": {"v": %s}, "description": "d"}`, c.schema)
		if strings.Contains(c.schema, "$defs") {
			text = strings.Replace(text, `, "$defs": {"d": {"type": "integer"}}`, "", 1)
			text = text[:len(text)-1] + `, "$defs": {"d": {"type": "integer"}}}`
		}
		s, err := export.New(one{text})
		if err != nil {
			t.Fatal(err)
		}
		out, _ := s.Schema("p", "")
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"v": ` + c.value + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := testkit.JSONSchema(t, out).Validate(v); (err == nil) != c.want {
			t.Errorf("%s of %s: %v", c.value, c.schema, err)
		}
	}
}

// one is a catalogue of one policy "p".
type one struct{ schema string }

func (o one) Lookup(name string) (schema.PolicyType, bool) {
	if name != "p" {
		return nil, false
	}
	return policyOf{schema: o.schema}, true
}
func (one) Names() []string { return []string{"p"} }

type policyOf struct {
	schema.PolicyType
	schema string
}

func (p policyOf) ConfigSchema() []byte { return []byte(p.schema) }
