package watch

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Rescan has the next Fetch look at everything.
func (d *Directory) Rescan() { d.watch.again() }

// Deafen takes all watches away, without the events that say so.
func (d *Directory) Deafen() {
	w := d.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	for wd := range w.dirs {
		w.remove(wd)
	}
}

// Patience is how long a writer may be silent, and how long it may keep us waiting. It is set before the first Fetch.
func (d *Directory) Patience(pause, limit time.Duration) {
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	d.watch.patience = patience{pause, limit}
}

// ClosedMeanwhile is what happens when a file of the root was open for writing as it was looked at, and was closed before that was
// noted: whether its writer is waited for.
func (d *Directory) ClosedMeanwhile(name string) bool {
	w := d.watch
	p := place{wd: d.tree.root.wd, name: name}
	w.mu.Lock()
	w.event(p, syscall.IN_CLOSE_WRITE)
	w.mu.Unlock()
	w.open(p)
	return d.tree.watch.isBusy(d.tree.root, name)
}

// FoundOpen is what happens when a file of the root was open for writing as it was looked at.
func (d *Directory) FoundOpen(name string) { d.watch.open(place{wd: d.tree.root.wd, name: name}) }

// Overflow is what the kernel says when it dropped events.
func (d *Directory) Overflow() {
	w := d.watch
	w.mu.Lock()
	look := w.event(place{wd: -1}, syscall.IN_Q_OVERFLOW)
	w.mu.Unlock()
	if look {
		w.signal()
	}
}

// Blind makes a Directory for a host that has no inotify instances left.
func Blind(path string, o Options) *Directory {
	w := &watcher{
		fd: -1, changed: make(chan struct{}, 1), done: make(chan struct{}), dirs: map[int]*watched{},
		links: map[link][]place{}, dirty: map[place]bool{}, busy: map[place]writing{}, full: true, blind: true, patience: usualPatience(),
	}
	close(w.done)
	return &Directory{watch: w, rescan: o.Rescan, tree: newTree(path, "", w)}
}

// Late is how many wait for the answer of a server that is silent.
func (s *GitSource) Late() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.late)
}

// Indexed are the paths in an index, and InTree the names in a tree, each of its bytes.
func Indexed(b []byte) ([]string, error) {
	root, err := indexed(b)
	if err != nil {
		return nil, err
	}
	var names []string
	root.each("", func(name string) { names = append(names, name) })
	return names, nil
}

func InTree(b []byte) ([]string, error) {
	kids, err := entries(b)
	return slices.Sorted(maps.Keys(kids)), err
}

func (i *item) each(prefix string, found func(string)) {
	for name, kid := range i.kids {
		if kid.kids == nil {
			found(prefix + name)
		}
		kid.each(prefix+name+"/", found)
	}
}

// ParseCommit reads the bytes of a commit.
func ParseCommit(b []byte) (Commit, error) { return parseCommit("", b) }

// ReadTag reads an annotated tag.
func ReadTag(r *Repo, id string) (*Tag, error) { return r.tag(plumbing.NewHash(id)) }

// Newest is the newest of tags within a range of versions; "": none.
func Newest(tags []string, within string) string {
	refs := map[string]plumbing.Hash{}
	for _, t := range tags {
		refs["refs/tags/"+t] = plumbing.ZeroHash
	}
	ref, _ := newest(refs, within)
	return strings.TrimPrefix(ref, "refs/tags/")
}

// TakePack takes a pack into a store, which is made when it is not there.
func TakePack(dir string, pack []byte, max GitLimits) error {
	b, err := newBare(dir, max.orDefault())
	if err != nil {
		return err
	}
	defer b.close()
	return b.take(context.Background(), bytes.NewReader(pack), nil)
}

// ReadAdvertised reads a list of refs.
func ReadAdvertised(b []byte) error {
	_, err := readAdvertised(bytes.NewReader(b), 1<<20)
	return err
}
