package cli

import (
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// rename is an object that has another name now.
type rename struct{ was, now diag.Object }

// renames pairs objects that are gone with new ones of their kind: those that declare the same, then those that declare nearly the
// same, then what is left of a kind in a file; each if it is one alone. file is the name that a file of before has now.
func renames(before, now source.Set, o schema.Options, file func(string) string) []rename {
	o.Memo = nil
	was, is := changedDocuments(before, now, o), changedDocuments(now, before, o)
	gone, added := without(was, is), without(is, was)
	var out []rename
	pair := func(same func(a, b ir.Document) bool) {
		for _, a := range slices.Clone(gone) {
			those := func(list []ir.Document, same func(ir.Document) bool) (found []ir.Document) {
				for _, d := range list {
					if d.Object.Group == a.Object.Group && d.Object.Kind == a.Object.Kind && same(d) {
						found = append(found, d)
					}
				}
				return found
			}
			b := those(added, func(d ir.Document) bool { return same(a, d) })
			if len(b) != 1 || len(those(gone, func(d ir.Document) bool { return same(d, b[0]) })) != 1 {
				continue
			}
			out = append(out, rename{a.Object, b[0].Object})
			gone = slices.DeleteFunc(gone, func(d ir.Document) bool { return d.Object == a.Object })
			added = slices.DeleteFunc(added, func(d ir.Document) bool { return d.Object == b[0].Object })
		}
	}
	pair(func(a, b ir.Document) bool { return a.Tree.Get("spec").Equal(b.Tree.Get("spec")) })
	pair(halfAlike)
	pair(func(a, b ir.Document) bool { return file(a.Tree.Range.File) == b.Tree.Range.File })
	return out
}

// halfAlike reports whether two objects declare the same in at least half of the fields of what they are.
func halfAlike(a, b ir.Document) bool {
	was, now := a.Tree.Get("spec"), b.Tree.Get("spec")
	if was == nil || now == nil {
		return false
	}
	same := 0
	for _, f := range was.Fields {
		if f.Value.Equal(now.Get(f.Name)) {
			same++
		}
	}
	return same > 0 && 2*same >= max(len(was.Fields), len(now.Fields))
}

// changedDocuments are the documents of files that another set does not have as they are.
func changedDocuments(set, other source.Set, o schema.Options) []ir.Document {
	hashes := map[string]source.Hash{}
	for _, f := range other.Files {
		hashes[f.Name] = f.Hash
	}
	changed := map[string]bool{}
	for _, f := range set.Files {
		if h, there := hashes[f.Name]; !there || h != f.Hash {
			changed[f.Name] = true
		}
	}
	return schema.Documents(set, o, func(name string) bool { return changed[name] })
}

func without(docs, others []ir.Document) []ir.Document {
	there := map[diag.Object]bool{}
	for _, d := range others {
		there[d.Object] = true
	}
	return slices.DeleteFunc(slices.Clone(docs), func(d ir.Document) bool { return there[d.Object] })
}

// renamedIn is l as it would be said of objects under the names that they have now; those of inline objects begin with the name
// of their API.
func renamedIn(l diag.List, all []rename) diag.List {
	l = slices.Clone(l)
	for i := range l {
		d := &l[i]
		for _, r := range all {
			if d.Object == r.was {
				d.Object = r.now
			}
			if part, ok := strings.CutPrefix(d.Object.Name, r.was.Name+"-"); ok && d.Object.Namespace == r.was.Namespace && r.was.Kind == "ApiInstance" {
				d.Object.Name = r.now.Name + "-" + part
			}
			for _, name := range []string{`"%"`, `"%-`, "/%"} {
				d.Summary = strings.ReplaceAll(d.Summary, strings.ReplaceAll(name, "%", r.was.Name), strings.ReplaceAll(name, "%", r.now.Name))
			}
		}
	}
	return l
}
