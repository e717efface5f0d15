// Package syntax turns bytes into trees that remember where every value was written.
//
// YAML, JSON and CUE all become the same Node. The package judges only what the languages themselves forbid (syntax,
// duplicate keys, CUE conflicts); which keys and kinds exist is not its business. It is the only package that knows a
// YAML or CUE library.
package syntax

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// Kind is the shape of a Node.
type Kind uint8

// The shapes. The zero Kind is Scalar, so the zero Node is a null.
const (
	Scalar Kind = iota
	Mapping
	Sequence
)

// Node is one value and the place where it was written. An alias or a merged YAML mapping yields a copy whose ranges
// are those of the anchor.
type Node struct {
	Kind   Kind
	Quoted bool    // of a Scalar: written as an explicit string (quotes, a block scalar, a JSON or CUE string)
	Scalar any     // of a Scalar: string, bool, json.Number or nil
	Text   string  // of a Scalar: as written (unquoted, unescaped); used where a schema wants a string (`yes`, `00`, 12345678)
	Fields []Field // of a Mapping, in source order; names are unique
	Items  []*Node // of a Sequence
	Range  diag.Range
}

// Field is one entry of a Mapping.
type Field struct {
	Name  string
	Range diag.Range // of the key
	Value *Node
}

// Unit is what is parsed as a whole: one YAML or JSON file, or all CUE files of one package in one folder. Equal names
// and hashes mean equal documents, ranges included, so a caller may keep what it made of a Unit while both stand.
type Unit struct {
	Name  string // the file's name; for a CUE package its folder and package name
	Hash  source.Hash
	Files []source.File

	cue *cueWorld // of a CUE package: where its imports are found
}

// Document is one YAML document, one JSON object (or element of a top-level array), or one CUE value with `apiVersion`
// and `kind`.
type Document struct {
	Unit  Unit
	Index int // 0-based within the unit
	Root  *Node
	Range diag.Range // of the root value
	Sops  *Field     // what SOPS wrote beside the fields of Root about how values were encrypted, taken out of it; nil: it did not
}
