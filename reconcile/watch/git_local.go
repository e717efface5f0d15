package watch

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
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

	"github.com/flexgw/flexgw/reconcile/disk"
)

// onDisk is a repository on this host. It is read as it is, without the git command, and copied from: what was judged is
// not what somebody else may still write to.
type onDisk struct {
	url GitURL
	max GitLimits
	has func(plumbing.Hash) bool // what need not be copied
}

func (o *onDisk) open(context.Context) (session, error) {
	info, err := os.Stat(o.url.Path)
	if err != nil {
		return nil, disk.Cause(err)
	}
	if !info.IsDir() {
		return nil, errors.New("it is no folder")
	}
	r, err := OpenRepo(o.url.Path, "", nil)
	if err != nil {
		return nil, err
	}
	if r.git != r.dir && r.top != r.dir { // a folder within a work tree
		r.Close()
		return nil, fmt.Errorf("it is no repository, but a folder of %s; --path names a folder", r.shown())
	}
	return &localSession{repo: r, max: o.max, has: o.has}, nil
}

type localSession struct {
	repo *Repo
	max  GitLimits
	has  func(plumbing.Hash) bool
}

func (s *localSession) close() { s.repo.Close() }

func (s *localSession) refs(context.Context) (*advertised, error) {
	refs, err := s.repo.refs()
	if err != nil {
		return nil, err
	}
	a := &advertised{refs: refs, peeled: map[string]plumbing.Hash{}, can: []string{"shallow", "allow-any-sha1-in-want"}}
	for id := range s.repo.shallow {
		a.shallow = append(a.shallow, id)
	}
	slices.SortFunc(a.shallow, compareHashes)
	text, err := s.repo.looseRef("HEAD")
	if err != nil {
		return nil, err
	}
	if to, ok := strings.CutPrefix(text, "ref:"); ok {
		a.head = strings.TrimSpace(to)
	}
	if id, err := s.repo.ref("HEAD"); err == nil && !id.IsZero() {
		a.refs["HEAD"] = id
	}
	return a, nil
}

// refs are all refs below refs/, by their whole names.
func (r *Repo) refs() (map[string]plumbing.Hash, error) {
	out := map[string]plumbing.Hash{}
	b, err := os.ReadFile(filepath.Join(r.common, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the packed refs: %w", disk.Cause(err))
	}
	for line := range bytes.Lines(b) {
		if id, name, ok := strings.Cut(strings.TrimSpace(string(line)), " "); ok && len(id) == hashLength && isHex(id) && refName(name) {
			out[name] = plumbing.NewHash(id)
		}
	}
	root := filepath.Join(r.common, "refs")
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(r.common, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if !refName(name) || strings.HasSuffix(name, ".lock") {
			return nil
		}
		id, err := r.ref(name)
		if err == nil && !id.IsZero() {
			out[name] = id
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the refs: %w", disk.Cause(err))
	}
	return out, nil
}

// copying gathers the objects that are to be copied, and where they were found.
type copying struct {
	from    *Repo
	has     func(plumbing.Hash) bool
	max     GitLimits
	depth   int
	seen    map[plumbing.Hash]bool
	list    []plumbing.Hash
	shallow []plumbing.Hash
}

func (s *localSession) pack(ctx context.Context, w wanted) (io.ReadCloser, []plumbing.Hash, error) {
	c := &copying{from: s.repo, has: s.has, max: s.max, depth: w.depth, seen: map[plumbing.Hash]bool{}}
	for _, id := range w.want {
		if err := c.reach(ctx, id); err != nil {
			return nil, nil, err
		}
	}
	in, out := io.Pipe()
	go func() { out.CloseWithError(c.write(ctx, out)) }()
	return in, c.shallow, nil
}

func (c *copying) add(id plumbing.Hash) error {
	if c.seen[id] = true; len(c.list) >= c.max.Objects {
		return &tooLarge{fmt.Sprintf("more than %d objects", c.max.Objects)}
	}
	c.list = append(c.list, id)
	return nil
}

// reach gathers a tag or a commit, what it stands on, and its files.
func (c *copying) reach(ctx context.Context, id plumbing.Hash) error {
	type at struct {
		id    plumbing.Hash
		depth int
	}
	for stack := []at{{id, 1}}; len(stack) > 0; {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.seen[x.id] || c.has(x.id) {
			continue
		}
		kind, b, err := c.from.object(x.id)
		if err != nil {
			return err
		}
		if err := c.add(x.id); err != nil {
			return err
		}
		switch kind {
		case plumbing.TagObject:
			to, _ := field(b, "object")
			stack = append(stack, at{plumbing.NewHash(to), x.depth})
			continue
		case plumbing.CommitObject:
		default:
			return fmt.Errorf("%s is a %s, expected a commit", short(x.id), kind)
		}
		_, commit, err := c.from.commit(x.id)
		if err != nil {
			return err
		}
		if err := c.tree(ctx, commit.tree, ""); err != nil {
			return err
		}
		if x.depth == c.depth && len(commit.parents) > 0 {
			c.shallow = append(c.shallow, x.id)
			continue
		}
		for _, p := range commit.parents {
			stack = append(stack, at{p, x.depth + 1})
		}
	}
	return nil
}

// maxDepth is how many folders may be in each other.
const maxDepth = 1000

func (c *copying) tree(ctx context.Context, id plumbing.Hash, at string) error {
	if c.seen[id] || c.has(id) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if strings.Count(at, "/") > maxDepth {
		return &tooLarge{fmt.Sprintf("more than %d folders in each other", maxDepth)}
	}
	folder := &item{mode: filemode.Dir, id: id}
	err := c.from.open(folder)
	if gone := (errMissing{}); errors.As(err, &gone) {
		return err
	}
	// One that is broken is copied as it is: whether it matters is judged where it does.
	if err := c.add(id); err != nil {
		return err
	}
	for name, kid := range folder.kids {
		full := path.Join(at, name)
		switch {
		case kid.isFolder():
			if err := c.tree(ctx, kid.id, full); err != nil {
				return err
			}
		case kid.mode == filemode.Submodule || c.seen[kid.id] || c.has(kid.id):
		default:
			size, err := c.from.size(kid.id)
			switch {
			case err != nil:
				return err
			case size <= maxBlob:
			case IsDeclaration(name):
				return &tooLarge{fmt.Sprintf("%s has %d bytes, more than the %d that a file of declarations may have", said(full), size, maxBlob)}
			default:
				continue
			}
			if err := c.add(kid.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// write sends the objects as a pack. Each is as it was named: a store that was tampered with is found out.
func (c *copying) write(ctx context.Context, to io.Writer) error {
	buffered := bufio.NewWriterSize(to, 64<<10)
	sum := sha1.New()
	out := io.MultiWriter(buffered, sum)
	if _, err := out.Write(packHeader(len(c.list))); err != nil {
		return err
	}
	z := zlib.NewWriter(nil)
	for _, id := range c.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		kind, b, err := c.from.object(id)
		if err != nil {
			return err
		}
		if got := plumbing.ComputeHash(kind, b); got != id {
			return fmt.Errorf("the object %s is not what its name says; `git fsck` says more", id)
		}
		head := []byte{byte(kind) << 4}
		size := uint64(len(b))
		head[0] |= byte(size & 15)
		for size >>= 4; size > 0; size >>= 7 {
			head[len(head)-1] |= 0x80
			head = append(head, byte(size&0x7f))
		}
		if _, err := out.Write(head); err != nil {
			return err
		}
		z.Reset(out)
		if _, err := z.Write(b); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	if _, err := buffered.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return buffered.Flush()
}

func packHeader(objects int) []byte {
	b := append([]byte("PACK"), 0, 0, 0, 2)
	return binary.BigEndian.AppendUint32(b, uint32(objects))
}

// size is how many bytes an object has, without reading it.
func (r *Repo) size(id plumbing.Hash) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stores {
		size, err := s.objects.EncodedObjectSize(id)
		if err == nil {
			return size, nil
		}
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			return 0, fmt.Errorf("read the object %s: %w", id, disk.Cause(err))
		}
	}
	return 0, r.missing(id)
}

// holds reports whether an object is there.
func (r *Repo) holds(id plumbing.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stores {
		if s.objects.HasEncodedObject(id) == nil {
			return true
		}
	}
	return false
}
