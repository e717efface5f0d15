package enforce_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/flexgw/flexgw/reconcile/enforce"
	contract "github.com/flexgw/flexgw/render/policy/enforce"
)

// limiter lets as many calls pass as its configuration says.
type limiter struct {
	contract.Env
	limit  uint64
	closed chan string
}

func (l *limiter) Close() error { l.closed <- l.ID; return nil }

func (l *limiter) Limit(ctx context.Context, _ *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	_, ok, err := l.Store.Take(ctx, l.ID, []contract.Window{{Limit: l.limit, Period: time.Hour}})
	res := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OVER_LIMIT}
	if ok {
		res.OverallCode = ratelimitv3.RateLimitResponse_OK
	}
	return res, err
}

func serve(t *testing.T) (*enforce.Server, *grpc.ClientConn, chan string) {
	t.Helper()
	closed := make(chan string, 8)
	starts := func(policy string) contract.Start {
		if policy != "limit" {
			return nil
		}
		return func(cfg any, env contract.Env) (contract.Decider, error) {
			n, ok := cfg.(uint64)
			if !ok {
				return nil, fmt.Errorf("config is a %T", cfg)
			}
			return &limiter{Env: env, limit: n, closed: closed}, nil
		}
	}
	s, conn := serveStarts(t, starts)
	return s, conn, closed
}

// serveStarts serves policies that begin so, until the test ends.
func serveStarts(t *testing.T, starts func(policy string) contract.Start) (*enforce.Server, *grpc.ClientConn) {
	t.Helper()
	s := enforce.New(starts, contract.Env{Store: enforce.NewMemory(time.Now)})
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Stop(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, conn
}

func ask(t *testing.T, conn *grpc.ClientConn, instance string) ratelimitv3.RateLimitResponse_Code {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), contract.InstanceMetadata, instance)
	res, err := ratelimitv3.NewRateLimitServiceClient(conn).ShouldRateLimit(ctx, &ratelimitv3.RateLimitRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetOverallCode()
}

func TestLimitAndRetire(t *testing.T) {
	t.Parallel()
	s, conn, closed := serve(t)
	if err := s.Load(map[string]enforce.Instance{"a@1": {Policy: "limit", ID: "a", Config: uint64(2)}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []ratelimitv3.RateLimitResponse_Code{ratelimitv3.RateLimitResponse_OK, ratelimitv3.RateLimitResponse_OK, ratelimitv3.RateLimitResponse_OVER_LIMIT} {
		if got := ask(t, conn, "a@1"); got != want {
			t.Errorf("call %d: got %v, want %v", i, got, want)
		}
	}
	if got := ask(t, conn, "a@2"); got != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("an unknown instance got %v", got)
	}
	if err := s.Load(map[string]enforce.Instance{"a@2": {Policy: "limit", ID: "a", Config: uint64(9)}}); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, conn, "a@2"); got != ratelimitv3.RateLimitResponse_OK {
		t.Errorf("the counter of a binding is kept over a change of its configuration, 2 of 9 used: got %v", got)
	}
	s.Retire(func(id string) bool { return id == "a@2" })
	if id := <-closed; id != "a" {
		t.Errorf("closed %q", id)
	}
	if got := ask(t, conn, "a@1"); got != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("a retired instance got %v", got)
	}
}

// An Envoy that outlived its daemon must ask again rather than hear that its policy does not exist.
func TestNothingIsKnownBeforeTheFirstLoad(t *testing.T) {
	t.Parallel()
	s, conn, _ := serve(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), contract.InstanceMetadata, "a@1")
	limits, checks := ratelimitv3.NewRateLimitServiceClient(conn), authv3.NewAuthorizationClient(conn)
	if res, err := limits.ShouldRateLimit(ctx, &ratelimitv3.RateLimitRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("rate limit: got %v, %v, want Unavailable", res, err)
	}
	if res, err := checks.Check(ctx, &authv3.CheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("authorization: got %v, %v, want Unavailable", res, err)
	}
	if err := s.Load(nil); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, conn, "a@1"); got != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("after an empty load: got %v, want OVER_LIMIT", got)
	}
}

func TestCheckRefusesUnknown(t *testing.T) {
	t.Parallel()
	s, conn, _ := serve(t)
	if err := s.Load(map[string]enforce.Instance{"a@1": {Policy: "limit", ID: "a", Config: uint64(2)}}); err != nil {
		t.Fatal(err)
	}
	for _, instance := range []string{"nobody@0", "a@1"} { // unknown; known, but no Authorizer
		ctx := metadata.AppendToOutgoingContext(t.Context(), contract.InstanceMetadata, instance)
		if res, err := authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{}); err == nil {
			t.Errorf("%s: got %v, want an error", instance, res)
		}
	}
}

func TestLoadIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s, conn, closed := serve(t)
	if err := s.Load(nil); err != nil {
		t.Fatal(err)
	}
	err := s.Load(map[string]enforce.Instance{
		"a@1": {Policy: "limit", ID: "a", Config: uint64(2)},
		"b@1": {Policy: "limit", ID: "b", Config: "wrong"},
	})
	if err == nil {
		t.Fatal("a configuration of the wrong type was taken")
	}
	select { // map order decides whether a was started at all
	case <-closed:
	default:
	}
	if got := ask(t, conn, "a@1"); got != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("half a load is live: %v", got)
	}
}

// meeting is a limiter that answers nobody before so many calls are with it.
type meeting struct {
	wait *sync.WaitGroup
}

func (meeting) Close() error { return nil }

func (m meeting) Limit(context.Context, *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	m.wait.Done()
	m.wait.Wait()
	return &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}, nil
}

// Many more calls than processors may wait at once: none is in the way of another.
func TestCallsWaitSideBySide(t *testing.T) {
	t.Parallel()
	calls := 8*runtime.GOMAXPROCS(0) + 8
	var inside sync.WaitGroup
	inside.Add(calls)
	s, conn := serveStarts(t, func(string) contract.Start {
		return func(any, contract.Env) (contract.Decider, error) { return meeting{&inside}, nil }
	})
	if err := s.Load(map[string]enforce.Instance{"a@1": {Policy: "meeting", ID: "a"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), contract.InstanceMetadata, "a@1"), time.Minute)
	defer cancel()
	var asking sync.WaitGroup
	for range calls {
		asking.Go(func() {
			res, err := ratelimitv3.NewRateLimitServiceClient(conn).ShouldRateLimit(ctx, &ratelimitv3.RateLimitRequest{})
			if err != nil || res.GetOverallCode() != ratelimitv3.RateLimitResponse_OK {
				t.Errorf("got %v, %v", res, err)
			}
		})
	}
	asking.Wait()
}

// A call that names two instances, or none, is nobody's.
func TestOneInstance(t *testing.T) {
	t.Parallel()
	s, conn, _ := serve(t)
	if err := s.Load(map[string]enforce.Instance{"a@1": {Policy: "limit", ID: "a", Config: uint64(9)}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names []string
		want  ratelimitv3.RateLimitResponse_Code
	}{
		{[]string{"a@1"}, ratelimitv3.RateLimitResponse_OK},
		{nil, ratelimitv3.RateLimitResponse_OVER_LIMIT},
		{[]string{"a@1", "a@1"}, ratelimitv3.RateLimitResponse_OVER_LIMIT},
	} {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{contract.InstanceMetadata: c.names})
		res, err := ratelimitv3.NewRateLimitServiceClient(conn).ShouldRateLimit(ctx, &ratelimitv3.RateLimitRequest{})
		if err != nil || res.GetOverallCode() != c.want {
			t.Errorf("%q: got %v, %v, want %v", c.names, res, err, c.want)
		}
	}
}

func TestMemoryWindows(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	m := enforce.NewMemory(func() time.Time { return now })
	w := []contract.Window{{Limit: 2, Period: 10 * time.Second}, {Limit: 3, Period: time.Minute}}
	take := func(key string) bool {
		_, ok, err := m.Take(t.Context(), key, w)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	steps := []struct {
		after time.Duration
		key   string
		want  bool
	}{
		{0, "k", true}, {time.Second, "k", true}, {time.Second, "k", false}, {0, "other", true},
		{8 * time.Second, "k", true},   // the short window is over, the long one has its third hit
		{time.Second, "k", false},      // refused by the long window: nothing is counted in the short one
		{10 * time.Second, "k", false}, //
		{40 * time.Second, "k", true},  // the long window is over
	}
	for i, s := range steps {
		now = now.Add(s.after)
		if got := take(s.key); got != s.want {
			t.Errorf("step %d: got %v, want %v", i, got, s.want)
		}
	}
	counts, ok, _ := m.Take(t.Context(), "fresh", w)
	if !ok || counts[0].Remaining != 1 || counts[0].Reset != 10*time.Second || counts[1].Remaining != 2 {
		t.Errorf("got %v %v", counts, ok)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := enforce.NewMemory(time.Now)
	w := []contract.Window{{Limit: 1, Period: time.Hour}}
	for i := range 1_200_000 {
		if _, ok, _ := m.Take(t.Context(), fmt.Sprint(i), w); !ok {
			t.Fatalf("key %d was refused", i)
		}
	}
	if n := m.Len(); n > 1<<20 {
		t.Errorf("%d keys are held", n)
	}
}

func BenchmarkTake(b *testing.B) {
	m := enforce.NewMemory(time.Now)
	w := []contract.Window{{Limit: 1 << 40, Period: time.Hour}}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, _ := m.Take(b.Context(), "key", w); !ok {
			b.Fatal("refused")
		}
	}
}
