package syntax

import "github.com/flexgw/flexgw/schema/diag"

// Text is a decoded string that remembers where it was written. The zero Text is an absent field.
type Text struct {
	Value string
	Range diag.Range // of the value
}

// IsZero reports whether the field was absent.
func (t Text) IsZero() bool { return t.Value == "" && t.Range.IsZero() }
