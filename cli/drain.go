package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/envoy"
)

func drainCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "drain",
		Usage: "have an Envoy that somebody else runs end what it does, before it is stopped",
		Description: "For ExecStop= of an Envoy's own unit: it fails its health check, closes listeners and idle connections, and the command returns\n" +
			"when no request runs any more, or after --drain-time. Envoy itself goes on: it is its service manager's to end. There is no way back.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "admin-socket", Usage: "`PATH` of Envoy's admin interface (default: that of flexgw render --form bootstrap)"},
			&cli.DurationFlag{Name: "drain-time", Value: 25 * time.Second, Usage: "how long requests may take to end"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usage("drain takes no argument, got %s", c.Args().First())
			}
			socket := c.String("admin-socket")
			if socket == "" {
				socket = renderedBootstrap(env).AdminSocket
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("drain-time"))
			defer cancel()
			if err := envoy.Drain(ctx, envoy.NewAdmin(socket), nil); err != nil {
				return world(fmt.Errorf("drain: %w", err))
			}
			return nil
		},
	}
}
