package schema

import (
	"errors"
	"fmt"
	"regexp"
	resyntax "regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/regex"
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
	from   int // what of it is wrong
	to     int
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
	re, err := regex.Parse(text)
	if err != nil {
		p := pattern{wrong: err.Error()}
		var e *resyntax.Error
		if errors.As(err, &e) {
			p.wrong = fmt.Sprintf("%s: %s", e.Code, e.Expr)
		}
		p.from, p.to = wrongPart(text, e)
		switch {
		case strings.Contains(text, "(?=") || strings.Contains(text, "(?!") || strings.Contains(text, "(?<=") || strings.Contains(text, "(?<!"):
			p.hint = "RE2 has no look-around; say what may match, in several rules if need be"
		case backReference.MatchString(text):
			p.hint = "write out what may match: RE2 has no back-references"
		case e != nil && e.Expr == `\Z`:
			p.hint = `write \z for the end of the text; a pattern matches the whole value, so it can be left out`
		case e != nil && e.Expr == "(?#":
			p.hint = "RE2 has no comments in expressions: take (?#…) out, or write \\( for the character itself"
		case e != nil && strings.HasPrefix(e.Expr, "[:"):
			p.hint = "RE2 knows [:" + strings.Join(posixClasses, ":], [:") + ":]"
			if to := diag.Nearest(strings.Trim(e.Expr, "[:^]"), posixClasses); to != "" {
				p.hint = fmt.Sprintf("did you mean [:%s:]? %s", to, p.hint)
			}
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

// posixClasses are the names that may stand in [[:…:]].
var posixClasses = []string{"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"}

// maxSought is how long an expression may be in which the wrong part is looked for.
const maxSought = 300

// wrongPart is where an expression stops being one: from a bracket that is not closed or not open, or else what the parser names,
// which is at the end of the shortest beginning of the text that it refuses for the same reason. Else it is the whole.
func wrongPart(text string, e *resyntax.Error) (from, to int) {
	switch {
	case e == nil || len(text) > maxSought:
		return 0, len(text)
	case e.Code == resyntax.ErrMissingParen || e.Code == resyntax.ErrUnexpectedParen:
		if at := unpaired(text); at >= 0 {
			return at, at + 1
		}
		return 0, len(text)
	case e.Code == resyntax.ErrMissingBracket || e.Code == resyntax.ErrTrailingBackslash:
		if rest := max(len(e.Expr), 1); strings.HasSuffix(text, e.Expr) && rest < len(text) {
			return len(text) - rest, len(text)
		}
		return 0, len(text)
	}
	for k := len(e.Expr); k <= len(text) && e.Expr != ""; k++ {
		if !strings.HasSuffix(text[:k], e.Expr) {
			continue
		}
		_, err := regex.Parse(text[:k])
		var same *resyntax.Error
		if errors.As(err, &same) && same.Code == e.Code && same.Expr == e.Expr {
			return k - len(e.Expr), k
		}
	}
	return 0, len(text)
}

// unpaired is the last parenthesis that nothing closes, or the first that nothing opens; -1: there is none.
func unpaired(text string) int {
	var open []int
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if strings.HasPrefix(text[i:], `\Q`) {
				end := strings.Index(text[i:], `\E`)
				if end < 0 {
					end = len(text)
				}
				i += end
			}
			i++
		case '[': // a bracket right behind it is a character
			end := i + 1
			for end < len(text) && (text[end] != ']' || end == i+1 || end == i+2 && text[i+1] == '^') {
				if text[end] == '\\' {
					end++
				} else if strings.HasPrefix(text[end:], "[:") {
					if n := strings.Index(text[end:], ":]"); n > 0 {
						end += n + 1
					}
				}
				end++
			}
			i = end
		case '(':
			open = append(open, i)
		case ')':
			if len(open) == 0 {
				return i
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return -1
	}
	return open[len(open)-1]
}

// plainText are the characters of host names and simple paths.
var plainText = regexp.MustCompile(`^[A-Za-z0-9._/-]*$`)

var (
	queryPart   = regexp.MustCompile(`\?[A-Za-z0-9_.-]+=`)
	templated   = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_-]*\}`)
	colonParam  = regexp.MustCompile(`/:[A-Za-z_][A-Za-z0-9_]*`)
	globSegment = regexp.MustCompile(`(^|[^\\])/\*(/|$)`)
	typedParam  = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_-]*:((?:[^{}]|\{[0-9,]+\})+)\}`)
	globSuffix  = regexp.MustCompile(`(^|[^\\])/\*\.([A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*\$?$)`)
	classes     = regexp.MustCompile(`\[\^?\]?(?:\\.|\[:[a-z^]+:\]|[^\]\\])*\]`)
	methodNames = regexp.MustCompile(`^[A-Z]+(?:\|[A-Z]+)*$`)
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
		case typed(text) != text:
			return typed(text), "has a placeholder with an expression in braces, which matches nothing but a brace and its name: patterns are regular expressions"
		case strings.Contains(text, "*.") && globSuffix.MatchString(text):
			i := strings.LastIndex(text, "*.")
			return text[:i] + "[^/]*" + strings.ReplaceAll(text[i+1:], ".", `\.`), `has "/*.", which is any number of slashes and one more character: patterns are regular expressions`
		case blankIn(text):
			return blanked(text), "has a blank, and no path holds one: requests write it as %20"
		case globSegment.MatchString(text):
			return globs(text), `has "/*", which is any number of slashes: patterns are regular expressions`
		}
	case "methods":
		if methodList.MatchString(text) {
			return strings.ToUpper(methodSep.ReplaceAllString(strings.TrimSpace(text), "|")), `is a list, and matches no method: patterns are regular expressions, which have "|" between alternatives`
		}
		if meant, name := properMethods(text); name != "" {
			return meant, fmt.Sprintf("names %q%s", name, noMethod)
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

// typed writes {name:expression} as the expression, which is what such a template asks for.
func typed(text string) string {
	if !strings.Contains(text, ":") {
		return text
	}
	var b strings.Builder
	at := 0
	for _, m := range typedParam.FindAllStringSubmatchIndex(text, -1) {
		if escaped(text, m[0]) {
			continue
		}
		inner := text[m[2]:m[3]]
		if strings.Contains(inner, "|") {
			inner = "(?:" + inner + ")"
		}
		b.WriteString(text[at:m[0]] + inner)
		at = m[1]
	}
	return b.String() + text[at:]
}

// blankIn reports whether a path has a blank of its own: one in a class, or beside the %20 that stands for it, is an alternative.
func blankIn(text string) bool {
	return strings.Contains(text, " ") && !strings.Contains(text, "%20") && strings.Contains(classes.ReplaceAllString(text, ""), " ")
}

// blanked takes the blanks around a path away and writes %20 for those in it, unless a class has one too.
func blanked(text string) string {
	text = strings.Trim(text, " ")
	if strings.Contains(strings.Join(classes.FindAllString(text, -1), ""), " ") {
		return ""
	}
	return strings.ReplaceAll(text, " ", "%20")
}

const noMethod = ", which is no HTTP method"

// httpMethods are those of RFC 9110, of the registry of IANA as far as they are in use, and what caches and devices have besides.
// What is like none of them may be somebody's own.
var httpMethods = []string{"ACL", "BAN", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LABEL", "LINK", "LIST", "LOCK", "MERGE", "MKCALENDAR", "MKCOL", "MOVE",
	"NOTIFY", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PRI", "PROPFIND", "PROPPATCH", "PURGE", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE", "UPDATE", "VIEW"}

// commonMethods are those that a slip may have been meant to be.
var commonMethods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// properMethods finds the first name in a list of methods that is a slip, and the list with what was meant; that is empty when it is
// not certain.
func properMethods(text string) (meant, wrong string) {
	inner := strings.TrimSuffix(strings.TrimPrefix(text, "("), ")")
	if !methodNames.MatchString(inner) {
		return "", ""
	}
	for name := range strings.SplitSeq(inner, "|") {
		if slices.Contains(httpMethods, name) || len(name) < 3 {
			continue
		}
		to := diag.Nearest(name, commonMethods)
		if to == "" || diag.Distance(name, to) > 1 {
			continue
		}
		if slices.Contains(strings.Split(inner, "|"), to) {
			return "", name
		}
		return strings.Replace(text, name, to, 1), name
	}
	return "", ""
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
