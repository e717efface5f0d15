package reconcile

import (
	"time"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// EventType is what happened, a CamelCase word that scripts may rely on.
type EventType string

// The types of an Event.
const (
	Fetched           EventType = "Fetched"           // another revision was read
	SourceUnavailable EventType = "SourceUnavailable" // the source can not be read; told once, until it can be
	SourceBack        EventType = "SourceBack"        // it can be read again, or what it has is not refused any more
	Refused           EventType = "Refused"           // what the source has now was refused before it was read: Reason says why
	Invalid           EventType = "Invalid"           // a revision has errors of its own
	Waiting           EventType = "Waiting"           // a revision is right, and is applied later
	Accepted          EventType = "Accepted"          // a revision went to the target
	HeldBack          EventType = "Held"              // likewise, but for objects that stay at their last good version
	Programmed        EventType = "Programmed"        // every connected Envoy serves it
	Rejected          EventType = "Rejected"          // Envoy refused a part of it
	ProofFailed       EventType = "ProofFailed"       // a probe, or the error rate, spoke against it
	RolledBack        EventType = "RolledBack"        // what was served before is served again
	Suspended         EventType = "Suspended"         // the source is not followed for a while
	Resumed           EventType = "Resumed"           // it is followed again
	Pinned            EventType = "Pinned"            // somebody went back to an older revision
	Cordoned          EventType = "Cordoned"          // what one Envoy says does not count any more, because somebody said so
	Uncordoned        EventType = "Uncordoned"        // it counts again
	EnvoyConnected    EventType = "EnvoyConnected"
	EnvoyGone         EventType = "EnvoyGone"
	UsageNotReported  EventType = "UsageNotReported" // usage does not get to the platform: Reason says why
	UsageReported     EventType = "UsageReported"    // it gets there again
	PeerRefused       EventType = "PeerRefused"      // somebody on another host was turned away; told by who listens there
)

// Event is one thing that an operator may want to know. What is logged, counted, written to the history or sent to a webhook
// is told as one.
type Event struct {
	Type        EventType
	At          time.Time
	Revision    string // the one that it is about; "" when it is about none
	Previous    string // RolledBack: the revision that is served again
	By          string // who wanted the revision: "source", "apply", "rollback", "last good"
	Reason      string // CamelCase; "" when the type says it all
	Message     string // one line for a person
	Diagnostics diag.List
	Commit      *source.Commit // that Revision names; nil: it is no commit, or is not known
	Set         source.Set     // of Revision, when it is at hand
	HoldAt      source.Set     // Programmed: what objects are to be held at from now on; without files: at Set
}

// tell passes an event on.
func (l *Loop) tell(e Event) {
	e.At = time.Now().UTC()
	if e.Commit == nil {
		e.Commit = e.Set.Commit
	}
	if l.Tell != nil {
		l.Tell(e)
	}
}

// from says where an Envoy on another host is.
func from(p deliver.Progress) string {
	if !p.Remote() {
		return ""
	}
	return " from " + p.Address + " as " + p.Identity
}

// tellEnvoys says which Envoys came and went since it was called last.
func (l *Loop) tellEnvoys(progress []deliver.Progress) {
	now := map[string]bool{}
	for _, p := range progress {
		if p.Connected {
			now[p.Node] = true
			if !l.connected[p.Node] {
				l.tell(Event{Type: EnvoyConnected, Message: "Envoy " + p.Node + " (" + p.Version + ") is connected" + from(p)})
			}
		}
	}
	for _, p := range progress {
		if !p.Connected && l.connected[p.Node] {
			l.tell(Event{Type: EnvoyGone, Message: "Envoy " + p.Node + " is not connected any more"})
		}
	}
	l.connected = now
}
