package render

import (
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	transformstatv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/actions/transform_stat/v3"
	statsinputv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/stats/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The statistics of APIs, all of them counters:
//
//	flexgw.requests.api.<namespace>/<name>.class.<n>.ms.<bound>
//	flexgw.micros.api.<namespace>/<name>
//	flexgw.failures.api.<namespace>/<name>
//
// A class is the first digit of the status, "" when there was no response. A bound is the least of StatBounds that the time
// from the first byte of the request to the first one of the response is below, "more" or, without a response, "none"; micros
// adds these times up. Paths that are no API's have an empty name.
const (
	StatPrefix   = "flexgw"
	StatRequests = "requests"
	StatMicros   = "micros"
	StatFailures = "failures"
)

// StatBound is a range of durations as a counter has it in its name.
type StatBound struct {
	Name    string  // milliseconds, or "more"
	Seconds float64 // 0: no bound
	regex   string  // of whole milliseconds; what earlier ones match does not get here
}

// StatBounds lists the ranges, shortest first.
func StatBounds() []StatBound {
	return []StatBound{
		{"5", 0.005, `[0-4]`},
		{"10", 0.01, `\d`},
		{"25", 0.025, `1\d|2[0-4]`},
		{"50", 0.05, `[2-4]\d`},
		{"100", 0.1, `\d\d`},
		{"250", 0.25, `1\d\d|2[0-4]\d`},
		{"500", 0.5, `[2-4]\d\d`},
		{"1000", 1, `\d{3}`},
		{"2500", 2.5, `1\d{3}|2[0-4]\d\d`},
		{"5000", 5, `[2-4]\d{3}`},
		{"10000", 10, `\d{4}`},
		{"more", 0, `\d+`},
	}
}

// Stat is a counter by the parts of its name.
type Stat struct {
	Kind  string // StatRequests, StatMicros or StatFailures
	API   string // "namespace/name"; "": requests on paths that are no API's
	Class string // of StatRequests: "1" to "5"; "": there was no response
	Bound string // of StatRequests: the name of a StatBound, or "none"
}

// ParseStat takes the name of one of our counters apart; false: it is none. The parts share memory with the name.
func ParseStat(name string) (Stat, bool) {
	rest, ours := strings.CutPrefix(name, StatPrefix+".")
	kind, api, ok := strings.Cut(rest, ".api.")
	s := Stat{Kind: kind, API: api}
	switch kind {
	case StatRequests:
		// Names of APIs have dots, those of classes and bounds do not.
		before, bound, whole := cutLast(api, ".ms.")
		name, class, more := cutLast(before, ".class.")
		s.API, s.Class, s.Bound = name, class, bound
		ok = ok && whole && more
	case StatMicros, StatFailures:
	default:
		ok = false
	}
	return s, ours && ok
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// upstreamFlags are the response flags of requests that no upstream answered to the end (Envoy's access log, RESPONSE_FLAGS).
var upstreamFlags = []string{"UH", "UF", "UO", "UT", "LR", "UR", "UC", "URX", "NC", "DF", "UPE"}

// apiStats count finished requests by API, in Envoy. Under a `stat_prefix` of routes only the router counts, so what filters
// answer by themselves (401, 429) would be missing. At 10,000 APIs these counters take 4 MB of Envoy and a scrape 0.4 s and 1.1 MB;
// its histograms took 40 MB, 1.1 s and 10 MB, and came up to ten seconds late. Nothing here depends on a declaration.
func apiStats(w *wire) []*accesslogv3.AccessLog {
	const first = "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:"
	api := &statslogv3.Config_Tag{Name: "api", ValueFormat: "%METADATA(ROUTE:" + metadataNamespace + ":" + metadataAPI + ")%"}
	class := &statslogv3.Config_Tag{Name: "class", ValueFormat: "%CEL(response.code / 100)%"}
	bound := &statslogv3.Config_Tag{Name: "ms", ValueFormat: first + "ms)%", Rules: boundRules(w)}
	one := wrapperspb.UInt64(1)
	counter := func(name string, tags ...*statslogv3.Config_Tag) *statslogv3.Config_Counter {
		return &statslogv3.Config_Counter{Stat: &statslogv3.Config_Stat{Name: name, Tags: tags}, ValueFixed: one}
	}
	micros := counter(StatMicros, api)
	micros.ValueFixed, micros.ValueFormat = nil, first+"us)%"
	return []*accesslogv3.AccessLog{
		statsLog(w, nil, counter(StatRequests, api, class, bound), micros),
		statsLog(w, upstreamFailed(), counter(StatFailures, api)),
	}
}

// upstreamFailed leaves out a websocket (101) whose upstream went: most end so.
func upstreamFailed() *accesslogv3.AccessLogFilter {
	flags := &accesslogv3.AccessLogFilter_ResponseFlagFilter{ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: upstreamFlags}}
	status := &accesslogv3.AccessLogFilter_StatusCodeFilter{StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
		Op: accesslogv3.ComparisonFilter_GE, Value: &corev3.RuntimeUInt32{DefaultValue: 200, RuntimeKey: "flexgw.failures.status"}}}}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{AndFilter: &accesslogv3.AndFilter{
		Filters: []*accesslogv3.AccessLogFilter{{FilterSpecifier: flags}, {FilterSpecifier: status}}}}}
}

// statsLog counts in the scope of its listener, so an edit of that starts at zero (reconcile/metrics adds up). One scope for all of the process (sharing_name) would
// not, but Envoy 1.40 dies of it at the end of `--mode validate`.
func statsLog(w *wire, f *accesslogv3.AccessLogFilter, counters ...*statslogv3.Config_Counter) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{Name: "envoy.access_loggers.stats", Filter: f, ConfigType: &accesslogv3.AccessLog_TypedConfig{
		TypedConfig: w.any(&statslogv3.Config{StatsScope: &typev3.Scope{Prefix: StatPrefix}, Counters: counters})}}
}

// boundRules replace a number of milliseconds by its bound: statistics are never freed, so there must be few.
func boundRules(w *wire) *xdsmatcherv3.Matcher {
	to := func(name string) *xdsmatcherv3.Matcher_OnMatch {
		return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: &xdscorev3.TypedExtensionConfig{
			Name: name, TypedConfig: w.any(&transformstatv3.TransformStat{UpdateTag: &transformstatv3.TransformStat_UpdateTag{NewTagValue: name}})}}}
	}
	input := &xdscorev3.TypedExtensionConfig{Name: "value", TypedConfig: w.any(&statsinputv3.StatTagValueInput{})}
	var list []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher
	for _, b := range StatBounds() {
		list = append(list, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{OnMatch: to(b.Name),
			Predicate: &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
				SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{Input: input,
					Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
						MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
							EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}}, Regex: b.regex}}}}}}}})
	}
	return &xdsmatcherv3.Matcher{OnNoMatch: to("none"), MatcherType: &xdsmatcherv3.Matcher_MatcherList_{
		MatcherList: &xdsmatcherv3.Matcher_MatcherList{Matchers: list}}}
}
