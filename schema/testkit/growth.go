package testkit

import (
	"testing"
	"time"
)

// Growth fails a test of work whose time grows faster than what it is given: for eight times as much it may take up to three
// times as long as eight runs take for a part. run takes the work of a size and is measured against itself, the best of a few
// times, so that it does not matter how busy the machine is. prepare, which is not measured, makes the work.
func Growth(t *testing.T, size int, prepare func(size int) (run func())) {
	t.Helper()
	const times = 8
	parts, whole := time.Hour, time.Hour
	for range 4 {
		var small []func()
		for range times {
			small = append(small, prepare(size))
		}
		big := prepare(times * size)
		start := time.Now()
		for _, run := range small {
			run()
		}
		middle := time.Now()
		big()
		parts, whole = min(parts, middle.Sub(start)), min(whole, time.Since(middle))
	}
	if whole > 3*parts {
		t.Errorf("%d pieces of work take %s, and one of %d times the size takes %s", times, parts, times, whole)
	}
}
