package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/docs"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/project"
	"github.com/flexgw/flexgw/schema/source"
)

// projectFlags are those of commands that judge by the repository's own settings, and end.
func projectFlags() []cli.Flag {
	return append(judgeFlags(), []cli.Flag{
		&cli.StringFlag{Name: "write-baseline", Usage: "write what is reported now to `FILE`, as known problems"},
		known(&cli.StringFlag{Name: "fail-on", Value: "error", Usage: "exit with 1 from this `SEVERITY` on: error or warning"}, "error", "warning"),
	}...)
}

// judgeFlags are those that say how declarations are judged.
func judgeFlags() []cli.Flag {
	return append(projectFileFlags(), []cli.Flag{
		rulesFlag(),
		&cli.GenericFlag{Name: "severity", Value: &values{}, Usage: "`CODE=SEVERITY`, may repeat: error, warning, note or off; CODE may be link/* or *"},
		known(&cli.StringFlag{Name: "target-version", Usage: "the `RELEASE` of the product that the declarations are written for, such as 1.9 (the newest unless told)"}, ir.Releases()...),
		&cli.StringFlag{Name: "baseline", Usage: "leave out the known problems in `FILE`"},
	}...)
}

// projectFileFlags say where the project file is.
func projectFileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "read the project's settings from `FILE` instead of the nearest " + project.FileName + " above the working directory"},
		&cli.BoolFlag{Name: "no-config", Usage: "read no project settings"},
	}
}

// ground is where files are named from, and how they are read. The zero ground is that of the process.
type ground struct {
	dir  string                            // absolute; "": the working directory
	text func(name string) ([]byte, error) // nil: os.ReadFile
}

// at is a name as it is opened: in another folder than the working directory, absolute.
func (g ground) at(name string) string {
	if g.dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(g.dir, name)
}

func (g ground) read(name string) ([]byte, error) {
	if g.text == nil {
		return os.ReadFile(name)
	}
	return g.text(name)
}

// settings are what the flags and the project file say about a check.
type settings struct {
	ground
	judge   project.Judge
	file    source.File   // of the project; no name: none
	strays  []source.File // that were to be it, and have other names
	rules   ownRules
	known   project.Known // all codes, those of the rules too
	problem diag.List     // what is wrong with it
	target  ir.Release
	partial bool
	base    string        // file of the baseline; "": none
	write   string        // file of a new baseline; "": none
	names   *naming       // of files, in suppressions and baselines
	failOn  diag.Severity // the mildest that makes the exit code 1
}

// readSettings reads flags, project file and baseline.
func readSettings(c *cli.Context, env Env) (*settings, error) {
	return readSettingsOn(ground{}, c, env)
}

func readSettingsOn(g ground, c *cli.Context, env Env) (*settings, error) {
	s := &settings{ground: g, failOn: diag.Error, write: c.String("write-baseline")}
	s.judge.Today = env.now()
	switch on := c.String("fail-on"); {
	case on == "error", on == "" && !c.IsSet("fail-on"): // a command without the flag
	case on == "warning":
		s.failOn = diag.Warning
	default:
		return nil, usage("--fail-on takes error or warning, not %q", c.String("fail-on"))
	}
	p, err := s.readProject(c)
	if err != nil {
		return nil, err
	}
	if v, _ := c.Generic("severity").(*values); v != nil {
		for _, text := range *v {
			l, err := project.ParseLevel(text, s.known)
			if err != nil {
				return nil, usage("--severity: %v", err)
			}
			s.judge.Levels = append(s.judge.Levels, l)
		}
	}
	s.judge.Project, s.target, s.partial = p, p.Target, p.Partial || c.Bool("partial")
	if s.names, err = newNaming(s.file.Name, s.dir); err != nil {
		return nil, world(err)
	}
	s.judge.Name = s.names.of
	if t := c.String("target-version"); t != "" {
		if s.target, err = ir.ParseRelease(t); err != nil {
			return nil, usage("--target-version: %v", err)
		}
	}
	return s, s.readBaseline(c, p)
}

// readProject reads the project file, and the rules that it and the flags name.
func (s *settings) readProject(c *cli.Context) (*project.Project, error) {
	if err := s.findProject(c); err != nil {
		return nil, err
	}
	files, _ := c.Generic("rules").(*values)
	read, failed := false, error(nil)
	codes := func(p *project.Project) project.Known {
		read = true
		s.rules, failed = readRules(s.ground, files, s.file.Name, p)
		s.known = s.rules.known(knownCodes())
		return s.known
	}
	p := s.parseProject(codes)
	if !read {
		codes(p)
	}
	s.problem = append(s.problem, s.rules.problem...)
	for _, f := range s.strays {
		s.problem = append(s.problem, project.Stray(f)...)
	}
	return p, failed
}

// parseProject decodes the project file; without one it changes nothing.
func (s *settings) parseProject(codes func(*project.Project) project.Known) *project.Project {
	p := &project.Project{}
	if s.file.Name != "" {
		p, s.problem = project.Parse(s.file, codes)
	}
	return p
}

// compared is what a comparison takes from the project file: no rule is loaded for it, so no code is known either. A mistake in
// the file is said on standard error, and is the exit code: nobody knows what it was to say.
func compared(c *cli.Context, env Env) (*project.Project, *naming, error) {
	s := &settings{}
	if err := s.findProject(c); err != nil {
		return nil, nil, err
	}
	p := s.parseProject(func(*project.Project) project.Known { return project.Known{} })
	printer := diag.Printer{Sources: s.sources(source.Set{}), Color: colour(env.Stderr, env)}
	if err := printer.Print(env.Stderr, s.problem); err != nil {
		return nil, nil, world(err)
	}
	names, err := newNaming(s.file.Name, "")
	if err != nil {
		return nil, nil, world(err)
	}
	return p, names, verdict(s.problem, nil)
}

// findProject reads the text of the project file that the flags name, or that is nearest.
func (s *settings) findProject(c *cli.Context) error {
	name := c.String("config")
	if name != "" && c.Bool("no-config") {
		return usage("--config and --no-config exclude each other")
	}
	if name == "" && !c.Bool("no-config") {
		name = s.nearestProject()
	}
	if name == "" {
		return nil
	}
	name = s.at(name)
	b, err := s.read(name)
	if err != nil {
		return world(fmt.Errorf("read the project's settings %s: %w", name, disk.Cause(err)))
	}
	s.file = source.NewFile(filepath.ToSlash(filepath.Clean(name)), b)
	return nil
}

// nearestProject is the path of the project file in the working directory or above it, within the repository; "" if there
// is none. Files that were to be it, by their names and what they say, are kept to be told.
func (s *settings) nearestProject() string {
	dir := s.at(".")
	for {
		for _, other := range project.Misnamed() {
			name := filepath.Join(dir, other)
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || info.Size() > source.MaxFileSize {
				continue
			}
			if b, err := s.read(name); err == nil {
				s.strays = append(s.strays, source.NewFile(filepath.ToSlash(name), b))
			}
		}
		name := filepath.Join(dir, project.FileName)
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			return name
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return ""
		}
		up := filepath.Join(dir, "..")
		here, err := filepath.Abs(dir)
		if err != nil || filepath.Dir(here) == here {
			return ""
		}
		dir = up
	}
}

// readBaseline reads the baseline of the flag, or of the project. One that is about to be written need not be there.
func (s *settings) readBaseline(c *cli.Context, p *project.Project) error {
	name, at := c.String("baseline"), diag.Range{}
	if name == "" && p.Baseline.Value != "" {
		name, at = filepath.Join(filepath.Dir(s.file.Name), filepath.FromSlash(p.Baseline.Value)), p.Baseline.Range
	}
	if name != "" {
		name = s.at(name)
	}
	s.base = name
	if name == "" || s.write != "" {
		return nil
	}
	b, err := s.read(name)
	var wrong, hint string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("read the baseline: %w; --write-baseline %s makes it", err, name)
		wrong, hint = "is not there", fmt.Sprintf("--write-baseline %s makes it", name)
	case err != nil:
		wrong, hint = "cannot be read: "+disk.Cause(err).Error(), "name a file that --write-baseline made"
		err = fmt.Errorf("read the baseline: %w", err)
	default:
		if s.judge.Baseline, err = project.ReadBaseline(b); err != nil {
			wrong, hint = "cannot be read: "+diag.OneLine(err.Error()), "write it anew with --write-baseline, or take it out of the settings"
			err = fmt.Errorf("read the baseline %s: %w", name, err)
		}
	}
	switch {
	case err != nil && at.IsZero():
		return world(err)
	case err != nil: // one mistake in the project file hides nothing else
		s.problem = append(s.problem, diag.Diagnostic{Severity: diag.Error, Code: "project/bad-setting", Subject: at,
			Summary: fmt.Sprintf("the baseline %q %s", p.Baseline.Value, wrong), Hint: hint})
		return nil
	}
	if s.judge.BaseAt = at; at.IsZero() {
		s.judge.BaseAt = diag.Range{File: filepath.ToSlash(name)}
	}
	return nil
}

// watched notes which files of a set hold the marker of a suppression, as they are read: no file is read again for it.
type watched struct {
	mu     sync.Mutex
	marked map[string]bool
}

func (w *watched) watch(set source.Set) source.Set {
	if w.marked == nil {
		w.marked = map[string]bool{}
	}
	set.Files = slices.Clone(set.Files)
	for i := range set.Files {
		name, read := set.Files[i].Name, set.Files[i].Bytes
		set.Files[i].Bytes = func() ([]byte, error) {
			b, err := read()
			if project.Marked(b) {
				w.mu.Lock()
				w.marked[name] = true
				w.mu.Unlock()
			}
			return b, err
		}
	}
	return set
}

// mark notes files that are known to hold the marker.
func (w *watched) mark(names []string) {
	if w.marked == nil {
		w.marked = map[string]bool{}
	}
	for _, n := range names {
		w.marked[n] = true
	}
}

// marks are the files of a set, all of them read, that hold the marker; sorted.
func (w *watched) marks(set source.Set) []string {
	var names []string
	for _, f := range set.Files {
		if w.marked[f.Name] {
			names = append(names, f.Name)
		}
	}
	return names
}

// earlier notes the suppressions that were there before.
func (s *settings) earlier(now reading, w *watched) {
	if now.then == nil {
		return
	}
	name := renamed(*now.then, now.set)
	for _, f := range now.then.Files {
		to := name(f.Name)
		if !w.marked[to] {
			continue
		}
		if b, err := f.Bytes(); err == nil {
			comments, _ := project.Comments(to, b, s.known)
			s.judge.Before = append(s.judge.Before, comments...)
		}
	}
	if s.judge.Project == nil || s.file.Name == "" || now.repo == nil {
		return
	}
	text, err := s.file.Bytes()
	was, _, unread := now.repo.At(now.since, []string{s.file.Name})
	if err != nil || unread != nil || len(was.Files) != 1 {
		return
	}
	if b, err := was.Files[0].Bytes(); err == nil && bytes.Equal(b, text) { // of another text, each is looked at anew
		s.judge.Before = append(s.judge.Before, s.judge.Project.Suppress...)
	}
}

// apply judges what was found in a set.
func (s *settings) apply(set source.Set, w *watched, found diag.List) (project.Outcome, error) {
	var wrong diag.List
	for _, f := range set.Files {
		if !w.marked[f.Name] {
			continue
		}
		b, err := f.Bytes()
		if err != nil {
			continue // reported where it was read first
		}
		comments, l := project.Comments(f.Name, b, s.known)
		s.judge.Comments = append(s.judge.Comments, comments...)
		wrong = append(wrong, l...)
	}
	s.judge.Unseen = s.names.unseen(set)
	if s.judge.Project != nil {
		wrong = append(wrong, s.judge.Project.Idle(s.names.there(set))...)
	}
	out := s.judge.Apply(slices.Concat(found, s.problem, wrong))
	if s.write != "" {
		if err := s.writeBaseline(out.Reported); err != nil {
			return out, world(fmt.Errorf("write the baseline %s: %w", s.write, disk.Cause(err)))
		}
	}
	out.Reported = out.Reported.WithoutConsequences()
	return out, nil
}

// writeBaseline replaces the baseline that is there, and no other file.
func (s *settings) writeBaseline(l diag.List) error {
	old, err := os.ReadFile(s.write)
	var was *project.Baseline
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(old) > 0:
		if was, err = project.ReadBaseline(old); err != nil {
			return fmt.Errorf("%s is there and would be lost: %w", s.write, err)
		}
	}
	b, err := s.judge.NewBaseline(l, was).Bytes()
	if err != nil {
		return err
	}
	return disk.Write(s.write, b, 0o644)
}

// sources are the set's files, the project's own, and its rules.
func (s *settings) sources(set source.Set) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		b, err := set.Bytes(name)
		if errors.Is(err, fs.ErrNotExist) && s.file.Name != "" && name == s.file.Name {
			return s.file.Bytes()
		}
		if i := slices.IndexFunc(s.strays, func(f source.File) bool { return f.Name == name }); i >= 0 {
			return s.strays[i].Bytes()
		}
		if rules, ok := s.rules.source(name); ok && errors.Is(err, fs.ErrNotExist) {
			return rules.Bytes()
		}
		return b, err
	}
}

// verdict is the exit of a command that reports by these settings.
func (s *settings) verdict(l diag.List, err error) error {
	if err == nil && slices.ContainsFunc(l, func(d diag.Diagnostic) bool { return d.Severity >= s.failOn }) {
		return &exit{code: ExitDiagnostics}
	}
	return err
}

// codesOn are the codes that a policy's page explains: the first column of a table. Every validate asks for all of them, so they
// are looked for without an expression.
func codesOn(page []byte) []string {
	var codes []string
	for line := range bytes.Lines(page) {
		rest, row := bytes.CutPrefix(line, []byte("| `"))
		code, _, closed := bytes.Cut(rest, []byte("` |"))
		if row && closed && bytes.Count(code, []byte("/")) == 1 && len(bytes.Trim(code, "abcdefghijklmnopqrstuvwxyz0123456789/-")) == 0 {
			codes = append(codes, string(code))
		}
	}
	return codes
}

// knownCodes are the codes that something can report.
func knownCodes() project.Known {
	names := docs.Codes()
	for _, t := range (all.Catalog{}).All() {
		names = append(names, codesOn(t.Page())...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return project.Known{Names: names, Has: func(code string) bool { _, ok := slices.BinarySearch(names, code); return ok }}
}

// now is the time of day.
func (e Env) now() time.Time {
	if e.Now == nil {
		return time.Now()
	}
	return e.Now()
}
