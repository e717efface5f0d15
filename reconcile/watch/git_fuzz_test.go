package watch_test

import (
	"strings"
	"testing"
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
