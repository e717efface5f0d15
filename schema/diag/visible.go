package diag

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
)

// Visible is a text on one line, with a dot for what a terminal would hide or obey, and for what a CI system takes for a command
// wherever it stands in a line. Names of files and values are whatever the disk allows: one with a line break must not begin a
// line of its own. Runes are replaced one by one.
func Visible(s string) string {
	return strings.Map(shown, atFirst.ReplaceAllString(Disarmed(s), "$1·$2"))
}

// Azure Pipelines obeys a command wherever it stands in a line of a log, GitHub Actions at its beginning.
// Sources: https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands and
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
var (
	anywhere = regexp.MustCompile(`(?i)#(#(?:vso)?\[)`)
	atFirst  = regexp.MustCompile(`^([ \t]*):(:)`)
)

// Disarmed is text with a dot in each command of Azure Pipelines.
func Disarmed(s string) string {
	if !strings.Contains(s, "##") {
		return s
	}
	return anywhere.ReplaceAllString(s, "·$1")
}

// shown is a rune, or a dot.
func shown(r rune) rune {
	if r != ' ' && !unicode.IsPrint(r) {
		return '·'
	}
	return r
}

// OneLine folds every run of blanks, line breaks and control characters into one blank.
func OneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

// RedactLine is the line src[from:to] of a file as it may be shown: with [redacted] for its secrets. A very long line that has
// any is left out whole.
func RedactLine(src []byte, from, to int) []byte {
	if to-from > 2*around {
		if Secret(src[from:to]) {
			return []byte(Redacted)
		}
		return bytes.Clone(src[from:to])
	}
	line := bytes.TrimSuffix(src[from:to], []byte{'\r'})
	end := from + len(line)
	out, _, _ := redact(line, secretSpans(src, from, end), 0, 0)
	return append(bytes.Clone(out), src[end:to]...)
}
