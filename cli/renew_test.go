package cli

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/egress"
)

// TestRenewExpired: a registration that has expired is renewed with new URLs, and usage goes to the new metering host and to no other.
func TestRenewExpired(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	var asked []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		switch {
		case r.URL.Path == anypoint.PathHello:
			w.Header().Set(anypoint.WireHeader, anypoint.WireSim)
		case r.URL.Path == anypoint.PathToken:
			_ = json.NewEncoder(w).Encode(anypoint.AccessToken{AccessToken: "access"})
		case strings.HasSuffix(r.URL.Path, "/renewals"):
			var x anypoint.RenewRequest
			if err := json.NewDecoder(r.Body).Decode(&x); err != nil || !x.UpdateURLs || r.Header.Get("Authorization") != "Bearer access" {
				t.Errorf("asked for %+v, %v", x, err)
			}
			_ = json.NewEncoder(w).Encode(anypoint.Registered{Platform: anypoint.Platform{AgentID: agentID, Metering: "https://new.example.com/m"}, CertificateChain: s.chain(t, x.CSR, now.Add(700*day))})
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	old := s.file(t, now.Add(-day))
	old.Anypoint = srv.URL
	old.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := old.Write(dir, anypoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	e := egress.New(egress.Options{})
	d := &daemon{egress: e, log: slog.New(slog.DiscardHandler)}
	follow := func() string {
		t.Helper()
		f, err := anypoint.ReadFile(dir)
		if err == nil {
			err = d.reportFor(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		list := e.List()
		if len(list) != 1 {
			t.Fatalf("called are %v", list)
		}
		return list[0].Host
	}
	if got := follow(); got != "m.example.com:443" {
		t.Errorf("usage goes to %s", got)
	}
	var out, said bytes.Buffer
	path := filepath.Join(dir, "registration.yaml")
	code := Alone([]string{"flexgw", "renew", "--client-id", "app", "--client-secret-file", "-", "--update-urls", path}, Env{Stdin: strings.NewReader("hush"), Stdout: &out, Stderr: &said,
		Getenv: func(string) (string, bool) { return "", false }, Now: func() time.Time { return now }})
	if code != 0 || !strings.Contains(out.String(), "in 700 days") || strings.Contains(out.String(), "not extended") || !strings.Contains(out.String(), "usage goes to https://new.example.com/m from now on, and went to https://m.example.com/m") {
		t.Fatalf("%d %s%s", code, &out, &said)
	}
	if got := follow(); got != "new.example.com:443" {
		t.Errorf("usage goes to %s", got)
	}
	if bak, err := os.ReadFile(path + ".bak"); err != nil || !strings.Contains(string(bak), "https://m.example.com/m") {
		t.Error("the old one is not kept", err)
	}
	if len(asked) != 3 {
		t.Errorf("asked %v", asked)
	}
}

// chain is a certificate for a request, and the one above it.
func (s *signer) chain(t *testing.T, csr string, ends time.Time) string {
	t.Helper()
	block, _ := pem.Decode([]byte(csr))
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: agentID + ".RR.x.prod"}, DNSNames: []string{"offline", "org=o", "env=e"},
		NotBefore: time.Unix(0, 0), NotAfter: ends}, s.c, r.PublicKey, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(s.pem)
}
