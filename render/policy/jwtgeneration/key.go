package jwtgeneration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
)

// hash is how many bytes the hash of a signing method has: HS256 has 32.
func hash(method string) int {
	bits, _ := strconv.Atoi(method[2:]) // the schema has a list of methods
	return bits / 8
}

// checkKey judges the key. It never shows a part of it.
func (c *config) checkKey(f *policy.Findings) {
	const field = "privateKey"
	text := c.Key.Reveal()
	if strings.HasPrefix(c.Method, "HS") {
		switch n := len(text); {
		case strings.Contains(text, "-----BEGIN"):
			f.Error("jwtgeneration/bad-key", fmt.Sprintf("privateKey is a PEM text, but %s signs with a plain text that both sides know", c.Method), "write the secret, or choose a signingMethod that begins with RS or ES", field)
		case n < hash(c.Method):
			f.Warn("jwtgeneration/weak-key", fmt.Sprintf("privateKey has %d bytes, and %s wants at least %d", n, c.Method, hash(c.Method)), "take a longer secret", field)
		}
		return
	}
	const form = "make one: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		f.Error("jwtgeneration/bad-key", fmt.Sprintf("privateKey is not PEM, and %s signs with a private key in PEM", c.Method), "paste the whole PEM text, its BEGIN and END lines included", field)
		return
	case strings.Contains(string(rest), "-----BEGIN"):
		f.Error("jwtgeneration/bad-key", "privateKey holds several PEM blocks, expected one private key", "leave only the key in it", field)
		return
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		f.Error("jwtgeneration/bad-key", "privateKey is encrypted with a passphrase, which cannot be given here", "decrypt it first: openssl pkey -in key.pem -out plain.pem", field)
		return
	case block.Type == "RSA PRIVATE KEY" || block.Type == "EC PRIVATE KEY":
		f.Error("jwtgeneration/not-pkcs8", fmt.Sprintf("privateKey is a PEM block %q, expected PKCS #8: %q", block.Type, "PRIVATE KEY"), "convert it: openssl pkcs8 -topk8 -nocrypt -in key.pem", field)
		return
	case block.Type != "PRIVATE KEY":
		f.Error("jwtgeneration/bad-key", fmt.Sprintf("privateKey is a PEM block %q, expected PRIVATE KEY", block.Type), form, field)
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		f.Error("jwtgeneration/bad-key", "privateKey is broken: the key cannot be read", "paste the whole PEM text, evenly indented under the key", field)
		return
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if !strings.HasPrefix(c.Method, "RS") {
			f.Error("jwtgeneration/bad-key", fmt.Sprintf("privateKey is an RSA key, and %s signs with one on a curve", c.Method), "choose a signingMethod that begins with RS, or another key", field)
		} else if n := k.N.BitLen(); n < 2048 {
			f.Error("jwtgeneration/weak-key", fmt.Sprintf("privateKey is an RSA key of %d bits, expected at least 2048", n), form, field)
		}
	case *ecdsa.PrivateKey:
		curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384()}[c.Method]
		if curve == nil {
			f.Error("jwtgeneration/bad-key", fmt.Sprintf("privateKey is a key on the curve %s, and %s signs with an RSA key", k.Curve.Params().Name, c.Method), "choose ES256 or ES384, or another key", field)
		} else if k.Curve != curve {
			f.Error("jwtgeneration/bad-key", fmt.Sprintf("privateKey is on the curve %s, and %s signs with %s", k.Curve.Params().Name, c.Method, curve.Params().Name), "choose the other method, or make another key", field)
		}
	default:
		f.Error("jwtgeneration/bad-key", "privateKey is neither an RSA nor an ECDSA key", form, field)
	}
}
