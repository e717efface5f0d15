package tlscheck

import (
	"slices"

	"github.com/flexgw/flexgw/render/policy"
)

// Shifts says what a change of protocol versions and cipher suites does to who can listen. Which certificate is shown is none of
// its business.
func Shifts(was, now Params) []policy.Shift {
	was.Min, now.Min = lowest(was), lowest(now)
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
	if was.Min == "1.3" || now.Min == "1.3" { // no suite of it can be chosen
		return l
	}
	return append(l, policy.Listed(offered(was), offered(now), "ciphers", "cipher suites are accepted that were not", "cipher suites are refused that were accepted")...)
}

// offered are the suites that a client of TLS 1.2 or older can meet. No list is Envoy's own.
//
// Source: TlsParameters.cipher_suites, in builds that are not FIPS.
func offered(p Params) []string {
	known := suites()
	if len(p.Ciphers) == 0 {
		for name, c := range known {
			if c == (cipher{}) {
				p.Ciphers = append(p.Ciphers, name)
			}
		}
	}
	return slices.DeleteFunc(configurable(p.Ciphers), func(name string) bool { return known[name].psk })
}
