package probe

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Window watches how many requests are answered with 5xx after a revision went live, and compares that with what it was before.
// It remembers from one revision to the next: use one for all of them. They are watched one after the other.
type Window struct {
	Length      time.Duration // how long a revision is watched
	MaxRate     float64       // the share of requests, 0 to 1, that may fail beyond the share that did before
	MinRequests uint64        // of an API within the window, before it is judged
	// Stats are Envoy's counters whose names match a regular expression.
	Stats func(ctx context.Context, filter string) (map[string]uint64, error)
	Log   *slog.Logger

	mu     sync.Mutex // held while one is watched
	before counts     // while the last revision that passed was live, undisturbed
	passed counts     // what Envoy had counted when it passed; nil: the last one that was watched did not

	begin sync.Mutex
	until counts // what Envoy had counted before the revision that is watched next; nil: not known
}

// count is what became of the requests of one API.
type count struct{ requests, failed uint64 }

func (c count) rate() float64 {
	if c.requests == 0 {
		return 0
	}
	return float64(c.failed) / float64(c.requests)
}

// counts are by "namespace/name"; under "" are requests that no API takes.
type counts map[string]count

func (c counts) total() count {
	var t count
	for _, x := range c {
		t.requests += x.requests
		t.failed += x.failed
	}
	return t
}

// since is what was counted after earlier; all of it when Envoy began anew in between.
func (c counts) since(earlier counts) counts {
	out := counts{}
	for api, now := range c {
		was := earlier[api]
		if now.requests < was.requests || now.failed < was.failed {
			was = count{}
		}
		if d := (count{now.requests - was.requests, now.failed - was.failed}); d.requests > 0 {
			out[api] = d
		}
	}
	return out
}

// looks is how often Envoy is asked within a window: each time costs its main thread up to 0.4 s at 10,000 APIs.
const looks = 5

// Watch returns when the window is over, or too many requests failed: then with an error for each API that they were sent to. A
// gateway that has not answered a request yet has no past to compare with, and is not watched. When Envoy does not say what
// it counted, nothing is known against the revision.
func (w *Window) Watch(ctx context.Context, g *ir.Gateway) diag.List {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, err := w.read(ctx)
	if err != nil {
		return w.blind(ctx, err)
	}
	until := w.taken()
	if until == nil {
		until = from
	}
	switch {
	case w.passed != nil:
		w.before = w.recent(until)
	case w.before == nil:
		w.before = until // since Envoy began
	}
	w.passed = nil
	if w.before.total().requests == 0 {
		w.passed = from
		return nil
	}
	over := time.NewTimer(w.Length)
	defer over.Stop()
	look := time.NewTicker(max(w.Length/looks, time.Millisecond))
	defer look.Stop()
	for last := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-over.C:
			last = true
		case <-look.C:
		}
		now, err := w.read(ctx)
		if err != nil {
			if last {
				return w.blind(ctx, err)
			}
			continue
		}
		if list := w.judge(now.since(from), g); list != nil {
			return list
		}
		if last {
			w.passed = now
			return nil
		}
	}
}

// beginLimit is how long a revision waits for Envoy to say what it counted before.
const beginLimit = 2 * time.Second

// Begin ends the past of the revision that is watched next: call it before the revision goes live, or what it answers until it is
// watched counts as its past. When Envoy does not say what it counted, the past ends with the watch.
func (w *Window) Begin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, beginLimit)
	defer cancel()
	now, err := w.read(ctx)
	w.begin.Lock()
	defer w.begin.Unlock()
	if err == nil && w.until == nil { // a revision that was not watched is no past of the next one
		w.until = now
	}
}

// taken is what Begin saw, once.
func (w *Window) taken() counts {
	w.begin.Lock()
	defer w.begin.Unlock()
	until := w.until
	w.until = nil
	return until
}

// recent is what was counted since the last revision passed; when that is little, together with what was before.
func (w *Window) recent(now counts) counts {
	out := now.since(w.passed)
	if out.total().requests >= w.MinRequests {
		return out
	}
	for api, c := range w.before {
		out[api] = count{out[api].requests + c.requests, out[api].failed + c.failed}
	}
	return out
}

func (w *Window) blind(ctx context.Context, err error) diag.List {
	if ctx.Err() == nil {
		w.Log.Warn("Envoy does not say how many requests failed; the error rate is not watched", "error", err)
	}
	return nil
}

// judge compares the APIs, and all of them together when none stands out.
func (w *Window) judge(after counts, g *ir.Gateway) diag.List {
	var list diag.List
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			o := a.Origin
			name := o.Object.Namespace + "/" + o.Object.Name
			if now := after[name]; w.worse(w.before[name], now) {
				list = append(list, w.diagnostic(o, "of ApiInstance "+strconv.Quote(o.Object.Name), w.before[name], now))
			}
		}
	}
	if was, now := w.before.total(), after.total(); list == nil && w.worse(was, now) {
		list = append(list, w.diagnostic(ir.Origin{}, "to all APIs", was, now))
	}
	return list.Sort()
}

func (w *Window) worse(was, now count) bool {
	return now.requests >= max(w.MinRequests, 1) && now.rate()-was.rate() > w.MaxRate
}

func (w *Window) diagnostic(o ir.Origin, whose string, was, now count) diag.Diagnostic {
	return diag.Diagnostic{
		Severity: diag.Error, Code: "probe/too-many-errors", Object: o.Object, Subject: o.Range,
		Summary: fmt.Sprintf("%s of %d requests %s were answered with 5xx, expected at most %s: %s before, and %s more", percent(now.rate()), now.requests, whose,
			percent(min(was.rate()+w.MaxRate, 1)), percent(was.rate()), percent(w.MaxRate)),
		Hint: "look at what changed for it and at its upstream; flexgw sync, or apply, tries a revision again that was rolled back",
	}
}

func percent(share float64) string {
	text := fmt.Sprintf("%.1f", 100*share)
	return strings.TrimSuffix(text, ".0") + "%"
}

// readLimit is how long Envoy may take to say what it counted.
const readLimit = 10 * time.Second

func (w *Window) read(ctx context.Context) (counts, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	stats, err := w.Stats(ctx, `^`+render.StatPrefix+`\.`+render.StatRequests+`\.`)
	if err != nil {
		return nil, err
	}
	out := counts{}
	for name, n := range stats {
		x, ok := render.ParseStat(name)
		if !ok || x.Class == "" {
			continue // the client went before there was an answer
		}
		c := out[x.API]
		c.requests += n
		if x.Class == "5" {
			c.failed += n
		}
		out[x.API] = c
	}
	return out, nil
}
