package watch_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// signing has a repository sign with a new SSH key, and is the key's public half.
func (r *repo) signing() string {
	r.t.Helper()
	key := filepath.Join(r.t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key).CombinedOutput(); err != nil {
		r.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingKey", key)
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		r.t.Fatal(err)
	}
	return string(pub)
}

// verify has ssh-keygen judge a signature, as git would.
func (r *repo) verify(public string, signed, signature []byte) error {
	r.t.Helper()
	dir := r.t.TempDir()
	for name, b := range map[string][]byte{"allowed": []byte("* " + public), "signature": signature} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", filepath.Join(dir, "allowed"), "-I", "a@example.org", "-n", "git", "-s", filepath.Join(dir, "signature"))
	cmd.Stdin = strings.NewReader(string(signed))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestACommitAsItsBytesHaveIt(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	public := r.signing()
	r.write("a.yaml", "1")
	first := r.commit("first\n\nwith a body")
	r.write("a.yaml", "2")
	r.git("add", "-A")
	r.git("commit", "-q", "-S", "-m", "second, signed")
	r.git("tag", "-s", "-m", "release\n\nnotes", "v1.0.0")
	r.git("tag", "light")

	repo := r.open("")
	c, err := repo.Commit("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != r.git("rev-parse", "HEAD") || !slices.Equal(c.Parents, []string{first}) || c.Message != "second, signed\n" || c.Author.String() != "a <a@example.org>" {
		t.Errorf("got %+v", c)
	}
	if want := r.git("log", "-1", "--format=%cI"); c.Committer.At.Format(time.RFC3339) != strings.Replace(want, "+00:00", "Z", 1) {
		t.Errorf("committed at %s, want %s", c.Committer.At.Format(time.RFC3339), want)
	}
	if err := r.verify(public, c.Signed, c.Signature); err != nil {
		t.Errorf("the signature is not over Signed: %v", err)
	}
	if err := r.verify(public, append([]byte("x"), c.Signed...), c.Signature); err == nil {
		t.Error("a signature over something else was taken: this test can not fail")
	}
	if c, err = repo.Commit("HEAD^"); err != nil || c.Signature != nil || c.Subject() != "first" || c.Message != "first\n\nwith a body\n" {
		t.Errorf("got %+v, %v", c, err)
	}

	tag, err := watch.ReadTag(repo, r.git("rev-parse", "v1.0.0"))
	if err != nil || tag == nil {
		t.Fatal(tag, err)
	}
	if tag.Name != "v1.0.0" || tag.Commit != r.git("rev-parse", "HEAD") || tag.Message != "release\n\nnotes\n" || tag.Tagger.Email != "a@example.org" {
		t.Errorf("got %+v", tag)
	}
	if err := r.verify(public, tag.Signed, tag.Signature); err != nil {
		t.Errorf("the signature is not over Signed: %v", err)
	}
	if tag, err := watch.ReadTag(repo, r.git("rev-parse", "light")); tag != nil || err != nil {
		t.Errorf("a light tag is an annotated one: %+v, %v", tag, err)
	}
}

// TestABrokenCommitIsNoCommit: two readers must not see two things in it.
func TestABrokenCommitIsNoCommit(t *testing.T) {
	t.Parallel()
	const tree, who = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n", "a <a@example.org> 1700000000 +0100\n"
	const whole = tree + "author " + who + "committer " + who
	const parent = "parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
	if c, err := watch.ParseCommit([]byte(whole + "gpgsig -----BEGIN X\n \n abc\n -----END X\nencoding x\n\nm\n")); err != nil || string(c.Signature) != "-----BEGIN X\n\nabc\n-----END X\n" || string(c.Signed) != whole+"encoding x\n\nm\n" {
		t.Errorf("got %q %q, %v", c.Signature, c.Signed, err)
	}
	for _, more := range []string{"", "gpgsig c\n"} {
		if c, err := watch.ParseCommit([]byte(whole + "gpgsig a\ngpgsig b\n" + more + "\nm")); err != nil || !c.Twice || c.Signature == nil || len(c.Signature) > 0 {
			t.Errorf("two signatures: got %+v, %v", c, err)
		}
	}
	for want, b := range map[string]string{
		"its head does not end":                     "tree",
		"it begins with a folded line":              " x\n\n",
		"it does not begin with a tree":             "author " + who + "\n",
		"it has no author where one is expected":    tree + "committer " + who + "\n",
		"it has no committer where one is expected": tree + "author " + who + parent + "committer " + who + "\n",
		"it has a second parent":                    whole + parent + "\nm",
		"it has a second tree":                      whole + tree + "\nm",
		"it has a second author":                    whole + "author " + who + "\nm",
		"it has a second committer":                 whole + "committer " + who + "\nm",
		`its parent "x" is no hash`:                 tree + "parent x\nauthor " + who + "committer " + who + "\n",
		"is not `Name <e-mail> seconds zone`":       tree + "author a <b> c> 1 +0000\ncommitter " + who + "\n",
		"is no time in seconds":                     tree + "author a <b> -1 +0000\ncommitter " + who + "\n",
		"is no time zone":                           tree + "author a <b> 1 Z\ncommitter " + who + "\n",
	} {
		if c, err := watch.ParseCommit([]byte(b)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v, want %q", b, c, err, want)
		}
	}
}

// TestARangeIsGits holds the range against git's own, over merges and clocks that go wrong.
func TestARangeIsGits(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.commit("root")
	r.git("tag", "root")
	for i := range 3 {
		r.commit(fmt.Sprintf("before %d", i))
	}
	r.git("tag", "since")
	r.git("checkout", "-q", "-b", "side", "root")
	for i := range 3 {
		r.commit(fmt.Sprintf("side %d", i))
	}
	r.git("checkout", "-q", "-b", "late", "since~1")
	r.commit("late")
	r.git("checkout", "-q", "main")
	r.commit("after")
	r.git("merge", "-q", "--no-ff", "-m", "merge", "side", "late")
	r.git("checkout", "-q", "--orphan", "alone")
	r.commit("another root")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "--allow-unrelated-histories", "-m", "unrelated", "alone")
	r.git("-c", "alias.old=!GIT_COMMITTER_DATE='100000000 +0000' git commit -q --allow-empty -m 'an old clock'", "old")
	r.commit("head")

	repo := r.open("")
	hash := func(rev string) string { return r.git("rev-parse", rev) }
	for _, c := range []struct{ since, head string }{{"since", "main"}, {"root", "main"}, {"main~1", "main"}, {"main", "main"}, {"side", "main"}, {"late", "side"}, {"", "main"}, {"", "root"}, {"alone", "since"}} {
		got := []string{}
		since := ""
		args := []string{"rev-list", "--topo-order", "--reverse", c.head}
		if c.since != "" {
			since = hash(c.since)
			args = append(args, "^"+c.since)
		}
		seen := map[string]bool{}
		want := strings.Fields(r.git(args...))
		for x, err := range repo.Range(since, hash(c.head)) {
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range x.Parents {
				if slices.Contains(want, p) && !seen[p] {
					t.Errorf("%s..%s: %s before its parent", c.since, c.head, x.Subject())
				}
			}
			seen[x.ID] = true
			got = append(got, x.ID)
		}
		if len(got) > 0 && got[len(got)-1] != hash(c.head) {
			t.Errorf("%s..%s does not end with its head", c.since, c.head)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s..%s (-want +got):\n%s", c.since, c.head, diff)
		}
	}
	for _, c := range []struct {
		head, since string
		want        bool
	}{{"main", "since", true}, {"main", "main", true}, {"main", "alone", true}, {"since", "main", false}, {"side", "since", false}, {"alone", "root", false}} {
		if got, err := repo.Reaches(hash(c.head), hash(c.since)); got != c.want || err != nil {
			t.Errorf("%s reaches %s: got %v, %v", c.head, c.since, got, err)
		}
	}
}

// TestWhatIsShownOfACommitIsHarmless: names and messages are strangers' texts.
func TestWhatIsShownOfACommitIsHarmless(t *testing.T) {
	t.Parallel()
	c := watch.Commit{Message: "\n\x1b[31m::error::x\x00\u202e" + strings.Repeat("ü", 500) + "\nbody", Author: watch.Person{Name: "a\nb", Email: "x"}, Committer: watch.Person{Name: "only a name"}}
	got := c.Shown()
	if strings.ContainsAny(got.Subject+got.Author, "\n\x1b\x00\u202e") || len(got.Subject) > 300 || !strings.HasSuffix(got.Subject, "…") || got.Committer != "only a name" {
		t.Errorf("got %+v", got)
	}
}

// FuzzCommit: what is taken can be written again byte for byte, and its signature is no part of what it is over.
func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <b> 1 +0000\ncommitter a <b> 1 -1130\ngpgsig x\n y\n\nm\n"))
	f.Add([]byte(" \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := watch.ParseCommit(b)
		if err != nil {
			return
		}
		again, err := watch.ParseCommit(c.Signed)
		if err != nil || again.Signature != nil || again.Message != c.Message || !cmp.Equal(again.Parents, c.Parents) || len(c.Signed) > len(b) {
			t.Errorf("%q: got %+v, then %+v, %v", b, c, again, err)
		}
	})
}
