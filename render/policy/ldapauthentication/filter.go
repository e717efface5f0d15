package ldapauthentication

import (
	"fmt"
	"regexp"
	"strings"
)

// problem is what is wrong with a text, and where: bytes, end exclusive.
type problem struct {
	what       string // a clause that follows the name of the text
	start, end int
}

// readFilter says why a text is no search filter (RFC 4515); nil: it is one. Blanks between filters are let pass, and so are
// missing parentheses around the whole, as directories' own tools do.
func readFilter(text string) *problem {
	r := &reader{text: text}
	r.blanks()
	switch {
	case r.i == len(text):
		return &problem{"is empty", 0, len(text)}
	case text[r.i] != '(':
		if p := r.item(); p != nil {
			return p
		}
	default:
		if p := r.filter(0); p != nil {
			return p
		}
	}
	r.blanks()
	if r.i < len(text) {
		return &problem{fmt.Sprintf("goes on after its end with %q", text[r.i:]), r.i, len(text)}
	}
	return nil
}

type reader struct {
	text string
	i    int
}

// maxFilterDepth is more than any filter needs.
const maxFilterDepth = 100

func (r *reader) blanks() {
	for r.i < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.i]) >= 0 {
		r.i++
	}
}

func (r *reader) at(c byte) bool { return r.i < len(r.text) && r.text[r.i] == c }

// filter reads one in parentheses; the reader is at the first.
func (r *reader) filter(depth int) *problem {
	open := r.i
	r.i++
	r.blanks()
	if depth > maxFilterDepth {
		return &problem{"nests too deep", open, open + 1}
	}
	switch {
	case r.at('&'), r.at('|'), r.at('!'):
		op := r.text[r.i]
		r.i++
		n := 0
		for r.blanks(); r.at('('); r.blanks() {
			if p := r.filter(depth + 1); p != nil {
				return p
			}
			n++
		}
		if op == '!' && n != 1 {
			return &problem{fmt.Sprintf("has %d filters after !, expected one", n), open, r.i}
		}
	default:
		if p := r.item(); p != nil {
			return p
		}
	}
	switch r.blanks(); {
	case r.at(')'):
		r.i++
		return nil
	case r.i == len(r.text):
		return &problem{"has a ( that is never closed", open, open + 1}
	}
	return &problem{fmt.Sprintf("has %q where ) belongs", r.text[r.i:r.i+1]), r.i, r.i + 1}
}

var item = regexp.MustCompile(`^[A-Za-z0-9.;:_-]+\s*(~=|>=|<=|=)`)

// item reads attribute=value up to the parenthesis that ends it.
func (r *reader) item() *problem {
	start := r.i
	end := start
	for end < len(r.text) && r.text[end] != ')' && r.text[end] != '(' {
		if r.text[end] == '\\' {
			if end+2 >= len(r.text) || !isHex(r.text[end+1]) || !isHex(r.text[end+2]) {
				return &problem{`has a \ that two hexadecimal digits do not follow`, end, end + 1}
			}
			end += 2
		}
		end++
	}
	r.i = end
	if !item.MatchString(r.text[start:end]) {
		return &problem{fmt.Sprintf("has %q where attribute=value belongs", r.text[start:end]), start, max(end, start+1)}
	}
	if r.at('(') {
		return &problem{`has a ( within a value, where it is written \28`, end, end + 1}
	}
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

var attribute = regexp.MustCompile(`^\s*([A-Za-z][A-Za-z0-9_-]*|[0-9]+(\.[0-9]+)*|OID\.[0-9.]+)\s*=`)

// readDN says why a text is no distinguished name (RFC 4514, and the older forms with ; and quotes); nil: it is one.
func readDN(text string) *problem {
	start := 0
	for start <= len(text) {
		end, p := rdnEnd(text, start)
		if p != nil {
			return p
		}
		switch part := text[start:end]; {
		case strings.TrimSpace(part) == "":
			return &problem{"has nothing where attribute=value belongs", start, max(end, min(start+1, len(text)))}
		case !attribute.MatchString(part):
			return &problem{fmt.Sprintf("has %q where attribute=value belongs", strings.TrimSpace(part)), start, max(end, min(start+1, len(text)))}
		}
		start = end + 1
	}
	return nil
}

// rdnEnd finds the comma, semicolon or plus sign that ends a part, or the end of the text.
func rdnEnd(text string, i int) (int, *problem) {
	for ; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i+1 == len(text) {
				return 0, &problem{`ends in a \`, i, i + 1}
			}
			i++
		case '"':
			n := strings.IndexByte(text[i+1:], '"')
			if n < 0 {
				return 0, &problem{`has a " that is never closed`, i, i + 1}
			}
			i += n + 1
		case ',', ';', '+':
			return i, nil
		}
	}
	return i, nil
}
