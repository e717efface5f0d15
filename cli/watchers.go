package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/metrics"
	"github.com/flexgw/flexgw/reconcile/notify"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/systemd"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
)

func watchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "metrics-listen", Usage: "answer GET /metrics on `HOST:PORT` too, to whoever can reach it"},
		webhookFlag(),
		&cli.StringFlag{Name: "webhook-secret-file", Usage: "sign what is posted with the secret in `FILE` (default: the credential webhook-secret of the unit)"},
		commitStatusFlag(),
		&cli.StringFlag{Name: "commit-status-token-file", Usage: "the token for it in `FILE`, read anew each time (default: the credential commit-status-token of the unit)"},
		&cli.StringFlag{Name: "commit-status-name", Usage: "what the status is called (default: flexgw/ and the name of this host)"},
	}
}

func webhookFlag() cli.Flag {
	return &cli.StringFlag{Name: "webhook", Usage: "post every event to `URL`"}
}

func commitStatusFlag() cli.Flag {
	return known(&cli.StringFlag{Name: "commit-status", Usage: "tell a forge how far each commit got: `KIND=URL`, of github, gitlab or gitea, and the URL of its API for the repository"}, "github=", "gitlab=", "gitea=")
}

// watchers are who is told what the daemon does, beside its log and its history.
type watchers struct {
	metrics *metrics.M
	hook    *notify.Notifier // nil: none
	forge   *notify.Forge    // nil: none
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
		if path, ok := systemd.Credential(d.env.Getenv, "webhook-secret"); ok && secretFile == "" {
			secretFile = path
		}
		secret, err := webhookSecret(secretFile)
		if err != nil {
			return err
		}
		if err := allowWebhook(d.egress, c.String("webhook")); err != nil {
			return err
		}
		w.hook, err = notify.New(notify.Options{URL: c.String("webhook"), Source: d.source, Secret: secret,
			Sending: notify.Sending{Version: version(), Client: d.egress.HTTPClient(egress.Webhook), Log: d.log}})
		if err != nil {
			return usage("--webhook: %s", err)
		}
		hook := w.hook
		d.unit.onReload("secret of the webhook", func() error {
			secret, err := webhookSecret(secretFile)
			if err == nil {
				hook.SetSecret(secret)
			}
			return err
		})
	} else if secretFile != "" {
		return usage("--webhook-secret-file signs what --webhook posts; no URL was given")
	}
	var err error
	if w.forge, err = d.forgeOf(c); err != nil {
		return err
	}
	o := metrics.Options{Version: version(), Log: d.log, // the loop and its target are made later
		Report: func() status.Report {
			r := d.loop.Summary()
			r.Conditions = append(append(r.Conditions, d.registered()), d.usageReported()...)
			return r
		}, Expires: func() time.Time { return d.registrar.expires() }, Renewals: func() metrics.Renewals { return d.registrar.renewal.figures() }, Progress: func() []deliver.Progress { return d.loop.Target.Progress() },
		APIs: func() []diag.Object { return d.loop.APIs() }, Usage: d.usageFigures, Delivery: d.usageDelivery}
	if w.hook != nil {
		o.Webhook = w.hook.Counts
	}
	if w.forge != nil {
		o.Forge = w.forge.Counts
	}
	if d.hook != nil {
		o.Hook = d.hook.Counts
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

// forgeOf is what --commit-status asks for; nil: nothing.
func (d *daemon) forgeOf(c *cli.Context) (*notify.Forge, error) {
	text, file := c.String("commit-status"), c.String("commit-status-token-file")
	if text == "" {
		if file != "" || c.IsSet("commit-status-name") {
			return nil, usage("--commit-status-token-file and --commit-status-name are about --commit-status, and it is not given")
		}
		return nil, nil
	}
	kind, to, u, err := forgeAt(text)
	if err != nil {
		return nil, err
	}
	if file = credential(c, d.env, "commit-status-token-file", "commit-status-token"); file == "" {
		return nil, usage("--commit-status needs --commit-status-token-file, or the credential commit-status-token of the unit")
	}
	token := func() (string, error) {
		b, err := readCredential(file, "--commit-status-token-file")
		return string(b), err
	}
	if _, err := token(); err != nil {
		return nil, world(err)
	}
	f, err := notify.NewForge(notify.ForgeOptions{Kind: notify.Kind(kind), URL: to, Token: token, Name: cmp.Or(c.String("commit-status-name"), "flexgw/"+d.self.Host),
		Sending: notify.Sending{Version: version(), Client: d.egress.HTTPClient(egress.Operator), Log: d.log}})
	if err != nil {
		return nil, usage("--commit-status: %w", err)
	}
	allowForge(d.egress, u)
	return f, nil
}

// forgeAt reads KIND=URL.
func forgeAt(text string) (kind, to string, u *url.URL, err error) {
	kind, to, ok := strings.Cut(text, "=")
	u, err = url.Parse(to)
	if !ok || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", "", nil, usage("--commit-status: KIND=URL is expected, such as github=https://api.github.com/repos/OWNER/NAME, gitlab=https://HOST/api/v4/projects/ID or gitea=https://HOST/api/v1/repos/OWNER/NAME; the token has a file of its own")
	}
	if u.Scheme == "http" && !watch.Loopback(egress.HostPort(u)) {
		return "", "", nil, usage("--commit-status: the token is not sent over http://, where everybody on the way reads it; use https://")
	}
	return kind, to, u, nil
}

// allowForge lets the forge that is told of commits be called.
func allowForge(e *egress.Egress, u *url.URL) {
	e.Set(egress.Operator, []egress.Destination{{Host: egress.HostPort(u), Why: "--commit-status"}})
}

func webhookSecret(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	b, err := readCredential(file, "--webhook-secret-file")
	return b, worldly(err)
}

// allowWebhook lets the host of a URL be called. The URL is not said again: it may hold a secret.
func allowWebhook(e *egress.Egress, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage("--webhook: an http:// or https:// URL is expected")
	}
	e.Set(egress.Webhook, []egress.Destination{{Host: egress.HostPort(u), Why: "--webhook"}})
	return nil
}

// event must not block.
func (w *watchers) event(e reconcile.Event) {
	w.metrics.Event(e)
	if w.hook != nil {
		w.hook.Event(e)
	}
	if w.forge != nil {
		w.forge.Event(e)
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
	if w.forge != nil {
		serve(func() error { w.forge.Run(ctx); return nil })
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
