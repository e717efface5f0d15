package tlscheck_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/tlscheck"
)

// TestShifts changes versions and suites there and back.
func TestShifts(t *testing.T) {
	t.Parallel()
	const good, best, weak, later = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_AES_128_GCM_SHA256"
	// Source: TlsParameters.cipher_suites, in builds that are not FIPS.
	envoys := []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", good, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", best}
	params := func(lowest, highest string, ciphers ...string) tlscheck.Params {
		return tlscheck.Params{Min: lowest, Max: highest, Ciphers: ciphers}
	}
	words := map[policy.Way]string{policy.Looser: "looser", policy.Tighter: "tighter", policy.Other: "other"}
	for name, c := range map[string]struct {
		was, now    tlscheck.Params
		there, back []string
	}{
		"versions":                        {params("1.2", "1.3"), params("1.3", "1.3"), []string{"tighter minversion"}, []string{"looser minversion"}},
		"no list is Envoy's own":          {params("1.2", "1.3"), params("1.2", "1.3", good, best), []string{"tighter ciphers"}, []string{"looser ciphers"}},
		"one that Envoy would not take":   {params("1.2", "1.3"), params("1.2", "1.3", good, weak), []string{"looser ciphers", "tighter ciphers"}, []string{"looser ciphers", "tighter ciphers"}},
		"all that Envoy has by itself":    {params("1.2", "1.3"), params("1.2", "1.3", slices.Concat(envoys, []string{later})...), nil, nil},
		"a list, and no version":          {params("1.2", "1.3"), params("1.2", "1.2", good), []string{"looser maxversion", "tighter ciphers"}, []string{"tighter maxversion", "looser ciphers"}},
		"TLS 1.3 has its own":             {params("1.3", "1.3", good), params("1.3", "1.3", weak), nil, nil},
		"only suites of TLS 1.3":          {params("1.2", "1.3"), params("1.2", "1.3", later), []string{"tighter minversion"}, []string{"looser minversion"}},
		"one that is never used":          {params("1.2", "1.3", good), params("1.2", "1.3", good, later), nil, nil},
		"what 1.2 takes goes with it":     {params("1.2", "1.3", good), params("1.3", "1.3", good), []string{"tighter minversion"}, []string{"looser minversion"}},
		"the order of the list says none": {params("1.2", "1.3", good, best), params("1.2", "1.3", best, good), nil, nil},
	} {
		told := func(was, now tlscheck.Params) (out []string) {
			for _, s := range tlscheck.Shifts(was, now) {
				out = append(out, fmt.Sprintf("%s %s", words[s.Way], s.Path[0]))
			}
			return out
		}
		if d := cmp.Diff(c.there, told(c.was, c.now)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if d := cmp.Diff(c.back, told(c.now, c.was)); d != "" {
			t.Errorf("%s, and back (-want +got):\n%s", name, d)
		}
	}
}
