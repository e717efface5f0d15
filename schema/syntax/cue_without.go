package syntax

import (
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/ast/astutil"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema/diag"
)

// A reference that leads nowhere keeps CUE from evaluating anything of a package. So that the rest is judged in the same run, the
// package is then evaluated once more, with an error in the place of each such reference: what depends on it stays unknown, and
// nothing else.

// spot is where something stands, without its end.
type spot struct {
	file   string
	offset int
}

func spotOf(p token.Pos) spot { return spot{p.Filename(), p.Offset()} }

// unresolved are the references that lead nowhere, if nothing else is known to be wrong.
func (r *cueRun) unresolved() map[spot]bool {
	if slices.ContainsFunc(r.ds, func(d diag.Diagnostic) bool { return d.Code != "cue/reference" || d.Subject.IsZero() }) {
		return nil
	}
	out := map[spot]bool{}
	for _, d := range r.ds {
		out[spot{d.Subject.File, int(d.Subject.Start.Offset)}] = true
	}
	return out
}

// cut puts the errors into a file.
func (r *cueRun) cut(file *ast.File) {
	astutil.Apply(file, func(c astutil.Cursor) bool {
		if id, ok := c.Node().(*ast.Ident); ok && r.without[spotOf(id.Pos())] {
			c.Replace(&ast.BottomLit{Bottom: id.Pos()})
		}
		return true
	}, nil)
}

// fromCut reports whether an error is one of those that cut made.
func (r *cueRun) fromCut(e errors.Error) bool {
	if len(r.without) == 0 || !strings.Contains(e.Error(), "explicit error (_|_ literal)") {
		return false
	}
	all := append(slices.Clone(e.InputPositions()), e.Position())
	all = slices.DeleteFunc(all, func(p token.Pos) bool { return !p.IsValid() })
	return len(all) == 0 || slices.ContainsFunc(all, func(p token.Pos) bool { return r.without[spotOf(p)] })
}
