package envoy

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	constraint  = "Proto constraint validation failed"
	longestWord = 2048 // bytes of Envoy's text that are kept
)

// pem is a PEM block, or what is left of one, in any of the escapes of Envoy's text.
var pem = regexp.MustCompile(`(?s)-----BEGIN .*?(?:-----END [^-]*-----|$)`)

// Clean makes Envoy's text of a refusal fit to be kept and shown. The text of a proto constraint violation starts with the
// whole resource, and that of a parse error ends with it, private keys included (envoy-findings/delivery.md, T7): the dump goes.
// PEM never stays.
func Clean(text string) string {
	if i := strings.LastIndex(text, ": "+constraint); i >= 0 {
		text = text[i+2:]
	} else if i := strings.Index(text, "goo.gle/debug"); i >= 0 {
		if text = strings.TrimRight(text[:i], ": "); text == "" {
			return "refused; Envoy's text was a dump of the resource and is not kept"
		}
	}
	if i := strings.Index(text, "Unable to parse"); i >= 0 {
		if end := strings.Index(text[i:], "): "); end >= 0 {
			text = text[:i+end+1]
		}
	}
	text = strings.TrimSpace(pem.ReplaceAllString(text, "[redacted]"))
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > longestWord {
		cut := longestWord
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	if text == "" {
		return "refused without a reason"
	}
	return text
}
