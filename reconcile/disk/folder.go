package disk

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Folder is a folder of entries, files whose names begin with one of Prefixes. Processes may share it, and anybody may remove
// files in it, or all of it, at any time. Beyond its bounds, what was not used for the longest time goes, down to three quarters.
// Whatever else stands in the folder is not touched and does not count.
type Folder struct {
	Dir      string
	Prefixes []string
	Entries  int   // at most
	Bytes    int64 // of all entries together, at most; 0: no bound
}

// freshPrefix begins the name of an entry that is being written, and no other.
const freshPrefix = ".flexgw-new-"

// litter is how old a file of a write that never ended is when it is removed.
const litter = time.Hour

// Get is an entry of most bytes at most; it counts as used. A link or a pipe is no entry.
func (f Folder) Get(name string, most int64) ([]byte, bool) {
	path := filepath.Join(f.Dir, name)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return nil, false
	}
	b, err := os.ReadFile(path)
	return b, err == nil
}

// Touch makes an entry the one that was used last.
func (f Folder) Touch(name string) {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(f.Dir, name), now, now)
}

// Put keeps an entry in the place of what was there, the whole of it or nothing, for its owner alone, and makes room for it.
func (f Folder) Put(name string, b []byte) error {
	if err := f.write(name, b); err != nil {
		return err
	}
	f.trim()
	return nil
}

// Label writes a file that is no entry, such as a .gitignore, unless something of that name is there.
func (f Folder) Label(name, text string) {
	if _, err := os.Lstat(filepath.Join(f.Dir, name)); errors.Is(err, fs.ErrNotExist) {
		_ = f.write(name, []byte(text))
	}
}

func (f Folder) write(name string, b []byte) error {
	t, err := fresh(f.Dir, freshPrefix, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // not made yet, or removed by somebody
		if err = os.MkdirAll(f.Dir, 0o700); err == nil {
			t, err = fresh(f.Dir, freshPrefix, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = t.Write(b)
	if err = errors.Join(err, t.Close()); err == nil {
		err = os.Rename(t.Name(), filepath.Join(f.Dir, name))
	}
	if err != nil {
		_ = os.Remove(t.Name())
	}
	return err
}

// trim removes what is too much, and what writers that were killed have left.
func (f Folder) trim() {
	all, err := os.ReadDir(f.Dir)
	if err != nil {
		return
	}
	type entry struct {
		name string
		used time.Time
		size int64
	}
	var entries []entry
	size := int64(0)
	for _, e := range all {
		ours, left := f.owns(e.Name()), strings.HasPrefix(e.Name(), freshPrefix)
		if !ours && !left {
			continue
		}
		info, err := e.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case ours:
			entries = append(entries, entry{e.Name(), info.ModTime(), info.Size()})
			size += info.Size()
		case time.Since(info.ModTime()) > litter:
			_ = os.Remove(filepath.Join(f.Dir, e.Name()))
		}
	}
	bounded := f.Bytes > 0
	if len(entries) <= f.Entries && (!bounded || size <= f.Bytes) {
		return
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.name, b.name)) })
	for len(entries) > f.Entries*3/4 || bounded && size > f.Bytes*3/4 {
		_ = os.Remove(filepath.Join(f.Dir, entries[0].name))
		entries, size = entries[1:], size-entries[0].size
	}
}

func (f Folder) owns(name string) bool {
	return slices.ContainsFunc(f.Prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}
