package schema_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

func doc(kind, name, rest string) string {
	return "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: " + kind + "\nmetadata:\n  name: " + name + "\n" + rest + "---\n"
}

// snippets are documents that meet, clash, dangle and break in each other's company.
func snippets() []string {
	api := func(name, port, path, more string) string {
		return doc("ApiInstance", name, "  labels: {tier: gold}\nspec:\n  address: http://0.0.0.0:"+port+path+"\n"+more)
	}
	bind := func(name, target, policy, more string) string {
		return doc("PolicyBinding", name, "spec:\n  targetRef: "+target+"\n  policyRef: {name: "+policy+"}\n"+more)
	}
	limit := "  config: {rateLimits: [{maximumRequests: 1, timePeriodInMilliseconds: 1000}]}\n"
	return []string{
		api("a", "8081", "/a", "  services: {s: {address: http://one:1}}\n"),
		api("a", "8081", "/a", "  services: {s: {address: http://two:2}}\n"),
		api("a", "8082", "/b", "  policies: [{policyRef: {name: cors-flex}}]\n"),
		api("b", "8081", "/a/b", ""), api("b", "8082", "", ""), api("c", "8081", "/c", ""), api("c", "8083", "/c", ""),
		strings.Replace(api("d", "8084", "/d", ""), "http:", "https:", 1),
		doc("ApiInstance", "x", "spec:\n  adress: http://0.0.0.0:1\n"),
		doc("Service", "s", "spec: {address: http://s:80}\n"), doc("Service", "s", "spec: {address: https://s:443}\n"), doc("Service", "a-s", "spec: {address: http://t:80}\n"),
		bind("r1", "{name: b}", "route", "  config: {destinationRef: {name: s}}\n"),
		bind("r1", "{name: c}", "route", "  order: 3\n  config: {destinationRef: {name: ss}}\n  rules: [{path: /x}]\n"),
		bind("r2", "{name: c}", "route-weighted", "  order: 3\n  config: {routes: [{weight: 1, destinationRef: {name: s}}, {weight: 2, destinationRef: {name: a-s}}]}\n"),
		bind("p1", "{name: a}", "rate-limiting-flex", limit), bind("p1", "{name: nobody}", "rate-limiting-flex", limit), bind("p2", "{name: a}", "rate-limiting-flex", "  order: 4\n  config: {}\n"),
		bind("auto", "{kind: Selector, selector: {kind: ApiInstance, labels: {tier: gold}}}", "rate-limiting-flex", "  order: 1\n"+limit),
		bind("auto2", "{kind: Selector, selector: {kind: ApiInstance, labels: {tier: iron}}}", "header-injection-flex", ""),
		bind("t", "{name: d}", "tls", "  config: {certificate: {key: k, crt: c}}\n"), bind("t2", "{kind: Selector, selector: {kind: ApiInstance}}", "tls", "  config: {}\n"),
		bind("o", "{kind: Service, name: s}", "tls-outbound", "  config: {}\n"), bind("o2", "{kind: Service, name: s}", "tls-outbound", "  config: {}\n"),
		bind("m", "{name: a}", "guard-impl", "  config: {mode: block}\n"), bind("m2", "{name: c}", "guard-imp", "  config: {mode: block}\n"),
		doc("Extension", "guard-impl", "spec: {extends: [{name: extension-definition}]}\n"),
		doc("Configuration", "t", "spec: {timeouts: {streamIdleSeconds: 9}}\n"), doc("Configuration", "t2", "spec: {timeouts: {streamIdleSeconds: 8}}\n"),
		"apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata: {name: p}\nspec: {targetRef: {name: a}, http: {headers: {x: y}}}\n---\n",
		"kind: ApiInstance\n---\n", "a: [\n",
	}
}

// TestMemoChangesNothing edits a set at random and compares each load with one that remembers nothing.
func TestMemoChangesNothing(t *testing.T) {
	t.Parallel()
	all := snippets()
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}
		files := map[string]string{}
		for step := range 120 {
			name := fmt.Sprintf("f%d.yaml", r.IntN(9))
			if r.IntN(4) == 0 {
				delete(files, name)
			} else {
				text := ""
				for range 1 + r.IntN(3) {
					text += all[r.IntN(len(all))]
				}
				files[name] = text
			}
			var list []source.File
			for _, n := range slices.Sorted(maps.Keys(files)) {
				list = append(list, source.NewFile(n, []byte(files[n])))
			}
			set := source.NewSet(list)
			g, ds := schema.Load(set, o)
			g2, ds2 := schema.Load(set, schema.Options{Policies: newCatalog()})
			if d := cmp.Diff(lines(ds2), lines(ds)); d != "" {
				t.Fatalf("seed %d, step %d: diagnostics differ (-fresh +memo):\n%s", seed, step, d)
			}
			if d := cmp.Diff(dump(g2), dump(g)); d != "" {
				t.Fatalf("seed %d, step %d: models differ (-fresh +memo):\n%s", seed, step, d)
			}
		}
	}
}

// TestMemoKeepsPointers edits one of many APIs and expects every other element to be the pointer it was.
func TestMemoKeepsPointers(t *testing.T) {
	t.Parallel()
	files := generated(40)
	o := schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}
	before, ds := schema.Load(source.NewSet(files), o)
	if ds.HasErrors() {
		t.Fatal(lines(ds))
	}
	files[7] = source.NewFile(files[7].Name, []byte(generatedAPI(7, 999)))
	after, _ := schema.Load(source.NewSet(files), o)
	apis := func(g *ir.Gateway) map[string]*ir.API {
		m := map[string]*ir.API{}
		for _, l := range g.Listeners {
			for _, a := range l.APIs {
				m[a.Origin.Object.Name] = a
			}
		}
		return m
	}
	was, is := apis(before), apis(after)
	for name := range was {
		if same := was[name] == is[name]; same == (name == "api-00007") {
			t.Errorf("%s: the same pointer as before: %v", name, same)
		}
	}
	for i, u := range before.Upstreams {
		if same := u == after.Upstreams[i]; same == (u.Origin.Object.Name == "api-00007-backend") {
			t.Errorf("%s: the same pointer as before: %v", u.Name, same)
		}
	}
}

// TestUnchangedFilesAreNotRead gives the second load files whose bytes must not be asked for.
func TestUnchangedFilesAreNotRead(t *testing.T) {
	t.Parallel()
	files := generated(10)
	o := schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}
	schema.Load(source.NewSet(files), o)
	for i := range files {
		if i == 3 {
			files[i] = source.NewFile(files[i].Name, []byte(generatedAPI(3, 5)))
			continue
		}
		files[i].Bytes = func() ([]byte, error) {
			t.Errorf("%s is read again", files[i].Name)
			return nil, nil
		}
	}
	if _, ds := schema.Load(source.NewSet(files), o); ds.HasErrors() {
		t.Error(lines(ds))
	}
}

// TestUnreadableFileIsTriedAgain expects no memory of a file that could not be read.
func TestUnreadableFileIsTriedAgain(t *testing.T) {
	t.Parallel()
	good := source.NewFile("a.yaml", []byte(generatedAPI(0, 1)))
	bad := good
	bad.Bytes = func() ([]byte, error) { return nil, fmt.Errorf("permission denied") }
	o := schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}
	if _, ds := schema.Load(source.NewSet([]source.File{bad}), o); !ds.HasErrors() {
		t.Error("an unreadable file is no error")
	}
	if _, ds := schema.Load(source.NewSet([]source.File{good}), o); ds.HasErrors() {
		t.Errorf("the file can be read now:\n%s", lines(ds))
	}
}
