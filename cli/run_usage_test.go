package cli

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A gateway whose requests can not be counted serves all the same, and names no flag that nobody gave.
func TestWithoutAFolderForUsage(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	d := &daemon{choice: "auto", at: places{state: t.TempDir(), run: t.TempDir()}, log: slog.New(slog.NewTextHandler(&said, nil))}
	if err := os.WriteFile(d.usageDir(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.countUsage(); err != nil || d.usage != nil || !strings.Contains(said.String(), "requests are not counted") {
		t.Errorf("got %v, %q", err, said.String())
	}
	d.usageLog = filepath.Join(d.usageDir(), "log")
	if err := d.countUsage(); err == nil || !strings.Contains(err.Error(), "--usage-log: ") {
		t.Errorf("got %v", err)
	}
}

// On a full disk a daemon starts with the bootstrap that is there: it writes none that is the same.
func TestTheSameBootstrapIsNotWritten(t *testing.T) {
	t.Parallel()
	d := &daemon{at: places{state: t.TempDir(), run: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	_, path, err := d.bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.bootstrap(); err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(was, now) {
		t.Errorf("it was written again, or %v", err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.bootstrap(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) == "{}" {
		t.Errorf("another one stays: %q, %v", b, err)
	}
}
