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
