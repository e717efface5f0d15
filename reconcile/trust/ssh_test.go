package trust_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/flexgw/flexgw/reconcile/trust"
	"github.com/flexgw/flexgw/reconcile/watch"
)

// TestAsSSHKeygen asks `ssh-keygen -Y verify` and us about the same signatures, lines and times.
func TestAsSSHKeygen(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const text = "tree and so on\n"
	ca := d.sshKey("ca", "-t", "ed25519")
	keys := map[string]string{
		"ed25519": d.sshKey("a", "-t", "ed25519"), "p256": d.sshKey("b", "-t", "ecdsa", "-b", "256"), "p384": d.sshKey("c", "-t", "ecdsa", "-b", "384"),
		"p521": d.sshKey("d", "-t", "ecdsa", "-b", "521"), "rsa": d.sshKey("e", "-t", "rsa", "-b", "2048"), "other": d.sshKey("f", "-t", "ed25519"),
	}
	certified := func(name string, args ...string) who {
		k := d.sshKey(name, "-t", "ed25519")
		d.run(nil, nil, "ssh-keygen", append(append([]string{"-q", "-s", ca, "-I", name}, args...), k+".pub")...)
		return who{ssh: k + "-cert.pub"}
	}
	sigs := map[string]string{
		"certificate":            d.sign(certified("cert", "-n", "alice@example.com,x", "-V", "20260101:20270101"), "git", text),
		"certificate of nobody":  d.sign(certified("nobody", "-V", "20260101:20270101"), "git", text),
		"certificate of pattern": d.sign(certified("pattern", "-n", "*@example.com", "-V", "20260101:20270101"), "git", text),
		"certificate of bob":     d.sign(certified("bob", "-n", "bob@example.com"), "git", text),
		"certificate of a host":  d.sign(certified("host", "-h", "-n", "alice@example.com"), "git", text),
		"for files":              d.sign(who{ssh: keys["ed25519"]}, "file", text),
		"of something else":      d.sign(who{ssh: keys["ed25519"]}, "git", text+" "),
		"sk-ed25519":             skEd25519(t, d, text, true),
		"sk-ecdsa":               skECDSA(t, d, text),
	}
	for name, k := range keys {
		sigs[name] = d.sign(who{ssh: k}, "git", text)
	}
	pub := d.pub(keys["ed25519"])
	var all strings.Builder
	for _, k := range []string{"ed25519", "p256", "p384", "p521", "rsa"} {
		fmt.Fprintf(&all, "alice@example.com %s\n", d.pub(keys[k]))
	}
	for _, k := range []string{"sk-ed25519", "sk-ecdsa"} {
		fmt.Fprintf(&all, "alice@example.com %s\n", d.read(d.keys+"/"+k))
	}
	lines := map[string]string{
		"all":              "# keys\n\n \t# of people\n" + all.String(),
		"patterns":         "*@example.com " + pub,
		"question marks":   "alic?@example.co? " + pub,
		"negated":          "*@example.com,!alice@* " + pub,
		"negated first":    "!alice@*,*@example.com " + pub,
		"negated alone":    "!bob@example.com " + pub,
		"many":             "bob@example.com,alice@example.com " + pub,
		"quoted":           `"alice@example.com" ` + pub,
		"quoted with":      `"bob x,alice@example.com" ` + pub,
		"other case":       "ALICE@example.com " + pub,
		"tabs":             "\talice@example.com\t" + strings.Replace(pub, " ", "  ", 1) + "\tcomment",
		"comment":          "alice@example.com " + pub + " alice at her desk",
		"namespaces":       `alice@example.com namespaces="file,git" ` + pub,
		"other namespace":  `alice@example.com namespaces="file" ` + pub,
		"pattern of them":  `alice@example.com namespaces="g*" ` + pub,
		"not this one":     `alice@example.com namespaces="*,!git" ` + pub,
		"in capitals":      `alice@example.com NameSpaces="git" ` + pub,
		"no quotes":        `alice@example.com namespaces=git ` + pub,
		"unknown option":   `alice@example.com no-touch-required ` + pub,
		"twice":            `alice@example.com namespaces="git",namespaces="git" ` + pub,
		"comma at end":     `alice@example.com namespaces="git", ` + pub,
		"after":            `alice@example.com valid-after="20260501Z" ` + pub,
		"after, noon":      `alice@example.com valid-after="202605011200Z" ` + pub,
		"after, a second":  `alice@example.com valid-after="20260501120001Z" ` + pub,
		"before":           `alice@example.com valid-before="20260502Z" ` + pub,
		"before, noon":     `alice@example.com valid-before="20260501120000Z" ` + pub,
		"before, so far":   `alice@example.com valid-before="20260501115959Z" ` + pub,
		"no zone":          `alice@example.com valid-before="20260501120000" ` + pub,
		"both":             `alice@example.com valid-after="20260101Z",valid-before="20270101Z" ` + pub,
		"both, crossed":    `alice@example.com valid-after="20270101Z",valid-before="20260101Z" ` + pub,
		"no day":           `alice@example.com valid-before="20261301" ` + pub,
		"no time":          `alice@example.com valid-before="tomorrow" ` + pub,
		"second line":      `alice@example.com valid-before="20260101Z" ` + pub + "\nalice@example.com " + pub,
		"authority":        "alice@example.com cert-authority " + d.pub(ca),
		"authority, any":   "*@example.com cert-authority " + d.pub(ca),
		"authority, bob":   "bob@example.com cert-authority " + d.pub(ca),
		"authority, when":  `*@example.com cert-authority,valid-before="20260101Z" ` + d.pub(ca),
		"authority, what":  `*@example.com cert-authority,namespaces="file" ` + d.pub(ca),
		"authority as key": "alice@example.com " + d.pub(ca),
		"key as authority": "alice@example.com cert-authority " + pub,
		"key of cert":      "alice@example.com " + d.pub(d.keys+"/cert"),
		"no principals":    pub,
		"no key":           "alice@example.com",
		"half a key":       "alice@example.com " + pub[:40],
		"open quote":       `"alice@example.com ` + pub,
		"option, no key":   `alice@example.com namespaces="git"`,
		"other type":       "alice@example.com " + strings.Replace(pub, "ssh-ed25519", "ssh-rsa", 1),
		"empty":            "",
	}
	asked, taken := 0, 0
	for line, text2 := range lines {
		signers := d.file("signers", text2+"\n")
		for name, sig := range sigs {
			if line != "all" && !strings.HasPrefix(line, "authority") && name != "ed25519" && name != "certificate" {
				continue
			}
			file := d.file("sig", sig)
			for _, mail := range []string{"alice@example.com", "bob@example.com"} {
				_, err := d.try([]byte(text), nil, "ssh-keygen", "-Y", "verify", "-f", signers, "-I", mail, "-n", "git", "-s", file, "-Overify-time=20260501120000Z")
				rule, ours := trust.SSH([]byte(text2+"\n"), watch.Person{Email: mail, At: day}, []byte(sig), []byte(text))
				asked++
				if err == nil {
					taken++
				}
				if line == "all" && mail == "alice@example.com" && strings.HasPrefix(name, "sk-") && (rule != "" || err != nil) {
					t.Errorf("%s: %q, %v; ssh-keygen says %v", name, rule, ours, err)
				}
				if (ours == nil && rule == "") != (err == nil) {
					t.Errorf("%s, %s, for %s: we say %q, %v; ssh-keygen says %v", line, name, mail, rule, ours, err)
				}
			}
		}
	}
	t.Logf("%d questions, %d good", asked, taken)
	if taken < 30 || taken > asked/2 {
		t.Errorf("%d of %d signatures are good: the comparison says little", taken, asked)
	}
	// Stricter than ssh-keygen: nobody touched the security key.
	untouched := skEd25519(t, d, text, false)
	if rule, err := trust.SSH([]byte("alice@example.com "+d.read(d.keys+"/sk-ed25519")+"\n"), watch.Person{Email: "alice@example.com", At: day}, []byte(untouched), []byte(text)); rule != trust.BadSignature {
		t.Errorf("a security key that nobody touched: %q, %v", rule, err)
	}
}

// sshsig is an armoured signature, made of its parts.
func sshsig(key []byte, namespace, hash string, sig []byte) string {
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version   uint32
		Key       []byte
		Namespace string
		Reserved  string
		Hash      string
		Signature []byte
	}{1, key, namespace, "", hash, sig})...)
	b := base64.StdEncoding.EncodeToString(blob)
	var s strings.Builder
	s.WriteString("-----BEGIN SSH SIGNATURE-----\n")
	for len(b) > 70 {
		s.WriteString(b[:70] + "\n")
		b = b[70:]
	}
	return s.String() + b + "\n-----END SSH SIGNATURE-----\n"
}

// toSign is what an SSH signature is over.
func toSign(namespace, text string) []byte {
	sum := sha512.Sum512([]byte(text))
	return append([]byte("SSHSIG"), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{namespace, "", "sha512", sum[:]})...)
}

// skData is what a security key signs.
func skData(data []byte, flags byte) []byte {
	app, sum := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	return append(append(append(append([]byte{}, app[:]...), flags), 0, 0, 0, 7), sum[:]...)
}

// skEd25519 plays a security key; its public key is written to the file sk-ed25519.
func skEd25519(t *testing.T, d *desk, text string, touched bool) string {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const kind = "sk-ssh-ed25519@openssh.com"
	blob := ssh.Marshal(struct {
		Kind string
		Key  []byte
		App  string
	}{kind, pub, "ssh:"})
	d.file("sk-ed25519", kind+" "+base64.StdEncoding.EncodeToString(blob))
	var flags byte
	if touched {
		flags = 1
	}
	sig := ssh.Marshal(struct {
		Kind    string
		Sig     []byte
		Flags   byte
		Counter uint32
	}{kind, ed25519.Sign(key, skData(toSign("git", text), flags)), flags, 7})
	return sshsig(blob, "git", "sha512", sig)
}

func skECDSA(t *testing.T, d *desk, text string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const kind = "sk-ecdsa-sha2-nistp256@openssh.com"
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct {
		Kind, Curve string
		Key         []byte
		App         string
	}{kind, "nistp256", point, "ssh:"})
	d.file("sk-ecdsa", kind+" "+base64.StdEncoding.EncodeToString(blob))
	sum := sha256.Sum256(skData(toSign("git", text), 1))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := ssh.Marshal(struct {
		Kind    string
		Sig     []byte
		Flags   byte
		Counter uint32
	}{kind, ssh.Marshal(struct{ R, S *big.Int }{r, s}), 1, 7})
	return sshsig(blob, "git", "sha512", sig)
}

// What ssh-keygen does not make.
func TestSSHForged(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const text = "tree\n"
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	blob := signer.PublicKey().Marshal()
	line := "alice@example.com " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + "\n"
	sig := ssh.Marshal(struct {
		Kind string
		Sig  []byte
	}{"ssh-ed25519", ed25519.Sign(key, toSign("git", text))})
	rsaKey := d.sshKey("rsa", "-t", "rsa", "-b", "2048")
	rsaSigner, err := ssh.ParsePrivateKey([]byte(d.read(rsaKey)))
	if err != nil {
		t.Fatal(err)
	}
	sha1, err := rsaSigner.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, toSign("git", text), ssh.KeyAlgoRSA)
	if err != nil {
		t.Fatal(err)
	}
	line += "alice@example.com " + d.pub(rsaKey) + "\n"
	good := sshsig(blob, "git", "sha512", sig)
	flipped := append([]byte{}, sig...)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		sig  string
		rule trust.Rule
	}{
		"good":                {good, ""},
		"no line end":         {strings.TrimSuffix(good, "\n"), ""},
		"flipped":             {sshsig(blob, "git", "sha512", flipped), trust.BadSignature},
		"other namespace":     {sshsig(blob, "file", "sha512", sig), trust.WrongNamespace},
		"no namespace":        {sshsig(blob, "", "sha512", sig), trust.WrongNamespace},
		"namespace and more":  {sshsig(blob, "git\x00", "sha512", sig), trust.WrongNamespace},
		"another hash":        {sshsig(blob, "git", "sha256", sig), trust.BadSignature},
		"no hash":             {sshsig(blob, "git", "md5", sig), trust.MalformedSignature},
		"SHA-1":               {sshsig(rsaSigner.PublicKey().Marshal(), "git", "sha512", ssh.Marshal(sha1)), trust.WeakSignature},
		"key of another":      {sshsig(rsaSigner.PublicKey().Marshal(), "git", "sha512", sig), trust.BadSignature},
		"more in the value":   {sshsig(blob, "git", "sha512", append(sig[:len(sig):len(sig)], 0)), trust.MalformedSignature},
		"more in the key":     {sshsig(append(blob[:len(blob):len(blob)], 0), "git", "sha512", sig), trust.MalformedSignature},
		"cut off":             {good[:len(good)/2], trust.MalformedSignature},
		"text before":         {" " + good, trust.MalformedSignature},
		"text behind":         {good + "x", trust.MalformedSignature},
		"twice":               {good + good, trust.MalformedSignature},
		"lines of other ends": {strings.ReplaceAll(good, "\n", "\r\n"), trust.MalformedSignature},
		"very long":           {strings.Replace(good, "\n", "\n"+strings.Repeat("AAAA\n", 20000), 1), trust.MalformedSignature},
		"version 2":           {strings.Replace(good, base64.StdEncoding.EncodeToString([]byte("SSHSIG\x00\x00\x00")), base64.StdEncoding.EncodeToString([]byte("SSHSIG\x00\x00\x01")), 1), trust.MalformedSignature},
	} {
		rule, err := trust.SSH([]byte(line), watch.Person{Email: "alice@example.com", At: day}, []byte(c.sig), []byte(text))
		if err != nil || rule != c.rule {
			t.Errorf("%s: got %q, %v, want %q", name, rule, err, c.rule)
		}
	}
}

func TestBrokenSigners(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	key := d.pub(d.sshKey("k", "-t", "ed25519"))
	for name, c := range map[string]struct{ text, place, says string }{
		"not an option":  {"# keys\nalice@example.com no-pty " + key, ":2:19", `neither an option nor a key: "no-pty"`},
		"no quotes":      {"alice@example.com namespaces=git " + key, ":1:19", `expected namespaces="…"`},
		"second option":  {`alice@example.com namespaces="git",valid-before="soon" ` + key, ":1:36", `"soon" is no time, expected YYYYMMDD`},
		"no key":         {"alice@example.com", ":1:18", "no key, expected a type and base64"},
		"no base64":      {"alice@example.com ssh-ed25519 ~~~", ":1:19", "no base64"},
		"cut off":        {"alice@example.com " + key + "\nbob@example.com " + key[:52], ":2:17", "no key of a kind that is known"},
		"quote":          {`  "alice@example.com ` + key, ":1:3", "a quote is not closed"},
		"crossed":        {`a valid-after="20270101",valid-before="20260101" ` + key, ":1:50", "valid-before is not after valid-after"},
		"key of a human": {"alice@example.com " + key + "\nhello world", ":2:7", `neither an option nor a key: "world"`},
	} {
		path := d.file(strings.ReplaceAll(name, " ", "-"), c.text+"\n")
		_, err := trust.Load(trust.Options{Signers: path, Zone: time.UTC})
		var f *trust.FileError
		if !errors.As(err, &f) || !strings.HasPrefix(err.Error(), path+c.place+": ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %s: … %s", name, err, c.place, c.says)
		}
	}
	if _, err := trust.Load(trust.Options{Signers: d.keys + "/nowhere"}); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := trust.Load(trust.Options{}); err == nil {
		t.Error("no file of keys is a policy")
	}
}

func TestZones(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.file("signers", `alice@example.com valid-before="20260501130000" `+c.pub(c.alice.ssh)+"\n")
	for hours, good := range map[int]bool{0: true, 1: true, 2: false, -5: true} { // 13:00 at +02:00 is 11:00 in UTC
		o := trust.Options{Signers: c.signers, Zone: time.FixedZone("", hours*3600)}
		if err := c.verify(o, ""); (err == nil) != good {
			t.Errorf("at %+d: %v", hours, err)
		}
	}
}

// The files are read again when they changed; a broken one is an error, and never lets anything in.
func TestKeysAreReadAgain(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	p, err := trust.Load(trust.Options{Signers: c.signers})
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Required(); !strings.Contains(s, "2 lines of "+c.signers) {
		t.Error(s)
	}
	ask := func() error {
		h, err := c.history("", "main")
		if err != nil {
			t.Fatal(err)
		}
		return p.Verify(t.Context(), h)
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	good := c.read(c.signers)
	at, err := os.Stat(c.signers)
	if err != nil {
		t.Fatal(err)
	}
	// As long as before, and with its time.
	c.file("signers", strings.Replace(good, "alice@", "malte@", 1))
	if err := os.Chtimes(c.signers, at.ModTime(), at.ModTime()); err != nil {
		t.Fatal(err)
	}
	refused(t, ask(), trust.CommitterNotAllowed, c.first, "Alice")
	c.file("signers", good+"garbage\n")
	var f *trust.FileError
	if err := ask(); !errors.As(err, &f) || f.Line != 3 || f.Reason() != "KeysUnreadable" {
		t.Errorf("a broken file: %v", err)
	}
	if s := p.Required(); !strings.Contains(s, "nothing can be trusted") || !strings.Contains(s, ":3:") {
		t.Error(s)
	}
	if err := os.Remove(c.signers); err != nil {
		t.Fatal(err)
	}
	if err := ask(); !errors.As(err, &f) {
		t.Errorf("a file that is gone: %v", err)
	}
	c.file("signers", "")
	refused(t, ask(), trust.KeyNotAllowed, c.first, "Alice")
	c.file("signers", good)
	if err := ask(); err != nil {
		t.Error(err)
	}
}

// TestAsGit compares with git verify-commit on real commits, whose committers are those of their keys.
func TestAsGit(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.commit(c.bob)
	c.commit(c.mallory)
	old := c.alice
	old.at = day.AddDate(-1, 0, 0)
	c.commit(old)
	text, sig := c.parts(c.commit(c.alice))
	c.raw(withHeader(text+"more\n", sig))
	c.raw(withHeader(text, folded(c.sign(c.alice, "file", text))))
	c.raw(withHeader(text, folded(c.sign(c.bob, "git", text+"x"))))
	plain := c.alice
	plain.ssh = ""
	c.commit(plain)
	c.file("signers", `alice@example.com valid-after="20260101Z" `+c.pub(c.alice.ssh)+"\nbob@example.com "+c.pub(c.bob.ssh)+"\n")
	asked, good := 0, 0
	for id := range strings.FieldsSeq(c.git("log", "--format=%H", "--reflog", "--all")) {
		_, gitErr := c.try(nil, nil, "git", "-c", "gpg.ssh.allowedSignersFile="+c.signers, "verify-commit", id)
		h, err := c.history("", id)
		if err != nil {
			t.Fatal(err)
		}
		p, err := trust.Load(trust.Options{Signers: c.signers, Zone: time.UTC})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Verify(t.Context(), h)
		asked++
		if err == nil {
			good++
		}
		if (err == nil) != (gitErr == nil) {
			t.Errorf("%s: we say %v, git verify-commit says %v", id, err, gitErr)
		}
	}
	if asked < 7 || good < 2 {
		t.Errorf("%d commits, %d good: the comparison says little", asked, good)
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	if !trust.Match("", "") || !trust.Match("", "*") || trust.Match("a", "") || !trust.Match("ab", "*?b*") || trust.Match("b", "?b") || trust.Match("", "?") {
		t.Error("patterns")
	}
	start := time.Now()
	trust.Match(strings.Repeat("a", 1000), strings.Repeat("*a", 500)+"b")
	if d := time.Since(start); d > time.Minute { // one that tries all ways takes for ever
		t.Errorf("a pattern took %s", d)
	}
}
