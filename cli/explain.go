package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/docs"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/require"
	"github.com/flexgw/flexgw/schema/source"
)

func explainCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say what a diagnostic's code or a declared field means",
		ArgsUsage: "[CODE|AREA|FIELD]",
		Flags:     append([]cli.Flag{outputFlag("text", "json"), rulesFlag()}, projectFileFlags()...),
		Description: "A CODE is what stands in brackets behind a diagnostic: link/unknown-service, or a code of the organisation's own rules.\n" +
			"A FIELD is a path from a kind or a policy: ApiInstance.spec.address, rate-limiting-flex.rateLimits. An area of codes (link)\n" +
			"lists them. Without any: all codes, kinds and policies.",
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			var s settings
			if _, err := s.readProject(c); err != nil {
				return err
			}
			var text bytes.Buffer
			if err := explain(&text, c.Args().Slice(), s.rules); err != nil {
				return err
			}
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				if format == "json" {
					return report.Indented(w, struct {
						Subject string `json:"subject"`
						Text    string `json:"text"`
					}{c.Args().First(), text.String()})
				}
				_, err := w.Write(text.Bytes())
				return err
			})
		},
	}
}

func explain(w io.Writer, args []string, own ownRules) error {
	what := ""
	if len(args) > 0 {
		what = args[0]
	}
	switch {
	case len(args) > 1:
		return usage("explain takes one CODE or FIELD, got %d", len(args))
	case what == "":
		return explainAll(w, own)
	case strings.Contains(what, "/"):
		text, ok := docs.Diagnostic(what)
		if !ok {
			text, ok = policyDiagnostic(what)
		}
		if !ok {
			var r require.Rule
			if r, ok = own.Find(diag.Code(what)); ok {
				text = explained(r)
			}
		}
		if !ok {
			return usage("no diagnostic has the code %q%s; flexgw explain lists them", what, suggest(what, own.known(knownCodes()).Names))
		}
		_, err := fmt.Fprintf(w, "%s\n\n%s\n", what, text)
		return err
	}
	if codes := inArea(what, own.known(knownCodes()).Names); len(codes) > 0 {
		return explainCodes(w, codes, own)
	}
	return explainField(w, what)
}

// inArea are the codes of an area, "link" or what a policy's codes begin with.
func inArea(area string, codes []string) []string {
	return slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return !strings.HasPrefix(c, area+"/") })
}

// policyDiagnostic is what a policy's folder says of a code, with what validate answers to its bad example.
func policyDiagnostic(code string) (text string, ok bool) {
	page, ok := policyMarkdown(code)
	return docs.Terminal(page), ok
}

// policyMarkdown is the same as it is written.
func policyMarkdown(code string) (page string, ok bool) {
	for _, t := range (all.Catalog{}).All() {
		if e, ok := t.Explain(code); ok {
			return policyCode(t, e), true
		}
	}
	return "", false
}

// codePage is what is said of a code, in Markdown; "": nothing.
func codePage(code string, own ownRules) string {
	page := docs.Markdown(code)
	if page == "" {
		page, _ = policyMarkdown(code)
	}
	if page == "" {
		if r, ok := own.Find(diag.Code(code)); ok {
			page = explained(r)
		}
	}
	return page
}

// policyCode is the page of a policy's code, in Markdown: of the form that docs/diagnostics has.
func policyCode(t policy.Type, e policy.Explained) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s\n\n**Why.** %s\n", strings.ToUpper(e.What[:1])+strings.TrimSuffix(e.What[1:], ".")+".", e.Why)
	fmt.Fprintf(b, "\nBad:\n\n```yaml\n%s```\n\n```text\n%s```\n\nGood:\n\n```yaml\n%s```\n", e.Bad.Text, answerTo(e.Bad), e.Good.Text)
	fmt.Fprintf(b, "\nReported for the policy %s; flexgw policy show %[1]s has its page.\n\nSource: %s\n", t.Name(), e.Source)
	return b.String()
}

// answerTo is what validate says of an example that people see without what stands around it.
func answerTo(e policy.Example) []byte {
	files := []source.File{source.NewFile(e.File, []byte(e.Text))}
	if e.Beside != "" {
		files = append(files, source.NewFile(e.Beside, []byte(e.Around)))
	}
	_, l := schema.Load(source.NewSet(files), schema.Options{Policies: all.Catalog{}, AllowUnenforced: true})
	l = slices.DeleteFunc(l, func(d diag.Diagnostic) bool {
		return d.Code == "link/not-supported-yet" || d.Code == "link/plain-text-secret"
	})
	var b bytes.Buffer
	printer := diag.Printer{Notes: true, Sources: func(string) ([]byte, error) { return []byte(e.Text), nil }}
	if err := printer.Print(&b, l); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

func explainAll(w io.Writer, own ownRules) error {
	if err := explainCodes(w, own.known(knownCodes()).Names, own); err != nil {
		return err
	}
	fmt.Fprintln(w, "KINDS AND POLICIES")
	for _, name := range roots() {
		if _, err := fmt.Fprintln(w, "  "+name); err != nil {
			return err
		}
	}
	return nil
}

// explainCodes lists codes, one a line.
func explainCodes(w io.Writer, codes []string, own ownRules) error {
	longest := 0
	for _, c := range codes {
		longest = max(longest, len(c))
	}
	fmt.Fprintln(w, "CODES")
	for _, c := range codes {
		if _, err := fmt.Fprintf(w, "  %-*s  %s\n", longest, c, diag.OneLine(own.ruleOf(diag.Code(c)).Summary)); err != nil {
			return err
		}
	}
	return nil
}

// roots are the names that a FIELD can start with.
func roots() []string {
	policies := []string{"route", "route-weighted"} // of schema: they are no filters
	for _, t := range (all.Catalog{}).All() {
		policies = append(policies, t.Name())
	}
	slices.Sort(policies)
	return append(schema.Kinds(), policies...)
}

// field is the part of a JSON Schema that explain shows.
type field struct {
	Ref         string            `json:"$ref"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Type        any               `json:"type"`
	Enum        []any             `json:"enum"`
	Default     any               `json:"default"`
	Required    []string          `json:"required"`
	Properties  map[string]*field `json:"properties"`
	Items       *field            `json:"items"`
	Additional  json.RawMessage   `json:"additionalProperties"`
	OneOf       []*field          `json:"oneOf"`
	AnyOf       []*field          `json:"anyOf"`
	Defs        map[string]*field `json:"$defs"`

	Minimum          json.Number `json:"minimum"`
	Maximum          json.Number `json:"maximum"`
	ExclusiveMinimum json.Number `json:"exclusiveMinimum"`
	ExclusiveMaximum json.Number `json:"exclusiveMaximum"`
	MinLength        json.Number `json:"minLength"`
	MaxLength        json.Number `json:"maxLength"`
	MinItems         json.Number `json:"minItems"`
	MaxItems         json.Number `json:"maxItems"`
	Pattern          string      `json:"pattern"`
}

// bounds says what a value may be beyond its type: "1 to 65535", "at least 1 character".
func (f *field) bounds() []string {
	var out []string
	number := func(least, most json.Number, unit string) {
		if most == "1" || most == "" && least == "1" {
			unit = strings.TrimSuffix(unit, "s")
		}
		switch {
		case least != "" && most != "":
			out = append(out, fmt.Sprintf("%s to %s%s", least, most, unit))
		case least != "":
			out = append(out, fmt.Sprintf("at least %s%s", least, unit))
		case most != "":
			out = append(out, fmt.Sprintf("at most %s%s", most, unit))
		}
	}
	number(f.Minimum, f.Maximum, "")
	if f.ExclusiveMinimum != "" {
		out = append(out, "more than "+f.ExclusiveMinimum.String())
	}
	if f.ExclusiveMaximum != "" {
		out = append(out, "less than "+f.ExclusiveMaximum.String())
	}
	number(f.MinLength, f.MaxLength, " characters")
	number(f.MinItems, f.MaxItems, " items")
	if f.Pattern != "" {
		out = append(out, "matches "+f.Pattern)
	}
	return out
}

func explainField(w io.Writer, path string) error {
	root, rest, _ := strings.Cut(path, ".")
	at, defs, shown, err := findField(root, slices.DeleteFunc(strings.Split(rest, "."), func(name string) bool { return name == "" }))
	if err != nil {
		return err
	}
	return at.describe(shown, defs).write(w)
}

// findField is the field at a path below a kind or a policy, with the definitions that it may refer to, and its path as it is shown.
func findField(root string, path []string) (at *field, defs map[string]*field, shown string, err error) {
	raw, ok := schema.KindSchema(root)
	if !ok {
		t, found := all.Catalog{}.Type(root)
		if !found {
			return nil, nil, "", usage("no kind or policy %q%s; known are %s", root, suggest(root, roots()), strings.Join(roots(), ", "))
		}
		raw = t.ConfigSchema()
	}
	top := &field{}
	if err := json.Unmarshal(raw, top); err != nil {
		return nil, nil, "", world(err)
	}
	at, shown = top, root
	for _, name := range path {
		next := at.child(name, top.Defs)
		if next == nil {
			return nil, nil, "", usage("%s has no field %q%s; it has %s", shown, name, suggest(name, at.names(top.Defs)), strings.Join(at.names(top.Defs), ", "))
		}
		at, shown = next, shown+"."+name
	}
	return at, top.Defs, shown, nil
}

// follow resolves a local $ref and looks into a list's items.
func (f *field) follow(defs map[string]*field) *field {
	for f != nil {
		switch {
		case f.Ref != "":
			next := defs[strings.TrimPrefix(f.Ref, "#/$defs/")]
			if next == nil {
				return f
			}
			f = next
		case f.Items != nil && f.Properties == nil:
			f = f.Items
		default:
			return f
		}
	}
	return nil
}

// shapes are the alternatives that may hold properties.
func (f *field) shapes(defs map[string]*field) []*field {
	f = f.follow(defs)
	if f == nil {
		return nil
	}
	out := []*field{f}
	for _, alt := range append(slices.Clone(f.OneOf), f.AnyOf...) {
		out = append(out, alt.shapes(defs)...)
	}
	return out
}

func (f *field) child(name string, defs map[string]*field) *field {
	for _, s := range f.shapes(defs) {
		for k, v := range s.Properties {
			if strings.EqualFold(k, name) {
				return v
			}
		}
		// A map: its values may be asked for by any name, or by none.
		var values field
		if len(s.Additional) > 0 && s.Additional[0] == '{' && json.Unmarshal(s.Additional, &values) == nil {
			if v := values.child(name, defs); v != nil {
				return v
			}
			return &values
		}
	}
	return nil
}

func (f *field) names(defs map[string]*field) []string {
	set := map[string]bool{}
	for _, s := range f.shapes(defs) {
		for k := range s.Properties {
			set[k] = true
		}
	}
	if len(set) == 0 {
		return []string{"none"}
	}
	return slices.Sorted(maps.Keys(set))
}

// description is what is said of a field.
type description struct {
	path, text string
	facts      [][2]string // "type", "string"
	fields     []fieldLine
}

// fieldLine is what is said of a field where the object that has it is explained.
type fieldLine struct {
	name, text string
	required   bool
}

func (f *field) describe(path string, defs map[string]*field) description {
	out := description{path: path, text: f.Description}
	target := f.follow(defs)
	if out.text == "" && target != nil {
		out.text = target.Description
	}
	fact := func(name, value string) {
		if value != "" {
			out.facts = append(out.facts, [2]string{name, value})
		}
	}
	fact("type", f.kind(defs))
	limits := f.bounds()
	if target != nil && target != f {
		limits = append(limits, target.bounds()...)
	}
	fact("bounds", strings.Join(limits, ", "))
	if f.Default != nil {
		fact("default", fmt.Sprint(f.Default))
	}
	if target != nil && len(target.Enum) > 0 {
		fact("values", strings.Trim(fmt.Sprint(target.Enum), "[]"))
	}
	for _, s := range f.shapes(defs) {
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[name]
			line := fieldLine{name, p.Description, slices.Contains(s.Required, name)}
			if t := p.follow(defs); line.text == "" && t != nil {
				line.text = t.Description
			}
			out.fields = append(out.fields, line)
		}
	}
	return out
}

// write is for a terminal.
func (d description) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, d.path)
	if d.text != "" {
		fmt.Fprintf(&b, "\n%s\n", d.text)
	}
	fmt.Fprintln(&b)
	for _, f := range d.facts {
		fmt.Fprintf(&b, "  %s: %s\n", f[0], f[1])
	}
	for _, f := range d.fields {
		mark := ""
		if f.required {
			mark = " (required)"
		}
		fmt.Fprintf(&b, "  %s%s: %s\n", f.name, mark, f.text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// markdown is for an editor.
func (d description) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`\n", d.path)
	if d.text != "" {
		fmt.Fprintf(&b, "\n%s\n", d.text)
	}
	if len(d.facts) > 0 {
		b.WriteByte('\n')
	}
	for _, f := range d.facts {
		fmt.Fprintf(&b, "- %s: `%s`\n", f[0], f[1])
	}
	if len(d.fields) > 0 {
		b.WriteString("\nFields:\n\n")
	}
	for _, f := range d.fields {
		mark := ""
		if f.required {
			mark = " (required)"
		}
		fmt.Fprintf(&b, "- `%s`%s: %s\n", f.name, mark, f.text)
	}
	return b.String()
}

func (f *field) kind(defs map[string]*field) string {
	t := f.Type
	if f.Ref != "" {
		if d := defs[strings.TrimPrefix(f.Ref, "#/$defs/")]; d != nil && t == nil {
			t = d.Type
		}
	}
	switch t := t.(type) {
	case string:
		return t
	case []any:
		words := make([]string, len(t))
		for i, x := range t {
			words[i] = fmt.Sprint(x)
		}
		return strings.Join(words, " or ")
	}
	return ""
}
