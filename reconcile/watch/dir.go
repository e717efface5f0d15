package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

// Options of Dir. The zero value is right for a daemon.
type Options struct {
	Rescan time.Duration          // how often everything is looked at, events or not; 0: 60 s
	Spare  func(name string) bool // a file of this name is left out when it cannot be read, which is no error then; nil: none is
}

const (
	defaultRescan = time.Minute
	blindRescan   = 2 * time.Second // when the host has no inotify watches left
	retryAfter    = 2 * time.Second // after a Fetch that failed
	maxRounds     = 8
)

// Directory is a Source: one directory, or one file, on the disk.
type Directory struct {
	watch  *watcher
	rescan time.Duration
	spare  func(name string) bool

	mu     sync.Mutex
	closed bool
	tree   *tree
	files  []source.File
	set    source.Set
	fresh  bool // set is what files say
	timer  *time.Timer
}

// Dir watches a directory and everything below it, or a single file. Names in the Set are relative to the directory; a
// single file has its base name. A path that does not exist is an error that wraps fs.ErrNotExist; one that goes later is
// an error of Fetch, and is noticed when it is back.
func Dir(path string, o Options) (*Directory, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, disk.Cause(err))
	}
	if err := checkRoot(path, info); err != nil {
		return nil, err
	}
	if o.Rescan <= 0 {
		o.Rescan = defaultRescan
	}
	w := newWatcher()
	return &Directory{watch: w, rescan: o.Rescan, spare: o.Spare, tree: newTree(path, "", w)}, nil
}

func checkRoot(path string, info os.FileInfo) error {
	switch {
	case info.IsDir():
		return nil
	case !info.Mode().IsRegular():
		return &ReadError{path, errNotRegular}
	case !IsDeclaration("x" + filepath.Ext(path)):
		return &ReadError{path, errors.New("a file of declarations ends in .yaml, .yml, .json or .cue")}
	}
	return nil
}

// Changed implements Source.
func (d *Directory) Changed() <-chan struct{} { return d.watch.changed }

// Fetch implements Source. Files that cannot be read and are not to be spared, links that lead nowhere or back, and a root that is gone are one
// error that names them all. A file that a writer has open counts as it was before, until it is closed.
func (d *Directory) Fetch(ctx context.Context) (source.Set, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return source.Set{}, fmt.Errorf("read %s: %w", d.tree.shown, os.ErrClosed)
	}
	err := d.refresh(ctx)
	if err == nil {
		err = d.tree.err(d.spare)
	}
	d.schedule(err != nil)
	if err != nil {
		return source.Set{}, err
	}
	if len(d.tree.touched) > 0 || !d.fresh {
		d.files = d.tree.update(d.files)
		d.set, d.fresh = source.NewSet(d.files), true
	}
	return source.Set{Revision: d.set.Revision, Files: slices.Clip(d.set.Files)}, nil
}

// refresh brings the tree up to date, and looks again as long as things happen meanwhile: a swap of a whole folder shall
// not be seen by halves.
func (d *Directory) refresh(ctx context.Context) error {
	for round := range maxRounds {
		full, look := d.watch.take()
		if round > 0 && !full && len(look) == 0 {
			return nil
		}
		if err := d.look(ctx, full || d.tree.root == nil, look); err != nil {
			d.watch.mu.Lock()
			d.watch.full = true // nothing was lost, but what was taken is not done
			d.watch.mu.Unlock()
			return err
		}
	}
	return nil
}

func (d *Directory) look(ctx context.Context, full bool, look []link) error {
	if full {
		if err := d.tree.scan(); err != nil {
			return err
		}
	}
	for _, l := range look {
		d.tree.entry(l.folder, l.name, true)
	}
	return d.tree.finish(ctx)
}

// schedule has everything looked at later, although nothing may happen.
func (d *Directory) schedule(failed bool) {
	if d.timer != nil {
		d.timer.Stop()
	}
	after := d.rescan
	d.watch.mu.Lock()
	if d.watch.blind {
		after = min(after, blindRescan)
	}
	d.watch.mu.Unlock()
	if failed {
		after = min(after, retryAfter)
	}
	d.timer = time.AfterFunc(after, d.watch.again)
}

// Close implements Source.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	d.watch.close()
	return nil
}
