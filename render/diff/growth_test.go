package diff

import (
	"fmt"
	"testing"

	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/testkit"
)

// objects is a list of objects, in their order or backwards.
func objects(size int, name string, backwards bool) *ir.Declared {
	l := &ir.Declared{Kind: ir.List}
	for i := range size {
		if backwards {
			i = size - 1 - i
		}
		l.Items = append(l.Items, &ir.Declared{Kind: ir.Mapping, Fields: []ir.DeclaredField{
			{Name: "a", Value: &ir.Declared{Text: "1"}}, {Name: "b", Value: &ir.Declared{Text: fmt.Sprint(name, i)}}}})
	}
	return l
}

// TestLongListsAreCompared: of more items than are aligned, in another order and with nothing in common.
func TestLongListsAreCompared(t *testing.T) {
	for _, other := range []string{"x", "y"} {
		testkit.Growth(t, 2*maxList, func(size int) func() {
			was, now := objects(size, "x", false), objects(size, other, true)
			return func() {
				got := compareDeclared("l", was, now)
				if want := map[string]int{"x": 1, "y": 2 * size}[other]; len(got) != want {
					t.Errorf("%d differences, want %d", len(got), want)
				}
			}
		})
	}
}

func TestManyPoliciesInAnotherOrder(t *testing.T) {
	testkit.Growth(t, 1000, func(size int) func() {
		var c comparison
		var pairs []same
		var was []*ir.Binding
		for i := range size {
			b := &ir.Binding{Policy: fmt.Sprint("p", i)}
			pairs, was = append(pairs, same{b, b}), append(was, b)
		}
		return func() {
			for range 5 {
				if _, differs := c.reordered(pairs, was); differs {
					t.Error("they are in the same order")
				}
			}
		}
	})
}
