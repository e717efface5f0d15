package render

import (
	"fmt"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/flexgw/flexgw/render/match"
)

// destination is a destinationPath (flex-resources.md, 8.5): exactly one slash stands between it and the forwarded text.
type destination struct {
	bare   string // what is forwarded when there is no text: the path as written, or "/"
	prefix string // what text that starts with a slash is put behind: without a trailing slash, perhaps empty
}

// newDestination escapes what may not stand in a request line; a query of its own is left as it is.
func newDestination(path string) destination {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	text := b.String()
	prefix := strings.TrimRight(text, "/")
	if prefix == "" {
		return destination{bare: "/"}
	}
	if !strings.HasPrefix(prefix, "/") {
		prefix, text = "/"+prefix, "/"+text
	}
	return destination{bare: text, prefix: prefix}
}

// rewrite says what becomes of the path of a matched request.
type rewrite struct {
	join    match.Join
	literal *string // the forwarded text is known: no pattern
	pattern string  // matches the whole path; its groups are the forwarded text
	groups  int
}

// apply sets the rewrite of one destination. The query is carried over by Envoy.
func (w rewrite) apply(a *routev3.RouteAction, d destination) {
	switch {
	case w.literal != nil:
		setPath(a, d.join(*w.literal))
	case w.join == match.Nothing:
		setPath(a, d.bare)
	case w.pattern != "":
		substitution := escapeSubstitution(d.prefix)
		if w.join == match.Other {
			substitution += "/"
		}
		for n := range w.groups {
			substitution += fmt.Sprintf(`\%d`, n+1)
		}
		a.RegexRewrite = &typematcherv3.RegexMatchAndSubstitute{
			Pattern:      &typematcherv3.RegexMatcher{Regex: w.pattern},
			Substitution: substitution,
		}
	}
}

// join puts text behind the destination.
func (d destination) join(text string) string {
	if text == "" {
		return d.bare
	}
	return d.prefix + "/" + strings.TrimPrefix(text, "/")
}

// setPath: path_rewrite is a format, so a percent sign is written twice.
func setPath(a *routev3.RouteAction, path string) {
	a.PathRewrite = strings.ReplaceAll(path, "%", "%%")
}

// escapeSubstitution: RE2 reads \0 to \9 and \\ in a substitution.
func escapeSubstitution(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// wholeRemainder forwards what follows the base path, for rules without groups; a bare base path counts as "/".
func wholeRemainder(base string) rewrite {
	return rewrite{join: match.Other, pattern: "^" + match.Quote(base) + "/?(.*)$", groups: 1}
}
