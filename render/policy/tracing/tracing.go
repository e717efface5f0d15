// Package tracing is the "tracing-flex" policy: which requests of an API are traced, and what their spans say.
//
// Where spans go is set in a Configuration.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-tracing
package tracing

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed tracing.schema.json
var schema []byte

//go:embed tracing.md
var page []byte

//go:embed tracing.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "tracing-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Since:    "1.10.0",
	Defaults: defaults,
	Check:    check,
})

type config struct {
	Sampling sampling `flex:"sampling"`
	SpanName string   `flex:"spanName"`
	Labels   []label  `flex:"labels"`
}

// sampling is in percent.
type sampling struct {
	Client  float64 `flex:"client"`
	Random  float64 `flex:"random"`
	Overall float64 `flex:"overall"`
}

type label struct {
	Name    string  `flex:"name"`
	Type    string  `flex:"type"`
	Key     *string `flex:"keyName"`
	Default *string `flex:"defaultValue"`
}

func defaults() config { return config{Sampling: sampling{100, 100, 100}} }

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	s := c.Sampling
	for _, x := range []struct {
		field string
		value float64
	}{{"client", s.Client}, {"random", s.Random}, {"overall", s.Overall}} {
		if x.value > 0 && x.value < 1 {
			f.Warn("tracing/fraction", fmt.Sprintf("%s is %g percent", x.field, x.value), fmt.Sprintf("it is in percent: write %g if one in %g was meant", x.value*100, 1/x.value), "sampling", x.field)
		}
	}
	if s.Overall == 0 && (s.Client > 0 || s.Random > 0) {
		f.Warn("tracing/none", "overall is 0, so nothing is traced, whatever client and random say", "raise it; it is the ceiling of the other two", "sampling", "overall")
	}
	seen := map[string]bool{}
	for i, l := range c.Labels {
		l.check(&f, strconv.Itoa(i))
		if seen[l.Name] {
			f.Warn("tracing/label-twice", fmt.Sprintf("there is another label %q before this one", l.Name), "remove one of them", "labels", strconv.Itoa(i), "name")
		}
		seen[l.Name] = true
	}
	return f.List
}

func (l label) check(f *policy.Findings, index string) {
	key := l.Key != nil && *l.Key != ""
	switch {
	case l.Type == "literal" && !key && l.Default == nil:
		f.Error("tracing/no-value", fmt.Sprintf("the literal label %q has no value", l.Name), "write it as defaultValue", "labels", index)
	case l.Type != "literal" && !key:
		f.Error("tracing/no-key", fmt.Sprintf("the label %q does not say which %s it is", l.Name, map[string]string{"environment": "variable", "requestHeader": "header"}[l.Type]), "write keyName", "labels", index)
	case l.Type == "requestHeader" && !strings.HasPrefix(*l.Key, ":") && !ir.IsHeaderName(*l.Key):
		f.Warn("tracing/bad-header", fmt.Sprintf("%q is not the name of a header", *l.Key), "use letters, digits and !#$%&'*+-.^_`|~, or a pseudo header such as :method", "labels", index, "keyName")
	case l.Type == "environment" && strings.HasPrefix(*l.Key, "$"):
		f.Warn("tracing/dollar", fmt.Sprintf("the variable is called %q with the dollar sign", *l.Key), "write the name alone", "labels", index, "keyName")
	}
}
