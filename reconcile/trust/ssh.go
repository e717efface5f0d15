package trust

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
)

const (
	sshBegin = "-----BEGIN SSH SIGNATURE-----"
	sshEnd   = "-----END SSH SIGNATURE-----"
	sshMagic = "SSHSIG"

	namespace = "git" // that git signs in, so that a signature of a file or an e-mail is none of a commit

	maxSignature = 64 << 10 // bytes; one of RSA with a certificate has some 4,000
	minRSA       = 2048     // bits
)

// sshSignature is a signature as PROTOCOL.sshsig of OpenSSH has it.
type sshSignature struct {
	key       ssh.PublicKey
	namespace string
	reserved  []byte // signed, and to be ignored
	hash      string
	sig       ssh.Signature
}

// unarmour takes the armour off exactly one signature: what stands before or behind it, nobody signed.
func unarmour(b []byte, begin, end string) ([]byte, error) {
	if len(b) > maxSignature {
		return nil, fmt.Errorf("it has more than %d bytes", maxSignature)
	}
	body, ok := strings.CutPrefix(string(b), begin+"\n")
	body, rest, ok2 := strings.Cut(body, "\n"+end)
	if !ok || !ok2 {
		return nil, errors.New("its armour is not closed")
	}
	if strings.Trim(rest, "\n") != "" {
		return nil, errors.New("something stands behind it")
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil {
		return nil, fmt.Errorf("it is no base64: %w", err)
	}
	return blob, nil
}

// parseSSH reads exactly one armoured signature.
func parseSSH(b []byte) (s sshSignature, err error) {
	blob, err := unarmour(b, sshBegin, sshEnd)
	if err != nil {
		return s, err
	}
	blob, ok := bytes.CutPrefix(blob, []byte(sshMagic))
	if !ok {
		return s, errors.New("it does not begin with " + sshMagic)
	}
	var w struct {
		Version   uint32
		Key       []byte
		Namespace string
		Reserved  []byte
		Hash      string
		Signature []byte
	}
	if err := ssh.Unmarshal(blob, &w); err != nil {
		return s, err
	}
	if w.Version != 1 {
		return s, fmt.Errorf("its version is %d, expected 1", w.Version)
	}
	if s.key, err = ssh.ParsePublicKey(w.Key); err != nil {
		return s, err
	}
	if err := ssh.Unmarshal(w.Signature, &s.sig); err != nil {
		return s, err
	}
	if len(s.sig.Rest) > 0 && !strings.HasPrefix(s.sig.Format, "sk-") {
		return s, errors.New("something stands behind its value")
	}
	s.namespace, s.reserved, s.hash = w.Namespace, w.Reserved, w.Hash
	return s, nil
}

// over is what was signed, of a message.
func (s sshSignature) over(message []byte) ([]byte, error) {
	var sum []byte
	switch s.hash {
	case "sha256":
		h := sha256.Sum256(message)
		sum = h[:]
	case "sha512":
		h := sha512.Sum512(message)
		sum = h[:]
	default:
		return nil, fmt.Errorf("its hash is %.40q, expected sha256 or sha512", s.hash)
	}
	return append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace string
		Reserved  []byte
		Hash      string
		Sum       []byte
	}{s.namespace, s.reserved, s.hash, sum})...), nil
}

// weak says what is too weak of a key and the way in which it signed; "": nothing.
func weak(k ssh.PublicKey, format string) string {
	if c, ok := k.(*ssh.Certificate); ok {
		k = c.Key
	}
	if slices.Contains([]string{ssh.KeyAlgoRSA, ssh.InsecureKeyAlgoDSA}, format) {
		return "it is signed with " + format + ", which uses SHA-1"
	}
	if c, ok := k.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return fmt.Sprintf("its RSA key has %d bits, expected %d or more", r.N.BitLen(), minRSA)
		}
	}
	return ""
}

func (v *verifier) ssh(s signed) verdict {
	sig, err := parseSSH(s.signature)
	if err != nil {
		return refuse(MalformedSignature, "its SSH signature cannot be read: %s", err)
	}
	name := ssh.FingerprintSHA256(sig.key)
	if c, ok := sig.key.(*ssh.Certificate); ok {
		name = ssh.FingerprintSHA256(c.Key)
	}
	d := v.sshKey(sig, s)
	d.key, d.at = name, s.by.At
	return d
}

func (v *verifier) sshKey(sig sshSignature, s signed) verdict {
	if sig.namespace != namespace {
		return refuse(WrongNamespace, "it has a signature that was made for %.60q, expected %q", sig.namespace, namespace)
	}
	if why := weak(sig.key, sig.sig.Format); why != "" {
		return refuse(WeakSignature, "%s", why)
	}
	message, err := sig.over(s.over)
	if err != nil {
		return refuse(MalformedSignature, "its SSH signature cannot be read: %s", err)
	}
	if err := sig.key.Verify(message, &sig.sig); err != nil {
		return refuse(BadSignature, "its signature is not over what it has, or forged (%s)", err)
	}
	best := refuse(KeyNotAllowed, "the key %s that signed it is not allowed", ssh.FingerprintSHA256(sig.key))
	rank := 0
	for _, a := range v.signers {
		d, far := a.allows(sig.key, s.by)
		if d.rule == "" {
			return d
		}
		if far > rank {
			best, rank = d, far
		}
	}
	return best
}

// allows says whether a line lets a key sign for somebody, and how far the key got: of lines that do not, the one in which
// it got farthest tells most.
func (a signer) allows(k ssh.PublicKey, by watch.Person) (d verdict, far int) {
	c, isCert := k.(*ssh.Certificate)
	switch {
	case !a.ca && sameKey(a.key, k):
	case a.ca && isCert && sameKey(a.key, c.SignatureKey):
	default:
		return refuse(KeyNotAllowed, ""), 0
	}
	name := ssh.FingerprintSHA256(k)
	if by.Email == "" || !matchList(by.Email, a.principals) {
		return refuse(CommitterNotAllowed, "the key %s that signed it is allowed for %s and not for %q", name, a.principals, diag.Visible(by.Email)), 1
	}
	ends := !a.before.IsZero() || !a.after.IsZero()
	if a.ca {
		if d := certificate(c, by); d.rule != "" {
			return d, 2
		}
		ends = ends || c.ValidBefore != ssh.CertTimeInfinity
	}
	if a.namespaces != "" && !matchList(namespace, a.namespaces) {
		return refuse(KeyNotAllowed, "the key %s that signed it is allowed for namespaces %s and not for %s (%s)", name, diag.Visible(a.namespaces), namespace, a.at), 3
	}
	if !a.after.IsZero() && by.At.Before(a.after) {
		return refuse(KeyNotYetValid, "the key %s that signed it is valid after %s (%s), and its time is %s", name, stamp(a.after), a.at, stamp(by.At)), 4
	}
	if !a.before.IsZero() && by.At.After(a.before) {
		return refuse(KeyExpired, "the key %s that signed it was valid before %s (%s), and its time is %s", name, stamp(a.before), a.at, stamp(by.At)), 4
	}
	return verdict{ends: ends}, 5
}

// certificate says whether a certificate lets its key sign for somebody. Its authority is allowed already.
func certificate(c *ssh.Certificate, by watch.Person) verdict {
	name := ssh.FingerprintSHA256(c.Key)
	if c.CertType != ssh.UserCert {
		return refuse(KeyNotAllowed, "the certificate of %s is one of a host", name)
	}
	if why := weak(c.SignatureKey, c.Signature.Format); why != "" {
		return refuse(WeakSignature, "the certificate of %s: %s", name, why)
	}
	// Without principals it would be good for everybody; they are names and no patterns.
	if !slices.Contains(c.ValidPrincipals, by.Email) {
		return refuse(CommitterNotAllowed, "the certificate of %s is for %s and not for %q", name, diag.Visible(strings.Join(c.ValidPrincipals, ",")), diag.Visible(by.Email))
	}
	at := uint64(max(by.At.Unix(), 0))
	if at < c.ValidAfter {
		return refuse(KeyNotYetValid, "the certificate of %s is valid after %s, and its time is %s", name, stamp(unix(c.ValidAfter)), stamp(by.At))
	}
	if c.ValidBefore != ssh.CertTimeInfinity && at >= c.ValidBefore {
		return refuse(KeyExpired, "the certificate of %s was valid before %s, and its time is %s", name, stamp(unix(c.ValidBefore)), stamp(by.At))
	}
	// What a certificate must be used with is about logins; what is not known is refused there and here.
	checker := ssh.CertChecker{Clock: func() time.Time { return by.At }}
	if err := checker.CheckCert(by.Email, c); err != nil {
		return refuse(BadSignature, "the certificate of %s is not good (%s)", name, err)
	}
	if len(c.CriticalOptions) > 0 {
		return refuse(KeyUsage, "the certificate of %s is limited by options that are not known here", name)
	}
	return verdict{}
}

func unix(s uint64) time.Time { return time.Unix(int64(min(s, math.MaxInt32*100)), 0) }
