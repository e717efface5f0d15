// Package render turns the model into Envoy resources.
//
// It is pure: no I/O, no clock, no environment. It does not know where text comes from nor how resources travel.
package render

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

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
	*walker
	constants
}

// Render is the back half of the pipeline. The result is nil if the list has an Error. m may be nil; a Memo belongs to
// one set of Types.
func Render(g *ir.Gateway, t Types, o Options, m *Memo) (*Resources, diag.List) {
	if m == nil {
		m = &Memo{}
	}
	if o.SystemCA == "" {
		o.SystemCA = defaultSystemCA
	}
	m.begin(o)
	r := &renderer{gateway: g, types: t, opts: o, walker: m.walker, constants: m.constants}
	s := &sum{revision: g.Revision, byKey: map[Key]*Resource{}, files: map[string]File{}, instances: map[string]Instance{}}

	var l diag.List
	l = append(l, r.clusters(m, s)...)
	l = append(l, r.ports(m, s)...)
	m.end()
	if l.HasErrors() {
		return nil, l.Sort()
	}
	res := s.resources(g)
	l = append(l, checkClosure(res)...)
	if l.HasErrors() {
		return nil, l.Sort()
	}
	return res, l.Sort()
}

// clusters renders every Service; those that share a cluster together.
func (r *renderer) clusters(m *Memo, s *sum) diag.List {
	var l diag.List
	groups := map[string][]*ir.Upstream{}
	var names []string
	for _, u := range r.gateway.Upstreams {
		n := clusterName(u)
		if groups[n] == nil {
			names = append(names, n)
		}
		groups[n] = append(groups[n], u)
	}
	slices.Sort(names)
	for _, n := range names {
		b, problems := m.cluster(n, groups[n], r)
		l = append(l, problems...)
		if b != nil {
			l = append(l, s.add(b)...)
		}
	}
	if s.names[Key{SecretType, systemCA}] {
		w := newWire(r.walker)
		l = append(l, s.add(&bundle{resource: newResource(w, systemCA, systemCASecret(r.opts.SystemCA), nil)})...)
		l = append(l, faults(w, ir.Origin{})...)
	}
	return l
}

// port is one listener on its way.
type port struct {
	listener *ir.Listener
	splits   *splits
	jobs     []scopeJob
	slots    int
}

// ports renders the scopes of all listeners, then the listeners: how many slots they have is the scopes' need.
func (r *renderer) ports(m *Memo, s *sum) diag.List {
	var l diag.List
	var ps []*port
	for _, x := range r.gateway.Listeners {
		if i := len(ps) - 1; slices.ContainsFunc(ps, func(p *port) bool { return p.listener.Addr.Port() == x.Addr.Port() }) {
			l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "render/port-twice", Object: listenerOrigin(x).Object, Subject: listenerOrigin(x).Range,
				Summary: fmt.Sprintf("port %d is declared with two bind addresses, %s and %s", x.Addr.Port(), ps[i].listener.Addr.Addr(), x.Addr.Addr()),
				Hint:    "use one bind address for all APIs of a port"})
			continue
		}
		ps = append(ps, m.port(x))
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
	type result struct {
		bundle   *bundle
		problems diag.List
	}
	var jobs []scopeJob
	var results []result
	var todo []int
	for _, p := range ps {
		for _, j := range p.jobs {
			b := m.scope(j, r)
			if b == nil {
				todo = append(todo, len(jobs))
			}
			jobs, results = append(jobs, j), append(results, result{bundle: b})
		}
	}
	parallel(len(todo), func(i int) {
		at := todo[i]
		b, problems := r.scope(jobs[at])
		results[at] = result{b, problems}
	})
	var l diag.List
	for _, at := range todo {
		l = append(l, results[at].problems...)
		if results[at].bundle != nil && len(results[at].problems) == 0 {
			m.keepScope(jobs[at], results[at].bundle, r)
		}
	}
	i := 0
	for _, p := range ps {
		busiest := 0
		for range p.jobs {
			if b := results[i].bundle; b != nil {
				l = append(l, s.add(b)...)
				if b.slots > p.slots {
					p.slots, busiest = b.slots, i
				}
			}
			i++
		}
		if n := slotsFor(p.slots); n > slotStep {
			l = append(l, moreSlots(p, jobs[busiest].apis[0], n))
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
	revision  string
	byType    map[string][]*Resource
	byKey     map[Key]*Resource // of what policies brought, which may come more than once
	names     map[Key]bool      // what clusters refer to
	files     map[string]File
	instances map[string]Instance
}

func (s *sum) add(b *bundle) diag.List {
	var l diag.List
	if s.byType == nil {
		s.byType, s.names = map[string][]*Resource{}, map[Key]bool{}
	}
	s.put(b.resource)
	for _, x := range b.resources {
		old := s.byKey[x.Key]
		if old == nil {
			s.byKey[x.Key] = x
			s.put(x)
			continue
		}
		if old.Hash != x.Hash && len(old.Origins) > 0 && len(x.Origins) > 0 {
			l = append(l, conflict(shortType(x.TypeURL)+" "+quote(x.Name), old.Origins[0], x.Origins[0]))
		}
	}
	for _, f := range b.files {
		if old, ok := s.files[f.Path]; ok {
			f.Secret = f.Secret || old.Secret
		}
		s.files[f.Path] = f
	}
	maps.Copy(s.instances, b.instances)
	return l
}

func (s *sum) put(x *Resource) {
	s.byType[x.TypeURL] = append(s.byType[x.TypeURL], x)
	if x.TypeURL != ClusterType {
		return
	}
	for _, ref := range x.Refs {
		s.names[ref] = true
	}
}

func (s *sum) resources(g *ir.Gateway) *Resources {
	for _, l := range s.byType {
		sortResources(l)
	}
	r := &Resources{revision: s.revision, byType: s.byType, instances: s.instances, files: sortedFiles(s.files)}
	ls := slices.Clone(g.Listeners)
	slices.SortFunc(ls, func(a, b *ir.Listener) int {
		return cmp.Or(cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Addr().Compare(b.Addr.Addr()))
	})
	for _, x := range ls {
		r.addresses = append(r.addresses, x.Addr.String())
	}
	return r
}

// sortedKeys is used where a map is printed.
func sortedKeys[V any](m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), strings.Compare)
}
