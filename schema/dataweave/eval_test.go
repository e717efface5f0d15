package dataweave

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func env() Env {
	return Env{
		UUID: func() string { return "an-id" },
		Roots: map[string]any{
			"attributes": map[string]any{
				"headers":     map[string]any{"x-forwarded-for": "1.2.3.4, 5.6.7.8 ", "authorization": "Basic dXNlcjpwYTpzcw==", "n": "10"},
				"method":      "GET",
				"requestPath": "/a/b",
				"statusCode":  404.0,
				"queryParams": map[string]any{"q": "Ä b"},
			},
			"authentication": map[string]any{"principal": "ann"},
			"vars":           map[string]any{"list": []any{map[string]any{"id": 1.0}, map[string]any{"id": "x"}, "y"}, "o": map[string]any{"a": 1.0, "b": 2.0}},
		},
	}
}

func TestEval(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want any
	}{
		{"a literal", "a literal"},
		{"#[attributes.headers.'my-header' != null]", false},
		{"#[attributes.headers.N != null]", true},
		{"#[trim(splitBy(attributes.headers.'x-forwarded-for', ',')[0])]", "1.2.3.4"},
		{"#[trim(splitBy(attributes.headers.'x-forwarded-for', ',')[-1])]", "5.6.7.8"},
		{"#[splitBy(dw::core::Binaries::fromBase64(dw::core::Strings::substringAfter(attributes.headers.authorization default '', 'Basic ')), ':')[0]]", "user"},
		{"#[splitBy(attributes.headers['Authorization'], ' ')[1]]", "dXNlcjpwYTpzcw=="},
		{"#[splitBy(attributes.headers.scopes default '', ' ') contains 'read']", false},
		{"#[not(attributes.requestPath contains '/some')]", true},
		{"#['User ' ++ authentication.principal ++ ' ' ++ attributes.method]", "User ann GET"},
		{"#[attributes.headers -- ['authorization', 'x-forwarded-for']]", map[string]any{"n": "10"}},
		{"#[vars.o -- 'a']", map[string]any{"b": 2.0}},
		{"#[[200, 404] contains attributes.statusCode]", true},
		{"#['s' ++ attributes.statusCode]", "s404"},
		{"#[[1, 2, 2, 3] -- [2]]", []any{1.0, 3.0}},
		{"#[[1] ++ ['a']]", []any{1.0, "a"}},
		{"#[vars.list['id']]", []any{1.0, "x"}},
		{"#[vars.list[0].id]", 1.0},
		{"#[vars.list[9]]", nil},
		{"#[vars.list[-4]]", nil},
		{"#[vars.none.a.b]", nil},
		{"#[vars.none[0]]", nil},
		{"#['äb'[0]]", "ä"},
		{"#[attributes.headers[lower('N')]]", "10"},
		{"#[attributes.headers['N' default '']]", "10"},
		{"#[vars.none default vars.none default 'x']", "x"},
		{"#[lower(null)]", nil},
		{"#[upper(attributes.queryParams.q)]", "Ä B"},
		{"#[trim('\\t a \\n')]", "a"},
		{"#['1' == 1]", false},
		{"#[1 == 1.0]", true},
		{"#[[1, [null]] == [1, [null]]]", true},
		{"#[attributes.headers.n >= 9]", false}, // strings: '10' before '9'
		{"#[10 >= '9']", true},
		{"#['a' <= 'a']", true},
		{"#[false and vars.none]", false},
		{"#[true or vars.none]", true},
		{"#[if (attributes.method == 'POST') 1 else if (true) 2 else 3]", 2.0},
		{"#[vars.none contains 'x']", false},
		{"#[sizeOf('äb')]", 2.0},
		{"#[sizeOf(vars.o)]", 2.0},
		{"#[uuid()]", "an-id"},
		{"#[splitBy('a,,b', ',')]", []any{"a", "", "b"}},
		{"#[splitBy('', ',')]", []any{""}},
		{"#[splitBy('ab', '')]", []any{"a", "b"}},
		{"#[splitBy(null, ',')]", nil},
		{"#[dw::core::Strings::substringAfter('abcba', 'b')]", "cba"},
		{"#[dw::core::Strings::substringAfter('abc', 'd')]", ""},
		{"#[dw::core::Strings::substringAfter('abc', '')]", "bc"},
		{"#[dw::core::Strings::substringAfterLast('abcba', 'b')]", "a"},
		{"#[dw::core::Strings::substringAfterLast('abc', '')]", nil},
		{"#[dw::core::Strings::substringBefore('abcba', 'b')]", "a"},
		{"#[dw::core::Strings::substringBeforeLast('abcba', 'b')]", "abc"},
		{"#[dw::core::Strings::substringBeforeLast('abc', 'd')]", ""},
		{"#[dw::core::Strings::substringBeforeLast('abc', '')]", "ab"},
		{"#[dw::core::Strings::substringBefore(null, 'x')]", nil},
		{"#[dw::core::Binaries::toBase64('ä')]", "w6Q="},
		{"#[dw::util::Coercions::toString(dw::util::Coercions::toBinary('ä', 'ISO-8859-1'), 'ISO-8859-1')]", "ä"},
	} {
		e, diags := Parse(tc.text, nil)
		if e == nil {
			t.Errorf("%s: %v", tc.text, diags)
			continue
		}
		got, err := Eval(e, env())
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
		} else if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", tc.text, d)
		}
	}
}

func TestEvalFails(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"#['a' ++ vars.none]", "#[1 ++ [2]]", "#[vars.none and true]", "#['true' or false]", "#[not 'x']", "#[if (1) 2 else 3]", "#[attributes.method.x]",
		"#[vars.o[0]]", "#[vars.list[0.5]]", "#[vars.list[true]]", "#[null >= 1]", "#[1 >= 'x']", "#[1 >= '0x10']", "#[1 contains 1]", "#['a' contains null]",
		"#[lower([1])]", "#[splitBy('a', null)]", "#[dw::core::Binaries::fromBase64('a')]", "#[dw::core::Binaries::fromBase64('YQ==')]",
		"#[dw::core::Binaries::fromBase64(null)]", "#['a' -- 'b']", "#[sizeOf(1)]", "#[dw::util::Coercions::toBinary('a', 'EBCDIC')]",
	} {
		e, diags := Parse(text, nil)
		if e == nil {
			t.Errorf("%s: %v", text, diags)
			continue
		}
		if v, err := Eval(e, env()); err == nil {
			t.Errorf("%s gives %v, want an error", text, v)
		}
	}
	e, _ := Parse("#[uuid()]", nil)
	if _, err := Eval(e, Env{}); err == nil {
		t.Error("uuid() without a source gives no error")
	}
}
