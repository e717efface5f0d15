package sim_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
)

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := simtest.Start(t, sim.Options{Dir: dir, Seed: seed(), Clock: &noon})
	g := s.Register(org, "edge")
	ack(t, g.Send(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 5)), 202, 1)
	ack(t, g.Send(g.Batch(simtest.UUID(1), 1, 3, noon, "default/shop", 7)), 202, 1)
	auth := s.LoginAs("all", "p")
	s.Call("GET", "/agent", nil)
	if err := s.SetOptions(sim.Tunables{Duplicates: 409}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(30 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	before, ca := s.State(), string(s.CA())
	if _, err := sim.Open(sim.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another simulator") {
		t.Errorf("two on one folder: %v", err)
	}
	url, ingest := s.URL(), s.IngestURL()
	s.Stop()

	s = simtest.Start(t, sim.Options{Dir: dir})
	if s.URL() != url || s.IngestURL() != ingest {
		t.Errorf("it is at %s and %s, was at %s and %s: registrations name these", s.URL(), s.IngestURL(), url, ingest)
	}
	after := s.State()
	if d := after.Clock.Sub(before.Clock); d < 0 || d > time.Minute {
		t.Errorf("the clock shows %s, before %s", after.Clock, before.Clock)
	}
	before.Clock = after.Clock
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if string(s.CA()) != ca {
		t.Error("the authority is another one")
	}
	want(t, s.Call("GET", "/accounts/api/me", nil, auth...), 200, "") // whoever was logged in still is
	send := func(b anypoint.Batch) simtest.Answer {
		t.Helper()
		a, err := s.Try(s.Client(g.Certificate), "POST", g.Metering, b, anypoint.IdempotencyKey, b.BatchID)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ack(t, send(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 5)), 409, 1)
	ack(t, send(g.Batch(simtest.UUID(1), 1, 2, noon, "default/shop", 6)), 202, 3)
	if n := s.State().Usage["default/shop"]; n != 7 {
		t.Errorf("usage %d", n)
	}
	s.Stop()
	s = simtest.Start(t, sim.Options{Dir: dir, RealClock: true})
	if d := time.Since(s.State().Clock); d.Abs() > time.Minute {
		t.Errorf("the clock is %s away", d)
	}
}

// process is a simulator that can be killed.
type process struct {
	cmd         *exec.Cmd
	url, ingest string
}

func start(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "FLEXGW_SIM_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &p.url, &p.ingest); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_, _ = p.cmd.Process.Wait()
}

// TestKilled kills a simulator in the middle of its work, again and again: what it acknowledged is there.
func TestKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts processes")
	}
	dir := t.TempDir()
	p := start(t, dir)
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	client := func(certificates ...tls.Certificate) *http.Client {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: time.Minute}
	}
	post := func(c *http.Client, url string, body any, headers ...string) (int, map[string]any) {
		b, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
			return 0, nil
		}
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(string(b)))
		if err != nil {
			t.Error(err)
			return 0, nil
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := c.Do(req)
		if err != nil {
			return 0, nil
		}
		defer res.Body.Close()
		var v map[string]any
		if json.NewDecoder(res.Body).Decode(&v) != nil {
			return 0, nil
		}
		return res.StatusCode, v
	}
	key, csr := simtest.Key(t, 2048)
	status, answer := post(client(), p.url+anypoint.PathRegistrations, request("edge", csr, 1), "Authorization", "Bearer "+sim.Token)
	if status != 201 {
		t.Fatal(status, answer)
	}
	text := func(name string) string { s, _ := answer[name].(string); return s }
	pair := simtest.Pair(t, text("certificateChain"), key)
	g := simtest.Gateway{Registered: anypoint.Registered{Platform: anypoint.Platform{AgentID: text("agentId"), AssetName: "edge", MeteringSchemaID: text("meteringSchemaId")}}}
	usage := client(pair)
	const rounds, senders = 8, 3
	var acked [senders]uint64
	var some atomic.Bool // of all that was sent was acknowledged
	registered := map[string]bool{"edge": true}
	for round := range rounds {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					b := g.Batch(simtest.UUID(i+1), 1, acked[i]+1, noon, "default/shop", int(acked[i])+1)
					if status, _ := post(usage, p.ingest+anypoint.PathMetering, b, anypoint.IdempotencyKey, b.BatchID); status == 202 || status == 200 {
						acked[i]++
						some.Store(true)
					} else if status != 0 {
						t.Errorf("status %d", status)
						return
					}
				}
			})
		}
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("edge-%d-%d", round, n)
				if status, _ := post(client(), p.url+anypoint.PathRegistrations, request(name, csr, 1000*round+n+2), "Authorization", "Bearer "+sim.Token); status == 201 {
					registered[name] = true
				}
			}
		})
		for late := time.Now().Add(time.Minute); !some.Load() && time.Now().Before(late); time.Sleep(time.Millisecond) { // a busy host is slow to begin
		}
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		p.kill()
		close(stop)
		wg.Wait()
		url, ingest := p.url, p.ingest
		p = start(t, dir)
		if p.url != url || p.ingest != ingest {
			t.Logf("the ports are others: %s %s", p.url, p.ingest) // somebody took them meanwhile
		}
		var st sim.State
		res, err := client().Get(p.url + "/_sim/state")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(&st)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range st.Registrations {
			delete(registered, r.Name)
		}
		if len(registered) > 0 {
			t.Fatalf("round %d: acknowledged and lost: %v", round, registered)
		}
		total, most := uint64(0), uint64(0)
		for _, n := range acked {
			total += n
			most += n + 1 // one more may have been done and not answered
		}
		if n := st.Usage["default/shop"]; n < total || n > most {
			t.Fatalf("round %d: usage %d, acknowledged %d", round, n, total)
		}
		for i, n := range acked { // what was done and not answered comes again, as a duplicate
			for _, r := range st.Registrations {
				for _, rep := range r.Replicas {
					if rep.ID == simtest.UUID(i+1) && (rep.Epochs[0].AckedSeq < n || rep.Epochs[0].AckedSeq > n+1) {
						t.Fatalf("round %d: replica %d is at %d, acknowledged %d", round, i, rep.Epochs[0].AckedSeq, n)
					}
				}
			}
		}
	}
	if acked == [senders]uint64{} {
		t.Error("nothing was acknowledged at all")
	}
	t.Logf("acknowledged: %v", acked)
}

func TestDamagedFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := simtest.Start(t, sim.Options{Dir: dir})
	s.Register(org, "edge")
	s.Stop()
	path := filepath.Join(dir, "state.snapshot")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Open(sim.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "state.snapshot is damaged") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pki", "root.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Open(sim.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "remove the folder") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"0.0.0.0:0", "192.0.2.1:443", "localhost", "example.org:0"} {
		if _, err := sim.Open(sim.Options{Dir: t.TempDir(), Listen: bad}); err == nil {
			t.Errorf("--listen %s was taken", bad)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Clock: &noon})
	g := s.Register(org, `<script>alert(1)</script>`)
	g.Send(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 41_999))
	s.Call("GET", "/agent", nil)
	set(t, s, `[{"next": 3, "status": "cut-after", "path": "/accounts"}, {"next": 2, "status": 503}]`)
	a := s.Call("GET", "/_sim", nil)
	page := string(a.Body)
	for _, text := range []string{"&lt;script&gt;", "CONNECTED", g.AgentID, "default/shop", "41999", "cut-after", "503", "Unexpected calls: 1", "/agent", "tripwire", anypoint.PathMetering, "not affiliated"} {
		if !strings.Contains(page, text) {
			t.Errorf("no %q on the page", text)
		}
	}
	for _, text := range []string{"<script", "http://", sim.Token, sim.Password} {
		if strings.Contains(page, text) {
			t.Errorf("%q is on the page", text)
		}
	}
	if csp := a.Header.Get("Content-Security-Policy"); a.Status != 200 || !strings.Contains(csp, "default-src 'none'") || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	if a := s.Call("GET", "/", nil, "Accept", "text/html,*/*"); a.Status != 302 || a.Header.Get("Location") != "/_sim" {
		t.Errorf("a person at /: %d %v", a.Status, a.Header)
	}
	if n := len(s.State().Unexpected); n != 1 {
		t.Errorf("%d unexpected", n)
	}
}
