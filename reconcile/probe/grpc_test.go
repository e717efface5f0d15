package probe_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/flexgw/flexgw/schema/ir"
)

// calls is a gateway's port that takes /shop off, and a gRPC server behind it.
func calls(t *testing.T, register func(*grpc.Server), tlsConfig *tls.Config) net.Addr {
	t.Helper()
	g := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		if key := md.Get("x-key"); len(key) > 0 && key[0] != "right" {
			return nil, status.Errorf(codes.Unauthenticated, "%s is nobody at %s", key[0], md.Get(":authority")[0])
		}
		return h(ctx, req)
	}))
	register(g)
	s := httptest.NewUnstartedServer(http.StripPrefix("/shop", g))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if s.TLS = tlsConfig; tlsConfig != nil {
		s.EnableHTTP2 = len(tlsConfig.NextProtos) == 0
		if !s.EnableHTTP2 {
			s.Config.Protocols.SetHTTP1(true)
			s.Config.Protocols.SetHTTP2(false)
		}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr()
}

func check(change func(*ir.ProbeGRPC)) *ir.Probe {
	g := &ir.ProbeGRPC{Status: []string{"SERVING"}}
	if change != nil {
		change(g)
	}
	return &ir.Probe{GRPC: g}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-of-the-probe"
	at := calls(t, func(s *grpc.Server) {
		h := health.NewServer()
		h.SetServingStatus("down", healthv1.HealthCheckResponse_NOT_SERVING)
		h.SetServingStatus("odd", healthv1.HealthCheckResponse_UNKNOWN)
		healthv1.RegisterHealthServer(s, h)
	}, nil)
	none := calls(t, func(*grpc.Server) {}, nil)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	const asked = "gRPC http://HOST/shop/grpc.health.v1.Health/Check"
	for _, c := range []struct {
		name string
		at   net.Addr
		ask  *ir.Probe
		want string // a beginning; "" it is right
		hint string // a part
	}{
		{"the whole server", at, check(nil), "", ""},
		{"not serving", at, check(func(g *ir.ProbeGRPC) { g.Service = "down" }), asked + ` of service "down" answered NOT_SERVING, expected SERVING`, "mend the API"},
		{"not serving is right", at, check(func(g *ir.ProbeGRPC) { g.Service, g.Status = "down", []string{"UNKNOWN", "NOT_SERVING"} }), "", ""},
		{"serving is wrong", at, check(func(g *ir.ProbeGRPC) { g.Status = []string{"UNKNOWN", "NOT_SERVING"} }), asked + ` answered SERVING, expected UNKNOWN or NOT_SERVING`, ""},
		{"unknown", at, check(func(g *ir.ProbeGRPC) { g.Service = "odd" }), asked + ` of service "odd" answered UNKNOWN, expected SERVING`, ""},
		{"no such service", at, check(func(g *ir.ProbeGRPC) { g.Service = "shop.v1.Ordres" }), asked + ` of service "shop.v1.Ordres" answered NOT_FOUND "unknown service", expected SERVING`, "leave service out"},
		{"no health service", none, check(nil), asked + ` answered UNIMPLEMENTED "unknown service grpc.health.v1.Health", expected SERVING`, "h2://"},
		{"headers", at, check(func(g *ir.ProbeGRPC) { g.Headers = []ir.ProbeHeader{{Name: "x-key", Value: ir.NewSecret("right")}} }), "", ""},
		{"a wrong key is not shown", at, check(func(g *ir.ProbeGRPC) {
			g.Host, g.Headers = "shop.test", []ir.ProbeHeader{{Name: "x-key", Value: ir.NewSecret(secret), Hidden: true}}
		}), asked + ` answered UNAUTHENTICATED "[redacted] is nobody at shop.test", expected SERVING`, "headers"},
		{"no gRPC", plain.Listener.Addr(), check(nil), asked + " ", ""},
		{"tries", none, &ir.Probe{Attempts: 2, GRPC: check(nil).GRPC}, asked + ` answered UNIMPLEMENTED "unknown service grpc.health.v1.Health", expected SERVING, 2 times`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list := ask(t.Context(), port(t, c.at, false, c.ask))
			if got := said(list, c.at); c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if c.want == "" {
				return
			}
			if len(list) != 1 || !strings.Contains(list[0].Hint, c.hint) || strings.Contains(list[0].String(), secret) {
				t.Errorf("%+v", list)
			}
		})
	}
}

// A call goes over TLS with a client certificate as a request does, and needs HTTP/2 of the port.
func TestCallsOverTLS(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := issue(t, now.Add(-time.Hour), now.Add(time.Hour), nil)
	good, old := issue(t, now.Add(-time.Hour), now.Add(time.Hour), ca), issue(t, now.Add(-2*time.Hour), now.Add(-time.Hour), ca)
	serving := func(s *grpc.Server) { healthv1.RegisterHealthServer(s, health.NewServer()) }
	at := calls(t, serving, &tls.Config{Certificates: []tls.Certificate{*good}})
	wants := calls(t, serving, &tls.Config{Certificates: []tls.Certificate{*good}, ClientAuth: tls.RequireAnyClientCert})
	one := calls(t, serving, &tls.Config{Certificates: []tls.Certificate{*good}, NextProtos: []string{"http/1.1"}})
	expired := calls(t, serving, &tls.Config{Certificates: []tls.Certificate{*old}})
	const asked = "gRPC https://HOST/shop/grpc.health.v1.Health/Check "
	with := func(x *ir.ProbeTLS) *ir.Probe { p := check(nil); p.TLS = x; return p }
	for _, c := range []struct {
		name string
		at   net.Addr
		ask  *ir.Probe
		want string
	}{
		{"right", at, check(nil), ""},
		{"judged", at, with(&ir.ProbeTLS{ServerName: "shop.test"}), ""},
		{"its host is the name", at, &ir.Probe{GRPC: &ir.ProbeGRPC{Host: "other.test", Status: []string{"SERVING"}}, TLS: &ir.ProbeTLS{}}, asked + `was shown a certificate that is not for "other.test"`},
		{"expired", expired, with(&ir.ProbeTLS{}), asked + `was shown a certificate of "shop.test" that expired on `},
		{"client certificate", wants, with(&ir.ProbeTLS{Client: pair(t, good)}), ""},
		{"no client certificate", wants, with(&ir.ProbeTLS{}), asked + "failed in TLS: remote error: tls: certificate required"},
		{"HTTP/1 only", one, check(nil), asked + "failed in the TLS handshake: remote error: tls: no application protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := said(ask(t.Context(), port(t, c.at, true, c.ask)), c.at); c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
