package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/gate"
	"github.com/flexgw/flexgw/reconcile/gate/gatetest"
	"github.com/flexgw/flexgw/reconcile/status"
)

// fleet is a daemon without an Envoy of its own, for Envoys that come to it over TCP.
type fleet struct {
	*gateway
	authority *gatetest.Authority
	address   string
	certs     string
}

func newFleet(t *testing.T, files string, opts ...option) *fleet {
	t.Helper()
	f := &fleet{authority: gatetest.New(t, "fleet"), certs: t.TempDir(), address: "127.0.0.1:" + strconv.Itoa(harness.FreePort(t))}
	f.issue(t, f.authority)
	f.gateway = prepare(t, files, append(opts, withArgs("--envoy", "none", "--xds-listen", f.address, "--xds-cert", f.file("crt"), "--xds-key", f.file("key"),
		"--xds-client-ca", f.file("ca"), "--xds-allow", "edge.example.com", "--xds-allow", "spiffe://example.com/edge"))...)
	f.Run()
	return f
}

func (f *fleet) file(name string) string { return filepath.Join(f.certs, name) }

// issue gives the daemon a certificate, and the authority that it trusts.
func (f *fleet) issue(t *testing.T, a *gatetest.Authority) {
	p := a.Issue(time.Hour, "127.0.0.1")
	gatetest.Put(t, f.file("crt"), p.Cert)
	gatetest.Put(t, f.file("key"), p.Key)
	gatetest.Put(t, f.file("ca"), a.PEM)
}

func (f *fleet) envoy(node string) (status.Envoy, bool) {
	for _, e := range f.report().Envoys {
		if e.Node == node {
			return e, true
		}
	}
	return status.Envoy{}, false
}

// waitEnvoy waits until status says something of an Envoy.
func (f *fleet) waitEnvoy(node, what string, ok func(status.Envoy) bool) {
	f.t.Helper()
	harness.Until(f.t, func() error {
		if e, known := f.envoy(node); !known || !ok(e) {
			return fmt.Errorf("%s is not %s: %+v", node, what, e)
		}
		return nil
	})
}

// edge is an Envoy that is on another host as far as the daemon can tell. It runs in a folder of its own.
type edge struct {
	t    *testing.T
	dir  string
	node string
	kill func()
}

// newEdge writes what it starts with.
func (f *fleet) newEdge(node string, authority *gatetest.Authority, p gatetest.Pair) *edge {
	f.t.Helper()
	dir, err := os.MkdirTemp("", "edge") // t.TempDir is too long for a socket
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { os.RemoveAll(dir) })
	e := &edge{t: f.t.(*testing.T), dir: dir, node: node, kill: func() {}}
	cmd := exec.Command(harness.Binary(f.t), "render", "--form", "bootstrap", "--remote", f.address, "--node-id", node, "--to", dir, "--installed-in", dir)
	cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
	e.install(authority, p)
	return e
}

// install puts certificates into place.
func (e *edge) install(a *gatetest.Authority, p gatetest.Pair) {
	e.t.Helper()
	gatetest.Put(e.t, filepath.Join(e.dir, "ca.crt"), a.PEM)
	gatetest.Put(e.t, filepath.Join(e.dir, "tls.key"), p.Key)
	gatetest.Put(e.t, filepath.Join(e.dir, "tls.crt"), p.Cert)
}

func (e *edge) run() {
	e.t.Helper()
	found, err := envoy.Find(e.t.Context(), envoy.FindOptions{Choice: "auto", Getenv: os.LookupEnv, Log: func(string) {}})
	if err != nil {
		e.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(e.dir, "log"))
	if err != nil {
		e.t.Fatal(err)
	}
	cmd := exec.Command(found.Path, "-c", filepath.Join(e.dir, "envoy.json"), "--disable-hot-restart", "--concurrency", "1", "--drain-time-s", "1", "-l", "warn")
	cmd.Stderr, cmd.Stdout = log, log
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
		e.kill = func() {}
	}
	e.t.Cleanup(func() {
		e.kill()
		if b, _ := os.ReadFile(log.Name()); e.t.Failed() {
			e.t.Logf("%s said:\n%s", e.node, b)
		}
	})
}

// admin asks its admin socket.
func (e *edge) admin(path string) string {
	e.t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(e.dir, "envoy-admin.sock"))
	}}}
	defer c.CloseIdleConnections()
	res, err := c.Get("http://envoy" + path)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// faraway has what another host has to do without: a policy that the daemon decides, and one of which a part is a file.
func faraway() string {
	return versioned + "---\n" + strings.TrimPrefix(policyAPI("limited", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 2\n    timePeriodInMilliseconds: 3600000\n"), "---\n") +
		policyAPI("counted", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 1000000\n    timePeriodInMilliseconds: 3600000\n") +
		policyAPI("crossed", "cors-flex", "publicResource: false\noriginGroups:\n  - name: shop\n    origins: [https://shop.example]\n    accessControlMaxAge: 60\n    allowedMethods:\n      - methodName: GET\n        isAllowed: true\n")
}

// An Envoy on another host serves all that is declared, gets edits without losing a request, goes on while the daemon is away,
// and finds it again.
func TestEnvoyOnAnotherHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, faraway())
	e := f.newEdge("edge-1", f.authority, f.authority.Issue(time.Hour, "edge.example.com"))
	e.run()
	f.WaitReady()
	waitVersion(t, f.gateway, "1")
	f.waitEnvoy("edge-1", "up to date", func(x status.Envoy) bool {
		return x.Connected && x.Identity == "edge.example.com" && strings.HasPrefix(x.Address, "127.0.0.1:") && x.Version == "1.40.0" && x.Revision == f.report().Revision && time.Since(x.Since) < time.Minute
	})
	for i, want := range []int{200, 200, 429} {
		if a := f.get(8081, "/limited/x"); a.Status != want {
			t.Errorf("request %d: the limit that the daemon keeps answered %d, want %d", i, a.Status, want)
		}
	}
	if a := f.send("OPTIONS", 8081, "/crossed/x", "Origin: https://shop.example", "Access-Control-Request-Method: GET"); a.Header.Get("Access-Control-Allow-Origin") != "https://shop.example" {
		t.Errorf("CORS: %d %v", a.Status, a.Header)
	}
	if dump := e.admin("/config_dump"); strings.Contains(dump, f.State) || !strings.Contains(dump, "shop.example") {
		t.Error("Envoy was given names of files that are on the daemon's host")
	}
	x := harness.KeepAlive(t, 4, f.url(8081, "/shop/x"))
	for i := 2; i < 100; i++ {
		f.write("api.yaml", version(strconv.Itoa(i))+"---\n"+strings.SplitN(faraway(), "---\n", 2)[1])
		waitVersion(t, f.gateway, strconv.Itoa(i))
	}
	f.Kill()
	time.Sleep(300 * time.Millisecond)
	if a := f.get(8081, "/shop/x"); a.Status != 200 {
		t.Fatalf("without its daemon Envoy answers %d", a.Status)
	}
	f.Run()
	f.WaitReady()
	y := patient(t, 2, f.url(8081, "/counted/x"))
	if code := f.Stop(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	f.Run()
	f.WaitReady()
	y.End(t, 2) // they waited for the daemon's word
	f.write("api.yaml", version("100"))
	waitVersion(t, f.gateway, "100")
	x.End(t, 4)
	f.waitEnvoy("edge-1", "up to date after all of it", func(x status.Envoy) bool { return x.Connected && x.Revision == f.report().Revision })
}

// What is programmed is what every connected Envoy serves: one that is away holds nobody up, is said to be away, and catches up.
func TestSeveralEnvoys(t *testing.T) {
	t.Parallel()
	f := newFleet(t, versioned)
	one := f.newEdge("edge-1", f.authority, f.authority.Issue(time.Hour, "edge.example.com"))
	two := f.newEdge("edge-2", f.authority, f.authority.Issue(time.Hour, "spiffe://example.com/edge"))
	one.run()
	two.run()
	f.WaitReady()
	programmed := func(v string, away bool) {
		t.Helper()
		var r status.Report
		harness.Until(t, func() error {
			r = f.report()
			c, _ := r.Condition(status.Programmed)
			if c.Status != status.True || len(r.Envoys) != 2 || r.Envoys[0].Revision != r.Revision || away == r.Envoys[1].Connected || away == (r.Envoys[1].Revision == r.Revision) {
				return fmt.Errorf("%s: %+v %+v, served %s", v, c, r.Envoys, r.Revision)
			}
			return nil
		})
	}
	programmed("1", false)
	if e, _ := f.envoy("edge-2"); e.Identity != "spiffe://example.com/edge" {
		t.Errorf("%+v", e)
	}
	two.kill()
	f.waitEnvoy("edge-2", "gone", func(x status.Envoy) bool { return !x.Connected && time.Since(x.Since) < time.Minute && x.Address != "" })
	f.write("api.yaml", version("2"))
	waitVersion(t, f.gateway, "2")
	programmed("2", true)
	two.run()
	programmed("3", false)
	taken := f.newEdge("edge-1", f.authority, f.authority.Issue(time.Hour, "spiffe://example.com/edge"))
	taken.run()
	f.waitRefused(gate.NodeTaken, `the node id "edge-1" is that of edge.example.com`)
	programmed("4", false)
	out, _, _ := harness.Command(t, "status", "--state-dir", f.State)
	for _, want := range []string{"edge.example.com", "spiffe://example.com/edge", "connected since ", "refused", "NodeTaken"} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not say %q:\n%s", want, out)
		}
	}
}

// waitRefused waits until status and log tell why somebody was turned away.
// One Envoy that refuses whatever is new takes every revision back, until an operator sets it aside: then the others go on, also
// after a restart of the daemon.
func TestCordon(t *testing.T) {
	t.Parallel()
	f := newFleet(t, versioned)
	pair := func() gatetest.Pair { return f.authority.Issue(time.Hour, "edge.example.com") }
	one := f.newEdge("edge-1", f.authority, pair())
	one.run()
	f.WaitReady()
	waitVersion(t, f.gateway, "1")
	// It has the id of an Envoy and its certificate, and says no to every listener.
	stop := f.contrary("edge-2", pair())
	defer stop()
	f.waitEnvoy("edge-2", "connected", func(x status.Envoy) bool { return x.Connected })
	moved := func(v string) string { return strings.Replace(version(v), ":8081/", ":8082/", 1) }
	f.write("api.yaml", moved("2"))
	harness.Until(t, func() error {
		if c, _ := f.report().Condition(status.Programmed); c.Reason != "RolledBack" || !strings.Contains(c.Message, "Envoy edge-2 refused") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	command := func(code int, args ...string) string {
		t.Helper()
		out, errs, got := harness.Command(t, append(args, "--state-dir", f.State)...)
		if got != code {
			t.Fatalf("%v: %d, want %d\n%s%s", args, got, code, out, errs)
		}
		return out + errs
	}
	if text := command(2, "node", "cordon", "edge-3", "--reason", "x"); !strings.Contains(text, "known are edge-1, edge-2") {
		t.Error(text)
	}
	command(2, "node", "cordon", "edge-2")
	if text := command(0, "node", "cordon", "edge-2", "--reason", "says no"); !strings.Contains(text, "cordoned") || !strings.Contains(text, "says no") {
		t.Error(text)
	}
	command(0, "sync")
	programmed := func(reason string) {
		t.Helper()
		harness.Until(t, func() error {
			r := f.report()
			if c, _ := r.Condition(status.Programmed); c.Reason != reason {
				return fmt.Errorf("want %s: %+v", reason, c)
			}
			return nil
		})
	}
	programmed("Live")
	if e, _ := f.envoy("edge-2"); e.Cordoned == nil || e.Cordoned.Reason != "says no" {
		t.Errorf("%+v", e)
	}
	f.Kill()
	f.Run()
	f.WaitReady()
	f.waitEnvoy("edge-2", "connected and cordoned", func(x status.Envoy) bool { return x.Connected && x.Cordoned != nil })
	f.write("api.yaml", moved("3"))
	harness.Until(t, func() error {
		if a, err := f.try("GET", 8082, "/shop/x", ""); err != nil || a.Header.Get("x-version") != "3" {
			return fmt.Errorf("%v %+v", err, a)
		}
		return nil
	})
	programmed("Live")
	for _, text := range []string{command(0, "status"), command(0, "nodes"), command(0, "nodes", "--output", "json"), command(0, "history")} {
		if !strings.Contains(text, "edge-2") || !strings.Contains(strings.ToLower(text), "cordoned") || !strings.Contains(text, "says no") {
			t.Error(text)
		}
	}
	command(0, "node", "uncordon", "edge-2")
	command(2, "node", "uncordon", "edge-2")
	programmed("Live") // what it refuses was right before
	f.write("api.yaml", version("4"))
	programmed("RolledBack")
}

// contrary is a client in an Envoy's place that acknowledges everything but listeners.
func (f *fleet) contrary(node string, p gatetest.Pair) (stop func()) {
	f.t.Helper()
	cert, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.authority.PEM)
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil { // also after a restart of the daemon
			_ = refuseListeners(ctx, f.address, node, &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: "127.0.0.1"})
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func refuseListeners(ctx context.Context, address, node string, c *tls.Config) error {
	cc, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		return err
	}
	defer cc.Close()
	st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	// The order in which an Envoy asks: clusters, then what its anchor leads to, listeners with it.
	const types = "type.googleapis.com/envoy.config."
	for _, typ := range []string{types + "cluster.v3.Cluster", types + "listener.v3.Listener", types + "route.v3.ScopedRouteConfiguration"} {
		err := st.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typ, Node: &corev3.Node{
			Id: node, UserAgentName: "envoy",
			UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40}}},
		}})
		if err != nil {
			return err
		}
	}
	for {
		r, err := st.Recv()
		if err != nil {
			return err
		}
		answer := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
		if strings.HasSuffix(r.TypeUrl, ".Listener") && len(r.Resources) > 0 {
			answer.ErrorDetail = &rpcstatus.Status{Code: 3, Message: "Error adding/updating listener(s) " + r.Resources[0].Name + ": not here"}
		}
		if err := st.Send(answer); err != nil {
			return err
		}
	}
}

func (f *fleet) waitRefused(reason, message string) {
	f.t.Helper()
	harness.Until(f.t, func() error {
		for _, p := range f.report().Refused {
			if p.Reason == reason && strings.Contains(p.Message, message) && p.Address == "127.0.0.1" {
				return nil
			}
		}
		return fmt.Errorf("%s is not told: %+v", reason, f.report().Refused)
	})
	f.WaitLog(`a peer was refused.* reason=` + reason)
}

func TestPeersThatAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, versioned)
	other := gatetest.New(t, "strangers")
	for i, c := range []struct {
		reason, message string
		trusts          *gatetest.Authority
		shows           gatetest.Pair
	}{
		{gate.UnknownAuthority, `signed by "CN=strangers"`, f.authority, other.Issue(time.Hour, "edge.example.com")},
		{gate.Expired, "its certificate is valid from ", f.authority, f.authority.Issue(-time.Minute, "edge.example.com")},
		{gate.NotAllowed, "none of its names is allowed: other.example.com", f.authority, f.authority.Issue(time.Hour, "other.example.com")},
		{gate.DistrustsUs, "does not take the certificate of this daemon", other, f.authority.Issue(time.Hour, "edge.example.com")},
		{gate.NoCertificate, "showed no certificate", f.authority, gatetest.Pair{}},
	} {
		e := f.newEdge("refused-"+strconv.Itoa(i), c.trusts, f.authority.Issue(time.Hour, "edge.example.com"))
		if c.shows.Cert == nil {
			e.hideCertificate()
		} else {
			e.install(c.trusts, c.shows)
		}
		e.run()
		f.waitRefused(c.reason, c.message)
		e.kill()
	}
	if r := f.report(); len(r.Envoys) != 0 {
		t.Errorf("somebody got in: %+v", r.Envoys)
	}
	if conn, err := net.Dial("tcp", f.address); err == nil {
		io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		conn.Close()
		f.waitRefused(gate.NotTLS, "does not speak TLS")
	}
	e := f.newEdge("edge", f.authority, f.authority.Issue(time.Hour, "edge.example.com"))
	e.run()
	f.WaitReady()
}

// hideCertificate has Envoy show none.
func (e *edge) hideCertificate() {
	e.t.Helper()
	path := filepath.Join(e.dir, "envoy.json")
	b, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		e.t.Fatal(err)
	}
	removed := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if _, ok := v["tls_certificate_sds_secret_configs"]; ok {
				delete(v, "tls_certificate_sds_secret_configs")
				removed++
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(v)
	if b, err = json.Marshal(v); err != nil || removed == 0 {
		e.t.Fatal(errors.Join(err, fmt.Errorf("%d certificates were removed", removed)))
	}
	gatetest.Put(e.t, path, b)
}

// Certificates of both sides are replaced while requests run: a connection whose certificate is of no authority any more is ended,
// and its Envoy comes again with the new one.
func TestCertificatesAreReplaced(t *testing.T) {
	t.Parallel()
	f := newFleet(t, versioned)
	e := f.newEdge("edge-1", f.authority, f.authority.Issue(time.Hour, "edge.example.com"))
	e.run()
	f.WaitReady()
	before, _ := f.envoy("edge-1")
	x := harness.KeepAlive(t, 2, f.url(8081, "/shop/x"))
	next := gatetest.New(t, "next")
	f.issue(t, next)
	e.install(next, next.Issue(time.Hour, "edge.example.com"))
	f.WaitLog("were read again")
	f.write("api.yaml", version("2"))
	waitVersion(t, f.gateway, "2")
	f.waitRefused(gate.UnknownAuthority, "its connection was ended: ")
	f.waitEnvoy("edge-1", "back", func(x status.Envoy) bool {
		return x.Connected && x.Since != before.Since && x.Address != before.Address
	})
	stale := f.newEdge("edge-2", f.authority, f.authority.Issue(time.Hour, "edge.example.com"))
	stale.run()
	f.waitRefused(gate.DistrustsUs, "does not take")
	stale.kill()
	f.Kill() // the Envoy must come again, with what is in its folder now
	f.Run()
	f.WaitReady()
	f.write("api.yaml", version("3"))
	waitVersion(t, f.gateway, "3")
	x.End(t, 2)
}

// What another host cannot have is said at its place, and the revision is served.
func TestLimitsOnAnotherHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, versioned+`---
apiVersion: flexgw/v1alpha1
kind: Echo
metadata: {name: stand-in}
spec: {address: "http://127.0.0.1:9002"}
---
apiVersion: flexgw/v1alpha1
kind: Probe
metadata: {name: never}
spec:
  targetRef: {kind: ApiInstance, name: shop}
  http: {path: /x, expect: {status: [299]}}
`)
	e := f.newEdge("edge-1", f.authority, f.authority.Issue(time.Hour, "edge.example.com"))
	e.run()
	f.WaitReady()
	x, _ := f.envoy("edge-1")
	if len(x.Limits) != 2 || x.Limits[0].Object.Kind != "Echo" || x.Limits[0].Subject.Start.Line != 21 || x.Limits[1].Object.Kind != "Probe" || x.Limits[1].Subject.Start.Line != 26 {
		t.Errorf("%v", x.Limits)
	}
	out, _, _ := harness.Command(t, "status", "--state-dir", f.State)
	if want := "api.yaml:21:18: warning: Echo stand-in answers on the daemon's host alone"; !strings.Contains(out, want) || !strings.Contains(f.Log(), "place=api.yaml:21:18") {
		t.Errorf("status does not say %q:\n%s", want, out)
	}
}
