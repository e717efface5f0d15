package envoy

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Hide takes secrets out of Envoy's words, in every form in which Envoy may write them.
func Hide(words string, secrets []string) string {
	var all []string
	for _, s := range secrets {
		all = append(all, written(s)...)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // one may hold another
	for _, s := range slices.Compact(all) {
		words = strings.ReplaceAll(words, s, "[redacted]")
	}
	return words
}

// written are the forms in which a text may stand in a message of Envoy: as it is, escaped as C does (the text form of protobuf, with
// and without what is not ASCII), as JSON does, in base64 (the JSON form of bytes).
func written(s string) []string {
	if s == "" {
		return nil
	}
	out := []string{s, escapedC(s, false), escapedC(s, true)}
	for _, html := range []bool{false, true} {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if e.Encode(s) == nil {
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`))
		}
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} { // the padding says nothing
		out = append(out, e.EncodeToString([]byte(s)))
	}
	return out
}

// escapedC is a text as Abseil's CEscape writes it, or Utf8SafeCEscape.
func escapedC(s string, utf8Safe bool) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch c := s[0]; {
		case n > 1 && utf8Safe:
			b.WriteString(s[:n])
		case n > 1 || c >= utf8.RuneSelf:
			for i := range n {
				fmt.Fprintf(&b, `\%03o`, s[i])
			}
		case strings.IndexByte("\n\r\t\"'\\", c) >= 0:
			b.WriteString(map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`, '"': `\"`, '\'': `\'`, '\\': `\\`}[r])
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
		s = s[n:]
	}
	return b.String()
}
