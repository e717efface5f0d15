package usage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/usage"
)

var us = usage.Identity{Agent: "agent", Asset: "gw", MeteringSchema: "schema", Organization: "org", Environment: "env"}

// clock is the time of a test.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)} }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func open(t *testing.T, dir string, c *clock, o usage.Options) *usage.Ledger {
	t.Helper()
	o.Now = func() time.Time { return c.now }
	l, err := usage.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, l *usage.Ledger, c *clock, api string, n uint64) {
	t.Helper()
	p := l.Position()
	p.Turn, p.Offset = 1, p.Offset+n
	must(t, l.Count(p, []usage.Count{{API: api, Hour: c.now.Truncate(time.Hour), N: n}}))
}

// points are those of a batch, in words.
func points(b anypoint.Batch) (out []string) {
	for _, p := range b.Points {
		out = append(out, fmt.Sprintf("%s %s +%d =%d %v", p.APIInstance, p.HourStart.Format("15"), p.Delta, p.Cumulative, p.Final))
	}
	return out
}

func next(t *testing.T, l *usage.Ledger, want ...string) anypoint.Batch {
	t.Helper()
	b, ok := l.Next()
	if !ok {
		t.Fatal("no batch")
	}
	if got := fmt.Sprint(points(b)); got != fmt.Sprint(want) {
		t.Fatalf("batch %d: got %s, want %s", b.Seq, got, want)
	}
	return b
}

func TestAnHour(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	l := open(t, dir, c, usage.Options{})
	count(t, l, c, "default/orders", 3) // nobody's: never reported
	must(t, l.SetIdentity(us))
	count(t, l, c, "default/orders", 5)
	count(t, l, c, "", 7)
	must(t, l.Seal(c.now))
	first := next(t, l, "default/orders 10 +5 =5 false")
	if first.Seq != 1 || first.AgentID != "agent" || first.AssetName != "gw" || first.MeteringSchemaID != "schema" || len(first.BatchID) != 64 {
		t.Errorf("got %+v", first)
	}
	count(t, l, c, "default/orders", 2)
	count(t, l, c, "default/pets", 1)
	c.pass(45 * time.Minute)
	must(t, l.Seal(c.now))
	must(t, l.Ack(1))
	second := next(t, l, "default/orders 10 +2 =7 true", "default/pets 10 +1 =1 true")

	must(t, l.Close())
	l = open(t, dir, c, usage.Options{})
	if b, _ := l.Next(); asJSON(t, b) != asJSON(t, second) {
		t.Errorf("after a restart: got %s, want %s", asJSON(t, b), asJSON(t, second))
	}
	must(t, l.Ack(1)) // again
	if err := l.Ack(3); err == nil {
		t.Error("a batch that there was not could be acknowledged")
	}
	must(t, l.Ack(2))
	if b, ok := l.Next(); ok {
		t.Errorf("got %+v", b)
	}
	must(t, l.Seal(c.now)) // nothing to say
	c.pass(14 * time.Minute)
	must(t, l.Seal(c.now))
	if b, ok := l.Next(); ok {
		t.Errorf("got %+v", b)
	}
	c.pass(time.Minute)
	must(t, l.Seal(c.now))
	next(t, l)
	c.pass(time.Hour)
	must(t, l.Seal(c.now)) // a heartbeat is there that nobody took
	if s := l.State(); s.Pending != 1 || s.LastSeq != 3 || s.AckedSeq != 2 || s.Counted != 8 || s.Acked != 8 || s.Unsealed != 0 {
		t.Errorf("got %+v", s)
	}
	var got []string
	for _, x := range l.Totals() {
		got = append(got, fmt.Sprintf("%s|%s|%d %d %d", x.Identity.Agent, x.API, x.Counted, x.Sealed, x.Acknowledged))
	}
	if want := "[|default/orders|3 0 0 agent||7 0 0 agent|default/orders|7 7 7 agent|default/pets|1 1 1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

func TestOneProcess(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), filepath.Join(t.TempDir(), "usage")
	open(t, dir, c, usage.Options{})
	if _, err := usage.Open(dir, usage.Options{}); !errors.Is(err, usage.ErrInUse) {
		t.Errorf("got %v", err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "ledger"): 0o600, filepath.Join(dir, "replica"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestQuarantineAndSplit(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	l := open(t, dir, c, usage.Options{})
	must(t, l.SetIdentity(us))
	count(t, l, c, "a/a", 1)
	must(t, l.Seal(c.now))
	for _, api := range []string{"a/b", "a/c", "a/d"} {
		count(t, l, c, api, 2)
	}
	must(t, l.Seal(c.now))
	count(t, l, c, "a/a", 3)
	must(t, l.Seal(c.now))
	must(t, l.Quarantine(1, "422"))
	next(t, l, "a/b 10 +2 =2 false", "a/c 10 +2 =2 false", "a/d 10 +2 =2 false")
	must(t, l.Split(2))
	must(t, l.Close())
	l = open(t, dir, c, usage.Options{})
	next(t, l, "a/b 10 +2 =2 false")
	must(t, l.Ack(2))
	bs, whys := l.Quarantined()
	if len(bs) != 1 || bs[0].Seq != 1 || whys[0] != "422" {
		t.Errorf("got %+v %v", bs, whys)
	}
	if s := l.State(); len(s.Alarms) != 1 || s.Alarms[0].Code != "quarantined" || s.Acked != 2 || s.Counted != 10 {
		t.Errorf("got %+v", s)
	}
	next(t, l, "a/a 10 +3 =4 false")
	must(t, l.Ack(3))
	next(t, l, "a/c 10 +2 =2 false", "a/d 10 +2 =2 false")
	must(t, l.Ack(4))
	if s := l.State(); len(s.Alarms) != 0 || s.Acked != 10 {
		t.Errorf("got %+v", s)
	}
}

// A point carries the whole count of its hour. Once the platform has taken a greater one, it has what was set aside too.
func TestALaterBatchCoversWhatWasSetAside(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	var said bytes.Buffer
	o := usage.Options{Log: slog.New(slog.NewTextHandler(&said, nil))}
	l := open(t, dir, c, o)
	check := func(acked, setAside uint64, batches int) {
		t.Helper()
		s, b := l.State(), l.Backlog()
		if s.Acked != acked || b.Quarantined != setAside || s.Quarantined != batches || (len(s.Alarms) > 0) != (batches > 0) {
			t.Errorf("%d acknowledged, %d set aside in %d batches, alarms %v; want %d, %d, %d", s.Acked, b.Quarantined, s.Quarantined, s.Alarms, acked, setAside, batches)
		}
	}
	must(t, l.SetIdentity(us))
	count(t, l, c, "a/a", 3)
	count(t, l, c, "a/b", 5)
	must(t, l.Seal(c.now))
	must(t, l.Quarantine(1, "422"))
	check(0, 8, 1)
	count(t, l, c, "a/a", 2)
	must(t, l.Seal(c.now))
	must(t, l.Ack(2)) // of a/a alone
	check(5, 5, 1)
	if bs, _ := l.Quarantined(); len(bs) != 1 || len(bs[0].Points) != 1 || bs[0].Points[0].APIInstance != "a/b" {
		t.Errorf("got %+v", bs)
	}
	must(t, l.Close())
	l = open(t, dir, c, o)
	check(5, 5, 1)
	count(t, l, c, "a/b", 1)
	must(t, l.Seal(c.now))
	must(t, l.Quarantine(3, "400")) // which covers nothing
	check(5, 6, 2)
	if strings.Contains(said.String(), "later batch") {
		t.Errorf("too early: %s", said.String())
	}
	c.pass(time.Hour) // the hour is closed: its last points say all once more
	must(t, l.Seal(c.now))
	must(t, l.Ack(4))
	check(11, 0, 0)
	must(t, l.Ack(4))
	if n := strings.Count(said.String(), "later batch"); n != 1 {
		t.Errorf("said %d times: %s", n, said.String())
	}
	must(t, l.Close())
	l = open(t, dir, c, o)
	check(11, 0, 0)
	must(t, l.Settle(usage.BundleAck{AgentID: "agent", ReplicaID: l.State().Replica, BootEpoch: l.State().Epoch, Acked: []uint64{1, 3}})) // one that was exported before
	check(11, 0, 0)
	for _, x := range l.Totals() {
		if x.Acknowledged != x.Counted || x.Quarantined != 0 {
			t.Errorf("got %+v", x)
		}
	}
}

// The same API and hour of another registration, and another hour, cover nothing.
func TestWhatWasSetAsideStaysUntilItsOwnCountIsTaken(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), c, usage.Options{})
	must(t, l.SetIdentity(us))
	count(t, l, c, "a/a", 3)
	must(t, l.Seal(c.now))
	must(t, l.Quarantine(1, "422"))
	other := us
	other.Agent = "another"
	must(t, l.SetIdentity(other))
	count(t, l, c, "a/a", 9)
	must(t, l.Seal(c.now))
	must(t, l.Ack(2))
	if s := l.State(); s.Acked != 9 || s.Quarantined != 1 || len(s.Alarms) != 1 {
		t.Errorf("got %+v", s)
	}
}

// Of 3,000 APIs there are six batches, and an hour later, with nobody to take them, one more for each hour: not one each five minutes.
func TestBacklog(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), c, usage.Options{})
	must(t, l.SetIdentity(us))
	total := uint64(0)
	for range 40 {
		var cs []usage.Count
		for i := range 1200 {
			cs = append(cs, usage.Count{API: fmt.Sprintf("ns/api-%d", i), Hour: c.now, N: 1})
		}
		total += 1200
		must(t, l.Count(usage.Position{Turn: 1}, cs))
		must(t, l.Seal(c.now))
		c.pass(5 * time.Minute)
	}
	if n := l.State().Pending; n > 12+3*5 {
		t.Errorf("%d batches", n)
	}
	sum, cumulative := uint64(0), map[string]uint64{}
	for seq := uint64(1); ; seq++ {
		b, ok := l.Next()
		if !ok {
			must(t, l.Seal(c.now))
			if b, ok = l.Next(); !ok {
				break
			}
		}
		if b.Seq != seq {
			t.Fatalf("batch %d after %d", b.Seq, seq-1)
		}
		for _, p := range b.Points {
			sum += p.Delta
			k := p.APIInstance + p.HourStart.String()
			if cumulative[k]+p.Delta != p.Cumulative {
				t.Fatalf("%s: %d + %d is not %d", k, cumulative[k], p.Delta, p.Cumulative)
			}
			cumulative[k] = p.Cumulative
		}
		must(t, l.Ack(seq))
	}
	if sum != total {
		t.Errorf("got %d, want %d", sum, total)
	}
}

// Who carries all of it away gets the hour that runs, however much waits.
func TestSealAll(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), c, usage.Options{})
	must(t, l.SetIdentity(us))
	for range 20 {
		count(t, l, c, "a/a", 1)
		must(t, l.SealAll(c.now))
	}
	count(t, l, c, "a/a", 1)
	must(t, l.Seal(c.now))
	if s := l.State(); s.Pending != 20 || s.Unsealed != 1 {
		t.Errorf("Seal: got %+v", s)
	}
	must(t, l.SealAll(c.now))
	must(t, l.SealAll(c.now)) // nothing is left
	if s := l.State(); s.Pending != 21 || s.Unsealed != 0 {
		t.Errorf("SealAll: got %+v", s)
	}
}

func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), c, usage.Options{})
	must(t, l.SetIdentity(us))
	count(t, l, c, "a/a", 1)
	c.pass(-30 * time.Second) // that is no step
	count(t, l, c, "a/a", 1)
	if _, ok := l.Next(); ok {
		t.Error("half a minute closed the hour")
	}
	c.pass(-90 * time.Second)
	count(t, l, c, "a/a", 5)
	next(t, l, "a/a 10 +2 =2 true")
	must(t, l.Ack(1))
	must(t, l.Seal(c.now))
	next(t, l, "a/a 10 +5 =7 false")
	if s := l.State(); s.ClockSteps != 1 {
		t.Errorf("got %+v", s)
	}
	// A request that seems to begin tomorrow, and one that took two days.
	must(t, l.Count(usage.Position{Turn: 1}, []usage.Count{{"a/a", c.now.Add(24 * time.Hour), 1}, {"a/a", c.now.Add(-48 * time.Hour), 1}, {"a/a", c.now.Add(-time.Hour), 1}}))
	must(t, l.Ack(2))
	must(t, l.Seal(c.now))
	next(t, l, "a/a 09 +1 =1 true", "a/a 10 +2 =9 false")
}

func TestFull(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	o := usage.Options{MaxBytes: 64 << 10}
	l := open(t, dir, c, o)
	must(t, l.SetIdentity(us))
	n := 0
	for ; l.State().Lost == 0; n++ {
		count(t, l, c, fmt.Sprintf("ns/api-%d", n), 2)
		if n > 5000 {
			t.Fatal("it is never full")
		}
	}
	count(t, l, c, "ns/api-0", 3) // it has a row
	if s := l.State(); s.Lost != 2 || s.LostPoints != 1 || len(s.Alarms) != 1 || s.Alarms[0].Code != "full" {
		t.Errorf("got %+v", s)
	}
	must(t, l.Close())
	l = open(t, dir, c, o)
	must(t, l.Seal(c.now))
	if info, err := os.Stat(filepath.Join(dir, "ledger")); err != nil || info.Size() > 64<<10+2<<20 {
		t.Errorf("%v %v", info, err)
	}
	b, _ := l.Next()
	if b.Lost != (anypoint.Lost{Points: 1, APICalls: 2}) || b.Points[0].Cumulative != 5 {
		t.Errorf("got %+v", b)
	}
	for ; l.State().Pending > 0; b, _ = l.Next() {
		must(t, l.Ack(b.Seq))
	}

	old := open(t, t.TempDir(), c, usage.Options{})
	must(t, old.SetIdentity(us))
	count(t, old, c, "a/a", 1)
	must(t, old.Seal(c.now))
	c.pass(91 * 24 * time.Hour)
	if old.State().Full {
		t.Error("it is too old for a platform that there is not")
	}
	old.Deliverable(true)
	count(t, old, c, "a/a", 1)
	if s := old.State(); !s.Full || s.Lost != 1 {
		t.Errorf("got %+v", s)
	}
	must(t, old.Ack(1))
	count(t, old, c, "a/a", 1)
	if s := old.State(); s.Full || s.Lost != 1 || len(s.Alarms) != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	made := func(t *testing.T) (string, *clock, uint64) {
		c, dir := newClock(), t.TempDir()
		l := open(t, dir, c, usage.Options{})
		must(t, l.SetIdentity(us))
		for range 4 {
			count(t, l, c, "a/a", 10)
			must(t, l.Seal(c.now))
		}
		epoch := l.State().Epoch
		must(t, l.Close())
		return dir, c, epoch
	}
	t.Run("torn", func(t *testing.T) {
		t.Parallel()
		dir, c, epoch := made(t)
		whole, err := os.ReadFile(filepath.Join(dir, "ledger"))
		must(t, err)
		for _, torn := range [][]byte{whole[len(whole)-20:], whole[len(whole)-20 : len(whole)-17], make([]byte, 300)} {
			if len(torn) < 300 { // the beginning of a frame
				torn = whole[:len(torn)]
			}
			must(t, os.WriteFile(filepath.Join(dir, "ledger"), append(whole[:len(whole):len(whole)], torn...), 0o600))
			l := open(t, dir, c, usage.Options{})
			if s := l.State(); s.Epoch != epoch || s.Counted != 40 || s.Pending != 4 || len(s.Alarms) != 0 {
				t.Errorf("got %+v", s)
			}
			count(t, l, c, "a/a", 1)
			must(t, l.Close())
			l = open(t, dir, c, usage.Options{})
			if s := l.State(); s.Counted != 41 {
				t.Errorf("got %+v", s)
			}
			must(t, l.Close())
		}
	})
	t.Run("middle", func(t *testing.T) {
		t.Parallel()
		dir, c, epoch := made(t)
		path := filepath.Join(dir, "ledger")
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, os.Remove(path+".copy"))
		b[len(b)*2/3] ^= 4
		must(t, os.WriteFile(path, b, 0o600))
		l := open(t, dir, c, usage.Options{})
		s := l.State()
		if s.Epoch <= epoch || s.Counted < 10 || s.Counted > 30 || s.LastSeq != 0 || len(s.Alarms) != 1 || s.Alarms[0].Code != "damaged" {
			t.Errorf("got %+v", s)
		}
		must(t, l.Seal(c.now))
		next(t, l, fmt.Sprintf("a/a 10 +%d =%d false", s.Counted, s.Counted))
		if _, err := os.Stat(path + ".damaged"); err != nil {
			t.Error(err)
		}
		must(t, l.Close())
		if l = open(t, dir, c, usage.Options{}); l.State().Counted != s.Counted {
			t.Errorf("got %+v", l.State())
		}
	})
	t.Run("with a batch set aside", func(t *testing.T) {
		t.Parallel()
		dir, c, _ := made(t)
		l := open(t, dir, c, usage.Options{})
		must(t, l.Ack(1))
		must(t, l.Quarantine(2, "no"))
		must(t, l.Quarantine(3, "no"))
		size := l.State().Bytes
		count(t, l, c, "a/a", 1)
		must(t, l.Close())
		path := filepath.Join(dir, "ledger")
		b, err := os.ReadFile(path)
		must(t, err)
		b[size+20] ^= 4
		must(t, os.WriteFile(path, b, 0o600))
		l = open(t, dir, c, usage.Options{})
		count(t, l, c, "a/a", 1)
		must(t, l.Seal(c.now))
		next(t, l, "a/a 10 +11 =41 false")
		// All of them have one epoch now: a number that two of them had would make one batch of both.
		all, _ := l.Quarantined()
		all = append(all, l.Batches()...)
		if _, err := usage.NewBundle(all, nil); err != nil || len(all) != 3 {
			t.Errorf("%d batches: %v", len(all), err)
		}
		must(t, l.Ack(all[2].Seq))
		must(t, l.Close())
		l = open(t, dir, c, usage.Options{})
		must(t, l.Settle(usage.BundleAck{AgentID: "agent", ReplicaID: l.State().Replica, BootEpoch: l.State().Epoch, Acked: []uint64{2, 3}}))
		if s := l.State(); s.Acked != 41 || s.Quarantined != 0 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		dir, c, epoch := made(t)
		replica := func() string {
			b, err := os.ReadFile(filepath.Join(dir, "replica"))
			must(t, err)
			return string(b[:50])
		}
		was := replica()
		lose := func() {
			t.Helper()
			must(t, os.Remove(filepath.Join(dir, "ledger")))
			must(t, os.RemoveAll(filepath.Join(dir, "ledger.copy")))
		}
		// The platform has these lines, and keeps the greatest count of a replica.
		must(t, os.WriteFile(filepath.Join(dir, usage.LogName), []byte("\n"), 0o600))
		lose()
		if _, err := usage.Open(dir, usage.Options{Existing: true}); !errors.Is(err, fs.ErrNotExist) { // who only looks decides nothing
			t.Errorf("got %v", err)
		}
		l := open(t, dir, c, usage.Options{})
		if s := l.State(); s.Epoch <= epoch || s.Counted != 0 || alarms(l) != "lost-ledger" || replica() != was {
			t.Errorf("got %+v", s)
		}
		must(t, l.Close())
		// Without them every count is a new one, which the platform has to add.
		must(t, os.Remove(filepath.Join(dir, usage.LogName)))
		lose()
		l = open(t, dir, c, usage.Options{})
		if alarms(l) != "lost-ledger" || replica() == was {
			t.Errorf("got %s, %s", alarms(l), replica())
		}
		must(t, l.Close())
		// A process that ended before it wrote down what outlives the ledger lost nothing.
		must(t, os.Remove(filepath.Join(dir, "replica")))
		l = open(t, dir, c, usage.Options{Existing: true})
		if s := l.State(); !strings.Contains(replica(), s.Replica) {
			t.Errorf("got %s, %+v", replica(), s)
		}
	})
}
