package clients

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
)

// quietSettings let the server validate and do nothing else by itself: no public catalogue is fetched.
func quietSettings() map[string]any {
	return map[string]any{"validate": true, "hover": true, "completion": true, "schemaStore": map[string]any{"enable": false}}
}

func export(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := exec.Command(harness.Binary(t), append([]string{"schema", "export", "--dir", dir}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// wrong is a file with mistakes; the comment behind a line is what an editor must say there.
const wrong = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  nmae: orders # nmae
spec:
  address: http://0.0.0.0:8081/orders
  services:
    orders:
      adress: http://orders.example.org:8080 # adress
  policies:
    - policyRef:
        name: cors-flex
      config:
        publicResource: maybe # boolean
    - policyRef:
        name: rate-limiting-flex
      config:
        rateLimits:
          - maximumRequests: $REQUESTS
            timePeriodInMilliseconds: 10s # integer
    - policyRef:
        name: my-own-policy
      config:
        anything: goes
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: limit
spec:
  targetRef:
    name: orders
  policyRef:
    name: ip-allowlist-flex
  config:
    ip: [10.0.0.1] # ip
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Srevice # Valid values
metadata:
  name: x
---
apiVersion: v1
kind: Service
metadata:
  name: of-kubernetes
spec:
  ports: [{port: 80}]
`

// TestEditorMarksMistakes also shows that every document of a stream needs the line.
func TestEditorMarksMistakes(t *testing.T) {
	long(t)
	dir := t.TempDir()
	modeline := export(t, filepath.Join(dir, "schemas"), "--modeline", "--url", "file://"+filepath.ToSlash(filepath.Join(dir, "schemas")))
	s := startYAML(t, dir, quietSettings())
	path := filepath.Join(dir, "orders.yaml")
	text := modeline + "\n" + strings.ReplaceAll(wrong, "---\n", "---\n"+modeline+"\n")
	found := s.open(path, text)
	marked := map[int]string{}
	for _, p := range found {
		marked[p.Range.Start.Line] += p.Message + "\n"
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		want := ""
		if line != modeline {
			_, want, _ = strings.Cut(line, " # ")
		}
		if want != "" && !strings.Contains(marked[i], want) {
			t.Errorf("line %d (%s): nothing about %q in %q", i+1, line, want, marked[i])
		}
		// An object that lacks a field is marked where it starts.
		if want == "" && marked[i] != "" && !strings.Contains(marked[i], "Missing property") {
			t.Errorf("line %d (%s) is right, but is marked: %s", i+1, line, marked[i])
		}
	}
}

func TestEditorExplainsAndCompletes(t *testing.T) {
	long(t)
	dir := t.TempDir()
	export(t, filepath.Join(dir, "schemas"))
	settings := quietSettings()
	settings["schemas"] = map[string]any{"file://" + filepath.Join(dir, "schemas", "flex.schema.json"): []string{"*.yaml"}}
	s := startYAML(t, dir, settings)
	path := filepath.Join(dir, "orders.yaml")
	text := `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders
spec:
  address: http://0.0.0.0:8081/orders
  policies:
    - policyRef:
        name: ip-allowlist-flex
      config:
        ips: [10.0.0.1]
    - policyRef:
        name: cors-flex
      config:
        publicResource: true
        
`
	if found := s.open(path, text); len(found) > 0 {
		t.Errorf("a right file is marked: %v", found)
	}
	at := func(needle string) (line, character int) {
		before, _, ok := strings.Cut(text, needle)
		if !ok {
			t.Fatalf("no %q", needle)
		}
		return strings.Count(before, "\n"), len(before) - strings.LastIndex(before, "\n") - 1
	}
	for needle, want := range map[string]string{
		"address:":       "Where it listens",
		"ips:":           "Addresses, CIDR ranges",
		"publicResource": "originGroups is ignored",
		"cors-flex":      "Which pages of other origins",
	} {
		line, character := at(needle)
		if got := s.hover(path, line, character+1); !strings.Contains(got, want) {
			t.Errorf("hover over %s: %q, want %q", needle, got, want)
		}
	}
	line, character := at("cors-flex")
	offered := s.complete(path, line, character)
	for _, want := range []string{"cors-flex", "ip-allowlist-flex", "rate-limiting-flex", "route-weighted"} {
		if !slices.Contains(offered, want) {
			t.Errorf("the policy %s is not offered: %q", want, offered)
		}
	}
	offered = s.complete(path, strings.Count(text, "\n")-1, len("        "))
	if !slices.Contains(offered, "originGroups") || !slices.Contains(offered, "supportCredentials") || slices.Contains(offered, "ips") {
		t.Errorf("fields offered in the config of cors-flex: %q", offered)
	}
	line, character = at("ApiInstance")
	if offered = s.complete(path, line, character); !slices.Contains(offered, "PolicyBinding") {
		t.Errorf("kinds offered: %q", offered)
	}
}

// TestEditorIsQuietOnExamples opens every YAML file of the examples.
func TestEditorIsQuietOnExamples(t *testing.T) {
	long(t)
	dir := t.TempDir()
	export(t, filepath.Join(dir, "schemas"))
	settings := quietSettings()
	settings["schemas"] = map[string]any{"file://" + filepath.Join(dir, "schemas", "flex.schema.json"): []string{"*.yaml"}}
	s := startYAML(t, root(t), settings)
	files, err := filepath.Glob(filepath.Join(root(t), "examples", "*", "*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.open(f, string(text)) {
			t.Errorf("%s:%d: %s", f, p.Range.Start.Line+1, p.Message)
		}
	}
}

// TestEditorTakesTheCatalogue gives the editor our catalogue in the place of the public one.
func TestEditorTakesTheCatalogue(t *testing.T) {
	long(t)
	dir := t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(dir, "schemas"))))
	defer server.Close()
	export(t, filepath.Join(dir, "schemas"), "--url", server.URL)
	settings := quietSettings()
	settings["schemaStore"] = map[string]any{"enable": true, "url": server.URL + "/catalog.json"}
	s := startYAML(t, dir, settings)
	for name, marks := range map[string]bool{
		"orders.flex.yaml": true, "usr/flex-gateway/conf.d/team/orders.yaml": true, "orders.yaml": false,
	} {
		found := s.open(filepath.Join(dir, filepath.FromSlash(name)), wrong)
		if got := strings.Contains(fmt.Sprint(found), "nmae"); got != marks {
			t.Errorf("%s: marked is %v: %v", name, got, found)
		}
	}
	found := s.open(filepath.Join(dir, ".flexgw.yaml"), "targetVersion: \"1.9\"\nseverity:\n  link/unused-service: loud\n")
	if len(found) != 1 || found[0].Range.Start.Line != 2 {
		t.Errorf(".flexgw.yaml: %v", found)
	}
}

// strict compiles schemas as the catalogue's own checks do: in ajv's strict mode, which refuses keywords that say nothing.
const strict = `
const Ajv = require("ajv").default, fs = require("fs");
for (const file of process.argv.slice(2)) {
  const ajv = new Ajv({strict: true, allowUnionTypes: true, logger: false});
  ajv.addKeyword("patternErrorMessage"); // for editors
  try { ajv.compile(JSON.parse(fs.readFileSync(file))); } catch (e) { console.log(file + ": " + e.message); process.exitCode = 1; }
}
`

// TestSchemasAreStrict has another implementation than ours judge the schemas themselves.
func TestSchemasAreStrict(t *testing.T) {
	long(t)
	dir := t.TempDir()
	export(t, dir)
	var files []string
	for _, pattern := range []string{"*.schema.json", "*/*.schema.json"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 20 {
		t.Fatalf("%d files", len(files))
	}
	script := filepath.Join(dir, "strict.cjs")
	write(t, script, strict)
	broken := filepath.Join(dir, "broken.json")
	write(t, broken, `{"type": "object", "propertees": {}}`)
	for _, c := range []struct {
		files []string
		right bool
	}{{files, true}, {[]string{broken}, false}} {
		cmd := exec.Command("node", append([]string{script}, c.files...)...)
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(fromNPM(t, "ajv@8.17.1"), "node_modules"))
		if out, err := cmd.CombinedOutput(); (err == nil) != c.right {
			t.Errorf("%v: %s", err, out)
		}
	}
	checked(t, append([]string{"--check-metaschema"}, files...)...)
}
