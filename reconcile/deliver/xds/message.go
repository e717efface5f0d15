package xds

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	constraint = "Proto constraint validation failed"
	longest    = 2048 // bytes of Envoy's text that we keep
)

// pem is a PEM block, or what is left of one, in any of the escapes of Envoy's text.
var pem = regexp.MustCompile(`(?s)-----BEGIN .*?(?:-----END [^-]*-----|$)`)

// clean makes Envoy's text of a refusal fit to be kept and shown. The text of a proto constraint violation starts with the
// whole resource, private keys included (envoy-findings/delivery.md, T7): only what follows the last such dump stays. PEM
// never stays.
func clean(text string) string {
	if i := strings.LastIndex(text, ": "+constraint); i >= 0 {
		text = text[i+2:]
	} else if strings.Contains(text, "goo.gle/debug") {
		return "refused; Envoy's text was a dump of the resource and is not kept"
	}
	text = strings.TrimSpace(pem.ReplaceAllString(text, "[redacted]"))
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > longest {
		cut := longest
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
