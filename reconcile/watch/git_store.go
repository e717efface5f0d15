package watch

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

// maxBlob is how many bytes a file in a repository may have: more is no declaration.
const maxBlob = source.MaxFileSize

// bare is our own repository: objects in packs, and which commits are shallow. git(1) can read it; nobody else writes it.
type bare struct {
	dir  string
	repo *Repo
	max  GitLimits
}

// newBare makes an empty one.
func newBare(dir string, max GitLimits) (*bare, error) {
	for _, d := range []string{"objects/pack", "refs/heads"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"HEAD": "ref: refs/heads/none\n", "config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"} {
		if err := disk.Write(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return openBare(dir, max)
}

// openBare opens one that is there. What an earlier process left half is removed, and what the disk damaged is an error: later, when
// its head was judged and taken, it would look like a mistake in a declaration.
func openBare(dir string, max GitLimits) (*bare, error) {
	half, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "tmp_*"))
	if err != nil {
		return nil, err
	}
	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	if err != nil {
		return nil, err
	}
	for _, p := range packs {
		if _, err := os.Stat(strings.TrimSuffix(p, ".pack") + ".idx"); err != nil { // the pack is written first
			half = append(half, p)
		}
	}
	for _, p := range half {
		if err := os.Remove(p); err != nil {
			return nil, err
		}
	}
	for _, p := range packs {
		if slices.Contains(half, p) {
			continue
		}
		if err := errors.Join(intact(p), intact(strings.TrimSuffix(p, ".pack")+".idx")); err != nil {
			return nil, err
		}
	}
	r, err := OpenRepo(dir, "", nil)
	if err != nil {
		return nil, err
	}
	r.ours, r.most = true, 4*max.Files
	if r.stores, err = openStores(r.common, smallCache, true, func(string) (string, bool) { return "", false }); err != nil {
		return nil, err
	}
	return &bare{dir: dir, repo: r, max: max}, nil
}

// intact says what is wrong with a pack or the index of one: both end with the sum of what precedes it (gitformat-pack(5)).
func intact(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sum, end := sha1.New(), make([]byte, sha1.Size)
	if _, err := io.CopyN(sum, f, info.Size()-sha1.Size); err != nil && info.Size() > sha1.Size {
		return fmt.Errorf("read %s: %w", path, disk.Cause(err))
	}
	if _, err := io.ReadFull(f, end); err != nil || !bytes.Equal(sum.Sum(nil), end) {
		return fmt.Errorf("%s is damaged", path)
	}
	return nil
}

func (b *bare) folder() string { return filepath.Join(b.dir, "objects", "pack") }

// size is how many bytes and packs there are.
func (b *bare) size() (bytes int64, packs int) {
	list, err := os.ReadDir(b.folder())
	if err != nil {
		return 0, 0
	}
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
		if strings.HasSuffix(e.Name(), ".pack") {
			packs++
		}
	}
	return bytes, packs
}

// take adds what a remote sent: all of it, or nothing.
func (b *bare) take(ctx context.Context, in io.Reader, shallow []plumbing.Hash) error {
	f, err := os.CreateTemp(b.folder(), "tmp_pack_")
	if err != nil {
		return err
	}
	defer func() { f.Close(); os.Remove(f.Name()) }()
	count, err := b.spool(ctx, in, f)
	if err != nil {
		return err
	}
	if len(shallow) > 0 { // before the objects: a commit whose parents are not there must not be taken for a whole one
		if err := b.addShallow(shallow); err != nil {
			return err
		}
	}
	if count > 0 {
		if err := b.index(ctx, f); err != nil {
			return err
		}
	}
	return b.reload()
}

// spool writes a pack to f and judges it on the way, so that what is too large is refused when its head says so: neither in
// memory nor on the disk is more than the bounds allow.
func (b *bare) spool(ctx context.Context, in io.Reader, f *os.File) (count int, err error) {
	out := bufio.NewWriterSize(f, 256<<10)
	from := &contextReader{ctx: ctx, in: in}
	all := &boundedReader{in: from, left: b.max.Pack, what: "the pack"}
	s := packfile.NewScanner(io.TeeReader(all, out))
	broken := func(err error) error {
		switch {
		case all.err != nil:
			return all.err
		case from.err != nil: // err may have lost what it is
			return from.err
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, packfile.ErrEmptyPackfile):
			return errEarly
		}
		return errors.New("the pack that it sent is broken: " + said(err.Error()))
	}
	_, n, err := s.Header()
	if err != nil {
		return 0, broken(err)
	}
	if int64(n) > int64(b.max.Objects) {
		return 0, &tooLarge{fmt.Sprintf("the pack has %d objects, more than %d", n, b.max.Objects)}
	}
	depth := map[int64]int{} // of deltas, by their offset
	var whole int64
	for range n {
		h, err := s.NextObjectHeader()
		if err != nil {
			return 0, broken(err)
		}
		if h.Type < plumbing.CommitObject || h.Type > plumbing.REFDeltaObject || h.Type == 5 {
			return 0, fmt.Errorf("the pack that it sent is broken: it has an object of type %d", h.Type)
		}
		size := h.Length
		if size > maxBlob {
			return 0, &tooLarge{fmt.Sprintf("the pack has an object of %d bytes, more than the %d that a file may have; keep it out of this repository (Git LFS does), or have the server filter it (uploadpack.allowFilter)", size, maxBlob)}
		}
		var start sizes
		if _, _, err := s.NextObject(&start); err != nil {
			return 0, broken(err)
		}
		if start.n != h.Length {
			return 0, errors.New("the pack that it sent is broken: an object is shorter than it says")
		}
		if h.Type.IsDelta() {
			// Chains by offset are counted here. What a delta by hash is on is known when the pack is resolved: there go-git's own
			// bound holds for both kinds, 4095, which is the default of Chain.
			if size, err = start.target(); err != nil {
				return 0, err
			}
			if size > maxBlob {
				return 0, &tooLarge{fmt.Sprintf("the pack has an object of %d bytes, more than the %d that a file may have", size, maxBlob)}
			}
			if depth[h.Offset] = depth[h.OffsetReference] + 1; depth[h.Offset] > b.max.Chain {
				return 0, &tooLarge{fmt.Sprintf("the pack has a chain of more than %d deltas", b.max.Chain)}
			}
		}
		if whole += size; whole > b.max.Inflated {
			return 0, &tooLarge{fmt.Sprintf("the pack's objects have more than %d bytes", b.max.Inflated)}
		}
	}
	if _, err := s.Checksum(); err != nil {
		return 0, broken(err)
	}
	return int(n), out.Flush()
}

// sizes keeps the beginning of a delta.
type sizes struct {
	head []byte
	n    int64
}

func (s *sizes) Write(p []byte) (int, error) {
	const enough = 2 * binary.MaxVarintLen64
	s.head = append(s.head, p[:min(len(p), max(0, enough-len(s.head)))]...)
	s.n += int64(len(p))
	return len(p), nil
}

// target is how large a delta makes what it is applied to.
func (s *sizes) target() (int64, error) {
	_, a := binary.Uvarint(s.head)
	if a > 0 {
		if size, b := binary.Uvarint(s.head[a:]); b > 0 && size < 1<<62 {
			return int64(size), nil
		}
	}
	return 0, errors.New("the pack that it sent is broken: a delta does not begin with two sizes")
}

// contextReader ends with its context, whatever it reads from.
type contextReader struct {
	ctx context.Context
	in  io.Reader
	err error // the last, if it is not the end
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p)
	if err != nil && err != io.EOF {
		if c.err = err; c.ctx.Err() != nil {
			c.err = c.ctx.Err()
		}
		err = c.err
	}
	return n, err
}

// contextFile is a file that can not be read any more once its context is done.
type contextFile struct {
	*os.File
	ctx context.Context
}

func (c contextFile) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.File.Read(p)
}

// index resolves a pack that was judged, and puts it and its index in their place.
func (b *bare) index(ctx context.Context, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w := new(idxfile.Writer)
	p, err := packfile.NewParser(packfile.NewScanner(contextFile{f, ctx}), w)
	if err != nil {
		return err
	}
	sum, err := p.Parse()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("the pack that it sent is broken: " + said(err.Error()))
	}
	return b.place(f, sum, w)
}

// place gives a pack its name, then its index: a pack without one is not there.
func (b *bare) place(f *os.File, sum plumbing.Hash, w *idxfile.Writer) error {
	idx, err := w.Index()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if _, err := idxfile.NewEncoder(&text).Encode(idx); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	name := filepath.Join(b.folder(), "pack-"+sum.String()) // that of one that is there: it came again, for that one may be damaged
	if err := os.Rename(f.Name(), name+".pack"); err != nil {
		return err
	}
	return disk.Write(name+".idx", text.Bytes(), 0o600)
}

// addShallow notes commits whose parents are not there.
func (b *bare) addShallow(more []plumbing.Hash) error {
	all := maps.Clone(b.repo.shallow)
	if all == nil {
		all = map[plumbing.Hash]bool{}
	}
	for _, id := range more {
		all[id] = true
	}
	return b.writeShallow(all)
}

func (b *bare) writeShallow(all map[plumbing.Hash]bool) error {
	var lines []string
	for id := range all {
		lines = append(lines, id.String()+"\n")
	}
	slices.Sort(lines)
	path := filepath.Join(b.dir, "shallow")
	if len(lines) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return disk.Write(path, []byte(strings.Join(lines, "")), 0o600)
}

// reload has readers see what was added.
func (b *bare) reload() error {
	shallow, err := readShallow(filepath.Join(b.dir, "shallow"))
	if err != nil {
		return err
	}
	r := b.repo
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shallow = shallow
	r.stores[0].objects.Reindex()
	return nil
}

// merge makes one pack of many: each is open and has its index in memory. Entries are copied as they are, bodies one after
// another, so that the distances between a delta and its base stay what they were.
func (b *bare) merge() (err error) {
	packs, err := filepath.Glob(filepath.Join(b.folder(), "pack-*.pack"))
	if err != nil || len(packs) < 2 {
		return err
	}
	f, err := os.CreateTemp(b.folder(), "tmp_pack_")
	if err != nil {
		return err
	}
	defer func() { f.Close(); os.Remove(f.Name()) }()
	out := bufio.NewWriterSize(f, 256<<10)
	sum := sha1.New()
	w := io.MultiWriter(out, sum)
	idxs := make([]*idxfile.MemoryIndex, len(packs))
	total := 0
	for i, p := range packs {
		if idxs[i], err = readIdx(strings.TrimSuffix(p, ".pack") + ".idx"); err != nil {
			return err
		}
		n, err := packCount(p)
		if err != nil {
			return err
		}
		total += n
	}
	if _, err := w.Write(packHeader(total)); err != nil {
		return err
	}
	merged := new(idxfile.Writer)
	if err := merged.OnHeader(uint32(total)); err != nil {
		return err
	}
	seen := map[plumbing.Hash]bool{}
	at := int64(packHead)
	for i, p := range packs {
		n, err := copyBody(w, p)
		if err != nil {
			return err
		}
		entries, err := idxs[i].Entries()
		if err != nil {
			return err
		}
		for e, err := entries.Next(); err != io.EOF; e, err = entries.Next() {
			if err != nil {
				return err
			}
			if !seen[e.Hash] { // what came twice is there twice, and found once
				seen[e.Hash] = true
				merged.Add(e.Hash, e.Offset+uint64(at-packHead), e.CRC32)
			}
		}
		at += n
	}
	id := plumbing.Hash(sum.Sum(nil))
	if _, err := out.Write(id[:]); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := merged.OnFooter(id); err != nil {
		return err
	}
	if err := b.place(f, id, merged); err != nil {
		return err
	}
	// Readers go by the names that they have read: nobody may look between the removal and the reload.
	r := b.repo
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.stores[0].objects.Close(); err != nil {
		return err
	}
	for _, p := range packs {
		if strings.Contains(p, id.String()) {
			continue
		}
		for _, ext := range []string{".idx", ".pack"} { // without its index, a pack is not there
			if err := os.Remove(strings.TrimSuffix(p, ".pack") + ext); err != nil {
				return err
			}
		}
	}
	stores, err := openStores(r.common, smallCache, true, func(string) (string, bool) { return "", false })
	if err != nil {
		return err
	}
	r.stores[0] = stores[0]
	return nil
}

const (
	packHead = 12
	packTail = sha1.Size
)

func readIdx(path string) (*idxfile.MemoryIndex, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	idx := idxfile.NewMemoryIndex()
	return idx, idxfile.NewDecoder(bufio.NewReader(f)).Decode(idx)
}

// packCount is how many objects a pack says it has.
func packCount(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var head [packHead]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(head[8:])), nil
}

// copyBody copies the objects of a pack, without its head and its sum.
func copyBody(to io.Writer, path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	n := info.Size() - packHead - packTail
	if n < 0 {
		return 0, fmt.Errorf("%s is no pack", path)
	}
	if _, err := f.Seek(packHead, io.SeekStart); err != nil {
		return 0, err
	}
	return io.CopyN(to, f, n)
}

// close lets the files go.
func (b *bare) close() error { return b.repo.Close() }
