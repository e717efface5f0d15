// Package iplist is what the two IP policies have in common: lists of addresses, and matching a request against one.
//
// It knows neither policy: what is wrong is told as Problems, and which of the two answers is a refusal is told to Filters.
package iplist

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	ipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/ip/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// DefaultExpression is what is tested where nothing else is declared. The first address of the header is used.
const DefaultExpression = "#[attributes.headers['x-forwarded-for']]"

// header carries the address under test from the expression to the matcher. Clients cannot send it, and upstreams do not
// see it.
const header = expr.InternalPrefix + "client-ip"

// Config is the configuration of both policies.
type Config struct {
	IPs        []string    `flex:"ips"`
	Expression syntax.Text `flex:"ipExpression"`

	ranges []netip.Prefix // made by Check: sorted, none within another
	tested expr.Expr
}

// Defaults is the configuration of an empty document.
func Defaults() Config { return Config{Expression: syntax.Text{Value: DefaultExpression}} }

// Kind is what is wrong.
type Kind uint8

// The kinds of Problems.
const (
	BadAddress Kind = iota
	Repeated
	HostBits
	Constant
	Spoofable
)

// Check reads the list and the expression, and says what is wrong with them.
func Check(c *Config, at policy.Locator, codes map[Kind]diag.Code) diag.List {
	var l diag.List
	seen := map[netip.Prefix]int{}
	for i, text := range c.IPs {
		place := func() diag.Range { return at("ips", strconv.Itoa(i)) }
		p, problem, hint := parse(strings.TrimSpace(text))
		if problem != "" {
			l = append(l, diag.Diagnostic{Severity: diag.Error, Code: codes[BadAddress], Subject: place(), Summary: fmt.Sprintf("%q %s", text, problem), Hint: hint})
			continue
		}
		masked := p.Masked()
		if p != masked {
			l = append(l, diag.Diagnostic{Severity: diag.Note, Code: codes[HostBits], Subject: place(),
				Summary: fmt.Sprintf("%q has bits beyond its prefix; it means %s", text, masked), Hint: "write " + masked.String()})
		}
		if first, twice := seen[masked]; twice {
			l = append(l, diag.Diagnostic{Severity: diag.Warning, Code: codes[Repeated], Subject: place(),
				Summary: fmt.Sprintf("%q stands in the list already, as item %d", text, first+1), Hint: "remove one"})
			continue
		}
		seen[masked] = i
		c.ranges = append(c.ranges, masked)
	}
	c.ranges = disjoint(c.ranges)
	return append(l, c.checkExpression(at, codes)...)
}

func (c *Config) checkExpression(at policy.Locator, codes map[Kind]diag.Code) diag.List {
	if strings.TrimSpace(c.Expression.Value) == "" {
		c.Expression.Value = DefaultExpression
	}
	e, l := expr.Compile(c.Expression.Value, c.Expression.Range, expr.Use{})
	if l.HasErrors() {
		return l
	}
	c.tested = e
	if _, ok := e.Literal(); ok {
		if len(l) > 0 {
			return l // it was meant as an expression, which says all
		}
		return append(l, diag.Diagnostic{Severity: diag.Warning, Code: codes[Constant], Subject: at("ipExpression"),
			Summary: fmt.Sprintf("the expression %s is the same for every request", c.Expression.Value),
			Hint:    "write an expression that reads the request, for example " + DefaultExpression})
	}
	if name, ok := e.RequestHeader(); ok && name == "x-forwarded-for" {
		return append(l, diag.Diagnostic{Severity: diag.Note, Code: codes[Spoofable], Subject: at("ipExpression"),
			Summary: "the first address of x-forwarded-for is whatever the client wrote, unless a proxy in front replaces the header",
			Hint:    "where clients connect directly, test #[attributes.remoteAddress]"})
	}
	return l
}

const forms = "write an address, a CIDR range such as 10.0.0.0/8, or the leading octets of an IPv4 address such as 192.168"

// parse reads one entry. The prefix may have host bits.
func parse(text string) (p netip.Prefix, problem, hint string) {
	if octets, ok := leadingOctets(text); ok {
		return octets, "", ""
	}
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return p, "is not a CIDR range: expected an address, a slash and a number of bits, at most 32 for IPv4 and 128 for IPv6", forms
		}
		return unmapped(p), "", ""
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err == nil && a.Zone() == "":
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), "", ""
	case err == nil:
		return p, "names a network interface, which means nothing in another host's address", "leave out " + "%" + a.Zone()
	case text == "*":
		return p, "is not an address: wildcards are not supported", "for every address, write 0.0.0.0/0 and ::/0"
	case strings.Contains(text, "*"):
		return p, "is not an address: wildcards are not supported", forms
	case strings.Contains(text, "-"):
		return p, "is not an address: ranges with a dash are not supported", forms
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return p, "has a port, expected an address alone", "write " + ap.Addr().String()
	}
	return p, "is not an address: expected an IPv4 or IPv6 address, a CIDR range, or leading octets from 0 to 255", forms
}

// leadingOctets reads one to three octets, which stand for all addresses that begin so.
func leadingOctets(text string) (netip.Prefix, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 3 {
		return netip.Prefix{}, false
	}
	var octets [4]byte
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != part {
			return netip.Prefix{}, false
		}
		octets[i] = byte(n)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*len(parts)), true
}

// unmapped is the IPv4 range that an IPv6 range of mapped addresses stands for; other ranges stay.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// disjoint sorts ranges and drops those that lie within another.
func disjoint(ranges []netip.Prefix) []netip.Prefix {
	slices.SortFunc(ranges, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits())
	})
	var out []netip.Prefix
	for _, p := range ranges {
		if n := len(out); n > 0 && out[n-1].Contains(p.Addr()) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// Filters are the filters that test a request, and the script of the expression. A refusal is named name in Envoy's
// details. Refuse says whether being in the list is one, or not being in it; an address that is missing or cannot be read
// is in no list.
func Filters(c *Config, in policy.Input, name string, refuse bool) (policy.Effect, error) {
	if c.tested.RemoteAddress() && len(c.ranges) <= maxPrincipals {
		return policy.Effect{Filters: []policy.Filter{{Config: principals(c.cidrs(refuse), in, name, refuse)}}}, nil
	}
	if c.tested.RemoteAddress() {
		match, err := matcher(c.cidrs(refuse), peer(in), in.ID, name, refuse)
		return policy.Effect{Filters: []policy.Filter{{Config: match}}}, err
	}
	match, err := matcher(c.cidrs(refuse), &matcherv3.HttpRequestHeaderMatchInput{HeaderName: header}, in.ID, name, refuse)
	if err != nil {
		return policy.Effect{}, err
	}
	step := expr.SetHeader(header, c.tested)
	step.Optional, step.Lenient, step.As = true, true, expr.Address
	address, script := expr.Program{Request: []expr.Step{step}}.Filter("address", in)
	return policy.Effect{
		Filters: []policy.Filter{address, {Config: match}, expr.RemoveHeaders("clean", header)},
		Files:   []policy.File{script},
	}, nil
}

// maxPrincipals is the length up to which a list is tested range by range: a third of the bytes of a matcher, which looks
// ranges up in a trie.
const maxPrincipals = 32

// principals denies clients by their own address, in the list or not in it.
func principals(ranges []*corev3.CidrRange, in policy.Input, name string, refuse bool) *rbacv3.RBAC {
	ids := make([]*rbacconfigv3.Principal, len(ranges))
	for i, r := range ranges {
		ids[i] = &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_DirectRemoteIp{DirectRemoteIp: r}}
		if behindProxy(in) {
			ids[i] = &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_RemoteIp{RemoteIp: r}}
		}
	}
	if !refuse {
		listed := &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_OrIds{OrIds: &rbacconfigv3.Principal_Set{Ids: ids}}}
		ids = []*rbacconfigv3.Principal{{Identifier: &rbacconfigv3.Principal_NotId{NotId: listed}}}
	}
	anything := []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}}
	return &rbacv3.RBAC{Rules: &rbacconfigv3.RBAC{
		Action:   rbacconfigv3.RBAC_DENY,
		Policies: map[string]*rbacconfigv3.Policy{name: {Permissions: anything, Principals: ids}},
	}}
}

// behindProxy reports whether a proxy says who the client is, in front of the bytes (the PROXY protocol).
func behindProxy(in policy.Input) bool { return in.Settings != nil && in.Settings.ProxyProtocol }

// peer is who opened the connection. Behind the PROXY protocol it is who the proxy says, not the proxy.
func peer(in policy.Input) proto.Message {
	if behindProxy(in) {
		return &networkv3.SourceIPInput{}
	}
	return &networkv3.DirectSourceIPInput{}
}

// cidrs are the ranges for Envoy. It does not see an IPv4 address in its IPv6 form, so where that would let a client slip
// by, both forms are listed.
func (c *Config) cidrs(mapped bool) []*corev3.CidrRange {
	out := make([]*corev3.CidrRange, 0, len(c.ranges))
	for _, p := range c.ranges {
		out = append(out, cidr(p.Addr().String(), p.Bits()))
	}
	for _, p := range c.ranges {
		if mapped && p.Addr().Is4() {
			out = append(out, cidr("::ffff:"+p.Addr().String(), 96+p.Bits()))
		}
	}
	return out
}

func cidr(address string, bits int) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: address, PrefixLen: wrapperspb.UInt32(uint32(bits))}
}

// matcher refuses with on_no_match as well: without it, Envoy refuses what does not match.
func matcher(ranges []*corev3.CidrRange, input proto.Message, id, name string, refuse bool) (*rbacv3.RBAC, error) {
	hit, miss := rbacconfigv3.RBAC_ALLOW, rbacconfigv3.RBAC_DENY
	if refuse {
		hit, miss = miss, hit
	}
	var failed error
	extension := func(name string, m proto.Message) *xdscorev3.TypedExtensionConfig {
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			failed = fmt.Errorf("marshal %s: %w", name, err)
		}
		return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: &anypb.Any{
			TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}}
	}
	then := func(a rbacconfigv3.RBAC_Action) *xdsmatcherv3.Matcher_OnMatch {
		return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: extension("action", &rbacconfigv3.Action{Name: name, Action: a})}}
	}
	m := &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
					SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
						Input: extension("address", input),
						Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{
							CustomMatch: extension("ranges", &ipv3.Ip{CidrRanges: ranges, StatPrefix: id})},
					}}},
				OnMatch: then(hit),
			}},
		}},
		OnNoMatch: then(miss),
	}
	return &rbacv3.RBAC{Matcher: m}, failed
}
