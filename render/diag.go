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
	return diag.Diagnostic{Severity: diag.Error, Code: "render/internal", Object: at.Declared(), Subject: at.Range,
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
	return diag.Diagnostic{Severity: diag.Error, Code: "render/conflict", Object: later.Declared(), Subject: later.Range,
		Summary: fmt.Sprintf("%s sets %s, which %s sets to something else", said(later), what, said(first)),
		Hint:    "keep one of the two",
		Related: []diag.Related{{Subject: first.Range, Summary: "also set here"}}}
}

// said names the object that a policy or a Service came from, and of what stands inline which part of it.
func said(o ir.Origin) string {
	if o.Of == nil {
		return o.Object.String()
	}
	what, name := "service", strings.TrimPrefix(o.Object.Name, o.Of.Name+"-")
	if o.Object.Kind == "PolicyBinding" { // "<api>-<policy>-<n>"
		what, name = "policy", name[:max(0, strings.LastIndexByte(name, '-'))]
	}
	return fmt.Sprintf("%s %s of %s", what, quote(name), o.Of)
}

// notConditional reports rules on a policy that cannot have any.
func notConditional(b *ir.Binding, why string) diag.Diagnostic {
	at := b.RulesAt()
	if at.IsZero() {
		at = b.Origin.Range
	}
	return diag.Diagnostic{Severity: diag.Error, Code: "render/not-conditional", Object: b.Origin.Declared(), Subject: at,
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
