package render

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

func apisOf(bases ...string) []*ir.API {
	var list []*ir.API
	for i, b := range bases {
		list = append(list, &ir.API{BasePath: b, Origin: ir.Origin{Object: diag.Object{Namespace: "ns", Name: fmt.Sprintf("api%d", i)}}})
	}
	return list
}

func childrenOf(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%s/r%02d", prefix, i))
	}
	return list
}

func TestSplits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		bases []string
		want  [3][]string
		scope map[string]string // base path → name
	}{
		{name: "nothing"},
		{name: "one segment each", bases: []string{"/a", "/b"}, scope: map[string]string{"/a": "8081/a", "/b": "8081/b", "/c/d": "8081/c"}},
		{name: "an empty base path leaves the root whole", bases: append(childrenOf("/api", 20), ""),
			scope: map[string]string{"": "8081", "/api/r01": "8081"}},
		{name: "eight below are not split", bases: childrenOf("/api", 8), scope: map[string]string{"/api/r01": "8081/api"}},
		{name: "nine below are", bases: childrenOf("/api", 9), want: [3][]string{{"/api"}}, scope: map[string]string{"/api/r01": "8081/api/r01"}},
		{name: "not below a base path", bases: append(childrenOf("/api", 9), "/api"), scope: map[string]string{"/api/r01": "8081/api"}},
		{name: "three deep", bases: childrenOf("/a/b/c", 9), want: [3][]string{{"/a"}, {"/a/b"}, {"/a/b/c"}},
			scope: map[string]string{"/a/b/c/r03": "8081/a/b/c/r03"}},
		{name: "four equal segments share", bases: childrenOf("/a/b/c/d", 9), want: [3][]string{{"/a"}, {"/a/b"}, {"/a/b/c"}},
			scope: map[string]string{"/a/b/c/d/r03": "8081/a/b/c/d"}},
		{name: "unusual characters are not split", bases: childrenOf("/a+b", 9), scope: map[string]string{"/a+b/r01": "8081/a+b"}},
		{name: "a child is split only below a split parent", bases: childrenOf("/a%20b/c", 9), scope: map[string]string{"/a%20b/c/r01": "8081/a%20b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSplits(8081, c.bases)
			got := [3][]string{s.Prefixes(1), s.Prefixes(2), s.Prefixes(3)}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("prefixes -want +got:\n%s", d)
			}
			for base, want := range c.scope {
				if got := scopeName(8081, s.Scope(base)); got != want {
					t.Errorf("scope of %q: %q, want %q", base, got, want)
				}
			}
		})
	}
}

func TestSplitsTakeTheLargest(t *testing.T) {
	t.Parallel()
	var bases []string
	for i := range 40 {
		bases = append(bases, childrenOf(fmt.Sprintf("/p%02d", i), 9+i%2)...)
	}
	s := newSplits(8081, bases)
	got := s.Prefixes(1)
	if len(got) != splitLargest {
		t.Fatalf("%d prefixes, want %d", len(got), splitLargest)
	}
	for i := range 40 {
		p := fmt.Sprintf("/p%02d", i)
		want := i%2 == 1 || i < 24 // the 20 larger ones, then the first 12 others by name
		if has := strings.Contains(strings.Join(got, " ")+" ", p+" "); has != want {
			t.Errorf("%s is split: %t, want %t", p, has, want)
		}
	}
}

func TestSplitsIgnoreOrder(t *testing.T) {
	t.Parallel()
	bases := append(childrenOf("/api/v1", 30), childrenOf("/api/v2", 12)...)
	want := newSplits(8081, bases)
	rand.Shuffle(len(bases), func(i, j int) { bases[i], bases[j] = bases[j], bases[i] })
	if d := cmp.Diff(want.below, newSplits(8081, bases).below); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestScopesOfSpellings(t *testing.T) {
	t.Parallel()
	apis := apisOf("/café", "/b/c", "/b", "/a%20b")
	var got []string
	for _, g := range newSplits(8081, basePaths(apis)).scopes(apis) {
		line := g.name + " " + fmt.Sprint(g.key)
		for _, a := range g.apis {
			line += " " + a.BasePath
		}
		got = append(got, line)
	}
	want := []string{
		"8081/a%20b [8081 a%20b   ] /a%20b",
		"8081/b [8081 b   ] /b/c /b",
		"8081/caf%C3%A9 [8081 caf%C3%A9   ] /café",
		"8081/caf%c3%a9 [8081 caf%c3%a9   ] /café",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestSpellingClashes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bases []string
		want  []string
	}{
		{[]string{"/a", "/b%20c", "/d"}, nil},
		{[]string{"/api", "/%61pi"}, []string{"/%61pi"}},
		{[]string{"/caf%C3%A9", "/caf%c3%a9"}, []string{"/caf%c3%a9"}},
		{[]string{"/api", "/%61pi/x"}, []string{"/%61pi/x"}},
		{[]string{"/api/x", "/%61pi"}, []string{"/%61pi"}},
		{[]string{"/%61", "/%61/b/c"}, []string{"/%61/b/c"}},
		{[]string{"", "/%61"}, []string{"/%61"}},
	} {
		var got []string
		for _, d := range spellingClashes(apisOf(c.bases...)) {
			got = append(got, strings.Split(d.Summary, `"`)[1])
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q -want +got:\n%s", c.bases, d)
		}
	}
}

func TestEarlyMutations(t *testing.T) {
	t.Parallel()
	s := newSplits(8081, append(childrenOf("/api/v1", 9), childrenOf("/web", 9)...))
	var got []string
	for _, m := range s.earlyMutations().Mutations {
		got = append(got, m.GetAppend().Header.Key+": "+m.GetAppend().Header.Value)
	}
	h := "request.headers['x-flexgw-scope']"
	want := []string{
		"x-flexgw-scope: 8081%PATH(NQ:PATH)%/////",
		"x-flexgw-scope2: %CEL((" + h + ".startsWith('8081/api/') || " + h + ".startsWith('8081/web/')) ? " + h + " : '/////')%",
		"x-flexgw-scope3: %CEL(" + h + ".startsWith('8081/api/v1/') ? " + h + " : '/////')%",
		"x-flexgw-scope4: /////",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	whole := newSplits(80, []string{"", "/a"}).earlyMutations().Mutations[0].GetAppend().Header.Value
	if whole != "80/////" {
		t.Errorf("a port without splits: %q, want %q", whole, "80/////")
	}
}

// envoyKey is what the mutations and the key builder make of a path without query.
func envoyKey(s *splits, path string) string {
	h := []string{fmt.Sprint(s.port) + "/////"}
	if s.root {
		h[0] = fmt.Sprint(s.port) + path + "/////"
	}
	for d := range 3 {
		v := "/////"
		for _, p := range s.Prefixes(d + 1) {
			if strings.HasPrefix(h[0], fmt.Sprint(s.port)+p+"/") {
				v = h[0]
			}
		}
		h = append(h, v)
	}
	var key []string
	for i, f := range scopedRoutes().ScopeKeyBuilder.Fragments {
		e := f.GetHeaderValueExtractor()
		for k, name := range scopeHeaders {
			if name == e.Name {
				key = append(key, strings.Split(h[k], "/")[e.GetIndex()])
			}
		}
		if len(key) != i+1 {
			panic("unknown header " + e.Name)
		}
	}
	return strings.Join(key, "/")
}

// under reports whether a path is a base path or below it.
func under(path, base string) bool {
	return base == "" || path == base || strings.HasPrefix(path, base+"/")
}

func longest(apis []*ir.API, path string) *ir.API {
	var best *ir.API
	for _, a := range apis {
		if under(path, a.BasePath) && (best == nil || len(a.BasePath) > len(best.BasePath)) {
			best = a
		}
	}
	return best
}

// Whatever the base paths, nested ones included: the scope that Envoy finds holds the API that a flat table would find.
func TestScopeAndRouteAgree(t *testing.T) {
	t.Parallel()
	hits := 0
	for seed := range uint64(300) {
		hits += scopesAgree(t, seed)
	}
	if hits < 1000 {
		t.Errorf("only %d paths hit an API", hits)
	}
}

// FuzzScopeAndRoute looks for a set of base paths in which a path reaches another API through its scope than through one
// flat table.
func FuzzScopeAndRoute(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { scopesAgree(t, seed) })
}

// scopesAgree compares both for random paths and a random set of base paths; it returns how many paths hit an API.
func scopesAgree(t *testing.T, seed uint64) (hits int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	words := []string{"a", "b", "c", "api", "v1", "x;y", "e%20f"}
	path := func(depth int) string {
		p := ""
		for range rnd.IntN(depth + 1) {
			p += "/" + words[rnd.IntN(len(words))]
		}
		return p
	}
	set := map[string]bool{}
	for range 1 + rnd.IntN(80) {
		if p := path(6); p != "" || rnd.IntN(20) == 0 {
			set[p] = true
		}
	}
	bases := slices.Sorted(maps.Keys(set))
	apis := apisOf(bases...)
	s := newSplits(8081, basePaths(apis))
	byKey := map[string][]*ir.API{}
	for _, g := range s.scopes(apis) {
		byKey[strings.Join(g.key, "/")] = g.apis
	}
	for range 200 {
		p := path(7)
		if p == "" || rnd.IntN(5) == 0 {
			p += "/"
		}
		var got *ir.API
		for _, a := range byKey[envoyKey(s, p)] {
			if under(p, a.BasePath) {
				got = a
				break
			}
		}
		want := longest(apis, p)
		if got != want {
			t.Fatalf("path %q of %q: scope has %v, flat table %v", p, bases, got, want)
		}
		if want != nil {
			hits++
		}
	}
	return hits
}

func tenThousand() []*ir.API {
	var bases []string
	for i := range 10000 {
		bases = append(bases, fmt.Sprintf("/api/v%d/group%d/service%d", i%3, i%50, i))
	}
	return apisOf(bases...)
}

func BenchmarkSplits(b *testing.B) {
	apis := tenThousand()
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			newSplits(8081, basePaths(apis))
		}
	})
	s := newSplits(8081, basePaths(apis))
	b.Run("scopes", func(b *testing.B) {
		for b.Loop() {
			s.scopes(apis)
		}
	})
}
