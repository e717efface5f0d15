package render

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	downstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	fixedheapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
)

// BootstrapOptions are the parameters of Bootstrap. Socket paths must stay under 108 bytes.
type BootstrapOptions struct {
	NodeID         string
	XDSSocket      string
	EnforceSocket  string
	AdminSocket    string
	MaxHeapBytes   uint64        // 0: no heap limit
	MaxConnections uint64        // downstream; 0: 50,000
	XDSBackoff     time.Duration // largest reconnect delay; 0: 1 s
}

const (
	xdsCluster = "flexgw-xds"
	anchorName = "flexgw-scopes"
)

// Bootstrap is the Envoy bootstrap of the daemon: nothing in it depends on declarations.
func Bootstrap(o BootstrapOptions) *bootstrapv3.Bootstrap {
	w := newWire(newWalker())
	b := base(w, o)
	b.DynamicResources = &bootstrapv3.Bootstrap_DynamicResources{LdsConfig: policy.ADS(), CdsConfig: policy.ADS(), AdsConfig: adsSource(o)}
	b.StaticResources.Clusters = append([]*clusterv3.Cluster{pipeCluster(w, xdsCluster, o.XDSSocket, &corev3.Http2ProtocolOptions{
		ConnectionKeepalive: &corev3.KeepaliveSettings{Interval: seconds(30), Timeout: seconds(5)}}, nil)}, b.StaticResources.Clusters...)
	b.StaticResources.Listeners = []*listenerv3.Listener{anchor(w)}
	return b
}

// base is what the daemon's bootstrap and the static form have in common.
func base(w *wire, o BootstrapOptions) *bootstrapv3.Bootstrap {
	return &bootstrapv3.Bootstrap{
		Node:                   &corev3.Node{Id: o.NodeID, Cluster: "flexgw"},
		Admin:                  admin(o.AdminSocket),
		LayeredRuntime:         runtimeLayers(),
		ClusterManager:         &bootstrapv3.ClusterManager{},
		TypedDnsResolverConfig: resolver(w),
		DeferredStatOptions:    &bootstrapv3.Bootstrap_DeferredStatOptions{EnableDeferredCreationStats: true},
		StatsFlushInterval:     seconds(10),
		OverloadManager:        overload(w, o),
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Clusters: []*clusterv3.Cluster{
			pipeCluster(w, policy.EnforceCluster, o.EnforceSocket, &corev3.Http2ProtocolOptions{MaxConcurrentStreams: wrapperspb.UInt32(1000)}, enforceLimits())}},
	}
}

// resolver asks the host's name servers, with less patience than the 130 seconds that Envoy has by default for a name of which nobody
// answers (4 attempts from 5 seconds on, for an IPv4 address and then for an IPv6 one): for so long a start keeps every port closed,
// and a change waits. A cluster that has no address by then answers 503, and asks again every few seconds (byName).
func resolver(w *wire) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: "envoy.network.dns_resolver.cares", TypedConfig: w.any(&caresv3.CaresDnsResolverConfig{
		QueryTimeoutSeconds: wrapperspb.UInt64(1), QueryTries: wrapperspb.UInt32(2)})}
}

// adsSource is the one stream to the daemon. What is not acknowledged by it is asked for again, soon.
func adsSource(o BootstrapOptions) *corev3.ApiConfigSource {
	most := o.XDSBackoff
	if most == 0 {
		most = time.Second
	}
	return &corev3.ApiConfigSource{
		ApiType:                   corev3.ApiConfigSource_DELTA_GRPC,
		TransportApiVersion:       corev3.ApiVersion_V3,
		SetNodeOnFirstMessageOnly: true,
		GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: xdsCluster,
			RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
				BaseInterval: durationpb.New(min(100*time.Millisecond, most)), MaxInterval: durationpb.New(most)}},
		}}}},
	}
}

// admin listens on a socket of its own group only, and answers nothing that stops Envoy or changes its runtime.
func admin(socket string) *bootstrapv3.Admin {
	exact := func(s string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
	}
	prefix := func(s string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: s}}
	}
	return &bootstrapv3.Admin{
		Address:               pipe(socket, 0o660),
		IgnoreGlobalConnLimit: true,
		AllowPaths: []*matcherv3.StringMatcher{
			prefix("/config_dump"), prefix("/stats"), exact("/ready"), prefix("/server_info"), prefix("/init_dump"), prefix("/clusters"),
			prefix("/listeners"), prefix("/drain_listeners"), prefix("/healthcheck/"), prefix("/certs"), prefix("/logging"), exact("/reopen_logs"),
		},
	}
}

// runtimeLayers lift RE2's size limit, which refuses 100 alternatives, and keep Envoy's own layer for the admin.
func runtimeLayers() *bootstrapv3.LayeredRuntime {
	limits := &structpb.Struct{Fields: map[string]*structpb.Value{
		"re2.max_program_size.error_level": structpb.NewNumberValue(4294967295),
		"re2.max_program_size.warn_level":  structpb.NewNumberValue(10000),
	}}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{
		{Name: "static", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: limits}},
		{Name: "admin", LayerSpecifier: &bootstrapv3.RuntimeLayer_AdminLayer_{AdminLayer: &bootstrapv3.RuntimeLayer_AdminLayer{}}},
	}}
}

func overload(w *wire, o BootstrapOptions) *overloadv3.OverloadManager {
	most := o.MaxConnections
	if most == 0 {
		most = 50_000
	}
	m := &overloadv3.OverloadManager{RefreshInterval: &durationpb.Duration{Nanos: 250_000_000}}
	m.ResourceMonitors = []*overloadv3.ResourceMonitor{monitor("envoy.resource_monitors.global_downstream_max_connections",
		w.any(&downstreamv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: int64(most)}))}
	if o.MaxHeapBytes == 0 {
		return m
	}
	const heap = "envoy.resource_monitors.fixed_heap"
	m.ResourceMonitors = append(m.ResourceMonitors, monitor(heap, w.any(&fixedheapv3.FixedHeapConfig{MaxHeapSizeBytes: o.MaxHeapBytes})))
	for _, a := range []struct {
		name string
		at   float64
	}{{"shrink_heap", 0.95}, {"stop_accepting_connections", 0.97}, {"stop_accepting_requests", 0.98}} {
		m.Actions = append(m.Actions, &overloadv3.OverloadAction{Name: "envoy.overload_actions." + a.name,
			Triggers: []*overloadv3.Trigger{{Name: heap, TriggerOneof: &overloadv3.Trigger_Threshold{Threshold: &overloadv3.ThresholdTrigger{Value: a.at}}}}})
	}
	return m
}

func monitor(name string, config *anypb.Any) *overloadv3.ResourceMonitor {
	return &overloadv3.ResourceMonitor{Name: name, ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: config}}
}

func pipe(path string, mode uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path, Mode: mode}}}
}

func pipeCluster(w *wire, name, socket string, h2 *corev3.Http2ProtocolOptions, limits *clusterv3.CircuitBreakers) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       seconds(1),
		CircuitBreakers:      limits,
		LoadAssignment:       loadAssignment(name, &endpointv3.Endpoint{Address: pipe(socket, 0)}),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: w.any(&httpv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}}}})},
	}
}

// enforceLimits let every request visit the daemon: 1,024 at once, the default, would be a limit of the gateway.
func enforceLimits() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(65_536),
		MaxPendingRequests: wrapperspb.UInt32(65_536),
		MaxRequests:        wrapperspb.UInt32(1_000_000),
		MaxRetries:         wrapperspb.UInt32(65_536),
	}}}
}

// anchor binds no port. It makes Envoy ask for scopes before it asks for listeners, so that no port opens with 404s; its
// scoped_rds is that of every listener (scopes.md, row 4).
func anchor(w *wire) *listenerv3.Listener {
	h := &hcmv3.HttpConnectionManager{
		StatPrefix:     anchorName,
		RouteSpecifier: &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: scopedRoutes()},
		HttpFilters:    []*hcmv3.HttpFilter{httpFilter(routerName, w.any(&routerv3.Router{}))},
	}
	return &listenerv3.Listener{
		Name:       anchorName,
		BindToPort: wrapperspb.Bool(false),
		Address:    socketAddress("127.0.0.1", 1),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: hcmName, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: w.any(h)}}}}},
	}
}
