package cli

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/cli/lsp"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/source"
)

// standIn stands at the place that is asked about while the text is read: what is half written is mostly no YAML.
const standIn = "flexgwStandIn"

// yamlBeginnings are those of lines of YAML up to a cursor: where the name of a field is written, and where its value. Other commands
// shall not pay for them.
var yamlBeginnings = sync.OnceValues(func() (name, value *regexp.Regexp) {
	return regexp.MustCompile(`^([ \t]*(?:- +)*)([\w.-]*)$`), regexp.MustCompile(`^[ \t]*(?:- +)*([\w.-]+|"[^"]*"|'[^']*')[ \t]*:[ \t]+["']?([\w./:-]*)$`)
})

// cursor is a place where something is about to be written.
type cursor struct {
	indent   string
	field    string // whose value it is; "": a name is written
	from, to int    // what is there already
	closed   bool   // a colon stands behind it
}

// cursorAt finds out what is being written at an offset of a YAML text.
func cursorAt(text string, offset int) (c cursor, ok bool) {
	line := text[strings.LastIndexByte(text[:offset], '\n')+1 : offset]
	c.to = offset
	for c.to < len(text) && (text[c.to] == '-' || text[c.to] == '_' || text[c.to] == '.' || isLetter(text[c.to])) {
		c.to++
	}
	rest, _, _ := strings.Cut(text[c.to:], "\n")
	rest = strings.TrimSpace(rest)
	yamlName, yamlValue := yamlBeginnings()
	if m := yamlName.FindStringSubmatch(line); m != nil {
		c.indent, c.from, c.closed = m[1], offset-len(m[2]), strings.HasPrefix(rest, ":")
		return c, c.closed || rest == "" || strings.HasPrefix(rest, "#")
	}
	if m := yamlValue.FindStringSubmatch(line); m != nil {
		c.field, c.from = strings.Trim(m[1], `"'`), offset-len(m[2])
		return c, true
	}
	return c, false
}

func isLetter(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

// Complete implements lsp.Room. JSON and CUE have servers of their own that complete by schemas (flexgw schema export).
func (r *editorRoom) Complete(_ context.Context, open lsp.Open, name string, offset int) []lsp.Item {
	ext := strings.ToLower(path.Ext(name))
	if !r.declares(name) || ext != ".yaml" && ext != ".yml" {
		return nil
	}
	text := string(open[name])
	c, ok := cursorAt(text, offset)
	if !ok {
		return nil
	}
	put := standIn
	if c.field == "" && !c.closed {
		put += ": null"
	}
	changed := source.NewSet([]source.File{source.NewFile(name, []byte(text[:c.from]+put+text[c.to:]))})
	spot, found := schema.SpotAt(changed, r.options(), name, c.from+1)
	items := &offered{at: c}
	switch {
	case found && spot.Key && c.field == "":
		items.names(spot)
	case found && !spot.Key && c.field != "":
		r.values(items, open, spot)
	case c.indent == "" && (c.field == "" || strings.EqualFold(c.field, "kind")): // a document that has no kind yet
		items.envelope(text[:c.from])
	}
	return items.all
}

// offered are what can be written.
type offered struct {
	at  cursor
	all []lsp.Item
}

func (o *offered) add(kind lsp.ItemKind, label, detail, about string) {
	text := label
	if kind == lsp.ItemField && !o.at.closed {
		text += ":"
		if detail != "object" && detail != "array" {
			text += " "
		}
	}
	if slices.ContainsFunc(o.all, func(i lsp.Item) bool { return i.Label == label }) {
		return
	}
	o.all = append(o.all, lsp.Item{Label: label, Text: text, Detail: detail, Markdown: about, Kind: kind, From: o.at.from, To: o.at.to})
}

// names are those of the fields that the object at the cursor may have, the required ones first.
func (o *offered) names(spot schema.Spot) {
	at, defs, _, err := findField(spot.Of, spot.Path[:len(spot.Path)-1])
	if err != nil {
		return
	}
	for _, required := range []bool{true, false} {
		for _, f := range at.describe("", defs).fields {
			if f.required != required || slices.ContainsFunc(spot.Beside, func(b string) bool { return strings.EqualFold(b, f.name) }) {
				continue
			}
			kind := ""
			if child := at.child(f.name, defs); child != nil {
				kind = child.kind(defs)
			}
			o.add(lsp.ItemField, f.name, kind, f.text)
		}
	}
}

// values are what a field may have: what its schema lists, or names of policies and objects.
func (r *editorRoom) values(o *offered, open lsp.Open, spot schema.Spot) {
	last := spot.Path[len(spot.Path)-1]
	if len(spot.Names) > 0 && strings.EqualFold(last, "name") {
		want := spot.Names[0]
		if want.Kind == "Extension" && len(spot.Path) > 1 && strings.EqualFold(spot.Path[len(spot.Path)-2], "policyRef") {
			for _, p := range schema.RoutePolicies() {
				o.policy(p)
			}
			for _, t := range (all.Catalog{}).All() {
				o.policy(t.Name())
			}
		}
		objects, _ := r.objects(open)
		for _, x := range objects {
			for _, x := range append([]schema.Outlined{x}, x.Inline...) {
				if x.Object.Kind == want.Kind && x.Object.Namespace == want.Namespace && x.Object.Name != "" && x.Object.Name != standIn {
					o.add(lsp.ItemObject, x.Object.Name, x.Object.Kind, "")
				}
			}
		}
		return
	}
	at, defs, _, err := findField(spot.Of, spot.Path)
	if err != nil {
		return
	}
	for _, s := range at.shapes(defs) {
		for _, v := range s.Enum {
			o.add(lsp.ItemValue, fmt.Sprint(v), "", "")
		}
	}
	if strings.Contains(at.kind(defs), "boolean") {
		o.add(lsp.ItemValue, "true", "boolean", "")
		o.add(lsp.ItemValue, "false", "boolean", "")
	}
}

func (o *offered) policy(name string) {
	about := ""
	if at, defs, _, err := findField(name, nil); err == nil {
		about = at.describe(name, defs).text
	}
	o.add(lsp.ItemValue, name, "policy", about)
}

// envelope is what a document without a kind needs.
func (o *offered) envelope(before string) {
	if i := strings.LastIndex(before, "\n---"); i >= 0 {
		before = before[i+4:]
	}
	has := func(name string) bool {
		return strings.HasPrefix(before, name+":") || strings.Contains(before, "\n"+name+":")
	}
	if o.at.field != "" {
		for _, kind := range schema.Kinds() {
			about := ""
			if at, defs, _, err := findField(kind, nil); err == nil {
				about = at.describe(kind, defs).text
			}
			o.add(lsp.ItemValue, kind, "kind", about)
		}
		return
	}
	for _, name := range []string{"apiVersion", "kind", "metadata", "spec"} {
		if !has(name) {
			kind := "string"
			if name == "metadata" || name == "spec" {
				kind = "object"
			}
			o.add(lsp.ItemField, name, kind, "")
		}
	}
}
