package review_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/cli/review"
	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/testkit"
)

// hostile is a comparison that has one text wherever a user's own words can be.
func hostile(s string) []review.Diff {
	at := diag.Range{File: s, Start: diag.Pos{Line: 1, Column: 1}, End: diag.Pos{Line: 1, Column: 2}}
	o := diag.Object{Kind: "ApiInstance", Namespace: s, Name: s}
	var changes []diff.Change
	for _, class := range []diff.Class{diff.Security, diff.Traffic, diff.Cosmetic} {
		changes = append(changes, diff.Change{Class: class, Kind: diff.PolicyChanged, Object: o, Affects: []diag.Object{o}, Summary: s, Reason: s, Place: diff.Place{Range: at},
			Fields: []diff.Field{{Path: s, Old: s, New: s}, {Path: s, Secret: true}}})
	}
	side := func(i *report.Report) review.Side {
		return review.Side{Label: s, Prefix: s + ":", Revision: s, Invalid: i}
	}
	bad := &report.Report{Files: []string{s}, Diagnostics: diag.List{{Severity: diag.Error, Code: "link/x", Subject: at, Summary: s, Hint: s}}}
	return []review.Diff{
		{Old: side(nil), New: side(nil), Resources: true, Found: &diff.Report{Changes: changes, Unset: []string{s}, Added: []string{s}, Changed: []string{s}, Removed: []string{s},
			Ports: []diff.Port{{Port: 1, Address: s, Effect: diff.Drains, Reason: s}}}},
		{Old: side(bad), New: side(nil)},
	}
}

// TestWhatUsersWroteBreaksNoFormat: texts of files and names of files stand on the line that they are put on, and are no command of
// a terminal, a CI system or Markdown.
func TestWhatUsersWroteBreaksNoFormat(t *testing.T) {
	t.Parallel()
	table := regexp.MustCompile(`(?m)^\|.*$`)
	for n, d := range hostile("plain") {
		for _, format := range review.Formats() {
			var plain strings.Builder
			if err := d.Write(&plain, format); err != nil {
				t.Fatal(err)
			}
			for _, s := range testkit.Hostile() {
				var b strings.Builder
				if err := hostile(s)[n].Write(&b, format); err != nil {
					t.Fatal(err)
				}
				got := b.String()
				if format == "json" {
					if !json.Valid([]byte(got)) {
						t.Errorf("%s of %q is no JSON", format, s)
					}
					continue
				}
				if a, b := strings.Count(got, "\n"), strings.Count(plain.String(), "\n"); a != b && s != "" {
					t.Errorf("%s of %q has %d lines, want %d:\n%s", format, s, a, b, got)
				}
				for _, bad := range []string{"##vso[", "##[", "\n::"} {
					if strings.Contains(got, bad) {
						t.Errorf("%s of %q contains %q:\n%s", format, s, bad, got)
					}
				}
				if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && r != '\u200b' && !unicode.IsPrint(r) }); i >= 0 {
					t.Errorf("%s of %q contains %q", format, s, got[i:i+1])
				}
				if format != "markdown" {
					continue
				}
				rows, want := table.FindAllString(got, -1), table.FindAllString(plain.String(), -1)
				for i, row := range rows {
					if a, b := bars(row), bars(want[i]); a != b {
						t.Errorf("the row %q of %q has %d bars, want %d", row, s, a, b)
					}
				}
				outside := regexp.MustCompile("(`+)[^\n]*?[^`]`+").ReplaceAllString(got, "")
				for _, bad := range []string{"<h1>", "@everyone", "#1"} {
					if strings.Contains(outside, bad) {
						t.Errorf("%q comes through:\n%s", bad, outside)
					}
				}
			}
		}
	}
}

// bars are the ends of columns in a row of a table.
func bars(row string) int { return strings.Count(strings.ReplaceAll(row, `\|`, ""), "|") }

// TestABarInCodeIsOne: outside tables nothing takes the backslash away again.
func TestABarInCodeIsOne(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := hostile("GET|POST")[0].Write(&b, "markdown"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "- `~ GET|POST: GET|POST → GET|POST`") {
		t.Error(b.String())
	}
}
