package cli

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

func fmtCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "fmt",
		Usage:     "write declarations in canonical form",
		ArgsUsage: "PATH…",
		Description: "Indents by two, puts apiVersion, kind, metadata and spec in order, writes fields in their own case and quotes texts that readers\n" +
			"disagree about. Comments and block scalars stay as they are; a file whose meaning would change is left alone, and so is a\n" +
			"registration with Anypoint. The text of - (standard input) goes to standard output.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "change nothing; name the files that would change, and exit with 1 if there are any"},
			&cli.BoolFlag{Name: "diff", Usage: "change nothing; print what would change"},
		},
		Action: func(c *cli.Context) error {
			if err := given(c); err != nil {
				return err
			}
			defer collectLess()()
			paths := c.Args().Slice()
			set, unread := readJudged(paths, env)
			if unread != nil && len(set.Files) == 0 {
				return unread
			}
			formatted, list, err := schema.Format(set, schema.Options{Policies: all.Catalog{}, Getenv: env.Getenv})
			if err != nil {
				return world(err)
			}
			list = slices.DeleteFunc(list, func(d diag.Diagnostic) bool {
				return d.Code == "registration/left-alone" && !spelledOut(d.Subject.File, set, paths)
			})
			problems := diag.Printer{Sources: set.Bytes, Color: colour(env.Stderr, env), Notes: true}
			if err := problems.Print(env.Stderr, list); err != nil {
				return world(err)
			}
			changed, err := writeFormatted(c, env, set, formatted, paths)
			switch {
			case unread != nil || err != nil:
				return errors.Join(unread, err)
			case list.HasErrors(), c.Bool("check") && changed:
				return &exit{code: ExitDiagnostics}
			}
			return nil
		},
	}
}

// spelledOut reports whether a file is one of the paths itself, and not found below one.
func spelledOut(file string, set source.Set, paths []string) bool {
	return file == stdinFile(set, paths) || slices.ContainsFunc(paths, func(p string) bool { return filepath.ToSlash(filepath.Clean(p)) == file })
}

// writeFormatted puts what changed where it belongs, and reports whether anything did.
func writeFormatted(c *cli.Context, env Env, before, after source.Set, paths []string) (changed bool, failed error) {
	stdin, to := stdinFile(before, paths), newRewriting(paths)
	for _, f := range before.Files {
		was, err := f.Bytes()
		if err != nil {
			continue // reported where it was read
		}
		now, err := after.Bytes(f.Name)
		if err != nil {
			return changed, world(err)
		}
		same := bytes.Equal(was, now)
		changed = changed || !same
		file := rewritten{f.Name, was, now}
		switch {
		case c.Bool("diff"):
			if !same {
				err = file.diff(env.Stdout)
			}
		case c.Bool("check"):
			if !same {
				_, err = fmt.Fprintln(env.Stdout, f.Name)
			}
		case f.Name == stdin:
			_, err = env.Stdout.Write(now)
		case !same:
			again, wrong := to.write(file)
			if wrong != nil {
				failed = errors.Join(failed, wrong) // the rest is formatted all the same
			} else if !again {
				_, err = fmt.Fprintln(env.Stderr, "formatted "+f.Name)
			}
		}
		if err != nil {
			return changed, world(errors.Join(failed, err))
		}
	}
	return changed, worldly(failed)
}
