package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// garbage is how many bytes a command that runs once may leave lying about before they are collected. Above it the
// runtime's own rule holds: as many as are in use.
const garbage = 96 << 20

// collectLess makes the collector wait for so much garbage, until the function that it returns is called. Most commands are
// over before it has come together.
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
	const least = 4 << 20
	return int(max(100, garbage*100/max(live, least)))
}
