package jwtvalidation

import (
	"crypto/rsa"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/render/policy/urlcheck"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// checker collects what is wrong with one configuration.
type checker struct {
	*config
	policy.Findings
}

func check(c *config, at policy.Locator) diag.List {
	x := &checker{config: c, Findings: policy.Findings{At: at}}
	x.checkMethod()
	x.checkUnused()
	if c.Origin == custom {
		x.checkToken()
	}
	if !c.SkipClientID {
		x.Error("jwtvalidation/client-id-validation", "skipClientIdValidation is false, but checking the client needs contracts, which Local Mode does not have",
			"set skipClientIdValidation: true", "skipClientIdValidation")
	}
	x.checkAudiences()
	x.checkCustom()
	x.checkHeaders()
	return x.List
}

func (x *checker) checkMethod() {
	switch {
	case x.Method == "none":
		x.Error("jwtvalidation/not-supported-yet", "signingMethod none accepts tokens that anybody can write, and is not carried out", "sign the tokens: rsa, es or hmac", "signingMethod")
		return
	case x.Method == "es" && x.Length == 512:
		x.Error("jwtvalidation/key-length", "signingKeyLength 512 does not exist for signingMethod es", "write 256 or 384", "signingKeyLength")
		return
	}
	switch x.KeyOrigin {
	case custom:
		x.Error("jwtvalidation/not-supported-yet", "jwtKeyOrigin customExpression is not supported yet: the key must be known before a request comes", "write text or jwks", "jwtKeyOrigin")
	case "jwks":
		x.checkURLs()
	default:
		x.checkTextKey()
	}
}

// checkUnused warns of keys and expressions for which another origin is chosen.
func (x *checker) checkUnused() {
	if x.Origin != custom && !x.Expression.Range.IsZero() {
		x.Warn("jwtvalidation/unused", "jwtExpression is ignored while jwtOrigin is not customExpression", "set jwtOrigin: customExpression", "jwtExpression")
	}
	if x.KeyOrigin == "jwks" && x.TextKey.Reveal() != "" {
		x.Warn("jwtvalidation/unused", "textKey is ignored while jwtKeyOrigin is jwks", "remove it", "textKey")
	}
	if x.KeyOrigin == "text" && x.URLs != defaultURL {
		x.Warn("jwtvalidation/unused", "jwksUrl is ignored while jwtKeyOrigin is not jwks", "set jwtKeyOrigin: jwks", "jwksUrl")
	}
	if x.KeyOrigin != custom && x.CustomKey != "" {
		x.Warn("jwtvalidation/unused", "customKeyExpression is ignored while jwtKeyOrigin is not customExpression", "remove it", "customKeyExpression")
	}
}

// placeholder is the text that the product's own form begins with.
var placeholder = regexp.MustCompile(`(?i)^\s*your\b.*(key|secret)`)

func (x *checker) checkTextKey() {
	text := x.TextKey.Reveal()
	const form = "write the key's PEM text without its BEGIN and END lines"
	switch {
	case strings.TrimSpace(text) == "":
		x.Error("jwtvalidation/no-key", "textKey is missing or empty, so no token could be verified", "give the key, or set jwtKeyOrigin: jwks and jwksUrl", "textKey")
		return
	case placeholder.MatchString(text):
		x.Error("jwtvalidation/placeholder", "textKey is the example text of the product's form, not a key", "give the key", "textKey")
		return
	case strings.Contains(text, "-----BEGIN"):
		x.Error("jwtvalidation/pem-armor", "textKey holds the BEGIN line of a PEM text, expected the text between the lines", "leave out the lines with BEGIN and END", "textKey")
		return
	}
	key, problem := x.textKey()
	hint := form
	if problem == "" {
		problem, hint = x.unfit(key), "take another key, or correct signingMethod and signingKeyLength"
	}
	if problem != "" {
		if x.Method == "hmac" {
			hint = "take a longer secret, or a smaller signingKeyLength"
		}
		x.Error("jwtvalidation/bad-key", "textKey "+problem, hint, "textKey")
		return
	}
	if x.Method == "hmac" && strings.TrimSpace(text) != text {
		x.Warn("jwtvalidation/blank", "textKey begins or ends with a blank or a line break, which is part of the secret",
			"remove it; a line break often comes from a block text (|) or from the file that a variable was read from", "textKey")
	}
	if k, ok := key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		x.Warn("jwtvalidation/weak-key", fmt.Sprintf("textKey is an RSA key of %d bits, which can be broken", k.N.BitLen()), "use a key of at least 2048 bits", "textKey")
	}
	b, err := x.pinned(key, "")
	if err != nil {
		x.Error("jwtvalidation/bad-key", "textKey cannot be used as a key", form, "textKey")
		return
	}
	x.key = b
}

// urls are the declared addresses, each once.
func (c *config) urls() []string {
	var out []string
	for u := range strings.SplitSeq(c.URLs, ",") {
		if u = strings.TrimSpace(u); u != "" && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

func (x *checker) checkURLs() {
	urls := x.urls()
	if len(urls) == 0 {
		x.Error("jwtvalidation/no-url", "jwksUrl is empty, so there is no key to verify a token with", "write the address of a JSON Web Key Set", "jwksUrl")
	}
	for _, text := range urls {
		u, err := url.Parse(text)
		what := strconv.Quote(text)
		if strings.Contains(x.URLs, "@") { // a password may have a comma in it
			what = "an address of jwksUrl"
		}
		switch {
		case text == defaultURL && x.At("jwksUrl") == x.At():
			x.Error("jwtvalidation/no-url", "jwksUrl is missing, so there is no key to verify a token with", "add jwksUrl: the address of a JSON Web Key Set", "jwksUrl")
		case text == defaultURL:
			x.Error("jwtvalidation/placeholder", fmt.Sprintf("jwksUrl is %s, the example of the product's form", defaultURL), "write the address of a JSON Web Key Set", "jwksUrl")
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			x.Error("jwtvalidation/bad-url", what+" is not an http:// or https:// address", "write one address, or several with commas between them", "jwksUrl")
		case u.User != nil:
			x.Error("jwtvalidation/bad-url", "an address of jwksUrl holds a user name or a password, which would show in logs", "leave it out", "jwksUrl")
		case urlcheck.Exposed(u):
			x.Warn("jwtvalidation/plain-text", fmt.Sprintf("the keys at %s come without TLS, so whoever stands between can put in theirs and sign tokens", urlcheck.Show(u)), "use https://", "jwksUrl")
		}
	}
	x.Milliseconds("jwtvalidation/short-timeout", x.Timeout, "jwksServiceConnectionTimeout")
}

func (x *checker) checkToken() {
	e, l := expr.Compile(x.Expression.Value, x.Expression.Range, expr.Use{})
	x.List = append(x.List, l...)
	if l.HasErrors() {
		return
	}
	if _, ok := e.Literal(); ok {
		x.Error("jwtvalidation/constant-token", fmt.Sprintf("jwtExpression %s is the same for every request", x.Expression.Value),
			"write an expression that reads the request, for example "+defaultToken, "jwtExpression")
		return
	}
	x.token = e
}

// audiences are the declared ones, blanks around them left out.
func (c *config) audiences() []string {
	var out []string
	for a := range strings.SplitSeq(c.Audiences, ",") {
		if a = strings.TrimSpace(a); a != "" && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func (x *checker) checkAudiences() {
	switch listed := len(x.audiences()) > 0; {
	case x.ValidateAud && !listed:
		x.Error("jwtvalidation/no-audience", "validateAudClaim is true, but supportedAudiences names none, so no token would be accepted",
			"list the audiences with commas between them, or set validateAudClaim: false", "supportedAudiences")
	case !x.ValidateAud && listed:
		x.Warn("jwtvalidation/unused", "supportedAudiences is ignored while validateAudClaim is not true", "set validateAudClaim: true", "supportedAudiences")
	case !x.ValidateAud && x.MandatoryAud:
		x.Warn("jwtvalidation/unused", "mandatoryAudClaim is ignored while validateAudClaim is not true", "set validateAudClaim: true", "mandatoryAudClaim")
	}
}

func (x *checker) checkCustom() {
	for _, list := range []struct {
		field     string
		claims    []claim
		mandatory bool
	}{{"mandatoryCustomClaims", x.Mandatory, true}, {"nonMandatoryCustomClaims", x.Optional, false}} {
		if !x.ValidateCustom {
			if len(list.claims) > 0 {
				x.Warn("jwtvalidation/unused", list.field+" is ignored while validateCustomClaim is not true", "set validateCustomClaim: true", list.field)
			}
			continue
		}
		for i, c := range list.claims {
			x.checkClaim(c, list.mandatory, list.field, strconv.Itoa(i))
		}
	}
}

func (x *checker) checkClaim(c claim, mandatory bool, path ...string) {
	e, l := expr.Compile(c.Value.Value, c.Value.Range, expr.Use{ClaimSet: true})
	x.List = append(x.List, l...)
	if l.HasErrors() {
		return
	}
	text, literal := e.Literal()
	condition := e.Tree()
	if _, truth := condition.(*dataweave.Bool); literal && !truth {
		condition = nil
	} else if literal || len(dataweave.Vars(condition)) == 0 {
		x.Warn("jwtvalidation/constant-claim", fmt.Sprintf("the condition %s for the claim %q is the same for every token", c.Value.Value, c.Key),
			"write a text to compare with, or a condition over vars.claimSet", append(path, "value")...)
	}
	r, l := expr.Of(rule(c.Key, text, condition, mandatory), expr.Use{ClaimSet: true})
	x.List = append(x.List, l...)
	x.rules = append(x.rules, r)
}

func (x *checker) checkHeaders() {
	for i, h := range x.ToHeaders {
		name := strings.ToLower(h.Value)
		switch {
		case !ir.IsHeaderName(h.Value):
			x.Error("jwtvalidation/bad-header", fmt.Sprintf("%q is not a header name", h.Value), "use letters, digits and !#$%&'*+-.^_`|~", "claimsToHeaders", strconv.Itoa(i), "value")
		case slices.Contains([]string{"host", "content-length", "transfer-encoding", "connection", "upgrade", "te"}, name) || strings.HasPrefix(name, expr.InternalPrefix):
			x.Error("jwtvalidation/not-supported-yet", fmt.Sprintf("the header %q is the gateway's own and cannot carry a claim", h.Value), "choose another name", "claimsToHeaders", strconv.Itoa(i), "value")
		}
	}
}
