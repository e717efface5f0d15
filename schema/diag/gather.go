package diag

import (
	"fmt"
	"slices"
	"strings"
)

// maxGathered is how many places stand beside the first one of what was gathered; the last says how many more there are.
const maxGathered = 5

// Gather tells Notes of a code that say the same as one, at the first place of the sorted list. The others are its related
// places. Warnings and errors stay as they are. The elements of l are not changed.
func (l List) Gather(code Code) List {
	first := map[string]int{} // by summary, in out
	count := map[int]int{}
	out := make(List, 0, len(l))
	for _, d := range l {
		if d.Code != code || d.Severity != Note {
			out = append(out, d)
			continue
		}
		i, again := first[d.Summary]
		if !again {
			first[d.Summary] = len(out)
			d.Related = append([]Related(nil), d.Related...)
			out = append(out, d)
			continue
		}
		if count[i]++; count[i] <= maxGathered {
			out[i].Related = append(out[i].Related, Related{Subject: d.Subject, Summary: "here too"})
		}
	}
	for i, n := range count {
		if n > maxGathered {
			out[i].Related[len(out[i].Related)-1].Summary = fmt.Sprintf("here too, and in %d more places", n-maxGathered)
		}
	}
	return out
}

// WithoutConsequences leaves out each diagnostic whose Cause is an error of the list, or a consequence of one: to mend that may mend both. It comes after whatever
// accepts diagnostics or changes how severe they are, lest what is accepted hides what nobody has accepted.
func (l List) WithoutConsequences() List {
	if !slices.ContainsFunc(l, func(d Diagnostic) bool { return !d.Cause.IsZero() }) {
		return l
	}
	errors := map[Range]bool{}
	for _, d := range l {
		if d.Severity == Error {
			errors[d.Subject] = true
		}
	}
	told := map[Range]bool{} // errors that stay, and their consequences: what causes itself is not among them
	for grown := true; grown; {
		grown = false
		for _, d := range l {
			if d.Severity == Error && !told[d.Subject] && (d.Cause.IsZero() || !errors[d.Cause] || told[d.Cause]) {
				told[d.Subject], grown = true, true
			}
		}
	}
	out := make(List, 0, len(l))
	for _, d := range l {
		if d.Cause.IsZero() || !told[d.Cause] {
			out = append(out, d)
		}
	}
	return out
}

// maxTogether is how many objects are named of those that one text made wrong.
const maxTogether = 3

// Together tells once what a text says of several objects, as one in a comprehension or behind an alias may: of the sorted list, those
// at one place with one code and summary. The first stays, and names the objects.
func (l List) Together() List {
	alike := func(a, b Diagnostic) bool {
		return a.Subject == b.Subject && a.Severity == b.Severity && a.Code == b.Code && a.Summary == b.Summary && a.Object.Name != "" && b.Object.Name != "" && a.Subject.Start.Line > 0
	}
	var out List // nil until something is left out
	for i := 0; i < len(l); {
		n := i + 1
		for n < len(l) && alike(l[i], l[n]) {
			n++
		}
		if n > i+1 && out == nil {
			out = append(make(List, 0, len(l)), l[:i]...)
		}
		d := l[i]
		if n > i+1 {
			d.Objects = objectsOf(l[i:n])
			d.Summary += ", in " + listObjects(d.Objects)
		}
		if out != nil {
			out = append(out, d)
		}
		i = n
	}
	if out == nil {
		return l
	}
	return out
}

// objectsOf are the objects of diagnostics, sorted, each once.
func objectsOf(l List) []Object {
	var all []Object
	for _, d := range l {
		all = append(all, d.Object)
	}
	slices.SortFunc(all, func(a, b Object) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

func listObjects(all []Object) string {
	var names []string
	for _, o := range all {
		names = append(names, o.String())
	}
	if n := len(names); n > maxTogether {
		return strings.Join(names[:maxTogether], ", ") + fmt.Sprintf(" and %d more", n-maxTogether)
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return names[0]
}
