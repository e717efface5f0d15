package deliver_test

import (
	"os"
	"path/filepath"
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
