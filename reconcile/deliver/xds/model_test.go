package xds

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flexgw/flexgw/render"
)

// TestAnyOrderOfWorldsAndAnswers plays an Envoy against random worlds: answers come late and out of step, cluster answers
// are withheld for a while, some versions are refused for ever, the stream breaks. Whatever happens, nothing is offered
// that could break a request, and in the end Envoy has exactly what is published.
func TestAnyOrderOfWorldsAndAnswers(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			play(t, seed)
		})
	}
}

// randomWorld is closed: whatever is named is there.
func randomWorld(r *rand.Rand) set {
	world := makeSet()
	var ks, cs []*render.Resource
	for i := range 4 {
		if r.IntN(4) > 0 {
			ks = append(ks, secret(fmt.Sprint("k", i), r.IntN(2)))
		}
	}
	some := func(from []*render.Resource, most int) []*render.Resource {
		var picked []*render.Resource
		for range r.IntN(most + 1) {
			if len(from) > 0 {
				picked = append(picked, from[r.IntN(len(from))])
			}
		}
		return picked
	}
	for i := range 6 {
		if r.IntN(4) > 0 {
			cs = append(cs, cluster(fmt.Sprint("c", i), r.IntN(2), some(ks, 1)...))
		}
	}
	world = world.with(ks...).with(cs...)
	for i := range 8 {
		if r.IntN(4) > 0 {
			world = world.with(scope(fmt.Sprintf("808%d/s%d", i%2, i), r.IntN(2), append(some(cs, 2), some(ks, 1)...)...))
		}
	}
	for i := range 2 {
		if r.IntN(4) > 0 {
			world = world.with(listener(fmt.Sprint("p808", i), uint32(8080+i), r.IntN(2), append(some(cs, 1), some(ks, 1)...)...))
		}
	}
	return world
}

// player is an Envoy that checks what it is told.
type player struct {
	t       *testing.T
	r       *rand.Rand
	c       *client
	moody   bool // refuses some versions
	holds   map[render.Key]string
	refs    map[render.Key][]render.Key // of what it holds
	asked   map[string]bool             // secrets
	answers []*answer
	known   map[string]*render.Resource // by version
	open    bool                        // has a listener
}

type answer struct {
	r    *discoveryv3.DeltaDiscoveryResponse
	text string // of a refusal
}

func play(t *testing.T, seed uint64) {
	p := &player{
		t: t, r: rand.New(rand.NewPCG(seed, 5)), moody: seed%3 == 2,
		holds: map[render.Key]string{}, refs: map[render.Key][]render.Key{}, asked: map[string]bool{}, known: map[string]*render.Resource{},
	}
	cfg := Config{Grace: -1, Drain: -1, Window: 3, Batch: 2, SecretWait: time.Minute}
	if seed%2 == 1 {
		cfg.Grace, cfg.Drain = 3*time.Millisecond, 5*time.Millisecond
	}
	s, socket := start(t, cfg, nil)
	p.connect(socket)
	var world set
	for n := range 25 {
		world = randomWorld(p.r)
		for _, r := range world {
			p.known[version(r)] = r
		}
		s.publish(fmt.Sprint(n), world)
		if p.r.IntN(6) == 0 {
			p.c.hangUp()
			p.connect(socket)
		}
		p.live(p.r.IntN(30))
	}
	p.settle(s, world)
}

// connect starts a stream as Envoy does.
func (p *player) connect(socket string) {
	p.t.Helper()
	p.c = dial(p.t, socket, "n")
	p.answers = nil
	for _, k := range []kind{clusters, listeners, scopes, secrets} {
		r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURLs()[k], InitialResourceVersions: map[string]string{}}
		for key, v := range p.holds {
			if key.TypeURL == r.TypeUrl {
				r.InitialResourceVersions[key.Name] = v
			}
		}
		if k == secrets {
			for name := range p.asked {
				r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, name)
			}
			if len(p.asked) == 0 {
				continue
			}
		}
		p.c.send(r)
	}
}

// live takes some steps: a response, or an answer to one.
func (p *player) live(steps int) {
	for range steps {
		select {
		case r, ok := <-p.c.responses:
			if !ok {
				p.t.Fatal("stream ended")
			}
			p.take(r)
		case <-time.After(time.Duration(p.r.IntN(2)) * 200 * time.Microsecond):
		}
		if len(p.answers) > 0 && p.r.IntN(3) > 0 {
			p.answer()
		}
	}
}

// answer sends the oldest answer of a random kind, as Envoy keeps the order within a kind.
func (p *player) answer() {
	kind := p.answers[p.r.IntN(len(p.answers))].r.TypeUrl
	i := slices.IndexFunc(p.answers, func(a *answer) bool { return a.r.TypeUrl == kind })
	a := p.answers[i]
	p.answers = slices.Delete(p.answers, i, i+1)
	if a.text != "" {
		p.c.nack(a.r, a.text)
	} else {
		p.c.ack(a.r)
	}
}

// refuses says whether this Envoy never takes a version. It likes removals, and warming scopes as their originals.
func (p *player) refuses(version string) bool { return p.moody && strings.HasPrefix(version, "0") }

func (p *player) take(r *discoveryv3.DeltaDiscoveryResponse) {
	p.t.Helper()
	url := r.TypeUrl
	k := kind(slices.Index(slices.Collect(func(yield func(string) bool) {
		for _, u := range typeURLs() {
			if !yield(u) {
				return
			}
		}
	}), url))
	if (k == scopes || k == secrets) && len(r.Resources) > 1 {
		p.t.Errorf("%d resources in one response: %v", len(r.Resources), contents(r))
	}
	a := &answer{r: r}
	for _, name := range r.RemovedResources {
		key := render.Key{TypeURL: url, Name: name}
		for holder, refs := range p.refs {
			if k == clusters && slices.Contains(refs, key) {
				p.t.Errorf("cluster %s is removed, and %s names it", name, holder.Name)
			}
		}
		delete(p.holds, key)
		delete(p.refs, key)
	}
	for _, x := range r.Resources {
		key := render.Key{TypeURL: url, Name: x.Name}
		if k == scopes && p.holds[key] == x.Version {
			p.t.Errorf("scope %s is sent again with equal bytes", x.Name)
		}
		refs := p.named(x)
		for _, ref := range refs {
			switch {
			case k == clusters || (k == listeners && ref.TypeURL == typeURLs()[secrets]):
			case p.holds[ref] == "" && ref.TypeURL == typeURLs()[clusters]:
				p.t.Errorf("%s is offered before the cluster %s", x.Name, ref.Name)
			case p.holds[ref] == "" && !isWarm(x.Name) && p.open:
				p.t.Errorf("scope %s is offered before the secret %s", x.Name, ref.Name)
			}
		}
		if !isWarm(x.Name) && p.refuses(x.Version) {
			a.text = "no " + x.Name
			continue
		}
		if k == secrets && !p.asked[x.Name] {
			continue // it came too late
		}
		p.holds[key], p.refs[key] = x.Version, refs
		p.open = p.open || k == listeners
	}
	p.answers = append(p.answers, a)
	p.subscribe()
}

// named are the references of a resource; those of a warming scope stand in its bytes.
func (p *player) named(x *discoveryv3.Resource) []render.Key {
	if !isWarm(x.Name) {
		return p.known[x.Version].Refs
	}
	m := &routev3.ScopedRouteConfiguration{}
	if err := x.Resource.UnmarshalTo(m); err != nil {
		p.t.Fatal(err)
	}
	var refs []render.Key
	for _, line := range m.RouteConfiguration.RequestHeadersToRemove {
		url, name, _ := strings.Cut(line, " ")
		refs = append(refs, render.Key{TypeURL: url, Name: name})
	}
	return refs
}

// subscribe asks for the secrets that something it holds names, and drops the others.
func (p *player) subscribe() {
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURLs()[secrets]}
	wanted := map[string]bool{}
	for _, refs := range p.refs {
		for _, ref := range refs {
			if ref.TypeURL == r.TypeUrl {
				wanted[ref.Name] = true
			}
		}
	}
	for name := range wanted {
		if !p.asked[name] {
			r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, name)
			p.asked[name] = true
		}
	}
	for name := range p.asked {
		if !wanted[name] {
			r.ResourceNamesUnsubscribe = append(r.ResourceNamesUnsubscribe, name)
			delete(p.asked, name)
			delete(p.holds, render.Key{TypeURL: r.TypeUrl, Name: name})
		}
	}
	if len(r.ResourceNamesSubscribe)+len(r.ResourceNamesUnsubscribe) > 0 {
		p.c.send(r)
	}
}

// settle lives on until the server is done, and compares what Envoy holds with what it should.
func (p *player) settle(s *Server, world set) {
	p.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		p.live(20)
		outcome, nodes := s.Programmed()
		diff := cmp.Diff(p.should(world), p.has())
		done := outcome == Programmed
		if p.moody && p.blames(world) {
			done, diff = outcome == Refused, cmp.Diff(p.should(world), p.has(), cmpopts.IgnoreMapEntries(p.excused(world)))
		}
		if done && diff == "" && len(p.answers) == 0 && len(p.c.responses) == 0 {
			break
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("never done: %s %+v\n%s\n(-want +got):\n%s", outcome, nodes, strings.Join(states(s), "\n"), diff)
		}
	}
	if o, _ := s.Programmed(); (o == Refused) != (p.moody && p.blames(world)) {
		p.t.Errorf("outcome: %s", o)
	}
}

// bad says whether a resource is refused, or names one that is and that this Envoy does not have.
func (p *player) bad(world set, r *render.Resource) bool {
	if p.refuses(version(r)) {
		return r.TypeURL != typeURLs()[secrets] || p.asked[r.Name]
	}
	if r.TypeURL == typeURLs()[clusters] {
		return false
	}
	// Of a secret that was dropped and asked for again, the server may not know that an older version, which was on its way
	// then, was taken: what names it is held back.
	return slices.ContainsFunc(r.Refs, func(k render.Key) bool {
		return p.refuses(version(world[k])) && (p.holds[k] == "" || k.TypeURL == typeURLs()[secrets])
	})
}

func (p *player) blames(world set) bool {
	for _, r := range world {
		if p.bad(world, r) {
			return true
		}
	}
	return false
}

// excused says which entries of should and has may differ when something is refused: what is bad, and what stays because of
// that.
func (p *player) excused(world set) func(name, v string) bool {
	return func(name, v string) bool {
		url, name, _ := strings.Cut(name, " ")
		r, wanted := world[render.Key{TypeURL: url, Name: name}]
		return !wanted || p.bad(world, r)
	}
}

// should is everything of the world, but secrets that nothing names.
func (p *player) should(world set) map[string]string {
	all := map[string]string{}
	for k, r := range world {
		if k.TypeURL != typeURLs()[secrets] || p.asked[k.Name] {
			all[k.TypeURL+" "+k.Name] = version(r)
		}
	}
	return all
}

func (p *player) has() map[string]string {
	all := map[string]string{}
	for k, v := range p.holds {
		all[k.TypeURL+" "+k.Name] = v
	}
	return all
}
