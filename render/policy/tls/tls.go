// Package tls is the "tls" policy: the certificate, protocol versions and client certificates of a port.
//
// It works on connections: it sees no request, has no order and no rules.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-tls
package tls

import (
	_ "embed"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/tlscheck"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed tls.schema.json
var schema []byte

//go:embed tls.md
var page []byte

//go:embed tls.codes.md
var codesPage []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "tls",
	Schema:   schema,
	Page:     page,
	Codes:    codesPage,
	Targets:  ir.TargetAPI,
	Place:    ir.Outside,
	Since:    "1.0.0",
	Guard:    policy.When(ir.Authenticates, func(c *config) bool { return c.Require }), // clients must prove who they are when their certificates are required
	Defaults: func() config { return config{ALPN: []string{"h2", "http/1.1"}, Min: "1.2", Max: "1.3"} },
	Check:    check,
	Validity: func(c *config, at policy.Locator) []ir.Validity { return tlscheck.Validity(c.params(), at) },
	Shifts:   shifts,
	Effect:   effect,
})

type config struct {
	Certificate struct {
		Key policy.Secret `flex:"key"`
		Crt string        `flex:"crt"`
	} `flex:"certificate"`
	Require bool     `flex:"requireClientCertificate"`
	CA      string   `flex:"trustedCA"`
	ALPN    []string `flex:"alpn"`
	Min     string   `flex:"minversion"`
	Max     string   `flex:"maxversion"`
	Ciphers []string `flex:"ciphers"`
}

func (c *config) params() tlscheck.Params {
	return tlscheck.Params{Crt: c.Certificate.Crt, Key: c.Certificate.Key, CA: c.CA, ALPN: c.ALPN, Min: c.Min, Max: c.Max, Ciphers: c.Ciphers, Server: true}
}

func codes() map[tlscheck.Kind]diag.Code {
	return map[tlscheck.Kind]diag.Code{
		tlscheck.HalfPair:       "tls/no-certificate",
		tlscheck.BadCertificate: "tls/bad-certificate",
		tlscheck.BadKey:         "tls/bad-key",
		tlscheck.EncryptedKey:   "tls/encrypted-key",
		tlscheck.KeyMismatch:    "tls/key-mismatch",
		tlscheck.WeakKey:        "tls/weak-key",
		tlscheck.ChainOrder:     "tls/chain-order",
		tlscheck.BadCA:          "tls/bad-ca",
		tlscheck.VersionOrder:   "tls/version-order",
		tlscheck.UnknownCipher:  "tls/unknown-cipher",
		tlscheck.PSKCipher:      "tls/psk-cipher",
		tlscheck.NoCipher:       "tls/no-cipher",
		tlscheck.Only13:         "tls/only-tls-1-3",
		tlscheck.OldVersion:     "tls/old-version",
		tlscheck.WeakCipher:     "tls/weak-cipher",
		tlscheck.Nameless:       "tls/nameless-certificate",
	}
}

func check(c *config, at policy.Locator) diag.List {
	l := tlscheck.Diagnostics(tlscheck.Check(c.params()), codes(), at)
	if c.Certificate.Crt == "" && c.Certificate.Key.IsZero() {
		l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "tls/no-certificate", Subject: at("certificate"),
			Summary: "there is no certificate, and a port cannot speak TLS without one", Hint: "give certificate.key and certificate.crt"})
	}
	switch {
	case c.Require && c.CA == "": // Envoy would let every client in, even one without a certificate
		l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "tls/no-trusted-ca", Subject: at("requireClientCertificate"),
			Summary: "requireClientCertificate is true but trustedCA is missing, so nothing says which clients are trusted",
			Hint:    "give the certificates of the authorities that sign your clients' certificates"})
	case !c.Require && c.CA != "":
		l = append(l, diag.Diagnostic{Severity: diag.Warning, Code: "tls/client-certificate-optional", Subject: at("trustedCA"),
			Summary: "trustedCA is given but requireClientCertificate is not true, so clients without a certificate get in",
			Hint:    "set requireClientCertificate: true to demand one"})
	}
	return l
}

func effect(c *config, in policy.Input) (policy.Effect, error) {
	common, secrets := tlscheck.Context(c.params(), in.ID)
	t := &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
	if c.Require {
		t.RequireClientCertificate = wrapperspb.Bool(true)
	}
	return policy.Effect{Downstream: t, Secrets: secrets}, nil
}
