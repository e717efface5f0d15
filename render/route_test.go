package render

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render/match"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// call is a request as Envoy's router sees it: path normal, with query.
type call struct {
	path, method, authority string
	headers                 map[string][]string
	random                  uint64 // of the stream; below a million
}

// sent is what a route makes of a call.
type sent struct {
	route, cluster, host, path string
	status                     uint32
}

// table is an imitation of Envoy's route table: the first match, whole-value matches over bytes, RE2 substitutions.
type table struct {
	t      testing.TB
	routes []*routev3.Route
	mu     *sync.Mutex
	cache  map[string]*regexp.Regexp
}

func newTable(t testing.TB, routes []*routev3.Route) *table {
	t.Helper()
	for _, r := range routes {
		if err := r.ValidateAll(); err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
	}
	return &table{t, routes, &sync.Mutex{}, map[string]*regexp.Regexp{}}
}

func latin1(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

func (x *table) regex(s string) *regexp.Regexp {
	x.t.Helper()
	re := x.cache[s]
	if re == nil {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			x.t.Fatalf("expression %q is not ASCII", s)
		}
		re = regexp.MustCompile(s)
		x.cache[s] = re
	}
	return re
}

func (x *table) full(regex, s string) bool {
	return x.regex(`\A(?:` + regex + `)\z`).MatchString(latin1(s))
}

func (x *table) find(c call) *routev3.Route {
	path, _, _ := strings.Cut(c.path, "?")
	for _, r := range x.routes {
		if x.pathMatches(r.Match, path) && x.headersMatch(r.Match, c) {
			return r
		}
	}
	return nil
}

func (x *table) pathMatches(m *routev3.RouteMatch, path string) bool {
	switch p := m.PathSpecifier.(type) {
	case *routev3.RouteMatch_Prefix:
		return strings.HasPrefix(path, p.Prefix)
	case *routev3.RouteMatch_Path:
		return path == p.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return path == p.PathSeparatedPrefix || strings.HasPrefix(path, p.PathSeparatedPrefix+"/")
	case *routev3.RouteMatch_SafeRegex:
		return x.full(p.SafeRegex.Regex, path)
	}
	x.t.Fatalf("path specifier %T", m.PathSpecifier)
	return false
}

func (x *table) headersMatch(m *routev3.RouteMatch, c call) bool {
	if f := m.RuntimeFraction; f != nil && c.random >= uint64(f.DefaultValue.Numerator) {
		return false
	}
	for _, h := range m.Headers {
		values := c.headers[h.Name]
		switch h.Name {
		case ":method":
			values = []string{c.method}
		case ":authority":
			values = []string{c.authority}
		}
		ok := h.GetPresentMatch() && len(values) > 0
		if s := h.GetStringMatch(); s != nil {
			ok = slices.ContainsFunc(values, func(v string) bool { return x.full(s.GetSafeRegex().Regex, v) })
		}
		if !ok {
			return false
		}
	}
	return true
}

func (x *table) send(c call) sent {
	r := x.find(c)
	if r == nil {
		return sent{status: 404}
	}
	if d := r.GetDirectResponse(); d != nil {
		return sent{route: r.Name, status: d.Status}
	}
	a := r.GetRoute()
	out := sent{route: r.Name, cluster: a.GetCluster(), host: a.GetHostRewriteLiteral(), status: 200, path: c.path}
	if w := a.GetWeightedClusters(); w != nil {
		var total, sum uint64
		for _, k := range w.Clusters {
			total += uint64(k.Weight.GetValue())
		}
		for _, k := range w.Clusters {
			if sum += uint64(k.Weight.GetValue()); c.random%total < sum {
				out.cluster, out.host = k.Name, k.GetHostRewriteLiteral()
				break
			}
		}
	}
	path, query, has := strings.Cut(c.path, "?")
	switch {
	case a.PathRewrite != "":
		path = strings.ReplaceAll(a.PathRewrite, "%%", "%")
	case a.RegexRewrite != nil:
		path = x.replace(a.RegexRewrite.Pattern.Regex, a.RegexRewrite.Substitution, path)
	}
	if out.path = path; has {
		out.path += "?" + query
	}
	return out
}

// replace is RE2's GlobalReplace for an anchored pattern.
func (x *table) replace(pattern, substitution, path string) string {
	m := x.regex(pattern).FindStringSubmatch(path)
	if m == nil {
		x.t.Fatalf("%q does not match %q, which its route did", pattern, path)
	}
	var b strings.Builder
	for i := 0; i < len(substitution); i++ {
		if substitution[i] != '\\' {
			b.WriteByte(substitution[i])
			continue
		}
		i++
		if substitution[i] == '\\' {
			b.WriteByte('\\')
		} else {
			b.WriteString(m[substitution[i]-'0'])
		}
	}
	return b.String()
}

func testSettings() *ir.Settings {
	return &ir.Settings{UpstreamResponse: 15 * time.Second, StreamIdle: 300 * time.Second, RewriteHost: true}
}

func upstream(name string) *ir.Upstream {
	return &ir.Upstream{Name: name + ".ns.svc", Scheme: "http", Host: name + ".internal", Port: 80}
}

func pat(s string) ir.Pattern { return ir.Pattern{Text: s, Range: diag.Range{File: "a.yaml"}} }

func oneRoute(base, rule, dest string) *ir.API {
	r := &ir.Route{Name: "r", To: []ir.Split{{Weight: 1, Upstream: upstream("u"), Prefix: dest}}}
	if rule != "" {
		r.Rules = []ir.Match{{Path: pat(rule)}}
	}
	return &ir.API{Origin: ir.Origin{Object: diag.Object{Namespace: "ns", Name: "a"}}, BasePath: base, Settings: testSettings(), Routes: []*ir.Route{r}}
}

// A vector is base path, path rule, destination path, request, and the path that is forwarded or 404.
type vector = [5]string

// undeclarable are vectors that validation refuses, and that come out right all the same.
var undeclarable = []vector{
	{"/b", "/x", `/d\1%20%`, "/b/x", `/d\1%20%/x`},
	{"/b", "/x()", `/d\1%20%`, "/b/x", `/d\1%20%`},
	{"/b", "/x(/y)", "d", "/b/x/y", "/d/y"},
	{"/b", "/x(/y)", "/a b\n#é", "/b/x/y", "/a%20b%0A%23%C3%A9/y"},
	{"/café", "", "", "/caf%C3%A9/x", "/x"},
	{"/café", "", "", "/caf%C3%A9", "/"},
	{"/café", "/()?", "/d", "/caf%c3%A9", "/d"},
	{"/a b", "", "", "/a%20b/x", "/x"},
}

// vectors reads those that e2e sends through a real Envoy too: those of flex-resources.md, 15, then ours.
func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/paths.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range append(vectors(t), undeclarable...) {
		base, rule, dest, request, want := v[0], v[1], v[2], v[3], v[4]
		t.Run(strings.Join(v[:4], " "), func(t *testing.T) {
			t.Parallel()
			routes, l := apiRoutes(nil, oneRoute(base, rule, dest))
			if l.HasErrors() {
				t.Fatal(l)
			}
			got := newTable(t, routes).send(call{path: request, method: "GET", authority: "h"})
			answer := got.path
			if answer == "" {
				answer = fmt.Sprint(got.status)
			}
			if answer != want {
				t.Errorf("%q, want %q\n%v", answer, want, routes)
			}
		})
	}
}

// reference is the product's rule, word by word: 8.3 to 8.5. "": no match.
func reference(base string, re *regexp.Regexp, dest, path string) string {
	path, query, has := strings.Cut(path, "?")
	if !under(path, base) {
		return ""
	}
	rest := path[len(base):]
	if rest == "" {
		rest = "/"
	}
	m := re.FindStringSubmatch(rest)
	if m == nil {
		return ""
	}
	out := rest
	if re.NumSubexp() > 0 {
		out = strings.Join(m[1:], "")
	}
	d := strings.TrimRight(dest, "/")
	switch {
	case out != "":
		out = d + "/" + strings.TrimPrefix(out, "/")
	case d == "":
		out = "/"
	default:
		out = dest
	}
	if has {
		out += "?" + query
	}
	return out
}

// randomPattern grows a pattern with groups, alternatives and optional parts.
func randomPattern(r *rand.Rand, depth int) string {
	leaf := []string{"/", "/", "/a", "/b", "a", "b", "ab", ".", ".*", "[^/]+", "[ab]", "[ab/]*", `\w+`, `\d`, "/.*", ".*?", "b*", "", "(?i:A)", `\b`, `\B`}
	if depth == 0 || r.IntN(4) == 0 {
		return leaf[r.IntN(len(leaf))]
	}
	sub := func() string { return randomPattern(r, depth-1) }
	switch r.IntN(8) {
	case 0, 1:
		return sub() + sub()
	case 2:
		return sub() + sub() + sub()
	case 3:
		return "(" + sub() + ")"
	case 4:
		return "(" + sub() + ")?"
	case 5:
		return "(?:" + sub() + "|" + sub() + ")"
	case 6:
		return "(?:" + sub() + ")" + []string{"?", "*", "+", "??", "*?", "{1,2}", "{2}", "{0,2}?"}[r.IntN(8)]
	}
	return "/" + sub()
}

// randomPath has no empty and no dot segment.
func randomPath(r *rand.Rand, base string) string {
	b := base
	if r.IntN(8) == 0 {
		b += "ab"[:1+r.IntN(2)]
	}
	for range r.IntN(4) {
		b += "/" + []string{"a", "b", "ab", "ba", "a1", "1", "aab", "A", "abab"}[r.IntN(9)]
	}
	if b == "" || r.IntN(4) == 0 {
		b += "/"
	}
	b = strings.ReplaceAll(b, "//", "/")
	if r.IntN(5) == 0 {
		b += "?x=/a/b"
	}
	if b[0] != '/' {
		b = "/" + b
	}
	return b
}

// checkPattern compares the routes of one rule with the product's rule on many paths, and the condition of a policy with the
// same rule too. It reports how many paths matched; -1: the pattern is refused.
func checkPattern(t *testing.T, r *rand.Rand, base, pattern, dest string, paths int) int {
	t.Helper()
	if _, err := syntax.Parse(pattern, syntax.Perl); err != nil || pattern == "" { // nothing declared
		return -1
	}
	routes, l := apiRoutes(nil, oneRoute(base, pattern, dest))
	if l.HasErrors() {
		return -1
	}
	x := newTable(t, routes)
	re := regexp.MustCompile(`\A(?:` + pattern + `)\z`)
	condition, _ := match.PathValue(base, pat(pattern))
	hits := 0
	for range paths {
		p := randomPath(r, base)
		want := reference(base, re, dest, p)
		got := x.send(call{path: p, method: "GET", authority: "h"}).path
		if got != want {
			t.Fatalf("base %q, pattern %q, destination %q, path %q: %q, want %q\n%v", base, pattern, dest, p, got, want, routes)
		}
		if under(strings.SplitN(p, "?", 2)[0], base) && condition != "" && x.full(condition, p) != (want != "") {
			t.Fatalf("base %q, pattern %q, path %q: condition %q says %t", base, pattern, p, condition, want == "")
		}
		if want != "" {
			hits++
		}
	}
	return hits
}

func TestRoutesFollowTheReference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 13))
	n := 4000
	if testing.Short() {
		n = 500
	}
	bases, dests := []string{"", "/a", "/a/b", "/ab"}, []string{"", "/", "/d", "/d/", "/d/e"}
	hits, refused := 0, 0
	for range n {
		h := checkPattern(t, r, bases[r.IntN(len(bases))], randomPattern(r, 1+r.IntN(4)), dests[r.IntN(len(dests))], 30)
		if h < 0 {
			refused++
		} else {
			hits += h
		}
	}
	t.Logf("%d of %d patterns refused, %d requests matched", refused, n, hits)
	if hits < 5*n || refused > n/3 {
		t.Errorf("too few tried: %d requests matched, %d of %d patterns refused", hits, refused, n)
	}
}

func FuzzRoutes(f *testing.F) {
	f.Add("/a", "/x(?:/(b))?(/.*)?", "/d", uint64(1))
	f.Add("", "((/a)|b)*(.*?)b?", "", uint64(2))
	f.Fuzz(func(t *testing.T, base, pattern, dest string, seed uint64) {
		if len(pattern) > 60 || strings.ContainsFunc(base+pattern+dest, func(c rune) bool { return c < ' ' || c > '~' }) ||
			match.Normal(base) != base || strings.ContainsAny(base+dest, "%?# ") || dest != "" && dest[0] != '/' || strings.HasPrefix(dest, "//") {
			t.Skip()
		}
		re, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil || strings.Contains(re.String(), "(?m") || strings.Contains(pattern, "?m") {
			t.Skip()
		}
		checkPattern(t, rand.New(rand.NewPCG(seed, 1)), base, pattern, dest, 10)
	})
}

func TestRules(t *testing.T) {
	t.Parallel()
	u := upstream("u")
	api := &ir.API{Origin: ir.Origin{Object: diag.Object{Namespace: "ns", Name: "a"}}, BasePath: "/b", Settings: testSettings(), Routes: []*ir.Route{
		{Name: "first", To: []ir.Split{{Weight: 1, Upstream: u}}, Rules: []ir.Match{
			{Path: pat("/x(/.*)"), Method: pat("GET|POST")},
			{Path: pat("/(.*)"), Headers: []ir.HeaderPattern{{Name: "x-batch", Pattern: pat("1|2")}}},
		}},
		{Name: "second", To: []ir.Split{{Weight: 1, Upstream: u}}, Rules: []ir.Match{{Host: pat("stay"), Headers: []ir.HeaderPattern{{Name: "x-any", Pattern: pat(".*")}}}}},
	}}
	routes, l := apiRoutes(nil, api)
	if len(l) > 0 {
		t.Fatal(l)
	}
	x := newTable(t, routes)
	for _, c := range []struct {
		call
		route, path string
	}{
		{call{path: "/b/x/y", method: "GET"}, "ns/a/first/1", "/y"},
		{call{path: "/b/x/y", method: "GETX"}, "ns/a/unmatched", ""},
		{call{path: "/b/x/y", method: "PUT", headers: map[string][]string{"x-batch": {"0", "2"}}}, "ns/a/first/3", "/x/y"},
		{call{path: "/b/x/y", method: "PUT", headers: map[string][]string{"x-batch": {"1,2"}}}, "ns/a/unmatched", ""},
		{call{path: "/b/x/y", method: "PUT", authority: "stay:80", headers: map[string][]string{"x-any": {""}}}, "ns/a/second/1", "/x/y"},
		{call{path: "/b/x/y", method: "PUT", authority: "stay"}, "ns/a/unmatched", ""},
		{call{path: "/c", method: "GET"}, "", ""},
	} {
		if got := x.send(c.call); got.route != c.route || got.path != c.path {
			t.Errorf("%v: %+v, want %q %q", c.call, got, c.route, c.path)
		}
	}
}

func TestUnmatchedWithoutBasePath(t *testing.T) {
	t.Parallel()
	routes, _ := apiRoutes(nil, oneRoute("", "/a", ""))
	if got := newTable(t, routes).send(call{path: "/b"}); got.route != "ns/a/unmatched" || got.status != 404 {
		t.Errorf("%+v", got)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scheme, host string
		port         uint16
		off          bool
		want         string
	}{
		{"http", "x.internal", 80, false, "x.internal"},
		{"http", "x.internal", 443, false, "x.internal:443"},
		{"https", "x.internal", 443, false, "x.internal"},
		{"https", "x.internal", 9443, false, "x.internal:9443"},
		{"h2", "x.internal", 80, false, "x.internal"},
		{"http", "::1", 8080, false, "[::1]:8080"},
		{"https", "fd00::1", 443, false, "[fd00::1]"},
		{"http", "10.0.0.1", 80, false, "10.0.0.1"},
		{"http", "x.internal", 81, true, ""},
	} {
		api := oneRoute("/b", "", "")
		api.Settings.RewriteHost = !c.off
		api.Routes[0].To[0].Upstream = &ir.Upstream{Scheme: c.scheme, Host: c.host, Port: c.port}
		routes, _ := apiRoutes(nil, api)
		if got := routes[0].GetRoute().GetHostRewriteLiteral(); got != c.want {
			t.Errorf("%v: %q", c, got)
		}
	}
}

// Whether shares are clusters' weights or routes of their own, they are those of the declaration.
func TestWeights(t *testing.T) {
	t.Parallel()
	for _, dests := range [][]string{{"/d", "/d", "/d"}, {"/d", "/d/", "/e"}, {"", "/", "/e"}} {
		for _, weights := range [][]uint32{{50, 30, 20}, {1, 1, 1}, {100, 1, 1}} {
			api := oneRoute("/b", "/k(/.*)?", "")
			api.Routes[0].To = nil
			var sum uint64
			for i, d := range dests {
				api.Routes[0].To = append(api.Routes[0].To, ir.Split{Weight: weights[i], Prefix: d, Upstream: upstream(fmt.Sprint("u", i))})
				sum += uint64(weights[i])
			}
			routes, l := apiRoutes(nil, api)
			if len(l) > 0 {
				t.Fatal(l)
			}
			x := newTable(t, routes)
			re := regexp.MustCompile(`\A(?:/k(/.*)?)\z`)
			for _, path := range []string{"/b/k", "/b/k/x?y"} {
				count := map[string]uint64{}
				const draws = 1_000_000
				step := uint64(977)
				for n := uint64(0); n < draws; n += step {
					got := x.send(call{path: path, random: n})
					count[got.cluster]++
					i := int(got.host[1] - '0')
					if want := reference("/b", re, dests[i], path); got.path != want || got.host != fmt.Sprintf("u%d.internal", i) {
						t.Fatalf("%v: %+v, want %q", dests, got, want)
					}
				}
				for i, w := range weights {
					share := float64(count[fmt.Sprintf("http:u%d.internal:80", i)]) * float64(step) / draws
					if want := float64(w) / float64(sum); share < want-0.01 || share > want+0.01 {
						t.Errorf("%v %v: share of %d is %f, want %f", dests, weights, i, share, want)
					}
				}
			}
		}
	}
}

func TestSharesAreExact(t *testing.T) {
	t.Parallel()
	api := oneRoute("/b", "", "")
	api.Routes[0].To = []ir.Split{{Weight: 1, Prefix: "/a", Upstream: upstream("a")}, {Weight: 1, Prefix: "/b", Upstream: upstream("b")}, {Weight: 1, Prefix: "/c", Upstream: upstream("c")}}
	routes, _ := apiRoutes(nil, api)
	var got []uint32
	for _, r := range routes[:3] {
		got = append(got, r.Match.GetRuntimeFraction().GetDefaultValue().GetNumerator())
	}
	if d := cmp.Diff([]uint32{333333, 666667, 0}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestRouteNamesAreUnique(t *testing.T) {
	t.Parallel()
	api := oneRoute("/b", "/foo(.*)", "/d")
	api.Routes = append(api.Routes, api.Routes[0], oneRoute("/b", "/k(/.*)?", "").Routes[0])
	routes, _ := apiRoutes(nil, api)
	seen := map[string]bool{}
	for _, r := range routes {
		if seen[r.Name] || r.Name == "" {
			t.Errorf("name %q twice", r.Name)
		}
		seen[r.Name] = true
	}
}

func TestRouteDiagnostics(t *testing.T) {
	t.Parallel()
	api := oneRoute("/b", "/(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)", "")
	api.Routes[0].Origin = ir.Origin{Object: diag.Object{Kind: "ApiInstance", Namespace: "ns", Name: "a"}}
	api.Routes[0].Rules = append(api.Routes[0].Rules, ir.Match{Path: pat("/a$b")}, ir.Match{Method: pat("(?!x)")}, ir.Match{Path: pat("/ok")})
	routes, l := apiRoutes(nil, api)
	var got []string
	for _, d := range l {
		got = append(got, string(d.Code))
		if d.Subject.File != "a.yaml" || d.Object.Name != "a" {
			t.Errorf("no place or object: %+v", d)
		}
	}
	if d := cmp.Diff([]string{"render/too-many-groups", "render/anchor", "render/pattern"}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if len(routes) != 2 {
		t.Errorf("%d routes, want the last rule's and the 404", len(routes))
	}
}

func BenchmarkRoutes(b *testing.B) {
	for _, rule := range []string{"", "/orders/.*", "/orders(/.*)", "/orders(/.*)?", `/x(?:/(\w+))?/y(/.*)?`} {
		api := oneRoute("/api/v1/shop", rule, "/d")
		b.Run(rule, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				apiRoutes(nil, api)
			}
		})
	}
}
