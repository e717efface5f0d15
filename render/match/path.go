package match

import (
	"strings"
)

// Normal returns a base path in the form in which Envoy hands a request's path to routes, scope headers and policies
// (normalize_path, merge_slashes, escaped slashes kept; tried on 1.40.0, path by path):
//
//   - `\` is a slash; dot segments are resolved, `..;x` and `.;x` among them; slashes are merged;
//   - an escape of an unreserved character (A-Z a-z 0-9 - . _ ~) is decoded;
//   - every other escape stays, and so does a `%` that starts none;
//   - what may not stand in a path (space, quotes, <>^`{|}, controls, non-ASCII) is escaped.
//
// Escapes that stay are spelt in upper case here; a request may spell them in either (see Spellings and Quote). A base
// path never holds a query, so `?` and `#` are escaped. The result has no trailing slash: "" or "/a/b".
func Normal(path string) string {
	if plain(path) {
		return path
	}
	var out []string // the empty segments of "//" count until dot segments are gone: "/a//../b" is "/a/b"
	for s := range strings.SplitSeq(strings.ReplaceAll(strings.TrimLeft(path, "/"), `\`, "/"), "/") {
		s = canonical(s)
		switch head, _, _ := strings.Cut(s, ";"); head {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
		}
	}
	var b strings.Builder
	for _, s := range out {
		if s != "" {
			b.WriteByte('/')
			b.WriteString(s)
		}
	}
	return b.String()
}

// plain is the quick way for nearly all base paths.
func plain(path string) bool {
	if path == "" {
		return true
	}
	if path[0] != '/' || path[len(path)-1] == '/' {
		return false
	}
	for i := range len(path) {
		c := path[i]
		// A dot after a slash may start a dot segment.
		if !unreserved(c) && c != '/' || path[max(0, i-1)] == '/' && i > 0 && (c == '/' || c == '.') {
			return false
		}
	}
	return true
}

// canonical is one segment.
func canonical(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if v, ok := escape(s[i:]); ok {
			i += 2
			if unreserved(v) {
				b.WriteByte(v)
			} else {
				writeEscape(&b, v)
			}
			continue
		}
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"#<>?^`{|}", c) >= 0 {
			writeEscape(&b, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func escape(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

func writeEscape(b *strings.Builder, c byte) {
	const hex = "0123456789ABCDEF"
	b.WriteByte('%')
	b.WriteByte(hex[c>>4])
	b.WriteByte(hex[c&15])
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// Spellings lists the ways in which requests are expected to spell a normal base path where only exact text will do
// (scope keys): itself, and with its escapes in lower case where that differs.
func Spellings(base string) []string {
	lower := lowerEscapes(base)
	if lower == base {
		return []string{base}
	}
	return []string{base, lower}
}

func lowerEscapes(base string) string {
	if !strings.Contains(base, "%") {
		return base
	}
	b := []byte(base)
	for i := range b {
		if _, ok := escape(base[i:]); ok {
			copy(b[i+1:i+3], strings.ToLower(base[i+1:i+3]))
		}
	}
	return string(b)
}

// Literal reports whether a normal base path has one spelling only, so that exact and prefix matchers suit it.
func Literal(base string) bool { return lowerEscapes(base) == base }

// Quote is the regular expression for a normal base path in every spelling.
func Quote(base string) string {
	var b strings.Builder
	for i := 0; i < len(base); i++ {
		if _, ok := escape(base[i:]); !ok {
			writeByte(&b, base[i])
			continue
		}
		b.WriteByte('%')
		for _, c := range []byte(base[i+1 : i+3]) {
			if c <= '9' {
				b.WriteByte(c)
				continue
			}
			b.Write([]byte{'[', c &^ 0x20, c | 0x20, ']'})
		}
		i += 2
	}
	return b.String()
}
