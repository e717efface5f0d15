// Package disk writes files whole, and keeps folders of files that are worth less than the room they take.
//
// It knows nothing of what is in the files, and touches none that it did not name itself.
package disk

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Cause leaves the path out of an error of the system, for who tells it with the path that the user gave.
func Cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Full says whether an error is that there is no room, or no leave to take more of it.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Unfinished begins the names of files that Write, Replace and Private have not put in place yet, and that stay when the process is killed
// then. They are hidden: whoever watches the folder leaves them out.
const Unfinished = ".flexgw-"

// Write gives the file at path a content: whatever happens, it has all of it or what it had. A new file gets mode, less what the
// process masks; one that is there keeps its own and, where that is allowed, its owner. Links are followed, and what is no plain
// file (a device, a pipe) is written to as it is.
func Write(path string, b []byte, mode fs.FileMode) error {
	path, info, err := target(path)
	if err != nil {
		return err
	}
	if info != nil && !info.Mode().IsRegular() {
		return direct(path, b)
	}
	err = replace(path, b, mode, info, Unfinished)
	if info != nil && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EBUSY)) {
		return direct(path, b) // the folder takes no new file, or the file is a mount of its own: there is no other way
	}
	return err
}

// Replace is Write for a file that is there, plain, and must not be seen half: it fails where Write would write in place.
func Replace(path string, b []byte) error {
	path, info, err := target(path)
	switch {
	case err != nil:
		return err
	case info == nil:
		return fs.ErrNotExist
	case !info.Mode().IsRegular():
		return errors.New("it is no plain file")
	}
	return replace(path, b, 0, info, Unfinished)
}

// Private puts a new file in the place of path, for who runs this alone: mode, owner and group of what is there do not count, and who
// has that open does not see the new one. It fails where Write would write in place. The file has its name for good when Private returns,
// even if the power goes then: a key may be in it that is nowhere else.
func Private(path string, b []byte) error {
	path, info, err := target(path)
	if err != nil {
		return err
	}
	if info != nil && !info.Mode().IsRegular() {
		return errors.New("it is no plain file")
	}
	if err := replace(path, b, 0o600, nil, Unfinished); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder has the names in a folder on the disk: a new file, or one that was renamed or removed, is so after the power went, too.
func SyncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// target is where links lead, and what is there; nil is nothing.
func target(path string) (string, fs.FileInfo, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil, nil
	}
	return path, info, err
}

func direct(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// replace puts a new file in the place of path. was is what is there; nil: nothing.
func replace(path string, b []byte, mode fs.FileMode, was fs.FileInfo, prefix string) error {
	f, err := fresh(filepath.Dir(path), prefix, mode)
	if err != nil {
		return err
	}
	if was != nil {
		if s, ok := was.Sys().(*syscall.Stat_t); ok {
			_ = f.Chown(int(s.Uid), int(s.Gid)) // only root may give files away
		}
		err = f.Chmod(was.Mode().Perm())
	}
	if err == nil {
		_, err = f.Write(b)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// fresh makes a file under a name that nobody has. os.CreateTemp would not ask the mask of the process.
func fresh(dir, prefix string, mode fs.FileMode) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := os.OpenFile(filepath.Join(dir, prefix+strconv.FormatUint(rand.Uint64(), 36)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) || try == 100 {
			return f, err
		}
	}
}
