package xds

import (
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/render"
)

// board is what others may see of a stream. The stream's goroutine writes, under a lock that is never held for longer
// than a copy.
type board struct {
	mu         sync.Mutex
	info       Node // ID, Version, PID, At and Revision are kept; the rest is worked out by node
	seq        uint64
	pending    int
	refused    int
	deliveries map[render.Key]deliver.Delivery
}

func (b *board) set(k render.Key, d deliver.Delivery) {
	b.mu.Lock()
	b.deliveries[k] = d
	b.mu.Unlock()
}

func (b *board) drop(k render.Key) {
	b.mu.Lock()
	delete(b.deliveries, k)
	b.mu.Unlock()
}

// settle records the counts after a step; it reports whether the whole of w is acknowledged for the first time.
func (b *board) settle(w *world, pending, refused int) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq, b.pending, b.refused = w.seq, pending, refused
	if pending > 0 || refused > 0 || b.info.Revision == w.revision {
		return false
	}
	b.info.Revision = w.revision
	return true
}

// node is the Envoy as seen now, w being the published world (nil: none).
func (b *board) node(w *world) Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.info
	n.Connected = true
	n.Pending, n.Refused = b.pending, b.refused
	switch {
	case w == nil, b.seq != w.seq, b.pending > 0:
		n.Progress = Pending
	case b.refused > 0:
		n.Progress = Refused
	default:
		n.Progress = Programmed
	}
	return n
}

func (b *board) appendTo(all []deliver.Delivery) []deliver.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.deliveries {
		all = append(all, d)
	}
	return all
}

// nodeMemory is what the server keeps of an Envoy between its streams.
type nodeMemory struct {
	gone     Node // its last state, when no stream is left
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
