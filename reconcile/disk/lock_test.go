package disk_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// A folder has one at a time, nothing is left in it, and who comes later gets it when the first has gone.
func TestLockFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := disk.LockFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.LockFolder(over, dir); !errors.Is(err, disk.ErrHeld) {
		t.Errorf("a second one: %v", err)
	}
	other, err := disk.LockFolder(over, t.TempDir())
	if err != nil {
		t.Errorf("another folder: %v", err)
	} else {
		other()
	}
	second := make(chan error, 1)
	go func() {
		unlock, err := disk.LockFolder(t.Context(), dir)
		if err == nil {
			unlock()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Errorf("it was not waited for: %v", err)
	default:
	}
	unlock()
	if err := <-second; err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := disk.LockFolder(t.Context(), filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

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
