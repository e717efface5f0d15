package anypoint

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/flexgw/flexgw/schema/ir"
)

// keyBits is the size of the product's keys [C].
const keyBits = 2048

// NewKey makes a key and the request for a certificate of it, both in PEM. The key is made here and is sent nowhere.
func NewKey(name string) (key Secret, csr string, err error) {
	k, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return Secret{}, "", fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, k)
	if err != nil {
		return Secret{}, "", fmt.Errorf("ask for a certificate: %w", err)
	}
	block := func(typ string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: b}) }
	return ir.NewSecret(string(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)))), string(block("CERTIFICATE REQUEST", der)), nil
}

// AnswerError says that the platform's answer to a registration, or its renewal, cannot be used.
type AnswerError struct{ Why string }

func (e *AnswerError) Error() string { return "the platform's answer cannot be used: " + e.Why }

// NewFile is the registration that the platform answered with; key is that of the request. An answer that does not fit is an
// *AnswerError. A certificate of another time fits: whether it is valid is a question to a clock, and this host's may be wrong.
func NewFile(r Registered, key Secret) (*File, error) {
	f := &File{Platform: r.Platform, Version: 1}
	return f, f.certify(r, key)
}

// Renewed is the registration with what a renewal answered: a new certificate, and URLs where there are any. A certificate that has
// expired at now does not take the place of one that has not.
func (f *File) Renewed(r Registered, key Secret, now time.Time) (*File, error) {
	if r.AgentID != f.AgentID {
		return nil, &AnswerError{fmt.Sprintf("it is about gateway %q, and %s was asked about", r.AgentID, f.AgentID)}
	}
	n := *f
	n.Doubts = nil // they are of the text that was read
	from := r.urls()
	for i, x := range n.urls() {
		if *from[i].to != "" {
			*x.to = *from[i].to
		}
	}
	if err := n.certify(r, key); err != nil {
		return nil, err
	}
	if f.NotAfter.After(now) && !n.NotAfter.After(now) {
		return nil, &AnswerError{fmt.Sprintf("its certificate has expired at %s, and the old one has not", n.NotAfter.Format(time.RFC3339))}
	}
	if f.OrganizationID != n.OrganizationID || f.EnvironmentID != n.EnvironmentID {
		return nil, &AnswerError{fmt.Sprintf("its certificate is for organization %q and environment %q, and not for %q and %q", n.OrganizationID, n.EnvironmentID, f.OrganizationID, f.EnvironmentID)}
	}
	return &n, nil
}

// certify takes over the certificate of an answer, if all of it fits together.
func (f *File) certify(r Registered, key Secret) error {
	no := func(format string, args ...any) error { return &AnswerError{fmt.Sprintf(format, args...)} }
	if !idPattern.MatchString(f.AgentID) {
		return no("agentId %q is no UUID", f.AgentID)
	}
	for _, x := range f.urls() {
		if called := x.key == "anypoint" || x.key == "metering"; !called {
			continue
		}
		if x.key == "metering" && *x.to == "" && f.Path != "" {
			continue // a file that had none, which was said when it was read
		}
		if err := checkURL(*x.to); err != nil {
			return no("%s: %s", x.key, err)
		}
	}
	f.Certificate, f.Key = bytes.TrimSpace([]byte(r.CertificateChain)), key
	f.Certificate = append(f.Certificate, '\n')
	if err := f.facts(); err != nil {
		return no("certificateChain: %s", err)
	}
	if err := f.pair(); err != nil {
		return no("certificateChain is not for the key of the request")
	}
	chain, err := Chain(f.Certificate)
	if err != nil {
		return no("certificateChain: %s", err)
	}
	for i, c := range chain[:len(chain)-1] {
		if err := c.CheckSignatureFrom(chain[i+1]); err != nil {
			return no("certificate %d of the chain was not issued by the one behind it", i+1)
		}
	}
	if !f.Local {
		return no("its certificate is not for Local Mode: it has no SAN \"offline\"")
	}
	return nil
}

// NewUUID is a random UUID (RFC 9562, version 4).
func NewUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
