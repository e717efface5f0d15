package render

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/schema/ir"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	const secret = "TOP-SECRET"
	for name, m := range map[string]proto.Message{
		"private key": &tlsv3.Secret{Name: "keep", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inlineText("keep"), PrivateKey: inlineText(secret), Password: inlineText(secret)}}},
		"private key in bytes": &tlsv3.TlsCertificate{CertificateChain: inlineText("keep"),
			PrivateKey: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(secret)}}},
		"file names are no secrets": &tlsv3.TlsCertificate{PrivateKey: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: "keep"}}},
		"generic secret":            secretOf("keep", secret),
		"symmetric key": &jwtv3.JwtProvider{Issuer: "keep", JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{
			LocalJwks: inlineText(`{"keys":[{"kty":"oct","k":"` + secret + `","kid":"keep"}]}`)}},
		"private members": &jwtv3.JwtProvider{JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{
			LocalJwks: inlineText(`{"keys":[{"kty":"RSA","n":"keep","d":"` + secret + `","oth":[{"d":"` + secret + `"}]}]}`)}},
		"public key set": &jwtv3.JwtProvider{JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{LocalJwks: inlineText(`{"keys": [{"kty":"RSA", "n":"keep"}]}`)}},
	} {
		before := proto.Clone(m)
		j, err := JSON(Redact(m))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(j), secret) || strings.Contains(string(j), "VE9QLVNFQ1JFVA") || !strings.Contains(string(j), "keep") {
			t.Errorf("%s: %s", name, j)
		}
		if !proto.Equal(before, m) {
			t.Errorf("%s: changed", name)
		}
	}
}

// TestRedactStatic looks through every Any of a whole static form.
func TestRedactStatic(t *testing.T) {
	t.Parallel()
	g := oneAPI(bind("auth", "a", pair{"alice", "TOP-SECRET"}), bind("auth", "b", pair{"bob", "TOP-SECRET"}, method("POST")))
	g.Upstreams = []*ir.Upstream{g.Upstreams[0], service(g.Settings, "keyed", "http", "10.0.0.2", 80, bind("credential", "key", pair{"", "TOP-SECRET"}))}
	g.Listeners[0].TLS = bind("tls", "port", pair{"CERT", "TOP-SECRET"})
	res, l := Render(g, fakes(), Options{}, nil)
	if res == nil {
		t.Fatal(l)
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n"}, false)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := JSON(m)
	hidden, _ := JSON(Redact(m))
	if n := strings.Count(string(plain), "TOP-SECRET"); n != 4 {
		t.Errorf("%d secrets in the plain form, want 4", n)
	}
	if strings.Contains(string(hidden), "TOP-SECRET") || strings.Count(string(hidden), redactedText) != 4 {
		t.Errorf("%s", hidden)
	}
}
