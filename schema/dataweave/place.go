package dataweave

import (
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// At maps the offsets of text to places within r, the range of the scalar that holds it. How the scalar is quoted follows from
// how much longer it is than its text: plain, in single quotes (each of which is doubled inside), or in double quotes with
// escapes. A block scalar is recognised by its indentation; in any other on several lines places are marked (diag.Range.Within), to be
// found once the source is at hand. Text may be of any language: whole scripts and schemas are placed by it too.
func At(text string, r diag.Range) Mapper {
	if r.Start.IsZero() {
		return func(int, int) diag.Range { return r }
	}
	if r.Start.Line != r.End.Line {
		return atBlock(text, r)
	}
	return func(start, end int) diag.Range { // nearly no text needs it: it finds out by itself
		indent, doubled := quoting(text, int(r.End.Column-r.Start.Column))
		pos := func(offset int) diag.Pos {
			before := text[:min(max(offset, 0), len(text))]
			extra := indent + countAny(before, doubled)
			p := diag.Pos{Line: r.Start.Line, Column: r.Start.Column + int32(utf8.RuneCountInString(before)+extra), Offset: r.Start.Offset + int32(len(before)+extra)}
			if p.Column > r.End.Column {
				return r.End
			}
			return p
		}
		return diag.Range{File: r.File, Start: pos(start), End: pos(end)}
	}
}

// escaped are the characters that double quotes hold as two: a backslash and a sign.
const escaped = "\"\\\n\t\r\b\f"

func countAny(text, chars string) int {
	n := 0
	for i := range len(text) {
		if strings.IndexByte(chars, text[i]) >= 0 {
			n++
		}
	}
	return n
}

// quoting says how many columns stand before the text, and which characters take two of them.
func quoting(text string, width int) (indent int, doubled string) {
	switch extra := width - utf8.RuneCountInString(text); {
	case extra <= 0:
		return 0, ""
	case extra == 2+strings.Count(text, "'") && extra > 2:
		return 1, "'"
	case extra == 2+countAny(text, escaped) && extra > 2:
		return 1, escaped
	}
	return 1, ""
}

// atBlock maps the lines of a block scalar, which all begin after the same indentation, one below the other. Lines without
// text may lack theirs.
func atBlock(text string, r diag.Range) Mapper {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	indent := int(r.End.Column) - 1 - utf8.RuneCountInString(lines[len(lines)-1])
	indented := make([]int, len(lines)+1) // how many of the lines before have an indentation
	for i, line := range lines {
		indented[i+1] = indented[i]
		if line != "" {
			indented[i+1]++
		}
	}
	// What is left of the scalar's bytes is | or >- and the end of its line.
	left := int(r.End.Offset-r.Start.Offset) - len(strings.TrimRight(text, "\n"))
	header := left - indented[len(lines)]*indent
	if header > 3 {
		for i := range indented {
			indented[i] = i
		}
		header = left - len(lines)*indent
	}
	if len(lines) != int(r.End.Line-r.Start.Line) || indent < 1 || header < 2 || header > 3 {
		return atFolded(text, r)
	}
	pos := func(offset int) diag.Pos {
		before := text[:min(max(offset, 0), len(text))]
		n := strings.Count(before, "\n")
		if n >= len(lines) {
			return r.End
		}
		line := before[strings.LastIndexByte(before, '\n')+1:]
		p := diag.Pos{Line: r.Start.Line + int32(1+n), Column: int32(1 + indent + utf8.RuneCountInString(line)), Offset: r.Start.Offset + int32(header+len(before)+indented[n+1]*indent)}
		if lines[n] == "" && indented[n+1] == indented[n] {
			p.Column = 1
		}
		return p
	}
	return func(start, end int) diag.Range {
		return diag.Range{File: r.File, Start: pos(start), End: pos(end)}
	}
}

// atFolded marks places in a text whose lines were joined: which of its spaces were ends of lines, the source alone says (diag.Range.Within).
func atFolded(text string, r diag.Range) Mapper {
	signs := make([]int32, len(text)+1) // how many bytes before are no white space
	for i := range len(text) {
		signs[i+1] = signs[i]
		if !diag.IsBlank(text[i]) {
			signs[i+1]++
		}
	}
	return func(start, end int) diag.Range {
		from, to := min(max(start, 0), len(text)), min(max(end, 0), len(text))
		return r.Within(signs[from], max(signs[from], signs[to]))
	}
}
