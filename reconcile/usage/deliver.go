package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// Reason is why usage is reported, or is not: a CamelCase word that scripts may rely on.
type Reason string

// The reasons of a Delivery.
const (
	Reported      Reason = "Reported"      // all that was sealed is acknowledged
	Waiting       Reason = "Waiting"       // it is sent again later, or was not tried yet
	Rejected      Reason = "Rejected"      // the platform does not take the registration's certificate
	Gone          Reason = "Gone"          // the gateway was deleted on the platform
	Misconfigured Reason = "Misconfigured" // the metering URL, or a proxy on the way to it, is not right
	WireUnknown   Reason = "WireUnknown"   // the server is the real platform, whose reports nobody outside knows
	Quarantined   Reason = "Quarantined"   // batches were refused and set aside
	SpoolFull     Reason = "SpoolFull"     // there is no room for new hours and APIs
	SpoolBroken   Reason = "SpoolBroken"   // the ledger cannot be opened or written
	Unregistered  Reason = "Unregistered"
	AirGapped     Reason = "AirGapped"
)

// The times of a Deliverer.
const (
	sealEvery    = 5 * time.Minute
	hourGrace    = 5 * time.Second // after an hour, for the lines of it that are still on their way
	firstRetry   = time.Second
	longestRetry = 15 * time.Minute
	lookAgain    = 24 * time.Hour // after somebody should have done something
	lookSooner   = time.Hour      // likewise, where others may have done it
	lastWords    = 5 * time.Second
	maxSkew      = 5 * time.Minute // of the platform's clock against ours, without a word

	flushTries = 5 // of a flush, with 250, 500, 1,000 … milliseconds between them
	flushPause = 250 * time.Millisecond
	longPause  = 5 * time.Second // that a platform asks for, and nobody who flushes waits for
	takeOver   = time.Second     // that a flush leaves to an attempt which nobody ordered
)

// Spool is what a Deliverer needs of a Ledger.
type Spool interface {
	Seal(now time.Time) error
	Next() (b anypoint.Batch, ok bool)
	Ack(seq uint64) error
	Quarantine(seq uint64, why string) error
	Split(seq uint64) error
	// Aside reports whether there are batches between two, and all of them were set aside.
	Aside(after, before uint64) bool
	Quarantined() (bs []anypoint.Batch, why []string)
	Backlog() Backlog
	Deliverable(yes bool)
}

var _ Spool = (*Ledger)(nil)

// Backlog is what a Spool holds back.
type Backlog struct {
	Requests    uint64    // that were counted for a registration and are not acknowledged
	Oldest      time.Time // the hour that the oldest of them belong to; zero: there are none
	Quarantined uint64    // requests in batches that were set aside
	Lost        uint64    // requests that were dropped because the spool was full, ever
	Full        bool      // it is full now
	Unopened    string    // why it can not be opened yet, and requests wait in the access log; "": it is open
}

// Backlog is what the ledger holds back.
func (l *Ledger) Backlog() Backlog {
	now := l.o.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := Backlog{Lost: l.s.everLost.calls, Full: l.full(now)}
	if err := cmp.Or(l.unopened, l.gone); err != nil {
		b.Unopened = err.Error()
	}
	for k, x := range l.s.rows {
		if k.identity == 0 || k.api == 0 {
			continue
		}
		b.Quarantined += x.aside
		n := x.counted - x.settled()
		b.Requests += n
		if hour := startOf(k.hour); n > 0 && (b.Oldest.IsZero() || hour.Before(b.Oldest)) {
			b.Oldest = hour
		}
	}
	return b
}

// Delivery is how far usage got: the condition UsageReported and the figures behind it.
type Delivery struct {
	Status  string // True, False or Unknown
	Reason  Reason
	Message string
	Since   time.Time // that Status and Reason are so
	Backlog

	Acked    time.Time         // when the platform acknowledged something last; zero: not since the start
	NextTry  time.Time         // zero: nothing is to be tried again
	Batches  map[string]uint64 // that were sent, by what became of them: acknowledged, retried, refused, stopped
	Failures int               // in a row
	Skew     time.Duration     // of the platform's clock against ours
}

// Results are the keys of Delivery.Batches.
func Results() []string { return []string{"acknowledged", "retried", "refused", "stopped"} }

// Target is the registration in force, as far as usage is concerned.
type Target struct {
	AgentID string
	Sink    *Sink
	Held    string // why nothing is sent yet; "": it is
	Wrong   bool   // it is held until somebody does something
}

// silent says that nothing is sent.
func (d *Deliverer) silent() bool { return d.sink == nil || d.AirGapped || d.sink.Held != "" }

// Deliverer seals what was counted and sends it. One goroutine, Run, does all of it; the other methods ask it to.
type Deliverer struct {
	Spool     Spool
	AirGapped bool // nothing is sent
	// Catch reads the access log to its end, with what Envoy still holds back; nil: nothing reads one.
	Catch  func(ctx context.Context) error
	Turned func(Delivery) // called when Status or Reason changed; nil: nobody is told
	Log    *slog.Logger
	Now    func() time.Time
	After  func(time.Duration) <-chan time.Time // nil: time.After
	Jitter func() float64                       // from 0 to below 1; nil: math/rand

	once   sync.Once
	wake   chan struct{}
	orders chan order
	ends   sync.Once
	over   chan struct{} // closed when Run has ended: nobody takes orders any more

	mu     sync.Mutex // guards what follows
	target *Target
	fresh  bool   // target was changed and Run has not seen it
	aimed  bool   // Use was called: it is known whether there is a registration
	stop   func() // ends the attempt at hand; nil: there is none, or somebody ordered it
	state  Delivery

	// What follows belongs to Run.
	sink   *Target
	sealed time.Time // when Seal was called last
	last   error     // of the last attempt that came to an end; nil: it was acknowledged, or there was none
	tried  bool      // there was an attempt with this target
	again  time.Time // before which nothing is sent
	broken error     // of the spool
	breaks int       // how often in a row
	skewed bool      // it was told that clocks differ
	gap    hole      // of the platform's batches
	cut    bool      // an attempt was told to stop before the platform answered
	repeat bool      // a flush tries again: what fails now has failed before
	ending bool      // Run's context is done
	aside  []uint64  // batches that were set aside in the flush at hand; nil: there is none
}

// hole is what a platform misses of batches before the one that it accepted. The zero hole: it misses none.
type hole struct {
	open  bool
	after uint64 // the last that it has before it
	told  bool
}

// order is a flush.
type order struct {
	ctx  context.Context
	done chan error
}

func (d *Deliverer) init() {
	d.once.Do(func() {
		d.wake, d.orders = make(chan struct{}, 1), make(chan order)
		d.over = make(chan struct{})
		if d.After == nil {
			d.After = time.After
		}
		if d.Jitter == nil {
			d.Jitter = rand.Float64
		}
		d.state.Batches = map[string]uint64{}
	})
}

// Use says which registration is in force from now on; nil: none. What was wrong with the one before is forgotten.
func (d *Deliverer) Use(t *Target) {
	d.init()
	d.mu.Lock()
	d.target, d.fresh, d.aimed = t, true, true
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Again forgets what was wrong, and tries at once: something on the way to the platform may have changed.
func (d *Deliverer) Again() {
	d.init()
	d.mu.Lock()
	d.fresh = true
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Delivery is how things stand.
func (d *Deliverer) Delivery() Delivery {
	d.init()
	backlog := d.Spool.Backlog()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	s.Backlog = backlog
	s.Batches = map[string]uint64{}
	for _, k := range Results() {
		s.Batches[k] = d.state.Batches[k]
	}
	if s.Status == "" {
		s.Status, s.Reason, s.Message = "Unknown", Waiting, "nothing was sent yet"
	}
	if backlog.Unopened != "" { // whoever is registered
		s.Status, s.Reason, s.Message = "False", SpoolBroken, "the ledger of usage cannot be opened, and requests wait in the access log: "+backlog.Unopened
		return s
	}
	if s.Reason == Reported && backlog.Requests > 0 {
		s.Message = "the platform has all that was sealed"
	}
	if s.Reason != Unregistered {
		s.Message = strings.TrimPrefix(s.Message+"; "+waits(backlog), "; ")
	}
	return s
}

// Flush reads the access log to its end and sends all that waits, at once and whatever was said before, and some times more when what
// keeps it may pass in seconds. It returns when all is acknowledged, or why it is not; trying goes on. An attempt that is under way has a
// second to come to an end.
func (d *Deliverer) Flush(ctx context.Context) error {
	d.init()
	o := order{ctx, make(chan error, 1)}
	for taken := false; !taken; {
		select {
		case d.orders <- o:
			taken = true
		case <-d.over:
			return errEnding
		case <-ctx.Done():
			return late(ctx)
		case <-time.After(takeOver):
			d.cutOff()
		}
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return late(ctx)
	}
}

// attempt works as it was planned to, until a flush takes over.
func (d *Deliverer) attempt(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	set := func(f func()) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stop = f
	}
	set(stop)
	d.work(ctx, false)
	set(nil)
	stop()
}

// cutOff ends an attempt that was planned: the platform may be one that does not answer. What was sent is sent again, which does no harm.
func (d *Deliverer) cutOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.stop()
	}
}

// late is what a flush ends with whose context is done.
func late(ctx context.Context) error {
	return fmt.Errorf("the platform has not answered in time, and trying goes on: %w", ctx.Err())
}

var errEnding = errors.New("the daemon ends; what waits is kept for the next one")

// Run delivers until ctx is done. Then it seals what there is and sends it within five seconds, unless the platform is known not
// to take it; whoever counts must have ended before.
func (d *Deliverer) Run(ctx context.Context) {
	d.init()
	defer d.ends.Do(func() { close(d.over) })
	for ctx.Err() == nil {
		d.follow()
		d.attempt(ctx)
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-d.After(d.wait()):
		case o := <-d.orders:
			o.done <- d.flush(o.ctx, ctx)
		}
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	d.follow()
	d.ending = true
	if !d.Now().Before(d.again) {
		d.sealed, d.tried = time.Time{}, true // nobody wants to know any more whether the platform can be reached
		d.work(limit, false)
	}
}

// follow takes over another registration.
func (d *Deliverer) follow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fresh {
		if d.sink != d.target {
			d.sink, d.tried, d.last = d.target, false, nil
		}
		d.fresh, d.again, d.state.Failures = false, time.Time{}, 0
	}
}

// wait is how long nothing is to be done. Intervals are measured from when they began, hours from the clock.
func (d *Deliverer) wait() time.Duration {
	now := d.Now()
	switch {
	case d.silent():
		return time.Hour
	case !d.again.IsZero():
		return max(d.again.Sub(now), 0) // what is sealed in the meantime would only wait too
	}
	closed := hourStart(now.Add(-hourGrace)).Add(time.Hour + hourGrace)
	return max(min(closed.Sub(now), sealEvery-now.Sub(d.sealed)), 0)
}

// hourStart is that of the hour of t.
func hourStart(t time.Time) time.Time { return t.UTC().Truncate(time.Hour) }

// due says whether something is to be sealed.
func (d *Deliverer) due(now time.Time) bool {
	return d.sealed.IsZero() || now.Sub(d.sealed) >= sealEvery || now.Before(d.sealed) || hourStart(now.Add(-hourGrace)).After(hourStart(d.sealed.Add(-hourGrace)))
}

// flush is an order. It ends when the context of who ordered it is done, or that of Run.
func (d *Deliverer) flush(ordered, run context.Context) error {
	ctx, cancel := context.WithCancel(ordered)
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	var unread error
	if d.Catch != nil {
		if err := d.Catch(ctx); err != nil && ctx.Err() == nil {
			unread = fmt.Errorf("the access log could not be read to its end: %w", err)
		}
	}
	d.follow()
	d.sealed, d.aside = time.Time{}, []uint64{}
	d.work(ctx, true)
	for try := 1; try < flushTries && d.pause(ctx, flushPause<<(try-1)); try++ {
		d.follow()
		d.repeat = true
		d.work(ctx, true)
		d.repeat = false
	}
	aside := d.aside
	d.aside = nil
	switch {
	case run.Err() != nil:
		return errEnding
	case ordered.Err() != nil:
		return late(ordered)
	}
	var sent error
	if refused := d.stillAside(aside); refused != "" {
		sent = errors.New(refused)
	} else if d.broken != nil || d.last != nil || d.silent() {
		sent = errors.New(d.Delivery().Message)
	}
	switch {
	case unread != nil && sent != nil:
		return fmt.Errorf("%w; %w", unread, sent)
	case unread != nil:
		return fmt.Errorf("%w; the platform has what was counted until then", unread)
	}
	return sent
}

// stillAside says which of the batches are set aside, and why; "": later ones that the platform has taken have what was in them.
func (d *Deliverer) stillAside(seqs []uint64) string {
	if len(seqs) == 0 {
		return ""
	}
	n, text := 0, ""
	batches, whys := d.Spool.Quarantined()
	for i, b := range batches {
		if slices.Contains(seqs, b.Seq) {
			n++
			text = whys[i]
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return "a batch was set aside (flexgw usage show has it): " + text
	}
	return fmt.Sprintf("%d batches were set aside (flexgw usage show has them), the last one: %s", n, text)
}

// pause waits before a flush tries again; false: that does not help, or there is no time for it.
func (d *Deliverer) pause(ctx context.Context, least time.Duration) bool {
	var retry *RetryError
	if d.cut || d.broken != nil || !errors.As(d.last, &retry) || retry.After > longPause {
		return false
	}
	wait := max(least, retry.After)
	if limit, ok := ctx.Deadline(); ok && time.Until(limit) <= wait {
		return false
	}
	select {
	case <-d.After(wait):
		return true
	case <-ctx.Done():
	}
	return false
}

// work seals and sends until nothing is left to do now. Nothing is sealed while a batch waits: the next one will have it all.
func (d *Deliverer) work(ctx context.Context, force bool) {
	defer d.settle()
	if d.silent() {
		return
	}
	now := d.Now()
	if ctx.Err() != nil || !force && now.Before(d.again) { // what was planned holds
		return
	}
	planned := d.again
	d.again, d.cut = time.Time{}, false
	defer func() {
		if d.cut && d.last != nil { // that is still how things stand
			d.again = cmp.Or(planned, now)
		}
	}()
	for more := true; more && ctx.Err() == nil; {
		if more, d.broken = d.next(ctx); d.broken != nil {
			d.again = d.Now().Add(d.backoff(d.breaks))
			d.breaks++
			return
		}
		d.breaks = 0
	}
}

// next does the next thing that is to be done now; more: there may be another. The error is the spool's.
func (d *Deliverer) next(ctx context.Context) (more bool, err error) {
	b, ok := d.Spool.Next()
	switch {
	case ok && b.AgentID != d.sink.AgentID:
		d.log().Error("usage that was counted for another registration is set aside", "seq", b.Seq, "agent", b.AgentID)
		return true, d.setAside(b.Seq, "counted for the registration of "+b.AgentID+", and the one in force is of "+d.sink.AgentID)
	case ok:
		err := d.send(ctx, b)
		return d.last == nil && !d.cut, err
	}
	if now := d.Now(); d.due(now) {
		if err := d.Spool.Seal(now); err != nil {
			return false, err
		}
		d.sealed = now
		return true, nil
	}
	if !d.tried || d.last != nil { // whether the platform can be reached is to be known before there is something to report
		d.attempted(d.sink.Sink.Hello(ctx))
	}
	return false, nil
}

// send delivers one batch and has the spool remember what became of it. The error is the spool's.
func (d *Deliverer) send(ctx context.Context, b anypoint.Batch) error {
	acked, err := d.sink.Sink.Deliver(ctx, b)
	var refused *RefusedError
	switch {
	case err == nil && d.missing(acked, b.Seq): // it lost some: once more from there
		d.attempted(&RetryError{Err: fmt.Errorf("the platform has batches up to %d only, and %d was sent", acked, b.Seq)})
		return d.Spool.Ack(acked)
	case err == nil:
		d.tellGap(acked, b.Seq)
		if acked > b.Seq {
			d.log().Warn("the platform has batches of this replica that this ledger never sent: was the state folder brought back from a copy?", "sent", b.Seq, "acknowledged", acked)
		}
		d.attempted(nil)
		d.mu.Lock()
		d.state.Batches["acknowledged"]++
		d.state.Acked = d.Now()
		d.mu.Unlock()
		return d.Spool.Ack(b.Seq)
	case errors.As(err, &refused):
		d.attempted(nil)
		d.count("refused")
		if refused.Status == http.StatusRequestEntityTooLarge && len(b.Points) > 1 {
			return d.Spool.Split(b.Seq)
		}
		d.log().Error("a batch of usage was refused and is set aside; flexgw usage show has it", "seq", b.Seq, "error", err)
		return d.setAside(b.Seq, err.Error())
	}
	d.attempted(err)
	return nil
}

// missing reports whether a platform that accepted a batch misses others that were not known to be missing. Those that were set aside here are
// known.
func (d *Deliverer) missing(acked, sent uint64) bool {
	if acked >= sent || d.gap.open && d.gap.after == acked {
		return false
	}
	d.gap = hole{open: true, after: acked, told: d.Spool.Aside(acked, sent)}
	return !d.gap.told
}

// tellGap tells once of batches that the platform misses and that are not here any more: what was before the one that it accepted is
// acknowledged and gone. It tells when it has them after all, too.
func (d *Deliverer) tellGap(acked, sent uint64) {
	switch {
	case acked < sent && !d.gap.told:
		d.gap.told = true
		d.log().Warn("the platform misses batches of this replica that are not here any more", "has", acked, "sent", sent)
	case acked >= sent && d.gap.open:
		d.log().Info("the platform misses no batch of this replica any more", "has", acked)
		d.gap = hole{}
	}
}

func (d *Deliverer) setAside(seq uint64, why string) error {
	err := d.Spool.Quarantine(seq, why)
	if err == nil && d.aside != nil {
		d.aside = append(d.aside, seq)
	}
	return err
}

// attempted writes down what came of speaking to the platform, and when that is to be done again.
func (d *Deliverer) attempted(err error) {
	var retry *RetryError
	var stopped *StoppedError
	now, failures := d.Now(), d.failures()
	if d.repeat {
		failures = max(failures-1, 0)
	}
	switch {
	case errors.As(err, &stopped):
		d.again = now.Add(lookAgain)
		if stopped.Reason == Rejected || stopped.Reason == Misconfigured {
			d.again = now.Add(lookSooner)
		}
		d.count("stopped")
	case errors.As(err, &retry):
		d.again = now.Add(max(d.backoff(failures), retry.After))
		d.count("retried")
	case err != nil: // told to stop
		d.cut = true
		return
	}
	d.last, d.tried = err, true
	skew := d.sink.Sink.Skew()
	if far := skew.Abs() > maxSkew; far != d.skewed {
		if d.skewed = far; far {
			d.log().Warn("the platform has another time than this host: requests are counted in the hours of this host's clock", "ahead", skew)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Failures = failures + 1; err == nil {
		d.state.Failures = 0
	}
	d.state.Skew = skew
}

func (d *Deliverer) failures() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Failures
}

func (d *Deliverer) count(result string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Batches[result]++
}

// backoff is somewhere between nothing and 1, 2, 4 … seconds: many hosts that lost a platform do not come back in step.
func (d *Deliverer) backoff(failures int) time.Duration {
	limit := longestRetry
	if failures < 10 {
		limit = min(firstRetry<<failures, longestRetry)
	}
	return time.Duration(d.Jitter() * float64(limit))
}

func (d *Deliverer) log() *slog.Logger {
	if d.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Log
}

// settle says how things stand after work, and tells when that is news.
func (d *Deliverer) settle() {
	d.Spool.Deliverable(!d.silent() && d.sink.Sink.known)
	backlog := d.Spool.Backlog()
	status, reason, message := d.judge(backlog)
	d.mu.Lock()
	if !d.aimed {
		d.mu.Unlock()
		return
	}
	turned := status != d.state.Status || reason != d.state.Reason
	if turned {
		d.state.Since = d.Now()
	}
	d.state.Status, d.state.Reason, d.state.Message, d.state.NextTry = status, reason, message, d.again
	d.mu.Unlock()
	if turned && d.Turned != nil {
		d.Turned(d.Delivery())
	}
}

// judge says what is so whatever waits.
func (d *Deliverer) judge(b Backlog) (status string, reason Reason, message string) {
	var stopped *StoppedError
	switch {
	case d.AirGapped:
		return "Unknown", AirGapped, "nothing is sent (--air-gapped): flexgw usage export takes the counts away"
	case d.sink == nil:
		return "Unknown", Unregistered, "there is no registration: requests are counted, and never reported"
	case d.sink.Wrong:
		return "False", Misconfigured, d.sink.Held
	case d.sink.Held != "":
		return "Unknown", Waiting, d.sink.Held
	case d.broken != nil:
		return "False", SpoolBroken, fmt.Sprintf("the ledger of usage cannot be written: %v", d.broken)
	case d.cut && d.ending:
		return "Unknown", Waiting, "the process ended before the platform answered"
	case errors.As(d.last, &stopped):
		return "False", stopped.Reason, d.last.Error()
	case d.last != nil:
		return "False", Waiting, fmt.Sprintf("%v; tried again at %s", d.last, d.again.UTC().Format(time.RFC3339))
	case b.Full:
		return "False", SpoolFull, fmt.Sprintf("the ledger of usage is full: calls of new hours and APIs are lost, %d so far", b.Lost)
	case b.Quarantined > 0:
		return "False", Quarantined, fmt.Sprintf("%s set aside (flexgw usage show says why)", were(b.Quarantined))
	case !d.tried:
		return "Unknown", Waiting, "nothing was sent yet"
	}
	return "True", Reported, ""
}

func were(n uint64) string {
	if n == 1 {
		return "1 request was"
	}
	return fmt.Sprintf("%d requests were", n)
}

// waits says how many requests wait, and since when.
func waits(b Backlog) string {
	text := fmt.Sprintf("%d requests wait", b.Requests)
	switch b.Requests {
	case 0:
		return "no request waits"
	case 1:
		text = "1 request waits"
	}
	if b.Oldest.IsZero() {
		return text
	}
	return text + ", of the hour of " + b.Oldest.UTC().Format(time.RFC3339) + " and later"
}
