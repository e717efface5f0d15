package schema

import (
	"cmp"
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

	portless       bool // all of it is right but that no port is written
	hostAt, pathAt int  // where they begin, in bytes
}

// problem is what is wrong with an address, and what to do about it.
type problem struct {
	what, hint string
	meant      string // the address that was meant, when that is certain
	from, to   int    // what of the address it is about, in bytes; both 0: all of it
	odd        bool   // it may do all the same
}

func (p problem) severity() diag.Severity {
	if p.odd {
		return diag.Warning
	}
	return diag.Error
}

// piece is where a part of a text stands, in bytes, if what is written is the text itself, bare or in quotes; else it is where all of
// it does.
func piece(t syntax.Text, from, to int) diag.Range {
	r := t.Range
	quotes := int(r.End.Offset-r.Start.Offset) - len(t.Value)
	if from >= to || to > len(t.Value) || r.Start.IsZero() || r.Start.Line != r.End.Line || quotes != 0 && quotes != 2 || int(r.End.Column-r.Start.Column) != utf8.RuneCountInString(t.Value)+quotes {
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

// splitAddress takes an address apart, with the first of what is wrong with it.
func splitAddress(s string) (address, *problem) {
	a, wrong := dissect(s)
	if len(wrong) > 0 {
		return a, &wrong[0]
	}
	return a, nil
}

// dissect takes an address apart and says all that is wrong with it. It judges what holds for APIs and services alike; a part that is
// wrong is not returned.
func dissect(whole string) (a address, wrong []problem) {
	s := strings.TrimSpace(whole)
	from := strings.Index(whole, s)
	say := func(at, length int, what, hint string) {
		wrong = append(wrong, problem{what: what, hint: hint, from: from + at, to: from + at + length})
	}
	scheme, rest, ok := cutScheme(s)
	known := true // what follows the protocol is where it is expected
	switch {
	case ok:
		a.scheme = strings.ToLower(scheme)
	case strings.HasPrefix(s, "$"):
		return a, []problem{{what: "is a variable, which only the config of a policy may have", hint: "write the address itself"}}
	default:
		rest, known = s, false
		hint := "write protocol://host:port"
		if half := halfScheme.FindStringSubmatch(s); half != nil {
			rest, known = s[len(half[0]):], true
			if hint = "write " + strings.ToLower(half[1]) + "://host:port"; strings.IndexFunc(rest, isBlankRune) < 0 && !strings.ContainsAny(rest, "@?#") {
				hint = "write " + strings.ToLower(half[1]) + "://" + rest
			}
		}
		wrong = append(wrong, problem{what: "has no protocol", hint: hint})
	}
	start := len(s) - len(rest)
	authority, tail := splitTail(rest)
	if !known && !strings.Contains(authority, ":") {
		return a, wrong
	}
	if i := userEnd(rest, authority); i > 0 {
		say(start, i, "holds a user name", "remove everything up to the @")
		rest, start = rest[i:], start+i
		authority, tail = splitTail(rest)
	}
	if i := strings.IndexFunc(s, isBlankRune); i >= 0 || s != whole {
		p := problem{what: "holds white space", hint: "remove it"}
		if i < 0 {
			p.meant = s
		} else if s == whole {
			p.from, p.to = i, i+len(s[i:])-len(strings.TrimLeftFunc(s[i:], isBlankRune))
		}
		wrong = append(wrong, p)
	}
	if strings.IndexFunc(authority, isBlankRune) < 0 {
		host, port, bad := splitHostPort(authority)
		n, err := strconv.ParseUint(port, 10, 16)
		a.host, a.hostAt = strings.ToLower(host), from+start+strings.Index(authority, host)
		switch {
		case bad != nil && !known:
		case bad != nil:
			bad.from, bad.to = from+start, from+start+len(authority)
			wrong = append(wrong, *bad)
		case port == "":
			a.portless = true
		case err != nil || n == 0:
			say(start+len(authority)-len(port), len(port), fmt.Sprintf("has the port %q, expected a number from 1 to 65535", port), "correct the number after the last colon")
		default:
			a.port = uint16(n)
		}
	}
	end := len(s) - len(tail)
	if i := strings.IndexAny(tail, "?#"); i >= 0 {
		what := map[byte]string{'?': "a query", '#': "a fragment"}[tail[i]]
		say(end+i, len(tail)-i, "has "+what, fmt.Sprintf("remove everything from the %c on", tail[i]))
		tail = tail[:i]
	}
	if strings.IndexFunc(tail, isBlankRune) < 0 {
		a.path, a.pathAt = tail, from+end
	}
	return a, wrong
}

// cutScheme takes a protocol off. What no protocol looks like may be a user name and a password, if an @ follows.
func cutScheme(s string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(s, "://")
	if ok && strings.Contains(s, "@") && !likeScheme.MatchString(scheme) {
		return "", s, false
	}
	return scheme, rest, ok
}

var likeScheme = regexp.MustCompile(`^\s*[A-Za-z][A-Za-z0-9+.-]*$`)

func splitTail(rest string) (authority, tail string) {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[:i], rest[i:]
	}
	return rest, ""
}

// userEnd is where what comes before a host ends; 0: nothing does. A password may hold anything, also a / that was not escaped, so it
// goes on to the last @: unless an IP address and a port come first, with which no user name begins.
func userEnd(rest, authority string) int {
	path, _, _ := strings.Cut(rest, "?")
	path, _, _ = strings.Cut(path, "#")
	if len(path) > len(authority) && !strings.Contains(rest[len(path):], "@") {
		if port, ok := strings.CutPrefix(authority, "localhost:"); ok {
			authority = "127.0.0.1:" + port
		}
		if _, err := netip.ParseAddrPort(authority); err == nil {
			return 0 // and what has an @ is the path of an API
		}
	}
	return strings.LastIndexByte(rest, '@') + 1
}

// halfScheme is a protocol with what was written for "://".
var halfScheme = regexp.MustCompile(`^(?i)(https?|h2)(?:[:;]?//|[:;]/|;)`)

func isBlankRune(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// withProtocol says how an address that lacks only its protocol is written; host stands for the one that a bare port lacks.
func withProtocol(p problem, s, host string) problem {
	if p.what != "has no protocol" {
		return p
	}
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 0 {
		p.hint = "write http://" + host + ":" + s
	} else if before, path, _ := strings.Cut(s, "/"); isHostPort(before) && strings.IndexFunc(path, isBlankRune) < 0 && !strings.ContainsAny(path, "?#@") {
		p.hint = "write http://" + s
	}
	return p
}

// wrongScheme says that an address has none of the protocols that are known.
func wrongScheme(scheme, address string, known ...string) problem {
	to := diag.Nearest(scheme, known)
	p := problem{what: fmt.Sprintf("has the protocol %q, expected %s", scheme, alternatives(known)), hint: didYouMean(to)}
	ascii := strings.IndexFunc(address, func(r rune) bool { return r >= 0x7f }) < 0 && len(address) > 0 && address[0] > ' '
	if ascii {
		p.to = len(scheme)
	}
	if ascii && to != "" && diag.Unmistakable(scheme, to, known) {
		p.meant = to + address[len(scheme):]
	}
	return p
}

// showPath quotes the path of an address, unless it may be part of a password.
func showPath(p string) string {
	if strings.Contains(p, "@") {
		return "a path"
	}
	return fmt.Sprintf("the path %q", p)
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
		scheme, _, ok := cutScheme(s)
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

// reservedPort judges a port for a release: what is "" where nobody keeps the port.
func reservedPort(port uint16, target ir.Release) (sev diag.Severity, what string) {
	p, ok := ir.ReservedPortAt(port)
	switch {
	case !ok:
		return diag.Note, ""
	case p.Refused(target):
		return diag.Error, p.Words(target)
	}
	return diag.Warning, p.Words(target)
}

// badAddress says all that is wrong with an address. An edit mends what is wrong alone.
func badAddress(t syntax.Text, path string, wrong []problem) diag.List {
	var ds diag.List
	for _, p := range wrong {
		d := diag.Diagnostic{Severity: p.severity(), Code: "link/bad-address", Subject: piece(t, p.from, p.to), Path: path,
			Summary: fmt.Sprintf("address %s %s", showAddress(t.Value), p.what), Hint: p.hint}
		if len(wrong) == 1 {
			d.Edits = p.edits(t.Range)
		}
		ds = append(ds, d)
	}
	return ds
}

// parseListen judges the address of an ApiInstance (flex-resources.md, 2.2 and 8.1).
// may: a port that the target reserves is a listener all the same.
func parseListen(t syntax.Text, target ir.Release, may bool) (listen, diag.List) {
	const path = "/spec/address"
	a, wrong := dissect(t.Value)
	for i := range wrong {
		wrong[i] = withProtocol(wrong[i], t.Value, "0.0.0.0")
	}
	if a.scheme != "" && a.scheme != "http" && a.scheme != "https" {
		wrong = append(wrong, wrongScheme(a.scheme, t.Value, "http", "https"))
	}
	if a.portless {
		wrong = append(wrong, problem{what: "has no port", hint: "write protocol://host:port, such as " + cmp.Or(a.scheme, "http") + "://" + bracket(a.host) + ":8081" + a.path})
	}
	var ds diag.List
	ip, err := netip.ParseAddr(a.host)
	switch {
	case a.host == "":
	case a.host == "localhost":
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case err != nil:
		p := problem{what: fmt.Sprintf("has the host %q, expected an IP address to listen on", a.host), hint: "write 0.0.0.0 to listen on every interface"}
		if b := badIPv4(a.host); b != nil {
			p.what, p.hint = b.what, b.hint
		}
		p.from, p.to = a.hostAt, a.hostAt+len(a.host)
		wrong = append(wrong, p)
	}
	if ip.IsLoopback() {
		ds = append(ds, diag.Diagnostic{Severity: diag.Warning, Code: "link/loopback-address", Subject: t.Range, Path: path,
			Summary: fmt.Sprintf("address %s listens on %s only, out of reach from outside", showAddress(t.Value), a.host), Hint: "write 0.0.0.0 to listen on every interface"})
	}
	reserved := false
	if sev, what := reservedPort(a.port, target); what != "" {
		hint := "choose another port"
		if may {
			sev = diag.Warning
		}
		if sev == diag.Warning {
			hint = "choose another port if the declarations are to run there"
		}
		ds = append(ds, diag.Diagnostic{Severity: sev, Code: "link/reserved-port", Subject: t.Range, Path: path,
			Summary: fmt.Sprintf("port %d %s", a.port, what), Hint: hint})
		reserved = sev == diag.Error
	}
	base, odd := basePath(a.path)
	if odd != nil {
		if strings.Contains(a.path, "//") {
			odd.meant = strings.TrimSuffix(t.Value, a.path) + slashes.ReplaceAllString(a.path, "/")
		}
		odd.from, odd.to = a.pathAt, a.pathAt+len(a.path)
		wrong = append(wrong, *odd)
	}
	ds = append(ds, badAddress(t, path, wrong)...)
	if len(wrong) > 0 || reserved {
		return listen{}, ds
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
	a, wrong := dissect(t.Value)
	for i := range wrong {
		wrong[i] = withProtocol(wrong[i], t.Value, "host")
	}
	known := a.scheme == "http" || a.scheme == "https" || a.scheme == "h2"
	if a.scheme != "" && !known {
		p := wrongScheme(a.scheme, t.Value, "http", "https", "h2")
		if slices.Contains([]string{"grpc", "h2c", "http2"}, a.scheme) {
			p.hint, p.meant = "write h2:// for HTTP/2 without TLS", ""
		}
		wrong = append(wrong, p)
	}
	if a.path != "" && a.path != "/" {
		wrong = append(wrong, problem{what: "has " + showPath(a.path), hint: "write the path as destinationPath of a route", from: a.pathAt, to: a.pathAt + len(a.path)})
	}
	if p := badHost(a.host); a.host != "" && p != nil {
		p.from, p.to = p.from+a.hostAt, p.to+a.hostAt
		wrong = append(wrong, *p)
	}
	if a.portless && a.scheme == "h2" {
		wrong = append(wrong, problem{what: "has no port, and h2 has no default", hint: "write h2://host:port"})
	}
	ds := badAddress(t, path, wrong)
	if ds.HasErrors() {
		return endpoint{}, ds
	}
	if a.portless {
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
	p := badHost(s)
	return p == nil || p.odd
}

// The lengths of names and of their labels: RFC 1035, 2.3.4.
const (
	maxName  = 253
	maxLabel = 63
)

// badHost says what is wrong with a host in lower case; nil: it may be a DNS name or an IP address. RFC 1123, 2.1 forbids labels that begin
// or end with a hyphen, yet some resolvers find them.
func badHost(s string) *problem {
	if strings.Contains(s, ":") {
		return nil // splitHostPort has judged IPv6 addresses
	}
	if p := badIPv4(s); p != nil {
		return p
	}
	has := "has the host " + quoteShort(s)
	at := 0
	var odd *problem
	for l := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		wrong := strings.IndexFunc(l, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		})
		p := problem{from: at, to: at + len(l)}
		at += len(l) + 1
		switch {
		case l == "":
			return &problem{what: has + ", in which a name between two dots is missing", hint: "write single dots", to: len(s)}
		case wrong >= 0:
			r, n := utf8.DecodeRuneInString(l[wrong:])
			p.what, p.hint = fmt.Sprintf("%s, which is neither a name nor an IP address: it holds %q", has, r), "write letters, digits, - and ."
			if r >= 0x80 && unicode.IsLetter(r) {
				p.hint = "write the ASCII form of the name, which begins with xn--"
			}
			p.from += wrong
			p.to = p.from + n
			return &p
		case len(l) > maxLabel:
			p.what, p.hint = fmt.Sprintf("has a host with the label %s of %d characters, expected at most %d", quoteShort(l), len(l), maxLabel), "shorten what stands between two dots"
			return &p
		case l[0] == '-' || l[len(l)-1] == '-':
			p.what, p.hint, p.odd = fmt.Sprintf("%s, whose label %q begins or ends with -", has, l), "remove the - : names with it are not found everywhere", true
			odd = &p
		}
	}
	if len(s) > maxName {
		return &problem{what: fmt.Sprintf("%s of %d characters, expected at most %d", has, len(s), maxName), hint: "shorten the name", to: len(s)}
	}
	return odd
}

// badIPv4 says why a host that is written like an IPv4 address is none; nil: it is one, or is not written like one.
func badIPv4(s string) *problem {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return nil
	}
	numbers := strings.Split(strings.TrimSuffix(s, "."), ".")
	if len(numbers) < 2 || slices.ContainsFunc(numbers, func(l string) bool { return l == "" || strings.Trim(l, "0123456789") != "" }) {
		return nil
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	p := &problem{what: fmt.Sprintf("has the host %s, which is written like an IPv4 address but is none", quoteShort(s)), hint: "remove the dot at its end", to: len(s)}
	if len(numbers) != 4 {
		p.hint = fmt.Sprintf("an IPv4 address has 4 numbers, this one has %d", len(numbers))
		return p
	}
	for _, l := range numbers {
		switch n, err := strconv.ParseUint(l, 10, 16); {
		case err != nil || n > 255:
			p.hint = fmt.Sprintf("each of its numbers is at most 255, found %s", shorten(l))
			return p
		case len(l) > 1 && l[0] == '0':
			p.hint = fmt.Sprintf("write %d for %s: a zero in front makes it an octal number for some", n, l)
			return p
		}
	}
	return p
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", name)
}
