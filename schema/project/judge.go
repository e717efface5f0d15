package project

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// Judge turns what was found into what is reported.
type Judge struct {
	Levels   []Level        // of the flags; they win over the project's
	Project  *Project       // nil: none
	Comments []*Suppression // of all files
	Before   []*Suppression // those that were there before the change which is judged: that they end is none of its doing
	Baseline *Baseline      // nil: none
	BaseAt   diag.Range     // the baseline's place, for what is said about it
	Today    time.Time
	Narrowed bool // not every problem was looked for: what is unused may be used another time

	// Name is a file's name relative to the folder that the project file is about, wherever flexgw was called and whatever path
	// it was given. nil: names are so already.
	Name func(file string) string
	// Unseen reports whether there are declarations at or below a folder or file, of a name that matches, which were not looked
	// at. Names are as from Name, "" is the folder itself. nil: there are none.
	Unseen func(under string, match func(name string) bool) bool
}

func (j Judge) name(file string) string {
	if j.Name == nil {
		return file
	}
	return j.Name(file)
}

func (j Judge) unseen(under string, match func(string) bool) bool {
	return j.Unseen != nil && j.Unseen(under, match)
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
		if j.Baseline != nil {
			if e := j.entryOf(d); known[e] > 0 {
				known[e]--
				out.Known = append(out.Known, d)
				continue
			}
		}
		out.Reported = append(out.Reported, d)
	}
	for _, d := range j.leftover(all) {
		if e := j.entryOf(d); known[e] > 0 {
			known[e]--
			out.Known = append(out.Known, d)
			continue
		}
		out.Reported = append(out.Reported, d)
	}
	out.Reported = append(out.Reported, j.stale(known)...)
	out.Reported = out.Reported.Sort()
	return out
}

// accepted is the first suppression that accepts d; all that would are used, also those that have ended.
func (j Judge) accepted(d diag.Diagnostic, all []*Suppression) *Suppression {
	var first *Suppression
	for _, s := range all {
		if !s.match(d, j.name) {
			continue
		}
		if s.used = true; first == nil && !j.expired(s) {
			first = s
		}
	}
	return first
}

// ownMistakes are the codes of what is wrong with settings: "*" is about declarations, and does not reach them.
var ownMistakes = []diag.Code{"project/bad-setting", "project/bad-rule", "project/bad-suppression"}

// severity is that of the most precise level; among equals the last one counts.
func (j Judge) severity(d diag.Diagnostic) (diag.Severity, bool) {
	levels := j.Levels
	match := func(l Level) bool {
		return l.Codes.Match(d.Code) && (l.Codes.precision() > 0 || !slices.Contains(ownMistakes, d.Code))
	}
	if j.Project != nil && !slices.ContainsFunc(levels, match) {
		levels = j.Project.Levels
	}
	best := -1
	sev, off := d.Severity, false
	for _, l := range levels {
		if match(l) && l.Codes.precision() >= best {
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

// report is a warning of what is judged here, of the severity that it has.
func (j Judge) report(code diag.Code, at diag.Range, summary, hint string) diag.List {
	d := diag.Diagnostic{Severity: diag.Warning, Code: code, Subject: at, Summary: summary, Hint: hint}
	sev, off := j.severity(d)
	if d.Severity = sev; off {
		return nil
	}
	return diag.List{d}
}

// leftover reports suppressions that have ended or that nothing needs.
func (j Judge) leftover(all []*Suppression) diag.List {
	var l diag.List
	before := slices.Clone(j.Before)
	for _, s := range all {
		switch {
		case j.expired(s):
			if i := slices.IndexFunc(before, s.says); i >= 0 {
				before = slices.Delete(before, i, i+1)
				continue
			}
			l = append(l, j.report("project/expired-suppression", s.At, fmt.Sprintf("this suppression ended on %s", s.Until.Format(time.DateOnly)), "mend what it is about, or give it a new day")...)
		case !s.used && !s.idle && !j.Narrowed && !j.elsewhere(s):
			l = append(l, j.report("project/unused-suppression", s.At, fmt.Sprintf("nothing here is reported as %s", codeWords(s.Codes)), "remove the suppression")...)
		}
	}
	return l
}

// stale reports what a baseline knows and nobody found.
func (j Judge) stale(known map[Entry]int) diag.List {
	if j.Narrowed {
		return nil
	}
	var gone []Entry
	count := 0
	for e, n := range known {
		if n > 0 && !j.unseen(e.File, func(name string) bool { return name == e.File }) {
			gone, count = append(gone, e), count+n
		}
	}
	if count > 0 {
		slices.SortFunc(gone, Entry.compare)
		summary, hint := "a problem of this baseline is no longer there: "+gone[0].words(), "write it anew with --write-baseline, so that it cannot come back unseen"
		if count > 1 {
			summary = fmt.Sprintf("%d problems of this baseline are no longer there, the first is %s", count, gone[0].words())
			hint = "write it anew with --write-baseline, so that they cannot come back unseen"
		}
		if more := gone[1:]; len(more) > 0 {
			var names []string
			for _, e := range more[:min(len(more), alsoGone)] {
				names = append(names, e.words())
			}
			if left := len(more) - len(names); left > 0 {
				names = append(names, fmt.Sprintf("%d more", left))
			}
			hint += "; gone as well: " + strings.Join(names, "; ")
		}
		return j.report("project/stale-baseline", j.BaseAt, summary, hint)
	}
	return nil
}

// alsoGone is how many problems that are gone are named beside the first.
const alsoGone = 9

// elsewhere reports whether what a suppression is about may be in declarations that were not looked at.
func (j Judge) elsewhere(s *Suppression) bool {
	return s.file == "" && j.unseen(s.under, func(name string) bool { return s.files == nil || s.files.MatchString(name) })
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
