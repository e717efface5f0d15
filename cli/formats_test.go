package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/testkit"
)

// TestExitCodes runs every format, on standard output and into a file, on what ends with each exit code.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	const warns = goodAPI + "  policies: [{policyRef: {name: header-removal-flex}, config: {inboundHeaders: ['x-größe']}}]\n"
	for name, c := range map[string]struct {
		files map[string]string
		args  []string
		code  int
	}{
		"clean":                      {files: map[string]string{"a.yaml": goodAPI}, code: cli.ExitClean},
		"a warning":                  {files: map[string]string{"a.yaml": warns}, code: cli.ExitClean},
		"a warning that counts":      {files: map[string]string{"a.yaml": warns}, args: []string{"--fail-on", "warning"}, code: cli.ExitDiagnostics},
		"a note":                     {files: map[string]string{"a.yaml": goodAPI, "b.yaml": "apiVersion: v1\nkind: ConfigMap\n"}, code: cli.ExitClean},
		"an error":                   {files: map[string]string{"a.yaml": goodAPI + "  nonsense: 1\n"}, code: cli.ExitDiagnostics},
		"an error without a file":    {code: cli.ExitDiagnostics},
		"part of it cannot be read":  {files: map[string]string{"a.yaml": goodAPI, "b.yaml": ""}, code: cli.ExitWorld},
		"an error, and unread parts": {files: map[string]string{"a.yaml": "a: [", "b.yaml": ""}, code: cli.ExitWorld},
		"nothing can be read":        {args: []string{"no/such/path"}, code: cli.ExitWorld},
		"called wrongly":             {files: map[string]string{"a.yaml": goodAPI}, args: []string{"--fail-on", "dawn"}, code: cli.ExitUsage},
	} {
		dir := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(dir, file)
			var err error
			if text == "" {
				err = os.Symlink("nowhere", path)
			} else {
				err = os.WriteFile(path, []byte(text), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if c.args != nil && c.args[0] == "no/such/path" {
			dir, c.args = filepath.Join(dir, "none"), nil
		}
		for _, format := range report.Formats() {
			file := filepath.Join(t.TempDir(), "out")
			direct := runOn(t, dir, append([]string{"validate", "--output", format}, c.args...)...)
			if direct.code != c.code {
				t.Errorf("%s, %s: exit code %d, want %d", name, format, direct.code, c.code)
			}
			filed := runOn(t, dir, append([]string{"validate", "--output", format + "=" + file}, c.args...)...)
			if filed.code != c.code || filed.stderr != direct.stderr {
				t.Errorf("%s, %s into a file: exit code %d, standard error %q", name, format, filed.code, filed.stderr)
			}
			b, err := os.ReadFile(file)
			if c.code == cli.ExitUsage || name == "nothing can be read" && format == "text" {
				if err == nil || direct.stdout != "" {
					t.Errorf("%s, %s: something was written", name, format)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if format != "text" && format != "github" && len(b) == 0 {
				t.Errorf("%s, %s: the file is empty", name, format)
			}
			if got := strings.ReplaceAll(strings.ReplaceAll(string(b), dir+"/", ""), dir, "."); got != direct.stdout {
				t.Errorf("%s, %s: standard output has\n%s\nthe file\n%s", name, format, direct.stdout, got)
			}
		}
	}
}

// outputSchema is the schema of --output json, closed: for users it is open, so that fields can be added.
func outputSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile("../docs/schemas/validate.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var closeAll func(v any, name string)
	closeAll = func(v any, name string) {
		switch v := v.(type) {
		case map[string]any:
			if ref, _ := v["$ref"].(string); v["properties"] != nil && name != "range" || ref == "#/$defs/range" {
				v["unevaluatedProperties"] = false
			}
			for k, x := range v {
				closeAll(x, k)
			}
		case []any:
			for _, x := range v {
				closeAll(x, "")
			}
		}
	}
	closeAll(v, "")
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///validate.json", v); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///validate.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestJSONHasItsSchema holds the documented schema against what is really written, for every broken input there is.
func TestJSONHasItsSchema(t *testing.T) {
	t.Parallel()
	s := outputSchema(t)
	check := func(name, text string) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		var out struct {
			Summary     report.Summary
			Diagnostics diag.List
		}
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatal(err)
		}
		l := out.Diagnostics
		if n := out.Summary; n.Errors != l.Count(diag.Error) || n.Warnings != l.Count(diag.Warning) || n.Notes != l.Count(diag.Note) {
			t.Errorf("%s: the summary is %+v for %d diagnostics", name, n, len(l))
		}
	}
	cases, err := filepath.Glob("testdata/badinput/*.txtar")
	if err != nil || len(cases) < 50 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	for _, path := range cases {
		dir := t.TempDir()
		for _, f := range testkit.Read(t, path).Files {
			if strings.HasPrefix(f.Name, "want/") {
				continue
			}
			to := filepath.Join(dir, filepath.FromSlash(f.Name))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		check(path, runOn(t, dir, "validate", "--output", "json").stdout)
	}
	check("nothing", runOn(t, filepath.Join(t.TempDir(), "none"), "validate", "--output", "json").stdout)
	for i, d := range []diag.Diagnostic{{Code: "a/b", Summary: "s"}, {Code: "a/b", Summary: "s", Related: []diag.Related{{}}, Subject: diag.Range{File: "x"}}} {
		r := report.Report{Diagnostics: diag.List{d}, LeftOut: 1, Suppressed: []report.Suppressed{{Diagnostic: d}}, Unread: []report.Unread{{Reason: "r"}}}
		var b bytes.Buffer
		if err := r.Write(&b, "json"); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprint("made ", i), b.String())
	}
	// The closed schema bites.
	for _, bad := range []string{`{}`, `{"schemaVersion": 1, "summary": {"files": 0, "documents": 0, "errors": 0, "warnings": 0, "notes": 0}, "diagnostics": [], "more": 1}`} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		if s.Validate(v) == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}
