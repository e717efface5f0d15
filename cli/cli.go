// Package cli is the command line, and the only place that puts the parts of flexgw together.
//
// Commands read flags, call into the house and print; what they compute, they do not know.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/schema/diag"
)

// The exit codes of every command in every format (design.md, decision 16).
const (
	ExitClean       = 0
	ExitDiagnostics = 1 // a diagnostic of error severity
	ExitUsage       = 2
	ExitWorld       = 3 // disk, network, a process
	ExitRejected    = 4 // refused by Envoy and rolled back
	ExitStale       = 5 // a plan that no longer fits
)

// Env is the world of one run of the command line.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) (string, bool)
	Now            func() time.Time // nil: the clock

	keys *keyring // of this run; set by Main
}

// System is the process's own world.
func System() Env {
	return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.LookupEnv}
}

// exit is an error that carries the process's exit code; the text may be empty when all is said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is a mistake in how the command was called.
func usage(format string, args ...any) error { return &exit{ExitUsage, fmt.Errorf(format, args...)} }

// world is a failure of disk, network or a process.
func world(err error) error { return &exit{ExitWorld, err} }

// Main runs one command and returns the exit code. args[0] is the program's name.
func Main(args []string, env Env) int {
	env.keys = &keyring{}
	app := newApp(env)
	sorted, err := sortArgs(app, args)
	if err == nil {
		err = app.Run(sorted)
	}
	if err == nil {
		return ExitClean
	}
	var e *exit
	if !errors.As(err, &e) {
		e = &exit{ExitUsage, err} // what the library itself complains of
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != "" {
			fmt.Fprintln(env.Stderr, "flexgw: "+diag.Visible(line))
		}
	}
	return e.code
}

func newApp(env Env) *cli.App {
	app := &cli.App{
		Name:           "flexgw",
		Usage:          "run Anypoint Flex Gateway Local Mode declarations on a stock Envoy",
		Description:    "Validate declarations, see what Envoy gets from them, and keep an Envoy equal to them.",
		Version:        version(),
		HideVersion:    true,
		Reader:         env.Stdin,
		Writer:         env.Stdout,
		ErrWriter:      env.Stderr,
		ExitErrHandler: func(*cli.Context, error) {}, // nothing calls os.Exit behind us
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usage("%s", plain(err)) },
		Flags:          []cli.Flag{&cli.BoolFlag{Name: "version", Usage: "print the version"}},
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				_, err := fmt.Fprintln(env.Stdout, "flexgw "+version())
				return err
			}
			if c.Args().Present() {
				return usage("no command %q%s; flexgw --help lists the commands", c.Args().First(), suggest(c.Args().First(), commandNames(c.App)))
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			validateCommand(env), fmtCommand(env), diffCommand(env), renderCommand(env), runCommand(env), applyCommand(env), statusCommand(env), historyCommand(env), rollbackCommand(env), suspendCommand(env), resumeCommand(env),
			syncCommand(env), nodesCommand(env), nodeCommand(env), rolloutCommand(env), probeCommand(env), drainCommand(env), listCommand(env),
			policyCommand(env), explainCommand(env), schemaCommand(env), lspCommand(env), egressCommand(env), usageCommand(env), registerCommand(env), renewCommand(env), unregisterCommand(env), gatewaysCommand(env), registrationCommand(env), preflightCommand(env), simCommand(env), completionCommand(env), versionCommand(env),
		},
	}
	withKeys(env, app.Commands...)
	onUsageError(app.Commands)
	return app
}

// onUsageError gives every command the words of newApp for a flag that it does not have.
func onUsageError(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelpCommand = len(c.Subcommands) == 0 // else "help", or "h", is no folder
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usage("%s", plain(err)) }
		onUsageError(c.Subcommands)
	}
}

// plain takes the library's own words out of its messages.
func plain(err error) string {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	switch {
	case !unknown:
		return err.Error()
	case len(name) > 1:
		return "no flag --" + name
	}
	return "no flag -" + name
}

func suggest(name string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := diag.Distance(name, k); d < distance {
			best, distance = k, d
		}
	}
	for _, k := range known { // what is left out at the end is the usual mistake: cors for cors-flex
		if best == "" && len(name) > 2 && strings.HasPrefix(k, name) {
			best = k
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

func commandNames(app *cli.App) []string {
	names := make([]string, len(app.Commands))
	for i, c := range app.Commands {
		names[i] = c.Name
	}
	return names
}

// sortArgs moves the flags of a command before its arguments: urfave/cli v2 reads no flag after the first argument
// (its issues 976 and 1177), and people write `flexgw validate dir --output json`. What follows `--` is left alone.
func sortArgs(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{app.Name}, nil
	}
	out := []string{args[0]}
	rest := args[1:]
	commands, flags := app.Commands, app.Flags
	for len(rest) > 0 && !strings.HasPrefix(rest[0], "-") { // down to the command that takes the arguments
		if len(commands) > 0 && (rest[0] == "help" || rest[0] == "h") {
			return helpArgs(out, rest[1:], commands)
		}
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			break
		}
		out, rest = append(out, rest[0]), rest[1:]
		commands, flags = commands[i].Subcommands, commands[i].Flags
	}
	var front, back []string
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			back = append(back, rest...)
			break
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			back = append(back, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		known, wantsValue := findFlag(flags, name)
		if known == "" {
			front = append(front, arg) // the library says what is wrong with it
			continue
		}
		// One name for each flag: the library refuses two names of one flag in a call.
		switch {
		case hasValue:
			front = append(front, "--"+known+"="+value)
		case !wantsValue:
			front = append(front, "--"+known)
		case len(rest) == 0:
			return nil, usage("flag --%s needs a value", known)
		default:
			front, rest = append(front, "--"+known+"="+rest[0]), rest[1:]
		}
	}
	out = append(out, front...)
	if len(back) > 0 {
		out = append(append(out, "--"), back...)
	}
	return out, nil
}

// helpArgs are those that show the help of the command that names lead to: help, of the library, goes down by one name only.
func helpArgs(out, names []string, commands []*cli.Command) ([]string, error) {
	for i, name := range names {
		if strings.HasPrefix(name, "-") {
			break
		}
		j := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
		if j < 0 {
			known := make([]string, len(commands))
			for k, c := range commands {
				known[k] = c.Name
			}
			return nil, usage("no command %q%s; flexgw --help lists the commands", strings.Join(append(slices.Clone(out[1:]), names[i]), " "), suggest(name, known))
		}
		out, commands = append(out, name), commands[j].Subcommands
	}
	return append(out, "--help"), nil
}

// findFlag is the first name of the flag that has name among its names, and whether it takes a value.
func findFlag(flags []cli.Flag, name string) (first string, takesValue bool) {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return f.Names()[0], !isBool
		}
	}
	return "", false
}
