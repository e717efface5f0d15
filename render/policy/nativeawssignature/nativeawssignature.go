// Package nativeawssignature is the "native-aws-signature" policy: requests to an upstream are signed for AWS.
//
// It does not check that the credentials may do what is asked.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-aws-signature
package nativeawssignature

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/regex"
)

//go:embed nativeawssignature.schema.json
var schema []byte

//go:embed nativeawssignature.md
var page []byte

//go:embed nativeawssignature.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "native-aws-signature",
	Also:     []string{"native-aws-signature-flex"},
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetUpstream,
	Since:    "1.11.0",
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Service   string         `flex:"serviceName"`
	Region    string         `flex:"region"`
	Unsigned  bool           `flex:"useUnsignedPayload"`
	Excluded  []matcher      `flex:"matchExcludedHeaders"`
	Algorithm string         `flex:"signingAlgorithm"`
	Auth      string         `flex:"authenticationMode"`
	File      file           `flex:"credentialsFileProvider"`
	Inline    policy.AWSKeys `flex:"inlineCredentialProvider"`
}

// matcher is one of Envoy's string matchers.
type matcher struct {
	Exact    string `flex:"exact"`
	Prefix   string `flex:"prefix"`
	Suffix   string `flex:"suffix"`
	Contains string `flex:"contains"`
	Regex    struct {
		Text string `flex:"regex"`
	} `flex:"safeRegex"`
	IgnoreCase bool `flex:"ignoreCase"`
}

type file struct {
	Source struct {
		Name string `flex:"filename"`
	} `flex:"credentialsDataSource"`
	Profile string `flex:"profile"`
}

func defaults() config { return config{Algorithm: "AWS_SIGV4", Auth: "default"} }

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	if c.Algorithm == "AWS_SIGV4" && strings.ContainsAny(c.Region, "*,") {
		f.Error("nativeawssignature/several-regions", fmt.Sprintf("region is %q, and AWS_SIGV4 signs for one region", c.Region), "write one region, or signingAlgorithm: AWS_SIGV4A", "region")
	}
	for i, m := range c.Excluded {
		m.check(&f, strconv.Itoa(i))
	}
	f.Mode(c.Auth == "profile", "authenticationMode: profile", "authenticationMode", nil,
		[]policy.Field{{Path: "credentialsFileProvider.credentialsDataSource.filename", Given: c.File.Source.Name != ""}, {Path: "credentialsFileProvider.profile", Given: c.File.Profile != ""}},
		"nativeawssignature/missing", "nativeawssignature/unused")
	if c.Auth == "profile" && c.File.Source.Name == "" && c.File.Profile == "" {
		f.Warn("nativeawssignature/default-profile", "authenticationMode is profile, but credentialsFileProvider names neither a file nor a profile", "name them, or write authenticationMode: default", "authenticationMode")
	}
	f.StaticKeys(c.Auth, "inlineCredentialProvider", c.Inline, "nativeawssignature/missing", "nativeawssignature/unused")
	return f.List
}

// check wants one way to match (Envoy's type.matcher.v3.StringMatcher.match_pattern).
func (m matcher) check(f *policy.Findings, index string) {
	ways := 0
	for _, s := range []string{m.Exact, m.Prefix, m.Suffix, m.Contains, m.Regex.Text} {
		if s != "" {
			ways++
		}
	}
	if ways != 1 {
		f.Error("nativeawssignature/matcher", fmt.Sprintf("this entry has %d ways to match a header, expected one", ways), "write one of exact, prefix, suffix, contains and safeRegex", "matchExcludedHeaders", index)
	}
	if _, err := regex.Parse(m.Regex.Text); err != nil {
		f.Error("nativeawssignature/bad-regex", fmt.Sprintf("%q is not an expression of RE2", m.Regex.Text), "write it in RE2's syntax: https://github.com/google/re2/wiki/Syntax", "matchExcludedHeaders", index, "safeRegex", "regex")
	}
}
