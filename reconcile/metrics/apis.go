package metrics

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
)

// classes are the values of code_class: where an API's counters of one class stand is the class's place here. The last one is
// that of requests without a response: their client was gone.
var classes = []string{"1xx", "2xx", "3xx", "4xx", "5xx", "none"}

// bounds are those of Envoy's counters, in their order; the last one has no bound.
var bounds = render.StatBounds()

// The counters of an API that are of no request: their keys. Those of requests are class*keysPerClass + bound.
const (
	keyMicros    = 254
	keyFailures  = 255
	keysPerClass = 16 // more than there are bounds, "none" included
)

// series is one of Envoy's counters. What Envoy counts begins anew when it is restarted, and when a listener is edited (render,
// statsLog): before is what was counted until then.
type series struct {
	before, last uint64
	key          uint8
	seen         bool // in this reading
}

func (s series) total() uint64 { return s.before + s.last }

// anew keeps what was counted until now.
func (s *series) anew() { s.before, s.last = s.total(), 0 }

// counter is what Envoy counted for one API: few of the many series that there may be.
type counter []series

// counts are the sums of a counter.
type counts struct {
	class    [6]uint64
	within   [keysPerClass]uint64 // requests by bound, not cumulated
	micros   uint64
	failures uint64
}

func (c counter) sums() (out counts) {
	for _, s := range c {
		switch s.key {
		case keyMicros:
			out.micros = s.total()
		case keyFailures:
			out.failures = s.total()
		default:
			out.class[s.key/keysPerClass] += s.total()
			out.within[s.key%keysPerClass] += s.total()
		}
	}
	return out
}

// reading is one look at Envoy's statistics.
type reading struct {
	apis map[string]counter // by "namespace/name"; "" is of requests that no API takes
	pid  int                // of the Envoy that was asked
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
	pid, stats, err := m.ask(limit)
	m.stats.tried, m.stats.took, m.stats.err = now, time.Since(now), err
	if err != nil {
		m.complain(err)
		return
	}
	m.mu.Lock()
	m.told = false
	m.mu.Unlock()
	m.stats.at = now
	m.stats.add(pid, stats, m.options.APIs())
}

// ask returns what one process said, and which: it is looked at before and after, since Envoy may be restarted in between.
func (m *M) ask(ctx context.Context) (pid int, stats map[string]uint64, err error) {
	if pid, err = m.options.Process(ctx); err != nil {
		return 0, nil, err
	}
	if stats, err = m.options.Stats(ctx, `^`+render.StatPrefix+`\.`); err != nil {
		return 0, nil, err
	}
	after, err := m.options.Process(ctx)
	if err == nil && after != pid {
		err = fmt.Errorf("process %d has taken the place of process %d", after, pid)
	}
	return pid, stats, err
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

// add takes what Envoy has counted now. A counter that is gone, or lower than it was, began anew. What was counted for an API that
// neither Envoy nor anybody who declares knows any more is forgotten.
func (r *reading) add(pid int, stats map[string]uint64, declared []diag.Object) {
	restarted := pid != r.pid
	r.pid = pid
	if r.apis == nil {
		r.apis = map[string]counter{}
	}
	for _, c := range r.apis {
		for i := range c {
			c[i].seen = false
			if restarted {
				c[i].anew()
			}
		}
	}
	for name, n := range stats {
		x, ok := render.ParseStat(name)
		if !ok {
			continue
		}
		key := keyOf(x)
		c, known := r.apis[x.API]
		i := slices.IndexFunc(c, func(s series) bool { return s.key == key })
		if i < 0 {
			i, c = len(c), append(c, series{key: key})
			if !known {
				x.API = strings.Clone(x.API)
			}
			r.apis[x.API] = c
		}
		s := &c[i]
		if n < s.last {
			s.anew()
		}
		s.last, s.seen = n, true
	}
	known := map[string]bool{"": true}
	for _, o := range declared {
		known[o.Namespace+"/"+o.Name] = true
	}
	for name, c := range r.apis {
		gone := true
		for i := range c {
			if c[i].seen {
				gone = false
			} else {
				c[i].anew()
			}
		}
		if gone && !known[name] {
			delete(r.apis, name)
		}
	}
}

// keyOf is the place of a counter among those of its API.
func keyOf(x render.Stat) uint8 {
	switch x.Kind {
	case render.StatMicros:
		return keyMicros
	case render.StatFailures:
		return keyFailures
	}
	class := len(classes) - 1
	if len(x.Class) == 1 && x.Class[0] >= '1' && x.Class[0] <= '5' {
		class = int(x.Class[0] - '1')
	}
	bound := slices.IndexFunc(bounds, func(b render.StatBound) bool { return b.Name == x.Bound })
	if bound < 0 {
		bound = len(bounds) // "none"
	}
	return uint8(class*keysPerClass + bound)
}
