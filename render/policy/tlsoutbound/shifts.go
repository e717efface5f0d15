package tlsoutbound

import (
	"slices"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/tlscheck"
)

func shifts(was, now *config) []policy.Shift {
	usual := defaults() // what an https upstream gets without the policy
	if was == nil {
		was = &usual
	}
	if now == nil {
		now = &usual
	}
	l := policy.Switched(was.Skip, now.Skip, "skipValidation", "the certificate of the upstream is not verified any more", "the certificate of the upstream is verified")
	at := []string{"trustedCA"}
	switch {
	case was.Skip || now.Skip || was.CA == now.CA:
	case now.CA == "":
		l = append(l, policy.Shift{Way: policy.Looser, Path: at, Summary: "every authority that the host trusts may vouch for the upstream, not only those named"})
	case was.CA == "":
		l = append(l, policy.Shift{Way: policy.Tighter, Path: at, Summary: "only the named authorities may vouch for the upstream"})
	default:
		l = append(l, policy.Shift{Way: policy.Other, Path: at, Summary: "other authorities may vouch for the upstream"})
	}
	return slices.Concat(l, tlscheck.Shifts(was.params(), now.params()))
}
