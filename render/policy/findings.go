package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
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

// shortest is the shortest time that somebody may have meant in milliseconds.
const shortest = 20

// Milliseconds warns of a time so short that it was meant in seconds.
func (f *Findings) Milliseconds(code diag.Code, value int64, field string) {
	if value > 0 && value < shortest {
		f.Warn(code, fmt.Sprintf("%s is %d milliseconds, too short for an answer", field, value), fmt.Sprintf("write %d000 if seconds were meant", value), field)
	}
}

// HeaderNames warns of names that no header can have, so that nothing is ever found by them.
func (f *Findings) HeaderNames(code diag.Code, names []string, field string) {
	for i, name := range names {
		if ir.IsHeaderName(name) {
			continue
		}
		hint := "use letters, digits and !#$%&'*+-.^_`|~"
		if strings.Contains(name, ",") {
			hint = "write each name as an item of its own"
		}
		f.Warn(code, fmt.Sprintf("%q is not the name of a header", name), hint, field, strconv.Itoa(i))
	}
}
