// Package deliver brings resources to a target and reports what it did with them.
//
// A target is level-triggered: Publish says what should be, Changed says only that Report may have changed.
package deliver

import (
	"context"
	"time"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// State is what one Envoy did with one version: Envoy's own words (csds.proto, ConfigStatus).
type State string

// The states: not offered yet, offered and unanswered, acknowledged, refused.
const (
	NotSent State = "NotSent"
	Stale   State = "Stale"
	Synced  State = "Synced"
	Error   State = "Error"
)

// Revision is what a target gets: `flex` copies declarations, `xds` and `files` deliver resources.
type Revision struct {
	Source    source.Set
	Resources *render.Resources
}

// Delivery is the state of one resource at one Envoy.
type Delivery struct {
	Node    string
	TypeURL string
	Name    string
	Hash    render.Hash
	State   State
	Message string // with Error: Envoy's text, secrets cut out; with NotSent: why it is held back, "" when it only waits its turn
	Origins []*ir.Origin
	At      time.Time
}

// Target takes revisions.
type Target interface {
	Publish(ctx context.Context, r Revision) error
	Changed() <-chan struct{}
	Report() []Delivery   // sorted by node, type and name
	Progress() []Progress // sorted by node
	// Prune removes files that earlier revisions left behind: those that live does not want. The caller knows what an
	// Envoy may still hold.
	Prune(live func(path string) bool) error
}

// Progress is how far the published revision got at one Envoy. It is cheap to ask for, whatever the number of resources.
type Progress struct {
	Node      string
	Version   string // Envoy's own, for example "1.40.0"
	PID       int    // of the process behind the socket, while it is connected; 0: not known
	Address   string // host:port of an Envoy on another host; "": it is on this one
	Identity  string // of such an Envoy: what its certificate calls it
	Connected bool
	Since     time.Time // when it connected, or went
	Revision  string    // the last that it acknowledged as a whole; "": none yet
	NotSent   int       // resources of the published revision that were not offered yet, removals included
	Stale     int       // offered and not answered
	Errors    int       // refused, and not replaced since
}

// Remote says whether the Envoy is on another host.
func (p Progress) Remote() bool { return p.Address != "" }

// Synced reports whether the Envoy acknowledged everything.
func (p Progress) Synced() bool {
	return p.Connected && p.NotSent == 0 && p.Stale == 0 && p.Errors == 0
}
