package policy

import (
	"fmt"

	"github.com/flexgw/flexgw/schema/diag"
)

// Findings collects what a Check finds, each at a place of the configuration.
type Findings struct {
	At   Locator // must be set
	List diag.List
}

// Error reports what the product would refuse, or what could not work. No path: the configuration itself.
func (f *Findings) Error(code diag.Code, summary, hint string, path ...string) {
	f.report(diag.Error, code, summary, hint, path)
}

// Warn reports what works, but hardly as it was meant.
func (f *Findings) Warn(code diag.Code, summary, hint string, path ...string) {
	f.report(diag.Warning, code, summary, hint, path)
}

// Note reports what is shown on request only.
func (f *Findings) Note(code diag.Code, summary, hint string, path ...string) {
	f.report(diag.Note, code, summary, hint, path)
}

func (f *Findings) report(s diag.Severity, code diag.Code, summary, hint string, path []string) {
	f.List = append(f.List, diag.Diagnostic{Severity: s, Code: code, Summary: summary, Hint: hint, Subject: f.At(path...)})
}

// Limit is a number that requests must not exceed; -1 is no limit.
type Limit struct {
	Field string
	Value int64
	Zero  string // what is refused when it is 0: "every request with a body"; "": that makes sense
}

// Limits warns of limits that refuse everything and of a policy that has none: zero and off are the codes of the two.
func (f *Findings) Limits(limits []Limit, zero, off diag.Code) {
	set := false
	for _, x := range limits {
		set = set || x.Value >= 0
		if x.Value == 0 && x.Zero != "" {
			f.Warn(zero, fmt.Sprintf("%s is 0, which refuses %s", x.Field, x.Zero), "write a larger number, or -1 for no limit", x.Field)
		}
	}
	if !set {
		f.Warn(off, "no limit is set, so nothing is refused", "set a limit, or remove the policy")
	}
}
