package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
)

func egressCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "egress",
		Usage: "show which hosts would be called, and what for",
		Subcommands: []*cli.Command{{
			Name:        "show",
			Usage:       "list the hosts that the daemon itself would call for these declarations",
			ArgsUsage:   "PATH…",
			Description: "Envoy's own upstreams are those of `flexgw list`.",
			Flags:       []cli.Flag{outputFlag("text", "json"), &cli.StringSliceFlag{Name: "follow", Usage: "`URL` of a Git repository that run would follow; may repeat"}, webhookFlag()},
			Action: func(c *cli.Context) error {
				outs, err := outputsOf(c, "text", "json")
				if err != nil {
					return err
				}
				g, err := validModel(c.Args().Slice(), env)
				if g == nil {
					return err
				}
				e := egress.New(egress.Options{})
				e.Set(egress.JWKS, destinations(new(render.Needy).Needs(g, all.Catalog{})))
				var urls []watch.GitURL
				for _, text := range c.StringSlice("follow") {
					u, err := watch.ParseGitURL(text)
					if err != nil {
						return usage("--follow: %s", err)
					}
					urls = append(urls, u)
				}
				e.Set(egress.Config, gitHosts(urls, "--follow", "--follow"))
				if c.IsSet("webhook") {
					if err := allowWebhook(e, c.String("webhook")); err != nil {
						return err
					}
				}
				e.Set(egress.Probe, probe.Destinations(g))
				rows := e.List()
				return each(outs, env.Stdout, func(format string, w io.Writer) error {
					if format == "json" {
						return report.Indented(w, struct {
							Destinations []egress.Destination `json:"destinations"`
						}{rows})
					}
					t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					fmt.Fprintln(t, "PURPOSE\tHOST\tWHY")
					for _, d := range rows {
						fmt.Fprintf(t, "%s\t%s\t%s\n", d.Purpose, d.Host, d.Why)
					}
					return t.Flush()
				})
			},
		}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q: egress show PATH…", "egress "+c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}
