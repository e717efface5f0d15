package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/render"
)

// Files writes the content-addressed files that resources name. A name stands for its content, so a file that this value
// wrote is not written again. The zero Files is ready. Not safe for concurrent use.
type Files struct {
	written map[string]bool
}

// Write makes every file of the list exist with its content: each is complete before it has its name. Secret ones are
// readable by our user alone.
func (f *Files) Write(files []render.File) error {
	for _, file := range files {
		if f.written[file.Path] {
			continue
		}
		if err := write(file); err != nil {
			return err
		}
		if f.written == nil {
			f.written = map[string]bool{}
		}
		f.written[file.Path] = true
	}
	return nil
}

// fileName is what a content-addressed file, or one that was never finished, is called.
var fileName = regexp.MustCompile(`^([0-9a-f]{32}\.[a-z0-9]+|\.flexgw-[0-9a-z]+)$`)

// Prune removes the content-addressed files of dir, and unfinished ones, that live (full path) does not want. What else is
// in the folder stays, and so do folders in it. A folder that does not exist is empty. It goes on after an error.
func (f *Files) Prune(dir string, live func(path string) bool) (removed int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() || !fileName.MatchString(e.Name()) || live(path) {
			continue
		}
		if gone := os.Remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
			continue
		}
		delete(f.written, path)
		removed++
	}
	return removed, err
}

func write(file render.File) error {
	mode, dirMode := os.FileMode(0o644), os.FileMode(0o755)
	if file.Secret {
		mode, dirMode = 0o600, 0o700
	}
	dir := filepath.Dir(file.Path)
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("write %s: %w", file.Path, err)
	}
	err := disk.Write(file.Path, file.Data, mode)
	if err == nil {
		err = os.Chmod(file.Path, mode) // whatever our mask is: Envoy may be another user's
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file.Path, err)
	}
	return nil
}
