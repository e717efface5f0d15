package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/schema/diag"
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
	startFromFolder(t, dir)
	harness.Until(t, func() error {
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

// startFromFolder starts an Envoy that reads what apply wrote.
func startFromFolder(t *testing.T, dir string) {
	t.Helper()
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
	socket, err := envoy.SocketPath(dir, "envoy-admin.sock")
	if err != nil {
		t.Fatal(err)
	}
	harness.Until(t, func() error {
		_, err := envoy.NewAdmin(socket).ServerInfo(t.Context())
		return err
	})
}

// folderApply applies the declarations of g to a folder.
func folderApply(g *gateway, want int, dir string, args ...string) api.Outcome {
	g.t.Helper()
	out, errs, code := harness.Command(g.t, append([]string{"apply", "--output", "json", "--to", dir, g.Dir}, args...)...)
	if code != want {
		g.t.Fatalf("apply %v ended with %d, want %d: %s%s", args, code, want, out, errs)
	}
	var o api.Outcome
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		g.t.Fatal(err)
	}
	return o
}

// contents are the files of a folder and their bytes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".lock") {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// takenBack wants an answer that says so for what a probe or the error rate said, in the words of the target xds.
func takenBack(t *testing.T, o api.Outcome, before api.Outcome, code diag.Code, again string) {
	t.Helper()
	if o.Result != api.RolledBack || o.Reason != "ProofFailed" || o.Previous != before.Revision || o.Served != before.Revision ||
		len(o.Diagnostics) != 1 || o.Diagnostics[0].Code != code || !strings.HasSuffix(o.Message, "; revision "+before.Revision+again) {
		t.Errorf("%+v", o)
	}
}

// What an Envoy without a daemon serves is asked, too, and what fails its probes is put back without a gap.
func TestApplyToFilesIsProbed(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	g := prepare(t, probed, withUpstream(9002, unavailable), withUpstream(9001, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			unavailable(w, r)
		}
	})))
	dir := filepath.Join(t.TempDir(), "x")
	harness.Binary(t)
	if o := folderApply(g, 3, dir); o.Reason != "NoEnvoy" { // and nobody is asked
		t.Errorf("without an Envoy: %+v", o)
	}
	startFromFolder(t, dir)
	harness.Until(t, func() error {
		res, err := http.Get(g.url(8081, "/shop/x"))
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	down.Store(true)
	if o := folderApply(g, 4, dir); o.Result != api.ProofFailed || o.Served != o.Revision || o.Previous != "" {
		t.Errorf("nothing to go back to: %+v", o)
	}
	down.Store(false)
	good := folderApply(g, 0, dir)
	if good.Result != api.Programmed {
		t.Errorf("%+v", good)
	}
	before := contents(t, dir)

	neighbour := "---\n" + strings.NewReplacer("name: shop", "name: next", "8081/shop", "8081/next").Replace(shopTo("http://127.0.0.1:9001"))
	x := harness.KeepAlive(t, 4, g.url(8081, "/shop/x")) // counts what is no answer
	g.write("api.yaml", shopTo("http://127.0.0.1:9002")+neighbour)
	o := folderApply(g, 4, dir)
	takenBack(t, o, good, "probe/failed", " is served again")
	for _, want := range []string{"/shop/health answered 503", "2 times [probe/failed]"} {
		if !strings.Contains(o.Message, want) {
			t.Errorf("no %q in %s", want, o.Message)
		}
	}
	if at := o.Diagnostics[0].Subject; !strings.HasSuffix(at.File, "probe.yaml") || at.Start.Line != 8 {
		t.Errorf("place %+v, want http of the probe", at)
	}
	x.Stop()
	if after := contents(t, dir); !maps.Equal(after, before) {
		t.Errorf("the folder is not as it was: %v", slices.Sorted(maps.Keys(after)))
	}
	for path, want := range map[string]int{"/shop/x": 200, "/next/x": 404} {
		res, err := http.Get(g.url(8081, path))
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != want {
			t.Errorf("%s: %d after the rollback, want %d", path, res.StatusCode, want)
		}
	}
	if o := folderApply(g, 0, dir, "--no-probes"); o.Result != api.Programmed {
		t.Errorf("unasked: %+v", o)
	}
	g.write("api.yaml", shopTo("http://127.0.0.1:9001"))
	g.remove("probe.yaml")
	good = folderApply(g, 0, dir)

	y := requests(t, g.url(8081, "/shop/x"))
	harness.Until(t, func() error {
		if n := y.good.Load(); n < 1000 {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
	g.write("api.yaml", shopTo("http://127.0.0.1:9002"))
	const whole = time.Minute // five looks
	window := []string{"--error-window", whole.String(), "--timeout", "4m", "--max-error-rate", "10%", "--min-requests", "20"}
	from := time.Now()
	takenBack(t, folderApply(g, 4, dir, window...), good, "probe/too-many-errors", " is served again")
	if took := time.Since(from); took >= whole {
		t.Errorf("rolled back after %s, the whole window", took)
	}
	g.write("api.yaml", shopTo("http://127.0.0.1:9001")+"# mended\n")
	if o := folderApply(g, 0, dir, "--error-window", "2s"); o.Result != api.Programmed {
		t.Errorf("mended: %+v", o)
	}
	y.end()
	if other := y.other.Load(); other != nil {
		t.Errorf("neither good nor bad: %v", other)
	}
}

// The certificates of a port are files that keep their names: they come back, too.
func TestApplyToFilesPutsCertificatesBack(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good, old := ca.issue(t, "gateway.test"), ca.issueUntil(t, time.Now().Add(-time.Minute), "gateway.test")
	text := func(p pair) string {
		indent := func(s string) string {
			return "|\n        " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n        ")
		}
		return strings.NewReplacer("$CRT", indent(p.crt), "$KEY", indent(p.key)).Replace(tlsAPI(8443, ""))
	}
	g := prepare(t, "\n-- gateway.yaml --\n"+text(good)+
		"-- probe.yaml --\napiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata:\n  name: certificate\nspec:\n  targetRef:\n    name: port8443\n  tls:\n    serverName: gateway.test\n  failureThreshold: 1\n")
	dir := filepath.Join(t.TempDir(), "x")
	harness.Binary(t)
	folderApply(g, 3, dir)
	startFromFolder(t, dir)
	shown := func() {
		t.Helper()
		_, state, err := g.shake(8443, &tls.Config{RootCAs: ca.pool(), ServerName: "gateway.test"})
		if err != nil || !bytes.Equal(state.PeerCertificates[0].Raw, good.certificate(t).Certificate[0]) {
			t.Errorf("not the good certificate: %v", err)
		}
	}
	before := folderApply(g, 0, dir) // waits until all is warm
	shown()
	g.write("gateway.yaml", text(old))
	o := folderApply(g, 4, dir)
	takenBack(t, o, before, "probe/failed", " is served again")
	if !strings.Contains(o.Message, "that expired on ") || strings.Contains(fmt.Sprint(o), "PRIVATE KEY") {
		t.Errorf("%+v", o)
	}
	shown()
}

// The folder of a real Flex Gateway: something reads it after a while, and serves what it read.
func TestApplyToFlexIsProbed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var mu sync.Mutex
	reads := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the product, which takes a moment
		mu.Lock()
		defer mu.Unlock()
		path := filepath.Join(dir, "api.yaml")
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 300*time.Millisecond {
			b, _ := os.ReadFile(path)
			reads = string(b)
		}
		if !strings.Contains(reads, "upstream.test:80") {
			unavailable(w, r)
		}
	}))
	defer s.Close()
	at := s.Listener.Addr().String()
	src := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(src, name), []byte(strings.Replace(text, "0.0.0.0:8081", at, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &gateway{Daemon: &harness.Daemon{Dir: src}, t: t}
	_, probe, _ := strings.Cut(probed, "-- probe.yaml --\n")
	put("probe.yaml", probe)
	put("api.yaml", shopTo("http://nobody.test:80"))
	args := []string{"--target", "flex", "--settle", "1s"}
	harness.Binary(t)
	if o := folderApply(g, 4, dir, args...); o.Result != api.ProofFailed || o.Served != o.Revision || o.Previous != "" {
		t.Errorf("nothing to go back to: %+v", o)
	}
	put("api.yaml", shopTo("http://upstream.test:80"))
	good := folderApply(g, 0, dir, args...)
	if good.Result != api.Accepted || good.Reason != "Copied" || !strings.Contains(good.Message, "its Probes are answered") {
		t.Errorf("%+v", good)
	}
	before := contents(t, dir)
	put("api.yaml", shopTo("http://nobody.test:80"))
	put("more.yaml", "# nothing\n")
	takenBack(t, folderApply(g, 4, dir, args...), good, "probe/failed", " is in the folder again")
	if after := contents(t, dir); !maps.Equal(after, before) {
		t.Errorf("the folder is not as it was: %v, was %v", after, before)
	}
	if o := folderApply(g, 0, dir, "--target", "flex", "--no-probes"); strings.Contains(o.Message, "Probes") {
		t.Errorf("unasked: %+v", o)
	}
}
