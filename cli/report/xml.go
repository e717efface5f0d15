package report

import (
	"encoding/xml"
	"io"
	"strings"
)

// writeXML writes v with a declaration. Runes that XML cannot hold become U+FFFD.
func writeXML(w io.Writer, v any) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// xmlText is a text between tags, its lines as they are: the library would write &#xA; for each end.
func xmlText(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return strings.ReplaceAll(b.String(), "&#xA;", "\n")
}

// joined is a text for an attribute, where a line break would be lost.
func joined(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
