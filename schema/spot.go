package schema

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// Spot is what stands at a place of a file, for those who are asked about it: an editor.
type Spot struct {
	Of     string   // a kind, or the policy in whose configuration it is; "": neither
	Path   []string // names of fields below Of; items of lists have none
	Key    bool     // it is the name of the field, else its value, or one of its values
	Range  diag.Range
	Value  string   // of a value
	Beside []string // the fields of the object in which the field is
	// Names are the objects that the value may name: the first that is declared is meant.
	Names []diag.Object
	// Selects are the labels that all selected ApiInstances have; nil: it is no selector.
	Selects map[string]string
}

// SpotAt is what stands at an offset, in bytes, of a file; false: nothing, or nothing of ours. Nothing is judged, and what is
// wrong elsewhere does no harm. A CUE package is evaluated for it.
func SpotAt(set source.Set, o Options, file string, offset int) (Spot, bool) {
	w := &spotter{o: o, file: file, offset: int32(offset)}
	units, _ := syntax.Units(set)
	for _, u := range units {
		if !slices.ContainsFunc(u.Files, func(f source.File) bool { return f.Name == file }) {
			continue
		}
		docs, _ := u.Parse()
		for _, d := range docs {
			if kind := spotKind(d.Root); kind != "" {
				w.namespace = cmp.Or(text(folded(d.Root, "metadata", "namespace")).Value, "default")
				w.node(d.Root, Spot{Of: kind}, "")
			}
		}
	}
	return w.best, w.found
}

// spotKind is the kind of a document of ours, or what is meant to be one; "": it is none.
func spotKind(root *syntax.Node) string {
	if root.Kind != syntax.Mapping {
		return ""
	}
	version, kind := text(folded(root, "apiVersion")).Value, text(folded(root, "kind")).Value
	if version != "" && !strings.HasPrefix(version, v1alpha1.Group) && !strings.HasPrefix(version, "flexgw/") {
		return ""
	}
	for _, k := range Kinds() {
		if strings.EqualFold(k, kind) {
			return k
		}
	}
	return ""
}

// folded is the value below fields, whatever the case of their names; nil: there is none. n may be nil.
func folded(n *syntax.Node, names ...string) *syntax.Node {
	for _, name := range names {
		f := n.Fold(name)
		if f == nil {
			return nil
		}
		n = f.Value
	}
	return n
}

// spotter looks for the narrowest name or value at an offset.
type spotter struct {
	o         Options
	file      string
	offset    int32
	namespace string // of the document

	best  Spot
	found bool
}

func (w *spotter) node(n *syntax.Node, at Spot, field string) {
	switch n.Kind {
	case syntax.Mapping:
		w.fields(n, at, field)
	case syntax.Sequence:
		for _, item := range n.Items {
			w.node(item, at, field)
		}
	default:
		at.Range, at.Value = n.Range, n.Text
		w.take(at)
	}
}

// fields goes through an object that stands in a field of this name, or in a list in it.
func (w *spotter) fields(n *syntax.Node, at Spot, field string) {
	policy := text(folded(n, "policyRef", "name")).Value
	if strings.EqualFold(field, "policyRef") { // the odd place of a config that is read too
		policy = text(folded(n, "name")).Value
	}
	own := w.refers(n, field)
	at.Beside, at.Names = nil, nil
	for i := range n.Fields {
		at.Beside = append(at.Beside, n.Fields[i].Name)
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		child := at
		child.Path = append(slices.Clip(at.Path), f.Name)
		name := strings.ToLower(f.Name)
		switch name {
		case "name", "namespace", "kind":
			child.Names = own
		case "selector":
			child.Selects = labelsOf(folded(f.Value, "labels"))
		default:
			if f.Value.Kind == syntax.Mapping {
				child.Names = w.refers(f.Value, f.Name)
			}
		}
		key := child
		key.Key, key.Range = true, f.Range
		w.take(key)
		if name == "config" && w.known(policy) {
			child.Of, child.Path = policy, nil
		}
		w.node(f.Value, child, f.Name)
	}
}

func labelsOf(n *syntax.Node) map[string]string {
	out := map[string]string{}
	if n == nil {
		return out
	}
	for _, f := range n.Fields {
		out[f.Name] = text(f.Value).Value
	}
	return out
}

// refers are the objects that a reference may name: an object in a field of this name.
func (w *spotter) refers(n *syntax.Node, field string) []diag.Object {
	name := text(folded(n, "name")).Value
	if name == "" {
		return nil
	}
	ns := text(folded(n, "namespace")).Value
	id := diag.Object{Group: v1alpha1.Group, Namespace: cmp.Or(ns, w.namespace), Name: name}
	switch strings.ToLower(field) {
	case "targetref":
		id.Kind = cmp.Or(text(folded(n, "kind")).Value, v1alpha1.ApiInstance)
		if id.Kind != v1alpha1.ApiInstance && id.Kind != v1alpha1.Service {
			return nil
		}
	case "destinationref":
		id.Kind = v1alpha1.Service
	case "policyref", "extends":
		id.Kind = v1alpha1.Extension
		if id.Namespace != "default" {
			other := id
			other.Namespace = "default"
			return []diag.Object{id, other}
		}
	default:
		return nil
	}
	return []diag.Object{id}
}

// known reports whether there is a schema of a policy's configuration.
func (w *spotter) known(policy string) bool {
	if slices.Contains(RoutePolicies(), policy) {
		return true
	}
	if w.o.Policies == nil || policy == "" {
		return false
	}
	_, ok := w.o.Policies.Lookup(policy)
	return ok
}

// take keeps the narrowest of what is at the offset; what only ends there gives way.
func (w *spotter) take(s Spot) {
	r := s.Range
	if r.File != w.file || w.offset < r.Start.Offset || w.offset > r.End.Offset {
		return
	}
	ends := func(r diag.Range) bool { return w.offset == r.End.Offset && r.Start != r.End }
	size := func(r diag.Range) int32 { return r.End.Offset - r.Start.Offset }
	if w.found && (ends(r) && !ends(w.best.Range) || ends(r) == ends(w.best.Range) && size(w.best.Range) <= size(r)) {
		return
	}
	w.best, w.found = s, true
}

// Outlined is one object as it stands in a file, and what stands inline in it under the name that it counts by.
type Outlined struct {
	Object diag.Object
	Name   diag.Range // of what names it
	Range  diag.Range // of all of it
	Policy string     // of a PolicyBinding
	Serves string     // of an Echo: its address
	Labels map[string]string
	Inline []Outlined
}

// Outline are the objects in files, in the order of the set. Nothing is judged: what is broken is there as far as it can be read.
// The files of one CUE package are wanted together.
func Outline(set source.Set, wanted func(file string) bool) []Outlined {
	units, _ := syntax.Units(set)
	units = slices.DeleteFunc(units, func(u syntax.Unit) bool {
		return !slices.ContainsFunc(u.Files, func(f source.File) bool { return wanted(f.Name) })
	})
	found := make([][]Outlined, len(units))
	syntax.InParallel(len(units), func(i int) {
		docs, _ := units[i].Parse()
		for _, d := range docs {
			if o, ok := outlined(d); ok {
				found[i] = append(found[i], o)
			}
		}
	})
	return slices.Concat(found...)
}

func outlined(d *syntax.Document) (Outlined, bool) {
	kind := spotKind(d.Root)
	if kind == "" {
		return Outlined{}, false
	}
	group := v1alpha1.Group
	if slices.Contains(ourKinds, kind) {
		group = "flexgw"
	}
	name := text(folded(d.Root, "metadata", "name"))
	out := Outlined{Object: diag.Object{Group: group, Kind: kind, Namespace: cmp.Or(text(folded(d.Root, "metadata", "namespace")).Value, "default"), Name: name.Value},
		Name: name.Range, Range: d.Range, Labels: labelsOf(folded(d.Root, "metadata", "labels"))}
	if name.Range.IsZero() {
		out.Name = d.Root.Locate()
	}
	spec := folded(d.Root, "spec")
	switch kind {
	case v1alpha1.PolicyBinding:
		out.Policy = text(folded(spec, "policyRef", "name")).Value
	case v1alpha1.Echo:
		out.Serves = text(folded(spec, "address")).Value
	case v1alpha1.ApiInstance:
		out.Inline = inlined(spec, out.Object)
	}
	return out, true
}

// inlined are the Services and PolicyBindings that stand in an ApiInstance.
func inlined(spec *syntax.Node, api diag.Object) (out []Outlined) {
	add := func(kind, name, policy string, at, all diag.Range) {
		id := api
		id.Kind, id.Name = kind, api.Name+"-"+name
		out = append(out, Outlined{Object: id, Name: at, Range: all, Policy: policy})
	}
	if services := folded(spec, "services"); services != nil {
		for _, f := range services.Fields {
			all := f.Range
			if f.Value.Range.File == all.File && f.Value.Range.End.Offset > all.End.Offset {
				all.End = f.Value.Range.End
			}
			add(v1alpha1.Service, f.Name, "", f.Range, all)
		}
	}
	if policies := folded(spec, "policies"); policies != nil {
		for i, item := range policies.Items {
			if name := text(folded(item, "policyRef", "name")); name.Value != "" {
				add(v1alpha1.PolicyBinding, name.Value+"-"+strconv.Itoa(i+1), name.Value, name.Range, item.Range)
			}
		}
	}
	return out
}
