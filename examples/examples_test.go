// Package examples holds whole small gateways; each folder is a test.
package examples

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/cli"
)

// run is the command line with an environment of its own. The command line library keeps its help flag in a variable of
// the package, so nothing here runs in parallel.
func run(t *testing.T, env map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(append([]string{"flexgw"}, args...), cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok },
	})
	return out.String(), errs.String(), code
}

// pipelines is the one folder that holds no gateway but pipelines of CI systems; e2e/clients tests it.
const pipelines = "ci"

func folders(t *testing.T) []string {
	t.Helper()
	readmes, err := filepath.Glob("*/README.md")
	if err != nil || len(readmes) < 10 {
		t.Fatalf("%d examples, %v", len(readmes), err)
	}
	dirs := make([]string, len(readmes))
	for i, r := range readmes {
		dirs[i] = filepath.Dir(r)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != pipelines && !slices.Contains(dirs, e.Name()) {
			t.Errorf("%s is a folder without a README.md, so nothing tests it", e.Name())
		}
	}
	return dirs
}

// TestExamples holds every example to its answers in want/: what validate says, and what Envoy gets. Rewrite them with UPDATE=1.
func TestExamples(t *testing.T) {
	for _, dir := range folders(t) {
		t.Run(dir, func(t *testing.T) {
			out, errs, code := run(t, nil, "validate", "--verbose", dir)
			if code != 0 {
				t.Fatalf("validate ended with %d:\n%s%s", code, out, errs)
			}
			if strings.Contains(out, ": warning: ") {
				t.Errorf("an example has a warning:\n%s", out)
			}
			golden(t, filepath.Join(dir, "want", "diagnostics.txt"), out)
			if needsEnv(t, dir) {
				return // what it renders to depends on key material that nobody keeps here; e2e serves it
			}
			first, errs, code := run(t, nil, "render", dir)
			if code != 0 {
				t.Fatalf("render ended with %d:\n%s", code, errs)
			}
			golden(t, filepath.Join(dir, "want", "resources.txt"), first)
		})
	}
}

func TestExamplesRenderTheSameBytes(t *testing.T) {
	for _, dir := range folders(t) {
		if needsEnv(t, dir) {
			continue
		}
		for _, form := range []string{"resources", "bootstrap", "static"} {
			for _, output := range []string{"yaml", "json"} {
				a, errs, code := run(t, nil, "render", "--form", form, "--output", output, "--show-secrets", dir)
				b, _, _ := run(t, nil, "render", "--form", form, "--output", output, "--show-secrets", dir)
				if code != 0 || a == "" {
					t.Fatalf("%s: render --form %s ended with %d: %s", dir, form, code, errs)
				}
				if a != b {
					t.Errorf("%s: render --form %s --output %s differs between two runs", dir, form, output)
				}
			}
		}
	}
}

var variable = regexp.MustCompile(`: \$[A-Z_]+\n`)

func needsEnv(t *testing.T, dir string) bool {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if variable.Match(b) {
			return true
		}
	}
	return false
}

// TestReadmes wants a command that exists in every example's README.
func TestReadmes(t *testing.T) {
	command := regexp.MustCompile(`(?m)^\$ flexgw ([a-z]+)( .*)?$`)
	help, _, _ := run(t, nil, "--help")
	for _, dir := range folders(t) {
		b, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		found := command.FindAllStringSubmatch(string(b), -1)
		if len(found) == 0 {
			t.Errorf("%s: the README shows no command", dir)
		}
		for _, m := range found {
			if !regexp.MustCompile(`(?m)^\s+` + m[1] + `[, ]`).MatchString(help) {
				t.Errorf("%s: no command %q", dir, m[1])
			}
			if !strings.Contains(m[2], "examples/"+dir) {
				t.Errorf("%s: the README shows %q, not the example", dir, m[0])
			}
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (UPDATE=1 rewrites it): -want +got\n%s", path, diff)
	}
}
