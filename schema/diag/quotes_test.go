package diag_test

import (
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
)

func TestQuotes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		words string
		order []string // best first; the last is not quoted at all
	}{
		{"missing ): /a(b", []string{"/a(b", "/x/a(b)", "missing", "/a"}},
		{"Not supported field in StreamInfo: NOSUCH", []string{"%NOSUCH(x)%", "StreamInfo", "%OTHER%"}},
		{"Failed to initialize A:LONG-BUT-KNOWN:BAD. Rejected: BAD", []string{"BAD", "LONG-BUT-KNOWN", "GOOD"}},
		{`unknown cluster: 'orders'`, []string{"orders", "unknown", "or"}},
		{"no", []string{""}},
		{"", []string{"anything"}},
	} {
		for i, value := range c.order {
			n := diag.Quotes(c.words, value)
			if last := i == len(c.order)-1; last != (n == 0) {
				t.Errorf("%q: %q is %d", c.words, value, n)
			}
			if i > 0 && n >= diag.Quotes(c.words, c.order[i-1]) {
				t.Errorf("%q: %q is as likely as %q", c.words, value, c.order[i-1])
			}
		}
	}
}
