package watch_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/source"
)

// repo is a work tree with a repository, made by the real git.
type repo struct {
	t   testing.TB
	dir string
}

func newRepo(t testing.TB, init ...string) *repo {
	t.Helper()
	r := &repo{t, filepath.Join(t.TempDir(), "work")}
	r.mkdir(r.dir)
	r.git(append([]string{"init", "-q", "-b", "main"}, init...)...)
	return r
}

func (r *repo) mkdir(dir string) {
	r.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// commits counts those of all tests, so that each has a time of its own.
var commits atomic.Int64

func (r *repo) in(dir string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	when := fmt.Sprintf("%d +0000", 1700000000+commits.Add(1))
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GIT_") }),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_AUTHOR_DATE="+when, "GIT_COMMITTER_DATE="+when, "GIT_ALLOW_PROTOCOL=file")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) git(args ...string) string { r.t.Helper(); return r.in(r.dir, args...) }

func (r *repo) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	r.mkdir(filepath.Dir(path))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) link(target, name string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	r.mkdir(filepath.Dir(path))
	if err := os.Symlink(target, path); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) commit(message string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return r.git("rev-parse", "HEAD")
}

func (r *repo) open(near string, env ...string) *watch.Repo {
	r.t.Helper()
	got, err := openIn(r.dir, near, env...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { got.Close() })
	return got
}

func openIn(dir, near string, env ...string) (*watch.Repo, error) {
	return watch.OpenRepo(dir, near, func(name string) (string, bool) {
		for _, e := range env {
			if k, v, _ := strings.Cut(e, "="); k == name {
				return v, true
			}
		}
		return "", false
	})
}

// contents are the names and contents of a set.
func contents(t *testing.T, set source.Set) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, f := range set.Files {
		b, err := f.Bytes()
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		m[f.Name] = string(b)
	}
	return m
}

// same holds contents against what they should be; what says whose, if that is not plain.
func same(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}

// opened is a repository that is closed with the test.
func opened(t *testing.T, dir, near string, env ...string) *watch.Repo {
	t.Helper()
	r, err := openIn(dir, near, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// refused wants an error that says something.
func refused(t *testing.T, what string, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: got %v", what, err)
	}
}

func at(t *testing.T, r *watch.Repo, rev string, paths ...string) map[string]string {
	t.Helper()
	set, ds, err := r.At(rev, paths)
	if err != nil || len(ds) > 0 {
		t.Fatalf("%s: %v %v", rev, ds, err)
	}
	return contents(t, set)
}

func TestRevisionIsReadWithoutTheWorkTree(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("conf/a.yaml", "a: 1")
	r.write("conf/deep/b.json", "{}")
	r.write("conf/c.txt", "no")
	r.write("conf/.hidden.yaml", "no")
	r.write("conf/.hidden/d.yaml", "no")
	r.write("other/e.cue", "e: 1")
	first := r.commit("first")
	r.write("conf/a.yaml", "a: 2")
	second := r.commit("second")
	r.git("rm", "-q", "-r", "conf", "other")

	repo := r.open("")
	want := map[string]string{"conf/a.yaml": "a: 1", "conf/deep/b.json": "{}"}
	same(t, "the files", want, at(t, repo, "HEAD~1", "conf"))
	set, _, err := repo.At("HEAD^", []string{"."})
	if err != nil || set.Revision != first {
		t.Errorf("got revision %s %v, want %s", set.Revision, err, first)
	}
	want = map[string]string{"conf/a.yaml": "a: 2", "conf/deep/b.json": "{}", "other/e.cue": "e: 1"}
	same(t, "the files", want, at(t, repo, second))
	if got := at(t, repo, "main", "conf/.hidden.yaml", "conf/.hidden", "./conf/deep/"); len(got) != 3 {
		t.Errorf("what is named counts, hidden or not: got %v", got)
	}
	for _, c := range []struct{ path, want string }{
		{"none", "read none: it is not in main"},
		{"conf/c.txt", "read conf/c.txt: a file of declarations ends in .yaml, .yml, .json or .cue"},
		{"../elsewhere", "read ../elsewhere: it is outside the repository " + real(t, r.dir)},
		{"conf/a.yaml/x", "read conf/a.yaml/x: it is not in main"},
	} {
		set, _, err := repo.At("main", []string{c.path, "other"})
		if err == nil || err.Error() != c.want || len(set.Files) != 1 {
			t.Errorf("%s: got %v and %d files", c.path, err, len(set.Files))
		}
	}
	if _, _, err := repo.At("main", []string{"none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func real(t *testing.T, dir string) string {
	t.Helper()
	p, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNamesAreThoseOfTheWorkingDirectory(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("one/a.yaml", "a")
	r.write("two/b.yaml", "b")
	r.commit("first")
	repo := opened(t, filepath.Join(r.dir, "one"), "")
	same(t, "the files", map[string]string{"a.yaml": "a"}, at(t, repo, "HEAD"))
	same(t, "the files", map[string]string{"../two/b.yaml": "b", "../one/a.yaml": "a"}, at(t, repo, "HEAD", ".."))
	abs := filepath.Join(r.dir, "two")
	same(t, "the files", map[string]string{filepath.ToSlash(abs) + "/b.yaml": "b"}, at(t, repo, "HEAD", abs))
	if got, want := repo.FromRoot("two"), "../two"; got != want {
		t.Errorf("FromRoot: got %s, want %s", got, want)
	}
	elsewhere := opened(t, t.TempDir(), abs)
	if got := at(t, elsewhere, "HEAD", abs); len(got) != 1 {
		t.Errorf("a repository that a path is in: got %v", got)
	}
}

func TestRevisionsAreNamedAsInGit(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	for i := range 4 {
		r.write("a.yaml", strconv.Itoa(i+1))
		r.commit("x")
	}
	r.git("tag", "light", "HEAD~1")
	r.git("tag", "-a", "-m", "m", "heavy", "HEAD~2")
	r.git("branch", "team/side", "HEAD~3")
	r.git("checkout", "-q", "-b", "topic", "HEAD~1")
	r.write("b.yaml", "1")
	r.commit("topic")
	r.git("merge", "-q", "-m", "merge", "main")
	r.git("update-ref", "refs/remotes/origin/main", "main")
	r.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
	r.git("config", "remote.origin.url", "file:///none")
	r.git("config", "branch.topic.remote", "origin")
	r.git("config", "branch.topic.merge", "refs/heads/main")
	r.git("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
	whole := r.git("rev-parse", "HEAD")
	revs := []string{"HEAD", "@", "main", "heads/main", "refs/heads/main", "topic", "light", "tags/light", "heavy^{}", "heavy^{commit}", "heavy~1", "team/side", "HEAD~2",
		"HEAD^", "HEAD^2", "HEAD^2~1", "HEAD^0", "@^2~0", "origin", "origin/main", "@{u}", "topic@{upstream}", "HEAD^{tree}", whole, whole[:7], strings.ToUpper(whole[:9]), "topic-3-g" + whole[:8]}
	check := func() {
		t.Helper()
		repo := r.open("")
		for _, rev := range revs {
			got, err := repo.Resolve(rev)
			if want := r.git("rev-parse", rev+"^{}"); err != nil || got != want && got != r.git("rev-parse", rev) {
				t.Errorf("%s: got %s %v, want %s", rev, got, err, want)
			}
		}
	}
	check()
	r.git("pack-refs", "--all")
	r.git("gc", "-q", "--aggressive", "--prune=now")
	check()
	repo := r.open("")
	for rev, want := range map[string]string{
		"none":                  `"none" is no branch, tag or commit of this repository`,
		"feature/x":             `"feature/x" is no branch, tag or commit of this repository; if it is a branch of a remote`,
		"HEAD~99":               "is the first commit",
		"HEAD^9":                "it has no parent number 9",
		"HEAD@{1}":              "git rev-parse",
		":/first":               "git rev-parse",
		"HEAD^{/x}":             "git rev-parse",
		"main..topic":           "names two revisions",
		"main@{upstream}":       `the branch "main" has no upstream`,
		"deadbeef":              `"deadbeef" is no branch`,
		"config":                `"config" is no branch`,
		"../../etc/passwd":      "is no branch",
		strings.Repeat("0", 40): "is not in the repository",
	} {
		_, _, err := repo.At(rev, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", rev, err, want)
		}
	}
}

func TestMergeBaseIsGits(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.commit("root")
	r.git("branch", "a")
	r.git("branch", "b")
	for _, s := range []string{"a", "b", "a", "main", "b"} {
		r.git("checkout", "-q", s)
		r.commit(s)
	}
	r.git("checkout", "-q", "a")
	r.git("merge", "-q", "--no-edit", "main")
	r.git("checkout", "-q", "b")
	r.git("merge", "-q", "--no-edit", "main")
	r.commit("more")
	r.git("checkout", "-q", "--orphan", "alone")
	r.commit("alone")
	repo := r.open("")
	for _, c := range [][2]string{{"a", "b"}, {"b", "a"}, {"main", "a"}, {"a", "a"}, {"main~1", "b"}, {"b~1", "a~1"}, {"b~3", "a"}} {
		got, err := repo.MergeBase(c[0], c[1])
		if want := r.git("merge-base", c[0], c[1]); err != nil || got != want {
			t.Errorf("%v: got %s %v, want %s", c, got, err, want)
		}
	}
	if _, err := repo.MergeBase("a", "alone"); err == nil || err.Error() != "a and alone have no common ancestor" {
		t.Errorf("got %v", err)
	}
	r.git("checkout", "-q", "a")
	if got, err := repo.Resolve("b..."); err != nil || got != r.git("merge-base", "b", "HEAD") {
		t.Errorf("b...: got %s %v", got, err)
	}
	from, to, ok, err := repo.Split("main...b")
	if err != nil || !ok || from != r.git("merge-base", "main", "b") || to != "b" {
		t.Errorf("main...b: got %s %s %v %v", from, to, ok, err)
	}
	from, to, ok, err = repo.Split("a..")
	if err != nil || !ok || from != "a" || to != "HEAD" {
		t.Errorf("a..: got %s %s %v %v", from, to, ok, err)
	}
	for _, path := range []string{"..", "../x", "../../x/y", "a", "./..", "conf/../x"} {
		if _, _, ok, _ := repo.Split(path); ok {
			t.Errorf("%s is a path", path)
		}
	}
}

func TestStagedIsWhatWillBeCommitted(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2", "4"} {
		r := newRepo(t)
		r.git("config", "index.version", version)
		r.write("a.yaml", "committed")
		r.write("gone.yaml", "x")
		r.write(strings.Repeat("long/", 60)+"z.yaml", "deep")
		r.commit("first")
		r.write("a.yaml", "staged")
		r.write("new.yaml", "staged")
		r.git("add", "-A")
		r.git("rm", "-q", "gone.yaml")
		r.write("a.yaml", "not staged")
		r.write("later.yaml", "not staged")
		r.write("intent.yaml", "not yet")
		r.git("add", "--intent-to-add", "intent.yaml")
		set, ds, err := r.open("").Staged(nil)
		if err != nil || len(ds) > 0 {
			t.Fatal(ds, err)
		}
		want := map[string]string{"a.yaml": "staged", "new.yaml": "staged", strings.Repeat("long/", 60) + "z.yaml": "deep"}
		same(t, "index version "+version, want, contents(t, set))
	}
}

// git commit FILE and git commit -a run the hook with an index of their own.
func TestStagedReadsTheIndexThatGitNames(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("a.yaml", "1")
	r.write("b.yaml", "1")
	r.commit("first")
	r.write("a.yaml", "2")
	r.write("b.yaml", "2")
	r.git("add", "b.yaml")
	seen := filepath.Join(r.dir, "seen")
	r.write(".git/hooks/pre-commit", "#!/bin/sh\necho $GIT_INDEX_FILE >"+seen+"\ncp \"$GIT_INDEX_FILE\" "+seen+".index\n")
	if err := os.Chmod(filepath.Join(r.dir, ".git/hooks/pre-commit"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("commit", "-q", "-m", "only a", "a.yaml")
	name, err := os.ReadFile(seen)
	if err != nil || strings.TrimSpace(string(name)) == ".git/index" {
		t.Fatalf("git named %q as the index: %v", name, err)
	}
	set, _, err := r.open("", "GIT_INDEX_FILE="+seen+".index").Staged(nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the files", map[string]string{"a.yaml": "2", "b.yaml": "1"}, contents(t, set))
}

func TestOddIndexes(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	if set, _, err := r.open("").Staged(nil); err != nil || len(set.Files) != 0 {
		t.Errorf("nothing was added: got %v %v", set.Files, err)
	}
	r.write("in/a.yaml", "1")
	r.write("out/b.yaml", "1")
	r.commit("first")
	r.git("config", "index.skipHash", "true")
	b, err := os.ReadFile(filepath.Join(r.dir, ".git/index"))
	if err != nil {
		t.Fatal(err)
	}
	// git 2.40 and later leave the sum out; do as they do.
	copy(b[len(b)-20:], make([]byte, 20))
	r.write(".git/nosum", string(b))
	if set, _, err := r.open("", "GIT_INDEX_FILE="+filepath.Join(r.dir, ".git/nosum")).Staged(nil); err != nil || len(set.Files) != 2 {
		t.Errorf("an index without a sum: got %v %v", set.Files, err)
	}
	r.git("update-index", "--split-index")
	_, _, err = r.open("").Staged(nil)
	refused(t, "a split index", err, "git update-index --no-split-index")
	r.git("update-index", "--no-split-index")
	r.git("sparse-checkout", "set", "--cone", "--sparse-index", "in")
	_, _, err = r.open("").Staged(nil)
	refused(t, "a sparse index", err, "--no-sparse-index")
	r.git("sparse-checkout", "reapply", "--no-sparse-index")
	if set, _, err := r.open("").Staged(nil); err != nil || len(set.Files) != 2 {
		t.Errorf("a sparse work tree: got %v %v", set.Files, err)
	}
	r.git("sparse-checkout", "disable")
	r.git("checkout", "-q", "-b", "side")
	r.write("in/a.yaml", "2")
	r.commit("side")
	r.git("checkout", "-q", "main")
	r.write("in/a.yaml", "3")
	r.commit("main")
	cmd := exec.Command("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "merge", "-q", "side")
	cmd.Dir = r.dir
	if err := cmd.Run(); err == nil {
		t.Fatal("expected a conflict")
	}
	if _, _, err := r.open("").Staged(nil); err == nil || err.Error() != "the index has conflicts: resolve and add in/a.yaml" {
		t.Errorf("a conflict: got %v", err)
	}
}

func TestLinksInATreeAreFollowedAsOnTheDisk(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("real/a.yaml", "a")
	r.write("real/sub/b.yaml", "b")
	r.write("real/text.txt", "t")
	r.link("../real", "conf/folder")
	r.link("../real/a.yaml", "conf/file.yaml")
	r.link("file.yaml", "conf/twice.yaml")
	r.link("folder/sub/../a.yaml", "conf/winding.yaml")
	r.link("nowhere.txt", "conf/ignored.txt")
	r.link("../real/text.txt", "conf/text.yaml")
	r.commit("first")
	repo := r.open("")
	onDisk, err := watch.ReadPaths([]string{filepath.Join(r.dir, "conf")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for name, text := range contents(t, onDisk) {
		want[strings.TrimPrefix(name, filepath.ToSlash(r.dir)+"/")] = text
	}
	if diff := cmp.Diff(want, at(t, repo, "HEAD", "conf")); diff != "" || len(want) != 6 {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := at(t, repo, "HEAD", "conf/folder/sub", "real"); len(got) != 2 {
		t.Errorf("what two paths reach counts once: got %v", got)
	}
	r.link("../conf", "bad/folder/up")
	r.link("nowhere.yaml", "bad/dangling.yaml")
	r.link("a.yaml", "bad/b.yaml")
	r.link("b.yaml", "bad/a.yaml")
	r.link("/etc/hostname", "bad/absolute.yaml")
	r.link("../../../outside.yaml", "bad/outside.yaml")
	r.link("..", "bad/back")
	r.write("bad/good.yaml", "g")
	r.commit("bad")
	set, _, err := r.open("").At("HEAD", []string{"bad"})
	if got := contents(t, set); got["bad/good.yaml"] != "g" || err == nil {
		t.Fatalf("got %v %v", got, err)
	}
	for _, want := range []string{
		"read bad/dangling.yaml: the symbolic link leads nowhere", "read bad/b.yaml: the symbolic link leads in a circle",
		"read bad/absolute.yaml: the symbolic link leads out of the repository", "read bad/outside.yaml: the symbolic link leads out of the repository",
		"read bad/back/bad: the symbolic link leads back to bad, which holds it",
	} {
		if !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), strings.Replace(want, "back/bad", "back", 1)) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestSubmodulesAndPointersAreSaid(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	other := newRepo(t)
	other.write("x.yaml", "x")
	other.commit("x")
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", other.dir, "conf/shared")
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9\nsize 1\n"
	r.write("conf/big.yaml", pointer)
	r.commit("first")
	set, ds, err := r.open("").At("HEAD", []string{"conf"})
	if err != nil || len(ds) != 1 || ds[0].Code != "source/submodule" || ds[0].Subject.File != "conf/shared" {
		t.Errorf("got %v %v", ds, err)
	}
	if got := contents(t, set)["conf/big.yaml"]; got != pointer {
		t.Errorf("a content that was not fetched: got %q", got)
	}
	r.write(".git/lfs/objects/5f/ec/5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9", "0")
	if got := contents(t, set)["conf/big.yaml"]; got != "0" {
		t.Errorf("a fetched content: got %q", got)
	}
	r.write(".git/lfs/objects/5f/ec/5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9", "1")
	if got := contents(t, set)["conf/big.yaml"]; got != pointer {
		t.Errorf("a broken content: got %q", got)
	}
	inside := opened(t, filepath.Join(r.dir, "conf/shared"), "")
	if got := at(t, inside, "HEAD"); got["x.yaml"] != "x" {
		t.Errorf("inside the submodule: got %v", got)
	}
}

func TestKindsOfRepositories(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("a.yaml", "1")
	r.commit("first")
	r.write("a.yaml", "2")
	r.commit("second")
	base := filepath.Dir(r.dir)
	want := map[string]string{"a.yaml": "1"}
	holds := func(what, dir, rev string, env ...string) {
		t.Helper()
		repo, err := openIn(dir, "", env...)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		defer repo.Close()
		set, _, err := repo.At(rev, nil)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		same(t, what, want, contents(t, set))
	}
	bare := filepath.Join(base, "bare.git")
	r.git("clone", "-q", "--bare", r.dir, bare)
	holds("bare", bare, "main~1")
	holds("bare, by name", base, "main~1", "GIT_DIR="+bare, "GIT_WORK_TREE="+base)

	worktree := filepath.Join(base, "tree")
	r.git("config", "extensions.worktreeConfig", "true")
	r.git("worktree", "add", "-q", "-b", "topic", worktree, "HEAD~1")
	holds("worktree", worktree, "HEAD")
	wt := &repo{t, worktree}
	wt.write("new.yaml", "3")
	wt.git("add", "new.yaml")
	repo := wt.open("")
	set, _, err := repo.Staged(nil)
	if err != nil || contents(t, set)["new.yaml"] != "3" {
		t.Errorf("the index of a worktree: %v %v", set.Files, err)
	}

	shared := filepath.Join(base, "shared")
	r.git("clone", "-q", "--shared", r.dir, shared)
	holds("alternates", shared, "HEAD~1")
	separate := filepath.Join(base, "separate")
	r.git("clone", "-q", "--separate-git-dir", filepath.Join(base, "sep.git"), r.dir, separate)
	holds("separate", separate, "HEAD~1")
	objects := filepath.Join(base, "quarantine")
	if err := os.MkdirAll(objects, 0o755); err != nil {
		t.Fatal(err)
	}
	holds("quarantine", r.dir, "HEAD~1", "GIT_OBJECT_DIRECTORY="+objects, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+filepath.Join(r.dir, ".git/objects"))

	shallow := filepath.Join(base, "shallow")
	r.git("clone", "-q", "--depth", "1", "file://"+r.dir, shallow)
	sh := opened(t, shallow, "")
	_, err = sh.Resolve("HEAD~1")
	refused(t, "shallow", err, "git fetch --unshallow")
	r.git("config", "uploadpack.allowFilter", "true")
	partial := filepath.Join(base, "partial")
	r.git("clone", "-q", "--filter=blob:none", "--no-checkout", "file://"+r.dir, partial)
	p := opened(t, partial, "")
	set, _, err = p.At("HEAD", nil)
	if err != nil || len(set.Files) != 1 {
		t.Fatal(set, err)
	}
	_, err = set.Files[0].Bytes()
	refused(t, "partial", err, "this clone is partial")

	sha256 := newRepo(t, "--object-format=sha256")
	_, err = openIn(sha256.dir, "")
	refused(t, "sha256", err, "only SHA-1 repositories can be read")
	table := newRepo(t)
	table.git("config", "core.repositoryformatversion", "1")
	table.git("config", "extensions.refstorage", "reftable")
	_, err = openIn(table.dir, "")
	refused(t, "reftable", err, "git refs migrate --ref-format=files")
	unknown := newRepo(t)
	unknown.git("config", "core.repositoryformatversion", "1")
	cfg := filepath.Join(unknown.dir, ".git", "config")
	b, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	unknown.write(".git/config", string(b)+"[extensions]\n\tsomethingNew = true\n")
	_, err = openIn(unknown.dir, "")
	refused(t, "an unknown extension", err, `uses the extension "somethingNew"`)
	none := t.TempDir()
	if _, err := openIn(none, "", "GIT_CEILING_DIRECTORIES="+filepath.Dir(none)); !errors.Is(err, watch.ErrNoRepository) {
		t.Errorf("none: got %v", err)
	}
}

func TestUnchangedFilesHaveOneHash(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("a.yaml", "1")
	r.write("b.yaml", "1")
	r.commit("first")
	r.write("b.yaml", "2")
	then, _, err := r.open("").At("HEAD", []string{r.dir})
	if err != nil {
		t.Fatal(err)
	}
	now, err := watch.ReadPaths([]string{r.dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	named := watch.Named(now)
	for i, f := range named.Files {
		if same := f.Hash == then.Files[i].Hash; same != strings.HasSuffix(f.Name, "a.yaml") || f.Name != then.Files[i].Name {
			t.Errorf("%s and %s: equal is %v", f.Name, then.Files[i].Name, same)
		}
	}
	same(t, "the files", contents(t, now), contents(t, named))
}

func TestContentsAreReadByManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	for i := range 200 {
		r.write("conf/f"+strconv.Itoa(i+1)+".yaml", strings.Repeat("same beginning\n", 50)+strconv.Itoa(i+1))
	}
	r.commit("first")
	r.git("gc", "-q")
	set, _, err := r.open("").At("HEAD", nil)
	if err != nil || len(set.Files) != 200 {
		t.Fatal(len(set.Files), err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, f := range set.Files {
				b, err := f.Bytes()
				want := strings.TrimSuffix(strings.TrimPrefix(f.Name, "conf/f"), ".yaml")
				if err != nil || !strings.HasSuffix(string(b), "\n"+want) {
					t.Errorf("%s: %d bytes, %v", f.Name, len(b), err)
				}
			}
		})
	}
	wg.Wait()
}
