package report

import (
	"encoding/xml"
	"io"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// Checkstyle has no schema; this is what its XMLLogger writes.
// Source: https://github.com/checkstyle/checkstyle, com.puppycrawl.tools.checkstyle.XMLLogger
type (
	checkstyleReport struct {
		XMLName xml.Name         `xml:"checkstyle"`
		Version string           `xml:"version,attr"`
		Files   []checkstyleFile `xml:"file"`
	}
	checkstyleFile struct {
		Name   string            `xml:"name,attr"`
		Errors []checkstyleError `xml:"error"`
	}
	checkstyleError struct {
		Line     int    `xml:"line,attr"`
		Column   int    `xml:"column,attr,omitempty"`
		Severity string `xml:"severity,attr"`
		Message  string `xml:"message,attr"`
		Source   string `xml:"source,attr"` // readers take what follows the last dot for the rule
	}
)

// checkstyle lists every file that was read, with what is wrong with it.
func checkstyle(w io.Writer, r Report) error {
	report := checkstyleReport{Version: "4.3"}
	for _, f := range r.byFile() {
		file := checkstyleFile{Name: f.file}
		for _, e := range f.entries {
			switch {
			case e.found != nil:
				d := e.found
				first, _ := lines(d.Subject)
				file.Errors = append(file.Errors, checkstyleError{
					Line: first, Column: int(d.Subject.Start.Column), Severity: checkstyleSeverity(d.Severity),
					Message: joined(strings.Join(append([]string{d.Summary}, details(*d)...), "\n")), Source: "flexgw." + string(d.Code),
				})
			case e.suppressed == nil:
				file.Errors = append(file.Errors, checkstyleError{Line: 1, Severity: "error", Message: joined(unreadText(f.file, e.unread)), Source: "flexgw.unread"})
			}
		}
		report.Files = append(report.Files, file)
	}
	return writeXML(w, report)
}

func checkstyleSeverity(s diag.Severity) string {
	if s == diag.Note {
		return "info"
	}
	return s.String()
}
