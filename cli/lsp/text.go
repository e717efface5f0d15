package lsp

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/flexgw/flexgw/schema/diag"
)

// encoding says in what an editor counts the characters of a line.
type encoding string

const (
	utf8Encoding  encoding = "utf-8"
	utf16Encoding encoding = "utf-16"
)

// text is the text of a file, with its lines. It is never changed.
type text struct {
	b     []byte
	lines []int // where they begin: after \n, \r\n or \r
}

func newText(b []byte) *text {
	t := &text{b: b, lines: []int{0}}
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\r':
			if i+1 < len(b) && b[i+1] == '\n' {
				i++
			}
			t.lines = append(t.lines, i+1)
		case '\n':
			t.lines = append(t.lines, i+1)
		}
	}
	return t
}

// line is a line without its end.
func (t *text) line(i int) []byte {
	end := len(t.b)
	if i+1 < len(t.lines) {
		end = t.lines[i+1]
	}
	b := t.b[t.lines[i]:end]
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// offset is a position as an offset in bytes. What is behind the end of a line or of the text is its end.
func (t *text) offset(p Position, enc encoding) int {
	if int64(p.Line) >= int64(len(t.lines)) {
		return len(t.b)
	}
	line, start := t.line(int(p.Line)), t.lines[p.Line]
	if enc == utf8Encoding {
		at := int(min(int64(p.Character), int64(len(line))))
		for at > 0 && at < len(line) && !utf8.RuneStart(line[at]) {
			at--
		}
		return start + at
	}
	at := 0
	for left := int64(p.Character); left > 0 && at < len(line); {
		r, n := utf8.DecodeRune(line[at:])
		if left -= int64(units(r)); left < 0 {
			break // within a pair
		}
		at += n
	}
	return start + at
}

// units is how many UTF-16 code units a rune has.
func units(r rune) int {
	if r >= 0x10000 {
		return 2
	}
	return 1
}

// position is an offset in bytes as an editor counts.
func (t *text) position(offset int, enc encoding) Position {
	offset = max(0, min(offset, len(t.b)))
	i := sort.SearchInts(t.lines, offset+1) - 1
	line := t.line(i)
	within := min(offset-t.lines[i], len(line))
	if enc == utf8Encoding {
		return Position{uint32(i), uint32(within)}
	}
	n := 0
	for at := 0; at < within; {
		r, size := utf8.DecodeRune(line[at:])
		if at += size; at <= within { // else it is within a letter
			n += units(r)
		}
	}
	return Position{uint32(i), uint32(n)}
}

// rangeOf is a range of a diagnostic as an editor counts.
func (t *text) rangeOf(r diag.Range, enc encoding) Range {
	if r.Start.IsZero() {
		return Range{}
	}
	start := int(r.Start.Offset)
	end := max(start, int(r.End.Offset))
	return Range{t.position(start, enc), t.position(end, enc)}
}

// replaced is the text with another one between two offsets.
func (t *text) replaced(from, to int, with string) *text {
	to = max(from, to)
	return newText(slices.Concat(t.b[:from], []byte(with), t.b[to:]))
}

// edits turn a text into another, line by line, so that an editor keeps cursors, folds and marks in what stays.
func edits(before *text, after []byte, enc encoding) []TextEdit {
	out := []TextEdit{}
	if string(before.b) == string(after) {
		return out
	}
	was, now := splitLines(before.b), splitLines(after)
	at, starts := 0, []int{0} // line of was, and where those begin
	for _, l := range was {
		starts = append(starts, starts[len(starts)-1]+len(l))
	}
	put := func(from, to int, with []string) {
		r := Range{before.position(starts[from], enc), before.position(starts[to], enc)}
		out = append(out, TextEdit{Range: r, NewText: strings.Join(with, "")})
	}
	for _, h := range hunks(before.b, after) {
		at = h.was
		next := h.now
		for i := 0; i < len(h.ops); {
			if h.ops[i] == ' ' {
				at, next, i = at+1, next+1, i+1
				continue
			}
			from, first := at, next
			for ; i < len(h.ops) && h.ops[i] != ' '; i++ {
				if h.ops[i] == '-' {
					at++
				} else {
					next++
				}
			}
			put(from, at, now[first:next])
		}
	}
	return out
}

func splitLines(b []byte) []string {
	lines := strings.SplitAfter(string(b), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// hunk is a run of lines that differ, with some that do not: their numbers from 0, and of each what becomes of it.
type hunk struct {
	was, now int
	ops      []byte // ' ', '-', '+'
}

// hunks are those of a unified diff.
func hunks(before, after []byte) []hunk {
	var out []hunk
	for _, line := range strings.Split(string(diff.Diff("a", before, "b", after)), "\n") {
		switch {
		case strings.HasPrefix(line, "@@ -"):
			was, rest, _ := strings.Cut(line[len("@@ -"):], " +")
			now, _, _ := strings.Cut(rest, " @@")
			out = append(out, hunk{was: firstLine(was), now: firstLine(now)})
		case len(out) > 0 && line != "" && strings.IndexByte(" -+", line[0]) >= 0:
			h := &out[len(out)-1]
			h.ops = append(h.ops, line[0])
		}
	}
	return out
}

// firstLine is the number in a hunk's head from 0 on: of no lines, it is that of the line before them.
func firstLine(s string) int {
	number, count, several := strings.Cut(s, ",")
	n, _ := strconv.Atoi(number)
	if several && count == "0" {
		return n
	}
	return n - 1
}
