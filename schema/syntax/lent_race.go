//go:build race

package syntax

// spoil makes trees unusable whose memory is about to be used again, so that whoever kept one of them fails a test: CI runs all
// goldens under the race detector.
func (q *quick) spoil() {
	for i := range q.nodes.all {
		q.nodes.all[i] = Node{Kind: 77, Text: "this tree was only lent", Scalar: "this tree was only lent"}
	}
	for i := range q.kept.all {
		q.kept.all[i] = Field{Name: "this tree was only lent"}
	}
	clear(q.items.all)
}
