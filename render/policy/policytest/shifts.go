package policytest

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/ir"
)

// shifts holds what a type says of changes between the accepted configurations of its cases: none of a configuration with itself,
// the opposite when the sides are swapped, places that have names, and nothing that panics.
func (p *policyTest) shifts(t *testing.T) {
	configs := append(slices.Clone(p.configs), policy.Absent{})
	for i, a := range configs {
		for j, b := range configs {
			there, known := p.typ.Shifts(a, b)
			if !known {
				continue // it does not say
			}
			back, _ := p.typ.Shifts(b, a)
			if i == j && len(there) > 0 {
				t.Errorf("a configuration is not what it is: %v", there)
			}
			for _, way := range []policy.Way{policy.Looser, policy.Tighter, policy.Other} {
				if n, m := count(there, way), count(back, opposite(way)); n != m {
					t.Errorf("%d shifts go one way (%d) and %d back: %v, %v", n, way, m, there, back)
				}
			}
			for _, s := range there {
				if s.Summary == "" || slices.Contains(s.Path, "") {
					t.Errorf("a shift says nothing: %+v", s)
				}
			}
		}
	}
}

// decides holds what an authenticating type says of changes to its properties: a change of each must be told, in one of its accepted
// configurations at least, unless the schema says `x-looser: never`. A property that is forgotten would be told as "who gets through stays the same".
func (p *policyTest) decides(t *testing.T) {
	var s struct {
		Properties map[string]struct {
			Looser string `json:"x-looser"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(p.typ.ConfigSchema(), &s); err != nil {
		t.Fatal(err)
	}
	told, asked := map[string]bool{}, map[string]bool{}
	for _, c := range p.configs {
		v := reflect.ValueOf(c)
		if p.typ.Guard(c) != ir.Authenticates || v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
			continue
		}
		for i := range v.Elem().NumField() {
			name := v.Elem().Type().Field(i).Tag.Get("flex")
			if name == "" {
				continue
			}
			try := func(change func(field reflect.Value) bool) {
				changed := reflect.New(v.Elem().Type())
				changed.Elem().Set(v.Elem())
				if told[name] || !change(changed.Elem().Field(i)) {
					return
				}
				asked[name] = true
				shifts, known := p.typ.Shifts(c, changed.Interface())
				told[name] = !known || len(shifts) > 0 // what is not known counts as security-relevant
			}
			for _, up := range []bool{true, false} {
				try(func(f reflect.Value) bool { return alter(f, up) })
			}
			for _, other := range p.configs { // what another case has there
				try(func(f reflect.Value) bool { f.Set(reflect.ValueOf(other).Elem().Field(i)); return true })
			}
		}
	}
	for name := range asked {
		if !told[name] && s.Properties[name].Looser != "never" {
			t.Errorf("a change of %s is never told as one of who gets through: Shifts must say it, or the schema `x-looser: never`", name)
		}
	}
}

// alter changes a value to another of its type; ok is false when there is none.
func alter(v reflect.Value, up bool) (ok bool) {
	switch {
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanInt() && up:
		v.SetInt(v.Int() + 1)
	case v.CanInt():
		v.SetInt(v.Int() - 1)
	case v.Kind() == reflect.String && up:
		v.SetString(v.String() + "q")
	case v.Kind() == reflect.String:
		v.SetString("")
	case v.Kind() == reflect.Slice && up:
		item := reflect.New(v.Type().Elem()).Elem()
		alter(item, true)
		v.Set(reflect.Append(v.Slice3(0, v.Len(), v.Len()), item))
	case v.Kind() == reflect.Slice && v.Len() > 0:
		v.Set(v.Slice(0, v.Len()-1))
	case v.Type() == reflect.TypeFor[policy.Secret]():
		v.Set(reflect.ValueOf(policy.Secret{Secret: ir.NewSecret("another")}))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && alter(v.Field(i), up) {
				return true
			}
		}
		return false
	case v.Kind() == reflect.Pointer && up:
		v.Set(reflect.New(v.Type().Elem()))
		alter(v.Elem(), true)
	default:
		return false
	}
	return true
}

func count(l []policy.Shift, w policy.Way) int {
	n := 0
	for _, s := range l {
		if s.Way == w {
			n++
		}
	}
	return n
}

func opposite(w policy.Way) policy.Way {
	switch w {
	case policy.Looser:
		return policy.Tighter
	case policy.Tighter:
		return policy.Looser
	}
	return w
}

// configsOf are the configurations of a model's bindings of the policy.
func (p *policyTest) configsOf(g *ir.Gateway) []any {
	var all []any
	for _, b := range g.Bindings() {
		if b.Policy == p.typ.Name() && b.Made != nil {
			all = append(all, b.Config())
		}
	}
	return all
}

// loosers holds the keyword x-looser of the schema to its words, and to the type of its property.
func (p *policyTest) loosers(t *testing.T) {
	var s struct {
		Properties map[string]struct {
			Looser *string `json:"x-looser"`
			Type   any     `json:"type"` // a name or a list of names
		} `json:"properties"`
	}
	if err := json.Unmarshal(p.typ.ConfigSchema(), &s); err != nil {
		t.Fatal(err)
	}
	fits := map[string][]string{"larger": {"integer", "number"}, "smaller": {"integer", "number"}, "more": {"array"}, "fewer": {"array"}, "true": {"boolean"}, "false": {"boolean"}}
	for name, prop := range s.Properties {
		switch w := prop.Looser; {
		case w == nil:
		case !slices.Contains(policy.LooserWords(), *w):
			t.Errorf("x-looser of %s is %q, want one of %q", name, *w, policy.LooserWords())
		case fits[*w] != nil && !fitsType(fits[*w], prop.Type):
			t.Errorf("x-looser of %s is %q, which a property of type %v cannot be", name, *w, prop.Type)
		}
	}
}

// fitsType reports whether a schema's type is one of some names.
func fitsType(names []string, of any) bool {
	name, ok := of.(string)
	return ok && slices.Contains(names, name)
}
