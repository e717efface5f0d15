package report

import (
	"io"

	"github.com/flexgw/flexgw/schema/diag"
)

// schemaVersion is that of docs/schemas/validate.schema.json. Fields may be added to it; a change of what is there makes the next.
const schemaVersion = 1

// jsonSuppressed is a diagnostic's own shape, and why it does not count.
type jsonSuppressed struct {
	Diagnostic diag.Diagnostic `json:"diagnostic"`
	InSource   bool            `json:"inSource"`
	Reason     string          `json:"reason"`
}

// writeJSON is the object of design.md, section 4. What is suppressed or could not be read is there only if there is any.
func writeJSON(w io.Writer, r Report) error {
	l := append(diag.List{}, r.Diagnostics.WithoutSecrets(r.Sources)...)
	var hidden []jsonSuppressed
	for _, s := range r.Suppressed {
		hidden = append(hidden, jsonSuppressed{s.Diagnostic.WithoutSecrets(r.Sources), s.InSource, s.Reason})
	}
	return Indented(w, struct {
		SchemaVersion int              `json:"schemaVersion"`
		Summary       Summary          `json:"summary"`
		Diagnostics   diag.List        `json:"diagnostics"`
		Suppressed    []jsonSuppressed `json:"suppressed,omitempty"`
		Unread        []Unread         `json:"unread,omitempty"`
	}{schemaVersion, r.Summary(), l, hidden, r.Unread})
}
