package syntax

import (
	"hash/maphash"
	"sort"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
)

// quick reads the part of YAML that nearly every declaration is written in: block mappings and lists, and on one line plain
// and quoted scalars and flow collections, all in printable ASCII. It makes the very tree that the library and yamlConv
// make, at a tenth of the cost, and gives up at the first sign of anything else, a mistake included; the library then
// reads that document from its beginning. docs/decisions/0009 says why, FuzzQuick holds the two to one answer.
type quick struct {
	file string
	text string // of some documents
	base int    // offset of the text in its file
	to   int    // where the document ends in the text

	at    int // next byte
	line  int // 0-based, of at
	lines int // of the text, about
	start int // offset of that line's first byte

	nodes  slab[Node]
	kept   slab[Field] // of mappings that have been read
	items  slab[*Node] // of lists that have been read
	fields []Field     // of the mappings that are being read
	list   []*Node     // of the lists that are being read
	depth  int

	seed  maphash.Seed
	words [1024]string // that were read, each at its hash, for the next ones that are equal
}

// slab is memory for values that live and die together.
type slab[T any] struct {
	all  []T
	used int
}

// take returns n zero values; more is how many there should be room for when there is not enough.
func (s *slab[T]) take(n, more int) []T {
	if len(s.all)-s.used < n {
		s.all, s.used = make([]T, max(n, more)), 0
	}
	l := s.all[s.used : s.used+n : s.used+n]
	s.used += n
	clear(l)
	return l
}

// quicks are kept with their memory, which the trees of one file after the other can have.
var quicks = sync.Pool{New: func() any { return &quick{seed: maphash.MakeSeed()} }}

// release ends the use of trees. Those that somebody kept have their memory for ever.
func (q *quick) release(kept bool) {
	if kept {
		q.nodes, q.kept, q.items = slab[Node]{}, slab[Field]{}, slab[*Node]{}
	}
	q.spoil()
	q.nodes.used, q.kept.used, q.items.used = 0, 0, 0
	q.text, q.file = "", ""
	quicks.Put(q)
}

const (
	quickDepth  = 64  // deeper ones are the library's business
	quickFields = 100 // of one mapping: more would be compared with each other too often
	quickKey    = 200 // bytes of a key
	quickWord   = 64  // bytes of a word that may come again
)

// read is the roots of what stands in p; ok is false when the library must read it. text begins at base in the file.
func (q *quick) read(x *index, text string, base int, p part) (roots []*Node, ok bool) {
	q.file, q.text, q.base, q.to = x.name, text, base, p.to-base
	q.at, q.start, q.line, q.depth = p.from-base, p.from-base, sort.SearchInts(x.lines, p.from+1)-1, 0
	q.fields, q.list = q.fields[:0], q.list[:0]
	// About one node and one field a line, and a few more: a document should need no second slab, nor leave much of the first.
	q.lines = sort.SearchInts(x.lines, p.to) - q.line
	return q.stream()
}

// stream reads documents up to the end.
func (q *quick) stream() ([]*Node, bool) {
	var roots []*Node
	for {
		column, ok := q.next()
		if !ok {
			return nil, false
		}
		if column == ended {
			if q.at == q.to {
				return roots, true
			}
			q.at += len("---") // a mark; what stands on its line must be a comment
			if !q.finish() {
				return nil, false
			}
			continue
		}
		root := q.block(column)
		if root == nil {
			return nil, false
		}
		if column, ok = q.next(); !ok || column != ended {
			return nil, false
		}
		roots = append(roots, root)
	}
}

// ended is the column of what comes after a document's content.
const ended = -1

// next goes to the first byte of the next content, from the beginning of a line or after its indentation, and returns its
// column; ended where a mark or the end of the text is next.
func (q *quick) next() (column int, ok bool) {
	for q.at < q.to {
		i := q.at
		for i < q.to && q.text[i] == ' ' {
			i++
		}
		switch {
		case i == q.to:
			q.at = i
			return ended, true
		case q.text[i] == '\n':
			q.newline(i)
			continue
		case q.text[i] == '#':
			if !q.comment(i) {
				return ended, true
			}
			continue
		}
		q.at = i
		if i == q.start && (q.text[i] == '-' || q.text[i] == '.') && i+2 < q.to {
			switch q.text[i : i+3] {
			case "---":
				if q.blankAt(i + 3) {
					return ended, true
				}
			case "...":
				return 0, false
			}
		}
		return i - q.start, true
	}
	return ended, true
}

// newline goes behind the line break at i.
func (q *quick) newline(i int) { q.at, q.start, q.line = i+1, i+1, q.line+1 }

// comment goes behind the line of a comment; false: the text ends with it.
func (q *quick) comment(i int) bool {
	n := strings.IndexByte(q.text[i:q.to], '\n')
	if n < 0 {
		q.at = q.to
		return false
	}
	q.newline(i + n)
	return true
}

// blankAt reports whether a token ends before i.
func (q *quick) blankAt(i int) bool { return i >= q.to || q.text[i] == ' ' || q.text[i] == '\n' }

// finish goes to the next line; only blanks and a comment may stand before it.
func (q *quick) finish() bool {
	i := q.at
	for i < q.to && q.text[i] == ' ' {
		i++
	}
	switch {
	case i == q.to:
		q.at = i
		return true
	case q.text[i] == '\n':
		q.newline(i)
		return true
	case q.text[i] == '#' && i > q.at:
		q.comment(i)
		return true
	}
	return false
}

// name is the key that begins here and ends at end, without its quotes.
func (q *quick) name(end int) string {
	if c := q.text[q.at]; c == '"' || c == '\'' {
		return q.word(q.at+1, end-1)
	}
	return q.word(q.at, end)
}

// word is a piece of the text, but in memory of its own: what is kept of a file would else keep all of it. Most words come
// again and again, in this file and in the next.
func (q *quick) word(from, to int) string {
	s := q.text[from:to]
	if len(s) > quickWord {
		return strings.Clone(s)
	}
	known := &q.words[maphash.String(q.seed, s)%uint64(len(q.words))]
	if *known != s {
		*known = strings.Clone(s)
	}
	return *known
}

func (q *quick) node() *Node {
	return &q.nodes.take(1, min(q.lines+q.lines/4+4, 256))[0]
}

func (q *quick) pos(off int) diag.Pos {
	return diag.Pos{Line: int32(q.line + 1), Column: int32(off - q.start + 1), Offset: int32(q.base + off)}
}

func (q *quick) span(from, to int) diag.Range {
	return diag.Range{File: q.file, Start: q.pos(from), End: q.pos(to)}
}

// block reads the block collection that begins here. nil: the library must.
func (q *quick) block(column int) *Node {
	if q.depth++; q.depth > quickDepth {
		return nil
	}
	n := (*Node)(nil)
	if q.text[q.at] == '-' && q.blankAt(q.at+1) {
		n = q.sequence(column)
	} else if end, ok := q.key(); ok {
		n = q.mapping(column, end)
	}
	q.depth--
	return n
}

// key is where the key that begins here ends, its quotes included, if a ":" and a blank follow.
func (q *quick) key() (end int, ok bool) {
	i := q.at
	if i >= q.to {
		return 0, false
	}
	switch c := q.text[i]; {
	case c == '"' || c == '\'':
		if i = q.quoted(i); i < 0 {
			return 0, false
		}
	case classes[c]&keyStart == 0:
		return 0, false
	default:
		for i < q.to && classes[q.text[i]]&keyInside != 0 {
			i++
		}
	}
	if i >= q.to || q.text[i] != ':' || !q.blankAt(i+1) || i-q.at > quickKey {
		return 0, false
	}
	return i, true
}

// quoted is the offset behind the quoted scalar that begins at i, or -1: it goes on in the next line, or has an escape.
func (q *quick) quoted(i int) int {
	mark := q.text[i]
	for j := i + 1; j < q.to; j++ {
		switch c := q.text[j]; {
		case c == '\n' || c == '\\' && mark == '"':
			return -1
		case c != mark:
		case mark == '\'' && j+1 < q.to && q.text[j+1] == mark:
			return -1
		default:
			return j + 1
		}
	}
	return -1
}

// mapping reads a block mapping whose first key ends at end.
func (q *quick) mapping(column, end int) *Node {
	out := q.node()
	out.Kind = Mapping
	out.Range = q.span(q.at, q.at)
	from := len(q.fields)
	for {
		f := Field{Name: q.name(end), Range: q.span(q.at, end)}
		if n := len(q.fields) - from; n == quickFields || indexOf(q.fields[from:], f.Name) >= 0 {
			return nil
		}
		q.at = end + 1
		q.fields = append(q.fields, f)
		i := len(q.fields) - 1
		next := 0
		value := q.value(column)
		if value == nil {
			return nil
		}
		q.fields[i].Value = value
		out.Range.End = value.Range.End
		var ok bool
		if next, ok = q.next(); !ok || next > column {
			return nil
		}
		if next < column {
			break
		}
		if end, ok = q.key(); !ok {
			return nil
		}
	}
	out.Fields = q.keepFields(from)
	return out
}

// keepFields takes the fields of a mapping that has ended off the stack.
func (q *quick) keepFields(from int) []Field {
	kept := q.kept.take(len(q.fields)-from, min(q.lines+2, 256))
	copy(kept, q.fields[from:])
	q.fields = q.fields[:from]
	return kept
}

func (q *quick) keepItems(from int) []*Node {
	kept := q.items.take(len(q.list)-from, 16)
	copy(kept, q.list[from:])
	q.list = q.list[:from]
	return kept
}

// value reads what stands behind a key's colon, in a mapping of this column.
func (q *quick) value(column int) *Node {
	i := q.at
	for i < q.to && q.text[i] == ' ' {
		i++
	}
	if i < q.to && q.text[i] != '\n' && (q.text[i] != '#' || i == q.at) {
		q.at = i
		return q.inline()
	}
	null := q.span(q.at, q.at)
	if !q.finish() {
		return nil
	}
	next, ok := q.next()
	switch {
	case !ok:
		return nil
	case next > column, next == column && q.text[q.at] == '-' && q.blankAt(q.at+1):
		return q.block(next)
	}
	n := q.node()
	n.Range = null
	return n
}

// sequence reads a block sequence.
func (q *quick) sequence(column int) *Node {
	out := q.node()
	out.Kind = Sequence
	out.Range = q.span(q.at, q.at)
	from := len(q.list)
	for {
		q.at++
		item := q.item(column)
		if item == nil {
			return nil
		}
		q.list = append(q.list, item)
		out.Range.End = item.Range.End
		next, ok := q.next()
		if !ok || next > column {
			return nil
		}
		if next < column || q.text[q.at] != '-' || !q.blankAt(q.at+1) {
			break
		}
	}
	out.Items = q.keepItems(from)
	return out
}

// item reads what stands behind the dash of an item, in a sequence of this column.
func (q *quick) item(column int) *Node {
	i := q.at
	for i < q.to && q.text[i] == ' ' {
		i++
	}
	if i == q.to {
		return nil
	}
	if c := q.text[i]; c == '\n' || c == '#' {
		if !q.finish() {
			return nil
		}
		if next, ok := q.next(); ok && next > column {
			return q.block(next)
		}
		return nil // an item without a value
	}
	q.at = i
	if q.text[i] == '-' && q.blankAt(i+1) {
		return q.block(i - q.start)
	}
	if _, ok := q.key(); ok {
		return q.block(i - q.start)
	}
	return q.inline()
}

// inline reads a value that ends on this line, and the rest of the line.
func (q *quick) inline() *Node {
	var n *Node
	switch q.text[q.at] {
	case '"', '\'':
		n = q.quote()
	case '[', '{':
		n = q.flow()
	default:
		n = q.plain()
	}
	if n == nil || !q.finish() {
		return nil
	}
	return n
}

func (q *quick) quote() *Node {
	end := q.quoted(q.at)
	if end < 0 {
		return nil
	}
	n := q.node()
	n.Text = q.word(q.at+1, end-1)
	n.Scalar, n.Quoted = n.Text, true
	n.Range = q.span(q.at, end)
	q.at = end
	return n
}

// plain reads a plain scalar outside of flow collections. What could make it another thing than all of the line up to a
// comment is left to the library.
func (q *quick) plain() *Node {
	i := q.at
	if c := q.text[i]; classes[c]&plainStart == 0 && (c != '-' || q.blankAt(i+1)) {
		return nil
	}
	end := i
	for ; i < q.to; i++ {
		c := q.text[i]
		if c > ' ' && c != ':' && c != '#' {
			end = i + 1
			continue
		}
		if c == '\n' || c == '#' && q.text[i-1] == ' ' {
			break
		}
		if c == ':' && q.blankAt(i+1) {
			return nil
		}
		if c != ' ' {
			end = i + 1
		}
	}
	return q.scalar(end)
}

// scalar is the plain scalar up to end.
func (q *quick) scalar(end int) *Node {
	n := q.node()
	n.Text = q.word(q.at, end)
	n.Scalar = plain(n.Text)
	n.Range = q.span(q.at, end)
	q.at = end
	return n
}

// flow reads a flow collection on one line.
func (q *quick) flow() *Node {
	if q.depth++; q.depth > quickDepth {
		return nil
	}
	var n *Node
	if q.text[q.at] == '[' {
		n = q.flowSequence()
	} else {
		n = q.flowMapping()
	}
	q.depth--
	return n
}

func (q *quick) blanks() byte {
	for q.at < q.to && q.text[q.at] == ' ' {
		q.at++
	}
	if q.at == q.to {
		return '\n'
	}
	return q.text[q.at]
}

func (q *quick) flowSequence() *Node {
	out := q.node()
	out.Kind = Sequence
	begin := q.at
	from := len(q.list)
	q.at++
	if q.blanks() != ']' {
		for {
			item := q.flowValue()
			if item == nil {
				return nil
			}
			q.list = append(q.list, item)
			c := q.blanks()
			if c == ']' {
				break
			}
			if c != ',' {
				return nil
			}
			q.at++
			q.blanks()
		}
	}
	q.at++
	out.Items = q.keepItems(from)
	out.Range = q.span(begin, q.at)
	return out
}

func (q *quick) flowMapping() *Node {
	out := q.node()
	out.Kind = Mapping
	begin := q.at
	from := len(q.fields)
	q.at++
	if q.blanks() != '}' {
		for {
			end, ok := q.key()
			if !ok {
				return nil
			}
			f := Field{Name: q.name(end), Range: q.span(q.at, end)}
			if n := len(q.fields) - from; n == quickFields || indexOf(q.fields[from:], f.Name) >= 0 {
				return nil
			}
			q.at = end + 1
			q.blanks()
			i := len(q.fields)
			q.fields = append(q.fields, f)
			value := q.flowValue()
			if value == nil {
				return nil
			}
			q.fields[i].Value = value
			c := q.blanks()
			if c == '}' {
				break
			}
			if c != ',' {
				return nil
			}
			q.at++
			q.blanks()
		}
	}
	q.at++
	out.Fields = q.keepFields(from)
	out.Range = q.span(begin, q.at)
	return out
}

// flowValue reads a value in a flow collection.
func (q *quick) flowValue() *Node {
	if q.at == q.to {
		return nil
	}
	switch c := q.text[q.at]; {
	case c == '"' || c == '\'':
		return q.quote()
	case c == '[' || c == '{':
		return q.flow()
	case classes[c]&plainStart == 0 && (c != '-' || q.at+1 == q.to || classes[q.text[q.at+1]]&keyStart == 0):
		return nil
	}
	i, end := q.at, q.at
	for ; i < q.to; i++ {
		c := q.text[i]
		if classes[c]&flowInside == 0 {
			break
		}
		if c != ' ' {
			end = i + 1
		}
	}
	if i == q.to || q.text[i] != ',' && q.text[i] != ']' && q.text[i] != '}' {
		return nil
	}
	return q.scalar(end)
}

// What a byte may be.
const (
	keyStart   = 1 << iota // the first of a plain key
	keyInside              // any other of a plain key
	plainStart             // the first of a plain scalar
	flowInside             // any other of a plain scalar in a flow collection
)

// classes say what each byte may be. They are narrower than YAML.
var classes = func() (t [256]uint8) {
	for c := '!'; c <= '~'; c++ {
		if strings.IndexByte("-?:,[]{}#&*!|>'\"%@`<=", byte(c)) < 0 {
			t[c] |= plainStart
		}
		if strings.IndexByte("?:,[]{}#&*!|>'\"%@`<=\\", byte(c)) < 0 {
			t[c] |= flowInside
		}
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if letter || c == '_' || c == '$' || c == '/' {
			t[c] |= keyStart | keyInside
		}
		if c == '-' || c == '.' {
			t[c] |= keyInside
		}
	}
	t[' '] |= flowInside
	t['|'] |= flowInside
	t['*'] |= flowInside
	t['='] |= flowInside | plainStart
	return t
}()
