package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/metrics"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// reopenLimit is how long counting waits for an Envoy that is told to open its log anew. It tells it again.
const reopenLimit = 2 * time.Second

// lastLook is how long a daemon that ends may read what Envoy has left in the log.
const lastLook = 5 * time.Second

func usageFlags() []cli.Flag {
	return []cli.Flag{&cli.StringFlag{Name: "usage-log", Usage: "`FOLDER` of the access log from which requests are counted (default: the state folder's usage); with --envoy none it must be given, and Envoy see and write to it, or nothing is counted"}}
}

// usageDir is where requests are counted: the ledger and, unless --usage-log says where, the access log.
func (d *daemon) usageDir() string { return filepath.Join(d.at.state, "usage") }

// countUsage opens the ledger, and has Envoy write the log from which it counts. An Envoy that somebody else runs may see another disk,
// and would refuse a listener whose log it can not open: somebody must say where it can. Without a ledger the gateway serves all the same.
func (d *daemon) countUsage() error {
	if d.observe {
		return nil
	}
	if d.choice == "none" && d.usageLog == "" {
		d.log.Info("requests are not counted: an Envoy that somebody else runs needs --usage-log FOLDER for that")
		return nil
	}
	dir := cmp.Or(d.usageLog, d.usageDir())
	l, err := metering.Open(d.usageDir(), metering.Options{Log: d.log, AccessLog: dir, Later: true, Private: d.choice != "none"})
	if taken := (*metering.LogInUseError)(nil); errors.As(err, &taken) { // each would count, and remove, what the other's Envoy writes
		return world(fmt.Errorf("usage: %w (--usage-log names another)", taken))
	}
	if err == nil {
		if err = logCanBegin(dir); err != nil {
			err = errors.Join(err, l.Close())
		}
	}
	if err != nil {
		d.log.Error("requests are not counted before the next start", "error", err)
		return nil
	}
	socket, err := envoy.SocketPath(d.at.run, "envoy-admin.sock")
	if err != nil {
		return world(err)
	}
	admin := envoy.NewAdmin(socket)
	d.usage, d.identified = l, make(chan struct{})
	d.counter = metering.NewCounter(dir, l, metering.Gateway{Stats: admin.Stats, Process: admin.PID, Reopen: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, reopenLimit)
		defer cancel()
		_, err := admin.Post(ctx, "/reopen_logs")
		return err
	}}, metering.TailOptions{Log: d.log, Private: d.choice != "none"})
	d.pipeline.render.UsageLog = filepath.Join(dir, metering.LogName)
	if d.remote.gate != nil {
		const text = "requests to Envoys on other hosts are not counted: they write no access log here"
		d.log.Warn(text)
		l.Raise("remote", text)
	} else {
		l.Clear("remote") // the daemon before may have told it
	}
	return nil
}

// logCanBegin says why Envoy could not open its log, as far as that is seen from here: it would refuse the listener then.
func logCanBegin(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, metering.LogName)); err == nil {
		return nil
	}
	f, err := os.CreateTemp(dir, ".flexgw-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// startCounting begins to read the log, that of a daemon before first. stop is called when Envoy has ended, and reads what it left.
func (d *daemon) startCounting() (stop func()) {
	if d.usage == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var counting sync.WaitGroup
	identified := false
	counting.Go(func() {
		select {
		case <-ctx.Done():
		case <-d.identified: // what a daemon before left in the log is the registration's too
			identified = true
			d.counter.Run(ctx)
		}
	})
	stopDelivering := d.startDelivering()
	return func() {
		cancel()
		counting.Wait()
		limit, enough := context.WithTimeout(context.Background(), lastLook)
		defer enough()
		if !identified {
			d.log.Debug("the access log was not read: the daemon ends before it knows the registration")
		} else if err := d.counter.Look(limit); err != nil {
			d.log.Error("the end of the access log is not counted yet; the next daemon does it", "error", err)
		}
		_ = d.counter.Close()
		stopDelivering()
		if err := d.usage.Close(); err != nil {
			d.log.Error("usage ledger", "error", err)
		}
	}
}

// readToEnd counts every request that ended before it is called, those that Envoy has not written down yet too.
func (d *daemon) readToEnd(ctx context.Context) error {
	if d.counter == nil {
		return nil
	}
	return d.counter.ReadToEnd(ctx)
}

// usageFigures are for the metrics.
func (d *daemon) usageFigures() metrics.Usage {
	if d.usage == nil {
		return metrics.Usage{}
	}
	s, read, check := d.usage.State(), d.counter.Read(), d.counter.Check()
	return metrics.Usage{
		Counting: !s.Gone, Counted: s.Flow.Counted, NoAPI: s.Flow.NoAPI, Sealed: s.Flow.Sealed, Acknowledged: s.Flow.Acknowledged,
		Missing: check.Missing, Extra: check.Extra, Unreadable: read.Unreadable, Lost: s.Lost,
		SpoolBytes: s.Bytes, Pending: s.Pending, Quarantined: s.Quarantined, Alarms: len(s.Alarms),
	}
}
