// Package docs carries the pages that commands print.
//
// It decides nothing: what a code means is written in the page, what can be reported is known to the code.
package docs

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"
)

// pages are the diagnostics', diagnostics/<area>/<slug>.md. Each starts with a title that is the code.
//
//go:embed diagnostics
var pages embed.FS

// DiffSchema is the JSON Schema of `flexgw diff --output json`.
//
//go:embed schemas/diff.schema.json
var DiffSchema []byte

// ValidateSchema is the JSON Schema of `flexgw validate --output json`.
//
//go:embed schemas/validate.schema.json
var ValidateSchema []byte

// Diagnostic is the page about a code, as a terminal shows it: what it means, why it is reported and what to do. The
// codes of a policy are explained on the policy's own page.
func Diagnostic(code string) (text string, ok bool) {
	body := Markdown(code)
	return Terminal(body), body != ""
}

// Markdown is the page about a code as it is written, without its title; "" if there is none.
func Markdown(code string) string {
	page, err := pages.ReadFile("diagnostics/" + code + ".md")
	if err != nil || !strings.Contains(code, "/") {
		return ""
	}
	_, body, _ := strings.Cut(string(page), "\n")
	return strings.TrimSpace(body)
}

// Codes are all codes that have a page, sorted.
func Codes() []string {
	names, err := fs.Glob(pages, "diagnostics/*/*.md")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(strings.TrimPrefix(name, "diagnostics/"), ".md")
	}
	slices.Sort(names)
	return names
}

// width is how wide prose is on a terminal.
const width = 96

// Terminal is Markdown as a terminal shows it: it leaves out what only a browser understands: paragraphs are wrapped, fenced blocks are indented, without their marks.
func Terminal(markdown string) string {
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
