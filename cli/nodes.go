package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
)

func nodesCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:        "nodes",
		Usage:       "list the Envoys of a running daemon",
		ArgsUsage:   "[SOURCE]",
		Description: "Each with its version, since when it is connected or gone, the revision that it acknowledged last, and where it is.",
		Flags:       daemonFlags(outputFlag("text", "json")),
		Action: func(c *cli.Context) error {
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			return showNodes(c, env, source, 10*time.Second, func(ctx context.Context, d api.Client) (status.Report, error) { return d.Status(ctx) })
		},
	}
}

func nodeCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "node",
		Usage: "set one Envoy of a running daemon aside, or have it count again",
		Subcommands: []*cli.Command{
			{
				Name:      "cordon",
				Usage:     "have what one Envoy says of revisions not count",
				ArgsUsage: "NODE",
				Description: "It gets what the others get. Whether it takes that or refuses it decides about no revision: not whether one is programmed, and not\n" +
					"whether one is rolled back. It lasts until flexgw node uncordon, also across restarts of either side. flexgw sync tries a revision\n" +
					"again that was rolled back for this Envoy.",
				Flags: daemonFlags(outputFlag("text", "json"),
					&cli.StringFlag{Name: "reason", Usage: "why: shown by flexgw status and kept in the history (required)"}),
				Action: func(c *cli.Context) error {
					node, err := oneNode(c)
					switch {
					case err != nil:
						return err
					case c.String("reason") == "":
						return usage("node cordon needs --reason: whoever finds the Envoy cordoned wants to know why")
					}
					return showNodes(c, env, "", 30*time.Second, func(ctx context.Context, d api.Client) (status.Report, error) {
						return d.Cordon(ctx, api.CordonRequest{Node: node, Reason: c.String("reason"), By: whoAsks(env)})
					})
				},
			},
			{
				Name:        "uncordon",
				Usage:       "have one Envoy count again",
				ArgsUsage:   "NODE",
				Description: "What it refuses that was right before it counted is no fault of a revision, and takes none back.",
				Flags:       daemonFlags(outputFlag("text", "json")),
				Action: func(c *cli.Context) error {
					node, err := oneNode(c)
					if err != nil {
						return err
					}
					return showNodes(c, env, "", 30*time.Second, func(ctx context.Context, d api.Client) (status.Report, error) {
						return d.Uncordon(ctx, api.UncordonRequest{Node: node, By: whoAsks(env)})
					})
				},
			},
		},
	}
}

func oneNode(c *cli.Context) (string, error) {
	if c.NArg() != 1 || c.Args().First() == "" {
		return "", usage("node %s takes one NODE, got %d; flexgw nodes lists them", c.Command.Name, c.NArg())
	}
	return c.Args().First(), nil
}

// showNodes asks a daemon for something, and shows its Envoys.
func showNodes(c *cli.Context, env Env, source string, limit time.Duration, ask func(context.Context, api.Client) (status.Report, error)) error {
	outs, d, err := asked(c, env, source)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, limit)
	defer cancel()
	r, err := ask(ctx, d)
	if err != nil {
		return answered(err)
	}
	return each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return writeJSON(w, struct {
				SchemaVersion int            `json:"schemaVersion"`
				Nodes         []status.Envoy `json:"nodes"` // as status has them
			}{api.SchemaVersion, r.Lists().Envoys})
		}
		if len(r.Envoys) == 0 {
			_, err := fmt.Fprintln(w, "no Envoy has connected yet")
			return err
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, e := range r.Envoys {
			writeNode(t, e)
		}
		return t.Flush()
	})
}
