package syntax_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// TestGolden parses the files of each case and compares the trees (every value with its range, and the text that the
// range covers) and the diagnostics as they are printed. UPDATE=1 rewrites the answers.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			files := map[string][]byte{}
			var in []txtar.File
			for _, f := range a.Files {
				if strings.HasPrefix(f.Name, "want/") {
					want[f.Name] = string(f.Data)
					continue
				}
				files[f.Name], in = f.Data, append(in, f)
			}
			got := map[string]string{}
			trees, diagnostics := parse(t, files)
			if trees != "" {
				got["want/trees"] = trees
			}
			if diagnostics != "" {
				got["want/diagnostics"] = diagnostics
			}
			if os.Getenv("UPDATE") == "1" {
				a.Files = in
				for _, n := range []string{"want/trees", "want/diagnostics"} {
					if got[n] != "" {
						a.Files = append(a.Files, txtar.File{Name: n, Data: []byte(got[n])})
					}
				}
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if strings.HasPrefix(filepath.Base(name), "ok-") != (diagnostics == "") {
				t.Errorf("the name says otherwise; diagnostics:\n%s", diagnostics)
			}
		})
	}
}

func parse(t *testing.T, files map[string][]byte) (trees, diagnostics string) {
	t.Helper()
	var all []source.File
	for name, b := range files {
		all = append(all, source.NewFile(name, b))
	}
	docs, ds := syntax.Parse(source.NewSet(all))
	var b bytes.Buffer
	for _, d := range docs {
		fmt.Fprintf(&b, "%s #%d", d.Unit.Name, d.Index)
		dump(&b, files, d.Root, "  ")
	}
	trees = b.String()
	b.Reset()
	checkAll(t, files, docs, ds)
	p := diag.Printer{Notes: true, Sources: func(f string) ([]byte, error) { return files[f], nil }}
	if err := p.Print(&b, ds); err != nil {
		t.Fatal(err)
	}
	return trees, b.String()
}

// dump writes a tree, one value a line: what it is, where it is, and the source text of its range.
func dump(b *bytes.Buffer, files map[string][]byte, n *syntax.Node, indent string) {
	switch n.Kind {
	case syntax.Scalar:
		value := fmt.Sprintf("%T %q", n.Scalar, n.Text)
		if n.Scalar == nil {
			value = fmt.Sprintf("null %q", n.Text)
		}
		if n.Quoted {
			value += " quoted"
		}
		fmt.Fprintf(b, " %s  %s\n", value, shown(files, n.Range))
	case syntax.Mapping:
		fmt.Fprintf(b, " mapping  %s\n", shown(files, n.Range))
		for _, f := range n.Fields {
			fmt.Fprintf(b, "%s%s  %s:", indent, f.Name, shown(files, f.Range))
			dump(b, files, f.Value, indent+"  ")
		}
	case syntax.Sequence:
		fmt.Fprintf(b, " sequence  %s\n", shown(files, n.Range))
		for _, item := range n.Items {
			fmt.Fprintf(b, "%s-", indent)
			dump(b, files, item, indent+"  ")
		}
	}
}

func shown(files map[string][]byte, r diag.Range) string {
	text := string(files[r.File][r.Start.Offset:r.End.Offset])
	if runes := []rune(text); len(runes) > 40 {
		text = string(runes[:18]) + "…" + string(runes[len(runes)-18:])
	}
	return fmt.Sprintf("%d:%d-%d:%d %q", r.Start.Line, r.Start.Column, r.End.Line, r.End.Column, text)
}

// checkAll fails unless every range is a stretch of its file and names are unique.
func checkAll(t *testing.T, files map[string][]byte, docs []*syntax.Document, ds diag.List) {
	t.Helper()
	seen := map[*syntax.Node]bool{}
	for _, d := range docs {
		check(t, files, d.Root, seen)
	}
	for _, d := range ds {
		checkRange(t, files, d.Subject)
		for _, r := range d.Related {
			checkRange(t, files, r.Subject)
		}
	}
}

func check(t *testing.T, files map[string][]byte, n *syntax.Node, seen map[*syntax.Node]bool) {
	t.Helper()
	if seen[n] {
		return // an alias
	}
	seen[n] = true
	checkRange(t, files, n.Range)
	if n.Range.Start.IsZero() {
		t.Fatalf("a value has no place: %+v", n)
	}
	for i, f := range n.Fields {
		checkRange(t, files, f.Range)
		if f.Range.Start.IsZero() {
			t.Fatalf("key %q has no place", f.Name)
		}
		if n.Field(f.Name) != &n.Fields[i] {
			t.Fatalf("key %q twice", f.Name)
		}
		check(t, files, f.Value, seen)
	}
	for _, item := range n.Items {
		check(t, files, item, seen)
	}
}

func checkRange(t *testing.T, files map[string][]byte, r diag.Range) {
	t.Helper()
	src, ok := files[r.File]
	if !ok {
		t.Fatalf("range names %q, which is no file", r.File)
	}
	if r.Start.IsZero() {
		return
	}
	if r.Start.Offset < 0 || r.Start.Offset > r.End.Offset || int(r.End.Offset) > len(src) {
		t.Fatalf("range %+v is outside the %d bytes of its file", r, len(src))
	}
	for _, p := range []diag.Pos{r.Start, r.End} {
		if line, column := place(src, int(p.Offset)); line != int(p.Line) || column != int(p.Column) {
			t.Fatalf("offset %d is line %d column %d, not %d:%d", p.Offset, line, column, p.Line, p.Column)
		}
	}
}

// place counts, the slow and obvious way.
func place(src []byte, offset int) (line, column int) {
	head := string(src[:offset])
	line = strings.Count(head, "\n") + 1
	head = head[strings.LastIndexByte(head, '\n')+1:]
	if line == 1 {
		head = strings.TrimPrefix(head, "\uFEFF")
	}
	return line, len([]rune(head)) + 1
}
