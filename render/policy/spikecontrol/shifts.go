package spikecontrol

import "github.com/flexgw/flexgw/render/policy"

func shifts(was, now *config) []policy.Shift {
	l := policy.Limited([]policy.Rate{was.rate()}, []policy.Rate{now.rate()}, "maximumRequests")
	switch {
	case now.mayWait() > was.mayWait():
		l = append(l, policy.Shift{Way: policy.Looser, Path: []string{"queuingLimit"}, Summary: "more requests may wait instead of being refused"})
	case now.mayWait() < was.mayWait():
		l = append(l, policy.Shift{Way: policy.Tighter, Path: []string{"queuingLimit"}, Summary: "fewer requests may wait instead of being refused"})
	}
	return l
}

func (c *config) rate() policy.Rate {
	return policy.Rate{Requests: uint64(c.Requests), Period: uint64(c.Period)}
}

// mayWait is how many requests may wait, as often as they are tried again: none without both.
func (c *config) mayWait() uint64 { return uint64(c.Queue) * uint64(c.attempts()) }
