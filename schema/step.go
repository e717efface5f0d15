package schema

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// expectation is the end of a summary that says what would be right.
var expectation = regexp.MustCompile(`expected ([^,]+?)(?:, found .*)?$`)

// counted is what a summary counts, when only the number follows that would be right.
var counted = regexp.MustCompile(`has [0-9]+ (character|item|field)s?, expected at (?:least|most) ([0-9]+)$`)

// steps are what to do about codes whose summaries say all else.
var steps = map[diag.Code]string{
	"link/bad-address":          "write protocol://host:port",
	"link/not-supported-yet":    "leave it out, or stay with the product where you rely on it",
	"link/over-limit":           "split it up; flexgw takes more, the product promises nothing beyond",
	"link/policy-not-available": "remove the binding; flexgw policy list has what can be bound",
	"link/unknown-api":          "declare it, or correct the name",
	"link/unknown-service":      "declare it, or correct the name",
	"link/unknown-extension":    "declare it, or correct the name",
	"shape/alternatives":        "keep the fields of one of them",
	"shape/invalid":             "compare it with flexgw explain KIND.field, which shows what a field takes",
	"shape/not-allowed-value":   "write one of these",
	"shape/unknown-field":       "remove it",
}

// WithSteps gives every error and warning something to do: who reads it at night should not have to think of it.
func WithSteps(ds diag.List) diag.List {
	for i := range ds {
		d := &ds[i]
		if d.Hint != "" || d.Severity == diag.Note {
			continue
		}
		if s, ok := steps[d.Code]; ok {
			d.Hint = s
		} else if m := expectation.FindStringSubmatch(d.Summary); m != nil && !strings.Contains(m[1], `"`) {
			d.Hint = "write " + m[1]
			if d.Code == "shape/out-of-range" {
				d.Hint = "write a number of " + m[1]
			} else if of := counted.FindStringSubmatch(d.Summary); of != nil && of[2] == "1" {
				d.Hint += " " + of[1]
			} else if of != nil {
				d.Hint += " " + of[1] + "s"
			}
		} else {
			d.Hint = fmt.Sprintf("flexgw explain %s says more", d.Code)
		}
	}
	return ds
}
