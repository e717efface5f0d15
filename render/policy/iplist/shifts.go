package iplist

import (
	"net/netip"
	"slices"

	"github.com/flexgw/flexgw/render/policy"
)

// Shifts says what a change of a list does; allow: to be listed is to get in.
func Shifts(was, now *Config, allow bool) []policy.Shift {
	var l []policy.Shift
	add := func(looser bool) {
		if looser {
			l = append(l, policy.Shift{Way: policy.Looser, Path: []string{"ips"}, Summary: "addresses get in that did not"})
		} else {
			l = append(l, policy.Shift{Way: policy.Tighter, Path: []string{"ips"}, Summary: "addresses are refused that got in"})
		}
	}
	if !within(now.ranges, was.ranges) {
		add(allow)
	}
	if !within(was.ranges, now.ranges) {
		add(!allow)
	}
	return append(l, policy.Differs(was.Expression.Value, now.Expression.Value, "ipExpression", "the address of a request is found another way")...)
}

// within reports whether every address of some ranges is in others. Both are sorted, and none is within another.
func within(ranges, others []netip.Prefix) bool {
	return !slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return !covered(p, others) })
}

// covered halves a range until its parts are within one of others, or none of others is within them.
func covered(p netip.Prefix, others []netip.Prefix) bool {
	partly := false
	for _, o := range others {
		switch {
		case o.Bits() <= p.Bits() && o.Contains(p.Addr()):
			return true
		case p.Bits() < o.Bits() && p.Contains(o.Addr()):
			partly = true
		}
	}
	if !partly {
		return false
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	return covered(low, others) && covered(netip.PrefixFrom(upper(p), p.Bits()+1), others)
}

// upper is the first address of the second half of a range.
func upper(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(b)
	return a
}
