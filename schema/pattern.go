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
			p.hint = "RE2 has no back-references"
		case strings.HasPrefix(text, "*"):
			p.hint = "patterns are regular expressions: write ." + text
		}
		return p
	}
	return pattern{groups: re.MaxCap(), nested: nests(re, false)}
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
