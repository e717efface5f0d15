// Package cache keeps in a folder what checks have found, so that a check of the same input need not be made again.
//
// It keeps bytes by name and judges nothing: which input makes two checks the same, its caller knows. Whatever it cannot read,
// and whatever is not whole, counts as absent.
package cache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Key names an entry: the hash of everything that it depends on.
type Key [sha256.Size]byte

// KeyOf is the Key of parts, which it tells apart: ("ab", "c") is another Key than ("a", "bc").
func KeyOf(parts ...string) Key {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write([]byte(p))
	}
	return Key(h.Sum(nil))
}

// The bounds of a folder. Beyond them, what was not used for the longest time goes, down to three quarters.
const (
	mostEntries = 256
	mostBytes   = 128 << 20
	mostOfOne   = 64 << 20 // a larger entry is not kept
)

// litter is how old a file of a write that never ended is when it is removed.
const litter = time.Hour

// magic begins every entry. Another format gets another one.
const magic = "flexgw cache 1\n"

const (
	entryPrefix = "entry-"
	freshPrefix = "new-"
)

// Folder is a folder of entries. Processes may share it, and anybody may remove files in it, or all of it, at any time.
type Folder struct {
	dir           string
	entries, size int64
}

// Open makes a folder, for its owner alone, unless it is there.
func Open(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &Folder{dir: dir, entries: mostEntries, size: mostBytes}, nil
}

func (f *Folder) path(k Key) string {
	return filepath.Join(f.dir, entryPrefix+hex.EncodeToString(k[:20]))
}

// Get is what was put under a key.
func (f *Folder) Get(k Key) ([]byte, bool) {
	path := f.path(k)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > mostOfOne { // a link or a pipe is nothing of ours
		return nil, false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	b, ok := open(k, b)
	if ok {
		now := time.Now()
		_ = os.Chtimes(path, now, now) // what is used stays
	}
	return b, ok
}

// Put keeps b under a key, in the place of what was there: the whole of it or nothing. Only its owner may read it.
func (f *Folder) Put(k Key, b []byte) error {
	if len(b) > mostOfOne/2 {
		return nil
	}
	f.mark()
	if err := f.write(f.path(k), seal(k, b)); err != nil {
		return err
	}
	f.trim()
	return nil
}

// seal adds to a content what open wants to see.
func seal(k Key, b []byte) []byte {
	sum := checksum(k, b)
	return slices.Concat([]byte(magic), sum[:], b)
}

func checksum(k Key, b []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(k[:])
	h.Write(b)
	return [sha256.Size]byte(h.Sum(nil))
}

// open is the content of an entry that is whole, of this format, and was put under this very key.
func open(k Key, b []byte) ([]byte, bool) {
	b, ours := bytes.CutPrefix(b, []byte(magic))
	if !ours || len(b) < sha256.Size {
		return nil, false
	}
	sum, b := b[:sha256.Size], b[sha256.Size:]
	want := checksum(k, b)
	return b, bytes.Equal(sum, want[:])
}

func (f *Folder) write(path string, b []byte) error {
	t, err := os.CreateTemp(f.dir, freshPrefix) // mode 0600
	if errors.Is(err, fs.ErrNotExist) {         // somebody has removed the folder
		if err = os.MkdirAll(f.dir, 0o700); err == nil {
			t, err = os.CreateTemp(f.dir, freshPrefix)
		}
	}
	if err != nil {
		return err
	}
	_, err = t.Write(b)
	if err = errors.Join(err, t.Close()); err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		_ = os.Remove(t.Name())
	}
	return err
}

// mark tells Git and backup programs that nothing here is worth keeping. See https://bford.info/cachedir/.
func (f *Folder) mark() {
	for name, text := range map[string]string{
		".gitignore":   "*\n",
		"CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# What flexgw validate --cache has found. It may be deleted at any time.\n",
	} {
		path := filepath.Join(f.dir, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			_ = f.write(path, []byte(text))
		}
	}
}

// trim removes what is too much, and what writers that were killed have left.
func (f *Folder) trim() {
	all, err := os.ReadDir(f.dir)
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
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		switch {
		case strings.HasPrefix(e.Name(), entryPrefix):
			entries = append(entries, entry{e.Name(), info.ModTime(), info.Size()})
			size += info.Size()
		case strings.HasPrefix(e.Name(), freshPrefix) && time.Since(info.ModTime()) > litter:
			_ = os.Remove(filepath.Join(f.dir, e.Name()))
		}
	}
	if int64(len(entries)) <= f.entries && size <= f.size {
		return
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.name, b.name)) })
	for n := int64(len(entries)); n > f.entries*3/4 || size > f.size*3/4; n-- {
		e := entries[0]
		_ = os.Remove(filepath.Join(f.dir, e.name))
		entries, size = entries[1:], size-e.size
	}
}
