package require

import (
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema/syntax"
)

// spine is the part of an object that a constraint can look at. Objects are cut down to it before CUE sees them: an object
// has a hundred values, most rules speak of three, and what is left is often what another object left.
type spine struct {
	whole  bool              // everything below
	fields map[string]*spine // of a mapping
	items  *spine            // of each item of a list
}

func everything() *spine { return &spine{whole: true} }

// spineOf finds out what a constraint looks at; only what surely has no other part is narrowed.
func spineOf(c cue.Value, depth int) *spine {
	if depth > deepest || !plainStruct(c) && c.IncompleteKind() != cue.ListKind {
		return everything()
	}
	if c.IncompleteKind() == cue.ListKind {
		return spineOfList(c, depth)
	}
	s := &spine{fields: map[string]*spine{}}
	fields, err := c.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		return everything()
	}
	for fields.Next() {
		if fields.FieldType()&cue.PatternConstraint != 0 {
			return everything()
		}
		s.fields[fields.Selector().Unquoted()] = spineOf(fields.Value(), depth+1)
	}
	return s
}

// plainStruct reports whether a constraint is nothing but fields.
func plainStruct(c cue.Value) bool {
	if c.IncompleteKind() != cue.StructKind || c.Kind() != cue.StructKind || !c.Allows(cue.AnyString) {
		return false
	}
	return onlyStructs(c, 0)
}

// onlyStructs reports whether a value is made of structs alone, without validators.
func onlyStructs(c cue.Value, depth int) bool {
	op, args := c.Expr()
	switch op {
	case cue.NoOp:
		return true
	case cue.AndOp:
		return depth < deepest && !slices.ContainsFunc(args, func(a cue.Value) bool {
			return a.IncompleteKind() != cue.StructKind || !onlyStructs(a, depth+1)
		})
	}
	return false
}

// spineOfList is that of a list without validators: how many items there are always counts.
func spineOfList(c cue.Value, depth int) *spine {
	if op, _ := c.Expr(); op != cue.NoOp {
		return everything()
	}
	s := &spine{}
	add := func(item cue.Value) {
		s.items = union(s.items, spineOf(item, depth+1))
	}
	items, err := c.List()
	if err != nil {
		return everything()
	}
	for items.Next() {
		add(items.Value())
	}
	if rest := c.LookupPath(cue.MakePath(cue.AnyIndex)); rest.Exists() {
		add(rest)
	}
	if s.items == nil {
		return everything()
	}
	return s
}

// union is all that one of two spines covers.
func union(a, b *spine) *spine {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.whole || b.whole:
		return everything()
	}
	out := &spine{items: union(a.items, b.items)}
	if a.fields != nil || b.fields != nil {
		out.fields = map[string]*spine{}
	}
	for _, fields := range []map[string]*spine{a.fields, b.fields} {
		for name, s := range fields {
			out.fields[name] = union(out.fields[name], s)
		}
	}
	return out
}

// cut is what is left of an object.
func (s *spine) cut(n *syntax.Node) *syntax.Node {
	switch {
	case s.whole:
		return n
	case n.Kind == syntax.Mapping && s.fields != nil:
		out := *n
		out.Fields = make([]syntax.Field, 0, len(s.fields))
		for _, f := range n.Fields {
			if inner := s.fields[f.Name]; inner != nil {
				f.Value = inner.cut(f.Value)
				out.Fields = append(out.Fields, f)
			}
		}
		return &out
	case n.Kind == syntax.Sequence && s.items != nil:
		out := *n
		out.Items = make([]*syntax.Node, len(n.Items))
		for i, item := range n.Items {
			out.Items[i] = s.items.cut(item)
		}
		return &out
	}
	return n
}

// uses are the parts of the object at hand that an expression refers to.
func uses(n ast.Node) *spine {
	out := &spine{fields: map[string]*spine{}}
	var visit func(ast.Node) bool
	visit = func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.Comprehension:
			out = everything() // what it makes is not to be seen in the constraint
			return false
		case *ast.Field:
			if mentions(x.Label) && label(x) == "" { // the fields that it speaks of depend on the object
				out = everything()
			}
			ast.Walk(x.Value, visit, nil)
			return false
		case *ast.CallExpr:
			if f, ok := x.Fun.(*ast.Ident); ok && f.Name == "len" && f.Node == nil && len(x.Args) == 1 {
				if path, ok := reference(x.Args[0]); ok { // of a list, how many items there are
					out = union(out, along(path, &spine{items: &spine{fields: map[string]*spine{}}}))
					return false
				}
			}
		case *ast.SelectorExpr, *ast.IndexExpr:
			if path, ok := reference(x); ok {
				out = union(out, along(path, everything()))
				return false
			}
		case *ast.Ident:
			if x.Name == "object" || x.Name == "require" {
				out = everything()
			}
		}
		return true
	}
	ast.Walk(n, visit, nil)
	return out
}

// twisted reports whether something refers to parts of itself, or computes some: what it looks at in an object is then not to be
// seen in its fields alone.
func twisted(n ast.Node) bool {
	found := false
	from, to := n.Pos(), n.End()
	ast.Walk(n, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.Comprehension, *ast.Alias, *ast.PostfixAlias:
			found = true
		case *ast.Ident:
			if _, imported := x.Node.(*ast.ImportSpec); x.Node != nil && !imported {
				at := x.Node.Pos()
				found = found || !at.HasAbsPos() || at.Filename() == from.Filename() && at.Offset() >= from.Offset() && at.Offset() < to.Offset()
			}
		}
		return !found
	}, nil)
	return found
}

// along is the spine of one path, with another one at its end.
func along(path []string, s *spine) *spine {
	for _, name := range slices.Backward(path) {
		s = &spine{fields: map[string]*spine{name: s}}
	}
	return s
}

// reference is the path of object.a.b["c"].
func reference(n ast.Node) (path []string, ok bool) {
	switch x := n.(type) {
	case *ast.Ident:
		return nil, x.Name == "object"
	case *ast.SelectorExpr:
		path, ok = reference(x.X)
		name, _, err := ast.LabelName(x.Sel)
		return append(path, name), ok && err == nil && !strings.HasPrefix(name, "#") && !strings.HasPrefix(name, "_")
	case *ast.IndexExpr:
		lit, isLit := x.Index.(*ast.BasicLit)
		if !isLit || lit.Kind != token.STRING {
			return nil, false
		}
		path, ok = reference(x.X)
		name, _, err := ast.LabelName(lit)
		return append(path, name), ok && err == nil
	}
	return nil, false
}

// key is equal for cut objects that CUE cannot tell apart.
func (o *object) key(n *syntax.Node) string {
	var b strings.Builder
	o.writeKey(&b, n)
	return b.String()
}

func (o *object) writeKey(b *strings.Builder, n *syntax.Node) {
	if o.isUnknown(n) {
		b.WriteByte('_')
		return
	}
	switch n.Kind {
	case syntax.Mapping:
		b.WriteByte('{')
		for i := range n.Fields {
			b.WriteString(strconv.Quote(n.Fields[i].Name))
			b.WriteByte(':')
			o.writeKey(b, n.Fields[i].Value)
		}
		b.WriteByte('}')
	case syntax.Sequence:
		b.WriteByte('[')
		for _, item := range n.Items {
			o.writeKey(b, item)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	default:
		if s, ok := n.Scalar.(string); ok {
			b.WriteString(strconv.Quote(s))
			return
		}
		b.WriteString(n.Text)
		b.WriteByte(' ')
	}
}
