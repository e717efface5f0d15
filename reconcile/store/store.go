// Package store keeps what a daemon must not forget: the last declarations that were programmed, a few generations of them,
// what objects are held at, what happened, and what operators asked for.
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
	uses map[source.Hash]int  // how many times a file got a content, in the generations as they follow each other; nil before the first Save
	kept []generation         // that uses counts, the newest first
	last []source.File        // of the newest one
	held []source.File        // of the set that KeepHeld kept, which uses counts too
	torn map[source.Hash]bool // contents that are named, and are not there or not as they were written; found when uses was

	texts sync.Pool // *[]byte: indexes are large, and written one after another while edits follow each other
}

// generation is one index; revision "" when it is not whole.
type generation struct {
	number   uint64
	revision string
	gone     []source.Hash // contents of files that the next newer one does not have so
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
// Contents that are at hand, by their hash, are not read. The cost follows what changed since the last Save, but for the index.
func (s *Store) Save(set source.Set, at map[source.Hash][]byte) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the last good declarations: %w", err)
		}
	}()
	if err := s.prepare(); err != nil {
		return err
	}
	next := generation{number: 1, revision: set.Revision}
	if len(s.kept) > 0 {
		next.number = s.kept[0].number + 1
	}
	gone, fresh := changes(s.last, set.Files)
	if err := s.putAll(set, fresh, at); err != nil {
		return err
	}
	text := s.text(set)
	if err := disk.Write(s.index(next.number), *text, 0o600); err != nil {
		return err
	}
	s.texts.Put(text)
	s.push(next, gone, fresh, set.Files)
	return s.trim()
}

// prepare makes the folders, and finds out what they hold.
func (s *Store) prepare() error {
	for _, dir := range []string{filepath.Join(s.dir, "contents"), s.generations()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if s.uses == nil {
		return s.recount()
	}
	return nil
}

// putAll writes the contents of a set that are not here, or are torn. Those of files that stay as they are were looked at when
// this process began.
func (s *Store) putAll(set source.Set, fresh []source.File, at map[source.Hash][]byte) error {
	todo := fresh
	if len(s.torn) > 0 {
		todo = slices.Clone(fresh)
		for _, f := range set.Files {
			if s.torn[f.Hash] {
				todo = append(todo, f)
			}
		}
	}
	for _, f := range todo {
		if err := s.put(f, at); err != nil {
			return err
		}
		delete(s.torn, f.Hash)
	}
	return nil
}

// text is the index of a generation.
func (s *Store) text(set source.Set) *[]byte {
	size := len(magic) + 256
	for _, f := range set.Files {
		size += hex.EncodedLen(len(f.Hash)) + len(f.Name) + len(` ""`) + 1
	}
	text, _ := s.texts.Get().(*[]byte)
	if text == nil {
		text = new([]byte)
	}
	b := append(slices.Grow((*text)[:0], size), magic+"\n"...)
	b = append(appendQuoted(b, set.Revision), '\n')
	for _, f := range set.Files {
		b = append(hex.AppendEncode(b, f.Hash[:]), ' ')
		b = append(appendQuoted(b, f.Name), '\n')
	}
	sum := sha256.Sum256(b)
	*text = append(hex.AppendEncode(b, sum[:]), '\n')
	return text
}

// changes are the contents that old files have no more now, and the files that old has not like this.
func changes(old, now []source.File) (gone []source.Hash, fresh []source.File) {
	for len(old) > 0 || len(now) > 0 {
		c := 0
		switch {
		case len(old) == 0:
			c = 1
		case len(now) == 0:
			c = -1
		default:
			c = strings.Compare(old[0].Name, now[0].Name)
		}
		if c == 0 && old[0].Hash == now[0].Hash {
			old, now = old[1:], now[1:]
			continue
		}
		if c <= 0 {
			gone, old = append(gone, old[0].Hash), old[1:]
		}
		if c >= 0 {
			fresh, now = append(fresh, now[0]), now[1:]
		}
	}
	return gone, fresh
}

// push counts a generation that is newer than all others.
func (s *Store) push(g generation, gone []source.Hash, fresh, files []source.File) {
	for _, f := range fresh {
		s.uses[f.Hash]++
	}
	if len(s.kept) > 0 {
		s.kept[0].gone = gone
	}
	s.kept, s.last = slices.Insert(s.kept, 0, g), files
}

// trim forgets generations that have the revision of the newest one, and the oldest of too many.
func (s *Store) trim() error {
	again := false
	drop := func(i int) {
		g := s.kept[i]
		os.Remove(s.index(g.number))
		switch {
		case again:
		case i == len(s.kept)-1:
			for _, h := range g.gone {
				s.release(h)
			}
		case i > 1 || len(g.gone) > 0: // which contents only it had, of those around it, is not known
			again = true
		}
		s.kept = slices.Delete(s.kept, i, i+1)
	}
	for i := len(s.kept) - 1; i > 0; i-- {
		if g := s.kept[i]; g.revision == "" || g.revision == s.kept[0].revision {
			drop(i)
		}
	}
	for len(s.kept) > Generations {
		drop(len(s.kept) - 1)
	}
	if !again {
		return nil
	}
	newest := s.last
	if err := s.recount(); err != nil {
		return err
	}
	s.last = newest
	return nil
}

// release takes back one use of a content.
func (s *Store) release(h source.Hash) {
	if s.uses[h]--; s.uses[h] <= 0 {
		delete(s.uses, h)
		os.Remove(s.content(h))
	}
}

// Missing are the files of a set whose contents are not kept yet.
func (s *Store) Missing(set source.Set) []source.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses == nil && s.recount() != nil {
		return set.Files
	}
	_, fresh := changes(s.last, set.Files)
	missing := slices.DeleteFunc(fresh, func(f source.File) bool { return s.uses[f.Hash] > 0 })
	if len(s.torn) > 0 {
		for _, f := range set.Files {
			if s.torn[f.Hash] {
				missing = append(missing, f)
			}
		}
	}
	return missing
}

// Kept is a set whose contents come from here, as far as they are kept.
func (s *Store) Kept(set source.Set) source.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	set.Files = slices.Clone(set.Files)
	for i, f := range set.Files {
		if s.uses[f.Hash] > 0 && !s.torn[f.Hash] {
			set.Files[i].Bytes = s.bytes(f.Hash)
		}
	}
	return set
}

// recount finds out which contents the generations name, which of them are torn, and removes those that none does.
func (s *Store) recount() error {
	numbers, err := s.numbers()
	if err != nil {
		return err
	}
	s.uses, s.torn, s.kept, s.last, s.held = map[source.Hash]int{}, map[source.Hash]bool{}, nil, nil, nil
	for _, n := range slices.Backward(numbers) {
		set, err := s.read(n)
		if err != nil {
			set = source.Set{} // torn: forgotten with the next Save
		}
		gone, fresh := changes(s.last, set.Files)
		s.push(generation{number: n, revision: set.Revision}, gone, fresh, set.Files)
	}
	if set, err := s.readIndex(s.heldIndex()); err == nil {
		s.held = set.Files
		for _, f := range set.Files {
			s.uses[f.Hash]++
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "contents"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sound := make(map[source.Hash]bool, len(s.uses))
	var text bytes.Buffer
	for _, e := range entries {
		var h source.Hash
		if n, err := hex.Decode(h[:], []byte(e.Name())); err != nil || n != len(h) || s.uses[h] == 0 {
			os.Remove(filepath.Join(s.dir, "contents", e.Name()))
			continue
		}
		sound[h] = s.sound(h, &text)
	}
	for h := range s.uses {
		if !sound[h] {
			s.torn[h] = true
		}
	}
	return nil
}

// sound says whether a content is what its name says. text is room to read into.
func (s *Store) sound(h source.Hash, text *bytes.Buffer) bool {
	f, err := os.Open(s.content(h))
	if err != nil {
		return false
	}
	defer f.Close()
	text.Reset()
	_, err = text.ReadFrom(f)
	return err == nil && h.Names(text.Bytes())
}

func (s *Store) put(f source.File, at map[source.Hash][]byte) error {
	path := s.content(f.Hash)
	if b, err := os.ReadFile(path); err == nil && f.Hash.Names(b) {
		return nil
	}
	b, ok := at[f.Hash]
	if !ok {
		var err error
		if b, err = f.Bytes(); err != nil {
			return err
		}
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

func (s *Store) read(n uint64) (source.Set, error) { return s.readIndex(s.index(n)) }

func (s *Store) readIndex(path string) (set source.Set, err error) {
	b, err := os.ReadFile(path)
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
	return func() ([]byte, error) {
		path := s.content(want)
		b, err := os.ReadFile(path)
		if err == nil && !want.Names(b) {
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

// appendQuoted appends a string as JSON has it.
func appendQuoted(to []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		c := s[i]
		plain = c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	if plain {
		return append(append(append(to, '"'), s...), '"')
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return append(to, b...)
}
