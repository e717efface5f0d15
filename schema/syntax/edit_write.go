package syntax

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// snippet is a field that is to be written: its value, and, where it was taken from the text, how it was written there.
type snippet struct {
	value  *Node
	above  []string // its own comments, without indentation
	after  string   // what follows the key, its colon first; "": write the value out
	indent int      // what the lines of after, but the first, are indented relative to
	block  bool     // after is in YAML's block style
}

// lineStart is the offset where the line that holds off begins.
func (x *index) lineBegin(off int) int { return max(bytes.LastIndexByte(x.src[:off], '\n')+1, x.start) }

// lineBreak is the offset of the line break (CR LF, LF) that ends the line of off, or of the end of the file.
func (x *index) lineBreak(off int) int {
	i := bytes.IndexByte(x.src[off:], '\n')
	if i < 0 {
		return len(x.src)
	}
	if i > 0 && x.src[off+i-1] == '\r' {
		return off + i - 1
	}
	return off + i
}

// nextLine is the offset after the line break that ends the line of off.
func (x *index) nextLine(off int) int {
	if i := bytes.IndexByte(x.src[off:], '\n'); i >= 0 {
		return off + i + 1
	}
	return len(x.src)
}

// eol is the line break that the file is written with.
func (x *index) eol() string {
	if i := bytes.IndexByte(x.src, '\n'); i > 0 && x.src[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// indentOf is how many blanks the line that begins at off begins with.
func (x *index) indentOf(off int) int {
	n := 0
	for off+n < len(x.src) && (x.src[off+n] == ' ' || x.src[off+n] == '\t') {
		n++
	}
	return n
}

// isComment reports whether nothing but a comment stands on the line that begins at off.
func (x *index) isComment(off int, mark string) bool {
	return bytes.HasPrefix(x.src[off+x.indentOf(off):], []byte(mark))
}

// extent is where a field stands whose key begins a line or follows the dash of its item.
type extent struct {
	lead int  // where the comments above it begin, which are its own
	line int  // where its line begins
	key  int  // where its key begins
	end  int  // where the last line of it ends, a comment on that line and further in below it included
	dash bool // something (the dash of an item) stands before the key
}

// blockExtent is the extent of a field in block style.
func (c *change) blockExtent(s step) (extent, bool) {
	f := &s.in.Fields[s.i]
	x := c.files[f.Range.File]
	v := f.Value.Range
	if v.File != f.Range.File || v.Start.Offset < f.Range.End.Offset || v.End.Offset > max(s.in.Range.End.Offset, f.Range.End.Offset+1) {
		return extent{}, false
	}
	e := extent{line: x.lineBegin(int(f.Range.Start.Offset)), key: int(f.Range.Start.Offset)}
	before := strings.Trim(string(x.src[e.line:e.key]), " ")
	if e.dash = before != ""; strings.Trim(before, "- ") != "" {
		return extent{}, false // an explicit key, or a flow mapping around it
	}
	colon, ok := c.afterColon(f.Range)
	if !ok {
		return extent{}, false
	}
	last := max(colon, int(v.End.Offset))
	e.end = x.lineBreak(last)
	if rest := strings.TrimLeft(string(x.src[last:e.end]), " \t"); rest != "" && rest[0] != '#' {
		if v.Start.Offset != v.End.Offset { // what stands after an empty value is not told from it
			return extent{}, false
		}
	}
	column := e.key - e.line
	for at := x.nextLine(e.end); at < len(x.src) && at > e.end && x.isComment(at, "#") && x.indentOf(at) > column; at = x.nextLine(at) {
		e.end = x.lineBreak(at)
	}
	e.lead = e.line
	if e.dash || s.i == 0 && column == 0 {
		return e, true
	}
	for e.lead > x.start {
		above := x.lineBegin(e.lead - 1)
		if !x.isComment(above, "#") || x.indentOf(above) != column || above < int(s.in.Range.Start.Offset) && s.i > 0 {
			break
		}
		e.lead = above
	}
	return e, true
}

func (c *change) removeBlock(way []step) (snippet, bool) {
	s := way[len(way)-1]
	f := &s.in.Fields[s.i]
	x := c.files[f.Range.File]
	if x == nil {
		return snippet{}, false
	}
	e, ok := c.blockExtent(s)
	if !ok {
		return snippet{}, false
	}
	out := snippet{after: string(x.src[f.Range.End.Offset:e.end]), indent: e.key - e.line, block: true}
	for at := e.lead; at < e.line; at = x.nextLine(at) {
		out.above = append(out.above, strings.TrimRight(strings.TrimLeft(string(x.src[at:x.lineBreak(at)]), " \t"), " \t"))
	}
	file := f.Range.File
	if len(s.in.Fields) == 1 { // an empty mapping remains
		if e.dash {
			return out, c.cut(file, e.key, e.end, "{}")
		}
		if len(way) < 2 || way[len(way)-2].in.Kind != Mapping {
			return snippet{}, false
		}
		p := way[len(way)-2]
		colon, ok := c.afterColon(p.in.Fields[p.i].Range)
		if !ok || colon > e.lead {
			return snippet{}, false
		}
		return out, c.cut(file, colon, colon, " {}") && c.cut(file, e.lead, x.nextLine(e.end), "")
	}
	if e.dash {
		next := x.nextLine(e.end)
		for next < len(x.src) && (isBlank(x.src[next]) || x.src[next] == '\n') {
			next++
		}
		return out, c.cut(file, e.key, next, "")
	}
	to := x.nextLine(e.end)
	if to == e.end && e.lead > x.start { // the last line of a file that does not end in a line break
		return out, c.cut(file, x.lineBreak(e.lead-1-btoi(x.src[e.lead-1] == '\n' && e.lead > 1 && x.src[e.lead-2] == '\r')), to, "")
	}
	return out, c.cut(file, e.lead, to, "")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writeBlock adds a field after the last one of a mapping in block style; apiVersion comes first.
func (c *change) writeBlock(n *Node, to []string, s snippet) bool {
	x := c.files[n.Range.File]
	first, last := -1, -1
	for i := range n.Fields {
		r := n.Fields[i].Range
		if r.File != n.Range.File || r.Start.Offset < n.Range.Start.Offset || r.End.Offset > n.Range.End.Offset {
			continue // merged from elsewhere
		}
		if first < 0 {
			first = i
		}
		last = i
	}
	if first < 0 {
		return false
	}
	head, ok := c.blockExtent(step{n, first})
	if !ok {
		return false
	}
	column := head.key - head.line
	lines, ok := blockLines(column, to, s, x.eol())
	if !ok {
		return false
	}
	if len(to) == 1 && to[0] == "apiVersion" {
		return c.cut(n.Range.File, head.key, head.key, strings.TrimLeft(lines, " ")+x.eol()+strings.Repeat(" ", column))
	}
	tail, ok := c.blockExtent(step{n, last})
	if !ok {
		return false
	}
	return c.cut(n.Range.File, tail.end, tail.end, x.eol()+lines)
}

// blockLines are the lines of a field and of what is to be made around it, the first at column.
func blockLines(column int, to []string, s snippet, eol string) (string, bool) {
	pad := strings.Repeat(" ", column)
	var b strings.Builder
	if len(to) == 1 {
		after, ok := s.blockText(column, eol)
		for _, comment := range s.above {
			b.WriteString(pad + comment + eol)
		}
		b.WriteString(pad + yamlKey(to[0], false) + after)
		return b.String(), ok
	}
	b.WriteString(pad + yamlKey(to[0], false) + ":" + eol)
	if _, err := strconv.Atoi(to[1]); err != nil {
		inner, ok := blockLines(column+2, to[1:], s, eol)
		return b.String() + inner, ok
	}
	if len(to) < 3 {
		return "", false
	}
	inner, ok := blockLines(column+4, to[2:], s, eol)
	if strings.HasPrefix(strings.TrimLeft(inner, " "), "#") {
		return b.String() + pad + "  -" + eol + inner, ok
	}
	return b.String() + pad + "  - " + strings.TrimLeft(inner, " "), ok
}

// blockText is what follows the key, for a key at column.
func (s snippet) blockText(column int, eol string) (string, bool) {
	if s.after == "" {
		return ":" + yamlBlock(s.value, column, eol), true
	}
	return reindent(s.after, column-s.indent)
}

// reindent moves all lines but the first by some columns.
func reindent(text string, by int) (string, bool) {
	if by == 0 {
		return text, true
	}
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines[1:] {
		trimmed := strings.TrimLeft(l, " ")
		switch blanks := len(l) - len(trimmed); {
		case strings.TrimSpace(l) == "":
		case by > 0:
			lines[i+1] = strings.Repeat(" ", by) + l
		case blanks >= -by:
			lines[i+1] = l[-by:]
		case trimmed[0] == '#':
			lines[i+1] = trimmed
		default:
			return "", false
		}
	}
	return strings.Join(lines, ""), true
}

// yamlBlock writes a value out in block style, as it follows the colon of a key at column.
func yamlBlock(n *Node, column int, eol string) string {
	pad := strings.Repeat(" ", column+2)
	switch {
	case n.Kind == Mapping && len(n.Fields) > 0:
		var b strings.Builder
		for _, f := range n.Fields {
			b.WriteString(eol + pad + yamlKey(f.Name, false) + ":" + yamlBlock(f.Value, column+2, eol))
		}
		return b.String()
	case n.Kind == Sequence && len(n.Items) > 0:
		var b strings.Builder
		for _, item := range n.Items {
			text := yamlBlock(item, column+2, eol)
			if item.Kind == Mapping {
				text = " " + strings.TrimLeft(text, " \r\n")
			}
			b.WriteString(eol + pad + "-" + text)
		}
		return b.String()
	}
	return " " + flowText(n, yamlLang)
}

// flowText writes a value out in one line.
func flowText(n *Node, l lang) string {
	var parts []string
	switch n.Kind {
	case Mapping:
		for _, f := range n.Fields {
			parts = append(parts, keyIn(l, f.Name, true)+": "+flowText(f.Value, l))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case Sequence:
		for _, item := range n.Items {
			parts = append(parts, flowText(item, l))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	s, isText := n.Scalar.(string)
	switch {
	case !isText && n.Scalar == nil:
		return "null"
	case !isText:
		return n.Text
	case l == yamlLang:
		return yamlText(s, "", true)
	}
	return quoted(s)
}

// flowEnd is where a field in flow style, or in CUE or JSON, ends.
func (c *change) flowEnd(f *Field) (keyEnd, end int, ok bool) {
	if c.lang == cueLang {
		l, ok := c.labels[f.Range.File][int(f.Range.Start.Offset)]
		return l.end, l.whole, ok
	}
	v := f.Value.Range
	return int(f.Range.End.Offset), int(v.End.Offset), v.File == f.Range.File && v.Start.Offset > f.Range.End.Offset
}

// neighbours are the fields of a mapping that stand in one file, within the mapping, in the order of the text.
func (c *change) neighbours(n *Node, file string) []*Field {
	var out []*Field
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Range.File == file && (n.Range.File != file || f.Range.Start.Offset >= n.Range.Start.Offset && f.Range.End.Offset <= n.Range.End.Offset) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *Field) int { return int(a.Range.Start.Offset - b.Range.Start.Offset) })
	return out
}

func (c *change) removeFlow(s step) (snippet, bool) {
	f := &s.in.Fields[s.i]
	x := c.files[f.Range.File]
	if x == nil {
		return snippet{}, false
	}
	keyEnd, end, ok := c.flowEnd(f)
	if !ok {
		return snippet{}, false
	}
	from := int(f.Range.Start.Offset)
	out := snippet{after: string(x.src[keyEnd:end]), indent: x.indentOf(x.lineBegin(from))}
	all := c.neighbours(s.in, f.Range.File)
	i := slices.Index(all, f)
	if c.lang == cueLang {
		if lead, to, whole := c.ownLines(x, from, end); whole && (len(all) > 1 || x.src[min(int(s.in.Range.Start.Offset), len(x.src)-1)] == '{') {
			for at := lead; at < x.lineBegin(from); at = x.nextLine(at) {
				out.above = append(out.above, strings.TrimSpace(string(x.src[at:x.lineBreak(at)])))
			}
			if line := strings.TrimSpace(string(x.src[end:x.lineBreak(end)])); strings.Contains(line, "//") {
				out.above = append(out.above, line[strings.Index(line, "//"):])
			}
			return out, c.cut(f.Range.File, lead, to, "")
		}
	}
	switch {
	case i < 0:
		return snippet{}, false
	case i+1 < len(all):
		return out, c.cut(f.Range.File, from, int(all[i+1].Range.Start.Offset), "")
	case i > 0:
		_, before, ok := c.flowEnd(all[i-1])
		return out, ok && c.cut(f.Range.File, before, end, "")
	}
	r := s.in.Range
	return out, r.File == f.Range.File && c.cut(r.File, int(r.Start.Offset), int(r.End.Offset), "{}")
}

// ownLines reports whether a field of CUE has its lines to itself, and where they begin, its own comments included, and end.
func (c *change) ownLines(x *cursor, from, end int) (lead, to int, ok bool) {
	line := x.lineBegin(from)
	before := strings.TrimSpace(string(x.src[line:from]))
	after := strings.TrimLeft(strings.TrimSpace(string(x.src[end:x.lineBreak(end)])), ",")
	if before != "" || strings.TrimSpace(after) != "" && !strings.HasPrefix(strings.TrimSpace(after), "//") {
		return 0, 0, false
	}
	lead = line
	for lead > x.start {
		above := x.lineBegin(lead - 1)
		if !x.isComment(above, "//") || x.indentOf(above) != x.indentOf(line) {
			break
		}
		lead = above
	}
	return lead, x.nextLine(end), true
}

// writeFlow adds a field after the last one of a mapping in flow style, or in JSON or CUE.
func (c *change) writeFlow(n *Node, to []string, s snippet) bool {
	x := c.files[n.Range.File]
	r := n.Range
	all := c.neighbours(n, r.File)
	if len(all) == 0 {
		if r.End.Offset-r.Start.Offset < 2 || x.src[r.Start.Offset] != '{' || strings.TrimSpace(string(x.src[r.Start.Offset+1:r.End.Offset-1])) != "" {
			return false
		}
		text, ok := c.flowField(x, "", false, to, s)
		return ok && c.cut(r.File, int(r.Start.Offset+1), int(r.End.Offset-1), text)
	}
	last := all[len(all)-1]
	_, end, ok := c.flowEnd(last)
	if !ok {
		return false
	}
	line := x.lineBegin(int(last.Range.Start.Offset))
	own := strings.TrimSpace(string(x.src[line:last.Range.Start.Offset])) == "" && (c.lang == cueLang || line > int(r.Start.Offset))
	if !own {
		text, ok := c.flowField(x, "", false, to, s)
		return ok && x.src[r.Start.Offset] == '{' && c.cut(r.File, end, end, ", "+text)
	}
	pad := string(x.src[line : line+x.indentOf(line)])
	text, ok := c.flowField(x, pad, true, to, s)
	if !ok {
		return false
	}
	if c.lang == cueLang {
		at := x.lineBreak(end)
		return c.cut(r.File, at, at, x.eol()+text)
	}
	return c.cut(r.File, end, end, ","+x.eol()+text)
}

// flowField is a field and what is to be made around it; pad is the indentation of its line, if it
// has one of its own.
func (c *change) flowField(x *cursor, pad string, own bool, to []string, s snippet) (string, bool) {
	var b strings.Builder
	for _, comment := range s.above {
		if c.lang != cueLang || !own {
			return "", false
		}
		b.WriteString(pad + comment + x.eol())
	}
	b.WriteString(pad)
	closing := ""
	for i := range to[:len(to)-1] {
		if _, err := strconv.Atoi(to[i]); err == nil {
			b.WriteString("[")
			closing = "]" + closing
			continue
		}
		b.WriteString(keyIn(c.lang, to[i], true) + ": ")
		if _, err := strconv.Atoi(to[i+1]); err != nil {
			b.WriteString("{")
			closing = "}" + closing
		}
	}
	name := to[len(to)-1]
	if len(to) > 1 {
		if _, err := strconv.Atoi(to[len(to)-2]); err == nil {
			b.WriteString("{")
			closing = "}" + closing
		}
	}
	b.WriteString(keyIn(c.lang, name, true))
	switch {
	case s.after == "" || s.block:
		b.WriteString(": " + flowText(s.value, c.lang))
	case !own: // its lines stay where they are
		b.WriteString(s.after)
	default:
		after, ok := s.after, true
		if c.lang != cueLang {
			after, ok = reindent(s.after, len(pad)-s.indent)
		} else if by := len(pad) - s.indent; by < 0 {
			after = strings.ReplaceAll(after, "\n"+strings.Repeat("\t", -by), "\n")
		} else if by > 0 {
			after = strings.ReplaceAll(after, "\n", "\n"+strings.Repeat("\t", by))
		}
		if !ok {
			after = s.after
		}
		b.WriteString(after)
	}
	return b.String() + closing, true
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// keyText is a name as a key, written as old was.
func (c *change) keyText(name, old string) string {
	switch {
	case c.lang == jsonLang || strings.HasPrefix(old, `"`):
		return quoted(name)
	case strings.HasPrefix(old, "'") && !strings.Contains(name, "'"):
		return "'" + name + "'"
	}
	return keyIn(c.lang, name, true)
}

func keyIn(l lang, name string, flow bool) string {
	switch {
	case l == jsonLang, l == cueLang && !identifier.MatchString(name):
		return quoted(name)
	case l == cueLang:
		return name
	}
	return yamlKey(name, flow)
}

func yamlKey(name string, flow bool) string { return yamlText(name, "", flow) }

// quoted is a text in double quotes, as JSON, CUE and YAML all read it.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// bare are the texts that stand without quotes in YAML, in block style and in flow style.
var (
	bare     = regexp.MustCompile(`^[A-Za-z_/.$^(][A-Za-z0-9_/.$*+?^|()\\=~@%<>!;:'\[\]{},"-]*$`)
	bareFlow = regexp.MustCompile(`^[A-Za-z_/.$^(][A-Za-z0-9_/.$*+?^|()\\=~@%<>!;:'-]*[A-Za-z0-9_/.$*+?^|()\\=~@%<>!;'-]$|^[A-Za-z_]$`)
)

// yamlText is a text as a scalar of YAML, quoted as old was.
func yamlText(s, old string, flow bool) string {
	switch {
	case strings.HasPrefix(old, "'") && !strings.ContainsAny(s, "\n\r\t") && s != "":
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	case strings.HasPrefix(old, `"`):
		return quoted(s)
	}
	ok := bare.MatchString(s) && !strings.HasSuffix(s, ":")
	if flow {
		ok = bareFlow.MatchString(s)
	}
	if _, isText := plain(s).(string); !ok || !isText || Ambiguous(s) {
		return quoted(s)
	}
	return s
}

// Ambiguous reports whether readers of YAML 1.1 and 1.2 disagree about an unquoted text.
func Ambiguous(s string) bool {
	switch strings.ToLower(s) {
	case "yes", "no", "on", "off", "y", "n", "true", "false":
		return true
	}
	return false
}

// scalarText is a scalar in the language of the file, quoted as old was.
func (c *change) scalarText(n *Node, old string, flow bool) string {
	s, isText := n.Scalar.(string)
	switch {
	case !isText && n.Scalar == nil:
		return "null"
	case !isText:
		return n.Text
	case c.lang != yamlLang:
		return quoted(s)
	}
	return yamlText(s, old, flow)
}

// parsedYAML is the text of one document, or of what may be one.
func parsedYAML(name string, text []byte) parsed {
	x := newIndex(name, text)
	p := parsed{index: x}
	ds := parseYAML(x, func(roots []*Node) bool { p.roots = append(p.roots, roots...); return true })
	p.errors = ds.Count(diag.Error)
	return p
}

type parsed struct {
	*index
	roots  []*Node
	errors int
}

// comments are the comments of a YAML text.
func (p parsed) comments() []string {
	var out []string
	for _, at := range p.commentsAt() {
		out = append(out, string(p.src[at:p.restOfLine(at)]))
	}
	return out
}

// commentsAt is where the comments of a YAML text begin: each # that begins a word outside of scalars.
func (p parsed) commentsAt() []int {
	scalars := map[int]int{} // from where to where they go
	seen := map[*Node]bool{}
	var walk func(n *Node)
	walk = func(n *Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		if n.Kind == Scalar {
			from, to := int(n.Range.Start.Offset), int(n.Range.End.Offset)
			if from < to && (p.src[from] == '|' || p.src[from] == '>') {
				from = min(p.nextLine(from), to)
			}
			scalars[from] = max(scalars[from], to)
		}
		for i := range n.Fields {
			r := n.Fields[i].Range
			scalars[int(r.Start.Offset)] = max(scalars[int(r.Start.Offset)], int(r.End.Offset))
			walk(n.Fields[i].Value)
		}
		for _, item := range n.Items {
			walk(item)
		}
	}
	for _, r := range p.roots {
		walk(r)
	}
	var out []int
	for at := p.start; at < len(p.src); {
		if to, ok := scalars[at]; ok && to > at {
			at = to
			continue
		}
		if p.src[at] == '#' && (at == p.start || isBlank(p.src[at-1]) || p.src[at-1] == '\n') {
			out = append(out, at)
			at = p.restOfLine(at)
			continue
		}
		at++
	}
	return out
}
