package schema

import (
	"errors"
	"fmt"
	"regexp"
	resyntax "regexp/syntax"
	"strings"
	"sync"
)

// patterns keeps what was found out about regular expressions, so that each distinct one is parsed once.
type patterns struct {
	mu    sync.RWMutex
	known map[string]pattern
}

// maxPatterns bounds the memory of a daemon whose declarations change for months.
const maxPatterns = 200_000

// pattern is what matters about one RE2 expression.
type pattern struct {
	wrong  string // why it is none; "" when it is
	hint   string
	groups int
	nested bool // a group stands in another
}

func (p *patterns) parse(text string) pattern {
	p.mu.RLock()
	got, ok := p.known[text]
	p.mu.RUnlock()
	if ok {
		return got
	}
	got = parsePattern(text)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxPatterns {
		p.known = map[string]pattern{}
	}
	p.known[text] = got
	return got
}

var backReference = regexp.MustCompile(`\\[1-9]|\\k<|\(\?P=`)

// parsePattern only parses: a compiled expression costs 12.7 KiB, and Envoy compiles its own (flex-resources.md, 8.3).
func parsePattern(text string) pattern {
	re, err := resyntax.Parse(text, resyntax.Perl)
	if err != nil {
		p := pattern{wrong: err.Error()}
		var e *resyntax.Error
		if errors.As(err, &e) {
			p.wrong = fmt.Sprintf("%s: %s", e.Code, e.Expr)
		}
		switch {
		case strings.Contains(text, "(?=") || strings.Contains(text, "(?!") || strings.Contains(text, "(?<=") || strings.Contains(text, "(?<!"):
			p.hint = "RE2 has no look-around; say what may match, in several rules if need be"
		case backReference.MatchString(text):
			p.hint = "write out what may match: RE2 has no back-references"
		case strings.HasPrefix(text, "*") && plainText.MatchString(text[1:]):
			p.hint = "patterns are regular expressions: write .*" + regexp.QuoteMeta(text[1:])
		case strings.HasPrefix(text, "*"):
			p.hint = "patterns are regular expressions: write ." + text
		case e == nil:
		case e.Code == resyntax.ErrInvalidRepeatOp && strings.Contains(text, "**"):
			p.hint = "patterns are regular expressions: write .* for any text"
		case e.Code == resyntax.ErrInvalidRepeatOp:
			p.hint = `write one sign of repetition, or \ before a sign that is meant itself`
		case e.Code == resyntax.ErrMissingRepeatArgument:
			p.hint = `write what is repeated before the sign, or \ before it when it is meant itself`
		case e.Code == resyntax.ErrMissingParen:
			p.hint = `close the group with ")", or write \( for the character itself`
		case e.Code == resyntax.ErrUnexpectedParen:
			p.hint = `open the group with "(", or write \) for the character itself`
		case e.Code == resyntax.ErrMissingBracket:
			p.hint = `close the class with "]", or write \[ for the character itself`
		case e.Code == resyntax.ErrInvalidRepeatSize:
			p.hint = "RE2 repeats at most 1000 times, the smaller number first; write + or * for as often as you like"
		case e.Code == resyntax.ErrInvalidCharRange:
			p.hint = `write the smaller character first, or \- for the character itself`
		case e.Code == resyntax.ErrInvalidEscape, e.Code == resyntax.ErrTrailingBackslash:
			p.hint = `write \\ for a backslash`
		}
		return p
	}
	return pattern{groups: re.MaxCap(), nested: nests(re, false)}
}

// plainText are the characters of host names and simple paths.
var plainText = regexp.MustCompile(`^[A-Za-z0-9._/-]*$`)

var (
	queryPart   = regexp.MustCompile(`\?[A-Za-z0-9_.-]+=`)
	templated   = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_-]*\}`)
	colonParam  = regexp.MustCompile(`/:[A-Za-z_][A-Za-z0-9_]*`)
	globSegment = regexp.MustCompile(`(^|[^\\])/\*(/|$)`)
	methodList  = regexp.MustCompile(`^\s*[A-Za-z]+(?:\s*[,;/]\s*|\s+)[A-Za-z]+(?:(?:\s*[,;/]\s*|\s+)[A-Za-z]+)*\s*$`)
	methodSep   = regexp.MustCompile(`[\s,;/]+`)
)

// suspicious says why an expression, though it is one, can hardly mean what it says; meant is what was, if that is clear.
func suspicious(what, text string) (meant, why string) {
	switch what {
	case "path":
		switch {
		case queryPart.MatchString(text):
			before, _, _ := strings.Cut(text, "?")
			return before, "asks for a query, and paths are matched without theirs"
		case unbraced(text) != text:
			return unbraced(text), "has a placeholder in braces, which matches nothing but itself: patterns are regular expressions"
		case colonParam.MatchString(text):
			return colonParam.ReplaceAllString(text, "/[^/]+"), "has a placeholder after a colon, which matches nothing but itself: patterns are regular expressions"
		case globSegment.MatchString(text):
			return globs(text), `has "/*", which is any number of slashes: patterns are regular expressions`
		}
	case "methods":
		if methodList.MatchString(text) {
			return strings.ToUpper(methodSep.ReplaceAllString(strings.TrimSpace(text), "|")), `is a list, and matches no method: patterns are regular expressions, which have "|" between alternatives`
		}
	case "host":
		if _, rest, ok := strings.Cut(text, "://"); ok {
			host, _, _ := strings.Cut(rest, "/")
			return host, "has a protocol, which is no part of a host"
		}
	}
	return "", ""
}

// certain is suspicious, without a meaning that is no expression.
func certain(what, text string) (meant, why string) {
	if meant, why = suspicious(what, text); meant != "" && parsePattern(meant).wrong != "" {
		meant = ""
	}
	return meant, why
}

// unbraced writes {names} as expressions of one segment. Braces behind a backslash, or behind an escape such as \p, are
// part of the expression: \p{Greek}, \x{e9}, \{id}.
func unbraced(text string) string {
	var b strings.Builder
	at := 0
	for _, m := range templated.FindAllStringIndex(text, -1) {
		if escaped(text, m[0]) || m[0] > 0 && text[m[0]-1] != '\\' && escaped(text, m[0]-1) {
			continue
		}
		b.WriteString(text[at:m[0]] + "[^/]+")
		at = m[1]
	}
	return b.String() + text[at:]
}

// escaped reports whether an odd number of backslashes stands before a character.
func escaped(text string, at int) bool {
	before := text[:at]
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}

// globs writes the wildcards of a file pattern as expressions: one segment inside, everything at the end.
func globs(text string) string {
	parts := strings.Split(text, "/")
	for i, p := range parts {
		if p == "*" {
			parts[i] = "[^/]+"
			if i == len(parts)-1 {
				parts[i] = ".*"
			}
		}
	}
	return strings.Join(parts, "/")
}

func nests(re *resyntax.Regexp, inside bool) bool {
	if re.Op == resyntax.OpCapture {
		if inside {
			return true
		}
		inside = true
	}
	for _, sub := range re.Sub {
		if nests(sub, inside) {
			return true
		}
	}
	return false
}
