package syntax

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// formatYAML works on lines: what the library would write loses blank lines, quotes and the places of comments. Where blocks
// begin is known from the parsed tree, the rest of a line is copied.
func formatYAML(x *index, order func(*Node) (top, metadata []string)) ([]byte, string) {
	if x.odd {
		return nil, "it has line breaks that only YAML 1.1 knows"
	}
	before := parsedYAML(x.name, x.src)
	try := func(x *index) ([]byte, string) {
		text, reason := layoutYAML(x)
		if reason != "" {
			return nil, reason
		}
		after := parsedYAML(x.name, text)
		switch {
		case after.errors > 0 || !slices.EqualFunc(before.roots, after.roots, same):
			return nil, "it would not be read as the same"
		case !keeps(before.comments(), after.comments(), false):
			return nil, "a comment would be lost"
		}
		return text, ""
	}
	text, reason := try(x)
	if reason != "" {
		return text, reason
	}
	if arranged := arrangeYAML(parsedYAML(x.name, text), order); arranged != nil {
		if better, reason := try(newIndex(x.name, arranged)); reason == "" {
			return better, ""
		}
	}
	return text, ""
}

// arrangeYAML brings the fields of declarations into their order; nil: they are in it, or stay as they are.
func arrangeYAML(p parsed, order func(*Node) (top, metadata []string)) []byte {
	c := &change{Editor: &Editor{files: map[string]*cursor{p.name: newCursor(p.index)}}}
	changed := false
	for _, root := range p.roots {
		top, metadata := order(root)
		if f := root.Fold("metadata"); f != nil {
			changed = c.arrange(f.Value, metadata, false) || changed
		}
		changed = c.arrange(root, top, true) || changed
	}
	if !changed {
		return nil
	}
	out, at := []byte{}, 0
	for _, x := range c.cuts {
		out = append(append(out, p.src[at:x.from]...), x.text...)
		at = x.to
	}
	return append(out, p.src[at:]...)
}

// arrange sorts the fields of a mapping in block style, each of which has its lines to itself. Comments above a field go with it;
// those above the first one of a document are the document's.
func (c *change) arrange(n *Node, names []string, root bool) bool {
	if n.Kind != Mapping || len(n.Fields) < 2 || !c.isBlock(n) || slices.IsSortedFunc(n.Fields, func(a, b Field) int { return rank(names, a.Name) - rank(names, b.Name) }) {
		return false
	}
	x := c.files[n.Range.File]
	type piece struct {
		rank     int
		from, to int
	}
	var pieces []piece
	for i, f := range n.Fields {
		e, ok := c.blockExtent(step{n, i})
		if !ok || e.dash || f.Range.Start.Offset < n.Range.Start.Offset || e.end == len(x.src) {
			return false
		}
		from := e.line
		switch {
		case i > 0:
			from = pieces[i-1].to
		case !root:
			from = e.lead
		}
		to := x.nextLine(e.end)
		if to <= from || from > e.line {
			return false
		}
		pieces = append(pieces, piece{rank(names, f.Name), from, to})
	}
	from, to := pieces[0].from, pieces[len(pieces)-1].to
	slices.SortStableFunc(pieces, func(a, b piece) int { return a.rank - b.rank })
	inner := slices.Clone(c.cuts) // of metadata, which stands inside
	var text strings.Builder
	for _, p := range pieces {
		at := p.from
		for _, y := range inner {
			if y.from >= p.from && y.to <= p.to {
				text.Write(x.src[at:y.from])
				text.WriteString(y.text)
				at = y.to
			}
		}
		text.Write(x.src[at:p.to])
	}
	c.cuts = slices.DeleteFunc(c.cuts, func(y cut) bool { return y.from >= from && y.to <= to })
	return c.cut(n.Range.File, from, to, text.String())
}

// span is a node over several lines that is not taken apart: a scalar, or a collection in flow style.
type span struct {
	from, to int
	block    bool // a block scalar
	holder   int  // the column of the collection that holds it; -1: none
	digit    int  // the indentation that its header gives; 0: none
	keep     bool // blank lines at its end are part of it
	literal  bool // the file ends in it, without a line break
}

// layout is where blocks begin.
type layout struct {
	keys  map[int]int // of block mappings: where they begin and end
	spans []span      // in the order of the text
	odd   bool        // something that lines do not show
}

// walk adds what a node is made of.
func (c *yamlConv) walk(n *yaml.Node, holder int, l *layout) {
	at := c.offset(n.Line, n.Column)
	from, _ := c.properties(at)
	switch {
	case n.Kind == yaml.AliasNode:
	case n.Kind == yaml.ScalarNode:
		c.addSpan(n, from, c.scalarEnd(n, from, holder), holder, l)
	case n.Style&yaml.FlowStyle != 0:
		c.addSpan(n, from, c.flowEnd(from), holder, l)
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			at := c.offset(k.Line, k.Column)
			from, _ := c.properties(at)
			end := from + 1 + len(k.Value)
			if k.Kind != yaml.AliasNode {
				end = c.scalarEnd(k, from, k.Column-1)
			}
			line := c.lineBegin(at)
			l.odd = l.odd || k.Kind != yaml.ScalarNode && k.Kind != yaml.AliasNode || bytes.IndexByte(c.src[at:min(end, len(c.src))], '\n') >= 0 ||
				strings.Trim(string(c.src[line:at]), "- ") != ""
			l.keys[at] = end
			c.walk(n.Content[i+1], k.Column-1, l)
		}
	default:
		for _, item := range n.Content {
			c.walk(item, c.dashColumn(c.offset(item.Line, item.Column), n.Column-1), l)
		}
	}
}

func (c *yamlConv) addSpan(n *yaml.Node, from, to, holder int, l *layout) {
	if from >= to || bytes.IndexByte(c.src[from:to], '\n') < 0 {
		return
	}
	s := span{from: from, to: to, holder: holder, block: n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0}
	if s.block {
		for i := from + 1; i < to && strings.IndexByte("+-0123456789", c.src[i]) >= 0; i++ {
			switch b := c.src[i]; {
			case b == '+':
				s.keep = true
			case b >= '1' && b <= '9':
				s.digit = int(b - '0')
			}
		}
		s.literal = c.nextLine(to) == len(c.src) && !bytes.HasSuffix(c.src, []byte{'\n'})
		for s.keep && s.to < len(c.src) {
			line := c.nextLine(s.to)
			end := c.lineBreak(line)
			if line == len(c.src) || len(bytes.TrimSpace(c.src[line:end])) > 0 {
				break
			}
			s.to = end
			if c.nextLine(line) == line {
				break
			}
		}
	}
	l.spans = append(l.spans, s)
}

// flowEnd is the offset after the bracket that closes the one at from.
func (c *yamlConv) flowEnd(from int) int {
	depth := 0
	for i := from; i < c.part.to; i++ {
		switch b := c.src[i]; {
		case b == '[' || b == '{':
			depth++
		case b == ']' || b == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case b == '#' && (isBlank(c.src[i-1]) || c.src[i-1] == '\n'):
			i = max(i, c.lineBreak(i)-1)
		case (b == '"' || b == '\'') && strings.IndexByte(" \t\r\n,[{:", c.src[i-1]) >= 0:
			for i++; i < c.part.to && c.src[i] != b; i++ {
				if b == '"' && c.src[i] == '\\' {
					i++
				}
			}
		}
	}
	return from
}

// dashColumn is the column of the dash before an item, or other.
func (c *yamlConv) dashColumn(at, other int) int {
	for at--; at >= c.part.from && (isBlank(c.src[at]) || c.src[at] == '\n'); at-- {
	}
	if at >= c.part.from && c.src[at] == '-' {
		return at - c.lineBegin(at)
	}
	return other
}

// readLayout parses the text again, for what trees do not keep.
func readLayout(x *index) (*layout, string) {
	l := &layout{keys: map[int]int{}}
	for _, p := range splitYAML(x) {
		c := &yamlConv{cursor: newCursor(x), breaks: x.lines}
		if bytes.HasPrefix(c.src[p.from:p.to], []byte(bom)) {
			p.from += len(bom)
		}
		c.part, c.base = p, x.lineNumber(p.from)
		loader, err := yaml.NewLoader(bytes.NewReader(withoutVersion(c.src[p.from:p.to])))
		if err != nil {
			return nil, "it cannot be read"
		}
		for {
			var doc yaml.Node
			if err := loader.Load(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, "it cannot be read"
			}
			for _, n := range doc.Content {
				c.walk(n, -1, l)
			}
		}
	}
	if l.odd {
		return nil, "it has keys over several lines, or keys with a question mark"
	}
	slices.SortFunc(l.spans, func(a, b span) int { return a.from - b.from })
	return l, ""
}

// lineNumber is the number, 0-based, of the line that holds off.
func (x *index) lineNumber(off int) int {
	i, found := slices.BinarySearch(x.lines, off)
	if !found {
		i--
	}
	return max(i, 0)
}

// level is a block collection around a line: the column where it is, and where it is to be.
type level struct {
	seq      bool
	old, new int
}

// outLine is a line of the result.
type outLine struct {
	text    string
	kind    lineKind
	old     int     // comments: the column
	levels  []level // structure: the collections around the line, innermost last
	lead    level   // structure: what the line begins with; comments: what the next line does
	follows bool    // comments: lead is known
}

type lineKind uint8

const (
	structure lineKind = iota
	inside             // of a scalar or flow collection: not to be touched any more
	blank
	comment
	separator // --- and ..., and directives
)

// layouter goes through the lines of a file.
type layouter struct {
	*index
	*layout
	stack []level
	out   []outLine
	next  int // the first span that is not done
	shift *span
	delta int // of the lines of shift
	base  int // block scalars: the column of their text before
}

func layoutYAML(x *index) ([]byte, string) {
	l, reason := readLayout(x)
	if reason != "" {
		return nil, reason
	}
	y := &layouter{index: x, layout: l}
	for at := x.start; at < len(x.src); at = x.nextLine(at) {
		y.line(at)
		if x.nextLine(at) == at {
			break
		}
	}
	y.comments()
	return y.bytes(), ""
}

func (y *layouter) line(at int) {
	end := y.lineBreak(at)
	text := string(y.src[at:end])
	if s := y.shift; s != nil && at > s.from && at <= s.to {
		y.inside(s, text, at, end)
		if end >= s.to {
			y.shift = nil
		}
		return
	}
	y.shift = nil
	blanks := len(text) - len(strings.TrimLeft(text, " "))
	rest := text[blanks:]
	switch {
	case strings.TrimSpace(rest) == "":
		y.out = append(y.out, outLine{kind: blank})
	case blanks == 0 && (isMarker([]byte(text), "---") || isMarker([]byte(text), "...") || text[0] == '%'):
		y.stack = nil
		y.separator(text, at, end)
	case rest[0] == '#':
		y.out = append(y.out, outLine{kind: comment, text: strings.TrimRight(rest, " \t"), old: blanks})
	default:
		y.structure(at, blanks, end)
	}
}

// separator is a line that begins or ends a document; what stands on it may be the document.
func (y *layouter) separator(text string, at, end int) {
	if y.spanFrom(at, end) {
		y.delta = 0
	} else {
		text = strings.TrimRight(text, " \t")
	}
	y.out = append(y.out, outLine{kind: separator, text: text})
}

// spanFrom makes the span that begins on a line and goes on below it the current one.
func (y *layouter) spanFrom(at, end int) bool {
	for y.next < len(y.spans) && y.spans[y.next].from < at {
		y.next++
	}
	if y.next < len(y.spans) && y.spans[y.next].from < end && y.spans[y.next].to > end {
		y.shift = &y.spans[y.next]
		y.base = -1
		return true
	}
	return false
}

// inside copies a line of a scalar or of a flow collection, moved as a whole.
func (y *layouter) inside(s *span, text string, at, end int) {
	blanks := len(text) - len(strings.TrimLeft(text, " "))
	switch {
	case s.block && y.base < 0 && strings.TrimSpace(text) != "":
		y.base = blanks
		if s.digit > 0 {
			y.base = max(s.holder, 0) + s.digit
		}
		fallthrough
	case s.block && y.base >= 0:
		if strings.TrimSpace(text) == "" && blanks <= y.base && len(text) == blanks {
			text = ""
		} else if to := y.delta; to >= 0 {
			text = strings.Repeat(" ", max(to+blanks-y.base, 0)) + text[blanks:]
		}
	case s.block: // blank lines before the text
		if strings.Trim(text, " ") == "" {
			text = ""
		}
	case strings.TrimSpace(text) == "":
		text = ""
	default:
		text = strings.Repeat(" ", max(blanks+y.delta, 0)) + text[blanks:]
	}
	if end >= s.to && !s.block {
		cutAt := len(text) - (end - s.to)
		text = text[:max(cutAt, 0)] + strings.TrimRight(text[max(cutAt, 0):], " \t")
	}
	y.out = append(y.out, outLine{kind: inside, text: text})
}

// parent is where what begins at a column, inside of what is on the stack, is to be.
func (y *layouter) inner() int {
	if len(y.stack) == 0 {
		return 0
	}
	return y.stack[len(y.stack)-1].new + 2
}

func (y *layouter) pop(done func(level) bool) {
	for len(y.stack) > 0 && done(y.stack[len(y.stack)-1]) {
		y.stack = y.stack[:len(y.stack)-1]
	}
}

// enter makes the collection at a column the innermost one.
func (y *layouter) enter(seq bool, column int) level {
	y.pop(func(l level) bool { return l.old > column || !seq && l.seq && l.old == column })
	if n := len(y.stack); n == 0 || y.stack[n-1].seq != seq || y.stack[n-1].old != column {
		y.stack = append(y.stack, level{seq, column, y.inner()})
	}
	return y.stack[len(y.stack)-1]
}

// structure is a line that begins with dashes, a key or a value.
func (y *layouter) structure(at, blanks, end int) {
	pos := at + blanks
	var b strings.Builder
	first := true
	old, to := blanks, 0
	for y.isDash(pos, end) {
		l := y.enter(true, pos-at)
		if first {
			b.WriteString(strings.Repeat(" ", l.new))
		}
		b.WriteString("-")
		old, to, first = pos-at, l.new, false
		for pos++; pos < end && isBlank(y.src[pos]); pos++ {
		}
		if pos < end && y.src[pos] != '#' {
			b.WriteString(" ")
		} else if pos < end {
			b.Write(y.src[at+old+1 : pos])
		}
	}
	keyEnd, isKey := y.keys[pos]
	switch {
	case pos >= end || y.src[pos] == '#':
	case isKey:
		l := y.enter(false, pos-at)
		if first {
			b.WriteString(strings.Repeat(" ", l.new))
		}
		old, to = l.old, l.new
		colon := keyEnd + bytes.IndexByte(y.src[keyEnd:end], ':')
		b.Write(y.src[pos:max(colon+1, pos)])
		value := max(colon+1, pos)
		for pos = value; pos < end && isBlank(y.src[pos]); pos++ {
		}
		if pos < end && y.src[pos] != '#' {
			b.WriteString(" ")
		} else {
			b.Write(y.src[value:pos])
		}
	case first:
		y.pop(func(l level) bool { return l.old >= blanks })
		old, to = blanks, y.inner()
		b.WriteString(strings.Repeat(" ", to))
	default:
		old, to = pos-at, y.inner()
	}
	text := b.String() + string(y.src[min(pos, end):end])
	if y.spanFrom(at, end) {
		y.delta = to - old
		if s := y.shift; s.block {
			y.delta = y.blockColumn(s)
			text = strings.TrimRight(text, " \t")
		}
	} else {
		text = strings.TrimRight(text, " \t")
	}
	y.out = append(y.out, outLine{kind: structure, text: text, levels: slices.Clone(y.stack), lead: level{old: blanks, new: len(text) - len(strings.TrimLeft(text, " "))}})
}

// isDash reports whether an item of a block sequence begins at pos.
func (y *layouter) isDash(pos, end int) bool {
	return pos < end && y.src[pos] == '-' && (pos+1 == end || isBlank(y.src[pos+1]))
}

// blockColumn is where the text of a block scalar is to be; -1: where it is.
func (y *layouter) blockColumn(s *span) int {
	if s.holder < 0 {
		return -1
	}
	for _, l := range slices.Backward(y.stack) {
		if l.old == s.holder {
			if s.digit > 0 {
				return l.new + s.digit
			}
			return l.new + 2
		}
	}
	return -1
}

// comments finds the columns of comments that have a line to themselves: that of what follows, or of a collection that goes on or
// ends before them, whichever they stood at or next to.
func (y *layouter) comments() {
	var following *outLine
	for i := len(y.out) - 1; i >= 0; i-- {
		switch o := &y.out[i]; o.kind {
		case structure:
			following = o
		case separator:
			following = nil
		case comment:
			if o.follows = following != nil; o.follows {
				o.lead = following.lead
			}
		}
	}
	var before []level
	for i := range y.out {
		switch o := &y.out[i]; o.kind {
		case structure:
			before = o.levels
		case separator:
			before = nil
		case comment:
			column, distance := 0, 1<<30
			consider := func(l level) {
				if d := max(o.old-l.old, l.old-o.old); d < distance {
					column, distance = l.new, d
				}
			}
			for _, l := range slices.Backward(before) { // what is further in than the next line belongs to what comes before
				if !o.follows || o.old > o.lead.old && l.old > o.lead.old {
					consider(l)
				}
			}
			if o.follows && distance == 1<<30 {
				consider(o.lead)
			}
			if !o.follows {
				consider(level{})
			}
			o.text = strings.Repeat(" ", column) + o.text
		}
	}
}

// bytes joins the lines: one blank line at most, none at the ends of documents.
func (y *layouter) bytes() []byte {
	eol := y.eol()
	lines := y.out
	for len(lines) > 0 { // at the end
		last := lines[len(lines)-1]
		if last.kind != blank && (last.kind != separator || last.text != "---" && last.text != "...") || len(lines) == 1 {
			break
		}
		lines = lines[:len(lines)-1]
	}
	var b bytes.Buffer
	b.Write(y.src[:y.start])
	last := separator // no blank line at the beginning
	for i, o := range lines {
		if o.kind == blank {
			next := i + 1
			for next < len(lines) && lines[next].kind == blank {
				next++
			}
			if last == blank || last == separator || next == len(lines) || lines[next].kind == separator {
				continue
			}
		}
		if o.kind == separator && last == separator && o.text == "---" && bytes.HasSuffix(b.Bytes(), []byte("---"+eol)) {
			continue // nothing stands between the two
		}
		last = o.kind
		b.WriteString(o.text + eol)
	}
	text := b.Bytes()
	if n := len(y.spans); n > 0 && y.spans[n-1].literal {
		text = bytes.TrimSuffix(text, []byte(eol))
	}
	return text
}
