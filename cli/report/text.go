package report

import (
	"fmt"
	"io"

	"github.com/flexgw/flexgw/schema/diag"
)

// text is for people: the diagnostics with their source lines, and a closing line.
func text(w io.Writer, r Report) error {
	p := diag.Printer{Sources: r.Sources, Color: r.Color, Notes: r.Notes}
	if err := p.Print(w, r.Diagnostics); err != nil {
		return err
	}
	c := r.Summary()
	if shown := c.Errors + c.Warnings; shown > 0 || r.Notes && c.Notes > 0 {
		fmt.Fprintln(w)
	}
	hidden := ""
	if c.Notes > 0 && !r.Notes {
		hidden = " (--verbose shows them)"
	}
	if r.LeftOut > 0 {
		hidden += "; " + plural(r.LeftOut, "old problem") + " left out"
	}
	if n := r.fixable(); n > 0 {
		hidden += fmt.Sprintf("; validate --fix may mend %d", n)
	}
	verdict := "ok"
	switch {
	case c.Errors > 0, r.Strict && c.Warnings > 0:
		verdict = "invalid"
	case len(r.Unread) > 0:
		verdict = "incomplete"
	}
	_, err := fmt.Fprintf(w, "%s: %s in %s, %s, %s, %s%s\n", verdict, plural(c.Documents, "document"), plural(c.Files, "file"),
		plural(c.Errors, "error"), plural(c.Warnings, "warning"), plural(c.Notes, "note"), hidden)
	return err
}

// fixable is how many problems, notes left out, validate --fix would mend.
func (r Report) fixable() int {
	var l diag.List
	for _, d := range r.Diagnostics {
		if d.Severity > diag.Note && len(d.Edits)+len(d.Fixes) > 0 {
			l = append(l, d)
		}
	}
	if len(l) == 0 || r.Fixable == nil {
		return 0
	}
	return r.Fixable(l)
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
