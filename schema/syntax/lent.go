//go:build !race

package syntax

func (q *quick) spoil() {}
