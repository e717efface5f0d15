// Package nativeextproc is the "native-ext-proc-flex" policy: another service changes requests and responses.
//
// It changes nothing itself.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-external-processing
package nativeextproc

import (
	_ "embed"
	"fmt"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/urlcheck"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed nativeextproc.schema.json
var schema []byte

//go:embed nativeextproc.md
var page []byte

//go:embed nativeextproc.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "native-ext-proc-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.6.0",
	Defaults: func() config {
		return config{Timeout: 1000, RequestHeaders: send, ResponseHeaders: send, RequestBody: none, ResponseBody: none, RequestTrailers: skip, ResponseTrailers: skip, Override: true}
	},
	Check: check,
})

type config struct {
	URI              string `flex:"uri"`
	Timeout          int64  `flex:"messageTimeout"`    // milliseconds, for each message
	MaxTimeout       int64  `flex:"maxMessageTimeout"` // milliseconds; 0: the service may not ask for more
	RequestHeaders   string `flex:"requestHeaderMode"`
	ResponseHeaders  string `flex:"responseHeaderMode"`
	RequestBody      string `flex:"requestBodyMode"`
	ResponseBody     string `flex:"responseBodyMode"`
	RequestTrailers  string `flex:"requestTrailerMode"`
	ResponseTrailers string `flex:"responseTrailerMode"`
	FailureAllow     bool   `flex:"failureModeAllow"`
	Override         bool   `flex:"allowModeOverride"`
	Observe          bool   `flex:"observabilityMode"`
}

const (
	send = "send"
	skip = "skip"
	none = "none"
)

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	if u, wrong := urlcheck.Parse(c.URI, urlcheck.Want{Schemes: []string{"h2"}, Port: true, NoPath: true}); u == nil {
		f.Error("nativeextproc/bad-uri", "uri "+wrong.What, wrong.Hint, "uri")
	}
	f.Milliseconds("nativeextproc/short-timeout", c.Timeout, "messageTimeout")
	f.Milliseconds("nativeextproc/short-timeout", c.MaxTimeout, "maxMessageTimeout")
	if c.MaxTimeout != 0 && c.MaxTimeout < c.Timeout {
		f.Warn("nativeextproc/smaller-maximum", fmt.Sprintf("maxMessageTimeout is %d, less than messageTimeout, which is %d", c.MaxTimeout, c.Timeout),
			"write a larger one, or 0 if the service may not ask for more time", "maxMessageTimeout")
	}
	if c.RequestHeaders == skip && c.ResponseHeaders == skip && c.RequestBody == none && c.ResponseBody == none && c.RequestTrailers == skip && c.ResponseTrailers == skip {
		f.Warn("nativeextproc/nothing-sent", "all modes are skip or none, so the service is never asked", "send it something, for example requestHeaderMode: send")
	}
	return f.List
}
