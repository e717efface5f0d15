package cli

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/source"
)

// A registration among the declarations: docs/anypoint.md, "The daemon". The daemon reads it for itself, and says in Registered what is wrong
// with it; whatever that is, it decides neither about serving nor about an edit of something else.

// placeholder stands in a revision for a registration, whatever is in that: a revision is the same before and after a renewal, and no key is
// kept with it.
const placeholder = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata:\n  name: registration\nspec:\n  platformConnection: {}\n"

// besides takes the registration out of what a source has. It is safe for concurrent use.
type besides struct {
	dir     string              // of the source, on the disk; "": it is a repository
	named   func() string       // the file that is in force, on the disk
	earlier func() []source.Set // served before this process began, the newest first

	mu     sync.Mutex
	known  map[string]split // by name, as it could be read last
	recall sync.Once
}

// split is what was found in a content.
type split struct {
	hash     source.Hash
	beside   anypoint.Beside
	declares bool // something else than a registration, when the file could be read last
}

// withoutRegistration takes the registration out of what stands in a folder; "": in a repository.
func (d *daemon) withoutRegistration(dir string) *besides {
	return &besides{dir: dir, named: d.registrar.where, known: map[string]split{}, earlier: func() []source.Set {
		sets, _ := d.last.Load() // the loop tells what is wrong with them
		return sets
	}}
}

// files are the names under which a registration may stand in the source.
func (b *besides) files() []string {
	names := []string{anypoint.FileName}
	if b.dir == "" {
		return names
	}
	root, err := filepath.Abs(b.dir)
	if err != nil {
		return names
	}
	file, err := filepath.Abs(b.named())
	if err != nil {
		return names
	}
	if rel, err := filepath.Rel(root, file); err == nil && filepath.IsLocal(rel) && rel != "." && !slices.Contains(names, filepath.ToSlash(rel)) {
		names = append(names, filepath.ToSlash(rel))
	}
	return names
}

// half is where the key pair of a registration stands when the two are split.
func half(name string) string { return path.Join(path.Dir(name), anypoint.CertificateName) }

// mayBeUnreadable reports whether a file of the source is left out when it cannot be read: it is a registration, and declared nothing else
// when it could be.
func (b *besides) mayBeUnreadable(name string) bool {
	for _, file := range b.files() {
		if name == file || name == half(file) && stands(filepath.Join(b.dir, filepath.FromSlash(file))) {
			return !b.declared(name)
		}
	}
	return false
}

// stands reports whether something has the name that is no folder, and be it a link that leads nowhere.
func stands(file string) bool {
	_, err := os.Lstat(file)
	return err == nil && !isDir(file)
}

// declared reports whether a file that cannot be judged now declared something else when it could: before this process began, where it
// never could since.
func (b *besides) declared(name string) bool {
	b.recall.Do(func() {
		sets := b.earlier()
		if len(sets) == 0 {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range sets[0].Files {
			if _, known := b.known[f.Name]; known || !b.concerns(f.Name) {
				continue
			}
			if src, err := f.Bytes(); err == nil {
				x := anypoint.Split(src)
				b.known[f.Name] = split{f.Hash, x, x.Rest != nil}
			}
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[name].declares
}

// concerns reports whether a registration, or half of one, may have the name.
func (b *besides) concerns(name string) bool {
	return slices.ContainsFunc(b.files(), func(file string) bool { return name == file || name == half(file) })
}

// judge says what is in a file; false: it is left as it is.
func (b *besides) judge(f source.File) (anypoint.Beside, bool) {
	b.mu.Lock()
	x := b.known[f.Name]
	b.mu.Unlock()
	if x.hash != f.Hash {
		src, err := f.Bytes()
		if err != nil {
			return anypoint.Beside{}, !b.declared(f.Name)
		}
		x.beside = anypoint.Split(src)
		x.declares = x.beside.Rest != nil
		if !x.beside.Readable {
			x.declares = x.declares || b.declared(f.Name)
		}
		x.hash = f.Hash
		b.mu.Lock()
		b.known[f.Name] = x
		b.mu.Unlock()
	}
	return x.beside, x.beside.Readable || !x.declares
}

// without is a set without the registration.
func (b *besides) without(set source.Set) source.Set {
	files, changed := set.Files, false
	put := func(i int, f source.File, there bool) {
		if !changed {
			files, changed = slices.Clone(files), true
		}
		if there {
			f.Beside = files[i].Beside
			files[i] = f
			return
		}
		files = slices.Insert(files, i, f)
	}
	find := func(name string) (int, bool) {
		return slices.BinarySearchFunc(files, name, func(f source.File, n string) int { return strings.Compare(f.Name, n) })
	}
	// leave leaves out what of a file is a registration. pair: its key pair is in it.
	leave := func(name string) (there, pair bool) {
		i, there := find(name)
		if !there {
			if b.dir != "" && stands(filepath.Join(b.dir, filepath.FromSlash(name))) { // unreadable
				put(i, source.NewFile(name, []byte(placeholder)), false)
				there = true
			}
			return there, false
		}
		x, ours := b.judge(files[i])
		switch {
		case ours && x.Rest != nil:
			put(i, source.NewFile(name, x.Rest), true)
		case ours:
			put(i, source.NewFile(name, []byte(placeholder)), true)
		}
		return true, x.Pair
	}
	for _, name := range b.files() {
		there, pair := leave(name)
		if !there || pair {
			continue
		}
		if _, there := find(half(name)); there {
			leave(half(name))
		}
	}
	if !changed {
		return set
	}
	if b.dir != "" {
		set.Revision = source.NewSet(files).Revision
	}
	set.Files = files
	return set
}

// folderBesides is a folder without its registration.
type folderBesides struct {
	watch.Source
	besides *besides
}

// Fetch implements watch.Source.
func (f folderBesides) Fetch(ctx context.Context) (source.Set, error) {
	set, err := f.Source.Fetch(ctx)
	if err != nil {
		return set, err
	}
	return f.besides.without(set), nil
}

// gitBesides is a repository without a registration.
type gitBesides struct {
	*watch.GitSource
	besides *besides
}

// Fetch implements watch.Source.
func (g gitBesides) Fetch(ctx context.Context) (source.Set, error) {
	set, err := g.GitSource.Fetch(ctx)
	if err != nil {
		return set, err
	}
	return g.besides.without(set), nil
}

// FetchAt implements reconcile.Earlier.
func (g gitBesides) FetchAt(ctx context.Context, revision string) (source.Set, error) {
	set, err := g.GitSource.FetchAt(ctx, revision)
	if err != nil {
		return set, err
	}
	return g.besides.without(set), nil
}
