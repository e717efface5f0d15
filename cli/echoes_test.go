package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	echoProbe = "apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata:\n  name: a-health\nspec:\n  targetRef:\n    name: a\n  http:\n    path: /health\n"
	echoAPI   = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: a\nspec:\n  address: http://0.0.0.0:8081\n  services:\n    up:\n      address: http://up.internal:80\n      routes:\n        - {}\n"
)

// said are the first lines of what validate says of files; every line with a severity and a code in it, without its place's file.
func said(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for line := range strings.Lines(headlines(runOn(t, dir, "validate", "--no-config").stdout)) {
		if at, rest, ok := strings.Cut(line, ": "); ok && strings.Contains(at, ":") {
			severity, _, _ := strings.Cut(rest, ":")
			out = append(out, at+" "+severity+" "+strings.TrimSuffix(rest[strings.LastIndex(rest, "[")+1:], "]\n"))
		}
	}
	return strings.Join(out, "\n")
}

// A file of which so little is left that nothing in it says what it declares is the only mistake: who refers to it is none.
func TestABrokenFileIsToldAlone(t *testing.T) {
	t.Parallel()
	other := strings.NewReplacer("name: a", "name: b", "8081", "8082").Replace(echoAPI)
	binding := "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata:\n  name: limit\nspec:\n  targetRef:\n    name: a\n  policyRef:\n    name: header-injection-flex\n  config: {outboundHeaders: [{key: x, value: on-all}]}\n"
	for name, c := range map[string]struct{ text, want string }{
		"a bracket":          {"x: [", "a.yaml:1:4 error yaml/syntax"},
		"a brace":            {"{", "a.yaml:1:1 error yaml/syntax"},
		"the start of JSON":  {`{"a`, "a.yaml:1:2 error yaml/syntax"},
		"no text":            {"\x00", "a.yaml:1:1 error source/not-text"},
		"a template":         {strings.Replace(echoAPI, "name: a", "name: {{ .n }}", 1), "a.yaml:4:10 error yaml/key-not-scalar"},
		"cut at 20":          {echoAPI[:20], "a.yaml:1:1 error decode/near-miss-version"},
		"cut at 45":          {echoAPI[:45], "a.yaml:2:1 error yaml/syntax"},
		"cut at 60":          {echoAPI[:60], "a.yaml:2:1 error shape/missing-field"},
		"metadata is null":   {strings.Replace(echoAPI, "  name: a\n", "", 1), "a.yaml:3:1 error shape/wrong-type"},
		"metadata is empty":  {strings.Replace(echoAPI, "metadata:\n  name: a\n", "metadata: {}\n", 1), "a.yaml:3:1 error shape/missing-field"},
		"the name is empty":  {strings.Replace(echoAPI, "name: a", `name: ""`, 1), "a.yaml:4:9 error shape/too-short"},
		"the name is null":   {strings.Replace(echoAPI, "name: a", "name:", 1), "a.yaml:4:3 error shape/wrong-type"},
		"no metadata at all": {strings.Replace(echoAPI, "metadata:\n  name: a\n", "", 1), "a.yaml:2:1 error shape/missing-field"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, said(t, map[string]string{"a.yaml": c.text, "b.yaml": other, "probe.yaml": echoProbe, "limit.yaml": binding})); diff != "" {
				t.Error(diff)
			}
		})
	}
	// It hides no other mistake.
	for name, c := range map[string]struct{ text, want string }{
		"another name": {"x: [", "broken.yaml:1:4 error yaml/syntax\nprobe.yaml:7:11 error link/unknown-api"},
		"not ours":     {"x: 1\n", "probe.yaml:7:11 error link/unknown-api"},
		"another kind": {"apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Service\nmetadata: {}\nspec: {address: http://up.internal:80}\n", "broken.yaml:3:1 error shape/missing-field\nprobe.yaml:7:11 error link/unknown-api"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, said(t, map[string]string{"broken.yaml": c.text, "b.yaml": other, "probe.yaml": echoProbe})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A rule of which a condition is wrong takes nothing away from the routes behind it; one that is right does.
func TestAWrongRuleTakesNotEverything(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		`{headers: {"bad h": "x"}}`: "a.yaml:11:30 error link/bad-header-name",
		`{path: ""}`:                "a.yaml:11:26 warning link/empty-pattern",
		`{methods: ""}`:             "a.yaml:11:29 warning link/empty-pattern",
		`{headers: {h: "(" }}`:      "a.yaml:11:34 error link/bad-regex",
		`{path: ".*"}`:              "a.yaml:12:11 warning link/unreachable-route",
	} {
		text := strings.Replace(echoAPI, "- {}\n", "- rules: ["+rule+"]\n        - rules: [{path: /zzz}]\n", 1)
		if got := said(t, map[string]string{"a.yaml": text}); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", rule, got, want)
		}
	}
}

// What RE2 takes is a pattern, whatever Go's own parser says of it; what it has not is told with what to write.
func TestPatternsAreThoseOfRE2(t *testing.T) {
	t.Parallel()
	validate := func(path string) string {
		dir := t.TempDir()
		text := strings.Replace(echoAPI, "- {}\n", "- rules: [{path: '"+path+"'}]\n", 1)
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return runOn(t, dir, "validate", "--no-config", "--verbose").stdout
	}
	for _, path := range []string{`/b\C.*`, `/(?P<größe>[0-9]+)`, `/\p{Old_Italic}?`, `/[a\P{Linear_B}]`} {
		if got := validate(path); strings.Contains(got, "[link/") || strings.Contains(got, "[render/pattern]") {
			t.Errorf("%s: %s", path, got)
		}
	}
	for path, hint := range map[string]string{
		`/a\Z`:          `hint: write \z for the end`,
		`/(?#c)a`:       "hint: RE2 has no comments in expressions: take (?#…) out",
		`/[[:foo:]]`:    "hint: RE2 knows [:alnum:], [:alpha:]",
		`/[[:digits:]]`: "hint: did you mean [:digit:]?",
	} {
		if got := validate(path); !strings.Contains(got, hint) || !strings.Contains(got, "[link/bad-regex]") {
			t.Errorf("%s: %s\nwant %s", path, got, hint)
		}
	}
}

// bound is a PolicyBinding to the API a; text is its spec without the target.
func bound(text string) string {
	return "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata:\n  name: p\nspec:\n  targetRef:\n    name: a\n  policyRef:\n    name: " + text
}

// One slip is told once, with what to write.
func TestASlipIsToldOnceWithTheNextStep(t *testing.T) {
	t.Parallel()
	quotes := `header-injection-flex` + "\n  config:\n    outboundHeaders: [{key: x, value: \"#[attributes.headers[\u2018x\u2019]]\"}]\n"
	probe := strings.Replace(echoProbe, "/health", "PATH", 1)
	api := strings.NewReplacer("name: a", "name: other", "8081", "8082").Replace(echoAPI)
	for name, c := range map[string]struct{ text, want, hint string }{
		"config beside name":       {bound("ip-allowlist-flex\n    config:\n    ips: [10.0.0.0/8]\n"), "p.yaml:10:5 error shape/unknown-field", `"config" belongs further out, in "spec"`},
		"config without a value":   {bound("header-injection-flex\n  config:\n"), "p.yaml:10:3 error headerinjection/nothing-to-inject", "add a header"},
		"an expression without #[": {bound("ip-allowlist-flex\n  config:\n    ipExpression: attributes.headers['x']\n    ips: [10.0.0.0/8]\n"), "p.yaml:11:19 warning expr/plain-text", "#[attributes.headers['x']]"},
		"a name with a port":       {strings.Replace(bound("header-injection-flex\n  config: {outboundHeaders: [{key: x, value: on-all}]}\n"), "name: a\n", "name: a:8081\n", 1), "p.yaml:7:11 error link/unknown-api", `did you mean "a"`},
		"policies below services":  {api + "    policies:\n      - policyRef: {name: message-logging-flex}\n", "p.yaml:12:5 error shape/wrong-type", `"policies" belongs further out, in "spec"`},
		"dashes without blanks":    {bound("ip-allowlist-flex\n  config:\n    ips:\n      -10.0.0.0/8\n      -11.0.0.0/8\n"), "p.yaml:12:7 error shape/wrong-type", `a space is missing after the dash: write "- 10.0.0.0/8"`},
		"a colon without a blank":  {strings.Replace(bound("ip-allowlist-flex\n  config: {ips: [10.0.0.0/8]}\n"), "  targetRef:\n    name: a\n", "  targetRef: {name:a}\n", 1), "p.yaml:6:15 error shape/unknown-field", `a space is missing after the colon: write "name: a"`},
		"order in config":          {bound("ip-allowlist-flex\n  config:\n    ips: [10.0.0.0/8]\n    order: 4\n"), "p.yaml:12:5 error shape/unknown-field", `"order" belongs further out, in "spec"`},
		"a comma":                  {bound("ip-allowlist-flex\n  order: 10,\n  config: {ips: [10.0.0.0/8]}\n"), "p.yaml:10:10 error shape/wrong-type", "take away the comma: write 10"},
		"an address as path":       {strings.Replace(api, "- {}", "- config: {destinationPath: http://other/x}", 1), "p.yaml:11:37 error link/bad-destination-path", "belong into the address of a Service"},
		"an address without http":  {strings.Replace(api, "http://0.0.0.0:8082", "0.0.0.0:8082/a", 1), "p.yaml:6:12 error link/bad-address", "write http://0.0.0.0:8082/a"},
		"a status of a probe":      {strings.Replace(probe, "PATH", "/x\n    expect: {status: [2x]}", 1), "p.yaml:10:23 error shape/pattern", "write for example 200, 200-299 or 2xx"},
		"a path of a probe":        {strings.Replace(probe, "PATH", "health", 1), "p.yaml:9:11 error shape/pattern", "such as /health"},
		"no jwksUrl":               {bound("jwt-validation-flex\n  config: {jwtOrigin: httpBearerAuthenticationHeader, jwtKeyOrigin: jwks, signingMethod: rsa, signingKeyLength: 256}\n"), "p.yaml:10:11 error jwtvalidation/no-url", "add jwksUrl"},
		"typographic quotes":       {bound(quotes), "p.yaml:11:61 error dataweave/expected", "straight quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"a.yaml": echoAPI, "p.yaml": c.text}
			if diff := cmp.Diff(c.want, said(t, files)); diff != "" {
				t.Error(diff)
			}
			dir := t.TempDir()
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := runOn(t, dir, "validate", "--no-config").stdout; !strings.Contains(got, c.hint) {
				t.Errorf("%s\nwant the hint %q", got, c.hint)
			}
		})
	}
}
