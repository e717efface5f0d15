// Package docs carries the pages that commands print.
package docs

import (
	_ "embed"
	"strings"
)

//go:embed diagnostics.md
var diagnostics string

// Diagnostic is the section about a code: what it means, why it is reported and what to do.
func Diagnostic(code string) (text string, ok bool) {
	for section := range strings.SplitSeq(diagnostics, "\n## ") {
		head, body, _ := strings.Cut(section, "\n")
		if strings.Trim(head, "` ") == code {
			return strings.TrimSpace(body), true
		}
	}
	return "", false
}

// Codes are all codes that have a section, in the order of the page.
func Codes() []string {
	var codes []string
	for i, section := range strings.Split(diagnostics, "\n## ") {
		if head, _, _ := strings.Cut(section, "\n"); i > 0 {
			codes = append(codes, strings.Trim(head, "` "))
		}
	}
	return codes
}
