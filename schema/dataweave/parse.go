package dataweave

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

const (
	maxLength = 16 << 10 // bytes; the documentation names no limit, and a longer one is a mistake or an attack
	maxDepth  = 100      // of brackets, calls and conditions within each other
)

// Mapper turns byte offsets in the text of an expression into a place in the user's file.
type Mapper func(start, end int) diag.Range

// IsExpression reports whether s means an expression: it begins with #[. One that is not closed is still meant as one, so
// that Parse can say so. Anything else is the literal text that it is.
func IsExpression(s string) bool {
	return strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "#[")
}

// Parse reads the whole scalar of a field: #[…], or plain text, which is a String. The expression is nil exactly when the list
// holds an Error. A nil Mapper leaves all places unknown.
func Parse(text string, at Mapper) (Expr, diag.List) {
	if at == nil {
		at = func(int, int) diag.Range { return diag.Range{} }
	}
	p := &parser{text: text, at: at}
	if !IsExpression(text) {
		return &String{Place: p.place(0, len(text)), Value: text}, nil
	}
	e := p.parse()
	if p.diags.HasErrors() {
		return nil, p.diags
	}
	return e, p.diags
}

type parser struct {
	text   string
	at     Mapper
	tok    token // the one being looked at
	last   int   // where the one before it ended
	depth  int
	failed bool // the text makes no sense from here on
	diags  diag.List
}

func (p *parser) place(start, end int) Place {
	return Place{Start: start, End: end, At: p.at(start, end)}
}

func (p *parser) report(s diag.Severity, slug string, start, end int, summary, hint string) {
	p.diags = append(p.diags, diag.Diagnostic{
		Severity: s, Code: diag.Code("dataweave/" + slug), Summary: summary, Hint: hint, Subject: p.at(start, min(end, len(p.text))),
	})
}

// reword gives what was said last the edit that mends it: the word from start to end becomes text.
func (p *parser) reword(start, end int, text string) {
	if n := len(p.diags); n > 0 && end <= len(p.text) && p.text[start:end] != "" {
		p.diags[n-1].Edits = []diag.Edit{{Op: diag.Reword, At: p.at(start, end), Name: p.text[start:end], Value: text}}
	}
}

// wrong reports a mistake that leaves the rest readable.
func (p *parser) wrong(slug string, start, end int, summary, hint string) {
	p.report(diag.Error, slug, start, end, summary, hint)
}

// fail reports the mistake that makes the rest unreadable. Only the first one counts: all others would follow from it.
func (p *parser) fail(slug string, start, end int, summary, hint string) Expr {
	if !p.failed {
		p.failed = true
		p.wrong(slug, start, end, summary, hint)
	}
	return nil
}

func (p *parser) parse() Expr {
	open := strings.Index(p.text, "#[")
	end := len(strings.TrimRight(p.text, " \t\r\n"))
	if len(p.text) > maxLength {
		return p.fail("too-long", open, open+2, fmt.Sprintf("the expression has %d bytes, more than %d", len(p.text), maxLength), "shorten it")
	}
	p.tok.end = open + 2
	p.next()
	switch {
	case p.tok.is("]") && p.tok.end == end:
		return p.fail("empty", open, end, "the expression is empty", "put a value between #[ and ]")
	case p.tok.kind == tokEnd && !p.failed:
		return p.fail("unterminated", open, open+2, "the expression is never closed", "close it with ]")
	}
	e := p.expr()
	if e == nil || !p.close("]", open, open+2) {
		return nil
	}
	if p.tok.kind != tokEnd {
		return p.fail("trailing", p.tok.start, end, "text after the end of the expression: "+quote(p.text[p.tok.start:end]),
			"put it in quotes within the brackets, joined with ++")
	}
	return e
}

// close consumes the bracket that closes the one at open, or says what stands in its way.
func (p *parser) close(bracket string, open, openEnd int) bool {
	switch {
	case p.failed:
		return false
	case p.tok.is(bracket):
		p.next()
		return !p.failed
	case p.tok.kind == tokEnd, p.tok.is("]") && strings.TrimSpace(p.text[p.tok.end:]) == "":
		what := quote(p.text[open:openEnd]) + " is never closed"
		if openEnd-open == 2 {
			what = "the expression is never closed"
		}
		p.fail("unterminated", open, openEnd, what, "close it with "+bracket)
	default:
		p.misplaced(bracket)
	}
	return false
}

func (p *parser) enter() bool {
	p.depth++
	if p.depth > maxDepth {
		p.fail("too-deep", p.tok.start, p.tok.end, fmt.Sprintf("the expression is nested more than %d levels deep", maxDepth), "split it up")
	}
	return !p.failed
}

func (p *parser) expr() Expr {
	if !p.enter() {
		return nil
	}
	defer func() { p.depth-- }()
	return p.infix()
}

// infix reads default and the functions between their arguments, which all have one level, left to right.
func (p *parser) infix() Expr {
	start := p.tok.start
	x := p.logical(0)
	for x != nil {
		op, ok := p.infixOperator()
		if p.failed {
			return nil
		}
		if !ok {
			return x
		}
		p.next()
		right := p.tok.start
		y := p.logical(0)
		if y == nil {
			return nil
		}
		p.checkLooseness(op, x, start, y, right)
		x = p.join(op.value, start, x, y)
	}
	return nil
}

// infixOperator says whether the current token stands between two arguments; its value is the canonical name then.
func (p *parser) infixOperator() (token, bool) {
	t := p.tok
	switch {
	case t.is(Concat), t.is(Minus), t.named(Default):
		return t, true
	case t.kind != tokName || isWord(t.value):
		return t, false
	}
	if after := (&parser{text: p.text, at: p.at, tok: t}).scan(); after.is("->") {
		return t, false
	}
	name, n, ok := p.function(t)
	if !ok {
		return t, false
	}
	if n != 2 {
		p.fail("argument-count", t.start, t.end, fmt.Sprintf("%s takes %s, so it cannot stand between two", t.value, arguments(n)), "write "+signature(name, n))
	}
	t.value = name
	return t, true
}

// checkLooseness refuses what DataWeave reads in a way nobody means: see the package comment.
func (p *parser) checkLooseness(op token, x Expr, xStart int, y Expr, yStart int) {
	written := p.text[op.start:op.end]
	left, lok := bare(x, xStart)
	right, rok := bare(y, yStart)
	switch {
	case op.value == Default && rok:
		p.report(diag.Warning, "precedence", op.start, op.end,
			fmt.Sprintf("`default` takes in the whole comparison after it: this is x default (y %s z)", right.Op),
			fmt.Sprintf("write (x default y) %s z, or the parentheses that you mean", right.Op))
	case op.value == Default:
	case rok:
		p.wrong("needs-parentheses", op.start, op.end,
			fmt.Sprintf("`%s` takes in the whole comparison after it: this is x %s (y %s z)", written, written, right.Op),
			fmt.Sprintf("write (x %s y) %s z", written, right.Op))
	case lok:
		p.wrong("needs-parentheses", op.start, op.end,
			fmt.Sprintf("`%s` takes in the whole comparison before it: this is (x %s y) %s z", written, left.Op, written),
			fmt.Sprintf("write x %s (y %s z)", left.Op, written))
	}
}

// bare returns e if it is a comparison or a logical operation that stands at start, so without parentheses around it.
func bare(e Expr, start int) (*Binary, bool) {
	b, ok := e.(*Binary)
	if !ok || b.Start != start {
		return nil, false
	}
	_, ok = levelOf(b.Op)
	return b, ok
}

func (p *parser) join(op string, start int, x, y Expr) Expr {
	at := p.place(start, p.last)
	switch op {
	case Concat, Minus, Contains, Default, Equal, NotEqual, AtLeast, AtMost, And, Or:
		return &Binary{Place: at, Op: op, X: x, Y: y}
	}
	return &Call{Place: at, Name: op, Args: []Expr{x, y}}
}

// levels are the operators below the functions, loosest first, all left to right.
func levels() [4][]string { return [...][]string{{Or}, {And}, {Equal, NotEqual}, {AtLeast, AtMost}} }

func levelOf(op string) (int, bool) {
	for i, ops := range levels() {
		for _, o := range ops {
			if o == op {
				return i, true
			}
		}
	}
	return 0, false
}

func (p *parser) logical(level int) Expr {
	if level == len(levels()) {
		return p.postfix()
	}
	start := p.tok.start
	x := p.logical(level + 1)
	for x != nil && (p.tok.kind == tokPunct || p.tok.kind == tokName) {
		op := p.tok.value
		if l, ok := levelOf(op); !ok || l != level {
			break
		}
		p.next()
		y := p.logical(level + 1)
		if y == nil {
			return nil
		}
		x = p.join(op, start, x, y)
	}
	return x
}

func (p *parser) postfix() Expr {
	start := p.tok.start
	x := p.primary()
	for x != nil {
		switch {
		case p.tok.is("."):
			x = p.dot(start, x)
		case p.tok.is("["):
			x = p.bracket(start, x)
		case p.tok.is(".."):
			return p.fail("selector", p.tok.start, p.tok.end, "the selector .. is not available", "write out the path")
		default:
			return x
		}
	}
	return nil
}

// dot reads .key, .'key' and .\"key\".
func (p *parser) dot(start int, x Expr) Expr {
	dot := p.tok
	p.next()
	key := p.tok
	switch {
	case p.failed:
		return nil
	case key.kind == tokName && !strings.Contains(key.value, "::"), key.kind == tokString:
		p.next()
		if p.failed || p.dashed(key) {
			return nil
		}
		return p.selected(start, x, key)
	case key.kind == tokNumber:
		return p.fail("selector", dot.start, key.end, "an element is selected with brackets, found ."+key.value, "write ["+key.value+"]")
	case key.is("*"), key.is("@"), key.is("&"), key.is("^"), key.is("#"), key.is("?"), key.is("!"):
		return p.fail("selector", dot.start, key.end, "the selector ."+key.value+" is not available", "select one key by its name")
	}
	return p.fail("expected", dot.start, dot.end, "no key after the dot", "write .name or .'name'")
}

// dashed finds header names written without quotes: attributes.headers.x-api-key would be a subtraction.
func (p *parser) dashed(key token) bool {
	if key.kind != tokName || !p.tok.is("-") || p.tok.start != key.end || p.tok.end >= len(p.text) || !isLetter(p.text[p.tok.end]) {
		return false
	}
	end := key.end
	for end < len(p.text) && (isLetter(p.text[end]) || isDigit(p.text[end]) || p.text[end] == '-') {
		end++
	}
	p.fail("arithmetic", p.tok.start, p.tok.end, "- is a subtraction here, which is not available", "put quotes around the key: .'"+p.text[key.start:end]+"'")
	return true
}

// selected folds constant keys of a variable into its path, and reports members that do not exist.
func (p *parser) selected(start int, x Expr, key token) Expr {
	at := p.place(start, p.last)
	v, ok := x.(*Var)
	if !ok {
		return &Select{Place: at, X: x, Key: key.value}
	}
	if known := roots[v.Path[0]]; len(v.Path) == 1 && len(known) > 0 && !slices.Contains(known, key.value) {
		p.unknownMember(v.Path[0], key, known)
	}
	return &Var{Place: at, Path: append(slices.Clone(v.Path), key.value)}
}

func (p *parser) bracket(start int, x Expr) Expr {
	open := p.tok
	p.next()
	switch {
	case p.tok.is("]"):
		return p.fail("expected", open.start, p.tok.end, "no index between the brackets", "write [0] or ['name']")
	case p.tok.is("?"), p.tok.is("*"), p.tok.is("@"), p.tok.is("&"), p.tok.is("^"), p.tok.is("!"):
		return p.fail("selector", open.start, p.tok.end, "the selector ["+p.tok.value+" is not available", "select one element or one key")
	}
	key := p.tok
	n := p.expr()
	if n == nil {
		return nil
	}
	if p.tok.named("to") {
		return p.fail("range-selector", open.start, p.tok.end, "ranges are not available in selectors", "select one element: [0]")
	}
	if !p.close("]", open.start, open.end) {
		return nil
	}
	if s, ok := n.(*String); ok {
		key.value = s.Value
		return p.selected(start, x, key)
	}
	return &Index{Place: p.place(start, p.last), X: x, N: n}
}

func (p *parser) primary() Expr {
	t := p.tok
	switch t.kind {
	case tokEnd:
		return p.fail("expected", max(p.last-1, 0), p.last, "the expression stops where a value is expected", "write a value behind it, or take away the operator at its end")
	case tokNumber:
		return p.number(t.start)
	case tokString:
		p.next()
		return p.unless(&String{Place: p.place(t.start, t.end), Value: t.value})
	case tokName:
		return p.name()
	}
	switch t.value {
	case "(":
		return p.parenthesised()
	case "[":
		return p.array()
	case "-":
		p.next()
		if p.tok.kind == tokNumber && p.tok.start == t.end {
			return p.number(t.start)
		}
		return p.fail("arithmetic", t.start, t.end, "arithmetic is not available, found -", noArithmetic)
	case Concat, Minus:
		if rest := strings.TrimLeft(p.text[t.end:], " \t\r\n"); strings.HasPrefix(rest, "(") {
			p.next()
			return p.call(t)
		}
	}
	return p.misplacedValue()
}

// unless gives up e when reading on has failed.
func (p *parser) unless(e Expr) Expr {
	if p.failed {
		return nil
	}
	return e
}

func (p *parser) number(start int) Expr {
	t := p.tok
	f, err := strconv.ParseFloat(p.text[start:t.end], 64)
	if err != nil {
		return p.fail("bad-number", start, t.end, "the number "+p.text[start:t.end]+" is too large", "numbers are 64-bit floats")
	}
	p.next()
	return p.unless(&Number{Place: p.place(start, t.end), Value: f})
}

func (p *parser) parenthesised() Expr {
	open := p.tok
	p.next()
	if p.tok.is(")") {
		return p.fail("expected", open.start, p.tok.end, "no value between the parentheses", "write a value between them, or take them away")
	}
	e := p.expr()
	if e == nil || !p.close(")", open.start, open.end) {
		return nil
	}
	return e
}

func (p *parser) array() Expr {
	open := p.tok
	p.next()
	items, ok := p.list("]", open)
	if !ok {
		return nil
	}
	return &Array{Place: p.place(open.start, p.last), Items: items}
}

// list reads expressions up to the closing bracket.
func (p *parser) list(closing string, open token) ([]Expr, bool) {
	var items []Expr
	for !p.tok.is(closing) || len(items) > 0 {
		e := p.expr()
		if e == nil {
			return nil, false
		}
		items = append(items, e)
		if !p.tok.is(",") {
			break
		}
		p.next()
	}
	return items, p.close(closing, open.start, open.end)
}

func (p *parser) name() Expr {
	t := p.tok
	p.next()
	if p.failed {
		return nil
	}
	switch t.value {
	case "null":
		return &Null{p.place(t.start, t.end)}
	case "true", "false":
		return &Bool{Place: p.place(t.start, t.end), Value: t.value == "true"}
	case "if":
		return p.conditional(t)
	case "not":
		return p.not(t)
	}
	switch {
	case isWord(t.value), p.tok.is("->"), isHeader(t.value) && !p.tok.is("(") && !p.tok.is("."):
		p.tok = token{kind: t.kind, start: t.start, end: t.end, value: t.value}
		return p.misplacedValue()
	case p.tok.is("("):
		return p.call(t)
	}
	return p.variable(t)
}

func (p *parser) conditional(word token) Expr {
	if !p.tok.is("(") {
		return p.fail("expected", word.start, word.end, "if needs its condition in parentheses", "write if (condition) a else b")
	}
	open := p.tok
	p.next()
	cond := p.expr()
	if cond == nil || !p.close(")", open.start, open.end) {
		return nil
	}
	then := p.expr()
	if then == nil {
		return nil
	}
	if !p.tok.named("else") {
		if p.tok.kind == tokEnd || p.tok.is("]") || p.tok.is(")") || p.tok.is(",") {
			return p.fail("missing-else", word.start, word.end, "if without else", "write if (condition) a else b")
		}
		return p.misplaced("else")
	}
	p.next()
	other := p.expr()
	if other == nil {
		return nil
	}
	return &If{Place: p.place(word.start, p.last), Cond: cond, Then: then, Else: other}
}

// not reads not(x), which is a function and reaches no further than its parentheses, and not x, which reaches as far as it can.
func (p *parser) not(word token) Expr {
	if p.tok.is("(") && p.tok.start == word.end {
		x := p.parenthesised()
		if x == nil {
			return nil
		}
		return &Not{Place: p.place(word.start, p.last), X: x}
	}
	start := p.tok.start
	x := p.expr()
	if x == nil {
		return nil
	}
	if b, ok := bare(x, start); ok && (b.Op == And || b.Op == Or) {
		p.report(diag.Warning, "precedence", word.start, word.end,
			fmt.Sprintf("`not` reaches to the end: this is not (x %s y)", b.Op), fmt.Sprintf("write (not x) %s y, or the parentheses that you mean", b.Op))
	}
	return &Not{Place: p.place(word.start, p.last), X: x}
}

func (p *parser) call(name token) Expr {
	canonical, n, ok := p.function(name)
	if p.failed {
		return nil
	}
	if !ok {
		p.unknownFunction(name)
	}
	open := p.tok
	p.next()
	args, closed := p.list(")", open)
	if !closed {
		return nil
	}
	at := p.place(name.start, p.last)
	switch {
	case !ok:
		return &Null{at}
	case len(args) != n:
		p.wrong("argument-count", name.start, name.end, fmt.Sprintf("%s takes %s, found %d", name.value, arguments(n), len(args)), "write "+signature(canonical, n))
		return &Null{at}
	case n == 2:
		return p.join(canonical, name.start, args[0], args[1])
	}
	return &Call{Place: at, Name: canonical, Args: args}
}

func (p *parser) variable(t token) Expr {
	if _, known := roots[t.value]; !known {
		p.unknownVariable(t)
	}
	return &Var{Place: p.place(t.start, t.end), Path: []string{t.value}}
}
