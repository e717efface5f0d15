package diff

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// files says which files are different.
type files struct {
	changed        []filePair // other content under the same path
	moved          []filePair // same content under another path
	added, removed []File
}

func (f File) label() string { return cmp.Or(f.Path, f.Name) }

type filePair struct{ old, now File }

func pairFiles(old, now []File) files {
	var f files
	was := map[string]File{}
	for _, x := range old {
		was[x.Path] = x
	}
	for _, x := range now {
		o, ok := was[x.Path]
		switch delete(was, x.Path); {
		case !ok:
			f.added = append(f.added, x)
		case o.Hash != x.Hash:
			f.changed = append(f.changed, filePair{o, x})
		}
	}
	for _, x := range was {
		f.removed = append(f.removed, x)
	}
	byPath := func(a, b File) int { return strings.Compare(a.Path, b.Path) }
	slices.SortFunc(f.removed, byPath)
	slices.SortFunc(f.added, byPath)
	gone := map[source.Hash][]File{}
	for _, x := range f.removed {
		gone[x.Hash] = append(gone[x.Hash], x)
	}
	f.added = slices.DeleteFunc(f.added, func(x File) bool {
		l := gone[x.Hash]
		if len(l) == 0 {
			return false
		}
		gone[x.Hash] = l[1:]
		f.moved = append(f.moved, filePair{l[0], x})
		f.removed = slices.DeleteFunc(f.removed, func(o File) bool { return o == l[0] })
		return true
	})
	slices.SortFunc(f.changed, func(a, b filePair) int { return byPath(a.now, b.now) })
	return f
}

// documents are what the files declare that are different.
type documents struct {
	old, now map[diag.Object][]ir.Document
	all      [2][]ir.Document
}

// readDocuments reads the files that are different. Those that were only moved hold what they held.
func readDocuments(old, now Side, f files) documents {
	var names [2]map[string]bool
	for i := range names {
		names[i] = map[string]bool{}
	}
	cue := false
	see := func(side int, x File) {
		names[side][x.Name] = true
		cue = cue || path.Ext(x.Name) == ".cue"
	}
	for _, p := range f.changed {
		see(0, p.old)
		see(1, p.now)
	}
	for _, x := range f.removed {
		see(0, x)
	}
	for _, x := range f.added {
		see(1, x)
	}
	var d documents
	for i, s := range []Side{old, now} {
		if s.Documents == nil || len(names[i]) == 0 && !cue {
			continue
		}
		// One CUE file may say what another one's values are.
		d.all[i] = s.Documents(func(name string) bool { return names[i][name] || cue && path.Ext(name) == ".cue" })
	}
	d.old, d.now = byObject(d.all[0]), byObject(d.all[1])
	return d
}

func byObject(l []ir.Document) map[diag.Object][]ir.Document {
	m := map[diag.Object][]ir.Document{}
	for _, d := range l {
		m[d.Object] = append(m[d.Object], d)
	}
	return m
}

// cosmetics tells of what is written otherwise, and of whole documents that the model does not show, after everything else.
func (c *comparison) cosmetics() {
	explained := map[string]bool{}
	told := c.told()
	for _, x := range c.changes {
		for _, f := range x.files {
			explained[f] = true
		}
	}
	for _, o := range c.objects() {
		if told[o] {
			for _, d := range slices.Concat(c.docs.old[o], c.docs.now[o]) {
				explained[d.Name.File] = true
			}
			continue
		}
		x := c.document(o)
		for _, f := range x.files {
			explained[f] = true
		}
		c.changes = append(c.changes, x)
	}
	for _, p := range c.files.moved {
		c.changes = append(c.changes, Change{Kind: FileChanged, Summary: fmt.Sprintf("%s is now %s", p.old.label(), p.now.label()), Reason: "the content is the same",
			Place: Place{Range: diag.Range{File: p.now.Name}}})
	}
	text := func(f File, old bool, what string) {
		if !explained[f.Name] {
			c.changes = append(c.changes, Change{Kind: FileChanged, Summary: f.label() + " " + what, Reason: "it declares the same as before",
				Place: Place{Old: old, Range: diag.Range{File: f.Name}}})
		}
	}
	for _, p := range c.files.changed {
		if !explained[p.old.Name] {
			text(p.now, false, "is written in another way")
		}
	}
	for _, f := range c.files.added {
		text(f, false, "is new")
	}
	for _, f := range c.files.removed {
		text(f, true, "is gone")
	}
}

// told are the objects of whose documents something was told: of themselves, or of what stands in them.
func (c *comparison) told() map[diag.Object]bool {
	told := map[diag.Object]bool{}
	var places []Place
	for _, x := range c.changes {
		told[x.Object] = true
		for _, o := range x.about {
			told[o] = true
		}
		switch x.Kind { // these may follow from the labels of an API
		case PolicyAdded, PolicyRemoved, PolicyOrder, AuthenticationLost, AuthenticationGained:
			for _, o := range x.Affects {
				told[o] = true
			}
		}
		places = append(places, x.Place)
		for _, f := range x.Fields {
			places = append(places, f.Place)
		}
	}
	for side, docs := range c.docs.all {
		at := map[string][]ir.Document{}
		for _, d := range docs {
			at[d.Tree.Range.File] = append(at[d.Tree.Range.File], d)
		}
		for _, p := range places {
			for _, d := range at[p.File] {
				r := d.Tree.Range
				if p.Old == (side == 0) && r.Start.Offset <= p.Start.Offset && p.Start.Offset < r.End.Offset {
					told[d.Object] = true
				}
			}
		}
	}
	return told
}

// objects are those of the documents that are different, sorted.
func (c *comparison) objects() []diag.Object {
	var l []diag.Object
	for o, was := range c.docs.old {
		if now := c.docs.now[o]; len(was) != 1 || len(now) != 1 || !was[0].Tree.Equal(now[0].Tree) {
			l = append(l, o)
		}
	}
	for o := range c.docs.now {
		if c.docs.old[o] == nil {
			l = append(l, o)
		}
	}
	slices.SortFunc(l, func(a, b diag.Object) int { return cmp.Or(compareObjects(a, b), strings.Compare(a.Kind, b.Kind)) })
	return l
}

// document tells of a document of which nothing else was told.
func (c *comparison) document(o diag.Object) Change {
	x := Change{Kind: DocumentChanged, Object: o, Reason: "nothing that Envoy gets depends on it"}
	switch {
	case c.shown[o]:
		x.Class, x.Reason = Traffic, "what Envoy gets follows from it"
	case o.Kind == "Extension" || o.Kind == "Secret":
		x.Class, x.Reason = Traffic, "a gateway of the product acts on it; flexgw does not"
	}
	var was, now *ir.Declared
	if l := c.docs.old[o]; len(l) > 0 {
		was = l[0].Tree
		x.Place, x.Summary = Place{true, l[0].Name}, fmt.Sprintf("%s is gone", o)
		x.files = append(x.files, l[0].Name.File)
	}
	if l := c.docs.now[o]; len(l) > 0 {
		now = l[0].Tree
		x.Summary = fmt.Sprintf("%s is new", o)
		if was != nil {
			x.Summary = fmt.Sprintf("%s is declared in another way", o)
		}
		x.Place = Place{false, l[0].Name}
		x.files = append(x.files, l[0].Name.File)
	}
	if was != nil && now != nil {
		x.Fields = compareDeclared("", was, now)
		if !slices.ContainsFunc(x.Fields, func(f Field) bool { return !strings.HasPrefix(f.Path, "metadata.") }) && !c.shown[o] {
			x.Class, x.Reason = Cosmetic, "nothing that Envoy gets depends on it"
		}
	}
	return x
}
