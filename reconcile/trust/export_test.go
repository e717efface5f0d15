package trust

import (
	"maps"
	"slices"
	"time"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// For tests that ask ssh-keygen the same.
var (
	Match     = match
	MatchList = matchList
)

// SSH is the verdict on one SSH signature.
func SSH(signers []byte, by watch.Person, signature, over []byte) (Rule, error) {
	list, err := parseSigners("signers", signers, time.UTC)
	if err != nil {
		return "", err
	}
	v := verifier{keys: keys{signers: list}, now: by.At}
	return v.signature(signed{by, signature, over}).rule, nil
}

// PGP is the verdict on one OpenPGP signature.
func PGP(keys []byte, by watch.Person, signature, over []byte, now time.Time) (Rule, error) {
	list, err := parseKeyring("keys", keys)
	if err != nil {
		return "", err
	}
	v := verifier{now: now}
	v.openpgp = list
	return v.signature(signed{by, signature, over}).rule, nil
}

// X509 is the verdict on one X.509 signature.
func X509(roots []byte, by watch.Person, signature, over []byte) (Rule, error) {
	list, err := parseAuthorities("roots", roots)
	if err != nil {
		return "", err
	}
	v := verifier{keys: keys{authorities: list}, now: by.At}
	return v.signature(signed{by, signature, over}).rule, nil
}

// Rules are all rules.
func Rules() []Rule { return slices.Sorted(maps.Keys(hints)) }
