package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

const oldReplica = "cccccccc-0000-4000-8000-00000000c001"

// before writes a ledger as the code did that counted for each identity apart: the same steps, without stepShare.
type before struct {
	t    *testing.T
	file []byte
}

func (o *before) transaction(f func(w *writer)) {
	w := &writer{}
	f(w)
	o.file = append(o.file, frame(w.b)...)
}

// open is the ledger that the code of now makes of it.
func (o *before) open(dir string, now time.Time) *Ledger {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "ledger"), o.file, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return o.again(dir, now)
}

func (o *before) again(dir string, now time.Time) *Ledger {
	o.t.Helper()
	l, err := Open(dir, Options{Now: func() time.Time { return now }})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = l.Close() })
	if s := l.State(); s.Replica != oldReplica || s.Epoch != 7 || len(s.Alarms) > 0 {
		o.t.Errorf("got %+v", s)
	}
	return l
}

// counted is what the code of before wrote of two identities: of the first 100 calls, acknowledged, of the second 50.
func (o *before) counted(now time.Time, second Identity) {
	hour := uint64(hourOf(now.UnixMilli()))
	o.transaction(func(w *writer) {
		w.step(stepBegin)
		w.word(oldReplica)
		w.uint(7)
		w.int(now.Unix())
		writeUse(w, 0)
		(Position{}).write(w)
		w.step(stepTotals)
		w.int(now.UnixMilli())
		w.numbers(0, 0, 0, 0, 0, 0, 0)
		w.int(now.UnixMilli())
	})
	for i, id := range []Identity{{Agent: "agent", MeteringSchema: "one"}, second} {
		n := uint64(100 / (i + 1))
		o.transaction(func(w *writer) {
			writeIdentity(w, i+1, id)
			writeUse(w, uint32(i+1))
		})
		o.transaction(func(w *writer) {
			w.step(stepClock)
			w.int(now.UnixMilli())
			(Position{Turn: 1, Offset: uint64(i+1) * 10}).write(w)
			if i == 0 {
				writeAPI(w, 1, "a/a")
			}
			w.step(stepCount)
			w.numbers(uint64(i+1), 1, hour, n)
		})
		o.transaction(func(w *writer) {
			w.step(stepSeal)
			(&batch{seq: uint64(i + 1), at: now.UnixMilli(), identity: uint32(i + 1), points: []point{{api: 1, hour: uint32(hour), delta: n, cumulative: n}}}).write(w)
		})
	}
	o.transaction(func(w *writer) {
		w.step(stepAck)
		w.uint(1)
	})
}

func words(bs []anypoint.Batch) (out []string) {
	for _, b := range bs {
		s := fmt.Sprintf("%d %s %s", b.Seq, b.AgentID, b.MeteringSchemaID)
		for _, p := range b.Points {
			s += fmt.Sprintf(" +%d =%d %v", p.Delta, p.Cumulative, p.Final)
		}
		out = append(out, s)
	}
	return out
}

// TestALedgerOfBefore goes on exactly: with two gateways as it was, and with two schemas of one gateway the platform hears the whole.
func TestALedgerOfBefore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		second Identity
		most   uint64   // that was said of the second one's gateway and hour, after 5 calls more
		all    []string // of the batches
	}{
		{"another gateway", Identity{Agent: "other", MeteringSchema: "one"}, 55,
			[]string{"2 other one +50 =50 false", "3 other one +5 =55 false", "4 agent one +0 =100 true", "5 other one +0 =55 true"}},
		{"another schema", Identity{Agent: "agent", MeteringSchema: "two"}, 155,
			[]string{"2 agent two +50 =50 false", "3 agent two +5 =155 false", "4 agent two +0 =155 true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, o := t.TempDir(), &before{t: t}
			o.counted(now, c.second)
			l := o.open(dir, now)
			hour := Count{API: "a/a", Hour: now, N: 5}
			if p := l.Position(); p.Offset != 20 {
				t.Errorf("it goes on at %+v", p)
			}
			again := func(at time.Time) { // from what is on the disk
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = o.again(dir, at)
			}
			again(now) // reading it changes nothing
			if err := l.Count(Position{Turn: 1, Offset: 30}, []Count{hour}); err != nil {
				t.Fatal(err)
			}
			again(now)
			if err := l.Seal(now); err != nil {
				t.Fatal(err)
			}
			later := now.Add(time.Hour)
			again(later)
			if err := l.Seal(later); err != nil {
				t.Fatal(err)
			}
			bs := l.Batches()
			if got := words(bs); fmt.Sprint(got) != fmt.Sprint(c.all) {
				t.Errorf("got %q, want %q", got, c.all)
			}
			if s := l.State(); s.Counted != 155 || s.Acked != 100 || s.LastSeq != uint64(len(bs)+1) {
				t.Errorf("got %+v", s)
			}
			most := uint64(0)
			for _, b := range bs {
				for _, p := range b.Points {
					if b.AgentID == c.second.Agent {
						most = max(most, p.Cumulative)
					}
				}
			}
			if most != c.most {
				t.Errorf("the platform keeps %d, want %d", most, c.most)
			}
			if err := l.Ack(uint64(len(bs) + 1)); err != nil {
				t.Fatal(err)
			}
			again(later)
			if b := l.Backlog(); b.Requests != 0 || l.State().Acked != 155 {
				t.Errorf("got %+v, %d acknowledged", b, l.State().Acked)
			}
		})
	}
}

// TestABatchOfBeforeThatWasSetAside has no calls that the greater count of the other identity has: only the whole count covers it.
func TestABatchOfBeforeThatWasSetAside(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	dir, o := t.TempDir(), &before{t: t}
	o.counted(now, Identity{Agent: "agent", MeteringSchema: "two"})
	o.transaction(func(w *writer) {
		w.step(stepQuarantine)
		w.uint(2)
		w.word("refused")
	})
	hour := uint64(hourOf(now.UnixMilli()))
	o.transaction(func(w *writer) { // back to the first: its count is greater than that of the batch, and has none of its calls
		writeUse(w, 1)
		w.step(stepCount)
		w.numbers(1, 1, hour, 1)
		w.step(stepSeal)
		(&batch{seq: 3, at: now.UnixMilli(), identity: 1, points: []point{{api: 1, hour: uint32(hour), delta: 1, cumulative: 101}}}).write(w)
	})
	l, err := func() (*Ledger, error) {
		if err := os.WriteFile(filepath.Join(dir, "ledger"), o.file, 0o600); err != nil {
			return nil, err
		}
		return Open(dir, Options{Now: func() time.Time { return now }})
	}()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Ack(3); err != nil {
		t.Fatal(err)
	}
	if s := l.State(); s.Quarantined != 1 || s.Acked != 101 || s.Counted != 151 {
		t.Errorf("got %+v", s)
	}
	later := now.Add(time.Hour)
	if err := l.Seal(later); err != nil {
		t.Fatal(err)
	}
	if got := words(l.Batches()); fmt.Sprint(got) != "[4 agent one +0 =151 true]" {
		t.Errorf("got %q", got)
	}
	if err := l.Ack(4); err != nil {
		t.Fatal(err)
	}
	if s := l.State(); s.Quarantined != 0 || s.Acked != 151 {
		t.Errorf("got %+v", s)
	}
}
