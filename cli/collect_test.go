package cli

import "testing"

func TestPercentLeavesSoMuchGarbage(t *testing.T) {
	t.Parallel()
	for _, live := range []uint64{0, 1 << 20, 4 << 20, 40 << 20, garbage, 10 * garbage} {
		n := percent(live)
		if left := max(live, 4<<20) * uint64(n) / 100; left > max(garbage, live) || left < max(garbage, live)-live/50 {
			t.Errorf("%d bytes in use: %d percent are %d bytes of garbage, expected %d or as much as is in use", live, n, left, garbage)
		}
	}
}
