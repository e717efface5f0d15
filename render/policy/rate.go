package policy

import (
	"cmp"
	"math/bits"
	"slices"
)

// Rate is a limit: so many requests in a period, of any unit.
type Rate struct{ Requests, Period uint64 }

// Limited are the Shifts of limits of which all must hold. Those that follow from others do not count. Where no side's limits follow
// from the other's, a single limit is told by how many requests get through over time; of several, nothing is told but that they
// are others.
func Limited(was, now []Rate, path ...string) []Shift {
	a, b := binding(was), binding(now)
	fewer, more := follow(a, b), follow(b, a)
	shift := func(w Way, summary string) []Shift { return []Shift{{w, path, summary}} }
	switch {
	case fewer && more:
		return nil
	case fewer:
		return shift(Tighter, "fewer requests get through")
	case more:
		return shift(Looser, "more requests get through")
	case len(a) == 1 && len(b) == 1:
		switch a[0].compare(b[0]) {
		case -1:
			return shift(Looser, "more requests get through over time, though perhaps fewer at once")
		case 1:
			return shift(Tighter, "fewer requests get through over time, though perhaps more at once")
		}
	}
	return shift(Other, "another number of requests gets through, and which way depends on when they come")
}

// binding are the limits, sorted, that do not follow from others.
func binding(l []Rate) []Rate {
	l = slices.Clone(l)
	slices.SortFunc(l, func(a, b Rate) int {
		return cmp.Or(cmp.Compare(a.Period, b.Period), cmp.Compare(a.Requests, b.Requests))
	})
	l = slices.Compact(l)
	var out []Rate
	for i, r := range l {
		follows := false
		for j, o := range l {
			follows = follows || j != i && o.implies(r) && (j < i || !r.implies(o))
		}
		if !follows {
			out = append(out, r)
		}
	}
	return out
}

// follow reports whether all of some limits follow from others.
func follow(limits, from []Rate) bool {
	return !slices.ContainsFunc(limits, func(l Rate) bool {
		return !slices.ContainsFunc(from, func(f Rate) bool { return f.implies(l) })
	})
}

// implies reports whether what a limit lets through, o does too: 10 a second are no more than 609 a minute. The windows of both count from
// a first hit: one of o may begin within one of r's, after its first.
func (r Rate) implies(o Rate) bool {
	if r.Period == 0 || o.Period == 0 {
		return r == o
	}
	if r.Period == o.Period || r.Requests == 0 {
		return r.Requests <= o.Requests
	}
	times := (o.Period-1)/r.Period + 1 // periods that begin in one of o's
	hi, lo := bits.Mul64(r.Requests, times)
	lo, carry := bits.Add64(lo, r.Requests-1, 0)
	return hi == 0 && carry == 0 && lo <= o.Requests
}

// compare compares how many requests get through over time.
func (r Rate) compare(o Rate) int {
	h1, l1 := bits.Mul64(r.Requests, o.Period)
	h2, l2 := bits.Mul64(o.Requests, r.Period)
	return cmp.Or(cmp.Compare(h1, h2), cmp.Compare(l1, l2))
}
