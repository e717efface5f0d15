package render

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// internal reports a bug of ours at the declaration that showed it.
func internal(at ir.Origin, format string, args ...any) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Error, Code: "render/internal", Object: at.Object, Subject: at.Range,
		Summary: "flexgw made something that Envoy would not take: " + fmt.Sprintf(format, args...),
		Hint:    "this is a bug of flexgw, not of the declaration; please report it"}
}

// faults takes the bugs that a wire noted.
func faults(w *wire, at ir.Origin) diag.List {
	var l diag.List
	for _, f := range w.faults {
		l = append(l, internal(at, "%s", f))
	}
	w.faults = nil
	return l
}

// conflict reports that two bindings want one thing; the later one is to blame.
func conflict(what string, first, later ir.Origin) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Error, Code: "render/conflict", Object: later.Object, Subject: later.Range,
		Summary: fmt.Sprintf("%s sets %s, which %s sets to something else", later.Object, what, first.Object),
		Hint:    "keep one of the two",
		Related: []diag.Related{{Subject: first.Range, Summary: "also set here"}}}
}

// notConditional reports rules on a policy that cannot have any.
func notConditional(b *ir.Binding, why string) diag.Diagnostic {
	at := b.RulesAt
	if at.IsZero() {
		at = b.Origin.Range
	}
	return diag.Diagnostic{Severity: diag.Error, Code: "render/not-conditional", Object: b.Origin.Object, Subject: at,
		Summary: fmt.Sprintf("policy %s cannot have rules: %s", quote(b.Policy), why),
		Hint:    "remove the rules; the policy then applies to every request of its target"}
}

func quote(s string) string { return strconv.Quote(s) }

func compareNeeds(a, b policy.Need) int {
	return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(a.Purpose, b.Purpose), strings.Compare(a.URL, b.URL), cmp.Compare(a.TTL, b.TTL), cmp.Compare(a.Timeout, b.Timeout))
}

func sortedNeeds(seen map[policy.Need]bool) []policy.Need {
	ns := make([]policy.Need, 0, len(seen))
	for n := range seen {
		ns = append(ns, n)
	}
	slices.SortFunc(ns, compareNeeds)
	return ns
}
