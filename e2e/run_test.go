package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/e2e/workload"
	"github.com/flexgw/flexgw/reconcile/status"
)

const versioned = `
-- api.yaml --
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: shop
spec:
  address: http://0.0.0.0:8081/shop
  services:
    main:
      address: http://127.0.0.1:9001
  policies:
    - policyRef:
        name: header-injection-flex
        namespace: default
      config:
        outboundHeaders:
          - key: x-version
            value: "1"
`

func version(v string) string {
	return strings.Replace(strings.TrimPrefix(versioned, "\n-- api.yaml --\n"), `value: "1"`, fmt.Sprintf("value: %q", v), 1)
}

func waitVersion(t testing.TB, g *gateway, want string) {
	t.Helper()
	harness.Until(t, func() error {
		if got := g.get(8081, "/shop/x").Header.Get("x-version"); got != want {
			return fmt.Errorf("version %q is served, not %q", got, want)
		}
		return nil
	})
}

func TestEditsGoLiveWithoutLoss(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	const clients, edits = 8, 1000
	x := harness.KeepAlive(t, clients, g.url(8081, "/shop/x"))
	for i := 2; i < 2+edits; i++ {
		g.write("api.yaml", version(strconv.Itoa(i)))
		waitVersion(t, g, strconv.Itoa(i))
	}
	x.End(t, clients)
}

func TestAPIsComeAndGo(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	x := harness.KeepAlive(t, 4, g.url(8081, "/shop/x"))
	for i := range 12 {
		name := fmt.Sprintf("more-%d.yaml", i)
		g.write(name, strings.NewReplacer("name: shop", "name: more-"+strconv.Itoa(i), ":8081/shop", ":8081/more/deep/"+strconv.Itoa(i)).Replace(version("m")))
		harness.Until(t, func() error {
			if a := g.get(8081, fmt.Sprintf("/more/deep/%d/x", i)); a.Status != 200 {
				return fmt.Errorf("API %d: status %d", i, a.Status)
			}
			return nil
		})
	}
	for i := range 12 {
		g.remove(fmt.Sprintf("more-%d.yaml", i))
	}
	harness.Until(t, func() error {
		if a := g.get(8081, "/more/deep/3/x"); a.Status != 404 {
			return fmt.Errorf("a removed API answers %d", a.Status)
		}
		return nil
	})
	x.End(t, -1)
}

func TestMistakesChangeNothing(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	x := harness.KeepAlive(t, 2, g.url(8081, "/shop/x"))
	for _, m := range []struct{ from, to, place string }{
		{"outboundHeaders:", "outboundHeadrs:", "api.yaml:15:9: error:"},
		{"services:", "services: [", "api.yaml:"},
		{"header-injection-flex", "header-injektion-flex", "api.yaml:12:15: error:"},
	} {
		before := strings.Count(g.Log(), m.place)
		g.write("api.yaml", strings.Replace(version("9"), m.from, m.to, 1))
		harness.Until(t, func() error {
			if strings.Count(g.Log(), m.place) == before {
				return fmt.Errorf("%q is not named", m.place)
			}
			return nil
		})
		if got := g.get(8081, "/shop/x").Header.Get("x-version"); got != "1" {
			t.Errorf("after %q version %q is served", m.to, got)
		}
	}
	r := g.report()
	if c, _ := r.Condition(status.Accepted); c.Status != status.False || c.Place == nil {
		t.Errorf("the status does not tell: %+v", c)
	}
	if r.LastFailed == nil || len(r.LastFailed.Diagnostics) == 0 {
		t.Errorf("lastFailed: %+v", r.LastFailed)
	}
	g.write("api.yaml", version("10"))
	waitVersion(t, g, "10")
	x.End(t, 2)
}

func TestInvalidFirstRevisionIsWaitedOut(t *testing.T) {
	t.Parallel()
	g := prepare(t, versioned)
	g.write("api.yaml", strings.Replace(version("1"), "kind: ApiInstance", "kind: ApiInstanse", 1))
	g.Run()
	g.WaitLog(`api\.yaml:2:7: error:`)
	if strings.Contains(g.Log(), "\nready") {
		t.Error("ready with nothing to serve")
	}
	g.write("api.yaml", version("1"))
	g.WaitReady()
	waitVersion(t, g, "1")
}

// report asks the daemon through its own command.
func (g *gateway) report() status.Report {
	g.t.Helper()
	out, errs, code := harness.Command(g.t, "status", "--output", "json", "--state-dir", g.State)
	if code != 0 {
		g.t.Fatalf("status ended with %d: %s", code, errs)
	}
	var r status.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		g.t.Fatal(err)
	}
	return r
}

func TestStatusTellsObjects(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	r := g.report()
	for _, c := range r.Conditions {
		unregistered := c.Status == status.Unknown && (c.Type == status.Registered || c.Type == status.UsageReported)
		if c.Status != status.True && !unregistered {
			t.Errorf("%s is %s (%s): %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	if r.Revision == "" || len(r.Envoys) != 1 || !r.Envoys[0].Connected || !strings.HasPrefix(r.Envoys[0].Version, "1.40") {
		t.Errorf("revision %q, envoys %+v", r.Revision, r.Envoys)
	}
	found := false
	for _, o := range r.Objects {
		if o.Kind == "ApiInstance" && o.Namespace == "default" && o.Name == "shop" {
			found = o.Place != nil && o.Place.File == "api.yaml" && o.Place.Start.Line == 4
		}
	}
	if !found {
		t.Errorf("no ApiInstance default/shop at api.yaml:4 in %+v", r.Objects)
	}
}

// A revision that Envoy refuses is taken back as a whole, and not tried again until the source changes.
func TestPortThatCannotBeBound(t *testing.T) {
	t.Parallel()
	busy, free := harness.BusyPort(t)
	g := start(t, versioned)
	before := g.report().Revision
	x := harness.KeepAlive(t, 2, g.url(8081, "/shop/x"))
	text := strings.Replace(g.rewrite(version("1")), "name: shop", "name: taken", 1)
	g.Put("taken.yaml", strings.Replace(text, g.url(8081, "/shop"), "http://"+busy, 1))
	harness.Until(t, func() error {
		c, _ := g.report().Condition(status.Programmed)
		if c.Status != status.False || c.Reason != "RolledBack" || c.Place == nil {
			return fmt.Errorf("programmed: %+v", c)
		}
		if c.Place.File != "taken.yaml" || c.Place.Start.Line != 6 || c.Place.Start.Column != 12 {
			return fmt.Errorf("the place to blame is %s, not the address", c.Place)
		}
		return nil
	})
	r := g.report()
	if r.Revision != before || r.LastFailed == nil || r.LastFailed.Reason != "Rejected" || r.LastFailed.Revision == before {
		t.Errorf("served is %s, before %s; last failed %+v", r.Revision, before, r.LastFailed)
	}
	harness.Until(t, func() error { // it is written beside the path of an edit
		out, _, _ := harness.Command(t, "history", "--state-dir", g.State)
		if !regexp.MustCompile(`RolledBack .*source .*taken\.yaml:6:12: `).MatchString(out) {
			return fmt.Errorf("the history does not tell:\n%s", out)
		}
		return nil
	})
	x.End(t, 2)
	free() // whoever had the port goes
	time.Sleep(1500 * time.Millisecond)
	if c, _ := g.report().Condition(status.Programmed); c.Reason != "RolledBack" {
		t.Errorf("a revision in quarantine was tried again: %+v", c)
	}
	if out, errs, code := harness.Command(t, "sync", "--state-dir", g.State); code != 0 || !strings.Contains(out, "programmed") {
		t.Errorf("sync ended with %d: %s%s", code, out, errs)
	}
	if res, err := http.Get("http://" + busy + "/x"); err != nil || res.StatusCode != 200 {
		t.Errorf("the port that is free by now: %v %v", res, err)
	}
}

// Without a revision to go back to, a port that cannot be had costs that port's APIs, and they come when it can be.
func TestPortThatCannotBeBoundAtTheStart(t *testing.T) {
	t.Parallel()
	busy, free := harness.BusyPort(t)
	g := prepare(t, versioned)
	g.write("api.yaml", version("1"))
	text := strings.Replace(g.rewrite(version("1")), "name: shop", "name: taken", 1)
	g.Put("taken.yaml", strings.Replace(text, g.url(8081, "/shop"), "http://"+busy, 1))
	g.Run()
	g.WaitLog("Envoy refused")
	harness.Until(t, func() error {
		c, _ := g.report().Condition(status.Programmed)
		if c.Status != status.False || c.Reason != "Rejected" || c.Place == nil || c.Place.File != "taken.yaml" {
			return fmt.Errorf("programmed: %+v", c)
		}
		return nil
	})
	if a := g.get(8081, "/shop/x"); a.Status != 200 {
		t.Errorf("the other port answers %d", a.Status)
	}
	free() // whoever had the port goes
	harness.Until(t, func() error {
		res, err := http.Get("http://" + busy + "/x")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			return fmt.Errorf("status %d", res.StatusCode)
		}
		return nil
	})
	g.WaitReady()
}

// What was rolled back stays so across a restart of the daemon, and ends when the source changes.
func TestQuarantineOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	busy, _ := harness.BusyPort(t)
	g := start(t, versioned)
	moved := strings.Replace(g.rewrite(version("2")), g.url(8081, "/shop"), "http://"+busy+"/shop", 1)
	g.Put("api.yaml", moved)
	rolledBack := func() error {
		if c, _ := g.report().Condition(status.Programmed); c.Reason != "RolledBack" {
			return fmt.Errorf("programmed: %+v", c)
		}
		return nil
	}
	harness.Until(t, rolledBack)
	waitVersion(t, g, "1")
	harness.Until(t, func() error { // it is written beside the path of an edit
		if b, err := os.ReadFile(filepath.Join(g.State, "last-good", "control.json")); err != nil || !strings.Contains(string(b), `"quarantined": {`) {
			return fmt.Errorf("the quarantine is not kept: %s %v", b, err)
		}
		return nil
	})
	g.Kill()
	x := harness.KeepAlive(t, 2, g.url(8081, "/shop/x"))
	g.Run()
	g.WaitReady()
	harness.Until(t, rolledBack)
	x.End(t, 2)
	g.write("api.yaml", version("3"))
	waitVersion(t, g, "3")
	if r := g.report(); r.LastFailed != nil && r.LastFailed.Revision == r.Revision {
		t.Errorf("what is live is said to have failed: %+v", r.LastFailed)
	}
}

// A daemon starts and serves what was served before while its source is away, and follows it once it is back.
func TestStartWithoutTheSource(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	waitVersion(t, g, "1")
	g.Stop()
	away := g.Dir + ".away"
	if err := os.Rename(g.Dir, away); err != nil {
		t.Fatal(err)
	}
	g.Run()
	g.WaitReady()
	waitVersion(t, g, "1")
	if c, _ := g.report().Condition(status.Fetched); c.Status != status.False || c.Reason != "SourceUnavailable" {
		t.Errorf("fetched: %+v", c)
	}
	if err := os.Rename(away, g.Dir); err != nil {
		t.Fatal(err)
	}
	g.write("api.yaml", version("2"))
	harness.Until(t, func() error {
		if v := g.get(8081, "/shop/x").Header.Get("x-version"); v != "2" {
			return fmt.Errorf("version %q", v)
		}
		return nil
	})
	if c, _ := g.report().Condition(status.Fetched); c.Status != status.True {
		t.Errorf("fetched: %+v", c)
	}
}

func TestStopEndsEnvoyToo(t *testing.T) {
	t.Parallel()
	g := start(t, versioned, withArgs("--drain-time", "20m")) // ten times as long as Stop waits
	g.get(8081, "/shop/x")
	client.CloseIdleConnections()
	if code := g.Stop(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if _, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", g.ports[8081]), time.Second); err == nil {
		t.Error("the port is still open")
	}
}

func TestStopLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		time.Sleep(700 * time.Millisecond)
		io.WriteString(w, "done")
	})
	g := start(t, versioned, withUpstream(9001, slow), withArgs("--drain-time", "1m"))
	got := make(chan error, 1)
	go func() {
		a, err := g.try("GET", 8081, "/shop/x", "")
		if err == nil && (a.Status != 200 || a.Body != "done") {
			err = fmt.Errorf("status %d, body %q", a.Status, a.Body)
		}
		got <- err
	}()
	<-asked
	if code := g.Stop(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if err := <-got; err != nil {
		t.Errorf("the request under way was cut: %v", err)
	}
}

func TestKilledDaemonLeavesEnvoyServing(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	x := harness.KeepAlive(t, 2, g.url(8081, "/shop/x"))
	before := g.report()
	g.Kill()
	time.Sleep(300 * time.Millisecond)
	if a := g.get(8081, "/shop/x"); a.Status != 200 {
		t.Fatalf("without its daemon Envoy answers %d", a.Status)
	}
	g.Run()
	g.WaitReady()
	if !strings.Contains(g.Log(), "adopted") {
		t.Errorf("the running Envoy was not adopted:\n%s", g.Log())
	}
	if after := g.report(); after.Revision != before.Revision {
		t.Errorf("revision %q, before %q", after.Revision, before.Revision)
	}
	g.write("api.yaml", version("2"))
	waitVersion(t, g, "2")
	x.End(t, 2)
}

func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	_, errs, code := harness.Command(t, "run", "--state-dir", g.State, g.Dir)
	if code != 3 || !strings.Contains(errs, g.State) {
		t.Errorf("ended with %d: %s", code, errs)
	}
}

func TestStateFolderBelongsToOneSource(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	g.Stop()
	other := t.TempDir()
	_, errs, code := harness.Command(t, "run", "--state-dir", g.State, other)
	if code != 3 || !strings.Contains(errs, g.Dir) {
		t.Errorf("ended with %d: %s", code, errs)
	}
}

// TestStartWithManyAPIs wants no 404 from the first moment on which the port is open.
func TestStartWithManyAPIs(t *testing.T) {
	t.Parallel()
	n := 10_000
	g := prepare(t, "")
	g.serve(9001, &echo{})
	g.ports[8081] = harness.FreePort(t)
	upstream := fmt.Sprintf("http://127.0.0.1:%d", g.ports[9001])
	file := workload.File(n, workload.Options{Seed: 7, Port: g.ports[8081], Upstream: upstream})
	if err := os.WriteFile(filepath.Join(g.Dir, "apis.yaml"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	g.Run()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	answered := 0
	deadline := time.Now().Add(5 * time.Minute)
	for i := n - 1; answered < 300; i = (i + 3571) % n {
		res, err := c.Get(g.url(8081, workload.BasePath(i)+"/items/x"))
		if errors.Is(err, syscall.ECONNREFUSED) {
			if time.Now().After(deadline) {
				t.Fatalf("no port after five minutes:\n%s", g.Log())
			}
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatalf("answer %d, API %d: status %d", answered, i, res.StatusCode)
		}
		answered++
	}
	g.WaitReady()
}

// TestRestartBesideAMistake kills daemon and Envoy, breaks the files, and wants what was served before.
func TestRestartBesideAMistake(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	first := g.report().Revision
	g.write("api.yaml", version("2"))
	harness.Until(t, func() error {
		if g.report().Revision == first {
			return errors.New("the first revision is still the one that is programmed")
		}
		return nil
	})
	g.Stop() // what is programmed is kept, however short a time ago
	g.write("api.yaml", strings.Replace(version("3"), "services:", "servces:", 1))
	g.Run()
	g.WaitReady()
	waitVersion(t, g, "2")
	c, _ := g.report().Condition(status.Accepted)
	if c.Status != status.False || c.Place == nil || c.Place.Start.Line != 7 {
		t.Errorf("the mistake is not told: %+v", c)
	}
	g.write("api.yaml", version("3"))
	waitVersion(t, g, "3")
}
