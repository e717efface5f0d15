package cli

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/schema/diag"
)

func validateCommand(env Env) *cli.Command {
	formats := report.Formats()
	return &cli.Command{
		Name:      "validate",
		Usage:     "report every problem in declarations, at its file, line and column",
		ArgsUsage: "PATH…",
		Description: "Reads files, directories (recursively, hidden files left out) and - (standard input), and renders what it read:\n" +
			"what passes here can be applied. Exit code 1 means that at least one error was found.",
		Flags: []cli.Flag{
			outputFlag(formats...), verboseFlag(),
			&cli.BoolFlag{Name: "partial", Usage: "the paths are not the whole gateway: references to other objects are notes"},
			&cli.BoolFlag{Name: "require-env", Usage: "an unset $VARIABLE is an error"},
		},
		Action: func(c *cli.Context) error {
			defer collectLess()()
			outs, err := outputsOf(c, formats...)
			if err != nil {
				return err
			}
			set, unread := readPaths(c.Args().Slice(), env)
			if unread != nil && len(set.Files) == 0 {
				return unread
			}
			p := onePass(env)
			p.load.Partial, p.load.RequireEnv = c.Bool("partial"), c.Bool("require-env")
			list := p.check(set)
			r := p.report(set, list)
			r.Notes, r.Incomplete = c.Bool("verbose"), unread != nil
			err = each(outs, env.Stdout, func(format string, w io.Writer) error {
				r.Color = colour(w, env)
				return r.Write(w, format)
			})
			if unread != nil {
				return unread // said after what is wrong with the rest
			}
			return verdict(list, err)
		},
	}
}

// verdict is the exit of a command that checked declarations; it does not depend on the format.
func verdict(list diag.List, err error) error {
	if err == nil && list.HasErrors() {
		return &exit{code: ExitDiagnostics}
	}
	return err
}
