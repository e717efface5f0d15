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
	paths  []string
	diff   bool
	env    Env
	failed error // what could not be written; the rest was
}

// askedToFix is nil when the command only reports.
func askedToFix(c *cli.Context, outs []output, env Env) (*fixing, error) {
	if !c.Bool("fix") && !c.Bool("diff") {
		return nil, nil
	}
	if c.Bool("staged") {
		return nil, usage("--fix edits files, and --staged judges Git's index: leave one of them out")
	}
	f := &fixing{paths: c.Args().Slice(), diff: c.Bool("diff"), env: env}
	if i := slices.IndexFunc(outs, func(o output) bool { return o.file == "" && o.format != "text" }); i >= 0 && (f.diff || slices.Contains(f.paths, "-")) {
		return nil, usage("what is on standard output is the %s: give --output %s a file", map[bool]string{true: "diff", false: "fixed text"}[f.diff], outs[i].format)
	}
	return f, nil
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
	before := now.set
	now.set = r.Set
	return was, f.write(r, before, now)
}

// write puts the fixed text where it belongs and says so. A file that cannot be written keeps its text in now too.
func (f *fixing) write(r fix.Result, before source.Set, now *reading) error {
	stdin, to := stdinFile(now.set, f.paths), newRewriting(f.paths)
	kept := map[string]bool{}
	for _, c := range r.Changed {
		file := rewritten{c.Name, c.Before, c.After}
		did, again := "fixed", false
		switch {
		case f.diff:
			did = "would fix"
			if err := file.diff(f.env.Stdout); err != nil {
				return world(err)
			}
		case c.Name != stdin:
			var err error
			if again, err = to.write(file); err != nil {
				f.failed, kept[c.Name] = errors.Join(f.failed, err), true
				continue
			}
		}
		if !again {
			fmt.Fprintf(f.env.Stderr, "%s %s in %s\n", did, problems(c.Fixes), c.Name)
		}
	}
	now.set = mixed(before, now.set, kept)
	for _, x := range r.Refused {
		words := "its fixes"
		if slices.ContainsFunc(r.Changed, func(c fix.Changed) bool { return c.Name == x.Name }) {
			words = "its other fixes"
		}
		fmt.Fprintf(f.env.Stderr, "%s: %s are left out, for that of %s would make it worse\n", x.Name, words, x.Code)
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

// mixed is now with what some files were before.
func mixed(before, now source.Set, which map[string]bool) source.Set {
	if len(which) == 0 {
		return now
	}
	files := slices.Clone(now.Files)
	for i, f := range files {
		if j := slices.IndexFunc(before.Files, func(b source.File) bool { return b.Name == f.Name }); j >= 0 && which[f.Name] {
			files[i] = before.Files[j]
		}
	}
	return source.NewSet(files)
}

func problems(n int) string {
	if n == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", n)
}

// unwritten is the error of fixes that could not be written.
func (f *fixing) unwritten() error {
	if f == nil || f.failed == nil {
		return nil
	}
	return world(f.failed)
}

// output is where diagnostics go: what is on standard output shall be a diff, or the fixed text, and nothing else.
func (f *fixing) output(now reading, env Env) io.Writer {
	if f != nil && (f.diff || stdinFile(now.set, f.paths) != "") {
		return env.Stderr
	}
	return env.Stdout
}
