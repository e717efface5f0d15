package match_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render/match"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

type answers struct {
	Everything, Bare, OK1, OK2, OK3 bool
	Groups                          int
	BareText, Regex, Bared, Rewrite string
	Variants                        []match.Variant
	Headers                         []match.Header
	Problems                        diag.List
}

func ask(ps *match.Patterns, text, base string, alike func(match.Join) match.Join) answers {
	p, l := ps.Path(ir.Pattern{Text: text})
	a := answers{Problems: l}
	a.Headers, l = ps.Headers(ir.Match{Method: ir.Pattern{Text: text}, Host: ir.Pattern{Text: text}})
	a.Problems = append(a.Problems, l...)
	if p == nil {
		return a
	}
	a.Everything, a.Bare, a.Groups, a.BareText, a.Rewrite = p.Everything(), p.Bare(), p.Groups(), p.BareText(), p.Rewrite(base)
	a.Regex, a.OK1 = p.Regex(base, false)
	a.Bared, a.OK2 = p.Regex(base, true)
	a.Variants, a.OK3 = p.Variants(base, alike)
	return a
}

func TestPatternsRememberWhatTheyWouldWorkOut(t *testing.T) {
	t.Parallel()
	alikes := map[string]func(match.Join) match.Join{
		"all differ": func(j match.Join) match.Join { return j },
		"nothing is as other": func(j match.Join) match.Join {
			if j == match.Nothing {
				return match.Other
			}
			return j
		},
	}
	ps := &match.Patterns{}
	for _, text := range []string{"", "/.*", "/a", "(/.*)?", "/items(/[a-z0-9-]{1,20})?", "/orders(/.*)", "/(a|b)/(c/)?(.*)", "(.*)/x", "a", "/é", "(", "/?", "(/?)b*"} {
		for _, base := range []string{"", "/api", "/a.b/%2F", "/api"} {
			for name, alike := range alikes {
				for range 2 {
					if diff := cmp.Diff(ask(nil, text, base, alike), ask(ps, text, base, alike)); diff != "" {
						t.Errorf("pattern %q below %q, %s (-without memory +with):\n%s", text, base, name, diff)
					}
				}
			}
		}
	}
}
