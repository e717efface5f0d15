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
	File    string `json:"file"`
	Object  string `json:"object,omitempty"`
	Path    string `json:"path,omitempty"`
	Summary string `json:"summary"`
	Count   int    `json:"count"`
}

func entryOf(d diag.Diagnostic) Entry {
	return Entry{Code: string(d.Code), File: d.Subject.File, Object: d.Object.String(), Path: d.Path, Summary: d.Summary}
}

// ReadBaseline reads what WriteBaseline wrote.
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

// afterwards are the codes of what is said of suppressions and of the baseline itself, which no baseline leaves out.
var afterwards = []diag.Code{"project/expired-suppression", "project/unused-suppression", "project/stale-baseline"}

// NewBaseline makes a baseline of what is reported; notes are no problem.
func NewBaseline(l diag.List) *Baseline {
	counts := map[Entry]int{}
	for _, d := range l {
		if d.Severity != diag.Note && !slices.Contains(afterwards, d.Code) {
			counts[entryOf(d)]++
		}
	}
	b := &Baseline{SchemaVersion: 1, Entries: []Entry{}}
	for e, n := range counts {
		e.Count = n
		b.Entries = append(b.Entries, e)
	}
	slices.SortFunc(b.Entries, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Code, b.Code), strings.Compare(a.Object, b.Object), strings.Compare(a.Path, b.Path), strings.Compare(a.Summary, b.Summary))
	})
	return b
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
		e.Count = 0
		m[e] += n
	}
	return m
}
