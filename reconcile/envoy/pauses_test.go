package envoy

import (
	"slices"
	"testing"
	"time"
)

// One that serves for a second and dies, again and again, is not started without a pause for ever.
func TestPauses(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	p := pauses{wait: firstWait}
	var got []time.Duration
	die := func(after time.Duration, well bool) {
		now = now.Add(after)
		w := p.died(now, well)
		if w > 0 {
			p.waited()
		}
		got, now = append(got, w), now.Add(w)
	}
	for range 12 {
		die(1100*time.Millisecond, true)
	}
	ms := time.Millisecond
	want := []time.Duration{0, 0, 0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, lastWait, lastWait}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for range 20 {
		if die(1100*time.Millisecond, true); got[len(got)-1] != lastWait {
			t.Fatalf("%v", got)
		}
	}
	got = nil
	die(2*time.Minute, true)
	die(time.Millisecond, false)
	die(2*time.Second, true)
	if want := []time.Duration{0, 100 * ms, 0}; !slices.Equal(got, want) {
		t.Errorf("after it had served for long: %v, want %v", got, want)
	}
}
