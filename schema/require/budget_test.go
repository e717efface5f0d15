package require

import "testing"

// TestWithinCountsTicks: of a clock that is faster than any work.
func TestWithinCountsTicks(t *testing.T) {
	t.Parallel()
	ticks, forever := make(chan struct{}), make(chan struct{})
	defer close(forever)
	stopped := false
	b := Budget{Ticks: 5, Clock: func() (<-chan struct{}, func()) {
		go func() {
			for {
				select {
				case ticks <- struct{}{}:
				case <-forever:
					return
				}
			}
		}()
		return ticks, func() { stopped = true }
	}}
	if _, late := within(b, func() bool { <-forever; return true }); !late || !stopped {
		t.Errorf("late %v, the clock is stopped %v", late, stopped)
	}
	if done, late := within(Budget{}, func() bool { return true }); late || !done {
		t.Errorf("without a budget: late %v, done %v", late, done)
	}
}
