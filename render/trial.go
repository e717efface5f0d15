package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/schema/ir"
)

// Trial takes resources apart into pieces that Envoy can be asked about one by one: `--mode validate` names the first mistake
// only, and often not what it is in. The configurations that it makes need nothing of the world: no name to resolve, no file, no
// certificate authority of a host. Not safe for concurrent use.
type Trial struct {
	gateway *ir.Gateway
	types   Types
	res     *Resources
	parts   func() ([]Part, error)
	files   map[string][]byte
	scopes  map[string]*trialScope
	apis    map[string]*ir.API
}

// PartKind says what a Part is of its resource.
type PartKind uint8

// The kinds of parts: what a listener or a cluster is without the others; its TLS context; one route; one filter of a policy, with
// its condition.
const (
	BasePart PartKind = iota
	SocketPart
	RoutePart
	FilterPart
)

// Part is the smallest piece that can be wrong by itself.
type Part struct {
	Key
	Kind PartKind
	API  string // "namespace/name", of what is in a scope
	Name string // of the route, or the inner name of the filter
}

// Form is a configuration in Envoy's binary form. It is a function of its content: equal parts, equal bytes.
type Form struct {
	Data                []byte
	Clusters, Listeners int // how many there are
}

// NewTrial makes a Trial of what g was rendered to.
func NewTrial(g *ir.Gateway, t Types, r *Resources) *Trial {
	x := &Trial{gateway: g, types: t, res: r, files: contents(r), scopes: map[string]*trialScope{}, apis: map[string]*ir.API{}}
	x.parts = sync.OnceValues(x.takeApart)
	return x
}

// Empty reports whether there is nothing to ask about.
func (t *Trial) Empty() bool { return len(t.res.list(ListenerType))+len(t.res.list(ClusterType)) == 0 }

// Parts are all parts, those of one resource and of one API beside each other. The caller must not change them.
func (t *Trial) Parts() ([]Part, error) { return t.parts() }

// takeApart is put off until somebody asks: mostly nothing is wrong.
func (t *Trial) takeApart() ([]Part, error) {
	for _, l := range t.gateway.Listeners {
		for _, a := range l.APIs {
			t.apis[apiName(a)] = a
		}
	}
	var all []Part
	for _, step := range []func() ([]Part, error){t.clusterParts, t.listenerParts, t.scopeParts} {
		parts, err := step()
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	return all, nil
}

// trialOptions never name a socket that anybody has.
var trialOptions = BootstrapOptions{NodeID: "flexgw", EnforceSocket: "enforce.sock", AdminSocket: "admin.sock"}

// trialName is the listener of scopes whose own listener is not asked about.
const trialName = "flexgw-trial"

func (t *Trial) statics() *statics {
	return &statics{scopes: map[string][]*routev3.ScopedRouteConfiguration{}, files: t.files, offline: true}
}

// Whole is everything, put together as it will be served.
func (t *Trial) Whole() (Form, error) {
	b := base(newWire(newWalker()), trialOptions)
	if err := t.statics().all(b.StaticResources, t.res); err != nil {
		return Form{}, err
	}
	return form(b)
}

func form(b *bootstrapv3.Bootstrap) (Form, error) {
	data, err := marshal(b)
	return Form{Data: data, Clusters: len(b.StaticResources.Clusters), Listeners: len(b.StaticResources.Listeners)}, err
}

// Some is a configuration of some parts, in the order of Parts. What they refer to and is not among them is replaced by something
// of its name with which nothing is wrong. No parts: the frame alone.
func (t *Trial) Some(parts []Part) (Form, error) {
	w := newWire(newWalker())
	b := base(w, trialOptions)
	if _, err := t.parts(); err != nil {
		return Form{}, err
	}
	a := &assembly{trial: t, wire: w, to: b.StaticResources, clusters: map[string]bool{}, secrets: map[string]bool{}}
	var scopes []*routev3.ScopedRouteConfiguration
	for len(parts) > 0 {
		n := 1
		for n < len(parts) && parts[n].Key == parts[0].Key {
			n++
		}
		these := parts[:n]
		parts = parts[n:]
		var err error
		switch these[0].TypeURL {
		case ClusterType:
			err = a.cluster(these)
		case ListenerType:
			err = a.listener(these)
		default:
			var sc *routev3.ScopedRouteConfiguration
			if sc, err = a.scope(these); err == nil {
				scopes = append(scopes, sc)
			}
		}
		if err != nil {
			return Form{}, fmt.Errorf("trial of %s %s: %w", shortType(these[0].TypeURL), these[0].Name, err)
		}
	}
	if len(scopes) > 0 {
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, trialListener(w, trialName, scopes))
	}
	if err := a.complete(); err != nil {
		return Form{}, err
	}
	return form(b)
}

// trialListener is a listener with which nothing is wrong.
func trialListener(w *wire, name string, scopes []*routev3.ScopedRouteConfiguration) *listenerv3.Listener {
	l := anchor(w)
	l.Name = name
	h := &hcmv3.HttpConnectionManager{StatPrefix: name, HttpFilters: httpFilters(w, slotStep, false),
		RouteSpecifier: &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: scopedRoutes()}}
	setScopes(h.GetScopedRoutes(), scopes)
	l.FilterChains[0].Filters[0].ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: w.any(h)}
	return l
}

// trialScope is a scope taken apart.
type trialScope struct {
	message *routev3.ScopedRouteConfiguration
	chains  map[string][]trialEntry // by API
}

// trialEntry is one filter in one place of a chain.
type trialEntry struct {
	slot   string
	filter string
	config *corev3.TypedExtensionConfig // of a chain
	whole  *anypb.Any                   // of a conditional slot, which has no other filter
	inner  *anypb.Any                   // what a route says under the filter's name
}

func (t *Trial) clusterParts() (parts []Part, err error) {
	for _, res := range t.res.list(ClusterType) {
		m, err := res.Message()
		if err != nil {
			return nil, err
		}
		c := m.(*clusterv3.Cluster)
		parts = append(parts, Part{Key: res.Key})
		if c.GetTransportSocket() != nil {
			parts = append(parts, Part{Key: res.Key, Kind: SocketPart})
		}
		filters, err := upstreamFilters(c)
		if err != nil {
			return nil, err
		}
		for _, f := range filters {
			if f.GetName() != codecName {
				parts = append(parts, Part{Key: res.Key, Kind: FilterPart, Name: f.GetName()})
			}
		}
	}
	return parts, nil
}

func upstreamFilters(c *clusterv3.Cluster) ([]*hcmv3.HttpFilter, error) {
	a := c.GetTypedExtensionProtocolOptions()[httpOptions]
	if a == nil {
		return nil, nil
	}
	p := &httpv3.HttpProtocolOptions{}
	err := a.UnmarshalTo(p)
	return p.GetHttpFilters(), err
}

func (t *Trial) listenerParts() (parts []Part, err error) {
	for _, res := range t.res.list(ListenerType) {
		m, err := res.Message()
		if err != nil {
			return nil, err
		}
		parts = append(parts, Part{Key: res.Key})
		if cs := m.(*listenerv3.Listener).GetFilterChains(); len(cs) > 0 && cs[0].GetTransportSocket() != nil {
			parts = append(parts, Part{Key: res.Key, Kind: SocketPart})
		}
	}
	return parts, nil
}

func (t *Trial) scopeParts() (parts []Part, err error) {
	x := t.statics()
	for _, res := range t.res.list(ScopeType) {
		to := &bootstrapv3.Bootstrap_StaticResources{}
		if err := x.add(to, res); err != nil {
			return nil, err
		}
		list := x.scopes[portOf(res.Name)]
		sc := &trialScope{message: list[len(list)-1], chains: map[string][]trialEntry{}}
		t.scopes[res.Name] = sc
		above := sc.message.GetRouteConfiguration().GetTypedPerFilterConfig()
		var apis []string
		routes := map[string][]Part{}
		for _, h := range sc.message.GetRouteConfiguration().GetVirtualHosts() {
			for _, r := range h.GetRoutes() {
				api := apiOf(r.GetName())
				if _, seen := sc.chains[api]; !seen {
					entries := r.GetTypedPerFilterConfig()
					if len(above) > 0 {
						entries = above
					}
					if sc.chains[api], err = takeChainApart(entries); err != nil {
						return nil, err
					}
					apis = append(apis, api)
				}
				routes[api] = append(routes[api], Part{Key: res.Key, Kind: RoutePart, API: api, Name: r.GetName()})
			}
		}
		for _, api := range apis {
			parts = append(parts, routes[api]...)
			for _, e := range sc.chains[api] {
				parts = append(parts, Part{Key: res.Key, Kind: FilterPart, API: api, Name: e.filter})
			}
		}
	}
	return parts, nil
}

// portOf is the first fragment of a scope's key, which its name starts with.
func portOf(scope string) string {
	port, _, _ := strings.Cut(scope, "/")
	return port
}

// apiOf is the API of a route: what its name starts with.
func apiOf(route string) string {
	parts := strings.SplitN(route, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// takeChainApart lists the filters of a chain by slot, without the marker.
func takeChainApart(entries map[string]*anypb.Any) ([]trialEntry, error) {
	var list []trialEntry
	for name, a := range entries {
		_, chain, ok := slotNumber(name)
		switch {
		case !ok:
			continue
		case chain && a.GetTypeUrl() == chainType:
			c := &filterchainv3.FilterChainConfigPerRoute{}
			if err := a.UnmarshalTo(c); err != nil {
				return nil, err
			}
			for _, f := range c.GetFilterChain().GetFilters() {
				if f.GetName() != markName {
					list = append(list, trialEntry{slot: name, filter: f.GetName(), config: f, inner: entries[f.GetName()]})
				}
			}
		case a.GetTypeUrl() == condType:
			c := &compositev3.CompositePerRoute{}
			if err := a.UnmarshalTo(c); err != nil {
				return nil, err
			}
			e := &compositev3.ExecuteFilterAction{}
			if ms := c.GetMatcher().GetMatcherList().GetMatchers(); len(ms) > 0 {
				if err := ms[0].GetOnMatch().GetAction().GetTypedConfig().UnmarshalTo(e); err != nil {
					return nil, err
				}
			}
			list = append(list, trialEntry{slot: name, filter: e.GetTypedConfig().GetName(), whole: a})
		}
	}
	slices.SortStableFunc(list, func(a, b trialEntry) int {
		n, chainA, _ := slotNumber(a.slot)
		m, chainB, _ := slotNumber(b.slot)
		return cmp.Or(cmp.Compare(n, m), compareBool(chainA, chainB))
	})
	return list, nil
}

// compareBool puts false first: flex.cond.n runs before flex.chain.n.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// assembly is one configuration in the making.
type assembly struct {
	trial    *Trial
	wire     *wire
	to       *bootstrapv3.Bootstrap_StaticResources
	clusters map[string]bool // named → there
	secrets  map[string]bool // named
}

// offline makes a resource of its own fit for a trial.
func (a *assembly) offline(res *Resource, x *statics) (proto.Message, error) {
	m, err := res.Message()
	if err != nil {
		return nil, err
	}
	err = x.rewrite(m.ProtoReflect())
	return m, err
}

func (a *assembly) cluster(parts []Part) error {
	res, _ := a.trial.res.Get(parts[0].Key)
	m, err := a.offline(res, a.trial.statics())
	if err != nil {
		return err
	}
	whole := m.(*clusterv3.Cluster)
	filters, err := upstreamFilters(whole)
	if err != nil {
		return err
	}
	c := stubCluster(whole.GetName())
	if parts[0].Kind == BasePart {
		c = proto.CloneOf(whole)
		c.TransportSocket = nil
	}
	options := &httpv3.HttpProtocolOptions{}
	if o := c.GetTypedExtensionProtocolOptions()[httpOptions]; o != nil {
		if err := o.UnmarshalTo(options); err != nil {
			return err
		}
	}
	options.HttpFilters = nil
	for _, p := range parts {
		switch p.Kind {
		case SocketPart:
			c.TransportSocket = whole.GetTransportSocket()
		case FilterPart:
			i := slices.IndexFunc(filters, func(f *hcmv3.HttpFilter) bool { return f.GetName() == p.Name })
			options.HttpFilters = append(options.HttpFilters, filters[i])
		}
	}
	if n := len(filters); len(options.HttpFilters) > 0 {
		options.HttpFilters = append(options.HttpFilters, filters[n-1]) // the codec
	}
	if options.UpstreamProtocolOptions == nil || options.GetAutoConfig() != nil && c.TransportSocket == nil {
		options.UpstreamProtocolOptions = protocol("http", nil).UpstreamProtocolOptions // without TLS, ALPN agrees on nothing
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: pack(options)}
	a.clusters[c.Name] = true
	a.to.Clusters = append(a.to.Clusters, c)
	return nil
}

func stubCluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}}
}

func (a *assembly) listener(parts []Part) error {
	res, _ := a.trial.res.Get(parts[0].Key)
	x := a.trial.statics()
	stub := []*routev3.ScopedRouteConfiguration{{Name: "trial", Key: scopeKey([]string{"trial"}), RouteConfiguration: &routev3.RouteConfiguration{Name: "trial"}}}
	x.scopes[strings.TrimPrefix(res.Name, listenerPrefix)] = stub
	m, err := a.offline(res, x)
	if err != nil {
		return err
	}
	l := m.(*listenerv3.Listener)
	socket := l.GetFilterChains()[0].GetTransportSocket()
	if parts[0].Kind != BasePart {
		l = trialListener(a.wire, l.Name, stub)
		l.Address.GetSocketAddress().PortSpecifier = m.(*listenerv3.Listener).GetAddress().GetSocketAddress().GetPortSpecifier()
	}
	l.FilterChains[0].TransportSocket = nil
	if parts[len(parts)-1].Kind == SocketPart {
		l.FilterChains[0].TransportSocket = socket
	}
	a.to.Listeners = append(a.to.Listeners, l)
	return nil
}

// scope is a scope with some of its routes and filters. Filters stand on a route of their own, which takes everything.
func (a *assembly) scope(parts []Part) (*routev3.ScopedRouteConfiguration, error) {
	whole := a.trial.scopes[parts[0].Key.Name]
	m := whole.message
	rc := &routev3.RouteConfiguration{Name: m.GetRouteConfiguration().GetName(), RequestHeadersToRemove: m.GetRouteConfiguration().GetRequestHeadersToRemove(),
		ResponseHeadersToRemove: m.GetRouteConfiguration().GetResponseHeadersToRemove()}
	host := &routev3.VirtualHost{Name: "all", Domains: []string{"*"}}
	rc.VirtualHosts = []*routev3.VirtualHost{host}
	wanted := map[string]bool{}
	filters := map[string]map[string]bool{} // by API
	var apis []string
	for _, p := range parts {
		switch {
		case p.Kind == RoutePart:
			wanted[p.Name] = true
		case filters[p.API] == nil:
			filters[p.API] = map[string]bool{}
			apis = append(apis, p.API)
			fallthrough
		default:
			filters[p.API][p.Name] = true
		}
	}
	for _, h := range m.GetRouteConfiguration().GetVirtualHosts() {
		for _, r := range h.GetRoutes() {
			if wanted[r.GetName()] {
				r = proto.CloneOf(r)
				r.TypedPerFilterConfig = nil
				host.Routes = append(host.Routes, r)
			}
		}
	}
	for _, api := range apis {
		host.Routes = append(host.Routes, &routev3.Route{
			Name: api + "/trial", Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action:               &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}},
			TypedPerFilterConfig: someEntries(whole.chains[api], filters[api]),
		})
	}
	return &routev3.ScopedRouteConfiguration{Name: m.GetName(), Key: m.GetKey(), RouteConfiguration: rc}, nil
}

func someEntries(all []trialEntry, wanted map[string]bool) map[string]*anypb.Any {
	entries := map[string]*anypb.Any{}
	chains := map[string]*filterchainv3.FilterChainConfigPerRoute{}
	for _, e := range all {
		switch {
		case !wanted[e.filter]:
		case e.whole != nil:
			entries[e.slot] = e.whole
		default:
			if chains[e.slot] == nil {
				chains[e.slot] = &filterchainv3.FilterChainConfigPerRoute{FilterChain: &filterchainv3.FilterChain{}}
			}
			c := chains[e.slot].FilterChain
			c.Filters = append(c.Filters, e.config)
			if e.inner != nil {
				entries[e.filter] = e.inner
			}
		}
	}
	for slot, c := range chains {
		entries[slot] = pack(c)
	}
	return entries
}

// pack is an Any of something that was looked at before.
func pack(m proto.Message) *anypb.Any {
	b, err := marshal(m)
	if err != nil {
		return nil
	}
	return &anypb.Any{TypeUrl: typePrefix + string(m.ProtoReflect().Descriptor().FullName()), Value: b}
}

// complete adds what is referred to: secrets as they are, clusters as stubs.
func (a *assembly) complete() error {
	var clusters []string
	for _, c := range a.to.Clusters {
		a.clusters[c.GetName()] = true
	}
	var err error
	look := func(m proto.Message) {
		err = firstOf(err, refsOf(m.ProtoReflect(), func(k Key) {
			switch {
			case k.TypeURL == SecretType:
				a.secrets[k.Name] = true
			case !a.clusters[k.Name]:
				a.clusters[k.Name] = true
				clusters = append(clusters, k.Name)
			}
		}))
	}
	for _, l := range a.to.Listeners {
		look(l)
	}
	for _, c := range a.to.Clusters {
		look(c)
	}
	if err != nil {
		return err
	}
	slices.Sort(clusters)
	for _, n := range clusters {
		a.to.Clusters = append(a.to.Clusters, stubCluster(n))
	}
	for _, res := range a.trial.res.list(SecretType) {
		if !a.secrets[res.Name] {
			continue
		}
		if err := a.trial.statics().add(a.to, res); err != nil {
			return err
		}
	}
	return nil
}

// refsOf calls f for each cluster and secret that m names, through every Any.
func refsOf(m protoreflect.Message, f func(Key)) error {
	var err error
	eachMessage(m, func(in protoreflect.Message) bool {
		if a, ok := in.Interface().(*anypb.Any); ok {
			x, e := unpack(a)
			if e == nil {
				e = refsOf(x.ProtoReflect(), f)
			}
			err = firstOf(err, e)
			return false
		}
		in.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch refFields[fd.FullName()] {
			case refCluster:
				f(Key{ClusterType, v.String()})
			case refSecret:
				f(Key{SecretType, v.String()})
			}
			return true
		})
		return true
	})
	return err
}
