package usage_test

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile/usage"
)

// counters are those of an Envoy that writes nothing by itself.
type counters struct {
	mu    sync.Mutex
	pid   int
	stats map[string]uint64
}

func (c *counters) set(name string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats[name] = n
}

func (c *counters) gateway(g *gateway) usage.Gateway {
	return usage.Gateway{
		Reopen: g.reopen,
		Stats: func(_ context.Context, filter string) (map[string]uint64, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			some := maps.Clone(c.stats)
			maps.DeleteFunc(some, func(name string, _ uint64) bool { return !regexp.MustCompile(filter).MatchString(name) })
			return some, nil
		},
		Process: func(context.Context) (int, error) { return c.pid, nil },
	}
}

func alarms(l *usage.Ledger) string {
	var codes []string
	for _, a := range l.State().Alarms {
		codes = append(codes, a.Code)
	}
	return strings.Join(codes, " ")
}

// What an Envoy could not write before this daemon began is told, once.
func TestWritesThatFailedBeforeTheDaemon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, g := open(t, dir, newClock(), usage.Options{}), newGateway(t, dir)
	g.open()
	e := &counters{pid: 7, stats: map[string]uint64{"http.a.downstream_rq_total": 215, "filesystem.write_failed": 4}}
	c := usage.NewCounter(dir, l, e.gateway(g), usage.TailOptions{})
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Compare(t.Context()); err == nil || alarms(l) != "log-full" || c.Check().Failed != 4 {
		t.Errorf("got %v, %q, %+v", err, alarms(l), c.Check())
	}
	l.Clear("log-full")
	if err := c.Compare(t.Context()); err != nil || alarms(l) != "" || c.Check().Failed != 4 {
		t.Errorf("got %v, %q, %+v", err, alarms(l), c.Check())
	}
	e.pid = 8 // it counts from zero
	if err := c.Compare(t.Context()); err == nil || alarms(l) != "log-full" || c.Check().Failed != 8 {
		t.Errorf("got %v, %q, %+v", err, alarms(l), c.Check())
	}
}

// Lines that are missing are found although a comparison between could not be made.
func TestMissingLinesAfterAComparisonThatFailed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, g := open(t, dir, newClock(), usage.Options{}), newGateway(t, dir)
	g.open()
	e := &counters{pid: 7, stats: map[string]uint64{"http.a.downstream_rq_total": 0}}
	from := e.gateway(g)
	away := false
	stats := from.Stats
	from.Stats = func(ctx context.Context, filter string) (map[string]uint64, error) {
		if away {
			return nil, errors.New("no answer")
		}
		return stats(ctx, filter)
	}
	c := usage.NewCounter(dir, l, from, usage.TailOptions{})
	t.Cleanup(func() { _ = c.Close() })
	_ = c.Compare(t.Context())
	e.set("http.a.downstream_rq_total", 152)
	away = true
	if err := c.Compare(t.Context()); err == nil {
		t.Error("it was compared with nothing")
	}
	away = false
	if err := c.Compare(t.Context()); err != nil || alarms(l) != "unmatched" || c.Check().Missing != 152 {
		t.Errorf("got %v, %q, %+v", err, alarms(l), c.Check())
	}
	if text := l.State().Alarms[0].Message; !strings.HasPrefix(text, "at least 152 requests that Envoy counted have no line") {
		t.Error(text)
	}
}

// An Envoy with so many statistics that each question holds its main thread is asked less often: looking for trouble takes a hundredth of it.
func TestABusyEnvoyIsLeftAlone(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]int{0: 60, 100 * time.Millisecond: 60, 300 * time.Millisecond: 20, 3 * time.Second: 4} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			l, g := open(t, dir, newClock(), usage.Options{}), newGateway(t, dir)
			g.open()
			from := (&counters{pid: 7, stats: map[string]uint64{"http.a.downstream_rq_total": 0}}).gateway(g)
			asked, stats := 0, from.Stats
			from.Stats = func(ctx context.Context, filter string) (map[string]uint64, error) {
				if filter == `^filesystem\.write_failed$` {
					asked++
				}
				time.Sleep(took)
				return stats(ctx, filter)
			}
			c := usage.NewCounter(dir, l, from, usage.TailOptions{})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			c.Run(ctx)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if asked > want+3 || asked < want/2 { // comparisons, each with a question of its own, begin anew with the clock
				t.Errorf("with answers after %s it was asked %d times in ten minutes, want about %d", took, asked, want)
			}
		})
	}
}

// A line that was torn has Envoy's counters looked at in seconds, and the loss told.
func TestATornLineIsLookedInto(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for a second look")
	}
	dir := t.TempDir()
	l, g := open(t, dir, newClock(), usage.Options{}), newGateway(t, dir)
	g.open()
	e := &counters{pid: 7, stats: map[string]uint64{"http.a.downstream_rq_total": 0}}
	c := usage.NewCounter(dir, l, e.gateway(g), usage.TailOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	defer running.Wait()
	defer cancel()
	until := func(what string, ok func() bool) {
		t.Helper()
		for late := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("%s: %q, %+v", what, alarms(l), c.Check())
			}
		}
	}
	until("compared", func() bool { return c.Check().Checks > 0 })
	e.set("http.a.downstream_rq_total", 90)
	e.set("filesystem.write_failed", 2)
	g.write([]byte("\n1795\n"))
	until("told", func() bool { return alarms(l) == "log-full unmatched unreadable" })
}
