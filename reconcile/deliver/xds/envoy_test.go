package xds

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flexgw/flexgw/e2e/ports"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
)

// realEnvoy is where a real Envoy is: found, or installed, as the command does it. Without one the test fails.
func realEnvoy(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	found, err := envoy.Find(t.Context(), envoy.FindOptions{Choice: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	return found.Path
}

func toAny(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(err)
	}
	return a
}

// rig is one Envoy with the daemon's bootstrap, and a port.
type rig struct {
	t         *testing.T
	dir       string
	bootstrap string
	socket    string
	anchor    *hcmv3.HttpConnectionManager
	port      int
	upstream  *httptest.Server
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, socket: socketPath(t)}
	r.dir = filepath.Dir(r.socket)
	b := render.Bootstrap(render.BootstrapOptions{NodeID: "n", XDSSocket: r.socket, EnforceSocket: r.dir + "/e", AdminSocket: r.dir + "/a"})
	text, err := render.JSON(b)
	if err != nil {
		t.Fatal(err)
	}
	r.bootstrap = filepath.Join(r.dir, "envoy.json")
	if err := os.WriteFile(r.bootstrap, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r.anchor = &hcmv3.HttpConnectionManager{}
	if err := b.StaticResources.Listeners[0].FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(r.anchor); err != nil {
		t.Fatal(err)
	}
	r.port = ports.Free(t)
	r.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasPrefix(q.URL.Path, "/keyed") && q.Header.Get("Authorization") != "Bearer s3cr3t" {
			http.Error(w, "no key", http.StatusUnauthorized)
			return
		}
		io.WriteString(w, "upstream")
	}))
	t.Cleanup(r.upstream.Close)
	return r
}

// start runs Envoy until the test ends or the result is called.
func (r *rig) start(binary string) (kill func()) {
	r.t.Helper()
	cmd := exec.Command(binary, "-c", r.bootstrap, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--drain-time-s", "1")
	log, err := os.CreateTemp(r.dir, "log")
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if r.t.Failed() {
			b, _ := os.ReadFile(log.Name())
			r.t.Logf("Envoy said:\n%s", b)
		}
	})
	r.t.Cleanup(kill)
	return kill
}

// listener asks for scopes by the first segment of a path, and in the prefixes of split by the second one too.
func (r *rig) listener(split ...string) *render.Resource {
	h := proto.Clone(r.anchor).(*hcmv3.HttpConnectionManager)
	h.StatPrefix = "test"
	set := func(name, format string) *mutationv3.HeaderMutation {
		return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: name, Value: format},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}}}
	}
	second := "/////"
	if len(split) > 0 {
		second = fmt.Sprintf("%%CEL(request.headers['x-flexgw-scope'].startsWith('%d/%s/') ? request.headers['x-flexgw-scope'] : '/////')%%", r.port, split[0])
	}
	h.EarlyHeaderMutationExtensions = []*corev3.TypedExtensionConfig{{Name: "scope", TypedConfig: toAny(&earlyv3.HeaderMutation{
		Mutations: []*mutationv3.HeaderMutation{
			set("x-flexgw-scope", fmt.Sprintf("%d%%PATH(NQ)%%/////", r.port)),
			set("x-flexgw-scope2", second), set("x-flexgw-scope3", "/////"), set("x-flexgw-scope4", "/////"),
		},
	})}}
	h.HttpFilters = append([]*hcmv3.HttpFilter{{Name: "flex.chain.0", Disabled: true,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: toAny(&filterchainv3.FilterChainConfig{})}}}, h.HttpFilters...)
	name := fmt.Sprint("p", r.port)
	return resource(listeners, name, &listenerv3.Listener{
		Name: name,
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(r.port)},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: toAny(h)},
		}}}},
	})
}

func (r *rig) cluster(name string) *render.Resource {
	addr := r.upstream.Listener.Addr().(*net.TCPAddr)
	return resource(clusters, name, &clusterv3.Cluster{
		Name: name, ConnectTimeout: durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(addr.Port)},
				}}},
			}}}},
		}}},
	})
}

// scope is one API, for one segment or two; edit may change its routes.
func (r *rig) scope(segment string, edit func(*routev3.RouteConfiguration), refs ...*render.Resource) *render.Resource {
	name := fmt.Sprintf("%d/%s", r.port, segment)
	rc := &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{Name: "v", Domains: []string{"*"}, Routes: []*routev3.Route{{
		Name: segment, Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
	}}}}}
	edit(rc)
	key := &routev3.ScopedRouteConfiguration_Key{}
	for _, p := range append(strings.Split(name, "/"), "", "", "")[:5] {
		key.Fragments = append(key.Fragments, &routev3.ScopedRouteConfiguration_Key_Fragment{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: p},
		})
	}
	return resource(scopes, name, &routev3.ScopedRouteConfiguration{Name: name, Key: key, RouteConfiguration: rc}, refs...)
}

func says(body string) func(*routev3.RouteConfiguration) {
	return func(rc *routev3.RouteConfiguration) {
		rc.VirtualHosts[0].Routes[0].Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
			Status: 200, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: body}},
		}}
	}
}

func goesTo(cluster string) func(*routev3.RouteConfiguration) {
	return func(rc *routev3.RouteConfiguration) {
		rc.VirtualHosts[0].Routes[0].Action = &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
		}}
	}
}

// keyed goes to a cluster with a credential that comes as a secret.
func keyed(cluster, secret string) func(*routev3.RouteConfiguration) {
	return func(rc *routev3.RouteConfiguration) {
		goesTo(cluster)(rc)
		rc.TypedPerFilterConfig = map[string]*anypb.Any{"flex.chain.0": toAny(&filterchainv3.FilterChainConfigPerRoute{
			FilterChain: &filterchainv3.FilterChain{Filters: []*corev3.TypedExtensionConfig{{Name: "key", TypedConfig: toAny(&injectorv3.CredentialInjector{
				Overwrite: true,
				Credential: &corev3.TypedExtensionConfig{Name: "generic", TypedConfig: toAny(&genericv3.Generic{
					Credential: &tlsv3.SdsSecretConfig{Name: secret, SdsConfig: &corev3.ConfigSource{
						ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
					}},
				})},
			})}}},
		})}
	}
}

func badRegex(rc *routev3.RouteConfiguration) {
	says("never")(rc)
	rc.VirtualHosts[0].Routes[0].Match.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "/a(b"}}
}

func token(name string) *render.Resource {
	return resource(secrets, name, &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{
		Secret: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "Bearer s3cr3t"}},
	}}})
}

func (r *rig) get(segment string) (int, string, error) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", r.port, segment))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// opens waits until the port answers; its first answer about the last scope must be right.
func (r *rig) opens(segment string) {
	r.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		code, body, err := r.get(segment)
		if err == nil {
			if code != 200 {
				r.t.Fatalf("the first answer of /%s is %d %s", segment, code, body)
			}
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the port does not open: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (r *rig) expect(segment string, code int, body string) {
	r.t.Helper()
	gotCode, gotBody, err := r.get(segment)
	if err != nil || gotCode != code || (body != "" && gotBody != body) {
		r.t.Errorf("GET /%s: %d %q, %v; expected %d %q", segment, gotCode, gotBody, err, code, body)
	}
}

func outcome(t *testing.T, s *Server, want Outcome) {
	t.Helper()
	got, _ := s.Programmed()
	for deadline := time.Now().Add(2 * time.Minute); got != Programmed && got != Refused && time.Now().Before(deadline); got, _ = s.Programmed() {
		time.Sleep(time.Millisecond)
	}
	if got != want {
		t.Fatalf("outcome %s, expected %s:\n%s", got, want, strings.Join(unsynced(s), "\n"))
	}
}

func unsynced(s *Server) []string {
	var all []string
	for _, line := range states(s) {
		if !strings.HasSuffix(line, ": "+string(deliver.Synced)) {
			all = append(all, line)
		}
	}
	return all
}

// load asks for segments without a pause until the result is called, which counts.
func (r *rig) load(segments ...string) (stop func() (ok, failed int64)) {
	var good, bad atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			code, body, err := r.get(segments[i%len(segments)])
			if err != nil || code != 200 {
				bad.Add(1)
				r.t.Logf("GET /%s: %d %q %v", segments[i%len(segments)], code, body, err)
			} else {
				good.Add(1)
			}
			time.Sleep(time.Millisecond)
		}
	})
	return func() (int64, int64) {
		cancel()
		wg.Wait()
		return good.Load(), bad.Load()
	}
}

func TestRealEnvoy(t *testing.T) {
	t.Parallel()
	binary := realEnvoy(t)
	r := newRig(t)
	up := r.cluster("up")
	world := makeSet(up, r.listener())
	for i := range 200 {
		name := fmt.Sprintf("s%03d", i)
		if i%2 == 0 {
			world = world.with(r.scope(name, says("one")))
		} else {
			world = world.with(r.scope(name, goesTo("up"), up))
		}
	}
	world = world.with(r.scope("keyed", says("open")))
	s := New(Config{Drain: time.Second})
	s.publish("r1", world)
	stop := serve(t, s, r.socket)

	begin := time.Now()
	kill := r.start(binary)
	r.opens("s199")
	outcome(t, s, Programmed)
	t.Logf("200 scopes served after %v; %+v", time.Since(begin), s.Nodes())
	r.expect("s000", 200, "one")
	r.expect("nowhere", 404, "")

	done := r.load("s004", "s005", "s006", "s198", "keyed")

	// An edit goes live, and nothing else is touched.
	world = world.with(r.scope("s004", says("two")))
	begin = time.Now()
	s.publish("r2", world)
	outcome(t, s, Programmed)
	t.Logf("one edit acknowledged after %v", time.Since(begin))
	r.expect("s004", 200, "two")

	// A new secret in a chain: no request meets the chain without it.
	world = world.with(token("tok"), r.scope("keyed", keyed("up", "tok"), up, token("tok")))
	s.publish("r3", world)
	outcome(t, s, Programmed)
	r.expect("keyed", 200, "upstream")

	// A new cluster and the route to it.
	other := r.cluster("other")
	world = world.with(other, r.scope("s006", goesTo("other"), other))
	s.publish("r4", world)
	outcome(t, s, Programmed)
	r.expect("s006", 200, "upstream")

	// A refusal: the others move on, the refused one stays as it was.
	s.publish("r5", world.with(r.scope("s000", badRegex), r.scope("s002", says("three"))))
	outcome(t, s, Refused)
	if got := unsynced(s); len(got) != 1 || !strings.Contains(got[0], fmt.Sprintf("/%d/s000: Error missing )", r.port)) {
		t.Errorf("refused: %q", got)
	}
	r.expect("s000", 200, "one")
	r.expect("s002", 200, "three")

	// A refused batch of clusters: the good one is there, the bad one is named.
	worse := resource(clusters, "worse", &clusterv3.Cluster{Name: "worse", ConnectTimeout: durationpb.New(0)})
	s.publish("r6", world.with(r.cluster("fine"), worse))
	outcome(t, s, Refused)
	if got := unsynced(s); len(got) != 1 || !strings.Contains(got[0], "Cluster/worse: Error Proto constraint validation failed") {
		t.Errorf("refused: %q", got)
	}

	// The server dies; another one, which knows nothing, takes over with another world.
	s.publish("r7", world)
	outcome(t, s, Programmed)
	stop()
	time.Sleep(200 * time.Millisecond)
	world = world.without(r.scope("s198", says("one")), r.scope("s008", says("one"))).with(r.scope("s198", says("four")))
	s = New(Config{Drain: time.Second})
	s.publish("r8", world)
	serve(t, s, r.socket)
	outcome(t, s, Programmed)
	r.expect("s198", 200, "four")
	r.expect("s008", 404, "")
	r.expect("s199", 200, "upstream")

	if ok, failed := done(); failed != 0 || ok == 0 {
		t.Errorf("%d requests failed, %d did not", failed, ok)
	} else {
		t.Logf("%d requests, none failed", ok)
	}

	// Envoy dies and comes back with nothing.
	kill()
	r.start(binary)
	r.opens("s199")
	outcome(t, s, Programmed)
	r.expect("keyed", 200, "upstream")
}

// Crossing the threshold of the split list changes the listener and the keys of its scopes: connections made before use
// the old keys until they are drained.
func TestRealEnvoySplit(t *testing.T) {
	t.Parallel()
	binary := realEnvoy(t)
	r := newRig(t)
	s := New(Config{Drain: 2 * time.Second})
	s.publish("r1", makeSet(r.listener(), r.scope("api", says("group"))))
	serve(t, s, r.socket)
	r.start(binary)
	r.opens("api/x")
	outcome(t, s, Programmed)
	done := r.load("api/x")
	s.publish("r2", makeSet(r.listener("api"), r.scope("api/x", says("own"))))
	outcome(t, s, Programmed)
	time.Sleep(2500 * time.Millisecond) // the old scope goes while requests run
	r.expect("api/x", 200, "own")
	r.expect("api/y", 404, "")
	if ok, failed := done(); failed != 0 || ok == 0 {
		t.Errorf("%d requests failed, %d did not", failed, ok)
	}
}
