package schema

import (
	"cmp"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// checked is what check made of a tree.
type checked struct {
	node       *syntax.Node // in the form that the schema describes
	ok         bool
	unresolved []string // unset variables
	unknown    *unknown // what stands for them
	mended     *mended  // of a node that is not ok; nil: too little of it is left to say more about it
	ds         diag.List
}

// check brings n into normal form and judges it. The compiled shape decides; only what it refuses is given to the JSON
// Schema library, to be explained. path is where n stands in its document, key the key there (zero: none). Variables
// are replaced when getenv is set.
func (j *judge) check(n *syntax.Node, path []string, key diag.Range, getenv func(string) (string, bool), require bool) checked {
	z, _ := j.normals.Get().(*normal)
	if z == nil {
		z = &normal{}
	}
	*z = normal{getenv: getenv, require: require, path: append(z.path[:0], path...)}
	defer j.normals.Put(z)
	out := z.node(j.root.view(), n)
	c := checked{node: out, unresolved: z.unresolved, ds: z.ds}
	if len(z.unresolved) > 0 {
		u := z.unknown
		c.unknown = &u
	}
	if c.ok = (verdict{wild: z.unknown.may}).ok(j.root, out); c.ok {
		return c
	}
	explain := func(n *syntax.Node) diag.List { return j.explained(z, n, path, key) }
	if len(z.unresolved) == 0 {
		c.ds = append(c.ds, explain(out)...)
	} else if ds := c.unknown.every(out, explain); ds.HasErrors() {
		c.ds = append(c.ds, ds...)
	} else {
		c.ds = append(c.ds, c.unknown.once(out, explain)...)
	}
	c.mended = j.mend(z, out, path, key)
	return c
}

// explained says why the library refuses n.
func (j *judge) explained(z *normal, n *syntax.Node, path []string, key diag.Range) diag.List {
	x := j.explanation(z, n, path, key)
	if len(x.ds) == 0 {
		x.report("shape/invalid", n, nil, fmt.Sprintf("%s does not fit its schema", x.label(nil)), "")
	}
	return x.distinct()
}

func (j *judge) explanation(z *normal, n *syntax.Node, path []string, key diag.Range) *explainer {
	x := &explainer{judge: j, normal: z, root: n, path: path, key: key}
	schema, err := j.explain()
	if err == nil {
		err = schema.Validate(n.Value())
	}
	if ve, ok := err.(*jsonschema.ValidationError); ok {
		for _, leaf := range x.leaves(ve) {
			x.leaf(leaf)
			x.repairs.note(x, leaf)
		}
	}
	return x
}

type explainer struct {
	*judge
	normal *normal
	root   *syntax.Node
	path   []string
	key    diag.Range // of root
	ds     diag.List
	missed []missed       // missing fields, for those that an unknown field explains
	meant  []missed       // fields that an unknown one was meant to be
	lone   []missed       // unknown fields of which nobody knows what they were meant to be
	nulls  []missed       // values that are missing
	filled []*syntax.Node // nulls that something beside them belongs into

	repairs repairs

	wide   *syntax.Node // the mapping that fields are of
	fields map[string]*syntax.Field
}

// field is a field of a mapping. One that has many is looked at as often as it has unknown ones.
func (x *explainer) field(n *syntax.Node, name string) *syntax.Field {
	if n == nil || len(n.Fields) < 32 {
		return n.Field(name)
	}
	if x.wide != n {
		x.wide, x.fields = n, make(map[string]*syntax.Field, len(n.Fields))
		for i := range n.Fields {
			if f := &n.Fields[i]; x.fields[f.Name] == nil {
				x.fields[f.Name] = f
			}
		}
	}
	return x.fields[name]
}

type missed struct {
	object *syntax.Node
	view   view
	names  []string
	label  string
	index  int // in ds
}

// leaves are the innermost errors. Of alternatives it follows the one that was meant.
func (x *explainer) leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch k := e.ErrorKind.(type) {
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return []*jsonschema.ValidationError{e}
		}
		return x.choose(e)
	case *kind.AnyOf:
		return x.choose(e)
	case *kind.Not, *kind.PropertyNames:
		return []*jsonschema.ValidationError{e}
	}
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var out []*jsonschema.ValidationError
	for _, c := range e.Causes {
		out = append(out, x.leaves(c)...)
	}
	return out
}

func (x *explainer) choose(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	var best []*jsonschema.ValidationError
	least := 0
	onlyMissing := true
	candidates := 0
	for _, c := range e.Causes {
		ls := x.leaves(c)
		here := func(l *jsonschema.ValidationError) bool { return len(l.InstanceLocation) == len(e.InstanceLocation) }
		if slices.ContainsFunc(ls, func(l *jsonschema.ValidationError) bool { _, is := l.ErrorKind.(*kind.Type); return is && here(l) }) {
			continue
		}
		candidates++
		cost := len(ls)
		for _, l := range ls {
			switch _, lacks := l.ErrorKind.(*kind.Required); {
			case lacks && here(l):
				cost += 100 // what lacks its own fields was rarely meant
			default:
				onlyMissing = false
			}
		}
		if best == nil || cost < least {
			best, least = ls, cost
		}
	}
	if candidates == 0 || candidates > 1 && onlyMissing {
		return []*jsonschema.ValidationError{e}
	}
	return best
}

func (x *explainer) report(code diag.Code, n *syntax.Node, at []string, summary, hint string) {
	x.ds = append(x.ds, diag.Diagnostic{Severity: diag.Error, Code: code, Subject: n.Locate(), Summary: summary, Hint: hint, Path: pointer(x.full(at))})
}

func (x *explainer) full(at []string) []string { return append(slices.Clip(x.path), at...) }

func (x *explainer) label(at []string) string {
	return labelOf(x.full(at))
}

func labelOf(full []string) string {
	if len(full) == 0 {
		return "the document"
	}
	return label(full)
}

// at follows an instance location: the node, the view of it, and the key to underline for what it lacks.
func (x *explainer) at(loc []string) (*syntax.Node, view, diag.Range) {
	n, v, key := x.root, x.judge.root.view(), x.key
	for _, name := range loc {
		switch n.Kind {
		case syntax.Mapping:
			f := n.Field(name)
			if f == nil {
				return n, v, key
			}
			v, _ = v.field(name)
			n, key = f.Value, f.Range
		case syntax.Sequence:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(n.Items) {
				return n, v, key
			}
			v, n, key = v.item(), n.Items[i], diag.Range{}
		}
	}
	if key.IsZero() {
		key = headOf(n)
	}
	return n, v, key
}

// headOf is what to underline of an object that has no key: its kind when it is a document, else its first key.
func headOf(n *syntax.Node) diag.Range {
	if f := n.Fold("kind"); f != nil && n.Fold("apiVersion") != nil {
		return f.Range
	}
	if n.Kind == syntax.Mapping && len(n.Fields) > 0 {
		return n.Fields[0].Range
	}
	return n.Locate()
}

func (x *explainer) leaf(e *jsonschema.ValidationError) {
	loc := e.InstanceLocation
	n, v, key := x.at(loc)
	name := x.label(loc)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		emptied := x.emptied(n, v, loc, k.Properties)
		for _, p := range slices.Sorted(slices.Values(k.Properties)) {
			if f := x.field(n, p); emptied != nil && f != nil && f.Range.Start.Offset > emptied.Range.Start.Offset && f.Range.Start.Column == emptied.Range.Start.Column && diag.Nearest(p, x.absent(v.fields(), n)) == "" {
				continue // it is what the other one lacks
			}
			x.unknown(n, v, loc, p)
		}
	case *kind.FalseSchema:
		x.report("shape/unknown-field", n, loc, fmt.Sprintf("%s is not allowed here", name), "remove it")
		x.ds[len(x.ds)-1].Subject = key
	case *kind.Required:
		x.missing(n, loc, key, k.Missing, x.strayDash(n, loc, k.Missing))
	case *kind.DependentRequired:
		x.missing(n, loc, key, k.Missing, fmt.Sprintf("%q needs it", k.Prop))
	case *kind.Type:
		x.wrongType(n, v, loc, typesOf(k.Want))
	case *kind.Enum:
		x.notAllowed(n, v, loc, k.Want)
	case *kind.Const:
		x.notAllowed(n, v, loc, []any{k.Want})
	case *kind.Minimum:
		x.report("shape/out-of-range", n, loc, fmt.Sprintf("%s is %s, expected at least %s", name, x.show(n, v, loc), number(k.Want)), "")
	case *kind.Maximum:
		x.report("shape/out-of-range", n, loc, fmt.Sprintf("%s is %s, expected at most %s", name, x.show(n, v, loc), number(k.Want)), "")
	case *kind.ExclusiveMinimum:
		x.report("shape/out-of-range", n, loc, fmt.Sprintf("%s is %s, expected more than %s", name, x.show(n, v, loc), number(k.Want)), "")
	case *kind.ExclusiveMaximum:
		x.report("shape/out-of-range", n, loc, fmt.Sprintf("%s is %s, expected less than %s", name, x.show(n, v, loc), number(k.Want)), "")
	case *kind.MinLength:
		if k.Got == 0 {
			x.report("shape/too-short", n, loc, fmt.Sprintf("%s is empty, expected at least %s", name, count(k.Want, "character")), "")
			return
		}
		x.report("shape/too-short", n, loc, fmt.Sprintf("%s has %s, expected at least %d", name, count(k.Got, "character"), k.Want), "")
	case *kind.MaxLength:
		x.report("shape/too-long", n, loc, fmt.Sprintf("%s has %s, expected at most %d", name, count(k.Got, "character"), k.Want), "")
	case *kind.Pattern:
		for _, w := range patternWords {
			if w.pattern == k.Want {
				x.report("shape/pattern", n, loc, fmt.Sprintf("%s is %s, expected %s", name, x.show(n, v, loc), w.words), w.hint)
				return
			}
		}
		x.report("shape/pattern", n, loc, fmt.Sprintf("%s is %s, expected a text that matches %s", name, x.show(n, v, loc), k.Want), "")
	case *kind.MinItems:
		x.few(n, loc, key, k.Got, k.Want, "item")
	case *kind.MaxItems:
		x.report("shape/too-many", n, loc, fmt.Sprintf("%s has %s, expected at most %d", name, count(k.Got, "item"), k.Want), "")
		x.ds[len(x.ds)-1].Subject = key
	case *kind.MinProperties:
		x.few(n, loc, key, k.Got, k.Want, "field")
	case *kind.MaxProperties:
		x.report("shape/too-many", n, loc, fmt.Sprintf("%s has %s, expected at most %d", name, count(k.Got, "field"), k.Want), "")
		x.ds[len(x.ds)-1].Subject = key
	case *kind.UniqueItems:
		x.twice(n, v, loc)
	case *kind.OneOf:
		x.alternatives(n, v, loc, key, e, len(k.Subschemas) > 0)
	case *kind.AnyOf:
		x.alternatives(n, v, loc, key, e, false)
	default:
		x.report("shape/invalid", n, loc, fmt.Sprintf("%s does not fit its schema", name), "")
		x.ds[len(x.ds)-1].Subject = key
	}
}

// patternWords say in words what the patterns of kinds ask for.
var patternWords = []struct{ pattern, words, hint string }{
	{`^/[!-~]*$`, `a path that begins with "/", without blanks`, "write a path below the address, such as /health"},
	{`^[1-5]([0-9][0-9](-[1-5][0-9][0-9])?|xx)$`, "a status, a range or a class of statuses", "write for example 200, 200-299 or 2xx"},
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

func (x *explainer) few(n *syntax.Node, loc []string, key diag.Range, got, want int, word string) {
	summary := fmt.Sprintf("%s has %s, expected at least %d", x.label(loc), count(got, word), want)
	if got == 0 {
		summary = fmt.Sprintf("%s is empty, expected at least %s", x.label(loc), count(want, word))
	}
	x.report("shape/too-few", n, loc, summary, "")
	x.ds[len(x.ds)-1].Subject = key
}

func typesOf(names []string) types {
	var t types
	for _, n := range names {
		t |= typeNames[n]
	}
	return t
}

// fieldHints say what was meant by names that are no misspellings. An empty to: advice alone.
var fieldHints = []struct{ name, within, to, advice string }{
	{"user", "", "username", ""},
	{"pass", "", "password", ""},
	{"matchLabels", "selector", "labels", `a selector has "labels"; "matchLabels" is Kubernetes`},
	{"matchExpressions", "selector", "labels", `a selector compares "labels" for equality only`},
	{"method", "rules", "methods", ""},
	{"header", "rules", "headers", ""},
	{"weight", "services", "", "weights need a PolicyBinding of the policy route-weighted"},
	{"routes", "spec", "", "routes belong to one of the services: spec.services.<name>.routes"},
	{"order", "policies", "", "inline policies run in the order of the list; use a PolicyBinding to set an order"},
	{"targetRef", "policies", "", "an inline policy applies to its own ApiInstance; use a PolicyBinding for other targets"},
	{"tls", "spec", "", "bind the policies tls and tls-outbound instead"},
	{"target", "spec", "targetRef", ""},
	{"cfg", "spec", "config", ""},
	{"conf", "spec", "config", ""},
	{"configuration", "spec", "config", ""},
	{"cfg", "policies", "config", ""},
	{"conf", "policies", "config", ""},
	{"configuration", "policies", "config", ""},
	{"policy", "spec", "policyRef", ""},
	{"url", "", "address", ""},
	{"uri", "", "address", ""},
}

func (x *explainer) unknown(n *syntax.Node, v view, loc []string, name string) {
	f := x.field(n, name)
	if f == nil {
		return
	}
	summary := fmt.Sprintf("unknown field %q in %s", name, x.label(loc))
	d := diag.Diagnostic{Severity: diag.Error, Code: "shape/unknown-field", Subject: f.Range, Path: pointer(x.full(append(slices.Clip(loc), name)))}
	fields := v.fields()
	to, advice := "", ""
	var move []string
	known, listed := v.mistake(name)
	if listed {
		to, move, advice = x.listed(n, loc, known)
	} else {
		for _, h := range fieldHints {
			if !strings.EqualFold(h.name, name) || h.within != "" && !x.within(loc, h.within) {
				continue
			}
			if h.to == "" && h.advice != "" || slices.Contains(fields, h.to) {
				to, advice, listed = h.to, h.advice, true
				break
			}
		}
	}
	if to == "" && advice == "" && len(loc) == 0 && lastName(x.path) == "config" && (name == "rules" || len(x.path) == 2 && (name == "order" || name == "targetRef")) { // of a binding, which is judged without it
		move = []string{"..", name}
		advice = x.belongs(loc, move)
	}
	if before, after, ok := strings.Cut(name, ":"); ok && after != "" && f.Value.IsNull() && to == "" && advice == "" {
		if c, known := v.canonicalKey(before); known && n.Field(c) == nil && !diag.SecretName(c) { // {name:a}
			advice = fmt.Sprintf(`a space is missing after the colon: write "%s: %s"`, c, shorten(after))
			x.meant = append(x.meant, missed{object: n, names: []string{c}})
		}
	}
	var whole []diag.Edit
	if name == "port" {
		advice, whole = x.portBeside(n, v, f)
	}
	if to == "" && advice == "" {
		if c, ok := v.canonicalKey(name); ok && n.Field(c) != nil {
			summary, advice = fmt.Sprintf("field %q is declared twice, as %q too", c, name), "keep one of them"
		} else if move, advice = x.elsewhere(v, loc, f); advice == "" {
			to = diag.Nearest(name, x.absent(fields, n))
		}
	}
	switch {
	case advice != "":
		d.Hint = advice
	case to != "":
		d.Hint = fmt.Sprintf("did you mean %q?", to)
	case len(fields) > 0 && len(fields) <= 12:
		d.Hint = "known fields: " + strings.Join(fields, ", ")
	case len(fields) == 0:
		d.Hint = "remove it"
	}
	if to == "" && advice == "" {
		x.lone = append(x.lone, missed{object: n, names: []string{name}, index: len(x.ds)})
	}
	if to != "" {
		x.meant = append(x.meant, missed{object: n, names: []string{to}})
		d.Edits = x.rename(n, v, f, to, listed)
	} else if move != nil {
		x.meantThere(loc, move)
		if home := n.Field(move[0]); len(move) > 1 && home != nil {
			x.filled = append(x.filled, home.Value)
		}
		d.Edits = []diag.Edit{{Op: diag.Move, At: f.Range, To: move}}
	}
	if whole != nil {
		d.Edits = whole
	}
	d.Summary = summary
	x.ds = append(x.ds, d)
}

// emptied is the first of some unknown fields that belongs further out and has no value: what follows it in its column was meant to be that.
func (x *explainer) emptied(n *syntax.Node, v view, loc, names []string) *syntax.Field {
	var first *syntax.Field
	for _, name := range names {
		f := x.field(n, name)
		if f == nil || !f.Value.IsNull() || first != nil && f.Range.Start.Offset > first.Range.Start.Offset {
			continue
		}
		for i := len(loc) - 1; i >= 0; i-- {
			_, outer, _ := x.at(loc[:i])
			if child, known := outer.field(name); known && child.want&tObject != 0 {
				first = f
				break
			}
		}
	}
	return first
}

// portBeside says where a port belongs that stands beside an address.
func (x *explainer) portBeside(n *syntax.Node, v view, port *syntax.Field) (advice string, edits []diag.Edit) {
	f := n.Field("address")
	if _, known := v.field("address"); !known || f == nil {
		return "", nil
	}
	address, isText := f.Value.Scalar.(string)
	a, bad := splitAddress(address)
	if number, err := strconv.ParseUint(port.Value.Text, 10, 16); err == nil && number > 0 && isText && bad == nil && a.port == 0 {
		whole := withPort(address, uint16(number))
		return "write it in the address: " + whole, []diag.Edit{{Op: diag.Set, At: f.Value.Range, Value: whole}, {Op: diag.Remove, At: port.Range}}
	}
	return "a port stands in the address: protocol://host:port", nil
}

// listed is what a schema's own list of mistakes says of a field: another name, another place, advice.
func (x *explainer) listed(n *syntax.Node, loc []string, m mistake) (to string, move []string, advice string) {
	switch {
	case len(m.to) == 0:
		return "", nil, m.hint
	case len(m.to) > 1 || m.to[0] == "..":
		if advice = m.hint; advice == "" {
			advice = x.belongs(loc, m.to)
		}
		return "", m.to, advice
	case n.Field(m.to[0]) != nil:
		return "", nil, cmp.Or(m.hint, fmt.Sprintf("its name is %q, which is there already: keep one of them", m.to[0]))
	}
	return m.to[0], nil, m.hint
}

// belongs says where a field belongs that stands in the object at loc.
func (x *explainer) belongs(loc, move []string) string {
	full, name := x.full(loc), move[len(move)-1]
	up := 0
	for up < len(move)-1 && up < len(full) && move[up] == ".." {
		up++
	}
	if down := move[up : len(move)-1]; len(down) > 0 {
		return fmt.Sprintf("%q belongs below %s", name, label(append(slices.Clone(full[:len(full)-up]), down...)))
	}
	return fmt.Sprintf("%q belongs further out, in %s", name, labelOf(full[:len(full)-up]))
}

// meantThere notes that the field which a move leads to is not missing.
func (x *explainer) meantThere(loc, move []string) {
	for len(move) > 0 && move[0] == ".." {
		if len(loc) == 0 {
			return
		}
		loc, move = loc[:len(loc)-1], move[1:]
	}
	n, _, _ := x.at(loc)
	for len(move) > 1 {
		next, whole := n.At(move[0])
		if !whole {
			break
		}
		n, move = next, move[1:]
	}
	x.meant = append(x.meant, missed{object: n, names: move[:1]})
}

// rename is the edit that gives f another name, if its value is of the type that is wanted there. A mere likeness is
// certain only when no other name is as near.
func (x *explainer) rename(n *syntax.Node, v view, f *syntax.Field, to string, listed bool) []diag.Edit {
	child, _ := v.field(to)
	if !child.takes(f.Value) || !listed && !diag.Unmistakable(f.Name, to, x.absent(v.fields(), n)) {
		return nil
	}
	return []diag.Edit{{Op: diag.Rename, At: f.Range, Name: to}}
}

// elsewhere says where a field of this name belongs: further out, or one level further in; and how it gets there, when
// that is certain.
func (x *explainer) elsewhere(v view, loc []string, field *syntax.Field) (move []string, advice string) {
	name := field.Name
	for i := len(loc) - 1; i >= 0; i-- {
		n, outer, _ := x.at(loc[:i])
		if n.Kind != syntax.Mapping {
			continue
		}
		if child, known := outer.field(name); known {
			if n.Field(name) == nil && child.takes(field.Value) {
				move = append(slices.Repeat([]string{".."}, len(loc)-i), name)
			}
			return move, x.belongs(loc, append(slices.Repeat([]string{".."}, len(loc)-i), name))
		}
	}
	homes := 0
	for _, f := range v.fields() {
		child, _ := v.field(f)
		home, known := child.field(name)
		if !known {
			continue
		}
		if homes++; homes > 1 {
			return nil, advice
		}
		advice = fmt.Sprintf("%q belongs below %q", name, f)
		if child.want == tObject && home.takes(field.Value) {
			move = []string{f, name}
		}
	}
	return move, advice
}

// within reports whether the nearest names of a location hold name.
func (x *explainer) within(loc []string, name string) bool {
	full := x.full(loc)
	seen := 0
	for _, p := range slices.Backward(full) {
		if isIndex(p) {
			continue
		}
		if p == name {
			return true
		}
		if seen++; seen == 2 {
			return false
		}
	}
	return false
}

// absent leaves out the fields that n has already.
func (x *explainer) absent(fields []string, n *syntax.Node) []string {
	var out []string
	for _, f := range fields {
		if x.field(n, f) == nil {
			out = append(out, f)
		}
	}
	return out
}

// strayDash says what to do with an item that is the rest of the item before it, and notes that the latter is whole.
func (x *explainer) strayDash(n *syntax.Node, loc []string, names []string) string {
	if len(loc) == 0 || n.Kind != syntax.Mapping || len(n.Fields) == 0 {
		return ""
	}
	list, _, _ := x.at(loc[:len(loc)-1])
	i := slices.Index(list.Items, n)
	if i < 1 {
		return ""
	}
	before := list.Items[i-1]
	if slices.ContainsFunc(names, func(name string) bool { return before.Field(name) == nil }) ||
		slices.ContainsFunc(n.Fields, func(f syntax.Field) bool { return before.Field(f.Name) != nil }) {
		return ""
	}
	for _, f := range n.Fields {
		x.meant = append(x.meant, missed{object: before, names: []string{f.Name}})
	}
	return "leave out the - before " + n.Fields[0].Name
}

func (x *explainer) missing(n *syntax.Node, loc []string, key diag.Range, names []string, hint string) {
	_, v, _ := x.at(loc)
	x.missed = append(x.missed, missed{n, v, names, x.label(loc), len(x.ds)})
	x.ds = append(x.ds, diag.Diagnostic{Severity: diag.Error, Code: "shape/missing-field", Subject: key, Path: pointer(x.full(loc)), Hint: hint})
}

// beside reports what stands in one column with the object that it belongs into, which then is empty or lacks it:
//
//	s:
//	address: http://a:80
func (x *explainer) beside(n *syntax.Node, v view, loc []string) bool {
	if len(loc) == 0 {
		return false
	}
	parent, outer, _ := x.at(loc[:len(loc)-1])
	name := loc[len(loc)-1]
	_, known := outer.field(name)
	child, fits := v.field(name)
	if parent.Kind != syntax.Mapping || known || !fits || !child.takes(n) {
		return false
	}
	i := slices.IndexFunc(parent.Fields, func(f syntax.Field) bool { return f.Value == n })
	for j := i - 1; j >= 0; j-- {
		f, home := &parent.Fields[i], &parent.Fields[j]
		if _, too := v.field(home.Name); too && home.Value.Kind != syntax.Mapping && !home.Value.IsNull() {
			continue // it belongs there too
		}
		if !home.Value.IsNull() && (home.Value.Kind != syntax.Mapping || home.Value.Field(name) != nil) {
			return false
		}
		d := diag.Diagnostic{Severity: diag.Error, Code: "shape/wrong-type", Subject: f.Range, Path: pointer(x.full(loc)),
			Summary: fmt.Sprintf("%q stands beside %q, expected below it", name, home.Name), Hint: "write more blanks before it: it is a field of " + strconv.Quote(home.Name)}
		x.filled = append(x.filled, home.Value)
		x.ds = append(x.ds, d)
		return true
	}
	return false
}

func (x *explainer) wrongType(n *syntax.Node, v view, loc []string, want types) {
	if want&tObject != 0 && !n.IsNull() && x.beside(n, v, loc) {
		return
	}
	if n.IsNull() {
		x.nulls = append(x.nulls, missed{object: n, index: len(x.ds)})
	}
	hint := ""
	var meant any // what is to be written instead, when that is certain
	if advice := x.outermore(n, v, loc); advice != "" {
		hint = advice
	} else if s, ok := n.Scalar.(string); ok && want&tArray != 0 && !n.Quoted && !v.hidden && stuckDash.MatchString(s) {
		hint = fmt.Sprintf(`a space is missing after the dash: write "- %s"`, shorten(strings.Fields(s)[0][1:]))
	} else if number, err := strconv.Atoi(strings.TrimSuffix(n.Text, ",")); err == nil && want&tInteger != 0 && strings.HasSuffix(n.Text, ",") && !v.hidden {
		hint, meant = fmt.Sprintf("take away the comma: write %d", number), number
	} else if name := lastName(x.full(loc)); n.Kind == syntax.Sequence && want&tString != 0 {
		var words []string
		for _, item := range n.Items {
			if item.Kind == syntax.Scalar && item.Scalar != nil {
				words = append(words, item.Text)
			}
		}
		if name == "methods" && len(words) > 0 {
			hint = fmt.Sprintf("write one expression: %q", strings.Join(words, "|"))
			if len(words) == len(n.Items) {
				meant = strings.Join(words, "|")
			}
		}
	} else if name == "headers" && n.Kind == syntax.Sequence && want&tObject != 0 {
		hint = "write a mapping from header names to patterns, such as x-channel: mobile|kiosk"
	} else if name == "services" && n.Kind == syntax.Sequence && want == tObject {
		hint = "write a mapping from the name of each service to its address and routes, without dashes"
	} else if n.Kind == syntax.Sequence && want == tObject {
		hint = `leave out the "- " before the fields`
	} else if s, ok := n.Scalar.(string); ok && want == tObject && v.requires("address") && !v.hidden && strings.Contains(s, "://") {
		hint = fmt.Sprintf("write address: %s one level down", strings.Trim(showAddress(s), `"`))
		if !strings.Contains(s, "@") {
			meant = map[string]any{"address": s}
		}
	} else if name, value, ok := x.glued(n, v, want); ok {
		hint = fmt.Sprintf(`a space is missing after the colon: write "%s: %s"`, name, shorten(value))
		meant = map[string]any{name: value}
	} else if n.Kind == syntax.Mapping && len(n.Fields) > 1 && want == tString && !v.hidden {
		hint = "write it as one text: put | behind the key"
	} else if n.Kind == syntax.Mapping && want&tArray != 0 {
		hint = `start each item with "- "`
	} else if s, ok := n.Scalar.(string); ok && want == tObject && x.named(v, loc) && !v.hidden {
		hint = fmt.Sprintf("write name: %s one level down", shorten(s))
		meant = map[string]any{"name": s}
	} else if text := n.Text; want&^tNull == tArray && n.Kind == syntax.Scalar && !n.IsNull() && v.item().takes(n) && !v.hidden && !secretName(x.full(loc)) && x.normal.vars[n] == "" {
		hint = fmt.Sprintf("write a list: [%s]", shorten(text))
		if !strings.ContainsAny(text, ",;|\n\t ") {
			meant = []any{n.Scalar}
		}
	}
	if n.IsNull() {
		x.report("shape/wrong-type", n, loc, fmt.Sprintf("%s has no value, expected %s", x.label(loc), wantWords(want)), hint)
	} else {
		x.report("shape/wrong-type", n, loc, fmt.Sprintf("%s is %s, expected %s", x.label(loc), x.show(n, v, loc), wantWords(want)), hint)
	}
	d := &x.ds[len(x.ds)-1]
	if meant != nil {
		d.Edits = []diag.Edit{{Op: diag.Set, At: n.Range, Value: meant}}
	}
	if n.Kind != syntax.Scalar || n.IsNull() {
		if _, _, key := x.at(loc); !key.IsZero() {
			d.Subject = key
		}
	}
}

// stuckDash finds the items of a list without blanks behind their dashes.
var stuckDash = regexp.MustCompile(`^-[^\s-]\S*(\s+-[^\s-]\S*)*$`)

// outermore says where a list belongs that stands among the objects of a mapping with names of the user's own; "": it was meant there.
func (x *explainer) outermore(n *syntax.Node, v view, loc []string) string {
	if len(loc) < 2 || n.Kind != syntax.Sequence {
		return ""
	}
	at, name := loc[:len(loc)-1], loc[len(loc)-1]
	_, outer, _ := x.at(at)
	if _, known := outer.field(name); known && slices.Contains(outer.fields(), name) {
		return ""
	}
	for i := len(at) - 1; i >= 0; i-- {
		_, further, _ := x.at(at[:i])
		if child, known := further.field(name); known && slices.Contains(further.fields(), name) && child.takes(n) {
			return x.belongs(at, append(slices.Repeat([]string{".."}, len(at)-i), name))
		}
	}
	return ""
}

// named reports whether the object at loc is one that a name alone may say: it needs one, or it refers to something.
func (x *explainer) named(v view, loc []string) bool {
	child, known := v.field("name")
	return v.requires("name") || known && child.want&tString != 0 && strings.HasSuffix(lastName(x.full(loc)), "Ref")
}

// glued takes a text apart that was meant to be a field of an object: "name:shop".
func (x *explainer) glued(n *syntax.Node, v view, want types) (name, value string, ok bool) {
	s, isText := n.Scalar.(string)
	if !isText || n.Quoted || want != tObject || v.hidden {
		return "", "", false
	}
	if name, value, ok = strings.Cut(s, ":"); !ok || value == "" || strings.ContainsAny(s, " \n") {
		return "", "", false
	}
	child, known := v.field(name)
	return name, value, known && child.want&tString != 0 && !diag.SecretName(name)
}

func lastName(path []string) string {
	for _, p := range slices.Backward(path) {
		if !isIndex(p) {
			return p
		}
	}
	return ""
}

// show says what n is, without secrets.
func (x *explainer) show(n *syntax.Node, v view, loc []string) string {
	switch n.Kind {
	case syntax.Mapping:
		return "a mapping"
	case syntax.Sequence:
		return "a list"
	}
	if name, ok := x.normal.vars[n]; ok {
		return "the value of $" + name
	}
	if v.hidden || secretName(x.full(loc)) {
		switch n.Scalar.(type) {
		case nil:
			return "null"
		case string:
			return "a text"
		case bool:
			return "a boolean"
		}
		return "a number"
	}
	if s, ok := n.Scalar.(string); ok {
		return quoteShort(s)
	}
	if n.Scalar == nil {
		return "null"
	}
	return shorten(n.Text)
}

func quoteShort(s string) string { return strconv.Quote(shorten(s)) }

// number is a limit as people write it.
func number(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// shorten keeps a value that is quoted in a message on its line.
func shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// numeral is a number or a version.
var numeral = regexp.MustCompile(`^[0-9.]+$`)

func (x *explainer) notAllowed(n *syntax.Node, v view, loc []string, want []any) {
	var words, texts []string
	for _, w := range want {
		if s, ok := w.(string); ok {
			words, texts = append(words, strconv.Quote(s)), append(texts, s)
		} else {
			words = append(words, fmt.Sprint(w))
		}
	}
	hint := ""
	var edits []diag.Edit
	if s, ok := n.Scalar.(string); ok && !v.hidden {
		if _, isVar := x.normal.vars[n]; !isVar {
			if to := diag.Nearest(s, texts); to != "" && !numeral.MatchString(s) { // of numbers, the next one is rarely meant
				hint = fmt.Sprintf("did you mean %q?", to)
				if diag.Unmistakable(s, to, texts) {
					edits = []diag.Edit{{Op: diag.Set, At: n.Range, Value: to}}
				}
			}
		}
	}
	if len(words) > 12 {
		words = append(words[:12], "…")
	}
	x.report("shape/not-allowed-value", n, loc, fmt.Sprintf("%s is %s, expected %s", x.label(loc), x.show(n, v, loc), alternatives(words)), hint)
	x.ds[len(x.ds)-1].Edits = edits
}

func (x *explainer) twice(n *syntax.Node, v view, loc []string) {
	first, second, _ := twins(n)
	at := append(slices.Clip(loc), strconv.Itoa(second))
	what := x.show(n.Items[second], v.item(), at)
	x.report("shape/duplicate-item", n.Items[second], at, fmt.Sprintf("%s repeats item %d (%s)", x.label(at), first, what), "remove one of them")
	x.ds[len(x.ds)-1].Related = []diag.Related{{Subject: n.Items[first].Locate(), Summary: "the first one"}}
}

func (x *explainer) alternatives(n *syntax.Node, v view, loc []string, key diag.Range, e *jsonschema.ValidationError, several bool) {
	if several {
		var have []string
		for _, s := range v.flat {
			for _, o := range s.oneOf {
				for _, r := range o.required {
					if n.Field(r) != nil && !slices.Contains(have, r) {
						have = append(have, r)
					}
				}
			}
		}
		summary := fmt.Sprintf("%s fits more than one of its alternatives", x.label(loc))
		hint := ""
		if len(have) > 1 {
			summary = fmt.Sprintf("%s has %s, which exclude each other", x.label(loc), listed(have))
			hint = "keep one of them"
		}
		x.report("shape/alternatives", n, loc, summary, hint)
		x.ds[len(x.ds)-1].Subject = key
		return
	}
	var lacking []string
	for _, c := range e.Causes {
		for _, l := range x.leaves(c) {
			if r, ok := l.ErrorKind.(*kind.Required); ok {
				lacking = append(lacking, quoteAll(r.Missing)...)
			}
		}
	}
	slices.Sort(lacking)
	if lacking = slices.Compact(lacking); len(lacking) > 0 {
		x.ds = append(x.ds, diag.Diagnostic{Severity: diag.Error, Code: "shape/missing-field", Subject: key, Path: pointer(x.full(loc)),
			Summary: fmt.Sprintf("%s lacks one of the fields %s", x.label(loc), alternatives(lacking)), Hint: "add one of them"})
		return
	}
	x.wrongType(n, v, loc, v.want)
}

func quoteAll(l []string) []string {
	out := make([]string, len(l))
	for i, s := range l {
		out[i] = strconv.Quote(s)
	}
	return out
}

// listed joins quoted words: "a", "b" and "c".
func listed(words []string) string {
	q := quoteAll(words)
	if len(q) < 2 {
		return strings.Join(q, "")
	}
	return strings.Join(q[:len(q)-1], ", ") + " and " + q[len(q)-1]
}

// fits reports whether the value of a field may be that of one which its object, an item of a list, lacks.
func (x *explainer) fits(m missed, name, lacking string) bool {
	child, known := m.view.field(lacking)
	f := m.object.Field(name)
	return known && f != nil && strings.HasSuffix(m.label, `]"`) && f.Value.Kind == syntax.Scalar && !f.Value.IsNull() && child.takes(f.Value)
}

// distinct drops the echoes of one mistake: a missing field that an unknown one was meant to be, and repetitions.
func (x *explainer) distinct() diag.List {
	drop := map[int]bool{}
	type field struct {
		of   *syntax.Node
		name string
	}
	meant := map[field]bool{}
	for _, u := range x.meant {
		meant[field{u.object, u.names[0]}] = true
	}
	lone := map[*syntax.Node][]missed{}
	for _, u := range x.lone {
		lone[u.object] = append(lone[u.object], u)
	}
	for _, m := range x.missed { // the one unknown field of an object that lacks one
		var names []string
		for _, name := range m.names {
			if !meant[field{m.object, name}] {
				names = append(names, name)
			}
		}
		of := lone[m.object]
		if len(names) != 1 || len(of) != 1 || x.ds[m.index].Hint != "" || !x.fits(m, of[0].names[0], names[0]) {
			continue
		}
		meant[field{m.object, names[0]}] = true
		x.ds[of[0].index].Hint = fmt.Sprintf("did you mean %q?", names[0])
	}
	for _, m := range x.missed {
		var names []string
		for _, name := range m.names {
			if !meant[field{m.object, name}] {
				names = append(names, name)
			}
		}
		d, fields := &x.ds[m.index], "the field "
		if len(names) > 1 {
			fields = "the fields "
		}
		drop[m.index] = len(names) == 0
		d.Summary = m.label + " lacks " + fields + listed(names)
		if d.Hint == "" {
			d.Hint = "add " + listed(names)
		}
	}
	filled := map[*syntax.Node]bool{}
	for _, n := range x.filled {
		filled[n] = true
	}
	for _, m := range x.nulls {
		drop[m.index] = filled[m.object]
	}
	type said struct {
		at      diag.Range
		code    diag.Code
		summary string
	}
	before := map[said]bool{}
	var out diag.List
	for i, d := range x.ds {
		if this := (said{d.Subject, d.Code, d.Summary}); !drop[i] && !before[this] {
			before[this] = true
			out = append(out, d)
		}
	}
	return out
}
