package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/metrics"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// How a daemon renews its registration by itself: docs/anypoint.md, "Automatic renewal".

func renewalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "renew-client-id", Usage: "renew the registration by itself, from 30 days before its certificate expires on, as the connected app with this `ID`"},
		&cli.StringFlag{Name: "renew-client-secret-file", Usage: "the secret of that app is in `FILE`, which is read for each renewal (default: the credential anypoint-client-secret of the unit)"},
	}
}

// When it is renewed, and when again.
const (
	renewFrom  = 30 * day       // before the end
	renewAgain = day            // after a renewal that extended nothing, or a failure that lasts
	renewSoon  = time.Hour      // the same, when the end is near
	nearEnd    = 2 * day        // before the end
	maxJitter  = 12 * time.Hour // replicas that share a registration do not all ask at once
	renewTick  = time.Minute
)

// renewal renews the registration of a daemon. It is safe for concurrent use.
type renewal struct {
	log     *slog.Logger
	now     func() time.Time
	random  func(time.Duration) time.Duration // below it; nil: it is
	current func() *anypoint.File             // in force; nil: none
	ready   func() bool                       // whether anybody may be called yet
	wake    chan struct{}                     // buffered; that it is to be looked at once
	attempt func(context.Context, *anypoint.File) (*anypoint.File, error)
	secret  func() string // changes when the file of the secret does; nil: there is none

	mu       sync.Mutex // guards what follows
	shown    string     // of secret, when it was read last
	of       [32]byte   // the certificate that next is about
	next     time.Time
	failures int
	failed   error // of the last attempt; nil: it did not fail, or there was none
	tried    time.Time
	idle     bool // the last renewal extended nothing
	counts   map[string]uint64
}

// What becomes of a renewal, as the metric has it.
const (
	renewedLonger = "extended"
	renewedSame   = "not-extended"
	renewFailed   = "failed"
)

// renewalOf reads the flags; nil: it is off.
func (d *daemon) renewalOf(c *cli.Context) (*renewal, error) {
	id, file := c.String("renew-client-id"), credential(c, d.env, "renew-client-secret-file", appFlags.credential)
	if err := given(c, "renew-client-id", "renew-client-secret-file"); err != nil {
		return nil, err
	}
	switch {
	case id == "" && c.IsSet("renew-client-secret-file"):
		return nil, usage("--renew-client-secret-file needs --renew-client-id")
	case id == "":
		return nil, nil
	case file == "":
		return nil, usage("--renew-client-id needs the secret of the connected app: --renew-client-secret-file FILE")
	case d.airGapped:
		return nil, usage("--renew-client-id has the platform called, and --air-gapped has nobody called: leave one of the two out")
	case d.observe:
		return nil, usage("--renew-client-id changes the registration, and --observe changes nothing: leave one of the two out")
	case d.registrar.path == "":
		return nil, usage("--renew-client-id needs a registration: name it with --registration FILE")
	}
	secret := func() (anypoint.Secret, error) {
		b, err := readCredential(file, "--renew-client-secret-file")
		return ir.NewSecret(string(b)), err
	}
	if _, err := secret(); err != nil { // told now, and not in a year
		return nil, world(err)
	}
	return &renewal{log: d.log, now: d.env.clock, current: d.registrar.inForce, ready: d.wayKnown, wake: make(chan struct{}, 1), secret: func() string { return stampOf(file) }, attempt: func(ctx context.Context, f *anypoint.File) (*anypoint.File, error) {
		s, err := secret()
		if err != nil {
			return nil, err
		}
		return d.renewed(ctx, f, id, s)
	}}, nil
}

// run renews until ctx ends.
func (r *renewal) run(ctx context.Context) error {
	t := time.NewTicker(renewTick)
	defer t.Stop()
	for {
		r.step(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-r.wake:
		}
	}
}

// poke has run look at once.
func (r *renewal) poke() {
	if r == nil {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default: // it will
	}
}

// look has what failed tried again at once if the file of the secret is another one since.
func (r *renewal) look() {
	if r == nil || r.secret == nil {
		return
	}
	r.mu.Lock()
	corrected := r.failed != nil && r.secret() != r.shown
	r.mu.Unlock()
	if corrected {
		r.again()
	}
}

// again has what failed tried again at once: somebody says that it was corrected.
func (r *renewal) again() {
	if r == nil {
		return
	}
	r.mu.Lock()
	if r.failed != nil {
		r.next = r.now()
		if r.secret != nil {
			r.shown = r.secret()
		}
	}
	r.mu.Unlock()
	r.poke()
}

// step renews if it is time to.
func (r *renewal) step(ctx context.Context) {
	f := r.current()
	if f == nil {
		return
	}
	now := r.now()
	r.mu.Lock()
	if id := sha256.Sum256(f.Certificate); id != r.of {
		r.of, r.next, r.failures, r.failed, r.idle = id, r.due(f, now), 0, nil, false
	}
	wait := now.Before(r.next)
	if !wait && r.secret != nil {
		r.shown = r.secret()
	}
	r.mu.Unlock()
	if wait || !r.ready() {
		return
	}
	r.log.Info("renewing the registration", "gateway", f.AssetName, "id", f.AgentID, "expires", f.NotAfter.Format(time.RFC3339))
	n, err := r.attempt(ctx, f)
	if ctx.Err() != nil {
		return // the daemon ends
	}
	r.settle(f, n, err)
}

// settle plans what is next after an attempt.
func (r *renewal) settle(f, n *anypoint.File, err error) {
	now := r.now()
	again := renewAgain
	if f.NotAfter.Sub(now) <= nearEnd {
		again = renewSoon
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried, r.failed, r.idle = now, err, false
	if r.counts == nil {
		r.counts = map[string]uint64{}
	}
	switch {
	case err != nil:
		r.counts[renewFailed]++
		if !lastingRefusal(err) {
			again = min(again, time.Minute<<min(r.failures, 10))
		}
		r.failures++
		r.next = now.Add(again + r.below(again/10))
		r.log.Error("the registration is not renewed", "error", err, "again", r.next.UTC().Format(time.RFC3339))
	case !n.NotAfter.After(f.NotAfter):
		r.counts[renewedSame]++
		r.of, r.failures, r.idle = sha256.Sum256(n.Certificate), 0, true
		r.next = now.Add(again + r.below(again/10))
		r.log.Warn("the registration is renewed but not extended: the platform ends all of its certificates at the same time", "expires", n.NotAfter.Format(time.RFC3339), "again", r.next.UTC().Format(time.RFC3339))
	default:
		r.counts[renewedLonger]++
		r.of, r.failures = sha256.Sum256(n.Certificate), 0
		r.next = r.due(n, now)
		r.log.Info("the registration is renewed; a product's gateway on the same file needs a restart before its versions 1.12.9 and 1.13.5", "expires", n.NotAfter.Format(time.RFC3339), "before", f.NotAfter.Format(time.RFC3339))
	}
}

// due is when a certificate is renewed: from 30 days before its end on, some time later, since others may have the same one; and, whoever
// made it, not within a day after it was made, lest a daemon that starts again and again renews again and again. One that has expired is
// renewed at once.
func (r *renewal) due(f *anypoint.File, now time.Time) time.Time {
	if !f.NotAfter.After(now) {
		return now
	}
	begin := f.NotAfter.Add(-renewFrom)
	if begin.Before(now) {
		begin = now
	}
	left := f.NotAfter.Sub(begin)
	if fresh := f.NotBefore.Add(renewAgain); left > nearEnd && begin.Before(fresh) && f.NotBefore.Before(now) {
		begin = fresh
	}
	return begin.Add(r.below(min(maxJitter, max(left/60, time.Minute))))
}

func (r *renewal) below(d time.Duration) time.Duration {
	if r.random != nil {
		return r.random(d)
	}
	return rand.N(max(d, 1))
}

// lastingRefusal reports whether somebody has to do something.
func lastingRefusal(err error) bool {
	var no *anypoint.NoWireError
	var e *anypoint.Error
	var answer *anypoint.AnswerError
	switch {
	case errors.As(err, &no), errors.As(err, &answer):
		return true
	case errors.As(err, &e):
		return e.Kind != anypoint.Unavailable && e.Kind != anypoint.Busy
	}
	return false
}

// words are what the condition Registered says of it.
func (r *renewal) words() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next.IsZero() {
		return ""
	}
	next := r.next.UTC().Format(time.RFC3339)
	at := r.tried.UTC().Format(time.RFC3339)
	switch {
	case r.failed != nil:
		return fmt.Sprintf("; renewing it failed at %s: %s; again at %s, or when the file of the secret changes, or at SIGHUP", at, diag.Visible(diag.OneLine(r.failed.Error())), next)
	case r.idle:
		return fmt.Sprintf("; renewed but not extended at %s; again at %s", at, next)
	}
	return "; renewed by itself, from " + next + " on"
}

// figures are those of the metrics.
func (r *renewal) figures() metrics.Renewals {
	if r == nil {
		return metrics.Renewals{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return metrics.Renewals{Next: r.next, Extended: r.counts[renewedLonger], NotExtended: r.counts[renewedSame], Failed: r.counts[renewFailed]}
}

// renewed gets another certificate for a registration as a connected app, tries it where usage is reported, and puts it in the place of the
// old one.
func (d *daemon) renewed(ctx context.Context, f *anypoint.File, id string, secret anypoint.Secret) (*anypoint.File, error) {
	n, err := d.askedAnew(ctx, f, id, secret)
	if err != nil {
		return nil, err
	}
	if err := d.tryOut(ctx, n); err != nil {
		return nil, fmt.Errorf("the new certificate is not taken where usage is reported, and the old one stays: %w", err)
	}
	now, err := anypoint.ReadFile(f.Path)
	if err != nil {
		return nil, err
	}
	if !sameRegistration(now, f) {
		return nil, fmt.Errorf("%s has changed meanwhile, and is left as it is", f.Path)
	}
	written, err := n.Rewrite()
	if err != nil {
		return nil, fmt.Errorf("the renewed registration cannot be written, and the old one stays: %w", err)
	}
	d.log.Info("wrote the renewed registration; the old one is beside it as .bak", "files", strings.Join(written, " "))
	if err := d.registrar.look(true); err != nil {
		return nil, err
	}
	return n, nil
}

// askedAnew is a registration with another certificate, which the platform was asked for as a connected app. Its control plane may be called
// meanwhile, and neither before nor after.
func (d *daemon) askedAnew(ctx context.Context, f *anypoint.File, id string, secret anypoint.Secret) (*anypoint.File, error) {
	base, err := controlPlane(f.Anypoint)
	if err != nil {
		return nil, fmt.Errorf("%s: anypoint: %w", f.Path, err)
	}
	in := anypoint.In{Organization: f.OrganizationID, Environment: f.EnvironmentID}
	if err := in.Check(); err != nil {
		return nil, fmt.Errorf("%s: its certificate does not say where the gateway is: %w", f.Path, err)
	}
	t := egress.TLS{}
	if f.CA != nil {
		if t.Roots, err = egress.Roots(f.CA); err != nil {
			return nil, fmt.Errorf("%s: %w", anypoint.CAPath(f.Path), err)
		}
	}
	d.egress.SetTLS(egress.Registration, t)
	d.egress.Set(egress.Registration, []egress.Destination{{Host: egress.HostPort(base), Why: f.Path + ": anypoint, while it is renewed"}})
	d.sayEgress()
	client := d.egress.HTTPClient(egress.Registration)
	defer func() {
		d.egress.Set(egress.Registration, nil)
		client.CloseIdleConnections()
		d.sayEgress()
	}()
	p := &anypoint.Client{Base: base.String(), HTTP: client, UserAgent: "flexgw/" + version(), Now: d.env.Now, Trust: f.Trust()}
	if err := p.Hello(ctx); err != nil {
		if no := (*anypoint.NoWireError)(nil); errors.As(err, &no) {
			err = fmt.Errorf("%w, and flexgw does not guess it with your account; the product's own tool can renew it: %s", err,
				product("flexctl", "registration", "renew", "--client-id="+id, "--client-secret=<client-secret>", "--output-directory=<an-empty-directory>", f.Path))
		}
		return nil, err
	}
	access, err := p.Connect(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	key, csr, err := anypoint.NewKey(f.AssetName)
	if err != nil {
		return nil, err
	}
	r, err := p.Renew(ctx, access, in, f.AgentID, anypoint.RenewRequest{Schema: anypoint.RegistrationSchema, CSR: csr, UpdateURLs: f.Metering == ""})
	if err != nil {
		return nil, err
	}
	return f.Renewed(r, key, d.env.clock())
}

// tryOut shows a new certificate where usage is reported, and reports nothing.
func (d *daemon) tryOut(ctx context.Context, f *anypoint.File) error {
	e := egress.New(egress.Options{})
	e.Only(egress.Usage)
	t, err := meeting(f)
	if err != nil {
		return err
	}
	e.SetTLS(egress.Usage, t)
	e.Set(egress.Usage, []egress.Destination{{Host: hostPortOf(f.Metering), Why: f.Path + ": metering"}})
	d.outward.mu.Lock()
	proxy, why, roots := d.outward.inUse, d.outward.inUseWhy, d.outward.proxyTLS
	d.outward.mu.Unlock()
	e.SetProxy(egress.Usage, proxy, why)
	e.SetProxyTLS(roots)
	client := e.HTTPClient(egress.Usage)
	defer client.CloseIdleConnections()
	return sinkOf(e, f, d.env.clock).Hello(ctx)
}
