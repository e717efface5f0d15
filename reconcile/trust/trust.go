// Package trust decides whether commits were made by people whose keys an operator allowed.
//
// It fetches nothing and moves nothing: whoever follows a repository asks it before a new head is taken. What it does not
// know is refused; a file of keys that cannot be read is an error, and never means that something is allowed. It
// looks at no revocation lists of X.509 (docs/decisions/0018).
package trust

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
)

// Rule is why something was refused, a word that scripts may rely on.
type Rule string

// The rules, in the order in which they are looked at.
const (
	Unsigned            Rule = "unsigned"
	Unsupported         Rule = "unsupported-signature" // of a kind whose keys are not given, or that is not known
	MalformedSignature  Rule = "malformed-signature"   // more or less than one signature, or garbage around it
	WrongNamespace      Rule = "wrong-namespace"       // an SSH signature that was made for something else than Git
	WeakSignature       Rule = "weak-signature"        // SHA-1, RSA under 2048 bits, DSA
	KeyNotAllowed       Rule = "key-not-allowed"
	BadSignature        Rule = "bad-signature" // it is over something else, or forged
	KeyUsage            Rule = "key-usage"     // the key may not sign
	KeyRevoked          Rule = "key-revoked"
	KeyNotYetValid      Rule = "key-not-yet-valid"
	KeyExpired          Rule = "key-expired"
	SignatureExpired    Rule = "signature-expired"     // OpenPGP signatures can have an end of their own
	CommitterNotAllowed Rule = "committer-not-allowed" // the key is allowed, under other e-mail addresses
	WrongTime           Rule = "wrong-time"            // a time that would let a key count when it does not
	UnsignedTag         Rule = "unsigned-tag"          // the ref is a tag without a message, or without a signature
	WrongTag            Rule = "wrong-tag"             // the tag was made under another name, or for something else
	SinceNotReached     Rule = "since-not-reached"     // the head does not descend from Options.Since
)

// hints are what to do about a refusal.
var hints = map[Rule]string{
	Unsigned:            "if it is yours, sign it: git commit --amend -S, or git rebase --exec 'git commit --amend --no-edit -S' for more than one (git config commit.gpgsign true signs all that follow); otherwise take it off the branch, and find out who pushed it",
	Unsupported:         "sign with an SSH key (git config gpg.format ssh) that --trust-signers lists, an OpenPGP key that --trust-openpgp holds, or an X.509 certificate (git config gpg.format x509) of an authority in --trust-x509",
	MalformedSignature:  "make the commit again with git commit -S",
	WrongNamespace:      `sign with git itself, which uses the namespace "git"`,
	WeakSignature:       "sign with an ed25519, ECDSA or RSA key of 2048 bits or more, and SHA-256 or SHA-512",
	KeyNotAllowed:       "if its owner may change what is served, add the key, or its authority, to the file of allowed keys; otherwise find out who pushed it",
	BadSignature:        "what was signed is not what is in the repository: find out who changed it, and have its author sign it again",
	KeyUsage:            "sign with a key, or a subkey, that is made for signing",
	KeyRevoked:          "sign again with a key that is not revoked",
	KeyNotYetValid:      "check valid-after of the key, and the clock of the host that committed",
	KeyExpired:          "prolong the key where it is allowed, or sign again with one that is valid",
	SignatureExpired:    "sign again, without an end",
	CommitterNotAllowed: "commit under an address of the key (git config user.email), or add the address to the key where it is allowed",
	WrongTime:           "check the clock of the host that committed, and commit again",
	UnsignedTag:         "make the tag with git tag -s",
	WrongTag:            "make a tag of its own with git tag -s; nobody but who moved it knows why it is where it is",
	SinceNotReached:     "check --verify-since, and --ref",
}

// Refused says that a commit, or the tag that names it, is not to be trusted.
type Refused struct {
	Commit string // hash
	Tag    string // its name, when the tag is what is refused
	Author string // of the commit, or tagger, as "Name <e-mail>"; whatever a stranger wrote, fit to be shown
	Key    string // that signed, when it is known: SHA256:… of an SSH key, the fingerprint of an OpenPGP key or, by SHA-256, of an X.509 certificate
	Rule   Rule
	Detail string
}

func (r *Refused) Error() string {
	what := "commit " + r.Commit
	if r.Tag != "" {
		what = "tag " + strconv.Quote(r.Tag) + " of commit " + r.Commit
	}
	return what + " by " + r.Author + ": " + r.Detail + " [" + string(r.Rule) + "]; " + hints[r.Rule]
}

// Reason is the word for conditions and events.
func (r *Refused) Reason() string { return "Untrusted" }

// FileError says that a file of keys cannot be used. Nothing is trusted until it can.
type FileError struct {
	File         string
	Line, Column int // 1-based; 0: of the file as a whole
	Message      string
	Err          error // nil: none beneath
}

func (e *FileError) Error() string {
	s := e.File
	if e.Line > 0 {
		s += ":" + strconv.Itoa(e.Line)
		if e.Column > 0 {
			s += ":" + strconv.Itoa(e.Column)
		}
	}
	return s + ": " + e.Message
}

// Unwrap is the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Reason is the word for conditions and events.
func (e *FileError) Reason() string { return "KeysUnreadable" }

// Options say who is trusted. One of Signers, OpenPGP and X509 must be given.
type Options struct {
	Signers string // file of SSH keys as ALLOWED SIGNERS of ssh-keygen(1) has it; "": no SSH signature counts
	OpenPGP string // file of OpenPGP public keys, armoured or not; "": no OpenPGP signature counts
	X509    string // file of certificates of authorities, as PEM, whose signers count; "": no X.509 signature counts
	Since   string // hash of a commit that is trusted by name, with all that it reaches; "": without a head that was taken before, the head alone is verified
	Tagged  bool   // the head is named by a tag, which must be signed too

	Zone *time.Location   // of times in Signers that name none; nil: the host's
	Now  func() time.Time // nil: time.Now
}

// Policy is who is trusted. It may be used by many at once.
type Policy struct {
	o Options

	mu      sync.Mutex
	signers cached[[]signer]
	openpgp cached[keyring]
	x509    cached[*authorities]
}

// skew is how far the clocks of hosts may be apart.
const skew = time.Hour

// Load reads the files of keys. A *FileError says what is wrong with one.
func Load(o Options) (*Policy, error) {
	if o.Signers == "" && o.OpenPGP == "" && o.X509 == "" {
		return nil, fmt.Errorf("no file of keys is given")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	p := &Policy{o: o}
	_, err := p.keys()
	return p, err
}

// keys are the allowed keys at one time.
type keys struct {
	signers     []signer
	openpgp     keyring
	authorities *authorities
}

// keys reads the files again where they changed.
func (p *Policy) keys() (k keys, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.Signers != "" {
		k.signers, err = p.signers.read(p.o.Signers, func(b []byte) ([]signer, error) { return parseSigners(p.o.Signers, b, p.o.Zone) })
		if err != nil {
			return k, err
		}
	}
	if p.o.OpenPGP != "" {
		k.openpgp, err = p.openpgp.read(p.o.OpenPGP, func(b []byte) (keyring, error) { return parseKeyring(p.o.OpenPGP, b) })
		if err != nil {
			return k, err
		}
	}
	if p.o.X509 != "" {
		k.authorities, err = p.x509.read(p.o.X509, func(b []byte) (*authorities, error) { return parseAuthorities(p.o.X509, b) })
	}
	return k, err
}

// Required says in a few words what a revision needs to be taken, or why none can be.
func (p *Policy) Required() string {
	k, err := p.keys()
	if err != nil {
		return "nothing can be trusted: " + err.Error()
	}
	var from []string
	if p.o.Signers != "" {
		from = append(from, counted(len(k.signers), "line")+" of "+p.o.Signers)
	}
	if p.o.OpenPGP != "" {
		from = append(from, counted(len(k.openpgp), "OpenPGP key")+" of "+p.o.OpenPGP)
	}
	with := ""
	if len(from) > 0 {
		with = "in " + strings.Join(from, " or ")
	}
	if p.o.X509 != "" {
		if with != "" {
			with += ", or "
		}
		with += "certified by " + counted(k.authorities.n, "X.509 root") + " of " + p.o.X509
	}
	what := "every commit"
	if p.o.Tagged {
		what += ", and the tag,"
	}
	s := what + " signed by its committer with a key " + with
	if p.o.Since != "" {
		s += ", since " + p.o.Since
	}
	return s
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// Verify says whether a new head may be taken: nil, a *Refused that names the first commit that may not, a *FileError, or
// that history could not be read. All that came since the head that was taken before is verified, by all parents, but for what
// Options.Since reaches; without a head before, the head alone, or what came since Options.Since. Of a head that is older than
// the one before, itself.
func (p *Policy) Verify(ctx context.Context, h watch.History) error {
	keys, err := p.keys()
	if err != nil {
		return err
	}
	v := verifier{keys: keys, now: p.o.Now(), times: map[string]time.Time{}, look: h.Look}
	if p.o.Tagged || h.Tag != nil {
		if err := v.tag(h); err != nil {
			return err
		}
	}
	if h.Older { // nothing came since: what is gone back to stands for itself
		if h.Head.ID == p.o.Since {
			return nil
		}
		return v.commit(h.Head)
	}
	commits, since := h.Commits, h.Since
	var vouched map[string]bool
	if since == "" {
		if p.o.Since == "" {
			v.first = true
			return v.commit(h.Head)
		}
		since = p.o.Since
		if _, err := h.Look(since); err != nil && !watch.Missing(err) {
			return unread(ctx, err)
		} else if err != nil {
			return &Refused{Commit: h.Head.ID, Author: person(h.Head.Author), Rule: SinceNotReached, Detail: "there is no commit " + diag.Visible(since) + " in what it descends from"}
		}
		commits = func() iter.Seq2[watch.Commit, error] { return h.From(since) }
	} else if vouched, err = p.vouched(ctx, commits); err != nil {
		return err
	}
	head, descends := h.Head.ID == since, h.Head.ID == since || h.Rewrite
	for c, err := range commits() {
		if err := unread(ctx, err); err != nil {
			return err
		}
		head, descends = head || c.ID == h.Head.ID, descends || slices.Contains(c.Parents, since)
		if vouched[c.ID] {
			continue
		}
		if err := v.commit(c); err != nil {
			return err
		}
	}
	switch {
	case !head && h.Since != "":
		return fmt.Errorf("commits to verify: %s, which is to be taken, is not among them", h.Head.ID) // whoever walks history is wrong
	case !head, !descends: // of --verify-since the head may be an ancestor
		return &Refused{Commit: h.Head.ID, Author: person(h.Head.Author), Rule: SinceNotReached, Detail: "it does not descend from " + diag.Visible(since)}
	}
	return nil
}

func unread(ctx context.Context, err error) error {
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("commits to verify: %w", err)
	}
	return nil
}

// vouched are the commits of a range that Options.Since reaches, itself among them: an operator named it, so its hash is as good
// as a signature. Without it in the range there are none.
func (p *Policy) vouched(ctx context.Context, commits func() iter.Seq2[watch.Commit, error]) (map[string]bool, error) {
	if p.o.Since == "" {
		return nil, nil
	}
	parents := map[string][]string{}
	for c, err := range commits() {
		if err := unread(ctx, err); err != nil {
			return nil, err
		}
		parents[c.ID] = c.Parents
	}
	found := map[string]bool{}
	for queue := []string{p.o.Since}; len(queue) > 0; queue = queue[1:] {
		if of, ok := parents[queue[0]]; ok && !found[queue[0]] {
			found[queue[0]] = true
			queue = append(queue, of...)
		}
	}
	return found, nil
}

// verifier verifies one range.
type verifier struct {
	keys
	now   time.Time
	times map[string]time.Time // of commits, by hash
	look  func(id string) (watch.Commit, error)
	first bool // the very first head is verified alone: its parents need not be there
}

// signed is something that somebody signed.
type signed struct {
	by        watch.Person // whom the key must belong to
	signature []byte
	over      []byte
}

// verdict is what a signature turned out to be.
type verdict struct {
	rule   Rule // "": it is good
	detail string
	key    string
	at     time.Time // the time at which the key was looked at
	ends   bool      // the key has an end: an older time would let it count for longer
}

func refuse(rule Rule, format string, args ...any) verdict {
	return verdict{rule: rule, detail: fmt.Sprintf(format, args...)}
}

// signature verifies one signature.
func (v *verifier) signature(s signed) verdict {
	switch kind := firstLine(s.signature); kind {
	case sshBegin:
		if v.signers == nil {
			return refuse(Unsupported, "it has an SSH signature, and no SSH keys are allowed")
		}
		return v.ssh(s)
	case pgpBegin:
		if v.openpgp == nil {
			return refuse(Unsupported, "it has an OpenPGP signature, and no OpenPGP keys are allowed")
		}
		return v.pgp(s)
	case x509Begin:
		if v.authorities == nil {
			return refuse(Unsupported, "it has an X.509 signature, and no X.509 authorities are allowed")
		}
		return v.x509(s)
	case "-----BEGIN PKCS7-----", "-----BEGIN CMS-----":
		return refuse(Unsupported, "it has an X.509 signature in an armour that Git does not know, expected %s", x509Begin)
	default:
		return refuse(MalformedSignature, "its signature begins with %.60q", kind)
	}
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(line)
}

func (v *verifier) commit(c watch.Commit) error {
	v.times[c.ID] = c.Committer.At
	var d verdict
	if c.Twice {
		d = refuse(MalformedSignature, "it has two signatures, and one is expected")
	} else if len(c.Signature) == 0 {
		d = refuse(Unsigned, "it is not signed")
	} else {
		d = v.signature(signed{c.Committer, c.Signature, c.Signed})
	}
	if d.rule == "" {
		var err error
		if d, err = v.time(d, c.Committer.At, c.Parents); err != nil {
			return err
		}
	}
	if d.rule == "" {
		return nil
	}
	if c.Author.Email != c.Committer.Email || c.Author.Name != c.Committer.Name {
		d.detail += ", committed by " + person(c.Committer)
	}
	return &Refused{Commit: c.ID, Author: person(c.Author), Key: d.key, Rule: d.rule, Detail: d.detail}
}

// time refuses times that would let a key count when it does not: in the future, or, by a key that has an end, before what
// the commit is based on. Who holds a key that ended can claim any time; they can not put a commit before its parents.
func (v *verifier) time(d verdict, at time.Time, parents []string) (verdict, error) {
	for _, t := range []time.Time{at, d.at} {
		if t.After(v.now.Add(skew)) {
			d.rule, d.detail = WrongTime, fmt.Sprintf("its time %s is in the future", stamp(t))
			return d, nil
		}
	}
	if !d.ends {
		return d, nil
	}
	for _, p := range parents {
		before, err := v.timeOf(p)
		if err != nil && v.first {
			continue
		}
		if err != nil {
			return d, fmt.Errorf("the time of the parent %.12s, which a commit must not be before: %w", p, err)
		}
		if d.at.Before(before.Add(-skew)) {
			d.rule, d.detail = WrongTime, fmt.Sprintf("its time %s is before that of its parent %.12s, %s, and its key %s has an end", stamp(d.at), p, stamp(before), d.key)
			return d, nil
		}
	}
	return d, nil
}

// timeOf is the time of a commit, in the range or right before it.
func (v *verifier) timeOf(id string) (time.Time, error) {
	if t, ok := v.times[id]; ok {
		return t, nil
	}
	c, err := v.look(id)
	if err != nil {
		return time.Time{}, err
	}
	v.times[id] = c.Committer.At
	return c.Committer.At, nil
}

func (v *verifier) tag(h watch.History) error {
	refused := func(d verdict, by watch.Person, name string) error {
		return &Refused{Commit: h.Head.ID, Tag: diag.Visible(name), Author: person(by), Key: d.key, Rule: d.rule, Detail: d.detail}
	}
	t := h.Tag
	if t == nil {
		return refused(refuse(UnsignedTag, "it has no message, and no signature"), h.Head.Author, h.Ref)
	}
	var d verdict
	switch name := strings.TrimPrefix(h.Ref, "refs/tags/"); {
	case len(t.Signature) == 0:
		d = refuse(UnsignedTag, "it is not signed")
	case t.Commit != h.Head.ID:
		d = refuse(WrongTag, "it was made for %s", t.Commit)
	case h.Ref != "" && t.Name != name:
		d = refuse(WrongTag, "the tag object says %q, the ref is %q", diag.Visible(t.Name), diag.Visible(name))
	default:
		d = v.signature(signed{t.Tagger, t.Signature, t.Signed})
	}
	if d.rule == "" {
		d, _ = v.time(d, t.Tagger.At, nil) // without parents, nothing is read
	}
	if d.rule == "" {
		return nil
	}
	return refused(d, t.Tagger, t.Name)
}

// person is somebody as they may be shown.
func person(p watch.Person) string {
	s := diag.Visible(p.String())
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	if s == "" {
		return "nobody"
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
