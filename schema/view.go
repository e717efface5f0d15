package schema

import "slices"

// View is what a JSON Schema says about one value, for those who ask what can be there before anything is. The zero View says
// nothing.
type View struct{ v view }

// ViewOf compiles a schema of a kind, a policy or the like.
func ViewOf(text []byte) (View, error) {
	s, err := compileShape(text)
	if err != nil {
		return View{}, err
	}
	return View{s.view()}, nil
}

// Field is what is said about a field, and whether an object may have it.
func (v View) Field(name string) (field View, ok bool) {
	child, known := v.v.field(name)
	return View{child}, known || !slices.ContainsFunc(v.v.flat, func(s *shape) bool { return s.closed })
}

// Fields are the names of the fields that the schema knows, sorted.
func (v View) Fields() []string { return v.v.fields() }

// Item is what is said about each item of a list.
func (v View) Item() View { return View{v.v.item()} }

// Types are the types that the value may have, in JSON Schema's words, sorted; none: any.
func (v View) Types() []string {
	var out []string
	for _, name := range sortedKeys(typeNames) {
		if v.v.want&typeNames[name] != 0 {
			out = append(out, name)
		}
	}
	return out
}
