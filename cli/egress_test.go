package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// TestEgressOfARegistration: the two hosts of a registration, and the proxy before one of them, are listed with where they stand.
func TestEgressOfARegistration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	registration(t, dir)
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const api = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: shop\nspec:\n  address: http://0.0.0.0:8081/shop\n  services:\n    main:\n      address: http://shop.internal:8080\n"
	const proxy = api + "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata:\n  name: proxy\nspec:\n  forwardProxy:\n    https:\n      address: http://squid.dmz:3128\n"
	put("gw.yaml", api)
	ask := func(args ...string) ran {
		return runOn(t, filepath.Join(dir, "gw.yaml"), append([]string{"egress", "show"}, args...)...)
	}
	show := func(want string, args ...string) {
		t.Helper()
		got := ask(args...)
		if got.code != 0 {
			t.Fatalf("exit code %d\n%s", got.code, got.stderr)
		}
		var rows []string
		for line := range strings.Lines(strings.ReplaceAll(got.stdout, dir+"/", "")) {
			rows = append(rows, strings.Join(strings.Fields(line), " "))
		}
		if diff := cmp.Diff(want, strings.Join(rows[1:], "\n")); diff != "" {
			t.Errorf("%v (-want +got):\n%s", args, diff)
		}
	}
	const two = "registration anypoint.example:443 registration.yaml: anypoint, while register, renew or unregister works; never of the daemon\n" +
		"usage metering.example:8443 registration.yaml: metering"
	show(two)
	show(two, "--strict-egress")
	show(two, "--registration", filepath.Join(dir, "registration.yaml"))

	put("gw.yaml", proxy+"      basicAuth:\n        username: gw\n        password: T0KEN\n")
	show("proxy squid.dmz:3128 .:18:16\n" + two)
	put("gw.yaml", proxy+"    noProxy:\n      - .example\n")
	show(two)

	put("registration.yaml", "")
	if got := ask(); got.code != 1 || !strings.Contains(got.stderr, "[registration/empty]") {
		t.Errorf("an empty registration: exit code %d\n%s", got.code, got.stderr)
	}
	if err := os.Remove(filepath.Join(dir, "registration.yaml")); err != nil {
		t.Fatal(err)
	}
	show("")
	if got := ask("--registration", filepath.Join(dir, "other.yaml")); got.code != 3 || !strings.Contains(got.stderr, "no such file") {
		t.Errorf("a registration that is named and is not there: exit code %d\n%s", got.code, got.stderr)
	}
}

// registration writes one into a folder. Its hosts are anypoint.example:443 and metering.example:8443.
func registration(t *testing.T, dir string) {
	t.Helper()
	key, csr, err := anypoint.NewKey("shop")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(csr))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "aaaaaaaa-0000-4000-8000-00000000a001.RR.us-east-1.prod"}, DNSNames: []string{"offline", "org=o", "env=e"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "test"}}, request.PublicKey, authority)
	if err != nil {
		t.Fatal(err)
	}
	f, err := anypoint.NewFile(anypoint.Registered{CertificateChain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Platform: anypoint.Platform{AgentID: "aaaaaaaa-0000-4000-8000-00000000a001", Region: "us-east-1", AssetName: "shop", MeteringSchemaID: "bbbbbbbb-0000-4000-8000-00000000b001",
			Anypoint: "https://anypoint.example", Metering: "https://metering.example:8443/ingestion/api/v1/metering"}}, key, now)
	if err == nil {
		err = f.Write(dir, anypoint.WriteOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
