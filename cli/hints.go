package cli

import (
	"fmt"
	"net"
	"os"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/ir"
)

const maxHints = 3

// requestsToTry are curl commands for the first APIs of a gateway.
func requestsToTry(g *ir.Gateway) []string {
	var hints []string
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			if len(hints) == maxHints {
				return hints
			}
			hints = append(hints, "curl -i "+requestFor(l, a))
		}
	}
	return hints
}

func requestFor(l *ir.Listener, a *ir.API) string {
	scheme, flags := "http", ""
	if l.TLS != nil {
		scheme, flags = "https", "-k "
	}
	for _, b := range a.Bindings {
		if b.Policy == "http-basic-authentication-flex" && len(b.Rules) == 0 {
			flags += "-u USERNAME:PASSWORD "
		}
	}
	host := "127.0.0.1"
	if addr := l.Addr.Addr(); !addr.IsUnspecified() {
		host = addr.String()
	}
	return fmt.Sprintf("%s%s://%s%s", flags, scheme, net.JoinHostPort(host, strconv.Itoa(int(l.Addr.Port()))), a.BasePath+samplePath(a))
}

// samplePath is a path below the base path that the API's first route takes, if that is plain to see.
func samplePath(a *ir.API) string {
	path := ""
	if len(a.Routes) > 0 && len(a.Routes[0].Rules) > 0 {
		path = literalPrefix(a.Routes[0].Rules[0].Path.Text)
	}
	if path == "" && a.BasePath == "" {
		return "/"
	}
	return path
}

// literalPrefix is the text that every match of a pattern starts with.
func literalPrefix(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	writeLiteral(&b, re.Simplify())
	return b.String()
}

// writeLiteral adds the literal beginning of re and reports whether re is literal to its end.
func writeLiteral(b *strings.Builder, re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return false
		}
		b.WriteString(string(re.Rune))
		return true
	case syntax.OpCapture:
		return writeLiteral(b, re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !writeLiteral(b, sub) {
				return false
			}
		}
		return true
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpBeginLine:
		return true
	}
	return false
}

// systemCA is the host's bundle of certificate authorities: $SSL_CERT_FILE, or the first of the well-known places.
func systemCA(env Env) string {
	if f, ok := env.Getenv("SSL_CERT_FILE"); ok && f != "" {
		return f
	}
	places := []string{
		"/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/pki/tls/certs/ca-bundle.crt", // Fedora, RHEL, Amazon
		"/etc/ssl/ca-bundle.pem",           // SUSE
		"/etc/ssl/cert.pem",                // macOS, BSD
	}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return places[0]
}
