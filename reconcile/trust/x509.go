package trust

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/flexgw/flexgw/schema/diag"
)

const (
	x509Begin = "-----BEGIN SIGNED MESSAGE-----"
	x509End   = "-----END SIGNED MESSAGE-----"

	maxCertificates = 16    // in one signature; chains have two or three
	maxDepth        = 32    // of elements in elements; a certificate's name is some 12 deep
	maxRSA          = 16384 // bits; a stranger chooses the key, and we do the sums
)

// authorities are the certificates that may certify signers.
type authorities struct {
	pool *x509.CertPool
	n    int
}

// parseAuthorities reads every certificate of a file of PEM. What is something else makes all of it an error.
func parseAuthorities(name string, b []byte) (*authorities, error) {
	list := &authorities{pool: x509.NewCertPool()}
	text := string(b)
	for at := 1; text != ""; {
		l, rest, _ := strings.Cut(text, "\n")
		if !strings.HasPrefix(l, "-----BEGIN ") {
			text, at = rest, at+1 // openssl x509 -text writes before a block what it has
			continue
		}
		wrong := func(format string, args ...any) error {
			return &FileError{File: name, Line: at, Column: 1, Message: fmt.Sprintf(format, args...)}
		}
		const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
		if strings.TrimRight(l, " \t\r") != begin {
			return nil, wrong("%.80q is no certificate, expected %s", strings.TrimRight(l, "\r"), begin)
		}
		to := strings.Index(text, end)
		if to < 0 || strings.Count(text[:to], "-----BEGIN ") > 1 {
			return nil, wrong("a certificate is not closed by %s", end)
		}
		block := text[:to+len(end)]
		p, _ := pem.Decode([]byte(block + "\n"))
		if p == nil || len(p.Headers) > 0 {
			return nil, wrong("a certificate cannot be read: it is no PEM")
		}
		c, err := x509.ParseCertificate(p.Bytes)
		if err != nil {
			return nil, wrong("a certificate cannot be read: %s", err)
		}
		list.pool.AddCert(c)
		list.n++
		at += strings.Count(block, "\n")
		text = text[len(block):]
	}
	if list.n == 0 {
		return nil, &FileError{File: name, Message: "no certificates, expected those of authorities as PEM"}
	}
	return list, nil
}

// parseX509 reads exactly one armoured, detached signature of one signer, whose certificate is with it.
func parseX509(b []byte) (*pkcs7.PKCS7, *x509.Certificate, error) {
	der, err := unarmour(b, x509Begin, x509End)
	if err != nil {
		return nil, nil, err
	}
	switch rest, err := framed(der, 0); {
	case err != nil:
		return nil, nil, err
	case len(rest) > 0:
		return nil, nil, errors.New("something stands behind it")
	}
	p, err := pkcs7.Parse(der)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case p.Content != nil:
		return nil, nil, errors.New("it brings a content of its own")
	case len(p.Signers) != 1:
		return nil, nil, fmt.Errorf("it has %d signers, expected 1", len(p.Signers))
	case len(p.Certificates) > maxCertificates:
		return nil, nil, fmt.Errorf("it has %d certificates, expected %d or fewer", len(p.Certificates), maxCertificates)
	// Without them it would be over the content itself, and what is one of attributes could be said to be one of a content.
	case len(p.Signers[0].AuthenticatedAttributes) == 0:
		return nil, nil, errors.New("it has no signed attributes")
	}
	for _, c := range p.Certificates {
		if r, ok := c.PublicKey.(*rsa.PublicKey); ok && r.N.BitLen() > maxRSA {
			return nil, nil, fmt.Errorf("it has an RSA key of %d bits, expected %d or fewer", r.N.BitLen(), maxRSA)
		}
	}
	var kind asn1.ObjectIdentifier
	if err := p.UnmarshalSignedAttribute(pkcs7.OIDAttributeContentType, &kind); err != nil || !kind.Equal(pkcs7.OIDData) {
		return nil, nil, errors.New("it is not one of data")
	}
	c := p.GetOnlySigner()
	if c == nil {
		return nil, nil, errors.New("the certificate of its signer is not with it")
	}
	return p, c, nil
}

// framed goes over one element of BER, which gpgsm writes, and gives what stands behind it. It looks at tags and lengths alone,
// and only refuses: what an element has must end within it. The library does not look at that, so that it reads some bytes
// twice, and those within them four times (400 bytes were enough to end a process), and leaves alone what stands behind.
func framed(b []byte, depth int) (rest []byte, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	// No tag of CMS has more than one byte; one of zero is the end of something that does not say its length.
	if len(b) < 2 || b[0] == 0 || b[0]&0x1f == 0x1f {
		return nil, errors.New("it is no CMS")
	}
	within, size, constructed := b[2:], int(b[1]), b[0]&0x20 != 0
	if size == 0x80 {
		if !constructed {
			return nil, errors.New("it is no CMS: a value without a length")
		}
		for {
			if within, err = framed(within, depth+1); err != nil {
				return nil, err
			}
			if rest, ends := bytes.CutPrefix(within, []byte{0, 0}); ends {
				return rest, nil
			}
		}
	}
	if n := size - 0x80; n > 0 {
		if n > 3 || n > len(within) {
			return nil, errors.New("it is no CMS: a length of too many bytes")
		}
		size = 0
		for _, c := range within[:n] {
			size = size<<8 | int(c)
		}
		within = within[n:]
	}
	if size > len(within) {
		return nil, errors.New("it is no CMS: a value is longer than what it is in")
	}
	rest, within = within[size:], within[:size]
	for constructed && len(within) > 0 {
		if within, err = framed(within, depth+1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// isOne says whether an identifier is in a list.
func isOne(id asn1.ObjectIdentifier, of ...asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(of, id.Equal)
}

func (v *verifier) x509(s signed) verdict {
	sig, c, err := parseX509(s.signature)
	if err != nil {
		return refuse(MalformedSignature, "its X.509 signature cannot be read: %s", err)
	}
	name := fmt.Sprintf("%X", sha256.Sum256(c.Raw))
	d := v.x509Key(sig, c, name, s)
	// That of the commit: no program but the signer's own says when a signature was made.
	d.key, d.at = name, s.by.At
	return d
}

func (v *verifier) x509Key(sig *pkcs7.PKCS7, c *x509.Certificate, name string, s signed) verdict {
	digest, algorithm := sig.Signers[0].DigestAlgorithm.Algorithm, sig.Signers[0].DigestEncryptionAlgorithm.Algorithm
	if !isOne(digest, pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDDigestAlgorithmSHA384, pkcs7.OIDDigestAlgorithmSHA512) {
		if digest.Equal(pkcs7.OIDDigestAlgorithmSHA1) {
			return refuse(WeakSignature, "it is signed with SHA-1")
		}
		return refuse(WeakSignature, "it is signed with the hash %s, expected SHA-256, SHA-384 or SHA-512", digest)
	}
	if isOne(algorithm, pkcs7.OIDEncryptionAlgorithmRSASHA1, pkcs7.OIDDigestAlgorithmECDSASHA1, pkcs7.OIDDigestAlgorithmDSA, pkcs7.OIDDigestAlgorithmDSASHA1) {
		return refuse(WeakSignature, "it is signed with %s, of SHA-1 or DSA", algorithm)
	}
	if why := weakCertificate(c); why != "" {
		return refuse(WeakSignature, "%s", why)
	}
	if !isOne(algorithm,
		pkcs7.OIDEncryptionAlgorithmRSA, pkcs7.OIDEncryptionAlgorithmRSASHA256, pkcs7.OIDEncryptionAlgorithmRSASHA384, pkcs7.OIDEncryptionAlgorithmRSASHA512,
		pkcs7.OIDDigestAlgorithmECDSASHA256, pkcs7.OIDDigestAlgorithmECDSASHA384, pkcs7.OIDDigestAlgorithmECDSASHA512) {
		return refuse(Unsupported, "its X.509 signature is made with %s, expected RSA (PKCS #1 v1.5) or ECDSA", algorithm)
	}
	sig.Content = s.over
	var when *pkcs7.SigningTimeNotValidError
	if err := sig.Verify(); errors.As(err, &when) {
		return outside(c, name, when.SigningTime)
	} else if err != nil {
		return refuse(BadSignature, "its signature is not over what it has, or forged (%s)", oneLine(err))
	}
	chains, err := v.chains(sig, c, s.by.At)
	var invalid x509.CertificateInvalidError
	switch errors.As(err, &invalid); {
	case err == nil:
	case invalid.Reason == x509.Expired && invalid.Cert != nil:
		return outside(invalid.Cert, name, s.by.At)
	case invalid.Cert != nil && invalid.Reason == x509.IncompatibleUsage:
		return refuse(KeyUsage, "the certificate %s that signed it is not made for e-mail protection", name)
	default:
		return refuse(KeyNotAllowed, "no authority that is allowed certified %s, which signed it (%s)", name, oneLine(err))
	}
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return refuse(KeyUsage, "the certificate %s that signed it is not made for signing", name)
	}
	chains, why := strongChains(chains)
	if why != "" {
		return refuse(WeakSignature, "an authority of it: %s", why)
	}
	if ids := mailOf(c, chains); !slices.ContainsFunc(ids, func(id string) bool { return s.by.Email != "" && strings.EqualFold(id, s.by.Email) }) {
		whose := diag.Visible(strings.Join(ids, ", "))
		if whose == "" {
			whose = "no e-mail address"
		}
		return refuse(CommitterNotAllowed, "the certificate %s that signed it is one of %s and not of %q", name, whose, diag.Visible(s.by.Email))
	}
	return verdict{ends: true}
}

// chains are the ways from a signer's certificate to an authority that is allowed, at one time.
func (v *verifier) chains(sig *pkcs7.PKCS7, c *x509.Certificate, at time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, i := range sig.Certificates {
		between.AddCert(i)
	}
	return c.Verify(x509.VerifyOptions{Roots: v.authorities.pool, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}})
}

// outside refuses a certificate at a time at which it, or that of its authority, is not valid.
func outside(c *x509.Certificate, name string, at time.Time) verdict {
	whose := "the certificate " + name + " that signed it"
	if fmt.Sprintf("%X", sha256.Sum256(c.Raw)) != name {
		whose = "an authority of " + whose
	}
	if at.Before(c.NotBefore) {
		return refuse(KeyNotYetValid, "%s is valid from %s, and its time is %s", whose, stamp(c.NotBefore), stamp(at))
	}
	return refuse(KeyExpired, "%s was valid until %s, and its time is %s", whose, stamp(c.NotAfter), stamp(at))
}

// weakCertificate says what is too weak of the key of a certificate; "": nothing. Go's chains have no SHA-1 in them.
func weakCertificate(c *x509.Certificate) string {
	if r, ok := c.PublicKey.(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
		return fmt.Sprintf("its RSA key has %d bits, expected %d or more", r.N.BitLen(), minRSA)
	}
	if c.PublicKeyAlgorithm == x509.DSA {
		return "its key is one of DSA"
	}
	return ""
}

// strongChains are those without a weak key in them, or why there are none.
func strongChains(chains [][]*x509.Certificate) (good [][]*x509.Certificate, why string) {
	for _, chain := range chains {
		weak := ""
		for _, c := range chain {
			if w := weakCertificate(c); w != "" {
				weak = w
			}
		}
		if weak == "" {
			good = append(good, chain)
		} else {
			why = weak
		}
	}
	if len(good) > 0 {
		why = ""
	}
	return good, why
}

// mailOf are the e-mail addresses of a certificate: its alternative names, else those of its subject, unless an authority is
// limited to some addresses, since Go holds only alternative names to that.
func mailOf(c *x509.Certificate, chains [][]*x509.Certificate) []string {
	if len(c.EmailAddresses) > 0 {
		return c.EmailAddresses
	}
	unlimited := func(chain []*x509.Certificate) bool {
		return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
			return len(c.PermittedEmailAddresses)+len(c.ExcludedEmailAddresses) > 0
		})
	}
	if !slices.ContainsFunc(chains, unlimited) {
		return nil
	}
	var list []string
	for _, n := range c.Subject.Names {
		if mail, ok := n.Value.(string); ok && n.Type.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}) { // emailAddress of PKCS #9
			list = append(list, mail)
		}
	}
	return list
}

// oneLine is what a library says, fit for a message: a certificate's names are a stranger's words.
func oneLine(err error) string {
	return diag.Visible(string(bytes.Join(bytes.Fields([]byte(err.Error())), []byte(" "))))
}
