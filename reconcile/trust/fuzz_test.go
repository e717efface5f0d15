package trust_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/smallstep/pkcs7"
	"golang.org/x/crypto/ssh"

	"github.com/flexgw/flexgw/reconcile/trust"
	"github.com/flexgw/flexgw/reconcile/watch"
)

// FuzzSSH changes a signature, what it is over, the committer and the file of keys: nothing but what Alice signed is good.
func FuzzSSH(f *testing.F) {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("flexgw..", 4)))
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		f.Fatal(err)
	}
	const text = "tree\n"
	sig := ssh.Marshal(struct {
		Kind string
		Sig  []byte
	}{"ssh-ed25519", ed25519.Sign(key, toSign("git", text))})
	good := sshsig(signer.PublicKey().Marshal(), "git", "sha512", sig)
	pub := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	f.Add("alice@example.com "+pub+"\n", "alice@example.com", good, text)
	f.Add(`*,!bob@* namespaces="git",valid-after="20260101Z" `+pub+"\n", "alice@example.com", good, text+"x")
	f.Add("# nobody\n\"a b\" cert-authority,valid-before=\"20270101\" "+pub, "bob@example.com", good+good, text)
	f.Fuzz(func(t *testing.T, signers, mail, sig, over string) {
		rule, err := trust.SSH([]byte(signers), watch.Person{Email: mail, At: day}, []byte(sig), []byte(over))
		if err == nil && rule == "" && (over != text || mail == "" || !strings.Contains(signers, pub)) {
			t.Errorf("%q by %q is taken", over, mail)
		}
	})
}

// FuzzPGP changes an OpenPGP signature and keyring.
func FuzzPGP(f *testing.F) {
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}
	e, err := openpgp.NewEntity("Alice", "", "alice@example.com", config)
	if err != nil {
		f.Fatal(err)
	}
	const text = "tree\n"
	now := e.PrimaryKey.CreationTime
	var ring strings.Builder
	if err := e.Serialize(&ring); err != nil {
		f.Fatal(err)
	}

	good := armoured(f, signPGP(f, e.PrivateKey, packet.SigTypeBinary, text, now))
	if rule, err := trust.PGP([]byte(ring.String()), watch.Person{Email: "alice@example.com", At: now}, []byte(good), []byte(text), now); rule != "" || err != nil {
		f.Fatal(rule, err)
	}
	f.Add(ring.String(), good, text)
	f.Add(ring.String(), good+good, text)
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n", good, text+"x")
	f.Fuzz(func(t *testing.T, keys, sig, over string) {
		rule, err := trust.PGP([]byte(keys), watch.Person{Email: "alice@example.com", At: now}, []byte(sig), []byte(over), now)
		if err == nil && rule == "" && over != text {
			t.Errorf("%q is taken", over)
		}
	})
}

// FuzzX509 changes an X.509 signature beneath its armour, what it is over, the committer and the file of authorities.
func FuzzX509(f *testing.F) {
	ca := newAuthority(f, "Root", nil, nil)
	alice := newAuthority(f, "Alice", &ca, person("alice@example.com"))
	const text = "tree\n"
	data, err := pkcs7.NewSignedData([]byte(text))
	if err != nil {
		f.Fatal(err)
	}
	data.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := data.AddSigner(alice.cert, alice.key, pkcs7.SignerInfoConfig{}); err != nil {
		f.Fatal(err)
	}
	attached, err := data.Finish()
	if err != nil {
		f.Fatal(err)
	}
	data.Detach()
	good, err := data.Finish()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	judge := func(roots, mail string, der []byte, over string) (trust.Rule, error) {
		return trust.X509([]byte(roots), watch.Person{Email: mail, At: now}, []byte(signedMessage(der)), []byte(over))
	}
	if rule, err := judge(ca.pem(), "alice@example.com", good, text); rule != "" || err != nil {
		f.Fatal(rule, err)
	}
	if rule, err := judge(ca.pem(), "alice@example.com", attached, text); rule != trust.MalformedSignature || err != nil {
		f.Fatal(rule, err)
	}
	f.Add(ca.pem(), "alice@example.com", good, text)
	f.Add(ca.pem(), "alice@example.com", attached, text)
	f.Add(ca.pem(), "alice@example.com", doubling(50), text)
	f.Add("text\n"+alice.pem()+ca.pem(), "bob@example.com", append(good, good...), text+"x")
	f.Fuzz(func(t *testing.T, roots, mail string, der []byte, over string) {
		rule, err := judge(roots, mail, der, over)
		if err == nil && rule == "" && (over != text || !strings.EqualFold(mail, "alice@example.com") || !strings.Contains(roots, "CERTIFICATE")) {
			t.Errorf("%q by %q is taken", over, mail)
		}
	})
}
