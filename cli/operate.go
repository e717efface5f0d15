package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

// What operators ask a running daemon for. All of it goes over the daemon's socket.

// daemonFlags find the daemon that is meant.
func daemonFlags(more ...cli.Flag) []cli.Flag {
	return append(more, stateDirFlag(), socketFlag())
}

// daemonOf is the daemon that a command speaks to.
func daemonOf(c *cli.Context, env Env, source string) (api.Client, error) {
	socket, err := findSocket(env, source, c.String("state-dir"), c.String("socket"))
	return api.Client{Socket: socket}, err
}

// oneSource is the only argument of most of these commands.
func oneSource(c *cli.Context) (string, error) {
	if c.NArg() > 1 {
		return "", usage("%s takes one SOURCE at most, got %d", c.Command.Name, c.NArg())
	}
	return c.Args().First(), nil
}

// whoAsks is written into the history.
func whoAsks(env Env) string {
	for _, v := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if name, ok := env.Getenv(v); ok && name != "" {
			return name
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// answered turns a refusal of the daemon into an exit code.
func answered(err error) error {
	var e *api.Error
	var coded *exit
	switch {
	case err == nil || errors.As(err, &coded):
		return err
	case !errors.As(err, &e):
		return world(err)
	case e.Code == api.CodeStale:
		return &exit{ExitStale, err}
	case e.Code == api.CodeUnavailable, e.Code == api.CodeNotReported, e.Code == api.CodeNoUsage, e.Code == api.CodeNotSigned:
		return world(err)
	}
	return &exit{ExitUsage, err}
}

// waitFlag is how long a command waits for Envoy.
func waitFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "how long to wait until Envoy serves it"}
}

// limited gives a request the time that the daemon takes, and some more.
func limited(c *cli.Context) (ctx context.Context, cancel context.CancelFunc, seconds int) {
	d := c.Duration("timeout")
	seconds = max(1, int(d.Seconds()))
	ctx, cancel = context.WithTimeout(c.Context, time.Duration(seconds)*time.Second+30*time.Second)
	return ctx, cancel, seconds
}

func historyCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:        "history",
		Usage:       "show what a running daemon served, refused and rolled back",
		ArgsUsage:   "[SOURCE]",
		Description: "The newest comes first. Revisions marked with * are kept: flexgw rollback can go to them.",
		Flags:       daemonFlags(outputFlag("text", "json"), &cli.IntFlag{Name: "limit", Value: 20, Usage: "show the newest `N` only"}),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			if c.Int("limit") < 1 {
				return usage("--limit %d: a number above 0 is expected", c.Int("limit"))
			}
			d, err := daemonOf(c, env, source)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, 10*time.Second)
			defer cancel()
			h, err := d.History(ctx, c.Int("limit"))
			if err != nil {
				return answered(err)
			}
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				if format == "json" {
					return writeJSON(w, h)
				}
				return writeHistory(w, h)
			})
		},
	}
}

func writeJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}

func writeHistory(w io.Writer, h api.History) error {
	kept := map[string]bool{}
	for _, r := range h.Kept {
		kept[r] = true
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range h.Records {
		mark := ""
		if kept[r.Revision] {
			mark = "*"
		}
		message := r.Message
		if message == "" && r.Previous != "" {
			message = "in place of " + r.Previous
		}
		if r.Commit != nil {
			message = strings.TrimSuffix(r.Commit.Author+": "+r.Commit.Subject+"; "+message, "; ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s%s\t%s\t%s\n", r.At.Local().Format("2006-01-02 15:04:05"), r.Event, orDash(short(r.Revision)), mark, orDash(diag.Visible(r.By)), oneLine(message))
	}
	return t.Flush()
}

// short is enough of a revision to name it.
func short(revision string) string {
	const enough = 19 // "sha256:" and twelve digits
	return revision[:min(len(revision), enough)]
}

func rollbackCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "rollback",
		Usage:     "have a running daemon serve an older revision again",
		ArgsUsage: "[REVISION]",
		Description: "Without a REVISION (or a prefix of one, of six characters or more), the one that was served before. The daemon keeps to it\n" +
			"until its source has another revision, or flexgw resume.",
		Flags: daemonFlags(outputFlag("text", "json"), waitFlag()),
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usage("rollback takes one REVISION at most, got %d; flexgw history lists them", c.NArg())
			}
			return act(c, env, "", func(ctx context.Context, d api.Client, seconds int) (api.Outcome, error) {
				return d.Rollback(ctx, api.RollbackRequest{Revision: c.Args().First(), By: whoAsks(env), Wait: seconds})
			})
		},
	}
}

func syncCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "sync",
		Usage:     "have a running daemon look at its source now",
		ArgsUsage: "[SOURCE]",
		Description: "Waits until Envoy serves what is there. A revision that was rolled back is tried again. One that waits for its time\n" +
			"(run --approve-after, --window) goes on waiting unless --revision names it. With --allow-rewrite, a commit of a Git\n" +
			"repository is taken once although it does not descend from the one that was taken before.",
		Flags: daemonFlags(outputFlag("text", "json"), waitFlag(),
			&cli.StringFlag{Name: "revision", Usage: "apply `REVISION` now, or the one that begins so, whatever it waits for"},
			&cli.StringFlag{Name: "allow-rewrite", Usage: "take `COMMIT` once although it rewrites history or is older"}),
		Action: func(c *cli.Context) error {
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			return act(c, env, source, func(ctx context.Context, d api.Client, seconds int) (api.Outcome, error) {
				return d.Sync(ctx, api.SyncRequest{Revision: c.String("revision"), AllowRewrite: c.String("allow-rewrite"), By: whoAsks(env), Wait: seconds})
			})
		},
	}
}

// asked is the daemon that a command speaks to, and where its answer goes.
func asked(c *cli.Context, env Env, source string) ([]output, api.Client, error) {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return nil, api.Client{}, err
	}
	d, err := daemonOf(c, env, source)
	d.Unsettled = !wantsJSON(outs)
	return outs, d, err
}

// wantsJSON says whether all that is known is to be shown.
func wantsJSON(outs []output) bool {
	return slices.ContainsFunc(outs, func(o output) bool { return o.format == "json" })
}

// act asks a daemon for something, and shows what became of it.
func act(c *cli.Context, env Env, source string, ask func(context.Context, api.Client, int) (api.Outcome, error)) error {
	outs, d, err := asked(c, env, source)
	if err != nil {
		return err
	}
	ctx, cancel, seconds := limited(c)
	defer cancel()
	o, err := ask(ctx, d, seconds)
	if err != nil {
		return answered(err)
	}
	return showOutcome(env, outs, o, nil)
}

// showOutcome writes an outcome and makes it the exit code. sources are those of the files that were sent; nil: none were.
func showOutcome(env Env, outs []output, o api.Outcome, sources func(string) ([]byte, error)) error {
	err := each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return writeJSON(w, o)
		}
		return writeOutcome(w, o)
	})
	if err != nil {
		return err
	}
	if err := printProblems(env, o.Diagnostics, sources); err != nil {
		return err
	}
	return outcomeError(o)
}

// printProblems shows what a daemon found. sources are those of the files that were sent; nil: none were.
func printProblems(env Env, list diag.List, sources func(string) ([]byte, error)) error {
	p := diag.Printer{Sources: sources, Color: colour(env.Stderr, env)}
	if sources == nil {
		p.Sources = func(name string) ([]byte, error) { return nil, fs.ErrNotExist }
	}
	if err := p.Print(env.Stderr, list); err != nil {
		return world(err)
	}
	return nil
}

// outcomeError is the exit code that an outcome makes.
func outcomeError(o api.Outcome) error {
	switch o.Result {
	case api.Programmed:
		return nil
	case api.Accepted:
		if o.Reason == "DryRun" || o.Reason == "Observed" || o.Reason == "Copied" {
			return nil
		}
		return &exit{ExitWorld, fmt.Errorf("accepted, and not live yet (%s): %s", o.Reason, o.Message)}
	case api.Waiting:
		return &exit{ExitWorld, errors.New("not live yet: " + o.Message)}
	case api.Invalid:
		return &exit{code: ExitDiagnostics}
	case api.Rejected, api.RolledBack, api.ProofFailed:
		return &exit{ExitRejected, errors.New(o.Message)}
	}
	return &exit{ExitUsage, errors.New(o.Message)}
}

// resultText says what became of a revision.
func resultText(o api.Outcome) string {
	result := map[string]string{
		api.Programmed: "programmed", api.Accepted: "accepted", api.Invalid: "invalid, and nothing changed", api.Rejected: "refused by Envoy",
		api.RolledBack: "rolled back", api.ProofFailed: "live, and its probes or its error rate speak against it", api.Pinned: "pinned", api.Waiting: "waits", api.Superseded: "another revision came in between",
	}[o.Result]
	if o.Reason != "" && o.Reason != o.Result {
		result += " (" + o.Reason + ")"
	}
	return result
}

func writeOutcome(w io.Writer, o api.Outcome) error {
	fmt.Fprintf(w, "%s%s\n", o.ChangesText, resultText(o))
	fmt.Fprintf(w, "revision  %s\nserved    %s\n", orDash(o.Revision), orDash(o.Served))
	for _, name := range o.Deleted {
		fmt.Fprintf(w, "deleted   %s\n", name)
	}
	writeObjects(w, o.Objects, false)
	for _, h := range o.Held {
		at := ""
		if h.Place != nil {
			at = " at " + diag.Visible(h.Place.String())
		}
		fmt.Fprintf(w, "held      %s %s/%s%s, at its last good version\n", h.Kind, h.Namespace, h.Name, at)
	}
	return nil
}

func suspendCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "suspend",
		Usage:     "have a running daemon leave its source alone for a while",
		ArgsUsage: "[SOURCE]",
		Description: "What is served stays, also across a restart of the daemon. flexgw apply and flexgw rollback work meanwhile. It ends with the\n" +
			"time that --for gives, or with flexgw resume.",
		Flags: daemonFlags(outputFlag("text", "json"),
			&cli.DurationFlag{Name: "for", Usage: "for how long, for example 2h (default: until flexgw resume)"},
			&cli.StringFlag{Name: "reason", Usage: "why: shown by flexgw status and kept in the history (required)"}),
		Action: func(c *cli.Context) error {
			source, err := oneSource(c)
			switch {
			case err != nil:
				return err
			case c.String("reason") == "":
				return usage("suspend needs --reason: whoever finds the daemon suspended wants to know why")
			case c.IsSet("for") && c.Duration("for") < time.Second:
				return usage("--for %s: a second at least is expected", c.Duration("for"))
			}
			return control(c, env, source, func(ctx context.Context, d api.Client) (status.Report, error) {
				return d.Suspend(ctx, api.SuspendRequest{Seconds: int64(c.Duration("for").Seconds()), Reason: c.String("reason"), By: whoAsks(env)})
			})
		},
	}
}

func resumeCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:        "resume",
		Usage:       "have a running daemon follow its source again",
		ArgsUsage:   "[SOURCE]",
		Description: "Ends a suspension and a rollback, and has a revision that was rolled back tried again.",
		Flags:       daemonFlags(outputFlag("text", "json")),
		Action: func(c *cli.Context) error {
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			return control(c, env, source, func(ctx context.Context, d api.Client) (status.Report, error) {
				return d.Resume(ctx, api.OperatorRequest{By: whoAsks(env)})
			})
		},
	}
}

// control changes what a daemon does, and shows how things stand then.
func control(c *cli.Context, env Env, source string, ask func(context.Context, api.Client) (status.Report, error)) error {
	outs, d, err := asked(c, env, source)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, 30*time.Second)
	defer cancel()
	r, err := ask(ctx, d)
	if err != nil {
		return answered(err)
	}
	return each(outs, env.Stdout, func(format string, w io.Writer) error { return writeReport(w, r, format, false) })
}

func writeReport(w io.Writer, r status.Report, format string, verbose bool) error {
	if format != "json" {
		return writeStatus(w, r, verbose)
	}
	b, err := r.JSON()
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}

func probeCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "probe",
		Usage:     "say by the exit code whether a running daemon is ready, or alive",
		ArgsUsage: "[SOURCE]",
		Description: "For the health checks of containers and units: exit code 0 or 1. liveness: the daemon answers. readiness: an Envoy is\n" +
			"connected and serves a revision, be it the newest one or the one before.",
		Flags: daemonFlags(
			known(&cli.StringFlag{Name: "check", Value: "readiness", Usage: "`readiness|liveness`"}, "readiness", "liveness"),
			&cli.DurationFlag{Name: "timeout", Value: 2 * time.Second, Usage: "how long the daemon may take to answer"}),
		Action: func(c *cli.Context) error {
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			check := c.String("check")
			if check != "readiness" && check != "liveness" {
				return usage("--check %s: known are readiness and liveness", check)
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			d, err := daemonOf(c, env, source)
			if err != nil {
				return &exit{ExitDiagnostics, err}
			}
			d.Unsettled = true
			r, err := d.Status(ctx)
			if err != nil {
				return &exit{ExitDiagnostics, err}
			}
			if why := unready(r); check == "readiness" && why != "" {
				return &exit{ExitDiagnostics, errors.New("not ready: " + why)}
			}
			return nil
		},
	}
}

// unready is why nothing is served; "": something is.
func unready(r status.Report) string {
	p, _ := r.Condition(status.Programmed)
	switch {
	case r.Revision == "":
		return "no revision was programmed yet: " + p.Reason + " " + p.Message
	case p.Status == status.Unknown:
		return p.Message
	}
	return ""
}
