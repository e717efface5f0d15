package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

const (
	maxEntries = 1 << 20 // of one tree; more is a link into the rest of the disk
	maxLinks   = 40      // followed for one name; Linux' own limit
)

type id struct{ dev, ino uint64 }

// folder is one directory as it was reached: a folder behind two links is there twice.
type folder struct {
	name    string // slash-separated, relative to the root; "" is the root
	real    string // absolute, free of links
	id      id
	parent  *folder
	only    string // not empty: the one name that counts, hidden or not
	wd      int    // of its inotify watch; -1: none
	gone    bool
	folders map[string]*folder
	files   map[string]*content
}

func (f *folder) join(name string) string { return path.Join(f.name, name) }

func (f *folder) sees(name string) bool {
	if f.only != "" {
		return name == f.only
	}
	return !hidden(name)
}

// tree is all that is known of one root.
type tree struct {
	shown  string   // the root, as the user wrote it
	prefix string   // of every file's name; "" makes names relative to the root
	watch  *watcher // nil: read once
	root   *folder
	known  map[string]*content // by name relative to the root
	faults map[string]error    // by name relative to the root

	entries int
	pending []*reading
	touched map[string]bool // names whose content came, went or may differ
}

func newTree(shown, prefix string, w *watcher) *tree {
	return &tree{shown: shown, prefix: prefix, watch: w, known: map[string]*content{}, faults: map[string]error{}, touched: map[string]bool{}}
}

// scan walks everything. Files whose stamp is the known one are not read again.
func (t *tree) scan() error {
	t.faults, t.entries, t.pending = map[string]error{}, 0, nil
	before := t.known
	for name := range before {
		t.touched[name] = true
	}
	if err := t.scanRoot(); err != nil {
		t.root = nil
		return &ReadError{t.shown, err}
	}
	for name := range before {
		if !t.holds(name) {
			delete(t.known, name)
		}
	}
	return nil
}

func (t *tree) scanRoot() error {
	abs, err := filepath.Abs(t.shown)
	if err != nil {
		return err
	}
	// Whatever happens to the links that lead to the root, or to its own name, makes everything new.
	t.watch.begin()
	defer t.watch.end()
	t.follow("/", strings.TrimPrefix(abs, "/"), link{})
	var st syscall.Stat_t
	if err := syscall.Stat(abs, &st); err != nil {
		return err
	}
	realPath, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return err
	}
	t.root = &folder{real: realPath, id: id{uint64(st.Dev), st.Ino}}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return t.walk(t.root)
	case syscall.S_IFREG:
		// The folder is the one that the user's name is in, which a link may have led out of.
		dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
		if err != nil {
			return err
		}
		t.root.real, t.root.only = dir, filepath.Base(abs)
		t.enter(t.root)
		t.entry(t.root, t.root.only, false)
		return nil
	}
	return errNotRegular
}

// holds reports whether the tree still has a file of this name, or will when the pending ones are read.
func (t *tree) holds(name string) bool {
	f := t.root
	dir, base := path.Split(name)
	for part := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		if part == "" {
			continue
		}
		if f = f.folders[part]; f == nil {
			return false
		}
	}
	_, ok := f.files[base]
	return ok
}

func (t *tree) enter(f *folder) {
	f.folders, f.files = map[string]*folder{}, map[string]*content{}
	f.wd = t.watch.enter(f)
}

func (t *tree) walk(f *folder) error {
	t.enter(f) // before it is listed: what appears in between is then an event
	list, err := os.ReadDir(f.real)
	if err != nil {
		return disk.Cause(err)
	}
	for _, e := range list {
		if !f.sees(e.Name()) {
			continue
		}
		if t.entries++; t.entries > maxEntries {
			return fmt.Errorf("more than %d files and folders", maxEntries)
		}
		if t.watch == nil && e.Type().IsRegular() { // read once: nothing of it is known, and reading looks at the file itself
			t.file(f, e.Name(), stamp{}, false)
			continue
		}
		t.entry(f, e.Name(), false)
	}
	return nil
}

// entry looks at one name in a folder and brings the tree up to date with what it finds. With again, a file is read even
// if its stamp did not change.
func (t *tree) entry(f *folder, name string, again bool) {
	if f.gone {
		return
	}
	full := f.join(name)
	delete(t.faults, full)
	t.watch.forget(link{f, name})
	p := f.real + "/" + name
	var st syscall.Stat_t
	err := syscall.Lstat(p, &st)
	isLink := err == nil && st.Mode&syscall.S_IFMT == syscall.S_IFLNK
	if isLink {
		t.follow(f.real, name, link{f, name})
		err = syscall.Stat(p, &st)
	}
	switch {
	case errors.Is(err, syscall.ENOENT) && !isLink:
		t.drop(f, name)
		return
	case err != nil:
		t.drop(f, name)
		if ext := path.Ext(name); ext == "" || IsDeclaration(name) || !isLink {
			t.fault(full, linkError(err, isLink))
		}
		return
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		t.file(f, name, stampOf(&st), again)
	case syscall.S_IFDIR:
		t.folder(f, name, id{uint64(st.Dev), st.Ino}, isLink)
	default:
		t.drop(f, name)
		if IsDeclaration(name) {
			t.fault(full, errNotRegular)
		}
	}
}

func linkError(err error, isLink bool) error {
	switch {
	case isLink && errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("the symbolic link leads nowhere: %w", err)
	case isLink && errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("the symbolic link leads in a circle: %w", err)
	}
	return err
}

func (t *tree) file(f *folder, name string, s stamp, again bool) {
	if !IsDeclaration(name) && f.only == "" {
		t.drop(f, name)
		return
	}
	if f.folders[name] != nil {
		t.drop(f, name)
	}
	full := f.join(name)
	old := t.known[full]
	busy := t.watch.isBusy(f, name)
	switch {
	case busy && old == nil: // its writer has it open; it is not there yet
	case busy, old != nil && !again && old.settled && old.stamp == s:
		f.files[name] = old
		t.touched[full] = true
	default:
		f.files[name] = old // until it is read
		t.pending = append(t.pending, &reading{folder: f, name: name, path: f.real + "/" + name, shown: t.show(full)})
	}
}

func (t *tree) folder(f *folder, name string, at id, isLink bool) {
	if f.only != "" {
		t.drop(f, name)
		return
	}
	full := f.join(name)
	for up := f; up != nil; up = up.parent {
		if up.id == at {
			t.drop(f, name)
			t.fault(full, fmt.Errorf("the symbolic link leads back to %s, which holds it", t.show(up.name)))
			return
		}
	}
	child := &folder{name: full, real: f.real + "/" + name, id: at, parent: f}
	if isLink {
		realPath, err := filepath.EvalSymlinks(child.real)
		if err != nil {
			t.drop(f, name)
			t.fault(full, disk.Cause(err))
			return
		}
		child.real = realPath
	}
	before := f.folders[name]
	delete(f.files, name)
	t.lose(full)
	f.folders[name] = child
	if err := t.walk(child); err != nil {
		t.fault(full, err)
	}
	if before != nil { // after the new one is watched, lest an event falls between
		t.leave(before)
		t.sweep(full)
	}
}

func (t *tree) lose(full string) {
	if _, ok := t.known[full]; ok {
		delete(t.known, full)
		t.touched[full] = true
	}
}

// sweep forgets the known files below a folder that the tree does not hold any more.
func (t *tree) sweep(full string) {
	for name := range t.known {
		if strings.HasPrefix(name, full+"/") && !t.holds(name) {
			t.lose(name)
		}
	}
}

func (t *tree) drop(f *folder, name string) {
	full := f.join(name)
	delete(f.files, name)
	t.lose(full)
	child := f.folders[name]
	if child == nil {
		return
	}
	delete(f.folders, name)
	t.leave(child)
	t.sweep(full)
	for at := range t.faults {
		if strings.HasPrefix(at, full+"/") {
			delete(t.faults, at)
		}
	}
}

func (t *tree) leave(f *folder) {
	f.gone = true
	t.watch.leave(f)
	for _, child := range f.folders {
		t.leave(child)
	}
}

// follow finds every link on the way from base along rest, and has whom looked at again when one of them, or the last
// name, changes. base is free of links.
func (t *tree) follow(base, rest string, whom link) {
	if t.watch == nil {
		return
	}
	parts := steps(rest)
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		if part == ".." {
			base = filepath.Dir(base)
			continue
		}
		at := filepath.Join(base, part)
		target, err := os.Readlink(at)
		if err != nil {
			if len(parts) == 0 || !exists(at) {
				t.watch.depend(base, part, whom)
			}
			if !exists(at) {
				return
			}
			base = at
			continue
		}
		t.watch.depend(base, part, whom)
		if links++; links > maxLinks {
			return
		}
		if strings.HasPrefix(target, "/") {
			base = "/"
		}
		parts = append(steps(target), parts...)
	}
}

func steps(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" || s == "." })
}

func exists(p string) bool {
	var st syscall.Stat_t
	return syscall.Lstat(p, &st) == nil
}

// finish reads what is pending.
func (t *tree) finish(ctx context.Context) error {
	list := t.pending
	t.pending = nil
	var pause time.Duration
	if t.watch != nil {
		pause = t.watch.pause
	}
	if err := readAll(ctx, list, pause); err != nil {
		return err
	}
	for _, r := range list {
		full := r.folder.join(r.name)
		if r.folder.gone {
			continue
		}
		switch {
		case errors.Is(r.err, syscall.ENOENT):
			t.drop(r.folder, r.name)
		case errors.Is(r.err, errOpen):
			t.watch.open(place{r.folder.wd, r.name})
			if r.folder.files[r.name] == nil {
				delete(r.folder.files, r.name)
			}
		case r.err != nil:
			t.drop(r.folder, r.name)
			t.fault(full, r.err)
		default:
			if old := t.known[full]; old != nil && old.hash == r.content.hash {
				r.content.fresh.Store(old.fresh.Load()) // whoever wanted these bytes has had them, or has not
			}
			r.folder.files[r.name] = r.content
			t.known[full] = r.content
			t.touched[full] = true
		}
	}
	return nil
}

func (t *tree) fault(name string, err error) {
	t.faults[name] = &ReadError{t.show(name), err}
}

// err joins all faults but of those that are spared.
func (t *tree) err(spare func(name string) bool) error {
	if spare == nil || len(t.faults) == 0 {
		return joined(t.faults)
	}
	faults := maps.Clone(t.faults)
	maps.DeleteFunc(faults, func(name string, _ error) bool { return spare(name) })
	return joined(faults)
}

// joined joins errors, sorted by what they are about.
func joined(faults map[string]error) error {
	var list []error
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		list = append(list, faults[name])
	}
	return errors.Join(list...)
}

// show is a name as the user would write it.
func (t *tree) show(name string) string {
	if t.root != nil && t.root.only != "" {
		return t.shown
	}
	return filepath.Join(t.shown, name)
}

// update brings a sorted list of files up to date with what was touched.
func (t *tree) update(files []source.File) []source.File {
	if len(t.touched) > 64 {
		files = files[:0:0]
		for name, c := range t.known {
			files = append(files, c.file(path.Join(t.prefix, name)))
		}
		slices.SortFunc(files, func(a, b source.File) int { return cmp.Compare(a.Name, b.Name) })
		clear(t.touched)
		return files
	}
	for name := range t.touched {
		full := path.Join(t.prefix, name)
		i, there := slices.BinarySearchFunc(files, full, func(f source.File, n string) int { return cmp.Compare(f.Name, n) })
		c := t.known[name]
		switch {
		case c == nil && there:
			files = slices.Delete(files, i, i+1)
		case c != nil && there:
			files[i] = c.file(full)
		case c != nil:
			files = slices.Insert(files, i, c.file(full))
		}
	}
	clear(t.touched)
	return files
}
