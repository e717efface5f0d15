package trust_test

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/flexgw/flexgw/reconcile/trust"
)

const made = "20260101T000000"

func TestOpenPGP(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id, usage, expire string
		change            func(d *desk, w *who) (keyring string) // after the key was made, before the commit; "": the key alone
		after             func(d *desk, w *who)                  // after the commit
		rule              trust.Rule
		git               string // what git verify-commit says where it differs, and why
	}{
		"good":                 {usage: "sign", expire: "never"},
		"good, with an end":    {usage: "sign", expire: "2y"},
		"address alone":        {id: "alice@example.com", usage: "sign", expire: "never"},
		"address in capitals":  {id: "Alice <Alice@Example.COM>", usage: "sign", expire: "never"},
		"another address":      {id: "Alice <alice@example.org>", usage: "sign", expire: "never", rule: trust.CommitterNotAllowed, git: "it does not look at the committer"},
		"address in a comment": {id: "Eve (alice@example.com) <eve@example.com>", usage: "sign", expire: "never", rule: trust.CommitterNotAllowed, git: "it does not look at the committer"},
		"address in a name":    {id: "alice@example.com <eve@example.com>", usage: "sign", expire: "never", rule: trust.CommitterNotAllowed, git: "it does not look at the committer"},
		"expired":              {usage: "sign", expire: "2026-02-01", rule: trust.KeyExpired, change: func(d *desk, w *who) string { w.thief = true; return "" }},
		"a subkey": {usage: "cert", expire: "never", change: func(d *desk, w *who) string {
			w.pgp = d.subkey(w.pgp, "sign", "never")
			return ""
		}},
		"a subkey that expired": {usage: "cert", expire: "never", rule: trust.KeyExpired, change: func(d *desk, w *who) string {
			w.pgp = d.subkey(w.pgp, "sign", "2026-02-01")
			w.thief = true
			return ""
		}},
		"a key that was prolonged later": {usage: "sign", expire: "2026-05-03", after: func(d *desk, w *who) {
			d.run(nil, nil, "gpg", "--batch", "--faked-system-time", "20260502T000000", "--quick-set-expire", w.pgp, "5y")
		}},
		"revoked": {usage: "sign", expire: "never", rule: trust.KeyRevoked, after: func(d *desk, w *who) {
			rev := strings.Replace(d.read(filepath.Join(d.keys, "openpgp-revocs.d", w.pgp+".rev")), ":-----BEGIN", "-----BEGIN", 1)
			d.run([]byte(rev), nil, "gpg", "--batch", "--import")
		}},
		"user id revoked": {usage: "sign", expire: "never", rule: trust.CommitterNotAllowed, git: "it does not look at the committer", after: func(d *desk, w *who) {
			d.run(nil, nil, "gpg", "--batch", "--faked-system-time", "20260502T000000", "--quick-add-uid", w.pgp, "Alice <alice@example.net>")
			d.run(nil, nil, "gpg", "--batch", "--faked-system-time", "20260502T000000", "--quick-revoke-uid", w.pgp, "Alice <alice@example.com>")
		}},
		"not allowed": {usage: "sign", expire: "never", rule: trust.KeyNotAllowed, git: "its keyring is that of the user", change: func(d *desk, w *who) string {
			return d.export("other.asc", d.pgpKey("Bob <bob@example.com>", "ed25519", "sign", "never", made))
		}},
		"SHA-1": {rule: trust.WeakSignature, git: "it takes SHA-1 of keys that it knows", change: func(d *desk, w *who) string {
			w.pgp = d.pgpKey("Alice <alice@example.com>", "rsa2048", "sign", "never", made)
			d.file("gpg.conf", "digest-algo SHA1\npersonal-digest-preferences SHA1\n")
			return ""
		}},
		"RSA": {change: func(d *desk, w *who) string {
			w.pgp = d.pgpKey("Alice <alice@example.com>", "rsa3072", "sign", "never", made)
			return ""
		}},
		"RSA that is too short": {rule: trust.WeakSignature, git: "it takes short keys", change: func(d *desk, w *who) string {
			w.pgp = d.pgpKey("Alice <alice@example.com>", "rsa1024", "sign", "never", made)
			return ""
		}},
		"P-256": {change: func(d *desk, w *who) string {
			w.pgp = d.pgpKey("Alice <alice@example.com>", "nistp256", "sign", "never", made)
			return ""
		}},
		"signature that ended": {usage: "sign", expire: "never", rule: trust.SignatureExpired, change: func(d *desk, w *who) string {
			d.file("gpg.conf", "default-sig-expire 1d\n")
			return ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			w := who{name: "Alice", mail: "alice@example.com"}
			if c.id == "" {
				c.id = "Alice <alice@example.com>"
			}
			if c.usage != "" {
				w.pgp = d.pgpKey(c.id, "ed25519", c.usage, c.expire, made)
			}
			ring := ""
			if c.change != nil {
				ring = c.change(d, &w)
			}
			id := d.commitPGP(w)
			if c.after != nil {
				c.after(d, &w)
			}
			if ring == "" {
				ring = d.export("keys.asc")
			}
			now := day.AddDate(0, 0, 3)
			err := d.verify(trust.Options{OpenPGP: ring, Now: func() time.Time { return now }}, "")
			if c.rule != "" {
				refused(t, err, c.rule, id, "Alice")
			} else if err != nil {
				t.Error(err)
			}
			// gpg looks at a key's end as of now, we as of the signature: so ask it as of then.
			asOf := now
			if c.rule == "" || c.rule == trust.KeyExpired {
				asOf = day
			}
			gpg := d.file("gpg-now", "#!/bin/sh\nexec gpg --batch --trust-model always --faked-system-time "+asOf.Format("20060102T150405")+" \"$@\"\n")
			if err := os.Chmod(gpg, 0o700); err != nil {
				t.Fatal(err)
			}
			says, gitErr := d.try(nil, nil, "git", "-c", "gpg.program="+gpg, "verify-commit", "-v", id)
			if good := gitErr == nil; good != (c.rule == "") && c.git == "" {
				t.Errorf("we say %v, git verify-commit says %v\n%s", err, gitErr, says)
			}
		})
	}
}

// subkey adds a subkey and gives its fingerprint.
func (d *desk) subkey(primary, usage, expire string) string {
	d.t.Helper()
	d.run(nil, nil, "gpg", "--batch", "--passphrase", "", "--faked-system-time", made, "--quick-add-key", primary, "ed25519", usage, expire)
	var last string
	for line := range strings.Lines(d.run(nil, nil, "gpg", "--with-colons", "--with-subkey-fingerprint", "--list-keys", primary)) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			last = f[9]
		}
	}
	return last
}

// commitPGP commits, and lets a key that has ended sign all the same, as a thief can: the signature says the time of the commit.
func (d *desk) commitPGP(w who) string {
	d.t.Helper()
	if !w.thief {
		return d.commit(w)
	}
	plain := w
	plain.pgp = ""
	text, _ := d.parts(d.commit(plain))
	secret := d.run(nil, nil, "gpg", "--armor", "--batch", "--passphrase", "", "--export-secret-keys", strings.TrimSuffix(w.pgp, "!"))
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(secret + "\n"))
	if err != nil {
		d.t.Fatal(err)
	}
	key := ring[0].PrivateKey
	for _, s := range ring[0].Subkeys {
		if s.PrivateKey != nil {
			key = s.PrivateKey
		}
	}
	return d.raw(withHeader(text, folded(armoured(d.t, signPGP(d.t, key, packet.SigTypeBinary, text, w.time())))))
}

func signPGP(t testing.TB, key *packet.PrivateKey, kind packet.SignatureType, text string, at time.Time) []byte {
	t.Helper()
	s := &packet.Signature{Version: 4, SigType: kind, PubKeyAlgo: key.PubKeyAlgo, Hash: crypto.SHA256, CreationTime: at, IssuerKeyId: &key.KeyId, IssuerFingerprint: key.Fingerprint}
	h := crypto.SHA256.New()
	h.Write([]byte(text))
	if err := s.Sign(h, key, nil); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func armoured(t testing.TB, packets ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}

// What gpg does not make.
func TestOpenPGPForged(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	alice := who{name: "Alice", mail: "alice@example.com", at: day}
	config := &packet.Config{Time: func() time.Time { return day.AddDate(0, -1, 0) }, Algorithm: packet.PubKeyAlgoEdDSA}
	entity := func(name, mail string) *openpgp.Entity {
		e, err := openpgp.NewEntity(name, "", mail, config)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	ring := func(list ...*openpgp.Entity) string {
		var b bytes.Buffer
		for _, e := range list {
			if err := e.Serialize(&b); err != nil {
				t.Fatal(err)
			}
		}
		return d.file("ring.pgp", b.String())
	}
	a, eve := entity("Alice", "alice@example.com"), entity("Eve", "eve@example.com")
	text, _ := d.parts(d.commit(alice))
	put := func(sig string) string { return d.raw(withHeader(text, folded(sig))) }
	good := signPGP(t, a.PrivateKey, packet.SigTypeBinary, text, day)
	o := trust.Options{OpenPGP: ring(a, eve), Now: func() time.Time { return day.AddDate(0, 0, 1) }}

	put(armoured(t, good))
	if err := d.verify(o, ""); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sig  string
		rule trust.Rule
	}{
		"of text":                 {armoured(t, signPGP(t, a.PrivateKey, packet.SigTypeText, text, day)), trust.MalformedSignature},
		"of a key":                {armoured(t, signPGP(t, a.PrivateKey, packet.SigTypeGenericCert, text, day)), trust.MalformedSignature},
		"of two, the good first":  {armoured(t, good, signPGP(t, eve.PrivateKey, packet.SigTypeBinary, text, day)), trust.MalformedSignature},
		"of two, the good last":   {armoured(t, signPGP(t, eve.PrivateKey, packet.SigTypeBinary, "else", day), good), trust.MalformedSignature},
		"with garbage":            {armoured(t, good, []byte("garbage")), trust.MalformedSignature},
		"with a second armour":    {armoured(t, good) + armoured(t, good), trust.MalformedSignature},
		"with a line behind":      {armoured(t, good) + "good\n", trust.MalformedSignature},
		"of another text":         {armoured(t, signPGP(t, a.PrivateKey, packet.SigTypeBinary, text+" ", day)), trust.BadSignature},
		"in the future":           {armoured(t, signPGP(t, a.PrivateKey, packet.SigTypeBinary, text, day.AddDate(0, 1, 0))), trust.WrongTime},
		"before the key":          {armoured(t, signPGP(t, a.PrivateKey, packet.SigTypeBinary, text, day.AddDate(-1, 0, 0))), trust.KeyNotYetValid},
		"of somebody else":        {armoured(t, signPGP(t, eve.PrivateKey, packet.SigTypeBinary, text, day)), trust.CommitterNotAllowed},
		"of a subkey for secrets": {armoured(t, withIssuer(t, a, text)), trust.KeyUsage},
	} {
		id := put(c.sig)
		t.Run(name, func(t *testing.T) { refused(t, d.verify(o, ""), c.rule, id, "Alice") })
	}
}

// withIssuer is a signature of the primary key that says it is of the subkey, which is for encryption.
func withIssuer(t *testing.T, e *openpgp.Entity, text string) []byte {
	t.Helper()
	key := *e.PrivateKey
	key.KeyId = e.Subkeys[0].PublicKey.KeyId
	key.Fingerprint = e.Subkeys[0].PublicKey.Fingerprint
	return signPGP(t, &key, packet.SigTypeBinary, text, day)
}

func TestBrokenKeyrings(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	alice := d.read(d.export("alice.asc", d.pgpKey("Alice <alice@example.com>", "ed25519", "sign", "never", made)))
	secret := d.run(nil, nil, "gpg", "--armor", "--batch", "--passphrase", "", "--export-secret-keys") + "\n"
	lines := strings.Count(alice, "\n")
	for name, c := range map[string]struct {
		text string
		line int
		says string
	}{
		"nothing":            {"", 0, "no OpenPGP public keys"},
		"something else":     {"hello\n", 0, "no OpenPGP public keys"},
		"a private key":      {secret, 1, "expected -----BEGIN PGP PUBLIC KEY BLOCK-----"},
		"cut off":            {"# keys\n" + alice[:len(alice)/2], 2, "not closed"},
		"the second cut off": {alice + "\n" + alice[:len(alice)/2], lines + 2, "not closed"},
		"one in the other":   {alice[:len(alice)/2] + "\n" + alice, 1, "not closed before the next"},
		"twice":              {alice + alice, lines + 1, "in the file twice"},
		"damaged":            {strings.Replace(alice, "\n\n", "\n\nAAAA", 1), 1, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keys.asc")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := trust.Load(trust.Options{OpenPGP: path})
			var f *trust.FileError
			if !errors.As(err, &f) || f.Line != c.line || !strings.Contains(f.Message, c.says) || f.Reason() != "KeysUnreadable" {
				t.Errorf("got %v, want line %d: … %s", err, c.line, c.says)
			}
		})
	}
}
