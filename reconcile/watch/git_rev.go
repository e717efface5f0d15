package watch

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// errNoRevision is the error of a text that names no revision.
type errNoRevision struct{ rev string }

func (e errNoRevision) Error() string {
	return fmt.Sprintf("%q is no branch, tag or commit of this repository", e.rev)
}

// IsRevision reports whether a text names something that At can read.
func (r *Repo) IsRevision(rev string) bool {
	_, err := r.Resolve(rev)
	return err == nil
}

// Split reads `A..B` and `A...B`: with three dots, the old side is where B left A, as in `git diff`. A side left out is HEAD.
// ok is false when rev has no dots of this kind.
func (r *Repo) Split(rev string) (from, to string, ok bool, err error) {
	a, b, dots := cutDots(rev)
	if dots == 0 {
		return "", "", false, nil
	}
	a, b = cmp.Or(a, "HEAD"), cmp.Or(b, "HEAD")
	if dots == 3 {
		base, err := r.MergeBase(a, b)
		return base, b, true, err
	}
	return a, b, true, nil
}

// cutDots cuts at the first ".." or "...".
func cutDots(rev string) (a, b string, dots int) {
	a, b, found := strings.Cut(rev, "..")
	if !found || strings.Trim(rev, ".") == "" || strings.ContainsAny(a, ":/.") && strings.HasSuffix(a, "/") || a == "" && strings.HasPrefix(b, "/") {
		return "", "", 0 // a path: "../x"
	}
	if rest, three := strings.CutPrefix(b, "."); three {
		return a, rest, 3
	}
	return a, b, 2
}

// Resolve finds what a revision names: the hash of a commit or a tree, in hexadecimal. It reads what gitrevisions(7) says
// about names of refs, hashes and their beginnings, `@`, `~N`, `^N`, `^{commit}`, `^{tree}`, `^{}`, `@{upstream}`, and a
// trailing `...` (where HEAD left it). What needs the reflog or a search in messages is refused.
func (r *Repo) Resolve(rev string) (string, error) {
	if a, b, dots := cutDots(rev); dots == 3 && b == "" {
		return r.MergeBase(cmp.Or(a, "HEAD"), "HEAD")
	} else if dots > 0 {
		return "", fmt.Errorf("%q names two revisions, expected one", rev)
	}
	id, err := r.resolve(rev)
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

func (r *Repo) resolve(rev string) (plumbing.Hash, error) {
	base, rest := cutSteps(rev)
	if strings.HasPrefix(rev, ":") || strings.Contains(rest, "^{/") {
		return plumbing.ZeroHash, fmt.Errorf("%q searches in messages, which is not read here: write $(git rev-parse '%[1]s')", rev)
	}
	id, err := r.named(base)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	for rest != "" {
		var step string
		step, rest = cutStep(rest)
		if id, err = r.step(id, step); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("%q: %w", rev, err)
		}
	}
	return id, nil
}

// cutSteps cuts where ~N, ^N and ^{…} begin.
func cutSteps(rev string) (base, steps string) {
	if i := strings.IndexAny(rev, "~^"); i >= 0 {
		return rev[:i], rev[i:]
	}
	return rev, ""
}

func cutStep(s string) (step, rest string) {
	end := 1
	switch {
	case strings.HasPrefix(s, "^{"):
		if i := strings.IndexByte(s, '}'); i > 0 {
			return s[:i+1], s[i+1:]
		}
		return s, ""
	}
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	return s[:end], s[end:]
}

func (r *Repo) step(id plumbing.Hash, step string) (plumbing.Hash, error) {
	if kind, ok := strings.CutPrefix(step, "^{"); ok {
		switch strings.TrimSuffix(kind, "}") {
		case "":
			id, _, _, err := r.peel(id)
			return id, err
		case "commit":
			id, _, err := r.commit(id)
			return id, err
		case "tree":
			return r.treeOf(id)
		}
		return id, fmt.Errorf("%s is not read here", step)
	}
	n := 1
	if step[1:] != "" {
		var err error
		if n, err = strconv.Atoi(step[1:]); err != nil {
			return id, err
		}
	} else if step[0] != '~' && step[0] != '^' {
		return id, fmt.Errorf("%s is not read here", step)
	}
	id, c, err := r.commit(id)
	if err != nil {
		return id, err
	}
	if step[0] == '^' {
		switch {
		case n == 0:
			return id, nil
		case n > len(c.parents):
			return id, r.noParent(id, fmt.Sprintf("it has no parent number %d", n))
		}
		return c.parents[n-1], nil
	}
	for range n {
		if id, c, err = r.commit(id); err != nil {
			return id, err
		}
		if len(c.parents) == 0 {
			return id, r.noParent(id, fmt.Sprintf("%s is the first commit", short(id)))
		}
		id = c.parents[0]
	}
	return id, nil
}

// noParent says that history ends here, and why it may.
func (r *Repo) noParent(id plumbing.Hash, why string) error {
	if r.isShallow(id) {
		return errors.New("this clone is shallow and ends at " + short(id) + ": `git fetch --unshallow` fetches the rest (in CI: a checkout with the whole history)")
	}
	return errors.New(why)
}

func short(id plumbing.Hash) string { return id.String()[:10] }

// named finds a ref, or an object by the beginning of its hash.
func (r *Repo) named(name string) (plumbing.Hash, error) {
	switch name {
	case "":
		return plumbing.ZeroHash, errNoRevision{name}
	case "@":
		name = "HEAD"
	}
	if before, at, ok := strings.Cut(name, "@{"); ok {
		up, err := r.upstream(name, before, strings.TrimSuffix(at, "}"))
		if err != nil {
			return plumbing.ZeroHash, err
		}
		name = up
	}
	if len(name) == hashLength && isHex(name) {
		return plumbing.NewHash(name), nil
	}
	for _, pattern := range []string{"%s", "refs/%s", "refs/tags/%s", "refs/heads/%s", "refs/remotes/%s", "refs/remotes/%s/HEAD"} {
		full := fmt.Sprintf(pattern, name)
		if !refName(full) {
			continue
		}
		id, err := r.ref(full)
		if err != nil || !id.IsZero() {
			return id, err
		}
	}
	if i := strings.LastIndex(name, "-g"); i > 0 && len(name)-i-2 >= shortest && isHex(name[i+2:]) { // `git describe`
		name = name[i+2:]
	}
	if len(name) >= shortest && isHex(name) {
		return r.abbreviated(name)
	}
	err := errNoRevision{name}
	if name == "HEAD" {
		return plumbing.ZeroHash, fmt.Errorf("%w: it has no commit yet", err)
	}
	if len(r.shallow) > 0 || strings.Contains(name, "/") {
		return plumbing.ZeroHash, fmt.Errorf("%w; if it is a branch of a remote, `git fetch` brings it (in CI: a checkout with the whole history)", err)
	}
	return plumbing.ZeroHash, err
}

const (
	hashLength = 40
	shortest   = 4 // characters of an abbreviated hash; git's own limit
)

func isHex(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// refName keeps what is no name of a ref from being a path elsewhere.
func refName(name string) bool {
	if !strings.Contains(name, "/") { // beside HEAD only what git itself writes there
		return name == strings.ToUpper(name) && isWord(name)
	}
	return strings.HasPrefix(name, "refs/") && !strings.Contains(name, "..") && !strings.ContainsAny(name, " ~^:?*[\\\x7f") && !strings.HasSuffix(name, "/") && !strings.Contains(name, "//")
}

func isWord(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !(c >= 'A' && c <= 'Z' || c == '_' || c >= '0' && c <= '9') }) < 0
}

// maxSymbolic is how many symbolic refs may name each other; git's own limit.
const maxSymbolic = 5

// ref is what a ref with its whole name names; the zero hash when there is none.
func (r *Repo) ref(name string) (plumbing.Hash, error) {
	for range maxSymbolic {
		text, err := r.looseRef(name)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if text == "" {
			return r.packedRef(name)
		}
		if to, symbolic := strings.CutPrefix(text, "ref:"); symbolic {
			if name = strings.TrimSpace(to); !refName(name) {
				return plumbing.ZeroHash, fmt.Errorf("the ref %s is broken: it names %q", name, to)
			}
			continue
		}
		if len(text) < hashLength || !isHex(text[:hashLength]) {
			return plumbing.ZeroHash, nil // FETCH_HEAD has more, other files less
		}
		return plumbing.NewHash(text[:hashLength]), nil
	}
	return plumbing.ZeroHash, fmt.Errorf("the ref %s is symbolic without end", name)
}

func (r *Repo) looseRef(name string) (string, error) {
	dir := r.common
	if !strings.HasPrefix(name, "refs/") || strings.HasPrefix(name, "refs/bisect/") || strings.HasPrefix(name, "refs/worktree/") || strings.HasPrefix(name, "refs/rewritten/") {
		dir = r.git
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the ref %s: %w", name, disk.Cause(err))
	}
	return strings.TrimSpace(string(b)), nil
}

func (r *Repo) packedRef(name string) (plumbing.Hash, error) {
	b, err := os.ReadFile(filepath.Join(r.common, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("read the packed refs: %w", disk.Cause(err))
	}
	for line := range bytes.Lines(b) {
		id, what, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if what == name && len(id) == hashLength && isHex(id) {
			return plumbing.NewHash(id), nil
		}
	}
	return plumbing.ZeroHash, nil
}

// upstream is the ref that branch@{upstream} stands for.
func (r *Repo) upstream(whole, branch, what string) (string, error) {
	if u := strings.ToLower(what); u != "u" && u != "upstream" {
		return "", fmt.Errorf("%q needs the reflog, which is not read here: write $(git rev-parse '%[1]s')", whole)
	}
	if branch == "" || branch == "@" || branch == "HEAD" {
		head, err := r.looseRef("HEAD")
		if err != nil {
			return "", err
		}
		name, ok := strings.CutPrefix(head, "ref: refs/heads/")
		if !ok {
			return "", fmt.Errorf("%q: no branch is checked out", whole)
		}
		branch = name
	}
	remote, merge := r.option("branch", branch, "remote"), r.option("branch", branch, "merge")
	name, ok := strings.CutPrefix(merge, "refs/heads/")
	switch {
	case remote == "" || !ok:
		return "", fmt.Errorf("%q: the branch %q has no upstream", whole, branch)
	case remote == ".":
		return merge, nil
	}
	return "refs/remotes/" + remote + "/" + name, nil
}

// abbreviated finds the one commit, tag or tree whose hash begins so.
func (r *Repo) abbreviated(name string) (plumbing.Hash, error) {
	name = strings.ToLower(name)
	prefix := make([]byte, len(name)/2)
	for i := range prefix {
		n, _ := strconv.ParseUint(name[2*i:2*i+2], 16, 8)
		prefix[i] = byte(n)
	}
	var all, commits []plumbing.Hash
	for _, s := range r.stores {
		r.mu.Lock()
		ids, err := s.objects.HashesWithPrefix(prefix)
		r.mu.Unlock()
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("read the objects of %s: %w", s.dir, disk.Cause(err))
		}
		for _, id := range ids {
			if strings.HasPrefix(id.String(), name) && !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	for _, id := range all {
		if _, kind, _, err := r.peel(id); err == nil && kind == plumbing.CommitObject {
			commits = append(commits, id)
		}
	}
	switch {
	case len(commits) == 1:
		return commits[0], nil
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0:
		return plumbing.ZeroHash, errNoRevision{name}
	}
	return plumbing.ZeroHash, fmt.Errorf("%q begins the hashes of %d objects: write more of it", name, len(all))
}

// commit is a commit as far as it matters here.
type commit struct {
	tree    plumbing.Hash
	parents []plumbing.Hash
	when    int64 // committed, in seconds
}

// peel follows annotated tags.
func (r *Repo) peel(id plumbing.Hash) (plumbing.Hash, plumbing.ObjectType, []byte, error) {
	for range maxSymbolic {
		kind, b, err := r.object(id)
		if err != nil || kind != plumbing.TagObject {
			return id, kind, b, err
		}
		to, ok := field(b, "object")
		if !ok {
			return id, kind, b, fmt.Errorf("the tag %s is broken", id)
		}
		id = plumbing.NewHash(to)
	}
	return id, 0, nil, fmt.Errorf("the tag %s tags tags without end", id)
}

func (r *Repo) commit(id plumbing.Hash) (plumbing.Hash, commit, error) {
	id, kind, b, err := r.peel(id)
	if err != nil {
		return id, commit{}, err
	}
	if kind != plumbing.CommitObject {
		return id, commit{}, fmt.Errorf("%s is a %s, expected a commit", short(id), kind)
	}
	var c commit
	head, _, _ := bytes.Cut(b, []byte("\n\n"))
	for line := range bytes.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch name {
		case "tree":
			c.tree = plumbing.NewHash(value)
		case "parent":
			if !r.isShallow(id) {
				c.parents = append(c.parents, plumbing.NewHash(value))
			}
		case "committer":
			if f := strings.Fields(value); len(f) > 2 {
				c.when, _ = strconv.ParseInt(f[len(f)-2], 10, 64)
			}
		}
	}
	return id, c, nil
}

// isShallow reports whether the parents of a commit are not there.
func (r *Repo) isShallow(id plumbing.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shallow[id]
}

// field is the value of a line in the head of a commit or a tag.
func field(b []byte, name string) (string, bool) {
	head, _, _ := bytes.Cut(b, []byte("\n\n"))
	for line := range bytes.Lines(head) {
		if n, value, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " "); ok && n == name {
			return value, true
		}
	}
	return "", false
}

// treeOf is the tree of a commit, or what is one itself.
func (r *Repo) treeOf(id plumbing.Hash) (plumbing.Hash, error) {
	id, kind, _, err := r.peel(id)
	switch {
	case err != nil:
		return id, err
	case kind == plumbing.TreeObject:
		return id, nil
	}
	_, c, err := r.commit(id)
	return c.tree, err
}

// MergeBase is where two revisions parted: of several such commits, the youngest.
func (r *Repo) MergeBase(a, b string) (string, error) {
	idA, err := r.resolve(a)
	if err != nil {
		return "", err
	}
	idB, err := r.resolve(b)
	if err != nil {
		return "", err
	}
	w := walk{repo: r, marks: map[plumbing.Hash]mark{}}
	for _, x := range []struct {
		id plumbing.Hash
		m  mark
	}{{idA, fromA}, {idB, fromB}} {
		if err := w.reach(x.id, x.m); err != nil {
			return "", err
		}
	}
	base, err := w.base()
	if err != nil {
		return "", err
	}
	if base.IsZero() {
		if len(r.shallow) > 0 {
			return "", fmt.Errorf("%s and %s have no common ancestor in this shallow clone: `git fetch --unshallow` fetches the rest (in CI: a checkout with the whole history)", a, b)
		}
		return "", fmt.Errorf("%s and %s have no common ancestor", a, b)
	}
	return base.String(), nil
}

// mark says from where a commit was reached.
type mark uint8

const (
	fromA mark = 1 << iota
	fromB
	stale // is an ancestor of a common one
)

// walk goes back in time from both sides at once, as git's paint_down_to_common does, and stops when only ancestors of
// what is common are left.
type walk struct {
	repo  *Repo
	marks map[plumbing.Hash]mark
	queue []step // youngest last
	found []step
}

type step struct {
	id plumbing.Hash
	commit
}

func (w *walk) reach(id plumbing.Hash, m mark) error {
	id, c, err := w.repo.commit(id)
	if err != nil {
		return err
	}
	if w.marks[id]&m == m {
		return nil
	}
	w.marks[id] |= m
	i, _ := slices.BinarySearchFunc(w.queue, c.when, func(s step, when int64) int { return cmp.Compare(s.when, when) })
	w.queue = slices.Insert(w.queue, i, step{id, c})
	return nil
}

func (w *walk) base() (plumbing.Hash, error) {
	for slices.ContainsFunc(w.queue, func(s step) bool { return w.marks[s.id]&stale == 0 }) {
		s := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		m := w.marks[s.id]
		if m&(fromA|fromB) == fromA|fromB {
			if m&stale == 0 && !slices.ContainsFunc(w.found, func(f step) bool { return f.id == s.id }) {
				w.found = append(w.found, s)
			}
			m |= stale
		}
		for _, p := range s.parents {
			if err := w.reach(p, m); err != nil {
				return plumbing.ZeroHash, err
			}
		}
	}
	best := plumbing.ZeroHash
	var when int64
	for _, f := range w.found {
		if w.marks[f.id]&stale == 0 && (best.IsZero() || f.when > when) {
			best, when = f.id, f.when
		}
	}
	return best, nil
}
