package dataweave

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

type kind uint8

const (
	tokEnd kind = iota
	tokName
	tokNumber
	tokString
	tokPunct
)

// token is one lexical element. Value is a string's text with its escapes undone; for all others it is the source text.
type token struct {
	kind       kind
	start, end int
	value      string
}

func (t token) is(punct string) bool   { return t.kind == tokPunct && t.value == punct }
func (t token) named(word string) bool { return t.kind == tokName && t.value == word }

// puncts are tried in this order: longer ones before their beginnings. Those outside the subset are here to be named as a whole.
const puncts = "--- ++ -- == != >= <= ~= -> << >> .. && ||"

// next moves to the next token; a token that cannot be read is a failure and reads as the end.
func (p *parser) next() {
	p.last = p.tok.end
	p.tok = p.scan()
	if p.failed {
		p.tok = token{kind: tokEnd, start: len(p.text), end: len(p.text)}
	}
}

func (p *parser) scan() token {
	i, ok := p.skipBlanks(p.tok.end)
	if !ok {
		return token{}
	}
	if i >= len(p.text) {
		return token{kind: tokEnd, start: i, end: i}
	}
	switch c := p.text[i]; {
	case isLetter(c):
		return p.slice(tokName, i, nameEnd(p.text, i))
	case isDigit(c):
		return p.scanNumber(i)
	case c == '\'' || c == '"':
		return p.scanString(i)
	}
	for punct := range strings.FieldsSeq(puncts) {
		if strings.HasPrefix(p.text[i:], punct) {
			return p.slice(tokPunct, i, i+len(punct))
		}
	}
	_, size := utf8.DecodeRuneInString(p.text[i:])
	return p.slice(tokPunct, i, i+size)
}

func (p *parser) slice(k kind, start, end int) token {
	return token{kind: k, start: start, end: end, value: p.text[start:end]}
}

// skipBlanks also skips comments, which the language has in both C forms.
func (p *parser) skipBlanks(i int) (int, bool) {
	for i < len(p.text) {
		rest := p.text[i:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			i++
		case strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			i += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				p.fail("unterminated", i, i+2, "the comment is never closed", "close it with */")
				return i, false
			}
			i += n + 4
		default:
			return i, true
		}
	}
	return i, true
}

// nameEnd reads a name, module path included: dw::core::Strings::substringAfter.
func nameEnd(s string, i int) int {
	for i < len(s) {
		switch {
		case isLetter(s[i]), isDigit(s[i]):
			i++
		case i+2 < len(s) && s[i:i+2] == "::" && isLetter(s[i+2]):
			i += 2
		default:
			return i
		}
	}
	return i
}

func (p *parser) scanNumber(start int) token {
	i := digits(p.text, start)
	if i+1 < len(p.text) && p.text[i] == '.' && isDigit(p.text[i+1]) {
		i = digits(p.text, i+1)
	}
	if i < len(p.text) && (p.text[i] == 'e' || p.text[i] == 'E') {
		j := i + 1
		if j < len(p.text) && (p.text[j] == '+' || p.text[j] == '-') {
			j++
		}
		if j < len(p.text) && isDigit(p.text[j]) {
			i = digits(p.text, j)
		}
	}
	if i < len(p.text) && isLetter(p.text[i]) {
		end := nameEnd(p.text, i)
		p.fail("bad-number", start, end, quote(p.text[start:end])+" is neither a number nor a name", "put quotes around text")
	}
	return p.slice(tokNumber, start, i)
}

func digits(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

func (p *parser) scanString(start int) token {
	var b strings.Builder
	mark := p.text[start]
	for i := start + 1; i < len(p.text) && !p.failed; {
		switch c := p.text[i]; c {
		case mark:
			return token{kind: tokString, start: start, end: i + 1, value: b.String()}
		case '\\':
			i = p.scanEscape(&b, i)
		case '$':
			if i+1 < len(p.text) && (p.text[i+1] == '(' || p.text[i+1] == '$' || isLetter(p.text[i+1])) {
				p.fail("interpolation", i, i+2, "a string cannot hold an expression here",
					"join the parts with ++, or write \\$ for a dollar sign")
			}
			b.WriteByte(c)
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	p.fail("unterminated-string", start, start+1, "the string is never closed", "close it with "+string(mark))
	return token{}
}

func (p *parser) scanEscape(b *strings.Builder, i int) int {
	if i+1 >= len(p.text) {
		return i + 1
	}
	simple := map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'f': '\f', '\\': '\\', '\'': '\'', '"': '"', '$': '$', '/': '/'}
	if c, ok := simple[p.text[i+1]]; ok {
		b.WriteByte(c)
		return i + 2
	}
	if r, ok := hex4(p.text, i); ok && !utf16.IsSurrogate(r) {
		b.WriteRune(r)
		return i + 6
	} else if low, twice := hex4(p.text, i+6); ok && twice {
		if r := utf16.DecodeRune(r, low); r != utf8.RuneError {
			b.WriteRune(r)
			return i + 12
		}
	}
	_, size := utf8.DecodeRuneInString(p.text[i+1:])
	p.fail("bad-escape", i, i+1+size, quote(p.text[i:i+1+size])+" does not start an escape",
		`write \\ for a backslash; the escapes are \n \r \t \b \f \\ \' \" \$ and \u with four hexadecimal digits`)
	return len(p.text)
}

// hex4 reads \uXXXX at i.
func hex4(s string, i int) (rune, bool) {
	if i < 0 || i+6 > len(s) || s[i] != '\\' || s[i+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i+2 : i+6]) {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if !isDigit(c) && (d < 10 || c|0x20 < 'a') {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
