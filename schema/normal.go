package schema

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/sops"
	"github.com/flexgw/flexgw/schema/syntax"
)

// view is what a schema says about one value: all the shapes that speak about it, and the types they allow together.
type view struct {
	flat   []*shape
	want   types // zero: every type
	hidden bool  // the value must not be shown
}

func (s *shape) view() view { return view{flat: s.flat, want: s.want, hidden: s.hidden} }

// field is the view of a field, and whether a schema names it (as a property or by a pattern).
func (v view) field(name string) (child view, known bool) {
	n := 0
	var free view
	add := func(to *view, s *shape) {
		if to.flat == nil {
			*to = s.view()
			to.hidden = to.hidden || v.hidden
			return
		}
		to.flat = append(slices.Clip(to.flat), s.flat...)
		if to.want == 0 || s.want == 0 {
			to.want = 0
		} else {
			to.want |= s.want
		}
		to.hidden = to.hidden || s.hidden
	}
	for _, s := range v.flat {
		if p, ok := s.props[name]; ok {
			add(&child, p)
			n++
			continue
		}
		for _, pp := range s.patterns {
			if pp.name.MatchString(name) {
				add(&child, pp.shape)
				n++
			}
		}
		if s.additional != nil {
			add(&free, s.additional)
		}
	}
	if n > 0 {
		return child, true
	}
	if free.flat == nil {
		free.hidden = v.hidden
	}
	return free, false
}

// item is the view of every item of a list.
func (v view) item() view {
	out := view{hidden: v.hidden}
	for _, s := range v.flat {
		if s.items == nil {
			continue
		}
		if out.flat == nil {
			out.flat, out.want = s.items.flat, s.items.want
		} else {
			out.flat = append(slices.Clip(out.flat), s.items.flat...)
			out.want |= s.items.want
		}
		out.hidden = out.hidden || s.items.hidden
	}
	return out
}

// canonicalKey is the property whose name differs from name only in case.
func (v view) canonicalKey(name string) (string, bool) {
	lower := strings.ToLower(name)
	for _, s := range v.flat {
		if c, ok := s.fold[lower]; ok {
			return c, true
		}
	}
	return "", false
}

// mistake is what a field that v does not have was meant to be, as far as the schema says; the case of the name does not
// matter.
func (v view) mistake(name string) (mistake, bool) {
	lower := strings.ToLower(name)
	for _, s := range v.flat {
		if m, ok := s.mistakes[lower]; ok {
			return m, true
		}
	}
	return mistake{}, false
}

// takes reports whether a value is of a type that v wants, or can be read as one.
func (v view) takes(n *syntax.Node) bool {
	if v.want == 0 || v.want&typeOf(n) != 0 {
		return true
	}
	if n.Kind != syntax.Scalar || n.Scalar == nil {
		return false
	}
	_, ok := convert(v.want, n.Text, !n.Quoted)
	return ok || v.want&tString != 0
}

func (v view) requires(name string) bool {
	return slices.ContainsFunc(v.flat, func(s *shape) bool { return slices.Contains(s.required, name) })
}

// fields are the names of the properties that v knows, sorted.
func (v view) fields() []string {
	var out []string
	for _, s := range v.flat {
		out = append(out, s.names...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// normal brings a tree into the form that schemas describe: canonical keys, scalars of the wanted type, environment
// variables replaced (flex-resources.md, 1 and 10.6). It never changes the tree it is given.
type normal struct {
	getenv  func(string) (string, bool) // nil: $NAME is a text like any other
	require bool                        // an unset variable is an error

	ds         diag.List
	unknown    unknown                 // the values of unset variables
	vars       map[*syntax.Node]string // what came from the environment, and must not be shown
	unresolved []string
	path       []string
}

func (z *normal) report(s diag.Severity, code diag.Code, at diag.Range, summary, hint string, edits ...diag.Edit) {
	z.ds = append(z.ds, diag.Diagnostic{Severity: s, Code: code, Subject: at, Summary: summary, Hint: hint, Path: pointer(z.path), Edits: edits})
}

func (z *normal) node(v view, n *syntax.Node) *syntax.Node {
	switch n.Kind {
	case syntax.Mapping:
		return z.mapping(v, n)
	case syntax.Sequence:
		return z.sequence(v, n)
	}
	return z.scalar(v, n)
}

func (z *normal) sequence(v view, n *syntax.Node) *syntax.Node {
	child := v.item()
	out := n
	for i, item := range n.Items {
		z.path = append(z.path, strconv.Itoa(i))
		got := z.node(child, item)
		z.path = z.path[:len(z.path)-1]
		if got == item {
			continue
		}
		if out == n {
			c := *n
			c.Items = slices.Clone(n.Items)
			out = &c
		}
		out.Items[i] = got
	}
	return out
}

func (z *normal) mapping(v view, n *syntax.Node) *syntax.Node {
	out := n
	own := func() {
		if out == n {
			c := *n
			c.Fields = slices.Clone(n.Fields)
			out = &c
		}
	}
	var dropped []int
	for i := range n.Fields {
		f := n.Fields[i]
		child, known := v.field(f.Name)
		if !known {
			if c, ok := v.canonicalKey(f.Name); ok && out.Field(c) == nil {
				z.path = append(z.path, f.Name)
				z.report(diag.Warning, "shape/key-case", f.Range, fmt.Sprintf("field %q is spelt %q", c, f.Name),
					fmt.Sprintf("write %q: only some readers take another case", c), diag.Edit{Op: diag.Rename, At: f.Range, Name: c})
				z.path = z.path[:len(z.path)-1]
				own()
				out.Fields[i].Name = c
				f.Name = c
				child, _ = v.field(c)
			}
		}
		z.path = append(z.path, f.Name)
		if f.Value.IsNull() && child.want != 0 && child.want&tNull == 0 && !v.requires(f.Name) && len(child.flat) > 0 && known {
			z.report(diag.Warning, "shape/empty-value", f.Range, fmt.Sprintf("field %q has no value and counts as absent", f.Name), "give it a value, or remove it")
			dropped = append(dropped, i)
			z.path = z.path[:len(z.path)-1]
			continue
		}
		got := z.node(child, f.Value)
		z.path = z.path[:len(z.path)-1]
		if got != f.Value {
			own()
			out.Fields[i].Value = got
		}
	}
	if len(dropped) > 0 {
		own()
		for _, i := range slices.Backward(dropped) {
			out.Fields = slices.Delete(out.Fields, i, i+1)
		}
	}
	return out
}

var (
	variable = regexp.MustCompile(`^\$[A-Za-z_][A-Za-z0-9_]*$`)
	literal  = regexp.MustCompile(`^\$\$[A-Za-z_][A-Za-z0-9_]*$`)
	decimal  = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?$`)
)

func (z *normal) scalar(v view, n *syntax.Node) *syntax.Node {
	text, isText := n.Scalar.(string)
	if isText && strings.HasPrefix(text, "ENC[") && sops.Encrypted(n) { // its key is not at hand, which is said already
		return z.sealed(v, n)
	}
	if z.getenv != nil && isText && strings.HasPrefix(text, "$") {
		if literal.MatchString(text) {
			return &syntax.Node{Scalar: text[1:], Text: text[1:], Quoted: true, Range: n.Range}
		}
		if variable.MatchString(text) {
			return z.variable(v, n, text[1:])
		}
	}
	if z.getenv != nil && isText && text != "" && !z.notAVariable(v, text, n) && v.hidden {
		z.plainText(text, n)
	}
	t := typeOfScalar(n.Scalar)
	if v.want == 0 || v.want&t != 0 {
		if t == tString && !n.Quoted && v.want != 0 && v.want&tBool == 0 && syntax.Ambiguous(text) {
			z.warnAmbiguous(v, n)
		}
		return n
	}
	switch {
	case t == tNull:
		return n
	case v.want&tString != 0:
		z.warnAmbiguous(v, n)
		return &syntax.Node{Scalar: n.Text, Text: n.Text, Range: n.Range}
	case isText:
		if x, ok := convert(v.want, text, !n.Quoted); ok {
			summary, hint := fmt.Sprintf("%s is written as a text, expected %s", z.label(), wantWords(v.want)), fmt.Sprintf("write %v without quotes", x)
			if !n.Quoted {
				summary, hint = fmt.Sprintf("%s is %s, which many readers take for a text, expected %s", z.label(), shorten(text), wantWords(v.want)), fmt.Sprintf("write %v", x)
			}
			z.report(diag.Warning, "shape/quoted-scalar", n.Range, summary, hint, diag.Edit{Op: diag.Set, At: n.Range, Value: x})
			return &syntax.Node{Scalar: x, Text: fmt.Sprint(x), Range: n.Range}
		}
	}
	return n
}

// almostVariable are the ways in which other tools write a variable; the group is its name.
var almostVariable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}|\$\(([A-Z_][A-Z0-9_]*)\)|\{\{-?\s*([A-Za-z_.$][A-Za-z0-9_.-]*)\s*-?\}\}|(?:^|[^$\\A-Za-z0-9_])\$([A-Z][A-Z0-9_]{2,})\b|^\$([A-Za-z_][A-Za-z0-9_]*-[A-Za-z0-9_-]*)$`)

// notAVariable warns of a text with something in it that looks like a variable, and is none: only a whole value $NAME is
// (flex-resources.md, 10.6; what the product makes of others is not documented). Scripts and expressions have such things of
// their own.
func (z *normal) notAVariable(v view, text string, n *syntax.Node) bool {
	if v.want != 0 && v.want&tString == 0 || strings.ContainsAny(text, "\n") || strings.Contains(text, "#[") || strings.HasPrefix(text, "%dw") {
		return false
	}
	if !strings.Contains(text, "$") && !strings.Contains(text, "{{") {
		return false // nearly all texts
	}
	m := almostVariable.FindStringSubmatch(text)
	if m == nil || m[4] == "LATEST" { // the newest version of an AWS Lambda function is called $LATEST
		return false
	}
	secret := v.hidden || secretName(z.path)
	if secret && m[1]+m[3] == "" && m[5] == "" {
		return false // a dollar sign in a password is nothing odd
	}
	name := strings.Join(m[1:], "")
	whole := variable.MatchString("$" + name)
	hint := "write $NAME, with letters, digits and _ alone, as the whole value, and set that environment variable where the gateway runs"
	if whole {
		hint = fmt.Sprintf("write $%s as the whole value, and set that environment variable to all of it where the gateway runs", name)
	}
	what := quoteShort(text)
	switch {
	case !secret:
	case m[5] != "":
		what = "a dollar sign and a name with a hyphen"
	case m[0] != text: // the rest of it may be the secret
		what = strconv.Quote(m[0]) + " in a longer text"
	}
	z.report(diag.Warning, "link/not-a-variable", n.Range, fmt.Sprintf("%s is %s, which is no variable here but the text that it is", z.label(), what), hint)
	return true
}

// plainText warns of a secret that stands in the declaration itself (flex-resources.md, 10.6). Of a private key it is a note: the
// product's own pages paste them.
func (z *normal) plainText(text string, n *syntax.Node) {
	sev := diag.Warning
	switch {
	case strings.Contains(text, "-----BEGIN PUBLIC KEY") || strings.Contains(text, "-----BEGIN CERTIFICATE"):
		return
	case strings.Contains(text, "-----BEGIN "):
		sev = diag.Note
	}
	z.report(sev, "link/plain-text-secret", n.Range, fmt.Sprintf("%s is a secret, and stands here for everybody who can read the file", z.label()),
		"write $NAME, and set that environment variable where the gateway runs")
}

// plainNumber is what every reader of YAML takes for the same number.
var plainNumber = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$`)

func (z *normal) warnAmbiguous(v view, n *syntax.Node) {
	quoted := strconv.Quote(n.Text)
	summary := fmt.Sprintf("%s is a text, but %s is not quoted", z.label(), n.Text)
	why := "readers disagree about the type of the bare word"
	switch n.Scalar.(type) {
	case bool:
		if n.Text == "true" || n.Text == "false" {
			why = "bare, it is a boolean"
		}
	case json.Number:
		if plainNumber.MatchString(n.Text) {
			why = "bare, it is a number"
		}
	}
	hint := "write " + quoted + ": " + why
	edit := diag.Edit{Op: diag.Set, At: n.Range, Value: n.Text}
	if v.hidden || secretName(z.path) {
		edit = diag.Edit{Op: diag.Quote, At: n.Range} // which does not show it
		summary, hint = fmt.Sprintf("%s is a text, but its value is not quoted", z.label()), "put the value in quotes: "+why
	}
	z.report(diag.Warning, "shape/ambiguous-scalar", n.Range, summary, hint, edit)
}

// convert reads a text as a boolean or a number. bare: it was not quoted, so YAML 1.1 words count.
func convert(want types, s string, bare bool) (any, bool) {
	if want&tBool != 0 {
		switch strings.ToLower(s) {
		case "true":
			return true, true
		case "false":
			return false, true
		case "yes", "on", "y":
			return true, bare
		case "no", "off", "n":
			return false, bare
		}
	}
	if want&(tNumber|tInteger) != 0 && decimal.MatchString(s) {
		return json.Number(s), true
	}
	return nil, false
}

func (z *normal) variable(v view, n *syntax.Node, name string) *syntax.Node {
	value, set := z.getenv(name)
	isText := utf8.ValidString(value)
	if set && isText {
		out := &syntax.Node{Scalar: value, Text: value, Quoted: true, Range: n.Range}
		if v.want != 0 && v.want&tString == 0 {
			if x, ok := convert(v.want, strings.TrimSpace(value), false); ok {
				out.Scalar, out.Text, out.Quoted = x, fmt.Sprint(x), false
			}
		}
		if z.vars == nil {
			z.vars = map[*syntax.Node]string{}
		}
		z.vars[out] = name
		return out
	}
	severity, hint := diag.Note, "set it before the gateway runs; its value is taken as right here"
	if z.require {
		severity, hint = diag.Error, "set the variable, or write $$"+name+" for the text itself"
	}
	what := "is not set"
	if !isText {
		severity, what, hint = diag.Error, "is not UTF-8 text", "set it to text: no configuration holds other bytes"
	}
	z.report(severity, "link/unset-variable", n.Range, fmt.Sprintf("environment variable %s %s", name, what), hint)
	if !slices.Contains(z.unresolved, name) {
		z.unresolved = append(z.unresolved, name)
	}
	out := *n
	z.unknown.add(v, &out)
	return &out
}

// sealed takes a value that is still encrypted as right, as it does that of a variable that is not set.
func (z *normal) sealed(v view, n *syntax.Node) *syntax.Node {
	if !slices.Contains(z.unresolved, sealedName) {
		z.unresolved = append(z.unresolved, sealedName)
	}
	out := *n
	z.unknown.add(v, &out)
	return &out
}

// secretName reports whether the last name of a path says that its value is a secret. The "key" of a list's item is the name
// of a header or a label.
func secretName(path []string) bool {
	for i, p := range slices.Backward(path) {
		if isIndex(p) {
			continue
		}
		return diag.SecretName(p) && !(strings.EqualFold(p, "key") && i > 0 && isIndex(path[i-1]))
	}
	return false
}

func (z *normal) label() string { return label(z.path) }

// label names the value at path for a message: its last name, with the indices behind it.
func label(path []string) string {
	i := len(path) - 1
	for i >= 0 && isIndex(path[i]) {
		i--
	}
	if len(path) == 0 {
		return "the value"
	}
	name := ""
	if i >= 0 {
		name = path[i]
	}
	for _, index := range path[i+1:] {
		name += "[" + index + "]"
	}
	return strconv.Quote(name)
}

func isIndex(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// pointer is a path as a JSON Pointer.
func pointer(path []string) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		b.WriteString(escapePointer(p))
	}
	return b.String()
}

var typeWords = []struct {
	bit  types
	word string
}{{tString, "a text"}, {tInteger, "a whole number"}, {tNumber, "a number"}, {tBool, "true or false"}, {tArray, "a list"}, {tObject, "a mapping"}, {tNull, "null"}}

// wantWords says what types are wanted: "a text or a list".
func wantWords(want types) string {
	if want&tNumber != 0 {
		want &^= tInteger
	}
	var words []string
	for _, w := range typeWords {
		if want&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return alternatives(words)
}

// alternatives joins words: "a, b or c".
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
