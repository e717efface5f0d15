package project

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// Baseline is the known problems of a repository that adopts the checks: they are left out until somebody mends them. Lines
// do not count, so that edits elsewhere in a file bring nothing back.
type Baseline struct {
	SchemaVersion int     `json:"schemaVersion"` // 1
	Entries       []Entry `json:"entries"`       // sorted
}

// Entry is a known problem, and how often it is there.
type Entry struct {
	Code    string `json:"code"`
	File    string `json:"file"` // see Judge.Name
	Object  string `json:"object,omitempty"`
	Path    string `json:"path,omitempty"`
	Summary string `json:"summary"` // see diag.Lasting
	Count   int    `json:"count"`
}

func (j Judge) entryOf(d diag.Diagnostic) Entry {
	return Entry{Code: string(d.Code), File: j.name(d.Subject.File), Object: d.Object.String(), Path: d.Path, Summary: d.Lasting()}
}

// ReadBaseline reads what Baseline.Bytes gave.
func ReadBaseline(b []byte) (*Baseline, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	out := &Baseline{}
	if err := d.Decode(out); err != nil {
		return nil, fmt.Errorf("not a baseline: %w", err)
	}
	if out.SchemaVersion != 1 {
		return nil, fmt.Errorf("not a baseline of schemaVersion 1, but %d", out.SchemaVersion)
	}
	return out, nil
}

// NewBaseline makes a baseline of what is reported; notes are no problem, and what is said of the baseline itself is none of its own. old is the one that it replaces, or nil: what that
// says of declarations which were not looked at is still so.
func (j Judge) NewBaseline(l diag.List, old *Baseline) *Baseline {
	counts := map[Entry]int{}
	for _, d := range l {
		if d.Severity != diag.Note && d.Code != "project/stale-baseline" {
			counts[j.entryOf(d)]++
		}
	}
	if old != nil {
		for e, n := range old.known() {
			if j.Narrowed || j.unseen(e.File, func(name string) bool { return name == e.File }) {
				counts[e] = max(counts[e], n)
			}
		}
	}
	b := &Baseline{SchemaVersion: 1, Entries: []Entry{}}
	for e, n := range counts {
		e.Count = n
		b.Entries = append(b.Entries, e)
	}
	slices.SortFunc(b.Entries, Entry.compare)
	return b
}

// words name a problem: its code, where it was, and what it said.
func (e Entry) words() string {
	at := e.File
	if e.Object != "" {
		at += ", " + e.Object
	}
	return fmt.Sprintf("%s in %s (%s)", e.Code, at, diag.Visible(e.Summary))
}

func (e Entry) compare(o Entry) int {
	return cmp.Or(strings.Compare(e.File, o.File), strings.Compare(e.Code, o.Code), strings.Compare(e.Object, o.Object), strings.Compare(e.Path, o.Path), strings.Compare(e.Summary, o.Summary))
}

// Bytes is the file, the same for the same problems.
func (b *Baseline) Bytes() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(b)
	return out.Bytes(), err
}

// known counts what the baseline holds.
func (b *Baseline) known() map[Entry]int {
	m := map[Entry]int{}
	for _, e := range b.Entries {
		n := e.Count
		e.Count, e.Summary = 0, diag.Lasting(e.Summary) // a file of before may hold the places
		m[e] += n
	}
	return m
}
