package render

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"
	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	credentialv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// The types here stand for the ways in which a policy can ask for something; they are no policies of the product.

type fakeTypes []policy.Type

func (f fakeTypes) All() []policy.Type { return f }

func (f fakeTypes) Type(name string) (policy.Type, bool) {
	for _, t := range f {
		if t.Name() == name {
			return t, true
		}
	}
	return policy.Type{}, false
}

type pair struct{ Key, Value string }

func fakes() fakeTypes {
	return fakeTypes{
		policy.Define(policy.Spec[pair]{Name: "answer", Targets: ir.TargetAPI, Place: ir.First,
			Effect: func(c *pair, _ policy.Input) (policy.Effect, error) {
				return policy.Effect{
					Filters: []policy.Filter{{Config: &luav3.Lua{DefaultSourceCode: inlineText(
						"function envoy_on_request(h) if h:headers():get('x-ask') == 'yes' then h:respond({[':status'] = '204'}, '') end end")}}}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "auth", Targets: ir.TargetAPI,
			Replies: []policy.Reply{{Details: "no_credential_for_basic_auth", Body: `{"error":"100% 'no'"}`, Headers: map[string]string{"x-why": "50%"}},
				{Details: "rbac_*", Status: 401}, {Details: "rbac_access_*", Status: 403}},
			Effect: func(c *pair, in policy.Input) (policy.Effect, error) {
				return policy.Effect{
					Filters:   []policy.Filter{{Config: &basicauthv3.BasicAuth{Users: inlineText(c.Key + ":{SHA}" + c.Value), EmitDynamicMetadata: true}}},
					Publishes: policy.Published{Principal: policy.Ref{Namespace: in.ID, Keys: []string{"username"}}}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "body", Targets: ir.TargetAPI,
			Effect: func(*pair, policy.Input) (policy.Effect, error) {
				return policy.Effect{Filters: []policy.Filter{{Config: &bufferv3.Buffer{MaxRequestBytes: wrapperspb.UInt32(1 << 20)}}},
					Body: policy.BodyNeeds{Request: 1 << 20}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "cors", Targets: ir.TargetAPI, Place: ir.First,
			Effect: func(c *pair, _ policy.Input) (policy.Effect, error) {
				return policy.Effect{
					Filters: []policy.Filter{{Config: &corsv3.Cors{}, Route: &corsv3.CorsPolicy{AllowMethods: "GET",
						AllowOriginStringMatch: []*matcherv3.StringMatcher{{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: c.Value}}}}}}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "credential", Targets: ir.TargetUpstream,
			Effect: func(c *pair, in policy.Input) (policy.Effect, error) {
				g, err := anypb.New(&genericv3.Generic{Header: "x-api-key", Credential: &tlsv3.SdsSecretConfig{Name: in.ID + ".key", SdsConfig: policy.ADS()}})
				return policy.Effect{
					Secrets: []*tlsv3.Secret{{Name: in.ID + ".key", Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: inlineText(c.Value)}}}},
					Upstream: &policy.Upstream{Idle: 7 * time.Second, Thresholds: &clusterv3.CircuitBreakers_Thresholds{MaxRequests: wrapperspb.UInt32(9)},
						Filters: []policy.Filter{{Config: &credentialv3.CredentialInjector{Overwrite: true,
							Credential: &corev3.TypedExtensionConfig{Name: "key", TypedConfig: g}}}}}}, err
			}}),
		policy.Define(policy.Spec[pair]{Name: "inject", Targets: ir.TargetAPI,
			Effect: func(c *pair, in policy.Input) (policy.Effect, error) {
				return policy.Effect{Filters: []policy.Filter{{Config: setHeader(c.Key, c.Value)}}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "limit", Targets: ir.TargetAPI, OwnRules: true,
			Effect: func(c *pair, in policy.Input) (policy.Effect, error) {
				return policy.Effect{Enforce: *c, Filters: []policy.Filter{{Config: &ratelimitv3.RateLimit{Domain: "flexgw",
					RateLimitService: &ratelimitconfigv3.RateLimitServiceConfig{TransportApiVersion: corev3.ApiVersion_V3, GrpcService: &corev3.GrpcService{
						InitialMetadata: []*corev3.HeaderValue{{Key: policy.InstanceMetadata, Value: in.Instance}},
						TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: policy.EnforceCluster}}}}}}}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "script", Targets: ir.TargetAPI,
			Needs: func(c *pair) []policy.Need { return []policy.Need{{Purpose: "script", URL: c.Key}} },
			Effect: func(c *pair, in policy.Input) (policy.Effect, error) {
				text, _ := in.Got(policy.Need{Policy: "script", Purpose: "script", URL: c.Key})
				f := policy.File{Ext: ".lua", Data: []byte("function envoy_on_request(h) end -- " + c.Value + string(text) + "\n")}
				return policy.Effect{Files: []policy.File{f}, Filters: []policy.Filter{{Config: &luav3.Lua{
					DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: in.Path(f.Data, f.Ext)}}}}}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "timeout", Targets: ir.TargetAPI,
			Effect: func(c *pair, _ policy.Input) (policy.Effect, error) {
				d, err := time.ParseDuration(c.Value)
				return policy.Effect{Route: &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{Timeout: durationpb.New(d)}}}}, err
			}}),
		policy.Define(policy.Spec[pair]{Name: "tls", Targets: ir.TargetAPI, Place: ir.Outside,
			Effect: func(c *pair, in policy.Input) (policy.Effect, error) {
				return policy.Effect{
					Secrets: []*tlsv3.Secret{{Name: in.ID + ".cert", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
						CertificateChain: inlineText(c.Key), PrivateKey: inlineText(c.Value)}}}},
					Downstream: &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
						TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: in.ID + ".cert", SdsConfig: policy.ADS()}}}}}, nil
			}}),
		policy.Define(policy.Spec[pair]{Name: "tls-out", Targets: ir.TargetUpstream, Place: ir.Outside,
			Effect: func(c *pair, in policy.Input) (policy.Effect, error) {
				return policy.Effect{Upstream: &policy.Upstream{Unverified: c.Key == "skip", TLS: &tlsv3.UpstreamTlsContext{
					CommonTlsContext: &tlsv3.CommonTlsContext{AlpnProtocols: strings.Fields(c.Value)}}}}, nil
			}}),
	}
}

func setHeader(key, value string) *headermutationv3.HeaderMutation {
	return &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{RequestMutations: []*rulesv3.HeaderMutation{{
		Action: &rulesv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: key, Value: value},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}}}}}}
}

func inlineText(s string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
}

// place makes origins that differ.
func place(kind, name string, line int) ir.Origin {
	p := diag.Pos{Line: int32(line), Column: 3, Offset: int32(10 * line)}
	return ir.Origin{Object: diag.Object{Group: "gateway.mulesoft.com", Kind: kind, Namespace: "default", Name: name},
		Range: diag.Range{File: "gateway.yaml", Start: p, End: p}}
}

func settings() *ir.Settings {
	return &ir.Settings{StreamIdle: 300 * time.Second, UpstreamIdle: 60 * time.Second, UpstreamResponse: 15 * time.Second,
		ConnectionIdle: 60 * time.Second, RewriteHost: true, ForwardClientCert: "SANITIZE"}
}

func service(s *ir.Settings, name, scheme, host string, port uint16, bs ...*ir.Binding) *ir.Upstream {
	return &ir.Upstream{Origin: place("Service", name, 50), Name: name + ".default.svc", Scheme: scheme, Host: host, Port: port, Settings: s, Bindings: bs}
}

func bind(policyName, name string, c pair, rules ...ir.Match) *ir.Binding {
	return &ir.Binding{Origin: place("PolicyBinding", name, 30), Policy: policyName, Made: &c, Rules: rules}
}

func api(s *ir.Settings, name, base string, to *ir.Upstream, bs ...*ir.Binding) *ir.API {
	return &ir.API{Origin: place("ApiInstance", name, 4), BasePath: base, Settings: s, Bindings: bs,
		Routes: []*ir.Route{{Origin: place("ApiInstance", name, 9), Name: name + "-route", To: []ir.Split{{Upstream: to, Weight: 100}}}}}
}

func listen(addr string, apis ...*ir.API) *ir.Listener {
	return &ir.Listener{Addr: netip.MustParseAddrPort(addr), APIs: apis}
}

func gateway(s *ir.Settings, ups []*ir.Upstream, ls ...*ir.Listener) *ir.Gateway {
	return &ir.Gateway{Revision: "r1", Settings: s, Upstreams: ups, Listeners: ls}
}

func method(re string) ir.Match { return ir.Match{Method: ir.Pattern{Text: re}} }

// many is a gateway of n APIs with three policies each.
func many(n int) *ir.Gateway {
	s := settings()
	var ups []*ir.Upstream
	var apis []*ir.API
	for i := range n {
		u := service(s, fmt.Sprintf("svc-%05d", i), "http", fmt.Sprintf("svc-%05d.internal", i), 8080)
		ups = append(ups, u)
		apis = append(apis, api(s, fmt.Sprintf("api-%05d", i), fmt.Sprintf("/team%d/api-%05d", i%20, i), u,
			bind("inject", fmt.Sprintf("inject-%05d", i), pair{"x-team", fmt.Sprint(i)}),
			bind("auth", fmt.Sprintf("auth-%05d", i), pair{"alice", "W6ph5Mm5Pz8GgiULbPgzG37mj9g="}),
			bind("limit", fmt.Sprintf("limit-%05d", i), pair{"n", fmt.Sprint(i)})))
	}
	return gateway(s, ups, listen("0.0.0.0:8081", apis...))
}
