package headerremoval

import (
	"errors"
	"regexp/syntax"
	"slices"
	"strings"
)

// An entry is what one item of a list asks for: a name, an expression, or nothing that could be removed.
type entry struct {
	name        string // a literal name, lower case
	regex       string // matches whole lower-case names, none of them protected and none a pseudo header
	hit         string // a protected or pseudo header that the item as written also matches
	unsupported string // why hit cannot be left out
}

// RE2 cannot say "this expression, but not that name", so where an expression also matches a protected name it is
// rewritten: the language of the result is that of the expression less the protected names, by construction (see less).
// Expressions that match none of them are passed on as they are.
const maxRewritten = 64 << 10

func parseEntry(text string) (entry, error) {
	if e, ok := plainEntry(text); ok {
		return e, nil
	}
	return parseExpression(text)
}

const plainChars = "-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// plainEntry is the quick way for nearly all entries: names without a character that means something in an expression.
func plainEntry(text string) (entry, bool) {
	if text == "" {
		return entry{}, false
	}
	for i := range len(text) {
		if strings.IndexByte(plainChars, text[i]) < 0 {
			return entry{}, false
		}
	}
	name := strings.ToLower(text)
	if slices.Contains(protected, name) {
		return entry{hit: name}, true
	}
	return entry{name: name}, true
}

func parseExpression(text string) (entry, error) {
	tree, err := syntax.Parse(text, syntax.Perl|syntax.FoldCase)
	if err != nil {
		var e *syntax.Error
		if errors.As(err, &e) {
			return entry{}, errors.New(e.Code.String() + ": `" + e.Expr + "`")
		}
		return entry{}, err
	}
	b := builder{}
	lang := b.convert(tree.Simplify())
	if b.boundary {
		return boundaryEntry(text, lang)
	}
	lang = anchored(lang)
	if lang.op == opNone {
		return entry{}, nil
	}
	var hits []string
	for _, name := range protected {
		if accepts(lang, name) {
			hits = append(hits, name)
		}
	}
	pseudo := derive(lang, ':').op != opNone
	if len(hits) == 0 && !pseudo {
		if name, ok := single(lang); ok {
			return entry{name: name}, nil
		}
		return entry{regex: "(?i:" + text + ")"}, nil
	}
	e := entry{hit: pseudoName(lang)}
	if len(hits) > 0 {
		e.hit = hits[0]
	}
	rest := less(without(lang, setOf(':')), hits)
	if rest.op == opNone {
		return e, nil
	}
	if name, ok := single(rest); ok {
		e.name = name
		return e, nil
	}
	var out strings.Builder
	rest.print(&out)
	if out.Len() > maxRewritten {
		e.unsupported = "its size"
		return e, nil
	}
	e.regex = out.String()
	return e, nil
}

// pseudoName is a name with a colon that lang holds, one of HTTP's own where it can be.
func pseudoName(lang *node) string {
	for _, name := range []string{":path", ":method", ":authority", ":scheme", ":status", ":protocol"} {
		if accepts(lang, name) {
			return name
		}
	}
	if name, ok := single(lang); ok {
		return name
	}
	return ":"
}

// boundaryEntry is for expressions with \b or \B, whose language depends on neighbours. lang is a superset of it (the
// assertions taken as true), so where that holds no protected name the expression can be passed on as it is.
func boundaryEntry(text string, lang *node) (entry, error) {
	lang = anchored(lang)
	if lang.op == opNone {
		return entry{}, nil
	}
	for _, name := range protected {
		if accepts(lang, name) {
			return entry{hit: name, unsupported: `a word boundary (\b or \B)`}, nil
		}
	}
	if derive(lang, ':').op != opNone {
		return entry{hit: pseudoName(lang), unsupported: `a word boundary (\b or \B)`}, nil
	}
	return entry{regex: "(?i:" + text + ")"}, nil
}

// The alphabet is what a lower-case header name is made of (RFC 9110, 5.6.2), and the colon of pseudo headers. Words of
// other characters match no header, so they are left out of every language from the start.
const alphabet = "!#$%&'*+-.0123456789:^_`abcdefghijklmnopqrstuvwxyz|~"

type op uint8

const (
	opNone  op = iota // no word at all
	opEmpty           // the empty word
	opSet             // one character of a set
	opCat
	opAlt
	opStar
	opBegin // the empty word, at the beginning of the whole
	opEnd   // the empty word, at the end of the whole
)

// set holds characters below 128.
type set [2]uint64

func setOf(chars ...byte) set {
	var s set
	for _, c := range chars {
		s[c>>6] |= 1 << (c & 63)
	}
	return s
}

func (s set) has(c byte) bool { return c < 128 && s[c>>6]&(1<<(c&63)) != 0 }

func (s set) minus(o set) set { return set{s[0] &^ o[0], s[1] &^ o[1]} }

func (s set) or(o set) set { return set{s[0] | o[0], s[1] | o[1]} }

func (s set) isZero() bool { return s == set{} }

func (s set) chars() []byte {
	var l []byte
	for i := range len(alphabet) {
		if s.has(alphabet[i]) {
			l = append(l, alphabet[i])
		}
	}
	return l
}

// node is a regular language. Nodes are immutable and made by the functions below, which keep opNone out of larger nodes:
// a language is empty exactly when its op is opNone.
type node struct {
	op       op
	set      set
	kids     []*node
	nullable bool   // holds the empty word; opBegin and opEnd count as true
	key      string // equal keys mean equal trees
}

var (
	none  = &node{op: opNone, key: "0"}
	empty = &node{op: opEmpty, nullable: true, key: "1"}
	begin = &node{op: opBegin, nullable: true, key: "^"}
	end   = &node{op: opEnd, nullable: true, key: "$"}
)

func one(s set) *node {
	if s.isZero() {
		return none
	}
	return &node{op: opSet, set: s, key: "[" + string(s.chars()) + "]"}
}

func cat(list ...*node) *node {
	var kids []*node
	for _, k := range list {
		switch k.op {
		case opNone:
			return none
		case opEmpty:
		case opCat:
			kids = append(kids, k.kids...)
		default:
			kids = append(kids, k)
		}
	}
	return join(opCat, kids, empty)
}

func alt(list ...*node) *node {
	var kids []*node
	chars := set{}
	seen := map[string]bool{}
	add := func(k *node) {
		switch {
		case k.op == opSet:
			chars = chars.or(k.set)
		case k.op != opNone && !seen[k.key]:
			seen[k.key] = true
			kids = append(kids, k)
		}
	}
	for _, k := range list {
		if k.op == opAlt {
			for _, kk := range k.kids {
				add(kk)
			}
			continue
		}
		add(k)
	}
	if !chars.isZero() {
		kids = append(kids, one(chars))
	}
	if len(kids) > 1 { // the empty word adds nothing to a language that holds it
		rest := slices.DeleteFunc(slices.Clone(kids), func(k *node) bool { return k.op == opEmpty })
		if slices.ContainsFunc(rest, func(k *node) bool { return k.nullable && !k.asserts() }) {
			kids = rest
		}
	}
	return join(opAlt, kids, none)
}

// join is a node of several kids, the kid itself when there is one, and zero when there is none.
func join(o op, kids []*node, zero *node) *node {
	switch len(kids) {
	case 0:
		return zero
	case 1:
		return kids[0]
	}
	n := &node{op: o, kids: kids, nullable: o == opCat}
	var key strings.Builder
	key.WriteString(map[op]string{opCat: "(.", opAlt: "(|"}[o])
	for _, k := range kids {
		key.WriteString(k.key)
		if o == opCat {
			n.nullable = n.nullable && k.nullable
		} else {
			n.nullable = n.nullable || k.nullable
		}
	}
	key.WriteByte(')')
	n.key = key.String()
	return n
}

func star(k *node) *node {
	switch k.op {
	case opNone, opEmpty:
		return empty
	case opStar:
		return k
	}
	return &node{op: opStar, kids: []*node{k}, nullable: true, key: "(*" + k.key + ")"}
}

// asserts reports whether n holds an assertion.
func (n *node) asserts() bool { return n.holds(opBegin) || n.holds(opEnd) }

func (n *node) holds(o op) bool {
	return n.op == o || slices.ContainsFunc(n.kids, func(k *node) bool { return k.holds(o) })
}

type builder struct{ boundary bool }

// convert is the language of a parsed expression, over the alphabet and in lower case (Envoy's header names are).
func (b *builder) convert(re *syntax.Regexp) *node {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return empty
	case syntax.OpLiteral:
		kids := make([]*node, len(re.Rune))
		for i, r := range re.Rune {
			kids[i] = one(fold(r, r))
		}
		return cat(kids...)
	case syntax.OpCharClass:
		var s set
		for i := 0; i+1 < len(re.Rune); i += 2 {
			s = s.or(fold(re.Rune[i], re.Rune[i+1]))
		}
		return one(s)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return one(fold(0, 127))
	case syntax.OpBeginLine, syntax.OpBeginText: // a header name has one line
		return begin
	case syntax.OpEndLine, syntax.OpEndText:
		return end
	case syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		b.boundary = true
		return empty
	case syntax.OpCapture:
		return b.convert(re.Sub[0])
	case syntax.OpStar:
		return star(b.convert(re.Sub[0]))
	case syntax.OpPlus:
		k := b.convert(re.Sub[0])
		return cat(k, star(k))
	case syntax.OpQuest:
		return alt(empty, b.convert(re.Sub[0]))
	case syntax.OpConcat, syntax.OpAlternate:
		kids := make([]*node, len(re.Sub))
		for i, k := range re.Sub {
			kids[i] = b.convert(k)
		}
		if re.Op == syntax.OpConcat {
			return cat(kids...)
		}
		return alt(kids...)
	}
	return none // OpNoMatch; Simplify leaves no OpRepeat
}

// fold is the part of a range that names are made of, letters of either case as their lower case. The Kelvin sign and the
// long s fold to k and s too, but no header name holds them and the parser lists the letters themselves.
func fold(from, to rune) set {
	var s set
	for i := range len(alphabet) {
		c := alphabet[i]
		up := rune(c)
		if 'a' <= c && c <= 'z' {
			up -= 'a' - 'A'
		}
		if from <= rune(c) && rune(c) <= to || from <= up && up <= to {
			s = s.or(setOf(c))
		}
	}
	return s
}

// anchored is n with ^ and $ carried out, as part of a match of the whole.
func anchored(n *node) *node {
	return atStart(reverse(atStart(reverse(n), opEnd, true)), opBegin, true)
}

// atStart replaces the assertion o (the beginning) by the empty word where only the empty word can stand before it, and
// by nothing elsewhere. start says whether n itself begins the whole.
func atStart(n *node, o op, start bool) *node {
	if !n.holds(o) {
		return n
	}
	switch n.op {
	case o:
		if start {
			return empty
		}
		return none
	case opAlt:
		kids := make([]*node, len(n.kids))
		for i, k := range n.kids {
			kids[i] = atStart(k, o, start)
		}
		return alt(kids...)
	case opStar:
		later := atStart(n.kids[0], o, false)
		if !start {
			return star(later)
		}
		return alt(empty, cat(atStart(n.kids[0], o, true), star(later)))
	case opCat:
		head, tail := n.kids[0], cat(n.kids[1:]...)
		if !start {
			return cat(atStart(head, o, false), atStart(tail, o, false))
		}
		first := atStart(head, o, true)
		return alt(
			cat(emptyPart(first), atStart(tail, o, true)),
			cat(without(first, set{}), atStart(tail, o, false)),
		)
	}
	return n
}

// emptyPart is the part of n that holds no character: the empty word under n's remaining assertions.
func emptyPart(n *node) *node {
	switch n.op {
	case opSet:
		return none
	case opStar:
		return empty
	case opCat, opAlt:
		kids := make([]*node, len(n.kids))
		for i, k := range n.kids {
			kids[i] = emptyPart(k)
		}
		if n.op == opCat {
			return cat(kids...)
		}
		return alt(kids...)
	}
	return n
}

func reverse(n *node) *node {
	switch n.op {
	case opCat, opAlt:
		kids := make([]*node, len(n.kids))
		for i, k := range n.kids {
			kids[i] = reverse(k)
		}
		if n.op == opCat {
			slices.Reverse(kids)
			return cat(kids...)
		}
		return alt(kids...)
	case opStar:
		return star(reverse(n.kids[0]))
	}
	return n
}

// without is the words of n that hold at least one character and do not begin with one of chars.
func without(n *node, chars set) *node {
	switch n.op {
	case opSet:
		return one(n.set.minus(chars))
	case opStar:
		return cat(without(n.kids[0], chars), n)
	case opAlt:
		kids := make([]*node, len(n.kids))
		for i, k := range n.kids {
			kids[i] = without(k, chars)
		}
		return alt(kids...)
	case opCat:
		head, tail := n.kids[0], cat(n.kids[1:]...)
		return alt(cat(without(head, chars), tail), cat(emptyPart(head), without(tail, chars)))
	}
	return none
}

// derive is what may follow c in the words of n that begin with c (Brzozowski, Derivatives of Regular Expressions, 1964).
func derive(n *node, c byte) *node {
	switch n.op {
	case opSet:
		if n.set.has(c) {
			return empty
		}
		return none
	case opStar:
		return cat(derive(n.kids[0], c), n)
	case opAlt:
		kids := make([]*node, len(n.kids))
		for i, k := range n.kids {
			kids[i] = derive(k, c)
		}
		return alt(kids...)
	case opCat:
		head, tail := n.kids[0], cat(n.kids[1:]...)
		d := cat(derive(head, c), tail)
		if !head.nullable {
			return d
		}
		return alt(d, derive(tail, c))
	}
	return none
}

func accepts(n *node, word string) bool {
	for i := range len(word) {
		n = derive(n, word[i])
	}
	return n.nullable
}

// less is n without the given words. Whatever is left either is too short, or leaves the words at some character:
//
//	L − W = (ε if ε ∈ L − W) ∪ { words of L that begin with no first character of W } ∪ ⋃ c·(c⁻¹L − c⁻¹W)
func less(n *node, words []string) *node {
	if len(words) == 0 || n.op == opNone {
		return n
	}
	var firsts set
	after := map[byte][]string{}
	var alts []*node
	if n.nullable && !slices.Contains(words, "") {
		alts = append(alts, empty)
	}
	for _, w := range words {
		if w != "" {
			firsts = firsts.or(setOf(w[0]))
			after[w[0]] = append(after[w[0]], w[1:])
		}
	}
	alts = append(alts, without(n, firsts))
	for _, c := range firsts.chars() {
		alts = append(alts, cat(one(setOf(c)), less(derive(n, c), after[c])))
	}
	return alt(alts...)
}

// single is the word of a language that is written as just one.
func single(n *node) (string, bool) {
	kids := []*node{n}
	if n.op == opCat {
		kids = n.kids
	}
	var word []byte
	for _, k := range kids {
		chars := k.set.chars()
		if k.op != opSet || len(chars) != 1 {
			return "", false
		}
		word = append(word, chars[0])
	}
	return string(word), true
}

// print writes n in RE2 syntax.
func (n *node) print(b *strings.Builder) {
	switch n.op {
	case opSet:
		chars := n.set.chars()
		switch len(chars) {
		case 1:
			escape(b, chars[0])
			return
		case len(alphabet):
			b.WriteByte('.')
			return
		}
		b.WriteByte('[')
		if 2*len(chars) > len(alphabet) { // other characters are in no name, so the shorter form means the same
			b.WriteByte('^')
			chars = setOf([]byte(alphabet)...).minus(n.set).chars()
		}
		for i := 0; i < len(chars); {
			j := i
			for j+1 < len(chars) && chars[j+1] == chars[j]+1 {
				j++
			}
			escape(b, chars[i])
			if j > i+1 {
				b.WriteByte('-')
			}
			if j > i {
				escape(b, chars[j])
			}
			i = j + 1
		}
		b.WriteByte(']')
	case opCat:
		for _, k := range n.kids {
			k.group(b, k.op == opAlt)
		}
	case opAlt:
		for i, k := range n.kids {
			if i > 0 {
				b.WriteByte('|')
			}
			k.print(b)
		}
	case opStar:
		k := n.kids[0]
		k.group(b, k.op == opAlt || k.op == opCat)
		b.WriteByte('*')
	}
}

func (n *node) group(b *strings.Builder, need bool) {
	if need {
		b.WriteString("(?:")
		defer b.WriteByte(')')
	}
	n.print(b)
}

// escape writes c so that it means itself inside and outside of brackets.
func escape(b *strings.Builder, c byte) {
	if strings.IndexByte("$*+.^|-", c) >= 0 {
		b.WriteByte('\\')
	}
	b.WriteByte(c)
}
