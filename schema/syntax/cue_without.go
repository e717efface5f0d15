package syntax

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/ast/astutil"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// A reference that leads nowhere, as to a package that is not there, keeps CUE from evaluating anything of a package. So that the rest is judged in the same run, the
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
	out := map[spot]bool{}
	for _, d := range r.ds {
		at := spot{d.Subject.File, int(d.Subject.Start.Offset)}
		if d.Code != "cue/reference" && !r.missing[at] || d.Subject.IsZero() {
			return nil
		}
		out[at] = true
	}
	return out
}

// cut puts the errors into a file.
func (r *cueRun) cut(file *ast.File) {
	packages := r.cutImports(file)
	astutil.Apply(file, func(c astutil.Cursor) bool {
		if sel, ok := c.Node().(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && packages[id.Name] && imports(id) {
				r.without[spotOf(id.Pos())] = true
				c.Replace(&ast.BottomLit{Bottom: id.Pos()})
				return false
			}
		}
		if id, ok := c.Node().(*ast.Ident); ok && r.without[spotOf(id.Pos())] {
			c.Replace(&ast.BottomLit{Bottom: id.Pos()})
		}
		return true
	}, nil)
}

// A file of a package that does not parse is left out in the same way, and what the others say is judged but for what it may have said.

// sound are the files of a package that parse, when others do not and nothing else is known to be wrong.
func (r *cueRun) sound(u Unit) []source.File {
	if len(r.broken) == 0 || slices.ContainsFunc(r.ds, func(d diag.Diagnostic) bool { return !r.broken[d.Subject.File] || !r.own[d.Subject.File] }) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(u.Files), func(f source.File) bool { return r.broken[f.Name] })
}

// lostWords are the words of the files that are not among whole.
func (r *cueRun) lostWords(u Unit, whole []source.File) map[string]bool {
	words := map[string]bool{}
	for _, f := range u.Files {
		if slices.ContainsFunc(whole, func(w source.File) bool { return w.Name == f.Name }) {
			continue
		}
		text, err := f.Bytes()
		if err != nil {
			continue
		}
		for _, w := range strings.FieldsFunc(string(text), func(c rune) bool {
			return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("_#$-", c)
		}) {
			words[w] = true
		}
	}
	return words
}

// withoutLost leaves out what may be wrong only because a file is left out: of what it names, and of values that nobody gives.
func (r *cueRun) withoutLost(ds diag.List) diag.List {
	if len(r.lost) == 0 {
		return ds
	}
	return slices.DeleteFunc(slices.Clone(ds), func(d diag.Diagnostic) bool {
		switch {
		case d.Code == "cue/incomplete":
			return true
		case !strings.HasPrefix(string(d.Code), "cue/"):
			return false
		}
		if m := quotedName.FindStringSubmatch(d.Summary); m != nil && r.lost[m[1]+m[2]] {
			return true
		}
		path, _, ok := strings.Cut(d.Summary, ": ")
		return ok && r.lost[path[strings.LastIndexByte(path, '.')+1:]]
	})
}

// quotedName is the name that a message of the evaluator is about.
var quotedName = regexp.MustCompile(`reference "([^"]+)" not found|undefined field: ([^ ]+)`)

// fromCut reports whether an error is one of those that cut made.
func (r *cueRun) fromCut(e errors.Error) bool {
	if len(r.without) == 0 || !strings.Contains(e.Error(), "explicit error (_|_ literal)") {
		return false
	}
	all := append(slices.Clone(e.InputPositions()), e.Position())
	all = slices.DeleteFunc(all, func(p token.Pos) bool { return !p.IsValid() })
	return len(all) == 0 || slices.ContainsFunc(all, func(p token.Pos) bool { return r.without[spotOf(p)] })
}

// imports reports whether a name may be that of a package.
func imports(id *ast.Ident) bool {
	if id.Node == nil {
		return true
	}
	_, is := id.Node.(*ast.ImportSpec)
	return is
}

// cutImports takes the imports of packages that are not there out of a file, and returns what the file calls them.
func (r *cueRun) cutImports(file *ast.File) map[string]bool {
	names := map[string]bool{}
	gone := func(spec *ast.ImportSpec) bool {
		if !r.without[spotOf(spec.Path.Pos())] {
			return false
		}
		if spec.Name != nil {
			names[spec.Name.Name] = true
		} else {
			p := ast.ParseImportPath(importPath(spec))
			names[cmp.Or(p.Qualifier, path.Base(p.Path))] = true
		}
		return true
	}
	file.Decls = slices.DeleteFunc(file.Decls, func(d ast.Decl) bool {
		i, is := d.(*ast.ImportDecl)
		if !is {
			return false
		}
		i.Specs = slices.DeleteFunc(i.Specs, gone)
		return len(i.Specs) == 0
	})
	return names
}
