package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// A command that runs once lets its heap grow to roomy before it is collected: most are over before. With more than that in
// use, it keeps the garbage small, so that ten thousand declarations fit into 150 MB; collecting often costs less than it
// spares. With much more, the runtime's own rule holds: as much garbage as is in use.
const (
	roomy = 92 << 20
	large = 100 << 20
	least = 28 // percent
)

// collectLess makes the collector wait so long, until the function that it returns is called.
func collectLess() (stop func()) { return collectBy(percent) }

// collectBy has the collector follow what percent says of the heap that is in use, until stop is called.
func collectBy(percent func(live uint64) int) (stop func()) {
	before := debug.SetGCPercent(percent(0))
	if before != 100 { // GOGC says otherwise
		debug.SetGCPercent(before)
		return func() {}
	}
	var stopped atomic.Bool
	thin := sync.OnceFunc(shed)
	var arm func()
	arm = func() { // the finalizer runs after each collection, when the runtime knows what is in use; small runs have none
		runtime.SetFinalizer(&sentinel{}, func(*sentinel) {
			if stopped.Load() {
				return
			}
			thin()
			live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
			metrics.Read(live)
			if live[0].Value.Kind() == metrics.KindUint64 {
				debug.SetGCPercent(percent(live[0].Value.Uint64()))
			}
			arm()
		})
	}
	arm()
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

type sentinel struct{ _ [16]byte }

// percent is GOGC for a heap of which so much is in use. The runtime collects no heap below 4 MiB times GOGC/100.
func percent(live uint64) int {
	if live > large {
		return 100
	}
	live = max(live, 4<<20)
	return int(max(least, (max(roomy, live)-live)*100/live))
}

// A daemon at rest makes little garbage, and what it does not need belongs to others: it is collected often. Not as often while it
// begins, or edits follow each other: that costs more time (a quarter more of an edit's, at 10,000 APIs) than it spares memory (4 %).
const (
	lean      = 24 << 20
	leanBusy  = 20 // percent
	leanLeast = 12
)

// leanPercent is GOGC for a daemon with a heap of which so much is in use, or least, if that is more.
func leanPercent(live uint64, least int) int {
	live = max(live, 4<<20)
	return max(least, int((max(lean, live)-live)*100/live))
}
