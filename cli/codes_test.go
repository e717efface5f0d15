package cli

import (
	"regexp"
	"slices"
	"testing"

	"github.com/flexgw/flexgw/render/policy/all"
)

// TestCodesOn: codes are found without the expression that says what they are.
func TestCodesOn(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile("(?m)^\\| `([a-z0-9]+/[a-z0-9-]+)` \\|")
	pages := [][]byte{[]byte("| `a/b-c` |\n| `A/b` |\n| `a-b` | `c/d` |\n x | `e/f` |\n| `g/h`|\n| `i/j` | k | `l/m` |")}
	for _, p := range (all.Catalog{}).All() {
		pages = append(pages, p.Page())
	}
	found := 0
	for _, page := range pages {
		var want []string
		for _, m := range code.FindAllSubmatch(page, -1) {
			want = append(want, string(m[1]))
		}
		if got := codesOn(page); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		found += len(want)
	}
	if found < 10 {
		t.Errorf("%d codes on all pages", found)
	}
}
