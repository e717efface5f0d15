package syntax

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// parseJSON returns the root of a file that holds one JSON object, or the elements of an array of objects (RFC 8259).
// A comma or a bracket too many, a second object behind the first, comments, unknown escapes, other quotes and words without quotes are
// errors that hide nothing; any other syntax error ends the file.
func parseJSON(x *index) ([]*Node, diag.List) {
	p := &jsonParser{cursor: newCursor(x), at: x.start}
	root, ok := p.document()
	if len(p.ds) > 0 {
		if conflicts := mergeConflicts(x); len(conflicts) > 0 {
			return nil, conflicts
		}
	}
	if !ok {
		p.reportComments()
		p.countOdd()
		return nil, p.ds
	}
	items := []*Node{root}
	if root.Kind == Sequence {
		items = root.Items
	}
	items = append(items, p.more...)
	var roots []*Node
	for _, n := range items {
		if n.Kind != Mapping {
			p.report("json/not-object", n.Range, "expected an object or an array of objects, found "+describe(n), "a declaration is a JSON object")
			continue
		}
		roots = append(roots, n)
	}
	if len(p.ds) > 0 || slices.ContainsFunc(roots, func(n *Node) bool { return n.Fold("apiVersion") != nil || n.Fold("kind") != nil }) {
		p.countOdd()
		p.reportComments() // those of files that are not ours are no business of ours
	}
	return roots, p.ds
}

// reportComments tells of all comments of a file at once: they are one mistake.
func (p *jsonParser) reportComments() {
	if len(p.comments) == 0 {
		return
	}
	first := p.comments[0]
	summary := "a comment stands here, and JSON has none" // without a count: the problem stays when one of them goes
	var more []diag.Related
	switch n := len(p.comments); {
	case n == 2:
		more = []diag.Related{{Subject: p.comments[1], Summary: "here too"}}
	case n > 2:
		more = []diag.Related{{Subject: p.comments[1], Summary: fmt.Sprintf("here too; %d comments in all", n)}}
	}
	p.ds = append(p.ds, diag.Diagnostic{Severity: diag.Error, Code: "json/syntax", Subject: first, Summary: summary, Related: more, Hint: "remove it, or declare this in YAML, which has comments"})
}

type jsonParser struct {
	*cursor
	at   int
	ds   diag.List
	more []*Node // what stands behind the root, and should not

	comments []diag.Range
	odd      int // characters that no text may have, and unknown escapes
	lastOdd  int // the last of them that was reported, in ds
}

// maxOdd is how many odd characters of a file are reported: a file with more is not text.
const maxOdd = 20

func (p *jsonParser) reportOdd(r diag.Range, summary, hint string) {
	if p.odd++; p.odd <= maxOdd {
		p.lastOdd = len(p.ds)
		p.report("json/syntax", r, summary, hint)
	}
}

// countOdd says how many more odd characters there are than are reported.
func (p *jsonParser) countOdd() {
	if n := p.odd - maxOdd; n > 0 {
		p.ds[p.lastOdd].Hint += fmt.Sprintf("; %d more characters of this file are as odd", n)
	}
}

func (p *jsonParser) report(code diag.Code, r diag.Range, summary, hint string) {
	p.ds = append(p.ds, diag.Diagnostic{Severity: diag.Error, Code: code, Subject: r, Summary: summary, Hint: hint})
}

// fail reports a syntax error at the current place, and is false.
func (p *jsonParser) fail(expected, hint string) bool {
	found := "the end of the file"
	if p.at == len(p.src) { // what is missing is missing after the last text
		for p.at > p.start && (isBlank(p.src[p.at-1]) || p.src[p.at-1] == '\n') {
			p.at--
		}
	} else {
		r, _ := utf8.DecodeRune(p.src[p.at:])
		found = fmt.Sprintf("%q", string(r))
	}
	p.report("json/syntax", p.cursor.at(p.at), fmt.Sprintf("expected %s, found %s", expected, found), hint)
	return false
}

// extraComma is fail where a comma stands before what closes. It reads on, and is true.
func (p *jsonParser) extraComma(expected, hint string) bool {
	before := bytes.TrimRight(p.src[p.start:p.at], " \t\r\n")
	p.fail(expected, hint)
	if n := p.start + len(before); bytes.HasSuffix(before, []byte{','}) {
		p.ds[len(p.ds)-1].Fixes = []diag.Fix{{Range: p.span(n-1, n), Text: ""}}
	}
	p.at++ // what was meant is clear
	return true
}

func (p *jsonParser) peek() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

func (p *jsonParser) space() {
	for p.at < len(p.src) {
		switch b := p.src[p.at]; {
		case isBlank(b) || b == '\n':
			p.at++
		case (b == '/' || b == '#') && p.comment():
		default:
			return
		}
	}
}

// comment reads over a comment of JavaScript, or of YAML; false: there is none, or it does not end.
func (p *jsonParser) comment() bool {
	rest := p.src[p.at:]
	n := len(rest)
	switch {
	case bytes.HasPrefix(rest, []byte("/*")):
		end := bytes.Index(rest[2:], []byte("*/"))
		if end < 0 {
			return false
		}
		n = 2 + end + 2
	case bytes.HasPrefix(rest, []byte("//")) || rest[0] == '#':
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			n = end
		}
	default:
		return false
	}
	shown := bytes.TrimRight(rest[:n], "\r")
	if i := bytes.IndexByte(shown, '\n'); i >= 0 {
		shown = shown[:i]
	}
	if len(p.comments) < 2 { // more are counted only
		p.comments = append(p.comments, p.span(p.at, p.at+len(shown)))
	} else {
		p.comments = append(p.comments, diag.Range{})
	}
	p.at += n
	return true
}

func (p *jsonParser) document() (*Node, bool) {
	p.space()
	if p.at == len(p.src) {
		return nil, p.fail("an object or an array of objects", "remove the empty file, or write a declaration")
	}
	root := &Node{}
	if !p.value(root, 0) {
		return nil, false
	}
	p.space()
	if p.at == len(p.src) {
		return root, true
	}
	if rest := bytes.TrimRight(p.src[p.at:], " \t\r\n"); len(bytes.Trim(rest, "]}, \t\r\n")) == 0 { // closed once too often
		p.fail("the end of the file", "remove it: all that was opened is closed before it")
		p.ds[len(p.ds)-1].Fixes = []diag.Fix{{Range: p.span(p.at, p.at+len(rest)), Text: ""}}
		return root, true
	}
	p.fail("the end of the file", "put several objects into an array")
	return root, root.Kind == Mapping && p.rest()
}

// rest reads the objects behind the first; it is false unless nothing else is there, which says that they were meant so.
func (p *jsonParser) rest() bool {
	for p.at < len(p.src) {
		n := &Node{}
		if p.peek() != '{' || !p.value(n, 0) {
			return false
		}
		p.more = append(p.more, n)
		p.space()
	}
	return true
}

func (p *jsonParser) value(n *Node, depth int) bool {
	if depth > MaxDepth {
		p.report("json/too-deep", p.cursor.at(p.at), fmt.Sprintf("values nest more than %d deep here", MaxDepth), "flatten the document")
		return false
	}
	from := p.at
	ok := false
	switch b := p.peek(); {
	case b == '{':
		ok = p.object(n, depth)
	case b == '[':
		ok = p.array(n, depth)
	case b == '"':
		var s string
		s, ok = p.string()
		n.Scalar, n.Text, n.Quoted = s, s, true
	case b == '-' || b >= '0' && b <= '9':
		ok = p.number(n)
	case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z':
		ok = p.word(n, depth)
	case b == '/' || b == '#':
		return p.fail("a value", "JSON has no comments")
	default:
		var s string
		if s, ok = p.otherQuotes("a value"); !ok {
			return p.fail("a value", "write a value here; text stands in double quotes")
		}
		n.Scalar, n.Text, n.Quoted = s, s, true
	}
	n.Range = p.span(from, p.at)
	return ok
}

// otherQuotes reads over a text on one line between quotes that JSON does not have, and says so; false: there is none.
func (p *jsonParser) otherQuotes(expected string) (string, bool) {
	open, size := utf8.DecodeRune(p.src[p.at:])
	closing := "’'"
	switch open {
	case '\'', '‘', '’':
	case '“', '”', '„', '‟', '«', '»':
		closing = "”“»«\""
	default:
		return "", false
	}
	from := p.at + size
	n := bytes.IndexAny(p.src[from:], closing+"\n")
	if n < 0 || p.src[from+n] == '\n' {
		return "", false
	}
	text := p.src[from : from+n]
	_, last := utf8.DecodeRune(p.src[from+n:])
	what := fmt.Sprintf("expected %s, found the quote %c", expected, open)
	p.reportOdd(p.span(p.at, from+n+last), what, `write " for it: a text of JSON stands in double quotes`)
	if p.odd <= maxOdd && bytes.IndexAny(text, `"\`) < 0 {
		p.ds[len(p.ds)-1].Fixes = []diag.Fix{{Range: p.span(p.at, from), Text: `"`}, {Range: p.span(from+n, from+n+last), Text: `"`}}
	}
	p.at = from + n + last
	return string(text), true
}

// foreignWords are the values of other languages that JSON writes otherwise.
var foreignWords = map[string]string{"True": "true", "TRUE": "true", "yes": "true", "False": "false", "FALSE": "false", "no": "false",
	"None": "null", "nil": "null", "NULL": "null", "Null": "null", "undefined": "null"}

func (p *jsonParser) word(n *Node, depth int) bool {
	end := p.at
	for end < len(p.src) && (p.src[end] >= 'a' && p.src[end] <= 'z' || p.src[end] >= 'A' && p.src[end] <= 'Z' || p.src[end] >= '0' && p.src[end] <= '9' || p.src[end] == '_') {
		end++
	}
	switch w := string(p.src[p.at:end]); w {
	case "true", "false":
		n.Scalar, n.Text = w == "true", w
	case "null":
		n.Text = w
	default:
		at := p.span(p.at, end)
		summary, hint := "expected a value, found "+hush(p.src, p.at, quote(w)), "put it into double quotes if it is a text"
		to := foreignWords[w]
		switch {
		case to != "":
			hint = fmt.Sprintf("write %s, or put it into double quotes if it is a text", to)
		case diag.Nearest(w, []string{"true", "false", "null"}) != "":
			hint = fmt.Sprintf("did you mean %s? Else put it into double quotes", diag.Nearest(w, []string{"true", "false", "null"}))
		case w == "NaN" || w == "Infinity" || w == "inf":
			hint = "JSON has finite numbers alone: write one, or leave the field out"
		}
		p.reportOdd(at, summary, hint)
		if depth == 0 {
			return false // this is no JSON at all
		}
		n.Scalar, n.Text = w, w // reads on: what is said of the type of the value is not told
		if to == "true" || to == "false" {
			n.Scalar, n.Text = to == "true", to
		}
		if p.odd <= maxOdd && to != "" && w != "yes" && w != "no" {
			p.ds[len(p.ds)-1].Fixes = []diag.Fix{{Range: at, Text: to}}
		}
	}
	p.at = end
	return true
}

func (p *jsonParser) number(n *Node) bool {
	from := p.at
	if p.peek() == '-' {
		p.at++
	}
	switch b := p.peek(); {
	case b == '0':
		p.at++
		if b := p.peek(); b >= '0' && b <= '9' {
			return p.fail("a number without a leading zero", "quote it if it is text")
		}
	case b >= '1' && b <= '9':
		p.digits()
	default:
		return p.fail("a digit", "finish the number, or put quotes around text")
	}
	if p.peek() == '.' {
		p.at++
		if !p.digits() {
			return p.fail("a digit", "finish the number, or put quotes around text")
		}
	}
	exponent := -1
	if b := p.peek(); b == 'e' || b == 'E' {
		p.at++
		exponent = p.at
		if b := p.peek(); b == '+' || b == '-' {
			p.at++
		}
		if !p.digits() {
			return p.fail("a digit", "finish the number, or put quotes around text")
		}
	}
	s := string(p.src[from:p.at])
	if len(s) > maxDigits || exponent > 0 && !smallExponent(s[exponent-from:]) {
		p.report("json/number", p.span(from, p.at), "this number is beyond what is computed with: "+hush(p.src, from, quote(s)), "write a smaller number, or quote it if it is text")
		return false
	}
	n.Scalar, n.Text = json.Number(s), s
	return true
}

func (p *jsonParser) digits() bool {
	from := p.at
	for p.peek() >= '0' && p.peek() <= '9' {
		p.at++
	}
	return p.at > from
}

// string reads a string; the parser stands at its opening quote.
func (p *jsonParser) string() (string, bool) {
	open := p.at
	p.at++
	from := p.at
	var buf []byte // nil until the first escape
	for p.at < len(p.src) {
		switch b := p.src[p.at]; {
		case b == '"':
			s := p.src[from:p.at]
			if buf != nil {
				s = append(buf, s...)
			}
			p.at++
			return string(s), true
		case b == '\\':
			buf = append(buf, p.src[from:p.at]...)
			if buf == nil {
				buf = []byte{}
			}
			buf = p.escape(buf)
			from = p.at
		case b == '\n' || b == '\r':
			p.report("json/syntax", p.span(open, p.at), "this string is not closed on its line", `add the closing quote, or write \n for a line break`)
			return "", false
		case b < ' ':
			p.reportOdd(p.cursor.at(p.at), fmt.Sprintf("control character U+%04X is not allowed in a string", b), "write it as an escape")
			p.at++
		default:
			p.at++
		}
	}
	p.report("json/syntax", p.span(open, p.at), "this string is not closed", "add the closing quote")
	return "", false
}

// escape appends what the escape at the current place means: of an unknown one, which is reported, what stands behind the backslash.
func (p *jsonParser) escape(buf []byte) []byte {
	start := p.at
	p.at++
	b := p.peek()
	switch b {
	case '"', '\\', '/':
		buf = append(buf, b)
	case 'b':
		buf = append(buf, '\b')
	case 'f':
		buf = append(buf, '\f')
	case 'n':
		buf = append(buf, '\n')
	case 'r':
		buf = append(buf, '\r')
	case 't':
		buf = append(buf, '\t')
	case 'u':
		r, ok := p.hex(start)
		if utf16.IsSurrogate(r) {
			second, _ := p.hex(start + 6)
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				r = pair
				p.at = start + 12
				return utf8.AppendRune(buf, r)
			}
			r = utf8.RuneError
		}
		if ok {
			p.at = start + 6
			return utf8.AppendRune(buf, r)
		}
		fallthrough
	default:
		end := min(start+2, len(p.src))
		if end == start+2 && b >= utf8.RuneSelf {
			_, n := utf8.DecodeRune(p.src[start+1:])
			end = start + 1 + n
		}
		hint := `write \\ for a backslash`
		switch {
		case b == 'u':
			for end < len(p.src) && end < start+6 && p.src[end] >= '0' && p.src[end] != '"' && p.src[end] != '\\' && p.src[end] < utf8.RuneSelf {
				end++
			}
			hint = `write four hexadecimal digits behind \u, or \\ for a backslash`
		case b == '\'':
			hint = `write ' without a backslash`
		}
		summary := fmt.Sprintf("unknown escape %s in a string", p.src[start:end])
		if p.odd < maxOdd && diag.SecretAt(p.src, start) { // it looks at much of the text
			summary = "unknown escape in a string"
		}
		p.reportOdd(p.span(start, end), summary, hint)
		p.at = start + 1
		return buf
	}
	p.at++
	return buf
}

// hex is the value of a \uXXXX at off.
func (p *jsonParser) hex(off int) (rune, bool) {
	if off+6 > len(p.src) || p.src[off] != '\\' || p.src[off+1] != 'u' {
		return utf8.RuneError, false
	}
	v, err := strconv.ParseUint(string(p.src[off+2:off+6]), 16, 32)
	if err != nil {
		return utf8.RuneError, false
	}
	return rune(v), true
}

func (p *jsonParser) array(n *Node, depth int) bool {
	n.Kind = Sequence
	p.at++
	p.space()
	if p.peek() == ']' {
		p.at++
		return true
	}
	for {
		p.space()
		if p.peek() == ']' {
			return p.extraComma("a value", "remove the comma before the bracket")
		}
		item := &Node{}
		if !p.value(item, depth+1) {
			return false
		}
		n.Items = append(n.Items, item)
		p.space()
		switch p.peek() {
		case ',':
			p.at++
		case ']':
			p.at++
			return true
		default:
			return p.fail(`"," or "]"`, "separate the items with commas, or close the array")
		}
	}
}

// key reads a key. Without quotes, or in others, it is reported and counts.
func (p *jsonParser) key() (string, bool) {
	if p.peek() == '"' {
		return p.string()
	}
	if name, ok := p.otherQuotes("a key in double quotes"); ok {
		return name, true
	}
	end := p.at
	for end < len(p.src) && (p.src[end] >= 'a' && p.src[end] <= 'z' || p.src[end] >= 'A' && p.src[end] <= 'Z' || p.src[end] >= '0' && p.src[end] <= '9' || p.src[end] == '_' || p.src[end] == '-') {
		end++
	}
	if end == p.at || end == len(p.src) || bytes.IndexByte([]byte(" \t:"), p.src[end]) < 0 {
		return "", p.fail("a key in double quotes", "put the key in double quotes")
	}
	at, name := p.span(p.at, end), string(p.src[p.at:end])
	p.reportOdd(at, "expected a key in double quotes, found "+quote(name), "put the key in double quotes")
	if p.odd <= maxOdd {
		p.ds[len(p.ds)-1].Fixes = []diag.Fix{{Range: at, Text: strconv.Quote(name)}}
	}
	p.at = end
	return name, true
}

// object keeps the first of two equal keys, and reports the second.
func (p *jsonParser) object(n *Node, depth int) bool {
	n.Kind = Mapping
	p.at++
	p.space()
	if p.peek() == '}' {
		p.at++
		return true
	}
	var seen map[string]int
	for {
		p.space()
		if p.peek() == '}' {
			return p.extraComma("a key in double quotes", "remove the comma before the brace")
		}
		from := p.at
		name, ok := p.key()
		if !ok {
			return false
		}
		f := Field{Name: name, Range: p.span(from, p.at), Value: &Node{}}
		p.space()
		if p.peek() != ':' {
			return p.fail(`":"`, "write \"key\": value")
		}
		p.at++
		p.space()
		if !p.value(f.Value, depth+1) {
			return false
		}
		if seen == nil {
			seen = map[string]int{}
		}
		if i, twice := seen[name]; twice {
			p.ds = append(p.ds, diag.Diagnostic{Severity: diag.Error, Code: "json/duplicate-key", Subject: f.Range,
				Summary: fmt.Sprintf("key %q is already in this object", name), Hint: "remove one of the two",
				Related: []diag.Related{{Subject: n.Fields[i].Range, Summary: "the first one"}}})
		} else {
			seen[name] = len(n.Fields)
			n.Fields = append(n.Fields, f)
		}
		p.space()
		switch p.peek() {
		case ',':
			p.at++
		case '}':
			p.at++
			return true
		default:
			return p.fail(`"," or "}"`, "separate the fields with commas, or close the object")
		}
	}
}
