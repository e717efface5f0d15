// Package store keeps the last good declarations on disk, so that a daemon that starts beside a mistake, or without its
// source, serves what was served before.
//
// It keeps declarations, not resources: whatever version of flexgw starts next renders them its own way. Contents are
// files named by their hash; an index, replaced as a whole, names them. What is torn or was tampered with is not used.
package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flexgw/flexgw/schema/source"
)

// Store is one folder. Not safe for concurrent use.
type Store struct {
	dir   string
	known map[source.Hash]bool // contents that are there; nil before the first Save
}

// New is a Store in a folder, which is made when something is saved.
func New(dir string) *Store { return &Store{dir: dir} }

const magic = "flexgw last good 1"

func (s *Store) index() string                { return filepath.Join(s.dir, "index") }
func (s *Store) content(h source.Hash) string { return filepath.Join(s.dir, "contents", h.String()) }

// Save makes set the last good one. The cost follows what changed since the last Save, but for the index.
func (s *Store) Save(set source.Set) error {
	if err := os.MkdirAll(filepath.Join(s.dir, "contents"), 0o700); err != nil {
		return fmt.Errorf("keep the last good declarations: %w", err)
	}
	if s.known == nil {
		s.known = map[source.Hash]bool{}
	}
	wanted := make(map[source.Hash]bool, len(set.Files))
	var index bytes.Buffer
	fmt.Fprintf(&index, "%s\n%s\n", magic, quoted(set.Revision))
	for _, f := range set.Files {
		wanted[f.Hash] = true
		if !s.known[f.Hash] {
			if err := s.put(f); err != nil {
				return fmt.Errorf("keep the last good declarations: %w", err)
			}
			s.known[f.Hash] = true
		}
		fmt.Fprintf(&index, "%s %s\n", f.Hash, quoted(f.Name))
	}
	sum := sha256.Sum256(index.Bytes())
	fmt.Fprintf(&index, "%s\n", hex.EncodeToString(sum[:]))
	if err := replace(s.index(), index.Bytes()); err != nil {
		return fmt.Errorf("keep the last good declarations: %w", err)
	}
	for h := range s.known {
		if !wanted[h] {
			os.Remove(s.content(h))
			delete(s.known, h)
		}
	}
	return nil
}

func (s *Store) put(f source.File) error {
	if _, err := os.Stat(s.content(f.Hash)); err == nil {
		return nil
	}
	b, err := f.Bytes()
	if err != nil {
		return err
	}
	path := s.content(f.Hash)
	// Not synchronised one by one, which takes a millisecond each: a content that a power cut tore is noticed by its hash.
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// replace writes a file so that it is there whole or not at all, also after a power cut.
func replace(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Load is the last good set. ok is false when none was saved. The bytes of its files are checked when they are read.
func (s *Store) Load() (set source.Set, ok bool, err error) {
	b, err := os.ReadFile(s.index())
	if errors.Is(err, fs.ErrNotExist) {
		return set, false, nil
	}
	if err != nil {
		return set, false, fmt.Errorf("read the last good declarations: %w", err)
	}
	if set, err = s.parse(b); err != nil {
		return source.Set{}, false, fmt.Errorf("read the last good declarations: %s: %w", s.index(), err)
	}
	return set, true, nil
}

var errTorn = errors.New("torn or changed, and not used")

func (s *Store) parse(b []byte) (set source.Set, err error) {
	body, sum, ok := cutLast(b)
	want := sha256.Sum256(body)
	if !ok || string(sum) != hex.EncodeToString(want[:]) {
		return set, errTorn
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		line := lines.Bytes()
		switch {
		case n == 0 && string(line) != magic:
			return set, errTorn
		case n == 0:
		case n == 1:
			if err := json.Unmarshal(line, &set.Revision); err != nil {
				return set, errTorn
			}
		default:
			f, err := s.file(line)
			if err != nil {
				return set, err
			}
			set.Files = append(set.Files, f)
		}
	}
	return set, lines.Err()
}

func (s *Store) file(line []byte) (source.File, error) {
	var f source.File
	hash, name, _ := bytes.Cut(line, []byte(" "))
	if n, err := hex.Decode(f.Hash[:], hash); err != nil || n != len(f.Hash) || json.Unmarshal(name, &f.Name) != nil {
		return f, errTorn
	}
	path, want := s.content(f.Hash), f.Hash
	f.Bytes = func() ([]byte, error) {
		b, err := os.ReadFile(path)
		if err == nil && sha256.Sum256(b) != want {
			err = fmt.Errorf("%s: %w", path, errTorn)
		}
		return b, err
	}
	return f, nil
}

// cutLast cuts off the last line.
func cutLast(b []byte) (body, last []byte, ok bool) {
	b, ok = bytes.CutSuffix(b, []byte("\n"))
	i := bytes.LastIndexByte(b, '\n')
	if !ok || i < 0 {
		return nil, nil, false
	}
	return b[:i+1], b[i+1:], true
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return b
}
