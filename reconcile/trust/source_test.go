package trust_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/trust"
	"github.com/flexgw/flexgw/reconcile/watch"
)

// follow follows the repository of a desk as the daemon does.
func (d *desk) follow(o trust.Options, ref string) *watch.GitSource {
	d.t.Helper()
	return d.followIn(filepath.Join(d.t.TempDir(), "git"), o, ref)
}

// followIn is follow with a store that an earlier process may have left.
func (d *desk) followIn(dir string, o trust.Options, ref string) *watch.GitSource {
	d.t.Helper()
	o.Tagged = strings.HasPrefix(ref, "tag:") || strings.HasPrefix(ref, "semver:")
	p, err := trust.Load(o)
	if err != nil {
		d.t.Fatal(err)
	}
	u, err := watch.ParseGitURL("file://" + d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	s, err := watch.Git(watch.GitOptions{URLs: []watch.GitURL{u}, Ref: ref, Dir: dir, Interval: time.Hour, Verify: p.Verify, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { s.Close() })
	return s
}

// look has the source look, and gives what it serves and why it took nothing.
func look(t *testing.T, s *watch.GitSource) (revision string, err error) {
	t.Helper()
	limit, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Look(limit); err != nil {
		t.Fatal(err)
	}
	set, err := s.Fetch(limit)
	return set.Revision, err
}

func (d *desk) declare(text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, "api.yaml"), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.git("add", ".")
}

// A forged head is refused, and again at each look, until somebody makes it right: by a key that is allowed, or by another head.
func TestSourceRefuses(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.declare("# 1\n")
	good := c.commit(c.alice)
	s := c.follow(trust.Options{Signers: c.signers}, "main")
	if got, err := look(t, s); got != good || err != nil {
		t.Fatal(got, err)
	}
	c.declare("# 2\n")
	evil := c.commit(c.mallory)
	later := c.commit(c.alice) // on top of it
	for range 2 {
		_, err := look(t, s)
		refused(t, err, trust.KeyNotAllowed, evil, "Mallory <mallory@example.com>")
		var g *watch.GitError
		if !errors.As(err, &g) || g.Reason() != "Untrusted" {
			t.Errorf("reason of %v", err)
		}
		if head, ok := g.Refused(); !ok || head == nil || head.ID != later {
			t.Errorf("refused head %v, %v", head, ok)
		}
	}
	allowed := c.read(c.signers)
	c.file("signers", allowed+"mallory@example.com "+c.pub(c.mallory.ssh)+"\n")
	if got, err := look(t, s); got != later || err != nil {
		t.Errorf("a key that is allowed meanwhile: %s, %v", got, err)
	}
	c.file("signers", "broken\n")
	c.declare("# 3\n")
	c.commit(c.alice)
	_, err := look(t, s)
	var f *trust.FileError
	var g *watch.GitError
	if !errors.As(err, &f) || !errors.As(err, &g) || g.Reason() != "KeysUnreadable" || !strings.Contains(err.Error(), c.signers+":1:") {
		t.Errorf("a broken file of keys: %v", err)
	}
	c.file("signers", allowed)
	if _, err := look(t, s); err != nil {
		t.Error(err)
	}
}

// tag makes a tag by git tag -s, or another one.
func (d *desk) tag(w who, name string, args ...string) {
	d.t.Helper()
	cmd := append(d.signing(w), "tag", "-m", name)
	if w.ssh != "" || w.pgp != "" {
		cmd = append(cmd, "-s")
	}
	d.run(nil, w.env(), "git", append(append(cmd, args...), name)...)
}

func TestTags(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		make func(c *cast)
		ref  string
		rule trust.Rule
		says string
	}{
		"signed":            {func(c *cast) { c.tag(c.bob, "v1.0.0") }, "tag:v1.0.0", "", ""},
		"signed, by range":  {func(c *cast) { c.tag(c.bob, "v1.0.0"); c.tag(c.mallory, "v0.9.0") }, "semver:^1", "", ""},
		"not signed":        {func(c *cast) { w := c.alice; w.ssh = ""; c.tag(w, "v1.0.0") }, "tag:v1.0.0", trust.UnsignedTag, "Alice"},
		"no message":        {func(c *cast) { c.git("tag", "v1.0.0") }, "tag:v1.0.0", trust.UnsignedTag, "v1.0.0"},
		"key not allowed":   {func(c *cast) { c.tag(c.mallory, "v1.0.0") }, "tag:v1.0.0", trust.KeyNotAllowed, "Mallory"},
		"in another's name": {func(c *cast) { w := c.alice; w.ssh = c.bob.ssh; c.tag(w, "v1.0.0") }, "tag:v1.0.0", trust.CommitterNotAllowed, "Alice"},
		"another's place": {func(c *cast) { // an old tag under a new name
			c.tag(c.bob, "v1.0.0")
			c.git("update-ref", "refs/tags/v2.0.0", c.git("rev-parse", "refs/tags/v1.0.0"))
		}, "tag:v2.0.0", trust.WrongTag, `the tag object says "v1.0.0", the ref is "v2.0.0"`},
		"another's place, by range": {func(c *cast) {
			c.tag(c.bob, "v1.0.0")
			c.git("update-ref", "refs/tags/v2.0.0", c.git("rev-parse", "refs/tags/v1.0.0"))
		}, "semver:>=1", trust.WrongTag, `the tag object says "v1.0.0", the ref is "v2.0.0"`},
		"a tag of a tag": {func(c *cast) {
			c.tag(c.bob, "v1.0.0")
			c.run(nil, c.bob.env(), "git", append(c.signing(c.bob), "tag", "-s", "-m", "nested", "v2.0.0", "v1.0.0")...)
		}, "tag:v2.0.0", trust.WrongTag, "Bob"},
		"commit of a stranger": {func(c *cast) { c.commit(c.mallory); c.tag(c.bob, "v1.0.0") }, "tag:v1.0.0", trust.KeyNotAllowed, "Mallory"},
		"text behind": {func(c *cast) {
			c.tag(c.bob, "v1.0.0")
			text := c.git("cat-file", "tag", "v1.0.0") + "\nand more\n"
			c.git("update-ref", "refs/tags/v1.0.0", c.run([]byte(text), nil, "git", "hash-object", "-t", "tag", "-w", "--stdin"))
		}, "tag:v1.0.0", trust.MalformedSignature, "Bob"},
		"moved": {func(c *cast) {
			c.tag(c.bob, "v1.0.0")
			text := c.git("cat-file", "tag", "v1.0.0") + "\n"
			text = "object " + c.commit(c.alice, "-m", "later") + text[strings.IndexByte(text, '\n'):]
			c.git("update-ref", "refs/tags/v1.0.0", c.run([]byte(text), nil, "git", "hash-object", "-t", "tag", "-w", "--stdin"))
		}, "tag:v1.0.0", trust.BadSignature, "Bob"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCast(t)
			c.declare("# 1\n")
			c.commit(c.alice)
			x.make(c)
			got, err := look(t, c.follow(trust.Options{Signers: c.signers}, x.ref))
			if x.rule != "" {
				refused(t, err, x.rule, "", x.says)
			} else if err != nil || got != c.git("rev-parse", "main") {
				t.Error(got, err)
			}
		})
	}
}

// An operator goes back to an older commit, once by name or by another ref: that commit is verified, and nothing else is new.
func TestAnOlderCommit(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.declare("# 0\n")
	nobody := c.alice
	nobody.ssh = ""
	unsigned := c.commit(nobody)
	var signed []string
	for _, text := range []string{"# 1\n", "# 2\n", "# 3\n"} {
		c.declare(text)
		signed = append(signed, c.commit(c.alice))
	}
	dir, o := filepath.Join(t.TempDir(), "git"), trust.Options{Signers: c.signers}
	s := c.followIn(dir, o, "main")
	serves := func(want string) {
		t.Helper()
		if got, err := look(t, s); err != nil || got != want {
			t.Fatalf("serves %s, %v, want %s", got, err, want)
		}
	}
	serves(signed[2])
	c.git("reset", "-q", "--hard", signed[1])
	_, err := look(t, s)
	var rewritten *watch.RewrittenError
	if !errors.As(err, &rewritten) || !rewritten.Older {
		t.Fatal(err)
	}
	allow := func(commit string) {
		t.Helper()
		if err := s.Allow(commit); err != nil {
			t.Fatal(err)
		}
	}
	allow(signed[1])
	serves(signed[1])
	c.git("reset", "-q", "--hard", unsigned)
	allow(unsigned)
	_, err = look(t, s)
	refused(t, err, trust.Unsigned, unsigned, "Alice")
	c.git("reset", "-q", "--hard", signed[2])
	serves(signed[2])
	s.Close()

	s = c.followIn(dir, o, "commit:"+signed[0])
	serves(signed[0])
	s.Close()
	s = c.followIn(dir, o, "commit:"+unsigned)
	_, err = look(t, s)
	refused(t, err, trust.Unsigned, unsigned, "if it is yours, sign it: ")
	s.Close()
	s = c.followIn(dir, o, "main")
	serves(signed[2])
	if _, err := s.FetchAt(t.Context(), signed[0]); err != nil {
		t.Errorf("what was gone back to, and verified: %v", err)
	}
	if _, err := s.FetchAt(t.Context(), unsigned); err == nil {
		t.Error("a commit before verification began is read")
	}
}

// Another --ref may lead anywhere: a flag said so. What it brings beside the one before is verified all the same.
func TestAnotherRefLeadsElsewhere(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.declare("# 1\n")
	base := c.commit(c.alice)
	c.declare("# 2\n")
	c.commit(c.alice)
	c.git("checkout", "-q", "-b", "other", base)
	c.declare("# 3\n")
	c.commit(c.bob)
	c.declare("# 4\n")
	other := c.commit(c.alice)
	c.git("checkout", "-q", "-b", "evil", base)
	c.declare("# 5\n")
	evil := c.commit(c.mallory)
	c.declare("# 6\n")
	onEvil := c.commit(c.alice)
	o := trust.Options{Signers: c.signers}
	for _, x := range []struct{ ref, want string }{{"other", other}, {"commit:" + other, other}, {"evil", ""}, {"commit:" + onEvil, ""}} {
		for _, store := range []string{"kept", "lost"} {
			t.Run(x.ref+" "+store, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "git")
				s := c.followIn(dir, o, "main")
				if _, err := look(t, s); err != nil {
					t.Fatal(err)
				}
				s.Close()
				if store == "lost" {
					if err := os.RemoveAll(dir); err != nil {
						t.Fatal(err)
					}
				}
				s = c.followIn(dir, o, x.ref)
				got, err := look(t, s)
				if store == "lost" && x.want == "" { // its head alone is verified, as the very first is, and nothing before it is taken for verified
					if err != nil || got != onEvil {
						t.Fatalf("serves %s, %v, want %s", got, err, onEvil)
					}
					if set, err := s.FetchAt(t.Context(), evil); err == nil {
						t.Errorf("%s is read, which nobody verified", set.Revision)
					}
					return
				}
				if x.want == "" {
					refused(t, err, trust.KeyNotAllowed, evil, "Mallory")
				} else if err != nil || got != x.want {
					t.Errorf("serves %s, %v, want %s", got, err, x.want)
				}
			})
		}
	}
}

// What a look at a repository says of a --verify-since that it has not is not that the remote held something back.
func TestSinceThatIsNowhere(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.declare("# 1\n")
	c.commit(c.alice)
	s := c.follow(trust.Options{Signers: c.signers, Since: strings.Repeat("1", 40)}, "main")
	for range 2 {
		_, err := look(t, s)
		refused(t, err, trust.SinceNotReached, "", strings.Repeat("1", 40))
	}
}

func TestSourceOverTime(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.declare("# 1\n")
	c.commit(c.alice)
	// Keys that ended: what was committed before stays good, what is dated back behind the last commit does not.
	c.file("signers", `alice@example.com valid-before="20260502Z" `+c.pub(c.alice.ssh)+"\nbob@example.com "+c.pub(c.bob.ssh)+"\n")
	s := c.follow(trust.Options{Signers: c.signers, Zone: time.UTC}, "")
	if _, err := look(t, s); err != nil {
		t.Fatal(err)
	}
	bob := c.bob
	bob.at = day.AddDate(0, 0, 10)
	c.commit(bob)
	if _, err := look(t, s); err != nil {
		t.Fatal(err)
	}
	evil := c.commit(c.alice) // dated before Bob's
	_, err := look(t, s)
	refused(t, err, trust.WrongTime, evil, "Alice")
	c.git("reset", "-q", "--hard", "HEAD~1")
	late := c.alice
	late.at = day.AddDate(0, 0, 11)
	evil = c.commit(late)
	_, err = look(t, s)
	refused(t, err, trust.KeyExpired, evil, "("+c.signers+":1)") // which line to look at
}

// A parent whose time cannot be read stops what is based on it; only the very first head, which is verified alone, may lack it.
func TestUnreadableParent(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.declare("# 1\n")
	parent := c.commit(c.alice)
	c.declare("# 2\n")
	c.commit(c.alice)
	c.file("signers", `alice@example.com valid-before="20270502Z" `+c.pub(c.alice.ssh)+"\n")
	p, err := trust.Load(trust.Options{Signers: c.signers, Zone: time.UTC, Now: func() time.Time { return day.AddDate(0, 1, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	for since, want := range map[string]error{"": nil, parent: gone} {
		h, err := c.history(since, "main")
		if err != nil {
			t.Fatal(err)
		}
		h.Look = func(string) (watch.Commit, error) { return watch.Commit{}, gone }
		if err := p.Verify(t.Context(), h); !errors.Is(err, want) {
			t.Errorf("since %q: %v", since, err)
		}
	}
}

func TestPageHasEveryRule(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range trust.Rules() {
		if !strings.Contains(string(page), "`"+string(r)+"`") {
			t.Errorf("docs/gitops.md says nothing about the rule %s", r)
		}
	}
}
