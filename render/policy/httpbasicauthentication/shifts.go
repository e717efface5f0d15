package httpbasicauthentication

import "github.com/flexgw/flexgw/render/policy"

func shifts(was, now *config) []policy.Shift {
	l := policy.Differs(was.Username, now.Username, "username", "another user gets in, and the old one does not")
	if !was.Password.Equal(now.Password.Secret) {
		l = append(l, policy.Shift{Way: policy.Other, Path: []string{"password"}, Summary: "another password gets in, and the old one does not"})
	}
	return l
}
