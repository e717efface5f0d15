// Package flex brings declarations to the configuration folder of a real Flex Gateway.
//
// It copies: the gateway reads the very files that were judged. It touches only files that it brought there itself, which a
// list in the folder names, and replaces each as a whole: what is new and what changed first, what is gone last.
package flex

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/schema/source"
)

// Target is the folder, conf.d of the product.
type Target struct {
	Dir string
	// Proof is asked once all is in the folder; an error puts back what was there before. nil: none.
	Proof func() error
}

// The states that Apply leaves after a Proof with an error.
var (
	// ErrUnproven: the folder is as it was.
	ErrUnproven = errors.New("it did not stand its proof")
	// ErrKept: there is nothing to go back to.
	ErrKept = errors.New("it did not stand its proof and stays, for nothing else was there before")
)

// listName is hidden: the product leaves such files alone.
const listName = ".flexgw.json"

// list is what we brought to a folder.
type list struct {
	Revision string              `json:"revision"`
	Files    map[string][]string `json:"files"` // by name: the SHA-256 of what we brought; two while one takes the place of the other
}

// Change is what an application does to the folder. Names are relative to it, slash-separated, sorted.
type Change struct {
	Base    string // the revision before; "": none
	Written []string
	Removed []string
}

// Conflict is a file of the folder that is in the way.
type Conflict struct{ Path, Why string }

func (c *Conflict) Error() string { return c.Path + " " + c.Why }

// Plan says what Apply would do. Files that others wrote, or changed after we did, and that would be written over, are a
// joined *Conflict.
func (t Target) Plan(set source.Set) (Change, error) {
	was, err := t.read()
	if err != nil {
		return Change{}, err
	}
	c := Change{Base: was.Revision}
	var conflicts error
	names := map[string]bool{}
	for _, f := range set.Files {
		if err := allowed(f.Name); err != nil {
			return c, err
		}
		names[f.Name] = true
		now, err := t.hash(f.Name)
		switch {
		case err != nil:
			return c, err
		case now == f.Hash.String():
			continue
		case now != "" && was.Files[f.Name] == nil:
			conflicts = errors.Join(conflicts, &Conflict{t.path(f.Name), "is there, and flexgw did not bring it: move it away, or take it into the declarations as it is"})
		case now != "" && !slices.Contains(was.Files[f.Name], now):
			conflicts = errors.Join(conflicts, &Conflict{t.path(f.Name), "was changed by somebody else since flexgw brought it: take the change into the declarations, or remove the file"})
		}
		c.Written = append(c.Written, f.Name)
	}
	for name := range was.Files {
		if names[name] {
			continue
		}
		now, err := t.hash(name)
		switch {
		case err != nil:
			return c, err
		case now == "": // gone already
		case !slices.Contains(was.Files[name], now):
			conflicts = errors.Join(conflicts, &Conflict{t.path(name), "was changed by somebody else since flexgw brought it, and would be removed: take the change into the declarations, or remove the file"})
		default:
			c.Removed = append(c.Removed, name)
		}
	}
	slices.Sort(c.Written)
	slices.Sort(c.Removed)
	return c, conflicts
}

// Apply makes the folder hold set, beside what is not ours.
func (t Target) Apply(set source.Set) (Change, error) {
	if info, err := os.Stat(t.Dir); err != nil || !info.IsDir() {
		return Change{}, fmt.Errorf("%s: a folder is expected, conf.d of the gateway: %w", t.Dir, errors.Join(err, fs.ErrInvalid))
	}
	lock, err := envoy.LockFile(filepath.Join(t.Dir, ".flexgw.lock"))
	if err != nil {
		return Change{}, fmt.Errorf("somebody else writes there: %w", err)
	}
	defer lock.Unlock()
	c, err := t.Plan(set)
	if err != nil {
		return c, err
	}
	contents, before := map[string][]byte{}, map[string][]byte{} // both before anything is written
	for _, f := range set.Files {
		if slices.Contains(c.Written, f.Name) {
			if contents[f.Name], err = f.Bytes(); err != nil {
				return c, err
			}
		}
	}
	for _, name := range append(slices.Clone(c.Written), c.Removed...) {
		if before[name], err = os.ReadFile(t.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	was, err := t.read()
	if err != nil {
		return c, err
	}
	// Ours from now on, whatever happens: a write that is cut off must not make our own file a stranger's.
	during := owned(set, was, c)
	if err := t.write(during); err != nil {
		return c, err
	}
	if err := t.replace(c.Written, contents, c.Removed); err != nil {
		return c, err
	}
	if t.Proof != nil {
		why := t.Proof()
		switch {
		case why == nil:
		case len(was.Files) > 0 && len(before) > 0:
			return c, t.putBack(during, was, before, why)
		default:
			return c, errors.Join(fmt.Errorf("%w: %w", ErrKept, why), t.write(owned(set, was, Change{})))
		}
	}
	return c, t.write(owned(set, was, Change{}))
}

// replace writes files with their contents, then removes others.
func (t Target) replace(written []string, contents map[string][]byte, removed []string) error {
	for _, name := range written {
		if err := os.MkdirAll(filepath.Dir(t.path(name)), 0o755); err != nil {
			return err
		}
		if err := disk.Write(t.path(name), contents[name], 0o644); err != nil {
			return fmt.Errorf("write %s: %w", t.path(name), err)
		}
	}
	for _, name := range removed {
		if err := os.Remove(t.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", t.path(name), err)
		}
	}
	return nil
}

// putBack makes the folder what it was, but for files that somebody changed meanwhile: those are theirs. Contents are nil of
// files that were not there.
func (t Target) putBack(during, was list, before map[string][]byte, why error) error {
	var written, removed []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		now, err := t.hash(name)
		switch {
		case err != nil:
			return errors.Join(why, err)
		case now != "" && !slices.Contains(during.Files[name], now):
			return errors.Join(why, &Conflict{t.path(name), "was changed by somebody else while its Probes were asked: nothing was put back"})
		case before[name] == nil:
			removed = append(removed, name)
		default:
			written = append(written, name)
		}
	}
	if err := t.replace(written, before, removed); err != nil {
		return errors.Join(why, err)
	}
	return errors.Join(fmt.Errorf("%w: %w", ErrUnproven, why), t.write(was))
}

func (t Target) path(name string) string { return filepath.Join(t.Dir, filepath.FromSlash(name)) }

// allowed refuses names that the product does not read, or that lead elsewhere.
func allowed(name string) error {
	switch {
	case path.Ext(name) == ".cue":
		return fmt.Errorf("%s: Flex Gateway reads YAML and JSON, not CUE: write it out with cue export", name)
	case !filepath.IsLocal(filepath.FromSlash(name)) || strings.HasPrefix(path.Base(name), "."):
		return fmt.Errorf("%s: no name for a file in the configuration folder", name)
	}
	return nil
}

// hash is that of a file; "": there is none.
func (t Target) hash(name string) (string, error) {
	b, err := os.ReadFile(t.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func (t Target) read() (l list, err error) {
	b, err := os.ReadFile(filepath.Join(t.Dir, listName))
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		return l, fmt.Errorf("%s says what flexgw brought there, and cannot be read: %w", filepath.Join(t.Dir, listName), err)
	}
	return l, nil
}

// owned is what is ours: the files of set, and the contents that are still to be replaced or removed.
func owned(set source.Set, was list, c Change) list {
	l := list{Revision: set.Revision, Files: map[string][]string{}}
	for _, f := range set.Files {
		l.Files[f.Name] = []string{f.Hash.String()}
	}
	for _, name := range append(slices.Clone(c.Written), c.Removed...) {
		for _, h := range was.Files[name] {
			if !slices.Contains(l.Files[name], h) {
				l.Files[name] = append(l.Files[name], h)
			}
		}
	}
	return l
}

func (t Target) write(l list) error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return disk.Write(filepath.Join(t.Dir, listName), append(b, '\n'), 0o644)
}
