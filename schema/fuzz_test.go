package schema_test

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// FuzzLoad never panics; a model comes without errors and no model with at least one; every diagnostic has a code, one
// line, and a place inside its file; a second load with the same memo says the same.
func FuzzLoad(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			if filepath.Ext(file.Name) == ".yaml" && filepath.Dir(file.Name) == "." {
				f.Add(file.Data)
			}
		}
	}
	policies := newCatalog()
	f.Fuzz(func(t *testing.T, text []byte) {
		set := source.NewSet([]source.File{source.NewFile("a.yaml", text), source.NewFile("b.yaml", []byte(generatedAPI(1, 1)))})
		o := schema.Options{Policies: policies, Memo: &schema.Memo{}}
		g, ds := schema.Load(set, o)
		if (g == nil) != ds.HasErrors() {
			t.Errorf("model: %v, diagnostics: %v", g != nil, ds)
		}
		for _, d := range ds {
			sound(t, d, len(text))
		}
		again, ds2 := schema.Load(set, o)
		if lines(ds) != lines(ds2) || dump(g) != dump(again) {
			t.Errorf("the second load differs:\n%s\n%s", lines(ds), lines(ds2))
		}
	})
}

func sound(t *testing.T, d diag.Diagnostic, size int) {
	t.Helper()
	if d.Code == "" || d.Summary == "" {
		t.Errorf("no code or summary: %#v", d)
	}
	for _, r := range d.Summary + d.Hint {
		if r == '\n' {
			t.Errorf("more than one line: %v", d)
			break
		}
	}
	if s := d.Subject; s.File == "a.yaml" && (s.Start.Offset < 0 || s.Start.Offset > s.End.Offset || s.End.Offset > int32(size)) {
		t.Errorf("outside the file of %d bytes: %#v", size, s)
	}
}
