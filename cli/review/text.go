package review

import (
	"fmt"
	"io"
	"strings"

	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/schema/diag"
)

// text is for people: what matters most first, one line for each change that an editor can follow to its place.
func text(w io.Writer, d Diff) error {
	if bad := d.invalid(); len(bad) > 0 {
		return invalidText(w, bad)
	}
	t := &printer{d: d}
	fmt.Fprintf(&t.b, "%s → %s: %s\n", diag.Visible(d.Old.Label), diag.Visible(d.New.Label), counted(d.Found))
	for _, g := range classWords {
		t.class(g.class, g.words)
	}
	if len(d.Found.Ports) > 0 {
		t.heading("what connected clients notice")
		for _, p := range d.Found.Ports {
			fmt.Fprintf(&t.b, "  %s\n", diag.Visible(portText(p)))
		}
	}
	if d.Resources {
		t.resources()
	}
	if len(d.Found.Unset) > 0 {
		t.b.WriteString("\n" + diag.Visible(unsetText(d.Found.Unset)) + "\n")
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// portText is what clients of a port notice.
func portText(p diff.Port) string {
	effect := string(p.Effect)
	switch p.Effect {
	case diff.Drains:
		effect = "drains once"
	case diff.Keeps:
		effect = "keeps its connections"
	}
	return fmt.Sprintf("port %d %s: %s", p.Port, effect, p.Reason)
}

func unsetText(names []string) string {
	return "what Envoy gets is compared without the policies that need variables which are not set here: " + strings.Join(names, ", ")
}

func invalidText(w io.Writer, bad []Side) error {
	for _, s := range bad {
		if err := s.Invalid.Write(w, "text"); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, diag.Visible(s.invalidText())); err != nil {
			return err
		}
	}
	return nil
}

type printer struct {
	d Diff
	b strings.Builder
}

func (t *printer) colored(code, text string) string {
	if !t.d.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *printer) heading(text string) { t.b.WriteString("\n" + t.colored("1", text) + "\n") }

func (t *printer) class(class diff.Class, words string) {
	if t.d.Found.Count(class) == 0 {
		return
	}
	t.heading(words)
	for _, c := range t.d.Found.Changes {
		if c.Class == class {
			t.change(c)
		}
	}
}

func (t *printer) change(c diff.Change) {
	t.b.WriteString("  ")
	for _, part := range []string{t.d.place(c.Place), subject(c)} {
		if part != "" {
			t.b.WriteString(diag.Visible(part) + ": ")
		}
	}
	t.b.WriteString(diag.Visible(c.Summary))
	switch c.Way {
	case diff.Looser:
		t.b.WriteString(" " + t.colored("31", "[looser]"))
	case diff.Tighter:
		t.b.WriteString(" " + t.colored("32", "[tighter]"))
	}
	t.b.WriteString("\n      " + diag.Visible(c.Reason) + "\n")
	for _, f := range c.Fields {
		t.b.WriteString("      " + diag.Visible(fieldText(f)) + "\n")
	}
}

func (t *printer) resources() {
	r := t.d.Found
	if len(r.Added)+len(r.Changed)+len(r.Removed) == 0 {
		return
	}
	t.heading("what Envoy gets")
	for _, g := range []struct {
		sign  string
		names []string
	}{{"+", r.Added}, {"~", r.Changed}, {"-", r.Removed}} {
		for _, n := range g.names {
			t.b.WriteString("  " + g.sign + " " + diag.Visible(n) + "\n")
		}
	}
}
