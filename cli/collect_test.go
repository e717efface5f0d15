package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestShed(t *testing.T) {
	// Not parallel: what runs beside it maps pages as well.
	before := mapped(t)
	shed()
	if after := mapped(t); after >= before {
		t.Errorf("%d kB of the program are mapped, %d before: expected less", after, before)
	}
}

// mapped is how much of files this process has in memory, in kB.
func mapped(t *testing.T) (kB int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "RssFile: %d kB", &kB); n == 1 {
			return kB
		}
	}
	t.Fatal("the kernel does not say")
	return 0
}

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
	for live, want := range map[uint64]uint64{0: lean, 10 << 20: lean, lean: lean + lean*leanLeast/100, 100 << 20: 112 << 20} {
		used := max(live, 4<<20)
		if full := used + used*uint64(leanPercent(live, leanLeast))/100; full > want+2 || full < want-used/50 {
			t.Errorf("%d bytes in use: collected at %d, expected %d", live, full, want)
		}
	}
}
