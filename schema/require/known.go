package require

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
)

//go:embed linked.schema.json
var linkedSchema []byte

// viewOf is what objects of a kind can hold.
func viewOf(kind string) (declared, linked schema.View) {
	all, err := schema.ViewOf(linkedSchema)
	if err != nil {
		panic(fmt.Sprintf("require: %v", err)) // a constant
	}
	linked, _ = all.Field(kind)
	if text, ok := schema.KindSchema(kind); ok && kind != gatewayKind {
		if declared, err = schema.ViewOf(text); err != nil {
			panic(fmt.Sprintf("require: %v", err))
		}
	}
	return declared, linked
}

// known reports what a constraint says about fields that no object of its kind can have, and values that none can be: such a
// rule would never be met, or never asked.
func (l *loader) known(r *rule, part string, c cue.Value) {
	if r.Kind == "" {
		return
	}
	declared, linked := viewOf(r.Kind)
	if r.Kind == gatewayKind {
		l.fields(r, c, linked, []string{part})
		return
	}
	l.fields(r, c, declared, []string{part}, extra{"linked", linked})
}

// extra is a field that a view lacks.
type extra struct {
	name string
	view schema.View
}

// deepest is how far constraints are followed: they may be recursive.
const deepest = 50

func (l *loader) fields(r *rule, c cue.Value, v schema.View, path []string, more ...extra) {
	if len(path) > deepest {
		return
	}
	if !l.fits(r, c, v, path) {
		return
	}
	if branches := alternatives(c); branches != nil {
		for _, b := range branches {
			l.fields(r, b, v, path, more...)
		}
		return
	}
	if !l.open(r, c, path) {
		return
	}
	switch c.IncompleteKind() {
	case cue.ListKind:
		items, err := c.List()
		for err == nil && items.Next() {
			l.fields(r, items.Value(), v.Item(), path)
		}
		if rest := c.LookupPath(cue.MakePath(cue.AnyIndex)); rest.Exists() {
			l.fields(r, rest, v.Item(), path)
		}
	case cue.StructKind:
		fields, err := c.Fields(cue.Optional(true))
		for err == nil && fields.Next() {
			l.field(r, strings.TrimRight(fields.Selector().Unquoted(), "?!"), fields.Value(), v, path, more)
		}
	}
}

// always are the fields that every object has.
func always(kind string, path []string) []string {
	switch {
	case kind == gatewayKind && len(path) == 1:
		return []string{"kind", "apis", "services", "ports"}
	case kind != gatewayKind && len(path) == 1:
		return []string{"apiVersion", "kind", "metadata", "spec"}
	case kind != gatewayKind && len(path) == 2 && path[1] == "metadata":
		return []string{"name", "namespace", "labels"}
	}
	return nil
}

// open reports whether a constraint allows what every object has, or says that it does not: definitions of CUE are closed.
func (l *loader) open(r *rule, c cue.Value, path []string) bool {
	if c.IncompleteKind() != cue.StructKind {
		return true
	}
	for _, name := range always(r.Kind, path) {
		if !c.Allows(cue.Str(name)) {
			l.report(l.at(string(r.Code), path...), fmt.Sprintf("this is closed and has no %q, which every %s has, so rule %q can never hold", name, r.Kind, r.Code), `write "..." in the definition that it refers to`)
			return false
		}
	}
	return true
}

func (l *loader) field(r *rule, name string, c cue.Value, v schema.View, path []string, more []extra) {
	path = append(slices.Clip(path), name)
	child, ok := v.Field(name)
	for _, x := range more {
		if x.name == name {
			child, ok = x.view, len(x.view.Fields()) > 0
		}
	}
	if ok {
		l.fields(r, c, child, path)
		return
	}
	names := v.Fields()
	for _, x := range more {
		if len(x.view.Fields()) > 0 {
			names = append(names, x.name)
		}
	}
	where := r.Kind
	if len(path) > 2 {
		where = fmt.Sprintf("%q of %s", strings.Join(path[1:len(path)-1], "."), r.Kind)
	}
	hint := "known are " + strings.Join(names, ", ")
	if to := diag.Nearest(name, names); to != "" {
		hint = fmt.Sprintf("did you mean %q?", to)
	}
	l.report(l.at(string(r.Code), path...), fmt.Sprintf("no field %q in %s, so rule %q speaks of nothing", name, where, r.Code), hint)
}

// cueKinds are the kinds of CUE that a type of JSON Schema stands for.
var cueKinds = map[string]cue.Kind{"null": cue.NullKind, "boolean": cue.BoolKind, "integer": cue.NumberKind, "number": cue.NumberKind,
	"string": cue.StringKind, "array": cue.ListKind, "object": cue.StructKind}

// fits reports whether a constraint allows a value of a type that its place can hold, or says that it does not.
func (l *loader) fits(r *rule, c cue.Value, v schema.View, path []string) bool {
	types := v.Types()
	var can cue.Kind
	for _, t := range types {
		can |= cueKinds[t]
	}
	want := c.IncompleteKind()
	if len(types) == 0 || want == cue.BottomKind || want&can != 0 || len(path) < 2 {
		return true
	}
	l.report(l.at(string(r.Code), path...), fmt.Sprintf("%q of %s is never %s, so rule %q can never hold", strings.Join(path[1:], "."), r.Kind, want, r.Code), "compare it with "+strings.Join(types, " or "))
	return false
}

// alternatives are the values of a disjunction that are left; nil: it is none, or settled.
func alternatives(v cue.Value) []cue.Value {
	if v.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0 || v.Kind() != cue.BottomKind {
		return nil
	}
	if op, args := v.Eval().Expr(); op == cue.OrOp {
		return args
	}
	return nil
}
