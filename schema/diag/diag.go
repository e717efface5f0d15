// Package diag describes problems in declarations and where they are.
//
// It is a leaf: it knows nothing of syntax, kinds or Envoy, and it prints nothing on its own account (see Printer).
package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file. The zero Pos means that the place is unknown.
//
// An int32 counts the bytes of every file that is read (source.MaxFileSize), and places are much of what is kept of many
// declarations.
type Pos struct {
	Line   int32 `json:"line"`   // 1-based
	Column int32 `json:"column"` // 1-based, counted in runes
	Offset int32 `json:"offset"` // 0-based, counted in bytes
}

// IsZero reports whether the place is unknown.
func (p Pos) IsZero() bool { return p.Line == 0 }

// Range is a stretch of one file. End is exclusive. A Range without a File names nothing.
type Range struct {
	File  string `json:"file"` // slash-separated, relative to the source root
	Start Pos    `json:"start"`
	End   Pos    `json:"end"`
}

// IsZero reports whether the range names nothing at all.
func (r Range) IsZero() bool { return r.File == "" && r.Start.IsZero() }

// String prints file:line:column, or as much of it as is known.
func (r Range) String() string {
	if r.Start.IsZero() {
		return r.File
	}
	return fmt.Sprintf("%s:%d:%d", r.File, r.Start.Line, r.Start.Column)
}

// Compare orders ranges by file, then by start.
func (r Range) Compare(o Range) int {
	return cmp.Or(strings.Compare(r.File, o.File), cmp.Compare(r.Start.Line, o.Start.Line), cmp.Compare(r.Start.Column, o.Start.Column))
}

// Severity says what a diagnostic does to a revision: only Error stops it.
type Severity uint8

// The severities, mildest first. A Note is shown in text only with --verbose.
const (
	Note Severity = iota
	Warning
	Error
)

// String is the word used in every output format: note, warning or error.
func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// MarshalText writes the same word as String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Code names a rule for ever: area/slug, for example "link/unknown-service".
type Code string

// Object names one declared object. Group is the apiVersion without its version.
type Object struct {
	Group, Kind, Namespace, Name string
}

// IsZero reports whether no object is named.
func (o Object) IsZero() bool { return o == Object{} }

// String prints the form that the product's own messages use: "Kind namespace/name".
func (o Object) String() string {
	if o.IsZero() {
		return ""
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Related is a second place that helps to understand a diagnostic.
type Related struct {
	Subject Range
	Summary string
}

// Fix is one mechanical edit: the text in Range becomes Text. The fixes of one Diagnostic belong together: they mend it when
// all of them are made, and no two of them touch.
type Fix struct {
	Range Range
	Text  string
}

// Diagnostic is one problem at one place.
type Diagnostic struct {
	Severity Severity
	Code     Code
	Summary  string // what is wrong: one line, lower case, no full stop, with the value in it
	Hint     string // what to do about it; may be empty
	Object   Object
	Objects  []Object // of what is told once of several objects (List.Together): all of them, sorted; else nil
	Path     string   // JSON Pointer within the object; may be empty
	Subject  Range    // what to underline
	Related  []Related
	Fixes    []Fix
	Edits    []Edit // what is to be changed, before it is known how the text is written; in no output
	Absent   Object // of a reference that dangles: what it names; in no output
	Cause    Range  // of a consequence: the Subject of the error but for which it may not be so (WithoutConsequences); in no output
}

// String is the one-line form: file:line:column: severity: summary [code].
func (d Diagnostic) String() string {
	place := d.Subject.String()
	if place != "" {
		place += ": "
	}
	return fmt.Sprintf("%s%s: %s [%s]", place, d.Severity, d.Summary, d.Code)
}

// List is a set of diagnostics. The nil List is valid and empty.
type List []Diagnostic

// HasErrors reports whether any diagnostic is an Error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Count returns how many diagnostics have exactly this severity.
func (l List) Count(s Severity) int {
	n := 0
	for i := range l {
		if l[i].Severity == s {
			n++
		}
	}
	return n
}

// Sort orders by place, then severity (worst first), then code and summary, and drops exact repetitions.
// The receiver's backing array is reused.
func (l List) Sort() List {
	slices.SortStableFunc(l, func(a, b Diagnostic) int {
		return cmp.Or(a.Subject.Compare(b.Subject), cmp.Compare(b.Severity, a.Severity),
			strings.Compare(string(a.Code), string(b.Code)), strings.Compare(a.Summary, b.Summary))
	})
	return slices.CompactFunc(l, func(a, b Diagnostic) bool {
		return a.Subject == b.Subject && a.Code == b.Code && a.Summary == b.Summary && a.Severity == b.Severity && a.Object == b.Object
	})
}

// Err is nil unless l holds an Error.
func (l List) Err() error {
	if !l.HasErrors() {
		return nil
	}
	return listError(l)
}

type listError List

func (e listError) Error() string {
	var b strings.Builder
	for _, d := range e {
		if d.Severity != Error {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(d.String())
	}
	return b.String()
}
