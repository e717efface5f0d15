package cli

import (
	"bytes"
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

// mostMoved is how many files that are gone are looked for under other names by what is in them.
const mostMoved = 100

// moved pairs files that are gone with new ones that say nearly the same; each if one is alone. What a file says of no object
// (that it cannot be read) is known again by that.
func moved(gone, fresh []source.File) map[string]string {
	if len(gone) == 0 || len(fresh) == 0 || len(gone) > mostMoved || len(fresh) > mostMoved {
		return nil
	}
	to, from := map[string][]string{}, map[string][]string{}
	for _, g := range gone {
		a, err := g.Bytes()
		if err != nil {
			continue
		}
		for _, f := range fresh {
			if b, err := f.Bytes(); err == nil && nearlySame(a, b) {
				to[g.Name], from[f.Name] = append(to[g.Name], f.Name), append(from[f.Name], g.Name)
			}
		}
	}
	pairs := map[string]string{}
	for g, names := range to {
		if len(names) == 1 && len(from[names[0]]) == 1 {
			pairs[g] = names[0]
		}
	}
	return pairs
}

// nearlySame reports whether two texts have most of their lines in common, or differ in the middle alone, as one that is a single
// line does.
func nearlySame(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	most, least := max(len(a), len(b)), min(len(a), len(b))
	front := 0
	for front < least && a[front] == b[front] {
		front++
	}
	back := 0
	for back < least-front && a[len(a)-1-back] == b[len(b)-1-back] {
		back++
	}
	if 4*(front+back) >= 3*most {
		return true
	}
	lines := map[string]int{}
	for line := range bytes.Lines(a) {
		lines[string(bytes.TrimSpace(line))]++
	}
	same := 0
	for line := range bytes.Lines(b) {
		if l := string(bytes.TrimSpace(line)); lines[l] > 0 {
			lines[l]--
			same += len(line)
		}
	}
	return 4*same >= 3*most
}
