// Package mutation changes every field of the declarations that we have, one at a time, and looks at what is made of it: either
// somebody is told, at the place, or something else comes out. A change that is neither named nor has an effect is one that a user
// would look for in vain.
//
// It knows no rule and no policy: what it changes are texts, what it compares are diagnostics, models and resources.
package mutation

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// gateway is a set of declarations without an error.
type gateway struct {
	name  string
	files map[string]string
	env   map[string]string
}

// gateways are all examples and all cases that are accepted.
func gateways(t *testing.T) []gateway {
	t.Helper()
	var out []gateway
	dirs, err := filepath.Glob("../../examples/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		g := gateway{name: "examples/" + filepath.Base(dir), files: map[string]string{}}
		names, _ := filepath.Glob(dir + "/*")
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil && declares(name) {
				g.files[filepath.Base(name)] = string(b)
			}
		}
		if len(g.files) > 0 {
			out = append(out, g)
		}
	}
	var cases []string
	for _, pattern := range []string{"../../schema/testdata/ok-*.txtar", "../../render/policy/*/testdata/ok-*.txtar"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, names...)
	}
	for _, name := range cases {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		short := strings.TrimPrefix(name, "../../")
		g := gateway{name: short, files: map[string]string{}, env: map[string]string{}}
		for _, line := range strings.Split(string(a.Comment), "\n") {
			if pairs, ok := strings.CutPrefix(line, "env: "); ok {
				g.setenv(strings.Fields(pairs))
			}
		}
		for _, f := range a.Files {
			switch {
			case strings.HasPrefix(f.Name, "want/") || strings.HasPrefix(f.Name, "got/"):
			case f.Name == "env":
				g.setenv(strings.Split(string(f.Data), "\n"))
			case declares(f.Name):
				g.files[f.Name] = string(f.Data)
			}
		}
		out = append(out, g)
	}
	return out
}

func declares(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json", ".cue"}, filepath.Ext(name))
}

func (g *gateway) setenv(pairs []string) {
	for _, p := range pairs {
		if k, v, ok := strings.Cut(p, "="); ok {
			g.env[k] = v
		}
	}
}

func (g gateway) set(changed, text string) source.Set {
	var files []source.File
	for name, t := range g.files {
		if name == changed {
			t = text
		}
		files = append(files, source.NewFile(name, []byte(t)))
	}
	return source.NewSet(files)
}

// outcome is what comes of declarations.
type outcome struct {
	ds     diag.List
	result string // the model and its resources, without places; "" when there is an error
}

// judge asks the command itself what it says, and where it says no error, what the model and the resources are.
func (g gateway) judge(t *testing.T, d door, changed, text string, memo *schema.Memo) outcome {
	t.Helper()
	o := outcome{ds: d.ask(t, changed, text)}
	if o.ds.HasErrors() {
		return o
	}
	m, ds := schema.Load(g.set(changed, text), schema.Options{Policies: all.Catalog{}, AllowUnenforced: true, Memo: memo, Getenv: g.getenv})
	if m == nil {
		t.Fatalf("%s: the command says no error, and there is no model: %v", g.name, ds)
	}
	if r, _ := render.Render(m, all.Catalog{}, render.Options{Files: "/files", Salvage: true}, nil); r != nil {
		o.result = digest(m, r)
	}
	return o
}

func (g gateway) getenv(name string) (string, bool) { v, ok := g.env[name]; return v, ok }

// digest is the same for equal models and resources, wherever they were declared.
func digest(m *ir.Gateway, r *render.Resources) string {
	h := newHasher()
	h.value(m)
	for _, k := range r.Changed(nil) {
		x, _ := r.Get(k)
		fmt.Fprintf(h, "%s %s %x\n", k.TypeURL, k.Name, x.Hash)
	}
	for _, f := range r.Files() {
		fmt.Fprintf(h, "%s %v\n", f.Path, f.Secret)
	}
	return h.sum()
}

// mutant is a text with one change.
type mutant struct {
	what      string // "typo", "delete"
	file      string
	path      []string // where, from the root of its document
	field     string   // the same for equal places of equal kinds of documents
	root      string   // the kind
	doc       int      // which of the file's documents
	text      string
	from, end int    // what was changed, in the new text
	was       string // the text that was there, of a longer or shorter one
}

// TestEveryField is the test of issue 6: whatever is changed is named at its place or shows in what comes out. With -short it tries
// each kind of change once, in every fourth field of a schema.
func TestEveryField(t *testing.T) {
	t.Parallel()
	each, share := math.MaxInt, uint32(1) // of one kind of change at one place of a schema; of the places
	if testing.Short() {
		each, share = 1, 4
	}
	seen := map[string]int{}
	want := func(what, field string) bool {
		seen[what+" "+field]++
		return seen[what+" "+field] <= each && crc32.ChecksumIEEE([]byte(field))%share == 0
	}
	var hints hints
	tried := everyField(t, gateways(t), want, func(g gateway, m mutant, ds diag.List) {
		if m.what == "typo" {
			hints.judge(g, m, ds)
		}
		hints.value(g, m, ds)
	})
	t.Logf("%d misspelt fields: %d hints name the right one, %d are mended to the letter", hints.unknown, hints.named, hints.mended)
	t.Logf("%d misspelt values: %d hints name the right one", hints.values, hints.meant)
	if least := map[bool]int{false: 95, true: 90}[testing.Short()]; hints.meant*100 < hints.values*least { // of few, one counts for more
		t.Errorf("expected %d hints of 100 to name the value; the others:\n%s", least, strings.Join(hints.unmeant, "\n"))
	}
	if hints.named*100 < hints.unknown*97 || hints.mended*100 < hints.unknown*90 {
		t.Errorf("expected 97 hints of 100 to name the field, and 90 to mend it; the others:\n%s", strings.Join(hints.others, "\n"))
	}
	if tried < 500 {
		t.Errorf("only %d changes were tried", tried)
	}
}

// everyField tries the changes of the declarations that are wanted, and has a look at what is said of each.
func everyField(t *testing.T, gateways []gateway, want func(what, field string) bool, look func(gateway, mutant, diag.List)) (tried int) {
	t.Helper()
	var findings []finding
	matters := map[place]bool{} // where another value was seen to matter
	named, shown, inert := 0, 0, 0
	for _, g := range gateways {
		memo, d := &schema.Memo{}, g.door(t)
		before := g.judge(t, d, "", "", memo)
		if before.ds.HasErrors() || before.result == "" {
			continue // judged with other policies, or partial
		}
		mutants := g.mutants
		if strings.HasSuffix(g.name, " in CUE") {
			mutants = g.mutantsInCUE
		}
		for _, m := range mutants(t, want) {
			tried++
			after := g.judge(t, d, m.file, m.text, memo)
			look(g, m, after.ds)
			switch {
			case m.what == "swap" && !fresh(before.ds, after.ds).HasErrors():
				inert++
			case m.named(before.ds, after.ds):
				named++
				matters[m.placeIn(g)] = matters[m.placeIn(g)] || m.isValue()
			case after.result != "" && after.result != before.result:
				shown++
				matters[m.placeIn(g)] = matters[m.placeIn(g)] || m.isValue()
			case m.without(before):
				inert++
			default:
				findings = append(findings, finding{m, m.placeIn(g), fmt.Sprintf("%s: %s: %s of /%s changes nothing and is not named there%s", g.name, m.file, m.what, strings.Join(m.path, "/"), m.said(before.ds, after.ds))})
			}
		}
	}
	findings = slices.DeleteFunc(findings, func(f finding) bool {
		equal := (f.what == "delete" || f.what == "empty text") && matters[f.place] // what was there says what its absence does
		if equal || harmless(f.mutant) != "" {
			inert++
			return true
		}
		return false
	})
	t.Logf("%d changes: %d named, %d show, %d have no effect by their nature, which is said or known", tried, named, shown, inert)
	sort.Slice(findings, func(i, j int) bool { return findings[i].text < findings[j].text })
	for _, f := range findings {
		t.Error(f.text)
	}
	return tried
}

// hints counts what is said of misspelt fields.
type hints struct {
	unknown, named, mended int
	others                 []string
	values, meant          int
	unmeant                []string
}

// value looks at the diagnostic of a misspelt value of those that are known: words of a schema, names of what is declared.
func (h *hints) value(g gateway, m mutant, ds diag.List) {
	known := []diag.Code{"shape/not-allowed-value", "link/unknown-policy", "link/unknown-service", "link/unknown-api", "link/unknown-log-output", "decode/unknown-kind"}
	i := slices.IndexFunc(ds, func(d diag.Diagnostic) bool {
		return slices.Contains(known, d.Code) && d.Subject.File == m.file && int(d.Subject.Start.Offset) <= m.end && int(d.Subject.End.Offset) >= m.from
	})
	if m.was == "" || i < 0 || m.isIdentity() {
		return
	}
	h.values++
	if strings.Contains(ds[i].Hint, strconv.Quote(m.was)) {
		h.meant++
		return
	}
	h.unmeant = append(h.unmeant, fmt.Sprintf("%s: /%s: %v hint: %s", g.name, strings.Join(m.path, "/"), ds[i], ds[i].Hint))
}

// judge looks at the diagnostic of a misspelt field: whether its hint has the right name, and its fix the old text.
func (h *hints) judge(g gateway, m mutant, ds diag.List) {
	right := m.path[len(m.path)-1]
	i := slices.IndexFunc(ds, func(d diag.Diagnostic) bool {
		return d.Code == "shape/unknown-field" && d.Subject.File == m.file && int(d.Subject.Start.Offset) <= m.end && int(d.Subject.End.Offset) >= m.from
	})
	if i < 0 {
		return
	}
	h.unknown++
	if strings.Contains(ds[i].Hint, strconv.Quote(right)) {
		h.named++
	}
	mended := m.text
	for _, f := range slices.Backward(ds[i].Fixes) {
		mended = mended[:f.Range.Start.Offset] + f.Text + mended[f.Range.End.Offset:]
	}
	if mended == g.files[m.file] {
		h.mended++
		return
	}
	h.others = append(h.others, fmt.Sprintf("%s: /%s: %v hint: %s", g.name, strings.Join(m.path, "/"), ds[i], ds[i].Hint))
}

// finding is a change that nobody hears of.
type finding struct {
	mutant
	place place
	text  string
}

// place is one field of one document.
type place struct {
	gateway, file string
	doc           int
	path          string
}

func (m mutant) placeIn(g gateway) place {
	return place{g.name, m.file, m.doc, strings.Join(m.path, "/")}
}

// isValue reports whether the field stayed and its value is another of its type, or of another type.
func (m mutant) isValue() bool {
	return !slices.Contains([]string{"typo", "delete", "duplicate", "empty text"}, m.what)
}

// harmless says why a change may have no effect; "": it may not.
func harmless(m mutant) string {
	path := "/" + strings.Join(m.path, "/")
	switch {
	case m.root == "Extension" && strings.HasPrefix(path, "/spec/properties/"):
		return "what an Extension describes shows in what it accepts, and its bindings hold other values"
	case filepath.Ext(m.file) == ".cue" && m.what != "typo" && (path == "/apiVersion" || path == "/kind"):
		return "what has not both of them is no object in CUE, but a value of the package's own"
	case strings.HasPrefix(path, "/metadata/labels/"):
		return "nothing selects this label"
	case m.root == "Configuration" && path == "/metadata/name":
		return "nothing refers to a Configuration"
	case m.what == "shorter text" && strings.HasSuffix(path, "/address") && strings.HasSuffix(m.was, "/"):
		return "an address with a slash at its end is the same without it"
	case m.root == "Extension" && strings.HasPrefix(path, "/spec/extends/") && strings.HasSuffix(path, "/namespace"):
		return "what a custom policy extends may be outside the files, in any namespace; its bindings are then taken as they are"
	case strings.HasSuffix(path, "/sharedStorage/local/enabled"):
		return "without Redis, state is kept in memory, whatever this says"
	}
	return ""
}

// mutants are the changes of each field; want says whether one more of a kind is wanted, of a field of a kind of documents.
func (g gateway) mutants(t *testing.T, want func(what, field string) bool) []mutant {
	t.Helper()
	units, _ := syntax.Units(g.set("", ""))
	var out []mutant
	for _, u := range units {
		if filepath.Ext(u.Name) == ".cue" || strings.Contains(u.Name, ":") {
			continue // TestEveryFieldInCUE: an edit of CUE that is computed is not one of its text
		}
		docs, _ := u.Parse()
		e := syntax.NewEditor(u)
		for _, d := range docs {
			if v := d.Root.Get("apiVersion"); v == nil || !strings.HasPrefix(v.Text, "gateway.mulesoft.com/v1") {
				continue
			}
			w := &walker{gateway: g, editor: e, want: want, kind: kindOf(d.Root), doc: d.Index, random: rand.New(rand.NewPCG(6, uint64(len(out))))}
			w.mapping(d.Root, nil)
			out = append(out, w.out...)
		}
	}
	return out
}

// kindOf tells apart documents whose fields are not the same.
func kindOf(root *syntax.Node) string {
	kind := ""
	if n := root.Get("kind"); n != nil {
		kind = n.Text
	}
	if n := root.Get("spec").Get("policyRef").Get("name"); n != nil {
		kind += " " + n.Text
	}
	return kind
}

type walker struct {
	gateway
	editor *syntax.Editor
	want   func(what, field string) bool
	kind   string
	doc    int
	random *rand.Rand
	out    []mutant
}

// add tries a change. It is left out when enough of its kind were made, or when the text cannot be changed so.
func (w *walker) add(what string, path []string, at diag.Range, edits ...diag.Edit) {
	kind := w.kind
	var shape []string
	for _, p := range path {
		if _, err := strconv.Atoi(p); err == nil {
			p = "*"
		}
		shape = append(shape, p)
	}
	if len(shape) > 2 && shape[0] == "spec" && shape[1] == "services" {
		shape[2] = "*"
	}
	field := kind + " " + strings.Join(shape, "/")
	if !w.want(what, field) {
		return
	}
	root, _, _ := strings.Cut(kind, " ")
	m := mutant{what: what, file: at.File, path: slices.Clone(path), field: field, root: root, doc: w.doc, from: int(at.Start.Offset)}
	var fixes []diag.Fix
	if what == "duplicate" || what == "swap" {
		fixes = []diag.Fix{{Range: edits[0].At, Text: edits[0].Name}}
	} else if fixes = w.editor.Fixes(edits); fixes == nil {
		return
	}
	text := w.files[at.File]
	var b strings.Builder
	last := 0
	for i, f := range fixes {
		b.WriteString(text[last:f.Range.Start.Offset])
		if i == 0 {
			m.from = b.Len()
		}
		b.WriteString(f.Text)
		m.end = b.Len()
		last = int(f.Range.End.Offset)
	}
	m.text = b.String() + text[last:]
	w.out = append(w.out, m)
}

func (w *walker) mapping(n *syntax.Node, path []string) {
	for i := range n.Fields {
		f := &n.Fields[i]
		here := append(slices.Clip(path), f.Name)
		if f.Name == "policyRef" || f.Name == "config" { // configurations of different policies are different places
			if name := n.Get("policyRef").Get("name"); name != nil {
				here[len(here)-1] = f.Name
				kind := w.kind
				w.kind += " " + name.Text
				w.field(n, i, here)
				w.kind = kind
				continue
			}
		}
		w.field(n, i, here)
	}
}

func (w *walker) field(n *syntax.Node, i int, here []string) {
	f := &n.Fields[i]
	w.add("typo", here, f.Range, diag.Edit{Op: diag.Rename, At: f.Range, Name: typo(f.Name, w.random)})
	w.add("delete", here, f.Range, diag.Edit{Op: diag.Remove, At: f.Range})
	w.duplicate(n, i, here)
	w.swap(n, i, here)
	w.value(f.Value, here)
}

// typo is name as people write it in a hurry, or out of a habit.
func typo(name string, r *rand.Rand) string {
	b := []byte(name)
	if len(b) < 4 {
		return name + "x"
	}
	i := 1 + r.IntN(len(b)-2)
	switch r.IntN(7) {
	case 0: // two letters swapped
		if b[i] != b[i+1] {
			b[i], b[i+1] = b[i+1], b[i]
			return string(b)
		}
	case 1: // one missing
		return name[:i] + name[i+1:]
	case 2: // one too many
		return name[:i] + "q" + name[i:]
	case 3: // another one
		return name[:i] + "q" + name[i+1:]
	case 4: // one twice
		return name[:i] + name[i:i+1] + name[i:]
	case 5: // the plural, or the singular
		if one, ok := strings.CutSuffix(name, "s"); ok {
			return one
		}
		return name + "s"
	default: // as in other formats
		sign := []string{"_", "-"}[r.IntN(2)]
		var words strings.Builder
		for i, c := range name {
			if i > 0 && c >= 'A' && c <= 'Z' {
				words.WriteString(sign)
			}
			words.WriteString(strings.ToLower(string(c)))
		}
		if words.String() != name {
			return words.String()
		}
	}
	return name + "x"
}

// duplicate writes a field a second time, when it has a line to itself.
func (w *walker) duplicate(n *syntax.Node, i int, here []string) {
	f := &n.Fields[i]
	text := w.files[f.Range.File]
	if f.Value.Kind != syntax.Scalar || strings.ContainsAny(text[f.Range.Start.Offset:f.Value.Range.End.Offset], "\n") || filepath.Ext(f.Range.File) == ".json" {
		return
	}
	line := strings.LastIndexByte(text[:f.Range.Start.Offset], '\n') + 1
	end := int(f.Value.Range.End.Offset)
	if strings.TrimSpace(text[line:f.Range.Start.Offset]) != "" || end < len(text) && text[end] != '\n' {
		return
	}
	at := f.Range
	at.Start.Offset, at.End.Offset = int32(end), int32(end)
	w.add("duplicate", here, f.Range, diag.Edit{At: at, Name: "\n" + text[line:end]})
}

// swap exchanges a field with the next one, when both have a line to themselves.
func (w *walker) swap(n *syntax.Node, i int, here []string) {
	if i+1 == len(n.Fields) {
		return
	}
	f, g := &n.Fields[i], &n.Fields[i+1]
	text := w.files[f.Range.File]
	line := strings.LastIndexByte(text[:f.Range.Start.Offset], '\n') + 1
	next := strings.LastIndexByte(text[:g.Range.Start.Offset], '\n') + 1
	end := int(g.Value.Range.End.Offset)
	if g.Range.File != f.Range.File || g.Range.Start.Offset < f.Range.End.Offset || end < next || next <= line || strings.Count(text[line:next], "\n") != 1 || strings.Contains(text[next:end], "\n") ||
		strings.TrimSpace(text[line:f.Range.Start.Offset]) != "" || end < len(text) && text[end] != '\n' || filepath.Ext(f.Range.File) == ".json" {
		return
	}
	at := f.Range
	at.Start.Offset, at.End.Offset = int32(line), int32(end)
	w.add("swap", here, f.Range, diag.Edit{At: at, Name: text[next:end] + "\n" + strings.TrimSuffix(text[line:next], "\n")})
}

func (w *walker) value(n *syntax.Node, here []string) {
	set := func(what string, v any) { w.add(what, here, n.Range, diag.Edit{Op: diag.Set, At: n.Range, Value: v}) }
	switch n.Kind {
	case syntax.Mapping:
		set("text for a mapping", "zzz")
		w.mapping(n, here)
		return
	case syntax.Sequence:
		set("text for a list", "zzz")
		for i, item := range n.Items {
			w.value(item, append(slices.Clip(here), strconv.Itoa(i)))
		}
		return
	}
	set("mapping for a scalar", map[string]any{"zzz": "zzz"})
	switch v := n.Scalar.(type) {
	case string:
		had := len(w.out)
		set("longer text", v+"q")
		if len(v) > 1 {
			set("shorter text", v[:len(v)-1])
		}
		for i := range w.out[had:] {
			w.out[had+i].was = v
		}
		set("empty text", "")
		set("number for a text", json.Number("4711"))
	case json.Number:
		if i, err := strconv.Atoi(v.String()); err == nil {
			set("one more", json.Number(strconv.Itoa(i+1)))
			set("one less", json.Number(strconv.Itoa(i-1)))
			set("negative", json.Number(strconv.Itoa(-i-1)))
		}
		set("text for a number", "zzz")
	case bool:
		set("the opposite", !v)
		set("text for a boolean", "zzz")
	}
}

// fresh are the diagnostics of after that before does not have.
func fresh(before, after diag.List) diag.List {
	had := map[string]int{}
	key := func(d diag.Diagnostic) string { return d.Subject.File + " " + string(d.Code) + " " + d.Summary }
	for _, d := range before {
		had[key(d)]++
	}
	var out diag.List
	for _, d := range after {
		if k := key(d); had[k] > 0 {
			had[k]--
			continue
		}
		out = append(out, d)
	}
	return out
}

// named reports whether a diagnostic that was not there before stands at what was changed, or in the object that holds it: what
// is missing is told at the object that lacks it, and two fields that do not go together at one of them. What an object is called
// shows at those that refer to it.
func (m mutant) named(before, after diag.List) bool {
	holder := "/" + strings.Join(m.path[:len(m.path)-1], "/")
	if len(m.path) == 1 {
		holder = ""
	}
	var docs []*syntax.Document
	for _, d := range fresh(before, after) {
		places := []diag.Range{d.Subject}
		for _, r := range d.Related {
			places = append(places, r.Subject)
		}
		for _, r := range places {
			if r.File == m.file && int(r.Start.Offset) <= m.end && int(r.End.Offset) >= m.from {
				return true
			}
		}
		if m.isIdentity() && (strings.HasPrefix(string(d.Code), "link/") || strings.HasPrefix(string(d.Code), "lint/")) {
			return true
		}
		if docs == nil {
			units, _ := syntax.Units(source.NewSet([]source.File{source.NewFile(m.file, []byte(m.text))}))
			docs, _ = units[0].Parse()
		}
		if path, ok := pathOf(docs, m.doc, d.Subject); ok && strings.HasPrefix(path+"/", holder+"/") && d.Subject.File == m.file {
			return true
		}
	}
	return false
}

func (m mutant) isIdentity() bool {
	path := strings.Join(m.path, "/")
	return path == "metadata/name" || path == "metadata/namespace" || path == "metadata" || len(m.path) == 3 && m.path[1] == "services"
}

// pathOf is the pointer to what stands at a place of a document.
func pathOf(docs []*syntax.Document, index int, at diag.Range) (string, bool) {
	for _, d := range docs {
		if d.Index == index {
			return find(d.Root, at, "")
		}
	}
	return "", false
}

func find(n *syntax.Node, at diag.Range, here string) (string, bool) {
	holds := func(r diag.Range) bool { return r.Start.Offset <= at.Start.Offset && at.End.Offset <= r.End.Offset }
	for _, f := range n.Fields {
		if holds(f.Range) {
			return here + "/" + f.Name, true
		}
		if p, ok := find(f.Value, at, here+"/"+f.Name); ok {
			return p, true
		}
	}
	for i, item := range n.Items {
		if p, ok := find(item, at, here+"/"+strconv.Itoa(i)); ok {
			return p, true
		}
	}
	return here, holds(n.Range)
}

func (m mutant) said(before, after diag.List) string {
	var b strings.Builder
	for _, d := range fresh(before, after) {
		b.WriteString("\n\t" + d.String() + " " + d.Path)
	}
	return b.String()
}

// without reports whether it was said before that what holds the place has no effect.
func (m mutant) without(before outcome) bool {
	path := "/" + strings.Join(m.path, "/")
	return slices.ContainsFunc(before.ds, func(d diag.Diagnostic) bool {
		return d.Subject.File == m.file && (d.Code == "link/not-supported-yet" || d.Code == "decode/registration") && d.Path != "" && strings.HasPrefix(path+"/", d.Path+"/") ||
			d.Subject.File == m.file && d.Code == "decode/registration" && path == "/metadata/name" || // nothing that is served refers to a registration
			d.Subject.File == m.file && d.Code == "decode/foreign-document"
	})
}
