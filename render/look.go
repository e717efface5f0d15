package render

import (
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// shape is where to look in the Go structs of one message type. It leads to the same places as the type's plan, for those
// who have a message and want no bytes: writing it and reading what was written costs several times as much.
type shape struct{ parts []part }

// part is one field of a struct.
type part struct {
	index  int
	many   cardinality
	kind   refKind
	beside int       // of refSecret: see step
	sub    *shape    // of refBelow
	oneOf  []wrapped // the field holds one of these, or something not worth looking at
}

type cardinality uint8

const (
	single cardinality = iota
	list
	entries
)

// wrapped is one alternative of a oneof; the part is of the struct that wraps it.
type wrapped struct {
	typ reflect.Type // a pointer to that struct
	part
}

// look notes what a message refers to, without writing it; false: it has to be written for that. Only writing could tell that
// a text is not UTF-8, which nothing that was declared can make it: files are, and variables are looked at.
func (w *wire) look(m proto.Message) bool {
	s := w.shapeOf(m)
	if s == nil {
		return false
	}
	w.walk(reflect.ValueOf(m).Elem(), s)
	return true
}

func (w *wire) walk(v reflect.Value, s *shape) {
	for i := range s.parts {
		p := &s.parts[i]
		x, holder := v.Field(p.index), v
		if p.oneOf != nil {
			if x.IsNil() {
				continue
			}
			x = x.Elem()
			at := slices.IndexFunc(p.oneOf, func(o wrapped) bool { return o.typ == x.Type() })
			if at < 0 {
				continue
			}
			p, holder = &p.oneOf[at].part, x.Elem()
			x = holder.Field(p.index)
		}
		switch {
		case p.many == single:
			w.value(holder, p, x)
		case x.Len() == 0:
		case p.many == list:
			for i := range x.Len() {
				w.value(holder, p, x.Index(i))
			}
		default:
			for in := x.MapRange(); in.Next(); {
				w.value(holder, p, in.Value())
			}
		}
	}
}

// value looks at one value of a field.
func (w *wire) value(holder reflect.Value, p *part, x reflect.Value) {
	switch p.kind {
	case refCluster:
		w.clusters = noteText(w.clusters, x.String())
	case refSecret:
		if x.Len() > 0 && holder.Field(p.beside).IsNil() {
			w.unsourced(x.String())
		}
		w.secrets = noteText(w.secrets, x.String())
	case refFile:
		w.files = noteText(w.files, x.String())
	case refAny:
		if a, ok := x.Interface().(*anypb.Any); ok && a != nil && !w.isUnwritten(a) && !slices.Contains(w.shared, a) {
			w.open([]byte(a.TypeUrl), a.Value)
		}
	default:
		if !x.IsNil() {
			w.walk(x.Elem(), p.sub)
		}
	}
}

// isUnwritten reports whether an Any was made while judging: its message has been looked into.
func (w *wire) isUnwritten(a *anypb.Any) bool {
	b := a.GetValue()
	return len(b) == 1 && &b[0] == &w.unwritten[0]
}

func noteText(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// shapeOf is nil if the structs are not as protoc-gen-go makes them.
func (w *walker) shapeOf(m proto.Message) *shape {
	t := reflect.TypeOf(m)
	if s, ok := w.shapes.Load(t); ok {
		return s.(*shape)
	}
	p := w.plan(m.ProtoReflect().Descriptor())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut == nil {
		w.cut = map[reflect.Type]*shape{}
	}
	s := w.shape(t, p)
	w.shapes.Store(t, s)
	return s
}

// shape is that of a pointer to a struct.
func (w *walker) shape(t reflect.Type, p *plan) *shape {
	if s, ok := w.cut[t]; ok {
		return s
	}
	m, ok := reflect.New(t.Elem()).Interface().(proto.Message)
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct || !ok {
		return nil
	}
	s := &shape{}
	w.cut[t] = s
	index := fieldsOf(t.Elem())
	for i := range p.steps {
		step := &p.steps[i]
		if !w.addPart(s, m, index, step) {
			w.cut[t] = nil
			return nil
		}
	}
	return s
}

// addPart adds what a step leads to in structs; false: it leads nowhere.
func (w *walker) addPart(s *shape, m proto.Message, index map[string]int, step *step) bool {
	t := reflect.TypeOf(m).Elem()
	if o := step.field.ContainingOneof(); o != nil && !o.IsSynthetic() {
		at, ok := index[string(o.Name())]
		if !ok {
			return false
		}
		x := m.ProtoReflect().New()
		x.Set(step.field, x.NewField(step.field))
		wrapper := reflect.ValueOf(x.Interface()).Elem().Field(at).Elem().Type()
		inner, ok := w.newPart(wrapper.Elem(), 0, step, nil)
		i := slices.IndexFunc(s.parts, func(p part) bool { return p.index == at })
		if i < 0 {
			i = len(s.parts)
			s.parts = append(s.parts, part{index: at})
		}
		s.parts[i].oneOf = append(s.parts[i].oneOf, wrapped{wrapper, inner})
		return ok
	}
	at, ok := index[step.field.TextName()]
	if !ok {
		return false
	}
	p, ok := w.newPart(t, at, step, index)
	s.parts = append(s.parts, p)
	return ok
}

func (w *walker) newPart(t reflect.Type, at int, step *step, index map[string]int) (part, bool) {
	p := part{index: at, kind: step.kind}
	x := t.Field(at).Type
	switch {
	case step.field.IsMap():
		p.many, x = entries, x.Elem()
	case step.field.IsList():
		p.many, x = list, x.Elem()
	}
	switch step.kind {
	case refAny:
		return p, x == reflect.TypeFor[*anypb.Any]()
	case refBelow:
		p.sub = w.shape(x, step.sub)
		return p, p.sub != nil
	case refSecret:
		var ok bool
		if p.beside, ok = index[step.beside.TextName()]; !ok {
			return p, false
		}
	}
	return p, x.Kind() == reflect.String
}

// fieldsOf finds the fields of a generated struct by the names of the message's fields and oneofs.
func fieldsOf(t reflect.Type) map[string]int {
	index := map[string]int{}
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		if o, ok := tag.Lookup("protobuf_oneof"); ok {
			index[o] = i
		}
		for option := range strings.SplitSeq(tag.Get("protobuf"), ",") {
			if name, ok := strings.CutPrefix(option, "name="); ok {
				index[name] = i
			}
		}
	}
	return index
}
