package cli

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/status"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// How usage gets to the platform: docs/anypoint.md, "Usage".

// delivery is the part of a daemon that reports usage. The zero delivery reports nothing.
type delivery struct {
	*metering.Deliverer // nil: requests are not counted

	mu     sync.Mutex
	report *anypoint.File    // the registration in force; nil: none
	wrong  string            // why there is one that is not in force; "": there is none such
	served bool              // declarations were: whether usage goes through a proxy is known
	said   metering.Delivery // that was told last
}

// sinkOf sends usage where a registration says, through e.
func sinkOf(e *egress.Egress, f *anypoint.File, now func() time.Time) *metering.Sink {
	return &metering.Sink{URL: f.Metering, Client: e.HTTPClient(egress.Usage), NotAfter: f.NotAfter, Now: now, Lasting: lasting, Trust: f.Trust()}
}

// lasting says of an error of egress what an operator has to change.
func lasting(err error) (string, bool) {
	var refused *egress.RefusedError
	var wants *egress.ProxyAuthError
	var proxy *egress.ProxyError
	switch {
	case errors.As(err, &refused), errors.As(err, &wants):
		return err.Error(), true
	case errors.As(err, &proxy) && proxy.Status >= 400 && proxy.Status < 500 && proxy.Status != http.StatusRequestTimeout && proxy.Status != http.StatusTooManyRequests:
		return err.Error(), true
	}
	return "", false
}

// deliverUsage makes what reports the counts of the daemon's ledger.
func (d *daemon) deliverUsage() {
	if d.usage == nil {
		return
	}
	d.delivery.Deliverer = &metering.Deliverer{Spool: d.usage, AirGapped: d.airGapped, Catch: d.readToEnd, Turned: d.usageTurned, Log: d.log, Now: time.Now}
}

// startDelivering begins to report. stop sends what is left within five seconds: counting has ended then, and the ledger has not.
func (d *daemon) startDelivering() (stop func()) {
	if d.delivery.Deliverer == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var delivering sync.WaitGroup
	delivering.Go(func() { d.delivery.Run(ctx) })
	return func() {
		cancel()
		delivering.Wait()
	}
}

// reportLater has usage counted for whom it was counted before, and reports nothing: there is a registration, and it can not be used.
func (d *daemon) reportLater(wrong error) error {
	if err := d.reportTo(nil); err != nil || d.usage == nil {
		return err
	}
	why := wrong.Error()
	if e := (*anypoint.FileError)(nil); errors.As(wrong, &e) {
		why = fmt.Sprintf("%s [%s]", e.List[0].Summary, e.List[0].Code)
	}
	whom := "for whom it was counted before"
	if id := d.usage.State().Identity; id.Agent != "" {
		whom = fmt.Sprintf("for %s (%s) as before", id.Asset, id.Agent)
	}
	d.delivery.mu.Lock()
	defer d.delivery.mu.Unlock()
	d.delivery.report = nil
	d.delivery.wrong = fmt.Sprintf("the registration can not be used: %s; usage is counted %s, and reported when that is mended", why, whom)
	d.aim()
	return nil
}

// reportFor has usage counted and reported for a registration from now on; nil: counted for nobody. It may be called at any time,
// and again when the file has changed.
func (d *daemon) reportFor(f *anypoint.File) error {
	if err := d.reportTo(f); err != nil {
		return err
	}
	if d.usage == nil {
		return nil
	}
	id := metering.Identity{}
	if f != nil {
		id = metering.Identity{Agent: f.AgentID, Asset: f.AssetName, MeteringSchema: f.MeteringSchemaID, Organization: f.OrganizationID, Environment: f.EnvironmentID}
	}
	err := d.usage.SetIdentity(id)
	d.delivery.mu.Lock()
	defer d.delivery.mu.Unlock()
	d.delivery.report, d.delivery.wrong = f, ""
	d.aim()
	return err
}

// noMetering is what is said of a registration that does not say where usage is reported.
func noMetering(f *anypoint.File) string {
	return fmt.Sprintf("%s has no metering, the URL that usage is reported to; flexgw renew --update-urls %s gets it", f.Path, f.Path)
}

// aim has usage sent to the registration in force. It is called while the lock of delivery is held.
func (d *daemon) aim() {
	f := d.delivery.report
	switch {
	case f == nil && d.delivery.wrong != "":
		d.delivery.Use(&metering.Target{Held: d.delivery.wrong, Wrong: true})
		return
	case f == nil:
		d.delivery.Use(nil)
		return
	}
	if f.Metering == "" {
		d.delivery.Use(&metering.Target{Held: noMetering(f), Wrong: true})
		return
	}
	t := &metering.Target{AgentID: f.AgentID, Sink: sinkOf(d.egress, f, time.Now)}
	if !d.delivery.served {
		t.Held = "nothing is sent before the first declarations are served: they may name a forward proxy"
	}
	d.delivery.Use(t)
}

// usageServed follows declarations that are served. With another way to the platform what failed is tried again at once; else what the
// platform has asked for holds, however often declarations change.
func (d *daemon) usageServed(otherWay bool) {
	if d.delivery.Deliverer == nil {
		return
	}
	d.delivery.mu.Lock()
	defer d.delivery.mu.Unlock()
	switch {
	case !d.delivery.served:
		d.delivery.served = true
		d.aim()
	case otherWay && d.delivery.Delivery().Failures > 0:
		d.delivery.Again()
	}
}

// usageTurned tells when usage stops getting to the platform, and when it gets there again.
func (d *daemon) usageTurned(now metering.Delivery) {
	d.delivery.mu.Lock()
	before := d.delivery.said
	if now.Status != status.Unknown {
		d.delivery.said = now
	}
	d.delivery.mu.Unlock()
	e := reconcile.Event{Type: reconcile.UsageReported, At: time.Now().UTC(), Reason: string(now.Reason), Message: now.Message}
	switch {
	case now.Status == status.False:
		e.Type = reconcile.UsageNotReported
		d.log.Warn("usage is not reported", "reason", now.Reason, "message", now.Message)
	case now.Status == status.True && before.Status == status.False:
		d.log.Info("usage is reported again", "waited", now.Since.Sub(before.Since).Round(time.Second))
	case now.Status == status.True:
		d.log.Info("usage is reported", "skew", now.Skew)
		return
	default:
		d.log.Info("usage", "reason", now.Reason, "message", now.Message)
		return
	}
	d.told(e)
}

// usageDelivery is how far usage got; false: none is counted.
func (d *daemon) usageDelivery() (metering.Delivery, bool) {
	if d.delivery.Deliverer == nil {
		return metering.Delivery{}, false
	}
	return d.delivery.Delivery(), true
}

// usageReported is the condition of a daemon that counts.
func (d *daemon) usageReported() []status.Condition {
	if d.delivery.Deliverer == nil {
		return nil
	}
	return []status.Condition{usageCondition(d.delivery.Delivery())}
}

var errNotCounted = &api.Error{Status: http.StatusConflict, Code: api.CodeNoUsage, Message: "this daemon counts no requests: it has no Envoy of its own (--envoy none) and no --usage-log, or its ledger could not be opened, which its log says"}

// Usage implements api.Daemon.
func (d *daemon) Usage() (api.Usage, error) {
	if d.delivery.Deliverer == nil {
		return api.Usage{}, errNotCounted
	}
	s := d.delivery.Delivery()
	return usageOf(d.usage, &s), nil
}

// FlushUsage implements api.Daemon.
func (d *daemon) FlushUsage(ctx context.Context, r api.UsageFlushRequest) (api.Usage, error) {
	if d.delivery.Deliverer == nil {
		return api.Usage{}, errNotCounted
	}
	ctx, cancel := waitFor(ctx, r.Wait)
	defer cancel()
	if err := d.delivery.Flush(ctx); err != nil {
		return api.Usage{}, &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeNotReported, Message: "not reported: " + err.Error()}
	}
	return d.Usage()
}

// ExportUsage implements api.Daemon.
func (d *daemon) ExportUsage(ctx context.Context, r api.UsageExportRequest) (api.UsageBundle, error) {
	if d.delivery.Deliverer == nil {
		return api.UsageBundle{}, errNotCounted
	}
	ctx, cancel := waitFor(ctx, 0)
	defer cancel()
	if err := d.readToEnd(ctx); err != nil {
		return api.UsageBundle{}, err
	}
	f := d.registrationInForce()
	if f == nil || r.AgentID != "" && r.AgentID != f.AgentID { // who has the other's key signs it
		return bundleOf(d.usage, nil, r.AgentID, time.Now())
	}
	pair, err := f.TLS()
	if err != nil {
		return api.UsageBundle{}, err
	}
	key, _ := pair.PrivateKey.(crypto.Signer)
	return bundleOf(d.usage, key, f.AgentID, time.Now())
}

// AckUsage implements api.Daemon.
func (d *daemon) AckUsage(_ context.Context, r api.UsageAckRequest) (api.Usage, error) {
	if d.delivery.Deliverer == nil {
		return api.Usage{}, errNotCounted
	}
	var of *x509.Certificate
	agent := r.AgentID
	if f := d.registrationInForce(); f != nil && (agent == "" || agent == f.AgentID) {
		agent, of = f.AgentID, leafOf(f)
	}
	if len(r.Certificate) > 0 { // of another registration, or of this one before it was renewed
		var err error
		if of, err = x509.ParseCertificate(r.Certificate); err != nil {
			return api.Usage{}, &api.Error{Status: http.StatusBadRequest, Code: api.CodeBadRequest, Message: "certificate: " + err.Error()}
		}
	}
	if err := applyAck(d.usage, r.Content, of, agent, r.Unsigned); err != nil {
		return api.Usage{}, &api.Error{Status: http.StatusConflict, Code: api.CodeNotSigned, Message: err.Error()}
	}
	d.delivery.Again()
	return d.Usage()
}

// ForgetUsage implements api.Daemon.
func (d *daemon) ForgetUsage(_ context.Context, r api.UsageForgetRequest) (api.Usage, error) {
	if d.delivery.Deliverer == nil {
		return api.Usage{}, errNotCounted
	}
	if err := giveUp(d.usage, r); err != nil {
		return api.Usage{}, err
	}
	d.delivery.Again()
	return d.Usage()
}

func (d *daemon) registrationInForce() *anypoint.File {
	d.delivery.mu.Lock()
	defer d.delivery.mu.Unlock()
	return d.delivery.report
}
