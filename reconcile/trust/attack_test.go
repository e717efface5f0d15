package trust_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/trust"
)

// cast are the people of the suite: Alice and Bob may change what is served, Mallory may not.
type cast struct {
	*desk
	alice, bob, mallory who
	signers             string
	first               string // the commit that was taken before
}

func newCast(t *testing.T) *cast {
	t.Helper()
	d := newDesk(t)
	c := &cast{desk: d,
		alice:   who{name: "Alice", mail: "alice@example.com", ssh: d.sshKey("alice", "-t", "ed25519")},
		bob:     who{name: "Bob", mail: "bob@example.com", ssh: d.sshKey("bob", "-t", "ecdsa")},
		mallory: who{name: "Mallory", mail: "mallory@example.com", ssh: d.sshKey("mallory", "-t", "ed25519")},
	}
	c.signers = d.file("signers", "alice@example.com namespaces=\"git\" "+d.pub(c.alice.ssh)+"\nbob@example.com "+d.pub(c.bob.ssh)+"\n")
	c.first = d.commit(c.alice)
	return c
}

// refused wants a refusal of one commit by one rule, with its author in it.
func refused(t *testing.T, err error, rule trust.Rule, commit, author string) *trust.Refused {
	t.Helper()
	var r *trust.Refused
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal by %s", err, rule)
	}
	if r.Rule != rule || commit != "" && r.Commit != commit {
		t.Fatalf("got %v, want %s of %s", err, rule, commit)
	}
	if s := r.Error(); !strings.Contains(s, r.Commit) || !strings.Contains(s, author) || !strings.Contains(s, "["+string(rule)+"]; ") || r.Reason() != "Untrusted" {
		t.Errorf("the refusal does not name the commit, %q, the rule and what to do: %s", author, s)
	}
	return r
}

func TestSignedRangeIsTaken(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	if err := c.verify(trust.Options{Signers: c.signers}, ""); err != nil {
		t.Fatal(err)
	}
	c.commit(c.bob)
	c.git("checkout", "-q", "-b", "side", c.first)
	c.commit(c.alice)
	c.git("checkout", "-q", "main")
	alice := c.alice
	alice.at = day.Add(time.Minute)
	c.run(nil, alice.env(), "git", append(c.signing(alice), "merge", "-q", "-S", "--no-ff", "-m", "merge", "side")...)
	if err := c.verify(trust.Options{Signers: c.signers}, c.first); err != nil {
		t.Fatal(err)
	}
	// Somebody else may be the author.
	picked := c.alice
	picked.author = "Carol <carol@example.org>"
	c.commit(picked)
	if err := c.verify(trust.Options{Signers: c.signers}, c.first); err != nil {
		t.Fatal(err)
	}
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]func(t *testing.T, c *cast) (rule trust.Rule, commit, author string){
		"unsigned in the middle": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			m := c.mallory
			m.ssh = ""
			id := c.commit(m)
			c.commit(c.alice)
			return trust.Unsigned, id, "Mallory <mallory@example.com>"
		},
		"unsigned in a side branch that was merged": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			c.git("checkout", "-q", "-b", "side")
			m := c.mallory
			m.ssh = ""
			id := c.commit(m)
			c.commit(c.bob)
			c.git("checkout", "-q", "main")
			c.run(nil, c.alice.env(), "git", append(c.signing(c.alice), "merge", "-q", "-S", "--no-ff", "-m", "merge", "side")...)
			return trust.Unsigned, id, "Mallory"
		},
		"unsigned root that was merged": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			c.git("checkout", "-q", "--orphan", "other")
			m := c.mallory
			m.ssh = ""
			id := c.commit(m)
			c.git("checkout", "-q", "main")
			c.run(nil, c.alice.env(), "git", append(c.signing(c.alice), "merge", "-q", "-S", "--no-ff", "--allow-unrelated-histories", "-m", "merge", "other")...)
			return trust.Unsigned, id, "Mallory"
		},
		"key not allowed": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			return trust.KeyNotAllowed, c.commit(c.mallory), "Mallory"
		},
		"key not allowed, in another's name": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			m := c.alice
			m.ssh = c.mallory.ssh
			return trust.KeyNotAllowed, c.commit(m), "Alice"
		},
		"allowed key, in another's name": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			m := c.alice
			m.ssh = c.bob.ssh
			return trust.CommitterNotAllowed, c.commit(m), "Alice <alice@example.com>"
		},
		"committer who is not the author": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			m := c.mallory
			m.author = "Alice <alice@example.com>"
			return trust.KeyNotAllowed, c.commit(m), "committed by Mallory <mallory@example.com>"
		},
		"no committer's address": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, _ := c.parts(c.commit(c.alice))
			text = strings.Replace(text, "committer Alice <alice@example.com>", "committer Alice <>", 1)
			return trust.CommitterNotAllowed, c.raw(withHeader(text, folded(c.sign(c.alice, "git", text)))), "committed by Alice"
		},
		"signature of another commit": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			_, sig := c.parts(c.first)
			m := c.alice
			m.ssh = ""
			text, _ := c.parts(c.commit(m))
			return trust.BadSignature, c.raw(withHeader(text, sig)), "Alice"
		},
		"tampered tree": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			if err := os.WriteFile(filepath.Join(c.dir, "evil.yaml"), []byte("a: b\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			id := c.commit(c.alice)
			c.git("add", "evil.yaml")
			tree := c.git("write-tree")
			text := c.git("cat-file", "commit", id) + "\n"
			return trust.BadSignature, c.raw("tree " + tree + text[strings.IndexByte(text, '\n'):]), "Alice"
		},
		"other parents": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			id := c.commit(c.alice)
			m := c.mallory
			m.ssh = ""
			c.git("reset", "-q", "--hard", c.first)
			evil := c.commit(m)
			text := c.git("cat-file", "commit", id) + "\n"
			c.raw(strings.Replace(text, "parent "+c.first, "parent "+evil, 1))
			return trust.Unsigned, evil, "Mallory"
		},
		"message changed": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			return trust.BadSignature, c.raw(c.git("cat-file", "commit", c.commit(c.alice)) + "\nand more\n"), "Alice"
		},
		"header added": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			return trust.BadSignature, c.raw(withHeader(c.git("cat-file", "commit", c.commit(c.alice))+"\n", "encoding UTF-7\n")), "Alice"
		},
		"signed for a file": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, _ := c.parts(c.commit(c.alice))
			return trust.WrongNamespace, c.raw(withHeader(text, folded(c.sign(c.alice, "file", text)))), "Alice"
		},
		"garbage behind the signature": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, sig := c.parts(c.commit(c.alice))
			return trust.MalformedSignature, c.raw(withHeader(text, sig+" garbage\n")), "Alice"
		},
		"a second signature behind the first": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, sig := c.parts(c.commit(c.mallory))
			other := c.sign(c.alice, "git", "something else")
			return trust.MalformedSignature, c.raw(withHeader(text, folded(other)+strings.Replace(sig, "gpgsig ", " ", 1))), "Mallory"
		},
		"garbage within the signature": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, sig := c.parts(c.commit(c.alice))
			return trust.MalformedSignature, c.raw(withHeader(text, strings.Replace(sig, "\n ", "\n AAAA\n ", 1))), "Alice"
		},
		"an empty signature": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, _ := c.parts(c.commit(c.alice))
			return trust.MalformedSignature, c.raw(withHeader(text, "gpgsig \n")), "Alice"
		},
		"armour of X.509": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, _ := c.parts(c.commit(c.alice))
			return trust.Unsupported, c.raw(withHeader(text, folded("-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----\n"))), "Alice"
		},
		"armour of OpenPGP, without its keys": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			text, _ := c.parts(c.commit(c.alice))
			return trust.Unsupported, c.raw(withHeader(text, folded("-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"))), "Alice"
		},
		"a key of RSA that is too short": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			a := c.alice
			a.ssh = c.sshKey("short", "-t", "rsa", "-b", "1024")
			c.file("signers", "alice@example.com "+c.pub(a.ssh)+"\n")
			return trust.WeakSignature, c.commit(a), "Alice"
		},
		"expired key": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			c.file("signers", `alice@example.com valid-before="20260430Z" `+c.pub(c.alice.ssh)+"\n")
			return trust.KeyExpired, c.commit(c.alice), "Alice"
		},
		"expired key, dated back": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			c.file("signers", `alice@example.com valid-before="20260430Z" `+c.pub(c.alice.ssh)+"\n")
			a := c.alice
			a.at = day.AddDate(0, 0, -10)
			return trust.WrongTime, c.commit(a), "Alice"
		},
		"key that is valid later": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			c.file("signers", `alice@example.com valid-after="20260502Z" `+c.pub(c.alice.ssh)+"\n")
			return trust.KeyNotYetValid, c.commit(c.alice), "Alice"
		},
		"key that is valid later, dated ahead": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			c.file("signers", `alice@example.com valid-after="20260502Z" `+c.pub(c.alice.ssh)+"\n")
			a := c.alice
			a.at = day.AddDate(1, 0, 0)
			return trust.WrongTime, c.commit(a), "Alice"
		},
		"names that obey terminals": func(t *testing.T, c *cast) (trust.Rule, string, string) {
			m := c.mallory
			m.name = "Mal\x1b[2Jlory"
			return trust.KeyNotAllowed, c.commit(m), "Mal·[2Jlory"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCast(t)
			rule, commit, author := attack(t, c)
			o := trust.Options{Signers: c.signers, Zone: time.UTC, Now: func() time.Time { return day.AddDate(0, 0, 3) }}
			r := refused(t, c.verify(o, c.first), rule, commit, author)
			if strings.ContainsAny(r.Error(), "\x1b\n") {
				t.Errorf("not fit for a terminal: %q", r.Error())
			}
		})
	}
}

// What is no well-formed commit is not read at all, like one with a second committer.
func TestMalformedCommits(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *cast, text, sig string) string{
		"a second committer": func(c *cast, text, sig string) string {
			return withHeader(text, "committer Eve <eve@example.com> 1 +0000\n"+sig)
		},
		"a second tree": func(c *cast, text, sig string) string {
			return withHeader(text, text[:strings.IndexByte(text, '\n')+1]+sig)
		},
		"addresses in addresses": func(c *cast, text, sig string) string {
			return withHeader(strings.Replace(text, "committer Alice <alice@example.com>", "committer Alice <alice@example.com> <eve@example.com>", 1), sig)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCast(t)
			text, sig := c.parts(c.commit(c.alice))
			c.raw(change(c, text, sig))
			if err := c.verify(trust.Options{Signers: c.signers}, c.first); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestTwoSignatures(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *cast, text, sig string) string{
		"the same": func(c *cast, text, sig string) string { return withHeader(text, sig+sig) },
		"of two": func(c *cast, text, sig string) string {
			return withHeader(withHeader(text, sig), folded(c.sign(c.mallory, "git", text)))
		},
		"an empty one": func(c *cast, text, sig string) string { return withHeader(text, "gpgsig \n"+sig) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCast(t)
			text, sig := c.parts(c.commit(c.alice))
			id := c.raw(change(c, text, sig))
			refused(t, c.verify(trust.Options{Signers: c.signers}, c.first), trust.MalformedSignature, id, "Alice")
		})
	}
}

// Grafts and replacements are in nobody's signature.
func TestGraftsDoNotCount(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	m := c.mallory
	m.ssh = ""
	evil := c.commit(m)
	head := c.commit(c.alice)
	c.git("replace", "--graft", head, c.first) // git log does not show what is between any more
	if log := c.git("log", "--format=%H"); strings.Contains(log, evil) {
		t.Fatalf("the graft does not work: %s", log)
	}
	refused(t, c.verify(trust.Options{Signers: c.signers}, c.first), trust.Unsigned, evil, "Mallory")
	good := c.commit(c.alice)
	c.git("update-ref", "refs/replace/"+evil, good)
	refused(t, c.verify(trust.Options{Signers: c.signers}, c.first), trust.Unsigned, evil, "Mallory")
}

func TestSince(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	m := c.mallory
	m.ssh = ""
	old := c.commit(m)
	since := c.commit(m)
	c.commit(c.bob)
	head := c.commit(c.alice)
	o := trust.Options{Signers: c.signers}
	if err := c.verify(o, ""); err != nil {
		t.Errorf("the head alone: %v", err)
	}
	o.Since = since
	if err := c.verify(o, ""); err != nil {
		t.Errorf("since the last that was not signed: %v", err)
	}
	o.Since = old
	refused(t, c.verify(o, ""), trust.Unsigned, since, "Mallory")
	o.Since = head
	if err := c.verify(o, ""); err != nil {
		t.Errorf("since the head: %v", err)
	}
	// Somebody who cannot take a commit out of a branch can vouch for it, and for what is before it alone.
	o.Since = since
	if err := c.verify(o, c.first); err != nil {
		t.Errorf("since a commit that is named: %v", err)
	}
	o.Since = old
	refused(t, c.verify(o, c.first), trust.Unsigned, since, "Mallory")
	o.Since = c.first
	refused(t, c.verify(o, c.first), trust.Unsigned, old, "Mallory")
	c.git("checkout", "-q", "-b", "beside", since)
	o.Since = c.commit(c.alice) // main does not reach it
	c.git("checkout", "-q", "main")
	refused(t, c.verify(o, c.first), trust.Unsigned, old, "Mallory")
	c.git("reset", "-q", "--hard", c.first)
	c.commit(c.alice)
	o.Since = since
	if err := c.verify(o, ""); err == nil {
		t.Error("a head that does not descend from --verify-since was taken")
	} else {
		refused(t, err, trust.SinceNotReached, "", "Alice")
	}
	o.Since = strings.Repeat("0", 40)
	refused(t, c.verify(o, ""), trust.SinceNotReached, "", o.Since)
	c.git("reset", "-q", "--hard", c.first)
	o.Since = since // which descends from the head
	refused(t, c.verify(o, ""), trust.SinceNotReached, "", "Alice")
}

// sign signs a text with ssh-keygen.
func (d *desk) sign(w who, namespace, text string) string {
	d.t.Helper()
	return d.run([]byte(text), nil, "ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", w.ssh) + "\n"
}
