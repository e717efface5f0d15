package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Resolve turns the Edits of diagnostics into Fixes, for those who show or make them: set is what the diagnostics are about,
// and what of it has edits is parsed again. An edit that the text does not allow (an alias, a value that CUE computes) is
// dropped. ds is changed and returned.
func Resolve(set source.Set, ds diag.List) diag.List {
	withoutSealedFixes(set, ds)
	wanted := map[string][]int{} // by file: diagnostics with edits
	for i := range ds {
		if len(ds[i].Edits) > 0 {
			file := ds[i].Edits[0].At.File
			wanted[file] = append(wanted[file], i)
		}
	}
	if len(wanted) == 0 {
		return ds
	}
	units, _ := syntax.Units(set)
	units = slices.DeleteFunc(units, func(u syntax.Unit) bool {
		return !slices.ContainsFunc(u.Files, func(f source.File) bool { return wanted[f.Name] != nil })
	})
	syntax.InParallel(len(units), func(i int) {
		e := syntax.NewEditor(units[i])
		var lists [][]diag.Edit
		var mine []int
		for _, f := range units[i].Files {
			for _, d := range wanted[f.Name] {
				lists, mine = append(lists, ds[d].Edits), append(mine, d)
			}
		}
		for j, fixes := range e.EachFixes(lists) {
			ds[mine[j]].Fixes = append(ds[mine[j]].Fixes, fixes...)
			ds[mine[j]].Edits = nil
		}
	})
	return ds
}

// CheckSchema reports what is wrong with a schema of a policy or kind as our validator reads it: a keyword that it does not
// know, and an entry of x-mistakes that leads nowhere.
func CheckSchema(text []byte) error {
	root, err := compileShape(text)
	if err != nil {
		return err
	}
	return checkMistakes([]view{root.view()}, map[*shape]bool{})
}

// checkMistakes follows each entry of x-mistakes below the last of the views, which are those of the objects and lists around
// it. What leads out of the schema (of a policy's config into its binding) is not followed.
func checkMistakes(around []view, seen map[*shape]bool) error {
	v := around[len(around)-1]
	for _, s := range v.flat {
		if seen[s] {
			continue
		}
		seen[s] = true
		for name, m := range s.mistakes {
			if _, known := v.field(name); known {
				return fmt.Errorf("x-mistakes: %q is a field of the schema", name)
			}
			up := 0
			for up < len(m.to) && m.to[up] == ".." {
				up++
			}
			if up >= len(around) {
				continue
			}
			at, known := around[len(around)-1-up], true
			for _, next := range m.to[up:] {
				if !known {
					break
				}
				if at.want&tArray != 0 && isIndex(next) {
					at = at.item()
				} else {
					at, known = at.field(next)
				}
			}
			if !known || up > 0 && up == len(m.to) {
				return fmt.Errorf("x-mistakes: %q leads to %s, which the schema does not have", name, strings.Join(m.to, "/"))
			}
		}
		inner := []view{}
		for _, name := range s.names {
			inner = append(inner, s.props[name].view())
		}
		for _, p := range s.patterns {
			inner = append(inner, p.shape.view())
		}
		for _, p := range []*shape{s.items, s.additional} {
			if p != nil {
				inner = append(inner, p.view())
			}
		}
		for _, child := range inner {
			if err := checkMistakes(append(slices.Clip(around), child), seen); err != nil {
				return err
			}
		}
	}
	return nil
}
