package tls

import (
	"slices"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/tlscheck"
)

func shifts(was, now *config) []policy.Shift {
	if was == nil || now == nil {
		return nil // that the port speaks TLS, or does not, is said by who knows the port
	}
	l := policy.Switched(!was.Require, !now.Require, "requireClientCertificate", "clients without a certificate get in", "clients must have a certificate")
	if was.Require && now.Require {
		l = append(l, policy.Differs(was.CA, now.CA, "trustedCA", "certificates of other authorities are trusted")...)
	}
	return slices.Concat(l, tlscheck.Shifts(was.params(), now.params()))
}
