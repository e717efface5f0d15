package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// State is what GET /_sim/state answers.
type State struct {
	Registrations []Registration    `json:"registrations"`
	Usage         map[string]uint64 `json:"usage"` // calls by namespace/name, of all gateways, replicas and hours
	Calls         []Call            `json:"calls"`
	Unexpected    []Unexpected      `json:"unexpected"`

	Hours  []Hour        `json:"hours"`
	Lost   anypoint.Lost `json:"lost"` // what replicas said that they had to drop
	Faults []Fault       `json:"faults"`
	Clock  time.Time     `json:"clock"`
	Frozen bool          `json:"frozen"`

	Anypoint string `json:"-"` // for the page
	Ingest   string `json:"-"`
}

// Registration is a gateway, a deleted one too.
type Registration struct {
	AgentID        string         `json:"agentId"`
	Name           string         `json:"name"`
	OrganizationID string         `json:"organizationId"`
	EnvironmentID  string         `json:"environmentId"`
	Status         string         `json:"status"`
	Deleted        bool           `json:"deleted"`
	Hidden         bool           `json:"hidden"` // not shown in the console any more
	CreatedAt      time.Time      `json:"createdAt"`
	LastUpdate     time.Time      `json:"lastUpdate"`
	Expires        time.Time      `json:"certificateExpirationDate"`
	Renewals       int            `json:"renewals"`
	Replicas       []StateReplica `json:"replicas"`
}

// StateReplica is a replica of a gateway and what came of its ledgers.
type StateReplica struct {
	ID     string       `json:"id"`
	Status string       `json:"status"`
	Seen   time.Time    `json:"seen"`
	Epochs []StateEpoch `json:"epochs"`
}

// StateEpoch is a ledger.
type StateEpoch struct {
	BootEpoch uint64        `json:"bootEpoch"`
	AckedSeq  uint64        `json:"ackedSeq"`
	Beyond    []uint64      `json:"beyond"`   // numbers after a gap
	Skipped   uint64        `json:"skipped"`  // numbers that never came, and that are not waited for
	Refused   uint64        `json:"refused"`  // batches, for good
	Differed  uint64        `json:"differed"` // points whose delta was not what they added
	Lost      anypoint.Lost `json:"lost"`
}

// Hour is what one gateway reported of an API and hour, all its replicas together.
type Hour struct {
	AgentID  string    `json:"agentId"`
	API      string    `json:"api"`
	Start    time.Time `json:"start"`
	Requests uint64    `json:"requests"`
	Final    bool      `json:"final"` // each replica said so
}

// State is a copy of what is known.
func (s *Sim) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.now()
	st := State{
		Registrations: []Registration{}, Usage: map[string]uint64{}, Calls: []Call{}, Unexpected: []Unexpected{}, Hours: []Hour{}, Faults: s.faults.left(),
		Clock: now, Frozen: s.clock.at().Frozen != nil, Anypoint: s.URL(), Ingest: s.IngestURL(),
	}
	for _, g := range s.state.sortedGateways("", "") {
		r := Registration{AgentID: g.ID, Name: g.Name, OrganizationID: g.Organization, EnvironmentID: g.Environment, Status: s.statusOf(g, now), Deleted: !g.Deleted.IsZero(), Hidden: s.hidden(g, now),
			CreatedAt: g.Created, LastUpdate: s.seen(g), Expires: g.Expires, Renewals: g.Renewals, Replicas: []StateReplica{}}
		for _, rep := range s.state.replicasOf(g.ID) {
			sr := StateReplica{ID: rep.ID, Status: rep.status(now), Seen: rep.Seen, Epochs: []StateEpoch{}}
			for n, e := range rep.Epochs {
				sr.Epochs = append(sr.Epochs, StateEpoch{BootEpoch: n, AckedSeq: e.Acked, Beyond: append([]uint64{}, e.Beyond...), Skipped: e.Skipped, Refused: e.Refused, Differed: e.Differed, Lost: e.Lost})
				st.Lost.Points += e.Lost.Points
				st.Lost.APICalls += e.Lost.APICalls
			}
			slices.SortFunc(sr.Epochs, func(a, b StateEpoch) int { return cmp.Compare(a.BootEpoch, b.BootEpoch) })
			r.Replicas = append(r.Replicas, sr)
		}
		st.Registrations = append(st.Registrations, r)
	}
	type hour struct {
		agent, api string
		start      int64
	}
	hours := map[hour]Hour{}
	for k, c := range s.state.usage {
		st.Usage[k.API] += c.Cumulative
		id := hour{k.Agent, k.API, k.Hour}
		h, ok := hours[id]
		if !ok {
			h = Hour{AgentID: k.Agent, API: k.API, Start: time.Unix(k.Hour, 0).UTC(), Final: true}
		}
		h.Requests += c.Cumulative
		h.Final = h.Final && c.Final
		hours[id] = h
	}
	for _, h := range hours {
		st.Hours = append(st.Hours, h)
	}
	slices.SortFunc(st.Hours, func(a, b Hour) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.API, b.API), cmp.Compare(a.AgentID, b.AgentID))
	})
	for _, c := range s.state.calls {
		st.Calls = append(st.Calls, c)
	}
	slices.SortFunc(st.Calls, func(a, b Call) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Status, b.Status))
	})
	for _, u := range s.state.unexpected {
		st.Unexpected = append(st.Unexpected, u)
	}
	slices.SortFunc(st.Unexpected, func(a, b Unexpected) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Listener, b.Listener))
	})
	return st
}

// SetFaults replaces the faults that are set.
func (s *Sim) SetFaults(list ...Fault) error {
	for _, f := range list {
		if err := f.check(); err != nil {
			return err
		}
	}
	s.faults.set(list)
	return nil
}

// ClockChange is the body of POST /_sim/clock.
type ClockChange struct {
	Now     *time.Time `json:"now,omitempty"`
	Advance Duration   `json:"advance,omitempty"` // may be negative
	Frozen  *bool      `json:"frozen,omitempty"`  // whether the clock stands still from now on
	Real    bool       `json:"real,omitempty"`    // it is the host's again
}

// SetClock changes the simulator's clock, and returns what it shows then.
func (s *Sim) SetClock(c ClockChange) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, now := s.clock.at(), s.clock.now()
	frozen := at.Frozen != nil
	if c.Real {
		now, frozen = s.host(), false
	}
	if c.Now != nil {
		now = c.Now.UTC()
	}
	now = now.Add(time.Duration(c.Advance))
	if c.Frozen != nil {
		frozen = *c.Frozen
	}
	if root := s.authority.root.cert; now.Before(root.NotBefore) || now.After(root.NotAfter) {
		return s.clock.now(), fmt.Errorf("the simulator's certificates are valid from %s to %s", root.NotBefore.Format(time.RFC3339), root.NotAfter.Format(time.RFC3339))
	}
	at = clockAt{Offset: now.Sub(s.host())}
	if c.Real {
		at.Offset = time.Duration(c.Advance)
	}
	if frozen {
		at.Frozen = &now
	}
	if err := s.commit(true, value(kindClock, "", at)); err != nil {
		return s.clock.now(), err
	}
	s.clock.set(at)
	return s.clock.now(), s.journal.sync()
}

// SetOptions changes how the simulator behaves where that may vary.
func (s *Sim) SetOptions(t Tunables) error {
	if err := t.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.commit(true, value(kindOptions, "", t)); err != nil {
		return err
	}
	return s.journal.sync()
}

// own answers what is below /_sim: it is no part of a platform, and meets no faults.
func (s *Sim) own(w http.ResponseWriter, r *http.Request) {
	say := func(status int, v any) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			panic(err) // our own values
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(append(b, '\n'))
	}
	wrong := func(err error) {
		say(http.StatusBadRequest, anypoint.ErrorBody{Status: http.StatusBadRequest, Message: err.Error()})
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControl))
	if err != nil {
		wrong(err)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /_sim", "GET /_sim/":
		s.page(w)
	case "GET /_sim/state":
		say(http.StatusOK, s.State())
	case "GET /_sim/faults":
		say(http.StatusOK, map[string]any{"faults": s.faults.left()})
	case "POST /_sim/faults":
		list, err := parseFaults(body)
		if err != nil {
			wrong(err)
			return
		}
		if r.URL.Query().Has("add") {
			s.faults.add(list)
		} else {
			s.faults.set(list)
		}
		say(http.StatusOK, map[string]any{"faults": s.faults.left()})
	case "DELETE /_sim/faults":
		s.faults.set(nil)
		say(http.StatusOK, map[string]any{"faults": s.faults.left()})
	case "GET /_sim/clock":
		say(http.StatusOK, map[string]any{"now": s.clock.now(), "frozen": s.clock.at().Frozen != nil})
	case "POST /_sim/clock":
		var c ClockChange
		if err := strict(body, &c); err != nil {
			wrong(err)
			return
		}
		now, err := s.SetClock(c)
		if err != nil {
			wrong(err)
			return
		}
		say(http.StatusOK, map[string]any{"now": now, "frozen": s.clock.at().Frozen != nil})
	case "GET /_sim/options":
		s.mu.Lock()
		t := s.options()
		s.mu.Unlock()
		say(http.StatusOK, t.said())
	case "POST /_sim/options":
		var t Tunables
		err := strict(body, &t)
		if err == nil {
			err = s.SetOptions(t)
		}
		if err != nil {
			wrong(err)
			return
		}
		say(http.StatusOK, t.said())
	default:
		say(http.StatusNotFound, anypoint.ErrorBody{Status: http.StatusNotFound, Message: "GET /_sim, GET /_sim/state, GET|POST|DELETE /_sim/faults, GET|POST /_sim/clock and GET|POST /_sim/options are here"})
	}
}
