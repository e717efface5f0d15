package deep

import (
	"errors"
	"fmt"
	"slices"

	"github.com/flexgw/flexgw/reconcile/sandbox"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
)

// Quoted finds the value that Envoy's words repeat in the configuration of the policy that is named at a place.
type Quoted func(at diag.Range, words string) (place diag.Range, ok bool)

// Fell reports whether Envoy came to no verdict on something: what it did not judge may be right or wrong.
func (v Verdict) Fell() bool {
	return v.Failed != nil || slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Failed })
}

// Diagnostics says what was found at the places to blame.
func (v Verdict) Diagnostics(t *render.Trial, quoted Quoted) diag.List {
	var l diag.List
	if v.Failed != nil {
		hint := "the declarations are not to blame; repair this, or leave --deep out"
		if errors.As(v.Failed, new(*sandbox.UnavailableError)) {
			hint = "Envoy is never asked unconfined: allow the system calls seccomp and landlock, as the default profile of a container does, or leave --deep out"
		}
		return diag.List{{Severity: diag.Error, Code: "envoy/validator-failed", Summary: "Envoy could not be asked, so nothing is known of what it takes: " + diag.OneLine(v.Failed.Error()), Hint: hint}}
	}
	for _, f := range v.Findings {
		l = append(l, f.diagnostic(t, quoted))
	}
	if v.Unsettled > 0 {
		l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "envoy/rejected",
			Summary: fmt.Sprintf("Envoy refuses more, somewhere in %d parts that it was not asked about one by one", v.Unsettled),
			Hint:    "mend what is reported, and validate again"})
	}
	return l.Sort()
}

func (f Finding) diagnostic(t *render.Trial, quoted Quoted) diag.Diagnostic {
	d := diag.Diagnostic{Severity: diag.Error, Code: "envoy/rejected"}
	what := "all of this together"
	var blames []render.Blame
	for _, p := range f.Parts[:min(len(f.Parts), mostRelated)] {
		blames = append(blames, t.Blame(p, f.Words))
	}
	if len(blames) > 0 {
		b := inConfig(blames[0], f.Words, quoted)
		what, d.Object, d.Subject = b.What, b.Object, b.Subject
	}
	if len(blames) > 1 {
		what += fmt.Sprintf(" beside %d others", len(f.Parts)-1)
		for _, b := range blames[1:] {
			d.Related = append(d.Related, diag.Related{Subject: b.Subject, Summary: b.What})
		}
	}
	d.Summary = fmt.Sprintf("Envoy refuses %s: %s", what, diag.OneLine(f.Words))
	d.Hint = "change what Envoy names; that flexgw did not notice it first is a bug of flexgw: please report it"
	if f.Failed {
		d.Code = "envoy/validator-failed"
		d.Summary = fmt.Sprintf("Envoy fails on %s, and says neither yes nor no: %s", what, diag.OneLine(f.Words))
		d.Hint = "this is a bug of Envoy, which may well fail on it when it serves; do without it, and please report it"
	}
	return d
}

// inConfig goes from the policy to blame to the value, if that can be told, which may be another policy's.
func inConfig(b render.Blame, words string, quoted Quoted) render.Blame {
	candidates := b.Maybe
	if b.Config {
		candidates = []render.Blame{b}
	}
	for _, c := range candidates {
		if place, ok := quoted(c.Subject, words); ok {
			c.Subject = place
			return c
		}
	}
	return b
}

const mostRelated = 5
