package policytest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// explained demands of every code of the page that the folder says why, shows a declaration that has this problem and no other,
// and one without any.
func (p *policyTest) explained(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `(" + p.area + "/[a-z0-9-]+)` \\|")
	for _, m := range row.FindAllStringSubmatch(string(p.typ.Page()), -1) {
		code := m[1]
		e, ok := p.typ.Explain(code)
		if !ok || e.What == "" || len(e.Why) < 20 || e.Source == "" || e.Bad.Text == "" || e.Good.Text == "" {
			t.Errorf("%s.codes.md does not say of %s why, a bad and a good example, and the source: %+v", p.area, code, e)
			continue
		}
		l, answer := p.answer(t, e.Bad)
		alone := slices.DeleteFunc(slices.Clone(l), func(d diag.Diagnostic) bool { return string(d.Code) == e.With })
		if len(alone) == 0 || (e.With != "") != (len(alone) < len(l)) || slices.ContainsFunc(alone, func(d diag.Diagnostic) bool { return string(d.Code) != code }) {
			t.Errorf("the bad example of %s does not show it alone:\n%s\n%s", code, e.Bad.Text, answer)
		}
		if l, answer := p.answer(t, e.Good); len(l) > 0 {
			t.Errorf("the good example of %s has problems:\n%s\n%s", code, e.Good.Text, answer)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^## (.*)$").FindAllStringSubmatch(string(p.typ.Codes()), -1) {
		if _, ok := p.typ.Explain(strings.Trim(m[1], "`")); !ok {
			t.Errorf("%s.codes.md explains %s, which the page does not list", p.area, m[1])
		}
	}
}

// answer is what validate says of an example. Variables that are not set excuse their own value.
func (p *policyTest) answer(t *testing.T, e policy.Example) (diag.List, []byte) {
	files := []source.File{source.NewFile(e.File, []byte(e.Text))}
	if e.Beside != "" {
		files = append(files, source.NewFile(e.Beside, []byte(e.Around)))
	}
	_, l := p.load(files, nil, false)
	return l, text(t, l, files)
}
