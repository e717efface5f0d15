// Package review writes what a comparison of two gateways found, for the people who review a change and for programs.
//
// It compares nothing, opens nothing and decides no exit code.
package review

import (
	"fmt"
	"io"
	"slices"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/schema/diag"
)

// Diff is what one comparison found.
type Diff struct {
	Old, New Side
	Found    *diff.Report // nil when a side is not valid: nothing was compared

	Color     bool // text: ANSI colours
	Resources bool // text: the names of what Envoy gets otherwise; every other format always carries them
}

// Side is one of the two that were compared.
type Side struct {
	Label    string         // as the user named it: "main", "conf"
	Many     bool           // the label is a plural: "the files"
	Prefix   string         // before a file of it, where that is not on the disk as it was read: "main:"
	Revision string         // of a commit; "" of files
	Invalid  *report.Report // what is wrong with it; nil: nothing that matters here
}

// formats are all, the usual one first.
func formats() []format {
	return []format{{"text", text}, {"json", writeJSON}, {"markdown", markdown}}
}

type format struct {
	name  string
	write func(w io.Writer, d Diff) error
}

// Formats are the names that Diff.Write knows, the usual one first.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

// Write writes d in one of Formats. Other names are a mistake of the caller.
func (d Diff) Write(w io.Writer, name string) error {
	all := formats()
	i := slices.IndexFunc(all, func(f format) bool { return f.name == name })
	if i < 0 {
		return fmt.Errorf("no format %q", name)
	}
	return all[i].write(w, d)
}

// invalidText says that nothing was compared.
func (s Side) invalidText() string {
	verb := "is"
	if s.Many {
		verb = "are"
	}
	return s.Label + " " + verb + " not valid, so nothing was compared"
}

// place is where a change stands, as a user can open it: main:conf/orders.yaml:3:9.
func (d Diff) place(p diff.Place) string {
	if p.File == "" {
		return ""
	}
	if p.Old {
		return d.Old.Prefix + p.String()
	}
	return d.New.Prefix + p.String()
}

// invalid are the sides that are not valid.
func (d Diff) invalid() []Side {
	return slices.DeleteFunc([]Side{d.Old, d.New}, func(s Side) bool { return s.Invalid == nil })
}

// classWords are how the classes are headed, most important first.
var classWords = []struct {
	class diff.Class
	words string
}{{diff.Security, "security-relevant"}, {diff.Traffic, "traffic-relevant"}, {diff.Cosmetic, "cosmetic"}}

// counted says how many changes there are of each class: "2 security-relevant (1 looser), 3 traffic-relevant, 1 cosmetic".
func counted(r *diff.Report) string {
	if len(r.Changes) == 0 {
		return "no difference"
	}
	looser := 0
	for _, c := range r.Changes {
		if c.Way == diff.Looser {
			looser++
		}
	}
	more := ""
	if looser > 0 {
		more = fmt.Sprintf(" (%d looser)", looser)
	}
	return fmt.Sprintf("%d security-relevant%s, %d traffic-relevant, %d cosmetic", r.Count(diff.Security), more, r.Count(diff.Traffic), r.Count(diff.Cosmetic))
}

// subject is what a change is about, for those whose summary does not name it.
func subject(c diff.Change) string {
	switch c.Kind {
	case diff.AuthenticationLost, diff.AuthenticationGained, diff.PolicyAdded, diff.PolicyRemoved, diff.PolicyChanged, diff.PolicyOrder:
		return objects(c.Affects)
	case diff.RouteAdded, diff.RouteRemoved, diff.RouteChanged, diff.RouteOrder:
		return object(c.Object)
	}
	return ""
}

// mostObjects is how many objects are named; the JSON names all.
const mostObjects = 5

func objects(list []diag.Object) string {
	text := ""
	for i, o := range list {
		if i == mostObjects {
			return fmt.Sprintf("%s and %d more", text, len(list)-i)
		}
		if i > 0 {
			text += ", "
		}
		text += object(o)
	}
	return text
}

func object(o diag.Object) string {
	if o.Kind == "Service" {
		return "Service " + o.Namespace + "/" + o.Name
	}
	return o.Namespace + "/" + o.Name
}

// fieldText is one value that is different, on one line, behind a sign as in a text's diff.
func fieldText(f diff.Field) string {
	switch {
	case f.Secret:
		return "~ " + f.Path + ": another secret (" + diag.Redacted + ")"
	case f.Old == "":
		return "+ " + f.Path + ": " + f.New
	case f.New == "":
		return "- " + f.Path + ": " + f.Old
	}
	return "~ " + f.Path + ": " + f.Old + " → " + f.New
}
