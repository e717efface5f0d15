package usage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/disk"
)

// LogInUseError is what Open returns when another process counts from the folder of the access log.
type LogInUseError struct {
	Folder string
	By     string // which one, as it says of itself; "": it did not
}

func (e *LogInUseError) Error() string {
	who := "another process"
	if e.By != "" {
		who = "another flexgw (" + e.By + ")"
	}
	return fmt.Sprintf("%s counts the requests in %s: each gateway needs a folder of its own, for its Envoy and its daemon alone", who, e.Folder)
}

// Open opens the ledger in a folder, which it makes when there is none. It returns ErrInUse when another process has it, and a
// *LogInUseError when another one counts from the same access log. The torn end of a write that was cut off is dropped. When more is
// damaged, or the ledger is gone, it is brought back from its copy; without one, what stands before the damage is kept. The damaged file is
// set aside, and a new epoch begins.
func Open(dir string, o Options) (*Ledger, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.files == nil {
		o.files = osFiles{}
	}
	l := &Ledger{dir: dir, o: o, fs: o.files, s: newState(), unsaved: map[string]bool{}}
	l.o.MaxBytes, l.o.MaxAge, l.o.keep = cmp.Or(o.MaxBytes, defaultBytes), cmp.Or(o.MaxAge, defaultAge), cmp.Or(o.keep, keepDone)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("usage ledger: %w", err)
	}
	err := l.acquire()
	if err != nil && (!o.Later || errors.As(err, new(*LogInUseError))) {
		return nil, errors.Join(err, l.Close())
	}
	if err != nil {
		l.unopened, l.since, l.looked = err, o.Now().UTC().Truncate(time.Millisecond), o.Now()
		l.o.Log.Error("requests wait in the access log to be counted: it is tried again until the ledger can be opened", "error", err)
	}
	return l, nil
}

// acquire takes what it needs that it does not have yet.
func (l *Ledger) acquire() (err error) {
	if l.logLock == nil {
		if err := l.claimLog(); err != nil {
			return err
		}
	}
	if l.lock == nil {
		f, by, err := l.claim(l.dir)
		if errors.Is(err, ErrInUse) && by != "" && !strings.HasSuffix(by, l.signature()) {
			return &LogInUseError{l.dir, by} // it has a ledger elsewhere, and this folder as that of its log
		}
		if err != nil {
			return fmt.Errorf("usage ledger %s: %w", l.dir, err)
		}
		l.lock = f
	}
	if l.logHome == nil {
		if l.logHome, err = os.Stat(cmp.Or(l.o.AccessLog, l.dir)); err != nil {
			return fmt.Errorf("access log: %w", err)
		}
	}
	told := l.s.alarms
	if err := l.load(); err != nil {
		if l.file != nil {
			_ = l.file.Close()
		}
		l.s, l.file = newState(), nil
		l.s.alarms = told
		return fmt.Errorf("usage ledger %s: %w", l.dir, err)
	}
	for code := range l.unsaved { // what was told, and taken back, in the meantime
		a, is := told[code]
		if !is {
			delete(l.s.alarms, code)
		} else if _, was := l.s.alarms[code]; !was {
			l.s.alarms[code] = a
		}
	}
	if !l.aimed {
		l.wanted = l.s.identities[l.s.using]
	}
	return nil
}

// ready opens a ledger that could not be opened before, or says why it can not be used.
func (l *Ledger) ready() error {
	now := l.o.Now()
	switch {
	case l.closed: // the next process has it
		return fs.ErrClosed
	case l.unopened == nil:
		return l.gone
	case now.Sub(l.looked).Abs() < openAgain:
		return l.unopened
	}
	l.looked = now
	if err := l.acquire(); err != nil {
		l.unopened = err
		return err
	}
	l.o.Log.Info("the usage ledger is open: requests are counted", "waited", now.Sub(l.since).Round(time.Second))
	l.unopened = nil
	return nil
}

const lockName = "lock"

// claimLog keeps others from counting out of the folder of the access log: each would remove what the other one has not read.
func (l *Ledger) claimLog() error {
	if l.o.AccessLog == "" {
		return nil
	}
	own, err := os.Stat(l.dir)
	if err != nil {
		return fmt.Errorf("usage ledger: %w", err)
	}
	folder, err := os.Stat(l.o.AccessLog)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	if os.SameFile(own, folder) {
		return nil // the lock of the ledger stands there
	}
	f, by, err := l.claim(l.o.AccessLog)
	switch {
	case errors.Is(err, ErrInUse):
		return &LogInUseError{l.o.AccessLog, by}
	case err != nil:
		return fmt.Errorf("access log: %w", err)
	}
	l.logLock = f
	return nil
}

// claim locks a folder, and writes down by whom. ErrInUse: by has it; "": it did not say who it is.
func (l *Ledger) claim(folder string) (f *os.File, by string, err error) {
	path := filepath.Join(folder, lockName)
	f, err = disk.LockFile(path)
	if errors.Is(err, disk.ErrHeld) {
		text, _ := os.ReadFile(path) // it may be another user's
		return nil, strings.TrimSpace(string(text[:min(len(text), 4096)])), ErrInUse
	}
	if err != nil {
		return nil, "", err
	}
	text := fmt.Sprintf("process %d%s\n", os.Getpid(), l.signature())
	_, err = f.WriteAt([]byte(text), 0)
	if err = errors.Join(err, f.Truncate(int64(len(text)))); err != nil {
		l.o.Log.Debug("who counts is not written down", "file", path, "error", err) // the lock is what counts
	}
	return f, "", nil
}

// signature says whose lock it is.
func (l *Ledger) signature() string {
	dir, err := filepath.Abs(l.dir)
	if err == nil {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
	}
	return ", ledger in " + dir
}

func (l *Ledger) path() string { return filepath.Join(l.dir, "ledger") }

// copyPath is the ledger once more, as it was when a batch was made last, or a log was removed.
func (l *Ledger) copyPath() string { return filepath.Join(l.dir, "ledger.copy") }

// found is a file of the ledger that is there.
type found struct {
	file
	s       *state // what stands before a damage
	end     int64  // where that ends
	length  int64
	damaged bool
	before  bool // it has rows of identities
}

// sound says that it is what was written last, but for the torn end of a write.
func (x *found) sound() bool { return x != nil && !x.damaged && x.s.replica != "" && x.s.whole }

// look reads a file of the ledger; nil: there is none.
func (l *Ledger) look(path string) (*found, error) {
	f, err := l.fs.open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x := &found{file: f, s: newState()}
	if err := x.read(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return x, nil
}

func (x *found) read() error {
	if err := x.Sync(); err != nil { // a process that ended while it wrote may have left what a power loss would take
		return err
	}
	b, err := readAll(x.file)
	if err != nil {
		return err
	}
	x.length = int64(len(b))
	x.end, x.damaged, err = scan(b, x.s.apply)
	if err != nil {
		return err
	}
	if x.damaged { // a frame that is whole, but not ours, may have left s half changed
		x.s = newState()
		_, _, _ = scan(b[:x.end], x.s.apply)
	}
	x.before = !x.s.shared
	x.s.share()
	x.s.flow = Flow{}
	return nil
}

// load reads what is there, or begins.
func (l *Ledger) load() error {
	x, err := l.look(l.path())
	if err != nil {
		return err
	}
	c, err := l.look(l.copyPath())
	if err == nil && c != nil {
		err = c.Close()
	}
	switch {
	case err != nil && x.sound():
		l.o.Log.Warn("the copy of the usage ledger can not be read", "file", l.copyPath(), "error", err)
	case err != nil:
		return errors.Join(err, x.forget())
	case !x.sound(), c.sound() && c.s.replica == x.s.replica && !x.s.later(c.s): // what looks like the end of a write is more
		return l.restore(x, c)
	}
	l.s, l.file, l.end = x.s, x.file, x.end
	l.rewrite = x.before // what is written from here on is of gateways, and must not follow what is not
	if o, err := l.remembered(); err != nil {
		return err
	} else if o.Replica == "" {
		if err := l.remember(origin{x.s.replica, x.s.epoch}); err != nil {
			return err
		}
	}
	l.sync = true // a process that ended between giving a new file its name and having that written down did not say so
	if x.end < x.length {
		l.o.Log.Info("the usage ledger ended in a write that was cut off; it is dropped", "bytes", x.length-x.end)
		if err := x.Truncate(x.end); err != nil {
			l.rewrite = true
		}
	}
	return nil
}

// restore goes on without a ledger, or with a damaged one: with its copy, or with what stands before the damage if that is more. No batch
// was made since the copy was, unless what stands before the damage tells of it: so counts that go on from there are never below what the
// platform has of this replica, and the log since then adds what there was. x is the ledger and c its copy; nil: there is none.
func (l *Ledger) restore(x, c *found) error {
	s := newState()
	if x != nil {
		s = x.s
	}
	copied := c.sound() && (s.replica == "" || !s.later(c.s))
	if copied {
		s = c.s
	}
	code, text := "lost-ledger", "the usage ledger was gone"
	if x != nil {
		aside := l.path() + ".damaged"
		if err := errors.Join(x.forget(), l.fs.link(l.path(), aside)); err != nil { // the new one takes its name: there is always one of the two
			return err
		}
		code, text = "damaged", fmt.Sprintf("the usage ledger was damaged after %d of %d bytes (the file is kept: %s)", x.end, x.length, aside)
	}
	had := s.replica != ""
	if had {
		s.renumber()
	}
	gone, err := l.begin(s)
	if err != nil {
		return err
	}
	switch {
	case copied:
		text += fmt.Sprintf("; it was brought back from its copy of %s, and the access log is counted on from there: no call is missing unless the log of since then was removed, too", time.UnixMilli(s.clock).UTC().Format(time.RFC3339))
	case had:
		text += "; what stood before is kept, and counted on from there: calls that have left the access log since then are missing, and hide as many new ones of their hours"
	case gone != "" && gone == s.replica:
		text += "; there is no copy of it; what is in the access log is counted again, for the registration of now, calls that were not reported and have left the log are lost, and those of this hour that were reported and have left it hide as many new ones"
	case gone != "":
		text += "; there is no copy of it, and no access log: calls that were not reported are lost; new ones are reported under a new replica"
	case x == nil:
		return nil // it is the first
	}
	l.o.Log.Error(text, "replica", s.replica)
	l.tell(code, Figures{}, func(Figures) string { return text })
	return nil
}

// forget closes a file that is not used.
func (x *found) forget() error {
	if x == nil {
		return nil
	}
	return x.Close()
}

// renumber undoes batches: what was in them is put in new ones, of a new epoch. Nobody knows which batches there were besides, and a number
// must not be used twice. The platform keeps the greatest count of an hour, so it may hear of one twice.
func (s *state) renumber() {
	for _, b := range s.batches {
		for _, p := range b.points {
			s.row(s.of(b, p)).final = false
		}
		s.lost = s.lost.plus(b.lost)
		s.size -= b.bytes()
	}
	for _, x := range s.rows { // those too whose batches are not there
		if have := x.settled(); x.sealed != have {
			x.sealed, x.final = have, false
		}
	}
	s.batches, s.last, s.acked = nil, 0, 0
	for _, a := range s.aside { // these are of the new epoch too: no other batch may get their numbers
		s.last = max(s.last, a.seq)
	}
}

// origin is what outlives a ledger and its copy.
type origin struct {
	Replica string `json:"replica"` // UUID
	Epoch   uint64 `json:"epoch"`
}

// begin starts a new epoch. gone is the replica of a ledger that there was and of which s has nothing; "": there was none.
func (l *Ledger) begin(s *state) (gone string, err error) {
	o, err := l.remembered()
	if err != nil {
		return "", err
	}
	s.share()
	first := o.Replica == ""
	if s.replica == "" && l.o.Existing {
		return "", fmt.Errorf("%w, nor a copy of it: the next daemon begins a new one", fs.ErrNotExist)
	}
	if s.replica == "" {
		gone = o.Replica
		if gone != "" && !l.logged() { // nothing is counted twice; with the old one, new counts would be hidden below what the platform has
			o.Replica = ""
		}
	} else {
		o.Replica = s.replica
	}
	o.Replica = cmp.Or(o.Replica, anypoint.NewUUID())
	now := l.o.Now()
	o.Epoch = max(o.Epoch+1, s.epoch+1, uint64(max(0, now.Unix())))
	s.replica, s.epoch, s.began = o.Replica, o.Epoch, now.Unix()
	if s.clock == 0 {
		s.clock, s.sealedAt = now.UnixMilli(), now.UnixMilli()
	}
	if !first { // else one that ends in between would be told that there was a ledger
		if err := l.remember(o); err != nil {
			return "", err
		}
	}
	l.s = s
	if err := l.compact(true); err != nil {
		return "", err
	}
	if first {
		return gone, l.remember(o)
	}
	return gone, nil
}

// remember writes down what outlives the ledger.
func (l *Ledger) remember(o origin) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	f, _, err := replace(l.fs, l.originPath(), func(w io.WriterAt) error {
		_, err := w.WriteAt(append(b, '\n'), 0)
		return err
	})
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}

func (l *Ledger) originPath() string { return filepath.Join(l.dir, "replica") }

// remembered is what a ledger before has left; the zero origin: there was none, or nobody can read it any more. Then the next epoch is greater by
// the clock.
func (l *Ledger) remembered() (o origin, err error) {
	f, err := l.fs.open(l.originPath())
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	b, err := readAll(f)
	if err = errors.Join(err, f.Close()); err == nil {
		_ = json.Unmarshal(b, &o)
	}
	return o, err
}

// logged reports whether there are lines that may have been counted before: who lost the ledger counts them again, and the platform keeps the
// greatest count of a replica.
func (l *Ledger) logged() bool {
	names, err := filepath.Glob(filepath.Join(cmp.Or(l.o.AccessLog, l.dir), LogName+"*"))
	for _, name := range names {
		info, e := os.Stat(name)
		if e != nil || info.Size() > 0 {
			return true
		}
	}
	return err != nil
}
