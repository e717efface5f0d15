// Package clients proves that the tools by which people meet flexgw take what it gives them: editors, CUE, pre-commit and CI systems.
//
// Each test runs the real tool, of the version named in it, and fails without one; only -short leaves it out. Nothing here needs an
// Envoy. Tools are installed by their own package managers, once for each machine, below the user's cache folder.
package clients

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
)

// long leaves a test out of -short: it installs a tool, or waits for one.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a tool that must be installed")
	}
	t.Parallel()
}

// root is the root of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMain(m *testing.M) {
	// The tools run Go themselves, and read what it prints: a -json that this test was started with is not for them.
	if err := os.Unsetenv("GOFLAGS"); err != nil {
		panic(err)
	}
	os.Exit(harness.Main(m))
}

func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "flexgw", "clients")
	return dir, os.MkdirAll(dir, 0o755)
}

// installed is a folder in which install has run once on this machine, with success; name carries the tool's version.
func installed(t *testing.T, name string, install func(dir string) error) string {
	t.Helper()
	base, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, name)
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	done := filepath.Join(dir, ".installed")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	if err := os.RemoveAll(dir); err != nil { // half an installation
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := install(dir); err != nil {
		t.Fatalf("install %s: %v", name, err)
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fromNPM installs packages of the npm registry ("name@version").
func fromNPM(t *testing.T, packages ...string) string {
	t.Helper()
	return installed(t, "npm-"+strings.ReplaceAll(strings.Join(packages, "+"), "/", "-"), func(dir string) error {
		return runIn(dir, "npm", append([]string{"install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir}, packages...)...)
	})
}

// fromPyPI installs a package ("name==version") into a virtual environment of its own, and returns its bin folder.
func fromPyPI(t *testing.T, pkg string) string {
	t.Helper()
	return filepath.Join(installed(t, "pypi-"+pkg, func(dir string) error {
		if err := runIn(dir, "python3", "-m", "venv", dir); err != nil {
			return err
		}
		return runIn(dir, filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", pkg)
	}), "bin")
}

// fromGo builds a command ("path@version") as its own module has it, and returns the folder that it is in.
func fromGo(t *testing.T, pkg string) string {
	t.Helper()
	return installed(t, "go-"+strings.NewReplacer("/", "-", "@", "-").Replace(pkg), func(dir string) error {
		cmd := exec.Command("go", "install", pkg)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.New(string(out))
		}
		return nil
	})
}

func runIn(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(name + " " + strings.Join(args, " ") + ": " + err.Error() + "\n" + string(out))
	}
	return nil
}
