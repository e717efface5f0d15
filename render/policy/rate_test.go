package policy_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy"
)

// TestLimited: which way limits go, in requests and milliseconds, and the opposite on the way back.
func TestLimited(t *testing.T) {
	t.Parallel()
	const second, minute, hour = 1000, 60_000, 3_600_000
	none := policy.Way(9)
	for name, c := range map[string]struct {
		was, now []policy.Rate
		want     policy.Way
	}{
		"more in the same time":             {[]policy.Rate{{10, second}}, []policy.Rate{{20, second}}, policy.Looser},
		"as many in a longer time":          {[]policy.Rate{{10, second}}, []policy.Rate{{10, minute}}, policy.Tighter},
		"more in a shorter time":            {[]policy.Rate{{100, minute}}, []policy.Rate{{200, second}}, policy.Looser},
		"a faster rate, fewer at once":      {[]policy.Rate{{100, minute}}, []policy.Rate{{2, second}}, policy.Looser},
		"a slower rate, more at once":       {[]policy.Rate{{2, second}}, []policy.Rate{{100, minute}}, policy.Tighter},
		"the same rate":                     {[]policy.Rate{{600, minute}}, []policy.Rate{{10, second}}, policy.Other},
		"29 in ten seconds":                 {[]policy.Rate{{20, 10 * second}}, []policy.Rate{{10, 5 * second}}, policy.Other},
		"one that allows those 29":          {[]policy.Rate{{10, 5 * second}, {29, 10 * second}}, []policy.Rate{{10, 5 * second}}, none},
		"one that allows but 28":            {[]policy.Rate{{10, 5 * second}, {28, 10 * second}}, []policy.Rate{{10, 5 * second}}, policy.Looser},
		"19 in a second, of 10 a minute":    {[]policy.Rate{{19, second}, {10, minute}}, []policy.Rate{{10, minute}}, none},
		"the same rate, no way to compare":  {[]policy.Rate{{2, 2}}, []policy.Rate{{3, 3}}, policy.Other},
		"one more limit":                    {[]policy.Rate{{10, second}}, []policy.Rate{{10, second}, {100, minute}}, policy.Tighter},
		"one more limit that says nothing":  {[]policy.Rate{{10, second}}, []policy.Rate{{10, second}, {1000, minute}}, none},
		"another order":                     {[]policy.Rate{{10, second}, {100, minute}}, []policy.Rate{{100, minute}, {10, second}}, none},
		"twice the same":                    {[]policy.Rate{{10, second}}, []policy.Rate{{10, second}, {10, second}}, none},
		"only the smaller of a period":      {[]policy.Rate{{10, second}}, []policy.Rate{{10, second}, {20, second}}, none},
		"one of several raised":             {[]policy.Rate{{10, second}, {100, minute}}, []policy.Rate{{10, second}, {200, minute}}, policy.Looser},
		"one raised, one lowered":           {[]policy.Rate{{10, second}, {100, minute}}, []policy.Rate{{5, second}, {200, minute}}, policy.Other},
		"a long one for a short one":        {[]policy.Rate{{10, second}, {100, minute}}, []policy.Rate{{10, second}, {1000, hour}}, policy.Other},
		"both lowered":                      {[]policy.Rate{{10, second}, {100, minute}}, []policy.Rate{{5, second}, {50, minute}}, policy.Tighter},
		"numbers that are no longer 64 bit": {[]policy.Rate{{1 << 63, 1}}, []policy.Rate{{1 << 62, 1}}, policy.Tighter},
	} {
		opposite := map[policy.Way]policy.Way{policy.Looser: policy.Tighter, policy.Tighter: policy.Looser, policy.Other: policy.Other}
		for want, shifts := range map[policy.Way][]policy.Shift{c.want: policy.Limited(c.was, c.now, "x"), opposite[c.want] + 100: policy.Limited(c.now, c.was, "x")} {
			if c.want == none {
				if len(shifts) > 0 {
					t.Errorf("%s: %v", name, shifts)
				}
				continue
			}
			if len(shifts) != 1 || shifts[0].Way != want%100 {
				t.Errorf("%s: %v, want %d", name, shifts, want%100)
			}
		}
	}
}
