// Package cache keeps in a folder what checks have found, so that a check of the same input need not be made again.
//
// It keeps bytes by name and judges nothing: which input makes two checks the same, its caller knows. Whatever it cannot read,
// and whatever is not whole, counts as absent.
package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strconv"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// Key names an entry: the hash of everything that it depends on.
type Key [sha256.Size]byte

// KeyOf is the Key of parts, which it tells apart: ("ab", "c") is another Key than ("a", "bc").
func KeyOf(parts ...string) Key {
	h := sha256.New()
	var b []byte
	for _, p := range parts { // of many files, names and hashes
		b = append(strconv.AppendInt(b[:0], int64(len(p)), 10), ':')
		b = append(b, p...)
		h.Write(b)
	}
	return Key(h.Sum(nil))
}

// The bounds of a folder. Beyond them, what was not used for the longest time goes, down to three quarters.
const (
	mostEntries = 256
	mostBytes   = 128 << 20
	mostOfOne   = 64 << 20 // a larger entry is not kept
)

// magic begins every entry. Another format gets another one.
const magic = "flexgw cache 1\n"

const entryPrefix = "entry-"

// Folder is a folder of entries. Processes may share it, and anybody may remove files in it, or all of it, at any time.
type Folder struct{ files disk.Folder }

// Open makes a folder, for its owner alone, unless it is there.
func Open(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &Folder{disk.Folder{Dir: dir, Prefixes: []string{entryPrefix}, Entries: mostEntries, Bytes: mostBytes}}, nil
}

func name(k Key) string { return entryPrefix + hex.EncodeToString(k[:20]) }

// Get is what was put under a key.
func (f *Folder) Get(k Key) ([]byte, bool) {
	b, ok := f.files.Get(name(k), mostOfOne)
	if !ok {
		return nil, false
	}
	if b, ok = open(k, b); ok {
		f.files.Touch(name(k)) // what is used stays
	}
	return b, ok
}

// Put keeps parts, one after the other, under a key, in the place of what was there: the whole of it or nothing. Only its owner
// may read it.
func (f *Folder) Put(k Key, parts ...[]byte) error {
	b := seal(k, parts...)
	if len(b) > mostOfOne/2 {
		return nil
	}
	f.mark()
	return f.files.Put(name(k), b)
}

// seal adds to a content what open wants to see.
func seal(k Key, parts ...[]byte) []byte {
	sum := checksum(k, parts...)
	return slices.Concat(append([][]byte{[]byte(magic), sum[:]}, parts...)...)
}

func checksum(k Key, parts ...[]byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(k[:])
	for _, p := range parts {
		h.Write(p)
	}
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

// mark tells Git and backup programs that nothing here is worth keeping. See https://bford.info/cachedir/.
func (f *Folder) mark() {
	f.files.Label(".gitignore", "*\n")
	f.files.Label("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# What flexgw validate --cache has found. It may be deleted at any time.\n")
}
