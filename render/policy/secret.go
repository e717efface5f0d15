package policy

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Secret is a field of a configuration whose text must not be shown. The zero Secret is an absent field. Its property in the
// schema says `"writeOnly": true`, so that no diagnostic about the shape shows it either.
type Secret struct{ ir.Secret }

// DecodeNode takes any scalar as it was written.
func (s *Secret) DecodeNode(n *syntax.Node) diag.List {
	var text string
	l := n.Decode(&text)
	s.Secret = ir.NewSecret(text)
	return l
}
