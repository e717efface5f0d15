package report

import (
	"io"

	"github.com/flexgw/flexgw/schema/diag"
)

// writeJSON is the object of design.md, section 4.
func writeJSON(w io.Writer, r Report) error {
	l := r.Diagnostics
	if l == nil {
		l = diag.List{}
	}
	return Indented(w, struct {
		SchemaVersion int       `json:"schemaVersion"`
		Summary       Summary   `json:"summary"`
		Diagnostics   diag.List `json:"diagnostics"`
	}{1, r.Summary(), l})
}
