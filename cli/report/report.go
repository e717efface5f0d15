// Package report writes what a check found, in the formats that people and programs read.
//
// It opens nothing, knows no flag and decides no exit code: whoever checked hands in what was found and where it goes.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
)

// Report is what one check found.
type Report struct {
	Files       []string  // that were read, sorted
	Documents   int       // that were read, also those that are not ours
	Diagnostics diag.List // written in this order
	Incomplete  bool      // something could not be read: there may be more to find
	LeftOut     int       // problems that were found and are not reported, because they are old
	Strict      bool      // a warning makes the check fail too

	Sources func(file string) ([]byte, error) // of a file; text shows its lines

	Color bool // text: ANSI colours
	Notes bool // text: notes too; every other format always carries them
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

// format is one way to write a report.
type format struct {
	name  string
	write func(w io.Writer, r Report) error
}

// formats are all, the usual one first.
func formats() []format {
	return []format{{"text", text}, {"json", writeJSON}}
}

// Formats are the names that Write knows, the usual one first.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

// Write writes r in one of Formats. Other names are a mistake of the caller.
func (r Report) Write(w io.Writer, name string) error {
	all := formats()
	i := slices.IndexFunc(all, func(f format) bool { return f.name == name })
	if i < 0 {
		return fmt.Errorf("no format %q", name)
	}
	return all[i].write(w, r)
}

// Indented writes v as JSON for people and programs.
func Indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
