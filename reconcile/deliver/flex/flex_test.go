package flex_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/deliver/flex"
	"github.com/flexgw/flexgw/schema/source"
)

func set(files map[string]string) source.Set {
	var list []source.File
	for name, text := range files {
		list = append(list, source.NewFile(name, []byte(text)))
	}
	return source.NewSet(list)
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		got[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func equal(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for name := range got {
		if got[name] != want[name] {
			t.Errorf("%s holds %q, want %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

func TestFolderFollowsTheSet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	foreign := map[string]string{"registration.yaml": "mine"}
	for name, text := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target := flex.Target{Dir: dir}
	for _, files := range []map[string]string{
		{"a.yaml": "1", "b/c.json": "2"}, {"a.yaml": "1", "b/c.json": "3"}, {"b/c.json": "3"}, {"b/c.json": "3"}, {"a.yaml": "4"},
	} {
		s := set(files)
		if _, err := target.Apply(s); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"registration.yaml": "mine"}
		for name, text := range files {
			want[name] = text
		}
		equal(t, read(t, dir), want)
		if c, err := target.Plan(s); err != nil || len(c.Written)+len(c.Removed) > 0 || c.Base != s.Revision {
			t.Errorf("applied, and there is still to do: %+v %v", c, err)
		}
	}
}

func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := flex.Target{Dir: dir}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("theirs.yaml", "theirs")
	if _, err := target.Apply(set(map[string]string{"ours.yaml": "1", "gone.yaml": "1"})); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() map[string]string{
		"a name that is taken":  func() map[string]string { return map[string]string{"theirs.yaml": "x"} },
		"ours, changed by hand": func() map[string]string { put("ours.yaml", "hand"); return map[string]string{"ours.yaml": "2"} },
		"to go, changed by hand": func() map[string]string {
			put("gone.yaml", "hand")
			return map[string]string{"new.yaml": "1"}
		},
	} {
		before := change()
		was := read(t, dir)
		var c *flex.Conflict
		if _, err := target.Apply(set(before)); !errors.As(err, &c) || !strings.HasPrefix(c.Path, dir) {
			t.Errorf("%s: %v", what, err)
		}
		equal(t, read(t, dir), was)
	}
	if _, err := target.Apply(set(map[string]string{"theirs.yaml": "theirs", "ours.yaml": "hand", "gone.yaml": "hand"})); err != nil {
		t.Errorf("equal contents are no conflict: %v", err)
	}
}

// A write that is cut off anywhere is completed by the next one.
func TestCutOffIsCompleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := flex.Target{Dir: dir}
	old, now := set(map[string]string{"a.yaml": "1", "b.yaml": "1", "c.yaml": "1"}), set(map[string]string{"a.yaml": "2", "b.yaml": "2"})
	if _, err := target.Apply(old); err != nil {
		t.Fatal(err)
	}
	broken := set(map[string]string{"a.yaml": "2", "b.yaml": "2"})
	for i := range broken.Files {
		if broken.Files[i].Name == "b.yaml" { // its folder can not be written: a is replaced, b not
			os.Remove(filepath.Join(dir, "b.yaml"))
			os.Mkdir(filepath.Join(dir, "b.yaml"), 0o700)
		}
	}
	if _, err := target.Apply(broken); err == nil {
		t.Fatal("a folder was written over")
	}
	os.Remove(filepath.Join(dir, "b.yaml"))
	os.WriteFile(filepath.Join(dir, "b.yaml"), []byte("1"), 0o600)
	if _, err := target.Apply(now); err != nil {
		t.Fatal(err)
	}
	equal(t, read(t, dir), map[string]string{"a.yaml": "2", "b.yaml": "2"})
}

func TestNamesThatTheProductDoesNotRead(t *testing.T) {
	t.Parallel()
	target := flex.Target{Dir: t.TempDir()}
	for _, name := range []string{"a.cue", "../a.yaml", "/a.yaml", ".a.yaml"} {
		if _, err := target.Apply(set(map[string]string{name: "x"})); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if _, err := (flex.Target{Dir: filepath.Join(t.TempDir(), "none")}).Apply(set(map[string]string{"a.yaml": "x"})); err == nil {
		t.Error("a folder that is not there was made")
	}
	if got := slices.Sorted(func(yield func(string) bool) {
		for n := range read(t, target.Dir) {
			if !yield(n) {
				return
			}
		}
	}); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

// What did not stand its proof goes, what was there before comes back, and what others did meanwhile stays.
func TestFolderGoesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	no := errors.New("no")
	failing := flex.Target{Dir: dir, Proof: func() error { return no }}
	one := map[string]string{"a.yaml": "1", "b/b.yaml": "1", "same.yaml": "1"}
	if _, err := failing.Apply(set(one)); !errors.Is(err, flex.ErrKept) || !errors.Is(err, no) {
		t.Errorf("nothing to go back to: %v", err)
	}
	equal(t, read(t, dir), one)
	if _, err := failing.Apply(set(one)); !errors.Is(err, flex.ErrKept) {
		t.Errorf("the same again: %v", err)
	}
	two := map[string]string{"a.yaml": "2", "c.yaml": "2", "same.yaml": "1"}
	listed, err := os.ReadFile(filepath.Join(dir, ".flexgw.json"))
	if err != nil {
		t.Fatal(err)
	}
	asked := flex.Target{Dir: dir, Proof: func() error {
		equal(t, read(t, dir), two) // this is what is asked
		return no
	}}
	if _, err := asked.Apply(set(two)); !errors.Is(err, flex.ErrUnproven) || !errors.Is(err, no) {
		t.Errorf("something to go back to: %v", err)
	}
	equal(t, read(t, dir), one)
	if now, err := os.ReadFile(filepath.Join(dir, ".flexgw.json")); err != nil || string(now) != string(listed) {
		t.Errorf("ours is %s %v, was %s", now, err, listed)
	}
	meddled := flex.Target{Dir: dir, Proof: func() error {
		return errors.Join(no, os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("theirs"), 0o600))
	}}
	var conflict *flex.Conflict
	if _, err := meddled.Apply(set(two)); !errors.As(err, &conflict) || errors.Is(err, flex.ErrUnproven) {
		t.Errorf("somebody else wrote there: %v", err)
	}
	if got := read(t, dir)["a.yaml"]; got != "theirs" {
		t.Errorf("a.yaml is %q", got)
	}
}
