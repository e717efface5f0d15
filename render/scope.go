package render

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	ehmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"

	"github.com/flexgw/flexgw/render/match"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// The split list: which path segments of a port are part of a scope's key (design.md, decision 6).
const (
	scopeDepth   = 4  // path segments in a key
	splitAbove   = 8  // a prefix with more APIs below it than this is split
	splitLargest = 32 // prefixes of one depth that are split at most: each costs a comparison per request
)

// scopeHeaders carry the key from the early mutations to the key builder. No upstream may see them.
var scopeHeaders = []string{"x-flexgw-scope", "x-flexgw-scope2", "x-flexgw-scope3", "x-flexgw-scope4"}

// splits says which prefixes of a port's base paths are split: the APIs below them have the next segment in their key.
// It is a pure function of the port's base paths.
type splits struct {
	port  uint16
	root  bool
	below [scopeDepth - 1][]string // below[d-1]: the split prefixes of d segments ("/api", "/api/v1"), sorted
}

// newSplits makes the split list of one port. Base paths are normal (match.Normal); their order does not matter.
func newSplits(port uint16, bases []string) *splits {
	own := make(map[string]bool, len(bases))
	for _, b := range bases {
		own[b] = true
	}
	s := &splits{port: port, root: len(bases) > 0 && !own[""]}
	if !s.root {
		return s
	}
	parents := map[string]bool{"": true}
	for d := range s.below {
		count := map[string]int{}
		for _, b := range bases {
			if p, ok := prefix(b, d+1); ok && parents[parent(p)] {
				count[p]++
			}
		}
		s.below[d] = largest(count, own)
		parents = make(map[string]bool, len(s.below[d]))
		for _, p := range s.below[d] {
			parents[p] = true
		}
	}
	return s
}

// largest picks the prefixes to split among those of one depth.
func largest(count map[string]int, own map[string]bool) []string {
	var list []string
	for p, n := range count {
		if n > splitAbove && !own[p] && safePrefix(p) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b)) })
	list = list[:min(len(list), splitLargest)]
	slices.Sort(list)
	return list
}

// safePrefix reports whether a prefix may stand in the listener's expressions without quoting.
func safePrefix(p string) bool {
	for i := range len(p) {
		c := p[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~/", c) >= 0) {
			return false
		}
	}
	return true
}

// prefix returns the first n segments of a base path that has more than n of them or exactly n.
func prefix(base string, n int) (string, bool) {
	end := 0
	for range n {
		if end >= len(base) {
			return "", false
		}
		i := strings.IndexByte(base[end+1:], '/')
		if i < 0 {
			end = len(base)
			continue
		}
		end += 1 + i
	}
	return base[:end], true
}

func parent(p string) string { return p[:max(0, strings.LastIndexByte(p, '/'))] }

// Prefixes lists the split prefixes of a depth (1 to 3 segments), sorted.
func (s *splits) Prefixes(depth int) []string { return s.below[depth-1] }

// Scope returns the key of a base path without the port: up to four segments.
func (s *splits) Scope(base string) []string {
	if !s.root {
		return nil
	}
	var key []string
	for d := 1; d <= scopeDepth; d++ {
		p, ok := prefix(base, d)
		if !ok {
			break
		}
		key = append(key, p[strings.LastIndexByte(p, '/')+1:])
		if d == scopeDepth {
			break
		}
		if _, split := slices.BinarySearch(s.below[d-1], p); !split {
			break
		}
	}
	return key
}

// split sorts the APIs of a listener into scopes.
func split(l *ir.Listener) *port {
	s := newSplits(l.Addr.Port(), basePaths(l.APIs))
	p := &port{listener: l, splits: s}
	p.spelt = slices.ContainsFunc(l.APIs, func(a *ir.API) bool { return match.Normal(a.BasePath) != a.BasePath })
	for _, g := range s.scopes(l.APIs) {
		p.jobs = append(p.jobs, &scopeJob{name: g.name, key: g.key, apis: g.apis})
	}
	return p
}

// spellingClashes finds base paths that overlap only once they are in the form in which requests have them. Package schema
// compares them as they are written.
func spellingClashes(apis []*ir.API) diag.List {
	owner := make(map[string]*ir.API, len(apis))
	for _, a := range apis {
		if n := match.Normal(a.BasePath); n == a.BasePath {
			owner[n] = a
		}
	}
	var l diag.List
	clash := func(a, other *ir.API) {
		l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "render/base-path-clash", Object: a.Origin.Object, Subject: a.Address,
			Summary: fmt.Sprintf("base path %q is %q to Envoy, which overlaps with %q of %s", a.BasePath, match.Normal(a.BasePath), other.BasePath, other.Origin.Object),
			Hint:    "choose base paths of which none is equal to or below another",
			Related: []diag.Related{{Subject: other.Address, Summary: "also declared here"}}})
	}
	for _, a := range apis {
		n := match.Normal(a.BasePath)
		if n == a.BasePath {
			continue
		}
		if other := owner[n]; other != nil {
			clash(a, other)
		} else {
			owner[n] = a
		}
	}
	for _, a := range apis {
		for n := match.Normal(a.BasePath); n != ""; {
			n = parent(n)
			other := owner[n]
			if other == nil {
				continue
			}
			if match.Normal(a.BasePath) != a.BasePath {
				clash(a, other)
			} else if match.Normal(other.BasePath) != other.BasePath {
				clash(other, a)
			}
			break
		}
	}
	return l
}

// scope is the APIs of one port that share a key.
type scope struct {
	name string    // a function of the key, so that a scope is never re-keyed: "8081/api/v1/orders"
	key  []string  // as Envoy compares it: the port, then four segments, unused ones empty
	apis []*ir.API // longest base path first, then by namespace and name
}

// scopes groups the APIs of the port by key, sorted by name. An API whose base path has escapes with letters in them is in
// two scopes, one per spelling (match.Spellings).
func (s *splits) scopes(apis []*ir.API) []scope {
	at := make(map[string]int, len(apis))
	list := make([]scope, 0, len(apis))
	for _, api := range apis {
		for _, base := range match.Spellings(match.Normal(api.BasePath)) {
			segments := s.Scope(base)
			name := scopeName(s.port, segments)
			i, ok := at[name]
			if !ok {
				i = len(list)
				at[name] = i
				list = append(list, scope{name: name, key: scopeFragments(s.port, segments)})
			}
			if !slices.Contains(list[i].apis, api) {
				list[i].apis = append(list[i].apis, api)
			}
		}
	}
	for _, g := range list {
		slices.SortStableFunc(g.apis, func(a, b *ir.API) int {
			return cmp.Or(cmp.Compare(len(match.Normal(b.BasePath)), len(match.Normal(a.BasePath))), cmp.Compare(apiName(a), apiName(b)))
		})
	}
	slices.SortFunc(list, func(a, b scope) int { return cmp.Compare(a.name, b.name) })
	return list
}

// basePaths lists the normal base paths of APIs, for newSplits. Where requests may spell one in two ways both are listed.
func basePaths(apis []*ir.API) []string {
	list := make([]string, 0, len(apis))
	for _, a := range apis {
		list = append(list, match.Spellings(match.Normal(a.BasePath))...)
	}
	return list
}

func scopeName(port uint16, segments []string) string {
	return strings.Join(append([]string{strconv.Itoa(int(port))}, segments...), "/")
}

func scopeFragments(port uint16, segments []string) []string {
	key := make([]string, 1+scopeDepth)
	key[0] = strconv.Itoa(int(port))
	copy(key[1:], segments)
	return key
}

// earlyMutations write the scope headers of a request, over whatever a client sent. The padding makes absent segments
// empty ones; a segment counts only below a split prefix.
func (s *splits) earlyMutations() *ehmv3.HeaderMutation {
	const padding = "/////"
	number := strconv.Itoa(int(s.port))
	first := number + padding
	if s.root {
		// Not the bare NQ: that prefers x-envoy-original-path, by which a client could choose its scope.
		first = number + "%PATH(NQ:PATH)%" + padding
	}
	list := []*mutationrulesv3.HeaderMutation{overwrite(scopeHeaders[0], first)}
	for d, prefixes := range s.below {
		value := padding
		if len(prefixes) > 0 {
			value = "%CEL(" + belowAny(number, prefixes) + " ? request.headers['x-flexgw-scope'] : '" + padding + "')%"
		}
		list = append(list, overwrite(scopeHeaders[d+1], value))
	}
	return &ehmv3.HeaderMutation{Mutations: list}
}

// belowAny is the condition that a request's path is below one of the prefixes.
func belowAny(port string, prefixes []string) string {
	terms := make([]string, len(prefixes))
	for i, p := range prefixes {
		terms[i] = "request.headers['x-flexgw-scope'].startsWith('" + port + p + "/')"
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return "(" + strings.Join(terms, " || ") + ")"
}

func overwrite(name, value string) *mutationrulesv3.HeaderMutation {
	return &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}}
}

// scopedRoutes is the same text in every listener and in the bootstrap's anchor: listeners with equal texts share one
// subscription and one table; a listener with another text would never get its scopes.
func scopedRoutes() *hcmv3.ScopedRoutes {
	return &hcmv3.ScopedRoutes{
		Name:            "flexgw",
		ScopeKeyBuilder: scopeKeyBuilder(),
		RdsConfigSource: policy.ADS(),
		ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: policy.ADS()}},
	}
}

// scopeKeyBuilder takes the port and the first segment from the first header, and each further one from a header of its own.
func scopeKeyBuilder() *hcmv3.ScopedRoutes_ScopeKeyBuilder {
	type builder = hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder
	b := &hcmv3.ScopedRoutes_ScopeKeyBuilder{}
	for i := range 1 + scopeDepth {
		b.Fragments = append(b.Fragments, &builder{Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
			HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
				Name:             scopeHeaders[max(0, i-1)],
				ElementSeparator: "/",
				ExtractType:      &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{Index: uint32(i)},
			},
		}})
	}
	return b
}
