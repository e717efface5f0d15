package watch_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// Not parallel: names are relative to the working directory.
func TestReadPathsNamesAreWhatTheUserWrote(t *testing.T) {
	base := t.TempDir()
	write(t, "a", base, "conf/a.yaml")
	write(t, "b", base, "conf/sub/b.json")
	write(t, "h", base, "conf/.h.yaml")
	write(t, "o", base, "other.cue")
	do(t, os.Mkdir(filepath.Join(base, "cwd"), 0o755))
	for _, c := range []struct {
		cwd   string
		paths []string
		want  map[string]string
	}{
		{"", []string{"conf"}, map[string]string{"conf/a.yaml": "a", "conf/sub/b.json": "b"}},
		{"", []string{"./conf/"}, map[string]string{"conf/a.yaml": "a", "conf/sub/b.json": "b"}},
		{"conf", []string{"."}, map[string]string{"a.yaml": "a", "sub/b.json": "b"}},
		{"cwd", []string{"../conf/sub", "../other.cue"}, map[string]string{"../conf/sub/b.json": "b", "../other.cue": "o"}},
		{"", []string{"conf/a.yaml", "./conf/a.yaml", "conf"}, map[string]string{"conf/a.yaml": "a", "conf/sub/b.json": "b"}},
		{"", []string{"conf/a.yaml", filepath.Join(base, "conf/a.yaml")}, map[string]string{"conf/a.yaml": "a"}},
		{"", []string{"conf/.h.yaml"}, map[string]string{"conf/.h.yaml": "h"}},
		{"", []string{"other.cue", "-", "-"}, map[string]string{"other.cue": "o", "stdin.yaml": "kind: x"}},
	} {
		t.Run(strings.Join(c.paths, " "), func(t *testing.T) {
			t.Chdir(filepath.Join(base, c.cwd))
			set, err := watch.ReadPaths(c.paths, strings.NewReader("kind: x"))
			do(t, err)
			if diff := cmp.Diff(c.want, texts(t, set)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStandardInputIsNamedByItsContent(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "stdin.yaml", " \n{}": "stdin.json", "\ufeff[]": "stdin.json", "# {": "stdin.yaml"} {
		set, err := watch.ReadPaths([]string{"-"}, strings.NewReader(in))
		do(t, err)
		if diff := cmp.Diff(map[string]string{want: in}, texts(t, set)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
	_, err := watch.ReadPaths([]string{"-"}, nil)
	wantError(t, err, "standard input")
}

func TestReadPathsErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing, text := filepath.Join(dir, "missing"), write(t, "", dir, "x.txt")
	fine := write(t, "fine", dir, "fine.yaml")
	set, err := watch.ReadPaths([]string{missing, text, fine}, nil)
	wantError(t, err, missing+": no such file", text, ".cue")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v is not fs.ErrNotExist", err)
	}
	if diff := cmp.Diff(map[string]string{fine: "fine"}, texts(t, set)); diff != "" {
		t.Errorf("the rest (-want +got):\n%s", diff)
	}
}

// validate <(command)
func TestStreamInPlaceOfAFile(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	do(t, err)
	defer r.Close()
	go func() {
		_, _ = w.WriteString("{}")
		_ = w.Close()
	}()
	path := "/proc/self/fd/" + strconv.Itoa(int(r.Fd()))
	set, err := watch.ReadPaths([]string{path}, nil)
	do(t, err)
	if diff := cmp.Diff(map[string]string{path + ".json": "{}"}, texts(t, set)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestWhatMayHoldDeclarations(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"a.yaml": true, "x/a.yml": true, "a.json": true, "a.cue": true, "a.YAML": true, "A.Json": true, "a.txt": false, "yaml": false, ".a.yaml": false, "a.yaml.bak": false} {
		if got := watch.IsDeclaration(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
