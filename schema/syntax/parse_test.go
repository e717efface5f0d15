package syntax_test

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

func set(namesAndTexts ...string) source.Set {
	var files []source.File
	for i := 0; i < len(namesAndTexts); i += 2 {
		files = append(files, source.NewFile(namesAndTexts[i], []byte(namesAndTexts[i+1])))
	}
	return source.NewSet(files)
}

// one is the only document of a file, which must be without diagnostics.
func one(t *testing.T, name, text string) *syntax.Node {
	t.Helper()
	docs, ds := syntax.Parse(set(name, text))
	if len(docs) != 1 || ds != nil {
		t.Fatalf("%d documents, %v", len(docs), ds)
	}
	return docs[0].Root
}

func codes(ds diag.List) []string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%s %s", d.Subject, d.Code))
	}
	return out
}

func TestUnits(t *testing.T) {
	t.Parallel()
	units, ds := syntax.Units(set("b/x.cue", "package p\na: 1", "a.yaml", "a: 1", "b/y.cue", "package p\nb: 1", "b/z.cue", "package q", "b/alone.cue", "c: 1",
		"b/broken.cue", "package {", "README.md", "x", "c.JSON", "{}", "c/x.cue", "package p", "cue.mod/module.cue", `module: "x.y/z"`, "d_tool.cue", "package p", "e.yml", ""))
	if ds != nil {
		t.Error(ds)
	}
	var got []string
	for _, u := range units {
		var names []string
		for _, f := range u.Files {
			names = append(names, f.Name)
		}
		got = append(got, u.Name+" = "+strings.Join(names, " "))
	}
	want := []string{"a.yaml = a.yaml", "b/alone.cue = b/alone.cue", "b/broken.cue = b/broken.cue", "b:p = b/x.cue b/y.cue", "b:q = b/z.cue",
		"c.JSON = c.JSON", "c:p = c/x.cue", "e.yml = e.yml"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestUnitHash(t *testing.T) {
	t.Parallel()
	hash := func(unit string, s source.Set) string {
		units, _ := syntax.Units(s)
		for _, u := range units {
			if u.Name == unit {
				return u.Name + " " + u.Hash.String()
			}
		}
		t.Fatalf("no unit %q", unit)
		return ""
	}
	module := []string{"cue.mod/module.cue", `module: "x.y/z@v0"`, "a/a.cue", "package a\nimport \"x.y/z/b\"\nv: b.v", "b/b.cue", "package b\nimport \"x.y/z/c\"\nv: c.v", "c/c.cue", "package c\nv: 1"}
	changed := append([]string(nil), module...)
	changed[7] = "package c\nv: 2"
	for _, c := range []struct {
		what string
		a, b string
		same bool
	}{
		{"the same file", hash("a.yaml", set("a.yaml", "x")), hash("a.yaml", set("a.yaml", "x", "b.yaml", "y")), true},
		{"another content", hash("a.yaml", set("a.yaml", "x")), hash("a.yaml", set("a.yaml", "y")), false},
		{"another name", hash("a.yaml", set("a.yaml", "x")), hash("b.yaml", set("b.yaml", "x")), false},
		{"an import of an import", hash("a:a", set(module...)), hash("a:a", set(changed...)), false},
		{"an unrelated package", hash("c:c", set(module...)), hash("c:c", set(append(module, "d/d.cue", "package d")...)), true},
	} {
		if (c.a == c.b) != c.same {
			t.Errorf("%s: same hash is %v", c.what, c.a == c.b)
		}
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	unreadable := source.File{Name: "gone.yaml", Bytes: func() ([]byte, error) {
		return nil, &fs.PathError{Op: "open", Path: "/secret/place/gone.yaml", Err: fs.ErrPermission}
	}}
	odd := source.File{Name: "odd.json", Bytes: func() ([]byte, error) { return nil, errors.New("a bad day") }}
	big := source.NewFile("big.cue", make([]byte, source.MaxFileSize+1))
	files := append(set("le.yaml", "\xff\xfea\x00", "be.yaml", "\xfe\xff\x00a", "latin.yaml", "ok: 1\nü: \xfc", "good.yaml", "a: 1").Files, unreadable, odd, big)
	docs, ds := syntax.Parse(source.NewSet(files))
	if len(docs) != 1 || docs[0].Unit.Name != "good.yaml" {
		t.Errorf("documents: %v", docs)
	}
	want := []string{"be.yaml:1:1 source/not-text", "big.cue source/too-large", "gone.yaml source/unreadable", "latin.yaml:2:4 source/not-text",
		"le.yaml:1:1 source/not-text", "odd.json source/unreadable"}
	if diff := cmp.Diff(want, codes(ds)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, d := range ds {
		if strings.Contains(d.Summary, "/secret/") {
			t.Errorf("the path of the machine is told: %s", d)
		}
	}
}

func TestLineEndsAndByteOrderMark(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, key, value string }{
		{"LF", "ä: 1\nb: ü x\n", "2:1-2:2 6-7", "2:4-2:7 9-13"},
		{"CRLF", "ä: 1\r\nb: ü x\r\n", "2:1-2:2 7-8", "2:4-2:7 10-14"},
		{"BOM", "\uFEFFb: ü x\n", "1:1-1:2 3-4", "1:4-1:7 6-10"},
		{"BOM and CRLF", "\uFEFFa: 1\r\nb: ü x\r\n", "2:1-2:2 9-10", "2:4-2:7 12-16"},
		{"BOM in a later document", "---\n\uFEFF---\nb: ü x", "3:1-3:2 11-12", "3:4-3:7 14-18"},
		{"lone CR is a break to YAML only", "a: 1\rb: ü x\n", "1:6-1:7 5-6", "1:9-1:12 8-12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := one(t, "a.yaml", c.text).Field("b")
			if f == nil {
				t.Fatal("no b")
			}
			show := func(r diag.Range) string {
				return fmt.Sprintf("%d:%d-%d:%d %d-%d", r.Start.Line, r.Start.Column, r.End.Line, r.End.Column, r.Start.Offset, r.End.Offset)
			}
			if got := show(f.Range); got != c.key {
				t.Errorf("key at %s, want %s", got, c.key)
			}
			if got := show(f.Value.Range); got != c.value {
				t.Errorf("value at %s, want %s", got, c.value)
			}
		})
	}
}

func TestCUEWithByteOrderMark(t *testing.T) {
	t.Parallel()
	n := one(t, "a.cue", "\uFEFFapiVersion: \"ü\"\r\nkind: \"k\"\r\n")
	if got := n.Get("apiVersion").Range.String(); got != "a.cue:1:13" {
		t.Errorf("at %s", got)
	}
	if got := n.Locate("kind").String(); got != "a.cue:2:7" {
		t.Errorf("at %s", got)
	}
}

func TestAliasBomb(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 20; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	b.WriteString("---\nafter: 1\n")
	docs, ds := syntax.Parse(set("a.yaml", b.String()))
	if len(docs) != 1 || docs[0].Root.Get("after") == nil {
		t.Errorf("%d documents", len(docs))
	}
	if diff := cmp.Diff([]string{"a.yaml:6:45 yaml/alias-bomb"}, codes(ds)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// A broken document in the midst of many must not move the others: they are parsed in another way then.
func TestManyDocumentsOneBroken(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	const n, bad = 5000, 2500
	for i := range n {
		if i == bad {
			b.WriteString("---\nname: 'open\n")
			continue
		}
		fmt.Fprintf(&b, "---\nname: ü%d # %s\n", i, strings.Repeat("x", i%50))
	}
	docs, ds := syntax.Parse(set("a.yaml", b.String()))
	if diff := cmp.Diff([]string{fmt.Sprintf("a.yaml:%d:7 yaml/syntax", 2*bad+2)}, codes(ds)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(docs) != n-1 {
		t.Fatalf("%d documents", len(docs))
	}
	for i, d := range docs {
		at := i
		if i >= bad {
			at++
		}
		v := d.Root.Get("name")
		if d.Index != i || v.Text != fmt.Sprintf("ü%d", at) || int(v.Range.Start.Line) != 2*at+2 || v.Range.Start.Column != 7 {
			t.Fatalf("document %d: index %d, %q at %s", i, d.Index, v.Text, v.Range)
		}
	}
}

func TestEqualInputEqualOutput(t *testing.T) {
	t.Parallel()
	s := set("a.yaml", "a: 1\na: 2\n---\nb: c: d\n", "b.cue", "x: 1\nx: 2\ny: 1 & 2\nz: \"a\" & 1", "c.json", "{\"a\": 1, \"a\": }")
	_, first := syntax.Parse(s)
	for range 5 {
		if _, again := syntax.Parse(s); cmp.Diff(first, again) != "" {
			t.Fatalf("-first +again\n%s", cmp.Diff(first, again))
		}
	}
}

// TestBatches: the documents of a large file come in order, in several batches, and one that is broken hides no other.
func TestBatches(t *testing.T) {
	t.Parallel()
	const n, broken = 400, 300
	pad := strings.Repeat("x", 16<<10)
	var b strings.Builder
	for i := range n {
		if i == broken {
			b.WriteString("---\na: [\n")
			continue
		}
		fmt.Fprintf(&b, "---\nnumber: %d\npad: %s\n", i, pad)
	}
	units, ds := syntax.Units(set("a.yaml", b.String()))
	if len(units) != 1 || ds != nil {
		t.Fatal(units, ds)
	}
	var got []string
	batches, index := 0, 0
	ds = units[0].Batches(func(docs []*syntax.Document) {
		batches++
		for _, d := range docs {
			if d.Index != index {
				t.Errorf("document %d has the index %d", index, d.Index)
			}
			index++
			got = append(got, d.Root.Get("number").Text)
		}
	})
	var want []string
	for i := range n {
		if i != broken {
			want = append(want, strconv.Itoa(i))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got:\n", diff)
	}
	if len(ds) != 1 || ds[0].Code != "yaml/syntax" || ds[0].Subject.Start.Line < 3*broken {
		t.Errorf("one broken document gives %v", ds)
	}
	if runtime.GOMAXPROCS(0) <= 8 && batches < 2 {
		t.Error("all documents came at once")
	}
}
