package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
)

// TestEveryRuleIsToldOf wants what SARIF says of a rule for every code, and its address to be a page of this repository.
func TestEveryRuleIsToldOf(t *testing.T) {
	t.Parallel()
	severities := map[string]int{}
	for _, code := range knownCodes().Names {
		r := ruleOf(diag.Code(code))
		if r.Summary == "" || !strings.HasPrefix(r.About, strings.TrimSuffix(r.Summary, ".")) || r.Help == "" || strings.Contains(r.About, "\n") {
			t.Errorf("%s: %+v", code, r)
		}
		path, ours := strings.CutPrefix(r.URL, pages)
		if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(path))); err != nil || !ours {
			t.Errorf("%s: no page at %q: %v", code, r.URL, err)
		}
		severities[r.Severity]++
	}
	if severities["error"] < 10 || severities["warning"] == 0 || severities["fatal"] != 0 {
		t.Errorf("severities of the pages: %v", severities)
	}
	if r := ruleOf("nobody/knows"); r != (report.Rule{}) {
		t.Errorf("an unknown code: %+v", r)
	}
}

func TestCINames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, wd string
		env      map[string]string
		paths    []string
		file     string
		want     string
	}{
		{name: "below the working directory", wd: "/src/repo", file: "gw/a.yaml", want: "gw/a.yaml"},
		{name: "absolute below it", wd: "/src/repo", file: "/src/repo/gw/a.yaml", want: "gw/a.yaml"},
		{name: "beside it", wd: "/src/repo", file: "../other/a.yaml", want: "/src/other/a.yaml"},
		{name: "a folder of nearly its name", wd: "/src/repo", file: "/src/repository/a.yaml", want: "/src/repository/a.yaml"},
		{name: "a name of dots", wd: "/src/repo", file: "..a/..b.yaml", want: "..a/..b.yaml"},
		{name: "elsewhere", wd: "/src/repo", file: "/etc/a.yaml", want: "/etc/a.yaml"},
		{name: "github", wd: "/src/repo/sub", env: map[string]string{"GITHUB_WORKSPACE": "/src/repo"}, file: "a.yaml", want: "sub/a.yaml"},
		{name: "github, above", wd: "/src/repo/sub", env: map[string]string{"GITHUB_WORKSPACE": "/src/repo/"}, file: "../a.yaml", want: "a.yaml"},
		{name: "gitlab", wd: "/src/repo/sub", env: map[string]string{"CI_PROJECT_DIR": "/src/repo"}, file: "a.yaml", want: "sub/a.yaml"},
		{name: "called outside of the workspace", wd: "/tmp/x", env: map[string]string{"WORKSPACE": "/src/repo"}, file: "a.yaml", want: "a.yaml"},
		{name: "a workspace that is no path", wd: "/src/repo", env: map[string]string{"WORKSPACE": "dev"}, file: "a.yaml", want: "a.yaml"},
		{name: "standard input", wd: "/src/repo/sub", env: map[string]string{"CI_PROJECT_DIR": "/src/repo"}, paths: []string{"-"}, file: "stdin.yaml", want: "stdin.yaml"},
		{name: "a file called so", wd: "/src/repo/sub", env: map[string]string{"CI_PROJECT_DIR": "/src/repo"}, paths: []string{"."}, file: "stdin.yaml", want: "sub/stdin.yaml"},
	} {
		env := Env{Getenv: func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }}
		if got := ciNames(env, c.wd, c.paths)(c.file); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestUnreadPaths(t *testing.T) {
	t.Parallel()
	a, b := &watch.ReadError{Path: "./a", Err: errors.New("gone")}, &watch.ReadError{Path: "b", Err: errors.New("no file")}
	for _, c := range []struct {
		err  error
		want []report.Unread
	}{
		{nil, nil},
		{world(a), []report.Unread{{File: "a", Reason: "gone"}}},
		{world(errors.Join(a, errors.Join(b, errors.New("other")))), []report.Unread{{File: "a", Reason: "gone"}, {File: "b", Reason: "no file"}, {Reason: "other"}}},
	} {
		if d := cmp.Diff(c.want, unreadPaths(c.err)); d != "" {
			t.Errorf("%v: %s", c.err, d)
		}
	}
}

func TestParseOutputs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []string
		want []output
		err  string
	}{
		{nil, []output{{"text", ""}}, ""},
		{[]string{"json"}, []output{{"json", ""}}, ""},
		{[]string{"json=-", "text=a=b.txt"}, []output{{"json", ""}, {"text", "a=b.txt"}}, ""},
		{[]string{"json="}, nil, "names no file"},
		{[]string{"yaml"}, nil, `no output format "yaml"`},
		{[]string{"json=x", "text=x"}, nil, "two outputs go to the file x"},
		{[]string{"json", "text=-"}, nil, "only one"},
	} {
		got, err := parseOutputs(c.in, "text", "json")
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: got %v, %v", c.in, got, err)
		}
	}
}
