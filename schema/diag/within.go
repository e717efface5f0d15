package diag

import (
	"bytes"
	"slices"
	"strings"
)

// A value that is written on several lines is read as one text: how its lines were joined is forgotten. So a place in such a text is marked
// by what joining lines does not change, and found when the source is at hand.

// Within marks a place in the text of a value on several lines, of which r is the range: behind how many bytes that are no white space
// it begins and ends. Until Found, all that is known of it is where the value stands.
func (r Range) Within(from, to int32) Range {
	r.End.Line, r.End.Column = -from-1, -to-1
	return r
}

// IsBlank reports whether joining lines may change a byte: white space.
func IsBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

// Found is the place that Within marked, in the source of its file. Of a value that has escapes it is all of the value.
func (r Range) Found(src []byte) Range {
	if r.End.Line >= 0 {
		return r
	}
	from, to := int(-r.End.Line-1), int(-r.End.Column-1)
	start, end := int(r.Start.Offset), int(r.End.Offset)
	whole := Range{File: r.File, Start: r.Start, End: r.Start}
	if start >= end || end > len(src) {
		return whole // the source has changed since
	}
	whole.End = after(r.Start, src[start:end])
	text, ok := beginOfText(src[:end], start, strings.HasSuffix(r.File, ".cue"))
	if !ok {
		return whole
	}
	first, last, n := -1, -1, 0
	for i := text; i < end && last < 0; i++ {
		if IsBlank(src[i]) {
			continue
		}
		if n == from && first < 0 {
			first = i
		}
		if n++; n >= to && first >= 0 {
			last = i + 1
		}
	}
	switch {
	case first < 0:
		return whole // its end, perhaps
	case last < 0 || to == from:
		last = first
	}
	begin := after(r.Start, src[start:first])
	return Range{File: r.File, Start: begin, End: after(begin, src[first:last])}
}

// beginOfText is where the text of a value begins, behind its header or quotes; false: not all of it is written as it is read.
func beginOfText(src []byte, start int, cue bool) (int, bool) {
	value := src[start:]
	var quote []byte
	switch {
	case cue:
		quote = []byte(`"""`)
		if n := len(value) - len(bytes.TrimLeft(value, "#")); n > 0 {
			quote = append(bytes.Repeat([]byte("#"), n), quote...)
		}
		if !bytes.HasPrefix(value, quote) {
			return 0, false // something that is computed
		}
	case value[0] == '|' || value[0] == '>':
		header := bytes.IndexByte(value, '\n')
		return start + max(header, 0), header >= 0
	case value[0] == '"' || value[0] == '\'':
		quote = value[:1]
	}
	inner := value[len(quote):]
	if len(quote) > 0 && (bytes.IndexByte(inner, '\\') >= 0 || quote[0] == '\'' && bytes.Contains(inner, []byte("''"))) {
		return 0, false
	}
	return start + len(quote), true
}

// after is the place behind a text that begins at p.
func after(p Pos, text []byte) Pos {
	for _, b := range text {
		p.Offset++
		switch {
		case b == '\n':
			p.Line, p.Column = p.Line+1, 1
		case b&0xC0 != 0x80: // no more of the same rune
			p.Column++
		}
	}
	return p
}

// Found finds all places that are marked within values on several lines. What cannot be read is left at the beginning of its value.
func (l List) Found(source func(file string) ([]byte, error)) List {
	find := func(r *Range) {
		if r.End.Line >= 0 {
			return
		}
		src, err := source(r.File)
		if err != nil {
			src = nil
		}
		*r = r.Found(src)
	}
	for i := range l {
		d := &l[i]
		find(&d.Subject)
		for j := range d.Related {
			if d.Related[j].Subject.End.Line < 0 {
				d.Related = slices.Clone(d.Related)
				find(&d.Related[j].Subject)
			}
		}
		for j := range d.Edits {
			if d.Edits[j].At.End.Line < 0 {
				d.Edits = slices.Clone(d.Edits)
				find(&d.Edits[j].At)
			}
		}
	}
	return l
}
