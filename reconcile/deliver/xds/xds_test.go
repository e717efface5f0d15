package xds

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// small is a world with two APIs.
func small() set {
	c := cluster("c", 1)
	return makeSet(c, scope("8081/a", 1, c), scope("8081/b", 1, c), listener("p8081", 8081, 1))
}

// started is a client that holds all of small or the like, taken in by the order of an Envoy that starts.
func started(t *testing.T, s *Server, socket string) *client {
	t.Helper()
	c := dial(t, socket, "n")
	c.join(names{"+c"}, names{"+8081/a", "+8081/b"}, names{"+p8081"})
	wait(t, s, Programmed)
	return c
}

func TestStartOrder(t *testing.T) {
	t.Parallel()
	s, socket := start(t, Config{}, small())
	c := dial(t, socket, "n")
	// Envoy asks for everything at once; scopes wait for the clusters' answer, listeners for every scope's.
	c.ask(clusters)
	c.ask(listeners)
	c.ask(scopes)
	cds := c.next(clusters, "+c")
	c.quiet()
	c.ack(cds)
	a := c.next(scopes, "+8081/a")
	b := c.next(scopes, "+8081/b")
	c.ack(b)
	c.quiet()
	waitStates(t, s,
		"n Cluster/c: Synced",
		"n Listener/p8081: NotSent",
		"n ScopedRouteConfiguration/8081/a: Stale",
		"n ScopedRouteConfiguration/8081/b: Synced",
	)
	wait(t, s, Pending)
	c.ack(a)
	c.step(listeners, "+p8081")
	wait(t, s, Programmed)
	nodes := s.Nodes()
	if len(nodes) != 1 {
		t.Fatalf("nodes: %+v", nodes)
	}
	n := nodes[0]
	if n.ID != "n" || n.Version != "1.40.0" || !n.Connected || n.Revision != "r1" || n.PID != os.Getpid() {
		t.Errorf("node: %+v", n)
	}
	if p := s.Progress(); len(p) != 1 || p[0].PID != os.Getpid() {
		t.Errorf("progress: %+v", p)
	}
}

func TestNothingBeforeTheFirstPublish(t *testing.T) {
	t.Parallel()
	s, socket := start(t, Config{}, nil)
	c := dial(t, socket, "n")
	held := cluster("old", 1)
	c.ask(clusters, held) // an empty answer here would be a removal
	c.ask(scopes)
	c.ask(listeners)
	c.quiet()
	if got := s.Report(); len(got) != 0 {
		t.Errorf("report: %v", got)
	}
	wait(t, s, Pending)
	s.publish("r1", makeSet(held))
	c.step(scopes)
	c.step(listeners)
	wait(t, s, Programmed)
}

func TestEmptyWorldIsAnswered(t *testing.T) {
	t.Parallel()
	s, socket := start(t, Config{}, makeSet())
	c := dial(t, socket, "n")
	c.join(nil, nil, nil)
	c.quiet()
	wait(t, s, Programmed)
}

func TestOneScopeAndSecretPerResponse(t *testing.T) {
	t.Parallel()
	world := makeSet()
	var names []string
	for i := range 50 {
		r := scope(fmt.Sprintf("8081/s%02d", i), 1)
		names = append(names, r.Name)
		world = world.with(r, secret(fmt.Sprintf("k%02d", i), 1))
	}
	_, socket := start(t, Config{Window: 8}, world)
	c := dial(t, socket, "n")
	c.ask(scopes)
	for range 8 { // the window
		r := <-c.responses
		if len(r.Resources) != 1 {
			t.Fatalf("%d scopes in one response", len(r.Resources))
		}
		defer c.ack(r)
	}
	c.quiet()
	c.subscribe("k00", "k01", "k02")
	for _, k := range []string{"+k00", "+k01", "+k02"} {
		c.step(secrets, k)
	}
	_ = names
}

func TestClustersTravelInBatchesAndDoNotWait(t *testing.T) {
	t.Parallel()
	world := makeSet()
	for i := range 5 {
		world = world.with(cluster(fmt.Sprint("c", i), 1))
	}
	s, socket := start(t, Config{Batch: 2}, world)
	c := dial(t, socket, "n")
	c.ask(clusters)
	c.next(clusters, "+c0", "+c1")
	c.next(clusters, "+c2", "+c3")
	third := c.next(clusters, "+c4")
	// Envoy withholds all answers while one cluster warms: the cure has to get through.
	s.publish("r2", world.with(cluster("c0", 2)))
	c.next(clusters, "+c0")
	c.ack(third)
	c.quiet()
}

func TestChange(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{Grace: -1}, world)
	c := started(t, s, socket)

	// Equal bytes in a new revision: nothing.
	s.publish("r2", world.with())
	c.quiet()
	wait(t, s, Programmed)
	if got := s.Nodes()[0].Revision; got != "r2" {
		t.Errorf("revision %q", got)
	}

	// One scope.
	world = world.with(scope("8081/a", 2, cluster("c", 1)))
	s.publish("r3", world)
	c.step(scopes, "+8081/a")
	c.quiet()
	wait(t, s, Programmed)

	// A new cluster, the scope that names it, and a listener: in this order, each after the answer to the one before.
	d := cluster("d", 1)
	next := world.with(d, scope("8081/a", 3, d), listener("p8081", 8081, 2)).without(cluster("c", 1), scope("8081/b", 1))
	s.publish("r4", next)
	cds := c.next(clusters, "+d")
	c.quiet()
	c.ack(cds)
	srds := c.next(scopes, "+8081/a")
	c.quiet()
	c.ack(srds)
	lds := c.next(listeners, "+p8081")
	c.quiet()
	c.ack(lds)
	// Connections of the old listener still use the scopes that it asked for; without the scope gone, c is named.
	c.quiet()
	wait(t, s, Programmed)
}

func TestRemovalsRunTheOtherWay(t *testing.T) {
	t.Parallel()
	d := cluster("d", 1)
	q := listener("p8082", 8082, 1, d)
	world := small().with(d, scope("8082/x", 1, d), q)
	s, socket := start(t, Config{Grace: 100 * time.Millisecond, Drain: 200 * time.Millisecond}, world)
	c := dial(t, socket, "n")
	c.join(names{"+c", "+d"}, names{"+8081/a", "+8081/b", "+8082/x"}, names{"+p8081", "+p8082"})
	wait(t, s, Programmed)

	s.publish("r2", small())
	lds := c.next(listeners, "-p8082")
	c.quiet()
	wait(t, s, Pending)
	drain := time.Now()
	c.ack(lds)
	wait(t, s, Programmed) // the rest is housekeeping
	rds := c.next(scopes, "-8082/x")
	if took := time.Since(drain); took < 150*time.Millisecond {
		t.Errorf("the scope went %v after its listener, before the drain was over", took)
	}
	gone := time.Now()
	c.ack(rds)
	c.step(clusters, "-d")
	if took := time.Since(gone); took < 80*time.Millisecond {
		t.Errorf("the cluster went %v after its scope, without grace", took)
	}
	c.quiet()
}

func TestRemovedScopeOfAnUnchangedListenerGoesAtOnce(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{Drain: time.Hour}, world)
	c := started(t, s, socket)
	s.publish("r2", world.without(scope("8081/b", 1)))
	wait(t, s, Pending)
	c.step(scopes, "-8081/b")
	wait(t, s, Programmed)
}

func TestSplitTransitionKeepsOldScopesUntilTheDrainIsOver(t *testing.T) {
	t.Parallel()
	world := makeSet(scope("8081/api", 1), listener("p8081", 8081, 1))
	s, socket := start(t, Config{Drain: 150 * time.Millisecond}, world)
	c := dial(t, socket, "n")
	c.join(nil, names{"+8081/api"}, names{"+p8081"})

	s.publish("r2", makeSet(scope("8081/api/a", 1), scope("8081/api/b", 1), listener("p8081", 8081, 2)))
	c.step(scopes, "+8081/api/a")
	b := c.next(scopes, "+8081/api/b")
	c.quiet()
	c.ack(b)
	lds := c.next(listeners, "+p8081")
	c.quiet()
	drain := time.Now()
	c.ack(lds)
	c.step(scopes, "-8081/api")
	if took := time.Since(drain); took < 120*time.Millisecond {
		t.Errorf("the old scope went %v after the new listener was taken, before the drain was over", took)
	}
}

// An API that is taken away in the revision that changes its port's listener must not answer old connections any longer.
func TestRemovedAPIIsNotServedThroughATransition(t *testing.T) {
	t.Parallel()
	of := func(r *render.Resource, api string) *render.Resource {
		r.Origins = []*ir.Origin{{Object: diag.Object{Kind: "PolicyBinding", Name: "shared"}}, {Object: diag.Object{Kind: "ApiInstance", Name: api}}}
		return r
	}
	world := makeSet(of(scope("8081/api/a", 1), "a"), of(scope("8081/api/b", 1), "b"), listener("p8081", 8081, 1))
	s, socket := start(t, Config{Drain: time.Hour}, world)
	c := dial(t, socket, "n")
	c.join(nil, names{"+8081/api/a", "+8081/api/b"}, names{"+p8081"})

	s.publish("r2", makeSet(of(scope("8081/api", 1), "a"), listener("p8081", 8081, 2))) // b is gone, a moved
	c.step(scopes, "+8081/api")
	c.step(listeners, "+p8081")
	c.step(scopes, "-8081/api/b")
	c.quiet() // the old scope of a waits for the drain
}

func TestSplitTransitionWithARefusedListenerKeepsOldScopes(t *testing.T) {
	t.Parallel()
	world := makeSet(scope("8081/api", 1), listener("p8081", 8081, 1))
	s, socket := start(t, Config{Drain: -1}, world)
	c := dial(t, socket, "n")
	c.join(nil, names{"+8081/api"}, names{"+p8081"})

	s.publish("r2", makeSet(scope("8081/api/a", 1), listener("p8081", 8081, 2)))
	c.step(scopes, "+8081/api/a")
	c.nack(c.next(listeners, "+p8081"), "no")
	third := listener("p8081", 8081, 3)
	s.publish("r3", makeSet(scope("8081/api/a", 1), third))
	r := c.next(listeners, "+p8081")
	for r.Resources[0].Version != version(third) { // what was refused is tried again after a second; a busy host gets to see it
		c.nack(r, "no")
		r = c.next(listeners, "+p8081")
	}
	c.ack(r)
	c.step(scopes, "-8081/api")
}

func TestRefusedScope(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{Grace: -1}, world)
	c := started(t, s, socket)
	d := cluster("d", 1)
	bad := world.with(d, scope("8081/a", 2, d), scope("8081/b", 2, d)).without(cluster("c", 1))
	s.publish("r2", bad)
	c.step(clusters, "+d")
	a := c.next(scopes, "+8081/a")
	b := c.next(scopes, "+8081/b")
	c.nack(a, "missing ): /a(b")
	c.ack(b)
	wait(t, s, Refused)
	waitStates(t, s,
		"n Cluster/d: Synced",
		"n Listener/p8081: Synced",
		"n ScopedRouteConfiguration/8081/a: Error missing ): /a(b",
		"n ScopedRouteConfiguration/8081/b: Synced",
	)
	if got := s.Nodes()[0]; got.Revision != "r1" || got.Refused != 1 {
		t.Errorf("node: %+v", got)
	}
	c.quiet() // Envoy serves the old /a, so its cluster c stays; the refused bytes are not sent again
	s.publish("r3", bad.with())
	c.quiet()
	s.publish("r4", bad.with(scope("8081/a", 3, d)))
	c.step(scopes, "+8081/a")
	c.step(clusters, "-c")
	wait(t, s, Programmed)
}

// What Envoy quotes of a resource may hold its secrets.
func TestRefusalShowsNoSecret(t *testing.T) {
	t.Parallel()
	tls := &anypb.Any{}
	err := tls.MarshalFrom(&tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{{
		PrivateKey: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "tuna \"fish\" 77"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	k := resource(clusters, "k", &clusterv3.Cluster{Name: "k", TransportSocket: &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: tls}}})
	s, socket := start(t, Config{}, small())
	c := started(t, s, socket)
	s.publish("r2", small().with(k))
	c.nack(c.next(clusters, "+k"), `cannot use tuna "fish" 77 (tuna \"fish\" 77) as a key`)
	wait(t, s, Refused)
	for _, d := range s.Report() {
		if strings.Contains(d.Message, "tuna") || d.State == deliver.Error && !strings.Contains(d.Message, "cannot use [redacted]") {
			t.Errorf("%s: %q", d.Name, d.Message)
		}
	}
}

func TestRefusedBatch(t *testing.T) {
	t.Parallel()
	world := makeSet(cluster("a", 1), cluster("b", 1), cluster("c", 1))
	s, socket := start(t, Config{}, world)
	c := dial(t, socket, "n")
	c.ask(clusters)
	// One of three is bad, and the whole batch was dropped: each is tried alone.
	c.nack(c.next(clusters, "+a", "+b", "+c"), "goo.gle/debugonly \nname: \"b\" private_key { inline_string: \"-----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----\" }\n: Proto constraint validation failed (ClusterValidationError.ConnectTimeout: value must be greater than 0s)")
	ra, rb, rc := c.next(clusters, "+a"), c.next(clusters, "+b"), c.next(clusters, "+c")
	c.ack(ra)
	c.nack(rb, "goo.gle/debugonly \nname: \"b\" private_key { inline_string: \"-----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----\" }\n: Proto constraint validation failed (ClusterValidationError.ConnectTimeout: value must be greater than 0s)")
	c.ack(rc)
	waitStates(t, s,
		"n Cluster/a: Synced",
		"n Cluster/b: Error Proto constraint validation failed (ClusterValidationError.ConnectTimeout: value must be greater than 0s)",
		"n Cluster/c: Synced",
	)
	c.quiet()
}

func TestScopeOfARefusedNewCluster(t *testing.T) {
	t.Parallel()
	bad, good := cluster("bad", 1), cluster("good", 1)
	world := makeSet(bad, good, scope("8081/a", 1, bad), scope("8081/b", 1, good), listener("p8081", 8081, 1))
	s, socket := start(t, Config{Batch: 1}, world)
	c := dial(t, socket, "n")
	c.ask(clusters)
	c.ask(scopes)
	c.ask(listeners)
	c.nack(c.next(clusters, "+bad"), "Error adding/updating cluster(s) bad: no")
	c.step(clusters, "+good")
	c.step(scopes, "+8081/b")
	c.step(listeners, "+p8081") // the other API is not held up
	wait(t, s, Refused)
	waitStates(t, s,
		"n Cluster/bad: Error Error adding/updating cluster(s) bad: no",
		"n Cluster/good: Synced",
		"n Listener/p8081: Synced",
		`n ScopedRouteConfiguration/8081/a: NotSent held back: it names the cluster "bad", which Envoy does not have`,
		"n ScopedRouteConfiguration/8081/b: Synced",
	)
	s.publish("r2", world.with(cluster("bad", 2)))
	c.step(clusters, "+bad")
	c.step(scopes, "+8081/a")
	wait(t, s, Programmed)
}

func TestClosure(t *testing.T) {
	t.Parallel()
	nowhere, key, anchor := cluster("nowhere", 1), secret("key", 1), cluster("flexgw-enforce", 1)
	world := makeSet(
		cluster("c", 1, key),
		scope("8081/a", 1, nowhere), scope("8081/b", 1, key), scope("8081/ok", 1, anchor),
		listener("p8081", 8081, 1, key), listener("p8082", 8082, 1),
	)
	s, socket := start(t, Config{Static: []string{"flexgw-enforce"}}, world)
	c := dial(t, socket, "n")
	c.join(nil, names{"+8081/ok"}, names{"+p8082"})
	wait(t, s, Refused)
	s.publish("r2", world.with(key, nowhere))
	c.step(clusters, "+c", "+nowhere")
	// A port is open, so the secret of /b is warmed first.
	got := []string{strings.Join(contents(c.stepAny()), " "), strings.Join(contents(c.stepAny()), " ")}
	if !strings.HasPrefix(got[0]+got[1], "+") || !strings.Contains(strings.Join(got, " "), "+8081/a") || !strings.Contains(strings.Join(got, " "), "+"+warmPrefix) {
		t.Fatalf("responses %v", got)
	}
	c.subscribe("key")
	c.step(secrets, "+key")
	c.step(scopes, "+8081/b")
	c.stepAny() // the warming scope goes, and the other listener comes
	c.stepAny()
	wait(t, s, Programmed)
}

func TestSecretWarming(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	key := secret("key", 1)
	next := world.with(key, scope("8081/a", 2, key))
	s.publish("r2", next)

	r := c.stepAny()
	warmName := r.Resources[0].Name
	if len(r.Resources) != 1 || !strings.HasPrefix(warmName, "1/flexgw-warm/") {
		t.Fatalf("expected a warming scope, got %v", contents(r))
	}
	m := &routev3.ScopedRouteConfiguration{}
	if err := r.Resources[0].Resource.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	if got := m.Key.Fragments[0].GetStringKey(); got != "1" || len(m.Key.Fragments) != 5 || m.Name != warmName {
		t.Errorf("warming scope: %v", m)
	}
	c.quiet()
	c.subscribe("key")
	sds := c.next(secrets, "+key")
	c.quiet()
	c.ack(sds)
	c.step(scopes, "+8081/a")
	c.step(scopes, "-"+warmName)
	wait(t, s, Programmed)

	// Held now: no warming, new content goes out by itself.
	s.publish("r3", next.with(secret("key", 2), scope("8081/b", 2, key)))
	c.step(secrets, "+key")
	c.step(scopes, "+8081/b")
	c.quiet()

	// A refused secret keeps the scope away.
	other := secret("other", 1)
	s.publish("r4", next.with(secret("key", 2), scope("8081/b", 3, other), other))
	c.stepAny()
	c.subscribe("other")
	c.nack(c.next(secrets, "+other"), "Failed to load private key from <inline>")
	c.quiet()
	wait(t, s, Refused)
}

func TestRefusedWarmingScopeIsTheScopesRefusal(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	key := secret("key", 1)
	s.publish("r2", world.with(key, scope("8081/a", 2, key)))
	r := <-c.responses
	c.nack(r, "missing ): (")
	wait(t, s, Refused)
	waitStates(t, s,
		"n Cluster/c: Synced",
		"n Listener/p8081: Synced",
		"n ScopedRouteConfiguration/8081/a: Error missing ): (",
		"n ScopedRouteConfiguration/8081/b: Synced",
	)
	c.quiet()
}

func TestSecretThatIsNeverAskedFor(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{SecretWait: 100 * time.Millisecond}, world)
	c := started(t, s, socket)
	key := secret("key", 1)
	s.publish("r2", world.with(key, scope("8081/a", 2, key)))
	warming := time.Now()
	c.stepAny()
	c.step(scopes, "+8081/a")
	if took := time.Since(warming); took < 80*time.Millisecond {
		t.Errorf("the scope came %v after the one that warms its secret", took)
	}
	wait(t, s, Programmed)
}

func TestSecretsAtStartAreNotWarmedButHoldListenersBack(t *testing.T) {
	t.Parallel()
	key := secret("key", 1)
	s, socket := start(t, Config{}, makeSet(key, scope("8081/a", 1, key), listener("p8081", 8081, 1)))
	c := dial(t, socket, "n")
	c.ask(clusters)
	c.step(clusters)
	c.ask(scopes)
	c.ask(listeners)
	c.step(scopes, "+8081/a")
	c.quiet()
	c.subscribe("key", "unknown")
	sds := c.next(secrets, "+key")
	c.quiet()
	c.ack(sds)
	c.step(listeners, "+p8081")
	wait(t, s, Programmed)
	s.publish("r2", makeSet(key, secret("unknown", 1), scope("8081/a", 1, key), listener("p8081", 8081, 1)))
	c.step(secrets, "+unknown")
	// A subscription is answered even if we think that Envoy holds it.
	c.subscribe("key")
	c.step(secrets, "+key")
	c.send(&discoveryRequest{TypeUrl: typeURLs()[secrets], ResourceNamesUnsubscribe: []string{"key"}})
	waitStates(t, s,
		"n Listener/p8081: Synced",
		"n ScopedRouteConfiguration/8081/a: Synced",
		"n Secret/unknown: Synced",
	)
	s.publish("r3", makeSet(secret("key", 2), secret("unknown", 1), scope("8081/a", 1, key), listener("p8081", 8081, 1)))
	c.quiet()
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	c1, a, b := cluster("c", 1), scope("8081/a", 1), scope("8081/b", 1)
	l, key := listener("p8081", 8081, 1), secret("key", 1)
	world := makeSet(c1, a, b, l, key)
	_, socket := start(t, Config{Grace: -1, Drain: -1}, world)

	t.Run("equal", func(t *testing.T) {
		c := dial(t, socket, "equal")
		c.ask(clusters, c1)
		c.ask(listeners, l)
		c.ask(scopes, a, b)
		c.ask(secrets, key)
		c.quiet()
	})
	t.Run("changed and gone", func(t *testing.T) {
		c := dial(t, socket, "changed")
		c.ask(clusters, c1, cluster("gone", 1))
		c.ask(listeners, l, listener("p9", 9, 1))
		c.quiet() // scopes first
		c.ask(scopes, scope("8081/a", 0), scope("8081/gone", 1), b)
		r := c.next(scopes, "+8081/a")
		c.quiet()
		c.ack(r)
		c.step(listeners, "-p9")
		c.step(scopes, "-8081/gone")
		c.step(clusters, "-gone")
		c.ask(secrets, secret("key", 0))
		c.step(secrets, "+key")
		c.quiet()
	})
}

func TestRefusalSurvivesAReconnectOfTheSameEnvoyOnly(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	s.publish("r2", world.with(scope("8081/a", 2)))
	c.nack(c.next(scopes, "+8081/a"), "no")
	wait(t, s, Refused)
	c.hangUp()
	wait(t, s, NoEnvoy)
	if n := s.Nodes(); len(n) != 1 || n[0].Connected || n[0].Revision != "r1" {
		t.Errorf("nodes: %+v", n)
	}

	again := dial(t, socket, "n")
	again.ask(clusters, cluster("c", 1))
	again.ask(listeners, listener("p8081", 8081, 1))
	again.ask(scopes, scope("8081/a", 1, cluster("c", 1)), scope("8081/b", 1, cluster("c", 1)))
	again.quiet()
	wait(t, s, Refused)
	again.hangUp()
	wait(t, s, NoEnvoy)

	anew := dial(t, socket, "n")
	anew.ask(clusters)
	anew.step(clusters, "+c")
	anew.ask(scopes)
	anew.step(scopes, "+8081/a")
	anew.step(scopes, "+8081/b")
	anew.ask(listeners)
	anew.step(listeners, "+p8081")
	wait(t, s, Programmed)
}

func TestTwoEnvoys(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	one := started(t, s, socket)
	two := dial(t, socket, "m")
	two.ask(clusters, cluster("c", 1))
	two.ask(listeners, listener("p8081", 8081, 1))
	two.ask(scopes, scope("8081/a", 1, cluster("c", 1)), scope("8081/b", 1, cluster("c", 1)))
	wait(t, s, Programmed)
	s.publish("r2", world.with(scope("8081/a", 2)))
	one.step(scopes, "+8081/a")
	r := two.next(scopes, "+8081/a")
	wait(t, s, Pending)
	two.nack(r, "no")
	wait(t, s, Refused)
	waitStates(t, s,
		"m Cluster/c: Synced",
		"m Listener/p8081: Synced",
		"m ScopedRouteConfiguration/8081/a: Error no",
		"m ScopedRouteConfiguration/8081/b: Synced",
		"n Cluster/c: Synced",
		"n Listener/p8081: Synced",
		"n ScopedRouteConfiguration/8081/a: Synced",
		"n ScopedRouteConfiguration/8081/b: Synced",
	)
}

func TestEditsWhileAnAnswerIsOutCoalesce(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	s.publish("r2", world.with(scope("8081/a", 2)))
	first := c.next(scopes, "+8081/a")
	for n := range 10 {
		s.publish(fmt.Sprint("r", n+3), world.with(scope("8081/a", n+3)))
	}
	c.quiet()
	c.ack(first)
	last := c.step(scopes, "+8081/a")
	if want := version(scope("8081/a", 12)); last.Resources[0].Version != want {
		t.Errorf("sent version %s, expected %s", last.Resources[0].Version, want)
	}
	wait(t, s, Programmed)
}

func TestListenerTakesOverAnAddressInOneResponse(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	s.publish("r2", world.without(listener("p8081", 8081, 1)).with(listener("all-8081", 8081, 1)))
	c.step(listeners, "+all-8081", "-p8081")
	wait(t, s, Programmed)
}

func TestServerStopsAndComesBack(t *testing.T) {
	t.Parallel()
	world := small()
	s := New(Config{})
	s.publish("r1", world)
	socket := socketPath(t)
	stop := serve(t, s, socket)
	c := started(t, s, socket)
	stop()
	for range c.responses {
		t.Error("a response after the end")
	}
	// Another daemon knows nothing of what was sent before.
	other := New(Config{})
	other.publish("r1", world)
	serve(t, other, socket)
	back := dial(t, socket, "n")
	back.ask(clusters, cluster("c", 1))
	back.ask(listeners, listener("p8081", 8081, 1))
	back.ask(scopes, scope("8081/a", 1, cluster("c", 1)), scope("8081/b", 1, cluster("c", 1)))
	back.quiet()
	wait(t, other, Programmed)
}

func TestChangedTells(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	s.publish("r1", small())
	select {
	case <-s.Changed():
	case <-time.After(time.Minute):
		t.Fatal("silence after Publish")
	}
	if err := s.Publish(context.Background(), deliver.Revision{}); err == nil {
		t.Error("a revision without resources was taken")
	}
}

func TestLogForgets(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	first := scope("8081/a", 2)
	s.publish("x", world.with(first))
	r := c.next(scopes, "+8081/a")
	for n := range 2 * maxChanges {
		s.publish(fmt.Sprint(n), world.with(first, scope("8081/b", n%2)))
	}
	if n := len(s.log.changes); n > maxChanges {
		t.Errorf("%d changes kept", n)
	}
	var seq uint64 = 1
	if _, _, whole := s.since(seq); !whole {
		t.Error("a stream that is far behind is not told to compare everything")
	}
	c.ack(r)
	for {
		if p, _ := s.Programmed(); p == Programmed {
			break
		}
		select {
		case r := <-c.responses:
			c.ack(r)
		case <-time.After(time.Millisecond):
		}
	}
	waitStates(t, s,
		"n Cluster/c: Synced",
		"n Listener/p8081: Synced",
		"n ScopedRouteConfiguration/8081/a: Synced",
		"n ScopedRouteConfiguration/8081/b: Synced",
	)
}

func TestPeers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uid, ours int
		ok        bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {1000, 0, false}} {
		if err := allowed(c.uid, c.ours); (err == nil) != c.ok {
			t.Errorf("allowed(%d, %d) = %v", c.uid, c.ours, err)
		}
	}
}

// An API that moves to a port that cannot be had is served where it was, until it can be had.
func TestAListenerStaysWhileAnotherIsRefused(t *testing.T) {
	t.Parallel()
	world := makeSet(scope("8081/a", 1), listener("p8081", 8081, 1))
	s, socket := start(t, Config{Drain: -1}, world)
	c := dial(t, socket, "n")
	c.join(nil, names{"+8081/a"}, names{"+p8081"})

	s.publish("r2", makeSet(scope("8082/a", 1), listener("p8082", 8082, 1)))
	c.step(scopes, "+8082/a")
	c.nack(c.next(listeners, "+p8082"), "cannot bind '0.0.0.0:8082': Address already in use")
	wait(t, s, Refused)
	c.nack(c.next(listeners, "+p8082"), "cannot bind '0.0.0.0:8082': Address already in use") // after a second
	c.step(listeners, "+p8082")                                                               // after two more
	c.step(listeners, "-p8081")
	c.step(scopes, "-8081/a")
	wait(t, s, Programmed)
}

func TestAListenerStaysUntilItsReplacementIsReady(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	d := cluster("d", 1)
	s.publish("r2", world.without(listener("p8081", 8081, 1)).with(d, listener("all-8081", 8081, 1, d)))
	cds := c.next(clusters, "+d")
	s.publish("r3", world.without(listener("p8081", 8081, 1)).with(d, listener("all-8081", 8081, 1, d), scope("8081/a", 2)))
	c.step(scopes, "+8081/a") // an unanswered cluster does not hold up what does not name it
	c.quiet()
	c.ack(cds)
	c.step(listeners, "+all-8081", "-p8081")
	wait(t, s, Programmed)
}

func TestOldScopesStayWhileTheNewListenerWarms(t *testing.T) {
	t.Parallel()
	cert := secret("cert", 1)
	world := makeSet(scope("8081/api", 1), listener("p8081", 8081, 1))
	s, socket := start(t, Config{Drain: -1}, world)
	c := dial(t, socket, "n")
	c.join(nil, names{"+8081/api"}, names{"+p8081"})
	wait(t, s, Programmed)
	s.publish("r2", makeSet(cert, scope("8081/api/a", 1), listener("p8081", 8081, 2, cert)))
	c.step(scopes, "+8081/api/a")
	c.step(listeners, "+p8081")
	c.quiet()
	c.subscribe("cert")
	sds := c.next(secrets, "+cert")
	c.quiet()
	c.ack(sds)
	c.step(scopes, "-8081/api")
	wait(t, s, Programmed)
}

func TestSecretThatIsGone(t *testing.T) {
	t.Parallel()
	key := secret("key", 1)
	c1 := cluster("c", 1, key)
	world := makeSet(key, c1)
	s, socket := start(t, Config{Grace: -1}, world)
	c := dial(t, socket, "n")
	c.ask(clusters)
	cds := c.next(clusters, "+c")
	c.subscribe("key", "nobody")
	c.step(secrets, "+key")
	c.ack(cds)
	c.ask(scopes)
	c.step(scopes)
	c.ask(listeners)
	c.step(listeners)
	wait(t, s, Programmed)
	s.publish("r2", makeSet(cluster("c", 2)))
	c.step(clusters, "+c") // the secret goes last, when nothing names it
	c.step(secrets, "-key")
	c.quiet()
}

func TestProgress(t *testing.T) {
	t.Parallel()
	world := small()
	s, socket := start(t, Config{}, world)
	c := started(t, s, socket)
	check := func(want ...deliver.Progress) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			got := s.Progress()
			for i := range got {
				if got[i].Since.IsZero() {
					t.Error("since when is not told")
				}
				got[i].Since, got[i].Revision = time.Time{}, ""
			}
			diff := cmp.Diff(want, got)
			if diff == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("progress (-want +got):\n%s", diff)
			}
			time.Sleep(time.Millisecond)
		}
	}
	p := deliver.Progress{Node: "n", Version: "1.40.0", PID: os.Getpid(), Connected: true}
	check(p)
	d := cluster("d", 1)
	s.publish("r2", world.with(d, scope("8081/a", 2, d)).without(scope("8081/b", 1)))
	p.Stale, p.NotSent = 1, 2
	check(p)
	c.nack(c.next(clusters, "+d"), "no")
	c.next(scopes, "-8081/b")
	p.Stale, p.NotSent, p.Errors = 1, 1, 1
	check(p)
	s.publish("r3", world.without(scope("8081/b", 1)))
	p.NotSent, p.Errors = 0, 0
	check(p)
	c.hangUp()
	check(deliver.Progress{Node: "n", Version: "1.40.0"})
}

func TestCheckPeer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := net.Dial("unix", l.Addr().String()); err == nil {
			defer c.Close()
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if pid, err := CheckPeer(c); err != nil || pid != os.Getpid() {
		t.Errorf("own process: %d, %v", pid, err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := CheckPeer(a); err == nil {
		t.Error("a peer that is not on a Unix socket was let in")
	}
}

// noTypes is a catalogue without policies.
type noTypes struct{}

func (noTypes) Type(string) (policy.Type, bool) { return policy.Type{}, false }
func (noTypes) All() []policy.Type              { return nil }

func TestPublishOfTheRenderer(t *testing.T) {
	t.Parallel()
	s, socket := start(t, Config{}, nil)
	res, list := render.Render(&ir.Gateway{Revision: "one", Settings: &ir.Settings{}}, noTypes{}, render.Options{}, nil)
	if len(list) > 0 {
		t.Fatal(list)
	}
	for range 2 {
		if err := s.Publish(context.Background(), deliver.Revision{Resources: res}); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, socket, "n")
	c.join(nil, nil, nil)
	wait(t, s, Programmed)
	if got := s.Nodes()[0].Revision; got != "one" {
		t.Errorf("revision %q", got)
	}
}
