// Package nativeawslambda is the "native-aws-lambda" policy: a function of AWS Lambda answers the requests.
//
// It neither finds the function nor checks that it may be called.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-outbound-aws-lambda
package nativeawslambda

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed nativeawslambda.schema.json
var schema []byte

//go:embed nativeawslambda.md
var page []byte

//go:embed nativeawslambda.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "native-aws-lambda",
	Also:     []string{"native-aws-lambda-flex"},
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetUpstream,
	Since:    "1.9.0",
	Defaults: defaults,
	Check:    check,
})

type config struct {
	ARN         string         `flex:"arn"`
	Passthrough bool           `flex:"payloadPassthrough"`
	Invocation  string         `flex:"invocationMode"`
	Auth        string         `flex:"authenticationMode"`
	Profile     string         `flex:"credentialProfile"`
	Credentials policy.AWSKeys `flex:"credentials"`
}

func defaults() config { return config{Invocation: "sync", Auth: "default"} }

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	if what := badARN(c.ARN); what != "" {
		f.Error("nativeawslambda/bad-arn", fmt.Sprintf("arn %q %s", c.ARN, what), "write arn:aws:lambda:<region>:<account>:function:<name>", "arn")
	}
	f.Mode(c.Auth == "profile", "authenticationMode: profile", "authenticationMode", []policy.Field{{Path: "credentialProfile", Given: c.Profile != ""}}, nil,
		"nativeawslambda/missing", "nativeawslambda/unused")
	f.StaticKeys(c.Auth, "credentials", c.Credentials, "nativeawslambda/missing", "nativeawslambda/unused")
	return f.List
}

// The parts of an ARN, as far as they have a form. The last may be a version, an alias or $LATEST.
//
// Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
var (
	account = regexp.MustCompile(`^[0-9]{12}$`)
	word    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`) // counting with {1,140} costs every start of flexgw more than all the rest of this policy
)

// badARN says what is wrong with the ARN of a function.
func badARN(s string) string {
	parts := strings.Split(s, ":")
	switch {
	case parts[0] != "arn":
		return "does not begin with arn:"
	case len(parts) < 7 || len(parts) > 8:
		return fmt.Sprintf("has %d parts, expected 7, or 8 with a version", len(parts))
	case !strings.HasPrefix(parts[1], "aws"):
		return fmt.Sprintf("has the partition %q, expected aws, aws-cn or aws-us-gov", parts[1])
	case parts[2] != "lambda":
		return fmt.Sprintf("is of the service %q, expected lambda", parts[2])
	case parts[3] == "":
		return "has no region"
	case !account.MatchString(parts[4]):
		return fmt.Sprintf("has the account %q, expected 12 digits", parts[4])
	case parts[5] != "function":
		return fmt.Sprintf("names a %q, expected a function", parts[5])
	case len(parts[6]) > 140 || !word.MatchString(parts[6]):
		return fmt.Sprintf("has the function %q, which no function is called", parts[6])
	case len(parts) == 8 && parts[7] != "$LATEST" && (len(parts[7]) > 128 || !word.MatchString(parts[7])):
		return fmt.Sprintf("has the version %q, expected a number, an alias or $LATEST", parts[7])
	}
	return ""
}
