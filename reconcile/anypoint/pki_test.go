package anypoint_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// What the registrations of these tests are about. No value is anybody's.
const (
	agent       = "aaaaaaaa-0000-4000-8000-00000000a001"
	schemaID    = "bbbbbbbb-0000-4000-8000-00000000b001"
	org         = "cccccccc-0000-4000-8000-00000000c001"
	environment = "dddddddd-0000-4000-8000-00000000d001"
	master      = "eeeeeeee-0000-4000-8000-00000000e001"
)

// authority issues certificates as the platform does [C]: root, intermediate, leaf.
type authority struct {
	root, middle *x509.Certificate
	key          *rsa.PrivateKey
	pem          []byte // intermediate and root
	notAfter     time.Time
}

var newAuthority = sync.OnceValues(func() (*authority, error) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := &authority{notAfter: begin.AddDate(2, 0, 0).Add(-time.Minute)}
	rootKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	if a.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	ca := func(name string, years int) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(int64(years)), Subject: pkix.Name{CommonName: name}, NotBefore: begin, NotAfter: begin.AddDate(years, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	sign := func(t, parent *x509.Certificate, key *rsa.PublicKey, by *rsa.PrivateKey) *x509.Certificate {
		der, e := x509.CreateCertificate(rand.Reader, t, parent, key, by)
		if e != nil {
			err = e
			return t
		}
		a.pem = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), a.pem...)
		c, e := x509.ParseCertificate(der)
		err = errors.Join(err, e)
		return c
	}
	root := ca("root", 10)
	a.root = sign(root, root, &rootKey.PublicKey, rootKey)
	a.middle = sign(ca("middle", 2), a.root, &a.key.PublicKey, rootKey)
	return a, err
})

func authorityOf(t testing.TB) *authority {
	t.Helper()
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// chain is a certificate for a request, with those above it.
func (a *authority) chain(csr string, names ...string) (string, error) {
	block, _ := pem.Decode([]byte(csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return "", errors.New("no request")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "", err
	}
	if err := r.CheckSignature(); err != nil {
		return "", err
	}
	cn := agent + ".RR.us-east-1.prod"
	if names == nil {
		names = []string{"offline", cn, "masterOrg=" + master, "org=" + org, "env=" + environment}
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: cn}, DNSNames: names,
		NotBefore: a.middle.NotBefore, NotAfter: a.notAfter, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.middle, r.PublicKey, a.key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(a.pem), nil
}

func platform() anypoint.Platform {
	return anypoint.Platform{AgentID: agent, Region: "us-east-1", AssetName: "orders-edge", MeteringSchemaID: schemaID,
		Anypoint: "https://anypoint.example.com", Arm: "wss://arm.example.com/agent", Events: "https://anypoint.example.com/apiruntime/v1/events",
		Logging: "https://logging.example.com/ingestion/api/v1/logging", Metering: "https://metering.example.com/ingestion/api/v1/metering", Monitoring: "https://monitoring.example.com/ingestion/api/v1/monitoring"}
}

// now is within the life of the certificates.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// registration is a new one, as the platform would have answered.
func registration(t testing.TB) *anypoint.File {
	t.Helper()
	key, csr, err := anypoint.NewKey("orders-edge")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authorityOf(t).chain(csr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := anypoint.NewFile(anypoint.Registered{Platform: platform(), OrganizationID: org, EnvironmentID: environment, CertificateChain: chain}, key)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
