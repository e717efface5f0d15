package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/project"
	"github.com/flexgw/flexgw/schema/require"
	"github.com/flexgw/flexgw/schema/source"
)

func rulesFlag() cli.Flag {
	return &cli.GenericFlag{Name: "rules", Value: &values{}, Usage: "judge by the organisation's own rules in the CUE `FILE` too, may repeat"}
}

// ownRules are the organisation's own rules, as flags and the project name them.
type ownRules struct {
	*require.Rules
	files   []source.File // that they are in, and that they may import
	problem diag.List     // what is wrong with them
}

// readRules reads the files of the flag, relative to the working directory, and those of the project, relative to its file. A
// file of the project that is not there is a mistake in the project file, one of the flag a mistake of who calls.
func readRules(g ground, flags *values, projectFile string, p *project.Project) (ownRules, error) {
	var out ownRules
	var files []source.File
	read := func(name string) error {
		name = filepath.ToSlash(filepath.Clean(name))
		if slices.ContainsFunc(files, func(f source.File) bool { return f.Name == name }) {
			return nil
		}
		b, err := g.read(name)
		if err == nil && !strings.EqualFold(path.Ext(name), ".cue") {
			err = errors.New("rules are written in CUE, in a file that ends in .cue")
		}
		if err == nil {
			files = append(files, source.NewFile(name, b))
		}
		return err
	}
	unread := func(at diag.Range, summary, hint string) {
		out.problem = append(out.problem, diag.Diagnostic{Severity: diag.Error, Code: "project/bad-rule", Subject: at, Summary: summary, Hint: hint})
	}
	for _, n := range p.Rules {
		names := []string{filepath.Join(filepath.Dir(projectFile), filepath.FromSlash(n.Value))}
		if strings.ContainsAny(n.Value, "*?") {
			var err error
			names, err = matching(filepath.Dir(projectFile), n.Value)
			all := len(names)
			names = slices.DeleteFunc(names, func(name string) bool {
				rel, inside := within(filepath.Dir(projectFile), name)
				return inside && p.Excluded(rel)
			})
			switch {
			case err != nil:
				unread(n.Range, fmt.Sprintf("rules %q cannot be looked for: %s", n.Value, err), "mend what is named, or name the files")
			case len(names) == 0 && all > 0:
				unread(n.Range, fmt.Sprintf("every CUE file that matches rules %q is excluded", n.Value), "name the files, or take their folder out of exclude")
			case len(names) == 0:
				unread(n.Range, fmt.Sprintf("no CUE file matches rules %q", n.Value), "write names relative to the folder of this file, with * within a folder, or ** across folders")
			}
		}
		for _, name := range names {
			if err := read(name); err != nil {
				unread(n.Range, fmt.Sprintf("rules %q cannot be read: %s", n.Value, disk.Cause(err)), "name a file in CUE, relative to this one")
			}
		}
	}
	if flags != nil {
		for _, name := range *flags {
			if err := read(g.at(name)); err != nil {
				return out, world(fmt.Errorf("read the rules %s: %s", name, disk.Cause(err)))
			}
		}
	}
	if len(files) == 0 {
		return out, nil
	}
	beside, err := besideRules(files)
	if err != nil {
		return out, world(fmt.Errorf("read what the rules import: %w", err))
	}
	areas := ownAreas()
	rules, wrong := require.Load(files, require.LoadOptions{Beside: beside, Budget: budgetOf(patience), Reserved: func(area string) bool { return slices.Contains(areas, area) }})
	out.Rules, out.files, out.problem = rules, append(files, beside...), append(out.problem, wrong...)
	return out, nil
}

// matching are the CUE files below a folder that a pattern of names matches, sorted; as with declarations, hidden files and folders
// are left out, and so is what a module brings along.
func matching(folder, glob string) (names []string, err error) {
	match, under, err := project.Pattern(glob)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(folder, filepath.FromSlash(under))
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch rel, bad := filepath.Rel(folder, name); {
		case errors.Is(err, fs.ErrNotExist):
			return nil // nothing matches, or it has just gone
		case err != nil:
			return err
		case name != root && d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "cue.mod" || d.Name() == "node_modules"):
			return fs.SkipDir
		case bad == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") && strings.EqualFold(path.Ext(name), ".cue") && match(filepath.ToSlash(rel)):
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// besideRules reads the modules that rules are in, if any of them imports more than CUE's own packages.
func besideRules(files []source.File) ([]source.File, error) {
	var out []source.File
	seen := map[string]bool{}
	for _, f := range files {
		root := moduleOf(f.Name)
		if root == "" || seen[root] || !require.Imports(f) {
			continue
		}
		seen[root] = true
		set, err := watch.ReadPaths([]string{root}, nil)
		if err != nil {
			return nil, err
		}
		for _, m := range set.Files {
			if strings.EqualFold(path.Ext(m.Name), ".cue") && !slices.ContainsFunc(out, func(o source.File) bool { return o.Name == m.Name }) {
				out = append(out, m)
			}
		}
	}
	return out, nil
}

// moduleOf is the nearest folder around a file that has a cue.mod; "" if there is none.
func moduleOf(name string) string {
	for dir := path.Dir(name); ; {
		if info, err := os.Stat(filepath.Join(filepath.FromSlash(dir), "cue.mod", "module.cue")); err == nil && info.Mode().IsRegular() {
			return dir
		}
		up := path.Join(dir, "..")
		here, err := filepath.Abs(filepath.FromSlash(dir))
		if err != nil || filepath.Dir(here) == here {
			return ""
		}
		dir = up
	}
}

// ownAreas are the areas of flexgw's own codes, and those that it may need.
func ownAreas() []string {
	areas := []string{"flexgw", "lint", "require", "policy"}
	for _, name := range knownCodes().Names {
		area, _, _ := strings.Cut(name, "/")
		areas = append(areas, area)
	}
	slices.Sort(areas)
	return slices.Compact(areas)
}

// known adds the codes of rules to others.
func (r ownRules) known(k project.Known) project.Known {
	all := r.All()
	if len(all) == 0 {
		return k
	}
	names := slices.Clone(k.Names)
	for _, x := range all {
		names = append(names, string(x.Code))
	}
	slices.Sort(names)
	return project.Known{Names: names, Has: func(code string) bool { _, ok := slices.BinarySearch(names, code); return ok }}
}

// source is a file of rules.
func (r ownRules) source(name string) (source.File, bool) {
	i := slices.IndexFunc(r.files, func(f source.File) bool { return f.Name == name })
	if i < 0 {
		return source.File{}, false
	}
	return r.files[i], true
}

// names are the files of rules: they are no declarations.
func (r ownRules) names() []string {
	var out []string
	for _, f := range r.files {
		out = append(out, f.Name)
	}
	return out
}

// ruleOf is what is known of a code, also of one of these rules.
func (r ownRules) ruleOf(code diag.Code) report.Rule {
	x, ok := r.Find(code)
	if !ok {
		return ruleOf(code)
	}
	return report.Rule{Summary: x.Message, About: x.Message, Help: explained(x), URL: x.Page, Severity: x.Severity.String()}
}

// explained is what a rule says of itself.
func explained(r require.Rule) string {
	text := r.Message
	if r.Hint != "" {
		text += "\n\nHint: " + r.Hint
	}
	text += fmt.Sprintf("\n\nA rule of the organisation about each %s, of severity %s (%s).", r.Kind, r.Severity, r.At)
	if r.Kind == "Gateway" {
		text = strings.Replace(text, "about each Gateway", "about the whole gateway", 1)
	}
	if r.Page != "" {
		text += "\n\nSee " + r.Page
	}
	return text
}
