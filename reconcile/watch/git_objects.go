package watch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

// store is one folder of objects. Its objects are not read by two callers at once.
type store struct {
	dir     string
	objects *filesystem.ObjectStorage
}

// maxAlternates is how deep alternates may name each other; git's own limit.
const maxAlternates = 5

// openStores opens the objects of a repository and those it borrows (gitrepository-layout(5), objects/info/alternates).
// packed: it is one in which all objects are in packs.
func openStores(common string, cached cache.FileSize, packed bool, getenv func(string) (string, bool)) ([]*store, error) {
	dir := filepath.Join(common, "objects")
	if v, ok := getenv("GIT_OBJECT_DIRECTORY"); ok && v != "" {
		if dir, ok = v, true; !filepath.IsAbs(v) {
			dir = absoluteFrom(filepath.Dir(common), v)
		}
	}
	var dirs []string
	var add func(dir string, depth int) error
	add = func(dir string, depth int) error {
		if slices.Contains(dirs, dir) || depth > maxAlternates {
			return nil
		}
		dirs = append(dirs, dir)
		b, err := os.ReadFile(filepath.Join(dir, "info", "alternates"))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the alternates of %s: %w", dir, disk.Cause(err))
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if err := add(absoluteFrom(dir, line), depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	list, _ := getenv("GIT_ALTERNATE_OBJECT_DIRECTORIES")
	for _, d := range append([]string{dir}, filepath.SplitList(list)...) {
		if d == "" {
			continue
		}
		if err := add(filepath.Clean(d), 0); err != nil {
			return nil, err
		}
	}
	stores := make([]*store, len(dirs))
	for i, d := range dirs {
		git := dotgit.New(mounted{osfs.New(d), packed})
		stores[i] = &store{dir: d, objects: filesystem.NewObjectStorageWithOptions(git, cache.NewObjectLRU(cached), filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: maxBlob})}
	}
	return stores, nil
}

// How many bytes of objects are kept as bases of others: by a command, which reads all of a tree and ends, and by a daemon,
// which reads what is new and stays.
const (
	objectCache = 16 << 20
	smallCache  = 1 << 20
)

// mounted is a folder of objects as a repository's: GIT_OBJECT_DIRECTORY and alternates name folders of any name.
type mounted struct {
	billy.Filesystem
	packed bool // no object has a file of its own, which is where each is looked for first
}

func (m mounted) in(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(filepath.ToSlash(name), "objects"), "/")
}

func (m mounted) Open(name string) (billy.File, error) {
	name = m.in(name)
	if m.packed && len(name) == len("00/")+hashLength-len("00") && name[2] == '/' {
		return nil, os.ErrNotExist
	}
	return m.Filesystem.Open(name)
}

func (m mounted) Stat(name string) (os.FileInfo, error)      { return m.Filesystem.Stat(m.in(name)) }
func (m mounted) Lstat(name string) (os.FileInfo, error)     { return m.Filesystem.Lstat(m.in(name)) }
func (m mounted) ReadDir(name string) ([]os.FileInfo, error) { return m.Filesystem.ReadDir(m.in(name)) }
func (m mounted) OpenFile(name string, flag int, p os.FileMode) (billy.File, error) {
	return m.Filesystem.OpenFile(m.in(name), flag, p)
}

// errMissing is the error of an object that no store has.
type errMissing struct{ id plumbing.Hash }

func (e errMissing) Error() string {
	return "the object " + e.id.String() + " is not in the repository"
}

// Missing reports whether an error is that an object is not in the repository.
func Missing(err error) bool {
	var gone errMissing
	return errors.As(err, &gone)
}

// errTorn is the error of an object in our own store that is there and cannot be read: the disk lost a part of it.
type errTorn struct{ error }

func (e errTorn) Unwrap() error { return e.error }

// object reads one object whole, or as much of it as a file of declarations may have, and a byte more.
func (r *Repo) object(id plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	kind, b, err := r.read(id)
	if err != nil && r.ours && !Missing(err) {
		err = errTorn{err}
	}
	return kind, b, err
}

func (r *Repo) read(id plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stores {
		o, err := s.objects.EncodedObject(plumbing.AnyObject, id)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue
		}
		if err != nil {
			return 0, nil, fmt.Errorf("read the object %s: %w", id, disk.Cause(err))
		}
		in, err := o.Reader()
		if err != nil {
			return 0, nil, fmt.Errorf("read the object %s: %w", id, disk.Cause(err))
		}
		defer in.Close()
		b, err := sized(in, o.Size())
		if err != nil {
			return 0, nil, fmt.Errorf("read the object %s: %w", id, disk.Cause(err))
		}
		return o.Type(), b, nil
	}
	return 0, nil, r.missing(id)
}

// sized reads what is said to have size bytes, or one more than a file of declarations may have. What it returns has no room to
// grow: the contents of thousands of files are kept.
func sized(in io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return nil, fmt.Errorf("it says that it has %d bytes", size)
	}
	b := make([]byte, min(size, source.MaxFileSize+1))
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, fmt.Errorf("it has fewer than the %d bytes that it says: %w", size, err)
	}
	if n, err := io.CopyN(io.Discard, in, 1); n > 0 && size == int64(len(b)) {
		return nil, fmt.Errorf("it has more than the %d bytes that it says", size)
	} else if n == 0 && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// missing says why an object may not be there, and what to do.
func (r *Repo) missing(id plumbing.Hash) error {
	err := errMissing{id}
	switch {
	case r.ours:
		return err
	case len(r.shallow) > 0:
		return fmt.Errorf("%w: this clone is shallow; `git fetch --unshallow` fetches the rest (in CI: a checkout with the whole history)", err)
	case r.partial():
		return fmt.Errorf("%w: this clone is partial; `git fetch --refetch --no-filter` fetches the rest", err)
	}
	return fmt.Errorf("%w; `git fsck` says more", err)
}

// partial reports whether objects were left out when the repository was cloned.
func (r *Repo) partial() bool {
	if r.option("extensions", "", "partialClone") != "" {
		return true
	}
	for _, s := range r.config.Section("remote").Subsections {
		if strings.EqualFold(s.Option("promisor"), "true") {
			return true
		}
	}
	return false
}

// Close lets the files go that objects were read from.
func (r *Repo) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, s := range r.stores {
		errs = append(errs, s.objects.Close())
	}
	return errors.Join(errs...)
}
