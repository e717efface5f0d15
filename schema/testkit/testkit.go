// Package testkit reads txtar cases and updates their answers: question and answers stand in one file.
//
// It knows nothing of what a case is about; tests import it, nothing else does.
package testkit

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flexgw/flexgw/schema/source"
)

var update = flag.Bool("update", false, "rewrite the answers of txtar cases and remove those that no case claims")

// Updating reports whether answers are to be rewritten: the flag -update, or UPDATE=1 for packages without flags.
func Updating() bool { return *update || os.Getenv("UPDATE") == "1" }

// File is one file of a case.
type File struct {
	Name string
	Data []byte
}

// Case is one txtar file. Files below want/ are its answers, all others the question.
type Case struct {
	Name    string // the file's name without extension
	Comment string // what stands before the first file; its first line says why the case exists
	Files   []File // the question, in the order of the file

	path    string
	archive *txtar.Archive
	mu      sync.Mutex
	got     map[string][]byte
}

// Run runs f for every case that pattern (a glob) matches, in parallel, and reports answers that f did not claim.
// Updating rewrites the claimed answers and removes the others. No match is a failure.
func Run(t *testing.T, pattern string, f func(t *testing.T, c *Case)) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no case matches %s", pattern)
	}
	for _, p := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(p), filepath.Ext(p)), func(t *testing.T) {
			t.Parallel()
			c := Read(t, p)
			f(t, c)
			c.Close(t)
		})
	}
}

// Read reads one case. A case must say in its first line why it exists.
func Read(t testing.TB, path string) *Case {
	t.Helper()
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &Case{Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), Comment: string(a.Comment),
		path: path, archive: a, got: map[string][]byte{}}
	if first, _, _ := strings.Cut(c.Comment, "\n"); strings.TrimSpace(first) == "" {
		t.Errorf("%s: the first line does not say why the case exists", path)
	}
	for _, f := range a.Files {
		if !isAnswer(f.Name) {
			c.Files = append(c.Files, File{f.Name, f.Data})
		}
	}
	return c
}

// ReadAll reads every case that one of the patterns (globs) matches. A pattern without a match is a failure.
func ReadAll(t testing.TB, patterns ...string) []*Case {
	t.Helper()
	var out []*Case
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no case matches %s (%v)", pattern, err)
		}
		for _, p := range paths {
			out = append(out, Read(t, p))
		}
	}
	return out
}

// Set is the files of a case as one reading of declarations, answers left out.
func (c *Case) Set() source.Set {
	var files []source.File
	for _, f := range c.Files {
		files = append(files, source.NewFile(f.Name, f.Data))
	}
	return source.NewSet(files)
}

// JSONSchema compiles one schema that refers to no other.
func JSONSchema(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Variants are a value of JSON, and the value with a field too much in each of its mappings.
func Variants(v any) []any {
	out := []any{v}
	switch v := v.(type) {
	case map[string]any:
		more := maps.Clone(v)
		more["tooMuch"] = "x"
		out = append(out, more)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			for _, x := range Variants(v[k])[1:] {
				more := maps.Clone(v)
				more[k] = x
				out = append(out, more)
			}
		}
	case []any:
		for i := range v {
			for _, x := range Variants(v[i])[1:] {
				more := slices.Clone(v)
				more[i] = x
				out = append(out, more)
			}
		}
	}
	return out
}

// Outline is what a value of JSON is made of: names and types, and the texts below the names of keep.
func Outline(v any, keep ...string) string {
	var b strings.Builder
	outline(&b, v, false, keep)
	return b.String()
}

func outline(b *strings.Builder, v any, kept bool, keep []string) {
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b.WriteString(strconv.Quote(k))
			outline(b, v[k], kept || slices.Contains(keep, k), keep)
		}
		b.WriteByte('}')
	case []any:
		parts := map[string]bool{} // how often does not matter
		for _, x := range v {
			parts[Outline(x, keep...)] = true
		}
		fmt.Fprint(b, slices.Sorted(maps.Keys(parts)))
	default:
		if kept {
			fmt.Fprintf(b, "%v", v)
		}
		fmt.Fprintf(b, "(%T)", v)
	}
}

// Has reports whether the case has this answer (its full name, such as want/ir.yaml). While updating, ask it to leave
// out answers that the case does not show.
func (c *Case) Has(name string) bool {
	return slices.ContainsFunc(c.archive.Files, func(f txtar.File) bool { return f.Name == name })
}

// Flag reports whether a line "name: value" of the comment sets name, and its value.
func (c *Case) Flag(name string) (string, bool) {
	for line := range strings.Lines(c.Comment) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// Want compares got with the answer of that name. An absent answer stands for an empty one, and an empty got removes it.
func (c *Case) Want(t *testing.T, name string, got []byte) {
	t.Helper()
	if !isAnswer(name) {
		t.Fatalf("%s is not below want/", name)
	}
	if n := len(got); n > 0 && got[n-1] != '\n' {
		got = append(slices.Clip(got), '\n')
	}
	c.mu.Lock()
	c.got[name] = got
	c.mu.Unlock()
	if Updating() {
		return
	}
	if want := c.answer(name); !bytes.Equal(want, got) {
		t.Errorf("%s: %s (-want +got):\n%s", c.path, name, cmp.Diff(string(want), string(got)))
	}
}

// Close reports the answers that nobody claimed, or rewrites the file while updating. Run calls it.
func (c *Case) Close(t *testing.T) {
	t.Helper()
	if !Updating() {
		for _, f := range c.archive.Files {
			if _, ok := c.got[f.Name]; isAnswer(f.Name) && !ok {
				t.Errorf("%s: nothing claims the answer %s; update to remove it", c.path, f.Name)
			}
		}
		return
	}
	if t.Failed() {
		return
	}
	out := &txtar.Archive{Comment: c.archive.Comment}
	for _, f := range c.archive.Files {
		if !isAnswer(f.Name) {
			out.Files = append(out.Files, f)
		}
	}
	for _, name := range c.order() {
		if len(c.got[name]) > 0 {
			out.Files = append(out.Files, txtar.File{Name: name, Data: c.got[name]})
		}
	}
	b := txtar.Format(out)
	if bytes.Equal(b, txtar.Format(c.archive)) {
		return
	}
	if err := os.WriteFile(c.path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// order keeps answers where they stood and puts new ones behind them, sorted.
func (c *Case) order() []string {
	var names []string
	for _, f := range c.archive.Files {
		if _, ok := c.got[f.Name]; ok {
			names = append(names, f.Name)
		}
	}
	old := len(names)
	for name := range c.got {
		if !slices.Contains(names[:old], name) {
			names = append(names, name)
		}
	}
	slices.Sort(names[old:])
	return names
}

func (c *Case) answer(name string) []byte {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func isAnswer(name string) bool { return strings.HasPrefix(name, "want/") }

// Hostile is text that ends, opens or breaks something in one format or another: XML, JSON, YAML, TAP, Markdown, URIs, workflow
// commands, terminals.
func Hostile() []string {
	return []string{
		"plain", "]]>", "<![CDATA[x]]>", "<!-- --", "a & b < c > \"d\" 'e'", "\x00\x01\x1b[31m\x7f\u0085", "\xff\xfe\xc3(", "two\nlines", "cr\rlf\r\n", "::error::x", "%0A%25", "a,b=c:d", "# TODO x",
		`back\slash\`, "\u2028\u2029\ufeff\ufffe\uffff", "'single' ''", `"double"`, "--- x", "...", "- item: x", "{a: b}", "*anchor &x !tag", "[link](1)", "[a](b) \\[", "{0}", "ok 1 - x", "not ok 1", "1..5",
		"Bail out!", "\t tab", " ", "&#xA;", "😀 größe", "${x}", "`x`", "::", "</failure>", "../../up", "?query#fragment", "//host/x", "##vso[task.setvariable variable=x]y", "##[error]x",
		"@everyone", "#1", "|", "<h1>", "lone\rreturn",
	}
}
