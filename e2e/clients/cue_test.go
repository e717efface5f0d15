package clients

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
)

// cueTool is the cue command, of the release that go.mod has.
func cueTool(t *testing.T) string {
	t.Helper()
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "cuelang.org/go").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(fromGo(t, "cuelang.org/go/cmd/cue@"+strings.TrimSpace(string(version))), "cue")
}

// cueIn runs the tool in a folder.
func cueIn(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(cueTool(t), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
	}
	return string(out), err
}

// cueModule is a module of CUE that has our package where it keeps what it imports.
func cueModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cue.mod", "module.cue"), "module: \"example.org/gateway\"\nlanguage: version: \"v0.12.0\"\n")
	export(t, filepath.Join(dir, "cue.mod", "pkg"), "--format", "cue")
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const inCUE = `package gateway

import "github.com/flexgw/flexgw/schema/cue/flex"

orders: flex.#ApiInstance & {
	metadata: name: "orders"
	spec: {
		address: "http://0.0.0.0:8081/orders"
		services: orders: address: "http://orders.internal:8080"
		policies: [{policyRef: name: "ip-allowlist-flex", config: ips: ["10.0.0.0/8"]}]
	}
}
limit: flex.#PolicyBinding & {
	metadata: name: "limit"
	spec: {
		targetRef: name: "orders"
		policyRef: name: "rate-limiting-flex"
		config: rateLimits: [{maximumRequests: 10, timePeriodInMilliseconds: 1000}]
	}
}
`

// TestCUETool imports the package as a user does, and goes all the way to what `flexgw validate` says of the result.
func TestCUETool(t *testing.T) {
	long(t)
	dir := cueModule(t)
	file := filepath.Join(dir, "gateway.cue")
	write(t, file, inCUE)
	if out, err := cueIn(t, dir, "vet", "-c", "."); err != nil {
		t.Fatalf("cue vet refuses what is right: %s", out)
	}
	text, err := cueIn(t, dir, "export", ".", "--out", "yaml", "-e", "orders")
	if err != nil || !strings.Contains(text, "apiVersion: gateway.mulesoft.com/v1alpha1\n") || !strings.Contains(text, "kind: ApiInstance\n") {
		t.Fatalf("cue export: %v: %s", err, text)
	}
	write(t, filepath.Join(dir, "out", "orders.yaml"), text)
	for _, what := range []string{filepath.Join(dir, "out"), dir} {
		if out, err := exec.Command(harness.Binary(t), "validate", what).CombinedOutput(); err != nil {
			t.Errorf("flexgw validate %s: %s", what, out)
		}
		if what == filepath.Join(dir, "out") {
			os.RemoveAll(what)
		}
	}
	for _, c := range []struct{ right, wrong, want string }{
		{"services: orders: address:", "services: orders: adress:", "orders.spec.services.orders.adress: field not allowed"},
		{`config: ips: ["10.0.0.0/8"]`, `config: ips: "10.0.0.0/8"`, "orders.spec.policies.0.config.ips: conflicting values"},
		{`, config: ips: ["10.0.0.0/8"]`, ``, "orders.spec.policies.0.config: field is required but not present"},
		{"maximumRequests: 10", "maximumRequests: -10", "limit.spec.config.rateLimits.0.maximumRequests"},
		{"maximumRequests: 10", `maximumRequests: "$REQUESTS"`, ""},
		{`targetRef: name: "orders"`, ``, "limit.spec.targetRef: field is required but not present"},
		{`name: "rate-limiting-flex"`, `name: "mine"`, ""},
	} {
		if !strings.Contains(inCUE, c.right) {
			t.Fatalf("no %q", c.right)
		}
		write(t, file, strings.Replace(inCUE, c.right, c.wrong, 1))
		out, err := cueIn(t, dir, "vet", "-c", ".")
		if (err == nil) != (c.want == "") || !strings.Contains(out, c.want) {
			t.Errorf("%s: cue vet says %v: %s", c.wrong, err, out)
		}
	}
}

// TestCUEToolOnExamples has cue vet judge every YAML file of the examples, as a user would who keeps YAML.
func TestCUEToolOnExamples(t *testing.T) {
	long(t)
	dir := cueModule(t)
	files, err := filepath.Glob(filepath.Join(root(t), "examples", "*", "*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	pkg := "github.com/flexgw/flexgw/schema/cue/flex"
	args := []string{"vet", "-c", "-d", "#Declaration", pkg}
	if out, err := cueIn(t, dir, append(args, files...)...); err != nil {
		t.Errorf("cue vet refuses an example: %s", out)
	}
	for i, doc := range strings.Split(wrong, "\n---\n") {
		file := filepath.Join(dir, "wrong.yaml")
		write(t, file, doc)
		out, err := cueIn(t, dir, append(args, file)...)
		if foreign := strings.HasPrefix(doc, "apiVersion: v1\n"); (err == nil) != foreign {
			t.Errorf("document %d: cue vet says %v: %s", i+1, err, out)
		}
	}
}
