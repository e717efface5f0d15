package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/review"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

func diffCommand(env Env) *cli.Command {
	formats := review.Formats()
	return &cli.Command{
		Name:      "diff",
		Usage:     "show what a change does: exposure, policies, routes",
		ArgsUsage: "REF | A B | DIR1 DIR2",
		Description: "Compares what two sides declare by what it does, not by its text. A side is a revision (a branch, a tag, a commit; REF:PATH\n" +
			"for a folder of it) or a path. REF alone is compared with the files as they are, A...B from where B left A. Each change is\n" +
			"relevant to security, to traffic, or cosmetic: then Envoy gets what it got. Exit code 0 unless --exit-code or --fail-on is\n" +
			"given; 1 if a side is not valid.",
		Flags: append([]cli.Flag{
			outputFlag(formats...),
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "name what Envoy gets otherwise too"},
			&cli.StringFlag{Name: "path", Value: ".", Usage: "the `FOLDER` (or file) that is compared"},
			&cli.BoolFlag{Name: "staged", Usage: "compare with what the next commit will have: Git's index, not the files"},
			&cli.BoolFlag{Name: "partial", Usage: "the sides are not the whole gateway: references to other objects are taken as right"},
			&cli.BoolFlag{Name: "exit-code", Usage: "exit with 1 if a change is more than cosmetic"},
			known(&cli.StringFlag{Name: "fail-on", Usage: "exit with 1 if a change is relevant to `CLASS` or more: security, traffic, any"}, "security", "traffic", "any"),
		}, projectFileFlags()...),
		Action: func(c *cli.Context) error {
			if err := given(c, "path", "config"); err != nil {
				return err
			}
			defer collectLess()()
			outs, err := outputsOf(c, formats...)
			if err != nil {
				return err
			}
			limit, err := failOn(c)
			if err != nil {
				return err
			}
			x := &comparison{env: env, pipeline: newPipeline(env)}
			project, names, err := compared(c, env)
			if err != nil {
				return err
			}
			x.declared = func(set source.Set) source.Set { return declared(set, project, names) }
			x.pipeline.load.Partial, x.pipeline.load.Target = project.Partial || c.Bool("partial"), project.Target
			defer x.close()
			old, now, err := x.sides(c.Args().Slice(), c.String("path"), c.IsSet("path"), c.Bool("staged"))
			if err != nil {
				return err
			}
			d, err := x.compare(old, now)
			if err != nil {
				return err
			}
			d.Resources = c.Bool("verbose")
			err = each(outs, env.Stdout, func(format string, w io.Writer) error {
				if format == "text" && d.Found == nil {
					w = env.Stderr // as every command that needs valid declarations
				}
				d.Color = colour(w, env)
				return d.Write(w, format)
			})
			if err != nil {
				return err
			}
			if d.Found == nil {
				return &exit{code: ExitDiagnostics}
			}
			if worst, any := d.Found.Worst(); any && limit != nil && worst >= *limit {
				return &exit{code: ExitDiagnostics}
			}
			return nil
		},
	}
}

// failOn is the mildest class that makes the exit code 1; nil: none.
func failOn(c *cli.Context) (*diff.Class, error) {
	classes := map[string]diff.Class{"security": diff.Security, "traffic": diff.Traffic, "any": diff.Cosmetic}
	name := c.String("fail-on")
	if name == "" {
		if !c.Bool("exit-code") {
			return nil, nil
		}
		name = "traffic"
	}
	class, ok := classes[name]
	if !ok {
		return nil, usage("no class %q; --fail-on takes security, traffic or any", name)
	}
	return &class, nil
}

// comparison is one run of diff.
type comparison struct {
	env      Env
	pipeline *pipeline // of both sides: what is the same is made once
	repo     *watch.Repo
	declared func(source.Set) source.Set // without what the project excludes
}

func (x *comparison) close() {
	if x.repo != nil {
		x.repo.Close()
	}
}

// where is what a side is read from.
type where struct {
	label  string
	rev    string // "": the disk, or the index
	staged bool
	path   string
	above  bool // a path that is not there was empty then
}

// theFiles labels the side that is the files of the disk.
const theFiles = "the files"

func (w where) many() bool { return w.label == theFiles }

// sides finds out what the arguments name.
func (x *comparison) sides(args []string, folder string, asked, staged bool) (old, now where, err error) {
	here := where{label: theFiles, path: folder, above: true}
	if staged {
		here.label, here.staged = "the index", true
		if len(args) == 0 {
			args = []string{"HEAD"}
		}
	}
	switch {
	case len(args) == 0:
		return old, now, usage("nothing to compare with: name a revision (flexgw diff HEAD), two revisions, or two directories")
	case len(args) > 2:
		return old, now, usage("diff compares two, got %d arguments", len(args))
	case len(args) == 2 && args[0] == "-" && args[1] == "-":
		return old, now, usage("standard input can be one side only: there is one text in it")
	case staged && len(args) == 2:
		return old, now, usage("--staged compares the index with one revision, got two arguments")
	}
	err = x.open(args, folder)
	if needed := staged || len(args) == 1 || !isPath(args[0]) || !isPath(args[1]); needed {
		if err != nil {
			return old, now, err
		}
		if here.rev == "" && !here.staged && len(args) == 1 && x.repo.Bare() && !strings.Contains(args[0], "..") {
			return old, now, usage("a bare repository has no files to compare %s with: name two revisions", args[0])
		}
	}
	err = nil
	if len(args) == 1 {
		from, to, isRange, err := x.repo.Split(args[0])
		if err != nil {
			return old, now, world(err)
		}
		if isRange {
			if staged {
				return old, now, usage("--staged compares the index with one revision, got %s", args[0])
			}
			return where{label: label(from), rev: from, path: folder, above: true}, where{label: to, rev: to, path: folder, above: true}, nil
		}
		if old, err = x.side(args[0], folder); err != nil {
			return old, now, err
		}
		if old.rev == "" {
			return old, now, usage("%s is a path: name what to compare it with, another path or a revision", args[0])
		}
		here.path = old.path
		return old, here, nil
	}
	if old, err = x.side(args[0], folder); err != nil {
		return old, now, err
	}
	if now, err = x.side(args[1], folder); err != nil {
		return old, now, err
	}
	if asked && old.rev == "" && now.rev == "" {
		return old, now, usage("--path is the folder of a revision, and both sides are paths")
	}
	return old, now, nil
}

// label shortens a hash.
func label(rev string) string {
	if len(rev) == 40 && strings.Trim(rev, "0123456789abcdef") == "" {
		return rev[:10]
	}
	return rev
}

// open opens the repository, if there is one.
func (x *comparison) open(args []string, folder string) error {
	near := []string{folder}
	for _, a := range args {
		if isPath(a) && a != "-" {
			near = append(near, a)
		}
	}
	r, err := openRepo(near, x.env)
	if errors.Is(err, watch.ErrNoRepository) {
		for _, a := range args {
			if !isPath(a) {
				return world(fmt.Errorf("%s is no path, and %w", a, errors.Unwrap(err)))
			}
		}
	}
	x.repo = r
	return err
}

// isPath reports whether an argument is there on the disk, or is written as a path.
func isPath(arg string) bool {
	_, err := os.Lstat(arg)
	return err == nil || arg == "-" || arg == "." || arg == ".." || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || filepath.IsAbs(arg)
}

// side reads one argument: a path, a revision, or REF:PATH.
func (x *comparison) side(arg, folder string) (where, error) {
	if x.repo == nil {
		return where{label: arg, path: arg}, nil
	}
	isPath := isPath(arg)
	if x.repo.Bare() { // what stands beside HEAD is none of the user's
		isPath = filepath.IsAbs(arg) || strings.HasPrefix(arg, ".")
	}
	rev, p, cut := strings.Cut(arg, ":")
	named := rev != "" && x.repo.IsRevision(rev)
	switch {
	case named && !cut && isPath:
		return where{}, usage("%q is both a revision and a path: write ./%[1]s for the path, refs/heads/%[1]s for a branch", arg)
	case isPath:
		return where{label: arg, path: arg}, nil
	case named && cut:
		return where{label: arg, rev: rev, path: x.repo.FromRoot(p), above: true}, nil
	case named:
		return where{label: label(arg), rev: arg, path: folder, above: true}, nil
	}
	_, err := x.repo.Resolve(rev)
	return where{}, world(fmt.Errorf("%w, and no path either", err))
}

// read reads a side. empty: it has no such path, which another side may have.
func (x *comparison) read(w where) (set source.Set, empty bool, err error) {
	var ds diag.List
	switch {
	case w.rev != "":
		set, ds, err = x.repo.At(w.rev, []string{w.path})
		set = besideIn(set, func(paths []string) (source.Set, diag.List, error) { return x.repo.At(w.rev, paths) })
	case w.staged:
		set, ds, err = x.repo.Staged([]string{w.path})
		set = besideIn(set, x.repo.Staged)
	default:
		set, err = watch.ReadPaths([]string{w.path}, x.env.Stdin)
		set = besideOnDisk(set)
		if x.repo != nil {
			set = watch.Named(set)
		}
	}
	set = x.declared(set)
	for _, d := range ds {
		fmt.Fprintln(x.env.Stderr, "flexgw: "+d.String())
	}
	if err != nil && w.above && len(set.Files) == 0 && errors.Is(err, fs.ErrNotExist) {
		return set, true, nil
	}
	return set, false, worldly(err)
}

func (x *comparison) compare(old, now where) (review.Diff, error) {
	d := review.Diff{Old: review.Side{Label: old.label, Many: old.many()}, New: review.Side{Label: now.label, Many: now.many()}}
	a, noOld, err := x.read(old)
	if err != nil {
		return d, err
	}
	b, noNew, err := x.read(now)
	if err != nil {
		return d, err
	}
	switch {
	case noOld && noNew:
		return d, usage("%s is neither in %s nor in %s", old.path, old.label, now.label)
	case noOld && old.path != now.path:
		return d, usage("%s is not in %s, and the other side is another folder, %s", old.path, old.rev, now.path)
	case noNew && old.path != now.path:
		return d, usage("%s is not in %s, and the other side is another folder, %s", now.path, now.rev, old.path)
	case noOld:
		fmt.Fprintf(x.env.Stderr, "flexgw: %s is not in %s: compared with nothing\n", old.path, old.label)
	case noNew:
		fmt.Fprintf(x.env.Stderr, "flexgw: %s is not in %s: compared with nothing\n", now.path, now.label)
	}
	left := x.build(old, a, noOld, &d.Old)
	right := x.build(now, b, noNew, &d.New)
	if noOld, noNew = noOld || undeclared(d.Old), noNew || undeclared(d.New); noOld != noNew { // then all of it came, or went
		if undeclared(d.Old) {
			left = x.build(old, a, true, &d.Old)
		}
		if undeclared(d.New) {
			right = x.build(now, b, true, &d.New)
		}
	}
	if d.Old.Invalid == nil && d.New.Invalid == nil {
		d.Found = diff.Compare(left, right, all.Catalog{})
	}
	return d, nil
}

// undeclared reports whether all that is wrong with a side is that it declares nothing.
func undeclared(s review.Side) bool {
	return s.Invalid != nil && !slices.ContainsFunc(s.Invalid.Diagnostics, func(d diag.Diagnostic) bool {
		return d.Severity == diag.Error && d.Code != "source/no-declarations"
	})
}

// build makes the model and the resources of a side; what is wrong with it goes to out.
func (x *comparison) build(w where, set source.Set, empty bool, out *review.Side) diff.Side {
	p := x.pipeline
	p.load.AllowUnenforced, p.load.Salvage = true, empty
	if w.rev != "" {
		out.Prefix, out.Revision = w.label+":", set.Revision
		if rev, _, cut := strings.Cut(w.label, ":"); cut {
			out.Prefix = rev + ":"
		}
	}
	var r *render.Resources
	g, list := p.model(set)
	out.Invalid = nil
	if empty {
		list = nil // that nothing is declared is known
	}
	if g != nil && !list.HasErrors() {
		made, more := render.Render(g, all.Catalog{}, p.render, &p.memo)
		r, list = made, append(list, more...).Sort()
	}
	if list.HasErrors() {
		bad := p.report(set, list)
		bad.Color = colour(x.env.Stderr, x.env)
		out.Invalid = &bad
		return diff.Side{}
	}
	o := p.load
	o.Memo = nil
	return diff.Side{Gateway: g, Resources: r, Files: sideFiles(w, set), Documents: func(wanted func(string) bool) []ir.Document { return schema.Documents(set, o, wanted) }}
}

// sideFiles names files by their place below the root of their side.
func sideFiles(w where, set source.Set) []diff.File {
	root := filepath.ToSlash(filepath.Clean(w.path))
	files := make([]diff.File, len(set.Files))
	for i, f := range set.Files {
		below := f.Name
		switch {
		case f.Name == root: // a single file is compared with a single file, whatever it is called
			below = ""
		case root != ".":
			below = strings.TrimPrefix(f.Name, root+"/")
		}
		files[i] = diff.File{Name: f.Name, Path: below, Hash: f.Hash}
	}
	return files
}
