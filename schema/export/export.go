// Package export makes of the schemas of kinds and policies what editors take: self-contained files of JSON Schema, draft 7, which
// every editor reads, and the entry of a catalogue that leads to them.
//
// It decides nothing about shape: package schema does, and a test holds both to one verdict. It writes no file.
package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/project"
)

// File is one exported file. Its name uses slashes, and is relative to wherever the export goes.
type File struct {
	Name string
	Data []byte
}

// Combined is the name of the file that judges a declaration of any kind.
const Combined = "flex.schema.json"

// FileMatch are the names by which editors know files of declarations: the product's own folder, and a suffix for everywhere else.
func FileMatch() []string {
	return []string{
		"**/flex-gateway/conf.d/**/*.yaml", "**/flex-gateway/conf.d/**/*.yml", "**/flex-gateway/conf.d/**/*.json",
		"*.flex.yaml", "*.flex.yml", "*.flex.json",
	}
}

// Policies is the part of schema.Catalog that is needed here.
type Policies interface {
	Lookup(name string) (schema.PolicyType, bool)
	Names() []string
}

// Set is the schemas of one catalogue of policies, ready to be exported.
type Set struct {
	defs     map[string]any // all definitions, by their names in exported files
	kinds    []string
	policies []string
	groups   map[string]*group // by API group
}

// group is what one API group knows.
type group struct {
	versions, kinds []any
}

// New converts the schemas of all kinds and of the policies of c.
func New(c Policies) (*Set, error) {
	s := &Set{defs: map[string]any{}, kinds: schema.Kinds(), groups: map[string]*group{}}
	s.policies = append(schema.RoutePolicies(), c.Names()...)
	slices.Sort(s.policies)
	names := []any{}
	bindings := []any{}
	for _, name := range s.policies {
		text, ok := schema.KindSchema(name)
		if t, listed := c.Lookup(name); listed {
			text, ok = t.ConfigSchema(), true
		}
		if !ok {
			return nil, fmt.Errorf("no schema of policy %s", name)
		}
		doc, err := s.add(name, text, true)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
		optional, err := schema.TakesNothing(text)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
		names = append(names, object{"const": name, "description": doc["description"]})
		bindings = append(bindings, binding(name, optional))
	}
	s.defs[typedConfigs] = object{"allOf": bindings}
	for _, name := range s.kinds {
		text, _ := schema.KindSchema(name)
		doc, err := s.add(name, text, false)
		if err != nil {
			return nil, fmt.Errorf("kind %s: %w", name, err)
		}
		s.suggest(name, names)
		for def, v := range s.defs {
			if def == name || strings.HasPrefix(def, name+".") {
				typed(v)
			}
		}
		if err := s.learn(doc); err != nil {
			return nil, fmt.Errorf("kind %s: %w", name, err)
		}
	}
	s.defs[declaration] = s.declaration()
	if _, err := s.add(settings, project.Schema(), false); err != nil {
		return nil, fmt.Errorf("%s: %w", project.FileName, err)
	}
	return s, nil
}

// The definitions that are of no kind and no policy.
const (
	typedConfigs = "policies"
	declaration  = "declaration"
	settings     = "project" // of a repository's own settings
)

// object is a JSON object.
type object = map[string]any

// binding types the config of a binding by its policy's name.
func binding(name string, optional bool) object {
	then := object{"type": "object", "properties": object{"config": ref(name)}}
	if !optional {
		then["required"] = []any{"config"}
	}
	return object{
		"if": object{
			"type":       "object",
			"required":   []any{"policyRef"},
			"properties": object{"policyRef": object{"type": "object", "required": []any{"name"}, "properties": object{"name": object{"const": name}}}},
		},
		"then": then,
	}
}

func ref(name string) object { return object{"$ref": "#/definitions/" + name} }

// add converts one schema and its definitions.
func (s *Set) add(name string, text []byte, variables bool) (object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc object
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	c := converter{name: name}
	defs, _ := doc["$defs"].(object)
	for def, v := range defs {
		s.defs[name+"."+def] = c.schema(v, variables)
	}
	out := c.schema(doc, variables).(object)
	s.defs[name] = out
	return out, nil
}

// suggest offers the names of policies where a kind refers to one; others are taken, for Extensions define their own.
func (s *Set) suggest(kind string, names []any) {
	def, _ := s.defs[kind+".policyRef"].(object)
	props, _ := def["properties"].(object)
	if name, ok := props["name"].(object); ok {
		name["anyOf"] = append(slices.Clone(names), object{"type": "string"})
	}
}

// typed types the config of every binding in a schema by its policy's name.
func typed(v any) {
	switch v := v.(type) {
	case object:
		for _, x := range v {
			typed(x)
		}
		if props, _ := v["properties"].(object); props["policyRef"] != nil && props["config"] != nil {
			all, _ := v["allOf"].([]any)
			v["allOf"] = append(all, ref(typedConfigs))
		}
	case []any:
		for _, x := range v {
			typed(x)
		}
	}
}

// learn notes which group a kind belongs to.
func (s *Set) learn(doc object) error {
	props, _ := doc["properties"].(object)
	versions := enum(props["apiVersion"])
	kinds := enum(props["kind"])
	if len(versions) == 0 || len(kinds) != 1 {
		return fmt.Errorf("apiVersion and kind are not listed")
	}
	name, _, _ := strings.Cut(fmt.Sprint(versions[0]), "/")
	g := s.groups[name]
	if g == nil {
		g = &group{versions: versions}
		s.groups[name] = g
	}
	g.kinds = append(g.kinds, kinds[0])
	return nil
}

func enum(v any) []any {
	m, _ := v.(object)
	list, _ := m["enum"].([]any)
	return list
}

// declaration picks the schema of a kind. Documents of other groups are let through, as the product does.
func (s *Set) declaration() object {
	var versions, kinds, rules []any
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[name]
		versions = append(versions, g.versions...)
		kinds = append(kinds, g.kinds...)
		rules = append(rules, object{
			"if": object{"type": "object", "required": []any{"apiVersion"}, "properties": object{"apiVersion": object{"type": "string", "pattern": "^" + strings.ReplaceAll(name, ".", `\.`) + "/"}}},
			"then": object{
				"type":       "object",
				"properties": object{"apiVersion": object{"enum": g.versions}, "kind": object{"enum": g.kinds}},
				"required":   []any{"kind"},
			},
		})
		for _, kind := range g.kinds {
			rules = append(rules, object{
				"if": object{"type": "object", "required": []any{"kind"}, "properties": object{"apiVersion": object{"enum": g.versions}, "kind": object{"const": kind}}},
				// The group's own rule has said what is wrong with these two.
				"then": ref(fmt.Sprint(kind)),
			})
		}
	}
	offered := object{
		"apiVersion": object{"description": "Group and version of the kind.", "anyOf": []any{object{"enum": versions}, true}},
		"kind":       object{"description": "The kind of the declaration.", "anyOf": []any{object{"enum": kinds}, true}},
	}
	return object{
		"description": "One declaration of a gateway. Documents of other apiVersions are not judged.",
		"if":          object{"type": "object"},
		"then":        object{"type": "object", "properties": offered},
		"allOf":       rules,
	}
}

// Names are the kinds, then the policies, each sorted, then "project" for a repository's settings (.flexgw.yaml).
func (s *Set) Names() []string { return append(append(slices.Clone(s.kinds), s.policies...), settings) }

// Schema is the self-contained schema of one of the names.
func (s *Set) Schema(name, url string) ([]byte, bool) {
	if !slices.Contains(s.Names(), name) {
		return nil, false
	}
	doc := maps.Clone(s.defs[name].(object))
	return s.file(doc, s.fileName(name), url), true
}

// fileName is where a schema stands in an export.
func (s *Set) fileName(name string) string {
	folder := "policies/"
	switch {
	case name == settings:
		folder = ""
	case slices.Contains(s.kinds, name):
		folder = "kinds/"
	}
	return folder + name + ".schema.json"
}

// Declaration is the self-contained schema of a declaration of any kind, and of a list of such, as a JSON file may hold.
func (s *Set) Declaration(url string) []byte {
	return s.file(object{
		"title":       "Flex Gateway declaration",
		"description": "A declaration of Anypoint Flex Gateway in Local Mode.",
		"if":          object{"type": "array"},
		"then":        object{"type": "array", "items": ref(declaration)},
		"allOf":       []any{ref(declaration)},
	}, Combined, url)
}

// Files is the whole export, sorted by name: the combined schema, one schema of each name, and catalog.json in the form of
// the SchemaStore catalogue. url is where the folder will be found, without a slash at its end.
func (s *Set) Files(url string) []File {
	files := []File{
		{Combined, s.Declaration(url)},
		{"catalog.json", encode(object{
			"$schema": "https://json.schemastore.org/schema-catalog.json",
			"version": 1,
			"schemas": []any{object{
				"name":        "Anypoint Flex Gateway (Local Mode)",
				"description": "Declarations of Anypoint Flex Gateway in Local Mode",
				"fileMatch":   FileMatch(),
				"url":         url + "/" + Combined,
			}, object{
				"name":        "flexgw",
				"description": "What a repository says about its own checks with flexgw",
				"fileMatch":   []string{project.FileName},
				"url":         url + "/" + s.fileName(settings),
			}},
		})},
	}
	for _, name := range s.Names() {
		text, _ := s.Schema(name, url)
		files = append(files, File{s.fileName(name), text})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files
}

// file makes a file of a schema: with its head, and the definitions that it needs.
func (s *Set) file(doc object, name, url string) []byte {
	doc["$schema"] = "http://json-schema.org/draft-07/schema#"
	if url != "" {
		doc["$id"] = url + "/" + name
	}
	defs := object{}
	s.need(doc, defs)
	if len(defs) > 0 {
		doc["definitions"] = defs
	}
	return encode(doc)
}

// need adds the definitions that v refers to, directly or not.
func (s *Set) need(v any, defs object) {
	switch v := v.(type) {
	case object:
		if text, ok := v["$ref"].(string); ok {
			name := strings.TrimPrefix(text, "#/definitions/")
			if _, known := defs[name]; !known {
				defs[name] = s.defs[name]
				s.need(s.defs[name], defs)
			}
		}
		for _, x := range v {
			s.need(x, defs)
		}
	case []any:
		for _, x := range v {
			s.need(x, defs)
		}
	}
}

// encode writes keys in the order of the alphabet: same input, same bytes.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // there is nothing but JSON in it
	}
	return b.Bytes()
}

// Modeline is the comment by which a YAML file names its schema, for the editors that use the YAML language server. A path is taken
// as seen from the file.
func Modeline(schema string) string { return "# yaml-language-server: $schema=" + schema }
