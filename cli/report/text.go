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
	if n := fixable(r.Diagnostics); n > 0 {
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

// fixable is how many problems have an edit that mends them. What became of it in the text is not looked at.
func fixable(l diag.List) int {
	n := 0
	for i := range l {
		if l[i].Severity > diag.Note && len(l[i].Edits)+len(l[i].Fixes) > 0 {
			n++
		}
	}
	return n
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
