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
	l := diag.List{}
	for _, d := range r.Diagnostics {
		l = append(l, r.withoutSecrets(d))
	}
	var hidden []jsonSuppressed
	for _, s := range r.Suppressed {
		hidden = append(hidden, jsonSuppressed{r.withoutSecrets(s.Diagnostic), s.InSource, s.Reason})
	}
	return Indented(w, struct {
		SchemaVersion int              `json:"schemaVersion"`
		Summary       Summary          `json:"summary"`
		Diagnostics   diag.List        `json:"diagnostics"`
		Suppressed    []jsonSuppressed `json:"suppressed,omitempty"`
		Unread        []Unread         `json:"unread,omitempty"`
	}{schemaVersion, r.Summary(), l, hidden, r.Unread})
}

// withoutSecrets leaves the fixes out whose text would show a secret: half of a fix, or a fix with [redacted] in it, is worse than none.
func (r Report) withoutSecrets(d diag.Diagnostic) diag.Diagnostic {
	for _, f := range d.Fixes {
		if diag.Secret([]byte(f.Text)) || r.replacesSecret(f) {
			d.Fixes = nil
			return d
		}
	}
	return d
}

// replacesSecret reports whether a fix rewrites a secret, to quote it perhaps. What cannot be looked at is taken for one.
func (r Report) replacesSecret(f diag.Fix) bool {
	if r.Sources == nil {
		return true
	}
	src, err := r.Sources(f.Range.File)
	return err != nil || diag.SecretIn(src, f.Range.Start.Offset, max(f.Range.End.Offset, f.Range.Start.Offset+1))
}
