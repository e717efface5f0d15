package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

func egressCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "egress",
		Usage: "show which hosts would be called, and what for",
		Subcommands: []*cli.Command{{
			Name:      "show",
			Usage:     "list the hosts that the daemon itself calls: of these declarations, or of a running daemon",
			ArgsUsage: "[PATH…]",
			Description: "With PATH: what run would call for these declarations, with the registration.yaml beside them and these flags. Without: what\n" +
				"the daemon of this host calls, which --socket or --state-dir finds. Envoy's own upstreams are those of `flexgw list`.",
			Flags: daemonFlags(outputFlag("text", "json"), &cli.StringSliceFlag{Name: "follow", Usage: "`URL` of a Git repository that run would follow; may repeat"}, webhookFlag(), commitStatusFlag(),
				&cli.StringFlag{Name: "registration", Usage: "the registration in `FILE` (default: the registration.yaml beside the declarations)"},
				strictFlag(), airGappedFlag(), proxyFromEnvFlag()),
			Action: func(c *cli.Context) error {
				outs, err := outputsOf(c, "text", "json")
				if err != nil {
					return err
				}
				if c.NArg() == 0 {
					return runningEgress(c, env, outs)
				}
				return declaredEgress(c, env, outs)
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

// runningEgress asks a daemon.
func runningEgress(c *cli.Context, env Env, outs []output) error {
	for _, flag := range []string{"follow", "webhook", "commit-status", "registration", "strict-egress", "air-gapped", "proxy-from-env"} {
		if c.IsSet(flag) {
			return usage("--%s says what run would be told: name the declarations too; a running daemon has been told", flag)
		}
	}
	d, err := daemonOf(c, env, "")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, 10*time.Second)
	defer cancel()
	e, err := d.Egress(ctx)
	if err != nil {
		return answered(err)
	}
	return writeEgress(outs, env, e, nil)
}

// declaredEgress is what a daemon would call.
func declaredEgress(c *cli.Context, env Env, outs []output) error {
	for _, flag := range []string{"socket", "state-dir"} {
		if c.IsSet(flag) {
			return usage("--%s asks a running daemon, and %s is what one would be given: leave one of the two out", flag, c.Args().First())
		}
	}
	if err := reportsOf(c); err != nil {
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
	if c.IsSet("commit-status") {
		_, _, u, err := forgeAt(c.String("commit-status"))
		if err != nil {
			return err
		}
		allowForge(e, u)
	}
	e.Set(egress.Probe, probe.Destinations(g))
	if err := allowAnypoint(c, env, e, g); err != nil {
		return err
	}
	mode, flag := egressMode(c)
	answer := api.Egress{SchemaVersion: api.SchemaVersion, Mode: mode}
	var refused diag.List
	if flag != "" {
		refused = append(alsoNamed(e, flag), beyond(g, flag)...)
		restrict(e, mode)
	}
	answer.Destinations = e.List()
	if err := writeEgress(outs, env, answer, refused); err != nil {
		return err
	}
	if len(refused) > 0 {
		if err := printProblems(env, refused, os.ReadFile); err != nil {
			return err
		}
		return &exit{code: ExitDiagnostics}
	}
	return nil
}

// allowAnypoint lists the two hosts of the registration, and the proxy before them.
func allowAnypoint(c *cli.Context, env Env, e *egress.Egress, g *ir.Gateway) error {
	path, given := c.String("registration"), c.IsSet("registration")
	if !given {
		path = registrationBeside(c.Args().First())
	}
	f, err := registrationAt(env, path)
	switch {
	case !given && errors.Is(err, fs.ErrNotExist): // it would run unregistered
		return nil
	case err != nil:
		return err
	}
	if f.Anypoint != "" {
		e.Set(egress.Registration, []egress.Destination{{Host: hostPortOf(f.Anypoint), Why: path + ": anypoint, while register, renew or unregister works; of the daemon only while it renews (--renew-client-id)"}})
	}
	if f.Metering != "" {
		e.Set(egress.Usage, []egress.Destination{{Host: hostPortOf(f.Metering), Why: path + ": metering"}})
	}
	var fromEnv egress.Proxy
	if c.Bool("proxy-from-env") {
		if fromEnv, err = egress.ProxyFromEnv(env.Getenv); err != nil {
			return usage("--proxy-from-env: %w", err)
		}
	}
	p, why, err := proxyOf(g, fromEnv)
	if err != nil {
		return world(fmt.Errorf("%s: %w", why, err))
	}
	e.SetProxy(egress.Usage, p, why)
	return nil
}

// registrationBeside is where a registration stands that nobody names.
func registrationBeside(source string) string {
	if info, err := os.Stat(source); err == nil && !info.IsDir() {
		source = filepath.Dir(source)
	}
	return filepath.Join(source, anypoint.FileName)
}

// alsoNamed refuses what flags name, and the one of the mode leaves no way to.
func alsoNamed(e *egress.Egress, mode string) (list diag.List) {
	for _, d := range e.List() {
		if d.Purpose == egress.Config || d.Purpose == egress.Webhook || d.Purpose == egress.Operator {
			list = append(list, diag.Diagnostic{Severity: diag.Error, Code: "egress/strict", Summary: fmt.Sprintf("%s names %s, and %s leaves no way to it", d.Why, d.Host, mode), Hint: "leave one of the two out"})
		}
	}
	return list
}

// writeEgress lists who is called. refused is what asks for somebody else, of declarations.
func writeEgress(outs []output, env Env, e api.Egress, refused diag.List) error {
	return each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return report.Indented(w, struct {
				api.Egress
				Refused diag.List `json:"refused"` // what a daemon serves asks for nobody else
			}{e, append(diag.List{}, refused...)})
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "PURPOSE\tHOST\tWHY")
		for _, d := range e.Destinations {
			fmt.Fprintf(t, "%s\t%s\t%s\n", d.Purpose, diag.Visible(d.Host), diag.Visible(d.Why))
		}
		if err := t.Flush(); err != nil || e.Mode == api.EgressOpen && len(e.Destinations) > 0 {
			return err
		}
		left := "everything else is denied"
		if len(e.Destinations) == 0 {
			left = "nobody is called"
		}
		_, err := fmt.Fprintf(w, "mode %s: %s\n", diag.Visible(e.Mode), left)
		return err
	})
}
