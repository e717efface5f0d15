package require_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/require"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// stub is a small policy. The command's own tests run rules with the real ones.
type stub struct {
	name    string
	schema  string
	targets ir.Target
	place   ir.Place
	guard   ir.Guard
}

func (s stub) Name() string                             { return s.name }
func (s stub) ConfigSchema() []byte                     { return []byte(s.schema) }
func (s stub) Targets() ir.Target                       { return s.targets }
func (s stub) Place() ir.Place                          { return s.place }
func (s stub) Guard(any) ir.Guard                       { return s.guard }
func (stub) Shares(any) bool                            { return false }
func (s stub) Validity(any, *syntax.Node) []ir.Validity { return nil }
func (s stub) Since() string                            { return "1.0.0" }
func (s stub) Enforced() bool                           { return true }
func (s stub) Decode(n *syntax.Node) (any, diag.List)   { return n.Value(), nil }

type catalog struct{}

var stubs = []stub{
	{"cors-flex", `{"type": "object", "properties": {"publicResource": {"type": "boolean"}}, "additionalProperties": false}`, ir.TargetAPI, ir.First, ir.GuardNone},
	{"http-basic-authentication-flex", `{"type": "object", "properties": {"username": {"type": "string"}, "password": {"type": "string", "writeOnly": true}}, "required": ["username", "password"], "additionalProperties": false}`, ir.TargetAPI, ir.Ordered, ir.Authenticates},
	{"idle-timeout-flex", `{"type": "object", "properties": {"timeout": {"type": "number"}}, "additionalProperties": false}`, ir.TargetUpstream, ir.Ordered, ir.GuardNone},
	{"rate-limiting-flex", `{"type": "object", "properties": {"rateLimits": {"type": "array", "items": {"type": "object", "properties": {"maximumRequests": {"type": "integer", "minimum": 1}, "timePeriodInMilliseconds": {"type": "integer"}}, "required": ["maximumRequests"], "additionalProperties": false}}}, "required": ["rateLimits"], "additionalProperties": false}`, ir.TargetAPI, ir.Ordered, ir.Restricts},
	{"tls", `{"type": "object", "properties": {"certificate": {"type": "object", "properties": {"key": {"type": "string", "writeOnly": true}, "crt": {"type": "string"}}, "additionalProperties": false}, "minversion": {"type": "string"}}, "additionalProperties": false}`, ir.TargetAPI, ir.Outside, ir.GuardNone},
}

func (catalog) Lookup(name string) (schema.PolicyType, bool) {
	i := slices.IndexFunc(stubs, func(s stub) bool { return s.name == name })
	if i < 0 {
		return nil, false
	}
	return stubs[i], true
}
func (catalog) Names() []string                                          { return nil }
func (catalog) Known(string) (string, bool)                              { return "", false }
func (catalog) Custom(*schema.Definition) (schema.PolicyType, diag.List) { return nil, nil }

func reserved(area string) bool { return area == "link" || area == "project" }

// judged is what rules say of declarations, and what they say when they see whole objects. Files below rules/ are rules, those below beside/ may be imported.
func judged(files []testkit.File, limit time.Duration, partial bool) (wrong, ds, uncut diag.List) {
	var own, beside, rest []source.File
	for _, f := range files {
		file := source.NewFile(f.Name, f.Data)
		switch {
		case strings.HasPrefix(f.Name, "rules/lib/"), strings.HasPrefix(f.Name, "rules/cue.mod/"):
			beside = append(beside, file)
		case strings.HasPrefix(f.Name, "rules/"):
			own = append(own, file)
		default:
			rest = append(rest, file)
		}
	}
	rules, wrong := require.Load(own, require.LoadOptions{Beside: beside, Reserved: reserved})
	set := source.NewSet(rest)
	g, found := schema.Load(set, schema.Options{Policies: catalog{}, Salvage: true, Partial: partial})
	for _, d := range found {
		if d.Severity == diag.Error {
			ds, uncut = append(ds, d), append(uncut, d)
		}
	}
	o := require.Options{Policies: catalog{}, Found: found, Budget: budget(limit), Partial: partial}
	ds = append(ds, rules.Check(set, g, o)...).Sort()
	rules.Uncut()
	uncut = append(uncut, rules.Check(set, g, o)...).Sort()
	return wrong, ds, uncut
}

// budget measures a time; 0 is without end.
func budget(limit time.Duration) require.Budget {
	if limit == 0 {
		return require.Budget{}
	}
	const tick = 10 * time.Millisecond
	return require.Budget{Ticks: int(limit / tick), Words: limit.String(), Clock: func() (<-chan struct{}, func()) {
		ticks, over := make(chan struct{}), make(chan struct{})
		go func() {
			for {
				select {
				case ticks <- struct{}{}:
					time.Sleep(tick)
				case <-over:
					return
				}
			}
		}()
		return ticks, func() { close(over) }
	}}
}

// shown is all that a diagnostic says.
func shown(l diag.List) string {
	var b strings.Builder
	for _, d := range l {
		fmt.Fprintf(&b, "%s:%d-%d:%d: %s: %s [%s]\n", d.Subject, d.Subject.Start.Offset, d.Subject.End.Offset, d.Subject.End.Column, d.Severity, d.Summary, d.Code)
		if d.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
		}
		if !d.Object.IsZero() || d.Path != "" {
			fmt.Fprintf(&b, "  of: %s %s\n", d.Object, d.Path)
		}
		for _, r := range d.Related {
			fmt.Fprintf(&b, "  %s: %s\n", r.Subject, r.Summary)
		}
	}
	return b.String()
}

func TestCases(t *testing.T) {
	t.Parallel()
	testkit.Run(t, "testdata/*.txtar", func(t *testing.T, c *testkit.Case) {
		_, partial := c.Flag("partial")
		wrong, ds, uncut := judged(c.Files, 0, partial)
		if d := cmp.Diff(shown(uncut), shown(ds)); d != "" {
			t.Errorf("asked about whole objects (-) and what the rules look at (+):\n%s", d)
		}
		if strings.HasPrefix(c.Name, "bad-") {
			c.Want(t, "want/rules", []byte(shown(wrong)))
		} else if len(wrong) > 0 {
			t.Fatalf("the rules are wrong:\n%s", shown(wrong))
		}
		if strings.HasPrefix(c.Name, "ok-") && len(ds) > 0 {
			t.Errorf("reported:\n%s", shown(ds))
		}
		if !strings.HasPrefix(c.Name, "ok-") {
			c.Want(t, "want/diagnostics", []byte(shown(ds)))
		}
		for _, d := range ds {
			text := ""
			for _, f := range c.Files {
				if f.Name == d.Subject.File {
					text = string(f.Data)
				}
			}
			if path.Ext(d.Subject.File) != ".cue" && int(d.Subject.End.Offset) > len(text) || d.Subject.Start.IsZero() {
				t.Errorf("%s is not in the file", d)
			}
		}
	})
}

// TestSecretsAreNotShown writes one secret wherever one can stand and has a rule say everything that it sees.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	const secret = "4815162342"
	const rules = `
import "encoding/json"

for kind in ["ApiInstance", "Service", "PolicyBinding", "Configuration", "Extension"] {
	require: "say/\({"ApiInstance": "api", "Service": "service", "PolicyBinding": "binding", "Configuration": "configuration", "Extension": "extension"}[kind])": {
		"kind":  kind
		message: "\(json.Marshal(object))"
		hint:    "\(json.Marshal(object.spec))"
		that: metadata: name: "nobody"
	}
}
`
	api := "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: a}\nspec:\n  address: http://0.0.0.0:8081\n  services: {s: {address: http://s:80}}\n  policies: [{policyRef: {name: %s}, config: %s}]\n"
	binding := "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata: {name: b}\nspec:\n  targetRef: {name: a}\n  policyRef: {name: %s}\n  config: %s\n"
	config := "apiVersion: gateway.mulesoft.com/v1beta1\nkind: Configuration\nmetadata: {name: c}\nspec: %s\n"
	for _, text := range []string{
		fmt.Sprintf(api, "http-basic-authentication-flex", "{username: a, password: "+secret+"}"),
		fmt.Sprintf(binding, "http-basic-authentication-flex", "{username: a, password: "+secret+"}") + "---\n" + fmt.Sprintf(api, "cors-flex", "{}"),
		fmt.Sprintf(api, "tls", "{certificate: {key: "+secret+", crt: c}}"),
		fmt.Sprintf(api, "tls", "{certificate: {key: \"-----BEGIN PRIVATE KEY-----\\n"+secret+"\\n-----END PRIVATE KEY-----\"}}"),
		fmt.Sprintf(api, "somebodys-own-policy", "{apiKey: "+secret+", nested: [{password: "+secret+"}, {clientSecret: {a: "+secret+"}}]}"),
		fmt.Sprintf(api, "somebodys-own-policy", "{url: \"https://u:"+secret+"@h:1/\", pem: \"-----BEGIN RSA PRIVATE KEY-----\\n"+secret+"\", x: Bearer "+secret+"}"),
		fmt.Sprintf(api, "somebodys-own-policy", "{headers: [{key: Authorization, value: "+secret+"}]}"),
		fmt.Sprintf(config, "{sharedStorage: {redis: {password: "+secret+", sentinel: {addresses: [\"x:1\"], masterName: m, password: "+secret+"}}}}"),
		fmt.Sprintf(config, "{forwardProxy: {https: {address: http://p:1, basicAuth: {username: a, password: "+secret+"}}}}"),
		fmt.Sprintf(config, "{logging: {outputs: [{name: a, type: http, parameters: {http_passwd: "+secret+"}}]}}"),
		fmt.Sprintf(config, "{platformConnection: {key: "+secret+", x: {y: "+secret+"}}}"),
	} {
		loaded, wrong := require.Load([]source.File{source.NewFile("rules.cue", []byte(rules))}, require.LoadOptions{})
		if len(wrong) > 0 || len(loaded.All()) != 5 {
			t.Fatalf("%d rules, %s", len(loaded.All()), shown(wrong))
		}
		set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte(text))})
		g, _ := schema.Load(set, schema.Options{Policies: catalog{}, Salvage: true})
		ds := loaded.Check(set, g, require.Options{Policies: catalog{}})
		said, err := json.Marshal(ds)
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 || !strings.Contains(string(said), "metadata") {
			t.Errorf("nothing is said: %s\nof:\n%s", said, text)
		}
		if strings.Contains(string(said), secret) {
			t.Errorf("shown: %s\nof:\n%s", said, text)
		}
	}
}

// TestEndlessRulesAreGivenUp has a rule that takes very long beside one that does not.
func TestEndlessRulesAreGivenUp(t *testing.T) {
	t.Parallel()
	const api = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: a%d}\nspec: {address: http://0.0.0.0:8081/a%[1]d}\n---\n"
	files := []testkit.File{
		{Name: "rules/rules.cue", Data: []byte(`
import "list"

require: "acme/endless": {
	kind:    "ApiInstance"
	message: "endless"
	let n = len(object.metadata.name)
	that: metadata: name: or([for x in list.Range(0, 1000000*n, 1) if mod(x, 7919) == 7918 {"\(x)"}])
}
require: "acme/quick": {
	kind:    "ApiInstance"
	message: "quick"
	that: metadata: labels: team: string
}
`)},
		{Name: "a.yaml", Data: []byte(fmt.Sprintf(api, 1) + fmt.Sprintf(api, 2) + fmt.Sprintf(api, 3))},
	}
	_, ds, _ := judged(files, time.Second, false)
	codes := map[diag.Code]int{}
	for _, d := range ds {
		codes[d.Code]++
	}
	if codes["acme/quick"] != 3 || codes["project/slow-rule"] != 1 || len(codes) != 2 {
		t.Errorf("reported:\n%s", shown(ds))
	}
	for _, d := range ds {
		if d.Code == "project/slow-rule" && d.Subject.String() != "rules/rules.cue:4:10" {
			t.Errorf("said at %s", d.Subject)
		}
	}
}

// TestEndlessFilesAreGivenUp has a package whose evaluation takes very long.
func TestEndlessFilesAreGivenUp(t *testing.T) {
	t.Parallel()
	const endless = "import \"list\"\n\nnames: [for x in list.Range(0, 5000000, 1) if mod(x, 7919) == 7918 {\"\\(x)\"}]\nrequire: {}\n"
	rules, ds := require.Load([]source.File{source.NewFile("rules.cue", []byte(endless))}, require.LoadOptions{Budget: budget(50 * time.Millisecond)})
	if len(rules.All()) > 0 || len(ds) != 1 || !strings.Contains(ds[0].Summary, "not evaluated after 50ms") {
		t.Errorf("%v, %s", rules.All(), shown(ds))
	}
}

// TestTheLanguageIsTold wants every field that rules can speak of to be in the page.
func TestTheLanguageIsTold(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	var s any
	if err := json.Unmarshal(require.LinkedSchema, &s); err != nil {
		t.Fatal(err)
	}
	names := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if props, ok := v["properties"].(map[string]any); ok {
				for name := range props {
					if names++; !strings.Contains(string(page), "`"+name+"`") {
						t.Errorf("docs/rules.md does not tell of %q", name)
					}
				}
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(s)
	if names < 50 {
		t.Errorf("%d fields only", names)
	}
}

// FuzzRules feeds texts as files of rules: whatever they are, nothing panics, and what is said has a place in the file.
func FuzzRules(f *testing.F) {
	for _, c := range testkit.ReadAll(f, "testdata/*.txtar") {
		for _, file := range c.Files {
			if strings.HasSuffix(file.Name, ".cue") {
				f.Add(file.Data)
			}
		}
	}
	f.Add([]byte(threeRules))
	f.Add([]byte(`require: [string]: {kind: "Gateway", message: "\(object)", that: object}, require: "a/b": _`))
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: a, labels: {b: c}}\nspec: {address: http://0.0.0.0:8081, services: {s: {address: http://s:80}}}\n"))})
	g, _ := schema.Load(set, schema.Options{Policies: catalog{}})
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, ds := require.Load([]source.File{source.NewFile("rules.cue", text)}, require.LoadOptions{Reserved: reserved, Budget: budget(3 * time.Second)})
		ds = append(ds, rules.Check(set, g, require.Options{Policies: catalog{}, Budget: budget(3 * time.Second)})...)
		for _, d := range ds {
			if d.Summary == "" || strings.Contains(d.Summary, "\n") || d.Subject.File != "a.yaml" && d.Subject.File != "rules.cue" ||
				d.Subject.File == "rules.cue" && int(d.Subject.End.Offset) > len(text) {
				t.Errorf("%+v", d)
			}
		}
	})
}
