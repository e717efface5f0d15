package usage

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// clock is one that only moves when it is told to. It begins now: certificates are held against it.
type clock struct {
	mu     sync.Mutex
	at     time.Time
	timers map[chan time.Time]time.Time
}

func newClock() *clock {
	return &clock{at: time.Now().Truncate(time.Hour).Add(30 * time.Minute), timers: map[chan time.Time]time.Time{}}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) after(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	c.timers[ch] = c.at.Add(d)
	c.fire()
	return ch
}

func (c *clock) fire() {
	for ch, at := range c.timers {
		if !at.After(c.at) {
			ch <- c.at
			delete(c.timers, ch)
		}
	}
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.fire()
}

// TestAnHourWithoutANetwork serves, cuts the network for an hour of a simulated clock while serving goes on, restarts everything
// and reconnects. Nobody flushes: what a daemon does by itself makes the report exact.
func TestAnHourWithoutANetwork(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for real connections")
	}
	c := newClock()
	p := newPlatform(t, c.now)
	h := newHost(t, p.register(t.TempDir(), "edge"))
	h.now, h.after = c.now, c.after
	w := newWriter(t, h.dir, c.now)
	var tail *metering.Tail
	start := func() {
		h.start(metering.Options{})
		tail = metering.NewTail(h.dir, h.ledger, metering.TailOptions{Now: c.now})
	}
	serve := func(minutes int) {
		t.Helper()
		for range minutes {
			w.requests(17)
			w.Flush()
			if err := tail.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.advance(time.Minute)
			time.Sleep(3 * time.Millisecond) // for whoever was woken
		}
	}
	has := func() (n uint64) {
		for _, x := range p.sim.State().Usage {
			n += x
		}
		return n
	}
	eventually := func(what string, want uint64) {
		t.Helper()
		harness.Until(t, func() error {
			if n := has(); n != want {
				c.advance(5 * time.Second)
				time.Sleep(5 * time.Millisecond)
				return fmt.Errorf("%s: the platform has %d of %d requests: %+v", what, n, want, h.Delivery())
			}
			return nil
		})
	}
	start()
	serve(12)
	sent, _ := w.total()
	eventually("with a network", sent)

	p.stop() // the network is gone
	before := sent
	serve(40) // over the close of an hour
	harness.Until(t, func() error {
		if s := h.Delivery(); s.Status != "False" || s.Reason != metering.Waiting || s.Requests == 0 {
			return fmt.Errorf("without a network: %+v", s)
		}
		return nil
	})
	h.end() // everything is restarted, and the network is still gone
	start()
	serve(20)
	h.end()
	start()
	p.start()
	if n := has(); n != before {
		t.Errorf("the platform has %d requests, and had %d when the network went", n, before)
	}
	sent, by := w.total()
	eventually("with a network again", sent)
	s := p.state()
	for api, n := range by {
		if s.Usage[api] != n {
			t.Errorf("%s: %d requests, and the platform has %d", api, n, s.Usage[api])
		}
	}
	for api := range s.Usage {
		if _, ok := by[api]; !ok {
			t.Errorf("%s: nobody called it", api)
		}
	}
	harness.Until(t, func() error { // the answer is on its way
		if d := h.Delivery(); d.Status != "True" || d.Requests != 0 {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	if len(s.Unexpected) > 0 {
		t.Errorf("unexpected %v", s.Unexpected)
	}
	t.Log(fmt.Sprintf("%d requests, %d of them without a network", sent, sent-before), filepath.Base(anypoint.PathMetering), p.calls(anypoint.PathMetering))
}
