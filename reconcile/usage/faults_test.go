package usage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// memory is a disk that fails, and that loses power: what was not synced may be there then, or not, or in part.
type memory struct {
	r       *rand.Rand
	names   map[string]*inode
	durable map[string]*inode
	ops     int
	crashAt int // op at which the process ends; 0: never
	fail    int // one op in so many fails; 0: none
	full    bool
	refuse  string // what can not be made; "": nothing
	deaf    int    // so many folders are not synced
}

type inode struct{ data, durable []byte }

// ended is the panic of a process that is killed.
type ended struct{}

func newMemory(r *rand.Rand) *memory {
	return &memory{r: r, names: map[string]*inode{}, durable: map[string]*inode{}}
}

// op is called before anything is done.
func (m *memory) op(kinds ...error) error {
	m.ops++
	if m.crashAt > 0 && m.ops >= m.crashAt {
		panic(ended{})
	}
	if m.fail > 0 && m.r.IntN(m.fail) == 0 {
		return kinds[m.r.IntN(len(kinds))]
	}
	return nil
}

func (m *memory) open(path string) (file, error) {
	if err := m.op(syscall.EIO); err != nil {
		return nil, err
	}
	x, ok := m.names[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memoryFile{m, x}, nil
}

func (m *memory) create(path string) (file, error) {
	if err := m.op(syscall.ENOSPC, syscall.EIO); err != nil {
		return nil, err
	}
	if m.refuse != "" && strings.HasSuffix(path, m.refuse) {
		return nil, syscall.ENOSPC
	}
	m.names[path] = &inode{}
	return memoryFile{m, m.names[path]}, nil
}

func (m *memory) rename(from, to string) error {
	if err := m.op(syscall.EIO); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memory) link(from, to string) error {
	if err := m.op(syscall.EIO); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	return nil
}

func (m *memory) remove(path string) error {
	if err := m.op(syscall.EIO); err != nil {
		return err
	}
	if m.names[path] == nil {
		return fs.ErrNotExist
	}
	delete(m.names, path)
	return nil
}

func (m *memory) syncDir(string) error {
	if err := m.op(syscall.EIO); err != nil {
		return err
	}
	if m.deaf > 0 {
		m.deaf--
		return syscall.EIO
	}
	m.durable = maps.Clone(m.names)
	return nil
}

// lose is a loss of power after which nothing is there that was not synced.
func (m *memory) lose() {
	m.names = maps.Clone(m.durable)
	for _, x := range m.names {
		x.data = slices.Clone(x.durable)
	}
}

type memoryFile struct {
	m *memory
	x *inode
}

func (f memoryFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.m.op(syscall.EIO); err != nil {
		return 0, err
	}
	n := copy(b, f.x.data[min(at, int64(len(f.x.data))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f memoryFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := len(b), f.m.op(syscall.ENOSPC, syscall.EIO)
	if f.m.full {
		err = syscall.ENOSPC
	}
	if err != nil {
		n = f.m.r.IntN(n + 1)
	}
	if grow := int(at) + n - len(f.x.data); grow > 0 {
		f.x.data = append(f.x.data, make([]byte, grow)...)
	}
	copy(f.x.data[at:], b[:n])
	return n, err
}

func (f memoryFile) Truncate(size int64) error {
	if err := f.m.op(syscall.EIO); err != nil {
		return err
	}
	f.x.data = f.x.data[:size:size]
	return nil
}

func (f memoryFile) Sync() error {
	if err := f.m.op(syscall.EIO, syscall.ENOSPC); err != nil {
		return err
	}
	f.x.durable = slices.Clone(f.x.data)
	return nil
}

func (f memoryFile) Close() error         { return nil }
func (f memoryFile) size() (int64, error) { return int64(len(f.x.data)), nil }

// powerLoss keeps of what was not synced what the disk happened to write: names as they were before or after, and of files a beginning.
func (m *memory) powerLoss() {
	if m.r.IntN(2) == 0 {
		m.names = maps.Clone(m.durable)
	}
	seen := map[*inode]bool{}
	for _, x := range m.names {
		if seen[x] {
			continue
		}
		seen[x] = true
		switch m.r.IntN(3) {
		case 0:
			x.data = slices.Clone(x.durable)
		case 1:
			if n := len(x.data) - len(x.durable); n > 0 {
				x.data = x.data[:len(x.durable)+m.r.IntN(n+1)]
			}
		}
		x.durable = slices.Clone(x.data)
	}
	m.durable = maps.Clone(m.names)
}

// server is the platform.
type server struct {
	t       *testing.T
	batches map[uint64]string // as they came, by seq
	most    map[string]uint64 // cumulative, by API and hour
	deltas  map[string]uint64
}

func (s *server) take(l *Ledger) {
	b, ok := l.Next()
	if !ok {
		return
	}
	text, err := json.Marshal(b)
	if err != nil {
		s.t.Fatal(err)
	}
	if old, was := s.batches[b.Seq]; was {
		if old != string(text) {
			s.t.Fatalf("batch %d was %s, and is %s", b.Seq, old, text)
		}
		return
	}
	if n := uint64(len(s.batches)) + 1; b.Seq != n {
		s.t.Fatalf("batch %d after %d", b.Seq, n-1)
	}
	s.batches[b.Seq] = string(text)
	for _, p := range b.Points {
		k := p.APIInstance + " " + p.HourStart.Format(time.RFC3339)
		s.deltas[k] += p.Delta
		s.most[k] = max(s.most[k], p.Cumulative)
		if s.deltas[k] != p.Cumulative {
			s.t.Fatalf("%s: deltas are %d, cumulative is %d", k, s.deltas[k], p.Cumulative)
		}
	}
}

type entry struct {
	api  string
	hour time.Time
	n    uint64
}

// TestLedgerModel holds the ledger against a list of what was counted: whatever fails, and wherever the process or the host ends, its counts are
// those up to its position, its batches never change, and the platform gets all of it once.
func TestLedgerModel(t *testing.T) {
	t.Parallel()
	crashes, failures := 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		m, dir := newMemory(r), filepath.Join(t.TempDir(), "usage")
		now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
		o := Options{files: m, Now: func() time.Time { return now }}
		var log []entry
		s := &server{t: t, batches: map[uint64]string{}, most: map[string]uint64{}, deltas: map[string]uint64{}}
		var l *Ledger
		epoch := uint64(0)
		begin := func() {
			for {
				m.crashAt = 0
				var err error
				if l, err = Open(dir, o); err == nil {
					break
				}
				failures++
			}
			m.crashAt = m.ops + 1 + r.IntN(60)
			if epoch == 0 {
				epoch = l.State().Epoch // one that never was on the disk may be followed by another
			}
			if e := l.State().Epoch; len(s.batches) > 0 && e != epoch {
				t.Fatalf("seed %d: epoch %d, then %d", seed, epoch, e)
			} else {
				epoch = e
			}
			check(t, seed, l, log)
		}
		begin()
		for range 400 {
			m.fail = []int{0, 0, 10, 3}[r.IntN(4)]
			m.full = r.IntN(10) == 0
			if died(func() {
				if r.IntN(30) == 0 {
					now = now.Add(-time.Duration(r.IntN(7200)) * time.Second)
				} else {
					now = now.Add(time.Duration(r.IntN(600)) * time.Second)
				}
				var err error
				switch r.IntN(8) {
				case 0, 1, 2, 3:
					err = countSome(r, l, &log, now)
				case 4:
					err = l.SetIdentity(Identity{Agent: "a", Organization: "o"})
				case 5:
					err = l.Seal(now)
				case 6:
					s.take(l)
				case 7:
					s.take(l)
					if b, ok := l.Next(); ok {
						err = l.Ack(b.Seq)
					}
				}
				if err != nil {
					failures++
				}
			}) {
				crashes++
				_ = l.lock.Close()
				if r.IntN(2) == 0 {
					m.powerLoss()
				}
				m.fail, m.full = 0, false
				begin()
			}
		}
		m.fail, m.full, m.crashAt = 0, false, 0
		check(t, seed, l, log)
		drain(t, seed, l, s, &now)
		_ = l.Close()
	}
	t.Logf("%d crashes, %d errors", crashes, failures)
	if crashes < 100 || failures < 100 {
		t.Errorf("%d crashes and %d errors only", crashes, failures)
	}
}

// A process that ended before its last transaction was on the disk leaves one that may be read, and be gone after a power loss. Whoever
// opens the ledger has it on the disk before a batch of it is sent: else its number would be given to another one.
func TestWhatIsReadIsOnTheDisk(t *testing.T) {
	t.Parallel()
	m, dir := newMemory(rand.New(rand.NewPCG(1, 1))), filepath.Join(t.TempDir(), "usage")
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	o := Options{files: m, Now: func() time.Time { return now }}
	l, err := Open(dir, o)
	if err == nil {
		err = errors.Join(l.SetIdentity(Identity{Agent: "a"}), l.Count(Position{Turn: 1}, []Count{{API: "a/a", Hour: now, N: 1}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	x := m.names[l.path()]
	before := slices.Clone(x.durable)
	if err := l.Seal(now); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	x.durable = before
	if l, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, ok := l.Next(); !ok || !slices.Equal(x.durable, x.data) {
		t.Errorf("a batch: %v; of %d bytes %d are on the disk", ok, len(x.data), len(x.durable))
	}
}

// A new file of the ledger has its name for good before anything is counted in it: else a loss of power brings the one of before back. It may
// not have it when its folder could not be synced, and when the process ended before that.
func TestANewFileHasItsNameForGood(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	begin := func(t *testing.T) (*memory, *Ledger, func() *Ledger) {
		m, dir := newMemory(rand.New(rand.NewPCG(1, 1))), t.TempDir()
		open := func() *Ledger {
			l, err := Open(dir, Options{files: m, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		l := open()
		if err := l.SetIdentity(Identity{Agent: "a"}); err != nil {
			t.Fatal(err)
		}
		l.rewrite = true // the next transaction begins a new file
		return m, l, open
	}
	count := func(l *Ledger, offset, n uint64) error {
		return l.Count(Position{Turn: 1, Offset: offset}, []Count{{API: "a/a", Hour: now, N: n}})
	}
	counted := func(t *testing.T, l *Ledger, least uint64) {
		t.Helper()
		if ts := l.Totals(); len(ts) != 1 || ts[0].Counted < least || l.Position().Offset != 9 {
			t.Errorf("got %+v up to %+v, want %d calls at least", ts, l.Position(), least)
		}
	}
	t.Run("not synced", func(t *testing.T) {
		t.Parallel()
		m, l, open := begin(t)
		m.deaf = 1
		if err := count(l, 1, 1); !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v", err)
		}
		if err := count(l, 9, 5); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		m.lose()
		counted(t, open(), 5)
	})
	for after := 1; ; after++ {
		done := false
		t.Run(fmt.Sprintf("ended after %d", after), func(t *testing.T) {
			m, l, open := begin(t)
			m.crashAt = m.ops + after
			done = !died(func() { _ = count(l, 1, 1) })
			m.crashAt = 0
			_ = l.lock.Close()
			l = open()
			if err := count(l, 9, 5); err != nil {
				t.Fatal(err)
			}
			_ = l.Close()
			m.lose()
			counted(t, open(), 5)
		})
		if done {
			break
		}
	}
}

// TestADamagedFileIsKept: also where no file can have two names.
func TestADamagedFileIsKept(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]func(from, to string) error{
		"link": os.Link, "no links": func(string, string) error { return &os.LinkError{Op: "link", Err: syscall.EPERM} },
	} {
		from := filepath.Join(t.TempDir(), "ledger")
		if err := os.WriteFile(from, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := linked(link, from, from+".damaged"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, path := range []string{from, from + ".damaged"} {
			if b, err := os.ReadFile(path); err != nil || string(b) != "damaged" {
				t.Errorf("%s: %s has %q, %v", name, path, b, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		if err := linked(link, from+".none", from+".other"); err == nil {
			t.Errorf("%s: of a file that is not there", name)
		}
	}
}

// TestTheHourOfARequest is that of its beginning, unless the platform was told long ago that it is final, or a clock was set back.
func TestTheHourOfARequest(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	l, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	this := now.Truncate(time.Hour)
	for i, c := range []struct{ began, counted time.Time }{
		{now, this}, {now.Add(-time.Hour), this.Add(-time.Hour)}, {now.Add(-25 * time.Hour), this.Add(-25 * time.Hour)}, {now.Add(-26 * time.Hour), this},
		{now.AddDate(-1, 0, 0), this}, {now.Add(time.Hour), this}, {time.Unix(0, 0), this},
	} {
		api := fmt.Sprintf("a/%d", i)
		if err := l.Count(Position{Turn: 1, Offset: uint64(i + 1)}, []Count{{API: api, Hour: c.began, N: 1}}); err != nil {
			t.Fatal(err)
		}
		for _, x := range l.Totals() {
			if x.API == api && !x.Hour.Equal(c.counted) {
				t.Errorf("one that began at %s counts in %s, want %s", c.began, x.Hour, c.counted)
			}
		}
	}
	if n := len(l.Totals()); n != 7 {
		t.Errorf("%d rows", n)
	}
}

// TestAClosedLedgerIsTheNextOnes: who still has one in his hands changes nothing on the disk, and nobody is told of a disk that fails.
func TestAClosedLedgerIsTheNextOnes(t *testing.T) {
	t.Parallel()
	m, now := newMemory(rand.New(rand.NewPCG(1, 1))), time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC)
	var said strings.Builder
	l, err := Open(t.TempDir(), Options{files: m, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	count := func(offset uint64) error {
		return l.Count(Position{Turn: 1, Offset: offset}, []Count{{API: "a/a", Hour: now, N: 1}})
	}
	if err := errors.Join(l.SetIdentity(Identity{Agent: "a"}), count(1), l.Seal(now), count(2), l.Close()); err != nil {
		t.Fatal(err)
	}
	said.Reset()
	ops := m.ops
	for name, do := range map[string]func() error{
		"SetIdentity": func() error { return l.SetIdentity(Identity{Agent: "b"}) }, "Seal": func() error { return l.Seal(now) }, "SealAll": func() error { return l.SealAll(now) },
		"Count": func() error { return count(3) }, "Ack": func() error { return l.Ack(1) }, "Quarantine": func() error { return l.Quarantine(1, "why") },
		"Raise": func() error { l.Raise("code", "words"); return fs.ErrClosed }, "Close": func() error { return errors.Join(fs.ErrClosed, l.Close()) },
	} {
		if err := do(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m.ops != ops || said.Len() > 0 {
		t.Errorf("%d times the disk was used, and this was said: %s", m.ops-ops, said.String())
	}
}

// countSome counts the next entries of the log, as a tail does: those that were not counted are there again.
func countSome(r *rand.Rand, l *Ledger, log *[]entry, now time.Time) error {
	p := l.Position()
	for len(*log) < int(p.Offset)+5 {
		*log = append(*log, entry{[]string{"", "a/a", "a/b", "a/c"}[r.IntN(4)], now.Add(-time.Duration(r.IntN(90)) * time.Minute).Truncate(time.Hour), uint64(1 + r.IntN(9))})
	}
	var cs []Count
	for _, e := range (*log)[p.Offset : p.Offset+1+r.Uint64N(4)] {
		cs = append(cs, Count{e.api, e.hour, e.n})
		p.Offset++
	}
	p.Turn, p.Head, p.Tail = 1, r.Uint64(), r.Uint64()
	return l.Count(p, cs)
}

// died reports whether f was killed.
func died(f func()) (yes bool) {
	defer func() {
		switch x := recover(); x {
		case nil:
		case ended{}:
			yes = true
		default:
			panic(x)
		}
	}()
	f()
	return false
}

// check holds the counts against the log up to the position.
func check(t *testing.T, seed uint64, l *Ledger, log []entry) {
	t.Helper()
	want, got := map[string]uint64{}, map[string]uint64{}
	for _, e := range log[:l.Position().Offset] {
		want[e.api] += e.n
	}
	for _, x := range l.Totals() {
		got[x.API] += x.Counted
	}
	if !maps.Equal(got, want) {
		t.Fatalf("seed %d: counted %v, and the log has %v", seed, got, want)
	}
}

// drain delivers all, and holds what the platform has against the ledger.
func drain(t *testing.T, seed uint64, l *Ledger, s *server, now *time.Time) {
	t.Helper()
	for range 3 {
		*now = now.Add(time.Hour)
		if err := l.Seal(*now); err != nil {
			t.Fatal(err)
		}
		for {
			b, ok := l.Next()
			if !ok {
				break
			}
			s.take(l)
			if err := l.Ack(b.Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := map[string]uint64{}
	for _, x := range l.Totals() {
		if x.Identity.Agent != "" && x.API != "" {
			want[x.API+" "+x.Hour.Format(time.RFC3339)] += x.Counted
			if x.Acknowledged != x.Counted || !x.Final {
				t.Errorf("seed %d: %+v", seed, x)
			}
		}
	}
	if !maps.Equal(s.most, want) {
		t.Errorf("seed %d: the platform has %v, want %v", seed, s.most, want)
	}
}

// A full disk stops counting where it is; it goes on there when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	m := newMemory(rand.New(rand.NewPCG(1, 1)))
	l, err := Open(t.TempDir(), Options{files: m})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m.full = true
	for range 5 {
		if err := l.Count(Position{Turn: 1, Offset: 9}, []Count{{"a/a", time.Now(), 1}}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
	}
	s := l.State()
	if p := l.Position(); p.Offset != 0 || s.Unsealed != 0 || len(s.Alarms) != 1 || s.Alarms[0].Code != "unwritable" {
		t.Errorf("got %+v %+v", p, s)
	}
	m.full = false
	if err := l.Count(Position{Turn: 1, Offset: 9}, []Count{{"a/a", time.Now(), 1}}); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(l.Totals()[0].Counted, len(l.Totals()), len(l.State().Alarms)); got != "1 1 0" {
		t.Errorf("got %s", got)
	}
}

// TestFullDiskWhileRegistering: what is counted when there is room again is for the registration of then, and not for nobody.
func TestFullDiskWhileRegistering(t *testing.T) {
	t.Parallel()
	m := newMemory(rand.New(rand.NewPCG(1, 1)))
	l, err := Open(t.TempDir(), Options{files: m})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m.full = true
	if err := l.SetIdentity(Identity{Agent: "a"}); !errors.Is(err, syscall.ENOSPC) || l.State().Identity != (Identity{}) {
		t.Errorf("got %v, %+v", err, l.State().Identity)
	}
	if err := l.Count(Position{Turn: 1, Offset: 9}, []Count{{"a/a", time.Now(), 1}}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	m.full = false
	if err := l.Count(Position{Turn: 1, Offset: 9}, []Count{{"a/a", time.Now(), 1}}); err != nil {
		t.Error(err)
	}
	if ts := l.Totals(); len(ts) != 1 || ts[0].Identity.Agent != "a" || ts[0].Counted != 1 {
		t.Errorf("got %+v", ts)
	}
}

// TestDamageBetweenRowsAndBatches: what a damage took with it of the batches is in no row any more that was put in one.
func TestDamageBetweenRowsAndBatches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const apis = 100_000 // more than a frame of a snapshot has
	counts := make([]Count, apis)
	for i := range counts {
		counts[i] = Count{fmt.Sprintf("ns/%d", i), time.Now(), 1}
	}
	err = errors.Join(l.SetIdentity(Identity{Agent: "a"}), l.Count(Position{Turn: 1, Offset: 9}, counts), l.Seal(time.Now()), l.compact(true))
	size := l.end
	if err = errors.Join(err, l.Close(), os.Remove(l.copyPath())); err != nil {
		t.Fatal(err)
	}
	f, err := osFiles{}.open(filepath.Join(dir, "ledger"))
	if err == nil {
		_, err = f.WriteAt([]byte("damaged"), size*6/10)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if l, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Seal(time.Now()); err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, b := range l.Batches() {
		for _, p := range b.Points {
			n += p.Delta
		}
	}
	if n == 0 || n != l.State().Counted {
		t.Errorf("%d of %d calls are in batches, %d are counted", n, apis, l.State().Counted)
	}
}
