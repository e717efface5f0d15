package render

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render/match"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Memo keeps what Render made of unchanged elements: the same pointers give the same bytes. Not safe for concurrent use.
// The zero Memo is empty.
type Memo struct {
	walker   *walker
	patterns match.Patterns
	constants
	opts      Options
	run       uint64
	scopes    map[string]*memoScope
	groups    map[string]*memoCluster
	listeners map[uint16]*memoPort
	last      *Resources
	ups       []*ir.Upstream       // of the last run
	clustered []*bundle            // what became of ups; nil when there is something to look at again
	fetched   map[policy.Need]Hash // of this run
}

type memoScope struct {
	run    uint64
	apis   []*ir.API
	needs  []policy.Need
	got    []Hash
	warned bool // something was reported, which must be reported again
	bundle *bundle
}

type memoCluster struct {
	ups    []*ir.Upstream
	needs  []policy.Need
	got    []Hash
	warned bool
	bundle *bundle
}

type memoPort struct {
	run      uint64
	apis     []*ir.API
	port     *port
	tls      *ir.Binding
	settings *ir.Settings
	addr     string
	slots    int
	got      []Hash
	bundle   *bundle
	shown    []*ir.API // whose origins the bundle's resource has
}

// begin starts a run. Other options make another rendering of everything.
func (m *Memo) begin(o Options) {
	if m.walker == nil {
		m.walker = newWalker()
		m.constants = newConstants(m.walker)
	}
	if m.scopes == nil || m.opts.Files != o.Files || m.opts.SystemCA != o.SystemCA || m.opts.UsageLog != o.UsageLog || m.opts.Judge != o.Judge {
		m.scopes, m.groups, m.listeners = map[string]*memoScope{}, map[string]*memoCluster{}, map[uint16]*memoPort{}
		m.ups, m.clustered, m.last = nil, nil, nil
	}
	m.opts = o
	m.run++
	m.fetched = map[policy.Need]Hash{}
}

// end forgets what this run did not meet.
func (m *Memo) end() {
	for k, x := range m.scopes {
		if x.run != m.run {
			delete(m.scopes, k)
		}
	}
	for k, x := range m.listeners {
		if x.run != m.run {
			delete(m.listeners, k)
		}
	}
}

// got are the hashes of what was fetched; the zero Hash stands for nothing.
func (m *Memo) got(needs []policy.Need) []Hash {
	var hs []Hash
	for _, n := range needs {
		h, ok := m.fetched[n]
		if !ok {
			if m.opts.Got != nil {
				if b, got := m.opts.Got(n); got {
					h = sha256.Sum256(b)
				}
			}
			m.fetched[n] = h
		}
		hs = append(hs, h)
	}
	return hs
}

// scope finds what became of the same APIs under the same name.
func (m *Memo) scope(j *scopeJob) *memoScope {
	x := j.kept
	if x == nil {
		x = m.scopes[j.name]
	}
	if x == nil || x.warned || !slices.Equal(x.apis, j.apis) || len(x.needs) > 0 && !slices.Equal(x.got, m.got(x.needs)) {
		return nil
	}
	x.run = m.run
	return x
}

func (m *Memo) keepScope(j *scopeJob, b *bundle, r *renderer, warned bool) *memoScope {
	x := &memoScope{run: m.run, apis: j.apis, bundle: b, warned: warned}
	for _, a := range j.apis {
		for _, c := range a.Bindings {
			x.needs = append(x.needs, r.needs(c)...)
		}
	}
	x.got = m.got(x.needs)
	m.scopes[j.name] = x
	return x
}

// clusters are the bundles of all Services, sorted by name.
func (m *Memo) clusters(r *renderer) ([]*bundle, diag.List) {
	ups := r.gateway.Upstreams
	if m.clustered != nil && slices.Equal(m.ups, ups) {
		return m.clustered, nil
	}
	if bundles := m.replaced(r, ups); bundles != nil {
		return bundles, nil
	}
	groups := make(map[string][]*ir.Upstream, len(ups))
	names := make([]string, 0, len(ups))
	for _, u := range ups {
		n := clusterName(u)
		if groups[n] == nil {
			names = append(names, n)
		}
		groups[n] = append(groups[n], u)
	}
	slices.Sort(names)
	was := m.groups
	m.groups = make(map[string]*memoCluster, len(names))
	m.ups, m.clustered = ups, nil
	kept, problems := make([]*memoCluster, len(names)), make([]diag.List, len(names))
	var todo []int
	for i, n := range names {
		if x := was[n]; x != nil && !x.warned && slices.Equal(x.ups, groups[n]) && slices.Equal(x.got, m.got(x.needs)) {
			kept[i] = x
		} else {
			todo = append(todo, i)
		}
	}
	parallel(len(todo), func(k int) {
		kept[todo[k]], problems[todo[k]] = newMemoCluster(names[todo[k]], groups[names[todo[k]]], r)
	})
	for _, i := range todo {
		if kept[i] != nil {
			kept[i].got = m.got(kept[i].needs)
		}
	}
	var l diag.List
	bundles := make([]*bundle, 0, len(names))
	lasting := true
	for i, x := range kept {
		l = append(l, problems[i]...)
		if x == nil {
			continue
		}
		if !m.opts.Judge {
			m.groups[names[i]] = x
		}
		lasting = lasting && len(x.needs) == 0
		bundles = append(bundles, x.bundle)
	}
	if lasting && len(l) == 0 && !m.opts.Judge {
		m.clustered = bundles
	}
	return bundles, l
}

// replaced are the bundles where a few Services were edited that keep their clusters and their places; nil: look at all. An
// edit then costs no more than a look at each Service.
func (m *Memo) replaced(r *renderer, ups []*ir.Upstream) []*bundle {
	const few = 100
	if m.clustered == nil || len(m.ups) != len(ups) {
		return nil
	}
	by := map[*ir.Upstream]*ir.Upstream{}
	var names []string
	for i, was := range m.ups {
		if was == ups[i] {
			continue
		}
		n := clusterName(was)
		if len(by) == few || n != clusterName(ups[i]) {
			return nil
		}
		by[was], names = ups[i], append(names, n)
	}
	slices.Sort(names)
	bundles := slices.Clone(m.clustered)
	fresh := map[string]*memoCluster{}
	for _, n := range slices.Compact(names) {
		group := slices.Clone(m.groups[n].ups)
		for i, u := range group {
			if now := by[u]; now != nil {
				group[i] = now
			}
		}
		x, l := newMemoCluster(n, group, r)
		i, found := slices.BinarySearchFunc(bundles, n, func(b *bundle, n string) int { return strings.Compare(b.resource.Name, n) })
		if x == nil || len(l) > 0 || len(x.needs) > 0 || !found {
			return nil
		}
		bundles[i], fresh[n] = x.bundle, x
	}
	maps.Copy(m.groups, fresh)
	m.ups, m.clustered = ups, bundles
	return bundles
}

func newMemoCluster(name string, ups []*ir.Upstream, r *renderer) (*memoCluster, diag.List) {
	b, l := r.judgeCluster(name, ups)
	if b == nil {
		return nil, l
	}
	x := &memoCluster{ups: ups, bundle: b, warned: len(l) > 0}
	if !r.opts.Judge { // which keeps nothing
		for _, c := range ups[0].Bindings {
			x.needs = append(x.needs, r.needs(c)...)
		}
	}
	return x, l
}

// port splits the APIs of a listener into scopes. Only base paths and names decide, so an edited API keeps the split list.
func (m *Memo) port(l *ir.Listener) *port {
	n := l.Addr.Port()
	x := m.listeners[n]
	if x == nil {
		x = &memoPort{}
		m.listeners[n] = x
	}
	x.run = m.run
	switch {
	case x.port != nil && slices.Equal(x.apis, l.APIs):
	case x.port != nil && slices.EqualFunc(x.apis, l.APIs, samePlace):
		x.port = x.port.with(x.apis, l.APIs)
	default:
		x.port = split(l)
	}
	x.apis = l.APIs
	x.port = &port{listener: l, splits: x.port.splits, jobs: x.port.jobs, spelt: x.port.spelt}
	return x.port
}

// samePlace reports whether an API stands where another one stood: scopes order their APIs by base path and name.
func samePlace(a, b *ir.API) bool {
	return a == b || a.BasePath == b.BasePath && a.Origin.Object == b.Origin.Object && a.Address == b.Address
}

// with replaces APIs by those at the same places of now.
func (p *port) with(was, now []*ir.API) *port {
	by := map[*ir.API]*ir.API{}
	for i := range was {
		if was[i] != now[i] {
			by[was[i]] = now[i]
		}
	}
	q := *p
	q.jobs = slices.Clone(p.jobs)
	for i, j := range q.jobs {
		if !slices.ContainsFunc(j.apis, func(a *ir.API) bool { return by[a] != nil }) {
			continue
		}
		c := &scopeJob{name: j.name, key: j.key, apis: slices.Clone(j.apis)}
		for k, a := range c.apis {
			if b := by[a]; b != nil {
				c.apis[k] = b
			}
		}
		q.jobs[i] = c
	}
	return &q
}

func (m *Memo) listener(p *port, r *renderer) (*bundle, diag.List) {
	l := p.listener
	x := m.listeners[l.Addr.Port()]
	slots := slotsFor(p.slots)
	got := m.got(r.needs(l.TLS))
	if x.bundle == nil || x.tls != l.TLS || x.settings != r.gateway.Settings || x.addr != l.Addr.String() || x.slots != slots ||
		!slices.Equal(x.got, got) || x.bundle.splits != p.splits {
		b, problems := r.listener(l, p.splits, slots)
		if len(problems) > 0 {
			x.bundle = nil
			return b, problems
		}
		x.bundle, x.tls, x.settings, x.addr, x.slots, x.got = b, l.TLS, r.gateway.Settings, l.Addr.String(), slots, got
		x.bundle.splits, x.shown = p.splits, nil
	}
	if !slices.EqualFunc(x.shown, l.APIs, sameAddress) {
		b, res := *x.bundle, *x.bundle.resource
		res.Origins = listenerOrigins(l)
		b.resource = &res
		x.bundle = &b
	}
	x.shown = l.APIs
	return x.bundle, nil
}

// sameAddress reports whether two APIs are the same to the origins of their listener.
func sameAddress(a, b *ir.API) bool {
	return a == b || a.Origin.Object == b.Origin.Object && a.Address == b.Address
}
