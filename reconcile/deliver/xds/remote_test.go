package xds

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/gate"
	"github.com/flexgw/flexgw/reconcile/gate/gatetest"
)

// behind serves over mutual TLS too, and connects as a name.
func behind(t *testing.T, s *Server) (g *gate.Gate, connect func(name string) *grpc.ClientConn) {
	t.Helper()
	a, dir := gatetest.New(t, "a"), t.TempDir()
	p := a.Issue(time.Hour, "127.0.0.1")
	o := gate.Options{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca")}
	gatetest.Put(t, o.Cert, p.Cert)
	gatetest.Put(t, o.Key, p.Key)
	gatetest.Put(t, o.ClientCA, a.PEM)
	g, err := gate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeRemote(ctx, l, g, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return g, func(name string) *grpc.ClientConn {
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(a.Client(a.Issue(time.Hour, name)))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// say opens a stream as a node.
func say(t *testing.T, conn *grpc.ClientConn, node string) discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx, grpc.WaitForReady(true)) // a handshake has five seconds, and on a busy host another
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: node}, TypeUrl: typeURLs()[clusters]}); err != nil {
		t.Fatal(err)
	}
	return stream
}

// The node id of an Envoy on this host is its own, whoever came first.
func TestNodeIDsOfThisHost(t *testing.T) {
	t.Parallel()
	s, socket := start(t, Config{Own: "own"}, small())
	g, connect := behind(t, s)
	refused := func(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, says string) {
		t.Helper()
		var err error
		for err == nil {
			_, err = stream.Recv()
		}
		r := g.Refusals()
		if status.Code(err) != codes.AlreadyExists || len(r) == 0 || r[0].Reason != gate.NodeTaken || !strings.Contains(r[0].Message, says) {
			t.Errorf("%v, told %+v", err, r)
		}
	}
	refused(say(t, connect("edge"), "own"), `"own" is that of the Envoy on the host`)
	remote := say(t, connect("edge"), "n")
	if _, err := remote.Recv(); err != nil {
		t.Fatal(err)
	}
	started(t, s, socket)
	refused(remote, `"n" is that of an Envoy on the host of the daemon, which has connected`)
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := s.Progress(); len(got) != 1 || got[0].Remote() || !got[0].Connected {
			t.Fatalf("%+v", got)
		}
	}
}

func TestNodesOnOtherHosts(t *testing.T) {
	t.Parallel()
	s, socket := start(t, Config{}, small())
	g, connect := behind(t, s)
	started(t, s, socket)
	edge := connect("edge")
	first := say(t, edge, "e")
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := say(t, edge, "e").Recv(); err != nil { // it comes again before its first stream is known to be dead
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, node, reason, says string
		code                     codes.Code
	}{
		{"edge", "", gate.NoNode, "node.id", codes.InvalidArgument},
		{"other", "e", gate.NodeTaken, `"e" is that of edge at 127.0.0.1:`, codes.AlreadyExists},
		{"edge", "n", gate.NodeTaken, `"n" is that of an Envoy on the host of the daemon`, codes.AlreadyExists},
	} {
		_, err := say(t, connect(c.name), c.node).Recv()
		r := g.Refusals()
		if status.Code(err) != c.code || len(r) == 0 || r[0].Reason != c.reason || !strings.Contains(r[0].Message, c.says) || r[0].Identity != c.name {
			t.Errorf("%s as %q: %v, told %+v", c.name, c.node, err, r)
		}
	}
	var got []deliver.Progress
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = s.Progress(); len(got) == 2 {
			break
		}
	}
	if len(got) != 2 || !got[0].Remote() || got[0].Node != "e" || got[0].Identity != "edge" || got[1].Remote() || got[1].Node != "n" || got[1].Revision != "r1" {
		t.Errorf("%+v", got)
	}
}
