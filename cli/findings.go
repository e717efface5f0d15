package cli

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/docs"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/project"
	"github.com/flexgw/flexgw/schema/source"
)

// describe adds to a report what formats for programs want to know: what was asked for, what could not be read, how files are
// called where the report is read, and what the codes mean.
func describe(r *report.Report, env Env, paths []string, unread error) {
	r.Version, r.Paths, r.Unread = version(), paths, unreadPaths(unread)
	if wd, err := os.Getwd(); err == nil {
		r.Name = ciNames(env, wd, paths)
	}
	r.Rule = ruleOf
	onGitHub, _ := env.Getenv("GITHUB_ACTIONS")
	r.OnGitHub = onGitHub == "true"
}

// unreadPaths lists what a joined error of watch.ReadPaths says.
func unreadPaths(err error) []report.Unread {
	var several interface{ Unwrap() []error }
	var one *watch.ReadError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &several):
		var all []report.Unread
		for _, e := range several.Unwrap() {
			all = append(all, unreadPaths(e)...)
		}
		return all
	case errors.As(err, &one):
		return []report.Unread{{File: filepath.ToSlash(filepath.Clean(one.Path)), Reason: one.Err.Error()}}
	}
	return []report.Unread{{Reason: err.Error()}}
}

// workspaces are the variables in which CI systems say where the repository is: GitHub, GitLab, Azure, Jenkins.
var workspaces = []string{"GITHUB_WORKSPACE", "CI_PROJECT_DIR", "BUILD_SOURCESDIRECTORY", "WORKSPACE"}

// ciNames names files as CI systems look for them: relative to the job's repository if flexgw is called inside it, else to the
// working directory; with the whole path if they are outside. Standard input keeps its name.
func ciNames(env Env, wd string, paths []string) func(string) string {
	root := wd
	for _, v := range workspaces {
		if dir, ok := env.Getenv(v); ok && filepath.IsAbs(dir) {
			if _, inside := below(filepath.Clean(dir), wd); inside {
				root = filepath.Clean(dir)
				break
			}
		}
	}
	return func(name string) string {
		if slices.Contains(paths, "-") && (name == "stdin.yaml" || name == "stdin.json") {
			return name
		}
		path := filepath.FromSlash(name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(wd, path)
		}
		if rel, inside := below(root, path); inside {
			path = rel
		}
		return filepath.ToSlash(path)
	}
}

// below is a path relative to a folder, and whether it is in there.
func below(folder, path string) (rel string, inside bool) {
	rel, err := filepath.Rel(folder, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

const pages = "https://github.com/flexgw/flexgw/blob/main/"

// ruleOf is what the pages say of a code.
func ruleOf(code diag.Code) report.Rule {
	var r report.Rule
	if text, ok := docs.Diagnostic(string(code)); ok {
		about, _, _ := strings.Cut(text, "\n\n")
		r.About = strings.Join(strings.Fields(about), " ")
		r.Help, r.Markdown = text, docs.Markdown(string(code))
		r.URL = pageOf(string(code))
		if m := judged.FindStringSubmatch(r.Markdown); m != nil {
			r.Severity = m[1]
		}
	} else if text, ok := policyDiagnostic(string(code)); ok {
		about, _, _ := strings.Cut(text, "\n\n")
		r.About = strings.Join(strings.Fields(about), " ")
		r.Help = text
		r.URL = policyPage(string(code))
	}
	if r.Summary, _, _ = strings.Cut(r.About, ". "); r.Summary != r.About {
		r.Summary += "."
	}
	return r
}

// pageOf is where the page about a code is read; policyPage is the same for a code of a policy.
func pageOf(code string) string { return pages + "docs/diagnostics/" + code + ".md" }

func policyPage(code string) string {
	area, _, _ := strings.Cut(code, "/")
	return pages + "render/policy/" + area + "/" + area + ".md"
}

// judged is the mark of a bad example: what a rule's page shows is what it usually does.
var judged = regexp.MustCompile("(?m)^```[a-z]+ flexgw:(error|warning|note)")

// declared leaves out of a set what the project excludes.
func declared(set source.Set, p *project.Project, names *naming) source.Set {
	if p == nil || len(set.Files) == 0 {
		return set
	}
	files := slices.DeleteFunc(slices.Clone(set.Files), func(f source.File) bool { return p.Excluded(names.of(f.Name)) })
	if len(files) == len(set.Files) {
		return set
	}
	return source.NewSet(files)
}

// withoutOwn leaves out of a set the files that are not declarations but flexgw's own: the outputs and the baseline of this very
// call, in a folder that it checks.
func withoutOwn(set source.Set, outs []output, others ...string) source.Set {
	own := map[string]bool{}
	for _, o := range outs {
		others = append(others, o.file)
	}
	for _, name := range others {
		if path, err := filepath.Abs(name); err == nil && name != "" {
			own[path] = true
		}
	}
	if len(own) == 0 {
		return set
	}
	files := slices.DeleteFunc(slices.Clone(set.Files), func(f source.File) bool {
		path, err := filepath.Abs(filepath.FromSlash(f.Name))
		return err == nil && own[path]
	})
	if len(files) == len(set.Files) {
		return set
	}
	return source.NewSet(files)
}
