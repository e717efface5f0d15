package usage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// TestFullDiskAtTheStart has a daemon start on a disk without room for a ledger: it serves, says so, and counts what was called in the meantime
// once there is some.
func TestFullDiskAtTheStart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	if !harness.Inside(t) { // where it may mount a disk
		return
	}
	if _, err := harness.SilentNameServer(t.TempDir()); err != nil { // and have a loopback
		t.Fatal(err)
	}
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, 1)
	dir := filepath.Join(d.State, "usage")
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700")
	}
	if err == nil {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		err = os.WriteFile(filepath.Join(dir, metering.LogName), []byte("\n"), 0o600) // there is a page for the lines of this test
	}
	filler := filepath.Join(dir, "filler")
	for block := make([]byte, 4096); err == nil; {
		var f *os.File
		if f, err = os.OpenFile(filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err == nil {
			_, err = f.Write(block)
			err = errors.Join(err, f.Close())
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	d.Run()
	d.WaitReady()
	requests(t, port, 0, 7)
	u, err := socketOf(d).Usage(t.Context())
	if err != nil || len(u.Alarms) != 1 || u.Alarms[0].Code != "unopened" || !strings.Contains(u.Alarms[0].Message, syscall.ENOSPC.Error()) {
		t.Errorf("%v %+v", err, u.Alarms)
	}
	if c := condition(t, d); c.Reason != "SpoolBroken" {
		t.Errorf("%+v", c)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, func() error {
		u, err := socketOf(d).Usage(t.Context())
		if err == nil && (u.Requests.Counted != 7 || len(u.Alarms) > 0) {
			err = fmt.Errorf("%+v %+v", u.Requests, u.Alarms)
		}
		return err
	})
	settle(t, d)
	if got := p.state().Usage["default/api-0"]; got != 7 {
		t.Errorf("the platform has %d", got)
	}
}
