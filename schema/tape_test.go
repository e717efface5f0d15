package schema_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// manyFiles are those of all cases, and some more.
func manyFiles(t *testing.T) []source.File {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases", err)
	}
	var out []source.File
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(f.Name)) && !strings.HasPrefix(f.Name, "want/") {
				out = append(out, source.NewFile(f.Name, f.Data))
			}
		}
	}
	for i, text := range snippets() {
		out = append(out, source.NewFile(fmt.Sprintf("snippet%d.yaml", i), []byte(text)))
	}
	return append(append(out, generated(3)...), source.NewFile("rich.yaml", []byte(richFile)), source.NewFile("large.yaml", []byte(strings.Repeat(richFile+"---\n", 9))))
}

// richFile has a value in every field that a tape holds.
const richFile = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: rich, namespace: shop, labels: {tier: gold, "team": 'payments'}}
spec:
  address: http://[::1]:8081/rich/
  services:
    one:
      address: h2://ONE.example.org:8080
      routes:
        - config: {destinationPath: /v1}
          rules: [{path: "/a(/.*)", host: a.example, methods: GET|POST, headers: {X-Channel: "mobile", x-key: hidden-text}}, {path: /b}]
        - rules: [{path: /naïve}]
    two: {address: "https://two.example.org"}
  policies:
    - policyRef: {name: header-injection-flex, namespace: default}
      config: {inboundHeaders: [{key: x, value: hidden-value}]}
      rules: [{path: /c, headers: {x-key: hidden-text}}]
    - policyRef: {name: http-basic-authentication-flex}
      config: {username: alice, password: hidden-password}
    - policyRef: {name: route}
      config: {destinationRef: {name: one, namespace: shop}, destinationPath: /v2}
      rules: [{methods: PUT}]
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: late, namespace: shop}
spec:
  targetRef: {kind: Selector, selector: {kind: ApiInstance, labels: {tier: gold}}}
  policyRef: {name: rate-limiting-flex, namespace: default}
  order: -3
  config: {rateLimits: [{maximumRequests: 1, timePeriodInMilliseconds: 1000}]}
  rules:
    - path: /d
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: split}
spec:
  targetRef: {name: rich, namespace: shop}
  policyRef: {name: route-weighted}
  order: 4
  config: {routes: [{weight: 30, destinationRef: {name: one}}, {weight: 70, destinationRef: {name: two}, destinationPath: /x}]}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata: {name: alone}
spec: {address: "http://alone.example.org:80"}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: secret}
spec:
  targetRef: {name: rich, namespace: shop}
  policyRef: {name: http-basic-authentication-flex}
  config: {username: alice, password: $PASSWORD}
`

// TestTapes: what is read from a tape is what was decoded from the file, value for value, and no tape holds a text of its file
// but names.
func TestTapes(t *testing.T) {
	t.Parallel()
	tapes, taped := 0, map[string]int{}
	for _, f := range manyFiles(t) {
		for _, env := range []map[string]string{{}, {"PASSWORD": "hidden-variable", "KEY": "k"}} {
			o := schema.Options{Policies: newCatalog(), AllowUnenforced: true, Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
			tape, differs := schema.Replayed(f, o)
			if differs != "" {
				b, _ := f.Bytes()
				t.Errorf("%s:\n%s\nreads as\n%s", f.Name, b, differs)
			}
			if tape != nil {
				tapes++
				taped[f.Name]++
			}
			if bytes.Contains(tape, []byte("hidden")) {
				t.Errorf("%s: its tape holds a secret: %q", f.Name, tape)
			}
		}
	}
	if tapes < 100 || taped["rich.yaml"] != 2 || taped["large.yaml"] != 2 {
		t.Errorf("there are %d tapes, of rich.yaml %d, of large.yaml %d", tapes, taped["rich.yaml"], taped["large.yaml"])
	}
}

// TestOddTapes: bytes that are no tape of a file are none, or one of something; they do no harm.
func TestOddTapes(t *testing.T) {
	t.Parallel()
	o := schema.Options{Policies: newCatalog()}
	f := source.NewFile("rich.yaml", []byte(richFile))
	tape, _ := schema.Replayed(f, o)
	if !schema.Play(f, o, tape) {
		t.Fatal("the tape itself is none")
	}
	for n := range tape {
		if schema.Play(f, o, tape[:n]) {
			t.Errorf("its first %d bytes are a tape", n)
		}
		for _, x := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			b := bytes.Clone(tape)
			b[n] = x
			schema.Play(f, o, b)
		}
	}
	if schema.Play(f, o, append(bytes.Clone(tape), 0)) {
		t.Error("a byte more is a tape")
	}
	if schema.Play(source.NewFile("rich.yaml", []byte(richFile[:100])), o, tape) {
		t.Error("it is the tape of a shorter file")
	}
}

// shelf keeps what is sound in memory.
type shelf struct {
	mu    sync.Mutex
	tapes map[source.Hash][]byte
	said  map[source.Hash]diag.List
	hits  int
}

func (s *shelf) Known(f source.File) ([]byte, diag.List, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tape, ok := s.tapes[nameAndHash(f)]
	if ok {
		s.hits++
	}
	return bytes.Clone(tape), slices.Clone(s.said[nameAndHash(f)]), ok
}

func (s *shelf) Keep(f source.File, tape []byte, said diag.List) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tapes[nameAndHash(f)], s.said[nameAndHash(f)] = bytes.Clone(tape), slices.Clone(said)
}

func nameAndHash(f source.File) source.Hash {
	return source.NewFile("", append(f.Hash[:], f.Name...)).Hash
}

// TestSoundChangesNothing changes a set at random and compares each load with one that knows of nothing.
func TestSoundChangesNothing(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	t.Cleanup(func() {
		if n := hits.Load(); n < 100 {
			t.Errorf("only %d files were known", n)
		}
	})
	eachMix(t, 9, func(t *testing.T, r *rand.Rand, pool []string) {
		s := &shelf{tapes: map[source.Hash][]byte{}, said: map[source.Hash]diag.List{}}
		files := map[string]string{}
		for step := range 40 {
			set := mix(r, append(slices.Clip(pool), richFile+"---\n", strings.ReplaceAll(richFile, "order: 4", "order: 5")+"---\n"), files)
			o := schema.Options{Policies: newCatalog(), Salvage: true, Memo: &schema.Memo{Once: true}}
			g2, ds2 := schema.Load(set, o)
			o.Sound, o.Memo = s, &schema.Memo{Once: true}
			g, ds := schema.Load(set, o)
			if d := cmp.Diff(lines(ds2)+dump(g2), lines(ds)+dump(g)); d != "" {
				t.Fatalf("step %d: diagnostics or models differ (-without +with):\n%s", step, d)
			}
		}
		hits.Add(int64(s.hits))
	})
}
