package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// simulator is `flexgw sim`, which may be stopped and run again in its folder.
type simulator struct {
	t    testing.TB
	dir  string
	url  string
	cmd  *exec.Cmd
	ends func()
}

// run starts it at a time of its clock.
func (s *simulator) run(at time.Time) {
	s.t.Helper()
	s.cmd = exec.Command(harness.Binary(s.t), "sim", "--dir", s.dir, "--clock", at.UTC().Format(time.RFC3339))
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := false
	s.ends = func() {
		if ended {
			return
		}
		ended = true
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		if err := s.cmd.Wait(); err != nil {
			s.t.Errorf("sim: %v", err)
		}
	}
	s.t.Cleanup(s.ends)
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok || s.url != "" && s.url != url {
		s.t.Fatalf("sim said %q, %v; it was %s before", line, err, s.url)
	}
	s.url = url
}

func (s *simulator) ca() string { return filepath.Join(s.dir, "ca.pem") }

// state is its state page, for scripts.
func (s *simulator) state() (st sim.State) {
	s.t.Helper()
	pem, err := os.ReadFile(s.ca())
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := c.Get(s.url + "/_sim/state")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%d %v", res.StatusCode, err)
	}
	return st
}

// aheadSource gives a process another time of day than the kernel's. Intervals are the kernel's.
const aheadSource = `#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
	int r = syscall(SYS_clock_gettime, id, t);
	if (r == 0 && id == CLOCK_REALTIME)
		t->tv_sec += AHEAD;
	return r;
}
`

// envoyAhead is an Envoy whose clock is ahead of the host's: a program that starts the real one. There must be a C compiler, as for go test -race.
func envoyAhead(t testing.TB, ahead time.Duration) (path string) {
	t.Helper()
	found, err := envoy.Find(t.Context(), envoy.FindOptions{Choice: "auto", Getenv: os.LookupEnv, Log: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, library, path := filepath.Join(dir, "ahead.c"), filepath.Join(dir, "ahead.so"), filepath.Join(dir, "envoy")
	if err := os.WriteFile(source, []byte(aheadSource), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", fmt.Sprintf("-DAHEAD=%d", int(ahead.Seconds())), "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\nLD_PRELOAD='%s' exec '%s' \"$@\"\n", library, found.Path), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return path
}

// TestAnypointWhole is the life of a registered gateway, with the real commands and a real Envoy: register, serve, an hour without a network
// while requests come, everything restarted, and connected again. The platform has each request of each API in its hour, and in all that time
// two destinations were called: where it registered, and where usage is reported.
//
// The hour is simulated where a clock can be handed in: the simulator's (--clock) and Envoy's, which says in which hour a request began and
// writes that into the log, in the format that render gives it. The daemon has the host's clock: it sees requests of the hour before come
// late, and then those of its own hour. That it tries for an hour, and seals at the close of one, is e2e/usage's TestAnHourWithoutANetwork.
func TestAnypointWhole(t *testing.T) {
	t.Parallel()
	if !harness.Inside(t) {
		return
	}
	const hour = time.Hour
	paths := []string{"orders", "pets", "bills"}
	text := "\n-- api.yaml --\n"
	for _, p := range paths {
		text += strings.ReplaceAll(strings.TrimPrefix(stayingHome, "\n-- api.yaml --\n"), "home", p) + "---\n"
	}
	o := newOutside(t)
	g := prepare(t, text)
	s := &simulator{t: t, dir: t.TempDir()}
	s.run(time.Now().Add(-hour))
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(sim.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := harness.Command(t, "register", "--token-file", token, "--organization", sim.DefaultOrganization, "--anypoint-url", s.url, "--ca-file", s.ca(), "--output-directory", g.Dir, "edge"); code != 0 {
		t.Fatalf("register: exit code %d\n%s", code, errs)
	}
	f, err := anypoint.ReadFile(filepath.Join(g.Dir, anypoint.FileName))
	if err != nil {
		t.Fatal(err)
	}

	sent := map[string]uint64{} // by hour and API
	turn := 0
	serve := func(ahead time.Duration) {
		t.Helper()
		turn++
		for i, p := range paths {
			for range 5*turn + i {
				if left := time.Until(time.Now().Truncate(hour).Add(hour)); left < 2*time.Second { // else nobody but Envoy knows to which hour it belongs
					time.Sleep(left)
				}
				began := time.Now().Add(ahead).UTC().Truncate(hour)
				if a := g.get(8081, "/"+p); a.Status != 200 {
					t.Fatalf("status %d", a.Status)
				}
				sent[began.Format(time.RFC3339)+" default/"+p]++
			}
		}
	}
	waiting := func(when string) {
		t.Helper()
		if _, errs, code := harness.Command(t, "usage", "flush", "--state-dir", g.State); code != 3 || !strings.Contains(errs, "not reported: ") || !strings.Contains(errs, "requests wait") {
			t.Errorf("usage flush %s: exit code %d\n%s", when, code, errs)
		}
	}
	stop := func() {
		t.Helper()
		if code := g.Stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	run := func(ahead time.Duration) {
		t.Helper()
		g.Env = []string{"FLEXGW_ENVOY=" + envoyAhead(t, ahead)}
		g.Run()
		g.WaitReady()
	}

	run(-hour)
	serve(-hour)
	g.flush()
	reported := sum(sent)

	s.ends() // the network is gone: nobody answers there
	serve(-hour)
	waiting("without a network")
	stop()
	run(0) // an hour later
	serve(0)
	waiting("an hour later")

	stop() // everything ends, and begins again, connected
	s.run(time.Now())
	run(0)
	serve(0)
	last := time.Now().UTC().Truncate(hour)
	g.flush()
	o.want("the whole run")
	o.wantHome(g, hostOf(t, s.url), hostOf(t, f.Metering))
	if out, _, code := harness.Command(t, "usage", "show", "--state-dir", g.State); code != 0 || !strings.Contains(out, fmt.Sprintf("%d counted, %d reported, 0 waiting", sum(sent), sum(sent))) {
		t.Errorf("usage show: exit code %d\n%s", code, out)
	}
	stop()

	st := s.state()
	got := map[string]uint64{}
	for _, h := range st.Hours {
		got[h.Start.Format(time.RFC3339)+" "+h.API] = h.Requests
		if h.Start.Before(last) && !h.Final {
			t.Errorf("%+v: its hour is over", h)
		}
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("the platform's hours and APIs (-sent +reported):\n%s", diff)
	}
	if len(sent) < 2*len(paths) || len(st.Usage) != len(paths) || len(st.Unexpected) > 0 || len(st.Registrations) != 1 {
		t.Errorf("%v, unexpected %v, %d gateways", st.Usage, st.Unexpected, len(st.Registrations))
	}
	t.Logf("%d requests, %d of them before the network went, in %d hours of %d APIs; hours %v", sum(sent), reported, len(sent)/len(paths), len(paths), slices.Sorted(maps.Keys(sent)))
}

func sum(m map[string]uint64) (n uint64) {
	for _, x := range m {
		n += x
	}
	return n
}
