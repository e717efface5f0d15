package probe_test

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// envoy counts as Envoy does.
type envoy struct {
	mu    sync.Mutex
	stats map[string]uint64
	down  bool
	asked int
}

func (e *envoy) Stats(_ context.Context, filter string) (map[string]uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	if e.down {
		return nil, errors.New("no Envoy")
	}
	re := regexp.MustCompile(filter)
	out := map[string]uint64{}
	for name, n := range e.stats {
		if re.MatchString(name) {
			out[name] = n
		}
	}
	return out, nil
}

func (e *envoy) fail(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
}

func (e *envoy) restart() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.stats)
}

// answer counts n answers of a class.
func (e *envoy) answer(api, class string, n uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats["flexgw.requests.api."+api+".class."+class+".ms.5"] += n / 2
	e.stats["flexgw.requests.api."+api+".class."+class+".ms.10"] += n - n/2
	e.stats["flexgw.micros.api."+api] += n
}

// TestWindow watches revisions one after the other; each step is what happens while one is watched.
func TestWindow(t *testing.T) {
	g := &ir.Gateway{Listeners: []*ir.Listener{{}}}
	for _, name := range []string{"shop", "de.ad.v1"} {
		g.Listeners[0].APIs = append(g.Listeners[0].APIs, &ir.API{Origin: ir.Origin{Object: diag.Object{Kind: "ApiInstance", Namespace: "default", Name: name}}})
	}
	type step struct {
		name   string
		before func(*envoy) // since the last one
		during func(*envoy)
		want   string // "": nothing speaks against it
		took   time.Duration
	}
	of := func(api string, good, bad uint64) func(*envoy) {
		return func(e *envoy) { e.answer(api, "2", good); e.answer(api, "5", bad) }
	}
	const shop, dead = "default/shop", "default/de.ad.v1"
	for name, steps := range map[string][]step{
		"nothing was served before": {
			{name: "first", during: of(shop, 0, 1000), took: 0},
		},
		"rates": {
			{name: "first"},
			{name: "as good as before", before: of(shop, 100, 0), during: of(shop, 100, 5), took: 30 * time.Second},
			{name: "too many", before: of(shop, 100, 0), during: of(shop, 90, 10), want: `10% of 100 requests of ApiInstance "shop" were answered with 5xx, expected at most 5%: 0% before, and 5% more`, took: 6 * time.Second},
			{name: "too few to judge", during: of(shop, 0, 49), took: 30 * time.Second},
			{name: "clients that went", before: of(shop, 1000, 0), during: func(e *envoy) { e.answer(shop, "", 500); e.answer(shop, "2", 100) }, took: 30 * time.Second},
		},
		"it was bad before": {
			{name: "first"},
			{name: "no worse", before: of(shop, 50, 50), during: of(shop, 46, 54), took: 30 * time.Second},
			{name: "worse", before: of(shop, 50, 50), during: of(shop, 40, 60), want: `60% of 100 requests of ApiInstance "shop" were answered with 5xx, expected at most 55%: 50% before, and 5% more`, took: 6 * time.Second},
		},
		"a rolled back revision is no past": {
			{name: "first"},
			{name: "bad", before: of(shop, 1000, 0), during: of(shop, 0, 100), want: `100% of 100 requests of ApiInstance "shop" were answered with 5xx, expected at most 5%: 0% before, and 5% more`, took: 6 * time.Second},
			{name: "bad again", during: of(shop, 0, 100), want: `100% of 100 requests of ApiInstance "shop" were answered with 5xx, expected at most 5%: 0% before, and 5% more`, took: 6 * time.Second},
		},
		"one among many": {
			{name: "first"},
			{name: "one of two", before: func(e *envoy) { of(shop, 9000, 0)(e); of(dead, 50, 0)(e) }, during: func(e *envoy) { of(shop, 9000, 0)(e); of(dead, 0, 50)(e) },
				want: `100% of 50 requests of ApiInstance "de.ad.v1" were answered with 5xx, expected at most 5%: 0% before, and 5% more`, took: 6 * time.Second},
			{name: "each has few", before: of(shop, 1000, 0), during: func(e *envoy) { of(shop, 20, 20)(e); of(dead, 0, 20)(e) },
				want: `66.7% of 60 requests to all APIs were answered with 5xx, expected at most 5%: 0% before, and 5% more`, took: 6 * time.Second},
		},
		"Envoy began anew": {
			{name: "first"},
			{name: "counters fall", before: of(shop, 1000, 0), during: func(e *envoy) { e.restart(); of(shop, 100, 0)(e) }, took: 30 * time.Second},
			{name: "bad", during: of(shop, 0, 100), want: `100% of 100 requests of ApiInstance "shop" were answered with 5xx, expected at most 5%: 0% before, and 5% more`, took: 6 * time.Second},
		},
		"Envoy does not answer": {
			{name: "first"},
			{name: "at all", before: func(e *envoy) { of(shop, 100, 0)(e); e.fail(true) }, took: 0},
			{name: "any more", before: func(e *envoy) { e.fail(false) }, during: func(e *envoy) { of(shop, 0, 100)(e); e.fail(true) }, took: 30 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &envoy{stats: map[string]uint64{}}
				w := &probe.Window{Length: 30 * time.Second, MaxRate: 0.05, MinRequests: 50, Stats: e.Stats, Log: slog.New(slog.DiscardHandler)}
				for _, s := range steps {
					if s.before != nil {
						s.before(e)
					}
					if s.during != nil {
						time.AfterFunc(time.Second, func() { s.during(e) })
					}
					from := time.Now()
					list := w.Watch(t.Context(), g)
					if took := time.Since(from); took != s.took {
						t.Errorf("%s: took %s, want %s", s.name, took, s.took)
					}
					var got []string
					for _, d := range list {
						if d.Code != "probe/too-many-errors" || d.Severity != diag.Error {
							t.Errorf("%s: %+v", s.name, d)
						}
						got = append(got, d.Summary)
					}
					if g := strings.Join(got, "\n"); g != s.want {
						t.Errorf("%s:\ngot  %s\nwant %s", s.name, g, s.want)
					}
					time.Sleep(time.Minute) // what happens during a watch that ended early happens
				}
				if e.asked > 6*len(steps) {
					t.Errorf("Envoy was asked %d times", e.asked)
				}
			})
		})
	}
}

// What was seen while another revision came says nothing about the next one's past.
func TestWindowIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &ir.Gateway{Listeners: []*ir.Listener{{APIs: []*ir.API{{Origin: ir.Origin{Object: diag.Object{Namespace: "default", Name: "shop"}}}}}}}
		e := &envoy{stats: map[string]uint64{}}
		e.answer("default/shop", "2", 1000)
		w := &probe.Window{Length: 30 * time.Second, MaxRate: 0.05, MinRequests: 50, Stats: e.Stats, Log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		e.answer("default/shop", "5", 10)
		if list := w.Watch(ctx, g); list != nil {
			t.Errorf("left: %v", list)
		}
		e.answer("default/shop", "5", 5000) // of the revision that was left
		time.AfterFunc(time.Second, func() { e.answer("default/shop", "5", 100) })
		if list := w.Watch(t.Context(), g); len(list) != 1 {
			t.Errorf("the next one is compared with what was left: %v", list)
		}
	})
}

// What a revision answered between its delivery and its watch is not what was before it; nor is what one answered that was never
// watched.
func TestWindowBegins(t *testing.T) {
	g := &ir.Gateway{Listeners: []*ir.Listener{{APIs: []*ir.API{{Origin: ir.Origin{Object: diag.Object{Kind: "ApiInstance", Namespace: "default", Name: "shop"}}}}}}}
	for name, between := range map[string]func(context.Context, *probe.Window, *envoy){
		"watched late":     func(_ context.Context, _ *probe.Window, e *envoy) { e.answer("default/shop", "5", 100) },
		"one came between": func(ctx context.Context, w *probe.Window, e *envoy) { e.answer("default/shop", "5", 100); w.Begin(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &envoy{stats: map[string]uint64{}}
				w := &probe.Window{Length: 30 * time.Second, MaxRate: 0.05, MinRequests: 20, Stats: e.Stats, Log: slog.New(slog.DiscardHandler)}
				if list := w.Watch(t.Context(), g); list != nil {
					t.Errorf("the first: %v", list)
				}
				e.answer("default/shop", "2", 100)
				w.Begin(t.Context())
				between(t.Context(), w, e)
				time.AfterFunc(time.Second, func() { e.answer("default/shop", "5", 50) })
				if list := w.Watch(t.Context(), g); len(list) != 1 || !strings.Contains(list[0].Summary, "100% of 50 requests") || !strings.Contains(list[0].Summary, ": 0% before") {
					t.Errorf("%v", list)
				}
				synctest.Wait()
			})
		})
	}
}

// A process that watches one revision alone has its past from Envoy, and bad answers after that are none of it.
func TestWindowOfOneRevision(t *testing.T) {
	g := &ir.Gateway{Listeners: []*ir.Listener{{APIs: []*ir.API{{Origin: ir.Origin{Object: diag.Object{Kind: "ApiInstance", Namespace: "default", Name: "shop"}}}}}}}
	synctest.Test(t, func(t *testing.T) {
		e := &envoy{stats: map[string]uint64{}}
		w := &probe.Window{Length: 30 * time.Second, MaxRate: 0.05, MinRequests: 20, Stats: e.Stats, Log: slog.New(slog.DiscardHandler)}
		e.answer("default/shop", "2", 100)
		w.Begin(t.Context())
		e.answer("default/shop", "5", 100) // between the change and the watch
		go func() { time.Sleep(time.Second); e.answer("default/shop", "5", 50) }()
		if list := w.Watch(t.Context(), g); len(list) != 1 || !strings.Contains(list[0].Summary, "100% of 50 requests") || !strings.Contains(list[0].Summary, ": 0% before") {
			t.Errorf("%v", list)
		}
		synctest.Wait()
	})
}
