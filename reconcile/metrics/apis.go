package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/flexgw/flexgw/render"
)

// classes are the values of code_class: where an API's counters of one class stand is the class's place here. The last one is
// that of requests without a response: their client was gone.
var classes = []string{"1xx", "2xx", "3xx", "4xx", "5xx", "none"}

// bounds are those of Envoy's counters, in their order; the last one has no bound.
var bounds = render.StatBounds()

const maxBounds = 16

// counts is what Envoy counted for one API.
type counts struct {
	class    [6]uint64
	within   [maxBounds]uint64 // requests by bound, not cumulated
	micros   uint64
	failures uint64
}

// reading is one look at Envoy's statistics.
type reading struct {
	apis map[string]*counts // by "namespace/name"; "" is of requests that no API takes
	at   time.Time          // of the last good one
	took time.Duration
	err  error // of the last one

	tried time.Time
}

const (
	statsLimit = 10 * time.Second
	// statsShare is how much of Envoy's main thread may go into answers about statistics: 1/statsShare.
	statsShare = 20
)

// fresh reports whether the last reading must do: it is a second old at most, or so much more as it is costly.
func (r *reading) fresh(now time.Time) bool {
	return now.Sub(r.tried) < max(time.Second, statsShare*r.took)
}

// read asks Envoy. Figures of before stay when it does not answer: counters must not fall to zero and rise again.
func (m *M) read(ctx context.Context) {
	now := time.Now()
	if m.options.Stats == nil || m.stats.fresh(now) {
		return
	}
	limit, cancel := context.WithTimeout(ctx, statsLimit)
	defer cancel()
	stats, err := m.options.Stats(limit, `^`+render.StatPrefix+`\.`)
	m.stats.tried, m.stats.took, m.stats.err = now, time.Since(now), err
	if err != nil {
		m.complain(err)
		return
	}
	m.mu.Lock()
	m.told = false
	m.mu.Unlock()
	m.stats.at, m.stats.apis = now, sum(stats)
}

// complain says once that the metrics of APIs are old.
func (m *M) complain(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.told {
		m.told = true
		m.options.Log.Warn("no statistics from Envoy; metrics of APIs are as they were", "error", err)
	}
}

// sum takes the counters apart; render.StatPrefix says what they are called.
func sum(stats map[string]uint64) map[string]*counts {
	list := map[string]*counts{}
	for name, n := range stats {
		name = strings.TrimPrefix(name, render.StatPrefix+".")
		kind, tags, ok := strings.Cut(name, ".api.")
		if !ok {
			continue
		}
		// Names of APIs have dots, those of classes and bounds do not.
		var class, bound string
		if kind == render.StatRequests {
			tags, bound = cutLast(tags, ".ms.")
			tags, class = cutLast(tags, ".class.")
		}
		c := list[tags]
		if c == nil {
			c = &counts{}
			list[strings.Clone(tags)] = c
		}
		switch kind {
		case render.StatRequests:
			c.class[classOf(class)] += n
			if i := boundOf(bound); i >= 0 {
				c.within[i] += n
			}
		case render.StatMicros:
			c.micros = n
		case render.StatFailures:
			c.failures = n
		}
	}
	return list
}

func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return s, ""
}

func classOf(digit string) int {
	if len(digit) == 1 && digit[0] >= '1' && digit[0] <= '5' {
		return int(digit[0] - '1')
	}
	return len(classes) - 1
}

func boundOf(name string) int {
	for i, b := range bounds {
		if b.Name == name {
			return i
		}
	}
	return -1
}
