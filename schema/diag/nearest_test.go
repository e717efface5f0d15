package diag_test

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"orders", "username", "cors-flex", "maxAge"}
	for _, c := range []struct{ word, want string }{
		{"ordrs", "orders"}, {"orderz", "orders"}, {"user", "username"}, {"o", ""}, {"odrers", "orders"}, {"ORDERS", "orders"}, {"userName", "username"}, {"cors", "cors-flex"}, {"maxage", "maxAge"},
		{"payments", ""}, {"", ""}, {strings.Repeat("x", 500), ""},
	} {
		if got := diag.Nearest(c.word, known); got != c.want {
			t.Errorf("Nearest(%q): got %q, want %q", c.word, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1}, {"abc", "acb", 1}, {"abc", "xyz", 3}, {"Ä", "ä", 1},
	} {
		if got := diag.Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q): got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
