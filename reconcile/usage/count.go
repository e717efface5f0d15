package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Gateway is what is asked of the one Envoy that writes the log. Its functions return an error while there is none.
type Gateway struct {
	Reopen  func(context.Context) error                                         // open logs anew
	Stats   func(ctx context.Context, filter string) (map[string]uint64, error) // counters and gauges whose names match an RE2 expression
	Process func(ctx context.Context) (pid int, err error)                      // another one counts from zero
}

// The bounds of asking Envoy.
const (
	FlushInterval = 100 * time.Millisecond // of Envoy's logs: its --file-flush-interval-msec
	flushed       = 3 * FlushInterval      // after which what was logged is in the file
	flushLook     = 20 * time.Millisecond
	logged        = 60 * time.Millisecond // from the end of a request to its line in a buffer, at most
	slowest       = 5 * time.Second       // that an Envoy without requests is waited for
	newLogIn      = 2 * time.Second       // for which a new log is waited for
	checkEvery    = 5 * time.Minute
	checkAgain    = 10 * time.Second // until there is something to compare with
	sparing       = 100              // times as long as a look for trouble took, Envoy is left alone after it
	aFew          = 16               // requests that counters, read one after the other, may disagree by
)

const (
	requestsFilter = `^(http\..*\.downstream_rq_(total|active)|filesystem\.write_failed)$`
	failedFilter   = `^filesystem\.write_failed$`
	idleFilter     = `^(http\..*\.downstream_rq_active|filesystem\.write_total_buffered)$`
	failedName     = "filesystem.write_failed"
	adminStats     = "http.admin." // questions to Envoy itself are in no log
)

// Counter reads the access log of an Envoy into a ledger, and compares what it read with what Envoy says it did.
type Counter struct {
	*Tail
	ledger *Ledger
	envoy  Gateway
	log    *slog.Logger

	checking sync.Mutex // one at a time; guards base and told
	base     *base
	told     writes

	mu    sync.Mutex
	check Check
}

// Check is what comparisons have found since the Counter was made.
type Check struct {
	At      time.Time // of the last one; zero: there was none
	Checks  uint64    // comparisons that were made
	Missing uint64    // requests that Envoy answered and no line tells of
	Extra   uint64    // lines without a request
	Failed  uint64    // writes of its logs that Envoy could not make
}

// base is what a comparison begins from.
type base struct {
	pid           int
	lines         uint64
	before, after sample // lines were read between them
}

// writes are those of its logs that an Envoy could not make, as far as they were told.
type writes struct {
	pid    int
	failed uint64
}

// sample is what Envoy counted at a time.
type sample struct {
	requests map[string]uint64 // begun, by listener
	ended    uint64            // in all: the others may still get a line
	failed   uint64
}

// NewCounter reads nothing yet. Reopen of o is that of g.
func NewCounter(dir string, l *Ledger, g Gateway, o TailOptions) *Counter {
	o.Reopen = g.Reopen
	t := NewTail(dir, l, o)
	return &Counter{Tail: t, ledger: l, envoy: g, log: t.o.Log}
}

// Run counts until ctx ends, and compares each five minutes, and soon after a line that can not be read or a write that failed.
func (c *Counter) Run(ctx context.Context) {
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { c.Tail.Run(ctx) })
	due, seen, rest := time.Now().Add(time.Second), uint64(0), checkAgain
	for pause(ctx, min(time.Until(due), rest)) {
		began := time.Now()
		trouble := c.trouble(ctx)
		rest = max(checkAgain, sparing*time.Since(began)) // each question holds Envoy's main thread, at 10,000 APIs for 0.3 s
		early := time.Now().Before(due)
		if early && trouble == seen {
			continue
		}
		seen = trouble
		due = time.Now().Add(checkEvery)
		if err := c.compare(ctx, early); err != nil {
			c.log.Debug("usage was not compared with Envoy's own counters", "error", err)
			due = time.Now().Add(checkAgain)
		}
	}
}

// trouble changes when lines may be missing. It tells of writes that failed.
func (c *Counter) trouble(ctx context.Context) uint64 {
	c.checking.Lock()
	defer c.checking.Unlock()
	if pid, err := c.envoy.Process(ctx); err == nil {
		if stats, err := c.envoy.Stats(ctx, failedFilter); err == nil {
			c.unwritable(pid, stats[failedName])
		}
	}
	r := c.Read()
	return r.Unreadable + r.Torn + c.Check().Failed
}

// unwritable tells of writes that failed and were not told of. An Envoy that was there before has some of the time without a daemon, and
// its lines of then are missing too.
func (c *Counter) unwritable(pid int, failed uint64) {
	first := c.told.pid == 0
	if c.told.pid != pid {
		c.told = writes{pid: pid}
	}
	fresh := minus(failed, c.told.failed)
	c.told.failed = failed
	if fresh == 0 {
		return
	}
	c.mu.Lock()
	c.check.Failed += fresh
	c.mu.Unlock()
	if first { // a daemon before may have told of some
		fresh = minus(fresh, c.ledger.Told("log-full")[0])
	}
	if fresh > 0 {
		c.alarm("log-full", Figures{fresh}, func(all Figures) string {
			return fmt.Sprintf("Envoy could not write its logs %d times: is the disk full? Requests of that time are not counted", all[0])
		})
	}
}

// Check is what was found so far.
func (c *Counter) Check() Check {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.check
}

// ReadToEnd counts every request that ended before it was called: it waits until Envoy has written what it holds back.
func (c *Counter) ReadToEnd(ctx context.Context) error {
	c.awaitFlush(ctx)
	late := time.Now().Add(newLogIn)
	for {
		if err := c.Look(ctx); err != nil {
			return err
		}
		if !c.Waiting() || time.Now().After(late) {
			return ctx.Err()
		}
		if !pause(ctx, flushLook) {
			return ctx.Err()
		}
	}
}

// awaitFlush waits until Envoy has nothing in its buffers, twice in a row, after what had ended was logged. One whose buffers are never
// empty, for requests go on, is given the time in which it writes what it holds; one that has none, and is slow, more.
func (c *Counter) awaitFlush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, slowest)
	defer cancel()
	began := time.Now()
	for idle := 0; idle < 2; {
		stats, err := c.envoy.Stats(ctx, idleFilter)
		if err != nil {
			return // it does not run: what it wrote is there
		}
		active, buffered := uint64(0), uint64(0)
		for name, n := range stats {
			switch {
			case strings.HasPrefix(name, adminStats):
			case strings.HasSuffix(name, "_active"):
				active += n
			default:
				buffered += n
			}
		}
		waited := time.Since(began)
		idle++
		if buffered > 0 || active > 0 && waited < logged {
			idle = 0
		}
		if active > 0 && waited >= flushed || idle < 2 && !pause(ctx, flushLook) {
			return
		}
	}
}

// pause reports whether it was not cut short.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// errNothingYet says that there is nothing to compare with: the next time there is.
var errNothingYet = errors.New("this is the first time for this Envoy")

// Compare holds the lines that were read since the last time against the requests that Envoy says it had. A difference of more than what it
// writes in one flush interval is an alarm. An error says that nothing was compared.
func (c *Counter) Compare(ctx context.Context) error { return c.compare(ctx, false) }

// compare, early, leaves a difference that is none yet to the next time: small ones would never add up to one.
func (c *Counter) compare(ctx context.Context, early bool) error {
	c.checking.Lock()
	defer c.checking.Unlock()
	now, err := c.measure(ctx)
	if err != nil {
		return err
	}
	was := c.base
	c.base = &now
	if was == nil || was.pid != now.pid || !now.before.continues(was.after) {
		return errNothingYet
	}
	lines := now.lines - was.lines
	least, most := minus(now.before.ended, was.after.ended), minus(now.after.ended, was.before.ended)
	tolerance := aFew + minus(now.after.ended, now.before.ended)*uint64(FlushInterval)/uint64(flushed)
	missing, extra := minus(least, lines), minus(lines, most)
	if !c.found(missing, extra, tolerance) && early {
		c.base = was
	}
	return nil
}

func minus(a, b uint64) uint64 { return a - min(a, b) }

func (c *Counter) found(missing, extra, tolerance uint64) (differ bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.check.At = c.Tail.o.Now()
	c.check.Checks++
	if missing <= tolerance && extra <= tolerance {
		return false
	}
	if missing > tolerance {
		extra = 0
	} else {
		missing = 0
	}
	c.check.Missing += missing
	c.check.Extra += extra
	c.alarm("unmatched", Figures{missing, extra}, func(all Figures) string {
		return unmatched(all)
	})
	return true
}

// unmatched says what differs. What was lost between the last time that was compared and the end of a daemon is in no figure.
func unmatched(all Figures) string {
	missing := "no requests"
	if all[0] > 0 {
		missing = fmt.Sprintf("at least %d requests", all[0])
	}
	return fmt.Sprintf("%s that Envoy counted have no line in the access log, and %d lines have no request", missing, all[1])
}

func (c *Counter) alarm(code string, more Figures, say func(all Figures) string) {
	text := ""
	c.ledger.Tell(code, more, func(all Figures) string {
		text = say(all)
		return text
	})
	c.log.Error(text)
}

// measure reads the log to its end between two samples.
func (c *Counter) measure(ctx context.Context) (base, error) {
	var b base
	var err error
	if b.pid, err = c.envoy.Process(ctx); err != nil {
		return b, err
	}
	if b.before, err = c.sample(ctx); err != nil {
		return b, err
	}
	c.unwritable(b.pid, b.before.failed)
	if !pause(ctx, flushed) {
		return b, ctx.Err()
	}
	if err := c.ReadToEnd(ctx); err != nil {
		return b, err
	}
	if c.Waiting() {
		return b, errors.New("Envoy has not begun a new access log")
	}
	b.lines = c.Read().Lines
	if b.after, err = c.sample(ctx); err != nil {
		return b, err
	}
	if pid, err := c.envoy.Process(ctx); err != nil || pid != b.pid {
		return b, errors.Join(err, errors.New("Envoy was started anew"))
	}
	c.unwritable(b.pid, b.after.failed)
	return b, nil
}

func (c *Counter) sample(ctx context.Context) (sample, error) {
	stats, err := c.envoy.Stats(ctx, requestsFilter)
	if err != nil {
		return sample{}, err
	}
	s := sample{requests: map[string]uint64{}}
	active := uint64(0)
	for name, n := range stats {
		switch {
		case strings.HasPrefix(name, adminStats):
		case name == failedName:
			s.failed = n
		case strings.HasSuffix(name, "_active"):
			active += n
		default:
			s.requests[name] = n
			s.ended += n
		}
	}
	s.ended = minus(s.ended, active)
	return s, nil
}

// continues reports whether no counter of an older sample has gone or begun anew, as that of a listener that was removed does.
func (s sample) continues(old sample) bool {
	for name, n := range old.requests {
		if now, ok := s.requests[name]; !ok || now < n {
			return false
		}
	}
	return true
}
