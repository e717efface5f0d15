package syntax

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// cueWorld is all CUE files of a set: where imports are looked for. Nothing is ever fetched.
type cueWorld struct {
	packages map[string][]cueFile // by folder and package name, as "folder:name"
	modules  map[string]string    // module path, by the folder that holds cue.mod
	vendored map[string][]cueFile // by folder below a cue.mod, as "root/cue.mod/pkg/example.com/x:name"
	up       int                  // how many folders above the one that names are relative to the highest module is
}

// cueFile is one file with what its head says. pkg is empty without a package clause, or when the head is broken.
type cueFile struct {
	source.File
	pkg     string
	imports []string
}

// cueUnits makes one unit of each package of each folder, and one of each file without a package clause. Tool and test
// files stay out, as they do for cue itself.
func cueUnits(files []source.File) ([]Unit, diag.List) {
	w, groups := newCueWorld(files)
	var units []Unit
	for _, g := range groups {
		if slices.ContainsFunc(g.files, func(f source.File) bool { return !f.Beside }) {
			units = append(units, newUnit(g.name, g.files, w))
		}
	}
	return units, nil
}

// cueGroup is the files of one package.
type cueGroup struct {
	name  string
	files []source.File
}

func newCueWorld(files []source.File) (*cueWorld, []*cueGroup) {
	w := &cueWorld{packages: map[string][]cueFile{}, modules: map[string]string{}, vendored: map[string][]cueFile{}}
	var groups []*cueGroup
	byName := map[string]*cueGroup{}
	for _, f := range files {
		dir := path.Dir(f.Name)
		if root, rest, ok := insideModule(f.Name); ok {
			if rest == "module.cue" {
				w.modules[root] = modulePath(f)
				w.up = max(w.up, above(root))
			} else if c := head(f); c.pkg != "" {
				w.vendored[dir+":"+c.pkg] = append(w.vendored[dir+":"+c.pkg], c)
			}
			continue
		}
		if strings.HasSuffix(f.Name, "_tool.cue") || strings.HasSuffix(f.Name, "_test.cue") {
			continue
		}
		c := head(f)
		if c.pkg == "" {
			groups = append(groups, &cueGroup{f.Name, []source.File{f}})
			w.packages[f.Name] = []cueFile{c}
			continue
		}
		key := dir + ":" + c.pkg
		w.packages[key] = append(w.packages[key], c)
		if g := byName[key]; g != nil {
			g.files = append(g.files, f)
			continue
		}
		byName[key] = &cueGroup{key, []source.File{f}}
		groups = append(groups, byName[key])
	}
	return w, groups
}

// insideModule splits the name of a file in a cue.mod folder at that folder.
func insideModule(name string) (root, rest string, ok bool) {
	if rest, ok := strings.CutPrefix(name, "cue.mod/"); ok {
		return ".", rest, true
	}
	return strings.Cut(name, "/cue.mod/")
}

// head reads the package clause and the imports. A file whose head is broken is a unit of its own, and says so when it
// is parsed.
func head(f source.File) (c cueFile) {
	c.File = f
	defer func() {
		if recover() != nil {
			c.pkg, c.imports = "", nil
		}
	}()
	x, _ := read(f)
	if x == nil || tooDeepCUE(x.src) >= 0 {
		return c
	}
	file, err := parser.ParseFile(f.Name, x.src, parser.ImportsOnly)
	if err != nil || file == nil {
		return c
	}
	if c.pkg = file.PackageName(); c.pkg == "_" {
		c.pkg = ""
	}
	for spec := range file.ImportSpecs() {
		c.imports = append(c.imports, importPath(spec))
	}
	return c
}

func importPath(spec *ast.ImportSpec) string {
	name, _, err := ast.LabelName(spec.Path)
	if err != nil {
		return ""
	}
	return name
}

// modulePath is what a module file calls its module, without the major version; empty when it cannot be read.
func modulePath(f source.File) string {
	x, _ := read(f)
	if x == nil || tooDeepCUE(x.src) >= 0 {
		return ""
	}
	file, err := parser.ParseFile(f.Name, x.src)
	if err != nil {
		return ""
	}
	fields := map[string][]*ast.Field{}
	collect(file, fields)
	for _, field := range fields["module"] {
		if lit, ok := field.Value.(*ast.BasicLit); ok {
			if name, _, err := ast.LabelName(lit); err == nil {
				return ast.ParseImportPath(name).Path
			}
		}
	}
	return ""
}

// isStandard reports whether an import path names a package of CUE's standard library.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// find returns the files of an imported package, as seen from a folder, and the key that names the package.
func (w *cueWorld) find(dir, imported string) (string, []cueFile) {
	p := ast.ParseImportPath(imported)
	name := p.Qualifier
	if name == "" {
		name = path.Base(p.Path)
	}
	for root := dir; ; root = path.Join(root, "..") {
		if module, ok := w.modules[root]; ok {
			if rest, ok := strings.CutPrefix(p.Path, module); ok && module != "" && (rest == "" || rest[0] == '/') {
				key := path.Join(root, rest) + ":" + name
				return key, w.packages[key]
			}
			for _, kind := range vendors() {
				key := path.Join(root, "cue.mod", kind, p.Path) + ":" + name
				if files := w.vendored[key]; files != nil {
					return key, files
				}
			}
			return "", nil
		}
		if root == "/" || root == "." && w.up == 0 || above(root) > w.up {
			return "", nil
		}
	}
}

// vendors are the folders of cue.mod that hold packages of others.
func vendors() []string { return []string{"pkg", "gen", "usr"} }

// above is how many folders above the one that names are relative to a folder is.
func above(dir string) (n int) {
	for dir == ".." || strings.HasPrefix(dir, "../") {
		n, dir = n+1, strings.TrimPrefix(strings.TrimPrefix(dir, ".."), "/")
	}
	return n
}

// imported are the files that the given ones import, directly or not, by name.
func (w *cueWorld) imported(files []source.File) []source.File {
	var all []source.File
	seen := map[string]bool{}
	var visit func(cueFile)
	visit = func(f cueFile) {
		for _, i := range f.imports {
			key, found := w.find(path.Dir(f.Name), i)
			if key == "" || seen[key] {
				continue
			}
			seen[key] = true
			for _, g := range found {
				all = append(all, g.File)
				visit(g)
			}
		}
	}
	for _, f := range files {
		visit(head(f))
	}
	slices.SortFunc(all, func(a, b source.File) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// tooDeepCUE is the offset where brackets, chains of fields or of signs nest deeper than the CUE parser, which is
// recursive, should be asked to follow; -1 when they do not. Quotes are not told from brackets: nobody has so many.
func tooDeepCUE(src []byte) int {
	depth, colons, signs := 0, 0, 0
	last := byte(0) // before the current blanks
	for i, b := range src {
		switch b {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth = max(depth-1, 0)
		case ':':
			colons++
		case '\n', ',':
			if last != ':' {
				colons, signs = 0, 0
			}
		case '-', '+', '!', '*', '<', '>', '=', '~', '&', '|', '/', '.':
			signs++
		}
		if !isBlank(b) && b != '\n' {
			last = b
		}
		if depth > MaxDepth || colons > MaxDepth || signs > 10*MaxDepth {
			return i
		}
	}
	return -1
}

// maxExpression is how deep the syntax of a CUE file may nest; a value is two to four levels of it.
const maxExpression = 5 * MaxDepth

// deepest is the first node below maxExpression levels, or nil.
func deepest(file *ast.File) (found ast.Node) {
	depth := 0
	ast.Walk(file, func(n ast.Node) bool {
		depth++
		if depth > maxExpression && found == nil {
			found = n
		}
		return found == nil
	}, func(ast.Node) { depth-- })
	return found
}

// cueRun is the evaluation of one package.
type cueRun struct {
	world   *cueWorld
	context *build.Context
	made    map[string]*build.Instance
	busy    map[string]bool // packages being loaded, to see an import cycle
	more    string          // CUE that counts as written at the end of the first file
	missing map[spot]bool   // imports of packages that are not there
	without map[spot]bool   // those, and references that lead nowhere, which has been said
	broken  map[string]bool // files that do not parse
	lost    map[string]bool // what such files of the package name: all that depends on it is left out
	cueText
	ds diag.List
}

// maxEvaluation bounds the evaluation of one package. CUE has no budget of its own and cannot be stopped, and a few lines
// (a comprehension over millions) keep it busy for hours: such a package is given up, and its evaluation left behind, so
// that it holds nobody else up.
const maxEvaluation = time.Minute

// parseCUEWithin is parseCUE, given up after a while.
func parseCUEWithin(u Unit, limit time.Duration) ([]*Node, diag.List) {
	type result struct {
		roots []*Node
		ds    diag.List
	}
	done := make(chan result, 1)
	go func() {
		roots, ds := parseCUE(u)
		done <- result{roots, ds}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case r := <-done:
		return r.roots, r.ds
	case <-late.C:
		return nil, diag.List{{
			Severity: diag.Error, Code: "cue/too-long", Subject: diag.Range{File: u.Files[0].Name},
			Summary: fmt.Sprintf("this package is not evaluated after %s", limit), Hint: "look for a comprehension over very many values, or a recursion that grows",
		}}
	}
}

// parseCUE evaluates the package and returns its declarations: the package itself if it has apiVersion and kind, else
// whichever of its exported fields and elements, at any depth, have both.
func parseCUE(u Unit) (roots []*Node, ds diag.List) {
	r := newCUERun(u)
	var said diag.List
	defer func() { // the CUE library panics on some malformed input
		if e := recover(); e != nil {
			if roots, ds = nil, append(said, r.ds...); len(ds) > 0 {
				return // that may be why
			}
			ds = diag.List{{Severity: diag.Error, Code: "cue/syntax", Subject: diag.Range{File: u.Files[0].Name},
				Summary: "this package makes the CUE evaluator fail", Hint: "simplify it, and tell us about it"}}
		}
	}()
	root, ok := r.evaluate(u)
	if whole := r.sound(u); !ok && len(whole) > 0 {
		said = r.ds
		lost := r.lostWords(u, whole)
		u.Files = whole
		r = newCUERun(u)
		r.lost = lost
		root, ok = r.evaluate(u)
	}
	defer func() { ds = append(said, r.withoutLost(ds)...) }()
	for range 2 { // references are looked at once no import is missing
		without := r.unresolved()
		if len(without) == 0 {
			break
		}
		maps.Copy(without, r.without)
		said = append(said, r.withoutLost(r.ds)...)
		lost := r.lost
		r = newCUERun(u)
		r.without, r.lost = without, lost
		root, ok = r.evaluate(u)
	}
	if !ok {
		return nil, r.ds
	}
	r.declarations(root, r.files, r.wholeFile(u.Files[0].Name), diag.Range{}, 0, func(v cue.Value, nodes []ast.Node, where, key diag.Range) {
		if v.Validate() != nil {
			return // said above
		}
		before := len(r.ds)
		if n := r.node(v, nodes, cueHolder{within: where, key: cmp.Or(key, where)}, where, "", 0); len(r.ds) == before {
			roots = append(roots, n)
		}
	})
	return roots, r.ds
}

// evaluate is the value of the package, whatever is wrong in it; ok is false when there is none.
func (r *cueRun) evaluate(u Unit) (root cue.Value, ok bool) {
	inst := r.whole(u)
	if r.ds != nil {
		return root, false
	}
	root = cuecontext.New().BuildInstance(inst)
	if err := root.Validate(); err != nil {
		r.errors(err)
	} else if err := root.Err(); err != nil {
		r.errors(err)
	}
	return root, true
}

func newCUERun(u Unit) *cueRun {
	r := &cueRun{world: u.cue, context: build.NewContext(), made: map[string]*build.Instance{}, busy: map[string]bool{}, missing: map[spot]bool{}, broken: map[string]bool{}, cueText: newCUEText()}
	r.first = u.Files[0].Name
	for _, f := range u.Files {
		r.own[f.Name] = true
	}
	return r
}

// whole parses all files of a unit.
func (r *cueRun) whole(u Unit) *build.Instance {
	inst := r.load(u.Name, u.Files)
	for _, f := range inst.Files {
		r.files = append(r.files, f)
	}
	return inst
}

// load parses the files of one package and what it imports.
func (r *cueRun) load(key string, files []source.File) *build.Instance {
	if inst, ok := r.made[key]; ok {
		return inst
	}
	r.busy[key] = true
	defer delete(r.busy, key)
	dir := path.Dir(files[0].Name)
	inst := r.context.NewInstance(dir, func(pos token.Pos, imported string) *build.Instance {
		if isStandard(imported) {
			return nil
		}
		key, found := r.world.find(dir, imported)
		if len(found) == 0 || r.busy[key] {
			return nil // reported by imports
		}
		return r.load(key, sourceFiles(found))
	})
	for _, f := range files {
		file := r.parse(f)
		if file == nil {
			r.broken[f.Name] = true
			continue
		}
		r.parsed[key] = append(r.parsed[key], file)
		r.imports(dir, key, file)
		if err := inst.AddSyntax(file); err != nil {
			r.errors(err)
		}
	}
	if r.ds == nil {
		if err := inst.Complete(); err != nil {
			r.errors(errors.Promote(err, ""))
		}
	}
	r.made[key] = inst
	return inst
}

func sourceFiles(files []cueFile) []source.File {
	var out []source.File
	for _, f := range files {
		out = append(out, f.File)
	}
	return out
}

// parse returns the syntax of one file, or nil after saying what is wrong with it.
func (r *cueRun) parse(f source.File) *ast.File {
	x, ds := read(f)
	if x == nil {
		r.ds = append(r.ds, ds...)
		return nil
	}
	r.cursors[f.Name] = newCursor(x)
	if at := tooDeepCUE(x.src); at >= 0 {
		r.ds = append(r.ds, diag.Diagnostic{Severity: diag.Error, Code: "cue/too-deep", Subject: r.cursors[f.Name].at(at),
			Summary: fmt.Sprintf("values nest more than %d deep here", MaxDepth), Hint: "flatten the package"})
		return nil
	}
	file, err := parser.ParseFile(f.Name, x.src)
	if conflicts := mergeConflicts(x); err != nil && len(conflicts) > 0 {
		r.ds = append(r.ds, conflicts...)
		return nil
	}
	if err != nil {
		lines := map[int32]bool{}
		open, bracket := openBracket(x.src)
		for i, e := range errors.Errors(err) {
			d := r.diagnostic(e, "cue/syntax")
			if odd := illegal.FindStringSubmatch(d.Summary); odd != nil {
				if r.illegal(&d, odd[1]); !lines[d.Subject.Start.Line] { // quotes come in pairs
					r.ds, lines[d.Subject.Start.Line] = append(r.ds, d), true
				}
				continue
			}
			if i > 0 && strings.Contains(d.Summary, "'EOF'") {
				continue // for want of what was not read
			}
			after := open >= 0 && int(d.Subject.Start.Offset) > open // what the parser finds behind an open bracket is for want of the closing one
			if after {
				d.Subject, d.Summary = r.cursors[f.Name].at(open), "this bracket is not closed"
			}
			if !lines[d.Subject.Start.Line] { // the parser's echoes stand on the line of the error
				lines[d.Subject.Start.Line] = true
				d.Hint = "check the brackets, commas and quotes before this place"
				if after {
					d.Hint = fmt.Sprintf("add the closing %q", bracket)
				}
				r.ds = append(r.ds, d)
			}
		}
		return nil
	}
	if n := deepest(file); n != nil {
		r.ds = append(r.ds, diag.Diagnostic{Severity: diag.Error, Code: "cue/too-deep", Subject: r.at(n.Pos()),
			Summary: fmt.Sprintf("expressions nest more than %d deep here", maxExpression), Hint: "flatten the package"})
		return nil
	}
	if r.more != "" && f.Name == r.first {
		if file, err = parser.ParseFile(f.Name, slices.Concat(x.src, []byte("\n"+r.more+"\n"))); err != nil {
			r.errors(err)
			return nil
		}
	}
	if len(r.without) > 0 {
		r.cut(file)
	}
	r.add(file)
	return file
}

// illegal is how the parser names a character that stands outside of texts and that CUE does not have.
var illegal = regexp.MustCompile(`^illegal character U\+([0-9A-F]{4,6})`)

// illegal says of such a character what it is, and what to do.
func (r *cueRun) illegal(d *diag.Diagnostic, code string) {
	n, err := strconv.ParseUint(code, 16, 32)
	c := r.cursors[d.Subject.File]
	if err != nil || c == nil {
		return
	}
	odd := rune(n)
	from := int(d.Subject.Start.Offset)
	d.Subject = c.span(from, min(from+utf8.RuneLen(odd), len(c.src)))
	d.Summary, d.Hint = fmt.Sprintf("%q is no sign of CUE", odd), "remove it, or put the text in which it stands in double quotes"
	switch {
	case strings.ContainsRune("“”„‟«»‘’", odd):
		d.Summary, d.Hint = fmt.Sprintf("%c is a typographic quote, which is no quote of CUE", odd), `write " for it`
	case isInvisible(odd):
		d.Summary, d.Hint = fmt.Sprintf("invisible character U+%04X (%s) breaks this CUE", odd, Invisible(odd)), "delete it"
	}
}

// ownPackages begins the paths of the packages that we write ourselves.
const ownPackages = "github.com/flexgw/flexgw/schema/cue/"

// imports reports the imports of a file that cannot be found in the set.
func (r *cueRun) imports(dir, key string, file *ast.File) {
	for spec := range file.ImportSpecs() {
		imported := importPath(spec)
		d := diag.Diagnostic{Severity: diag.Error, Code: "cue/import", Subject: r.nodeRange(spec.Path),
			Hint: "import CUE's own packages, or packages of the module that cue.mod/module.cue beside the declarations names; nothing is fetched"}
		if isStandard(imported) {
			continue
		}
		found, files := r.world.find(dir, imported)
		switch {
		case found != "" && (found == key || r.busy[found]):
			d.Summary, d.Hint = fmt.Sprintf("import %q leads back to the package that imports it", imported), "move what both need into a third package"
		case len(files) == 0:
			d.Summary = fmt.Sprintf("package %q is not among the files", imported)
			r.missing[spotOf(spec.Path.Pos())] = true
			if strings.HasPrefix(imported, ownPackages) {
				d.Hint = "run flexgw schema export --format cue --dir cue.mod/pkg in the folder of the module"
			}
		default:
			r.imported[spec] = found
			r.load(found, sourceFiles(files))
			continue
		}
		r.ds = append(r.ds, d)
	}
}

// errors reports every error of the evaluator once.
func (r *cueRun) errors(err error) {
	all := withoutOtherBranches(errors.Errors(err))
	seen := map[string]bool{}
	from := len(r.ds)
	var paths []string // of those that are reported
	for _, e := range all {
		message := e.Error()
		if r.fromCut(e) {
			continue
		}
		if strings.Contains(message, "errors in empty disjunction") && len(all) > 1 {
			continue // a headline: the reasons follow
		}
		code := diag.Code("cue/conflict")
		hint := "the values that meet here must agree"
		switch {
		case strings.Contains(message, "imported and not used"):
			code, hint = "cue/import", "remove the import"
		case strings.Contains(message, "builtin package"), strings.Contains(message, "import failed"), strings.Contains(message, "imported but not defined"):
			code, hint = "cue/import", "check the path of the import"
		case strings.Contains(message, "reference") && strings.Contains(message, "not found"):
			code, hint = "cue/reference", "define it, or check its spelling"
		case strings.Contains(message, "undefined field"):
			code, hint = "cue/reference", "check the spelling of the field"
		case strings.Contains(message, "field not allowed"):
			hint = "remove the field, or check its spelling: the definition is closed"
		}
		d := r.diagnostic(e, code)
		d.Hint = hint
		id := d.Subject.String() + string(code)
		if code == "cue/import" && seen[id] {
			continue // "not used" follows whatever was wrong with the import
		}
		if about := id + strings.Join(e.Path(), "."); seen[about] {
			continue // the branches of a disjunction, each with its own reason
		} else {
			seen[about] = true
		}
		seen[id] = true
		r.ds, paths = append(r.ds, d), append(paths, strings.Join(e.Path(), "."))
	}
	r.ds = append(r.ds[:from], once(r.ds[from:], paths)...)
}

// once tells one mistake once that a comprehension makes in several values: the same is wrong, at the same places.
func once(ds diag.List, paths []string) diag.List {
	const few = 3
	tail := func(i int) string { return strings.TrimPrefix(ds[i].Summary, paths[i]+": ") }
	var out diag.List
	done := make([]bool, len(ds))
	for i, d := range ds {
		if done[i] {
			continue
		}
		same := []string{paths[i]}
		for j := i + 1; j < len(ds); j++ {
			if !done[j] && paths[j] != "" && ds[j].Subject == d.Subject && ds[j].Code == d.Code && tail(j) == tail(i) && slices.Equal(ds[j].Related, d.Related) {
				done[j], same = true, append(same, paths[j])
			}
		}
		if n := len(same); n > few {
			d.Summary = fmt.Sprintf("%s and %d more: %s", strings.Join(same[:few], ", "), n-few, tail(i))
		} else if n > 1 {
			d.Summary = fmt.Sprintf("%s and %s: %s", strings.Join(same[:n-1], ", "), same[n-1], tail(i))
		}
		out = append(out, d)
	}
	return out
}

// withoutOtherBranches leaves out why a value is not of a branch of a disjunction that is of another type, where another branch says
// more: of a number that is too small for one branch, and no text for the other, the bound is what its writer wants to know.
func withoutOtherBranches(all []errors.Error) []errors.Error {
	headline := func(e errors.Error) bool { return strings.Contains(e.Error(), "errors in empty disjunction") }
	mismatch := func(e errors.Error) bool { return strings.Contains(e.Error(), "mismatched types") }
	path := func(e errors.Error) string { return strings.Join(e.Path(), ".") }
	said := map[string]bool{}
	for _, e := range all {
		if !headline(e) && !mismatch(e) {
			said[path(e)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(e errors.Error) bool { return mismatch(e) && said[path(e)] })
}

// diagnostic chooses the place of an error: the first value in a file of the package that took part, outside its
// definitions if there is one, else in any file that we know, else the key that the error's path names.
func (r *cueRun) diagnostic(e errors.Error, code diag.Code) diag.Diagnostic {
	d := diag.Diagnostic{Severity: diag.Error, Code: code, Summary: said(e.Error())}
	positions := slices.DeleteFunc(append(slices.Clone(e.InputPositions()), e.Position()), func(p token.Pos) bool {
		return !p.IsValid() || r.cursors[p.Filename()] == nil
	})
	at := slices.IndexFunc(positions, r.users)
	if at < 0 {
		at = slices.IndexFunc(positions, func(p token.Pos) bool { return r.own[p.Filename()] })
	}
	switch {
	case at >= 0:
		d.Subject = r.at(positions[at])
	case len(positions) > 0:
		at = 0
		d.Subject = r.at(positions[0])
	default:
		d.Subject = r.locate(e.Path())
	}
	r.discreet(&d, e)
	foreign := false
	for i, p := range positions {
		if i != at && !r.own[p.Filename()] { // of a package that was imported, the first is what the value does not meet
			if foreign {
				continue
			}
			foreign = true
		}
		o := r.at(p)
		if i != at && o != d.Subject && !slices.ContainsFunc(d.Related, func(x diag.Related) bool { return x.Subject == o }) {
			d.Related = append(d.Related, diag.Related{Subject: o, Summary: "also takes part"})
		}
	}
	return d
}

// discreet takes the values out of a message about a secret: the evaluator quotes them.
func (r *cueRun) discreet(d *diag.Diagnostic, e errors.Error) {
	p := e.Path()
	named := slices.ContainsFunc(p, diag.SecretName)
	if c := r.cursors[d.Subject.File]; !named && (c == nil || !diag.SecretAt(c.src, int(d.Subject.Start.Offset))) {
		return
	}
	if before, _, ok := strings.Cut(d.Summary, ", found "); ok && len(p) == 0 {
		d.Summary = before + ", found something else"
		return
	}
	what := "this value is refused"
	for _, known := range []string{"conflicting values", "incomplete value", "invalid value", "field not allowed", "undefined field", "not closed", "not terminated"} {
		if strings.Contains(d.Summary, known) {
			what = known
			break
		}
	}
	d.Summary = what
	if len(p) > 0 {
		d.Summary = strings.Join(p, ".") + ": " + what
	}
}

// openBracket is the offset of the bracket that a file leaves open, and the one that would close it; -1: none. A bracket that
// is closed by one further left than its own line was meant to be closed before.
func openBracket(src []byte) (at int, bracket string) {
	type opened struct{ at, indent int }
	var stack []opened
	suspect := -1
	indent, fresh := 0, true // of the line, and whether nothing but blanks came yet
	for i := 0; i < len(src); i++ {
		b := src[i]
		switch {
		case b == '\n':
			indent, fresh = 0, true
			continue
		case isBlank(b) && fresh:
			indent++
			continue
		case b == '/' && i+1 < len(src) && src[i+1] == '/':
			for i+1 < len(src) && src[i+1] != '\n' {
				i++
			}
		case b == '"' || b == '\'':
			i = afterString(src, i) - 1
		case b == '{' || b == '[' || b == '(':
			stack = append(stack, opened{i, indent})
		case (b == '}' || b == ']' || b == ')') && len(stack) > 0:
			top := stack[len(stack)-1]
			if fresh && indent < top.indent && suspect < 0 {
				suspect = top.at
			}
			stack = stack[:len(stack)-1]
		}
		fresh = false
	}
	if len(stack) == 0 {
		return -1, ""
	}
	if suspect < 0 {
		suspect = stack[len(stack)-1].at
	}
	return suspect, map[byte]string{'{': "}", '[': "]", '(': ")"}[src[suspect]]
}

// afterString is the offset after the CUE string that begins at from; an unclosed one ends with its line, or with the file.
func afterString(src []byte, from int) int {
	q := src[from : from+1]
	if long := bytes.Repeat(q, 3); bytes.HasPrefix(src[from:], long) {
		if i := bytes.Index(src[from+3:], long); i >= 0 {
			return from + 3 + i + 3
		}
		return len(src)
	}
	for i := from + 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case q[0]:
			return i + 1
		case '\n':
			return i
		}
	}
	return len(src)
}

func said(s string) string {
	s = strings.TrimSuffix(diag.OneLine(s), ":")
	if r := []rune(s); len(r) > 300 {
		return string(r[:299]) + "…"
	}
	return s
}

// says reports whether a value has a field, and another one or what can only be a slip for it.
func says(v cue.Value, name, other string) bool {
	if !v.LookupPath(cue.MakePath(cue.Str(name))).Exists() {
		return false
	}
	if v.LookupPath(cue.MakePath(cue.Str(other))).Exists() {
		return true
	}
	fields, err := v.Fields()
	for err == nil && fields.Next() {
		if sel := fields.Selector(); sel.LabelType() == cue.StringLabel && diag.Nearest(sel.Unquoted(), []string{other}) == other {
			return true
		}
	}
	return false
}

// declarations calls found for each value that has apiVersion and kind, one of them misspelt perhaps, with its range and that of its key.
func (r *cueRun) declarations(v cue.Value, nodes []ast.Node, where, key diag.Range, depth int, found func(v cue.Value, nodes []ast.Node, where, key diag.Range)) {
	if depth > MaxDepth {
		return
	}
	v, _ = v.Default()
	if len(nodes) > 0 && depth > 0 {
		where = r.nodeRange(nodes[0])
	}
	nodes = r.flatten(nodes, v)
	if v.IncompleteKind() == cue.ListKind {
		items, err := v.List()
		for i := 0; err == nil && items.Next(); i++ {
			r.declarations(items.Value(), r.items(nodes, i), where, diag.Range{}, depth+1, found)
		}
		return
	}
	if says(v, "apiVersion", "kind") || says(v, "kind", "apiVersion") {
		found(v, nodes, where, key)
		return
	}
	fields, err := v.Fields()
	for err == nil && fields.Next() {
		if sel := fields.Selector(); sel.LabelType() != cue.StringLabel { // of a list that holds an error
			r.declarations(fields.Value(), r.items(nodes, sel.Index()), where, diag.Range{}, depth+1, found)
			continue
		}
		name := fields.Selector().Unquoted()
		key, next := r.fields(nodes, name)
		r.declarations(fields.Value(), next, cmp.Or(key, where), key, depth+1, found)
	}
}
