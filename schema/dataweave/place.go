package dataweave

import (
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// At maps the offsets of text to places within r, the range of the scalar that holds it. How the scalar is quoted follows from
// how much longer it is than its text: plain, in single quotes (each of which is doubled inside), or in double quotes with
// escapes. A block scalar is recognised by its indentation; any other on several lines is named as a whole.
func At(text string, r diag.Range) Mapper {
	if r.Start.IsZero() {
		return func(int, int) diag.Range { return r }
	}
	if r.Start.Line != r.End.Line {
		return atBlock(text, r)
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

// atBlock maps the lines of a block scalar, which all begin after the same indentation, one below the other.
func atBlock(text string, r diag.Range) Mapper {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	indent := r.End.Column - 1 - utf8.RuneCountInString(lines[len(lines)-1])
	header := r.End.Offset - r.Start.Offset - len(strings.TrimRight(text, "\n")) - len(lines)*indent // | or >- and the end of its line
	if len(lines) != r.End.Line-r.Start.Line || indent < 1 || header < 2 || header > 3 {
		return func(int, int) diag.Range { return r }
	}
	pos := func(offset int) diag.Pos {
		before := text[:min(max(offset, 0), len(text))]
		n := strings.Count(before, "\n")
		if n >= len(lines) {
			return r.End
		}
		line := before[strings.LastIndexByte(before, '\n')+1:]
		return diag.Pos{
			Line: r.Start.Line + 1 + n, Column: 1 + indent + utf8.RuneCountInString(line), Offset: r.Start.Offset + header + len(before) + (n+1)*indent,
		}
	}
	return func(start, end int) diag.Range {
		return diag.Range{File: r.File, Start: pos(start), End: pos(end)}
	}
}
