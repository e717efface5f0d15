package diag

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// snippetWidth is how many runes of a source line are shown.
const snippetWidth = 120

// Printer writes diagnostics for people: the one-line form, the source line with what to underline, other places, and
// the hint. Secrets in source lines are printed as [redacted]: what is printed ends in logs (see SecretName).
type Printer struct {
	Sources func(file string) ([]byte, error) // reads a file named by a Range; nil or an error: no source lines
	Color   bool                              // ANSI colours
	Notes   bool                              // print notes too
}

// The ANSI sequences of Printer.Color.
const (
	ansiReset  = "\x1b[0m"
	ansiBold   = "\x1b[1m"
	ansiDim    = "\x1b[2m"
	ansiRed    = "\x1b[1;31m"
	ansiYellow = "\x1b[1;33m"
	ansiBlue   = "\x1b[1;34m"
)

// Print writes l in its order. The only errors are those of w.
func (p Printer) Print(w io.Writer, l List) error {
	var b bytes.Buffer
	p.Each(l, func(_ int, text []byte) { b.Write(text) })
	_, err := w.Write(b.Bytes())
	return err
}

// Each hands out what Print would write, a diagnostic at a time with its index in l. The bytes are only good until do returns.
func (p Printer) Each(l List, do func(i int, text []byte)) {
	var b bytes.Buffer
	files := map[string]*lines{}
	for i, d := range l {
		if d.Severity == Note && !p.Notes {
			continue
		}
		b.Reset()
		p.headline(&b, d)
		p.snippet(&b, d, files)
		for _, r := range d.Related {
			place := r.Subject.String()
			if place != "" && r.Summary != "" {
				place += ": "
			}
			fmt.Fprintf(&b, "  see %s\n", Visible(place+r.Summary))
		}
		if d.Hint != "" {
			fmt.Fprintf(&b, "  %s %s\n", p.paint(ansiBold, "hint:"), Visible(d.Hint))
		}
		do(i, b.Bytes())
	}
}

func (p Printer) headline(b *bytes.Buffer, d Diagnostic) {
	if !p.Color {
		b.WriteString(Visible(d.String()))
		b.WriteByte('\n')
		return
	}
	if place := d.Subject.String(); place != "" {
		fmt.Fprintf(b, "%s ", p.paint(ansiBold, Visible(place)+":"))
	}
	fmt.Fprintf(b, "%s %s %s\n", p.paint(colorOf(d.Severity), d.Severity.String()+":"), Visible(d.Summary),
		p.paint(ansiDim, "["+string(d.Code)+"]"))
}

func colorOf(s Severity) string {
	switch s {
	case Error:
		return ansiRed
	case Warning:
		return ansiYellow
	}
	return ansiBlue
}

func (p Printer) paint(color, s string) string {
	if !p.Color {
		return s
	}
	return color + s + ansiReset
}

// snippet writes the first line of the subject and the carets below it.
func (p Printer) snippet(b *bytes.Buffer, d Diagnostic, files map[string]*lines) {
	r := d.Subject
	if p.Sources == nil || r.File == "" || r.Start.IsZero() {
		return
	}
	src, ok := files[r.File]
	if !ok {
		b, err := p.Sources(r.File)
		if err != nil {
			b = nil
		}
		src = &lines{src: bytes.TrimPrefix(b, []byte("\uFEFF")), line: 1}
		files[r.File] = src
	}
	line, ok := src.text(int(r.Start.Line))
	if !ok {
		return
	}
	from := min(max(int(r.Start.Column)-1, 0), src.width)
	to := src.width
	if r.End.Line == r.Start.Line {
		to = min(int(r.End.Column)-1, src.width)
	}
	line, spans, from, to := src.cut(line, from, to)
	line, from, to = redact(line, spans, from, to)
	runes := printable(line)
	runes, from, to = window(runes, from, max(to, from+1))

	number := fmt.Sprint(r.Start.Line)
	pad := make([]rune, from)
	for i := range pad {
		pad[i] = ' '
		if runes[i] == '\t' {
			pad[i] = '\t'
		}
	}
	fmt.Fprintf(b, "  %s %s\n", p.paint(ansiDim, number+" |"), strings.TrimRight(string(runes), " \t"))
	fmt.Fprintf(b, "  %s %s%s\n", p.paint(ansiDim, strings.Repeat(" ", len(number))+" |"), string(pad),
		p.paint(colorOf(d.Severity), strings.Repeat("^", to-from)))
}

// lines finds the lines of one file. Diagnostics come in the order of the file, so each search goes on where the last
// one ended: a file with a mistake on every line is walked through once.
type lines struct {
	src    []byte // without a byte order mark
	line   int    // 1-based
	offset int    // of line

	// of the line that was looked at last
	known      bool
	begins     int // its offset
	ends       int
	spans      []stretch // its secrets
	width      int       // in runes
	column, at int       // a rune of it, counted from 0, and its first byte
}

// look finds out about the line src[begins:ends], unless that is known.
func (l *lines) look(begins, ends int) {
	if l.known && l.begins == begins && l.ends == ends {
		return
	}
	l.known, l.begins, l.ends, l.column, l.at = true, begins, ends, 0, 0
	l.spans, l.width = secretSpans(l.src, begins, ends), utf8.RuneCount(l.src[begins:ends])
}

// byteOf is the first byte of a rune of the line that was looked at. Diagnostics of a line come in the order of their columns.
func (l *lines) byteOf(column int) int {
	line := l.src[l.begins:l.ends]
	if len(line) == l.width {
		return column
	}
	if column < l.column {
		l.column, l.at = 0, 0
	}
	for l.column < column {
		_, n := utf8.DecodeRune(line[l.at:])
		l.column, l.at = l.column+1, l.at+n
	}
	return l.at
}

// secretIn reports whether any byte from one offset to another on the same line belongs to a secret.
func (l *lines) secretIn(from, to int) bool {
	if from < 0 || from > len(l.src) {
		return false
	}
	if !l.known || from < l.begins || from > l.ends {
		begins, ends := bytes.LastIndexByte(l.src[:from], '\n')+1, len(l.src)
		if i := bytes.IndexByte(l.src[from:], '\n'); i >= 0 {
			ends = from + i
		}
		l.look(begins, ends)
	}
	i, _ := slices.BinarySearchFunc(l.spans, from-l.begins, func(s stretch, at int) int { return cmp.Compare(s.to, at+1) })
	return i < len(l.spans) && l.spans[i].from < to-l.begins
}

// enough is how many bytes of a long line are kept on either side of what is shown of it, hidden ones not counted.
const enough = 1 << 10

// cut takes away what of a long line is far from the runes between from and to, which move along, and says what of the rest is
// secret.
func (l *lines) cut(line []byte, from, to int) ([]byte, []stretch, int, int) {
	if len(line) <= 2*enough {
		return line, l.spans, from, to
	}
	at := l.byteOf(from)
	first, _ := slices.BinarySearchFunc(l.spans, at, func(s stretch, at int) int { return cmp.Compare(s.to, at+1) }) // ends behind at
	lo, need := at, enough
	i := first
	if i < len(l.spans) && l.spans[i].from < at {
		lo = l.spans[i].from
	}
	for ; i > 0 && lo-l.spans[i-1].to < need; i-- {
		need -= lo - l.spans[i-1].to + len(Redacted)
		lo = l.spans[i-1].from
	}
	if lo = max(0, lo-max(need, 0)); i > 0 {
		lo = max(lo, l.spans[i-1].to)
	}
	hi, need := at, enough
	j := first
	for ; j < len(l.spans) && l.spans[j].from-hi < need; j++ {
		need -= max(0, l.spans[j].from-hi) + len(Redacted)
		hi = l.spans[j].to
	}
	if hi = min(len(line), hi+max(need, 0)); j < len(l.spans) {
		hi = min(hi, l.spans[j].from)
	}
	for lo > 0 && !utf8.RuneStart(line[lo]) {
		lo--
	}
	for hi < len(line) && !utf8.RuneStart(line[hi]) {
		hi++
	}
	spans := make([]stretch, 0, j-i)
	for _, s := range l.spans[i:j] {
		spans = append(spans, stretch{s.from - lo, s.to - lo})
	}
	before, width := from-utf8.RuneCount(line[lo:at]), utf8.RuneCount(line[lo:hi])
	return line[lo:hi], spans, from - before, min(to-before, width)
}

// text is a 1-based line, without its end.
func (l *lines) text(line int) ([]byte, bool) {
	if len(l.src) == 0 {
		return nil, false
	}
	if line < l.line {
		l.line, l.offset = 1, 0
	}
	for l.line < line {
		i := bytes.IndexByte(l.src[l.offset:], '\n')
		if i < 0 {
			return nil, false
		}
		l.line, l.offset = l.line+1, l.offset+i+1
	}
	text := l.src[l.offset:]
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	text = bytes.TrimSuffix(text, []byte{'\r'})
	l.look(l.offset, l.offset+len(text))
	return text, true
}

// printable is the line with one visible rune for each of its own.
func printable(line []byte) []rune {
	runes := make([]rune, 0, utf8.RuneCount(line))
	for _, r := range Disarmed(string(line)) {
		if r != '\t' {
			r = shown(r)
		}
		runes = append(runes, r)
	}
	return runes
}

// window cuts a long line around what is underlined, from inclusive to to exclusive.
func window(runes []rune, from, to int) ([]rune, int, int) {
	if len(runes) <= snippetWidth {
		return runes, from, max(min(to, len(runes)), from+1)
	}
	const before = snippetWidth / 3 // of the line stays to the left of the subject
	lo := min(max(from-before, 0), len(runes)-snippetWidth)
	hi := lo + snippetWidth
	cut := append([]rune(nil), runes[lo:hi]...)
	from, to = from-lo, min(to-lo, snippetWidth)
	if lo > 0 {
		cut[0] = '…'
	}
	if hi < len(runes) {
		cut[snippetWidth-1] = '…'
		to = min(to, snippetWidth-1)
	}
	return cut, from, max(to, from+1)
}
