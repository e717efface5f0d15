package syntax

import (
	"slices"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// CUEPackage is a package of CUE that holds no declarations: somebody else evaluates it, by other means than Parse.
type CUEPackage struct{ unit Unit }

// CUEPackages groups files by package, in their order. What they import is looked for among them and the files beside, which
// are not evaluated for themselves. Files that only cue's own tools read are left out, as Units does.
func CUEPackages(files, beside []source.File) []CUEPackage {
	own := map[string]bool{}
	for _, f := range files {
		own[f.Name] = true
	}
	beside = slices.DeleteFunc(slices.Clone(beside), func(f source.File) bool { return own[f.Name] })
	w, groups := newCueWorld(slices.Concat(files, beside))
	var out []CUEPackage
	for _, g := range groups {
		g.files = slices.DeleteFunc(g.files, func(f source.File) bool { return !own[f.Name] })
		if len(g.files) > 0 {
			out = append(out, CUEPackage{Unit{Name: g.name, Files: g.files, cue: w}})
		}
	}
	return out
}

// ImportsOthers reports whether a CUE file imports packages that are not CUE's own.
func ImportsOthers(f source.File) bool {
	return slices.ContainsFunc(head(f).imports, func(i string) bool { return !isStandard(i) })
}

// Files are those of the package, without what it imports.
func (p CUEPackage) Files() []source.File { return p.unit.Files }

// CUEInstance is a package that was parsed, and knows where what is in it was written.
type CUEInstance struct {
	*build.Instance
	run *cueRun
}

// Load parses the package and all that it imports; more is CUE that counts as written at its end. Each call gives an instance
// of its own, for a context of its own. It is nil if there is an error.
func (p CUEPackage) Load(more string) (i *CUEInstance, ds diag.List) {
	defer func() { // as in parseCUE
		if recover() != nil {
			i, ds = nil, diag.List{{Severity: diag.Error, Code: "cue/syntax", Subject: diag.Range{File: p.unit.Files[0].Name},
				Summary: "this package makes the CUE parser fail", Hint: "simplify it, and tell us about it"}}
		}
	}()
	r := newCUERun(p.unit)
	r.more = more
	inst := r.whole(p.unit)
	if r.ds != nil {
		return nil, r.ds
	}
	return &CUEInstance{inst, r}, nil
}

// Errors says what the evaluator refuses, each error once and at its place.
func (i *CUEInstance) Errors(err error) diag.List {
	before := len(i.run.ds)
	i.run.errors(err)
	return i.run.ds[before:]
}

// Fields is the range of the key that a path of names ends at, and the expressions of its value: all that are written there,
// also in comprehensions. Nothing is found of what CUE computes.
func (i *CUEInstance) Fields(path ...string) (key diag.Range, values []ast.Node) {
	nodes := i.run.files
	for _, name := range path {
		key, nodes = i.run.fields(i.run.takeApart(nodes), name)
		if len(nodes) == 0 {
			return diag.Range{}, nil
		}
	}
	return key, nodes
}

// Locate is the range of the key that a path leads to, as far as it can be followed.
func (i *CUEInstance) Locate(path ...string) diag.Range { return i.run.locate(path) }

// Range is where a part of the syntax stands.
func (i *CUEInstance) Range(n ast.Node) diag.Range { return i.run.nodeRange(n) }

// Text is what was written there.
func (i *CUEInstance) Text(n ast.Node) string {
	r := i.run.nodeRange(n)
	c := i.run.cursors[r.File]
	if c == nil || r.Start.Offset > r.End.Offset || int(r.End.Offset) > len(c.src) {
		return ""
	}
	return string(c.src[r.Start.Offset:r.End.Offset])
}
