package schema_test

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
)

// A $NAME in a Configuration is replaced by nobody, and what may be a secret is not shown.
func TestNoVariableInAConfiguration(t *testing.T) {
	t.Parallel()
	const config = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: Configuration
metadata: {name: proxy}
spec:
  forwardProxy:
    https:
      address: http://proxy.example.org:3128
      basicAuth:
        username: $PROXY_USER
        password: `
	for password, want := range map[string]string{
		"$PROXY_PASSWORD": `g.yaml:9:19: warning: "username" is "$PROXY_USER", which is no variable here but the text that it is [link/not-a-variable]` + "\n" +
			`g.yaml:10:19: warning: "password" is a dollar sign and a name, which is no variable here but the text that it is [link/not-a-variable]`,
		"$ecret9": `g.yaml:9:19: warning: "username" is "$PROXY_USER", which is no variable here but the text that it is [link/not-a-variable]`,
	} {
		_, list := schema.Load(filesOf("g.yaml", config+password+"\n"), schema.Options{})
		var got []string
		for _, d := range list {
			if d.Code == "link/not-a-variable" {
				got = append(got, d.String())
				if d.Severity != diag.Warning || !strings.HasPrefix(d.Path, "/spec/forwardProxy/https/basicAuth/") || strings.Contains(d.Hint, password) {
					t.Errorf("got %+v", d)
				}
			}
		}
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
	}
}
