package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

// stamped is a revision of n APIs in one file, so that a rename changes all of them at once. Each carries its number four
// times: in a header to the upstream, in one to the client, in the path that the upstream sees, and in the Service's own path.
func stamped(n, port, upstream, revision int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: api-%[1]d
spec:
  address: http://127.0.0.1:%[2]d/api-%[1]d
  services:
    up:
      address: http://127.0.0.1:%[3]d
      routes:
        - config: {destinationPath: /r%[4]d/api-%[1]d}
  policies:
    - policyRef: {name: header-injection-flex}
      config: {inboundHeaders: [{key: x-version, value: "%[4]d"}], outboundHeaders: [{key: x-version, value: "%[4]d"}]}
    - policyRef: {name: header-injection-flex}
      config: {outboundHeaders: [{key: x-second, value: "%[4]d"}]}
`, i, port, upstream, revision)
	}
	return b.String()
}

// reflecting answers with the path and the version that it was asked with.
func reflecting(t testing.TB) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode([]string{r.URL.Path, r.Header.Get("x-version")})
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// seen asks one API and returns the revision that answered. An answer that is made of two is an error.
func seen(c *http.Client, port, api int) (int, error) {
	res, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/api-%d/x", port, api))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var got []string
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != 200 || len(got) != 2 {
		return 0, fmt.Errorf("API %d: status %d, %v", api, res.StatusCode, err)
	}
	var n, of int
	if _, err := fmt.Sscanf(got[0], "/r%d/api-%d/x", &n, &of); err != nil || of != api {
		return 0, fmt.Errorf("API %d: the upstream was asked for %s", api, got[0])
	}
	want := fmt.Sprint(n)
	if got[1] != want || res.Header.Get("x-version") != want || res.Header.Get("x-second") != want {
		return 0, fmt.Errorf("API %d: an answer of several revisions: path %d, to the upstream %s, to the client %s and %s", api, n, got[1], res.Header.Get("x-version"), res.Header.Get("x-second"))
	}
	return n, nil
}

// TestKills kills the daemon, and Envoy, at random moments of edits, some of which are mistakes. What must hold:
//
//   - every answer is of one revision in all four places where it shows, and never of one that was not accepted;
//   - the revision of an API never goes back below one that every API had when all of it was known to be live;
//   - afterwards every API is at the newest accepted revision;
//   - no request fails, and no connection is closed, for a daemon's kill.
//
// That two APIs are of the same revision at every moment is not promised: each is a resource of its own.
func TestKills(t *testing.T) {
	t.Parallel()
	const apis = 8
	daemonKills, envoyKills := 20, 3
	if long() {
		daemonKills, envoyKills = 1000, 100
	}
	if n, err := strconv.Atoi(os.Getenv("CHAOS_KILLS")); err == nil { // of the daemon, where a run is made in pieces
		daemonKills = n
	}
	d := newDaemon(t)
	port, upstream := harness.FreePort(t), reflecting(t)
	var newest, floor atomic.Int64
	var mu sync.Mutex
	refused := map[int]bool{}
	check := func(c *http.Client, api int) error {
		low := int(floor.Load())
		n, err := seen(c, port, api)
		if err != nil {
			return err
		}
		mu.Lock()
		bad := refused[n]
		mu.Unlock()
		switch {
		case bad:
			return fmt.Errorf("API %d: revision %d is served, which was not accepted", api, n)
		case n < low || n > int(newest.Load()):
			return fmt.Errorf("API %d: revision %d is served, not one of %d to %d", api, n, low, newest.Load())
		}
		return nil
	}
	r := rand.New(rand.NewPCG(7, 7))
	edit := func() {
		n := int(newest.Load()) + 1
		text := stamped(apis, port, upstream, n)
		if bad := r.IntN(4) == 0; bad {
			mu.Lock()
			refused[n] = true
			mu.Unlock()
			text += "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: wrong}\nspec: {adress: oops}\n"
		}
		newest.Store(int64(n))
		d.Put("apis.yaml", text)
	}
	probe := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	converged := func() {
		t.Helper()
		n := int(newest.Load()) + 1
		newest.Store(int64(n))
		d.Put("apis.yaml", stamped(apis, port, upstream, n))
		harness.Until(t, func() error {
			for api := range apis {
				if got, err := seen(probe, port, api); err != nil || got != n {
					return fmt.Errorf("API %d is at revision %d, not %d: %v", api, got, n, err)
				}
			}
			return nil
		})
		time.Sleep(20 * time.Millisecond) // the other worker threads
		floor.Store(int64(n))
	}
	d.Put("apis.yaml", stamped(apis, port, upstream, 0))
	d.Run()
	d.WaitReady()
	converged()

	s := harness.Each(t, 4, func(client int, c *http.Client) error {
		return check(c, r2(client, apis))
	})
	began := time.Now()
	for range daemonKills {
		for range r.IntN(3) {
			edit()
			time.Sleep(time.Duration(r.IntN(15)) * time.Millisecond)
		}
		edit()
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		d.Kill()
		if r.IntN(2) == 0 {
			edit()
		}
		d.Run()
		if r.IntN(3) > 0 { // else it is killed again while it starts
			converged()
		}
	}
	converged()
	requests := s.End(t, 4)
	took := time.Since(began)
	t.Logf("%d kills of the daemon in %.0f s, %d revisions: %d requests, %d failed or wrong, %d connections of 4 clients ended", daemonKills, took.Seconds(), newest.Load(), requests, s.Failures(), s.Ended.Load())

	// An Envoy that is killed takes its connections along; from the first answer of the next one on, everything is right.
	var refusedConnections atomic.Int64
	s = harness.Each(t, 4, func(client int, c *http.Client) error {
		err := check(c, r2(client, apis))
		var op *net.OpError
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || err != nil && (errors.As(err, &op) || strings.Contains(err.Error(), "EOF")) {
			refusedConnections.Add(1)
			c.CloseIdleConnections()
			return nil
		}
		return err
	})
	var back []time.Duration // from a kill to the first right answer, of an Envoy that had served for a second
	for range envoyKills {
		edit()
		// Some are killed while they are new; those get pauses.
		lived := time.Duration(r.IntN(2500)) * time.Millisecond
		time.Sleep(lived)
		pid := d.EnvoyPID()
		floor.Store(0) // what the newest accepted revision is at this moment, only the daemon knows
		killed := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		harness.Until(t, func() error { return check(probe, 0) })
		if lived > 1300*time.Millisecond {
			back = append(back, time.Since(killed))
		}
		converged()
	}
	requests = s.End(t, -1)
	slices.Sort(back)
	if len(back) == 0 {
		back = []time.Duration{0}
	}
	t.Logf("%d kills of Envoy: %d requests, %d while nobody listened, %d wrong; an Envoy that had served for a second was back after %s (median), %s (longest)", envoyKills, requests,
		refusedConnections.Load(), s.Failures(), back[len(back)/2].Round(time.Millisecond), back[len(back)-1].Round(time.Millisecond))
	if longest := back[len(back)-1]; longest > 10*time.Second {
		t.Errorf("it took %s until an Envoy that had served well was back", longest)
	}
}

// r2 spreads clients over APIs without a lock.
func r2(client, n int) int { return (client + int(time.Now().UnixNano()/1000)) % n }
