// Package enforce is the contract of policies that decide at request time, in the daemon.
//
// A policy's own `enforce` subpackage turns its immutable configuration into a Decider. The server that speaks to Envoy
// (reconcile/enforce) knows only this contract. Nothing here opens a socket: network, clock and state come from Env.
package enforce

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
)

// InstanceMetadata is the key of the gRPC initial metadata that names the instance that a call is for, "<id>@<hash>".
const InstanceMetadata = "x-flexgw-policy"

// Start makes the Decider of one instance from the Enforce value of its Effect. It must not block.
type Start func(cfg any, env Env) (Decider, error)

// Env is the world as a Decider may see it.
type Env struct {
	ID    string       // the stable name of the binding, "<namespace>.<binding>": equal for the old and the new configuration
	Store Store        // counters; memory, or shared between replicas
	HTTP  *http.Client // goes through egress
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	Now   func() time.Time
	Log   *slog.Logger
}

// Decider decides for one instance; it is also an Authorizer, a Limiter or a Processor. Methods are called concurrently.
// Close is called when no Envoy can ask any more.
type Decider interface{ Close() error }

// Authorizer answers ext_authz (envoy.service.auth.v3). An error is a refusal.
type Authorizer interface {
	Decider
	Authorize(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error)
}

// Limiter answers the rate limit service (envoy.service.ratelimit.v3). It never leaves OverallCode UNKNOWN: Envoy lets
// that pass.
type Limiter interface {
	Decider
	Limit(ctx context.Context, req *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error)
}

// Processor answers ext_proc (envoy.service.ext_proc.v3).
type Processor interface {
	Decider
	Process(stream extprocv3.ExternalProcessor_ProcessServer) error
}

// Window is a fixed window: at most Limit hits in Period, counted from the first hit.
type Window struct {
	Limit  uint64
	Period time.Duration
}

// Count is the state of a Window after a hit.
type Count struct {
	Remaining uint64        // hits left
	Reset     time.Duration // to the end of the window
}

// Store keeps counters. Keys are free text; the store bounds its own memory.
type Store interface {
	// Take counts one hit of key in every window, all or none: ok is false, and nothing was counted, when any window
	// is used up. The counts are those of the windows in their order.
	Take(ctx context.Context, key string, windows []Window) (counts []Count, ok bool, err error)
}
