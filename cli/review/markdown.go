package review

import (
	"fmt"
	"io"
	"strings"

	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/schema/diag"
)

// A comment on a pull request holds 65,536 characters on GitHub. What does not fit is counted.
const (
	mostRows  = 60 // of a table
	mostItems = 30 // values of a change
)

// markdown is for a comment on a pull request: a table of what matters, the rest folded away.
func markdown(w io.Writer, d Diff) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### flexgw diff: %s → %s\n\n", code(d.Old.Label), code(d.New.Label))
	if bad := d.invalid(); len(bad) > 0 {
		invalidMarkdown(&b, bad)
	} else {
		fmt.Fprintf(&b, "**%s**\n", counted(d.Found))
		for _, g := range classWords[:2] {
			d.table(&b, g.class, g.words)
		}
		d.values(&b)
		d.clients(&b)
		d.cosmetic(&b)
		if len(d.Found.Unset) > 0 {
			fmt.Fprintf(&b, "\n%s\n", escaped(unsetText(d.Found.Unset)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func invalidMarkdown(b *strings.Builder, bad []Side) {
	for _, s := range bad {
		fmt.Fprintf(b, "**%s.**\n\n| Place | Problem | Code |\n| --- | --- | --- |\n", escaped(s.invalidText()))
		for i, x := range s.Invalid.Diagnostics {
			if i == mostRows {
				fmt.Fprintf(b, "| | and %d more | |\n", len(s.Invalid.Diagnostics)-i)
				break
			}
			fmt.Fprintf(b, "| %s | %s: %s | %s |\n", cell(x.Subject.String()), x.Severity, escaped(x.Summary), cell(string(x.Code)))
		}
		b.WriteByte('\n')
	}
}

func (d Diff) table(b *strings.Builder, class diff.Class, words string) {
	n := d.Found.Count(class)
	if n == 0 {
		return
	}
	fmt.Fprintf(b, "\n#### %s\n\n| Change | Why it matters | Where |\n| --- | --- | --- |\n", strings.ToUpper(words[:1])+words[1:])
	row := 0
	for _, c := range d.Found.Changes {
		if c.Class != class {
			continue
		}
		if row++; row > mostRows {
			fmt.Fprintf(b, "| and %d more | | |\n", n-mostRows)
			return
		}
		text := escaped(c.Summary)
		if s := subject(c); s != "" {
			text = cell(s) + ": " + text
		}
		if c.Way != "" {
			text += " **(" + string(c.Way) + ")**"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", text, escaped(c.Reason), cell(d.place(c.Place)))
	}
}

// values are the single values of what matters.
func (d Diff) values(b *strings.Builder) {
	var text strings.Builder
	row := 0
	for _, c := range d.Found.Changes {
		if len(c.Fields) == 0 || c.Class == diff.Cosmetic {
			continue
		}
		if row++; row > mostRows {
			continue
		}
		head := c.Summary
		if s := subject(c); s != "" {
			head = s + ": " + head
		}
		fmt.Fprintf(&text, "%s\n\n", escaped(head))
		for i, f := range c.Fields {
			if i == mostItems {
				fmt.Fprintf(&text, "- and %d more\n", len(c.Fields)-i)
				break
			}
			fmt.Fprintf(&text, "- %s\n", code(fieldText(f)))
		}
		text.WriteByte('\n')
	}
	if row > mostRows {
		fmt.Fprintf(&text, "and %d more\n\n", row-mostRows)
	}
	fold(b, "Values", text.String())
}

func (d Diff) clients(b *strings.Builder) {
	var text strings.Builder
	for _, p := range d.Found.Ports {
		fmt.Fprintf(&text, "- %s\n", escaped(portText(p)))
	}
	fold(b, "What connected clients notice", text.String())
}

func (d Diff) cosmetic(b *strings.Builder) {
	var text strings.Builder
	row := 0
	for _, c := range d.Found.Changes {
		if c.Class != diff.Cosmetic {
			continue
		}
		if row++; row <= mostRows {
			fmt.Fprintf(&text, "- %s: %s\n", escaped(c.Summary), escaped(c.Reason))
		}
	}
	if row > mostRows {
		fmt.Fprintf(&text, "- and %d more\n", row-mostRows)
	}
	fold(b, fmt.Sprintf("Cosmetic changes (%d)", row), text.String())
}

func fold(b *strings.Builder, summary, text string) {
	if text != "" {
		fmt.Fprintf(b, "\n<details><summary>%s</summary>\n\n%s\n\n</details>\n", summary, strings.TrimRight(text, "\n"))
	}
}

// code is text as it is. What people wrote into their files mentions nobody and breaks nothing.
func code(text string) string {
	if text == "" {
		return ""
	}
	text = diag.Visible(text)
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if len(fence) > 1 || strings.HasPrefix(text, " ") && strings.HasSuffix(text, " ") {
		return fence + " " + text + " " + fence
	}
	return fence + text + fence
}

// cell is code in a table, whose columns a bar would end even there.
func cell(text string) string { return strings.ReplaceAll(code(text), "|", `\|`) }

// escaped is text that says nothing to Markdown. Behind @ and # stands a blank of no width: GitHub looks for people and issues after
// it has read escapes and entities.
func escaped(text string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "]", "\\]",
		"@", "@\u200b", "#", "#\u200b", "~", "\\~").Replace(diag.Visible(strings.ReplaceAll(text, "\n", " ")))
}
