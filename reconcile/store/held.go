package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

// heldIndex is the file of the set that KeepHeld keeps. It is an index like that of a generation.
func (s *Store) heldIndex() string { return filepath.Join(s.dir, "held-at") }

// KeepHeld keeps a set beside the generations, in place of the one before: what objects of the newest generation are held at. A set
// without files: they are held at nothing else, and what was kept is forgotten. Contents that are at hand, by their hash, are not read.
// The cost follows what changed since the last call, but for the index.
func (s *Store) KeepHeld(set source.Set, at map[source.Hash][]byte) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep what objects are held at: %w", err)
		}
	}()
	if err := s.prepare(); err != nil {
		return err
	}
	gone, fresh := changes(s.held, set.Files)
	if err := s.putAll(set, fresh, at); err != nil {
		return err
	}
	if len(set.Files) == 0 {
		if err := os.Remove(s.heldIndex()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else {
		text := s.text(set)
		if err := disk.Write(s.heldIndex(), *text, 0o600); err != nil {
			return err
		}
		s.texts.Put(text)
	}
	for _, f := range fresh {
		s.uses[f.Hash]++
	}
	for _, h := range gone {
		s.release(h)
	}
	s.held = set.Files
	return nil
}

// HeldAt is the set that was given to KeepHeld last, contents included. It has no files when there is none, and when it is not whole,
// of which the error tells; what is torn is forgotten.
func (s *Store) HeldAt() (source.Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, err := s.readIndex(s.heldIndex())
	if errors.Is(err, fs.ErrNotExist) {
		return source.Set{}, nil
	}
	if err == nil {
		err = s.verify(set, map[source.Hash]bool{})
	}
	if err == nil {
		return set, nil
	}
	if errors.Is(err, errTorn) || errors.Is(err, fs.ErrNotExist) {
		os.Remove(s.heldIndex())
		s.uses = nil // contents that it names may be wrong: they are written anew
	}
	return source.Set{}, fmt.Errorf("read what objects are held at: %s: %w", s.heldIndex(), err)
}
