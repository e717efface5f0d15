package render

import (
	"maps"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Metadata of every route: what metering counts by (scopes.md, row 5).
const (
	metadataNamespace = "flexgw"
	metadataAPI       = "api"
)

// externalAddress is set by the connection manager and is not among what suppress_envoy_headers takes away.
const externalAddress = "x-envoy-external-address"

// scopeJob is one scope to render: its name is a function of its key, and its APIs stand longest base path first.
type scopeJob struct {
	name string
	key  []string
	apis []*ir.API
	kept *memoScope // what became of it
}

// scope renders one scope. A scope of its own carries its API's chain once; several APIs carry theirs on their routes.
func (r *renderer) scope(j *scopeJob) (*bundle, diag.List) {
	var l diag.List
	out := &bundle{}
	w := r.wire()
	defer r.release(w)
	m := w.newScope()
	own := len(j.apis) == 1
	rc := &m.table
	rc.Name, rc.RequestHeadersToRemove = j.name, slices.Clone(scopeHeaders)
	s := j.apis[0].Settings
	if !s.EnvoyHeaders {
		rc.RequestHeadersToRemove = append(rc.RequestHeadersToRemove, externalAddress)
	}
	if s.RemoveServerHeader {
		rc.ResponseHeadersToRemove = []string{"server"}
	}
	host := &m.host
	host.Name, host.Domains = "all", []string{"*"}
	var origins []*ir.Origin
	for _, api := range j.apis {
		c, problems := r.buildChain(w, api, out)
		l = append(l, problems...)
		routes, problems := routesOf(r.patterns, api, m)
		l = append(l, problems...)
		if c == nil || l.HasErrors() {
			continue
		}
		if own {
			rc.TypedPerFilterConfig = c.entries
		}
		host.Routes = append(host.Routes, r.withChain(api, c, routes, own)...)
		if !r.opts.Judge {
			origins = append(origins, &api.Origin)
		}
	}
	if l.HasErrors() {
		return nil, l
	}
	if !r.opts.Judge {
		for _, api := range j.apis {
			origins = appendOrigins(origins, api.Bindings)
		}
	}
	rc.VirtualHosts = []*routev3.VirtualHost{host}
	sc := &m.scope
	sc.Name, sc.Key, sc.RouteConfiguration = j.name, scopeKey(j.key), rc
	out.slots = checkScope(w, sc)
	out.resource = newResource(w, j.name, sc, origins)
	r.checkFiles(w, out)
	r.lighten(out)
	if bugs := faults(w, j.apis[0].Origin); len(bugs) > 0 {
		return nil, append(l, bugs...)
	}
	return out, l
}

func scopeKey(key []string) *routev3.ScopedRouteConfiguration_Key {
	k := &routev3.ScopedRouteConfiguration_Key{}
	for _, s := range key {
		k.Fragments = append(k.Fragments, &routev3.ScopedRouteConfiguration_Key_Fragment{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: s}})
	}
	return k
}

func appendOrigins(origins []*ir.Origin, bs []*ir.Binding) []*ir.Origin {
	for _, b := range bs {
		origins = append(origins, &b.Origin)
	}
	return origins
}

// withChain completes the routes of one API with its chain and with what its policies set on them. The last of these routes
// answers 404 behind the API's chain, so what a filter answers by itself (a CORS preflight) needs no route.
func (r *renderer) withChain(api *ir.API, c *chain, routes []*routev3.Route, own bool) []*routev3.Route {
	meta := apiMetadata(api)
	for _, x := range routes {
		if !own {
			x.TypedPerFilterConfig = withEntries(x.TypedPerFilterConfig, c.entries)
		}
		c.patch.apply(x)
		if c.buffer > 0 {
			x.RequestBodyBufferLimit = wrapperspb.UInt64(c.buffer)
			refuseUpgrades(x)
		}
		setAPI(x, meta)
	}
	return routes
}

func withEntries(to, from map[string]*anypb.Any) map[string]*anypb.Any {
	if to == nil {
		return from
	}
	maps.Copy(to, from)
	return to
}

// refuseUpgrades answers 403: a filter that reads bodies hangs on an upgrade, and to skip it would be a bypass.
func refuseUpgrades(x *routev3.Route) {
	if a := x.GetRoute(); a != nil {
		a.UpgradeConfigs = []*routev3.RouteAction_UpgradeConfig{{UpgradeType: "websocket", Enabled: wrapperspb.Bool(false)}}
	}
}

// setAPI names the API in the metadata of a route; meta is what a route without metadata gets, the same for all.
func setAPI(x *routev3.Route, meta *corev3.Metadata) {
	if x.Metadata == nil {
		x.Metadata = meta
		return
	}
	if x.Metadata.FilterMetadata == nil {
		x.Metadata.FilterMetadata = map[string]*structpb.Struct{}
	}
	m := x.Metadata.FilterMetadata[metadataNamespace]
	if m == nil {
		m = &structpb.Struct{}
		x.Metadata.FilterMetadata[metadataNamespace] = m
	}
	if m.Fields == nil {
		m.Fields = map[string]*structpb.Value{}
	}
	m.Fields[metadataAPI] = meta.FilterMetadata[metadataNamespace].Fields[metadataAPI]
}

func apiMetadata(api *ir.API) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{metadataNamespace: {Fields: map[string]*structpb.Value{
		metadataAPI: structpb.NewStringValue(apiName(api))}}}}
}
