package syntax

import (
	"bytes"
	"sort"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

const bom = "\uFEFF"

// index knows where the lines of one file begin. It is immutable once made, so goroutines may share it.
type index struct {
	name  string
	src   []byte
	start int   // where the text begins: 3 after a byte order mark, which is no column
	lines []int // offsets of the first byte of every line; a line ends with LF
	ascii bool  // the text (byte order mark aside) is ASCII, so that columns are bytes
	odd   bool  // some line break that only YAML takes for one: a lone CR, NEL, LS, PS
	print bool  // there is nothing but printable ASCII and LF
}

func newIndex(name string, src []byte) *index {
	x := &index{name: name, src: src, ascii: true, print: true, lines: make([]int, 1, bytes.Count(src, []byte{'\n'})+1)}
	if bytes.HasPrefix(src, []byte(bom)) {
		x.start, x.print = len(bom), false
	}
	for i := x.start; i < len(src); i++ {
		switch c := src[i]; {
		case c == '\n':
			x.lines = append(x.lines, i+1)
		case c >= ' ' && c < 0x7f:
		case c >= utf8.RuneSelf:
			x.ascii, x.print = false, false
			x.odd = x.odd || breakLen(src[i:]) > 0
		case c == '\r':
			x.print = false
			x.odd = x.odd || i+1 == len(src) || src[i+1] != '\n'
		default:
			x.print = false
		}
	}
	return x
}

// breakLen is the length of the YAML 1.1 line break that b begins with, or 0.
// https://yaml.org/spec/1.1/#id871136
func breakLen(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == '\n':
		return 1
	case b[0] == '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	case len(b) > 1 && b[0] == 0xC2 && b[1] == 0x85:
		return 2
	case len(b) > 2 && b[0] == 0xE2 && b[1] == 0x80 && (b[2] == 0xA8 || b[2] == 0xA9):
		return 3
	}
	return 0
}

// cursor turns offsets of one file into places. It remembers the last place, so that going through a file forwards
// costs one pass even when the file is a single long line. A cursor belongs to one goroutine.
type cursor struct {
	*index
	line, off, col int // col runes stand between the beginning of the line and off
}

func newCursor(x *index) *cursor { return &cursor{index: x, off: x.start} }

// lineStart is the offset of the first column of a 0-based line.
func (c *cursor) lineStart(line int) int {
	if line == 0 {
		return c.start
	}
	return c.lines[line]
}

func (c *cursor) lineAt(off int) int {
	l := c.line
	if c.lines[l] <= off {
		for range 3 {
			if l+1 == len(c.lines) || off < c.lines[l+1] {
				return l
			}
			l++
		}
	}
	return sort.SearchInts(c.lines, off+1) - 1
}

// pos is the place of an offset, which is first brought into the file.
func (c *cursor) pos(off int) diag.Pos {
	off = min(max(off, 0), len(c.src))
	line := c.lineAt(off)
	start := c.lineStart(line)
	if c.ascii {
		c.line = line
		return diag.Pos{Line: int32(line + 1), Column: int32(max(off-start, 0) + 1), Offset: int32(off)}
	}
	if line != c.line || off < c.off {
		c.line, c.off, c.col = line, start, 0
	}
	if off > c.off {
		c.col += utf8.RuneCount(c.src[c.off:off])
		c.off = off
	}
	return diag.Pos{Line: int32(line + 1), Column: int32(c.col + 1), Offset: int32(off)}
}

func (c *cursor) span(from, to int) diag.Range {
	return diag.Range{File: c.name, Start: c.pos(from), End: c.pos(max(from, to))}
}

// at is the range of the one rune at off; it is empty at the end of the file and of a line.
func (c *cursor) at(off int) diag.Range {
	off = min(max(off, 0), len(c.src))
	if off == len(c.src) || c.src[off] == '\n' || c.src[off] == '\r' {
		return c.span(off, off)
	}
	_, n := utf8.DecodeRune(c.src[off:])
	return c.span(off, off+n)
}

// restOfLine is where the text of the line that holds off ends, blanks at its end left out.
func (x *index) restOfLine(off int) int {
	end := len(x.src)
	if i := bytes.IndexByte(x.src[off:], '\n'); i >= 0 {
		end = off + i
	}
	for end > off && isBlank(x.src[end-1]) {
		end--
	}
	return end
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
