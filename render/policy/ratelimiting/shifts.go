package ratelimiting

import "github.com/flexgw/flexgw/render/policy"

func shifts(was, now *config) []policy.Shift {
	l := policy.Differs(was.Selector.Value, now.Selector.Value, "keySelector", "requests are counted together in another way")
	return append(l, policy.Limited(was.rates(), now.rates(), "rateLimits")...)
}

func (c *config) rates() []policy.Rate {
	var l []policy.Rate
	for _, x := range c.Limits {
		l = append(l, policy.Rate{Requests: x.Requests, Period: x.Period})
	}
	return l
}
