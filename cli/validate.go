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
			"what passes here can be applied. Exit code 1 means that at least one error was found.\n" +
			"With --staged or --changed-since, no PATH is the working directory.",
		Flags: []cli.Flag{
			outputFlag(formats...), verboseFlag(),
			&cli.BoolFlag{Name: "partial", Usage: "the paths are not the whole gateway: references to other objects are notes"},
			&cli.BoolFlag{Name: "require-env", Usage: "an unset $VARIABLE is an error"},
			&cli.BoolFlag{Name: "staged", Usage: "judge what the next commit will have: Git's index, not the files"},
			&cli.StringFlag{Name: "changed-since", Usage: "report only what is not to be found at `REF` (a branch, tag or commit; main... is where HEAD left main)"},
		},
		Action: func(c *cli.Context) error {
			defer collectLess()()
			outs, err := outputsOf(c, formats...)
			if err != nil {
				return err
			}
			p := onePass(env)
			p.load.Partial, p.load.RequireEnv = c.Bool("partial"), c.Bool("require-env")
			now, err := readAsked(c.Args().Slice(), c.Bool("staged"), c.String("changed-since"), env)
			if err != nil {
				return err
			}
			defer now.close()
			list, left := p.judge(now)
			r := p.report(now.set, list)
			r.Notes, r.Incomplete, r.LeftOut = c.Bool("verbose"), now.unread != nil, left
			err = each(outs, env.Stdout, func(format string, w io.Writer) error {
				r.Color = colour(w, env)
				return r.Write(w, format)
			})
			if now.unread != nil {
				return now.unread // said after what is wrong with the rest
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
