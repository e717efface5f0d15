package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// An Envoy without a daemon follows the folder that apply writes, without a gap, and what it refuses is taken back.
func TestApplyToFiles(t *testing.T) {
	t.Parallel()
	g := prepare(t, versioned) // for its ports and echoes
	dir := filepath.Join(t.TempDir(), "x")
	src := filepath.Join(t.TempDir(), "api.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(src, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	apply := func(want int, args ...string) api.Outcome {
		t.Helper()
		out, errs, code := harness.Command(t, append([]string{"apply", "--output", "json", "--to", dir, src}, args...)...)
		if code != want {
			t.Fatalf("apply %v ended with %d, want %d: %s%s", args, code, want, out, errs)
		}
		var o api.Outcome
		if out != "" {
			if err := json.Unmarshal([]byte(out), &o); err != nil {
				t.Fatal(err)
			}
		}
		return o
	}
	harness.Binary(t)
	put(g.rewrite(version("1")))
	if o := apply(0, "--dry-run"); o.Reason != "DryRun" || !strings.Contains(o.ChangesText, "adds") {
		t.Errorf("dry run: %+v", o)
	}
	if o := apply(3); o.Reason != "NoEnvoy" || !strings.Contains(o.Message, "envoy -c ") {
		t.Errorf("without an Envoy: %+v", o)
	}
	found, err := envoy.Find(t.Context(), envoy.FindOptions{Choice: "auto", Getenv: os.LookupEnv, Log: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(found.Path, "-c", filepath.Join(dir, "envoy.json"), "--disable-hot-restart", "--concurrency", "2", "--drain-time-s", "1", "-l", "warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	harness.Until(t, 20*time.Second, func() error {
		res, err := http.Get(g.url(8081, "/shop/x"))
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	if o := apply(0); o.Result != api.Programmed {
		t.Errorf("once Envoy runs: %+v", o)
	}
	x := harness.KeepAlive(t, 4, g.url(8081, "/shop/x"))
	for i := range 30 {
		v := fmt.Sprint(i + 2)
		text := version(v)
		if i%3 == 0 { // a neighbour comes and goes
			text += "---\n" + strings.Replace(strings.Replace(version("n"), "name: shop", "name: next", 1), "8081/shop", "8081/next", 1)
		}
		put(g.rewrite(text))
		if o := apply(0); o.Result != api.Programmed || o.Served != o.Revision {
			t.Fatalf("edit %d: %+v", i, o)
		}
		waitVersion(t, g, v)
	}

	busy, _ := harness.BusyPort(t)
	good := g.rewrite(version("good"))
	put(good)
	before := apply(0)
	taken := strings.Replace(strings.Replace(g.rewrite(version("n")), "name: shop", "name: taken", 1), g.url(8081, "/shop"), "http://"+busy, 1)
	put(strings.Replace(good, "good", "bad", 1) + "---\n" + taken)
	if o := apply(4); o.Result != api.RolledBack || o.Previous != before.Revision || !strings.Contains(o.Message, "listeners.json") {
		t.Errorf("a port that is taken: %+v", o)
	}
	waitVersion(t, g, "good")
	put(good)
	if o := apply(0); o.Result != api.Programmed {
		t.Errorf("after the refusal: %+v", o)
	}
	x.End(t, 4)

	put(strings.Replace(good, "header-injection-flex", "rate-limiting-flex", 1))
	if _, errs, code := harness.Command(t, "apply", "--to", dir, src); code != 1 {
		t.Errorf("a broken config ended with %d: %s", code, errs)
	}
	put(strings.Replace(good, `        outboundHeaders:
          - key: x-version
            value: "good"
`, "        rateLimits: [{maximumRequests: 3, timePeriodInMilliseconds: 1000}]\n", 1))
	limited, _ := os.ReadFile(src)
	put(strings.Replace(string(limited), "header-injection-flex", "rate-limiting-flex", 1))
	if _, errs, code := harness.Command(t, "apply", "--to", dir, src); code != 1 || !strings.Contains(errs, "needs the daemon") {
		t.Errorf("a policy that the daemon decides ended with %d: %s", code, errs)
	}
	put(strings.Replace(good, g.url(8081, "/shop"), g.url(8081, "/other"), 1))
	if _, errs, code := harness.Command(t, "apply", "--to", dir, "--max-delete", "0", src); code != 2 || !strings.Contains(errs, "/shop") {
		t.Errorf("--max-delete 0 ended with %d: %s", code, errs)
	}
	waitVersion(t, g, "good")
}
