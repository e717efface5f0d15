package match

import (
	"fmt"
	"regexp/syntax"
	"strings"
)

// How tightly a piece of an expression holds together.
const (
	loose  = iota // a|b
	series        // ab
	bound         // a*
	atom          // a
)

// expr is a printed piece of an expression.
type expr struct {
	text  string
	level int
}

// as returns the text for a place that needs at least the given level.
func (e expr) as(level int) string {
	if e.level >= level {
		return e.text
	}
	return "(?:" + e.text + ")"
}

// printer writes trees over bytes in the dialect that Envoy's RE2 reads: only ASCII, bytes as \xNN.
type printer struct{ groups bool } // groups: keep capture groups

func (p printer) expr(re *syntax.Regexp) expr {
	switch re.Op {
	case syntax.OpNoMatch:
		return expr{`[^\x00-\xff]`, atom}
	case syntax.OpLiteral:
		return literalExpr(re)
	case syntax.OpCharClass:
		return classExpr(re.Rune)
	case syntax.OpWordBoundary:
		return expr{`\b`, atom}
	case syntax.OpNoWordBoundary:
		return expr{`\B`, atom}
	case syntax.OpCapture:
		if p.groups {
			return expr{"(" + p.expr(re.Sub[0]).text + ")", atom}
		}
		return p.expr(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		return p.repeat(re)
	case syntax.OpConcat:
		return p.list(re.Sub, "", series)
	case syntax.OpAlternate:
		return p.list(re.Sub, "|", loose)
	}
	return expr{"", series} // the empty match; anchors are gone
}

func (p printer) list(subs []*syntax.Regexp, sep string, level int) expr {
	if len(subs) == 1 {
		return p.expr(subs[0])
	}
	var b strings.Builder
	for i, s := range subs {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(p.expr(s).as(level))
	}
	return expr{b.String(), level}
}

func (p printer) repeat(re *syntax.Regexp) expr {
	var op string
	switch {
	case re.Op == syntax.OpStar:
		op = "*"
	case re.Op == syntax.OpPlus:
		op = "+"
	case re.Op == syntax.OpQuest:
		op = "?"
	case re.Max < 0:
		op = fmt.Sprintf("{%d,}", re.Min)
	case re.Min == re.Max:
		op = fmt.Sprintf("{%d}", re.Min)
	default:
		op = fmt.Sprintf("{%d,%d}", re.Min, re.Max)
	}
	if re.Flags&syntax.NonGreedy != 0 {
		op += "?"
	}
	return expr{p.expr(re.Sub[0]).as(atom) + op, bound}
}

func literalExpr(re *syntax.Regexp) expr {
	var b strings.Builder
	for _, r := range re.Rune {
		writeByte(&b, byte(r))
	}
	if re.Flags&syntax.FoldCase != 0 && strings.ContainsFunc(string(re.Rune), isLetter) {
		return expr{"(?i:" + strings.ToLower(b.String()) + ")", atom} // escapes have no letters but in lower case
	}
	if len(re.Rune) == 1 {
		return expr{b.String(), atom}
	}
	return expr{b.String(), series}
}

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

// classExpr prints pairs of bytes; a class of more than half of all bytes is printed by what it lacks.
func classExpr(pairs []rune) expr {
	n := 0
	for i := 0; i < len(pairs); i += 2 {
		n += int(pairs[i+1]-pairs[i]) + 1
	}
	var b strings.Builder
	switch {
	case n == 0:
		return expr{`[^\x00-\xff]`, atom}
	case n == 256:
		return expr{`(?s:.)`, atom}
	case n == 255 && !holds(pairs, '\n'):
		return expr{".", atom}
	case n == 1:
		writeByte(&b, byte(pairs[0]))
		return expr{b.String(), atom}
	}
	b.WriteByte('[')
	if n > 128 {
		b.WriteByte('^')
		pairs = complement(pairs)
	}
	for i := 0; i < len(pairs); i += 2 {
		writeClassByte(&b, byte(pairs[i]))
		if pairs[i+1] > pairs[i]+1 {
			b.WriteByte('-')
		}
		if pairs[i+1] > pairs[i] {
			writeClassByte(&b, byte(pairs[i+1]))
		}
	}
	b.WriteByte(']')
	return expr{b.String(), atom}
}

func holds(pairs []rune, c rune) bool {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] <= c && c <= pairs[i+1] {
			return true
		}
	}
	return false
}

// complement of sorted pairs, among the bytes.
func complement(pairs []rune) []rune {
	var out []rune
	next := rune(0)
	for i := 0; i < len(pairs); i += 2 {
		if next < pairs[i] {
			out = append(out, next, pairs[i]-1)
		}
		next = pairs[i+1] + 1
	}
	if next <= 0xff {
		out = append(out, next, 0xff)
	}
	return out
}

func writeByte(b *strings.Builder, c byte) { writeEscaped(b, c, `\.+*?()|[]{}^$`) }

func writeClassByte(b *strings.Builder, c byte) { writeEscaped(b, c, `\[]^-`) }

func writeEscaped(b *strings.Builder, c byte, meta string) {
	switch {
	case c < ' ' || c > '~':
		fmt.Fprintf(b, `\x%02x`, c)
	case strings.IndexByte(meta, c) >= 0:
		b.WriteByte('\\')
		b.WriteByte(c)
	default:
		b.WriteByte(c)
	}
}
