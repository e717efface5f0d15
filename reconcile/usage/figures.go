package usage

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

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
