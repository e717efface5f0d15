// Package usage counts requests per API from Envoy's access log and keeps the counts until the platform has them.
//
// It starts no Envoy and dials nobody: the log is a file, and who sends batches is handed the means. A ledger is one file of whole
// transactions; a count and the place in the log up to which it was made are one of them, so that a crash neither loses nor doubles a
// request.
package usage

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
)

// Identity is whom counts are reported for: what a registration names. The zero Identity is nobody, and its counts are never reported.
type Identity struct {
	Agent          string // platformConnection.agentId
	Asset          string // assetName
	MeteringSchema string // meteringSchemaId
	Organization   string
	Environment    string
}

// sameGateway reports whether two are one to the platform, which keeps the greatest count of a gateway, replica, API and hour. A renewal
// may change the rest.
func (id Identity) sameGateway(o Identity) bool {
	return id.Agent == o.Agent && id.Organization == o.Organization && id.Environment == o.Environment
}

// Position is how far an access log was counted.
type Position struct {
	Turn   uint64 // number of the file: each rotation adds one; 0: nothing was read yet
	Device uint64
	Inode  uint64
	Offset uint64 // bytes, at the beginning of a line
	Head   uint64 // hash of the first bytes of the file, to know it from another one of the same inode
	Tail   uint64 // hash of the last bytes before Offset
}

// Count is N requests of an API that began in an hour.
type Count struct {
	API  string // "namespace/name"; "": on a path that is no API's
	Hour time.Time
	N    uint64
}

// Options of Open. The zero Options are those of a daemon.
type Options struct {
	Now      func() time.Time // nil: the clock
	MaxBytes int64            // of the ledger on disk; 0: 256 MiB
	MaxAge   time.Duration    // of what is not acknowledged though somebody takes it (Deliverable); 0: 90 days
	Log      *slog.Logger     // nil: none

	AccessLog string // folder of the access log, which is there; "": that of the ledger
	Existing  bool   // there is a ledger, or it can be brought back whole: else fs.ErrNotExist
	// Later has a ledger that can not be opened now, for the disk is full or another process looks at it, opened when that is over.
	Later bool
	// Private says that Envoy runs as this user, so that the folder of its log can be made again when somebody removes it.
	Private bool

	files files // nil: the disk
	keep  int   // rows of which there is nothing to report; 0: keepDone
}

// The bounds of a ledger.
const (
	defaultBytes = 256 << 20
	defaultAge   = 90 * 24 * time.Hour
	batchPoints  = 500                // at most, of a batch
	longestName  = 512                // bytes of an API's, in a report
	backlog      = 12                 // batches; with so many that nobody took, an hour is sealed when it is over, not before
	heartbeat    = 15 * time.Minute   // without a batch
	stepBack     = time.Minute        // a clock that goes back by more is said
	lateHours    = 25                 // a request that began earlier counts in the hour in which it ended
	keepDone     = 100_000            // rows of which there is nothing to report, for Totals
	keepAside    = 1000               // batches that were set aside
	lapse        = 7 * 24 * time.Hour // after which an alarm of something that has happened ends
	keepNobody   = time.Minute        // after which the copy knows of calls of nobody
	openAgain    = time.Second        // for a ledger that could not be opened
	slack        = 1 << 20            // bytes a file may have beyond twice its snapshot
)

// ErrInUse is what Open returns when another process has the ledger.
var ErrInUse = errors.New("another process has it")

// Ledger is counts on disk. Its methods may be called from any goroutine. An error of one says that nothing has changed; of SetIdentity,
// that it will.
type Ledger struct {
	dir     string
	o       Options
	fs      files
	lock    *os.File
	logLock *os.File // nil: the folder of the access log is the ledger's own

	mu       sync.Mutex
	s        *state
	unopened error       // why it is not open yet; nil: it is
	logHome  fs.FileInfo // of the folder of the access log
	gone     error       // why what somebody removed could not be made again; nil: nothing is missing
	lacking  string      // what that is, in words
	since    time.Time   // that it is not open, or gone
	looked   time.Time   // when opening it, or making it again, was tried last
	wanted   Identity    // that counts belong to from the next one on
	aimed    bool        // somebody said so
	file     file
	end      int64     // of the last whole frame in file
	rewrite  bool      // the file is in doubt: write a new one first
	sync     bool      // so is the name of the file
	kept     uint64    // age of the copy; 0: it is not known
	keptAt   time.Time // when it was to be written last
	bare     bool      // there is no copy, for it could not be written: that was told
	closed   bool
	broken   error           // why the disk did not take the last transaction
	tried    int64           // size at which a new file could not be written
	failing  *Alarm          // "unwritable", which can not be written down
	taken    bool            // there is somebody who takes batches
	unsaved  map[string]bool // codes of alarms that are not on the disk as they are
}

// Close gives the ledger to the next process. Everything is on the disk already.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	var err error
	if l.unopened == nil && len(l.unsaved) > 0 {
		_ = l.commit(&writer{}) // what it tells of is told again when it still is so
	}
	l.closed = true
	if l.file != nil {
		err = l.file.Close()
	}
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	if l.logLock != nil {
		err = errors.Join(err, l.logLock.Close())
	}
	return err
}

// write makes a file of a state.
func (l *Ledger) write(path string, s *state) (f file, size int64, moved bool, err error) {
	f, moved, err = replace(l.fs, path, func(w io.WriterAt) error {
		return s.snapshot(func(payload []byte) error {
			b := frame(payload)
			n, err := w.WriteAt(b, size)
			size += int64(n)
			return err
		})
	})
	return f, size, moved, err
}

// compact writes the state into a new file; lean: without what is not needed any more. That gives APIs other numbers, which nobody may have
// in his hands.
func (l *Ledger) compact(lean bool) error {
	s := l.s
	if lean {
		s = s.lean(l.o.keep)
	}
	f, size, moved, err := l.write(l.path(), s)
	if !moved {
		return err
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.s, l.file, l.end, l.rewrite, l.tried = s, f, size, false, 0
	l.s.size, l.s.whole = size, true
	l.sync = err != nil
	return err
}

// keep writes the copy, from which a ledger that is lost is brought back. Whoever makes a batch does it first: a copy with less than the
// platform was told would hide calls. When there is no room for it there is none, rather than an old one.
func (l *Ledger) keep() error {
	if l.kept == l.s.age && l.kept > 0 {
		return nil
	}
	l.keptAt = l.o.Now()
	f, _, _, err := l.write(l.copyPath(), l.s)
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		l.kept, l.bare = l.s.age, false
		return nil
	}
	l.kept = 0
	if !l.bare {
		l.o.Log.Warn("there is no copy of the usage ledger: it can not be written", "file", l.copyPath(), "error", err)
	}
	gone := l.fs.remove(l.copyPath())
	if gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return errors.Join(err, gone)
	}
	if gone := l.fs.syncDir(l.dir); gone != nil {
		return errors.Join(err, gone)
	}
	l.bare = true
	return nil
}

// keepUp has the copy follow before a log is removed: what was counted from it would be missing if only the ledger had it.
func (l *Ledger) keepUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unopened != nil || l.closed {
		return
	}
	if err := l.keep(); err != nil { // it is as it was: nothing was sent of what it does not have
		l.o.Log.Debug("the copy of the usage ledger is an old one", "error", err)
	}
}

// keepDone has the copy follow what somebody did by hand, who would have to do it again: nothing was counted, and still it is an old one.
func (l *Ledger) keepDone() {
	l.kept = 0
	if err := l.keep(); err != nil {
		l.o.Log.Debug("the copy of the usage ledger is an old one", "error", err)
	}
}

// commit makes a transaction: it is on the disk, or nothing has changed.
func (l *Ledger) commit(w *writer) error {
	if l.closed {
		return fs.ErrClosed
	}
	if err := cmp.Or(l.unopened, l.gone); err != nil {
		return err
	}
	for _, code := range slices.Sorted(maps.Keys(l.unsaved)) {
		if a, is := l.s.alarms[code]; is {
			a.write(w)
		} else {
			w.step(stepClear)
			w.word(code)
		}
	}
	err := l.append(frame(w.b))
	if err != nil {
		if l.broken == nil {
			l.o.Log.Error("usage can not be written down; counting waits where it is", "error", err)
			l.failing = &Alarm{Code: "unwritable", Since: l.o.Now().UTC()}
		}
		l.broken = err
		l.failing.Message = "usage can not be written down, counting waits: " + err.Error()
		return fmt.Errorf("usage ledger: %w", err)
	}
	clear(l.unsaved)
	if l.broken != nil {
		l.broken, l.failing = nil, nil
		l.o.Log.Info("usage is written down again")
	}
	if err := l.s.apply(w.b); err != nil {
		panic("usage: a transaction of our own: " + err.Error())
	}
	if limit := 2*l.s.size + slack; l.end > max(limit, l.tried) {
		l.shrink()
	}
	return nil
}

// shrink makes the file smaller, and what of it is in memory.
func (l *Ledger) shrink() {
	if err := l.compact(true); err != nil { // the file that is there is as good
		l.tried = l.end + slack
		l.o.Log.Warn("the usage ledger could not be made smaller", "error", err)
	}
}

func (l *Ledger) append(b []byte) error {
	if l.rewrite {
		if err := l.compact(false); err != nil {
			return err
		}
	}
	if l.sync {
		if err := l.fs.syncDir(l.dir); err != nil {
			return err
		}
		l.sync = false
	}
	if _, err := l.file.WriteAt(b, l.end); err != nil {
		l.rewrite = l.file.Truncate(l.end) != nil
		return err
	}
	if err := l.file.Sync(); err != nil {
		l.rewrite = true // what of it is on the disk nobody can say: https://wiki.postgresql.org/wiki/Fsync_Errors
		return err
	}
	l.end += int64(len(b))
	return nil
}

// Place is Position of a ledger that is open, or why it can not be opened.
func (l *Ledger) Place() (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return Position{}, err
	}
	return l.s.position, nil
}

// Position is where counting goes on.
func (l *Ledger) Position() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.position
}

// Count adds requests to the counts, and says up to where the log was read for them; both, or neither. What of it there is no room for is
// lost: State says how much. It is on the disk when Count returns.
func (l *Ledger) Count(p Position, counts []Count) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	if err := l.ready(); err != nil {
		return err
	}
	l.lapse(now)
	if err := l.identify(); err != nil {
		return err
	}
	if err := l.observe(now); err != nil {
		return err
	}
	w := &writer{}
	w.step(stepClock)
	w.int(now.UnixMilli())
	p.write(w)
	full := l.full(now)
	refused := l.enter(w, counts, now, full)
	if refused.points > 0 {
		w.step(stepRefuse)
		w.numbers(refused.points, refused.calls)
	}
	if err := l.commit(w); err != nil {
		return err
	}
	if l.s.using == 0 && now.Sub(l.keptAt).Abs() >= keepNobody { // no batch is made of them: who counts them again would count them for who registers
		if err := l.keep(); err != nil {
			l.o.Log.Debug("the copy of the usage ledger is an old one", "error", err)
		}
	}
	switch {
	case refused.points > 0:
		if l.raise("full", "the ledger is full; the oldest counts are kept, and calls of new hours and APIs are lost until the platform takes some") {
			l.o.Log.Error("the usage ledger is full; calls of new hours and APIs are lost until the platform takes what is there", "bytes", l.s.size)
		}
	case !full:
		l.clear("full")
	}
	return nil
}

// enter puts counts into a transaction, each in the row of its hour. What there is no room for is refused: with full, all that needs a new row.
func (l *Ledger) enter(w *writer, counts []Count, now time.Time, full bool) (refused loss) {
	size, names, rows := l.s.size, map[string]uint32{}, map[key]bool{}
	for _, c := range counts {
		api, known := l.s.numbers[c.API]
		if !known {
			if api, known = names[c.API]; !known {
				api = uint32(len(l.s.apis) + len(names))
			}
		}
		k := key{identity: l.s.payer(l.s.using), api: api, hour: l.hour(c.Hour, now)}
		if l.s.rows[k] == nil && !rows[k] {
			if full || size+rowSize > l.roof() {
				refused = refused.plus(loss{1, c.N})
				continue
			}
			rows[k] = true
			size += rowSize
		}
		if !known {
			names[c.API] = api
			size += int64(len(c.API)) + 8
			writeAPI(w, int(api), c.API)
		}
		w.step(stepCount)
		w.numbers(uint64(k.identity), uint64(k.api), uint64(k.hour), c.N)
	}
	return refused
}

// roof is how large a snapshot may be for new rows: sealing them adds to it, and a file grows to twice its snapshot before it is written anew.
func (l *Ledger) roof() int64 { return l.o.MaxBytes / 4 }

// full reports whether what is to be reported is too old, or too much, for more.
func (l *Ledger) full(now time.Time) bool {
	if l.s.size+rowSize > l.roof() {
		return true
	}
	return l.taken && len(l.s.batches) > 0 && now.Sub(time.UnixMilli(l.s.batches[0].at)) > l.o.MaxAge
}

// Deliverable says whether there is a platform that takes batches. Until somebody says so, they may be as old as they like.
func (l *Ledger) Deliverable(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = yes
}

// hour is that of a request. One that lasted for more than a day counts when it ends: the platform was told that the hour of its
// beginning is final long ago. What seems to begin in the future begins now: a clock was set back.
func (l *Ledger) hour(t, now time.Time) uint32 {
	h, this := hourOf(t.UnixMilli()), hourOf(now.UnixMilli())
	if h > this || h < this-lateHours {
		h = this
	}
	return uint32(max(0, h))
}

// observe says when the clock was set back, and closes what is open: the hour that comes again has its own points.
func (l *Ledger) observe(now time.Time) error {
	back := time.Duration(l.s.clock-now.UnixMilli()) * time.Millisecond
	if back <= stepBack {
		return nil
	}
	l.o.Log.Warn("the clock was set back; the hours that are open are reported as they are", "by", back)
	return l.seal(now, true, false)
}

// SetIdentity says whom counts from here on belong to. Those before stay whose they were. After an error the next Count does it first:
// nothing is counted for who was there before.
func (l *Ledger) SetIdentity(id Identity) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted, l.aimed = id, true
	if err := l.ready(); err != nil {
		return err
	}
	return l.identify()
}

// identify writes down whom counts are to belong to.
func (l *Ledger) identify() error {
	id := l.wanted
	if l.s.identities[l.s.using] == id {
		return nil
	}
	if err := l.keep(); err != nil { // who counts on from the copy counts for the one that comes
		return err
	}
	w := &writer{}
	n := slices.Index(l.s.identities, id)
	if n < 0 {
		n = len(l.s.identities)
		writeIdentity(w, n, id)
	}
	writeUse(w, uint32(n))
	return l.commit(w)
}
