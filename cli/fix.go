package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/fix"
	"github.com/flexgw/flexgw/schema/source"
)

func fixFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "fix", Usage: "make the fixes that are certain, then report what is left; the text of - goes to standard output"},
		&cli.BoolFlag{Name: "diff", Usage: "print what --fix would change, and change nothing"},
	}
}

// fixing is what --fix or --diff is asked to do.
type fixing struct {
	paths []string
	diff  bool
	env   Env
}

// askedToFix is nil when the command only reports.
func askedToFix(c *cli.Context, env Env) (*fixing, error) {
	if !c.Bool("fix") && !c.Bool("diff") {
		return nil, nil
	}
	if c.Bool("staged") {
		return nil, usage("--fix edits files, and --staged judges Git's index: leave one of them out")
	}
	return &fixing{c.Args().Slice(), c.Bool("diff"), env}, nil
}

// apply makes the fixes of what is reported by the settings; now becomes the reading of the fixed text. With --diff, was is
// what is reported of the files as they are. On nil it does nothing.
func (f *fixing) apply(p *pipeline, s *settings, w *watched, now *reading) (was diag.List, err error) {
	if f == nil {
		return nil, nil
	}
	p.load.Memo.Once = false
	first := true
	var failed error
	r, err := fix.Apply(now.set, func(set source.Set) diag.List {
		here, own := *now, *s
		here.set, own.write = set, ""
		own.judge.Comments = nil
		here.watch(w)
		list, _ := p.judge(here)
		judged, err := own.apply(here.set, w, list)
		failed = errors.Join(failed, err)
		if first {
			was, first = slices.Clone(judged.Reported), false
		}
		return schema.Resolve(set, judged.Reported)
	})
	if err != nil || failed != nil {
		return nil, world(errors.Join(err, failed))
	}
	now.set = r.Set
	return was, f.write(r, now)
}

// write puts the fixed text where it belongs and says so.
func (f *fixing) write(r fix.Result, now *reading) error {
	stdin := stdinFile(now.set, f.paths)
	for _, c := range r.Changed {
		file := rewritten{c.Name, c.Before, c.After}
		var err error
		did := "fixed"
		switch {
		case f.diff:
			did, err = "would fix", file.diff(f.env.Stdout)
		case c.Name != stdin:
			err = file.rewrite()
		}
		if err != nil {
			return world(err)
		}
		problems := "1 problem"
		if c.Fixes != 1 {
			problems = fmt.Sprintf("%d problems", c.Fixes)
		}
		fmt.Fprintf(f.env.Stderr, "%s %s in %s\n", did, problems, c.Name)
	}
	for _, name := range r.Refused {
		fmt.Fprintf(f.env.Stderr, "left %s as it was: its fixes would make it worse\n", name)
	}
	if len(r.Changed) == 0 && len(r.Refused) == 0 {
		fmt.Fprintln(f.env.Stderr, "nothing to fix")
	}
	if stdin != "" && !f.diff {
		text, err := now.set.Bytes(stdin)
		if err == nil {
			_, err = f.env.Stdout.Write(text)
		}
		if err != nil {
			return world(err)
		}
	}
	return nil
}

// output is where diagnostics go: what is on standard output shall be a diff, or the fixed text, and nothing else.
func (f *fixing) output(now reading, env Env) io.Writer {
	if f != nil && (f.diff || stdinFile(now.set, f.paths) != "") {
		return env.Stderr
	}
	return env.Stdout
}
