package testkit

import (
	"time"

	"golang.org/x/sys/unix"
)

// used is how long the calling thread was on the processor.
func used() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // Linux has this clock
	}
	return time.Duration(t.Nano())
}
