package syntax

import "github.com/flexgw/flexgw/schema/diag"

// Decode fills v (a pointer) from the node by struct tag `flex`.
func (n *Node) Decode(v any) diag.List { panic("not built yet") }

// Locate is the place of the value at path, or of the nearest thing that was declared.
func (n *Node) Locate(path ...string) diag.Range { panic("not built yet") }
