package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/sandbox"
)

// named is a gateway with what would be looked up, read and written if anybody let it: upstreams by name, one of them over TLS
// with the authorities of the host, and a policy whose script is a file.
const named = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders
spec:
  address: http://0.0.0.0:8081/orders
  services:
    plain:
      address: http://orders.example.org:8080
      routes:
        - rules: [{path: /plain}]
    secure:
      address: https://secure.example.org
      routes:
        - rules: [{path: /secure}]
  policies:
    - policyRef:
        name: jwt-validation-flex
      config:
        signingMethod: hmac
        textKey: 0123456789abcdef0123456789abcdef
        skipClientIdValidation: true
`

// inFolder runs a program on named with folders of its own for everything that a process may write to.
func inFolder(t *testing.T, tmp string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	if err := os.WriteFile(filepath.Join(cmd.Dir, "gateway.yaml"), []byte(named), 0o644); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// TestDeepReachesNothing watches every system call of flexgw and its Envoy: none speaks to anybody, and none changes a file
// that is not in the cache or the temporary folder.
func TestDeepReachesNothing(t *testing.T) {
	t.Parallel()
	path := harness.Binary(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is missing, install it: ", err)
	}
	tmp, cache := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	trace := filepath.Join(t.TempDir(), "trace")
	run := func() string {
		cmd := inFolder(t, tmp, strace, "-f", "-y", "-qq", "-o", trace, "-e", "trace=%network,%file,io_uring_setup,ftruncate,fchmod,fchown,%process", path,
			"validate", "--deep", "--deep-cache", cache, "gateway.yaml")
		out, err := cmd.CombinedOutput()
		if code := exitCode(t, err); code != 0 {
			t.Fatalf("exit %d\n%s", code, out)
		}
		b, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := run()
	if !strings.Contains(first, `"--mode", "validate"`) {
		t.Fatalf("Envoy was not asked:\n%s", first)
	}
	for _, p := range reached(first, tmp, cache) {
		t.Error(p)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	second := run()
	if strings.Contains(second, `"--mode"`) || strings.Contains(second, `"--version"`) {
		t.Error("the second run starts Envoy")
	}
	for _, p := range reached(second, tmp, cache) {
		t.Error(p)
	}
}

// TestValidateTouchesNothing: without deep mode, fixes, a cache or an output file, nothing is written and nobody is spoken to,
// whether the declarations are right or wrong, with settings and rules of the repository, from files, a folder or a stream.
func TestValidateTouchesNothing(t *testing.T) {
	t.Parallel()
	path := harness.Binary(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is missing, install it: ", err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"right":    {[]string{"gateway.yaml"}, 0},
		"wrong":    {[]string{"--output", "sarif", "."}, 1},
		"settings": {[]string{"--config", "settings.yaml", "--verbose", "gateway.yaml"}, 0},
		"stream":   {[]string{"-"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trace := filepath.Join(t.TempDir(), "trace")
			cmd := inFolder(t, t.TempDir(), append([]string{strace, "-f", "-y", "-qq", "-o", trace, "-e", "trace=%network,%file,io_uring_setup,ftruncate,fchmod,fchown,%process", path, "validate"}, c.args...)...)
			for name, text := range map[string]string{"wrong.yaml": "kind: [", "rules.cue": "require: \"acme/named\": {message: \"named\", kind: \"ApiInstance\", that: metadata: name: string}\n",
				"settings.yaml": "rules: [rules.cue]\nseverity: {link/default-port: \"off\"}\n"} {
				if err := os.WriteFile(filepath.Join(cmd.Dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd.Stdin = strings.NewReader("kind: ApiInstance\n")
			out, err := cmd.CombinedOutput()
			if code := exitCode(t, err); code != c.code {
				t.Fatalf("exit %d, want %d\n%s", code, c.code, out)
			}
			b, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range reached(string(b)) {
				t.Error(p)
			}
		})
	}
}

var (
	call    = regexp.MustCompile(`^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$`)
	failed  = regexp.MustCompile(` = -1 E[A-Z]+`)
	pathArg = regexp.MustCompile(`(?:<(/[^>]*)>, )?"((?:[^"\\]|\\.)*)"`) // the folder that a path is relative to, and the path
)

// reached lists what a trace shows to have spoken to somebody, or to have changed something that is in no allowed folder.
func reached(trace string, allowed ...string) (problems []string) {
	speaks := []string{"connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg", "io_uring_setup"}
	changes := []string{"creat", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mknod",
		"mknodat", "chmod", "fchmodat", "fchmod", "chown", "lchown", "fchown", "fchownat", "truncate", "utimensat", "utime", "utimes", "setxattr", "lsetxattr", "mount"}
	writes := regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC`)
	seen := 0
	for line := range strings.Lines(strings.ToValidUTF8(trace, "?")) {
		line = strings.TrimSpace(line)
		m := call.FindStringSubmatch(line)
		if m == nil || failed.MatchString(line) {
			continue
		}
		seen++
		name, args := m[1], m[2]
		switch {
		case slices.Contains(speaks, name):
			problems = append(problems, "speaks: "+line)
		case name == "socket" && !strings.Contains(args, "SOCK_STREAM"):
			problems = append(problems, "opens a socket: "+line)
		case slices.Contains(changes, name), (name == "open" || name == "openat") && writes.MatchString(args):
			for _, p := range pathArg.FindAllStringSubmatch(args, -1) {
				path := p[2]
				if !filepath.IsAbs(path) {
					path = filepath.Join(p[1], path)
				}
				if !slices.ContainsFunc(append(allowed, "/dev/null"), func(a string) bool { return path == a || strings.HasPrefix(path, a+"/") }) {
					problems = append(problems, "changes "+path+": "+line)
				}
			}
		}
	}
	if seen < 30 {
		problems = append(problems, fmt.Sprintf("%d calls in the trace only: is it read right?", seen))
	}
	return problems
}

// TestReachedNoticesWhatItShould: what does get out is seen, and nothing else.
func TestReachedNoticesWhatItShould(t *testing.T) {
	t.Parallel()
	harmless := strings.Repeat(`1 openat(AT_FDCWD</home>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 9</etc/hosts>
1 socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = 9<TCP:[1]>
1 openat(AT_FDCWD</home>, "/etc/x", O_WRONLY|O_CREAT, 0666) = -1 EACCES (Permission denied)
1 connect(9<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16) = -1 EPERM (Operation not permitted)
1 unlinkat(8</allowed/a>, "b", 0) = 0
1 rename("/allowed/a", "/allowed/b") = 0
`, 10)
	if got := reached(harmless, "/allowed"); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	for _, line := range []string{
		`1 connect(9<UDP:[1]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16) = 0`,
		`1 <... sendto resumed>)              = 20`,
		`1 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 9<UDP:[1]>`,
		`1 openat(AT_FDCWD</home>, "/etc/x", O_WRONLY|O_CREAT, 0666) = 3</etc/x>`,
		`1 openat(AT_FDCWD</home>, "x", O_RDWR) = 3</home/x>`,
		`1 unlink("/home/x") = 0`,
		`1 rename("/allowed/a", "/home/b") = 0`,
		`1 mkdirat(8</home>, "b", 0777) = 0`,
	} {
		if got := reached(harmless+line+"\n", "/allowed"); len(got) != 1 || !strings.Contains(got[0], line) {
			t.Errorf("%s: got %q", line, got)
		}
	}
}

// TestDeepTakesEveryExample asks the real Envoy about the examples, as a user would.
func TestDeepTakesEveryExample(t *testing.T) {
	t.Parallel()
	path := harness.Binary(t)
	dirs, err := filepath.Glob("../examples/*/README.md")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("%d examples, %v", len(dirs), err)
	}
	for _, readme := range dirs {
		cmd := exec.Command(path, "validate", "--deep", "--deep-cache", t.TempDir(), filepath.Dir(readme))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Dir(readme), err, out)
		}
	}
}

// TestDeepWithoutASandbox: where Envoy cannot be confined it is not asked. Inside of a sandbox no other can be made.
func TestDeepWithoutASandbox(t *testing.T) {
	t.Parallel()
	path := harness.Binary(t)
	found, err := envoy.Find(t.Context(), envoy.FindOptions{Choice: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gateway.yaml"), []byte(named), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := sandbox.Run(t.Context(), sandbox.Command{Path: path, Args: []string{"validate", "--deep", "--envoy", found.Path, "gateway.yaml"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no sandbox on this host: a system call filter (seccomp) cannot be set", "[envoy/validator-failed]", "hint: Envoy is never asked unconfined: allow the system calls"} {
		if r.Code != 3 || !strings.Contains(r.Output, want) {
			t.Errorf("exit %d, want %q in:\n%s", r.Code, want, r.Output)
		}
	}
}

// TestDeepInterrupted leaves nothing behind: no process, no configuration with its secrets.
func TestDeepInterrupted(t *testing.T) {
	t.Parallel()
	path := harness.Binary(t)
	tmp := t.TempDir()
	hangs := filepath.Join(t.TempDir(), "envoy")
	mark := fmt.Sprint(100+os.Getpid(), ".", time.Now().Nanosecond()) // seconds to sleep
	script := "#!/bin/sh\n[ \"$1\" != --version ] || { echo 'envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL'; exit; }\nexec sleep " + mark + "\n"
	if err := os.WriteFile(hangs, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := inFolder(t, tmp, path, "validate", "--deep", "--deep-cache", t.TempDir(), "--envoy", hangs, "gateway.yaml")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		harness.Until(t, func() error {
			if sleeping(t, mark) {
				return nil
			}
			return errors.New("the Envoy was not started")
		})
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		code := exitCode(t, cmd.Wait())
		left, err := os.ReadDir(tmp)
		if code != 3 || err != nil || len(left) > 0 || sleeping(t, mark) {
			t.Errorf("%v: exit %d, left %v, still running: %v\n%s", signal, code, left, sleeping(t, mark), out.String())
		}
	}
}

func sleeping(t *testing.T, mark string) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(lines, func(path string) bool {
		b, err := os.ReadFile(path)
		return err == nil && string(b) == "sleep\x00"+mark+"\x00"
	})
}
