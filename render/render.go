// Package render turns the model into Envoy resources.
//
// It is pure: no I/O, no clock, no environment. It does not know where text comes from nor how resources travel.
package render

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/flexgw/flexgw/render/match"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// Hash is the SHA-256 of a resource's deterministic bytes; it is the resource's version.
type Hash = source.Hash

// Types finds a listed policy type by name.
type Types interface {
	Type(name string) (policy.Type, bool)
	All() []policy.Type // sorted by name; their replies and access logs stand in every listener
}

// Options are the parameters of Render.
type Options struct {
	Files    string                           // folder that content-addressed files are written to before they are named
	SystemCA string                           // path of the host's CA bundle, for https upstreams
	UsageLog string                           // path of the metering access log; "": off
	Got      func(policy.Need) ([]byte, bool) // what Needs fetched; nil: nothing
	// Salvage returns what could be rendered in spite of errors: to look for more problems in it, never to be served.
	Salvage bool
	// Judge wants only what is wrong: no Resources come back, and a Memo learns nothing.
	Judge bool
	// Proofs spare Judge what was judged before; nil: nothing was.
	Proofs Proofs
}

// defaultSystemCA is Debian's; callers who know the host say better.
const defaultSystemCA = "/etc/ssl/certs/ca-certificates.crt"

// Instance is what the request-time server needs to start one policy instance.
type Instance struct {
	Policy string // policyRef.name
	ID     string // stable name of the binding
	Config any    // Effect.Enforce
}

// File is content that Envoy reads by name.
type File struct {
	Path   string
	Data   []byte
	Secret bool // mode 0600
}

// renderer is one run of Render.
type renderer struct {
	gateway *ir.Gateway
	types   Types
	opts    Options
	asking  sync.Mutex
	gets    func(policy.Need) ([]byte, bool)            // got
	names   func(data []byte, ext string) (path string) // path

	patterns *match.Patterns
	*walker
	constants
	protocols sync.Map  // protocolKey → *anypb.Any
	common    string    // see inCommon
	prints    sync.Pool // *fingerprint
}

// Render is the back half of the pipeline. The result is nil if the list has an Error (but see
// Options.Salvage). m may be nil; a Memo belongs to
// one set of Types.
func Render(g *ir.Gateway, t Types, o Options, m *Memo) (*Resources, diag.List) {
	if m == nil {
		m = &Memo{}
	}
	if o.SystemCA == "" {
		o.SystemCA = defaultSystemCA
	}
	m.begin(o)
	r := &renderer{gateway: g, types: t, opts: o, patterns: &m.patterns, walker: m.walker, constants: m.constants}
	if o.Proofs != nil {
		r.common = inCommon(g, o)
	}
	r.gets, r.names = r.got, r.path
	s := newSum(m.last)

	var l diag.List
	l = append(l, r.clusters(m, s)...)
	l = append(l, r.ports(m, s)...)
	m.end()
	if l.HasErrors() {
		if o.Salvage && !o.Judge {
			return s.resources(g), l.Sort()
		}
		return nil, l.Sort()
	}
	res := s.resources(g)
	bugs := checkClosure(res, m.last)
	if o.Judge && len(bugs) > 0 { // whose they are is not kept of what is only judged
		o.Judge = false
		_, all := Render(g, t, o, nil)
		return nil, all
	}
	l = append(l, bugs...)
	if l.HasErrors() || o.Judge {
		return nil, l.Sort()
	}
	m.last = res
	return res, l.Sort()
}

// clusters renders every Service; those that share a cluster together.
func (r *renderer) clusters(m *Memo, s *sum) diag.List {
	var l diag.List
	bundles, problems := m.clusters(r)
	l = append(l, problems...)
	ca := false
	for _, b := range bundles {
		l = append(l, s.add(b)...)
		ca = ca || slices.Contains(b.resource.Refs, Key{SecretType, systemCA})
	}
	if ca {
		w := r.wire()
		l = append(l, s.add(&bundle{resource: newResource(w, systemCA, systemCASecret(r.opts.SystemCA), nil)})...)
		l = append(l, faults(w, ir.Origin{})...)
	}
	return l
}

// port is one listener on its way.
type port struct {
	listener *ir.Listener
	splits   *splits
	jobs     []*scopeJob
	spelt    bool // some base path is not in its normal form
	slots    int
}

// ports renders the scopes of all listeners, then the listeners: how many slots they have is the scopes' need.
func (r *renderer) ports(m *Memo, s *sum) diag.List {
	var l diag.List
	var ps []*port
	for _, x := range r.gateway.Listeners {
		if i := slices.IndexFunc(ps, func(p *port) bool { return p.listener.Addr.Port() == x.Addr.Port() }); i >= 0 {
			l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "render/port-twice", Object: listenerOrigin(x).Object, Subject: listenerOrigin(x).Range,
				Summary: fmt.Sprintf("port %d is declared with two bind addresses, %s and %s", x.Addr.Port(), ps[i].listener.Addr.Addr(), x.Addr.Addr()),
				Hint:    "use one bind address for all APIs of a port"})
			continue
		}
		p := m.port(x)
		ps = append(ps, p)
		if p.spelt {
			l = append(l, spellingClashes(x.APIs)...)
		}
	}
	l = append(l, r.scopes(m, ps, s)...)
	for _, p := range ps {
		b, problems := m.listener(p, r)
		l = append(l, problems...)
		if b != nil {
			l = append(l, s.add(b)...)
		}
	}
	return l
}

// scopes renders what the memo does not hold, on all cores.
func (r *renderer) scopes(m *Memo, ps []*port, s *sum) diag.List {
	var todo []*scopeJob
	for _, p := range ps {
		for _, j := range p.jobs {
			if j.kept = m.scope(j); j.kept == nil {
				todo = append(todo, j)
			}
		}
	}
	made := make([]*bundle, len(todo))
	problems := make([]diag.List, len(todo))
	parallel(len(todo), func(i int) { made[i], problems[i] = r.judgeScope(todo[i]) })
	var l diag.List
	for i, j := range todo {
		l = append(l, problems[i]...)
		switch {
		case made[i] == nil:
		case r.opts.Judge:
			j.kept = &memoScope{bundle: made[i]}
		default:
			j.kept = m.keepScope(j, made[i], r, len(problems[i]) > 0)
		}
	}
	for _, p := range ps {
		var busiest *scopeJob
		for _, j := range p.jobs {
			if j.kept == nil {
				continue
			}
			l = append(l, s.add(j.kept.bundle)...)
			if n := j.kept.bundle.slots; n > p.slots {
				p.slots, busiest = n, j
			}
		}
		if n := slotsFor(p.slots); n > slotStep {
			l = append(l, moreSlots(p, busiest.apis[0], n))
		}
	}
	return l
}

func moreSlots(p *port, api *ir.API, n int) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Warning, Code: "render/more-slots", Object: api.Origin.Object, Subject: api.Origin.Range,
		Summary: fmt.Sprintf("%d filters with rules run one after the other; port %d has %d slots instead of %d", p.slots, p.listener.Addr.Port(), n, slotStep),
		Hint:    "connections of the port drain once whenever the number of slots changes; fewer policies with rules avoid that"}
}

// parallel calls f for 0 to n-1 on all cores.
func parallel(n int, f func(int)) {
	const chunk = 16
	workers := min(runtime.GOMAXPROCS(0), (n+chunk-1)/chunk)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		i := next
		next += chunk
		return i
	}
	for range workers {
		wg.Go(func() {
			for i := take(); i < n; i = take() {
				for k := i; k < min(i+chunk, n); k++ {
					f(k)
				}
			}
		})
	}
	wg.Wait()
}

// sum gathers bundles into Resources.
type sum struct {
	byType  [len(resourceTypes)][]*Resource
	byKey   map[Key]*Resource // of what policies brought, which may come more than once
	bundles []*bundle
}

// newSum makes room for as much as last time.
func newSum(last *Resources) *sum {
	s := &sum{byKey: map[Key]*Resource{}}
	if last == nil {
		return s
	}
	for i, l := range last.byType {
		s.byType[i] = make([]*Resource, 0, len(l)+1)
	}
	s.bundles = make([]*bundle, 0, len(last.bundles)+1)
	return s
}

func (s *sum) add(b *bundle) diag.List {
	var l diag.List
	s.put(b.resource)
	s.bundles = append(s.bundles, b)
	for _, x := range b.resources {
		old := s.byKey[x.Key]
		if old == nil {
			s.byKey[x.Key] = x
			s.put(x)
			continue
		}
		if old.Hash != x.Hash && len(old.Origins) > 0 && len(x.Origins) > 0 {
			l = append(l, conflict(shortType(x.TypeURL)+" "+quote(x.Name), *old.Origins[0], *x.Origins[0]))
		}
	}
	return l
}

func (s *sum) put(x *Resource) {
	i := slices.Index(resourceTypes[:], x.TypeURL)
	s.byType[i] = append(s.byType[i], x)
}

func (s *sum) resources(g *ir.Gateway) *Resources {
	for _, l := range s.byType {
		sortResources(l)
	}
	r := &Resources{revision: g.Revision, byType: s.byType, bundles: s.bundles, sealed: g.Sealed}
	r.instances = sync.OnceValue(func() map[string]Instance { return gatherInstances(r.bundles) })
	r.files = sync.OnceValue(func() []File { return gatherFiles(r.bundles) })
	ls := slices.Clone(g.Listeners)
	slices.SortFunc(ls, func(a, b *ir.Listener) int {
		return cmp.Or(cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Addr().Compare(b.Addr.Addr()))
	})
	for _, x := range ls {
		r.addresses = append(r.addresses, x.Addr.String())
	}
	return r
}
