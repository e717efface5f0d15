package cli

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/store"
	"github.com/flexgw/flexgw/schema/source"
)

// saveInterval bounds how often the last good state is written while edits follow each other.
const saveInterval = time.Second

// calm is how long after the last save the memory that edits took is given back.
const calm = 5 * time.Second

// beginAgain is how long after a full disk it is tried again.
const beginAgain = 5 * time.Second

// maxHeld is how many contents may wait in memory after a save.
const maxHeld = 256

// scribe writes what a daemon must not forget to disk, beside the path of an edit.
type scribe struct {
	store  *store.Store
	log    *slog.Logger
	before func() error // that must be written down first; nil: nothing, or it is. Set before run, used by it alone

	writing sync.Mutex // held while what was taken out of the fields below goes to disk; before mu

	mu      sync.Mutex
	records []store.Record
	set     *source.Set            // the newest programmed set that is not on disk yet
	holdAt  source.Set             // of set, see reconcile.Event
	control *reconcile.Control     // likewise
	held    map[source.Hash][]byte // contents of accepted sets that are not on disk yet: their files may be written over
	ended   bool
	fresh   bool        // nothing was saved yet; used by run alone
	busy    atomic.Bool // the daemon begins, or edits follow each other
	wake    chan struct{}
	done    chan struct{}
}

func newScribe(s *store.Store, log *slog.Logger) *scribe {
	x := &scribe{store: s, log: log, fresh: true, held: map[source.Hash][]byte{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	x.busy.Store(true)
	return x
}

// percent is GOGC of a daemon with a heap of which so much is in use.
func (s *scribe) percent(live uint64) int {
	if s.busy.Load() {
		return leanPercent(live, leanBusy)
	}
	return leanPercent(live, leanLeast)
}

func (s *scribe) add(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// event writes what belongs into the history, and keeps what was programmed.
func (s *scribe) event(e reconcile.Event) {
	s.add(func() {
		switch e.Type {
		case reconcile.Accepted, reconcile.HeldBack:
			if e.Reason == "Observed" {
				break // nothing more comes of it
			}
			s.hold(e.Set)
			if e.Type == reconcile.Accepted {
				return
			}
		case reconcile.Fetched, reconcile.EnvoyConnected, reconcile.EnvoyGone, reconcile.PeerRefused, reconcile.UsageNotReported, reconcile.UsageReported:
			return
		case reconcile.Programmed:
			s.set, s.holdAt = &e.Set, e.HoldAt
		}
		s.records = append(s.records, store.Record{
			At: e.At, Event: string(e.Type), Revision: e.Revision, Previous: e.Previous, By: e.By, Reason: e.Reason, Message: e.Message, Commit: e.Commit,
		})
	})
}

// hold takes the contents of a set that the store does not have into memory.
func (s *scribe) hold(set source.Set) {
	for _, f := range s.store.Missing(set) {
		if s.held[f.Hash] != nil {
			continue
		}
		if b, err := f.Bytes(); err == nil {
			s.held[f.Hash] = b
		}
	}
}

// heldOf is a set whose contents can be had although its files were written over.
func (s *scribe) heldOf(set source.Set) source.Set {
	set.Files = slices.Clone(set.Files)
	for i, f := range set.Files {
		if b, ok := s.held[f.Hash]; ok {
			set.Files[i].Bytes = func() ([]byte, error) { return b, nil }
		}
	}
	return set
}

// kept is an older set whose contents come from here, as far as they are kept here.
func (s *scribe) kept(old source.Set) source.Set {
	old = s.store.Kept(old)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heldOf(old)
}

// readable is an older set whose contents can be had, although an editor may have written over its files since; false: of
// one that is not also in now they can not.
func (s *scribe) readable(old, now source.Set) (source.Set, bool) {
	old = s.kept(old)
	same := make(map[source.Hash]bool, len(now.Files))
	for _, f := range now.Files {
		same[f.Hash] = true
	}
	for _, f := range old.Files {
		if same[f.Hash] {
			continue
		}
		if _, err := f.Bytes(); err != nil {
			s.log.Error("an older revision can not be read any more, so nothing is held at it", "revision", old.Revision, "error", err)
			return old, false
		}
	}
	return old, true
}

func (s *scribe) remember(c reconcile.Control) { s.add(func() { s.control = &c }) }

// run writes until stop.
func (s *scribe) run() {
	defer close(s.done)
	quiet := time.NewTimer(calm)
	defer quiet.Stop()
	var thinned time.Time
	var again <-chan time.Time
	for ended := false; !ended; {
		select {
		case <-s.wake:
		case <-again:
		case <-quiet.C:
			s.busy.Store(false)
			giveBack()
			continue
		}
		var saved bool
		if saved, ended = s.write(); saved {
			s.busy.Store(true)
			quiet.Reset(calm)
			if now := time.Now(); now.Sub(thinned) >= saveInterval {
				thinned = now
				shed() // edits touch little of the program, and the system maps sixteen pages for each one that they do
			}
		}
		again = nil
		if s.before != nil {
			again = time.After(beginAgain)
		}
		if !ended {
			time.Sleep(saveInterval / 10) // records come in bursts
		}
	}
}

// history lists what happened, the newest first, limit at most: what is not on disk yet too.
func (s *scribe) history(limit int) ([]store.Record, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	newest := slices.Clone(s.records)
	s.mu.Unlock()
	slices.Reverse(newest)
	if len(newest) >= limit {
		return newest[:limit], nil
	}
	older, err := s.store.History(limit - len(newest))
	return append(newest, older...), err
}

// write brings the disk up to date. saved: a set was among it; ended: nothing comes any more.
func (s *scribe) write() (saved, ended bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.before != nil && s.before() != nil { // what waits goes on waiting
		s.mu.Lock()
		defer s.mu.Unlock()
		return false, s.ended
	}
	s.before = nil
	s.mu.Lock()
	records, set, holdAt, control := s.records, s.set, s.holdAt, s.control
	var held map[source.Hash][]byte
	if set != nil {
		held = maps.Clone(s.held)
	}
	s.records, s.set, s.holdAt, s.control, ended = nil, nil, source.Set{}, nil, s.ended
	s.mu.Unlock()
	for _, r := range records {
		if err := s.store.Append(r); err != nil {
			s.log.Error("the history has a gap", "error", err)
		}
	}
	if control != nil {
		if err := s.store.Remember("control", control); err != nil {
			s.log.Error("a restart would forget what operators asked for", "error", err)
		}
	}
	if set != nil {
		if err := s.store.Save(*set, held); err != nil {
			s.log.Error("a restart beside a mistake would serve less", "revision", set.Revision, "error", err)
			return false, ended
		}
		if err := s.store.KeepHeld(holdAt, held); err != nil {
			s.log.Error("after a restart objects would be held at older versions", "revision", set.Revision, "error", err)
			return false, ended
		}
		s.mu.Lock()
		for _, files := range [][]source.File{set.Files, holdAt.Files} {
			for _, f := range files {
				delete(s.held, f.Hash)
			}
		}
		// A map stays as large as it ever was, and its clone becomes that too: at the start this one holds everything.
		rest := make(map[source.Hash][]byte, len(s.held))
		if len(s.held) <= maxHeld { // else they are of revisions that never became live
			maps.Copy(rest, s.held)
		}
		s.held = rest
		s.mu.Unlock()
		if s.fresh || len(held) > maxHeld { // to begin takes twice what to go on takes, and so does a change of everything
			s.fresh, held = false, nil
			giveBack()
		}
	}
	return set != nil, ended
}

// stop waits until all is written.
func (s *scribe) stop() {
	s.add(func() { s.ended = true })
	<-s.done
}
