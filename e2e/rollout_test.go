package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/status"
)

// A change waits until somebody says so, also over a restart of the daemon, and is live then.
func TestChangeWaitsForApproval(t *testing.T) {
	t.Parallel()
	g := start(t, versioned, withArgs("--approve-after", "never"))
	waitVersion(t, g, "1")
	g.write("api.yaml", version("2"))
	var waiting status.Waiting
	waits := func() {
		t.Helper()
		harness.Until(t, func() error {
			r := g.report()
			if c, _ := r.Condition(status.Accepted); r.Waiting == nil || c.Reason != "Waiting" || c.Status != status.Unknown {
				return fmt.Errorf("it does not wait: %+v, %+v", r.Waiting, c)
			}
			waiting = *r.Waiting
			return nil
		})
	}
	waits()
	if _, errs, code := harness.Command(t, "sync", "--state-dir", g.State); code != 3 || !strings.Contains(errs, "flexgw sync --revision "+waiting.Revision) {
		t.Errorf("sync ended with %d: %s", code, errs)
	}
	g.waitKept(g.report().Revision) // what is served, and what waits, is written beside the path of a change
	since := waiting.Since
	g.Kill()
	g.Run()
	g.WaitReady()
	waits()
	if !waiting.Since.Equal(since) {
		t.Errorf("it waits since %s, and since %s before the restart", waiting.Since, since)
	}
	waitVersion(t, g, "1")
	if out, errs, code := harness.Command(t, "sync", "--state-dir", g.State, "--revision", waiting.Revision[:15]); code != 0 {
		t.Fatalf("sync --revision ended with %d: %s%s", code, out, errs)
	}
	waitVersion(t, g, "2")
	if r := g.report(); r.Waiting != nil || r.Revision != waiting.Revision {
		t.Errorf("revision %s, waiting %+v", r.Revision, r.Waiting)
	}
	out, _, _ := harness.Command(t, "history", "--state-dir", g.State)
	if !strings.Contains(out, "Waiting") || !strings.Contains(out, "sync") {
		t.Errorf("the history does not say who said so:\n%s", out)
	}
}
