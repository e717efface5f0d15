package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Memory is what /proc/PID/status says under a name, VmRSS or VmHWM, in MB (10^6).
func Memory(t testing.TB, pid int, name string) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), name+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatalf("no %s in %s", name, b)
	}
	kB, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return float64(kB) * 1024 / 1e6
}

// CPU is the time of processors that a process has spent so far, to the nanosecond.
func CPU(t testing.TB, pid int) time.Duration {
	t.Helper()
	const sched = 2 // CPUCLOCK_SCHED: clock_getcpuclockid(3) makes the same number
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &spent); err != nil {
		t.Fatalf("time of process %d: %v", pid, err)
	}
	return time.Duration(spent.Nano())
}
