package require

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// LoadOptions are the parameters of Load.
type LoadOptions struct {
	Beside   []source.File          // CUE files that rules may import
	Reserved func(area string) bool // areas of codes that are not the organisation's
	Budget   Budget                 // for the evaluation of one package
}

// Load reads files of rules. What is wrong with them is said at its place; the rules that are right count.
func Load(files []source.File, o LoadOptions) (*Rules, diag.List) {
	out := &Rules{}
	var ds diag.List
	for _, f := range files {
		if strings.HasSuffix(f.Name, "_tool.cue") || strings.HasSuffix(f.Name, "_test.cue") {
			ds = append(ds, bad(diag.Range{File: f.Name}, "this file is for cue's own tools by its name, so it has no rules", "give it another name"))
		}
	}
	for _, p := range syntax.CUEPackages(files, o.Beside) {
		l := &loader{options: o, pack: &pack{cue: p}}
		more, late := within(o.Budget, l.load)
		if late {
			ds = append(ds, bad(diag.Range{File: p.Files()[0].Name}, fmt.Sprintf("these rules are not evaluated after %s", o.Budget.Words), "look for a comprehension over very many values, or a recursion that grows"))
			continue
		}
		ds = append(ds, more...)
		ds = append(ds, out.add(l)...)
	}
	return out, ds.Sort()
}

// Imports reports whether a file of rules needs others beside it (LoadOptions).
func Imports(f source.File) bool { return syntax.ImportsOthers(f) }

// add takes over the rules of a package.
func (r *Rules) add(l *loader) diag.List {
	var ds diag.List
	for _, x := range l.rules {
		if other, ok := r.Find(x.Code); ok {
			d := bad(x.At, fmt.Sprintf("rule %q is declared twice", x.Code), "rename or remove one of them")
			d.Related = []diag.Related{{Subject: other.At, Summary: "declared here first"}}
			ds = append(ds, d)
			continue
		}
		x.index, x.pack = len(r.rules), len(r.packages)
		r.rules = append(r.rules, x)
	}
	r.packages = append(r.packages, l.pack)
	return ds
}

// atHand is what every package of rules has beside its own files: the object that a rule is asked about.
const atHand = "object: _"

// loader reads the rules of one package.
type loader struct {
	options LoadOptions
	pack    *pack
	inst    *syntax.CUEInstance
	rules   []*rule
	broken  map[string]bool   // codes whose rules CUE refuses
	shared  bool              // what every rule may refer to speaks of the object at hand
	own     map[string]*spine // by code: what the constraints look at in it
	twist   map[string]bool   // by code: they do not show all that they look at
	tangled bool              // what every rule may refer to does not
	others  bool              // something refers to other rules
	meant   map[string]bool   // parts that a misspelt one was meant to be, as "code part"
	ds      diag.List
}

func (l *loader) load() (ds diag.List) {
	defer func() { // the CUE library panics on some input
		if recover() != nil {
			l.rules, ds = nil, diag.List{bad(diag.Range{File: l.pack.cue.Files()[0].Name}, "these rules make the CUE evaluator fail", "simplify them, and tell us about it")}
		}
	}()
	inst, found := l.pack.cue.Load(atHand)
	if inst == nil {
		return recoded(found)
	}
	l.inst, l.broken, l.meant = inst, map[string]bool{}, map[string]bool{}
	l.speaks()
	l.patterns()
	root := cuecontext.New().BuildInstance(inst.Instance)
	l.evaluated(root)
	require := root.LookupPath(cue.ParsePath("require"))
	fields, err := require.Fields()
	switch {
	case !require.Exists() && len(l.ds) > 0: // whatever is wrong may hide it
	case !require.Exists():
		l.noRules(root)
	case err != nil && len(l.ds) == 0:
		l.report(l.inst.Locate("require"), "require is no struct of rules", `write require: "area/slug": {kind: …, message: …, that: …}`)
	case err == nil:
		for fields.Next() {
			l.rule(fields.Selector().Unquoted(), fields.Value())
		}
	}
	return l.ds
}

// recoded gives what CUE says of a file the code of rules.
func recoded(ds diag.List) diag.List {
	for i := range ds {
		if !strings.HasPrefix(string(ds[i].Code), "source/") {
			ds[i].Code = "project/bad-rule"
		}
	}
	return ds
}

func (l *loader) report(at diag.Range, summary, hint string) {
	l.ds = append(l.ds, bad(at, summary, hint))
}

// noRules says that a package requires nothing.
func (l *loader) noRules(root cue.Value) {
	at, hint := diag.Range{File: l.pack.cue.Files()[0].Name}, `write require: "area/slug": {kind: …, message: …, that: …}`
	var names []string
	for f, err := root.Fields(); err == nil && f.Next(); {
		names = append(names, f.Selector().Unquoted())
	}
	for _, name := range names {
		if diag.Nearest(name, []string{"require"}) != "" {
			at, hint = l.inst.Locate(name), `did you mean "require"?`
		}
	}
	l.report(at, "there is no field \"require\", so these are no rules", hint)
}

// evaluated reports what CUE refuses in the package, and notes the rules that are concerned.
func (l *loader) evaluated(root cue.Value) {
	err := root.Validate()
	if err == nil {
		return
	}
	for _, e := range errors.Errors(err) {
		if p := plain(e.Path()); len(p) > 1 && p[0] == "require" {
			l.broken[p[1]] = true
		}
	}
	found := recoded(l.inst.Errors(err))
	for i, d := range found {
		rest, ok := strings.CutPrefix(d.Summary, "require.")
		if code, more, is := strings.Cut(rest, ".that"); ok && is {
			if name, err := literal.Unquote(code); err == nil {
				_, reason, _ := strings.Cut(more, ": ")
				found[i].Summary = fmt.Sprintf("rule %q cannot be evaluated: %s", name, reason)
				if slices.ContainsFunc([]string{"conflicting values", "out of bound", "empty disjunction", "explicit error", "not allowed"}, func(s string) bool { return strings.Contains(reason, s) }) {
					found[i].Summary = fmt.Sprintf("rule %q can never hold: %s", name, reason)
				}
			}
		}
	}
	l.ds = append(l.ds, found...)
}

// plain are the names of a path as CUE's errors have them, without quotes.
func plain(path []string) []string {
	out := slices.Clone(path)
	for i, p := range out {
		if s, err := literal.Unquote(p); err == nil && strings.HasPrefix(p, `"`) {
			out[i] = s
		}
	}
	return out
}

// speaks finds out which constraints depend on the object at hand, and what of it they look at.
func (l *loader) speaks() {
	l.own, l.twist = map[string]*spine{}, map[string]bool{}
	for _, file := range l.inst.Files {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.Field)
			switch name := label(decl); {
			case ok && name == "require":
				l.speaksRules(f.Value)
			case ok && name == "object":
				l.shares(f.Value)
			default:
				l.shares(decl)
			}
		}
	}
	l.imported(l.inst.Instance, map[*build.Instance]bool{})
	for _, f := range slices.Concat(l.pack.cue.Files(), l.options.Beside) {
		b, err := f.Bytes()
		l.pack.linked = l.pack.linked || err == nil && bytes.Contains(b, []byte("linked"))
		l.pack.config = l.pack.config || err == nil && bytes.Contains(b, []byte("config"))
	}
}

// shares looks at what any rule may refer to.
func (l *loader) shares(n ast.Node) {
	l.shared = l.shared || mentions(n)
	l.others = l.others || refers(n, "require")
	l.tangled = l.tangled || twisted(n)
}

// imported looks at the packages that rules import.
func (l *loader) imported(inst *build.Instance, seen map[*build.Instance]bool) {
	for _, i := range inst.Imports {
		if seen[i] {
			continue
		}
		seen[i] = true
		for _, f := range i.Files {
			for _, decl := range f.Decls {
				l.tangled = l.tangled || twisted(decl)
			}
		}
		l.imported(i, seen)
	}
}

func (l *loader) speaksRules(rules ast.Expr) {
	s, ok := rules.(*ast.StructLit)
	if !ok {
		l.shares(rules)
		return
	}
	for _, decl := range s.Elts {
		f, isField := decl.(*ast.Field)
		code := label(decl)
		if !isField || code == "" {
			l.shares(decl)
			continue
		}
		l.others = l.others || refers(f.Value, "require")
		parts := []ast.Decl{&ast.EmbedDecl{Expr: f.Value}}
		if fields, ok := f.Value.(*ast.StructLit); ok {
			parts = fields.Elts
		}
		for _, part := range parts {
			if slices.Contains([]string{"message", "hint", "page"}, label(part)) {
				continue
			}
			if mentions(part) {
				l.own[code] = union(l.own[code], uses(part))
			}
			l.twist[code] = l.twist[code] || twisted(part)
		}
	}
}

// refersOn reports whether something refers to what was declared elsewhere, beside the object at hand.
func refersOn(n ast.Node) bool {
	found := false
	ast.Walk(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Node != nil && id.Name != "object" {
			_, imported := id.Node.(*ast.ImportSpec)
			found = found || !imported
		}
		return !found
	}, nil)
	return found
}

// label is the name of a field; "" if it has none, or a computed one.
func label(decl ast.Decl) string {
	f, ok := decl.(*ast.Field)
	if !ok {
		return ""
	}
	name, _, err := ast.LabelName(f.Label)
	if err != nil {
		return ""
	}
	return name
}

// mentions reports whether something speaks of the object at hand, or of other rules, which may.
func mentions(n ast.Node) bool { return refers(n, "object") || refers(n, "require") }

func refers(n ast.Node, name string) bool {
	found := false
	ast.Walk(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			found = true
		}
		return !found
	}, nil)
	return found
}

// patterns judges regular expressions: CUE looks at them when it meets the first text only.
func (l *loader) patterns() {
	for _, file := range l.inst.Files {
		ast.Walk(file, func(n ast.Node) bool {
			x, ok := n.(*ast.UnaryExpr)
			if !ok || x.Op != token.MAT && x.Op != token.NMAT {
				return true
			}
			lit, ok := x.X.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if s, err := literal.Unquote(lit.Value); err == nil {
				if _, err := regexp.Compile(s); err != nil {
					l.report(l.inst.Range(lit), fmt.Sprintf("this pattern cannot be used: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: ")), "write a regular expression of RE2")
				}
			}
			return true
		}, nil)
	}
}

// parts are the fields of a rule.
var parts = []string{"message", "page", "hint", "severity", "kind", "where", "that"}

// isCode reports whether a text is area/slug.
func isCode(s string) bool {
	area, slug, _ := strings.Cut(s, "/")
	for i, part := range []string{area, slug} {
		if part == "" || part[0] == '-' || i == 0 && part[0] >= '0' && part[0] <= '9' ||
			strings.IndexFunc(part, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }) >= 0 {
			return false
		}
	}
	return true
}

// rule reads one rule, if it can be asked.
func (l *loader) rule(code string, v cue.Value) {
	before := len(l.ds)
	at := l.at(code)
	if !isCode(code) {
		l.report(at, fmt.Sprintf("%q is no code of a rule", code), `write area/slug in lower case, such as "acme/team-label"`)
		return
	}
	if area, _, _ := strings.Cut(code, "/"); l.options.Reserved != nil && l.options.Reserved(area) {
		l.report(at, fmt.Sprintf("code %q clashes with flexgw's own: %s/ is taken", code, area), "choose the organisation's name for the area")
		return
	}
	if l.broken[code] {
		return
	}
	fields, err := v.Fields()
	if err != nil {
		l.report(at, fmt.Sprintf("rule %q is no struct", code), "write kind, message and that")
		return
	}
	for fields.Next() {
		if name := fields.Selector().Unquoted(); !slices.Contains(parts, name) {
			hint := "a rule has " + strings.Join(parts, ", ")
			if to := diag.Nearest(name, parts); to != "" {
				hint = fmt.Sprintf("did you mean %q?", to)
				l.meant[code+" "+to] = true
			}
			l.report(l.at(code, name), fmt.Sprintf("unknown field %q in rule %q", name, code), hint)
		}
	}
	r := &rule{Rule: Rule{Code: diag.Code(code), At: at, Severity: diag.Error}}
	l.dependence(r)
	l.texts(r, v)
	l.kind(r, v)
	for _, name := range []string{"where", "that"} {
		if c := v.LookupPath(cue.ParsePath(name)); c.Exists() {
			l.known(r, name, c)
			r.spine = union(r.spine, spineOf(c, 0))
		} else if name == "that" {
			l.lacks(r, name, "write what must hold of an object")
		}
	}
	if len(l.ds) == before {
		l.rules = append(l.rules, r)
	}
}

// lacks reports a part that a rule does not have, unless another one was meant to be it.
func (l *loader) lacks(r *rule, part, hint string) {
	if !l.meant[string(r.Code)+" "+part] {
		l.report(r.At, fmt.Sprintf("rule %q has no %q", r.Code, part), hint)
	}
}

// at is the place of a part of a rule.
func (l *loader) at(code string, path ...string) diag.Range {
	key, _ := l.inst.Fields(append([]string{"require", code}, path...)...)
	if key.IsZero() {
		return l.inst.Locate(append([]string{"require", code}, path...)...)
	}
	return key
}

// valueAt is the place of the value of a part of a rule.
func (l *loader) valueAt(code, name string) diag.Range {
	if _, values := l.inst.Fields("require", code, name); len(values) > 0 {
		return l.inst.Range(values[0])
	}
	return l.at(code, name)
}

// dependence finds out what of a rule depends on the object at hand: all else is evaluated once.
func (l *loader) dependence(r *rule) {
	code := string(r.Code)
	_, values := l.inst.Fields("require", code)
	if len(values) == 0 { // CUE made it
		r.dependent = l.shared || slices.ContainsFunc(l.inst.Files, func(f *ast.File) bool { return mentions(f) })
		r.speaks, r.spine, r.said = r.dependent, everything(), everything()
		return
	}
	r.spine = l.own[code]
	r.dependent, r.speaks = l.shared || r.spine != nil, l.shared
	for _, name := range []string{"message", "hint"} {
		_, texts := l.inst.Fields("require", code, name)
		for _, x := range texts {
			r.speaks, r.said = r.speaks || mentions(x), union(r.said, uses(x))
			if refersOn(x) {
				r.said = everything()
			}
		}
	}
	if l.shared || l.tangled || l.twist[code] {
		r.spine = everything()
	}
	if l.shared || l.twist[code] || r.said == nil {
		r.said = everything()
	}
	r.alone = (r.dependent || r.speaks) && !l.others
}

// texts reads what a rule says of itself.
func (l *loader) texts(r *rule, v cue.Value) {
	for _, f := range []struct {
		name string
		to   *string
	}{{"message", &r.Message}, {"hint", &r.Hint}, {"page", &r.Page}} {
		x := v.LookupPath(cue.ParsePath(f.name))
		switch {
		case !x.Exists():
			if f.name == "message" {
				l.lacks(r, f.name, "say what is wrong when it is not met")
			}
			continue
		case x.IncompleteKind() != cue.StringKind && x.IncompleteKind() != cue.BottomKind: // of the object at hand nothing is known yet
			l.report(l.valueAt(string(r.Code), f.name), fmt.Sprintf("%s is %s, expected a text", f.name, x.IncompleteKind()), "put it in quotes")
			continue
		}
		s, err := x.String()
		if err != nil {
			r.speaks = true // also where it refers to something that does
			s = l.template(string(r.Code), f.name)
		}
		if *f.to = strings.TrimSpace(s); *f.to == "" {
			l.report(l.valueAt(string(r.Code), f.name), f.name+" is empty", map[string]string{"message": "say what is wrong when the rule is not met", "hint": "say what to do, or leave it out", "page": "write https://…, or leave it out"}[f.name])
		}
		if u, bad := url.Parse(s); f.name == "page" && (err != nil || bad != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			l.report(l.valueAt(string(r.Code), f.name), fmt.Sprintf("page %s is no address of a page", strconv.Quote(*f.to)), "write https://…")
		}
	}
	if x := v.LookupPath(cue.ParsePath("severity")); x.Exists() {
		s, err := x.String()
		i := slices.Index([]string{"note", "warning", "error"}, s)
		if err != nil || i < 0 {
			l.report(l.valueAt(string(r.Code), "severity"), fmt.Sprintf("severity is %s, expected error, warning or note", shown(x)), "write one of these, in quotes")
			return
		}
		r.Severity = diag.Severity(i)
	}
}

// template is a text with expressions in it, as it is written.
func (l *loader) template(code, name string) string {
	_, values := l.inst.Fields("require", code, name)
	if len(values) == 0 {
		return fmt.Sprintf("rule %q is not met", code)
	}
	s := l.inst.Text(values[0])
	s = strings.TrimLeft(s, "#")
	for _, q := range []string{`"""`, `"`} {
		if inner, ok := strings.CutPrefix(strings.TrimRight(s, "#"), q); ok {
			return strings.TrimSpace(strings.TrimSuffix(inner, q))
		}
	}
	return s
}

// shown is a value for a message.
func shown(v cue.Value) string {
	if s, err := v.String(); err == nil {
		return strconv.Quote(s)
	}
	return v.IncompleteKind().String()
}

func (l *loader) kind(r *rule, v cue.Value) {
	x := v.LookupPath(cue.ParsePath("kind"))
	if !x.Exists() {
		l.lacks(r, "kind", "say what it is about: "+strings.Join(kinds, ", "))
		return
	}
	s, err := x.String()
	if err != nil || !slices.Contains(kinds, s) {
		hint := "write one of " + strings.Join(kinds, ", ")
		if to := diag.Nearest(s, kinds); to != "" {
			hint = fmt.Sprintf("did you mean %q?", to)
		}
		l.report(l.valueAt(string(r.Code), "kind"), fmt.Sprintf("unknown kind %s", shown(x)), hint)
		return
	}
	r.Kind = s
}
