package syntax

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// change is what some edits make of one document: of its tree, and of its text.
type change struct {
	*Editor
	doc   *Document
	want  *Node // the tree as it is to be
	cuts  []cut
	loses bool // comments may go
	undo  []func()
}

// applyAll makes changes of the tree and of the text: all, or none of the tree.
func (c *change) applyAll(edits []diag.Edit) bool {
	from := len(c.undo)
	for _, x := range edits {
		if !c.apply(x) {
			c.takeBack(from)
			return false
		}
	}
	return true
}

// takeBack makes the tree what it was before all changes but the first n.
func (c *change) takeBack(n int) {
	for i := len(c.undo) - 1; i >= n; i-- {
		c.undo[i]()
	}
	c.undo = c.undo[:n]
}

// touch is to be called before a node changes (its Fields and Items may be replaced or grow, but not change in place).
func (c *change) touch(n *Node) {
	was := *n
	c.undo = append(c.undo, func() { *n = was })
}

// cut is an edit of the text by offsets.
type cut struct {
	file     string
	from, to int
	text     string
}

func (c *change) cut(file string, from, to int, text string) bool {
	if from > to {
		return false // an alias: its value stands elsewhere
	}
	c.cuts = append(c.cuts, cut{file, from, to, text})
	return true
}

// fixes sorts the cuts and joins an insertion with the removal that it touches. False: two of them collide.
func (c *change) fixes() ([]diag.Fix, bool) {
	slices.SortStableFunc(c.cuts, func(a, b cut) int {
		return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	var joined []cut
	for _, x := range c.cuts {
		if n := len(joined) - 1; n >= 0 && joined[n].file == x.file && x.from <= joined[n].to {
			j, ok := c.join(joined[n], x)
			if !ok {
				return nil, false
			}
			joined[n] = j
			continue
		}
		joined = append(joined, x)
	}
	var out []diag.Fix
	for _, x := range joined {
		x = x.trim(c.files[x.file].src)
		out = append(out, diag.Fix{Range: c.files[x.file].span(x.from, x.to), Text: x.text})
	}
	return out, true
}

// trim leaves out what a cut does not change at its beginning and end.
func (x cut) trim(src []byte) cut {
	old := string(src[x.from:x.to])
	if !strings.Contains(old, "\n") {
		return x // a word is easier to read than some of its letters
	}
	n := 0
	for n < len(old) && n < len(x.text) && old[n] == x.text[n] {
		n++
	}
	for n > 0 && (n < len(old) && !utf8.RuneStart(old[n]) || n < len(x.text) && !utf8.RuneStart(x.text[n])) {
		n--
	}
	old, x.text, x.from = old[n:], x.text[n:], x.from+n
	n = 0
	for n < len(old) && n < len(x.text) && old[len(old)-1-n] == x.text[len(x.text)-1-n] {
		n++
	}
	for n > 0 && !utf8.RuneStart(old[len(old)-n]) {
		n--
	}
	x.text, x.to = x.text[:len(x.text)-n], x.to-n
	return x
}

// join makes one of two cuts, one of which inserts, at the edge of the other or before the line break that the other removes.
func (c *change) join(a, b cut) (cut, bool) {
	if a.from == a.to && b.from == b.to && a.from == b.from {
		return cut{}, false // whose text comes first is not known
	}
	switch {
	case a.to == b.from:
		return cut{a.file, a.from, b.to, a.text + b.text}, true
	case b.from == b.to && a.text == "":
		src := c.files[a.file].src
		eol := "\n"
		if bytes.HasSuffix(src[a.from:a.to], []byte("\r\n")) {
			eol = "\r\n"
		}
		if src[a.to-1] == '\n' && b.to >= a.to-len(eol) && strings.HasPrefix(b.text, eol) { // the line break comes after, not before
			return cut{a.file, a.from, a.to, b.text[len(eol):] + eol}, true
		}
	}
	return cut{}, false
}

// apply makes one change of the tree and of the text. False: it cannot be made.
func (c *change) apply(x diag.Edit) bool {
	way, mine := c.way(c.doc.Root, x), c.way(c.want, x)
	if way == nil || mine == nil || c.files[x.At.File] == nil {
		return false
	}
	switch x.Op {
	case diag.Rename:
		return c.rename(way, mine, x.Name)
	case diag.Set:
		return c.set(way, mine, nodeOf(x.Value))
	case diag.Quote:
		return c.quote(way, mine)
	case diag.Reword:
		text, ok := x.Value.(string)
		return ok && c.reword(way, mine, x.At, x.Name, text)
	case diag.Remove:
		c.loses = true
		_, ok := c.remove(way, mine)
		return ok
	case diag.Insert:
		return c.insert(way, mine, x.To, nodeOf(x.Value))
	case diag.Move:
		return c.move(way, mine, x.To)
	}
	return false
}

// node is the node that a way leads to.
func (c *change) node(root *Node, way []step) *Node {
	if len(way) == 0 {
		return root
	}
	return way[len(way)-1].node()
}

func (c *change) rename(way, mine []step, name string) bool {
	last, own := way[len(way)-1], mine[len(mine)-1]
	if own.in.Field(name) != nil {
		return false
	}
	f := &own.in.Fields[own.i]
	was := f.Name
	f.Name, c.undo = name, append(c.undo, func() { f.Name = was })
	r := last.in.Fields[last.i].Range
	old := c.text(r)
	return c.cut(r.File, int(r.Start.Offset), int(r.End.Offset), c.keyText(name, old))
}

func (c *change) text(r diag.Range) string {
	return string(c.files[r.File].src[r.Start.Offset:r.End.Offset])
}

func (c *change) set(way, mine []step, v *Node) bool {
	old, own := c.node(c.doc.Root, way), c.node(c.want, mine)
	r := old.Range
	c.touch(own)
	own.Kind, own.Scalar, own.Text, own.Fields, own.Items = v.Kind, v.Scalar, v.Text, v.Fields, v.Items
	flow := c.inFlow(way)
	if c.lang == yamlLang && !flow && (v.Kind == Mapping || old.Kind != Scalar && c.isBlock(old)) {
		if len(way) == 0 || way[len(way)-1].in.Kind != Mapping {
			return false
		}
		parent := way[len(way)-1]
		key := parent.in.Fields[parent.i].Range
		from, ok := c.afterColon(key)
		x := c.files[key.File]
		text := " " + flowText(v, c.lang)
		if v.Kind == Mapping {
			text = yamlBlock(v, int(key.Start.Offset)-x.lineBegin(int(key.Start.Offset)), x.eol())
		}
		return ok && c.cut(r.File, from, int(r.End.Offset), text)
	}
	if v.Kind != Scalar {
		return c.cut(r.File, int(r.Start.Offset), int(r.End.Offset), flowText(v, c.lang))
	}
	was := ""
	if old.Kind == Scalar {
		was = c.text(r)
	}
	return c.cut(r.File, int(r.Start.Offset), int(r.End.Offset), c.scalarText(v, was, flow))
}

// reword changes a word of a scalar where it stands.
func (c *change) reword(way, mine []step, at diag.Range, old, text string) bool {
	n, own := c.node(c.doc.Root, way), c.node(c.want, mine)
	part := c.text(at)
	i := strings.Index(part, old)
	if i < 0 || old == "" || strings.Contains(part[i+1:], old) {
		return false
	}
	from := int(at.Start.Offset) + i
	before := strings.Count(string(c.files[at.File].src[n.Range.Start.Offset:from]), old)
	rest := own.Text
	for range before {
		_, after, ok := strings.Cut(rest, old)
		if !ok {
			return false
		}
		rest = after
	}
	if !strings.Contains(rest, old) {
		return false
	}
	c.touch(own)
	own.Text = own.Text[:len(own.Text)-len(rest)] + strings.Replace(rest, old, text, 1)
	if _, isText := own.Scalar.(string); isText {
		own.Scalar = own.Text
	}
	return c.cut(at.File, from, from+len(old), text)
}

// quote puts quotes around a plain scalar. The text between them is not repeated, so that a secret does not show.
func (c *change) quote(way, mine []step) bool {
	n, own := c.node(c.doc.Root, way), c.node(c.want, mine)
	if n.Kind != Scalar || n.Quoted || c.lang != yamlLang || n.Text == "" || c.text(n.Range) != n.Text || strings.ContainsAny(n.Text, "\\\"\n") {
		return false
	}
	c.touch(own)
	own.Scalar = n.Text
	return c.cut(n.Range.File, int(n.Range.Start.Offset), int(n.Range.Start.Offset), `"`) && c.cut(n.Range.File, int(n.Range.End.Offset), int(n.Range.End.Offset), `"`)
}

// remove takes a field out and returns its text.
func (c *change) remove(way, mine []step) (snippet, bool) {
	own := mine[len(mine)-1]
	c.touch(own.in)
	own.in.Fields = slices.Delete(slices.Clone(own.in.Fields), own.i, own.i+1)
	if c.isBlock(way[len(way)-1].in) {
		return c.removeBlock(way)
	}
	return c.removeFlow(way[len(way)-1])
}

func (c *change) insert(way, mine []step, to []string, v *Node) bool {
	if !c.put(c.node(c.want, mine), to, v) {
		return false
	}
	return c.write(c.node(c.doc.Root, way), to, snippet{value: v})
}

func (c *change) move(way, mine []step, to []string) bool {
	up := 0
	for up < len(to) && to[up] == ".." {
		up++
	}
	if up >= len(way) || up == len(to) {
		return false
	}
	from := way[len(way)-1]
	value := mine[len(mine)-1].node()
	if up == 0 && from.in.Fold(to[0]) == nil {
		own := mine[len(mine)-1]
		c.touch(own.in)
		own.in.Fields = slices.Delete(slices.Clone(own.in.Fields), own.i, own.i+1)
		return c.put(own.in, to, value) && c.wrap(from, to)
	}
	s, ok := c.remove(way, mine)
	if !ok {
		return false
	}
	s.value = from.in.Fields[from.i].Value
	if !c.put(mine[len(mine)-1-up].in, to[up:], value) {
		return false
	}
	return c.write(way[len(way)-1-up].in, to[up:], s)
}

// wrap makes what is missing around a field where it stands.
func (c *change) wrap(from step, to []string) bool {
	f := &from.in.Fields[from.i]
	x := c.files[f.Range.File]
	if x == nil {
		return false
	}
	if !c.isBlock(from.in) {
		keyEnd, end, ok := c.flowEnd(f)
		if !ok {
			return false
		}
		line := x.lineBegin(int(f.Range.Start.Offset))
		text, ok := c.flowField(x, "", false, to, snippet{after: string(x.src[keyEnd:end]), indent: x.indentOf(line), value: f.Value})
		return ok && c.cut(f.Range.File, int(f.Range.Start.Offset), end, text)
	}
	e, ok := c.blockExtent(from)
	if !ok {
		return false
	}
	column := e.key - e.line
	text, ok := blockLines(column, to, snippet{after: string(x.src[f.Range.End.Offset:e.end]), indent: column, block: true, value: f.Value}, x.eol())
	return ok && c.cut(f.Range.File, e.key, e.end, strings.TrimLeft(text, " "))
}

// put puts a value into a tree; what is missing on the way is made. False: something stands there, or is in the way.
func (c *change) put(n *Node, to []string, v *Node) bool {
	for len(to) > 1 {
		next := &Node{Kind: Mapping}
		if _, err := strconv.Atoi(to[1]); err == nil {
			next.Kind = Sequence
		}
		switch n.Kind {
		case Mapping:
			if f := n.Fold(to[0]); f != nil {
				next = f.Value
			} else {
				c.touch(n)
				n.Fields = append(n.Fields, Field{Name: to[0], Value: next})
			}
		case Sequence:
			i, err := strconv.Atoi(to[0])
			switch {
			case err != nil || i < 0 || i > len(n.Items):
				return false
			case i < len(n.Items):
				next = n.Items[i]
			default:
				c.touch(n)
				n.Items = append(n.Items, next)
			}
		default:
			return false
		}
		n, to = next, to[1:]
	}
	if len(to) == 0 || n.Kind != Mapping || n.Fold(to[0]) != nil {
		return false
	}
	c.touch(n)
	n.Fields = append(n.Fields, Field{Name: to[0], Value: v})
	return true
}

// write puts a snippet into the text where put puts the value into the tree.
func (c *change) write(n *Node, to []string, s snippet) bool {
	for len(to) > 1 {
		next, whole := n.At(to[0])
		if !whole {
			if f := n.Fold(to[0]); f != nil {
				next, whole = f.Value, true
			}
		}
		if !whole {
			break
		}
		n, to = next, to[1:]
	}
	if n.Kind != Mapping || c.files[n.Range.File] == nil {
		return false
	}
	if c.isBlock(n) {
		return c.writeBlock(n, to, s)
	}
	return c.writeFlow(n, to, s)
}

// isBlock reports whether a mapping or sequence is written in YAML's block style.
func (c *change) isBlock(n *Node) bool {
	if c.lang != yamlLang {
		return false
	}
	src, at := c.files[n.Range.File].src, int(n.Range.Start.Offset)
	return at < len(src) && src[at] != '{' && src[at] != '['
}

// inFlow reports whether what a way leads to stands inside YAML's flow style.
func (c *change) inFlow(way []step) bool {
	return slices.ContainsFunc(way, func(s step) bool { return !c.isBlock(s.in) })
}

// afterColon is the offset after the colon of a key.
func (c *change) afterColon(key diag.Range) (int, bool) {
	src := c.files[key.File].src
	at := int(key.End.Offset)
	for at < len(src) && isBlank(src[at]) {
		at++
	}
	return at + 1, at < len(src) && src[at] == ':'
}
