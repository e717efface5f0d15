package require

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/literal"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// engine evaluates rules in a context of its own. One goroutine uses it, and it is thrown away after a while: a context keeps
// what it has seen.
type engine struct {
	*Rules
	ctx   *cue.Context
	packs []*loaded       // by package; nil: not needed yet
	forms map[*rule]*form // of the rules that were asked
	asked int
}

// loaded is a package in the engine's context.
type loaded struct {
	inst *syntax.CUEInstance
	root cue.Value
}

// form is a rule in the engine's context.
type form struct {
	*loaded
	where, that cue.Value // where they do not depend on the object at hand
}

func newEngine(r *Rules) *engine {
	return &engine{Rules: r, ctx: cuecontext.New(), packs: make([]*loaded, len(r.packages)), forms: map[*rule]*form{}}
}

// form is a rule, ready to be asked. What is asked again and again for the object at hand is a package of that rule alone: CUE
// evaluates all of a package when the object in it changes.
func (e *engine) form(r *rule) *form {
	if f := e.forms[r]; f != nil {
		return f
	}
	f := &form{loaded: e.alone(r)}
	if f.loaded == nil {
		if e.packs[r.pack] == nil {
			e.packs[r.pack] = e.build(r.pack, nil)
		}
		f.loaded = e.packs[r.pack]
	}
	f.where, f.that = f.part(r, f.root, "where"), f.part(r, f.root, "that")
	e.forms[r] = f
	return f
}

// build evaluates a package; edit may change its files before.
func (e *engine) build(pack int, edit func(*ast.File)) *loaded {
	inst, _ := e.packages[pack].cue.Load(atHand) // what is wrong with it was said when it was loaded
	if inst == nil {
		return &loaded{}
	}
	for _, f := range inst.Files {
		if edit != nil {
			edit(f)
		}
	}
	return &loaded{inst, e.ctx.BuildInstance(inst.Instance)}
}

// alone is the package of a rule without other rules; nil: it is not needed, or another rule is.
func (e *engine) alone(r *rule) *loaded {
	if !r.alone {
		return nil
	}
	l := e.build(r.pack, func(f *ast.File) {
		for _, decl := range f.Decls {
			if field, ok := decl.(*ast.Field); ok && label(field) == "require" {
				if rules, ok := field.Value.(*ast.StructLit); ok {
					rules.Elts = slices.DeleteFunc(rules.Elts, func(d ast.Decl) bool { code := label(d); return code != "" && code != string(r.Code) })
				}
			}
		}
	})
	if l.root.Validate() != nil {
		return nil
	}
	return l
}

func (f *form) part(r *rule, root cue.Value, name string) cue.Value {
	return root.LookupPath(cue.MakePath(cue.Str("require"), cue.Str(string(r.Code)), cue.Str(name)))
}

// with is the package of a rule with an object at hand.
func (f *form) with(value cue.Value) cue.Value {
	return f.root.FillPath(cue.ParsePath("object"), value)
}

// The reasons that are not CUE's.
const (
	missing   = "is missing"
	forbidden = "is not allowed"
)

// finding is one place at which a constraint does not hold.
type finding struct {
	path   []string
	key    bool // the field should not be there
	reason string
}

// String is a finding for a hint: linked.policies[0].order is missing.
func (f finding) String() string {
	var at strings.Builder
	for i, name := range f.path {
		switch _, err := strconv.Atoi(name); {
		case err == nil:
			at.WriteString("[" + name + "]")
			continue
		case i > 0:
			at.WriteByte('.')
		}
		at.WriteString(name)
	}
	switch {
	case at.Len() == 0:
		return f.reason
	case isPredicate(f.reason):
		return at.String() + " " + f.reason
	}
	return at.String() + ": " + f.reason
}

// ask answers with the places at which an object, cut down to what the rule looks at, does not meet it.
func (e *engine) ask(r *rule, o *object, n *syntax.Node) []finding {
	e.asked++
	f := e.form(r)
	a := &asking{o: o, n: n, value: e.ctx.BuildExpr(o.expr(n))}
	where, that := f.where, f.that
	if r.dependent {
		root := f.with(a.value)
		where, that = f.part(r, root, "where"), f.part(r, root, "that")
	}
	if where.Exists() {
		if found, unknown := a.compare(where); len(found) > 0 || unknown {
			return nil
		}
	}
	found, _ := a.compare(that)
	return found
}

// asking is one object in an engine.
type asking struct {
	o     *object
	n     *syntax.Node // the part of it that the rule looks at
	value cue.Value    // the same
}

// compare unifies the object with a constraint. unknown: it speaks of what only the environment knows.
func (a *asking) compare(c cue.Value) (found []finding, unknown bool) {
	base := len(c.Path().Selectors())
	u := c.Unify(a.value)
	w := &walk{o: a.o}
	errs := errors.Errors(u.Validate())
	for i, e := range errs {
		path := plain(e.Path())
		if len(path) < base {
			path = nil
		} else {
			path = path[base:]
		}
		reason := reasonOf(e)
		switch {
		case strings.Contains(reason, "explicit error"):
			w.forbidden(u, a.n, nil)
			continue
		case strings.Contains(reason, "errors in empty disjunction"):
			reason = "fits none of the alternatives" + a.o.branches(errs[i+1:], len(path)+base, base)
		}
		if n, whole := a.n.At(path...); whole && a.o.isUnknown(n) {
			w.unknown = true
			continue
		}
		w.add(path, reason == forbidden, a.o.found(reason, path))
	}
	w.node(u, a.n, nil)
	return w.found, w.unknown
}

// branches is why the alternatives do not fit, of the errors that follow the headline of a path of that length.
func (o *object) branches(errs []errors.Error, length, base int) string {
	var reasons []string
	for _, e := range errs {
		path := plain(e.Path())
		if len(path) < length || strings.Contains(e.Error(), "errors in empty disjunction") {
			break
		}
		reasons = append(reasons, finding{path: path[base:], reason: o.found(reasonOf(e), path[base:])}.String())
	}
	slices.Sort(reasons)
	if reasons = slices.Compact(reasons); len(reasons) == 0 {
		return ""
	}
	return ": " + strings.Join(reasons[:min(len(reasons), 4)], "; ")
}

// phrases are the forms of what CUE says that have plainer words.
type phrases struct{ conflicting, outOfBound, unsatisfied *regexp.Regexp }

// cuePhrases are compiled when the first rule is broken.
var cuePhrases = sync.OnceValue(func() phrases {
	return phrases{
		conflicting: regexp.MustCompile(`^conflicting values (.+) and (.+?)( \(mismatched types .+\))?$`),
		outOfBound:  regexp.MustCompile(`^invalid value (.+) \((?:out of bound|does not satisfy) (.+)\)$`),
		unsatisfied: regexp.MustCompile(`^invalid value .* \((does not satisfy .+?)\)(: .+)?$`),
	}
})

// isPredicate reports whether a reason reads on from the name of what it is about.
func isPredicate(reason string) bool {
	return strings.HasPrefix(reason, "is ") || strings.HasPrefix(reason, "does not ") || strings.HasPrefix(reason, "fits ")
}

// reasonOf is what CUE says, without the path and in our words where they are plain.
func reasonOf(e errors.Error) string {
	s := strings.TrimPrefix(e.Error(), strings.Join(e.Path(), ".")+": ")
	s = strings.TrimSuffix(diag.OneLine(s), ":")
	if m := cuePhrases().outOfBound.FindStringSubmatch(s); m != nil && !strings.HasPrefix(m[1], "[") && !strings.HasPrefix(m[1], "{") {
		s = "is " + m[1] + ", expected " + m[2]
	} else if m := cuePhrases().unsatisfied.FindStringSubmatch(s); m != nil {
		s = m[1] + m[2]
	} else if strings.Contains(s, "field not allowed") {
		s = forbidden
	}
	if r := []rune(s); len(r) > 200 {
		s = string(r[:199]) + "…"
	}
	return s
}

// found says which of two values that conflict is the object's.
func (o *object) found(reason string, path []string) string {
	m := cuePhrases().conflicting.FindStringSubmatch(reason)
	n, whole := o.root.At(path...)
	if m == nil || !whole || n.Kind != syntax.Scalar {
		return reason
	}
	own := n.Text
	if s, ok := n.Scalar.(string); ok {
		own = literal.String.Quote(s)
	}
	switch own {
	case m[1]:
		return "is " + m[1] + ", expected " + m[2]
	case m[2]:
		return "is " + m[2] + ", expected " + m[1]
	}
	return reason
}

// walk compares an object with what became of it in a constraint, for what unification takes no offence at: fields that the
// constraint demands and the object lacks.
type walk struct {
	o       *object
	all     bool // what is walked along does not show what it was made of
	found   []finding
	unknown bool
}

// add notes a finding, unless one around it was noted: alternatives explain themselves again further in.
func (w *walk) add(path []string, key bool, reason string) {
	covered := func(a, b []string) bool { return len(a) <= len(b) && slices.Equal(a, b[:len(a)]) }
	if slices.ContainsFunc(w.found, func(f finding) bool { return covered(f.path, path) }) {
		return
	}
	w.found = append(w.found, finding{slices.Clone(path), key, reason})
}

// forbidden finds the fields of the object that a constraint does not allow by `name?: _|_`, which CUE reports without their
// paths.
func (w *walk) forbidden(v cue.Value, n *syntax.Node, path []string) (found bool) {
	if err := v.Err(); err == nil || !strings.Contains(err.Error(), "explicit error") {
		return false
	}
	switch n.Kind {
	case syntax.Mapping:
		for i := range n.Fields {
			c := v.LookupPath(cue.MakePath(cue.Str(n.Fields[i].Name)))
			found = w.forbidden(c, n.Fields[i].Value, append(path, n.Fields[i].Name)) || found
		}
	case syntax.Sequence:
		for i, item := range n.Items {
			found = w.forbidden(v.LookupPath(cue.MakePath(cue.Index(i))), item, append(path, strconv.Itoa(i))) || found
		}
	}
	if !found {
		w.add(path, true, forbidden)
	}
	return true
}

// node walks along the object.
func (w *walk) node(v cue.Value, n *syntax.Node, path []string) {
	op, _ := v.Expr()
	if w.o.isUnknown(n) {
		w.unknown = w.unknown || op != cue.NoOp || v.IncompleteKind() != cue.TopKind
		return
	}
	if op == cue.NoOp && len(path) > 0 && !w.all {
		return // the constraint does not speak of it
	}
	if branches := alternatives(v); branches != nil {
		w.either(branches, n, path)
		return
	}
	switch n.Kind {
	case syntax.Mapping:
		w.fields(v, n, path)
	case syntax.Sequence:
		items, err := v.List()
		for i := 0; err == nil && items.Next() && i < len(n.Items); i++ {
			w.node(items.Value(), n.Items[i], append(path, strconv.Itoa(i)))
		}
	default:
		if !v.IsConcrete() {
			reason := "it cannot be told"
			if err := errors.Errors(v.Validate(cue.Concrete(true))); len(err) > 0 {
				reason = reasonOf(err[0])
			}
			w.add(path, false, reason)
		}
	}
}

// either looks for an alternative that holds.
func (w *walk) either(branches []cue.Value, n *syntax.Node, path []string) {
	var reasons []string
	unknown := false
	for _, b := range branches {
		sub := &walk{o: w.o, all: true}
		sub.node(b, n, path)
		if len(sub.found) == 0 && !sub.unknown {
			return
		}
		unknown = unknown || len(sub.found) == 0
		for _, f := range sub.found {
			reasons = append(reasons, f.String())
		}
	}
	if unknown {
		w.unknown = true
		return
	}
	w.add(path, false, "fits none of the alternatives: "+strings.Join(slices.Compact(reasons), "; "))
}

func (w *walk) fields(v cue.Value, n *syntax.Node, path []string) {
	fields, err := v.Fields(cue.Optional(true))
	for err == nil && fields.Next() {
		if fields.FieldType()&cue.OptionalConstraint != 0 {
			continue
		}
		name := fields.Selector().Unquoted()
		at := append(path, name)
		if f := n.Field(name); f != nil {
			w.node(fields.Value(), f.Value, at)
		} else {
			w.missing(fields.Value(), at, fields.FieldType()&cue.RequiredConstraint != 0)
		}
	}
}

// missing notes what a constraint demands of a field that is not there. What it only describes (a default, optional fields) need
// not be there.
func (w *walk) missing(v cue.Value, path []string, required bool) {
	if _, ok := v.Default(); ok && !required {
		return
	}
	if v.IncompleteKind() == cue.StructKind {
		inner, says := 0, false
		fields, err := v.Fields(cue.Optional(true), cue.Patterns(true))
		for err == nil && fields.Next() {
			says = true
			if t := fields.FieldType(); t&(cue.OptionalConstraint|cue.PatternConstraint) == 0 {
				before := len(w.found)
				w.missing(fields.Value(), append(path, fields.Selector().Unquoted()), t&cue.RequiredConstraint != 0)
				inner += len(w.found) - before
			}
		}
		if inner > 0 || says && !required {
			return
		}
	}
	w.add(path, false, missing)
}

// said are the message and the hint of a rule for an object.
func (e *engine) said(r *rule, o *object) (message, hint string) {
	if !r.speaks {
		return diag.OneLine(r.Message), diag.OneLine(r.Hint)
	}
	f := e.form(r)
	root := f.with(e.ctx.BuildExpr(o.expr(r.said.cut(o.root))))
	text := func(name, written string) string {
		s, err := f.part(r, root, name).String()
		if err == nil {
			return diag.OneLine(s)
		}
		_, values := f.inst.Fields("require", string(r.Code), name)
		for _, v := range values {
			if x, ok := v.(*ast.Interpolation); ok {
				written = cmp.Or(diag.OneLine(literalParts(x)), written)
			}
		}
		return diag.OneLine(written)
	}
	message = cmp.Or(text("message", r.Message), diag.OneLine(r.Message))
	if r.Hint != "" {
		hint = cmp.Or(text("hint", r.Hint), diag.OneLine(r.Hint))
	}
	return message, hint
}

// literalParts is a text with "…" for each expression in it.
func literalParts(x *ast.Interpolation) string {
	var b strings.Builder
	info := literal.QuoteInfo{}
	for i, part := range x.Elts {
		lit, ok := part.(*ast.BasicLit)
		if !ok {
			b.WriteString("…")
			continue
		}
		s := lit.Value
		if i == 0 {
			var start int
			var err error
			if info, start, _, err = literal.ParseQuotes(s, x.Elts[len(x.Elts)-1].(*ast.BasicLit).Value); err != nil {
				return ""
			}
			s = s[start:]
		}
		if text, err := info.Unquote(strings.TrimPrefix(s, ")")); err == nil {
			b.WriteString(text)
		}
	}
	return b.String()
}

// diagnostics are what is reported about the object.
func (e *engine) diagnostics(r *rule, o *object, found []finding, wrong errorPlaces, partial bool) diag.List {
	byPlace := map[diag.Range][]finding{}
	var places []diag.Range
	for _, f := range found {
		at := o.place(f.path, f.key)
		if wrong.explain(o, f, at) {
			continue
		}
		if len(byPlace[at]) == 0 {
			places = append(places, at)
		}
		byPlace[at] = append(byPlace[at], f)
	}
	if len(places) == 0 {
		return nil
	}
	slices.SortFunc(places, func(x, y diag.Range) int { return cmp.Or(x.Compare(y), cmp.Compare(x.End.Offset, y.End.Offset)) })
	message, hint := e.said(r, o)
	var ds diag.List
	for _, at := range places {
		here := byPlace[at]
		d := diag.Diagnostic{Severity: r.Severity, Code: r.Code, Subject: at, Object: o.owner, Summary: message, Hint: hint}
		linked := true
		var why []string
		for _, f := range here {
			linked = linked && len(f.path) > 0 && f.path[0] == "linked"
			why = append(why, f.String())
		}
		if !linked && len(here[0].path) > 0 && o.kind != gatewayKind {
			d.Path = o.pointer(here[0].path)
		}
		if partial && (linked || o.kind == gatewayKind) {
			d.Severity = diag.Note
		}
		if d.Hint == "" {
			d.Hint = strings.Join(slices.Compact(why), "; ")
		}
		if r.Page != "" {
			d.Hint += fmt.Sprintf("; see %s", r.Page)
		}
		if o.kind != gatewayKind && !o.holds(at) {
			d.Related = append(d.Related, diag.Related{Subject: o.name, Summary: "the object that does not meet the rule"})
		}
		d.Related = append(d.Related, diag.Related{Subject: r.At, Summary: "the rule"})
		ds = append(ds, d)
	}
	return ds
}

// errorPlaces are the errors that are known without rules, by file.
type errorPlaces map[string]diag.List

func placesOf(found diag.List) errorPlaces {
	out := errorPlaces{}
	for _, d := range found {
		if d.Severity == diag.Error {
			out[d.Subject.File] = append(out[d.Subject.File], d)
		}
	}
	return out
}

// explain reports whether a finding may be an echo: of an error at its place, or of a field that is in error beside one that is
// missing.
func (p errorPlaces) explain(o *object, f finding, at diag.Range) bool {
	near := at
	if n, whole := o.root.At(f.path...); !whole {
		near = n.Range
	}
	return slices.ContainsFunc(p[at.File], func(d diag.Diagnostic) bool {
		return overlap(d.Subject, at) || strings.HasPrefix(string(d.Code), "shape/") && overlap(d.Subject, near)
	})
}

func overlap(a, b diag.Range) bool {
	return a.File == b.File && a.Start.Offset < b.End.Offset && b.Start.Offset < a.End.Offset
}
