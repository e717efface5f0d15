// Package report writes what a check found, in the formats that people and programs read.
//
// It opens nothing, knows no flag and decides no exit code: whoever checked hands in what was found and where it goes.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
)

// Report is what one check found.
type Report struct {
	Version     string       // of flexgw
	Paths       []string     // what was to be checked, as it was named; the first stands for what has no file
	Files       []string     // that were read, sorted
	Documents   int          // that were read, also those that are not ours
	Diagnostics diag.List    // written in this order
	Suppressed  []Suppressed // not part of Diagnostics, written by the formats that have a word for it
	Known       diag.List    // what a baseline holds: not part of Diagnostics, of those LeftOut; written by sarif
	Compared    bool         // there is a baseline, so what is not Known is new
	LeftOut     int          // problems that were found and are not reported, because they are old
	Unread      []Unread     // what could not be read: there may be more to find
	Strict      bool         // a warning makes the check fail too

	Sources func(file string) ([]byte, error) // of a file; for the lines that text and junit show
	Name    func(file string) string          // a file as CI systems look for it; nil: as it is
	Fixable func(diag.List) int               // how many of them validate --fix would mend; for text. Nil: none
	Rule    func(code diag.Code) Rule         // what is known of a code, where that is something; nil: nothing

	OnGitHub bool // sarif: without what is suppressed or known, for which code scanning would open alerts (github/codeql-action issue 1230)

	Color bool // text: ANSI colours
	Notes bool // text: notes too; every other format always carries them
}

// Suppressed is a diagnostic that somebody has decided not to hear of.
type Suppressed struct {
	Diagnostic diag.Diagnostic
	InSource   bool   // by a comment beside it, else in the project's settings
	Reason     string // may be empty
}

// Unread is a path that could not be read.
type Unread struct {
	File   string `json:"file"` // may be empty
	Reason string `json:"reason"`
}

// Rule is what is known of a code.
type Rule struct {
	Summary  string // one sentence
	About    string // one paragraph
	Help     string // all of it, for a terminal
	Markdown string // the same for a browser; may be empty
	URL      string // where that can be read; may be empty
	Severity string // the usual one, in its word; "": as what was found
}

// Summary is how much was read and what was found.
type Summary struct {
	Files     int `json:"files"`
	Documents int `json:"documents"`
	Errors    int `json:"errors"`
	Warnings  int `json:"warnings"`
	Notes     int `json:"notes"`
	LeftOut   int `json:"leftOut,omitempty"` // problems that are not reported, because they are old
}

// Summary counts.
func (r Report) Summary() Summary {
	l := r.Diagnostics
	return Summary{len(r.Files), r.Documents, l.Count(diag.Error), l.Count(diag.Warning), l.Count(diag.Note), r.LeftOut}
}

// fails reports whether a diagnostic makes the check fail: formats that pass a verdict must agree with the exit code.
func (r Report) fails(d diag.Diagnostic) bool {
	return d.Severity == diag.Error || r.Strict && d.Severity == diag.Warning
}

// format is one way to write a report.
type format struct {
	name  string
	write func(w io.Writer, r Report) error
}

// formats are all, the usual one first.
func formats() []format {
	return []format{
		{"text", text}, {"json", writeJSON}, {"sarif", sarif}, {"github", github}, {"gitlab", gitlab}, {"junit", junit}, {"tap", tap}, {"checkstyle", checkstyle},
	}
}

// Formats are the names that Write knows, the usual one first.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

// WithFixes reports whether a format shows the Fixes of diagnostics: they are costly to find for nothing.
func WithFixes(format string) bool { return format == "json" || format == "sarif" }

// Write writes r in one of Formats. Other names are a mistake of the caller.
func (r Report) Write(w io.Writer, name string) error {
	all := formats()
	i := slices.IndexFunc(all, func(f format) bool { return f.name == name })
	if i < 0 {
		return fmt.Errorf("no format %q", name)
	}
	r.Sources = remember(r.Sources)
	return all[i].write(w, r)
}

// remember keeps the file that was read last: diagnostics come file by file, and a file may be read from the disk each time.
func remember(read func(string) ([]byte, error)) func(string) ([]byte, error) {
	if read == nil {
		return nil
	}
	var last string
	var b []byte
	err := errors.New("nothing was read yet")
	return func(file string) ([]byte, error) {
		if err != nil || file != last {
			last = file
			b, err = read(file)
		}
		return b, err
	}
}

// Indented writes v as JSON for people and programs.
func Indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
