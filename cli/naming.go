package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/source"
)

// naming names files relative to one folder, wherever flexgw was called and whatever path it was given.
type naming struct {
	cwd    string
	folder string // absolute, as it was reached
	real   string // the same without links
	known  map[string]string
	reals  map[string]string // of folders
}

// newNaming is that of the folder of a project file; without one ("") of the repository, or else of the folder cwd ("": the working
// directory).
func newNaming(projectFile, cwd string) (*naming, error) {
	if cwd == "" {
		var err error
		if cwd, err = os.Getwd(); err != nil {
			return nil, err
		}
	}
	n := &naming{cwd: cwd, known: map[string]string{}, reals: map[string]string{}}
	if projectFile != "" {
		n.folder = n.absolute(path.Dir(projectFile))
	} else {
		n.folder = repositoryRoot(cwd)
	}
	n.real = n.realOf(n.folder)
	return n, nil
}

// repositoryRoot is the nearest folder at or above dir that has a .git; dir if there is none.
func repositoryRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if filepath.Dir(at) == at {
			return dir
		}
	}
}

func (n *naming) absolute(name string) string {
	name = filepath.FromSlash(name)
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(n.cwd, name)
}

// realOf is a folder without links; of one that is not there, as far as it is.
func (n *naming) realOf(dir string) string {
	if to, ok := n.reals[dir]; ok {
		return to
	}
	to, err := filepath.EvalSymlinks(dir)
	if err != nil {
		if to = dir; filepath.Dir(dir) != dir {
			to = filepath.Join(n.realOf(filepath.Dir(dir)), filepath.Base(dir))
		}
	}
	n.reals[dir] = to
	return to
}

// of is the name of a file, without links on the way to it; a folder that a link has outside keeps the name of the link.
func (n *naming) of(file string) string {
	name, ok := n.known[file]
	if ok {
		return name
	}
	abs := n.absolute(file)
	name, inside := within(n.real, filepath.Join(n.realOf(filepath.Dir(abs)), filepath.Base(abs)))
	if !inside {
		if as, in := within(n.folder, abs); in {
			name = as
		}
	}
	n.known[file] = name
	return name
}

// within is a path relative to a folder, with slashes, and whether it is in it.
func within(folder, path string) (string, bool) {
	rel, err := filepath.Rel(folder, path)
	if err != nil {
		return filepath.ToSlash(path), false
	}
	return filepath.ToSlash(rel), rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// unseen is project.Judge's Unseen for a set.
func (n *naming) unseen(set source.Set) func(under string, match func(string) bool) bool {
	seen := map[string]bool{}
	for _, f := range set.Files {
		seen[n.of(f.Name)] = true
	}
	return func(under string, match func(string) bool) bool {
		found := errors.New("found")
		root := filepath.Join(n.folder, filepath.FromSlash(under))
		err := filepath.WalkDir(root, func(at string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil // what cannot be read is not there
			}
			if hidden := strings.HasPrefix(e.Name(), "."); e.IsDir() {
				if at != root && (hidden || e.Name() == "node_modules") {
					return fs.SkipDir
				}
				return nil
			}
			name, _ := within(n.folder, at)
			if watch.IsDeclaration(name) && !seen[name] && match(name) && (at == root || mayDeclare(at)) {
				return found
			}
			return nil
		})
		return errors.Is(err, found)
	}
}

// there is project.Project's Idle for a set: a name counts that was read, or that is on the disk. Folders of Git and node_modules are
// looked into only if a pattern begins there.
func (n *naming) there(set source.Set) func(under string, match func(string) bool) bool {
	return func(under string, match func(string) bool) bool {
		found := errors.New("found")
		root := filepath.Join(n.folder, filepath.FromSlash(under))
		err := filepath.WalkDir(root, func(at string, e fs.DirEntry, err error) error {
			name, _ := within(n.folder, at)
			switch {
			case err != nil:
				return nil // what cannot be read is not there
			case match(name):
				return found
			case at != root && e.IsDir() && (e.Name() == ".git" || e.Name() == "node_modules"):
				return fs.SkipDir
			}
			return nil
		})
		return errors.Is(err, found) || slices.ContainsFunc(set.Files, func(f source.File) bool { return match(n.of(f.Name)) })
	}
}

// mayDeclare reports whether a file may hold declarations of a gateway.
func mayDeclare(name string) bool {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > source.MaxFileSize {
		return false
	}
	b, err := os.ReadFile(name)
	return err == nil && bytes.Contains(b, []byte("gateway.mulesoft.com"))
}
