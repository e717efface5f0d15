// Package enforce counts the requests of one "rate-limiting-flex" binding in the daemon.
//
// Where the counters live, and whether other replicas see them, is the Store's affair.
package enforce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/flexgw/flexgw/render/policy/enforce"
)

// KeyEntry is the descriptor entry that holds the key. A request without it has the empty key.
const KeyEntry = "key"

// maxKey is how long a key may be, in bytes, before its hash stands for it.
const maxKey = 256

// Config is what Start gets. Limits are in the order of the declaration and not empty.
type Config struct {
	API         string // "<namespace>/<name>": a binding that a selector gave to several APIs counts for each
	Limits      []Limit
	Expose      bool // x-ratelimit headers on every response
	PassUnknown bool // let requests pass when the store cannot be read
}

// Limit is one fixed window.
type Limit struct {
	Requests     uint64
	Milliseconds uint64
}

// Start is the request-time half of the policy.
func Start(cfg any, env enforce.Env) (enforce.Decider, error) {
	c, ok := cfg.(Config)
	if !ok {
		return nil, fmt.Errorf("rate limiting: the configuration is a %T", cfg)
	}
	if env.Store == nil {
		return nil, fmt.Errorf("rate limiting: there is no store")
	}
	l := &limiter{env: env, config: c}
	for _, x := range c.Limits {
		w := enforce.Window{Limit: x.Requests, Period: time.Duration(x.Milliseconds) * time.Millisecond}
		at, found := slices.BinarySearchFunc(l.windows, w, func(a, b enforce.Window) int { return int(min(max(a.Period-b.Period, -1), 1)) })
		if found { // the smaller one decides
			l.windows[at].Limit = min(l.windows[at].Limit, w.Limit)
			continue
		}
		l.windows = slices.Insert(l.windows, at, w)
	}
	// A count goes on when only the number of requests was changed. Other periods are other windows: an hour that began
	// must not go on when a second was declared.
	parts := []string{env.ID, c.API}
	for _, w := range l.windows {
		parts = append(parts, strconv.FormatInt(w.Period.Milliseconds(), 10))
	}
	l.prefix = strings.Join(parts, "|") + "|"
	return l, nil
}

type limiter struct {
	env     enforce.Env
	config  Config
	windows []enforce.Window // by period, each period once
	prefix  string
}

func (l *limiter) Close() error { return nil }

// Limit implements enforce.Limiter. An error makes Envoy answer 503.
func (l *limiter) Limit(ctx context.Context, req *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	counts, ok, err := l.env.Store.Take(ctx, l.prefix+keyOf(req), l.windows)
	res := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}
	if err != nil {
		if !l.config.PassUnknown {
			return nil, fmt.Errorf("count: %w", err)
		}
		l.env.Log.WarnContext(ctx, "quota unknown, request passes", "error", err)
		return res, nil
	}
	if l.config.Expose {
		res.ResponseHeadersToAdd = l.headers(counts)
	}
	if !ok {
		res.OverallCode = ratelimitv3.RateLimitResponse_OVER_LIMIT
		res.ResponseHeadersToAdd = append(res.ResponseHeadersToAdd, &corev3.HeaderValue{Key: "content-type", Value: "application/json; charset=UTF-8"})
		res.RawBody = []byte(`{"error":"Too Many Requests"}`)
	}
	return res, nil
}

// keyOf is the key of a request; long ones are replaced by their hash.
func keyOf(req *ratelimitv3.RateLimitRequest) string {
	for _, d := range req.GetDescriptors() {
		for _, e := range d.GetEntries() {
			if e.GetKey() != KeyEntry {
				continue
			}
			if len(e.GetValue()) <= maxKey {
				return "=" + e.GetValue()
			}
			sum := sha256.Sum256([]byte(e.GetValue()))
			return "#" + hex.EncodeToString(sum[:])
		}
	}
	return "="
}

// headers tell of the tightest window: the one with the fewest requests left, of these the one that lasts longest.
func (l *limiter) headers(counts []enforce.Count) []*corev3.HeaderValue {
	tightest := 0
	for i, c := range counts {
		t := counts[tightest]
		if c.Remaining < t.Remaining || c.Remaining == t.Remaining && c.Reset > t.Reset {
			tightest = i
		}
	}
	if len(counts) == 0 {
		return nil
	}
	c := counts[tightest]
	reset := (c.Reset + time.Millisecond - 1) / time.Millisecond // whoever waits so long finds a new window
	return []*corev3.HeaderValue{
		{Key: "x-ratelimit-limit", Value: strconv.FormatUint(l.windows[tightest].Limit, 10)},
		{Key: "x-ratelimit-remaining", Value: strconv.FormatUint(c.Remaining, 10)},
		{Key: "x-ratelimit-reset", Value: strconv.FormatInt(int64(reset), 10)},
	}
}
