package usage

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

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
	l.keepDone()
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
