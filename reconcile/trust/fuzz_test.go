package trust_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
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
