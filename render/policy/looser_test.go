package policy_test

import (
	"slices"
	"testing"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

type limits struct {
	Most   int64       `flex:"most"`
	Period *uint32     `flex:"period"`
	Names  []string    `flex:"names"`
	Denied []string    `flex:"denied"`
	Open   bool        `flex:"open"`
	Closed bool        `flex:"closed"`
	Expose bool        `flex:"expose"`
	Script syntax.Text `flex:"script"`
	Paths  []rule      `flex:"paths"`
}

type rule struct {
	Path syntax.Text `flex:"path"`
	made *int        // of the path
}

// TestShiftsOfASchema: what a schema says of its properties is enough to tell which way a change goes.
func TestShiftsOfASchema(t *testing.T) {
	t.Parallel()
	const schema = `{"properties": {
		"most": {"x-looser": "larger", "minimum": -1}, "period": {"x-looser": "smaller", "default": 1000}, "names": {"x-looser": "more"}, "denied": {"x-looser": "fewer"},
		"open": {"x-looser": "true"}, "closed": {"x-looser": "false"}, "expose": {"x-looser": "never"}, "script": {}, "paths": {"x-looser": "more"}}}`
	guards := policy.Always[limits](ir.Restricts)
	spec := func(schema string, guard func(*limits) ir.Guard) policy.Type {
		return policy.Define(policy.Spec[limits]{Name: "x", Schema: []byte(schema), Guard: guard})
	}
	typ := spec(schema, guards)
	same, longer := uint32(1000), uint32(2000)
	at := diag.Range{File: "a.yaml", Start: diag.Pos{Line: 1, Column: 1}}
	for name, c := range map[string]struct {
		was, now limits
		want     []policy.Way
	}{
		"a larger limit":              {limits{Most: 10}, limits{Most: 10000}, []policy.Way{policy.Looser}},
		"a smaller limit":             {limits{Most: 10}, limits{Most: 0}, []policy.Way{policy.Tighter}},
		"no limit any more":           {limits{Most: 10}, limits{Most: -1}, []policy.Way{policy.Looser}},
		"a longer period":             {limits{}, limits{Period: &longer}, []policy.Way{policy.Tighter}},
		"the default, written":        {limits{}, limits{Period: &same}, nil},
		"more names":                  {limits{Names: []string{"a"}}, limits{Names: []string{"b", "a"}}, []policy.Way{policy.Looser}},
		"other names":                 {limits{Names: []string{"a"}}, limits{Names: []string{"b"}}, []policy.Way{policy.Looser, policy.Tighter}},
		"more of what is denied":      {limits{}, limits{Denied: []string{"a"}}, []policy.Way{policy.Tighter}},
		"opened":                      {limits{}, limits{Open: true}, []policy.Way{policy.Looser}},
		"closed":                      {limits{}, limits{Closed: true}, []policy.Way{policy.Tighter}},
		"what decides nothing":        {limits{}, limits{Expose: true}, nil},
		"what nobody can say":         {limits{}, limits{Script: syntax.Text{Value: "a"}}, []policy.Way{policy.Other}},
		"the same at another place":   {limits{Script: syntax.Text{Value: "a"}}, limits{Script: syntax.Text{Value: "a", Range: at}}, nil},
		"a list in another order":     {limits{Names: []string{"a", "b"}}, limits{Names: []string{"b", "a"}}, nil},
		"a list at another place":     {limits{Paths: []rule{{syntax.Text{Value: "a"}, new(int)}}}, limits{Paths: []rule{{syntax.Text{Value: "a", Range: at}, nil}}}, nil},
		"a list that grows":           {limits{Paths: []rule{{Path: syntax.Text{Value: "a"}}}}, limits{Paths: []rule{{Path: syntax.Text{Value: "a", Range: at}}, {Path: syntax.Text{Value: "b"}}}}, []policy.Way{policy.Looser}},
		"one looser, another tighter": {limits{Most: 1}, limits{Most: 2, Closed: true}, []policy.Way{policy.Looser, policy.Tighter}},
	} {
		shifts, known := typ.Shifts(&c.was, &c.now)
		var got []policy.Way
		for _, s := range shifts {
			got = append(got, s.Way)
		}
		if !known || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, shifts, known, c.want)
		}
	}
	if l, known := spec(schema, nil).Shifts(&limits{Most: 1}, &limits{Most: 2}); !known || len(l) > 0 {
		t.Errorf("what guards nothing has shifts: %v, %v", l, known)
	}
	if l, known := spec(`{"properties": {"most": {}}}`, guards).Shifts(&limits{Most: 1}, &limits{Most: 2}); known {
		t.Errorf("a schema that says nothing has shifts: %v", l)
	}
}
