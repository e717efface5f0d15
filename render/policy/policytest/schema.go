package policytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Property is one property of a schema.
type Property struct {
	Path        string // a.b, a[].b for items of a list, a.*.b for values of a free mapping
	Type        string // as the page writes it: string, list of object
	Required    bool
	Default     any // nil: none
	HasDefault  bool
	Description string
}

// Properties are all properties of a schema, depth first, in the order of the file.
func Properties(text []byte) ([]Property, error) {
	root, err := decodeOrdered(text)
	if err != nil {
		return nil, err
	}
	var out []Property
	w := walker{root: root}
	w.properties(root, "", func(p Property) {
		if !slices.ContainsFunc(out, func(o Property) bool { return o.Path == p.Path }) {
			out = append(out, p)
		}
	})
	return out, nil
}

// Lint says what is wrong with a schema of a policy.
func Lint(text []byte) []string {
	root, err := decodeOrdered(text)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	w := walker{root: root}
	w.lint(root, "", &problems)
	return problems
}

// object is a JSON object that keeps the order of its members.
type object struct {
	keys   []string
	values map[string]any
}

func (o *object) get(key string) any {
	if o == nil {
		return nil
	}
	return o.values[key]
}

func (o *object) sub(key string) *object {
	s, _ := o.get(key).(*object)
	return s
}

func decodeOrdered(text []byte) (*object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := orderedValue(d)
	if err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	o, ok := v.(*object)
	if !ok {
		return nil, fmt.Errorf("the schema is not an object")
	}
	return o, nil
}

func orderedValue(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		o := &object{values: map[string]any{}}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := orderedValue(d)
			if err != nil {
				return nil, err
			}
			o.keys = append(o.keys, key.(string))
			o.values[key.(string)] = v
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := orderedValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	return tok, nil
}

type walker struct{ root *object }

// resolve follows a reference within the schema.
func (w walker) resolve(s *object) *object {
	for range 16 {
		ref, ok := s.get("$ref").(string)
		if !ok {
			return s
		}
		at := w.root
		for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			at = at.sub(part)
		}
		s = at
	}
	return s
}

func (w walker) properties(s *object, path string, f func(Property)) {
	s = w.resolve(s)
	if s == nil {
		return
	}
	props := s.sub("properties")
	required, _ := s.get("required").([]any)
	if props != nil {
		for _, name := range props.keys {
			here := name
			if path != "" {
				here = path + "." + name
			}
			declared := props.sub(name)
			p := w.resolve(declared)
			def, has := p.get("default"), p != nil && slices.Contains(p.keys, "default")
			description, _ := declared.get("description").(string)
			if description == "" {
				description, _ = p.get("description").(string)
			}
			f(Property{Path: here, Type: w.typeName(p), Required: slices.Contains(required, any(name)), Default: def, HasDefault: has, Description: description})
			w.properties(p, here, f)
		}
	}
	if items := s.sub("items"); items != nil {
		w.properties(items, path+"[]", f)
	}
	if more := s.sub("additionalProperties"); more != nil {
		w.properties(more, path+".*", f)
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := s.get(key).([]any)
		for _, alternative := range list {
			if o, ok := alternative.(*object); ok {
				w.properties(o, path, f)
			}
		}
	}
}

// typeName is the type as the page writes it.
func (w walker) typeName(s *object) string {
	s = w.resolve(s)
	switch v := s.get("type").(type) {
	case string:
		if v == "array" {
			return "list of " + w.typeName(s.sub("items"))
		}
		return v
	case []any:
		var names []string
		for _, x := range v {
			names = append(names, fmt.Sprint(x))
		}
		return strings.Join(names, " or ")
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		list, _ := s.get(key).([]any)
		var names []string
		for _, x := range list {
			if o, ok := x.(*object); ok {
				if n := w.typeName(o); !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
		if len(names) > 0 {
			return strings.Join(names, " or ")
		}
	}
	return "any"
}

func (w walker) lint(s *object, path string, problems *[]string) {
	show := path
	if show == "" {
		show = "the configuration"
	}
	props := s.sub("properties")
	if props != nil || s.get("type") == "object" {
		_, mapping := s.get("additionalProperties").(*object)
		if s.get("additionalProperties") != false && !mapping {
			*problems = append(*problems, show+" does not say additionalProperties: false")
		}
	}
	if props != nil {
		for _, name := range props.keys {
			here := strings.TrimPrefix(path+"."+name, ".")
			p := props.sub(name)
			if p == nil {
				*problems = append(*problems, here+" is not an object")
				continue
			}
			if d, _ := p.get("description").(string); strings.TrimSpace(d) == "" {
				if d, _ = w.resolve(p).get("description").(string); strings.TrimSpace(d) == "" {
					*problems = append(*problems, here+" has no description")
				}
			}
			w.lint(p, here, problems)
		}
	}
	if items := s.sub("items"); items != nil {
		w.lint(items, path+"[]", problems)
	}
	if more := s.sub("additionalProperties"); more != nil {
		w.lint(more, path+".*", problems)
	}
	if defs := s.sub("$defs"); defs != nil {
		for _, name := range defs.keys {
			if d := defs.sub(name); d != nil {
				w.lint(d, "$defs."+name, problems)
			}
		}
	}
	for _, name := range requiredNames(s) {
		if props.get(name) == nil {
			*problems = append(*problems, show+" requires "+name+", which it does not have")
		}
	}
}

func requiredNames(s *object) []string {
	list, _ := s.get("required").([]any)
	var names []string
	for _, x := range list {
		if name, ok := x.(string); ok && s.sub("properties") != nil {
			names = append(names, name)
		}
	}
	return names
}
