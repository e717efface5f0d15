// Package docs carries the pages that commands print.
//
// It decides nothing: what a code means is written in the page, what can be reported is known to the code.
package docs

import (
	_ "embed"
	"strings"
	"unicode/utf8"
)

//go:embed diagnostics.md
var diagnostics string

// Diagnostic is the section about a code, as a terminal shows it: what it means, why it is reported and what to do. The
// codes of a policy are explained on the policy's own page.
func Diagnostic(code string) (text string, ok bool) {
	for _, s := range sections() {
		if s.code == code {
			return plain(s.body), true
		}
	}
	return "", false
}

// Codes are all codes that have a section, in the order of the page.
func Codes() []string {
	var codes []string
	for _, s := range sections() {
		codes = append(codes, s.code)
	}
	return codes
}

type section struct{ code, body string }

// sections are the page's, headed by a code each.
func sections() []section {
	var found []section
	for i, s := range strings.Split(diagnostics, "\n## ") {
		if head, body, _ := strings.Cut(s, "\n"); i > 0 {
			found = append(found, section{strings.Trim(head, "` "), strings.TrimSpace(body)})
		}
	}
	return found
}

// width is how wide prose is on a terminal.
const width = 96

// plain leaves out what only a browser understands: paragraphs are wrapped, fenced blocks are indented, without their marks.
func plain(markdown string) string {
	var b strings.Builder
	var paragraph []string
	flush := func() {
		column := 0
		for _, w := range words(strings.Join(paragraph, " ")) {
			n := utf8.RuneCountInString(w)
			switch {
			case column == 0:
			case column+1+n > width:
				b.WriteByte('\n')
				column = 0
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(w)
			column += n
		}
		if paragraph = nil; column > 0 {
			b.WriteByte('\n')
		}
	}
	fenced := false
	for line := range strings.Lines(markdown) {
		switch {
		case strings.HasPrefix(line, "```"):
			flush()
			fenced = !fenced
		case fenced && line != "\n":
			b.WriteString("    " + line)
		case fenced || line == "\n":
			flush()
			b.WriteByte('\n')
		default:
			paragraph = append(paragraph, strings.TrimSpace(line))
		}
	}
	flush()
	return strings.TrimSpace(b.String())
}

// words splits text at spaces, but not within `code`.
func words(text string) []string {
	var found []string
	code := false
	for w := range strings.FieldsSeq(text) {
		if code {
			found[len(found)-1] += " " + w
		} else {
			found = append(found, w)
		}
		if strings.Count(w, "`")%2 == 1 {
			code = !code
		}
	}
	return found
}
