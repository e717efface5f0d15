package syntax

import (
	"bytes"

	"github.com/flexgw/flexgw/schema/diag"
)

// mergeConflicts are the merge conflicts that Git left in a text, each from its first marker to its last
// (https://git-scm.com/docs/git-merge#_how_conflicts_are_presented). Markers that do not belong together are none.
func mergeConflicts(x *index) diag.List {
	if !bytes.Contains(x.src, []byte("<<<<<<<")) {
		return nil
	}
	c := newCursor(x)
	var ds diag.List
	from, parted := -1, false
	for l := range x.lines {
		at := max(x.lines[l], x.start)
		end := len(x.src)
		if l+1 < len(x.lines) {
			end = x.lines[l+1]
		}
		line := bytes.TrimRight(x.src[at:end], "\r\n")
		switch {
		case isConflictMarker(line, '<'):
			from, parted = at, false
		case from >= 0 && isConflictMarker(line, '='):
			parted = true
		case from >= 0 && parted && isConflictMarker(line, '>'):
			ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "source/merge-conflict", Subject: c.span(from, at+len(line)),
				Summary: "unresolved merge conflict", Hint: "keep one of the two sides, or what both mean, and remove the lines that begin with <<<<<<<, ======= and >>>>>>>"})
			from = -1
		}
	}
	return ds
}

// isConflictMarker reports whether a line is seven times a character, and perhaps a name.
func isConflictMarker(line []byte, b byte) bool {
	const length = 7
	return bytes.HasPrefix(line, bytes.Repeat([]byte{b}, length)) && (len(line) == length || line[length] == ' ')
}

func overlap(a, b diag.Range) bool {
	return a.Start.Offset < b.End.Offset && b.Start.Offset < a.End.Offset
}

func inConflict(r diag.Range, conflicts diag.List) bool {
	for _, c := range conflicts {
		if overlap(r, c.Subject) {
			return true
		}
	}
	return false
}

// withoutConflicts says of the documents of a stream that do not parse, and in which a merge conflict stands, that alone.
func withoutConflicts(ds, conflicts diag.List, chunks [][]part) diag.List {
	var out diag.List
	told := map[diag.Range]bool{}
	for _, d := range ds {
		p, at := part{}, int(d.Subject.Start.Offset)
		for _, chunk := range chunks {
			for _, q := range chunk {
				if q.from <= at && at <= q.to && (p.to == 0 || at < q.to) {
					p = q
				}
			}
		}
		explained := false
		for _, c := range conflicts {
			if int(c.Subject.Start.Offset) < p.to && p.from < int(c.Subject.End.Offset) {
				if explained = true; !told[c.Subject] {
					told[c.Subject] = true
					out = append(out, c)
				}
			}
		}
		if !explained {
			out = append(out, d)
		}
	}
	return out
}
