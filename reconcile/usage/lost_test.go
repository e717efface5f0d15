package usage

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kept is what a platform has: of each replica, API and hour the greatest count.
type kept map[string]uint64

func (k kept) take(t *testing.T, l *Ledger, ack bool) {
	t.Helper()
	b, ok := l.Next()
	if !ok {
		return
	}
	for _, p := range b.Points {
		key := fmt.Sprint(b.ReplicaID, p.APIInstance, p.HourStart)
		k[key] = max(k[key], p.Cumulative)
	}
	if ack {
		_ = l.Ack(b.Seq)
	}
}

func (k kept) total() (n uint64) {
	for _, x := range k {
		n += x
	}
	return n
}

// TestLostLedgerModel loses or damages a ledger again and again, at any moment, while the log is rotated and the disk fails. The platform never has
// more calls than there were. In the end it has all of them, unless a log was removed that only the ledger had been counted from, or the copy
// was lost too.
func TestLostLedgerModel(t *testing.T) {
	t.Parallel()
	exact, short, lost := 0, 0, map[string]int{}
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 9))
		m, dir := newMemory(r), filepath.Join(t.TempDir(), "usage")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, LogName), []byte("\n"), 0o600); err != nil { // so that there is one to be counted again
			t.Fatal(err)
		}
		now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
		o := Options{files: m, Now: func() time.Time { return now }}
		var log []entry
		gone, complete, k := uint64(0), true, kept{} // entries before gone are in no log any more
		strict := seed%2 == 0                        // nothing is done after which something is missing
		var l *Ledger
		begin := func() {
			for {
				m.crashAt = 0
				var err error
				if l, err = Open(dir, o); err == nil {
					if err = l.SetIdentity(Identity{Agent: "a"}); err == nil {
						break
					}
					_ = l.Close()
				}
			}
			m.crashAt = m.ops + 1 + r.IntN(120)
			if l.s.position.Offset < gone { // a tail finds that its log is gone, and begins with the one that is there
				complete = false
				l.s.position.Offset = gone
			}
		}
		begin()
		lose := func() {
			ledger, copied := l.path(), l.copyPath()
			switch r.IntN(6) {
			case 0, 1:
				delete(m.names, ledger)
				lost["gone"]++
			case 2, 3:
				x := m.names[ledger]
				x.data = slices.Clone(x.data)
				x.data[r.IntN(len(x.data))] ^= 0x55
				lost["damaged"]++
			case 4:
				x := m.names[ledger]
				x.data = x.data[:r.IntN(len(x.data))/2]
				lost["cut"]++
			case 5:
				delete(m.names, ledger)
				if strict {
					break
				}
				if m.names[copied] != nil {
					delete(m.names, copied)
					complete = false // what was not reported and is in no log
				}
				lost["both"]++
			}
			m.durable = maps2(m.names)
		}
		truth := func() (n uint64) {
			for _, e := range log[:l.Position().Offset] {
				if e.api != "" {
					n += e.n
				}
			}
			return n
		}
		for range 400 {
			m.fail = []int{0, 0, 0, 10}[r.IntN(4)]
			m.full = r.IntN(20) == 0
			if strict { // a disk that takes no copy leaves none
				m.fail, m.full = 0, false
			}
			ended := died(func() {
				now = now.Add(time.Duration(r.IntN(300)) * time.Second)
				switch r.IntN(8) {
				case 0, 1, 2:
					_ = countSome(r, l, &log, now)
				case 3:
					_ = l.Seal(now)
				case 4:
					k.take(t, l, false)
				case 5, 6:
					k.take(t, l, true)
				case 7: // the log up to here is removed
					l.keepUp()
					if l.kept == l.s.age || !strict {
						gone = l.Position().Offset
					}
					complete = complete && (strict || l.kept == l.s.age)
				}
			})
			if !ended && r.IntN(40) > 0 {
				continue
			}
			m.fail, m.full, m.crashAt = 0, false, 0
			_ = l.lock.Close()
			if r.IntN(2) == 0 {
				lose()
			} else if ended && r.IntN(2) == 0 {
				m.powerLoss()
			}
			begin()
			if got, most := k.total(), total(log); got > most {
				t.Fatalf("seed %d: the platform has %d calls, and there were %d", seed, got, most)
			}
		}
		m.fail, m.full, m.crashAt = 0, false, 0
		for end := uint64(len(log)); l.Position().Offset < end; {
			if err := countSome(r, l, &log, now); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			now = now.Add(2 * time.Hour)
			if err := l.Seal(now); err != nil {
				t.Fatal(err)
			}
			for l.State().Pending > 0 {
				k.take(t, l, true)
			}
		}
		got, want := k.total(), truth()
		switch {
		case got > want:
			t.Errorf("seed %d: the platform has %d calls, and there were %d", seed, got, want)
		case got == want:
			exact++
		case complete || strict:
			t.Errorf("seed %d: the platform has %d calls, and there were %d", seed, got, want)
		default:
			short++
		}
		_ = l.Close()
	}
	t.Logf("%d exact, %d short; ledgers: %v", exact, short, lost)
	if exact < 40 || lost["gone"] < 50 || lost["damaged"] < 50 {
		t.Error("that is not much of a test")
	}
}

func total(log []entry) (n uint64) {
	for _, e := range log {
		if e.api != "" {
			n += e.n
		}
	}
	return n
}

func maps2(m map[string]*inode) map[string]*inode {
	n := map[string]*inode{}
	for name, x := range m {
		x.durable = slices.Clone(x.data)
		n[name] = x
	}
	return n
}

// A ledger that is lost is brought back with what waited in it, from the place of its last batch on, under the same replica.
func TestLedgerIsBroughtBack(t *testing.T) {
	t.Parallel()
	hour := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	now := hour.Add(20 * time.Minute)
	for name, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"cut":     func(path string) error { return os.Truncate(path, 30) },
		"damaged": func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				b[40] ^= 1
				err = os.WriteFile(path, b, 0o600)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			o := Options{Now: func() time.Time { return now }}
			l, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			at := uint64(0)
			count := func(n uint64) {
				t.Helper()
				at += n
				if err := l.Count(Position{Turn: 1, Offset: at}, []Count{{"a/a", hour, n}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.SetIdentity(Identity{Agent: "a"}); err != nil {
				t.Fatal(err)
			}
			count(3)
			if err := errors.Join(l.Seal(now), l.Ack(1)); err != nil {
				t.Fatal(err)
			}
			count(5)
			if err := l.Seal(now); err != nil { // and nobody takes it
				t.Fatal(err)
			}
			count(7)
			was := l.State()
			if err := errors.Join(l.Close(), lose(l.path())); err != nil {
				t.Fatal(err)
			}
			if l, err = Open(dir, o); err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			s := l.State()
			if s.Replica != was.Replica || s.Epoch <= was.Epoch || s.Counted != 8 || l.Position().Offset != 8 {
				t.Errorf("got %+v, from %+v", s, l.Position())
			}
			if len(s.Alarms) != 1 || !strings.Contains(s.Alarms[0].Message, "brought back from its copy") {
				t.Errorf("got %+v", s.Alarms)
			}
			at = 8
			count(7)
			if err := l.Seal(now); err != nil {
				t.Fatal(err)
			}
			if b, _ := l.Next(); len(b.Points) != 1 || b.Points[0].Cumulative != 15 {
				t.Errorf("got %+v", b)
			}
		})
	}
}

// Without room for a copy there is none: one that knows less than the platform was told would hide new calls.
func TestNoOldCopy(t *testing.T) {
	t.Parallel()
	m, dir := newMemory(rand.New(rand.NewPCG(1, 1))), t.TempDir()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	o := Options{files: m, Now: func() time.Time { return now }}
	var l *Ledger
	k := kept{}
	report := func(n uint64) {
		t.Helper()
		p := l.Position()
		p.Turn, p.Offset = 1, p.Offset+n
		if err := errors.Join(l.SetIdentity(Identity{Agent: "a"}), l.Count(p, []Count{{"a/a", now, n}}), l.Seal(now)); err != nil {
			t.Fatal(err)
		}
		k.take(t, l, true)
	}
	begin := func() {
		t.Helper()
		var err error
		if l, err = Open(dir, o); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	report(10)
	m.refuse = "ledger.copy.new"
	report(20)
	if _, ok := m.names[l.copyPath()]; ok {
		t.Error("there is an old copy")
	}
	was := l.State().Replica
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	delete(m.names, l.path())
	begin()
	report(5)
	if s := l.State(); s.Replica == was || k.total() != 35 {
		t.Errorf("the platform has %d calls of 35; %+v", k.total(), s)
	}
	m.refuse = ""
	report(1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	delete(m.names, l.path())
	begin()
	defer l.Close()
	report(2)
	if k.total() != 38 {
		t.Errorf("the platform has %d calls of 38", k.total())
	}
}

// A ledger that can not be opened, for there is no room on the disk, is opened once there is some: what was told and said in the meantime is so.
func TestLedgerIsOpenedLater(t *testing.T) {
	t.Parallel()
	m, dir := newMemory(rand.New(rand.NewPCG(1, 1))), t.TempDir()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	o := Options{files: m, Now: func() time.Time { return now }, Later: true}
	m.full = true
	if _, err := Open(dir, Options{files: m}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	codes := func() (out string) {
		for _, a := range l.State().Alarms {
			out += a.Code + " "
		}
		return out
	}
	since := l.State().Alarms[0].Since
	l.Raise("remote", "r")
	l.Raise("unread", "u")
	l.Clear("unread")
	now = now.Add(time.Minute)
	for _, err := range []error{l.SetIdentity(Identity{Agent: "a"}), l.Count(Position{Turn: 1, Offset: 9}, []Count{{"a/a", now, 1}}), l.Seal(now)} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := l.Place(); !errors.Is(err, syscall.ENOSPC) || codes() != "remote unopened " || !since.Equal(l.State().Alarms[1].Since) {
		t.Errorf("got %v, %q", err, codes())
	}
	d := &Deliverer{Spool: l, Now: o.Now}
	if s := d.Delivery(); s.Status != "False" || s.Reason != SpoolBroken || !strings.Contains(s.Message, syscall.ENOSPC.Error()) {
		t.Errorf("got %+v", s)
	}
	if _, ok := l.Next(); ok || l.Backlog().Requests > 0 || len(l.Totals()) > 0 {
		t.Error("there is something in it")
	}
	m.full = false
	if err := l.Seal(now); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("it is looked at all the time: %v", err)
	}
	now = now.Add(time.Minute)
	if _, err := l.Place(); err != nil {
		t.Error(err)
	}
	if err := l.Count(Position{Turn: 1, Offset: 9}, []Count{{"a/a", now, 1}}); err != nil {
		t.Error(err)
	}
	if s := d.Delivery(); s.Status != "Unknown" || s.Requests != 1 {
		t.Errorf("got %+v", s)
	}
	if ts := l.Totals(); len(ts) != 1 || ts[0].Identity.Agent != "a" || codes() != "remote " {
		t.Errorf("got %+v, %q", ts, codes())
	}
}

// A month in which 10,000 APIs come and go, and batches are refused, takes bounded room in memory and on the disk.
func TestAPIsThatComeAndGo(t *testing.T) {
	t.Parallel()
	m := newMemory(rand.New(rand.NewPCG(1, 1)))
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	const keep = 1000
	l, err := Open(t.TempDir(), Options{files: m, Now: func() time.Time { return now }, keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SetIdentity(Identity{Agent: "a"}); err != nil {
		t.Fatal(err)
	}
	const hours, apis = 30 * 24, 10_000
	at, counted, told := uint64(0), uint64(0), uint64(0)
	rows, names, bytes := 0, 0, int64(0)
	for h := range hours {
		var cs []Count
		for i := h * apis / hours; i < (h+2)*apis/hours; i++ { // each lives for two hours
			cs = append(cs, Count{fmt.Sprintf("team-%d/an-api-of-the-month", i), now, 1})
		}
		at++
		counted += uint64(len(cs))
		if err := l.Count(Position{Turn: 1, Offset: at}, cs); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
		if err := l.Seal(now); err != nil {
			t.Fatal(err)
		}
		for {
			b, ok := l.Next()
			if !ok {
				break
			}
			for _, p := range b.Points {
				told += p.Delta
			}
			if err := l.Ack(b.Seq); err != nil {
				t.Fatal(err)
			}
		}
		rows, names, bytes = max(rows, len(l.s.rows)), max(names, len(l.s.apis), len(l.s.numbers)), max(bytes, l.end)
	}
	t.Logf("%d calls of %d APIs: at most %d rows and %d names, %d bytes", counted, apis, rows, names, bytes)
	if told != counted {
		t.Errorf("%d of %d calls were told", told, counted)
	}
	if most := keep*5/4 + 60*lateHours; rows > most || names > most || bytes > 4<<20 {
		t.Errorf("more than %d", most)
	}
	// The newest are there, under their names, after another look at the disk too.
	same := func() {
		t.Helper()
		ts := l.Totals()
		if last := ts[len(ts)-1]; !strings.HasPrefix(last.API, "team-99") || !last.Final || last.Acknowledged != 1 {
			t.Errorf("got %+v", last)
		}
	}
	same()

	var odd []Count
	for i := range keepAside + 200 {
		odd = append(odd, Count{fmt.Sprintf("refused/an odd name %d", i), now, 2}) // in a batch of its own
	}
	if err := errors.Join(l.Count(Position{Turn: 1, Offset: at + 1}, odd), l.Seal(now)); err != nil {
		t.Fatal(err)
	}
	for {
		b, ok := l.Next()
		if !ok {
			break
		}
		if err := l.Quarantine(b.Seq, "no"); err != nil {
			t.Fatal(err)
		}
	}
	if bs, _ := l.Quarantined(); len(bs) != keepAside || l.State().Lost != 400 {
		t.Errorf("%d batches, %d calls lost", len(bs), l.State().Lost)
	}
	if err := l.Seal(now); err != nil {
		t.Fatal(err)
	}
	if b, ok := l.Next(); !ok || b.Lost.APICalls != 400 || b.Lost.Points != 200 {
		t.Errorf("got %+v", b)
	}
}

// What was alarming is so after a restart, since when it was, until it is over; what has happened, for a week.
func TestAlarmsSurvive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	began := now
	o := Options{Now: func() time.Time { return now }}
	var l *Ledger
	restart := func() {
		t.Helper()
		if l != nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if l, err = Open(dir, o); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	defer func() { _ = l.Close() }()
	want := func(want ...string) {
		t.Helper()
		var got []string
		for _, a := range l.State().Alarms {
			got = append(got, fmt.Sprintf("%s %s %s", a.Code, a.Message, a.Since.Sub(began)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	lines := func(all Figures) string { return fmt.Sprint(all[0], " lines") }
	if !l.Raise("unread", "it can not be read") || !l.Tell("unreadable", Figures{3}, lines) {
		t.Error("they are old")
	}
	now = now.Add(time.Hour)
	restart()
	want("unread it can not be read 0s", "unreadable 3 lines 0s")
	if l.Raise("unread", "it can not be read") || l.Tell("unreadable", Figures{4}, lines) || l.Told("unreadable")[0] != 7 {
		t.Error("they are new")
	}
	l.Clear("unread")
	restart()
	want("unreadable 7 lines 0s")
	count := func() {
		t.Helper()
		if err := l.Count(Position{Turn: 1, Offset: uint64(now.Unix())}, []Count{{"a/a", now, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(7 * 24 * time.Hour)
	count()
	want("unreadable 7 lines 0s") // a week ago it was told again
	l.compact(true)
	restart()
	want("unreadable 7 lines 0s")
	now = now.Add(time.Minute)
	count()
	want()
	restart()
	want()
}

// Two daemons do not count from one folder, whichever of them has its ledger there.
func TestOneLogIsCountedOnce(t *testing.T) {
	t.Parallel()
	a, b, log := t.TempDir(), t.TempDir(), t.TempDir()
	open := func(dir, log string) *Ledger {
		t.Helper()
		l, err := Open(dir, Options{AccessLog: log, Later: true, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	refused := func(dir, log, by string) {
		t.Helper()
		_, err := Open(dir, Options{AccessLog: log, Later: true})
		var taken *LogInUseError
		if !errors.As(err, &taken) || taken.By != fmt.Sprintf("process %d, ledger in %s", os.Getpid(), by) || !strings.Contains(err.Error(), log) {
			t.Errorf("got %v", err)
		}
	}
	l := open(a, log)
	refused(b, log, a)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(b, log)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(a, a) // as it is without another folder
	refused(b, a, a)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(b, a)
	refused(a, a, b)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(a, a)
	defer l.Close()
	again := open(a, a) // somebody looks at it: that will be over
	defer again.Close()
	if s := again.State(); len(s.Alarms) != 1 || s.Alarms[0].Code != "unopened" {
		t.Errorf("got %+v", s)
	}
}

// A name that no report may have is in a batch of its own.
func TestNamesThatAreTooLong(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	l, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	long := "ns/" + strings.Repeat("x", longestName-3)
	err = errors.Join(l.SetIdentity(Identity{Agent: "a"}),
		l.Count(Position{Turn: 1, Offset: 1}, []Count{{"a/a", now, 1}, {long, now, 1}, {long + "x", now, 1}, {"a/b c", now, 1}, {"a/b/c", now, 1}, {"a/z", now, 1}}), l.Seal(now))
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, b := range l.Batches() {
		got = append(got, len(b.Points))
	}
	if !slices.Equal(got, []int{3, 1, 1, 1}) {
		t.Errorf("batches of %v points", got)
	}
}

// An alarm of something that cost nothing leaves what it says of a loss before.
func TestASecondAlarmHidesNoLoss(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	dir, o := t.TempDir(), Options{Now: func() time.Time { return now }}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	happened := func(text string) { l.Tell("log", Figures{}, func(Figures) string { return text }) }
	says := func(want string) {
		t.Helper()
		if a := l.State().Alarms; len(a) != 1 || a[0].Message != want {
			t.Errorf("got %+v, want %q", a, want)
		}
	}
	happened("lost")
	happened("none lost")
	says("none lost; before that: lost")
	happened("lost") // the same again is not told twice
	says("lost; before that: none lost")
	happened("none lost")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	says("none lost; before that: lost")
	for i := range 9 {
		happened(fmt.Sprint(i))
	}
	says("8; before that: 7; before that: 6; before that: lost")
	for range 2 { // figures are added up
		l.Tell("log", Figures{3}, func(all Figures) string { return fmt.Sprint(all[0]) })
	}
	says("6")
}
