package cli

import (
	"github.com/urfave/cli/v2"
)

// Whom the daemon may call: docs/anypoint.md, "Egress".

func egressFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "air-gapped", Usage: "call neither Anypoint's registration nor its usage service: usage is counted and spooled, and taken away with flexgw usage export"},
	}
}

// egressOf is what the flags say of whom the daemon may call.
func (d *daemon) egressOf(c *cli.Context) error {
	d.airGapped = c.Bool("air-gapped")
	return nil
}
