package watch_test

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// FuzzRevisions looks for texts that the reader of revisions chokes on: whatever a user types names an object, or is an error.
func FuzzRevisions(f *testing.F) {
	r := newRepo(f)
	r.write("conf/a.yaml", "1")
	first := r.commit("first")
	r.commit("second")
	r.git("tag", "v1")
	repo := r.open("")
	for _, rev := range []string{"HEAD", "HEAD~1", "HEAD~2^2~1", "@{u}", "HEAD@{1}", "a..b", "main...", "^{/x}", "main^{tree}", "HEAD^{commit}^0", ":/x", first[:7], "v1-2-g" + first[:8],
		"~", "^", "^{", "HEAD^{", "HEAD~99999999999999999999", "../x", "refs/heads/../../HEAD", "main:conf", "\x00", strings.Repeat("f", 40), strings.Repeat("~1", 100)} {
		f.Add(rev)
	}
	f.Fuzz(func(t *testing.T, rev string) {
		id, err := repo.Resolve(rev)
		if (err == nil) != (len(id) == 40) {
			t.Errorf("%q: got %q %v", rev, id, err)
		}
		if _, _, ok, err := repo.Split(rev); ok && !strings.Contains(rev, "..") {
			t.Errorf("%q: taken for two revisions (%v)", rev, err)
		}
		if _, _, err := repo.At("HEAD", []string{rev}); err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Errorf("%q: an error without words", rev)
		}
	})
}

// indexOf writes an index as no Git would: with whatever names.
func indexOf(tb testing.TB, names ...string) []byte {
	tb.Helper()
	idx := &index.Index{Version: 2}
	for _, n := range names {
		idx.Entries = append(idx.Entries, &index.Entry{Name: n, Mode: filemode.Regular})
	}
	var b bytes.Buffer
	if err := index.NewEncoder(&b).Encode(idx); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// TestAHostileIndexIsRefused: the index comes with the repository, whoever made that.
func TestAHostileIndexIsRefused(t *testing.T) {
	t.Parallel()
	for want, names := range map[string][]string{
		`the index is broken: "a" is a file and a folder`:   {"a", "a/b/c.yaml"},
		`the index is broken: "a/b" is a file and a folder`: {"a/b", "a/b/c/d.yaml"},
		`the index is broken: "../a.yaml" is no path`:       {"../a.yaml"},
		`the index is broken: "a/./b.yaml" is no path`:      {"a/./b.yaml"},
		`the index is broken: "/a.yaml" is no path`:         {"/a.yaml"},
		`the index is broken: "a//b.yaml" is no path`:       {"a//b.yaml"},
		`the index is broken: "a/" is no path`:              {"a/"},
	} {
		r := newRepo(t)
		r.write("conf/a.yaml", "1")
		r.commit("first")
		if err := os.WriteFile(filepath.Join(r.dir, ".git", "index"), indexOf(t, names...), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.open("").Staged(nil); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", names, err, want)
		}
	}
}

func FuzzIndex(f *testing.F) {
	for _, names := range [][]string{{"a", "a/b.yaml"}, {"a.yaml", "b/c.yaml"}, {"..", "."}, {""}} {
		f.Add(indexOf(f, names...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := watch.Indexed(b)
		for _, n := range names {
			if err != nil || n != path.Clean(n) || strings.HasPrefix(n, "../") || path.IsAbs(n) {
				t.Errorf("a file is called %q", n)
			}
		}
	})
}

func FuzzTree(f *testing.F) {
	for _, name := range []string{"a", "a/b", "..", ".", ""} {
		f.Add([]byte("100644 " + name + "\x00aaaaaaaaaaaaaaaaaaaa40000 d\x00aaaaaaaaaaaaaaaaaaaa"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		names, _ := watch.InTree(b)
		for _, n := range names {
			if n == "" || n == "." || n == ".." || strings.Contains(n, "/") {
				t.Errorf("an entry is called %q", n)
			}
		}
	})
}
