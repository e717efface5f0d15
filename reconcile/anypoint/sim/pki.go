package sim

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/disk"
)

// The authority of the simulator, drawn after public fields of real certificates (reference 1.9 [C]): a root of ten years, an
// intermediate of two, and leaves that end with the intermediate, whenever they were made. So a renewal may extend nothing.

const (
	day              = 24 * time.Hour
	rootLasts        = 3653 * day
	intermediateEnds = 2 * 365 * day
	rsaBits          = 2048
	region           = "us-east-1"
)

type pair struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

// authority is called with the simulator's lock held.
type authority struct {
	dir          string
	root         pair
	intermediate pair
	server       tls.Certificate
}

// openAuthority reads the authority of a folder, and makes what is not there. now is the simulator's time, host the machine's own:
// clients may have either.
func openAuthority(dir string, now, host time.Time) (*authority, error) {
	pki := filepath.Join(dir, "pki")
	if err := os.MkdirAll(pki, 0o700); err != nil {
		return nil, err
	}
	a := &authority{dir: pki}
	early, late := now, now
	if host.Before(early) {
		early = host
	}
	if host.After(late) {
		late = host
	}
	var err error
	if a.root, err = a.load("root.pem"); errors.Is(err, fs.ErrNotExist) {
		a.root, err = a.make("root.pem", &x509.Certificate{
			Subject:   pkix.Name{CommonName: "flexgw simulator root", Organization: []string{"flexgw simulator"}},
			NotBefore: early.Add(-30 * day), NotAfter: late.Add(rootLasts),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}, nil)
	}
	if err != nil {
		return nil, err
	}
	if a.intermediate, err = a.load("intermediate.pem"); errors.Is(err, fs.ErrNotExist) {
		err = a.rotate(now)
	}
	if err != nil {
		return nil, err
	}
	server, err := a.load("server.pem")
	if errors.Is(err, fs.ErrNotExist) {
		server, err = a.make("server.pem", &x509.Certificate{
			Subject:   pkix.Name{CommonName: "127.0.0.1"},
			NotBefore: a.root.cert.NotBefore, NotAfter: a.root.cert.NotAfter,
			DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}, &a.root)
	}
	if err != nil {
		return nil, err
	}
	a.server = tls.Certificate{Certificate: [][]byte{server.cert.Raw, a.root.cert.Raw}, PrivateKey: server.key, Leaf: server.cert}
	return a, disk.Write(filepath.Join(dir, "ca.pem"), a.rootPEM(), 0o644)
}

// rotate makes a new intermediate: the platform does when the old one ends.
func (a *authority) rotate(now time.Time) error {
	p, err := a.make("intermediate.pem", &x509.Certificate{
		Subject:   pkix.Name{CommonName: "flexgw simulator " + region + " intermediate", Organization: []string{"flexgw simulator"}},
		NotBefore: later(now.Add(-day), a.root.cert.NotBefore), NotAfter: now.Add(intermediateEnds),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, &a.root)
	if err == nil {
		a.intermediate = p
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// load reads a certificate and its key from one file.
func (a *authority) load(name string) (pair, error) {
	path := filepath.Join(a.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return pair{}, err
	}
	var p pair
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			p.cert, err = x509.ParseCertificate(block.Bytes)
		case "RSA PRIVATE KEY":
			p.key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
		if err != nil {
			return pair{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	if p.cert == nil || p.key == nil {
		return pair{}, fmt.Errorf("%s: it has no certificate with its key; remove the folder to begin anew", path)
	}
	return p, nil
}

// make signs a certificate with a new key, and writes both into one file. by nil: itself.
func (a *authority) make(name string, c *x509.Certificate, by *pair) (pair, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return pair{}, err
	}
	if by == nil {
		by = &pair{c, key}
	}
	cert, err := sign(c, &key.PublicKey, *by)
	if err != nil {
		return pair{}, err
	}
	b := append(certPEM(cert.Raw), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	return pair{cert, key}, disk.Write(filepath.Join(a.dir, name), b, 0o600)
}

func sign(c *x509.Certificate, key *rsa.PublicKey, by pair) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	c.SerialNumber = serial
	c.SignatureAlgorithm = x509.SHA256WithRSA
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, key, by.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (a *authority) rootPEM() []byte { return certPEM(a.root.cert.Raw) }

// issue signs a gateway's key. The leaf ends a minute before the intermediate does.
func (a *authority) issue(g *gateway, key *rsa.PublicKey, now time.Time) (chain []byte, ends time.Time, err error) {
	if a.intermediate.cert.NotAfter.Sub(now) < day {
		if err := a.rotate(now); err != nil {
			return nil, time.Time{}, err
		}
	}
	cn := g.ID + ".RR." + region + ".prod"
	leaf, err := sign(&x509.Certificate{
		Subject:   pkix.Name{CommonName: cn},
		NotBefore: later(now.Add(-5*time.Minute), a.intermediate.cert.NotBefore), NotAfter: a.intermediate.cert.NotAfter.Add(-time.Minute),
		DNSNames:              []string{"offline", cn, "masterOrg=" + g.Master, "org=" + g.Organization, "env=" + g.Environment},
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key, a.intermediate)
	if err != nil {
		return nil, time.Time{}, err
	}
	return bytes.Join([][]byte{certPEM(leaf.Raw), certPEM(a.intermediate.cert.Raw), a.rootPEM()}, nil), leaf.NotAfter, nil
}

// parseCSR reads the key that a gateway wants signed. Its subject does not matter.
func parseCSR(text string) (*rsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("csr: one PEM block CERTIFICATE REQUEST is expected")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("csr: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("csr: %w", err)
	}
	key, ok := csr.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < rsaBits {
		return nil, fmt.Errorf("csr: an RSA key of %d bits or more is expected", rsaBits)
	}
	return key, nil
}

// tlsConfig of a listener. now is the simulator's clock: it judges what clients show.
func (a *authority) tlsConfig(clients bool, now func() time.Time) *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{a.server}, MinVersion: tls.VersionTLS12, Time: now, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true}
	if clients {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AddCert(a.root.cert)
	}
	return c
}

// platform is what a registration says of the platform, with the addresses of this run.
func (s *Sim) platform(g *gateway) anypoint.Platform {
	base, ingest := s.URL(), s.IngestURL()
	return anypoint.Platform{
		AgentID: g.ID, Region: region, AssetName: g.Name, MeteringSchemaID: meteringSchemaID,
		Anypoint: base, Arm: "wss" + base[len("https"):] + "/agent", Events: base + "/apiruntime/v1/events",
		Logging: ingest + "/ingestion/api/v1/logging", Metering: ingest + anypoint.PathMetering, Monitoring: ingest + "/ingestion/api/v1/monitoring",
	}
}

// meteringSchemaID is one for all, as far as is known [C]; this one is ours.
const meteringSchemaID = "5f1e0000-0000-4000-8000-000000000001"
