package dataweave

import (
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// At maps the offsets of text to places within r, the range of the scalar that holds it. How the scalar is quoted follows from
// how much longer it is than its text: plain, in single quotes (each of which is doubled inside), or in double quotes with
// escapes. A scalar on several lines is named as a whole.
func At(text string, r diag.Range) Mapper {
	if r.Start.IsZero() || r.Start.Line != r.End.Line {
		return func(int, int) diag.Range { return r }
	}
	indent, doubled := quoting(text, r.End.Column-r.Start.Column)
	pos := func(offset int) diag.Pos {
		before := text[:min(max(offset, 0), len(text))]
		extra := indent
		for i := range len(doubled) {
			extra += strings.Count(before, doubled[i:i+1])
		}
		p := diag.Pos{Line: r.Start.Line, Column: r.Start.Column + utf8.RuneCountInString(before) + extra, Offset: r.Start.Offset + len(before) + extra}
		if p.Column > r.End.Column {
			return r.End
		}
		return p
	}
	return func(start, end int) diag.Range {
		return diag.Range{File: r.File, Start: pos(start), End: pos(end)}
	}
}

// quoting says how many columns stand before the text, and which characters take two of them.
func quoting(text string, width int) (indent int, doubled string) {
	switch extra := width - utf8.RuneCountInString(text); {
	case extra <= 0:
		return 0, ""
	case extra == 2+strings.Count(text, "'") && extra > 2:
		return 1, "'"
	case extra == 2+strings.Count(text, `"`)+strings.Count(text, `\`) && extra > 2:
		return 1, `"\`
	}
	return 1, ""
}
