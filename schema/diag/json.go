package diag

import "encoding/json"

// MarshalJSON writes the shape that scripts rely on (design.md, section 4): an absent object or place is null, lists are
// never null.
func (d Diagnostic) MarshalJSON() ([]byte, error) {
	type object struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	}
	type related struct {
		Range
		Summary string `json:"summary"`
	}
	type fix struct {
		Range
		Text string `json:"text"`
	}
	v := struct {
		Code     Code      `json:"code"`
		Severity Severity  `json:"severity"`
		Summary  string    `json:"summary"`
		Hint     string    `json:"hint"`
		Object   *object   `json:"object"`
		Path     string    `json:"path"`
		Subject  *Range    `json:"subject"`
		Related  []related `json:"related"`
		Fixes    []fix     `json:"fixes"`
	}{Code: d.Code, Severity: d.Severity, Summary: d.Summary, Hint: d.Hint, Path: d.Path, Related: []related{}, Fixes: []fix{}}
	if !d.Object.IsZero() {
		v.Object = &object{d.Object.Kind, d.Object.Namespace, d.Object.Name}
	}
	if !d.Subject.IsZero() {
		v.Subject = &d.Subject
	}
	for _, r := range d.Related {
		v.Related = append(v.Related, related{r.Subject, r.Summary})
	}
	for _, f := range d.Fixes {
		v.Fixes = append(v.Fixes, fix{f.Range, f.Text})
	}
	return json.Marshal(v)
}
