package schema

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Documents are the declarations of files as they were declared, in the order of the set: what a model does not keep, read
// again. Files that are not wanted are left out, but those of one CUE package are wanted together. What is wrong with a
// document is not said here; one that has no name is not there.
func Documents(set source.Set, o Options, wanted func(file string) bool) []ir.Document {
	units, _ := syntax.Units(set)
	units = slices.DeleteFunc(units, func(u syntax.Unit) bool {
		return !slices.ContainsFunc(u.Files, func(f source.File) bool { return wanted(f.Name) })
	})
	d := &decoder{o: o, patterns: &patterns{}, keep: &readOnce{}}
	results := make([]*unitResult, len(units))
	syntax.InParallel(len(units), func(i int) { results[i] = d.unit(units[i]) })
	var all []ir.Document
	for _, r := range results {
		all = append(all, r.kept...)
	}
	return all
}

// readOnce is files that are read once.
type readOnce struct{ files sync.Map } // name → func() []byte

func (t *readOnce) of(f source.File) []byte {
	read, _ := t.files.LoadOrStore(f.Name, sync.OnceValue(func() []byte {
		b, _ := f.Bytes() // what cannot be read holds no document either
		return b
	}))
	return read.(func() []byte)()
}

// keepDocument keeps a document without its tree, and without what must not be shown.
func (d *docDecoder) keepDocument(v view, root *syntax.Node) {
	w := &declaring{d: d}
	d.out.kept = append(d.out.kept, ir.Document{Object: d.id, Name: d.name.Range, Tree: w.value(v, root)})
}

// declaring walks one document.
type declaring struct {
	d    *docDecoder
	vars map[*syntax.Node]string // of the configuration that it is in
	path []string
}

func (w *declaring) value(v view, n *syntax.Node) *ir.Declared {
	out := &ir.Declared{Range: n.Range}
	switch n.Kind {
	case syntax.Mapping:
		out.Kind = ir.Mapping
		pair, policy := secretPair(n), n.Get("policyRef").Get("name")
		for _, f := range n.Fields {
			child, _ := v.field(f.Name)
			child.hidden = child.hidden || f.Name == pair
			w.path = append(w.path, f.Name)
			if f.Name == "config" && policy != nil && f.Value.Kind == syntax.Mapping {
				child, f.Value = w.config(policy, child, f.Value)
			}
			out.Fields = append(out.Fields, ir.DeclaredField{Name: f.Name, Value: w.value(child, f.Value)})
			w.path = w.path[:len(w.path)-1]
		}
		slices.SortFunc(out.Fields, func(a, b ir.DeclaredField) int { return strings.Compare(a.Name, b.Name) })
	case syntax.Sequence:
		out.Kind = ir.List
		for i, item := range n.Items {
			w.path = append(w.path, strconv.Itoa(i))
			out.Items = append(out.Items, w.value(v.item(), item))
			w.path = w.path[:len(w.path)-1]
		}
	default:
		w.scalar(v, n, out)
	}
	return out
}

// config brings the configuration of a policy into the form that the policy's own schema describes.
func (w *declaring) config(name *syntax.Node, v view, n *syntax.Node) (view, *syntax.Node) {
	j := w.d.configJudge(text(name).Value)
	if j == nil {
		return v, n
	}
	z := &normal{getenv: w.d.getenv, path: slices.Clone(w.path)}
	n = z.node(j.root.view(), n)
	w.vars = z.vars
	return j.root.view(), n
}

// configJudge is what judges the configuration of a policy; nil: the catalogue does not list it.
func (d *docDecoder) configJudge(policy string) *judge {
	if slices.Contains(RoutePolicies(), policy) {
		return kindJudges()[policy]
	}
	t, ok := d.lookup(policy)
	if !ok {
		return nil
	}
	j, err := d.policy(t)
	if err != nil {
		return nil // reported where the binding is judged
	}
	return j
}

func (w *declaring) scalar(v view, n *syntax.Node, out *ir.Declared) {
	text, isText := n.Scalar.(string)
	switch name := w.vars[n]; {
	case name != "":
		out.Text = "$" + name
	case isText && variable.MatchString(text):
		out.Text = text // unset
	case n.Scalar != nil && n.Text != "" && (v.hidden || secretName(w.path) || w.looksSecret(n) || w.d.out.sealedAt[n.Range]):
		out.Secret = ir.NewSecret(canonical(n))
		out.Text = diag.Redacted
	case isText:
		b, err := json.Marshal(text)
		if err != nil { // a string always marshals
			panic(err)
		}
		out.Text = string(b)
	case n.Scalar == nil:
		out.Text = "null"
	default:
		out.Text = canonical(n)
	}
}

// looksSecret reports whether a secret stands where a value was written, whatever its name: a private key, a token, a
// password in a URL.
func (w *declaring) looksSecret(n *syntax.Node) bool {
	i := slices.IndexFunc(w.d.doc.Unit.Files, func(f source.File) bool { return f.Name == n.Range.File })
	if i < 0 {
		return false
	}
	b := w.d.keep.of(w.d.doc.Unit.Files[i])
	from, to := int(n.Range.Start.Offset), min(int(n.Range.End.Offset), len(b))
	for from < to {
		line, _, _ := bytes.Cut(b[from:to], []byte("\n"))
		if len(line) > 0 && diag.SecretIn(b, from, from+len(line)) {
			return true
		}
		from += len(line) + 1
	}
	return false
}

// secretPair is the field of an object that names something and gives its value, when what it names holds a secret: the
// value of the header Authorization.
func secretPair(n *syntax.Node) string {
	value := n.Fold("value")
	if value == nil {
		return ""
	}
	for _, name := range []string{"key", "name", "header", "headerName"} {
		f := n.Fold(name)
		if f == nil {
			continue
		}
		text, _ := f.Value.Scalar.(string)
		switch strings.ToLower(text) {
		case "authorization", "proxy-authorization", "cookie", "set-cookie":
			return value.Name
		}
		if diag.SecretName(text) {
			return value.Name
		}
	}
	return ""
}
