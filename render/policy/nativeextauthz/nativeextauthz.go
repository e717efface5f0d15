// Package nativeextauthz is the "native-ext-authz-flex" policy: another service says which requests may pass.
//
// It decides nothing itself, and keeps no answer.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-external-authorization
package nativeextauthz

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/urlcheck"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed nativeextauthz.schema.json
var schema []byte

//go:embed nativeextauthz.md
var page []byte

//go:embed nativeextauthz.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "native-ext-authz-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.6.0",
	Guard:    policy.Always[config](ir.Authenticates),
	Defaults: func() config { return config{Server: grpc, Timeout: 5000} },
	Check:    check,
})

type config struct {
	URI            string   `flex:"uri"`
	Server         string   `flex:"serverType"`
	Version        string   `flex:"serverApiVersion"`
	Version18      string   `flex:"serverVersion"`  // its name up to release 1.8
	Timeout        int64    `flex:"requestTimeout"` // milliseconds
	PeerCert       bool     `flex:"includePeerCertificate"`
	Allowed        []string `flex:"allowedHeaders"`
	Prefix         *string  `flex:"pathPrefix"`
	Add            []header `flex:"serviceRequestHeadersToAdd"`
	Upstream       []string `flex:"serviceResponseUpstreamHeaders"`
	UpstreamAppend []string `flex:"serviceResponseUpstreamHeadersToAppend"`
	Client         []string `flex:"serviceResponseClientHeaders"`
	ClientSuccess  []string `flex:"serviceResponseClientHeadersOnSuccess"`
}

type header struct {
	Key   string `flex:"key"`
	Value string `flex:"value"`
}

const (
	grpc = "grpc"
	web  = "http"
)

type checker struct {
	*config
	policy.Findings
}

func check(c *config, at policy.Locator) diag.List {
	x := &checker{config: c, Findings: policy.Findings{At: at}}
	x.checkURI()
	x.checkVersion()
	x.Milliseconds("nativeextauthz/short-timeout", c.Timeout, "requestTimeout")
	x.HeaderNames("nativeextauthz/bad-name", c.Allowed, "allowedHeaders")
	if c.Server == grpc {
		x.checkHTTPOnly()
		return x.List
	}
	if p := c.Prefix; p != nil && *p != "" && !strings.HasPrefix(*p, "/") {
		x.Error("nativeextauthz/bad-prefix", fmt.Sprintf("pathPrefix is %q, expected one that begins with /", *p), fmt.Sprintf("write /%s", *p), "pathPrefix")
	}
	x.checkAdded()
	for _, list := range c.lists() {
		x.HeaderNames("nativeextauthz/bad-name", list.names, list.field)
	}
	return x.List
}

type list struct {
	field string
	names []string
}

func (c *config) lists() []list {
	return []list{{"serviceResponseUpstreamHeaders", c.Upstream}, {"serviceResponseUpstreamHeadersToAppend", c.UpstreamAppend},
		{"serviceResponseClientHeaders", c.Client}, {"serviceResponseClientHeadersOnSuccess", c.ClientSuccess}}
}

func (x *checker) checkURI() {
	want := urlcheck.Want{Schemes: []string{"h2"}, Port: true, NoPath: true}
	if x.Server == web {
		want = urlcheck.Want{Schemes: []string{web, "https"}}
	}
	u, wrong := urlcheck.Parse(x.URI, want)
	switch {
	case u != nil && x.Server == web && (strings.Trim(u.Path, "/") != "" || u.RawQuery != ""):
		x.Warn("nativeextauthz/uri-path", "the path of uri is not used: every check is sent to the path of its request", "write it in pathPrefix", "uri")
	case u != nil:
	case x.Server == web && strings.HasPrefix(x.URI, "h2://"):
		x.Error("nativeextauthz/bad-uri", "uri is an h2:// address, which is for gRPC, but serverType is http", "set serverType: grpc, or write http://host:port", "uri")
	case x.Server == grpc && (strings.HasPrefix(x.URI, "http://") || strings.HasPrefix(x.URI, "https://")):
		_, rest, _ := strings.Cut(x.URI, "://")
		if rest, _, _ = strings.Cut(rest, "/"); strings.Contains(x.URI, "@") { // and a password may come before it
			rest = "host:port"
		}
		x.Error("nativeextauthz/bad-uri", "uri is an address of HTTP, but serverType is grpc", fmt.Sprintf("write h2://%s, or set serverType: http", rest), "uri")
	default:
		x.Error("nativeextauthz/bad-uri", "uri "+wrong.What, wrong.Hint, "uri")
	}
}

func (x *checker) checkVersion() {
	field, version := "serverApiVersion", x.Version
	if version == "" && x.Version18 != "" {
		field, version = "serverVersion", x.Version18
	}
	if version == "v2" {
		x.Error("nativeextauthz/old-api", fmt.Sprintf("%s is v2, which Envoy no longer speaks", field), "write v3", field)
	}
	if x.Version != "" && x.Version18 != "" && x.Version != x.Version18 {
		x.Warn("nativeextauthz/version-twice", fmt.Sprintf("serverVersion is %s and serverApiVersion is %s: they are names of one field", x.Version18, x.Version),
			"keep serverApiVersion, its name since 1.9", "serverVersion")
	}
}

// checkHTTPOnly warns of what a gRPC service is not asked for: its answers say it themselves.
func (x *checker) checkHTTPOnly() {
	given := func(field string, is bool) {
		if is {
			x.Warn("nativeextauthz/http-only", field+" is ignored: it is for serverType http, and this one is grpc", "remove it, or set serverType: http", field)
		}
	}
	given("pathPrefix", x.Prefix != nil)
	given("serviceRequestHeadersToAdd", x.Add != nil)
	for _, list := range x.lists() {
		given(list.field, list.names != nil)
	}
}

func (x *checker) checkAdded() {
	for i, h := range x.Add {
		index := strconv.Itoa(i)
		if !ir.IsHeaderName(h.Key) {
			x.Error("nativeextauthz/bad-header", fmt.Sprintf("%q is not the name of a header", h.Key), "use letters, digits and !#$%&'*+-.^_`|~", "serviceRequestHeadersToAdd", index, "key")
		}
		if strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			x.Error("nativeextauthz/bad-header", fmt.Sprintf("the value of %q holds a control character, which ends or breaks a header", h.Key), "write the value on one line",
				"serviceRequestHeadersToAdd", index, "value")
		}
	}
}
