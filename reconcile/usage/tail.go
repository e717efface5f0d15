package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// LogName is the access log in the folder of the ledger. One that is full gets another name, which nobody else gives.
const (
	LogName    = "access.log"
	turnSuffix = ".turn-" // and a number
)

// The bounds of reading.
const (
	Poll       = 200 * time.Millisecond // between two looks
	turnBytes  = 16 << 20               // a longer log is set aside
	turnAge    = time.Hour              // so is an older one with something in it
	askAgain   = 2 * time.Second        // for a new log
	chunk      = 256 << 10              // bytes that are read at once
	batchLines = 64 << 10               // lines of a transaction, about
	markLen    = 48                     // bytes by which a file is known; no line is shorter
)

// TailOptions of NewTail.
type TailOptions struct {
	// Reopen has Envoy open its logs anew: it makes a file of the old name. nil, or an error: there is no Envoy.
	Reopen func(context.Context) error
	Now    func() time.Time // nil: the clock
	Log    *slog.Logger     // nil: none
	// Private says that Envoy runs as this user: nobody else may read the log. One that another user writes, with rights that let this one
	// read it, stays as it is.
	Private bool

	TurnBytes int64         // 0: 16 MiB
	TurnAge   time.Duration // 0: an hour
}

// Tail reads the access log into a ledger. Its methods may be called from any goroutine.
type Tail struct {
	dir    string
	ledger *Ledger
	o      TailOptions

	mu      sync.Mutex
	file    *os.File
	placed  bool     // pos is known
	pos     Position // in file, of what is in counts
	began   time.Time
	moved   bool // the name is not the file's any more
	asked   time.Time
	counts  counts
	pending []Count // that the ledger did not take
	buf     []byte

	// Of Read: who asks does not wait for a look.
	lines, bad, torn, turned, touched atomic.Uint64
}

// Read is what a Tail has read since it was made.
type Read struct {
	Lines      uint64 // of requests, with an API or without
	Unreadable uint64 // lines that are none of ours, and were left out
	Torn       uint64 // ends of files without a line feed
	Turns      uint64 // files that were read to their end
	Replaced   uint64 // times that somebody removed, replaced or cut the log
}

// NewTail opens nothing yet.
func NewTail(dir string, l *Ledger, o TailOptions) *Tail {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TurnBytes == 0 {
		o.TurnBytes = turnBytes
	}
	if o.TurnAge == 0 {
		o.TurnAge = turnAge
	}
	return &Tail{dir: dir, ledger: l, o: o, counts: counts{byAPI: map[string]*hours{}}}
}

// Run reads until ctx ends. What it can not read or write down it tries again.
func (t *Tail) Run(ctx context.Context) {
	tick := time.NewTicker(Poll)
	defer tick.Stop()
	told := ""
	for {
		switch err := t.Look(ctx); {
		case err == nil:
			told = ""
		case errors.As(err, new(unwritten)): // the ledger says so
		case ctx.Err() == nil && err.Error() != told:
			told = err.Error()
			t.o.Log.Error("the access log that usage is counted from can not be read", "error", err)
			t.ledger.Raise("unread", "the access log can not be read: "+told)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if told == "" {
			t.ledger.Clear("unread")
		}
	}
}

// Read is what was read so far. It does not wait.
func (t *Tail) Read() Read {
	return Read{Lines: t.lines.Load(), Unreadable: t.bad.Load(), Torn: t.torn.Load(), Turns: t.turned.Load(), Replaced: t.touched.Load()}
}

// Waiting says that the log has another name already, and no new one was seen.
func (t *Tail) Waiting() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.file != nil && t.moved
}

// Close lets go of the file. What was counted is in the ledger.
func (t *Tail) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leave()
}

func (t *Tail) leave() error {
	if t.file == nil {
		return nil
	}
	f := t.file
	t.file, t.moved = nil, false
	return f.Close()
}

func (t *Tail) path() string { return filepath.Join(t.dir, LogName) }

func (t *Tail) turnPath(n uint64) string { return t.path() + turnSuffix + strconv.FormatUint(n, 10) }

// Look reads all that Envoy has written, file after file, and has the ledger write it down. When ctx ends while there is more to read, it
// returns its error, and the next Look goes on there.
func (t *Tail) Look(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.placed {
		p, err := t.ledger.Place()
		if err != nil {
			return unwritten{err}
		}
		t.pos, t.placed = p, true
	}
	if err := t.ledger.present(); err != nil {
		return unwritten{err}
	}
	for {
		if err := t.settle(t.pos); err != nil {
			return err
		}
		if t.file == nil {
			switch found, err := t.open(); {
			case err != nil:
				return err
			case !found && t.pos.Turn > 0: // somebody removed it, and Envoy may write to a file that has no name
				return t.ask(ctx)
			case !found:
				return nil
			}
		}
		// In this order: after a new file is seen, nobody writes to the old one.
		other, err := t.elsewhere()
		if err != nil {
			return err
		}
		size, err := t.readOn(ctx)
		if err != nil {
			return err
		}
		switch {
		case other != nil:
			if err := t.turn(other, size); err != nil {
				return err
			}
		case t.moved:
			return t.ask(ctx)
		case size >= t.o.TurnBytes || size > 0 && t.o.Now().Sub(t.began) >= t.o.TurnAge:
			return t.setAside(ctx)
		default:
			return nil
		}
	}
}

// unwritten is an error of the ledger.
type unwritten struct{ error }

func (e unwritten) Unwrap() error { return e.error }

// settle has the ledger take what was counted up to a position, if there is anything.
func (t *Tail) settle(p Position) error {
	if len(t.pending) == 0 {
		t.pending = t.counts.take(t.pending)
	}
	if p == t.ledger.Position() && len(t.pending) == 0 {
		return nil
	}
	if err := t.ledger.Count(p, t.pending); err != nil {
		return unwritten{err}
	}
	t.pos, t.pending = p, t.pending[:0]
	return nil
}

// turns are the numbers of the files that were set aside, in order.
func (t *Tail) turns() ([]uint64, error) {
	names, err := filepath.Glob(t.path() + turnSuffix + "*")
	if err != nil {
		return nil, err
	}
	var ns []uint64
	for _, name := range names {
		if n, err := strconv.ParseUint(strings.TrimPrefix(name, t.path()+turnSuffix), 10, 64); err == nil && t.turnPath(n) == name {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns, nil
}

// open finds the file that the position is in, and removes those before it.
func (t *Tail) open() (found bool, err error) {
	ns, err := t.turns()
	if err != nil {
		return false, err
	}
	for len(ns) > 0 && ns[0] < t.pos.Turn {
		if err := os.Remove(t.turnPath(ns[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		ns = ns[1:]
	}
	p, path := t.pos, t.path()
	if len(ns) > 0 { // the oldest that was not read to its end
		path, p.Turn = t.turnPath(ns[0]), ns[0]
	}
	p.Turn = max(p.Turn, 1)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if p, err = t.recognize(f, p); err != nil {
		return false, errors.Join(err, f.Close())
	}
	if t.o.Private { // the mask of the process that made it may have been another one
		if err := f.Chmod(0o600); err != nil {
			t.o.Log.Debug("others may be able to read the access log", "file", path, "error", err)
		}
	}
	t.file, t.pos, t.moved, t.began, t.asked = f, p, len(ns) > 0, t.o.Now(), time.Time{}
	return true, nil
}

// recognize is the position in f: p, when f is what p is in.
func (t *Tail) recognize(f *os.File, p Position) (Position, error) {
	info, err := f.Stat()
	if err != nil {
		return p, err
	}
	was := p
	p.Device, p.Inode = identify(info)
	if was.Offset == 0 {
		p.Head, p.Tail = 0, 0
		return p, nil
	}
	offset, why, err := t.place(f, was, uint64(info.Size()))
	if err != nil || why == "" {
		return p, err
	}
	t.replaced(why)
	return t.at(f, p, offset)
}

// place is where to go on in a file of which was was read: there, when it is the same content. Else why says what happened. What may have been
// counted is never read again.
func (t *Tail) place(f *os.File, was Position, size uint64) (offset uint64, why string, err error) {
	head, err := mark(f, 0, min(was.Offset, markLen, size))
	if err != nil {
		return 0, "", err
	}
	if head != was.Head {
		return 0, "somebody removed or replaced the access log; what had not been read of the old one is not counted", nil
	}
	if size < was.Offset {
		return size, "the access log is shorter than it was: somebody cut it, or the host lost power; what was written since the last look may not be counted", nil
	}
	n := min(was.Offset, markLen)
	tail, err := mark(f, was.Offset-n, n)
	if err != nil {
		return 0, "", err
	}
	if tail != was.Tail {
		return size, "somebody changed the access log; what was written since the last look may not be counted", nil
	}
	return was.Offset, "", nil
}

// at is p at another offset of f.
func (t *Tail) at(f *os.File, p Position, offset uint64) (Position, error) {
	n := min(offset, markLen)
	var err, err2 error
	p.Offset = offset
	p.Head, err = mark(f, 0, n)
	p.Tail, err2 = mark(f, offset-n, n)
	if offset == 0 {
		p.Head, p.Tail = 0, 0
	}
	return p, errors.Join(err, err2)
}

func (t *Tail) replaced(why string) {
	t.touched.Add(1)
	t.o.Log.Error(why, "file", t.path())
	t.ledger.Tell("log", Figures{}, func(Figures) string { return why })
}

// mark is a hash of bytes of a file.
func mark(f *os.File, offset, n uint64) (uint64, error) {
	var b [markLen]byte
	if _, err := f.ReadAt(b[:n], int64(offset)); err != nil {
		return 0, err
	}
	return hash(b[:n]), nil
}

func hash(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

func identify(info fs.FileInfo) (device, inode uint64) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return uint64(s.Dev), s.Ino //nolint:unconvert // of another size elsewhere
}

// elsewhere is the file that has the name of the log now, when that is not the one that is read. nil: it is, or there is none (moved).
func (t *Tail) elsewhere() (fs.FileInfo, error) {
	info, err := os.Stat(t.path())
	if errors.Is(err, fs.ErrNotExist) {
		if !t.moved {
			t.replaced("somebody removed the access log; it is read to its end, and Envoy is told to begin a new one")
		}
		t.moved = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if device, inode := identify(info); device != t.pos.Device || inode != t.pos.Inode {
		if !t.moved {
			t.replaced("somebody replaced the access log; it is read to its end, then the new one")
		}
		t.moved = true
		return info, nil
	}
	return nil, nil
}

// readOn counts what is in the file, and has it written down. size is that of the file. When ctx ends it leaves the rest for later.
func (t *Tail) readOn(ctx context.Context) (size int64, err error) {
	info, err := t.file.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size()
	if uint64(size) < t.pos.Offset {
		if err := t.again(size); err != nil {
			return size, err
		}
	}
	if uint64(size) == t.pos.Offset {
		return size, t.settle(t.pos)
	}
	for lines := 0; ; {
		n, more, err := t.readSome()
		if err != nil {
			return size, err
		}
		lines += n
		ended := ctx.Err()
		if !more || ended != nil || lines >= batchLines {
			if err := t.settle(t.pos); err != nil {
				return size, err
			}
			lines = 0
		}
		switch {
		case !more:
			return max(size, int64(t.pos.Offset)), nil
		case ended != nil:
			return size, ended
		}
	}
}

// again finds its place in a file that is not what it was.
func (t *Tail) again(size int64) error {
	offset, why, err := t.place(t.file, t.pos, uint64(size))
	if err != nil {
		return err
	}
	if why == "" {
		return nil
	}
	t.replaced(why)
	t.pos, err = t.at(t.file, t.pos, offset)
	return err
}

// readSome counts the lines of one chunk. more: there may be others.
func (t *Tail) readSome() (lines int, more bool, err error) {
	if t.buf == nil {
		t.buf = make([]byte, chunk)
	}
	before := min(t.pos.Offset, markLen)
	n, err := t.file.ReadAt(t.buf, int64(t.pos.Offset-before))
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, false, err
	}
	if uint64(n) < before {
		return 0, false, nil // it was cut just now
	}
	if before > 0 && hash(t.buf[:before]) != t.pos.Tail {
		size, err := t.file.Seek(0, io.SeekEnd)
		if err != nil {
			return 0, false, err
		}
		if err := t.again(size); err != nil {
			return 0, false, err
		}
		return 0, true, nil
	}
	fresh := t.buf[before:n]
	end := bytes.LastIndexByte(fresh, '\n') + 1
	if end == 0 {
		if n < len(t.buf) {
			return 0, false, nil
		}
		end = len(fresh) // no line is so long
	}
	lines = t.take(fresh[:end])
	whole := t.buf[:before+uint64(end)]
	if t.pos.Offset < markLen {
		t.pos.Head = hash(whole[:min(markLen, len(whole))]) // it begins at the beginning of the file
	}
	t.pos.Offset += uint64(end)
	t.pos.Tail = hash(whole[len(whole)-min(markLen, len(whole)):])
	return lines, n == len(t.buf), nil
}

// take counts whole lines.
func (t *Tail) take(b []byte) (lines int) {
	bad := uint64(0)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			i = len(b)
		}
		line := b[:i]
		b = b[min(i+1, len(b)):]
		if len(line) == 0 {
			continue
		}
		ms, api, ok := parse(line)
		if !ok {
			bad++
			continue
		}
		t.counts.add(api, uint32(hourOf(ms)))
		lines++
	}
	t.lines.Add(uint64(lines))
	if bad > 0 {
		t.unreadable(bad)
	}
	return lines
}

func (t *Tail) unreadable(n uint64) {
	t.bad.Add(n)
	text := ""
	if t.ledger.Tell("unreadable", Figures{n}, func(all Figures) string {
		text = fmt.Sprintf("%d lines of the access log could not be read, and are not counted; an Envoy that was killed leaves one, and so does a disk that was full", all[0])
		return text
	}) {
		t.o.Log.Warn(text, "file", t.path())
	}
}

// turn goes on to the next file; the one before is removed when that is written down.
func (t *Tail) turn(next fs.FileInfo, size int64) error {
	if rest := uint64(size) - t.pos.Offset; rest > 0 { // nobody will end its last line
		n, err := t.file.ReadAt(t.buf[:min(rest, chunk)], int64(t.pos.Offset))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		at, err := t.at(t.file, t.pos, t.pos.Offset+rest)
		if err != nil {
			return err
		}
		t.pos = at
		if t.take(t.buf[:n]) == 0 {
			t.torn.Add(1)
		}
	}
	old := t.pos.Turn
	p := Position{Turn: old + 1}
	p.Device, p.Inode = identify(next)
	if err := t.settle(p); err != nil {
		return err
	}
	t.turned.Add(1)
	t.ledger.keepUp()
	err := t.leave() // open would remove it too, after a crash
	if gone := os.Remove(t.turnPath(old)); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// setAside gives the log another name, and has Envoy begin a new one.
func (t *Tail) setAside(ctx context.Context) error {
	if t.o.Reopen == nil {
		return nil
	}
	if err := os.Rename(t.path(), t.turnPath(t.pos.Turn)); err != nil {
		return err
	}
	t.moved = true
	return t.ask(ctx)
}

// ask has Envoy begin a new file. One that does not run yet will.
func (t *Tail) ask(ctx context.Context) error {
	if now := t.o.Now(); t.o.Reopen != nil && now.Sub(t.asked).Abs() >= askAgain {
		t.asked = now
		if err := t.o.Reopen(ctx); err != nil {
			t.o.Log.Debug("Envoy was not told to begin a new access log", "error", err)
		}
	}
	return nil
}

// counts are those of lines that were not written down yet.
type counts struct {
	byAPI map[string]*hours
	some  []*hours // those that have any
	last  *hours
}

// hours are the counts of an API.
type hours struct {
	api  string
	list []hourCount
	any  bool
}

type hourCount struct {
	hour uint32
	n    uint64
}

func (c *counts) add(api []byte, hour uint32) {
	h := c.last
	if h == nil || h.api != string(api) {
		if h = c.byAPI[string(api)]; h == nil {
			h = &hours{api: string(api)}
			c.byAPI[h.api] = h
		}
		c.last = h
	}
	if !h.any {
		h.any = true
		c.some = append(c.some, h)
	}
	for i := range h.list {
		if h.list[i].hour == hour {
			h.list[i].n++
			return
		}
	}
	h.list = append(h.list, hourCount{hour, 1})
}

// take appends all to cs, in order, and forgets it.
func (c *counts) take(cs []Count) []Count {
	slices.SortFunc(c.some, func(a, b *hours) int { return strings.Compare(a.api, b.api) })
	for _, h := range c.some {
		for _, x := range h.list {
			cs = append(cs, Count{h.api, startOf(x.hour), x.n})
		}
		h.list, h.any = h.list[:0], false
	}
	c.some = c.some[:0]
	if len(c.byAPI) > 50_000 { // APIs come and go
		c.byAPI, c.last = map[string]*hours{}, nil
	}
	return cs
}
