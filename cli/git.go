package cli

import (
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// reading is what a command judges.
type reading struct {
	set    source.Set
	ds     diag.List   // about the place that the files come from
	unread error       // what could not be read, beside the set
	since  string      // the revision of then
	then   *source.Set // what was there before, if that is left out of what is reported
	old    diag.List   // as ds, of then
	repo   *watch.Repo // that files are read from when they are asked for
}

func (r reading) close() {
	if r.repo != nil {
		r.repo.Close()
	}
}

// watch notes what is read. What was there before is read first, and again only where it has changed.
func (r *reading) watch(w *watched) {
	r.set = w.watch(r.set)
	if r.then != nil {
		then := w.watch(*r.then)
		r.then = &then
	}
}

// readAsked reads the paths, in the index or on the disk, and what they were at a revision ("": not asked for).
func readAsked(paths []string, staged bool, since string, env Env) (now reading, err error) {
	if !staged && since == "" {
		now.set, now.unread = readJudged(paths, env)
		return now, now.nothing()
	}
	if now.repo, err = openRepo(paths, env); err != nil {
		return now, err
	}
	defer func() {
		if err != nil {
			now.close()
		}
	}()
	if len(paths) == 0 {
		paths = []string{"."}
	}
	if staged {
		now.set, now.ds, err = now.repo.Staged(paths)
		now.unread = worldly(err)
		now.set = besideIn(now.set, now.repo.Staged)
	} else {
		now.set, now.unread = readJudged(paths, env)
	}
	if err = now.nothing(); err != nil || since == "" {
		return now, err
	}
	then, old, err := now.repo.At(since, paths)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a path that is new was empty
		return now, world(err)
	}
	then = besideIn(then, func(paths []string) (source.Set, diag.List, error) { return now.repo.At(since, paths) })
	if now.since, now.then, now.old = since, &then, old; !staged {
		now.set = watch.Named(now.set)
	}
	return now, nil
}

// nothing is the error of a reading that has nothing but one.
func (r reading) nothing() error {
	if len(r.set.Files) == 0 {
		return r.unread
	}
	return nil
}

func worldly(err error) error {
	if err == nil {
		return nil
	}
	return world(err)
}

// openRepo opens the repository of the working directory, or else the one that the first path is in.
func openRepo(paths []string, env Env) (*watch.Repo, error) {
	if slices.Contains(paths, "-") {
		return nil, usage("standard input is not in a Git repository: name files or directories")
	}
	r, err := watch.OpenRepo(".", "", env.Getenv)
	if errors.Is(err, watch.ErrNoRepository) && len(paths) > 0 {
		r, err = watch.OpenRepo(".", paths[0], env.Getenv)
	}
	return r, worldly(err)
}

// judge checks a reading. left is how many problems are left out because they were there before.
func (p *pipeline) judge(r reading) (list diag.List, left int) {
	if r.then == nil {
		return append(r.ds, p.check(r.set)...).Sort(), 0
	}
	if !p.cache.has(p, *r.then) {
		p.load.Memo.Once = false // most files are what they were
	}
	before := append(r.old, p.check(*r.then)...)
	now, file := append(r.ds, p.check(r.set)...).Sort(), renamed(*r.then, r.set)
	list, left = now.Since(before, file)
	if len(list) == 0 || len(before) == left {
		return list, left
	}
	if all := renames(*r.then, r.set, p.load, file); len(all) > 0 {
		return now.Since(renamedIn(before, all), file)
	}
	return list, left
}

// renamed finds the name that a file of before has now: its own, that of a new file with the same content, or that of the one new
// file that says nearly the same. "" is none.
func renamed(before, now source.Set) func(string) string {
	was, names, fresh := map[string]source.Hash{}, map[string]bool{}, map[source.Hash]string{}
	for _, f := range before.Files {
		was[f.Name] = f.Hash
	}
	var gone, added []source.File
	for _, f := range now.Files {
		if names[f.Name] = true; was[f.Name] == (source.Hash{}) {
			fresh[f.Hash], added = f.Name, append(added, f)
		}
	}
	same := map[source.Hash]bool{}
	for _, f := range before.Files {
		if !names[f.Name] && fresh[f.Hash] == "" {
			gone = append(gone, f)
		}
		same[f.Hash] = true
	}
	added = slices.DeleteFunc(added, func(f source.File) bool { return same[f.Hash] })
	like := sync.OnceValue(func() map[string]string { return moved(gone, added) })
	return func(file string) string {
		if names[file] {
			return file
		}
		if to := fresh[was[file]]; to != "" {
			return to
		}
		return like()[file]
	}
}
