package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// tap is the Test Anything Protocol, version 13: a test for each file that is right and for each diagnostic. What does not fail
// the check is marked TODO, as TAP calls a failure that is none yet. Source: https://testanything.org/tap-version-13-specification.html
func tap(w io.Writer, r Report) error {
	files := r.byFile()
	n := 0
	for _, f := range files {
		n += max(len(f.entries), 1)
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "TAP version 13\n1..%d\n", n)
	n = 0
	for _, f := range files {
		if len(f.entries) == 0 {
			n++
			fmt.Fprintf(b, "ok %d - %s\n", n, tapText(f.file))
		}
		for _, e := range f.entries {
			n++
			switch {
			case e.found != nil:
				directive := ""
				if !r.fails(*e.found) {
					directive = " # TODO " + e.found.Severity.String()
				}
				fmt.Fprintf(b, "not ok %d - %s%s\n", n, tapText(e.found.String()), directive)
				tapBlock(b, *e.found)
			case e.suppressed != nil:
				fmt.Fprintf(b, "ok %d - %s # SKIP %s\n", n, tapText(e.suppressed.Diagnostic.String()), tapText(suppressedText(*e.suppressed)))
			default:
				fmt.Fprintf(b, "not ok %d - %s\n", n, tapText(unreadText(f.file, e.unread)))
			}
		}
	}
	return b.Flush()
}

// tapBlock is the YAML of a diagnostic.
func tapBlock(b *bufio.Writer, d diag.Diagnostic) {
	fmt.Fprintf(b, "  ---\n  message: %s\n  severity: %s\n  code: %s\n", yamlText(d.Summary), d.Severity, yamlText(string(d.Code)))
	if d.Hint != "" {
		fmt.Fprintf(b, "  hint: %s\n", yamlText(d.Hint))
	}
	fmt.Fprintf(b, "  at:\n    file: %s\n", yamlText(d.Subject.File))
	if !d.Subject.Start.IsZero() {
		fmt.Fprintf(b, "    line: %d\n    column: %d\n", d.Subject.Start.Line, d.Subject.Start.Column)
	}
	if len(d.Related) > 0 {
		fmt.Fprint(b, "  see:\n")
		for _, o := range d.Related {
			fmt.Fprintf(b, "    - %s\n", yamlText(strings.Trim(o.Subject.String()+": "+o.Summary, ": ")))
		}
	}
	fmt.Fprint(b, "  ...\n")
}

// tapText is a text within a test's line: a # would begin a directive.
func tapText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "#", `\#`).Replace(strings.Map(func(r rune) rune {
		if hidden(r) {
			return utf8.RuneError
		}
		return r
	}, oneLine(s)))
}

// yamlText is a quoted scalar of YAML, on one line.
func yamlText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case hidden(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// hidden reports whether a rune is a control character, or one of those that YAML takes for a line break or cannot hold.
func hidden(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff' || r == '\ufffe' || r == '\uffff'
}
