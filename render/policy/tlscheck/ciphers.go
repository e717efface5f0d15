package tlscheck

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// cipher is what matters of a suite.
type cipher struct {
	tls13 bool // always on where TLS 1.3 is; cannot be chosen
	old   bool // works with TLS 1.1
	weak  bool // no forward secrecy, or no authenticated encryption: the vendor advises against it
	psk   bool // needs a pre-shared key, which cannot be given
}

// suites are the product's, by the IANA names that Envoy takes too. TLS_RSA_WITH_NULL_SHA is not among them: it was
// withdrawn from the product, and Envoy refuses it.
//
// Source: https://docs.mulesoft.com/gateway/latest/flex-tls-cipher
func suites() map[string]cipher {
	m := map[string]cipher{}
	for c, names := range map[cipher][]string{
		{tls13: true}: {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
		{}: {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
		{weak: true}: {"TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_256_GCM_SHA384"},
		{psk: true}:  {"TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256"},
		{old: true, weak: true}: {"TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
			"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"},
		{old: true, psk: true, weak: true}: {"TLS_PSK_WITH_AES_128_CBC_SHA", "TLS_PSK_WITH_AES_256_CBC_SHA", "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA",
			"TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA"},
	} {
		for _, name := range names {
			m[name] = c
		}
	}
	return m
}

// configurable are the names that Envoy takes: it refuses those of TLS 1.3, which are always on.
func configurable(names []string) []string {
	known := suites()
	var out []string
	for _, name := range names {
		if c, ok := known[name]; ok && !c.tls13 && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func checkCiphers(p Params) []Problem {
	var out []Problem
	add := func(kind Kind, severity diag.Severity, summary, hint string, path ...string) {
		out = append(out, Problem{Kind: kind, Severity: severity, Path: path, Summary: summary, Hint: hint})
	}
	known := suites()
	var usable, usable11 bool
	for i, name := range p.Ciphers {
		c, ok := known[name]
		switch {
		case !ok && name == "TLS_RSA_WITH_NULL_SHA":
			add(UnknownCipher, diag.Error, "the cipher TLS_RSA_WITH_NULL_SHA does not encrypt and is not offered", "remove it", "ciphers", strconv.Itoa(i))
		case !ok:
			add(UnknownCipher, diag.Error, fmt.Sprintf("%q is not a cipher that the gateway knows", name), suggestion(name), "ciphers", strconv.Itoa(i))
		case c.psk:
			add(PSKCipher, diag.Warning, fmt.Sprintf("the cipher %s needs a pre-shared key, which cannot be given, so it is never used", name), "remove it", "ciphers", strconv.Itoa(i))
		case !c.tls13:
			usable, usable11 = true, usable11 || c.old
			if c.weak {
				add(WeakCipher, diag.Warning, fmt.Sprintf("the cipher %s is weak: recorded traffic or altered packets can be its undoing", name), "keep to ECDHE with GCM or CHACHA20, or leave ciphers out", "ciphers", strconv.Itoa(i))
			}
		}
	}
	switch {
	case len(out) > 0 && slices.ContainsFunc(out, func(p Problem) bool { return p.Severity == diag.Error }):
	case p.Min == "1.1" && !usable11:
		add(NoCipher, diag.Error, "minversion 1.1 needs a cipher that TLS 1.1 has, and ciphers names none", "name one, for example TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, or raise minversion to \"1.2\"", "minversion")
	case len(p.Ciphers) == 0 || usable || p.Min == "1.3":
	case p.Max != "1.3":
		add(NoCipher, diag.Error, fmt.Sprintf("ciphers names no suite that TLS %s can use, so no client can connect", p.Max), "name a suite of TLS 1.2, or leave ciphers out", "ciphers")
	default:
		add(Only13, diag.Warning, "ciphers names no usable suite of TLS 1.2, so only TLS 1.3 is spoken", "name a suite of TLS 1.2, leave ciphers out, or set minversion: \"1.3\"", "ciphers")
	}
	return out
}

// suggestion is the known name that is nearest to what was written.
func suggestion(name string) string {
	best, distance := "", len(name)
	fold := strings.NewReplacer("-", "_", "TLS_", "", "WITH_", "").Replace(strings.ToUpper(name))
	for known := range suites() {
		d := diag.Distance(fold, strings.NewReplacer("TLS_", "", "WITH_", "").Replace(known))
		if d < distance || d == distance && known < best {
			best, distance = known, d
		}
	}
	if distance <= len(name)/3 {
		return `did you mean "` + best + `"?`
	}
	return "write the IANA name of a suite, for example TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
}
