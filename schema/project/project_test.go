package project_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/project"
	"github.com/flexgw/flexgw/schema/source"
)

var known = project.Known{Names: []string{"link/no-routes", "link/unused-service"}, Has: func(c string) bool { return strings.HasPrefix(c, "link/") && !strings.HasSuffix(c, "-x") }}

func codes(*project.Project) project.Known { return known }

func text(l diag.List) string {
	var b strings.Builder
	for _, d := range l {
		b.WriteString(d.String() + "\n")
	}
	return b.String()
}

func TestWhereACommentReaches(t *testing.T) {
	t.Parallel()
	const ignore = "flexgw:ignore link/no-routes until 2099-01-31: x"
	for name, c := range map[string]struct {
		file, text string
		lines      string // those it reaches, as 0 and 1
	}{
		"behind a value":            {"a.yaml", "a: 1 # " + ignore + "\nb: 2\n", "10"},
		"above a block":             {"a.yaml", "# " + ignore + "\na:\n  b: 1\n\n  c: 2\nd: 3\n", "011110"},
		"above, comments between":   {"a.yaml", "# " + ignore + "\n# more\n\na: 1\nb: 2\n", "00010"},
		"a list at its key":         {"a.yaml", "# " + ignore + "\na:\n- 1\n- 2\nb: 1\n", "01110"},
		"one item":                  {"a.yaml", "a:\n# " + ignore + "\n- b: 1\n  c: 2\n- d: 3\n", "00110"},
		"nothing below":             {"a.yaml", "a: 1\n# " + ignore + "\n", "01"},
		"document":                  {"a.yaml", "a: 1\n---\nb: 1\n# " + strings.Replace(ignore, "ignore", "ignore-document", 1) + "\nc: 1\n---\nd: 1\n", "0111100"},
		"file":                      {"a.yaml", "a: 1\n---\nb: 1 # " + strings.Replace(ignore, "ignore", "ignore-file", 1) + "\n", "111"},
		"cue":                       {"a.cue", "// " + ignore + "\na: {\n\tb: 1\n}\nc: 1\n", "01110"},
		"no comment":                {"a.yaml", "a: '" + ignore + "'\n", "0"},
		"a hash that is no comment": {"a.yaml", "a: b#" + ignore + "\n", "0"},
		"json has none":             {"a.json", "{} # " + ignore + "\n", "0"},
		"byte order mark, CRLF":     {"a.yaml", "\uFEFFa: 1 # " + ignore + "\r\nb: 1\r\n", "10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, l := project.Comments(c.file, []byte(c.text), known)
			if len(l) > 0 {
				t.Fatal(text(l))
			}
			got := ""
			for line := 1; line <= strings.Count(c.text, "\n"); line++ {
				d := diag.Diagnostic{Severity: diag.Warning, Code: "link/no-routes", Summary: "x", Subject: diag.Range{File: c.file, Start: diag.Pos{Line: int32(line), Column: 1}}}
				out := project.Judge{Comments: found, Today: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Narrowed: true}.Apply(diag.List{d})
				got += map[bool]string{true: "1", false: "0"}[len(out.Suppressed) == 1 && len(out.Reported) == 0]
			}
			if got != c.lines {
				t.Errorf("got %s, want %s", got, c.lines)
			}
		})
	}
}

func TestWrongComments(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"# flexgw:ignore":                                                 "a suppression names no code",
		"# flexgw:ignore until 2099-01-01: x":                             "a suppression names no code",
		"# flexgw:ignore link/no-routes: x":                               "no day on which it ends",
		"# flexgw:ignore link/no-routes until never: x":                   "expected a day such as 2027-01-31",
		"# flexgw:ignore link/no-routes until 2099-02-30: x":              "expected a day such as 2027-01-31",
		"# flexgw:ignore link/no-routes until 2099-01-01":                 "has no reason",
		"# flexgw:ignore link/no-routes until 2099-01-01:  ":              "has no reason",
		"# flexgw:ignore link/no-rout-x until 2099-01-01: x":              `there is no code "link/no-rout-x"`,
		"# flexgw:ignore links/* until 2099-01-01: x":                     `no code starts with "links/"`,
		"# flexgw:ignore-next link/no-routes until 2099-01-01: x":         `"flexgw:ignore-next" is no form`,
		"# flexgw:ignore link/no-routes,link/* * until 2099-01-01: x: y ": "",
	} {
		found, l := project.Comments("a.yaml", []byte("a: 1\n"+in+"\n"), known)
		if (want == "") != (len(l) == 0) || !strings.Contains(text(l), want) || (len(found) == 1) != (want == "") {
			t.Errorf("%s: got %d and %s, want %s", in, len(found), text(l), want)
		}
		if len(l) > 0 && l[0].Subject.Start != (diag.Pos{Line: 2, Column: 3, Offset: 7}) {
			t.Errorf("%s: at %+v", in, l[0].Subject.Start)
		}
	}
}

func TestMistakesInTheFile(t *testing.T) {
	t.Parallel()
	p, l := project.Parse(source.NewFile(".flexgw.yaml", []byte(`targetVersion: 9
severity: {link/no-routes: fatal, link/nope-x: error, link/unused-service: note}
suppress:
  - {code: link/no-routes, reason: x}
  - {code: link/nope-y-x, reason: x, until: someday, fil: x}
  - {code: link/no-routes, reason: x, until: tomorrow}
  - {code: link/no-routes, reason: x, until: 2099-01-01, file: ../x}
  - {code: link/no-routes, reason: right, until: 2099-01-01}
rule: [a.cue]
baseline: known.json
---
a: 1
`)), codes)
	// What does not fit the shape hides nothing else, not even in the same entry.
	want := `.flexgw.yaml:1:16: error: "9" is no release such as 1.9 or 1.12.3 [project/bad-setting]
.flexgw.yaml:2:28: error: "link/no-routes" is "fatal", expected "error", "warning", "note" or "off" [shape/not-allowed-value]
.flexgw.yaml:2:35: error: there is no code "link/nope-x" [project/bad-setting]
.flexgw.yaml:4:6: error: "suppress[0]" lacks the field "until" [shape/missing-field]
.flexgw.yaml:5:12: error: there is no code "link/nope-y-x" [project/bad-setting]
.flexgw.yaml:5:45: error: until is "someday", expected a day such as 2027-01-31 [project/bad-setting]
.flexgw.yaml:5:54: error: unknown field "fil" in "suppress[1]" [shape/unknown-field]
.flexgw.yaml:6:46: error: until is "tomorrow", expected a day such as 2027-01-31 [project/bad-setting]
.flexgw.yaml:7:64: error: file "../x" is no pattern [project/bad-setting]
.flexgw.yaml:9:1: error: unknown field "rule" in the document [shape/unknown-field]
.flexgw.yaml:12:1: error: there is a second document; one is read [project/bad-setting]
`
	if d := cmp.Diff(want, text(l)); d != "" {
		t.Error(d)
	}
	if len(p.Levels) != 1 || p.Levels[0].Codes != "link/unused-service" || len(p.Suppress) != 1 || p.Suppress[0].Reason != "right" || p.Baseline.Value != "known.json" {
		t.Errorf("what is right does not count: %+v", p)
	}
	_, l = project.Parse(source.NewFile("x/.flexgw.yaml", []byte(`targetVersion: 9
severity: {link/nope-x: error}
suppress:
  - {code: link/no-routes, reason: x, until: tomorrow}
  - {code: link/no-routes, reason: x, until: 2099-01-01, file: ../../x}
`)), codes)
	want = `x/.flexgw.yaml:1:16: error: "9" is no release such as 1.9 or 1.12.3 [project/bad-setting]
x/.flexgw.yaml:2:12: error: there is no code "link/nope-x" [project/bad-setting]
x/.flexgw.yaml:4:46: error: until is "tomorrow", expected a day such as 2027-01-31 [project/bad-setting]
x/.flexgw.yaml:5:64: error: file "../../x" is no pattern [project/bad-setting]
`
	if d := cmp.Diff(want, text(l)); d != "" {
		t.Error(d)
	}
}

// TestMistakesSayWhatToDo: in this file as in declarations.
func TestMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"a: [", "a: 1\na: 2\n", "partial: 7\n", "rules: {}\n", "severity: {link/no-routes: off}\n", "suppress: [{}]\n", "{}\n---\n{}\n", "targetVersion: 1.x\n",
		"suppress: [{code: link/nope-x, reason: x, until: 2099-01-01}]\n", "baseline: 1\n", "x: 1\n", "\tpartial: true\n", "partial: yes\n"} {
		_, l := project.Parse(source.NewFile(".flexgw.yaml", []byte(in)), codes)
		for _, d := range l {
			if d.Hint == "" && d.Severity > diag.Note {
				t.Errorf("%q: %v says nothing to do", in, d)
			}
		}
	}
}

func TestFilesOfASuppression(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		glob, file string
		want       bool
	}{
		{"legacy/**", "legacy/a/b.yaml", true}, {"legacy/**", "other/a.yaml", false}, {"*.yaml", "a.yaml", true}, {"*.yaml", "a/b.yaml", false},
		{"**/b.yaml", "b.yaml", true}, {"**/b.yaml", "a/c/b.yaml", true}, {"a?.yaml", "ab.yaml", true}, {"a.yaml", "aXyaml", false},
	} {
		p, l := project.Parse(source.NewFile("conf/.flexgw.yaml", []byte("suppress: [{code: 'link/*', reason: x, until: 2099-01-01, file: '"+c.glob+"'}]")), codes)
		if len(l) > 0 {
			t.Fatal(text(l))
		}
		d := diag.Diagnostic{Severity: diag.Error, Code: "link/no-routes", Subject: diag.Range{File: c.file, Start: diag.Pos{Line: 1, Column: 1}}}
		out := project.Judge{Project: p, Narrowed: true}.Apply(diag.List{d})
		if got := len(out.Suppressed) == 1; got != c.want {
			t.Errorf("%s on %s: %v", c.glob, c.file, got)
		}
	}
}

// TestWhatIsMeantIsNotIgnored: who writes it nearly right shall not think that it counts.
func TestWhatIsMeantIsNotIgnored(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"# flexgw-ignore link/no-routes until 2099-01-31: x":       `a.yaml:1:3: error: "flexgw-ignore" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"a: 1 # flexgw: ignore link/no-routes until 2099-01-31: x": `a.yaml:1:8: error: "flexgw: ignore" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"# Flexgw:ignore-file link/*":                              `a.yaml:1:3: error: "Flexgw:ignore-file" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"# flexgw:ignore_file link/*":                              `a.yaml:1:3: error: "flexgw:ignore_file" is no form of a suppression [project/bad-suppression]`,
		"# flexgw_ignore":                                          `a.yaml:1:3: error: "flexgw_ignore" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"# flexgw:ignore link/no-routes until 2099-13-45: x":       `a.yaml:1:3: error: until is "2099-13-45", expected a day such as 2027-01-31 [project/bad-suppression]`,
		"# flexgw:ignore link/no-routes until: x":                  `a.yaml:1:3: error: a suppression has no day on which it ends [project/bad-suppression]`,
		"# flexgw ignores what it does not know":                   "",
		"a: flexgw-ignore":                                         "",
		"a: 'x # flexgw-ignore'":                                   "",
		"# what flexgw-ignored files are":                          "",
		"# flexgw:ingore link/no-routes until 2099-01-31: x":       `a.yaml:1:3: error: "flexgw:ingore" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"# flexgw: ignore link/no-routes until 2099-01-31: x":      `a.yaml:1:3: error: "flexgw: ignore" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"# flexgw ignore link/no-routes until 2099-01-31: x":       `a.yaml:1:3: error: "flexgw ignore" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"# flexgw:ignored link/*":                                  `a.yaml:1:3: error: "flexgw:ignored" is no form of a suppression [project/bad-suppression]`,
		"# flexgw:disable link/no-routes":                          `a.yaml:1:3: error: "flexgw:disable" is no form of a suppression, and changes nothing [project/bad-suppression]`,
		"# flexgw ignores this, flexgw:serves and/or that":         "",
	} {
		found, l := project.Comments("a.yaml", []byte(in+"\n"), known)
		if got := strings.TrimSuffix(text(l), "\n"); got != want || len(found) > 0 {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestTextIsNoComment: who may write a value may not say what is not reported.
func TestTextIsNoComment(t *testing.T) {
	t.Parallel()
	const ignore = "flexgw:ignore-file link/no-routes until 2099-01-31: x"
	for name, c := range map[string]struct {
		file, text string
		want       int
	}{
		"quoted":               {"a.yaml", "a: 'x # " + ignore + "'\n", 0},
		"double quoted":        {"a.yaml", "a: \"x\n  # " + ignore + "\"\n", 0},
		"block scalar":         {"a.yaml", "a: |\n  # " + ignore + "\nb: 1\n", 0},
		"folded":               {"a.yaml", "a:\n- >-\n  x\n  # " + ignore + "\n", 0},
		"key":                  {"a.yaml", "'x # " + ignore + "': 1\n", 0},
		"second document":      {"a.yaml", "a: 1\n---\na: |\n  # " + ignore + "\n---\nb: 1\n", 0},
		"behind a block":       {"a.yaml", "a: |\n  # " + ignore + "\n# " + ignore + "\n", 1},
		"head of a block":      {"a.yaml", "a: | # " + ignore + "\n  x\n", 1},
		"byte order mark":      {"a.yaml", "\uFEFF# " + ignore + "\na: 1\n", 1},
		"Windows":              {"a.yaml", "a: 1\r\n# " + ignore + "\r\nb: 2\r\n", 1},
		"nothing but a remark": {"a.yaml", "# " + ignore + "\n", 1},
		"a later document":     {"a.yaml", "a: 1\n---\n# " + ignore + "\nb: 1\n---\nc: 1 # " + ignore + "\n", 2},
		"broken elsewhere":     {"a.yaml", "a: 1 # " + ignore + "\n---\nb: [\n", 1},
		"CUE text":             {"a.cue", "a: \"x // " + ignore + "\"\n", 0},
		"CUE texts":            {"a.cue", "a: \"\"\"\n\t// " + ignore + "\n\t\"\"\"\n", 0},
		"CUE comments":         {"a.cue", "// " + ignore + "\na: 1 // " + ignore + "\n// " + ignore + "\n", 3},
		"broken CUE":           {"a.cue", "// " + ignore + "\na: {\n", 1},
	} {
		if found, l := project.Comments(c.file, []byte(c.text), known); len(found) != c.want || len(l) > 0 {
			t.Errorf("%s: got %d, want %d; %s", name, len(found), c.want, text(l))
		}
	}
}

func TestLastDayCounts(t *testing.T) {
	t.Parallel()
	found, _ := project.Comments("a.yaml", []byte("a: 1 # flexgw:ignore link/no-routes until 2026-11-30: x\n"), known)
	d := diag.List{{Severity: diag.Error, Code: "link/no-routes", Subject: diag.Range{File: "a.yaml", Start: diag.Pos{Line: 1, Column: 1}}}}
	for day, want := range map[string]int{"2026-11-30T23:59:59Z": 0, "2026-12-01T00:00:00Z": 2} {
		now, err := time.Parse(time.RFC3339, day)
		if err != nil {
			t.Fatal(err)
		}
		if out := (project.Judge{Comments: found, Today: now}).Apply(d); len(out.Reported) != want {
			t.Errorf("%s: %s", day, text(out.Reported))
		}
	}
}

func TestBaselineCounts(t *testing.T) {
	t.Parallel()
	d := func(line int) diag.Diagnostic {
		return diag.Diagnostic{Severity: diag.Error, Code: "link/no-routes", Summary: fmt.Sprintf("the mapping begins at line %d column 1", line), Subject: diag.Range{File: "a.yaml", Start: diag.Pos{Line: int32(line), Column: 1}}}
	}
	b, err := project.Judge{}.NewBaseline(diag.List{d(1), d(2)}, nil).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "line 1") {
		t.Errorf("a place is kept:\n%s", b)
	}
	b = bytes.ReplaceAll(b, []byte("line * column *"), []byte("line 3 column 4")) // as it was written before
	base, err := project.ReadBaseline(b)
	if err != nil {
		t.Fatal(err)
	}
	out := project.Judge{Baseline: base}.Apply(diag.List{d(5), d(6), d(7)})
	if len(out.Known) != 2 || len(out.Reported) != 1 || out.Reported[0].Subject.Start.Line != 7 {
		t.Errorf("got %d known, %s", len(out.Known), text(out.Reported))
	}
	for _, bad := range []string{"", "{}", `{"schemaVersion": 2, "entries": []}`, `{"schemaVersion": 1, "entries": [], "x": 1}`} {
		if _, err := project.ReadBaseline([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a baseline", bad)
		}
	}
}

func FuzzComments(f *testing.F) {
	f.Add("a.yaml", "# flexgw:ignore link/no-routes until 2099-01-31: x\na:\n- 1\n")
	f.Add("a.cue", "a: 1 // flexgw:ignore-file link/* until 2099-01-31: x")
	f.Fuzz(func(t *testing.T, name, in string) {
		found, l := project.Comments(name, []byte(in), known)
		for _, d := range l {
			if int(d.Subject.Start.Offset) > len(in) || int(d.Subject.End.Offset) > len(in) || int(d.Subject.Start.Line) > strings.Count(in, "\n")+1 {
				t.Errorf("%v leaves the file", d)
			}
		}
		project.Judge{Comments: found}.Apply(diag.List{{Code: "link/no-routes", Subject: diag.Range{File: name, Start: diag.Pos{Line: 1}}}})
	})
}

func TestCodesOfAPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		codes, code string
		want        bool
	}{
		{"*", "lint/unused", true}, {"lint/*", "lint/unused", true}, {"lint/*", "link/unused", false}, {"lint/un*", "lint/unused", true},
		{"*/plain-text", "jwtvalidation/plain-text", true}, {"*/plain-text", "link/plain-text-secret", false}, {"l*/un*ed", "lint/unused", true},
		{"l*/un*ed", "lint/un", false}, {"lint/a", "lint/ab", false}, {"a*a", "a", false}, {"*plain*", "link/plain-text-secret", true},
	} {
		if got := project.Codes(c.codes).Match(diag.Code(c.code)); got != c.want {
			t.Errorf("%s on %s: %v", c.codes, c.code, got)
		}
	}
	p, l := project.Parse(source.NewFile(".flexgw.yaml", []byte("severity: {'lint/nope*': error, 'link/un*': note, 'link/*': error, '*/unused-service': off, '*': warning}")), codes)
	want := `.flexgw.yaml:1:12: error: no code matches "lint/nope*" [project/bad-setting]` + "\n"
	if d := cmp.Diff(want, text(l)); d != "" {
		t.Error(d)
	}
	one := func(code string) string {
		out := project.Judge{Project: p, Narrowed: true}.Apply(diag.List{{Severity: diag.Error, Code: diag.Code(code)}})
		if len(out.Reported) == 0 {
			return "off"
		}
		return out.Reported[0].Severity.String()
	}
	for code, want := range map[string]string{"link/no-routes": "error", "link/unused": "note", "link/unused-service": "off", "lint/x": "warning"} {
		if got := one(code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}
