package tlscheck

import "github.com/flexgw/flexgw/render/policy"

// Shifts says what a change of protocol versions and cipher suites does to who can listen. Which certificate is shown is none of
// its business.
func Shifts(was, now Params) []policy.Shift {
	var l []policy.Shift
	switch {
	case now.Min < was.Min:
		l = append(l, policy.Shift{Way: policy.Looser, Path: []string{"minversion"}, Summary: "an older version of TLS is accepted"})
	case now.Min > was.Min:
		l = append(l, policy.Shift{Way: policy.Tighter, Path: []string{"minversion"}, Summary: "an older version of TLS is refused"})
	}
	switch {
	case now.Max < was.Max:
		l = append(l, policy.Shift{Way: policy.Looser, Path: []string{"maxversion"}, Summary: "the newest version of TLS is not spoken any more"})
	case now.Max > was.Max:
		l = append(l, policy.Shift{Way: policy.Tighter, Path: []string{"maxversion"}, Summary: "a newer version of TLS is spoken too"})
	}
	if (len(was.Ciphers) == 0) != (len(now.Ciphers) == 0) { // no list is Envoy's own
		return append(l, policy.Shift{Way: policy.Other, Path: []string{"ciphers"}, Summary: "another list of cipher suites is accepted"})
	}
	return append(l, policy.Listed(was.Ciphers, now.Ciphers, "ciphers", "cipher suites are accepted that were not", "cipher suites are refused that were accepted")...)
}
