// Package injectionprotection is the "injection-protection-flex" policy: requests that look like an attack are refused.
//
// It does not know what an upstream would do with them.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-injection-protection
package injectionprotection

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/regex"
)

//go:embed injectionprotection.schema.json
var schema []byte

//go:embed injectionprotection.md
var page []byte

//go:embed injectionprotection.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "injection-protection-flex",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.12.0",
	Guard:   policy.When(ir.Restricts, func(c *config) bool { return c.Reject && (c.Path || c.Headers || c.Body) }),
	Check:   check,
})

type config struct {
	BuiltIn []string     `flex:"builtInProtections"`
	Custom  []protection `flex:"customProtections"`
	Path    bool         `flex:"protectPathAndQuery"`
	Headers bool         `flex:"protectHeaders"`
	Names   string       `flex:"headersToProtect"` // commas between them; empty: all
	Body    bool         `flex:"protectBody"`
	Reject  bool         `flex:"rejectRequests"`
}

type protection struct {
	Name  string `flex:"name"`
	Regex string `flex:"regex"`
}

type checker struct {
	*config
	policy.Findings
}

func check(c *config, at policy.Locator) diag.List {
	x := &checker{config: c, Findings: policy.Findings{At: at}}
	if len(c.BuiltIn) == 0 && len(c.Custom) == 0 {
		x.Error("injectionprotection/no-protection", "neither builtInProtections nor customProtections holds a protection, expected at least one", "write builtInProtections: [sql, xss]", "builtInProtections")
	}
	if !c.Path && !c.Headers && !c.Body {
		x.Warn("injectionprotection/nothing-protected", "protectPathAndQuery, protectHeaders and protectBody are all false, so nothing is looked at", "set one of them to true, or remove the policy", "protectPathAndQuery")
	}
	x.checkNames()
	for i, p := range c.Custom {
		x.checkCustom(p, i)
	}
	return x.List
}

func (x *checker) checkNames() {
	const field = "headersToProtect"
	if strings.TrimSpace(x.Names) == "" {
		return
	}
	if !x.Headers {
		x.Warn("injectionprotection/unused", "headersToProtect is ignored while protectHeaders is false", "set protectHeaders: true, or remove it", field)
	}
	for name := range strings.SplitSeq(x.Names, ",") {
		if name = strings.TrimSpace(name); !ir.IsHeaderName(name) {
			hint := "use letters, digits and !#$%&'*+-.^_`|~"
			if strings.ContainsAny(name, " ;") {
				hint = "write commas between names"
			}
			x.Warn("injectionprotection/bad-name", fmt.Sprintf("headersToProtect holds %q, which is not the name of a header", name), hint, field)
		}
	}
}

func (x *checker) checkCustom(p protection, i int) {
	at := func(field string) []string { return []string{"customProtections", strconv.Itoa(i), field} }
	for j, q := range x.Custom[:i] {
		if p.Name == q.Name {
			x.Warn("injectionprotection/repeated-name", fmt.Sprintf("protections %d and %d are both called %q, so the log cannot tell them apart", j+1, i+1, p.Name), "give them different names", at("name")...)
			break
		}
	}
	re, err := regex.Parse(p.Regex)
	if err != nil {
		x.badRegex(p.Regex, err, at("regex"))
		return
	}
	if matchesEmpty(re) {
		x.Warn("injectionprotection/matches-everything", fmt.Sprintf("the expression %q matches the empty text, so it finds an attack in every request", p.Regex), "write what an attack must hold; leave out .* and what is optional", at("regex")...)
	}
}

// badRegex is an error where no engine reads the expression. Which one the product has is not published: it may read what
// RE2 does not know.
func (x *checker) badRegex(text string, err error, path []string) {
	var e *syntax.Error
	if !errors.As(err, &e) {
		e = &syntax.Error{Code: syntax.ErrInternalError}
	}
	broken := []syntax.ErrorCode{syntax.ErrMissingParen, syntax.ErrUnexpectedParen, syntax.ErrMissingBracket, syntax.ErrMissingRepeatArgument, syntax.ErrTrailingBackslash}
	switch {
	case lookAround.MatchString(text):
		x.Warn("injectionprotection/foreign-regex", fmt.Sprintf("%q looks around, which RE2 cannot do", text), "say what an attack holds, in several protections if need be", path...)
	case slices.Contains(broken, e.Code):
		x.Error("injectionprotection/bad-regex", fmt.Sprintf("%q is not a regular expression: %s: %s", text, e.Code, e.Expr), `write \ before a sign that is meant itself`, path...)
	default:
		x.Warn("injectionprotection/foreign-regex", fmt.Sprintf("%q is not a regular expression of RE2: %s: %s", text, e.Code, e.Expr), "write it in RE2's syntax, which every engine reads", path...)
	}
}

var lookAround = regexp.MustCompile(`\(\?<?[=!]`)

// matchesEmpty reports whether re matches a text without characters.
func matchesEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpCapture, syntax.OpPlus:
		return matchesEmpty(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || matchesEmpty(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !matchesEmpty(sub) {
				return false
			}
		}
		return true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if matchesEmpty(sub) {
				return true
			}
		}
	}
	return false
}
