package diag

import (
	"regexp"
	"slices"
)

// Since leaves out of l what before has too, and says how much that was. Lines do not count, so what was moved is not new: two
// diagnostics are the same when code, object, path and summary (Lasting) are, or differ only in the numbers of a list's items. A
// diagnostic of no object is one of its file, under the name that now gives it ("": the file is no more). One that got
// more severe is new.
func (l List) Since(before List, now func(file string) string) (fresh List, old int) {
	left := slices.Clone(before)
	for i := range left {
		if left[i].Object.IsZero() && left[i].Subject.File != "" {
			left[i].Subject.File = now(left[i].Subject.File)
		}
	}
	fresh = slices.Clone(l)
	// What is alike in everything is matched first, so that of two of a kind the one that is new stays.
	for _, key := range []func(Diagnostic) sameness{exactly, roughly} {
		here := map[sameness]int{}
		for _, d := range left {
			here[key(d)]++
		}
		used := map[sameness]int{}
		fresh = slices.DeleteFunc(fresh, func(d Diagnostic) bool {
			k := key(d)
			if used[k] == here[k] {
				return false
			}
			used[k]++
			return true
		})
		left = slices.DeleteFunc(left, func(d Diagnostic) bool {
			k := key(d)
			if used[k] == 0 {
				return false
			}
			used[k]--
			return true
		})
	}
	return fresh, len(l) - len(fresh)
}

// sameness is what two diagnostics have in common when they are the same problem.
type sameness struct {
	severity      Severity
	code          Code
	object        Object
	file          string // of a diagnostic without an object
	path, summary string
}

func exactly(d Diagnostic) sameness {
	s := sameness{d.Severity, d.Code, d.Object, "", d.Path, d.Lasting()}
	if d.Object.IsZero() {
		s.file = d.Subject.File
	}
	return s
}

var (
	pathIndex = regexp.MustCompile(`/[0-9]+(/|$)`)
	nameIndex = regexp.MustCompile(`-[0-9]+("|$)`) // of an inline policy or route: orders-cors-flex-1
	lastIndex = regexp.MustCompile(`\[[0-9]+\]`)
)

func roughly(d Diagnostic) sameness {
	s := exactly(d)
	s.path = pathIndex.ReplaceAllString(pathIndex.ReplaceAllString(s.path, "/*$1"), "/*$1") // twice: neighbours share a slash
	s.object.Name = nameIndex.ReplaceAllString(s.object.Name, "$1")
	s.summary = lastIndex.ReplaceAllString(nameIndex.ReplaceAllString(s.summary, "$1"), "[*]")
	return s
}
