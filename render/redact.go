package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/cncf/xds/go/udpa/annotations"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

const redactedText = "[redacted]"

// Redact is a deep copy of m in which nothing is left that must not be shown: every field that the Envoy API marks as
// sensitive, and private and symmetric keys in inline key sets, through every Any. Names of files stay.
func Redact(m proto.Message) proto.Message {
	c := proto.Clone(m)
	(&redactor{}).redact(c.ProtoReflect(), false)
	return c
}

// redactor hides, and tells what it hid.
type redactor struct {
	hid func(string) // may be nil
}

func (r *redactor) note(v protoreflect.Value) {
	if r.hid == nil {
		return
	}
	switch x := v.Interface().(type) {
	case string:
		r.hid(x)
	case []byte:
		r.hid(string(x))
	}
}

// redact hides what is in m; all hides everything but names of files.
func (r *redactor) redact(m protoreflect.Message, all bool) {
	switch x := m.Interface().(type) {
	case *anypb.Any:
		r.redactAny(x, all)
		return
	case *corev3.DataSource:
		r.redactKeySet(x)
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		hide := all || sensitive(fd)
		switch {
		case fd.IsMap():
			r.redactMap(v.Map(), fd, hide)
		case fd.IsList():
			r.redactList(fd, v.List(), hide)
		case fd.Message() != nil:
			r.redact(v.Message(), hide)
		case hide && fd.FullName() != "envoy.config.core.v3.DataSource.filename":
			if h, ok := hidden(fd); ok {
				r.note(v)
				m.Set(fd, h)
			}
		}
		return true
	})
}

func (r *redactor) redactMap(v protoreflect.Map, fd protoreflect.FieldDescriptor, hide bool) {
	v.Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
		if fd.MapValue().Message() != nil {
			r.redact(e.Message(), hide)
		} else if h, ok := hidden(fd.MapValue()); ok && hide {
			r.note(e)
			v.Set(k, h)
		}
		return true
	})
}

func (r *redactor) redactList(fd protoreflect.FieldDescriptor, l protoreflect.List, hide bool) {
	for i := range l.Len() {
		if fd.Message() != nil {
			r.redact(l.Get(i).Message(), hide)
		} else if h, ok := hidden(fd); ok && hide {
			r.note(l.Get(i))
			l.Set(i, h)
		}
	}
}

func (r *redactor) redactAny(a *anypb.Any, all bool) {
	m, err := unpack(a)
	if err != nil {
		// What cannot be read cannot be shown.
		a.Value = nil
		return
	}
	r.redact(m.ProtoReflect(), all)
	if a.Value, err = marshal(m); err != nil {
		a.Value = nil
	}
}

func hidden(fd protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(redactedText), true
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(redactedText)), true
	}
	return protoreflect.Value{}, false
}

func sensitive(fd protoreflect.FieldDescriptor) bool {
	o := fd.Options()
	return o != nil && proto.HasExtension(o, annotations.E_Sensitive) && proto.GetExtension(o, annotations.E_Sensitive).(bool)
}

// secretMembers are the members of a JSON Web Key that are private (RFC 7518, 6.2.2, 6.3.2 and 6.4.1).
var secretMembers = map[string]bool{"k": true, "d": true, "p": true, "q": true, "dp": true, "dq": true, "qi": true, "oth": true}

// redactKeySet hides the private members of an inline JSON Web Key Set; what is none stays as it is.
func (r *redactor) redactKeySet(d *corev3.DataSource) {
	text := []byte(d.GetInlineString())
	if b := d.GetInlineBytes(); b != nil {
		text = b
	}
	if !bytes.Contains(text, []byte(`"keys"`)) {
		return
	}
	var set map[string]json.RawMessage
	var keys []map[string]any
	if json.Unmarshal(text, &set) != nil || json.Unmarshal(set["keys"], &keys) != nil {
		return
	}
	found := false
	for _, k := range keys {
		for name := range k {
			if secretMembers[name] {
				if s, ok := k[name].(string); ok && r.hid != nil {
					r.hid(s)
				}
				k[name], found = redactedText, true
			}
		}
	}
	if !found {
		return
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		b = []byte(redactedText)
	}
	d.Specifier = &corev3.DataSource_InlineString{InlineString: string(b)}
}

// shortSecret is how long a secret must be, in bytes, to be looked for in a text: a shorter one says nothing without its place.
const shortSecret = 4

// Secrets are the texts in a trial that must not be shown, whole and line by line: for what Envoy repeats in its words. Sorted,
// longest first.
func (t *Trial) Secrets() []string {
	h := unspoken{}
	for _, typ := range resourceTypes {
		for _, res := range t.res.list(typ) {
			h.in(res)
		}
	}
	for _, f := range t.res.Files() {
		if f.Secret {
			h.add(string(f.Data))
		}
	}
	for _, s := range t.res.sealed {
		h.add(s)
	}
	return h.list()
}

// Secrets are likewise those in one resource.
func (r *Resource) Secrets() []string {
	h := unspoken{}
	h.in(r)
	return h.list()
}

// unspoken gathers texts that must not be shown.
type unspoken map[string]bool

func (h unspoken) add(s string) {
	for line := range strings.Lines(s) {
		h[strings.TrimSpace(line)] = true
	}
	h[strings.TrimSpace(s)] = true
}

func (h unspoken) in(res *Resource) {
	if m, err := res.Message(); err == nil {
		(&redactor{hid: h.add}).redact(m.ProtoReflect(), false)
	}
}

func (h unspoken) list() []string {
	list := slices.DeleteFunc(slices.Collect(maps.Keys(h)), func(s string) bool { return len(s) < shortSecret })
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	return list
}
