package render

import (
	"net/netip"
	"strconv"
	"time"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/match"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// apiRoutes are the routes of one API in the order in which Envoy tries them (flex-resources.md, 8.3 to 8.6). The last one
// answers 404 under the base path: an unmatched request goes through the API's policies and is counted for the API. All
// have stable names: "<namespace>/<api>/<route>/<n>", and "<namespace>/<api>/unmatched".
func apiRoutes(ps *match.Patterns, api *ir.API) ([]*routev3.Route, diag.List) {
	return routesOf(ps, api, &scopeMessages{})
}

// routesOf makes the routes of the messages of m.
func routesOf(ps *match.Patterns, api *ir.API, m *scopeMessages) ([]*routev3.Route, diag.List) {
	b := routeBuilder{patterns: ps, api: api, base: match.Normal(api.BasePath), count: map[string]int{}, messages: m}
	for _, r := range api.Routes {
		b.route(r)
	}
	last := m.routes.take()
	last.Name, last.Match = apiName(api)+"/unmatched", baseMatch(api.BasePath)
	last.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}}
	b.list = append(b.list, last)
	return b.list, b.problems
}

// baseMatch matches all paths of an API.
func baseMatch(basePath string) *routev3.RouteMatch {
	base := match.Normal(basePath)
	switch {
	case base == "":
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	case match.Literal(base):
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: base}}
	}
	return regexMatch(match.Quote(base) + "(?:/.*)?")
}

// bareMatch matches the base path alone.
func bareMatch(base string) *routev3.RouteMatch {
	if match.Literal(base) {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: base}}
	}
	return regexMatch(match.Quote(base))
}

func regexMatch(regex string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &typematcherv3.RegexMatcher{Regex: regex}}}
}

// routeBuilder collects the routes of one API.
type routeBuilder struct {
	patterns *match.Patterns
	api      *ir.API
	base     string // normal
	count    map[string]int
	list     []*routev3.Route
	problems diag.List
	messages *scopeMessages
}

func (b *routeBuilder) route(r *ir.Route) {
	to := newTargets(r.To)
	rules := r.Rules
	if len(rules) == 0 {
		rules = []ir.Match{{}}
	}
	for _, m := range rules {
		headers, l := b.patterns.Headers(m)
		path, problems := b.patterns.Path(m.Path)
		l = append(l, problems...)
		var steps []pathStep
		if path != nil {
			steps, problems = b.steps(path, to)
			l = append(l, problems...)
		}
		for i := range l {
			if l[i].Object.IsZero() {
				l[i].Object = r.Origin.Declared()
			}
			if l[i].Subject.IsZero() {
				l[i].Subject = r.Origin.Range
			}
		}
		b.problems = append(b.problems, l...)
		if l.HasErrors() {
			continue
		}
		for _, s := range steps {
			s.match.Headers = headerMatchers(headers)
			b.emit(r, s, to)
		}
	}
}

// pathStep is a set of paths and what becomes of them.
type pathStep struct {
	match   *routev3.RouteMatch
	rewrite rewrite
}

// steps splits the paths of one rule by what becomes of them; the first that matches decides.
func (b *routeBuilder) steps(path *match.Path, to targets) ([]pathStep, diag.List) {
	if path.Everything() {
		if b.base == "" && to.asIs {
			return []pathStep{{match: baseMatch(b.base)}}, nil
		}
		return []pathStep{{baseMatch(b.base), wholeRemainder(b.base)}}, nil
	}
	if path.Groups() > 0 {
		return b.grouped(path, to)
	}
	regex, ok := path.Regex(b.base, path.Bare())
	switch {
	case !ok:
		return nil, nil
	case b.base == "" && to.asIs:
		return []pathStep{{match: regexMatch(regex)}}, nil
	}
	return []pathStep{{regexMatch(regex), wholeRemainder(b.base)}}, nil
}

// grouped forwards what the groups captured. The pattern itself is the rewrite's, so that groups hold what RE2 says;
// only whether a slash must be added depends on the path.
func (b *routeBuilder) grouped(path *match.Path, to targets) ([]pathStep, diag.List) {
	if l := path.CheckGroups(); l.HasErrors() {
		return nil, l
	}
	var steps []pathStep
	if b.base != "" && path.Bare() {
		text := path.BareText()
		steps = append(steps, pathStep{bareMatch(b.base), rewrite{literal: &text}})
	}
	variants, ok := path.Variants(b.base, to.alike)
	if !ok {
		return nil, diag.List{path.TooInvolved()}
	}
	pattern := path.Rewrite(b.base)
	for _, v := range variants {
		steps = append(steps, pathStep{regexMatch(v.Regex), rewrite{join: v.Join, pattern: pattern, groups: path.Groups()}})
	}
	return steps, nil
}

// targets are the alternatives of a route.
type targets struct {
	list   []target
	total  uint64
	asIs   bool // none has a destinationPath
	shared bool // all have the same
}

type target struct {
	destination
	weight   uint32
	upstream *ir.Upstream
}

func newTargets(to []ir.Split) targets {
	t := targets{asIs: true, shared: true}
	for _, s := range to {
		x := target{newDestination(s.Prefix), s.Weight, s.Upstream}
		if len(to) == 1 {
			x.weight = 1
		}
		if x.weight == 0 {
			continue
		}
		t.total += uint64(x.weight)
		t.asIs = t.asIs && x.prefix == ""
		t.shared = t.shared && (len(t.list) == 0 || x.destination == t.list[0].destination)
		t.list = append(t.list, x)
	}
	return t
}

// alike: without a destinationPath, no text and text without a slash both get a slash put before them.
func (t targets) alike(j match.Join) match.Join {
	if t.asIs && j == match.Nothing {
		return match.Other
	}
	return j
}

// emit appends the routes of one step: one, or one for each target where their rewrites differ.
func (b *routeBuilder) emit(r *ir.Route, s pathStep, to targets) {
	if len(to.list) == 0 {
		return
	}
	if to.shared {
		a := b.action()
		s.rewrite.apply(a, to.list[0].destination)
		if len(to.list) == 1 {
			a.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: clusterName(to.list[0].upstream)}
			if host := b.host(to.list[0].upstream); host != "" {
				a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
			}
		} else {
			a.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: b.weighted(to)}
		}
		b.add(r, s.match, a)
		return
	}
	// All routes of a request are compared with the same random number, so cumulative shares are exact.
	var sum uint64
	for i, t := range to.list {
		m := s.match
		if i < len(to.list)-1 {
			sum += uint64(t.weight)
			m = proto.CloneOf(m)
			m.RuntimeFraction = share(sum, to.total)
		}
		a := b.action()
		s.rewrite.apply(a, t.destination)
		a.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: clusterName(t.upstream)}
		if host := b.host(t.upstream); host != "" {
			a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
		}
		b.add(r, m, a)
	}
}

// share is sum of total, to the nearest millionth.
func share(sum, total uint64) *corev3.RuntimeFractionalPercent {
	const million = 1_000_000
	return &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
		Numerator:   uint32((sum*million + total/2) / total),
		Denominator: typev3.FractionalPercent_MILLION,
	}}
}

func (b *routeBuilder) weighted(to targets) *routev3.WeightedCluster {
	w := &routev3.WeightedCluster{}
	for _, t := range to.list {
		c := &routev3.WeightedCluster_ClusterWeight{Name: clusterName(t.upstream), Weight: wrapperspb.UInt32(t.weight)}
		if host := b.host(t.upstream); host != "" {
			c.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: host}
		}
		w.Clusters = append(w.Clusters, c)
	}
	return w
}

// envoyTimeout is what a route without a timeout has (route_components.proto, RouteAction.timeout).
const envoyTimeout = 15 * time.Second

// action has what all routes of the API share. What is Envoy's own default, or stands in the listener (the idle time of a
// stream), is not said again on every route.
func (b *routeBuilder) action() *routev3.RouteAction {
	a := b.messages.actions.take()
	if t := b.api.Settings.UpstreamResponse; t != envoyTimeout {
		a.Timeout = durationpb.New(t)
	}
	return a
}

// host is the Host that an upstream sees; "": the client's.
func (b *routeBuilder) host(u *ir.Upstream) string {
	if !b.api.Settings.RewriteHost {
		return ""
	}
	standard := uint16(80)
	if u.Scheme == "https" {
		standard = 443
	}
	if u.Port != standard {
		return hostPort(u.Host, u.Port)
	}
	if a, err := netip.ParseAddr(u.Host); err == nil && a.Is6() {
		return "[" + u.Host + "]"
	}
	return u.Host
}

func (b *routeBuilder) add(r *ir.Route, m *routev3.RouteMatch, a *routev3.RouteAction) {
	b.count[r.Name]++
	x := b.messages.routes.take()
	x.Name, x.Match = apiName(b.api)+"/"+r.Name+"/"+strconv.Itoa(b.count[r.Name]), m
	x.Action = &routev3.Route_Route{Route: a}
	b.list = append(b.list, x)
}

func headerMatchers(headers []match.Header) []*routev3.HeaderMatcher {
	var list []*routev3.HeaderMatcher
	for _, h := range headers {
		x := &routev3.HeaderMatcher{Name: h.Name, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}
		if h.Regex != "" {
			x.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: &typematcherv3.StringMatcher{
				MatchPattern: &typematcherv3.StringMatcher_SafeRegex{SafeRegex: &typematcherv3.RegexMatcher{Regex: h.Regex}}}}
		}
		list = append(list, x)
	}
	return list
}

// when is the condition of a policy that is bound to an API, as its composite slot wants it; nil: every request.
func (r *renderer) when(api *ir.API, rules []ir.Match) (*xdsmatcherv3.Matcher_MatcherList_Predicate, diag.List) {
	return match.Predicate(api.BasePath, rules)
}
