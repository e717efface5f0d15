package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/status"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// Which registration is in force: docs/anypoint.md, "The daemon".

func registrationFlags() []cli.Flag {
	return []cli.Flag{&cli.StringFlag{Name: "registration", Usage: "the registration in `FILE` (default: registration.yaml beside the declarations of a folder); read again when it changes"}}
}

// registrar keeps the registration that is in force: the last one that could be read.
type registrar struct {
	path  string // "": there is nowhere to look. Guarded by mu once it has started
	named bool   // by a flag: that there is none is no way to be unregistered
	now   func() time.Time
	log   *slog.Logger
	// follow are told of the first registration, nil if there is none or it can not be read, and of each that takes its place. Set before start.
	follow []func(*anypoint.File)

	uncounted bool // requests are not counted, whatever is registered. Set before start

	looking sync.Mutex // one look at a time, those who follow it included: before mu

	mu      sync.Mutex // guards what follows
	file    *anypoint.File
	wrong   error // why the file of now can not be read; nil: it was, or there is none
	gone    bool  // it was read, and is not there any more
	stamp   string
	doubted string // the stamp of a file that could not be read once: somebody may be writing it

	renewal *renewal // nil: nobody renews it by itself. Set before start

	warned   time.Duration // the threshold that was told last; 0: none
	warnedAt time.Time
}

// registrationOf finds the registration that the flags mean.
func (d *daemon) registrationOf(c *cli.Context) error {
	if err := given(c, "registration"); err != nil {
		return err
	}
	r := &registrar{now: d.env.clock, log: d.log}
	d.registrar = r
	switch {
	case c.IsSet("registration"):
		r.path, r.named = c.String("registration"), true // it may be mounted later: that it is not there keeps nobody from serving
	case d.git == nil && d.source != "":
		r.path = registrationBeside(d.source)
	}
	r.enter()
	d.onRegistration(d.countFor)
	d.unit.onReload("registration", func() error {
		defer r.renewal.again()
		return r.look(true)
	})
	var err error
	r.renewal, err = d.renewalOf(c)
	return err
}

// where is the file that is looked at; "": there is nowhere to look.
func (r *registrar) where() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.path
}

// enter goes on to the file in a folder, which may be mounted late. It is called while nobody else uses path.
func (r *registrar) enter() {
	if info, err := os.Stat(r.path); err == nil && info.IsDir() {
		r.path = filepath.Join(r.path, anypoint.FileName)
	}
}

// countFor has usage counted and reported as a registration says.
func (d *daemon) countFor(f *anypoint.File) {
	var err error
	if wrong := d.registrar.unread(); f == nil && wrong != nil {
		err = d.reportLater(wrong)
	} else {
		err = d.reportFor(f)
	}
	if err != nil {
		d.log.Error("usage can not be reported for the registration", "error", err)
	}
}

// inForce is the registration that is; nil: none.
func (r *registrar) inForce() *anypoint.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file
}

// unread is why the file that is there can not be read; nil: it was, or there is none.
func (r *registrar) unread() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// onRegistration has f told of the registration when the daemon starts (nil: there is none, or it can not be read), and of each that takes
// its place. It is called before the daemon runs.
func (d *daemon) onRegistration(f func(*anypoint.File)) {
	d.registrar.follow = append(d.registrar.follow, f)
}

// lookEvery is how often it is looked whether the file has changed.
const lookEvery = time.Second

// start reads the registration, tells whoever follows it, and keeps looking until ctx ends.
func (r *registrar) start(ctx context.Context, serve func(func() error)) {
	if err := r.look(true); err != nil {
		r.broken(err)
	}
	r.mu.Lock()
	f, wrong, path := r.file, r.wrong, r.path
	r.mu.Unlock()
	if f == nil {
		if wrong == nil {
			r.log.Info("not registered with Anypoint: "+r.counting("usage is counted, and reported to nobody")+"; flexgw register makes a registration", "looked for", path)
		}
		r.tell(nil)
	}
	if path == "" {
		return
	}
	if r.renewal != nil {
		serve(func() error { return r.renewal.run(ctx) })
	}
	serve(func() error {
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				if err := r.look(false); err != nil {
					r.broken(err)
				}
				r.warn()
				r.renewal.look()
			}
		}
	})
}

// broken tells why a registration can not be used. The lines around the place are not shown: they may be of a key.
func (r *registrar) broken(err error) {
	then := "what was read before stays in force"
	if r.inForce() == nil {
		then = r.counting("usage is counted for the gateway for which it was, and not reported until it can")
	}
	args := []any{"error", err}
	if e := (*anypoint.FileError)(nil); errors.As(err, &e) {
		args = append(args, "code", e.List[0].Code, "hint", e.List[0].Hint)
	}
	r.log.Error("the registration can not be used; "+then, args...)
}

// counting is what becomes of usage, in words, where it is counted.
func (r *registrar) counting(words string) string {
	if r.uncounted {
		return "requests are not counted"
	}
	return words
}

func (r *registrar) tell(f *anypoint.File) {
	for _, follow := range r.follow {
		follow(f)
	}
}

// look reads the file if it is another one than before; at once: even if somebody may still be writing it. It returns what is wrong
// with it once.
func (r *registrar) look(atOnce bool) error {
	r.looking.Lock() // of two that are told, the later one is told last
	defer r.looking.Unlock()
	r.mu.Lock()
	if r.path == "" {
		r.mu.Unlock()
		return nil
	}
	r.enter()
	stamp := stampOf(r.path, filepath.Join(filepath.Dir(r.path), anypoint.CertificateName), anypoint.CAPath(r.path))
	if stamp == r.stamp {
		r.mu.Unlock()
		return nil
	}
	f, err := anypoint.ReadFile(r.path)
	if err != nil && !atOnce && r.doubted != stamp {
		r.doubted = stamp // at the next look it is as it is meant to be
		r.mu.Unlock()
		return nil
	}
	r.stamp, r.doubted = stamp, ""
	old := r.file
	if err != nil {
		r.missed(err)
		wrong := r.wrong
		r.mu.Unlock()
		switch {
		case wrong == nil && old == nil:
			return nil
		case wrong == nil:
			r.log.Warn("the registration is gone; what was read of it stays in force until the daemon ends", "file", r.path)
			return nil
		}
		return err
	}
	r.file, r.wrong, r.gone = f, nil, false
	r.mu.Unlock()
	if old != nil && sameRegistration(old, f) {
		return nil
	}
	words := "registered with Anypoint"
	if old != nil {
		words = "another registration is in force"
	}
	r.log.Info(words, "gateway", f.AssetName, "id", f.AgentID, "file", f.Path, "expires", f.NotAfter.Format(time.RFC3339))
	if !f.Local {
		r.log.Warn("the registration is not one for Local Mode: its certificate has no SAN \"offline\"", "file", f.Path)
	}
	for _, d := range f.Doubts {
		r.log.Warn(d.Summary, "at", d.Subject.String(), "code", d.Code, "hint", d.Hint)
	}
	for _, e := range f.Exposed {
		r.log.Warn("others than its owner can "+e.What+": chmod 600 it", "file", e.Path, "mode", fmt.Sprintf("%04o", e.Mode))
	}
	r.tell(f)
	r.mu.Lock()
	r.warned = 0
	r.mu.Unlock()
	r.warn()
	return nil
}

// missed keeps why the file of now can not be used. It is called while the lock is held. That a file is not there says of the gateway that it is
// unregistered, unless somebody named it, or it was there and could not be read: a folder may be mounted late, and who mends a file may
// remove it first.
func (r *registrar) missed(err error) {
	absent := errors.Is(err, fs.ErrNotExist)
	if info, e := os.Lstat(r.path); absent && e == nil && info.Mode()&fs.ModeSymlink != 0 {
		absent, err = false, fmt.Errorf("read %s: the symbolic link leads nowhere", r.path)
	}
	switch {
	case absent && r.file != nil:
		r.wrong, r.gone = nil, true
	case !absent || r.named || r.wrong != nil:
		r.wrong, r.gone = err, false
	}
}

// sameRegistration reports whether nothing has changed that anybody goes by.
func sameRegistration(a, b *anypoint.File) bool {
	return a.Platform == b.Platform && string(a.Certificate) == string(b.Certificate) && a.Key.Equal(b.Key) && string(a.CA) == string(b.CA)
}

// stampOf changes when one of the files does.
func stampOf(paths ...string) string {
	var b strings.Builder
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			fmt.Fprintf(&b, "%v;", err)
			continue
		}
		inode := uint64(0)
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = s.Ino
		}
		fmt.Fprintf(&b, "%d %d %d %s;", inode, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	return b.String()
}

const day = 24 * time.Hour

// thresholds are when it is told that a certificate is about to expire: the nearest first. 0: it has.
var thresholds = []struct {
	left  time.Duration
	level slog.Level
}{{0, slog.LevelError}, {7 * day, slog.LevelError}, {30 * day, slog.LevelWarn}, {60 * day, slog.LevelInfo}}

// expiring is the threshold that was passed, and how to tell it; ok is false before the first.
func expiring(left time.Duration) (threshold time.Duration, level slog.Level, ok bool) {
	for _, t := range thresholds {
		if left <= t.left {
			return t.left, t.level, true
		}
	}
	return 0, 0, false
}

// warn tells once for each threshold, and every day from the one on that is a warning, that the certificate is about to expire.
func (r *registrar) warn() {
	r.mu.Lock()
	f, now := r.file, r.now()
	if f == nil {
		r.mu.Unlock()
		return
	}
	left := f.NotAfter.Sub(now)
	threshold, level, ok := expiring(left)
	again := level > slog.LevelInfo && now.Sub(r.warnedAt) >= day
	known := threshold + 1 // 0 is a threshold, and the zero value of warned
	quiet := !ok || r.warned == known && !again
	if !quiet {
		r.warned, r.warnedAt = known, now
	}
	r.mu.Unlock()
	if quiet {
		return
	}
	args := []any{"file", f.Path, "at", f.NotAfter.Format(time.RFC3339), "renew", "flexgw renew " + f.Path}
	if threshold == 0 {
		r.log.Log(context.Background(), level, "the certificate of the registration has expired; usage is kept, and can not be reported until it is renewed", args...)
		return
	}
	r.log.Log(context.Background(), level, "the certificate of the registration expires "+inWords(left), args...)
}

// condition is Registered.
func (r *registrar) condition() status.Condition {
	r.mu.Lock()
	f, wrong, gone, now, path := r.file, r.wrong, r.gone, r.now(), r.path
	r.mu.Unlock()
	c := status.Condition{Type: status.Registered, Status: status.Unknown, Reason: "Unregistered", Message: "there is no registration: " + r.counting("usage is counted, and reported to nobody") + "; flexgw register makes one"}
	if f == nil && path != "" {
		if pending := filepath.Join(filepath.Dir(path), anypoint.PendingName); isThere(pending) {
			c.Message = fmt.Sprintf("a registration was begun and not finished: flexgw register goes on with what %s has; %s", pending, r.counting("usage is counted, and reported to nobody"))
		}
	}
	inForce := ""
	if f != nil {
		left := f.NotAfter.Sub(now)
		until := fmt.Sprintf("%s, %s", f.NotAfter.Format(time.RFC3339), inWords(left))
		inForce = fmt.Sprintf("%s, gateway %s, until %s", f.AssetName, f.AgentID, until)
		c.Status, c.Reason, c.Message = status.True, "Registered", inForce
		if threshold, _, ok := expiring(left); ok && threshold == 0 {
			c.Status, c.Reason, c.Message = status.False, "Expired", fmt.Sprintf("the certificate has expired at %s: usage is kept, and can not be reported; flexgw renew %s", until, f.Path)
		} else if ok {
			c.Reason, c.Message = "Expiring", inForce
			if r.renewal == nil {
				c.Message += "; flexgw renew " + f.Path
			}
		}
		if r.renewal != nil {
			c.Message += r.renewal.words()
		}
		for _, d := range f.Doubts {
			c.Message += fmt.Sprintf("; %s: %s [%s]", d.Subject, d.Summary, d.Code)
		}
	}
	if gone {
		c.Message += "; the file is gone, and what was read of it stays in force until the daemon ends"
	}
	if wrong == nil {
		return c
	}
	c.Status, c.Reason, c.Message = status.False, "Broken", wrong.Error()
	if e := (*anypoint.FileError)(nil); errors.As(wrong, &e) {
		c.Message, c.Place = fmt.Sprintf("%s [%s]", e.List[0].Summary, e.List[0].Code), status.Place(e.List[0].Subject)
	}
	if inForce == "" {
		inForce = "nothing: " + r.counting("usage is counted for the gateway for which it was, and not reported until the registration can be used")
	}
	c.Message += "; in force is " + inForce
	return c
}

// registered is the condition Registered, with what the platform says of the gateway.
func (d *daemon) registered() status.Condition {
	c := d.registrar.condition()
	if x, counts := d.usageDelivery(); counts && x.Reason == metering.Gone && c.Status == status.True {
		c.Status, c.Reason, c.Message = status.False, "Gone", "the platform says that the gateway was deleted: flexgw register --force makes another one; in force is "+c.Message
	}
	return c
}

// expires is when the certificate does; the zero time: unregistered.
func (r *registrar) expires() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return time.Time{}
	}
	return r.file.NotAfter
}
