package schema

import (
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// mended is a tree whose shape does not hold, with values that are not known in the place of wrong and missing ones and without
// the fields that its schema does not have: so that the mistakes in the rest of it are found in the same run.
type mended struct {
	node    *syntax.Node
	unknown unknown
	said    []diag.Range // what was wrong already
	heads   []diag.Range // of the objects that are not what somebody wrote
}

// every is what judge says of m whatever the values are that are not known, without what it says of them and of the objects that
// were mended. A nil m has nothing said of it.
func (m *mended) every(judge func(*syntax.Node) diag.List) diag.List {
	if m == nil {
		return nil
	}
	var ds diag.List
	if len(m.unknown.nodes) > 0 {
		ds = m.unknown.every(m.node, judge)
	} else {
		ds = judge(m.node)
	}
	return slices.DeleteFunc(ds, func(d diag.Diagnostic) bool {
		return slices.Contains(m.heads, d.Subject) || slices.ContainsFunc(m.said, func(r diag.Range) bool { return within(d.Subject, r) })
	})
}

// repairs are what is to be done to a tree, by its nodes.
type repairs struct {
	remove map[*syntax.Node][]string
	add    map[*syntax.Node][]string
	forget map[*syntax.Node]view // values
	heads  []diag.Range
	no     bool // something is wrong that cannot be taken out of the way
}

// note takes down what e, which is in x.ds already, needs.
func (r *repairs) note(x *explainer, e *jsonschema.ValidationError) {
	n, v, key := x.at(e.InstanceLocation)
	if r.forget == nil {
		r.remove, r.add, r.forget = map[*syntax.Node][]string{}, map[*syntax.Node][]string{}, map[*syntax.Node]view{}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		r.remove[n] = append(r.remove[n], k.Properties...)
		r.heads = append(r.heads, key, headOf(n))
		for _, m := range x.meant {
			if m.object == n {
				r.add[n] = append(r.add[n], m.names...)
			}
		}
	case *kind.Required:
		r.add[n] = append(r.add[n], k.Missing...)
		r.heads = append(r.heads, key, headOf(n))
	case *kind.Type, *kind.Enum, *kind.Const, *kind.Minimum, *kind.Maximum, *kind.ExclusiveMinimum, *kind.ExclusiveMaximum, *kind.MinLength, *kind.MaxLength, *kind.Pattern:
		r.forget[n] = v
	default:
		r.no = true
	}
}

// mend makes what it can of n, which does not fit. A list or an object in the place of one that is missing or wrong would be
// empty, and much is said of empty ones: then it is nil.
func (j *judge) mend(z *normal, n *syntax.Node, path []string, key diag.Range) *mended {
	m := &mended{}
	with := map[*syntax.Node]*syntax.Node{}
	for _, u := range z.unknown.nodes {
		likely := *z.unknown.may[u][0]
		with[u] = &likely
		m.unknown.nodes = append(m.unknown.nodes, &likely)
	}
	n = replaced(n, with)
	if m.unknown.nodes != nil {
		m.unknown.may = map[*syntax.Node][]*syntax.Node{}
		for _, u := range z.unknown.nodes {
			m.unknown.may[with[u]] = z.unknown.may[u]
		}
	}
	x := j.explanation(z, n, path, key)
	if x.repairs.no || x.repairs.forget == nil {
		return nil
	}
	for _, d := range x.ds {
		m.said = append(m.said, d.Subject)
	}
	m.heads = x.repairs.heads
	if m.node = m.rebuilt(&x.repairs, j.root.view(), n); x.repairs.no || !(verdict{wild: m.unknown.may}).ok(j.root, m.node) {
		return nil
	}
	return m
}

// rebuilt is n after the repairs.
func (m *mended) rebuilt(r *repairs, v view, n *syntax.Node) *syntax.Node {
	if _, known := m.unknown.may[n]; known {
		return n
	}
	if _, wrong := r.forget[n]; wrong {
		return m.stand(r, v, n.Locate())
	}
	out := *n
	out.Fields, out.Items = nil, nil
	gone := map[string]bool{}
	for _, name := range r.remove[n] {
		gone[name] = true
	}
	for _, f := range n.Fields {
		if gone[f.Name] {
			continue
		}
		child, _ := v.field(f.Name)
		f.Value = m.rebuilt(r, child, f.Value)
		out.Fields = append(out.Fields, f)
	}
	for _, name := range r.add[n] {
		child, known := v.field(name)
		if out.Field(name) == nil && known {
			at := headOf(n)
			out.Fields = append(out.Fields, syntax.Field{Name: name, Range: at, Value: m.stand(r, child, at)})
		}
	}
	for _, item := range n.Items {
		out.Items = append(out.Items, m.rebuilt(r, v.item(), item))
	}
	return &out
}

// stand is a value that is not known.
func (m *mended) stand(r *repairs, v view, at diag.Range) *syntax.Node {
	if v.want&^(tObject|tArray) == 0 {
		r.no = true
	}
	out := &syntax.Node{Range: at}
	m.unknown.add(v, out)
	return out
}
