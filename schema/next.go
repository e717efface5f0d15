package schema

import (
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// maxNext is how often one file that is kept may lead to another.
const maxNext = 16

// NextGood is the good set for the next LoadHeld, once the model g is live that LoadHeld made of set and good; held and list are
// what it said. It has each file as set has it, or, if something in it is wrong or held, as good has it: so each file is of the newest set
// in which it was right, and one that was deleted is gone. All CUE files count as one, for a package makes objects of several.
//
// It is right by itself, and each API and Service in it is, with all its policies, one that g has or that good makes: what is held
// at it later has the guards of its own time. Where files of different times do not go together so, those that have to do with it
// stay as good has them, up to good as a whole.
func NextGood(set, good source.Set, g *ir.Gateway, held []Held, list diag.List, o Options) source.Set {
	if g == nil {
		return good
	}
	o.Partial, o.Salvage = false, false
	n := next{now: set, was: good, kept: map[string]bool{}}
	for _, d := range list {
		if d.Severity == diag.Error {
			n.keep(d.Subject.File)
		}
	}
	for _, h := range held {
		n.keep(h.Place.File)
		n.keep(h.At.File)
	}
	live := elements(g)
	var before map[diag.Object]element // of good; nil: not asked for yet
	files := n.files()
	for range maxNext {
		if slices.EqualFunc(files, good.Files, sameFile) {
			return good
		}
		made, list := Load(source.Set{Files: files}, o)
		if list.HasErrors() {
			for _, d := range list {
				if d.Severity != diag.Error {
					continue
				}
				n.keep(d.Subject.File)
				for _, r := range d.Related {
					n.keep(r.Subject.File)
				}
			}
		} else {
			sound := true
			for id, e := range elements(made) {
				if l, ok := live[id]; ok && e.equal(l) {
					continue
				}
				if before == nil {
					m, _ := Load(good, o)
					before = elements(m)
				}
				if b, ok := before[id]; ok && e.equal(b) {
					continue
				}
				sound = false
				for _, e := range []element{e, live[id], before[id]} {
					e.each(func(x ir.Origin) { n.keep(x.Range.File) })
				}
			}
			if sound {
				return source.NewSet(files)
			}
		}
		last := files
		if files = n.files(); slices.EqualFunc(files, last, sameFile) {
			if n.undelete {
				return good
			}
			n.undelete = true
			files = n.files()
		}
	}
	return good
}

// next chooses between the files of two sets.
type next struct {
	now, was source.Set
	kept     map[string]bool // as was has them
	cue      bool            // all CUE files are kept
	undelete bool            // what only was has is kept too
}

func (n *next) keep(name string) {
	if inCUE(name) {
		n.cue = true
	}
	n.kept[name] = true
}

// inCUE reports whether a file may have a part in what CUE files declare.
func inCUE(name string) bool {
	return strings.EqualFold(path.Ext(name), ".cue") || strings.HasPrefix(name, "cue.mod/") || strings.Contains(name, "/cue.mod/")
}

func (n *next) files() []source.File {
	var out []source.File
	now, was := n.now.Files, n.was.Files
	for len(now) > 0 || len(was) > 0 {
		var a, b *source.File
		switch {
		case len(was) == 0 || len(now) > 0 && now[0].Name < was[0].Name:
			a, now = &now[0], now[1:]
		case len(now) == 0 || was[0].Name < now[0].Name:
			b, was = &was[0], was[1:]
		default:
			a, b, now, was = &now[0], &was[0], now[1:], was[1:]
		}
		name := ""
		if a != nil {
			name = a.Name
		} else {
			name = b.Name
		}
		if n.kept[name] || n.cue && inCUE(name) || a == nil && n.undelete {
			a = b
		}
		if a != nil {
			out = append(out, *a)
		}
	}
	return out
}

func sameFile(a, b source.File) bool { return a.Name == b.Name && a.Hash == b.Hash }

// element is an API with what its port requires, or a Service.
type element struct {
	listener *ir.Listener
	api      *ir.API
	up       *ir.Upstream
}

func elements(g *ir.Gateway) map[diag.Object]element {
	all := map[diag.Object]element{}
	if g == nil {
		return all
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			all[a.Origin.Object] = element{listener: l, api: a}
		}
	}
	for _, u := range g.Upstreams {
		all[u.Origin.Object] = element{up: u}
	}
	return all
}

// each calls f with everything that the element was made of, but for Services.
func (e element) each(f func(ir.Origin)) {
	bindings := func(l []*ir.Binding) {
		for _, b := range l {
			f(b.Origin)
		}
	}
	if e.up != nil {
		f(e.up.Origin)
		bindings(e.up.Bindings)
	}
	if e.api == nil {
		return
	}
	f(e.api.Origin)
	bindings(e.api.Bindings)
	for _, r := range e.api.Routes {
		f(r.Origin)
	}
	if e.listener.TLS != nil {
		f(e.listener.TLS.Origin)
	}
}

// equal reports whether two elements are the same, wherever they are written. What they have settings and Services from is not theirs.
func (e element) equal(o element) bool {
	if (e.api == nil) != (o.api == nil) {
		return false
	}
	if e.api == nil {
		if e.up == o.up {
			return true
		}
		a, b := *e.up, *o.up
		a.Settings, b.Settings = nil, nil
		return matches(reflect.ValueOf(a), reflect.ValueOf(b), 0)
	}
	if e.listener.Addr != o.listener.Addr || !matches(reflect.ValueOf(e.listener.TLS), reflect.ValueOf(o.listener.TLS), 0) {
		return false
	}
	return matches(reflect.ValueOf(e.api), reflect.ValueOf(o.api), 0)
}

// deepest is how deep matches looks: a model is less deep, and what goes round in circles is not taken for equal.
const deepest = 100

// matches is deep equality: places do not count, nor do settings, and of a Service its name. Functions are equal when both are nil.
func matches(a, b reflect.Value, depth int) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() || depth > deepest {
		return false
	}
	depth++
	switch a.Type() {
	case reflect.TypeFor[diag.Range](), reflect.TypeFor[*ir.Settings]():
		return true
	case reflect.TypeFor[*ir.Upstream]():
		return a.IsNil() == b.IsNil() && (a.IsNil() || a.Elem().FieldByName("Name").String() == b.Elem().FieldByName("Name").String())
	}
	switch a.Kind() {
	case reflect.Pointer:
		return a.Pointer() == b.Pointer() || matches(a.Elem(), b.Elem(), depth)
	case reflect.Interface:
		return matches(a.Elem(), b.Elem(), depth)
	case reflect.Struct:
		for i := range a.NumField() {
			if !matches(a.Field(i), b.Field(i), depth) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !matches(a.Index(i), b.Index(i), depth) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for _, k := range a.MapKeys() {
			if v := b.MapIndex(k); !v.IsValid() || !matches(a.MapIndex(k), v, depth) {
				return false
			}
		}
		return true
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return a.IsNil() && b.IsNil()
	default:
		return a.Equal(b)
	}
}
