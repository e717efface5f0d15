package cli_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/cli"
)

// The pieces of a repository as a team may have it: each API inline in YAML, JSON or CUE, or as resources.
const (
	seedYAML = `# The team's own comment.
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: NAME
  labels:
    team: payments
spec:
  address: http://0.0.0.0:8081/NAME
  services:
    backend:
      address: http://NAME.example.org:8080
      routes:
        - rules:
            - path: /items(/.*)
              methods: GET|POST
            - path: /health
  policies:
    - policyRef:
        name: http-basic-authentication-flex
        namespace: default
      config:
        username: alice
        password: $PASSWORD
    - policyRef:
        name: header-injection-flex
        namespace: default
      config:
        inboundHeaders:
          - key: x-path
            value: "#[attributes.requestPath]"
        outboundHeaders: []
    - policyRef:
        name: cors-flex
        namespace: default
      config:
        publicResource: false
        originGroups:
          - name: web
            origins: [https://shop.example]
            allowedMethods:
              - methodName: GET
                isAllowed: true
`
	seedJSON = `{
  "apiVersion": "gateway.mulesoft.com/v1alpha1",
  "kind": "ApiInstance",
  "metadata": {"name": "NAME", "labels": {"team": "payments"}},
  "spec": {
    "address": "http://0.0.0.0:8082/NAME",
    "services": {"backend": {"address": "http://NAME.example.org:8080"}},
    "policies": [
      {"policyRef": {"name": "http-basic-authentication-flex", "namespace": "default"}, "config": {"username": "alice", "password": "$PASSWORD"}}
    ]
  }
}
`
	seedCUE = `package gateway

apiVersion: "gateway.mulesoft.com/v1alpha1"
kind:       "ApiInstance"
metadata: {
	name: "NAME"
	labels: team: "payments"
}
spec: {
	address: "http://0.0.0.0:8083/NAME"
	services: backend: address: "http://NAME.example.org:8080"
	policies: [{
		policyRef: {name: "http-basic-authentication-flex", namespace: "default"}
		config: {username: "alice", password: "$PASSWORD"}
	}]
}
`
	seedResources = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: NAME
  labels:
    team: payments
    tier: gold
spec:
  address: http://0.0.0.0:8084/NAME
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata:
  name: NAME-service
spec:
  address: http://NAME.example.org:8080
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: NAME-route
spec:
  targetRef:
    kind: ApiInstance
    name: NAME
  policyRef:
    name: route
  order: 1
  config:
    destinationRef:
      name: NAME-service
    destinationPath: /v1
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: NAME-auth
spec:
  targetRef:
    kind: ApiInstance
    name: NAME
  policyRef:
    name: http-basic-authentication-flex
  order: 2
  config:
    username: alice
    password: $PASSWORD
`
)

// seed is one mistake: in the i-th file of a kind the first old becomes new, and code is reported on the line of at.
type seed struct {
	file, old, new, at, code string
}

var seeds = []seed{
	{"yaml-001.yaml", "alice\n", "alice: bob\n", "alice: bob", "yaml/syntax"},
	{"yaml-002.yaml", "  name: yaml-002\n", "  name: yaml-002\n  name: other\n", "  name: other", "yaml/duplicate-key"},
	{"yaml-003.yaml", "routes:", "route:", "route:", "shape/unknown-field"},
	{"yaml-004.yaml", "  address: http://0.0.0.0:8081/yaml-004\n", "", "spec:", "shape/missing-field"},
	{"yaml-005.yaml", "methods: GET|POST", "methods: [GET, POST]", "methods:", "shape/wrong-type"},
	{"yaml-006.yaml", "methodName: GET", "methodName: GETS", "methodName:", "shape/not-allowed-value"},
	{"yaml-007.yaml", "com/v1alpha1", "com/v1alpha", "apiVersion", "decode/unknown-version"},
	{"yaml-008.yaml", "kind: ApiInstance", "kind: ApiInstanc", "kind:", "decode/unknown-kind"},
	{"yaml-009.yaml", "name: cors-flex", "name: cors", "name: cors", "link/unknown-policy"},
	{"yaml-010.yaml", "name: cors-flex", "name: client-id-enforcement-flex", "name: client-id", "link/policy-not-available"},
	{"yaml-011.yaml", ":8081/yaml-011", ":8081/yaml-012/sub", ":8081/yaml-012/sub", "link/base-path-clash"},
	{"yaml-013.yaml", ":8081/", ":9998/", ":9998/", "link/reserved-port"},
	{"yaml-014.yaml", "path: /items(/.*)", "path: /(?!private).*", "(?!private)", "link/bad-regex"},
	{"yaml-015.yaml", "name: yaml-015", "name: yaml-016", "", "link/duplicate-object"},
	{"yaml-017.yaml", "example.org:8080", "example.org:8080/v2/items", "/v2/items", "link/bad-address"},
	{"yaml-018.yaml", "attributes.requestPath", "attributes.requestUrl", "requestUrl", "dataweave/unknown-attribute"},
	{"yaml-019.yaml", "[https://shop.example]", "[shop.example]", "origins:", "cors/bad-origin"},
	{"yaml-020.yaml", "            - path: /health\n", "            - path: /items/[0-9]+\n              methods: GET\n", "/items/[0-9]+", "link/unreachable-rule"},
	{"yaml-021.yaml", "$PASSWORD\n", "$PASSWORD\n      rules:\n        - path: /itemz/.*\n", "/itemz/", "lint/idle-policy"},
	{"res-001.yaml", "name: res-001-service\n    dest", "name: res-001-servise\n    dest", "res-001-servise", "link/unknown-service"},
	{"res-002.yaml", "kind: ApiInstance\n    name: res-002\n  policyRef:\n    name: http", "kind: ApiInstance\n    name: res-0002\n  policyRef:\n    name: http", "name: res-0002", "link/unknown-api"},
	{"res-003.yaml", "name: http-basic-authentication-flex", "name: tls-outbound", "name: tls-outbound", "link/wrong-target"},
	{"res-004.yaml", "kind: ApiInstance\n    name: res-004\n  policyRef:\n    name: http", "kind: Selector\n    selector:\n      kind: ApiInstance\n      labels: {tier: golden}\n  policyRef:\n    name: http", "selector:", "link/selector-matches-nothing"},
	{"json-001.json", "\"payments\"}},", "\"payments\"}", "\"spec\"", "json/syntax"},
	{"cue-001/gateway.cue", "kind:       \"ApiInstance\"\n", "kind:       \"ApiInstance\"\nkind: \"Service\"\n", "kind: \"Service\"", "cue/conflict"},
}

// seeded writes the repository: 300 files that are right but for the seeds. It returns where each is to be reported.
func seeded(t *testing.T, dir string) []string {
	t.Helper()
	files := map[string]string{}
	add := func(n int, name, text string) {
		for i := range n {
			id := fmt.Sprintf(name, i)
			short, _, _ := strings.Cut(strings.TrimSuffix(id, filepath.Ext(id)), "/")
			files[id] = strings.ReplaceAll(text, "NAME", short)
		}
	}
	add(220, "yaml-%03d.yaml", seedYAML)
	add(30, "json-%03d.json", seedJSON)
	add(20, "cue-%03d/gateway.cue", seedCUE)
	add(30, "res-%03d.yaml", seedResources)
	var want []string
	for _, s := range seeds {
		text := files[s.file]
		if !strings.Contains(text, s.old) {
			t.Fatalf("%s: %q is not there", s.file, s.old)
		}
		text = strings.Replace(text, s.old, s.new, 1)
		files[s.file] = text
		file := s.file
		switch s.code {
		case "link/base-path-clash":
			file, s.at = "yaml-012.yaml", "0.0.0.0:8081/yaml-012"
			text = files[file]
		case "link/duplicate-object":
			file, s.at = "yaml-016.yaml", "  name: yaml-016"
			text = files[file]
		}
		i := strings.Index(text, s.at)
		if i < 0 {
			t.Fatalf("%s: %q is not there", file, s.at)
		}
		want = append(want, fmt.Sprintf("%s:%d %s", file, 1+strings.Count(text[:i], "\n"), s.code))
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	return want
}

// TestSeededMistakes: in a repository of 300 files with 25 different mistakes one run names all of them at their places, with a
// next step, in every format, and nothing else.
func TestSeededMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := seeded(t, dir)
	run := func(args ...string) (string, int) {
		var out, errs bytes.Buffer
		code := cli.Alone(append([]string{"flexgw", "validate", "--no-config"}, args...), cli.Env{
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(name string) (string, bool) { return "open-sesame", name == "PASSWORD" },
		})
		if errs.Len() > 0 {
			t.Errorf("standard error: %s", errs.String())
		}
		return out.String(), code
	}
	var found struct {
		Diagnostics []struct {
			Code, Hint string
			Subject    struct {
				File       string
				Start, End struct{ Line, Column int }
			}
		}
	}
	text, code := run("--output", "json", dir)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range found.Diagnostics {
		got = append(got, fmt.Sprintf("%s:%d %s", strings.TrimPrefix(d.Subject.File, dir+"/"), d.Subject.Start.Line, d.Code))
		if d.Hint == "" {
			t.Errorf("%s has no next step", got[len(got)-1])
		}
		if d.Subject.End.Line < d.Subject.Start.Line || d.Subject.End.Line == d.Subject.Start.Line && d.Subject.End.Column <= d.Subject.Start.Column {
			t.Errorf("%s underlines nothing", got[len(got)-1])
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("-want +got\n%s", d)
	}
	if code != 1 {
		t.Errorf("ended with %d", code)
	}
	for _, format := range slices.Sorted(maps.Keys(counters)) {
		text, code := run("--output", format, dir)
		if n := counters[format](t, text); n != len(want) || code != 1 {
			t.Errorf("%s has %d results and ended with %d, want %d and 1", format, n, code, len(want))
		}
	}
}

// counters count the results in each format.
var counters = map[string]func(*testing.T, string) int{
	"text": func(_ *testing.T, s string) int {
		return len(regexp.MustCompile(`(?m)^\S+:\d+:\d+: (error|warning): .*\[[a-z]+/[a-z0-9-]+\]$`).FindAllString(s, -1))
	},
	"github": func(_ *testing.T, s string) int {
		return len(regexp.MustCompile(`(?m)^::(error|warning) file=`).FindAllString(s, -1))
	},
	"sarif": func(t *testing.T, s string) int {
		var r struct{ Runs []struct{ Results []any } }
		if err := json.Unmarshal([]byte(s), &r); err != nil {
			t.Fatal(err)
		}
		return len(r.Runs[0].Results)
	},
	"gitlab": func(t *testing.T, s string) int {
		var r []any
		if err := json.Unmarshal([]byte(s), &r); err != nil {
			t.Fatal(err)
		}
		return len(r)
	},
	"junit": func(t *testing.T, s string) int {
		return elements(t, s, "failure") + elements(t, s, "skipped")
	},
	"checkstyle": func(t *testing.T, s string) int { return elements(t, s, "error") },
	"tap": func(_ *testing.T, s string) int {
		return len(regexp.MustCompile(`(?m)^not ok `).FindAllString(s, -1))
	},
}

func elements(t *testing.T, s, name string) int {
	n := 0
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		token, err := d.Token()
		if token == nil {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == name {
			n++
		}
	}
	return n
}
