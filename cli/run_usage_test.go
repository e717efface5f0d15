package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metering "github.com/flexgw/flexgw/reconcile/usage"
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
}

// On a full disk a daemon starts with the bootstrap that is there: it writes none that is the same.
func TestTheSameBootstrapIsNotWritten(t *testing.T) {
	t.Parallel()
	d := &daemon{at: places{state: t.TempDir(), run: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	_, path, _, err := d.bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := d.bootstrap(); err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(was, now) {
		t.Errorf("it was written again, or %v", err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := d.bootstrap(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) == "{}" {
		t.Errorf("another one stays: %q, %v", b, err)
	}
}

// Lines of the daemon before are counted for the registration in force, and not before it is known.
func TestTheRegistrationIsKnownBeforeTheLogIsRead(t *testing.T) {
	t.Parallel()
	d := &daemon{pipeline: &pipeline{}, choice: "auto", at: places{state: t.TempDir(), run: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	if err := d.countUsage(); err != nil || d.usage == nil {
		t.Fatal(err)
	}
	stop := d.startCounting()
	line := fmt.Sprintf("\n%d 200 a/b 70031019-7944-41d6-9ad1-000000000001\n", time.Now().UnixMilli())
	if err := os.WriteFile(filepath.Join(d.usageDir(), metering.LogName), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * metering.Poll)
	early := d.usage.Totals()
	if err := d.usage.SetIdentity(metering.Identity{Agent: "agent"}); err != nil {
		t.Fatal(err)
	}
	close(d.identified)
	for late := time.Now().Add(2 * time.Minute); len(d.usage.Totals()) == 0 && time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
	}
	if ts := d.usage.Totals(); len(early) != 0 || len(ts) != 1 || ts[0].Identity.Agent != "agent" || ts[0].Counted != 1 {
		t.Errorf("got %+v, then %+v", early, ts)
	}
	stop()
}
