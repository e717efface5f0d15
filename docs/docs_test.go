package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/docs"
)

// asFlexgw makes the test's binary the command line.
const asFlexgw = "DOCS_TEST_AS_FLEXGW"

func TestMain(m *testing.M) {
	if os.Getenv(asFlexgw) != "" {
		os.Exit(cli.Main(os.Args, cli.System()))
	}
	os.Exit(m.Run())
}

// areas are the areas of codes that are no policy's.
var areas = []string{"source", "yaml", "json", "cue", "shape", "decode", "link", "lint", "extension", "render", "expr", "dataweave", "envoy", "probe", "project", "sops", "registration", "egress"}

// sourceCodes are the codes that the module's code can report. A code is one literal, wherever it stands, or is made of
// "area/" and a parameter of the function around it, whose literals at the calls count then. A call whose argument cannot be
// told is an error: nothing stays unseen.
func sourceCodes(root string, areas []string) ([]string, error) {
	c := &collector{whole: regexp.MustCompile(`^(` + strings.Join(areas, "|") + `)/[a-z0-9-]+$`), areas: areas, found: map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || slices.Contains([]string{"testdata", "tools", "e2e", "docs"}, d.Name())):
			return filepath.SkipDir
		case !d.IsDir():
			return nil
		}
		return c.folder(path)
	})
	return slices.Sorted(maps.Keys(c.found)), err
}

type collector struct {
	whole *regexp.Regexp
	areas []string
	found map[string]bool
}

func (c *collector) folder(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		files = append(files, f)
	}
	makers := map[string]maker{}
	for _, f := range files {
		c.literals(f)
		c.makers(f, makers)
	}
	for more := true; more; { // functions that pass their own parameter on make codes too
		more = false
		for _, f := range files {
			m, err := c.calls(f, makers)
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			more = more || m
		}
	}
	return nil
}

// literals collects codes that stand in the source as they are.
func (c *collector) literals(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := literal(n); ok && c.whole.MatchString(s) {
			c.found[s] = true
		}
		return true
	})
}

func literal(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// maker is a function whose parameter is the slug of a code.
type maker struct {
	area  string
	param int
}

// function is a declared function, or a literal that a variable of its name holds.
type function struct {
	name   string
	params []string
	body   *ast.BlockStmt
}

func functions(f *ast.File) []function {
	var found []function
	add := func(name string, t *ast.FuncType, body *ast.BlockStmt) {
		fn := function{name: name, body: body}
		for _, p := range t.Params.List {
			for _, n := range p.Names {
				fn.params = append(fn.params, n.Name)
			}
		}
		if body != nil {
			found = append(found, fn)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(n.Name.Name, n.Type, n.Body)
		case *ast.AssignStmt:
			for i, r := range n.Rhs {
				lit, ok := r.(*ast.FuncLit)
				if ok && len(n.Lhs) == len(n.Rhs) {
					add(exprName(n.Lhs[i]), lit.Type, lit.Body)
				}
			}
		}
		return true
	})
	return found
}

// makers finds "area/" + parameter.
func (c *collector) makers(f *ast.File, found map[string]maker) {
	for _, fn := range functions(f) {
		ast.Inspect(fn.body, func(n ast.Node) bool {
			sum, ok := n.(*ast.BinaryExpr)
			if !ok || sum.Op != token.ADD {
				return true
			}
			area, ok := literal(sum.X)
			id, isName := sum.Y.(*ast.Ident)
			if ok && isName && slices.Contains(c.areas, strings.TrimSuffix(area, "/")) && strings.HasSuffix(area, "/") {
				if i := slices.Index(fn.params, id.Name); i >= 0 {
					found[fn.name] = maker{area, i}
				}
			}
			return true
		})
	}
}

// calls collects the slugs that makers are called with, and reports whether it found another maker.
func (c *collector) calls(f *ast.File, makers map[string]maker) (more bool, err error) {
	for _, fn := range functions(f) {
		fn.walk(func(n ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return
			}
			m, ok := makers[calledName(call)]
			if !ok || m.param >= len(call.Args) {
				return
			}
			slugs, known := fn.texts(call.Args[m.param])
			for _, slug := range slugs {
				c.found[m.area+slug] = true
			}
			if known {
				return
			}
			id, _ := call.Args[m.param].(*ast.Ident)
			if id == nil || !slices.Contains(fn.params, id.Name) {
				err = fmt.Errorf("%s calls %s with a slug that cannot be told", fn.name, calledName(call))
			} else if _, known := makers[fn.name]; !known {
				makers[fn.name], more = maker{m.area, slices.Index(fn.params, id.Name)}, true
			}
		})
	}
	return more, err
}

// walk visits the body without the functions in it that are functions of their own.
func (fn function) walk(visit func(ast.Node)) {
	own := map[ast.Node]bool{}
	ast.Inspect(fn.body, func(n ast.Node) bool {
		if own[n] {
			return false
		}
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
			for _, r := range a.Rhs {
				if lit, ok := r.(*ast.FuncLit); ok {
					own[lit] = true
				}
			}
		}
		if n != nil {
			visit(n)
		}
		return true
	})
}

// texts are the literals that an argument can be: itself, or what its variable is set to.
func (fn function) texts(arg ast.Expr) (found []string, known bool) {
	if s, ok := literal(arg); ok {
		return []string{s}, true
	}
	id, ok := arg.(*ast.Ident)
	if !ok {
		return nil, false
	}
	fn.walk(func(n ast.Node) {
		a, ok := n.(*ast.AssignStmt)
		for i := 0; ok && len(a.Lhs) == len(a.Rhs) && i < len(a.Lhs); i++ {
			name, isName := a.Lhs[i].(*ast.Ident)
			if s, isText := literal(a.Rhs[i]); isName && isText && name.Name == id.Name {
				found = append(found, s)
			}
		}
	})
	return found, len(found) > 0
}

func calledName(call *ast.CallExpr) string { return exprName(call.Fun) }

// exprName is the last name of x or y.x, else "".
func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// TestEveryCodeHasAPage holds the pages and the code to each other. The codes of a policy are explained on its own page,
// which policytest sees to.
func TestEveryCodeHasAPage(t *testing.T) {
	t.Parallel()
	want, err := sourceCodes("..", areas)
	if err != nil {
		t.Fatal(err)
	}
	codes := docs.Codes()
	for _, c := range want {
		if !slices.Contains(codes, c) {
			t.Errorf("there is no page docs/diagnostics/%s.md", c)
		}
	}
	for _, c := range codes {
		path := "diagnostics/" + c + ".md"
		if !slices.Contains(want, c) {
			t.Errorf("%s is about a code that nothing reports", path)
		}
		if text, ok := docs.Diagnostic(c); !ok || text == "" || strings.Contains(text, "```") {
			t.Errorf("%s is empty, or not as a terminal shows it:\n%s", path, text)
		}
		if page, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(page), "# `"+c+"`\n\n") {
			t.Errorf("%s is not headed by its code: %v", path, err)
		}
	}
}

// TestProseFitsATerminal looks at all lines but those of examples.
func TestProseFitsATerminal(t *testing.T) {
	t.Parallel()
	for _, code := range docs.Codes() {
		text, _ := docs.Diagnostic(code)
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "    ") && utf8.RuneCountInString(line) > 97 {
				t.Errorf("%s: a line of %d characters: %s", code, utf8.RuneCountInString(line), line)
			}
		}
	}
}

// TestExamplesShowTheirCode wants the answers of a page's examples to be about its code.
func TestExamplesShowTheirCode(t *testing.T) {
	t.Parallel()
	examples := 0
	for _, code := range docs.Codes() {
		page, err := os.ReadFile("diagnostics/" + code + ".md")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(page), "\n")
		blocks, _ := fences(lines)
		for i, f := range blocks {
			if !slices.Contains([]string{markNote, markWarning, markError}, f.mark) {
				continue
			}
			examples++
			answer := answerOf(lines, blocks, i)
			if !strings.Contains(answer, "["+code+"]\n") && !goodButForSupport(answer) {
				t.Errorf("an example of %s shows something else:\n%s", code, answer)
			}
		}
	}
	if examples < 20 {
		t.Errorf("%d examples only: are they recognised?", examples)
	}
}

// answerOf is the text block behind a marked one.
func answerOf(lines []string, blocks []fence, i int) string {
	if i+1 == len(blocks) {
		return ""
	}
	return strings.Join(lines[blocks[i+1].from:blocks[i+1].to], "")
}

var reported = regexp.MustCompile(`(?m) \[([a-z]+/[a-z0-9-]+)\]$`)

// goodButForSupport reports whether an answer says no more of an example than that flexgw does not do yet what it asks for.
func goodButForSupport(answer string) bool {
	codes := reported.FindAllStringSubmatch(answer, -1)
	return len(codes) > 0 && !slices.ContainsFunc(codes, func(m []string) bool { return m[1] != "link/not-supported-yet" })
}

const goodEnough = "good enough" // the mark of an example that is good, but for support

var severity = regexp.MustCompile(`(?i)\b(error|warning|note)s?\b`)

// missingParts are the parts that a page lacks: what a code means, why it is reported, a bad and a good example, the source
// of the rule. An example is a fenced block with its mark, or words where no block can show it.
func missingParts(page string) []string {
	lines := strings.SplitAfter(page, "\n")
	blocks, _ := fences(lines)
	var prose strings.Builder
	marks := map[string]bool{}
	at := 0
	for i, f := range blocks {
		prose.WriteString(strings.Join(lines[at:f.from-1], ""))
		at = f.to + 1
		if f.mark == markWarning && goodButForSupport(answerOf(lines, blocks, i)) {
			f.mark = goodEnough
		}
		marks[f.mark] = true
	}
	prose.WriteString(strings.Join(lines[min(at, len(lines)):], ""))
	text := prose.String()
	var missing []string
	for _, part := range []struct {
		name string
		in   bool
	}{
		{"a first paragraph that says what it means", regexp.MustCompile("\\A# `[^\n]*\n\n[^*\n]").MatchString(text)},
		{"error, warning or note, before the reason", severity.MatchString(strings.SplitN(text, "**Why.**", 2)[0])},
		{"**Why.**", strings.Contains(text, "\n\n**Why.** ")},
		{"a bad example", marks[markError] || marks[markWarning] || marks[markNote] || marks[goodEnough] && strings.HasPrefix(page, "# `link/not-supported-yet`") || strings.Contains(text, "Bad: ") || strings.Contains(text, "Bad:\n")},
		{"a good example", marks[markOK] || marks[goodEnough] || strings.Contains(text, "Good: ") || strings.Contains(text, "Good:\n")},
		{"Source: …", regexp.MustCompile(`\n\nSource: [^\n]+\n(?:[^\n]+\n)*\z`).MatchString(text)},
	} {
		if !part.in {
			missing = append(missing, part.name)
		}
	}
	return missing
}

func TestPagesHaveTheirParts(t *testing.T) {
	t.Parallel()
	for _, code := range docs.Codes() {
		page, err := os.ReadFile("diagnostics/" + code + ".md")
		if err != nil {
			t.Fatal(err)
		}
		if missing := missingParts(string(page)); len(missing) > 0 {
			t.Errorf("the page of %s lacks %s", code, strings.Join(missing, ", "))
		}
	}
}

// TestMissingParts shows that a page without one of its parts does not pass.
func TestMissingParts(t *testing.T) {
	t.Parallel()
	whole := "# `a/b`\n\nIt is wrong. An error.\n\n**Why.** Because.\n\n" + block("yaml flexgw:error", "x: 1\n") + "\n" + block("text", "x\n") +
		"\nMend it:\n\n" + block("yaml flexgw:ok", "x: 2\n") + "\nSource: RFC 1\n"
	words := "# `a/b`\n\nIt is wrong. A note.\n\n**Why.** Because.\n\nBad: this. Good: that.\n\nSource: RFC 1,\nsection 2\n"
	for name, c := range map[string]struct {
		page string
		want []string
	}{
		"whole":       {page: whole},
		"words":       {page: words},
		"no meaning":  {page: strings.Replace(words, "It is wrong. A note.\n\n", "", 1), want: []string{"a first paragraph that says what it means", "error, warning or note, before the reason"}},
		"no severity": {page: strings.Replace(words, " A note.", "", 1), want: []string{"error, warning or note, before the reason"}},
		"no why":      {page: strings.Replace(words, "**Why.** Because.\n\n", "", 1), want: []string{"**Why.**"}},
		"no bad":      {page: strings.Replace(whole, " flexgw:error", "", 1), want: []string{"a bad example"}},
		"no good":     {page: strings.Replace(whole, " flexgw:ok", " flexgw:part", 1), want: []string{"a good example"}},
		"support":     {page: strings.Replace(whole, block("yaml flexgw:ok", "x: 2\n"), block("yaml flexgw:warning", "x: 2\n")+block("text", "gateway.yaml:1:1: warning: x [link/not-supported-yet]\n"), 1)},
		"no support": {page: strings.Replace(whole, block("yaml flexgw:ok", "x: 2\n"), block("yaml flexgw:warning", "x: 2\n")+block("text", "gateway.yaml:1:1: warning: x [link/not-supported-yet]\ngateway.yaml:1:1: warning: x [a/b]\n"), 1),
			want: []string{"a good example"}},
		"no source":  {page: strings.Replace(words, "Source: ", "Sauce: ", 1), want: []string{"Source: …"}},
		"in a block": {page: "# `a/b`\n\nIt is wrong. An error.\n\n" + block("", "\n\n**Why.** Bad: Good:\n\nSource: x\n"), want: []string{"**Why.**", "a bad example", "a good example", "Source: …"}},
		"empty":      {want: []string{"a first paragraph that says what it means", "error, warning or note, before the reason", "**Why.**", "a bad example", "a good example", "Source: …"}},
	} {
		if got := missingParts(c.page); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestEveryHintSaysWhatToDo wants no message whose next step is to read a page: schema/step.go has that for codes that
// nobody thought of. The answers of all cases are looked through.
func TestEveryHintSaysWhatToDo(t *testing.T) {
	t.Parallel()
	pointer := regexp.MustCompile(`hint: flexgw explain \S+ says more`)
	cases := 0
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".txtar" && filepath.Ext(path) != ".md" {
			return err
		}
		cases++
		text, err := os.ReadFile(path)
		if m := pointer.Find(text); m != nil {
			t.Errorf("%s: %s", path, m)
		}
		return err
	})
	if err != nil || cases < 400 {
		t.Errorf("%d files, %v", cases, err)
	}
}

func TestDiagnostic(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"link/unknown-service": "orderz",
		"cors/bad-origin":      "", // the policy's own page has it
		"link/":                "",
		"link":                 "",
		"link/nonsense":        "",
		"nonsense/x":           "",
		"":                     "",
	} {
		text, ok := docs.Diagnostic(code)
		if ok != (want != "") || !strings.Contains(text, want) {
			t.Errorf("%q: %v, %q, want %q in it", code, ok, text, want)
		}
	}
}

// TestCodesAreFound shows that the collector sees what the source hides.
func TestCodesAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := `package x

// "link/comment" does not count.
func report(slug string) string { return "yaml/" + slug }
func fail(n int, slug string) { report(slug) }
func use() {
	_ = "link/literal"
	_ = "text about link/other things"
	report("plain")
	fail(1, "passed-on")
	complain := func(slug string) { fail(2, slug) }
	complain("by-closure")
	slug, n := "by-variable", 3
	if n > 2 {
		slug = "other"
	}
	report(slug)
}
`
	for name, text := range map[string]string{"a.go": src, "a_test.go": "package x\n\nvar _ = \"link/test\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := sourceCodes(dir, areas)
	want := []string{"link/literal", "yaml/by-closure", "yaml/by-variable", "yaml/other", "yaml/passed-on", "yaml/plain"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestUntoldCodesAreErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := `package x

func report(slug string) string { return "yaml/" + slug }
func use(m map[string]string) { report(m["x"]) }
`
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := sourceCodes(dir, areas); err == nil {
		t.Errorf("got %q without an error", got)
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)

var headline = regexp.MustCompile(`(?m)^#+ (.+)$`)

// anchors are what links to the headlines of a page end in.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range headline.FindAllStringSubmatch(page, -1) {
		found["#"+strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	return found
}

// TestLinksLeadSomewhere looks at the relative links of the pages.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob("decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(append(pages, decisions...), "diagnostics/README.md", "../README.md", "../CONTRIBUTING.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			seen++
			to := page
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if m[2] != "" {
				target, err := os.ReadFile(to)
				if err != nil || !anchors(string(target))[m[2]] {
					t.Errorf("%s links to %s%s, and there is no such headline (%v)", page, m[1], m[2], err)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d links only: are they recognised?", seen)
	}
}
