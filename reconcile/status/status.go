// Package status is what an operator can ask the daemon.
//
// It holds shapes and the endpoint that serves them; package reconcile fills them in.
package status

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// The types of a Condition, in the order in which a revision passes them.
const (
	Fetched    = "Fetched"
	Accepted   = "Accepted"
	Programmed = "Programmed"
)

// UsageReported is a Condition of the daemon, not of a revision: whether the platform knows how often APIs were called.
const UsageReported = "UsageReported"

// Registered is the type of the Condition that is about the daemon itself: whether usage can be reported to Anypoint. What is served does
// not depend on it.
const Registered = "Registered"

// The values of Condition.Status.
const (
	True    = "True"
	False   = "False"
	Unknown = "Unknown"
)

// Condition is one step of the way of a revision or of an object.
type Condition struct {
	Type    string      `json:"type"`
	Status  string      `json:"status"`
	Reason  string      `json:"reason"` // CamelCase
	Message string      `json:"message"`
	Place   *diag.Range `json:"place"` // what is to blame; null when nothing is
}

// Object is one declared object and how far it got.
type Object struct {
	Kind       string      `json:"kind"`
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	Place      *diag.Range `json:"place"`
	Conditions []Condition `json:"conditions"`
}

// Envoy is one Envoy that is or was connected.
type Envoy struct {
	Node      string         `json:"node"`
	Version   string         `json:"version"`
	PID       int            `json:"pid"`      // of the process, on the daemon's host; 0: it is elsewhere, is gone, or is not seen from here
	Address   string         `json:"address"`  // host:port of an Envoy on another host; "": it is on the daemon's
	Identity  string         `json:"identity"` // of such an Envoy: what its certificate calls it
	Connected bool           `json:"connected"`
	Since     time.Time      `json:"since"`    // when it connected, or went; of one that this daemon has not seen: when it was cordoned
	Revision  string         `json:"revision"` // the last that it acknowledged as a whole; "": none yet
	Cordoned  *Cordon        `json:"cordoned"` // null: what it says counts
	Types     []TypeDelivery `json:"delivery"` // sorted by type
	Limits    diag.List      `json:"limits"`   // what is declared and an Envoy on another host does not get
}

// Cordon says that an Envoy gets what the others get, and that what it says of it does not count.
type Cordon struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
}

// RefusedPeer is somebody on another host who was turned away within the last hour.
type RefusedPeer struct {
	Address  string    `json:"address"`  // of the host
	Identity string    `json:"identity"` // what its certificate says, which nobody vouches for; "": it showed none
	Reason   string    `json:"reason"`   // CamelCase
	Message  string    `json:"message"`
	At       time.Time `json:"at"` // the last time
	Count    int       `json:"count"`
}

// TypeDelivery counts the resources of one type by what an Envoy did with them.
type TypeDelivery struct {
	Type    string `json:"type"` // last part of the type URL: Listener, Cluster, ScopedRouteConfiguration, Secret
	Synced  int    `json:"synced"`
	Stale   int    `json:"stale"`
	NotSent int    `json:"notSent"`
	Error   int    `json:"error"`
}

// Failed is the last revision that did not become live.
type Failed struct {
	Revision    string    `json:"revision"`
	At          time.Time `json:"at"`
	Reason      string    `json:"reason"`
	Diagnostics diag.List `json:"diagnostics"`
}

// Suspension says that the source is not followed.
type Suspension struct {
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until"` // null: until somebody resumes
	Reason string     `json:"reason"`
	By     string     `json:"by"`
}

// Pin says that an older revision is served because somebody wanted it.
type Pin struct {
	Revision string    `json:"revision"`
	From     string    `json:"from"` // the revision that is not served; another one ends the pin
	At       time.Time `json:"at"`
	By       string    `json:"by"`
}

// Waiting says that a revision of the source is right, and is applied later.
type Waiting struct {
	Revision string     `json:"revision"`
	Since    time.Time  `json:"since"` // when it was seen first
	Until    *time.Time `json:"until"` // null: when somebody says so
}

// End says until when, for people.
func (w Waiting) End() string {
	if w.Until == nil {
		return "somebody says so"
	}
	return w.Until.Format(time.RFC3339)
}

func (w Waiting) String() string {
	return "revision " + w.Revision + " waits until " + w.End() + "; flexgw sync --revision " + w.Revision + " applies it now"
}

// Daemon is who answers.
type Daemon struct {
	Host     string    `json:"host"` // its name for itself
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	StateDir string    `json:"stateDir"` // folder, absolute
	Follows  string    `json:"follows"`  // its source by the one name that it has everywhere on its host: an absolute path, or a URL without credentials; "": none
}

// Report is the whole answer of `flexgw status`.
type Report struct {
	Revision   string         `json:"revision"` // the one that is served; "" before the first
	Commit     *source.Commit `json:"commit"`   // that Revision names; null: it is no commit
	Source     string         `json:"source"`
	Remote     string         `json:"remote"`   // of several of a repository, the one that was read last; "": there is one source, or none was read yet
	Requires   string         `json:"requires"` // what a commit needs to be taken, for a person; "": nothing
	Daemon     Daemon         `json:"daemon"`
	Addresses  []string       `json:"addresses"` // the declared listeners of that revision, sorted
	Conditions []Condition    `json:"conditions"`
	Objects    []Object       `json:"objects"`      // sorted by kind, namespace and name
	List       Lister         `json:"-"`            // of the daemon's own report, in place of Objects
	Envoys     []Envoy        `json:"envoys"`       // sorted by node
	Refused    []RefusedPeer  `json:"refusedPeers"` // the newest first
	LastFailed *Failed        `json:"lastFailed"`
	Suspended  *Suspension    `json:"suspended"` // null: the source is followed
	Pinned     *Pin           `json:"pinned"`    // null: the newest good revision is served
	Waiting    *Waiting       `json:"waiting"`   // null: nothing is to be applied later
}

// Condition finds a condition of the report by type.
func (r Report) Condition(typ string) (Condition, bool) {
	for _, c := range r.Conditions {
		if c.Type == typ {
			return c, true
		}
	}
	return Condition{}, false
}

// JSON is the report as scripts read it: lists are never null.
func (r Report) JSON() ([]byte, error) { return json.MarshalIndent(r.Lists(), "", "  ") }

// Lists is the report with empty lists for those that are nil, and Objects in place of List.
func (r Report) Lists() Report {
	if r.List != nil {
		r.Objects, r.List = collected(r.List(false)), nil
	}
	r.Addresses = orEmpty(r.Addresses)
	r.Conditions = orEmpty(r.Conditions)
	r.Objects = orEmpty(slices.Clone(r.Objects))
	for i := range r.Objects {
		r.Objects[i].Conditions = orEmpty(r.Objects[i].Conditions)
	}
	r.Envoys = orEmpty(slices.Clone(r.Envoys))
	for i := range r.Envoys {
		r.Envoys[i].Types, r.Envoys[i].Limits = orEmpty(r.Envoys[i].Types), orEmpty(r.Envoys[i].Limits)
	}
	r.Refused = orEmpty(r.Refused)
	if r.LastFailed != nil {
		f := *r.LastFailed
		f.Diagnostics = orEmpty(f.Diagnostics)
		r.LastFailed = &f
	}
	return r
}

func orEmpty[S ~[]E, E any](s S) S {
	if s == nil {
		return S{}
	}
	return s
}

// Place is the pointer form of a range; nil for the zero range.
func Place(r diag.Range) *diag.Range {
	if r.IsZero() {
		return nil
	}
	return &r
}
