package cli

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// The proof that a revision does what it should: its probes, and how many requests fail while it is live. A revision counts as
// programmed only after it.

// proofFlags are those of a command that proves revisions.
func proofFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "error-window", Usage: "after a revision went live, count for so long how many requests are answered with 5xx, and go back when it is too many (0: do not)"},
		&cli.StringFlag{Name: "max-error-rate", Value: "5%", Usage: "`SHARE` of the requests to an API that may fail within the window, beyond the share that did before"},
		&cli.Uint64Flag{Name: "min-requests", Value: 50, Usage: "judge an API after so many requests within the window"},
	}
}

// errorWindow is what the flags ask for; nil: nothing.
func errorWindow(c *cli.Context, envoy string) (*probe.Window, error) {
	length := c.Duration("error-window")
	rate, err := strconv.ParseFloat(strings.TrimSuffix(c.String("max-error-rate"), "%"), 64)
	if strings.HasSuffix(c.String("max-error-rate"), "%") {
		rate /= 100
	}
	switch {
	case length < 0 || length > time.Hour:
		return nil, usage("--error-window %s: expected up to an hour, or 0 for none", length)
	case err != nil || !(rate >= 0 && rate < 1):
		return nil, usage("--max-error-rate %s: expected a share such as 5%% or 0.05, below 100%%", c.String("max-error-rate"))
	case length > 0 && envoy == "none":
		return nil, usage("--error-window needs the statistics of an Envoy that flexgw runs: it can not go with --envoy none")
	case length == 0:
		for _, name := range []string{"max-error-rate", "min-requests"} {
			if c.IsSet(name) {
				return nil, usage("--%s says how to judge an --error-window, and there is none", name)
			}
		}
		return nil, nil
	}
	return &probe.Window{Length: length, MaxRate: rate, MinRequests: c.Uint64("min-requests")}, nil
}

// proof asks the probes of a revision and watches its error rate.
func (d *daemon) proof(ctx context.Context, b reconcile.Built) diag.List {
	x := prover{window: d.window}
	if reconcile.Local(d.loop.Target.Progress()) { // the listeners of another host are not here to be asked
		x.prober = &d.prober
	}
	return x.prove(ctx, b.Gateway)
}

// beforeProof is called before a revision is delivered.
func (d *daemon) beforeProof(ctx context.Context) {
	if d.window != nil && d.window.Stats != nil {
		d.window.Begin(ctx)
	}
}

// newProber asks through an egress what its destinations allow.
func newProber(e *egress.Egress) probe.Prober {
	return probe.Prober{Now: time.Now, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return e.Dial(ctx, egress.Probe, network, addr)
	}}
}

// prover is what a revision has to stand.
type prover struct {
	prober *probe.Prober // nil: no probes are asked
	window *probe.Window // nil, or without Stats: the error rate is not watched
}

// prove does both at once: requests that fail while probes are asked count.
func (x prover) prove(ctx context.Context, g *ir.Gateway) diag.List {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan diag.List, 1)
	go func() {
		if x.window == nil || x.window.Stats == nil {
			watched <- nil
			return
		}
		watched <- x.window.Watch(watching, g)
	}()
	var list diag.List
	if x.prober != nil {
		list = x.prober.Ask(ctx, g)
	}
	if list.HasErrors() {
		stop()
	}
	return append(list, <-watched...).Sort()
}
