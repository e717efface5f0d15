package project

import (
	"fmt"
	"slices"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// Judge turns what was found into what is reported.
type Judge struct {
	Levels   []Level        // of the flags; they win over the project's
	Project  *Project       // nil: none
	Comments []*Suppression // of all files
	Baseline *Baseline      // nil: none
	BaseAt   diag.Range     // the baseline's place, for what is said about it
	Today    time.Time
	Narrowed bool // not everything was looked at: what is unused may be used elsewhere
}

// Suppressed is a diagnostic that a suppression keeps from being reported.
type Suppressed struct {
	Diagnostic diag.Diagnostic
	InSource   bool // by a comment; else by the project file
	Reason     string
}

// Outcome is what becomes of what was found.
type Outcome struct {
	Reported   diag.List // sorted
	Suppressed []Suppressed
	Known      diag.List // what the baseline holds
}

// Apply gives every diagnostic its severity, takes out what is accepted, and says which acceptances are no longer needed.
func (j Judge) Apply(found diag.List) Outcome {
	var out Outcome
	all := slices.Clone(j.Comments)
	if j.Project != nil {
		all = append(all, j.Project.Suppress...)
	}
	for _, s := range all {
		s.used = false
	}
	known := map[Entry]int{}
	if j.Baseline != nil {
		known = j.Baseline.known()
	}
	for _, d := range found {
		sev, off := j.severity(d)
		if d.Severity = sev; off {
			continue
		}
		if s := j.accepted(d, all); s != nil {
			out.Suppressed = append(out.Suppressed, Suppressed{d, s.file != "", s.Reason})
			continue
		}
		if e := entryOf(d); known[e] > 0 {
			known[e]--
			out.Known = append(out.Known, d)
			continue
		}
		out.Reported = append(out.Reported, d)
	}
	out.Reported = append(out.Reported, j.leftover(all, known)...)
	out.Reported = out.Reported.Sort()
	return out
}

// accepted is the first suppression that accepts d; all that would are used, also those that have ended.
func (j Judge) accepted(d diag.Diagnostic, all []*Suppression) *Suppression {
	var first *Suppression
	for _, s := range all {
		if !s.match(d) {
			continue
		}
		if s.used = true; first == nil && !j.expired(s) {
			first = s
		}
	}
	return first
}

// severity is that of the most precise level; among equals the last one counts.
func (j Judge) severity(d diag.Diagnostic) (diag.Severity, bool) {
	levels := j.Levels
	if j.Project != nil && !slices.ContainsFunc(levels, func(l Level) bool { return l.Codes.Match(d.Code) }) {
		levels = j.Project.Levels
	}
	best := -1
	sev, off := d.Severity, false
	for _, l := range levels {
		if l.Codes.Match(d.Code) && l.Codes.precision() >= best {
			best, sev, off = l.Codes.precision(), l.Severity, l.Off
		}
	}
	return sev, off
}

// Names reports whether a level is about this very code, or its area.
func (j Judge) Names(code diag.Code) bool {
	levels := j.Levels
	if j.Project != nil {
		levels = slices.Concat(levels, j.Project.Levels)
	}
	return slices.ContainsFunc(levels, func(l Level) bool { return l.Codes.precision() > 0 && l.Codes.Match(code) })
}

func (j Judge) expired(s *Suppression) bool { return !j.Today.Before(s.Until.AddDate(0, 0, 1)) }

// leftover reports acceptances that have ended or that nothing needs.
func (j Judge) leftover(all []*Suppression, known map[Entry]int) diag.List {
	var l diag.List
	report := func(code diag.Code, at diag.Range, summary, hint string) {
		d := diag.Diagnostic{Severity: diag.Warning, Code: code, Subject: at, Summary: summary, Hint: hint}
		sev, off := j.severity(d)
		if d.Severity = sev; !off {
			l = append(l, d)
		}
	}
	for _, s := range all {
		switch {
		case j.expired(s):
			report("project/expired-suppression", s.At, fmt.Sprintf("this suppression ended on %s", s.Until.Format(time.DateOnly)), "mend what it is about, or give it a new day")
		case !s.used && !j.Narrowed:
			report("project/unused-suppression", s.At, fmt.Sprintf("nothing here is reported as %s", codeWords(s.Codes)), "remove the suppression")
		}
	}
	gone, those := 0, "problem of this baseline is"
	for _, n := range known {
		gone += n
	}
	if gone > 1 {
		those = "problems of this baseline are"
	}
	if gone > 0 && !j.Narrowed {
		report("project/stale-baseline", j.BaseAt, fmt.Sprintf("%d %s no longer there", gone, those), "write it anew with --write-baseline, so that they cannot come back unseen")
	}
	return l
}

func codeWords(codes []Codes) string {
	s := ""
	for i, c := range codes {
		if i > 0 {
			s += " or "
		}
		s += string(c)
	}
	return s
}
