package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// roomy is how large the heap of a command that runs once may grow before it is collected: most commands are over before.
// Above it, half as much garbage as is in use may lie about: that costs a little more time than the runtime's own rule, and
// spares memory where there is least of it, in large repositories and small containers.
const (
	roomy = 98 << 20
	least = 45 // percent
)

// collectLess makes the collector wait so long, until the function that it returns is called.
func collectLess() (stop func()) {
	before := debug.SetGCPercent(percent(0))
	if before != 100 { // GOGC says otherwise
		debug.SetGCPercent(before)
		return func() {}
	}
	var stopped atomic.Bool
	var arm func()
	arm = func() { // the finalizer runs after each collection, when the runtime knows what is in use
		runtime.SetFinalizer(&sentinel{}, func(*sentinel) {
			if stopped.Load() {
				return
			}
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
	live = max(live, 4<<20)
	return int(max(least, (max(roomy, live)-live)*100/live))
}
