package cli

import (
	"errors"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/schema"
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
		Flags: append([]cli.Flag{
			outputFlag(formats...), verboseFlag(),
			&cli.BoolFlag{Name: "partial", Usage: "the paths are not the whole gateway: references to other objects are notes"},
			&cli.BoolFlag{Name: "require-env", Usage: "an unset $VARIABLE is an error"},
			&cli.BoolFlag{Name: "staged", Usage: "judge what the next commit will have: Git's index, not the files"},
			&cli.StringFlag{Name: "changed-since", Usage: "report only what is not to be found at `REF` (a branch, tag or commit; main... is where HEAD left main)"},
		}, slices.Concat(projectFlags(), fixFlags(), deepFlags(), []cli.Flag{cacheFlag()})...),
		Action: func(c *cli.Context) error {
			defer collectLess()()
			if err := given(c, "changed-since", "config", "baseline", "write-baseline", "target-version"); err != nil {
				return err
			}
			outs, err := outputsOf(c, formats...)
			if err != nil {
				return err
			}
			fixing, err := askedToFix(c, outs, env)
			if err != nil {
				return err
			}
			s, err := readSettings(c, env)
			if err != nil {
				return err
			}
			deeper, err := readDeep(c, env)
			if err != nil {
				return err
			}
			kept, err := readCache(c, s, env)
			if err != nil {
				return err
			}
			outs = withText(outs)
			paths := c.Args().Slice()
			now, err := readAsked(paths, c.Bool("staged"), c.String("changed-since"), env)
			if err != nil {
				return errors.Join(err, unreadable(outs, env, paths, err))
			}
			defer now.close()
			if now.set = declared(now.set, s.judge.Project, s.names); now.then != nil {
				*now.then = declared(*now.then, s.judge.Project, s.names)
			}
			now.set = withoutOwn(now.set, outs, append(s.rules.names(), s.base, s.write)...)
			p := onePass(env)
			p.load.Partial, p.load.RequireEnv, p.load.Target = s.partial, c.Bool("require-env"), s.target
			p.asked, p.rules = s.judge.Names, s.rules.Rules
			s.judge.Narrowed = now.then != nil || s.partial
			var w watched
			kept.use(p, &w, now.repo != nil)
			was, err := fixing.apply(p, s, &w, &now)
			if err != nil {
				return err
			}
			now.watch(&w)
			p.deep = deeper // after fixing, which looks again and again
			list, left := p.judge(now)
			s.earlier(now, &w)
			judged, err := s.apply(now.set, &w, list)
			if err != nil {
				return err
			}
			judged.Reported = judged.Reported.Gather("link/unset-variable") // once each has been judged where it stands
			if slices.ContainsFunc(outs, func(o output) bool { return report.WithFixes(o.format) }) {
				judged.Reported = schema.Resolve(now.set, judged.Reported) // files are read again for it
			}
			r := p.report(now.set, judged.Reported)
			r.Sources, r.LeftOut, r.Strict = s.sources(now.set), left+len(judged.Known), s.failOn == diag.Warning
			r.Notes = c.Bool("verbose")
			r.Known, r.Compared = judged.Known, s.judge.Baseline != nil
			for _, x := range judged.Suppressed {
				r.Suppressed = append(r.Suppressed, report.Suppressed(x))
			}
			describe(&r, env, paths, now.unread)
			r.Rule = s.rules.ruleOf
			err = each(outs, fixing.output(now, env), func(format string, w io.Writer) error {
				r.Color = colour(w, env)
				return r.Write(w, format)
			})
			if unread := errors.Join(now.unread, fixing.unwritten()); unread != nil {
				return errors.Join(unread, err) // said after what is wrong with the rest
			}
			if c.Bool("diff") {
				judged.Reported = was // of the files as they are
			}
			return deeper.verdict(s.verdict(judged.Reported, err))
		},
	}
}

// withText adds text on standard output when all that was asked for goes to files: whoever reads the log of a CI job wants to
// see there why it failed.
func withText(outs []output) []output {
	if slices.ContainsFunc(outs, func(o output) bool { return o.file == "" || o.format == "text" }) {
		return outs
	}
	return append([]output{{format: "text"}}, outs...)
}

// unreadable tells programs that nothing could be read; people are told on standard error.
func unreadable(outs []output, env Env, paths []string, err error) error {
	if e := new(exit); !errors.As(err, &e) || e.code != ExitWorld {
		return nil
	}
	var r report.Report
	describe(&r, env, paths, err)
	outs = slices.DeleteFunc(outs, func(o output) bool { return o.format == "text" })
	return each(outs, env.Stdout, func(format string, w io.Writer) error { return r.Write(w, format) })
}

// verdict is the exit of a command that checked declarations; it does not depend on the format.
func verdict(list diag.List, err error) error {
	if err == nil && list.HasErrors() {
		return &exit{code: ExitDiagnostics}
	}
	return err
}
