package report

import (
	"encoding/xml"
	"fmt"
	"io"

	"github.com/flexgw/flexgw/schema/diag"
)

// JUnit as Jenkins' schema describes it; GitLab, Azure and others read the same.
type (
	junitReport struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Skipped *junitText    `xml:"skipped"`
		Error   *junitProblem `xml:"error"`
		Failure *junitProblem `xml:"failure"`
	}
	junitText struct {
		Text string `xml:",innerxml"`
	}
	junitProblem struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",innerxml"`
	}
)

// junit is a suite for each file: a failure for each error in it, or one test that passes. What does not fail the check is a
// test that was skipped, with the reason; what could not be read is an error.
func junit(w io.Writer, r Report) error {
	report := junitReport{Name: "flexgw validate"}
	texts := r.texts()
	for _, f := range r.byFile() {
		suite := junitSuite{Name: f.file}
		names := map[string]int{}
		add := func(name string, c junitCase) {
			if names[name]++; names[name] > 1 { // readers tell tests apart by their names; a line would change with every edit above
				name = fmt.Sprintf("%s (%d)", name, names[name])
			}
			c.Name, c.Class = joined(name), f.file
			suite.Cases = append(suite.Cases, c)
		}
		for _, e := range f.entries {
			switch {
			case e.found != nil && r.fails(*e.found):
				suite.Failures++
				add(junitName(e.found), junitCase{Failure: &junitProblem{e.found.Severity.String(), joined(e.found.String()), xmlText(texts[e.index])}})
			case e.found != nil:
				suite.Skipped++
				add(junitName(e.found), junitCase{Skipped: &junitText{xmlText(texts[e.index])}})
			case e.suppressed != nil:
				suite.Skipped++
				add(junitName(&e.suppressed.Diagnostic), junitCase{Skipped: &junitText{xmlText(suppressedText(*e.suppressed))}})
			default:
				suite.Errors++
				add("read", junitCase{Error: &junitProblem{"unread", joined(unreadText(f.file, e.unread)), ""}})
			}
		}
		if suite.Failures+suite.Errors == 0 {
			add("valid", junitCase{})
		}
		suite.Tests = len(suite.Cases)
		report.Tests += suite.Tests
		report.Failures += suite.Failures
		report.Errors += suite.Errors
		report.Suites = append(report.Suites, suite)
	}
	return writeXML(w, report)
}

func junitName(d *diag.Diagnostic) string { return d.Summary + " [" + string(d.Code) + "]" }

func suppressedText(s Suppressed) string {
	by := "suppressed in the settings"
	if s.InSource {
		by = "suppressed by a comment"
	}
	if s.Reason != "" {
		by += ": " + s.Reason
	}
	return by
}

// texts are the diagnostics as people see them, but for the names of files.
func (r Report) texts() []string {
	asRead := map[string]string{}
	for _, d := range r.Diagnostics {
		asRead[r.file(d)] = d.Subject.File
	}
	p := diag.Printer{Notes: true}
	if r.Sources != nil {
		p.Sources = func(name string) ([]byte, error) { return r.Sources(asRead[name]) }
	}
	l := make(diag.List, len(r.Diagnostics))
	for i, d := range r.Diagnostics {
		l[i] = r.named(d)
	}
	out := make([]string, len(l))
	p.Each(l, func(i int, text []byte) { out[i] = "\n" + string(text) })
	return out
}
