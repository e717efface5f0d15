package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

func statusCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show how far the declarations of a running daemon got",
		ArgsUsage: "[SOURCE]",
		Description: "Finds the daemon by --socket, --state-dir or its SOURCE; without any of them, the only one that runs.\n" +
			"Exit code 3 means that no daemon answers.",
		Flags: fleetFlags(outputFlag("text", "json"), stateDirFlag(), socketFlag(), verboseFlag(),
			&cli.BoolFlag{Name: "all", Usage: "a line for each of several daemons: those of --daemon and --daemons, else all that run on this host"}),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			if c.Bool("all") {
				return statusAll(c, env, outs)
			}
			for _, name := range []string{"daemon", "daemons", "tls-cert", "tls-key", "tls-ca"} {
				if c.IsSet(name) {
					return usage("--%s goes with --all", name)
				}
			}
			if c.NArg() > 1 {
				return usage("status takes one SOURCE at most, got %d", c.NArg())
			}
			ctx, cancel := context.WithTimeout(c.Context, 10*time.Second)
			defer cancel()
			socket, err := findSocket(env, c.Args().First(), c.String("state-dir"), c.String("socket"))
			if err != nil {
				return err
			}
			r, err := api.Client{Socket: socket, Unsettled: !c.Bool("verbose") && !wantsJSON(outs)}.Status(ctx)
			if err != nil {
				return world(err)
			}
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				return writeReport(w, r, format, c.Bool("verbose"))
			})
		},
	}
}

// unitSocket is that of the daemon of docs/systemd, which is found without naming it.
const unitSocket = "/run/flexgw/" + socketName

// findSocket finds the daemon that is meant: the one that would be there by what is named, else one that runs elsewhere and says that it
// follows the source.
func findSocket(env Env, source, stateDir, socket string) (string, error) {
	if socket != "" {
		return socket, nil
	}
	_, unit := env.Getenv("RUNTIME_DIRECTORY")
	if source != "" || stateDir != "" || unit {
		p, err := findPlaces(env, source, stateDir, socket)
		if err != nil {
			return "", world(err)
		}
		if source == "" || stateDir != "" || answers(p.socket) {
			return p.socket, nil
		}
		live, err := liveDaemons(env)
		if err != nil {
			return "", err
		}
		name := nameOf(source)
		live = slices.DeleteFunc(live, func(d liveDaemon) bool { return d.follows != name })
		if len(live) > 1 {
			return "", usage("%d daemons follow %s; name one with --socket:\n  %s", len(live), diag.Visible(name), strings.Join(socketsOf(live), "\n  "))
		}
		if len(live) == 1 {
			return live[0].socket, nil
		}
		return p.socket, nil
	}
	live, err := liveDaemons(env)
	if err != nil {
		return "", err
	}
	switch len(live) {
	case 0:
		return "", world(fmt.Errorf("no daemon runs (looked in %s and %s); name one with --socket or --state-dir", runtimeHome(env), filepath.Dir(unitSocket)))
	case 1:
		return live[0].socket, nil
	}
	return "", usage("%d daemons run; name one with --socket:\n  %s", len(live), strings.Join(socketsOf(live), "\n  "))
}

// answers says whether a daemon is behind a socket. One that is not ours may be.
func answers(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err == nil {
		conn.Close()
	}
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// liveDaemon is one that runs on this host for this user.
type liveDaemon struct{ socket, state, follows string } // the last two as in status.Daemon

func socketsOf(live []liveDaemon) []string {
	names := make([]string, len(live))
	for i, d := range live {
		names[i] = d.socket
	}
	return names
}

// liveDaemons are those that run on this host for this user.
func liveDaemons(env Env) ([]liveDaemon, error) {
	found, err := filepath.Glob(filepath.Join(runtimeHome(env), "*", socketName))
	if err != nil {
		return nil, world(err)
	}
	var live []liveDaemon
	for _, f := range append(found, unitSocket) {
		if to, err := os.Readlink(f); err == nil {
			f = to // of a daemon with a --state-dir or --socket of its own
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if r, err := (api.Client{Socket: f, Unsettled: true}).Status(ctx); err == nil {
			live = append(live, liveDaemon{f, r.Daemon.StateDir, r.Daemon.Follows})
		}
		cancel()
	}
	return live, nil
}

func writeStatus(w io.Writer, r status.Report, verbose bool) error {
	fmt.Fprintf(w, "source    %s\nrevision  %s\n", r.Source, orDash(r.Revision))
	if c := r.Commit; c != nil {
		fmt.Fprintf(w, "commit    by %s at %s: %s\n", c.Author, c.At.Format(time.RFC3339), c.Subject)
	}
	if r.Remote != "" && r.Remote != r.Source {
		fmt.Fprintf(w, "remote    %s was read last\n", r.Remote)
	}
	if r.Requires != "" {
		fmt.Fprintf(w, "requires  %s\n", r.Requires)
	}
	if len(r.Addresses) > 0 {
		fmt.Fprintf(w, "declares  %s\n", strings.Join(r.Addresses, " "))
	}
	if x := r.Suspended; x != nil {
		until := "until flexgw resume"
		if x.Until != nil {
			until = "until " + x.Until.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "suspended %s by %s: %s\n", until, orDash(diag.Visible(x.By)), oneLine(x.Reason))
	}
	if x := r.Pinned; x != nil {
		fmt.Fprintf(w, "pinned    by %s at %s, in place of %s, until the source has another revision or flexgw resume\n", orDash(diag.Visible(x.By)), x.At.Format(time.RFC3339), x.From)
	}
	if x := r.Waiting; x != nil {
		fmt.Fprintf(w, "waiting   %s since %s, until %s\n", x.Revision, x.Since.Format(time.RFC3339), x.End())
	}
	for _, c := range r.Conditions {
		writeCondition(w, "", c)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range r.Envoys {
		writeNode(t, e)
		for _, d := range e.Types {
			fmt.Fprintf(t, "\t%s\t%d synced\t%d waiting\t%d refused\n", d.Type, d.Synced, d.Stale+d.NotSent, d.Error)
		}
	}
	for _, p := range r.Refused {
		fmt.Fprintf(t, "refused\t%s\t%s\t%d times, last at %s\t%s\t%s\n", p.Address, orDash(diag.Visible(p.Identity)), p.Count, p.At.Format(time.RFC3339), p.Reason, diag.Visible(p.Message))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	writeLimits(w, r.Envoys)
	writeObjects(w, r.Objects, verbose)
	if r.LastFailed != nil {
		writeFailed(w, r, verbose)
	}
	return nil
}

// writeNode is the line of one Envoy, and another one when it is cordoned.
func writeNode(w io.Writer, e status.Envoy) {
	connected := "connected"
	switch {
	case e.Connected:
	case e.Version == "": // only its name is remembered
		connected = "not seen"
	default:
		connected = "gone"
	}
	fmt.Fprintf(w, "envoy\t%s\t%s\t%s since %s\t%s\t%s\n", diag.Visible(e.Node), orDash(diag.Visible(e.Version)), connected, e.Since.Format(time.RFC3339), orDash(e.Revision), hostOf(e))
	if x := e.Cordoned; x != nil {
		fmt.Fprintf(w, "\tcordoned\tby %s\tsince %s\t%s\n", orDash(diag.Visible(x.By)), x.Since.Format(time.RFC3339), diag.Visible(x.Reason))
	}
}

// hostOf says where an Envoy is.
func hostOf(e status.Envoy) string {
	if e.Version == "" {
		return "-"
	}
	if e.Address == "" {
		return "on this host"
	}
	return diag.Visible(e.Address + " as " + e.Identity)
}

// writeLimits shows what Envoys on other hosts do without; it is the same for all of them.
func writeLimits(w io.Writer, envoys []status.Envoy) {
	for _, e := range envoys {
		for _, x := range e.Limits {
			fmt.Fprintf(w, "%s\n", x)
		}
		if len(e.Limits) > 0 {
			return
		}
	}
}

// writeObjects shows what is not as declared; with all, everything.
func writeObjects(w io.Writer, objects []status.Object, all bool) {
	for _, o := range objects {
		for _, c := range o.Conditions {
			if all || c.Status != status.True {
				writeCondition(w, o.Kind+" "+o.Namespace+"/"+o.Name+" ", c)
			}
		}
	}
}

// writeFailed shows what is wrong now; of what was mended it says only that it was.
func writeFailed(w io.Writer, r status.Report, verbose bool) {
	f := r.LastFailed
	fmt.Fprintf(w, "last failed  %s at %s: %s\n", f.Revision, f.At.Format(time.RFC3339), f.Reason)
	over := true
	for _, c := range r.Conditions {
		over = over && !amiss(c)
	}
	if over && !verbose {
		return
	}
	for _, d := range f.Diagnostics {
		if d.Severity == diag.Error || verbose {
			fmt.Fprintf(w, "  %s\n", oneLine(d.String()))
		}
	}
}

// amiss says whether a condition is not as it should be. Without a registration, or before the first report, nothing is wrong.
func amiss(c status.Condition) bool {
	return c.Status == status.False || c.Status == status.Unknown && c.Type != status.UsageReported && c.Type != status.Registered
}

func writeCondition(w io.Writer, who string, c status.Condition) {
	fmt.Fprintf(w, "%s%s=%s (%s)", who, c.Type, c.Status, c.Reason)
	if c.Place != nil && !strings.HasPrefix(c.Message, c.Place.String()) { // which then says it
		fmt.Fprintf(w, " at %s", diag.Visible(c.Place.String()))
	}
	if c.Message != "" {
		fmt.Fprintf(w, ": %s", oneLine(c.Message))
	}
	fmt.Fprintln(w)
}

// oneLine is a message that may quote what strangers wrote, names of files among it: no part of it begins a line or is obeyed.
func oneLine(message string) string { return diag.Visible(strings.ReplaceAll(message, "\n", "; ")) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
