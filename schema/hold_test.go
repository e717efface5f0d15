package schema_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/testkit"
)

// below is the set of a case's files in one folder.
func below(c *testkit.Case, folder string) source.Set {
	var files []source.File
	for _, f := range c.Files {
		if name, ok := strings.CutPrefix(f.Name, folder+"/"); ok {
			files = append(files, source.NewFile(name, f.Data))
		}
	}
	set := source.NewSet(files)
	set.Revision = folder
	return set
}

func objectOf(t *testing.T, text string) diag.Object {
	t.Helper()
	kind, rest, ok := strings.Cut(text, " ")
	ns, name, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		t.Fatalf("%q is no object", text)
	}
	return diag.Object{Group: "gateway.mulesoft.com", Kind: kind, Namespace: ns, Name: name}
}

func heldLines(l []schema.Held) string {
	var b strings.Builder
	for _, h := range l {
		fmt.Fprintln(&b, h)
	}
	return b.String()
}

// TestHeldCases holds what is wrong in the files below set/ at those below good/, with a memo and without one. A line
// "wrong: Kind namespace/name" of the comment names an object that was refused.
func TestHeldCases(t *testing.T) {
	t.Parallel()
	testkit.Run(t, "testdata/hold/*.txtar", func(t *testing.T, c *testkit.Case) {
		var wrong []diag.Object
		if v, ok := c.Flag("wrong"); ok {
			wrong = append(wrong, objectOf(t, v))
		}
		set, good := below(c, "set"), below(c, "good")
		o := schema.Options{Policies: newCatalog(), RequireEnv: true}
		g, held, ds := schema.LoadHeld(set, good, wrong, o)
		o.Memo = &schema.Memo{}
		schema.Load(good, o)
		for i := range 2 {
			g2, held2, ds2 := schema.LoadHeld(set, good, wrong, o)
			if d := gocmp.Diff(dump(g)+heldLines(held)+lines(ds), dump(g2)+heldLines(held2)+lines(ds2)); d != "" {
				t.Errorf("with a memo, call %d (-fresh +memo):\n%s", i+1, d)
			}
		}
		checkGuards(t, set, good, g, held)
		c.Want(t, "want/diagnostics", []byte(lines(ds)))
		c.Want(t, "want/held", []byte(heldLines(held)))
		c.Want(t, "want/ir.yaml", []byte(dump(g)))
	})
}

// guards are the bindings of each ApiInstance and Service of a model. The policy tls is the port's.
func guards(g *ir.Gateway) map[diag.Object]map[string]bool {
	out := map[diag.Object]map[string]bool{}
	if g == nil {
		return out
	}
	put := func(id diag.Object, bindings []*ir.Binding) {
		out[id] = map[string]bool{}
		for _, b := range bindings {
			out[id][b.Origin.Object.String()] = true
		}
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			put(a.Origin.Object, a.Bindings)
			for _, r := range a.Routes {
				out[a.Origin.Object][r.Origin.Object.String()] = true
			}
			out[a.Origin.Object]["tls"] = l.TLS != nil
		}
	}
	for _, u := range g.Upstreams {
		put(u.Origin.Object, u.Bindings)
	}
	return out
}

// written is what stands at a path of a document, and the names of what stands below.
func written(n *ir.Declared, path ...string) (text string, below map[string]string) {
	for _, name := range path {
		i := slices.IndexFunc(n.Fields, func(f ir.DeclaredField) bool { return f.Name == name })
		if i < 0 {
			return "", nil
		}
		n = n.Fields[i].Value
	}
	if s, err := strconv.Unquote(n.Text); err == nil {
		return s, nil
	}
	below = map[string]string{}
	for _, f := range n.Fields {
		below[f.Name], _ = written(f.Value)
	}
	return n.Text, below
}

// asked are the bindings of each ApiInstance and Service as they are written in a set, right or wrong: by nothing but their
// targetRefs. What stands inline is left out: it is one with its ApiInstance.
func asked(set source.Set) map[diag.Object]map[string]bool {
	out := map[diag.Object]map[string]bool{}
	docs := schema.Documents(set, schema.Options{Policies: newCatalog()}, func(string) bool { return true })
	for _, d := range docs {
		if d.Object.Kind == "ApiInstance" || d.Object.Kind == "Service" {
			out[d.Object] = map[string]bool{}
		}
		if d.Object.Kind == "ApiInstance" {
			_, services := written(d.Tree, "spec", "services")
			for name := range services {
				id := d.Object
				id.Kind, id.Name = "Service", id.Name+"-"+name
				out[id] = map[string]bool{}
			}
		}
	}
	for _, d := range docs {
		if d.Object.Kind != "PolicyBinding" {
			continue
		}
		what := d.Object.String()
		if policy, _ := written(d.Tree, "spec", "policyRef", "name"); policy == "tls" {
			what = "tls"
		}
		kind, _ := written(d.Tree, "spec", "targetRef", "kind")
		name, _ := written(d.Tree, "spec", "targetRef", "name")
		namespace, _ := written(d.Tree, "spec", "targetRef", "namespace")
		id := diag.Object{Group: d.Object.Group, Kind: cmp.Or(kind, "ApiInstance"), Namespace: cmp.Or(namespace, d.Object.Namespace), Name: name}
		if kind != "Selector" {
			if out[id] != nil {
				out[id][what] = true
			}
			continue
		}
		_, labels := written(d.Tree, "spec", "targetRef", "selector", "labels")
		for _, a := range docs {
			_, have := written(a.Tree, "metadata", "labels")
			selected := a.Object.Kind == "ApiInstance"
			for k, v := range labels {
				selected = selected && have[k] == v
			}
			if selected {
				out[a.Object][what] = true
			}
		}
	}
	return out
}

// checkGuards holds that everything is served with all the bindings that the set asks for, or all that good does.
func checkGuards(t *testing.T, set, good source.Set, g *ir.Gateway, held []schema.Held) {
	t.Helper()
	now, was := asked(set), asked(good)
	for id, have := range guards(g) {
		misses := func(by map[diag.Object]map[string]bool) string {
			if by[id] == nil {
				return "it is not declared there"
			}
			for b := range by[id] {
				if !have[b] {
					return "it lacks " + b
				}
			}
			return ""
		}
		if a, b := misses(now), misses(was); a != "" && b != "" {
			t.Errorf("%s has fewer policies than both sets give it: by the set, %s; by the good one, %s\n%s", id, a, b, heldLines(held))
		}
	}
}

// TestHeldIsLoadWhereNothingIsWrong expects of every case that is right the very model that Load makes, whatever good is.
func TestHeldIsLoadWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	all := testkit.ReadAll(t, "testdata/ok-*.txtar", "testdata/warn-*.txtar")
	for i, c := range all {
		o := schema.Options{Policies: newCatalog()}
		g, ds := schema.Load(c.Set(), o)
		if ds.HasErrors() {
			continue
		}
		o.Memo = &schema.Memo{}
		h, held, ds2 := schema.LoadHeld(c.Set(), all[(i+7)%len(all)].Set(), nil, o)
		if dump(g) != dump(h) || lines(ds) != lines(ds2) || held != nil {
			t.Errorf("%s: held: %v\n%s", c.Name, held, gocmp.Diff(dump(g)+lines(ds), dump(h)+lines(ds2)))
		}
		if again, _ := schema.Load(c.Set(), o); again != nil && h != nil && len(h.Listeners) > 0 && again.Listeners[0] != h.Listeners[0] {
			t.Errorf("%s: Load after LoadHeld makes another listener of the same", c.Name)
		}
	}
}

// caseDocuments are the documents of all cases, as many of each file as stand in it.
func caseDocuments(t testing.TB) []string {
	var out []string
	for _, c := range testkit.ReadAll(t, "testdata/*.txtar") {
		for _, f := range c.Files {
			if filepath.Ext(f.Name) != ".yaml" {
				continue
			}
			for _, d := range strings.Split("\n"+string(f.Data), "\n---\n") {
				out = append(out, strings.TrimPrefix(d, "\n")+"\n---\n")
			}
		}
	}
	return out
}

// mix is a random set, and texts that it was made of.
func mix(r *rand.Rand, pool []string, files map[string]string) source.Set {
	for range 1 + r.IntN(3) {
		name := fmt.Sprintf("f%d.yaml", r.IntN(6))
		if r.IntN(5) == 0 {
			delete(files, name)
			continue
		}
		text := ""
		for range 1 + r.IntN(4) {
			text += pool[r.IntN(len(pool))]
		}
		if r.IntN(12) == 0 {
			text = text[:r.IntN(len(text))] + "\n  [cut off\n"
		}
		files[name] = text
	}
	var list []source.File
	for _, n := range slices.Sorted(maps.Keys(files)) {
		list = append(list, source.NewFile(n, []byte(files[n])))
	}
	return source.NewSet(list)
}

// refused is now and then an object of a set, where nothing is wrong with it.
func refused(r *rand.Rand, set source.Set, o schema.Options) []diag.Object {
	var all []diag.Object
	if g, _ := schema.Load(set, o); g != nil && r.IntN(4) == 0 {
		for id := range guards(g) {
			all = append(all, id)
		}
		slices.SortFunc(all, func(a, b diag.Object) int { return cmp.Compare(a.String(), b.String()) })
	}
	return all[:min(len(all), 1)]
}

// restore makes files those of a set.
func restore(files map[string]string, set source.Set) {
	clear(files)
	for _, f := range set.Files {
		b, _ := f.Bytes()
		files[f.Name] = string(b)
	}
}

// eachMix runs a test with several sources of chance over documents that are mixed: snippets, and those of all cases.
func eachMix(t *testing.T, stream uint64, run func(t *testing.T, r *rand.Rand, pool []string)) {
	t.Helper()
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for name, pool := range map[string][]string{"snippets": snippets(), "cases": caseDocuments(t)} {
		for seed := range seeds {
			t.Run(fmt.Sprint(name, seed), func(t *testing.T) {
				t.Parallel()
				run(t, rand.New(rand.NewPCG(seed, stream)), pool)
			})
		}
	}
}

// TestHeldMixes goes from set to set at random, each held at the last one that was right: what comes of it links, has its policies, and
// does not depend on what is remembered.
func TestHeldMixes(t *testing.T) {
	t.Parallel()
	eachMix(t, 5, func(t *testing.T, r *rand.Rand, pool []string) {
		fresh := schema.Options{Policies: newCatalog(), RequireEnv: true}
		o := fresh
		o.Memo = &schema.Memo{}
		files := map[string]string{}
		good := source.NewSet(nil)
		served := 0
		for step := range 60 {
			set := mix(r, pool, files)
			wrong := refused(r, set, fresh)
			g, held, ds := schema.LoadHeld(set, good, wrong, o)
			g2, held2, ds2 := schema.LoadHeld(set, good, wrong, fresh)
			if d := gocmp.Diff(dump(g2)+heldLines(held2)+lines(ds2), dump(g)+heldLines(held)+lines(ds)); d != "" {
				t.Fatalf("step %d (-fresh +memo):\n%s", step, d)
			}
			if len(held) > 0 && (g == nil || !ds.HasErrors() && len(wrong) == 0) {
				t.Errorf("step %d: held %s\nfor %s", step, heldLines(held), lines(ds))
			}
			checkErrors(t, set, ds)
			checkWhole(t, g)
			checkGuards(t, set, good, g, held)
			if t.Failed() {
				t.Fatalf("step %d", step)
			}
			switch {
			case g == nil:
			case len(held) > 0:
				served++
			case len(wrong) == 0:
				good = set
			}
			if len(files) > 3 && r.IntN(3) == 0 { // else one wrong document stays for ever
				restore(files, good)
			}
		}
		t.Logf("%d of 60 sets were held", served)
	})
}

// checkErrors holds that every error of Load is told, perhaps of the other one of two objects that clash.
func checkErrors(t *testing.T, set source.Set, ds diag.List) {
	t.Helper()
	_, want := schema.Load(set, schema.Options{Policies: newCatalog(), RequireEnv: true})
	key := func(d diag.Diagnostic) string { return fmt.Sprint(d.Code, d.Subject, d.Summary) }
	told := map[string]bool{}
	codes := map[diag.Code]int{}
	for _, d := range ds {
		told[key(d)] = true
		codes[d.Code]++
	}
	for _, d := range want {
		// What is absent is a slip only beside the name that was meant: when that is left out, it may be declared where something cannot be
		// read, which is told.
		slip := !d.Absent.IsZero() && strings.HasPrefix(d.Hint, "did you mean") && ds.HasErrors()
		if d.Severity == diag.Error && !told[key(d)] && codes[d.Code] == 0 && !slip {
			t.Errorf("this is not told: %v", d)
		}
	}
}

// checkWhole holds that nothing in a model is half of something.
func checkWhole(t *testing.T, g *ir.Gateway) {
	t.Helper()
	if g == nil {
		return
	}
	ups := map[*ir.Upstream]bool{}
	for _, u := range g.Upstreams {
		ups[u] = true
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			if a.Gaps {
				t.Errorf("%s has gaps", a.Origin.Object)
			}
			for _, r := range a.Routes {
				for _, s := range r.To {
					if !ups[s.Upstream] {
						t.Errorf("%s leads to an upstream that the model does not have", r.Origin.Object)
					}
				}
			}
		}
	}
	for _, b := range g.Bindings() {
		if len(b.Unresolved()) > 0 || b.Unenforced || b.Made == nil {
			t.Errorf("%s has no configuration", b.Origin.Object)
		}
	}
}

// TestHeldKeepsPointers edits one of many APIs again and again while others are wrong, each in another way, and expects every other element
// to be the pointer it was, what is held included.
func TestHeldKeepsPointers(t *testing.T) {
	t.Parallel()
	files := generated(40)
	files = append(files, source.NewFile("apis/t.yaml", []byte(doc("Configuration", "t", "spec: {timeouts: {streamIdleSeconds: 9}}\n"))),
		source.NewFile("apis/s.yaml", []byte(doc("Service", "s", "spec: {address: http://s:80}\n"))),
		source.NewFile("apis/u.yaml", []byte(doc("ApiInstance", "u", "spec: {address: http://0.0.0.0:8082/u}\n")+doc("PolicyBinding", "r", "spec: {targetRef: {name: u}, policyRef: {name: route}, config: {destinationRef: {name: s}}}\n"))))
	good := source.NewSet(files)
	o := schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}
	schema.Load(good, o)
	files = slices.Clone(files)
	edit := func(i int, old, new string) {
		b, err := good.Bytes(files[i].Name)
		if err != nil || !strings.Contains(string(b), old) {
			t.Fatalf("%s has no %q", files[i].Name, old)
		}
		files[i] = source.NewFile(files[i].Name, []byte(strings.ReplaceAll(string(b), old, new)))
	}
	edit(3, "0.0.0.0:8081", "0.0.0.0:none")  // an address that is none
	edit(5, "maximumRequests", "maximum")    // a binding
	edit(8, "maximumRequests", "maximum")    // an inline policy
	edit(40, "9", "soon")                    // a Configuration
	edit(41, "http", "gopher")               // a Service
	edit(10, "0.0.0.0:8081", "0.0.0.0:8083") // right, and changed
	elements := func(g *ir.Gateway) map[string]any {
		m := map[string]any{"settings": g.Settings}
		for _, l := range g.Listeners {
			for _, a := range l.APIs {
				m[a.Origin.Object.String()] = a
			}
		}
		for _, u := range g.Upstreams {
			m[u.Name] = u
		}
		return m
	}
	var before map[string]any
	for step := range 4 {
		files[7] = source.NewFile(files[7].Name, []byte(generatedAPI(7, 900+step)))
		g, held, ds := schema.LoadHeld(source.NewSet(files), good, nil, o)
		if g == nil || len(held) != 5 {
			t.Fatal(heldLines(held), lines(ds))
		}
		now := elements(g)
		for name := range now {
			if same := before[name] == now[name]; step > 0 && same == strings.Contains(name, "api-00007") {
				t.Errorf("step %d: %s: the same pointer as before: %v", step, name, same)
			}
		}
		before = now
		if step == 1 { // good is not read any more
			for i := range good.Files {
				name := good.Files[i].Name
				good.Files[i].Bytes = func() ([]byte, error) {
					t.Errorf("%s is read again", name)
					return nil, nil
				}
			}
		}
	}
}

// FuzzLoadHeld holds a text at another one: it never panics, and what comes of it has its policies and links.
func FuzzLoadHeld(f *testing.F) {
	pool := caseDocuments(f)
	for i, text := range pool {
		f.Add([]byte(text), []byte(pool[(i+1)%len(pool)]))
		f.Add([]byte(pool[(i+5)%len(pool)]+text), []byte(text))
	}
	beside := []source.File{source.NewFile("b.yaml", []byte(generatedAPI(1, 1)))}
	o := schema.Options{Policies: newCatalog(), RequireEnv: true}
	f.Fuzz(func(t *testing.T, was, now []byte) {
		good := source.NewSet(append([]source.File{source.NewFile("a.yaml", was)}, beside...))
		set := source.NewSet(append([]source.File{source.NewFile("a.yaml", now)}, beside...))
		g, held, ds := schema.LoadHeld(set, good, nil, o)
		l, _ := schema.Load(set, o)
		if l != nil && dump(l) != dump(g) {
			t.Error("nothing is wrong, and the model is another")
		}
		if len(held) > 0 && (g == nil || !ds.HasErrors()) {
			t.Errorf("held without an error: %s", heldLines(held))
		}
		checkWhole(t, g)
		if _, ds := schema.Load(good, o); !ds.HasErrors() { // else it was never served
			checkGuards(t, set, good, g, held)
		}
	})
}
