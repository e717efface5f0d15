package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// TestSecretsAreNotShown writes one secret into every place that is made for one, rightly and wrongly, and looks for it in
// everything that Load says.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	const probe = "apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata: {name: p}\nspec: {targetRef: {name: a}, http: {headers: %s, body: %s, expect: %s}}\n"
	const secret = "4815162342"
	api := "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: a}\nspec:\n  address: http://0.0.0.0:8081\n  services: {s: {address: http://s:80}}\n  policies: [{policyRef: {name: %s}, config: %s}]\n"
	config := "apiVersion: gateway.mulesoft.com/v1beta1\nkind: Configuration\nmetadata: {name: c}\nspec: %s\n"
	for _, text := range []string{
		fmt.Sprintf(api, "http-basic-authentication-flex", "{username: a, password: "+secret+"}"),
		fmt.Sprintf(api, "http-basic-authentication-flex", "{username: a, password: ["+secret+"]}"),
		fmt.Sprintf(api, "http-basic-authentication-flex", "{username: a, password: $SECRET, x: $SECRET}"),
		fmt.Sprintf(api, "ip-allowlist-flex", "{ips: [$WORD]}"),
		fmt.Sprintf(api, "rate-limiting-flex", "{rateLimits: [{maximumRequests: $WORD, timePeriodInMilliseconds: 1}]}"),
		fmt.Sprintf(api, "message-logging-flex", "{level: $WORD}"),
		fmt.Sprintf(api, "tls", "{certificate: {key: "+secret+"}}"),
		fmt.Sprintf(config, "{sharedStorage: {redis: {address: x, password: "+secret+", sentinel: {password: "+secret+"}}}}"),
		fmt.Sprintf(config, "{forwardProxy: {https: {address: http://u:"+secret+"@p:1, basicAuth: {username: a, password: "+secret+"}}}}"),
		fmt.Sprintf(config, "{logging: {outputs: [{name: a, type: http, parameters: {http_passwd: "+secret+"}}]}}"),
		fmt.Sprintf(config, "{platformConnection: {key: "+secret+"}, x: 1}"),
		"apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Secret\nmetadata: {name: s}\nspec: {tls: {key: " + secret + "}}\n",
		"apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Contract\nmetadata: {name: s}\nspec: {apiId: a, client: {id: x, secret: " + secret + "}}\n",
		fmt.Sprintf(probe, "{X-Api-Key: "+secret+"}", "x", "{}"),
		fmt.Sprintf(probe, "{X-Api-Key: ["+secret+"]}", "{password: "+secret+"}", "3"),
		fmt.Sprintf(probe, "{x-api-key: \"4815162342\\n\", authorization: Bearer "+secret+"}", "$SECRET", "{}"),
		fmt.Sprintf(probe, "{x-a: $SECRET, x-b: $WORD, X-B: $SECRET}", "\"client_secret="+secret+"\"", "{status: [$SECRET]}"),
		"apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata: {name: p}\nspec: {targetRef: {name: a}, http: {}, grpc: {serviceName: x, headers: {authorization: Bearer " + secret + ", grpc-x: $SECRET, X-Api-Key: [" + secret + "]}}}\n",
		"apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata: {name: p}\nspec: {targetRef: {name: a}, tls: {certificate: {crt: x, key: " + secret + "}}}\n",
		"apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata: {name: p}\nspec: {targetRef: {name: a}, tls: {certificate: {crt: $SECRET, key: [" + secret + "]}}}\n",
		"apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Service\nmetadata: {name: s}\nspec: {address: http://u:" + secret + "@h:1}\n",
	} {
		_, ds := schema.Load(source.NewSet([]source.File{source.NewFile("a.yaml", []byte(text))}), schema.Options{Policies: newCatalog(),
			Getenv: func(name string) (string, bool) {
				return map[string]string{"SECRET": secret, "WORD": "w" + secret}[name], name == "SECRET" || name == "WORD"
			}})
		said, err := json.Marshal(ds)
		if err != nil {
			t.Fatal(err)
		}
		var printed strings.Builder
		p := diag.Printer{Notes: true, Sources: func(string) ([]byte, error) { return []byte(text), nil }}
		if err := p.Print(&printed, ds); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(printed.String(), secret) {
			t.Errorf("printed:\n%s\nof:\n%s", printed.String(), text)
		}
		if strings.Contains(string(said), secret) {
			t.Errorf("shown: %s\nof:\n%s", said, text)
		}
	}
}

// TestBrokenFilesShowNoSecrets does so with files that cannot be read.
func TestBrokenFilesShowNoSecrets(t *testing.T) {
	t.Parallel()
	const secret = "4815162342"
	for _, f := range []struct{ name, text string }{
		{"a.yaml", "a: {username: b, password: \"x\" " + secret + "}\n"},
		{"a.yaml", "password: \"x\" " + secret + "\n"},
		{"a.yaml", "password: *" + secret + "\n"},
		{"a.yaml", "password: !" + secret + " x\n"},
		{"a.yaml", "a:\n  password: |\n" + secret + "\n  b: c\n"},
		{"a.yaml", "a:\n  - password: x\n    " + secret + "\n   b: c\n"},
		{"a.yaml", "a: b\n PASSWORD=" + secret + "\n"},
		{"a.yaml", "a:\n  key: |\n-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n"},
		{"a.yaml", "password: '" + secret + "\n"},
		{"a.yaml", "password: [" + secret + "\n"},
		{"a.yaml", "password: a: " + secret + "\n"},
		{"a.json", `{"password": x` + secret + `}`},
		{"a.json", `{"password": 1e` + secret + `}`},
		{"a.json", `{"password": "` + secret + `}`},
		{"a.json", `{"password": "x" "` + secret + `"}`},
		{"a.cue", "password: \"x\"\npassword: \"" + secret + "\"\n"},
		{"a.cue", "a: #A & {password: " + secret + "}\n#A: password: string\n"},
		{"a.cue", "password: =~\"^x\"\npassword: \"" + secret + "\"\n"},
		{"a.cue", "password: \"" + secret + "\n"},
		{"a.cue", "password: \"x\" \"" + secret + "\"\n"},
		{"a.cue", "password: \"x\" + " + secret + "\n"},
		{"a.cue", "password: s" + secret + "\n"},
	} {
		_, ds := schema.Load(source.NewSet([]source.File{source.NewFile(f.name, []byte(f.text))}), schema.Options{Policies: newCatalog()})
		var printed strings.Builder
		p := diag.Printer{Notes: true, Sources: func(string) ([]byte, error) { return []byte(f.text), nil }}
		if err := p.Print(&printed, ds); err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 || strings.Contains(printed.String(), secret) {
			t.Errorf("printed:\n%s\nof:\n%s", printed.String(), f.text)
		}
	}
}

// TestVariableOfOtherBytes: Envoy takes no text that is not UTF-8, and an environment may hold anything.
func TestVariableOfOtherBytes(t *testing.T) {
	t.Parallel()
	text := `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: shop}
spec:
  address: http://0.0.0.0:8081/shop
  services: {main: {address: http://main.internal:8080}}
  policies:
    - policyRef: {name: http-basic-authentication-flex}
      config: {username: ann, password: $PASS}
`
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte(text))})
	g, ds := schema.Load(set, schema.Options{Policies: newCatalog(), Getenv: func(name string) (string, bool) { return "p\xff", name == "PASS" }})
	if want := `a.yaml:9:41: error: environment variable PASS is not UTF-8 text [link/unset-variable]`; g != nil || len(ds) != 1 || ds[0].String() != want {
		t.Errorf("got %v, want %s", ds, want)
	}
}
