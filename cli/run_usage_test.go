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
