// Package tlsoutbound is the "tls-outbound" policy: whom the gateway trusts, and as whom it comes, when it calls a Service
// over TLS.
//
// Which name the upstream's certificate must bear follows from the Service's address, not from here.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-tls-outbound
package tlsoutbound

import (
	_ "embed"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/tlscheck"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed tlsoutbound.schema.json
var schema []byte

//go:embed tlsoutbound.md
var page []byte

//go:embed tlsoutbound.codes.md
var codesPage []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "tls-outbound",
	Schema:   schema,
	Page:     page,
	Codes:    codesPage,
	Targets:  ir.TargetUpstream,
	Place:    ir.Outside,
	Since:    "1.4.0",
	Defaults: defaults,
	Check:    check,
	Validity: func(c *config, at policy.Locator) []ir.Validity { return tlscheck.Validity(c.params(), at) },
	Shifts:   shifts,
	Effect:   effect,
})

func defaults() config { return config{ALPN: []string{"h2", "http/1.1"}, Min: "1.2", Max: "1.3"} }

type config struct {
	Skip        bool   `flex:"skipValidation"`
	CA          string `flex:"trustedCA"`
	Certificate struct {
		Key policy.Secret `flex:"key"`
		Crt string        `flex:"crt"`
	} `flex:"certificate"`
	ALPN    []string `flex:"alpn"`
	Min     string   `flex:"minversion"`
	Max     string   `flex:"maxversion"`
	Ciphers []string `flex:"ciphers"`
}

func (c *config) params() tlscheck.Params {
	return tlscheck.Params{Crt: c.Certificate.Crt, Key: c.Certificate.Key, CA: c.CA, ALPN: c.ALPN, Min: c.Min, Max: c.Max, Ciphers: c.Ciphers}
}

func codes() map[tlscheck.Kind]diag.Code {
	return map[tlscheck.Kind]diag.Code{
		tlscheck.HalfPair:       "tlsoutbound/half-pair",
		tlscheck.BadCertificate: "tlsoutbound/bad-certificate",
		tlscheck.BadKey:         "tlsoutbound/bad-key",
		tlscheck.EncryptedKey:   "tlsoutbound/encrypted-key",
		tlscheck.KeyMismatch:    "tlsoutbound/key-mismatch",
		tlscheck.WeakKey:        "tlsoutbound/weak-key",
		tlscheck.ChainOrder:     "tlsoutbound/chain-order",
		tlscheck.BadCA:          "tlsoutbound/bad-ca",
		tlscheck.VersionOrder:   "tlsoutbound/version-order",
		tlscheck.UnknownCipher:  "tlsoutbound/unknown-cipher",
		tlscheck.PSKCipher:      "tlsoutbound/psk-cipher",
		tlscheck.NoCipher:       "tlsoutbound/no-cipher",
		tlscheck.Only13:         "tlsoutbound/only-tls-1-3",
		tlscheck.OldVersion:     "tlsoutbound/old-version",
		tlscheck.WeakCipher:     "tlsoutbound/weak-cipher",
	}
}

func check(c *config, at policy.Locator) diag.List {
	l := tlscheck.Diagnostics(tlscheck.Check(c.params()), codes(), at)
	if !c.Skip {
		return l
	}
	if c.CA != "" {
		return append(l, diag.Diagnostic{Severity: diag.Warning, Code: "tlsoutbound/ca-ignored", Subject: at("trustedCA"),
			Summary: "skipValidation is true, so trustedCA is ignored", Hint: "set skipValidation: false to check the upstream's certificate"})
	}
	return append(l, diag.Diagnostic{Severity: diag.Warning, Code: "tlsoutbound/unverified", Subject: at("skipValidation"),
		Summary: "skipValidation is true, so whoever stands between the gateway and the upstream can read and change the traffic",
		Hint:    "give trustedCA and set skipValidation: false"})
}

func effect(c *config, in policy.Input) (policy.Effect, error) {
	if in.Upstream != nil && in.Upstream.Scheme != "https" {
		return policy.Effect{}, nil // schema warns that it has no effect (link/tls-without-https)
	}
	p := c.params()
	if c.Skip {
		p.CA = ""
	}
	common, secrets := tlscheck.Context(p, in.ID)
	return policy.Effect{Secrets: secrets, Upstream: &policy.Upstream{
		TLS: &tlsv3.UpstreamTlsContext{CommonTlsContext: common}, Unverified: c.Skip}}, nil
}
