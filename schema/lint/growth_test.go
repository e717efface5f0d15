package lint

import (
	"fmt"
	"testing"
)

// TestComparisonsAreBounded: those of one gateway, whatever it declares, and each pair is compared once.
func TestComparisonsAreBounded(t *testing.T) {
	t.Parallel()
	var k comparing
	n := 0
	for range 3 {
		for i := range 2 * maxCompared {
			if got := k.once(compared{a: fmt.Sprint(i)}, func() bool { n++; return false }); got != (i >= maxCompared) {
				t.Fatalf("%d: %v", i, got)
			}
		}
	}
	if n != maxCompared {
		t.Errorf("%d comparisons", n)
	}
}
