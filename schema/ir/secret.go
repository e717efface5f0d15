package ir

import (
	"fmt"
	"io"
)

// Secret is a text that must not be shown. It prints and marshals as [redacted]; Reveal is the only way to the text. The zero
// Secret has none. Secrets are compared with Equal, and reflect.DeepEqual compares their texts; == does not compile.
type Secret struct {
	_ [0]func() // == would compare pointers
	// A pointer, because package fmt prints the unexported fields of a struct without asking their methods, and of a
	// pointer inside a struct it prints the address. Nil for the empty text, so that equal Secrets are deeply equal.
	text *string
}

const redacted = "[redacted]"

// NewSecret hides text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the hidden text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal reports whether two Secrets hide the same text.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// Format hides the text from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String hides the text.
func (s Secret) String() string { return redacted }

// GoString hides the text.
func (s Secret) GoString() string { return redacted }

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the text.
func (s *Secret) UnmarshalText(b []byte) error { *s = NewSecret(string(b)); return nil }
