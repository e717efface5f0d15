package cli_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
	"github.com/flexgw/flexgw/reconcile/disk"
)

// onTheWay stands between a command and a simulator, and does something when the platform has answered a registration.
type onTheWay struct {
	*httptest.Server
	ca string

	mu       sync.Mutex
	answered func() // while the command still waits for the answer; nil: nothing
}

func newOnTheWay(t *testing.T, s *simtest.Server) *onTheWay {
	t.Helper()
	to, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	o := &onTheWay{ca: filepath.Join(t.TempDir(), "ca.pem")}
	p := httputil.NewSingleHostReverseProxy(to)
	p.Transport = s.Client().Transport
	p.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Path != anypoint.PathRegistrations {
			return nil
		}
		o.mu.Lock()
		f := o.answered
		o.mu.Unlock()
		if f != nil {
			f()
		}
		return nil
	}
	o.Server = httptest.NewTLSServer(p)
	t.Cleanup(o.Close)
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw}), s.CA()...)
	if err := os.WriteFile(o.ca, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// register runs the real command. whenAnswered is called with it when the platform has registered, and has not been heard yet.
func (o *onTheWay) register(t *testing.T, dir, name string, whenAnswered func(*os.Process), more ...string) (code int, said string) {
	t.Helper()
	self, err := exec.LookPath("flexgw")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"register", "--organization", sim.DefaultOrganization, "--anypoint-url", o.URL, "--ca-file", o.ca, "--output-directory", dir, name}, more...)...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	o.mu.Lock() // nobody is answered before the process is known
	if err := cmd.Start(); err != nil {
		o.mu.Unlock()
		t.Fatal(err)
	}
	o.answered = nil
	if whenAnswered != nil {
		o.answered = func() { whenAnswered(cmd.Process) }
	}
	o.mu.Unlock()
	_ = cmd.Wait() // the code says it
	return cmd.ProcessState.ExitCode(), both.String()
}

// TestRegisterKilled: a register that is killed after the platform has made the gateway loses neither the gateway nor its key: the same
// command again gets the same one, and there is one.
func TestRegisterKilled(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	o := newOnTheWay(t, s)
	rounds := 8
	if !testing.Short() {
		rounds = 40
	}
	token := []string{"--token-file", filepath.Join(t.TempDir(), "token")}
	user := []string{"--username", sim.Username, "--environment", envID, "--password-file", filepath.Join(t.TempDir(), "password")}
	for path, text := range map[string]string{token[1]: sim.Token, user[5]: sim.Password} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ends := map[string]int{}
	for round := range rounds {
		dir, name := t.TempDir(), "edge-"+string(rune('a'+round/26))+string(rune('a'+round%26))
		flags := [][]string{token, user}[round%2]
		if round/2%2 == 1 {
			flags = append(flags[:len(flags):len(flags)], "--split")
		}
		kill := func(p *os.Process) { _ = p.Kill(); time.Sleep(20 * time.Millisecond) }
		if round > 3 { // not before the answer: somewhere while the files are written
			kill = func(p *os.Process) {
				after := time.Duration(rand.Int64N(int64(25 * time.Millisecond)))
				go func() { time.Sleep(after); _ = p.Kill() }()
			}
		}
		code, said := o.register(t, dir, name, kill, flags...)
		if _, err := anypoint.ReadFile(dir); err != nil && code == 0 {
			t.Fatalf("round %d: it says that it is done: %v\n%s", round, err, said)
		}
		left, err := anypoint.ReadPending(dir)
		if err != nil {
			t.Fatalf("round %d: what is left cannot be used: %v", round, err)
		}
		f, readErr := anypoint.ReadFile(dir)
		switch {
		case left == nil && readErr != nil:
			t.Fatalf("round %d: the key is lost: %v\n%s", round, readErr, said)
		case left == nil:
			ends["done"]++
			continue
		case readErr == nil:
			ends["written"]++
			if !f.Key.Equal(left.Key) {
				t.Errorf("round %d: another key is written than is pending", round)
			}
		default:
			ends["asked"]++
		}
		if info, err := os.Stat(left.Path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		code, said = o.register(t, dir, name, nil, flags...)
		if code != 0 || !strings.Contains(said, "going on with what began at ") || strings.Contains(said, "PRIVATE") {
			t.Fatalf("round %d: %d %s", round, code, said)
		}
		f, err = anypoint.ReadFile(dir)
		if err != nil || !f.Key.Equal(left.Key) || f.AssetName != name {
			t.Fatalf("round %d: %v", round, err)
		}
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			unfinished := strings.HasPrefix(e.Name(), disk.Unfinished) && (bytes.Contains(b, []byte("tls.key")) || bytes.Contains(b, []byte("PRIVATE"))) // others may stay: nothing in them is secret
			if e.Name() == anypoint.PendingName || strings.HasSuffix(e.Name(), ".bak") || err != nil || unfinished {
				t.Errorf("round %d: left behind: %s (%d bytes)", round, e.Name(), len(b))
			}
		}
		made := 0
		for _, r := range s.State().Registrations {
			if r.Name == name {
				made++
				if r.AgentID != f.AgentID {
					t.Errorf("round %d: the file is of %s, and the platform has %s", round, f.AgentID, r.AgentID)
				}
			}
		}
		if made != 1 {
			t.Errorf("round %d: %d gateways", round, made)
		}
	}
	if ends["asked"] == 0 {
		t.Errorf("nobody was killed in time: %v", ends)
	}
	t.Logf("killed: %v", ends)
}

// TestRegisterCannotWrite: a gateway whose registration cannot be written is finished when it can be.
func TestRegisterCannotWrite(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	o := newOnTheWay(t, s)
	dir, token := t.TempDir(), filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(sim.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "registration.yaml")
	code, said := o.register(t, dir, "edge", func(*os.Process) { _ = os.Mkdir(path, 0o700) }, "--token-file", token)
	if code != cli.ExitWorld || !strings.Contains(said, "its key is in "+filepath.Join(dir, anypoint.PendingName)+": the same command finishes it") {
		t.Fatalf("%d %s", code, said)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if code, said = o.register(t, dir, "edge", nil, "--token-file", token); code != 0 || !strings.Contains(said, "going on with what began") {
		t.Errorf("%d %s", code, said)
	}
	if f, err := anypoint.ReadFile(dir); err != nil || len(s.State().Registrations) != 1 || f.AgentID != s.State().Registrations[0].AgentID {
		t.Errorf("%v, %+v", err, s.State().Registrations)
	}
}

// TestThroughABusyProxy: a forward proxy that makes no tunnel for a moment is asked again.
func TestThroughABusyProxy(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := []int{503, 502, 504}[min(asked.Add(1)-1, 2)]; asked.Load() <= 3 {
			w.WriteHeader(status)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, from); to.Close() }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.Close)
	code, out, said := command(t, strings.NewReader(sim.Password), "gateways", "list", "--username", sim.Username, "--password-file", "-", "--organization", sim.DefaultOrganization, "--environment", envID,
		"--anypoint-url", s.URL(), "--ca-file", ca, "--https-proxy", proxy.URL)
	if code != 0 || !strings.HasPrefix(out, "NAME") || asked.Load() < 4 || !strings.Contains(said, "503 Service Unavailable; again in 1s") || !strings.Contains(said, "504 Gateway Timeout; again in 4s") {
		t.Errorf("%d after %d tunnels: %s%s", code, asked.Load(), out, said)
	}
}

// TestTwoRegistersInOneFolder: the second one is refused while the first is at work, and touches nothing; killed, the first one is finished by
// the same command.
func TestTwoRegistersInOneFolder(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	o := newOnTheWay(t, s)
	dir := t.TempDir()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(sim.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	pending := filepath.Join(dir, anypoint.PendingName)
	_, said := o.register(t, dir, "edge", func(p *os.Process) {
		before, err := os.ReadFile(pending)
		if err != nil {
			t.Error(err)
		}
		for _, name := range []string{"edge", "other"} {
			code, said := o.register(t, dir, name, nil, "--token-file", token)
			if code != 3 || !strings.Contains(said, "another flexgw register or renew is at work in "+dir+": nothing was asked of the platform") {
				t.Errorf("%s beside it: %d %s", name, code, said)
			}
		}
		if after, err := os.ReadFile(pending); err != nil || !bytes.Equal(before, after) {
			t.Errorf("what is pending has changed: %v", err)
		}
		_ = p.Kill()
		_, _ = p.Wait()
	}, "--token-file", token)
	if _, err := anypoint.ReadFile(dir); err == nil {
		t.Fatalf("it was not killed in time: %s", said)
	}
	if code, said := o.register(t, dir, "edge", nil, "--token-file", token); code != 0 || !strings.Contains(said, "going on with what began at") {
		t.Errorf("%d %s", code, said)
	}
	f, err := anypoint.ReadFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	if all := s.State().Registrations; len(all) != 1 || all[0].AgentID != f.AgentID {
		t.Errorf("the platform has %+v, and the file %s", all, f.AgentID)
	}
	if left, err := anypoint.ReadPending(dir); left != nil || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
	unlock, err := disk.LockFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if code, _, said := command(t, strings.NewReader(sim.Password), "renew", "--username", sim.Username, "--password-file", "-", dir); code != 3 || !strings.Contains(said, "is at work in "+dir) {
		t.Errorf("renew: %d %s", code, said)
	}
}

// TestForceKilled: a register --force that is killed leaves the old registration, or the new one, and never half of each.
func TestForceKilled(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	o := newOnTheWay(t, s)
	rounds := 6
	if !testing.Short() {
		rounds = 30
	}
	dir := t.TempDir()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(sim.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := func() map[string]string { // keys of agents, by what the platform says
		names := map[string]string{}
		for _, r := range s.State().Registrations {
			names[r.AgentID] = r.Name
		}
		return names
	}
	for round := range rounds {
		name := "edge-" + string(rune('a'+round/26)) + string(rune('a'+round%26))
		args := []string{"--force", "--token-file", token}
		if round%3 != 1 {
			args = append(args, "--split")
		}
		if round > 0 {
			_, said := o.register(t, dir, name, func(p *os.Process) {
				after := time.Duration(rand.Int64N(int64(25 * time.Millisecond)))
				go func() { time.Sleep(after); _ = p.Kill() }()
			}, args...)
			f, err := anypoint.ReadFile(dir)
			if err != nil {
				t.Fatalf("round %d: %v\n%s", round, err, said)
			}
			// The certificate is of the gateway that the file names, and the platform knows both as one.
			if !strings.HasPrefix(f.CommonName, f.AgentID+".") || ours()[f.AgentID] != f.AssetName {
				t.Errorf("round %d: the certificate of %s with the registration of %s", round, f.CommonName, f.AgentID)
			}
		}
		if code, said := o.register(t, dir, name, nil, args...); code != 0 && !strings.Contains(said, "already exists") {
			t.Fatalf("round %d: %d %s", round, code, said)
		}
		f, err := anypoint.ReadFile(dir)
		if err != nil || f.AssetName != name || f.Split != (round%3 != 1) {
			t.Errorf("round %d: %v", round, err)
		}
		if _, err := os.Stat(filepath.Join(dir, anypoint.CertificateName)); (err == nil) != f.Split {
			t.Errorf("round %d: certificate.yaml: %v", round, err)
		}
	}
}

// TestTheHostsClockIsWrong: a certificate that is not valid by this host's clock is written all the same, and it is told which of the two is
// wrong, and what is to be done.
func TestTheHostsClockIsWrong(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		off     time.Duration
		expired bool
		want    []string // none: no warning
	}{
		"right":  {},
		"behind": {off: -400 * 24 * time.Hour, want: []string{"the certificate is valid from ", `this host's clock is (9600h0m\d+s|9599h59m\d+s) behind; set it`}},
		"ahead":  {off: 900 * 24 * time.Hour, expired: true, want: []string{"the certificate has expired at ", `this host's clock is (21600h0m\d+s|21599h59m\d+s) ahead; set it`}},
	} {
		dir := t.TempDir()
		var out, said bytes.Buffer
		code := cli.Alone([]string{"flexgw", "register", "--token-file", "-", "--organization", sim.DefaultOrganization, "--anypoint-url", s.URL(), "--ca-file", ca, "--output-directory", dir, "--output", "json", name},
			cli.Env{Stdin: strings.NewReader(sim.Token), Stdout: &out, Stderr: &said, Getenv: func(string) (string, bool) { return "", false }, Now: func() time.Time { return time.Now().Add(c.off) }})
		if _, err := anypoint.ReadFile(dir); code != 0 || err != nil {
			t.Errorf("%s: %d, %v: %s", name, code, err, &said)
		}
		if p, err := anypoint.ReadPending(dir); p != nil || err != nil {
			t.Errorf("%s: still pending: %v", name, err)
		}
		var facts struct {
			SchemaVersion int
			Result        string
			Expired       bool
		}
		if err := json.Unmarshal(out.Bytes(), &facts); err != nil || facts.SchemaVersion != 1 || facts.Result != "registered" || facts.Expired != c.expired {
			t.Errorf("%s: %v in %s", name, err, &out)
		}
		if len(c.want) == 0 && strings.Contains(said.String(), "warning") {
			t.Errorf("%s: %s", name, &said)
		}
		for _, w := range c.want {
			if !regexp.MustCompile(w).MatchString(said.String()) {
				t.Errorf("%s: %q is not in: %s", name, w, &said)
			}
		}
	}
}

// TestUnregisterNotThere: a 404 of a gateway that the environment does not have is told as that; one of an environment that is not there is
// a failure.
func TestUnregisterNotThere(t *testing.T) {
	t.Parallel()
	first := simtest.Start(t, sim.Options{})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, first.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if code, _, said := command(t, strings.NewReader(sim.Token), "register", "--token-file", "-", "--organization", sim.DefaultOrganization, "--anypoint-url", first.URL(), "--ca-file", ca, "--output-directory", dir, "edge"); code != 0 {
		t.Fatal(said)
	}
	path := filepath.Join(dir, "registration.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := anypoint.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	app := []string{"--username", sim.Username, "--password-file", "-"}
	unregister := func(s *simtest.Server) (int, string, string) {
		t.Helper()
		if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(first.URL()), []byte(s.URL())), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
			t.Fatal(err)
		}
		return command(t, strings.NewReader(sim.Password), append([]string{"unregister", "--yes", "--ca-file", ca, "--output", "json", path}, app...)...)
	}
	result := func(out string) string {
		var facts struct {
			SchemaVersion int
			Result, File  string
		}
		if err := json.Unmarshal([]byte(out), &facts); err != nil || facts.SchemaVersion != 1 || facts.File != path {
			t.Errorf("%v in %s", err, out)
		}
		return facts.Result
	}
	// Another platform has the same environment, and never had the gateway.
	code, out, said := unregister(simtest.Start(t, sim.Options{}))
	if code != 0 || result(out) != "unknown" || !strings.Contains(said, "environment "+f.EnvironmentID+" is there, and has no such gateway") || strings.Contains(said, "deleted already") {
		t.Errorf("%d %s%s", code, out, said)
	}
	// Or has no such organization.
	nowhere := &sim.Seed{Organizations: []sim.Organization{{ID: "other", Name: "Other", Environments: []sim.Environment{{ID: "other", Name: "Other", Type: "sandbox"}}}},
		Users: []sim.User{{Username: sim.Username, Password: sim.Password, Scopes: sim.AllScopes()}}}
	code, out, said = unregister(simtest.Start(t, sim.Options{Seed: nowhere}))
	if code != cli.ExitWorld || out != "" || !strings.Contains(said, "(404): nothing was deleted") {
		t.Errorf("%d %s%s", code, out, said)
	}
	if code, out, said = unregister(first); code != 0 || result(out) != "deleted" {
		t.Errorf("%d %s%s", code, out, said)
	}
	if code, out, said = unregister(first); code != 0 || result(out) != "alreadyDeleted" || !strings.Contains(said, "was deleted already") {
		t.Errorf("%d %s%s", code, out, said)
	}
}

// TestDeleteWhileDeleting: a gateway that the platform is still deleting is not one that was deleted already. The platform's clock stands
// still, so it is at it until the test says so.
func TestDeleteWhileDeleting(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	frozen := true
	if _, err := s.SetClock(sim.ClockChange{Frozen: &frozen}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetOptions(sim.Tunables{DeleteTakes: sim.Duration(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	g := s.Register(sim.DefaultOrganization, "edge")
	remove := func(wait string) (code int, result, said string) {
		code, out, said := command(t, strings.NewReader(sim.Password), "gateways", "delete", "--username", sim.Username, "--password-file", "-", "--organization", sim.DefaultOrganization,
			"--environment", g.EnvironmentID, "--anypoint-url", s.URL(), "--ca-file", ca, "--wait", wait, "--output", "json", "edge")
		var facts struct{ Result string }
		if err := json.Unmarshal([]byte(out), &facts); err != nil {
			t.Errorf("%v in %q\n%s", err, out, said)
		}
		return code, facts.Result, said
	}
	for range 2 {
		if code, result, said := remove("0"); code != 0 || result != "deleting" || strings.Contains(said, "already") {
			t.Errorf("%d %s\n%s", code, result, said)
		}
	}
	if code, result, said := remove("1ms"); code != cli.ExitWorld || result != "deleting" || !strings.Contains(said, "has not done it within 1ms") {
		t.Errorf("%d %s\n%s", code, result, said)
	}
	// One that waits has its answer when the platform is done.
	looks := func() (n int) {
		for _, c := range s.State().Calls {
			if c.Method == http.MethodGet && strings.HasSuffix(c.Path, "/gateways/"+g.AgentID) {
				n += int(c.Count)
			}
		}
		return n
	}
	before := looks()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if code, result, said := remove("1m"); code != 0 || result != "deleted" {
			t.Errorf("%d %s\n%s", code, result, said)
		}
	}()
	for looks() == before {
		select {
		case <-done:
			t.Fatal("it did not wait")
		case <-time.After(time.Millisecond):
		}
	}
	if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	<-done
	if code, result, said := remove("0"); code != 0 || result != "alreadyDeleted" {
		t.Errorf("%d %s\n%s", code, result, said)
	}
}
