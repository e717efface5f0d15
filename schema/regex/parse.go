package regex

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
)

// Parse is what RE2 makes of an expression with Perl's signs. Go's parser takes almost the same; the rest is written in its way: \C, which is any byte of a value and
// here any character (they are the same in all that is ASCII), names of groups with other letters than ASCII's, and the scripts of
// Unicode that it knows, but does not find by name. The error is that of the text as it was written.
func Parse(text string) (*syntax.Regexp, error) {
	re, err := syntax.Parse(text, syntax.Perl)
	if err == nil {
		return re, nil
	}
	if plain := inGo(text); plain != text {
		if re, err := syntax.Parse(plain, syntax.Perl); err == nil {
			return re, nil
		}
	}
	return nil, err
}

var (
	groupName = regexp.MustCompile(`^\(\?P?<[\pL\p{Mn}\p{Mc}\p{Nd}\p{Pc}]+>`)
	script    = regexp.MustCompile(`^\\([pP])\{(\^?)([A-Za-z_]+)\}`)
)

// inGo writes for Go's parser what RE2 takes and it does not.
func inGo(text string) string {
	var b strings.Builder
	class := false
	for i := 0; i < len(text); {
		n, as := 1, text[i:i+1]
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, `\Q`) && !class:
			n = len(rest)
			if end := strings.Index(rest, `\E`); end >= 0 {
				n = end + 2
			}
			as = rest[:n]
		case strings.HasPrefix(rest, `\C`) && !class:
			n, as = 2, `(?s:.)`
		case rest[0] == '\\':
			n = min(2, len(rest))
			as = rest[:n]
			if m := script.FindStringSubmatch(rest); m != nil && unicode.Scripts[m[3]] != nil {
				n, as = len(m[0]), ranges(unicode.Scripts[m[3]], (m[1] == "P") != (m[2] == "^"))
				if !class {
					as = "[" + as + "]"
				}
			}
		case class && strings.HasPrefix(rest, "[:") && strings.Contains(rest, ":]"):
			n = strings.Index(rest, ":]") + 2
			as = rest[:n]
		case class:
			class = rest[0] != ']'
		case rest[0] == '[': // a bracket right behind it is a character
			for class = true; n < len(rest) && (n == 1 && rest[n] == '^' || rest[n] == ']'); n++ {
				if rest[n] == ']' {
					n++
					break
				}
			}
			as = rest[:n]
		case groupName.MatchString(rest):
			n, as = len(groupName.FindString(rest)), "("
		}
		b.WriteString(as)
		i += n
	}
	return b.String()
}

// ranges are the characters of a table, or all others, as they stand in a class.
func ranges(table *unicode.RangeTable, others bool) string {
	var b strings.Builder
	next := rune(0) // behind the last range
	put := func(from, to rune) {
		if from <= to {
			fmt.Fprintf(&b, `\x{%x}-\x{%x}`, from, to)
		}
	}
	add := func(from, to, stride rune) {
		if stride == 1 {
			stride = to - from + 1
		}
		for at := from; at <= to; at += stride {
			last := at
			if stride > to-from {
				last = to
			}
			if others {
				put(next, at-1)
			} else {
				put(at, last)
			}
			next = last + 1
		}
	}
	for _, r := range table.R16 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range table.R32 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	if others {
		put(next, unicode.MaxRune)
	}
	return b.String()
}
