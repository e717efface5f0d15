package usage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/api"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// lines are n requests that are written and counted.
func (h *host) lines(w *writer, tail *metering.Tail, n int) {
	h.t.Helper()
	w.requests(n)
	w.Flush()
	for range 3 { // a file may be turned
		if err := tail.Look(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
	}
	h.true, _ = w.total()
}

// TestALostLedger loses the ledger at many places of its life: removed or damaged, with reports on their way, with the platform away. Each time the
// platform gets exactly what there was.
func TestALostLedger(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	h := newHost(t, p.register(t.TempDir(), "edge"))
	h.after = func(d time.Duration) <-chan time.Time { return time.After(d / 100) } // between the tries of a flush
	w := newWriter(t, h.dir, time.Now)
	r := rand.New(rand.NewPCG(4, 4))
	var tail *metering.Tail
	start := func() {
		h.start(metering.Options{})
		tail = metering.NewTail(h.dir, h.ledger, metering.TailOptions{TurnBytes: 8 << 10, Reopen: func(context.Context) error { return w.Reopen() }})
	}
	start()
	path := filepath.Join(h.dir, "ledger")
	for range 40 {
		h.lines(w, tail, 1+r.IntN(60))
		switch r.IntN(3) {
		case 0:
			if err := h.flush(); err != nil {
				t.Fatal(err)
			}
		case 1: // a batch that the platform has and nobody knows of, or not
			_ = p.sim.SetFaults(sim.Fault{Next: 20, Status: sim.Outcome{Word: []string{"cut", "cut-after"}[r.IntN(2)]}, Path: anypoint.PathMetering})
			_ = h.flush()
			_ = p.sim.SetFaults()
		}
		h.lines(w, tail, 1+r.IntN(20))
		p.stop() // nothing is said at the end
		_ = tail.Close()
		h.end()
		p.start()
		var err error
		switch b, e := os.ReadFile(path); {
		case e != nil:
			t.Fatal(e)
		case r.IntN(2) == 0:
			err = os.Remove(path)
		case r.IntN(2) == 0:
			err = os.Truncate(path, r.Int64N(int64(len(b))))
		default:
			b[r.IntN(len(b))] ^= 0x10
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		start()
		if err := tail.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		var has uint64
		for _, n := range p.sim.State().Usage {
			has += n
		}
		if has > h.true {
			t.Fatalf("the platform has %d requests, and there were %d", has, h.true)
		}
	}
	h.settled(p)
	_ = tail.Close()
	if n := len(p.sim.State().Registrations[0].Replicas); n != 1 {
		t.Errorf("%d replicas", n)
	}
}

// TestALostLedgerWithoutItsCopy: what is in the log is counted again, so that nothing is counted twice; without a log, new calls are added.
func TestALostLedgerWithoutItsCopy(t *testing.T) {
	t.Parallel()
	for _, logToo := range []bool{false, true} {
		p := newPlatform(t, nil)
		h := newHost(t, p.register(t.TempDir(), "edge"))
		w := newWriter(t, h.dir, time.Now)
		start := func() *metering.Tail {
			h.start(metering.Options{})
			return metering.NewTail(h.dir, h.ledger, metering.TailOptions{})
		}
		tail := start()
		h.lines(w, tail, 50)
		h.settled(p)
		h.end()
		err := errors.Join(tail.Close(), os.Remove(filepath.Join(h.dir, "ledger")), os.Remove(filepath.Join(h.dir, "ledger.copy")))
		if logToo {
			err = errors.Join(err, os.Remove(w.path), w.Reopen())
		}
		if err != nil {
			t.Fatal(err)
		}
		tail = start()
		h.lines(w, tail, 30)
		h.settled(p)
		if a := h.ledger.State().Alarms; len(a) != 1 || a[0].Code != "lost-ledger" {
			t.Errorf("got %+v", a)
		}
		_ = tail.Close()
	}
}

// TestDaemonLosesItsLedger has a daemon killed, and its ledger removed, while its Envoy goes on and the platform is away.
func TestDaemonLosesItsLedger(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, 1)
	d.Run()
	d.WaitReady()
	usage := filepath.Join(d.State, "usage")
	private := func() {
		t.Helper()
		if info, err := os.Stat(filepath.Join(usage, metering.LogName)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the access log: %v %v", info.Mode(), err)
		}
	}
	private()
	requests(t, port, 0, 20)
	settle(t, d)
	p.stop()
	for range 3 {
		requests(t, port, 0, 5)
		_ = flushOnce(t, d) // counted, and sealed
		requests(t, port, 0, 5)
		d.Kill()
		requests(t, port, 0, 5)
		if err := os.Remove(filepath.Join(usage, "ledger")); err != nil {
			t.Fatal(err)
		}
		d.Run()
		d.WaitReady()
	}
	private()
	p.start()
	u := settle(t, d)
	if got := p.state().Usage["default/api-0"]; got != 65 {
		t.Errorf("the platform has %d requests of 65", got)
	}
	if len(u.Alarms) != 1 || u.Alarms[0].Code != "lost-ledger" || !strings.Contains(u.Alarms[0].Message, "brought back from its copy") {
		t.Errorf("got %+v", u.Alarms)
	}
	since := u.Alarms[0].Since
	if code := d.Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	d.Run()
	d.WaitReady()
	if u, err := socketOf(d).Usage(t.Context()); err != nil || len(u.Alarms) != 1 || !u.Alarms[0].Since.Equal(since) {
		t.Errorf("after a restart: %v, %+v, since %s", err, u.Alarms, since)
	}
}

// TestDaemonWhoseLedgerCannotBeOpened serves, says so, and counts what was called in the meantime once it can.
func TestDaemonWhoseLedgerCannotBeOpened(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	d, port := newDaemon(t, p, 1)
	ledger := filepath.Join(d.State, "usage", "ledger")
	if err := os.MkdirAll(ledger, 0o700); err != nil { // as good as a full disk
		t.Fatal(err)
	}
	d.Run()
	d.WaitReady()
	requests(t, port, 0, 7)
	if err := flushOnce(t, d); err == nil {
		t.Error("a flush without a ledger")
	}
	if c := condition(t, d); c.Reason != "SpoolBroken" || c.Status != "False" {
		t.Errorf("%+v", c)
	}
	if u, err := socketOf(d).Usage(t.Context()); err != nil || len(u.Alarms) != 1 || u.Alarms[0].Code != "unopened" {
		t.Errorf("%v %+v", err, u)
	}
	if err := os.Remove(ledger); err != nil {
		t.Fatal(err)
	}
	var u api.Usage
	harness.Until(t, func() (err error) {
		if u, err = socketOf(d).Usage(t.Context()); err == nil && (u.Requests.Counted != 7 || len(u.Alarms) > 0) {
			err = fmt.Errorf("%+v %+v", u.Requests, u.Alarms)
		}
		return err
	})
	settle(t, d)
	if got := p.state().Usage["default/api-0"]; got != 7 {
		t.Errorf("the platform has %d", got)
	}
}

// TestTwoDaemonsWithOneLog: the second one says who counts there, and does not start.
func TestTwoDaemonsWithOneLog(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, nil)
	a, _ := newDaemon(t, p, 1)
	log := t.TempDir()
	a.Args = append(a.Args, "--usage-log", log)
	a.Run()
	a.WaitReady()
	b, _ := newDaemon(t, newPlatform(t, nil), 1)
	b.Args = append(b.Args, "--usage-log", log)
	b.Run()
	select {
	case <-b.Exited:
	case <-time.After(2 * time.Minute):
		t.Fatal("it runs")
	}
	want := fmt.Sprintf("another flexgw (process %d, ledger in %s) counts the requests in %s", a.Process.Pid, filepath.Join(a.State, "usage"), log)
	if code := b.Stop(); code != 3 || !strings.Contains(b.Log(), want) || !strings.Contains(b.Log(), "--usage-log") {
		t.Errorf("%d: %s", code, b.Log())
	}
}
