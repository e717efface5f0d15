package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
	"unsafe"

	"go.yaml.in/yaml/v4"

	"github.com/flexgw/flexgw/schema/diag"
)

// maxAliased is how many nodes the aliases and merge keys of one document may stand for.
const maxAliased = 1_000_000

// chunkSize is about how many bytes one goroutine parses at a time.
const chunkSize = 64 << 10

// part is a stretch of a YAML stream that holds at most one document, or a chunk of several such stretches.
type part struct{ from, to int }

// parseYAML calls f with the roots of a stream's documents, some at a time; documents without content are left out. The trees are
// gone when f returns, unless it says that it kept some part of them.
//
// "---" at the beginning of a line ends a document whatever stands before it, an open quote included
// (https://yaml.org/spec/1.2.2/#rule-c-forbidden), so the stream is cut there first. The pieces are parsed in chunks,
// and one by one where a chunk holds an error, which therefore hides no other document.
func parseYAML(x *index, f func([]*Node) (kept bool)) diag.List {
	breaks := x.lines
	if x.odd {
		breaks = yamlLines(x)
	}
	chunks := chunksOf(splitYAML(x))
	var ds diag.List
	for batch := range slices.Chunk(chunks, batchSize*runtime.GOMAXPROCS(0)) {
		before := len(ds)
		type result struct {
			roots []*Node
			ds    diag.List
			quick *quick
		}
		results := make([]result, len(batch))
		InParallel(len(batch), func(i int) {
			r := &results[i]
			r.quick = quicks.Get().(*quick)
			r.roots, r.ds = parseChunk(x, breaks, batch[i], r.quick)
		})
		roots := results[0].roots
		for i, r := range results {
			if i > 0 {
				roots = append(roots, r.roots...)
			}
			ds = append(ds, r.ds...)
		}
		if len(ds) > before {
			if conflicts := mergeConflicts(x); len(conflicts) > 0 {
				ds = append(ds[:before], withoutConflicts(ds[before:], conflicts, batch)...)
				roots = slices.DeleteFunc(roots, func(n *Node) bool { return inConflict(n.Range, conflicts) })
			}
		}
		kept := f(roots)
		for _, r := range results {
			r.quick.release(kept)
		}
	}
	return ds
}

// batchSize is how many chunks each goroutine parses before their trees are handed on.
const batchSize = 8

func chunksOf(parts []part) [][]part {
	var chunks [][]part
	for i := 0; i < len(parts); {
		j := i + 1
		for j < len(parts) && parts[j].to-parts[i].from <= chunkSize {
			j++
		}
		chunks = append(chunks, parts[i:j])
		i = j
	}
	return chunks
}

// parseChunk reads what it can quickly, and the documents between with the library.
func parseChunk(x *index, breaks []int, ps []part, q *quick) (roots []*Node, ds diag.List) {
	if !x.print {
		return parseSlowly(x, breaks, ps)
	}
	src := x.src[ps[0].from:ps[len(ps)-1].to]
	text := unsafe.String(unsafe.SliceData(src), len(src)) // nobody writes to what a file holds (source.File)
	slow := 0                                              // the first of the parts that wait for the library
	wait := func(to int) {
		if slow < to {
			more, problems := parseSlowly(x, breaks, ps[slow:to])
			roots, ds = append(roots, more...), append(ds, problems...)
		}
	}
	for i, p := range ps {
		if more, ok := q.read(x, text, ps[0].from, p); ok {
			wait(i)
			slow, roots = i+1, append(roots, more...)
		}
	}
	wait(len(ps))
	return roots, ds
}

func parseSlowly(x *index, breaks []int, ps []part) ([]*Node, diag.List) {
	c := &yamlConv{cursor: newCursor(x), breaks: breaks}
	roots, ds := c.chunk(part{ps[0].from, ps[len(ps)-1].to})
	if ds == nil || len(ps) == 1 {
		return roots, append(ds, c.ds...)
	}
	roots, ds = nil, nil
	for _, p := range ps {
		c := &yamlConv{cursor: newCursor(x), breaks: breaks}
		more, problems := c.chunk(p)
		roots = append(roots, more...)
		ds = append(append(ds, problems...), c.ds...)
	}
	return roots, ds
}

// splitYAML cuts before "---" and after "...". What has no content yet (comments, directives) stays with what follows.
func splitYAML(x *index) []part {
	var parts []part
	from, content := x.start, false
	for l := range x.lines {
		at := max(x.lines[l], x.start)
		end := len(x.src)
		if l+1 < len(x.lines) {
			end = x.lines[l+1]
		}
		line := x.src[at:end]
		switch {
		case isMarker(bytes.TrimPrefix(line, []byte(bom)), "---"):
			if content {
				parts = append(parts, part{from, at})
				from = at
			}
			content = true
		case isMarker(line, "..."):
			if content {
				parts = append(parts, part{from, end})
			}
			from, content = end, false
		case !content:
			t := bytes.TrimLeft(line, " \t\r\n")
			content = len(t) > 0 && t[0] != '#' && line[0] != '%'
		}
	}
	if content || from < len(x.src) {
		parts = append(parts, part{from, len(x.src)})
	}
	return parts
}

func isMarker(line []byte, mark string) bool {
	if !bytes.HasPrefix(line, []byte(mark)) {
		return false
	}
	rest := line[len(mark):]
	return len(rest) == 0 || isBlank(rest[0]) || rest[0] == '\n'
}

// yamlLines are the offsets of the lines as YAML 1.1 and the library count them.
func yamlLines(x *index) []int {
	lines := []int{0}
	for i := x.start; i < len(x.src); {
		if n := breakLen(x.src[i:]); n > 0 {
			i += n
			lines = append(lines, i)
			continue
		}
		i++
	}
	return lines
}

// yamlConv makes Nodes of one chunk.
type yamlConv struct {
	*cursor
	breaks []int // lines as the library counts them
	part   part
	base   int // the number of the part's first line in breaks

	anchors map[*yaml.Node]anchored
	aliased int // nodes that aliases stood for so far
	count   int // nodes made so far, those of aliases included
	slab    []Node
	ds      diag.List
	stop    bool // the document is given up

	markLine, markCol, markOff int // the last mark that was looked up, to go on from there
}

type anchored struct {
	node *Node
	size int
}

// chunk returns the roots in p. The list it returns says why the text could not be read to its end; what is wrong
// with a document's content is in c.ds, and such a document is left out when it could not be made whole.
func (c *yamlConv) chunk(p part) (roots []*Node, broken diag.List) {
	if bytes.HasPrefix(c.src[p.from:p.to], []byte(bom)) {
		p.from += len(bom)
	}
	c.part, c.base = p, sort.SearchInts(c.breaks, p.from+1)-1
	defer func() { // panics of YAML libraries on malformed input have been reported again and again
		if r := recover(); r != nil {
			roots, broken = nil, diag.List{{Severity: diag.Error, Code: "yaml/syntax", Subject: c.firstLine(p.from),
				Summary: "this document makes the YAML reader fail", Hint: "simplify it, and tell us about it"}}
		}
	}()
	text := withoutVersion(c.src[p.from:p.to])
	l, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, diag.List{c.syntaxError(err)}
	}
	for {
		var doc yaml.Node
		if err := l.Load(&doc); errors.Is(err, io.EOF) {
			return roots, nil
		} else if err != nil {
			return roots, diag.List{c.syntaxError(err)}
		}
		roots = append(roots, c.document(&doc)...)
	}
}

// withoutVersion turns %YAML directives into comments: the library refuses 1.2, the version that is current.
func withoutVersion(text []byte) []byte {
	mark := []byte("%YAML ")
	if !bytes.Contains(text, mark) {
		return text
	}
	text = bytes.Clone(text)
	for i := 0; i < len(text); {
		end := len(text)
		if j := bytes.IndexByte(text[i:], '\n'); j >= 0 {
			end = i + j + 1
		}
		t := bytes.TrimLeft(text[i:end], " \t\r\n")
		if bytes.HasPrefix(text[i:end], mark) {
			text[i] = '#'
		} else if len(t) > 0 && t[0] != '#' && text[i] != '%' {
			break
		}
		i = end
	}
	return text
}

func (c *yamlConv) document(doc *yaml.Node) (roots []*Node) {
	n := doc
	if n.Kind == yaml.DocumentNode {
		if len(n.Content) == 0 {
			return nil
		}
		n = n.Content[0]
	}
	if n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == "" {
		return nil
	}
	c.anchors, c.aliased, c.count, c.stop = nil, 0, 0, false
	for _, n := range c.apart(n) {
		root, _ := c.node(n, -1, 0)
		if c.stop {
			return nil
		}
		roots = append(roots, root)
	}
	return roots
}

// apart takes a mapping apart that is several declarations with nothing between them: each has an apiVersion and a kind.
func (c *yamlConv) apart(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle != 0 || n.Anchor != "" {
		return []*yaml.Node{n}
	}
	var cuts []int // where the second and the next ones begin
	var first []*yaml.Node
	seen, has := map[string]*yaml.Node{}, 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if !slices.Contains(declaring, k.Value) {
			continue
		}
		if seen[k.Value] != nil {
			if has < 2 {
				return []*yaml.Node{n}
			}
			cuts, first = append(cuts, i), append(first, seen[k.Value])
			seen, has = map[string]*yaml.Node{}, 0
		}
		seen[k.Value] = k
		if k.Value == "apiVersion" || k.Value == "kind" {
			has++
		}
	}
	if len(cuts) == 0 || has < 2 {
		return []*yaml.Node{n}
	}
	var out []*yaml.Node
	from := 0
	for i, cut := range append(cuts, len(n.Content)) {
		part := *n
		part.Content = n.Content[from:cut]
		if i > 0 {
			k := part.Content[0]
			part.Line, part.Column, part.Tag = k.Line, k.Column, ""
			at := c.offset(k.Line, k.Column)
			begin := c.lineBegin(at)
			c.report(diag.Diagnostic{Severity: diag.Error, Code: "yaml/missing-separator", Subject: c.keyAt(at),
				Summary: fmt.Sprintf("another document begins here, with a second %s, and no --- stands before it", k.Value), Hint: "write a line --- before it",
				Related: []diag.Related{{Subject: c.keyAt(c.offset(first[i-1].Line, first[i-1].Column)), Summary: "the first one"}},
				Fixes:   []diag.Fix{{Range: c.span(begin, begin), Text: "---\n"}}})
		}
		out = append(out, &part)
		from = cut
	}
	return out
}

// declaring are the keys at the root of a declaration.
var declaring = []string{"apiVersion", "kind", "metadata", "spec"}

// giveUp reports what makes the document useless as a whole, once.
func (c *yamlConv) giveUp(d diag.Diagnostic) {
	if !c.stop {
		c.stop = true
		c.report(d)
	}
}

func (c *yamlConv) report(d diag.Diagnostic) { c.ds = append(c.ds, d) }

// offset is where the library's mark (1-based, columns in runes) is in the file.
func (c *yamlConv) offset(line, column int) int {
	if c.base+line-1 >= len(c.breaks) {
		return c.part.to // the library begins a line of its own for the end of a text that lacks the last line break
	}
	l := c.base + max(line, 1) - 1
	start := c.breaks[l]
	if line <= 1 {
		start = c.part.from
	}
	column = max(column, 1)
	if c.ascii {
		return min(start+column-1, c.part.to)
	}
	off, col := start, 1
	if c.markLine == l && c.markCol >= 1 && c.markCol <= column && c.markOff >= start {
		off, col = c.markOff, c.markCol
	}
	for ; col < column && off < c.part.to; col++ {
		_, n := utf8.DecodeRune(c.src[off:])
		off += n
	}
	c.markLine, c.markCol, c.markOff = l, col, off
	return off
}

func (c *yamlConv) newNode() *Node {
	if len(c.slab) == 0 {
		c.slab = make([]Node, 32)
	}
	n := &c.slab[0]
	c.slab = c.slab[1:]
	c.count++
	return n
}

var nothing = &Node{}

// node converts n and returns the offset where its text in this place ends. indent is the column, 0-based, of the
// block collection that holds it, -1 for the root.
func (c *yamlConv) node(n *yaml.Node, indent, depth int) (*Node, int) {
	at := c.offset(n.Line, n.Column)
	if c.stop {
		return nothing, at
	}
	if depth > MaxDepth {
		c.giveUp(diag.Diagnostic{Severity: diag.Error, Code: "yaml/too-deep", Subject: c.at(at),
			Summary: fmt.Sprintf("values nest more than %d deep here", MaxDepth), Hint: "flatten the document"})
		return nothing, at
	}
	if n.Kind == yaml.AliasNode {
		return c.alias(n, at), min(at+1+len(n.Value), c.part.to)
	}
	before := c.count
	from, tag := c.properties(at)
	out := c.newNode()
	var end int
	switch n.Kind {
	case yaml.MappingNode:
		end = c.mapping(n, out, from, depth)
	case yaml.SequenceNode:
		end = c.sequence(n, out, from, depth)
	default:
		end = c.scalar(n, out, from, indent, tag)
	}
	if n.Kind != yaml.ScalarNode && tag != "" {
		c.checkTag(n.Tag, at, from)
	}
	out.Range = c.span(from, end)
	if n.Anchor != "" {
		if c.anchors == nil {
			c.anchors = map[*yaml.Node]anchored{}
		}
		c.anchors[n] = anchored{out, c.count - before}
	}
	return out, end
}

// properties skips anchors and tags and returns where the content begins, and the tag as written.
func (c *yamlConv) properties(at int) (int, string) {
	tag := ""
	for at < c.part.to && (c.src[at] == '&' || c.src[at] == '!') {
		end := at
		for end < c.part.to && !isBlank(c.src[end]) && c.src[end] != '\n' && breakLen(c.src[end:]) == 0 {
			if (c.src[end] == ',' || c.src[end] == ']' || c.src[end] == '}') && !bytes.HasPrefix(c.src[at:], []byte("!<")) {
				break
			}
			end++
		}
		if c.src[at] == '!' {
			tag = string(c.src[at:end])
		}
		next := c.skip(end, "")
		if next == c.part.to || next == end {
			return end, tag
		}
		at = next
	}
	return at, tag
}

// skip goes over blanks, line breaks, comments and the given separators.
func (c *yamlConv) skip(at int, separators string) int {
	for at < c.part.to {
		switch b := c.src[at]; {
		case isBlank(b) || b == '\n':
			at++
		case b == '#' && (at == c.part.from || isBlank(c.src[at-1]) || c.src[at-1] == '\n' || c.src[at-1] == ','):
			if i := bytes.IndexByte(c.src[at:c.part.to], '\n'); i >= 0 {
				at += i
			} else {
				at = c.part.to
			}
		case strings.IndexByte(separators, b) >= 0:
			at++
		case b >= utf8.RuneSelf && breakLen(c.src[at:]) > 0:
			at += breakLen(c.src[at:])
		default:
			return at
		}
	}
	return at
}

// close is the offset after the bracket that ends the flow collection whose last child ends at end.
func (c *yamlConv) close(n *yaml.Node, from, end int, bracket byte) int {
	if n.Style&yaml.FlowStyle == 0 {
		return end
	}
	at := c.skip(max(end, from+1), ",:?")
	if at < c.part.to && c.src[at] == bracket {
		return at + 1
	}
	return end
}

func (c *yamlConv) alias(n *yaml.Node, at int) *Node {
	a, ok := c.anchors[n.Alias]
	if !ok {
		c.giveUp(diag.Diagnostic{Severity: diag.Error, Code: "yaml/recursive-alias", Subject: c.span(at, at+1+len(n.Value)),
			Summary: fmt.Sprintf("alias %q stands inside the value of its own anchor", n.Value),
			Hint:    "write the value out; declarations cannot contain themselves"})
		return nothing
	}
	c.expand(a, at, at+1+len(n.Value))
	return a.node
}

// expand counts what an alias stands for.
func (c *yamlConv) expand(a anchored, from, to int) {
	c.aliased += a.size
	c.count += a.size
	if c.aliased > maxAliased {
		c.giveUp(diag.Diagnostic{Severity: diag.Error, Code: "yaml/alias-bomb", Subject: c.span(from, to),
			Summary: fmt.Sprintf("the aliases of this document stand for more than %d values", maxAliased),
			Hint:    "use fewer aliases of aliases, or write the values out"})
	}
}

func (c *yamlConv) sequence(n *yaml.Node, out *Node, from, depth int) int {
	out.Kind = Sequence
	out.Items = make([]*Node, 0, len(n.Content))
	end := from
	for _, item := range n.Content {
		v, e := c.node(item, n.Column-1, depth+1)
		out.Items = append(out.Items, v)
		end = max(end, e)
	}
	if len(n.Content) == 0 {
		end = min(from+1, c.part.to)
	}
	return c.close(n, from, end, ']')
}

// mapping keeps the first of two equal keys, and reports the second.
func (c *yamlConv) mapping(n *yaml.Node, out *Node, from, depth int) int {
	out.Kind = Mapping
	out.Fields = make([]Field, 0, len(n.Content)/2)
	indent := n.Column - 1
	if len(n.Content) > 0 {
		indent = n.Content[0].Column - 1
	}
	seen := newNames(len(n.Content) / 2)
	var merges []merge
	end := from
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		key, keyFrom, keyEnd, ok := c.key(k, indent, depth)
		value, e := c.node(v, indent, depth+1)
		end = max(end, e, keyEnd)
		if !ok || c.stop {
			continue
		}
		r := c.span(keyFrom, keyEnd)
		if j := seen.index(out.Fields, merges, key, isMerge(k)); j.found {
			c.report(diag.Diagnostic{Severity: diag.Error, Code: "yaml/duplicate-key", Subject: r,
				Summary: fmt.Sprintf("key %q is already in this mapping", key),
				Hint:    "remove one of the two",
				Related: []diag.Related{{Subject: j.where, Summary: "the first one"}}})
			continue
		}
		if isMerge(k) {
			merges = append(merges, merge{len(out.Fields), value, v, r})
			continue
		}
		seen.add(key, len(out.Fields))
		out.Fields = append(out.Fields, Field{Name: key, Range: r, Value: value})
	}
	if merges != nil && !c.stop {
		c.merge(out, merges, seen)
	}
	if len(n.Content) == 0 {
		end = min(from+1, c.part.to)
	}
	return c.close(n, from, end, '}')
}

// key returns the text of a key, which must be a scalar, and where it is.
func (c *yamlConv) key(k *yaml.Node, indent, depth int) (text string, from, end int, ok bool) {
	at := c.offset(k.Line, k.Column)
	from, tag := c.properties(at)
	if k.Kind == yaml.ScalarNode && k.Anchor == "" && tag == "" { // nearly always: no Node is needed
		end = c.scalarEnd(k, from, indent)
		if !c.ascii && k.Style&quotedStyles == 0 {
			c.invisible(k.Value, from, end)
		}
		return keyText(k.Value, k.Style&quotedStyles != 0), from, end, true
	}
	said := len(c.ds)
	key, end := c.node(k, indent, depth+1)
	if c.stop {
		return "", from, end, false
	}
	if key.Kind == Scalar {
		return keyText(key.Text, key.Quoted), from, end, true
	}
	c.ds = c.ds[:said] // what is wrong inside such a key does not matter
	c.report(diag.Diagnostic{Severity: diag.Error, Code: "yaml/key-not-scalar", Subject: c.span(from, from+1),
		Summary: "a key must be a plain name, not a mapping or a list", Hint: "fill in the template first, if this is a placeholder like {{ name }}; else quote it"})
	return "", from, end, false
}

// keyText is the name of a field; an empty key that nobody quoted is null.
func keyText(text string, quoted bool) string {
	if text == "" && !quoted {
		return "null"
	}
	return text
}

type merge struct {
	at    int // the index of the field before which it stands
	value *Node
	node  *yaml.Node
	where diag.Range
}

// isMerge reports whether k is the merge key of YAML 1.1 (https://yaml.org/type/merge.html), written without quotes.
func isMerge(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Value == "<<" &&
		k.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

// merge puts the fields of merged mappings where the merge key stands: own keys win, then earlier mappings.
func (c *yamlConv) merge(out *Node, merges []merge, seen *names) {
	var fields []Field
	next := 0
	for _, m := range merges {
		fields = append(fields, out.Fields[next:m.at]...)
		next = m.at
		sources := []*Node{m.value}
		if m.value.Kind == Sequence {
			sources = m.value.Items
		}
		for _, s := range sources {
			if s.Kind != Mapping {
				c.report(diag.Diagnostic{Severity: diag.Error, Code: "yaml/merge", Subject: s.Range,
					Summary: fmt.Sprintf("<< needs a mapping or a list of mappings, found %s", describe(s)),
					Hint:    "write <<: *anchor, where the anchor marks a mapping"})
				continue
			}
			c.expand(anchored{s, len(s.Fields)}, c.offset(m.node.Line, m.node.Column), c.offset(m.node.Line, m.node.Column)+1)
			for _, f := range s.Fields {
				if !seen.has(out.Fields, f.Name) {
					seen.force(f.Name)
					fields = append(fields, f)
				}
			}
		}
	}
	out.Fields = append(fields, out.Fields[next:]...)
}

// names finds a field by its name: by going through them while they are few, else by an index.
type names struct{ byName map[string]int }

// fewNames are so few that comparing them all is cheaper than an index.
const fewNames = 12

func newNames(n int) *names {
	if n <= fewNames {
		return &names{}
	}
	return &names{byName: make(map[string]int, n)}
}

func (s *names) add(name string, i int) {
	if s.byName != nil {
		s.byName[name] = i
	}
}

// force makes name known though no field of the mapping itself has it.
func (s *names) force(name string) {
	if s.byName == nil {
		s.byName = map[string]int{}
	}
	s.byName[name] = -1
}

func (s *names) has(fields []Field, name string) bool {
	if _, ok := s.byName[name]; ok {
		return true
	}
	return len(fields) <= fewNames && indexOf(fields, name) >= 0
}

type place struct {
	found bool
	where diag.Range
}

func (s *names) index(fields []Field, merges []merge, name string, isMerge bool) place {
	if isMerge {
		if len(merges) > 0 {
			return place{true, merges[0].where}
		}
		return place{}
	}
	i := -1
	if s.byName == nil {
		i = indexOf(fields, name)
	} else if j, ok := s.byName[name]; ok {
		i = j
	}
	if i < 0 {
		return place{}
	}
	return place{true, fields[i].Range}
}

func indexOf(fields []Field, name string) int {
	for i := range fields {
		if fields[i].Name == name {
			return i
		}
	}
	return -1
}

const quotedStyles = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

func (c *yamlConv) scalar(n *yaml.Node, out *Node, from, indent int, tag string) int {
	out.Text = n.Value
	out.Quoted = n.Style&quotedStyles != 0
	end := c.scalarEnd(n, from, indent)
	if tag != "" {
		c.tagged(n, out, from, tag)
	} else if out.Quoted {
		out.Scalar = n.Value
	} else {
		out.Scalar = plain(n.Value)
	}
	if !c.ascii && !out.Quoted {
		c.invisible(n.Value, from, end)
	}
	return end
}

// tagged sets the value of a scalar with an explicit tag.
func (c *yamlConv) tagged(n *yaml.Node, out *Node, from int, tag string) {
	out.Scalar = n.Value
	switch {
	case tag == "!" || n.Tag == "!!str" || n.Tag == "!!binary" || n.Tag == "!!timestamp":
		out.Quoted = true // an explicit string, as quotes make it
	case n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool" || n.Tag == "!!null" || n.Tag == "!!merge":
		out.Scalar = plain(n.Value)
	default:
		c.checkTag(n.Tag, c.offset(n.Line, n.Column), from)
		if !out.Quoted {
			out.Scalar = plain(n.Value)
		}
	}
}

// checkTag warns of a tag that we do not know; at is where the properties begin.
func (c *yamlConv) checkTag(tag string, at, to int) {
	switch tag {
	case "!!map", "!!seq", "!!set", "!!omap", "!!pairs", "", "!":
		return
	}
	if i := bytes.IndexByte(c.src[at:to], '!'); i >= 0 {
		at += i
	}
	end := at
	for end < to && !isBlank(c.src[end]) && c.src[end] != '\n' {
		end++
	}
	c.report(diag.Diagnostic{Severity: diag.Warning, Code: "yaml/unknown-tag", Subject: c.span(at, end),
		Summary: fmt.Sprintf("unknown tag %s has no effect", hush(c.src, at, fmt.Sprintf("%q", c.src[at:end]))), Hint: "remove the tag, or quote the value if it begins with !"})
}

// scalarEnd finds where the text of a scalar that begins at from ends.
func (c *yamlConv) scalarEnd(n *yaml.Node, from, indent int) int {
	src := c.src[:c.part.to]
	switch {
	case from >= len(src):
		return from
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := from + 1; i < len(src); i++ {
			switch src[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return len(src)
	case n.Style&yaml.SingleQuotedStyle != 0:
		for i := from + 1; i < len(src); i++ {
			if src[i] == '\'' {
				if i+1 == len(src) || src[i+1] != '\'' {
					return i + 1
				}
				i++
			}
		}
		return len(src)
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return c.blockEnd(from, indent)
	}
	// A plain scalar: on one line it is its own text; over several, only the white space differs.
	if len(n.Value) <= len(src)-from && string(src[from:from+len(n.Value)]) == n.Value {
		return from + len(n.Value)
	}
	i, end := from, from
	for j := 0; j < len(n.Value); {
		b := n.Value[j]
		if k := breakLen([]byte(n.Value[j:min(j+3, len(n.Value))])); k > 0 || b == ' ' || b == '\t' {
			j += max(k, 1)
			continue
		}
		for i < len(src) {
			if k := breakLen(src[i:]); k > 0 {
				i += k
			} else if isBlank(src[i]) {
				i++
			} else {
				break
			}
		}
		if i >= len(src) || src[i] != b {
			return end
		}
		i, j = i+1, j+1
		end = i
	}
	return end
}

// blockEnd is where the last line with content of a block scalar ends. from is its "|" or ">", indent the column of
// the collection that holds it.
func (c *yamlConv) blockEnd(from, indent int) int {
	src := c.src[:c.part.to]
	headerEnd := from + 1
	want := -1 // the indentation of the content, when known
	for headerEnd < len(src) && strings.IndexByte("+-0123456789", src[headerEnd]) >= 0 {
		if b := src[headerEnd]; b >= '1' && b <= '9' {
			want = max(indent, 0) + int(b-'0')
		}
		headerEnd++
	}
	end := headerEnd
	at := headerEnd
	for {
		i := bytes.IndexByte(src[at:], '\n')
		if i < 0 {
			return end
		}
		at += i + 1
		text := at
		for text < len(src) && src[text] == ' ' {
			text++
		}
		if text >= len(src) {
			return end
		}
		if src[text] == '\n' || src[text] == '\r' {
			at = text
			continue
		}
		if want < 0 {
			want = max(text-at, indent+1, 1)
		}
		if text-at < want {
			return end
		}
		end = c.restOfLine(text)
		at = text
	}
}
