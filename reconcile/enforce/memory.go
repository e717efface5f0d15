package enforce

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/flexgw/flexgw/render/policy/enforce"
)

const (
	shards        = 64
	keysPerShard  = 16384 // about a million keys in all, 250 bytes each
	sweepInterval = 10 * time.Second
)

// Memory is the Store of one replica: fixed windows in memory, lost at a restart. When a shard is full, finished windows
// go first, then arbitrary keys: a client that invents keys cannot take all memory.
type Memory struct {
	now    func() time.Time
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu    sync.Mutex
	keys  map[string][]window
	swept time.Time
}

type window struct {
	until time.Time
	hits  uint64
}

// NewMemory is an empty Memory; now is the clock.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, seed: maphash.MakeSeed()}
}

// Take implements enforce.Store. A window starts at the first hit after the one before it ended.
func (m *Memory) Take(_ context.Context, key string, windows []enforce.Window) ([]enforce.Count, bool, error) {
	s := &m.shards[maphash.String(m.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	state := s.state(key, len(windows), now)
	ok := true
	for i, w := range windows {
		if !now.Before(state[i].until) {
			state[i] = window{until: now.Add(w.Period)}
		}
		ok = ok && state[i].hits < w.Limit
	}
	counts := make([]enforce.Count, len(windows))
	for i, w := range windows {
		if ok {
			state[i].hits++
		}
		counts[i] = enforce.Count{Remaining: w.Limit - min(w.Limit, state[i].hits), Reset: state[i].until.Sub(now)}
	}
	return counts, ok, nil
}

func (s *shard) state(key string, n int, now time.Time) []window {
	if s.keys == nil {
		s.keys, s.swept = map[string][]window{}, now
	}
	if state, ok := s.keys[key]; ok && len(state) == n {
		return state
	}
	if len(s.keys) >= keysPerShard {
		s.makeRoom(now)
	}
	state := make([]window, n)
	s.keys[key] = state
	return state
}

// makeRoom drops keys whose windows are over, at most once in a sweepInterval for a walk costs a millisecond, and if that
// was not enough arbitrary ones.
func (s *shard) makeRoom(now time.Time) {
	if now.Sub(s.swept) >= sweepInterval {
		s.swept = now
		for k, state := range s.keys {
			if !slices.ContainsFunc(state, func(w window) bool { return now.Before(w.until) }) {
				delete(s.keys, k)
			}
		}
	}
	for k := range s.keys {
		if len(s.keys) < keysPerShard {
			return
		}
		delete(s.keys, k)
	}
}

// Len is the number of keys that are held.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += len(m.shards[i].keys)
		m.shards[i].mu.Unlock()
	}
	return n
}
