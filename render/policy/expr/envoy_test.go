package expr

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	setmetadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/flexgw/flexgw/e2e/ports"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render/policy"
)

// bench is an Envoy with one route per program, each with its chain as the renderer builds it, in front of an upstream that
// answers with the request it got.
type bench struct {
	t      *testing.T
	dir    string
	addr   string
	chains [][]policy.Filter
	inputs int
}

// earlier is what the set_metadata filter at the head of every chain leaves behind.
var earlier = policy.Published{
	Principal: policy.Ref{Namespace: "test.auth", Keys: []string{"user", "name"}},
	Claims:    policy.Ref{Namespace: "test.auth", Keys: []string{"claims"}},
}

func findings() map[string]any {
	return map[string]any{
		"user": map[string]any{"name": "änn"},
		"claims": map[string]any{
			"sub": "bob\r\nx-evil: 1", "scopes": []any{"read", "write"}, "admin": true, "level": 7.0, "empty": []any{}, "address": map[string]any{"city": "Köln"},
			"roles": []any{map[string]any{"id": "a"}, map[string]any{"id": 2.0}, "x"},
		},
	}
}

// input is that of another binding each time.
func (b *bench) input() policy.Input {
	b.inputs++
	return policy.Input{ID: fmt.Sprintf("test.p%d", b.inputs), Earlier: earlier, Path: func(data []byte, ext string) string {
		path := filepath.Join(b.dir, "script"+ext)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			b.t.Fatal(err)
		}
		return path
	}}
}

// add gives the program a route of its own and returns its path.
func (b *bench) add(p Program, after ...policy.Filter) string {
	f, _ := p.Filter("", b.input())
	b.chains = append(b.chains, append([]policy.Filter{f}, after...))
	return fmt.Sprintf("/%d", len(b.chains)-1)
}

func envoyPath(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	found, err := findEnvoy()
	if err != nil {
		t.Fatal(err)
	}
	return found.Path
}

// findEnvoy finds it the way that the command does, once.
var findEnvoy = sync.OnceValues(func() (envoy.Found, error) {
	return envoy.Find(context.Background(), envoy.FindOptions{Choice: "auto"})
})

func toAny(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func address(t *testing.T, hostport string) *corev3.Address {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", hostport)
	if err != nil {
		t.Fatal(err)
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: tcp.IP.String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(tcp.Port)},
	}}}
}

// start runs Envoy until the test ends.
func (b *bench) start() {
	t := b.t
	t.Helper()
	binary := envoyPath(t)
	upstream := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(upstream.Close)
	b.addr = ports.Addr(t)
	config, err := protojson.Marshal(b.bootstrap(strings.TrimPrefix(upstream.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(b.dir, "envoy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(binary, "-c", file, "--use-dynamic-base-id", "--concurrency", "1", "-l", "error")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	ports.Wait(t, b.addr)
}

func (b *bench) bootstrap(upstream string) *bootstrapv3.Bootstrap {
	t := b.t
	meta, err := structpb.NewStruct(findings())
	if err != nil {
		t.Fatal(err)
	}
	head := &corev3.TypedExtensionConfig{Name: "head", TypedConfig: toAny(t, &setmetadatav3.Config{
		Metadata: []*setmetadatav3.Metadata{{MetadataNamespace: "test.auth", Value: meta}},
	})}
	host := &routev3.VirtualHost{Name: "all", Domains: []string{"*"}}
	for i, filters := range b.chains {
		chain := &filterchainv3.FilterChain{Filters: []*corev3.TypedExtensionConfig{head}}
		for j, f := range filters {
			chain.Filters = append(chain.Filters, &corev3.TypedExtensionConfig{Name: fmt.Sprintf("f%d", j), TypedConfig: toAny(t, f.Config)})
		}
		host.Routes = append(host.Routes, &routev3.Route{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: fmt.Sprintf("/%d", i)}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "up"}, PrefixRewrite: "/rewritten",
			}},
			TypedPerFilterConfig: map[string]*anypb.Any{"chain": toAny(t, &filterchainv3.FilterChainConfigPerRoute{FilterChain: chain})},
		})
	}
	hcm := &hcmv3.HttpConnectionManager{
		StatPrefix:     "t",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{host}}},
		HttpFilters: []*hcmv3.HttpFilter{
			{Name: "chain", Disabled: true, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: toAny(t, &filterchainv3.FilterChainConfig{})}},
			{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: toAny(t, &routerv3.Router{})}},
		},
	}
	return &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
		Listeners: []*listenerv3.Listener{{Name: "l", Address: address(t, b.addr), FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{{Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: toAny(t, hcm)}}},
		}}}},
		Clusters: []*clusterv3.Cluster{{
			Name: "up", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
			LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: "up", Endpoints: []*endpointv3.LocalityLbEndpoints{{
				LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(t, upstream)}}}},
			}}},
		}},
	}}
}

// echo answers with the request's headers, and with the status that the query asks for.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Up", "from-upstream")
	status := http.StatusOK
	if s := r.URL.Query().Get("status"); s != "" {
		_, _ = fmt.Sscan(s, &status)
	}
	size := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("size"), &size)
	w.WriteHeader(status)
	_, _ = w.Write(bytes.Repeat([]byte("x"), size))
	_ = json.NewEncoder(w).Encode(r.Header)
}

// answer is a response and the headers that its request had upstream; those are nil when it never got there.
type answer struct {
	status  int
	headers http.Header
	body    string
	up      http.Header
}

func (b *bench) get(method, target string, headers map[string]string) answer {
	t := b.t
	t.Helper()
	req, err := http.NewRequest(method, "http://"+b.addr+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range slices.Sorted(maps.Keys(headers)) {
		req.Header.Set(k, headers[k])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, headers: resp.Header, body: string(body)}
	_ = json.Unmarshal(body, &a.up)
	if a.up["User-Agent"] == nil {
		a.up = nil
	}
	return a
}
