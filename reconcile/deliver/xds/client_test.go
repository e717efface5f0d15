package xds

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render"
)

// set is a snapshot made by hand.
type set map[render.Key]*render.Resource

func makeSet(rs ...*render.Resource) set {
	s := set{}
	for _, r := range rs {
		s[r.Key] = r
	}
	return s
}

// with is a copy of s in which some resources are replaced.
func (s set) with(rs ...*render.Resource) set {
	c := set{}
	for k, r := range s {
		c[k] = r
	}
	for _, r := range rs {
		c[r.Key] = r
	}
	return c
}

func (s set) without(rs ...*render.Resource) set {
	c := s.with()
	for _, r := range rs {
		delete(c, r.Key)
	}
	return c
}

func (s set) Each(typeURL string, f func(*render.Resource)) {
	var all []*render.Resource
	for k, r := range s {
		if k.TypeURL == typeURL {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *render.Resource) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range all {
		f(r)
	}
}

func (s set) Get(k render.Key) (*render.Resource, bool) {
	r, ok := s[k]
	return r, ok
}

func (s set) Elsewhere(r *render.Resource, _ string) (*anypb.Any, error) { return r.Any, nil }

func (s set) changed(since snapshot) []render.Key {
	old, _ := since.(set)
	var keys []render.Key
	for k, r := range s {
		if o, ok := old[k]; !ok || o.Hash != r.Hash {
			keys = append(keys, k)
		}
	}
	for k := range old {
		if _, ok := s[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

func resource(k kind, name string, m proto.Message, refs ...*render.Resource) *render.Resource {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(err)
	}
	r := &render.Resource{Key: render.Key{TypeURL: typeURLs()[k], Name: name}, Hash: sha256.Sum256(a.Value), Any: a}
	for _, ref := range refs {
		r.Refs = append(r.Refs, ref.Key)
	}
	return r
}

// edition makes two resources of one name differ.
func edition(n int) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: nil, TypedFilterMetadata: map[string]*anypb.Any{"edition": {TypeUrl: fmt.Sprint(n)}}}
}

func cluster(name string, n int, refs ...*render.Resource) *render.Resource {
	return resource(clusters, name, &clusterv3.Cluster{Name: name, Metadata: edition(n), AltStatName: strings.Join(named(refs), " ")}, refs...)
}

func secret(name string, n int) *render.Resource {
	return resource(secrets, name, &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{
		Secret: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: fmt.Sprint(n)}},
	}}})
}

func scope(name string, n int, refs ...*render.Resource) *render.Resource {
	parts := append(strings.Split(name, "/"), "", "", "", "", "")[:5]
	key := &routev3.ScopedRouteConfiguration_Key{}
	for _, p := range parts {
		key.Fragments = append(key.Fragments, &routev3.ScopedRouteConfiguration_Key_Fragment{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: p},
		})
	}
	return resource(scopes, name, &routev3.ScopedRouteConfiguration{
		Name: name, Key: key, RouteConfiguration: &routev3.RouteConfiguration{Name: name, Metadata: edition(n), RequestHeadersToRemove: named(refs)},
	}, refs...)
}

func listener(name string, port uint32, n int, refs ...*render.Resource) *render.Resource {
	return resource(listeners, name, &listenerv3.Listener{
		Name: name, Metadata: edition(n), StatPrefix: strings.Join(named(refs), " "),
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		}}},
	}, refs...)
}

// named are the references of a resource as text, so that its bytes depend on them.
func named(refs []*render.Resource) []string {
	var all []string
	for _, r := range refs {
		all = append(all, r.TypeURL+" "+r.Name)
	}
	return all
}

// serve starts a server on a Unix socket; stop ends it before the test does.
func serve(t testing.TB, s *Server, socket string) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stop = func() {
		cancel()
		if done == nil {
			return
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		done = nil
	}
	t.Cleanup(stop)
	return stop
}

func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "xds") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// start is a server with one world, and its socket.
func start(t testing.TB, c Config, world set) (*Server, string) {
	t.Helper()
	s := New(c)
	if world != nil {
		s.publish("r1", world)
	}
	socket := socketPath(t)
	serve(t, s, socket)
	return s, socket
}

// client stands in for an Envoy.
type client struct {
	t         testing.TB
	stream    discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	responses chan *discoveryv3.DeltaDiscoveryResponse
	node      *corev3.Node
	hangUp    func()
}

func dial(t testing.TB, socket, node string) *client {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{
		t: t, stream: stream, responses: make(chan *discoveryv3.DeltaDiscoveryResponse, 1<<15),
		node: &corev3.Node{Id: node, UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{
			UserAgentBuildVersion: &corev3.BuildVersion{Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40}},
		}},
		hangUp: func() { cancel(); conn.Close() },
	}
	t.Cleanup(c.hangUp)
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				close(c.responses)
				return
			}
			c.responses <- r
		}
	}()
	return c
}

func (c *client) send(r *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	r.Node, c.node = c.node, nil
	if err := c.stream.Send(r); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// ask is the first request of a kind; held are the resources that this Envoy has already.
func (c *client) ask(k kind, held ...*render.Resource) {
	c.t.Helper()
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURLs()[k], InitialResourceVersions: map[string]string{}}
	for _, h := range held {
		r.InitialResourceVersions[h.Name] = version(h)
		if k == secrets {
			r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, h.Name)
		}
	}
	c.send(r)
}

func (c *client) subscribe(names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURLs()[secrets], ResourceNamesSubscribe: names})
}

func (c *client) ack(r *discoveryv3.DeltaDiscoveryResponse) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce})
}

func (c *client) nack(r *discoveryv3.DeltaDiscoveryResponse, text string) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce, ErrorDetail: &rpcstatus.Status{Code: 13, Message: text}})
}

// next is the next response, which must carry exactly this: "+name" for a resource, "-name" for a removal.
func (c *client) next(k kind, content ...string) *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	select {
	case r, ok := <-c.responses:
		if !ok {
			c.t.Fatalf("stream ended, expected %v", content)
		}
		want := describe(typeURLs()[k], content)
		if diff := cmp.Diff(want, describe(r.TypeUrl, contents(r))); diff != "" {
			c.t.Fatalf("response (-want +got):\n%s", diff)
		}
		return r
	case <-time.After(time.Minute):
		c.t.Fatalf("no response, expected %s", describe(typeURLs()[k], content))
		return nil
	}
}

func describe(url string, content []string) string {
	return url[strings.LastIndex(url, ".")+1:] + " [" + strings.Join(content, " ") + "]"
}

func contents(r *discoveryv3.DeltaDiscoveryResponse) []string {
	var all []string
	for _, x := range r.Resources {
		all = append(all, "+"+x.Name)
	}
	for _, name := range r.RemovedResources {
		all = append(all, "-"+name)
	}
	return all
}

// step is next and its acknowledgement.
func (c *client) step(k kind, content ...string) *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	r := c.next(k, content...)
	c.ack(r)
	return r
}

type names []string

// join asks for one kind after another and acknowledges what comes, every scope in a response of its own.
func (c *client) join(cs, ss, ls names) {
	c.t.Helper()
	c.ask(clusters)
	c.step(clusters, cs...)
	c.ask(scopes)
	if len(ss) == 0 {
		c.step(scopes)
	}
	for _, name := range ss {
		c.step(scopes, name)
	}
	c.ask(listeners)
	c.step(listeners, ls...)
}

// quiet asserts that nothing is sent for a while.
func (c *client) quiet() {
	c.t.Helper()
	select {
	case r, ok := <-c.responses:
		if !ok {
			c.t.Fatal("stream ended")
		}
		c.t.Fatalf("expected silence, got %s", describe(r.TypeUrl, contents(r)))
	case <-time.After(60 * time.Millisecond):
	}
}

// wait waits for an answer of Programmed.
func wait(t testing.TB, s *Server, want Outcome) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		got, nodes := s.Programmed()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("progress is %s, expected %s: %+v", got, want, nodes)
		}
		time.Sleep(time.Millisecond)
	}
}

// states is the report as "node kind/name: State message".
func states(s *Server) []string {
	var all []string
	for _, d := range s.Report() {
		line := d.Node + " " + d.TypeURL[strings.LastIndex(d.TypeURL, ".")+1:] + "/" + d.Name + ": " + string(d.State)
		if d.Message != "" {
			line += " " + d.Message
		}
		all = append(all, line)
	}
	return all
}

func waitStates(t testing.TB, s *Server, want ...string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		diff := cmp.Diff(want, states(s))
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("report (-want +got):\n%s", diff)
		}
		time.Sleep(time.Millisecond)
	}
}

type discoveryRequest = discoveryv3.DeltaDiscoveryRequest

// stepAny acknowledges the next response, whatever it is.
func (c *client) stepAny() *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	select {
	case r, ok := <-c.responses:
		if !ok {
			c.t.Fatal("stream ended")
		}
		c.ack(r)
		return r
	case <-time.After(time.Minute):
		c.t.Fatal("no response")
		return nil
	}
}
