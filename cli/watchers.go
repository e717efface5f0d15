package cli

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/metrics"
	"github.com/flexgw/flexgw/reconcile/notify"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

func watchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "metrics-listen", Usage: "answer GET /metrics on `HOST:PORT` too, to whoever can reach it"},
		webhookFlag(),
		&cli.StringFlag{Name: "webhook-secret-file", Usage: "sign what is posted with the secret in `FILE`"},
	}
}

func webhookFlag() cli.Flag {
	return &cli.StringFlag{Name: "webhook", Usage: "post every event to `URL`"}
}

// watchers are who is told what the daemon does, beside its log and its history.
type watchers struct {
	metrics *metrics.M
	hook    *notify.Notifier // nil: none
	listen  string           // HOST:PORT of the metrics; "": only on the socket
}

// watch makes the watchers that the flags ask for.
func (d *daemon) watch(c *cli.Context) error {
	w := watchers{listen: c.String("metrics-listen")}
	if _, _, err := net.SplitHostPort(w.listen); w.listen != "" && err != nil {
		return usage("--metrics-listen %s: HOST:PORT is expected", w.listen)
	}
	secretFile := c.String("webhook-secret-file")
	if c.IsSet("webhook") {
		secret, err := webhookSecret(secretFile)
		if err != nil {
			return err
		}
		if err := allowWebhook(d.egress, c.String("webhook")); err != nil {
			return err
		}
		w.hook, err = notify.New(notify.Options{URL: c.String("webhook"), Source: d.source, Secret: secret, Version: version(),
			Client: d.egress.HTTPClient(egress.Webhook), Log: d.log})
		if err != nil {
			return usage("--webhook: %s", err)
		}
	} else if secretFile != "" {
		return usage("--webhook-secret-file signs what --webhook posts; no URL was given")
	}
	o := metrics.Options{Version: version(), Log: d.log, // the loop and its target are made later
		Report: func() status.Report { return d.loop.Summary() }, Progress: func() []deliver.Progress { return d.loop.Target.Progress() },
		APIs: func() []diag.Object { return d.loop.APIs() }}
	if w.hook != nil {
		o.Webhook = w.hook.Counts
	}
	if !d.observe {
		socket, err := envoy.SocketPath(d.at.run, "envoy-admin.sock")
		if err != nil {
			return world(err)
		}
		admin := envoy.NewAdmin(socket)
		o.Stats, o.Process = admin.Stats, admin.PID
	}
	w.metrics = metrics.New(o)
	d.watchers = w
	return nil
}

func webhookSecret(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, world(fmt.Errorf("secret of the webhook: %w", err))
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return nil, usage("--webhook-secret-file %s: there is nothing in it", file)
	}
	return b, nil
}

// allowWebhook lets the host of a URL be called. The URL is not said again: it may hold a secret.
func allowWebhook(e *egress.Egress, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage("--webhook: an http:// or https:// URL is expected")
	}
	e.Set(egress.Webhook, []egress.Destination{{Host: hostPort(u), Why: "--webhook"}})
	return nil
}

// event must not block.
func (w *watchers) event(e reconcile.Event) {
	w.metrics.Event(e)
	if w.hook != nil {
		w.hook.Event(e)
	}
}

// beside adds the metrics to what the daemon's socket answers.
func (w *watchers) beside(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle(metrics.Path, w.metrics.Handler())
	return mux
}

// start begins to serve and to post; serve runs what ends with ctx.
func (w *watchers) start(ctx context.Context, log *slog.Logger, serve func(func() error)) error {
	if w.hook != nil {
		serve(func() error { w.hook.Run(ctx); return nil })
	}
	if w.listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", w.listen)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	log.Info("metrics are served", "address", l.Addr().String())
	serve(func() error { return api.Serve(ctx, l, w.metrics.Handler()) })
	return nil
}
