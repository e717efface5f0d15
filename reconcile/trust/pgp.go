package trust

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/flexgw/flexgw/schema/diag"
)

const (
	pgpBegin = "-----BEGIN PGP SIGNATURE-----"
	pgpEnd   = "-----END PGP SIGNATURE-----"
	keyBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	keyEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// keyring are the OpenPGP keys that are allowed.
type keyring = openpgp.EntityList

// parseKeyring reads every key of a file, armoured (one block or several) or not. One that cannot be read makes all of it an
// error, because it may be the one that revokes.
func parseKeyring(name string, b []byte) (keyring, error) {
	if !bytes.Contains(b, []byte("-----BEGIN ")) {
		list, err := readKeys(bytes.NewReader(b))
		if err == nil {
			err = twice(list)
		}
		if err != nil {
			return nil, &FileError{File: name, Message: "no OpenPGP public keys, as gpg --export writes them: " + err.Error()}
		}
		return list, nil
	}
	list := keyring{}
	text := string(b)
	at := 1
	for text != "" {
		l, rest, _ := strings.Cut(text, "\n")
		if l = strings.TrimSpace(l); !strings.HasPrefix(l, "-----BEGIN ") {
			text, at = rest, at+1 // gpg lets people write what they like between blocks
			continue
		}
		wrong := func(format string, args ...any) error {
			return &FileError{File: name, Line: at, Column: 1, Message: fmt.Sprintf(format, args...)}
		}
		if l != keyBegin {
			return nil, wrong("%.80q is no block of public keys, expected %s, as gpg --armor --export writes it", l, keyBegin)
		}
		end := strings.Index(text, keyEnd)
		if end < 0 {
			return nil, wrong("a block of keys is not closed")
		}
		block := text[:end+len(keyEnd)]
		if strings.Count(block, "-----BEGIN ") > 1 {
			return nil, wrong("a block of keys is not closed before the next begins")
		}
		a, err := armor.Decode(strings.NewReader(block + "\n"))
		if err != nil {
			return nil, wrong("a block of keys cannot be read: %s", err)
		}
		keys, err := readKeys(a.Body)
		if err != nil {
			return nil, wrong("a block of keys cannot be read: %s", err)
		}
		list = append(list, keys...)
		if err := twice(list); err != nil {
			return nil, wrong("%s", err)
		}
		at += strings.Count(block, "\n")
		text = text[len(block):]
	}
	return list, nil
}

func readKeys(r io.Reader) (keyring, error) {
	list := keyring{}
	packets := packet.NewReader(r)
	for {
		e, err := openpgp.ReadEntity(packets)
		if errors.Is(err, io.EOF) && len(list) > 0 {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if e.PrivateKey != nil {
			return nil, fmt.Errorf("key %s is a private key, which does not belong here", fingerprint(e))
		}
		if s, _ := e.PrimarySelfSignature(); s == nil {
			return nil, fmt.Errorf("key %s has no user id that it signed itself", fingerprint(e))
		}
		list = append(list, e)
	}
}

// twice finds a key that is there more than once: one of them may say that it is revoked.
func twice(list keyring) error {
	seen := map[string]bool{}
	for _, e := range list {
		f := fingerprint(e)
		if seen[f] {
			return fmt.Errorf("key %s is in the file twice, expected once, as gpg --export writes it", f)
		}
		seen[f] = true
	}
	return nil
}

func fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

// parsePGP reads exactly one armoured signature of one packet: of several, another reader may look at another one.
func parsePGP(b []byte) (*packet.Signature, []byte, error) {
	if len(b) > maxSignature {
		return nil, nil, fmt.Errorf("it has more than %d bytes", maxSignature)
	}
	text := strings.Trim(string(b), "\n")
	if !strings.HasPrefix(text, pgpBegin+"\n") || !strings.HasSuffix(text, "\n"+pgpEnd) || strings.Count(text, "-----") != 4 {
		return nil, nil, errors.New("its armour is not closed, or something stands behind it")
	}
	a, err := armor.Decode(strings.NewReader(text + "\n"))
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, nil, err
	}
	r := bytes.NewReader(body)
	p, err := packet.Read(r)
	if err != nil {
		return nil, nil, err
	}
	s, ok := p.(*packet.Signature)
	if !ok {
		return nil, nil, errors.New("it is something else")
	}
	if r.Len() > 0 {
		return nil, nil, errors.New("there is more than one")
	}
	if s.IssuerKeyId == nil {
		return nil, nil, errors.New("it does not say which key made it")
	}
	if s.SigType != packet.SigTypeBinary {
		return nil, nil, fmt.Errorf("it is of type %#02x, expected 0x00, that of a document", byte(s.SigType))
	}
	return s, body, nil
}

// strong are the hashes that signatures may use.
var strong = [...]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

func (v *verifier) pgp(s signed) verdict {
	sig, body, err := parsePGP(s.signature)
	if err != nil {
		return refuse(MalformedSignature, "its OpenPGP signature cannot be read: %s", err)
	}
	name := fmt.Sprintf("%016X", *sig.IssuerKeyId)
	made := v.openpgp.KeysById(*sig.IssuerKeyId)
	if len(made) > 0 {
		name = fingerprint(made[0].Entity)
	}
	d := v.pgpKey(sig, body, made, name, s)
	// That of the signature: it is what gpg goes by, and where a key's end is counted from.
	d.key, d.at = name, sig.CreationTime
	return d
}

func (v *verifier) pgpKey(sig *packet.Signature, body []byte, made []openpgp.Key, name string, s signed) verdict {
	if len(made) == 0 {
		return refuse(KeyNotAllowed, "the key %s that signed it is not allowed", name)
	}
	if !slices.Contains(strong[:], sig.Hash) {
		return refuse(WeakSignature, "it is signed with %s", sig.Hash)
	}
	if len(v.openpgp.KeysByIdUsage(*sig.IssuerKeyId, packet.KeyFlagSign)) == 0 {
		return refuse(KeyUsage, "the key %016X that signed it is not made for signing", *sig.IssuerKeyId)
	}
	if end, ok := lifetime(sig); ok && v.now.After(end) {
		return refuse(SignatureExpired, "its signature was good until %s", stamp(end))
	}
	_, by, err := openpgp.VerifyDetachedSignature(v.openpgp, bytes.NewReader(s.over), bytes.NewReader(body), &packet.Config{Time: func() time.Time { return v.now }})
	if by == nil {
		return refuse(BadSignature, "its signature is not over what it has, or forged (%s)", errorOf(err))
	}
	key := made[slices.IndexFunc(made, func(k openpgp.Key) bool { return k.Entity == by })]
	// Whoever revoked a key did so for a reason that the time of a commit does not answer: thieves choose that time.
	if len(by.Revocations) > 0 || len(key.Revocations) > 0 || errors.Is(err, pgperrors.ErrKeyRevoked) {
		return refuse(KeyRevoked, "the key %s that signed it is revoked", name)
	}
	// The library looks at the ends of keys last, and as of now; here the time of the signature counts.
	if err != nil && !errors.Is(err, pgperrors.ErrKeyExpired) && !errors.Is(err, pgperrors.ErrSignatureExpired) {
		return refuse(BadSignature, "its signature does not count (%s)", errorOf(err))
	}
	at := sig.CreationTime
	if made := key.PublicKey.CreationTime; at.Before(made) || at.Before(by.PrimaryKey.CreationTime) {
		return refuse(KeyNotYetValid, "the key %s that signed it was made at %s, and its signature says %s", name, stamp(made), stamp(at))
	}
	end, ends := lastDay(key)
	if ends && at.After(end) {
		return refuse(KeyExpired, "the key %s that signed it was valid until %s, and its signature says %s", name, stamp(end), stamp(at))
	}
	if r, ok := key.PublicKey.PublicKey.(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
		return refuse(WeakSignature, "its RSA key has %d bits, expected %d or more", r.N.BitLen(), minRSA)
	}
	if key.PublicKey.PubKeyAlgo == packet.PubKeyAlgoDSA {
		return refuse(WeakSignature, "its key is one of DSA")
	}
	if ids := addresses(by, at); !slices.ContainsFunc(ids, func(id string) bool { return s.by.Email != "" && strings.EqualFold(id, s.by.Email) }) {
		return refuse(CommitterNotAllowed, "the key %s that signed it is one of %s and not of %q", name, diag.Visible(strings.Join(ids, ", ")), diag.Visible(s.by.Email))
	}
	return verdict{ends: ends}
}

func errorOf(err error) string {
	if err == nil {
		return "no key made it"
	}
	return err.Error()
}

// lifetime is when a signature ends, if it does.
func lifetime(s *packet.Signature) (time.Time, bool) {
	if s == nil || s.SigLifetimeSecs == nil || *s.SigLifetimeSecs == 0 {
		return time.Time{}, false
	}
	return s.CreationTime.Add(time.Duration(*s.SigLifetimeSecs) * time.Second), true
}

// lastDay is when a key ends, if it does: itself, the primary key, or a signature that binds them.
func lastDay(k openpgp.Key) (end time.Time, ok bool) {
	sooner := func(t time.Time, ends bool) {
		if ends && (!ok || t.Before(end)) {
			end, ok = t, true
		}
	}
	ends := func(p *packet.PublicKey, s *packet.Signature) {
		if s == nil {
			return
		}
		if s.KeyLifetimeSecs != nil && *s.KeyLifetimeSecs != 0 {
			sooner(p.CreationTime.Add(time.Duration(*s.KeyLifetimeSecs)*time.Second), true)
		}
		sooner(lifetime(s))
	}
	primary, _ := k.Entity.PrimarySelfSignature()
	ends(k.Entity.PrimaryKey, primary)
	if k.PublicKey != k.Entity.PrimaryKey {
		ends(k.PublicKey, k.SelfSignature)
		if k.SelfSignature != nil {
			sooner(lifetime(k.SelfSignature.EmbeddedSignature))
		}
	}
	return end, ok
}

// addresses are the e-mail addresses of a key's user ids, sorted: those that it signed itself, and did not revoke.
func addresses(e *openpgp.Entity, at time.Time) []string {
	var list []string
	for _, id := range e.Identities {
		if id.SelfSignature == nil || len(id.Revocations) > 0 {
			continue
		}
		if end, ok := lifetime(id.SelfSignature); ok && at.After(end) {
			continue
		}
		mail := id.UserId.Email
		if mail == "" && strings.Contains(id.UserId.Id, "@") && !strings.ContainsAny(id.UserId.Id, " <>()") {
			mail = id.UserId.Id
		}
		if mail != "" {
			list = append(list, mail)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
