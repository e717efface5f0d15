package dataweave

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// Script is a whole script of the language, as far as it can be told without its engine: where its parts are, which names it
// uses, and what its value looks like where it is written out.
type Script struct {
	Output string // the type after `output` in the header, such as application/json; "": none is declared
	Result Result

	at     Mapper
	tokens []token // of the body
	inner  []token // of the expressions within its strings
	header []token
}

// Shape is what a value looks like.
type Shape uint8

// The shapes. ShapeUnknown depends on the message, or on more of the language than is read here.
const (
	ShapeUnknown Shape = iota
	ShapeObject
	ShapeList
	ShapeText
	ShapeNumber
	ShapeBool
	ShapeNull
	ShapeOneOf // one of the Branches, of an if
)

// String names the shape for a message.
func (s Shape) String() string {
	return [...]string{"a value", "an object", "a list", "a text", "a number", "a boolean", "null", "one of several values"}[s]
}

// Result is the value of a script, or a part of it.
type Result struct {
	Shape    Shape
	Text     string  // of a text, a number or a boolean
	Entries  []Entry // of an object, those whose names are written out
	Open     bool    // of an object: it may have more
	Branches []Result
	At       diag.Range // of an object or a list: of its opening bracket; of other values that are written out: theirs
}

// Entry is one entry of an object.
type Entry struct {
	Name  string
	At    diag.Range // of the name
	Value Result
}

// Get is the value of the entry of this name.
func (r Result) Get(name string) (Entry, bool) {
	for _, e := range r.Entries {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// Each calls f for every value that r may be: for each branch, or for r itself.
func (r Result) Each(f func(Result)) {
	if r.Shape != ShapeOneOf {
		f(r)
		return
	}
	for _, b := range r.Branches {
		b.Each(f)
	}
}

// Use is one place where a script uses a name that it does not declare.
type Use struct {
	Member string // what is selected from it, when that is written out
	At     diag.Range
}

// Uses are the places where the script uses a variable that it gets, and does not declare or take as a parameter itself.
func (s Script) Uses(name string) []Use {
	all := [][]token{s.header, s.tokens, s.inner}
	own := map[string]bool{}
	for _, tokens := range all {
		declared(tokens, own)
	}
	var uses []Use
	if own[name] {
		return nil
	}
	for _, tokens := range all {
		for i, t := range tokens {
			if !t.named(name) || isSelected(tokens, i) || i > 0 && tokens[i-1].named("input") || i+1 < len(tokens) && tokens[i+1].is(":") {
				continue
			}
			u := Use{At: s.at(t.start, t.end)}
			if i+2 < len(tokens) && tokens[i+1].is(".") && (tokens[i+2].kind == tokName || tokens[i+2].kind == tokString) {
				u.Member, u.At = tokens[i+2].value, s.at(t.start, tokens[i+2].end)
			}
			uses = append(uses, u)
		}
	}
	return uses
}

// isSelected reports whether the name at i is selected from a value: .name, ..name, .*name, .@name, .#name, .&name, .^name.
func isSelected(tokens []token, i int) bool {
	if i > 1 && slices.ContainsFunc([]string{"*", "@", "#", "&", "^"}, tokens[i-1].is) {
		i--
	}
	return i > 0 && (tokens[i-1].is(".") || tokens[i-1].is(".."))
}

// declared are the names after var and fun, and those of parameters.
func declared(tokens []token, into map[string]bool) {
	type frame struct {
		open  int
		names []string
	}
	frames := []frame{{open: -1}}
	for i, t := range tokens {
		top := &frames[len(frames)-1]
		switch {
		case t.is("("), t.is("["), t.is("{"):
			frames = append(frames, frame{open: i})
		case t.is(")"), t.is("]"), t.is("}"):
			if len(frames) == 1 {
				continue
			}
			if t.is(")") && (i+1 < len(tokens) && tokens[i+1].is("->") || top.open > 1 && tokens[top.open-2].named("fun")) {
				for _, name := range top.names {
					into[name] = true
				}
			}
			frames = frames[:len(frames)-1]
		case t.kind != tokName:
		case i > 0 && (tokens[i-1].named("var") || tokens[i-1].named("fun")), i+1 < len(tokens) && tokens[i+1].is("->"):
			into[t.value] = true
		case i > 0 && (i-1 == top.open || tokens[i-1].is(",")):
			top.names = append(top.names, t.value)
		}
	}
}

// closing finds the bracket that closes the one at open; -1: none.
func closing(tokens []token, open int) int {
	depth := 0
	for i := open; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case t.is("("), t.is("["), t.is("{"):
			depth++
		case t.is(")"), t.is("]"), t.is("}"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// ReadScript reads a whole script: a header, `---`, and an expression; or the expression alone. It refuses what no version 2
// of the language reads: strings, comments and brackets that do not end, a header without a body, and version 1. It is silent
// where only the engine knows.
//
// Source: https://docs.mulesoft.com/dataweave/latest/dataweave-language-introduction
func ReadScript(text string, at Mapper) (Script, diag.List) {
	if at == nil {
		at = func(int, int) diag.Range { return diag.Range{} }
	}
	r := &scriptReader{parser: parser{text: text, at: at}}
	r.read(0, len(text), &r.tokens)
	r.balance()
	s := Script{at: at, inner: r.inner}
	if r.doubtful && r.diags.HasErrors() { // what was taken for a division was a regular expression, perhaps
		return s, nil
	}
	if r.diags.HasErrors() {
		return s, r.diags
	}
	r.split(&s)
	if !r.diags.HasErrors() && !r.doubtful && len(s.tokens) <= maxTokens {
		s.Result = r.result(s.tokens, 0)
	}
	return s, r.diags
}

// maxTokens bounds the work of telling what a script gives.
const maxTokens = 20_000

type scriptReader struct {
	parser
	tokens, inner []token
	doubtful      bool // a slash may have begun a regular expression
	depth         int  // of strings within each other
}

// read appends the tokens of a stretch; strings and regular expressions are one each.
func (r *scriptReader) read(from, to int, tokens *[]token) int {
	level := 0
	for i := from; i < to && !r.failed; {
		var ok bool
		if i, ok = r.skipBlanks(i); !ok || i >= to {
			return i
		}
		t := r.one(i, *tokens)
		switch {
		case t.is("("):
			level++
		case t.is(")"):
			if level--; level < 0 && r.depth > 0 { // the end of $( ) in a string
				return i
			}
		}
		*tokens = append(*tokens, t)
		i = max(t.end, i+1)
	}
	return to
}

func (r *scriptReader) one(i int, before []token) token {
	switch c := r.text[i]; {
	case isLetter(c):
		return r.slice(tokName, i, nameEnd(r.text, i))
	case isDigit(c):
		end := digits(r.text, i)
		if end+1 < len(r.text) && r.text[end] == '.' && isDigit(r.text[end+1]) {
			end = digits(r.text, end+1)
		}
		return r.slice(tokNumber, i, end)
	case c == '"' || c == '\'' || c == '`':
		return r.stringAt(i)
	case c == '/':
		if end := r.regexEnd(i, before); end > 0 {
			return token{kind: tokPunct, start: i, end: end, value: "/…/"}
		}
	}
	for punct := range strings.FieldsSeq("... " + puncts) {
		if strings.HasPrefix(r.text[i:], punct) {
			return r.slice(tokPunct, i, i+len(punct))
		}
	}
	return r.slice(tokPunct, i, i+1)
}

// stringAt reads a string. What stands in $( ) within it is read as an expression, which may hold strings again.
func (r *scriptReader) stringAt(start int) token {
	mark := r.text[start]
	value := r.text[start+1:]
	plain := true
	for i := start + 1; i < len(r.text) && !r.failed; {
		switch c := r.text[i]; {
		case c == mark:
			t := token{kind: tokString, start: start, end: i + 1, value: value[:i-start-1]}
			if !plain {
				t.kind = tokPunct // not a text that is known
			}
			return t
		case c == '\\':
			i += 2
		case c == '$' && i+1 < len(r.text) && r.text[i+1] == '(':
			plain = false
			if r.depth++; r.depth > maxDepth {
				r.fail("too-deep", start, start+1, fmt.Sprintf("the script is nested more than %d levels deep", maxDepth), "split it up")
				return token{end: len(r.text)}
			}
			i = r.read(i+2, len(r.text), &r.inner) + 1
			r.depth--
		default:
			i++
		}
	}
	r.fail("unterminated-string", start, start+1, "the string is never closed", "close it with "+string(mark))
	return token{end: len(r.text)}
}

// beforeRegex are names after which a slash begins a regular expression.
const beforeRegex = " and case contains default else find match matches not or replace scan splitBy with ++ -- then "

// regexEnd is where the regular expression that begins at a slash ends; 0: it is a division, or may be one.
func (r *scriptReader) regexEnd(start int, before []token) int {
	end := 0
	for i := start + 1; i < len(r.text) && r.text[i] != '\n'; i++ {
		if r.text[i] == '\\' {
			i++
		} else if r.text[i] == '/' {
			end = i + 1
			break
		}
	}
	if end == 0 {
		return 0
	}
	if len(before) == 0 {
		return end
	}
	switch last := before[len(before)-1]; {
	case last.kind == tokName && strings.Contains(beforeRegex, " "+last.value+" "):
		return end
	case last.kind == tokName, last.is(")"), last.is("]"), last.is("}"):
		r.doubtful = r.doubtful || strings.ContainsAny(r.text[start:end], "()[]{}'\"`")
		return 0
	case last.kind == tokNumber, last.kind == tokString:
		return 0
	}
	return end
}

// balance says which bracket has no partner.
func (r *scriptReader) balance() {
	if r.failed {
		return
	}
	var open []token
	pairs := map[string]string{")": "(", "]": "[", "}": "{"}
	for _, t := range r.tokens {
		switch {
		case t.is("("), t.is("["), t.is("{"):
			open = append(open, t)
		case t.is(")"), t.is("]"), t.is("}"):
			if len(open) == 0 {
				r.fail("stray-bracket", t.start, t.end, quote(t.value)+" closes nothing", "remove it, or open it before")
				return
			}
			if last := open[len(open)-1]; last.value != pairs[t.value] {
				r.fail("unterminated", last.start, last.end, fmt.Sprintf("%s is never closed: %s comes first", quote(last.value), quote(t.value)), "close it before")
				return
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		r.fail("unterminated", last.start, last.end, quote(last.value)+" is never closed", "close it")
	}
}

// split finds the header and the body.
func (r *scriptReader) split(s *Script) {
	s.tokens = r.tokens
	if len(r.tokens) == 0 {
		r.fail("empty", 0, len(r.text), "the script is empty", "write an expression, such as payload")
		return
	}
	if t := r.tokens[0]; t.is("#") && len(r.tokens) > 1 && r.tokens[1].is("[") {
		r.report(diag.Warning, "script-in-brackets", t.start, r.tokens[1].end, "a whole script is not written in #[ ]", "leave the brackets out")
		s.tokens = nil
		return
	}
	cut, level := -1, 0
	for i, t := range r.tokens {
		switch {
		case t.is("("), t.is("["), t.is("{"):
			level++
		case t.is(")"), t.is("]"), t.is("}"):
			level--
		case t.is("---") && level == 0 && cut < 0:
			cut = i
		}
	}
	if cut >= 0 {
		s.header, s.tokens = r.tokens[:cut], r.tokens[cut+1:]
		r.version(s.header)
		if len(s.tokens) == 0 {
			t := r.tokens[cut]
			r.fail("no-body", t.start, t.end, "nothing stands below ---", "write the expression that the script gives")
		}
		s.Output = output(s.header)
		return
	}
	r.version(r.tokens)
	if first := r.tokens[0]; isDirective(r.tokens) {
		r.fail("no-separator", first.start, first.end, "the script has a header, but no --- below it", "write --- on a line of its own between the header and the expression")
	}
}

// isDirective reports whether tokens begin with a line of a header.
func isDirective(tokens []token) bool {
	if len(tokens) < 3 {
		return tokens[0].is("%")
	}
	switch first := tokens[0]; {
	case first.is("%"):
		return true
	case first.named("output"):
		return tokens[1].kind == tokName && tokens[2].is("/")
	case first.named("var"):
		return tokens[1].kind == tokName && (tokens[2].is("=") || tokens[2].is(":"))
	case first.named("fun"):
		return tokens[1].kind == tokName && tokens[2].is("(")
	case first.named("import"):
		return tokens[1].is("*") || tokens[1].kind == tokName
	}
	return false
}

// version refuses version 1 of the language, whose headers have a percent sign before each word.
func (r *scriptReader) version(tokens []token) {
	for i, t := range tokens {
		if !t.is("%") || i+1 == len(tokens) || tokens[i+1].start != t.end || i > 0 && !strings.Contains(r.text[tokens[i-1].end:t.start], "\n") {
			continue
		}
		word := tokens[i+1]
		switch {
		case word.named("dw") && i+2 < len(tokens) && strings.HasPrefix(tokens[i+2].value, "1"):
			r.fail("version", t.start, tokens[i+2].end, "the script is of version "+tokens[i+2].value+" of the language, the gateway reads version 2", "write %dw 2.0, and rewrite what version 2 has otherwise")
		case slices.ContainsFunc([]string{"output", "input", "var", "function", "type", "namespace"}, word.named):
			r.fail("version", t.start, word.end, quote("%"+word.value)+" is of version 1 of the language", "write "+strings.NewReplacer("function", "fun", "namespace", "ns").Replace(word.value)+" without %")
		}
	}
}

// output is the type that a header declares.
func output(header []token) string {
	for i, t := range header {
		if !t.named("output") || isSelected(header, i) {
			continue
		}
		for j := i + 1; j+2 < len(header) && j < i+4; j++ { // output :type application/json is the long form
			if header[j].kind == tokName && header[j+1].is("/") && header[j+2].kind == tokName {
				return header[j].value + "/" + header[j+2].value
			}
		}
		if i+1 < len(header) && header[i+1].kind == tokName {
			return header[i+1].value
		}
	}
	return ""
}

// result tells what the value of tokens looks like.
func (r *scriptReader) result(tokens []token, depth int) Result {
	if len(tokens) == 0 || depth > maxDepth {
		return Result{}
	}
	first := tokens[0]
	whole := func(open int) bool { return closing(tokens, open) == len(tokens)-1 }
	switch {
	case len(tokens) == 1:
		l := literal(first)
		l.At = r.at(first.start, first.end)
		return l
	case first.is("-") && len(tokens) == 2 && tokens[1].kind == tokNumber:
		return Result{Shape: ShapeNumber, Text: "-" + tokens[1].value, At: r.at(first.start, tokens[1].end)}
	case first.is("(") && whole(0):
		return r.result(tokens[1:len(tokens)-1], depth+1)
	case first.is("[") && whole(0):
		return Result{Shape: ShapeList, At: r.at(first.start, first.end)}
	case first.is("{") && whole(0):
		return r.object(tokens, depth)
	case first.named("do") && tokens[1].is("{") && whole(1):
		for i, level := 2, 0; i < len(tokens)-1; i++ {
			switch t := tokens[i]; {
			case t.is("("), t.is("["), t.is("{"):
				level++
			case t.is(")"), t.is("]"), t.is("}"):
				level--
			case t.is("---") && level == 0:
				return r.result(tokens[i+1:len(tokens)-1], depth+1)
			}
		}
	case first.named("if") && tokens[1].is("("):
		return r.branches(tokens, depth)
	}
	return Result{}
}

func literal(t token) Result {
	switch {
	case t.kind == tokString:
		return Result{Shape: ShapeText, Text: t.value}
	case t.kind == tokNumber:
		return Result{Shape: ShapeNumber, Text: t.value}
	case t.named("true"), t.named("false"):
		return Result{Shape: ShapeBool, Text: t.value}
	case t.named("null"):
		return Result{Shape: ShapeNull}
	}
	return Result{}
}

// branches reads if (c) a else b, where a may be another one.
func (r *scriptReader) branches(tokens []token, depth int) Result {
	from := closing(tokens, 1) + 1
	if from == 0 {
		return Result{}
	}
	ifs := 0
	for i := from; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case t.is("("), t.is("["), t.is("{"):
			if i = closing(tokens, i); i < 0 {
				return Result{}
			}
		case t.named("if"), t.named("unless"):
			ifs++
		case t.named("else") && ifs > 0:
			ifs--
		case t.named("else"):
			return Result{Shape: ShapeOneOf, Branches: []Result{r.result(tokens[from:i], depth+1), r.result(tokens[i+1:], depth+1)}}
		}
	}
	return Result{}
}

func (r *scriptReader) object(tokens []token, depth int) Result {
	o := Result{Shape: ShapeObject, At: r.at(tokens[0].start, tokens[0].end)}
	for i := 1; i < len(tokens)-1; {
		end := i
		for end < len(tokens)-1 && !tokens[end].is(",") {
			if t := tokens[end]; t.is("(") || t.is("[") || t.is("{") {
				end = max(closing(tokens, end), end)
			}
			end++
		}
		key := tokens[i]
		switch entry := tokens[i:end]; {
		case len(entry) > 2 && (key.kind == tokName || key.kind == tokString) && entry[1].is(":"):
			o.Entries = append(o.Entries, Entry{Name: key.value, At: r.at(key.start, key.end), Value: r.result(entry[2:], depth+1)})
		default:
			o.Open = true
		}
		i = end + 1
	}
	return o
}
