package watch

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// Repo is a Git repository on this host: its objects, refs and index, read without its work tree and without the git command.
// Nothing is written and nothing of its configuration is run. It is safe for concurrent use.
type Repo struct {
	dir    string // where the caller works; absolute, free of links
	git    string // the folder of this work tree: HEAD, index
	common string // the folder of the repository: refs, objects, config
	top    string // of the work tree; "": there is none
	index  string // the file
	config *config.Config

	stores  []*store
	shallow map[plumbing.Hash]bool // commits whose parents were not fetched
	ours    bool                   // it is a GitSource's own: nobody can mend it with git, and all that a tree names must be there
	most    int                    // entries of one tree with all below it; 0: maxEntries

	mu    sync.Mutex // of what the stores keep, and the rest
	known *known     // root of the tree that was read last; not written to

	torn atomic.Bool // of ours: the content of a file could not be read
}

// ErrNoRepository is the error of OpenRepo where there is no repository.
var ErrNoRepository = errors.New("not in a Git repository")

// OpenRepo finds the repository that near is in ("": dir), as git does: upwards to a .git folder or file, or a bare
// repository, unless getenv says where it is (GIT_DIR, GIT_COMMON_DIR, GIT_WORK_TREE, GIT_INDEX_FILE, GIT_OBJECT_DIRECTORY,
// GIT_ALTERNATE_OBJECT_DIRECTORIES: git sets them for hooks). Paths are then read as if typed in dir; those of a bare
// repository begin at its root. A repository in a form that this reader does not know is an error that says what to do.
func OpenRepo(dir, near string, getenv func(string) (string, bool)) (*Repo, error) {
	if getenv == nil {
		getenv = func(string) (string, bool) { return "", false }
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r := &Repo{}
	if r.dir, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, disk.Cause(err))
	}
	if err := r.find(near, getenv); err != nil {
		return nil, err
	}
	if err := r.readConfig(); err != nil {
		return nil, err
	}
	if err := r.place(getenv); err != nil {
		return nil, err
	}
	if r.stores, err = openStores(r.common, objectCache, false, getenv); err != nil {
		return nil, err
	}
	r.shallow, err = readShallow(filepath.Join(r.common, "shallow"))
	return r, err
}

// Bare reports whether there is no work tree.
func (r *Repo) Bare() bool { return r.top == "" }

// find sets git, common and, when it was found beside them, top.
func (r *Repo) find(near string, getenv func(string) (string, bool)) error {
	if dir, ok := getenv("GIT_DIR"); ok && dir != "" {
		r.git = r.absolute(dir)
		if !isGitDir(r.git) {
			return fmt.Errorf("$GIT_DIR is %s, which is no Git repository", dir)
		}
	} else if err := r.discover(near, getenv); err != nil {
		return err
	}
	r.common = r.git
	if dir, ok := getenv("GIT_COMMON_DIR"); ok && dir != "" {
		r.common = r.absolute(dir)
	} else if b, err := os.ReadFile(filepath.Join(r.git, "commondir")); err == nil {
		r.common = absoluteFrom(r.git, strings.TrimSpace(string(b)))
	}
	return nil
}

// discover walks upwards, as far as GIT_CEILING_DIRECTORIES lets it.
func (r *Repo) discover(near string, getenv func(string) (string, bool)) error {
	list, _ := getenv("GIT_CEILING_DIRECTORIES")
	ceilings := filepath.SplitList(list)
	at := r.absolute(near)
	for parent := filepath.Dir(at); !isFolder(at) && parent != at; parent = filepath.Dir(at) {
		at = parent
	}
	at, err := filepath.EvalSymlinks(at)
	if err != nil {
		return fmt.Errorf("read %s: %w", near, disk.Cause(err))
	}
	for ; ; at = filepath.Dir(at) {
		dot := filepath.Join(at, ".git")
		if to, err := gitFile(dot); err != nil {
			return err
		} else if to != "" {
			r.git, r.top = to, at
			return nil
		}
		if isGitDir(dot) {
			r.git, r.top = dot, at
			return nil
		}
		if isGitDir(at) {
			r.git = at
			return nil
		}
		if up := filepath.Dir(at); up == at || slices.Contains(ceilings, up) {
			return fmt.Errorf("%s is %w", cmp.Or(near, "the working directory"), ErrNoRepository)
		}
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// gitFile is where a .git file (of a worktree, a submodule) leads to; "" when dot is no file.
func gitFile(dot string) (string, error) {
	info, err := os.Stat(dot)
	if err != nil || !info.Mode().IsRegular() {
		return "", nil
	}
	b, err := os.ReadFile(dot)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", dot, disk.Cause(err))
	}
	to, ok := strings.CutPrefix(string(b), "gitdir:")
	if !ok {
		return "", fmt.Errorf("read %s: it does not begin with \"gitdir:\"", dot)
	}
	to = absoluteFrom(filepath.Dir(dot), strings.TrimSpace(to))
	if !isGitDir(to) {
		return "", fmt.Errorf("read %s: it leads to %s, which is no Git repository; `git worktree repair` mends what was moved", dot, to)
	}
	return to, nil
}

// isGitDir goes by what git goes by: HEAD, and objects and refs here or in the common folder.
func isGitDir(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, "HEAD")); err != nil {
		return false
	}
	if b, err := os.ReadFile(filepath.Join(dir, "commondir")); err == nil {
		dir = absoluteFrom(dir, strings.TrimSpace(string(b)))
	}
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

func (r *Repo) absolute(path string) string { return absoluteFrom(r.dir, path) }

func absoluteFrom(base, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

// readConfig refuses what this reader would misread.
func (r *Repo) readConfig() error {
	r.config = config.New()
	for _, path := range []string{filepath.Join(r.common, "config"), filepath.Join(r.git, "config.worktree")} {
		if path != filepath.Join(r.common, "config") && !strings.EqualFold(r.option("extensions", "", "worktreeConfig"), "true") {
			continue
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, disk.Cause(err))
		}
		more := config.New()
		if err := config.NewDecoder(bytes.NewReader(b)).Decode(more); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		for _, s := range more.Sections {
			into := r.config.Section(s.Name)
			into.Options = append(into.Options, s.Options...)
			for _, sub := range s.Subsections {
				to := into.Subsection(sub.Name)
				to.Options = append(to.Options, sub.Options...)
			}
		}
	}
	if v := r.option("extensions", "", "objectFormat"); v != "" && !strings.EqualFold(v, "sha1") {
		return fmt.Errorf("the repository %s has objects in format %s, and only SHA-1 repositories can be read: give directories instead, for example from `git worktree add`", r.common, v)
	}
	if v := r.option("core", "", "repositoryFormatVersion"); v != "" && v != "0" && v != "1" {
		return fmt.Errorf("the repository %s has the format version %s, expected 0 or 1: give directories instead, for example from `git worktree add`", r.common, v)
	} else if v == "1" {
		for _, o := range r.config.Section("extensions").Options {
			if !slices.Contains(extensions, strings.ToLower(o.Key)) {
				return fmt.Errorf("the repository %s uses the extension %q, which is not known here: give directories instead, for example from `git worktree add`", r.common, o.Key)
			}
		}
	}
	if v := r.option("extensions", "", "refStorage"); v != "" && !strings.EqualFold(v, "files") {
		return fmt.Errorf("the repository %s keeps its refs in format %s, which cannot be read: `git refs migrate --ref-format=files` converts it", r.common, v)
	}
	return nil
}

// extensions are those that change nothing for a reader, or are looked at.
var extensions = []string{"noop", "noop-v1", "partialclone", "preciousobjects", "worktreeconfig", "relativeworktrees", "compatobjectformat", "objectformat", "refstorage"}

// option is the last value of a key, in any case.
func (r *Repo) option(section, sub, key string) string {
	s := r.config.Section(section)
	if sub != "" {
		return s.Subsection(sub).Option(key)
	}
	return s.Option(key)
}

// place finds the work tree and the index.
func (r *Repo) place(getenv func(string) (string, bool)) error {
	if dir, ok := getenv("GIT_WORK_TREE"); ok && dir != "" {
		r.top = r.absolute(dir)
	} else if dir := r.option("core", "", "worktree"); dir != "" {
		r.top = absoluteFrom(r.git, dir)
	} else if dir, ok := getenv("GIT_DIR"); ok && dir != "" && r.top == "" && !strings.EqualFold(r.option("core", "", "bare"), "true") {
		r.top = r.dir
	}
	if r.top != "" {
		top, err := filepath.EvalSymlinks(r.top)
		if err != nil {
			return fmt.Errorf("read %s: %w", r.top, disk.Cause(err))
		}
		r.top = top
	}
	r.index = filepath.Join(r.git, "index")
	if file, ok := getenv("GIT_INDEX_FILE"); ok && file != "" {
		r.index = r.absolute(file)
		if !filepath.IsAbs(file) && r.top != "" { // githooks(5): relative to the top of the work tree, where hooks run
			r.index = absoluteFrom(r.top, file)
		}
	}
	return nil
}

func readShallow(path string) (map[plumbing.Hash]bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, disk.Cause(err))
	}
	defer f.Close()
	m := map[plumbing.Hash]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m[plumbing.NewHash(strings.TrimSpace(lines.Text()))] = true
	}
	return m, lines.Err()
}
