// Package jwtvalidation is the "jwt-validation-flex" policy: requests carry a signed token whose claims hold.
//
// It neither makes tokens nor asks anybody about them at request time: key sets are fetched by the daemon beforehand.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-jwt-validation
package jwtvalidation

import (
	_ "embed"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed jwtvalidation.schema.json
var schema []byte

//go:embed jwtvalidation.md
var page []byte

//go:embed jwtvalidation.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "jwt-validation-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.0.0",
	Guard:    policy.Always[config](ir.Authenticates),
	Replies:  replies,
	Defaults: defaults,
	Check:    check,
	Shifts:   shifts,
	Needs:    needs,
	Usable:   usable,
	Effect:   effect,
})

const (
	missing = `{"error":"JWT Token is required."}`
	invalid = `{"error":"Invalid token."}`
	noKeys  = `{"error":"Service Unavailable"}`

	// refusal names, in Envoy's details, a token that is right but whose claims do not hold.
	refusal = "jwtvalidation"
)

// Envoy answers 401 where the product says 400, and 403 for a wrong audience. The details are those of its filters.
var replies = []policy.Reply{
	{Details: "jwt_authn_access_denied{Jwt_is_missing}", Status: 400, Body: missing},
	{Details: "jwt_authn_access_denied*", Status: 401, Body: invalid},
	{Details: "rbac_access_denied_matched_policy[" + refusal + "]", Status: 401, Body: invalid},
	{Details: "fault_filter_abort", Body: noKeys},
}

type config struct {
	Origin         string        `flex:"jwtOrigin"`
	Expression     syntax.Text   `flex:"jwtExpression"`
	Method         string        `flex:"signingMethod"`
	Length         int64         `flex:"signingKeyLength"`
	KeyOrigin      string        `flex:"jwtKeyOrigin"`
	TextKey        policy.Secret `flex:"textKey"`
	CustomKey      string        `flex:"customKeyExpression"`
	URLs           string        `flex:"jwksUrl"`
	TTL            int64         `flex:"jwksServiceTimeToLive"`        // minutes
	Timeout        int64         `flex:"jwksServiceConnectionTimeout"` // milliseconds
	SkipClientID   bool          `flex:"skipClientIdValidation"`
	ClientID       string        `flex:"clientIdExpression"`
	ValidateAud    bool          `flex:"validateAudClaim"`
	MandatoryAud   bool          `flex:"mandatoryAudClaim"`
	Audiences      string        `flex:"supportedAudiences"`
	MandatoryExp   bool          `flex:"mandatoryExpClaim"`
	MandatoryNbf   bool          `flex:"mandatoryNbfClaim"`
	ValidateCustom bool          `flex:"validateCustomClaim"`
	Mandatory      []claim       `flex:"mandatoryCustomClaims"`
	Optional       []claim       `flex:"nonMandatoryCustomClaims"`
	ToHeaders      []toHeader    `flex:"claimsToHeaders"`

	token expr.Expr   // made by check, for a token that is not a bearer's
	rules []expr.Expr // made by check: what custom claims must fulfil
	key   []byte      // made by check: the key of textKey as a JSON Web Key
}

type claim struct {
	Key   string      `flex:"key"`
	Value syntax.Text `flex:"value"`
}

type toHeader struct {
	Key   string `flex:"key"`   // the claim
	Value string `flex:"value"` // the header
}

const (
	bearer = "httpBearerAuthenticationHeader"
	custom = "customExpression"

	defaultToken    = "#[attributes.headers['jwt']]"
	defaultURL      = "http://your-jwks-service.example:80/base/path"
	defaultClientID = "#[vars.claimSet.client_id]"
)

func defaults() config {
	return config{Origin: bearer, Expression: syntax.Text{Value: defaultToken}, Method: "rsa", Length: 256, KeyOrigin: "text",
		URLs: defaultURL, TTL: 60, Timeout: 10_000, SkipClientID: true, ClientID: defaultClientID}
}

// algorithm is what the header of a token must say.
func (c *config) algorithm() string {
	return fmt.Sprintf("%s%d", map[string]string{"rsa": "RS", "es": "ES", "hmac": "HS"}[c.Method], c.Length)
}

// needs are the key sets of all addresses; their keys count together.
func needs(c *config) []policy.Need {
	if c.KeyOrigin != "jwks" {
		return nil
	}
	var list []policy.Need
	for _, u := range c.urls() {
		list = append(list, policy.Need{Purpose: "jwks", URL: u, TTL: time.Duration(c.TTL) * time.Minute, Timeout: time.Duration(c.Timeout) * time.Millisecond})
	}
	return list
}

// helper carries a token that an expression found. Clients cannot send it, and upstreams do not see it.
const helper = expr.InternalPrefix + "jwt"

func effect(c *config, in policy.Input) (policy.Effect, error) {
	claims := policy.Ref{Namespace: "envoy.filters.http.jwt_authn", Keys: []string{"jwt." + in.ID}} // one namespace for all such filters
	out := policy.Effect{Publishes: policy.Published{Claims: claims}}
	set, ready, err := c.keySet(in)
	if err != nil {
		return policy.Effect{}, err
	}
	if !ready {
		out.Filters = []policy.Filter{unavailable()}
		return out, nil
	}
	file := policy.File{Ext: ".json", Data: set, Secret: c.Method == "hmac"}
	out.Files = append(out.Files, file)

	header, plain := c.token.RequestHeader()
	found := c.Origin == custom && !plain
	if found {
		step := expr.SetHeader(helper, c.token)
		step.Optional, step.Lenient = true, true
		filter, script := expr.Program{Request: []expr.Step{step}}.Filter("token", in)
		out.Filters, out.Files = append(out.Filters, filter), append(out.Files, script)
		header = helper
	}
	out.Filters = append(out.Filters, policy.Filter{Config: c.filter(in, in.Path(file.Data, file.Ext), header, claims)})
	if f := c.registered(claims); f != nil {
		out.Filters = append(out.Filters, policy.Filter{Name: "claims", Config: f})
	}
	if len(c.rules) > 0 {
		program := expr.Program{Sees: policy.Published{Claims: claims}}
		for _, rule := range c.rules {
			step := expr.Require(rule, 401, invalid)
			step.Lenient = true
			program.Request = append(program.Request, step)
		}
		filter, script := program.Filter("custom", in)
		out.Filters = append(out.Filters, filter)
		out.Files = append(out.Files, script) // perhaps for the second time: a file is its content
	}
	if found {
		out.Filters = append(out.Filters, expr.RemoveHeaders("clean", helper))
	}
	return out, nil
}

// unavailable stands where the filter will, until there is a key.
func unavailable() policy.Filter {
	return policy.Filter{Config: &faultv3.HTTPFault{Abort: &faultv3.FaultAbort{
		ErrorType:  &faultv3.FaultAbort_HttpStatus{HttpStatus: 503},
		Percentage: &typev3.FractionalPercent{Numerator: 100, Denominator: typev3.FractionalPercent_HUNDRED},
	}}}
}

// filter checks the signature, exp and nbf. A header is where the token is; "": the bearer's.
func (c *config) filter(in policy.Input, keys, header string, claims policy.Ref) *jwtv3.JwtAuthentication {
	from := []*jwtv3.JwtHeader{{Name: "authorization", ValuePrefix: "Bearer "}, {Name: "authorization", ValuePrefix: "bearer "}}
	if c.Origin == custom {
		from = []*jwtv3.JwtHeader{{Name: header}}
	}
	p := &jwtv3.JwtProvider{
		JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{LocalJwks: &corev3.DataSource{
			Specifier: &corev3.DataSource_Filename{Filename: keys}}},
		FromHeaders:       from,
		Forward:           true,
		ClockSkewSeconds:  1, // the product has none, and 0 means a minute
		RequireExpiration: c.MandatoryExp,
		PayloadInMetadata: claims.Keys[0],
		JwtCacheConfig:    &jwtv3.JwtCacheConfig{JwtCacheSize: 1000},
	}
	for _, h := range c.ToHeaders {
		p.ClaimToHeaders = append(p.ClaimToHeaders, &jwtv3.JwtClaimToHeader{ClaimName: h.Key, HeaderName: h.Value})
	}
	return &jwtv3.JwtAuthentication{
		Providers: map[string]*jwtv3.JwtProvider{"token": p},
		Rules: []*jwtv3.RequirementRule{{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			RequirementType: &jwtv3.RequirementRule_Requires{Requires: &jwtv3.JwtRequirement{
				RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: "token"}}},
		}},
		StripFailureResponse: true, // Envoy's www-authenticate shows the whole address of the request
	}
}
