package render

import (
	"cmp"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnscommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	upstreamcodecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

const (
	httpOptions     = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	codecName       = "envoy.filters.http.upstream_codec"
	connectionLimit = 32 << 10 // per_connection_buffer_limit_bytes; body readers raise it on their routes
)

// outbound is what the policies of one Service ask together.
type outbound struct {
	tls        *tlsv3.UpstreamTlsContext
	tlsBy      ir.Origin
	unverified bool
	filters    []*hcmv3.HttpFilter
	thresholds *clusterv3.CircuitBreakers_Thresholds
	setBy      map[string]ir.Origin
	idle       time.Duration
	idleBy     ir.Origin
}

// cluster renders the cluster of one or more Services that share it; only a Service of its own has bindings.
func (r *renderer) cluster(name string, ups []*ir.Upstream) (*bundle, diag.List) {
	u := ups[0]
	out := &bundle{}
	w := r.wire()
	defer r.release(w)
	o, l := r.outbound(w, u, out)
	if l.HasErrors() {
		return nil, l
	}
	c := w.newCluster()
	c.Name = name
	c.ConnectTimeout = seconds(5)
	c.PerConnectionBufferLimitBytes = wrapperspb.UInt32(connectionLimit)
	c.LoadAssignment = assignment(name, u)
	c.CircuitBreakers = breakers(u.Settings, o.thresholds)
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{}
	discover(r.dns, c, u)
	var t *tlsv3.UpstreamTlsContext
	if u.Scheme == "https" || o.tls != nil {
		t = upstreamTLS(u, o.tls, o.unverified)
	}
	c.TypedExtensionProtocolOptions[httpOptions] = r.protocol(w, u, o, t)
	if t != nil {
		c.TransportSocket = upstreamSocket(w, t)
	}
	var origins []*ir.Origin
	if !r.opts.Judge {
		origins = make([]*ir.Origin, 0, len(ups)+len(u.Bindings))
		for _, x := range ups {
			origins = append(origins, &x.Origin)
		}
		origins = appendOrigins(origins, u.Bindings)
	}
	out.resource = newResource(w, name, c, origins)
	r.checkFiles(w, out)
	r.lighten(out)
	return out, append(l, faults(w, u.Origin)...)
}

// protocolKey is what the protocol options of most clusters depend on.
type protocolKey struct {
	scheme string
	idle   time.Duration
}

// protocol is the protocol options of a cluster. Those of clusters without TLS and without filters are made once.
func (r *renderer) protocol(w *wire, u *ir.Upstream, o *outbound, t *tlsv3.UpstreamTlsContext) *anypb.Any {
	key := protocolKey{u.Scheme, cmp.Or(o.idle, u.Settings.UpstreamIdle)}
	usual := t == nil && len(o.filters) == 0
	if usual {
		if a, ok := r.protocols.Load(key); ok {
			return a.(*anypb.Any)
		}
	}
	p := protocol(u.Scheme, t)
	p.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(key.idle)}
	if len(o.filters) > 0 {
		p.HttpFilters = append(o.filters, httpFilter(codecName, w.any(&upstreamcodecv3.UpstreamCodec{})))
	}
	a := w.any(p)
	if usual && len(w.faults) == 0 {
		r.protocols.Store(key, a)
	}
	return a
}

// outbound asks the policies of a Service in the order in which they run.
func (r *renderer) outbound(w *wire, u *ir.Upstream, out *bundle) (*outbound, diag.List) {
	var l diag.List
	if len(u.Bindings) == 0 {
		return &outbound{}, nil
	}
	o := &outbound{setBy: map[string]ir.Origin{}}
	used := map[string]bool{codecName: true}
	for _, b := range u.Bindings {
		if unready(b) {
			continue
		}
		id := bindingName(b)
		for used[id] {
			id += "~"
		}
		used[id] = true
		a, problems := r.ask(b, policy.Input{Upstream: u, Settings: u.Settings, ID: id})
		l = append(l, problems...)
		if a == nil {
			continue
		}
		if len(b.Rules) > 0 && !a.typ.OwnRules() {
			l = append(l, notConditional(b, "it is bound to a Service"))
		}
		l = append(l, out.brought(r.walker, a, func(f policy.File) string { return r.path(f.Data, f.Ext) })...)
		if x := a.effect.Upstream; x != nil {
			l = append(l, o.add(w, a, x)...)
		}
	}
	return o, l
}

func (o *outbound) add(w *wire, a *asked, x *policy.Upstream) diag.List {
	var l diag.List
	by := a.binding.Origin
	if x.TLS != nil || x.Unverified {
		if o.tls != nil {
			l = append(l, conflict("the TLS context of the Service", o.tlsBy, by))
		}
		o.tls, o.tlsBy, o.unverified = x.TLS, by, x.Unverified
		if o.tls == nil {
			o.tls = &tlsv3.UpstreamTlsContext{}
		}
	}
	if x.Idle > 0 {
		if o.idle > 0 && o.idle != x.Idle {
			l = append(l, conflict("the idle timeout of the Service", o.idleBy, by))
		}
		o.idle, o.idleBy = x.Idle, by
	}
	if x.Thresholds != nil {
		if o.thresholds == nil {
			o.thresholds = &clusterv3.CircuitBreakers_Thresholds{}
		}
		overlay(o.thresholds.ProtoReflect(), x.Thresholds.ProtoReflect(), "", func(_ protoreflect.FieldDescriptor, path string, old, now protoreflect.Value) {
			if first, ok := o.setBy[path]; ok && !old.Equal(now) {
				l = append(l, conflict(path+" of the Service", first, by))
			}
			o.setBy[path] = by
		})
	}
	for _, f := range x.Filters {
		o.filters = append(o.filters, httpFilter(filterName(a.id, f.Name), w.any(f.Config)))
	}
	return l
}

// discover says where the addresses of a Service come from: an IP literal is one, a name is resolved
// (envoy-mapping.md, 2.7).
func discover(dns *anypb.Any, c *clusterv3.Cluster, u *ir.Upstream) {
	if isIP(u.Host) {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		return
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
		Name:        "envoy.clusters.dns",
		TypedConfig: dns}}
}

// byName resolves a name, IPv4 first, and uses all of its addresses.
func byName() *dnsv3.DnsCluster {
	return &dnsv3.DnsCluster{
		DnsRefreshRate:        seconds(5),
		DnsMinRefreshRate:     seconds(1),
		RespectDnsTtl:         true,
		DnsLookupFamily:       dnscommonv3.DnsLookupFamily_V4_PREFERRED,
		DnsFailureRefreshRate: &dnsv3.DnsCluster_RefreshRate{BaseInterval: seconds(2), MaxInterval: seconds(10)},
	}
}

func assignment(cluster string, u *ir.Upstream) *endpointv3.ClusterLoadAssignment {
	e := &endpointv3.Endpoint{Address: socketAddress(u.Host, u.Port)}
	if !isIP(u.Host) {
		e.Hostname = u.Host
	}
	return loadAssignment(cluster, e)
}

func loadAssignment(cluster string, e *endpointv3.Endpoint) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: e}}}}}}
}

func socketAddress(host string, port uint16) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)}}}}
}

// breakers are the gateway's limits with those of a policy on top; nil: Envoy's defaults, which are the product's.
func breakers(s *ir.Settings, want *clusterv3.CircuitBreakers_Thresholds) *clusterv3.CircuitBreakers {
	if want == nil && s.MaxConnections|s.MaxPendingRequests|s.MaxRequests|s.MaxRetries|s.MaxConnectionPools == 0 {
		return nil
	}
	t := &clusterv3.CircuitBreakers_Thresholds{
		MaxConnections:     positive(s.MaxConnections),
		MaxPendingRequests: positive(s.MaxPendingRequests),
		MaxRequests:        positive(s.MaxRequests),
		MaxRetries:         positive(s.MaxRetries),
		MaxConnectionPools: positive(s.MaxConnectionPools),
	}
	if want != nil {
		overlay(t.ProtoReflect(), want.ProtoReflect(), "", ignoreField)
	}
	if proto.Size(t) == 0 {
		return nil
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{t}}
}

func positive(n uint32) *wrapperspb.UInt32Value {
	if n == 0 {
		return nil
	}
	return wrapperspb.UInt32(n)
}

// protocol chooses HTTP/1.1, HTTP/2 or what ALPN agrees on. HTTP/1.1 with h2 among the ALPN names breaks with 502.
func protocol(scheme string, t *tlsv3.UpstreamTlsContext) *httpv3.HttpProtocolOptions {
	h2 := &corev3.Http2ProtocolOptions{AllowConnect: true} // websockets over RFC 8441
	explicitH2 := &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
		ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}}}}
	var alpn []string
	if t != nil {
		alpn = t.CommonTlsContext.AlpnProtocols
	}
	switch {
	case scheme == "h2":
		if t != nil && len(alpn) == 0 {
			t.CommonTlsContext.AlpnProtocols = []string{"h2"}
		}
		return explicitH2
	case slices.Contains(alpn, "h2") && len(alpn) == 1:
		return explicitH2
	case slices.Contains(alpn, "h2"):
		return &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_AutoConfig{
			AutoConfig: &httpv3.HttpProtocolOptions_AutoHttpConfig{
				HttpProtocolOptions: &corev3.Http1ProtocolOptions{}, Http2ProtocolOptions: h2}}}
	}
	return &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
		ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}}}}}
}

func seconds(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: n} }

func httpFilter(name string, config *anypb.Any) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: config}}
}
