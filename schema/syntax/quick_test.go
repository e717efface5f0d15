package syntax

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flexgw/flexgw/schema/source"
)

// bothWays reads a file quickly and with the library, and reports whether the quick way read all of it.
func bothWays(t *testing.T, src []byte) (all bool) {
	t.Helper()
	x := newIndex("f.yaml", src)
	if bad, _ := notText(src); bad >= 0 || !x.print {
		return false
	}
	all = true
	for _, p := range splitYAML(x) {
		q := quicks.New().(*quick)
		got, ok := q.read(x, string(src), 0, p)
		if !ok {
			all = false
			continue
		}
		want, ds := parseSlowly(x, x.lines, []part{p})
		if len(ds) > 0 {
			t.Fatalf("read quickly, but\n%v\n%s", ds, src[p.from:p.to])
		}
		if len(got) != len(want) {
			t.Fatalf("%d documents, the library reads %d\n%s", len(got), len(want), src[p.from:p.to])
		}
		for i := range want {
			if diff := differ(want[i], got[i], "/"); diff != "" {
				t.Fatalf("%s\n%s", diff, src[p.from:p.to])
			}
		}
	}
	return all
}

// differ says where two trees differ first. (cmp.Diff takes minutes for trees that nest.)
func differ(want, got *Node, at string) string {
	a, b := *want, *got
	a.Fields, a.Items, b.Fields, b.Items = nil, nil, nil, nil
	if !reflect.DeepEqual(a, b) || len(want.Fields) != len(got.Fields) || len(want.Items) != len(got.Items) {
		return fmt.Sprintf("%s: got %+v with %d fields and %d items, want %+v with %d and %d", at, b, len(got.Fields), len(got.Items), a, len(want.Fields), len(want.Items))
	}
	for i, f := range want.Fields {
		g := got.Fields[i]
		if f.Name != g.Name || f.Range != g.Range {
			return fmt.Sprintf("%s: got the key %q %v, want %q %v", at, g.Name, g.Range, f.Name, f.Range)
		}
		if diff := differ(f.Value, g.Value, at+f.Name+"/"); diff != "" {
			return diff
		}
	}
	for i := range want.Items {
		if diff := differ(want.Items[i], got.Items[i], fmt.Sprint(at, i, "/")); diff != "" {
			return diff
		}
	}
	return ""
}

// TestQuickIsTheLibrary reads every YAML file of the repository both ways: the trees are the same, every range included.
func TestQuickIsTheLibrary(t *testing.T) {
	t.Parallel()
	read, quick := 0, 0
	one := func(src []byte) {
		read++
		if bothWays(t, src) {
			quick++
		}
	}
	for _, glob := range []string{"testdata/*.txtar", "../testdata/*.txtar", "../../render/testdata/*.txtar", "../../render/policy/*/testdata/*.txtar", "../../cli/testdata/script/*.txtar"} {
		cases, err := filepath.Glob(glob)
		if err != nil || len(cases) == 0 {
			t.Fatal(glob, err)
		}
		for _, name := range cases {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range a.Files {
				if strings.HasSuffix(f.Name, ".yaml") || strings.HasSuffix(f.Name, ".yml") {
					one(f.Data)
				}
			}
		}
	}
	one(apiStream(20))
	t.Logf("%d of %d files were read quickly", quick, read)
	if quick < read/2 {
		t.Errorf("only %d of %d files were read quickly", quick, read)
	}
}

// TestQuickReads names what must not fall back to the library: the forms that declarations are written in.
func TestQuickReads(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"a: b", "a: b\n", "a:\n", "a:\nb: 1 # x\n", "a:\n  b: c\nd:\n- e\n- f: g\n  h: i\n", "- a\n- - b\n  - c\n-\n  d: e\n", "a: [b, \"c\", {d: e}, [], {}]\n", "a: {b: c, d: [1, -2]}\n",
		"# c\n\n---\na: 'b' # c\n--- # c\n---\nb: \"c\"\n", "\"a\": b\n'c': d\n", "a: http://b:80/c#d\ne: x y  z\n", "  a: b\n  c: d\n", "a: ~\nb: null\nc: true\nd: 0x1f\ne: -1.5e3\nf: -\"\n",
		"path: /items(/.*)?\nmethods: GET|POST\nx: $VAR\ny: #[x]\n", "a:\n  # b\n  c: d\n# e\n  f: g\n",
	} {
		if !bothWays(t, []byte(src)) {
			t.Errorf("left to the library:\n%s", src)
		}
	}
}

// TestQuickLeaves names what the library must judge, for it says what is wrong, or means something else than it seems to.
func TestQuickLeaves(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"a: b: c", "a: b\n  c", "a: b\n c: d", " a: b\nc: d", "a: b\na: c", "a: \"b\\n\"", "a: 'b''c'", "a: \"b", "a: |\n  b", "&a b: c", "a: *b", "a: !x b", "? a\n: b", "%YAML 1.2\n---\na: b", "a: b\n...\n",
		"a: [b", "a: [b\n  , c]", "a: [b: c]", "a: {b}", "- a\nb: c", "a: - b", "a: @b", "<<: {a: b}", "-\n- a", "a", "[a]", "--- a", "a: 'b'c", "a: [b] c", "a:\n  b\n", "a b: c", "a: {b: c}: d", "a: b\t", "\ta: b", "a: b\r\n", "ä: b",
		"a:\n  - b\n  c: d", "a:\n - b\n  - c", "- a: 1\n b: 2",
	} {
		if bothWays(t, []byte(src)) {
			t.Errorf("read without the library:\n%s", src)
		}
	}
}

// FuzzQuick holds quick to the library: what it reads, it reads as the library does.
func FuzzQuick(f *testing.F) {
	for _, glob := range []string{"testdata/*.txtar", "../testdata/*.txtar"} {
		cases, err := filepath.Glob(glob)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range cases {
			a, err := txtar.ParseFile(name)
			if err != nil {
				f.Fatal(err)
			}
			for _, file := range a.Files {
				f.Add(file.Data)
			}
		}
	}
	f.Add([]byte(apiDocument(1)))
	f.Fuzz(func(t *testing.T, src []byte) { bothWays(t, src) })
}

// TestQuickGrown puts lines of many forms together at random: most texts are wrong, and the two must agree on all that
// quick does not leave.
func TestQuickGrown(t *testing.T) {
	t.Parallel()
	lines := []string{"a: b", "b: 1", "c:", "d: \"x y\"", "'e': 'z'", "- f", "-", "- a: b", "- - g", "- [h, 1]", "f: [a, b]", "g: {a: b, c: [d]}", "# c", "h: i # c", "", "---", "a", "i: j: k", "\"k\" : l", "l: 'm'n", "m: -1", "n: - o",
		"- 'p'", "- \"q\": r", "-  s: t", "u: http://v:1/#w", "x: []", "y: {}", "z: [a,b,]", "o: {\"a\": b}", "p: {a, b}", "q: ~", "r: |", "- # c", "s: a  b #", "t: [ a b , c ]", "v: {a: }", "w: ?x", "- -1", "- --", "...", "--- # d", "- {a: b}: c", "aa: a\\b", "bb: \"\\\"", "cc: <<", "<<: a", "1: 2", "dd: =", "=: e", "ee: [a # b", "ff: [a#b]", "gg: [-, a]", "hh: [- a]", "ii: {- a: b}", "jj: [\"a\"b]", "kk: [a]b", "ll: a, b", "mm: ]", "nn: [a*b|c]", "null: x", "~: x", "oo: 'it''s'", "pp: it's", "- a:", "- a: {b: c}", "- a: [b]", "qq: \"a: b\"", "rr: a:b", "ss: a #b", "tt:  ", "uu: b   # c", "$v: /w"}
	r := rand.New(rand.NewPCG(1, 2))
	rounds := 60_000
	if testing.Short() {
		rounds = 6_000
	}
	quick := 0
	for range rounds {
		var b strings.Builder
		indent := 0
		for range 1 + r.IntN(7) {
			switch r.IntN(6) {
			case 0:
				indent += 1 + r.IntN(3)
			case 1:
				indent = max(0, indent-1-r.IntN(3))
			}
			b.WriteString(strings.Repeat(" ", indent))
			b.WriteString(lines[r.IntN(len(lines))])
			if r.IntN(20) > 0 {
				b.WriteByte('\n')
			}
		}
		if bothWays(t, []byte(b.String())) {
			quick++
		}
	}
	if quick < rounds/20 {
		t.Errorf("only %d of %d texts were read quickly", quick, rounds)
	}
}

// TestLend shows what may be relied on: trees of a file that are kept stay as they are, whatever is read after it.
func TestLend(t *testing.T) {
	t.Parallel()
	lend := func(text string, kept bool) (root *Node) {
		u := newUnit("f.yaml", []source.File{source.NewFile("f.yaml", []byte(text))}, nil)
		u.Lend(func(docs []*Document) bool { root = docs[0].Root; return kept })
		return root
	}
	for range 100 {
		a := lend("a: {b: [c, d]}\n", true)
		lend("x: {y: [z, w]}\n", false)
		lend("x: {y: [z, w]}\n", false)
		if got := a.Get("a").Get("b").Items[1].Text; got != "d" {
			t.Fatalf("a tree that was kept holds %q", got)
		}
	}
}
