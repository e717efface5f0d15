package syntax

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// Formatted is a file in canonical form.
type Formatted struct {
	Name string
	Text []byte
}

// Format brings the files of a unit into canonical form: two blanks a level, one separator between documents, no blanks at the
// ends of lines, one line break at the end of the file, and the fields of documents for which order answers in that order.
// Comments, block scalars, quotes and flow style stay as they are. A text that would not be read as the very same trees, with the
// same comments, is left alone and named by a diagnostic; so is one that cannot be read.
//
// order names the fields that come first in a root, and in its metadata. A unit of which it names none is not ours and left alone.
//
// CUE is formatted as cue does it, and not evaluated for that: a package counts as ours if it, or one that it imports, writes an
// apiVersion of ours, and what must not change are its words.
func Format(u Unit, order func(root *Node) (top, metadata []string)) ([]Formatted, diag.List) {
	if u.cue != nil {
		return formatCUE(u, order)
	}
	docs, ds := u.Parse()
	if ds.HasErrors() {
		return nil, slices.DeleteFunc(ds, func(d diag.Diagnostic) bool { return d.Severity != diag.Error })
	}
	ours := func(d *Document) bool { top, _ := order(d.Root); return len(top) > 0 }
	if !slices.ContainsFunc(docs, ours) {
		return nil, nil
	}
	var out []Formatted
	edited := u
	edited.Files = slices.Clone(u.Files)
	ds = nil
	for i, f := range u.Files {
		x, _ := read(f)
		if x == nil {
			continue
		}
		text, reason := formatted(u, x, docs, order)
		switch {
		case reason != "":
			ds = append(ds, notFormatted(f.Name, reason))
		case !bytes.Equal(text, x.src):
			edited.Files[i] = source.NewFile(f.Name, text)
			out = append(out, Formatted{f.Name, text})
		}
	}
	if len(out) == 0 {
		return nil, ds
	}
	again, more := edited.Parse()
	if more.HasErrors() || !slices.EqualFunc(docs, again, func(a, b *Document) bool { return same(a.Root, b.Root) }) {
		for _, f := range out {
			ds = append(ds, notFormatted(f.Name, "it would not be read as the same"))
		}
		return nil, ds
	}
	return out, ds
}

func notFormatted(file, reason string) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Warning, Code: "source/not-formatted", Subject: diag.Range{File: file},
		Summary: "the layout of this file is left as it is: " + reason, Hint: "format it by hand, or leave it so"}
}

// formatted is the canonical text of a file, or why it has none.
func formatted(u Unit, x *index, docs []*Document, order func(*Node) (top, metadata []string)) (text []byte, reason string) {
	defer func() { // the libraries panic on some input, and nothing is lost by leaving a file alone
		if r := recover(); r != nil {
			text, reason = nil, fmt.Sprintf("the formatter fails on it (%v)", r)
		}
	}()
	switch {
	case strings.HasSuffix(strings.ToLower(u.Name), ".json"):
		return formatJSON(x, order), ""
	}
	return formatYAML(x, order)
}

// jsonPrinter writes JSON with two blanks a level. What is written in one line and holds no object stays there.
type jsonPrinter struct {
	src   []byte
	order func(*Node) (top, metadata []string)
	out   bytes.Buffer
	eol   string
}

func formatJSON(x *index, order func(*Node) (top, metadata []string)) []byte {
	p := &jsonPrinter{src: x.src, order: order, eol: x.eol()}
	parser := &jsonParser{cursor: newCursor(x), at: x.start}
	root, ok := parser.document()
	if !ok {
		return x.src
	}
	p.out.Write(x.src[:x.start])
	roots := []*Node{root}
	if root.Kind == Sequence {
		roots = root.Items
	}
	for _, n := range roots {
		p.arrange(n)
	}
	p.value(root, "")
	p.out.WriteString(p.eol)
	return p.out.Bytes()
}

// arrange brings the fields of a declaration into their order.
func (p *jsonPrinter) arrange(n *Node) {
	if n.Kind != Mapping {
		return
	}
	top, metadata := p.order(n)
	sortFields(n, top)
	if f := n.Fold("metadata"); f != nil {
		sortFields(f.Value, metadata)
	}
}

// sortFields brings the named fields to the front, in the order of names.
func sortFields(n *Node, names []string) {
	slices.SortStableFunc(n.Fields, func(a, b Field) int { return rank(names, a.Name) - rank(names, b.Name) })
}

// rank is the place of a field among those that have one.
func rank(names []string, name string) int {
	for i, n := range names {
		if strings.EqualFold(n, name) {
			return i
		}
	}
	return len(names)
}

func (p *jsonPrinter) raw(r diag.Range) []byte { return p.src[r.Start.Offset:r.End.Offset] }

func (p *jsonPrinter) value(n *Node, indent string) {
	inner := indent + "  "
	switch {
	case n.Kind == Mapping && len(n.Fields) > 0:
		p.out.WriteString("{" + p.eol)
		for i, f := range n.Fields {
			p.out.WriteString(inner)
			p.out.Write(p.raw(f.Range))
			p.out.WriteString(": ")
			p.value(f.Value, inner)
			p.comma(i, len(n.Fields))
		}
		p.out.WriteString(indent + "}")
	case n.Kind == Mapping:
		p.out.WriteString("{}")
	case n.Kind == Sequence && len(n.Items) == 0:
		p.out.WriteString("[]")
	case n.Kind == Sequence && !slices.ContainsFunc(n.Items, func(x *Node) bool { return x.Kind != Scalar }) && !bytes.Contains(p.raw(n.Range), []byte{'\n'}):
		p.out.WriteString("[")
		for i, item := range n.Items {
			if i > 0 {
				p.out.WriteString(", ")
			}
			p.out.Write(p.raw(item.Range))
		}
		p.out.WriteString("]")
	case n.Kind == Sequence:
		p.out.WriteString("[" + p.eol)
		for i, item := range n.Items {
			p.out.WriteString(inner)
			p.value(item, inner)
			p.comma(i, len(n.Items))
		}
		p.out.WriteString(indent + "]")
	default:
		p.out.Write(p.raw(n.Range))
	}
}

func (p *jsonPrinter) comma(i, n int) {
	if i+1 < n {
		p.out.WriteString(",")
	}
	p.out.WriteString(p.eol)
}
