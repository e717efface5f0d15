// Package soapvalidation is the "soap-validation" policy: requests fit a WSDL.
//
// It does not fetch the WSDL: who carries it out does.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-soap-schema-validation
package soapvalidation

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/urlcheck"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed soapvalidation.schema.json
var schema []byte

//go:embed soapvalidation.md
var page []byte

//go:embed soapvalidation.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "soap-validation",
	Also:     []string{"soap-validation-flex"},
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.10.0",
	Guard:    policy.Always[config](ir.Restricts),
	Defaults: func() config { return config{Encoding: "UTF-8"} },
	Check:    check,
})

type config struct {
	URL      string `flex:"wsdlUrl"`
	Encoding string `flex:"encoding"`
	Service  string `flex:"serviceName"`
	Port     string `flex:"servicePort"`
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	u, wrong := urlcheck.Parse(c.URL, urlcheck.Want{Schemes: []string{"https", "http"}})
	switch {
	case strings.HasPrefix(strings.TrimSpace(c.URL), "<") && !strings.Contains(c.URL, "<http"):
		f.Error("soapvalidation/bad-url", "wsdlUrl is the WSDL itself, expected its address", "put the WSDL where the gateway can read it, and write the address", "wsdlUrl")
	case u == nil:
		f.Error("soapvalidation/bad-url", "wsdlUrl "+wrong.What, wrong.Hint, "wsdlUrl")
	case urlcheck.Exposed(u):
		f.Note("soapvalidation/plain-text", fmt.Sprintf("wsdlUrl is %s: whoever is on the way can change what requests must fit", urlcheck.Show(u)), "use https://", "wsdlUrl")
	}
	if !slices.ContainsFunc(encodings, func(e string) bool { return strings.EqualFold(e, c.Encoding) }) && c.Encoding != "" {
		f.Warn("soapvalidation/odd-encoding", fmt.Sprintf("encoding %q is not one that WSDLs are usually written in", c.Encoding), "write UTF-8, if that is what it is in", "encoding")
	}
	for _, x := range []struct{ field, value string }{{"serviceName", c.Service}, {"servicePort", c.Port}} {
		switch {
		case number.MatchString(x.value):
			f.Warn("soapvalidation/number", fmt.Sprintf("%s is %s, expected a name of the WSDL", x.field, x.value), "write the name attribute of wsdl:service, or of wsdl:port in it", x.field)
		case !ncName.MatchString(x.value):
			f.Warn("soapvalidation/bad-name", fmt.Sprintf("%s is %q, which no element of a WSDL is called", x.field, x.value), "write the name attribute of wsdl:service, or of wsdl:port in it, without a prefix", x.field)
		}
	}
	return f.List
}

// encodings are the usual character encodings of XML.
var encodings = []string{"UTF-8", "UTF8", "UTF-16", "UTF-16BE", "UTF-16LE", "ISO-8859-1", "ISO-8859-15", "US-ASCII", "ASCII", "windows-1252", "Shift_JIS", "EUC-JP"}

// ncName is the form of names in a WSDL, as far as ASCII goes (https://www.w3.org/TR/xml-names/#NT-NCName).
var (
	ncName = regexp.MustCompile(`^[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f][^\x00-\x2c\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]*$`)
	number = regexp.MustCompile(`^[0-9]+$`)
)
