package render

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/flexgw/flexgw/schema/ir"
)

// world makes random gateways, each from the one before, sharing what did not change.
type world struct {
	*rand.Rand
	settings *ir.Settings
	ups      []*ir.Upstream
	ports    map[uint16][]*ir.API
	n        int
}

func (w *world) name(kind string) string { w.n++; return fmt.Sprintf("%s-%d", kind, w.n) }

func (w *world) bindings() []*ir.Binding {
	var bs []*ir.Binding
	names := []string{"auth", "body", "cors", "inject", "inject", "limit", "script", "answer"}
	for range w.IntN(6) {
		p := names[w.IntN(len(names))]
		b := bind(p, w.name(p), pair{"x-a", fmt.Sprint(w.IntN(100))})
		if p != "cors" && p != "answer" && w.IntN(3) == 0 {
			b.Rules = []ir.Match{method("GET|PUT"), {Path: ir.Pattern{Text: "/a/.*"}}}
		}
		bs = append(bs, b)
	}
	return bs
}

func (w *world) upstream() *ir.Upstream {
	u := service(w.settings, w.name("svc"), []string{"http", "https", "h2"}[w.IntN(3)], []string{"a.internal", "10.0.0.1"}[w.IntN(2)], uint16(8000+w.IntN(3)))
	switch w.IntN(4) {
	case 0:
		u.Bindings = []*ir.Binding{bind("credential", w.name("cred"), pair{"", fmt.Sprint(w.IntN(9))})}
	case 1:
		u.Bindings = []*ir.Binding{bind("tls-out", w.name("tls"), pair{[]string{"", "skip"}[w.IntN(2)], []string{"", "h2", "h2 http/1.1"}[w.IntN(3)]})}
	}
	return u
}

func (w *world) api(base string) *ir.API {
	return api(w.settings, w.name("api"), base, w.ups[w.IntN(len(w.ups))], w.bindings()...)
}

// step changes one thing.
func (w *world) step() {
	port := uint16(8081 + w.IntN(2))
	apis := slices.Clone(w.ports[port])
	switch k := w.IntN(6); {
	case k <= 1 || len(apis) == 0:
		base := fmt.Sprintf("/%c/%c%d", 'a'+w.IntN(2), 'a'+w.IntN(3), w.n)
		apis = append(apis, w.api(base))
	case k == 2:
		i := w.IntN(len(apis))
		apis = slices.Delete(apis, i, i+1)
	case k == 3:
		i := w.IntN(len(apis))
		apis[i] = w.api(apis[i].BasePath)
	case k == 4:
		u := w.upstream()
		w.ups = append(slices.Clone(w.ups), u)
	default:
		s := *w.settings
		s.RemoveServerHeader = !s.RemoveServerHeader
		w.settings = &s
		for p, l := range w.ports {
			l = slices.Clone(l) // models are immutable
			for i, a := range l {
				b := *a
				b.Settings = w.settings
				l[i] = &b
			}
			w.ports[p] = l
		}
		apis = w.ports[port]
	}
	w.ports[port] = apis
}

func (w *world) gateway() *ir.Gateway {
	var ls []*ir.Listener
	for _, p := range []uint16{8081, 8082} {
		if apis := w.ports[p]; len(apis) > 0 {
			ls = append(ls, listen(fmt.Sprintf("0.0.0.0:%d", p), apis...))
		}
	}
	ups := slices.Clone(w.ups)
	slices.SortFunc(ups, func(a, b *ir.Upstream) int { return len(a.Name) - len(b.Name) })
	return gateway(w.settings, ups, ls...)
}

// TestRandomEdits: over any history, what the memo kept is what a fresh rendering makes, and all of it is valid.
func TestRandomEdits(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), settings: settings(), ports: map[uint16][]*ir.API{}}
		w.ups = []*ir.Upstream{w.upstream(), w.upstream()}
		m := &Memo{}
		o := Options{Files: "/files"}
		for i := range 60 {
			w.step()
			g := w.gateway()
			warm, l := Render(g, fakes(), o, m)
			if l.HasErrors() {
				t.Fatalf("seed %d, step %d: %v", seed, i, l)
			}
			cold, _ := Render(g, fakes(), o, nil)
			if ks := warm.Changed(cold); len(ks) > 0 {
				t.Fatalf("seed %d, step %d: kept, but stale: %v", seed, i, ks)
			}
			if i%20 > 0 {
				continue
			}
			for _, typ := range resourceTypes {
				warm.Each(typ, func(x *Resource) {
					msg, err := x.Message()
					if err != nil {
						t.Fatal(err)
					}
					valid(t, msg)
				})
			}
		}
	}
}
