package policy

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Secret is a field of a configuration whose text must not be shown. The zero Secret is an absent field.
type Secret struct {
	ir.Secret
	Plain bool // the scalar was written as a number or a boolean, not as text
}

// DecodeNode takes any scalar as it was written.
func (s *Secret) DecodeNode(n *syntax.Node) diag.List {
	var text syntax.Text
	l := n.Decode(&text)
	s.Secret = ir.NewSecret(text.Value)
	s.Plain = IsPlain(n)
	return l
}

// IsPlain reports whether n is a number or a boolean, so that YAML guessed a type where a text may have been meant.
func IsPlain(n *syntax.Node) bool {
	if n == nil || n.Kind != syntax.Scalar || n.Scalar == nil {
		return false
	}
	_, text := n.Scalar.(string)
	return !text
}
