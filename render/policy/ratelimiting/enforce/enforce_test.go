package enforce_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/google/go-cmp/cmp"

	memory "github.com/flexgw/flexgw/reconcile/enforce"
	contract "github.com/flexgw/flexgw/render/policy/enforce"
	"github.com/flexgw/flexgw/render/policy/ratelimiting/enforce"
)

// gateway is a store with a clock of its own.
type gateway struct {
	now   time.Time
	store contract.Store
}

func newGateway() *gateway {
	g := &gateway{now: time.Unix(1_700_000_000, 0)}
	g.store = memory.NewMemory(func() time.Time { return g.now })
	return g
}

func (g *gateway) start(t *testing.T, c enforce.Config) contract.Limiter {
	t.Helper()
	d, err := enforce.Start(c, contract.Env{ID: "default.limit", Store: g.store, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return d.(contract.Limiter)
}

// ask sends one request; a nil key is an absent one. It gives the code, the x-ratelimit headers and the body.
func ask(t *testing.T, l contract.Limiter, key *string) string {
	t.Helper()
	d := &commonv3.RateLimitDescriptor{Entries: []*commonv3.RateLimitDescriptor_Entry{{Key: "all", Value: "all"}}}
	if key != nil {
		d.Entries = append(d.Entries, &commonv3.RateLimitDescriptor_Entry{Key: enforce.KeyEntry, Value: *key})
	}
	res, err := l.Limit(t.Context(), &ratelimitv3.RateLimitRequest{Descriptors: []*commonv3.RateLimitDescriptor{d}})
	if err != nil {
		t.Fatal(err)
	}
	out := res.GetOverallCode().String()
	for _, h := range res.GetResponseHeadersToAdd() {
		out += " " + strings.TrimPrefix(h.GetKey(), "x-ratelimit-") + "=" + h.GetValue()
	}
	return strings.TrimSpace(out + " " + string(res.GetRawBody()))
}

func key(s string) *string { return &s }

func limits(pairs ...uint64) (out []enforce.Limit) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, enforce.Limit{Requests: pairs[i], Milliseconds: pairs[i+1]})
	}
	return out
}

const over = `OVER_LIMIT content-type=application/json; charset=UTF-8 {"error":"Too Many Requests"}`

func TestFixedWindow(t *testing.T) {
	t.Parallel()
	g := newGateway()
	l := g.start(t, enforce.Config{Limits: limits(2, 1000)})
	for i, step := range []struct {
		after time.Duration
		want  string
	}{{0, "OK"}, {900 * time.Millisecond, "OK"}, {99 * time.Millisecond, over}, {time.Millisecond, "OK"}, {999 * time.Millisecond, "OK"}, {0, over}} {
		g.now = g.now.Add(step.after)
		if got := ask(t, l, nil); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
}

func TestHeadersTellOfTheTightest(t *testing.T) {
	t.Parallel()
	g := newGateway()
	l := g.start(t, enforce.Config{Limits: limits(2, 1000, 3, 60000), Expose: true})
	var got []string
	for _, after := range []time.Duration{0, 0, 0, 1500 * time.Millisecond, 0} {
		g.now = g.now.Add(after)
		got = append(got, ask(t, l, nil))
	}
	want := []string{
		"OK limit=2 remaining=1 reset=1000",
		"OK limit=2 remaining=0 reset=1000",
		"OVER_LIMIT limit=2 remaining=0 reset=1000 content-type=application/json; charset=UTF-8 {\"error\":\"Too Many Requests\"}",
		"OK limit=3 remaining=0 reset=58500",
		"OVER_LIMIT limit=3 remaining=0 reset=58500 content-type=application/json; charset=UTF-8 {\"error\":\"Too Many Requests\"}",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	l := newGateway().start(t, enforce.Config{Limits: limits(1, 1000)})
	long := strings.Repeat("x", 5000)
	for i, step := range []struct {
		key  *string
		want string
	}{
		{key("a"), "OK"}, {key("A"), "OK"}, {key("a"), over},
		{nil, "OK"}, {key(""), over}, // absent and empty are one
		{key(long), "OK"}, {key(long + "y"), "OK"}, {key(long), over},
	} {
		if got := ask(t, l, step.key); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
}

func TestChangesKeepWhatTheyCan(t *testing.T) {
	t.Parallel()
	g := newGateway()
	base := enforce.Config{API: "default/a", Limits: limits(1, 1000, 5, 60000)}
	ask(t, g.start(t, base), nil)
	for name, c := range map[string]struct {
		config enforce.Config
		want   string
	}{
		"same":          {base, over},
		"other order":   {enforce.Config{API: "default/a", Limits: limits(5, 60000, 1, 1000)}, over},
		"twice":         {enforce.Config{API: "default/a", Limits: limits(9, 1000, 1, 1000, 5, 60000)}, over},
		"another API":   {enforce.Config{API: "default/b", Limits: base.Limits}, "OK"},
		"other periods": {enforce.Config{API: "default/a", Limits: limits(1, 2000, 5, 60000)}, "OK"},
	} {
		if got := ask(t, g.start(t, c.config), nil); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	if got := ask(t, g.start(t, enforce.Config{API: "default/a", Limits: limits(2, 1000, 5, 60000), Expose: true}), nil); got != "OK limit=2 remaining=0 reset=1000" {
		t.Errorf("raised: got %s", got)
	}
}

// broken is a store that cannot be read.
type broken struct{}

func (broken) Take(context.Context, string, []contract.Window) ([]contract.Count, bool, error) {
	return nil, false, errors.New("no connection")
}

func TestUnknownQuota(t *testing.T) {
	t.Parallel()
	g := &gateway{store: broken{}}
	if got := ask(t, g.start(t, enforce.Config{Limits: limits(1, 1000), PassUnknown: true, Expose: true}), nil); got != "OK" {
		t.Errorf("got %s, want OK", got)
	}
	res, err := g.start(t, enforce.Config{Limits: limits(1, 1000)}).Limit(t.Context(), &ratelimitv3.RateLimitRequest{})
	if err == nil {
		t.Errorf("got %v, want an error", res)
	}
}

func TestStartRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	if _, err := enforce.Start("limits", contract.Env{Store: broken{}}); err == nil {
		t.Error("a text was taken for a configuration")
	}
}
