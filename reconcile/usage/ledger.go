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
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/flexgw/flexgw/reconcile/anypoint"
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

// Seal puts what is in no batch yet in one, or several: the points whose count grew, and those whose hour is over, as final. With nothing
// to say for 15 minutes, and nothing left to send, it makes an empty batch. With many batches that nobody took, it leaves the hour that
// runs: one point per API and hour is enough then. SealAll does not.
func (l *Ledger) Seal(now time.Time) error { return l.sealUnless(backlog, now) }

// SealAll is Seal with the hour that runs, however many batches wait.
func (l *Ledger) SealAll(now time.Time) error { return l.sealUnless(math.MaxInt, now) }

func (l *Ledger) sealUnless(many int, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return err
	}
	l.lapse(now)
	if err := l.observe(now); err != nil {
		return err
	}
	if err := l.seal(now, false, len(l.s.batches) >= many); err != nil {
		return err
	}
	if len(l.s.spare()) > l.o.keep+l.o.keep/4 {
		l.shrink()
	}
	return nil
}

// seal makes batches: closing, as if every hour were over; lazy, without the hour that runs.
func (l *Ledger) seal(now time.Time, closing, lazy bool) error {
	w := &writer{}
	w.step(stepClock)
	w.int(now.UnixMilli())
	seq, lost := l.s.last, l.s.lost
	add := func(b batch) {
		seq++
		b.seq, b.at, b.lost = seq, now.UnixMilli(), lost
		lost = loss{}
		w.step(stepSeal)
		b.write(w)
	}
	points := l.open(now, closing, lazy)
	for i, n := range l.s.latest {
		sound, odd := l.s.named(points[uint32(i)])
		for ps := range slices.Chunk(sound, batchPoints) {
			add(batch{identity: n, points: ps})
		}
		for ps := range slices.Chunk(odd, 1) {
			add(batch{identity: n, points: ps})
		}
	}
	quiet := now.Sub(time.UnixMilli(l.s.sealedAt))
	if seq == l.s.last && l.s.using != 0 && (lost != loss{} || len(l.s.batches) == 0 && (quiet >= heartbeat || quiet < -stepBack)) {
		add(batch{identity: l.s.using})
	}
	if seq == l.s.last && !closing {
		return nil
	}
	if len(points) > 0 {
		if err := l.keep(); err != nil {
			return err
		}
	}
	return l.commit(w)
}

// open are the points to be sealed, by the gateway's first identity, in order of hours and APIs.
func (l *Ledger) open(now time.Time, closing, lazy bool) map[uint32][]point {
	this := hourOf(now.UnixMilli())
	var keys []key
	for k, x := range l.s.rows {
		over := int64(k.hour) < this || closing
		if k.identity != 0 && k.api != 0 && (x.counted > x.sealed && (over || !lazy) || over && !x.final) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compareKeys)
	points := map[uint32][]point{}
	for _, k := range keys {
		x := l.s.rows[k]
		points[k.identity] = append(points[k.identity], point{
			api: k.api, hour: k.hour, delta: x.counted - x.sealed, cumulative: x.counted, final: int64(k.hour) < this || closing})
	}
	return points
}

// named tells points whose API has a name that a report may have (apiInstance in batch.schema.json) from odd ones: declarations have names of any
// length, and one that is too long would have a batch refused with all that is in it.
func (s *state) named(points []point) (sound, odd []point) {
	for _, p := range points {
		name := s.apis[p.api]
		namespace, rest, ok := strings.Cut(name, "/")
		if ok && namespace != "" && rest != "" && len(name) <= longestName && utf8.ValidString(name) && !strings.Contains(rest, "/") &&
			!strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			sound = append(sound, p)
		} else {
			odd = append(odd, p)
		}
	}
	return sound, odd
}

// Next is the oldest batch that was not acknowledged: the same until it is.
func (l *Ledger) Next() (anypoint.Batch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.s.batches) == 0 {
		return anypoint.Batch{}, false
	}
	return l.s.wire(l.s.batches[0]), true
}

// Batches are all that were not acknowledged, oldest first.
func (l *Ledger) Batches() []anypoint.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	bs := make([]anypoint.Batch, len(l.s.batches))
	for i, b := range l.s.batches {
		bs[i] = l.s.wire(b)
	}
	return bs
}

// Quarantined are the batches that were set aside, and why.
func (l *Ledger) Quarantined() ([]anypoint.Batch, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bs, whys := make([]anypoint.Batch, len(l.s.aside)), make([]string, len(l.s.aside))
	for i, a := range l.s.aside {
		bs[i], whys[i] = l.s.wire(a.batch), a.why
	}
	return bs, whys
}

// Aside reports whether there are batches between two, and all of them were set aside.
func (l *Ledger) Aside(after, before uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := uint64(0)
	for _, a := range l.s.aside {
		if after < a.seq && a.seq < before {
			n++
		}
	}
	return n > 0 && n == before-after-1
}

// wire is a batch as it is sent.
func (s *state) wire(b batch) anypoint.Batch {
	id := s.identities[b.identity]
	out := anypoint.Batch{
		Schema: anypoint.UsageSchema, MeteringSchemaID: id.MeteringSchema, AgentID: id.Agent, AssetName: id.Asset,
		ReplicaID: s.replica, BootEpoch: s.epoch, Seq: b.seq, BatchID: anypoint.BatchID(id.Agent, s.replica, s.epoch, b.seq),
		CreatedAt: time.UnixMilli(b.at).UTC(), Points: make([]anypoint.Point, len(b.points)),
		Lost: anypoint.Lost{Points: b.lost.points, APICalls: b.lost.calls},
	}
	for i, p := range b.points {
		out.Points[i] = anypoint.Point{Meter: anypoint.Meter, APIInstance: s.apis[p.api], HourStart: startOf(p.hour),
			Delta: p.delta, Cumulative: p.cumulative, Final: p.final}
	}
	return out
}

func startOf(hour uint32) time.Time { return time.Unix(int64(hour)*3600, 0).UTC() }

// Ack says that the platform has every batch up to seq. Less than was sent: Next goes on from there. Less than was acknowledged before
// changes nothing; a number that no batch had yet is an error.
func (l *Ledger) Ack(seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq > l.s.last {
		return fmt.Errorf("batch %d was acknowledged, and %d is the last that was made", seq, l.s.last)
	}
	if len(l.s.batches) == 0 || seq < l.s.batches[0].seq {
		return nil
	}
	w := &writer{}
	w.step(stepAck)
	w.uint(seq)
	return l.settle(w)
}

// settle makes a transaction that acknowledges something, and tells when that covers batches that were set aside.
func (l *Ledger) settle(w *writer) error {
	before := len(l.s.aside)
	err := l.commit(w)
	if n := before - len(l.s.aside); n > 0 {
		l.o.Log.Info("the platform has what was set aside: it took that batch after all, or a later batch with the whole count of the hour", "batches", n)
	}
	return err
}

// Quarantine sets a batch aside that the platform will never take. It is kept, and Next goes on with the one after it.
func (l *Ledger) Quarantine(seq uint64, why string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.s.find(seq); !ok {
		return fmt.Errorf("batch %d is not there to be set aside", seq)
	}
	w := &writer{}
	w.step(stepQuarantine)
	w.uint(seq)
	w.word(why)
	return l.commit(w)
}

// GiveUp forgets batches that were set aside: the platform will never have them. It tells how many there were; the others of seqs are not
// there (any more).
func (l *Ledger) GiveUp(seqs []uint64) (batches int, requests uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &writer{}
	for _, a := range l.s.aside {
		if !slices.Contains(seqs, a.seq) {
			continue
		}
		batches++
		for _, p := range a.points {
			requests += p.delta
		}
		w.step(stepGiveUp)
		w.uint(a.seq)
	}
	if batches == 0 {
		return 0, 0, nil
	}
	if err := l.commit(w); err != nil {
		return 0, 0, err
	}
	l.o.Log.Warn("batches that were set aside are given up: the platform will never have what is in them", "batches", batches, "requests", requests)
	return batches, requests, nil
}

// Split halves a batch that was too large for the platform: the second half becomes the last batch. It must have been refused, not
// only unanswered. One of a single point can not be split.
func (l *Ledger) Split(seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.s.find(seq)
	if !ok || len(l.s.batches[i].points) < 2 {
		return fmt.Errorf("batch %d can not be split", seq)
	}
	w := &writer{}
	w.step(stepSplit)
	w.numbers(seq, uint64(len(l.s.batches[i].points)/2), l.s.last+1)
	return l.commit(w)
}

// Total is what an API was called in an hour.
type Total struct {
	Identity     Identity // the last one of its gateway; zero: of nobody, never reported
	API          string   // "": on paths that are no API's, never reported
	Hour         time.Time
	Counted      uint64
	Sealed       uint64 // of these, in batches
	Acknowledged uint64
	Quarantined  uint64
	GivenUp      uint64 // by GiveUp: neither acknowledged nor quarantined
	Final        bool   // nothing is to come
}

// Totals are sorted by gateway, hour and API. What was reported long ago is left out when there is much.
func (l *Ledger) Totals() []Total {
	l.mu.Lock()
	defer l.mu.Unlock()
	ts := make([]Total, 0, len(l.s.rows))
	for k, x := range l.s.rows {
		ts = append(ts, Total{Identity: l.s.identities[l.s.latest[k.identity]], API: l.s.apis[k.api], Hour: startOf(k.hour),
			Counted: x.counted, Sealed: x.sealed, Acknowledged: x.acked, Quarantined: x.aside, GivenUp: x.given, Final: x.final})
	}
	slices.SortFunc(ts, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Identity.Agent, b.Identity.Agent), cmp.Compare(a.Identity.Organization, b.Identity.Organization),
			cmp.Compare(a.Identity.Environment, b.Identity.Environment), a.Hour.Compare(b.Hour), cmp.Compare(a.API, b.API))
	})
	return ts
}

// State is the ledger as a whole.
type State struct {
	Replica  string // UUID
	Epoch    uint64
	Began    time.Time // the epoch did
	Identity Identity  // that counts belong to now

	LastSeq     uint64 // of batches; 0: none was made
	AckedSeq    uint64
	Pending     int       // batches that were not acknowledged
	Oldest      time.Time // when the oldest of these was made; zero: there is none
	Unsealed    uint64    // calls that are in no batch yet, and will be
	Counted     uint64    // calls of registered APIs in Totals
	Acked       uint64    // of these
	Quarantined int       // batches
	Lost        uint64    // calls that there was no room for, ever
	LostPoints  uint64
	ClockSteps  uint64 // how often the clock was set back
	Flow        Flow
	Bytes       int64 // of the file
	MaxBytes    int64
	Full        bool
	Gone        bool    // somebody removed what it is kept in, and that can not be made again: nothing is counted
	Alarms      []Alarm // sorted by code
}

// State is cheap enough to be asked each second.
func (l *Ledger) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.s
	st := State{
		Replica: s.replica, Epoch: s.epoch, Began: time.Unix(s.began, 0).UTC(), Identity: s.identities[s.using],
		LastSeq: s.last, AckedSeq: s.acked, Pending: len(s.batches), Quarantined: len(s.aside),
		Lost: s.everLost.calls, LostPoints: s.everLost.points, ClockSteps: s.setBack, Flow: s.flow,
		Bytes: l.end, MaxBytes: l.o.MaxBytes, Full: l.full(l.o.Now()),
	}
	if len(s.batches) > 0 {
		st.Oldest = time.UnixMilli(s.batches[0].at).UTC()
	}
	for k, x := range s.rows {
		if k.identity != 0 && k.api != 0 {
			st.Unsealed += x.counted - x.sealed
			st.Counted += x.counted
			st.Acked += x.acked
		}
	}
	for _, a := range s.alarms {
		st.Alarms = append(st.Alarms, a.Alarm)
	}
	if l.failing != nil {
		st.Alarms = append(st.Alarms, *l.failing)
	}
	if l.unopened != nil {
		st.Alarms = append(st.Alarms, Alarm{"unopened", "the usage ledger can not be opened, requests wait in the access log: " + l.unopened.Error(), l.since})
	}
	if l.gone != nil {
		st.Gone = true
		st.Alarms = append(st.Alarms, Alarm{"gone", "nothing is counted: " + l.gone.Error(), l.since})
	}
	if len(s.aside) > 0 {
		st.Alarms = append(st.Alarms, Alarm{"quarantined", fmt.Sprintf("%d batches were set aside; the last: %s", len(s.aside), s.aside[len(s.aside)-1].why),
			time.UnixMilli(s.aside[0].at).UTC()})
	}
	slices.SortFunc(st.Alarms, func(a, b Alarm) int { return cmp.Compare(a.Code, b.Code) })
	return st
}
