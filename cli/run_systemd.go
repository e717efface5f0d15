package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/systemd"
)

// unit is the daemon as its service manager sees it. Without one only SIGHUP is left of it.
type unit struct {
	*systemd.Unit
	looked  chan struct{} // closed when the source was looked at for the first time
	stirred chan struct{} // the status line may have changed; holds one
	reloads []reload

	mu   sync.Mutex
	away time.Time // since when the source can not be read, or what it has is refused; zero: neither
}

// reload reads something again that is read once when the daemon starts.
type reload struct {
	what string
	do   func() error
}

func newUnit(u *systemd.Unit) *unit {
	return &unit{Unit: u, looked: make(chan struct{}), stirred: make(chan struct{}, 1)}
}

// onReload adds what a reload reads again; before the daemon runs.
func (u *unit) onReload(what string, do func() error) {
	u.reloads = append(u.reloads, reload{what, do})
}

// saw says that the source was looked at for the first time.
func (u *unit) saw() { close(u.looked) }

// event must not block.
func (u *unit) event(e reconcile.Event) {
	u.mu.Lock()
	switch e.Type {
	case reconcile.SourceUnavailable, reconcile.Refused:
		u.away = e.At
	case reconcile.SourceBack, reconcile.Fetched:
		u.away = time.Time{}
	}
	u.mu.Unlock()
	select {
	case u.stirred <- struct{}{}:
	default:
	}
}

// The times of a unit. What is asked for is asked for again long before it is over.
const (
	lookAgainAt  = 5 * time.Second // for whether the status line has changed, when nothing was told
	extendEvery  = 5 * time.Second
	extendBy     = 20 * time.Second
	longestStart = 15 * time.Minute // until the first look at the source is over; a clone may take a while
	longestStop  = 30 * time.Second // beside the drain
	aliveEvery   = 3                // signs of life within the time that systemd allows for one
	reloadLimit  = time.Minute
)

// manage tells the service manager how the daemon is until end is called, and follows SIGHUP. The loop need not run yet.
func (d *daemon) manage(ctx context.Context) (end func()) {
	hup := make(chan os.Signal, 1)
	// A daemon at a terminal ends when that is closed, as it always did, and nohup is obeyed.
	if !signal.Ignored(syscall.SIGHUP) && (d.unit.Managed() || !terminal(d.env.Stderr)) {
		signal.Notify(hup, syscall.SIGHUP)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer signal.Stop(hup)
		if d.start(ctx, done) {
			d.serving(ctx, done, hup)
		}
		d.stopping(ctx, done)
	}()
	return func() { close(done); <-ended }
}

// notify tells the service manager; that it does not listen is no reason to end.
func (d *daemon) notify(assignments ...string) {
	if err := d.unit.Notify(assignments...); err != nil {
		d.log.Warn("the service manager was not told", "error", err)
	}
}

// start asks for more time until the source was looked at once, and says then that the daemon is ready: it serves, the last good
// state if nothing better can be had, or says in its status why it serves nothing. Whoever waits for more than that asks flexgw probe.
func (d *daemon) start(ctx context.Context, done <-chan struct{}) bool {
	late := time.After(longestStart)
	more := time.NewTicker(extendEvery)
	defer more.Stop()
	d.notify(systemd.Status("reading " + cmp.Or(d.source, "nothing: it waits for flexgw apply")))
	for {
		select {
		case <-d.unit.looked:
			for _, name := range d.unit.Sockets.Rest() { // by now everybody has taken theirs
				d.log.Warn("a socket of the service manager is not for this daemon, and was closed", "socket", name)
			}
			d.notify("READY=1", systemd.Status(d.statusLine()))
			return true
		case <-ctx.Done():
			return false
		case <-done:
			return false
		case <-more.C:
			select {
			case <-late:
				more.Stop()
			default:
				d.notify(systemd.Extend(extendBy))
			}
		}
	}
}

// serving tells of life and of the status until ctx ends.
func (d *daemon) serving(ctx context.Context, done <-chan struct{}, hup <-chan os.Signal) {
	alive := make(<-chan time.Time)
	if w := d.unit.Watchdog; w > 0 {
		t := time.NewTicker(w / aliveEvery)
		defer t.Stop()
		alive = t.C
		d.beat(ctx)
	}
	look := time.NewTicker(lookAgainAt)
	defer look.Stop()
	reloaded := make(chan struct{}, 1)
	reloading, again, said := false, false, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-alive:
			d.beat(ctx)
			continue
		case <-hup:
			if again = reloading; !reloading { // else once more when this one is over
				reloading = true
				go func() { d.reload(ctx); reloaded <- struct{}{} }()
			}
			continue
		case <-reloaded:
			if reloading = again; again {
				again = false
				go func() { d.reload(ctx); reloaded <- struct{}{} }()
			} else {
				d.notify("READY=1")
			}
		case <-d.unit.stirred:
		case <-look.C:
		}
		if now := d.statusLine(); now != said && d.unit.Managed() {
			said = now
			d.notify(systemd.Status(now))
		}
	}
}

// beat gives a sign of life, if the loop gives one.
func (d *daemon) beat(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, d.unit.Watchdog/aliveEvery)
	defer cancel()
	if err := d.loop.Alive(limit); err != nil {
		if ctx.Err() == nil {
			d.log.Error("the loop does not move; systemd is not told that the daemon is alive, and will start another", "error", err)
		}
		return
	}
	d.notify("WATCHDOG=1")
}

// reload reads credentials and certificates again, and looks at the source. What can not be read stays as it was.
func (d *daemon) reload(ctx context.Context) {
	if err := d.unit.Reloading(); err != nil {
		d.log.Warn("the service manager was not told", "error", err)
	}
	d.log.Info("told to reload: the source is looked at, and credentials and certificates are read again")
	for _, r := range d.unit.reloads {
		if err := r.do(); err != nil {
			d.log.Error(r.what+" can not be read again; what was read before stays", "error", err)
		}
	}
	limit, cancel := context.WithTimeout(ctx, reloadLimit)
	defer cancel()
	changed, err := d.env.keys.load(d.env, d.ageKeys)
	switch {
	case err != nil:
		d.log.Error("age keys can not be read again; what was read before stays", "error", err)
	case changed: // what could not be opened is tried again
		d.log.Info("age keys were read again, and are others")
		if _, err := d.loop.Sync(limit, "", "reload"); err == nil {
			return
		}
	}
	if err := d.loop.Look(limit); err != nil && ctx.Err() == nil {
		d.log.Warn("the source could not be looked at", "error", err)
	}
}

// stopping asks for time until the daemon, and its Envoy with it, has ended.
func (d *daemon) stopping(ctx context.Context, done <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-done:
	}
	if ctx.Err() == nil { // nobody told it to
		d.notify("STOPPING=1")
		return
	}
	d.notify("STOPPING=1", systemd.Extend(extendBy), systemd.Status("ending; requests may take "+d.drain.String()))
	late := time.After(d.drain + longestStop)
	more := time.NewTicker(extendEvery)
	defer more.Stop()
	for {
		select {
		case <-done:
			return
		case <-late:
			return // it hangs: systemd may end it
		case <-more.C:
			d.notify("WATCHDOG=1", systemd.Extend(extendBy))
		}
	}
}

// statusLine is what `systemctl status` shows.
func (d *daemon) statusLine() string {
	r := d.loop.Summary()
	d.unit.mu.Lock()
	away := d.unit.away
	d.unit.mu.Unlock()
	return statusLine(r, away)
}

func statusLine(r status.Report, away time.Time) string {
	connected := 0
	for _, e := range r.Envoys {
		if e.Connected {
			connected++
		}
	}
	programmed, _ := r.Condition(status.Programmed)
	var parts []string
	switch {
	case r.Revision != "":
		parts = append(parts, "serving "+short(r.Revision))
	case programmed.Reason == "Observed":
		parts = append(parts, "observing")
	case programmed.Reason == "NothingAccepted":
		parts = append(parts, "serving nothing yet")
	default:
		parts = append(parts, "nothing is live yet ("+programmed.Reason+")")
	}
	plural := "s"
	if connected == 1 {
		plural = ""
	}
	parts[0] += fmt.Sprintf(", %d Envoy%s connected", connected, plural)
	if f, _ := r.Condition(status.Fetched); f.Status == status.False {
		since := ""
		if !away.IsZero() {
			since = " since " + away.UTC().Format(time.RFC3339)
		}
		if f.Reason == "SourceUnavailable" {
			parts = append(parts, "the source is away"+since+": "+f.Message)
		} else {
			parts = append(parts, "the source is refused"+since+" ("+f.Reason+"): "+f.Message)
		}
	} else if f.Reason == "Fetching" {
		parts = append(parts, f.Message)
	}
	if x := r.Suspended; x != nil {
		parts = append(parts, "suspended: "+x.Reason)
	}
	if x := r.Pinned; x != nil {
		parts = append(parts, "pinned in place of "+short(x.From))
	}
	if x := r.Waiting; x != nil {
		parts = append(parts, "revision "+short(x.Revision)+" waits until "+x.End())
	}
	if a, _ := r.Condition(status.Accepted); a.Status == status.False {
		parts = append(parts, "the newest revision is refused: "+a.Message)
	} else if r.Revision != "" && programmed.Status == status.False {
		parts = append(parts, "the newest revision is not live ("+programmed.Reason+")")
	}
	return strings.Join(parts, "; ")
}
