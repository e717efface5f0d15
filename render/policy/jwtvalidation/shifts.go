package jwtvalidation

import (
	"slices"

	"github.com/flexgw/flexgw/render/policy"
)

func shifts(was, now *config) []policy.Shift {
	var l []policy.Shift
	for _, x := range []struct {
		was, now              bool // demanded
		path, dropped, demand string
	}{
		{!was.SkipClientID, !now.SkipClientID, "skipClientIdValidation", "the client id of a token is not validated any more", "the client id of a token is validated"},
		{was.ValidateAud, now.ValidateAud, "validateAudClaim", "tokens for other audiences are accepted", "only tokens for the listed audiences are accepted"},
		{was.MandatoryAud, now.MandatoryAud, "mandatoryAudClaim", "tokens without an audience are accepted", "tokens without an audience are refused"},
		{was.MandatoryExp, now.MandatoryExp, "mandatoryExpClaim", "tokens that never expire are accepted", "tokens that never expire are refused"},
		{was.MandatoryNbf, now.MandatoryNbf, "mandatoryNbfClaim", "tokens without a beginning are accepted", "tokens without a beginning are refused"},
		{was.ValidateCustom, now.ValidateCustom, "validateCustomClaim", "custom claims are not validated any more", "custom claims are validated"},
	} {
		l = append(l, policy.Switched(!x.was, !x.now, x.path, x.dropped, x.demand)...)
	}
	return slices.Concat(l, keyShifts(was, now), claimShifts(was, now))
}

func keyShifts(was, now *config) []policy.Shift {
	l := slices.Concat(
		policy.Differs(was.Origin, now.Origin, "jwtOrigin", "the token is found another way"),
		policy.Differs(was.Expression.Value, now.Expression.Value, "jwtExpression", "the token is found another way"),
		policy.Differs(was.Method, now.Method, "signingMethod", "tokens signed another way are accepted"),
		policy.Differs(was.Length, now.Length, "signingKeyLength", "tokens signed another way are accepted"),
		policy.Differs(was.KeyOrigin, now.KeyOrigin, "jwtKeyOrigin", "the keys that tokens are checked with come from elsewhere"),
		policy.Differs(was.URLs, now.URLs, "jwksUrl", "the keys that tokens are checked with come from elsewhere"),
		policy.Differs(was.CustomKey, now.CustomKey, "customKeyExpression", "the keys that tokens are checked with come from elsewhere"))
	if was.KeyOrigin == "jwks" && now.KeyOrigin == "jwks" {
		switch {
		case now.TTL > was.TTL:
			l = append(l, policy.Shift{Way: policy.Looser, Path: []string{"jwksServiceTimeToLive"}, Summary: "a key that was withdrawn is believed for longer"})
		case now.TTL < was.TTL:
			l = append(l, policy.Shift{Way: policy.Tighter, Path: []string{"jwksServiceTimeToLive"}, Summary: "a key that was withdrawn is believed for less long"})
		}
	}
	if !was.TextKey.Equal(now.TextKey.Secret) {
		l = append(l, policy.Shift{Way: policy.Other, Path: []string{"textKey"}, Summary: "tokens are checked with another key"})
	}
	return l
}

func claimShifts(was, now *config) []policy.Shift {
	var l []policy.Shift
	if was.ValidateAud && now.ValidateAud {
		l = policy.Listed(was.audiences(), now.audiences(), "supportedAudiences", "tokens for more audiences are accepted", "tokens for some audiences are refused now")
	}
	if !was.ValidateCustom || !now.ValidateCustom {
		return l
	}
	same := func(a, b claim) bool { return a.Key == b.Key && a.Value.Value == b.Value.Value }
	if !slices.EqualFunc(was.Mandatory, now.Mandatory, same) {
		l = append(l, policy.Shift{Way: policy.Other, Path: []string{"mandatoryCustomClaims"}, Summary: "other custom claims are demanded"})
	}
	if !slices.EqualFunc(was.Optional, now.Optional, same) {
		l = append(l, policy.Shift{Way: policy.Other, Path: []string{"nonMandatoryCustomClaims"}, Summary: "other custom claims are validated"})
	}
	return l
}
