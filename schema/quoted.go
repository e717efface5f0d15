package schema

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Quoted finds what somebody else's words are about: the value in the configuration of one policy that they repeat most
// likely (diag.Quotes). at is where the policy is named. not ok: there is none.
func Quoted(set source.Set, at diag.Range, words string) (place diag.Range, ok bool) {
	q := quoted{words: words}
	for _, d := range documentsOf(set, at.File) {
		if holder := policyAt(d.Root, at); holder != nil {
			q.look(holder.Fold("config").Value)
		}
	}
	return q.place, q.best > 0
}

// documentsOf parses again what a file belongs to.
func documentsOf(set source.Set, file string) []*syntax.Document {
	units, _ := syntax.Units(set)
	var docs []*syntax.Document
	for _, u := range units {
		if slices.ContainsFunc(u.Files, func(f source.File) bool { return f.Name == file }) {
			more, _ := u.Parse()
			docs = append(docs, more...)
		}
	}
	return docs
}

// Attribute fills in the declared object and the path within it of diagnostics that have a place, for those who know no more of
// it. ds is changed and returned.
func Attribute(set source.Set, ds diag.List) diag.List {
	byFile := map[string][]*syntax.Document{}
	for i := range ds {
		file := ds[i].Subject.File
		if _, ok := byFile[file]; !ok && file != "" {
			byFile[file] = documentsOf(set, file)
		}
		for _, d := range byFile[file] {
			path, inside := pathAt(d.Root, ds[i].Subject)
			if !inside {
				continue
			}
			text := func(path ...string) string {
				n, ok := d.Root.At(path...)
				if !ok || n.Kind != syntax.Scalar {
					return ""
				}
				return n.Text
			}
			group, _, _ := strings.Cut(text("apiVersion"), "/")
			ds[i].Object = diag.Object{Group: group, Kind: text("kind"), Namespace: cmp.Or(text("metadata", "namespace"), "default"), Name: text("metadata", "name")}
			ds[i].Path = path
		}
	}
	return ds
}

// pathAt is the JSON Pointer of the smallest thing below n that begins where a range does or encloses its beginning.
func pathAt(n *syntax.Node, at diag.Range) (pointer string, inside bool) {
	if n == nil || !encloses(n.Range, at) {
		return "", false
	}
	for _, f := range n.Fields {
		if below, ok := pathAt(f.Value, at); ok || encloses(f.Range, at) {
			return "/" + escapePointer(f.Name) + below, true
		}
	}
	for i, item := range n.Items {
		if below, ok := pathAt(item, at); ok {
			return "/" + strconv.Itoa(i) + below, true
		}
	}
	return "", true
}

func encloses(r, at diag.Range) bool {
	return r.File == at.File && r.Start.Offset <= at.Start.Offset && at.Start.Offset < r.End.Offset
}

// policyAt is the smallest mapping with a configuration that encloses a place.
func policyAt(n *syntax.Node, at diag.Range) *syntax.Node {
	if n == nil || !encloses(n.Range, at) {
		return nil
	}
	for _, f := range n.Fields {
		if h := policyAt(f.Value, at); h != nil {
			return h
		}
	}
	for _, item := range n.Items {
		if h := policyAt(item, at); h != nil {
			return h
		}
	}
	if n.Kind == syntax.Mapping && n.Fold("config") != nil {
		return n
	}
	return nil
}

type quoted struct {
	words string
	best  int // diag.Quotes
	place diag.Range
}

func (q *quoted) look(n *syntax.Node) {
	for _, f := range n.Fields {
		q.weigh(f.Name, f.Range)
		q.look(f.Value)
	}
	for _, item := range n.Items {
		q.look(item)
	}
	if n.Kind == syntax.Scalar {
		q.weigh(n.Text, n.Range)
	}
}

func (q *quoted) weigh(text string, at diag.Range) {
	if n := diag.Quotes(q.words, text); n > q.best {
		q.best, q.place = n, at
	}
}
