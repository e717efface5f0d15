package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/gate/gatetest"
	"github.com/flexgw/flexgw/reconcile/status"
)

// Three daemons follow one folder and wait. A good revision is brought to one after another; a bad one stops at the first, and
// the others are left as they are. Two are asked over mutual TLS, one over its socket.
func TestRollout(t *testing.T) {
	t.Parallel()
	ca, certs := gatetest.New(t, "operators"), t.TempDir()
	file := func(name string) string { return filepath.Join(certs, name) }
	put := func(name string, p gatetest.Pair) {
		gatetest.Put(t, file(name+".crt"), p.Cert)
		gatetest.Put(t, file(name+".key"), p.Key)
	}
	gatetest.Put(t, file("ca"), ca.PEM)
	put("daemon", ca.Issue(time.Hour, "127.0.0.1"))
	put("operator", ca.Issue(time.Hour, "ops.example.com"))
	put("stranger", ca.Issue(time.Hour, "else.example.com"))

	// One host for all of them: their Envoys share the port, which is nothing to this test.
	port, dir := harness.FreePort(t), t.TempDir()
	text := func(v string, port int) string {
		return strings.Replace(version(v), "http://0.0.0.0:8081/shop", fmt.Sprintf("http://127.0.0.1:%d/shop", port), 1)
	}
	harness.Replace(t, filepath.Join(dir, "api.yaml"), text("1", port))
	var names []string
	var daemons []*harness.Daemon
	for i := range 3 {
		d := harness.NewDaemon(t)
		d.Dir, d.Args = dir, []string{"--approve-after", "never"}
		name := filepath.Join(d.State, "flexgw.sock")
		if i > 0 {
			name = "127.0.0.1:" + strconv.Itoa(harness.FreePort(t))
			d.Args = append(d.Args, "--api-listen", name, "--api-cert", file("daemon.crt"), "--api-key", file("daemon.key"), "--api-client-ca", file("ca"), "--api-allow", "ops.example.com")
		}
		d.Run()
		d.WaitReady()
		names, daemons = append(names, name), append(daemons, d)
	}
	list := file("daemons")
	gatetest.Put(t, list, []byte("# all of them\n"+strings.Join(names, "\n")+"\n"))
	as := func(who string, args ...string) []string {
		return append(args, "--daemons", list, "--tls-cert", file(who+".crt"), "--tls-key", file(who+".key"), "--tls-ca", file("ca"))
	}
	all := func(want int) (reports []*status.Report) {
		t.Helper()
		out, errs, code := harness.Command(t, as("operator", "status", "--all", "--output", "json")...)
		var answer struct {
			Daemons []struct{ Status *status.Report }
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil || code != want || len(answer.Daemons) != 3 {
			t.Fatalf("status --all ended with %d: %v\n%s%s", code, err, out, errs)
		}
		for _, d := range answer.Daemons {
			reports = append(reports, d.Status)
		}
		return reports
	}
	waiting := func() (revision string) {
		t.Helper()
		harness.Until(t, func() error {
			for i, r := range all(0) {
				if r.Waiting == nil || revision != "" && r.Waiting.Revision != revision {
					return fmt.Errorf("daemon %d waits for nothing", i)
				}
				revision = r.Waiting.Revision
			}
			return nil
		})
		return revision
	}

	first := all(0)[0].Revision
	harness.Replace(t, filepath.Join(dir, "api.yaml"), text("2", port))
	second := waiting()
	out, errs, code := harness.Command(t, as("operator", "rollout", "--revision", second[:16], "--pause", "50ms")...)
	if code != 0 || strings.Count(out, "programmed") != 3 {
		t.Fatalf("the rollout ended with %d: %s%s", code, out, errs)
	}
	for i, r := range all(0) {
		if r.Revision != second || r.Waiting != nil || r.Daemon.Version == "" {
			t.Errorf("daemon %d serves %s, not %s: %+v", i, r.Revision, second, r)
		}
	}
	if out, _, _ := harness.Command(t, as("operator", "status", "--all")...); strings.Count(out, " connected since ") != 3 || strings.Count(out, " live ") != 3 {
		t.Errorf("status --all:\n%s", out)
	}

	busy, free := harness.BusyPort(t)
	defer free()
	harness.Replace(t, filepath.Join(dir, "more.yaml"), strings.Replace(strings.Replace(text("3", 8081), "http://127.0.0.1:8081", "http://"+busy, 1), "name: ", "name: more-", 1))
	third := waiting()
	out, errs, code = harness.Command(t, as("operator", "rollout", "--revision", third)...)
	if code != 4 || strings.Count(out, "rolled back") != 1 || strings.Count(out, "not tried") != 2 || !strings.Contains(errs, "the daemons after it were left alone") {
		t.Errorf("a rollout that fails ended with %d: %s%s", code, out, errs)
	}
	for i, r := range all(0) {
		if r.Revision != second || i > 0 && (r.Waiting == nil || r.Waiting.Revision != third || r.LastFailed != nil) {
			t.Errorf("daemon %d serves %s: %+v", i, r.Revision, r)
		}
	}

	// Who is not allowed learns nothing, and is told of.
	if out, errs, code := harness.Command(t, as("stranger", "status", "--all")...); code != 3 || strings.Count(out, "does not answer") != 2 || strings.Count(out+errs, "names that its --api-allow does not have") != 2 || strings.Contains(errs, second) {
		t.Errorf("a stranger: %d %s%s", code, out, errs)
	}
	if r := all(0)[1]; len(r.Refused) != 1 || r.Refused[0].Identity != "else.example.com" {
		t.Errorf("refused peers: %+v", r.Refused)
	}
	// One that does not answer keeps a rollout from beginning.
	daemons[2].Stop()
	if out, errs, code := harness.Command(t, as("operator", "rollout", "--revision", first)...); code != 3 || !strings.Contains(errs, "nothing was begun") {
		t.Errorf("with a daemon down: %d %s%s", code, out, errs)
	}
	if r := all(3); r[0].Revision != second || r[2] != nil {
		t.Errorf("after it: %+v", r)
	}
}
