package policytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/testkit"
)

// page checks the user's page. Updating rewrites the answers of its examples.
func (p *policyTest) page(t *testing.T) {
	lines := strings.SplitAfter(string(p.typ.Page()), "\n")
	if got, want := strings.TrimSpace(lines[0]), "# "+p.typ.Name(); got != want {
		t.Errorf("the page's title is %q, want %q", got, want)
	}
	p.tables(t, lines)
	p.examples(t, lines)
}

// row is one row of a table of properties.
type row struct{ path, typ, required, def, meaning string }

func (p *policyTest) tables(t *testing.T, lines []string) {
	var rows []row
	inside := false
	for _, line := range lines {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case strings.EqualFold(cells[0], "Property"):
			inside = true
		case inside && len(cells) >= 5 && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, row{strings.Trim(cells[0], "`"), cells[1], cells[2], cells[3], strings.Join(cells[4:], "|")})
		}
	}
	var got, want []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s: %s, required %s, default %s", r.path, r.typ, r.required, r.def))
		if r.meaning == "" {
			t.Errorf("the page says nothing of %s", r.path)
		}
	}
	for _, prop := range p.properties {
		required := map[bool]string{true: "yes", false: "no"}[prop.Required]
		want = append(want, fmt.Sprintf("%s: %s, required %s, default %s", prop.Path, prop.Type, required, cell(prop)))
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("properties of the schema and of the page's tables (-schema +page):\n%s", d)
	}
}

// cell is how the page writes a default.
func cell(p Property) string {
	if !p.HasDefault {
		return "–"
	}
	if s, ok := p.Default.(string); ok {
		return "`" + s + "`"
	}
	b, err := json.Marshal(p.Default)
	if err != nil {
		return err.Error()
	}
	return "`" + string(b) + "`"
}

// block is a fenced block: lines[from:to] is its content.
type block struct {
	info     string
	from, to int
}

func blocks(lines []string) []block {
	var found []block
	for i := 0; i < len(lines); i++ {
		info, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "```")
		if !ok {
			continue
		}
		b := block{info: strings.TrimSpace(info), from: i + 1}
		for i++; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
		}
		b.to = i
		found = append(found, b)
	}
	return found
}

func (p *policyTest) examples(t *testing.T, lines []string) {
	var good, bad int
	found := blocks(lines)
	answers := map[int]string{} // index of a text block → what it must hold
	for i, b := range found {
		_, mark, ok := strings.Cut(b.info, " ")
		if !ok || !strings.HasPrefix(mark, "flexgw:") {
			continue
		}
		files := []source.File{source.NewFile("gateway.yaml", []byte(strings.Join(lines[b.from:b.to], "")))}
		_, l := p.load(files, map[string]string{}, true)
		answer := text(t, l, files)
		switch mark {
		case "flexgw:ok":
			good++
			if l.Count(diag.Error)+l.Count(diag.Warning) > 0 {
				t.Errorf("line %d: an example marked ok is refused:\n%s", b.from, answer)
			}
		case "flexgw:error":
			bad++
			if !l.HasErrors() {
				t.Errorf("line %d: an example marked error is accepted", b.from)
			}
			if i+1 == len(found) || found[i+1].info != "text" {
				t.Errorf("line %d: no text block follows", b.from)
				continue
			}
			answers[i+1] = string(answer)
		default:
			t.Errorf("line %d: unknown mark %s", b.from, mark)
		}
	}
	if good == 0 || good+bad < 2 {
		t.Errorf("%d examples are accepted and %d refused, want at least two, one of them accepted", good, bad)
	}
	p.compare(t, lines, found, answers)
}

func (p *policyTest) compare(t *testing.T, lines []string, found []block, answers map[int]string) {
	var page bytes.Buffer
	at := 0
	for i, b := range found {
		want, ok := answers[i]
		if !ok {
			continue
		}
		if got := strings.Join(lines[b.from:b.to], ""); got != want && !testkit.Updating() {
			t.Errorf("line %d: what the example before gives (-page +got):\n%s", b.from, cmp.Diff(got, want))
		}
		page.WriteString(strings.Join(lines[at:b.from], ""))
		page.WriteString(want)
		at = b.to
	}
	page.WriteString(strings.Join(lines[at:], ""))
	if !testkit.Updating() || t.Failed() || page.String() == strings.Join(lines, "") {
		return
	}
	if err := os.WriteFile(p.area+".md", page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
