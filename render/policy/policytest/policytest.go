// Package policytest checks that a policy is complete and runs its cases, so that a policy cannot be half-added.
//
// It renders no chain and starts no Envoy: what a binding asks for is compared, not what Envoy does with it (see e2e).
package policytest

import (
	"bytes"
	"encoding/json"
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
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// Run is the whole test of the policy whose folder is the working directory. It demands:
//
//   - a schema that is an object, closes all of its objects and describes every property;
//   - a page whose title is the policy's name, whose tables name exactly the schema's properties with their types and
//     defaults, and whose fenced examples behave as marked;
//   - cases testdata/*.txtar, at least one accepted and one refused. A case holds declarations (*.yaml, *.json, *.cue),
//     perhaps a file `env` of NAME=VALUE lines and files got/<purpose> that stand for what a policy.Need fetched; its answers
//     are want/diagnostics (as people see them, notes included) and want/effect.yaml, which shows what each binding of the
//     policy asks for;
//   - that every code in the folder's source appears in a case and on the page, and every property in a case;
//   - that every code of the page has a reason, a source, an example that shows it alone and one without problems (codes.md);
//   - that what it says of changes (Spec.Shifts) is nothing for equal configurations, and the opposite for a change back;
//   - that a change of any property of a policy that authenticates is told as one of who gets through, unless its schema says that it
//     decides nothing (`x-looser: never`);
//   - that a $VARIABLE which is not set excuses its own value alone, wherever in a case it stands: what the values that people
//     write in its place do not change is said all the same, and nothing that the right value would not bring about;
//   - that each effect is valid by Envoy's own rules and has the same bytes when asked for twice.
//
// A policy that is not enforced yet has no effect; the rest is demanded of it all the same.
func Run(t *testing.T, typ policy.Type) {
	t.Helper()
	p := &policyTest{typ: typ, area: Area(typ.Name()), codes: map[string]bool{}, used: map[string]bool{}}
	var err error
	if p.properties, err = Properties(typ.ConfigSchema()); err != nil {
		t.Fatalf("schema: %v", err)
	}
	t.Run("folder", p.folder)
	t.Run("schema", p.schema)
	t.Run("page", p.page)
	t.Run("cases", func(t *testing.T) { testkit.Run(t, "testdata/*.txtar", p.one) })
	t.Run("coverage", p.coverage)
	t.Run("codes", p.explained)
	t.Run("unknown", p.unknown)
	t.Run("shifts", p.shifts)
	t.Run("loosers", p.loosers)
	t.Run("decides", p.decides)
}

// Area is the diagnostic area and the folder of a policy: its name without -flex and hyphens.
func Area(name string) string { return strings.ReplaceAll(strings.TrimSuffix(name, "-flex"), "-", "") }

type policyTest struct {
	typ        policy.Type
	area       string
	properties []Property

	mu                sync.Mutex // cases run in parallel
	codes             map[string]bool
	used              map[string]bool
	accepted, refused int
	configs           []any // of the accepted cases
}

// folder checks the names of the folder's files.
func (p *policyTest) folder(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got := filepath.Base(dir); got != p.area {
		t.Errorf("the folder is %s, want %s", got, p.area)
	}
	for name, want := range map[string][]byte{p.area + ".schema.json": p.typ.ConfigSchema(), p.area + ".md": p.typ.Page()} {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the type carries: %v", name, err)
		}
	}
}

func (p *policyTest) schema(t *testing.T) {
	if err := schema.CheckSchema(p.typ.ConfigSchema()); err != nil {
		t.Error(err)
	}
	for _, problem := range Lint(p.typ.ConfigSchema()) {
		t.Error(problem)
	}
	var head struct {
		Schema string `json:"$schema"`
		Title  string `json:"title"`
		Type   string `json:"type"`
	}
	if err := json.Unmarshal(p.typ.ConfigSchema(), &head); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^1\.[0-9]+\.[0-9]+$`).MatchString(p.typ.Since()) {
		t.Errorf("the policy is there since %q, want a release such as 1.12.0", p.typ.Since())
	}
	if head.Schema != "https://json-schema.org/draft/2020-12/schema" || head.Title != p.typ.Name() || head.Type != "object" {
		t.Errorf("got %+v, want draft 2020-12, the policy's name as title, and an object", head)
	}
}

// catalog holds one policy.
type catalog struct{ typ policy.Type }

func (c catalog) Lookup(name string) (schema.PolicyType, bool) {
	if !slices.Contains(c.typ.Names(), name) {
		return nil, false
	}
	return c.typ, true
}
func (c catalog) Names() []string                                          { return []string{c.typ.Name()} }
func (c catalog) Known(string) (string, bool)                              { return "", false }
func (c catalog) Custom(*schema.Definition) (schema.PolicyType, diag.List) { return nil, nil }

// load is the front half of the pipeline over some files. That a policy is not enforced yet is left out, so that its cases
// stay as they are when it is; and that a secret is written out, as cases must.
func (p *policyTest) load(files []source.File, env map[string]string, require bool) (*ir.Gateway, diag.List) {
	g, l := schema.Load(source.NewSet(files), schema.Options{Policies: catalog{p.typ}, RequireEnv: require, AllowUnenforced: true,
		Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	return g, slices.DeleteFunc(l, func(d diag.Diagnostic) bool {
		return !p.typ.Enforced() && d.Code == "link/not-supported-yet" || d.Code == "link/plain-text-secret"
	})
}

// text is l as people see it.
func text(t *testing.T, l diag.List, files []source.File) []byte {
	t.Helper()
	var b bytes.Buffer
	printer := diag.Printer{Notes: true, Sources: func(name string) ([]byte, error) {
		for _, f := range files {
			if f.Name == name {
				return f.Bytes()
			}
		}
		return nil, os.ErrNotExist
	}}
	if err := printer.Print(&b, l); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// question takes a case apart: declarations, environment, and what was fetched.
func question(c *testkit.Case) (files []source.File, env map[string]string, got map[string][]byte) {
	env, got = map[string]string{}, map[string][]byte{}
	for _, f := range c.Files {
		switch purpose, ok := strings.CutPrefix(f.Name, "got/"); {
		case ok:
			got[purpose] = f.Data
		case f.Name == "env":
			for line := range strings.Lines(string(f.Data)) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
				env[name] = value
			}
		case f.Name == "requests": // for people: what e2e asks of the same declarations
		default:
			files = append(files, source.NewFile(f.Name, f.Data))
		}
	}
	return files, env, got
}

// one runs one case.
func (p *policyTest) one(t *testing.T, c *testkit.Case) {
	files, env, got := question(c)
	g, l := p.load(files, env, true)
	c.Want(t, "want/diagnostics", text(t, l, files))
	used, err := p.usedProperties(files)
	if err != nil {
		t.Fatal(err)
	}

	p.mu.Lock()
	for _, d := range l {
		p.codes[string(d.Code)] = true
	}
	maps.Copy(p.used, used)
	if l.HasErrors() {
		p.refused++
	} else {
		p.accepted++
	}
	p.mu.Unlock()

	if l.HasErrors() {
		return
	}
	if g == nil {
		t.Fatal("no model without errors")
	}
	p.mu.Lock()
	p.configs = append(p.configs, p.configsOf(g)...)
	p.mu.Unlock()
	if !p.typ.Enforced() {
		return
	}
	first, err := effects(g, p.typ, got)
	if err != nil {
		t.Fatal(err)
	}
	second, err := effects(g, p.typ, got)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.raw, second.raw) {
		t.Errorf("asked twice, the effects differ:\n%s", cmp.Diff(string(first.text), string(second.text)))
	}
	for _, problem := range first.problems {
		t.Error(problem)
	}
	c.Want(t, "want/effect.yaml", first.text)
}

// usedProperties are the properties that configurations of the policy declare.
func (p *policyTest) usedProperties(files []source.File) (map[string]bool, error) {
	used := map[string]bool{}
	docs, _ := syntax.Parse(source.NewSet(files))
	for _, d := range docs {
		eachConfig(d.Root, p.typ, func(cfg *syntax.Node) { declared(cfg, "", used) })
	}
	return used, nil
}

// eachConfig finds `config` beside a `policyRef` that names the policy, inline and in a PolicyBinding.
func eachConfig(n *syntax.Node, typ policy.Type, f func(*syntax.Node)) {
	if n == nil {
		return
	}
	if ref := n.Get("policyRef").Get("name"); ref != nil && slices.Contains(typ.Names(), ref.Text) {
		if cfg := n.Get("config"); cfg != nil {
			f(cfg)
		}
	}
	for i := range n.Fields {
		eachConfig(n.Fields[i].Value, typ, f)
	}
	for _, item := range n.Items {
		eachConfig(item, typ, f)
	}
}

func declared(n *syntax.Node, path string, used map[string]bool) {
	for i := range n.Fields {
		here := n.Fields[i].Name
		if path != "" {
			here = path + "." + here
		}
		used[here] = true
		declared(n.Fields[i].Value, here, used)
	}
	for _, item := range n.Items {
		declared(item, path+"[]", used)
	}
}

// coverage runs when all cases have.
func (p *policyTest) coverage(t *testing.T) {
	if p.accepted == 0 || p.refused == 0 {
		t.Errorf("%d cases are accepted and %d refused, want at least one of each", p.accepted, p.refused)
	}
	page := string(p.typ.Page())
	codes, err := sourceCodes(".", p.area)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range codes {
		if !p.codes[code] {
			t.Errorf("no case reports %s", code)
		}
		if !strings.Contains(page, "`"+code+"`") {
			t.Errorf("the page does not explain %s", code)
		}
	}
	for code := range p.codes {
		if strings.HasPrefix(code, p.area+"/") && !slices.Contains(codes, code) {
			t.Errorf("%s is reported, but does not stand in the source as one literal", code)
		}
	}
	for _, m := range regexp.MustCompile("`("+p.area+"/[a-z0-9-]+)`").FindAllStringSubmatch(page, -1) {
		if !slices.Contains(codes, m[1]) {
			t.Errorf("the page explains %s, which nothing reports", m[1])
		}
	}
	for _, prop := range p.properties {
		if !p.covered(prop.Path) {
			t.Errorf("no case declares the property %s", prop.Path)
		}
	}
}

// covered reports whether a case declares the property. A part `*` stands for any name.
func (p *policyTest) covered(path string) bool {
	if p.used[path] {
		return true
	}
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(path), `\*`, `[^.\[]+`) + "$"
	re := regexp.MustCompile(pattern)
	for u := range p.used {
		if re.MatchString(u) {
			return true
		}
	}
	return false
}

// sourceCodes are the codes that stand in a folder's code, its subfolders included, tests left out.
func sourceCodes(dir, area string) ([]string, error) {
	code := regexp.MustCompile("^" + area + "/[a-z0-9-]+$")
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && code.MatchString(s) {
					found[s] = true
				}
			}
			return true
		})
		return nil
	})
	return slices.Sorted(maps.Keys(found)), err
}
