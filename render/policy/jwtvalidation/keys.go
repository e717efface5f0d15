package jwtvalidation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-jose/go-jose/v4"

	"github.com/flexgw/flexgw/render/policy"
)

// keySet is the JSON Web Key Set for Envoy. Every key names its algorithm: without one, Envoy takes tokens of all
// algorithms of the key's type. ready is false while there is no key, which Envoy would refuse together with all routes of
// the API.
func (c *config) keySet(in policy.Input) (set []byte, ready bool, err error) {
	keys := []json.RawMessage{c.key}
	if c.KeyOrigin == "jwks" {
		keys = nil
		for _, n := range needs(c) {
			n.Policy = "jwt-validation-flex"
			if answer, ok := in.Got(n); ok {
				keys = append(keys, c.fitting(answer)...)
			}
		}
		// The order in which an issuer lists its keys means nothing.
		slices.SortFunc(keys, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
		keys = slices.CompactFunc(keys, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
	}
	if len(keys) == 0 {
		return nil, false, nil
	}
	set, err = json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		return nil, false, fmt.Errorf("marshal the key set: %w", err)
	}
	return set, true, nil
}

// fitting are the keys of a fetched set that can sign for the configuration, each pinned to its algorithm.
func (c *config) fitting(answer []byte) []json.RawMessage {
	keys, err := readSet(answer)
	if err != nil {
		return nil
	}
	var out []json.RawMessage
	for _, k := range keys {
		if k.Algorithm != "" && k.Algorithm != c.algorithm() || c.unfit(k.Key) != "" {
			continue
		}
		if b, err := c.pinned(k.Key, k.KeyID); err == nil {
			out = append(out, b)
		}
	}
	return out
}

// pinned writes one key with its algorithm.
func (c *config) pinned(key any, id string) (json.RawMessage, error) {
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: c.algorithm(), Use: "sig"}.MarshalJSON()
}

// unfit says why a key cannot verify what the configuration asks for.
func (c *config) unfit(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if c.Method == "rsa" {
			return ""
		}
		return fmt.Sprintf("is an RSA key, but signingMethod is %s", c.Method)
	case *ecdsa.PublicKey:
		if c.Method != "es" {
			return fmt.Sprintf("is an elliptic curve key, but signingMethod is %s", c.Method)
		}
		if want := fmt.Sprintf("P-%d", c.Length); k.Params().Name != want {
			return fmt.Sprintf("is on the curve %s, but signingKeyLength %d needs %s", k.Params().Name, c.Length, want)
		}
		return ""
	case []byte:
		if c.Method != "hmac" {
			return fmt.Sprintf("is a shared secret, but signingMethod is %s", c.Method)
		}
		if len(k) < int(c.Length)/8 {
			return fmt.Sprintf("has %d characters, but signingKeyLength %d needs at least %d", len(k), c.Length, c.Length/8)
		}
		return ""
	}
	return "is neither an RSA nor an elliptic curve key"
}

// readSet reads a JSON Web Key Set (RFC 7517). Keys that are broken, of an unknown type or not meant for signatures are
// left out, as the RFC wants it.
func readSet(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is no JSON Web Key Set")
	}
	var out []jose.JSONWebKey
	for _, members := range set.Keys {
		for name := range members {
			if strings.HasPrefix(name, "x5") { // a broken certificate does not spoil its key
				delete(members, name)
			}
		}
		b, err := json.Marshal(members)
		if err != nil {
			continue
		}
		var k jose.JSONWebKey
		if k.UnmarshalJSON(b) != nil || k.Use != "" && k.Use != "sig" || !verifies(members["key_ops"]) {
			continue
		}
		if p := k.Public(); p.Key != nil { // a private key has no place here
			k = p
		}
		out = append(out, k)
	}
	return out, nil
}

func verifies(operations json.RawMessage) bool {
	var list []string
	return operations == nil || json.Unmarshal(operations, &list) == nil && slices.Contains(list, "verify")
}

// usable keeps an answer without any key away, so that the last good one stays.
func usable(_ policy.Need, answer []byte) error {
	keys, err := readSet(answer)
	if err != nil {
		return err
	}
	for _, k := range keys {
		switch k.Key.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey, []byte:
			return nil
		}
	}
	return errors.New("it holds no key that could verify a signature")
}

// textKey reads the declared key. problem never holds a part of it.
func (c *config) textKey() (key any, problem string) {
	text := c.TextKey.Reveal()
	if c.Method == "hmac" {
		return []byte(text), ""
	}
	body := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	der, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return nil, "is not base64"
	}
	if key, err = x509.ParsePKIXPublicKey(der); err == nil {
		return key, ""
	}
	if rsaKey, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return rsaKey, ""
	}
	if cert, err := x509.ParseCertificate(der); err == nil {
		return cert.PublicKey, ""
	}
	return nil, "is not a public key"
}
