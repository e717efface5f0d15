package deep_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/deep"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

var findEnvoy = sync.OnceValues(func() (envoy.Found, error) {
	return envoy.Find(context.Background(), envoy.FindOptions{Choice: "auto"})
})

func realEnvoy(t *testing.T) envoy.Found {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	found, err := findEnvoy()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// pair is a certificate that is its own authority, and a key.
func pair(t *testing.T) (crt, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}))
}

// wrong is a gateway in which much is wrong that only Envoy knows of. The place to blame is marked with « in front.
var wrong = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: good}
spec:
  address: https://127.0.0.1:8443/good
  services: {up: {address: "http://good.example.org:80"}}
  policies:
    - policyRef: {name: tls}
      config: {value: "GOOD_CRT", other: "GOOD_KEY"}
    - policyRef: {name: lua}
      config: {value: "function envoy_on_request(h) end"}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: bad}
spec:
  address: http://127.0.0.1:8081/bad
  services:
    up:
      address: http://good.example.org:80
      routes: [{rules: [{path: /a}, {path: "/b/(.*)"}]}]
  policies:
    - policyRef: {name: header}
      config: {value: fine, list: [fine, «"%NOSUCH(x)%"]}
    - policyRef: {name: lua}
      config: {value: «"function envoy_on_request(h) if then end"}
    - policyRef: {name: header}
      rules: [{methods: POST}]
      config: {value: «"%ALSO_NOT%"}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: secret}
spec:
  address: http://127.0.0.1:8081/secret
  services: {up: {address: "http://good.example.org:80"}}
  policies:
    - policyRef: {name: «auth}
      config: {value: "swordfish"}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: route}
spec:
  address: http://127.0.0.1:8082
  services: {up: {address: "http://good.example.org:80", routes: [{rules: [{path: "/a"}]}]}}
  policies:
    - policyRef: {name: rewrite}
      config: {value: «"/a(b"}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: mismatch}
spec:
  address: https://127.0.0.1:8444
  services: {up: {address: "http://good.example.org:80"}}
  policies:
    - policyRef: {name: «tls}
      config: {value: "GOOD_CRT", other: "OTHER_KEY"}
` + serviceOut("https://good.example.org:443") + boundOut("tls", "tls-outbound", `{list: [ECDHE-RSA-AES128-GCM-SHA256, «NO-SUCH-CIPHER]}`) + boundOut("lua", "lua-out", `{value: «"function envoy_on_request(h) nonsense end"}`)

// TestTheRealEnvoyAtTheUsersLine: all that is wrong is found in one call, at the value to blame, in Envoy's words.
func TestTheRealEnvoyAtTheUsersLine(t *testing.T) {
	t.Parallel()
	found := realEnvoy(t)
	crt, key := pair(t)
	_, other := pair(t)
	escape := func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
	text := strings.NewReplacer("GOOD_CRT", escape(crt), "GOOD_KEY", escape(key), "OTHER_KEY", escape(other)).Replace(wrong)
	var places []string
	for i, line := range strings.Split(text, "\n") {
		if before, _, ok := strings.Cut(line, "«"); ok {
			places = append(places, fmt.Sprintf("gateway.yaml:%d:%d", i+1, len(before)+1))
		}
	}
	x, set := trial(t, strings.ReplaceAll(text, "«", ""))
	cache := deep.OpenCache(t.TempDir())
	v, err := deep.Judge(t.Context(), x, deep.Options{Envoy: found, Cache: cache})
	if err != nil || v.Fell() {
		t.Fatalf("%+v, %v", v, err)
	}
	var want []string
	for i, words := range []string{
		`policy "header": Not supported field in StreamInfo: NOSUCH`,
		`policy "lua": script load error: [string "function envoy_on_request(h) if then end"]:1: unexpected symbol near 'then'`,
		`policy "header": Not supported field in StreamInfo: ALSO_NOT`,
		`policy "auth": basic auth: invalid htpasswd format, username:password is expected`,
		`policy "rewrite": missing ): /a(b`,
		`policy "tls": Failed to load private key from <inline>, Cause: error:0b000074:X.509 certificate routines:OPENSSL_internal:KEY_VALUES_MISMATCH`,
		`policy "tls-outbound": Failed to initialize cipher suites ECDHE-RSA-AES128-GCM-SHA256:NO-SUCH-CIPHER. The following ciphers were rejected when tried individually: NO-SUCH-CIPHER`,
		`policy "lua-out": script load error: [string "function envoy_on_request(h) nonsense end"]:1: '=' expected near 'end'`,
	} {
		want = append(want, places[i]+": error: Envoy refuses "+words+" [envoy/rejected]")
	}
	got := said(v, x, set)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	t.Logf("%d runs", v.Runs)
	again, err := deep.Judge(t.Context(), x, deep.Options{Envoy: found, Cache: cache, Ask: func(context.Context, envoy.Candidate) error {
		t.Error("Envoy was asked a second time")
		return nil
	}})
	if diff := cmp.Diff(got, said(again, x, set)); err != nil || diff != "" {
		t.Errorf("the second time: %v (-first +second):\n%s", err, diff)
	}
}

// TestTheRealEnvoyTakesEveryPart: taking apart makes nothing wrong that is right.
func TestTheRealEnvoyTakesEveryPart(t *testing.T) {
	t.Parallel()
	found := realEnvoy(t)
	crt, key := pair(t)
	text := many(3, nil) + strings.Split("---\n"+wrong, "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: bad}")[0] + serviceOut("https://good.example.org:443") + boundOut("lua", "lua-out", `{value: "function envoy_on_request(h) end"}`)
	escape := func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
	x, _ := trial(t, strings.NewReplacer("GOOD_CRT", escape(crt), "GOOD_KEY", escape(key)).Replace(text))
	parts, err := x.Parts()
	if err != nil || len(parts) < 20 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i := range parts {
		f, err := x.Some(parts[i : i+1])
		if err != nil {
			t.Fatal(err)
		}
		if err := envoy.Validate(t.Context(), found.Path, envoy.Candidate{Name: "envoy.pb", Data: f.Data, Clusters: f.Clusters, Listeners: f.Listeners}, 0); err != nil {
			t.Errorf("%+v: %v", parts[i], err)
		}
	}
}
