package ir

import (
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
)

// Document is one declaration as it was declared.
type Document struct {
	Object diag.Object
	Name   diag.Range // of metadata.name
	Tree   *Declared
}

// Declared is one value as it was declared, for those who show or compare it: canonical in the names of its
// fields and in the spelling of its scalars, without defaults. What must not be shown is hidden in it already.
type Declared struct {
	Range  diag.Range
	Kind   DeclaredKind
	Text   string          // of a Scalar: as JSON, or the $VARIABLE that stands for it; [redacted] of a secret
	Secret Secret          // of a secret scalar: its value, to be compared
	Fields []DeclaredField // of a Mapping, sorted by name
	Items  []*Declared     // of a List
}

// DeclaredField is one field of a Declared.
type DeclaredField struct {
	Name  string
	Value *Declared
}

// Get is the value below names of fields, or nil. It may be called on nil.
func (d *Declared) Get(path ...string) *Declared {
	for _, name := range path {
		if d == nil {
			return nil
		}
		i := slices.IndexFunc(d.Fields, func(f DeclaredField) bool { return f.Name == name })
		if i < 0 {
			return nil
		}
		d = d.Fields[i].Value
	}
	return d
}

// DeclaredKind says what a Declared is.
type DeclaredKind uint8

// The kinds.
const (
	Scalar DeclaredKind = iota
	Mapping
	List
)

// Hidden reports whether the value is a secret.
func (d *Declared) Hidden() bool { return d.Kind == Scalar && d.Text == redacted && !d.Secret.IsZero() }

// Equal reports whether two values are the same, wherever they stand. A nil Declared is an absent value.
func (d *Declared) Equal(o *Declared) bool {
	if d == nil || o == nil {
		return d == o
	}
	if d.Kind != o.Kind || d.Text != o.Text || !d.Secret.Equal(o.Secret) || len(d.Fields) != len(o.Fields) || len(d.Items) != len(o.Items) {
		return false
	}
	for i, f := range d.Fields {
		if f.Name != o.Fields[i].Name || !f.Value.Equal(o.Fields[i].Value) {
			return false
		}
	}
	for i, item := range d.Items {
		if !item.Equal(o.Items[i]) {
			return false
		}
	}
	return true
}
