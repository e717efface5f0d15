// Package match translates the patterns of rules into the expressions that Envoy evaluates.
//
// Users write RE2 over characters; Envoy 1.40 runs RE2 over bytes (Latin-1), refuses code points in escapes and matches
// whole values. Here are the translation of a pattern, the normal form of a base path and the matcher of a list of rules.
// It builds no routes and knows nothing of chains, and policies may import it.
package match

import (
	"fmt"
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Header is a condition on one header of a request: it must be there, and the whole of its value must match.
type Header struct {
	Name  string // lower case; ":method", ":authority" and ":path" among them
	Regex string // over bytes; "" for any value
}

// Value translates a pattern for a whole value of any kind. "" stands for any value.
func Value(p ir.Pattern) (string, diag.List) {
	if everything(p) {
		return "", nil
	}
	tree, l := parse(p, value)
	if tree == nil {
		return "", l
	}
	return printer{}.expr(tree).text, l
}

// PathValue translates a path pattern of a policy's rule for the header ":path", which holds base path and query too.
// "" stands for every path of the API.
func PathValue(base string, p ir.Pattern) (string, diag.List) {
	if everyPath(p) {
		return "", nil
	}
	tree, l := parse(p, pathOnly)
	if tree == nil {
		return "", l
	}
	base = Normal(base)
	rest, ok := below(tree, base != "" && bare(tree))
	if !ok {
		return printer{}.expr(never()).text, append(l, hopeless(p))
	}
	return Quote(base) + rest + `(?:\?.*)?`, l
}

// Headers lists the conditions of a rule but for its path: method, authority, then its headers by name.
func Headers(m ir.Match) ([]Header, diag.List) { return (*Patterns)(nil).Headers(m) }

// Headers is the function Headers, with a memory.
func (ps *Patterns) Headers(m ir.Match) ([]Header, diag.List) {
	var list []Header
	method, l := ps.value(m.Method)
	if method != "" {
		list = append(list, Header{":method", method})
	}
	host, problems := authority(m.Host)
	l = append(l, problems...)
	if host != "" {
		list = append(list, Header{":authority", host})
	}
	for _, h := range m.Headers {
		v, problems := ps.value(h.Pattern)
		l = append(l, problems...)
		list = append(list, Header{strings.ToLower(h.Name), v})
	}
	return list, l
}

// authority ignores a port unless the pattern speaks of one.
func authority(p ir.Pattern) (string, diag.List) {
	if everything(p) {
		return "", nil
	}
	tree, l := parse(p, value)
	if tree == nil {
		return "", l
	}
	e := printer{}.expr(tree)
	if mentions(tree, ':') {
		return e.text, l
	}
	return e.as(series) + "(?::[0-9]+)?", l
}

// Conditions lists all conditions of one rule of a policy that is bound to an API, the path's first. None: the rule holds for
// every request.
func Conditions(base string, m ir.Match) ([]Header, diag.List) {
	p, l := PathValue(base, m.Path)
	list, problems := Headers(m)
	l = append(l, problems...)
	if p != "" {
		list = append([]Header{{":path", p}}, list...)
	}
	return list, l
}

// Predicate holds for the requests that any of the rules matches; base is the API's base path. Nil: every request, or there
// is an Error. Lines of a repeated header are matched joined by commas, as all matchers of this kind do; those of routes look
// at each line.
func Predicate(base string, rules []ir.Match) (*xdsmatcherv3.Matcher_MatcherList_Predicate, diag.List) {
	var l diag.List
	var any []*xdsmatcherv3.Matcher_MatcherList_Predicate
	always := len(rules) == 0
	for _, r := range rules {
		conditions, problems := Conditions(base, r)
		l = append(l, problems...)
		always = always || len(conditions) == 0
		var all []*xdsmatcherv3.Matcher_MatcherList_Predicate
		for _, c := range conditions {
			p, err := single(c)
			if err != nil {
				return nil, append(l, diag.Diagnostic{Severity: diag.Error, Code: "render/internal", Subject: r.Path.Range,
					Summary: fmt.Sprintf("flexgw could not write a condition: %v", err), Hint: "this is a bug of flexgw, not of the declaration; please report it"})
			}
			all = append(all, p)
		}
		if len(all) > 0 {
			any = append(any, and(all))
		}
	}
	if always || l.HasErrors() {
		return nil, l
	}
	return or(any), l
}

func single(h Header) (*xdsmatcherv3.Matcher_MatcherList_Predicate, error) {
	input := &typematcherv3.HttpRequestHeaderMatchInput{HeaderName: h.Name}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(input)
	if err != nil {
		return nil, err
	}
	regex := h.Regex
	if regex == "" {
		regex = "(?s:.*)"
	}
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: &xdscorev3.TypedExtensionConfig{Name: strings.TrimPrefix(h.Name, ":"), TypedConfig: &anypb.Any{
				TypeUrl: "type.googleapis.com/" + string(input.ProtoReflect().Descriptor().FullName()), Value: b}},
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
				MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
					// Unlike the matchers of routes, these are refused without an engine.
					EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
					Regex:      regex,
				}},
			}},
		},
	}}, nil
}

// Both lists of a matcher need two members at least.
func and(list []*xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	if len(list) == 1 {
		return list[0]
	}
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
		AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: list}}}
}

func or(list []*xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	if len(list) == 1 {
		return list[0]
	}
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_OrMatcher{
		OrMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: list}}}
}

// Always reports whether the rules hold for every request of an API. No rules do.
func Always(rules []ir.Match) bool {
	return len(rules) == 0 || slices.ContainsFunc(rules, func(m ir.Match) bool {
		return everyPath(m.Path) && everything(m.Method) && everything(m.Host) && len(m.Headers) == 0
	})
}
