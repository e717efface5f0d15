package ir_test

import (
	"testing"

	"github.com/flexgw/flexgw/schema/ir"
)

func rule(method, path string) ir.Match {
	return ir.Match{Method: ir.Pattern{Text: method}, Path: ir.Pattern{Text: path}}
}

func TestTakeAll(t *testing.T) {
	t.Parallel()
	key := rule("GET", "/a")
	key.Headers = []ir.HeaderPattern{{Name: "x-key", Pattern: ir.Pattern{Text: ".*"}}}
	for name, c := range map[string]struct {
		wide, narrow []ir.Match
		want         bool
	}{
		"no rules take everything":         {nil, []ir.Match{rule("GET", "/a")}, true},
		"no rules are taken by all":        {[]ir.Match{{}}, nil, true},
		"a rule does not take everything":  {[]ir.Match{rule("GET", "")}, nil, false},
		"fewer methods":                    {[]ir.Match{rule("GET|POST", "/a")}, []ir.Match{rule("GET", "/a")}, true},
		"more methods":                     {[]ir.Match{rule("GET", "/a")}, []ir.Match{rule("GET|POST", "/a")}, false},
		"a path below":                     {[]ir.Match{rule("", "/a/.*")}, []ir.Match{rule("", "/a/b")}, true},
		"methods in rules of their own":    {[]ir.Match{rule("GET", "/a"), rule("POST", "/a")}, []ir.Match{rule("GET|POST", "/a")}, true},
		"both in rules of their own":       {[]ir.Match{rule("GET", "/a"), rule("GET", "/b"), rule("POST", "/a"), rule("POST", "/b")}, []ir.Match{rule("POST|GET", "/(a|b)")}, true},
		"one of four is missing":           {[]ir.Match{rule("GET", "/a"), rule("GET", "/b"), rule("POST", "/a")}, []ir.Match{rule("POST|GET", "/(a|b)")}, false},
		"a condition more":                 {[]ir.Match{rule("GET", "/a")}, []ir.Match{key}, true},
		"a condition less":                 {[]ir.Match{key}, []ir.Match{rule("GET", "/a")}, false},
		"what cannot be looked at, twice":  {[]ir.Match{rule("", `/\bA`)}, []ir.Match{rule("", `/\bA`)}, true},
		"what cannot be looked at, beside": {[]ir.Match{rule("", `/\bA.*`)}, []ir.Match{rule("", `/\bA`)}, false},
	} {
		if got := ir.TakeAll(c.wide, c.narrow); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestApart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b ir.Match
		want bool
	}{
		"other paths":         {rule("", "/a/.*"), rule("", "/b/.*"), true},
		"other methods":       {rule("GET", "/a"), rule("POST", "/a"), true},
		"one is everything":   {rule("", ""), rule("POST", "/a"), false},
		"some are of both":    {rule("", "/a.*"), rule("", "/.*b"), false},
		"not to be looked at": {rule("", `/\bA`), rule("", "/b"), false},
	} {
		if got := c.a.Apart(c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
