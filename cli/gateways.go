package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/schema/diag"
)

func gatewaysCommand(env Env) *cli.Command {
	where := []cli.Flag{
		&cli.StringFlag{Name: "organization", Usage: "the `ID` of the organization (default: that of who is logged in)"},
		&cli.StringFlag{Name: "environment", Usage: "the `ID` of the environment"},
	}
	return &cli.Command{
		Name:  "gateways",
		Usage: "list the gateways that are registered with the platform, and delete them",
		Subcommands: []*cli.Command{
			{
				Name:        "list",
				Usage:       "list the gateways of an environment",
				Description: "Needs the permission Read Servers.",
				Flags: slices.Concat(userFlags(), where, platformFlags(), []cli.Flag{
					&cli.StringFlag{Name: "stale", Usage: "only those that are not connected, and have not been for so long: `30d`, 12h"},
					&cli.BoolFlag{Name: "deleted", Usage: "also those that were deleted, which the platform remembers for 30 days"},
					outputFlag("text", "json"),
				}),
				Action: func(c *cli.Context) error { return listGateways(c, env) },
			},
			{
				Name:      "delete",
				Usage:     "delete a gateway from the platform",
				ArgsUsage: "NAME|ID",
				Description: "Needs no registration file. Asks where somebody can be asked, and in a script does as it is told. Waits until the platform has deleted it, which takes a while; one that was deleted already\n" +
					"is fine. A gateway that runs goes on running, and its usage is not taken any more. Needs the permissions Read Servers\n" +
					"and Manage Servers.",
				Flags:  slices.Concat(userFlags(), where, platformFlags(), []cli.Flag{yesFlag(), deletionFlag(), outputFlag("text", "json")}),
				Action: func(c *cli.Context) error { return deleteGateway(c, env) },
			},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q: gateways list or gateways delete NAME|ID", "gateways "+c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

// loggedIn is a client of the platform, somebody's access to it, and the environment that the flags name.
func loggedIn(c *cli.Context, env Env) (p *anypoint.Client, access anypoint.Token, in anypoint.In, err error) {
	if err = given(c, "organization", "environment", "anypoint-url"); err != nil {
		return
	}
	base, err := controlPlane(c.String("anypoint-url"))
	if err != nil {
		return nil, access, in, usage("--anypoint-url: %s", err)
	}
	in = anypoint.In{Organization: c.String("organization"), Environment: c.String("environment")}
	if in.Environment == "" {
		return nil, access, in, usage("--environment is needed: the id of the environment that the gateways are in")
	}
	if err := (place{anypoint.In{Organization: cmp.Or(in.Organization, in.Environment), Environment: in.Environment}}).check(); err != nil {
		return nil, access, in, err
	}
	ca, err := ownAuthorities(c)
	if err != nil {
		return nil, access, in, err
	}
	id, err := callerOf(c, env, false)
	if err != nil {
		return nil, access, in, err
	}
	if p, err = platformAt(c, env, base, "--anypoint-url", ca, trustBy(c)); err != nil {
		return nil, access, in, err
	}
	if access, err = id.login(c.Context, p); err == nil && in.Organization == "" {
		in.Organization, err = p.Me(c.Context, access)
	}
	return p, access, in, refused(err)
}

// gatewayRow is a gateway as gateways list shows it.
type gatewayRow struct {
	Name       string    `json:"name"`
	ID         string    `json:"id"`
	Status     string    `json:"status"`
	Connected  int       `json:"replicasConnected"`
	Replicas   int       `json:"replicas"`
	LastUpdate time.Time `json:"lastUpdate"`
	Expires    time.Time `json:"certificateExpires,omitzero"` // the first certificate of a replica that does; zero: unknown
}

func gatewayRowOf(g anypoint.Gateway) gatewayRow {
	l := gatewayRow{Name: g.Name, ID: g.ID, Status: g.Status, LastUpdate: g.LastUpdate.UTC()}
	for _, r := range g.Replicas {
		l.Replicas += r.Count
		if r.Status == "CONNECTED" {
			l.Connected += r.Count
		}
		for _, at := range r.CertificateExpirationDates {
			if l.Expires.IsZero() || at.Before(l.Expires) {
				l.Expires = at.UTC()
			}
		}
	}
	return l
}

// days reads a time that may be given in days.
func days(text string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		if d, err := strconv.Atoi(n); err == nil && d > 0 && d < 36500 {
			return time.Duration(d) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q: a time such as 30d or 12h is expected", text)
}

func listGateways(c *cli.Context, env Env) error {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return usage("gateways list takes no argument, got %s", c.Args().First())
	}
	stale := time.Duration(0)
	if c.IsSet("stale") {
		if stale, err = days(c.String("stale")); err != nil {
			return usage("--stale %s", err)
		}
	}
	p, access, in, err := loggedIn(c, env)
	if err != nil {
		return err
	}
	all, err := p.Gateways(c.Context, access, in)
	if err != nil {
		return refused(err)
	}
	rows := []gatewayRow{}
	for _, g := range all {
		l := gatewayRowOf(g)
		if l.Status == anypoint.StatusDeleted && !c.Bool("deleted") ||
			stale > 0 && (l.Status == "CONNECTED" || l.Connected > 0 || env.clock().Sub(l.LastUpdate) < stale) {
			continue
		}
		rows = append(rows, l)
	}
	slices.SortFunc(rows, func(a, b gatewayRow) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return report.Indented(w, struct {
				SchemaVersion int          `json:"schemaVersion"`
				Gateways      []gatewayRow `json:"gateways"`
			}{factsVersion, rows})
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tID\tSTATUS\tREPLICAS\tLAST UPDATE\tCERTIFICATE EXPIRES")
		for _, l := range rows {
			expires := "-"
			if !l.Expires.IsZero() {
				expires = l.Expires.Format(time.RFC3339)
			}
			show := func(s string) string { return diag.Visible(diag.OneLine(s)) } // others have written it
			fmt.Fprintf(t, "%s\t%s\t%s\t%d of %d\t%s\t%s\n", show(l.Name), show(l.ID), show(l.Status), l.Connected, l.Replicas, l.LastUpdate.Format(time.RFC3339), expires)
		}
		return t.Flush()
	})
}

func deleteGateway(c *cli.Context, env Env) error {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return err
	}
	if err := given(c); err != nil {
		return err
	}
	if c.NArg() != 1 {
		return usage("gateways delete takes one NAME or ID, got %d", c.NArg())
	}
	p, access, in, err := loggedIn(c, env)
	if err != nil {
		return err
	}
	all, err := p.Gateways(c.Context, access, in)
	if err != nil {
		return refused(err)
	}
	g, err := meant(all, c.Args().First())
	if err != nil {
		return err
	}
	if asks(env) && !c.Bool("yes") && g.Status != anypoint.StatusDeleted && !agreed(env, fmt.Sprintf("delete the gateway %s (%s), in environment %s, from %s?", g.Name, g.ID, in.Environment, p.Base)) {
		return world(errors.New("nothing was deleted"))
	}
	facts := deletionFacts{SchemaVersion: factsVersion, Result: alreadyDeleted, AssetName: g.Name, AgentID: g.ID, Organization: in.Organization, Environment: in.Environment, Anypoint: p.Base}
	if g.Status != anypoint.StatusDeleted {
		if facts.Result, err = deleted(c, env, p, access, in, g); facts.Result == "" {
			return err
		}
	}
	if e := tell(env, outs, facts.words(), facts); e != nil {
		return e
	}
	return err
}

// meant is the gateway of an id, or else the one of a name; among those, what was deleted comes last.
func meant(all []anypoint.Gateway, text string) (anypoint.Gateway, error) {
	var live, gone []anypoint.Gateway
	for _, g := range all {
		switch {
		case g.ID == text:
			return g, nil
		case g.Name == text && g.Status == anypoint.StatusDeleted:
			gone = append(gone, g)
		case g.Name == text:
			live = append(live, g)
		}
	}
	switch {
	case len(live) == 1:
		return live[0], nil
	case len(live) > 1:
		ids := make([]string, len(live))
		for i, g := range live {
			ids[i] = g.ID
		}
		slices.Sort(ids)
		return anypoint.Gateway{}, usage("%d gateways are called %q; say which by its id:\n  %s", len(live), text, strings.Join(ids, "\n  "))
	case len(gone) > 0:
		return gone[0], nil
	}
	return anypoint.Gateway{}, world(fmt.Errorf("no gateway of the name or id %q is in this environment; flexgw gateways list --deleted lists them all", text))
}
