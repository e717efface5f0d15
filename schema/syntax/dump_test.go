package syntax

import (
	"fmt"
	"strings"
)

// dump writes a tree with the source text that every range covers.
func dump(src []byte, n *Node) string {
	var b strings.Builder
	var walk func(n *Node, indent string)
	text := func(from, to int) string { return fmt.Sprintf("%q", src[from:to]) }
	walk = func(n *Node, indent string) {
		r := n.Range
		at := fmt.Sprintf("%d:%d-%d:%d", r.Start.Line, r.Start.Column, r.End.Line, r.End.Column)
		switch n.Kind {
		case Scalar:
			quoted := ""
			if n.Quoted {
				quoted = " quoted"
			}
			fmt.Fprintf(&b, " %T(%v) %q%s %s %s\n", n.Scalar, n.Scalar, n.Text, quoted, at, text(r.Start.Offset, r.End.Offset))
		case Mapping:
			fmt.Fprintf(&b, " mapping %s %s\n", at, text(r.Start.Offset, r.End.Offset))
			for _, f := range n.Fields {
				fmt.Fprintf(&b, "%s%s [%d:%d-%d:%d %s]:", indent, f.Name, f.Range.Start.Line, f.Range.Start.Column, f.Range.End.Line, f.Range.End.Column, text(f.Range.Start.Offset, f.Range.End.Offset))
				walk(f.Value, indent+"  ")
			}
		case Sequence:
			fmt.Fprintf(&b, " sequence %s %s\n", at, text(r.Start.Offset, r.End.Offset))
			for _, it := range n.Items {
				fmt.Fprintf(&b, "%s-", indent)
				walk(it, indent+"  ")
			}
		}
	}
	walk(n, "  ")
	return b.String()
}
