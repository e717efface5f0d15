package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/rollout"
)

// rolloutFlags say when a revision of the source is applied.
func rolloutFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "approve-after", Usage: "apply a new revision `DURATION` after it was seen, or never: flexgw sync --revision applies it before (default: at once)"},
		&cli.GenericFlag{Name: "window", Value: &values{}, Usage: "apply new revisions only within `\"DAYS HH:MM-HH:MM [ZONE]\"`, such as \"Mon-Fri 22:00-04:00 Europe/Berlin\", may repeat"},
	}
}

// planOf is what the flags ask for.
func planOf(c *cli.Context) (p rollout.Plan, err error) {
	if c.IsSet("approve-after") {
		if err := p.ParseAfter(c.String("approve-after")); err != nil {
			return p, usage("--approve-after: %w", err)
		}
	}
	windows, _ := c.Generic("window").(*values)
	if windows != nil {
		for _, text := range *windows {
			w, err := rollout.ParseWindow(text)
			if err != nil {
				return p, usage("--window: %w", err)
			}
			p.Windows = append(p.Windows, w)
		}
	}
	switch {
	case p.Zero():
	case p.ByHand && len(p.Windows) > 0:
		return p, usage("--approve-after never waits for somebody, whatever the time: it can not go with --window")
	case c.Bool("no-source"):
		return p, usage("--approve-after and --window are about the revisions of a SOURCE, and --no-source was given")
	case c.Bool("observe"):
		return p, usage("--observe applies nothing: it can not go with --approve-after or --window")
	}
	return p, nil
}
