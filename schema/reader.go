package schema

import (
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/sops"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// Declaration is one object as its author wrote it, or as what stands inline in one counts (flex-resources.md, 2.1): for those
// who judge what was written by rules of their own.
type Declaration struct {
	ID     diag.Object
	Owner  diag.Object // the object that is declared: the ApiInstance, of what stands inline; else ID
	Name   diag.Range  // where the name was written, or what stands for it; as in ir.Origin
	All    diag.Range  // of the document
	Inline bool
	Broken bool // its shape is wrong: what is absent may have been meant
	// Root is the whole document in the form that its kind's schema describes, with the ranges of what was written. The namespace
	// and labels are there when they are absent. Secrets are diag.Redacted. Nobody may change it.
	Root *syntax.Node
	// Unknown are the values that only the environment knows: $VARIABLEs. Those of secrets are texts like any other.
	Unknown map[*syntax.Node]bool

	inside []string // where the spec of what stands inline is in its document
}

// Pointer is the JSON Pointer of a path below Root, in the document that was written.
func (d *Declaration) Pointer(path []string) string {
	if d.inside == nil {
		return pointer(path)
	}
	if len(path) > 0 && path[0] == "spec" {
		return pointer(append(slices.Clip(d.inside), path[1:]...))
	}
	return pointer(d.inside)
}

// Reader reads documents once more, for those who judge them by rules of their own. Several goroutines may use it.
type Reader struct{ d *decoder }

// NewReader is a Reader that knows these policies' configurations.
func NewReader(policies Catalog) *Reader {
	return &Reader{&decoder{o: Options{Policies: policies}, patterns: &patterns{}}}
}

// Declarations calls f for each ApiInstance, Service, PolicyBinding, Configuration and Extension in the documents, and for the
// Services and PolicyBindings that stand inline in an ApiInstance. Nothing is judged.
func (r *Reader) Declarations(docs []*syntax.Document, f func(*Declaration)) {
	for _, doc := range docs {
		d := &docDecoder{decoder: r.d, doc: doc, out: newUnitResult()}
		d.declarations(f)
	}
}

func (d *docDecoder) declarations(f func(*Declaration)) {
	kind, group, ok := d.classify()
	if !ok || !slices.Contains([]string{v1alpha1.ApiInstance, v1alpha1.Service, v1alpha1.PolicyBinding, v1alpha1.Configuration, v1alpha1.Extension}, kind) {
		return
	}
	d.id = diag.Object{Group: group, Kind: kind}
	j := kindJudges()[kind]
	c := j.check(d.doc.Root, nil, diag.Range{}, nil, false)
	d.identify(c.node)
	h := &hider{docDecoder: d, unknown: map[*syntax.Node]bool{}}
	out := &Declaration{ID: d.id, Owner: d.id, Name: d.name.Range, All: d.doc.Range, Broken: !c.ok || d.id.Name == "", Unknown: h.unknown, Root: c.node}
	if out.Broken {
		f(out)
		return
	}
	out.Root = withMetadata(h.node(j.root.view(), c.node, nil))
	f(out)
	if kind != v1alpha1.ApiInstance {
		return
	}
	spec := out.Root.Get("spec")
	if services := spec.Get("services"); services != nil {
		for i := range services.Fields {
			d.inlineDeclared(out, v1alpha1.Service, d.id.Name+"-"+services.Fields[i].Name, []string{"spec", "services", services.Fields[i].Name}, services.Fields[i].Range, services.Fields[i].Value, f)
		}
	}
	if policies := spec.Get("policies"); policies != nil {
		for i, item := range policies.Items {
			name := text(item.Get("policyRef").Get("name"))
			n := *item
			n.Fields = append([]syntax.Field{{Name: "targetRef", Range: name.Range, Value: d.ownTarget(name.Range)}}, item.Fields...)
			d.inlineDeclared(out, v1alpha1.PolicyBinding, d.id.Name+"-"+name.Value+"-"+strconv.Itoa(i+1), []string{"spec", "policies", strconv.Itoa(i)}, name.Range, &n, f)
		}
	}
}

func (d *docDecoder) ownTarget(at diag.Range) *syntax.Node {
	n := &syntax.Node{Kind: syntax.Mapping, Range: at}
	for _, p := range [][2]string{{"kind", v1alpha1.ApiInstance}, {"name", d.id.Name}, {"namespace", d.id.Namespace}} {
		n.Fields = append(n.Fields, syntax.Field{Name: p[0], Range: at, Value: textNode(p[1], at)})
	}
	return n
}

func textNode(s string, at diag.Range) *syntax.Node {
	return &syntax.Node{Scalar: s, Text: s, Quoted: true, Range: at}
}

// inlineDeclared is what stands inline as the object that it counts as. Of its metadata nobody can write more than the name:
// the rest is as unknown as a variable.
func (d *docDecoder) inlineDeclared(of *Declaration, kind, name string, inside []string, at diag.Range, spec *syntax.Node, f func(*Declaration)) {
	if spec.Kind != syntax.Mapping {
		return
	}
	id := d.id
	id.Kind, id.Name = kind, name
	free := func() *syntax.Node {
		n := &syntax.Node{Range: at}
		of.Unknown[n] = true
		return n
	}
	meta := &syntax.Node{Kind: syntax.Mapping, Range: at, Fields: []syntax.Field{
		{Name: "name", Range: at, Value: textNode(name, at)}, {Name: "namespace", Range: at, Value: textNode(id.Namespace, at)},
		{Name: "labels", Range: at, Value: free()}, {Name: "annotations", Range: at, Value: free()}}}
	root := &syntax.Node{Kind: syntax.Mapping, Range: at, Fields: []syntax.Field{
		{Name: "apiVersion", Range: at, Value: textNode(text(of.Root.Get("apiVersion")).Value, at)}, {Name: "kind", Range: at, Value: textNode(kind, at)},
		{Name: "metadata", Range: at, Value: meta}, {Name: "spec", Range: at, Value: spec}}}
	f(&Declaration{ID: id, Owner: of.ID, Name: at, All: of.All, Inline: true, Root: root, Unknown: of.Unknown, inside: inside})
}

// withMetadata adds the namespace and an empty set of labels where they are absent.
func withMetadata(root *syntax.Node) *syntax.Node {
	meta := root.Field("metadata")
	if meta == nil || meta.Value.Kind != syntax.Mapping {
		return root
	}
	m := *meta.Value
	m.Fields = slices.Clip(slices.Clone(m.Fields))
	if m.Field("namespace") == nil {
		m.Fields = append(m.Fields, syntax.Field{Name: "namespace", Range: meta.Range, Value: textNode("default", meta.Range)})
	}
	if m.Field("labels") == nil {
		m.Fields = append(m.Fields, syntax.Field{Name: "labels", Range: meta.Range, Value: &syntax.Node{Kind: syntax.Mapping, Range: meta.Range}})
	}
	out := *root
	out.Fields = slices.Clone(root.Fields)
	out.Field("metadata").Value = &m
	return &out
}

// hider takes secrets out of a document, and brings configurations into the form that their policies' schemas describe.
type hider struct {
	*docDecoder
	unknown map[*syntax.Node]bool
}

// unset is an environment in which every variable is unset.
func unset(string) (string, bool) { return "", false }

func (h *hider) node(v view, n *syntax.Node, path []string) *syntax.Node {
	switch {
	case len(path) == 2 && path[0] == "spec" && path[1] == "platformConnection":
		out := &syntax.Node{Range: n.Range}
		h.unknown[out] = true
		return out
	case h.isConfig(path) && n.Kind == syntax.Mapping:
		return h.config(n, path)
	}
	return h.inner(v, n, path, nil)
}

// isConfig reports whether a path is that of a policy's configuration.
func (h *hider) isConfig(path []string) bool {
	switch h.id.Kind {
	case v1alpha1.PolicyBinding:
		return len(path) == 2 && path[0] == "spec" && path[1] == "config"
	case v1alpha1.ApiInstance:
		return len(path) == 4 && path[0] == "spec" && path[1] == "policies" && path[3] == "config"
	}
	return false
}

func (h *hider) config(n *syntax.Node, path []string) *syntax.Node {
	binding, _ := h.doc.Root.At(path[:len(path)-1]...)
	ref := binding.Fold("policyRef")
	var name string
	if ref != nil {
		if f := ref.Value.Fold("name"); f != nil {
			name = text(f.Value).Value
		}
	}
	var v view
	if j := h.configJudge(name); j != nil {
		v = j.root.view()
	}
	z := &normal{getenv: unset, path: slices.Clone(path)}
	out := z.node(v, n)
	return h.inner(v, out, path, z)
}

// inner hides what is below a node; in a config, z is what made it of the one that was written.
func (h *hider) inner(v view, n *syntax.Node, path []string, z *normal) *syntax.Node {
	child := func(v view, n *syntax.Node, name string) *syntax.Node {
		path = append(path, name)
		out := n
		if z == nil {
			out = h.node(v, n, path)
		} else {
			out = h.inner(v, n, path, z)
		}
		path = path[:len(path)-1]
		return out
	}
	out := n
	switch n.Kind {
	case syntax.Mapping:
		pair := secretPair(n)
		for i := range n.Fields {
			c, _ := v.field(n.Fields[i].Name)
			c.hidden = c.hidden || n.Fields[i].Name == pair || len(path) > 0 && path[0] == "spec" && secretName(append(path, n.Fields[i].Name)) // with all that is below
			if got := child(c, n.Fields[i].Value, n.Fields[i].Name); got != n.Fields[i].Value {
				if out == n {
					m := *n
					m.Fields = slices.Clone(n.Fields)
					out = &m
				}
				out.Fields[i].Value = got
			}
		}
	case syntax.Sequence:
		c := v.item()
		for i, item := range n.Items {
			if got := child(c, item, strconv.Itoa(i)); got != item {
				if out == n {
					l := *n
					l.Items = slices.Clone(n.Items)
					out = &l
				}
				out.Items[i] = got
			}
		}
	default:
		out = h.scalar(v, n, path, z)
	}
	return out
}

func (h *hider) scalar(v view, n *syntax.Node, path []string, z *normal) *syntax.Node {
	s, isText := n.Scalar.(string)
	wild := false
	if z != nil {
		_, wild = z.unknown.may[n]
	}
	switch {
	case n.Scalar == nil || isText && s == "":
	case wild && v.hidden:
		return textNode(n.Text, n.Range)
	case wild:
		h.unknown[n] = true // a copy that normal made for this document alone
	case v.hidden || isText && looksSecret(s) || sops.Encrypted(n):
		return textNode(diag.Redacted, n.Range)
	}
	return n
}

// looksSecret reports whether a text holds a secret that the name of its field does not announce.
func looksSecret(s string) bool {
	if !strings.ContainsAny(s, "@=: ") && !strings.Contains(s, "eyJ") {
		return false
	}
	return diag.Secret([]byte(s))
}
