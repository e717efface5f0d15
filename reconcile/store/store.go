// Package store keeps what a daemon must not forget: the last declarations that were programmed, a few generations of them,
// what happened, and what operators asked for.
//
// It keeps declarations, not resources: whatever version of flexgw starts next renders them its own way. Contents are
// files named by their hash; a generation is an index, written as a whole, that names them. What is torn or was tampered
// with is not used: the generation before it is.
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
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

// Generations is how many sets are kept.
const Generations = 8

// minPrefix is how many characters of a revision name it.
const minPrefix = 6

// Store is one folder, of one process. All methods are safe for concurrent use.
type Store struct {
	dir string

	mu   sync.Mutex
	uses map[source.Hash]int // how many generations name a content; nil before the first Save
	kept []generation        // that uses counts, the newest first
}

// generation is one index; revision "" when it is not whole.
type generation struct {
	number   uint64
	revision string
}

// New is a Store in a folder, which is made when something is saved.
func New(dir string) *Store { return &Store{dir: dir} }

const magic = "flexgw generation 1"

func (s *Store) generations() string          { return filepath.Join(s.dir, "generations") }
func (s *Store) content(h source.Hash) string { return filepath.Join(s.dir, "contents", h.String()) }

// index is the file of a generation.
func (s *Store) index(n uint64) string {
	return filepath.Join(s.generations(), fmt.Sprintf("%016d", n))
}

// numbers lists the generations, the newest first.
func (s *Store) numbers() ([]uint64, error) {
	entries, err := os.ReadDir(s.generations())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && len(e.Name()) == 16 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out, nil
}

// Save makes set the newest generation and forgets the oldest ones. A revision that is kept already is moved to the front.
// The cost follows what changed since the last Save, but for the index.
func (s *Store) Save(set source.Set) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the last good declarations: %w", err)
		}
	}()
	for _, dir := range []string{filepath.Join(s.dir, "contents"), s.generations()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if s.uses == nil {
		if err := s.recount(); err != nil {
			return err
		}
	}
	next := generation{number: 1, revision: set.Revision}
	if len(s.kept) > 0 {
		next.number = s.kept[0].number + 1
	}
	var index bytes.Buffer
	fmt.Fprintf(&index, "%s\n%s\n", magic, quoted(set.Revision))
	for _, f := range set.Files {
		if s.uses[f.Hash] == 0 {
			if err := s.put(f); err != nil {
				return err
			}
		}
		fmt.Fprintf(&index, "%s %s\n", f.Hash, quoted(f.Name))
	}
	sum := sha256.Sum256(index.Bytes())
	fmt.Fprintf(&index, "%s\n", hex.EncodeToString(sum[:]))
	if err := disk.Write(s.index(next.number), index.Bytes(), 0o600); err != nil {
		return err
	}
	for _, f := range set.Files {
		s.uses[f.Hash]++
	}
	kept := []generation{next}
	for _, g := range s.kept {
		if g.revision != "" && g.revision != set.Revision && len(kept) < Generations {
			kept = append(kept, g)
		} else {
			s.forget(g)
		}
	}
	s.kept = kept
	return nil
}

// Missing are the files of a set whose contents are not kept yet.
func (s *Store) Missing(set source.Set) []source.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses == nil && s.recount() != nil {
		return set.Files
	}
	var out []source.File
	for _, f := range set.Files {
		if s.uses[f.Hash] == 0 {
			out = append(out, f)
		}
	}
	return out
}

// Kept is a set whose contents come from here, as far as they are kept.
func (s *Store) Kept(set source.Set) source.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	set.Files = slices.Clone(set.Files)
	for i, f := range set.Files {
		if s.uses[f.Hash] > 0 {
			set.Files[i].Bytes = s.bytes(f.Hash)
		}
	}
	return set
}

// recount finds out which contents the generations name, and removes those that none does.
func (s *Store) recount() error {
	numbers, err := s.numbers()
	if err != nil {
		return err
	}
	s.uses, s.kept = map[source.Hash]int{}, nil
	for _, n := range numbers {
		set, err := s.read(n)
		if err != nil {
			set = source.Set{} // torn: forgotten with the next Save
		}
		s.kept = append(s.kept, generation{n, set.Revision})
		for _, f := range set.Files {
			s.uses[f.Hash]++
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "contents"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		var h source.Hash
		if n, err := hex.Decode(h[:], []byte(e.Name())); err != nil || n != len(h) || s.uses[h] == 0 {
			os.Remove(filepath.Join(s.dir, "contents", e.Name()))
		}
	}
	return nil
}

// forget removes a generation, and the contents that only it named.
func (s *Store) forget(g generation) {
	set, err := s.read(g.number)
	os.Remove(s.index(g.number))
	if err != nil {
		return
	}
	for _, f := range set.Files {
		if s.uses[f.Hash]--; s.uses[f.Hash] <= 0 {
			delete(s.uses, f.Hash)
			os.Remove(s.content(f.Hash))
		}
	}
}

func (s *Store) put(f source.File) error {
	path := s.content(f.Hash)
	if b, err := os.ReadFile(path); err == nil && sha256.Sum256(b) == f.Hash {
		return nil
	}
	b, err := f.Bytes()
	if err != nil {
		return err
	}
	// Not synchronised one by one, which takes a millisecond each: a content that a power cut tore is noticed by its hash.
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Load lists the generations that are whole, contents included, the newest first. The error tells of those that are not,
// and may come with others that are.
func (s *Store) Load() (sets []source.Set, err error) {
	numbers, err := s.numbers()
	if err != nil {
		return nil, fmt.Errorf("read the last good declarations: %w", err)
	}
	sound := map[source.Hash]bool{}
	for _, n := range numbers {
		set, e := s.read(n)
		if e == nil {
			e = s.verify(set, sound)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("read the last good declarations: %s: %w", s.index(n), e))
			continue
		}
		sets = append(sets, set)
	}
	return sets, err
}

// verify reads the contents of a set that are not known to be sound.
func (s *Store) verify(set source.Set, sound map[source.Hash]bool) error {
	for _, f := range set.Files {
		if sound[f.Hash] {
			continue
		}
		if _, err := f.Bytes(); err != nil {
			return err
		}
		sound[f.Hash] = true
	}
	return nil
}

// Find is the kept generation of a revision, or of a prefix of one, with or without what stands before a colon in it. "" is
// the newest one that is not of the revision served. The bytes of its files are checked when they are read.
func (s *Store) Find(revision, served string) (source.Set, bool) {
	numbers, err := s.numbers()
	if err != nil {
		return source.Set{}, false
	}
	var found []source.Set
	for _, n := range numbers {
		g, err := s.read(n)
		switch {
		case err != nil:
		case revision == "" && g.Revision != served, g.Revision == revision:
			return g, true
		case revision != "" && len(revision) >= minPrefix && names(revision, g.Revision):
			found = append(found, g)
		}
	}
	if len(found) != 1 {
		return source.Set{}, false
	}
	return found[0], true
}

// Revisions lists those that Find can have, the newest first.
func (s *Store) Revisions() ([]string, error) {
	numbers, err := s.numbers()
	if err != nil {
		return nil, fmt.Errorf("read the last good declarations: %w", err)
	}
	out := []string{}
	for _, n := range numbers {
		if g, err := s.read(n); err == nil {
			out = append(out, g.Revision)
		}
	}
	return out, nil
}

// names says whether a prefix is one of a revision.
func names(prefix, revision string) bool {
	_, bare, _ := strings.Cut(revision, ":")
	return strings.HasPrefix(revision, prefix) || strings.HasPrefix(bare, prefix)
}

var errTorn = errors.New("torn or changed, and not used")

func (s *Store) read(n uint64) (set source.Set, err error) {
	b, err := os.ReadFile(s.index(n))
	if err != nil {
		return set, err
	}
	set, err = s.parse(b)
	if err != nil {
		return source.Set{}, err
	}
	return set, nil
}

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
	f.Bytes = s.bytes(f.Hash)
	return f, nil
}

// bytes reads a content, and checks it.
func (s *Store) bytes(want source.Hash) func() ([]byte, error) {
	path := s.content(want)
	return func() ([]byte, error) {
		b, err := os.ReadFile(path)
		if err == nil && sha256.Sum256(b) != want {
			err = fmt.Errorf("%s: %w", path, errTorn)
		}
		return b, err
	}
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
