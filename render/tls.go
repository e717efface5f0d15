package render

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/ir"
)

const tlsSocket = "envoy.transport_sockets.tls"

func downstreamSocket(w *wire, t *tlsv3.DownstreamTlsContext) *corev3.TransportSocket {
	return &corev3.TransportSocket{Name: tlsSocket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: w.any(t)}}
}

func upstreamSocket(w *wire, t *tlsv3.UpstreamTlsContext) *corev3.TransportSocket {
	return &corev3.TransportSocket{Name: tlsSocket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: w.any(t)}}
}

// systemCASecret trusts the host's CA bundle. Envoy watches the file itself, as the context comes by SDS.
func systemCASecret(path string) *tlsv3.Secret {
	return &tlsv3.Secret{Name: systemCA, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
		TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}}}}
}

// upstreamTLS is the TLS context of an https Service: TLS 1.2 and the host's CAs when no tls-outbound is bound to it
// (envoy-mapping.md, 1.21), else the policy's. SNI alone verifies no name, so there is always a SAN matcher, unless the
// policy wants no verification at all.
func upstreamTLS(u *ir.Upstream, want *tlsv3.UpstreamTlsContext, unverified bool) *tlsv3.UpstreamTlsContext {
	t := &tlsv3.UpstreamTlsContext{}
	if want != nil {
		t = proto.Clone(want).(*tlsv3.UpstreamTlsContext)
	}
	if t.CommonTlsContext == nil {
		t.CommonTlsContext = &tlsv3.CommonTlsContext{}
	}
	c := t.CommonTlsContext
	if want == nil {
		c.TlsParams = &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_2}
		c.AlpnProtocols = []string{"http/1.1"}
	}
	if t.Sni == "" && !t.AutoHostSni && !isIP(u.Host) {
		t.Sni = u.Host
	}
	if unverified {
		return t
	}
	verify(u, t)
	return t
}

// verify completes what a certificate is checked against: a CA, and the host's name.
func verify(u *ir.Upstream, t *tlsv3.UpstreamTlsContext) {
	c := t.CommonTlsContext
	var v *tlsv3.CertificateValidationContext
	switch x := c.ValidationContextType.(type) {
	case *tlsv3.CommonTlsContext_ValidationContext:
		v = x.ValidationContext
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		if x.CombinedValidationContext.DefaultValidationContext == nil {
			x.CombinedValidationContext.DefaultValidationContext = &tlsv3.CertificateValidationContext{}
		}
		v = x.CombinedValidationContext.DefaultValidationContext
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
		v = combine(c, x.ValidationContextSdsSecretConfig)
	default:
		v = combine(c, &tlsv3.SdsSecretConfig{Name: systemCA, SdsConfig: policy.ADS()})
	}
	if len(v.MatchTypedSubjectAltNames) == 0 && !t.AutoSniSanValidation {
		v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{sanOf(u.Host)}
	}
}

func combine(c *tlsv3.CommonTlsContext, secret *tlsv3.SdsSecretConfig) *tlsv3.CertificateValidationContext {
	v := &tlsv3.CertificateValidationContext{}
	c.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext: v, ValidationContextSdsSecretConfig: secret}}
	return v
}

func sanOf(host string) *tlsv3.SubjectAltNameMatcher {
	kind := tlsv3.SubjectAltNameMatcher_DNS
	if isIP(host) {
		kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	}
	return &tlsv3.SubjectAltNameMatcher{SanType: kind, Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: host}}}
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
