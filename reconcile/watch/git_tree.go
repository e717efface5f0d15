package watch

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// item is one entry of a tree or of the index.
type item struct {
	mode filemode.FileMode
	id   plumbing.Hash
	kids map[string]*item // of a folder; nil: not read yet
}

func (i *item) isFolder() bool { return i.mode == filemode.Dir }

func (i *item) isFile() bool {
	return i.mode == filemode.Regular || i.mode == filemode.Executable || i.mode == filemode.Deprecated
}

// At reads the declarations that a revision has below paths, which are as a user writes them in the folder that the Repo was
// opened for; none: that folder. What counts, and how it is named, is as in ReadPaths. Contents are read when they are
// asked for. The diagnostics name what is in the tree, but not in the repository: submodules and Git LFS pointers. The error
// names every path that cannot be read; one that the revision does not have wraps fs.ErrNotExist.
func (r *Repo) At(rev string, paths []string) (source.Set, diag.List, error) {
	id, err := r.Resolve(rev)
	if err != nil {
		return source.Set{}, nil, err
	}
	tree, err := r.treeOf(plumbing.NewHash(id))
	if err != nil {
		return source.Set{}, nil, err
	}
	files, ds, err := r.gather(&item{mode: filemode.Dir, id: tree}, rev, paths)
	slices.SortFunc(files, func(a, b source.File) int { return strings.Compare(a.Name, b.Name) })
	return source.Set{Revision: id, Files: files}, ds, err
}

// Staged reads the declarations of the index, which is what the next commit will have.
func (r *Repo) Staged(paths []string) (source.Set, diag.List, error) {
	root, err := r.readIndex()
	if err != nil {
		return source.Set{}, nil, err
	}
	files, ds, err := r.gather(root, "the index", paths)
	return source.NewSet(files), ds, err
}

func (r *Repo) readIndex() (*item, error) {
	root := &item{mode: filemode.Dir, kids: map[string]*item{}}
	b, err := os.ReadFile(r.index)
	if errors.Is(err, fs.ErrNotExist) {
		return root, nil // nothing was ever added
	}
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", disk.Cause(err))
	}
	return indexed(b)
}

// indexed is the tree of an index's bytes.
func indexed(b []byte) (*item, error) {
	root := &item{mode: filemode.Dir, kids: map[string]*item{}}
	// index.skipHash, which feature.manyFiles sets: the sum at the end is left out.
	if n := len(b) - sha1.Size; n > 0 && bytes.Equal(b[n:], make([]byte, sha1.Size)) {
		sum := sha1.Sum(b[:n])
		b = append(b[:n:n], sum[:]...)
	}
	var idx index.Index
	switch err := index.NewDecoder(bytes.NewReader(b)).Decode(&idx); {
	case errors.Is(err, index.ErrUnknownExtension) && bytes.Contains(b, []byte("sdir")):
		return nil, errors.New("the index is sparse, which cannot be read: `git sparse-checkout reapply --no-sparse-index` makes it whole")
	case errors.Is(err, index.ErrUnknownExtension):
		return nil, errors.New("the index is split, which cannot be read: `git update-index --no-split-index` makes it whole")
	case err != nil:
		return nil, fmt.Errorf("read the index: %w", err)
	}
	var conflicts []string
	for _, e := range idx.Entries {
		if e.Stage != 0 { // go-git has no right name for what is merged
			if !slices.Contains(conflicts, e.Name) {
				conflicts = append(conflicts, e.Name)
			}
			continue
		}
		if !e.IntentToAdd { // `git add --intent-to-add`: not in the next commit
			if err := root.put(e.Name, &item{mode: e.Mode, id: e.Hash}); err != nil {
				return nil, fmt.Errorf("the index is broken: %w", err)
			}
		}
	}
	if len(conflicts) > 0 {
		return nil, fmt.Errorf("the index has conflicts: resolve and add %s", strings.Join(conflicts, ", "))
	}
	return root, nil
}

func (i *item) put(name string, leaf *item) error {
	dir, base := path.Split(name)
	above := ""
	for part := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		if part == "" && dir == "" {
			break
		}
		if !isEntry(part) {
			return fmt.Errorf("%q is no path", name)
		}
		next := i.kids[part]
		switch {
		case next == nil:
			next = &item{mode: filemode.Dir, kids: map[string]*item{}}
			i.kids[part] = next
		case next.kids == nil:
			return fmt.Errorf("%q is a file and a folder", path.Join(above, part))
		}
		i, above = next, path.Join(above, part)
	}
	switch there := i.kids[base]; {
	case !isEntry(base):
		return fmt.Errorf("%q is no path", name)
	case there != nil && there.kids != nil:
		return fmt.Errorf("%q is a file and a folder", name)
	}
	i.kids[base] = leaf
	return nil
}

// isEntry reports whether Git lets an entry of a folder have a name. What would be a repository's own folder, on whatever file
// system, it does not: only who means harm has it.
func isEntry(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && !strings.EqualFold(strings.TrimRight(name, " ."), ".git")
}

// open reads the entries of a folder.
func (r *Repo) open(i *item) error {
	if i.kids != nil {
		return nil
	}
	b, err := r.treeBytes(i.id)
	if err != nil {
		return err
	}
	if i.kids, err = entries(b); err != nil {
		return fmt.Errorf("the tree %s is broken: %w", i.id, err)
	}
	return nil
}

func (r *Repo) treeBytes(id plumbing.Hash) ([]byte, error) {
	kind, b, err := r.object(id)
	if err == nil && kind != plumbing.TreeObject {
		err = fmt.Errorf("the object %s is a %s, expected a tree", id, kind)
	}
	return b, err
}

// listed are the entries of a folder, by name. It keeps nothing: of a folder with thousands of files a map of them is most of
// what a look would leave to be collected.
func (r *Repo) listed(i *item) ([]named, error) {
	var list []named
	if i.kids != nil {
		list = make([]named, 0, len(i.kids))
		for name, kid := range i.kids {
			list = append(list, named{name, *kid})
		}
	} else {
		b, err := r.treeBytes(i.id)
		if err != nil {
			return nil, err
		}
		if list, err = parseTree(b); err != nil {
			return nil, fmt.Errorf("the tree %s is broken: %w", i.id, err)
		}
	}
	slices.SortFunc(list, func(a, b named) int { return strings.Compare(a.name, b.name) })
	for n := 1; n < len(list); n++ {
		if list[n].name == list[n-1].name {
			return nil, fmt.Errorf("the tree %s is broken: %w", i.id, oddEntry(list[n].name))
		}
	}
	return list, nil
}

// named is an entry of a folder.
type named struct {
	name string
	item
}

func oddEntry(name string) error { return fmt.Errorf("it has an entry %q", name) }

// entries are those of a tree's bytes.
func entries(b []byte) (map[string]*item, error) {
	list, err := parseTree(b)
	if err != nil {
		return nil, err
	}
	kids := make(map[string]*item, len(list))
	for i := range list {
		if kids[list[i].name] != nil {
			return nil, oddEntry(list[i].name)
		}
		kids[list[i].name] = &list[i].item
	}
	return kids, nil
}

// parseTree are the entries of a tree's bytes, in their order. Names share one string.
func parseTree(b []byte) ([]named, error) {
	const id = len(plumbing.ZeroHash)
	count := 0
	for rest := b; ; count++ {
		end := bytes.IndexByte(rest, 0)
		if end < 0 || len(rest)-end-1 < id {
			break
		}
		rest = rest[end+1+id:]
	}
	list, text := make([]named, 0, count), string(b)
	for len(text) > 0 {
		head, rest, ok := strings.Cut(text, "\x00")
		mode, name, cut := strings.Cut(head, " ")
		if !ok || !cut || len(rest) < id {
			return nil, errors.New("it ends in the middle of an entry")
		}
		m, err := filemode.New(mode)
		if err != nil {
			return nil, err
		}
		if !isEntry(name) {
			return nil, oddEntry(name)
		}
		x := named{name, item{mode: m}}
		copy(x.id[:], rest)
		list, text = append(list, x), rest[id:]
	}
	return list, nil
}

// gathering is one reading of a tree.
type gathering struct {
	repo    *Repo
	root    *item
	what    string // the revision, or "the index"
	files   []source.File
	ds      diag.List
	owners  map[string]int // by the real path in the tree: which path brought a file first; nil: there is one path
	names   map[string]bool
	faults  map[string]error
	links   int // that were met
	entries int
	now     int // number of the path that is read
}

func (r *Repo) gather(root *item, what string, paths []string) ([]source.File, diag.List, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	g := &gathering{repo: r, root: root, what: what, faults: map[string]error{}}
	if len(paths) > 1 {
		g.owners, g.names = map[string]int{}, map[string]bool{}
	}
	before := r.lastRead()
	g.files = make([]source.File, 0, before.count()+1)
	var now *known
	for i, p := range paths {
		g.now = i
		k, err := g.path(p, before)
		if err != nil {
			g.faults[p] = fmt.Errorf("read %s: %w", p, err)
		}
		now = k
	}
	if len(paths) == 1 && now != nil {
		r.keep(now)
	}
	return g.files, g.ds.Sort(), joined(g.faults)
}

// trail is the way from the root to an entry, free of links; the names have one less than the items.
type trail struct {
	items []*item
	names []string
}

func (t trail) last() *item { return t.items[len(t.items)-1] }

func (t trail) real() string { return strings.Join(t.names, "/") }

func (t trail) up() trail {
	return trail{t.items[:len(t.items)-1], t.names[:len(t.names)-1]}
}

func (t trail) down(name string, i *item) trail {
	return trail{append(slices.Clip(t.items), i), append(slices.Clip(t.names), name)}
}

var errOutside = errors.New("the symbolic link leads out of the repository")

// path reads what a user named. before is what a folder came to the last time.
func (g *gathering) path(p string, before *known) (*known, error) {
	inside, err := g.repo.inside(p)
	if err != nil {
		return nil, err
	}
	links := 0
	at, err := g.follow(trail{items: []*item{g.root}}, inside, &links)
	if err != nil {
		return nil, err
	}
	shown := filepath.ToSlash(filepath.Clean(p))
	switch i := at.last(); {
	case i.isFolder():
		if before != nil && before.shown != shown {
			before = nil
		}
		return g.folder(at, shown, nil, before)
	case i.isFile():
		if !IsDeclaration("x" + path.Ext(p)) {
			return nil, errors.New("a file of declarations ends in .yaml, .yml, .json or .cue")
		}
		return nil, g.file(at, shown)
	}
	g.submodule(at, shown)
	return nil, nil
}

// inside is a path of the user's as a path in the tree; "" is its root.
func (r *Repo) inside(p string) (string, error) {
	rel := filepath.Clean(p)
	switch {
	case r.top != "":
		abs := r.absolute(p)
		var err error
		if rel, err = filepath.Rel(r.top, abs); err != nil || leads(rel) {
			// What was reached by a link has another name than the work tree has.
			if real, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
				rel, _ = filepath.Rel(r.top, filepath.Join(real, filepath.Base(abs)))
			}
		}
	case filepath.IsAbs(p):
		return "", errors.New("a bare repository has no such folder: write the path from its root")
	}
	if rel == "" || leads(rel) {
		return "", errors.New("it is outside the repository " + r.shown())
	}
	if rel == "." {
		return "", nil
	}
	return filepath.ToSlash(rel), nil
}

// leads reports whether a relative path leads out of where it begins.
func leads(rel string) bool {
	return rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (r *Repo) shown() string {
	if r.top != "" {
		return r.top
	}
	return r.git
}

// FromRoot is how a user would write, in the folder that the Repo was opened for, a path that is written from the root of
// the repository, as in REF:path. A path that begins with ./ or ../ is so already.
func (r *Repo) FromRoot(p string) string {
	if r.top == "" || p == "." || strings.HasPrefix(p, "./") || p == ".." || strings.HasPrefix(p, "../") {
		if p == "" {
			return "."
		}
		return p
	}
	if rel, err := filepath.Rel(r.dir, filepath.Join(r.top, filepath.FromSlash(p))); err == nil {
		return filepath.ToSlash(rel)
	}
	return p
}

// follow goes from a folder along a path, through links. links counts them.
func (g *gathering) follow(at trail, p string, links *int) (trail, error) {
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at.names) == 0 {
				return at, errOutside
			}
			at = at.up()
			continue
		}
		if !at.last().isFolder() {
			if at.last().mode == filemode.Submodule {
				return at, fmt.Errorf("%s is a submodule, whose files are another repository's", at.real())
			}
			return at, g.none()
		}
		if err := g.repo.open(at.last()); err != nil {
			return at, err
		}
		kid := at.last().kids[part]
		if kid == nil {
			return at, g.none()
		}
		next := at.down(part, kid)
		if kid.mode == filemode.Symlink {
			if *links++; *links > maxLinks {
				return at, errors.New("the symbolic link leads in a circle")
			}
			_, target, err := g.repo.object(kid.id)
			if err != nil {
				return at, err
			}
			if strings.HasPrefix(string(target), "/") {
				return at, errOutside
			}
			if next, err = g.follow(at, string(target), links); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					err = fmt.Errorf("the symbolic link leads nowhere: %w", err)
				}
				return at, err
			}
		}
		at = next
	}
	return at, nil
}

// none says that a path is not there.
func (g *gathering) none() error { return notThere(g.what) }

type notThere string

func (e notThere) Error() string { return "it is not in " + string(e) }

func (notThere) Is(err error) bool { return err == fs.ErrNotExist }

// folder reads a folder and all below it. above holds the real paths of the folders that were gone through; before is what the
// folder came to the last time, nil: it was not read.
func (g *gathering) folder(at trail, shown string, above []string, before *known) (*known, error) {
	if i := slices.Index(above, at.real()); i >= 0 {
		return nil, fmt.Errorf("the symbolic link leads back to %s, which holds it", cmp.Or(at.real(), "the root of the repository"))
	}
	if before != nil && before.whole && before.id == at.last().id {
		return before, g.again(before)
	}
	kids, err := g.repo.listed(at.last())
	if err != nil {
		return nil, err
	}
	n := g.note(at, shown, before)
	above = append(slices.Clip(above), at.real())
	for i := range kids {
		kid := &kids[i]
		if hidden(kid.name) {
			continue
		}
		if err := g.count(1); err != nil {
			return nil, err
		}
		full := n.entry(shown, kid)
		below, err := g.entry(at, kid, full, above, n)
		if err != nil {
			g.faults[full] = fmt.Errorf("read %s: %w", full, err)
		}
		n.entered(below, err)
	}
	return n.done(), nil
}

// entry reads one entry of a folder. The result is what a folder came to.
func (g *gathering) entry(at trail, kid *named, full string, above []string, n *noting) (*known, error) {
	i := &kid.item
	if i.isFile() && (n.file != nil || !IsDeclaration(kid.name)) {
		if n.file != nil {
			g.files = append(g.files, *n.file)
		}
		return nil, nil
	}
	to := at.down(kid.name, i)
	if i.mode == filemode.Symlink {
		g.links++
		links := 0
		var err error
		if to, err = g.follow(at, kid.name, &links); err != nil {
			if path.Ext(kid.name) == "" || IsDeclaration(kid.name) {
				return nil, err
			}
			return nil, nil
		}
	}
	switch i := to.last(); {
	case i.isFolder():
		return g.folder(to, full, above, n.folder(full))
	case i.isFile() && IsDeclaration(kid.name):
		return nil, g.file(to, full)
	case i.mode == filemode.Submodule:
		g.submodule(to, full)
	}
	return nil, nil
}

func (g *gathering) submodule(at trail, full string) {
	hint := "validate the folder itself, or the submodule's own repository"
	if g.repo.ours {
		hint = "keep its declarations in this repository, or have a daemon of its own follow the other one"
	}
	g.ds = append(g.ds, diag.Diagnostic{Severity: diag.Warning, Code: "source/submodule", Subject: diag.Range{File: full},
		Summary: fmt.Sprintf("%s is a submodule, at commit %s: its files are another repository's and are not read", full, short(at.last().id)), Hint: hint})
}

func (g *gathering) file(at trail, name string) error {
	if g.owners != nil {
		owner, seen := g.owners[at.real()]
		if g.names[name] || seen && owner != g.now {
			return nil
		}
		g.owners[at.real()], g.names[name] = g.now, true
	}
	id, r := at.last().id, g.repo
	if r.ours && !r.holds(id) {
		return r.missing(id)
	}
	g.files = append(g.files, source.File{Name: name, Hash: source.GitHash(id), Bytes: func() ([]byte, error) {
		kind, b, err := r.object(id)
		if err != nil {
			r.torn.Store(true) // it was there when the tree was read
		} else if kind != plumbing.BlobObject {
			err = fmt.Errorf("the object %s is a %s, expected a file", id, kind)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return r.smudged(b), nil
	}})
	return nil
}

// smudged is the content that a Git LFS pointer stands for, where it has been fetched; else b itself. See the specification
// of pointers, https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
func (r *Repo) smudged(b []byte) []byte {
	if r.ours || !IsPointer(b) {
		return b
	}
	_, rest, _ := strings.Cut(string(b), "\noid sha256:")
	oid, _, _ := strings.Cut(rest, "\n")
	if len(oid) != 2*sha256.Size || !isHex(oid) {
		return b
	}
	f, err := os.Open(filepath.Join(r.common, "lfs", "objects", oid[:2], oid[2:4], oid))
	if err != nil {
		return b
	}
	defer f.Close()
	whole, err := io.ReadAll(io.LimitReader(f, source.MaxFileSize+1))
	if sum := sha256.Sum256(whole); err != nil || len(whole) <= source.MaxFileSize && hex.EncodeToString(sum[:]) != oid {
		return b
	}
	return whole
}

// IsPointer reports whether b is a Git LFS pointer, or begins as one. Its hash in a Set of a repository stands for the pointer, and
// not for the content, which may be there another time.
func IsPointer(b []byte) bool { return bytes.HasPrefix(b, []byte(lfsPointer)) && len(b) <= 1024 }

const lfsPointer = "version https://git-lfs.github.com/spec/"

// Named gives the files of a Set the hashes that they have in a repository, so that what did not change since a revision is
// seen to be the same. Their contents are read for it.
func Named(set source.Set) source.Set {
	files := slices.Clone(set.Files)
	for i, f := range files {
		b, err := f.Bytes()
		if err != nil || len(b) > keepSize {
			continue
		}
		files[i].Hash = source.BlobHash(b)
		files[i].Bytes = func() ([]byte, error) { return b, nil }
	}
	return source.Set{Revision: set.Revision, Files: files}
}
