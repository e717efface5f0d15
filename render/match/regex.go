package match

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/regex"
)

// kind says what a pattern is matched against.
type kind uint8

const (
	value    kind = iota // a header, a method, an authority: the pattern stands alone
	path                 // what follows a base path: it starts with "/", and the base path stands before it
	pathOnly             // the same, within a value that has the query behind it: no byte of a match is "?"
)

// parse reads a pattern into a tree of which every rune is a byte and which has no anchors, because Envoy matches whole
// values. A nil tree comes with a diagnostic.
func parse(p ir.Pattern, k kind) (*syntax.Regexp, diag.List) {
	re, err := regex.Parse(p.Text)
	if err != nil {
		return nil, diag.List{{Severity: diag.Error, Code: "render/pattern", Subject: p.Range,
			Summary: fmt.Sprintf("pattern %q is not a regular expression that Envoy accepts: %v", p.Text, err),
			Hint:    "patterns are RE2: no look-around, no back-references, repetitions up to 1000"}}
	}
	t := translator{kind: k}
	tree := t.node(re, true, true, true)
	if t.anchor != "" {
		return nil, diag.List{{Severity: diag.Error, Code: "render/anchor", Subject: p.Range,
			Summary: fmt.Sprintf("pattern %q has %s where text may stand on both sides of it", p.Text, t.anchor),
			Hint:    "remove it: a pattern matches the whole value, and anchors at its ends are the only ones that are understood"}}
	}
	if t.wide != 0 {
		return tree, diag.List{{Severity: diag.Warning, Code: "render/path-never-matches", Subject: p.Range,
			Summary: fmt.Sprintf("pattern %q has %q, which clients escape: a path holds only ASCII characters", p.Text, t.wide),
			Hint:    fmt.Sprintf("write %s", canonical(string(t.wide)))}}
	}
	return tree, nil
}

// translator turns a tree over runes into one over bytes.
type translator struct {
	kind   kind
	anchor string // the first one that cannot be kept
	wide   rune   // a non-ASCII character in a path, where it is always escaped; 0: none
}

// node translates re. first: nothing was matched before it, ever. maybe: perhaps nothing was. last: nothing follows.
func (t *translator) node(re *syntax.Regexp, first, maybe, last bool) *syntax.Regexp {
	switch re.Op {
	case syntax.OpLiteral:
		return t.literal(re)
	case syntax.OpCharClass:
		return t.class(re.Rune)
	case syntax.OpAnyChar:
		return t.class([]rune{0, unicode.MaxRune})
	case syntax.OpAnyCharNotNL:
		return t.class([]rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune})
	case syntax.OpBeginText, syntax.OpBeginLine:
		return t.edge(first, `"^"`)
	case syntax.OpEndText, syntax.OpEndLine:
		return t.edge(last, `"$"`)
	case syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return t.boundary(re, first, maybe)
	case syntax.OpConcat:
		return t.concat(re, first, maybe, last)
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		if re.Op == syntax.OpRepeat && re.Max <= 1 && re.Max >= 0 {
			return t.subs(re, first, maybe, last)
		}
		return t.subs(re, false, maybe, false) // another round may stand on either side
	default: // alternatives, groups, optional parts, the empty match, no match
		return t.subs(re, first, maybe, last)
	}
}

func (t *translator) subs(re *syntax.Regexp, first, maybe, last bool) *syntax.Regexp {
	out := *re
	out.Sub, out.Sub0 = make([]*syntax.Regexp, len(re.Sub)), [1]*syntax.Regexp{}
	for i, s := range re.Sub {
		out.Sub[i] = t.node(s, first, maybe, last)
	}
	return &out
}

func (t *translator) concat(re *syntax.Regexp, first, maybe, last bool) *syntax.Regexp {
	ends := len(re.Sub) // from here on nothing but anchors and empty matches
	for ends > 0 && zeroWidth(re.Sub[ends-1]) {
		ends--
	}
	out := &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags}
	for i, s := range re.Sub {
		out.Sub = append(out.Sub, t.node(s, first, maybe, last && i >= ends-1))
		first = first && zeroWidth(s)
		maybe = maybe && skips(s)
	}
	return out
}

func (t *translator) edge(ok bool, what string) *syntax.Regexp {
	if !ok && t.anchor == "" {
		t.anchor = what
	}
	return empty()
}

// boundary keeps \b and \B. At the start of a path it would look at the base path, so it is decided here: a path starts
// with "/", which is no word character.
func (t *translator) boundary(re *syntax.Regexp, first, maybe bool) *syntax.Regexp {
	if t.kind == value || !maybe {
		return re
	}
	if !first {
		return t.edge(false, `"\b"`)
	}
	if re.Op == syntax.OpNoWordBoundary {
		return empty()
	}
	return never()
}

// literal writes non-ASCII characters as their UTF-8 bytes. ASCII letters that fold do so among ASCII letters only.
func (t *translator) literal(re *syntax.Regexp) *syntax.Regexp {
	if t.kind == pathOnly && slices.Contains(re.Rune, '?') {
		return never()
	}
	fold := re.Flags&syntax.FoldCase != 0
	if !slices.ContainsFunc(re.Rune, func(r rune) bool { return r >= 0x80 }) {
		return re
	}
	out := &syntax.Regexp{Op: syntax.OpConcat}
	for _, r := range re.Rune {
		if t.kind != value && r >= 0x80 {
			t.wide = r
		}
		switch {
		case fold && r < 0x80:
			out.Sub = append(out.Sub, &syntax.Regexp{Op: syntax.OpLiteral, Flags: re.Flags, Rune: []rune{r}})
		case fold:
			out.Sub = append(out.Sub, t.class(orbit(r)))
		default:
			out.Sub = append(out.Sub, literal(string(r)))
		}
	}
	return out
}

// orbit is the class of a rune and all that it folds to.
func orbit(r rune) []rune {
	all := []rune{r}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		all = append(all, f)
	}
	slices.Sort(all)
	class := make([]rune, 0, 2*len(all))
	for _, f := range all {
		class = append(class, f, f)
	}
	return class
}

// class translates pairs of runes. A class with all non-ASCII characters in it matches any non-ASCII byte, so that "."
// and "[^/]" hold for bytes that are no UTF-8 too; what it counts are bytes.
func (t *translator) class(pairs []rune) *syntax.Regexp {
	var bytes []rune
	var wide [][2]rune
	for i := 0; i+1 < len(pairs); i += 2 {
		lo, hi := pairs[i], pairs[i+1]
		if lo < 0x80 {
			bytes = append(bytes, lo, min(hi, 0x7f))
		}
		if hi >= 0x80 {
			wide = append(wide, [2]rune{max(lo, 0x80), hi})
		}
	}
	if t.kind == pathOnly {
		bytes = without(bytes, '?')
	}
	if len(wide) == 1 && wide[0] == [2]rune{0x80, unicode.MaxRune} {
		return &syntax.Regexp{Op: syntax.OpCharClass, Rune: joined(append(bytes, 0x80, 0xff))}
	}
	if t.kind != value {
		wide = nil // \p{L} would be 16 KB of what no path can have
	}
	var alts []*syntax.Regexp
	if len(bytes) > 0 {
		alts = append(alts, &syntax.Regexp{Op: syntax.OpCharClass, Rune: bytes})
	}
	for _, w := range wide {
		alts = append(alts, utf8Ranges(w[0], w[1])...)
	}
	return alternate(alts)
}

func without(pairs []rune, c rune) []rune {
	var out []rune
	for i := 0; i < len(pairs); i += 2 {
		lo, hi := pairs[i], pairs[i+1]
		if c < lo || c > hi {
			out = append(out, lo, hi)
			continue
		}
		if lo < c {
			out = append(out, lo, c-1)
		}
		if c < hi {
			out = append(out, c+1, hi)
		}
	}
	return out
}

// joined merges pairs that touch.
func joined(pairs []rune) []rune {
	var out []rune
	for i := 0; i < len(pairs); i += 2 {
		if n := len(out); n > 0 && pairs[i] <= out[n-1]+1 {
			out[n-1] = max(out[n-1], pairs[i+1])
			continue
		}
		out = append(out, pairs[i], pairs[i+1])
	}
	return out
}

// utf8Ranges lists byte sequences that together are the UTF-8 forms of lo to hi; both are above 0x7f. Surrogates have none.
func utf8Ranges(lo, hi rune) []*syntax.Regexp {
	if lo > hi {
		return nil
	}
	const firstSurrogate, lastSurrogate = 0xd800, 0xdfff
	if lo <= lastSurrogate && hi >= firstSurrogate {
		return append(utf8Ranges(lo, firstSurrogate-1), utf8Ranges(lastSurrogate+1, hi)...)
	}
	for _, limit := range []rune{0x7ff, 0xffff} { // one length
		if lo <= limit && limit < hi {
			return append(utf8Ranges(lo, limit), utf8Ranges(limit+1, hi)...)
		}
	}
	for shift := 6; shift <= 18; shift += 6 { // whole blocks of continuation bytes
		mask := rune(1)<<shift - 1
		if lo&^mask == hi&^mask {
			continue
		}
		if lo&mask != 0 {
			return append(utf8Ranges(lo, lo|mask), utf8Ranges((lo|mask)+1, hi)...)
		}
		if hi&mask != mask {
			return append(utf8Ranges(lo, hi&^mask-1), utf8Ranges(hi&^mask, hi)...)
		}
	}
	a, b := []byte(string(lo)), []byte(string(hi))
	seq := &syntax.Regexp{Op: syntax.OpConcat}
	for i := range a {
		seq.Sub = append(seq.Sub, &syntax.Regexp{Op: syntax.OpCharClass, Rune: []rune{rune(a[i]), rune(b[i])}})
	}
	return []*syntax.Regexp{seq}
}

func empty() *syntax.Regexp { return &syntax.Regexp{Op: syntax.OpEmptyMatch} }
func never() *syntax.Regexp { return &syntax.Regexp{Op: syntax.OpNoMatch} }

// literal has the bytes of s.
func literal(s string) *syntax.Regexp {
	re := &syntax.Regexp{Op: syntax.OpLiteral}
	for _, c := range []byte(s) {
		re.Rune = append(re.Rune, rune(c))
	}
	return re
}

func alternate(subs []*syntax.Regexp) *syntax.Regexp {
	switch len(subs) {
	case 0:
		return never()
	case 1:
		return subs[0]
	}
	return &syntax.Regexp{Op: syntax.OpAlternate, Sub: subs}
}

func concat(subs ...*syntax.Regexp) *syntax.Regexp {
	switch len(subs) {
	case 0:
		return empty()
	case 1:
		return subs[0]
	}
	return &syntax.Regexp{Op: syntax.OpConcat, Sub: subs}
}

// zeroWidth reports whether re consumes nothing, ever.
func zeroWidth(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpCapture, syntax.OpConcat, syntax.OpAlternate, syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !zeroWidth(s) })
	}
	return false
}

// nullable reports whether re can match the empty text behind a slash and before the end: \B holds there, \b does not.
func nullable(re *syntax.Regexp) bool { return emptyable(re, false) }

// skips reports whether re may consume nothing, wherever it stands.
func skips(re *syntax.Regexp) bool { return emptyable(re, true) }

// emptyable reports whether re can match the empty text where \b holds or not.
func emptyable(re *syntax.Regexp, boundary bool) bool {
	some := func(s *syntax.Regexp) bool { return emptyable(s, boundary) }
	switch re.Op {
	case syntax.OpNoMatch, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return false
	case syntax.OpWordBoundary:
		return boundary
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpRepeat:
		return re.Min == 0 || some(re.Sub[0])
	case syntax.OpCapture, syntax.OpPlus:
		return some(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !some(s) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, some)
	}
	return true
}

// slashed reports whether all texts of re but the empty one start with "/".
func slashed(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune) == 0 || re.Rune[0] == '/'
	case syntax.OpCharClass:
		return len(re.Rune) == 2 && re.Rune[0] == '/' && re.Rune[1] == '/' || len(re.Rune) == 0
	case syntax.OpNoMatch:
		return false // and afterSlash says that nothing is left
	case syntax.OpConcat:
		for _, s := range re.Sub {
			if !slashed(s) || !skips(s) {
				return slashed(s)
			}
		}
		return true
	}
	return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !slashed(s) })
}

// afterSlash is what may follow a leading "/" in the texts of re (its derivative), without groups; nil: nothing starts so.
func afterSlash(re *syntax.Regexp) *syntax.Regexp {
	switch re.Op {
	case syntax.OpLiteral:
		if len(re.Rune) > 0 && re.Rune[0] == '/' {
			return &syntax.Regexp{Op: syntax.OpLiteral, Flags: re.Flags, Rune: re.Rune[1:]}
		}
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			if re.Rune[i] <= '/' && '/' <= re.Rune[i+1] {
				return empty()
			}
		}
	case syntax.OpCapture, syntax.OpQuest:
		return afterSlash(re.Sub[0])
	case syntax.OpAlternate:
		var alts []*syntax.Regexp
		for _, s := range re.Sub {
			if d := afterSlash(s); d != nil {
				alts = append(alts, d)
			}
		}
		if len(alts) > 0 {
			return alternate(alts)
		}
	case syntax.OpConcat:
		return afterSlashOf(re.Sub)
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		d := afterSlash(re.Sub[0])
		more := round(re)
		if d == nil || more == nil {
			return nil
		}
		return concat(d, more)
	}
	return nil
}

func afterSlashOf(subs []*syntax.Regexp) *syntax.Regexp {
	var alts []*syntax.Regexp
	for i, s := range subs {
		if d := afterSlash(s); d != nil {
			alts = append(alts, concat(append([]*syntax.Regexp{d}, subs[i+1:]...)...))
		}
		if !skips(s) {
			break
		}
	}
	if len(alts) == 0 {
		return nil
	}
	return alternate(alts)
}

// round is what may follow the first round of a repetition; nil: there is no first round.
func round(re *syntax.Regexp) *syntax.Regexp {
	if re.Op != syntax.OpRepeat {
		return &syntax.Regexp{Op: syntax.OpStar, Flags: re.Flags, Sub: re.Sub}
	}
	switch re.Max {
	case 0:
		return nil
	case 1:
		return empty()
	case -1:
		if re.Min <= 1 {
			return &syntax.Regexp{Op: syntax.OpStar, Flags: re.Flags, Sub: re.Sub}
		}
		return &syntax.Regexp{Op: syntax.OpRepeat, Flags: re.Flags, Sub: re.Sub, Min: re.Min - 1, Max: -1}
	}
	return &syntax.Regexp{Op: syntax.OpRepeat, Flags: re.Flags, Sub: re.Sub, Min: max(0, re.Min-1), Max: re.Max - 1}
}

// mentions reports whether the author of re wrote the byte c, rather than a class that happens to hold it.
func mentions(re *syntax.Regexp, c rune) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return slices.Contains(re.Rune, c)
	case syntax.OpCharClass:
		n, has := 0, false
		for i := 0; i < len(re.Rune); i += 2 {
			n += int(re.Rune[i+1]-re.Rune[i]) + 1
			has = has || re.Rune[i] <= c && c <= re.Rune[i+1]
		}
		return has && n < 0x80
	}
	return slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return mentions(s, c) })
}

// everything reports whether a pattern for a value is one of the usual ways to say "any".
func everything(p ir.Pattern) bool {
	switch strings.TrimSuffix(strings.TrimPrefix(p.Text, "^"), "$") {
	case "", ".*", "(.*)", "(?:.*)":
		return true
	}
	return false
}
