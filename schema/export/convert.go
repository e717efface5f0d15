package export

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// converter brings a schema of draft 2020-12 into draft 7, with the names of its definitions in an exported file.
type converter struct {
	name string // of the schema: a kind or a policy
}

// dropped are keywords that say nothing to an editor. Formats are dropped because draft 7 judges by them and we do not.
var dropped = []string{"$schema", "$id", "$comment", "$defs", "format"}

// schema converts one schema. With variables, whatever may be a scalar may be a $VARIABLE: the environment's value is not known
// in an editor, and is judged where it is.
func (c converter) schema(v any, variables bool) any {
	m, ok := v.(object)
	if !ok {
		return v // true and false
	}
	out := object{}
	for k, x := range m {
		switch {
		case slices.Contains(dropped, k) || strings.HasPrefix(k, "x-"):
		case k == "$ref":
			out[k] = c.ref(x.(string))
		case k == "dependentRequired":
			out["dependencies"] = x
		case k == "properties" || k == "patternProperties":
			props := object{}
			for name, p := range x.(object) {
				props[name] = c.schema(p, variables)
			}
			out[k] = props
		case k == "items" || k == "additionalProperties" || k == "then" || k == "else":
			out[k] = c.schema(x, variables)
		case k == "if" || k == "not":
			out[k] = c.schema(x, false) // to allow more here would be to demand more
		case k == "allOf" || k == "anyOf":
			out[k] = c.list(x, variables)
		case k == "oneOf":
			out[k] = c.alternatives(x, variables)
		default:
			out[k] = x
		}
	}
	if variables {
		out = orVariable(out)
	}
	return besideRef(out)
}

func (c converter) list(v any, variables bool) []any {
	var out []any
	for _, x := range v.([]any) {
		out = append(out, c.schema(x, variables))
	}
	return out
}

// alternatives converts a oneOf: a variable that fitted each alternative would fit none.
func (c converter) alternatives(v any, variables bool) []any {
	var out []any
	for _, x := range v.([]any) {
		if m, ok := x.(object); ok && m["properties"] == nil && m["items"] == nil && m["additionalProperties"] == nil {
			out = append(out, c.schema(x, false))
			continue
		}
		out = append(out, c.schema(x, variables))
	}
	return out
}

func (c converter) ref(to string) string {
	if def, ok := strings.CutPrefix(to, "#/$defs/"); ok {
		return "#/definitions/" + c.name + "." + def
	}
	return "#/definitions/" + c.name // "#"
}

// besideRef keeps what stands beside a $ref, which draft 7 ignores.
func besideRef(m object) object {
	to, ok := m["$ref"]
	if !ok || len(m) == 1 {
		return m
	}
	out := maps.Clone(m)
	delete(out, "$ref")
	all, _ := out["allOf"].([]any)
	out["allOf"] = append([]any{object{"$ref": to}}, all...)
	return out
}

// variablePattern is what package schema takes for the name of an environment variable.
const variablePattern = `^\$[A-Za-z_][A-Za-z0-9_]*$`

// shortest is the length of the shortest variable.
const shortest = len("$A")

// orVariable lets a $VARIABLE stand for a scalar.
func orVariable(m object) object {
	types := typeNames(m["type"])
	scalar := slices.ContainsFunc(types, func(t string) bool { return t != "object" && t != "array" && t != "null" })
	text := slices.Contains(types, "string")
	_, listed := m["enum"]
	_, single := m["const"]
	_, oneOf := m["oneOf"]
	patterned := m["pattern"] != nil || m["maxLength"] != nil || longer(m["minLength"])
	switch {
	case len(types) > 0 && !scalar:
		return m
	case listed || single || oneOf && mayBeScalar(m["oneOf"]) || text && patterned:
		return either(m)
	case scalar && !text:
		out := maps.Clone(m)
		out["type"] = append(slices.Clone(toAny(types)), "string")
		out["pattern"] = variablePattern // judges strings alone
		// Editors show this in the place of the pattern; other readers skip it.
		out["patternErrorMessage"] = "expected " + strings.Join(types, " or ") + ", or a $VARIABLE"
		return out
	}
	return m
}

// either is m, or a variable. What describes m stays outside, where editors look for it.
func either(m object) object {
	inner, outer := object{}, object{}
	for k, v := range m {
		if slices.Contains([]string{"title", "description", "default", "examples", "writeOnly", "deprecated"}, k) {
			outer[k] = v
			continue
		}
		inner[k] = v
	}
	outer["anyOf"] = []any{inner, object{"type": "string", "pattern": variablePattern}}
	return outer
}

// mayBeScalar reports whether an alternative takes a scalar. One that says no type does.
func mayBeScalar(oneOf any) bool {
	return slices.ContainsFunc(oneOf.([]any), func(x any) bool {
		m, _ := x.(object)
		types := typeNames(m["type"])
		return len(types) == 0 && m["required"] == nil && m["properties"] == nil ||
			slices.ContainsFunc(types, func(t string) bool { return t != "object" && t != "array" })
	})
}

func longer(minLength any) bool {
	n, ok := minLength.(json.Number)
	if !ok {
		return false
	}
	i, err := strconv.Atoi(n.String())
	return err != nil || i > shortest
}

func typeNames(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var names []string
		for _, x := range v {
			name, _ := x.(string)
			names = append(names, name)
		}
		return names
	}
	return nil
}

func toAny(names []string) []any {
	out := make([]any, len(names))
	for i, n := range names {
		out[i] = n
	}
	return out
}
