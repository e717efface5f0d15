package ratelimiting

import (
	"cmp"
	"slices"

	"github.com/flexgw/flexgw/render/policy"
)

func shifts(was, now *config) []policy.Shift {
	l := policy.Differs(was.Selector.Value, now.Selector.Value, "keySelector", "requests are counted together in another way")
	at := []string{"rateLimits"}
	a, b := was.perPeriod(), now.perPeriod()
	if slices.Equal(a, b) {
		return l
	}
	samePeriods := slices.EqualFunc(a, b, func(x, y limit) bool { return x.Period == y.Period })
	more, fewer := false, false
	for i := range min(len(a), len(b)) {
		more, fewer = more || b[i].Requests > a[i].Requests, fewer || b[i].Requests < a[i].Requests
	}
	switch {
	case samePeriods && more && !fewer:
		return append(l, policy.Shift{Way: policy.Looser, Path: at, Summary: "more requests get through in the same time"})
	case samePeriods && fewer && !more:
		return append(l, policy.Shift{Way: policy.Tighter, Path: at, Summary: "fewer requests get through in the same time"})
	}
	return append(l, policy.Shift{Way: policy.Other, Path: at, Summary: "another number of requests gets through"})
}

// perPeriod are the limits, sorted, of which only the smallest of a period counts.
func (c *config) perPeriod() []limit {
	l := slices.Clone(c.Limits)
	slices.SortFunc(l, func(a, b limit) int {
		return cmp.Or(cmp.Compare(a.Period, b.Period), cmp.Compare(a.Requests, b.Requests))
	})
	return slices.CompactFunc(l, func(a, b limit) bool { return a.Period == b.Period })
}
