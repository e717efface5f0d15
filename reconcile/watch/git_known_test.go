package watch_test

import (
	"fmt"
	"path/filepath"
	"runtime"
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
		func() { r.write("a/deep2/four.yaml", "44") }, // beside files that stay
		func() { r.write("a/deep2/between.yaml", "5"); r.write("a/deep2/zero/six.yaml", "6") },
		func() { r.git("mv", "a/deep2/four.yaml", "a/deep2/zz.yaml") },
		func() { r.git("mv", "a/deep2/zz.yaml", "a/deep2/zz.txt") },
		func() { r.git("rm", "-q", "a/deep2/two.yaml"); r.link("../../b/three.yaml", "a/deep2/two.yaml") },
		func() { r.write("b/three.yaml", "333") }, // which a link beside files that stay leads to
		func() { r.git("rm", "-q", "a/deep2/two.yaml"); r.write("a/deep2/two.yaml/seven.yaml", "7") },
		func() { r.write("a/one.yaml.d/eight.yaml", "8"); r.write("a/one.yam", "9") },
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

// TestALookAllocatesLittle: of thousands of files in one folder that are the same, a look leaves next to nothing to be collected.
func TestALookAllocatesLittle(t *testing.T) {
	const files, looks = 5_000, 4
	r := newRemote(t)
	var all strings.Builder
	fmt.Fprint(&all, "commit refs/heads/main\ncommitter a <a@example.org> 1700000000 +0000\ndata 1\nx\n")
	for i := range files {
		fmt.Fprintf(&all, "M 100644 inline apis/api-%05d.yaml\ndata 7\na: %04d\n", i, i)
	}
	run := func(script string) {
		t.Helper()
		r.write("import", script)
		r.in(r.bare, "-c", "alias.x=!git fast-import --quiet < "+filepath.Join(r.dir, "import"), "x")
	}
	run(all.String())
	s := follow(t, watch.GitOptions{}, smart(t, r, nil).URL+"/gateway.git")
	if set, err := looked(t, s); err != nil || len(set.Files) != files {
		t.Fatal(len(set.Files), err)
	}
	var sum, least uint64
	for i := range looks {
		text := fmt.Sprintf("b: %d\n", i)
		run(fmt.Sprintf("commit refs/heads/main\ncommitter a <a@example.org> %d +0000\ndata 1\nx\nfrom refs/heads/main^0\nM 100644 inline apis/api-04242.yaml\ndata %d\n%s\n", 1700000001+i, len(text), text))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		set, err := looked(t, s)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := set.Bytes("apis/api-04242.yaml"); err != nil || string(got) != text {
			t.Fatalf("%q %v", got, err)
		}
		took := (after.TotalAlloc - before.TotalAlloc) / files
		if sum += took; least == 0 || took < least {
			least = took
		}
	}
	t.Logf("%d bytes for each file", sum/looks)
	if least > 800 { // its name, hash and place in two lists are 150; the tree's own bytes count several times
		t.Errorf("a look allocates %d bytes for each of %d files that stay", least, files)
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
