package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// doubt is a document or a file that could not be read as what it was meant to be, which has been reported. What is absent may be
// declared there: then its absence is an echo.
type doubt struct {
	at    string          // the file
	kind  string          // of the object; empty: nobody knows
	names map[string]bool // it may have one of these
	words map[string]bool // all that is written there
	every bool            // it may be anything: its text says nothing, or computes names
	bound bool            // it is bound to something, and nobody knows to what
}

// wordsOf are the words of a text: names are among them.
func wordsOf(text string) map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
	}) {
		words[strings.Trim(w, ".")] = true
	}
	return words
}

// doubtful is what may stand in a file that has syntax errors.
func doubtful(u syntax.Unit) doubt {
	out := doubt{at: u.Files[0].Name, names: map[string]bool{}, words: map[string]bool{}}
	for _, f := range u.Files {
		b, err := f.Bytes()
		if err != nil {
			out.every = true
			continue
		}
		text := string(b)
		for _, m := range declaredName().FindAllStringSubmatch(text, -1) {
			out.names[m[1]] = true
		}
		for w := range wordsOf(text) {
			out.words[w] = true
		}
		if isCUE(u) { // a name can stand anywhere: in a label, in a template
			out.names = out.words
			out.every = out.every || computed.MatchString(text)
		}
		if f := f.Name; strings.ContainsRune(text, 0) || text == "" {
			out.every, out.at = true, f
		}
	}
	return out
}

// doubt notes what one document may have been meant to declare, or to be bound to, when that is wrong.
func (d *docDecoder) doubt(found diag.List, bindings []*bindingDecl) {
	lost := slices.ContainsFunc(bindings, func(b *bindingDecl) bool {
		return b.broken && b.target == (diag.Object{}) && !b.selecting && (b.route != nil || b.typ == nil)
	})
	if !found.HasErrors() || d.id.Name != "" && !lost {
		return
	}
	o := d.unnamed()
	if o.bound = lost; lost {
		o.names = nil // it has a name, which is known
	}
	d.out.doubts = append(d.out.doubts, &o)
}

// unnamed is a document whose kind or name is wrong, with what it may have been called.
func (d *docDecoder) unnamed() doubt {
	out := doubt{at: d.doc.Unit.Name, names: map[string]bool{}, words: map[string]bool{}}
	root := d.doc.Root
	if f := root.Fold("kind"); f != nil {
		out.kind, _ = ourKind(text(f.Value).Value)
	}
	scalars(root, out.words)
	meta := root.Fold("metadata")
	if meta == nil {
		meta = misspelt(root, "metadata", "apiVersion", "kind", "spec")
	}
	if meta == nil {
		meta = &syntax.Field{Value: &syntax.Node{Kind: syntax.Mapping, Fields: slices.DeleteFunc(slices.Clone(root.Fields), func(f syntax.Field) bool { return !strings.EqualFold(f.Name, "name") })}}
	}
	if f := meta.Value.Fold("name"); f != nil {
		out.names[text(f.Value).Value] = true
		return out
	}
	for i := range meta.Value.Fields {
		if f := &meta.Value.Fields[i]; !strings.EqualFold(f.Name, "namespace") && f.Value.Kind == syntax.Scalar {
			out.names[text(f.Value).Value] = true
		}
	}
	return out
}

func scalars(n *syntax.Node, into map[string]bool) {
	if n.Kind == syntax.Scalar {
		into[n.Text] = true
	}
	for i := range n.Fields {
		into[n.Fields[i].Name] = true
		scalars(n.Fields[i].Value, into)
	}
	for _, item := range n.Items {
		scalars(item, into)
	}
}

// declares reports whether an object may be declared there.
func (d *doubt) declares(kind, name string) bool {
	if d.kind != "" && d.kind != kind && !(d.kind == v1alpha1.ApiInstance && kind == v1alpha1.Service) {
		return false
	}
	if d.names[name] {
		return true
	}
	if kind != v1alpha1.Service {
		return false
	}
	for i, r := range name { // a service that stands inline has two names
		if r == '-' && d.names[name[:i]] && d.words[name[i+1:]] {
			return true
		}
	}
	return false
}

// binds reports whether something may be bound there to an API.
func (d *doubt) binds(api string) bool {
	return (d.kind == "" || d.kind == v1alpha1.PolicyBinding || d.kind == v1alpha1.ApiInstance) && (d.every || d.bound || d.words[api] || d.words["selector"])
}

// The summaries of references that dangle: what dangles is read from them again.
const (
	noSuchSummary        = "no %s named %q in namespace %q"
	unknownPolicySummary = "unknown policy %q"
)

// withoutDoubtful drops what is said to be absent and may be declared where something could not be read. It is for those who read,
// after everything else: no object counts as right because of it.
func (s *state) withoutDoubtful(ds diag.List) diag.List {
	if len(s.doubts) == 0 {
		return ds
	}
	labelled := func(b *bindingDecl, o *doubt) bool {
		for name, v := range b.labels {
			if !o.words[name] || !o.words[v.Value] {
				return false
			}
		}
		return true
	}
	out := ds[:0:0]
	for _, d := range ds {
		kind, name, ns := "", "", ""
		echo := func(*doubt) bool { return false }
		declared := func(o *doubt) bool { return o.declares(kind, name) }
		switch d.Code {
		case "link/unknown-service", "link/unknown-api", "link/unknown-extension":
			if n, _ := fmt.Sscanf(d.Summary, noSuchSummary, &kind, &name, &ns); n == 3 {
				echo = declared
			}
		case "link/unknown-policy":
			if n, _ := fmt.Sscanf(d.Summary, unknownPolicySummary, &name); n == 1 {
				kind, echo = v1alpha1.Extension, declared
			}
		case "link/no-routes":
			echo = func(o *doubt) bool { return o.binds(d.Object.Name) }
		case "link/https-without-tls":
			echo = func(o *doubt) bool {
				return (o.words["tls"] || o.every) && (o.kind == "" || o.kind == v1alpha1.PolicyBinding || o.kind == v1alpha1.ApiInstance)
			}
		case "link/selector-matches-nothing":
			i := slices.IndexFunc(s.selectors, func(b *bindingDecl) bool { return b.id == d.Object && b.targetAt == d.Subject })
			echo = func(o *doubt) bool {
				return i >= 0 && (o.kind == "" || o.kind == v1alpha1.ApiInstance) && labelled(s.selectors[i], o)
			}
		}
		if slices.ContainsFunc(s.doubts, func(o *doubt) bool { return echo(o) }) {
			continue
		}
		if i := slices.IndexFunc(s.doubts, func(o *doubt) bool { return o.every }); i >= 0 && name != "" && d.Severity == diag.Error {
			d.Severity, d.Hint = diag.Note, "it may be declared in "+strconv.Quote(s.doubts[i].at)+", which cannot be read as a whole"
		}
		out = append(out, d)
	}
	return out
}
