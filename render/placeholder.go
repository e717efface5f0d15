package render

// TODO(render): everything in this file goes when scope.go and route.go land: it splits by the first segment only.

import (
	"fmt"
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	ehmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

var scopeHeaders = []string{"x-flexgw-scope", "x-flexgw-scope2", "x-flexgw-scope3", "x-flexgw-scope4"}

type splits struct{ port uint16 }

func split(l *ir.Listener) *port { // 2nd segment when there are two
	p := &port{listener: l, splits: &splits{l.Addr.Port()}}
	n := fmt.Sprint(l.Addr.Port())
	for _, a := range l.APIs {
		key := []string{n, strings.ReplaceAll(strings.TrimPrefix(a.BasePath, "/"), "/", "+"), "", "", ""}
		p.jobs = append(p.jobs, &scopeJob{name: n + "/" + key[1], key: key, apis: []*ir.API{a}})
	}
	slices.SortFunc(p.jobs, func(a, b *scopeJob) int { return strings.Compare(a.name, b.name) })
	return p
}

func (s *splits) earlyMutations() *ehmv3.HeaderMutation {
	m := &ehmv3.HeaderMutation{}
	for i, h := range scopeHeaders {
		v := "/////"
		if i == 0 {
			v = fmt.Sprintf("%d%%PATH(NQ)%%/////", s.port)
		}
		m.Mutations = append(m.Mutations, &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Append{
			Append: &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: h, Value: v}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}}})
	}
	return m
}

func scopedRoutes() *hcmv3.ScopedRoutes {
	b := &hcmv3.ScopedRoutes_ScopeKeyBuilder{}
	for i, h := range []string{"x-flexgw-scope", "x-flexgw-scope", "x-flexgw-scope2", "x-flexgw-scope3", "x-flexgw-scope4"} {
		b.Fragments = append(b.Fragments, &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{
			Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
				HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{Name: h, ElementSeparator: "/",
					ExtractType: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{Index: uint32(i)}}}})
	}
	return &hcmv3.ScopedRoutes{Name: "flexgw", ScopeKeyBuilder: b, RdsConfigSource: ads(),
		ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: ads()}}}
}

func apiRoutes(a *ir.API) ([]*routev3.Route, diag.List) {
	var rs []*routev3.Route
	for i, x := range a.Routes {
		m := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: a.BasePath}}
		if a.BasePath == "" {
			m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
		}
		rs = append(rs, &routev3.Route{Name: fmt.Sprintf("%s/%d", apiName(a), i), Match: m, Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: clusterName(x.To[0].Upstream)}, Timeout: durationpb.New(a.Settings.UpstreamResponse)}}})
	}
	return rs, nil
}

func (r *renderer) when(api *ir.API, rules []ir.Match) (*xdsmatcherv3.Matcher_MatcherList_Predicate, diag.List) {
	in, _ := anypb.New(&typematcherv3.HttpRequestHeaderMatchInput{HeaderName: ":method"})
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{Input: &xdscorev3.TypedExtensionConfig{Name: "m", TypedConfig: in},
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
				MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}}, Regex: rules[0].Method.Text}}}}}}}, nil
}
