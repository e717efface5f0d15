package match

import (
	"cmp"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Path is the pattern of a route for what follows the base path.
type Path struct {
	pattern ir.Pattern
	*shape
}

// shape is what the text of a pattern alone decides. What is worked out of it is kept: it holds below any base path, whose
// own expression stands in front.
type shape struct {
	tree   *syntax.Regexp
	groups int
	below  [2]func() tail // without and with the base path alone
	whole  func() string  // with groups
	bare   func() bool
	slash  func() string // BareText

	mu       sync.Mutex
	variants map[[3]Join]variants
}

type tail struct {
	text string
	ok   bool
}

type variants struct {
	list []Variant
	ok   bool
}

func newShape(tree *syntax.Regexp) *shape {
	s := &shape{tree: tree, groups: tree.MaxCap(), variants: map[[3]Join]variants{}}
	for i := range s.below {
		s.below[i] = sync.OnceValue(func() tail { t, ok := below(tree, i > 0); return tail{t, ok} })
	}
	s.whole = sync.OnceValue(func() string { return printer{groups: true}.expr(tree).as(series) })
	s.bare = sync.OnceValue(func() bool { return bare(tree) })
	s.slash = sync.OnceValue(func() string { return slashText(tree) })
	return s
}

// ParsePath reads the path pattern of a route. A nil Path comes with a diagnostic; a Path may come with a warning.
func ParsePath(p ir.Pattern) (*Path, diag.List) {
	if p.IsZero() {
		p.Text = "/.*"
	}
	tree, l := parse(p, path)
	if tree == nil {
		return nil, l
	}
	x := &Path{p, newShape(tree)}
	if _, ok := x.Regex("", false); !ok {
		l = append(l, hopeless(p))
	}
	return x, l
}

// Everything reports whether the pattern matches all paths and forwards each as it is.
func (p *Path) Everything() bool { return everyPath(p.pattern) }

func everyPath(p ir.Pattern) bool {
	switch strings.TrimSuffix(strings.TrimPrefix(p.Text, "^"), "$") {
	case "", ".*", "(.*)", "(?:.*)", "/.*", "(/.*)", "(?:/.*)", "/?.*":
		return true
	}
	return false
}

// Groups counts the capture groups.
func (p *Path) Groups() int { return p.groups }

// CheckGroups refuses what an Envoy substitution cannot express.
func (p *Path) CheckGroups() diag.List {
	if p.groups <= maxGroups {
		return nil
	}
	return diag.List{{Severity: diag.Error, Code: "render/too-many-groups", Subject: p.pattern.Range,
		Summary: fmt.Sprintf("pattern %q has %d capture groups; Envoy forwards %d at most", p.pattern.Text, p.groups, maxGroups),
		Hint:    "write groups that need not be forwarded as (?:…), or split the rule"}}
}

// Bare reports whether the pattern matches "/", which is what the bare base path counts as.
func (p *Path) Bare() bool { return p.bare() }

// bare: nothing need follow the leading slash.
func bare(tree *syntax.Regexp) bool {
	d := afterSlash(tree)
	return d != nil && nullable(d)
}

// BareText is what the groups capture of "/".
func (p *Path) BareText() string { return p.slash() }

func slashText(tree *syntax.Regexp) string {
	re, err := regexp.Compile("^(?:" + (printer{groups: true}).expr(tree).text + ")$")
	if err != nil {
		return "/"
	}
	m := re.FindStringSubmatch("/")
	if len(m) == 0 {
		return ""
	}
	return strings.Join(m[1:], "")
}

// Regex matches whole paths: the base path and what the pattern allows behind it, and with bare the base path alone.
// A base path ends where a segment ends, whatever the pattern starts with. False: there is no such path.
func (p *Path) Regex(base string, bare bool) (string, bool) {
	i := 0
	if bare && base != "" {
		i = 1
	}
	t := p.below[i]()
	return Quote(base) + t.text, t.ok
}

// below is the expression for what follows a base path; with bare, nothing may follow it too.
func below(tree *syntax.Regexp, bare bool) (string, bool) {
	if !slashed(tree) || nullable(tree) {
		rest := afterSlash(tree)
		if rest == nil {
			return "", false
		}
		tree = concat(literal("/"), rest)
	}
	e := printer{}.expr(tree)
	if !bare {
		return e.as(series), true
	}
	return e.as(atom) + "?", true
}

// Rewrite matches the same paths and has the pattern's groups.
func (p *Path) Rewrite(base string) string {
	return "^" + Quote(base) + p.whole() + "$"
}

// Variant is a part of a pattern's paths: those of which the captured text begins in one way.
type Variant struct {
	Join  Join
	Regex string // whole paths, base path included
}

// Variants splits the paths of a pattern with groups by how the captured text begins; the first that matches decides. Ways
// that the caller treats alike are put together by alike. False: the pattern is too involved.
func (p *Path) Variants(base string, alike func(Join) Join) ([]Variant, bool) {
	key := [3]Join{alike(Nothing), alike(Slash), alike(Other)}
	p.mu.Lock()
	v, ok := p.variants[key]
	if !ok {
		v.list, v.ok = p.split(alike)
		p.shape.variants[key] = v
	}
	p.mu.Unlock()
	list := slices.Clone(v.list)
	quoted := Quote(base)
	for i := range list {
		list[i].Regex = quoted + list[i].Regex
	}
	return list, v.ok
}

// split is Variants below the root.
func (s *shape) split(alike func(Join) Join) ([]Variant, bool) {
	whole := s.below[0]()
	if !whole.ok {
		return nil, true
	}
	if j := outset(s.tree); j != 0 {
		return []Variant{{alike(j), whole.text}}, true
	}
	if list := s.optionalTail(whole.text, alike); list != nil {
		return list, true
	}
	a := newAutomaton(s.tree)
	if a.err {
		return nil, false
	}
	classes := map[Join]Join{} // how it is joined → all ways that are joined so
	joins := a.joins()
	if joins == 0 {
		return nil, true
	}
	for _, j := range []Join{Nothing, Slash, Other} {
		if joins&j != 0 {
			classes[alike(j)] |= j
		}
	}
	var list []Variant
	tooLong := 0
	for _, to := range []Join{Nothing, Slash, Other} {
		if classes[to] == 0 {
			continue
		}
		v := Variant{Join: to}
		if len(classes) > 1 {
			if e, ok := a.language(classes[to]); ok {
				v.Regex = e.as(series)
			} else {
				tooLong++
			}
		}
		list = append(list, v)
	}
	if tooLong > 1 {
		return nil, false
	}
	// The longest is tried last: by then the pattern itself will do.
	length := func(v Variant) int {
		if v.Regex == "" {
			return 1 << 30
		}
		return len(v.Regex)
	}
	slices.SortStableFunc(list, func(a, b Variant) int { return cmp.Compare(length(a), length(b)) })
	list[len(list)-1].Regex = whole.text
	return list, true
}

// optionalTail answers another usual case: a fixed text, then one group that is there or not, as in "/orders(/.*)?".
func (s *shape) optionalTail(whole string, alike func(Join) Join) []Variant {
	if s.tree.Op != syntax.OpConcat || len(s.tree.Sub) != 2 {
		return nil
	}
	head, tail := s.tree.Sub[0], s.tree.Sub[1]
	if head.Op != syntax.OpLiteral || !slashed(head) || tail.Op != syntax.OpQuest || tail.Sub[0].Op != syntax.OpCapture {
		return nil
	}
	j := outset(tail.Sub[0])
	switch nothing := alike(Nothing); {
	case j == 0:
		return nil
	case alike(j) == nothing:
		return []Variant{{nothing, whole}}
	default:
		return []Variant{{nothing, printer{}.expr(head).as(series)}, {alike(j), whole}}
	}
}

// TooInvolved reports a pattern that Variants gave up on.
func (p *Path) TooInvolved() diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Error, Code: "render/pattern-too-involved", Subject: p.pattern.Range,
		Summary: fmt.Sprintf("pattern %q: where its captured text starts with a slash is too much for one expression", p.pattern.Text),
		Hint:    "let the first group always start with the slash, as in /orders(/.*), or split the rule"}
}

// outset answers the usual case without an automaton: the first group takes part always, and always has text. 0: unknown.
func outset(tree *syntax.Regexp) Join {
	switch tree.Op {
	case syntax.OpCapture:
		switch {
		case nullable(tree.Sub[0]) || bounded(tree.Sub[0]):
		case slashed(tree.Sub[0]):
			return Slash
		case slashless(tree.Sub[0]):
			return Other
		}
	case syntax.OpConcat:
		for _, s := range tree.Sub {
			if s.MaxCap() > 0 {
				return outset(s)
			}
		}
	}
	return 0
}

// bounded reports whether \b or \B occur in re.
func bounded(re *syntax.Regexp) bool {
	return re.Op == syntax.OpWordBoundary || re.Op == syntax.OpNoWordBoundary || slices.ContainsFunc(re.Sub, bounded)
}

// slashless reports whether no text of re starts with a slash.
func slashless(re *syntax.Regexp) bool { return afterSlash(re) == nil }

func hopeless(p ir.Pattern) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Warning, Code: "render/path-never-matches", Subject: p.Range,
		Summary: fmt.Sprintf("pattern %q matches no path: what follows the base path starts with %q", p.Text, "/"),
		Hint:    "start the pattern with a slash, and leave the base path out of it"}
}
