// Package source holds one immutable reading of the declarations: names, hashes, and bytes on demand.
//
// It does not know where the bytes live (a directory, a Git object store, standard input) and does not read them itself.
package source

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Hash names a content: its SHA-256 or, in a Set of a Git repository, its GitHash, which is known without reading it.
type Hash [sha256.Size]byte

// GitHash is the Hash of a content that Git has under a name of its own, the SHA-1 of what it calls a blob.
func GitHash(blob [sha1.Size]byte) Hash {
	const kind = "git blob "
	var b [len(kind) + sha1.Size]byte
	copy(b[copy(b[:], kind):], blob[:])
	return sha256.Sum256(b[:])
}

// BlobHash is the GitHash of a content that is at hand.
func BlobHash(b []byte) Hash {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(b))
	h.Write(b)
	var blob [sha1.Size]byte
	h.Sum(blob[:0])
	return GitHash(blob)
}

// Names reports whether h is a Hash of b.
func (h Hash) Names(b []byte) bool { return sha256.Sum256(b) == h || BlobHash(b) == h }

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MaxFileSize is how many bytes a file may have. A reader takes one byte more, so that a larger one can be told and refused.
const MaxFileSize = 32 << 20

// File is one file of a Set.
type File struct {
	Name  string // slash-separated, relative to the source root
	Hash  Hash   // of the bytes; whoever makes a File knows it without the caller reading
	Bytes func() ([]byte, error)
	// Beside: nobody asked for this file; it is there because others belong to its package or import it. It declares nothing by itself.
	Beside bool
}

// NewFile is a File whose bytes are at hand.
func NewFile(name string, b []byte) File {
	return File{Name: name, Hash: sha256.Sum256(b), Bytes: func() ([]byte, error) { return b, nil }}
}

// Set is one reading of all declarations.
type Set struct {
	Revision string  // a commit, or the content hash of a plain directory
	Files    []File  // sorted by name, names are unique
	Commit   *Commit // that Revision names; nil: it is no commit
}

// Commit says who changed what, as people are shown it: nothing in it can move a cursor or hide a letter.
type Commit struct {
	ID        string    `json:"id"`     // hash, in hexadecimal
	Author    string    `json:"author"` // "Name <e-mail>", by their own account
	Committer string    `json:"committer"`
	Subject   string    `json:"subject"` // the first line of the message
	At        time.Time `json:"at"`      // when it was committed, by the committer's own account; UTC
}

// NewSet sorts files and derives the revision from their names and hashes. Callers that know a better revision (a
// commit) overwrite it.
func NewSet(files []File) Set {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, f := range files {
		h.Write([]byte(f.Name))
		h.Write([]byte{0})
		h.Write(f.Hash[:])
	}
	return Set{Revision: "sha256:" + hex.EncodeToString(h.Sum(nil)[:16]), Files: files}
}

// Bytes are those of the file called name; fs.ErrNotExist if there is none.
func (s Set) Bytes(name string) ([]byte, error) {
	i, ok := slices.BinarySearchFunc(s.Files, name, func(f File, n string) int { return strings.Compare(f.Name, n) })
	if !ok {
		return nil, fs.ErrNotExist
	}
	return s.Files[i].Bytes()
}
