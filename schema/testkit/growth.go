package testkit

import (
	"runtime"
	"testing"
	"time"
)

// Growth fails a test of work that grows faster than what it is given: for eight times as much it may take up to four times as long
// as eight runs take for a part, where work that grows with the square takes eight times as long. run takes the work of a size, on the
// goroutine that calls it: what counts is the time of its thread on the processor, where the system tells that, so that it does not
// matter how busy the machine is. prepare, which is not measured, makes the work.
func Growth(t *testing.T, size int, prepare func(size int) (run func())) {
	t.Helper()
	if parts, whole := growth(size, prepare); whole > steep*parts {
		t.Errorf("%d pieces of work take %s, and one of %d times the size takes %s", pieces, parts, pieces, whole)
	} else {
		t.Logf("%d pieces of work take %s, and one of %d times the size takes %s", pieces, parts, pieces, whole)
	}
}

const (
	pieces = 8
	steep  = 4
	rounds = 8
)

// growth is what pieces of work take, and one of their size together: the least of some rounds, or of as few as show that it does not
// grow steeply.
func growth(size int, prepare func(size int) (run func())) (parts, whole time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	parts, whole = time.Hour, time.Hour
	for i := range rounds {
		if i > 0 && whole <= steep*parts {
			break
		}
		var small []func()
		for range pieces {
			small = append(small, prepare(size))
		}
		big := prepare(pieces * size)
		runtime.GC() // what was prepared is not collected at the expense of the work
		start := used()
		for _, run := range small {
			run()
		}
		middle := used()
		big()
		parts, whole = min(parts, middle-start), min(whole, used()-middle)
	}
	return parts, whole
}
