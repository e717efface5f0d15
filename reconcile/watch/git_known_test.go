package watch_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// TestWhatStayedIsNotReadAgain, and what a link leads to is: each head is what a reader that knows nothing makes of it.
func TestWhatStayedIsNotReadAgain(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	r.write("a/one.yaml", "1")
	r.write("a/deep/two.yaml", "2")
	r.write("b/three.yaml", "3")
	r.write("a/deep/.git2/x.yaml", "hidden")
	r.link("../b", "linked/all")
	r.link("../b/three.yaml", "linked/three.yaml")
	s := follow(t, watch.GitOptions{}, "file://"+r.bare)
	for i, step := range []func(){
		func() {},
		func() { r.write("b/three.yaml", "33") }, // the folder with the links is the same
		func() { r.git("mv", "a/deep", "c") },
		func() { r.git("mv", "c", "a/deep2"); r.write("a/deep2/four.yaml", "4") },
		func() { r.git("rm", "-q", "a/one.yaml") },
		func() { r.git("mv", "b", "e"); r.git("rm", "-rq", "linked"); r.link("../e", "linked/all") },
		func() { r.git("rm", "-rq", "a") },
	} {
		step()
		head := r.push("README.md", string(rune('a'+i)))
		set, err := looked(t, s)
		if err != nil || set.Revision != head {
			t.Fatalf("step %d: %s %v", i, set.Revision, err)
		}
		want, _, err := r.open("").At(head, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(contents(t, want), contents(t, set)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
	// What stayed counts: a bound holds for all of it.
	few := follow(t, watch.GitOptions{Limits: watch.GitLimits{Files: 2}}, "file://"+r.bare)
	r.write("x/1.yaml", "1")
	r.write("x/2.yaml", "2")
	r.push("y", "")
	if _, err := looked(t, few); err == nil {
		t.Error("more than two files were taken")
	}
}

// TestDotGitIsNoFolder: nothing is checked out, so a .git in a tree is a folder that nobody looks into, however it is spelt.
func TestDotGitIsNoFolder(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	r.push("a.yaml", "1")
	for _, name := range []string{".git", ".GIT", ".git "} {
		r.raw(name, "[core]")
		r.git("push", "-q", "--force", "origin", "HEAD")
		set, err := looked(t, follow(t, watch.GitOptions{}, "file://"+r.bare))
		if err == nil || !strings.Contains(err.Error(), strconv.Quote(name)) || len(set.Files) != 0 {
			t.Errorf("%q: %v %v", name, set.Files, err)
		}
	}
}
