// Package fix makes the fixes of diagnostics in the text of declarations, over and over until none is left.
//
// It works on text in memory: what a file is judged by, and how it is written back, its caller knows.
package fix

import (
	"bytes"
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// maxRounds bounds how often declarations are judged again. Fixes that touch each other, and those that a fix uncovers, wait for
// a next round; real files need two or three.
const maxRounds = 50

// Result is what Apply made of a set.
type Result struct {
	Set     source.Set
	Changed []Changed // sorted by name
	Left    diag.List // what check says of Set
	Refused []Refused // sorted by name
}

// Refused is a file in which a fix of a code would have left more wrong than it found: that one and those behind it are not made.
type Refused struct {
	Name string
	Code diag.Code
}

// Changed is a file with its text before and after, and how many problems were fixed in it.
type Changed struct {
	Name          string
	Fixes         int
	Before, After []byte
}

// Apply makes the fixes that check's diagnostics have. All fixes of a diagnostic are made, or none. A file that would then not
// be parsed as well as before, or that had no error and would have one, keeps the text that it had.
func Apply(set source.Set, check func(source.Set) diag.List) (Result, error) {
	a := newApplier(set)
	list := check(set)
	for range maxRounds {
		before := a.set
		changed, err := a.round(list)
		if err != nil {
			return Result{}, err
		}
		if !changed {
			break
		}
		next := check(a.set)
		if a.harmed(before, list, next) {
			next = check(a.set)
		}
		list = next
	}
	r := Result{Set: a.set, Left: list}
	for _, f := range set.Files {
		before, edited := a.first[f.Name], a.texts[f.Name]
		if edited != nil && !bytes.Equal(before, edited) {
			r.Changed = append(r.Changed, Changed{f.Name, a.count[f.Name], before, edited})
		}
		if code := a.frozen[f.Name]; code != "" {
			r.Refused = append(r.Refused, Refused{f.Name, code})
		}
	}
	return r, nil
}

// Count is how many of the diagnostics, whose Edits are resolved, Apply would mend, as far as their texts tell: fixes that would leave a
// file worse than it is do not count. What a fix uncovers is not looked for.
func Count(set source.Set, list diag.List) (int, error) {
	if !slices.ContainsFunc(list, func(d diag.Diagnostic) bool { return len(d.Fixes) > 0 }) {
		return 0, nil
	}
	a := newApplier(set)
	units := unitsOf(set)
	if _, err := a.round(list); err != nil {
		return 0, err
	}
	n := 0
	for _, d := range list {
		if a.unit(units, d) != nil {
			n++
		}
	}
	return n, nil
}

func newApplier(set source.Set) *applier {
	return &applier{set: set, texts: map[string][]byte{}, first: map[string][]byte{}, count: map[string]int{}, frozen: map[string]diag.Code{}}
}

// unit is where all fixes of a diagnostic are to be made; nil: it has none, or they are not made.
func (a *applier) unit(units map[string]*syntax.Unit, d diag.Diagnostic) *syntax.Unit {
	if len(d.Fixes) == 0 {
		return nil
	}
	u := units[d.Fixes[0].Range.File]
	if u == nil || slices.ContainsFunc(d.Fixes, func(f diag.Fix) bool { return units[f.Range.File] != u || a.frozen[f.Range.File] != "" }) {
		return nil
	}
	return u
}

// harmed takes back the edits of files that had no error, and have one now; it reports whether there were any. What has errors
// may get others: a fix that lets a file be read further uncovers what is wrong behind it.
func (a *applier) harmed(before source.Set, was, now diag.List) bool {
	wrong := func(l diag.List, name string) bool {
		return slices.ContainsFunc(l, func(d diag.Diagnostic) bool { return d.Severity == diag.Error && d.Subject.File == name })
	}
	harmed := false
	files := slices.Clone(a.set.Files)
	for i, f := range before.Files {
		if a.texts[f.Name] == nil || files[i].Hash == f.Hash || wrong(was, f.Name) || !wrong(now, f.Name) {
			continue
		}
		text, err := f.Bytes()
		if err != nil {
			continue // it was read a moment ago
		}
		harmed, files[i], a.texts[f.Name], a.count[f.Name], a.frozen[f.Name] = true, f, text, a.last[f.Name], fixed(was, f.Name)
	}
	if harmed {
		a.set = source.NewSet(files)
	}
	return harmed
}

// fixed is the code of the first fix in a file.
func fixed(l diag.List, name string) diag.Code {
	for _, d := range l {
		if slices.ContainsFunc(d.Fixes, func(f diag.Fix) bool { return f.Range.File == name }) {
			return d.Code
		}
	}
	return ""
}

type applier struct {
	set    source.Set
	texts  map[string][]byte    // of files that were changed
	first  map[string][]byte    // what those were
	count  map[string]int       // problems fixed
	last   map[string]int       // before the last round
	frozen map[string]diag.Code // files that no fix is made in any more, and why
}

// unitsOf is the unit of each file.
func unitsOf(set source.Set) map[string]*syntax.Unit {
	units, _ := syntax.Units(set)
	out := map[string]*syntax.Unit{}
	for i := range units {
		for _, f := range units[i].Files {
			out[f.Name] = &units[i]
		}
	}
	return out
}

// round makes one round of fixes, and reports whether any file changed.
func (a *applier) round(list diag.List) (bool, error) {
	byUnit, codes := map[*syntax.Unit][][]diag.Fix{}, map[*syntax.Unit]diag.Code{} // of the first
	units := unitsOf(a.set)
	for _, d := range list {
		u := a.unit(units, d)
		if u == nil {
			continue
		}
		if byUnit[u] = append(byUnit[u], d.Fixes); len(byUnit[u]) == 1 {
			codes[u] = d.Code
		}
	}
	a.last = maps.Clone(a.count)
	edited := map[string][]byte{}
	for u, groups := range byUnit {
		texts, counts, err := apply(*u, groups)
		bad := err == nil && worse(a.set, *u, texts)
		for n := len(groups) / 2; bad && n > 0; n /= 2 { // together they do harm: fewer at a time
			texts, counts, err = apply(*u, groups[:n])
			bad = err == nil && worse(a.set, *u, texts)
		}
		if err != nil {
			return false, err
		}
		if bad {
			for _, f := range u.Files {
				if texts[f.Name] != nil {
					a.frozen[f.Name] = codes[u]
				}
			}
			continue
		}
		for name, text := range texts {
			edited[name] = text
			a.count[name] += counts[name]
		}
	}
	return a.take(edited)
}

// take puts edited texts into the set.
func (a *applier) take(edited map[string][]byte) (bool, error) {
	if len(edited) == 0 {
		return false, nil
	}
	files := slices.Clone(a.set.Files)
	for i, f := range files {
		text, ok := edited[f.Name]
		if !ok {
			continue
		}
		if a.texts[f.Name] == nil {
			before, err := f.Bytes()
			if err != nil {
				return false, err
			}
			a.first[f.Name] = before
		}
		a.texts[f.Name] = text
		files[i] = source.NewFile(f.Name, text)
	}
	a.set = source.NewSet(files)
	return true, nil
}

// apply edits the files of a unit: groups in their order, each whole or not at all. One that touches an earlier one is left
// out. counts are the groups by the file of their first fix.
func apply(u syntax.Unit, groups [][]diag.Fix) (texts map[string][]byte, counts map[string]int, err error) {
	byFile, counts := map[string][]diag.Fix{}, map[string]int{}
	for _, g := range groups {
		if slices.ContainsFunc(g, func(f diag.Fix) bool { _, free := room(byFile[f.Range.File], f); return !free }) {
			continue
		}
		for _, f := range g {
			fixes := byFile[f.Range.File]
			at, _ := room(fixes, f)
			byFile[f.Range.File] = slices.Insert(fixes, at, f)
		}
		counts[g[0].Range.File]++
	}
	texts = map[string][]byte{}
	for _, f := range u.Files {
		fixes := byFile[f.Name]
		if len(fixes) == 0 {
			continue
		}
		src, err := f.Bytes()
		if err != nil {
			return nil, nil, err
		}
		texts[f.Name] = edit(src, fixes)
	}
	return texts, counts, nil
}

// room is where a fix goes among those of its file, which are sorted, and whether it touches none of them. Fixes that stand side
// by side touch: in what order to write would be a guess.
func room(fixes []diag.Fix, f diag.Fix) (int, bool) {
	at, _ := slices.BinarySearchFunc(fixes, f.Range.Start.Offset, func(o diag.Fix, offset int32) int { return cmp.Compare(o.Range.Start.Offset, offset) })
	free := (at == 0 || fixes[at-1].Range.End.Offset < f.Range.Start.Offset) && (at == len(fixes) || f.Range.End.Offset < fixes[at].Range.Start.Offset)
	return at, free
}

// edit applies sorted fixes that do not touch.
func edit(src []byte, fixes []diag.Fix) []byte {
	var out []byte
	at := 0
	for _, f := range fixes {
		out = append(append(out, src[at:f.Range.Start.Offset]...), f.Text...)
		at = int(f.Range.End.Offset)
	}
	return append(out, src[at:]...)
}

// worse reports whether there are more errors of a language with these texts of a unit than without. What a CUE package is
// changed to, those that import it may dislike.
func worse(set source.Set, u syntax.Unit, texts map[string][]byte) bool {
	if len(texts) == 0 {
		return false
	}
	files := u.Files
	if isCUE(u) {
		files = slices.DeleteFunc(slices.Clone(set.Files), func(f source.File) bool { return !strings.EqualFold(path.Ext(f.Name), ".cue") })
	}
	edited := slices.Clone(files)
	for i, f := range files {
		if text, ok := texts[f.Name]; ok {
			edited[i] = source.NewFile(f.Name, text)
		}
	}
	return errorsIn(edited) > errorsIn(files)
}

func isCUE(u syntax.Unit) bool { return strings.EqualFold(path.Ext(u.Files[0].Name), ".cue") }

func errorsIn(files []source.File) int {
	_, ds := syntax.Parse(source.NewSet(files))
	return ds.Count(diag.Error)
}
