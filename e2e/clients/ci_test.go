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

// pipeline runs the commands of one example of examples/ci as a CI system would: in a shell, in the checkout, with flexgw on PATH.
// install names the command that would bring flexgw there; a stand-in takes its place. env is what the CI system adds.
func pipeline(t *testing.T, h *hooked, shell []string, script, install string, env ...string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	if install != "" {
		// Called as the example calls it, it puts flexgw where that would.
		write(t, filepath.Join(bin, "go"), "#!/bin/sh\n[ \"$*\" = \""+install+"\" ] || { echo \"go $*\" >&2; exit 9; }\nmkdir -p \"$GOBIN\" && ln -sf "+harness.Binary(t)+" \"$GOBIN/flexgw\"\n")
		if err := os.Chmod(filepath.Join(bin, "go"), 0o755); err != nil {
			t.Fatal(err)
		}
	} else {
		bin = filepath.Dir(harness.Binary(t))
	}
	cmd := exec.Command(shell[0], append(shell[1:], script)...)
	cmd.Dir = h.dir
	cmd.Env = append(append(append([]string{}, h.env...), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH")), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// judged runs a pipeline on a good gateway, then on a bad one, and wants the reports written both times.
func judged(t *testing.T, run func(h *hooked) (string, error), reports ...string) {
	t.Helper()
	h, _ := newWorkspace(t)
	for _, bad := range []bool{false, true} {
		if bad {
			h.write("gateways/service.yaml", strings.Replace(goodService, "name: orders", "name: order", 1))
		}
		out, err := run(h)
		if (err != nil) != bad || bad && !strings.Contains(out, `gateways/api.yaml:19:13: error: no Service named "orders"`) {
			t.Errorf("bad is %v: %v: %s", bad, err, out)
		}
		for _, r := range reports {
			b, err := os.ReadFile(filepath.Join(h.dir, r))
			if err != nil || bad && !strings.Contains(string(b), "link/unknown-service") {
				t.Errorf("bad is %v: %s: %v: %s", bad, r, err, b)
			}
			os.Remove(filepath.Join(h.dir, r))
		}
	}
}

func example(t *testing.T, name ...string) string {
	t.Helper()
	return filepath.Join(append([]string{root(t), "examples", "ci"}, name...)...)
}

func checked(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(filepath.Join(fromPyPI(t, checker), "check-jsonschema"), args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestGitLab interpolates the inputs of the component as GitLab does, and runs its job.
func TestGitLab(t *testing.T) {
	long(t)
	text := readText(t, example(t, "gitlab", "templates", "validate.yml"))
	head, body, ok := strings.Cut(text, "\n---\n")
	if !ok {
		t.Fatal("a component is a spec and a body")
	}
	var spec struct {
		Spec struct {
			Inputs map[string]struct {
				Description string `yaml:"description"`
				Default     any    `yaml:"default"`
				Type        string `yaml:"type"`
			} `yaml:"inputs"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal([]byte(head), &spec); err != nil {
		t.Fatal(err)
	}
	readme := readText(t, example(t, "gitlab", "README.md"))
	for name, in := range spec.Spec.Inputs {
		if in.Description == "" || in.Default == nil || !strings.Contains(readme, "| `"+name+"` |") {
			t.Errorf("input %s has no description, no default, or no line in the README", name)
		}
		if !strings.Contains(body, "$[[ inputs."+name+" ]]") {
			t.Errorf("input %s is not used", name)
		}
	}
	interpolate := func(values map[string]string) string {
		return regexp.MustCompile(`\$\[\[ inputs\.([a-z-]+) \]\]`).ReplaceAllStringFunc(body, func(m string) string {
			name := regexp.MustCompile(`inputs\.([a-z-]+)`).FindStringSubmatch(m)[1]
			in, ok := spec.Spec.Inputs[name]
			if !ok {
				t.Fatalf("no input %s", name)
			}
			if v, ok := values[name]; ok {
				return v
			}
			b, err := yaml.Marshal(in.Default)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Trim(strings.TrimSpace(string(b)), `"'`)
		})
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"head.yml": head, "body.yml": interpolate(nil)} {
		write(t, filepath.Join(dir, name), text)
		checked(t, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", filepath.Join(dir, name))
	}
	script := func(values map[string]string) (string, []string) {
		var jobs map[string]struct {
			Script    []string          `yaml:"script"`
			Variables map[string]string `yaml:"variables"`
		}
		if err := yaml.Unmarshal([]byte(interpolate(values)), &jobs); err != nil {
			t.Fatal(err)
		}
		job, ok := jobs["flexgw-validate"]
		if !ok || len(jobs) != 1 {
			t.Fatalf("jobs: %v", jobs)
		}
		var env []string
		for k, v := range job.Variables {
			env = append(env, k+"="+v)
		}
		return strings.Join(job.Script, "\n"), env
	}
	judged(t, func(h *hooked) (string, error) {
		text, env := script(map[string]string{"paths": "gateways"})
		return pipeline(t, h, []string{"sh", "-e", "-c"}, text, "", env...)
	}, "gl-code-quality-report.json", "flexgw-junit.xml")

	// changed-only leaves out what the target branch has already, in merge requests alone.
	h, _ := newWorkspace(t)
	h.write("gateways/old.yaml", strings.NewReplacer("name: orders", "name: old", "address:", "adress:").Replace(goodService))
	h.must("git", "add", "-A")
	h.must("git", "commit", "-q", "-m", "an old mistake")
	base, _ := h.run("git", "rev-parse", "HEAD")
	for changedOnly, wantErr := range map[string]bool{"true": false, "false": true} {
		text, env := script(map[string]string{"changed-only": changedOnly})
		out, err := pipeline(t, h, []string{"sh", "-e", "-c"}, text, "", append(env, "CI_MERGE_REQUEST_DIFF_BASE_SHA="+strings.TrimSpace(base))...)
		if (err != nil) != wantErr {
			t.Errorf("changed-only is %s: %v: %s", changedOnly, err, out)
		}
	}
}

// TestJenkins parses the Jenkinsfile as Groovy and runs its shell steps. What the steps of plugins mean is for Jenkins alone to say.
func TestJenkins(t *testing.T) {
	long(t)
	file := example(t, "jenkins", "Jenkinsfile")
	python := filepath.Join(fromPyPI(t, "groovy-parser==0.2.2"), "python")
	parse := func(text string) error {
		cmd := exec.Command(python, "-c", "import sys; from groovy_parser.parser import parse_groovy_content; parse_groovy_content(sys.stdin.read())")
		cmd.Stdin = strings.NewReader(text)
		_, err := cmd.Output()
		return err
	}
	text := readText(t, file)
	if err := parse(text); err != nil {
		t.Errorf("%s is no Groovy: %v", file, err)
	}
	if err := parse(strings.Replace(text, "stages {", "stages {{", 1)); err == nil {
		t.Error("the parser takes anything")
	}
	steps := regexp.MustCompile(`(?m)^ +sh '([^']+)'$`).FindAllStringSubmatch(text, -1)
	if len(steps) != 1 {
		t.Fatalf("steps: %v", steps)
	}
	judged(t, func(h *hooked) (string, error) { return pipeline(t, h, []string{"sh", "-xe", "-c"}, steps[0][1], "") },
		"flexgw-junit.xml", "flexgw-checkstyle.xml")
	for _, report := range []string{"testResults: 'flexgw-junit.xml'", "pattern: 'flexgw-checkstyle.xml'"} {
		if !strings.Contains(text, report) {
			t.Errorf("nothing reads %s", report)
		}
	}
}

func TestAzure(t *testing.T) {
	long(t)
	file := example(t, "azure", "azure-pipelines.yml")
	checked(t, "--builtin-schema", "vendor.azure-pipelines", "--regex-variant", "nonunicode", file)
	var p struct {
		Steps []struct {
			Script  string            `yaml:"script"`
			Publish string            `yaml:"publish"`
			Task    string            `yaml:"task"`
			Inputs  map[string]string `yaml:"inputs"`
		} `yaml:"steps"`
	}
	readYAML(t, file, &p)
	var read []string
	for _, s := range p.Steps {
		if s.Publish != "" {
			read = append(read, s.Publish)
		}
		if f := s.Inputs["testResultsFiles"]; f != "" {
			read = append(read, f)
		}
		if v := s.Inputs["version"]; s.Task == "GoTool@0" && !strings.Contains(readText(t, filepath.Join(root(t), "go.mod")), "\ngo "+v+".") {
			t.Errorf("the pipeline has Go %s, go.mod another", v)
		}
	}
	judged(t, func(h *hooked) (string, error) {
		temp := t.TempDir()
		env := []string{"AGENT_TEMPDIRECTORY=" + temp}
		all := ""
		for _, s := range p.Steps {
			if s.Script == "" {
				continue
			}
			out, err := pipeline(t, h, []string{"bash", "--noprofile", "--norc", "-c"}, s.Script, "install github.com/flexgw/flexgw@latest", env...)
			if all += out; err != nil {
				return all, err
			}
			// The agent does as the log says for the steps that follow.
			if m := regexp.MustCompile(`(?m)^##vso\[task\.prependpath\](.+)$`).FindStringSubmatch(out); m != nil {
				env = append(env, "PATH="+m[1]+string(os.PathListSeparator)+os.Getenv("PATH"))
			}
		}
		return all, nil
	}, read...)
	if len(read) != 2 {
		t.Errorf("published: %v", read)
	}
}

// TestPreCommitExample runs the hook of the example, with our repository in the place of its address.
func TestPreCommitExample(t *testing.T) {
	long(t)
	text := readText(t, example(t, "pre-commit", ".pre-commit-config.yaml"))
	out, err := exec.Command(filepath.Join(fromPyPI(t, preCommit), "pre-commit"), "validate-config", example(t, "pre-commit", ".pre-commit-config.yaml")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	h := newHooked(t, ours(t), []string{filepath.Dir(harness.Binary(t))}, "flexgw-staged-system")
	local := readText(t, filepath.Join(h.dir, ".pre-commit-config.yaml"))
	repo := regexp.MustCompile(`repo: (.*)\n`).FindStringSubmatch(local)[1]
	h.write(".pre-commit-config.yaml", strings.NewReplacer("https://github.com/flexgw/flexgw", repo, "v0.1.0", "v0.0.1", "flexgw-staged", "flexgw-staged-system").Replace(text))
	h.write("gateways/api.yaml", goodAPI)
	h.write("gateways/service.yaml", goodService)
	h.write("elsewhere.yaml", strings.Replace(goodService, "address:", "adress:", 1))
	h.commit(false, "Passed")
	h.write("gateways/service.yaml", strings.Replace(goodService, "name: orders", "name: order", 1))
	h.commit(true, `gateways/api.yaml:19:13: error: no Service named "orders"`)
}
