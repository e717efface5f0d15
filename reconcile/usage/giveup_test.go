package usage_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/usage"
)

// figures are what became of all calls, in words.
func figures(l *usage.Ledger) string {
	var counted, acked, aside, given uint64
	for _, x := range l.Totals() {
		counted, acked, aside, given = counted+x.Counted, acked+x.Acknowledged, aside+x.Quarantined, given+x.GivenUp
	}
	b, s := l.Backlog(), l.State()
	return fmt.Sprintf("%d counted, %d acknowledged, %d aside, %d given up; %d wait, %d alarms", counted, acked, aside, given, b.Requests, len(s.Alarms))
}

func figured(t *testing.T, l *usage.Ledger, want string) {
	t.Helper()
	if got := figures(l); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What was counted for a gateway that was deleted can be given up: it stays counted, is told to nobody, and comes back in no way.
func TestGiveUpAnotherGateway(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	l := open(t, dir, c, usage.Options{})
	must(t, l.SetIdentity(us))
	count(t, l, c, "a/a", 3)
	must(t, l.Seal(c.now))
	count(t, l, c, "a/b", 4)
	next := us
	next.Agent = "next"
	must(t, l.SetIdentity(next))
	count(t, l, c, "a/a", 5)
	must(t, l.Seal(c.now))
	must(t, l.Quarantine(1, "gone"))
	must(t, l.Quarantine(2, "gone"))
	figured(t, l, "12 counted, 0 acknowledged, 7 aside, 0 given up; 5 wait, 1 alarms")

	if n, requests, err := l.GiveUp([]uint64{2, 3, 99}); n != 1 || requests != 4 || err != nil {
		t.Errorf("got %d, %d, %v", n, requests, err)
	}
	figured(t, l, "12 counted, 0 acknowledged, 3 aside, 4 given up; 5 wait, 1 alarms")
	if n, requests, err := l.GiveUp([]uint64{1, 2}); n != 1 || requests != 3 || err != nil {
		t.Errorf("got %d, %d, %v", n, requests, err)
	}
	if n, _, err := l.GiveUp([]uint64{1, 2}); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	const want = "12 counted, 0 acknowledged, 0 aside, 7 given up; 5 wait, 0 alarms"
	figured(t, l, want)
	must(t, l.Close())
	l = open(t, dir, c, usage.Options{})
	figured(t, l, want)

	// The end of the hour is said of the gateway in force alone, and no loss of another's.
	must(t, l.Ack(3))
	c.pass(time.Hour)
	must(t, l.SealAll(c.now))
	for _, b := range l.Batches() {
		if b.AgentID != "next" || b.Lost.APICalls != 0 {
			t.Errorf("got %+v", b)
		}
	}
	must(t, l.Ack(l.State().LastSeq))
	figured(t, l, "12 counted, 5 acknowledged, 0 aside, 7 given up; 0 wait, 0 alarms")

	// A snapshot has it, too: that of the copy.
	next.Asset = "renamed"
	must(t, l.SetIdentity(next))
	must(t, l.Close())
	must(t, os.Remove(filepath.Join(dir, "ledger")))
	l = open(t, dir, c, usage.Options{})
	figured(t, l, "12 counted, 5 acknowledged, 0 aside, 7 given up; 0 wait, 1 alarms")
	must(t, l.SealAll(c.now))
	for _, b := range l.Batches() {
		if b.AgentID != "next" || usage.Requests(b) != 0 {
			t.Errorf("got %+v", b)
		}
	}
}

// Of the gateway in force, the next report says what was given up; the count of an hour that is still open has it all the same.
func TestGiveUpOfTheGatewayInForce(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	l := open(t, dir, c, usage.Options{})
	must(t, l.SetIdentity(us))
	count(t, l, c, "a/a", 3)
	must(t, l.Seal(c.now))
	must(t, l.Quarantine(1, "422"))
	if n, requests, err := l.GiveUp([]uint64{1}); n != 1 || requests != 3 || err != nil {
		t.Errorf("got %d, %d, %v", n, requests, err)
	}
	figured(t, l, "3 counted, 0 acknowledged, 0 aside, 3 given up; 0 wait, 0 alarms")
	count(t, l, c, "a/a", 2)
	must(t, l.Seal(c.now))
	b, ok := l.Next()
	if !ok || b.Lost.APICalls != 3 || b.Lost.Points != 1 || b.Points[0].Cumulative != 5 {
		t.Errorf("got %+v", b)
	}
	must(t, l.Ack(b.Seq))
	figured(t, l, "5 counted, 5 acknowledged, 0 aside, 0 given up; 0 wait, 0 alarms")
	must(t, l.Close())
	l = open(t, dir, c, usage.Options{})
	figured(t, l, "5 counted, 5 acknowledged, 0 aside, 0 given up; 0 wait, 0 alarms")
}

// What somebody did by hand is done, also when the ledger is brought back from its copy.
func TestTheCopyHasWhatWasDoneByHand(t *testing.T) {
	t.Parallel()
	next := us
	next.Agent = "next"
	for name, x := range map[string]struct {
		do   func(l *usage.Ledger) error
		want string
	}{
		"acknowledged": {func(l *usage.Ledger) error {
			return l.Settle(usage.BundleAck{AgentID: us.Agent, ReplicaID: l.State().Replica, BootEpoch: l.State().Epoch, Acked: []uint64{1}})
		}, "8 counted, 3 acknowledged, 0 aside, 0 given up; 5 wait, 1 alarms"},
		"given up": {func(l *usage.Ledger) error {
			_, _, err := l.GiveUp([]uint64{1})
			return err
		}, "8 counted, 0 acknowledged, 0 aside, 3 given up; 5 wait, 1 alarms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, dir := newClock(), t.TempDir()
			l := open(t, dir, c, usage.Options{})
			must(t, l.SetIdentity(us))
			count(t, l, c, "a/a", 3)
			must(t, l.Seal(c.now))
			must(t, l.SetIdentity(next))
			count(t, l, c, "a/a", 5)
			must(t, l.Seal(c.now))
			must(t, l.Quarantine(1, "gone"))
			must(t, x.do(l))
			must(t, l.Close())
			must(t, os.Remove(filepath.Join(dir, "ledger")))
			figured(t, open(t, dir, c, usage.Options{}), x.want) // the alarm is of the ledger that was lost
		})
	}
}
