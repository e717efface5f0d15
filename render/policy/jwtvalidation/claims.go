package jwtvalidation

import (
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/dataweave"
)

// registered checks aud, and that nbf is there; nil where neither is asked for. It refuses where any condition fails, as a
// named policy, for a refusal without a name cannot be told from another policy's.
func (c *config) registered(claims policy.Ref) *rbacv3.RBAC {
	var refuse []*rbacconfigv3.Principal
	if c.MandatoryNbf {
		refuse = append(refuse, not(holds(claims, "nbf", &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_PresentMatch{PresentMatch: true}})))
	}
	if c.ValidateAud {
		var any []*matcherv3.ValueMatcher
		for _, a := range c.audiences() {
			any = append(any, texts(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: a}})...)
		}
		wrong := not(holds(claims, "aud", or(any)))
		if !c.MandatoryAud {
			// Envoy takes a text or a list of texts only; an empty list counts as absent.
			there := holds(claims, "aud", or(texts(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
				SafeRegex: &matcherv3.RegexMatcher{Regex: "(?s).*"}}})))
			wrong = &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_AndIds{AndIds: &rbacconfigv3.Principal_Set{Ids: []*rbacconfigv3.Principal{there, wrong}}}}
		}
		refuse = append(refuse, wrong)
	}
	if refuse == nil {
		return nil
	}
	return &rbacv3.RBAC{Rules: &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_DENY, Policies: map[string]*rbacconfigv3.Policy{refusal: {
		Permissions: []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}},
		Principals:  refuse,
	}}}}
}

func not(p *rbacconfigv3.Principal) *rbacconfigv3.Principal {
	return &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_NotId{NotId: p}}
}

func holds(claims policy.Ref, name string, value *matcherv3.ValueMatcher) *rbacconfigv3.Principal {
	path := make([]*matcherv3.MetadataMatcher_PathSegment, 0, len(claims.Keys)+1)
	for _, key := range append(append([]string(nil), claims.Keys...), name) {
		path = append(path, &matcherv3.MetadataMatcher_PathSegment{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: key}})
	}
	return &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_SourcedMetadata{SourcedMetadata: &rbacconfigv3.SourcedMetadata{
		MetadataSource:  rbacconfigv3.MetadataSource_DYNAMIC,
		MetadataMatcher: &matcherv3.MetadataMatcher{Filter: claims.Namespace, Path: path, Value: value},
	}}}
}

// texts match a text, and a list that holds it.
func texts(m *matcherv3.StringMatcher) []*matcherv3.ValueMatcher {
	one := &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: m}}
	return []*matcherv3.ValueMatcher{one, {MatchPattern: &matcherv3.ValueMatcher_ListMatch{ListMatch: &matcherv3.ListMatcher{
		MatchPattern: &matcherv3.ListMatcher_OneOf{OneOf: one}}}}}
}

func or(any []*matcherv3.ValueMatcher) *matcherv3.ValueMatcher {
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_OrMatch{OrMatch: &matcherv3.OrMatcher{ValueMatchers: any}}}
}

// rule is the expression that must be true for a custom claim. condition is the declared one; nil: the claim must read
// text.
func rule(name, text string, condition dataweave.Expr, mandatory bool) dataweave.Expr {
	value := &dataweave.Var{Path: []string{"vars", "claimSet", name}}
	if condition == nil { // numbers and booleans are compared as they are written
		condition = &dataweave.Binary{Op: dataweave.Equal, X: &dataweave.Binary{Op: dataweave.Concat, X: value, Y: &dataweave.String{}},
			Y: &dataweave.String{Value: text}}
	}
	absent := &dataweave.Binary{Op: dataweave.Equal, X: value, Y: &dataweave.Null{}}
	return &dataweave.If{Cond: absent, Then: &dataweave.Bool{Value: !mandatory}, Else: condition}
}
