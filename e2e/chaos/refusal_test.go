package chaos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver/xds"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

const (
	password  = "hunter2-Tr0ub4dor" // in the declarations; Envoy repeats it in one of its texts
	fromShell = "c0rrect-h0rse-9"   // likewise, of an environment variable
)

// worldText is what the faults are injected into. Each comment names the line after it.
const worldText = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: bad #api
spec:
  address: http://127.0.0.1:PORT1/bad #address
  services:
    up:
      address: http://127.0.0.1:UPSTREAM #service
      routes:
        - rules: #route1
            - path: /items(/.*) #route1
        - rules: #route2
            - path: /orders(/.*) #route2
  policies:
    - policyRef: {name: header-injection-flex} #injection
      config: {outboundHeaders: [{key: x-version, value: "VERSION"}, {key: x-token, value: $SHELL_PASSWORD}]}
    - policyRef: {name: ip-blocklist-flex} #blocklist
      config: {ipExpression: "#[attributes.remoteAddress]", ips: [203.0.113.0/24]}
    - policyRef: {name: http-basic-authentication-flex} #basic
      rules: [{path: /orders/.*}]
      config: {username: joe, password: "PASSWORD"}
    - policyRef: {name: header-removal-flex} #removal
      config: {inboundHeaders: [x-debug]}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: locked #locked
  labels: {version: "VERSION"}
spec:
  address: https://127.0.0.1:PORT2 #lockedaddress
  services: {up: {address: "http://127.0.0.1:UPSTREAM"}}
  policies:
    - policyRef: {name: http-basic-authentication-flex}
      config: {username: joe, password: $SHELL_PASSWORD}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: locked-tls #tls
  labels: {version: "VERSION"}
spec:
  targetRef: {name: locked}
  policyRef: {name: tls} #tls
  config: {certificate: {crt: $CRT, key: $KEY}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata:
  name: safe #safe
  labels: {version: "VERSION"}
spec:
  address: https://127.0.0.1:UPSTREAM #safeaddress
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: safe-tls #outtls
  labels: {version: "VERSION"}
spec:
  targetRef: {kind: Service, name: safe}
  policyRef: {name: tls-outbound} #outtls
  config: {trustedCA: $CA, certificate: {crt: $CRT, key: $KEY}}
`

// calmText is beside it, and must be served whatever happens.
const calmText = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: calm
spec:
  address: http://127.0.0.1:PORT1/calm
  services: {up: {address: "http://127.0.0.1:UPSTREAM"}}
  policies:
    - policyRef: {name: header-injection-flex}
      config: {outboundHeaders: [{key: x-version, value: "VERSION"}]}
`

// fault makes something of a rendered set that Envoy refuses.
type fault struct {
	name string
	at   string // the marks, separated by |, of the lines that are right to blame; the first is the best
	edit func(w *bed, m message)
	kind string // of the resource
	says string // a part of Envoy's text
	text func(w *bed, text string) string
}

// message is one resource, to be changed.
type message struct {
	scope    *routev3.ScopedRouteConfiguration
	cluster  *clusterv3.Cluster
	listener *listenerv3.Listener
	secret   *tlsv3.Secret
}

// bed is one Envoy with a loop around it, in which faults can be put between rendering and delivery.
type bed struct {
	t       *testing.T
	dir     string
	ports   [2]int
	upPort  int
	env     map[string]string
	loop    *reconcile.Loop
	events  chan reconcile.Event
	changed chan struct{}

	mu  sync.Mutex
	set source.Set
	now *fault
}

func (b *bed) Fetch(context.Context) (source.Set, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set, nil
}
func (b *bed) Changed() <-chan struct{} { return b.changed }
func (b *bed) Close() error             { return nil }

// put makes texts the newest revision, with a fault in what is rendered of it.
func (b *bed) put(f *fault, version string) source.Set {
	fill := func(text string) string {
		return strings.NewReplacer("PORT1", fmt.Sprint(b.ports[0]), "PORT2", fmt.Sprint(b.ports[1]), "UPSTREAM", fmt.Sprint(b.upPort),
			`"VERSION"`, `"`+version+`"`, `"PASSWORD"`, `"`+password+`"`).Replace(text)
	}
	world := fill(worldText)
	if f != nil && f.text != nil {
		world = f.text(b, world)
	}
	set := source.NewSet([]source.File{source.NewFile("bad.yaml", []byte(world)), source.NewFile("calm.yaml", []byte(fill(calmText)))})
	b.mu.Lock()
	b.set, b.now = set, f
	b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return set
}

func (b *bed) options() schema.Options {
	return schema.Options{Policies: all.Catalog{}, Getenv: func(k string) (string, bool) { v, ok := b.env[k]; return v, ok }, RequireEnv: true, Memo: &schema.Memo{}}
}

func (b *bed) render(g *ir.Gateway, spoil bool) (reconcile.Built, diag.List) {
	r, list := render.Render(g, all.Catalog{}, render.Options{Files: filepath.Join(b.dir, "files")}, nil)
	if r == nil || list.HasErrors() {
		return reconcile.Built{}, list
	}
	b.mu.Lock()
	f := b.now
	b.mu.Unlock()
	if spoil && f != nil && f.edit != nil {
		b.spoil(r, f)
	}
	return reconcile.Built{Gateway: g, Resources: r}, list
}

// spoil puts a fault into resources that nobody else has yet; what they came from and refer to stays.
func (b *bed) spoil(r *render.Resources, f *fault) {
	types := map[string]string{"scope": render.ScopeType, "cluster": render.ClusterType, "listener": render.ListenerType, "secret": render.SecretType}
	done := false
	r.Each(types[f.kind], func(x *render.Resource) {
		m, err := x.Message()
		if err != nil || done {
			return
		}
		var to message
		switch m := m.(type) {
		case *routev3.ScopedRouteConfiguration:
			if !strings.HasSuffix(m.Name, "/bad") {
				return
			}
			to.scope = m
		case *clusterv3.Cluster:
			if (m.TransportSocket != nil) != strings.Contains(f.at, "safe") && (m.TransportSocket != nil) != strings.Contains(f.at, "outtls") {
				return
			}
			to.cluster = m
		case *listenerv3.Listener:
			if (m.FilterChains[0].TransportSocket == nil) == strings.Contains(f.at, "tls|") {
				return
			}
			to.listener = m
		case *tlsv3.Secret:
			if m.GetTlsCertificate() == nil {
				return
			}
			to.secret = m
		}
		f.edit(b, to)
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			b.t.Fatal(err)
		}
		x.Any, x.Hash, done = &anypb.Any{TypeUrl: x.TypeURL, Value: bytes}, sha256.Sum256(bytes), true
	})
	if !done {
		b.t.Errorf("%s: there is no resource to put it into", f.name)
	}
}

// holds says whether what the fault belongs to is served as it was before.
func (f *fault) holds(held []schema.Held, marks map[string]diag.Object) bool {
	return slices.ContainsFunc(held, func(h schema.Held) bool {
		return slices.ContainsFunc(strings.Split(f.at, "|"), func(at string) bool { return marks[at].Kind == h.Object.Kind && marks[at].Name == h.Object.Name })
	})
}

func objectsOfMarks() map[string]diag.Object {
	o := func(kind, name string) diag.Object { return diag.Object{Kind: kind, Namespace: "default", Name: name} }
	m := map[string]diag.Object{"tls": o("PolicyBinding", "locked-tls"), "outtls": o("PolicyBinding", "safe-tls"),
		"safeaddress": o("Service", "safe"), "safe": o("Service", "safe"), "locked": o("ApiInstance", "locked"), "lockedaddress": o("ApiInstance", "locked")}
	for _, at := range []string{"api", "address", "service", "route1", "route2", "injection", "blocklist", "basic", "removal"} {
		m[at] = o("ApiInstance", "bad")
	}
	return m
}

// newBed starts an Envoy and the loop. hold is --on-invalid hold.
func newBed(t *testing.T, hold bool) *bed {
	b := &bed{t: t, dir: t.TempDir(), ports: [2]int{harness.FreePort(t), harness.FreePort(t)}, events: make(chan reconcile.Event, 1000), changed: make(chan struct{}, 1)}
	b.upPort = harness.Answering(t)
	crt, key := certificate(t)
	b.env = map[string]string{"CRT": crt, "KEY": key, "CA": crt, "SHELL_PASSWORD": fromShell}
	socket := func(name string) string {
		p, err := envoy.SocketPath(b.dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	target := xds.New(xds.Config{Drain: time.Second, Files: filepath.Join(b.dir, "files")})
	l, err := net.Listen("unix", socket("xds.sock"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := render.JSON(render.Bootstrap(render.BootstrapOptions{NodeID: "n", XDSSocket: socket("xds.sock"), EnforceSocket: socket("e.sock"), AdminSocket: socket("a.sock")}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, "envoy.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := envoy.Find(t.Context(), envoy.FindOptions{Choice: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b.loop = &reconcile.Loop{
		Name: "test", Source: b, Target: target, Log: log, MaxWait: time.Millisecond, Drain: time.Second,
		Build: func(_ context.Context, set source.Set) (reconcile.Built, diag.List) {
			g, list := schema.Load(set, b.options())
			if g == nil || list.HasErrors() {
				return reconcile.Built{}, list
			}
			return b.render(g, set.Revision == b.newest())
		},
		Blame: func(x reconcile.Built, k render.Key, words string) (diag.Object, diag.Range, bool) {
			c, ok := render.Culprit(x.Gateway, all.Catalog{}, x.Resources, k, words)
			if !ok {
				return diag.Object{}, diag.Range{}, false
			}
			return c.Place()
		},
		Tell: func(e reconcile.Event) { b.events <- e },
	}
	if hold {
		b.loop.Hold = b.hold
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = target.Serve(ctx, l) })
	running.Go(func() { _ = b.loop.Run(ctx) })
	s, err := envoy.Supervise(ctx, envoy.Options{StateDir: b.dir, Binary: found.Path, BootstrapPath: path, AdminSocket: socket("a.sock"), Concurrency: 1, DrainTime: time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := s.Stop(context.Background(), 0); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bed) newest() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set.Revision
}

func (b *bed) hold(_ context.Context, set source.Set, good []source.Set, wrong []diag.Object) (reconcile.Built, []reconcile.Held, diag.List) {
	for _, old := range good {
		g, held, list := schema.LoadHeld(set, old, wrong, b.options())
		if g == nil {
			continue
		}
		b.mu.Lock()
		f := b.now
		b.mu.Unlock()
		built, more := b.render(g, f != nil && !f.holds(held, objectsOfMarks()))
		var out []reconcile.Held
		for _, h := range held {
			out = append(out, reconcile.Held{Object: h.Object, Place: h.Place})
		}
		return built, out, append(list, more...)
	}
	return reconcile.Built{}, nil, nil
}

// await waits for an event of a type about a revision; it fails when one of the others comes first.
func (b *bed) await(revision string, want reconcile.EventType, not ...reconcile.EventType) (reconcile.Event, []reconcile.Event) {
	b.t.Helper()
	var seen []reconcile.Event
	late := time.After(2 * time.Minute)
	for {
		select {
		case e := <-b.events:
			seen = append(seen, e)
			if e.Revision == revision && e.Type == want {
				return e, seen
			}
			if e.Revision == revision && slices.Contains(not, e.Type) {
				b.t.Errorf("%s instead of %s: %s", e.Type, want, e.Message)
				return e, seen
			}
		case <-late:
			b.t.Errorf("no %s in two minutes; there were %v", want, typesOf(seen))
			return reconcile.Event{}, seen
		}
	}
}

func typesOf(events []reconcile.Event) (all []reconcile.EventType) {
	for _, e := range events {
		all = append(all, e.Type)
	}
	return all
}

func (b *bed) version(api string) string {
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/%s/items/x", b.ports[0], api))
	if err != nil {
		return err.Error()
	}
	res.Body.Close()
	return fmt.Sprintf("%d %s", res.StatusCode, res.Header.Get("x-version"))
}

func (b *bed) wantVersions(when, bad, calm string) {
	b.t.Helper()
	late := time.Now().Add(2 * time.Minute)
	for {
		x, y := b.version("bad"), b.version("calm")
		if x == "200 "+bad && y == "200 "+calm {
			return
		}
		if time.Now().After(late) {
			b.t.Errorf("%s: served are %q and %q, want versions %s and %s", when, x, y, bad, calm)
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TestRefusals puts everything that a real Envoy is known to refuse into a revision: each is to be reported at the line
// that it came from, and taken back, or with hold kept out, while its neighbours are served.
func TestRefusals(t *testing.T) {
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	for _, hold := range []bool{false, true} {
		name := "reject"
		if hold {
			name = "hold"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, hold)
			first := b.put(nil, "0")
			b.await(first.Revision, reconcile.Programmed, reconcile.Rejected, reconcile.Invalid)
			b.wantVersions("at first", "0", "0")
			steady := harness.KeepAlive(t, 1, fmt.Sprintf("http://127.0.0.1:%d/calm/x", b.ports[0]))
			all := faults(b)
			if len(all) < 50 {
				t.Errorf("only %d faults", len(all))
			}
			exact, right := 0, 0
			for i, f := range all {
				switch b.refused(f, fmt.Sprint(i+1), hold) {
				case 0:
					exact++
					fallthrough
				case 1:
					right++
				}
			}
			requests := steady.End(t, 1)
			t.Logf("%s: %d configurations that Envoy refuses: %d reported at the very line, %d at a line of the object, %d at a wrong one; %d requests of a neighbour meanwhile, none failed",
				name, len(all), exact, right-exact, len(all)-right, requests)
			if right != len(all) || exact*100 < len(all)*95 {
				t.Errorf("%d of %d at the very line, %d at a wrong one; want 95 %% and 0", exact, len(all), len(all)-right)
			}
		})
	}
}

// refused is how far from the right line a fault was reported: 0: there, 1: at another line of its object, 2: elsewhere, or not.
func (b *bed) refused(f *fault, version string, hold bool) int {
	b.t.Helper()
	set := b.put(f, version)
	e, before := b.await(set.Revision, reconcile.Rejected, reconcile.Programmed, reconcile.Invalid)
	if len(e.Diagnostics) == 0 {
		b.t.Errorf("%s: no problem is reported (%v)", f.name, typesOf(before))
		b.recover(version)
		return 2
	}
	d := e.Diagnostics[0]
	if !strings.Contains(d.Summary, f.says) {
		b.t.Errorf("%s: %q does not say %q", f.name, d.Summary, f.says)
	}
	text, _ := set.Bytes("bad.yaml")
	lines := strings.Split(string(text), "\n")
	score := 2
	if n := int(d.Subject.Start.Line); d.Subject.File == "bad.yaml" && n > 0 && n <= len(lines) {
		_, mark, _ := strings.Cut(lines[n-1], " #")
		switch marks := objectsOfMarks(); {
		case slices.Contains(strings.Split(f.at, "|"), mark):
			score = 0
		case marks[mark] == marks[strings.Split(f.at, "|")[0]] && mark != "":
			score = 1
		}
	}
	if score > 0 {
		b.t.Logf("%s: reported at %s, want #%s: %s", f.name, d.Subject, f.at, d.Summary)
	}
	if hold {
		_, seen := b.await(set.Revision, reconcile.Programmed, reconcile.RolledBack, reconcile.Invalid)
		before = append(before, seen...)
		b.wantVersions(f.name+", held", b.heldVersion(f, version), version)
	} else {
		_, seen := b.await(set.Revision, reconcile.RolledBack, reconcile.Programmed)
		before = append(before, seen...)
		b.wantVersions(f.name+", rolled back", b.last(), b.last())
	}
	b.leaks(f, before)
	b.recover(version)
	return score
}

// recover puts a right revision after each fault, so that the next one starts from a served one.
func (b *bed) recover(version string) {
	set := b.put(nil, version+"+")
	b.await(set.Revision, reconcile.Programmed, reconcile.Rejected, reconcile.Invalid)
	b.wantVersions("afterwards", version+"+", version+"+")
	b.env["last"] = version + "+"
}

func (b *bed) last() string {
	if v := b.env["last"]; v != "" {
		return v
	}
	return "0"
}

// heldVersion is the version of API bad that is served while f is held: the old one when it is held itself.
func (b *bed) heldVersion(f *fault, version string) string {
	if objectsOfMarks()[strings.Split(f.at, "|")[0]].Name == "bad" {
		return b.last()
	}
	return version
}

// leaks looks for secrets in everything that was told, and in the status.
func (b *bed) leaks(f *fault, events []reconcile.Event) {
	for i := range events {
		events[i].Set = source.Set{}
	}
	told, err := json.Marshal([]any{events, b.loop.Report()})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, secret := range []string{password, fromShell, "BEGIN PRIVATE", "BEGIN EC PRIVATE", strings.Split(b.env["KEY"], "\n")[1]} {
		if strings.Contains(string(told), secret) {
			b.t.Errorf("%s: the secret %.12s… is told", f.name, secret)
		}
	}
}

func certificate(t *testing.T) (crt, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "chaos"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

// unregistered is of a type that no Envoy has.
func unregistered() *anypb.Any {
	return &anypb.Any{TypeUrl: "type.googleapis.com/envoy.test.NoSuchType"}
}

// chain edits the filters of API bad that no rule guards.
func chain(edit func(filters []*corev3.TypedExtensionConfig)) func(*bed, message) {
	return func(b *bed, m message) {
		each := func(entries map[string]*anypb.Any) {
			for name, a := range entries {
				c := &filterchainv3.FilterChainConfigPerRoute{}
				if strings.HasPrefix(name, "flex.chain.") && a.UnmarshalTo(c) == nil {
					edit(c.FilterChain.Filters)
					entries[name] = pack(c)
				}
			}
		}
		each(m.scope.RouteConfiguration.TypedPerFilterConfig)
		for _, h := range m.scope.RouteConfiguration.VirtualHosts {
			for _, r := range h.Routes {
				each(r.TypedPerFilterConfig)
			}
		}
	}
}

// replaced gives the first filter of a policy another configuration.
func replaced(policy string, with *anypb.Any) func(*bed, message) {
	return chain(func(filters []*corev3.TypedExtensionConfig) {
		for _, f := range filters {
			if strings.Contains(f.Name, policy) {
				f.TypedConfig = with
				return
			}
		}
	})
}

func route(n int, edit func(*routev3.Route)) func(*bed, message) {
	return func(_ *bed, m message) { edit(m.scope.RouteConfiguration.VirtualHosts[0].Routes[n]) }
}

func pattern(text string) *routev3.RouteMatch_SafeRegex {
	return &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: text}}
}

func format(text string) *anypb.Any {
	h := &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: "x", Value: text}}
	return pack(&mutationv3.HeaderMutation{Mutations: &mutationv3.Mutations{RequestMutations: []*rulesv3.HeaderMutation{{Action: &rulesv3.HeaderMutation_Append{Append: h}}}}})
}

func lua(text string) *anypb.Any {
	return pack(&luav3.Lua{DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}})
}

func keySet(text, requires string) *anypb.Any {
	return pack(&jwtv3.JwtAuthentication{
		Providers: map[string]*jwtv3.JwtProvider{requires: {JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{LocalJwks: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}}}},
		Rules: []*jwtv3.RequirementRule{{Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}, RequirementType: &jwtv3.RequirementRule_Requires{
			Requires: &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: requires}}}}},
	})
}

func upstreamTLS(edit func(b *bed, c *tlsv3.UpstreamTlsContext)) func(*bed, message) {
	return func(b *bed, m message) {
		c := &tlsv3.UpstreamTlsContext{}
		if err := m.cluster.TransportSocket.GetTypedConfig().UnmarshalTo(c); err != nil {
			b.t.Fatal(err)
		}
		edit(b, c)
		m.cluster.TransportSocket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: pack(c)}
	}
}

func inline(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}
}

func file(name string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: name}}
}

func pair(crt, key *corev3.DataSource) *tlsv3.Secret_TlsCertificate {
	return &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: crt, PrivateKey: key}}
}

func manager(edit func(b *bed, h *hcmv3.HttpConnectionManager)) func(*bed, message) {
	return func(b *bed, m message) {
		h := &hcmv3.HttpConnectionManager{}
		f := m.listener.FilterChains[0].Filters[0]
		if err := f.GetTypedConfig().UnmarshalTo(h); err != nil {
			b.t.Fatal(err)
		}
		edit(b, h)
		f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: pack(h)}
	}
}

func endpoint(edit func(*corev3.SocketAddress)) func(*bed, message) {
	return func(_ *bed, m message) {
		edit(m.cluster.LoadAssignment.Endpoints[0].LbEndpoints[0].HostIdentifier.(*endpointv3.LbEndpoint_Endpoint).Endpoint.Address.GetSocketAddress())
	}
}

// conditional edits the first filter that only some requests pass.
func conditional(with *anypb.Any) func(*bed, message) {
	return func(b *bed, m message) {
		edited := 0
		each := func(entries map[string]*anypb.Any) {
			for _, name := range slices.Sorted(maps.Keys(entries)) {
				c := &compositev3.CompositePerRoute{}
				if !entries[name].MessageIs(c) || entries[name].UnmarshalTo(c) != nil {
					continue
				}
				action := c.Matcher.GetMatcherList().Matchers[0].OnMatch.GetAction()
				e := &compositev3.ExecuteFilterAction{}
				if err := action.TypedConfig.UnmarshalTo(e); err != nil {
					b.t.Fatal(err)
				}
				e.TypedConfig.TypedConfig = with
				action.TypedConfig = pack(e)
				entries[name] = pack(c)
				edited++
				return
			}
		}
		each(m.scope.RouteConfiguration.TypedPerFilterConfig)
		for _, h := range m.scope.RouteConfiguration.VirtualHosts {
			for _, r := range h.Routes {
				each(r.TypedPerFilterConfig)
			}
		}
		if edited == 0 {
			b.t.Error("no conditional filter")
		}
	}
}

func seconds(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: n} }

func luaFile(name string) *anypb.Any {
	return pack(&luav3.Lua{DefaultSourceCode: file(name)})
}
