package cue_test

import (
	"encoding/json"
	"testing"

	cuelang "cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
	cuejson "cuelang.org/go/encoding/json"

	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/cue"
	"github.com/flexgw/flexgw/schema/export"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// load evaluates the package.
func load(t *testing.T) cuelang.Value {
	t.Helper()
	files, err := cue.Files()
	if err != nil {
		t.Fatal(err)
	}
	inst := build.NewContext().NewInstance("flex", nil)
	for _, f := range files {
		var file *ast.File
		if file, err = parser.ParseFile(f.Name, f.Data); err != nil {
			t.Fatal(err)
		}
		if err := inst.AddSyntax(file); err != nil {
			t.Fatal(err)
		}
	}
	if err := inst.Complete(); err != nil {
		t.Fatal(err)
	}
	v := cuecontext.New().BuildInstance(inst)
	if err := v.Validate(); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVerdicts holds CUE and JSON Schema to one verdict on every document of every case, and on each with a field too much in one of
// its mappings: decision 3 of the design. Documents that are
// no mappings are left out: the schema lets them through, in CUE they are no #Declaration.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	s, err := export.New(all.Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	schema := testkit.JSONSchema(t, s.Declaration(""))
	declaration := load(t).LookupPath(cuelang.MakePath(cuelang.Def("Declaration")))
	var taken, refused int
	seen := map[string]bool{}
	for _, c := range testkit.ReadAll(t, "../testdata/*.txtar", "../../render/policy/*/testdata/*.txtar", "../../render/testdata/*.txtar", "../../cli/testdata/badinput/*.txtar") {
		docs, _ := syntax.Parse(c.Set())
		for _, doc := range docs {
			if doc.Root.Kind != syntax.Mapping {
				continue
			}
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
				expr, err := cuejson.Extract(doc.Range.File, text)
				if err != nil {
					t.Fatal(err)
				}
				got := declaration.Unify(declaration.Context().BuildExpr(expr)).Validate(cuelang.Concrete(true))
				if want := schema.Validate(value); (got == nil) != (want == nil) {
					t.Errorf("%s: %s, variant %d: CUE says %v, JSON Schema says %v of %s", c.Name, doc.Range, i, got, want, text)
				} else if want == nil {
					taken++
				} else {
					refused++
				}
			}
		}
	}
	if taken < 200 || refused < 80 || !testing.Short() && refused < 1000 {
		t.Errorf("%d documents taken and %d refused say little", taken, refused)
	}
}
