package policytest

import (
	"encoding/json"
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
