package regex_test

import (
	"regexp"
	"testing"

	"github.com/flexgw/flexgw/schema/regex"
)

// What RE2 takes (asked of it) and Go's parser does not is an expression; what neither takes is none.
func TestParseIsRE2(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct{ takes, not string }{
		`/b\C.*`:                   {"/bx", "/b"},
		`\C{2}`:                    {"\nx", "x"},
		`\Q\C\E`:                   {`\C`, "x"},
		`(?P<é>a)`:                 {"a", "b"},
		`(?<größe_1>a)`:            {"a", "b"},
		`\p{Old_Italic}`:           {"\U00010300", "a"},
		`\P{Old_Italic}`:           {"a", "\U00010300"},
		`\p{^Old_Italic}`:          {"a", "\U00010300"},
		`[a\p{Linear_B}]`:          {"\U00010000", "b"},
		`[^\p{Linear_B}]`:          {"b", "\U00010000"},
		`[]\p{Linear_B}]\C`:        {"]x", "x]"},
		`[[:alpha:]]\p{Ol_Chiki}`:  {"a\u1c50", "1\u1c50"},
		`(?i)\p{Zanabazar_Square}`: {"\U00011a00", "a"},
	} {
		re, err := regex.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		whole := regexp.MustCompile("^(?:" + re.String() + ")$")
		if !whole.MatchString(c.takes) || whole.MatchString(c.not) {
			t.Errorf("%s is read as %s", text, re)
		}
	}
	for _, text := range []string{`[\C]`, `\Z`, `(?#c)a`, `[[:foo:]]`, `(?P<a-b>x)`, `a**`, `\p{Old_Nothing}`, `(\C`, `(?P<é>a`, `\K`, `a{1001}\C`} {
		if re, err := regex.Parse(text); err == nil {
			t.Errorf("%s is read as %s", text, re)
		}
	}
}
