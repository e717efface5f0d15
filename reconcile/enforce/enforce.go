// Package enforce serves the request-time protocols (ext_authz, rate limit service, ext_proc) and finds the Decider of a
// policy instance.
//
// It knows no policy: what a policy decides is in that policy's own `enforce` subpackage. It shares nothing with the
// reconciler but immutable configuration, so a slow reconcile never delays a request.
package enforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/flexgw/flexgw/render/policy/enforce"
)

// Instance is one policy configuration that must be ready before Envoy may name it.
type Instance struct {
	Policy string // policyRef.name
	ID     string // stable name of the binding
	Config any    // what the policy's Start gets
}

// Server answers Envoy. Make one with New.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	ratelimitv3.UnimplementedRateLimitServiceServer
	extprocv3.UnimplementedExternalProcessorServer

	starts func(policy string) enforce.Start
	env    enforce.Env
	grpc   *grpc.Server

	mu        sync.RWMutex
	loaded    bool // Load has succeeded once
	instances map[string]enforce.Decider
}

// New is a Server without instances. starts gives the request-time half of a policy, nil for one that has none; env is
// the world that every Decider gets, its ID replaced.
func New(starts func(policy string) enforce.Start, env enforce.Env) *Server {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	s := &Server{starts: starts, env: env, instances: map[string]enforce.Decider{}}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(64<<20),
		// Windows of a fixed size: to adapt them, gRPC would answer each message of Envoy with a ping, which woke both once more for a request.
		grpc.StaticStreamWindowSize(1<<20), grpc.StaticConnWindowSize(16<<20),
	)
	s.Register(s.grpc)
	return s
}

// Register adds what is answered here to another gRPC server, whose owner says who may call it, and which must end before
// Stop.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	authv3.RegisterAuthorizationServer(r, s)
	ratelimitv3.RegisterRateLimitServiceServer(r, s)
	extprocv3.RegisterExternalProcessorServer(r, s)
}

// Serve answers on l until Stop. It returns nil after Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve policies on %s: %w", l.Addr(), err)
	}
	return nil
}

// Stop ends serving: calls under way may finish until ctx is done, then every Decider is closed.
func (s *Server) Stop(ctx context.Context) {
	done := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
	s.Retire(func(string) bool { return false })
}

// Load starts every instance that does not run yet. Instances that run are left alone, also those that are not named:
// Envoy may still ask for them (Retire). On an error none of the new ones is started.
func (s *Server) Load(instances map[string]Instance) error {
	fresh := map[string]enforce.Decider{}
	for id, in := range instances {
		if s.find(id) != nil {
			continue
		}
		d, err := s.start(in)
		if err != nil {
			for _, d := range fresh {
				s.close(d)
			}
			return fmt.Errorf("start %s: %w", id, err)
		}
		fresh[id] = d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, d := range fresh {
		s.instances[id] = d
	}
	s.loaded = true
	return nil
}

func (s *Server) start(in Instance) (enforce.Decider, error) {
	start := s.starts(in.Policy)
	if start == nil {
		return nil, fmt.Errorf("policy %s decides nothing at request time", in.Policy)
	}
	env := s.env
	env.ID = in.ID
	env.Log = s.env.Log.With("policy", in.Policy, "binding", in.ID)
	return start(in.Config, env)
}

// Retire closes every instance that live does not want any more.
func (s *Server) Retire(live func(id string) bool) {
	var gone []enforce.Decider
	s.mu.Lock()
	for id, d := range s.instances {
		if !live(id) {
			gone = append(gone, d)
			delete(s.instances, id)
		}
	}
	s.mu.Unlock()
	for _, d := range gone {
		s.close(d)
	}
}

func (s *Server) close(d enforce.Decider) {
	if err := d.Close(); err != nil {
		s.env.Log.Warn("policy instance did not close", "error", err)
	}
}

func (s *Server) find(id string) enforce.Decider {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.instances[id]
}

// starting reports whether nothing was loaded yet.
func (s *Server) starting() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !s.loaded
}

// decider finds who decides for the caller of a gRPC method.
func decider[D enforce.Decider](s *Server, ctx context.Context) (D, error) {
	var none D
	ids := metadata.ValueFromIncomingContext(ctx, enforce.InstanceMetadata)
	if len(ids) != 1 {
		return none, status.Errorf(codes.Unauthenticated, "the call names %d policy instances, not one", len(ids))
	}
	d, ok := s.find(ids[0]).(D)
	if !ok && s.starting() {
		// An Envoy that outlived its daemon asks before the first revision is read. It asks again (retry_policy).
		return none, status.Error(codes.Unavailable, "no policy is loaded yet")
	}
	if !ok {
		s.env.Log.Error("refused: unknown policy instance", "instance", ids[0])
		return none, status.Errorf(codes.NotFound, "unknown policy instance %q", ids[0])
	}
	return d, nil
}

// Check answers ext_authz. Every error makes Envoy deny: no policy sets failure_mode_allow.
func (s *Server) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	d, err := decider[enforce.Authorizer](s, ctx)
	if err != nil {
		return nil, err
	}
	return d.Authorize(ctx, req)
}

// ShouldRateLimit answers the rate limit service. A caller that cannot be told apart is refused in the answer itself,
// whatever the filter does when a call fails; only before the first Load the call fails, to be made again.
func (s *Server) ShouldRateLimit(ctx context.Context, req *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	d, err := decider[enforce.Limiter](s, ctx)
	if status.Code(err) == codes.Unavailable {
		return nil, err
	}
	if err != nil {
		return &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OVER_LIMIT}, nil
	}
	res, err := d.Limit(ctx, req)
	if err == nil && res.GetOverallCode() == ratelimitv3.RateLimitResponse_UNKNOWN {
		return nil, status.Error(codes.Internal, "the policy gave no answer")
	}
	return res, err
}

// Process answers ext_proc.
func (s *Server) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	d, err := decider[enforce.Processor](s, stream.Context())
	if err != nil {
		return err
	}
	return d.Process(stream)
}
