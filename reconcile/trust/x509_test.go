package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // gpgsm names what it trusts by it
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/trust"
)

// authority is a certificate and its key, of an authority or of a person.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// newAuthority certifies a name, by itself without one who does it, for what change asks for; nil: to certify others.
func newAuthority(tb testing.TB, name string, by *authority, change func(c *x509.Certificate, key *crypto.Signer)) authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	a := authority{key: key}
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: day.AddDate(0, -4, 0), NotAfter: day.AddDate(2, 0, 0), BasicConstraintsValid: true}
	if change == nil {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		change(c, &a.key)
	}
	parent, signer := c, a.key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, a.key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	return a
}

// person is what is certified of people: that they may sign e-mails under an address.
func person(mails ...string) func(*x509.Certificate, *crypto.Signer) {
	return func(c *x509.Certificate, _ *crypto.Signer) {
		c.EmailAddresses, c.KeyUsage, c.ExtKeyUsage = mails, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	}
}

// alice is a person with something else changed.
func alice(changes ...func(*x509.Certificate, *crypto.Signer)) func(*x509.Certificate, *crypto.Signer) {
	return func(c *x509.Certificate, key *crypto.Signer) {
		person("alice@example.com")(c, key)
		for _, change := range changes {
			change(c, key)
		}
	}
}

func rsaKey(bits int) func(*x509.Certificate, *crypto.Signer) {
	return func(_ *x509.Certificate, key *crypto.Signer) {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		*key = k
	}
}

// signedMessage puts the armour of gpgsm on.
func signedMessage(der []byte) string {
	var b strings.Builder
	b.WriteString("-----BEGIN SIGNED MESSAGE-----\n")
	text := base64.StdEncoding.EncodeToString(der)
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	b.WriteString(text + "\n-----END SIGNED MESSAGE-----\n")
	return b.String()
}

// save writes a certificate and its key, and gives their paths.
func (d *desk) save(name string, a authority) (cert, key string) {
	d.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.file(name+".pem", a.pem()), d.file(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// cms signs as openssl does; args are its own.
func (d *desk) cms(text string, signers []authority, between []authority, args ...string) []byte {
	d.t.Helper()
	cmd := []string{"cms", "-sign", "-binary", "-outform", "DER", "-in", d.file("text", text), "-out", filepath.Join(d.keys, "sig.der")}
	for i, s := range signers {
		cert, key := d.save("signer"+strconv.Itoa(i), s)
		cmd = append(cmd, "-signer", cert, "-inkey", key)
	}
	if len(between) > 0 {
		var list strings.Builder
		for _, b := range between {
			list.WriteString(b.pem())
		}
		cmd = append(cmd, "-certfile", d.file("between.pem", list.String()))
	}
	d.run(nil, nil, "openssl", append(cmd, args...)...)
	return []byte(d.read(filepath.Join(d.keys, "sig.der")))
}

func newX509Desk(t *testing.T) *desk {
	t.Helper()
	for _, tool := range []string{"openssl", "gpgsm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if testing.Short() {
				t.Skip(err)
			}
			t.Fatal(err)
		}
	}
	return newDesk(t)
}

// doubling are elements that are longer than what they are in: whoever does not look reads the rest twice at each.
func doubling(n int) []byte {
	return slices.Concat([]byte{0x30, 0x80}, bytes.Repeat([]byte{0x30, 0x02, 0x30, 0x80}, n), bytes.Repeat([]byte{4, 0, 0, 0}, 3*n))
}

// scene is who signs what in a test, and what is done to it then.
type scene struct {
	signers []authority
	between []authority // with the signature
	roots   []authority
	args    []string // of openssl
	sha     string
	mail    string
	at      time.Time
	der     func(der []byte) []byte
	text    func(text string) string
}

func TestX509(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alice   func(*x509.Certificate, *crypto.Signer) // her certificate; nil: as a good one is
		change  func(t *testing.T, ca authority, s *scene)
		rule    trust.Rule
		openssl string // why openssl cms -verify says something else
	}{
		"good":                     {},
		"RSA":                      {alice: alice(rsaKey(2048))},
		"SHA-512":                  {change: func(_ *testing.T, _ authority, s *scene) { s.sha = "sha512" }},
		"address in capitals":      {alice: person("Alice@Example.COM")},
		"one of several addresses": {alice: person("a@example.org", "alice@example.com")},
		"any usage":                {alice: alice(func(c *x509.Certificate, _ *crypto.Signer) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), openssl: "it does not take any for e-mail"},
		"no usage":                 {alice: alice(func(c *x509.Certificate, _ *crypto.Signer) { c.ExtKeyUsage, c.KeyUsage = nil, 0 })},
		"an authority between": {change: func(t *testing.T, ca authority, s *scene) {
			mid := newAuthority(t, "Between", &ca, nil)
			s.signers, s.between = []authority{newAuthority(t, "Alice", &mid, alice())}, []authority{mid}
		}},
		"an authority between that is missing": {rule: trust.KeyNotAllowed, change: func(t *testing.T, ca authority, s *scene) {
			mid := newAuthority(t, "Between", &ca, nil)
			s.signers = []authority{newAuthority(t, "Alice", &mid, alice())}
		}},
		"a person as authority": {rule: trust.KeyNotAllowed, change: func(t *testing.T, _ authority, s *scene) {
			bob := s.signers[0]
			s.signers, s.between = []authority{newAuthority(t, "Alice", &bob, alice())}, []authority{bob}
		}},
		"address of the subject": {alice: func(c *x509.Certificate, key *crypto.Signer) {
			alice()(c, key)
			c.EmailAddresses, c.Subject.ExtraNames = nil, []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "alice@example.com"}}
		}},
		"address of the subject beside another": {rule: trust.CommitterNotAllowed, openssl: "it does not look at the committer", alice: func(c *x509.Certificate, key *crypto.Signer) {
			person("eve@example.com")(c, key)
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "alice@example.com"}}
		}},
		"address of the subject, of an authority for others": {rule: trust.CommitterNotAllowed, change: func(t *testing.T, ca authority, s *scene) {
			mid := newAuthority(t, "Between", &ca, func(c *x509.Certificate, _ *crypto.Signer) {
				c.IsCA, c.KeyUsage, c.PermittedEmailAddresses = true, x509.KeyUsageCertSign, []string{"example.org"}
			})
			s.between = []authority{mid}
			s.signers = []authority{newAuthority(t, "Alice", &mid, alice(func(c *x509.Certificate, _ *crypto.Signer) {
				c.EmailAddresses, c.Subject.ExtraNames = nil, []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "alice@example.com"}}
			}))}
		}},
		"an authority for others": {rule: trust.KeyNotAllowed, change: func(t *testing.T, ca authority, s *scene) {
			mid := newAuthority(t, "Between", &ca, func(c *x509.Certificate, _ *crypto.Signer) {
				c.IsCA, c.KeyUsage, c.PermittedEmailAddresses = true, x509.KeyUsageCertSign, []string{"example.org"}
			})
			s.between, s.signers = []authority{mid}, []authority{newAuthority(t, "Alice", &mid, alice())}
		}},
		"name that looks like an address": {rule: trust.CommitterNotAllowed, openssl: "it does not look at the committer", alice: func(c *x509.Certificate, key *crypto.Signer) {
			person()(c, key)
			c.Subject.CommonName, c.DNSNames = "alice@example.com", []string{"example.com"}
		}},
		"another address":   {rule: trust.CommitterNotAllowed, openssl: "it does not look at the committer", change: func(_ *testing.T, _ authority, s *scene) { s.mail = "bob@example.com" }},
		"no address":        {rule: trust.CommitterNotAllowed, openssl: "it does not look at the committer", change: func(_ *testing.T, _ authority, s *scene) { s.mail = "" }},
		"another authority": {rule: trust.KeyNotAllowed, change: func(t *testing.T, _ authority, s *scene) { s.roots = []authority{newAuthority(t, "Root", nil, nil)} }},
		"another authority that is brought along": {rule: trust.KeyNotAllowed, change: func(t *testing.T, ca authority, s *scene) {
			evil := newAuthority(t, "Root", nil, nil)
			s.signers, s.between = []authority{newAuthority(t, "Alice", &evil, alice())}, []authority{evil, ca}
		}},
		"certified by oneself": {rule: trust.KeyNotAllowed, change: func(t *testing.T, _ authority, s *scene) {
			s.signers = []authority{newAuthority(t, "Alice", nil, alice())}
		}},
		"certified by oneself, and allowed": {change: func(t *testing.T, _ authority, s *scene) {
			s.signers = []authority{newAuthority(t, "Alice", nil, alice())}
			s.roots = s.signers
		}},
		"expired":       {rule: trust.KeyExpired, alice: alice(func(c *x509.Certificate, _ *crypto.Signer) { c.NotAfter = day.AddDate(0, 0, -1) })},
		"not yet valid": {rule: trust.KeyNotYetValid, alice: alice(func(c *x509.Certificate, _ *crypto.Signer) { c.NotBefore = day.AddDate(0, 0, 1) })},
		"authority that expired": {rule: trust.KeyExpired, change: func(t *testing.T, _ authority, s *scene) {
			ca := newAuthority(t, "Root", nil, func(c *x509.Certificate, _ *crypto.Signer) {
				c.IsCA, c.KeyUsage, c.NotAfter = true, x509.KeyUsageCertSign, day.AddDate(0, 0, -1)
			})
			s.roots, s.signers = []authority{ca}, []authority{newAuthority(t, "Alice", &ca, alice())}
		}},
		"for servers": {rule: trust.KeyUsage, alice: alice(func(c *x509.Certificate, _ *crypto.Signer) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})},
		"for encryption":    {rule: trust.KeyUsage, alice: alice(func(c *x509.Certificate, _ *crypto.Signer) { c.KeyUsage = x509.KeyUsageKeyEncipherment })},
		"RSA that is short": {rule: trust.WeakSignature, openssl: "it takes short keys", alice: alice(rsaKey(1024))},
		"authority of RSA that is short": {rule: trust.WeakSignature, openssl: "it takes short keys", change: func(t *testing.T, _ authority, s *scene) {
			ca := newAuthority(t, "Root", nil, func(c *x509.Certificate, key *crypto.Signer) {
				rsaKey(1024)(c, key)
				c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
			})
			s.roots, s.signers = []authority{ca}, []authority{newAuthority(t, "Alice", &ca, alice())}
		}},
		"SHA-1":          {rule: trust.WeakSignature, openssl: "it takes SHA-1", change: func(_ *testing.T, _ authority, s *scene) { s.sha = "sha1" }},
		"SHA-1 with RSA": {rule: trust.WeakSignature, openssl: "it takes SHA-1", alice: alice(rsaKey(2048)), change: func(_ *testing.T, _ authority, s *scene) { s.sha = "sha1" }},
		"SHA-224":        {rule: trust.WeakSignature, openssl: "it takes SHA-224", change: func(_ *testing.T, _ authority, s *scene) { s.sha = "sha224" }},
		"RSA-PSS": {rule: trust.Unsupported, openssl: "it knows that", alice: alice(rsaKey(2048)), change: func(_ *testing.T, _ authority, s *scene) {
			s.args = []string{"-keyopt", "rsa_padding_mode:pss"}
		}},
		"another's signature": {rule: trust.BadSignature, change: func(_ *testing.T, _ authority, s *scene) {
			s.text = func(text string) string { return strings.Replace(text, "change by", "Change by", 1) }
		}},
		"a bit of the value": {rule: trust.BadSignature, change: func(_ *testing.T, _ authority, s *scene) {
			s.der = func(der []byte) []byte { der[len(der)-1] ^= 1; return der }
		}},
		"two signers": {rule: trust.MalformedSignature, openssl: "it wants one or more", change: func(t *testing.T, ca authority, s *scene) {
			s.signers = append(s.signers, newAuthority(t, "Bob", &ca, person("bob@example.com")))
		}},
		"attached":       {rule: trust.MalformedSignature, openssl: "it takes it", change: func(_ *testing.T, _ authority, s *scene) { s.args = []string{"-nodetach"} }},
		"no attributes":  {rule: trust.MalformedSignature, openssl: "it takes it", change: func(_ *testing.T, _ authority, s *scene) { s.args = []string{"-noattr"} }},
		"no certificate": {rule: trust.MalformedSignature, change: func(_ *testing.T, _ authority, s *scene) { s.args = []string{"-nocerts"} }},
		"key id":         {rule: trust.MalformedSignature, openssl: "it takes it", alice: alice(func(c *x509.Certificate, _ *crypto.Signer) { c.SubjectKeyId = []byte("alice") }), change: func(_ *testing.T, _ authority, s *scene) { s.args = []string{"-keyid"} }},
		"another content": {rule: trust.MalformedSignature, openssl: "it takes it", change: func(_ *testing.T, _ authority, s *scene) {
			s.args = []string{"-econtent_type", "1.2.840.113549.1.9.16.1.4"}
		}},
		"garbage behind": {rule: trust.MalformedSignature, openssl: "it takes it", change: func(_ *testing.T, _ authority, s *scene) { s.der = func(der []byte) []byte { return append(der, 0) } }},
		"another behind": {rule: trust.MalformedSignature, openssl: "it takes it", change: func(_ *testing.T, _ authority, s *scene) {
			s.der = func(der []byte) []byte { return append(der, der...) }
		}},
		"cut":   {rule: trust.MalformedSignature, change: func(_ *testing.T, _ authority, s *scene) { s.der = func(der []byte) []byte { return der[:len(der)-1] } }},
		"empty": {rule: trust.MalformedSignature, change: func(_ *testing.T, _ authority, s *scene) { s.der = func([]byte) []byte { return nil } }},
		"too many certificates": {rule: trust.MalformedSignature, openssl: "it takes it", change: func(t *testing.T, ca authority, s *scene) {
			for range 16 {
				s.between = append(s.between, newAuthority(t, "Between", &ca, nil))
			}
		}},
		"too large": {rule: trust.MalformedSignature, openssl: "it takes it", change: func(t *testing.T, ca authority, s *scene) {
			s.between = []authority{newAuthority(t, "Between", &ca, func(c *x509.Certificate, _ *crypto.Signer) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 64<<10)}}
			})}
		}},
		"what the library reads ever more often": {rule: trust.MalformedSignature, change: func(_ *testing.T, _ authority, s *scene) {
			s.der = func([]byte) []byte { return doubling(100) }
		}},
		"nested deeply": {rule: trust.MalformedSignature, change: func(_ *testing.T, _ authority, s *scene) {
			s.der = func([]byte) []byte {
				return append(bytes.Repeat([]byte{0x30, 0x80}, 10000), append([]byte{4, 0}, make([]byte, 20000)...)...)
			}
		}},
		"in the future": {rule: trust.WrongTime, openssl: "it is asked as of the time of the commit", change: func(_ *testing.T, _ authority, s *scene) { s.at = day.AddDate(0, 0, 5) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newX509Desk(t)
			ca := newAuthority(t, "Root", nil, nil)
			if c.alice == nil {
				c.alice = alice()
			}
			s := scene{signers: []authority{newAuthority(t, "Alice", &ca, c.alice)}, roots: []authority{ca}, sha: "sha256", mail: "alice@example.com", at: day}
			if c.change != nil {
				c.change(t, ca, &s)
			}
			w := who{name: "Alice", mail: s.mail, author: "Alice <alice@example.com>", at: s.at}
			text, _ := d.parts(d.commit(who{name: "Alice", mail: "alice@example.com", at: s.at}))
			if s.mail != "alice@example.com" {
				text = strings.Replace(text, "committer Alice <alice@example.com>", "committer Alice <"+w.mail+">", 1)
			}
			der := d.cms(text, s.signers, s.between, append([]string{"-md", s.sha}, s.args...)...)
			if s.der != nil {
				der = s.der(der)
			}
			if s.text != nil {
				text = s.text(text)
			}
			id := d.raw(withHeader(text, folded(signedMessage(der))))
			var roots strings.Builder
			for _, r := range s.roots {
				roots.WriteString("# " + r.cert.Subject.String() + "\n" + r.pem())
			}
			file := d.file("roots.pem", roots.String())
			now := day.AddDate(0, 0, 3)
			err := d.verify(trust.Options{X509: file, Now: func() time.Time { return now }}, "")
			if c.rule != "" {
				r := refused(t, err, c.rule, id, "Alice")
				if r.Rule != trust.MalformedSignature && r.Key == "" {
					t.Errorf("the refusal names no certificate: %s", r)
				}
			} else if err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(filepath.Join(d.keys, "sig.der"), der, 0o600); err != nil {
				t.Fatal(err)
			}
			says, opensslErr := d.try(nil, nil, "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", filepath.Join(d.keys, "sig.der"), "-content", d.file("text", text), "-CAfile", file, "-no-CApath", "-no-CAstore",
				"-purpose", "smimesign", "-attime", strconv.FormatInt(s.at.Unix(), 10), "-out", os.DevNull)
			if good := opensslErr == nil; good != (c.rule == "") && c.openssl == "" {
				t.Errorf("we say %v, openssl says %v\n%s", err, opensslErr, says)
			} else if good == (c.rule == "") && c.openssl != "" {
				t.Errorf("openssl says the same, though %s", c.openssl)
			}
		})
	}
}

// importX509 gives gpgsm a certificate and its key.
func (d *desk) importX509(ca, person authority) {
	d.t.Helper()
	cert, key := d.save("person", person)
	p12 := filepath.Join(d.keys, "person.p12")
	d.file("gpgsm.conf", "disable-crl-checks\ndisable-dirmngr\n")
	d.file("trustlist.txt", fmt.Sprintf("%X S relax\n", sha1.Sum(ca.cert.Raw))) //nolint:gosec // see above
	program := d.gpgsmAt(day)
	// gpgsm 2.2 cannot read one in some ten files, which depends on the salt that openssl chose.
	var err error
	for range 10 {
		d.run(nil, nil, "openssl", "pkcs12", "-export", "-in", cert, "-inkey", key, "-certfile", d.file("ca.pem", ca.pem()), "-passout", "pass:x", "-out", p12, "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1")
		if _, err = d.try(nil, nil, program, "--import", p12); err == nil {
			return
		}
	}
	d.t.Fatal(err)
}

// gpgsmAt is a gpgsm that asks nothing, at a time.
func (d *desk) gpgsmAt(at time.Time) string {
	d.t.Helper()
	program := d.file("gpgsm-at", "#!/bin/sh\nexec gpgsm --batch --pinentry-mode loopback --passphrase-fd 3 --faked-system-time "+at.UTC().Format("20060102T150405")+" \"$@\" 3<"+d.file("word", "x\n")+"\n")
	if err := os.Chmod(program, 0o700); err != nil {
		d.t.Fatal(err)
	}
	return program
}

// gpgsm are the arguments that make git sign with an imported certificate, at a time.
func (d *desk) gpgsm(person authority, at time.Time) []string {
	d.t.Helper()
	return []string{"-c", "gpg.format=x509", "-c", "gpg.x509.program=" + d.gpgsmAt(at), "-c", "user.signingkey=" + person.cert.EmailAddresses[0]}
}

// What git and gpgsm sign is taken, commits and tags; nothing of it is for anything else.
func TestX509OfGpgsm(t *testing.T) {
	t.Parallel()
	d := newX509Desk(t)
	ca := newAuthority(t, "Root", nil, func(c *x509.Certificate, key *crypto.Signer) {
		rsaKey(2048)(c, key)
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	})
	person := newAuthority(t, "Alice", &ca, alice(rsaKey(2048)))
	d.importX509(ca, person)
	git := d.gpgsm(person, day)
	w := who{name: "Alice", mail: "alice@example.com"}
	sign := func(args ...string) string {
		t.Helper()
		d.run(nil, w.env(), "git", append(git[:len(git):len(git)], args...)...)
		return d.git("rev-parse", "HEAD")
	}
	o := trust.Options{X509: d.file("roots.pem", ca.pem()), Now: func() time.Time { return day.Add(time.Hour) }}
	first := sign("commit", "-q", "-S", "--allow-empty", "-m", "first")
	d.run(nil, nil, "git", append(git[:len(git):len(git)], "verify-commit", first)...)
	if err := d.verify(o, ""); err != nil {
		t.Fatal(err)
	}
	second := sign("commit", "-q", "-S", "--allow-empty", "-m", "second")
	if err := d.verify(o, first); err != nil {
		t.Fatal(err)
	}
	_, sig := d.parts(first)
	text, own := d.parts(second)

	t.Run("transplanted", func(t *testing.T) {
		id := d.raw(withHeader(text, sig))
		refused(t, d.verify(o, first), trust.BadSignature, id, "Alice")
	})
	t.Run("tampered", func(t *testing.T) {
		id := d.raw(withHeader(strings.Replace(text, "second", "secone", 1), own))
		refused(t, d.verify(o, first), trust.BadSignature, id, "Alice")
	})
	t.Run("garbage behind", func(t *testing.T) {
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(own)[4:strings.Count(own, "\n")+2], ""))
		if err != nil {
			t.Fatal(err)
		}
		id := d.raw(withHeader(text, folded(signedMessage(append(der, 0)))))
		refused(t, d.verify(o, first), trust.MalformedSignature, id, "Alice")
		d.raw(withHeader(text, folded(signedMessage(der))))
		if err := d.verify(o, first); err != nil {
			t.Error("the same without it:", err)
		}
	})
	t.Run("text behind", func(t *testing.T) {
		id := d.raw(withHeader(text, strings.TrimSuffix(own, "\n")+"\n AAAA\n"))
		refused(t, d.verify(o, first), trust.MalformedSignature, id, "Alice")
	})
	t.Run("older than its parent", func(t *testing.T) {
		old := w
		old.at = day.AddDate(0, 0, -1)
		d.git("reset", "-q", "--hard", first)
		early := append(d.gpgsm(person, old.at), "commit", "-q", "-S", "--allow-empty", "-m", "third")
		d.run(nil, old.env(), "git", early...)
		refused(t, d.verify(o, first), trust.WrongTime, d.git("rev-parse", "HEAD"), "Alice")
	})
	t.Run("signed when it had ended", func(t *testing.T) {
		d.git("reset", "-q", "--hard", first)
		text, _ := d.parts(d.commit(w))
		// openssl signs, for gpgsm would not, and says its own time.
		d.file("text", text)
		ended := newAuthority(t, "Alice", &ca, alice(func(c *x509.Certificate, _ *crypto.Signer) { c.NotAfter = day.AddDate(0, 0, 1) }))
		id := d.raw(withHeader(text, folded(signedMessage(d.cms(text, []authority{ended}, nil, "-md", "sha256")))))
		refused(t, d.verify(o, first), trust.KeyExpired, id, "Alice")
	})
	t.Run("tag", func(t *testing.T) {
		git := d.gpgsm(person, day)
		d.git("reset", "-q", "--hard", first)
		d.run(nil, w.env(), "git", append(git, "tag", "-s", "-m", "one", "v1")...)
		d.run(nil, w.env(), "git", "tag", "-a", "-m", "two", "v2")
		s := d.follow(o, "tag:v1")
		if revision, err := look(t, s); err != nil || revision == "" {
			t.Errorf("%q, %v", revision, err)
		}
		_, err := look(t, d.follow(o, "tag:v2"))
		refused(t, err, trust.UnsignedTag, first, "")
	})
}

// The file is read again, and a broken one is named with the line; the system's authorities do not count.
func TestX509File(t *testing.T) {
	t.Parallel()
	d := newX509Desk(t)
	ca, other := newAuthority(t, "Root", nil, nil), newAuthority(t, "Other", nil, nil)
	text, _ := d.parts(d.commit(who{name: "Alice", mail: "alice@example.com"}))
	id := d.raw(withHeader(text, folded(signedMessage(d.cms(text, []authority{newAuthority(t, "Alice", &ca, alice())}, nil, "-md", "sha256")))))
	file := d.file("roots.pem", other.pem()+ca.pem())
	p, err := trust.Load(trust.Options{X509: file, Now: func() time.Time { return day }})
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Required(); s != "every commit signed by its committer with a key certified by 2 X.509 roots of "+file {
		t.Error(s)
	}
	h, err := d.history("", id)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(t.Context(), h); err != nil {
		t.Error(err)
	}
	d.file("roots.pem", other.pem())
	refused(t, p.Verify(t.Context(), h), trust.KeyNotAllowed, id, "Alice")
	_, key := d.save("ca", ca)
	for text, want := range map[string]string{
		"":                                 ": no certificates",
		"nothing\n":                        ": no certificates",
		"# one\n" + ca.pem() + d.read(key): ":" + strconv.Itoa(2+strings.Count(ca.pem(), "\n")) + `:1: "-----BEGIN PRIVATE KEY-----" is no certificate`,
		"\n" + strings.Replace(ca.pem(), "-----END", "----END", 1):     ":2:1: a certificate is not closed",
		strings.Replace(ca.pem(), "-----END", "----END", 1) + ca.pem(): ":1:1: a certificate is not closed",
		strings.Replace(ca.pem(), "\nMII", "\n!II", 1):                 ":1:1: a certificate cannot be read",
		strings.Replace(ca.pem(), "\nMII", "\nMIA", 1):                 ":1:1: a certificate cannot be read",
		strings.Replace(ca.pem(), "\n", "\nA: b\n\n", 1):               ":1:1: a certificate cannot be read",
		" " + ca.pem(): ": no certificates",
	} {
		d.file("roots.pem", text)
		err := p.Verify(t.Context(), h)
		var f *trust.FileError
		if !errors.As(err, &f) || !strings.HasPrefix(f.Error(), file+want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
		if s := p.Required(); !strings.HasPrefix(s, "nothing can be trusted: ") {
			t.Error(s)
		}
	}
	d.file("roots.pem", strings.ReplaceAll(ca.pem(), "\n", "\r\n"))
	if err := p.Verify(t.Context(), h); err != nil {
		t.Error("with the line ends of Windows:", err)
	}
}
