package xds

import (
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/render"
)

// node is one Envoy.
type node struct {
	ID      string
	Version string // of Envoy, "1.40.0"; "" when it did not say
	peer
	At       time.Time // when it connected, or when it went
	Revision string    // the last revision that it acknowledged as a whole; "": none yet
}

// peer is who is at the other end of a stream.
type peer struct {
	PID      int    // of the process behind the socket; 0: unknown
	Address  string // host:port, when it came through a gate; "": on this host
	Identity string // of its certificate
}

// progress is what is known of an Envoy, whatever the revision.
func (n node) progress(connected bool) deliver.Progress {
	p := deliver.Progress{Node: n.ID, Version: n.Version, Address: n.Address, Identity: n.Identity, Connected: connected, Since: n.At, Revision: n.Revision}
	if connected { // the number of one that is gone may be somebody else's
		p.PID = n.PID
	}
	return p
}

// board is what others may see of a stream. The stream's goroutine writes, under a lock that is never held for longer
// than a copy.
type board struct {
	mu    sync.Mutex
	info  node
	seq   uint64
	tally tally
	notes map[render.Key]note
}

// note is a delivery, without what is known of it elsewhere: there is one for each resource at each Envoy.
type note struct {
	want    *render.Resource
	message string
	at      int64 // Unix nanoseconds
	state   deliver.State
}

func (b *board) set(k render.Key, x note) {
	b.mu.Lock()
	b.notes[k] = x
	b.mu.Unlock()
}

func (b *board) drop(k render.Key) {
	b.mu.Lock()
	delete(b.notes, k)
	b.mu.Unlock()
}

// tally counts resources that are not as they should be.
type tally struct {
	pending int // unanswered, removals included
	stale   int // of them, sent
	refused int
	held    int // held back: they can not be offered
}

// settle records the counts after a step; it reports whether the whole of w is acknowledged for the first time.
func (b *board) settle(w *world, t tally) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq, b.tally = w.seq, t
	if t.pending+t.refused+t.held > 0 || b.info.Revision == w.revision {
		return false
	}
	b.info.Revision = w.revision
	return true
}

// who is the Envoy of the stream.
func (b *board) who() node {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.info
}

func (b *board) progress(w *world) deliver.Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.info.progress(true)
	if w == nil || b.seq != w.seq { // what was refused before may be replaced
		p.NotSent = 1
		return p
	}
	p.Stale, p.Errors = b.tally.stale, b.tally.refused
	p.NotSent = b.tally.pending - b.tally.stale + b.tally.held
	return p
}

func (b *board) appendTo(all []deliver.Delivery) []deliver.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, x := range b.notes {
		all = append(all, deliver.Delivery{
			Node: b.info.ID, TypeURL: k.TypeURL, Name: k.Name, Hash: x.want.Hash,
			State: x.state, Message: x.message, Origins: x.want.Origins, At: time.Unix(0, x.at),
		})
	}
	return all
}

// nodeMemory is what the server keeps of an Envoy between its streams.
type nodeMemory struct {
	gone     node // its last state, when no stream is left
	refusals map[render.Key]refusal
}

// refusal is a version that an Envoy refused, and why.
type refusal struct {
	version string
	message string
	at      time.Time
}

// maxNodes bounds the memory of Envoys that are gone: with generated node ids they would pile up.
const maxNodes = 64
