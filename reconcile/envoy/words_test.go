package envoy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/envoy"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"plain", "missing ): /a(b", "missing ): /a(b"},
		{"constraint", "goo.gle/debugonly \nname: \"x\" key: \"-----BEGIN KEY-----\\nAA\\n-----END KEY-----\"\n: Proto constraint validation failed (A.B: c)", "Proto constraint validation failed (A.B: c)"},
		{"constraint inside the dump", "a: Proto constraint validation failed (x: \"password\")\n: Proto constraint validation failed (A.B: c)", "Proto constraint validation failed (A.B: c)"},
		{"constraint in a log", "goo.gle/debugonly key: \"secret\" : Proto constraint validation failed (A.B: value is required)", "Proto constraint validation failed (A.B: value is required)"},
		{"other dump", "non-ALPN transport socket: goo.gle/debugproto key: \"secret\"", "non-ALPN transport socket"},
		{"nothing but a dump", "goo.gle/debugproto key: \"secret\"", "refused; Envoy's text was a dump of the resource and is not kept"},
		{"parse error", "error `Unable to parse JSON (near 3): bad): {\"key\":\"secret\"}", "error `Unable to parse JSON (near 3)"},
		{"pem", "bad -----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY----- here", "bad [redacted] here"},
		{"open pem", "bad -----BEGIN PRIVATE KEY-----\nAA", "bad [redacted]"},
		{"empty", "", "refused without a reason"},
		{"long", strings.Repeat("é", 2048), strings.Repeat("é", 1024) + "…"},
	} {
		if diff := cmp.Diff(c.want, envoy.Clean(c.text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
