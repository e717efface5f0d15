package report

import "io"

// Case is a test of a JUnit report that is not about declarations.
type Case struct {
	Suite, Name string
	Kind        string // of a failure: a word to filter by
	Message     string // of a failure, one line; "" when the case passes or was skipped
	Text        string // more about a failure, or why the case was skipped
	Skipped     bool
}

// JUnit writes cases, a suite for each name in the order in which the names come.
func JUnit(w io.Writer, name string, cases []Case) error {
	report := junitReport{Name: name, Tests: len(cases)}
	at := map[string]int{}
	for _, c := range cases {
		i, ok := at[c.Suite]
		if !ok {
			i = len(report.Suites)
			at[c.Suite] = i
			report.Suites = append(report.Suites, junitSuite{Name: c.Suite})
		}
		suite := &report.Suites[i]
		suite.Tests++
		j := junitCase{Name: joined(c.Name), Class: c.Suite}
		switch {
		case c.Skipped:
			suite.Skipped++
			j.Skipped = &junitText{xmlText(c.Text)}
		case c.Message != "":
			suite.Failures++
			report.Failures++
			j.Failure = &junitProblem{c.Kind, joined(c.Message), xmlText(c.Text)}
		}
		suite.Cases = append(suite.Cases, j)
	}
	return writeXML(w, report)
}
