package syntax

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// Editor turns changes of a unit's trees into edits of its text, which keep whatever they are not about: comments, order,
// styles, line ends. Every result was tried: the edited text was parsed, and differs from the old one by the change alone.
// So a change that an alias, a merge key or a CUE expression would carry elsewhere has no edits.
type Editor struct {
	unit   Unit
	lang   lang
	docs   []*Document
	files  map[string]*cursor
	parts  []part // of a YAML file
	labels map[string]map[int]label
	tries  int // evaluations of a CUE package that are left: each costs milliseconds
}

type lang uint8

const (
	yamlLang lang = iota
	jsonLang
	cueLang
)

// label is a field of a CUE file: where its label and the whole of it end.
type label struct{ end, whole int }

// maxTries bounds what the edits of one CUE package may cost.
const maxTries = 25

// NewEditor reads and parses the unit again. What cannot be parsed cannot be edited.
func NewEditor(u Unit) *Editor {
	e := &Editor{unit: u, files: map[string]*cursor{}, tries: maxTries}
	for _, f := range u.Files {
		if x, _ := read(f); x != nil {
			e.files[f.Name] = newCursor(x)
		}
	}
	switch {
	case u.cue != nil:
		e.lang = cueLang
		e.labels = map[string]map[int]label{}
		for name, c := range e.files {
			e.labels[name] = cueLabels(name, c.src)
		}
	case strings.HasSuffix(strings.ToLower(u.Name), ".json"):
		e.lang = jsonLang
	default:
		if c := e.files[u.Files[0].Name]; c != nil {
			e.parts = splitYAML(c.index)
		}
	}
	e.docs, _ = u.Parse()
	return e
}

// Fixes are the edits that make all of these changes, which are about one document. Nil: that cannot be done, or not without
// changing something else. They are sorted, and no two of them touch.
func (e *Editor) Fixes(edits []diag.Edit) []diag.Fix {
	if len(edits) == 0 {
		return nil
	}
	for _, doc := range e.about(edits[0].At) {
		if way(doc.Root, edits[0]) == nil {
			continue
		}
		c := &change{Editor: e, doc: doc, want: clone(doc.Root, new(int))}
		if c.want == nil {
			return nil
		}
		for _, x := range edits {
			if !c.apply(x) {
				return nil
			}
		}
		fixes, ok := c.fixes()
		if !ok || !e.holds(doc, c.want, fixes, c.loses) {
			return nil
		}
		return fixes
	}
	return nil
}

// about are the documents that may hold a place.
func (e *Editor) about(at diag.Range) []*Document {
	if e.lang == cueLang {
		return e.docs
	}
	i := sort.Search(len(e.docs), func(i int) bool { return e.docs[i].Range.Start.Offset > at.Start.Offset })
	if i == 0 {
		return nil
	}
	return e.docs[i-1 : i]
}

// step is a way from a mapping or sequence to one of its parts.
type step struct {
	in *Node
	i  int
}

func (s step) node() *Node {
	if s.in.Kind == Mapping {
		return s.in.Fields[s.i].Value
	}
	return s.in.Items[s.i]
}

// way is the way from the root to what an edit is about; nil when nothing stands there.
func way(root *Node, x diag.Edit) []step {
	switch x.Op {
	case diag.Reword:
		return around(root, x.At)
	case diag.Rename, diag.Remove, diag.Move:
		found := find(root, x.At, true)
		if found == nil && x.Op == diag.Remove {
			if found = find(root, x.At, false); len(found) == 0 || found[len(found)-1].in.Kind != Mapping {
				return nil
			}
		}
		return found
	}
	found := find(root, x.At, false)
	if found == nil && x.Op == diag.Insert {
		found = find(root, x.At, true)
	}
	return found
}

// around is the way to the scalar that holds a place.
func around(root *Node, at diag.Range) []step {
	var found []step
	seen := map[*Node]bool{}
	var walk func(n *Node, way []step)
	walk = func(n *Node, way []step) {
		if n.Kind == Scalar {
			if n.Range.File == at.File && n.Range.Start.Offset <= at.Start.Offset && at.Start.Offset <= at.End.Offset && at.End.Offset <= n.Range.End.Offset {
				found = way
			}
			return
		}
		if seen[n] || found != nil {
			return
		}
		seen[n] = true
		for i := range n.Fields {
			walk(n.Fields[i].Value, append(slices.Clip(way), step{n, i}))
		}
		for i, item := range n.Items {
			walk(item, append(slices.Clip(way), step{n, i}))
		}
	}
	walk(root, []step{})
	return found
}

// find is the way from the root to a place, a key or a value. It is nil when nothing stands there, and empty for the root.
func find(root *Node, at diag.Range, key bool) []step {
	seen := map[*Node]bool{}
	var walk func(n *Node, way []step) []step
	walk = func(n *Node, way []step) []step {
		if !key && n.Range == at {
			return way
		}
		if n.Kind == Scalar || seen[n] {
			return nil
		}
		seen[n] = true
		for i := range n.Fields {
			here := append(slices.Clip(way), step{n, i})
			if key && n.Fields[i].Range == at {
				return here
			}
			if found := walk(n.Fields[i].Value, here); found != nil {
				return found
			}
		}
		for i, item := range n.Items {
			if found := walk(item, append(slices.Clip(way), step{n, i})); found != nil {
				return found
			}
		}
		return nil
	}
	return walk(root, []step{})
}

// maxClone is how many nodes a document may have to be edited, those that its aliases stand for included.
const maxClone = 200_000

func clone(n *Node, count *int) *Node {
	if *count++; *count > maxClone {
		return nil
	}
	c := *n
	c.Fields, c.Items = nil, nil
	for _, f := range n.Fields {
		if f.Value = clone(f.Value, count); f.Value == nil {
			return nil
		}
		c.Fields = append(c.Fields, f)
	}
	for _, item := range n.Items {
		v := clone(item, count)
		if v == nil {
			return nil
		}
		c.Items = append(c.Items, v)
	}
	return &c
}

// same reports whether two trees say the same; the order of fields says nothing.
func same(a, b *Node) bool {
	if a.Kind != b.Kind || len(a.Fields) != len(b.Fields) || len(a.Items) != len(b.Items) {
		return false
	}
	if a.Kind == Scalar {
		return a.Scalar == b.Scalar && (a.Text == b.Text || a.Scalar == nil)
	}
	for i := range a.Fields {
		f := &a.Fields[i]
		g := &b.Fields[i]
		if f.Name != g.Name {
			if g = b.Field(f.Name); g == nil {
				return false
			}
		}
		if !same(f.Value, g.Value) {
			return false
		}
	}
	for i := range a.Items {
		if !same(a.Items[i], b.Items[i]) {
			return false
		}
	}
	return true
}

// nodeOf is a plain value as a tree without places.
func nodeOf(v any) *Node {
	switch v := v.(type) {
	case map[string]any:
		n := &Node{Kind: Mapping}
		for _, name := range sortedKeys(v) {
			n.Fields = append(n.Fields, Field{Name: name, Value: nodeOf(v[name])})
		}
		return n
	case []any:
		n := &Node{Kind: Sequence}
		for _, x := range v {
			n.Items = append(n.Items, nodeOf(x))
		}
		return n
	case string:
		return &Node{Scalar: v, Text: v, Quoted: true}
	case nil:
		return &Node{Text: "null"}
	case json.Number:
		return &Node{Scalar: v, Text: string(v)}
	case bool:
		return &Node{Scalar: v, Text: strconv.FormatBool(v)}
	}
	return &Node{Scalar: json.Number(fmt.Sprint(v)), Text: fmt.Sprint(v)}
}

func sortedKeys(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// holds tries the edits: the text must parse into the trees it had, but for the document that becomes want, and keep its
// comments (all but those of what is removed, when lossy).
func (e *Editor) holds(doc *Document, want *Node, fixes []diag.Fix, lossy bool) bool {
	if len(fixes) == 0 {
		return false
	}
	switch e.lang {
	case cueLang:
		return e.holdsCUE(doc, want, fixes, lossy)
	case jsonLang:
		c := e.files[fixes[0].Range.File]
		text, ok := within(c, int(doc.Range.Start.Offset), int(doc.Range.End.Offset), fixes)
		if !ok {
			return false
		}
		roots, ds := parseJSON(newIndex(c.name, text))
		return len(ds) == 0 && len(roots) == 1 && same(roots[0], want)
	}
	c := e.files[fixes[0].Range.File]
	i := sort.Search(len(e.parts), func(i int) bool { return e.parts[i].from > int(doc.Range.Start.Offset) }) - 1
	if c == nil || i < 0 {
		return false
	}
	old := c.src[e.parts[i].from:e.parts[i].to]
	text, ok := within(c, e.parts[i].from, e.parts[i].to, fixes)
	if !ok {
		return false
	}
	before, after := parsedYAML(c.name, old), parsedYAML(c.name, text)
	return len(before.roots) == 1 && len(after.roots) == 1 && after.errors <= before.errors && same(after.roots[0], want) &&
		keeps(before.comments(), after.comments(), lossy)
}

// within applies fixes to a stretch of a file that must hold them all.
func within(c *cursor, from, to int, fixes []diag.Fix) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	var out []byte
	at := from
	for _, f := range fixes {
		if f.Range.File != c.name || int(f.Range.Start.Offset) < at || int(f.Range.End.Offset) > to {
			return nil, false
		}
		out = append(append(out, c.src[at:f.Range.Start.Offset]...), f.Text...)
		at = int(f.Range.End.Offset)
	}
	return append(out, c.src[at:to]...), true
}

func (e *Editor) holdsCUE(doc *Document, want *Node, fixes []diag.Fix, lossy bool) bool {
	if e.tries--; e.tries < 0 {
		return false
	}
	u := e.unit
	u.Files = slices.Clone(u.Files)
	for i, f := range u.Files {
		mine := slices.DeleteFunc(slices.Clone(fixes), func(x diag.Fix) bool { return x.Range.File != f.Name })
		if len(mine) == 0 {
			continue
		}
		c := e.files[f.Name]
		text, ok := within(c, 0, len(c.src), mine)
		if !ok || !keeps(cueComments(f.Name, c.src), cueComments(f.Name, text), lossy) {
			return false
		}
		u.Files[i] = source.NewFile(f.Name, text)
	}
	docs, ds := u.Parse()
	if ds.HasErrors() || len(docs) != len(e.docs) {
		return false
	}
	for i, d := range docs {
		expected := e.docs[i].Root
		if e.docs[i] == doc {
			expected = want
		}
		if !same(d.Root, expected) {
			return false
		}
	}
	return true
}

// keeps reports whether every comment is still there, and none is new; lossy: some may be gone.
func keeps(before, after []string, lossy bool) bool {
	slices.Sort(before)
	slices.Sort(after)
	if !lossy {
		return slices.Equal(before, after)
	}
	i := 0
	for _, c := range after {
		for i < len(before) && before[i] < c {
			i++
		}
		if i == len(before) || before[i] != c {
			return false
		}
		i++
	}
	return true
}
