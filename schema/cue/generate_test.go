package cue_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
	cuejson "cuelang.org/go/encoding/json"
	"cuelang.org/go/encoding/jsonschema"
	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/export"
	"github.com/flexgw/flexgw/schema/testkit"
)

type object = map[string]any

// TestGenerated holds flex/*_gen.cue to the JSON Schemas. UPDATE=1 writes the files.
func TestGenerated(t *testing.T) {
	t.Parallel()
	for name, want := range generate(t) {
		path := filepath.Join("flex", name)
		if testkit.Updating() {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(got), string(want)); diff != "" {
			t.Errorf("%s is not what the JSON Schemas say; UPDATE=1 go test ./schema/cue writes it: -file +schemas\n%s", path, diff)
		}
	}
}

// generator makes CUE of the schemas that editors get: one definition in CUE for each of theirs.
type generator struct {
	defs     object
	kinds    []string
	policies []string
	names    map[string]string // of a definition, in CUE
}

func generate(t *testing.T) map[string][]byte {
	t.Helper()
	s, err := export.New(all.Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Definitions object }
	d := json.NewDecoder(bytes.NewReader(s.Declaration("")))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	g := &generator{defs: doc.Definitions, kinds: schema.Kinds(), names: map[string]string{}}
	g.policies = append(schema.RoutePolicies(), all.Catalog{}.Names()...)
	slices.Sort(g.policies)
	groups := g.groups()
	delete(g.defs, "policies")    // typing says it in CUE's own way, with better messages
	delete(g.defs, "declaration") // so does declaration()
	g.defs = g.plain(g.defs).(object)
	g.name()
	kinds, policies := object{}, object{}
	for name, def := range g.defs {
		def := g.renamed(def).(object)
		delete(def, "title")
		owner, _, _ := strings.Cut(name, ".")
		if slices.Contains(g.kinds, owner) {
			kinds[g.names[name]] = def
		} else {
			policies[g.names[name]] = def
		}
	}
	return map[string][]byte{
		"kinds_gen.cue":       g.file(t, kinds, policies, ""),
		"policies_gen.cue":    g.file(t, policies, kinds, g.configs(t)),
		"declaration_gen.cue": formatted(t, declaration(groups)),
	}
}

// group is one API group.
type group struct {
	name            string
	versions, kinds []string
}

func (g *generator) groups() []group {
	byName := map[string]*group{}
	for _, kind := range g.kinds {
		props := g.defs[kind].(object)["properties"].(object)
		versions := texts(props["apiVersion"].(object)["enum"])
		name, _, _ := strings.Cut(versions[0], "/")
		if byName[name] == nil {
			byName[name] = &group{name: name, versions: versions}
		}
		byName[name].kinds = append(byName[name].kinds, kind)
	}
	var out []group
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, *byName[name])
	}
	return out
}

func texts(v any) []string {
	var out []string
	for _, x := range v.([]any) {
		out = append(out, x.(string))
	}
	return out
}

// plain drops what is for editors alone: messages, suggested names, and the typing of configs.
func (g *generator) plain(v any) any {
	switch v := v.(type) {
	case object:
		out := object{}
		for k, x := range v {
			if k == "patternErrorMessage" || k == "examples" || k == "default" {
				continue
			}
			if list, ok := x.([]any); ok && (k == "anyOf" || k == "allOf") && (isOpen(list) || isTyping(list)) {
				continue
			}
			out[k] = g.plain(x)
		}
		if props, _ := out["properties"].(object); props["policyRef"] != nil && props["config"] != nil {
			// typing types it. An open struct beside a closed one would open that one.
			props["config"] = object{"description": props["config"].(object)["description"]}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = g.plain(x)
		}
		return out
	}
	return v
}

// isOpen reports whether a list of alternatives ends with any text: the others are suggestions.
func isOpen(list []any) bool {
	last, ok := list[len(list)-1].(object)
	return ok && len(last) == 1 && last["type"] == "string"
}

func isTyping(list []any) bool {
	first, ok := list[0].(object)
	return ok && len(list) == 1 && first["$ref"] == "#/definitions/policies"
}

// name gives every definition a name in CUE. Equal parts of several kinds are one definition.
func (g *generator) name() {
	parts := map[string][]string{} // last part of a name → definitions of kinds
	for _, name := range slices.Sorted(maps.Keys(g.defs)) {
		owner, part, isPart := strings.Cut(name, ".")
		switch {
		case !isPart && slices.Contains(g.kinds, name):
			g.names[name] = name
		case !isPart:
			g.names[name] = camel(name) + "Config"
		case slices.Contains(g.kinds, owner):
			parts[part] = append(parts[part], name)
		default:
			g.names[name] = camel(owner) + camel(part)
		}
	}
	for part, names := range parts {
		shared := true
		first, _ := json.Marshal(g.defs[names[0]])
		for _, n := range names {
			text, _ := json.Marshal(g.defs[n])
			a, _, _ := strings.Cut(names[0], ".")
			b, _, _ := strings.Cut(n, ".")
			shared = shared && strings.ReplaceAll(string(first), "/"+a+".", "/") == strings.ReplaceAll(string(text), "/"+b+".", "/")
		}
		for _, n := range names {
			owner, _, _ := strings.Cut(n, ".")
			if g.names[n] = camel(part); !shared || slices.Contains(g.kinds, camel(part)) {
				g.names[n] = owner + camel(part)
			}
		}
	}
}

func camel(name string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func (g *generator) renamed(v any) any {
	switch v := v.(type) {
	case object:
		out := object{}
		for k, x := range v {
			if text, ok := x.(string); ok && k == "$ref" {
				out[k] = "#/definitions/" + g.names[strings.TrimPrefix(text, "#/definitions/")]
				continue
			}
			out[k] = g.renamed(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = g.renamed(x)
		}
		return out
	}
	return v
}

// file is the CUE of some definitions; others may be referred to, and stand in another file.
func (g *generator) file(t *testing.T, own, others object, more string) []byte {
	t.Helper()
	defs := maps.Clone(others)
	maps.Copy(defs, own)
	text, err := json.Marshal(object{"$schema": "http://json-schema.org/draft-07/schema#", "definitions": defs})
	if err != nil {
		t.Fatal(err)
	}
	expr, err := cuejson.Extract("schema.json", text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := jsonschema.Extract(cuecontext.New().BuildExpr(expr), &jsonschema.Config{PkgName: "flex"})
	if err != nil {
		t.Fatal(err)
	}
	var decls []ast.Decl
	for _, d := range f.Decls {
		field, ok := d.(*ast.Field)
		if !ok {
			continue // the head, and imports
		}
		name, _, err := ast.LabelName(field.Label)
		if err != nil {
			t.Fatal(err)
		}
		if _, mine := own[strings.TrimPrefix(name, "#")]; !mine {
			continue
		}
		if slices.Contains(g.kinds, strings.TrimPrefix(name, "#")) {
			filled(t, field)
		}
		typed(t, field)
		decls = append(decls, field)
	}
	f.Decls = decls
	out, err := format.Node(f, format.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	return formatted(t, "package flex\n\n"+imports(f)+string(out)+more)
}

// imports are the packages of CUE that a file uses.
func imports(f *ast.File) string {
	used := map[string]bool{}
	ast.Walk(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && !strings.HasPrefix(x.Name, "#") && x.Name != "policyRef" {
				used[x.Name] = true
			}
		}
		return true
	}, nil)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&b, "\t%q\n", name)
	}
	return "import (\n" + b.String() + ")\n\n"
}

// filled gives apiVersion and kind their values: who writes #Service & {…} says them already.
func filled(t *testing.T, kind *ast.Field) {
	t.Helper()
	count := 0
	ast.Walk(kind.Value, func(n ast.Node) bool {
		f, ok := n.(*ast.Field)
		if !ok {
			return true
		}
		name, _, _ := ast.LabelName(f.Label)
		if name != "apiVersion" && name != "kind" {
			return false
		}
		count++
		f.Constraint = token.ILLEGAL
		if b, ok := f.Value.(*ast.BinaryExpr); ok && name == "apiVersion" {
			for {
				next, ok := b.X.(*ast.BinaryExpr)
				if !ok {
					break
				}
				b = next
			}
			b.X = &ast.UnaryExpr{Op: token.MUL, X: b.X}
		}
		return false
	}, nil)
	if count != 2 {
		t.Fatalf("%v has not both apiVersion and kind", kind.Label)
	}
}

// typing types the config of a binding by the name of its policy. It stands in the struct that it is about: as a struct of its own
// it would need an ellipsis, and CUE 0.17 lets any field into whatever an open struct is unified with.
const typing = `{
	if #Config[policyRef.name] != _|_ {
		config?: #Config[policyRef.name]
	}
	if #Config[policyRef.name] == _|_ {
		config?: {...}
	}
	if _needsConfig[policyRef.name] != _|_ {
		config!: _
	}
}`

// typed adds typing to every struct of a definition that has a policyRef and a config.
func typed(t *testing.T, def *ast.Field) {
	t.Helper()
	ast.Walk(def.Value, func(n ast.Node) bool {
		s, ok := n.(*ast.StructLit)
		if !ok {
			return true
		}
		var names []string
		for _, e := range s.Elts {
			if f, ok := e.(*ast.Field); ok {
				name, _, _ := ast.LabelName(f.Label)
				if names = append(names, name); name == "policyRef" {
					f.Label = ast.NewIdent(name) // a quoted label could not be referred to
				}
			}
		}
		if slices.Contains(names, "policyRef") && slices.Contains(names, "config") {
			expr, err := parser.ParseExpr("typing", typing)
			if err != nil {
				t.Fatal(err)
			}
			s.Elts = append(s.Elts, expr.(*ast.StructLit).Elts...)
		}
		return true
	}, nil)
}

// configs are the definitions of configs by the names of policies, and the names of those that a binding cannot leave out.
func (g *generator) configs(t *testing.T) string {
	t.Helper()
	var b, needs strings.Builder
	for _, name := range g.policies {
		fmt.Fprintf(&b, "\t%q: #%s\n", name, g.names[name])
		text, ok := schema.KindSchema(name)
		if p, listed := (all.Catalog{}).Type(name); listed {
			text, ok = p.ConfigSchema(), true
		}
		optional, err := schema.TakesNothing(text)
		if !ok || err != nil {
			t.Fatal(name, err)
		}
		if !optional {
			fmt.Fprintf(&needs, "\t%q: true\n", name)
		}
	}
	return "\n// #Config is the config of each policy, by name.\n#Config: {\n" + b.String() + "}\n\n// The policies that do not work without a config.\n_needsConfig: {\n" + needs.String() + "}\n"
}

// declaration picks the kind. Written with conditions, not with matchIf or a disjunction: so the messages name the field.
func declaration(groups []group) string {
	var b, all strings.Builder
	for _, g := range groups {
		for _, k := range g.kinds {
			fmt.Fprintf(&all, "\t%s: #%[1]s\n", k)
		}
	}
	fmt.Fprintf(&b, `package flex

// #Kind is the definition of each kind, by name.
#Kind: {
%s}

// #Declaration is a declaration of any kind. Documents of other apiVersions are let through.
#Declaration: {
	apiVersion?: _
	kind?:       _
`, all.String())
	foreign := ""
	for _, g := range groups {
		pattern := fmt.Sprintf("%q", "^"+strings.ReplaceAll(g.name, ".", `\.`)+"/")
		isKind := "_" + camel(strings.Split(g.name, ".")[0]) + "Kinds[kind]"
		fmt.Fprintf(&b, `	if (apiVersion & =~%s) != _|_ {
		apiVersion: %s
		if %[3]s != _|_ {#Kind[kind]}
		if %[3]s == _|_ {
			kind!: %[4]s
			...
		}
	}
`, pattern, alternatives(g.versions), isKind, alternatives(g.kinds))
		foreign += fmt.Sprintf(" if (apiVersion & =~%s) == _|_", pattern)
	}
	fmt.Fprintf(&b, `	%s {
		if apiVersion == _|_ if #Kind[kind] != _|_ {
			apiVersion!: string
		}
		...
	}
}
`, strings.TrimSpace(foreign))
	for _, g := range groups {
		fmt.Fprintf(&b, "\n_%sKinds: {\n", camel(strings.Split(g.name, ".")[0]))
		for _, k := range g.kinds {
			fmt.Fprintf(&b, "\t%s: true\n", k)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func alternatives(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = fmt.Sprintf("%q", t)
	}
	return strings.Join(quoted, " | ")
}

func formatted(t *testing.T, text string) []byte {
	t.Helper()
	text = "// Made of the JSON Schemas of kinds and policies by UPDATE=1 go test ./schema/cue; do not edit.\n\n" + text
	out, err := format.Source([]byte(text), format.Simplify())
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out
}
