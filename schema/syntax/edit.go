package syntax

import (
	"cmp"
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
	tries  int                 // evaluations of a CUE package that are left: each costs milliseconds
	left   int                 // nodes that may still be looked at, and bytes that may still be parsed, each of which costs as much as perByte nodes
	trees  map[*Document]*Node // copies of trees, to be changed and changed back
	before map[int]*asWas      // by part of a YAML file
}

// asWas is a YAML document before it is edited.
type asWas struct {
	roots, errors int
	comments      []string // sorted
}

type lang uint8

const (
	yamlLang lang = iota
	jsonLang
	cueLang
)

// label is a field of a CUE file: where its label and the whole of it end.
type label struct{ end, whole int }

// These bound what the edits of one unit may cost: a CUE package's by its evaluations, others' by what is looked at (about two
// seconds). Who runs out of them has no fixes for what is left. All edits are tried together first, and then in halves.
const (
	maxTries = 50
	maxWork  = 200_000_000
	perByte  = 16
)

// NewEditor reads and parses the unit again. What cannot be parsed cannot be edited.
func NewEditor(u Unit) *Editor {
	e := &Editor{unit: u, files: map[string]*cursor{}, tries: maxTries, left: maxWork, trees: map[*Document]*Node{}, before: map[int]*asWas{}}
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
func (e *Editor) Fixes(edits []diag.Edit) []diag.Fix { return e.EachFixes([][]diag.Edit{edits})[0] }

// EachFixes are the Fixes of each of many lists of edits, for much less than one call for each would cost. Each list has its
// own, as if the others were not.
func (e *Editor) EachFixes(lists [][]diag.Edit) [][]diag.Fix {
	out := make([][]diag.Fix, len(lists))
	var docs []*Document
	of := map[*Document][]*planned{}
	for i, edits := range lists {
		doc, p := e.plan(edits)
		if p == nil {
			continue
		}
		p.list = i
		if of[doc] == nil {
			docs = append(docs, doc)
		}
		of[doc] = append(of[doc], p)
	}
	for _, doc := range docs {
		e.settle(doc, of[doc], out)
		delete(e.trees, doc)
	}
	return out
}

// planned is a list of edits with the fixes that it seems to have.
type planned struct {
	list  int
	edits []diag.Edit
	fixes []diag.Fix
	loses bool
}

// plan makes the edits in the tree and takes them back.
func (e *Editor) plan(edits []diag.Edit) (*Document, *planned) {
	if len(edits) == 0 {
		return nil, nil
	}
	for _, doc := range e.about(edits[0].At) {
		if e.way(doc.Root, edits[0]) == nil {
			continue
		}
		if _, known := e.trees[doc]; !known {
			e.trees[doc] = clone(doc.Root, new(int))
		}
		c := &change{Editor: e, doc: doc, want: e.trees[doc]}
		if c.want == nil {
			return nil, nil
		}
		defer c.takeBack(0)
		if !c.applyAll(edits) {
			return nil, nil
		}
		fixes, ok := c.fixes()
		if !ok || len(fixes) == 0 {
			return nil, nil
		}
		return doc, &planned{edits: edits, fixes: fixes, loses: c.loses}
	}
	return nil, nil
}

// settle tries what is planned for a document, as much at a time as does not touch, and puts what holds into out.
func (e *Editor) settle(doc *Document, all []*planned, out [][]diag.Fix) {
	for len(all) > 0 && e.left > 0 {
		c := &change{Editor: e, doc: doc, want: e.trees[doc]}
		var batch, later []*planned
		var fixes room
		for _, p := range all {
			if p.loses != all[0].loses || !fixes.has(p.fixes) || !c.applyAll(p.edits) {
				later = append(later, p)
				continue
			}
			batch = append(batch, p)
			fixes.add(p.fixes)
		}
		holds := e.holds(doc, c.want, fixes.list, all[0].loses)
		c.takeBack(0)
		switch half := len(batch) / 2; {
		case holds:
			for _, p := range batch {
				out[p.list] = p.fixes
			}
		case half > 0:
			e.settle(doc, batch[:half], out)
			e.settle(doc, batch[half:], out)
		}
		all = later
	}
}

// room is fixes, sorted, no two of which touch.
type room struct{ list []diag.Fix }

func (r *room) place(f diag.Fix) int {
	i, _ := slices.BinarySearchFunc(r.list, f, func(a, b diag.Fix) int {
		return cmp.Or(strings.Compare(a.Range.File, b.Range.File), cmp.Compare(a.Range.Start.Offset, b.Range.Start.Offset))
	})
	return i
}

func (r *room) has(fixes []diag.Fix) bool {
	for _, f := range fixes {
		i := r.place(f)
		if i > 0 && r.list[i-1].Range.File == f.Range.File && r.list[i-1].Range.End.Offset >= f.Range.Start.Offset ||
			i < len(r.list) && r.list[i].Range.File == f.Range.File && f.Range.End.Offset >= r.list[i].Range.Start.Offset {
			return false
		}
	}
	return true
}

func (r *room) add(fixes []diag.Fix) {
	for _, f := range fixes {
		r.list = slices.Insert(r.list, r.place(f), f)
	}
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
func (e *Editor) way(root *Node, x diag.Edit) []step {
	switch x.Op {
	case diag.Reword:
		return e.around(root, x.At)
	case diag.Rename, diag.Remove, diag.Move:
		found := e.find(root, x.At, true)
		if found == nil && x.Op == diag.Remove {
			if found = e.find(root, x.At, false); len(found) == 0 || found[len(found)-1].in.Kind != Mapping {
				return nil
			}
		}
		return found
	}
	found := e.find(root, x.At, false)
	if found == nil && x.Op == diag.Insert {
		found = e.find(root, x.At, true)
	}
	return found
}

// around is the way to the scalar that holds a place.
func (e *Editor) around(root *Node, at diag.Range) []step {
	return e.search(root, at, func(n *Node, _ *Field) bool {
		return n != nil && n.Kind == Scalar && contains(n.Range, at) && at.Start.Offset <= at.End.Offset
	})
}

// find is the way from the root to a place, a key or a value. It is nil when nothing stands there, and empty for the root.
func (e *Editor) find(root *Node, at diag.Range, key bool) []step {
	return e.search(root, at, func(n *Node, f *Field) bool {
		return key && f != nil && f.Range == at || !key && n != nil && n.Range == at
	})
}

// search is the way to the first key (asked for with its field alone) or node that is the one. Where parts of a tree stand
// within it, as they do but for aliases and CUE, only those around the place are looked at.
func (e *Editor) search(root *Node, at diag.Range, is func(*Node, *Field) bool) []step {
	if e.lang != cueLang {
		if found := e.walk(root, is, func(r diag.Range) bool { return contains(r, at) }); found != nil {
			return found
		}
	}
	return e.walk(root, is, func(diag.Range) bool { return true })
}

func (e *Editor) walk(root *Node, is func(*Node, *Field) bool, within func(diag.Range) bool) []step {
	seen := map[*Node]bool{}
	var way []step
	var walk func(n *Node) bool
	walk = func(n *Node) bool {
		if is(n, nil) {
			return true
		}
		if n.Kind == Scalar || seen[n] || e.left < 0 {
			return false
		}
		seen[n] = true
		e.left -= len(n.Fields) + len(n.Items)
		way = append(way, step{n, 0})
		here := len(way) - 1
		for i := range n.Fields {
			way[here].i = i
			f := &n.Fields[i]
			if is(nil, f) {
				return true
			}
			whole := f.Value.Range
			if whole.File == f.Range.File && whole.Start.Offset >= f.Range.Start.Offset {
				whole.Start = f.Range.Start
			}
			if within(whole) && walk(f.Value) {
				return true
			}
		}
		for i, item := range n.Items {
			way[here].i = i
			if within(item.Range) && walk(item) {
				return true
			}
		}
		way = way[:here]
		return false
	}
	if !walk(root) {
		return nil
	}
	return append([]step{}, way...)
}

func contains(r, at diag.Range) bool {
	return r.File == at.File && r.Start.Offset <= at.Start.Offset && at.End.Offset <= r.End.Offset
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
		if e.left -= perByte * len(text); !ok {
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
	before := e.before[i]
	if before == nil {
		p := parsedYAML(c.name, old)
		before = &asWas{len(p.roots), p.errors, slices.Sorted(slices.Values(p.comments()))}
		e.before[i] = before
	}
	if e.left -= perByte * len(text); before.roots != 1 {
		return false
	}
	after := parsedYAML(c.name, text)
	return len(after.roots) == 1 && after.errors <= before.errors && same(after.roots[0], want) && keeps(before.comments, after.comments(), lossy)
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
