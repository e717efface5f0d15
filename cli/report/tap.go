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

// tapBlock is the YAML of a diagnostic, so plain that the small readers of TAP's own tools take it.
func tapBlock(b *bufio.Writer, d diag.Diagnostic) {
	fmt.Fprintf(b, "  ---\n  message: %s\n  severity: %s\n  code: %s\n", yamlText(d.Summary), d.Severity, yamlText(string(d.Code)))
	if d.Hint != "" {
		fmt.Fprintf(b, "  hint: %s\n", yamlText(d.Hint))
	}
	fmt.Fprint(b, "  at:\n")
	tapPlace(b, "    ", "    ", d.Subject)
	if len(d.Related) > 0 {
		fmt.Fprint(b, "  see:\n")
	}
	for _, o := range d.Related {
		tapPlace(b, "    - ", "      ", o.Subject)
		fmt.Fprintf(b, "      message: %s\n", yamlText(o.Summary))
	}
	fmt.Fprint(b, "  ...\n")
}

// tapPlace is a mapping; first comes before its first line.
func tapPlace(b *bufio.Writer, first, indent string, at diag.Range) {
	fmt.Fprintf(b, "%sfile: %s\n", first, yamlText(at.File))
	if !at.Start.IsZero() {
		fmt.Fprintf(b, "%sline: %d\n%scolumn: %d\n", indent, at.Start.Line, indent, at.Start.Column)
	}
}

// tapText is a text within a test's line: a # would begin a directive.
func tapText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "#", `\#`).Replace(printed(s))
}

// yamlText is a quoted scalar on one line.
func yamlText(s string) string { return "'" + strings.ReplaceAll(printed(s), "'", "''") + "'" }

// printed is a text on one line: what ends lines is a space, and control characters and what YAML cannot hold are U+FFFD.
func printed(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("\n\r\v\f\t\u0085\u2028\u2029", r):
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\ufeff' || r == '\ufffe' || r == '\uffff':
			return utf8.RuneError
		}
		return r
	}, diag.Disarmed(s))
}
