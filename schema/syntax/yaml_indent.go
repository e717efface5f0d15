package syntax

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
)

// misaligned says which of two keys of one mapping begins in the wrong column, when the library stopped at the second: the first
// one may be it. It is false when it is not clear that two columns of one mapping are what it stopped at.
func (c *yamlConv) misaligned(d *diag.Diagnostic, at int) bool {
	here := c.lineBegin(at)
	indent, ok := c.keyColumn(here)
	if !ok || here <= c.part.from {
		return false
	}
	line := c.lineAbove(here)
	if line < 0 || c.blanks(line) == indent {
		return false
	}
	deeper := c.blanks(line) > indent // the mapping above; what is below its keys stands deeper still
	column := c.blanks(line)
	var siblings []int // the lines of its keys, the last one first
	for ; line >= 0; line = c.lineAbove(line) {
		blanks := c.blanks(line)
		if deeper && blanks <= indent || !deeper && blanks < column {
			break
		}
		if blanks < column {
			column, siblings = blanks, nil
		}
		if blanks == column {
			siblings = append(siblings, line)
		}
	}
	if line < 0 {
		return false
	}
	parent := c.blanks(line) + c.dashes(line)
	if parent >= min(indent, column) || slices.ContainsFunc(siblings, func(l int) bool { return c.dashes(l) > 0 }) {
		return false
	}
	first := siblings[len(siblings)-1]
	if _, ok := c.keyColumn(first); !ok {
		return false
	}
	step := c.step()
	after := c.siblingsFrom(here, indent)
	above := column-parent != step && indent-parent == step
	if (column-parent == step) == (indent-parent == step) {
		above = after >= len(siblings)
	}
	if !above && deeper {
		return false // it may belong to the mapping further out just as well
	}
	wrong, right := here, first
	wrongColumn, rightColumn := indent, column
	if above {
		wrong, right, wrongColumn, rightColumn = first, here, column, indent
	}
	place := c.pos(right + rightColumn)
	d.Subject = c.keyAt(wrong + wrongColumn)
	d.Summary = fmt.Sprintf("this key begins in column %d, but that of line %d, in the same mapping, in column %d", wrongColumn+1, place.Line, rightColumn+1)
	d.Hint = fmt.Sprintf("begin it in column %d: the keys of one mapping begin in one column", rightColumn+1)
	d.Related = []diag.Related{{Subject: c.keyAt(right + rightColumn), Summary: "the other key"}}
	return true
}

// keyAt is the range of the key that begins at off.
func (c *yamlConv) keyAt(off int) diag.Range {
	end := c.restOfLine(off)
	if i := bytes.IndexByte(c.src[off:end], ':'); i > 0 {
		end = off + i
	}
	return c.span(off, end)
}

// keyColumn is the indentation of a line that begins with a key; false: it does not.
func (c *yamlConv) keyColumn(line int) (int, bool) {
	n := c.blanks(line)
	text := c.src[line+n : c.restOfLineRaw(line)]
	i := bytes.IndexByte(text, ':')
	return n, i > 0 && bytes.IndexFunc(text[:i], func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	}) < 0 && text[0] != '-'
}

func (c *yamlConv) blanks(line int) int {
	n := 0
	for line+n < len(c.src) && c.src[line+n] == ' ' {
		n++
	}
	return n
}

// dashes is how wide the dashes and blanks are with which the text of a line begins.
func (c *yamlConv) dashes(line int) int {
	from := line + c.blanks(line)
	at := from
	for at+1 < len(c.src) && c.src[at] == '-' && c.src[at+1] == ' ' {
		for at++; at < len(c.src) && c.src[at] == ' '; {
			at++
		}
	}
	return at - from
}

// lineAbove is the beginning of the nearest line above that holds more than blanks and a comment, or -1.
func (c *yamlConv) lineAbove(line int) int {
	for line > c.part.from {
		line = max(bytes.LastIndexByte(c.src[:line-1], '\n')+1, c.part.from)
		if text := bytes.TrimSpace(c.src[line:c.restOfLineRaw(line)]); len(text) > 0 && text[0] != '#' {
			return line
		}
	}
	return -1
}

// siblingsFrom counts the lines of a mapping from one on that begin in its column.
func (c *yamlConv) siblingsFrom(line, column int) int {
	n := 0
	for line < c.part.to {
		end := c.restOfLineRaw(line)
		if text := bytes.TrimSpace(c.src[line:end]); len(text) > 0 && text[0] != '#' {
			switch blanks := c.blanks(line); {
			case blanks < column:
				return n
			case blanks == column:
				n++
			}
		}
		line = end + 1
	}
	return n
}

// step is by how much the part indents: that of its first line that is indented.
func (c *yamlConv) step() int {
	for line := c.part.from; line < c.part.to; line = c.restOfLineRaw(line) + 1 {
		if n := c.blanks(line); n > 0 && len(bytes.TrimSpace(c.src[line:c.restOfLineRaw(line)])) > 0 {
			return n
		}
	}
	return 2
}
