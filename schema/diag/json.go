package diag

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The shape that scripts rely on (design.md, section 4): an absent object or place is null, lists are never null.
type (
	wire struct {
		Code     Code          `json:"code"`
		Severity Severity      `json:"severity"`
		Summary  string        `json:"summary"`
		Hint     string        `json:"hint"`
		Object   *wireObject   `json:"object"`
		Objects  []wireObject  `json:"objects,omitempty"`
		Path     string        `json:"path"`
		Subject  *Range        `json:"subject"`
		Related  []wireRelated `json:"related"`
		Fixes    []wireFix     `json:"fixes"`
	}
	wireObject struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	}
	wireRelated struct {
		Range
		Summary string `json:"summary"`
	}
	wireFix struct {
		Range
		Text string `json:"text"`
	}
)

// MarshalJSON writes the documented shape.
func (d Diagnostic) MarshalJSON() ([]byte, error) {
	w := wire{Code: d.Code, Severity: d.Severity, Summary: d.Summary, Hint: d.Hint, Path: d.Path, Related: []wireRelated{}, Fixes: []wireFix{}}
	if !d.Object.IsZero() {
		w.Object = &wireObject{d.Object.Kind, d.Object.Namespace, d.Object.Name}
	}
	for _, o := range d.Objects {
		w.Objects = append(w.Objects, wireObject{o.Kind, o.Namespace, o.Name})
	}
	if !d.Subject.IsZero() {
		w.Subject = &d.Subject
	}
	for _, r := range d.Related {
		w.Related = append(w.Related, wireRelated{r.Subject, r.Summary})
	}
	for _, f := range d.Fixes {
		w.Fixes = append(w.Fixes, wireFix{f.Range, f.Text})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // hints are full of & and <
	err := e.Encode(w)
	return b.Bytes(), err
}

// UnmarshalJSON reads the documented shape; the object's group is not part of it.
func (d *Diagnostic) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*d = Diagnostic{Code: w.Code, Severity: w.Severity, Summary: w.Summary, Hint: w.Hint, Path: w.Path}
	if w.Object != nil {
		d.Object = Object{Kind: w.Object.Kind, Namespace: w.Object.Namespace, Name: w.Object.Name}
	}
	for _, o := range w.Objects {
		d.Objects = append(d.Objects, Object{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name})
	}
	if w.Subject != nil {
		d.Subject = *w.Subject
	}
	for _, r := range w.Related {
		d.Related = append(d.Related, Related{r.Range, r.Summary})
	}
	for _, f := range w.Fixes {
		d.Fixes = append(d.Fixes, Fix{f.Range, f.Text})
	}
	return nil
}

// UnmarshalText reads the word that String prints.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, known := range []Severity{Note, Warning, Error} {
		if known.String() == string(b) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("no severity %q; known are note, warning, error", b)
}
