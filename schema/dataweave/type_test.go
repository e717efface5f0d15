package dataweave

import "testing"

func TestTypeOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Type{
		"x": TypeText, "#[null]": TypeNull, "#[true]": TypeBool, "#[1]": TypeNumber, "#[[1]]": TypeList, "#[not true]": TypeBool,
		"#[attributes.method == 'GET' or true]": TypeBool, "#[[200] contains attributes.statusCode]": TypeBool,
		"#[attributes.statusCode]": TypeNumber, "#[attributes.headers]": TypeObject, "#[attributes]": TypeObject, "#[attributes.headers.x]": TypeText,
		"#[attributes.queryParams.x]": TypeText, "#[attributes.method]": TypeText, "#['a' ++ attributes.method]": TypeText, "#[[1] ++ [2]]": TypeList,
		"#[payload ++ 'a']": TypeUnknown, "#[payload]": TypeUnknown, "#[vars.x]": TypeUnknown, "#[payload.x[0]]": TypeUnknown, "#[attributes.headers -- ['a']]": TypeUnknown,
		"#[if (true) 1 else 2]": TypeNumber, "#[if (true) 1 else 'x']": TypeUnknown, "#[attributes.headers.x default '']": TypeText, "#[null default 1]": TypeNumber,
		"#[lower('X')]": TypeText, "#[splitBy('a', 'b')]": TypeList, "#[sizeOf('a')]": TypeNumber, "#[uuid()]": TypeText,
		"#[dw::core::Binaries::fromBase64('a')]": TypeBinary, "#[splitBy('a', 'b')[0]]": TypeUnknown, "#['a'.x]": TypeUnknown,
	} {
		e, diags := Parse(text, nil)
		if got := TypeOf(e); got != want || diags.HasErrors() {
			t.Errorf("%s: %q, want %q %v", text, got, want, diags)
		}
	}
}
