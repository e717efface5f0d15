// Package usage holds the way of a request from Envoy's access log to the platform: through crashes, faults and outages, each
// request is reported once.
//
// The short forms belong to every run of the tests; `task crashes` runs the long ones (CHAOS=long) and prints their figures.
package usage

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/egress"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/ir"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		child(dir)
		return
	}
	os.Exit(harness.Main(m))
}

// long is the form that takes minutes.
func long() bool { return os.Getenv("CHAOS") == "long" }

// platform is a simulator in this process, which can be stopped and started again on the same ports.
type platform struct {
	t    testing.TB
	dir  string
	now  func() time.Time
	sim  *sim.Sim
	stop func()
}

func newPlatform(t testing.TB, now func() time.Time) *platform {
	t.Helper()
	p := &platform{t: t, dir: t.TempDir(), now: now}
	p.start()
	t.Cleanup(func() { p.stop() })
	return p
}

func (p *platform) start() {
	p.t.Helper()
	s, err := sim.Open(sim.Options{Dir: p.dir, Now: p.now})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	p.sim = s
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
}

func (p *platform) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.sim.CA())
	return pool
}

// client speaks to the control listener.
func (p *platform) client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots()}, DisableKeepAlives: true}, Timeout: 10 * time.Second}
}

// ask asks one of the simulator's own paths.
func (p *platform) ask(method, path string, in, out any) {
	p.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			p.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, p.sim.URL()+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := p.client().Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %d %v %s", method, path, res.StatusCode, err, b)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			p.t.Fatalf("%s: %v", b, err)
		}
	}
}

// faults are those that the next calls meet.
func (p *platform) faults(list ...map[string]any) {
	p.t.Helper()
	if list == nil {
		list = []map[string]any{}
	}
	p.ask(http.MethodPost, "/_sim/faults", list, nil)
}

// seen is what the simulator's state says of usage.
type seen struct {
	Usage      map[string]uint64 `json:"usage"`
	Unexpected []any             `json:"unexpected"`
	Calls      []struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		Status int    `json:"status"`
		Count  int    `json:"count"`
	} `json:"calls"`
}

func (p *platform) state() (s seen) {
	p.t.Helper()
	p.ask(http.MethodGet, "/_sim/state", nil, &s)
	return s
}

// calls counts those of a path by status.
func (p *platform) calls(path string) map[int]int {
	n := map[int]int{}
	for _, c := range p.state().Calls {
		if c.Path == path {
			n[c.Status] += c.Count
		}
	}
	return n
}

// register makes a gateway, and puts its registration with the simulator's authority into a folder.
func (p *platform) register(dir, name string) *anypoint.File {
	p.t.Helper()
	c := &anypoint.Client{Base: p.sim.URL(), HTTP: p.client()}
	key, csr, err := anypoint.NewKey(name)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := c.Register(context.Background(), ir.NewSecret(sim.Token), sim.DefaultOrganization, anypoint.RegisterRequest{
		Schema: anypoint.RegistrationSchema, Name: name, Mode: "local", CSR: csr, IdempotencyKey: "00000000-0000-4000-8000-" + fmt.Sprintf("%012d", time.Now().UnixNano()%1_000_000_000_000)})
	if err != nil {
		p.t.Fatal(err)
	}
	f, err := anypoint.NewFile(r, key)
	if err != nil {
		p.t.Fatal(err)
	}
	f.CA = p.sim.CA()
	if err := f.Write(dir, anypoint.WriteOptions{Force: true}); err != nil {
		p.t.Fatal(err)
	}
	f, err = anypoint.ReadFile(filepath.Join(dir, anypoint.FileName))
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// target is a registration as a Deliverer takes it, through an egress that lets it call nobody else.
func target(f *anypoint.File, now func() time.Time, tune func(*egress.Egress)) (*metering.Target, error) {
	e := egress.New(egress.Options{})
	pair, err := f.TLS()
	if err != nil {
		return nil, err
	}
	roots, err := egress.Roots(f.CA)
	if err != nil {
		return nil, err
	}
	e.SetTLS(egress.Usage, egress.TLS{Roots: roots, Certificate: func() (*tls.Certificate, error) { return pair, nil }})
	e.Set(egress.Usage, []egress.Destination{{Host: hostOf(f.Metering), Why: "the registration"}})
	if tune != nil {
		tune(e)
	}
	return &metering.Target{AgentID: f.AgentID, Sink: &metering.Sink{URL: f.Metering, Client: e.HTTPClient(egress.Usage), NotAfter: f.NotAfter, Now: now}}, nil
}

func identity(f *anypoint.File) metering.Identity {
	return metering.Identity{Agent: f.AgentID, Asset: f.AssetName, MeteringSchema: f.MeteringSchemaID, Organization: f.OrganizationID, Environment: f.EnvironmentID}
}

func hostOf(url string) string {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	return req.URL.Host
}
