package expr_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/schema/diag"
)

// TestJudge: what the product takes is no error, whether flexgw can carry it out or not.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		use  expr.Use
		want string // codes with their severities
	}{
		{"plain", expr.Use{}, ""},
		{"#[payload]", expr.Use{}, ""},
		{"#[attributes]", expr.Use{}, ""},
		{"#[attributes.headers -- ['authorization']]", expr.Use{}, ""},
		{"#[vars.reqId ++ authentication.properties.userProperties.mail]", expr.Use{}, ""},
		{"#[dw::core::Binaries::fromBase64('eA==')]", expr.Use{}, "error expr/binary-result"},
		{"#[attributes.statusCode]", expr.Use{}, "error expr/no-response-yet"},
		{"#[attributes.statusCode == 200]", expr.Use{Response: true}, ""},
		{"#[vars.claimSet.x]", expr.Use{}, "error expr/no-claim-set"},
		{"#[vars.claimSet.x]", expr.Use{ClaimSet: true}, ""},
		{"#[now()]", expr.Use{}, "error dataweave/unsupported-function"},
		{"#[attributes.headers['X-Api-Key']]", expr.Use{}, "warning expr/header-case"},
		{"#[attributes.queryParams.Id]", expr.Use{}, ""},
		{"attributes.headers['x']", expr.Use{}, `warning expr/plain-text "#[attributes.headers['x']]"`},
		{"[attributes.method]", expr.Use{}, `warning expr/plain-text "#[attributes.method]"`},
		{"#attributes.method", expr.Use{}, `warning expr/plain-text "#[attributes.method]"`},
		{"[payload.id", expr.Use{}, `warning expr/plain-text "#[payload.id]"`},
		{"a #[attributes.headers['x']]!", expr.Use{}, `warning expr/plain-text "#['a ' ++ (attributes.headers['x']) ++ '!']" if a part of it is meant as one`},
		{"the list #[", expr.Use{}, ""},
		{"payload", expr.Use{}, ""},
		{"vars and more", expr.Use{}, ""},
		{"attributes. And so on", expr.Use{}, ""},
	} {
		tree, l := expr.Judge(tc.text, diag.Range{}, tc.use)
		var got []string
		for _, d := range l {
			text := fmt.Sprintf("%s %s", d.Severity, d.Code)
			if d.Code == "expr/plain-text" {
				text += " " + strings.TrimSuffix(strings.TrimPrefix(d.Hint, "write "), " if it is meant as one")
			}
			got = append(got, text)
		}
		if g := strings.Join(got, ", "); g != tc.want || (tree == nil) != l.HasErrors() {
			t.Errorf("%s: got %s, want %s", tc.text, g, tc.want)
		}
	}
}

// TestCompileSaysWhatIsOdd: the warnings are those of Judge.
func TestCompileSaysWhatIsOdd(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"#[attributes.headers['X-Api-Key']]", "attributes.headers['x']"} {
		_, compiled := expr.Compile(text, diag.Range{}, expr.Use{})
		_, judged := expr.Judge(text, diag.Range{}, expr.Use{})
		if len(compiled) != 1 || len(judged) != 1 || compiled[0].Summary != judged[0].Summary {
			t.Errorf("%s: %v, %v", text, compiled, judged)
		}
	}
}

func TestJudgeCondition(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"true": "", "False": "never", "#[true]": "", "#[false]": "never", "#[attributes.method == 'GET']": "", "#[payload]": "", "#[vars.x]": "",
		"#[attributes.method]": "a text", "#[attributes.statusCode]": "a number", "yes": "a text", "#[attributes.headers.x default false]": "", "#[": "none",
	} {
		c, l := expr.JudgeCondition(text, diag.Range{}, expr.Use{Response: true})
		got := string(c.Not)
		switch {
		case c.Tree == nil:
			got = "none"
		case c.Never:
			got = "never"
		}
		if got != want || (c.Tree == nil) != l.HasErrors() {
			t.Errorf("%s: got %q %v, want %q", text, got, l, want)
		}
	}
}
