package cli

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
)

func simCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "sim",
		Usage: "stand in for Anypoint Platform on this host, to try registration and usage reports",
		Description: "Writes DIR/ca.pem, the authority of its certificates, and prints `ready https://HOST:PORT` on standard output, the one line of it:\n" +
			"the base URL of the platform, for register --anypoint-url. It registers with the token sim-token for any organization, and lets\n" +
			"in the user sim-user (sim-password) and the connected app sim-client (sim-secret), unless --seed says otherwise. DIR keeps what\n" +
			"was registered and reported. A browser shows it at https://HOST:PORT/_sim, a script at /_sim/state.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:0", Usage: "the platform's `ADDRESS`, on loopback; port 0: the port of the run before, or any"},
			&cli.StringFlag{Name: "ingest-listen", Value: "127.0.0.1:0", Usage: "`ADDRESS` for usage reports, on loopback; the same"},
			&cli.StringFlag{Name: "dir", Usage: "`DIR` for state and certificates; one simulator at a time has it"},
			&cli.StringFlag{Name: "seed", Usage: "`FILE` (JSON) with organizations, users, connected apps, tokens, gateways and options"},
			known(&cli.StringFlag{Name: "clock", Usage: "`TIME` (RFC 3339) at which the simulator's clock starts to run, or real; else it goes on as DIR has it"}, "real"),
			known(&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`text|json`"}, "text", "json"),
			verboseFlag(),
		},
		Action: func(c *cli.Context) error {
			o, err := simOptions(c, env)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			s, err := sim.Open(o)
			if err != nil {
				return world(err)
			}
			if _, err := fmt.Fprintln(env.Stdout, "ready "+s.URL()); err != nil {
				_ = s.Close()
				return world(err)
			}
			if !terminal(env.Stdout) { // a script: some read only what run says there
				fmt.Fprintln(env.Stderr, "ready "+s.URL())
			}
			fmt.Fprintf(env.Stderr, "usage is taken at %s; the authority is in %s; a browser shows the state at %s/_sim\n", s.IngestURL(), filepath.Join(o.Dir, "ca.pem"), s.URL())
			if err := s.Serve(ctx); err != nil {
				return world(err)
			}
			return nil
		},
	}
}

// simOptions judges what sim is told before anything is made.
func simOptions(c *cli.Context, env Env) (sim.Options, error) {
	o := sim.Options{Dir: c.String("dir"), Listen: c.String("listen"), IngestListen: c.String("ingest-listen"), Now: env.Now}
	if err := given(c, "listen", "ingest-listen", "dir", "seed", "clock"); err != nil {
		return o, err
	}
	if c.Args().Present() {
		return o, usage("sim takes no argument: it is %q", c.Args().First())
	}
	if o.Dir == "" {
		return o, usage("sim needs --dir DIR, a folder for its state and certificates")
	}
	for flag, address := range map[string]string{"listen": o.Listen, "ingest-listen": o.IngestListen} {
		if err := sim.Loopback(address); err != nil {
			return o, usage("--%s %s", flag, err)
		}
	}
	if file := c.String("seed"); file != "" {
		seed, err := sim.ReadSeed(file)
		if err != nil {
			return o, usage("--seed: %s", err)
		}
		o.Seed = seed
	}
	if text := c.String("clock"); text == "real" {
		o.RealClock = true
	} else if text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return o, usage("--clock %s: a time as in 2026-01-31T12:00:00Z is expected, or real", text)
		}
		o.Clock = &t
	}
	level := slog.LevelWarn
	if c.Bool("verbose") {
		level = slog.LevelInfo
	}
	h := &slog.HandlerOptions{Level: level}
	switch format := c.String("log-format"); format {
	case "text":
		o.Log = slog.New(slog.NewTextHandler(env.Stderr, h))
	case "json":
		o.Log = slog.New(slog.NewJSONHandler(env.Stderr, h))
	default:
		return o, usage("--log-format %s: text or json is expected", format)
	}
	return o, nil
}
