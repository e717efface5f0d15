package render

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/flexgw/flexgw/schema/ir"
)

// remembered are proofs in memory.
type remembered struct {
	sync.Mutex
	files       map[string]Hash
	known       map[Hash]uint64
	asked, kept int
}

func (r *remembered) Content(file string) (Hash, bool) { h, ok := r.files[file]; return h, ok }

func (r *remembered) Known(f Hash) (uint64, bool) {
	r.Lock()
	defer r.Unlock()
	n, ok := r.known[f]
	r.asked++
	return n, ok
}

func (r *remembered) Keep(f Hash, note uint64) {
	r.Lock()
	defer r.Unlock()
	r.known[f] = note
	r.kept++
}

// filed gives every element of a model a file of its own, with the content that it was declared with, and a name by its place: an
// element that takes another's place has its name. Some have patterns about which there is something to say.
func (r *remembered) filed(g *ir.Gateway) *ir.Gateway {
	r.files = map[string]Hash{}
	file := func(o *ir.Origin, name, content string) {
		o.Object.Name, o.Range.File = name, name+".yaml"
		r.files[o.Range.File] = sha256.Sum256([]byte(content))
	}
	bindings := func(of string, list []*ir.Binding) (out []*ir.Binding) {
		for i, b := range list {
			c := *b
			config := *b.Config().(*pair)
			if len(c.Rules) > 0 && config.Value < "3" {
				c.Rules = append([]ir.Match{{Path: ir.Pattern{Text: "never"}}}, c.Rules...)
			}
			file(&c.Origin, fmt.Sprintf("%s-b%d", of, i), fmt.Sprint(c.Policy, config, c.Rules))
			out = append(out, &c)
		}
		return out
	}
	out := *g
	out.Upstreams, out.Listeners = nil, nil
	ups := map[*ir.Upstream]*ir.Upstream{}
	for i, u := range g.Upstreams {
		c := *u
		c.Name = fmt.Sprintf("u%d.default.svc", i)
		file(&c.Origin, fmt.Sprint("u", i), fmt.Sprint(c.Scheme, c.Host, c.Port))
		c.Bindings = bindings(fmt.Sprint("u", i), u.Bindings)
		ups[u] = &c
		out.Upstreams = append(out.Upstreams, &c)
	}
	for _, l := range g.Listeners {
		ll := *l
		ll.APIs = nil
		for i, a := range l.APIs {
			c := *a
			name := fmt.Sprintf("a%d-%d", l.Addr.Port(), i)
			file(&c.Origin, name, c.BasePath)
			c.Bindings, c.Routes = bindings(name, a.Bindings), nil
			for k, x := range a.Routes {
				x := *x
				file(&x.Origin, fmt.Sprintf("%s-r%d", name, k), fmt.Sprint(x.Rules))
				x.Name, x.To = fmt.Sprintf("%s-r%d", name, k), append([]ir.Split(nil), x.To...)
				for s := range x.To {
					x.To[s].Upstream, x.To[s].Origin = ups[x.To[s].Upstream], x.Origin
				}
				c.Routes = append(c.Routes, &x)
			}
			ll.APIs = append(ll.APIs, &c)
		}
		out.Listeners = append(out.Listeners, &ll)
	}
	return &out
}

// TestProofs: over any history, a judge with proofs says what one without says.
func TestProofs(t *testing.T) {
	t.Parallel()
	said, known := 0, 0
	for seed := range uint64(4) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 5)), settings: settings(), ports: map[uint16][]*ir.API{}}
		w.ups = []*ir.Upstream{w.upstream(), w.upstream()}
		r := &remembered{known: map[Hash]uint64{}}
		for i := range 80 {
			w.step()
			g := r.filed(w.gateway())
			o := Options{Files: "/files", Judge: true, Salvage: true}
			_, want := Render(g, fakes(), o, nil)
			o.Proofs = r
			_, got := Render(g, fakes(), o, nil)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, step %d: got %v, want %v", seed, i, got, want)
			}
			said += len(want)
			before := r.kept
			if _, got := Render(g, fakes(), o, nil); !reflect.DeepEqual(got, want) || r.kept != before {
				t.Fatalf("seed %d, step %d: again %v, want %v; %d were judged again", seed, i, got, want, r.kept-before)
			}
		}
		known += r.asked - r.kept
	}
	if said == 0 || known == 0 {
		t.Errorf("%d diagnostics, %d proofs used", said, known)
	}
}

// TestProofsSpareWork: after an edit, one scope is judged of a thousand.
func TestProofsSpareWork(t *testing.T) {
	t.Parallel()
	const n = 1000
	r := &remembered{known: map[Hash]uint64{}}
	g := many(n)
	o := Options{Files: "/files", Judge: true, Proofs: r}
	for i, want := range []int{2 * n, 1, 1, 0} {
		if i == 1 || i == 2 {
			edit(g, n/2, fmt.Sprint("edit ", i))
		}
		r.kept = 0
		if _, l := Render(r.filed(g), fakes(), o, nil); len(l) > 0 {
			t.Fatal(l)
		}
		if r.kept != want {
			t.Errorf("round %d: %d were judged, want %d", i, r.kept, want)
		}
	}
}
