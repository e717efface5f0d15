package schema

import (
	"slices"
	"strconv"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Quoted finds what somebody else's words are about: the value in the configuration of one policy that they repeat most
// likely (diag.Quotes). at is where the policy is named. not ok: there is none.
func Quoted(set source.Set, at diag.Range, words string) (place diag.Range, pointer string, ok bool) {
	units, _ := syntax.Units(set)
	units = slices.DeleteFunc(units, func(u syntax.Unit) bool {
		return !slices.ContainsFunc(u.Files, func(f source.File) bool { return f.Name == at.File })
	})
	q := quoted{words: words}
	for _, u := range units {
		docs, _ := u.Parse()
		for _, d := range docs {
			if holder, path := policyAt(d.Root, at, nil); holder != nil {
				f := holder.Fold("config")
				q.look(f.Value, append(path, f.Name))
			}
		}
	}
	return q.place, q.pointer, q.best > 0
}

// policyAt is the smallest mapping with a configuration that encloses a place.
func policyAt(n *syntax.Node, at diag.Range, path []string) (holder *syntax.Node, found []string) {
	if n == nil || n.Range.File != at.File || at.Start.Offset < n.Range.Start.Offset || at.Start.Offset >= n.Range.End.Offset {
		return nil, nil
	}
	for _, f := range n.Fields {
		if h, p := policyAt(f.Value, at, append(path, f.Name)); h != nil {
			return h, p
		}
	}
	for i, item := range n.Items {
		if h, p := policyAt(item, at, append(path, strconv.Itoa(i))); h != nil {
			return h, p
		}
	}
	if n.Kind == syntax.Mapping && n.Fold("config") != nil {
		return n, slices.Clone(path)
	}
	return nil, nil
}

type quoted struct {
	words   string
	best    int // diag.Quotes
	place   diag.Range
	pointer string
}

func (q *quoted) look(n *syntax.Node, path []string) {
	for _, f := range n.Fields {
		q.weigh(f.Name, f.Range, append(path, f.Name))
		q.look(f.Value, append(path, f.Name))
	}
	for i, item := range n.Items {
		q.look(item, append(path, strconv.Itoa(i)))
	}
	if n.Kind == syntax.Scalar {
		q.weigh(n.Text, n.Range, path)
	}
}

func (q *quoted) weigh(text string, at diag.Range, path []string) {
	n := diag.Quotes(q.words, text)
	if n > q.best {
		q.best, q.place = n, at
		q.pointer = ""
		for _, name := range path {
			q.pointer += "/" + pointerEscaper.Replace(name)
		}
	}
}
