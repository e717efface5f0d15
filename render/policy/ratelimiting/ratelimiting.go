// Package ratelimiting is the "rate-limiting-flex" policy: so many requests in a fixed time, for all or for each key.
//
// The daemon counts (see package enforce below it), because Envoy's own filter has no fixed windows and forgets its
// counters at every change of a route. It does not delay requests.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-rate-limiting
package ratelimiting

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/render/policy/ratelimiting/enforce"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed ratelimiting.schema.json
var schema []byte

//go:embed ratelimiting.md
var page []byte

//go:embed ratelimiting.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "rate-limiting-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.2.0",
	Guard:   policy.Always[config](ir.Restricts),
	// A refusal (429) comes from the daemon as it is; this is for the time when nobody counts.
	Replies: []policy.Reply{{Details: "rate_limiter_error", Body: `{"error":"Service Unavailable"}`}},
	// True is the default and harmless without a store; who writes it means it.
	Shares: func(c *config) bool { return c.Clusterizable != nil && *c.Clusterizable },
	Check:  check,
	Shifts: shifts,
	Effect: effect,
	Start:  enforce.Start,
})

type config struct {
	Limits        []limit     `flex:"rateLimits"`
	Selector      syntax.Text `flex:"keySelector"`
	Expose        bool        `flex:"exposeHeaders"`
	Clusterizable *bool       `flex:"clusterizable"`
	Block         *bool       `flex:"blockOnUnknownQuota"`

	key *expr.Expr // the selector, compiled by check; nil: one count for all
}

type limit struct {
	Requests uint64 `flex:"maximumRequests"`
	Period   uint64 `flex:"timePeriodInMilliseconds"`
}

// shortest is the shortest period, in milliseconds, that somebody may have meant.
const shortest = 100

// retryFor is how long Envoy asks a daemon that does not answer, before it refuses the request with 503.
const retryFor = 5 * time.Second

func check(c *config, at policy.Locator) diag.List {
	var l diag.List
	for i, x := range c.Limits {
		if x.Period < shortest {
			l = append(l, diag.Diagnostic{Severity: diag.Warning, Code: "ratelimiting/short-period", Subject: at("rateLimits", strconv.Itoa(i), "timePeriodInMilliseconds"),
				Summary: fmt.Sprintf("the period is %d milliseconds", x.Period), Hint: fmt.Sprintf("write %d if seconds were meant", x.Period*1000)})
		}
		for j, y := range c.Limits[:i] {
			if x.Period == y.Period {
				l = append(l, diag.Diagnostic{Severity: diag.Warning, Code: "ratelimiting/repeated-period", Subject: at("rateLimits", strconv.Itoa(i), "timePeriodInMilliseconds"),
					Summary: fmt.Sprintf("limits %d and %d count over the same %d ms, so only the one of %d requests matters", j+1, i+1, x.Period, min(x.Requests, y.Requests)),
					Hint:    "remove the larger one"})
				break
			}
		}
	}
	if strings.TrimSpace(c.Selector.Value) == "" {
		return l
	}
	key, problems := expr.Compile(c.Selector.Value, c.Selector.Range, expr.Use{})
	if problems.HasErrors() {
		return append(l, problems...)
	}
	c.key = &key
	if l = append(l, problems...); len(problems) == 0 { // else that is why it is constant
		l = append(l, c.checkKey(at("keySelector"))...)
	}
	if _, ok := key.Literal(); ok {
		c.key = nil
	}
	return l
}

// checkKey says what is odd about a selector that can be carried out.
func (c *config) checkKey(at diag.Range) diag.List {
	text := c.Selector.Value
	if _, ok := c.key.Literal(); ok {
		return diag.List{{Severity: diag.Warning, Code: "ratelimiting/constant-key", Subject: at,
			Summary: fmt.Sprintf("the key %s is the same for every request, so all requests share one count", text),
			Hint:    "write an expression, for example #[attributes.headers['client_id']], or leave keySelector out"}}
	}
	if c.key.RemoteAddress() {
		return diag.List{{Severity: diag.Warning, Code: "ratelimiting/key-per-connection", Subject: at,
			Summary: fmt.Sprintf("the key %s holds the client's port, so every connection has a count of its own", text),
			Hint:    "cut the port off: #[splitBy(attributes.remoteAddress, ':')[0]]"}}
	}
	if name, ok := c.key.RequestHeader(); ok && name == "x-forwarded-for" {
		return diag.List{{Severity: diag.Note, Code: "ratelimiting/many-keys", Subject: at,
			Summary: fmt.Sprintf("the key %s can be chosen freely by clients, and each value is a count of its own", text),
			Hint:    "choose what a client cannot make up, for example what an authentication policy found out"}}
	}
	return nil
}

// effect asks the daemon before the request goes on. A lost call is tried again for a while, so a restart of the daemon is
// a short wait; after that the request is refused, as nobody knows whether there is quota left.
func effect(c *config, in policy.Input) (policy.Effect, error) {
	out := policy.Effect{Enforce: c.enforced(in)}
	actions := []*routev3.RateLimit_Action{{ActionSpecifier: &routev3.RateLimit_Action_GenericKey_{
		GenericKey: &routev3.RateLimit_Action_GenericKey{DescriptorKey: "all", DescriptorValue: "all"}}}}
	if c.key != nil {
		actions = append(actions, c.keyed(in, &out))
	}
	out.Filters = append(out.Filters, policy.Filter{Config: &ratelimitv3.RateLimit{
		Domain:                         "flexgw",
		Timeout:                        durationpb.New(retryFor),
		FailureModeDeny:                true,
		StatusOnError:                  &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		DisableXEnvoyRatelimitedHeader: true,
		RateLimits:                     []*routev3.RateLimit{{Actions: actions}},
		RateLimitService:               service(in),
	}})
	return out, nil
}

// keyed is the part of the descriptor that holds the key. It is left out where there is no key: the empty key. What is not
// just a header is evaluated before, and left in metadata.
func (c *config) keyed(in policy.Input, out *policy.Effect) *routev3.RateLimit_Action {
	if name, ok := c.key.RequestHeader(); ok {
		return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_RequestHeaders_{
			RequestHeaders: &routev3.RateLimit_Action_RequestHeaders{HeaderName: name, DescriptorKey: enforce.KeyEntry, SkipIfAbsent: true}}}
	}
	step := expr.SetMetadata(in.ID, "key", *c.key)
	step.Optional, step.As = true, expr.Key
	filter, file := expr.Program{Request: []expr.Step{step}}.Filter("key", in)
	out.Filters, out.Files = append(out.Filters, filter), append(out.Files, file)
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_Metadata{
		Metadata: &routev3.RateLimit_Action_MetaData{
			DescriptorKey: enforce.KeyEntry,
			MetadataKey: &metadatav3.MetadataKey{Key: in.ID, Path: []*metadatav3.MetadataKey_PathSegment{
				{Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: "key"}}}},
			Source:       routev3.RateLimit_Action_MetaData_DYNAMIC,
			SkipIfAbsent: true,
		}}}
}

func service(in policy.Input) *ratelimitconfigv3.RateLimitServiceConfig {
	return &ratelimitconfigv3.RateLimitServiceConfig{
		TransportApiVersion: corev3.ApiVersion_V3,
		GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: policy.EnforceCluster}},
			Timeout:         durationpb.New(retryFor),
			InitialMetadata: []*corev3.HeaderValue{
				{Key: policy.InstanceMetadata, Value: in.Instance},
				// Envoy itself takes this away. Without it, it would ask again whenever an answer takes longer than MaxInterval, and the daemon
				// would count the request once more.
				{Key: "x-envoy-upstream-rq-per-try-timeout-ms", Value: strconv.FormatInt(retryFor.Milliseconds(), 10)},
			},
			RetryPolicy: &corev3.RetryPolicy{
				NumRetries: wrapperspb.UInt32(1000), // more than fit in retryFor
				RetryOn:    "unavailable,connect-failure,reset,refused-stream",
				RetryBackOff: &corev3.BackoffStrategy{BaseInterval: durationpb.New(25 * time.Millisecond),
					MaxInterval: durationpb.New(100 * time.Millisecond)},
			},
		},
	}
}

// enforced is what the daemon needs to know. A binding that a selector gave to several APIs counts for each of them.
func (c *config) enforced(in policy.Input) enforce.Config {
	e := enforce.Config{Expose: c.Expose, PassUnknown: c.Block != nil && !*c.Block}
	if in.API != nil {
		e.API = in.API.Origin.Object.Namespace + "/" + in.API.Origin.Object.Name
	}
	for _, x := range c.Limits {
		e.Limits = append(e.Limits, enforce.Limit{Requests: x.Requests, Milliseconds: x.Period})
	}
	return e
}
