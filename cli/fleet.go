package cli

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

// Several daemons: who they are, how each of them is reached, and one change brought to one after another.

// fleetFlags name daemons, on this host and on others.
func fleetFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.GenericFlag{Name: "daemon", Value: &values{}, Usage: "a daemon: `HOST:PORT` of its --api-listen, or the path of its socket, may repeat"},
		&cli.StringFlag{Name: "daemons", Usage: "those that `FILE` lists, one a line; # begins a comment"},
		&cli.StringFlag{Name: "tls-cert", Usage: "the certificate chain in `FILE` that daemons on other hosts are shown, PEM"},
		&cli.StringFlag{Name: "tls-key", Usage: "the key of --tls-cert in `FILE`"},
		&cli.StringFlag{Name: "tls-ca", Usage: "the authorities in `FILE` that sign their certificates"},
	)
}

// member is one daemon of several.
type member struct {
	name   string // as it was given
	client api.Client
}

// fleet finds the daemons that the flags name; without any, those that run on this host for this user.
func fleet(c *cli.Context, env Env) ([]member, error) {
	var names []string
	if v, _ := c.Generic("daemon").(*values); v != nil {
		names = slices.Clone(*v)
	}
	if file := c.String("daemons"); file != "" {
		listed, err := daemonsIn(file)
		if err != nil {
			return nil, err
		}
		names = append(names, listed...)
	}
	if len(names) == 0 {
		if c.IsSet("daemon") || c.IsSet("daemons") {
			return nil, usage("no daemon is named")
		}
		live, err := liveDaemons(env)
		if err != nil {
			return nil, err
		}
		names = socketsOf(live)
	}
	dial, err := daemonTLS(c, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !remoteDaemon(name) }))
	if err != nil {
		return nil, err
	}
	var out []member
	for _, name := range names {
		if slices.ContainsFunc(out, func(m member) bool { return m.name == name }) {
			return nil, usage("the daemon %s is named twice", name)
		}
		m := member{name, api.Client{Socket: strings.TrimPrefix(name, "unix:"), Unsettled: true}}
		if remoteDaemon(name) {
			m.client = api.Client{Socket: name, Unsettled: true, Dial: func(ctx context.Context) (*tls.Conn, error) { return dial(ctx, name) }}
		}
		out = append(out, m)
	}
	return out, nil
}

// remoteDaemon says whether a name is an address and no socket of this host.
func remoteDaemon(name string) bool {
	_, _, err := net.SplitHostPort(name)
	return err == nil && !strings.ContainsRune(name, filepath.Separator)
}

// daemonsIn reads a list of daemons.
func daemonsIn(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, world(fmt.Errorf("--daemons: %w", err))
	}
	defer f.Close()
	var names []string
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		name, _, _ := strings.Cut(lines.Text(), "#")
		name = strings.TrimSpace(name)
		switch {
		case name == "":
		case strings.ContainsAny(name, " \t") || !remoteDaemon(name) && !strings.ContainsRune(name, filepath.Separator):
			return nil, usage("%s:%d: %q: HOST:PORT or the path of a socket is expected, one a line", file, n, name)
		default:
			names = append(names, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, world(fmt.Errorf("--daemons %s: %w", file, err))
	}
	if len(names) == 0 {
		return nil, usage("--daemons %s: it names no daemon", file)
	}
	return names, nil
}

// daemonTLS is how daemons on other hosts are reached; nil: there are none.
func daemonTLS(c *cli.Context, addresses []string) (func(ctx context.Context, address string) (*tls.Conn, error), error) {
	files, needed := []string{"tls-cert", "tls-key", "tls-ca"}, len(addresses) > 0
	for _, name := range files {
		if needed && c.String(name) == "" {
			return nil, usage("a daemon on another host is reached by mutual TLS: --tls-cert, --tls-key and --tls-ca are needed, and --%s was not given", name)
		}
		if !needed && c.String(name) != "" {
			return nil, usage("--%s is for daemons on other hosts, and none is named", name)
		}
	}
	if !needed {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.String("tls-cert"), c.String("tls-key"))
	if err != nil {
		return nil, world(fmt.Errorf("--tls-cert, --tls-key: %w", err))
	}
	ca, err := os.ReadFile(c.String("tls-ca"))
	if err != nil {
		return nil, world(fmt.Errorf("--tls-ca: %w", err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, world(fmt.Errorf("--tls-ca %s: no certificate in PEM is in it", c.String("tls-ca")))
	}
	out := egress.New(egress.Options{})
	var named []egress.Destination
	for _, a := range addresses {
		named = append(named, egress.Destination{Host: a, Why: "--daemon " + a})
	}
	out.Set(egress.Operator, named)
	return func(ctx context.Context, address string) (*tls.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		raw, err := out.Dial(ctx, egress.Operator, "tcp", address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: host, NextProtos: []string{"h2"}})
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return conn, nil
	}, nil
}

// answer is what one daemon said of itself.
type answer struct {
	Daemon string         `json:"daemon"` // as it was named
	Error  string         `json:"error"`  // why it did not answer; "": it did
	Status *status.Report `json:"status"` // null: it did not; without objects
}

// fleetFor bounds how long all daemons together may take to answer.
const fleetFor = 10 * time.Second

// askAll asks all daemons at once how they are.
func askAll(ctx context.Context, members []member) []answer {
	ctx, cancel := context.WithTimeout(ctx, fleetFor)
	defer cancel()
	out := make([]answer, len(members))
	var asked sync.WaitGroup
	for i, m := range members {
		asked.Go(func() {
			r, err := m.client.Status(ctx)
			out[i] = answer{Daemon: m.name}
			if err != nil {
				out[i].Error = err.Error()
				return
			}
			r.Objects = []status.Object{} // status of one daemon has them
			out[i].Status = &r
		})
	}
	asked.Wait()
	return out
}

// statusAll shows all daemons, a line each.
func statusAll(c *cli.Context, env Env, outs []output) error {
	if c.NArg() > 0 || c.IsSet("socket") || c.IsSet("state-dir") {
		return usage("--all is about several daemons: name them with --daemon or --daemons")
	}
	members, err := fleet(c, env)
	if err != nil {
		return err
	}
	answers := askAll(c.Context, members)
	err = each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return writeJSON(w, struct {
				SchemaVersion int      `json:"schemaVersion"`
				Daemons       []answer `json:"daemons"`
			}{api.SchemaVersion, answers})
		}
		return writeFleet(w, answers)
	})
	if err != nil {
		return err
	}
	return silent(answers)
}

// silent is the error of daemons that did not answer.
func silent(answers []answer) error {
	var names []string
	for _, a := range answers {
		if a.Status == nil {
			names = append(names, a.Daemon)
		}
	}
	switch {
	case len(answers) == 0:
		return world(errors.New("no daemon runs on this host; name others with --daemon or --daemons"))
	case len(names) > 0:
		return world(fmt.Errorf("%d of %d daemons did not answer: %s", len(names), len(answers), strings.Join(names, ", ")))
	}
	return nil
}

func writeFleet(w io.Writer, answers []answer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DAEMON\tHOST\tVERSION\tREVISION\tSTATE\tENVOY")
	for _, a := range answers {
		r := a.Status
		if r == nil {
			fmt.Fprintf(t, "%s\t-\t-\t-\tdoes not answer\t%s\n", a.Daemon, diag.Visible(a.Error))
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Daemon, diag.Visible(orDash(r.Daemon.Host)), diag.Visible(orDash(r.Daemon.Version)), orDash(short(r.Revision)), stateOf(*r), envoysOf(r.Envoys))
	}
	return t.Flush()
}

// stateOf is the first thing that is not as it should be.
func stateOf(r status.Report) string {
	for _, c := range r.Conditions {
		if amiss(c) {
			return c.Type + "=" + c.Status + " (" + c.Reason + ")"
		}
	}
	switch {
	case r.Pinned != nil:
		return "pinned"
	case r.Waiting != nil:
		return "live, and " + short(r.Waiting.Revision) + " waits"
	}
	return "live"
}

// envoysOf says of the Envoys of a daemon since when they are there, or are not.
func envoysOf(envoys []status.Envoy) string {
	if len(envoys) == 0 {
		return "none"
	}
	var parts []string
	for _, e := range envoys {
		how := "connected since "
		if !e.Connected {
			how = "disconnected since "
		}
		text := how + e.Since.Format(time.RFC3339)
		if len(envoys) > 1 {
			text = diag.Visible(e.Node) + " " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func rolloutCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "rollout",
		Usage:     "bring a revision to several daemons, one after another, and stop at the first that fails",
		ArgsUsage: "--revision REVISION --daemons FILE",
		Description: "The daemons follow one repository and wait for somebody to say so (run --approve-after never). Each is told to apply the revision,\n" +
			"and the next comes when every Envoy of the one before serves it and --pause has passed. When all have it already, nothing happens. Nothing\n" +
			"is begun unless all daemons answer. Exit code 4: one rolled back, those after it were left alone.",
		Flags: fleetFlags(outputFlag("text", "json"),
			&cli.StringFlag{Name: "revision", Usage: "the `REVISION` (a commit), or what it begins with (required)"},
			&cli.DurationFlag{Name: "pause", Usage: "how long one must serve it, and be as it should, before the next comes"},
			waitFlag()),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			switch {
			case err != nil:
				return err
			case c.NArg() > 0:
				return usage("rollout takes no argument, got %s; daemons are named with --daemon or --daemons", c.Args().First())
			case c.String("revision") == "":
				return usage("rollout needs --revision: what is to be served everywhere")
			case c.Duration("pause") < 0:
				return usage("--pause %s: it can not be negative", c.Duration("pause"))
			}
			members, err := fleet(c, env)
			if err != nil {
				return err
			}
			if err := silent(askAll(c.Context, members)); err != nil {
				return fmt.Errorf("nothing was begun: %w", err)
			}
			return rollOut(c, env, outs, members)
		},
	}
}

// step is what became of a rollout at one daemon.
type step struct {
	Daemon  string       `json:"daemon"`
	Result  string       `json:"result"`  // as in outcome; "Failed": it could not be asked; "NotTried"
	Error   string       `json:"error"`   // of Failed, and of one that was live and did not stay so
	Outcome *api.Outcome `json:"outcome"` // null: there is none
}

// The results of a step that no outcome has.
const (
	stepFailed   = "Failed"
	stepNotTried = "NotTried"
)

func rollOut(c *cli.Context, env Env, outs []output, members []member) error {
	steps := make([]step, len(members))
	for i, m := range members {
		steps[i] = step{Daemon: m.name, Result: stepNotTried}
	}
	var failed error
	revision := c.String("revision")
	for i, m := range members {
		fmt.Fprintf(env.Stderr, "%s …\n", m.name)
		if failed = roll(c, env, m, revision, &steps[i]); failed == nil {
			revision = steps[i].Outcome.Revision // what it begins with may begin another one elsewhere
		}
		if failed == nil && i < len(members)-1 {
			failed = stays(c, m, &steps[i])
		}
		if failed != nil {
			break
		}
	}
	err := each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return writeJSON(w, struct {
				SchemaVersion int    `json:"schemaVersion"`
				Revision      string `json:"revision"`
				Daemons       []step `json:"daemons"`
			}{api.SchemaVersion, revision, steps})
		}
		return writeSteps(w, steps)
	})
	for _, s := range steps {
		if s.Outcome != nil && err == nil {
			err = printProblems(env, s.Outcome.Diagnostics, nil)
		}
	}
	return cmp.Or(err, failed)
}

// roll brings the revision to one daemon.
func roll(c *cli.Context, env Env, m member, revision string, s *step) error {
	ctx, cancel, seconds := limited(c)
	defer cancel()
	o, err := m.client.Sync(ctx, api.SyncRequest{Revision: revision, By: whoAsks(env), Wait: seconds})
	if err != nil {
		s.Result, s.Error = stepFailed, err.Error()
		return at(m, answered(err))
	}
	s.Result, s.Outcome = o.Result, &o
	if err := outcomeError(o); err != nil {
		s.Error = o.Message
		return at(m, err)
	}
	return nil
}

// stays waits for --pause, and looks whether a daemon still serves what it was brought to: it may have been taken back.
func stays(c *cli.Context, m member, s *step) error {
	select {
	case <-time.After(c.Duration("pause")):
	case <-c.Context.Done():
		return world(c.Context.Err())
	}
	ctx, cancel := context.WithTimeout(c.Context, fleetFor)
	defer cancel()
	r, err := m.client.Status(ctx)
	if err != nil {
		s.Error = err.Error()
		return at(m, world(err))
	}
	if programmed, _ := r.Condition(status.Programmed); r.Revision != s.Outcome.Revision || programmed.Status != status.True {
		s.Error = fmt.Sprintf("it did not stay: %s is served, Programmed=%s (%s) %s", orDash(r.Revision), programmed.Status, programmed.Reason, programmed.Message)
		return at(m, &exit{ExitRejected, errors.New(s.Error)})
	}
	return nil
}

// at names the daemon in an error, and keeps its exit code.
func at(m member, err error) error {
	var e *exit
	if !errors.As(err, &e) {
		return err
	}
	if e.err == nil { // its problems are shown
		return &exit{e.code, fmt.Errorf("%s: invalid; the daemons after it were left alone", m.name)}
	}
	return &exit{e.code, fmt.Errorf("%s: %w; the daemons after it were left alone", m.name, e.err)}
}

func writeSteps(w io.Writer, steps []step) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range steps {
		text, revision := map[string]string{stepFailed: "failed", stepNotTried: "not tried"}[s.Result], "-"
		if s.Outcome != nil {
			text, revision = resultText(*s.Outcome), orDash(short(s.Outcome.Served))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Daemon, text, revision, diag.Visible(s.Error))
	}
	return t.Flush()
}
