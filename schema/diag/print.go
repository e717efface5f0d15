package diag

import (
	"bytes"
	"fmt"
	"io"
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
	line, ok := src.at(int(r.Start.Line))
	if !ok {
		return
	}
	width := utf8.RuneCount(line)
	from := min(max(int(r.Start.Column)-1, 0), width)
	to := width
	if r.End.Line == r.Start.Line {
		to = min(int(r.End.Column)-1, width)
	}
	cut, from, to := src.cut(line, from, to)
	line, from, to = redact(cut.line, src.secrets(cut), from, to)
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

	spans            []stretch // the secrets of a part of a line
	spansOf, spansTo int       // that part
}

// part is what of a line may be shown: all of it, unless it is very long.
type part struct {
	line   []byte
	offset int // in the file
}

// cut takes away what of a long line is far from the runes between from and to, which move along.
func (l *lines) cut(line []byte, from, to int) (part, int, int) {
	if len(line) <= 2*around {
		return part{line, l.offset}, from, to
	}
	at := 0
	for range from {
		_, n := utf8.DecodeRune(line[at:])
		at += n
	}
	lo := max(0, at-around)
	for lo > 0 && !utf8.RuneStart(line[lo]) {
		lo--
	}
	hi := min(len(line), at+around)
	for hi < len(line) && !utf8.RuneStart(line[hi]) {
		hi++
	}
	before := utf8.RuneCount(line[:lo])
	width := utf8.RuneCount(line[lo:hi])
	return part{line[lo:hi], l.offset + lo}, from - before, min(to-before, width)
}

// secrets are those of a part of the line that at returned last.
func (l *lines) secrets(p part) []stretch {
	if l.spansOf != p.offset || l.spansTo != p.offset+len(p.line) {
		l.spansOf, l.spansTo = p.offset, p.offset+len(p.line)
		l.spans = secretSpans(l.src, l.spansOf, l.spansTo)
	}
	return l.spans
}

// at is a 1-based line, without its end.
func (l *lines) at(line int) ([]byte, bool) {
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
	return bytes.TrimSuffix(text, []byte{'\r'}), true
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
