package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// github writes workflow commands: GitHub Actions turns each into an annotation of the file.
// Source: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
func github(w io.Writer, r Report) error {
	b := bufio.NewWriter(w)
	for _, d := range r.Diagnostics {
		d = r.named(d)
		fmt.Fprintf(b, "::%s file=%s", githubCommand(d.Severity), githubProperty(d.Subject.File))
		if !d.Subject.Start.IsZero() {
			first, last := lines(d.Subject)
			fmt.Fprintf(b, ",line=%d,endLine=%d", first, last)
			if last == first && int(d.Subject.End.Line) == first { // GitHub takes columns on one line only
				fmt.Fprintf(b, ",col=%d,endColumn=%d", d.Subject.Start.Column, d.Subject.End.Column)
			}
		}
		// The log shows the message alone, so the place is part of it.
		text := strings.Join(append([]string{d.Subject.String() + ": " + d.Summary}, details(d)...), "\n")
		fmt.Fprintf(b, ",title=%s::%s\n", githubProperty(string(d.Code)), githubData(text))
	}
	for _, u := range r.Unread {
		file := r.unreadFile(u)
		fmt.Fprintf(b, "::error file=%s,title=unread::%s\n", githubProperty(file), githubData(unreadText(file, u.Reason)))
	}
	return b.Flush()
}

func githubCommand(s diag.Severity) string {
	if s == diag.Note {
		return "notice"
	}
	return s.String()
}

// githubData escapes a message, githubProperty also what separates properties: anything else could end the command and begin
// another one; nor shall it be one of Azure Pipelines, which also shows what this format prints. Source: actions/toolkit, packages/core/src/command.ts.
func githubData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(diag.Disarmed(strings.ToValidUTF8(s, "\uFFFD")))
}

func githubProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(githubData(s))
}
