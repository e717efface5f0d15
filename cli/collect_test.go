package cli

import "testing"

func TestHeapMayGrowSoFar(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]uint64{
		0: roomy, 1 << 20: roomy, 4 << 20: roomy, 40 << 20: roomy, roomy: roomy + roomy*least/100, large: large + large*least/100, large + 1: 2 * large, 10 * large: 20 * large,
	} {
		used := max(live, 4<<20)
		if full := used + used*uint64(percent(live))/100; full > want+2 || full < want-used/50 {
			t.Errorf("%d bytes in use: collected at %d, expected %d", live, full, want)
		}
	}
}

func TestHeapOfADaemonStaysSmall(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]uint64{0: lean, 10 << 20: lean, lean: lean + lean*leanLeast/100, 100 << 20: 120 << 20} {
		used := max(live, 4<<20)
		if full := used + used*uint64(leanPercent(live))/100; full > want+2 || full < want-used/50 {
			t.Errorf("%d bytes in use: collected at %d, expected %d", live, full, want)
		}
	}
}
