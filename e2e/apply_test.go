package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/store"
)

// applied runs flexgw apply against the gateway's daemon, and reads its answer.
func (g *gateway) applied(want int, args ...string) api.Outcome {
	g.t.Helper()
	out, errs, code := harness.Command(g.t, append([]string{"apply", "--output", "json", "--state-dir", g.State}, args...)...)
	if code != want {
		g.t.Fatalf("apply %v ended with %d, want %d: %s%s", args, code, want, out, errs)
	}
	var o api.Outcome
	if out != "" {
		if err := json.Unmarshal([]byte(out), &o); err != nil {
			g.t.Fatal(err)
		}
	}
	return o
}

// waitKept waits until a restart would serve a revision: it is written beside the path of an edit.
func (g *gateway) waitKept(revision string) {
	g.t.Helper()
	g.waitSaved(revision)
	harness.Until(g.t, func() error {
		b, err := os.ReadFile(filepath.Join(g.State, "last-good", "control.json"))
		if err != nil || !strings.Contains(string(b), "since") && !strings.Contains(string(b), revision) {
			return fmt.Errorf("what operators asked for is not kept: %s %v", b, err)
		}
		return nil
	})
}

// waitSaved waits until a revision is the one that a daemon would serve that starts now.
func (g *gateway) waitSaved(revision string) {
	g.t.Helper()
	harness.Until(g.t, func() error {
		sets, err := store.New(filepath.Join(g.State, "last-good")).Load()
		if len(sets) == 0 || sets[0].Revision != revision {
			return fmt.Errorf("%d are kept, and not %s as the newest: %v", len(sets), revision, err)
		}
		return nil
	})
}

// A daemon without a source serves what it is given, says what became of it, and keeps it.
func TestApply(t *testing.T) {
	t.Parallel()
	g := prepare(t, versioned, withoutSource)
	g.Run()
	file := filepath.Join(t.TempDir(), "api.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	harness.Until(t, func() error {
		if _, errs, code := harness.Command(t, "probe", "--check", "liveness", "--state-dir", g.State); code != 0 {
			return fmt.Errorf("liveness %d: %s", code, errs)
		}
		return nil
	})
	if _, _, code := harness.Command(t, "probe", "--state-dir", g.State); code != 1 {
		t.Errorf("readiness with nothing to serve: %d", code)
	}
	put(g.rewrite(version("1")))
	one := g.applied(0, file)
	g.WaitReady()
	waitVersion(t, g, "1")
	if _, errs, code := harness.Command(t, "probe", "--state-dir", g.State); code != 0 {
		t.Errorf("readiness: %d %s", code, errs)
	}

	put(strings.Replace(g.rewrite(version("2")), "kind: ApiInstance", "kind: ApiInstanse", 1))
	if o := g.applied(1, file); o.Result != api.Invalid || o.Served != one.Revision || !o.Diagnostics.HasErrors() || !strings.HasSuffix(o.Diagnostics[0].Subject.File, "api.yaml") {
		t.Errorf("a mistake: %+v", o)
	}
	put(g.rewrite(version("2")))
	if o := g.applied(0, "--dry-run", file); o.Result != api.Accepted || !strings.Contains(string(o.Changes), `"changes"`) || !strings.Contains(o.ChangesText, `"1" → "2"`) {
		t.Errorf("dry run, which shows what is configured in another way: %+v", o)
	}
	plan := filepath.Join(t.TempDir(), "plan.json")
	g.applied(0, "--save-plan", plan, file)
	waitVersion(t, g, "1")
	g.applied(0, "--plan", plan)
	waitVersion(t, g, "2")
	if _, errs, code := harness.Command(t, "apply", "--state-dir", g.State, "--plan", plan); code != 5 || !strings.Contains(errs, "stale") {
		t.Errorf("a stale plan ended with %d: %s", code, errs)
	}

	busy, _ := harness.BusyPort(t)
	x := harness.KeepAlive(t, 2, g.url(8081, "/shop/x"))
	put(strings.Replace(g.rewrite(version("3")), g.url(8081, "/shop"), "http://"+busy+"/shop", 1))
	if o := g.applied(4, file); o.Result != api.RolledBack || o.Previous != o.Served || o.Diagnostics[0].Subject.Start.Line != 6 {
		t.Errorf("refused by Envoy: %+v", o)
	}
	waitVersion(t, g, "2")
	x.End(t, 2)

	put(strings.Replace(g.rewrite(version("2")), "name: shop", "name: renamed", 1))
	if _, errs, code := harness.Command(t, "apply", "--state-dir", g.State, "--max-delete", "0", file); code != 2 || !strings.Contains(errs, "1 object would be deleted, and 0 may be: ApiInstance default/shop") {
		t.Errorf("deletions ended with %d: %s", code, errs)
	}
	if out, errs, code := harness.Command(t, "rollback", "--state-dir", g.State, one.Revision[7:17]); code != 0 {
		t.Errorf("rollback ended with %d: %s%s", code, out, errs)
	}
	waitVersion(t, g, "1")
	if r := g.report(); r.Pinned == nil || r.Revision != one.Revision {
		t.Errorf("pinned %+v, revision %s", r.Pinned, r.Revision)
	}
	g.waitKept(one.Revision)
	g.Kill()
	g.Run()
	harness.Until(t, func() error {
		out, _, code := harness.Command(t, "status", "--output", "json", "--state-dir", g.State)
		var r status.Report
		if code != 0 || json.Unmarshal([]byte(out), &r) != nil || r.Revision != one.Revision {
			return fmt.Errorf("status %d: %s", code, out)
		}
		return nil
	})
	waitVersion(t, g, "1")
	harness.Until(t, func() error { // it is written beside the path of an edit
		out, _, _ := harness.Command(t, "history", "--state-dir", g.State)
		for _, want := range []string{"Programmed", "RolledBack", "Pinned", "apply ("} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %q in the history:\n%s", want, out)
			}
		}
		return nil
	})
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	file := filepath.Join(t.TempDir(), "api.yaml")
	if err := os.WriteFile(file, []byte(g.rewrite(version("hot"))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := harness.Command(t, "apply", "--state-dir", g.State, file); code != 2 || !strings.Contains(errs, "flexgw suspend") {
		t.Errorf("apply beside a source ended with %d: %s", code, errs)
	}
	if _, errs, code := harness.Command(t, "suspend", "--state-dir", g.State); code != 2 || !strings.Contains(errs, "--reason") {
		t.Errorf("suspend without a reason ended with %d: %s", code, errs)
	}
	if out, errs, code := harness.Command(t, "suspend", "--state-dir", g.State, "--for", "2h", "--reason", "incident 7"); code != 0 || !strings.Contains(out, "incident 7") {
		t.Fatalf("suspend ended with %d: %s%s", code, out, errs)
	}
	hot := g.applied(0, file).Revision
	waitVersion(t, g, "hot")
	g.write("api.yaml", version("2"))
	time.Sleep(500 * time.Millisecond)
	waitVersion(t, g, "hot")
	if _, errs, code := harness.Command(t, "sync", "--state-dir", g.State); code != 2 || !strings.Contains(errs, "resume") {
		t.Errorf("sync while suspended ended with %d: %s", code, errs)
	}
	g.waitKept(hot)
	g.Kill()
	g.Run()
	g.WaitReady()
	waitVersion(t, g, "hot")
	if r := g.report(); r.Suspended == nil || r.Suspended.Reason != "incident 7" {
		t.Errorf("a restart forgot the suspension: %+v", r.Suspended)
	}
	if out, errs, code := harness.Command(t, "resume", "--state-dir", g.State); code != 0 {
		t.Errorf("resume ended with %d: %s%s", code, out, errs)
	}
	waitVersion(t, g, "2")
}
