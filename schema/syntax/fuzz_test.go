package syntax_test

import (
	"path"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// seeds adds the files of the golden cases that have one of the extensions.
func seeds(f *testing.F, extensions ...string) {
	f.Helper()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range cases {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			for _, e := range extensions {
				if path.Ext(file.Name) == e {
					f.Add(file.Data)
				}
			}
		}
	}
}

// fuzzOne parses one file: no panic, all ranges inside it and true, lookups total.
func fuzzOne(t *testing.T, name string, b []byte) {
	t.Helper()
	files := map[string][]byte{name: b}
	docs, ds := syntax.Parse(source.NewSet([]source.File{source.NewFile(name, b)}))
	checkAll(t, files, docs, ds)
	for _, d := range docs {
		for _, p := range [][]string{nil, {"a"}, {"0"}, {"a", "b", "c"}, {"-1"}, {"99999999999999999999"}, {""}} {
			d.Root.At(p...)
			checkRange(t, files, d.Root.Locate(p...))
			checkRange(t, files, d.Root.KeyRange(p...))
		}
		d.Root.Value()
		var v struct {
			A syntax.Text    `flex:"a"`
			B map[string]int `flex:"b"`
			C []bool         `flex:"c"`
		}
		for _, x := range d.Root.Decode(&v) {
			checkRange(t, files, x.Subject)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	seeds(f, ".yaml", ".yml", ".json")
	for _, s := range []string{"\uFEFFa: ü\r\nb: |\r\n  x\r\n", "a\rb: c\u0085d: e\u2028f: g\n---\nh: [\u2029i]", "---\n\uFEFF---\nä: ö\n", "\xff\xfea\x00", "a: \xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzOne(t, "f.yaml", b) })
}

func FuzzParseJSON(f *testing.F) {
	seeds(f, ".json")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzOne(t, "f.json", b) })
}

func FuzzParseCUE(f *testing.F) {
	seeds(f, ".cue")
	f.Add([]byte("#Api:A:#Api")) // a structural cycle, which the evaluator places nowhere
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2000 {
			t.Skip("evaluation may take exponential time")
		}
		fuzzOne(t, "f.cue", b)
	})
}

// archive are the files of a golden case.
func archive(f *testing.F, name string) []txtar.File {
	f.Helper()
	a, err := txtar.ParseFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return a.Files
}
