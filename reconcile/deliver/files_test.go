package deliver_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/render"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "files")
	var f deliver.Files
	list := []render.File{
		{Path: filepath.Join(dir, "open.lua"), Data: []byte("open")},
		{Path: filepath.Join(dir, "secret.json"), Data: []byte("secret"), Secret: true},
	}
	for range 2 {
		if err := f.Write(list); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = info.Mode().String() + " " + string(b)
	}
	want := map[string]string{"open.lua": "-rw-r--r-- open", "secret.json": "-rw------- secret"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	// A file that stands where the folder should be is an error that names the path.
	bad := render.File{Path: filepath.Join(dir, "open.lua", "x"), Data: []byte("x")}
	if err := f.Write([]render.File{bad}); err == nil {
		t.Error("a folder in place of a file was made")
	}
}

func TestPruneRemovesOnlyFilesOfOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := func(c string) string { return filepath.Join(dir, strings.Repeat(c, 32)+".lua") }
	var f deliver.Files
	list := []render.File{{Path: name("a"), Data: []byte("a")}, {Path: name("b"), Data: []byte("b"), Secret: true}}
	if err := f.Write(list); err != nil {
		t.Fatal(err)
	}
	// From a process before us: a file, one that was not finished, and what is not ours.
	for _, path := range []string{name("c"), filepath.Join(dir, ".flexgw-123"), filepath.Join(dir, "notes.txt"), filepath.Join(dir, "0123.lua")} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(name("d"), 0o700); err != nil {
		t.Fatal(err)
	}
	n, err := f.Prune(dir, func(path string) bool { return path == name("a") })
	if err != nil || n != 3 {
		t.Errorf("removed %d, %v, want 3", n, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := []string{"0123.lua", filepath.Base(name("a")), filepath.Base(name("d")), "notes.txt"}
	if !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if err := f.Write(list); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name("b")); err != nil || string(b) != "b" {
		t.Errorf("a file that is named again was not written again: %v", err)
	}
	if n, err := f.Prune(filepath.Join(dir, "none"), func(string) bool { return false }); n != 0 || err != nil {
		t.Errorf("a folder that does not exist: %d, %v", n, err)
	}
}
