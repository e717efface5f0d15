package schema_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// filesOf is a set of texts by name: "a.yaml", text, …
func filesOf(pairs ...string) source.Set {
	var files []source.File
	for i := 0; i < len(pairs); i += 2 {
		files = append(files, source.NewFile(pairs[i], []byte(pairs[i+1])))
	}
	return source.NewSet(files)
}

func textOf(set source.Set, name string) string {
	b, err := set.Bytes(name)
	if err != nil {
		return "gone"
	}
	return string(b)
}

// parts is everything about each API and Service of a model, its policies and its port's TLS included; Services of routes by name.
func parts(g *ir.Gateway) map[diag.Object]string {
	out := map[diag.Object]string{}
	if g == nil {
		return out
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			own := ir.Gateway{Settings: &ir.Settings{}, Listeners: []*ir.Listener{{Addr: l.Addr, TLS: l.TLS, APIs: []*ir.API{a}}}}
			text := dump(&own)
			lines := strings.Split(text, "\n")
			for i, line := range lines {
				if strings.HasPrefix(line, "  api ") {
					lines[i], _, _ = strings.Cut(line, " at ") // places do not count
				}
			}
			out[a.Origin.Object] = strings.Join(lines, "\n")
		}
	}
	for _, u := range g.Upstreams {
		out[u.Origin.Object] = dump(&ir.Gateway{Settings: &ir.Settings{}, Upstreams: []*ir.Upstream{u}})
	}
	return out
}

// lives is a row of sets, each held at the last good texts, all of which became live.
type lives struct {
	o    schema.Options
	good source.Set
	seen map[diag.Object]map[string]bool // everything that each API and Service ever was
}

func (l *lives) next(t *testing.T, set source.Set, wrong ...diag.Object) (*ir.Gateway, []schema.Held) {
	t.Helper()
	g, held, ds := schema.LoadHeld(set, l.good, wrong, l.o)
	if g == nil {
		return nil, held
	}
	checkGuards(t, set, l.good, g, held)
	if l.seen == nil {
		l.seen = map[diag.Object]map[string]bool{}
	}
	for id, text := range parts(g) {
		if l.seen[id] == nil {
			l.seen[id] = map[string]bool{}
		}
		l.seen[id][text] = true
	}
	if len(held) == 0 && !ds.HasErrors() {
		l.good = set
	} else {
		l.good = schema.NextGood(set, l.good, g, held, ds, l.o)
	}
	m, ds := schema.Load(l.good, schema.Options{Policies: l.o.Policies, RequireEnv: l.o.RequireEnv})
	if ds.HasErrors() && len(l.good.Files) > 0 {
		t.Errorf("the good set is wrong: %s", lines(ds))
	}
	for id, text := range parts(m) {
		if !l.seen[id][text] {
			t.Errorf("%s in the good set was never live like that:\n%s\nbut\n%v", id, text, l.seen[id])
		}
	}
	return g, held
}

func api(name, version string, more ...string) string {
	return doc("ApiInstance", name, "spec:\n  address: http://0.0.0.0:8081/"+name+"/"+version+"\n"+strings.Join(more, ""))
}

const broken = "  nonsense: [\n"

// A is good in one set and B in another, then both break: each goes back to its own last good version.
func TestNextGoodTakesEachFileFromItsOwnTime(t *testing.T) {
	t.Parallel()
	l := &lives{o: schema.Options{Policies: newCatalog()}}
	l.next(t, filesOf("a.yaml", api("a", "1"), "b.yaml", api("b", "1"), "c.yaml", api("c", "1")))
	l.next(t, filesOf("a.yaml", api("a", "2"), "b.yaml", api("b", "x")+broken, "c.yaml", api("c", "1")))
	l.next(t, filesOf("a.yaml", api("a", "x")+broken, "b.yaml", api("b", "2"))) // and c is gone
	g, held := l.next(t, filesOf("a.yaml", api("a", "y")+broken, "b.yaml", api("b", "y")+broken))
	if g == nil || len(held) != 2 {
		t.Fatal(heldLines(held))
	}
	got := ""
	for _, a := range g.Listeners[0].APIs {
		got += a.BasePath + " "
	}
	if got != "/a/2 /b/2 " {
		t.Errorf("served: %s\n%s", got, heldLines(held))
	}
	if textOf(l.good, "c.yaml") != "gone" {
		t.Error("what was deleted while it was good is kept")
	}
	l.next(t, filesOf("b.yaml", api("b", "y")+broken)) // a is deleted while it is wrong
	if textOf(l.good, "a.yaml") != "gone" || textOf(l.good, "b.yaml") != api("b", "2") {
		t.Errorf("a %s, b %s", textOf(l.good, "a.yaml"), textOf(l.good, "b.yaml"))
	}
}

// Files of different times may open an API that was closed at each of them. They stay together.
func TestNextGoodKeepsGuardsWithTheirObjects(t *testing.T) {
	t.Parallel()
	limit := func(target, max string) string {
		return doc("PolicyBinding", "p", "spec:\n  targetRef: {name: "+target+"}\n  policyRef: {name: rate-limiting-flex}\n  config: {rateLimits: [{maximumRequests: "+max+", timePeriodInMilliseconds: 1000}]}\n")
	}
	inline := "  policies: [{policyRef: {name: cors-flex}}]\n"
	x1, xBad := api("x", "1"), doc("ApiInstance", "x", "spec:\n  address: nowhere\n")
	for _, c := range []struct {
		name  string
		first source.Set
		steps []source.Set
		want  map[string]string
	}{
		{
			"a binding moves on, and what it guarded stands beside what is wrong",
			filesOf("f.yaml", x1+api("z", "1"), "g.yaml", limit("z", "1"), "w.yaml", api("w", "1")),
			[]source.Set{filesOf("f.yaml", xBad+api("z", "2", inline), "g.yaml", limit("w", "2"), "w.yaml", api("w", "2"))},
			map[string]string{"f.yaml": x1 + api("z", "1"), "g.yaml": limit("z", "1")},
		},
		{
			"a binding comes that stands beside what is wrong",
			filesOf("f.yaml", x1+limit("w", "1"), "g.yaml", api("z", "1"), "w.yaml", api("w", "1")),
			[]source.Set{filesOf("f.yaml", xBad+limit("z", "1"), "g.yaml", api("z", "2"), "w.yaml", api("w", "1"))},
			map[string]string{"f.yaml": x1 + limit("w", "1"), "g.yaml": api("z", "1")},
		},
		{
			"an API is left out with its binding",
			filesOf("w.yaml", api("w", "1")),
			[]source.Set{filesOf("w.yaml", api("w", "2"), "z.yaml", api("z", "1"), "p.yaml", limit("z", "none"))},
			map[string]string{"w.yaml": api("w", "2"), "z.yaml": "gone", "p.yaml": "gone"},
		},
		{
			"a binding is deleted while its API is wrong",
			filesOf("z.yaml", api("z", "1"), "p.yaml", limit("z", "1")),
			[]source.Set{filesOf("z.yaml", api("z", "x")+broken), filesOf("z.yaml", api("z", "y")+broken)},
			map[string]string{"z.yaml": api("z", "1"), "p.yaml": limit("z", "1")},
		},
		{
			"a binding changes while its API is wrong",
			filesOf("z.yaml", api("z", "1"), "p.yaml", limit("z", "1")),
			[]source.Set{filesOf("z.yaml", api("z", "x")+broken, "p.yaml", limit("z", "2")), filesOf("z.yaml", api("z", "x")+broken, "p.yaml", limit("z", "none"))},
			map[string]string{"z.yaml": api("z", "1"), "p.yaml": limit("z", "2")},
		},
		{
			"an object moves to another file and is wrong there",
			filesOf("z.yaml", api("z", "1"), "w.yaml", api("w", "1")),
			[]source.Set{filesOf("y.yaml", doc("ApiInstance", "z", "spec:\n  address: nowhere\n"), "w.yaml", api("w", "2"))},
			map[string]string{"z.yaml": api("z", "1"), "y.yaml": "gone", "w.yaml": api("w", "2")},
		},
		{
			"a base path moves from beside what is wrong to another file",
			filesOf("f.yaml", x1+api("z", "1"), "g.yaml", api("g", "1")),
			[]source.Set{filesOf("f.yaml", xBad+api("z", "2"), "g.yaml", strings.Replace(api("g", "1"), "/g/1", "/z/1", 1), "h.yaml", api("h", "1"))},
			map[string]string{"f.yaml": x1 + api("z", "1"), "g.yaml": api("g", "1"), "h.yaml": api("h", "1")},
		},
		{
			"CUE files are of one time",
			filesOf("a.cue", cueAPI("a", 1), "b.cue", cueAPI("b", 1), "c.yaml", api("c", "1")),
			[]source.Set{filesOf("a.cue", cueAPI("a", 2), "b.cue", cueAPI("b", 99999999), "c.yaml", api("c", "2"))},
			map[string]string{"a.cue": cueAPI("a", 1), "b.cue": cueAPI("b", 1), "c.yaml": api("c", "2")},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := &lives{o: schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}}
			l.next(t, c.first)
			for i, set := range c.steps {
				if g, held := l.next(t, set); g == nil || len(held) == 0 {
					t.Fatalf("step %d: nothing is held", i)
				}
			}
			for name, want := range c.want {
				if got := textOf(l.good, name); got != want {
					t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
				}
			}
		})
	}
}

func cueAPI(name string, port int) string {
	return fmt.Sprintf(`package shop
%[1]s: {apiVersion: "gateway.mulesoft.com/v1alpha1", kind: "ApiInstance", metadata: name: %[1]q, spec: address: "http://0.0.0.0:%[2]d/%[1]s"}
`, name, 8000+port)
}

// TestNextGoodMixes goes from set to set at random, each held at the last good texts: what they make was live, with the policies of its
// time, and does not depend on what is remembered.
func TestNextGoodMixes(t *testing.T) {
	t.Parallel()
	eachMix(t, 17, func(t *testing.T, r *rand.Rand, pool []string) {
		fresh := schema.Options{Policies: newCatalog(), RequireEnv: true}
		l, again := &lives{o: fresh}, &lives{o: fresh}
		l.o.Memo = &schema.Memo{}
		files := map[string]string{}
		mixed := 0
		for step := range 60 {
			set := mix(r, pool, files)
			wrong := refused(r, set, fresh)
			before := l.good
			g, held := l.next(t, set, wrong...)
			if again.next(t, set, wrong...); again.good.Revision != l.good.Revision {
				t.Errorf("with a memo the good set is another")
			}
			if t.Failed() {
				t.Fatalf("step %d: held\n%s", step, heldLines(held))
			}
			if g != nil && len(held) > 0 && l.good.Revision != before.Revision {
				mixed++
			}
			if len(files) > 3 && r.IntN(3) == 0 { // else one wrong document stays for ever
				restore(files, l.good)
			}
		}
		t.Logf("%d of 60 sets gave a good one of several times", mixed)
	})
}

// BenchmarkNextGoodOneChange changes one API of many while another one stays wrong: what comes after LoadHeld.
func BenchmarkNextGoodOneChange(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			files := generated(n)
			l := lives{o: schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}, good: source.NewSet(files)}
			schema.Load(l.good, l.o)
			files[11] = source.NewFile(files[11].Name, []byte(strings.Replace(generatedAPI(11, 1), "0.0.0.0:8081", "0.0.0.0:port", 1)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				k := 20 + i*37%(n-20)
				files[k] = source.NewFile(files[k].Name, []byte(generatedAPI(k, 200+i)))
				set := source.NewSet(files)
				g, held, ds := schema.LoadHeld(set, l.good, nil, l.o)
				b.StartTimer()
				if l.good = schema.NextGood(set, l.good, g, held, ds, l.o); l.good.Files[k].Hash != set.Files[k].Hash {
					b.Fatal(heldLines(held), lines(ds))
				}
			}
		})
	}
}
