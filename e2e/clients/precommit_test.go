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

const preCommit = "pre-commit==4.7.0"

// hooked is a Git repository of a user, with hooks of ours installed by pre-commit.
type hooked struct {
	t   *testing.T
	dir string
	env []string
}

// ours is a Git repository that holds what the working tree of this one holds, as pre-commit would clone it.
func ours(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root(t)
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(root(t), name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(b))
	}
	h := &hooked{t: t, dir: dir, env: gitEnv(t)}
	h.must("git", "init", "-q", ".")
	h.must("git", "add", "-A", "-f")
	h.must("git", "commit", "-q", "-m", "one")
	h.must("git", "tag", "v0.0.1")
	return dir
}

// gitEnv is the environment of a person who has a name and no settings.
func gitEnv(t *testing.T) []string {
	t.Helper()
	env := []string{"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") { // this test may itself be run by a hook
			env = append(env, v)
		}
	}
	return env
}

// newHooked makes a repository with a good gateway of two files, and installs hooks by their ids.
func newHooked(t *testing.T, repo string, path []string, ids ...string) *hooked {
	t.Helper()
	bin := fromPyPI(t, preCommit)
	h := &hooked{t: t, dir: t.TempDir(), env: append(gitEnv(t), "PRE_COMMIT_HOME="+t.TempDir(), "PRE_COMMIT_COLOR=never",
		"PATH="+strings.Join(append(path, bin, os.Getenv("PATH")), string(os.PathListSeparator)))}
	config := "repos:\n- repo: " + repo + "\n  rev: v0.0.1\n  hooks:\n"
	for _, id := range ids {
		config += "  - id: " + id + "\n"
	}
	write(t, filepath.Join(h.dir, ".pre-commit-config.yaml"), config)
	write(t, filepath.Join(h.dir, "ci.yaml"), "on: push\n") // not ours, and none of our business
	h.must("git", "init", "-q", ".")
	h.must("pre-commit", "install")
	return h
}

const (
	goodAPI = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders
spec:
  address: http://0.0.0.0:8081/orders
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: orders-route
spec:
  targetRef:
    name: orders
  policyRef:
    name: route
  config:
    destinationRef:
      name: orders
`
	goodService = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata:
  name: orders
spec:
  address: http://orders.internal:8080
`
)

func (h *hooked) write(name, text string) { h.t.Helper(); write(h.t, filepath.Join(h.dir, name), text) }

func (h *hooked) run(name string, args ...string) (string, error) {
	if path, err := lookIn(h.env, name); err == nil {
		name = path
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = h.dir, h.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lookIn finds a command on the PATH of an environment.
func lookIn(env []string, name string) (string, error) {
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			for _, dir := range filepath.SplitList(list) {
				if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
					return filepath.Join(dir, name), nil
				}
			}
		}
	}
	return "", exec.ErrNotFound
}

func (h *hooked) must(name string, args ...string) {
	h.t.Helper()
	if out, err := h.run(name, args...); err != nil {
		h.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// commit tries to commit everything. Refused, it must say each of want.
func (h *hooked) commit(refused bool, want ...string) {
	h.t.Helper()
	h.must("git", "add", "-A")
	out, err := h.run("git", "commit", "-m", "change")
	if (err != nil) != refused {
		h.t.Errorf("git commit: %v\n%s", err, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			h.t.Errorf("git commit does not say %q:\n%s", w, out)
		}
	}
	if head, _ := h.run("git", "log", "--format=%s"); refused && strings.Count(head, "change") > 1 {
		h.t.Errorf("the commit is there: %s", head)
	}
}

// TestPreCommit has pre-commit build the hooks from source with Go, and stop a commit that breaks a reference between two files.
func TestPreCommit(t *testing.T) {
	long(t)
	h := newHooked(t, ours(t), nil, "flexgw-staged", "flexgw-validate", "flexgw-fmt")
	// What pre-commit downloads stays where this machine keeps modules.
	for _, name := range []string{"GOMODCACHE", "GOCACHE"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		h.env = append(h.env, name+"="+strings.TrimSpace(string(out)))
	}
	h.write("gateways/api.yaml", goodAPI)
	h.write("gateways/service.yaml", goodService)
	h.commit(false, "flexgw validate --staged", "Passed")

	// The file that is wrong is not part of the commit: only the whole index shows it.
	h.write("gateways/service.yaml", strings.Replace(goodService, "name: orders", "name: order", 1))
	h.commit(true, "flexgw validate --staged", "Failed", `gateways/api.yaml:19:13: error: no Service named "orders"`, "[link/unknown-service]", `did you mean "order"`)

	h.write("gateways/service.yaml", strings.Replace(goodService, "address:", "adress:", 1))
	h.commit(true, `gateways/service.yaml:6:3: error: unknown field "adress"`)

	h.write("gateways/service.yaml", goodService+"# mended\n")
	h.commit(false, "Passed")
}

// TestPreCommitSystem takes the flexgw on PATH.
func TestPreCommitSystem(t *testing.T) {
	long(t)
	h := newHooked(t, ours(t), []string{filepath.Dir(harness.Binary(t))}, "flexgw-staged-system", "flexgw-validate-system")
	h.write("gateways/api.yaml", goodAPI)
	h.write("gateways/service.yaml", goodService)
	h.commit(false, "Passed")
	h.write("gateways/service.yaml", strings.Replace(goodService, "name: orders", "name: order", 1))
	h.commit(true, `gateways/api.yaml:19:13: error: no Service named "orders"`)
	h.write("gateways/service.yaml", goodService)

	// Whoever names a file says nothing to flexgw.
	const name = "--output=text=owned.yaml"
	h.write(name, strings.NewReplacer("address:", "adress:", "name: orders", "name: dash").Replace(goodService))
	h.commit(true, name+`:6:3: error: unknown field "adress"`)
	if _, err := os.Stat(filepath.Join(h.dir, "owned.yaml")); err == nil {
		t.Error("the name of a file was taken for a flag")
	}
	h.must("rm", "--", name)

	// A commit that only takes a file away breaks who refers to it.
	h.must("rm", "gateways/service.yaml")
	h.commit(true, `gateways/api.yaml:19:13: error: no Service named "orders"`)
	h.write("gateways/service.yaml", goodService)
	h.write("ci.yaml", "on: pull_request\n")
	h.commit(false, "Passed") // of the changed files none is ours
}

// TestPreCommitFormats: a commit that fmt changes something of is stopped; made again as it is then, it passes.
func TestPreCommitFormats(t *testing.T) {
	long(t)
	h := newHooked(t, ours(t), []string{filepath.Dir(harness.Binary(t))}, "flexgw-fmt-system")
	h.write("gateways/api.yaml", goodAPI)
	h.write("gateways/service.yaml", strings.Replace(goodService, "  name: orders", "    name:   orders", 1))
	h.commit(true, "files were modified by this hook", "formatted gateways/service.yaml")
	h.commit(false, "Passed")
	if got := readText(t, filepath.Join(h.dir, "gateways", "service.yaml")); got != goodService {
		t.Errorf("formatted: %s", got)
	}
	if got := readText(t, filepath.Join(h.dir, "ci.yaml")); got != "on: push\n" {
		t.Errorf("a file that is not ours: %s", got)
	}
}

// TestPreCommitImage runs the hooks of language docker_image up to the container: there is no Docker to count on here, so a stand-in
// takes the place of `docker run IMAGE` and holds what pre-commit passes to what the image (Dockerfile) expects.
func TestPreCommitImage(t *testing.T) {
	long(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "docker"), `#!/bin/sh
# docker run [options] IMAGE arguments, with the working directory mounted at /src
[ "$1" = run ] || { echo '{"SecurityOptions": []}'; exit 0; }
case "$*" in *"--workdir /src"*) ;; *) echo "no working directory: $*" >&2; exit 9 ;; esac
while [ $# -gt 0 ] && [ "$1" != flexgw/flexgw:latest ]; do shift; done
[ $# -gt 1 ] || { echo "another image" >&2; exit 9; }
shift
exec flexgw "$@"
`)
	if err := os.Chmod(filepath.Join(dir, "docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHooked(t, ours(t), []string{dir, filepath.Dir(harness.Binary(t))}, "flexgw-staged-docker", "flexgw-validate-docker", "flexgw-fmt-docker")
	h.write("gateways/api.yaml", goodAPI)
	h.write("gateways/service.yaml", goodService)
	h.commit(false, "Passed")
	h.write("gateways/service.yaml", strings.Replace(goodService, "name: orders", "name: order", 1))
	h.commit(true, `gateways/api.yaml:19:13: error: no Service named "orders"`)
}

// TestHooksFile has pre-commit itself judge the file of our hooks.
func TestHooksFile(t *testing.T) {
	long(t)
	out, err := exec.Command(filepath.Join(fromPyPI(t, preCommit), "pre-commit"), "validate-manifest", filepath.Join(root(t), ".pre-commit-hooks.yaml")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
