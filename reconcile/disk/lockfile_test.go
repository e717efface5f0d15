package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/flexgw/flexgw/reconcile/disk"
)

func TestLockFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	f, err := disk.LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := disk.LockFile(path); !errors.Is(err, disk.ErrHeld) {
		t.Errorf("held twice: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := disk.LockFile(path)
	if err != nil {
		t.Fatalf("it was given back: %v", err)
	}
	_ = again.Close()
	if _, err := disk.LockFile(filepath.Join(path, "lock")); err == nil || errors.Is(err, disk.ErrHeld) {
		t.Errorf("in what is no folder: %v", err)
	}
	if _, err := disk.LockFile(filepath.Join(filepath.Dir(path), "none", "lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
}
