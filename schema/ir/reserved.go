package ir

import (
	"fmt"
	"slices"
	"strings"
)

// ReservedPort is a port that the product keeps for itself in some releases, or uses in all.
type ReservedPort struct {
	Port uint16
	In   []ReleaseRange // that refuse it; none: it is used without being refused
	Said []ReleaseRange // that refuse it by the pages of their requirements alone; other pages say that they do not
	Use  string         // what for, where In is empty
}

// ReleaseRange is a range of minor releases, both included. The zero Last is open: the newest release that is known is in it.
type ReleaseRange struct{ First, Last Release }

func minor(n int) Release { return Release{Major: 1, Minor: n} }

// ReservedPorts are all of them, by their numbers: reference anypoint.md 4.3, which is the page on requirements of each release ([D]:
// "reserved for internal processes", 1.0 to 1.6 four ports, 1.7 to 1.10 the port 9998, and from 1.11 on 9998 and 9999). Port 2000 is seen
// in the product's images (FLEX_METRIC_ADDR, [C]).
func ReservedPorts() []ReservedPort {
	early := ReleaseRange{minor(0), minor(6)}
	return []ReservedPort{
		{Port: 2000, Use: "the product's metrics (FLEX_METRIC_ADDR)"},
		{Port: 4000, In: []ReleaseRange{early}},
		{Port: 9998, In: []ReleaseRange{{First: minor(7)}}},
		{Port: 9999, In: []ReleaseRange{early}, Said: []ReleaseRange{{First: minor(11)}}}, // flex-resources.md 11.7: 9998 alone from 1.7 on
		{Port: 15000, In: []ReleaseRange{early}},
		{Port: 15100, In: []ReleaseRange{early}},
	}
}

// ReservedPortAt is the row of a port. ok is false for those that are nobody's.
func ReservedPortAt(port uint16) (p ReservedPort, ok bool) {
	for _, p := range ReservedPorts() {
		if p.Port == port {
			return p, true
		}
	}
	return ReservedPort{}, false
}

// Refused reports whether a release refuses the port.
func (p ReservedPort) Refused(r Release) bool { return among(p.In, r) }

// Listed reports whether the page on the requirements of a release has the port.
func (p ReservedPort) Listed(r Release) bool { return p.Refused(r) || among(p.Said, r) }

func among(ranges []ReleaseRange, r Release) bool {
	for _, in := range ranges {
		last := in.Last
		last.Minor++
		if !r.Before(in.First) && (in.Last.IsZero() || r.Before(last)) {
			return true
		}
	}
	return false
}

// Words says of whom the port is for a release, as the end of a sentence that begins with the port.
func (p ReservedPort) Words(r Release) string {
	switch {
	case len(p.In) == 0:
		return "is used for " + p.Use
	case p.Listed(r):
		return "is reserved by the product in releases " + p.Ranges()
	}
	return fmt.Sprintf("is reserved by the product in releases %s, not in %v", p.Ranges(), r)
}

// Ranges are the releases that list the port, in words; "" for none.
func (p ReservedPort) Ranges() string {
	var all []string
	for _, in := range slices.Concat(p.In, p.Said) {
		text := in.First.String() + " on"
		if !in.Last.IsZero() {
			text = in.First.String() + " to " + in.Last.String()
		}
		all = append(all, text)
	}
	return strings.Join(all, " and ")
}
