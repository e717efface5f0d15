package xds

import (
	"cmp"
	"slices"
)

// publish is Publish without files, for any snapshot.
func (s *Server) publish(revision string, snap snapshot) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.swap(revision, snap)
}

// Outcome says how far the published revision is.
type Outcome string

// What Programmed answers.
const (
	NoEnvoy    Outcome = "NoEnvoy"    // none is connected
	Pending    Outcome = "Pending"    // something is not answered yet
	Programmed Outcome = "Programmed" // everything is acknowledged; removals that wait for a drain may be outstanding
	Refused    Outcome = "Refused"    // everything is answered, and something is refused, or held back because of that
)

// Node is one Envoy, connected or gone.
type Node struct {
	node
	Connected bool
	Outcome   Outcome // of the published revision; NoEnvoy when it is gone
	Pending   int     // resources not answered
	Refused   int     // resources refused or held back
}

// node is the Envoy as seen now, w being the published world (nil: none).
func (b *board) node(w *world) Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := Node{node: b.info, Connected: true, Pending: b.tally.pending, Refused: b.tally.refused + b.tally.held}
	switch {
	case w == nil, b.seq != w.seq, n.Pending > 0:
		n.Outcome = Pending
	case n.Refused > 0:
		n.Outcome = Refused
	default:
		n.Outcome = Programmed
	}
	return n
}

// Nodes lists every stream's Envoy, and the last state of those that are gone, sorted by id, the connected and newest
// first.
func (s *Server) Nodes() []Node {
	w := s.current()
	var all []Node
	seen := map[string]bool{}
	for _, st := range s.connected() {
		n := st.board.node(w)
		seen[n.ID] = true
		all = append(all, n)
	}
	s.mu.Lock()
	for id, m := range s.nodes {
		if !seen[id] && m.gone.ID == id && !m.gone.At.IsZero() {
			all = append(all, Node{node: m.gone, Outcome: NoEnvoy})
		}
	}
	s.mu.Unlock()
	slices.SortStableFunc(all, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), b.At.Compare(a.At))
	})
	return all
}

// Programmed says how far the published revision is at all connected Envoys together, and at each.
func (s *Server) Programmed() (Outcome, []Node) {
	nodes := s.Nodes()
	p := NoEnvoy
	rank := []Outcome{NoEnvoy, Programmed, Refused, Pending}
	for _, n := range nodes {
		if n.Connected && slices.Index(rank, n.Outcome) > slices.Index(rank, p) {
			p = n.Outcome
		}
	}
	return p, nodes
}
