package schema

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// read brings the state up to the set: files whose name and hash are known are neither read nor hashed nor parsed.
func (s *state) read(set source.Set) diag.List {
	s.load++
	s.order = s.order[:0]
	changed := set
	if len(s.units) > 0 {
		changed.Files = nil
		for i := range set.Files {
			f := &set.Files[i]
			if k, ok := s.units[f.Name]; ok && k.hash == f.Hash {
				k.load = s.load
				s.order = append(s.order, k)
				continue
			}
			changed.Files = append(changed.Files, *f)
		}
	}
	ds := s.decode(changed)
	if len(s.units) != len(s.order) {
		for name, k := range s.units {
			if k.load != s.load {
				s.remove(k.result)
				delete(s.units, name)
			}
		}
	}
	s.lacking()
	declared := 0
	s.doubts = nil
	for _, k := range s.order {
		s.doubts = append(s.doubts, k.result.doubts...)
		declared += k.result.declared
		ds = append(ds, k.result.ds...)
	}
	slices.SortStableFunc(s.doubts, func(a, b *doubt) int { return strings.Compare(a.at, b.at) }) // files that changed come last in order
	if declared == 0 && !ds.HasErrors() {
		ds = append(ds, diag.Diagnostic{Severity: s.absent(), Code: "source/no-declarations", Summary: "no declaration was found",
			Hint: readWords(set) + "a declaration is a document with the apiVersion gateway.mulesoft.com/v1alpha1"})
	}
	return ds
}

// readWords says what was read of a set that holds no declaration.
func readWords(set source.Set) string {
	switch n := len(set.Files); n {
	case 0:
		return "there is no file that ends in .yaml, .yml, .json or .cue; "
	case 1:
		return set.Files[0].Name + " was read; "
	default:
		return fmt.Sprintf("%s and %s were read; ", set.Files[0].Name, count(n-1, "other file"))
	}
}

// decode decodes the units of files that are new or were changed, in parallel. A CUE package is always among them, for
// its files are judged together; its unit's hash says whether it is new.
func (s *state) decode(changed source.Set) diag.List {
	units, ds := syntax.Units(changed)
	results := make([]*unitResult, len(units))
	if s.order == nil && len(s.objects) == 0 {
		s.objects = make(map[diag.Object]*entry, len(units)) // about one a file
	}
	quiet := unitResult{others: noOthers} // all units of which nothing is asked again when there is no next load
	if s.once {
		s.order = append(s.order, &keptUnit{result: &quiet})
	}
	var todo []int
	for i, u := range units {
		if k, ok := s.units[unitKey(u)]; ok && k.hash == u.Hash {
			k.load = s.load
			s.order = append(s.order, k)
			continue
		}
		todo = append(todo, i)
	}
	syntax.InOrder(len(todo), func(i int) { results[todo[i]] = s.decoder.unit(units[todo[i]]) }, func(i int) {
		i = todo[i]
		r := results[i]
		results[i] = nil
		if s.once && len(r.ds)+len(r.bindings)+len(r.sealed) == 0 && !r.skipped {
			quiet.documents, quiet.declared = quiet.documents+r.documents, quiet.declared+r.declared
			s.add(r)
			return
		}
		key := unitKey(units[i])
		if old, ok := s.units[key]; ok {
			s.remove(old.result)
		}
		k := &keptUnit{hash: units[i].Hash, result: r, load: s.load}
		if unreadable(k.result) {
			k.hash = source.Hash{} // another time it may be readable
		}
		if !s.once {
			s.units[key] = k
		}
		s.order = append(s.order, k)
		s.add(k.result)
	})
	return ds
}

func unreadable(r *unitResult) bool {
	return slices.ContainsFunc(r.ds, func(d diag.Diagnostic) bool { return d.Code == "source/unreadable" })
}

func isCUE(u syntax.Unit) bool { return isCUEFile(u.Files[0].Name) }

func isCUEFile(name string) bool { return strings.EqualFold(path.Ext(name), ".cue") }

// unitKey is the file's name, or for a CUE package a text that no file has for a name.
func unitKey(u syntax.Unit) string {
	if isCUE(u) {
		return "cue\x00" + u.Name
	}
	return u.Files[0].Name
}
