// Package urlcheck judges the addresses of services that policies call.
//
// It calls none of them, and knows no policy: what is wrong is told in words, and the policy has the codes.
package urlcheck

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Want says what an address must be.
type Want struct {
	Schemes []string // in lower case, the usual one first
	Port    bool     // one must be written
	NoPath  bool     // nothing may follow the host
}

// Problem is why an address cannot be used. The zero Problem is none.
type Problem struct {
	What string // a clause that follows the address: "has no host"
	Hint string
}

// Parse reads an address. The URL is nil exactly when there is a Problem. A text with a password is never part of one: what stands before
// an @ may be one, also where a / or ? in it that was not escaped makes it look like a host, a port or a path.
func Parse(text string, want Want) (*url.URL, Problem) {
	u, p := parse(text, want)
	if scheme, rest, _ := strings.Cut(text, ":"); u == nil && strings.Contains(text, "@") && strings.Contains(text, "://") &&
		(slices.Contains(want.Schemes, strings.ToLower(scheme)) || !strings.HasPrefix(rest, "//")) {
		return nil, userName
	}
	return u, p
}

var userName = Problem{"holds a user name or a password, which would show in logs", "leave it out"}

func parse(text string, want Want) (*url.URL, Problem) {
	form := want.Schemes[0] + "://host"
	if want.Port {
		form += ":port"
	}
	write := "write " + form
	if strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") { // as the samples of some pages have it
		return nil, Problem{"stands in angle brackets", "write it without < and >"}
	}
	if !strings.Contains(text, "://") {
		hint := write
		if host, _, _ := strings.Cut(text, "/"); host != "" && !strings.ContainsAny(host, " $<>{}") && !strings.Contains(text, "@") {
			hint = "write " + want.Schemes[0] + "://" + text
		}
		return nil, Problem{"has no scheme", hint}
	}
	u, err := url.Parse(text)
	if err != nil {
		what := "is not an address"
		if e, ok := err.(*url.Error); ok && !strings.Contains(text, "@") {
			what += ": " + e.Err.Error()
		}
		return nil, Problem{what, write}
	}
	port, portErr := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case !slices.Contains(want.Schemes, u.Scheme):
		return nil, Problem{fmt.Sprintf("has the scheme %q, expected %s", u.Scheme, strings.Join(want.Schemes, " or ")), write}
	case u.User != nil:
		return nil, userName
	case u.Hostname() == "":
		return nil, Problem{"has no host", write}
	case strings.ContainsAny(u.Hostname(), `<>{}$"`):
		return nil, Problem{"has a placeholder where its host belongs", write}
	case strings.ContainsAny(u.Hostname(), " \t,;"):
		return nil, Problem{"has a host with a blank or a comma in it", "write one address, without blanks"}
	case u.Port() == "" && want.Port:
		return nil, Problem{fmt.Sprintf("has no port, and %s has no default", u.Scheme), fmt.Sprintf("write %s://%s:port", u.Scheme, u.Host)}
	case u.Port() != "" && (portErr != nil || port == 0):
		return nil, Problem{fmt.Sprintf("has the port %s, expected 1 to 65535", u.Port()), write}
	case want.NoPath && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != ""):
		return nil, Problem{"goes on after the host, which is not used", fmt.Sprintf("write %s://%s", u.Scheme, u.Host)}
	}
	return u, Problem{}
}

// Show is the scheme and the host of u, for a message. Where a later @ makes the host look like a part of a password, it is left out.
func Show(u *url.URL) string {
	if strings.Contains(u.Path, "@") || strings.Contains(u.RawQuery, "@") || strings.Contains(u.Fragment, "@") {
		return u.Scheme + "://…"
	}
	return u.Scheme + "://" + u.Host
}

// Exposed reports whether what is sent to u could be read on the way: the scheme has no TLS, and the host is not this one.
func Exposed(u *url.URL) bool {
	if slices.Contains([]string{"https", "ldaps", "h2s"}, u.Scheme) {
		return false
	}
	host := strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsLoopback()
	}
	return host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
