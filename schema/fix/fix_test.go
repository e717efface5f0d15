package fix_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/fix"
	"github.com/flexgw/flexgw/schema/source"
)

// word is a rule: each text old of a file is to be new, as one fix or as one for each half.
type word struct {
	old, new string
	halves   bool
}

// rules makes a check of rules, in their order.
func rules(words ...word) func(source.Set) diag.List {
	return func(set source.Set) diag.List {
		var ds diag.List
		for _, f := range set.Files {
			b, _ := f.Bytes()
			for _, w := range words {
				for at := 0; ; {
					i := bytes.Index(b[at:], []byte(w.old))
					if i < 0 {
						break
					}
					at += i + len(w.old)
					to := func(from, to int, text string) diag.Fix {
						return diag.Fix{Range: diag.Range{File: f.Name, Start: diag.Pos{Line: 1, Offset: int32(from)}, End: diag.Pos{Line: 1, Offset: int32(to)}}, Text: text}
					}
					d := diag.Diagnostic{Severity: diag.Warning, Code: "a/b", Fixes: []diag.Fix{to(at-len(w.old), at, w.new)}}
					if w.halves {
						half, text := len(w.old)/2, len(w.new)/2
						d.Fixes = []diag.Fix{to(at-len(w.old), at-half, w.new[:text]), to(at-half+1, at, w.new[text:])}
					}
					ds = append(ds, d)
				}
			}
		}
		return ds
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, text string
		rules            []word
		want             string
		fixes            int
		refused          bool
		left             int
	}{
		{name: "in one round", file: "a.yaml", text: "a: x1\nb: x1\n", rules: []word{{"x1", "y", false}}, want: "a: y\nb: y\n", fixes: 2},
		{name: "side by side waits for the next round", file: "a.yaml", text: "a: x1x1x1\n", rules: []word{{"x1", "y", false}}, want: "a: yyy\n", fixes: 3},
		{name: "one that overlaps waits, and is found gone", file: "a.yaml", text: "a: x1z\n", rules: []word{{"x1", "y", false}, {"1z", "w", false}}, want: "a: yz\n", fixes: 1},
		{name: "a fix may uncover another", file: "a.yaml", text: "a: x1\n", rules: []word{{"x1", "y2", false}, {"y2", "z3", false}}, want: "a: z3\n", fixes: 2},
		{name: "all of it or nothing", file: "a.yaml", text: "a: 12345678\n", rules: []word{{"234", "x", false}, {"12345678", "abcd", true}}, want: "a: 1x5678\n", fixes: 1},
		{name: "what would break the file is refused", file: "a.yaml", text: "a: x1\nb: 1\n", rules: []word{{"x1", "[", false}}, want: "a: x1\nb: 1\n", refused: true, left: 1},
		{name: "one that would break it does not stop the one before", file: "a.json", text: `{"a": "x1", "b": "y2"}`, rules: []word{{"x1", "z", false}, {"y2", `"`, false}}, want: `{"a": "z", "b": "y2"}`, fixes: 1, refused: true, left: 1},
		{name: "a broken file may be mended", file: "a.json", text: `{"a": 1,}`, rules: []word{{",}", "}", false}}, want: `{"a": 1}`, fixes: 1},
		{name: "a broken file may stay as broken", file: "a.json", text: `{"a": x1`, rules: []word{{"x1", "2", false}}, want: `{"a": 2`, fixes: 1},
		{name: "for ever is fifty rounds", file: "a.yaml", text: "a: x1\n", rules: []word{{"x1", "ax1", false}}, want: "a: " + strings.Repeat("a", 50) + "x1\n", fixes: 50, left: 1},
		{name: "byte order mark and CR LF", file: "a.yaml", text: "\uFEFFa: x1\r\nb: 1\r\n", rules: []word{{"x1", "y", false}}, want: "\uFEFFa: y\r\nb: 1\r\n", fixes: 1},
		{name: "an evaluation that fails is worse", file: "a.cue", text: "a: x1 & 1\nx1: 1\n", rules: []word{{"x1: 1", "x1: 2", false}}, want: "a: x1 & 1\nx1: 1\n", refused: true, left: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := fix.Apply(source.NewSet([]source.File{source.NewFile(c.file, []byte(c.text)), source.NewFile("b.yaml", []byte("b: 1\n"))}), rules(c.rules...))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Set.Bytes(c.file)
			if err != nil {
				t.Fatal(err)
			}
			fixes := 0
			if len(r.Changed) > 0 {
				fixes = r.Changed[0].Fixes
				if len(r.Changed) != 1 || r.Changed[0].Name != c.file || string(r.Changed[0].Before) != c.text || string(r.Changed[0].After) != c.want {
					t.Errorf("changed: %+v", r.Changed)
				}
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" || fixes != c.fixes || slices.ContainsFunc(r.Refused, func(x fix.Refused) bool { return x.Name == c.file && x.Code != "" }) != c.refused || len(r.Left) != c.left {
				t.Errorf("%d fixes, want %d; refused %v; left %v\n-want +got\n%s", fixes, c.fixes, r.Refused, r.Left, diff)
			}
		})
	}
}

// TestApplyAcrossFiles holds that the fixes of one diagnostic are made in both files of a CUE package or in none.
func TestApplyAcrossFiles(t *testing.T) {
	t.Parallel()
	check := func(set source.Set) diag.List {
		at := func(file, old, text string) diag.Fix {
			b, _ := set.Bytes(file)
			i := bytes.Index(b, []byte(old))
			return diag.Fix{Range: diag.Range{File: file, Start: diag.Pos{Line: 1, Offset: int32(i)}, End: diag.Pos{Line: 1, Offset: int32(i + len(old))}}, Text: text}
		}
		if b, _ := set.Bytes("p/a.cue"); !bytes.Contains(b, []byte("old")) {
			return nil
		}
		return diag.List{{Code: "a/b", Fixes: []diag.Fix{at("p/a.cue", "old", "new"), at("p/b.cue", "old", "new")}}}
	}
	for _, c := range []struct{ b, want string }{{"package p\nx: old\n", "package p\nx: new\n"}, {"package p\nx: old\nnew: 2\n", "package p\nx: old\nnew: 2\n"}} {
		r, err := fix.Apply(source.NewSet([]source.File{source.NewFile("p/a.cue", []byte("package p\nold: 1\ny: 1 // "+"\n")), source.NewFile("p/b.cue", []byte(c.b))}), check)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := r.Set.Bytes("p/b.cue"); string(got) != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestApplyBringsNoError: a file without an error never has one afterwards, whatever a fix says; others are fixed all the same.
func TestApplyBringsNoError(t *testing.T) {
	t.Parallel()
	warn := rules(word{"x1", "y", false})
	check := func(set source.Set) diag.List {
		ds := warn(set)
		if b, _ := set.Bytes("a.yaml"); bytes.Contains(b, []byte("y")) {
			ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "a/c", Subject: diag.Range{File: "a.yaml"}})
		}
		return ds
	}
	r, err := fix.Apply(source.NewSet([]source.File{source.NewFile("a.yaml", []byte("a: x1\n")), source.NewFile("b.yaml", []byte("b: x1\n"))}), check)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := r.Set.Bytes("a.yaml")
	b, _ := r.Set.Bytes("b.yaml")
	if string(a) != "a: x1\n" || string(b) != "b: y\n" || r.Left.HasErrors() || len(r.Changed) != 1 || r.Changed[0].Name != "b.yaml" || len(r.Refused) != 1 || r.Refused[0].Name != "a.yaml" {
		t.Errorf("a %q, b %q, %+v", a, b, r)
	}
}

// TestCount counts the diagnostics that Apply would mend, and not those of which it would make something worse, or nothing.
func TestCount(t *testing.T) {
	t.Parallel()
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte("a: x x\n")), source.NewFile("b.yaml", []byte("b: x\n"))})
	for name, c := range map[string]struct {
		rules []word
		more  diag.List
		want  int
	}{
		"all":         {rules: []word{{"x", "y", false}}, want: 3},
		"worse":       {rules: []word{{"b: x", "b: [", false}}, want: 0},
		"nothing":     {more: diag.List{{Code: "a/b", Edits: []diag.Edit{{Op: diag.Remove}}}}, want: 0},
		"elsewhere":   {more: diag.List{{Code: "a/b", Fixes: []diag.Fix{{Range: diag.Range{File: "c.yaml"}}}}}, want: 0},
		"one of each": {rules: []word{{"a: x", "a: z", false}, {"b: x", "b: [", false}}, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := append(rules(c.rules...)(set), c.more...)
			if got, err := fix.Count(set, list); got != c.want || err != nil {
				t.Errorf("%d problems would be mended, want %d (%v)", got, c.want, err)
			}
		})
	}
}
