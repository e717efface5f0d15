package require

import (
	"encoding/json"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// object is what rules are asked about.
type object struct {
	kind    string
	owner   diag.Object // that diagnostics name
	name    diag.Range  // the place that stands for all of it
	all     diag.Range  // of the document
	root    *syntax.Node
	unknown []map[*syntax.Node]bool
	pointer func(path []string) string
}

// objectOf is a declared object together with what is linked of it.
func objectOf(d *schema.Declaration, m *model, linked bool, own map[diag.Object]config) *object {
	o := &object{kind: d.ID.Kind, owner: d.Owner, name: d.Name, all: d.All, root: d.Root, unknown: []map[*syntax.Node]bool{d.Unknown}, pointer: d.Pointer}
	if !linked {
		return o
	}
	t := &tree{m: m, own: own, unknown: map[*syntax.Node]bool{}}
	if n := t.of(d); n != nil {
		root := *d.Root
		root.Fields = append(root.Fields[:len(root.Fields):len(root.Fields)], syntax.Field{Name: "linked", Range: d.Name, Value: n})
		o.root = &root
		o.unknown = append(append(o.unknown, t.unknown), t.also...)
	}
	return o
}

// gatewayOf is the whole model.
func gatewayOf(m *model) *object {
	t := &tree{m: m, unknown: map[*syntax.Node]bool{}}
	root, at := t.gateway()
	return &object{kind: gatewayKind, name: at, root: root, unknown: []map[*syntax.Node]bool{t.unknown}, pointer: func([]string) string { return "" }}
}

func (o *object) isUnknown(n *syntax.Node) bool {
	for _, m := range o.unknown {
		if m[n] {
			return true
		}
	}
	return false
}

// place is what to underline for a path: a scalar, the key of what is no scalar, or for what is missing the key of the object
// that lacks it.
func (o *object) place(path []string, key bool) diag.Range {
	if len(path) == 0 {
		return o.name
	}
	n, whole := o.root.At(path...)
	at := diag.Range{}
	if key || whole && n.Kind != syntax.Scalar {
		at = o.root.KeyRange(path...)
	} else {
		at = o.root.Locate(path...)
	}
	if at.IsZero() {
		return o.name
	}
	return at
}

// holds reports whether a place is in the object's own document.
func (o *object) holds(r diag.Range) bool {
	return r.File == o.all.File && r.Start.Offset >= o.all.Start.Offset && r.End.Offset <= o.all.End.Offset
}

// expr is the object as an expression of CUE.
func (o *object) expr(n *syntax.Node) ast.Expr {
	if o.isUnknown(n) {
		return ast.NewIdent("_")
	}
	switch n.Kind {
	case syntax.Mapping:
		s := &ast.StructLit{Elts: make([]ast.Decl, len(n.Fields))}
		for i := range n.Fields {
			s.Elts[i] = &ast.Field{Label: ast.NewString(n.Fields[i].Name), Value: o.expr(n.Fields[i].Value)}
		}
		return s
	case syntax.Sequence:
		l := &ast.ListLit{Elts: make([]ast.Expr, len(n.Items))}
		for i, item := range n.Items {
			l.Elts[i] = o.expr(item)
		}
		return l
	}
	switch v := n.Scalar.(type) {
	case string:
		return ast.NewString(v)
	case bool:
		return ast.NewBool(v)
	case json.Number:
		return numberExpr(v.String())
	}
	return ast.NewNull()
}

func numberExpr(s string) ast.Expr {
	if rest, negative := strings.CutPrefix(s, "-"); negative {
		return &ast.UnaryExpr{Op: token.SUB, X: numberExpr(rest)}
	}
	if strings.ContainsAny(s, ".eE") {
		return ast.NewLit(token.FLOAT, s)
	}
	return ast.NewLit(token.INT, s)
}
