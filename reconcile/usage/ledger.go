// Package usage counts requests per API from Envoy's access log and keeps the counts until the platform has them.
//
// It starts no Envoy and dials nobody: the log is a file, and who sends batches is handed the means. A ledger is one file of whole
// transactions; a count and the place in the log up to which it was made are one of them, so that a crash neither loses nor doubles a
// request.
package usage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

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
	MaxAge   time.Duration    // of what is not acknowledged; 0: 90 days
	Log      *slog.Logger     // nil: none

	AccessLog string // folder of the access log; "": that of the ledger

	files files // nil: the disk
}

// The bounds of a ledger.
const (
	defaultBytes = 256 << 20
	defaultAge   = 90 * 24 * time.Hour
	batchPoints  = 500              // at most, of a batch
	backlog      = 12               // batches; with so many that nobody took, an hour is sealed when it is over, not before
	heartbeat    = 15 * time.Minute // without a batch
	stepBack     = time.Minute      // a clock that goes back by more is said
	lateHours    = 25               // a request that began earlier counts in the hour in which it ended
	keepDone     = 100_000          // rows of which there is nothing to report, for Totals
	slack        = 1 << 20          // bytes a file may have beyond twice its snapshot
)

// ErrInUse is what Open returns when another process has the ledger.
var ErrInUse = errors.New("another process has it")

// Ledger is counts on disk. Its methods may be called from any goroutine. An error of one says that nothing has changed; of SetIdentity,
// that it will.
type Ledger struct {
	dir  string
	o    Options
	fs   files
	lock *os.File

	mu      sync.Mutex
	s       *state
	wanted  Identity // that counts belong to from the next one on
	file    file
	end     int64 // of the last whole frame in file
	rewrite bool  // the file is in doubt: write a new one first
	sync    bool  // so is the name of the file
	closed  bool
	broken  error // why the disk did not take the last transaction
	tried   int64 // size at which a new file could not be written
	alarms  map[string]Alarm
}

// Open opens the ledger in a folder, which it makes when there is none. It returns ErrInUse when another process has it. The torn end of
// a write that was cut off is dropped. When more is damaged, what stands before is kept, the damaged file is set aside, and a new epoch begins.
func Open(dir string, o Options) (*Ledger, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.files == nil {
		o.files = osFiles{}
	}
	l := &Ledger{dir: dir, o: o, fs: o.files, alarms: map[string]Alarm{}}
	l.o.MaxBytes, l.o.MaxAge = cmp.Or(o.MaxBytes, defaultBytes), cmp.Or(o.MaxAge, defaultAge)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("usage ledger: %w", err)
	}
	var err error
	if l.lock, err = lock(filepath.Join(dir, "lock")); err != nil {
		return nil, fmt.Errorf("usage ledger %s: %w", dir, err)
	}
	if err := l.load(); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("usage ledger %s: %w", dir, err)
	}
	l.wanted = l.s.identities[l.s.using]
	return l, nil
}

func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 0; ; {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK) && try < 10: // a process that is being started has all that its parent had open, for a moment
			try++
			time.Sleep(20 * time.Millisecond)
		case errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(ErrInUse, f.Close())
		default:
			return nil, errors.Join(err, f.Close())
		}
	}
}

func (l *Ledger) path() string { return filepath.Join(l.dir, "ledger") }

// load reads what is there, or begins.
func (l *Ledger) load() error {
	f, err := l.fs.open(l.path())
	if errors.Is(err, fs.ErrNotExist) {
		return l.begin(newState())
	}
	if err != nil {
		return err
	}
	l.file = f
	if err := f.Sync(); err != nil { // a process that ended while it wrote may have left what a power loss would take
		return err
	}
	b, err := readAll(f)
	if err != nil {
		return err
	}
	s := newState()
	end, damaged, err := scan(b, s.apply)
	if err != nil {
		return err
	}
	if damaged { // a frame that is whole, but not ours, may have left s half changed
		s = newState()
		_, _, _ = scan(b[:end], s.apply)
	}
	if damaged || s.replica == "" {
		return l.recover(s, end, int64(len(b)))
	}
	l.s, l.end = s, end
	l.s.flow = Flow{}
	l.sync = true // a process that ended between giving a new file its name and having that written down did not say so
	if end < int64(len(b)) {
		l.o.Log.Info("the usage ledger ended in a write that was cut off; it is dropped", "bytes", int64(len(b))-end)
		if err := f.Truncate(end); err != nil {
			l.rewrite = true
		}
	}
	return nil
}

// recover goes on with what stands before a damage. What was in batches is put in new ones, of a new epoch: nobody knows which
// batches the lost part had, and a number must not be used twice. The platform keeps the greatest count of an hour, so it may hear
// of one twice.
func (l *Ledger) recover(s *state, end, size int64) error {
	aside := l.path() + ".damaged"
	l.o.Log.Error("the usage ledger is damaged; what stands before is kept, and counts after it are lost unless the access log still has them",
		"kept", end, "of", size, "file", aside)
	_ = l.file.Close()
	l.file = nil
	if err := l.fs.link(l.path(), aside); err != nil { // the new one takes its name: there is always one of the two
		return err
	}
	for _, b := range s.batches {
		for _, p := range b.points {
			s.row(key{b.identity, p.api, p.hour}).final = false
		}
		s.lost = s.lost.plus(b.lost)
		s.size -= b.bytes()
	}
	for _, x := range s.rows { // those too whose batches the lost part had
		if have := x.acked + x.aside; x.sealed != have {
			x.sealed, x.final = have, false
		}
	}
	s.batches, s.last, s.acked, s.flow = nil, 0, 0, Flow{}
	for _, a := range s.aside { // these are of the new epoch too: no other batch may get their numbers
		s.last = max(s.last, a.seq)
	}
	if err := l.begin(s); err != nil {
		return err
	}
	l.raise("damaged", fmt.Sprintf("the ledger was damaged after %d of %d bytes; what stood before is kept, the file is %s", end, size, aside))
	return nil
}

// origin is what outlives a ledger.
type origin struct {
	Replica string `json:"replica"` // UUID
	Epoch   uint64 `json:"epoch"`
}

// begin starts a new epoch.
func (l *Ledger) begin(s *state) error {
	path := filepath.Join(l.dir, "replica")
	var o origin
	if f, err := l.fs.open(path); err == nil {
		b, err := readAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		_ = json.Unmarshal(b, &o) // a damaged one is written anew, with an epoch that is greater by the clock
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	had := o.Replica
	lost := had != "" && s.replica == ""
	if lost && !l.logged() { // nothing is counted twice; with the old one, new counts would be hidden below what the platform has
		o.Replica = ""
	}
	if o.Replica == "" {
		o.Replica = cmp.Or(s.replica, anypoint.NewUUID())
	}
	now := l.o.Now()
	o.Epoch = max(o.Epoch+1, s.epoch+1, uint64(max(0, now.Unix())))
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	f, _, err := replace(l.fs, path, func(w io.WriterAt) error {
		_, err := w.WriteAt(append(b, '\n'), 0)
		return err
	})
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return err
	}
	s.replica, s.epoch, s.began = o.Replica, o.Epoch, now.Unix()
	if s.clock == 0 {
		s.clock, s.sealedAt = now.UnixMilli(), now.UnixMilli()
	}
	l.s = s
	if err := l.compact(); err != nil || !lost {
		return err
	}
	text := "the usage ledger of before is gone, and so is the access log: calls that were not reported are lost; new ones are reported under a new replica"
	if o.Replica == had {
		text = "the usage ledger of before is gone; what is in the access log is counted again, for the registration of now, and calls that left the log within this hour hide as many new ones"
	}
	l.raise("lost-ledger", text)
	l.o.Log.Error(text, "replica", o.Replica)
	return nil
}

// logged reports whether there are lines that may have been counted before: who lost the ledger counts them again, and the platform keeps the
// greatest count of a replica.
func (l *Ledger) logged() bool {
	names, err := filepath.Glob(filepath.Join(cmp.Or(l.o.AccessLog, l.dir), LogName+"*"))
	for _, name := range names {
		info, e := os.Stat(name)
		if e != nil || info.Size() > 0 {
			return true
		}
	}
	return err != nil
}

// Close gives the ledger to the next process. Everything is on the disk already.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	return errors.Join(err, l.lock.Close())
}

// compact writes the state into a new file.
func (l *Ledger) compact() error {
	l.s.prune(keepDone)
	size := int64(0)
	f, moved, err := replace(l.fs, l.path(), func(w io.WriterAt) error {
		return l.s.snapshot(func(payload []byte) error {
			b := frame(payload)
			n, err := w.WriteAt(b, size)
			size += int64(n)
			return err
		})
	})
	if !moved {
		return err
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.end, l.s.size, l.rewrite, l.tried = f, size, size, false, 0
	l.sync = err != nil
	return err
}

// commit makes a transaction: it is on the disk, or nothing has changed.
func (l *Ledger) commit(w *writer) error {
	err := l.append(frame(w.b))
	if err != nil {
		if l.broken == nil {
			l.o.Log.Error("usage can not be written down; counting waits where it is", "error", err)
		}
		l.broken = err
		l.raise("unwritable", "usage can not be written down, counting waits: "+err.Error())
		return fmt.Errorf("usage ledger: %w", err)
	}
	if l.broken != nil {
		l.broken = nil
		l.o.Log.Info("usage is written down again")
		l.clear("unwritable")
	}
	if err := l.s.apply(w.b); err != nil {
		panic("usage: a transaction of our own: " + err.Error())
	}
	if limit := 2*l.s.size + slack; l.end > max(limit, l.tried) {
		if err := l.compact(); err != nil { // the file that is there is as good
			l.tried = l.end + slack
			l.o.Log.Warn("the usage ledger could not be made smaller", "error", err)
		}
	}
	return nil
}

func (l *Ledger) append(b []byte) error {
	if l.closed {
		return fs.ErrClosed
	}
	if l.rewrite {
		if err := l.compact(); err != nil {
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
	size, refused := l.s.size, loss{}
	full := l.full(now)
	names, rows := map[string]uint32{}, map[key]bool{}
	for _, c := range counts {
		k := key{identity: l.s.using, hour: l.hour(c.Hour, now)}
		api, known := l.s.numbers[c.API]
		if !known {
			if api, known = names[c.API]; !known {
				api = uint32(len(l.s.apis) + len(names))
			}
		}
		k.api = api
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
	if refused.points > 0 {
		w.step(stepRefuse)
		w.numbers(refused.points, refused.calls)
	}
	if err := l.commit(w); err != nil {
		return err
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

// roof is how large a snapshot may be for new rows: sealing them adds to it, and a file grows to twice its snapshot before it is written anew.
func (l *Ledger) roof() int64 { return l.o.MaxBytes / 4 }

// full reports whether what is to be reported is too old, or too much, for more.
func (l *Ledger) full(now time.Time) bool {
	if l.s.size+rowSize > l.roof() {
		return true
	}
	return len(l.s.batches) > 0 && now.Sub(time.UnixMilli(l.s.batches[0].at)) > l.o.MaxAge
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
	return l.seal(now, true)
}

// SetIdentity says whom counts from here on belong to. Those before stay whose they were. After an error the next Count does it first:
// nothing is counted for who was there before.
func (l *Ledger) SetIdentity(id Identity) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = id
	return l.identify()
}

// identify writes down whom counts are to belong to.
func (l *Ledger) identify() error {
	id := l.wanted
	if l.s.identities[l.s.using] == id {
		return nil
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
// runs: one point per API and hour is enough then. Who wants all of it takes those and calls it again.
func (l *Ledger) Seal(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.observe(now); err != nil {
		return err
	}
	return l.seal(now, false)
}

func (l *Ledger) seal(now time.Time, closing bool) error {
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
	points := l.open(now, closing)
	for i, id := range l.s.identities {
		for ps := range slices.Chunk(points[uint32(i)], batchPoints) {
			if id != (Identity{}) {
				add(batch{identity: uint32(i), points: ps})
			}
		}
	}
	quiet := now.Sub(time.UnixMilli(l.s.sealedAt))
	if seq == l.s.last && l.s.using != 0 && (lost != loss{} || len(l.s.batches) == 0 && (quiet >= heartbeat || quiet < -stepBack)) {
		add(batch{identity: l.s.using})
	}
	if seq == l.s.last && !closing {
		return nil
	}
	return l.commit(w)
}

// open are the points to be sealed, by identity, in order of hours and APIs.
func (l *Ledger) open(now time.Time, closing bool) map[uint32][]point {
	this := hourOf(now.UnixMilli())
	lazy := len(l.s.batches) >= backlog && !closing
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
	Identity     Identity // zero: of nobody, never reported
	API          string   // "": on paths that are no API's, never reported
	Hour         time.Time
	Counted      uint64
	Sealed       uint64 // of these, in batches
	Acknowledged uint64
	Quarantined  uint64
	Final        bool // nothing is to come
}

// Totals are sorted by identity, hour and API. What was reported long ago is left out when there is much.
func (l *Ledger) Totals() []Total {
	l.mu.Lock()
	defer l.mu.Unlock()
	ts := make([]Total, 0, len(l.s.rows))
	for k, x := range l.s.rows {
		ts = append(ts, Total{Identity: l.s.identities[k.identity], API: l.s.apis[k.api], Hour: startOf(k.hour),
			Counted: x.counted, Sealed: x.sealed, Acknowledged: x.acked, Quarantined: x.aside, Final: x.final})
	}
	slices.SortFunc(ts, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Identity.Agent, b.Identity.Agent), cmp.Compare(a.Identity.Organization, b.Identity.Organization),
			cmp.Compare(a.Identity.Environment, b.Identity.Environment), a.Hour.Compare(b.Hour), cmp.Compare(a.API, b.API))
	})
	return ts
}

// Alarm is something that somebody should look at.
type Alarm struct {
	Code    string // a word, the same for the same trouble
	Message string
	Since   time.Time
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
	for _, a := range l.alarms {
		st.Alarms = append(st.Alarms, a)
	}
	if len(s.aside) > 0 {
		st.Alarms = append(st.Alarms, Alarm{"quarantined", fmt.Sprintf("%d batches were set aside; the last: %s", len(s.aside), s.aside[len(s.aside)-1].why),
			time.UnixMilli(s.aside[0].at).UTC()})
	}
	slices.SortFunc(st.Alarms, func(a, b Alarm) int { return cmp.Compare(a.Code, b.Code) })
	return st
}

// Raise tells of trouble that is not the ledger's own, until Clear; fresh: it was not told yet.
func (l *Ledger) Raise(code, message string) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raise(code, message)
}

// Clear takes an alarm back.
func (l *Ledger) Clear(code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear(code)
}

func (l *Ledger) raise(code, message string) (fresh bool) {
	old, was := l.alarms[code]
	a := Alarm{code, message, l.o.Now().UTC()}
	if was {
		a.Since = old.Since
	}
	l.alarms[code] = a
	return !was
}

func (l *Ledger) clear(code string) { delete(l.alarms, code) }
