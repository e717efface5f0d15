// Package tlscheck reads what the two TLS policies have in common: PEM texts, protocol versions and cipher suites.
//
// It knows neither policy: what is wrong is told as Problems, which a policy turns into its own diagnostics. It has no
// clock: it says from when until when a certificate is valid, and others judge that.
package tlscheck

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Params are the fields that both policies have. Texts are PEM; an empty one is absent.
type Params struct {
	Crt     string
	Key     policy.Secret
	CA      string
	ALPN    []string
	Min     string // "1.1", "1.2" or "1.3"
	Max     string
	Ciphers []string
	Server  bool // the pair is shown to clients, by a port
}

// Kind is what is wrong.
type Kind uint8

// The kinds of Problems.
const (
	HalfPair Kind = iota
	BadCertificate
	BadKey
	EncryptedKey
	KeyMismatch
	WeakKey
	ChainOrder
	BadCA
	VersionOrder
	UnknownCipher
	PSKCipher
	NoCipher
	Only13
	OldVersion
	WeakCipher
	Nameless
)

// Problem is one mistake of the user, at a path of the configuration.
type Problem struct {
	Kind          Kind
	Severity      diag.Severity
	Path          []string
	Summary, Hint string
}

// Diagnostics gives the problems their codes and places.
func Diagnostics(problems []Problem, codes map[Kind]diag.Code, at policy.Locator) diag.List {
	var l diag.List
	for _, p := range problems {
		l = append(l, diag.Diagnostic{Severity: p.Severity, Code: codes[p.Kind], Subject: at(p.Path...), Summary: p.Summary, Hint: p.Hint})
	}
	return l
}

// Check says what is wrong with p, in the order of the fields.
func Check(p Params) []Problem {
	var out []Problem
	add := func(kind Kind, summary, hint string, path ...string) {
		out = append(out, Problem{Kind: kind, Severity: diag.Error, Path: path, Summary: summary, Hint: hint})
	}
	key := p.Key.Reveal()
	switch {
	case p.Crt == "" && key == "":
	case p.Crt == "":
		add(HalfPair, "certificate.key is given without certificate.crt", "give both parts of the pair", "certificate", "key")
	case key == "":
		add(HalfPair, "certificate.crt is given without certificate.key", "give both parts of the pair", "certificate", "crt")
	}
	out = append(out, checkPair(p.Crt, key)...)
	if p.Server && nameless(p.Crt) {
		add(Nameless, "certificate.crt names no host: it has neither a common name nor a subject alternative name that is a DNS name, an IP address or a URI",
			"make a certificate with the names by which clients call the gateway", "certificate", "crt")
	}
	if p.CA != "" {
		if _, problem := certificates(p.CA); problem != "" {
			add(BadCA, "trustedCA "+problem, pemHint, "trustedCA")
		}
	}
	if p.Min > p.Max {
		add(VersionOrder, fmt.Sprintf("minversion %s is above maxversion %s, so no client can connect", p.Min, p.Max), "swap them, or leave one out", "minversion")
	}
	ciphers := checkCiphers(p)
	if p.Min == "1.1" && !slices.ContainsFunc(ciphers, func(c Problem) bool { return c.Kind == NoCipher && c.Path[0] == "minversion" }) { // which says to raise it
		out = append(out, Problem{Kind: OldVersion, Severity: diag.Warning, Path: []string{"minversion"}, Summary: "minversion 1.1 lets TLS 1.1 in, which is broken and which RFC 8996 forbids",
			Hint: `set minversion: "1.2"`})
	}
	return append(out, ciphers...)
}

// Validity says from when until when the certificates of p are valid. Those that cannot be read are left out.
func Validity(p Params, at policy.Locator) []ir.Validity {
	var out []ir.Validity
	for _, t := range []struct {
		what, text string
		path       []string
	}{{"certificate.crt", p.Crt, []string{"certificate", "crt"}}, {"trustedCA", p.CA, []string{"trustedCA"}}} {
		if t.text == "" {
			continue
		}
		list, _ := certificates(t.text)
		for i, c := range list {
			what := t.what
			if len(list) > 1 {
				what = fmt.Sprintf("certificate %d of %s", i+1, t.what)
			}
			out = append(out, ir.Validity{What: what, At: at(t.path...), From: c.NotBefore, Until: c.NotAfter})
		}
	}
	return out
}

const pemHint = "paste the whole PEM text, its BEGIN and END lines included, evenly indented under the key"

func checkPair(crt, key string) []Problem {
	problem := func(kind Kind, path, summary, hint string) []Problem {
		return []Problem{{Kind: kind, Severity: diag.Error, Path: []string{"certificate", path}, Summary: summary, Hint: hint}}
	}
	var out []Problem
	var chain []*x509.Certificate
	if crt != "" {
		var what string
		if chain, what = certificates(crt); what != "" {
			out = append(out, problem(BadCertificate, "crt", "certificate.crt "+what, pemHint)...)
		}
	}
	var private crypto.Signer
	if key != "" {
		var kind Kind
		var what, hint string
		if private, kind, what, hint = privateKey(key); what != "" {
			out = append(out, problem(kind, "key", "certificate.key "+what, hint)...)
		}
	}
	if private == nil {
		return out
	}
	if what := unsupported(private); what != "" {
		return append(out, problem(WeakKey, "key", "certificate.key "+what, "make a new pair, RSA with at least 2048 bits or ECDSA on P-256, P-384 or P-521")...)
	}
	if len(chain) == 0 {
		return out
	}
	if at := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return same(c.PublicKey, private.Public()) }); at != 0 {
		hint := "take the key that this certificate was made for"
		if at > 0 {
			return append(out, problem(ChainOrder, "crt", fmt.Sprintf("certificate.crt does not start with the certificate of the key: it is number %d of %d", at+1, len(chain)),
				"put the certificate of the key first, then each one's issuer")...)
		}
		return append(out, problem(KeyMismatch, "key", "certificate.key does not belong to certificate.crt: their public keys differ", hint)...)
	}
	for i := 1; i < len(chain); i++ {
		if chain[i-1].CheckSignatureFrom(chain[i]) != nil {
			w := problem(ChainOrder, "crt", fmt.Sprintf("certificate %d of certificate.crt did not sign certificate %d, so clients may not trust the chain", i+1, i),
				"put the certificate of the key first, then each one's issuer")
			w[0].Severity = diag.Warning
			return append(out, w...)
		}
	}
	return out
}

// nameless reports what Envoy refuses in a certificate of a port ("Invalid TLS context has neither subject CN nor SAN names"); no
// client could tell whose it is either.
func nameless(crt string) bool {
	chain, problem := certificates(crt)
	if problem != "" || len(chain) == 0 {
		return false
	}
	c := chain[0]
	commonName := slices.ContainsFunc(c.Subject.Names, func(n pkix.AttributeTypeAndValue) bool { return n.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) })
	return !commonName && len(c.DNSNames)+len(c.IPAddresses)+len(c.URIs) == 0
}

func same(a, b crypto.PublicKey) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && x.Equal(b)
}

// unsupported says why Envoy would refuse the key (it takes RSA from 2048 bits on, and three curves).
func unsupported(key crypto.Signer) string {
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 {
			return fmt.Sprintf("is an RSA key of %d bits, expected at least 2048", n)
		}
		return ""
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return ""
		}
		return "is an ECDSA key on " + k.Params().Name + ", expected P-256, P-384 or P-521"
	}
	return "is neither an RSA nor an ECDSA key"
}

// certificates reads a PEM text of certificates; problem follows the name of the text.
func certificates(text string) (list []*x509.Certificate, problem string) {
	blocks, problem := pemBlocks(text)
	if problem != "" {
		return nil, problem
	}
	for i, b := range blocks {
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Sprintf("holds a PEM block %q, expected CERTIFICATE", b.Type)
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Sprintf("is broken: certificate %d cannot be read (%s)", i+1, strings.TrimPrefix(err.Error(), "x509: "))
		}
		list = append(list, c)
	}
	return list, ""
}

// pemBlocks reads all blocks of a text, at least one.
func pemBlocks(text string) (blocks []*pem.Block, problem string) {
	rest := []byte(text)
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	switch begun := strings.Count(text, "-----BEGIN "); {
	case begun == 0:
		return nil, "is not PEM: it has no BEGIN line"
	case begun > len(blocks):
		return nil, fmt.Sprintf("is broken: %d of its %d PEM blocks cannot be read", begun-len(blocks), begun)
	}
	return blocks, ""
}

// privateKey reads one private key. What it says never holds a part of the text.
func privateKey(text string) (key crypto.Signer, kind Kind, problem, hint string) {
	blocks, problem := pemBlocks(text)
	if problem != "" {
		return nil, BadKey, problem, pemHint
	}
	blocks = slices.DeleteFunc(blocks, func(b *pem.Block) bool { return b.Type == "EC PARAMETERS" })
	if len(blocks) != 1 {
		return nil, BadKey, fmt.Sprintf("holds %d PEM blocks, expected one private key", len(blocks)), "leave only the key in it; certificates belong into certificate.crt"
	}
	b := blocks[0]
	if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, EncryptedKey, "is encrypted with a passphrase, which cannot be given here", "decrypt it first: openssl pkey -in key.pem -out plain.pem"
	}
	var parsed any
	var err error
	switch b.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		return nil, BadKey, fmt.Sprintf("holds a PEM block %q, expected a private key", b.Type), "write the private key here; certificates belong into certificate.crt"
	}
	signer, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, BadKey, "is broken: the private key cannot be read", pemHint
	}
	return signer, 0, "", ""
}

// Context is the common part of a TLS context and the secrets that it names. p has no Problem of severity Error. Secrets
// travel by SDS (design.md, decision 15), so that a new pair drains nothing.
func Context(p Params, id string) (*tlsv3.CommonTlsContext, []*tlsv3.Secret) {
	c := &tlsv3.CommonTlsContext{AlpnProtocols: p.ALPN, TlsParams: parameters(p)}
	var secrets []*tlsv3.Secret
	if p.Crt != "" && !p.Key.IsZero() {
		name := id + ".certificate"
		secrets = append(secrets, &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(normalized(p.Crt)), PrivateKey: inline(normalized(p.Key.Reveal()))}}})
		c.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{{Name: name, SdsConfig: policy.ADS()}}
	}
	if p.CA != "" {
		name := id + ".ca"
		secrets = append(secrets, &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(normalized(p.CA))}}})
		c.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: name, SdsConfig: policy.ADS()}}
	}
	return c, secrets
}

// normalized writes the blocks again: no comments, carriage returns, indentation or EC parameters.
func normalized(text string) []byte {
	blocks, _ := pemBlocks(text)
	var out []byte
	for _, b := range blocks {
		if b.Type != "EC PARAMETERS" {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})...)
		}
	}
	return out
}

func inline(text []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: string(text)}}
}

func parameters(p Params) *tlsv3.TlsParameters {
	return &tlsv3.TlsParameters{TlsMinimumProtocolVersion: version(lowest(p)), TlsMaximumProtocolVersion: version(p.Max), CipherSuites: configurable(p.Ciphers)}
}

// lowest is the oldest version that is spoken: a list that names no suite of TLS 1.2 replaces Envoy's own by nothing.
func lowest(p Params) string {
	if len(p.Ciphers) > 0 && len(configurable(p.Ciphers)) == 0 {
		return "1.3"
	}
	return p.Min
}

func version(v string) tlsv3.TlsParameters_TlsProtocol {
	switch v {
	case "1.1":
		return tlsv3.TlsParameters_TLSv1_1
	case "1.3":
		return tlsv3.TlsParameters_TLSv1_3
	}
	return tlsv3.TlsParameters_TLSv1_2
}
