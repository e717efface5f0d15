package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

type decl = map[string]any

// odd collects APIs with values that nobody expects.
type odd struct {
	docs []any
	port int // the last that a TLS policy has for itself
}

func (o *odd) declare(kind, name string, spec decl) {
	o.docs = append(o.docs, decl{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": kind, "metadata": decl{"name": name}, "spec": spec})
}

// api adds an API; edit changes its spec and that of its service.
func (o *odd) api(edit func(spec, service decl)) string {
	name := fmt.Sprintf("a%d", len(o.docs))
	service := decl{"address": "http://10.0.0.1:80"}
	spec := decl{"address": "http://0.0.0.0:8081/" + name, "services": decl{"up": service}}
	edit(spec, service)
	o.declare("ApiInstance", name, spec)
	return name
}

func (o *odd) policy(name string, config decl, rules ...any) {
	o.api(func(spec, _ decl) {
		p := decl{"policyRef": decl{"name": name}, "config": config}
		if len(rules) > 0 {
			p["rules"] = rules
		}
		spec["policies"] = []any{p}
	})
}

func (o *odd) rule(rule decl, destination string) {
	o.api(func(_, service decl) {
		service["routes"] = []any{decl{"rules": []any{rule}, "config": decl{"destinationPath": destination}}}
	})
}

// tls adds one port and one service that show or want a certificate.
func (o *odd) tls(config decl) {
	o.port++
	name := o.api(func(spec, _ decl) { spec["address"] = fmt.Sprintf("https://0.0.0.0:%d", o.port) })
	o.declare("PolicyBinding", name+"-tls", decl{"targetRef": decl{"name": name}, "policyRef": decl{"name": "tls"}, "config": config})
	o.declare("Service", name+"-s", decl{"address": "https://secure.example.org:443"})
	o.declare("PolicyBinding", name+"-out", decl{"targetRef": decl{"kind": "Service", "name": name + "-s"}, "policyRef": decl{"name": "tls-outbound"}, "config": config})
}

// TestDeepFindsNothing: what Envoy would refuse, our own stages refuse first, at a better place and with a hint. So of all these
// odd declarations some are errors and none is one of Envoy's.
func TestDeepFindsNothing(t *testing.T) {
	t.Parallel()
	o := &odd{port: 10_000}
	for _, p := range []string{`/\p{Greek}+`, `/[[:word:]]`, `/\Qa.b\E`, "/(?i)é", "/[^é]", `/\x{10FFFF}`, `/(?P<n>x)`, `/(?<n>x)`, `/a\z`, `/\bfoo\b`, "/(?U)a+", `/\p{Kawi}`, "/a{1000}",
		"/(?:x{31}){31}", "/" + strings.Repeat("(?:a|b)", 300), `/[\x00-\x{10FFFF}]*`, "/(.*)/(.*)/(.*)", "/((a)(b)(c)(d))", "/()", "/.{0,1000}", "/[^/]{1,500}/[^/]{1,500}", "/(?i)straße",
		"/a b", "/a\nb", "/\x7f", `/\PL+`, `/\C`, "/(|a)", "/" + strings.Repeat("x", 5000), "/" + strings.Repeat("(?:", 200) + "a" + strings.Repeat(")", 200), "/(?i:[à-þ])", "/a**", "(", "/%"} {
		o.rule(decl{"path": p}, "/v2")
		o.policy("header-injection-flex", decl{"inboundHeaders": []any{decl{"key": "x", "value": "y"}}}, decl{"path": p})
	}
	for _, m := range []string{"GET|PO.*", "(?i)get", ".*", `G\p{L}T`, "é"} {
		o.rule(decl{"methods": m}, "/")
		o.rule(decl{"host": m + ".example"}, "/")
		o.rule(decl{"headers": decl{"x-a": m}}, "/")
	}
	for _, d := range []string{"/x?y", "/%", "/é", "/a b", `/\1`, "/a\r\nb", `\`, `/a\9b`, "//", "x", "/\x01", "/" + strings.Repeat("d", 20_000)} {
		o.rule(decl{"path": "/a/(.*)/b/(.*)"}, d)
	}
	for _, h := range []string{"x-A", "host", ":path", "content-length", "connection", "!#$%&'*+-.^_`|~09", strings.Repeat("X", 70_000), "x-é", "x y", "_"} {
		o.rule(decl{"headers": decl{h: "a"}}, "/")
		o.policy("header-injection-flex", decl{"inboundHeaders": []any{decl{"key": h, "value": "v"}}, "outboundHeaders": []any{decl{"key": h, "value": "v"}}})
		o.policy("header-removal-flex", decl{"inboundHeaders": []any{h}, "outboundHeaders": []any{h}})
		o.policy("cors-flex", decl{"publicResource": false, "originGroups": []any{decl{"origins": []any{"http://a.example"}, "headers": []any{h}, "exposedHeaders": []any{h},
			"allowedMethods": []any{decl{"methodName": "GET", "isAllowed": true}}}}})
		o.policy("jwt-validation-flex", decl{"signingMethod": "hmac", "textKey": strings.Repeat("k", 64), "skipClientIdValidation": true,
			"claimsToHeaders": []any{decl{"key": "sub", "value": h}}, "mandatoryCustomClaims": []any{decl{"key": h, "value": h}}, "validateCustomClaim": true})
	}
	for _, v := range []string{"", "%", "%REQ(x)%", "%NOSUCH(x)%", "a\nb", "\x00", "\x7f", "é", strings.Repeat("x", 100_000), "#[attributes.headers['a b']]", "#[attributes.queryParams['a%b)']]",
		"#[attributes.method ++ '%']", "#['a)b']", "#[attributes.headers['" + strings.Repeat("a", 300) + "']]"} {
		o.policy("header-injection-flex", decl{"inboundHeaders": []any{decl{"key": "x", "value": v}}, "outboundHeaders": []any{decl{"key": "x", "value": v}}})
		o.policy("http-basic-authentication-flex", decl{"username": v, "password": "b" + v})
		o.policy("rate-limiting-flex", decl{"keySelector": v, "rateLimits": []any{decl{"maximumRequests": 9007199254740991, "timePeriodInMilliseconds": 9223372036854}}})
		o.policy("cors-flex", decl{"publicResource": false, "originGroups": []any{decl{"origins": []any{"http://" + v, v}, "allowedMethods": []any{decl{"methodName": "GET", "isAllowed": true}}}}})
	}
	for _, ip := range []string{"1.2.3.4/0", "::/0", "::ffff:1.2.3.4", "10.0.0.1/8", "fe80::1%eth0", "255.255.255.255/1", "01.2.3.4", "1.2.3.4/032", "::1.2.3.4/100"} {
		o.policy("ip-allowlist-flex", decl{"ips": []any{ip}})
		o.policy("ip-blocklist-flex", decl{"ips": []any{ip}, "ipExpression": "#[attributes.remoteAddress]"})
	}
	for _, s := range []string{"http://bücher.example:80", "http://a_b.example:80", "http://a.example.:80", "http://[::1]:80", "http://[fe80::1%25eth0]:80", "http://[::ffff:1.2.3.4]:80", "http://0.0.0.0:80",
		"http://1.2.3:80", "http://0x7f.1:80", "https://[::1]:443", "https://1.2.3.4:443", "http://-a:80", "http://a..b:80", "http://*:80", "h2://x:1", "http://[ff02::1]:80", "https://bücher.example:443",
		"http://256.1.1.1:80", "https://" + strings.Repeat(strings.Repeat("a", 63)+".", 4) + ":443", "http://" + strings.Repeat("a", 64) + ".x:80"} {
		o.api(func(_, service decl) { service["address"] = s })
	}
	for _, base := range []string{"/a%20b", "/é", "/a;b", "/a*", "/(x", "/{x}", "/" + strings.Repeat("l", 2000), strings.Repeat("/s", 60), "/.x", "/a//b", "/%zz", "/a:b@c", `/a\b`, "/a|b", "/%2F", "/a b", "/$x"} {
		o.api(func(spec, _ decl) { spec["address"] = fmt.Sprintf("http://[::]:8083/b%d", len(o.docs)) + base })
	}
	o.certificates(t)

	dir := t.TempDir()
	for i, d := range o.docs {
		text, err := json.MarshalIndent(d, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, code := harness.Command(t, "validate", "--deep", "--deep-cache", t.TempDir(), "--output", "json", dir)
	var report struct {
		Summary     struct{ Documents, Errors int }
		Diagnostics []struct{ Code, Severity, Summary string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("exit %d: %v\n%s", code, err, errs)
	}
	for _, d := range report.Diagnostics {
		if strings.HasPrefix(d.Code, "envoy/") || d.Code == "render/internal" || d.Code == "shape/internal" {
			t.Errorf("%s: %s", d.Code, d.Summary)
		}
	}
	if code != 1 || report.Summary.Documents < 350 || report.Summary.Errors < 50 || report.Summary.Errors > 300 {
		t.Errorf("exit %d, %+v: are these the declarations that were meant?\n%s", code, report.Summary, errs)
	}
}

// certificates adds pairs and authorities of all kinds.
func (o *odd) certificates(t *testing.T) {
	t.Helper()
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	make1 := func(key crypto.Signer, edit func(*x509.Certificate)) (crt, private string) {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		edit(template)
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
	}
	generate := func(key crypto.Signer, err error) crypto.Signer {
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	curve := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		return generate(k, err)
	}
	plain := func(*x509.Certificate) {}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	strong := generate(small, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	for _, key := range []crypto.Signer{curve(elliptic.P224()), curve(elliptic.P256()), curve(elliptic.P384()), curve(elliptic.P521()), strong, generate(edwards, err)} {
		crt, private := make1(key, plain)
		o.tls(decl{"certificate": decl{"crt": crt, "key": private}})
	}
	crt, private := make1(strong, plain)
	pair := decl{"crt": crt, "key": private}
	for _, edit := range []func(*x509.Certificate){
		func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"x"}} },
		func(c *x509.Certificate) { c.Subject, c.EmailAddresses = pkix.Name{}, []string{"a@example.org"} },
		func(c *x509.Certificate) { c.Subject, c.URIs = pkix.Name{}, []*url.URL{{Scheme: "http", Host: "x"}} },
		func(c *x509.Certificate) { c.NotAfter = c.NotBefore },
		func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign },
		func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
	} {
		odd, key := make1(strong, edit)
		o.tls(decl{"certificate": decl{"crt": odd, "key": key}})
		o.tls(decl{"certificate": pair, "trustedCA": odd})
		o.tls(decl{"certificate": pair, "trustedCA": odd, "requireClientCertificate": true})
	}
	other, _ := make1(curve(elliptic.P256()), plain)
	for _, p := range []decl{
		{"crt": other, "key": private}, {"crt": crt + other, "key": private}, {"crt": other + crt, "key": private}, {"crt": crt + crt, "key": private}, {"crt": crt + private, "key": private},
		{"crt": strings.ReplaceAll(crt, "\n", "\r\n"), "key": strings.ReplaceAll(private, "\n", "\r\n")}, {"crt": "text\n" + crt + "text\n", "key": "text\n" + private},
		{"crt": strings.ReplaceAll(crt, "CERTIFICATE", "TRUSTED CERTIFICATE"), "key": private}, {"crt": strings.Replace(crt, "MII", "M!I", 1), "key": private},
		{"crt": strings.TrimSpace(crt), "key": strings.TrimSpace(private)}, {"crt": "  " + strings.ReplaceAll(crt, "\n", "\n  "), "key": private}, {"crt": crt + "-----BEGIN CERTIFICATE-----\n", "key": private},
	} {
		o.tls(decl{"certificate": p})
		o.tls(decl{"certificate": pair, "trustedCA": p["crt"]})
	}
	for _, c := range []string{"ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", "AES128-SHA", "DES-CBC3-SHA", "[A|B]", "ALL", "!aNULL", "@STRENGTH", "HIGH", "ECDHE+AESGCM", "AES128-SHA256",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256 ", "PSK-AES128-CBC-SHA", "a:b"} {
		o.tls(decl{"certificate": pair, "ciphers": []any{c}})
	}
	for _, v := range [][2]string{{"1.1", "1.1"}, {"1.3", "1.3"}, {"1.3", "1.2"}, {"1.1", "1.3"}} {
		o.tls(decl{"certificate": pair, "minversion": v[0], "maxversion": v[1], "alpn": []any{}})
		o.tls(decl{"certificate": pair, "minversion": v[0], "maxversion": v[1], "alpn": []any{"http/1.1", "h2", "h2"}})
	}
	o.tls(decl{"certificate": pair, "requireClientCertificate": true})
	o.tls(decl{"skipValidation": true, "trustedCA": crt})
	o.tls(decl{})
}
