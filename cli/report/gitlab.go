package report

import (
	"io"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// gitlabIssue is one entry of a Code Quality report. Source: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
type gitlabIssue struct {
	Type        string         `json:"type"`
	Description string         `json:"description"`
	CheckName   string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Categories  []string       `json:"categories"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
		End   int `json:"end"`
	} `json:"lines"`
}

// gitlab is the Code Quality report of GitLab, which compares the fingerprints of two branches and shows what is new.
func gitlab(w io.Writer, r Report) error {
	issues := []gitlabIssue{}
	add := func(d diag.Diagnostic, severity, fingerprint string) {
		d = r.named(d)
		issue := gitlabIssue{
			Type: "issue", Description: joined(strings.Join(append([]string{d.Summary}, details(d)...), "\n")), CheckName: string(d.Code),
			Fingerprint: fingerprint, Severity: severity, Categories: []string{"Bug Risk"}, Location: gitlabLocation{Path: d.Subject.File},
		}
		issue.Location.Lines.Begin, issue.Location.Lines.End = lines(d.Subject)
		issues = append(issues, issue)
	}
	prints := r.Diagnostics.Fingerprints(r.name)
	for i, d := range r.Diagnostics {
		add(d, gitlabSeverity(d.Severity), prints[i])
	}
	var unread diag.List
	for _, u := range r.Unread {
		unread = append(unread, diag.Diagnostic{Code: "unread", Summary: unreadText(r.unreadFile(u), u.Reason), Subject: diag.Range{File: u.File}})
	}
	prints = unread.Fingerprints(r.name)
	for i, d := range unread {
		add(d, "blocker", prints[i])
	}
	return Indented(w, issues)
}

func gitlabSeverity(s diag.Severity) string {
	return [...]string{diag.Note: "info", diag.Warning: "minor", diag.Error: "major"}[s]
}
