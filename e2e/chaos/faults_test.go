package chaos

import (
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/e2e/harness"
)

// faults are configurations that Envoy 1.40 was seen to refuse.
func faults(b *bed) []*fault {
	taken, _ := harness.BusyPort(b.t)
	bad := keySet("{", "removal-keys")
	const constraint = "Proto constraint validation failed"
	withLine := func(old, now string) func(*bed, string) string {
		return func(b *bed, text string) string {
			for _, pair := range [][2]string{{"PORT1", strconv.Itoa(b.ports[0])}, {"PORT2", strconv.Itoa(b.ports[1])}} {
				old, now = strings.ReplaceAll(old, pair[0], pair[1]), strings.ReplaceAll(now, pair[0], pair[1])
			}
			return strings.Replace(text, old, now, 1)
		}
	}
	crt, key := certificate(b.t)
	_, otherKey := certificate(b.t)
	return []*fault{
		// Scopes: a route.
		{name: "route without match", kind: "scope", at: "route1", says: "refused", edit: route(0, func(r *routev3.Route) { r.Match = nil })},
		{name: "second route without match", kind: "scope", at: "route2", says: "refused", edit: route(1, func(r *routev3.Route) { r.Match = nil })},
		{name: "route without action", kind: "scope", at: "route1", says: "refused", edit: route(0, func(r *routev3.Route) { r.Action = nil })},
		{name: "status 42", kind: "scope", at: "route2", says: "refused", edit: route(1, func(r *routev3.Route) {
			r.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 42}}
		})},
		{name: "empty cluster name", kind: "scope", at: "route1", says: "refused", edit: route(0, func(r *routev3.Route) { r.GetRoute().ClusterSpecifier = &routev3.RouteAction_Cluster{} })},
		{name: "bad regex", kind: "scope", at: "route1", says: "missing )", edit: route(0, func(r *routev3.Route) { r.Match.PathSpecifier = pattern("/bad/items(/.*") })},
		{name: "bad regex of the second route", kind: "scope", at: "route2", says: "missing ]", edit: route(1, func(r *routev3.Route) { r.Match.PathSpecifier = pattern("/bad/[orders/") })},
		{name: "bad rewrite", kind: "scope", at: "route1", says: "", edit: route(0, func(r *routev3.Route) {
			r.GetRoute().RegexRewrite = &matcherv3.RegexMatchAndSubstitute{Pattern: &matcherv3.RegexMatcher{Regex: "/bad/items(((x"}, Substitution: "/"}
		})},
		{name: "bad header pattern", kind: "scope", at: "route2", says: "", edit: route(1, func(r *routev3.Route) {
			r.Match.Headers = append(r.Match.Headers, &routev3.HeaderMatcher{Name: "x-kind", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "second-route("}}}}})
		})},
		{name: "unknown format of a header", kind: "scope", at: "route1", says: "NOSUCH", edit: route(0, func(r *routev3.Route) {
			r.RequestHeadersToAdd = append(r.RequestHeadersToAdd, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: "x", Value: "%NOSUCH(first)%"}})
		})},
		{name: "duplicate domain", kind: "scope", at: "api|address", says: "wildcard domain", edit: func(_ *bed, m message) {
			rc := m.scope.RouteConfiguration
			rc.VirtualHosts = append(rc.VirtualHosts, &routev3.VirtualHost{Name: "again", Domains: rc.VirtualHosts[0].Domains})
		}},
		{name: "virtual host without a domain", kind: "scope", at: "api|address", says: "refused", edit: func(_ *bed, m message) { m.scope.RouteConfiguration.VirtualHosts[0].Domains = nil }},
		{name: "scope without a key", kind: "scope", at: "api|address", says: "refused", edit: func(_ *bed, m message) { m.scope.Key = nil }},
		{name: "header without a name", kind: "scope", at: "route2", says: "refused", edit: route(1, func(r *routev3.Route) { r.RequestHeadersToRemove = []string{""} })},
		// Scopes: a policy.
		{name: "unknown type", kind: "scope", at: "injection", says: "NoSuchType", edit: replaced("header-injection", unregistered())},
		{name: "unknown type, last filter", kind: "scope", at: "removal", says: "NoSuchType", edit: replaced("header-removal", unregistered())},
		{name: "Lua that does not parse", kind: "scope", at: "blocklist", says: "script load error", edit: replaced("ip-blocklist", lua("function blocklist_on_request(h) if then end"))},
		{name: "Lua file that is not there", kind: "scope", at: "blocklist", says: "Invalid path", edit: replaced("ip-blocklist", luaFile("/nonexistent/blocklist.lua"))},
		{name: "key set that is no JSON", kind: "scope", at: "removal", says: "", edit: replaced("header-removal", bad)},
		{name: "key set without keys", kind: "scope", at: "removal", says: "", edit: replaced("header-removal", keySet(`{"keys":[]}`, "removal-keys"))},
		{name: "unknown format in a filter", kind: "scope", at: "injection", says: "NOSUCH", edit: replaced("header-injection", format("%NOSUCH(injection)%"))},
		{name: "format that does not end", kind: "scope", at: "removal", says: "", edit: replaced("header-removal", format("%REQ(removal"))},
		{name: "filter that breaks its constraints", kind: "scope", at: "injection", says: "", edit: replaced("header-injection", pack(&jwtv3.JwtAuthentication{Providers: map[string]*jwtv3.JwtProvider{"injection-keys": {}}}))},
		{name: "conditional Lua that does not parse", kind: "scope", at: "basic", says: "script load error", edit: conditional(lua("function basic_on_request(h) if then end"))},
		{name: "conditional unknown format", kind: "scope", at: "basic", says: "NOSUCH", edit: conditional(format("%NOSUCH(basic)%"))},
		// Clusters.
		{name: "connect timeout of nothing", kind: "cluster", at: "service", says: constraint, edit: func(_ *bed, m message) { m.cluster.ConnectTimeout = seconds(0) }},
		{name: "unknown options", kind: "cluster", at: "service", says: "upstream_protocol_options", edit: func(_ *bed, m message) {
			m.cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": unregistered()}
		}},
		{name: "host name in a static cluster", kind: "cluster", at: "service", says: "malformed IP address", edit: endpoint(func(a *corev3.SocketAddress) { a.Address = "not.an.ip" })},
		{name: "port 70000", kind: "cluster", at: "service", says: constraint, edit: endpoint(func(a *corev3.SocketAddress) { a.PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: 70000} })},
		{name: "endpoint without an address", kind: "cluster", at: "service", says: "", edit: func(_ *bed, m message) {
			m.cluster.LoadAssignment.Endpoints[0].LbEndpoints[0].HostIdentifier = &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: &corev3.Address{}}}
		}},
		{name: "look-ups without a pause", kind: "cluster", at: "service", says: constraint, edit: func(_ *bed, m message) { m.cluster.DnsRefreshRate = seconds(0) }},
		{name: "unknown policy of balancing", kind: "cluster", at: "service", says: "", edit: func(_ *bed, m message) { m.cluster.LbPolicy = clusterv3.Cluster_LbPolicy(99) }},
		{name: "authority that is no certificate", kind: "cluster", at: "outtls|safeaddress", says: "", edit: upstreamTLS(func(_ *bed, c *tlsv3.UpstreamTlsContext) {
			c.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline("no certificate")}}
		})},
		{name: "authority that is not there", kind: "cluster", at: "outtls|safeaddress", says: "Invalid path", edit: upstreamTLS(func(_ *bed, c *tlsv3.UpstreamTlsContext) {
			c.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: file("/nonexistent/ca.pem")}}
		})},
		{name: "key of another certificate", kind: "cluster", at: "outtls|safeaddress", says: "", edit: upstreamTLS(func(_ *bed, c *tlsv3.UpstreamTlsContext) {
			c.CommonTlsContext.TlsCertificateSdsSecretConfigs = nil
			c.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{pair(inline(crt), inline(otherKey)).TlsCertificate}
		})},
		{name: "unknown suite, upstream", kind: "cluster", at: "outtls|safeaddress", says: "NO_SUCH_SUITE", edit: upstreamTLS(func(_ *bed, c *tlsv3.UpstreamTlsContext) {
			c.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{CipherSuites: []string{"NO_SUCH_SUITE"}}
		})},
		{name: "inline key beside a broken constraint", kind: "cluster", at: "outtls|safeaddress", says: "", edit: func(b *bed, m message) {
			upstreamTLS(func(b *bed, c *tlsv3.UpstreamTlsContext) {
				c.CommonTlsContext.TlsCertificateSdsSecretConfigs = nil
				c.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{pair(inline(b.env["CRT"]), inline(b.env["KEY"])).TlsCertificate}
			})(b, m)
			m.cluster.ConnectTimeout = seconds(-1)
		}},
		// Secrets.
		{name: "certificate that is none", kind: "secret", at: "tls|outtls", says: "certificate chain", edit: secret(pair(inline("garbage"), inline(key)))},
		{name: "secret with the key of another certificate", kind: "secret", at: "tls|outtls", says: "private key", edit: secret(pair(inline(crt), inline(otherKey)))},
		{name: "secret of another kind", kind: "secret", at: "tls|outtls", says: "", edit: func(_ *bed, m message) {
			m.secret.Type = &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{PrivateKey: inline(key)}}
		}},
		{name: "certificate that is not there", kind: "secret", at: "tls|outtls", says: "/nonexistent/", edit: secret(pair(file("/nonexistent/crt.pem"), file("/nonexistent/key.pem")))},
		// Listeners.
		{name: "port that another process has", at: "address", says: "Address already in use", text: withLine("127.0.0.1:PORT1/bad #address", taken+"/bad #address")},
		{name: "TLS port that another process has", at: "lockedaddress", says: "Address already in use", text: withLine("127.0.0.1:PORT2 #lockedaddress", taken+" #lockedaddress")},
		{name: "address that is not of this host", at: "lockedaddress", says: "Cannot assign requested address", text: withLine("127.0.0.1:PORT2 #lockedaddress", "192.0.2.77:PORT2 #lockedaddress")},
		{name: "manager that breaks its constraints", kind: "listener", at: "tls|lockedaddress|locked", says: "Error adding/updating listener(s)", edit: manager(func(_ *bed, h *hcmv3.HttpConnectionManager) { h.StatPrefix = "" })},
		{name: "no address", kind: "listener", at: "tls|lockedaddress|locked", says: "", edit: func(_ *bed, m message) { m.listener.Address = nil }},
		{name: "unknown filter", kind: "listener", at: "tls|lockedaddress|locked", says: "NoSuchType", edit: manager(func(_ *bed, h *hcmv3.HttpConnectionManager) {
			h.HttpFilters[0].ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: unregistered()}
		})},
		{name: "no router", kind: "listener", at: "tls|lockedaddress|locked", says: "terminal", edit: manager(func(_ *bed, h *hcmv3.HttpConnectionManager) { h.HttpFilters = h.HttpFilters[:1] })},
		{name: "two chains alike", kind: "listener", at: "tls|lockedaddress|locked", says: "same matching rules", edit: func(_ *bed, m message) {
			m.listener.FilterChains = append(m.listener.FilterChains, &listenerv3.FilterChain{Name: "again", Filters: m.listener.FilterChains[0].Filters, TransportSocket: m.listener.FilterChains[0].TransportSocket})
		}},
		{name: "no chains", kind: "listener", at: "tls|lockedaddress|locked", says: "no filter chains", edit: func(_ *bed, m message) { m.listener.FilterChains = nil }},
		{name: "Lua that does not parse, in a listener", kind: "listener", at: "tls|lockedaddress|locked", says: "script load error", edit: manager(func(_ *bed, h *hcmv3.HttpConnectionManager) {
			h.HttpFilters[0] = &hcmv3.HttpFilter{Name: "envoy.filters.http.lua", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: lua("if then")}}
		})},
		{name: "unknown transport socket", kind: "listener", at: "tls|", says: "NoSuchType", edit: func(_ *bed, m message) {
			m.listener.FilterChains[0].TransportSocket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: unregistered()}
		}},
	}
}

func secret(to *tlsv3.Secret_TlsCertificate) func(*bed, message) {
	return func(_ *bed, m message) { m.secret.Type = to }
}
