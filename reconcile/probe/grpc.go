package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	rpccode "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// method is the full name of what is called: gRPC's path with the base path of the API before it.
func (t target) method() string {
	return strings.TrimSuffix(t.API.BasePath, "/") + healthv1.Health_Check_FullMethodName
}

// call asks gRPC's health service.
func (p Prober) call(ctx context.Context, t target) error {
	c, err := p.connect(ctx, t, []string{"h2"})
	if err != nil {
		return err
	}
	defer c.Close()
	var way credentials.TransportCredentials = insecure.NewCredentials()
	if s, ok := c.(*tls.Conn); ok {
		if got := s.ConnectionState().NegotiatedProtocol; got != "h2" {
			return fault{error: fmt.Errorf("was offered %q in the TLS handshake, expected h2", got), tls: true, hint: "gRPC needs HTTP/2: name h2 in alpnProtocols of the policy tls"}
		}
		way = secured{way}
	}
	g := t.GRPC
	given := &once{Conn: c}
	authority := g.Host
	if authority == "" {
		authority = t.addr()
	}
	cc, err := grpc.NewClient("passthrough:///"+t.addr(), grpc.WithContextDialer(given.take), grpc.WithTransportCredentials(way), grpc.WithAuthority(authority), grpc.WithUserAgent("flexgw-probe"), grpc.WithMaxHeaderListSize(maxHeader), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
	if err != nil {
		return fmt.Errorf("has an address that is none: %w", err)
	}
	defer cc.Close()
	for _, h := range g.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, h.Name, h.Value.Reveal())
	}
	var answer healthv1.HealthCheckResponse
	err = cc.Invoke(ctx, t.method(), &healthv1.HealthCheckRequest{Service: g.Service}, &answer, grpc.MaxCallRecvMsgSize(maxBody))
	wanted := strings.Join(g.Status, " or ")
	if err == nil {
		if got := answer.Status.String(); !slices.Contains(g.Status, got) {
			return fault{error: fmt.Errorf("answered %s, expected %s", got, wanted), answer: true}
		}
		return nil
	}
	if broken := given.err(); broken != nil { // also when the time of the connection and of the call were over at once
		return tlsFault(broken) // what gRPC makes of it says it in other words, and twice
	}
	s := status.Convert(err)
	f := fault{error: fmt.Errorf("answered %s%s, expected %s", rpccode.Code(s.Code()), t.excerpt([]byte(s.Message())), wanted), answer: true}
	switch s.Code() {
	case codes.DeadlineExceeded, codes.Canceled:
		if ctx.Err() != nil {
			return ctx.Err() // once knows what to say
		}
	case codes.NotFound:
		f.hint = "write the name of a service that the upstream's health service knows, or leave service out for the whole server"
	case codes.Unimplemented:
		f.hint = "the upstream has no grpc.health.v1.Health, or the call never came there; its address has to be h2://, and a route of the API has to lead there"
	case codes.Unauthenticated, codes.PermissionDenied:
		f.hint = "the call passes the API's policies: give the probe what they ask for (grpc: {headers: {Authorization: $NAME}})"
	}
	return f
}

// secured are the credentials of a connection that has TLS already.
type secured struct {
	credentials.TransportCredentials
}

func (secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}
func (s secured) Clone() credentials.TransportCredentials { return s }

// once is a connection that is given away once, so that a call fails with it, and that remembers what its reader met.
type once struct {
	net.Conn
	mu    sync.Mutex
	taken bool
	met   error
}

func (o *once) take(context.Context, string) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.taken {
		return nil, net.ErrClosed
	}
	o.taken = true
	return o, nil
}

func (o *once) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.met == nil {
			o.met = err
		}
	}
	return n, err
}

// Write leaves it to the reader to say what ended the connection: a port that does not take a client certificate says so in an
// alert, and closes; who writes first meets only the second.
func (o *once) Write(b []byte) (int, error) {
	_, _ = o.Conn.Write(b)
	return len(b), nil
}

func (o *once) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.met
}
