package usage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// state is what the ledger knows. It changes by steps alone, those of a new transaction as those of a file that is read.
type state struct {
	replica string
	epoch   uint64
	began   int64 // Unix seconds: when the epoch did

	identities []Identity // by number; 0 is nobody
	apis       []string   // by number; 0 is no API
	numbers    map[string]uint32
	using      uint32 // the identity to which counts belong

	shared bool     // rows are of gateways: those of one gateway's identities are added up
	payers []uint32 // by identity: the first one of the same gateway
	latest []uint32 // by identity that is the first one of its gateway: the one that was used last

	position Position
	age      uint64 // positions that there were: which of two states of an epoch is the later one
	whole    bool   // not on the disk: the snapshot that it began with was read to its end
	clock    int64  // Unix milliseconds: the newest time that was seen, or what it was set back to
	sealedAt int64  // Unix milliseconds, of the last batch
	last     uint64
	acked    uint64

	rows    map[key]*row
	batches []batch // by seq: not acknowledged
	aside   []aside // the newest
	alarms  map[string]alarm

	lost     loss // refused, and in no batch yet
	everLost loss
	setBack  uint64 // how often the clock was
	flow     Flow   // not on the disk
	size     int64  // bytes of a snapshot, about
}

// key is what the platform keeps the greatest count of, beside the replica, which is the ledger's.
type key struct {
	identity, api uint32 // identity: the first one of the gateway
	hour          uint32 // since 1970
}

// row is what an API was called in an hour. counted ≥ sealed ≥ acked + aside + given.
type row struct {
	counted, sealed, acked, aside uint64
	given                         uint64 // given up: set aside, and never to be reported
	final                         bool   // the last batch said so
}

// settled are calls of which nothing is to be sent by itself.
func (r *row) settled() uint64 { return r.acked + r.aside + r.given }

// done says that nothing about the row is to be reported any more.
func (r *row) done() bool { return r.final && r.counted == r.settled() }

// Flow is requests since the ledger was opened.
type Flow struct {
	Counted      uint64 // of APIs
	NoAPI        uint64
	Sealed       uint64 // put in batches
	Acknowledged uint64
}

type loss struct{ points, calls uint64 }

type batch struct {
	seq      uint64
	at       int64 // Unix milliseconds
	identity uint32
	lost     loss
	points   []point
}

type point struct {
	api, hour         uint32
	delta, cumulative uint64
	final             bool
}

type aside struct {
	batch
	why string
}

// alarm is an Alarm with what it counts.
type alarm struct {
	Alarm
	last    int64 // Unix milliseconds: when it was told last
	figures Figures
	lapses  bool // it tells of what has happened, and nobody takes it back
}

// Bytes that these take in a snapshot, about.
const (
	rowSize   = 20
	pointSize = 12
	batchSize = 40
)

func newState() *state {
	return &state{identities: []Identity{{}}, payers: []uint32{0}, latest: []uint32{0}, apis: []string{""}, numbers: map[string]uint32{"": 0}, rows: map[key]*row{}, alarms: map[string]alarm{}}
}

// later reports whether s knows all that o does, and perhaps more: they are of one host.
func (s *state) later(o *state) bool {
	return s.whole && (s.epoch > o.epoch || s.epoch == o.epoch && s.age >= o.age)
}

// apply takes the steps of a frame. An error says that they are none of ours, and leaves the state unusable.
func (s *state) apply(payload []byte) error {
	r := &reader{b: payload}
	for {
		kind, more := r.step()
		if !more {
			return r.err
		}
		if err := s.take(kind, r); err != nil {
			return err
		}
	}
}

func (s *state) take(kind step, r *reader) error {
	switch kind {
	case stepBegin:
		s.replica, s.epoch, s.began = r.word(), r.uint(), r.int()
	case stepIdentity:
		n := r.uint()
		id := Identity{r.word(), r.word(), r.word(), r.word(), r.word()}
		if r.err == nil && n != uint64(len(s.identities)) {
			return fmt.Errorf("identity %d after %d", n, len(s.identities))
		}
		s.identities = append(s.identities, id)
		payer := uint32(slices.IndexFunc(s.identities, id.sameGateway))
		s.payers, s.latest = append(s.payers, payer), append(s.latest, uint32(len(s.latest)))
		s.size += 200
	case stepAPI:
		n, name := r.uint(), r.word()
		if r.err == nil && n != uint64(len(s.apis)) {
			return fmt.Errorf("API %d after %d", n, len(s.apis))
		}
		s.numbers[name] = uint32(n)
		s.apis = append(s.apis, name)
		s.size += int64(len(name)) + 8
	case stepUse:
		s.using = s.known(r.uint(), len(s.identities), r)
		s.latest[s.payers[s.using]] = s.using
	case stepPosition:
		p := &s.position
		r.numbers(&p.Turn, &p.Device, &p.Inode, &p.Offset, &p.Head, &p.Tail)
		s.age++
	case stepAge:
		s.age = r.uint()
	case stepAlarm:
		a := readAlarm(r)
		s.alarms[a.Code] = a
	case stepClear:
		delete(s.alarms, r.word())
	case stepClock:
		t := r.int()
		if s.clock-t > stepBack.Milliseconds() {
			s.setBack++
			s.clock = t
		}
		s.clock = max(s.clock, t)
	case stepCount:
		k, n := s.key(r), r.uint()
		s.row(k).counted += n
		if k.api == 0 {
			s.flow.NoAPI += n
		} else {
			s.flow.Counted += n
		}
	case stepRefuse:
		var l loss
		r.numbers(&l.points, &l.calls)
		s.lost, s.everLost = s.lost.plus(l), s.everLost.plus(l)
	case stepSeal:
		s.seal(readBatch(s, r))
	case stepAck:
		s.ack(r.uint())
	case stepQuarantine:
		seq, why := r.uint(), r.word()
		return s.setAside(seq, why)
	case stepSplit:
		seq, keep, last := r.uint(), r.uint(), r.uint()
		return s.split(seq, keep, last)
	case stepRelease:
		return s.release(r.uint())
	case stepGiveUp:
		return s.giveUp(r.uint())
	case stepGiven:
		k := s.key(r)
		s.row(k).given = r.uint()
	case stepRow:
		k := s.key(r)
		x := s.row(k)
		r.numbers(&x.counted, &x.sealed, &x.acked, &x.aside)
		x.final = r.flag()
	case stepTotals:
		s.sealedAt = r.int()
		r.numbers(&s.last, &s.acked, &s.lost.points, &s.lost.calls, &s.everLost.points, &s.everLost.calls, &s.setBack)
		s.clock, s.whole = r.int(), true
	case stepAside:
		b := readBatch(s, r)
		s.aside = append(s.aside, aside{b, r.word()})
		s.size += b.bytes()
	case stepShare:
		s.share()
	default:
		return fmt.Errorf("a step of kind %d", kind)
	}
	return r.err
}

// known is n, which must be less than have.
func (s *state) known(n uint64, have int, r *reader) uint32 {
	if n >= uint64(have) {
		r.err = cmp.Or(r.err, errors.New("a number that nothing has"))
		return 0
	}
	return uint32(n)
}

func (s *state) key(r *reader) key {
	return key{identity: s.payer(s.known(r.uint(), len(s.identities), r)), api: s.known(r.uint(), len(s.apis), r), hour: uint32(r.uint())}
}

// payer is whose rows those of an identity are. In a ledger of before, each identity has its own.
func (s *state) payer(identity uint32) uint32 {
	if !s.shared {
		return identity
	}
	return s.payers[identity]
}

// of is the row that a point of a batch belongs to.
func (s *state) of(b batch, p point) key { return key{s.payer(b.identity), p.api, p.hour} }

// share adds up what a ledger of before had apart: rows of identities that are one gateway to the platform, which keeps the greatest
// count of an hour. Where there were several, it has the greatest of them alone: the whole is said again, by a point without new calls.
func (s *state) share() {
	if s.shared {
		return
	}
	s.shared = true
	mended := map[key]bool{}
	for _, k := range s.keys() {
		x, whole := s.rows[k], key{s.payer(k.identity), k.api, k.hour}
		if whole == k {
			continue
		}
		delete(s.rows, k)
		have := s.rows[whole]
		if have == nil {
			s.rows[whole] = x
			continue
		}
		s.size -= rowSize
		*have = row{counted: have.counted + x.counted, sealed: have.sealed + x.sealed, acked: have.acked + x.acked, aside: have.aside + x.aside, given: have.given + x.given}
		mended[whole] = true
	}
	for i, a := range s.aside { // only the whole count says that the platform has these
		for j, p := range a.points {
			if k := s.of(a.batch, p); mended[k] {
				s.aside[i].points[j].cumulative = s.rows[k].counted
			}
		}
	}
}

func (s *state) row(k key) *row {
	x := s.rows[k]
	if x == nil {
		x = &row{}
		s.rows[k] = x
		s.size += rowSize
	}
	return x
}

func (l loss) plus(o loss) loss { return loss{l.points + o.points, l.calls + o.calls} }

func (b *batch) bytes() int64 { return batchSize + int64(len(b.points))*pointSize }

func (b *batch) write(w *writer) {
	w.uint(b.seq)
	w.int(b.at)
	w.numbers(uint64(b.identity), b.lost.points, b.lost.calls, uint64(len(b.points)))
	for _, p := range b.points {
		w.numbers(uint64(p.api), uint64(p.hour), p.delta, p.cumulative)
		w.flag(p.final)
	}
}

func readBatch(s *state, r *reader) batch {
	b := batch{seq: r.uint(), at: r.int(), identity: s.known(r.uint(), len(s.identities), r)}
	r.numbers(&b.lost.points, &b.lost.calls)
	n := r.uint()
	if n > uint64(len(r.b)) { // a point is five bytes at least
		r.fail()
		return b
	}
	b.points = make([]point, n)
	for i := range b.points {
		p := &b.points[i]
		p.api, p.hour = s.known(r.uint(), len(s.apis), r), uint32(r.uint())
		r.numbers(&p.delta, &p.cumulative)
		p.final = r.flag()
	}
	return b
}

func (a alarm) write(w *writer) {
	w.step(stepAlarm)
	w.word(a.Code)
	w.word(a.Message)
	w.int(a.Since.UnixMilli())
	w.int(a.last)
	w.numbers(a.figures[:]...)
	w.flag(a.lapses)
}

func readAlarm(r *reader) alarm {
	a := alarm{Alarm: Alarm{r.word(), r.word(), time.UnixMilli(r.int()).UTC()}, last: r.int()}
	r.numbers(&a.figures[0], &a.figures[1])
	a.lapses = r.flag()
	return a
}

func (s *state) seal(b batch) {
	s.batches = append(s.batches, b)
	s.last, s.sealedAt = b.seq, b.at
	s.lost = loss{s.lost.points - b.lost.points, s.lost.calls - b.lost.calls}
	s.size += b.bytes()
	for _, p := range b.points {
		x := s.row(s.of(b, p))
		x.sealed, x.final = p.cumulative, p.final
		s.flow.Sealed += p.delta
	}
}

func (s *state) ack(seq uint64) {
	c := coverage{map[key]uint64{}, map[uint32]uint64{}}
	for len(s.batches) > 0 && s.batches[0].seq <= seq {
		b := s.batches[0]
		for _, p := range b.points {
			x := s.row(s.of(b, p))
			x.acked += p.delta
			s.flow.Acknowledged += p.delta
			if x.given > 0 && p.cumulative >= x.settled() { // the whole of the hour, and what was given up is in it
				x.acked, x.given = x.acked+x.given, 0
			}
		}
		c.add(s, b)
		s.drop(0)
	}
	s.acked = max(s.acked, seq)
	s.cover(c)
}

// coverage is what the platform has taken: of rows, the greatest count, and of gateways, the last batch.
type coverage struct {
	counts map[key]uint64
	last   map[uint32]uint64
}

func (c coverage) add(s *state, b batch) {
	for _, p := range b.points {
		k := s.of(b, p)
		c.counts[k] = max(c.counts[k], p.cumulative)
	}
	payer := s.payer(b.identity)
	c.last[payer] = max(c.last[payer], b.seq)
}

// cover acknowledges points that were set aside and whose calls are in a greater count of their hour that the platform has. A batch of
// which no calls are left is forgotten once one after it was taken; what it said of losses, the next one says.
func (s *state) cover(c coverage) {
	var left []aside
	for _, a := range s.aside {
		s.size -= a.bytes()
		a.points = slices.DeleteFunc(slices.Clone(a.points), func(p point) bool {
			k := s.of(a.batch, p)
			if n, ok := c.counts[k]; !ok || n < p.cumulative {
				return false
			}
			x := s.row(k)
			x.aside -= p.delta
			x.acked += p.delta
			s.flow.Acknowledged += p.delta
			return true
		})
		if c.last[s.payer(a.identity)] > a.seq && !slices.ContainsFunc(a.points, func(p point) bool { return p.delta > 0 }) {
			s.lost = s.lost.plus(a.lost)
			continue
		}
		s.size += a.bytes()
		left = append(left, a)
	}
	s.aside = left
}

func (s *state) drop(i int) {
	s.size -= s.batches[i].bytes()
	s.batches = slices.Delete(s.batches, i, i+1)
	if len(s.batches) == 0 {
		s.batches = nil
	}
}

func (s *state) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(s.batches, seq, func(b batch, seq uint64) int { return cmp.Compare(b.seq, seq) })
}

func (s *state) setAside(seq uint64, why string) error {
	i, ok := s.find(seq)
	if !ok {
		return fmt.Errorf("batch %d is not there to be set aside", seq)
	}
	b := s.batches[i]
	for _, p := range b.points {
		s.row(s.of(b, p)).aside += p.delta
	}
	s.drop(i)
	s.aside = append(s.aside, aside{b, why})
	s.size += b.bytes()
	for len(s.aside) > keepAside { // nobody will ask for so many: the platform is told how many calls were in it
		old := s.aside[0]
		gone := loss{points: uint64(len(old.points))}
		for _, p := range old.points {
			gone.calls += p.delta
			x := s.row(s.of(old.batch, p))
			x.aside -= p.delta
			x.given += p.delta
		}
		s.lost, s.everLost = s.lost.plus(gone).plus(old.lost), s.everLost.plus(gone)
		s.size -= old.bytes()
		s.aside = slices.Delete(s.aside, 0, 1)
	}
	return nil
}

// release acknowledges a batch that was set aside.
func (s *state) release(seq uint64) error {
	i := slices.IndexFunc(s.aside, func(a aside) bool { return a.seq == seq })
	if i < 0 {
		return fmt.Errorf("batch %d was not set aside", seq)
	}
	b := s.aside[i]
	for _, p := range b.points {
		x := s.row(s.of(b.batch, p))
		x.aside -= p.delta
		x.acked += p.delta
		s.flow.Acknowledged += p.delta
	}
	s.size -= b.bytes()
	s.aside = slices.Delete(s.aside, i, i+1)
	c := coverage{map[key]uint64{}, map[uint32]uint64{}}
	c.add(s, b.batch)
	s.cover(c)
	return nil
}

// giveUp forgets a batch that was set aside. Its calls stay counted; nobody will report them. What is known to be lost of the gateway in
// force, its next report says; of another one nothing is said any more, the end of its hours neither.
func (s *state) giveUp(seq uint64) error {
	i := slices.IndexFunc(s.aside, func(a aside) bool { return a.seq == seq })
	if i < 0 {
		return fmt.Errorf("batch %d was not set aside", seq)
	}
	b := s.aside[i]
	payer := s.payer(b.identity)
	told := s.using != 0 && payer == s.payer(s.using)
	gone := b.lost
	for _, p := range b.points {
		x := s.row(s.of(b.batch, p))
		x.aside -= p.delta
		x.given += p.delta
		gone = gone.plus(loss{1, p.delta})
	}
	s.size -= b.bytes()
	s.aside = slices.Delete(s.aside, i, i+1)
	if told {
		s.lost = s.lost.plus(gone)
		return nil
	}
	for k, x := range s.rows {
		if k.identity == payer {
			x.final = true
		}
	}
	return nil
}

func (s *state) split(seq, keep, last uint64) error {
	i, ok := s.find(seq)
	if !ok || keep >= uint64(len(s.batches[i].points)) {
		return fmt.Errorf("batch %d is not there to be split", seq)
	}
	b := &s.batches[i]
	rest := batch{seq: last, at: b.at, identity: b.identity, points: slices.Clone(b.points[keep:])}
	b.points = slices.Clip(b.points[:keep])
	s.batches = append(s.batches, rest)
	s.last = last
	s.size += batchSize
	return nil
}

// spare are rows of which nothing is to be reported and that nobody will count into any more, in no order.
func (s *state) spare() []key {
	old := uint32(max(0, hourOf(s.clock)-lateHours))
	var done []key
	for k, x := range s.rows {
		if k.hour < old && (k.identity == 0 || k.api == 0 || x.done()) {
			done = append(done, k)
		}
	}
	return done
}

// lean is the state without its spare rows but for the newest, keep of them, and without the names that are only theirs. It shares rows with s:
// one of the two is to be forgotten.
func (s *state) lean(keep int) *state {
	gone := map[key]bool{}
	if spare := s.spare(); len(spare) > keep {
		slices.SortFunc(spare, func(a, b key) int { return cmp.Or(cmp.Compare(b.hour, a.hour), compareKeys(a, b)) })
		for _, k := range spare[keep:] {
			gone[k] = true
		}
	}
	used := make([]bool, len(s.apis))
	used[0] = true
	for k := range s.rows {
		used[k.api] = used[k.api] || !gone[k]
	}
	for _, b := range s.batches {
		b.names(used)
	}
	for _, a := range s.aside {
		a.names(used)
	}
	if len(gone) == 0 && !slices.Contains(used, false) {
		return s
	}
	n := *s
	n.apis, n.numbers, n.rows = nil, map[string]uint32{}, make(map[key]*row, len(s.rows)-len(gone))
	to := make([]uint32, len(s.apis))
	for i, name := range s.apis {
		if used[i] {
			to[i] = uint32(len(n.apis))
			n.numbers[name] = to[i]
			n.apis = append(n.apis, name)
		}
	}
	for k, x := range s.rows {
		if !gone[k] {
			k.api = to[k.api]
			n.rows[k] = x
		}
	}
	n.batches, n.aside = nil, nil
	for _, b := range s.batches {
		n.batches = append(n.batches, b.renumbered(to))
	}
	for _, a := range s.aside {
		n.aside = append(n.aside, aside{a.renumbered(to), a.why})
	}
	return &n
}

// names marks the numbers of its APIs.
func (b *batch) names(used []bool) {
	for _, p := range b.points {
		used[p.api] = true
	}
}

func (b *batch) renumbered(to []uint32) batch {
	n := *b
	n.points = slices.Clone(b.points)
	for i := range n.points {
		n.points[i].api = to[n.points[i].api]
	}
	return n
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.identity, b.identity), cmp.Compare(a.hour, b.hour), cmp.Compare(a.api, b.api))
}

func (s *state) keys() []key { return slices.SortedFunc(maps.Keys(s.rows), compareKeys) }

func hourOf(milliseconds int64) int64 { return milliseconds / time.Hour.Milliseconds() }

// snapshot is the state as steps, in frames of bearable length.
func (s *state) snapshot(emit func(payload []byte) error) error {
	w := &writer{}
	w.step(stepBegin)
	w.word(s.replica)
	w.uint(s.epoch)
	w.int(s.began)
	for i, id := range s.identities[1:] {
		writeIdentity(w, i+1, id)
	}
	for i, name := range s.apis[1:] {
		writeAPI(w, i+1, name)
	}
	w.step(stepShare)
	for i, n := range s.latest {
		if n != uint32(i) {
			writeUse(w, n)
		}
	}
	writeUse(w, s.using)
	s.position.write(w)
	w.step(stepAge)
	w.uint(s.age)
	for _, code := range slices.Sorted(maps.Keys(s.alarms)) {
		s.alarms[code].write(w)
	}
	flush := func(least int) error {
		if len(w.b) < least {
			return nil
		}
		err := emit(w.b)
		w.b = w.b[:0]
		return err
	}
	const enough = 1 << 20
	for _, k := range s.keys() {
		x := s.rows[k]
		w.step(stepRow)
		w.numbers(uint64(k.identity), uint64(k.api), uint64(k.hour), x.counted, x.sealed, x.acked, x.aside)
		w.flag(x.final)
		if x.given > 0 {
			w.step(stepGiven)
			w.numbers(uint64(k.identity), uint64(k.api), uint64(k.hour), x.given)
		}
		if err := flush(enough); err != nil {
			return err
		}
	}
	for _, a := range s.aside {
		w.step(stepAside)
		a.write(w)
		w.word(a.why)
		if err := flush(enough); err != nil {
			return err
		}
	}
	return s.snapshotBatches(w, flush, enough)
}

// snapshotBatches is the end of a snapshot: a batch that is read marks rows and totals, so what these were comes after it.
func (s *state) snapshotBatches(w *writer, flush func(int) error, enough int) error {
	touched := map[key]bool{}
	for _, b := range s.batches {
		w.step(stepSeal)
		b.write(w)
		for _, p := range b.points {
			touched[s.of(b, p)] = true
		}
		if err := flush(enough); err != nil {
			return err
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(touched), compareKeys) {
		x := s.rows[k]
		w.step(stepRow)
		w.numbers(uint64(k.identity), uint64(k.api), uint64(k.hour), x.counted, x.sealed, x.acked, x.aside)
		w.flag(x.final)
		if err := flush(enough); err != nil {
			return err
		}
	}
	w.step(stepTotals)
	w.int(s.sealedAt)
	w.numbers(s.last, s.acked, s.lost.points, s.lost.calls, s.everLost.points, s.everLost.calls, s.setBack)
	w.int(s.clock)
	return flush(0)
}

func writeIdentity(w *writer, n int, id Identity) {
	w.step(stepIdentity)
	w.uint(uint64(n))
	for _, x := range []string{id.Agent, id.Asset, id.MeteringSchema, id.Organization, id.Environment} {
		w.word(x)
	}
}

func writeAPI(w *writer, n int, name string) {
	w.step(stepAPI)
	w.uint(uint64(n))
	w.word(name)
}

func writeUse(w *writer, n uint32) {
	w.step(stepUse)
	w.uint(uint64(n))
}

func (p Position) write(w *writer) {
	w.step(stepPosition)
	w.numbers(p.Turn, p.Device, p.Inode, p.Offset, p.Head, p.Tail)
}
