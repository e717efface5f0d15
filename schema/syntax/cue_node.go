package syntax

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema/diag"
)

// cueText knows the syntax of the files that an evaluation read, to say where a value was written: the evaluator
// itself remembers one of several places, and for a field only its key.
type cueText struct {
	own     map[string]bool // names of the package's own files
	first   string          // the first of them
	cursors map[string]*cursor
	ends    map[string]map[int]int // by file and offset: where the expression that begins there ends
	byPos   map[string]map[int]ast.Node
	files   []ast.Node // the package's own files

	definitions map[string][][2]int // by file: from where to where #definitions go
	byName      map[ast.Node]map[string][]*ast.Field
	known       map[*ast.ListLit]int // how many elements come before the first comprehension
	imported    map[*ast.ImportSpec]string
	parsed      map[string][]ast.Node // files by folder, for imports
}

func newCUEText() cueText {
	return cueText{own: map[string]bool{}, cursors: map[string]*cursor{}, ends: map[string]map[int]int{},
		byPos: map[string]map[int]ast.Node{}, imported: map[*ast.ImportSpec]string{}, parsed: map[string][]ast.Node{},
		definitions: map[string][][2]int{}, byName: map[ast.Node]map[string][]*ast.Field{}, known: map[*ast.ListLit]int{}}
}

// add indexes the expressions of a file.
func (t *cueText) add(file *ast.File) {
	ends, nodes := map[int]int{}, map[int]ast.Node{}
	ast.Walk(file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.File, *ast.BinaryExpr, *ast.Comprehension, *ast.EmbedDecl, *ast.CommentGroup, *ast.Comment:
			return true // begins where its first part does, which is what we want
		}
		pos, end := n.Pos(), n.End()
		if !pos.HasAbsPos() || !end.HasAbsPos() {
			return true
		}
		if f, ok := n.(*ast.Field); ok {
			nodes[pos.Offset()] = f
			if name, _, err := ast.LabelName(f.Label); err == nil && isDefinition(name) {
				t.definitions[file.Filename] = append(t.definitions[file.Filename], [2]int{pos.Offset(), end.Offset()})
			}
			return true // its label says where it ends
		}
		if _, ok := ends[pos.Offset()]; !ok {
			ends[pos.Offset()] = end.Offset()
			if _, ok := nodes[pos.Offset()]; !ok {
				nodes[pos.Offset()] = n
			}
		}
		return true
	}, nil)
	t.ends[file.Filename], t.byPos[file.Filename] = ends, nodes
}

// users reports whether p is in the package's own files, outside definitions: where values are given, not described.
func (t *cueText) users(p token.Pos) bool {
	return t.own[p.Filename()] && !slices.ContainsFunc(t.definitions[p.Filename()], func(d [2]int) bool {
		return d[0] <= p.Offset() && p.Offset() < d[1]
	})
}

// at is the range of the expression, or at least the word, at p.
func (t *cueText) at(p token.Pos) diag.Range {
	c := t.cursors[p.Filename()]
	if c == nil {
		return diag.Range{}
	}
	off := min(p.Offset(), len(c.src))
	if end, ok := t.ends[p.Filename()][off]; ok {
		return c.span(off, min(end, len(c.src)))
	}
	end := off
	for end < len(c.src) && c.src[end] != '\n' && c.src[end] != '\r' && (end == off || c.src[end] != ' ' && c.src[end] != '\t') {
		end++
	}
	return c.span(off, end)
}

func (t *cueText) nodeRange(n ast.Node) diag.Range {
	pos, end := n.Pos(), n.End()
	if f, ok := n.(*ast.File); ok {
		return t.wholeFile(f.Filename)
	}
	c := t.cursors[pos.Filename()]
	if c == nil || !pos.HasAbsPos() {
		return diag.Range{}
	}
	if !end.HasAbsPos() || end.Offset() < pos.Offset() {
		return t.at(pos)
	}
	return c.span(pos.Offset(), end.Offset())
}

// wholeFile is the range of a file's text, white space around it left out.
func (t *cueText) wholeFile(name string) diag.Range {
	c := t.cursors[name]
	if c == nil {
		return diag.Range{File: name}
	}
	from, to := c.start, len(c.src)
	for from < to && (isBlank(c.src[from]) || c.src[from] == '\n') {
		from++
	}
	for to > from && (isBlank(c.src[to-1]) || c.src[to-1] == '\n') {
		to--
	}
	return c.span(from, to)
}

// locate is the range of the key that a path names, as far as it can be followed through the package's own files.
func (t *cueText) locate(path []string) diag.Range {
	nodes := t.files
	var where diag.Range
	for _, name := range path {
		if i, err := strconv.Atoi(name); err == nil {
			if next := t.items(t.flatten(nodes, cue.Value{}), i); next != nil {
				nodes, where = next, t.nodeRange(next[0])
				continue
			}
		}
		key, next := t.fields(t.flatten(nodes, cue.Value{}), name)
		if next == nil {
			break
		}
		nodes, where = next, key
	}
	if where.IsZero() {
		return diag.Range{File: t.first}
	}
	return where
}

// collect adds the fields of a struct or a file by name, those in comprehensions too.
func collect(n ast.Node, byName map[string][]*ast.Field) {
	var decls []ast.Decl
	switch x := n.(type) {
	case *ast.File:
		decls = x.Decls
	case *ast.StructLit:
		decls = x.Elts
	}
	for _, d := range decls {
		switch x := d.(type) {
		case *ast.Field:
			if label, _, err := ast.LabelName(x.Label); err == nil {
				byName[label] = append(byName[label], x)
			}
		case *ast.Comprehension:
			collect(x.Value, byName)
		case *ast.EmbedDecl:
			if c, ok := x.Expr.(*ast.Comprehension); ok {
				collect(c.Value, byName)
			}
		}
	}
}

// named are the fields of a name in a struct or a file.
func (t *cueText) named(n ast.Node, name string) []*ast.Field {
	switch n.(type) {
	case *ast.File, *ast.StructLit:
	default:
		return nil
	}
	byName, ok := t.byName[n]
	if !ok {
		byName = map[string][]*ast.Field{}
		collect(n, byName)
		t.byName[n] = byName
	}
	return byName[name]
}

// fields is the range of the key called name in any of the structs, and the expressions of its value.
func (t *cueText) fields(nodes []ast.Node, name string) (diag.Range, []ast.Node) {
	var key diag.Range
	var values []ast.Node
	var best bool
	for _, n := range nodes {
		for _, f := range t.named(n, name) {
			values = append(values, f.Value)
			if r := t.nodeRange(f.Label); key.IsZero() || !best && !constraint(f.Value) {
				key = r
			}
			best = best || !constraint(f.Value)
		}
	}
	return key, values
}

// constraint reports whether an expression only says what a value must be like.
func constraint(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.Ident:
		return typeNames[x.Name] || isDefinition(x.Name)
	case *ast.SelectorExpr:
		name, _, err := ast.LabelName(x.Sel)
		return err == nil && isDefinition(name)
	case *ast.UnaryExpr:
		return x.Op != token.SUB && x.Op != token.ADD && x.Op != token.MUL
	case *ast.BinaryExpr:
		return constraint(x.X) && constraint(x.Y)
	}
	return false
}

// typeNames are the predeclared identifiers that stand for more than one value,
// https://cuelang.org/docs/reference/spec/#predeclared-identifiers.
var typeNames = map[string]bool{
	"_": true, "bool": true, "bytes": true, "string": true, "number": true, "int": true, "float": true, "uint": true,
	"uint8": true, "int8": true, "uint16": true, "int16": true, "uint32": true, "int32": true, "uint64": true,
	"int64": true, "uint128": true, "int128": true, "float32": true, "float64": true, "rune": true, "error": true,
}

func isDefinition(name string) bool {
	return strings.HasPrefix(name, "#") || strings.HasPrefix(name, "_#")
}

// items are the expressions of the i-th element of any of the lists. Behind a comprehension nobody knows.
func (t *cueText) items(nodes []ast.Node, i int) []ast.Node {
	var out []ast.Node
	for _, n := range nodes {
		l, ok := n.(*ast.ListLit)
		if !ok || i >= len(l.Elts) {
			continue
		}
		known, ok := t.known[l]
		if !ok {
			known = slices.IndexFunc(l.Elts, func(e ast.Expr) bool {
				switch e.(type) {
				case *ast.Comprehension, *ast.Ellipsis:
					return true
				}
				return false
			})
			if known < 0 {
				known = len(l.Elts)
			}
			t.known[l] = known
		}
		if i < known {
			out = append(out, l.Elts[i])
		}
	}
	return out
}

// flatten takes expressions apart: the sides of & and |, what is embedded, what names stand for. What is written in
// place comes before what is referred to. Where the syntax says nothing, the evaluator's own place of v is used.
func (t *cueText) flatten(nodes []ast.Node, v cue.Value) []ast.Node {
	out := t.takeApart(nodes)
	if len(out) == 0 {
		if p := v.Pos(); p.IsValid() {
			switch n := t.byPos[p.Filename()][p.Offset()].(type) {
			case nil:
			case *ast.Field:
				out = t.takeApart([]ast.Node{n.Value})
			default:
				out = t.takeApart([]ast.Node{n})
			}
		}
	}
	return out
}

func (t *cueText) takeApart(nodes []ast.Node) []ast.Node {
	const enough = 200
	var out, later []ast.Node
	queue := slices.Clone(nodes)
	for steps := 0; steps < enough; steps++ {
		if len(queue) == 0 {
			if queue, later = later, nil; len(queue) == 0 {
				break
			}
		}
		n := queue[0]
		queue = queue[1:]
		switch x := n.(type) {
		case *ast.BinaryExpr:
			if x.Op == token.AND || x.Op == token.OR {
				queue = append(queue, x.X, x.Y)
				continue
			}
		case *ast.ParenExpr:
			queue = append(queue, x.X)
			continue
		case *ast.UnaryExpr:
			if x.Op == token.MUL {
				queue = append(queue, x.X)
				continue
			}
		case *ast.Alias:
			queue = append(queue, x.Expr)
			continue
		case *ast.PostfixExpr:
			queue = append(queue, x.X)
			continue
		case *ast.Field:
			queue = append(queue, x.Value)
			continue
		case *ast.LetClause:
			queue = append(queue, x.Expr)
			continue
		case *ast.StructLit:
			for _, d := range x.Elts {
				if e, ok := d.(*ast.EmbedDecl); ok {
					later = append(later, e.Expr)
				}
			}
		case *ast.File:
			for _, d := range x.Decls {
				if e, ok := d.(*ast.EmbedDecl); ok {
					later = append(later, e.Expr)
				}
			}
		case *ast.Ident:
			later = append(later, t.meaning(x)...)
		case *ast.SelectorExpr:
			if name, _, err := ast.LabelName(x.Sel); err == nil {
				if id, ok := x.X.(*ast.Ident); ok {
					_, values := t.fields(t.takeApartOnce(t.meaning(id)), name)
					later = append(later, values...)
				}
			}
		}
		out = append(out, n)
	}
	return out
}

// takeApartOnce is takeApart without following names: enough for the left side of a selector, and it ends.
func (t *cueText) takeApartOnce(nodes []ast.Node) []ast.Node {
	var out []ast.Node
	for _, n := range nodes {
		switch x := n.(type) {
		case *ast.Field:
			out = append(out, x.Value)
		case *ast.BinaryExpr:
			out = append(out, x.X, x.Y)
		default:
			out = append(out, n)
		}
	}
	return out
}

// meaning is what an identifier stands for, as far as the syntax shows it.
func (t *cueText) meaning(id *ast.Ident) []ast.Node {
	switch n := id.Node.(type) {
	case nil:
		_, values := t.fields(t.files, id.Name) // of another file of the package
		return values
	case *ast.ImportSpec:
		return t.parsed[t.imported[n]]
	default:
		if n == ast.Node(id) {
			return nil
		}
		return []ast.Node{n}
	}
}

// written is the first of the expressions that writes this very value out, else the first that is more than a
// constraint.
func written(nodes []ast.Node, n *Node) ast.Node {
	var second, third ast.Node
	for _, x := range nodes {
		switch x := x.(type) {
		case *ast.BasicLit:
			if writes(x, n) {
				return x
			}
			third = cmp.Or(third, ast.Node(x))
		case ast.Expr:
			if !constraint(x) {
				second = cmp.Or(second, ast.Node(x))
			}
		}
	}
	if second != nil || third != nil || len(nodes) == 0 {
		return cmp.Or(second, third)
	}
	return nodes[0]
}

// writes reports whether a literal is the scalar that became n.
func writes(x *ast.BasicLit, n *Node) bool {
	switch x.Kind {
	case token.STRING:
		s, err := literal.Unquote(x.Value)
		return err == nil && (s == n.Text || base64.StdEncoding.EncodeToString([]byte(s)) == n.Text)
	case token.INT, token.FLOAT:
		var num literal.NumInfo
		if err := literal.ParseNum(x.Value, &num); err != nil {
			return false
		}
		return x.Value == n.Text || num.String() == n.Text
	}
	return x.Value == n.Text // true, false, null
}

// cueHolder is the object that a value belongs to: the range that was written for it, and the nearest key around it
// that was written there too, not in a definition that it refers to.
type cueHolder struct{ within, key diag.Range }

func (h cueHolder) contains(r diag.Range) bool {
	return r.File == h.within.File && r.Start.Offset >= h.within.Start.Offset && r.End.Offset <= h.within.End.Offset
}

// enter is the holder of what stands inside the field key of h: h itself when that field was not written there.
func (h cueHolder) enter(within, key diag.Range) cueHolder {
	if !h.contains(key) {
		return h
	}
	if h.contains(within) {
		h.within = within
	}
	h.key = key
	return h
}

// node converts a value, which must be concrete. key is the range of its key, for what cannot be placed better.
func (r *cueRun) node(v cue.Value, nodes []ast.Node, holder cueHolder, key diag.Range, name string, depth int) *Node {
	n := &Node{Range: key}
	if depth > MaxDepth {
		r.ds = append(r.ds, diag.Diagnostic{Severity: diag.Error, Code: "cue/too-deep", Subject: key,
			Summary: fmt.Sprintf("values nest more than %d deep here", MaxDepth), Hint: "flatten the package"})
		return n
	}
	v, _ = v.Default()
	if depth > 0 {
		nodes = r.flatten(nodes, v)
	}
	switch kind := v.Kind(); kind {
	case cue.StructKind:
		n.Kind = Mapping
		r.place(n, nodes, func(x ast.Node) bool {
			switch x.(type) {
			case *ast.StructLit, *ast.File:
				return true
			}
			return false
		})
		fields, err := v.Fields()
		if err != nil {
			r.errors(err)
			return n
		}
		for fields.Next() {
			name := fields.Selector().Unquoted()
			key, next := r.fields(nodes, name)
			if key.IsZero() {
				if key = r.at(fields.Value().Pos()); key.IsZero() {
					key = n.Range
				}
			}
			n.Fields = append(n.Fields, Field{Name: name, Range: key, Value: r.node(fields.Value(), next, holder.enter(n.Range, key), key, name, depth+1)})
		}
	case cue.ListKind:
		n.Kind = Sequence
		r.place(n, nodes, func(x ast.Node) bool { _, ok := x.(*ast.ListLit); return ok })
		items, err := v.List()
		if err != nil {
			r.errors(err)
			return n
		}
		for i := 0; items.Next(); i++ {
			n.Items = append(n.Items, r.node(items.Value(), r.items(nodes, i), holder.enter(n.Range, n.Range), n.Range, name, depth+1))
		}
	case cue.BottomKind:
		r.incomplete(v, holder, key, name)
	default:
		err := n.setCUE(v, kind)
		if x := written(nodes, n); x != nil {
			n.Range = r.nodeRange(x)
		}
		if err != nil {
			r.ds = append(r.ds, diag.Diagnostic{Severity: diag.Error, Code: "cue/incomplete", Subject: n.Range, Summary: said(err.Error()), Hint: "write a plain value"})
		}
	}
	return n
}

// place gives a struct or list the range of the first expression of its kind.
func (r *cueRun) place(n *Node, nodes []ast.Node, is func(ast.Node) bool) {
	if i := slices.IndexFunc(nodes, is); i >= 0 {
		n.Range = r.nodeRange(nodes[i])
	} else if len(nodes) > 0 {
		n.Range = r.nodeRange(nodes[0])
	}
}

// incomplete reports a value that nobody gave: at its key where that stands in the object, else at the key of the
// object that lacks it.
func (r *cueRun) incomplete(v cue.Value, holder cueHolder, key diag.Range, name string) {
	d := diag.Diagnostic{Severity: diag.Error, Code: "cue/incomplete", Subject: key,
		Summary: fmt.Sprintf("%q has no concrete value, only %s", name, v.IncompleteKind()), Hint: "give it a value"}
	if err := v.Err(); err != nil {
		d.Summary = said(err.Error())
	}
	if !holder.contains(key) {
		d.Subject = holder.key
		d.Related = []diag.Related{{Subject: key, Summary: "declared here"}}
	}
	r.ds = append(r.ds, d)
}

// setCUE fills a scalar. Bytes become base64, as CUE exports them.
func (n *Node) setCUE(v cue.Value, kind cue.Kind) error {
	switch kind {
	case cue.NullKind:
		n.Text = "null"
	case cue.BoolKind:
		b, err := v.Bool()
		if err != nil {
			return err
		}
		n.Scalar, n.Text = b, strconv.FormatBool(b)
	case cue.StringKind:
		s, err := v.String()
		if err != nil {
			return err
		}
		n.Scalar, n.Text, n.Quoted = s, s, true
	case cue.BytesKind:
		b, err := v.Bytes()
		if err != nil {
			return err
		}
		s := base64.StdEncoding.EncodeToString(b)
		n.Scalar, n.Text, n.Quoted = s, s, true
	default:
		b, err := v.MarshalJSON()
		if err != nil {
			return err
		}
		n.Scalar, n.Text = json.Number(b), string(b)
	}
	return nil
}
