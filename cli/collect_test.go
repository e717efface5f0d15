package cli

import "testing"

func TestHeapMayGrowSoFar(t *testing.T) {
	t.Parallel()
	for _, live := range []uint64{0, 1 << 20, 4 << 20, 40 << 20, roomy, 10 * roomy} {
		used := max(live, 4<<20)
		want := max(roomy, used+used*least/100)
		if full := used + used*uint64(percent(live))/100; full > want || full < want-used/50-1 {
			t.Errorf("%d bytes in use: collected at %d, expected %d", live, full, want)
		}
	}
}
