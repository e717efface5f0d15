package policy

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// LooserWords are the words of the schema keyword `x-looser`, which says what a change of a property must be to let more through.
// It makes the Shifts of a type that has no function for them. A property without it may do either.
//
//   - larger, smaller: of a number. One whose minimum is -1 has no limit there.
//   - more, fewer: entries of a list.
//   - true, false: of a switch.
//   - never: it decides nothing about who gets through.
func LooserWords() []string {
	return []string{"larger", "smaller", "more", "fewer", "true", "false", "never"}
}

// derivation makes Shifts of what a schema says of its properties.
type derivation struct {
	properties map[string]looseness
}

type looseness struct {
	Looser  string   `json:"x-looser"`
	Minimum *float64 `json:"minimum"`
	Default any      `json:"default"`
}

// derive reads the keywords of a schema; nil if it has none.
func derive(schema []byte) *derivation {
	var s struct {
		Properties map[string]looseness `json:"properties"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return nil // CheckSchema says it
	}
	for _, p := range s.Properties {
		if p.Looser != "" {
			return &derivation{s.Properties}
		}
	}
	return nil
}

// derivedShifts are those of a type without a function of its own; known is false if its schema says nothing either.
func derivedShifts(schema []byte, guard func(any) ir.Guard) func(was, now any) (shifts []Shift, known bool) {
	read := sync.OnceValue(func() *derivation { return derive(schema) })
	return func(was, now any) ([]Shift, bool) {
		a, b := reflect.Indirect(reflect.ValueOf(was)), reflect.Indirect(reflect.ValueOf(now))
		if a.Kind() != reflect.Struct || b.Kind() != reflect.Struct || a.Type() != b.Type() {
			return nil, false
		}
		d := read()
		if d == nil {
			return nil, false
		}
		if guard(was) == ir.GuardNone && guard(now) == ir.GuardNone {
			return nil, true
		}
		var l []Shift
		for i := range a.NumField() {
			if name := a.Type().Field(i).Tag.Get("flex"); name != "" {
				l = append(l, d.shifts(name, a.Field(i), b.Field(i))...)
			}
		}
		return l, true
	}
}

func (d *derivation) shifts(name string, was, now reflect.Value) []Shift {
	p := d.properties[name]
	a, b := p.value(was), p.value(now)
	if reflect.DeepEqual(a, b) || p.Looser == "never" {
		return nil
	}
	shift := func(w Way) Shift {
		return Shift{w, []string{name}, map[Way]string{Looser: name + " lets more through", Tighter: name + " lets less through", Other: name + " lets other requests through"}[w]}
	}
	toward := func(looser bool) []Shift {
		if looser {
			return []Shift{shift(Looser)}
		}
		return []Shift{shift(Tighter)}
	}
	switch p.Looser {
	case "larger", "smaller":
		x, isNumber := a.(float64)
		y, too := b.(float64)
		if isNumber && too {
			return toward(p.limit(y) > p.limit(x) == (p.Looser == "larger"))
		}
	case "true", "false":
		if on, ok := b.(bool); ok {
			return toward(on == (p.Looser == "true"))
		}
	case "more", "fewer":
		x, _ := a.([]any)
		y, _ := b.([]any)
		var l []Shift
		if lacks(x, y) {
			l = append(l, toward(p.Looser == "more")...)
		}
		if lacks(y, x) {
			l = append(l, toward(p.Looser == "fewer")...)
		}
		return l
	}
	return []Shift{shift(Other)}
}

// limit is a number as a limit: -1 is none, where it is the least that may be written.
func (p looseness) limit(x float64) float64 {
	if x == -1 && p.Minimum != nil && *p.Minimum == -1 {
		return math.Inf(1)
	}
	return x
}

// value is what a field of a configuration says.
func (p looseness) value(v reflect.Value) any {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return p.Default
	}
	return said(v)
}

// said is what a value says, without where it says it, and without what was made of it (fields that are not declared); numbers are
// float64, lists []any.
func said(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return said(v.Elem())
	case reflect.Slice, reflect.Array:
		var l []any
		for i := range v.Len() {
			l = append(l, said(v.Index(i)))
		}
		return l
	case reflect.Map:
		m := map[any]any{}
		for _, k := range v.MapKeys() {
			m[k.Interface()] = said(v.MapIndex(k))
		}
		return m
	case reflect.Struct:
		switch t := v.Interface().(type) {
		case syntax.Text:
			return t.Value
		case ir.Secret:
			return t.Reveal() // to be compared
		}
		fields := map[any]any{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type != reflect.TypeFor[diag.Range]() {
				fields[f.Name] = said(v.Field(i))
			}
		}
		if len(fields) == 0 {
			return v.Interface()
		}
		return fields
	}
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	case v.CanFloat():
		return v.Float()
	}
	return v.Interface()
}

// lacks reports whether a list does not have all entries of another one.
func lacks(list, of []any) bool {
	return slices.ContainsFunc(of, func(x any) bool {
		return !slices.ContainsFunc(list, func(y any) bool { return reflect.DeepEqual(x, y) })
	})
}
