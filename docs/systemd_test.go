package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestUnits holds the units of systemd/ to what systemd itself says of them, without asking a running one.
func TestUnits(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("systemd-analyze is left out with -short")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"systemd/*.service", "systemd/*.socket"} {
		units, err := filepath.Glob(pattern)
		if err != nil || len(units) < 2 {
			t.Fatalf("%s: %v, %v", pattern, units, err)
		}
		for _, unit := range units {
			b, err := os.ReadFile(unit)
			if err != nil {
				t.Fatal(err)
			}
			// verify wants the programs to be there.
			text := regexp.MustCompile(`/usr/bin/(flexgw|envoy)\b`).ReplaceAllString(string(b), "/bin/true")
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(unit)), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	analyze := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("systemd-analyze", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, unit := range []string{"flexgw.service", "flexgw-envoy.service", "flexgw.socket", "flexgw-hook.socket"} {
		if said := analyze("verify", "./"+unit); said != "" {
			t.Errorf("%s: %s", unit, said)
		}
	}
	for _, unit := range []string{"flexgw.service", "flexgw-envoy.service"} {
		said := analyze("security", "--offline=true", "--no-pager", "./"+unit)
		m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(said)
		if m == nil {
			t.Fatalf("no level in:\n%s", said)
		}
		if level, err := strconv.ParseFloat(m[1], 64); err != nil || level >= 2 {
			t.Errorf("%s: exposure level %s, want below 2.0:\n%s", unit, m[1], said)
		}
	}
}
