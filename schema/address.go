package schema

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// address is the parts of protocol://host:port[/path], as far as they are right.
type address struct {
	scheme string // lower case
	host   string // without brackets, lower case
	port   uint16 // 0: not written
	path   string // "" or "/…"
}

// problem is what is wrong with an address, and what to do about it.
type problem struct {
	what, hint string
	meant      string // the address that was meant, when that is certain
	from, to   int    // what of the address it is about, in bytes; both 0: all of it
}

// piece is where a part of a text stands, in bytes, if what is written is the text itself, bare or in quotes; else it is where all of
// it does.
func piece(t syntax.Text, from, to int) diag.Range {
	r := t.Range
	quotes := int(r.End.Offset-r.Start.Offset) - len(t.Value)
	if from >= to || r.Start.IsZero() || r.Start.Line != r.End.Line || quotes != 0 && quotes != 2 || int(r.End.Column-r.Start.Column) != utf8.RuneCountInString(t.Value)+quotes {
		return r
	}
	place := func(i int) diag.Pos {
		p := r.Start
		p.Offset += int32(quotes/2 + i)
		p.Column += int32(quotes/2 + utf8.RuneCountInString(t.Value[:i]))
		return p
	}
	return diag.Range{File: r.File, Start: place(from), End: place(to)}
}

// edits is the change that mends an address at a place.
func (p problem) edits(at diag.Range) []diag.Edit {
	if p.meant == "" || strings.ContainsAny(p.meant, "@?#") { // which may come after a password, or before one
		return nil
	}
	return []diag.Edit{{Op: diag.Set, At: at, Value: p.meant}}
}

// splitAddress takes an address apart. It judges what holds for APIs and services alike.
func splitAddress(s string) (address, *problem) {
	var a address
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok && strings.HasPrefix(s, "$") {
		return a, &problem{what: "is a variable, which only the config of a policy may have", hint: "write the address itself"}
	}
	if !ok {
		return a, &problem{what: "has no protocol", hint: "write protocol://host:port"}
	}
	a.scheme = strings.ToLower(scheme)
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }); i >= 0 {
		p := &problem{what: "holds white space", hint: "remove it"}
		if t := strings.TrimSpace(s); strings.IndexFunc(t, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) < 0 {
			p.meant = t
		}
		return a, p
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, a.path = rest[:i], rest[i:]
	}
	switch {
	case strings.Contains(a.path, "?"):
		return a, &problem{what: "has a query", hint: "remove everything from the ? on"}
	case strings.Contains(a.path, "#"):
		return a, &problem{what: "has a fragment", hint: "remove everything from the # on"}
	case strings.Contains(authority, "@"):
		return a, &problem{what: "holds a user name", hint: "remove everything up to the @"}
	}
	host, port, bad := splitHostPort(authority)
	if bad != nil {
		return a, bad
	}
	a.host = strings.ToLower(host)
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			end := len(scheme) + len("://") + len(authority)
			return a, &problem{what: fmt.Sprintf("has the port %q, expected a number from 1 to 65535", port), hint: "correct the number after the last colon", from: end - len(port), to: end}
		}
		a.port = uint16(n)
	}
	return a, nil
}

// withProtocol says how an address that lacks only its protocol is written; host stands for the one that a bare port lacks.
func withProtocol(p problem, s, host string) problem {
	if p.what != "has no protocol" {
		return p
	}
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 0 {
		p.hint = "write http://" + host + ":" + s
	} else if isHostPort(s) {
		p.hint = "write http://" + s
	}
	return p
}

// wrongScheme says that an address has none of the protocols that are known.
func wrongScheme(scheme, address string, known ...string) problem {
	to := diag.Nearest(scheme, known)
	p := problem{what: fmt.Sprintf("has the protocol %q, expected %s", scheme, alternatives(known)), hint: didYouMean(to)}
	ascii := strings.IndexFunc(address, func(r rune) bool { return r >= 0x7f }) < 0
	if ascii {
		p.to = len(scheme)
	}
	if ascii && to != "" && diag.Unmistakable(scheme, to, known) {
		p.meant = to + address[len(scheme):]
	}
	return p
}

// showAddress quotes an address without what may be secret: what stands before an @, and what follows a ? or #.
func showAddress(s string) string {
	s, hidden := withoutCredentials(s)
	if hidden {
		return strconv.Quote(s)
	}
	return quoteShort(s)
}

// withoutCredentials is an address to be shown, and whether something of it is left out.
func withoutCredentials(s string) (string, bool) {
	rest, tail := s, ""
	if i := strings.IndexAny(s, "?#"); i >= 0 && i < len(s)-1 {
		rest, tail = s[:i], s[i:i+1]+"…"
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		scheme, _, ok := strings.Cut(s[:i], "://")
		if !ok {
			scheme = ""
		}
		after := s[i:]
		if i < len(rest) {
			after = rest[i:]
		} else if j := strings.IndexAny(after, "?#"); j >= 0 {
			after = after[:j]
		}
		return scheme + map[bool]string{true: "://"}[ok] + "…" + shorten(after) + tail, true
	}
	return shorten(rest) + tail, tail != ""
}

func splitHostPort(authority string) (host, port string, bad *problem) {
	host = authority
	if strings.HasPrefix(authority, "[") {
		inside, after, ok := strings.Cut(authority[1:], "]")
		if !ok {
			return "", "", &problem{what: `lacks the closing "]" of an IPv6 address`}
		}
		if ip, err := netip.ParseAddr(inside); err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", &problem{what: fmt.Sprintf("has the host %q, which is no IPv6 address", inside), hint: "write [IPv6 address]:port, without the name of an interface"}
		}
		if after != "" && !strings.HasPrefix(after, ":") || after == ":" {
			return "", "", &problem{what: "has no port number after the host", hint: "write [host]:port"}
		}
		return inside, strings.TrimPrefix(after, ":"), nil
	}
	if strings.Count(authority, ":") > 1 {
		if ip, err := netip.ParseAddr(authority); err == nil && ip.Is6() {
			return "", "", &problem{what: "has an IPv6 address without brackets", hint: "put it in brackets, with the port behind them: [" + authority + "]:port"}
		}
		return "", "", &problem{what: "has more than one port", hint: "write protocol://host:port"}
	}
	if h, p, ok := strings.Cut(authority, ":"); ok {
		if p == "" {
			return "", "", &problem{what: "has no port number after the colon", hint: "write protocol://host:port"}
		}
		host, port = h, p
	}
	if host == "" {
		return "", "", &problem{what: "has no host", hint: "write protocol://host:port"}
	}
	return host, port, nil
}

// listen is where an API listens.
type listen struct {
	scheme string // http or https
	addr   netip.AddrPort
	base   string // "" or "/a/b"
	ok     bool   // false: the address is wrong, which has been said
}

// internalPorts are those that the product keeps for itself, or once did, with the releases that refuse them: from
// inclusive, until exclusive, neither for those that no release refuses (flex-resources.md, 11.7).
var internalPorts = map[uint16]struct{ from, until ir.Release }{
	2000:  {},
	4000:  {ir.Release{Major: 1}, ir.Release{Major: 1, Minor: 7}},
	9998:  {ir.Release{Major: 1, Minor: 7}, ir.Release{}},
	9999:  {ir.Release{Major: 1}, ir.Release{Major: 1, Minor: 7}},
	15000: {ir.Release{Major: 1}, ir.Release{Major: 1, Minor: 7}},
	15100: {ir.Release{Major: 1}, ir.Release{Major: 1, Minor: 7}},
}

// reservedPort judges a port for a release.
func reservedPort(port uint16, target ir.Release) (sev diag.Severity, what string) {
	p, ok := internalPorts[port]
	switch {
	case !ok:
		return diag.Note, ""
	case p.from.IsZero():
		return diag.Warning, "is used by the product itself"
	case !target.Before(p.from) && (p.until.IsZero() || target.Before(p.until)):
		return diag.Error, "is reserved by the product" + asOf(target)
	case target.Before(p.from):
		return diag.Warning, fmt.Sprintf("is reserved by the product from %v on", p.from)
	}
	return diag.Warning, fmt.Sprintf("was reserved by the product before %v", p.until)
}

// asOf names the release that was asked for.
func asOf(r ir.Release) string {
	if r.IsZero() {
		return ""
	}
	return " in release " + r.String()
}

// parseListen judges the address of an ApiInstance (flex-resources.md, 2.2 and 8.1).
func parseListen(t syntax.Text, target ir.Release) (listen, diag.List) {
	bad := func(p problem) (listen, diag.List) {
		return listen{}, diag.List{{Severity: diag.Error, Code: "link/bad-address", Subject: piece(t, p.from, p.to), Path: "/spec/address",
			Summary: fmt.Sprintf("address %s %s", showAddress(t.Value), p.what), Hint: p.hint, Edits: p.edits(t.Range)}}
	}
	a, wrong := splitAddress(t.Value)
	if wrong != nil {
		return bad(withProtocol(*wrong, t.Value, "0.0.0.0"))
	}
	if a.scheme != "http" && a.scheme != "https" {
		return bad(wrongScheme(a.scheme, t.Value, "http", "https"))
	}
	if a.port == 0 {
		return bad(problem{what: "has no port", hint: "write protocol://host:port, such as " + a.scheme + "://" + bracket(a.host) + ":8081" + a.path})
	}
	var ds diag.List
	ip, err := netip.ParseAddr(a.host)
	switch {
	case a.host == "localhost":
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case err != nil:
		return bad(problem{what: fmt.Sprintf("has the host %q, expected an IP address to listen on", a.host), hint: "write 0.0.0.0 to listen on every interface"})
	}
	if ip.IsLoopback() {
		ds = append(ds, diag.Diagnostic{Severity: diag.Warning, Code: "link/loopback-address", Subject: t.Range, Path: "/spec/address",
			Summary: fmt.Sprintf("address %q listens on %s only, out of reach from outside", t.Value, a.host), Hint: "write 0.0.0.0 to listen on every interface"})
	}
	if sev, what := reservedPort(a.port, target); what != "" {
		hint := "choose another port"
		if sev == diag.Warning {
			hint = "choose another port if the declarations are to run there"
		}
		ds = append(ds, diag.Diagnostic{Severity: sev, Code: "link/reserved-port", Subject: t.Range, Path: "/spec/address",
			Summary: fmt.Sprintf("port %d %s", a.port, what), Hint: hint})
		if sev == diag.Error {
			return listen{}, ds
		}
	}
	base, wrong := basePath(a.path)
	if wrong != nil {
		if strings.Contains(a.path, "//") {
			wrong.meant = strings.TrimSuffix(t.Value, a.path) + slashes.ReplaceAllString(a.path, "/")
		}
		return bad(*wrong)
	}
	return listen{scheme: a.scheme, addr: netip.AddrPortFrom(ip, a.port), base: base, ok: true}, ds
}

var slashes = regexp.MustCompile("/{2,}")

// basePath strips trailing slashes. Segments that no normalised request path can have are refused.
func basePath(p string) (string, *problem) {
	p = strings.TrimRight(p, "/")
	if p == "" {
		return "", nil
	}
	for s := range strings.SplitSeq(p[1:], "/") {
		switch s {
		case "":
			return "", &problem{what: "has an empty segment in its base path", hint: "write single slashes"}
		case ".", "..":
			return "", &problem{what: fmt.Sprintf("has the segment %q in its base path", s), hint: "write the path that requests have"}
		}
	}
	return p, nil
}

func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// endpoint is where a Service is.
type endpoint struct {
	scheme string // http, https or h2
	host   string
	port   uint16
	ok     bool // false: the address is wrong, which has been said
}

// parseEndpoint judges the address of a Service (flex-resources.md, 3). path is a JSON Pointer to it.
func parseEndpoint(t syntax.Text, path string) (endpoint, diag.List) {
	bad := func(p problem) (endpoint, diag.List) {
		return endpoint{}, diag.List{{Severity: diag.Error, Code: "link/bad-address", Subject: piece(t, p.from, p.to), Path: path,
			Summary: fmt.Sprintf("address %s %s", showAddress(t.Value), p.what), Hint: p.hint, Edits: p.edits(t.Range)}}
	}
	a, wrong := splitAddress(t.Value)
	if wrong != nil {
		return bad(withProtocol(*wrong, t.Value, "host"))
	}
	if a.scheme != "http" && a.scheme != "https" && a.scheme != "h2" {
		p := wrongScheme(a.scheme, t.Value, "http", "https", "h2")
		if slices.Contains([]string{"grpc", "h2c", "http2"}, a.scheme) {
			p.hint, p.meant = "write h2:// for HTTP/2 without TLS", ""
		}
		return bad(p)
	}
	if a.path != "" && a.path != "/" {
		return bad(problem{what: fmt.Sprintf("has the path %q", a.path), hint: "write the path as destinationPath of a route"})
	}
	if !hostName(a.host) {
		return bad(problem{what: fmt.Sprintf("has the host %q, which is neither a name nor an IP address", a.host)})
	}
	var ds diag.List
	if a.port == 0 {
		if a.scheme == "h2" {
			return bad(problem{what: "has no port, and h2 has no default", hint: "write h2://host:port"})
		}
		a.port = map[string]uint16{"http": 80, "https": 443}[a.scheme]
		ds = append(ds, diag.Diagnostic{Severity: diag.Warning, Code: "link/default-port", Subject: t.Range, Path: path,
			Summary: fmt.Sprintf("address %q has no port; %d is used", t.Value, a.port), Hint: fmt.Sprintf("write %s://%s:%d", a.scheme, bracket(a.host), a.port),
			Edits: problem{meant: withPort(t.Value, a.port)}.edits(t.Range)})
	}
	if a.host == "localhost" {
		ds = append(ds, diag.Diagnostic{Severity: diag.Warning, Code: "link/loopback-address", Subject: t.Range, Path: path,
			Summary: fmt.Sprintf("address %q is on the gateway's own host", t.Value), Hint: "write the host of the service if the gateway runs in a container, where localhost is the container itself"})
	}
	return endpoint{scheme: a.scheme, host: a.host, port: a.port, ok: true}, ds
}

// withPort is an address that has none, with a port.
func withPort(address string, port uint16) string {
	scheme, rest, _ := strings.Cut(address, "://")
	end := len(rest)
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		end = i
	}
	return fmt.Sprintf("%s://%s:%d%s", scheme, rest[:end], port, rest[end:])
}

// hostName reports whether s may be a DNS name or an IP address.
func hostName(s string) bool {
	if strings.Contains(s, ":") {
		return true // splitHostPort has judged IPv6 addresses
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if l == "" || len(l) > 63 || strings.IndexFunc(l, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}) >= 0 {
			return false
		}
	}
	return len(s) <= 253
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", name)
}
