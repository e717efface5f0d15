package render

// TODO(render): everything in this file goes when route.go lands.

import (
	"fmt"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

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
