package usage_test

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

	"github.com/flexgw/flexgw/reconcile/usage"
)

// gateway writes the log as Envoy does: to the file that it has open, whatever that is called now.
type gateway struct {
	t    testing.TB
	dir  string
	file *os.File
	torn []byte // of a line that is not written to its end
	sent map[string]uint64
	n    uint64
}

func newGateway(t testing.TB, dir string) *gateway {
	g := &gateway{t: t, dir: dir, sent: map[string]uint64{}}
	t.Cleanup(func() { _ = g.file.Close() })
	return g
}

func (g *gateway) open() {
	if g.file != nil {
		_ = g.file.Close()
	}
	var err error
	if g.file, err = os.OpenFile(filepath.Join(g.dir, usage.LogName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) reopen(context.Context) error {
	g.open()
	return nil
}

func (g *gateway) line(api string, at time.Time) []byte {
	g.n++
	g.sent[api]++
	return fmt.Appendf(nil, "\n%d 200 %s 70031019-7944-41d6-9ad1-%012x\n", at.UnixMilli(), api, g.n)
}

func (g *gateway) write(b []byte) {
	if _, err := g.file.Write(b); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) request(api string, at time.Time) { g.write(g.line(api, at)) }

func totals(l *usage.Ledger) map[string]uint64 {
	m := map[string]uint64{}
	for _, x := range l.Totals() {
		m[x.API] += x.Counted
	}
	return m
}

func same(t *testing.T, l *usage.Ledger, g *gateway) {
	t.Helper()
	if got := totals(l); fmt.Sprint(got) != fmt.Sprint(g.sent) {
		t.Fatalf("counted %v, sent %v", got, g.sent)
	}
}

func look(t *testing.T, x *usage.Tail) {
	t.Helper()
	must(t, x.Look(t.Context()))
}

// begun is a tail over a folder, with a gateway that writes to it.
func begun(t *testing.T) (*usage.Ledger, *usage.Tail, *gateway, *clock) {
	t.Helper()
	dir, c := t.TempDir(), newClock()
	l, g := open(t, dir, c, usage.Options{}), newGateway(t, dir)
	x := usage.NewTail(dir, l, usage.TailOptions{Reopen: g.reopen, Now: func() time.Time { return c.now }, TurnBytes: 1 << 20})
	t.Cleanup(func() { _ = x.Close() })
	look(t, x) // there is none yet
	g.open()
	return l, x, g, c
}

func TestWholeLinesOnly(t *testing.T) {
	t.Parallel()
	l, x, g, c := begun(t)
	g.request("default/orders", c.now)
	g.request("", c.now)
	line := g.line("default/orders", c.now)
	g.sent["default/orders"]--
	g.write(line[:30])
	look(t, x)
	same(t, l, g)
	g.write(line[30:])
	g.sent["default/orders"]++
	look(t, x)
	same(t, l, g)
	// Envoy is killed in the middle of a line, and the next one goes on in the same file.
	g.write(line[:len(line)-5])
	g.open()
	g.request("a/b", c.now)
	look(t, x)
	same(t, l, g)
	if r := x.Read(); r.Lines != 4 || r.Unreadable != 1 {
		t.Errorf("got %+v", r)
	}
	if a := l.State().Alarms; len(a) != 1 || a[0].Code != "unreadable" {
		t.Errorf("got %+v", a)
	}
	g.write([]byte("\ngarbage\n\n" + strings.Repeat("x", 600<<10)))
	g.request("a/b", c.now)
	look(t, x)
	same(t, l, g)
}

// TestALongLogCanBeLeft: who is told to end does not read all that has gathered first; what was read is written down, and the next one goes on
// behind it.
func TestALongLogCanBeLeft(t *testing.T) {
	t.Parallel()
	l, x, g, c := begun(t)
	var all []byte
	for len(all) < 2<<20 {
		all = append(all, g.line("default/orders", c.now)...)
	}
	g.write(all)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	before := uint64(0)
	for range 2 {
		if err := x.Look(ended); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		p, n := l.Position(), totals(l)["default/orders"]
		if p.Offset <= before || p.Offset >= uint64(len(all)) || n == 0 || n >= g.sent["default/orders"] {
			t.Fatalf("%d of %d requests were counted, up to %d of %d bytes", n, g.sent["default/orders"], p.Offset, len(all))
		}
		before = p.Offset
	}
	look(t, x)
	same(t, l, g)
}

func TestTurns(t *testing.T) {
	t.Parallel()
	l, x, g, c := begun(t)
	for i := range 100_000 {
		g.request(fmt.Sprintf("ns/api-%d", i%7), c.now)
		if i%1000 == 0 {
			look(t, x)
		}
	}
	look(t, x)
	same(t, l, g)
	if r := x.Read(); r.Turns < 5 || r.Replaced != 0 {
		t.Errorf("got %+v", r)
	}
	if names, _ := filepath.Glob(filepath.Join(g.dir, usage.LogName+"*")); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
	before := x.Read().Turns
	c.pass(2 * time.Hour)
	g.request("a/b", c.now)
	look(t, x)
	look(t, x)
	c.pass(2 * time.Hour)
	look(t, x) // the new one is empty
	look(t, x)
	if r := x.Read(); r.Turns != before+1 {
		t.Errorf("%d turns, before %d", r.Turns, before)
	}
	same(t, l, g)
}

// A log that an Envoy of ours writes is for nobody else to read, whatever the mask of the process was that made it; that of another user's Envoy
// stays as it is.
func TestLogIsPrivate(t *testing.T) {
	t.Parallel()
	for _, private := range []bool{true, false} {
		dir, c := t.TempDir(), newClock()
		l, g := open(t, dir, c, usage.Options{}), newGateway(t, dir)
		path := filepath.Join(dir, usage.LogName)
		made := func() {
			g.open()
			must(t, os.Chmod(path, 0o644))
		}
		want := func() {
			t.Helper()
			mode := os.FileMode(0o644)
			if private {
				mode = 0o600
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%v %v, want %v", info.Mode(), err, mode)
			}
		}
		x := usage.NewTail(dir, l, usage.TailOptions{Private: private, TurnBytes: 100, Now: func() time.Time { return c.now }, Reopen: func(context.Context) error {
			made()
			return nil
		}})
		made()
		look(t, x)
		want()
		for range 4 {
			g.request("a/b", c.now)
		}
		look(t, x)
		look(t, x)
		if x.Read().Turns != 1 {
			t.Errorf("got %+v", x.Read())
		}
		want()
		must(t, x.Close())
	}
}

// An Envoy whose log was removed while no daemon looked writes to a file without a name: it is told to begin a new one.
func TestRemovedWhileNobodyLooked(t *testing.T) {
	t.Parallel()
	l, x, g, c := begun(t)
	g.request("a/a", c.now)
	look(t, x)
	must(t, x.Close())
	must(t, l.Close())
	must(t, os.Remove(filepath.Join(g.dir, usage.LogName)))
	l = open(t, g.dir, c, usage.Options{})
	x = usage.NewTail(g.dir, l, usage.TailOptions{Reopen: g.reopen, Now: func() time.Time { return c.now }})
	look(t, x)
	g.request("a/b", c.now)
	look(t, x)
	same(t, l, g)
	if alarms(l) != "log" {
		t.Errorf("got %s", alarms(l))
	}
}

// Calls of nobody, or of another registration, stay so when the ledger is lost before somebody registers, or just after.
func TestLostAroundARegistration(t *testing.T) {
	t.Parallel()
	other := us
	other.Agent = "another"
	for _, before := range []usage.Identity{{}, other} {
		for _, late := range []bool{false, true} {
			l, x, g, c := begun(t)
			must(t, l.SetIdentity(before))
			for range 50 {
				g.request("a/a", c.now)
			}
			look(t, x)
			mine := uint64(1)
			if late {
				must(t, l.SetIdentity(us))
				g.request("a/b", c.now)
				look(t, x)
				mine++
			} else if before.Agent != "" { // who is registered when the daemon starts has what nobody read before
				continue
			}
			must(t, x.Close())
			must(t, l.Close())
			must(t, os.Remove(filepath.Join(g.dir, "ledger")))
			l = open(t, g.dir, c, usage.Options{})
			must(t, l.SetIdentity(us))
			x = usage.NewTail(g.dir, l, usage.TailOptions{Reopen: g.reopen, Now: func() time.Time { return c.now }})
			g.request("a/b", c.now)
			look(t, x)
			same(t, l, g)
			for _, x := range l.Totals() {
				if x.Identity == us && x.Counted != mine || x.Identity != us && x.Counted != 50 {
					t.Errorf("of %+v, late %v: got %+v", before, late, x)
				}
			}
			must(t, x.Close())
		}
	}
}

// TestLostWithItsLog: ledgers are lost, alone and with the log, while files are turned. What was counted from files that are gone is in the copy.
func TestLostWithItsLog(t *testing.T) {
	t.Parallel()
	for _, logToo := range []bool{false, true} {
		dir, c := t.TempDir(), newClock()
		g := newGateway(t, dir)
		var l *usage.Ledger
		var x *usage.Tail
		turns := uint64(0)
		begin := func() {
			l = open(t, dir, c, usage.Options{})
			must(t, l.SetIdentity(us))
			x = usage.NewTail(dir, l, usage.TailOptions{TurnBytes: 4 << 10, Reopen: g.reopen, Now: func() time.Time { return c.now }})
		}
		g.open()
		begin()
		for i := range 40 {
			for range 30 {
				g.request("a/a", c.now)
			}
			look(t, x)
			look(t, x)
			if i%5 != 4 {
				continue
			}
			if i%10 == 9 || logToo {
				must(t, l.Seal(c.now))
			}
			same(t, l, g)
			turns += x.Read().Turns
			must(t, x.Close())
			must(t, l.Close())
			must(t, os.Remove(filepath.Join(dir, "ledger")))
			if logToo {
				must(t, os.Remove(filepath.Join(dir, usage.LogName)))
			}
			begin()
			look(t, x) // which has Envoy begin a new one
			look(t, x) // lines of this test begin alike
		}
		for range 3 {
			c.pass(3 * time.Second)
			look(t, x)
		}
		same(t, l, g)
		if turns < 5 {
			t.Errorf("%d files were turned", turns)
		}
		must(t, x.Close())
	}
}

// What somebody does to the log is said, and nothing is counted twice.
func TestLogIsMeddledWith(t *testing.T) {
	t.Parallel()
	for name, meddle := range map[string]func(t *testing.T, g *gateway, path string){
		"removed": func(t *testing.T, g *gateway, path string) { must(t, os.Remove(path)) },
		"replaced": func(t *testing.T, g *gateway, path string) {
			must(t, os.Remove(path))
			g.open()
		},
		"renamed":   func(t *testing.T, g *gateway, path string) { must(t, os.Rename(path, path+".1")) },
		"emptied":   func(t *testing.T, g *gateway, path string) { must(t, os.Truncate(path, 0)) },
		"cut":       func(t *testing.T, g *gateway, path string) { must(t, os.Truncate(path, 1000)) },
		"rewritten": rewritten,
	} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " down ", down), func(t *testing.T) {
				t.Parallel()
				l, x, g, c := begun(t)
				for range 50 {
					g.request("a/a", c.now)
				}
				look(t, x)
				path := filepath.Join(g.dir, usage.LogName)
				if down {
					must(t, x.Close())
					must(t, l.Close())
				}
				meddle(t, g, path)
				if down {
					l = open(t, g.dir, c, usage.Options{})
					x = usage.NewTail(g.dir, l, usage.TailOptions{Reopen: g.reopen, Now: func() time.Time { return c.now }})
				}
				if away := name == "removed" || name == "renamed"; !down || !away { // the lines of a file that nobody can find any more are gone
					g.request("a/b", c.now)
				}
				for range 3 {
					look(t, x)
					c.pass(3 * time.Second)
				}
				if (name == "removed" || name == "renamed") && down {
					g.open()
				}
				for range 2000 {
					g.request("a/c", c.now)
				}
				look(t, x)
				if name == "cut" { // nobody knows what was written before it was seen
					delete(g.sent, "a/b")
				}
				same(t, l, g)
				if r := x.Read(); r.Replaced == 0 {
					t.Errorf("nothing was said: %+v", r)
				}
			})
		}
	}
}

func rewritten(t *testing.T, g *gateway, path string) {
	must(t, os.Truncate(path, 0))
	for range 100 { // more than there was
		g.request("a/b", time.Now())
	}
}

// part is what is left of a line.
type part struct {
	api   string
	b     []byte
	begun bool
}

// TestTailModel runs a tail over a gateway that does what it may, with daemons that end at any moment.
func TestTailModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			dir, c := t.TempDir(), newClock()
			g := newGateway(t, dir)
			var l *usage.Ledger
			var x *usage.Tail
			up := func() bool { return g.file != nil }
			var rest []part
			var write func(n int)
			begin := func() {
				l = open(t, dir, c, usage.Options{})
				x = usage.NewTail(dir, l, usage.TailOptions{TurnBytes: 4 << 10, Now: func() time.Time { return c.now }, Reopen: func(ctx context.Context) error {
					if !up() || r.IntN(3) == 0 {
						return fmt.Errorf("no Envoy")
					}
					if len(rest) > 0 && rest[0].begun { // Envoy writes whole lines between two looks at what it was told
						write(len(rest[0].b))
					}
					return g.reopen(ctx)
				}})
			}
			begin()
			write = func(n int) { // so many bytes of what is left
				var b []byte
				for n > 0 && len(rest) > 0 {
					p := &rest[0]
					m := min(n, len(p.b))
					b, p.b, n, p.begun = append(b, p.b[:m]...), p.b[m:], n-m, true
					if len(p.b) == 0 {
						rest = rest[1:]
					}
				}
				g.write(b)
			}
			for range 2000 {
				c.pass(time.Duration(r.IntN(2000)) * time.Millisecond)
				switch k := r.IntN(20); {
				case k < 12 && up():
					size := 0
					for range 1 + r.IntN(20) {
						api := fmt.Sprintf("ns/api-%d", r.IntN(4))
						rest = append(rest, part{api: api, b: g.line(api, c.now)})
						size += len(rest[0].b)
					}
					if r.IntN(3) > 0 {
						size *= 10
					}
					write(r.IntN(size))
				case k < 13: // Envoy ends, in good order or not, or begins
					if !up() {
						g.open()
						break
					}
					if r.IntN(2) == 0 {
						write(1 << 20)
					}
					for _, p := range rest {
						if len(p.b) > 1 { // more than its last line feed
							g.sent[p.api]--
						}
					}
					rest = nil
					_ = g.file.Close()
					g.file = nil
				case k < 14: // the daemon ends
					_ = x.Close()
					must(t, l.Close())
					begin()
				default:
					look(t, x)
				}
			}
			if !up() {
				g.open()
			}
			write(1 << 20)
			for range 30 {
				c.pass(3 * time.Second)
				look(t, x)
			}
			got, bad := totals(l), x.Read()
			for api, n := range got {
				if n != g.sent[api] {
					t.Errorf("%s: counted %d, sent %d (%+v)", api, n, g.sent[api], bad)
				}
			}
			if x.Read().Replaced > 0 {
				t.Errorf("got %+v", x.Read())
			}
		})
	}
}

// TestALogThatWasCountedAndNotRemoved: a process that ends between writing down that a log is counted and removing it leaves one that the next
// process removes, and does not count again.
func TestALogThatWasCountedAndNotRemoved(t *testing.T) {
	t.Parallel()
	l, x, g, c := begun(t)
	path := filepath.Join(g.dir, usage.LogName)
	var left []string
	for turn := 1; turn <= 3; turn++ {
		g.request("a/a", c.now)
		name := fmt.Sprintf("%s.turn-%d", path, turn)
		must(t, errors.Join(os.Link(path, path+".kept"), os.Rename(path, name)))
		g.open()
		g.request("a/b", c.now)
		look(t, x)
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s was counted, and is there: %v", name, err)
		}
		must(t, os.Rename(path+".kept", name)) // it ended before
		left = append(left, name)
	}
	must(t, errors.Join(x.Close(), l.Close()))
	l = open(t, g.dir, c, usage.Options{})
	x = usage.NewTail(g.dir, l, usage.TailOptions{Reopen: g.reopen, Now: func() time.Time { return c.now }})
	t.Cleanup(func() { _ = x.Close() })
	g.request("a/b", c.now)
	look(t, x)
	same(t, l, g)
	for _, name := range left {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	if r := x.Read(); r.Replaced != 0 || r.Turns != 0 {
		t.Errorf("got %+v", r)
	}
}

// TestTurnThatIsNotWrittenDown: a file ends in a line without its line feed, and the ledger can not take the turn. Whoever goes on counts it once,
// and finds nothing strange.
func TestTurnThatIsNotWrittenDown(t *testing.T) {
	t.Parallel()
	l, x, g, c := begun(t)
	g.request("a/a", c.now)
	look(t, x)
	line := g.line("a/a", c.now)
	g.write(line[:len(line)-1]) // Envoy is killed here
	path := filepath.Join(g.dir, usage.LogName)
	must(t, os.Rename(path, path+".turn-1"))
	g.open()
	must(t, l.Close()) // writes fail from here on
	for range 3 {
		if err := x.Look(t.Context()); err == nil {
			t.Fatal("a closed ledger took a count")
		}
	}
	must(t, x.Close())
	l = open(t, g.dir, c, usage.Options{})
	x = usage.NewTail(g.dir, l, usage.TailOptions{Reopen: g.reopen, Now: func() time.Time { return c.now }})
	g.request("a/b", c.now)
	look(t, x)
	look(t, x)
	same(t, l, g)
	if r := x.Read(); r.Replaced > 0 || r.Torn > 0 || r.Lines != 2 {
		t.Errorf("got %+v", r)
	}
}
