package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/flexgw/flexgw/schema/source"
)

// rewritten is a file that a command gives another text.
type rewritten struct {
	name          string // as in a source.Set
	before, after []byte
}

// rewrite replaces the file on disk. It is the old one or the new one whatever happens; mode and, where that is allowed, owner
// stay. A file that is not what was read any more is left alone.
func (r rewritten) rewrite() (err error) {
	path, err := filepath.EvalSymlinks(filepath.FromSlash(r.name)) // the link stays one
	if err != nil {
		return fmt.Errorf("write %s: %w", r.name, bareError(err))
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", r.name, bareError(err))
	}
	if now, err := os.ReadFile(path); err != nil || !info.Mode().IsRegular() || !bytes.Equal(now, r.before) {
		return fmt.Errorf("write %s: it is no plain file, or was changed meanwhile", r.name)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".flexgw-*") // hidden: whoever watches the directory leaves it out
	if err != nil {
		return fmt.Errorf("write %s: %w", r.name, bareError(err))
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", r.name, bareError(err))
		}
	}()
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(s.Uid), int(s.Gid)) // only root may give files away
	}
	_, err = f.Write(r.after)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func bareError(err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// diff writes what changes as a unified diff, which patch -p1 and git apply take.
func (r rewritten) diff(w io.Writer) error {
	b := diff.Diff("a/"+r.name, r.before, "b/"+r.name, r.after)
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[i+1:] // a headline of the library's own
	}
	_, err := w.Write(b)
	return err
}

// stdinFile is the name of the file of a set that came from standard input; "": none.
func stdinFile(set source.Set, paths []string) string {
	if !slices.Contains(paths, "-") {
		return ""
	}
	for _, name := range []string{"stdin.yaml", "stdin.json"} {
		if _, err := set.Bytes(name); err == nil {
			if _, err := os.Stat(name); err != nil {
				return name
			}
		}
	}
	return ""
}
